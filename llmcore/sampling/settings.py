"""How one request wants its tokens, and the draw: from logits and settings to ids, for a batch of requests at once.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    >>> none = torch.zeros(2, 0, dtype=torch.long)
    >>> rows = [Sampling(temperature=0.5, top_k=2), Sampling(logit_bias={0: -5.0}, temperature=0.0)]
    >>> adjust(logits, rows, none, none)
    tensor([[4., 2., -inf],
            [-inf, 1., -inf]])
    >>> choose(logits, rows, none, none, torch.tensor([0.9, 0.9]))
    tensor([1, 1])

Does not:
- run a model: strategies does
- know text: stop strings are in text.py
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmcore.sampling import processors as P


@dataclass(frozen=True)
class Sampling:
    """How one request wants its tokens. All defaults are neutral: the model's own distribution.

    Raises ValueError for a setting that means nothing, such as a negative temperature.
    """

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

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (0.0 <= self.temperature < math.inf, "0 (greedy) or more"),
            "top_k": (self.top_k >= 0, "0 (all) or more"),
            "top_p": (0.0 <= self.top_p <= 1.0, "from 0 to 1"),
            "min_p": (0.0 <= self.min_p <= 1.0, "from 0 to 1"),
            "repetition_penalty": (0.0 < self.repetition_penalty < math.inf, "above 0"),
            "frequency_penalty": (math.isfinite(self.frequency_penalty), "a finite number"),
            "presence_penalty": (math.isfinite(self.presence_penalty), "a finite number"),
            "no_repeat_ngram": (self.no_repeat_ngram >= 0, "0 (off) or more"),
        }
        for name, (fine, wanted) in ranges.items():
            if not fine:
                raise ValueError(f"{name}={getattr(self, name)!r}: it has to be {wanted}")


GREEDY = Sampling(temperature=0.0)


def penalise(
    logits: Float[Tensor, "b v"], settings: Sequence[Sampling], prompts: Int[Tensor, "b t"], answers: Int[Tensor, "b n"]
) -> Float[Tensor, "b v"]:
    """Biases and penalties: what may change which token is the best. In float32. Arguments as `adjust`'s."""
    v = logits.shape[1]
    logits = logits.float()
    if any(s.logit_bias for s in settings):
        rows = zip(logits.split(1), settings, strict=True)
        logits = torch.cat([P.logit_bias(row, s.logit_bias) for row, s in rows])
    if _any_differs(settings, "repetition_penalty"):
        seen = P.counts(torch.cat([prompts, answers], dim=1), v) > 0
        logits = P.repetition_penalty(logits, seen, _column(settings, "repetition_penalty", logits))
    if _any_differs(settings, "frequency_penalty", "presence_penalty"):
        frequency, presence = (_column(settings, f"{kind}_penalty", logits) for kind in ("frequency", "presence"))
        logits = P.count_penalties(logits, P.counts(answers, v), frequency, presence)
    if _any_differs(settings, "no_repeat_ngram"):
        so_far = torch.cat([prompts, answers], dim=1)
        sizes = [s.no_repeat_ngram for s in settings]
        both = zip(logits.split(1), so_far.split(1), sizes, strict=True)
        logits = torch.cat([P.no_repeat_ngram(row, ids, n) for row, ids, n in both])
    return logits


def adjust(
    logits: Float[Tensor, "b v"], settings: Sequence[Sampling], prompts: Int[Tensor, "b t"], answers: Int[Tensor, "b n"]
) -> Float[Tensor, "b v"]:
    """The logits that each row's token is drawn from: biases and penalties, then temperature, then the cuts.

    `prompts` and `answers` hold the ids so far, PADDING (-1) where there is none.
    """
    logits = penalise(logits, settings, prompts, answers)
    for name, processor in (("temperature", P.temperature), ("top_k", P.top_k), ("top_p", P.top_p), ("min_p", P.min_p)):
        if _any_differs(settings, name):
            logits = processor(logits, _column(settings, name, logits))
    return logits


def draw(probabilities: Float[Tensor, "b v"], u: Float[Tensor, " b"]) -> Int[Tensor, " b"]:
    """The token at which the running sum of probabilities passes u · (their sum), for u in [0, 1): inverse transform.

    A token of probability 0 is never drawn. Raises ValueError for a row in which no token has a probability, or not
    a number.
    """
    sums = probabilities.double().cumsum(1)
    _refuse_rows(~(sums[:, -1] > 0))  # which NaN is not either
    ids = torch.searchsorted(sums, u.double()[:, None] * sums[:, -1:], right=True)[:, 0]
    return ids.clamp(max=probabilities.shape[1] - 1)


def choose(
    logits: Float[Tensor, "b v"],
    settings: Sequence[Sampling],
    prompts: Int[Tensor, "b t"],
    answers: Int[Tensor, "b n"],
    u: Float[Tensor, " b"] | None,
) -> Int[Tensor, " b"]:
    """Each row's next token, from a random number in [0, 1) for each; rows that are all greedy need none.

    Raises ValueError as `draw` does: for a row in which everything is forbidden, or a logit is not a number.
    """
    if u is not None:
        return draw(adjust(logits, settings, prompts, answers).softmax(1), u)
    best = penalise(logits, settings, prompts, answers).max(1)  # the cuts would keep it: they need not be made
    _refuse_rows(~best.values.isfinite())
    return best.indices


def _refuse_rows(wrong: Tensor) -> None:
    if wrong.any():
        rows = ", ".join(str(i) for i in wrong.nonzero()[:, 0].tolist())
        raise ValueError(f"no token can be drawn in row {rows}: all are forbidden, or a logit is infinite or no number")


def _column(settings: Sequence[Sampling], name: str, like: Tensor) -> Float[Tensor, " b"]:
    return torch.tensor([float(getattr(s, name)) for s in settings], device=like.device)


def _any_differs(settings: Sequence[Sampling], *names: str) -> bool:
    return any(getattr(s, name) != getattr(Sampling, name) for s in settings for name in names)
