"""What being late costs: started days, slip days, the penalty.  Numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.grading.rules import Late

DAY = 86_400  # seconds


@dataclass(frozen=True)
class Due:
    """One file of a student, for sharing out slip days.  Files come in the order of their deadlines."""

    points: float  # earned, before any penalty
    late: float  # seconds after the deadline, 0 when on time


def days(late: float) -> int:
    """Started days: one second late is one day, 24 hours are one, a second more are two."""
    return max(0, math.ceil(late / DAY))


def over(late: float, rules: Late) -> bool:
    """Past the hard cut-off?  Slip days do not move it."""
    return rules.until_days is not None and late > rules.until_days * DAY


def penalty(late: float, slipped: int, rules: Late) -> float:
    """The share that is taken off, 0 to 1, after `slipped` slip days."""
    if over(late, rules):
        return 1.0
    return min(rules.per_day * max(0, days(late) - slipped), rules.at_most)


def share_out(files: Sequence[Due], rules: Late) -> list[int]:
    """The slip days that go to each file.

    A file past the cut-off takes none, nor one that earned nothing.  In "order" each takes what it can use, the earliest
    deadline first, so a mark never changes because of a later lab.  "best" is the split that leaves the student most
    points; of equal ones, the one that uses the fewest days.
    """
    wants = [0 if over(f.late, rules) or f.points <= 0 else min(days(f.late), rules.slip_days) for f in files]
    if rules.slip_use == "best":
        return _best(files, wants, rules)
    given, left = [], rules.slip_days
    for want in wants:
        given.append(min(want, left))
        left -= given[-1]
    return given


def _best(files: Sequence[Due], wants: Sequence[int], rules: Late) -> list[int]:
    """Dynamic programming: `best[n]` is the most points that n slip days save in the files so far, with their split."""
    best: list[tuple[float, list[int]]] = [(0.0, [])] * (rules.slip_days + 1)
    for file, want in zip(files, wants, strict=True):
        full = penalty(file.late, 0, rules)
        saved = [file.points * (full - penalty(file.late, n, rules)) for n in range(want + 1)]
        best = [
            # rounded, so that equal savings are equal and the first, with fewer days, wins
            max(
                (
                    (round(best[budget - n][0] + saved[n], 9), [*best[budget - n][1], n])
                    for n in range(min(want, budget) + 1)
                ),
                key=lambda found: found[0],
            )
            for budget in range(rules.slip_days + 1)
        ]
    return max(best, key=lambda found: found[0])[1]
