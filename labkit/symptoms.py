"""What two values say by themselves about what went wrong, when no listed mistake explains it.

Does: returned nothing · one value for two · transposed · shifted by one · right up to a factor, which is printed ·
      right except row i · wrong type · another order · white space; and where large values first differ.
Does not: know any lab.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from labkit import values
from labkit.remote import Failed
from labkit.spec import Record


def generic(record: Record, stumbled: str = "", failed: Failed | None = None) -> str:
    """What the two values say by themselves; "" when they say nothing."""
    if failed is not None:
        return ""
    if stumbled:
        if "'NoneType' object" in stumbled:
            return "It returned nothing (None): is a `return` missing?"
        if "unpack" in stumbled or "not iterable" in stumbled:
            return "It returned one value, or none, where several are expected."
        return "What it returned cannot be used as the result should be."
    got, want = record.got, record.want
    if record.kind == "raises":
        return f"It returned instead of raising {want}." if got[0] == "returned" else f"It raised {got[1]}, not {want}."
    if record.kind not in ("close", "equal"):
        return ""
    for look in (_nothing, _types, _arrays, _numbers, _lists, _strings, _dicts):
        if words := look(got, want, record):
            return words
    return ""


def difference(record: Record) -> str:
    """Where the two first differ, for values too large to compare by eye."""
    got, want = record.got, record.want
    if record.kind not in ("close", "equal"):
        return ""
    if values.library(got) and values.library(want) and tuple(got.shape) == tuple(want.shape):
        wrong = _wrong_places(got, want, record)
        if not wrong.any():
            return ""
        import numpy as np

        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        a, b = values.numbers(got)[at], values.numbers(want)[at]
        where = f"at {list(at)} " if at else ""
        return f"{where}{_short(a)} instead of {_short(b)}; {int(wrong.sum())} of {wrong.size} differ"
    if isinstance(got, str) and isinstance(want, str):
        i = next((i for i, (a, b) in enumerate(zip(got, want, strict=False)) if a != b), min(len(got), len(want)))
        lo = max(0, i - 12)
        return f"from character {i} on: {got[lo : i + 12]!r} instead of {want[lo : i + 12]!r}" if lo or i > 12 else ""
    if isinstance(got, list) and isinstance(want, list) and max(len(got), len(want)) > 8:
        wrongs = [n for n, (a, b) in enumerate(zip(got, want, strict=False)) if not _same(a, b, record)]
        if not wrongs:
            return f"{len(got)} items instead of {len(want)}"
        first = wrongs[0]
        return f"at [{first}] {values.describe(got[first], 40)} instead of {values.describe(want[first], 40)}"
    return ""


def _short(x: Any) -> str:
    return f"{x:.5g}" if isinstance(x, float) else str(x)


def _same(a: Any, b: Any, record: Record) -> bool:
    return values.close(a, b, record.rtol, record.atol) if record.kind == "close" else values.equal(a, b)


def _wrong_places(got: Any, want: Any, record: Record) -> Any:
    import numpy as np

    rtol, atol = (0.0, 0.0) if record.kind == "equal" else (record.rtol, record.atol)
    default = values.TOLERANCE["float32"]
    rtol, atol = default[0] if rtol is None else rtol, default[1] if atol is None else atol
    with np.errstate(invalid="ignore"):
        return ~np.isclose(values.numbers(got), values.numbers(want), rtol, atol, equal_nan=True)


def _nothing(got: Any, want: Any, record: Record) -> str:
    if got is None and want is not None:
        return "It returned nothing (None): is a `return` missing?"
    if isinstance(got, values.Opaque):
        if got.type in ("function", "method", "builtin_function_or_method"):
            return f"It returned a {got.type}, not a value: are the parentheses of a call missing?"
        return f"It returned a {got.type} where {_kind(want)} is expected."
    return ""


def _types(got: Any, want: Any, record: Record) -> str:
    if _kind(got) == _kind(want):
        return ""
    if isinstance(got, list) and len(got) == 1 and _same(got[0], want, record):
        return "The right value, wrapped in a list."
    if isinstance(want, bool) or isinstance(got, bool) or not _are_numbers(got, want):
        return f"It returned {_kind(got)} where {_kind(want)} is expected."
    return f"The right number as {_kind(got)}; {_kind(want)} is expected." if got == want else ""


def _are_numbers(*xs: Any) -> bool:
    return all(type(x) in (int, float) for x in xs)


def _kind(x: Any) -> str:
    names = {bool: "a bool", int: "an int", float: "a float", str: "a string", bytes: "bytes", list: "a list or tuple",
             dict: "a dict", set: "a set", type(None): "None"}  # fmt: skip
    library = values.library(x)
    if library:
        return "a tensor" if library == "torch" else "a NumPy array"
    return names.get(type(x), str(x))


def _arrays(got: Any, want: Any, record: Record) -> str:
    if not values.library(got):
        return ""
    import numpy as np

    a, b = values.numbers(got), values.numbers(want)

    def fits(x: Any, y: Any) -> bool:
        return x.shape == y.shape and not _wrong_places(x, y, record).any()

    if a.shape != b.shape:
        if a.ndim > 1 and fits(np.swapaxes(a, -1, -2), b):
            return "Transposed: the last two dimensions are swapped."
        if fits(a.squeeze(), b.squeeze()):
            return "Right numbers, but a dimension of size 1 too many or too few."
        if a.size == b.size and fits(a.reshape(b.shape), b):
            return "Right numbers in another shape."
        return f"Its shape is {list(a.shape)}; {list(b.shape)} is expected."
    if a.dtype.kind != b.dtype.kind or (record.kind == "equal" and values.dtype(got) != values.dtype(want)):
        right = "Right values, wrong" if fits(a, b) else "Wrong"
        return f"{right} type: {values.dtype(got)}; {values.dtype(want)} is expected."
    if a.dtype.kind == "b":
        return "Every value is the opposite of what it should be." if a.size and (a != b).all() else ""
    for axis in range(-1, -a.ndim - 1, -1):
        if a.shape[axis] > 2:
            x, y = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
            if fits(x[1:], y[:-1]) or fits(x[:-1], y[1:]):
                return "Shifted by one place."
            if fits(x[::-1], y):
                return "In reverse order."
    if a.dtype.kind == "f" and (nan := np.isnan(a) & ~np.isnan(b)).any():
        return f"NaN in {int(nan.sum())} of {a.size} places, first at {[int(i) for i in np.argwhere(nan)[0]]}."
    if a.ndim > 1 and a.shape[-1] == a.shape[-2] and fits(np.swapaxes(a, -1, -2), b):
        return "Transposed: the last two dimensions are swapped."
    return _pattern(a.astype(float), b.astype(float), fits)


def _pattern(a: Any, b: Any, fits: Callable[[Any, Any], bool]) -> str:
    """A constant factor, a constant offset, a few wrong rows."""
    import numpy as np

    if not a.size or not np.isfinite(a).all() or not np.isfinite(b).all():
        return ""
    if not a.any() and b.any():
        return "All zeros."
    if (b != 0).sum() > 1 and a.any():
        factor = float(np.median((a / np.where(b == 0, np.nan, b))[b != 0]))
        if abs(factor - 1) > 1e-3 and factor and fits(a / factor, b):
            return (
                "Right, with the sign flipped." if abs(factor + 1) < 1e-3 else f"Right up to a factor: {factor:.4g} ×."
            )
    offset = float(np.median(a - b))
    if a.size > 2 and abs(offset) > 1e-3 and fits(a - offset, b):
        return f"Right up to a constant: {offset:+.4g} everywhere."
    if a.ndim < 2:
        return ""
    rows_a, rows_b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    wrong = [i for i in range(len(rows_a)) if not fits(rows_a[i], rows_b[i])]
    if wrong and len(wrong) * 3 <= len(rows_a):
        return f"Right except row{'s' * (len(wrong) > 1)} {', '.join(map(str, wrong[:5]))} of {len(rows_a)}."
    return ""


def _numbers(got: Any, want: Any, record: Record) -> str:
    if isinstance(got, bool) and isinstance(want, bool):
        return ""
    if not _are_numbers(got, want) or not want:
        return ""
    if type(want) is int and abs(got - want) == 1:
        return f"Off by one: {'one more' if got > want else 'one less'} than it should be."
    for factor, words in ((-1, "The sign is flipped."), (100, "A percentage where a share is expected.")):
        if values.close(float(got), float(want * factor)):
            return words
    return ""


def _lists(got: Any, want: Any, record: Record) -> str:
    if not isinstance(got, list) or not isinstance(want, list) or not got or not want:
        return "It is empty." if isinstance(got, list) and not got and isinstance(want, list) and want else ""

    def fits(x: Any, y: Any) -> bool:
        return len(x) == len(y) and all(_same(i, j, record) for i, j in zip(x, y, strict=True))

    if len(want) > 1 and fits(got[::-1], want):
        return "In reverse order."
    if len(want) > 2 and (fits(got[1:], want[:-1]) or fits(got[:-1], want[1:])):
        return "Shifted by one place."
    for more, less, words in ((got, want, "too many"), (want, got, "missing")):
        if len(more) == len(less) + 1:
            if fits(more[:-1], less):
                return f"Right, but the last item is {words}."
            if fits(more[1:], less):
                return f"Right, but the first item is {words}."
    try:
        if len(want) > 1 and Counter(got) == Counter(want):
            return "The right items in another order."
    except TypeError:
        pass
    if len(got) == len(want) and len(want) > 1 and all(_are_numbers(a, b) for a, b in zip(got, want, strict=True)):
        steps = {a - b for a, b in zip(got, want, strict=True)}
        if len(steps) == 1 and type(step := steps.pop()) is int:
            return f"Every number is {'larger' if step > 0 else 'smaller'} by {abs(step)}."
    if all(isinstance(x, str) for x in [*got, *want]) and "".join(got) == "".join(want):
        return "Cut at the wrong places; nothing is lost."
    if all(isinstance(x, str) for x in [*got, *want]) and [x.strip() for x in got] == [x.strip() for x in want]:
        return "Right, except for white space at the ends of items."
    return ""


def _strings(got: Any, want: Any, record: Record) -> str:
    if not isinstance(got, str) or not isinstance(want, str):
        return ""
    if got.split() == want.split() or "".join(got.split()) == "".join(want.split()):
        return "Right, except for white space."
    if got.lower() == want.lower():
        return "Right, except for upper and lower case."
    return "It is empty." if not got else ""


def _dicts(got: Any, want: Any, record: Record) -> str:
    if not isinstance(got, dict) or not isinstance(want, dict):
        return ""
    lacks, has = [k for k in want if k not in got], [k for k in got if k not in want]
    if lacks or has:
        parts = [f"{word} {', '.join(values.describe(k, 30) for k in keys[:3])}{' …' * (len(keys) > 3)}"
                 for word, keys in (("lacks", lacks), ("has too many:", has)) if keys]  # fmt: skip
        return f"It {' and '.join(parts)}."
    wrong = [k for k in want if not _same(got[k], want[k], record)]
    k = wrong[0]
    return (
        f"Right keys; {len(wrong)} of {len(want)} values are wrong, "
        f"first {values.describe(k, 30)}: {values.describe(got[k], 30)} instead of {values.describe(want[k], 30)}."
    )
