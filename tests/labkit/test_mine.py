"""Run on my code: what counts as the learner's, what is refused and in which words, and whose parts a run names."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RIGHT, TOML, fill, write

from labkit import catalog, mine, scaffold
from labkit.cli import main
from labkit.progress import Progress, digest

ROOT = Path(__file__).resolve().parents[2]
PARTS = """
[numbers]
lab = "99.1"
library = "some.numbers"

[signs]
lab = "99.2"
library = "some.signs"
"""
RUN = """
import argparse
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--on", default="reference")
if __name__ == "__main__":
    from labkit import mine

    try:
        on = mine.parse(parser.parse_args().on, offers=("numbers",))
    except mine.LabError as e:
        sys.exit(str(e))
    numbers = on.module("numbers")
    print(numbers.double(21) if numbers else "no")
"""


@pytest.fixture
def two(lab: catalog.Lab, tmp_path: Path) -> tuple[catalog.Lab, catalog.Lab]:
    """Labs 99.1 and 99.2, alike but for their ids, and the parts `numbers` and `signs`."""
    write(tmp_path / "phases" / "parts.toml", PARTS)
    folder = lab.folder.with_name("lab-02-z")
    shutil.copytree(lab.folder, folder)
    write(folder / "lab.toml", TOML.replace("99.1", "99.2"))
    return lab, catalog.read(folder)


def passed(lab: catalog.Lab, text: str | None = None) -> None:
    """lab.py is this text, or a right one, and its check has passed: as the record has it."""
    if text is None:
        fill(lab, **RIGHT)
    else:
        write(lab.file("lab.py"), text)
    checked(lab, double=True, quadruple=True, negate=True)


def checked(lab: catalog.Lab, **verdicts: bool) -> None:
    Progress(Path.cwd()).record(lab, digest(lab.file("lab.py")), verdicts)


def refusal(lab_id: str = "99.1") -> str:
    """The words with which a lab is refused, which are one line."""
    with pytest.raises(mine.LabError) as caught:
        mine.load(lab_id)
    words = str(caught.value)
    assert "\n" not in words
    return words


def test_a_file_that_passed_its_check_is_a_module(lab, capsys):
    fill(lab, **RIGHT)
    assert main(["check", "99.1"]) == 0
    capsys.readouterr()
    module = mine.load("99.1")
    assert (module.double(21), module.quadruple(3, times=2), module.negate(-7)) == (42, 48, 7)
    assert (module.__name__, module.__file__) == ("mine_99_1", str(lab.file("lab.py")))
    assert capsys.readouterr().out == ""


def test_a_module_has_the_name_that_dataclasses_look_for(lab):
    passed(
        lab,
        """
        from __future__ import annotations
        from dataclasses import dataclass, field
        from typing import ClassVar


        @dataclass
        class Point:
            of: ClassVar[int] = 2
            x: list[int] = field(default_factory=list)
        """,
    )
    point = mine.load("99.1").Point([5])
    assert point.x == [5]
    assert sys.modules[type(point).__module__].Point is type(point)


def test_what_is_empty_or_not_there_is_not_mine(lab):
    assert "nothing is written yet" in refusal()
    main(["check", "99.1"])  # of the empty file: it is still empty
    assert "nothing is written yet" in refusal()
    lab.file("lab.py").unlink()
    assert "lab reset 99.1" in refusal()
    lab.file("lab.py").mkdir()
    assert "lab reset 99.1" in refusal()
    with pytest.raises(mine.LabError, match=r"There is no lab 99\.7"):
        mine.load("99.7")


def test_what_was_never_checked_is_not_mine_however_right(lab):
    fill(lab, **RIGHT)
    assert refusal() == "Lab 99.1: your lab.py was never checked.  Now: lab check 99.1"


def test_a_task_that_fails_is_named(lab, capsys):
    fill(lab, **RIGHT | {"negate": "x"})
    assert main(["check", "99.1"]) == 1
    capsys.readouterr()
    assert refusal() == "Lab 99.1: task negate has not passed.  What is missing: lab check 99.1"


def test_part_of_a_check_is_not_the_whole_spec(lab, capsys):
    fill(lab, **RIGHT)
    assert main(["check", "99.1", "--task", "double"]) == 0
    assert "tasks quadruple, negate have not passed" in refusal()
    assert main(["check", "99.1", "--task", "quadruple"]) == 0
    assert "task negate has not passed" in refusal()
    assert main(["check", "99.1", "--task", "negate"]) == 0
    capsys.readouterr()
    assert mine.load("99.1").negate(4) == -4


def test_one_byte_more_is_another_file_and_one_less_the_old_one(lab):
    passed(lab)
    text = lab.file("lab.py").read_bytes()
    lab.file("lab.py").write_bytes(text + b"#\n")
    assert "has changed since it passed on 20" in refusal()
    assert "lab check 99.1" in refusal()
    lab.file("lab.py").write_bytes(text.replace(b"\n", b"\r\n"))
    assert "has changed since it passed" in refusal()
    lab.file("lab.py").write_bytes(text)
    assert mine.load("99.1").double(4) == 8


def test_what_passed_last_counts_after_an_experiment_that_failed(lab):
    passed(lab)
    fill(lab, **RIGHT | {"double": "x * x"})
    checked(lab, double=False, quadruple=False, negate=True)
    assert "tasks double, quadruple have not passed" in refusal()
    fill(lab, **RIGHT | {"double": "x ** x"})
    assert "has changed since it passed" in refusal()
    fill(lab, **RIGHT)
    assert mine.load("99.1").double(3) == 6


def test_the_same_bytes_refused_later_are_refused_here(lab):
    passed(lab)
    checked(lab, negate=False)
    assert "task negate has not passed" in refusal()
    checked(lab, negate=True)
    assert mine.load("99.1").negate(1) == -1


def test_changed_since_a_check_that_failed(lab):
    fill(lab, **RIGHT | {"negate": "x"})
    checked(lab, double=True, quadruple=True, negate=False)
    fill(lab, **RIGHT)
    assert "has changed since it was checked, and had not passed then" in refusal()


def test_a_task_that_a_pull_adds_is_yet_to_pass(lab):
    passed(lab)
    extra = '\n[[task]]\nname = "halve"\npoints = 1\nhints = ["a", "b", "c"]\n'
    lab.file("lab.toml").write_text(TOML + extra)
    assert "task halve has not passed" in refusal()


def test_a_record_of_before_there_was_a_date_still_counts(two, capsys):
    passed(two[0])
    path = Path(".lab/progress.json")
    record = json.loads(path.read_text())
    del record["labs"]["99.1"]["passed_on"]
    path.write_text(json.dumps(record))
    mine.parse("mine:numbers", ("numbers",))
    assert capsys.readouterr().out == "numbers   yours (99.1, phases/phase-99-x/lab-01-y/lab.py, passed)\n"
    record["labs"]["99.1"]["passed_on"] = 20310203
    path.write_text(json.dumps(record))
    assert "never checked" in refusal()
    assert "Progress could not be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("print('hello', 3)", "prints 'hello 3' while it is loaded"),
        ("import sys; sys.stdout.write('a\\nb')", "prints 'a' while"),
        ("import sys; sys.exit('enough')", "calls sys.exit while"),
        ("quit()", "calls sys.exit while"),
        ("print('first'); raise SystemExit(0)", "calls sys.exit while"),
        ("1 / 0", "raises ZeroDivisionError: division by zero while"),
        ("raise ValueError('two\\n  lines')", "raises ValueError: two lines while"),
        ("class Own(BaseException): ...\nraise Own", "raises Own"),
        ("import no_such_module_here", "raises ModuleNotFoundError"),
        ("def f(:", "raises SyntaxError"),
        ("\0", "raises S"),
    ],
)
def test_a_file_that_does_something_when_loaded_is_refused_in_one_line(lab, line, says, capsys):
    passed(lab, line)
    words = refusal()
    assert says in words
    assert words.startswith("Lab 99.1: ")
    assert words.endswith("lab check 99.1")
    assert "mine_99_1" not in sys.modules
    assert capsys.readouterr().out == ""


def test_ctrl_c_while_a_file_is_loaded_stays_ctrl_c(lab):
    passed(lab, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        mine.load("99.1")


def test_the_bytes_that_were_hashed_are_the_ones_that_run(lab, monkeypatch):
    passed(lab)
    honest = Progress.refusal

    def saved_meanwhile(self: Progress, of: catalog.Lab, file_hash: str) -> str:
        fill(of, **RIGHT | {"double": "0"})
        return honest(self, of, file_hash)

    monkeypatch.setattr(Progress, "refusal", saved_meanwhile)
    assert mine.load("99.1").double(5) == 10


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("where", [".", "phases", "phases/phase-99-x/lab-02-z"])
def test_a_script_finds_what_passed_from_the_root_and_from_its_folder(two, tmp_path, where):
    script = write(two[1].file("lab.py"), RUN)
    refused = run(script, "--on", "mine", cwd=tmp_path / where)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "numbers: Lab 99.1: nothing is written yet.  Begin with: lab show 99.1\n"
    passed(two[0])
    done = run(script, "--on", "mine", cwd=tmp_path / where)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith("numbers   yours (99.1, phases/phase-99-x/lab-01-y/lab.py, passed 20")
    assert done.stdout.endswith(")\n42\n")
    assert run(script, cwd=tmp_path / where).stdout == "numbers   the library's (some.numbers)\nno\n"


def test_a_finished_part_is_loaded_where_answers_cannot_be_opened(lab, tmp_path):
    """As in the process in which `lab check` holds a file."""
    passed(lab)
    code = f"""
        from pathlib import Path
        from labkit import forbid, mine

        folder = Path({str(lab.folder)!r})
        forbid.watch([], folder)
        print(mine.load("99.1").double(21))
        try:
            open(folder / "solution.py")
        except forbid.Forbidden as e:
            print("forbidden:", e)
    """
    done = run(write(tmp_path / "guarded.py", code), cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("42\nforbidden: solution.py\n", "")


# ---- --on


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str, tuple[str, ...]], list[str]]:
    """say(text, offers) → the lines that are printed."""

    def lines(text: str, offers: tuple[str, ...]) -> list[str]:
        mine.parse(text, offers)
        return capsys.readouterr().out.splitlines()

    return lines


LIBRARY = ["signs     the library's (some.signs)", "numbers   the library's (some.numbers)"]


def test_the_reference_needs_nothing_to_have_passed(two, say):
    assert say("reference", ("signs", "numbers")) == LIBRARY
    assert say("reference", ("numbers",)) == LIBRARY[1:]
    assert say("reference", ()) == []
    assert mine.parse("reference", ("signs",)).module("signs") is None


def test_each_part_says_whose_it_is(two, say):
    for lab in two:
        passed(lab)
    path = Path(".lab/progress.json")
    record = json.loads(path.read_text())
    record["labs"]["99.1"]["passed_on"], record["labs"]["99.2"]["passed_on"] = "2031-02-03", "2030-12-31"
    path.write_text(json.dumps(record))
    numbers = "numbers   yours (99.1, phases/phase-99-x/lab-01-y/lab.py, passed 2031-02-03)"
    signs = "signs     yours (99.2, phases/phase-99-x/lab-02-z/lab.py, passed 2030-12-31)"
    assert say("mine", ("signs", "numbers")) == [signs, numbers]
    assert say("mine:numbers,signs", ("signs", "numbers")) == [signs, numbers]
    assert say("mine:numbers", ("signs", "numbers")) == [LIBRARY[0], numbers]
    assert say("mine: signs , signs", ("numbers", "signs")) == [LIBRARY[1], signs]


def test_each_part_is_the_module_of_its_lab(two):
    for lab in two:
        passed(lab)
    on = mine.parse("mine", ("numbers", "signs"))
    modules = on.module("numbers"), on.module("signs")
    assert [m and m.__name__ for m in modules] == ["mine_99_1", "mine_99_2"]
    on = mine.parse("mine:signs", ("numbers", "signs"))
    assert (on.module("numbers"), getattr(on.module("signs"), "__name__", "")) == (None, "mine_99_2")
    with pytest.raises(KeyError):
        on.module("model")


def test_what_cannot_be_had_ends_the_run_and_names_what_can(two, capsys):
    passed(two[1])
    missing = "numbers: Lab 99.1: nothing is written yet.  Begin with: lab show 99.1"
    for text, rest in (("mine", "  (What has passed: --on mine:signs)"), ("mine:numbers", "")):
        with pytest.raises(mine.LabError) as caught:
            mine.parse(text, ("numbers", "signs"))
        assert str(caught.value) == missing + rest
    assert capsys.readouterr().out == ""
    mine.parse("mine:signs", ("numbers", "signs"))
    assert "some.numbers" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["mine", "mine:numbers,signs", "mine:signs,numbers,signs"])
def test_of_two_that_cannot_be_had_the_first_on_offer_is_named(two, text):
    with pytest.raises(mine.LabError) as caught:
        mine.parse(text, ("numbers", "signs"))
    assert str(caught.value) == "numbers: Lab 99.1: nothing is written yet.  Begin with: lab show 99.1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yours", "--on yours: it takes reference, mine, or mine:numbers,signs"),
        ("", "it takes reference"),
        ("reference:numbers", "it takes reference"),
        ("mine:", "''"),
        ("mine:number", "'number'"),
        ("mine:numbers,,signs", "''"),
        ("mine:numbers,model", "'model' can be yours here; those that can: numbers, signs"),
    ],
)
def test_a_word_that_means_nothing_is_refused(two, text, says, capsys):
    with pytest.raises(mine.LabError) as caught:
        mine.parse(text, ("numbers", "signs"))
    assert says in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [("[numbers", "parts.toml"), ("[numbers]\nlab = '1'", "library"), ("numbers = 3", "a part has lab and library")],
)
def test_a_slip_in_the_list_of_parts_is_one_sentence(two, tmp_path, text, says):
    path = tmp_path / "phases" / "parts.toml"
    path.write_text(text)
    with pytest.raises(mine.LabError) as slip:
        mine.parse("reference", ("numbers",))
    assert says in str(slip.value)
    assert "\n" not in str(slip.value)
    path.unlink()
    with pytest.raises(mine.LabError, match=r"parts\.toml, which says"):
        mine.parse("reference", ("numbers",))


def test_the_real_parts_are_labs_of_the_tower_and_modules_of_the_library():
    parts = tomllib.loads((ROOT / "phases" / "parts.toml").read_text())
    tower = tomllib.loads((ROOT / "phases" / "tower.toml").read_text())["layer"]
    planned = {lab_id for layer in tower for lab_id in layer["labs"]}
    assert parts
    for part in parts.values():
        assert part["lab"] in planned
        assert importlib.util.find_spec(part["library"])


def test_the_record_keeps_the_day_and_a_new_scaffold_leaves_it(lab):
    fill(lab, **RIGHT)
    checked(lab, double=True)
    assert Progress(Path.cwd()).passed_on(lab) == ""
    checked(lab, quadruple=True, negate=True)
    day = Progress(Path.cwd()).passed_on(lab)
    assert len(day.split("-")) == 3
    scaffold.write(lab.file("lab.py"), scaffold.generate(lab))
    Progress(Path.cwd()).note_scaffold(lab)
    assert Progress(Path.cwd()).passed_on(lab) == day
