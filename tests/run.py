"""Verifies all that exists: `make test` runs this, `make test-full` runs it with --full.

make test        lint and types, the fast tests, every lab both ways on 3 seeds, or as below
make test-full   the slow tests, every lab both ways on 50 seeds, or as below

A lab whose files phases/certified.json vouches for, unchanged, is tried on 1 seed, with a quarter of its wrong and right
versions, the day decides which; by test-full on 3, with all of them. What may have broken it is the checker or the library, and that
shows on a few.

Ends with a summary and exits 1 when anything in it is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass
class Step:
    """One line of the summary."""

    name: str
    ok: bool
    words: str
    seconds: float


def main() -> int:
    """Runs the steps in order, all of them even when one fails, and prints the summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="the slow tests and 50 seeds")
    full = parser.parse_args().full
    os.chdir(ROOT)
    # One thread a process: on two cores, two torch processes of two threads each take turns waiting for one another.
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    steps = [] if full else [timed("lint", lint), timed("types", types)]
    passed, failed, skipped = 0, 0, 0

    def suite() -> tuple[bool, str]:
        nonlocal passed, failed, skipped
        ok, passed, failed, skipped = pytest(full)
        return ok, f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")

    steps.append(timed("tests", suite))
    steps.append(timed("labs", lambda: labs(*((50, 3, 1) if full else (3, 1, 4)))))
    bad = [s for s in steps if not s.ok]
    print("\n" + "─" * 100)
    for s in steps:
        print(f"{'✓' if s.ok else '✗'} {s.name:6} {s.words}  ({s.seconds:.0f} s)")
    total = sum(s.seconds for s in steps)
    verdict = f"NOT in order: {', '.join(s.name for s in bad)}" if bad else "everything in order"
    print(f"{'✗' if bad else '✓'} {verdict}, {total:.0f} s")
    print(f"{passed} passed, {failed + sum(s.name != 'tests' for s in bad)} failed")
    return 1 if bad else 0


def timed(name: str, run: object) -> Step:
    """Announces a step, runs it, and keeps what it says."""
    print(f"\n── {name} " + "─" * (96 - len(name)), flush=True)
    start = time.monotonic()
    assert callable(run)
    ok, words = run()
    return Step(name, ok, words, time.monotonic() - start)


def call(*command: str | Path) -> int:
    """A command with its output on the terminal."""
    return subprocess.run([str(c) for c in command], check=False).returncode


def lint() -> tuple[bool, str]:
    """ruff, rules and format."""
    codes = [call(BIN / "ruff", "check", "--quiet", "."), call(BIN / "ruff", "format", "--check", "--quiet", ".")]
    return not any(codes), "ruff: rules and format" if not any(codes) else "ruff check . ; ruff format --check ."


def types() -> tuple[bool, str]:
    """mypy, strict, over the packages and every solution.

    All solutions are called solution.py, which mypy takes for one module, so each is shown to it under its own name.
    Other modules of a lab have names that no other lab uses.
    """
    with tempfile.TemporaryDirectory() as folder:
        solutions = sorted(ROOT.glob("phases/*/*/solution.py"))
        for path in solutions:
            (Path(folder) / f"{path.parent.parent.name}_{path.parent.name}".replace("-", "_")).with_suffix(
                ".py"
            ).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        given = {"solution.py", "lab.py", "test_lab.py", "mistakes.py", "equivalents.py", "trace.py"}
        for path in ROOT.glob("phases/*/*/*.py"):
            if path.name not in given and not path.name.startswith("."):
                (Path(folder) / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        code = call(BIN / "mypy", "llmcore", "labkit", "benchmarks", "tests/run.py", folder)
    return code == 0, f"mypy --strict: llmcore, labkit, benchmarks, {len(solutions)} solutions"


def pytest(full: bool) -> tuple[bool, int, int, int]:
    """(in order, passed, failed, skipped).  Two workers; the slow ones alone when full."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.xml"
        marker = "slow" if full else "not slow"
        code = call(sys.executable, "-m", "pytest", "-n", "2", "-m", marker, f"--junitxml={result}")
        if not result.exists():
            return False, 0, 1, 0
        suite = next(ElementTree.parse(result).getroot().iter("testsuite"))
        count = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    return code == 0 or (full and code == 5), passed, failed, count["skipped"]  # 5: no test is marked slow


def labs(seeds: int, recheck: int, share: int) -> tuple[bool, str]:
    """lab verify: both error rates of every lab."""
    done = subprocess.run(
        [BIN / "lab", "verify", "--json", "--seeds", f"{seeds}", "--recheck", f"{recheck}", "--share", f"{share}"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        made = json.loads(done.stdout)
    except ValueError:
        return False, "lab verify could not run"
    for lab in made:
        print(
            f"{lab['lab']:5} {lab['title']}: {lab['caught']}/{lab['wrong']} wrong caught, "
            f"{lab['accepted']}/{lab['right']} right accepted, {lab['seeds']} seeds, {lab['seconds']:.0f} s"
        )
        for problem in lab["problems"]:
            print(f"      ✗ {problem}")

    def total(key: str) -> int:
        return sum(lab[key] for lab in made)

    counts = sorted({lab["seeds"] for lab in made})
    tried = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    return done.returncode == 0, (
        f"{len(made)} certified on {tried}: wrong versions caught {total('caught')}/{total('wrong')}, "
        f"right versions accepted {total('accepted')}/{total('right')}"
    )


if __name__ == "__main__":
    sys.exit(main())
