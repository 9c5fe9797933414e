"""Writes what comes out of grading: the gradebooks, and a folder for each student.

    gradebook-canvas.csv   gradebook-moodle.csv      for the platforms' import
    gradebook.json                                   every mark, and how it came about
    students/ID/result.json                          the student's marks and verdicts
    students/ID/junit.xml                            a test suite for each lab
    students/ID/results.json                         in Gradescope's format

Each file is written beside its place and then put there, so one that is seen is whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labkit import scaffold
from labkit.catalog import LabError
from labkit.grading import canvas, gradescope, junit, moodle
from labkit.grading.policy import Policy, deadline
from labkit.grading.records import Class, Mark, Student, Verdict

PLAIN = re.compile(rb"[a-z0-9_.-]")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")  # devices of Windows, whatever comes after the dot
LONGEST = 120  # characters of a folder's name: Windows gives a whole path 260


def folder_name(student: str) -> str:
    """The id as a folder's name that every system takes; never the same for two ids, whatever the system ignores.

    Small letters, digits, `_`, `-` and `.` stand for themselves, all else is `+` and two hex digits for each byte.
    """
    data = student.encode("utf-8", "surrogatepass")
    name = "".join(chr(b) if PLAIN.match(bytes([b])) else f"+{b:02x}" for b in data)
    if name.startswith(".") or RESERVED.match(name):
        name = f"+{data[0]:02x}{name[1:]}"
    if name.endswith("."):
        name = f"{name[:-1]}+2e"
    if len(name) > LONGEST:
        return "++" + hashlib.sha256(data).hexdigest()
    return name or "+"


def write(
    folder: Path, klass: Class, marks: Sequence[Mark], verdicts: Mapping[tuple[str, str], Verdict], policy: Policy
) -> None:
    """All files of the docstring above, into `folder`, which is made if need be.  LabError when the disk refuses."""
    by_key = {(m.student, m.lab): m for m in marks}
    by_student: dict[str, list[Mark]] = {}
    for mark in marks:
        by_student.setdefault(mark.student, []).append(mark)
    marked = {m.lab for m in marks if m.status != "open"}  # a column of nothing could overwrite what is there
    rules = [r for r in policy.rules.values() if r.lab.id in marked]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scaffold.write(folder / "gradebook-canvas.csv", canvas.table(klass.students, rules, by_key))
        scaffold.write(folder / "gradebook-moodle.csv", moodle.table(klass.students, rules, by_key))
        scaffold.write(folder / "gradebook.json", _json(_book(klass, marks, verdicts, policy)))
        for student in klass.students:
            own = by_student.get(student.id, [])
            _student(folder / "students" / folder_name(student.id), student, own, verdicts, policy)
    except OSError as e:
        raise LabError(f"The gradebook cannot be written: {e.strerror}: {e.filename}.") from None


def _student(
    folder: Path, student: Student, marks: Sequence[Mark], verdicts: Mapping[tuple[str, str], Verdict], policy: Policy
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    seen = {m.lab: verdicts[student.id, m.lab] for m in marks if (student.id, m.lab) in verdicts}
    data = {
        "student": {"id": student.id, "name": student.name, "section": student.section},
        "marks": [asdict(m) for m in marks],
        "verdicts": {lab: v.as_json() for lab, v in seen.items()},
    }
    scaffold.write(folder / "result.json", _json(data))
    rows = [(policy.rules[m.lab].lab, m, seen.get(m.lab)) for m in marks]
    scaffold.write(folder / "junit.xml", junit.xml(rows))
    scaffold.write(folder / "results.json", _json(gradescope.results(list(seen.values()), _total(student, marks))))


def _total(student: Student, marks: Sequence[Mark]) -> Mark | None:
    """One mark over all of a student's labs, for a results.json that has one score."""
    if len(marks) < 2:
        return marks[0] if marks else None
    points, earned, awarded = (sum(getattr(m, name) for m in marks) for name in ("points", "earned", "awarded"))
    note = "\n".join(f"{m.lab}: {m.note}" for m in marks if m.note)
    return Mark(student.id, "all", points, earned, awarded, "graded", note=note)


def _book(
    klass: Class, marks: Sequence[Mark], verdicts: Mapping[tuple[str, str], Verdict], policy: Policy
) -> dict[str, Any]:
    students = {s.id: s for s in klass.students}
    turned = {(t.student, t.lab): t for t in klass.turned}
    rows = []
    for mark in marks:
        key = (mark.student, mark.lab)
        due = deadline(policy, students[mark.student], mark.lab)
        when = turned[key].when if key in turned else None
        verdict = verdicts.get(key)
        how = {
            "due": due.isoformat() if due else None,
            "handed_in": when.isoformat() if when else None,
            "from": turned[key].where if key in turned else None,
            "file": verdict.file if verdict else None,
            "tasks": {t.task: {"status": t.status, "earned": t.earned, "points": t.points} for t in verdict.tasks}
            if verdict
            else {},
        }
        rows.append(asdict(mark) | {"how": how})
    return {
        "policy": policy.name,
        "labs": [
            {"id": r.lab.id, "title": r.lab.title, "points": r.points}
            for r in policy.rules.values()
            if r.lab.id in {m.lab for m in marks}
        ],
        "students": [
            {
                "id": s.id,
                "name": s.name,
                "email": s.email,
                "also": list(s.also),
                "section": s.section,
                "folder": folder_name(s.id),
            }
            for s in klass.students
        ],
        "marks": rows,
        "refused": [asdict(r) for r in klass.refused],
    }


def _json(data: dict[str, Any]) -> str:
    # not indented: only then is it C that writes it, and a class has thousands of these
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"
