"""The class's mistakes, ranked, so that no small group can be seen or computed back.

A count under five is never printed.  That alone would not hide it: the tables beside it say how many failed the task,
and what is left after the printed counts belongs to the rest.  So a rare mistake is named only where, by all that the
tables say, its count could still be any number from one to four; where too few are left for that, it is not named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.grading.tally import ENOUGH, Rate, Verdicts

DIAGNOSED = ("wrong", "crashed", "slow")  # a forbidden name is its own explanation


@dataclass(frozen=True)
class Misconception:
    """A known mistake of a class.  `students` is None for fewer than five."""

    mistake: str
    says: str
    lab: str
    task: str
    students: int | None
    tried: int  # those whose file tried the task

    @property
    def share(self) -> float | None:
        """Of those who tried the task; None for fewer than five."""
        return None if self.students is None else self.students / self.tried


def ranked(every: Sequence[Rate], verdicts: Verdicts) -> list[Misconception]:
    """The most frequent first, then the rare ones that may be named, in the course's order and by name."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    says: dict[str, str] = {}
    for (_, lab), verdict in verdicts.items():
        for task in verdict.tasks:
            if task.mistake and task.status in DIAGNOSED:
                counts.setdefault((lab, task.task), Counter())[task.mistake] += 1
                says[task.mistake] = task.says
    common, rare = [], []
    for rate in every:
        of = counts.get((rate.lab, rate.task), Counter())
        made = [
            Misconception(m, says[m], rate.lab, rate.task, n if n >= ENOUGH else None, rate.tried)
            for m, n in sorted(of.items())
        ]
        common += [m for m in made if m.students is not None]
        few = [m for m in made if m.students is None]
        rest = sum(rate.counts[s] for s in DIAGNOSED) - sum(m.students or 0 for m in made)
        # each other rare one takes at least one of the rest: what remains must leave room for four
        if rest - (len(few) - 1) >= ENOUGH - 1:
            rare += few
    common.sort(key=lambda m: (-(m.students or 0), -(m.share or 0), m.mistake))
    return common + rare
