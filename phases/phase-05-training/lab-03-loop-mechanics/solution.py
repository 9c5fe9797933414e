"""The mechanics of a training loop: the optimizer, accumulation, clipping, mixed precision, checkpoints and resume.

Run:  python solution.py                 # trains, kills itself with SIGKILL, resumes; is the end bit-identical?
      python solution.py --accumulate    # gradients of a batch in four parts: how wrong is "divide by 4"?
      python solution.py --precision     # what float16 and bfloat16 lose; draws artifacts/precision.png
      python solution.py --forget        # the resumed run when one thing was not saved: does the loss show it?
      python solution.py --library       # the optimizer beside llmcore's
      python solution.py --full          # with any of the above: a larger model, on a GPU if there is one
Does: one training step for any nn.Module that turns ids (B, T) into logits (B, T, V), written out; checkpoints that a
      crash cannot spoil; a snapshot after which a run goes on as if it had never stopped.
Does not: fuse kernels, shard, log, evaluate (llmcore.training does); pack documents (lab 5.2).

Shapes: ids and targets are (B, T), logits (B, T, V).  A target of -100 does not count.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

IGNORE = -100  # the target of padding, prompts and everything else that is not to be learned
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

MicroBatch = tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]  # ids, targets

# ---- one step


def adamw_step(
    parameter: Float[Tensor, "*s"],
    gradient: Float[Tensor, "*s"],
    m: Float[Tensor, "*s"],
    v: Float[Tensor, "*s"],
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> tuple[Float[Tensor, "*s"], Float[Tensor, "*s"], Float[Tensor, "*s"]]:
    """The parameter, m and v after one step; `step` counts from 1.  The arguments are left as they are.

    m and v are running means of the gradient and of its square, and start at zero.  The decay is decoupled: it acts
    on the parameter and is not divided by the root of v.  Loshchilov & Hutter 2019, algorithm 2.

    >>> p, m, v = (torch.tensor([x]) for x in (1.0, 0.0, 0.0))
    >>> adamw_step(p, torch.tensor([-3.0]), m, v, 1, lr=0.1, betas=(0.9, 0.95), eps=0.0, weight_decay=0.5)[0]
    tensor([1.0500])
    """
    # TODO: both running means, both corrected for their start at zero, then the step and the decay side by side.
    ### BEGIN SOLUTION
    beta1, beta2 = betas
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient.square()
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    return parameter - lr * (m_hat / (v_hat.sqrt() + eps) + weight_decay * parameter), m, v
    ### END SOLUTION


class AdamW:
    """adamw_step for every parameter of a model.  Matrices decay; gains and biases do not."""

    def __init__(
        self, model: nn.Module, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8, weight_decay: float = 0.1
    ) -> None:
        self.parameters = dict(model.named_parameters())
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.steps = 0
        self.m = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.v = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step, in place.  A parameter without a gradient stays as it is."""
        self.steps += 1
        for name, p in self.parameters.items():
            if p.grad is not None:
                decay = self.weight_decay if p.ndim > 1 else 0.0
                new, self.m[name], self.v[name] = adamw_step(
                    p, p.grad, self.m[name], self.v[name], self.steps, lr, self.betas, self.eps, decay
                )
                p.copy_(new)

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on: the count, m and v.  The very tensors, not copies."""
        return {"steps": self.steps, "m": self.m, "v": self.v}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copies in what state_dict gave."""
        self.steps = state["steps"]
        for mine, theirs in ((self.m, state["m"]), (self.v, state["v"])):
            for name, tensor in mine.items():
                tensor.copy_(theirs[name])


