"""The smallest input on which a mistake and the student's file differ, found by running both, and how it is written.

The student's file runs behind the pipe in the locked kitchen; the reference and the mistake run in the trusted one.
A case counts only where the reference gives what the student's file gives: what nobody defined is no question.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from labkit import runner, values
from labkit.catalog import Lab, Task
from labkit.kitchen import Kitchen
from labkit.remote import Box, Call, Failed
from labkit.repro import slice_of, statement
from labkit.runner import Spec, observe
from labkit.shrink import Arguments, pack, replay, smaller_cases
from labkit.variants import Variant

SEEDS, STARTS, STEPS = 3, 2, 200  # how much is tried: seeds, failing checks, things to take away
LONG = 390  # characters of a case or an answer that somebody takes in within minutes
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
            boxes = [pots.locked.box(), pots.trusted.box(), pots.trusted.box()]
            for box in boxes:
                stack.callback(box.close)
            try:
                boxes[0].load(pots.file, task.forbidden, pots.spec.lab.folder)
                boxes[1].load(pots.spec.lab.file("solution.py"))
                mistake.setup(boxes[2])
            except Failed:
                continue
            if (found := _shrunk(boxes, calls, seed, worth)) and len(written(pots.spec.lab, found)) <= LONG:
                return found
    return None


def _shrunk(boxes: list[Box], calls: list[Call], seed: int, worth: Callable[[Any], bool]) -> Case | None:
    arguments: Arguments = [c.arguments if c.data else ([], {}) for c in calls]
    best = _differ(boxes, calls, arguments, seed, worth)
    steps, progress = 0, best is not None
    while best and progress:
        progress = False
        everything = [(best.calls, smaller) for smaller in smaller_arrays(best.arguments)]
        for fewer, candidate in [*everything, *smaller_cases(best.calls, best.arguments)]:
            steps += 1
            if steps > STEPS or any(box.over for box in boxes):
                return best
            if found := _differ(boxes, fewer, candidate, seed, worth):
                best, progress = found, True
                break
    return best


def _differ(
    boxes: list[Box], calls: list[Call], arguments: Arguments, seed: int, worth: Callable[[Any], bool]
) -> Case | None:
    mine, right, wrong = boxes
    try:
        got, want = (values.plain(replay(box, calls, arguments, seed)) for box in (mine, right))
    except BROKEN:
        return None
    if not values.close(got, want) or not _readable(got) or not worth(got):
        return None
    try:
        other = values.plain(replay(wrong, calls, arguments, seed))
    except BROKEN:  # that it raises there would be the case's doing, as often as the mistake's
        return None
    return Case(calls, arguments, got, other) if not values.close(other, got) else None


def smaller_arrays(arguments: Arguments) -> Iterator[Arguments]:
    """Axes of one length are cut together, since they may belong together; then numbers become plainer, array by array."""
    arrays = [x for args, kwargs in arguments for x in _arrays([*args, *kwargs.values()])]
    for n in sorted({n for x in arrays for n in x.shape if n > 1}, reverse=True):
        for fewer in sorted({m for m in (1, 2, n // 2, n - 1) if m < n}):
            yield _mapped(arguments, partial(_cut, n, fewer))
    for chosen in arrays:
        for plainer in _plainer(chosen):
            yield _mapped(arguments, partial(_exchanged, chosen, plainer))


def _arrays(x: Any) -> Iterator[Any]:
    if values.library(x):
        yield x
    elif isinstance(x, list):
        for y in x:
            yield from _arrays(y)


def _cut(n: int, fewer: int, x: Any) -> Any:
    return x[tuple(slice(fewer) if size == n else slice(None) for size in x.shape)]


def _exchanged(old: Any, new: Any, x: Any) -> Any:
    return new if x is old else x


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
        if isinstance(x, list):
            return [one(y) for y in x]
        return change(x) if values.library(x) else x

    return [([one(x) for x in args], {k: one(v) for k, v in kwargs.items()}) for args, kwargs in arguments]


def written(lab: Lab, case: Case) -> str:
    """The calls as somebody would write them."""
    names = {0: "lab"}
    lines = []
    for i, (call, (args, kwargs)) in enumerate(zip(case.calls, case.arguments, strict=True)):
        packed = replace(call, data=pack(args, kwargs)) if call.data else call
        lines += statement(lab, packed, names, last=i == len(case.calls) - 1)
    text = "\n".join(re.sub(r"^((?!got)\w+ = )?(?:got = )?lab\.", r"\1", line) for line in lines)
    return re.sub(r"(torch\.tensor\([^()]*),\s+dtype=torch\.(?:float32|int64|bool)\)", r"\1)", text)  # the default


def answer(x: Any) -> str:
    """A value with all its numbers, to four decimals; of an array also kind and shape, which may be all that differs."""
    if library := values.library(x):
        shape = "×".join(map(str, x.shape)) or "0-d"
        return f"{'tensor' if library == 'torch' else 'array'} {shape} {values.dtype(x)} {_rounded(values.numbers(x).tolist())}"
    if isinstance(x, list) and any(values.library(y) for y in x):
        return "".join(f"\n  {answer(y)}" for y in x)
    return str(_rounded(x)) if not isinstance(x, (str, bytes)) else repr(x)


def by_hand(x: Any) -> bool:
    """Few values, none of which needs a computer: whole numbers, halves, quarters, words."""
    leaves = list(_leaves(x))
    return len(leaves) <= 16 and all(not isinstance(y, float) or not math.isfinite(y) or 4 * y % 1 == 0 for y in leaves)


def varied(x: Any) -> bool:
    """Not all the same: nobody should answer by luck."""
    leaves = list(_leaves(x))
    return len(leaves) >= 3 and len(set(map(repr, leaves))) >= 2


def _readable(x: Any) -> bool:
    if any(0 in y.shape for y in _arrays(x)):  # cut until nothing was left
        return False
    return not any(isinstance(y, values.Opaque) for y in _leaves(x)) and len(answer(x)) <= LONG


def _leaves(x: Any) -> Iterator[Any]:
    if values.library(x):
        x = values.numbers(x).reshape(-1).tolist()
    if isinstance(x, (list, set)):
        for y in x:
            yield from _leaves(y)
    elif isinstance(x, dict):
        for key, y in x.items():
            yield key
            yield from _leaves(y)
    else:
        yield x + 0.0 if isinstance(x, float) else x  # -0.0 is no other answer than 0.0


def _rounded(x: Any) -> Any:
    if isinstance(x, list):
        return [_rounded(y) for y in x]
    if isinstance(x, dict):
        return {k: _rounded(v) for k, v in x.items()}
    return round(x, 4) + 0.0 if isinstance(x, float) else x
