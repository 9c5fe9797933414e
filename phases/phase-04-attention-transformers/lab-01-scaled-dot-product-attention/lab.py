"""Scaled dot-product attention: as loops, as two matrix products, by letters, and without ever holding the matrix.

Run:  python lab.py                # checks the versions against each other, draws artifacts/attention.png
      python lab.py --why-sqrt-d   # the measurement behind the README's first table
      python lab.py --memory       # numbers alive at the peak, two products against tiles; --full: up to 16k keys
Does: forward attention for any number of leading (batch, head) dimensions; gradients come from autograd.
Does not: dropout, multiple heads (lab 4.2), positions (lab 4.3), gradients by hand.

Shapes: q is (..., T, d), k is (..., S, d), v is (..., S, dv); a mask is (..., T, S), True = may look.
`*batch` stands for any leading dimensions; `#` marks those that may be 1 or missing and are then broadcast:
a (T, S) mask serves every head of q (B, H, T, d).  In every lab: same dtype out as in, and arguments are not changed.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def attention_loops(
    q: Float[Tensor, "T d"], k: Float[Tensor, "S d"], v: Float[Tensor, "S dv"]
) -> Float[Tensor, "T dv"]:
    """Attention for one head in plain Python loops: no matrix product, stable for scores of any size.

    Vaswani et al. 2017, eq. 1.

    >>> attention_loops(torch.zeros(1, 2), torch.zeros(2, 2), torch.tensor([[0.0], [4.0]]))
    tensor([[2.]])
    """
    # TODO: for each query, average the values, weighted by how well each key matches.
    raise NotImplementedError("attention_loops")


def causal_mask(T: int, S: int) -> Bool[Tensor, "T S"]:
    """Which of S keys each of the T newest queries may see, when S - T keys came before them.

    >>> causal_mask(2, 3).int().tolist()
    [[1, 1, 0], [1, 1, 1]]
    """
    # TODO: a query sees everything up to and including its own position.  Where does the first of T queries stand?
    raise NotImplementedError("causal_mask")


def padding_mask(lengths: Int[Tensor, " batch"], S: int, left: bool = False) -> Bool[Tensor, "batch 1 1 S"]:
    """Which of S keys are real, when row b of a batch holds lengths[b] tokens and the rest is padding.

    The two axes of size 1 serve every head and every query.  Padding stands behind the tokens, or before them if `left`.

    >>> padding_mask(torch.tensor([2, 3]), 3).int().flatten(1).tolist()
    [[1, 1, 0], [1, 1, 1]]
    >>> padding_mask(torch.tensor([2, 0]), 3, left=True).int().flatten(1).tolist()
    [[0, 1, 1], [0, 0, 0]]
    """
    # TODO: compare the places 0 … S-1 with something that each row of the batch knows.  Where do the new axes go?
    raise NotImplementedError("padding_mask")


def attention(
    q: Float[Tensor, "*batch T d"],
    k: Float[Tensor, "*batch S d"],
    v: Float[Tensor, "*batch S dv"],
    mask: Bool[Tensor, "*#batch T S"] | None = None,
) -> tuple[Float[Tensor, "*batch T dv"], Float[Tensor, "*batch T S"]]:
    """Attention as two matrix products; returns the output and the weights.

    A hidden key has weight exactly 0.  A query that may see no key at all gets zeros, not NaN, in its output *and* in
    its weights, and finite gradients.  A NaN that can be seen stays visible.
    """
    # TODO: score every query against every key; hide what the mask hides; turn scores into weights; mix the values.
    raise NotImplementedError("attention")


def attention_einsum(
    q: Float[Tensor, "batch T heads d"],
    k: Float[Tensor, "batch S heads d"],
    v: Float[Tensor, "batch S heads dv"],
    mask: Bool[Tensor, "#batch #heads T S"] | None = None,
) -> Float[Tensor, "batch T heads dv"]:
    """The output of `attention` for tensors whose heads stand *behind* the positions, as a projection leaves them.

    einsum names the axes, so no one has to be moved.  Nothing larger than the scores (batch, heads, T, S) is made.
    """
    # TODO: one letter for each axis.  Which letters does a score keep, and which one is summed?
    raise NotImplementedError("attention_einsum")


def attention_tiled(
    q: Float[Tensor, "T d"], k: Float[Tensor, "S d"], v: Float[Tensor, "S dv"], block: int = 16
) -> Float[Tensor, "T dv"]:
    """The same result, `block` keys at a time, never holding a (T, S) matrix.  Dao et al. 2022, algorithm 1.

    Beyond copies of its arguments it keeps O(T·(block + dv)) numbers alive, and takes a step for every block of keys.
    """
    # TODO: what must you remember of the blocks already seen, to add one more?
    raise NotImplementedError("attention_tiled")


def compare_versions() -> None:
    """The four versions on the same numbers."""
    torch.manual_seed(0)
    q, k, v = torch.randn(6, 8), torch.randn(10, 8), torch.randn(10, 4)
    out, _ = attention(q, k, v)
    by_letters = attention_einsum(*(x[None, :, None] for x in (q, k, v)))[0, :, 0]  # a batch of one, one head
    print(f"loops against two products: {(attention_loops(q, k, v) - out).abs().max():.1e} apart at most")
    print(f"einsum against two products: {(by_letters - out).abs().max():.1e} apart at most")
    print(f"tiled against two products: {(attention_tiled(q, k, v, block=3) - out).abs().max():.1e} apart at most")


def draw(path: Path, word: str = "abracadabra") -> None:
    """Each letter looks for letters like itself: the weights, with and without the future."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    letters = sorted(set(word))
    x = 3 * torch.eye(len(letters))[[letters.index(c) for c in word]]  # (T, letters): one direction a letter
    T = len(word)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    for axis, mask, title in zip(
        axes, (None, causal_mask(T, T)), ("every key may be seen", "causal: no key of the future")
    ):
        _, weights = attention(x, x, x, mask)
        picture = axis.imshow(weights, cmap="Blues", vmin=0, vmax=1)
        axis.set(
            title=title,
            xlabel="key",
            ylabel="query",
            xticks=range(T),
            yticks=range(T),
            xticklabels=word,
            yticklabels=word,
        )
    figure.colorbar(picture, ax=axes, label="weight (each row sums to 1)")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"drew {path.parent.name}/{path.name}")


