"""Runs a spec against a lab file and says, task by task, how it went.

One task, one process: a crash, a hang or a polluted global costs its own task only.  The spec runs here, the lab there.
"""

from __future__ import annotations

import hashlib
import inspect
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit import forbid, scaffold
from labkit.catalog import Lab, LabError, Task
from labkit.child import load
from labkit.jail import FILE
from labkit.kitchen import Kitchen
from labkit.remote import Box, Call, Failed
from labkit.spec import Record, check

WHOLE = 60.0  # seconds a check of all tasks may take
Key = tuple[str, int]  # (test, number of the check in it)
LOADING = "(loading)"
DISK = f"a graded lab may write {FILE >> 20} MB in all, and into its temporary folder alone"


@dataclass(frozen=True)
class Test:
    name: str
    task: str
    function: Callable[..., None]


@dataclass
class Spec:
    """A lab's test_lab.py, loaded: its tests in the order in which they stand."""

    lab: Lab
    tests: list[Test]

    @classmethod
    def of(cls, lab: Lab) -> Spec:
        try:
            module = load(str(lab.file("test_lab.py")), _name("test_lab", lab))
        except ModuleNotFoundError as e:
            raise LabError(
                f"Lab {lab.id} needs {e.name}, which is not installed here: `make lab` installs it."
            ) from None
        tests = [Test(n, f.task, f) for n, f in vars(module).items() if n.startswith("test_") and hasattr(f, "task")]
        untasked = [n for n, f in vars(module).items() if n.startswith("test_") and not hasattr(f, "task")]
        unknown = {t.task for t in tests} ^ {t.name for t in lab.tasks}
        if untasked or unknown:
            which = f"{untasked[0]} names no task" if untasked else f"{min(unknown)} is not in both, tests and lab.toml"
            raise LabError(f"{lab.file('test_lab.py')}: {which}.")
        return cls(lab, tests)

    def of_task(self, task: str) -> list[Test]:
        return [t for t in self.tests if t.task == task]


@dataclass
class Observation:
    """All that the spec saw of one task: records by test and number, and the call behind each."""

    records: dict[Key, Record] = field(default_factory=dict)
    errors: dict[Key, Failed] = field(default_factory=dict)
    calls: dict[Key, list[Call]] = field(default_factory=dict)  # the journal up to this record
    stumbled: dict[Key, str] = field(default_factory=dict)  # the spec could not use what the lab gave it
    printed: str = ""
    unfinished: bool = False  # tests were left out because the process was gone

    @property
    def failures(self) -> list[Key]:
        return [key for key, record in self.records.items() if not record.ok]

    @property
    def passed(self) -> bool:
        return bool(self.records) and not self.failures and not self.unfinished

    def tests(self) -> dict[str, bool]:
        """Each test that ran: did all its checks hold?"""
        verdict: dict[str, bool] = {}
        for (test, _), record in self.records.items():
            verdict[test] = verdict.get(test, True) and record.ok
        return verdict


@dataclass
class Result:
    """One task of one file."""

    task: Task
    status: str  # passed wrong crashed slow forbidden begun not-started waiting not-run
    tests: int = 0
    tests_passed: int = 0
    seen: Observation = field(default_factory=Observation)
    note: str = ""

    @property
    def points(self) -> int:
        return self.task.points if self.status == "passed" else 0


def observe(
    box: Box,
    spec: Spec,
    task: str,
    setup: Callable[[Box], None],
    seed: int = 0,
    only: str | None = None,
    stop_at_first: bool = False,
) -> Observation:
    """Runs a task's tests against whatever `setup` loads into the box."""
    seen = Observation()
    try:
        setup(box)
    except Failed as e:
        _fail(seen, (LOADING, 0), e, [])
        seen.unfinished = True
    for test in spec.of_task(task):
        if only not in (None, test.name):
            continue
        if seen.unfinished or (stop_at_first and seen.failures):
            break
        box.journal.clear()
        log = check.start(box.last_call)
        failed: Failed | None = None
        stumble = ""
        try:
            box.seed(seed_of(test.name, seed))
            test.function(**_fixtures(test, box, seed))
        except Failed as e:
            if _touched_a_result(box, e):
                stumble = f"{e.types[0]}: {e.text}"
                del box.journal[-1]
            else:
                failed = e
        except LabError:
            raise
        except Exception as e:
            stumble = f"{type(e).__name__}: {e}"
        for i, record in enumerate(log):
            seen.records[test.name, i] = record
            seen.calls[test.name, i] = box.journal[: (record.call or 0) + 1] if record.call is not None else []
        if failed:
            _fail(seen, (test.name, len(log)), failed, list(box.journal))
            seen.unfinished = failed.fatal
        elif stumble:
            key = (test.name, len(log))
            seen.records[key] = Record("raised", ["spec", _words(stumble)], None)
            seen.stumbled[key], seen.calls[key] = stumble, list(box.journal)
        elif not log:
            raise LabError(f"{spec.lab.file('test_lab.py')}: {test.name} checks nothing.")
    seen.printed = box.printed
    return seen


