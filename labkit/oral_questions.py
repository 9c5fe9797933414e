"""The kinds of questions of an oral, made on the student's own file, and their keys, computed by running it.

A question gives away a mistake, so no two of them are about the same one.
"""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import diagnose, oral_source, report, runner, variants
from labkit.catalog import Task
from labkit.oral_cases import Case, Pots, smallest
from labkit.oral_words import answer, predictable, written
from labkit.variants import Variant

MISTAKES, CHANGES = 3, 12  # how many are tried for one question
TALL = 80  # lines of code that somebody reads within minutes
Block = tuple[str, str]  # ("text" | "code", what it says)


@dataclass
class Question:
    """What is asked, and its key."""

    kind: str  # difference prediction change verdict
    task: str
    about: str  # the mistake's name, or the number of the line
    ask: list[Block]
    key: list[Block]


@dataclass
class Desk(Pots):
    """What questions are made from.  `rng` makes them this student's."""

    private: Path  # a folder for changed copies of the file
    rng: random.Random
    cache: Path | None = None

    def __post_init__(self) -> None:
        self.lab = self.spec.lab
        self.text, self.tree = oral_source.parsed(self.file.read_bytes())
        self.used: set[str] = set()  # mistakes that a question has given away
        self.known = variants.mistakes(self.lab) if self.lab.file("mistakes.py").exists() else {}  # a variant has none

    def mistakes(self, task: Task) -> list[Variant]:
        """Some of the task's mistakes whose function the student wrote, too."""
        every = [m for m in self.known.values() if m.task == task.name and m.name not in self.used]
        here = [m for m in every if oral_source.definition(self.tree, m.of)]
        return self.rng.sample(here, min(MISTAKES, len(here)))

    def versions(self, task: Task) -> list[tuple[Variant, str]]:
        """The same with their code, under the name of the student's function; what is quickest to read comes first."""
        if not (chosen := self.mistakes(task)):
            return []
        text, tree = oral_source.parsed(self.lab.file("mistakes.py").read_bytes())
        both = [(m, oral_source.shown(text, tree, [m.name])) for m in chosen]
        return [(m, oral_source.renamed(code, m.name, m.of)) for m, code in sorted(both, key=lambda b: len(b[1]))]

    def code(self, names: list[str], case: Case | None = None) -> Block | None:
        """The student's functions, and others that the case calls, with their lines' numbers; None when it is too much."""
        classes = {n.split(".")[0] for n in names if "." in n}
        called = [c.name for c in case.calls if c.op == "get"] if case else []
        names = [*names, *called, *(f"{c}.{name}" for c in classes for name in called)]
        text = oral_source.shown(self.text, self.tree, [n for n in names if oral_source.definition(self.tree, n)], True)
        return ("code", text) if 0 < text.count("\n") + 1 <= TALL else None


def difference(desk: Desk, task: Task) -> Question | None:
    """A classmate's version: for which input does it give another answer?"""
    for m, theirs in desk.versions(task):
        if desk.code([m.of]) is None or theirs.count("\n") >= TALL or (found := smallest(desk, task, m)) is None:
            continue
        if (code := desk.code([m.of], found)) is None:
            continue
        desk.used.add(m.name)
        ask = [
            ("text", f"This is your {m.of}:"), code,
            ("text", "A classmate wrote this instead:"), ("code", theirs),
            ("text", "For which inputs do the two give different answers? Name a small one, and say how the answers differ."),
        ]  # fmt: skip
        key = [
            ("text", f"The classmate's mistake ({desk.lab.id}/{m.name}): {m.says}"),
            ("text", "A small input on which they differ; others are as good:"), ("code", written(desk.lab, found.calls, found.arguments)),
            ("code", f"{_whose('student', found.mine)}\n{_whose('classmate', found.wrong)}"),
        ]  # fmt: skip
        return Question("difference", task.name, m.name, ask, key)
    return None


def prediction(desk: Desk, task: Task) -> Question | None:
    """What does the student's function return for an input that tells a mistake from the right answer?"""
    for m in desk.mistakes(task):
        if desk.code([m.of]) is None or (found := smallest(desk, task, m, predictable)) is None:
            continue
        if (code := desk.code([m.of], found)) is None:
            continue
        desk.used.add(m.name)
        right = answer(found.mine)
        also = "; of a tensor or an array the shape and the type, too" * (right.lstrip()[:6] in ("tensor", "array "))
        ask = [
            ("text", f"This is your {m.of}:"), code,
            ("text", f"What does the last line here give? Write every value{also}."),
            ("code", written(desk.lab, found.calls, found.arguments)),
        ]  # fmt: skip
        key = [
            ("code", right),
            ("text", "Whoever has a classic mistake in mind says this instead:"), ("code", answer(found.wrong)),
            ("text", f"({desk.lab.id}/{m.name}) {m.says}"),
        ]  # fmt: skip
        return Question("prediction", task.name, m.name, ask, key)
    return None


