"""Variants: dials compose in any set, copying the public solution fails, the varied reference passes; slips are named."""

import ast
import collections
import doctest
import hashlib
import importlib.util
import itertools
import sys

import pytest
from conftest import write

from labkit import catalog, dial, runner, scaffold, vary, vary_check, vary_command
from labkit.catalog import LabError

ROOT = catalog.root(catalog.Path(__file__))
WITH_DIALS = [lab.id for lab in vary.varied(ROOT)]
QUICK = ["4.1"]  # the others, and the whole proof of all, take minutes: see the slow test

HALF = """
[[dial]]
name = "half"
says = "double halves."
tasks = ["double"]
[[dial.edit]]
file = "solution.py"
old = "return 2 * x"
new = "return x / 2"
[[dial.edit]]
file = "test_lab.py"
old = "lab.double(x), 2 * x"
new = "lab.double(x), x / 2"
[[dial.edit]]
file = "test_lab.py"
old = "4 * x, why"
new = "x / 4, why"
[[dial.edit]]
file = "test_lab.py"
old = "16 * x"
new = "x / 16"
"""
SAME = """
[[dial]]
name = "same"
says = "negate leaves the sign as it is."
tasks = ["negate"]
[[dial.edit]]
file = "solution.py"
old = "return -x"
new = "return +x"
[[dial.edit]]
file = "test_lab.py"
old = "lab.negate(3), -3"
new = "lab.negate(3), 3"
[[dial.edit]]
file = "test_lab.py"
old = "lab.negate(-5), 5"
new = "lab.negate(-5), -5"
"""
TWO = HALF + SAME


@pytest.fixture
def toy(lab_folder, tmp_path):
    """A function that gives the tiny lab these dials."""

    def made(dials=TWO):
        write(lab_folder / "dials.toml", dials)
        write(lab_folder / "README.md", "# 99.1 Numbers\n\nCount.\n")
        solution = lab_folder / "solution.py"
        if not solution.read_text().startswith('"""'):
            solution.write_text('"""Numbers.\n\nTo count.\n"""\n' + solution.read_text())
        (tmp_path / "labkit").mkdir(exist_ok=True)
        return catalog.read(lab_folder)

    return made


# ---- dials.toml


def test_what_old_and_new_share_is_context():
    edit = dial.Edit("f", "scores = q @ k.T / d", "scores = q @ k / d")
    assert edit.spans("    scores = q @ k.T / d\n") == [(18, 20, "")]
    assert dial.Edit("f", "aa", "aaa").spans("aa") == [(2, 2, "a")]
    assert dial.Edit("f", "a", "b", 2).spans("a-a") == [(0, 1, "b"), (2, 3, "b")]


def test_neighbours_in_one_line_compose_in_any_order(toy):
    lab = toy()
    edits = {"star": ("def negate(x)", "def negate(*x)"), "more": ("negate(x):", "negate(x, y=1):")}
    both = [dial.Dial(n, "", ("negate",), (dial.Edit("solution.py", *e),)) for n, e in edits.items()]
    texts = {dial.turned(lab, order)["solution.py"] for order in (both, both[::-1])}
    assert len(texts) == 1
    assert "def negate(*x, y=1):" in texts.pop()