def _fail(seen: Observation, key: Key, e: Failed, journal: list[Call]) -> None:
    seen.records[key] = Record("raised", [e.outcome, *e.types[:1], _words(e.text)], None)
    seen.errors[key], seen.calls[key] = e, journal


def _touched_a_result(box: Box, e: Failed) -> bool:
    """The spec asked a returned object for what it does not have: a generator for its shape, say."""
    last = box.journal[-1] if box.journal else None
    return (
        e.outcome == "raised"
        and e.line is None
        and last is not None
        and last.op == "get"
        and any(c.op == "call" and c.result == last.target for c in box.journal)
    )


def _words(text: str) -> str:
    """An error's text without its numbers: sizes change from learner to learner, the sentence does not.

    Nor do temporary folders that the spec made: each run has another one.
    """
    text = re.sub(r"[^\s'\"]*[/\\](?:tmp|lab-)[a-z0-9_]{8}\b", "#", text)
    return re.sub(r"0x[0-9a-fA-F]+|\d+", "#", text)[:200]


def seed_of(test: str, seed: int) -> int:
    """Where the random numbers of one test begin, its own and those of the lab's process."""
    return int(hashlib.sha256(f"{seed} {test}".encode()).hexdigest()[:12], 16)


def _fixtures(test: Test, box: Box, seed: int) -> dict[str, Any]:
    number = seed_of(test.name, seed)
    arguments: dict[str, Any] = {}
    for name in inspect.signature(test.function).parameters:
        match name:
            case "lab":
                arguments[name] = box.lab
            case "random":
                arguments[name] = random.Random(number)
            case "rng":
                import torch

                arguments[name] = torch.Generator().manual_seed(number)
            case _:
                raise LabError(f"{test.name} asks for {name!r}; a test may ask for lab, rng and random.")
    return arguments


@contextmanager
def kitchen(lab: Lab, fork: bool | None = None) -> Iterator[Kitchen]:
    """Where this lab's processes come from.  The spec computes here, on one thread: the other core is the lab's."""
    on = sys.platform == "linux" if fork is None else fork
    made = Kitchen(lab.modules, on, forbidden=lab.forbidden)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def locked_kitchen(lab: Lab, walls: bool) -> Iterator[Kitchen]:
    """The same for files of strangers: in a sandbox without what the lab forbids, or, without walls, with limits alone."""
    if not walls:
        made = Kitchen(lab.modules, locked=True, forbidden=lab.forbidden)
    else:
        everywhere = set.intersection(*(set(t.forbidden) for t in lab.tasks))
        made = Kitchen(lab.modules, locked=True, hidden=sorted(everywhere), forbidden=lab.forbidden)
    try:
        yield made
    finally:
        made.close()


def run(
    lab: Lab,
    file: Path,
    tasks: list[str] | None = None,
    seed: int = 0,
    fork: bool | None = None,
    progress: Callable[[str], None] = lambda task: None,
) -> list[Result]:
    """Checks a file, task by task.  `tasks` restricts it; what those build on is then run too, but not reported."""
    with kitchen(lab, fork) as source:
        found = list(results(source, Spec.of(lab), file, tasks, seed, progress))
    return [r for r in found if tasks is None or r.task.name in tasks]


