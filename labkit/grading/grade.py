"""`lab grade`: from what a learning platform exports to a gradebook.

Takes in, tries the right versions on the salt, judges every file that was not judged before, applies the policy, writes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from labkit import catalog, certificate, report, sandbox, scaffold, vary
from labkit.catalog import Lab, LabError
from labkit.grading import gradebook, gradescope, intake, pages, policy, policy_file, pool, similarity, work
from labkit.grading.records import Class, Mark, Refusal, Student, Verdict
from labkit.grading.rules import Policy
from labkit.grading.store import Store
from labkit.grading.work import Job

Key = tuple[str, str]  # (student, lab)


@dataclass
class Request:
    """What `lab grade` was asked."""

    source: Path
    out: Path
    labs: list[str] = field(default_factory=list)
    roster: Path | None = None
    policy: Path | None = None
    salt: str = ""
    vary_secret: str = ""
    jobs: int = 1
    ray: str = ""
    resume: bool = False
    require_sandbox: bool = False
    gradescope: Path | None = None


def main(base: Path, asked: Request) -> int:
    """0 when everything that came in was graded, 1 when some of it was refused or could not be."""
    began = time.monotonic()
    if asked.jobs < 1:
        raise LabError("--jobs takes a number from 1 on.")
    walls = _walls(asked.require_sandbox)
    every = catalog.labs(base)
    labs = [catalog.find(base, i) for i in asked.labs] or every
    rules = policy.restricted(policy_file.read(asked.policy, every), {lab.id for lab in labs})
    only = labs[0].id if len(labs) == 1 else None
    if asked.gradescope:
        alone = Student("submission")
        klass = Class([alone], *intake.files_of(alone, asked.source, every, only))
    else:
        klass = intake.read(asked.source, every, asked.roster, only, report.progress_line)
    report.progress_line("")
    wanted = {lab.id for lab in labs}
    klass.turned = [t for t in klass.turned if t.lab in wanted]
    rules = policy.for_class(rules, klass)
    notes = policy.check(rules, klass)
    store, salt = Store.open(asked.out, asked.salt, asked.resume, asked.vary_secret)
    _nothing_lost(store, klass)
    labs = [lab for lab in labs if any(t.lab == lab.id for t in klass.turned)]
    jobs = _jobs(klass, labs, salt, asked.vary_secret, store)
    names = _names(jobs, walls)
    store.keep_index(names)
    known = {name: verdict for name in set(names.values()) if (verdict := store.get(name)) is not None}
    missing = {names[key]: job for key, job in jobs.items() if names[key] not in known}
    _preflight(base, sorted({job.folder for job in missing.values()}), salt)
    cache = base / ".lab" / "cache"
    try:
        _rehearse(missing, asked, cache, walls)
        verdicts, failed = _judge(store, missing, asked, cache, walls)
    except KeyboardInterrupt:
        report.progress_line("")
        there = sum(store.get(name) is not None for name in set(names.values()))
        print(
            f"stopped: {there} of {len(set(names.values()))} verdicts are kept in {report.as_typed(asked.out)}, and the same "
            "command with --resume goes on from there.",
            file=sys.stderr,
        )
        return 130
    found = known | verdicts
    per_student = {key: found[name] for key, name in names.items() if name in found}
    for t in klass.turned:
        if (name := names[t.student, t.lab]) in failed:
            klass.refused.append(Refusal(t.student, t.where, "grader", failed[name], t.lab))
    marks = policy.marks(rules, klass, per_student)
    _write(asked, klass, marks, per_student, rules, labs, notes, time.monotonic() - began)
    _summary(asked, klass, marks, per_student, walls, len(known), time.monotonic() - began)
    return 1 if klass.refused and not asked.gradescope else 0


def _walls(required: bool) -> str:
    trouble = sandbox.trouble()
    if trouble and required:
        raise LabError(f"--require-sandbox: {trouble}.")
    if trouble:
        print(f"{trouble}.\n{sandbox.LIMITS}", file=sys.stderr)
    return "limits" if trouble else "bubblewrap"


def _jobs(klass: Class, labs: list[Lab], salt: str, secret: str, store: Store) -> dict[Key, Job]:
    """What is to be judged for whom.  The files and the variants are kept, for `lab regrade`."""
    by_id = {lab.id: lab for lab in labs}
    built: dict[tuple[str, tuple[str, ...]], Lab] = {}
    with_dials = {lab.id for lab in labs if secret and lab.file("dials.toml").exists()}
    jobs: dict[Key, Job] = {}
    for t in klass.turned:
        store.keep_file(t.data)
        lab, dials = by_id[t.lab], tuple[str, ...]()
        if t.lab in with_dials:
            dials = tuple(vary.choose(lab, secret, t.student))
            if (t.lab, dials) not in built:
                built[t.lab, dials] = vary.build(lab, dials, store.variant(lab.id, dials))
            lab = built[t.lab, dials]
        jobs[t.student, t.lab] = Job(t.lab, str(lab.folder), t.data, salt, dials)
    return jobs


def _names(jobs: dict[Key, Job], walls: str) -> dict[Key, str]:
    """The name of each job's verdict."""
    facts = work.environment()
    prints = {
        folder: certificate.fingerprint(catalog.read(Path(folder))) for folder in {j.folder for j in jobs.values()}
    }
    return {key: work.key(job, prints[job.folder], walls, facts) for key, job in jobs.items()}


