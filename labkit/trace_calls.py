"""A forward pass as a tree of calls, and how one is made: a process, a lab file, a lab's trace.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.catalog import Lab
from labkit.remote import Box, Failed


@dataclass
class Call:
    """One call in a forward pass: a module's, or that of a function or method of the lab."""

    number: int
    name: str  # blocks.0.attention.q · blocks.0.attention.weights() · rotate()
    code: str  # what it is in the lab's file: CausalSelfAttention.weights
    line: int | None  # of the lab's file, where it is called
    ins: dict[str, Any]
    out: Any
    done: bool  # False: it raised
    changed: list[str]  # inputs that it changed in place
    sources: dict[str, list[int]] = field(default_factory=dict)  # operations that made each input, and …
    returned: list[int] = field(default_factory=list)  # … the output, where these were recorded
    children: list[Call] = field(default_factory=list)

    def inside(self) -> Iterator[Call]:
        """Every call that was made in the course of this one."""
        for c in self.children:
            yield c
            yield from c.inside()


@dataclass
class Run:
    """What one process saw."""

    calls: list[
        Call
    ]  # the first is no call: its children are those of the lab's trace.py, its output what that returns
    ops: list[dict[str, Any]]
    seen: dict[str, Any]  # as labkit.trace_probe.record returns it
    error: Failed | None = None
    printed: str = ""

    @property
    def root(self) -> Call:
        return self.calls[0]


def run(
    box: Box,
    lab: Lab,
    file: Path,
    weights: Any = None,
    names: list[str] | None = None,
    inside: int | None = None,
) -> Run:
    """Loads a file into the box, builds the model, runs it.  What it raises is kept beside what it did before."""
    error: Failed | None = None
    seen: dict[str, Any] = {"calls": [], "ops": [], "stage": "loading", "result": None}
    try:
        box.load(file, guard=None if file == lab.file("solution.py") else lab.folder)
        seen["stage"] = "lost"  # unless the answer says more
        source = lab.file("trace.py").read_text(encoding="utf-8")
        seen = box.probe(_record, [source, weights, names, inside])
        if seen["raised"]:
            box.probe(_again, [])
    except Failed as e:
        error = e
        if e.types[:1] == ["TooSlow"]:
            e.outcome = "slow"
    finally:
        box.close()
    calls = [Call(-1, "", "", None, {}, seen["result"], error is None, [])]
    for i, c in enumerate(seen["calls"]):
        more = (c["changed"], c.get("from", {}), c.get("returned", []))
        calls.append(Call(i, c["name"], c["code"], c["line"], c["ins"], c["out"], c["done"], *more))
        calls[c["parent"] + 1].children.append(calls[-1])
    return Run(calls, seen["ops"], seen, error, box.printed)


def _record(lab: Any, source: Any, weights: Any, names: Any, inside: Any) -> Any:
    from labkit import trace_probe

    return trace_probe.record(lab, source, weights, names, inside)


def _again(lab: Any) -> None:
    from labkit import trace_probe

    trace_probe.again(lab)


def label(name: str, owner: str) -> str:
    """A call's name, as short as it can be inside its owner: `blocks.0.attention.q` is `q` in `blocks.0.attention`."""
    owner = owner.removesuffix("()")
    while owner:
        if name.startswith(owner + "."):
            return name[len(owner) + 1 :]
        owner = owner.rpartition(".")[0]
    return name
