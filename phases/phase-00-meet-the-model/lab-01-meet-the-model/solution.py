"""Six small windows into a language model: its tokens, its guesses, its surprise, one attention map, and how it writes.

Run:  python solution.py                    # all six steps, one after the other: about a minute
      python solution.py next               # one step: tokens, next, surprise, attention, cache or chat
      python solution.py next "Once upon"   # the same with a text of yours
      python solution.py chat --full FILE   # with another model: a GGUF file of GPT-2 or of the Llama family
Does: look at a real model, SmolLM2-135M-Instruct, from outside, through llmcore's own parts.
Does not: say how those parts work inside; every lab after this one does.

`ids` is always a list of token ids, T of them, at least one.  The model takes a batch, so it is given [ids]:
model(torch.tensor([ids])) are logits of shape (1, T, V), a score for each of V tokens, at each position: what comes next?
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from llmcore.model.transformer import MiniGPT
from llmcore.tokenizers.bpe import BPE


def tokens(tokenizer: BPE, text: str) -> list[tuple[int, bytes]]:
    """What the model sees of a text: for each token its id and the bytes it stands for.

    Bytes, because a token may be part of a character.  Put together, they are the text in UTF-8.
    """
    # TODO: the ids of the text, each with its own bytes (tokenizer.encode, tokenizer.decode_bytes).
    ### BEGIN SOLUTION
    return [(i, tokenizer.decode_bytes([i])) for i in tokenizer.encode(text)]
    ### END SOLUTION


def next_token(model: MiniGPT, ids: list[int], n: int) -> list[tuple[int, float]]:
    """The n tokens that the model thinks most likely to come next, each with its probability, best first.

    All V probabilities sum to 1; those of the best n do not.
    """
    # TODO: the logits behind the last token, as probabilities; then the n largest.
    ### BEGIN SOLUTION
    probabilities = model(torch.tensor([ids]))[0, -1].softmax(dim=-1)  # (V,)
    best = probabilities.topk(n)
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    ### END SOLUTION


def surprise(model: MiniGPT, ids: list[int]) -> list[float]:
    """How surprised the model is by each token but the first: -log2 of the probability it gave it, in bits.

    T - 1 numbers.  1 bit: it gave the token 1/2; 10 bits: 1/1024.  Finite, however unlikely a token was.
    """
    # TODO: the log-probability of each token, given all before it.  Which row of logits is about which token?
    ### BEGIN SOLUTION
    log_probabilities = model(torch.tensor([ids]))[0].log_softmax(dim=-1)  # (T, V)
    return [-log_probabilities[t, i].item() / math.log(2) for t, i in enumerate(ids[1:])]
    ### END SOLUTION


def who_looks(model: MiniGPT, ids: list[int], layer: int, head: int) -> Float[Tensor, "T T"]:
    """One attention map: row i says how much of each token's value the head mixes in at token i.  Counted from 0.

    Each row sums to 1, and nobody looks at what comes later.
    """
    # TODO: one map out of model.attention_weights(…), which has shape (layers, batch, heads, T, T).
    ### BEGIN SOLUTION
    return model.attention_weights(torch.tensor([ids]))[layer, 0, head]
    ### END SOLUTION


def write(model: MiniGPT, ids: list[int], n: int) -> list[int]:
    """The n tokens with which the model goes on, always its best one; without a cache.

    n passes, each over all there is so far: n·T + n·(n - 1)/2 tokens are fed to the model.  `ids` stays as it is.
    """
    # TODO: n times, the most likely next token of all so far.  Return the new ones.
    ### BEGIN SOLUTION
    text = list(ids)
    for _ in range(n):
        logits = model(torch.tensor([text]))[0, -1]  # (V,)
        text.append(int(logits.argmax()))
    return text[len(ids) :]
    ### END SOLUTION


def write_cached(model: MiniGPT, ids: list[int], n: int) -> list[int]:
    """The very same n tokens, with a cache: no token is fed to the model twice.

    model(new, cache) keeps what later tokens need of `new`; it gives logits for `new` alone, as if all before were there.
    T + n - 1 tokens are fed in all, none for n = 0.  `ids` stays as it is.
    """
    # TODO: cache = model.new_cache(1, capacity), capacity in tokens.  Feed the prompt once, then only what is new.
    ### BEGIN SOLUTION
    cache = model.new_cache(1, len(ids) + n)
    new = list(ids)
    written: list[int] = []
    while len(written) < n:
        logits = model(torch.tensor([new]), cache)[0, -1]  # (V,)
        new = [int(logits.argmax())]
        written += new
    return written
    ### END SOLUTION


def main() -> None:
    """The tour, whole or one step of it."""
    import model_tour as tour

    parser = argparse.ArgumentParser(
        description="Look into a language model: its tokens, guesses, surprise, attention, and how it writes.",
        epilog="Each step asks for a prediction first; at a terminal it waits for Enter. Without a STEP: all of them.",
    )
    parser.add_argument("step", nargs="?", choices=list(tour.STEPS), metavar="STEP", help=", ".join(tour.STEPS))
    parser.add_argument("text", nargs="?", metavar="TEXT", help="a text of yours instead of the step's own")
    parser.add_argument("--full", default="smollm2", metavar="FILE", help="another model, in a GGUF file")
    parser.add_argument("--out", type=Path, default=tour.FOLDER / "artifacts", metavar="FOLDER",
                        help="where pictures go (artifacts/)")  # fmt: skip
    arguments = parser.parse_args()
    steps = [arguments.step] if arguments.step else list(tour.STEPS)
    tour.run(sys.modules[__name__], steps, arguments.text, arguments.full, arguments.out)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 0.1 {task}")
    except KeyboardInterrupt:
        sys.exit("\nstopped")
