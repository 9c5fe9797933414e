"""The report on a class, as one page: what to teach again comes first, how it was graded last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from labkit.catalog import Lab
from labkit.grading import charts, report_people, tally
from labkit.grading.markup import count, document, esc, folded, number, percent, table
from labkit.grading.misconceptions import Misconception, ranked
from labkit.grading.records import Class, Mark
from labkit.grading.tally import Rate, Verdicts
from labkit.sandbox import LIMITS

if TYPE_CHECKING:  # it compares files; the page only shows what it found
    from labkit.grading.similarity import Hint

FIRST = 15  # rows of a long table that stand open
SECTIONS = {
    "teach": "What to teach again",
    "marks": "How the marks are spread",
    "students": "Students and their marks",
    "mistakes": "The class's mistakes",
    "tasks": "Task by task",
    "look": "Worth a look",
    "absent": "Not graded",
    "how": "How it was graded",
}


@dataclass
class Extra:
    """What the report says beside marks and verdicts."""

    labs: Sequence[Lab]  # those that were graded, in the course's order
    made: datetime  # with a time zone
    policy: str = ""  # the policy in a sentence
    seconds: float = 0.0  # how long grading took, on the clock
    hints: Sequence[Hint] = ()
    notes: Sequence[str] = ()  # sentences for the top, such as what the preflight found
    pages: Mapping[str, str] = field(
        default_factory=dict
    )  # student id → address of their page, from the report's folder


def report(klass: Class, marks: Sequence[Mark], verdicts: Verdicts, extra: Extra) -> str:
    """The whole page, as HTML that needs nothing else.  It names students: it is for the instructor."""
    every = tally.rates(extra.labs, verdicts)
    known = ranked(every, verdicts)
    bodies = {
        "teach": _teach(every, known, len({student for student, _ in verdicts})),
        "marks": _marks(marks, extra.labs),
        "students": report_people.everybody(klass, marks, extra.pages),
        "mistakes": _mistakes(known),
        "tasks": _tasks(every, extra.labs),
        "look": report_people.look(klass, marks, verdicts, every, extra.hints, extra.pages, extra.labs),
        "absent": report_people.absent(klass, marks, extra.pages),
        "how": _how(marks, verdicts, extra),
    }
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in SECTIONS.items())
    sections = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{title}</h2>\n{bodies[key]}</section>\n'
        for key, title in SECTIONS.items()
    )
    sizes = f"{count(len(klass.students), 'student')}, {count(len(extra.labs), 'lab')}, {count(len(verdicts), 'graded file')}"
    main = (
        f'{charts.HATCH}<h1>Class report</h1>\n<p class="lede">{sizes}. {extra.made.day} {extra.made:%B %Y, %H:%M %Z}.</p>\n'
        f'{_warnings(verdicts, extra)}<nav aria-label="On this page"><ul>{links}</ul></nav>\n{sections}'
    )
    return document("Class report", main, "Made by lab grade. It names students: keep it as you keep marks.")


def _warnings(verdicts: Verdicts, extra: Extra) -> str:
    """What a reader must know before trusting a number below."""
    says = [esc(note) for note in extra.notes]
    open_air = sum(v.sandbox != "bubblewrap" for v in verdicts.values())
    if open_air:
        says.append(
            f"<strong>{open_air} of {count(len(verdicts), 'file')} ran without a sandbox.</strong> {esc(LIMITS)}"
        )
    if any(not v.salt for v in verdicts.values()):
        says.append("Graded on the practice seed: everybody could try the very inputs that these marks rest on.")
    if len({v.environment for v in verdicts.values()}) > 1:
        says.append('The files did not all run in the same environment: see <a href="#how">How it was graded</a>.')
    return f'<div class="note" role="note">{"".join(f"<p>{s}</p>" for s in says)}</div>\n' if says else ""


def _teach(every: Sequence[Rate], known: Sequence[Misconception], students: int) -> str:
    hard = tally.hard_tasks(every)
    tried = [r for r in every if r.tried >= tally.ENOUGH]
    solid = sum(r.share >= 0.9 for r in tried)
    rows = []
    for rate in hard:
        mine = [m for m in known if (m.lab, m.task) == (rate.lab, rate.task) and m.students is not None][:3]
        why = "".join(
            f"<li>{esc(m.says)} <span class='soft'>{count(m.students or 0, 'student')}</span></li>" for m in mine
        )
        rows.append(
            f"<li><strong>{esc(rate.lab)} {esc(rate.task)}</strong>: {rate.failed} of the {rate.tried} who tried it did "
            f"not pass ({percent(1 - rate.share)}).{f'<ul>{why}</ul>' if why else ' No known mistake stands behind five of them.'}</li>"
        )
    if not tried:
        none = "<p>No task was tried by five students or more, which is too few to say what a class needs.</p>\n"
        return none + _small(students)
    head = (
        f'<ol class="teach">{"".join(rows)}</ol>\n'
        if hard
        else "<p>Nothing stands out: no task was missed by a quarter of those who tried it, and by five or more.</p>\n"
        + _small(students)
    )
    return f"{head}<p>Solid: {solid} of {count(len(tried), 'task')} passed for at least nine in ten who tried.</p>\n"


def _small(students: int) -> str:
    """From which size of a class on this section can be relied on; "" for one that has it."""
    enough = round(tally.ENOUGH / tally.QUARTER)
    if students >= enough:
        return ""
    return (
        f"<p>Files of {count(students, 'student')} were graded. This section counts only what {tally.ENOUGH} or more did not "
        f"pass, so that it speaks of nobody in particular. It helps from about {enough} on, where {tally.ENOUGH} are a "
        'quarter. In a smaller class read <a href="#tasks">Task by task</a> and the pages of your '
        '<a href="#students">students</a>.</p>\n'
    )


def _marks(marks: Sequence[Mark], labs: Sequence[Lab]) -> str:
    all_shares = [*tally.totals(marks).values()]
    if not all_shares:
        return "<p>There are no marks.</p>\n"
    counts = tally.bins(all_shares)
    low, q1, middle, q3, high = map(percent, tally.five_numbers(all_shares) or ())
    figure = (
        f"<figure>{charts.histogram(counts, f'Students by total: {charts.in_words(counts)}', 'totals')}<figcaption>Students "
        f"by their share of all points, after penalties; what is missing counts as 0. Half of them lie between {q1} and "
        f"{q3}, the median is {middle}, the lowest {low}, the highest {high}.</figcaption></figure>\n"
    )
    by_lab, rows, tenths = tally.shares(marks), [], [["All labs", *map(str, counts)]]
    for lab in labs:
        of = [*by_lab.get(lab.id, {}).values()]
        five, here = tally.five_numbers(of), tally.bins(of)
        name = f"{esc(lab.id)} {esc(lab.title)}"
        words = f"{lab.id}: {charts.in_words(here)}"
        picture = charts.histogram(here, words, f"spread-{lab.id}", small=True)
        rows.append([name, picture, str(len(of)), *(map(percent, five) if five else ["–"] * 5)])
        tenths.append([name, *map(str, here)])
    heads = ["Lab", "Spread, 0 to 100 %", "Graded", "Lowest", "Quarter below", "Median", "Quarter above", "Highest"]
    caption = "Points earned in graded files, before penalties, as a share of the lab's points"
    edges = [f"{10 * i}-{10 * i + 10} %" for i in range(tally.BINS)]
    same = table(
        "Students in each tenth; a share on the edge is in the higher one", ["Lab", *edges], tenths, range(1, 11)
    )
    return figure + table(caption, heads, rows, range(2, 8)) + folded("The same pictures as a table", same)


def _mistakes(known: Sequence[Misconception]) -> str:
    common = [m for m in known if m.students is not None]
    rare = [m for m in known if m.students is None]
    parts = [
        "<p>Known mistakes, by how many students made them. A failure that fits none of them, or several, is not "
        "counted. Groups under five are not shown in numbers, and a rare mistake is named only where its number cannot "
        "be worked out from the tables on this page. This section names nobody: it can be shown to the class.</p>\n"
    ]
    heads = ["Mistake", "Students", "Of those who tried", "Share", "Lab and task"]
    rows = [
        [f"{esc(m.says)} <span class='soft'>{esc(m.mistake)}</span>", str(m.students), str(m.tried)]
        + [
            f"{charts.bar(0, m.students or 0, m.tried - (m.students or 0))}{percent(m.share or 0)}",
            f"{esc(m.lab)} {esc(m.task)}",
        ]
        for m in common
    ]
    if rows:
        parts.append(table("Made by five or more, the most frequent first", heads, rows[:FIRST], (1, 2)))
    else:
        parts.append("<p>No known mistake was made by five students or more.</p>\n")
    if rows[FIRST:]:
        rest = table("Made by five or more, continued", heads, rows[FIRST:], (1, 2))
        parts.append(folded(f"{count(len(rows) - FIRST, 'more mistake')} made by five or more", rest))
    if rare:
        few = [[r, "fewer than five", f"{esc(m.lab)} {esc(m.task)}"]
               for m in rare for r in [f"{esc(m.says)} <span class='soft'>{esc(m.mistake)}</span>"]]  # fmt: skip
        rest = table("Made by fewer than five, in the course's order", ["Mistake", "Students", "Lab and task"], few)
        parts.append(folded(f"{count(len(rare), 'mistake')} made by fewer than five", rest))
    return "".join(parts)


def _tasks(every: Sequence[Rate], labs: Sequence[Lab]) -> str:
    heads = ["Task", "Passed of those who tried", "Tried", "Passed", "Wrong", "Crashed", "Too slow", "Forbidden"]
    heads += ["Not started", "Begun, waiting or not run"]
    parts = [
        "<p>The bar divides the files that were handed in: passed, then hatched those that tried and did not pass, "
        "then grey those that did not get there. Open a lab to see its tasks.</p>\n"
    ]
    for lab in labs:
        rows, tried, passed = [], 0, 0
        for r in (r for r in every if r.lab == lab.id):
            tried, passed = tried + r.tried, passed + r.counts["passed"]
            kinds = [r.counts[s] for s in ("passed", "wrong", "crashed", "slow", "forbidden", "not-started")]
            picture = charts.bar(r.counts["passed"], r.failed, r.counts.total() - r.tried)
            rows.append([esc(r.task), f"{picture}{percent(r.share) if r.tried else '–'}", str(r.tried)])
            rows[-1] += [*map(str, kinds), str(r.unfinished)]
        part = f"{percent(passed / tried)} of tries pass" if tried else "nobody tried it"
        title = f"{esc(lab.id)} {esc(lab.title)}"
        parts.append(folded(f"{title}: {part}", table(f"Files by task of lab {title}", heads, rows, range(2, 10))))
    return "".join(parts) if labs else "<p>No lab was graded.</p>\n"


def _how(marks: Sequence[Mark], verdicts: Verdicts, extra: Extra) -> str:
    def named(values: list[str]) -> str:
        return "; ".join(f"{esc(v or 'not recorded')} ({n})" for v, n in Counter(values).most_common()) or "–"

    files = [*verdicts.values()]
    seeds = [f"unseen, salt {v.salt}" if v.salt else "the practice seed" for v in files]
    turned = sum(bool(v.dials) for v in files)
    rows = [
        ["When", f"{extra.made:%Y-%m-%d %H:%M %Z}"],
        ["Policy", esc(extra.policy) or "not stated"],
        ["Marks decided by a person", str(sum(m.decided for m in marks))],
        ["Seeds (files)", named(seeds)],
        ["Sandbox (files)", named([v.sandbox for v in files])],
        ["Environment (files)", named([v.environment for v in files])],
        ["Labs and their specs", "; ".join(dict.fromkeys(f"{esc(v.lab)} {esc(v.spec)}" for v in files)) or "–"],
        ["Variants", f"{turned} of {count(len(files), 'file')}"],
        ["Time on the clock", f"{number(extra.seconds)} s" if extra.seconds else "not recorded"],
        ["Time in labs", f"{number(sum(v.seconds for v in files))} s"],
    ]
    return table("What these results rest on", ["What", "Value"], rows)
