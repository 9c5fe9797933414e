"""Where the learner stands: the page of `lab next`, and the list of `lab list`."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from labkit import catalog
from labkit.catalog import Lab, LabError
from labkit.progress import Progress
from labkit.report import Paint, as_typed


def current(base: Path, every: list[Lab], progress: Progress) -> Lab:
    """The first lab that has not passed; the last one when all have."""
    if not every:
        raise LabError(f"There is no lab under {base / 'phases'}.")
    return next((lab for lab in every if not progress.done(lab)), every[-1])


def next_page(base: Path, out: TextIO) -> None:
    """What is next, why it matters, and the commands for it."""
    every, progress = catalog.labs(base), Progress(base)
    lab = current(base, every, progress)
    for other in every:
        progress.note_scaffold(other)
    paint = Paint(out)
    done = sum(progress.done(x) for x in every)
    if done == len(every):
        print(f"All {done} labs passed. `lab list` shows them, `lab tower` what you built with them.", file=out)
        return
    tasks = [t.name for t in lab.tasks if t.name not in progress.passed(lab)]
    state = f"{progress.points(lab)}/{lab.points} points"
    if progress.changed(lab):
        state += ", changed since it passed"
    print(f"{paint.bold(f'{lab.id} {lab.title}')}   {paint.dim(lab.phase)}", file=out)
    print(f"{lab.why}\n", file=out)
    rows = [
        ("so far", f"{done} of {len(every)} labs passed; this one: {state}"),
        ("time", f"about {lab.minutes} minutes, difficulty {lab.difficulty} of 5"),
        ("read", f"lab show {lab.id}   ({as_typed(lab.file('README.md'))})"),
        ("write", f"{as_typed(lab.file('lab.py'))}: {', '.join(tasks) or 'all tasks passed before the change'}"),
        ("check", f"lab check {lab.id}, or `lab watch {lab.id}` for a check at every save"),
        ("stuck?", f"lab hint {lab.id} {tasks[0]}" if tasks else f"lab hint {lab.id}"),
    ]
    for label, text in rows:
        print(f"  {paint.dim(f'{label:8}')}{text}", file=out)


def list_page(base: Path, out: TextIO) -> None:
    """Every lab with its progress, points and minutes."""
    every, progress = catalog.labs(base), Progress(base)
    paint = Paint(out)
    width = max((len(lab.title) for lab in every), default=0)
    phase = ""
    for lab in every:
        if lab.phase != phase:
            phase = lab.phase
            print(f"{paint.bold(phase)}", file=out)
        points = progress.points(lab)
        if progress.done(lab):
            symbol, words = "✓", "passed"
        elif points or progress.started(lab):
            symbol, words = "◐", "begun"
        else:
            symbol, words = "·", "not started"
        print(
            f"  {paint.symbol(symbol)} {lab.id:4} {lab.title:{width}} {points:3}/{lab.points:<3}{lab.minutes:4} min  {words}",
            file=out,
        )
        if progress.changed(lab):
            print("         changed since it passed", file=out)
        if given_up := [t for t in progress.given_up(lab) if t not in progress.passed(lab)]:
            print(f"         reference shown of {', '.join(given_up)}", file=out)
        if lab.missing_extras:
            print(f"         unavailable here: pip install {' '.join(lab.missing_extras)}", file=out)
    points, total = sum(map(progress.points, every)), sum(lab.points for lab in every)
    hours = sum(lab.minutes for lab in every) / 60
    done = sum(map(progress.done, every))
    print(f"{done} of {len(every)} labs, {points}/{total} points, {hours:.1f} hours in all", file=out)


def hint_page(
    lab: Lab, task_name: str, progress: Progress, out: TextIO, width: int = 100, newest_first: bool = False
) -> int:
    """Takes the task's next hint and prints all that were taken; returns how many were taken before."""
    import textwrap

    task = lab.task(task_name)
    before, taken = progress.hints(lab, task), progress.take_hint(lab, task)
    paint = Paint(out)
    print(f"{lab.id} {task.name}", file=out)
    for i in reversed(range(taken)) if newest_first else range(taken):
        head = f"hint {i + 1} of {len(task.hints)}, {catalog.HINTS[i]}"
        code = i == len(catalog.HINTS) - 1  # its lines stay as they are
        lines = task.hints[i].split(";  ") if code else textwrap.wrap(task.hints[i], width - 2)
        new = i == taken - 1 and taken > before
        print(paint.bold(head) if new else paint.dim(head + " (taken)"), file=out)
        print("\n".join(f"  {line}" for line in lines), file=out)
    if before == len(task.hints) < len(catalog.HINTS):
        print(
            f"In this course these are all: {catalog.HINTS[-1]} is for you to find, or to ask your instructor for.",
            file=out,
        )
    return before
