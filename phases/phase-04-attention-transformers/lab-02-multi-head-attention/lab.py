"""Multi-head attention: one head at a time, all heads at once, and with keys that heads share (GQA, MQA).

Run:  python lab.py                # checks, counted work, what the KV cache costs, a picture of a real layer's heads
      python lab.py --ablate       # switches off each head of three layers of a real model; --full: of all 30
      python lab.py --pool         # turns its 3 key heads a layer into 1 by averaging: what does it cost?
      python lab.py --time         # loop against fused, as a ratio in one run
Does: forward self-attention with any mask, the weights of three kinds of checkpoint, and the price in numbers and bytes.
Does not: positions (lab 4.3), dropout, a cache (phase 9), cross-attention.

Shapes: x is (B, T, D), with H heads of width Dh.  H · Dh is often D, and need not be.  Weight matrices are kept as
nn.Linear keeps them, (out, in): a layer is `x @ w.T`.  A mask is True where a query may look.  In every lab: same
dtype out as in, and arguments are not changed.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Weights = dict[str, Tensor]  # "qkv" (3·H·Dh, D) and "out" (D, H·Dh); "qkv_bias" and "out_bias" where a layer has them


def attention(
    q: Float[Tensor, "*batch T Dh"],
    k: Float[Tensor, "*batch S Dh"],
    v: Float[Tensor, "*batch S Dv"],
    mask: Bool[Tensor, "*#batch T S"] | None = None,
) -> tuple[Float[Tensor, "*batch T Dv"], Float[Tensor, "*batch T S"]]:
    """Lab 4.1, given: one head's output and weights, or those of many heads in the leading dimensions."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v, weights


# ---- heads in and out


def split_heads(x: Float[Tensor, "B T H*Dh"], n_heads: int) -> Float[Tensor, "B H T Dh"]:
    """Cut the last axis into heads, and put the heads in front of the positions.  A view: no number is copied.

    >>> split_heads(torch.arange(8).reshape(1, 2, 4), 2).tolist()
    [[[[0, 1], [4, 5]], [[2, 3], [6, 7]]]]
    """
    # TODO: first the axis that is cut, where it stands; then the order of the axes.
    raise NotImplementedError("split_heads")


def merge_heads(x: Float[Tensor, "B H T Dh"]) -> Float[Tensor, "B T H*Dh"]:
    """The inverse of `split_heads`: each position's heads side by side again.

    >>> x = torch.arange(8).reshape(1, 2, 4)
    >>> torch.equal(merge_heads(split_heads(x, 2)), x)
    True
    """
    # TODO: `view` may refuse what you want to do last.  Why?
    raise NotImplementedError("merge_heads")


# ---- the layer, twice


def multihead_loop(
    x: Float[Tensor, "B T D"],
    w_q: Float[Tensor, "H*Dh D"],
    w_k: Float[Tensor, "H*Dh D"],
    w_v: Float[Tensor, "H*Dh D"],
    w_out: Float[Tensor, "D H*Dh"],
    n_heads: int,
    mask: Bool[Tensor, "#B T T"] | None = None,
) -> Float[Tensor, "B T D"]:
    """One head after the other; never more than one head's T×T weights at a time.

    Vaswani et al. 2017, section 3.2.2.  Head h owns Dh neighbouring rows of w_q, w_k and w_v, and the columns of w_out
    that read it.
    """
    # TODO: what one head adds to the result, using its own rows and columns only.  Then all heads.
    raise NotImplementedError("multihead_loop")


