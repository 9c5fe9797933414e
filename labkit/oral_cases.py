"""The smallest input on which a mistake and the student's file differ, found by running both.

The student's file runs behind the pipe in the locked kitchen; the reference and the mistake run in the trusted one.
A case counts only where the reference and all equivalents give what the student's file gives: where right versions
differ, nobody defined what is right, and that is no question.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labkit import runner, values, variants
from labkit.catalog import Lab, Task
from labkit.kitchen import Kitchen
from labkit.oral_words import LONG, arrays, leaves, parts, readable, written
from labkit.remote import Box, Call, Failed
from labkit.repro import slice_of
from labkit.runner import Spec, observe
from labkit.shrink import Arguments, replay, smaller_cases
from labkit.variants import Variant

SEEDS, STARTS, STEPS = 3, 2, 300  # how much is tried: seeds, failing checks, things to take away
HOPE = 80  # after so many of them a case must be one that can be asked about
BROKEN = (Failed, KeyError, TypeError, AttributeError, IndexError)  # a case cut too far, or a mistake that goes wrong


@dataclass
class Pots:
    """Where cases are cooked: the spec, the student's file, and the two kitchens."""

    spec: Spec
    file: Path
    trusted: Kitchen
    locked: Kitchen


@dataclass
class Case:
    """An input on which a mistake and the student's file differ."""

    calls: list[Call]
    arguments: Arguments
    mine: Any
    wrong: Any


def smallest(
    pots: Pots, task: Task, mistake: Variant, worth: Callable[[Any], bool] = lambda answer: True
) -> Case | None:
    """The smallest input found on which the mistake and the student's file differ, the student's answer being `worth` it.

    None when there is none of one or more calls that one can read.
    """
    equals = [e for e in variants.equivalents(pots.spec.lab) if e.of == mistake.of]
    starts: list[tuple[int, int, list[Call], int]] = []
    for seed in range(SEEDS):
        box = pots.trusted.box()
        try:
            seen = observe(box, pots.spec, task.name, mistake.setup, seed, stop_at_first=True)
        finally:
            box.close()
        for key in seen.failures:
            calls = slice_of(seen.calls[key]) if seen.calls[key] else []
            if calls and not any(c.op == "probe" for c in calls):
                cost = sum(values.size(list(c.arguments)) for c in calls if c.data)
                starts.append((cost, len(starts), calls, runner.seed_of(key[0], seed)))
    for _, _, calls, seed in sorted(starts, key=lambda s: s[:2])[:STARTS]:
        with ExitStack() as stack:
            boxes = [pots.locked.box(), *(pots.trusted.box() for _ in range(2 + len(equals)))]
            for box in boxes:
                stack.callback(box.close)
            try:
                boxes[0].load(pots.file, task.forbidden, pots.spec.lab.folder)
                boxes[1].load(pots.spec.lab.file("solution.py"))
                for box, version in zip(boxes[2:], [mistake, *equals], strict=True):
                    version.setup(box)
            except Failed:
                continue
            if found := _shrunk(pots.spec.lab, boxes, calls, seed, worth):
                return found
    return None


def _shrunk(lab: Lab, boxes: list[Box], calls: list[Call], seed: int, worth: Callable[[Any], bool]) -> Case | None:
    """What is too long to read or not `worth` it may become so on the way; what once was good stays good."""
    arguments: Arguments = [c.arguments if c.data else ([], {}) for c in calls]
    if (best := _differ(boxes[:3], calls, arguments, seed)) is None:
        return None
    # what an equivalent does in another way here, in another type say, would keep it from agreeing anywhere
    boxes = [*boxes[:3], *(b for b in boxes[3:] if _agrees(b, best, seed))]
    usual = _unbounded(best.mine)

    def good(case: Case) -> bool:  # nothing that became infinite: there the input is one that nobody defined
        fit = _unbounded(case.mine) <= usual and readable(case.mine) and worth(case.mine)
        return fit and len(written(lab, case.calls, case.arguments)) <= LONG

    at, progress = 0, False
    for step in range(STEPS):
        if step == HOPE and not good(best):
            break
        smaller = ((best.calls, less) for less in smaller_arrays(best.arguments))
        candidates = itertools.chain(smaller, smaller_cases(best.calls, best.arguments))
        candidate = next(itertools.islice(candidates, at, None), None)
        if any(box.over for box in boxes) or (candidate is None and not progress):
            break
        if candidate is None:
            at, progress = 0, False
        elif (found := _differ(boxes, *candidate, seed)) and (good(found) or not good(best)):
            best, progress = found, True
        else:
            at += 1
    # what a draw decides, nobody can say
    return best if good(best) and _agrees(boxes[0], best, seed + 1) else None


