"""What lab 5.3 must do.  The same file judges lab.py, solution.py and every submission.

It runs outside the process that holds the lab: `lab.f(x)` sends copies and gets plain values back, and a model or a run
stays over there as a handle.  What has to be looked at beside the lab (gradients, files, calls of the system) is taken
by a *probe*, which knows no expected value.
"""

import contextlib
import copy
import hashlib
import io
import math
import os
import pickle
import re
import shutil
import tempfile
import types
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.adamw import adamw

from labkit.count import LiveMemory
from labkit.spec import check, task

IGNORE = -100
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TinyLM(nn.Module):
    """The smallest model with all that matters here: matrices, a bias, dropout, ids in and logits out."""

    def __init__(self, sizes, dropout=0.0):
        super().__init__()
        vocab, width, hidden = sizes
        self.embedding = nn.Embedding(vocab, width)
        self.hidden = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocab, bias=False)

    def forward(self, ids):
        return self.head(self.dropout(F.gelu(self.hidden(self.embedding(ids)))))


class Product(nn.Module):
    """Embedding times head, and nothing else: logits that can be computed by hand."""

    def __init__(self, sizes):
        super().__init__()
        vocab, width = sizes
        self.embedding = nn.Embedding(vocab, width)
        self.head = nn.Linear(width, vocab, bias=False)

    def forward(self, ids):
        return self.head(self.embedding(ids))


def normal(rng, *shape):
    return torch.randn(*shape, generator=rng)


def number(rng, low, high):
    """A whole number in [low, high]."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def uniform(rng, low, high):
    return low + (high - low) * float(torch.rand((), generator=rng))


def draw_model(rng):
    """A model of sizes that never coincide, with weights of the spec's own."""
    sizes = (number(rng, 11, 13), number(rng, 4, 6), number(rng, 7, 9))
    model = TinyLM(sizes)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.7 * normal(rng, *p.shape))
    return sizes, model


def placed(lab, sizes, model, dropout=0.0):
    """The same model over there."""
    return lab.probe(make, list(sizes), model.state_dict(), dropout)


def draw_batches(rng, vocab, rows=None, empty=False):
    """Micro-batches of different shapes, in which different numbers of targets count."""
    batches = []
    for i in range(3):
        shape = (rows or 1 + i, 3 + 2 * i)
        ids, targets = (torch.randint(vocab, shape, generator=rng) for _ in range(2))
        targets[torch.rand(shape, generator=rng) < (0.7, 0.1, 0.4)[i]] = IGNORE
        targets[0, 0], targets[-1, -1] = IGNORE, 1
        batches.append((ids, targets))
    if empty:
        batches[1] = (batches[1][0], torch.full_like(batches[1][1], IGNORE))
    return batches


def mean_loss(model, batches):
    """In float64, from the definition: minus the mean log-probability of the targets that count."""
    log_probs = []
    for ids, targets in batches:
        for row, wanted in zip(model(ids).log_softmax(-1), targets, strict=True):
            log_probs += [row[t, int(k)] for t, k in enumerate(wanted) if k != IGNORE]
    return -torch.stack(log_probs).mean()


def oracle(model, batches):
    """The loss and the gradient of each parameter, by name, in float64."""
    model = copy.deepcopy(model).double()
    loss = mean_loss(model, batches)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    names = [name for name, _ in model.named_parameters()]
    return loss.item(), dict(zip(names, gradients, strict=True))


def compare_all(got, want, why, **tolerance):
    for name, tensor in want.items():
        check.close(got[name], tensor, why=f"{why}: {name}", **tolerance)


class TorchsAdamW:
    """torch's AdamW by its function: making an optimizer object would first import torch's compiler, for 1.5 s."""

    def __init__(self, parameters, betas, eps):
        self.parameters, self.betas, self.eps = parameters, betas, eps
        self.m, self.v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
        self.steps = [torch.zeros(()) for _ in parameters]

    @torch.no_grad()
    def step(self, gradients, lr, decays):
        each = zip(self.parameters, gradients, self.m, self.v, self.steps, decays, strict=True)
        for p, g, m, v, steps, decay in each:
            adamw(
                [p], [g], [m], [v], [], [steps], foreach=False, amsgrad=False, beta1=self.betas[0], beta2=self.betas[1],
                lr=lr, weight_decay=decay, eps=self.eps, maximize=False,
            )  # fmt: skip


# ---- adamw_step


@task("adamw_step")
def test_adamw_by_hand(lab):
    """The README's step: m 0.5·4 = 2, corrected 4; v 0.25·16 = 4, corrected 16; 2 - 0.1·(4/(4 + 1) + 0.5·2)."""
    p, g, zero = torch.tensor([2.0]), torch.tensor([4.0]), torch.zeros(1)
    new, m, v = lab.adamw_step(p, g, zero, zero, 1, 0.1, (0.5, 0.75), 1.0, 0.5)
    check.close(m, torch.tensor([2.0]), why="m after one step")
    check.close(v, torch.tensor([4.0]), why="v after one step")
    check.close(new, torch.tensor([1.82]), why="the parameter after one step")


@task("adamw_step")
def test_adamw_is_torchs(lab, rng):
    """Several steps of torch.optim.AdamW in float64, with an eps that can be seen."""
    for _ in range(2):
        shape = (number(rng, 2, 3), number(rng, 4, 5))
        lr, decay, eps = uniform(rng, 0.05, 0.1), uniform(rng, 0.2, 0.5), uniform(rng, 0.1, 0.3)
        betas = uniform(rng, 0.5, 0.7), uniform(rng, 0.8, 0.95)
        p = normal(rng, *shape)
        theirs = TorchsAdamW([p.double()], betas, eps)
        m, v = torch.zeros(shape), torch.zeros(shape)
        for step in range(1, 5):
            g = normal(rng, *shape)
            theirs.step([g.double()], lr, [decay])
            p, m, v = lab.adamw_step(p, g, m, v, step, lr, betas, eps, decay)
            check.close(m, theirs.m[0], why=f"m after step {step}")
            check.close(v, theirs.v[0], why=f"v after step {step}")
            check.close(p, theirs.parameters[0], why=f"the parameter after step {step}")