def multihead(
    x: Float[Tensor, "B T D"], w: Weights, n_heads: int, mask: Bool[Tensor, "#B #H T T"] | None = None
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B H T T"]]:
    """All heads at once, in four matrix products however many heads there are; the output and each head's weights.

    w["qkv"] holds w_q, w_k and w_v one below the other.  Where w has "qkv_bias" and "out_bias", they are added.
    """
    # TODO: one product for q, k and v; cut; one batched attention; merge; project.
    raise NotImplementedError("multihead")


# ---- three checkpoints, three layouts


def from_torch(state: dict[str, Tensor]) -> Weights:
    """The state_dict of an nn.MultiheadAttention as `Weights`; without biases there if it was made with bias=False.

    Its names: in_proj_weight (3·D, D), in_proj_bias (3·D,), out_proj.weight (D, D), out_proj.bias (D,).
    """
    # TODO: which name is which?  Take only what is there.
    raise NotImplementedError("from_torch")


def from_gpt2(state: dict[str, Tensor]) -> Weights:
    """An attention layer of GPT-2 as `Weights`.  GPT-2 computes `x @ w + b`: its matrices are (in, out).

    Its names: c_attn.weight (D, 3·D), c_attn.bias (3·D,), c_proj.weight (D, D), c_proj.bias (D,).
    """
    # TODO: which of the four must change?  One of them does not complain if you forget it.
    raise NotImplementedError("from_gpt2")


def from_neox(state: dict[str, Tensor], n_heads: int) -> Weights:
    """An attention layer of GPT-NeoX or BLOOM as `Weights`.  Their rows are sorted by head: q, k, v of head 0, q, k, v
    of head 1, and so on.

    Its names: query_key_value.weight (3·D, D), query_key_value.bias (3·D,), dense.weight (D, D), dense.bias (D,).
    """
    # TODO: give the rows three axes, (head, which of q, k and v, row of the head), and sort by the second one first.
    raise NotImplementedError("from_neox")


# ---- fewer key heads than query heads


def grouped(
    q: Float[Tensor, "B H T Dh"],
    k: Float[Tensor, "B Hkv S Dh"],
    v: Float[Tensor, "B Hkv S Dv"],
    mask: Bool[Tensor, "#B #H T S"] | None = None,
) -> tuple[Float[Tensor, "B H T Dv"], Float[Tensor, "B H T S"]]:
    """Grouped-query attention: query head h reads key and value head h // (H / Hkv).  Ainslie et al. 2023.

    Hkv = H is multi-head attention, Hkv = 1 multi-query attention.  Keys and values are not copied for each query
    head: they are the cache, and the cache is what this is meant to make small.
    """
    # TODO: the query heads that share a key head are so many more queries of it.
    raise NotImplementedError("grouped")


def pool_heads(w: Float[Tensor, "rows ..."], n_heads: int, n_pooled: int) -> Float[Tensor, "pooled ..."]:
    """The rows of n_heads key (or value) heads as those of fewer: (H·Dh, ...) → (n_pooled·Dh, ...).

    Each new head is the mean of H / n_pooled neighbours.  So a trained MHA checkpoint is turned into GQA before it is
    trained a little more: Ainslie et al. 2023, section 2.1.  A bias, (H·Dh,), is pooled by the same rule.

    >>> pool_heads(torch.tensor([[1.0], [2.0], [3.0], [6.0]]), 2, 1).tolist()
    [[2.0], [4.0]]
    """
    # TODO: which rows are averaged with which?  Not neighbouring rows: neighbouring heads.
    raise NotImplementedError("pool_heads")


# ---- what it costs


@dataclass(frozen=True)
class Layer:
    """The shape of one attention layer: enough to know its price.

    >>> Layer(d_model=768, n_heads=12, n_kv_heads=12, head_dim=64).parameters(bias=True)       # GPT-2, each of 12
    2362368
    """

    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int

    def parameters(self, bias: bool) -> int:
        """Numbers in the projections to q, k, v and out; with `bias`, one more for each of their rows."""
        # TODO: four matrices, two of them narrower when key heads are shared.
        raise NotImplementedError("Layer.parameters")

    def flops(self, tokens: int, context: int) -> int:
        """Multiplications and additions of one forward pass: two for each multiply-add, matrix products only.

        `tokens` new tokens look at `context` keys each (a prompt: context = tokens; a decode step: tokens = 1).  A
        causal mask saves nothing here: hidden scores are computed and thrown away.
        """
        # TODO: a product of (a, b) and (b, c) costs 2·a·b·c.  Which products are there, and which do not depend on context?
        raise NotImplementedError("Layer.flops")

    def kv_bytes(self, tokens: int, bytes_per_number: int) -> int:
        """What a cache keeps of this layer for so many tokens: their keys and values."""
        # TODO: whose heads are kept?
        raise NotImplementedError("Layer.kv_bytes")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Multi-head attention: its versions, its price, and a real model's heads."
    )
    parser.add_argument("--text", default=None, help="the sentence whose attention is drawn")
    parser.add_argument("--layer", type=int, default=None, help="the layer that is drawn, from 0")
    parser.add_argument(
        "--ablate", action="store_true", help="switch off one head at a time: how much does the loss rise?"
    )
    parser.add_argument("--pool", action="store_true", help="average the key heads of each layer, then of all")
    parser.add_argument("--time", action="store_true", help="the loop's time as a multiple of the fused version's")
    parser.add_argument(
        "--full", action="store_true", help="with --ablate: all 30 layers (301 passes) instead of three"
    )
    arguments = parser.parse_args()
    import heads_report as report

    lab = sys.modules[__name__]
    if arguments.full and not arguments.ablate:
        parser.error("--full goes with --ablate")
    try:
        if arguments.ablate:
            report.ablate(arguments.full)
        elif arguments.pool:
            report.pool(lab)
        elif arguments.time:
            report.timings(lab)
        else:
            report.report(lab, arguments.text, arguments.layer)
    except report.BadInput as e:
        parser.error(str(e))


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 4.2 {task}")
    except KeyboardInterrupt:
        sys.exit("stopped")
