"""One file against one lab: in a sandbox, on a seed that nobody has seen, with a verdict that can be replayed.

A `Worker` keeps what is dear between files: the process that has imported torch, and what the lab's known mistakes do on
this seed.  It runs in a process of its own, here or on another machine (`labkit.grading.pool`, `labkit.grading.cluster`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labkit import catalog, certificate, checking, diagnose, report, runner, sandbox, vary, wire
from labkit.grading.records import TaskVerdict, Verdict
from labkit.kitchen import Kitchen
from labkit.runner import Observation, Result, Spec
from labkit.spec import Record

STORED = 2 << 20  # bytes of observations kept for one task; of a larger one, the failing checks alone
JUDGES = ("child", "diagnose", "forbid", "jail", "kitchen", "remote", "runner", "sandbox", "spec", "values", "wire")
EXPLAINED = ("wrong", "crashed", "slow")


@dataclass(frozen=True)
class Job:
    """One file to be judged.  Two students who hand in the same bytes are one job."""

    lab: str
    folder: str  # of the lab or of its variant
    data: bytes = field(repr=False)
    salt: str
    dials: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def seed(self) -> int:
        return seed_of(self.salt)


def seed_of(salt: str) -> int:
    """The seed that a salt stands for; 0, the one of practice, for none."""
    return 1 + int(hashlib.sha256(f"salt {salt}".encode()).hexdigest()[:12], 16) if salt else 0


def name_of(salt: str) -> str:
    """What a salt is called in results that students may see."""
    return hashlib.sha256(f"name {salt}".encode()).hexdigest()[:8] if salt else "practice"


def environment() -> dict[str, str]:
    """What a verdict may depend on besides the file, the lab and the salt."""
    code = hashlib.sha256(
        b"".join((Path(catalog.__file__).parent / f"{m}.py").read_bytes() for m in JUDGES)
    ).hexdigest()[:12]
    versions = {name: diagnose.version(name) for name in ("torch", "numpy", "scipy", "regex")}
    return {"python": platform.python_version(), "machine": platform.machine(), "labkit": code, **versions}


def digest(facts: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def key(job: Job, spec: str, walls: str, facts: dict[str, str]) -> str:
    """Names a verdict by all that decides it, so that nothing is graded twice and nothing stale is kept.

    `spec` is the lab's certificate.fingerprint.
    """
    parts = [job.file, spec, job.salt, ",".join(job.dials), walls, digest(facts)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


class Worker:
    """Judges one file after another.  Files of the same lab, one after the other, share what that lab needs."""

    def __init__(self, cache: Path | None = None, walls: str = "") -> None:
        """`walls` is "bubblewrap" or "limits"; empty: the better of the two that works here."""
        self.walls = walls or ("limits" if sandbox.trouble() else "bubblewrap")
        self.cache = cache
        self.facts = environment()
        self._folder = ""
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def judge(self, job: Job) -> tuple[Verdict, bytes]:
        """The verdict, and the observations behind it (`replay` reads them)."""
        began = time.monotonic()
        self._turn_to(job.folder, job.dials)
        file = self._private / "lab.py"
        file.write_bytes(job.data)
        results = list(runner.results(self._locked, self.spec, file, seed=job.seed))
        if any(r.status == "slow" for r in results):  # once more: the machine may have been busy
            results = list(runner.results(self._locked, self.spec, file, seed=job.seed))
        tasks = [self._task(r, job.seed) for r in results]
        verdict = Verdict(
            job.lab, self.lab.title, job.file, tasks, list(job.dials), name_of(job.salt),
            certificate.fingerprint(self.lab), digest(self.facts), self.walls, round(time.monotonic() - began, 2),
        )  # fmt: skip
        return verdict, pack(results)

    def _turn_to(self, folder: str, dials: tuple[str, ...]) -> None:
        self.dials = dials
        if folder == self._folder:
            return
        self._open.close()
        self._folder = ""
        self._open = contextlib.ExitStack()
        self.lab = catalog.read(Path(folder))
        self.spec = Spec.of(self.lab)
        self._private = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="lab-grade-")))
        self._locked: Kitchen = self._open.enter_context(runner.locked_kitchen(self.lab, self.walls == "bubblewrap"))
        self._authors: Kitchen | None = None
        self._known: dict[tuple[str, int], tuple[dict[str, str], dict[str, Observation]]] = {}
        self._folder = folder

    def _task(self, r: Result, seed: int) -> TaskVerdict:
        verdict = TaskVerdict(
            r.task.name, r.task.points, r.points, r.status, r.tests, r.tests_passed, r.note,
            printed=checking.quoted(r.seen.printed), behaviour=behaviour(r.seen),
        )  # fmt: skip
        if r.status not in (*EXPLAINED, "forbidden"):
            return verdict
        likely: list[tuple[str, str]] = []
        if r.seen.failures and r.status in EXPLAINED:
            says, known = self._mistakes(r.task.name, seed)
            names = diagnose.best(r.seen, known)
            likely = [(f"{self.lab.id}/{names[0]}", says[names[0]])] if len(names) == 1 else []
        shown = report.failure(self.lab, self.spec, r, likely)
        verdict.claim, verdict.called, verdict.expected = shown.test, shown.called, shown.expected
        verdict.got, verdict.where = shown.got, shown.where
        if len(shown.likely) == 1:
            verdict.mistake, verdict.says = shown.likely[0]
        return verdict

    def _mistakes(self, task: str, seed: int) -> tuple[dict[str, str], dict[str, Observation]]:
        """What each known mistake of a task does on this seed, and what is said of it."""
        if (task, seed) not in self._known:
            if self._authors is None:
                self._authors = self._open.enter_context(runner.kitchen(self.lab))
            if self.dials:
                self._known[task, seed] = self._near_misses(task, seed)
            else:
                listed, known = diagnose.catalogue(self._authors, self.spec, task, seed, self.cache)
                self._known[task, seed] = {n: m.says for n, m in listed.items()}, known
        return self._known[task, seed]

    def _near_misses(self, task: str, seed: int) -> tuple[dict[str, str], dict[str, Observation]]:
        """A variant has its own mistakes: to solve the lab as if one of its dials were not turned, or none."""
        assert self._authors is not None
        public = catalog.find(catalog.root(Path(catalog.__file__)), self.lab.id)
        says, known = {}, {}
        for name, source in vary.near_misses(public, self.dials, task).items():
            file = self._private / "near_miss.py"
            file.write_text(source, encoding="utf-8")
            box = self._authors.box()
            try:
                known[name] = runner.observe(box, self.spec, task, lambda b, f=file: b.load(f), seed)  # type: ignore[misc]
            finally:
                box.close()
            says[name] = f"It solves the public lab, not this variant, in: {name.replace(vary.TOGETHER, ', ')}."
        return says, known


def behaviour(seen: Observation) -> str:
    """Equal for two files that fail the same checks in the same way; "" for one that fails none."""
    rows = [[*k, seen.records[k].kind, seen.records[k].got] for k in seen.failures]
    if not rows:
        return ""
    try:
        return hashlib.sha256(wire.dumps(rows)).hexdigest()[:16]
    except wire.WireError:
        return hashlib.sha256(repr(seen.failures).encode()).hexdigest()[:16]


def pack(results: list[Result]) -> bytes:
    """The observations of all tasks, as they are stored."""
    rows = [[r.task.name, r.status, r.note, _records(r.seen)] for r in results]
    return zlib.compress(wire.dumps(rows), 6)


def _records(seen: Observation) -> bytes:
    """A message of its own for each task: one message takes so many arrays and no more."""
    for keys in (list(seen.records), seen.failures, seen.failures[:1]):
        with contextlib.suppress(wire.WireError):
            if len(data := wire.dumps(diagnose.written(seen, keys))) <= STORED:
                return data
    return wire.dumps([])


def replay(data: bytes) -> Iterator[tuple[str, str, str, dict[runner.Key, Record]]]:
    """(task, status, note, its checks judged anew) for each task; nothing of the submission is run."""
    for task, status, note, rows in wire.loads(zlib.decompress(data)):
        yield task, status, note, diagnose.read(wire.loads(rows))


def preflight(folders: list[Path], salt: str, progress: Callable[[str], None] = lambda words: None) -> list[str]:
    """Right versions that a salt refuses: there should be none.  One sentence for each; the labs' own code, unlocked."""
    from labkit.verify import Verifier

    problems: list[str] = []
    for folder in folders:
        lab = catalog.read(folder)
        progress(f"trying the right versions of {lab.id} on this salt …")
        with runner.kitchen(lab) as source:
            if lab.file("equivalents.py").exists():
                verifier = Verifier(lab, 1, source)
                verifier.right_versions([seed_of(salt)])
                problems += [f"{lab.id}: {p}" for p in verifier.certificate.problems]
            else:  # a variant has its reference alone
                done = runner.results(source, Spec.of(lab), lab.file("solution.py"), seed=seed_of(salt))
                problems += [f"{folder.name}: the reference fails {r.task.name}" for r in done if r.status != "passed"]
    return problems
