"""Which of the lab's listed mistakes explains a failure?

A listed mistake explains a failure when it agrees with the learner's first failing check and fails no check that the
learner passes.  Among several, the one that agrees with most failing checks is named; equals are not: a false name
costs a learner an hour, a missing one costs a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labkit import scaffold, variants, wire
from labkit.catalog import Lab, LabError
from labkit.kitchen import Kitchen
from labkit.remote import Box
from labkit.runner import Key, Observation, Spec, observe
from labkit.spec import Record, alike_records

BROKEN = (OSError, wire.WireError, ValueError, TypeError, KeyError)  # what reading a stored file may raise
WEAK = ("less", "between", "raises", "raised")  # kinds whose agreement says little: many causes, one verdict


def explains(wrong: Observation, mine: Observation) -> float:
    """How well a mistake explains what the learner's file did: the share of failing checks they agree on, or 0."""
    bad = mine.failures
    if not bad or bad[0] not in wrong.records or wrong.records[bad[0]].ok:
        return 0.0
    if not alike_records(mine.records[bad[0]], wrong.records[bad[0]]):
        return 0.0
    if any(key in mine.records and mine.records[key].ok for key in wrong.failures):
        return 0.0
    agree = [key for key in bad if key in wrong.records and alike_records(mine.records[key], wrong.records[key])]
    if all(mine.records[key].kind in WEAK for key in agree) and len(agree) < len(bad):
        return 0.0
    return len(agree) / len(bad)


def best(mine: Observation, catalogue: dict[str, Observation]) -> list[str]:
    """The names of the best explanations: one is a diagnosis, several are a tie, none is silence."""
    scores = {name: explains(wrong, mine) for name, wrong in catalogue.items()}
    top = max(scores.values(), default=0)
    return [name for name, score in scores.items() if score == top > 0]


def catalogue(
    source: Kitchen, spec: Spec, task: str, seed: int = 0, cache: Path | None = None
) -> tuple[dict[str, variants.Variant], dict[str, Observation]]:
    """The task's mistakes, and what the spec sees of each; from `cache` when nothing that decides it has changed.

    In a course's repository both were stored when it was made, for the practice seed: another seed finds nothing.
    """
    if spec.lab.closed:
        return _brought(spec.lab, task) if seed == 0 else ({}, {})
    listed = {n: m for n, m in variants.mistakes(spec.lab).items() if m.task == task}
    stored = cache / f"{spec.lab.id}-{task}-{digest(spec, seed)}.bin" if cache else None
    if stored and (known := _stored(stored)) is not None and known.keys() == listed.keys():
        return listed, known
    found: dict[str, Observation] = {}
    box: Box | None = None
    for name, m in listed.items():  # one process for all, until one of them ends it
        if box is None:
            box = source.box()
            found[name] = observe(box, spec, task, m.setup, seed)
        else:
            found[name] = observe(box, spec, task, lambda b, name=name: b.swap(name), seed)  # type: ignore[misc]
        if found[name].unfinished:
            box.close()
            box = None
        if any(e.outcome == "slow" for e in found[name].errors.values()):  # once more: the machine may have been busy
            again = source.box()
            found[name] = observe(again, spec, task, m.setup, seed)
            again.close()
    if box:
        box.close()
    if stored:
        _store(stored, found)
    return listed, found


def stored_at(lab: Lab, task: str) -> Path:
    """Where a course's repository keeps what the spec saw of a task's mistakes."""
    return lab.folder / "observed" / f"{task}.bin"


def packed(spec: Spec, task: str, source: Kitchen) -> bytes:
    """What `stored_at` is to hold: the digest of the spec, each mistake's sentence, and the observations (seed 0)."""
    listed, found = catalogue(source, spec, task)
    says = [[name, m.says] for name, m in listed.items()]
    try:
        return wire.dumps([_spec_digest(spec.lab), says, _rows(found)])
    except wire.WireError as e:
        raise LabError(f"Lab {spec.lab.id}, {task}: what its mistakes do cannot be stored: {e}.") from None


def _brought(lab: Lab, task: str) -> tuple[dict[str, variants.Variant], dict[str, Observation]]:
    """What came with a course's repository; nothing when the spec is another by now: a false name is worse than none."""
    try:
        digest, says, rows = wire.loads(stored_at(lab, task).read_bytes())
        if digest != _spec_digest(lab):
            return {}, {}
        listed = {name: variants.Variant(name, task, task, "", sentence, lab=lab) for name, sentence in says}
        return listed, _observations(rows)
    except BROKEN:
        return {}, {}


def _spec_digest(lab: Lab) -> str:
    text = lab.file("test_lab.py").read_bytes().replace(b"\r\n", b"\n")  # git on Windows changes the ends of lines
    return hashlib.sha256(text).hexdigest()


def digest(spec: Spec, seed: int) -> str:
    """Everything that an observation depends on: the lab's files, the checker, the version of torch."""
    digest = hashlib.sha256(f"{seed} {version('torch')} {version('numpy')}".encode())
    files = [spec.lab.file(n) for n in ("test_lab.py", "solution.py", "mistakes.py")]
    for path in [*files, *sorted(Path(__file__).parent.glob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def version(package: str) -> str:
    """Of an installed package; "none" without it."""
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _stored(path: Path) -> dict[str, Observation] | None:
    try:
        return _observations(wire.loads(path.read_bytes()))
    except BROKEN:
        return None


def _observations(rows: Any) -> dict[str, Observation]:
    return {name: Observation(read(wire.loads(records)), unfinished=unfinished) for name, records, unfinished in rows}


def _rows(found: dict[str, Observation]) -> list[Any]:
    """Each mistake is a message in itself: what a message may hold is meant for one of them."""
    return [[name, wire.dumps(written(seen, seen.records)), seen.unfinished] for name, seen in found.items()]


def written(seen: Observation, keys: Iterable[Key]) -> list[Any]:
    """These records as plain rows, to be stored; `read` takes them back, and judges them anew."""
    return [[*k, [r.kind, r.got, r.want, r.why, r.rtol, r.atol]] for k in keys if (r := seen.records[k])]


def read(rows: list[Any]) -> dict[Key, Record]:
    """The records of `written`."""
    return {(test, i): Record(*fields) for test, i, fields in rows}


def _store(path: Path, found: dict[str, Observation]) -> None:
    with contextlib.suppress(wire.WireError):  # too large to keep; it will be computed again
        keep(path, wire.dumps(_rows(found)))


def keep(path: Path, data: bytes) -> None:
    """Into the cache, in the place of what an earlier state of the lab left there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob(f"{path.name.rsplit('-', 1)[0]}-*.bin"):
            old.unlink(missing_ok=True)
        scaffold.write(path, data)
    except OSError:
        return  # a full disk or a folder that is read-only costs time at the next check, and no more
