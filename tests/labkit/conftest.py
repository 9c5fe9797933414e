"""What the tests of labkit share: labs written on the spot, and processes that hold them."""

import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import catalog, scaffold
from labkit.kitchen import Kitchen
from labkit.remote import Box

MODES = [pytest.param(True, id="fork"), pytest.param(False, id="fresh")]


def write(path: Path, text: str) -> Path:
    """A file with this text, without the indentation that it has in a test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return path


def group(leader: int) -> list[int]:
    """The living processes of a process group, the dead that wait to be buried included."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader:
            found.append(int(entry))
    return found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module", params=MODES)
def kitchen(request: pytest.FixtureRequest) -> Iterator[Kitchen]:
    """Both ways to come by a process; shared by a file's tests, so that one lab's harm would show in the next."""
    with Kitchen(["numpy", "torch"] if request.param else [], fork=request.param) as made:
        yield made


@pytest.fixture
def cook(kitchen: Kitchen, tmp_path: Path) -> Iterator[Callable[..., Box]]:
    """cook(source) → a box that has loaded it; closed at the end."""
    boxes = []

    def made(source: str | bytes, **options: object) -> Box:
        path = tmp_path / f"lab{len(boxes)}.py"
        data = source if isinstance(source, bytes) else textwrap.dedent(source).lstrip("\n").encode()
        path.write_bytes(data)
        boxes.append(kitchen.box())
        boxes[-1].load(path, **options)
        return boxes[-1]

    yield made
    for box in boxes:
        box.close()


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
forbidden = ["math.ldexp"]
hints = ["a", "b", "c"]

[[task]]
name = "negate"
points = 4
hints = ["a", "b", "c"]
"""
SOLUTION = """
import math


def double(x):
    # TODO: twice x
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


def quadruple(x, times=1):
    # TODO: use double
    ### BEGIN SOLUTION
    for _ in range(times):
        x = double(double(x))
    return x
    ### END SOLUTION


def negate(x):
    # TODO: the other sign
    ### BEGIN SOLUTION
    return -x
    ### END SOLUTION


class Counter:
    def __init__(self, start, step=1):
        self.n, self.step = start, step

    def next(self, times):
        self.n += self.step * times
        return self.n
"""
SPEC = """
from labkit.spec import check, task


@task("double")
def test_double(lab, random):
    for _ in range(3):
        x = random.randint(2, 99)
        check.equal(lab.double(x), 2 * x, why="a number")


@task("quadruple")
def test_quadruple(lab, random):
    x = random.randint(2, 99)
    check.equal(lab.quadruple(x), 4 * x, why="once")
    check.equal(lab.quadruple(x, times=2), 16 * x, why="twice")


@task("negate")
def test_negate(lab):
    check.equal(lab.negate(3), -3, why="three")


@task("negate")
def test_negate_negative(lab):
    check.equal(lab.negate(-5), 5, why="minus five")
"""


@pytest.fixture
def lab_folder(tmp_path: Path) -> Path:
    """A tiny lab of three tasks; `quadruple` comes after `double`."""
    folder = tmp_path / "phases" / "phase-99-x" / "lab-01-y"
    for name, text in {"lab.toml": TOML, "solution.py": SOLUTION, "test_lab.py": SPEC}.items():
        write(folder / name, text)
    write(folder / "mistakes.py", "from labkit.spec import mistake\n")
    write(folder / "equivalents.py", "from labkit.spec import equivalent\n")
    return folder


MISTAKES = """
from labkit.spec import alike, mistake


@mistake("double", says="It squares instead of doubling.")
def squares(x):
    return x * x


@mistake("double", says="One is added.")
def one_more(x):
    return 2 * x + 1


@alike("squares")
def to_the_power_of_two(x):
    return x**2


@mistake("quadruple", says="`times` is ignored.")
def once_only(x, times=1):
    return 4 * x


@mistake("negate", says="The absolute value: right for positive numbers only.")
def absolute(x):
    return -abs(x)
"""
EQUIVALENTS = """
from labkit.spec import equivalent


@equivalent("double")
def added(x):
    return x + x


@equivalent("double")
def shifted(x):
    return x << 1


@equivalent("quadruple")
def powers(x, times=1):
    return x * 4**times


@equivalent("quadruple")
def recursion(x, times=1):
    return x if not times else recursion(4 * x, times - 1)


@equivalent("negate")
def from_zero(x):
    return 0 - x


@equivalent("negate")
def complement(x):
    return ~x + 1
"""
RIGHT = {"double": "2 * x", "quadruple": "x * 4**times", "negate": "-x"}


@pytest.fixture
def lab(lab_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> catalog.Lab:
    (tmp_path / "labkit").mkdir()
    write(lab_folder / "mistakes.py", MISTAKES)
    write(lab_folder / "equivalents.py", EQUIVALENTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = catalog.read(lab_folder)
    scaffold.write(made.file("lab.py"), scaffold.generate(made))
    return made


def fill(lab: catalog.Lab, **bodies: str) -> None:
    """lab.py with these functions written, the others still empty."""
    text = scaffold.generate(lab)
    for name, body in bodies.items():
        text = text.replace(f'raise NotImplementedError("{name}")', f"return {body}")
    lab.file("lab.py").write_text(text)
