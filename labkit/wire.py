"""Messages between a lab's process and its judge: inert, exact and bounded.

A message is a JSON head and raw buffers, never a pickle.  Plain values travel by value, bit for bit; anything else
(a module, a generator) stays where it is and travels as a handle: a number and the name of its type.

The reader trusts nothing.  Sizes, shapes, nesting and dtypes are checked before anything of that size is made, so the
worst that a hostile peer achieves is a `WireError` with a sentence in it.
"""

from __future__ import annotations

import array
import json
import math
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from labkit.values import Opaque, dtype, library

MAX_BYTES = 64 << 20  # one message, head and buffers
MAX_HEAD = 16 << 20
MAX_BUFFERS = 4096
MAX_DEPTH = 64
MAX_NODES = 2_000_000
MAX_DIM = 1 << 31
DTYPES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8, "bool": 1,
}  # fmt: skip
MAX_DIGITS = 10_000  # of one integer, in hexadecimal
AHEAD = 1 << 16  # bytes that are asked for at a time
AS_IS = {str, bool, type(None)}  # JSON's own
PACKED = 32  # from this length on, a list of plain ints or floats travels as one buffer

Handle = Callable[[int, str], Any]


class WireError(Exception):
    """A message that breaks the rules, or a value that cannot be sent; the text says which rule."""


class Closed(Exception):
    """The other side is gone."""


class Slow(Exception):
    """The deadline passed before the message was complete."""


def dumps(value: Any, keep: Callable[[Any], tuple[int, str]] | None = None) -> bytes:
    """One message.  `keep` turns what is not a plain value into a handle; without it, such a value is an error."""
    buffers = _Buffers()
    tree = _pack(value, buffers, keep, 0)
    # Not as ASCII: two lone surrogates that stand side by side would come back as one character.
    head = _ENCODE(tree).encode("utf-8", "surrogatepass")
    total = len(head) + sum(map(len, buffers))
    if total > MAX_BYTES or len(head) > MAX_HEAD:
        raise WireError(f"a value of {total / 2**20:.0f} MB; at most {MAX_BYTES >> 20} MB may be returned or passed")
    if len(buffers) > MAX_BUFFERS:
        raise WireError(f"a value with {len(buffers)} arrays; at most {MAX_BUFFERS} may be returned or passed")
    return b"".join([struct.pack(f"<II{len(buffers)}I", len(head), len(buffers), *map(len, buffers)), head, *buffers])


def loads(data: bytes, handle: Handle | None = None) -> Any:
    """The value of one whole message."""
    at = 0

    def exactly(n: int) -> bytes:
        nonlocal at
        at += n
        if at > len(data):
            raise WireError("a message shorter than it says")
        return data[at - n : at]

    value = _read(exactly, handle)
    if at < len(data):
        raise WireError("a message longer than it says")
    return value


def send(sock: socket.socket, data: bytes, deadline: float | None = None) -> None:
    """Writes a message before time.monotonic() reaches the deadline."""
    try:
        sock.settimeout(_left(deadline))
        sock.sendall(data)
    except TimeoutError:
        raise Slow from None
    except OSError:
        raise Closed from None


def receive(
    sock: socket.socket, handle: Handle | None = None, deadline: float | None = None, ahead: bytearray | None = None
) -> Any:
    """Reads one message before the deadline, however slowly its bytes drip in.

    `ahead` keeps what was read beyond it, for the next message: most are short, and come whole at one look.
    """
    there = bytearray() if ahead is None else ahead
    least = 0 if ahead is None else AHEAD

    def exactly(n: int) -> bytes:
        while len(there) < n:
            try:
                sock.settimeout(_left(deadline))
                part = sock.recv(max(least, min(n - len(there), 1 << 20)))
            except TimeoutError:
                raise Slow from None
            except OSError:
                raise Closed from None
            if not part:
                raise Closed
            there.extend(part)
        part = bytes(there[:n])
        del there[:n]
        return part

    return _read(exactly, handle)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    if (left := deadline - time.monotonic()) <= 0:
        raise Slow
    return left


