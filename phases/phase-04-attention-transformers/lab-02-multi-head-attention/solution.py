"""Multi-head attention: one head at a time, all heads at once, and with keys that heads share (GQA, MQA).

Run:  python solution.py                # checks, counted work, what the KV cache costs, a picture of a real layer's heads
      python solution.py --ablate       # switches off each head of three layers of a real model; --full: of all 30
      python solution.py --pool         # turns its 3 key heads a layer into 1 by averaging: what does it cost?
      python solution.py --time         # loop against fused, as a ratio in one run
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
    ### BEGIN SOLUTION
    B, T, width = x.shape
    return x.view(B, T, n_heads, width // n_heads).transpose(1, 2)
    ### END SOLUTION


def merge_heads(x: Float[Tensor, "B H T Dh"]) -> Float[Tensor, "B T H*Dh"]:
    """The inverse of `split_heads`: each position's heads side by side again.

    >>> x = torch.arange(8).reshape(1, 2, 4)
    >>> torch.equal(merge_heads(split_heads(x, 2)), x)
    True
    """
    # TODO: `view` may refuse what you want to do last.  Why?
    ### BEGIN SOLUTION
    return x.transpose(1, 2).flatten(2)  # flatten copies: no stride can walk over the heads and their numbers at once
    ### END SOLUTION


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
    ### BEGIN SOLUTION
    width = len(w_q) // n_heads
    out = torch.zeros(*x.shape[:-1], len(w_out), dtype=x.dtype, device=x.device)
    for h in range(n_heads):
        rows = slice(h * width, (h + 1) * width)
        mixed, _ = attention(x @ w_q[rows].T, x @ w_k[rows].T, x @ w_v[rows].T, mask)  # (B, T, Dh)
        out = out + mixed @ w_out[:, rows].T
    return out
    ### END SOLUTION


def multihead(
    x: Float[Tensor, "B T D"], w: Weights, n_heads: int, mask: Bool[Tensor, "#B #H T T"] | None = None
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B H T T"]]:
    """All heads at once, in four matrix products however many heads there are; the output and each head's weights.

    w["qkv"] holds w_q, w_k and w_v one below the other.  Where w has "qkv_bias" and "out_bias", they are added.
    """
    # TODO: one product for q, k and v; cut; one batched attention; merge; project.
    ### BEGIN SOLUTION
    qkv = F.linear(x, w["qkv"], w.get("qkv_bias"))  # (B, T, 3·H·Dh)
    q, k, v = (split_heads(part, n_heads) for part in qkv.chunk(3, dim=-1))  # (B, H, T, Dh)
    mixed, weights = attention(q, k, v, mask)
    return F.linear(merge_heads(mixed), w["out"], w.get("out_bias")), weights
    ### END SOLUTION


# ---- three checkpoints, three layouts


def from_torch(state: dict[str, Tensor]) -> Weights:
    """The state_dict of an nn.MultiheadAttention as `Weights`; without biases there if it was made with bias=False.

    Its names: in_proj_weight (3·D, D), in_proj_bias (3·D,), out_proj.weight (D, D), out_proj.bias (D,).
    """
    # TODO: which name is which?  Take only what is there.
    ### BEGIN SOLUTION
    names = {
        "in_proj_weight": "qkv",
        "in_proj_bias": "qkv_bias",
        "out_proj.weight": "out",
        "out_proj.bias": "out_bias",
    }
    return {names[theirs]: tensor for theirs, tensor in state.items()}
    ### END SOLUTION


def from_gpt2(state: dict[str, Tensor]) -> Weights:
    """An attention layer of GPT-2 as `Weights`.  GPT-2 computes `x @ w + b`: its matrices are (in, out).

    Its names: c_attn.weight (D, 3·D), c_attn.bias (3·D,), c_proj.weight (D, D), c_proj.bias (D,).
    """
    # TODO: which of the four must change?  One of them does not complain if you forget it.
    ### BEGIN SOLUTION
    return {
        "qkv": state["c_attn.weight"].T,
        "qkv_bias": state["c_attn.bias"],
        "out": state["c_proj.weight"].T,
        "out_bias": state["c_proj.bias"],
    }
    ### END SOLUTION


def from_neox(state: dict[str, Tensor], n_heads: int) -> Weights:
    """An attention layer of GPT-NeoX or BLOOM as `Weights`.  Their rows are sorted by head: q, k, v of head 0, q, k, v
    of head 1, and so on.

    Its names: query_key_value.weight (3·D, D), query_key_value.bias (3·D,), dense.weight (D, D), dense.bias (D,).
    """
    # TODO: give the rows three axes, (head, which of q, k and v, row of the head), and sort by the second one first.
    ### BEGIN SOLUTION
    weight, bias = (
        state[f"query_key_value.{kind}"].unflatten(0, (n_heads, 3, -1)).transpose(0, 1).flatten(0, 2)
        for kind in ("weight", "bias")
    )
    return {"qkv": weight, "qkv_bias": bias, "out": state["dense.weight"], "out_bias": state["dense.bias"]}
    ### END SOLUTION


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
    ### BEGIN SOLUTION
    (B, H, T, Dh), (n_kv, S) = q.shape, k.shape[1:3]
    if mask is not None:
        mask = mask.expand(B, H, T, S).reshape(B, n_kv, -1, S)
    out, weights = attention(q.reshape(B, n_kv, -1, Dh), k, v, mask)  # H/Hkv heads of T queries: (B, Hkv, H/Hkv·T, Dh)
    return out.reshape(B, H, T, -1), weights.reshape(B, H, T, S)
    ### END SOLUTION


def pool_heads(w: Float[Tensor, "rows ..."], n_heads: int, n_pooled: int) -> Float[Tensor, "pooled ..."]:
    """The rows of n_heads key (or value) heads as those of fewer: (H·Dh, ...) → (n_pooled·Dh, ...).

    Each new head is the mean of H / n_pooled neighbours.  So a trained MHA checkpoint is turned into GQA before it is
    trained a little more: Ainslie et al. 2023, section 2.1.  A bias, (H·Dh,), is pooled by the same rule.

    >>> pool_heads(torch.tensor([[1.0], [2.0], [3.0], [6.0]]), 2, 1).tolist()
    [[2.0], [4.0]]
    """
    # TODO: which rows are averaged with which?  Not neighbouring rows: neighbouring heads.
    ### BEGIN SOLUTION
    return w.reshape(n_pooled, n_heads // n_pooled, -1, *w.shape[1:]).mean(dim=1).flatten(0, 1)
    ### END SOLUTION


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
        ### BEGIN SOLUTION
        q, kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        rows = q + 2 * kv
        return self.d_model * (rows + q) + bias * (rows + self.d_model)
        ### END SOLUTION

    def flops(self, tokens: int, context: int) -> int:
        """Multiplications and additions of one forward pass: two for each multiply-add, matrix products only.

        `tokens` new tokens look at `context` keys each (a prompt: context = tokens; a decode step: tokens = 1).  A
        causal mask saves nothing here: hidden scores are computed and thrown away.
        """
        # TODO: a product of (a, b) and (b, c) costs 2·a·b·c.  Which products are there, and which do not depend on context?
        ### BEGIN SOLUTION
        projections = self.parameters(bias=False) * tokens
        scores_and_mixing = 2 * self.n_heads * tokens * context * self.head_dim
        return 2 * (projections + scores_and_mixing)
        ### END SOLUTION

    def kv_bytes(self, tokens: int, bytes_per_number: int) -> int:
        """What a cache keeps of this layer for so many tokens: their keys and values."""
        # TODO: whose heads are kept?
        ### BEGIN SOLUTION
        return 2 * tokens * self.n_kv_heads * self.head_dim * bytes_per_number
        ### END SOLUTION


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