@task("adamw_step")
def test_adamw_from_the_middle(lab, rng):
    """One step with m and v that something left: the step number alone says how much to correct."""
    p, g, m, v = normal(rng, 5), normal(rng, 5), normal(rng, 5), normal(rng, 5).square()
    for step in (1, 3, 40):
        want = []
        for x, dx, mean, square in zip(p.tolist(), g.tolist(), m.tolist(), v.tolist(), strict=True):
            mean, square = 0.6 * mean + 0.4 * dx, 0.9 * square + 0.1 * dx * dx
            mean, square = mean / (1 - 0.6**step), square / (1 - 0.9**step)
            want.append(x - 0.05 * (mean / (math.sqrt(square) + 0.2) + 0.3 * x))
        new, _, _ = lab.adamw_step(p, g, m, v, step, 0.05, (0.6, 0.9), 0.2, 0.3)
        check.close(new, torch.tensor(want), why=f"one step, number {step}")


@task("adamw_step")
def test_adamw_without_gradient(lab, rng):
    """Nothing but the decay: it shrinks the parameter whatever m and v are."""
    p, zero = normal(rng, 3, 2), torch.zeros(3, 2)
    new, _, _ = lab.adamw_step(p, zero, zero, zero, 2, 0.1, (0.9, 0.95), 1e-8, 0.4)
    check.close(new, p * (1 - 0.1 * 0.4), why="no gradient yet, lr 0.1, decay 0.4")


@task("adamw_step")
def test_adamw_is_blind_to_scale(lab, rng):
    """A gradient of 1e-6 moves a weight as far as one of 1000."""
    p, g, zero = normal(rng, 4), normal(rng, 4), torch.zeros(4)
    for factor in (1e-6, 1e3):
        new, _, _ = lab.adamw_step(p, factor * g, zero, zero, 1, 0.1, (0.8, 0.99), 1e-12, 0.0)
        check.close(new, p - 0.1 * g.sign(), why=f"gradients of about {factor:g}, no decay")


@task("adamw_step")
def test_adamw_leaves_its_arguments_alone(lab, rng):
    tensors = [normal(rng, 3, 4) for _ in range(3)] + [normal(rng, 3, 4).square()]
    check.equal(lab.probe(changed_by_adamw, tensors), [], why="your function changed these arguments")


# ---- forward_in


@task("forward_in")
def test_forward_by_hand(lab):
    """1 + 2⁻⁹ is 1 in bfloat16; float16 and float32 can tell them apart."""
    state = {"embedding.weight": torch.ones(1, 2), "head.weight": torch.tensor([[1 + 2**-9, -1.0]])}
    for precision, want in (("bf16", 0.0), ("fp16", 2**-9), ("fp32", 2**-9)):
        model = lab.probe(make_product, [1, 2], state)
        got = lab.forward_in(model, torch.zeros(1, 1, dtype=torch.int64), precision)
        check.equal(got.tolist(), [[[want]]], why=f"(1 + 2⁻⁹)·1 - 1·1 in {precision}")


@task("forward_in")
def test_forward_rounds_results(lab):
    """Weights that bfloat16 can hold, and a sum that it cannot: 1·1 + 1·2⁻⁹ comes out as 1."""
    state = {"embedding.weight": torch.ones(1, 2), "head.weight": torch.tensor([[1.0, 2**-9]])}
    for precision, want in (("fp32", 1 + 2**-9), ("bf16", 1.0), ("fp16", 1 + 2**-9)):
        model = lab.probe(make_product, [1, 2], state)
        got = lab.forward_in(model, torch.zeros(1, 1, dtype=torch.int64), precision)
        check.equal(got.tolist(), [[[want]]], why=f"1·1 + 1·2⁻⁹ in {precision}")


@task("forward_in")
def test_forward_values(lab, rng):
    sizes, model = draw_model(rng)
    ids = torch.randint(sizes[0], (2, 5), generator=rng)
    with torch.no_grad():
        exact = model(ids)
    got = lab.forward_in(placed(lab, sizes, model), ids, "fp32")
    check.close(got, exact, why="fp32")
    for precision, dtype in HALF.items():
        with torch.no_grad():
            want = copy.deepcopy(model).to(dtype)(ids).float()
        got = lab.forward_in(placed(lab, sizes, model), ids, precision)
        check.equal(str(got.dtype), "torch.float32", why=f"the type of the logits, {precision}")
        scale = float(exact.abs().max())
        tolerance = 4 * torch.finfo(dtype).eps * scale
        check.close(got, want, why=f"{precision}", rtol=0.0, atol=tolerance)


@task("forward_in")
def test_forward_leaves_the_master_weights(lab, rng):
    sizes, model = draw_model(rng)
    ids = torch.randint(sizes[0], (2, 5), generator=rng)
    for precision in ("bf16", "fp16"):
        there = placed(lab, sizes, model)
        lab.forward_in(there, ids, precision)
        state = there.state_dict()
        check.equal(sorted({str(x.dtype) for x in state.values()}), ["torch.float32"], why="types of the weights after")
        check.equal(all(torch.equal(state[k], v) for k, v in model.state_dict().items()), True, why="their values")


@task("forward_in")
def test_forward_gradients(lab, rng):
    """They arrive at the model's own weights, in float32."""
    sizes, model = draw_model(rng)
    ids = torch.randint(sizes[0], (2, 5), generator=rng)
    upstream = normal(rng, 2, 5, sizes[0])
    for precision in ("fp32", "bf16", "fp16"):
        reference = copy.deepcopy(model).double()
        (reference(ids) * upstream).sum().backward()
        got = lab.probe(gradients_through, placed(lab, sizes, model), ids, precision, upstream)
        for name, p in reference.named_parameters():
            scale = float(p.grad.abs().max())
            limit = {"fp32": 1e-5, "bf16": 0.05, "fp16": 0.005}[precision] * scale
            check.close(got[name], p.grad.float(), why=f"the gradient at {name}, {precision}", rtol=0.0, atol=limit)


@task("forward_in")
def test_backward_is_in_low_precision_too(lab, rng):
    """A gradient of 1e-9 is 0 in float16, and is not in bfloat16."""
    sizes, model = draw_model(rng)
    ids = torch.randint(sizes[0], (2, 5), generator=rng)
    for precision, vanishes in (("fp16", True), ("bf16", False)):
        got = lab.probe(
            gradients_through, placed(lab, sizes, model), ids, precision, torch.full((2, 5, sizes[0]), 1e-9)
        )
        check.equal(bool((got["head.weight"] == 0).all()), vanishes, why=f"gradients of 1e-9 are all 0 in {precision}")


# ---- accumulate


def compare_accumulated(lab, sizes, model, batches, why):
    there = placed(lab, sizes, model)
    loss, gradients = oracle(model, batches)
    check.close(lab.accumulate(there, batches), loss, why=f"{why}: the loss", rtol=1e-4, atol=1e-6)
    compare_all(lab.probe(gradients_of, there), gradients, why)