def _preflight(base: Path, folders: list[str], salt: str) -> None:
    """No mark from a salt on which a right version fails.  A salt that was tried is not tried again."""
    facts = work.environment()
    for folder in folders:
        lab = catalog.read(Path(folder))
        named = f"{lab.id}-{certificate.fingerprint(lab)}-{work.digest({**facts, 'salt': salt})}"
        passed = base / ".lab" / "cache" / "preflight" / named
        if passed.exists():
            continue
        problems = work.preflight([lab.folder], salt, report.progress_line)
        report.progress_line("")
        if problems:
            raise LabError(
                "Nothing was graded.  On this salt the spec refuses a right version, which is a fault of the lab: take "
                f"another --seed-salt, and report this:\n  {problems[0]}"
            )
        passed.parent.mkdir(parents=True, exist_ok=True)
        scaffold.write(passed, "")


def _nothing_lost(store: Store, klass: Class) -> None:
    """A gradebook is made of what came in: whoever resumes with the export of another week would lose the first one's."""
    here = {(t.student, t.lab) for t in klass.turned}
    gone = [
        f"{student}: {lab}" for student, labs in store.index().items() for lab in labs if (student, lab) not in here
    ]
    if gone:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        raise LabError(
            f"{store.folder} holds files that did not come in this time ({', '.join(gone[:3])}{more}), and --resume would "
            "take their marks away.  Put all exports into one folder and grade that, or give another --out."
        )


def _rehearse(missing: dict[str, Job], asked: Request, cache: Path, walls: str) -> None:
    """The solutions, judged as the class will be: where one fails, this machine or its sandbox is at fault."""
    solutions = {
        job.folder: replace(job, data=(Path(job.folder) / "solution.py").read_bytes()) for job in missing.values()
    }
    report.progress_line("trying the solutions the way the class will be graded …" if solutions else "")
    with closing(_answers(solutions.values(), asked, cache, walls)) as answers:
        for job, verdict, _, problem in answers:
            bad = next((t for t in verdict.tasks if t.status != "passed"), None) if verdict else None
            if bad or problem:
                why = problem or " ".join(filter(None, (bad.status, bad.note, bad.claim, bad.got))) if bad else problem
                raise LabError(
                    f"Nothing was graded.  Where students' files run, the solution of lab {job.lab} itself fails"
                    f"{f' {bad.task}' if bad else ''}: {why}.  `lab doctor` looks at the sandbox."
                )
    report.progress_line("")


def _judge(
    store: Store, missing: dict[str, Job], asked: Request, cache: Path, walls: str
) -> tuple[dict[str, Verdict], dict[str, str]]:
    """The verdicts that were missing, each stored as it comes; and sentences for jobs that have none."""
    names = {job: name for name, job in missing.items()}
    verdicts: dict[str, Verdict] = {}
    failed: dict[str, str] = {}
    with (
        tqdm(total=len(missing), unit="file", desc="grading", file=sys.stderr, disable=not sys.stderr.isatty()) as bar,
        closing(_answers(missing.values(), asked, cache, walls)) as answers,
    ):
        for job, verdict, observations, problem in answers:
            if verdict is None:
                failed[names[job]] = problem
            else:
                verdicts[names[job]] = verdict
                store.keep(names[job], verdict, observations)
            bar.update()
    return verdicts, failed


def _answers(jobs: Iterable[Job], asked: Request, cache: Path, walls: str) -> Generator[pool.Answer, None, None]:
    if asked.ray:
        from labkit.grading import cluster

        yield from cluster.judged(jobs, asked.ray, walls)
    else:
        yield from pool.judged(jobs, asked.jobs, cache, walls)


def _write(
    asked: Request, klass: Class, marks: list[Mark], verdicts: dict[Key, Verdict], rules: Policy, labs: list[Lab],
    notes: list[str], seconds: float,
) -> None:  # fmt: skip
    if asked.gradescope:
        mine = list(verdicts.values())
        one = marks[0] if len(marks) == 1 else None
        asked.gradescope.parent.mkdir(parents=True, exist_ok=True)
        scaffold.write(asked.gradescope, json.dumps(gradescope.results(mine, one), indent=1))
        return
    gradebook.write(asked.out, klass, marks, verdicts, rules)
    hints = similarity.hints(klass, verdicts, labs)
    addresses = {}
    summary = pages.summary(labs, verdicts)
    for student in klass.students:
        folder = f"students/{gradebook.folder_name(student.id)}"
        own = {key: v for key, v in verdicts.items() if key[0] == student.id}
        marked = [m for m in marks if m.student == student.id]
        page = pages.student(student, marked, own, summary, klass.refused, [r.lab for r in rules.rules.values()])
        scaffold.write(asked.out / folder / "page.html", page)
        addresses[student.id] = f"{folder}/page.html"
    made = datetime.now(UTC)
    extra = pages.Extra(labs, made, rules.name, seconds, hints, notes, addresses)
    scaffold.write(asked.out / "report.html", pages.report(klass, marks, verdicts, extra))


def _summary(
    asked: Request,
    klass: Class,
    marks: list[Mark],
    verdicts: dict[Key, Verdict],
    walls: str,
    known: int,
    seconds: float,
) -> None:
    files, students = len(verdicts), len(klass.students)
    print(
        f"{files} files of {students} students graded in {seconds:.0f} s ({walls}; {known} verdicts were there already)."
    )
    reasons: dict[str, int] = {}
    for r in klass.refused:
        reasons[r.reason] = reasons.get(r.reason, 0) + 1
    if reasons:
        print("not graded, or with a remark: " + ", ".join(f"{n} {why}" for why, n in sorted(reasons.items())))
    if asked.gradescope:
        print(f"results: {report.as_typed(asked.gradescope)}")
        return
    print(f"report     {report.as_typed(asked.out / 'report.html')}")
    print(f"gradebook  {report.as_typed(asked.out / 'gradebook-canvas.csv')}, gradebook-moodle.csv, gradebook.json")
    print(f"students   {report.as_typed(asked.out / 'students')}{os.sep}")
