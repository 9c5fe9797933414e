"""The `lab` command as a learner uses it, on a tiny lab in a repository of its own."""

import ast
import json
import os
import re
import select
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from conftest import RIGHT, fill

import labkit
from labkit import forbid, saves, scaffold
from labkit.cli import main
from labkit.progress import Progress


def run(*words: str) -> int:
    try:
        return main(list(words))
    except SystemExit as e:  # argparse's way out
        return int(e.code or 0)


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    code = run("check", "99.1", "--json", *words)
    return code, json.loads(capsys.readouterr().out)


def test_an_untouched_lab_is_not_started_and_exits_1(lab, capsys):
    code, data = check(capsys)
    assert code == 1
    assert [t["status"] for t in data["tasks"]] == ["not-started", "waiting", "not-started"]
    assert data["failure"] is None
    assert (data["points"], data["max_points"]) == (0, 9)


def test_a_right_lab_passes_and_is_remembered_by_its_hash(lab, capsys):
    fill(lab, **RIGHT)
    code, data = check(capsys)
    assert (code, data["passed"], data["points"]) == (0, True, 9)
    assert Progress(Path.cwd()).done(lab)
    assert not Progress(Path.cwd()).changed(lab)
    with lab.file("lab.py").open("a") as f:
        f.write("# a thought\n")
    assert Progress(Path.cwd()).changed(lab)
    run("list")
    assert "changed since it passed" in capsys.readouterr().out


def test_the_mistake_is_named_and_one_failure_is_shown(lab, capsys):
    fill(lab, double="x * x", quadruple="x * 4**times", negate="-abs(x)")
    assert run("check", "99.1") == 1
    out = capsys.readouterr().out
    assert "It squares instead of doubling.  (99.1/squares)" in out
    assert "waiting for double" in out
    assert "absolute value" not in out  # the second failure waits its turn
    assert "called    double(" in out


def test_another_wording_of_a_mistake_is_named_and_another_mistake_is_not(lab, capsys):
    fill(lab, **{**RIGHT, "quadruple": "double(double(x))"})
    assert check(capsys)[1]["failure"]["likely"] == [{"mistake": "99.1/once_only", "says": "`times` is ignored."}]
    fill(lab, **{**RIGHT, "double": "3 * x"})
    likely = check(capsys)[1]["failure"]["likely"]
    assert [x["mistake"] for x in likely] in ([], [""])


def test_one_task_brings_its_parents_along_but_only_it_is_reported(lab, capsys):
    fill(lab, double="2 * x", quadruple="x * 4**times")
    code, data = check(capsys, "--task", "quadruple")
    assert code == 0
    assert [t["task"] for t in data["tasks"]] == ["quadruple"]
    assert Progress(Path.cwd()).passed(lab) == ["quadruple"]
    assert check(capsys, "--task", "double")[0] == 0
    assert Progress(Path.cwd()).passed(lab) == ["double", "quadruple"]


def test_a_failing_task_is_no_longer_remembered_as_passed(lab, capsys):
    fill(lab, **RIGHT)
    check(capsys)
    fill(lab, **{**RIGHT, "negate": "x"})
    check(capsys)
    assert Progress(Path.cwd()).passed(lab) == ["double", "quadruple"]


def test_another_file_is_judged_without_touching_progress(lab, capsys, tmp_path):
    fill(lab, **RIGHT)
    elsewhere = tmp_path / "mine.py"
    elsewhere.write_bytes(lab.file("lab.py").read_bytes())
    assert check(capsys, "--file", str(elsewhere))[0] == 0
    assert check(capsys, "--solution")[0] == 0
    assert Progress(Path.cwd()).passed(lab) == []


