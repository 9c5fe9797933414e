"""Plain values: what may travel between a lab and its spec, when two are the same, and how one looks in a line.

Does: copies, comparison with a tolerance taken from the dtype, one-line descriptions of numbers, strings, lists,
      dicts, sets, torch tensors and NumPy arrays.
Does not: import torch or NumPy unless a value of theirs is at hand.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

# (relative, absolute): the error that ordinary arithmetic in this type leaves after a few hundred operations.
TOLERANCE = {
    "float16": (1e-2, 1e-3),
    "bfloat16": (4e-2, 4e-3),
    "float32": (1e-4, 1e-5),
    "float64": (1e-7, 1e-9),
    "float": (1e-6, 1e-9),
}


@dataclass(frozen=True)
class Opaque:
    """Stands for something that is not a plain value, by the name of its type: a module, a generator, a file."""

    type: str

    def __str__(self) -> str:
        return f"<{self.type} object>"


NO_ARRAYS = frozenset({bool, int, float, str, bytes, type(None), list, tuple, dict, set, frozenset})


ATOMS = frozenset({bool, int, float, str, bytes, type(None), Opaque})  # no copy of them can differ


def library(x: object) -> str | None:
    """`torch` or `numpy` when x is an array of theirs, else None."""
    if type(x) in NO_ARRAYS:
        return None
    for name, kind in (("torch", "Tensor"), ("numpy", "ndarray")):
        module = sys.modules.get(name)
        if module is not None and isinstance(x, getattr(module, kind)):
            return name
    return None


def dtype(x: Any) -> str:
    """`float32` and the like, the same word for torch and NumPy."""
    return str(x.dtype).removeprefix("torch.")


def numbers(x: Any) -> Any:
    """An array of either library as a NumPy array: floats in float64, the rest as they are."""
    import numpy as np

    if library(x) == "torch":
        x = x.detach().cpu()
        x = (x.double() if x.is_floating_point() else x).numpy()
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def plain(x: Any) -> Any:
    """A copy that later in-place edits cannot reach.  Tuples become lists; what is not a plain value becomes Opaque."""
    match library(x):
        case "torch":
            return x.detach().clone()
        case "numpy":
            return x.copy()
    if type(x) in ATOMS:
        return x
    if type(x) in (list, tuple):
        return list(x) if ATOMS.issuperset(map(type, x)) else [plain(y) for y in x]
    if type(x) in (set, frozenset):
        return {_frozen(y) for y in x}
    if type(x) is dict:
        return {k: plain(v) for k, v in x.items()}
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(x, (numpy.number, numpy.bool_)):
        return x.item()
    return Opaque(getattr(x, "_type", None) or type(x).__name__)


def _frozen(x: Any) -> Any:
    """As `plain`, for a member of a set: a tuple stays one, since a list cannot be in a set."""
    if type(x) in (tuple, frozenset):
        return type(x)(_frozen(y) for y in x)
    return plain(x)


def equal(a: Any, b: Any) -> bool:
    """The same type and the same value, all the way down; NaN equals NaN."""
    if library(a) or library(b):
        if library(a) != library(b) or dtype(a) != dtype(b) or tuple(a.shape) != tuple(b.shape):
            return False
        a, b = numbers(a), numbers(b)
        return bool(((a == b) | ((a != a) & (b != b))).all())
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        if len(kinds := {*map(type, a), *map(type, b)}) == 1 and kinds <= {str, int}:  # no NaN, and True is no 1
            return bool(a == b)
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        # Order counts as nothing, keys must be of the same type: {1: x} is not {True: x}.
        mine = {(type(k), k): v for k, v in a.items()}
        theirs = {(type(k), k): v for k, v in b.items()}
        return mine.keys() == theirs.keys() and all(equal(v, theirs[k]) for k, v in mine.items())
    return bool(a == b) or (a != a and b != b)


def close(a: Any, b: Any, rtol: float | None = None, atol: float | None = None) -> bool:
    """As `equal`, but numbers may differ by |a - b| <= atol + rtol·|b|; the default is the rougher type's TOLERANCE."""
    if library(a) or library(b):
        if library(a) != library(b) or tuple(a.shape) != tuple(b.shape):
            return False
        if _kind(a) != _kind(b):
            return False
        rtol, atol = _tolerance(rtol, atol, dtype(a), dtype(b))
        import numpy as np

        with np.errstate(invalid="ignore", over="ignore"):
            return bool(np.allclose(numbers(a), numbers(b), rtol, atol, equal_nan=True))
    if _is_number(a) and _is_number(b):
        rtol, atol = _tolerance(rtol, atol, "float")
        if a == b or (a != a and b != b):
            return True
        try:
            return math.isfinite(a) and math.isfinite(b) and abs(a - b) <= atol + rtol * abs(b)
        except OverflowError:  # an int too large for a float
            return False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(close(x, y, rtol, atol) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(v, b[k], rtol, atol) for k, v in a.items())
    return equal(a, b)


def size(x: Any) -> int:
    """How much a person would have to read: array elements, characters, digits, list items, summed."""
    if library(x):
        return int(math.prod(x.shape)) + 1
    if isinstance(x, (str, bytes)):
        return len(x) + 1
    if isinstance(x, (list, tuple, set)):
        return 1 + sum(size(y) for y in x)
    if isinstance(x, dict):
        return 1 + sum(size(k) + size(v) for k, v in x.items())
    return len(repr(x)) if type(x) is int else 1


def describe(x: Any, width: int = 100) -> str:
    """One line a person can read: small values whole, large ones by type, shape and a few numbers."""
    if library(x):
        shape = "×".join(map(str, x.shape)) or "0-d"
        head = f"{'tensor' if library(x) == 'torch' else 'array'} {shape} {dtype(x)}"
        flat = numbers(x).reshape(-1)
        for n in (6, 4, 2):  # as many numbers as there is room for
            few = ", ".join(_short(v) for v in flat[:n].tolist())
            text = f"{head} [{few}{', …' if flat.size > n else ''}]"
            if len(text) <= width:
                break
        return _cut(text, width)
    if isinstance(x, float):
        return _short(x)
    if isinstance(x, list) and len(x) > 1 and len(_items(x)) > width:
        shown: list[str] = []
        for item in x:
            shown.append(describe(item, width // 2))
            if len(", ".join(shown)) > width - 24:
                break
        return f"[{', '.join(shown[:-1] or shown)}, … {len(x)} items]"
    if isinstance(x, list):
        return _cut(_items(x), width)
    if isinstance(x, (str, bytes)) and len(text := repr(x)) > width:
        return f"{text[: width - 24]}… ({len(x)} {'characters' if isinstance(x, str) else 'bytes'})"
    return _cut(str(x) if isinstance(x, Opaque) else repr(x), width)


def _items(x: list[Any]) -> str:
    return "[" + ", ".join(describe(y) for y in x[:200]) + "]"


def _short(x: Any) -> str:
    return f"{x:.5g}" if isinstance(x, float) else str(x)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _is_number(x: Any) -> bool:
    return type(x) in (int, float)


def _kind(x: Any) -> str:
    name = dtype(x)
    return "float" if "float" in name else "bool" if name == "bool" else "int"


def _tolerance(rtol: float | None, atol: float | None, *types: str) -> tuple[float, float]:
    known = [TOLERANCE[t] for t in types if t in TOLERANCE]
    rough = max(known, default=(0.0, 0.0))
    return (rough[0] if rtol is None else rtol, rough[1] if atol is None else atol)
