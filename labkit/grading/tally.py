"""Counts over a class: how each task went, how marks are spread, and who or what stands out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from labkit.catalog import Lab, LabError
from labkit.grading.records import Mark, Verdict

FAILED = ("wrong", "crashed", "slow", "forbidden")
TRIED = ("passed", *FAILED)
BINS = 10
ENOUGH = 5  # fewer students than this are a handful of people and not a rate
QUARTER = 0.25  # of those who tried did not pass: then a task is worth teaching again
BELOW_OWN = 0.4  # of a lab's points
BELOW_OTHERS = 0.25  # of those who tried

Verdicts = Mapping[tuple[str, str], Verdict]


@dataclass
class Rate:
    """How one task went: files by status."""

    lab: str
    task: str
    difficulty: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        """Files in which the task was written, rightly or not."""
        return sum(self.counts[s] for s in TRIED)

    @property
    def failed(self) -> int:
        """Files in which it was written and did not pass."""
        return sum(self.counts[s] for s in FAILED)

    @property
    def unfinished(self) -> int:
        """Files in which it was begun, waits for another task, or was not run."""
        return self.counts.total() - self.tried - self.counts["not-started"]

    @property
    def share(self) -> float:
        """Passed, as a share of those who tried; 0 when nobody did."""
        return self.counts["passed"] / self.tried if self.tried else 0.0


def rates(labs: Sequence[Lab], verdicts: Verdicts) -> list[Rate]:
    """One for each task of these labs, in the course's order; also for tasks that nobody handed in."""
    found = {(lab.id, task.name): Rate(lab.id, task.name, lab.difficulty) for lab in labs for task in lab.tasks}
    for (_, lab_id), verdict in verdicts.items():
        for task in verdict.tasks:
            if (lab_id, task.task) not in found:
                raise LabError(
                    f"A verdict speaks of task {task.task} of lab {lab_id}, which the report does not cover."
                )
            found[lab_id, task.task].counts[task.status] += 1
    return list(found.values())


def shares(marks: Iterable[Mark]) -> dict[str, dict[str, float]]:
    """For each lab and student, the earned share of the points, before penalties: graded files only."""
    found: dict[str, dict[str, float]] = {}
    for mark in marks:
        if mark.status == "graded" and mark.points > 0:
            found.setdefault(mark.lab, {})[mark.student] = mark.earned / mark.points
    return found


def totals(marks: Iterable[Mark]) -> dict[str, float]:
    """For each student, the awarded share of all points that count for them: missing is 0, excused is left out."""
    sums: dict[str, list[float]] = {}
    for mark in marks:
        if mark.status != "excused":
            pair = sums.setdefault(mark.student, [0.0, 0.0])
            pair[0] += mark.awarded
            pair[1] += mark.points
    return {student: awarded / points for student, (awarded, points) in sums.items() if points > 0}


def five_numbers(values: Sequence[float]) -> tuple[float, float, float, float, float] | None:
    """Lowest, lower quartile, median, upper quartile, highest; None for no values.  Quartiles are interpolated."""
    if not values:
        return None
    if len(values) == 1:
        return (values[0],) * 5
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return min(values), low, middle, high, max(values)


def bins(values: Iterable[float]) -> list[int]:
    """How many shares lie in each tenth; 100 % and what is above belong to the last, what is below 0 to the first."""
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, int(value * BINS + 1e-9)))] += 1
    return counts


@dataclass(frozen=True)
class Below:
    """A file that earned far less than its author's other files, once each lab's own median is taken off."""

    student: str
    lab: str
    share: float
    usual: float  # the median share of the student's other labs
    gap: float  # how far below, as a share of the points


def below_own(marks: Iterable[Mark]) -> list[Below]:
    """The widest gap first.  It takes three other graded labs to know what is usual for somebody."""
    by_lab = shares(marks)
    middle = {lab: statistics.median(of.values()) for lab, of in by_lab.items()}
    mine: dict[str, dict[str, float]] = {}
    for lab, of in by_lab.items():
        for student, share in of.items():
            mine.setdefault(student, {})[lab] = share
    found = []
    for student, of in mine.items():
        for lab, share in of.items():
            others = [x for x in of if x != lab]
            if len(others) < 3:
                continue
            gap = statistics.median(of[x] - middle[x] for x in others) - (share - middle[lab])
            if gap > BELOW_OWN:
                found.append(Below(student, lab, share, statistics.median(of[x] for x in others), gap))
    return sorted(found, key=lambda b: (-b.gap, b.student, b.lab))


def below_difficulty(every: Sequence[Rate]) -> list[tuple[Rate, float]]:
    """Tasks that pass far less often than the median of the other tasks of equally difficult labs, and that median."""
    known = [r for r in every if r.tried >= ENOUGH]
    found = []
    for rate in known:
        others = [r.share for r in known if r.difficulty == rate.difficulty and r is not rate]
        if len(others) >= ENOUGH and (usual := statistics.median(others)) - rate.share > BELOW_OTHERS:
            found.append((rate, usual))
    return sorted(found, key=lambda pair: pair[0].share - pair[1])


def timed_out(verdicts: Verdicts) -> list[tuple[str, str, list[str]]]:
    """(student, lab, tasks) of each file in which a task ran out of time."""
    slow = [(who, lab, [t.task for t in v.tasks if t.status == "slow"]) for (who, lab), v in verdicts.items()]
    return [row for row in slow if row[2]]


def hard_tasks(every: Sequence[Rate], limit: int = 5) -> list[Rate]:
    """Where teaching again would help most people: at least five, and a quarter of those who tried, did not pass."""
    hard = [r for r in every if r.failed >= ENOUGH and 1 - r.share >= QUARTER]
    return sorted(hard, key=lambda r: (-r.failed, r.share))[:limit]
