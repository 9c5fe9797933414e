"""Schedules against nanoGPT's formula, torch's and transformers' schedulers, and values worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch.optim import lr_scheduler
from transformers import optimization

from llmcore.training.schedules import WSD, Constant, WarmupCosine

SHAPES = ["linear", "1-sqrt", "cosine", "exponential"]
EVERY = [
    Constant(3e-3, warmup=7),
    WarmupCosine(3e-3, warmup=7, total=40, final=2e-4),
    *(WSD(3e-3, warmup=7, total=40, decay=11, final=2e-4, shape=shape) for shape in SHAPES),
]


def rates_of(make, peak, steps):
    """What a scheduler of torch's kind sets, step by step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def nanogpt(it, learning_rate, warmup_iters, lr_decay_iters, min_lr):
    """get_lr of nanoGPT's train.py: the formula, in our words."""
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    return min_lr + 0.5 * (1 + math.cos(math.pi * ratio)) * (learning_rate - min_lr)


@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 9), (1, 2), (3, 20), (8, 9), (100, 1000)])
@pytest.mark.parametrize("final", [None, 0.0, 1e-4, 6e-3, 9e-3])
def test_cosine_is_nanogpts(warmup, total, final):
    rate = WarmupCosine(6e-3, warmup, total, final)
    low = 6e-4 if final is None else final
    wanted = [nanogpt(step, 6e-3, warmup, total, low) for step in range(total + 5)]
    assert [rate(step) for step in range(total + 5)] == pytest.approx(wanted, rel=1e-12, abs=1e-18)


def test_cosine_without_warmup_is_torchs():
    rate = WarmupCosine(6e-3, warmup=0, total=37, final=5e-4)
    wanted = rates_of(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=37, eta_min=5e-4), 6e-3, 38)
    assert [rate(step) for step in range(38)] == pytest.approx(wanted, rel=1e-9)


def test_cosine_behind_its_warmup_is_transformers():
    rate = WarmupCosine(6e-3, warmup=5, total=37, final=0.0)
    wanted = rates_of(lambda o: optimization.get_cosine_schedule_with_warmup(o, 5, 37), 6e-3, 38)
    assert [rate(step) for step in range(5, 38)] == pytest.approx(wanted[5:], rel=1e-9, abs=1e-18)


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt"])
@pytest.mark.parametrize(("warmup", "total", "decay"), [(0, 10, 10), (4, 30, 9), (4, 30, 1), (4, 30, 26)])
def test_wsd_behind_its_warmup_is_transformers(shape, warmup, total, decay):
    rate = WSD(2e-3, warmup, total, decay, final=5e-4, shape=shape)
    wanted = rates_of(
        lambda o: optimization.get_wsd_schedule(o, warmup, decay, total, decay_type=shape, min_lr_ratio=0.25),
        2e-3,
        total + 4,
    )
    assert [rate(step) for step in range(warmup, total + 4)] == pytest.approx(wanted[warmup:], rel=1e-9)


