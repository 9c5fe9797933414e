"""`lab oral`: every key is checked by running the code that stands on the page."""

import ast
import hashlib
import re
from pathlib import Path

import pytest
from conftest import write

from labkit import catalog, oral, oral_cases, oral_questions, oral_source, oral_words
from labkit.catalog import LabError
from labkit.grading.records import TaskVerdict, Verdict
from labkit.grading.store import Store
from labkit.oral_questions import Question
from labkit.remote import Call

ROOT = Path(__file__).resolve().parents[2]
TOML = """
id = "99.2"
title = "Lists"
why = "To order."
difficulty = 1
minutes = 5
concepts = ["lists"]
needs = []
extras = []

[[task]]
name = "below"
points = 2
hints = ["a", "b", "c"]

[[task]]
name = "sums"
points = 3
hints = ["a", "b", "c"]
"""
SOLUTION = """
def below(items, limit):
    # TODO
    ### BEGIN SOLUTION
    return [x for x in items if x < limit]
    ### END SOLUTION


def sums(items):
    # TODO
    ### BEGIN SOLUTION
    total, out = 0, []
    for x in items:
        total = total + x
        out.append(total)
    return out
    ### END SOLUTION
"""
SPEC = """
from labkit.spec import check, task


@task("below")
def test_below_some(lab, random):
    items = [random.randint(0, 9) for _ in range(8)]
    check.equal(lab.below(items, 5), [x for x in items if x < 5], why="random numbers")


@task("below")
def test_below_the_limit_itself(lab):
    check.equal(lab.below([1, 2, 3, 2], 2), [1], why="the limit is not below itself")


@task("sums")
def test_sums(lab, random):
    items = [random.randint(1, 9) for _ in range(6)]
    check.equal(lab.sums(items), [sum(items[: i + 1]) for i in range(6)], why="random numbers")
"""
MISTAKES = """
from labkit.spec import mistake


@mistake("below", says="The limit itself is let through.")
def lets_the_limit_through(items, limit):
    return [x for x in items if x <= limit]  # the bug is here


@mistake("below", says="Above and not below.")
def the_other_side(items, limit):
    return [x for x in items if _above(x, limit)]


def _above(x, limit):
    return x > limit


@mistake("sums", says="The first is forgotten.")
def forgets_the_first(items):
    return forgets_the_first_of(items)[1:] if items else []


def forgets_the_first_of(items):
    return [sum(items[: i + 1]) for i in range(len(items))]


@mistake("sums", says="The total alone.")
def the_total(items):
    return [sum(items)] * len(items)
"""
EQUIVALENTS = """
from labkit.spec import equivalent


@equivalent("below")
def by_filter(items, limit):
    return list(filter(lambda x: x < limit, items))


@equivalent("sums")
def by_slices(items):
    return [sum(items[: i + 1]) for i in range(len(items))]
"""
OWN = '''
def helper(items, limit):
    """Not asked for \\x1b[31m."""
    return [x for x in items if x < limit]


def below(items, limit):
    return helper(items, limit)  # \x1b[31m<b>mine</b>


def sums(items):
    out = []
    for x in items:
        out.append(x + (out[-1] if out else 0))
    return out
'''


@pytest.fixture
def lab(tmp_path):
    folder = tmp_path / "phases" / "phase-99-x" / "lab-02-z"
    files = {"lab.toml": TOML, "solution.py": SOLUTION, "test_lab.py": SPEC, "mistakes.py": MISTAKES}
    files["equivalents.py"] = EQUIVALENTS
    for name, text in files.items():
        write(folder / name, text)
    return catalog.read(folder)


def codes(blocks):
    return [text for kind, text in blocks if kind == "code"]


def defined(source):
    names = {}
    exec(source, names)  # the tests' own text
    return names


def unnumbered(code):
    return "\n".join(re.sub(r"^ *\d+  ", "", line, count=1) for line in code.split("\n"))


