"""`lab diff`: only what was earned or asked for, and only what differs."""

import io
import os
import pty
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from conftest import RIGHT, fill, write

from labkit import catalog, differences
from labkit.cli import main
from labkit.progress import Progress
from labkit.report import Paint

PLAIN = Paint(io.StringIO())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_before_a_pass_it_is_refused_in_one_line_that_says_what_to_do(lab, capsys):
    fill(lab, double="x * x")
    assert main(["diff", "99.1", "double"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "lab check 99.1 double" in err
    assert "--give-up" in err
    assert "given_up" not in (Path(".lab/progress.json").read_text() if Path(".lab/progress.json").exists() else "")


def test_after_the_pass_it_shows_that_task_alone(lab, capsys):
    fill(lab, double="x + x", negate="-x")
    main(["check", "99.1"])
    capsys.readouterr()
    assert main(["diff", "double"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[2:] == ["double", "  - return x + x", "  + return 2 * x"]
    assert main(["diff", "99.1", "negate"]) == 0
    assert "the same, line for line" in capsys.readouterr().out
    assert main(["diff", "99.1", "quadruple"]) == 1


def test_a_lab_that_passed_once_stays_open_through_later_experiments(lab, capsys):
    fill(lab, **RIGHT)
    main(["check", "99.1"])
    fill(lab, double="x")
    main(["check", "99.1"])
    assert main(["diff", "99.1", "double"]) == 0


def test_giving_up_is_remembered_shown_and_takes_nothing_away(lab, capsys):
    assert main(["diff", "99.1", "double", "--give-up", "--yes"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[2:] == ["double", "  + return 2 * x"]
    assert Progress(Path.cwd()).given_up(lab) == ["double"]
    assert main(["diff", "99.1", "double"]) == 0  # no question a second time
    assert main(["diff", "99.1", "negate"]) == 1  # of this task only
    capsys.readouterr()
    main(["list"])
    assert "reference shown of double" in capsys.readouterr().out
    main(["check", "99.1"])
    out = capsys.readouterr().out
    assert "double       0/2  not started  reference shown" in out
    assert out.count("reference shown") == 1
    fill(lab, **RIGHT)
    assert main(["check", "99.1"]) == 0
    assert "reference shown" not in capsys.readouterr().out
    assert Progress(Path.cwd()).points(lab) == 9
    main(["list"])
    assert "reference shown" not in capsys.readouterr().out


def test_giving_up_where_nobody_can_be_asked_needs_a_yes(lab, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["diff", "99.1", "double", "--give-up"]) == 2
    assert "--give-up --yes" in capsys.readouterr().err
    assert Progress(Path.cwd()).given_up(lab) == []


@pytest.mark.parametrize(
    ("answer", "code", "given"), [("y", 0, ["double"]), ("", 1, []), ("no", 1, []), ("YES", 0, ["double"])]
)
def test_giving_up_asks(lab, answer, code, given):
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("lab")), "diff", "99.1", "double", "--give-up"]
    run = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    os.write(ours, f"{answer}\n".encode())
    out, _ = run.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (run.returncode, "+ return 2 * x" in out) == (code, code == 0)
    assert Progress(Path.cwd()).given_up(lab) == given


def test_a_record_of_before_there_was_giving_up_is_read(lab):
    record = '{"version": 1, "labs": {"99.1": {"hash": "", "done": "", "passed": [], "hints": {}, "scaffold": ""}}}'
    write(Path(".lab/progress.json"), record)
    progress = Progress(Path.cwd())
    assert progress.given_up(lab) == []
    progress.give_up(lab, lab.task("double"))
    assert Progress(Path.cwd()).given_up(lab) == ["double"]


# ---- which task


def other_lab(lab: catalog.Lab, task: str) -> None:
    folder = lab.folder.with_name("lab-02-z")
    for name in ("solution.py", "test_lab.py", "lab.toml"):
        text = (
            lab.file(name).read_text().replace("99.1", "99.2").replace("negate", task).replace("quadruple", "fourfold")
        )
        write(folder / name, text)


def test_a_task_is_found_in_the_lab_here_then_in_the_only_one_that_has_it(lab, capsys):
    other_lab(lab, "minus")
    base = Path.cwd()
    found = [differences.locate(base, words, lambda: lab) for words in (["double"], ["minus"], ["99.2", "double"])]
    assert [(where.id, task.name) for where, task in found] == [
        ("99.1", "double"),
        ("99.2", "minus"),
        ("99.2", "double"),
    ]
    other = catalog.find(base, "99.2")
    assert differences.locate(base, ["double"], lambda: other)[0].id == "99.2"
    assert differences.locate(base, ["double", "99.2"], lambda: lab)[0].id == "99.2"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Say which task: `lab diff 99.1 double`.  Lab 99.1 has double, quadruple, negate."),
        (["99.1"], "Say which task"),
        (["99.1", "negate", "double"], "Say which task"),
        (["doubel"], "Did you mean double?"),
        (["99.7", "double"], "There is no lab 99.7"),
    ],
)
def test_what_cannot_be_meant(lab, words, says, capsys):
    assert main(["diff", *words]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_task_of_several_other_labs_needs_the_id(lab, capsys):
    other_lab(lab, "minus")
    third = lab.folder.with_name("lab-03-z")
    write(
        third / "solution.py", "def only(x):\n    # TODO\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION\n"
    )
    toml = lab.file("lab.toml").read_text().split("[[task]]")[0].replace("99.1", "99.3")
    write(third / "lab.toml", f'{toml}\n[[task]]\nname = "only"\npoints = 1\nhints = ["a", "b", "c"]\n')
    with pytest.raises(
        catalog.LabError, match=r"Several labs have a task double: `lab diff 99\.1 double` or `lab diff 99\.2"
    ):
        differences.locate(Path.cwd(), ["double"], lambda: catalog.find(Path.cwd(), "99.3"))


# ---- what is compared

REFERENCE = '''
"""A module."""
import re

### BEGIN SOLUTION
PATTERN = re.compile(r"\\w+")
### END SOLUTION
LIMIT = 5  # given


class Counter:
    """Counts."""

    def __init__(self):
        self.n = 0

    def add(
        self,
        text: str,
    ) -> int:
        """Adds the words of a text.

        Returns the number so far.
        """
        # TODO: count words,
        #       not characters.
        ### BEGIN SOLUTION
        # every match is a word
        self.n += self._count(text)
        return self.n
        ### END SOLUTION

    ### BEGIN SOLUTION
    def _count(self, text):
        return len(_words(text))
    ### END SOLUTION


### BEGIN SOLUTION
def _words(text):
    return PATTERN.findall(text)


def _unused():
    return 0
### END SOLUTION


def one(x): return x
'''
MINE = '''
import re

LIMIT = 5


class Counter:
    def __init__(self):
        self.n = 0

    def add(
        self,
        text: str,
    ) -> int:
        """Adds the words of a text."""
        # TODO: count words,
        #       not characters.
        # by splitting
        self.n += len(pieces(text))

        return self.n


def pieces(text):
    return text.split()
'''


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("Counter.add", ["# every match is a word", "self.n += self._count(text)", "return self.n"]),
        ("_words", ["return PATTERN.findall(text)"]),
        ("Counter.nothing", []),
        ("Counter", []),
        ("nobody", []),
    ],
)
def test_a_body_is_what_stands_between_docstring_and_end(name, lines):
    assert differences.body(REFERENCE, name) == lines


def test_what_was_not_written_is_no_line():
    assert (
        differences.body('def f(x):\n    """Does."""\n    # TODO: do\n    raise NotImplementedError("f")\n', "f") == []
    )
    kept = 'def f(x):\n    raise NotImplementedError("not for %s" % x)\n'
    assert differences.body(kept, "f") == ['raise NotImplementedError("not for %s" % x)']


def test_helpers_are_shown_where_they_are_used_and_no_others(lab):
    toml = lab.file("lab.toml").read_text().split("[[task]]")[0]
    lab.file("lab.toml").write_text(
        f'{toml}\n[[task]]\nname = "add"\npoints = 1\nhints = ["a", "b", "c"]\nwrites = ["Counter.add"]\n'
    )
    write(lab.file("solution.py"), REFERENCE)
    counted = catalog.read(lab.folder)
    pairs = differences.compare(counted, counted.task("add"), MINE)
    assert [name for name, _, _ in pairs] == ["Counter.add", "Counter._count", "_words", "PATTERN", "pieces"]
    found = {name: (mine, theirs) for name, mine, theirs in pairs}
    assert found["Counter.add"][0] == ["# by splitting", "self.n += len(pieces(text))", "", "return self.n"]
    assert found["PATTERN"] == ([], ['PATTERN = re.compile(r"\\w+")'])
    assert found["pieces"] == (["def pieces(text):", "    return text.split()"], [])


def test_a_file_that_cannot_be_read_is_said_to_be_so(lab, capsys):
    main(["diff", "99.1", "double", "--give-up", "--yes"])
    lab.file("lab.py").write_text("def double(x:\n")
    capsys.readouterr()
    assert main(["diff", "99.1", "double"]) == 2
    assert "line 1" in capsys.readouterr().err
    lab.file("lab.py").unlink()
    assert main(["diff", "99.1", "double"]) == 2
    assert "lab reset 99.1" in capsys.readouterr().err


def test_giving_up_is_recorded_only_when_there_is_something_to_show(lab, capsys):
    lab.file("lab.py").write_text("def double(x:\n")
    assert main(["diff", "99.1", "double", "--give-up", "--yes"]) == 2
    lab.file("lab.py").unlink()
    assert main(["diff", "99.1", "double", "--give-up", "--yes"]) == 2
    assert Progress(Path.cwd()).given_up(lab) == []


def test_a_helper_class_is_shown_once(lab):
    mine = scaffolded = lab.file("lab.py").read_text()
    helper = "class Two:\n    def times(self, x):\n        return x + x\n\n    def unused(self):\n        return 0\n"
    mine = scaffolded.replace('raise NotImplementedError("double")', "return Two().times(x)") + f"\n\n{helper}"
    pairs = differences.compare(lab, lab.task("double"), mine)
    assert [name for name, _, _ in pairs] == ["double", "Two"]
    assert pairs[1][1] == helper.splitlines()


def test_a_body_that_begins_with_a_decorated_function_keeps_the_decorator():
    source = "def f(x):\n    @cache\n    @other\n    def g(y):\n        return y\n\n    return g(x)\n"
    assert differences.body(source, "f") == ["@cache", "@other", "def g(y):", "    return y", "", "return g(x)"]


def test_an_escape_that_python_warns_of_prints_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert differences.body('def f(x):\n    return "\\d"\n', "f") == ['return "\\d"']
        assert [*differences.helpers('P = "\\d"\n', "")] == ["P"]


def test_lines_that_are_alike_are_compared_word_by_word():
    mine, theirs = (
        ["a = 1", "weights = softmax(scores, dim=-2)", "return weights"],
        ["a = 1", "weights = softmax(scores, dim=-1)", "return weights"],
    )
    assert differences.lines_of(mine, theirs, PLAIN) == [
        "    a = 1",
        "  - weights = softmax(scores, dim=-2)",
        "  + weights = softmax(scores, dim=-1)",
        "    return weights",
    ]
    coloured = differences.lines_of(mine, theirs, _terminal())
    assert coloured[1].endswith("dim=-\033[1;31m2\033[0m)")
    assert coloured[2].endswith("dim=-\033[1;32m1\033[0m)")


def test_lines_that_are_not_alike_are_shown_whole_and_in_blocks():
    assert differences.lines_of(["for x in y:", "    print(x)"], ["return sum(z)"], PLAIN) == [
        "  - for x in y:",
        "  -     print(x)",
        "  + return sum(z)",
    ]
    assert differences.lines_of([], ["return 1"], PLAIN) == ["  + return 1"]
    assert differences.lines_of(["return 1"], [], PLAIN) == ["  - return 1"]
    assert differences.lines_of([], [], PLAIN) == []


def _terminal() -> Paint:
    paint = Paint(Terminal())
    paint.on = True
    return paint
