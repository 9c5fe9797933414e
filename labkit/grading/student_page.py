"""One page for one student: what passed, what did not and why, and the next command to type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from labkit.catalog import Lab, order
from labkit.grading import policy, words
from labkit.grading.markup import clean, count, document, esc, folded, number, percent, person, table
from labkit.grading.misconceptions import Misconception
from labkit.grading.records import Mark, Refusal, Student, TaskVerdict, Verdict
from labkit.grading.tally import FAILED, Verdicts
from labkit.report import SYMBOL, WORDS

STATUS = {"missing": "not handed in", "refused": "not graded", "excused": "does not count", "open": "not handed in yet"}
UNTIMED = "It is not known when this was handed in, so nothing was taken off for being late."


def student(
    who: Student,
    marks: Sequence[Mark],
    verdicts: Verdicts,
    ranked: Sequence[Misconception] | None,
    refused: Sequence[Refusal] = (),
    labs: Sequence[Lab] = (),
) -> str:
    """The page as HTML.  Marks, verdicts and refusals of others are passed over.

    ranked: the class's misconceptions; a mistake that five or more made is called common, without a number, because in
    a small class a number would speak of people.  None: nothing is said of the class.
    labs: for the titles of those without a file.
    """
    own = {m.lab: m for m in marks if m.student == who.id}
    files = {lab: v for (student, lab), v in verdicts.items() if student == who.id}
    titles = {lab.id: lab.title for lab in labs} | {lab: v.title for lab, v in files.items()}
    named = {lab: " ".join(filter(None, (lab, titles.get(lab)))) for lab in sorted({*own, *files}, key=order)}
    common = {m.mistake for m in ranked or () if m.students is not None}
    mine = [r for r in refused if r.student == who.id]
    parts = [f"<h1>{person(who)}</h1>\n<p class='lede'>{_lede(own)}</p>\n", _came(mine)]
    if named:
        parts += [_next([*named], own, files), _overview(named, own, files)]
    else:
        parts.append("<p>Nothing has been graded for you yet.</p>\n")
    parts += [_lab(lab, named[lab], own.get(lab), files.get(lab), common, bool(mine)) for lab in named]
    plain = clean(who.name or who.id).replace("\n", " ")[:60]
    return document(f"{plain} · results", "".join(parts), "Made by lab grade. It speaks of one student only.")


def lateness(mark: Mark) -> str:
    """What was late, which slip days covered it and what it cost, in a sentence or two; "" when nothing was."""
    if mark.late <= 0:
        return ""
    said = f"Handed in {_span(mark.late)} after your deadline."
    if mark.slip_days:
        used = count(mark.slip_days, "slip day")
        said += f" {used} {'was' if mark.slip_days == 1 else 'were'} used for it."
    if mark.earned <= 0:
        return said
    before, after = number(mark.earned), count_points(mark.awarded)
    if mark.penalty >= 1:
        return f"{said} That is too late to count: {before} became {after}."
    if mark.penalty > 0:
        return f"{said} {percent(mark.penalty)} was taken off for being late: {before} became {after}."
    return f"{said} Nothing was taken off."


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
    counted = [m for m in marks.values() if m.points > 0 and m.status != "excused"]
    if not counted:
        return "No points count yet."
    return f"{number(sum(m.awarded for m in counted))} of {count_points(sum(m.points for m in counted))} in all."


def _came(refused: Sequence[Refusal]) -> str:
    """What was not taken as it is, in words for the student: each reason once, with the files that it is about."""
    places: dict[tuple[str, str], list[str]] = {}
    for r in refused:
        places.setdefault((r.lab, r.reason), []).append(r.where.partition(": ")[2] or r.where)
    said = []
    for (lab, reason), where in places.items():
        files = "" if reason in ("not-on-roster", "ambiguous-name") else f" ({', '.join(map(esc, where[:3]))})"
        said.append(f"<p>{f'<strong>Lab {esc(lab)}:</strong> ' if lab else ''}{esc(words.refused(reason))}{files}</p>")
    return f'<div class="note" role="note">{"".join(said)}</div>\n' if said else ""


def _next(labs: list[str], marks: dict[str, Mark], files: dict[str, Verdict]) -> str:
    """The one thing to do first: the first failing task, else the first that is not written."""
    for wanted in (FAILED, ("begun", "not-started")):
        for lab in labs:
            for group in words.causes(files[lab].tasks) if lab in files else ():
                if group[0].status in wanted:
                    return f"<p><strong>Where to go on:</strong> {_commands(lab, group[0])}</p>\n"
    excused = {lab for lab, mark in marks.items() if mark.status == "excused"}
    if missing := [lab for lab in labs if lab not in files and lab not in excused]:
        return f"<p><strong>Where to go on:</strong> <code>lab show {esc(missing[0])}</code>, which has no result yet.</p>\n"
    return "<p>Every task that you handed in has passed.</p>\n" if files else ""


def _commands(lab: str, task: TaskVerdict) -> str:
    check = f"<code>lab check {esc(lab)}</code>"
    if task.claim == words.LOADS:
        return f"mend your file for lab {esc(lab)}; {check} says whether it loads."
    if task.status == "forbidden":
        return f"write yourself what your file for lab {esc(lab)} takes from elsewhere; {check} says whether any of it is left."
    said = f"<code>lab hint {esc(lab)} {esc(task.task)}</code>"
    if task.status in ("wrong", "crashed", "slow"):
        said += f" for a hint, <code>lab repro {esc(lab)} {esc(task.task)}</code> for a small case to step through"
    return said + "."


def _overview(labs: dict[str, str], marks: dict[str, Mark], files: dict[str, Verdict]) -> str:
    rows = []
    for lab, name in labs.items():
        mark, file = marks.get(lab), files.get(lab)
        title = f'<a href="#lab-{esc(lab)}">{esc(name)}</a>'
        tasks = f"{sum(t.status == 'passed' for t in file.tasks)} of {len(file.tasks)}" if file else "–"
        points = f"{number(mark.awarded)} of {number(mark.points)}" if mark and mark.points else "–"
        rows.append([title, points, tasks, esc(STATUS.get(mark.status, mark.status) if mark else "does not count")])
    return table("Your labs", ["Lab", "Points", "Tasks passed", "Status"], rows, numeric=(1, 2))


def _fate(mark: Mark | None, has_file: bool, remarks: bool) -> str:
    """What became of a lab as a whole, in a sentence for the student; "" when its tasks say it all."""
    if mark is None:
        return "This lab does not count."
    if mark.status == "excused":
        return mark.note or "You are excused from it: it does not count."
    if mark.status == "graded":
        return lateness(mark) or (UNTIMED if mark.note == policy.UNKNOWN else mark.note)
    if mark.status == "refused":
        why = "the top of this page says why." if remarks else "ask your instructor why."
        return f"What you handed in for this lab is not graded: {why}"
    if mark.status == "open":
        return "Nothing has come in for this lab yet. So far that takes no points from you."
    if has_file:
        return ""
    return "Nothing came in for this lab that could be graded." if remarks else "You did not hand it in."


def _lab(lab: str, name: str, mark: Mark | None, file: Verdict | None, common: set[str], remarks: bool) -> str:
    parts = [f'<section aria-labelledby="lab-{esc(lab)}"><h2 id="lab-{esc(lab)}">{esc(name)}</h2>\n']
    parts += [f"<p>{esc(s)}</p>\n" for s in [_fate(mark, file is not None, remarks)] if s]
    if file is None:
        return "".join([*parts, "</section>\n"])
    if file.dials:
        parts.append(f"<p>Your variant differs from the public lab in: {esc(', '.join(file.dials))}.</p>\n")
    groups = words.causes(file.tasks)
    if file.salt and any(g[0].status in ("wrong", "crashed", "slow") and g[0].claim != words.LOADS for g in groups):
        as_graded = f"<code>lab check {esc(lab)} --as-graded</code>"
        parts.append(f"<p class='soft'>Graded on inputs that <code>lab check</code> has not shown you; {as_graded} ")
        parts.append("tries others like them.</p>\n")
    if passed := [t for t in file.tasks if t.status == "passed"]:
        names = ", ".join(f"{esc(t.task)} ({count_points(t.earned)})" for t in passed)
        parts.append(f'<p><span class="passed" aria-hidden="true">✓</span> Passed: {names}.</p>\n')
    often = {text for text, n in Counter(t.printed for g in groups for t in g).items() if n > 1 and text.strip()}
    parts += [_card(lab, g, common, often) for g in groups]
    parts += [_printed(text) for text in sorted(often)]
    return "".join([*parts, "</section>\n"])


def _card(lab: str, tasks: list[TaskVerdict], common: set[str], often: set[str]) -> str:
    """The tasks that fail for one cause: what happened, what is likely behind it, what to do."""
    task = tasks[0]
    symbol, said = SYMBOL.get(task.status, "✗"), WORDS.get(task.status, task.status)
    failed, loads = task.status in FAILED, task.claim != words.LOADS
    kind = ' class="failed"' if failed else ""
    names = ", ".join(esc(t.task) for t in tasks)
    title = f"{names}: {esc(said)}" if loads else "Your file does not load"
    far = f", {task.tests_passed} of {count(task.tests, 'test')} pass" if failed and len(tasks) == 1 and loads else ""
    points = (
        f"{sum(t.earned for t in tasks)} of {count_points(sum(t.points for t in tasks))}{far if task.tests else ''}."
    )
    head = f'<div class="card"><h3><span{kind} aria-hidden="true">{symbol}</span> {title}</h3>\n'
    parts = [head, f'<p class="soft">{"" if loads else f"So nothing in it could be tried: {names}. "}{points}</p>\n']
    texts = (("called", task.called), ("expected", task.expected), ("got", task.got), ("where", task.where))
    rows = [("claim", esc(task.claim))] if task.claim and task.claim != task.note else []
    rows += [(name, f"<code>{_lines(text)}</code>") for name, text in texts if text]
    if not loads:
        parts += [f"<p><code>{_lines(text)}</code></p>\n" for text in dict.fromkeys((task.got, task.note)) if text]
    elif task.note and task.note != task.got:
        parts.append(f"<p>{_lines(task.note)}</p>\n")
    if rows and loads:
        parts.append(f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in rows)}</dl>\n")
    if task.says:
        also = " It is a common one in your class." if task.mistake in common else ""
        name = f' <span class="soft">({esc(task.mistake)})</span>' if task.mistake else ""
        parts.append(f'<p class="likely"><strong>Likely:</strong> {esc(task.says)}{name}{also}</p>\n')
    parts += [_printed(t.printed) for t in tasks if t.printed.strip() and t.printed not in often]
    if failed or task.status in ("begun", "not-started"):
        parts.append(f"<p>Next: {_commands(lab, task)}</p>\n")
    return "".join([*parts, "</div>\n"])


def _printed(text: str) -> str:
    title, lines = words.printed(text)
    return folded(esc(title), f"<pre><code>{esc(clean(lines, last=True))}</code></pre>")


def _lines(text: str) -> str:
    """Lines stay lines, with their indentation, in text that flows."""
    return esc(text).replace("\n", "<br>")