def test_every_key_is_what_running_the_page_gives(lab):
    questions = {q.kind: q for q in oral.make(lab, OWN.encode(), "ada")}
    assert set(questions) == {"difference", "prediction", "change"}
    assert len({q.about for q in questions.values()}) == 3

    q = questions["difference"]
    own, theirs = codes(q.ask)
    assert q.about not in theirs
    assert "bug" not in theirs
    case, answers = codes(q.key)
    mine, wrong = eval(case, defined(unnumbered(own))), eval(case, defined(theirs))
    assert answers == f"student's: {mine}\nclassmate's: {wrong}"
    assert mine != wrong
    assert mine == eval(case, defined(SOLUTION))

    q = questions["prediction"]
    own, case = codes(q.ask)
    right, wrong = codes(q.key)
    assert right == str(eval(case, defined(unnumbered(own)))) == str(eval(case, defined(SOLUTION)))
    assert wrong == str(eval(case, defined(MISTAKES.replace(f"def {q.about}(", f"def {q.task}("))))
    assert len(set(ast.literal_eval(right))) >= 2

    q = questions["change"]
    lines, tests = codes(q.ask)[-2:]  # the code stands under the question before it
    old, new = (line[2:] for line in lines.split("\n"))
    number = int(q.about.removeprefix("line "))
    assert OWN.split("\n")[number - 1].strip() == old
    changed = defined(OWN.replace(old, new))
    said = codes(q.key)[0]
    called, expected = (re.search(rf"(?m)^{word} +(.*)$", said)[1] for word in ("called", "expected"))
    call = called.replace("items=", "").replace("limit=", "")
    assert eval(call, defined(OWN)) == ast.literal_eval(expected)
    try:
        got = str(eval(call, changed))
    except Exception as e:
        got = type(e).__name__
    assert got in said
    first = re.search(r"The first to fail is (\d+)", q.key[0][1])[1]
    claim = dict(line.split("  ", 1) for line in tests.split("\n"))[first]
    assert said.startswith(f"{q.task} · {claim}")


def test_the_same_student_gets_the_same_and_others_others(lab):
    def asked(student):
        return [(q.kind, q.about, q.ask, q.key) for q in oral.make(lab, OWN.encode(), student)]

    first = asked("ada")
    assert asked("ada") == first
    assert any(asked(student) != first for student in ("bob", "eve", "kim"))


def test_a_task_that_fails_is_not_asked_about(lab):
    wrong = OWN.replace("out[-1] if out else 0", "0")
    questions = oral.make(lab, wrong.encode(), "ada")
    assert {q.task for q in questions} == {"below"}
    assert 1 <= len(questions) <= 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"def below(items, limit):\n    return 3\n", "passes no task"),
        (b"def below(:\n", "not Python"),
        (b"\x00", "not Python"),
        (b"", "passes no task"),
    ],
)
def test_what_cannot_be_asked_about_is_refused_in_a_line(lab, data, says):
    with pytest.raises(LabError, match=says) as e:
        oral.make(lab, data, "ada")
    assert "\n" not in str(e.value)


def test_the_pages_are_harmless_and_the_keys_stand_on_one_only(lab, tmp_path, capsys):
    file = write(tmp_path / "own.py", OWN)
    assert oral.main(tmp_path, "99.2", "ada/../x", file, None, None) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    sheet, keys = text.split("=" * 78)
    assert keys.lstrip().startswith("Keys: 99.2 Lists")
    for word in ("The first to fail is", "student's:", "lets_the_limit_through", "forgets_the_first"):
        assert word not in sheet
    assert oral.main(tmp_path, "99.2", "ada/../x", file, None, tmp_path / "pages") == 0
    sheet, keys = (next((tmp_path / "pages").glob(f"*-{kind}.html")).read_text() for kind in ("questions", "keys"))
    assert len([*(tmp_path / "pages").iterdir()]) == 2
    assert "<b>" not in sheet + keys
    assert "&lt;b&gt;mine" in sheet
    assert "The first to fail is" in keys
    assert "The first to fail is" not in sheet
    assert "<code>lab check</code>" in keys


def test_the_file_comes_from_the_results_of_lab_grade(lab, tmp_path, capsys):
    store, _ = Store.open(tmp_path / "results", "", resume=False)
    store.keep_file(OWN.encode())
    name = hashlib.sha256(OWN.encode()).hexdigest()
    task = TaskVerdict("below", 2, 2, "passed")
    store.keep("key", Verdict("99.2", "Lists", name, [task]), b"")
    store.keep_index({("ada", "99.2"): "key", ("eve", "99.2"): "gone", ("kim", "99.1"): "key"})
    assert oral.main(tmp_path, "99.2", "ada", None, store.folder, None) == 0
    from_results = capsys.readouterr().out
    file = tmp_path / "own.py"
    file.write_bytes(OWN.encode())
    assert oral.main(tmp_path, "99.2", "ada", file, None, None) == 0
    assert from_results == capsys.readouterr().out
    for student, says in (("kim", "no graded file"), ("zoe", "no student zoe"), ("eve", "verdict is not in")):
        with pytest.raises(LabError, match=says):
            oral.main(tmp_path, "99.2", student, None, store.folder, None)


