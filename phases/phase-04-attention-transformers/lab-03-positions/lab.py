"""Where a token stands, told to attention in four ways, and how RoPE is stretched past the length it was trained at.

Run:  python lab.py              # trains four small models, then measures them far beyond their context: minutes
      python lab.py --quick      # the same with fewer steps, for a first look
      python lab.py --pictures   # the drawings alone, no training
      python lab.py --full       # longer, wider, deeper; on a GPU if there is one
Does: sinusoidal and learned vectors, RoPE in both layouts and the way between them, ALiBi, three stretchings.
Does not: attention itself (lab 4.1), heads (lab 4.2), a whole model (lab 4.4; the experiment borrows llmcore's).

Positions are whole numbers and always *given*, (..., T), because row t of a tensor need not be token t of a text: a
prompt may be padded on the left, and a new token follows a thousand cached ones.  `*batch` stands for any leading
dimensions, `*#batch` for those that broadcast against them.  Arguments are never changed.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

# ---- added to the token's vector


def sinusoidal(positions: Int[Tensor, "*batch"], d: int, base: float = 10_000.0) -> Float[Tensor, "*batch d"]:
    """d numbers for each position: pair i (coordinates 2i and 2i + 1) is the sine and cosine of position · base^(-2i/d).

    d is even.  float32.  Vaswani et al. 2017, section 3.5.

    >>> sinusoidal(torch.tensor([0]), 4).tolist()
    [[0.0, 1.0, 0.0, 1.0]]
    """
    # TODO: an angle for every position and pair; then sine and cosine next to each other.
    raise NotImplementedError("sinusoidal")


def learned(table: Float[Tensor, "n d"], positions: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch d"]:
    """The row of a trained table for each position, as GPT-2 has it; gradients reach the table.

    Raises ValueError for a position that was never trained, outside 0 … n - 1, and names that position.

    >>> learned(torch.tensor([[5.0], [6.0]]), torch.tensor([1, 0])).tolist()
    [[6.0], [5.0]]
    """
    # TODO: look up the rows; first refuse what has none.  What would Python make of position -1?
    raise NotImplementedError("learned")


# ---- RoPE: queries and keys are turned


def frequencies(head_dim: int, theta: float = 10_000.0) -> Float[Tensor, " half"]:
    """Radians by which each of head_dim / 2 pairs turns from one position to the next: theta^(-2i / head_dim).

    Raises ValueError for an odd head_dim.  float32.  Su et al. 2021, eq. 15.

    >>> frequencies(4, theta=100.0)
    tensor([1.0000, 0.1000])
    """
    # TODO: from 1 radian downwards, each slower than the one before by the same factor.
    raise NotImplementedError("frequencies")


def rope_angles(positions: Int[Tensor, "*batch T"], turn: Float[Tensor, " half"]) -> Float[Tensor, "*batch T half"]:
    """How far each pair has turned at each position, in radians and with all whole turns, not reduced mod 2π.

    float32 whatever the model's dtype.

    >>> rope_angles(torch.tensor([0, 3]), torch.tensor([1.0, 0.5])).tolist()
    [[0.0, 0.0], [3.0, 1.5]]
    """
    # TODO: every position meets every pair.
    raise NotImplementedError("rope_angles")


def rotate_adjacent(
    x: Float[Tensor, "*batch heads T dh"], angles: Float[Tensor, "*#batch T half"]
) -> Float[Tensor, "*batch heads T dh"]:
    """Turn coordinates 2i and 2i + 1 of x as a point in the plane, by angle i of the token; the same for all heads.

    The layout of the paper, of Meta's Llama code and of Llama models in GGUF files.  The dtype of x comes out.

    >>> rotate_adjacent(torch.tensor([[[1.0, 0.0, 0.0, 2.0]]]), torch.tensor([[math.pi / 2, math.pi]])).round().int()
    tensor([[[ 0,  1,  0, -2]]], dtype=torch.int32)
    """
    # TODO: (a, b) turned by φ is (a cos φ - b sin φ, a sin φ + b cos φ).  Where do the angles get an axis for the heads?
    raise NotImplementedError("rotate_adjacent")


def rotate_half(
    x: Float[Tensor, "*batch heads T dh"], angles: Float[Tensor, "*#batch T half"]
) -> Float[Tensor, "*batch heads T dh"]:
    """The same rotation in the other layout: coordinate i turns together with i + dh/2.

    The layout of GPT-NeoX and of every Llama-like checkpoint in Hugging Face's format.  The dtype of x comes out.

    >>> rotate_half(torch.tensor([[[1.0, 0.0, 0.0, 2.0]]]), torch.tensor([[math.pi / 2, math.pi]])).round().int()
    tensor([[[ 0,  0,  1, -2]]], dtype=torch.int32)
    """
    # TODO: which halves are a and b now, and where do their results go?
    raise NotImplementedError("rotate_half")


def to_half(weight: Float[Tensor, "rows ..."], n_heads: int) -> Float[Tensor, "rows ..."]:
    """A query or key projection (rows = n_heads · dh, one a coordinate) or its bias, made for adjacent pairs, with its
    rows in another order: rotate_half then gives the scores that rotate_adjacent gave.

    >>> to_half(torch.tensor([0, 1, 2, 3, 10, 11, 12, 13]), n_heads=2).tolist()
    [0, 2, 1, 3, 10, 12, 11, 13]
    """
    # TODO: within each head, the first coordinates of all pairs come first.
    raise NotImplementedError("to_half")


# ---- ALiBi: scores are lowered


def alibi_slopes(n_heads: int) -> Float[Tensor, " heads"]:
    """How much a score falls for each token of distance: 2^(-8/n), 2^(-16/n), …, 2^-8 for n heads, n a power of two.

    Other n: the slopes of the next smaller power of two m, then the first, third, fifth … slope of 2m heads, as many
    as are missing.  Press et al. 2022, section 3, and their code.

    >>> alibi_slopes(3).tolist()
    [0.0625, 0.00390625, 0.25]
    """
    # TODO: a power of two first; the rest comes from twice as many.
    raise NotImplementedError("alibi_slopes")


def alibi_bias(
    slopes: Float[Tensor, " heads"], queries: Int[Tensor, "*batch T"], keys: Int[Tensor, "*batch S"]
) -> Float[Tensor, "*batch heads T S"]:
    """What ALiBi adds to the scores: -slope · distance for a key at or before the query, -inf for a later one.

    `queries` and `keys` are positions.  Both are given, as T newest queries may look at S cached keys.

    >>> alibi_bias(torch.tensor([0.5]), torch.tensor([2, 3]), torch.tensor([1, 2, 3])).tolist()
    [[[-0.5, 0.0, -inf], [-1.0, -0.5, 0.0]]]
    """
    # TODO: the distance of every key from every query, once for each head.
    raise NotImplementedError("alibi_bias")


# ---- RoPE stretched: other frequencies, all else as it was


def interpolate(turn: Float[Tensor, " half"], factor: float) -> Float[Tensor, " half"]:
    """Position interpolation: a text `factor` times as long takes the angles that the trained length had.

    Chen et al. 2023, eq. 4.

    >>> interpolate(torch.tensor([1.0, 0.1]), 4.0)
    tensor([0.2500, 0.0250])
    """
    # TODO: it divides positions; you hold frequencies.
    raise NotImplementedError("interpolate")


def ntk(head_dim: int, theta: float, factor: float) -> Float[Tensor, " half"]:
    """NTK-aware: frequencies of a larger theta, such that the fastest pair keeps its pace and the slowest is divided by
    `factor` exactly.

    head_dim > 2.  bloc97 2023; Peng et al. 2023, eq. 16.

    >>> ntk(4, theta=100.0, factor=4.0)
    tensor([1.0000, 0.0250])
    """
    # TODO: the slowest pair turns by theta^(-(head_dim - 2) / head_dim).  Which theta makes that `factor` times smaller?
    raise NotImplementedError("ntk")


def yarn(
    head_dim: int,
    theta: float,
    factor: float,
    original: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
) -> tuple[Float[Tensor, " half"], float]:
    """YaRN: pairs that turn often within the `original` context keep their pace, those that turn hardly once are divided
    by `factor`, and between them the share that is divided rises evenly from pair to pair.

    Let c(n) = head_dim · ln(original / 2πn) / (2 ln theta): the pair, as a fraction, that turns n times.  The share is 0
    up to pair ⌊c(beta_fast)⌋, or 0 if that is negative, and 1 from pair ⌈c(beta_slow)⌉ on.  Those two differ.

    Returns the frequencies, and 0.1 · ln(factor) + 1: the number that q and k are both multiplied by.
    Peng et al. 2023, sections 3.2 and 3.4, with the ramp of the authors' code.

    >>> yarn(4, theta=100.0, factor=4.0, original=100)
    (tensor([1.0000, 0.0625]), 1.138629436111989)
    """
    # TODO: the two ends of the ramp; the share of each pair; a mixture of `turn` and `turn / factor`.
    raise NotImplementedError("yarn")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Four ways to say where a token stands, trained at one length and measured far beyond it."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="fewer steps: a first look")
    size.add_argument(
        "--full", action="store_true", help="context 512, 6 layers, 20,000 steps; on a GPU if there is one"
    )
    parser.add_argument("--pictures", action="store_true", help="only draw what needs no training")
    parser.add_argument(
        "--text", type=Path, metavar="PATH", help="train and measure on this file instead of Shakespeare"
    )
    arguments = parser.parse_args()
    import positions_report as report

    if arguments.text is not None and not arguments.text.is_file():
        parser.error(f"there is no file {arguments.text}")
    lab = sys.modules[__name__]
    try:
        report.agreement(lab)
        report.drawings(lab)
        if not arguments.pictures:
            report.experiment(
                lab, "quick" if arguments.quick else "full" if arguments.full else "small", arguments.text
            )
    except report.BadInput as e:
        parser.error(str(e))


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 4.3 {task}")
    except KeyboardInterrupt:
        sys.exit("stopped; what is trained so far is kept, and the same command goes on from there")
