"""What people really get wrong in lab 5.3.  Each replaces one function; its task's tests catch it."""

import copy
import hashlib
import io
import math
import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.func import functional_call

from labkit.spec import alike, mistake

IGNORE = -100
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _lab():
    """The lab that this file's functions are put into."""
    return sys.modules["lab"]


# ---- adamw_step


def wrong_adamw(says):
    return mistake("adamw_step", says=says)


def _means(g, m, v, betas):
    return betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g


def _corrected(m, v, step, betas):
    return m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)


@wrong_adamw(
    says="The decay is added to the gradient: that is Adam with L2, and the decay is divided by √v̂ like all else."
)
def decay_in_the_gradient(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m, v = _means(gradient + weight_decay * parameter, m, v, betas)
    mean, square = _corrected(m, v, step, betas)
    return parameter - lr * mean / (square.sqrt() + eps), m, v


@wrong_adamw(
    says="The parenthesis is in the wrong place: m̂/√v̂ + ε + λθ. ε belongs beside the root, under the fraction."
)
def eps_outside_the_fraction(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m, v = _means(gradient, m, v, betas)
    mean, square = _corrected(m, v, step, betas)
    return parameter - lr * ((mean / square.sqrt()).nan_to_num(0.0) + eps + weight_decay * parameter), m, v


@wrong_adamw(says="ε stands inside the root; AdamW adds it to the root.")
def eps_inside_the_root(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m, v = _means(gradient, m, v, betas)
    mean, square = _corrected(m, v, step, betas)
    return parameter - lr * (mean / (square + eps).sqrt() + weight_decay * parameter), m, v


@wrong_adamw(says="m and v are not corrected for their start at zero: the first steps have the wrong size.")
def no_correction(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m, v = _means(gradient, m, v, betas)
    return parameter - lr * (m / (v.sqrt() + eps) + weight_decay * parameter), m, v


@wrong_adamw(says="The correction counts one step too many: `step` is 1 at the first step already.")
def counts_from_two(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m, v = _means(gradient, m, v, betas)
    mean, square = _corrected(m, v, step + 1, betas)
    return parameter - lr * (mean / (square.sqrt() + eps) + weight_decay * parameter), m, v


@wrong_adamw(
    says="The decay is not multiplied by the learning rate: it stays at full size when the schedule goes to zero."
)
def decay_without_lr(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m, v = _means(gradient, m, v, betas)
    mean, square = _corrected(m, v, step, betas)
    return parameter - lr * mean / (square.sqrt() + eps) - weight_decay * parameter, m, v


@wrong_adamw(says="The decay acts on the parameter after the step; it is the old parameter that decays.")
def decay_after_the_step(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m, v = _means(gradient, m, v, betas)
    mean, square = _corrected(m, v, step, betas)
    new = parameter - lr * mean / (square.sqrt() + eps)
    return new * (1 - lr * weight_decay), m, v


@wrong_adamw(says="m and v are updated in place: your function changes its caller's tensors.")
def updates_in_place(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m.mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
    v.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    mean, square = _corrected(m, v, step, betas)
    return parameter - lr * (mean / (square.sqrt() + eps) + weight_decay * parameter), m, v


@alike("decay_in_the_gradient")
def adam_as_in_2015(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    b1, b2 = betas
    gradient = torch.add(gradient, parameter, alpha=weight_decay)
    m, v = torch.lerp(gradient, m, b1), torch.lerp(gradient.pow(2), v, b2)
    root = (v / (1 - b2**step)) ** 0.5 + eps
    return parameter - lr / (1 - b1**step) * m / root, m, v


@alike("no_correction")
def running_means_as_they_are(parameter, gradient, m, v, step, lr, betas, eps, weight_decay):
    m = torch.lerp(gradient, m, betas[0])
    v = torch.lerp(gradient.pow(2), v, betas[1])
    return parameter * (1 - lr * weight_decay) - lr * torch.div(m, torch.sqrt(v).add(eps)), m, v


# ---- forward_in


@mistake(
    "forward_in", says="The model itself is cast: its weights are rounded, and small updates to them will be lost."
)
def casts_the_model(model, ids, precision):
    return model.to(TYPES[precision])(ids).float()


@mistake("forward_in", says="Computed in float32; only the logits are rounded.")
def casts_the_logits(model, ids, precision):
    return model(ids).to(TYPES[precision]).float()


@mistake("forward_in", says="The cast weights are cut off from the model's own: no gradient reaches them.")
def detaches_the_weights(model, ids, precision):
    weights = {name: p.detach().to(TYPES[precision]).requires_grad_() for name, p in model.named_parameters()}
    return functional_call(model, weights, (ids,)).float()


@mistake("forward_in", says="The logits come in low precision; the loss needs them in float32.")
def returns_low_precision(model, ids, precision):
    return _forward(model, ids, precision)


@mistake("forward_in", says="The precision is ignored: everything is computed in float32.")
def ignores_precision(model, ids, precision):
    return model(ids)


@mistake("forward_in", says="The weights are rounded, but the arithmetic is in float32: they are cast back too early.")
def rounds_the_weights_only(model, ids, precision):
    weights = {name: p.to(TYPES[precision]).float() for name, p in model.named_parameters()}
    return functional_call(model, weights, (ids,)).float()


@alike("casts_the_model")
def half_and_back(model, ids, precision):
    dtype = TYPES[precision]
    for p in model.parameters():
        p.data = p.data.to(dtype)
    return model(ids).float()


def _forward(model, ids, precision):
    return functional_call(model, {n: p.to(TYPES[precision]) for n, p in model.named_parameters()}, (ids,))


# ---- accumulate


def wrong_sum(says):
    return mistake("accumulate", says=says)


def _nats(model, ids, targets, precision, reduction="sum"):
    logits = _lab().forward_in(model, ids, precision)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction=reduction)


def _counted(batches):
    found = sum(int((targets != IGNORE).sum()) for _, targets in batches)
    if not found:
        raise ValueError("no target counts")
    return found


def _accumulated(model, batches, precision, scale, total, zero=True, in_loss=1.0):
    """The sum of all losses over `total`, as it should be but for what a mistake changes."""
    if zero:
        model.zero_grad()
    loss = 0.0
    for ids, targets in batches:
        part = _nats(model, ids, targets, precision) / total
        (part * scale).backward()
        loss += part.item() * in_loss
    return loss


@wrong_sum(says="A mean of means: each micro-batch weighs the same, however many of its targets count.")
def mean_of_means(model, batches, precision="fp32", scale=1.0):
    _counted(batches)
    model.zero_grad()
    loss = 0.0
    for ids, targets in batches:
        if (targets != IGNORE).any():
            part = _nats(model, ids, targets, precision, "mean") / len(batches)
            (part * scale).backward()
            loss += part.item()
    return loss


@wrong_sum(says="The mean of a micro-batch without counted targets is 0/0: the loss and all gradients become NaN.")
def empty_part_is_nan(model, batches, precision="fp32", scale=1.0):
    counted, loss = _counted(batches), 0.0
    model.zero_grad()
    for ids, targets in batches:
        share = int((targets != IGNORE).sum()) / counted
        part = _nats(model, ids, targets, precision, "mean") * share
        (part * scale).backward()
        loss += part.item()
    return loss


@wrong_sum(says="Divided by all targets; those of -100 do not count.")
def counts_the_ignored(model, batches, precision="fp32", scale=1.0):
    _counted(batches)
    return _accumulated(model, batches, precision, scale, sum(targets.numel() for _, targets in batches))


@wrong_sum(says="Not divided at all: a sum over tokens, so the gradient grows with the batch.")
def does_not_divide(model, batches, precision="fp32", scale=1.0):
    _counted(batches)
    return _accumulated(model, batches, precision, scale, 1)


@wrong_sum(says="The mean of each micro-batch, and the gradients only added: too large by the number of micro-batches.")
def sum_of_means(model, batches, precision="fp32", scale=1.0):
    return mean_of_means(model, batches, precision, scale * len(batches)) * len(batches)


@wrong_sum(says="zero_grad inside the loop: only the last micro-batch's gradient is left.")
def zeroes_in_the_loop(model, batches, precision="fp32", scale=1.0):
    counted, loss = _counted(batches), 0.0
    for ids, targets in batches:
        model.zero_grad()
        part = _nats(model, ids, targets, precision) / counted
        (part * scale).backward()
        loss += part.item()
    return loss


@wrong_sum(says="Old gradients are not dropped: the last step's are in this one.")
def keeps_old_gradients(model, batches, precision="fp32", scale=1.0):
    return _accumulated(model, batches, precision, scale, _counted(batches), zero=False)


@wrong_sum(says="The reported loss is scaled, too; only what goes into backward is.")
def reports_the_scaled_loss(model, batches, precision="fp32", scale=1.0):
    return _accumulated(model, batches, precision, scale, _counted(batches), in_loss=scale)


@wrong_sum(says="The scale is ignored: float16 gradients underflow, and unscaling makes them smaller still.")
def ignores_the_scale(model, batches, precision="fp32", scale=1.0):
    return _accumulated(model, batches, precision, 1.0, _counted(batches))


@wrong_sum(says="The gradients are scaled after backward: what float16 has lost by then is lost. Scale the loss.")
def scales_after_backward(model, batches, precision="fp32", scale=1.0):
    loss = _accumulated(model, batches, precision, 1.0, _counted(batches))
    for p in model.parameters():
        if p.grad is not None:
            p.grad.mul_(scale)
    return loss


@wrong_sum(
    says="One backward for the sum of all losses: every micro-batch's graph is alive at once, which saves nothing."
)
def one_graph_for_all(model, batches, precision="fp32", scale=1.0):
    counted = _counted(batches)
    model.zero_grad()
    loss = sum(_nats(model, ids, targets, precision) for ids, targets in batches) / counted
    (loss * scale).backward()
    return loss.item()


@alike("mean_of_means")
def divides_by_accum_steps(model, batches, precision="fp32", scale=1.0):
    if not any((y >= 0).any() for _, y in batches):
        raise ValueError("nothing to learn")
    for p in model.parameters():
        p.grad = None
    total = torch.zeros(())
    for x, y in batches:
        chosen = _lab().forward_in(model, x, precision).log_softmax(-1)[y >= 0]
        if len(chosen):
            loss = -chosen.gather(1, y[y >= 0][:, None]).mean()
            loss.mul(scale / len(batches)).backward()
            total += loss.detach()
    return float(total) / len(batches)


@alike("counts_the_ignored")
def mean_over_every_place(model, batches, precision="fp32", scale=1.0):
    if not any((y >= 0).any() for _, y in batches):
        raise ValueError("nothing to learn")
    places = sum(y.shape[0] * y.shape[1] for _, y in batches)
    model.zero_grad(set_to_none=True)
    total = 0.0
    for x, y in batches:
        each = _nats(model, x, y, precision, "none")
        (each.sum() * (scale / places)).backward()
        total += float(each.detach().sum()) / places
    return total


# ---- clip_global_norm


def wrong_clip(says):
    return mistake("clip_global_norm", says=says)


def _gradients(parameters):
    return [p.grad for p in parameters if p.grad is not None]


def _norm(gradients):
    return math.sqrt(sum(float(g.double().square().sum()) for g in gradients))


def _shorten(gradients, factor):
    for g in gradients:
        g.mul_(factor)


@wrong_clip(says="Each tensor is clipped by itself: that turns the gradient. One length for all, one factor for all.")
def clips_each_tensor(parameters, limit):
    gradients = _gradients(parameters)
    norm = _norm(gradients)
    for g in gradients:
        g.mul_(min(1.0, limit / max(float(g.norm()), 1e-12)))
    return norm


@wrong_clip(says="A gradient within the limit is stretched to it: only what is too long is changed.")
def always_rescales(parameters, limit):
    gradients = _gradients(parameters)
    norm = _norm(gradients)
    if norm:
        _shorten(gradients, limit / norm)
    return norm


@wrong_clip(says="Numbers are cut off at the limit one by one: that clips values and not the length.")
def clips_values(parameters, limit):
    gradients = _gradients(parameters)
    norm = _norm(gradients)
    for g in gradients:
        g.clamp_(-limit, limit)
    return norm


@wrong_clip(says="The root is missing: the squared length is compared with the limit.")
def forgets_the_root(parameters, limit):
    gradients = _gradients(parameters)
    norm = _norm(gradients) ** 2
    _shorten(gradients, min(1.0, limit / norm) if norm else 1.0)
    return norm


@wrong_clip(says="Returns the length after clipping: the log then shows the limit, and never a spike.")
def returns_the_length_after(parameters, limit):
    gradients = _gradients(parameters)
    norm = _norm(gradients)
    _shorten(gradients, min(1.0, limit / norm) if norm else 1.0)
    return min(norm, limit)


@wrong_clip(says="`parameters` is walked twice: a generator is empty the second time, and nothing is clipped.")
def walks_a_generator_twice(parameters, limit):
    norm = _norm(_gradients(parameters))
    if norm > limit:
        _shorten(_gradients(parameters), limit / norm)
    return norm


@wrong_clip(says="Shortened copies: what is in .grad stays as it was.")
def shortens_copies(parameters, limit):
    gradients = _gradients(parameters)
    norm = _norm(gradients)
    if norm > limit:
        gradients = [g * (limit / norm) for g in gradients]
    return norm


@alike("clips_each_tensor")
def unit_by_unit(parameters, limit):
    squares = 0.0
    for p in parameters:
        if p.grad is None:
            continue
        own = p.grad.pow(2).sum()
        squares += float(own)
        if own > limit**2:
            p.grad = p.grad * limit / own.sqrt()
    return squares**0.5


@alike("always_rescales")
def onto_the_sphere(parameters, limit):
    held = [p for p in parameters if p.grad is not None]
    norm = float(torch.cat([p.grad.flatten() for p in held]).norm()) if held else 0.0
    for p in held:
        p.grad = p.grad / max(norm, 1e-30) * limit
    return norm


# ---- LossScaler


def wrong_update(says):
    return mistake("LossScaler", of="LossScaler.update", says=says)


def wrong_unscale(says):
    return mistake("LossScaler", of="LossScaler.unscale", says=says)


@wrong_update(says="A bad step does not end the streak: the good ones must come in a row.")
def streak_survives(self, finite):
    if not finite:
        self.scale *= self.backoff
        return
    _grow(self)


@wrong_update(says="After growing, the count goes on: from then on the scale grows at every step, or never again.")
def streak_not_reset_by_growth(self, finite):
    if not finite:
        self.scale *= self.backoff
        self.streak = 0
        return
    self.streak += 1
    if self.streak >= self.interval:
        self.scale *= self.growth


@wrong_update(says="It grows one step too late: at the `interval`-th good step, not after it.")
def grows_late(self, finite):
    if not finite:
        self.scale *= self.backoff
        self.streak = 0
    elif self.streak == self.interval:
        self.scale *= self.growth
        self.streak = 1
    else:
        self.streak += 1


@wrong_update(says="The factors are your own 2 and ½; the scaler was given others.")
def factors_of_its_own(self, finite):
    if not finite:
        self.scale, self.streak = self.scale / 2, 0
        return
    self.streak += 1
    if self.streak == self.interval:
        self.scale, self.streak = self.scale * 2, 0


@wrong_update(says="The scale stops at 1: gradients too long for float16 need one below it.")
def stops_at_one(self, finite):
    if not finite:
        self.scale = max(1.0, self.scale * self.backoff)
        self.streak = 0
        return
    _grow(self)


@wrong_unscale(says="Only inf is looked for; NaN is not finite either, and it compares False with everything.")
def overlooks_nan(self, parameters):
    good = True
    for g in _gradients(parameters):
        g.div_(self.scale)
        good &= not bool(g.isinf().any())
    return good


@wrong_unscale(says="Only the last parameter decides: the verdict on the others is overwritten.")
def last_parameter_decides(self, parameters):
    good = True
    for g in _gradients(parameters):
        g.div_(self.scale)
        good = bool(g.isfinite().all())
    return good


@wrong_unscale(says="The sum is asked whether it is finite: large but finite gradients overflow in it.")
def asks_the_sum(self, parameters):
    good = True
    for g in _gradients(parameters):
        g.div_(self.scale)
        good &= bool(g.sum().isfinite())
    return good


@wrong_unscale(says="The gradients are checked and not divided.")
def forgets_to_divide(self, parameters):
    return all(bool(g.isfinite().all()) for g in _gradients(parameters))


def _grow(self):
    self.streak += 1
    if self.streak == self.interval:
        self.scale *= self.growth
        self.streak = 0


@alike("streak_survives")
def counts_good_steps(self, finite):
    if finite:
        self.streak = (self.streak + 1) % self.interval
        if self.streak == 0:
            self.scale = self.scale * self.growth
    else:
        self.scale = self.scale * self.backoff


@alike("overlooks_nan")
def compares_with_the_largest(self, parameters):
    worst = 0.0
    for p in parameters:
        if p.grad is not None:
            p.grad.mul_(1 / self.scale)
            worst = max(worst, *p.grad.abs().flatten().tolist())
    return worst != math.inf


# ---- train_step


def wrong_step(says):
    return mistake("train_step", says=says)


def _report(loss, norm, finite):
    return {"loss": loss, "norm": norm, "stepped": finite}


@wrong_step(says="Clipped before unscaling: the limit meets a gradient that is `scale` times too long.")
def clips_before_unscaling(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    lab = _lab()
    loss = lab.accumulate(model, batches, precision, scaler.scale if scaler else 1.0)
    norm = lab.clip_global_norm(model.parameters(), limit)
    finite = scaler.unscale(model.parameters()) if scaler else True
    if finite:
        optimizer.step(lr)
    else:
        norm = math.inf
    if scaler:
        scaler.update(finite)
    return _report(loss, norm, finite)


@wrong_step(says="The step is taken although the gradients are not finite: inf and NaN go into the weights and stay.")
def steps_anyway(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    return _step(model, batches, optimizer, lr, limit, precision, scaler, skip=False)


@wrong_step(says="The scaler is never told: the scale stays where it overflows, and every step is skipped.")
def scaler_not_told(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    return _step(model, batches, optimizer, lr, limit, precision, scaler, tell=())


@wrong_step(says="The scaler hears of skipped steps only: it never grows again.")
def scaler_hears_of_skips_only(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    return _step(model, batches, optimizer, lr, limit, precision, scaler, tell=(False,))


@wrong_step(says="The scale is never taken out: Adam hardly notices, but clipping and the reported norm do.")
def never_unscales(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    lab = _lab()
    loss = lab.accumulate(model, batches, precision, scaler.scale if scaler else 1.0)
    finite = all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    norm = math.inf
    if finite:
        norm = lab.clip_global_norm(model.parameters(), limit)
        optimizer.step(lr)
    if scaler:
        scaler.update(finite)
    return _report(loss, norm, finite)


@wrong_step(says="The precision is not passed on: everything is computed in float32.")
def steps_in_fp32(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    return _step(model, batches, optimizer, lr, limit, "fp32", scaler)


@wrong_step(says="The scaler's scale is not given to `accumulate`, but taken out of the gradients afterwards.")
def loss_not_scaled(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    return _step(model, batches, optimizer, lr, limit, precision, scaler, scale=1.0)


@wrong_step(says="A step for each micro-batch: that is a smaller batch, not an accumulated one.")
def one_step_each(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    reports = [_step(model, [each], optimizer, lr, limit, precision, scaler) for each in batches]
    return _report(sum(r["loss"] for r in reports) / len(reports), reports[-1]["norm"], reports[-1]["stepped"])


@alike("clips_before_unscaling")
def unscales_last(model, batches, optimizer, lr, limit, precision="fp32", scaler=None):
    lab = _lab()
    if scaler is None:
        loss = lab.accumulate(model, batches, precision)
        norm = lab.clip_global_norm(model.parameters(), limit)
        optimizer.step(lr)
        return _report(loss, norm, True)
    loss = lab.accumulate(model, batches, precision, scaler.scale)
    norm = lab.clip_global_norm(list(model.parameters()), limit)
    good = scaler.unscale(list(model.parameters()))
    if good:
        optimizer.step(lr)
    scaler.update(good)
    return _report(loss, norm if good else float("inf"), good)


def _step(model, batches, optimizer, lr, limit, precision, scaler, skip=True, tell=(True, False), scale=None):
    lab = _lab()
    loss = lab.accumulate(model, batches, precision, scale or (scaler.scale if scaler else 1.0))
    finite = scaler.unscale(model.parameters()) if scaler else True
    norm = math.inf
    if finite or not skip:
        norm = lab.clip_global_norm(model.parameters(), limit)
        optimizer.step(lr)
    if scaler and finite in tell:
        scaler.update(finite)
    return _report(loss, norm, finite)


# ---- save_checkpoint


def wrong_save(says):
    return mistake("save_checkpoint", says=says)


def _bytes(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    return digest, digest.encode() + b"\n" + buffer.getvalue()


def _write(path, data, flush=True, sync=True):
    with open(path, "wb") as file:
        file.write(data)
        if flush:
            file.flush()
        if sync:
            os.fsync(file.fileno())


def _prune(folder, keep, but):
    others = [c for c in _lab().checkpoints(folder) if c != but]
    for old in others[: max(0, len(others) - keep + 1)]:
        old.unlink()


def _begun(folder, step, state):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder, folder / f"step-{step:08d}.ckpt", *_bytes(state)


@wrong_save(
    says="Written under its final name: a crash in between leaves half a checkpoint that looks like a whole one."
)
def writes_in_place(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _write(final, data)
    _prune(folder, keep, final)
    return digest


@wrong_save(
    says="The temporary file is in the system's folder for them: between two disks a rename is a copy, and not atomic."
)
def temporary_elsewhere(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    with tempfile.TemporaryDirectory() as elsewhere:
        _write(Path(elsewhere) / "new", data)
        _rename(Path(elsewhere) / "new", final)
    _prune(folder, keep, final)
    return digest


@wrong_save(says="The bytes are not synced before the rename: after a power cut the name may be there before them.")
def no_sync(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _write(final.with_suffix(".tmp"), data, sync=False)
    _rename(final.with_suffix(".tmp"), final)
    _prune(folder, keep, final)
    return digest


@wrong_save(says="The old ones are removed before the new one is in its place: a crash in between leaves none.")
def makes_room_first(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _prune(folder, keep, final)
    _replace(final, data)
    return digest


@wrong_save(
    says="The highest steps are kept even if the one just written is none of them: a run that went back loses its save."
)
def removes_the_new_one(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _replace(final, data)
    for old in _lab().checkpoints(folder)[:-keep]:
        old.unlink()
    return digest


@wrong_save(says="The file of the same step is removed to make way for the rename; os.replace needs no room made.")
def removes_its_own_name_first(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _write(final.with_suffix(".tmp"), data)
    final.unlink(missing_ok=True)
    _rename(final.with_suffix(".tmp"), final)
    _prune(folder, keep, final)
    return digest


@wrong_save(says="One too many is kept: the new one counts, too.")
def keeps_one_more(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _replace(final, data)
    _prune(folder, keep + 1, final)
    return digest


@wrong_save(
    says="fsync before flush: the bytes are still in Python's own buffer when the system is told to write them."
)
def syncs_before_flushing(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    with open(final.with_suffix(".tmp"), "wb", buffering=1 << 24) as file:
        file.write(data)
        os.fsync(file.fileno())
    _rename(final.with_suffix(".tmp"), final)
    _prune(folder, keep, final)
    return digest


@alike("no_sync")
def syncs_after_the_rename(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _write(final.with_suffix(".tmp"), data, sync=False)
    os.replace(final.with_suffix(".tmp"), final)
    with open(final, "rb+") as file:
        os.fsync(file.fileno())
    _lab().sync_folder(folder)
    _prune(folder, keep, final)
    return digest


@wrong_save(says="The folder is not synced after the rename: a power cut may undo the rename, and the save is gone.")
def forgets_the_folder(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _write(final.with_suffix(".tmp"), data)
    os.replace(final.with_suffix(".tmp"), final)
    _prune(folder, keep, final)
    return digest


@wrong_save(says="The last ones written are kept, not those of the highest steps.")
def keeps_by_time(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _replace(final, data)
    others = sorted((c for c in _lab().checkpoints(folder) if c != final), key=lambda c: c.stat().st_mtime)
    for old in others[: max(0, len(others) - keep + 1)]:
        old.unlink()
    return digest


@alike("forgets_the_folder")
def syncs_the_folder_too_early(folder, step, state, keep):
    folder, final, digest, data = _begun(folder, step, state)
    _write(final.with_suffix(".new"), data)
    _lab().sync_folder(folder)
    final.with_suffix(".new").replace(final)
    _prune(folder, keep, final)
    return digest


def _rename(source, final):
    os.replace(source, final)
    _lab().sync_folder(final.parent)


def _replace(final, data):
    _write(final.with_suffix(".tmp"), data)
    _rename(final.with_suffix(".tmp"), final)


@alike("writes_in_place")
def straight_into_the_file(folder, step, state, keep):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"step-{step:08d}.ckpt")
    digest, data = _bytes(state)
    Path(path).write_bytes(data)
    for old in [c for c in _lab().checkpoints(folder) if str(c) != path][::-1][keep - 1 :]:
        os.remove(old)
    return digest


@alike("no_sync")
def closes_and_renames(folder, step, state, keep):
    os.makedirs(folder, exist_ok=True)
    digest, data = _bytes(state)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(data)
    final = Path(folder, f"step-{step:08d}.ckpt")
    _rename(Path(file.name), final)
    _prune(folder, keep, final)
    return digest


# ---- load_latest


def wrong_load(says):
    return mistake("load_latest", says=says)


def _read(file, safe=True):
    digest, _, payload = file.read_bytes().partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise ValueError("the digest does not fit")
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=safe)


def _latest(files, read=_read, all_damaged=True):
    damaged = []
    for file in files:
        try:
            state = read(file)
        except Exception as e:
            damaged.append(f"{file.name}: {e}")
            continue
        return _lab().step_of(file), state, damaged
    if damaged and all_damaged:
        raise _lab().CheckpointError("; ".join(damaged))
    return None


def _newest_first(folder):
    return reversed(_lab().checkpoints(folder))


@wrong_load(says="The digest is not looked at: a flipped bit is loaded as a weight.")
def trusts_the_file(folder):
    def read(file):
        return torch.load(io.BytesIO(file.read_bytes()[65:]), map_location="cpu", weights_only=True)

    return _latest(_newest_first(folder), read)


@wrong_load(says="The newest one is damaged, and an error ends the run: the one before it would have done.")
def gives_up_at_the_first(folder):
    for file in _newest_first(folder):
        try:
            return _lab().step_of(file), _read(file), []
        except Exception as e:
            raise _lab().CheckpointError(f"{file.name}: {e}") from None
    return None


@wrong_load(says="None whole, and None returned: the run starts anew, and its saves push out what might be rescued.")
def starts_anew_quietly(folder):
    return _latest(_newest_first(folder), all_damaged=False)


@wrong_load(says="torch.load without weights_only=True runs whatever code the file holds.")
def runs_the_files_code(folder):
    return _latest(_newest_first(folder), lambda file: _read(file, safe=False))


@wrong_load(says="Sorted by name: step-100000000 comes before step-99999999.")
def sorts_by_name(folder):
    return _latest(sorted(_lab().checkpoints(folder), reverse=True))


@wrong_load(says="Damage is passed over in silence: nobody learns that the disk is failing.")
def says_nothing(folder):
    found = _latest(_newest_first(folder))
    return found and (*found[:2], [])


@wrong_load(says="A file whose digest fits is taken to be a state; what torch.load raises on it ends the run.")
def digest_is_enough(folder):
    damaged = []
    for file in _newest_first(folder):
        digest, _, payload = file.read_bytes().partition(b"\n")
        if hashlib.sha256(payload).hexdigest().encode() == digest:
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
            return _lab().step_of(file), state, damaged
        damaged.append(f"{file.name}: the digest does not fit")
    if damaged:
        raise _lab().CheckpointError("; ".join(damaged))
    return None


@wrong_load(says="No folder yet is an error: the first start of every run looks like that.")
def wants_a_folder(folder):
    if not Path(folder).is_dir() or not any(Path(folder).iterdir()):
        raise FileNotFoundError(folder)
    return _latest(_newest_first(folder))


@alike("says_nothing")
def first_that_loads(folder):
    files = _lab().checkpoints(folder)[::-1]
    for file in files:
        head, rest = file.read_bytes()[:64], file.read_bytes()[65:]
        if hashlib.sha256(rest).hexdigest() == head.decode("latin-1"):
            try:
                return int(file.name[5:-5]), torch.load(io.BytesIO(rest), weights_only=True), []
            except Exception:
                continue
    if files:
        raise _lab().CheckpointError("none is whole")
    return None


@alike("sorts_by_name")
def glob_and_sort(folder):
    return _latest([f for f in sorted(Path(folder).glob("step-*.ckpt"))[::-1] if f.stem[5:].isdigit()])


# ---- resume


def forgets(says):
    return mistake("resume", of="restore", says=says)


def _restore(run, state, but=()):
    for part, put in {
        "step": lambda x: setattr(run, "step", x),
        "model": run.model.load_state_dict,
        "optimizer": run.optimizer.load_state_dict,
        "scaler": lambda x: x and vars(run.scaler).update(scale=x[0], streak=x[1]),
        "data": run.data.set_state,
        "torch": torch.set_rng_state,
    }.items():
        if part not in but:
            put(state[part])


@forgets(says="The optimizer is not restored: its averages start from zero, and the first steps go astray.")
def forgets_the_optimizer(run, state):
    _restore(run, state, but=("optimizer",))


@forgets(says="The optimizer's count is not restored: m and v are, and then corrected as if they were new.")
def forgets_the_count(run, state):
    _restore(run, {**state, "optimizer": {**state["optimizer"], "steps": run.optimizer.steps}})


@forgets(says="torch's random numbers are not restored: dropout drops other units than it would have.")
def forgets_random_numbers(run, state):
    _restore(run, state, but=("torch",))


@forgets(says="The place in the data is not restored: the run reads again what it has read.")
def forgets_the_data(run, state):
    _restore(run, state, but=("data",))


@forgets(says="The step is not restored: the schedule starts anew, warm-up and all.")
def forgets_the_step(run, state):
    _restore(run, state, but=("step",))


@forgets(says="The loss scaler is not restored: it starts too high and skips steps, or too low and loses gradients.")
def forgets_the_scaler(run, state):
    _restore(run, state, but=("scaler",))


@forgets(says="The scaler's streak is not restored: the scale grows at another step.")
def forgets_the_streak(run, state):
    _restore(run, {**state, "scaler": state["scaler"] and [state["scaler"][0], 0]})


@forgets(says="The random numbers are seeded anew: a seed is where they began, not where they are.")
def seeds_anew(run, state):
    _restore(run, state, but=("torch",))
    torch.default_generator.manual_seed(state["step"])


@mistake(
    "resume",
    of="snapshot",
    says="The snapshot holds the very tensors of the run, not copies: the next step changes it.",
)
def snapshot_without_copies(run):
    return {**_snapshot(run), "model": run.model.state_dict()}


@forgets(says="The run goes on with the snapshot's own tensors: its steps change what was saved.")
def restores_the_very_tensors(run, state):
    _restore(run, state, but=("optimizer",))
    run.optimizer.steps, run.optimizer.m, run.optimizer.v = (state["optimizer"][k] for k in ("steps", "m", "v"))


@mistake(
    "resume", of="snapshot", says="Numbers of NumPy's or objects are in it: torch.load(weights_only=True) refuses them."
)
def snapshot_of_objects(run):
    return {**_snapshot(run), "made": Path("run")}


def _snapshot(run):
    return copy.deepcopy(
        {
            "step": run.step,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "scaler": [run.scaler.scale, run.scaler.streak] if run.scaler else None,
            "data": run.data.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": [],
        }
    )


@alike("forgets_random_numbers")
def puts_back_what_it_can_name(run, state):
    run.step = state["step"]
    with torch.no_grad():
        for name, p in run.model.named_parameters():
            p.copy_(state["model"][name])
    run.optimizer.steps = state["optimizer"]["steps"]
    run.optimizer.m = {name: x.clone() for name, x in state["optimizer"]["m"].items()}
    run.optimizer.v = {name: x.clone() for name, x in state["optimizer"]["v"].items()}
    if run.scaler is not None:
        run.scaler.scale, run.scaler.streak = state["scaler"]
    run.data.set_state(state["data"])
