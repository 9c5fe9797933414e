"""Trains one small model for each kind of position, and measures it on texts far longer than it has seen.

Does: the same text, batches, steps and seed for every kind; keeps everything in artifacts/, so that a stopped run goes
      on where it was, bit for bit, and a second run trains and measures nothing anew.
Does not: know the lab's functions; what they change in a model is handed in.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT

Kind = Literal["learned", "sinusoidal", "rope", "alibi"]
KINDS: tuple[Kind, ...] = ("learned", "sinusoidal", "rope", "alibi")


@dataclass(frozen=True)
class Size:
    """How large, how long; everything that changes a trained model stands here."""

    name: str
    context: int  # bytes that a model sees in training
    d_model: int
    n_layers: int
    n_heads: int
    batch: int
    steps: int
    lr: float
    targets: int  # bytes predicted at the end of each window when measuring
    windows: int  # places in the held-out text where that is done


SIZES = {
    "quick": Size("quick", 64, 64, 2, 4, 32, 150, 4e-3, 16, 64),
    "small": Size("small", 64, 64, 2, 4, 32, 800, 4e-3, 16, 256),
    "full": Size("full", 512, 384, 6, 6, 64, 20_000, 1e-3, 64, 256),
}


@dataclass(frozen=True)
class Corpus:
    """A text as byte values; the last tenth is held out."""

    name: str
    train: Int[Tensor, " n"]
    held_out: Int[Tensor, " m"]

    @classmethod
    def of(cls, name: str, text: bytes) -> Corpus:
        ids = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
        cut = len(ids) * 9 // 10
        digest = hashlib.sha256(text).hexdigest()[:12]
        return cls(f"{name}-{digest}", ids[:cut], ids[cut:])


class Store:
    """What a run has made so far: models half or wholly trained, and losses.  Every file is written whole or not at all."""

    def __init__(self, folder: Path, size: Size, corpus: Corpus) -> None:
        self.folder, self.size = folder, size
        self.made_with = f"{size} {corpus.name}"
        self.losses: dict[str, Tensor] = self._read(self._file("losses")).get("losses", {})

    def model(self, kind: Kind) -> dict[str, Any]:
        """The state of this kind's training; empty if it has not begun, or began with other settings."""
        return self._read(self._file(kind))

    def keep(self, kind: str, **state: Any) -> None:
        """Replaces what was kept."""
        self.folder.mkdir(exist_ok=True)
        new = self._file(kind).with_suffix(".new")
        torch.save({"made_with": self.made_with, **state}, new)
        os.replace(new, self._file(kind))

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.size.name}-{kind}.pt"

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError):
            return {}
        return state if state.get("made_with") == self.made_with else {}


def config(kind: Kind, size: Size) -> Config:
    """The four models differ in `position` and in nothing else.  RoPE in the paper's layout, adjacent pairs."""
    return Config(
        vocab_size=256,
        context_length=size.context,
        d_model=size.d_model,
        n_layers=size.n_layers,
        n_heads=size.n_heads,
        position=kind,
        rope_layout="adjacent",
        norm="rmsnorm",
        tie_embeddings=False,
    )