def test_what_cannot_be_run_exits_2_with_one_line(lab, capsys):
    for words, say in (
        (("check", "99.2"), "Did you mean 99.1?"),
        (("check", "99.1", "--task", "doubel"), "Did you mean double?"),
        (("check", "99.1", "--file", "nowhere.py"), "There is no file"),
        (("chekc",), "Did you mean `lab check`?"),
        (("reset",), "Say which lab"),
        (("verify", "--seeds", "0"), "--seeds"),
    ):
        assert run(*words) == 2
        err = capsys.readouterr().err
        assert say in err
        assert err.count("\n") == 1


def test_hints_come_one_at_a_time_and_are_remembered(lab, capsys):
    run("hint", "99.1", "quadruple")
    assert "hint 1 of 3, a nudge" in capsys.readouterr().out
    run("hint", "99.1", "quadruple")
    out = capsys.readouterr().out
    assert "hint 1 of 3, a nudge (taken)" in out
    assert "hint 2 of 3, the plan\n" in out
    run("hint", "99.1")  # without a task: the first that has not passed, which is another
    assert "hint 1 of 3" in capsys.readouterr().out
    progress = Progress(Path.cwd())
    assert [progress.hints(lab, t) for t in lab.tasks] == [1, 2, 0]
    for _ in range(3):
        assert run("hint", "99.1", "quadruple") == 0
    assert Progress(Path.cwd()).hints(lab, lab.tasks[1]) == 3


def test_a_pass_is_kept_through_later_experiments(lab, capsys):
    fill(lab, **RIGHT)
    check(capsys)
    fill(lab, **{**RIGHT, "negate": "x"})
    check(capsys)
    progress = Progress(Path.cwd())
    assert (progress.done(lab), progress.changed(lab), progress.points(lab)) == (True, True, 5)
    run("list")
    assert "5/9" in (out := capsys.readouterr().out)
    assert "changed since it passed" in out
    assert "1 of 1 labs" in out
    fill(lab, **RIGHT)  # and back again: no check is needed, the file is the one that passed
    assert not Progress(Path.cwd()).changed(lab)


def test_after_the_pass_there_is_something_to_see(lab, capsys):
    fill(lab, **RIGHT)
    run("check", "99.1")
    assert "See what you built: python phases/phase-99-x/lab-01-y/lab.py" in capsys.readouterr().out
    run("hint", "99.1")
    assert "All tasks of lab 99.1 have passed" in capsys.readouterr().out


def test_a_task_may_follow_the_lab_in_every_command(lab, capsys):
    fill(lab, double="2 * x")
    assert run("check", "99.1", "double", "--json") == 0
    assert [t["task"] for t in json.loads(capsys.readouterr().out)["tasks"]] == ["double"]
    assert run("repro", "99.1", "quadruple") == 0
    assert "lab.quadruple(" in capsys.readouterr().out


def test_words_and_options_come_in_any_order(lab, capsys):
    fill(lab, double="2 * x")
    for words in (("99.1", "--json", "double"), ("--json", "99.1", "double"), ("99.1", "double", "--json")):
        assert run("check", *words) == 0, words
        assert [t["task"] for t in json.loads(capsys.readouterr().out)["tasks"]] == ["double"]
    assert run("check", "99.1", "--jsn", "double") == 2
    assert run("check", "99.1", "double", "negate") == 2
    assert "negate" in capsys.readouterr().err
    assert run("check", "99.1", "--seed", "3", "double") == 2


def test_the_words_of_assets_are_handed_on_as_they_are(lab, monkeypatch):
    asked: list[list[str]] = []
    done = subprocess.CompletedProcess([], 7)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(command[3:]) or done)
    assert run("assets", "fetch", "--anything", "x") == 7
    assert run("assets") == 7
    assert asked == [["fetch", "--anything", "x"], ["list"]]


