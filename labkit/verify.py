"""Certifies labs both ways: no right version is refused, no wrong version passes, and each failure is named rightly.

Two error rates decide: wrong versions that pass, right versions that are refused.  Both must be zero over all seeds.
Beside them: the scaffold fails each task, the diagnosis names each mistake alone and each second wording as its own,
stand-ins that compute nothing fail a check by value (a number measured by a probe can be forged), and hints, README
sections, the committed lab.py and the time budget are in order.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import json
import math
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from labkit import catalog, diagnose, report, scaffold, variants
from labkit.catalog import Lab, LabError
from labkit.certificate import PAGE, Certificate, fingerprint, keep, kept, show
from labkit.kitchen import Kitchen
from labkit.remote import Box
from labkit.runner import Observation, Spec, kitchen, observe

BUDGET = 3.0  # CPU seconds that a spec may take on its solution, judge and lab together
SECTIONS = (
    "build",
    "tasks",
    "wrong|mistakes",
    "library",
    "full",
    "interview",
    "résumé|resume",
    "extensions",
    "references",
)

AUTHORED = ("lab.toml", "README.md", "solution.py", "test_lab.py", "mistakes.py", "equivalents.py")

# Stand-ins that compute nothing.  Each is tried as every function of the lab at once.
STAND_INS = {
    "returns None": "lambda *a, **k: None",
    "returns 0": "lambda *a, **k: 0",
    "returns an empty list": "lambda *a, **k: []",
    "returns an empty string": "lambda *a, **k: ''",
    "returns its argument": "lambda *a, **k: a[-1] if a else None",
    "returns its first argument": "lambda *a, **k: a[0] if a else None",
}


class Verifier:
    """One lab's certification; `problems` collects one line for each thing that is not in order."""

    def __init__(self, lab: Lab, seeds: int, source: Kitchen, share: int = 1) -> None:
        self.lab, self.seeds, self.source = lab, seeds, source
        self.spec = Spec.of(lab)
        self.listed, self.wordings = variants.mistakes(lab), variants.alikes(lab)
        self.without = {t.name for t in lab.tasks} - {m.task for m in self.listed.values()}
        today = datetime.date.today().toordinal()  # so that in `share` days all of them have had their turn
        self.listed = {name: m for k, (name, m) in enumerate(self.listed.items()) if k % share == today % share}
        self.wordings = [a for a in self.wordings if a.alike in self.listed]
        written = variants.equivalents(lab)
        self.few = {t.name: n for t in lab.tasks if (n := sum(e.task == t.name for e in written)) < 2}
        self.equal = [e for k, e in enumerate(written) if k % share == today % share]
        self.certificate = Certificate(
            lab.id, lab.title, seeds, fingerprint(lab), len(lab.tasks), len(self.spec.tests), len(self.listed),
            alikes=len(self.wordings), equivalents=len(self.equal),
        )  # fmt: skip

    def problem(self, text: str) -> None:
        self.certificate.problems.append(text)

    def see(self, setup: Callable[[Box], None], task: str, seed: int, first: bool = False) -> Observation:
        box = self.source.box()
        try:
            return observe(box, self.spec, task, setup, seed, stop_at_first=first)
        finally:
            box.close()

    def see_seeds(
        self, setup: Callable[[Box], None], task: str, seeds: Sequence[int], first: bool = False
    ) -> list[Observation]:
        """One process for all seeds, since these versions are the authors' own; a new one after a crash."""
        found: list[Observation] = []
        box: Box | None = None
        for seed in seeds:
            if box is None:
                box = self.source.box()
                found.append(observe(box, self.spec, task, setup, seed, stop_at_first=first))
            else:
                found.append(observe(box, self.spec, task, lambda b: None, seed, stop_at_first=first))
            if found[-1].unfinished:
                box.close()
                box = None
        if box:
            box.close()
        return found

    def run(self) -> Certificate:
        start = time.perf_counter()
        for step in (self.house, self.solution, self.equivalents, self.scaffold, self.mistakes, self.stand_ins):
            step()
        self.certificate.seconds = time.perf_counter() - start
        return self.certificate

    # ---- right versions

    def solution(self) -> None:
        accepted, spent = True, math.inf
        forbidden = {t.name: t.forbidden for t in self.lab.tasks}
        # only for a spec that seems slow: what others compute adds to the time
        again = range(self.seeds, self.seeds + 2)
        for seed in (*range(self.seeds), *again):
            if seed in again and spent <= BUDGET:
                break
            before = _cpu()
            for task in self.lab.tasks:
                setup = _load(self.lab.file("solution.py"), forbidden[task.name])
                accepted &= self._right("the solution", self.see(setup, task.name, seed), task.name, seed)
            spent = min(spent, _cpu() - before)
        self.certificate.accepted += accepted
        self.certificate.spec_seconds = spent
        if spent > BUDGET:
            self.problem(f"the spec takes {spent:.1f} s of CPU on its solution; {BUDGET:g} s are allowed")

    def equivalents(self) -> None:
        for task in self.lab.tasks:
            if task.name in self.few:
                self.problem(f"task {task.name} has {self.few[task.name]} equivalents; it takes two or more")
            for e in (e for e in self.equal if e.task == task.name):
                self.certificate.accepted += self._accepted(e.name, e.setup, e.task, range(self.seeds))

    def right_versions(self, seeds: Sequence[int]) -> int:
        """Solution and equivalents alone, task by task; how many were tried.  Problems are noted as ever."""
        tried = 0
        for task in self.lab.tasks:
            self._accepted("the solution", _load(self.lab.file("solution.py"), task.forbidden), task.name, seeds)
            equal = [e for e in self.equal if e.task == task.name]
            for e in equal:
                self._accepted(e.name, e.setup, e.task, seeds)
            tried += 1 + len(equal)
        return tried

    def _accepted(self, name: str, setup: Callable[[Box], None], task: str, seeds: Sequence[int]) -> bool:
        seen = self.see_seeds(setup, task, seeds)
        verdicts = [self._right(name, x, task, s) for s, x in zip(seeds, seen, strict=True)]  # each is said
        return all(verdicts)

    def _right(self, name: str, seen: Observation, task: str, seed: int) -> bool:
        if seen.passed:
            return True
        key = seen.failures[0] if seen.failures else ("nothing ran", 0)
        error = seen.errors.get(key) or seen.stumbled.get(key, "")
        why = f" ({error})" if error else f" ({seen.records[key].why})" if key in seen.records else ""
        self.problem(f"REFUSED: {name} is right, but {task} fails {key[0]} on seed {seed}{why}")
        return False

    # ---- wrong versions

    def mistakes(self) -> None:
        for task in self.lab.tasks:
            listed = [m for m in self.listed.values() if m.task == task.name]
            wordings = [a for a in self.wordings if a.task == task.name]
            if task.name in self.without:
                self.problem(f"task {task.name} has no mistake")
            whole = {v.name: self.see(v.setup, task.name, 0) for v in [*listed, *wordings]}
            for v in [*listed, *wordings]:
                others = self.see_seeds(v.setup, task.name, range(1, self.seeds), first=True)
                verdicts = [not whole[v.name].failures, *(not seen.failures for seen in others)]
                self.certificate.caught += not any(verdicts)
                if any(verdicts):
                    self.problem(f"PASSES: {v.name} is wrong, but passes {task.name} on seed {verdicts.index(True)}")
            known = {m.name: whole[m.name] for m in listed}
            for m in listed:
                self.certificate.named += self._named(m.name, m.name, diagnose.best(whole[m.name], known))
            for a in wordings:
                self.certificate.named_alike += self._named(a.name, a.alike, diagnose.best(whole[a.name], known))

    def _named(self, name: str, want: str, names: list[str]) -> bool:
        if names == [want]:
            return True
        self.problem(f"the diagnosis takes {name} for {' or '.join(names) or 'nothing it knows'}, not for {want}")
        return False

    def scaffold(self) -> None:
        text = scaffold.generate(self.lab)
        path = self.lab.file("lab.py")
        if not path.exists():
            self.problem("lab.py is missing: run `make scaffolds`")
        with _scratch(self.lab, text) as file:
            for task in self.lab.tasks:
                if self.see(_load(file, task.forbidden), task.name, 0, first=True).passed:
                    self.problem(f"PASSES: the empty scaffold passes {task.name}")

    def stand_ins(self) -> None:
        """Whatever a probe is told, a task must also look at values that a direct call returned."""
        owners = [r.owner for r in scaffold.regions(self.lab.file("solution.py").read_text("utf-8")) if r.owner]
        for task in self.lab.tasks:
            seen = self.see(_load(self.lab.file("solution.py"), task.forbidden), task.name, 0)
            if not any(r.direct and r.kind in ("close", "equal", "sampled") for r in seen.records.values()):
                self.problem(f"task {task.name} has no check by value through a direct call")
        for words, source in STAND_INS.items():
            text = self.lab.file("solution.py").read_text("utf-8")
            main = 'if __name__ == "__main__":'
            text = text.split(f"\n{main}")[0] + "".join(f"\n{o} = {source}" for o in owners) + "\n"
            with _scratch(self.lab, text) as file:
                for task in self.lab.tasks:
                    seen = self.see(_load(file, ()), task.name, 0)
                    bad = (seen.records[key] for key in seen.failures)
                    if not any(r.kind == "raised" or r.direct for r in bad):
                        self.problem(f"GUESSABLE: a stand-in that {words} fails no check by value in {task.name}")

    # ---- the house

    def house(self) -> None:
        text = self.lab.file("README.md").read_text("utf-8") if self.lab.file("README.md").exists() else ""
        heads = [h.lower() for h in re.findall(r"^#+\s+(.*)$|^\*\*(.*?)\*\*", text, re.M) for h in h if h]
        at = 0
        for words in SECTIONS:
            found = [i for i, h in enumerate(heads) if re.search(words, h)]
            later = [i for i in found if i >= at]
            if not found:
                self.problem(f"README.md has no section on {words.split('|')[0]}")
            elif not later:
                self.problem(f"README.md: the section on {words.split('|')[0]} comes too early")
            else:
                at = later[0]
        source = self.lab.file("solution.py").read_text("utf-8")
        owners = [r.owner for r in scaffold.regions(source) if r.owner]
        written = [w for t in self.lab.tasks for w in t.writes]
        for name in sorted({*owners} ^ {*written} | {w for w in written if written.count(w) > 1}):
            self.problem(
                f"{name}: solution.py's TODO regions and lab.toml's `writes` must name the same functions once"
            )
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                self.problem(f"solution.py, line {node.lineno}: {node.name} has no docstring")
        for t in self.lab.tasks:
            if len({*t.hints}) != len(t.hints) or any(len(h) < 15 for h in t.hints):
                self.problem(f"task {t.name}: three different hints, each a sentence")


