"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import contextlib
import hashlib
import io
import math
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.func import functional_call

from labkit.spec import equivalent

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _lab():
    """The lab that this file's functions are put into."""
    return sys.modules["lab"]


# ---- adamw_step


@equivalent("adamw_step")
def torchs_way_round(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    """Decay first, then a step whose size holds both corrections, as torch's own source has it."""
    b1, b2 = betas
    m = torch.lerp(m, gradient, 1 - b1)
    v = v.mul(b2).addcmul(gradient, gradient, value=1 - b2)
    root = v.sqrt().div(math.sqrt(1 - b2**step)).add(eps)
    return parameter.mul(1 - lr * weight_decay).addcdiv(m, root, value=-lr / (1 - b1**step)), m, v


@equivalent("adamw_step")
def numpy_in_float64(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    p, g, m, v = (x.detach().numpy().astype(np.float64) for x in (parameter, gradient, m, v))
    m = m + (1 - betas[0]) * (g - m)
    v = v + (1 - betas[1]) * (g**2 - v)
    p = p - lr * weight_decay * p - lr * (m / (1 - betas[0] ** step)) / (np.sqrt(v / (1 - betas[1] ** step)) + eps)
    return tuple(torch.from_numpy(x).float() for x in (p, m, v))


@equivalent("adamw_step")
def one_number_after_the_other(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    new = [torch.empty_like(parameter) for _ in range(3)]
    flat = [x.reshape(-1).tolist() for x in (parameter, gradient, m, v)]
    for i, (p, g, mean, square) in enumerate(zip(*flat, strict=True)):
        mean, square = betas[0] * mean + (1 - betas[0]) * g, betas[1] * square + (1 - betas[1]) * g * g
        u = mean / (1 - betas[0] ** step) / (math.sqrt(square / (1 - betas[1] ** step)) + eps)
        for tensor, x in zip(new, (p - lr * (u + weight_decay * p), mean, square), strict=True):
            tensor.view(-1)[i] = x
    return new


# ---- forward_in


@equivalent("forward_in")
def with_buffers_and_names(model, ids, precision):
    state = {k: (p.type(TYPES[precision])) for k, p in model.named_parameters(remove_duplicate=False)}
    return functional_call(model, {**state, **dict(model.named_buffers())}, args=ids).to(torch.float32)


@equivalent("forward_in")
def swaps_the_weights_for_a_moment(model, ids, precision):
    """Each parameter is put aside, its cast stands in for it, and it comes back whatever happens."""
    kept = []
    try:
        for module in model.modules():
            for name, p in list(module._parameters.items()):
                if p is not None:
                    kept.append((module, name, p))
                    del module._parameters[name]
                    object.__setattr__(module, name, p.to(TYPES[precision]))
        return model(ids).float()
    finally:
        for module, name, p in kept:
            module.__dict__.pop(name, None)
            module._parameters[name] = p


@equivalent("forward_in")
def a_function_of_its_own(model, ids, precision):
    class Cast(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.to(TYPES[precision])

        @staticmethod
        def backward(ctx, gradient):
            return gradient.float()

    return functional_call(model, {k: Cast.apply(p) for k, p in model.named_parameters()}, (ids,)).float()


# ---- accumulate


@equivalent("accumulate")
def log_probabilities_by_hand(model, batches, precision="fp32", scale=1.0):
    keeps = [targets >= 0 for _, targets in batches]
    counted = int(torch.stack([k.sum() for k in keeps]).sum())
    if counted == 0:
        raise ValueError("nothing to learn")
    for p in model.parameters():
        p.grad = None
    loss = 0.0
    for (ids, targets), keep in zip(batches, keeps, strict=True):
        log_probs = _lab().forward_in(model, ids, precision).log_softmax(-1)[keep]
        part = -log_probs.gather(1, targets[keep][:, None]).sum() / counted
        part.backward(torch.tensor(float(scale)))
        loss += float(part.detach())
    return loss


@equivalent("accumulate")
def means_weighted_by_their_share(model, batches, precision="fp32", scale=1.0):
    counts = [(targets != -100).sum().item() for _, targets in batches]
    if not any(counts):
        raise ValueError("nothing to learn")
    model.zero_grad(set_to_none=True)
    loss = 0.0
    for (ids, targets), n in zip(batches, counts, strict=True):
        if n:
            logits = _lab().forward_in(model, ids, precision).transpose(1, 2)
            mean = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100)
            (mean * (scale * n / sum(counts))).backward()
            loss += mean.item() * n / sum(counts)
    return loss


@equivalent("accumulate")
def gradients_added_by_hand(model, batches, precision="fp32", scale=1.0):
    """autograd.grad for each micro-batch's sum, added up, and put into .grad at the end."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    sums, loss, counted = [torch.zeros_like(p) for p in parameters], 0.0, 0
    total = sum(int((targets != -100).sum()) for _, targets in batches)
    if not total:
        raise ValueError("nothing to learn")
    for ids, targets in batches:
        logits = _lab().forward_in(model, ids, precision)
        each = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none"
        )
        part = each.sum() / total
        for s, g in zip(sums, torch.autograd.grad(part * scale, parameters), strict=True):
            s += g
        loss, counted = loss + part.item(), counted + 1
    for p, s in zip(parameters, sums, strict=True):
        p.grad = s
    return loss


# ---- clip_global_norm


@equivalent("clip_global_norm")
def as_torch_does(parameters, limit):
    """With torch's 1e-6 beside the length, and a factor that is always applied."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return 0.0
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    factor = torch.clamp(limit / (norm + 1e-6), max=1.0)
    for g in gradients:
        g.mul_(factor)
    return norm.item()


@equivalent("clip_global_norm")
def one_long_vector(parameters, limit):
    held = [p for p in parameters if p.grad is not None]
    long = torch.cat([p.grad.double().flatten() for p in held] or [torch.zeros(1, dtype=torch.float64)])
    norm = float(long.square().sum().sqrt())
    if norm > limit:
        for p, g in zip(held, (long * limit / norm).split([p.numel() for p in held]), strict=True):
            p.grad = g.view_as(p).float()
    return norm


@equivalent("clip_global_norm")
def python_floats(parameters, limit):
    gradients = [p.grad for p in list(parameters) if p.grad is not None]
    norm = math.hypot(*(x for g in gradients for x in g.flatten().tolist()))
    if norm > limit:
        for g in gradients:
            g.copy_(g / norm * limit)
    return norm


# ---- LossScaler


@equivalent("LossScaler", of="LossScaler.unscale")
def multiplies_by_the_inverse(self, parameters):
    gradients = [p.grad for p in parameters if p.grad is not None]
    bad = 0
    for g in gradients:
        bad += int((~torch.isfinite(g)).sum())
        g *= 1.0 / self.scale
    return bad == 0


@equivalent("LossScaler", of="LossScaler.unscale")
def stops_at_the_first(self, parameters):
    """A step that is not taken needs no unscaled gradients."""
    for p in parameters:
        if p.grad is None:
            continue
        if not np.isfinite(p.grad.numpy()).all():
            return False
        p.grad = p.grad / self.scale
    return True


@equivalent("LossScaler", of="LossScaler.update")
def asks_for_the_remainder(self, finite):
    self.streak = (self.streak + 1) % self.interval if finite else 0
    if not finite:
        self.scale = self.scale * self.backoff
    elif self.streak == 0:
        self.scale = self.scale * self.growth


@equivalent("LossScaler", of="LossScaler.update")
def factor_by_case(self, finite):
    streak = self.streak + 1 if finite else 0
    grown = streak >= self.interval
    self.scale *= self.backoff if not finite else self.growth if grown else 1.0
    self.streak = 0 if grown else streak


# ---- train_step


@equivalent("train_step")
def unscales_through_the_limit(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    """Two branches, one for each kind of run."""
    lab, parameters = _lab(), list(model.parameters())
    if scaler is None:
        loss = lab.accumulate(model, batches, precision)
        norm = lab.clip_global_norm(parameters, limit)
        optimizer.step(lr)
        return {"stepped": True, "norm": norm, "loss": loss}
    loss = lab.accumulate(model, batches, precision=precision, scale=scaler.scale)
    if not scaler.unscale(parameters):
        scaler.update(False)
        return {"loss": loss, "norm": float("inf"), "stepped": False}
    norm = lab.clip_global_norm(parameters, limit)
    optimizer.step(lr)
    scaler.update(True)
    return {"loss": loss, "norm": norm, "stepped": True}


@equivalent("train_step")
def looks_at_the_scaler_first(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    lab = _lab()
    scale = 1.0 if scaler is None else float(scaler.scale)
    report = {"loss": lab.accumulate(model, batches, precision, scale), "norm": math.inf, "stepped": True}
    if scaler is not None:
        report["stepped"] = scaler.unscale(model.parameters())
        scaler.update(report["stepped"])
    if report["stepped"]:
        report["norm"] = lab.clip_global_norm(model.parameters(), limit)
        optimizer.step(lr)
    model.zero_grad()
    return report


# ---- save_checkpoint


@equivalent("save_checkpoint")
def system_calls_only(folder, step, state, keep):
    """os.open, os.write, os.fsync; a temporary name that starts with a dot."""
    os.makedirs(folder, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    part = os.path.join(folder, f".{os.getpid()}-{step}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        left = memoryview(digest.encode("ascii") + b"\n" + buffer.getvalue())
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    final = os.path.join(folder, f"step-{step:08d}.ckpt")
    os.rename(part, final)
    _lab().sync_folder(folder)
    steps = sorted(int(m[1]) for name in os.listdir(folder) if (m := re.fullmatch(r"step-(\d{8,})\.ckpt", name)))
    steps.remove(step)
    for old in steps[::-1][keep - 1 :]:
        os.remove(os.path.join(folder, f"step-{old:08d}.ckpt"))
    return digest


@equivalent("save_checkpoint")
def hashes_what_was_written(folder, step, state, keep):
    """torch.save into the file behind 65 bytes of room, which are filled in when the rest is there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(b" " * 64 + b"\n")
        buffer = io.BytesIO()
        torch.save(state, buffer)
        file.write(buffer.getvalue())
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        file.seek(0)
        file.write(digest.encode())
        file.flush()
        os.fsync(file.fileno())
    new = Path(file.name).replace(folder / f"step-{step:08d}.ckpt")
    _lab().sync_folder(folder)
    kept = [new] + [c for c in reversed(_lab().checkpoints(folder)) if c != new][: keep - 1]
    for each in _lab().checkpoints(folder):
        if each not in kept:
            each.unlink()
    return digest


@equivalent("save_checkpoint")
def tidies_up_after_itself(folder, step, state, keep):
    lab, final = _lab(), Path(folder) / f"step-{step:08d}.ckpt"
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(final.name + ".part")
    try:
        payload = io.BytesIO()
        torch.save(state, payload)
        digest = hashlib.sha256(payload.getvalue()).hexdigest()
        with part.open("wb", buffering=0) as file:
            file.write(digest.encode() + b"\n" + payload.getvalue())
            os.fsync(file)
        os.replace(part, final)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    while len(found := lab.checkpoints(folder)) > keep:
        next(c for c in found if c != final).unlink()
    lab.sync_folder(final.parent)
    return digest


# ---- load_latest


@equivalent("load_latest")
def recursion_over_what_is_left(folder):
    lab = _lab()

    def best(files, lines):
        if not files:
            if lines:
                raise lab.CheckpointError(" / ".join(lines))
            return None
        data = files[-1].read_bytes()
        try:
            assert data[:65] == hashlib.sha256(data[65:]).hexdigest().encode() + b"\n"
            return int(files[-1].name[5:-5]), torch.load(io.BytesIO(data[65:]), weights_only=True), lines
        except Exception as e:
            return best(files[:-1], [*lines, f"{files[-1].name} cannot be used: {e!r}"])

    return best(lab.checkpoints(folder), [])


@equivalent("load_latest")
def all_of_them_then_the_best(folder):
    lab, whole, broken = _lab(), {}, []
    for file in lab.checkpoints(folder):
        with open(file, "rb") as opened:
            head, body = opened.read(64), opened.read()
        if head.decode("ascii", "replace") == hashlib.sha256(body[1:]).hexdigest() and body[:1] == b"\n":
            with contextlib.suppress(Exception):
                whole[lab.step_of(file)] = torch.load(io.BytesIO(body[1:]), weights_only=True)
        if lab.step_of(file) not in whole:
            broken.append(file)
    if whole:
        step = max(whole)
        return step, whole[step], [f"{file.name} is damaged" for file in broken if lab.step_of(file) > step]
    if broken:
        raise lab.CheckpointError("none of these is whole: " + ", ".join(map(str, broken)))
    return None


# ---- resume: the two functions share a layout, so a variant of one keeps to the other's


@equivalent("resume", of="restore")
def copies_in_place(run, state):
    run.step = int(state["step"])
    with torch.no_grad():
        for name, x in run.model.state_dict().items():
            x.copy_(state["model"][name])
    run.optimizer.steps = state["optimizer"]["steps"]
    for part in ("m", "v"):
        setattr(run.optimizer, part, {name: x.clone() for name, x in state["optimizer"][part].items()})
    if state["scaler"] is not None:
        run.scaler.scale, run.scaler.streak = map(type(run.scaler.scale), state["scaler"])
        run.scaler.streak = int(run.scaler.streak)
    run.data = torch.Generator()
    run.data.set_state(state["data"].clone())
    torch.default_generator.set_state(state["torch"])


@equivalent("resume", of="snapshot")
def through_torch_save(run):
    """A copy by writing and reading, which is what the state is for."""
    buffer = io.BytesIO()
    scaler = run.scaler
    parts = {
        "step": run.step,
        "model": dict(run.model.state_dict()),
        "optimizer": run.optimizer.state_dict(),
        "scaler": None if scaler is None else [scaler.scale, scaler.streak],
        "data": run.data.get_state(),
        "torch": torch.default_generator.get_state(),
        "cuda": [],
    }
    torch.save(parts, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)