def _read(exactly: Callable[[int], bytes], handle: Handle | None) -> Any:
    head, count = struct.unpack("<II", exactly(8))
    if head > MAX_HEAD or count > MAX_BUFFERS:
        raise WireError(f"a head of {head} bytes and {count} buffers")
    sizes = struct.unpack(f"<{count}I", exactly(4 * count))
    if head + sum(sizes) > MAX_BYTES:
        raise WireError(f"a message of {(head + sum(sizes)) >> 20} MB")
    text = exactly(head)
    buffers = [exactly(n) for n in sizes]
    try:
        tree = _DECODE(text.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as e:
        raise WireError(f"a head that is not JSON: {type(e).__name__}") from None
    try:
        return _Unpacker(buffers, handle).value(tree, 0)
    except WireError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as e:
        raise WireError(f"a malformed value: {type(e).__name__}") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


# Made once: json.dumps and json.loads make them anew for each message.
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
_DECODE = json.JSONDecoder(parse_constant=_no_constant).decode


class _Buffers(list[bytes]):
    """The buffers of a message in the making, and how many values it holds so far."""

    nodes = 0


def _pack(x: Any, buffers: _Buffers, keep: Callable[[Any], tuple[int, str]] | None, depth: int) -> Any:
    buffers.nodes += 1
    if buffers.nodes > MAX_NODES:
        raise WireError(f"more than {MAX_NODES} values")
    if depth > MAX_DEPTH:
        raise WireError(f"a value nested deeper than {MAX_DEPTH} levels")
    if x is None or type(x) in (bool, str):
        return x
    if isinstance(x, int):  # and its subclasses: an enum member travels as its number
        x = int(x)
        if x.bit_length() <= 64:
            return x
        if len(digits := hex(x)) > MAX_DIGITS:
            raise WireError("an integer of thousands of digits")
        return {"I": digits}
    if isinstance(x, float):
        return {"F": float.hex(x)}
    if isinstance(x, str):
        return str.__str__(x)
    if isinstance(x, (bytes, bytearray)):
        buffers.append(bytes(x))
        return {"B": len(buffers) - 1}
    if name := library(x):
        return {"T": [name, *_array(x, buffers)]}
    if isinstance(x, (list, tuple)):
        # While there is room: thousands of short lists would use up the buffers.
        if type(x) is list and len(x) >= PACKED and len(buffers) < MAX_BUFFERS // 2 and (code := _code(x)):
            buffers.append(array.array(code, x).tobytes())
            return {"P": [code, len(buffers) - 1]}
        tag = "l" if isinstance(x, list) else "t"
        return {tag: _pack_all(list(x), buffers, keep, depth + 1)}
    if isinstance(x, dict):
        items = list(x.items())
        keys = _pack_all([k for k, _ in items], buffers, keep, depth + 1)
        return {
            "d": list(map(list, zip(keys, _pack_all([v for _, v in items], buffers, keep, depth + 1), strict=True)))
        }
    if isinstance(x, (set, frozenset)):
        return {"s": _pack_all(list(x), buffers, keep, depth + 1)}
    if isinstance(x, Opaque):
        return {"O": x.type}
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(x, numpy.generic):
        return _pack(x.item(), buffers, keep, depth + 1)
    if keep is None:
        raise WireError(f"a {type(x).__name__}, which is not a plain value")
    number, kind = keep(x)
    return {"H": [number, kind]}


def _pack_all(xs: list[Any], buffers: _Buffers, keep: Callable[[Any], tuple[int, str]] | None, depth: int) -> list[Any]:
    """Each packed.  Most lists hold strings or small numbers alone, which travel as they are: those are looked at once."""
    kinds = set(map(type, xs))
    if not kinds <= AS_IS and not (kinds == {int} and min(xs) > -(1 << 64) and max(xs) < 1 << 64):
        return [_pack(x, buffers, keep, depth) for x in xs]
    buffers.nodes += len(xs)
    if buffers.nodes > MAX_NODES:
        raise WireError(f"more than {MAX_NODES} values")
    if xs and depth > MAX_DEPTH:
        raise WireError(f"a value nested deeper than {MAX_DEPTH} levels")
    return xs


def _code(x: list[Any]) -> str | None:
    kinds = set(map(type, x))
    if kinds == {int} and min(x) >= -(1 << 63) and max(x) < 1 << 63:
        return "q"
    return "d" if kinds == {float} else None


def _array(x: Any, buffers: list[bytes]) -> tuple[str, list[int], int]:
    name = dtype(x)
    if name not in DTYPES:
        raise WireError(f"an array of type {name}")
    shape = list(map(int, x.shape))
    if math.prod(shape) * DTYPES[name] > MAX_BYTES:  # before a copy is made: an expanded view may be enormous
        raise WireError(f"an array of {math.prod(shape) * DTYPES[name] / 2**20:.0f} MB; at most {MAX_BYTES >> 20} MB")
    if library(x) == "torch":
        x = x.detach().cpu().contiguous()
        if name == "bfloat16":
            import torch

            x = x.view(torch.int16)
        x = x.numpy()
    buffers.append(x.tobytes())
    return name, shape, len(buffers) - 1


class _Unpacker:
    """Turns the tree of a head into values, counting nodes and depth."""

    def __init__(self, buffers: list[bytes], handle: Handle | None):
        self.buffers: list[bytes | None] = [*buffers]
        self.handle, self.nodes = handle, 0

    def value(self, x: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise WireError(f"a message with more than {MAX_NODES} values")
        if depth > MAX_DEPTH + 1:
            raise WireError(f"a value nested deeper than {MAX_DEPTH} levels")
        if x is None or isinstance(x, (bool, int, str)):
            return x
        if not isinstance(x, dict) or len(x) != 1:
            raise WireError("a value of no known kind")
        ((tag, v),) = x.items()
        match tag:
            case "F":
                return float.fromhex(v)
            case "I":
                if len(v) > MAX_DIGITS:
                    raise WireError("an integer of thousands of digits")
                return int(v, 16)
            case "B":
                return self.buffer(v)
            case "P":
                return self.packed(*v)
            case "T":
                return self.array(*v)
            case "l" | "t":
                items = self.values(_list(v), depth + 1)
                return items if tag == "l" else tuple(items)
            case "s":
                return set(_spread(self.values(_list(v), depth + 1)))
            case "d":
                pairs = [(k, y) for k, y in map(_list, _list(v))]
                keys = _spread(self.values([k for k, _ in pairs], depth + 1))
                return dict(zip(keys, self.values([y for _, y in pairs], depth + 1), strict=True))
            case "O" if isinstance(v, str):
                return Opaque(v[:100])
            case "H" if self.handle is not None:
                number, kind = v
                if type(number) is not int or not isinstance(kind, str):
                    raise WireError("a handle that is not one")
                return self.handle(number, kind[:100])
        raise WireError(f"a value of unknown kind {tag[:10]!r}")

    def values(self, xs: list[Any], depth: int) -> list[Any]:
        """Each value.  What travels as it is, alone in a list, is looked at once."""
        if not set(map(type, xs)) <= {*AS_IS, int}:
            return [self.value(x, depth) for x in xs]
        self.nodes += len(xs)
        if self.nodes > MAX_NODES:
            raise WireError(f"a message with more than {MAX_NODES} values")
        if xs and depth > MAX_DEPTH + 1:
            raise WireError(f"a value nested deeper than {MAX_DEPTH} levels")
        return xs

    def buffer(self, i: Any) -> bytes:
        if type(i) is not int or not 0 <= i < len(self.buffers):
            raise WireError("a buffer that is not there")
        data, self.buffers[i] = self.buffers[i], None
        if data is None:  # else a small message could ask for thousands of copies of a large buffer
            raise WireError("a buffer that is used twice")
        return data

    def packed(self, code: Any, i: Any) -> list[int] | list[float]:
        if code not in ("q", "d"):
            raise WireError("a packed list of unknown kind")
        return array.array(code, self.buffer(i)).tolist()

    def array(self, name: Any, kind: Any, shape: Any, i: Any) -> Any:
        if name not in ("torch", "numpy") or kind not in DTYPES:
            raise WireError("an array of unknown kind")
        if (
            not isinstance(shape, list)
            or len(shape) > 16
            or not all(type(n) is int and 0 <= n < MAX_DIM for n in shape)
        ):
            raise WireError("an array of impossible shape")
        data = self.buffer(i)
        if math.prod(shape) * DTYPES[kind] != len(data) or math.prod(n or 1 for n in shape) > MAX_DIM:
            raise WireError("an array whose shape does not fit its bytes")
        import numpy as np

        a = np.frombuffer(bytearray(data), {"bfloat16": "int16", "bool": "uint8"}.get(kind, kind)).reshape(shape)
        a = a.astype(bool) if kind == "bool" else a
        if name == "numpy":
            return a
        import torch

        t = torch.from_numpy(a)
        return t.view(torch.bfloat16) if kind == "bfloat16" else t


def _spread(keys: list[Any]) -> list[Any]:
    """The keys of a dict or set.  A million made to share one hash would take hours to put in."""
    if len(keys) > 1000 and max(Counter(map(hash, keys)).values()) > 100:
        raise WireError("keys made to collide")
    return keys


def _list(x: Any) -> list[Any]:
    if not isinstance(x, list):
        raise WireError("a list that is not one")
    return x