@task("accumulate")
def test_accumulate_one_batch(lab, rng):
    sizes, model = draw_model(rng)
    compare_accumulated(lab, sizes, model, draw_batches(rng, sizes[0])[:1], "a single micro-batch")


@task("accumulate")
def test_accumulate_several(lab, rng):
    """Different numbers of counted targets, of rows, and of columns."""
    sizes, model = draw_model(rng)
    compare_accumulated(lab, sizes, model, draw_batches(rng, sizes[0]), "three micro-batches")


@task("accumulate")
def test_accumulate_equal_parts(lab, rng):
    """Every target counts, and all parts are as large: here the usual shortcuts are right."""
    sizes, model = draw_model(rng)
    batches = [tuple(torch.randint(sizes[0], (2, 5), generator=rng) for _ in range(2)) for _ in range(4)]
    compare_accumulated(lab, sizes, model, batches, "four equal micro-batches, all targets count")


@task("accumulate")
def test_accumulate_an_empty_part(lab, rng):
    sizes, model = draw_model(rng)
    compare_accumulated(lab, sizes, model, draw_batches(rng, sizes[0], empty=True), "in the second, no target counts")


@task("accumulate")
def test_accumulate_scaled(lab, rng):
    """The scale is in the gradients and not in the loss."""
    sizes, model = draw_model(rng)
    batches, scale = draw_batches(rng, sizes[0]), uniform(rng, 50, 500)
    there = placed(lab, sizes, model)
    loss, gradients = oracle(model, batches)
    check.close(lab.accumulate(there, batches, "fp32", scale), loss, why="the loss", rtol=1e-4, atol=1e-6)
    want = {name: g * scale for name, g in gradients.items()}
    compare_all(lab.probe(gradients_of, there), want, f"scale {scale:.0f}", atol=1e-5 * scale)


@task("accumulate")
def test_accumulate_in_precision(lab):
    """256·(1 + 2⁻⁹) - 256 is 0.5 in float32 and 0 in bfloat16, so the loss is ln(1 + e^-0.5) and ln 2."""
    state = {"embedding.weight": torch.ones(2, 2), "head.weight": torch.tensor([[256.5, -256.0], [0.0, 0.0]])}
    zero = torch.zeros(1, 1, dtype=torch.int64)
    for precision, want in (("bf16", math.log(2)), ("fp32", math.log(1 + math.exp(-0.5)))):
        model = lab.probe(make_product, [2, 2], state)
        got = lab.accumulate(model, [(zero, zero)], precision)
        check.close(got, want, why=f"logits 0.5 and 0, computed in {precision}", rtol=1e-4, atol=1e-6)


@task("accumulate")
def test_accumulate_saves_small_gradients(lab, rng):
    """In float16 a tiny gradient is lost unless the loss is scaled before backward."""
    sizes, model = draw_model(rng)
    with torch.no_grad():
        model.head.weight.mul_(1e-5)  # so that little of the gradient passes through
    batches = draw_batches(rng, sizes[0])
    _, want = oracle(model, batches)
    there = placed(lab, sizes, model)
    scale = 2.0**16
    lab.accumulate(there, batches, "fp16", scale)
    got = lab.probe(gradients_of, there)["embedding.weight"] / scale
    limit = 0.02 * float(want["embedding.weight"].abs().max())
    check.close(got, want["embedding.weight"].float(), why="the embedding, scale 65,536", rtol=0.0, atol=limit)


@task("accumulate")
def test_accumulate_drops_old_gradients(lab, rng):
    sizes, model = draw_model(rng)
    batches = draw_batches(rng, sizes[0])
    there = placed(lab, sizes, model)
    lab.probe(leave_gradients, there)
    compare_all(lab_gradients(lab, there, batches), oracle(model, batches)[1], "old gradients were there")


@task("accumulate")
def test_accumulate_nothing_to_learn(lab, rng):
    sizes, model = draw_model(rng)
    ids = torch.randint(sizes[0], (2, 3), generator=rng)
    there = placed(lab, sizes, model)
    batches = [(ids, torch.full_like(ids, IGNORE))] * 2
    check.raises(ValueError, lab.accumulate, there, batches, why="no target counts in any micro-batch")


@task("accumulate")
def test_accumulate_holds_one_graph(lab, rng):
    """Eight micro-batches need hardly more memory at once than two."""
    sizes, model = draw_model(rng)
    parts = [tuple(torch.randint(sizes[0], (4, 40), generator=rng) for _ in range(2)) for _ in range(8)]
    few, many = (lab.probe(peak, placed(lab, sizes, model), parts[:n]) for n in (2, 8))
    check.less(many / few, 1.5, why="memory alive at the peak, eight micro-batches against two")


def lab_gradients(lab, there, batches):
    lab.accumulate(there, batches)
    return lab.probe(gradients_of, there)


# ---- clip_global_norm


def draw_gradients(rng, scale):
    """One for each parameter; None for the bias; sizes and magnitudes all different."""
    sizes, model = draw_model(rng)
    gradients = {name: scale * (1 + i) * normal(rng, *p.shape) for i, (name, p) in enumerate(model.named_parameters())}
    gradients["hidden.bias"] = None
    length = math.sqrt(sum(float(x) ** 2 for g in gradients.values() if g is not None for x in g.flatten()))
    return sizes, model, gradients, length


def compare_clipped(lab, rng, scale, relative, why):
    """`relative`: the limit as a share of the gradient's length."""
    sizes, model, gradients, length = draw_gradients(rng, scale)
    there = placed(lab, sizes, model)
    lab.probe(set_gradients, there, gradients)
    got = lab.clip_global_norm(there.parameters(), relative * length)
    check.close(got, length, why=f"{why}: what is returned", rtol=1e-4, atol=1e-6)
    after = lab.probe(gradients_of, there)
    factor = min(1.0, relative)
    for name, g in gradients.items():
        if g is None:
            check.equal(after[name], None, why=f"{why}: {name} had no gradient")
        else:
            check.close(after[name], factor * g, why=f"{why}: {name}", rtol=1e-4, atol=1e-5 * scale)


@task("clip_global_norm")
def test_clip_by_hand(lab):
    """Gradients (3) and (0, 4): together of length 5."""
    there = lab.probe(make_product, [1, 2], None)
    grads = {"embedding.weight": torch.tensor([[3.0, 0.0]]), "head.weight": torch.tensor([[0.0, 4.0]])}
    lab.probe(set_gradients, there, grads)
    check.close(lab.clip_global_norm(lab.probe(as_list, there), 1.0), 5.0, why="√(3² + 4²)", rtol=1e-4)
    after = lab.probe(gradients_of, there)
    check.close(after["embedding.weight"], torch.tensor([[0.6, 0.0]]), why="3 · 1/5")
    check.close(after["head.weight"], torch.tensor([[0.0, 0.8]]), why="4 · 1/5")


