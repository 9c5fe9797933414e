"""`lab oral`: ten supervised minutes.  Three questions on a student's own file, and a page of keys for you.

The same student, lab and file give the same questions; another student with the same file gets others.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labkit import catalog, report, runner, sandbox
from labkit.catalog import Lab, LabError, Task
from labkit.grading import roster
from labkit.grading.markup import clean, count, document, esc
from labkit.grading.store import Store
from labkit.oral_questions import Block, Desk, Question, change, difference, prediction, verdict
from labkit.runner import Spec

KINDS = (difference, prediction, change, verdict)  # the last where one of the others cannot be made
MOST = 3
ADVICE = "Ten minutes, no computer. Explain as you go: the reasons count for more than the numbers."
MARKING = (
    "Every key was computed by running the code. An answer with other words or another input can be as good: "
    "ask why, and listen."
)


def add_options(sub: argparse.ArgumentParser) -> None:
    """The words of `lab oral`."""
    sub.add_argument("id", metavar="ID", help="a lab: 4.1")
    sub.add_argument("--student", required=True, metavar="ID", help="decides which questions; an id, as in the roster")
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--file", metavar="FILE", help="the student's lab.py")
    source.add_argument("--results", metavar="RESULTS", help="or the folder that `lab grade` wrote, which holds it")
    sub.add_argument("--web", metavar="FOLDER", help="write both pages as HTML there, to print (else: text, here)")


def main(base: Path, lab_id: str, student: str, file: Path | None, results: Path | None, web: Path | None) -> int:
    """Prints both pages, or writes them as HTML into the folder `web`.  LabError: nothing can be asked of the file."""
    if (file is None) == (results is None):
        raise LabError("Say where the student's file is: --file FILE, or --results RESULTS of `lab grade`.")
    lab = catalog.find(base, lab_id)
    if results is not None:
        student = roster.find(roster.of_results(results), student).id
        lab, data = _handed_in(lab, results, student)
    else:
        assert file is not None
        try:
            data = file.read_bytes()
        except OSError as e:
            raise LabError(f"{file} cannot be read: {e.strerror}.") from None
    lab.file("mistakes.py")  # a course's repository has none, and says so before anything runs
    if why := sandbox.trouble():
        print(f"{why[:1].upper()}{why[1:]}. Then {sandbox.LIMITS}", file=sys.stderr)
    questions = make(lab, data, student, base / ".lab" / "cache")
    report.progress_line("")
    head = f"{lab.id} {lab.title} · {student}"
    if web is None:
        print(page(f"Oral: {head}", ADVICE, [q.ask for q in questions], questions))
        print("=" * 78 + "\n")
        print(page(f"Keys: {head}", MARKING + _short(questions), [q.key for q in questions], questions))
        return 0
    web.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]", "_", f"{lab.id}-{student}")[:80]
    for kind, words, blocks in (
        ("questions", ADVICE, [q.ask for q in questions]),
        ("keys", MARKING + _short(questions), [q.key for q in questions]),
    ):
        path = web / f"{name}-{kind}.html"
        path.write_text(html(f"{kind.capitalize()}: {head}", words, blocks, questions), encoding="utf-8")
        print(report.as_typed(path))
    return 0


def make(lab: Lab, data: bytes, student: str, cache: Path | None = None) -> list[Question]:
    """Up to three questions on this file, of three kinds where it allows that.  LabError when none can be made."""
    seed = "\n".join([student, lab.id, hashlib.sha256(data).hexdigest()])
    rng = random.Random(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest())
    spec = Spec.of(lab)
    with (
        tempfile.TemporaryDirectory(prefix="lab-oral-") as folder,
        runner.kitchen(lab) as trusted,
        runner.locked_kitchen(lab, walls=not sandbox.trouble()) as locked,
    ):
        file = Path(folder) / "handed-in.py"
        file.write_bytes(data)
        desk = Desk(spec, file, trusted, locked, Path(folder), rng, cache)
        say = report.progress_line
        passed = [r.task for r in runner.results(locked, spec, file, progress=lambda t: say(f"checking {t} …"))
                  if r.status == "passed"]  # fmt: skip
        if not passed:
            raise LabError(f"This file passes no task of lab {lab.id}, so there is no working code in it to ask about.")
        made: list[Question] = []
        kinds = [*KINDS]
        while kinds and len(made) < MOST:  # a kind that the file gives nothing for is replaced by another
            kind = kinds.pop(0)
            seen = {(q.task, q.kind) for q in made}
            for task in _order(passed, {q.task for q in made}, rng):
                say(f"question {len(made) + 1}: {task.name} …")
                if (task.name, kind.__name__) not in seen and (found := kind(desk, task)):
                    made.append(found)
                    kinds.append(kind)
                    break
    if not made:
        raise LabError(f"No question of lab {lab.id} could be made from this file: none of its mistakes fits its code.")
    return _once(made)


def _once(questions: list[Question]) -> list[Question]:
    """The same code of the student's is printed once."""
    under: dict[str, int] = {}
    for i, q in enumerate(questions, 1):
        (_, head), (_, code), *rest = q.ask
        if (first := under.setdefault(code, i)) < i:
            q.ask = [("text", f"{head.removesuffix(':')}, as under question {first}."), *rest]
    return questions


