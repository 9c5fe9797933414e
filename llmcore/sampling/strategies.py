"""From a model and some prompts to new tokens: sampling (greedy too) in a batch, beam search, contrastive search.

    for tokens in generate(model, [[5, 1], [7]], Sampling(temperature=0.8, seed=1), max_new_tokens=20, stop_ids={2}):
        ...                                # a Token for each row, None for those that have ended

Each row has settings and random numbers of its own: what a row gets does not depend on its neighbours in the batch.

Does not:
- know text: ids come in and go out. text.py makes text of them, and ends it at stop strings
- schedule: the batch that begins is the batch that ends. llmcore.serving lets requests come and go
"""

import math
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmcore.model.transformer import PADDING, MiniGPT
from llmcore.sampling.settings import GREEDY, Sampling, adjust, choose, draw

__all__ = ["GREEDY", "Beam", "Sampling", "Token", "adjust", "beam_search", "contrastive_search", "draw", "generate"]


class Token(NamedTuple):
    id: int
    logprob: float  # under the model itself, before any setting, in nats
    top: tuple[tuple[int, float], ...] = ()  # the most probable ids with their logprobs, likewise, best first


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]:
    """Prompts as one tensor with PADDING in front of the shorter ones, and each token's position.

    Raises ValueError for an empty prompt: a model needs something to go on from.
    """
    if not prompts or not all(prompts):
        raise ValueError("a prompt is empty: give it at least one id, such as the one that begins a text")
    width = max(map(len, prompts))
    ids = torch.tensor([[PADDING] * (width - len(p)) + list(p) for p in prompts])
    positions = torch.tensor([[PADDING] * (width - len(p)) + list(range(len(p))) for p in prompts])
    return ids, positions


@torch.inference_mode()
def generate(
    model: MiniGPT,
    prompts: Sequence[Sequence[int]],
    settings: Sampling | Sequence[Sampling] = GREEDY,
    max_new_tokens: int = 64,
    stop_ids: Set[int] = frozenset(),
    top_logprobs: int = 0,
) -> Iterator[list[Token | None]]:
    """The rows' next tokens, step by step, until each has drawn a stop id (which is given out) or max_new_tokens.

    One forward pass reads all prompts; then one token a row and step, on cached keys and values. Each Token comes with
    its logprob and the `top_logprobs` most probable alternatives (it may be among them): under the model itself, so
    that they say what the model thought, not what the settings left of it.

    Raises ValueError for an empty prompt, for settings that are not as many as the prompts, and for a row in which no
    token can be drawn.
    """
    rows = [settings] * len(prompts) if isinstance(settings, Sampling) else list(settings)
    if len(rows) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts and {len(rows)} settings: give one for each, or one for all")
    device = model.embedding.weight.device
    ids, positions = (t.to(device) for t in left_padded(prompts))
    padded = bool((positions == PADDING).any())
    cache = model.new_cache(len(prompts), ids.shape[1] + max_new_tokens)
    random = [torch.Generator().manual_seed(s.seed) for s in rows]
    greedy = all(s.temperature == 0 for s in rows)
    answers = ids[:, :0]
    open_rows = [True] * len(rows)
    logits = model(ids.clamp(min=0), cache, positions if padded else None, last_only=True)[:, 0]
    for step in range(max_new_tokens):
        u = None if greedy else torch.cat([torch.rand(1, generator=g, dtype=torch.float64) for g in random]).to(device)
        new = choose(logits, rows, ids, answers, u)
        tokens = _tokens(logits, new, top_logprobs)
        yield [token if is_open else None for token, is_open in zip(tokens, open_rows, strict=True)]
        open_rows = [is_open and t.id not in stop_ids for is_open, t in zip(open_rows, tokens, strict=True)]
        if not any(open_rows) or step == max_new_tokens - 1:
            return
        answers = torch.cat([answers, new[:, None]], dim=1)
        logits = model(new[:, None], cache)[:, 0]


def _tokens(logits: Float[Tensor, "b v"], new: Int[Tensor, " b"], top: int) -> list[Token]:
    logprobs = logits.float().log_softmax(1)
    chosen = logprobs.gather(1, new[:, None])[:, 0].tolist()
    if not top:
        return [Token(i, logprob) for i, logprob in zip(new.tolist(), chosen, strict=True)]
    best = logprobs.topk(min(top, logprobs.shape[1]), dim=1)
    alternatives = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    each = zip(new.tolist(), chosen, alternatives, strict=True)
    return [Token(i, logprob, tuple(zip(*both, strict=True))) for i, logprob, both in each]