@task("clip_global_norm")
def test_clip_long(lab, rng):
    compare_clipped(lab, rng, 1.0, uniform(rng, 0.1, 0.3), "a gradient longer than the limit")


@task("clip_global_norm")
def test_clip_hardly_too_long(lab, rng):
    """Each parameter's own gradient is within the limit; together they are not."""
    compare_clipped(lab, rng, 2.0, 0.97, "longer than the limit only together")


@task("clip_global_norm")
def test_clip_short(lab, rng):
    compare_clipped(lab, rng, 1.0, uniform(rng, 1.5, 3), "a gradient within the limit")


@task("clip_global_norm")
def test_clip_very_large_and_very_small(lab, rng):
    compare_clipped(lab, rng, 1e6, 1e-6, "a gradient of millions")
    compare_clipped(lab, rng, 1e-4, 1e4, "a gradient of almost nothing")


@task("clip_global_norm")
def test_clip_nothing(lab, rng):
    sizes, model = draw_model(rng)
    there = placed(lab, sizes, model)
    check.close(lab.clip_global_norm(there.parameters(), 1.0), 0.0, why="no parameter has a gradient")
    lab.probe(set_gradients, there, {name: torch.zeros_like(p) for name, p in model.named_parameters()})
    check.close(lab.clip_global_norm(there.parameters(), 1.0), 0.0, why="all gradients are 0")
    check.equal(bool(lab.probe(gradients_of, there)["head.weight"].isnan().any()), False, why="NaN afterwards")


# ---- LossScaler


def draw_outcomes(rng, n, share):
    return [bool(x) for x in torch.rand(n, generator=rng) < share]


def torchs_scales(outcomes, scale, growth, backoff, interval):
    """What torch.amp.GradScaler does with the same steps."""
    theirs = torch.amp.GradScaler("cpu", scale, growth, backoff, interval)
    p = nn.Parameter(torch.zeros(2))
    optimizer = types.SimpleNamespace(param_groups=[{"params": [p]}], step=lambda: None)  # all that it looks at
    scales = []
    for finite in outcomes:
        theirs.scale(torch.zeros(()))
        p.grad = torch.tensor([1.0, 1.0 if finite else math.inf])
        theirs.unscale_(optimizer)
        theirs.step(optimizer)
        theirs.update()
        scales.append(theirs.get_scale())
    return scales


def scales_of(lab, outcomes, scale, growth, backoff, interval):
    mine = lab.LossScaler(scale, growth, backoff, interval)
    scales = []
    for finite in outcomes:
        mine.update(finite)
        scales.append(float(mine.scale))
    return scales


@task("LossScaler")
def test_scaler_by_hand(lab):
    """interval 3: two good steps, a bad one, then three good ones in a row."""
    got = scales_of(lab, [True, True, False, True, True, True], 64.0, 2.0, 0.5, 3)
    check.close(got, [64.0, 64.0, 32.0, 32.0, 32.0, 64.0], why="good good bad good good good, interval 3")


@task("LossScaler")
def test_scaler_follows_torchs(lab, rng):
    for share in (0.85, 0.6):
        outcomes = draw_outcomes(rng, 16, share)
        settings = 2.0 ** number(rng, 8, 12), float(number(rng, 3, 5)), 0.25, number(rng, 2, 3)
        want = torchs_scales(outcomes, *settings)
        check.close(scales_of(lab, outcomes, *settings), want, why=f"the scales after each of 16 steps, {settings}")


@task("LossScaler")
def test_scaler_keeps_growing(lab):
    got = scales_of(lab, [True] * 9, 1.0, 2.0, 0.5, 2)
    check.close(got, [1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0, 16.0, 16.0], why="nine good steps, interval 2")


@task("LossScaler")
def test_scaler_falls_below_one(lab):
    got = scales_of(lab, [False] * 4, 4.0, 2.0, 0.5, 3)
    check.close(got, [2.0, 1.0, 0.5, 0.25], why="four bad steps from a scale of 4")


@task("LossScaler")
def test_unscale(lab, rng):
    sizes, model, gradients, _ = draw_gradients(rng, 100.0)
    there, scale = placed(lab, sizes, model), uniform(rng, 30, 60)
    lab.probe(set_gradients, there, gradients)
    scaler = lab.LossScaler(scale)
    check.equal(scaler.unscale(there.parameters()), True, why="all gradients are finite")
    after = lab.probe(gradients_of, there)
    for name, g in gradients.items():
        if g is not None:
            check.close(after[name], g / scale, why=f"{name} after a scale of {scale:.1f}")
    check.close(float(scaler.scale), scale, why="unscale alone does not change the scale", rtol=1e-6)


@task("LossScaler")
def test_unscale_finds_every_bad_gradient(lab, rng):
    """Anywhere, in any parameter, of any kind."""
    places = ("embedding.weight", "hidden.weight", "head.weight", "embedding.weight")
    for bad, name in zip((math.inf, -math.inf, math.nan, math.nan), places, strict=True):
        sizes, model, gradients, _ = draw_gradients(rng, 1.0)
        gradients[name].view(-1)[number(rng, 1, gradients[name].numel() - 2)] = bad
        there = placed(lab, sizes, model)
        lab.probe(set_gradients, there, gradients)
        got = lab.LossScaler(8.0).unscale(there.parameters())
        check.equal(got, False, why=f"{bad} somewhere in {name}")


@task("LossScaler")
def test_unscale_large_is_not_infinite(lab, rng):
    """Finite, although their sum and their squares are not."""
    sizes, model, gradients, _ = draw_gradients(rng, 1.0)
    gradients["head.weight"].fill_(2e38)
    there = placed(lab, sizes, model)
    lab.probe(set_gradients, there, gradients)
    check.equal(lab.LossScaler(1.0).unscale(there.parameters()), True, why="gradients of 2e38, scale 1")


# ---- train_step


def settings(rng):
    return uniform(rng, 0.01, 0.03), (0.8, 0.9), 0.05, uniform(rng, 0.2, 0.4)  # lr, betas, eps, decay