def test_a_linear_and_an_exponential_decay_are_torchs():
    linear = rates_of(lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, total_iters=13), 2e-3, 17)
    falling = rates_of(lambda o: lr_scheduler.ExponentialLR(o, gamma=0.1 ** (1 / 13)), 2e-3, 14)
    mine = [WSD(2e-3, 0, 13, 13, final=2e-4, shape=shape) for shape in ("linear", "exponential")]
    assert [mine[0](step) for step in range(17)] == pytest.approx(linear, rel=1e-9)
    assert [mine[1](step) for step in range(14)] == pytest.approx(falling, rel=1e-9)
    assert mine[1](14) == mine[1](1000) == pytest.approx(2e-4, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "final", "wanted"),
    [
        ("linear", 0.0, [8, 8, 6, 4, 2, 0, 0]),
        ("1-sqrt", 0.0, [8, 8, 4, 8 - 4 * math.sqrt(2), 8 - 4 * math.sqrt(3), 0, 0]),
        ("cosine", 0.0, [8, 8, 4 + 2 * math.sqrt(2), 4, 4 - 2 * math.sqrt(2), 0, 0]),
        ("exponential", 0.5e-3, [8, 8, 4, 2, 1, 0.5, 0.5]),
        ("linear", 4e-3, [8, 8, 7, 6, 5, 4, 4]),
    ],
)
def test_decays_by_hand(shape, final, wanted):
    rate = WSD(8e-3, warmup=1, total=20, decay=4, final=final, shape=shape)
    assert [1e3 * rate(step) for step in range(15, 22)] == pytest.approx(wanted, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("rate", EVERY, ids=repr)
def test_step_0_learns_the_peak_is_reached_and_the_warmup_is_transformers_begun_a_step_later(rate):
    wanted = rates_of(lambda o: optimization.get_constant_schedule_with_warmup(o, 8), 3e-3, 9)
    assert wanted[0] == 0  # theirs reads its first batch for nothing
    assert [rate(step) for step in range(8)] == pytest.approx(wanted[1:], rel=1e-12)
    assert rate(0) == 3e-3 / 8
    assert rate(7) == 3e-3


@pytest.mark.parametrize("rate", EVERY, ids=repr)
@pytest.mark.parametrize("warmup", [0, 1])
def test_short_warmups(rate, warmup):
    rate = replace(rate, warmup=warmup)
    assert rate(warmup) == 3e-3
    assert rate(0) == (3e-3 if warmup == 0 else 1.5e-3)


@pytest.mark.parametrize("rate", EVERY[1:], ids=repr)
def test_a_decay_falls_to_the_last_step_which_is_not_idle_yet_and_stays_behind_it(rate):
    begin = 7 if isinstance(rate, WarmupCosine) else 29
    falling = [rate(step) for step in range(begin, 41)]
    assert all(a > b for a, b in zip(falling, falling[1:], strict=False))
    assert rate(39) > 2e-4 * 1.005
    assert [rate(step) for step in (40, 41, 1000)] == pytest.approx([2e-4] * 3, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_a_decay_to_zero_has_no_idle_step(shape):
    rate = WSD(3e-3, warmup=2, total=10, decay=8, shape=shape)
    assert rate.final == 0
    assert min(rate(step) for step in range(10)) > 1e-5
    assert rate(10) == pytest.approx(0, abs=1e-18)


def test_constant_never_falls():
    assert {Constant(3e-3, warmup=7)(step) for step in (7, 8, 1000, 10**9)} == {3e-3}
    assert {Constant(3e-3)(step) for step in (0, 1, 10**9)} == {3e-3}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_stable_part_does_not_depend_on_the_total_so_a_decay_can_branch_off(shape):
    long = WSD(3e-3, warmup=5, total=400, decay=50, final=1e-4, shape=shape)
    short = replace(long, total=120, decay=20)
    assert [short(step) for step in range(101)] == [long(step) for step in range(101)]
    assert {short(step) for step in range(5, 101)} == {3e-3}
    assert short(101) < long(101) == long(350) == 3e-3
    assert long(351) < 3e-3
    branch = replace(long, total=270, decay=20)
    assert [branch(step + 150) for step in range(100, 125)] == [short(step) for step in range(100, 125)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: WarmupCosine(1e-3, -1, 10), "10 steps cannot hold a warm-up of -1"),
        (lambda: WarmupCosine(1e-3, 10, 10), "10 steps cannot hold a warm-up of 10"),
        (lambda: WarmupCosine(1e-3, 0, 0), "0 steps cannot"),
        (lambda: WSD(1e-3, -1, 10, 5), "10 steps cannot hold a warm-up of -1 and a decay of 5"),
        (lambda: WSD(1e-3, 2, 10, 0), "and a decay of 0"),
        (lambda: WSD(1e-3, 6, 10, 5), "10 steps cannot hold a warm-up of 6 and a decay of 5"),
        (lambda: WSD(1e-3, 2, 10, 5, shape="sqrt"), "there is no decay 'sqrt'"),
        (lambda: WSD(1e-3, 2, 10, 5, shape="exponential"), "give it a final rate"),
        (lambda: WSD(1e-3, 2, 10, 5, final=-1e-9, shape="exponential"), "give it a final rate"),
        (lambda: Constant(1e-3, -1), "there is no warm-up of -1 steps"),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_what_just_fits():
    assert WarmupCosine(1e-3, 9, 10)(9) == 1e-3
    assert WSD(1e-3, 5, 10, 5)(5) == 1e-3
    assert WSD(1e-3, 0, 1, 1)(0) == 1e-3


def test_a_schedule_says_what_it_is():
    """A checkpoint remembers repr, and a run that goes on with another schedule is told so."""
    said = [repr(each) for each in [*EVERY, replace(EVERY[1], total=41), replace(EVERY[2], final=3e-4)]]
    assert len(set(said)) == len(said)
    assert all(eval(text) in EVERY for text in said[:6])
