"""Decoding: greedy, temperature, top-k, top-p, beam search, contrastive search; and what the text they write is like.

Run:  python lab.py                        # 50 texts a strategy from a small model: a table, artifacts/tradeoff.png
      python lab.py --show "My lords, I"   # one prompt, one text a strategy, to read
      python lab.py --tail                 # how many tokens deserve to be drawn, and how much temperature leaks
      python lab.py --beams                # what wider beams find: more probable, shorter, further from real text
      python lab.py --judge                # SmolLM2 reads those texts: bits a byte
      python lab.py --library              # the same draws by llmcore: what is the same, what it costs
      python lab.py --model runs/mine      # another model: a folder with its tokenizer, or the asset smollm2
      python lab.py --on mine              # your tokenizer (5.1) and your model (4.4), trained in your run of 5.2
Does: one text at a time, from logits to ids, with any model that can be asked what comes next.
Does not: cache keys and values (the runner does, behind the model), min-p, speculative decoding, batches of settings.

v is the number of tokens in the vocabulary, d the width of a hidden state.  A text is a list of ids.  In every lab: same
dtype out as in, and arguments are not changed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Model(Protocol):
    """All that a strategy needs to know of a language model."""

    eot: int  # the id that ends a text; a prompt may begin with it

    def __call__(self, texts: list[list[int]]) -> tuple[Float[Tensor, "texts v"], Float[Tensor, "texts t d"]]:
        """For texts of equal length: logits of the token after each, and the hidden state of every token in it."""


class Table:
    """A model small enough to think with: the next token and the state depend on the last two tokens alone.

    The first token of a text counts as if it stood there twice.
    """

    def __init__(self, logits: Float[Tensor, "v v v"], states: Float[Tensor, "v v d"], eot: int) -> None:
        self.logits, self.states, self.eot = logits, states, eot

    def __call__(self, texts: list[list[int]]) -> tuple[Float[Tensor, "texts v"], Float[Tensor, "texts t d"]]:
        """As Model says."""
        ids = torch.as_tensor(texts)  # (texts, t)
        before = torch.cat([ids[:, :1], ids[:, :-1]], dim=1)
        return self.logits[before[:, -1], ids[:, -1]], self.states[before, ids]


def seeded(seed: int) -> torch.Generator:
    """A source of random numbers that always begins alike."""
    return torch.Generator().manual_seed(seed)


def greedy(model: Model, prompt: list[int], max_new_tokens: int) -> list[int]:
    """The new tokens: always the most probable one, until it is EOT (which is kept) or there are max_new_tokens."""
    # TODO: ask, choose, append, ask again.  The model sees the whole text each time.
    raise NotImplementedError("greedy")


def scale(logits: Float[Tensor, " v"], temperature: float) -> Float[Tensor, " v"]:
    """Logits at this temperature: below 1 sharper, above 1 flatter; 0 leaves the best token (of equals, the first).

    Raises ValueError for a temperature below 0.  Source: Ackley, Hinton & Sejnowski 1985, eq. 4.

    >>> scale(torch.tensor([1.0, 3.0, 2.0]), 0.5), scale(torch.tensor([1.0, 3.0, 2.0]), 0.0)
    (tensor([2., 6., 4.]), tensor([-inf, 3., -inf]))
    """
    # TODO: one division, and two cases that must not be divided.
    raise NotImplementedError("scale")


def keep_top_k(logits: Float[Tensor, " v"], k: int) -> Float[Tensor, " v"]:
    """The k largest logits, and all that equal the k-th; -inf elsewhere.  k ≥ 1, and may be more than v.

    Fan et al. 2018, section 5.4.

    >>> keep_top_k(torch.tensor([1.0, 3.0, 2.0, 2.0]), 2)
    tensor([-inf, 3., 2., 2.])
    """
    # TODO: find the smallest logit that may stay.
    raise NotImplementedError("keep_top_k")


def keep_top_p(logits: Float[Tensor, " v"], p: float) -> Float[Tensor, " v"]:
    """The fewest tokens whose probabilities sum to p or more, the best ones; -inf elsewhere.  0 < p ≤ 1; 1 keeps all.

    The kept logits stay as they are.  Holtzman et al. 2020, section 3.1 (nucleus sampling).

    >>> keep_top_p(torch.tensor([0.1, 0.6, 0.3]).log(), 0.7).exp()      # 0.6 is not enough: the one that crosses 0.7 stays
    tensor([0.0000, 0.6000, 0.3000])
    """
    # TODO: walk from the most probable token down.  When may you stop, and does the token at which you stop stay?
    raise NotImplementedError("keep_top_p")


def sample(
    logits: Float[Tensor, " v"],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator,
) -> int:
    """One token drawn from what temperature, then top-k, then top-p leave.  None: without that cut.

    All chance comes from `generator`: the same state of it, the same token.
    """
    # TODO: your three functions in this order, then a draw.
    raise NotImplementedError("sample")


def penalise(logits: Float[Tensor, " v"], text: list[int], penalty: float) -> Float[Tensor, " v"]:
    """Every token that stands in the text becomes less probable: its logit ÷ penalty if positive, × penalty if negative.

    Once, however often it stands there.  penalty ≥ 1; 1 changes nothing.  Keskar et al. 2019, section 4.1.

    >>> penalise(torch.tensor([2.0, -2.0, 2.0]), [0, 1, 1], 2.0)
    tensor([ 1., -4.,  2.])
    """
    # TODO: on which side of 0 does a division make a logit smaller?
    raise NotImplementedError("penalise")


def beam_search(
    model: Model, prompt: list[int], beams: int, max_new_tokens: int, length_penalty: float
) -> list[tuple[list[int], float]]:
    """The best continuations that a search of this width meets, at most `beams`: (new ids, score), best first.

    A step extends each open text by every token.  Extensions by EOT are finished, all of them; of the others, the `beams`
    most probable ones are the next open texts.  After max_new_tokens (≥ 1) steps, finished and open texts compete by
    score = log-probability of the new tokens / (number of new tokens, EOT too) ** length_penalty.  Wu et al. 2016, section 7.
    """
    # TODO: keep for each open text its new ids and the sum of their log-probabilities.
    raise NotImplementedError("beam_search")


def contrastive_search(model: Model, prompt: list[int], k: int, alpha: float, max_new_tokens: int) -> list[int]:
    """The new tokens: of the k most probable, the one with the best (1 - α)·probability - α·likeness.  Ends as greedy does.

    Likeness is the largest cosine between the state of the candidate, as if it stood at the end of the text, and the
    state of any token before it, prompt included.  k ≤ v.  Su et al. 2022, eq. 5.
    """
    # TODO: ask about all k extended texts at once.  Which states are old, which one is the candidate's?
    raise NotImplementedError("contrastive_search")


def ngrams(text: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """All runs of n neighbours, in order.

    >>> ngrams([7, 8, 7, 8], 2)
    [(7, 8), (8, 7), (7, 8)]
    """
    return list(zip(*(text[i:] for i in range(n)), strict=False))


def distinct(texts: Sequence[Sequence[int]], n: int) -> float:
    """How many different n-grams there are in all texts together, as a share of all n-grams; 0.0 if there are none.

    Li et al. 2016, section 5.3 (they divide by the number of tokens).

    >>> distinct([[1, 2, 1, 2], [1, 2]], 2)         # (1, 2) (2, 1) (1, 2) and (1, 2)
    0.5
    """
    # TODO: no n-gram may reach from one text into the next.
    raise NotImplementedError("distinct")


def repetition(texts: Sequence[Sequence[int]], n: int) -> float:
    """The share of all n-grams that stand earlier in their own text already; 0.0 if there are none.

    >>> repetition([[1, 2, 1, 2], [1, 2]], 2)       # one of four: what another text said does not count
    0.25
    """
    # TODO: text by text, but one share for all of them.
    raise NotImplementedError("repetition")


def overlap(texts: Sequence[Sequence[int]], real: Sequence[Sequence[int]], n: int) -> float:
    """The share of the texts' n-grams that stand somewhere in the real texts; 0.0 if there are none.

    An n-gram that is written three times counts three times.

    >>> overlap([[1, 2, 3, 1, 2]], [[0, 1, 2], [3, 1]], 2)      # (1, 2) (2, 3) (3, 1) (1, 2)
    0.75
    """
    # TODO: real n-grams once, then look each written one up.
    raise NotImplementedError("overlap")


def main() -> None:
    """The command line."""
    from labkit import mine

    parser = argparse.ArgumentParser(
        description="One model, many ways to choose the next token: compare what they write."
    )
    parser.add_argument("--show", metavar="PROMPT", help="one text a strategy, to read")
    parser.add_argument("--tail", action="store_true", help="how many tokens deserve to be drawn, in real contexts")
    parser.add_argument("--beams", action="store_true", help="what wider beams find")
    parser.add_argument("--library", action="store_true", help="compare this lab's code with llmcore's")
    parser.add_argument("--judge", action="store_true", help="let SmolLM2 read the texts of the last run (minutes)")
    parser.add_argument("--model", default="mini", help="a name (mini, smollm2) or a folder with its tokenizer.json")
    parser.add_argument("--on", default="reference", metavar="WHOSE", help=mine.HELP)
    parser.add_argument("--full", action="store_true", help="200 texts a strategy, 128 tokens each")
    arguments = parser.parse_args()
    import decoding_run

    decoding_run.touch(sys.modules[__name__])
    decoding_run.run(sys.modules[__name__], arguments)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 5.4 {task}")
    except KeyboardInterrupt:
        sys.exit("stopped")
