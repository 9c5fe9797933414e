"""Copies, comparisons and one-line descriptions of plain values."""
# tables of one-line cases

import math

import numpy as np
import pytest
import torch

from labkit.values import Opaque, close, describe, equal, plain, size

nan, inf = math.nan, math.inf


class Odd:
    pass


@pytest.mark.parametrize(
    ("x", "copy"),
    [
        ((1, (2, [3])), [1, [2, [3]]]),
        ({"a": (1,)}, {"a": [1]}),
        ({(1, 2): (3,)}, {(1, 2): [3]}),
        ({(1, 2), 3}, {(1, 2), 3}),
        ({(1, frozenset({2}))}, {(1, frozenset({2}))}),
        (frozenset({1}), {1}),
        ({(1, Odd)}, {(1, Opaque("type"))}),
        ([Odd(), "x", None, True, b"b", 1.5], [Opaque("Odd"), "x", None, True, b"b", 1.5]),
        (np.float32(0.5), 0.5),
        (np.int64(-3), -3),
        (np.bool_(True), True),
        (1j, Opaque("complex")),
        (math, Opaque("module")),
    ],
)
def test_plain(x, copy):
    assert equal(plain(x), copy)
    assert type(plain(x)) is type(copy)


@pytest.mark.parametrize("make", [torch.ones, np.ones])
def test_copies_do_not_follow(make):
    x = [make(3)]
    copy = plain(x)
    x[0] *= 5
    assert copy[0].tolist() == [1, 1, 1]


def test_a_remote_is_named_by_its_own_type():
    thing = Odd()
    thing._type = "Tokenizer"
    assert plain(thing) == Opaque("Tokenizer")
    assert str(Opaque("Tokenizer")) == "<Tokenizer object>"


EQUAL = [
    (3, 3, True),
    (3, 4, False),
    (1, True, False),
    (1, 1.0, False),
    (0.0, -0.0, True),
    (nan, nan, True),
    (nan, 1.0, False),
    ("a", "a", True),
    ("a", b"a", False),
    (None, None, True),
    (None, 0, False),
    ([1, 2], [1, 2], True),
    ([1, 0], [True, False], False),
    ([True], [1], False),
    ([1, 2], [1.0, 2.0], False),
    (["a", "b"], ["a", "c"], False),
    (["a"], ["a", "a"], False),
    ([], [], True),
    ([], [1], False),
    ([1, 2], [1, 2, 3], False),
    ([1, [nan]], [1, [nan]], True),
    ([], {}, False),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ({"a": 1}, {"a": 2}, False),
    ({"a": 1}, {"a": 1, "b": 1}, False),
    ({1: 0}, {True: 0}, False),
    ({1: 0}, {1.0: 0}, False),
    ({1, 2}, {2, 1}, True),
    ({1}, {2}, False),
    (Opaque("a"), Opaque("a"), True),
    (Opaque("a"), Opaque("b"), False),
    (torch.tensor([1, 2]), torch.tensor([1, 2]), True),
    (torch.tensor([1, 2]), torch.tensor([1, 3]), False),
    (torch.tensor([1, 2]), torch.tensor([1, 2], dtype=torch.int32), False),
    (torch.tensor([1, 2]), torch.tensor([[1, 2]]), False),
    (torch.tensor([1, 1]), torch.tensor([1]), False),
    (torch.tensor([1, 2]), [1, 2], False),
    (torch.tensor([1, 2]), np.array([1, 2]), False),
    (torch.tensor(5), 5, False),
    (torch.tensor([nan, 1]), torch.tensor([nan, 1]), True),
    (torch.tensor([nan, 1]), torch.tensor([1, nan]), False),
    (torch.tensor([True]), torch.tensor([True]), True),
    (torch.tensor([1.5]).bfloat16(), torch.tensor([1.5]).bfloat16(), True),
    (torch.zeros(0, 3), torch.zeros(0, 3), True),
    (torch.zeros(0, 3), torch.zeros(3, 0), False),
    (np.array(["a"]), np.array(["a"]), True),
    (np.array(2.0), np.array(2.0), True),
]


@pytest.mark.parametrize(("a", "b", "verdict"), EQUAL)
def test_equal(a, b, verdict):
    assert equal(a, b) is verdict
    assert equal(b, a) is verdict
    assert equal([{"k": a}], [{"k": b}]) is verdict


