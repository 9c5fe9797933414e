"""A lab's spec run the plain way: the submission is imported here and asked here, with nothing between it and the checks.

What the peers of `labkit.grading` run, so that all judge by the same tests.  As a program it is the cold process, or one
of the two other graders on a notebook:

    python -m benchmarks.grade_plain cold FOLDER        a pytest process for each submission
    python -m benchmarks.grade_plain nbgrader FOLDER
    python -m benchmarks.grade_plain otter FOLDER

FOLDER holds class.json, see `benchmarks.grade`.  For each number that comes in, the submission of that number is graded,
and a line of JSON goes out: the seconds of it, whether it got full marks, and what was started for it.

Does not:
- keep a submission from doing anything: no sandbox, no process of its own a task, no limit on what a test may take
"""

import hashlib
import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.spec import check

CONFTEST = """
import os
from pathlib import Path
import pytest
from benchmarks import grade_plain as plain

@pytest.fixture
def lab(): return plain.Plain(vars(plain.load(Path(os.environ["SUBMISSION"]), "lab")))
@pytest.fixture
def rng(request): return plain.fixture("rng", request.function.__name__, int(os.environ["SEED"]))
@pytest.fixture
def random(request): return plain.fixture("random", request.function.__name__, int(os.environ["SEED"]))
@pytest.fixture(autouse=True)
def judged():
    log = plain.check.start()
    yield
    assert log and all(record.ok for record in log)
"""


