"""From a model and some prompts to new tokens: sampling (greedy too) in a batch, beam search, contrastive search.

    for tokens in generate(model, [[5, 1], [7]], Sampling(temperature=0.8, seed=1), max_new_tokens=20, stop_ids={2}):
        ...                                # a Token for each row, None for those that have ended

Each row has settings and random numbers of its own: what a row gets does not depend on its neighbours in the batch.

Does not:
- know text: ids come in and go out
- schedule: the batch that begins is the batch that ends. llmcore.serving lets requests come and go
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmcore.model.transformer import PADDING, MiniGPT
from llmcore.sampling import processors as P


@dataclass(frozen=True)
class Sampling:
    """How one request wants its tokens. All defaults are neutral: the model's own distribution."""

    temperature: float = 1.0  # 0: greedy
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # over prompt and answer
    frequency_penalty: float = 0.0  # over the answer
    presence_penalty: float = 0.0  # likewise
    no_repeat_ngram: int = 0  # in prompt and answer
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0


class Token(NamedTuple):
    id: int
    logprob: float  # under the model itself, before any setting, in nats


GREEDY = Sampling(temperature=0.0)


def adjust(
    logits: Float[Tensor, "b v"], settings: Sequence[Sampling], prompts: Int[Tensor, "b t"], answers: Int[Tensor, "b n"]
) -> Float[Tensor, "b v"]:
    """The logits that each row's token is drawn from: biases and penalties, then temperature, then the cuts.

    `prompts` and `answers` hold the ids so far, PADDING (-1) where there is none.
    """

    def column(name: str) -> Float[Tensor, " b"]:
        return torch.tensor([float(getattr(s, name)) for s in settings], device=logits.device)

    def any_differs(*names: str) -> bool:
        return any(getattr(s, name) != getattr(Sampling, name) for s in settings for name in names)

    v = logits.shape[1]
    logits = logits.float()
    if any(s.logit_bias for s in settings):
        rows = zip(logits.split(1), settings, strict=True)
        logits = torch.cat([P.logit_bias(row, s.logit_bias) for row, s in rows])
    if any_differs("repetition_penalty"):
        seen = P.counts(torch.cat([prompts, answers], dim=1), v) > 0
        logits = P.repetition_penalty(logits, seen, column("repetition_penalty"))
    if any_differs("frequency_penalty", "presence_penalty"):
        count = P.counts(answers, v)
        logits = P.count_penalties(logits, count, column("frequency_penalty"), column("presence_penalty"))
    if any_differs("no_repeat_ngram"):
        so_far = torch.cat([prompts, answers], dim=1)
        sizes = [s.no_repeat_ngram for s in settings]
        both = zip(logits.split(1), so_far.split(1), sizes, strict=True)
        logits = torch.cat([P.no_repeat_ngram(row, ids, n) for row, ids, n in both])
    if any_differs("temperature"):
        logits = P.temperature(logits, column("temperature"))
    if any_differs("top_k"):
        logits = P.top_k(logits, column("top_k"))
    if any_differs("top_p"):
        logits = P.top_p(logits, column("top_p"))
    if any_differs("min_p"):
        logits = P.min_p(logits, column("min_p"))
    return logits


def draw(probabilities: Float[Tensor, "b v"], u: Float[Tensor, " b"]) -> Int[Tensor, " b"]:
    """The token at which the running sum of probabilities passes u · (their sum), for u in [0, 1): inverse transform.

    A token of probability 0 is never drawn.
    """
    sums = probabilities.double().cumsum(1)
    ids = torch.searchsorted(sums, u.double()[:, None] * sums[:, -1:], right=True)[:, 0]
    return ids.clamp(max=probabilities.shape[1] - 1)


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
) -> Iterator[list[Token | None]]:
    """The rows' next tokens, step by step, until each has drawn a stop id (which is given out) or max_new_tokens.

    One forward pass reads all prompts; then one token a row and step, on cached keys and values.
    """
    rows = [settings] * len(prompts) if isinstance(settings, Sampling) else list(settings)
    if len(rows) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts and {len(rows)} settings: give one for each, or one for all")
    device = model.embedding.weight.device
    ids, positions = (t.to(device) for t in left_padded(prompts))
    padded = bool((positions == PADDING).any())
    cache = model.new_cache(len(prompts), ids.shape[1] + max_new_tokens)
    random = [torch.Generator().manual_seed(s.seed) for s in rows]
    answers = ids[:, :0]
    open_rows = [True] * len(rows)
    logits = model(ids.clamp(min=0), cache, positions if padded else None, last_only=True)[:, 0]
    for step in range(max_new_tokens):
        u = torch.cat([torch.rand(1, generator=g, dtype=torch.float64) for g in random]).to(device)
        new = draw(adjust(logits, rows, ids, answers).softmax(1), u)
        logprobs = logits.float().log_softmax(1).gather(1, new[:, None])[:, 0].tolist()
        chosen = zip(new.tolist(), logprobs, open_rows, strict=True)
        yield [Token(i, logprob) if is_open else None for i, logprob, is_open in chosen]
        open_rows = [is_open and i not in stop_ids for is_open, i in zip(open_rows, new.tolist(), strict=True)]
        if not any(open_rows) or step == max_new_tokens - 1:
            return
        answers = torch.cat([answers, new[:, None]], dim=1)
        logits = model(new[:, None], cache)[:, 0]


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

    Every step extends all open beams by every token and keeps the best `beams` that do not end; those that do are put
    aside. The search is over when no open beam can beat the worst of `beams` finished ones as it stands.
    Source: Wu et al. 2016, section 7 (length penalty in the simple form of Hugging Face).
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
        for total, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            row, token = divmod(place, totals.shape[1])
            if total == -math.inf or len(kept) == beams:
                break
            if token in stop_ids:
                finished.append(beam([*texts[row], token], total))
            else:
                kept.append((total, row, token))
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