def _load(file: Path, forbidden: tuple[str, ...]) -> Callable[[Box], None]:
    return lambda box: box.load(file, forbidden)


class _scratch:
    """A file beside the lab's own for as long as it is needed: some labs read data from their folder."""

    def __init__(self, lab: Lab, text: str) -> None:
        self.file = lab.file(f".verify-{time.monotonic_ns()}.py")
        self.text = text

    def __enter__(self) -> Path:
        self.file.write_text(self.text, encoding="utf-8")
        return self.file

    def __exit__(self, *_: object) -> None:
        self.file.unlink(missing_ok=True)


def _cpu() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def certify(folder: Path, seeds: int, share: int = 1) -> Certificate:
    """All of it for one lab, or with every `share`-th of its mistakes and equivalents: other ones each day.

    An author's slip that stops it is a problem like any other.
    """
    lab = catalog.read(folder)
    if lab.missing_extras:
        return Certificate(lab.id, lab.title, 0, problems=[f"unavailable: pip install {' '.join(lab.missing_extras)}"])
    try:
        with kitchen(lab) as source:
            if (torch := sys.modules.get("torch")) is not None:
                torch.set_num_threads(1)
            return Verifier(lab, seeds, source, share).run()
    except (LabError, scaffold.AuthorError, OSError, SyntaxError) as e:
        return Certificate(lab.id, lab.title, seeds, problems=[f"{type(e).__name__}: {e}"])