def reference_steps(model, steps, limits, lr, betas, eps, decay):
    """The same in float64, with torch's optimizer and torch's clipping."""
    model = copy.deepcopy(model).double()
    parameters = list(model.parameters())
    optimizer = TorchsAdamW(parameters, betas, eps)
    reports = []
    for batches, limit in zip(steps, limits, strict=True):
        model.zero_grad()
        loss = mean_loss(model, batches)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
        optimizer.step([p.grad for p in parameters], lr, [decay if p.ndim > 1 else 0.0 for p in parameters])
        reports.append((loss.item(), norm.item()))
    return reports, {name: x.float() for name, x in model.state_dict().items()}


def compare_steps(lab, rng, limits, scale=None, why="", precision="fp32"):
    sizes, model = draw_model(rng)
    lr, betas, eps, decay = settings(rng)
    steps = [draw_batches(rng, sizes[0]) for _ in limits]
    reports, weights = reference_steps(model, steps, limits, lr, betas, eps, decay)
    there = placed(lab, sizes, model)
    optimizer = lab.AdamW(there, betas, eps, decay)
    scaler = lab.LossScaler(scale, 2.0, 0.5, 100) if scale else None
    for batches, limit, (loss, norm) in zip(steps, limits, reports, strict=True):
        report = lab.train_step(there, batches, optimizer, lr, limit, precision, scaler)
        check.close(report["loss"], loss, why=f"{why}: loss", rtol=1e-3, atol=1e-5)
        check.close(report["norm"], norm, why=f"{why}: norm", rtol=1e-3, atol=1e-5)
        check.equal(report["stepped"], True, why=f"{why}: stepped")
    compare_all(there.state_dict(), weights, why, rtol=1e-3, atol=2e-5)
    check.equal(optimizer.steps, len(limits), why=f"{why}: steps that the optimizer counted")
    if scaler:
        check.equal(scaler.streak, len(limits), why=f"{why}: good steps that the scaler counted")


@task("train_step")
def test_step_unclipped(lab, rng):
    compare_steps(lab, rng, [100.0], why="one step, nothing to clip")


@task("train_step")
def test_steps_clipped(lab, rng):
    compare_steps(lab, rng, [0.05, 0.1, 100.0], why="three steps, two of them clipped")


@task("train_step")
def test_steps_scaled(lab, rng):
    """In float32 a scale changes nothing, if it is taken out again before anything else looks at the gradients."""
    compare_steps(lab, rng, [0.05, 100.0, 0.1], scale=uniform(rng, 300, 900), why="three steps with a loss scale")


@task("train_step")
def test_step_skipped(lab, rng):
    """A scale beyond float16: inf everywhere.  Nothing moves; the scale falls until a step succeeds."""
    sizes, model = draw_model(rng)
    lr, betas, eps, decay = settings(rng)
    batches = draw_batches(rng, sizes[0])
    there = placed(lab, sizes, model)
    optimizer = lab.AdamW(there, betas, eps, decay)
    scaler = lab.LossScaler(2.0**40, 2.0, 2.0**-30, 100)
    want = oracle(model, batches)[0]
    report = lab.train_step(there, batches, optimizer, lr, 0.05, "fp16", scaler)
    check.equal(report["stepped"], False, why="gradients overflow: stepped")
    check.equal(report["norm"], math.inf, why="gradients overflow: norm")
    check.close(report["loss"], want, why="gradients overflow: the loss is what it is", rtol=0.02, atol=0.0)
    after = there.state_dict()
    for name, before in model.state_dict().items():
        check.equal(after[name], before, why=f"gradients overflow: {name} stays")
    check.equal(optimizer.steps, 0, why="gradients overflow: steps that the optimizer counted")
    check.close(float(scaler.scale), 2.0**10, why="gradients overflow: the scale backs off")
    report = lab.train_step(there, batches, optimizer, lr, 0.05, "fp16", scaler)
    check.equal(report["stepped"], True, why="the next step, with the smaller scale: stepped")
    _, weights = reference_steps(model, [batches], [0.05], lr, betas, eps, decay)
    compare_all(there.state_dict(), weights, "the next step, in fp16", rtol=0.0, atol=0.05 * lr)


@task("train_step")
def test_step_in_bf16(lab, rng):
    """256·(1 + 2⁻⁹) - 256 is 0 in bfloat16: the loss is ln 2, and the master weights keep what bfloat16 cannot."""
    state = {"embedding.weight": torch.ones(2, 2), "head.weight": torch.tensor([[256.5, -256.0], [0.0, 0.0]])}
    model = lab.probe(make_product, [2, 2], state)
    optimizer = lab.AdamW(model, (0.9, 0.9), 1e-8, 0.0)
    zero = torch.zeros(1, 1, dtype=torch.int64)
    report = lab.train_step(model, [(zero, zero)], optimizer, 0.01, 1e9, "bf16", None)
    check.close(report["loss"], math.log(2), why="logits 0.5 and 0, computed in bf16", rtol=1e-4, atol=1e-6)
    want = torch.tensor([[256.51, -255.99], [-0.01, -0.01]])
    check.close(model.state_dict()["head.weight"], want, why="a step of 0.01 from 256.5 arrives", rtol=0.0, atol=1e-3)


# ---- save_checkpoint


def draw_state(rng):
    return {"weights": {"a": normal(rng, number(rng, 2, 4), 5), "b": normal(rng, 3)}, "step": number(rng, 5, 500)}


@contextlib.contextmanager
def folder_of(lab):
    """A new folder where the lab is; gone afterwards."""
    path = lab.probe(new_folder)
    try:
        yield path
    finally:
        with contextlib.suppress(Exception):
            lab.probe(remove_folder, path)


def opened(data):
    """(whether the digest fits, the state) of a checkpoint's bytes."""
    digest, payload = data[:64], data[65:]
    fits = data[64:65] == b"\n" and hashlib.sha256(payload).hexdigest().encode() == digest
    return fits, torch.load(io.BytesIO(payload), weights_only=True) if fits else None


