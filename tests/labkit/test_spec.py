"""What a test_lab.py is written with: every verdict on both sides, and checks that never raise."""
# tables of one-line cases

import random

import numpy as np
import pytest
import torch

from labkit.remote import Failed
from labkit.spec import Check, Record, alike, alike_records, equivalent, mistake, task
from labkit.values import Opaque


@pytest.fixture
def check():
    return Check()


def verdicts(check):
    return [r.ok for r in check.log]


def fails_with(error):
    def function(*_):
        raise error

    return function


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (
            "equal",
            [(3, 3), ((1, 2), [1, 2]), ({"a": (1,)}, {"a": [1]})],
            [(3, 3.0), (True, 1), ([1], (1, 2)), (None, 0)],
        ),
        ("close", [(0.1 + 0.2, 0.3), (2, 2.0), ([1.0], (1.0,))], [(0.1, 0.2), (True, 1.0), ("1", 1.0), (None, 1.0)]),
        (
            "less",
            [(1, 2), (-5.5, -5), (-(10**400), 0.5)],
            [(2, 2), (3, 2), (None, 2), (True, 2), (float("nan"), 2), ("1", 2)],
        ),
    ],
)
def test_verdicts(check, kind, right, wrong):
    for got, want in right + wrong:
        getattr(check, kind)(got, want)
    assert verdicts(check) == [True] * len(right) + [False] * len(wrong)


@pytest.mark.parametrize(
    ("got", "ok"),
    [(-2, True), (3, True), (0.5, True), (3.0001, False), (-2.1, False), (None, False), (True, False), ([1], False),
     (float("nan"), False), (torch.tensor(1), False)],
)  # fmt: skip
def test_between(check, got, ok):
    check.between(got, -2, 3)
    assert verdicts(check) == [ok]


def test_the_tolerance_follows_the_type(check):
    """The same error, of 1 in 1000, is nothing in bfloat16 and far too much in float32 and float64."""
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        check.close(torch.tensor([256.0], dtype=dtype), torch.tensor([256.25], dtype=torch.float64))
    assert verdicts(check) == [True, True, False, False]
    check.close(1.0, 1.3, atol=0.5)
    check.close(1.0, 1.3, atol=0.2)
    check.close(1.0, 1.3, rtol=0.5)
    assert verdicts(check)[4:] == [True, False, True]


@pytest.mark.parametrize(
    ("error", "raised", "ok"),
    [
        (ValueError, ValueError("x"), True),
        (Exception, ValueError("x"), True),
        (LookupError, KeyError("x"), True),
        (KeyError, LookupError("x"), False),
        (ValueError, TypeError("x"), False),
        (ValueError, Failed("raised", "x", ["MyError", "ValueError", "Exception", "BaseException"], 3), True),
        (KeyError, Failed("raised", "x", ["MyError", "ValueError", "Exception", "BaseException"], 3), False),
        (ValueError, Failed("unsendable", "x", ["WireError", "Exception"]), False),
    ],
)
def test_raises(check, error, raised, ok):
    check.raises(error, fails_with(raised), 1, 2, why="bad argument")
    assert verdicts(check) == [ok]
    assert check.log[0].why == "bad argument"


def test_nothing_raised(check):
    check.raises(ValueError, lambda *x: x, 1, (2,))
    assert verdicts(check) == [False]
    assert check.log[0].got == ["returned", [1, [2]]]


@pytest.mark.parametrize("outcome", ["unwritten", "forbidden", "slow", "died", "flood", "garbage"])
def test_a_lab_that_could_not_answer_has_not_refused_its_argument(check, outcome):
    """An unwritten function raises NotImplementedError, which is a RuntimeError and an Exception."""
    failed = Failed(outcome, "f", ["NotImplementedError", "RuntimeError", "Exception", "BaseException"])
    with pytest.raises(Failed):
        check.raises(RuntimeError, fails_with(failed))
    assert check.log == []


# ---- sampled

P = [0.5, 0.2, 0.15, 0.1, 0.05, 0.0]


def draws(weights, n, seed):
    return random.Random(seed).choices(range(len(weights)), weights, k=n)


def heated(p, temperature):
    return [x ** (1 / temperature) for x in p]


@pytest.mark.parametrize("n", [1, 30, 2000])
def test_a_right_sampler_is_accepted(check, n):
    for seed in range(200):
        check.sampled(draws(P, n, seed), P)
    assert all(verdicts(check))
    assert len(check.log) == 200


@pytest.mark.parametrize(
    "weights",
    [
        heated(P, 0.7),
        heated(P, 1.5),
        [1, 1, 1, 1, 1, 0],
        [0.2, 0.5, 0.15, 0.1, 0.05, 0],
        [1, 0, 0, 0, 0, 0],
        [0.5, 0.3, 0.2],
    ],
    ids=["colder", "hotter", "uniform", "swapped", "greedy", "top-3"],
)
def test_a_wrong_sampler_is_refused(check, weights):
    for seed in range(50):
        check.sampled(draws(weights, 5000, seed), P)
    assert not any(verdicts(check))