def test_a_terminal_without_the_symbols_gets_no_traceback(lab):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    lab_command = str(Path(sys.executable).with_name("lab"))
    done = subprocess.run([lab_command, "list"], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "99.1" in done.stdout


def test_the_process_that_forks_ends_without_a_word_when_its_judge_hangs_up():
    """With an answer unread, hanging up is an error on the other side, not an end of the stream."""
    ours, theirs = socket.socketpair()
    server = subprocess.Popen(
        [sys.executable, "-m", "labkit.child", "fork", str(theirs.fileno()), ""],
        pass_fds=[theirs.fileno()],
        stderr=subprocess.PIPE,
    )
    theirs.close()
    assert select.select([ours], [], [], 30)[0]  # it is ready, and we do not read that it is
    ours.close()
    _, err = server.communicate(timeout=10)
    assert (server.returncode, err) == (0, b"")


def test_repro_of_a_file_that_does_not_load(lab, capsys):
    lab.file("lab.py").write_text("def double(x:\n")
    assert run("repro", "99.1") == 0
    program = capsys.readouterr().out
    assert "loading the file is what fails" in program
    assert "print" not in program


def test_reset_keeps_what_was_written(lab, capsys):
    fill(lab, double="x * x")
    written = lab.file("lab.py").read_text()
    assert run("reset", "99.1") == 0
    assert lab.file("lab.py").read_text() == scaffold.generate(lab)
    fill(lab, double="x * x * x")
    run("reset", "99.1")
    kept = sorted(Path(".lab/backup/99.1").iterdir())
    assert [p.read_text() for p in kept] == [written, written.replace("x * x", "x * x * x")]
    run("reset", "99.1")  # nothing of theirs: nothing to keep
    assert len(list(Path(".lab/backup/99.1").iterdir())) == 2


def git(*words: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


@pytest.mark.parametrize("known_by", ["record", "history"])
def test_update_renews_only_what_the_learner_has_not_touched(lab, capsys, known_by):
    if known_by == "record":
        run("next")  # the learner has seen this scaffold
    else:
        git("init", "-q")
        git("add", "phases")
        git("commit", "-qm", "first")
    solution = lab.file("solution.py")
    solution.write_text(solution.read_text().replace("# TODO: twice x", "# TODO: twice x, please"))
    if known_by == "history":
        git("commit", "-qam", "second")
    run("update")
    assert "updated" in capsys.readouterr().out
    assert "please" in lab.file("lab.py").read_text()
    fill(lab, double="2 * x")
    mine = lab.file("lab.py").read_text()
    solution.write_text(solution.read_text().replace("please", "now"))
    run("update")
    assert "kept: it is yours" in capsys.readouterr().out
    assert lab.file("lab.py").read_text() == mine


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"labs": {"99.1": 3}}', '{"labs": {"99.1": {"hints": {}}}}', "\udcff"]
)
def test_a_corrupt_record_is_set_aside_with_a_message(lab, capsys, text):
    folder = Path(".lab")
    folder.mkdir()
    (folder / "progress.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    fill(lab, **RIGHT)
    assert run("check", "99.1") == 0
    assert "could not be read" in capsys.readouterr().err
    assert [p.name.startswith("progress.json.unreadable") for p in folder.glob("progress.json.*")] == [True]
    assert Progress(Path.cwd()).done(lab)


def test_a_corrupt_cache_is_computed_anew(lab, capsys):
    fill(lab, **{**RIGHT, "double": "x * x"})
    first = check(capsys)[1]["failure"]["likely"]
    (stored,) = Path(".lab/cache").glob("*.bin")
    data = stored.read_bytes()
    for damage in (b"", data[:-3], b"\xff" * len(data)):
        stored.write_bytes(damage)
        assert check(capsys)[1]["failure"]["likely"] == first
        assert stored.read_bytes() == data


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(lab, capsys):
    fill(lab, **{**RIGHT, "double": "x * x"})
    Path(".lab").mkdir(exist_ok=True)
    Path(".lab/cache").write_text("a file where a folder is needed")
    status, told = check(capsys)
    assert status == 1
    assert told["failure"]["likely"]


def test_none_is_no_forgotten_return_where_a_test_expects_it(lab, capsys):
    fill(lab, **{**RIGHT, "double": "None"})
    assert "is a `return` missing?" in str(check(capsys)[1]["failure"]["likely"])
    with lab.file("test_lab.py").open("a") as spec:
        spec.write('\n\n@task("double")\ndef test_of_nothing(lab, rng):\n    check.equal(lab.double(None), None)\n')
    assert check(capsys)[1]["failure"]["likely"] == []


@pytest.mark.parametrize(("command", "code"), [("check", 2), ("verify", 1)])
def test_a_file_of_mistakes_that_does_not_load_is_one_line(lab, capsys, command, code):
    fill(lab, **{**RIGHT, "double": "3 * x"})
    lab.file("mistakes.py").write_text("def (")
    assert run(command, "99.1") == code
    assert "mistakes.py does not load: SyntaxError: invalid syntax" in "".join(capsys.readouterr())


def test_repro_prints_a_program_that_shows_the_failure(lab, capsys):
    fill(lab, **{**RIGHT, "quadruple": "double(double(x))"})
    assert run("repro", "99.1") == 0
    program = capsys.readouterr().out
    assert "got = lab.quadruple(1, times=0)" in program  # of numbers up to 99, the smallest that still disagrees
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "got  4\nwant 1\n"


SPEC_OF_WORDS = """
from labkit.spec import check, task


@task("words")
def test_words(lab, random):
    text = " ".join("".join(random.choices("abc", k=4)) for _ in range(9)) + "\\t" + "dd  ee"
    counter = lab.Words()
    counter.add(text)
    counter.add(text)
    check.equal(counter.get(), text.split() * 2, why="a long text")
    check.equal(len(counter.get()), 22, why="made of what the lab returned")
"""
WORDS = """
class Words:
    def __init__(self):
        self.all = []

    def add(self, text):
        self.all += text.SPLIT

    def get(self):
        return self.all
"""


def test_repro_takes_away_what_the_failure_does_not_need(lab, capsys):
    """Two calls of nine words each shrink to one call with the one character that matters."""
    toml = lab.file("lab.toml").read_text().split("[[task]]")[0]
    task = '[[task]]\nname = "words"\npoints = 1\nhints = ["a", "b", "c"]\nwrites = ["Words.add"]\n'
    lab.file("lab.toml").write_text(toml + task)
    lab.file("test_lab.py").write_text(SPEC_OF_WORDS)
    lab.file("solution.py").write_text(WORDS.replace("SPLIT", "split()"))
    lab.file("lab.py").write_text(WORDS.replace("SPLIT", "split(' ')"))
    assert run("repro", "99.1", "words") == 0
    program = capsys.readouterr().out
    added = [line for line in program.splitlines() if ".add(" in line]
    assert len(added) == 1
    text = ast.literal_eval(added[0].split(".add(")[1][:-1])
    assert text in ("", " ", "\t")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    got, want = (ast.literal_eval(line[5:]) for line in done.stdout.splitlines())
    assert (got, want) == (text.split(" "), text.split())


def test_a_lab_whose_extra_is_missing_is_unavailable_and_not_failed(lab, capsys):
    text = lab.file("lab.toml").read_text()
    lab.file("lab.toml").write_text(text.replace("extras = []", 'extras = ["no_such_package"]'))
    assert run("check", "99.1") == 2
    assert "unavailable here: pip install no_such_package" in capsys.readouterr().err
    assert run("list") == 0
    assert "unavailable here: pip install no_such_package" in capsys.readouterr().out


def test_repro_says_when_nothing_fails(lab, capsys):
    fill(lab, **RIGHT)
    assert run("repro", "99.1") == 0
    assert "Nothing fails" in capsys.readouterr().err


def test_next_moves_on_when_a_lab_is_done(lab, capsys):
    run()
    assert "99.1 Numbers" in capsys.readouterr().out
    fill(lab, **RIGHT)
    check(capsys)
    run("next")
    assert "All 1 labs passed" in capsys.readouterr().out


def test_every_command_explains_itself(capsys):
    from labkit.cli import COMMANDS

    for name in COMMANDS:
        assert run(name, "--help") == 0
        assert len(capsys.readouterr().out.splitlines()) > 5, name


def test_lab_certifies_itself(lab, capsys):
    """The README and hints of the tiny lab are not in order; everything else is, and the numbers say so."""
    run("verify", "99.1", "--seeds", "4", "--json")
    (made,) = json.loads(capsys.readouterr().out)
    assert (made["caught"], made["wrong"]) == (5, 5)
    assert (made["named"], made["named_alike"]) == (4, 1)
    assert (made["accepted"], made["right"]) == (7, 7)
    assert not [p for p in made["problems"] if "README" not in p and "hints" not in p and "docstring" not in p]


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("mistakes.py", "return x * x", "return 2 * x", "PASSES: squares"),
        ("mistakes.py", "return x**2", "return 2 * x + 1", "takes to_the_power_of_two for one_more, not for squares"),
        ("mistakes.py", "return 2 * x + 1", "return x * x", "takes squares for squares or one_more"),
        ("equivalents.py", "return x << 1", "return x << 2", "REFUSED: shifted"),
        ("equivalents.py", '@equivalent("double")\ndef added', "def added", "has 1 equivalents"),
        ("solution.py", "return -x", "return x", "REFUSED: the solution"),
        ("test_lab.py", 'lab.double(x), 2 * x, why="a number"', "len(str(x)) > 0, True", "GUESSABLE"),
        ("lab.toml", 'after = ["double"]', 'writes = ["quad"]', "must name the same functions once"),
    ],
)
def test_verify_finds_what_is_not_in_order(lab, capsys, file, old, new, says):
    path = lab.file(file)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert run("verify", "99.1", "--seeds", "2", "--json") == 1
    (made,) = json.loads(capsys.readouterr().out)
    assert [p for p in made["problems"] if says in p], made["problems"]