def packed(state):
    """A checkpoint's bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return with_digest(buffer.getvalue())


def with_digest(payload):
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


@task("save_checkpoint")
def test_save_writes_what_is_asked(lab, rng):
    with folder_of(lab) as folder:
        step, state = number(rng, 1000, 9000), draw_state(rng)
        inner = os.path.join(folder, "new", "er")
        digest = lab.save_checkpoint(inner, step, state, 3)
        check.equal(sorted(lab.probe(files_of, inner)), [f"step-{step:08d}.ckpt"], why="what lies in the folder then")
        (file,) = lab.checkpoints(inner)
        data = file.read_bytes()
        fits, found = opened(data)
        check.equal(fits, True, why="64 hexadecimal digits, a newline, and what they are the sha256 of")
        check.close(found, state, why="the state in the file")
        check.equal(digest, data[:64].decode("ascii", "replace"), why="what is returned")


@task("save_checkpoint")
def test_save_keeps_the_newest(lab, rng):
    for keep, left in ((2, [30, 200]), (1, [200]), (5, [4, 10, 30, 200])):
        with folder_of(lab) as folder:
            lab.probe(write_files, folder, {"notes.txt": b"mine", "best.ckpt": b"mine too", "step-7.txt": b"and this"})
            for step in (10, 4, 30, 200):
                digest = lab.save_checkpoint(folder, step, {"step": step}, keep)
            found = lab.probe(files_of, folder)
            names = sorted(name for name in found if name.startswith("step-0"))
            check.equal(names, [f"step-{s:08d}.ckpt" for s in left], why=f"after steps 10, 4, 30, 200, keep={keep}")
            check.equal(digest, found["step-00000200.ckpt"][:64].decode(), why="what the last save returned")
            others = sorted(set(found) - set(names))
            check.equal(others, ["best.ckpt", "notes.txt", "step-7.txt"], why="files that are no checkpoints stay")
    with folder_of(lab) as folder:
        lab.probe(write_files, folder, {"step-00000300.ckpt": b"older by time", "step-00000100.ckpt": b"newer by time"})
        lab.save_checkpoint(folder, 200, {"step": 200}, 2)
        names = sorted(lab.probe(files_of, folder))
        check.equal(names, ["step-00000200.ckpt", "step-00000300.ckpt"], why="300, 100, then 200 written; keep=2")


@task("save_checkpoint")
def test_save_never_removes_the_new_one(lab, rng):
    """A run that went back to step 100 must not lose step 110 to the files of its former future."""
    with folder_of(lab) as folder:
        for step in (100, 200, 300, 110):
            lab.save_checkpoint(folder, step, {"step": step}, 2)
        found = lab.probe(files_of, folder)
        check.equal(sorted(found), ["step-00000110.ckpt", "step-00000300.ckpt"], why="100, 200, 300, then 110; keep=2")


@task("save_checkpoint")
def test_save_over_the_same_step(lab, rng):
    with folder_of(lab) as folder:
        for value in (1.0, 2.0):
            digest = lab.save_checkpoint(folder, 40, {"x": torch.tensor([value])}, 2)
        found = lab.probe(files_of, folder)
        check.equal(sorted(found), ["step-00000040.ckpt"], why="step 40, saved twice")
        check.close(opened(found["step-00000040.ckpt"])[1], {"x": torch.tensor([2.0])}, why="step 40, saved twice")
        check.equal(digest, found["step-00000040.ckpt"][:64].decode(), why="what the second save returned")


@task("save_checkpoint")
def test_save_renames_a_file_that_is_on_the_disk(lab, rng):
    """The system's calls, in order: what is renamed is in the same folder, and was synced when it was complete."""
    with folder_of(lab) as folder:
        seen = lab.probe(system_calls, folder, draw_state(rng))
        check.equal(seen["renamed"], True, why="the file comes to its final name by a rename")
        check.equal(seen["same folder"], True, why="the temporary file lies in the same folder")
        check.equal(seen["synced"], True, why="fsync before the rename, when all bytes had left Python")
        check.equal(seen["folder synced"], True, why="the folder is synced after the rename")


@task("save_checkpoint")
def test_save_survives_a_crash(lab, rng):
    """The power fails at the write, at the sync, at the rename: the old checkpoint is whole, the new one absent."""
    for moment in ("write", "fsync", "replace"):
        with folder_of(lab) as folder:
            old = packed(draw_state(rng))
            lab.probe(write_files, folder, {"step-00000050.ckpt": old})
            lab.probe(save_and_crash, folder, 60, draw_state(rng), moment)
            found = lab.probe(files_of, folder)
            check.equal(found.get("step-00000050.ckpt") == old, True, why=f"crash at {moment}: the old one is whole")
            names = [name for name in sorted(found) if re.fullmatch(r"step-\d{8,}\.ckpt", name)]
            check.equal(names, ["step-00000050.ckpt"], why=f"crash at {moment}: what looks like a checkpoint then")
            lab.save_checkpoint(folder, 60, {"x": 1}, 1)  # what the crash left behind is in nobody's way
            found = lab.probe(files_of, folder)
            fits = opened(found.get("step-00000060.ckpt", b""))[0]
            check.equal(fits, True, why=f"crash at {moment}: saved again afterwards")


@task("save_checkpoint")
def test_save_over_the_same_step_survives_a_crash(lab, rng):
    with folder_of(lab) as folder:
        old = packed(draw_state(rng))
        lab.probe(write_files, folder, {"step-00000060.ckpt": old})
        lab.probe(save_and_crash, folder, 60, draw_state(rng), "replace")
        found = lab.probe(files_of, folder).get("step-00000060.ckpt")
        check.equal(found == old, True, why="step 60 is saved again, crash at the rename: the first save is whole")


@task("save_checkpoint")
def test_save_makes_room_last(lab, rng):
    """The disk is full when the new one is written: the old ones must still be there."""
    with folder_of(lab) as folder:
        old = {f"step-{s:08d}.ckpt": packed({"step": s}) for s in (10, 20)}
        lab.probe(write_files, folder, old)
        lab.probe(save_and_crash, folder, 30, {"step": 30}, "replace")
        kept = [name for name in sorted(old) if lab.probe(files_of, folder).get(name) == old[name]]
        check.equal(kept, sorted(old), why="old ones left when the new one could not be written; keep=1")


# ---- load_latest


@task("load_latest")
def test_load_the_newest(lab, rng):
    """By step: not by name, where 100000000 comes before 99999999, nor by the time of writing."""
    with folder_of(lab) as folder:
        states = {step: draw_state(rng) for step in (99_999_999, 100_000_000, 7, 500)}
        lab.probe(write_files, folder, {f"step-{s:08d}.ckpt": packed(x) for s, x in states.items()})
        step, state, damaged = lab.load_latest(folder)
        check.equal(step, 100_000_000, why="the highest of four steps")
        check.close(state, states[100_000_000], why="its state")
        check.equal(damaged, [], why="lines about damage")


