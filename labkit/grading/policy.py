"""Verdicts and a policy → marks: every student, every lab that counts.

A later file never earns more.  With slip_use = "order" that holds for each lab's own mark; with "best", where the days
may move to another lab, for the sum of a student's marks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from labkit.catalog import LabError
from labkit.grading import lateness, words
from labkit.grading.policy_file import read as read
from labkit.grading.records import Class, Mark, Refusal, Student, Turned, Verdict
from labkit.grading.roster import Register
from labkit.grading.rules import Decision, Excuse, Extension, Rule, closest, days_later, refuse
from labkit.grading.rules import Policy as Policy

# Refusals that leave a graded file, or a lab that is not asked for: they say nothing about this mark.
NOTES = {"superseded", "not-on-roster", "ambiguous-name", "other-lab", "late"}
NOTHING = {"nothing-found", "untouched", "empty-file"}  # no work came in, so the lab is missing rather than refused
UNKNOWN = "The export does not say when this was handed in, so nothing was taken off for being late."


@dataclass
class _Case:
    """One student and one lab, before slip days are shared out."""

    rule: Rule
    mark: Mark
    due: datetime | None
    late: float = 0.0
    known: bool = True


def check(policy: Policy, klass: Class) -> list[str]:
    """Students and sections that the policy names and the class does not have: a LabError when there is a roster.

    Without one, somebody who has not handed in yet looks the same as a misspelt id, so these come back as sentences.
    """
    ids, sections = [s.id for s in klass.students], sorted({s.section for s in klass.students if s.section})
    found = []
    named = [(e.key, "student", i, ids) for e in policy.extensions for i in e.students]
    named += [(e.key, "section", i, sections) for e in policy.extensions for i in e.sections]
    named += [(e.key, "student", i, ids) for e in policy.excuses for i in e.students]
    named += [(d.key, "student", i, ids) for d in policy.decisions for i in d.students]
    for key, kind, word, known in named:
        if word not in known:
            says = f"there is no {kind} {word} in the class.{closest(word, known)}"
            found.append(refuse(policy.name, key, says))
    given: set[tuple[str, str]] = set()
    for d in policy.decisions:
        for student in d.students:
            if (student, d.lab) in given:
                raise refuse(policy.name, d.key, f"there is a decision on {student}'s lab {d.lab} already. Keep one.")
            given.add((student, d.lab))
    if found and any(s.columns for s in klass.students):
        raise found[0]
    return [str(e) for e in found]


def restricted(policy: Policy, labs: Collection[str]) -> Policy:
    """The same policy for these labs alone."""
    return replace(policy, rules={i: rule for i, rule in policy.rules.items() if i in labs})


def for_class(policy: Policy, klass: Class) -> Policy:
    """The same policy with each student it names under the main id, whichever of the roster's ids was written there."""
    register = Register(klass.students)

    def known(entry: Extension | Excuse | Decision) -> tuple[str, ...]:
        try:
            return tuple(register.named(i).id for i in entry.students)
        except LabError as e:
            raise refuse(policy.name, entry.key, str(e)) from None

    if not any(s.columns for s in klass.students):  # without a roster, nobody knows who else is in the class
        return policy
    return replace(
        policy,
        extensions=tuple(replace(e, students=known(e)) for e in policy.extensions),
        excuses=tuple(replace(e, students=known(e)) for e in policy.excuses),
        decisions=tuple(replace(d, students=known(d)) for d in policy.decisions),
    )


def counting(policy: Policy, klass: Class) -> list[Rule]:
    """The labs that count for this class: those the policy lists, else those that somebody handed in or has a mark in."""
    handed_in = {t.lab for t in klass.turned} | {d.lab for d in policy.decisions}
    return [rule for rule in policy.rules.values() if policy.listed or rule.lab.id in handed_in]


def deadline(policy: Policy, student: Student, lab: str) -> datetime | None:
    """This student's deadline for a lab, in UTC; the latest of those that apply.  None: there is none."""
    rule = policy.rules[lab]
    found = [rule.due] if rule.due else []
    for e in policy.extensions:
        if (student.id in e.students or student.section in e.sections) and (lab in e.labs or not e.labs):
            later = e.due or days_later(rule, policy.zone, e.days)
            found += [later] if later else []
    return max(found, default=None)


def marks(
    policy: Policy, klass: Class, verdicts: Mapping[tuple[str, str], Verdict], now: datetime | None = None
) -> list[Mark]:
    """The marks of each student for each lab that counts, in the order of the class and of the course.

    A lab that was not handed in is *missing*, and costs its points, when its deadline has passed and files of others came
    in; otherwise it is *open*, since an export may hold one week of many.  An open or excused mark has 0 points of 0, so
    sums need no exceptions.  An optional lab that was not handed in has no mark.  What a person decided stands as it is:
    nothing is taken off, and it uses no slip days.
    """
    check(policy, klass)
    now = now or datetime.now(UTC)
    came = {t.lab for t in klass.turned}
    turned = {(t.student, t.lab): t for t in klass.turned}
    refused: dict[str, list[Refusal]] = {}
    for r in klass.refused:
        if r.reason not in NOTES:
            refused.setdefault(r.student, []).append(r)
    rules = counting(policy, klass)
    decided = {(i, d.lab): d for d in policy.decisions for i in d.students}
    made: list[Mark] = []
    for student in klass.students:
        cases = []
        for rule in rules:
            key = (student.id, rule.lab.id)
            if decision := decided.get(key):
                cases.append(_Case(rule, _decided(student, rule, decision), None))
                continue
            case = _case(policy, student, rule, turned.get(key), verdicts.get(key), refused.get(student.id, []))
            cases += [_open(case, rule.lab.id in came, now)] if case else []
        made += _best(policy, _priced(policy, cases))
    return made