def blocked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(*words)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_without_a_place_for_the_record_a_check_still_shows_its_result(lab, capsys):
    Path(".lab").write_text("in the way")
    fill(lab, **{**RIGHT, "negate": "abs(x)"})
    code, out, err = blocked(capsys, "check", "99.1")
    assert code == 1
    assert "✗ negate       0/4  wrong" in out
    assert re.search(r"^What passed is not remembered: .*: \.lab\.  `lab doctor`", err, re.MULTILINE)
    fill(
        lab, **{**RIGHT, "negate": "abs(x) or 1"}
    )  # not in the catalogue of mistakes: nothing to keep but the verdicts
    assert blocked(capsys, "check", "99.1")[0] == 1
    fill(lab, **RIGHT)
    code, out, err = blocked(capsys, "check", "99.1", "--json")
    assert (code, json.loads(out)["passed"]) == (0, True)
    assert "is not remembered" in err


@pytest.mark.parametrize("words", [("hint", "99.1"), ("diff", "99.1", "double", "--give-up", "--yes"), ("next",)])
def test_what_cannot_be_written_is_one_line_that_names_it(lab, capsys, words):
    fill(lab)
    Path(".lab").write_text("in the way")
    code, _, err = blocked(capsys, *words)
    assert code == 2
    lines = [line for line in err.splitlines() if "Progress could not be read" not in line]
    assert len(lines) == 1
    assert ".lab" in lines[0]
    assert "`lab doctor`" in lines[0]


