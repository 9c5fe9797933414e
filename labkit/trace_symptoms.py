"""How two numbers of a forward pass differ, beyond what labkit.symptoms says of any two values."""

from __future__ import annotations

import re
from typing import Any

from labkit import symptoms, values
from labkit.spec import Record

HIDDEN = 1e4  # beyond it, a score is as good as infinite: one mask writes -inf, another -1e9


def same(got: Any, want: Any) -> bool:
    """The same numbers in the same shape and precision.  Objects that stay in their process are not compared."""
    if isinstance(want, values.Opaque):
        return True
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(same, got, want))
    if isinstance(want, dict):
        return isinstance(got, dict) and got.keys() == want.keys() and all(same(got[k], w) for k, w in want.items())
    if not values.library(want):
        return values.close(got, want)
    return values.library(got) == values.library(want) and _precise(got, want) and _record(got, want).ok


def _precise(got: Any, want: Any) -> bool:
    return "float" not in values.dtype(want) or values.dtype(got) == values.dtype(want)


def _record(got: Any, want: Any) -> Record:
    """Judged on the scale of the largest number: what cancels out leaves more rounding than its own size tells."""
    import numpy as np

    b = values.numbers(want)
    largest = float(np.abs(b[np.isfinite(b)]).max(initial=1.0)) if b.dtype.kind == "f" else 1.0
    rtol, atol = values.TOLERANCE.get(values.dtype(want), values.TOLERANCE["float32"])
    return Record("close", got, want, "", rtol, atol * largest)


def part(got: Any, want: Any) -> tuple[Any, Any, str]:
    """Of two that differ, the first part that differs, and its name: `[0]` of a tuple, an entry of a dict."""
    if isinstance(want, list) and isinstance(got, list) and len(got) == len(want):
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            if not same(a, b):
                return a, b, f"[{i}]"
    if isinstance(want, dict) and isinstance(got, dict) and got.keys() == want.keys():
        for k in want:
            if not same(got[k], want[k]):
                return got[k], want[k], str(k)
    return got, want, ""


def relation(got: Any, want: Any, known: list[tuple[str, Any]]) -> str:
    """Is it another of the numbers at hand, or the right one with one of them too few, too many, or in another's place?"""
    if not _alike(got, want):
        return ""
    near = [(words, x) for words, x in known if _alike(x, want)]
    other = next((words for words, x in near if same(got, x)), "")
    missing = next((words for words, x in near if same(got + x, want)), "")
    if other:
        return f"It is {other}{f'; {missing} is missing from the sum' if missing else ', and nothing else'}."
    if missing:
        return f"{_capital(missing)} is missing from the sum."
    for words, x in near:
        if same(got - x, want):
            return f"{_capital(words)} is in the sum once too often."
        for instead, y in near:
            if same(got - x + y, want):
                return f"In the sum, {words} stands in the place of {instead}."
    return ""


