"""The parts of the report that name students: who or what stands out, and what could not be graded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from labkit.catalog import Lab, order
from labkit.grading import tally
from labkit.grading.entries import REASONS
from labkit.grading.markup import called, count, esc, folded, number, percent, person, table
from labkit.grading.records import Class, Mark, Refusal, Student
from labkit.grading.tally import Rate, Verdicts

if TYPE_CHECKING:
    from labkit.grading.similarity import Hint

FIRST = 10  # rows of a list of people that stand open
OPEN = 40  # students whose marks stand open; the table of a larger class is folded


class Names:
    """How the page calls students, with a link to their page where there is one."""

    def __init__(self, klass: Class, pages: Mapping[str, str]) -> None:
        self.known = {s.id: s for s in klass.students}
        self.pages = pages

    def __call__(self, student: str) -> str:
        words = person(self.known.get(student, Student(student))) if student else "not known"
        return _linked(words, self.pages.get(student))


def _linked(words: str, page: str | None) -> str:
    return f'<a href="{quote(page, errors="surrogateescape")}">{words}</a>' if page else words


def look(
    klass: Class,
    marks: Sequence[Mark],
    verdicts: Verdicts,
    every: Sequence[Rate],
    hints: Sequence[Hint],
    pages: Mapping[str, str],
    labs: Sequence[Lab],
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
            _hints(hints, names, klass, labs),
        ]
    )


def everybody(klass: Class, marks: Sequence[Mark], pages: Mapping[str, str]) -> str:
    """The marks of each student for each lab, in the roster's order, with a link to the student's page."""
    if not klass.students:
        return "<p>There are no students.</p>\n"
    by_key = {(m.student, m.lab): m for m in marks}
    labs = sorted({m.lab for m in marks}, key=order)
    most = {lab: max(m.points for m in marks if m.lab == lab) for lab in labs}
    of = {lab: f"<br>of {number(most[lab])}" if most[lab] else "" for lab in labs}
    heads = ["Student", "Id", *(f"{esc(lab)}{of[lab]}" for lab in labs), "Total", "Share"]
    rows = []
    for student in klass.students:
        own = [by_key.get((student.id, lab)) for lab in labs]
        awarded, points = (sum(getattr(m, name) for m in own if m) for name in ("awarded", "points"))
        total = f"{number(awarded)} of {number(points)}"
        rows.append(
            [
                _linked(called(student), pages.get(student.id)),
                esc(student.id),
                *map(_cell, own),
                total,
                percent(awarded / points) if points else "–",
            ]
        )
    caption = "Points after penalties, in the roster's order; a name leads to the student's page"
    made = table(caption, heads, rows, range(2, len(heads)), pinned=True)
    return made if len(rows) <= OPEN else folded(f"{len(rows)} students", made)


def _cell(mark: Mark | None) -> str:
    """Points; a word where there are none to be had or nobody judged."""
    if mark is None:
        return "–"
    return number(mark.awarded) if mark.status == "graded" else esc(mark.status)


def _once(refusal: Refusal) -> str:
    """What a refusal says, without what the other columns say: whose it is, and where it lies."""
    general = REASONS.get(refusal.reason, "")
    if general and refusal.says.endswith(general):
        return general
    return refusal.says.removeprefix(f"{refusal.where.partition(': ')[2]}: ")


def absent(klass: Class, marks: Sequence[Mark], pages: Mapping[str, str]) -> str:
    """What was refused, with the reason, and who handed nothing in."""
    names = Names(klass, pages)
    refused = [[names(r.student), esc(r.reason), esc(_once(r)), esc(r.where)] for r in klass.refused]
    gone: dict[str, list[str]] = {}
    counted = Counter(m.student for m in marks if m.status not in ("excused", "open"))
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


def _hints(hints: Sequence[Hint], names: Names, klass: Class, labs: Sequence[Lab]) -> str:
    if not hints:
        return "<p>No group of files was similar beyond what this class shows by chance, or none were compared.</p>\n"
    shares = _public(hints, klass, labs)

    def who(student: str, lab: str) -> str:
        share = shares.get((student, lab))
        return names(student) + (f": {percent(share)} public" if share is not None else "")

    rows = [
        ["<br>".join(who(s, h.lab) for s in h.students), esc(h.lab), esc(", ".join(h.tasks)), esc(h.says)]
        + [f"{h.chance:.2g}"]
        for h in hints
    ]
    heads = ["Students", "Lab", "Tasks", "What is alike", "Pairs expected by chance"]
    words = (
        "<p>A hint to look, never a verdict. People who learn together write alike; read both files first. <em>Public</em> "
        "is how much of a file's own code the published solution has too. That part is left out of the comparison; where it "
        "is large, little of the file was compared.</p>\n"
    )
    return folded(
        count(len(hints), "hint") + " to look", words + table("Files to read side by side", heads, rows, (4,)), False
    )


def _public(hints: Sequence[Hint], klass: Class, labs: Sequence[Lab]) -> dict[tuple[str, str], float]:
    """(student, lab) → the share of a hinted file that the public solution has too."""
    from labkit.grading import similarity

    shown = {(student, h.lab) for h in hints for student in h.students}
    turned = [t for t in klass.turned if (t.student, t.lab) in shown]
    return similarity.solution_share(Class([], turned), [lab for lab in labs if lab.id in {t.lab for t in turned}])


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