def _order(tasks: Sequence[Task], used: set[str], rng: random.Random) -> list[Task]:
    """By lot, in which each point is a ticket; tasks that a question is about already come last."""
    drawn = sorted(tasks, key=lambda t: rng.random() ** (1 / max(t.points, 1)), reverse=True)
    return sorted(drawn, key=lambda t: t.name in used)


def _handed_in(lab: Lab, results: Path, student: str) -> tuple[Lab, bytes]:
    store = Store(results)
    own = store.index().get(student, {})
    if lab.id not in own:
        raise LabError(f"{student} has no graded file for lab {lab.id} in {results}.")
    verdict = store.get(own[lab.id])
    if verdict is None:
        raise LabError(f"The verdict is not in {store.verdicts}: `lab grade … --resume` reaches it again.")
    if verdict.dials:
        lab = catalog.read(store.variant(lab.id, verdict.dials))
    return lab, store.file(verdict.file)


def _short(questions: Sequence[Question]) -> str:
    missing = MOST - len(questions)
    return f" Of three questions {count(missing, 'was', 'were')} not possible on this file." if missing else ""


def page(title: str, words: str, parts: Sequence[list[Block]], questions: Sequence[Question]) -> str:
    """One of the two pages as text.  What a stranger wrote is made harmless line by line."""
    lines = [_line(title), "", words, ""]
    for i, (blocks, q) in enumerate(zip(parts, questions, strict=True), 1):
        lines += [f"{i}. {q.task}", ""]
        for kind, text in blocks:
            lines += [("      " if kind == "code" else "   ") + _line(s) for s in text.split("\n")] + [""]
    return "\n".join(line.rstrip() for line in lines)


def html(title: str, words: str, parts: Sequence[list[Block]], questions: Sequence[Question]) -> str:
    """The same as one HTML file, for paper."""
    body = [f"<h1>{esc(title)}</h1>\n<p class='lede'>{esc(words)}</p>\n"]
    for i, (blocks, q) in enumerate(zip(parts, questions, strict=True), 1):
        body.append(f"<section><h2>{i}. {esc(q.task)}</h2>\n")
        for kind, text in blocks:
            safe = "\n".join(esc(s) for s in text.split("\n"))
            words = re.sub("`([^`]+)`", r"<code>\1</code>", safe)
            body.append(f"<pre><code>{safe}</code></pre>\n" if kind == "code" else f"<p>{words}</p>\n")
        body.append("</section>\n")
    return document(title, "".join(body), "Made by lab oral.")


def _line(text: str) -> str:
    return clean(text).replace("\n", " ")
