"""Messages: exact there and back, bounded when sent, and a reader that no bytes can surprise."""
# tables of one-line cases

import collections
import enum
import functools
import json
import math
import random
import socket
import struct
import threading
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labkit import wire
from labkit.values import Opaque
from labkit.wire import WireError


def same(a: object, b: object) -> bool:
    """Bit for bit, type for type: stricter than values.equal."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (a != a and b != b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(list(x), list(y)) for x, y in zip(a.items(), b.items(), strict=True))
    if isinstance(a, (torch.Tensor, np.ndarray)):
        return a.dtype == b.dtype and a.shape == b.shape and raw(a) == raw(b)
    return a == b


def raw(x: torch.Tensor | np.ndarray) -> bytes:
    if isinstance(x, torch.Tensor):
        x = x.detach().contiguous()
        x = (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()
    return x.tobytes()


def back(x: object) -> object:
    return wire.loads(wire.dumps(x))


numbers = st.integers() | st.integers(-(10**300), 10**300) | st.floats()
strings = st.text(st.characters(codec=None, exclude_categories=()))
hashable = st.recursive(
    st.none() | st.booleans() | numbers.filter(lambda x: x == x) | strings | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.tuples(),
)
plain = st.recursive(
    hashable | st.lists(st.integers(), min_size=30, max_size=40) | st.lists(st.floats(), min_size=30, max_size=40),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(hashable, inner) | st.sets(hashable, max_size=5)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(plain)
@example("\ud83d\ude00")  # two lone surrogates that are not one character
@example(["\x00", "\ufeff", "\ud800", ""])
@example([-0.0, 5e-324, math.nan, math.inf, -math.inf])
@example({1: "a", "1": "b", (1, "x"): "c", None: "d", b"1": "e", 2.5: "f"})
@example([True] * 40)
@example([2**63 - 1, -(2**63)] * 20)
@example([2**63, -(2**63) - 1] * 20)
@example([-(2**64), 2**64, -(10**4000)])
@example([[]] * 50)
@example((1,) * 40)
def test_there_and_back(x):
    assert same(back(x), x)


@pytest.mark.parametrize("n", [wire.PACKED - 1, wire.PACKED, wire.PACKED + 1])
@pytest.mark.parametrize("item", [7, -0.0, True, "x", 2**70])
def test_lists_around_the_packing_length(n, item):
    assert same(back([item] * n), [item] * n)
    assert same(back([*[item] * n, None]), [*[item] * n, None])


TORCH = [getattr(torch, name) for name in wire.DTYPES]
NUMPY = [np.dtype(name) for name in wire.DTYPES if name != "bfloat16"]
SHAPES = [(), (0,), (1,), (3, 0, 2), (5,), (3, 1, 7), (1,) * 16]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TORCH, ids=str)
def test_tensors(dtype, shape):
    generator = torch.Generator().manual_seed(math.prod(shape) + 1)
    x = (torch.rand(shape, generator=generator, dtype=torch.float64) * 200 - 60 * dtype.is_signed).to(dtype)
    assert same(back(x), x)
    assert same(back([x, {"k": (x,)}]), [x, {"k": (x,)}])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", NUMPY, ids=str)
def test_arrays(dtype, shape):
    x = np.asarray(np.random.default_rng(3).random(shape) * 200).astype(dtype)
    assert same(back(x), x)


@pytest.mark.parametrize("library", [torch, np])
def test_views(library):
    x = library.arange(24).reshape(4, 6)
    for view in (x.T, x[::2, 1::3], x[1], library.broadcast_to(x[:1], (5, 6)), x.T[2:, 1:]):
        assert same(back(view), view)


def test_special_floats_in_arrays():
    x = torch.tensor([-0.0, math.nan, math.inf, -math.inf, 1e-45])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert same(back(x.to(dtype)), x.to(dtype))


def test_received_arrays_are_writable_and_separate():
    a, b = back([torch.zeros(3)] * 2)
    a += 1
    assert (a.tolist(), b.tolist()) == ([1] * 3, [0] * 3)


class Colour(enum.IntEnum):
    RED = 7


class Name(str):
    __slots__ = ()


Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(-0.0), -0.0),
        (np.int8(-128), -128),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(False), False),
        (np.str_("é"), "é"),
        (Colour.RED, 7),
        ([Colour.RED] * 40, [7] * 40),
        (Name("n"), "n"),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(x=1), {"x": 1}),
        (Pair(1, [2]), (1, [2])),
        (bytearray(b"\x00\xff"), b"\x00\xff"),
        (frozenset({3, 4}), {3, 4}),
        (Opaque("module"), Opaque("module")),
        (torch.nn.Parameter(torch.ones(2)), torch.ones(2)),
    ],
)
def test_what_arrives_as_something_simpler(sent, got):
    assert same(back(sent), got)


def test_handles():
    kept = []

    def keep(x):
        kept.append(x)
        return 40 + len(kept), type(x).__name__

    data = wire.dumps([len, {"m": math}, 3], keep)
    assert wire.loads(data, lambda n, kind: (n, kind)) == [
        (41, "builtin_function_or_method"),
        {"m": (42, "module")},
        3,
    ]
    assert kept == [len, math]
    with pytest.raises(WireError, match="unknown kind 'H'"):
        wire.loads(data)


# ---- what is refused before it is sent


def deep(levels):
    return functools.reduce(lambda x, _: [x], range(levels), 1)


def looped():
    x = [1]
    x.append({"again": x})
    return x


def doubled(levels):
    return functools.reduce(lambda x, _: [x, x], range(levels), 1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: bytes(wire.MAX_BYTES), "64 MB may be returned"),
        (lambda: "x" * (wire.MAX_HEAD + 1), "64 MB may be returned"),
        (lambda: deep(wire.MAX_DEPTH + 1), "deeper than 64"),
        (looped, "deeper than 64"),
        (lambda: [torch.ones(1)] * 5000, "5000 arrays; at most 4096"),
        (lambda: torch.zeros(2, dtype=torch.complex64), "type complex64"),
        (lambda: np.array(["a"]), "type <U1"),
        (lambda: np.zeros(2, ">f4"), "type >f4"),
        (lambda: np.longdouble(1), "deeper|longdouble"),
        (lambda: torch.zeros(1).expand(10**12), "array of 3814697 MB"),
        (lambda: np.broadcast_to(np.zeros(1), (10**6, 10**6)), "array of 7629395 MB"),
        (lambda: 1 << 40_000, "thousands of digits"),
        (lambda: -(1 << 40_000), "thousands of digits"),
        (lambda: 1j, "a complex, which is not a plain value"),
        (lambda: {1: {2: [len]}}, "builtin_function_or_method"),
    ],
)
def test_refused(make, sentence):
    x = make()
    with pytest.raises(WireError, match=sentence):
        wire.dumps(x)


def test_a_small_value_that_would_be_an_enormous_message(monkeypatch):
    monkeypatch.setattr(wire, "MAX_NODES", 5000)
    with pytest.raises(WireError, match="more than 5000 values"):
        wire.dumps(doubled(50))
    monkeypatch.setattr(wire, "MAX_NODES", 2**11 - 1)
    assert same(back(doubled(10)), doubled(10))


def test_an_expanded_tensor_is_refused_without_being_made():
    x = np.broadcast_to(np.zeros(1), (10**12,))
    tracemalloc.start()
    with pytest.raises(WireError):
        wire.dumps(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "x", [deep(wire.MAX_DEPTH), -(1 << 39_000), [torch.ones(1)] * 4096, bytes(wire.MAX_BYTES - 100)], ids=lambda _: ""
)
def test_just_within_the_bounds(x):
    assert same(back(x), x)


def test_thousands_of_short_lists_are_no_thousands_of_buffers():
    x = [list(range(n, n + wire.PACKED)) for n in range(6000)]
    assert same(back(x), x)


# ---- the reader


def message(head, *buffers):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack(f"<II{len(buffers)}I", len(text), len(buffers), *map(len, buffers)) + text + b"".join(buffers)


def array(*parts):
    return {"T": list(parts)}


BYTES = bytes(8)
HOSTILE = {
    "empty": b"",
    "half a header": b"\x01\x00\x00",
    "a head of 4 GB": struct.pack("<II", 2**32 - 1, 0),
    "4 billion buffers": struct.pack("<II", 2, 2**32 - 1),
    "a buffer of 4 GB": struct.pack("<III", 2, 1, 2**32 - 1) + b"[]",
    "buffers of 256 GB": struct.pack("<II64I", 2, 64, *[2**32 - 1] * 64),
    "cut off": message({"B": 0}, BYTES)[:-1],
    "too long": message({"B": 0}, BYTES) + b"x",
    "no JSON": message(b"hello"),
    "empty JSON": message(b""),
    "not UTF-8": message(b'"\xff\xfe"'),
    "UTF-16": message('"x"'.encode("utf-16")),
    "two values": message(b"1 2"),
    "nested arrays": message(b"[" * 200_000),
    "nested objects": message(b'{"l":[' * 100_000 + b"]}" * 100_000),
    "nested within reason": message(b'{"l":[' * 200 + b"]}" * 200),
    "a deep name of an opaque": message(b'{"O":' + b"[" * 900 + b"]" * 900 + b"}"),
    "NaN": message(b"NaN"),
    "infinity": message(b'{"l":[-Infinity]}'),
    "a bare float": message(b"1.5"),
    "a bare list": message([1]),
    "an empty object": message({}),
    "two tags": message({"F": "0x1p0", "I": "0x1"}),
    "an unknown tag": message({"Z": 1}),
    "an odd tag": message({"\ud800" * 50: 1}),
    "an integer of 10^5 digits": message(b"1" * 100_000),
    "a hexadecimal of 10^5 digits": message({"I": "1" * 100_000}),
    "a handle nobody takes": message({"H": [1, "x"]}),
    "keys that cannot be keys": message({"d": [[{"l": []}, 1]]}),
    "members that cannot be members": message({"s": [{"d": []}]}),
    "a pair of three": message({"d": [[1, 2, 3]]}),
    "a pair that is a string": message({"d": ["ab"]}),
    "a float out of range": message({"F": "0x1p99999"}),
    "a packed list of odd length": message({"P": ["q", 0]}, b"123"),
    "a packed list of another kind": message({"P": ["u", 0]}, BYTES),
    "a buffer twice": message({"l": [{"B": 0}, {"B": 0}]}, BYTES),
    "a buffer too far": message({"B": 1}, BYTES),
    "a buffer from the end": message({"B": -1}, BYTES),
    "a buffer called True": message({"B": True}, BYTES, BYTES),
    "an array too few": message(array("numpy", "int64", [2], 0), BYTES),
    "an array too many": message(array("numpy", "int8", [7], 0), BYTES),
    "an array of negative size": message(array("numpy", "int64", [-1, -1], 0), BYTES),
    "an array of a huge size": message(array("numpy", "int64", [10**30], 0), BYTES),
    "an array of no bytes and a huge size": message(array("torch", "int64", [0, 10**12], 0), b""),
    "an array of no bytes and huge sizes": message(array("numpy", "int8", [2**30, 2**30, 0], 0), b""),
    "an array of size True": message(array("torch", "int64", [True], 0), BYTES),
    "an array of size 1.0": message(b'{"T":["torch","int64",[1.0],0]}', BYTES),
    "an array of 17 dimensions": message(array("numpy", "int64", [1] * 17, 0), BYTES),
    "an array of unknown type": message(array("numpy", "complex64", [1], 0), BYTES),
    "an array of objects": message(array("numpy", "object", [1], 0), BYTES),
    "an array of a type that is a list": message(array("numpy", [], [1], 0), BYTES),
    "an array of another library": message(array("os", "int64", [1], 0), BYTES),
    "an array without a shape": message(array("torch", "int64", None, 0), BYTES),
    "an array with a part too few": message(array("torch", "int64", [1]), BYTES),
}
PLACES = ["F", "I", "B", "P", "T", "l", "t", "s", "d", "O", "H"]
WRONG = [None, True, -1, 10**20, "x", "", [], [1], ["q", "q"], [[]], {}, {"l": 1}, {"F": "1"}, [1, 2, 3, 4, 5]]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name):
    began = time.monotonic()
    with pytest.raises(WireError):
        wire.loads(HOSTILE[name])
    assert time.monotonic() - began < 2


def read(data):
    """A value or a WireError; anything else is the failure that these tests look for."""
    try:
        return wire.loads(data, lambda n, kind: Opaque(kind))
    except WireError as e:
        return e


@pytest.mark.parametrize("tag", PLACES)
def test_wrong_types_in_every_place(tag):
    for wrong in WRONG:
        read(message({tag: wrong}, BYTES))
        for place in range(4):
            for right in (["torch", "int64", [1], 0], ["q", 0], [0, "x"]):
                mixed = [*right]
                mixed[place % len(right)] = wrong
                read(message({tag: mixed}, BYTES))


def test_a_wrong_handle():
    for wrong in ([True, "x"], [1.5, "x"], [1, None], [1], "ab"):
        data = message({"H": wrong})
        assert isinstance(read(data), WireError)


SAMPLE = [
    {"a": (1.5, None), 2: {3, 4}, b"k": True},
    [1] * 40,
    [0.5] * 40,
    torch.arange(6).reshape(2, 3),
    np.zeros((2, 0), "float32"),
    "text é",
    -(2**100),
    torch.ones(3, dtype=torch.bfloat16),
    Opaque("o"),
]


def mutate(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + rng.randrange(1, 9)]
            case 3:
                data[at:at] = rng.choice(
                    [b"[", b"]", b"{", b'"', b"9", b"-", b"e9", b",", b"\x00", b"null", b'{"l":[]}']
                )
            case 4:
                data[at : at + 1] = bytes(data[rng.randrange(len(data)) :][: rng.randrange(20)])
        if not data:
            return b""
    return bytes(data)


def repaired(data):
    """The same with sizes that add up, so that what lies behind the header is reached."""
    if len(data) < 40:
        return data
    return message(data[8 : 8 + (len(data) - 8) // 2], data[8 + (len(data) - 8) // 2 :])


def test_mutated_messages():
    rng = random.Random(7)
    whole = wire.dumps(SAMPLE)
    each = [wire.dumps(x) for x in SAMPLE]
    refused = 0
    for _ in range(6000):
        data = mutate(rng.choice([whole, *each]), rng)
        refused += isinstance(read(data), WireError)
        read(repaired(data))
    assert refused > 3000


def test_mutated_heads():
    """Only the JSON is disturbed, and by whole words; every size still fits."""
    rng = random.Random(8)
    buffers = []
    words = [b"0", b"1", b"-1", b"[]", b"null", b"true", b'"q"', b'"torch"', b'{"B":0}', b"1e9", b'"0x1p3"', b"[2,3]"]
    data = wire.dumps(SAMPLE)
    head, count = struct.unpack_from("<II", data)
    start = 8 + 4 * count
    text, rest = data[start : start + head], data[start + head :]
    for size in struct.unpack_from(f"<{count}I", data, 8):
        buffers.append(rest[:size])
        rest = rest[size:]
    tokens = json.dumps(json.loads(text)).replace("[", " [ ").replace("]", " ] ").replace(",", " , ").encode().split()
    accepted = 0
    for _ in range(4000):
        changed = [*tokens]
        changed[rng.randrange(len(changed))] = rng.choice(words)
        accepted += not isinstance(read(message(b"".join(changed), *buffers)), WireError)
    assert 100 < accepted < 3900


def test_random_bytes():
    rng = random.Random(9)
    for _ in range(3000):
        read(rng.randbytes(rng.randrange(200)))
        read(message(rng.randbytes(rng.randrange(30)), rng.randbytes(9)))


def test_every_truncation():
    data = wire.dumps(SAMPLE)
    for n in range(len(data)):
        assert isinstance(read(data[:n]), WireError)


def test_one_buffer_cannot_become_many_values():
    """Else a message of 1 MB would fill the judge's memory with copies."""
    big = bytes(1 << 20)
    for value in ({"P": ["q", 0]}, array("numpy", "uint8", [len(big)], 0), {"B": 0}):
        tracemalloc.start()
        result = read(message({"l": [value] * 500}, big))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert isinstance(result, WireError)
        assert peak < 40 << 20


