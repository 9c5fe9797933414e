"""nanoGPT from end to end: a text becomes tokens, tokens train a model, the model writes text.

Run:  python lab.py                            # all three on Shakespeare, in a few minutes: artifacts/small/
      python lab.py --prepare                  # or one after the other
      python lab.py --train --steps 400        # Ctrl-C keeps what there is; --train --resume goes on
      python lab.py --sample --prompt "HAMLET."
      python lab.py --one-batch                # why a loss that falls proves nothing about the targets
      python lab.py --on mine                  # the same on your own tokenizer (5.1), model (4.4) and sampler (5.4)
      python lab.py --full TinyStories.txt     # 17 million parameters, for a GPU
Does: everything between a text and a model that writes; nano_run.py beside it strings the parts together.
Does not: the model (lab 4.4), the tokenizer (5.1), mixed precision and exact resuming (5.3), finer sampling (5.4).

V ids in the vocabulary; batches hold B rows of T tokens.  A loss is a mean over tokens, in nats.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt
from torch import Tensor, nn

# ## Prepare


def is_held_out(text: str, share: float) -> bool:
    """Whether a document is kept for validation.  Its content decides, so it stays on its side whatever joins the corpus.

    The first 8 bytes of the SHA-256 of its UTF-8, read as one big-endian number, are a fraction of 2**64: is that
    fraction below `share`?  Copies of a document land on the same side.

    >>> [is_held_out("To be, or not to be", share) for share in (0.0, 0.5, 0.51, 1.0)]    # its fraction is 0.504
    [False, False, True, True]
    """
    # TODO: text to bytes, bytes to a digest, its first 8 bytes to a number.
    raise NotImplementedError("is_held_out")


def pack(documents: Iterable[Sequence[int]], eot: int, vocab_size: int) -> UInt[np.ndarray, " n"]:
    """All documents in one row, the id `eot` behind each of them, in the smallest unsigned type that holds every id.

    uint16 for a vocabulary of up to 65,536 ids (0 to 65,535), else uint32.  The vocabulary decides, not the ids that
    happen to occur: all files of a run have the same type.  A document without tokens is `eot` alone.
    Raises ValueError for an id outside 0 … vocab_size - 1, which a cast would wrap around in silence.

    >>> pack([[5, 1], [7]], eot=9, vocab_size=10)
    array([5, 1, 9, 7, 9], dtype=uint16)
    """
    # TODO: one long list, a look at its smallest and largest id, one array.  Documents may come from a generator.
    raise NotImplementedError("pack")


# ## Batches


def get_batch(
    tokens: UInt[np.ndarray, " n"], rows: int, length: int, seed: int, step: int
) -> tuple[Int[Tensor, "rows length"], Int[Tensor, "rows length"]]:
    """Random crops x and their targets y, both int64: y[b, t] is the token that follows x[b, t].

    Every start that leaves room for both is equally likely, the first and the last one too, whatever the other rows
    are.  The batch follows from `seed` and `step` alone, so a run can go on at any step; global random numbers have no
    part in it.  Another seed is another run, which meets none of the first one's batches at some other step.
    `tokens` may be a memmap: only the crops are read.  Raises ValueError if there are not length + 1 tokens.
    """
    # TODO: a generator made of both numbers; starts; windows of length + 1.  Which is the last start?
    raise NotImplementedError("get_batch")


def target_shift(x: Int[Tensor, "b t"], y: Int[Tensor, "b t"]) -> int | None:
    """How far the targets are ahead of the inputs: 1 is right, 0 a forgotten shift, 2 one too many, -1 backwards.

    A shift s fits if y[b, t] == x[b, t + s] at every place where both exist.  Targets of -100 do not count, and a shift
    for which no target counts does not fit.  From -3 to 3 are tried; if several fit, the one nearest to 1, and of two
    equally near the smaller.  None if none does.

    >>> x = torch.tensor([[3, 1, 4, 1, 5]])
    >>> target_shift(x, torch.tensor([[1, 4, 1, 5, 9]])), target_shift(x, x), target_shift(x, 9 - x)
    (1, 0, None)
    """
    # TODO: for each shift, the part of x and the part of y that stand over each other.
    raise NotImplementedError("target_shift")


# ## Train


def learning_rate(step: int, peak: float, warmup: int, total: int, final: float) -> float:
    """Linear warm-up, then half a cosine.  Steps count from 0, and every one of them learns.

    The first step gets peak / warmup, step warmup - 1 the peak; from there it falls along a cosine to `final`, which
    step total - 1 gets, and all after it.  Without warm-up the cosine leaves the peak at an imagined step -1; if all
    steps are warm-up, the last one gets the peak.
    """
    # TODO: two formulas and the end.  Which share of the way from the peak to the end has been gone?
    raise NotImplementedError("learning_rate")


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters for AdamW in two groups: what has two dimensions or more decays, everything else does not.

    So matrices and embeddings shrink, gains and biases stay.  A tensor with two names (a tied output layer) comes once.
    Each group is {"params": [...], "weight_decay": ...}.
    """
    # TODO: its number of dimensions tells a matrix from a gain; its name does not.
    raise NotImplementedError("decay_groups")


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Int[Tensor, "b t"],
    y: Int[Tensor, "b t"],
    lr: float,
    clip: float,
) -> tuple[float, float]:
    """One step: the model is changed in place; returns the loss before it and the gradient's norm before clipping.

    The loss is the mean cross-entropy over the targets that are not -100.  All gradients together are scaled down to
    the norm `clip` if they are longer.  Every group of the optimizer gets the learning rate `lr`, in this very step.
    Gradients left over from before do not count.  Both results are Python floats.
    """
    # TODO: seven lines; their order is the task.
    raise NotImplementedError("train_step")


