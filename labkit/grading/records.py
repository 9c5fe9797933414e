"""The plain data that passes between the parts of grading, and its JSON.

A `Turned` is a file somebody handed in, a `Verdict` what the spec says of it, a `Mark` what the policy makes of that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Student:
    """One row of the roster; without a roster, what the export says of somebody."""

    id: str
    name: str = ""
    email: str = ""
    section: str = ""
    columns: dict[str, str] = field(default_factory=dict)  # the roster's own, for the export to carry back
    also: tuple[str, ...] = ()  # other ids and the addresses that the roster gives this student


@dataclass(frozen=True)
class Turned:
    """One file that a student handed in for one lab."""

    student: str
    lab: str
    data: bytes
    when: datetime | None  # with a time zone; None where the export does not say
    where: str  # "week4.zip: ada_1234/lab.py", for messages


@dataclass(frozen=True)
class Refusal:
    """Something that was not graded, and why."""

    student: str  # "" when not known
    where: str
    reason: str  # one word of intake.REASONS
    says: str  # a sentence for the instructor
    lab: str = ""  # "" when not known, or when it concerns all that the student handed in


@dataclass
class Class:
    """What came in."""

    students: list[Student]
    turned: list[Turned]
    refused: list[Refusal] = field(default_factory=list)


@dataclass
class TaskVerdict:
    """One task of one file.  The words are those that `lab check` would print for it."""

    task: str
    points: int  # possible
    earned: int
    status: str  # passed wrong crashed slow forbidden begun not-started waiting not-run
    tests: int = 0
    tests_passed: int = 0
    note: str = ""
    claim: str = ""  # the first failing check: what it claims, what was called, wanted, given, where they differ
    called: str = ""
    expected: str = ""
    got: str = ""
    where: str = ""
    mistake: str = ""  # the known mistake behind it, "4.1/no_scale"; "" when none or several explain it
    says: str = ""  # what the mistake, or a generic diagnosis, tells the learner
    printed: str = ""  # the last lines of what the task printed
    behaviour: str = ""  # a hash of the failing checks: equal for two files that fail in the same way, "" if it passed


@dataclass
class Verdict:
    """One file against one lab."""

    lab: str
    title: str
    file: str  # sha256 of the file
    tasks: list[TaskVerdict]
    dials: list[str] = field(default_factory=list)  # of the student's variant; empty for the public lab
    salt: str = ""  # names the salt (a hash of it); "" for the practice seed
    spec: str = ""  # certificate.fingerprint of the lab
    environment: str = ""  # names what it ran on, see work.environment
    sandbox: str = ""  # "bubblewrap" or "limits"
    seconds: float = 0.0

    @property
    def points(self) -> int:
        return sum(t.points for t in self.tasks)

    @property
    def earned(self) -> int:
        return sum(t.earned for t in self.tasks)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Verdict:
        return cls(**{**data, "tasks": [TaskVerdict(**t) for t in data["tasks"]]})


@dataclass
class Mark:
    """What the policy makes of a student's verdict on one lab."""

    student: str
    lab: str
    points: float  # possible, in the gradebook's points
    earned: float  # before any penalty
    awarded: float  # after it
    status: str  # graded missing refused excused open
    late: float = 0.0  # seconds after this student's deadline, 0 when on time or when nobody knows
    slip_days: int = 0  # used for this lab
    penalty: float = 0.0  # the share that was taken off, 0 to 1
    note: str = ""  # a sentence, when there is something to say
    decided: bool = False  # by a person
