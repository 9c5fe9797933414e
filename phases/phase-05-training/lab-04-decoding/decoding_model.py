"""What lab 5.4 decodes with: a trained model behind the lab's `Model`, its tokenizer, and real text that it never saw.

Does: keep keys and values between questions, so that strategies may ask about whole texts and pay for one token.
Does not: choose tokens; the lab's file does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmcore import assets, mini
from llmcore.mini.texts import texts as mini_texts
from llmcore.model import pretrained
from llmcore.model.transformer import MiniGPT
from llmcore.tokenizers.bpe import BPE

EOT = "<|endoftext|>"
PROMPT = 16  # tokens of real text that each strategy goes on from


class Cached:
    """llmcore's model as the lab's Model: of texts that only grew by a token, it reads that token alone.

    Args:
        width: texts in one question, at most.
        capacity: tokens in a text, at most.
    """

    def __init__(self, model: MiniGPT, eot: int, width: int, capacity: int) -> None:
        self.model, self.eot, self.width, self.capacity = model, eot, width, capacity
        self.tokens = 0  # that went through the model, prompts not counted
        self._rows: dict[tuple[int, ...], int] = {}  # each text of the last question, and its row

    @torch.no_grad()
    def __call__(self, texts: Sequence[Sequence[int]]) -> tuple[Float[Tensor, "texts v"], Float[Tensor, "texts t d"]]:
        """As the lab's Model says."""
        texts = torch.as_tensor(texts).tolist()
        rows = [self._rows.get(tuple(text[:-1]), -1) for text in texts]
        spare = self.width - len(texts)  # rows that nobody asked about: the cache has a fixed number
        if min(rows) < 0:
            self.cache = self.model.new_cache(self.width, self.capacity)
            self.states = self.model.hidden(torch.tensor(texts + texts[:1] * spare), self.cache)
        else:
            if (picked := rows + rows[:1] * spare) != list(range(self.width)):
                self.cache.select(torch.tensor(picked))
                self.states = self.states[picked]
            newest = torch.tensor([text[-1:] for text in texts + texts[:1] * spare])
            self.states = torch.cat([self.states, self.model.hidden(newest, self.cache)], dim=1)
            self.tokens += len(texts)
        self._rows = {tuple(text): row for row, text in enumerate(texts)}
        states = self.states[: len(texts)]
        return self.model.head(states[:, -1]), states


class Whole:
    """A model without a cache, such as lab 4.4's: every question reads every text from its beginning."""

    def __init__(self, model: nn.Module, eot: int) -> None:
        self.model, self.eot, self.tokens = model, eot, 0

    @torch.no_grad()
    def __call__(self, texts: Sequence[Sequence[int]]) -> tuple[Float[Tensor, "texts v"], Float[Tensor, "texts t d"]]:
        """As the lab's Model says.  The state is what the output layer gets."""
        ids, seen = torch.as_tensor(texts), []
        head: Any = self.model.head
        hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits = self.model(ids)
        finally:
            hook.remove()
        self.tokens += ids.numel()
        return logits[:, -1], seen[0]


@dataclass
class Set:
    """A model, its tokenizer, and real text."""

    name: str
    model: nn.Module  # ids (B, T) to logits (B, T, V)
    ask: Callable[[int, int], Any]  # (width, capacity) to the lab's Model
    encode: Callable[[str], list[int]]
    decode: Callable[[Iterable[int]], str]
    eot: int
    sources: list[list[list[int]]]  # for each source its documents, none of which the model was trained on


def load(arguments: argparse.Namespace) -> Set:
    """What --model and --on ask for.  Ends the program with one line if it is not to be had."""
    from labkit import mine

    try:
        on = mine.parse(arguments.on, offers=("tokenizer", "model"))
        model, bpe = _published(arguments.model)
    except (mine.LabError, assets.AssetError, ValueError, OSError) as e:
        sys.exit(str(e))
    eot = bpe.special_tokens[EOT]
    encode, decode = bpe.encode_ordinary, bpe.decode
    if theirs := on.module("tokenizer"):
        own = _their_tokenizer(theirs, bpe)
        encode, decode, eot = own.encode, own.decode, own.eot

    def cached(width: int, capacity: int) -> Cached:
        return Cached(model, eot, width, capacity)

    found = Set(arguments.model, model, cached, encode, decode, eot, [])
    if theirs := on.module("model"):
        own_model = _their_model(theirs, model)
        found.model, found.ask = own_model, lambda width, capacity: Whole(own_model, eot)
    found.sources = _real(arguments.model, encode, eot)
    return found


def _published(name: str) -> tuple[MiniGPT, BPE]:
    if name == "mini":
        return mini.load()
    model = pretrained.load(name)
    bpe = BPE.load(name) if name in assets.catalogue() else BPE.load(Path(name) / "tokenizer.json")
    if EOT not in bpe.special_tokens:
        raise ValueError(f"{name}: its tokenizer has no {EOT}, so no text of it could end")
    return model, bpe


def _their_tokenizer(theirs: ModuleType, bpe: BPE) -> Any:
    """Lab 5.1's BPE with the ranks of this model: it reads the format that the library writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ranks.tiktoken"
        bpe.save(path)
        own = theirs.BPE.load(path)
    if own.eot != bpe.special_tokens[EOT]:
        raise SystemExit(
            f"Lab 5.1's tokenizer ends a text with id {own.eot}, this model with {bpe.special_tokens[EOT]}"
        )
    return own


def _their_model(theirs: ModuleType, model: MiniGPT) -> nn.Module:
    """Lab 4.4's model with these weights: its parameters have the library's names."""
    c = model.config
    config = theirs.Config(
        c.vocab_size, c.d_model, c.n_layers, c.n_heads, c.n_kv_heads, c.d_ff,
        rope_theta=c.rope_theta, norm_eps=c.norm_eps, tie_embeddings=c.tie_embeddings,
    )  # fmt: skip
    own: nn.Module = theirs.build(config)
    own.load_state_dict(model.state_dict())
    return own.eval()


def _real(name: str, encode: Callable[[str], list[int]], eot: int) -> list[list[list[int]]]:
    """Held-out documents: those of a run of lab 5.2 where its folder has some, else those of the small model."""
    kept = Path(name) / "val.bin"
    if kept.exists():
        ids = np.fromfile(kept, dtype=np.uint16)
        ends = [0, *(np.flatnonzero(ids == eot) + 1).tolist()]
        return [[ids[a : b - 1].tolist() for a, b in zip(ends, ends[1:], strict=False)]]
    try:
        held_out = mini_texts().held_out
    except assets.AssetMissing as missing:
        sys.exit(str(missing).replace(assets.COMMAND, "lab assets"))
    return [[encode(text) for text in documents] for documents in held_out.values()]