@dataclass(frozen=True)
class Work:
    """What is to be tried of one lab, and about how long that took last time."""

    lab: Lab
    seeds: int
    share: int
    seconds: float


def certify_all(work: list[Work], jobs: int) -> Iterator[Certificate]:
    """Labs side by side, each in a fresh process, the longest first; in order, as they are done."""
    if jobs <= 1 or len(work) == 1:
        for w in work:
            yield certify(w.lab.folder, w.seeds, w.share)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(work)), context) as pool:
        longest = sorted(work, key=lambda w: -w.seconds)
        made = {w.lab.id: pool.submit(certify, w.lab.folder, w.seeds, w.share) for w in longest}
        yield from (made[w.lab.id].result() for w in work)


def notes(lab: Lab) -> Iterator[str]:
    """What an author may have forgotten and nothing else would notice.

    Said of labs that are named only: where all are certified, lab.py may be a learner's, which nobody judges.
    """
    path = lab.file("lab.py")
    with contextlib.suppress(scaffold.AuthorError):  # that is a problem already
        if path.exists() and path.read_text("utf-8", errors="replace") != scaffold.generate(lab):
            yield f"{lab.id}  lab.py is not what solution.py makes; make scaffolds writes it anew, over what stands there"
    files = (lab.file(name) for name in AUTHORED)
    if left := [f.name for f in files if f.exists() and "TODO (author)" in f.read_text("utf-8")]:
        yield f"{lab.id}  TODO (author) still stands in {', '.join(left)}"


