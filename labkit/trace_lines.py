"""From a wrong value back to the lines of the lab's file where right numbers became wrong ones."""

from __future__ import annotations

import itertools
from typing import Any

from labkit import values
from labkit.trace_calls import Run
from labkit.trace_symptoms import HIDDEN, same, symptom

AXES = 5  # of an array whose axes are tried in every order


def suspects(mine: Run, reference: Run, start: list[int]) -> tuple[list[int], str]:
    """The operations where right numbers become wrong ones, and how the first is wrong if it can be told.

    From the wrong value back to what it was made from, as long as the reference has no such value.  An operation whose
    sources the reference all has, but not its result, is where to look.
    """
    pool = [Numbers(o["value"]) for o in reference.ops]
    made = [Numbers(o["value"]) for o in mine.ops]
    known: dict[int, bool] = {}

    def has(i: int) -> bool:
        if i not in known:
            near = [v for v in pool if made[i].holds_what(v)]
            # Cut into heads the wrong way, the numbers of a right value stand in the shape of another right one.
            alike = [v for v in near if v.shape == made[i].shape]
            known[i] = any(made[i].rearranged(v) for v in alike or near)
        return known[i]

    found, passed, todo = set[int](), set(start), list(start)
    while todo:
        i = todo.pop()
        before = [j for j in mine.ops[i]["from"] if j != i and not has(j)]
        if not before:
            found.add(i)
        todo += [j for j in before if j not in passed]
        passed |= set(before)
    lacking = [o["value"] for o, v in zip(reference.ops, pool, strict=True) if not any(n.rearranged(v) for n in made)]
    # A constant that the reference does without (another kind of mask) is no mistake by itself: then what follows counts.
    constant = _constants(mine)
    computed = {i for i in found if not constant[i]}
    for i in sorted(found) if computed else sorted(passed):
        for v in lacking:
            if words := symptom(mine.ops[i]["value"], v, strict=True):
                return [i], words
    return sorted(computed or found), ""


def _constants(mine: Run) -> list[bool]:
    """Of each operation: does it depend on nothing that came into the call?  Sources come before what is made of them."""
    constant: list[bool] = []
    for op in mine.ops:
        constant.append(not op["given"] and all(constant[j] for j in op["from"]))
    return constant


def rearranged(got: Any, want: Any) -> bool:
    """The same numbers, with axes in another order or put together: heads before time, say, or batch and time in one."""
    if not values.library(want) or not values.library(got):
        return same(got, want)
    return Numbers(got).rearranged(Numbers(want))


class Numbers:
    """An array, made ready to be compared with many others."""

    def __init__(self, x: Any) -> None:
        import numpy as np

        self.shape: tuple[int, ...] | None = tuple(x.shape) if values.library(x) else None
        if self.shape is None:
            return
        self.bool = values.dtype(x) == "bool"
        self.array = np.clip(np.nan_to_num(values.numbers(x).astype(float), nan=2 * HIDDEN), -HIDDEN, HIDDEN)
        self.sorted = np.sort(self.array, axis=None)
        self.sum = float(self.array.sum())
        self.error = 1e-5 * max(1.0, float(np.abs(self.array[np.abs(self.array) < HIDDEN]).max(initial=0.0)))

    def holds_what(self, other: Numbers) -> bool:
        """The same numbers, in whatever order.  A mask may say what is seen or what is not."""
        import numpy as np

        if self.shape is None or other.shape is None or self.bool != other.bool:
            return False
        n = self.array.size
        if n != other.array.size:
            return False
        if self.bool:
            return self.sum in (other.sum, n - other.sum)
        if abs(self.sum - other.sum) > n * (other.error + 1e-4 * float(np.abs(other.array).max(initial=0.0))):
            return False
        return np.allclose(self.sorted, other.sorted, 1e-4, other.error)

    def rearranged(self, other: Numbers) -> bool:
        """The same numbers, in the same order once axes are swapped or joined."""
        import numpy as np

        if not self.holds_what(other):
            return False
        a, b, error = self.array, other.array, other.error
        if self.bool and self.sum != other.sum:
            a = 1 - a
        if a.shape == b.shape:  # nothing else: scores the wrong way round have the right shape, too
            return np.allclose(a, b, 1e-4, error)
        a, b = a.ravel(), b.squeeze()
        orders = itertools.permutations(range(b.ndim)) if b.ndim <= AXES else [tuple(range(b.ndim))]
        return any(np.allclose(a, b.transpose(order).ravel(), 1e-4, error) for order in orders)
