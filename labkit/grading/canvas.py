"""The gradebook for Canvas.

The format is that of Canvas's own export, which its import takes back; documented under "How do I import grades in the
Gradebook?" in the instructor guide (https://community.canvaslms.com), and exactly in the code that reads it:
https://github.com/instructure/canvas-lms/blob/master/lib/gradebook_importer.rb.  From there:

    - Student, ID, SIS User ID, SIS Login ID and Section come first, then a column an assignment.
    - A student is found by ID (Canvas's own number), else SIS user id, else SIS login id, else by the very name.
    - `Lab 4.1 (99182)` is assignment 99182; without a number it is the assignment of that name, or a new one.
    - The row whose first cell has `Points Possible` says what the assignments are worth.
    - `EX` excuses.  An empty cell *removes* a grade that Canvas has, so what is not ours goes back as it came.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labkit.grading import cells
from labkit.grading.records import Mark, Student
from labkit.grading.rules import Rule

FIRST = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
TOTALS = re.compile(r"(Current|Final) (Score|Points|Grade)|Override (Score|Grade|Status)")


def is_export(header: Sequence[str]) -> bool:
    """Whether a roster with these headers is a gradebook that Canvas exported."""
    return "ID" in header and "Section" in header and ("Student" in header or "LastName" in header)


def table(students: Sequence[Student], rules: Sequence[Rule], marks: dict[tuple[str, str], Mark]) -> str:
    """The file as text.  A Canvas export that came in as the roster goes back column for column, with our cells filled.

    A student whom it does not name gets a row with what is known; Canvas then asks who that is.
    """
    header = cells.roster_header(students)
    if not is_export(header):
        header = list(FIRST)
    columns = cells.lab_columns(header, rules)
    header += [c for c in columns.values() if c not in header]
    points = {columns[r.lab.id]: cells.number(r.points) for r in rules}
    second = ["(read only)" if TOTALS.search(h) else points.get(h, "") for h in header]
    rows = [[cells.safe(h) for h in header], ["    Points Possible", *second[1:]]]
    for student in students:
        row = _known(student, header)
        for rule in rules:
            mark = marks.get((student.id, rule.lab.id))
            if mark and mark.status not in ("refused", "open"):  # not judged, or not due: no zero
                row[columns[rule.lab.id]] = "EX" if mark.status == "excused" else cells.number(mark.awarded)
        rows.append([cells.safe(row.get(h, "")) for h in header])
    return cells.table(rows)


def _known(student: Student, header: Sequence[str]) -> dict[str, str]:
    """The student's own row of the export, else what names them, without `ID`: a wrong number is another student."""
    if is_export(list(student.columns)):
        return dict(student.columns)
    last, _, first = student.name.rpartition(" ")[::-1]
    ours = {
        "Student": student.name or student.id,
        "LastName": last or student.id,
        "FirstName": first,
        "SIS User ID": student.id,
        "SIS Login ID": student.email or student.id,
        "Section": student.section,
    }
    return {h: student.columns.get(h) or ours[h] for h in header if h in ours}
