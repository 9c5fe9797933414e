"""How an oral's questions write a case and an answer, and which of them a person can take in within minutes."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labkit import values
from labkit.catalog import Lab
from labkit.remote import Call
from labkit.repro import statement
from labkit.shrink import Arguments, pack

LONG = 300  # characters of a case or an answer


def written(lab: Lab, calls: list[Call], arguments: Arguments) -> str:
    """The calls as somebody would write them."""
    names = {0: "lab"}
    lines: list[str] = []
    for i, (call, (args, kwargs)) in enumerate(zip(calls, arguments, strict=True)):
        packed = replace(call, data=pack(args, kwargs)) if call.data else call
        lines += statement(lab, packed, names, last=i == len(calls) - 1)
    text = re.sub(r"(?m)^(?!got)(\w+ = )?lab\.|^got = (?:lab\.)?", r"\1", "\n".join(lines))
    for number, plain in zip(dict.fromkeys(re.findall(r"(?m)^x(\d+) = ", text)), "xyzuvw", strict=False):
        text = re.sub(rf"\bx{number}\b", plain, text)
    text = re.sub(r"(torch\.tensor\([^()]*),\s+dtype=torch\.(?:float32|int64|bool)\)", r"\1)", text)  # the default
    return re.sub(r'(np\.array\([^()]*),\s+dtype="(?:float64|int64|bool)"\)', r"\1)", text)


def answer(x: Any) -> str:
    """A value with all its numbers, to four decimals; of an array also kind and shape, which may be all that differs.

    Several values, of which one holds an array, stand on lines of their own.
    """
    if library := values.library(x):
        shape = "×".join(map(str, x.shape)) or "0-d"
        kind = "tensor" if library == "torch" else "array"
        return f"{kind} {shape} {values.dtype(x)} {_rounded(values.numbers(x).tolist())}"
    if isinstance(x, list) and any(True for _ in arrays(x)):
        return "\n".join(textwrap.indent(answer(y), "  " * isinstance(y, list)) for y in x)
    return str(_rounded(x)) if not isinstance(x, (str, bytes)) else repr(x)


def predictable(x: Any) -> bool:
    """Few values, not all the same, none of which needs a computer: whole numbers, halves, quarters, words."""
    every = list(leaves(x))
    plain = all(not isinstance(y, float) or not math.isfinite(y) or 4 * y % 1 == 0 for y in every)
    return plain and 3 <= len(every) <= 16 and len(set(map(repr, every))) >= 2


def readable(x: Any) -> bool:
    if any(0 in y.shape for y in arrays(x)):  # cut until nothing was left
        return False
    return not any(isinstance(y, values.Opaque) for y in leaves(x)) and len(answer(x)) <= LONG


def leaves(x: Any) -> Iterator[Any]:
    if values.library(x):
        x = values.numbers(x).reshape(-1).tolist()
    if isinstance(x, (list, tuple, set)):
        for y in x:
            yield from leaves(y)
    elif isinstance(x, dict):
        for key, y in x.items():
            yield key
            yield from leaves(y)
    else:
        yield x + 0.0 if isinstance(x, float) else x  # -0.0 is no other answer than 0.0


def _rounded(x: Any) -> Any:
    if isinstance(x, list):
        return [_rounded(y) for y in x]
    if isinstance(x, dict):
        return {k: _rounded(v) for k, v in x.items()}
    return round(x, 4) + 0.0 if isinstance(x, float) else x


def arrays(x: Any) -> Iterator[Any]:
    return (y for y in parts(x) if values.library(y))


def parts(x: Any) -> Iterator[Any]:
    """What lists, tuples and dicts hold, all the way down; an array is one part."""
    if isinstance(x, (list, tuple, dict)):
        for y in x.values() if isinstance(x, dict) else x:
            yield from parts(y)
    else:
        yield x