def change(desk: Desk, task: Task) -> Question | None:
    """One line of the student's, changed: which test is the first to fail?

    Best is a change that is a known mistake; of others one that the first test lets through.
    """
    nodes = [n for w in task.writes if (n := oral_source.definition(desk.tree, w))]
    every = list(dict.fromkeys(c for node in nodes for c in oral_source.changes(desk.text, node)))
    code = desk.code(list(task.writes))
    if code is None or not every:
        return None
    _, known = diagnose.catalogue(desk.trusted, desk.spec, task.name, cache=desk.cache) if desk.known else ({}, {})
    first = desk.spec.of_task(task.name)[0].name
    best: tuple[int, int, str, runner.Result, list[str]] | None = None
    for line, new in desk.rng.sample(every, min(CHANGES, len(every))):
        result = _with_line(desk, task, line, new)
        if result.status != "wrong":  # that it raises is plain to see
            continue
        names = diagnose.best(result.seen, known)
        names = names if len(names) == 1 and names[0] not in desk.used else []
        rank = 2 * bool(names) + result.seen.tests()[first]
        if best is None or rank > best[0]:
            best = (rank, line, new, result, names)
        if names:
            break
    if best is None:
        return None
    _, line, new, result, names = best
    desk.used |= {*names}
    ask = [
        ("text", f"This is what you wrote for {task.name}:"), code,
        ("text", f"Line {line} is changed, and nothing else. It was, and it becomes:"),
        ("code", f"- {desk.text.split(chr(10))[line - 1].strip()}\n+ {new.strip()}"),
    ]  # fmt: skip
    likely = [(f"{desk.lab.id}/{n}", desk.known[n].says) for n in names]
    return _judged(desk, "change", f"line {line}", ask, result, likely)


def verdict(desk: Desk, task: Task) -> Question | None:
    """A classmate's version: which test is the first to fail?  Needs no input that one can write down."""
    for m, theirs in desk.versions(task):
        code = desk.code([m.of])
        if code is None or theirs.count("\n") >= TALL:
            continue
        box = desk.trusted.box()
        try:
            seen = runner.observe(box, desk.spec, task.name, m.setup)
        finally:
            box.close()
        if not seen.failures or seen.failures[0] in seen.errors:
            continue
        desk.used.add(m.name)
        ask = [
            ("text", f"This is your {m.of}:"), code,
            ("text", "A classmate wrote this instead:"), ("code", theirs),
        ]  # fmt: skip
        likely = [(f"{desk.lab.id}/{m.name}", m.says)]
        return _judged(desk, "verdict", m.name, ask, runner.Result(task, "wrong", seen=seen), likely)
    return None


def _judged(
    desk: Desk, kind: str, about: str, ask: list[Block], result: runner.Result, likely: list[tuple[str, str]]
) -> Question:
    """The question which test of the task is the first to fail."""
    tests, passed = desk.spec.of_task(result.task.name), result.seen.tests()
    claims = "\n".join(f"{i}  {_claim(t.name)}" for i, t in enumerate(tests, 1))
    named = " What would `lab check` say of it?" * bool(likely)
    ask = [
        *ask,
        ("text", "These are the tests of this task, in the order in which they run:"), ("code", claims),
        ("text", f"Which is the first to fail, and why?{named}"),
    ]  # fmt: skip
    failed = [i for i, t in enumerate(tests, 1) if not passed.get(t.name, True)]
    stopped = f" {sum(t.name not in passed for t in tests)} did not run." * any(t.name not in passed for t in tests)
    said = report.failure(desk.lab, desk.spec, result, likely)
    rows = [("called", said.called), ("expected", said.expected), ("got", said.got), ("where", said.where)]
    rows += [("likely", says + f"  ({name})" * bool(name)) for name, says in said.likely]
    lines = "\n".join(f"{name:10}" + text.replace("\n", "\n" + " " * 10) for name, text in rows if text)
    key = [
        ("text", f"The first to fail is {failed[0]}; in all fail: {', '.join(map(str, failed))}.{stopped}"),
        ("text", "What `lab check` says:"), ("code", f"{result.task.name} · {said.test}\n{lines}"),
    ]  # fmt: skip
    return Question(kind, result.task.name, about, ask, key)


def _whose(who: str, value: Any) -> str:
    text = answer(value)
    return f"{who}'s: {text}" if "\n" not in text else f"{who}'s:\n{textwrap.indent(text, '  ')}"


def _with_line(desk: Desk, task: Task, line: int, new: str) -> runner.Result:
    lines = desk.text.split("\n")
    lines[line - 1] = new
    file = desk.private / "lab.py"
    file.write_text("\n".join(lines), encoding="utf-8")
    return list(runner.results(desk.locked, desk.spec, file, [task.name]))[-1]


def _claim(test: str) -> str:
    return test.removeprefix("test_").replace("_", " ")