class Plain:
    """Stands where the handle of the lab's process stands in a spec: the module's names, and probes."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._module = types.SimpleNamespace(**names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def probe(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self._module, *args)


def load(path: Path, name: str) -> types.ModuleType:
    """The Python file as a module."""
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # what it defines may look for its own module
    found.loader.exec_module(module)
    return module


def fixture(name: str, test: str, seed: int) -> Any:
    """What a test asks for by this name, drawn as `labkit.runner` draws it."""
    number = int(hashlib.sha256(f"{seed} {test}".encode()).hexdigest()[:12], 16)
    if name == "random":
        return random.Random(number)
    import torch

    return torch.Generator().manual_seed(number)


def passes(spec: str, names: dict[str, Any], task: str, seed: int) -> bool:
    """Whether a submission, given by the names it defines, passes all tests of one task of the spec at this path."""
    module = sys.modules.get("spec") or load(Path(spec), "spec")
    tests = {n: f for n, f in vars(module).items() if getattr(f, "task", None) == task and n.startswith("test_")}
    for name, test in tests.items():
        log = check.start()
        wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
        try:
            test(**{w: Plain(names) if w == "lab" else fixture(w, name, seed) for w in wanted})
        except Exception:  # whatever a submission raises, it has not passed
            return False
        if not log or not all(record.ok for record in log):
            return False
    return bool(tests)


def cold(folder: Path, given: dict[str, Any]) -> Callable[[int], bool]:
    """A pytest process for each submission."""
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    spec = folder / "test_lab.py"
    spec.write_text(Path(given["spec"]).read_text("utf-8"), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(spec)]

    def grade(number: int) -> bool:
        file = folder / f"submission{number}.py"
        file.write_text(given["submissions"][number][1], "utf-8")
        seen = {**os.environ, "SUBMISSION": str(file), "SEED": str(given["seed"])}
        done = subprocess.run(command, env=seen, capture_output=True, timeout=120, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:])
        return done.returncode == 0

    return grade


def cells(given: dict[str, Any], source: str) -> dict[str, Any]:
    """A notebook: the submission in one cell, and for nbgrader the tests of each task in another."""

    def cell(name: str, text: str, points: int | None) -> dict[str, Any]:
        about = {"grade_id": name, "schema_version": 3, "task": False, "grade": points is not None}
        about |= {"locked": points is not None, "solution": points is None} | ({"points": points} if points else {})
        whole = {"cell_type": "code", "metadata": {"nbgrader": about}, "source": text, "outputs": []}
        return {**whole, "execution_count": None, "id": name.replace("_", "-")[:60]}

    def tested(task: str) -> str:
        asked = f"passes({given['spec']!r}, globals(), {task!r}, {given['seed']})"
        return f"from benchmarks.grade_plain import passes\nassert {asked}"

    every = [cell("submission", source, None), *(cell(t, tested(t), points) for t, points in given["tasks"])]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": every, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def notebook(path: Path, whole: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole), "utf-8")


def nbgrader(folder: Path, given: dict[str, Any]) -> Callable[[int], bool]:
    """A course of one assignment, everything handed in; what autogrades it, for one student."""
    from nbgrader.apps import NbGraderAPI  # type: ignore[import-not-found,unused-ignore]
    from traitlets.config import Config  # type: ignore[import-not-found,unused-ignore]

    config = Config()
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.course_id = "course"
    config.CourseDirectory.db_url = f"sqlite:///{folder / 'gradebook.db'}"
    notebook(folder / "source" / "ps1" / "lab.ipynb", cells(given, "### BEGIN SOLUTION\npass\n### END SOLUTION"))
    for name, source in given["submissions"]:
        notebook(folder / "submitted" / name / "ps1" / "lab.ipynb", cells(given, source))
    grader = NbGraderAPI(config=config)
    made = grader.generate_assignment("ps1")
    if not made["success"]:
        raise SystemExit(made["log"])

    def autograde(number: int) -> bool:
        name = given["submissions"][number][0]
        done = grader.autograde("ps1", name, force=True)
        if not done["success"]:
            raise SystemExit(done["log"])
        with grader.gradebook as book:
            marked = book.find_submission("ps1", name)
            return bool(marked.score == marked.max_score)

    return autograde


def otter(folder: Path, given: dict[str, Any]) -> Callable[[int], bool]:
    """An autograder for the tests; what runs it on one notebook, in this process and without a container."""
    from otter.api import grade_submission  # type: ignore[import-not-found,unused-ignore]
    from otter.generate import main as generate  # type: ignore[import-not-found,unused-ignore]

    tests = folder / "tests"
    tests.mkdir()
    for task, points in given["tasks"]:
        asked = f"passes({given['spec']!r}, globals(), {task!r}, {given['seed']})"
        code = f">>> from benchmarks.grade_plain import passes\n>>> {asked}\nTrue"
        suite = {"cases": [{"code": code, "hidden": False, "locked": False}], "scored": True, "type": "doctest"}
        test = {"name": task, "points": points, "suites": [{**suite, "setup": "", "teardown": ""}]}
        (tests / f"{task}.py").write_text(f"OK_FORMAT = True\ntest = {test!r}\n", "utf-8")
    generate(
        tests_dir=str(tests), output_path=str(folder / "autograder.zip"), no_environment=True, no_requirements=True
    )
    for name, source in given["submissions"]:
        whole = cells(given, source)
        notebook(folder / f"{name}.ipynb", {**whole, "cells": whole["cells"][:1]})

    def grade(number: int) -> bool:
        name = given["submissions"][number][0]
        done = grade_submission(str(folder / f"{name}.ipynb"), str(folder / "autograder.zip"), quiet=True)
        return bool(done.total == done.possible)

    return grade


def started() -> tuple[int, int]:
    """(interpreters, imports of torch) since this process and what it starts began to be counted."""
    noted = Path(os.environ["GRADE_COUNT"]).read_bytes()
    return noted.count(b"p"), noted.count(b"t")


def main(way: str, folder: Path) -> None:
    given = json.loads((folder / "class.json").read_text("utf-8"))
    os.chdir(folder)
    out, sys.stdout = sys.stdout, io.StringIO()  # the graders talk; only answers go out
    grade = {"cold": cold, "nbgrader": nbgrader, "otter": otter}[way](folder, given)
    for line in sys.stdin:
        wall, cpu, before = time.monotonic(), sum(os.times()[:4]), started()
        full = grade(int(line))
        wall, cpu, after = time.monotonic() - wall, sum(os.times()[:4]) - cpu, started()
        found = {"cpu": cpu, "wall": wall, "full": [full]}
        found |= {"interpreters": after[0] - before[0], "imports": after[1] - before[1]}
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
