"""nanoGPT from end to end: a text becomes tokens, tokens train a model, the model writes text.

Run:  python solution.py                            # all three on Shakespeare, in a few minutes: artifacts/small/
      python solution.py --prepare                  # or one after the other
      python solution.py --train --steps 400        # Ctrl-C keeps what there is; --train --resume goes on
      python solution.py --sample --prompt "HAMLET."
      python solution.py --one-batch                # why a loss that falls proves nothing about the targets
      python solution.py --on mine                  # the same on your own tokenizer (5.1), model (4.4) and sampler (5.4)
      python solution.py --full TinyStories.txt     # 17 million parameters, for a GPU
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
    ### BEGIN SOLUTION
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share
    ### END SOLUTION


def pack(documents: Iterable[Sequence[int]], eot: int, vocab_size: int) -> UInt[np.ndarray, " n"]:
    """All documents in one row, the id `eot` behind each of them, in the smallest unsigned type that holds every id.

    uint16 for a vocabulary of up to 65,536 ids (0 to 65,535), else uint32.  The vocabulary decides, not the ids that
    happen to occur: all files of a run have the same type.  A document without tokens is `eot` alone.
    Raises ValueError for an id outside 0 … vocab_size - 1, which a cast would wrap around in silence.

    >>> pack([[5, 1], [7]], eot=9, vocab_size=10)
    array([5, 1, 9, 7, 9], dtype=uint16)
    """
    # TODO: one long list, a look at its smallest and largest id, one array.  Documents may come from a generator.
    ### BEGIN SOLUTION
    ids = [i for document in documents for i in (*document, eot)]
    if ids and not 0 <= min(ids) <= max(ids) < vocab_size:
        raise ValueError(f"ids from {min(ids)} to {max(ids)} in a vocabulary of {vocab_size}")
    return np.array(ids, dtype=np.uint16 if vocab_size <= 65_536 else np.uint32)
    ### END SOLUTION


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
    ### BEGIN SOLUTION
    if len(tokens) <= length:
        raise ValueError(f"{len(tokens)} tokens are too few for crops of {length} and their targets")
    starts = np.random.default_rng([seed, step]).integers(len(tokens) - length, size=rows)
    windows = np.stack([tokens[start : start + length + 1] for start in starts]).astype(np.int64)
    return torch.from_numpy(windows[:, :-1]), torch.from_numpy(windows[:, 1:])
    ### END SOLUTION


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
    ### BEGIN SOLUTION
    T = x.shape[1]
    for shift in sorted(range(-3, 4), key=lambda s: (abs(s - 1), s)):
        inputs = x[:, max(0, shift) : max(0, T + min(0, shift))]
        targets = y[:, max(0, -shift) : max(0, T - max(0, shift))]
        counts = targets != -100
        if counts.any() and bool((inputs == targets)[counts].all()):
            return shift
    return None
    ### END SOLUTION


# ## Train


def learning_rate(step: int, peak: float, warmup: int, total: int, final: float) -> float:
    """Linear warm-up, then half a cosine.  Steps count from 0, and every one of them learns.

    The first step gets peak / warmup, step warmup - 1 the peak; from there it falls along a cosine to `final`, which
    step total - 1 gets, and all after it.  Without warm-up the cosine leaves the peak at an imagined step -1; if all
    steps are warm-up, the last one gets the peak.
    """
    # TODO: two formulas and the end.  Which share of the way from the peak to the end has been gone?
    ### BEGIN SOLUTION
    if step >= total:
        return final
    if step < warmup:
        return peak * (step + 1) / warmup
    gone = (step + 1 - warmup) / (total - warmup)  # 0 at the peak, 1 at the last step
    return final + (peak - final) * (1 + math.cos(math.pi * gone)) / 2
    ### END SOLUTION


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters for AdamW in two groups: what has two dimensions or more decays, everything else does not.

    So matrices and embeddings shrink, gains and biases stay.  A tensor with two names (a tied output layer) comes once.
    Each group is {"params": [...], "weight_decay": ...}.
    """
    # TODO: its number of dimensions tells a matrix from a gain; its name does not.
    ### BEGIN SOLUTION
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    ### END SOLUTION


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
    ### BEGIN SOLUTION
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x).flatten(0, 1).float(), y.flatten(), ignore_index=-100)  # (B·T, V) and (B·T,)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item(), norm.item()
    ### END SOLUTION


# ## Judge


def estimate_loss(model: nn.Module, batches: Iterable[tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]]) -> float:
    """Mean loss over all targets of all batches that are not -100: batches may differ in size, each target weighs the same.

    In eval mode and without gradients; every module is left in the mode that it came in.
    """
    # TODO: sums, not means.  And who knows in which mode the model was?
    ### BEGIN SOLUTION
    modes = {module: module.training for module in model.modules()}
    model.eval()
    total, counted = 0.0, 0
    with torch.no_grad():
        for x, y in batches:
            total += F.cross_entropy(model(x).flatten(0, 1).float(), y.flatten(), reduction="sum").item()
            counted += int((y != -100).sum())
    for module, mode in modes.items():
        module.training = mode
    return total / counted
    ### END SOLUTION


def bits_per_byte(loss: float, tokens: int, size: int) -> float:
    """The loss of a text of `size` bytes in bits per byte: it can be compared between tokenizers, a loss per token cannot.

    `loss` is in nats per token, `tokens` is how many of them were predicted.

    >>> round(bits_per_byte(math.log(256), tokens=1000, size=1000), 9)    # bytes as tokens, all equally likely
    8.0
    """
    # TODO: nats to bits, tokens to bytes.
    ### BEGIN SOLUTION
    return loss / math.log(2) * tokens / size
    ### END SOLUTION


# ## Sample


def next_token(logits: Float[Tensor, " v"], temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """A token drawn with probability softmax(logits / temperature) among the `top_k` largest logits (None: among all).

    Temperature 0 takes the largest.  A top_k beyond the vocabulary keeps everything.  The logits are not changed.
    """
    # TODO: hide what is not among the top_k, divide, softmax, draw one.
    ### BEGIN SOLUTION
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None and top_k < len(logits):
        smallest = logits.topk(top_k).values[-1]
        logits = logits.masked_fill(logits < smallest, -math.inf)
    probabilities = (logits / temperature).softmax(dim=-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))
    ### END SOLUTION


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
    ### BEGIN SOLUTION
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(max_new_tokens):
            window = torch.tensor([ids[-context:]])  # (1, at most context)
            ids.append(choose(model(window)[0, -1]))
            if ids[-1] == eot:
                break
    return ids[len(prompt) :]
    ### END SOLUTION


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
