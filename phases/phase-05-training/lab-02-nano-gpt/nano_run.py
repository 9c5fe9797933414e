"""The run of lab 5.2: prepare, train, sample, on whatever the lab's file holds, the learner's or the reference.

A run is one folder, artifacts/small or its like:  train.bin, val.bin, prepared.json  the tokens and where they come from
·  tokenizer.json, config.json, model.safetensors  a model as llmcore and transformers load it  ·  checkpoint.pt  what
`--resume` needs  ·  log.csv, loss.png  how it went.
Does not: hold anything to be written.  nano_parts adapts tokenizers and models, nano_picture draws.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import nano_parts as parts
import numpy as np
import torch
from jaxtyping import UInt
from nano_parts import FULL, SMALL, Run
from torch import Tensor, nn
from tqdm import tqdm

FOLDER = Path(__file__).parent / "artifacts"
FIELDS = ("step", "lr", "loss", "norm", "val_loss", "seconds", "cpu_seconds")  # of all threads, since the first step
CLIP, DECAY, BETAS = 1.0, 0.1, (0.9, 0.95)  # nanoGPT's, and Llama's
VALIDATION_SEED = 2**31  # the batches that are looked at during training are no training batches of any usual seed
TEMPERATURES, TOP_K = (0.5, 0.8, 1.2), 50


def main(lab: ModuleType, arguments: argparse.Namespace) -> None:
    """All that was asked for, in the order in which it builds on itself."""
    from labkit import mine

    try:
        on = mine.parse(arguments.on, offers=("tokenizer", "model", "sampler"))
    except mine.LabError as e:
        sys.exit(str(e))
    if arguments.steps is not None and arguments.steps < 1:
        sys.exit("--steps takes a number from 1 on.")
    size = FULL if arguments.full else SMALL
    own = [part for part in ("tokenizer", "model") if on.module(part)]
    run = Run(size, FOLDER / "-".join([size.name, *own]), arguments.full, arguments.seed, on)
    everything = not (arguments.prepare or arguments.train or arguments.sample or arguments.one_batch)
    if arguments.prepare or arguments.train or arguments.one_batch or everything:
        prepare(lab, run)
    if arguments.one_batch:
        one_batch(lab, run)
    if arguments.train or everything:
        train(lab, run, arguments.steps, arguments.resume)
    if arguments.sample or everything:
        sample(lab, run, arguments.prompt)


# ---- prepare


def prepare(lab: ModuleType, run: Run) -> dict[str, Any]:
    """train.bin and val.bin, each document whole on one side; what they hold is written to prepared.json, last."""
    done = run.folder / "prepared.json"
    key = f"{run.size.name} {run.size.vocab_size} {run.size.held_out} {parts.source(run)}"
    if done.exists() and (found := json.loads(done.read_text())).get("key") == key:
        return dict(found)
    run.folder.mkdir(parents=True, exist_ok=True)  # not before the text is known to exist
    done.unlink(missing_ok=True)
    tokenizer = parts.make_tokenizer(run, (t for t in parts.documents(run) if not is_val(lab, run, t)))
    found = {"key": key, "eot": tokenizer.eot, "vocab_size": tokenizer.vocab_size}
    waiting: dict[str, list[str]] = {"train": [], "val": []}
    held = {side: {"documents": 0, "tokens": 0, "bytes": 0} for side in waiting}
    files = {side: open(run.folder / f"{side}.bin", "wb") for side in waiting}  # noqa: SIM115  # closed below

    def write(side: str) -> None:
        """Some documents at a time, so that memory does not grow with the corpus."""
        ids = lab.pack(map(tokenizer.encode, waiting[side]), tokenizer.eot, tokenizer.vocab_size)
        ids.tofile(files[side])
        found["dtype"] = str(ids.dtype)
        held[side]["tokens"] += len(ids)
        waiting[side].clear()

    try:
        for text in tqdm(parts.documents(run), "encoding", unit=" documents", disable=None, leave=False):
            side = "val" if is_val(lab, run, text) else "train"
            held[side]["documents"] += 1
            held[side]["bytes"] += len(text.encode())
            waiting[side].append(text)
            if len(waiting[side]) == 1000:
                write(side)
        for side in waiting:
            write(side)
    finally:
        for file in files.values():
            file.close()
    if min(h["tokens"] for h in held.values()) <= run.size.context:
        sys.exit("The text is too short: each side needs more tokens than a row is long.")
    found |= held
    done.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{'':10s}{'documents':>10s}{'tokens':>12s}{'bytes':>12s}{'bytes/token':>13s}")
    for side, h in held.items():
        print(f"{side}.bin".ljust(10) + f"{h['documents']:10,}{h['tokens']:12,}{h['bytes']:12,}"
              f"{h['bytes'] / h['tokens']:13.2f}")  # fmt: skip
    return found


def is_val(lab: ModuleType, run: Run, text: str) -> bool:
    """The lab's decision, for this run's share."""
    return bool(lab.is_held_out(text, run.size.held_out))


def tokens_of(run: Run, side: str, prepared: dict[str, Any]) -> UInt[np.ndarray, " n"]:
    """A file as an array that is read where it is looked at."""
    return np.memmap(run.folder / f"{side}.bin", dtype=prepared["dtype"], mode="r")


def whole(tokens: UInt[np.ndarray, " n"], rows: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every token as a target once (but the first, and a rest shorter than a row), in windows side by side."""
    n = (len(tokens) - 1) // length
    for start in range(0, n, rows):
        at = np.arange(start, min(start + rows, n))[:, None] * length + np.arange(length)
        yield torch.from_numpy(tokens[at].astype(np.int64)), torch.from_numpy(tokens[at + 1].astype(np.int64))


