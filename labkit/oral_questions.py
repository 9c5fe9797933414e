"""The three kinds of questions of an oral, made on the student's own file, and their keys, computed by running it.

A question gives away a mistake, so no two of them are about the same one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from labkit import diagnose, oral_source, report, runner, variants
from labkit.catalog import Task
from labkit.oral_cases import Pots, answer, by_hand, smallest, varied, written
from labkit.variants import Variant

MISTAKES, CHANGES = 3, 12  # how many are tried for one question
TALL = 80  # lines of code that somebody reads within minutes
Block = tuple[str, str]  # ("text" | "code", what it says)


@dataclass
class Question:
    """What is asked, and its key."""

    kind: str  # difference prediction change
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

    def mistakes(self, task: Task) -> list[Variant]:
        """Some of the task's mistakes whose function the student wrote, too."""
        every = [m for m in variants.mistakes(self.lab).values() if m.task == task.name and m.name not in self.used]
        here = [m for m in every if oral_source.definition(self.tree, m.of)]
        return self.rng.sample(here, min(MISTAKES, len(here)))

    def versions(self, task: Task) -> list[tuple[Variant, str]]:
        """The same with their code, under the name of the student's function; what is quickest to read comes first."""
        text, tree = oral_source.parsed(self.lab.file("mistakes.py").read_bytes())
        both = [(m, oral_source.shown(text, tree, [m.name])) for m in self.mistakes(task)]
        return [(m, oral_source.renamed(code, m.name, m.of)) for m, code in sorted(both, key=lambda b: len(b[1]))]

    def code(self, names: list[str]) -> Block | None:
        """The student's functions with their lines' numbers; None when there is too much of it to ask about."""
        text = oral_source.shown(self.text, self.tree, names, numbered=True)
        return ("code", text) if 0 < text.count("\n") + 1 <= TALL else None


def difference(desk: Desk, task: Task) -> Question | None:
    """A classmate's version: for which input does it give another answer?"""
    for m, theirs in desk.versions(task):
        code = desk.code([m.of])
        if code is None or theirs.count("\n") >= TALL or (found := smallest(desk, task, m)) is None:
            continue
        desk.used.add(m.name)
        ask = [
            ("text", f"This is your {m.of}:"), code,
            ("text", "A classmate wrote this instead:"), ("code", theirs),
            ("text", "For which inputs do the two give different answers? Name a small one, and what each returns for it."),
        ]  # fmt: skip
        key = [
            ("text", f"The classmate's mistake ({desk.lab.id}/{m.name}): {m.says}"),
            ("text", "A small input on which they differ; others are as good:"), ("code", written(desk.lab, found)),
            ("code", f"student's: {answer(found.mine)}\nclassmate's: {answer(found.wrong)}"),
        ]  # fmt: skip
        return Question("difference", task.name, m.name, ask, key)
    return None


def prediction(desk: Desk, task: Task) -> Question | None:
    """What does the student's function return for an input that tells a mistake from the right answer?"""
    for m in desk.mistakes(task):
        code = desk.code([m.of])
        found = smallest(desk, task, m, varied) if code else None
        if code is None or found is None or not by_hand(found.mine):
            continue
        desk.used.add(m.name)
        ask = [
            ("text", f"This is your {m.of}:"), code,
            ("text", "What does it return here? Write every value; of a tensor the shape and the type, too."),
            ("code", written(desk.lab, found)),
        ]  # fmt: skip
        key = [
            ("code", answer(found.mine).strip("\n")),
            ("text", "Who has a classic mistake in mind says this instead:"), ("code", answer(found.wrong).strip("\n")),
            ("text", f"({desk.lab.id}/{m.name}) {m.says}"),
        ]  # fmt: skip
        return Question("prediction", task.name, m.name, ask, key)
    return None


def change(desk: Desk, task: Task) -> Question | None:
    """One line of the student's, changed: which tests fail, and what would `lab check` say?"""
    nodes = [n for w in task.writes if (n := oral_source.definition(desk.tree, w))]
    every = list(dict.fromkeys(c for node in nodes for c in oral_source.changes(desk.text, node)))
    code = desk.code(list(task.writes))
    if code is None or not every:
        return None
    _, known = diagnose.catalogue(desk.trusted, desk.spec, task.name, cache=desk.cache)
    best: tuple[int, int, str, runner.Result, list[str]] | None = None
    for line, new in desk.rng.sample(every, min(CHANGES, len(every))):
        result = _with_line(desk, task, line, new)
        if result.status not in ("wrong", "crashed") or result.seen.failures[0][0] == runner.LOADING:
            continue
        names = diagnose.best(result.seen, known) if result.status == "wrong" else []
        names = names if len(names) == 1 and names[0] not in desk.used else []
        rank = 2 * bool(names) + (result.status == "wrong")
        if best is None or rank > best[0]:
            best = (rank, line, new, result, names)
        if names:
            break
    if best is None:
        return None
    _, line, new, result, names = best
    desk.used |= {*names}
    tests = desk.spec.of_task(task.name)
    claims = "\n".join(f"{i}  {_claim(t.name)}" for i, t in enumerate(tests, 1))
    ask = [
        ("text", f"This is what you wrote for {task.name}:"), code,
        ("text", f"Line {line} is changed, and nothing else. It was, and it becomes:"),
        ("code", f"- {desk.text.split(chr(10))[line - 1].strip()}\n+ {new.strip()}"),
        ("text", "These are the tests of this task, in the order in which they run:"), ("code", claims),
        ("text", "Which is the first to fail, and why? What would `lab check` say of it?"),
    ]  # fmt: skip
    verdict = result.seen.tests()
    failed = [i for i, t in enumerate(tests, 1) if not verdict.get(t.name, True)]
    stopped = f" {sum(t.name not in verdict for t in tests)} did not run." * any(t.name not in verdict for t in tests)
    likely = [(f"{desk.lab.id}/{n}", variants.mistakes(desk.lab)[n].says) for n in names]
    said = report.failure(desk.lab, desk.spec, result, likely)
    rows = [("called", said.called), ("expected", said.expected), ("got", said.got), ("where", said.where)]
    rows += [("likely", says + f"  ({name})" * bool(name)) for name, says in said.likely]
    lines = "\n".join(f"{name:10}{text}" for name, text in rows if text)
    key = [
        ("text", f"The first to fail is {failed[0]}; in all fail: {', '.join(map(str, failed))}.{stopped}"),
        ("text", "What `lab check` says:"), ("code", f"{task.name} · {said.test}\n{lines}"),
    ]  # fmt: skip
    return Question("change", task.name, f"line {line}", ask, key)


def _with_line(desk: Desk, task: Task, line: int, new: str) -> runner.Result:
    lines = desk.text.split("\n")
    lines[line - 1] = new
    file = desk.private / "lab.py"
    file.write_text("\n".join(lines), encoding="utf-8")
    return list(runner.results(desk.locked, desk.spec, file, [task.name]))[-1]


def _claim(test: str) -> str:
    return test.removeprefix("test_").replace("_", " ")