SLIPS = {
    "nowhere": ("return -x", "return - x", "dial same: 'return - x' stands nowhere in solution.py"),
    "twice": ('old = "return -x"', 'old = "return "', "dial same: 'return' stands 4 times in solution.py, and it must once"),
    "too few": ('new = "return +x"', 'new = "return +x"\ncount = 2', "stands once in solution.py, and it must 2 times"),
    "changes nothing": ('new = "return +x"', 'new = "return -x"', "changes nothing: 'return -x'"),
    "no such file": ('file = "solution.py"\nold = "return -x"', 'file = "x.py"\nold = "return -x"', "edits x.py, which is"),
    "a file that is generated": ('"solution.py"\nold = "return -x"', '"lab.py"\nold = "return -x"', "edits lab.py, which"),
    "outside": ('"solution.py"\nold = "return -x"', '"../a.py"\nold = "return -x"', "edits ../a.py, which is no file"),
    "unknown task": ('["negate"]', '["neg"]', "dial same names neg, which is no task of lab 99.1"),
    "no task": ('["negate"]', "[]", "dial same names no task"),
    "no name": ('name = "same"\n', "", "name is missing"),
    "no says": ('says = "negate leaves the sign as it is."\n', "", "says is missing"),
    "no old": ('old = "return -x"\n', "", "old is missing"),
    "empty old": ('old = "return -x"', 'old = ""', "old is not empty"),
    "a name of two words": ('name = "same"', 'name = "Same sign"', "one word in small letters, not 'Same sign'"),
    "the same name": ('name = "same"', 'name = "half"', "two dials have the same name"),
    "says of two lines": ("as it is.", "as\\nit is.", "`says` is a sentence or two on one line"),
    "another word": ('new = "return +x"', 'new = "return +x"\nregex = true', "and no regex"),
    "count of nothing": ('new = "return +x"', 'new = "return +x"\ncount = 0', "a whole number from 1, not 0"),
    "count that is no number": ('new = "return +x"', 'new = "return +x"\ncount = true', "a whole number from 1, not True"),
    "no toml": ("[[dial]]", "[[dial", "dials.toml: "),
    "tasks as text": ('["negate"]', '"negate"', "dial same: `tasks` is a list of names"),
    "edits that are none": ('[[dial.edit]]\nfile = "solution.py"\nold = "return -x"\nnew = "return +x"\n', "", "does not edit solution.py"),
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_one_line_with_file_and_dial(toy, slip):
    old, new, says = SLIPS[slip]
    assert old in TWO
    text = new.join(TWO.rsplit(old, 1))
    with pytest.raises(LabError) as caught:
        vary.dials(toy(text))
    assert says in str(caught.value)
    assert "dials.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lab_has_two_to_five_dials(toy):
    with pytest.raises(LabError, match=r"1 dials; a lab has 2 to 5"):
        vary.dials(toy(HALF))


@pytest.mark.parametrize(
    "new", ['"return 3 * x"', '"return 2 * x * 1"'], ids=["the same span", "an insertion where another one ends"]
)
def test_two_dials_that_change_the_same_text_are_named(toy, new):
    clash = f'[[dial.edit]]\nfile = "solution.py"\nold = "return 2 * x"\nnew = {new}\n'
    first = HALF.replace('"return x / 2"', '"return 2 * x * 3"' if "* 1" in new else '"return 5 * x"')
    with pytest.raises(LabError, match=r"the dials half and same would change the same text of solution.py"):
        vary.dials(toy(first + SAME + clash))


def test_one_dial_that_changes_a_text_twice_is_named(toy):
    clash = '[[dial.edit]]\nfile = "solution.py"\nold = "return -x"\nnew = "return x * x"\n'
    with pytest.raises(LabError, match="dial same twice would change the same text"):
        vary.dials(toy(TWO + clash))


# ---- whose variant


def test_a_choice_is_hmac_sha256_of_student_and_lab():
    lab = catalog.find(ROOT, "4.1")
    key, message = b"s3cret".ljust(64, b"\0"), b"ada\n4.1"  # RFC 2104, by hand
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + message).digest()
    digest = hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).hexdigest()
    allowed = vary.subsets(lab)
    assert vary.choose(lab, "s3cret", "ada") == allowed[int(digest, 16) % len(allowed)]


def test_choices_are_spread_evenly():
    """χ² of 4,000 students over n sets: below n + 5 √(2n), as chance leaves it; the secret is fixed, so this never flickers."""
    for lab_id in ("0.1", "4.1"):
        lab = catalog.find(ROOT, lab_id)
        n = len(vary.subsets(lab))
        found = collections.Counter(tuple(vary.choose(lab, "s", f"student{i}")) for i in range(4000))
        expected = 4000 / n
        chi = sum((found[tuple(s)] - expected) ** 2 / expected for s in vary.subsets(lab))
        assert len(found) == n
        assert chi < n + 5 * (2 * n) ** 0.5


def test_another_secret_student_or_lab_gets_another_choice():
    lab = catalog.find(ROOT, "4.1")
    students = [f"s{i}" for i in range(30)]
    one, other = ([vary.choose(lab, secret, s) for s in students] for secret in ("a", "b"))
    assert one != other
    assert one == [vary.choose(lab, "a", s) for s in students]


