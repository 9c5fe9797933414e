"""The gradebook for Moodle: a CSV file for Grades > Import > CSV file.

Documented at https://docs.moodle.org/en/Grade_import; exactly, in the code that reads it:
https://github.com/moodle/moodle/blob/main/grade/import/csv/classes/load_data.php.  From there:

    - One column names the student (Moodle asks which: `ID number` or `Email address`); each other may be a grade.
    - A row whose student is not in the course stops the whole import.
    - `-` is no grade; so is an empty cell.
    - A grade above the site's highest (100 unless set otherwise) stops the import: keep a lab at 100 points or less.
"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.grading import cells
from labkit.grading.records import Mark, Student
from labkit.grading.rules import Rule

FIRST = ("ID number", "Email address", "Name")


def is_export(header: Sequence[str]) -> bool:
    """Whether a roster with these headers is a gradebook that Moodle exported."""
    return "ID number" in header and "Email address" in header


def table(students: Sequence[Student], rules: Sequence[Rule], marks: dict[tuple[str, str], Mark]) -> str:
    """The file as text, in UTF-8 when written.  A Moodle export that came in as the roster keeps its columns.

    With a roster, students who are not on it are left out: their rows would stop the import of all others.
    """
    header = cells.roster_header(students)
    everyone = [s for s in students if s.columns] if header else list(students)
    if not is_export(header):
        header = list(FIRST)
    columns = cells.lab_columns(header, rules)
    header += [c for c in columns.values() if c not in header]
    rows = [[cells.safe(h) for h in header]]
    for student in everyone:
        row = {"ID number": student.id, "Email address": student.email, "Name": student.name}
        row |= student.columns
        for rule in rules:
            mark, column = marks.get((student.id, rule.lab.id)), columns[rule.lab.id]
            if mark and mark.status in ("graded", "missing"):
                row[column] = cells.number(mark.awarded)
            elif (mark and mark.status == "excused") or not row.get(column):
                row[column] = "-"  # a refused file keeps what is there: nobody has judged it yet
        rows.append([cells.safe(row.get(h, "")) for h in header])
    return cells.table(rows)