@pytest.mark.parametrize("sources", [(None, None), (Path("a"), Path("b"))])
def test_one_source_is_named(lab, tmp_path, sources):
    with pytest.raises(LabError, match="--file"):
        oral.main(tmp_path, "99.2", "ada", *sources, None)


def test_a_file_that_is_not_there(lab, tmp_path):
    with pytest.raises(LabError, match="cannot be read"):
        oral.main(tmp_path, "99.2", "ada", tmp_path / "none.py", None, None)


def test_changes_touch_one_thing_in_what_runs():
    source = '''
def f(x: int = 3) -> "list[4]":
    """Doc 5."""
    y: int = 6
    while x < 7:
        x += 8
    if not (x <= 9) and True:
        return ~x * (y - 10)
    return f"{x + 11}"
'''
    text, tree = oral_source.parsed(source.encode())
    found = {new.strip() for _, new in oral_source.changes(text, oral_source.definition(tree, "f"))}
    assert found == {
        "y: int = 7",
        "if (x <= 9) and True:",
        "if not (x < 9) and True:",
        "if not (x <= 10) and True:",
        "if not (x <= 9) and False:",
        "return x * (y - 10)",
        "return ~x * (y + 10)",
        "return ~x * (y - 11)",
    }


def test_source_is_shown_with_what_it_uses_and_nothing_else():
    source = "A = 1\nB = 2\ndef deco(f): ...\n\n@deco\ndef g():\n    return A\n\nclass C:\n    def m(self):\n        return g()\n\ndef C2(): ...\n"
    text, tree = oral_source.parsed(source.replace("\n", "\r\n").encode("utf-8-sig"))
    assert oral_source.shown(text, tree, ["C.m"]) == (
        "A = 1\n\ndef g():\n    return A\n\nclass C:\n    def m(self):\n        return g()"
    )
    assert oral_source.shown(text, tree, ["nothing"]) == ""
    assert oral_source.definition(tree, "C.m").lineno == 10
    assert oral_source.definition(tree, "C.none") is None
    assert oral_source.definition(tree, "A") is None


@pytest.mark.parametrize(
    ("value", "can"),
    [
        ([1, 2, 3], True),
        ([0.25, -1.0, float("inf")], True),
        ([0.1, 1.0, 2.0], False),
        ([0.0, -0.0, 0.0], False),
        ([1, 2], False),
        (list(range(16)), True),
        (list(range(17)), False),
        ({"a": [1, 2]}, True),
    ],
)
def test_what_a_person_can_be_asked_to_predict(value, can):
    assert oral_words.predictable(value) is can


def test_gates_in_one_array_are_cut_to_whole_gates():
    import numpy as np

    shapes = [args[0].shape for [(args, _)] in oral_cases.smaller_arrays([([np.zeros((28, 7))], {})])]
    assert shapes == [(n, 7) for n in (4, 8, 12, 24)] + [(28, n) for n in (1, 2, 3, 6)]


def test_numbers_beside_arrays_become_plainer():
    plainer = [args for [(args, _)] in oral_cases.smaller_arrays([([2.34567, [1.0, 3]], {})])]
    assert sorted(plainer) == [[2.0, [1.0, 3]], [2.35, [1.0, 3]]]


def test_arrays_shrink_together_and_come_to_an_end():
    import numpy as np

    a, b = np.full((3, 4), 2.6), np.arange(3) + 5
    steps, arguments = 0, [([[a], "text"], {"b": b})]
    shapes = {(args[0][0].shape, named["b"].shape) for [(args, named)] in oral_cases.smaller_arrays(arguments)}
    assert shapes == {((3, n), (3,)) for n in (1, 2, 3, 4)} | {((n, 4), (n,)) for n in (1, 2)}
    while smaller := list(oral_cases.smaller_arrays(arguments)):
        steps += 1
        assert steps < 20
        arguments = smaller[-1]
    (([less], word), named) = arguments[0]
    assert (less.tolist(), word, named["b"].tolist()) == ([[0.0] * 4], "text", [0])  # 4 may be four gates of 1
    assert (a == 2.6).all()
    assert b.tolist() == [5, 6, 7]


def test_the_same_code_is_printed_once():
    def asked(code):
        return Question("change", "f", "", [("text", "This is your f:"), ("code", code), ("text", "Why?")], [])

    first, other, again = oral._once([asked("def f(): 1"), asked("def f(): 2"), asked("def f(): 1")])
    assert (first, other) == (asked("def f(): 1"), asked("def f(): 2"))
    assert again.ask == [("text", "This is your f, as under question 1."), ("text", "Why?")]


