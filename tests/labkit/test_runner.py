"""Task by task: what a file's outcome is called, and the sentence that goes with it."""
# tables of one-line cases

import time

import pytest
from conftest import SPEC, TOML, write

from labkit import calls, catalog, remote, runner
from labkit.calls import call_text
from labkit.catalog import LabError
from labkit.remote import Failed
from labkit.runner import Spec, explain, kitchen, observe, run

RIGHT = """
def double(x):
    return x + x
def quadruple(x, times=1):
    return x * 4 ** times
def negate(x):
    return 0 - x
class Counter:
    def __init__(self, start, step=1): self.n, self.step = start, step
    def next(self, times):
        self.n += self.step * times
        return self.n
"""


def file(lab_folder, **functions):
    """A right lab.py with some functions replaced, each by the body that is given."""
    text = RIGHT
    for name, body in functions.items():
        head = next(line for line in RIGHT.splitlines() if line.startswith(f"def {name}("))
        text = text.replace(f"{head}\n", f"{head}\n    {body}\n")
    return write(lab_folder / "lab.py", text)


def check(lab_folder, **functions):
    lab = catalog.read(lab_folder)
    return {r.task.name: r for r in run(lab, file(lab_folder, **functions))}


def statuses(results):
    return {name: r.status for name, r in results.items()}


def test_a_right_file(lab_folder):
    results = check(lab_folder)
    assert set(statuses(results).values()) == {"passed"}
    assert [(r.points, r.tests, r.tests_passed, r.note) for r in results.values()] == [
        (2, 1, 1, ""),
        (3, 1, 1, ""),
        (4, 2, 2, ""),
    ]


def test_a_file_that_is_gone_when_its_outcome_is_named(lab_folder):
    """As an editor may take it away in the middle of a check; here it takes itself away, behind its own loading."""
    lab = catalog.read(lab_folder)
    path = write(
        lab_folder / "lab.py",
        """
        import os

        os.remove(__file__)


        def double(x):
            raise NotImplementedError("double")
        """,
    )
    results = run(lab, path)
    assert not path.exists()
    assert (results[0].task.name, results[0].note) == ("double", "double is not written yet")


