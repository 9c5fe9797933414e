"""Learning rate by step: a number for each of the steps 0 to total - 1.

    >>> rate = WarmupCosine(peak=1e-3, warmup=3, total=10)
    >>> [f"{1e3 * rate(step):.2f}" for step in (0, 1, 2, 3, 6, 9)]
    ['0.25', '0.50', '0.75', '1.00', '0.65', '0.14']

Step 0 learns: warm-up counts from 1, as nanoGPT's does today. (Where it counts from 0, as transformers' does, the first
step has a rate of zero and its batch is read for nothing.) What a decay goes down to would be reached by the step after the
last, so a decay to zero has no idle step either.

Does not:
- hold state: a schedule is a function, and a run that goes on asks it about another step
"""

import math
from dataclasses import dataclass
from typing import Literal


def _warm(peak: float, warmup: int, step: int) -> float:
    return peak * (step + 1) / (warmup + 1)


def _check(warmup: int, total: int, decay: int = 1) -> None:
    if warmup < 0 or decay < 1 or warmup + decay > total:
        raise ValueError(f"{total} steps cannot hold a warm-up of {warmup} and a decay of {decay}")


@dataclass(frozen=True)
class Constant:
    """One rate, after a linear warm-up."""

    peak: float
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ValueError(f"there is no warm-up of {self.warmup} steps")

    def __call__(self, step: int) -> float:
        return self.peak if step >= self.warmup else _warm(self.peak, self.warmup, step)


@dataclass(frozen=True)
class WarmupCosine:
    """Up in a line, down in half a cosine to `final`: a tenth of the peak unless you say otherwise.

    Source: Loshchilov & Hutter 2017 (SGDR), eq. 5, without restarts; Radford et al. 2018 for language models.
    """

    peak: float
    warmup: int
    total: int
    final: float | None = None

    def __post_init__(self) -> None:
        _check(self.warmup, self.total)

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return _warm(self.peak, self.warmup, step)
        done = min(1.0, (step - self.warmup) / (self.total - self.warmup))
        final = 0.1 * self.peak if self.final is None else self.final
        return final + (self.peak - final) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class WSD:
    """Warm up, stay, decay in the last `decay` steps: any checkpoint of the stable part can be given a decay of its own.

    Shapes: "linear" · "1-sqrt" (Hägele et al. 2024: slightly better than linear) · "cosine" · "exponential" (MiniCPM's;
    it needs a `final` above zero). Source: Hu et al. 2024 (MiniCPM), section 4.
    """

    peak: float
    warmup: int
    total: int
    decay: int
    final: float = 0.0
    shape: Literal["linear", "1-sqrt", "cosine", "exponential"] = "linear"

    def __post_init__(self) -> None:
        _check(self.warmup, self.total, self.decay)
        if self.shape not in ("linear", "1-sqrt", "cosine", "exponential"):
            raise ValueError(f"there is no decay {self.shape!r}: linear, 1-sqrt, cosine and exponential there are")
        if self.shape == "exponential" and self.final <= 0:
            raise ValueError("an exponential decay never reaches zero: give it a final rate")

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return _warm(self.peak, self.warmup, step)
        done = min(1.0, max(0.0, (step - (self.total - self.decay)) / self.decay))
        if self.shape == "exponential":
            return float(self.peak * (self.final / self.peak) ** done)
        left = {"linear": 1 - done, "1-sqrt": 1 - math.sqrt(done), "cosine": (1 + math.cos(math.pi * done)) / 2}
        return self.final + (self.peak - self.final) * left[self.shape]
