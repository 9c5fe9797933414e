"""The parts of the report that name students: who or what stands out, and what could not be graded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from labkit.catalog import order
from labkit.grading import tally
from labkit.grading.markup import count, esc, folded, percent, person, table
from labkit.grading.records import Class, Mark, Student
from labkit.grading.tally import Rate, Verdicts

if TYPE_CHECKING:
    from labkit.grading.similarity import Hint

FIRST = 10  # rows of a list of people that stand open


class Names:
    """How the page calls students, with a link to their page where there is one."""

    def __init__(self, klass: Class, pages: Mapping[str, str]) -> None:
        self.known = {s.id: s for s in klass.students}
        self.pages = pages

    def __call__(self, student: str) -> str:
        words = person(self.known.get(student, Student(student))) if student else "not known"
        page = self.pages.get(student)
        return f'<a href="{quote(page, errors="surrogateescape")}">{words}</a>' if page else words


def look(
    klass: Class,
    marks: Sequence[Mark],
    verdicts: Verdicts,
    every: Sequence[Rate],
    hints: Sequence[Hint],
    pages: Mapping[str, str],
) -> str:
    """Outliers and similarity hints.  None of it is a verdict on anybody."""
    names = Names(klass, pages)
    below = [[names(b.student), esc(b.lab), percent(b.share), percent(b.usual)] for b in tally.below_own(marks)]
    slow = [[names(who), esc(lab), esc(", ".join(tasks))] for who, lab, tasks in tally.timed_out(verdicts)]
    odd = [
        [f"{esc(r.lab)} {esc(r.task)}", percent(r.share), percent(usual), f"{r.difficulty} of 5"]
        for r, usual in tally.below_difficulty(every)
    ]
    return "".join(
        [
            "<h3>Students far below their own other labs</h3>\n",
            _listed(
                below,
                f"Files {percent(tally.BELOW_OWN)} of the points or more below their author's others, once each lab's own "
                "median is taken off",
                ["Student", "Lab", "Earned", "Median of their other labs"],
                "Nobody, among those with four graded labs or more.",
                (2, 3),
            ),
            "<h3>Tasks far below their difficulty</h3>\n",
            _listed(
                odd,
                "Tasks that pass much less often than the median of the others in labs of the same difficulty",
                ["Task", "Pass", "Median of the others", "Difficulty of the lab"],
                "None, among tasks that five or more tried.",
                (1, 2),
            ),
            "<h3>Files that ran out of time</h3>\n",
            _listed(slow, "Tasks that gave no answer in time", ["Student", "Lab", "Tasks"], "None."),
            "<h3>Similar files</h3>\n",
            _hints(hints, names),
        ]
    )


def absent(klass: Class, marks: Sequence[Mark], pages: Mapping[str, str]) -> str:
    """What was refused, with the reason, and who handed nothing in."""
    names = Names(klass, pages)
    refused = [[names(r.student), esc(r.reason), esc(r.says), esc(r.where)] for r in klass.refused]
    gone: dict[str, list[str]] = {}
    counted = Counter(m.student for m in marks if m.status != "excused")
    for mark in marks:
        if mark.status == "missing":
            gone.setdefault(mark.student, []).append(mark.lab)
    rows = []
    for student, labs in sorted(gone.items(), key=lambda pair: -len(pair[1])):
        what = ", ".join(map(esc, sorted(labs, key=order)))
        rows.append([names(student), f"all {len(labs)}" if len(labs) == counted[student] else str(len(labs)), what])
    return "".join(
        [
            "<h3>Refused or remarked on</h3>\n",
            _listed(
                refused,
                "What came in and was not taken as it is",
                ["Student", "Reason", "What it means", "Where"],
                "None.",
            ),
            "<h3>Not handed in</h3>\n",
            _listed(
                rows, "Labs that a student did not hand in", ["Student", "Labs", "Which"], "Nothing is missing.", (1,)
            ),
        ]
    )


def _hints(hints: Sequence[Hint], names: Names) -> str:
    if not hints:
        return "<p>No group of files was similar beyond what this class shows by chance, or none were compared.</p>\n"
    rows = [
        ["<br>".join(map(names, h.students)), esc(h.lab), esc(", ".join(h.tasks)), esc(h.says), f"{h.chance:.2g}"]
        for h in hints
    ]
    heads = ["Students", "Lab", "Tasks", "What is alike", "Pairs expected by chance"]
    words = "<p>A hint to look, never a verdict. People who learn together write alike; read both files first.</p>\n"
    return folded(
        count(len(hints), "hint") + " to look", words + table("Files to read side by side", heads, rows, (4,)), False
    )


def _listed(
    rows: Sequence[Sequence[str]], caption: str, heads: Sequence[str], none: str, numeric: Sequence[int] = ()
) -> str:
    """A table of which the first rows stand open; a sentence instead of an empty one."""
    if not rows:
        return f"<p>{none}</p>\n"
    text = table(caption, heads, rows[:FIRST], numeric)
    if rest := rows[FIRST:]:
        text += folded(f"{len(rest)} more", table(f"{caption}, continued", heads, rest, numeric))
    return text