CLASS = '''
class C:
    limit = 3

    def __init__(self):
        self.n = 0

    def asked(self):
        """What is asked.

        >>> C().asked()
        7

        Words behind it.
        """
        return self._used() + self.n

    @property
    def other(self):
        return 8

    def _used(self):
        return 7
'''


def test_a_method_is_shown_with_what_it_uses_and_without_examples():
    text, tree = oral_source.parsed(CLASS.encode())
    shown = oral_source.shown(text, tree, ["C.asked"])
    for there in ("limit = 3", "def __init__", "def asked", "What is asked", "Words behind it", "def _used"):
        assert there in shown
    for gone in (">>>", "other", "property", "8", "        7\n"):
        assert gone not in shown
    assert "other" in oral_source.shown(text, tree, ["C"])
    assert not shown.endswith("\n")


def test_remarks_of_a_mistake_are_left_out_and_hashes_in_strings_are_not():
    source = "def bad(x):\n    # here is the bug\n    return x + '  # no remark'  # the bug\n"
    assert oral_source.renamed(source, "bad", "C.good") == "def good(x):\n    return x + '  # no remark'\n"


def test_answers_of_several_arrays_stand_on_lines_of_their_own():
    import numpy as np

    one = np.array([1.0])
    line = "array 1 float64 [1.0]"
    assert oral_words.answer([0.5, [one, one]]) == f"0.5\n  {line}\n  {line}"
    assert oral_words.answer([[1, 2], one]) == f"  [1, 2]\n{line}"
    assert oral_words.answer([[1, 2]]) == "[[1, 2]]"


def test_a_case_is_written_without_what_says_nothing(lab):
    import numpy as np

    given = ([np.array([1.5]), np.array([2], dtype="int32")], {})
    calls = [Call("get", 0, "below", 1), Call("call", 1, "below", data=b"any")]
    text = oral_words.written(lab, calls, [([], {}), given])
    assert text == 'below(np.array([1.5]), np.array([2], dtype="int32"))'


def test_a_case_on_which_right_versions_differ_is_no_question(lab):
    choosy = EQUIVALENTS.replace("return [sum(", "return [] if 0 in items else [sum(")
    assert choosy != EQUIVALENTS
    write(lab.file("equivalents.py"), choosy)
    asked = [q for student in "ab" for q in oral.make(lab, OWN.encode(), student) if q.task == "sums"]
    cases = [codes(q.key)[0] if q.kind == "difference" else codes(q.ask)[-1] for q in asked if q.kind != "change"]
    assert cases
    assert not [case for case in cases if "0" in case]


def test_a_variant_has_no_mistakes_and_gets_questions_on_changed_lines(lab):
    lab.file("mistakes.py").unlink()
    lab.file("equivalents.py").unlink()
    questions = oral.make(lab, SOLUTION.encode(), "ada")
    assert {q.kind for q in questions} == {"change"}
    assert sorted(q.task for q in questions) == ["below", "sums"]


def test_where_no_input_can_be_written_the_tests_are_asked_about(lab, monkeypatch):
    monkeypatch.setattr(oral_questions, "smallest", lambda *_: None)
    questions = oral.make(lab, SOLUTION.encode(), "ada")
    assert [q.kind for q in questions] == ["change", "verdict", "change"]
    (q,) = (q for q in questions if q.kind == "verdict")
    *_, theirs, tests = codes(q.ask)
    assert q.about not in theirs
    first = int(re.search(r"The first to fail is (\d+)", q.key[0][1])[1])
    said = codes(q.key)[0]
    assert said.startswith(f"{q.task} · {tests.splitlines()[first - 1].split('  ')[1]}")
    call, got = (re.search(rf"(?m)^{word} +(.*)$", said)[1] for word in ("called", "got"))
    call = call.replace("items=", "").replace("limit=", "")
    assert str(eval(call, defined(theirs))) == got
    assert f"({lab.id}/{q.about})" in said


@pytest.mark.slow
def test_a_real_lab_gives_three_questions_with_small_inputs():
    real = catalog.find(ROOT, "4.1")
    questions = oral.make(real, real.file("solution.py").read_bytes(), "ada")
    assert [q.kind for q in questions] == ["difference", "prediction", "change"]
    import torch

    case, answers = codes(questions[0].key)
    names = defined(real.file("solution.py").read_text()) | {"torch": torch}
    lines = case.split("\n")
    exec("\n".join(lines[:-1]), names)
    out = eval(lines[-1], names)
    parts = [out] if isinstance(out, torch.Tensor) else [*out]
    student, _ = answers.split("classmate's:")
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", student)]
    assert torch.cat([x.flatten() for x in parts]).tolist() == pytest.approx(numbers, abs=1e-4)
    assert len(numbers) <= 12