def train(kind: Kind, size: Size, corpus: Corpus, store: Store, device: torch.device) -> MiniGPT:
    """AdamW, a short warm-up, a cosine.  The batches follow from the step's number: the same for every kind."""
    from tqdm import tqdm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MiniGPT(config(kind, size)).to(device)
        if kind == "sinusoidal":  # sines are up to 1 large; token vectors of 0.02 would drown in them
            torch.nn.init.normal_(model.embedding.weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=size.lr, betas=(0.9, 0.99), weight_decay=0.1)
    state, first = store.model(kind), 0
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    if first == size.steps:
        return model.eval()

    def keep(step: int) -> None:
        store.keep(kind, step=step, model=model.state_dict(), optimizer=optimizer.state_dict())

    bar = tqdm(range(first, size.steps), f"{kind:10s}", size.steps, initial=first, disable=not sys.stderr.isatty())
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = size.lr * min(1, (step + 1) / 50) * (0.55 + 0.45 * math.cos(math.pi * step / size.steps))
        rows = batch(corpus.train, size, step).to(device)
        loss = model.loss(rows[:, :-1], rows[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 49:
            bar.set_postfix(loss=f"{loss.item():.2f}")
        if (step + 1) % max(50, size.steps // 40) == 0:  # what a Ctrl-C loses at most
            keep(step + 1)
    keep(size.steps)
    return model.eval()


def batch(ids: Int[Tensor, " n"], size: Size, step: int) -> Int[Tensor, "batch context+1"]:
    """Random places of the text, the same for the same step."""
    rng = torch.Generator().manual_seed(step)
    starts = torch.randint(len(ids) - size.context, (size.batch, 1), generator=rng)
    return ids[starts + torch.arange(size.context + 1)]


# ---- measuring


@dataclass(frozen=True)
class Stretch:
    """Other frequencies for a RoPE model, and the factor on q and k."""

    turn: tuple[float, ...]
    factor: float = 1.0


@contextmanager
def stretched(model: MiniGPT, stretch: Stretch | None) -> Iterator[None]:
    """Inside the block the model turns its pairs at other speeds; behind it, as before."""
    if stretch is None:
        yield
        return
    before = model.turn.clone(), model.rope_factor
    model.turn.copy_(torch.tensor(stretch.turn))
    model.rope_factor = stretch.factor
    try:
        yield
    finally:
        model.turn.copy_(before[0])
        model.rope_factor = before[1]


def with_config(model: MiniGPT, **changes: Any) -> MiniGPT:
    """The same weights under a config that differs in what has no weights."""
    other = MiniGPT(replace(model.config, **changes)).to(model.embedding.weight.device)
    other.load_state_dict(model.state_dict())
    return other.eval()


def window_ends(ids: Int[Tensor, " m"], size: Size, longest: int) -> Int[Tensor, " w"]:
    """Where the measured windows end: evenly spaced, and so far apart that the longest do not overlap."""
    count = min(size.windows, (len(ids) - 1) // longest)
    return longest + torch.arange(count) * ((len(ids) - 1 - longest) // max(1, count - 1))


def loss_at_the_end(
    model: MiniGPT, ids: Int[Tensor, " m"], ends: Int[Tensor, " w"], context: int, targets: int, first: int = 0
) -> Float[Tensor, " w"]:
    """Nats per byte of the last `targets` bytes of each window, seen with `context` bytes; one number a window.

    The bytes to be predicted are the same for every context: what differs is only how much stands before them.
    `first` is the position that the window's first byte is said to have.
    """
    device, found = model.embedding.weight.device, []
    with torch.inference_mode():
        for some in ends.split(max(1, 32_768 // context)):
            rows = ids[some[:, None] + torch.arange(-context, 1)].to(device)  # (W, context + 1)
            positions = (first + torch.arange(context, device=device)).expand(len(some), -1) if first else None
            logits = model.head(model.hidden(rows[:, :-1], positions=positions)[:, -targets:])  # (W, targets, V)
            loss = F.cross_entropy(logits.transpose(1, 2), rows[:, -targets:], reduction="none")
            found.append(loss.mean(dim=1).cpu())
    return torch.cat(found)


def loss_of_frequencies(corpus: Corpus, ends: Int[Tensor, " w"], targets: int) -> float:
    """Nats per byte of the same targets for whoever knows how often each byte occurs, and nothing of what came before."""
    counts = torch.bincount(corpus.train, minlength=256) + 1
    told = corpus.held_out[ends[:, None] + torch.arange(1 - targets, 1)]
    return float(-(counts / counts.sum()).log()[told].mean())


def fine_tune(model: MiniGPT, stretch: Stretch | None, size: Size, corpus: Corpus, context: int, steps: int) -> MiniGPT:
    """A copy, trained a little further on longer windows; as many bytes a step as in the first training."""
    from tqdm import tqdm

    longer = replace(size, context=context, batch=max(1, size.batch * size.context // context))
    copy = with_config(model).train()
    if stretch is not None:
        copy.turn.copy_(torch.tensor(stretch.turn))
        copy.rope_factor = stretch.factor
    optimizer = torch.optim.AdamW(copy.parameters(), lr=size.lr / 4, betas=(0.9, 0.99), weight_decay=0.1)
    for step in tqdm(range(steps), "fine-tuning", leave=False, disable=not sys.stderr.isatty()):
        rows = batch(corpus.train, longer, size.steps + step).to(copy.embedding.weight.device)
        optimizer.zero_grad()
        copy.loss(rows[:, :-1], rows[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(copy.parameters(), 1.0)
        optimizer.step()
    return copy.eval()