def results(
    source: Kitchen,
    spec: Spec,
    file: Path,
    tasks: list[str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda task: None,
    first: str | None = None,
) -> Iterator[Result]:
    """The tasks' results as they come, in the lab's order; but `first`, with what it builds on, before all others."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    wanted = _with_parents(spec.lab, tasks)
    early = _with_parents(spec.lab, [first]) if first else set()
    deadline = time.monotonic() + WHOLE
    known: dict[str, Result] = {}
    stuck: Observation | None = None
    with source.on_one_core():
        for task in sorted(spec.lab.tasks, key=lambda t: t.name not in early):  # stable: otherwise the lab's order
            if task.name not in wanted:
                continue
            progress(task.name)
            made = _run_task(source, spec, task, file, seed, deadline, known, stuck)
            if (error := made.seen.errors.get((LOADING, 0))) and error.outcome == "slow":
                stuck = made.seen  # loading it once more would take as long
            known[task.name] = made
            yield made


def _with_parents(lab: Lab, tasks: list[str] | None) -> set[str]:
    wanted = {t.name for t in lab.tasks} if tasks is None else set(tasks)
    for task in reversed(lab.tasks):
        if task.name in wanted:
            wanted |= set(task.after)
    return wanted


def _run_task(
    source: Kitchen,
    spec: Spec,
    task: Task,
    file: Path,
    seed: int,
    deadline: float,
    before: dict[str, Result],
    stuck: Observation | None = None,
) -> Result:
    total = len(spec.of_task(task.name))
    if waiting := [name for name in task.after if before[name].status != "passed"]:
        return Result(task, "waiting", total, note=f"waiting for {', '.join(waiting)}")
    if time.monotonic() > deadline:
        return Result(task, "not-run", total, note=f"the whole check may take {WHOLE:g} s, and they were over")
    if used := forbidden_uses(spec.lab, task, file):
        line, name = used[0]
        return Result(
            task, "forbidden", total, note=f"line {line} uses {name}, which this task asks you to write yourself"
        )
    if stuck is not None:
        return Result(task, "slow", total, 0, stuck, explain(stuck.errors[LOADING, 0]))
    box = source.box()
    box.deadline = deadline
    try:
        seen = observe(box, spec, task.name, lambda b: b.load(file, task.forbidden, spec.lab.folder), seed)
    finally:
        box.close()
    seen.printed = box.printed  # all of it: closing waits for what is still on its way
    verdict = seen.tests()
    result = Result(task, "passed", total, sum(verdict.values()), seen)
    if not seen.passed:
        result.status, result.note = _status(spec.lab, task, seen, file)
    return result


def _status(lab: Lab, task: Task, seen: Observation, file: Path) -> tuple[str, str]:
    """wrong, crashed, too slow and not started are different things, and each is said."""
    key = seen.failures[0]
    e = seen.errors.get(key)
    if e is None:
        return "wrong", ""
    if e.outcome == "unwritten":
        owner = next((t.name for t in lab.tasks if e.text in t.writes), None)
        if owner == task.name:
            written = set(task.writes) - _unwritten(file)
            begun = written or any(seen.tests().values())
            return ("begun" if begun else "not-started"), f"{e.text} is not written yet"
        if owner:
            return "waiting", f"needs {e.text}, which is not written yet"
    return {"slow": "slow", "forbidden": "forbidden"}.get(e.outcome, "crashed"), explain(e)


def _unwritten(file: Path) -> set[str]:
    """The functions that still raise the scaffold's NotImplementedError."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # gone since it was loaded
        return set()
    return set(re.findall(r"""NotImplementedError\(["']([\w.]+)["']\)""", text))


def explain(e: Failed) -> str:
    """What happened, in a sentence."""
    at = f" at line {e.line}" if e.line else ""
    code = f": `{e.code}`" if e.code else ""
    first = e.types[0] if e.types else "an exception"
    return {
        "unwritten": f"{e.text or 'something'} is not written yet{at}",
        "syntax": f"{first}{at.replace(' at ', ' in ')}: {e.text}{code}",
        "missing": f"it imports {e.text}, which is not installed{f' (line {e.line})' * bool(e.line)}",
        "forbidden": f"it uses {e.text}{at}, which this task asks you to write yourself",
        "exited": f"it called for an exit ({first}{' ' + e.text if e.text else ''}){at}{code}",
        "memory": f"out of memory{at}{code} ({e.text or first})",
        "slow": f"too slow: {e.text}" + (f"; it was{at}{code}" if e.line else ""),
        "died": e.text[:1].upper() + e.text[1:],
        "flood": e.text[:1].upper() + e.text[1:] + ", which looks like a print in an endless loop",
        "garbage": f"its process broke the protocol: {e.text}",
        "unsendable": f"what it returned cannot leave its process: {e.text}",
        "denied": f"it tried to {e.text}{at}{code}: a graded lab is one process, without network",
        "disk": f"it could not write{at}{code}: {e.text}; {DISK}",
        "raised": f"it raised {first}{at}{code}" + (f"\n{e.text}" if e.text else ""),
    }[e.outcome]


def forbidden_uses(lab: Lab, task: Task, file: Path) -> list[tuple[int, str]]:
    """(line, name) of each use of a forbidden name in this task's functions or in helpers that the learner added."""
    others = {w.split(".")[0] for t in lab.tasks if t.name != task.name for w in t.writes} - {
        w.split(".")[0] for w in task.writes
    }
    try:
        given, source = scaffold.generate(lab), file.read_bytes()
    except OSError:
        return []
    return [(line, name) for line, name, owner in forbid.uses(source, task.forbidden, given) if owner not in others]


def _name(kind: str, lab: Lab) -> str:
    return f"{kind}_{lab.id.replace('.', '_')}"
