"""Each processor against transformers' own, or against the formula in plain Python."""

import math

import pytest
import torch
from transformers import generation as theirs

from llmcore.sampling import processors as ours

INF = math.inf


@pytest.fixture
def logits():
    return torch.randn(5, 23, generator=torch.Generator().manual_seed(11)) * 3


@pytest.mark.parametrize("t", [0.3, 2.5])
def test_temperature(logits, t):
    torch.testing.assert_close(ours.temperature(logits, t), theirs.TemperatureLogitsWarper(t)(None, logits))


def test_temperature_zero_is_greedy_and_of_equals_the_first():
    rows = torch.tensor([[1.0, 4.0, 4.0], [-2.0, -3.0, -5.0], [0.0, 1.0, 2.0]])
    got = ours.temperature(rows, torch.tensor([0.0, 0.0, 4.0]))
    assert got.tolist() == [[-INF, 4.0, -INF], [-2.0, -INF, -INF], [0.0, 0.25, 0.5]]
    with pytest.raises(ValueError, match="must not be negative, and -0.5 is"):
        ours.temperature(rows, torch.tensor([0.1, -0.5, 1.0]))


@pytest.mark.parametrize("k", [1, 4, 22])
def test_top_k(logits, k):
    torch.testing.assert_close(ours.top_k(logits, k), theirs.TopKLogitsWarper(k)(None, logits))


def test_top_k_at_its_ends_and_with_ties():
    row = torch.tensor([[3.0, 1.0, 3.0, 2.0, 2.0]])
    assert ours.top_k(row, 0).tolist() == ours.top_k(row, 5).tolist() == ours.top_k(row, 99).tolist() == row.tolist()
    assert ours.top_k(row, 3).tolist() == [[3.0, -INF, 3.0, 2.0, 2.0]]
    assert ours.top_k(row, 1).tolist() == [[3.0, -INF, 3.0, -INF, -INF]]


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.999])
def test_top_p(logits, p):
    torch.testing.assert_close(ours.top_p(logits, p), theirs.TopPLogitsWarper(p)(None, logits))


def test_top_p_keeps_the_token_that_crosses_and_never_drops_the_best():
    row = torch.tensor([[0.2, 0.5, 0.2, 0.1]]).log()
    kept = {p: (ours.top_p(row, p)[0] > -INF).tolist() for p in (0.0, 0.4, 0.6, 0.75, 1.0)}
    assert kept[0.0] == kept[0.4] == [False, True, False, False]
    assert kept[0.6] == [True, True, False, False]  # of the two equals, the first
    assert kept[0.75] == [True, True, True, False]
    assert kept[1.0] == [True, True, True, True]


@pytest.mark.parametrize("p", [0.02, 0.3])
def test_min_p(logits, p):
    torch.testing.assert_close(ours.min_p(logits, p), theirs.MinPLogitsWarper(p)(None, logits))
    assert ours.min_p(logits, 0.0).equal(logits)
    assert ((ours.min_p(logits, 1.0) > -INF).sum(1) == 1).all()


IDS = torch.tensor([[4, 4, 9, 4], [0, 22, 1, 22], [7, 7, 7, 7], [-1, -1, 3, 22], [5, 6, 5, 6]])


def test_counts_leaves_padding_out():
    got = ours.counts(IDS, 23)
    assert got.shape == (5, 23)
    for row, ids in zip(got, IDS.tolist(), strict=True):
        assert {i: n for i, n in enumerate(row.tolist()) if n} == {i: ids.count(i) for i in ids if i >= 0}


def test_repetition_penalty(logits):
    seen = ours.counts(IDS, 23) > 0
    whole = [0, 1, 2, 4]  # theirs knows no padding
    want = theirs.RepetitionPenaltyLogitsProcessor(1.7)(IDS[whole], logits[whole].clone())
    torch.testing.assert_close(ours.repetition_penalty(logits, seen, 1.7)[whole], want)
    assert ours.repetition_penalty(logits, seen, 1.0).equal(logits)
    assert (logits[seen] > 0).any()
    assert (logits[seen] < 0).any()


def test_count_penalties():
    row, count = torch.tensor([[1.0, 2.0, -3.0]]), torch.tensor([[0, 1, 3]])
    assert ours.count_penalties(row, count, frequency=0.5, presence=0.25).tolist() == [[1.0, 1.25, -4.75]]
    assert ours.count_penalties(row, count).tolist() == row.tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_no_repeat_ngram(logits, n):
    whole = [0, 1, 2, 4]
    want = theirs.NoRepeatNGramLogitsProcessor(n)(IDS[whole], logits[whole].clone())
    torch.testing.assert_close(ours.no_repeat_ngram(logits, IDS, n)[whole], want)