def test_a_corrupt_record_that_cannot_be_set_aside_is_no_obstacle_to_looking(lab, capsys, monkeypatch):
    folder = Path(".lab")
    folder.mkdir()
    (folder / "progress.json").write_text("{")

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "replace", refuse)
    code, out, err = blocked(capsys, "list")
    assert (code, "0 of 1 labs" in out) == (0, True)
    assert "cannot be set aside (Permission denied)" in err
    assert (folder / "progress.json").read_text() == "{"


def test_a_package_that_is_missing_is_one_line_that_says_how_to_install_it(lab, capsys, monkeypatch):
    lab.file("README.md").write_text("# Numbers\n\nText.\n")
    for module in [name for name in sys.modules if name.split(".")[0] == "rich" or name.startswith("labkit.show")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "rich", None)  # what an import finds when the package is not there
    monkeypatch.setattr(labkit, "show", None, raising=False)
    monkeypatch.delattr(labkit, "show")
    code, out, err = blocked(capsys, "show", "99.1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(r"lab needs rich\S*, which is not installed here: `make lab` installs it\.", err)


@pytest.mark.parametrize("broken", ["def double(x:\n", "import math\n\nno_such_name\n"])
def test_a_file_that_does_not_load_takes_nothing_away(lab, capsys, broken):
    fill(lab, double="2 * x", quadruple="x * 4**times")
    check(capsys)
    lab.file("lab.py").write_text(broken)
    code, data = check(capsys)
    assert (code, data["points"]) == (1, 0)
    progress = Progress(Path.cwd())
    assert (progress.passed(lab), progress.changed(lab)) == (["double", "quadruple"], True)


def test_without_stdin_a_check_works(lab):
    fill(lab, **RIGHT)
    lab_command = Path(sys.executable).with_name("lab")
    done = subprocess.run(["sh", "-c", f"{lab_command} check 99.1 <&-"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_list_goes_into_80_columns(lab, capsys):
    toml = lab.file("lab.toml")
    toml.write_text(toml.read_text().replace('"Numbers"', '"Scaled dot-product attention from scratch"'))
    fill(lab, double="2 * x", quadruple="x * 4**times")
    check(capsys)
    run("diff", "99.1", "negate", "--give-up", "--yes")
    with lab.file("lab.py").open("a") as f:
        f.write("# a thought\n")
    capsys.readouterr()
    run("list")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.strip() for line in lines[2:4]] == ["changed since it passed", "reference shown of negate"]


def test_an_odd_escape_in_a_lab_gives_no_warning(lab):
    """Python 3.12 and later warn of it at each parse."""
    odd = "import re\n\n\ndef double(x):\n    return 2 * len(re.findall('\\d', '1' * x))\n"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert forbid.uses(odd, ["re.findall"]) == [(5, "re.findall", "double")]
        file = lab.file("lab.py")
        file.write_text(odd)
        assert saves.Saves(file).poll() == "saved"
    assert [str(w.message) for w in caught] == []


def test_starting_imports_neither_torch_nor_numpy(tmp_path):
    code = "import sys, labkit.cli; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_output_is_plain_when_it_is_not_a_terminal(lab, capsys):
    run("list")
    run("check", "99.1")
    assert "\033" not in capsys.readouterr().out


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_is_for_terminals_that_want_it(environment):
    import pty

    ours, theirs = pty.openpty()
    env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment}
    subprocess.run([sys.executable, "-m", "labkit.cli", "list"], stdout=theirs, env=env, check=True)
    os.close(theirs)
    assert (b"\033[" in os.read(ours, 1 << 16)) == (not environment)
    os.close(ours)


def test_ctrl_c_is_clean(lab, tmp_path):
    """Interrupted in the middle of an endless task: one line, exit 130, no process left."""
    import signal
    import time

    fill(lab, double="[None for _ in iter(int, 1)]")
    run_it = subprocess.Popen(
        [sys.executable, "-m", "labkit.cli", "check", "99.1"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(3)
    os.killpg(run_it.pid, signal.SIGINT)
    _, err = run_it.communicate(timeout=10)
    assert run_it.returncode == 130
    assert err == "stopped; nothing was changed.\n"
    alive = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert not alive