def _differ(boxes: list[Box], calls: list[Call], arguments: Arguments, seed: int) -> Case | None:
    mine, right, wrong, *equals = boxes
    try:
        got = values.plain(replay(mine, calls, arguments, seed))
    except BROKEN:
        return None
    if not all(_agrees(box, Case(calls, arguments, got, None), seed) for box in (right, *equals)):
        return None
    try:
        other = values.plain(replay(wrong, calls, arguments, seed))
    except BROKEN:  # that it raises there would be the case's doing, as often as the mistake's
        return None
    return Case(calls, arguments, got, other) if not values.close(other, got) else None


def _agrees(box: Box, case: Case, seed: int) -> bool:
    try:
        return values.close(values.plain(replay(box, case.calls, case.arguments, seed)), case.mine)
    except BROKEN:
        return False


def _unbounded(x: Any) -> set[str]:
    """Which of inf, -inf and nan it holds."""
    return {str(y) for y in leaves(x) if isinstance(y, float) and not math.isfinite(y)}


def smaller_arrays(arguments: Arguments) -> Iterator[Arguments]:
    """Axes of one length are cut together, since they may belong together; then numbers become plainer, array by array."""
    every = [x for args, kwargs in arguments for x in arrays([*args, *kwargs.values()])]
    lengths = {n for x in every for n in x.shape}
    for n in sorted(lengths - {0, 1}, reverse=True):
        # three or four gates in one array: cut to what is no multiple, it would still run, and mean nothing
        k = next((k for k in (4, 3) if n % k == 0 and n // k in lengths), 1)
        for fewer in sorted({k * m for m in (1, 2, n // k // 2, n // k - 1) if 0 < k * m < n}):
            yield _mapped(arguments, partial(_cut, n, fewer))
    for chosen in every:
        for plainer in _plainer(chosen):
            yield _mapped(arguments, partial(_exchanged, chosen, plainer))
    for number in dict.fromkeys(y for args, kwargs in arguments for y in parts([args, kwargs]) if type(y) is float):
        for few in dict.fromkeys(round(number, digits) for digits in (0, 2) if math.isfinite(number)).keys() - {number}:
            yield _mapped(arguments, partial(_exchanged, number, few))


def _cut(n: int, fewer: int, x: Any) -> Any:
    return x[tuple(slice(fewer) if size == n else slice(None) for size in x.shape)] if values.library(x) else x


def _exchanged(old: Any, new: Any, x: Any) -> Any:
    return new if x is old or (type(x) is type(old) is float and x == old) else x


def _plainer(x: Any) -> Iterator[Any]:
    if values.dtype(x) == "bool" or not (x != 0).any():
        return
    yield x * 0 + 0  # no -0.0
    if "int" in values.dtype(x):
        yield x // 2
        return
    if (x != x.round()).any():
        yield x.round() + 0
    if (abs(x) > 2).any():
        yield x.clip(-2, 2)


def _mapped(arguments: Arguments, change: Callable[[Any], Any]) -> Arguments:
    def one(x: Any) -> Any:
        if isinstance(x, (list, tuple)):
            return type(x)(map(one, x))
        if isinstance(x, dict):
            return {k: one(y) for k, y in x.items()}
        return change(x) if values.library(x) or type(x) is float else x

    return [([one(x) for x in args], {k: one(v) for k, v in kwargs.items()}) for args, kwargs in arguments]