@pytest.mark.parametrize(("secret", "student"), [("", "ada"), ("s", "")])
def test_neither_secret_nor_student_is_empty(secret, student):
    with pytest.raises(LabError, match="neither may be empty"):
        vary.choose(catalog.find(ROOT, "4.1"), secret, student)


def test_two_dials_may_be_alone_and_must_touch_half_the_points(toy):
    assert vary.subsets(toy()) == [["half", "same"]]  # 2 and 4 of 9 points: neither alone is half
    lab = toy(TWO.replace('["double"]', '["double", "quadruple"]'))
    assert vary.subsets(lab) == [["half"], ["half", "same"]]


def test_dials_that_touch_too_little_are_refused(toy):
    lab = toy(TWO.replace('["negate"]', '["double"]'))
    with pytest.raises(LabError, match="touch less than half of the lab's points"):
        vary.subsets(lab)


def test_a_lab_without_dials_is_refused(lab):
    with pytest.raises(LabError, match=r"Lab 99.1 has no dials"):
        vary.choose(lab, "s", "ada")


# ---- folders


def test_no_dials_make_the_public_lab(toy, tmp_path):
    lab = toy()
    made = vary.build(lab, [], tmp_path / "made")
    for name in ("solution.py", "test_lab.py", "lab.toml", "README.md"):
        assert made.file(name).read_text() == lab.file(name).read_text()
    assert made.file("lab.py").read_text() == scaffold.generate(lab)


def test_a_variant_says_what_differs_and_can_be_run(toy, tmp_path):
    lab = toy()
    write(lab.folder / "helper.py", "x = 1\n")
    write(lab.folder / "pictures" / "a.txt", "a\n")
    write(lab.folder / "artifacts" / "b.txt", "b\n")
    made = vary.build(lab, ["same", "half"], tmp_path / "made")
    assert sorted(p.name for p in made.folder.iterdir()) == [
        "README.md", "helper.py", "lab.py", "lab.toml", "pictures", "solution.py", "test_lab.py",
    ]  # fmt: skip
    for page in ("README.md", "lab.py"):
        text = made.file(page).read_text()
        assert text.index("- double halves.") < text.index("- negate leaves the sign as it is.")
    assert made.file("README.md").read_text().startswith("# 99.1 Numbers\n\n> **This is a variant of lab 99.1.**")
    assert ast.get_docstring(ast.parse(made.file("lab.py").read_text())).startswith(
        "Numbers.\n\nTo count.\n\nA variant"
    )
    assert [r.status for r in runner.run(made, made.file("solution.py"))] == ["passed"] * 3


@pytest.mark.parametrize("spec", [False, True])
def test_what_is_handed_out_holds_no_answer(toy, tmp_path, spec):
    lab = toy()
    write(lab.folder / "helper.py", "x = 1\n")
    vary.hand_out(lab, ["half", "same"], tmp_path / "out", spec=spec)
    found = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert found == ["README.md", "helper.py", "lab.py"] + ["lab.toml", "scaffold.py", "test_lab.py"] * spec
    text = (tmp_path / "out" / "lab.py").read_text()
    assert "return x / 2" not in text
    assert 'raise NotImplementedError("double")' in text


def test_an_unknown_dial_is_named(toy, tmp_path):
    with pytest.raises(LabError, match="has no dial 'hlaf'. Its dials: half, same"):
        vary.build(toy(), ["hlaf"], tmp_path / "made")


def test_dials_that_make_no_python_are_named(toy, tmp_path):
    lab = toy(TWO.replace("return +x", "return +"))
    with pytest.raises(LabError, match="same make of solution.py what is no Python: line"):
        vary.build(lab, ["same"], tmp_path / "made")


def test_near_misses_leave_one_dial_or_all(toy):
    lab = toy()
    public = lab.file("solution.py").read_text()
    found = vary.near_misses(lab, ["half", "same"])
    assert list(found) == ["half", "same", "half + same"]
    assert "return 2 * x" in found["half"]
    assert "return +x" in found["half"]
    assert found["half + same"] == public
    assert vary.near_misses(lab, ["half"]) == {"half": public}


def test_near_misses_of_a_task_are_those_of_its_dials(toy):
    lab = toy()
    assert list(vary.near_misses(lab, ["half", "same"], "negate")) == ["same"]
    assert vary.near_misses(lab, ["half", "same"], "quadruple") == {}