def _case(
    policy: Policy, student: Student, rule: Rule, turned: Turned | None, verdict: Verdict | None, refused: list[Refusal]
) -> _Case | None:
    lab = rule.lab.id
    mark = Mark(student.id, lab, rule.points, 0.0, 0.0, "missing", note="Nothing was handed in.")
    due = deadline(policy, student, lab)
    if any(student.id in e.students and (lab in e.labs or not e.labs) for e in policy.excuses):
        return _Case(rule, replace(mark, points=0.0, status="excused", note="Excused: this lab does not count."), due)
    if verdict is None:
        if turned:
            says = "It was handed in, but there is no verdict on it yet: `lab grade --resume`."
            return _Case(rule, replace(mark, status="refused", note=says), due)
        mine = [r for r in refused if _about(r, rule, policy)]
        if hard := next((r for r in mine if r.reason not in NOTHING), None):
            return _Case(rule, replace(mark, status="refused", note=words.refused(hard.reason)), due)
        if rule.optional:
            return None
        return _Case(rule, replace(mark, note=words.refused(mine[0].reason)) if mine else mark, due)
    earned = rule.points * _share(policy, verdict)
    mark = replace(mark, earned=round(earned, 6), awarded=round(earned, 6), status="graded", note="")
    if turned is None or turned.when is None:
        return _Case(rule, replace(mark, note=UNKNOWN if due else ""), due, known=False)
    if turned.when.tzinfo is None:
        raise LabError(f"{turned.where}: the time it was handed in has no zone. This is a fault of the intake.")
    late = max(0.0, (turned.when.astimezone(UTC) - due).total_seconds()) if due else 0.0
    return _Case(rule, replace(mark, late=late), due, late)


def _decided(student: Student, rule: Rule, decision: Decision) -> Mark:
    points, why = decision.points, f"Decided by a person: {decision.why}"
    return Mark(student.id, rule.lab.id, rule.points, points, points, "graded", note=why, decided=True)


def _open(case: _Case, others_came: bool, now: datetime) -> _Case:
    """A missing lab that costs nothing yet."""
    if case.mark.status == "missing" and not (case.due and case.due < now and others_came):
        why = "" if others_came else " Nobody's file for this lab came in."
        case.mark = replace(case.mark, points=0.0, status="open", note=f"{case.mark.note}{why}")
    return case


def _share(policy: Policy, verdict: Verdict) -> float:
    """What the file earned, as a share of the lab's points; with practice credit all or nothing."""
    share = verdict.earned / verdict.points if verdict.points else 0.0
    if policy.credit is None:
        return share
    return 1.0 if share >= policy.credit - 1e-9 else 0.0


def _about(refusal: Refusal, rule: Rule, policy: Policy) -> bool:
    """Whether a refusal concerns this lab: the one it names, or whose folder its path names, or any when neither does."""
    if refusal.lab in policy.rules:
        return refusal.lab == rule.lab.id
    named = [i for i, r in policy.rules.items() if r.lab.folder.name in refusal.where]
    return rule.lab.id in named or not named


def _priced(policy: Policy, cases: list[_Case]) -> list[Mark]:
    """Slip days shared out and penalties taken off."""
    late = sorted((c for c in cases if c.due and c.late), key=lambda c: c.due or datetime.max.replace(tzinfo=UTC))
    given = lateness.share_out([lateness.Due(c.mark.earned, c.late) for c in late], policy.late)
    for case, slipped in zip(late, given, strict=True):
        off = lateness.penalty(case.late, slipped, policy.late)
        awarded = round(case.mark.earned * (1 - off), 6)
        note = _words(policy, case.late, slipped, off)
        case.mark = replace(case.mark, awarded=awarded, slip_days=slipped, penalty=round(off, 6), note=note)
    return [c.mark for c in cases]


def _words(policy: Policy, late: float, slipped: int, off: float) -> str:
    if lateness.over(late, policy.late):
        return f"Handed in after the last day that counts, {policy.late.until_days} days after the deadline."
    n = lateness.days(late)
    used = f", {slipped} of them taken from the slip days" if slipped else ""
    cost = f"{off:.0%} of what was earned is taken off" if off else "nothing is taken off"
    return f"{n} started day{'s' * (n > 1)} late{used}: {cost}."


def _best(policy: Policy, found: list[Mark]) -> list[Mark]:
    """Of each group the best marks stay; the others do not count.  Excused labs leave the group."""
    for group in policy.best:
        mine = [m for m in found if m.lab in group.labs and m.status not in ("excused", "open")]
        ranked = sorted(mine, key=lambda m: -m.awarded)
        for mark in ranked[group.count :]:
            note = f"Not among the best {group.count} of {', '.join(group.labs)}, so it does not count."
            gone = replace(mark, points=0.0, earned=0.0, awarded=0.0, status="excused", note=note)
            found[found.index(mark)] = gone
    return found