@task("load_latest")
def test_load_nothing(lab, rng):
    with folder_of(lab) as folder:
        check.equal(lab.load_latest(os.path.join(folder, "not there")), None, why="no folder")
        check.equal(lab.load_latest(folder), None, why="an empty folder")
        lab.probe(write_files, folder, {"step-00000005.tmp": packed({"x": 1}), "notes.txt": b"mine"})
        check.equal(lab.load_latest(folder), None, why="what a crash left, and notes")
        state = draw_state(rng)
        lab.probe(write_files, folder, {"step-00000003.ckpt": packed(state)})
        check.close(lab.load_latest(folder), [3, state, []], why="one checkpoint among other files")


def damages(rng):
    """Every way in which a file can be no checkpoint, by name."""
    whole = packed(draw_state(rng))
    altered = bytearray(whole)
    altered[-(number(rng, 100, 300))] ^= 4
    bare = io.BytesIO()
    torch.save(draw_state(rng), bare)
    return {
        "truncated": whole[: -number(rng, 1, 300)],
        "empty": b"",
        "one bit altered": bytes(altered),
        "foreign": b"step,loss\n1,5.5\n",
        "torch's own file, without digest": bare.getvalue(),
        "a digest of something else": with_digest(b"not a state"),
        "the digest alone": whole[:64],
        "grown": whole + b"\0",
    }


@task("load_latest")
def test_load_passes_over_damage(lab, rng):
    for kind, data in damages(rng).items():
        with folder_of(lab) as folder:
            old, state = number(rng, 10, 20), draw_state(rng)
            files = {
                f"step-{old:08d}.ckpt": packed(state),
                "step-00000099.ckpt": data,
                "step-00000002.ckpt": packed({}),
            }
            lab.probe(write_files, folder, files)
            step, found, damaged = lab.load_latest(folder)
            check.equal(step, old, why=f"the newest is damaged: {kind}")
            check.close(found, state, why=f"the newest is damaged: {kind}")
            names = [str(line).split(":")[0].split()[0] for line in damaged]
            check.equal(names, ["step-00000099.ckpt"], why=f"{kind}: files that the lines begin with")
            check.equal(sorted(lab.probe(files_of, folder)), sorted(files), why=f"{kind}: files that are still there")


@task("load_latest")
def test_load_passes_over_several(lab, rng):
    with folder_of(lab) as folder:
        state = draw_state(rng)
        files = {f"step-{40 + i:08d}.ckpt": data for i, data in enumerate(list(damages(rng).values())[:3])}
        lab.probe(write_files, folder, {**files, "step-00000009.ckpt": packed(state)})
        step, found, damaged = lab.load_latest(folder)
        check.equal(step, 9, why="three damaged ones, and step 9")
        check.close(found, state, why="three damaged ones, and step 9")
        check.equal(len(damaged), 3, why="lines, one for each damaged one")


@task("load_latest")
def test_load_nothing_whole(lab, rng):
    with folder_of(lab) as folder:
        lab.probe(write_files, folder, {"step-00000040.ckpt": packed({"x": 1})[:-1], "step-00000030.ckpt": b""})
        check.raises(CheckpointError, lab.load_latest, folder, why="two checkpoints, none whole: starting anew?")


@task("load_latest")
def test_load_runs_nobodys_code(lab, rng):
    """A file can be whole and still not be a state: unpickling it would run what its author wrote."""
    with folder_of(lab) as folder:
        marker = os.path.join(folder, "was-here")
        buffer = io.BytesIO()
        torch.save({"x": Visitor(marker)}, buffer)
        files = {"step-00000008.ckpt": with_digest(buffer.getvalue()), "step-00000006.ckpt": packed({"x": 5})}
        files["step-00000009.ckpt"] = with_digest(pickle.dumps(Visitor(marker), protocol=2))
        lab.probe(write_files, folder, files)
        check.close(lab.load_latest(folder)[:2], [6, {"x": 5}], why="two files with code in them, and step 6")
        check.equal("was-here" in lab.probe(everything_in, folder), False, why="whether the code in the file ran")


class CheckpointError(Exception):
    """The lab's, by name."""


class Visitor:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


# ---- resume


def new_run(lab, rng, precision):
    """How a run is made, by the same settings each time, and weights as different as a fresh start's."""
    sizes, model = draw_model(rng)
    tokens = torch.randint(sizes[0], (300,), generator=rng)
    state = model.state_dict()

    def make_one():
        return lab.probe(make_run, list(sizes), state, tokens, precision)

    return make_one


def follow(run, steps):
    return [run.advance() for _ in range(steps)]


def compare_resumed(lab, rng, precision, before, after):
    make_one = new_run(lab, rng, precision)
    run = make_one()
    follow(run, before)
    saved = lab.snapshot(run)
    want, weights = follow(run, after), run.model.state_dict()
    ends = [float(run.scaler.scale), run.scaler.streak] if precision == "fp16" else None
    other = make_one()
    follow(other, 1)
    lab.probe(seed_torch, 8)  # a fresh start's random numbers are other ones
    lab.restore(other, saved)
    why = f"{precision}: {before} steps, a snapshot, {after} steps; restored"
    check.equal(other.step, before, why=f"{why}: steps done")
    got = follow(other, after)
    check.equal([r["loss"] for r in got], [r["loss"] for r in want], why=f"{why}: the losses, to the last bit")
    check.equal([r["norm"] for r in got], [r["norm"] for r in want], why=f"{why}: the norms, to the last bit")
    found = other.model.state_dict()
    for name, x in weights.items():
        check.equal(found[name], x, why=f"{why}: {name}, to the last bit")
    check.equal(other.optimizer.steps, run.optimizer.steps, why=f"{why}: the optimizer's steps")
    if ends:
        check.equal([float(other.scaler.scale), other.scaler.streak], ends, why=f"{why}: the scaler at the end")


@task("resume")
def test_resume_early(lab, rng):
    """While the learning rate still rises: who forgets the step starts the warm-up anew."""
    compare_resumed(lab, rng, "fp32", 2, 3)


@task("resume")
def test_resume_later(lab, rng):
    compare_resumed(lab, rng, "fp32", number(rng, 7, 9), 3)


@task("resume")
def test_resume_with_a_scaler(lab, rng):
    """interval 3: after four steps the scale has grown once and one good step is counted."""
    compare_resumed(lab, rng, "fp16", 4, 2)
    compare_resumed(lab, rng, "fp16", 7, 2)


@task("resume")
def test_snapshot_can_be_saved(lab, rng):
    run = new_run(lab, rng, "fp16")()
    follow(run, 2)
    check.equal(
        lab.probe(survives_torch_save, lab.snapshot(run)), True, why="torch.save, then torch.load(weights_only)"
    )


