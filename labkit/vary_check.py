"""Proves a lab's dials: under any set of them the varied reference passes and the public solution fails.

Beyond that, for each dial of a set: the reference with this one dial left as in the public lab passes no task that the
dial names, and every other that does not come after one of those.  So a failure can be traced to the dial behind it.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from labkit import vary
from labkit.catalog import Lab
from labkit.kitchen import Kitchen
from labkit.remote import Box
from labkit.runner import Spec, kitchen, observe


@dataclass
class Proof:
    """What was tried; `problems` has one line for each thing that is not as it must be."""

    sets: int = 0
    runs: int = 0  # a file's task on a seed
    problems: list[str] = field(default_factory=list)


def some_sets(lab: Lab, extra: int, seed: int = 0) -> list[list[str]]:
    """Each dial by itself, all together, and `extra` others, drawn at random from those between."""
    names = [d.name for d in vary.dials(lab)]
    between = [list(c) for n in range(2, len(names)) for c in itertools.combinations(names, n)]
    drawn = random.Random(seed).sample(between, min(extra, len(between)))
    return [*([name] for name in names), *([names] if len(names) > 1 else []), *drawn]


def prove(lab: Lab, sets: list[list[str]], seeds: range, progress: Callable[[str], None] = lambda words: None) -> Proof:
    """Tries these sets of dials on these seeds."""
    proof = Proof()
    with tempfile.TemporaryDirectory() as place, kitchen(lab) as source:
        for n, names in enumerate(sets):
            progress(f"{lab.id}  {vary.TOGETHER.join(names)}  ({n + 1} of {len(sets)})")
            _prove_set(lab, names, seeds, Path(place) / str(n), source, proof)
            proof.sets += 1
    return proof


def _prove_set(lab: Lab, names: list[str], seeds: range, folder: Path, source: Kitchen, proof: Proof) -> None:
    made = vary.build(lab, names, folder)
    spec = Spec.of(made)
    tasks = {d.name: set(d.tasks) for d in vary.dials(lab)}
    files = {
        "the reference": (made.file("solution.py"), set[str]()),
        "the empty lab.py": (made.file("lab.py"), {t.name for t in lab.tasks}),
    }
    for missed, text in vary.near_misses(lab, names).items():
        path = folder / f"near_miss_{len(files)}.py"
        path.write_text(text, encoding="utf-8")
        fails = {task for name in missed.split(vary.TOGETHER) for task in tasks[name]}
        files[f"the reference without {missed}"] = path, fails
    for title, (file, fails) in files.items():
        waiting = _after(lab, fails)
        for task in lab.tasks:
            if task.name in waiting - fails:
                continue
            for seed, passed in zip(seeds, _passes(source, spec, task.name, file, seeds), strict=True):
                proof.runs += 1
                if passed == (task.name in fails):
                    verb = "passes" if passed else "fails"
                    proof.problems.append(
                        f"{lab.id} with {vary.TOGETHER.join(names)}: {title} {verb} {task.name} on seed {seed}"
                    )


def _passes(source: Kitchen, spec: Spec, task: str, file: Path, seeds: range) -> list[bool]:
    """One process a seed: what one leaves behind must not decide the next."""
    found, forbidden = [], spec.lab.task(task).forbidden

    def load(box: Box) -> None:
        box.load(file, forbidden, spec.lab.folder)

    for seed in seeds:
        box = source.box()
        try:
            found.append(observe(box, spec, task, load, seed, stop_at_first=True).passed)
        finally:
            box.close()
    return found


def _after(lab: Lab, tasks: set[str]) -> set[str]:
    """These tasks and what builds on them: it waits for them, whatever it would do."""
    found = set(tasks)
    for task in lab.tasks:  # an earlier task never comes after a later one
        if found & set(task.after):
            found.add(task.name)
    return found