@pytest.mark.parametrize("stray", [5, 6, -1, 1.0, True, None, "0", torch.tensor(1), np.int64(1)])
def test_one_draw_outside_the_support_is_enough(check, stray):
    check.sampled([*draws(P, 3000, 1), stray], P)
    check.sampled(draws(P, 3001, 1), P)
    assert verdicts(check) == [False, True]


@pytest.mark.parametrize("draws", [[], None, 3, "abc", torch.tensor([0, 1]), Opaque("generator")], ids=str)
def test_no_draws_are_not_accepted(check, draws):
    check.sampled(draws, [0.5, 0.5])
    assert verdicts(check) == [False]


# ---- records


STRANGE = [
    None, "", b"", [], {}, set(), {(1, 2)}, {1: {2: (3,)}}, 10**400, float("nan"), float("inf"), 1j, object(), len, Opaque("x"),
    torch.zeros(0), torch.tensor(1), torch.ones(2, dtype=torch.bool), torch.ones(2).bfloat16(), np.float64(2),
    torch.tensor([True, False]).numpy(), (x for x in "ab"), [[torch.ones(2)]], {"a": np.zeros((2, 0))},
]  # fmt: skip


@pytest.mark.parametrize("got", STRANGE, ids=lambda x: type(x).__name__)
def test_checks_never_raise(check, got):
    for want in STRANGE:
        check.equal(got, want)
        check.close(got, want)
    check.less(got, 3)
    check.between(got, -1, 1)
    check.sampled(got, [0.5, 0.5])
    check.raises(ValueError, lambda: got)
    assert len(check.log) == 2 * len(STRANGE) + 4
    assert not any(verdicts(check)[-1:])


def test_what_a_record_keeps(check):
    log = check.start(lambda: (7, False))
    x = torch.zeros(2)
    check.close(x, torch.zeros(2), why="zeros", rtol=0.5, atol=0.25)
    x += 1
    (r,) = log
    assert (r.kind, r.why, r.rtol, r.atol, r.call, r.direct, r.ok) == ("close", "zeros", 0.5, 0.25, 7, False, True)
    assert r.got.tolist() == [0, 0]
    assert check.start() is not log
    check.equal(1, 2)
    assert (check.log[0].call, check.log[0].direct, len(log)) == (None, True, 1)


def record(kind, got, want=None, **options):
    return Record(kind, got, want, **options)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (record("equal", 3, 4), record("equal", 3, 5), True),
        (record("equal", 3, 4), record("equal", 6, 4), False),
        (record("equal", 3, 4), record("close", 3, 4), False),
        (record("close", 1.0, 2.0), record("close", 1.0 + 1e-8, 2.0), True),
        (record("close", 1.0, 2.0), record("close", 1.1, 2.0), False),
        (record("close", 1.0, 2.0, atol=0.5), record("close", 1.1, 2.0, atol=0.5), True),
        (record("less", 5, 3), record("less", 9, 3), True),
        (record("less", 5, 3), record("less", 2, 3), False),
        (record("less", None, 3), record("less", 9, 3), False),
        (record("between", 5, [0, 3]), record("between", -5, [0, 3]), True),
        (record("raises", ["raised", "ValueError"], "KeyError"), record("raises", ["raised", "ValueError"], "KeyError"), True),
        (record("raises", ["raised", "ValueError"], "KeyError"), record("raises", ["returned", 1], "KeyError"), False),
        (record("raised", ["raised", "ValueError", "a"]), record("raised", ["raised", "ValueError", "b"]), False),
        (record("sampled", [900, 100, 0], [0.5, 0.5]), record("sampled", [890, 110, 0], [0.5, 0.5]), True),
        (record("sampled", [900, 100, 0], [0.5, 0.5]), record("sampled", [100, 900, 0], [0.5, 0.5]), False),
        (record("sampled", [0, 0, 0], [0.5, 0.5]), record("sampled", [890, 110, 0], [0.5, 0.5]), False),
        (record("sampled", [5, 5, 0], [0.5, 0.5]), record("sampled", [5, 5, 5, 0], [0.5, 0.5, 0]), False),
    ],
)  # fmt: skip
def test_alike_records(a, b, verdict):
    assert alike_records(a, b) is verdict
    assert alike_records(b, a) is verdict


def test_marks():
    def f():
        pass

    assert task("t")(f) is f
    mistake("t", says="s", of="C.m")(f)
    assert (f.task, f.mistake, f.of, f.says) == ("t", True, "C.m", "s")
    equivalent("u")(f)
    alike("g")(f)
    assert (f.task, f.equivalent, f.of, f.alike) == ("u", True, "u", "g")
