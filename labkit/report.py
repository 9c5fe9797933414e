"""How results look: one line a task, then at most one failure.  Words beside symbols; colour only on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from labkit import calls, runner, symptoms, values
from labkit.catalog import Lab
from labkit.runner import LOADING, Key, Result, Spec

SYMBOL = {"passed": "✓", "not-started": "·", "begun": "·", "waiting": "·", "not-run": "·", "checking": "…"}
COLOUR = {"✓": "32", "✗": "31", "!": "33", "·": "2", "…": "2"}
WORDS = {"not-started": "not started", "not-run": "not run", "slow": "too slow", "checking": "checking …"}
LABEL = 10  # width of "expected  "


@dataclass
class Failure:
    """The one failure a learner is shown."""

    result: Result
    key: Key
    test: str  # what the test claims, in words
    called: str
    expected: str
    got: str
    where: str
    likely: list[tuple[str, str]]  # (mistake id, what it says)

    def as_json(self) -> dict[str, Any]:
        return {
            "task": self.result.task.name,
            "test": self.key[0],
            "check": self.key[1],
            "claim": self.test,
            "called": self.called,
            "expected": self.expected,
            "got": self.got,
            "where": self.where,
            "likely": [{"mistake": name, "says": says} for name, says in self.likely],
        }


def first_failure(results: list[Result]) -> Result | None:
    """The first task that was tried and failed; one that only waits or was not begun is no failure."""
    return next((r for r in results if r.status in ("wrong", "crashed", "slow", "forbidden")), None)


def failure(lab: Lab, spec: Spec, result: Result, likely: list[tuple[str, str]]) -> Failure:
    """Everything that is said about a failing task."""
    seen = result.seen
    if not seen.failures:  # forbidden in the source: nothing was run
        return Failure(result, ("", 0), result.note, "", "", "", "", likely)
    key = seen.failures[0]
    record, error = seen.records[key], seen.errors.get(key)
    test = next((t for t in spec.tests if t.name == key[0]), None)
    claim = key[0].removeprefix("test_").replace("_", " ") if test else "loading the file"
    called = calls.call_text(lab, seen.calls.get(key, []))
    if error is not None:
        got, expected = runner.explain(error), ""
        if error.outcome == "slow" and key[0] == LOADING:
            got = "too slow: loading the file did not end. Is there work, or an endless loop, outside functions?"
    elif key in seen.stumbled:
        got, expected = f"something the test cannot use ({seen.stumbled[key]})", ""
    else:
        got, expected = values.describe(record.got), _wish(record)
    # where a test of the task expects None, a None elsewhere is an answer, too, and not a forgotten `return`
    answers_none = record.got is None and any(r.kind == "equal" and r.want is None for r in seen.records.values())
    if not likely and not answers_none and (guess := symptoms.generic(record, seen.stumbled.get(key, ""), error)):
        likely = [("", guess)]
    words = f"{claim}: {record.why}" if record.why else claim
    where = "" if error or key in seen.stumbled else symptoms.difference(record)
    return Failure(result, key, words, called, expected, got, where, likely)


def _wish(record: Any) -> str:
    want = values.describe(record.want)
    return {
        "less": f"a number below {want}",
        "between": f"a number from {record.want[0]} to {record.want[1]}" if record.kind == "between" else "",
        "raises": f"it raises {record.want}",
        "sampled": f"draws that follow the probabilities {want}",
    }.get(record.kind, want)


def render(
    lab: Lab,
    file: str,
    results: list[Result],
    shown: Failure | None,
    out: TextIO,
    given_up: Collection[str] = (),
    old: Collection[str] = (),
) -> None:
    """The page `lab check` prints.

    `given_up` are tasks whose reference the learner chose to read, `old` those whose verdict is of an earlier save.
    """
    paint = Paint(out)
    print(f"{paint.bold(lab.id + ' ' + lab.title)}   {paint.dim(file)}", file=out)
    width = max(len(r.task.name) for r in results)
    for r in results:
        print(task_line(r, width, paint, r.task.name in given_up, r.task.name in old), file=out)
    if shown:
        print(file=out)
        render_failure(shown, out)


def task_line(r: Result, width: int, paint: Paint, given_up: bool = False, old: bool = False) -> str:
    """One task: symbol, name (in `width` columns), points, verdict, and how far it is.  An `old` one fades."""
    words = r.note if r.status == "waiting" else WORDS.get(r.status, r.status)
    count = f"{r.tests_passed} of {r.tests} tests pass" if r.status in ("wrong", "crashed", "slow") else ""
    count = r.note if r.status == "begun" else count
    if given_up and r.status != "passed":
        count += f"{', ' * bool(count)}reference shown"
        words += "," * (r.status == "waiting")
    points = f"{r.points}/{r.task.points}"
    symbol = SYMBOL.get(r.status, "✗")
    row = f"{r.task.name:{width}}  {points:>5}  {words:12}"
    if old:
        return "  " + paint.dim(f"{symbol} {row} before this save")
    return f"  {paint.symbol(symbol)} {row} {paint.dim(count)}".rstrip()


def render_failure(f: Failure, out: TextIO) -> None:
    """What was called, what came back, what was expected, and the likely mistake."""
    paint = Paint(out)
    width = min(shutil.get_terminal_size((110, 24)).columns, 120) - LABEL - 2
    head = f"{f.result.task.name} · {f.test}"
    print(f"{paint.symbol('✗')} {paint.bold(head)}", file=out)
    rows = [("called", f.called), ("expected", f.expected), ("got", f.got), ("where", f.where)]
    for label, text in rows:
        if text:
            _row(label, text, width, paint, out)
    for name, says in f.likely:
        _row("likely", says + (f"  ({name})" if name else ""), width, paint, out)


def _row(label: str, text: str, width: int, paint: Paint, out: TextIO) -> None:
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""]]
    for i, line in enumerate(lines):
        print(f"  {paint.dim(f'{label if i == 0 else str():{LABEL}}')}{line}", file=out)


class Paint:
    """Escape codes on a terminal that wants them, plain text everywhere else."""

    def __init__(self, out: TextIO) -> None:
        self.on = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def code(self, code: str, text: str) -> str:
        """The text in a colour or weight, by its number among the ANSI codes."""
        return f"\033[{code}m{text}\033[0m" if self.on and text else text

    def bold(self, text: str) -> str:
        return self.code("1", text)

    def dim(self, text: str) -> str:
        return self.code("2", text)

    def symbol(self, text: str) -> str:
        return self.code(COLOUR.get(text, "0"), text)


def as_json(lab: Lab, file: str, file_hash: str, results: list[Result], shown: Failure | None) -> dict[str, Any]:
    """The same as data.  `schema` rises when a field changes its meaning."""
    return {
        "schema": 1,
        "lab": lab.id,
        "title": lab.title,
        "file": file,
        "sha256": file_hash,
        "passed": all(r.status == "passed" for r in results),
        "points": sum(r.points for r in results),
        "max_points": sum(r.task.points for r in results),
        "tasks": [
            {
                "task": r.task.name,
                "status": r.status,
                "points": r.points,
                "max_points": r.task.points,
                "tests": r.tests,
                "tests_passed": r.tests_passed,
                "note": r.note,
                "printed": r.seen.printed,
            }
            for r in results
        ],
        "failure": shown.as_json() if shown else None,
    }


def as_typed(path: Path) -> str:
    """A path as the reader would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(".." + os.sep + "..") else relative


def progress_line(words: str) -> None:
    """One line on stderr that the next one overwrites; nothing when nobody is watching."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
