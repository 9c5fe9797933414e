"""One page for one student: what passed, what did not and why, and the next command to type."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from labkit.catalog import order
from labkit.grading.markup import clean, count, document, esc, folded, number, percent, person, table
from labkit.grading.misconceptions import Misconception
from labkit.grading.records import Mark, Student, TaskVerdict, Verdict
from labkit.grading.tally import FAILED, Verdicts
from labkit.report import SYMBOL, WORDS

PRINTED = "What your code printed"


def student(who: Student, marks: Sequence[Mark], verdicts: Verdicts, ranked: Sequence[Misconception] | None) -> str:
    """The page as HTML.  Marks and verdicts of others are passed over.

    ranked: the class's misconceptions; a mistake that five or more made is called common, without a number, because in
    a small class a number would speak of people.  None: nothing is said of the class.
    """
    own = {m.lab: m for m in marks if m.student == who.id}
    files = {lab: v for (student, lab), v in verdicts.items() if student == who.id}
    common = {m.mistake for m in ranked or () if m.students is not None}
    labs = sorted({*own, *files}, key=order)
    parts = [f"<h1>{person(who)}</h1>\n<p class='lede'>{_lede(own)}</p>\n"]
    if labs:
        parts += [_next(labs, files), _overview(labs, own, files)]
    else:
        parts.append("<p>Nothing has been graded for you yet.</p>\n")
    parts += [_lab(lab, own.get(lab), files.get(lab), common) for lab in labs]
    plain = clean(who.name or who.id).replace("\n", " ")[:60]
    return document(f"{plain} · results", "".join(parts), "Made by lab grade. It speaks of one student only.")


def lateness(mark: Mark) -> str:
    """What was late, which slip days covered it and what it cost, in a sentence or two; "" when nothing was."""
    if mark.late <= 0:
        return ""
    words = f"Handed in {_span(mark.late)} after your deadline."
    if mark.slip_days:
        used = count(mark.slip_days, "slip day")
        words += f" {used} {'was' if mark.slip_days == 1 else 'were'} used for it."
    if mark.penalty > 0:
        before, after = number(mark.earned), count_points(mark.awarded)
        return f"{words} {percent(mark.penalty)} was taken off for being late: {before} became {after}."
    return f"{words} Nothing was taken off."


def count_points(points: float) -> str:
    return f"{number(points)} {'point' if points == 1 else 'points'}"


def _span(seconds: float) -> str:
    """`1 day 6 hours`, `20 minutes`: the two largest units, and at least a minute."""
    left = timedelta(seconds=seconds)
    hours, minutes = left.seconds // 3600, left.seconds // 60 % 60
    parts = [(left.days, "day"), (hours, "hour"), (minutes, "minute")]
    said = [count(n, word) for n, word in parts if n][:2]
    return " ".join(said) or "less than a minute"


def _lede(marks: dict[str, Mark]) -> str:
    counted = [m for m in marks.values() if m.status != "excused"]
    if not counted:
        return "No points count yet."
    return f"{number(sum(m.awarded for m in counted))} of {count_points(sum(m.points for m in counted))} in all."


def _next(labs: list[str], files: dict[str, Verdict]) -> str:
    """The one thing to do first: the first failing task, else the first that is not written."""
    for wanted in (FAILED, ("begun", "not-started")):
        for lab in labs:
            for task in files[lab].tasks if lab in files else ():
                if task.status in wanted:
                    return f"<p><strong>Where to go on:</strong> {_commands(lab, task)}</p>\n"
    if missing := [lab for lab in labs if lab not in files]:
        return f"<p><strong>Where to go on:</strong> <code>lab show {esc(missing[0])}</code>, which has no result yet.</p>\n"
    return "<p>Every task that you handed in has passed.</p>\n"


def _commands(lab: str, task: TaskVerdict) -> str:
    words = f"<code>lab hint {esc(lab)} {esc(task.task)}</code>"
    if task.status in ("wrong", "crashed", "slow"):
        words += f" for a hint, <code>lab repro {esc(lab)} {esc(task.task)}</code> for a small case to step through"
    return words + "."


def _overview(labs: list[str], marks: dict[str, Mark], files: dict[str, Verdict]) -> str:
    rows = []
    for lab in labs:
        mark, file = marks.get(lab), files.get(lab)
        title = f'<a href="#lab-{esc(lab)}">{esc(lab)}{" " + esc(file.title) if file else ""}</a>'
        tasks = f"{sum(t.status == 'passed' for t in file.tasks)} of {len(file.tasks)}" if file else "–"
        points = f"{number(mark.awarded)} of {number(mark.points)}" if mark else "does not count"
        rows.append([title, points, tasks, esc(mark.status if mark else "not counted")])
    return table("Your labs", ["Lab", "Points", "Tasks passed", "Status"], rows, numeric=(1, 2))


def _lab(lab: str, mark: Mark | None, file: Verdict | None, common: set[str]) -> str:
    parts = [f'<section aria-labelledby="lab-{esc(lab)}"><h2 id="lab-{esc(lab)}">{esc(lab)}']
    parts.append(f"{' ' + esc(file.title) if file else ''}</h2>\n")
    if mark:
        parts += [f"<p>{esc(s)}</p>\n" for s in (lateness(mark), mark.note) if s]
    if file is None:
        if mark and mark.status == "excused":
            parts.append("<p>You are excused from it: it does not count.</p>\n")
        elif not (mark and mark.note):
            parts.append("<p>There is no result for this lab.</p>\n")
        return "".join([*parts, "</section>\n"])
    if file.dials:
        parts.append(f"<p>Your variant differs from the public lab in: {esc(', '.join(file.dials))}.</p>\n")
    if file.salt and any(t.status in FAILED for t in file.tasks):
        as_graded = f"<code>lab check {esc(lab)} --as-graded</code>"
        parts.append(f"<p class='soft'>Graded on inputs that <code>lab check</code> has not shown you; {as_graded} ")
        parts.append("tries others like them.</p>\n")
    if passed := [t for t in file.tasks if t.status == "passed"]:
        names = ", ".join(f"{esc(t.task)} ({count_points(t.earned)})" for t in passed)
        parts.append(f'<p><span class="passed" aria-hidden="true">✓</span> Passed: {names}.</p>\n')
    parts += [_task(lab, t, common) for t in file.tasks if t.status != "passed"]
    return "".join([*parts, "</section>\n"])


def _task(lab: str, task: TaskVerdict, common: set[str]) -> str:
    symbol, words = SYMBOL.get(task.status, "✗"), WORDS.get(task.status, task.status)
    failed = task.status in FAILED
    kind = ' class="failed"' if failed else ""
    head = f'<span{kind} aria-hidden="true">{symbol}</span> {esc(task.task)}: {esc(words)}'
    far = f", {task.tests_passed} of {count(task.tests, 'test')} pass" if failed and task.tests else ""
    parts = [
        f'<div class="card"><h3>{head}</h3>\n<p class="soft">{task.earned} of {count_points(task.points)}{far}.</p>\n'
    ]
    if task.note and task.note != task.got:
        parts.append(f"<p>{_lines(task.note)}</p>\n")
    rows = [("claim", esc(task.claim))] if task.claim else []
    texts = (("called", task.called), ("expected", task.expected), ("got", task.got), ("where", task.where))
    rows += [(name, f"<code>{_lines(text)}</code>") for name, text in texts if text]
    if rows:
        parts.append(f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in rows)}</dl>\n")
    if task.says:
        also = " It is a common one in your class." if task.mistake in common else ""
        name = f' <span class="soft">({esc(task.mistake)})</span>' if task.mistake else ""
        parts.append(f'<p class="likely"><strong>Likely:</strong> {esc(task.says)}{name}{also}</p>\n')
    if task.printed.strip():
        parts.append(folded(PRINTED, f"<pre><code>{esc(clean(task.printed.rstrip(), last=True))}</code></pre>"))
    if failed or task.status in ("begun", "not-started"):
        parts.append(f"<p>Next: {_commands(lab, task)}</p>\n")
    return "".join([*parts, "</div>\n"])


def _lines(text: str) -> str:
    """Lines stay lines, with their indentation, in text that flows."""
    return esc(text).replace("\n", "<br>")