@task("resume")
def test_snapshot_stays_as_it_is(lab, rng):
    """Going on must not change what was saved, nor must the run that was restored from it."""
    run = new_run(lab, rng, "fp16")()
    follow(run, 4)
    changed = lab.probe(changes_of_a_snapshot, run, 3)
    check.equal(changed, [False, False], why="changed by later steps; changed by a restored run's steps")


@task("resume")
def test_snapshot_disturbs_nothing(lab, rng):
    make_one = new_run(lab, rng, "fp32")
    quiet, watched, got = make_one(), make_one(), []
    lab.probe(seed_torch, 3)
    want = [r["loss"] for r in follow(quiet, 4)]
    lab.probe(seed_torch, 3)
    for _ in range(4):
        lab.snapshot(watched)
        got.append(watched.advance()["loss"])
    check.equal(got, want, why="a snapshot before every step, against none")


# ---- probes: they run beside the lab


def make(lab, sizes, state, dropout):
    model = TinyLM(sizes, dropout)
    model.load_state_dict(state)
    return model


def make_product(lab, sizes, state):
    model = Product(sizes)
    if state is not None:
        model.load_state_dict(state)
    return model


def make_run(lab, sizes, state, tokens, precision):
    scaler = lab.LossScaler(1024.0, 2.0, 0.5, 3) if precision == "fp16" else None
    return lab.Run(
        make(lab, sizes, state, 0.3), tokens, 11, rows=2, length=9, parts=2, peak=0.01, warmup=6,
        precision=precision, scaler=scaler,
    )  # fmt: skip


def seed_torch(lab, seed):
    torch.manual_seed(seed)


def changed_by_adamw(lab, tensors):
    before = [x.clone() for x in tensors]
    lab.adamw_step(*tensors, 3, 0.1, (0.9, 0.95), 1e-8, 0.1)
    names = ("parameter", "gradient", "m", "v")
    return [name for name, x, y in zip(names, tensors, before, strict=True) if not torch.equal(x, y)]


def gradients_of(lab, model):
    return {name: None if p.grad is None else p.grad.detach().clone() for name, p in model.named_parameters()}


class Parameters:
    """A model's parameters, to be walked as often as one likes; `model.parameters()` can be walked once."""

    def __init__(self, model):
        self.model = model

    def __iter__(self):
        return self.model.parameters()

    def __len__(self):
        return sum(1 for _ in self)


def as_list(lab, model):
    return Parameters(model)


def set_gradients(lab, model, gradients):
    for name, p in model.named_parameters():
        p.grad = gradients[name]


def leave_gradients(lab, model):
    for p in model.parameters():
        p.grad = torch.full_like(p, 0.5)


def gradients_through(lab, model, ids, precision, upstream):
    (lab.forward_in(model, ids, precision) * upstream).sum().backward()
    return gradients_of(lab, model)


def peak(lab, model, batches):
    with LiveMemory(*model.parameters()) as live:
        lab.accumulate(model, batches)
    return live.peak


def new_folder(lab):
    return tempfile.mkdtemp(prefix="lab-")


def remove_folder(lab, folder):
    shutil.rmtree(folder, ignore_errors=True)


def write_files(lab, folder, files):
    """The last of them is the newest by the time of writing."""
    for i, name in enumerate(files):
        path = Path(folder) / name
        path.write_bytes(files[name])
        os.utime(path, (1_600_000_000 + i, 1_600_000_000 + i))


def everything_in(lab, folder):
    return sorted(p.name for p in Path(folder).iterdir())


def files_of(lab, folder):
    """All files but what a crash may leave behind."""
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file() and kept(p.name)}


def kept(name):
    return name.endswith((".ckpt", ".txt"))


class Crash(BaseException):
    """The power fails: not an Exception, so that nobody tidies up."""


def system_calls(lab, folder, state):
    """What is renamed to a checkpoint's name: whence, and how much of it was synced before."""
    synced, seen = {}, {"renamed": False, "same folder": False, "synced": False, "folder synced": os.name != "posix"}
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def note_sync(descriptor):
        found = os.fstat(descriptor if isinstance(descriptor, int) else descriptor.fileno())
        synced[found.st_ino] = found.st_size
        if seen["renamed"] and os.path.samestat(found, os.stat(folder)):
            seen["folder synced"] = True
        return fsync(descriptor)

    def noting(original):
        def note_rename(source, target, **where):
            if str(target).endswith(".ckpt"):
                found = os.stat(source)
                same = os.path.realpath(os.path.dirname(os.path.abspath(source))) == os.path.realpath(folder)
                whole = synced.get(found.st_ino) == found.st_size
                seen.update({"renamed": True, "same folder": same, "synced": whole})
            return original(source, target, **where)

        return note_rename

    os.fsync, os.replace, os.rename = note_sync, noting(replace), noting(rename)
    if data_sync := getattr(os, "fdatasync", None):
        os.fdatasync = note_sync
    try:
        lab.save_checkpoint(folder, 5, state, 2)
    finally:
        os.fsync, os.replace, os.rename = fsync, replace, rename
        if data_sync:
            os.fdatasync = data_sync
    return seen


def save_and_crash(lab, folder, step, state, moment):
    """The call named `moment` never returns, nor does any that changes a file after it."""
    places = {
        "write": [(torch, "save")],
        "fsync": [(os, "fsync"), (os, "fdatasync")],
        "replace": [(os, "replace"), (os, "rename")],
    }[moment]
    places = [(owner, name, getattr(owner, name)) for owner, name in places if hasattr(owner, name)]
    real_save = torch.save

    def crash(*args, **kwargs):
        if moment == "write":
            half = io.BytesIO()
            real_save(args[0], half)
            half = half.getvalue()[: len(half.getvalue()) // 2]
            if hasattr(args[1], "write"):
                args[1].write(half)
            else:
                Path(args[1]).write_bytes(half)
        raise Crash

    for owner, name, _ in places:
        setattr(owner, name, crash)
    try:
        lab.save_checkpoint(folder, step, state, 1)
    except Crash:
        pass
    finally:
        for owner, name, original in places:
            setattr(owner, name, original)


def survives_torch_save(lab, state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return same(torch.load(buffer, weights_only=True), state)


def changes_of_a_snapshot(lab, run, steps):
    state = lab.snapshot(run)
    before = copy.deepcopy(state)
    found = []
    for _ in range(2):
        for _ in range(steps):
            run.advance()
        found.append(not same(state, before))
        lab.restore(run, state)
    return found


def same(a, b):
    """Bit for bit, through dicts and lists."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(x, b[k]) for k, x in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
