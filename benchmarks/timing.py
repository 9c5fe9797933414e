"""Time several ways to do the same so that their ratio means something on a machine that is also doing other things.

- The clock is this process's own CPU time. What other processes do hardly moves it; wall clock would swing by factors.
- All ways run in one process, taking turns. What does change during a run (the clock rate, a neighbour in the cache)
  changes for all of them.
- A figure is the median of several rounds; a ratio is that of two medians, with the lowest and highest of single rounds.

Does not:
- measure more than one thread: CPU time adds up the threads, so set every library to one before it is imported
- time what `prepare` does, or the garbage of the case before
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SLACK = 0.8  # of a goal: a benchmark fails below that, since no two machines are alike


@dataclass(frozen=True)
class Case:
    name: str
    run: Callable[[Any], object]  # what is timed; it gets what `prepare` made
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class Goal:
    """That `own` is at least so many times as fast as `peer`: 0.5 for half as fast."""

    own: str
    peer: str
    at_least: float


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one is as another: by medians, and in the worst and best single round."""

    median: float
    low: float
    high: float


def take_turns(
    cases: Sequence[Case],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
    tick: Callable[[str], object] = lambda name: None,
) -> dict[str, list[float]]:
    """Seconds of each case in each round, after one round that only warms up.

    Every round begins with another case, so that none always runs behind the same one.
    """
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(rounds + 1):
        first = number % len(cases)
        for case in [*cases[first:], *cases[:first]]:
            tick(case.name)
            made = case.prepare()
            gc.collect()
            start = clock()
            result = case.run(made)
            took = clock() - start
            del made, result
            if number:
                seconds[case.name].append(took)
    return seconds


def speed_ratio(own: Sequence[float], peer: Sequence[float]) -> Ratio:
    """How many times as fast `own` is as `peer`, from their seconds in the same rounds."""
    single = [theirs / ours for ours, theirs in zip(own, peer, strict=True)]
    return Ratio(statistics.median(peer) / statistics.median(own), min(single), max(single))


def verdict(ratio: float, at_least: float) -> str:
    """`reached`, `short of it` down to SLACK of the goal, else `missed`."""
    if ratio >= at_least:
        return "reached"
    return "short of it" if ratio >= SLACK * at_least else "missed"


def area_under(places: Sequence[float], values: Sequence[float]) -> float:
    """The integral of a function known at some places, straight lines between them.

    >>> area_under([0, 10, 30], [4, 2, 2])
    70.0
    """
    steps = zip(places, places[1:], values, values[1:], strict=False)
    return sum((right - left) * (a + b) / 2 for left, right, a, b in steps)