# ---- the proof


def test_good_dials_are_proved(toy):
    proof = vary_check.prove(toy(), [["half"], ["same"], ["half", "same"]], range(2))
    assert (proof.sets, proof.problems) == (3, [])
    # reference and scaffold have 3 tasks each, a near miss as well, but for quadruple where double fails: it waits for that
    assert proof.runs == 2 * ((6 + 2) + (6 + 3) + (6 + 2 + 3 + 2))


def test_a_reference_that_does_not_follow_its_spec_is_found(toy):
    proof = vary_check.prove(toy(TWO.replace('"return x / 2"', '"return x / 3"')), [["half"]], range(1))
    assert "99.1 with half: the reference fails double on seed 0" in proof.problems


def test_a_dial_that_the_public_solution_survives_is_found(toy):
    harmless = (
        TWO.replace('"return +x"', '"return 0 - x"').replace("(3), 3", "(3), -3 + 0").replace("(-5), -5", "(-5), 5 + 0")
    )
    proof = vary_check.prove(toy(harmless), [["same"]], range(1))
    assert proof.problems == ["99.1 with same: the reference without same passes negate on seed 0"]


def test_a_task_that_a_dial_does_not_name_is_found(toy):
    proof = vary_check.prove(toy(TWO.replace('["negate"]', '["double"]')), [["same"]], range(1))
    assert proof.problems == [
        "99.1 with same: the reference without same passes double on seed 0",
        "99.1 with same: the reference without same fails negate on seed 0",
    ]


def test_the_sets_are_each_dial_all_and_some_between():
    lab = catalog.find(ROOT, "4.1")
    names = [d.name for d in vary.dials(lab)]
    found = vary_check.some_sets(lab, 4)
    assert found[:6] == [*([n] for n in names), names]
    assert len({tuple(s) for s in found}) == 10
    assert all(1 < len(s) < 5 for s in found[6:])
    assert len(vary_check.some_sets(lab, 999)) == 31


# ---- the command


def test_one_students_folder(toy, tmp_path, monkeypatch, capsys):
    toy()
    monkeypatch.setenv("LAB_SECRET", "s")
    out = tmp_path / "out"
    assert vary_command.main(tmp_path, "99.1", student="ada", out=out) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{vary_command.report.as_typed(out)}: half, same\n")
    assert "--spec gives them" in said
    with pytest.raises(LabError, match="is there already, and not empty"):
        vary_command.main(tmp_path, "99.1", student="ada", out=out)


def test_a_class_gets_a_folder_each(toy, tmp_path, capsys):
    toy(TWO.replace('["double"]', '["double", "quadruple"]'))
    roster = write(tmp_path / "class.csv", "Student ID,Name\n" + "".join(f"s{i}/x,N{i}\n" for i in range(12)))
    assert vary_command.main(tmp_path, "99.1", "s", out=tmp_path / "out", roster=roster, answers=True) == 0
    assert "12 students, 2 of 2 variants of lab 99.1" in capsys.readouterr().out
    lab = catalog.find(tmp_path, "99.1")
    for i in range(12):
        text = (tmp_path / "out" / f"s{i}_x" / "solution.py").read_text()
        assert ("return +x" in text) == ("same" in vary.choose(lab, "s", f"s{i}/x"))


def test_two_ids_that_would_share_a_folder_are_named(toy, tmp_path):
    toy()
    roster = write(tmp_path / "class.csv", "Student ID\na/b\na:b\n")
    with pytest.raises(LabError, match="'a/b' and 'a:b' would share the folder a_b"):
        vary_command.main(tmp_path, "99.1", "s", out=tmp_path / "out", roster=roster)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("student", ["..", "/", "."])
def test_an_id_that_makes_no_folder_is_named(student):
    with pytest.raises(LabError, match="makes no folder's name"):
        vary_command.folder_name(student)