def test_no_repeat_ngram_of_padding_forbids_nothing(logits):
    ids = torch.tensor([[-1, -1, 3, -1, -1]]).expand(5, 5)
    assert ours.no_repeat_ngram(logits, ids, 2).equal(logits)
    assert ours.no_repeat_ngram(logits, IDS, 0).equal(logits)


def test_logit_bias(logits):
    got = ours.logit_bias(logits, {3: 2.5, 0: -INF})
    torch.testing.assert_close(got[:, 3], logits[:, 3] + 2.5)
    assert (got[:, 0] == -INF).all()
    assert got[:, 4:].equal(logits[:, 4:])
    want = theirs.SequenceBiasLogitsProcessor([[[3], 2.5], [[0], -INF]])(
        torch.zeros(5, 1, dtype=torch.long), logits.clone()
    )
    torch.testing.assert_close(got, want)
    assert ours.logit_bias(logits, {}) is logits
    with pytest.raises(ValueError, match="id 23 is outside"):
        ours.logit_bias(logits, {23: 1.0})
    with pytest.raises(ValueError, match="id -1 is outside"):
        ours.logit_bias(logits, {-1: 1.0})


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "count_penalties"])
def test_a_setting_for_each_row_is_that_setting_on_that_row(logits, name):
    settings = {
        "temperature": torch.tensor([0.0, 0.4, 1.0, 2.0, 9.0]),
        "top_k": torch.tensor([0, 1, 7, 23, 2]),
        "top_p": torch.tensor([0.0, 0.3, 1.0, 0.8, 0.95]),
        "min_p": torch.tensor([0.0, 0.3, 1.0, 0.05, 0.5]),
        "repetition_penalty": torch.tensor([1.0, 0.5, 2.0, 1.3, 7.0]),
        "count_penalties": torch.tensor([0.0, 0.5, -2.0, 1.3, 7.0]),
    }[name]
    count = ours.counts(IDS, 23)
    more = {"repetition_penalty": [count > 0], "count_penalties": [count]}.get(name, [])
    function, before = getattr(ours, name), logits.clone()
    whole = function(logits, *more, settings)
    for row in range(5):
        one = function(logits[row : row + 1], *(m[row : row + 1] for m in more), settings[row].item())
        torch.testing.assert_close(whole[row : row + 1], one)
    assert logits.equal(before)
    assert whole.isfinite().any(1).all()


CALLS = {
    "temperature": (0.7,),
    "greedy": (0.0,),
    "top_k": (3,),
    "top_p": (0.8,),
    "min_p": (0.1,),
    "repetition_penalty": ("seen", 1.7),
    "count_penalties": ("count", 0.6, -0.4),
    "no_repeat_ngram": ("ids", 2),
    "logit_bias": ({2: -1.5},),
}


def called(name, logits, ids):
    count = ours.counts(ids, logits.shape[1])
    named = {"seen": count > 0, "count": count, "ids": ids}
    function = getattr(ours, "temperature" if name == "greedy" else name)
    return function(logits, *(named[a] if isinstance(a, str) else a for a in CALLS[name]))


@pytest.mark.parametrize("name", CALLS)
def test_what_was_forbidden_stays_so_and_nothing_becomes_nan(logits, name):
    forbidden = torch.rand(5, 23, generator=torch.Generator().manual_seed(2)) < 0.4
    forbidden[0] = torch.arange(23) != 8  # one token is left
    got = called(name, logits.masked_fill(forbidden, -INF), IDS)
    assert not got.isnan().any()
    assert (got[forbidden] == -INF).all()
    if name != "no_repeat_ngram":
        assert (got > -INF).any(1).all()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("rows", "v"), [(0, 5), (1, 3), (2, 50_001)])
def test_odd_sizes(name, rows, v):
    logits = torch.randn(rows, v, generator=torch.Generator().manual_seed(rows)) * 9
    ids = torch.zeros(rows, 0, dtype=torch.long)  # and nothing was said so far
    got = called(name, logits, ids)
    assert got.shape == (rows, v)
    if name in ("repetition_penalty", "count_penalties", "no_repeat_ngram"):
        assert got.equal(logits)


def test_a_nan_is_passed_on_to_whoever_draws(logits):
    logits[1, 4] = math.nan
    for name in set(CALLS) - {"greedy", "top_k", "min_p"}:
        assert called(name, logits, IDS)[1].isnan().any(), name
