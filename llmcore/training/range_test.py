"""Which learning rate: let it grow until the loss does, on a copy.

    found = range_test(trainer)                       # a hundred short steps
    Settings(steps=1000, schedule=WarmupCosine(found.best / 5, warmup=50, total=1000))

Does not:
- replace trying two or three rates for as long as you can afford: it looks at the first steps alone
"""

import copy
from dataclasses import replace
from typing import NamedTuple

from tqdm import tqdm

from llmcore.training import checkpoint
from llmcore.training.trainer import Trainer


class RangeTest(NamedTuple):
    """The loss at each rate of a rising series, until it diverged. Take a third to a tenth of `best`."""

    rates: list[float]
    losses: list[float]
    best: float  # the rate at which the smoothed loss was lowest


def range_test(trainer: Trainer, lowest: float = 1e-5, highest: float = 1.0, steps: int = 100) -> RangeTest:
    """Train a copy of the model, with an optimizer of its own, while the rate grows geometrically. The trainer stays as it is.

    Source: Smith 2017 (Cyclical Learning Rates), section 3.3. Raises FloatingPointError if not even the first step is finite.
    """
    if not 0 < lowest < highest or steps < 2:
        raise ValueError(f"{steps} steps from {lowest} to {highest} make no rising series")
    growth = (highest / lowest) ** (1 / (steps - 1))
    settings = replace(trainer.settings, schedule=lambda step: lowest * growth**step, compile=False)
    before = checkpoint.random_state()
    trial = Trainer(copy.deepcopy(trainer.model), trainer.batches, settings, loss=trainer.loss, trained=True)
    rates: list[float] = []
    losses: list[float] = []
    smooth: list[float] = []
    try:
        for _ in tqdm(range(steps), unit="step", desc="rates", disable=None, leave=False):
            try:
                step = trial.step()
            except FloatingPointError:
                if not rates:
                    raise
                break
            rates.append(step.rate)
            losses.append(step.loss)
            smooth.append(step.loss if not smooth else 0.8 * smooth[-1] + 0.2 * step.loss)
            if smooth[-1] > min(smooth) + 2:
                break
    finally:
        checkpoint.set_random_state(before)
    return RangeTest(rates, losses, rates[smooth.index(min(smooth))])