class Beam(NamedTuple):
    ids: list[int]
    logprob: float
    score: float  # logprob / length^length_penalty


@torch.inference_mode()
def beam_search(
    model: MiniGPT,
    prompt: Sequence[int],
    beams: int = 4,
    max_new_tokens: int = 64,
    stop_ids: Set[int] = frozenset(),
    length_penalty: float = 1.0,
) -> list[Beam]:
    """The best continuations that a search of this width finds, best first. One that stops holds its stop id.

    Every step extends all open beams by every token and keeps the best `beams` that do not end; those that do, and are
    among the best `beams` of all, are put aside. The search is over when no open beam can beat the worst of `beams`
    finished ones as it stands. Source: Wu et al. 2016, section 7; the rules, and the length penalty in its simple
    form, are those of Hugging Face's `generate` (early_stopping=False).
    """

    def beam(ids: list[int], logprob: float) -> Beam:
        return Beam(ids, logprob, logprob / len(ids) ** length_penalty)

    cache = model.new_cache(beams, len(prompt) + max_new_tokens)
    logits = model(torch.tensor([list(prompt)] * beams), cache, last_only=True)[:, 0]
    sums = torch.full((beams,), -math.inf)
    sums[0] = 0.0  # at first all rows are the same one
    texts: list[list[int]] = [[] for _ in range(beams)]
    finished: list[Beam] = []
    for step in range(max_new_tokens):
        totals = sums[:, None] + logits.float().log_softmax(1)
        best = totals.flatten().topk(min(beams * (1 + len(stop_ids)), totals.numel()))
        kept: list[tuple[float, int, int]] = []
        for rank, (total, place) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            row, token = divmod(place, totals.shape[1])
            if total == -math.inf or len(kept) == beams:
                break
            if token not in stop_ids:
                kept.append((total, row, token))
            elif rank < beams:
                finished.append(beam([*texts[row], token], total))
        finished = sorted(finished, key=lambda b: -b.score)[:beams]
        if not kept:
            break
        texts = [[*texts[row], token] for _, row, token in kept]
        sums = torch.tensor([total for total, _, _ in kept] + [-math.inf] * (beams - len(kept)))
        done = len(finished) == beams and finished[-1].score >= beam(texts[0], kept[0][0]).score
        if done or step == max_new_tokens - 1:
            break
        rows = torch.tensor([row for _, row, _ in kept] + [0] * (beams - len(kept)))
        tokens = torch.tensor([token for _, _, token in kept] + [0] * (beams - len(kept)))
        texts += [[] for _ in range(beams - len(kept))]
        cache.select(rows)
        logits = model(tokens[:, None], cache)[:, 0]
    still_open = [beam(text, total) for text, total in zip(texts, sums.tolist(), strict=False) if total > -math.inf]
    return sorted([*finished, *(still_open if kept else [])], key=lambda b: -b.score)[:beams]


@torch.inference_mode()
def contrastive_search(
    model: MiniGPT,
    prompt: Sequence[int],
    k: int = 4,
    alpha: float = 0.6,
    max_new_tokens: int = 64,
    stop_ids: Set[int] = frozenset(),
) -> list[int]:
    """Of the k most probable tokens, the one with the best (1 - α) · probability - α · likeness to what is there.

    Likeness is the largest cosine of the candidate's hidden state to any state before. Deterministic, and it does not
    fall into repetition as greedy search does. Source: Su et al. 2022, eq. 5.
    """
    cache = model.new_cache(k, len(prompt) + max_new_tokens)
    states = model.hidden(torch.tensor([list(prompt)] * k), cache)  # (k, T, D), all rows alike
    logits = model.head(states[0, -1])
    seen = torch.nn.functional.normalize(states[0].float(), dim=-1)  # (T, D)
    answer: list[int] = []
    for _ in range(max_new_tokens):
        probabilities, candidates = logits.float().softmax(-1).topk(k)
        states = model.hidden(candidates[:, None], cache)  # (k, 1, D): each candidate as if it were taken
        likeness = (torch.nn.functional.normalize(states[:, 0].float(), dim=-1) @ seen.T).amax(1)
        best = int(((1 - alpha) * probabilities - alpha * likeness).argmax())
        answer.append(int(candidates[best]))
        if answer[-1] in stop_ids:
            break
        cache.select(torch.full((k,), best))
        logits = model.head(states[best, 0])
        seen = torch.cat([seen, torch.nn.functional.normalize(states[best].float(), dim=-1)])
    return answer
