"""What `lab check` and `lab watch` have in common: the failure to show with the mistake behind it, and the last words."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

from labkit import diagnose, report
from labkit.catalog import Lab
from labkit.kitchen import Kitchen
from labkit.progress import Progress
from labkit.report import Failure, as_typed
from labkit.runner import LOADING, Result, Spec

PRINTED = 12  # lines of what the lab printed that are shown


def failure(
    base: Path,
    spec: Spec,
    results: list[Result],
    source: Callable[[], Kitchen],
    progress: Callable[[str], None] = lambda words: None,
    seed: int = 0,
) -> Failure | None:
    """The first failure, and the known mistake that explains it if exactly one does.  `source` is asked only if need be."""
    failed = report.first_failure(results)
    if failed is None:
        return None
    likely: list[tuple[str, str]] = []
    if failed.seen.failures and failed.status in ("wrong", "crashed", "slow"):
        progress("comparing with known mistakes …")
        listed, known = diagnose.catalogue(
            source(), spec, failed.task.name, seed, base / ".lab" / "cache" if not seed else None
        )
        names = diagnose.best(failed.seen, known)
        likely = [(f"{spec.lab.id}/{n}", listed[n].says) for n in names] if len(names) == 1 else []
    return report.failure(spec.lab, spec, failed, likely)


def remember(progress: Progress, lab: Lab, file_hash: str, results: list[Result]) -> str:
    """Records what passed.  Returns a sentence for the learner when that was not possible, else "".

    A file that does not load says nothing about its tasks: after a slip in the syntax, what passed before still counts.
    """
    ran = [r for r in results if r.seen.records]
    if ran and all((LOADING, 0) in r.seen.records for r in ran):
        return ""
    try:
        progress.record(lab, file_hash, {r.task.name: r.status == "passed" for r in results})
    except OSError as e:
        return f"What passed is not remembered: {trouble(e)}"
    return ""


def trouble(e: OSError) -> str:
    """What is wrong with a file, in one sentence with the command that finds out more."""
    where = f": {as_typed(Path(os.fsdecode(e.filename)))}" if isinstance(e.filename, (str, bytes)) else ""
    return f"{e.strerror or e}{where}.  `lab doctor` looks for what is wrong."


def printed(shown: Failure | None) -> str:
    """The last lines of what the failing task printed; "" when it printed nothing."""
    return quoted(shown.result.seen.printed) if shown else ""


def quoted(text: str) -> str:
    """The last lines of what a lab printed, marked as that; "" for nothing."""
    if not (text := text.strip()):
        return ""
    text = "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)  # no escape codes: the screen is ours
    lines = text.splitlines()
    head = "your code printed" + (f" (the last {PRINTED} of {len(lines)} lines)" if len(lines) > PRINTED else "")
    return head + "\n" + textwrap.indent("\n".join(line[:200] for line in lines[-PRINTED:]), "  │ ")


def last_words(lab: Lab, results: list[Result], shown: Failure | None, progress: Progress, own: bool) -> str:
    """The points, and the one thing to do next."""
    todo = next((r.task.name for r in results if r.status in ("begun", "not-started")), None)
    points, total = sum(r.points for r in results), sum(r.task.points for r in results)
    words = f"{points}/{total} points."
    if points == total:
        if own and progress.done(lab):
            words += f"  See what you built: python {as_typed(lab.file('lab.py'))}\nThen `lab` shows what is next."
    elif shown:
        words += f"  stuck: lab hint {lab.id} {shown.result.task.name}"
        if shown.result.seen.failures:
            words += f"  ·  look closer: lab repro {lab.id}"
    elif todo:
        words += f"  next: {todo}  ·  a hint: lab hint {lab.id} {todo}"
    return words
