"""What changes a distribution before a token is drawn from it: pure functions on logits of shape (batch, vocab).

    >>> logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    >>> top_k(logits, 2)
    tensor([[2., 1., -inf, -inf]])
    >>> top_p(temperature(logits, 0.5), 0.9).softmax(-1).round(decimals=3)
    tensor([[0.8810, 0.1190, 0.0000, 0.0000]])

Each setting is one number for the batch, or a tensor with one for each row. A setting at its neutral value changes
nothing. Removed tokens get -inf. What cuts the tail leaves every row at least its best token; bans (no_repeat_ngram, a
bias of -inf) can forbid them all, and then there is nothing to draw. The order in which you apply them matters: penalties
and biases first, then temperature, then what cuts the tail (the order of transformers and vLLM).

Does not:
- draw: strategies does
- change what it is given: each returns a new tensor (or the same one, where nothing changes)
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Setting = float | Float[Tensor, " b"]
PADDING = -1  # in `ids`: no token


def _column(setting: Setting | Int[Tensor, " b"], logits: Tensor) -> Float[Tensor, "#b 1"]:
    return torch.as_tensor(setting, dtype=logits.dtype, device=logits.device).reshape(-1, 1)


def temperature(logits: Float[Tensor, "b v"], t: Setting) -> Float[Tensor, "b v"]:
    """Divide by t: below 1 sharper, above 1 flatter, 0 leaves the best token alone (of equals, the first).

    Raises ValueError for t < 0.
    """
    t = _column(t, logits)
    if (t < 0).any():
        raise ValueError(f"a temperature must not be negative, and {t.min().item():g} is")
    best = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, logits.argmax(1, keepdim=True), True)
    return torch.where(t > 0, logits / t.where(t > 0, 1.0), logits.masked_fill(~best, -math.inf))


def top_k(logits: Float[Tensor, "b v"], k: int | Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
    """Keep the k largest, and all that equal the k-th; k = 0 keeps everything.

    Source: Fan et al. 2018, section 5.4.
    """
    rows = _column(k, logits).long().clamp(0, logits.shape[1]).expand(len(logits), 1)
    largest = logits.topk(max([1, *rows[:, 0].tolist()]), dim=1).values  # (B, max k), falling
    threshold = largest.gather(1, (rows - 1).clamp(min=0))
    return logits.masked_fill((logits < threshold) & (rows > 0), -math.inf)


def top_p(logits: Float[Tensor, "b v"], p: Setting) -> Float[Tensor, "b v"]:
    """Keep the smallest set of most probable tokens whose probabilities sum to p or more; 1 keeps everything.

    The token that crosses p stays. Of equal tokens the one with the smaller id goes first.
    Source: Holtzman et al. 2019, section 3.1 (nucleus sampling).
    """
    ordered, order = logits.sort(dim=1, descending=True, stable=True)
    probabilities = ordered.softmax(1)
    before = probabilities.cumsum(1) - probabilities  # mass of all that are more probable
    p = _column(p, logits)
    drop = (before >= p) & (p < 1)
    drop[:, 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter_(1, order, drop), -math.inf)


def min_p(logits: Float[Tensor, "b v"], p: Setting) -> Float[Tensor, "b v"]:
    """Keep what is at least p times as probable as the best token; 0 keeps everything.

    Source: Nguyen et al. 2024, section 3.
    """
    limit = logits.amax(1, keepdim=True) + _column(p, logits).log()  # a ratio of probabilities: a difference of logits
    return logits.masked_fill(logits < limit, -math.inf)


def counts(ids: Int[Tensor, "b t"], vocab_size: int) -> Int[Tensor, "b v"]:
    """How often each token stands in each row; PADDING (-1) does not count."""
    table = torch.zeros(len(ids), vocab_size + 1, dtype=torch.long, device=ids.device)
    return table.scatter_add_(1, ids.where(ids >= 0, vocab_size), torch.ones_like(ids))[:, :-1]


def repetition_penalty(
    logits: Float[Tensor, "b v"], seen: Bool[Tensor, "b v"], penalty: Setting
) -> Float[Tensor, "b v"]:
    """Divide the positive logits of tokens that were there by `penalty`, and multiply the negative ones; 1 is neutral.

    `seen` is counts(ids, v) > 0, of prompt and answer together.
    Source: Keskar et al. 2019, section 4.1. (It depends on where zero lies, which softmax does not: a wart of its own.)
    """
    penalty = _column(penalty, logits)
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def count_penalties(
    logits: Float[Tensor, "b v"], count: Int[Tensor, "b v"], frequency: Setting = 0.0, presence: Setting = 0.0
) -> Float[Tensor, "b v"]:
    """Take off `frequency` for each time a token was there, and `presence` if it was there at all; 0 is neutral.

    `count` is counts(ids, v), of the answer alone. Source: OpenAI's API reference, frequency_penalty.
    """
    return logits - _column(frequency, logits) * count - _column(presence, logits) * (count > 0)


def no_repeat_ngram(logits: Float[Tensor, "b v"], ids: Int[Tensor, "b t"], n: int) -> Float[Tensor, "b v"]:
    """Forbid every token that would complete an n-gram that stands in the row already; 0 forbids nothing.

    Source: Paulus et al. 2017, section 2.5 (for n = 3).
    """
    if n == 0 or ids.shape[1] < n:
        return logits
    grams = ids.unfold(1, n, 1)  # (B, T - n + 1, n)
    tail = ids[:, ids.shape[1] - n + 1 :]  # the n - 1 tokens before the next
    repeats = (grams[:, :, :-1] == tail[:, None]).all(-1) & (grams >= 0).all(-1)  # (B, T - n + 1)
    last = grams[:, :, -1].where(repeats, logits.shape[1])
    banned = torch.zeros(len(logits), logits.shape[1] + 1, dtype=torch.bool, device=logits.device)
    return logits.masked_fill(banned.scatter_(1, last, True)[:, :-1], -math.inf)


def logit_bias(logits: Float[Tensor, "b v"], bias: Mapping[int, float]) -> Float[Tensor, "b v"]:
    """Add to single tokens' logits: -inf forbids one, a large number all but forces it.

    Raises ValueError for an id outside the vocabulary.
    """
    if not bias:
        return logits
    if wrong := [i for i in bias if not 0 <= i < logits.shape[1]]:
        raise ValueError(f"id {wrong[0]} is outside the vocabulary: ids go from 0 to {logits.shape[1] - 1}")
    added = logits.new_zeros(logits.shape[1])
    added[list(bias)] = torch.tensor(list(bias.values()), dtype=logits.dtype, device=logits.device)
    return logits + added