MISSING = {
    "the lab": ({"lab_id": ""}, "Say which lab"),
    "the secret": ({"secret": ""}, "takes a secret: --secret S, or LAB_SECRET=S"),
    "the student": ({"student": ""}, "Say whose variant"),
    "one of the two": ({"roster": catalog.Path("x.csv")}, "Say whose variant"),
    "the folder": ({"out": None}, "Say where it goes"),
    "a seed": ({"check": True, "seeds": 0}, "--seeds one from 1 on"),
    "a number of sets": ({"check": True, "sets": -1}, "--sets takes a whole number from 0 on"),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_said(toy, tmp_path, monkeypatch, what):
    toy()
    monkeypatch.delenv("LAB_SECRET", raising=False)
    options, says = MISSING[what]
    given = {"lab_id": "99.1", "secret": "s", "student": "ada", "out": tmp_path / "out", **options}
    with pytest.raises(LabError, match=says):
        vary_command.main(tmp_path, **given)


def test_list_and_check(toy, tmp_path, capsys):
    toy()
    assert vary_command.main(tmp_path, listed=True) == 0
    assert "99.1 Numbers: 2 dials, 1 variants" in capsys.readouterr().out
    assert vary_command.main(tmp_path, "99.1", listed=True) == 0
    assert "  half: double\n    double halves.\n" in capsys.readouterr().out
    assert vary_command.main(tmp_path, "99.1", check=True, seeds=1) == 0
    assert "99.1: 3 sets of dials, 1 seeds" in capsys.readouterr().out
    toy(TWO.replace('"return x / 2"', '"return x / 3"'))
    assert vary_command.main(tmp_path, "99.1", check=True, seeds=1) == 1
    assert "✗ 99.1 with half: the reference fails double on seed 0" in capsys.readouterr().err


# ---- the labs' own dials


def test_every_phase_has_a_lab_with_dials():
    phases = {lab.id.split(".")[0] for lab in catalog.labs(ROOT)}
    assert {i.split(".")[0] for i in WITH_DIALS} == phases


@pytest.mark.parametrize("lab_id", WITH_DIALS)
def test_every_set_composes_and_tells_what_differs(lab_id):
    lab = catalog.find(ROOT, lab_id)
    every = vary.dials(lab)
    for n in range(1, len(every) + 1):
        for chosen in itertools.combinations(every, n):
            texts = dial.turned(lab, list(chosen))
            for name, text in texts.items():
                assert text != lab.file(name).read_text(encoding="utf-8")
                if name.endswith(".py"):
                    ast.parse(text)
            assert all(f"- {d.says}" in vary.notice(lab, [c.name for c in chosen]) for d in chosen)
    assert vary.subsets(lab)


@pytest.mark.parametrize("lab_id", WITH_DIALS)
def test_the_docstrings_of_each_variant_hold(lab_id, tmp_path, monkeypatch):
    """As many of their examples hold as in the public lab, and the learner's file says what differs."""
    lab = catalog.find(ROOT, lab_id)
    public = None
    for n, names in enumerate([[], *vary_check.some_sets(lab, 1)]):
        made = vary.build(lab, names, tmp_path / str(n))
        spec = importlib.util.spec_from_file_location(f"varied_{n}", made.file("solution.py"))
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # for dataclasses
        spec.loader.exec_module(module)
        wrong = doctest.testmod(module).failed
        public = wrong if public is None else public
        assert wrong <= public, names
        told = made.file("lab.py").read_text(encoding="utf-8")
        assert all(d.says.split()[0] in told for d in vary.dials(lab) if d.name in names)


@pytest.mark.parametrize("lab_id", QUICK)
def test_a_copy_of_the_public_solution_fails_and_the_reference_passes(lab_id, tmp_path):
    lab = catalog.find(ROOT, lab_id)
    names = [d.name for d in vary.dials(lab)]
    made = vary.build(lab, names, tmp_path / "made")
    assert {r.status for r in runner.run(made, made.file("solution.py"))} == {"passed"}
    passed = {r.task.name for r in runner.run(made, lab.file("solution.py")) if r.status == "passed"}
    assert not passed & {task for d in vary.dials(lab) for task in d.tasks}


@pytest.mark.slow
@pytest.mark.parametrize("lab_id", WITH_DIALS)
@pytest.mark.timeout(900)  # one lab takes two minutes of a quiet machine
def test_the_dials_of_a_lab_are_proved(lab_id):
    """Each dial, all of them and two other sets: reference, scaffold, public solution and each dial left out."""
    lab = catalog.find(ROOT, lab_id)
    assert vary_check.prove(lab, vary_check.some_sets(lab, 2), range(1)).problems == []
