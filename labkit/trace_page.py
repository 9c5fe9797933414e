"""How `lab trace` looks: the walk down to the first difference, then where it is, how, and the lines to look at."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any, TextIO

from labkit import report, runner, values
from labkit.catalog import Lab, LabError
from labkit.report import Paint
from labkit.trace import Trace
from labkit.trace_finding import Finding

LABEL = 9


def render(lab: Lab, file: Path, made: Trace, out: TextIO) -> None:
    """The page, on a terminal or in a pipe."""
    paint = Paint(out)
    width = min(shutil.get_terminal_size((110, 24)).columns, 120)
    print(
        f"{paint.bold(f'{lab.id} {lab.title}')}   {paint.dim(report.as_typed(file) + ' beside the reference')}",
        file=out,
    )
    names = max((2 * r.depth + len(r.name) for r in made.rows), default=0) + 2
    for r in made.rows:
        name = " " * (2 * r.depth) + r.name
        shape = _shape(r.value) if r.mark else ""
        line = f"  {paint.symbol(r.mark) or ' '} {name:{names}}{shape:16}  {paint.dim(r.note)}"
        print(line.rstrip(), file=out)
    print(file=out)
    if made.finding is None:
        print(f"{paint.symbol('✓')} {paint.bold(f'All {made.agreed} intermediates agree.')}", file=out)
        for note in made.notes:
            _paragraph("note", note, width, paint, out)
        print(f"\nThe rest of the lab: lab check {lab.id}", file=out)
        return
    _found(lab, file, made.finding, width, paint, out)


def _found(lab: Lab, file: Path, f: Finding, width: int, paint: Paint, out: TextIO) -> None:
    mark = "·" if f.unwritten else "✗"
    for i, line in enumerate(textwrap.wrap(f.where, width - 2)):
        print(f"{paint.symbol(mark) if i == 0 else ' '} {paint.bold(line)}", file=out)
    if f.error and not f.unwritten:
        _paragraph("error", runner.explain(f.error), width, paint, out)
    for i, how in enumerate(f.how):
        _paragraph("" if i else "how", how, width, paint, out)
    source = file.read_text(encoding="utf-8", errors="replace").splitlines()
    for i, n in enumerate(f.lines):
        if n <= len(source):
            _paragraph("" if i else "look at", f"{n:4}  {source[n - 1].strip()}", width, paint, out, indent=6)
    print(f"\n{_last_words(lab, f)}", file=out)


def _paragraph(label: str, text: str, width: int, paint: Paint, out: TextIO, indent: int = 0) -> None:
    for paragraph in text.splitlines():
        for line in textwrap.wrap(paragraph, width - LABEL - 2, subsequent_indent=" " * indent):
            print(f"  {paint.dim(f'{label:{LABEL}}')}{line}", file=out)
            label = ""


def _last_words(lab: Lab, f: Finding) -> str:
    try:
        task = lab.task(f.code).name
    except LabError:
        return f"Then: lab check {lab.id}"
    return f"stuck: lab hint {lab.id} {task}  ·  then: lab check {lab.id} {task}"


def _shape(x: Any) -> str:
    if values.library(x):
        return "×".join(map(str, x.shape)) or values.describe(values.numbers(x).item(), 14)
    if isinstance(x, list) and 0 < len(x) <= 3:
        return ", ".join(map(_shape, x))
    if isinstance(x, dict):
        return ", ".join(x)
    return values.describe(x, 16)
