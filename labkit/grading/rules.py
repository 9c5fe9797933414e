"""What a policy says, checked and in plain values, and the moments it speaks of.

Lateness is measured in real time: everything here is compared in UTC, so a night in which the clocks change has 23 or
25 hours.  (Python subtracts two times of one zone by what the clocks show.)
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from labkit.catalog import Lab, LabError


@dataclass(frozen=True)
class Rule:
    """What the policy says of one lab."""

    lab: Lab
    points: float  # in the gradebook; 0 to the lab's own points, or scaled
    due: datetime | None = None  # in UTC
    clock: datetime | None = None  # the deadline as the policy's zone shows it, for extensions by days
    optional: bool = False  # counts for those who hand it in
    column: str = ""  # the gradebook's header for it, when it is not the usual one


@dataclass(frozen=True)
class Late:
    """What being late costs.  A day is a started 24 hours."""

    per_day: float = 0.0  # share of what was earned
    at_most: float = 1.0  # the penalty never exceeds this share
    until_days: int | None = None  # after so many days from the student's deadline a file counts nothing
    slip_days: int = 0  # each student's budget over all labs
    slip_use: str = "order"  # "order" of the deadlines, or "best": the split that leaves most points


@dataclass(frozen=True)
class Extension:
    """Another deadline for some students: exactly `due`, or `days` later by the calendar."""

    key: str  # where it stands in the file, for messages
    students: tuple[str, ...]
    sections: tuple[str, ...]
    labs: tuple[str, ...]  # empty: every lab with a deadline
    due: datetime | None = None
    days: int = 0


@dataclass(frozen=True)
class Excuse:
    """Labs that do not count for some students."""

    key: str
    students: tuple[str, ...]
    labs: tuple[str, ...]  # empty: all


@dataclass(frozen=True)
class Decision:
    """A mark that a person gives, whatever the program found: an appeal, a paper of an examination."""

    key: str
    students: tuple[str, ...]
    lab: str
    points: float  # of the gradebook
    why: str  # students read it


@dataclass(frozen=True)
class Best:
    """Of these labs, only the best `count` of each student count."""

    labs: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Policy:
    """How verdicts become marks.  Made by `policy.read`."""

    name: str  # of the file, for messages; "the default policy" without one
    rules: dict[str, Rule]  # by lab id, in the course's order
    listed: bool = False  # the file lists its labs; otherwise those count that somebody handed in
    zone: ZoneInfo | None = None
    credit: float | None = None  # practice: all points from this share on, none below it
    late: Late = field(default_factory=Late)
    extensions: tuple[Extension, ...] = ()
    excuses: tuple[Excuse, ...] = ()
    decisions: tuple[Decision, ...] = ()
    best: tuple[Best, ...] = ()


def moment(clock: datetime, zone: ZoneInfo) -> datetime:
    """The UTC moment at which the zone's clocks show this.  What they show twice, or never, is taken as the later one.

    Both happen once a year, in the nights in which the clocks change; the later moment is the student's favour.
    """
    return max(clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def exists(clock: datetime, zone: ZoneInfo) -> bool:
    """Whether the zone's clocks ever show this time: in spring they skip an hour."""
    return clock.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) == clock


def days_later(rule: Rule, zone: ZoneInfo | None, days: int) -> datetime | None:
    """The rule's deadline so many days later, at the same time of day on the policy's clocks."""
    if rule.due is None:
        return None
    if rule.clock is None or zone is None:  # the deadline has an offset of its own, so no clock that changes
        return rule.due + timedelta(days=days)
    return moment(rule.clock + timedelta(days=days), zone)


def closest(word: str, words: list[str]) -> str:
    """` Did you mean …?`, or "" when nothing is near."""
    near = difflib.get_close_matches(word, words, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def refuse(name: str, key: str, says: str) -> LabError:
    """The one line for something in a policy that cannot be: file, key, sentence."""
    return LabError(f"{name}: {key}: {says}")
