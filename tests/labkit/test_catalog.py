"""lab.toml and the order of labs: an author's slip is one sentence with the file's name in it."""
# tables of one-line cases

import re
from pathlib import Path

import pytest
from conftest import TOML, write

from labkit import catalog
from labkit.catalog import LabError


def put(base: Path, text: str, phase: str = "phase-99-x", lab: str = "lab-01-y") -> Path:
    return write(base / "phases" / phase / lab / "lab.toml", text).parent


def test_a_lab_is_read(lab_folder):
    lab = catalog.read(lab_folder)
    assert (lab.id, lab.title, lab.points, lab.phase) == ("99.1", "Numbers", 9, "Phase 99 · X")
    assert [(t.name, t.writes, t.after, t.forbidden) for t in lab.tasks] == [
        ("double", ("double",), (), ()),
        ("quadruple", ("quadruple",), ("double",), ("math.ldexp",)),
        ("negate", ("negate",), (), ()),
    ]
    assert lab.file("solution.py").exists()
    assert lab.modules == ["math"]


def test_what_all_tasks_forbid_and_what_a_task_writes(tmp_path):
    text = TOML.replace("extras = []", 'extras = []\nforbidden = ["numpy"]').replace(
        "points = 4", 'points = 4\nwrites = ["C.f", "g"]'
    )
    lab = catalog.read(put(tmp_path, text))
    assert [t.forbidden for t in lab.tasks] == [("numpy",), ("numpy", "math.ldexp"), ("numpy",)]
    for name in ("negate", "C.f", "g", "C"):
        assert lab.task(name).name == "negate"


def test_forbidden_packages_are_not_imported_beforehand(tmp_path):
    folder = put(tmp_path, TOML.replace("extras = []", 'extras = []\nforbidden = ["numpy", "torch.nn"]'))
    write(folder / "solution.py", "from __future__ import annotations\nimport json, numpy.linalg\nimport torch.nn.functional as F\n"
          "from torch import Tensor\nfrom . import x\ndef f():\n    import csv\n")  # fmt: skip
    assert catalog.read(folder).modules == ["json", "torch"]


def test_missing_extras(tmp_path):
    lab = catalog.read(put(tmp_path, TOML.replace("extras = []", 'extras = ["json", "no_such_package"]')))
    assert lab.missing_extras == ["no_such_package"]


KEYS = ["id", "title", "why", "difficulty", "minutes", "concepts", "needs", "extras"]
ERRORS = {
    **{f"no {key}": (re.sub(rf"(?m)^{key} = .*\n", "", TOML, count=1), f"{key} is missing.") for key in KEYS},
    "no points": (TOML.replace("points = 2\n", ""), "points is missing."),
    "no name": (TOML.replace('name = "negate"\n', ""), "name is missing."),
    "no hints": (TOML.replace('points = 4\nhints = ["a", "b", "c"]', "points = 4"), "hints is missing."),
    "no task": (TOML.split("[[task]]")[0], "task is missing."),
    "two hints": (TOML.replace('points = 4\nhints = ["a", "b", "c"]', 'points = 4\nhints = ["a", "b"]'),
                  "task negate has 2 hints; it takes 3: a nudge, the plan, the shape of the code."),
    "four hints": (TOML.replace('points = 2\nhints = [', 'points = 2\nhints = ["z", '), "task double has 4 hints"),
    "unknown after": (TOML.replace('after = ["double"]', 'after = ["triple"]'), "task quadruple comes after triple"),
    "later after": (TOML.replace('after = ["double"]', 'after = ["negate"]'), "comes after negate, which is not an earlier task."),
    "after itself": (TOML.replace('after = ["double"]', 'after = ["quadruple"]'), "comes after quadruple"),
    "two of a name": (TOML.replace('"negate"', '"double"'), "two tasks have the same name."),
    "not TOML": (TOML + "\nx = = 1", "Invalid value"),
    "an id of words": (TOML.replace("99.1", "a.b"), "invalid literal for int"),
    "an id without quotes": (TOML.replace('"99.1"', "99.1"), 'the id stands in quotes: id = "99.1"'),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_a_slip_is_one_sentence(tmp_path, case):
    text, sentence = ERRORS[case]
    assert text != TOML
    folder = put(tmp_path, text)
    with pytest.raises(LabError) as error:
        catalog.read(folder)
    said = str(error.value)
    assert said.startswith(f"{folder / 'lab.toml'}: ")
    assert sentence in said
    assert said.endswith(".")
    assert "\n" not in said


def test_unknown_names_come_with_a_suggestion(lab_folder):
    lab = catalog.read(lab_folder)
    with pytest.raises(
        LabError, match=r"has no task 'quadrupel'\. Did you mean quadruple\? Its tasks: double, quadruple, negate\."
    ):
        lab.task("quadrupel")
    with pytest.raises(LabError, match=r"has no task 'zz'\. Its tasks"):
        lab.task("zz")


@pytest.fixture
def many(tmp_path):
    for i in ("10.1", "9.2", "9.10", "1.1", "2.1"):
        phase, number = i.split(".")
        put(tmp_path, TOML.replace("99.1", i), f"phase-{int(phase):02}-some-thing", f"lab-{int(number):02}-y")
    return tmp_path


def test_order(many):
    assert [lab.id for lab in catalog.labs(many)] == ["1.1", "2.1", "9.2", "9.10", "10.1"]
    assert catalog.labs(many)[-1].phase == "Phase 10 · Some thing"
    assert catalog.labs(many / "phases") == []


def test_find(many, monkeypatch):
    assert catalog.find(many, "9.2").id == "9.2"
    assert catalog.find(many, str(many / "phases/phase-10-some-thing/lab-01-y")).id == "10.1"
    monkeypatch.chdir(many / "phases/phase-09-some-thing")
    assert catalog.find(many, "lab-10-y").id == "9.10"
    with pytest.raises(LabError, match=r"There is no lab 9\.3\. Did you mean 9\.2\? `lab list` shows all\."):
        catalog.find(many, "9.3")
    with pytest.raises(LabError, match=r"There is no lab zzz\. `lab list`"):
        catalog.find(many, "zzz")


def test_two_labs_of_one_id(many):
    put(many, TOML.replace("99.1", "9.2"), lab="lab-07-z")
    with pytest.raises(LabError, match=r"Two labs have the id 9\.2\."):
        catalog.labs(many)


def test_root(many, tmp_path, monkeypatch):
    (many / "labkit").mkdir()
    inside = many / "phases/phase-01-some-thing"
    assert catalog.root(inside) == many.resolve()
    monkeypatch.chdir(inside)
    assert catalog.root() == many.resolve()
    assert catalog.root(Path("/")) == Path(catalog.__file__).resolve().parent.parent
