"""What is said of the place where the learner's numbers and the reference's part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labkit import trace_lines, trace_symptoms
from labkit.remote import Failed
from labkit.trace_calls import Call, Run, label

LINES = 4  # of the lab's file that are shown


@dataclass
class Place:
    """Between which two points the numbers part: in this call, before an input of `child`, or at its own output."""

    reference: Call
    mine: Call
    done: list[str]  # children that agree
    absent: list[str]  # children of the reference's that the learner's never calls
    child: Call | None = None
    found: Call | None = None  # the learner's call of that child
    param: str = ""


@dataclass
class Finding:
    """Where the two part, and how."""

    where: str
    how: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # of the lab's file
    code: str = ""  # the function or method that it is in
    error: Failed | None = None  # what was raised there

    @property
    def unwritten(self) -> bool:
        """It is only that the learner has come this far."""
        return self.error is not None and self.error.outcome == "unwritten"


def finding(place: Place, error: Failed | None, again: tuple[Run, Run] | None) -> Finding:
    """Puts it into words.  again: both runs once more, with the operations inside the call in question."""
    owner, child = place.reference, place.child
    made = Finding("", code=owner.code)
    agree = [f"its input{'s agree' if len(owner.ins) > 1 else ' agrees'}"] if owner.ins else []
    agree += [f"so {'does' if len(set(place.done)) == 1 else 'do'} {_list(place.done)}"] if place.done else []
    start = f"Inside {owner.name}: {', and '.join(agree)}" if owner.name else "All calls before agree"
    if child is None and not place.mine.done and error is not None:
        made.error = error
        made.where = (
            f"{start}; then it stops." if owner.name else "It stops between the calls that the lab's trace.py makes."
        )
        if error.outcome == "unwritten":
            made.where, made.code = f"{error.text} is not written yet.", error.text
        return made
    if child is not None and place.found is not None:
        got, want = place.found.ins[place.param], child.ins[place.param]
        what = f"what goes into {label(child.name, owner.name)}{f' as {place.param}' * (len(child.ins) > 1)}"
    else:
        got, want, what = place.mine.out, owner.out, "what it returns"
    got, want, piece = trace_symptoms.part(got, want)
    made.where = f"{start}; {what}{f', {piece},' * bool(piece)} does not."
    related = trace_symptoms.relation(got, want, _known(place))
    told = ""
    if again is not None:
        made.lines, told = _lines(place, *again, moved=related.endswith("nothing else."))
    how = [related or told or trace_symptoms.symptom(got, want), trace_symptoms.numbers(got, want), *_uses(place)]
    if told and not related:
        how[0] = f"Line {made.lines[0]}: {told[:1].lower()}{told[1:]}"
    made.how = [h for h in how if h]
    return made


def _list(names: list[str]) -> str:
    """q, k, rotate() (twice) and out."""
    once = [f"{n} (twice)" if names.count(n) == 2 else n for n in dict.fromkeys(names)]
    return once[0] if len(once) == 1 else f"{', '.join(once[:-1])} and {once[-1]}"


def _known(place: Place) -> list[tuple[str, Any]]:
    """The numbers at hand there, in words."""
    owner = place.reference
    known = [(f"{p}, the input of {owner.name}", v) for p, v in owner.ins.items()]
    if len(known) > 1:
        known = [(f"the input {p} of {owner.name}", v) for p, v in owner.ins.items()]
    for c in owner.children:
        if c is place.child:
            break
        name = label(c.name, owner.name)
        known.append((f"what {name} gave", c.out))
        known += [(f"what went into {name}", v) for v in c.ins.values()]
    return known


def _uses(place: Place) -> list[str]:
    """What is called never, more or less often than in the reference, or too early."""
    said = [f"{name} is never called." for name in dict.fromkeys(place.absent)]
    mine, theirs = [c.name for c in place.mine.children], [c.name for c in place.reference.children]
    said += [
        f"{label(c.name, place.reference.name)} changes its input {p} in place."
        for c in place.mine.children
        for p in c.changed
        if place.found is None or c.number < place.found.number
    ]
    for name in dict.fromkeys(theirs):
        a, b = mine.count(name), theirs.count(name)
        if 0 < a != b and (a < b or not name.endswith("()")):
            short = label(name, place.reference.name)
            said.append(f"{short} is called {a} time{'s' * (a > 1)}; the reference calls it {b} time{'s' * (b > 1)}.")
    if place.child is not None and place.child.name in mine:
        before = mine[: mine.index(place.child.name)]
        early = [n for n in before if n in theirs and n not in theirs[: theirs.index(place.child.name)]]
        for name in early[:1]:
            short, other = (label(n, place.reference.name) for n in (name, place.child.name))
            said.append(f"You call {short} before {other}; the reference calls it after.")
    return said


def _lines(place: Place, reference: Run, mine: Run, moved: bool) -> tuple[list[int], str]:
    """Lines of the lab's file to look at, and what can be said of the first.  moved: a right number, in a wrong place."""
    if mine.error and len(mine.calls) <= max(place.mine.number, place.found.number if place.found else 0) + 1:
        return [], ""  # the second run went otherwise
    call = mine.calls[place.mine.number + 1]
    found = mine.calls[place.found.number + 1] if place.found is not None else None
    if found is not None and moved and found.line:
        return [found.line], ""
    start = found.sources.get(place.param, []) if found is not None else call.returned
    operations, words = trace_lines.suspects(mine, reference, start)
    lines = [mine.ops[i]["line"] for i in operations]
    if not start and found is not None:  # a constant, written in the call itself
        lines = [found.line]
    return list(dict.fromkeys(n for n in lines if n))[:LINES], words