# ## Judge


def estimate_loss(model: nn.Module, batches: Iterable[tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]]) -> float:
    """Mean loss over all targets of all batches that are not -100: batches may differ in size, each target weighs the same.

    In eval mode and without gradients; every module is left in the mode that it came in.
    """
    # TODO: sums, not means.  And who knows in which mode the model was?
    raise NotImplementedError("estimate_loss")


def bits_per_byte(loss: float, tokens: int, size: int) -> float:
    """The loss of a text of `size` bytes in bits per byte: it can be compared between tokenizers, a loss per token cannot.

    `loss` is in nats per token, `tokens` is how many of them were predicted.

    >>> round(bits_per_byte(math.log(256), tokens=1000, size=1000), 9)    # bytes as tokens, all equally likely
    8.0
    """
    # TODO: nats to bits, tokens to bytes.
    raise NotImplementedError("bits_per_byte")


# ## Sample


def next_token(logits: Float[Tensor, " v"], temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """A token drawn with probability softmax(logits / temperature) among the `top_k` largest logits (None: among all).

    Temperature 0 takes the largest.  A top_k beyond the vocabulary keeps everything.  The logits are not changed.
    """
    # TODO: hide what is not among the top_k, divide, softmax, draw one.
    raise NotImplementedError("next_token")


def generate(
    model: nn.Module,
    prompt: Sequence[int],
    max_new_tokens: int,
    context: int,
    eot: int,
    choose: Callable[[Float[Tensor, " v"]], int],
) -> list[int]:
    """The new tokens that `choose` picks, one after the other, from the model's logits (V,) for the next one.

    The model never sees more than the last `context` tokens, the newest among them.  The end of a text is its last
    token: after a new `eot` nothing comes.  (One in the prompt ends nothing.)  No gradients are kept.
    """
    # TODO: a window of what is there, its last logits, a choice; until the end.
    raise NotImplementedError("generate")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Prepare a text, train a small GPT on it, let it write.  Without options: all three, on Shakespeare."
    )
    parser.add_argument(
        "--prepare", action="store_true", help="only this: train the tokenizer, write train.bin and val.bin"
    )
    parser.add_argument("--train", action="store_true", help="only this: train the model, draw the loss curve")
    parser.add_argument("--sample", action="store_true", help="only this: let the model of the last run write")
    parser.add_argument("--one-batch", action="store_true", help="overfit one batch, with right and with wrong targets")
    parser.add_argument("--prompt", default="ROMEO.\nI", help="how the samples begin (default: ROMEO., a new line, I)")
    parser.add_argument("--steps", type=int, metavar="N", help="train for N steps instead of as many as the size says")
    parser.add_argument("--resume", action="store_true", help="go on where the last run of this size was stopped")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and samples (default: 0)")
    parser.add_argument("--on", default="reference", metavar="WHOSE", help="whose parts: reference, mine, mine:model,…")
    parser.add_argument(
        "--full", metavar="PATH", help="a larger model on this text (or `hub`: TinyStories); wants a GPU"
    )
    import nano_run as run

    run.main(sys.modules[__name__], parser.parse_args())


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 5.2 {task}")
    except KeyboardInterrupt:
        sys.exit("stopped")