def forward_in(model: nn.Module, ids: Int[Tensor, "b t"], precision: str) -> Float[Tensor, "b t v"]:
    """Logits in float32, computed in `precision`, while the model's own weights are and stay float32.

    Those are the master weights: a gradient reaches them through the cast, and arrives in float32.
    """
    # TODO: call the model with other weights than its own.  torch.func.functional_call does so.
    ### BEGIN SOLUTION
    weights = {name: p.to(PRECISIONS[precision]) for name, p in model.named_parameters()}
    logits: Tensor = functional_call(model, weights, (ids,))
    return logits.float()
    ### END SOLUTION


def accumulate(model: nn.Module, batches: Sequence[MicroBatch], precision: str = "fp32", scale: float = 1.0) -> float:
    """Leave in `.grad` the gradient of the mean loss over ALL counted targets of all micro-batches, times `scale`.

    Gradients that were there before are dropped; one micro-batch's graph is alive at a time.  Returns that mean loss
    (not scaled), in nats.  Raises ValueError if no target counts.
    """
    # TODO: every counted target has the same weight, whichever micro-batch it stands in.
    ### BEGIN SOLUTION
    counted = sum(int((targets != IGNORE).sum()) for _, targets in batches)
    if not counted:
        raise ValueError("no target counts: there is nothing to learn from")
    model.zero_grad()
    total = 0.0
    for ids, targets in batches:
        logits = forward_in(model, ids, precision)
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum")
        (nats / counted * scale).backward()
        total += nats.item()
    return total / counted
    ### END SOLUTION