def _alike(x: Any, want: Any) -> bool:
    return values.library(x) == values.library(want) is not None and (
        x.shape == want.shape and "float" in values.dtype(x) and "float" in values.dtype(want)
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def symptom(got: Any, want: Any, strict: bool = False) -> str:
    """What the two say by themselves.  Strict: only what two unrelated arrays would never say."""
    arrays = values.library(got) == values.library(want) is not None
    if not arrays or tuple(got.shape) != tuple(want.shape):
        return "" if strict else symptoms.generic(Record("close", got, want))
    words = symptoms.generic(_record(got, want))
    if words.startswith("Transposed"):  # it would also sum to 1 over the other dimension
        return words
    if words := _sums(got, want, strict) or _hidden(got, want, strict) or _zeros(got, want, strict):
        return words
    if values.dtype(got) == "bool" or not _precise(got, want):
        kind, right = values.dtype(got), values.dtype(want)
        return "" if strict or kind == right else f"It is {kind}; {right} is expected."
    got, want = _without_infinities(got, want)
    words = _with_root(symptoms.generic(_record(got, want)))
    if strict:
        return "" if words.startswith(("NaN", "Wrong", "All zeros")) else words
    return words or _shuffled(got, want) or _places(got, want)


def numbers(got: Any, want: Any) -> str:
    """The first wrong number beside the right one, and how many are wrong."""
    record = _record(got, want) if values.library(got) and values.library(want) else Record("close", got, want)
    if words := symptoms.difference(record):
        return words
    return "" if values.library(want) else f"{values.describe(got, 50)} instead of {values.describe(want, 50)}"


def _without_infinities(got: Any, want: Any) -> tuple[Any, Any]:
    """Where both are hidden by a mask, both are 0: then the rest can be compared."""
    import torch

    if not all(isinstance(x, torch.Tensor) and x.is_floating_point() for x in (got, want)) or got.shape != want.shape:
        return got, want
    both = (got < -HIDDEN) & (want < -HIDDEN)
    return got.masked_fill(both, 0.0), want.masked_fill(both, 0.0)


def _with_root(words: str) -> str:
    """A factor that is the root of a whole number is told as that: such a factor is seldom chance."""
    found = re.search(r"factor: (\S+) ×\.", words)
    if not found:
        return words
    factor = abs(float(found[1]))
    for power, sign in ((factor * factor, "√"), (1 / (factor * factor), "1/√")):
        n = round(power)
        if 2 <= n <= 256 and abs(power - n) < 5e-4 * n and round(n**0.5) ** 2 != n:
            return words.replace(" ×.", f" ×, which is {sign}{n}.")
    return words


def _hidden(got: Any, want: Any, strict: bool) -> str:
    """Scores that are visible where they should not be, and the other way round.  Strict: all others are right."""
    a, b = values.numbers(got), values.numbers(want)
    if b.dtype.kind != "f" or not (b < -HIDDEN).any():
        return ""
    both = (a >= -HIDDEN) & (b >= -HIDDEN)
    if strict and not (both.any() and same(got[both], want[both])):
        return ""
    return _pattern(a >= -HIDDEN, b >= -HIDDEN, "visible", "hidden")


def _zeros(got: Any, want: Any, strict: bool) -> str:
    """Zeros where the reference has none, and the other way round: what a wrong mask leaves, and masks themselves."""
    a, b = values.numbers(got), values.numbers(want)
    if a.dtype.kind == "b":
        return _pattern(a if (a != b).sum() * 2 <= a.size else ~a, b, "true", "false")
    if strict and not (_shares(a) and _shares(b)):  # zeros say little of two that may have nothing in common
        return ""
    return _pattern(a != 0, b != 0, "not 0", "0")


def _pattern(a: Any, b: Any, yes: str, no: str) -> str:
    said = []
    for where, mine, theirs in ((a & ~b, yes, no), (b & ~a, no, yes)):
        if where.any() and b.any() and not b.all():
            first = [int(i[0]) for i in where.nonzero()]
            said.append(
                f"{mine} where the reference is {theirs}: {int(where.sum())} of {where.size} places, "
                f"first at {first}{_diagonal(where)}"
            )
    return f"It is {'; '.join(said)}." if said else ""


def _shares(x: Any, axis: int = -1) -> bool:
    import numpy as np

    return bool(np.isfinite(x).all() and (x >= 0).all() and np.allclose(x.sum(axis), 1, atol=1e-4))


def _diagonal(where: Any) -> str:
    """Where such places lie in the last two dimensions, when these are a square."""
    if where.ndim < 2 or where.shape[-1] != where.shape[-2]:
        return ""
    *_, row, column = where.nonzero()
    if (column > row).all():
        return ", all above the diagonal" if (column - row > 1).any() else ", all just above the diagonal"
    if (column == row).all():
        return ", all on the diagonal"
    return ", all below the diagonal" if (column < row).all() else ""


def _sums(got: Any, want: Any, strict: bool) -> str:
    """Shares that add up along another dimension, or that should not add up."""
    a, b = values.numbers(got), values.numbers(want)
    if b.dtype.kind != "f" or b.ndim < 2 or b.shape[-1] < 2 or _shares(a) == _shares(b):
        return ""
    if _shares(a):
        return "" if strict else "Its last dimension sums to 1, as after a softmax; the reference's does not."
    for axis in range(-2, -b.ndim - 1, -1):
        if b.shape[axis] > 1 and _shares(a, axis):
            return f"It sums to 1 over dimension {axis}; the reference over the last, -1."
    return ""


def _shuffled(got: Any, want: Any) -> str:
    import numpy as np

    a, b = (np.sort(values.numbers(x).ravel()) for x in (got, want))
    if not same(got, want) and np.allclose(a, b, 1e-4, 1e-5) and (a[1:] != a[:-1]).any():
        return "The right numbers in the wrong order."
    return ""


def _places(got: Any, want: Any) -> str:
    """Right at some places along one dimension and wrong at all others."""
    import numpy as np

    record = _record(got, want)
    assert record.rtol is not None
    assert record.atol is not None
    wrong = ~np.isclose(values.numbers(got), values.numbers(want), record.rtol, record.atol, equal_nan=True)
    for axis in sorted(range(wrong.ndim), key=lambda i: -wrong.shape[i]):
        bad = wrong.any(axis=tuple(i for i in range(wrong.ndim) if i != axis))
        if wrong.shape[axis] < 3 or bad.all():
            continue
        right = [int(i) for i in np.flatnonzero(~bad)]
        n = wrong.shape[axis]
        if len(right) == 1:
            last = ", the last," * (right[0] == n - 1)
            return f"Of the {n} places along dimension {axis}, only number {right[0]}{last} is right."
        wrongs = [int(i) for i in np.flatnonzero(bad)]
        if wrongs == list(range(wrongs[0], n)):
            return f"Along dimension {axis}, it is wrong from place {wrongs[0]} on, and right before."
    return ""
