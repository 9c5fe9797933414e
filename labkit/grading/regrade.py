"""`lab regrade`: why a verdict is what it is, without running anything; or the same file once more."""

from __future__ import annotations

import zlib
from pathlib import Path

from labkit import catalog, sandbox, values, wire
from labkit.catalog import LabError
from labkit.grading import work
from labkit.grading.records import Verdict
from labkit.grading.store import Store


def main(base: Path, results: Path, student: str, lab: str, why: bool) -> int:
    """0 when what was said still stands, 1 when it does not."""
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
    for task, status, note, checks in seen:
        bad = [(test, i, r) for (test, i), r in checks.items() if not r.ok]
        judged = f"{len(checks) - len(bad)} of {len(checks)} stored checks hold"
        print(f"\n{task}: {status}{f' ({note})' if note else ''}; {judged if checks else 'nothing was run'}")
        if (said[task].status == "passed") != (status == "passed" and not bad):
            differs.append(task)
        for test, i, r in bad[:3]:
            print(f"  {test}, check {i + 1}{f': {r.why}' if r.why else ''} ({r.kind})")
            print(f"    wanted {values.describe(r.want)}\n    got    {values.describe(r.got)}")
        if bad and said[task].says:
            print(f"  likely: {said[task].says}{f'  ({said[task].mistake})' if said[task].mistake else ''}")
    print(
        f"\n{'DIFFERS from the verdict: ' + ', '.join(differs) if differs else 'The verdict follows from what was seen.'}"
    )
    return 1 if differs else 0


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