def main(ids: list[str], seeds: int, recheck: int, share: int, write: bool, as_json: bool, jobs: int) -> int:
    """`lab verify`: 0 when every lab is certified, 1 when one is not."""
    base = catalog.root()
    catalog.for_authors(base, "`lab verify`")
    labs = [catalog.find(base, i) for i in ids] if ids else catalog.labs(base)
    if seeds < 1 or recheck < 0 or share < 1:
        raise LabError("--seeds and --share take a number from 1 on.")
    if share > 1 and (write or not recheck):
        raise LabError("--share is for --recheck, and never for a report: what a report says was tried in whole.")
    have = kept(base)

    def needed(lab: Lab) -> Work:
        old = have.get(lab.id)
        if not recheck or old is None or old.problems or old.seeds < recheck or old.files != fingerprint(lab):
            return Work(lab, seeds, 1, old.seconds / old.seeds * seeds if old and old.seeds else math.inf)
        again = min(seeds, recheck)
        return Work(lab, again, share, old.seconds / old.seeds * again / share)

    certificates = []
    for i, c in enumerate(certify_all([needed(lab) for lab in labs], jobs)):
        certificates.append(c)
        report.progress_line(f"certified {i + 1} of {len(labs)} labs …")
    report.progress_line("")
    if as_json:
        print(json.dumps([{**asdict(c), "wrong": c.wrong, "right": c.right} for c in certificates], indent=1))
    else:
        show(certificates)
        for note in [note for lab in labs for note in notes(lab)] if ids else []:
            print(f"! {note}", file=sys.stderr)
    if write:
        scaffold.write(base / "phases" / PAGE, keep(certificates, base))
        print(f"wrote phases/{PAGE}", file=sys.stderr)
    return 1 if any(c.problems for c in certificates) else 0