def clip_global_norm(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Shorten the gradient, all parameters' together as one long vector, to `limit` if it is longer; in place.

    Returns its length before.  A parameter whose `.grad` is None has no part in it.  Pascanu et al. 2013.
    """
    # TODO: one length for all of them, and one factor.
    ### BEGIN SOLUTION
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(g.norm().item() ** 2 for g in gradients))
    if norm > limit:
        for g in gradients:
            g.mul_(limit / norm)
    return norm
    ### END SOLUTION


class LossScaler:
    """Keeps float16 gradients out of the zeros: the loss is multiplied by `scale`, the gradients are divided by it.

    The rule is torch.amp.GradScaler's: a step whose gradients are not all finite is skipped and halves the scale;
    `interval` good steps in a row double it.  Micikevicius et al. 2018, section 3.2.
    """

    def __init__(self, scale: float = 65536.0, growth: float = 2.0, backoff: float = 0.5, interval: int = 2000) -> None:
        self.scale, self.growth, self.backoff, self.interval = scale, growth, backoff, interval
        self.streak = 0  # good steps since the scale last changed

    @torch.no_grad()
    def unscale(self, parameters: Iterable[nn.Parameter]) -> bool:
        """Divide every gradient by the scale, in place.  Returns whether all of them are finite."""
        # TODO: every parameter that has a gradient.  inf and NaN are both not finite.
        ### BEGIN SOLUTION
        finite = True
        for p in parameters:
            if p.grad is not None:
                p.grad.div_(self.scale)
                finite &= bool(p.grad.isfinite().all())
        return finite
        ### END SOLUTION

    def update(self, finite: bool) -> None:
        """What a step's gradients mean for the next step's scale."""
        # TODO: not finite: back off.  Finite: grow, but only after `interval` of them in a row.
        ### BEGIN SOLUTION
        if not finite:
            self.scale *= self.backoff
            self.streak = 0
            return
        self.streak += 1
        if self.streak == self.interval:
            self.scale *= self.growth
            self.streak = 0
        ### END SOLUTION


def train_step(
    model: nn.Module,
    batches: Sequence[MicroBatch],
    optimizer: AdamW,
    lr: float,
    limit: float,
    precision: str = "fp32",
    scaler: LossScaler | None = None,
) -> dict[str, Any]:
    """One step: gradients of all micro-batches, unscaled, clipped to `limit`, applied.

    Without a scaler the scale is 1 and every step is taken.  With one, a step whose gradients are not all finite
    leaves the weights and the optimizer as they are, and the scaler hears of every step.
    Returns "loss" (mean, nats), "norm" (of the true gradient before clipping; inf when skipped), "stepped" (bool).
    """
    # TODO: you have written all the parts.  In which order do they go?
    ### BEGIN SOLUTION
    loss = accumulate(model, batches, precision, scaler.scale if scaler else 1.0)
    finite = scaler.unscale(model.parameters()) if scaler else True
    norm = math.inf
    if finite:
        norm = clip_global_norm(model.parameters(), limit)
        optimizer.step(lr)
    if scaler:
        scaler.update(finite)
    return {"loss": loss, "norm": norm, "stepped": finite}
    ### END SOLUTION


# ---- checkpoints


class CheckpointError(Exception):
    """There are checkpoints, and none of them can be used; the message names each and why."""


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoint files of a folder, earliest step first.  Whatever else lies there is not one."""
    found = [p for p in Path(folder).glob("*") if re.fullmatch(r"step-\d{8,}\.ckpt", p.name)]
    return sorted(found, key=step_of)


def step_of(file: Path) -> int:
    """The step in a checkpoint's name.

    >>> step_of(Path("runs/step-00000500.ckpt"))
    500
    """
    return int(file.stem.removeprefix("step-"))


def sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut: a folder is a file that lists names, and must reach the disk too."""
    if os.name == "posix":  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_checkpoint(folder: str | Path, step: int, state: dict[str, Any], keep: int) -> str:
    """Write folder/step-00000500.ckpt so that a crash at any moment leaves it whole or absent, and older ones whole.

    Once this returns, a power cut cannot take the file back: its bytes are on the disk, and so is its name.

    The file is the sha256 of the rest (64 hexadecimal digits), a newline, and what torch.save makes of `state`.
    Afterwards at most `keep` checkpoints are left, of the highest steps; the one just written is always among them.
    Makes the folder if need be.  Returns the sha256.
    """
    # TODO: nobody may ever find a half-written file under its final name, nor after a power cut.
    ### BEGIN SOLUTION
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    digest = hashlib.sha256(payload).hexdigest()
    final = folder / f"step-{step:08d}.ckpt"
    temporary = final.with_suffix(".tmp")  # in the same folder: a rename is atomic within one file system only
    with open(temporary, "wb") as file:
        file.write(digest.encode() + b"\n" + payload)
        file.flush()  # from Python to the system
        os.fsync(file.fileno())  # from the system to the disk
    os.replace(temporary, final)
    sync_folder(folder)
    others = [each for each in checkpoints(folder) if each != final]
    for old in others[: max(0, len(others) - (keep - 1))]:
        old.unlink()
    return digest
    ### END SOLUTION


def load_latest(folder: str | Path) -> tuple[int, dict[str, Any], list[str]] | None:
    """The highest step whose checkpoint is whole: the step, its state, and a line for each damaged one passed over.

    Damaged: truncated, altered, foreign, or not to be read by torch.load(weights_only=True), which runs no code of
    the file's.  A line begins with the file's name.  None if the folder has no checkpoint (or is not there): a new
    run may start.  Raises CheckpointError if it has some and none is whole: starting anew would bury them.
    """
    # TODO: from the newest on.  What must be true of a file before torch may look at it?
    ### BEGIN SOLUTION
    damaged: list[str] = []
    for file in reversed(checkpoints(folder)):
        digest, _, payload = file.read_bytes().partition(b"\n")
        if hashlib.sha256(payload).hexdigest().encode() != digest:
            damaged.append(f"{file.name}: truncated, altered or not a checkpoint (its sha256 does not fit)")
            continue
        try:
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except Exception as e:  # torch.load has no error of its own
            damaged.append(f"{file.name}: whole, but not a state that may be loaded ({type(e).__name__})")
            continue
        return step_of(file), state, damaged
    if damaged:
        raise CheckpointError("no checkpoint can be used: " + "; ".join(damaged))
    return None
    ### END SOLUTION


# ---- resume


class Run:
    """A training run.  Its attributes and torch's own random numbers (dropout) decide each step; nothing else does."""

    def __init__(
        self,
        model: nn.Module,
        tokens: Int[Tensor, " n"],
        seed: int,
        rows: int = 4,
        length: int = 32,
        parts: int = 2,  # micro-batches in a step
        peak: float = 3e-3,
        warmup: int = 20,
        precision: str = "fp32",
        scaler: LossScaler | None = None,
    ) -> None:
        self.model, self.tokens, self.precision, self.scaler = model, tokens, precision, scaler
        self.rows, self.length, self.parts = rows, length, parts
        self.peak, self.warmup = peak, warmup
        self.optimizer = AdamW(model)
        self.data = torch.Generator().manual_seed(seed)  # where the next crops are
        self.step = 0  # steps done

    def advance(self) -> dict[str, Any]:
        """One step on fresh crops of the text, at the learning rate of this step."""
        lr = self.peak * min(1.0, (self.step + 1) / self.warmup)
        batches = [self._crops() for _ in range(self.parts)]
        report = train_step(self.model, batches, self.optimizer, lr, 1.0, self.precision, self.scaler)
        self.step += 1
        return report

    def _crops(self) -> MicroBatch:
        at = torch.randint(len(self.tokens) - self.length, (self.rows,), generator=self.data)
        crops = self.tokens[at[:, None] + torch.arange(self.length + 1)]  # (B, T + 1)
        device = next(self.model.parameters()).device
        return crops[:, :-1].to(device), crops[:, 1:].to(device)


def snapshot(run: Run) -> dict[str, Any]:
    """All that `restore` needs, as a dict of tensors, numbers, strings, lists and dicts, which no later step changes.

    How the run was made (model, tokens, lengths, rates) is not in it: whoever resumes makes the same run again.
    """
    # TODO: walk through `advance`.  What does it read that the last step has changed?
    ### BEGIN SOLUTION
    return copy.deepcopy(
        {
            "step": run.step,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "scaler": [run.scaler.scale, run.scaler.streak] if run.scaler else None,
            "data": run.data.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
    )
    ### END SOLUTION


def restore(run: Run, state: dict[str, Any]) -> None:
    """Put a run where `snapshot` saw it.  Its next steps are then, to the last bit, those of the run that was saved."""
    # TODO: everything back into its place.
    ### BEGIN SOLUTION
    run.step = state["step"]
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    if run.scaler:
        run.scaler.scale, run.scaler.streak = state["scaler"]
    run.data.set_state(state["data"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    ### END SOLUTION


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A training loop's mechanics, measured on Shakespeare's bytes.")
    parser.add_argument("--accumulate", action="store_true", help="a batch in four parts: four ways to add them up")
    parser.add_argument("--precision", action="store_true", help="what float16 and bfloat16 lose, and a picture")
    parser.add_argument("--forget", action="store_true", help="resume without one part of the state")
    parser.add_argument("--full", action="store_true", help="a larger model, on a GPU if there is one")
    parser.add_argument("--library", action="store_true", help="the optimizer beside llmcore's")
    parser.add_argument("--kills", type=int, default=3, metavar="N", help="how often the run is killed (default 3)")
    parser.add_argument("--train", metavar="FOLDER", help="train there, or go on from what lies there: Ctrl-C and see")
    arguments = parser.parse_args()
    import loop_report as report

    lab = sys.modules[__name__]
    if arguments.accumulate:
        report.accumulation(lab, arguments.full)
    elif arguments.precision:
        report.precision(lab, arguments.full)
    elif arguments.forget:
        report.forget(lab, arguments.full)
    elif arguments.library:
        report.library(lab)
    elif arguments.train:
        report.train(lab, Path(arguments.train), arguments.full)
    else:
        report.killed(lab, arguments.kills, arguments.full)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 5.3 {task}")
    except KeyboardInterrupt:
        sys.exit("stopped")