@pytest.mark.parametrize("kind", ["s", "d"])
def test_keys_that_collide_are_refused_quickly(kind):
    step = 2**61 - 1  # Python hashes every multiple of it to 0
    keys = [{"I": hex(n * step)} for n in range(1, 30_000)]
    began = time.monotonic()
    result = read(message({kind: keys if kind == "s" else [[k, None] for k in keys]}))
    assert isinstance(result, WireError)
    assert time.monotonic() - began < 3


def test_ordinary_keys_do_not_collide():
    for x in ({n * 2**32 for n in range(5000)}, {(n, -n): n for n in range(5000)}, {n / 8 for n in range(5000)}):
        assert back(x) == x


def test_more_values_than_allowed(monkeypatch):
    monkeypatch.setattr(wire, "MAX_NODES", 1000)
    assert isinstance(read(message({"l": [None] * 1000})), WireError)
    assert read(message({"l": [None] * 999})) == [None] * 999


@pytest.mark.parametrize("filler", [b"{},", b"[],", b'{"l":[]},', b'"x",'])
def test_a_large_head_stays_within_memory(filler):
    head = b'{"l":[' + filler * ((1 << 19) // len(filler)) + b"1]}"
    tracemalloc.start()
    began = time.monotonic()
    read(message(head))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * len(head)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_messages_that_arrive_together_are_read_one_by_one(step):
    ours, theirs = socket.socketpair()
    messages = [["a"], list(range(100)), b"x" * 200_000, None]
    data = b"".join(map(wire.dumps, messages))

    def drip():
        for i in range(0, len(data), step):
            theirs.sendall(data[i : i + step])
        theirs.close()

    with ours:
        thread = threading.Thread(target=drip)
        thread.start()
        ahead = bytearray()
        assert [wire.receive(ours, ahead=ahead) for _ in messages] == messages
        assert ahead == b""
        with pytest.raises(wire.Closed):
            wire.receive(ours, ahead=ahead)
        thread.join()


def test_without_a_place_for_more_nothing_is_read_beyond_a_message():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(wire.dumps(1) + wire.dumps(2))
        assert [wire.receive(ours), wire.receive(ours)] == [1, 2]


@pytest.mark.parametrize(
    "xs",
    [
        [1, -1, 0], [True, 1], [None, "a", False], [2**64 - 1, -(2**64) + 1], [2**64, 1], [-(2**64)], [2**200, "a"],
        [1.5, 1], ["a", b"b"], [[], [[]]], [(1, 2), "a"], [float("inf")],
    ],
)  # fmt: skip
def test_lists_of_one_kind_and_of_many_come_back_as_they_were(xs):
    for value in (xs, tuple(xs), dict(enumerate(xs)), {"k": xs}):
        back = wire.loads(wire.dumps(value))
        assert back == value
        assert type(back) is type(value)
    back = wire.loads(wire.dumps(xs))
    assert list(map(type, back)) == list(map(type, xs))


@pytest.mark.parametrize("leaf", [[1], ["a"], [1.5], {"a": 1}, {1}])
def test_the_depth_of_plain_lists_counts(leaf):
    def nested(depth):
        x = leaf
        for _ in range(depth):
            x = [x]
        return x

    assert wire.loads(wire.dumps(nested(wire.MAX_DEPTH - 1))) == nested(wire.MAX_DEPTH - 1)
    with pytest.raises(wire.WireError, match="deeper"):
        wire.dumps(nested(wire.MAX_DEPTH))


def test_the_values_of_plain_lists_count(monkeypatch):
    monkeypatch.setattr(wire, "MAX_NODES", 100)
    for few in ("a", None):
        assert wire.loads(wire.dumps([few] * 99)) == [few] * 99
        with pytest.raises(wire.WireError, match="more than 100 values"):
            wire.dumps([few] * 100)
    data = wire.dumps([None] * 99)
    monkeypatch.setattr(wire, "MAX_NODES", 99)
    with pytest.raises(wire.WireError, match="more than 99 values"):
        wire.loads(data)
