"""`lab trace`: the learner's model and the reference in step, on the same weights, down to the first number that differs.

Each runs in a process of its own (labkit.trace_probe) and leaves a tree of calls: modules, and functions and methods of the
lab.  The search goes down that tree: where inputs agree and the output does not, into that call.  What agrees at its
output is not looked into, so whoever computes it otherwise but right hears nothing of it.

A lab that can be traced has a trace.py with two functions: model(lab) builds a small model; run(lab, model) calls it,
its parts first, in the order of the tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit import catalog, runner
from labkit.catalog import Lab, LabError
from labkit.kitchen import Kitchen
from labkit.trace_calls import Call, Run, label, run
from labkit.trace_finding import Finding, Place, finding
from labkit.trace_lines import rearranged
from labkit.trace_symptoms import same


@dataclass
class Row:
    """One line of the walk.  mark: ✓ agrees · ✗ differs · "" is looked into."""

    mark: str
    depth: int
    name: str
    value: Any = None
    note: str = ""


@dataclass
class Trace:
    """All that is said."""

    rows: list[Row] = field(default_factory=list)
    finding: Finding | None = None
    agreed: int = 0  # calls of the reference's whose output is the learner's too
    notes: list[str] = field(default_factory=list)
    printed: str = ""


def trace(source: Kitchen, lab: Lab, file: Path) -> Trace:
    """Runs both and compares them."""
    solution = lab.file("solution.py")
    reference = run(source.box(), lab, solution)
    if reference.error:
        raise LabError(f"{lab.file('trace.py')}: the reference does not run: {runner.explain(reference.error)}")
    given = reference.seen["weights"], reference.seen["names"]
    mine = run(source.box(), lab, file, *given)
    made = Trace(printed=mine.printed, finding=_before_running(reference, mine))
    if made.finding:
        return made
    place = _into(reference.root, mine.root, 0, made)
    if place is None:
        made.agreed = _agreeing(reference.root, mine.root)
        made.notes = _extra(mine)
        return made
    again = None
    if place.mine.number >= 0 and (place.child or place.mine.done):  # once more, with what that one call does inside
        again = (
            run(source.box(), lab, solution, *given, place.reference.number),
            run(source.box(), lab, file, *given, place.mine.number),
        )
    made.finding = finding(place, mine.error, again)
    if made.finding.unwritten and any(row.mark == "✓" for row in made.rows):
        made.finding.where += "  All that comes before it agrees."
    return made


def plan(lab: Lab) -> Path:
    """The lab's trace.py.  A lab without one has nothing to trace, and is told which have."""
    lab.file("solution.py")  # a course's repository has no reference to trace against, and says so
    path = lab.file("trace.py")
    if not path.is_file():
        having = [x.id for x in catalog.labs(catalog.root(lab.folder)) if x.file("trace.py").is_file()]
        raise LabError(f"{lab.id} has no model to trace; labs with one: {', '.join(having) or 'none yet'}.")
    return path


def _before_running(reference: Run, mine: Run) -> Finding | None:
    """What keeps the two from being compared at all: a file that does not load, a model that is not the same."""
    if unlike := mine.seen.get("unlike"):
        name, want, got = unlike[0]
        if got is not None:
            return Finding(f"The parameter `{name}` has shape {got}; {want} is expected.")
        owner = name.split(".")[:-2]
        near = next((e for e in mine.seen["extra"] if e.split(".")[:-2] == owner), "")
        return Finding(
            f"Your model has no parameter `{name}`{f', but a `{near}`' if near else ''}: the names that __init__ came "
            "with must stay, or nobody's weights can be loaded."
        )
    if mine.error and mine.seen["stage"] != "run":
        what = {"loading": "the file does not load", "model": "the model cannot be built", "lost": "the run was ended"}[
            mine.seen["stage"]
        ]
        return Finding(f"There is nothing to compare: {what}.", error=mine.error)
    for names in reference.seen["tied"]:
        if not any(set(names) <= set(own) for own in mine.seen["tied"]):
            return Finding(
                f"{' and '.join(f'`{n}`' for n in names)} are one tensor in the reference and two in your model: "
                "with the same numbers now, but the first training step will change them apart."
            )
    return None


def _extra(mine: Run) -> list[str]:
    extra = mine.seen["extra"]
    more = f"{', '.join(extra[:4])}{' …' * (len(extra) > 4)}"
    return [f"Your model has parameters that the reference has not: {more}."] if extra else []


# ---- the search


def _into(reference: Call, mine: Call, depth: int, made: Trace) -> Place | None:
    """Where, in this call, the two part; None when they do not.  Its inputs agree."""
    place = Place(reference, mine, [], [])

    def row(mark: str, name: str, value: Any = None, note: str = "") -> None:
        made.rows.append(Row(mark, depth, name, value, note))

    for call in reference.children:
        name = label(call.name, reference.name)
        found = _match(call, mine)
        if found is None:
            place.absent.append(name)
            continue
        wrong = [p for p in call.ins if p in found.ins and not same(found.ins[p], call.ins[p])]
        if not wrong and _agrees(call, found):
            inner = _agreeing(call, found)
            row("✓", name, call.out, f"and all {inner} inside it" if inner > 1 else "")
            place.done.append(name)
        elif not wrong:
            row("", name)
            return _into(call, found, depth + 1, made)
        elif not _may_differ(call, found, wrong):
            place.child, place.found, place.param = call, found, wrong[0]
            row("✗", f"{name} ← {wrong[0]}", found.ins[wrong[0]])
            return place
    if mine.done and same(mine.out, reference.out):
        return None
    if mine.done:
        row("✗", "what it returns", mine.out)
    return place


def _match(call: Call, mine: Call) -> Call | None:
    """The learner's call of the same thing: of several, the first that agrees best."""
    candidates = [c for c in mine.children if c.name == call.name] or [c for c in mine.inside() if c.name == call.name]
    return max(
        candidates,
        key=lambda c: (sum(p in c.ins and same(c.ins[p], v) for p, v in call.ins.items()), _agrees(call, c)),
        default=None,
    )


def _agrees(reference: Call, mine: Call) -> bool:
    return mine.done and same(mine.out, reference.out)


def _agreeing(reference: Call, mine: Call) -> int:
    """How many of the calls inside agree as well."""
    return sum(any(c.name == r.name and _agrees(r, c) for c in mine.inside()) for r in reference.inside())


def _may_differ(call: Call, found: Call, wrong: list[str]) -> bool:
    """Other inputs that prove nothing: heads and time the other way round; another use of a helper function.

    But a helper that is called with the same arrays and another setting is a difference.
    """
    if call.name.endswith("()"):
        return any(not isinstance(call.ins[p], (str, int, float, type(None))) for p in wrong)
    return all(rearranged(found.ins.get(p), v) for p, v in call.ins.items()) and (
        found.done and rearranged(found.out, call.out)
    )
