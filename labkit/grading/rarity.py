"""How rare a coincidence is: the probabilities behind `similarity`, each on the cautious side."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Iterable
from itertools import combinations

from labkit.grading.tokens import Shingles

LEAST = 1e-6  # no single task is evidence beyond one in a million, whatever a fitted curve says
CORRELATION = 0.5  # assumed between any two tasks of one pair: who thinks alike in one task does so in the next
SAMPLE = 2000  # pairs drawn for a task's base rate
# A little wider than what `python -m labkit.grading.similarity_measure` prints for the equivalents of all labs.
PRIOR_MEAN, PRIOR_SPREAD, PRIOR_PAIRS = 0.05, 0.10, 30

Pair = tuple[str, str]


def combined(chances: list[float]) -> float:
    """One chance out of those of several tasks, for dependent tasks.

    The better of Bonferroni's bound and Brown's method (1975: Fisher's statistic against a chi-square whose variance is
    raised for CORRELATION, with the covariances of Kost and McDermott 2002), doubled for having chosen.
    """
    from scipy.special import chdtrc  # type: ignore[import-untyped]

    n = len(chances)
    if not n:
        return 1.0
    covariance = CORRELATION * (3.25 + 0.75 * CORRELATION)
    mean, variance = 2 * n, 4 * n + n * (n - 1) * covariance
    statistic = -2 * sum(math.log(p) for p in chances)
    brown = float(chdtrc(2 * mean**2 / variance, statistic * 2 * mean / variance))
    return min(1.0, 2 * min(n * min(chances), brown))


class Base:
    """How alike a task's answers are by chance: a Beta distribution with the moments of sampled pairs and the prior.

    It never gives less than the share of sampled pairs that are as alike: where a task has few natural ways, many pairs
    take the same one, and no smooth curve says so.  The pairs of the two students in question are left out, so that a
    copy is not its own base rate.
    """

    def __init__(self, texts: dict[str, Shingles]) -> None:
        self.of: dict[Pair, float] = {}
        self.values: dict[str, list[float]] = {name: [] for name in texts}
        for a, b in _sample(list(texts)):
            x = 2 * len(texts[a] & texts[b]) / (len(texts[a]) + len(texts[b]))
            self.of[a, b] = x
            self.values[a].append(x)
            self.values[b].append(x)
        self.every = sorted(self.of.values())
        self.one, self.two = sum(self.every), sum(x * x for x in self.every)

    def chance(self, pair: Pair, likeness: float) -> float:
        """The probability that two who work alone are at least as alike."""
        from scipy.special import betaincc

        theirs = [x for name in pair for x in self.values[name]]
        twice = [self.of[pair]] if pair in self.of else []  # it stands in the lists of both
        n = len(self.every) - len(theirs) + len(twice)
        one = self.one - sum(theirs) + sum(twice) + PRIOR_PAIRS * PRIOR_MEAN
        two = self.two - sum(x * x for x in theirs) + sum(x * x for x in twice)
        above = len(self.every) - bisect.bisect_left(self.every, likeness)
        above += sum(x >= likeness for x in twice) - sum(x >= likeness for x in theirs)
        mean = one / (n + PRIOR_PAIRS)
        spread = (two + PRIOR_PAIRS * (PRIOR_MEAN**2 + PRIOR_SPREAD**2)) / (n + PRIOR_PAIRS) - mean**2
        spread = min(max(spread, PRIOR_SPREAD**2), 0.9 * mean * (1 - mean))
        size = mean * (1 - mean) / spread - 1
        curve = float(betaincc(mean * size, (1 - mean) * size, min(likeness, 1.0)))
        return max(LEAST, curve, above / n if n else 0.0)


def _sample(names: list[str]) -> Iterable[Pair]:
    if math.comb(len(names), 2) <= SAMPLE:
        return combinations(names, 2)
    draw = random.Random(0)
    return {(names[i], names[j]) for i, j in (sorted(draw.sample(range(len(names)), 2)) for _ in range(SAMPLE))}
