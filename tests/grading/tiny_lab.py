"""A lab of three tasks that takes no package, a repository around it, and files for it: for tests that really grade."""

from __future__ import annotations

import textwrap
from pathlib import Path

from labkit import catalog, scaffold
from labkit.grading.work import Job

TOML = """
id = "99.1"
title = "Numbers"
why = "To count."
difficulty = 1
minutes = 5
concepts = ["numbers"]
needs = []
extras = []

[[task]]
name = "double"
points = 2
hints = ["a", "b", "c"]

[[task]]
name = "quadruple"
points = 3
after = ["double"]
hints = ["a", "b", "c"]

[[task]]
name = "negate"
points = 4
hints = ["a", "b", "c"]
"""
SOLUTION = '''
"""Lab 99.1: Numbers."""


def double(x):
    # TODO: twice x
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


def quadruple(x):
    # TODO: use double
    ### BEGIN SOLUTION
    return double(double(x))
    ### END SOLUTION


def negate(x):
    # TODO: the other sign
    ### BEGIN SOLUTION
    return -x
    ### END SOLUTION
'''
SPEC = """
from labkit.spec import check, task


@task("double")
def test_double(lab, random):
    for _ in range(3):
        x = random.randint(3, 99999)
        check.equal(lab.double(x), 2 * x, why="a number")


@task("quadruple")
def test_quadruple(lab, random):
    x = random.randint(3, 99999)
    check.equal(lab.quadruple(x), 4 * x, why="once")


@task("negate")
def test_negate(lab):
    check.equal(lab.negate(3), -3, why="three")
    check.equal(lab.negate(-5), 5, why="minus five")
"""
MISTAKES = """
from labkit.spec import mistake


@mistake("double", says="It squares instead of doubling.")
def squares(x):
    return x * x


@mistake("negate", says="The absolute value: right for positive numbers only.")
def absolute(x):
    return -abs(x)
"""
EQUIVALENTS = """
from labkit.spec import equivalent


@equivalent("double")
def added(x):
    return x + x


@equivalent("negate")
def from_zero(x):
    return 0 - x
"""
RIGHT = {"double": "2 * x", "quadruple": "4 * x", "negate": "-x"}


def repository(base: Path) -> catalog.Lab:
    """A repository with this one lab, under `base`."""
    folder = base / "phases" / "phase-99-x" / "lab-01-y"
    folder.mkdir(parents=True)
    (base / "labkit").mkdir()
    for name, text in {
        "lab.toml": TOML, "solution.py": SOLUTION, "test_lab.py": SPEC, "mistakes.py": MISTAKES,
        "equivalents.py": EQUIVALENTS,
    }.items():  # fmt: skip
        (folder / name).write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return catalog.read(folder)


def written(lab: catalog.Lab, **bodies: str) -> bytes:
    """The scaffold with these functions written, the others still empty."""
    text = scaffold.generate(lab)
    for name, body in bodies.items():
        empty = f'raise NotImplementedError("{name}")'
        assert empty in text
        text = text.replace(empty, f"return {body}")
    return text.encode()


def job(lab: catalog.Lab, data: bytes, salt: str = "", dials: tuple[str, ...] = ()) -> Job:
    return Job(lab.id, str(lab.folder), data, salt, dials)