OUTCOMES = {
    "wrong": ("return x", "wrong", "", 0),
    "half right": ("return -3", "wrong", "", 1),
    "None": ("pass", "passed", "", 2),  # the body goes on to the right answer
    "an error": (
        "return x / 0",
        "crashed",
        "it raised ZeroDivisionError at line 6: `return x / 0`\ndivision by zero",
        0,
    ),
    "an exit": (
        "raise SystemExit(4)",
        "crashed",
        "it called for an exit (SystemExit 4) at line 6: `raise SystemExit(4)`",
        0,
    ),
    "no process": ("import os; os._exit(3)", "crashed", "The process ended itself with exit status 3", 0),
    "not written": ("raise NotImplementedError('negate')", "not-started", "negate is not written yet", 0),
    "half written": ("if x < 0: raise NotImplementedError('negate')", "begun", "negate is not written yet", 1),
    "needs another": ("raise NotImplementedError('double')", "waiting", "needs double, which is not written yet", 0),
    "needs something": ("raise NotImplementedError('that')", "crashed", "that is not written yet at line 6", 0),
    "a missing package": (
        "import no_such_thing",
        "crashed",
        "it imports no_such_thing, which is not installed (line 6)",
        0,
    ),
    "too large": ("return bytes(65 << 20)", "crashed", "what it returned cannot leave its process", 0),
    "a handle": ("return (y for y in 'ab')", "wrong", "", 0),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcomes(lab_folder, case):
    body, status, note, passed = OUTCOMES[case]
    results = check(lab_folder, negate=body)
    assert statuses(results) == {"double": "passed", "quadruple": "passed", "negate": status}
    mine = results["negate"]
    assert mine.note.startswith(note) if note else mine.note == ""
    assert (mine.tests, mine.tests_passed, mine.points) == (2, passed, 4 * (status == "passed"))


def test_too_slow(lab_folder, monkeypatch):
    monkeypatch.setattr(remote, "CALL", 0.4)
    results = check(lab_folder, double="while True: pass")
    assert statuses(results) == {"double": "slow", "quadruple": "waiting", "negate": "passed"}
    assert results["double"].note.startswith("too slow: no answer within 0.4 s; it was at line ")
    assert results["quadruple"].note == "waiting for double"
    assert results["double"].note.endswith(": `while True: pass`")
    assert results["double"].seen.unfinished


def test_a_returned_object_that_cannot_be_used_is_wrong_and_no_crash(lab_folder):
    """The spec asks what the lab returned for its `next`: the error is in what was returned, not in a line of the lab."""
    write(
        lab_folder / "test_lab.py",
        SPEC.replace('check.equal(lab.negate(3), -3, why="three")', "check.equal(lab.negate(3).next, 3)"),
    )
    results = check(lab_folder, negate="return (i for i in range(x))")
    assert statuses(results)["negate"] == "wrong"
    assert list(results["negate"].seen.stumbled.values())[0].startswith("AttributeError: 'generator' object has no")


def test_forbidden_in_the_source(lab_folder):
    results = check(lab_folder, quadruple="import math; return int(math.ldexp(x, 2 * times))")
    assert statuses(results) == {"double": "passed", "quadruple": "forbidden", "negate": "passed"}
    assert results["quadruple"].note == "line 4 uses math.ldexp, which this task asks you to write yourself"


def test_forbidden_by_another_road(lab_folder):
    body = (
        "try: return int(getattr(__import__('math'), 'ld' + 'exp')(x, 2 * times))\n    except Exception: return 4 * x"
    )
    results = check(lab_folder, quadruple=body)
    assert results["quadruple"].status == "forbidden"
    assert results["quadruple"].note.startswith("it uses math.ldexp at line 4, which this task asks you")


def test_what_is_forbidden_in_one_task_is_allowed_in_another(lab_folder):
    results = check(lab_folder, negate="import math; return int(math.ldexp(-x, 0))")
    assert set(statuses(results).values()) == {"passed"}


@pytest.mark.parametrize("data", [b"x = = 1\n", b"\0", b"x = '\xe9'\n", b"x = " + b"-" * 20_000 + b"1"])
def test_a_file_that_cannot_be_read(lab_folder, data):
    path = file(lab_folder)
    path.write_bytes(data)
    results = {r.task.name: r for r in run(catalog.read(lab_folder), path)}
    assert statuses(results) == {"double": "crashed", "quadruple": "waiting", "negate": "crashed"}
    assert "None" not in results["double"].note
    assert results["negate"].seen.unfinished


def test_a_file_that_is_not_there(lab_folder):
    results = run(catalog.read(lab_folder), lab_folder / "nothing.py")
    assert results[0].status == "crashed"
    assert "FileNotFoundError" in results[0].note


def test_the_solution_and_its_scaffold(lab_folder):
    from labkit.scaffold import generate

    lab = catalog.read(lab_folder)
    assert {r.status for r in run(lab, lab_folder / "solution.py")} == {"passed"}
    empty = write(lab_folder / "lab.py", generate(lab))
    assert [r.status for r in run(lab, empty)] == ["not-started", "waiting", "not-started"]


def test_some_tasks_only(lab_folder):
    lab = catalog.read(lab_folder)
    seen = []
    results = run(lab, file(lab_folder), tasks=["quadruple"], progress=seen.append)
    assert [r.task.name for r in results] == ["quadruple"]
    assert seen == ["double", "quadruple"]
    results = run(lab, file(lab_folder, double="return 1"), tasks=["quadruple"])
    assert [(r.status, r.note) for r in results] == [("waiting", "waiting for double")]


def test_the_whole_check_has_a_deadline(lab_folder, monkeypatch):
    monkeypatch.setattr(runner, "WHOLE", 0.5)
    began = time.monotonic()
    results = check(lab_folder, double="import time; time.sleep(60)")
    assert statuses(results) == {"double": "slow", "quadruple": "waiting", "negate": "not-run"}
    assert results["negate"].note == "the whole check may take 0.5 s, and they were over"
    assert results["negate"].points == 0
    assert time.monotonic() - began < 5


def test_printed_text(lab_folder):
    results = check(lab_folder, negate="print('thinking of', x)")
    assert results["negate"].seen.printed == "thinking of 3\nthinking of -5\n"
    assert results["double"].seen.printed == ""


def test_seeds(lab_folder):
    """The same seed draws the same numbers, another seed others."""
    lab, path = catalog.read(lab_folder), file(lab_folder, double="return 0")
    wants = [[r.want for r in run(lab, path, ["double"], seed)[0].seen.records.values()] for seed in (0, 0, 1)]
    assert wants[0] == wants[1] != wants[2]


def test_a_fresh_process_judges_the_same(lab_folder):
    lab, path = catalog.read(lab_folder), file(lab_folder, double="return 0")
    assert [r.status for r in run(lab, path, fork=False)] == ["wrong", "waiting", "passed"]


# ---- one observation


def seen(lab_folder, spec, task="negate", functions=None, **options):
    write(lab_folder / "test_lab.py", spec)
    lab, path = catalog.read(lab_folder), file(lab_folder, **(functions or {}))
    with kitchen(lab) as source:
        box = source.box()
        try:
            return observe(box, Spec.of(lab), task, lambda b: b.load(path), **options)
        finally:
            box.close()


def test_stop_at_first(lab_folder):
    wrong = {"negate": "return x"}
    every = seen(lab_folder, SPEC, functions=wrong)
    first = seen(lab_folder, SPEC, functions=wrong, stop_at_first=True)
    only = seen(lab_folder, SPEC, functions=wrong, only="test_negate_negative")
    assert every.tests() == {"test_negate": False, "test_negate_negative": False}
    assert first.tests() == {"test_negate": False}
    assert only.tests() == {"test_negate_negative": False}
    assert every.failures == [("test_negate", 0), ("test_negate_negative", 0)]


def test_an_error_costs_its_own_test_only(lab_folder):
    result = seen(lab_folder, SPEC, functions={"negate": "if x > 0: raise ValueError('at 17')"})
    assert result.tests() == {"test_negate": False, "test_negate_negative": True}
    assert result.records["test_negate", 0].got == ["raised", "ValueError", "at #"]
    assert result.errors["test_negate", 0].text == "at 17"
    assert not result.unfinished
    assert not result.passed


def test_a_spec_that_stumbles_over_what_it_got(lab_folder):
    spec = SPEC.replace("check.equal(lab.negate(3), -3", "a, b = lab.negate(3)\n    check.equal(a, -3")
    result = seen(lab_folder, spec)
    assert result.tests() == {"test_negate": False, "test_negate_negative": True}
    assert "TypeError" in result.stumbled["test_negate", 0]
    assert result.records["test_negate", 0].got[0] == "spec"


BROKEN = {
    "an unknown fixture": (
        SPEC.replace("test_negate(lab)", "test_negate(lab, rgn)"),
        "test_negate asks for 'rgn'; a test may ask for",
    ),
    "nothing checked": (
        SPEC.replace('check.equal(lab.negate(3), -3, why="three")', "lab.negate(3)"),
        "test_negate checks nothing.",
    ),
    "no task named": (SPEC + "\ndef test_stray(lab):\n    pass\n", "test_stray names no task."),
    "an unknown task": (SPEC.replace('@task("negate")', '@task("negat")'), "negat is not in both, tests and lab.toml."),
    "a task without tests": (SPEC.split('@task("negate")')[0], "negate is not in both, tests and lab.toml."),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_authors_slip_in_the_spec(lab_folder, case):
    spec, sentence = BROKEN[case]
    write(lab_folder / "test_lab.py", spec)
    lab, path = catalog.read(lab_folder), file(lab_folder)
    with pytest.raises(LabError) as error:
        run(lab, path)
    assert sentence in str(error.value)


def test_an_unwritten_function_refuses_nothing(lab_folder):
    """NotImplementedError is a RuntimeError: a test that wants one must not be satisfied by a blank page."""
    spec = SPEC.replace("check.equal(lab.negate(3), -3", "check.raises(RuntimeError, lab.negate, 3")
    write(lab_folder / "test_lab.py", spec)
    assert check(lab_folder, negate="raise NotImplementedError('negate')")["negate"].status == "not-started"
    assert check(lab_folder, negate="if x > 0: raise RuntimeError('no')")["negate"].status == "passed"


# ---- words

REPORTS = {
    "raised": "it raised KeyError at line 3: `x[1]`\n1",
    "unwritten": "1 is not written yet at line 3",
    "syntax": "KeyError in line 3: 1: `x[1]`",
    "missing": "it imports 1, which is not installed (line 3)",
    "forbidden": "it uses 1 at line 3, which this task asks you to write yourself",
    "exited": "it called for an exit (KeyError 1) at line 3: `x[1]`",
    "memory": "out of memory at line 3: `x[1]` (1)",
    "unsendable": "what it returned cannot leave its process: 1",
    "slow": "too slow: 1; it was at line 3: `x[1]`",
    "died": "1",
    "flood": "1, which looks like a print in an endless loop",
    "garbage": "its process broke the protocol: 1",
}


@pytest.mark.parametrize("outcome", REPORTS)
def test_explain(outcome):
    assert explain(Failed(outcome, "1", ["KeyError", "Exception"], 3, "x[1]")) == REPORTS[outcome]
    bare = explain(Failed(outcome, ""))
    assert "None" not in bare
    assert "line" not in bare


CALLS = """
from labkit.spec import check, task

@task("double")
def test_double(lab):
    check.equal(lab.double(7), 0)
    check.equal(lab.quadruple(7, times=2), 0)
    check.equal(lab.quadruple(7, 3), 0)
    check.equal(lab.Counter(5, 2).next(3), 0)
    check.equal(lab.Counter(5, 2).n, 0)
    check.equal(lab.probe(beside, 7, "a"), 0)
    check.equal(lab.probe(alone), 0)
    check.equal(lab.probe(taken, lab.Counter), 0)

@task("quadruple")
def test_quadruple(lab):
    check.equal(1, 1)

@task("negate")
def test_negate(lab):
    check.equal(1, 2)

def beside(lab, x, y): return x
def alone(lab): return 1
def taken(lab, c): return 1
"""


def test_call_text(lab_folder):
    result = seen(lab_folder, CALLS, "double")
    lab = catalog.read(lab_folder)
    assert result.stumbled == {}
    assert [call_text(lab, calls) for calls in result.calls.values()] == [
        "double(7)",
        "quadruple(7, times=2)",
        "quadruple(x=7, times=3)",
        "Counter(…).next(3)",
        "Counter(…).n",
        "beside(lab, 7, 'a')   # runs beside your code",
        "alone(lab)   # runs beside your code",
        "taken(lab, …)   # runs beside your code",
    ]
    assert call_text(lab, []) == ""


def test_a_record_before_any_call(lab_folder):
    result = seen(lab_folder, CALLS, "negate")
    assert result.calls == {("test_negate", 0): []}
    assert not result.passed


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("double", ["x"]),
        ("quadruple", ["x", "times"]),
        ("Counter", ["start", "step"]),
        ("Counter(…).next", ["times"]),
        ("Counter.next", ["times"]),
        ("nothing", []),
        ("Counter.nothing", []),
        ("double.nothing", []),
        ("", []),
    ],
)
def test_parameters(lab_folder, name, parameters):
    assert calls.parameters(catalog.read(lab_folder), name) == parameters


def test_tasks_that_forbid_a_package_are_checked_without_it(lab_folder):
    write(lab_folder / "lab.toml", TOML.replace("extras = []", 'extras = []\nforbidden = ["csv"]'))
    results = check(lab_folder, negate="import csv; return -x")
    assert statuses(results) == {"double": "passed", "quadruple": "passed", "negate": "forbidden"}


@pytest.mark.parametrize(
    ("first", "order"),
    [
        (None, ["double", "quadruple", "negate"]),
        ("negate", ["negate", "double", "quadruple"]),
        ("quadruple", ["double", "quadruple", "negate"]),
    ],
)
def test_results_come_one_by_one_the_wanted_one_first_but_never_before_what_it_builds_on(lab_folder, first, order):
    lab = catalog.read(lab_folder)
    begun = []
    with kitchen(lab) as source:
        for n, result in enumerate(
            runner.results(source, Spec.of(lab), file(lab_folder), progress=begun.append, first=first)
        ):
            assert begun == order[: n + 1]  # the next task has not begun when a result comes
            assert (result.task.name, result.status) == (order[n], "passed")
    assert begun == order
