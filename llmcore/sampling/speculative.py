"""Speculative decoding: a small model drafts, the large one checks several tokens in one pass, and nobody can tell.

    drafted  d1 d2 d3            from the small model's distributions q
    checked  p1 p2 p3 p4         the large model's distributions at the same places, and one more
    keep     d1 with probability min(1, p1(d1) / q1(d1)), then d2, …; at the first refusal draw from the rest, max(0, p - q),
             and stop; if none is refused draw a bonus token from p4

What comes out has exactly the large model's distribution, whatever the draft is worth; a good draft only makes it faster.

Source: Leviathan et al. 2022, algorithm 1; Chen et al. 2023.
Does not: draft in trees, or several requests at once
"""

from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from llmcore.cache.contiguous import KVCache
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.strategies import Sampling, adjust, draw


class Round(NamedTuple):
    ids: list[int]  # one to draft + 1 new tokens
    accepted: int  # how many of them were drafted


def verify(
    drafted: Sequence[int],
    q: Float[Tensor, "n v"],
    p: Float[Tensor, "n+1 v"],
    u_accept: Float[Tensor, " n"],
    u_draw: float | Tensor,
) -> Round:
    """The tokens that come out of a draft, from probabilities and uniform random numbers in [0, 1)."""
    last = torch.as_tensor(u_draw, dtype=torch.float64).reshape(1)
    for i, token in enumerate(drafted):
        if u_accept[i] * q[i, token] >= p[i, token]:
            rest = (p[i] - q[i]).clamp(min=0)
            rest = rest if rest.any() else p[i]  # two equal distributions that differ by rounding leave no rest
            return Round([*drafted[:i], int(draw(rest[None], last))], i)
    return Round([*drafted, int(draw(p[len(drafted)][None], last))], len(drafted))


@torch.inference_mode()
def speculate(
    model: MiniGPT,
    draft: MiniGPT,
    prompt: Sequence[int],
    setting: Sampling,
    max_new_tokens: int = 64,
    draft_tokens: int = 4,
    stop_ids: Set[int] = frozenset(),
) -> Iterator[Round]:
    """New tokens in rounds, with the distribution of `model` under `setting`. The last round may be cut short.

    Both models see the same ids, so they must share a vocabulary. One pass of `model` a round.
    """
    if model.config.vocab_size != draft.config.vocab_size:
        raise ValueError(
            f"the draft knows {draft.config.vocab_size} ids and the model {model.config.vocab_size}: they must share them"
        )
    random = torch.Generator().manual_seed(setting.seed)
    capacity = len(prompt) + max_new_tokens + draft_tokens + 1
    model_cache, draft_cache = model.new_cache(1, capacity), draft.new_cache(1, capacity)
    context = torch.tensor([list(prompt)])
    answer: list[int] = []

    def probabilities(m: MiniGPT, cache: KVCache, more: list[int], places: int) -> Float[Tensor, "n v"]:
        """Of what follows each of the last `places` ids of prompt + answer + more; the cache takes what it lacks."""
        ids = [*prompt, *answer, *more]
        logits = m(torch.tensor([ids[cache.length :]]), cache)[0, -places:]
        rows = []
        for i, row in enumerate(logits):
            done = torch.tensor([[*answer, *more][: len(answer) + len(more) - places + 1 + i]], dtype=torch.long)
            rows.append(adjust(row[None], [setting], context, done).softmax(1))
        return torch.cat(rows)

    while len(answer) < max_new_tokens:
        drafted: list[int] = []
        q = []
        for _ in range(draft_tokens):
            q.append(probabilities(draft, draft_cache, drafted, 1))
            drafted.append(int(draw(q[-1], torch.rand(1, generator=random, dtype=torch.float64))))
        p = probabilities(model, model_cache, drafted, draft_tokens + 1)
        u = torch.rand(draft_tokens + 1, generator=random, dtype=torch.float64)
        ids, accepted = verify(drafted, torch.cat(q), p, u[:-1], u[-1])
        stop = next((n + 1 for n, i in enumerate(ids) if i in stop_ids), len(ids))
        ids = ids[: min(stop, max_new_tokens - len(answer))]
        answer += ids
        yield Round(ids, min(accepted, len(ids)))
        if answer[-1] in stop_ids:
            return
        for cache in (model_cache, draft_cache):  # forget what was refused; the newest token has not been read yet
            cache.truncate(min(cache.length, len(prompt) + len(answer) - 1))