# ---- train


def train(lab: ModuleType, run: Run, steps: int | None, resume: bool) -> None:
    """The loop.  Ctrl-C ends it after the step that is under way, and everything is saved."""
    prepared, size = prepare(lab, run), run.size
    tokens, held_out = (tokens_of(run, side, prepared) for side in ("train", "val"))
    model = parts.build(run, prepared["vocab_size"]).to(run.device)
    optimizer = torch.optim.AdamW(lab.decay_groups(model, DECAY), lr=size.peak, betas=BETAS, fused=True)
    total, first, log = load(run, model, optimizer, steps) if resume else (steps or size.steps, 0, [])
    where = parts.on_device(run, lab.train_step, model)
    last = [lab.get_batch(held_out, size.rows, size.context, VALIDATION_SEED, i) for i in range(16)]
    some = [(x.to(run.device), y.to(run.device)) for x, y in last]
    x, y = lab.get_batch(tokens, size.rows, size.context, run.seed, first)
    if (shift := lab.target_shift(x, y)) != 1:
        sys.exit(f"The targets of get_batch are {shift} places ahead of the inputs; they must be 1 ahead.")
    n = sum(p.numel() for p in model.parameters())
    print(f"\n{n:,} parameters on {run.device}; {total - first:,} steps of {size.rows} x {size.context} tokens")
    start = lab.estimate_loss(where.model, some) if first == 0 else log[-1]["val_loss"]
    if first == 0:
        print(f"held-out loss before training {start:.2f}; ln V = {math.log(prepared['vocab_size']):.2f}")
    stop = Stop()
    bar = tqdm(range(first, total), "training", total, initial=first, disable=None, leave=False)
    every, val, clock = max(1, total // 10), start, Clock(log)
    for step in bar:
        lr = lab.learning_rate(step, size.peak, max(1, total // 20), total, size.peak / 10)
        x, y = lab.get_batch(tokens, size.rows, size.context, run.seed, step)
        loss, norm = where.step(model, optimizer, x.to(run.device), y.to(run.device), lr, CLIP)
        if not math.isfinite(loss):
            sys.exit(f"The loss is {loss} at step {step}: try a smaller learning rate, or a longer warm-up.")
        rate = (step + 1 - first) * size.rows * size.context / clock.here()
        bar.set_postfix(loss=f"{loss:.2f}", lr=f"{lr:.1e}", tokens_s=f"{rate:,.0f}")
        ends = step + 1 == total or stop.asked
        if looked := (step + 1) % every == 0 or ends:
            val = lab.estimate_loss(where.model, some)
            bar.clear()
            print(f"step {step + 1:6,}   loss {loss:.2f}   held-out {val:.2f}   lr {lr:.1e}   {rate:,.0f} tokens/s")
        log.append(dict(zip(FIELDS, (step, lr, loss, norm, val if looked else "", *clock.all()), strict=True)))
        if looked:
            save(run, model, optimizer, prepared, total, log)
        if ends:
            break
    stop.over()
    if stop.asked and len(log) < total:
        sys.exit(
            f"stopped after step {len(log)} of {total}; all is saved.  Go on: the same command with --train --resume"
        )
    report(lab, run, where.model, prepared, tokens, held_out, log)


class Clock:
    """Seconds of this run, and of those before that it goes on from; on a busy machine only the CPU's can be compared."""

    def __init__(self, log: list[Any]) -> None:
        self.before = (log[-1]["seconds"], log[-1]["cpu_seconds"]) if log else (0.0, 0.0)
        self.began = time.perf_counter(), time.process_time()

    def here(self) -> float:
        """Since this run was started."""
        return time.perf_counter() - self.began[0]

    def all(self) -> tuple[float, float]:
        """Seconds, and seconds of CPU time, with the runs before."""
        return round(self.before[0] + self.here(), 2), round(self.before[1] + time.process_time() - self.began[1], 2)


class Stop:
    """The first Ctrl-C is a wish to stop, heard after the step; a second one interrupts."""

    def __init__(self) -> None:
        self.asked = False
        self.before = signal.signal(signal.SIGINT, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.over()

    def over(self) -> None:
        """Ctrl-C means again what it meant before."""
        signal.signal(signal.SIGINT, self.before)


def save(run: Run, model: nn.Module, optimizer: Any, prepared: dict[str, Any], total: int, log: list[Any]) -> None:
    """The checkpoint is replaced whole; beside it the model as other programs load it, and the log."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "total": total, "log": log}
    new = run.folder / "checkpoint.new"
    torch.save(state | {"key": prepared["key"], "seed": run.seed}, new)
    os.replace(new, run.folder / "checkpoint.pt")
    parts.export(run, model, prepared["vocab_size"])
    with open(run.folder / "log.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(log)


def load(run: Run, model: nn.Module, optimizer: Any, steps: int | None) -> tuple[int, int, list[Any]]:
    """Where the last run of this folder stood: how many steps it was to have, how many it had, its log."""
    file = run.folder / "checkpoint.pt"
    if not file.exists():
        sys.exit(f"There is nothing to resume in artifacts/{run.folder.name}: run it without --resume first.")
    state = torch.load(file, map_location=run.device, weights_only=True)
    key = json.loads((run.folder / "prepared.json").read_text())["key"]
    if (state["key"], state["seed"]) != (key, run.seed) or steps not in (None, state["total"]):
        sys.exit("That run had another text, seed or number of steps: resume it with the same ones, or begin anew.")
    if len(state["log"]) == state["total"]:
        sys.exit(f"That run has had all its {state['total']:,} steps: there is nothing to resume.")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["total"], len(state["log"]), state["log"]


def report(
    lab: ModuleType,
    run: Run,
    model: nn.Module,
    prepared: dict[str, Any],
    tokens: UInt[np.ndarray, " n"],
    held_out: UInt[np.ndarray, " m"],
    log: list[Any],
) -> None:
    """The loss on the whole held-out text, what it is worth, what it cost, and the picture."""
    import nano_picture as picture

    size, c = run.size, run.size.config(prepared["vocab_size"])
    batches = ((x.to(run.device), y.to(run.device)) for x, y in whole(held_out, size.rows, size.context))
    loss = lab.estimate_loss(model, batches)
    bits = partial(lab.bits_per_byte, tokens=prepared["val"]["tokens"], size=prepared["val"]["bytes"])
    print(f"\n{'all held-out tokens':26s} nats/token   bits/byte")
    lines = picture.references(tokens, held_out, prepared["vocab_size"])
    for name, value in (*lines.items(), ("this model", loss)):
        print(f"{name:26s} {value:10.2f} {bits(value):11.2f}")
    N, D = c.n_parameters, len(log) * size.rows * size.context
    dense, attention = 6 * N * D, 12 * c.n_layers * c.d_model * size.context * D
    seconds, cpu = log[-1]["seconds"], log[-1]["cpu_seconds"]
    print(f"\n{D:,} tokens, {D / prepared['train']['tokens']:.2f} of the text, {D / N:.1f} for each parameter")
    print(f"6·N·D = {dense:.1e} FLOPs; attention adds 12·layers·d·T·D = {attention:.1e}, {attention / dense:.0%}")
    print(f"{seconds:.0f} s, {cpu:.0f} s of CPU time: {(dense + attention) / cpu / 1e9:.0f} GFLOP in each of those")
    picture.draw(log, lines, loss, bits, run.folder / "loss.png")
    print(f"drew artifacts/{run.folder.name}/loss.png; the model is in artifacts/{run.folder.name}")


# ---- sample, and the test that proves nothing


def sample(lab: ModuleType, run: Run, prompt: str) -> None:
    """One prompt at three temperatures.  A text begins as in training: behind the end of another one."""
    tokenizer, model = parts.trained(run)
    theirs = run.on.module("sampler")
    for temperature in TEMPERATURES:
        random = torch.Generator().manual_seed(run.seed)
        choose = partial(lab.next_token, temperature=temperature, top_k=TOP_K, generator=random)
        if theirs:
            choose = partial(theirs.sample, temperature=temperature, top_k=TOP_K, top_p=None, generator=random)
        ids = [tokenizer.eot, *tokenizer.encode(prompt)]
        new = lab.generate(model, ids, 150, run.size.context, tokenizer.eot, choose)
        print(
            f"\n---- temperature {temperature}, top {TOP_K}\n{tokenizer.decode([i for i in ids[1:] + new if i != tokenizer.eot])}"
        )


def one_batch(lab: ModuleType, run: Run, steps: int = 60) -> None:
    """Train on one batch with right targets and with wrong ones: the wrong ones are easier."""
    prepared = prepare(lab, run)
    windows, _ = lab.get_batch(tokens_of(run, "train", prepared), 8, 34, run.seed, 0)  # (8, 34)
    x = windows[:, :32]
    print(f"\none batch of 8 x 32 tokens, {steps} steps\n{'targets':24s}loss before   after   target_shift")
    for name, ahead in (("right: one ahead", 1), ("not shifted", 0), ("two ahead", 2)):
        y = windows[:, ahead : ahead + 32]
        model = parts.build(run, prepared["vocab_size"])
        optimizer = torch.optim.AdamW(lab.decay_groups(model, DECAY), lr=run.size.peak, betas=BETAS)
        losses = [lab.train_step(model, optimizer, x, y, run.size.peak, CLIP)[0] for _ in range(steps)]
        shift = lab.target_shift(x, y)
        print(f"{name:24s}{losses[0]:11.2f}{losses[-1]:8.3f}{shift!s:>15s}{'  <-' * (shift != 1)}")
