"""Makes a failing case small: takes things away as long as the learner's file and the solution still disagree.

Strings and lists lose their halves, then single pieces; numbers come closer to 0; whatever the solution accepts.
Does not: touch arrays, whose sizes hang together, or cases whose value the spec computed from more than one call.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labkit import values, wire
from labkit.remote import Box, Call, Failed, Reference, Remote, remotes_in
from labkit.spec import Record

SECONDS = 8.0
Arguments = list[tuple[list[Any], dict[str, Any]]]


def shrink(mine: Box, reference: Box, record: Record, calls: list[Call], seed: int) -> tuple[Record, list[Call]]:
    """The same failure with less in it; the case as it was when nothing can be taken away.

    `seed` is where the lab's own random numbers begin each time.
    """
    arguments: Arguments = [c.arguments if c.data else ([], {}) for c in calls]
    if record.kind not in ("close", "equal") or any(c.op == "probe" for c in calls):
        return record, calls
    smallest = _disagreement(mine, reference, record, calls, arguments, seed)
    if smallest is None or not values.equal(smallest.got, record.got):
        return record, calls  # the spec made something else of what the call returned
    deadline = time.monotonic() + SECONDS
    progress = True
    while progress:
        progress = False
        for fewer, candidate in smaller_cases(calls, arguments):
            if time.monotonic() > deadline or mine.over or reference.over:
                break
            if found := _disagreement(mine, reference, record, fewer, candidate, seed):
                smallest, calls, arguments, progress = found, fewer, candidate, True
                break
    written = [replace(c, data=pack(*a)) if c.data else c for c, a in zip(calls, arguments, strict=True)]
    return smallest, written


def _disagreement(
    mine: Box, reference: Box, record: Record, calls: list[Call], arguments: Arguments, seed: int
) -> Record | None:
    """The failing record of this case; None when the two agree or the solution does not take it."""
    try:
        want = values.plain(replay(reference, calls, arguments, seed))
        got = values.plain(replay(mine, calls, arguments, seed))
    except Failed:
        return None
    made = Record(record.kind, got, want, record.why, record.rtol, record.atol)
    return None if made.ok else made


def replay(box: Box, calls: list[Call], arguments: Arguments, seed: int) -> Any:
    """What the last of these calls returns in this box, when each is made with these arguments.  Raises Failed."""
    box.seed(seed)
    handles: dict[int, Any] = {0: box.lab}

    def resolve(x: Any) -> Any:
        if isinstance(x, Reference):
            return handles[x._number]
        return [resolve(y) for y in x] if isinstance(x, list) else x

    value: Any = None
    for call, (args, kwargs) in zip(calls, arguments, strict=True):
        target = handles[call.target]
        named = {k: resolve(v) for k, v in kwargs.items()}
        value = getattr(target, call.name) if call.op == "get" else target(*map(resolve, args), **named)
        if call.result is not None and isinstance(value, Remote):
            handles[call.result] = value
        found = dict(remotes_in(value))
        handles |= {number: found[way] for number, way in call.nested.items() if way in found}
    return value


def smaller_cases(calls: list[Call], arguments: Arguments) -> Iterator[tuple[list[Call], Arguments]]:
    """The case with one thing taken away, in every way there is: a call, or a part of an argument."""
    for i, call in enumerate(calls[:-1]):
        if call.op == "call" and call.result is None and not call.nested:  # nothing rests on what it returned
            yield calls[:i] + calls[i + 1 :], arguments[:i] + arguments[i + 1 :]
    for smaller in _smaller_arguments(arguments):
        yield calls, smaller


def _smaller_arguments(arguments: Arguments) -> Iterator[Arguments]:
    for i, (args, kwargs) in enumerate(arguments):
        for j, arg in enumerate(args):
            for less in _smaller(arg):
                yield [*arguments[:i], ([*args[:j], less, *args[j + 1 :]], kwargs), *arguments[i + 1 :]]
        for name, arg in kwargs.items():
            for less in _smaller(arg):
                yield [*arguments[:i], (args, {**kwargs, name: less}), *arguments[i + 1 :]]


def _smaller(x: Any) -> Iterator[Any]:
    """Values with less in them, the boldest first."""
    if type(x) is int and x:
        yield from dict.fromkeys((0, 1, x // 2, x - 1 if x > 0 else x + 1)).keys() - {x}
    elif type(x) in (str, list):
        size = len(x) // 2
        while size:
            for start in range(0, len(x), size):
                yield x[:start] + x[start + size :]
            size //= 2
        if type(x) is str and len(x) == 1 and x not in "a ":
            yield "a"
        if type(x) is list:
            for i, item in enumerate(x[:40]):
                for less in _smaller(item):
                    yield [*x[:i], less, *x[i + 1 :]]


def pack(args: list[Any], kwargs: dict[str, Any]) -> bytes:
    """Arguments as a `Call` holds them."""
    return wire.dumps([args, kwargs], lambda x: (x._number, ""))
