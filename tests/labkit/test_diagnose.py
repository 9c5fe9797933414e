"""The rule by which a mistake is named, and what can be said when none is."""

import math

import numpy as np
import pytest
import torch

from labkit.diagnose import best, explains
from labkit.runner import Observation
from labkit.spec import Record
from labkit.symptoms import difference, generic
from labkit.values import Opaque


def seen(*records: Record) -> Observation:
    return Observation({("t", i): r for i, r in enumerate(records)})


def value(got: object, want: object = 1) -> Record:
    return Record("equal", got, want)


def limit(got: float) -> Record:
    return Record("less", got, 5)


GOOD, BAD = value(1), value(2)


@pytest.mark.parametrize(
    ("mistake", "learner", "score"),
    [
        (seen(BAD, GOOD), seen(BAD, GOOD), 1.0),
        (seen(value(3), GOOD), seen(BAD, GOOD), 0.0),  # another wrong value at the first failure
        (seen(GOOD, BAD), seen(BAD, GOOD), 0.0),  # it passes where the learner fails
        (seen(BAD, BAD), seen(BAD, GOOD), 0.0),  # it fails what the learner passes
        (seen(BAD, GOOD), seen(BAD, BAD), 0.5),  # the learner fails more: half of it is explained
        (seen(BAD), seen(BAD, BAD), 0.5),  # the mistake ended early
        (seen(GOOD, GOOD), seen(GOOD, GOOD), 0.0),  # nothing fails
        (seen(limit(7)), seen(limit(9)), 1.0),  # a relation agrees in verdict
        (seen(limit(7), GOOD), seen(limit(9), BAD), 0.0),  # and alone does not outweigh what it leaves unexplained
        (seen(limit(7), BAD), seen(limit(9), BAD), 1.0),
        (seen(Record("raised", ["raised", "ValueError", "a # b"], None)), seen(Record("raised", ["raised", "ValueError", "a # b"], None)), 1.0),
        (seen(Record("raised", ["raised", "ValueError", "a # b"], None)), seen(Record("raised", ["raised", "ValueError", "c"], None)), 0.0),
    ],
)  # fmt: skip
def test_a_mistake_explains_what_it_agrees_with(mistake, learner, score):
    assert explains(mistake, learner) == score


def test_the_better_explanation_wins_and_equals_are_both_given():
    learner = seen(BAD, BAD, GOOD)
    half, whole = seen(BAD, GOOD, GOOD), seen(BAD, BAD, GOOD)
    assert best(learner, {"half": half, "whole": whole, "none": seen(GOOD)}) == ["whole"]
    assert best(learner, {"a": whole, "b": whole}) == ["a", "b"]
    assert best(learner, {}) == []


A = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
T = torch.tensor(A)
ROW = T.clone()
ROW[2] += 3


@pytest.mark.parametrize(
    ("got", "want", "says"),
    [
        (None, T, "returned nothing"),
        (Opaque("function"), 3, "parentheses of a call"),
        (Opaque("generator"), [3], "a generator where a list"),
        ([3], 3, "wrapped in a list"),
        ("3", 3, "a string where an int"),
        (3.0, 3, "The right number as a float"),
        (True, 1, "a bool where an int"),
        (A, T, "a NumPy array where a tensor"),
        (T.T, T, "Transposed"),
        (T[None], T, "dimension of size 1"),
        (T.reshape(7, 5), T, "another shape"),
        (T[:3], T, "Its shape is [3, 7]; [5, 7] is expected"),
        (T.bool(), T, "Wrong type: bool"),
        (torch.arange(4), torch.arange(4.0), "Right values, wrong type: int64"),
        (~(T > 0), T > 0, "the opposite"),
        (T.roll(1, 1), T, "Shifted by one"),
        (T.flip(0), T, "reverse order"),
        (torch.where(T > 1, math.nan, T), T, "NaN in"),
        (2.5 * T, T, "a factor: 2.5 ×"),
        (-T, T, "sign flipped"),
        (T + 0.75, T, "a constant: +0.75"),
        (0 * T, T, "All zeros"),
        (ROW, T, "Right except row 2 of 5"),
        (T.T[:5, :5].contiguous(), T[:5, :5], "Transposed"),
        (4, 5, "one less"),
        (6, 5, "one more"),
        (-2.5, 2.5, "sign is flipped"),
        (62.0, 0.62, "A percentage"),
        ([3, 2, 1], [1, 2, 3], "reverse order"),
        ([9, 1, 2, 3], [1, 2, 3, 4], "Shifted by one"),
        ([1, 2, 3], [1, 2], "last item is too many"),
        ([1], [1, 2], "last item is missing"),
        ([0, 1, 2], [1, 2], "first item is too many"),
        ([2, 1, 3], [1, 2, 3], "another order"),
        ([4, 5, 9], [1, 2, 6], "larger by 3"),
        ([], [1], "It is empty"),
        (["ab", "c"], ["a", "bc"], "wrong places"),
        (["a", " b "], ["a", "b"], "white space at the ends"),
        ("a  b", "a b", "white space"),
        ("HeLLo", "hello", "upper and lower"),
        ("", "x", "It is empty"),
        ({"a": 1}, {"a": 1, "b": 2}, "lacks 'b'"),
        ({"a": 1, "c": 3}, {"a": 1}, "too many: 'c'"),
        ({"a": 2, "b": 2}, {"a": 1, "b": 2}, "1 of 2 values are wrong, first 'a': 2 instead of 1"),
        ([5, 1, 7], [1, 2, 3], ""),
        (T.abs() + ROW**2, T, ""),
        ("abc", "xyz", ""),
        (False, True, ""),
        (torch.tensor(0.3), torch.tensor(2.0), ""),
        (torch.tensor(-2.0), torch.tensor(2.0), ""),
        (np.array(0.3), np.array([2.0]), "Its shape is []; [1] is expected"),
        (A, [1, 2], "a NumPy array where a list"),
        (A[:0], [1, 2], "a NumPy array where a list"),
    ],
)
def test_generic_words(got, want, says):
    record = Record("equal" if isinstance(want, int) else "close", got, want)
    assert not record.ok
    words = generic(record)
    assert says in words if says else words == ""


def test_generic_words_for_other_kinds():
    assert "instead of raising KeyError" in generic(Record("raises", ["returned", 3], "KeyError"))
    assert "raised ValueError, not KeyError" in generic(Record("raises", ["raised", "ValueError"], "KeyError"))
    assert "several are expected" in generic(Record("raised", [], None), "ValueError: not enough values to unpack")
    assert "cannot be used" in generic(Record("raised", [], None), "KeyError: 3")
    assert generic(limit(9)) == ""


def test_where_large_values_differ():
    assert difference(Record("close", ROW, T)).endswith("7 of 35 differ")
    assert difference(Record("close", ROW, T)).startswith("at [2, 0] ")
    long = [*range(20)]
    assert difference(Record("equal", [*long[:12], 99, *long[13:]], long)) == "at [12] 99 instead of 12"
    assert difference(Record("equal", long[:15], long)) == "15 items instead of 20"
    assert "from character 20 on" in difference(Record("equal", "a" * 20 + "b", "a" * 20 + "c"))
    assert difference(Record("equal", 3, 4)) == ""
    assert difference(limit(9)) == ""
