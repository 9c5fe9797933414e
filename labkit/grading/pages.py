"""The two pages that grading makes: one for the instructor on the class, one for each student."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.catalog import Lab
from labkit.grading import misconceptions, tally
from labkit.grading.misconceptions import Misconception
from labkit.grading.report_page import Extra, report
from labkit.grading.student_page import student
from labkit.grading.tally import Verdicts

__all__ = ["Extra", "Misconception", "report", "student", "summary"]


def summary(labs: Sequence[Lab], verdicts: Verdicts) -> list[Misconception]:
    """What a student's page may know of the class: its ranked mistakes, small groups without a number."""
    return misconceptions.ranked(tally.rates(labs, verdicts), verdicts)
