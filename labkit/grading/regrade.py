"""`lab regrade`: why a verdict is what it is, without running anything; or the same file once more."""

from __future__ import annotations

import zlib
from pathlib import Path

from labkit import catalog, sandbox, values, wire
from labkit.catalog import LabError
from labkit.grading import roster, words, work
from labkit.grading.records import TaskVerdict, Verdict
from labkit.grading.store import Store
from labkit.report import WORDS
from labkit.runner import LOADING, Key
from labkit.spec import Record

SHOWN = 3  # checks of a task that are told in full
ENDED = {
    "spec": "the test cannot use what came:",
    "unwritten": "a function that it needs is not written yet:",
    "missing": "it imports what is not installed:",
    "forbidden": "it uses what this task asks to write:",
    "exited": "it called for an exit:",
    "memory": "it ran out of memory:",
    "unsendable": "what it returned cannot leave its process:",
    "slow": "it gave no answer in time:",
    "died": "its process ended:",
    "flood": "it printed without end:",
    "garbage": "its process broke the protocol:",
    "denied": "it tried what a graded file may not do:",
    "disk": "it could not write:",
    "raised": "it raised",
}


def main(base: Path, results: Path, student: str, lab: str, why: bool) -> int:
    """0 when what was said still stands, 1 when it does not."""
    student = roster.find(roster.of_results(results), student).id
    name, verdict, kept = _find(results, student, lab)
    return _why(student, verdict, kept.observations(name)) if why else _again(base, student, verdict, kept)


def _find(results: Path, student: str, lab: str) -> tuple[str, Verdict, Store]:
    kept = Store(results)
    here = kept.index().get(student, {})
    if not here:
        raise LabError(f"{student} has no graded file in {results}.")
    if lab not in here:
        raise LabError(f"{student} has no graded file for lab {lab}, but for {', '.join(here)}.")
    verdict = kept.get(here[lab])
    if verdict is None:
        raise LabError(f"The verdict is not in {kept.verdicts}: `lab grade … --resume` reaches it again.")
    return here[lab], verdict, kept


def _why(student: str, verdict: Verdict, observations: bytes) -> int:
    """Every stored check of every task, judged anew from what the file gave and what was wanted."""
    now = work.digest(work.environment())
    same = "the versions installed now" if now == verdict.environment else "other versions than are installed now"
    print(f"{student}, lab {verdict.lab}: {verdict.earned}/{verdict.points} points")
    print(
        f"file {verdict.file[:16]}, salt {verdict.salt}, {verdict.sandbox}, environment {verdict.environment}: {same}"
    )
    if verdict.dials:
        print(f"variant: {', '.join(verdict.dials)}")
    differs = []
    said = {t.task: t for t in verdict.tasks}
    try:
        seen = [*work.replay(observations)]
    except (zlib.error, wire.WireError, ValueError, TypeError):
        raise LabError("The observations behind this verdict cannot be read: without --why it is run again.") from None
    once: dict[str, list[str]] = {}  # what happened → the tasks to which it did
    for task, status, note, checks in seen:
        holds = all(r.ok for r in checks.values())
        if (said[task].status == "passed") != (status == "passed" and holds):
            differs.append(task)
        # an error's text is the submission's, and this goes to a terminal
        lines = [words.clean(line) for line in told(status, note, checks, said[task])]
        once.setdefault("\n".join(lines), []).append(task)
    for happened, tasks in once.items():
        print(f"\n{', '.join(tasks)}:{' ' if len(tasks) == 1 else chr(10) + '  '}{happened}")
    print(
        f"\n{'DIFFERS from the verdict: ' + ', '.join(differs) if differs else 'The verdict follows from what was seen.'}"
    )
    return 1 if differs else 0


def told(status: str, note: str, checks: dict[Key, Record], said: TaskVerdict) -> list[str]:
    """What happened to a task, in words: the status, how many checks hold, and the first that do not."""
    bad = [(test, i, r) for (test, i), r in checks.items() if not r.ok]
    if bad and bad[0][0] == LOADING:
        return ["the file does not load, so nothing could be tried", *_indented(note or said.got, 2)]
    if status in ("waiting", "not-started", "not-run", "forbidden") and not (bad and bad[0][2].kind != "raised"):
        return [note if status == "waiting" and note else f"{WORDS.get(status, status)}{f': {note}' * bool(note)}"]
    count = f"{len(checks) - len(bad)} of {len(checks)} stored checks hold" if checks else "nothing was run"
    lines = [f"{WORDS.get(status, status)}; {count}", *_indented(note if not bad else "", 2)]
    for n, (test, i, r) in enumerate(bad[:SHOWN]):
        lines.append(f"  {test}, check {i + 1}{f': {r.why}' if r.why else ''}")
        # the note is of the first check, and knows the line
        lines += _indented(note if n == 0 and note and r.kind == "raised" else found(r), 4)
    if len(bad) > SHOWN:
        lines.append(f"  … and {len(bad) - SHOWN} more that do not hold")
    if bad and said.says:
        lines.append(f"  likely: {said.says}{f'  ({said.mistake})' if said.mistake else ''}")
    return lines


def found(r: Record) -> str:
    """What a check that does not hold wanted and what it got."""
    if r.kind == "raised":  # no value came: [what happened, the type of the error, its text with # for numbers]
        outcome, *texts = r.got
        error = ": ".join(filter(None, texts)).replace("#", "…")
        return " ".join(filter(None, (ENDED.get(outcome, "it stopped:"), error)))
    wanted, got = values.describe(r.want), values.describe(r.got)
    if r.kind == "raises":
        wanted = f"it raises {r.want}"
        got = f"it returned {values.describe(r.got[1])}" if r.got[0] == "returned" else f"it raised {r.got[1]}"
    elif r.kind == "less":
        wanted = f"a number below {wanted}"
    elif r.kind == "between":
        wanted = f"a number from {r.want[0]} to {r.want[1]}"
    elif r.kind == "sampled":
        wanted = f"draws that follow the probabilities {wanted}"
    return f"wanted {wanted}\ngot    {got}"


def _indented(text: str, width: int) -> list[str]:
    return [" " * width + line for line in text.splitlines()]


def _again(base: Path, student: str, before: Verdict, kept: Store) -> int:
    if before.sandbox == "bubblewrap" and (trouble := sandbox.trouble()):
        raise LabError(f"The verdict was reached in the sandbox, and here {trouble}.")
    public = catalog.find(base, before.lab)
    folder = kept.variant(before.lab, before.dials) if before.dials else public.folder
    job = work.Job(before.lab, str(folder), kept.file(before.file), kept.salt(), tuple(before.dials))
    with work.Worker(base / ".lab" / "cache", before.sandbox) as worker:
        now, _ = worker.judge(job)
    print(f"{student}, lab {before.lab}: {before.earned}/{before.points} before, {now.earned}/{now.points} now")
    if [t.task for t in before.tasks] != [t.task for t in now.tasks]:
        raise LabError(f"Lab {before.lab} has other tasks now; --why explains the verdict that is there.")
    changed = 0
    for old, new in zip(before.tasks, now.tasks, strict=True):
        if (old.status, old.earned) != (new.status, new.earned):
            changed += 1
            print(f"  {old.task}: {old.status} before, {new.status} now {new.note}")
    print("RESULTS is as it was." if changed else "The same verdict for every task.")
    return 1 if changed else 0