def why_sqrt_d(queries: int = 2000, keys: int = 16) -> None:
    """What reaches a query during training, with and without √d, for random unit-variance q and k."""
    print(
        "     d          std of scores  largest weight  gradient at q: mean  median   queries whose scores get < 0.001"
    )
    for d in (4, 64, 1024):
        rng = torch.Generator().manual_seed(0)
        q, k = torch.randn(queries, 1, d, generator=rng), torch.randn(queries, keys, d, generator=rng)
        v, upstream = torch.randn(queries, keys, 8, generator=rng), torch.randn(queries, 8, generator=rng)
        for name, scale in (("raw", 1.0), ("÷ √d", 1 / math.sqrt(d))):
            query = q.clone().requires_grad_()
            scores = (query * k).sum(-1) * scale  # (queries, keys)
            scores.retain_grad()
            weights = scores.softmax(-1)
            ((weights[:, None] @ v)[:, 0] * upstream).sum().backward()
            assert query.grad is not None
            assert scores.grad is not None
            at_q, at_scores = query.grad.flatten(1).norm(dim=1), scores.grad.norm(dim=1)
            print(
                f"{d:6d}  {name:5s} {scores.std():16.2f} {weights.amax(-1).mean():15.2f} {at_q.mean():20.2f} "
                f"{at_q.median():7.4f} {(at_scores < 1e-3).float().mean():34.0%}"
            )


def memory(full: bool) -> None:
    """Tensor elements alive at the peak, one fp32 head with d = dv = 64 and T = S, beyond the arguments."""
    from labkit.count import LiveMemory

    print("     S   two products, MB   tiles of 64, MB   of 16, MB")
    for S in (1024, 2048, 4096, *((8192, 16384) if full else ())):
        rng = torch.Generator().manual_seed(0)
        q, k, v = (torch.randn(S, 64, generator=rng) for _ in "qkv")
        peaks = []
        for block in (None, 64, 16):
            with LiveMemory(q, k, v) as live:
                attention_tiled(q, k, v, block) if block else attention(q, k, v)
            peaks.append(live.peak * 4 / 2**20)
        print(f"{S:6d} {peaks[0]:18.1f} {peaks[1]:17.2f} {peaks[2]:12.2f}")


def main() -> None:
    """Small mode: compare and draw.  The options print what the README's tables say."""
    parser = argparse.ArgumentParser(description="Attention: compare the versions and draw the weights.")
    parser.add_argument(
        "--why-sqrt-d", action="store_true", help="print the measurement behind the README's first table"
    )
    parser.add_argument("--memory", action="store_true", help="print the memory that each version holds at its peak")
    parser.add_argument("--full", action="store_true", help="with --memory: up to 16,384 keys (2 GB, a minute)")
    args = parser.parse_args()
    if args.why_sqrt_d:
        why_sqrt_d()
    elif args.memory:
        memory(args.full)
    else:
        compare_versions()
        draw(Path(__file__).parent / "artifacts" / "attention.png")


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 4.1 {task}")
    except KeyboardInterrupt:
        sys.exit("stopped")