CLOSE = [
    (1.0, 1.0 + 5e-7, True),
    (1.0, 1.0 + 5e-6, False),
    (1, 1.0, True),
    (2, 3, False),
    (True, 1, False),
    (nan, nan, True),
    (nan, 0.0, False),
    (inf, inf, True),
    (inf, -inf, False),
    (inf, 1e300, False),
    (10**400, 10**400, True),
    (10**400, 1.5, False),
    (-(10**400), nan, False),
    (10**400, 10**400 + 1, False),
    ("a", "a", True),
    ("a", "b", False),
    ([1.0, [2.0]], [1.0 + 1e-9, [2.0]], True),
    ([1.0], [1.0, 2.0], False),
    ([1.0], 1.0, False),
    ({"a": 1.0}, {"a": 1.0 + 1e-9}, True),
    ({"a": 1.0}, {"b": 1.0}, False),
    ({"a": 1.0}, {"a": 1.1}, False),
    (None, None, True),
    (None, 0.0, False),
    (torch.ones(2), torch.ones(2, dtype=torch.float64), True),
    (torch.ones(2), torch.ones(2, dtype=torch.int64), False),
    (torch.ones(2, dtype=torch.int32), torch.ones(2, dtype=torch.int64), True),
    (torch.ones(2, dtype=torch.bool), torch.ones(2, dtype=torch.int64), False),
    (torch.ones(2), torch.ones(1, 2), False),
    (torch.ones(2), np.ones(2, "float32"), False),
    (torch.ones(1), 1.0, False),
    (torch.tensor([inf, nan]), torch.tensor([inf, nan]), True),
    (torch.tensor([inf, nan]), torch.tensor([nan, inf]), False),
    (torch.tensor([3, 4]), torch.tensor([3, 5]), False),
    (torch.zeros(0), torch.zeros(0), True),
]


@pytest.mark.parametrize(("a", "b", "verdict"), CLOSE)
def test_close(a, b, verdict):
    assert close(a, b) is verdict
    assert close(b, a) is verdict


@pytest.mark.parametrize(
    ("dtype", "relative", "absolute"),
    [("float16", 1e-2, 1e-3), ("bfloat16", 4e-2, 4e-3), ("float32", 1e-4, 1e-5), ("float64", 1e-7, 1e-9)],
)
def test_the_edge_of_the_tolerance(dtype, relative, absolute):
    """Against a float64 reference, so that the edge itself is exact; the rougher type decides."""
    want = torch.tensor([8.0, -8.0, 0.0], dtype=torch.float64)
    edge = absolute + relative * want.abs()
    kind = getattr(torch, dtype)
    rounding = torch.finfo(kind).eps * 4
    for sign in (-1, 1):
        inside, outside = (want + sign * (edge * f) for f in (0.7, 1.3))
        assert rounding < 0.3 * edge[0]
        assert close(inside.to(kind), want)
        for i in range(3):
            one = want.clone()
            one[i] = outside[i]
            assert not close(one.to(kind), want)


def test_a_tolerance_of_ones_own():
    assert close(1.0, 1.4, rtol=0.0, atol=0.5)
    assert not close(1.0, 1.6, rtol=0.0, atol=0.5)
    assert close(100.0, 110.0, rtol=0.1, atol=0.0)
    assert not close(110.1, 100.0, rtol=0.1, atol=0.0)
    assert not close([torch.ones(2)], [torch.ones(2) + 1e-6], rtol=0.0, atol=0.0)
    assert close([torch.ones(2)], [torch.ones(2) + 0.4], rtol=0.0, atol=0.5)


@pytest.mark.parametrize(
    ("x", "n"),
    [
        (3, 1),
        ("abc", 4),
        (b"", 1),
        ([], 1),
        ([1, [2, 3]], 5),
        ({"ab": [1]}, 6),
        ({1, 2}, 3),
        (torch.zeros(3, 5), 16),
        (np.zeros((2, 0)), 1),
        (torch.tensor(1.0), 2),
        (None, 1),
    ],
)
def test_size(x, n):
    assert size(x) == n


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (torch.tensor([[1.0, 2.5]]), "tensor 1×2 float32 [1, 2.5]"),
        (np.arange(7), "array 7 int64 [0, 1, 2, 3, 4, 5, …]"),
        (torch.tensor(True), "tensor 0-d bool [True]"),
        (torch.zeros(0, 3), "tensor 0×3 float32 []"),
        (torch.tensor([nan, inf]), "tensor 2 float32 [nan, inf]"),
        (0.123456789, "0.12346"),
        (-1e-30, "-1e-30"),
        ([1, "a", [None]], "[1, 'a', [None]]"),
        ([], "[]"),
        ("x\ny", "'x\\ny'"),
        (Opaque("generator"), "<generator object>"),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_describe(x, text):
    assert describe(x) == text


@pytest.mark.parametrize(
    "x",
    ["é" * 5000, b"\x00" * 5000, [1] * 5000, [["abc"] * 900], {n: n for n in range(5000)}, torch.rand(50, 50), 10**500],
    ids=lambda x: type(x).__name__,
)
@pytest.mark.parametrize("width", [40, 100])
def test_describe_is_one_short_line(x, width):
    text = describe(x, width)
    assert len(text) <= width + 12
    assert "\n" not in text
    assert text[0] == (repr(x)[0])


def test_describe_says_how_many():
    assert describe([5] * 321).endswith("… 321 items]")
    assert describe("a" * 321).endswith("… (321 characters)")
    assert describe(b"a" * 321).endswith("… (321 bytes)")
