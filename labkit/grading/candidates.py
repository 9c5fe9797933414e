"""Looks through what one student handed in for the files to grade, and picks one for each lab."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from labkit.grading import archives
from labkit.grading.entries import (
    ARCHIVE,
    ARCHIVE_BYTES,
    DEPTH,
    LAB_BYTES,
    MEMBERS,
    OTHER_ARCHIVE,
    Budget,
    Entry,
    Refused,
    show,
)
from labkit.grading.labs import Labs, could_be_one, is_lab_file
from labkit.grading.layouts import HandIn
from labkit.grading.records import Refusal, Turned

LATE = "the platform marks this file as late. It does not say by how much, so nothing is taken off for that."
NEVER = datetime.min.replace(tzinfo=UTC)
Refuse = Callable[[tuple[str, ...], Refused], None]


@dataclass
class Found:
    """A file that may be somebody's lab.py."""

    turned: Turned
    order: tuple[int, int]
    path: tuple[str, ...]
    disk: Path | None
    number: int = 0  # of its export
    late: bool = False

    def rank(self) -> tuple[datetime, tuple[int, int], int, int, tuple[str, ...]]:
        """The largest of several is graded: the latest, the last handed in again, the last export's, the topmost."""
        return self.turned.when or NEVER, self.order, self.number, -len(self.path), self.path


def files(hand_in: HandIn, labs: Labs, strict: bool, source: Path) -> tuple[list[Found], list[Refusal]]:
    """The files of one hand-in that are for a lab, and what was refused.  They are nobody's yet.

    `strict` refuses all of it for one bad entry: it comes out of an archive, which somebody made on purpose.
    """
    refused: list[Refusal] = []

    def refuse(path: tuple[str, ...], problem: Refused, lab: str | None = None) -> None:
        lab = lab or (labs.of(path, b"") if path else None) or ""
        refused.append(refusal(source, _where(hand_in, path), problem, lab if lab in labs.by_id else ""))

    bad = {e.problem.reason: e for e in reversed(hand_in.entries) if e.problem}  # the first of each kind says enough
    for e in bad.values():
        if e.problem:
            refuse(e.path, e.problem)
    if len(hand_in.entries) > MEMBERS and not bad:
        refuse((), Refused("too-many-files", f"It holds more than {MEMBERS:,} files."))
    if (bad and strict) or any(r.reason == "too-many-files" for r in refused):
        return [], refused[:1]
    flat = list(_flat(hand_in.entries, Budget(), refuse))
    kept = Budget()  # of what is held in memory, packed before or not
    named = [e for e in flat if is_lab_file(e.name)]
    others = [e for e in flat if e.read and could_be_one(e.name)]
    found = []
    for e in named or others:
        lab = None
        try:
            if e.read is None:
                raise Refused("not-a-file", "It is a folder.")
            data = e.read(LAB_BYTES)
            kept.take(unpacked=len(data))
            lab = labs.of(e.path, data) if named else labs.made_from(data)
            if lab is None and (named or len(others) == 1):
                lab = labs.only or labs.of((*hand_in.export.split("/"), ""), b"")
            _is_wanted(lab, data, labs)
        except Refused as problem:
            if named or problem.reason not in ("unknown-lab", "empty-file"):
                refuse(e.path, problem, lab)
        else:
            where = f"{source.name}: {_where(hand_in, e.path)}"
            turned = Turned("", lab or "", data, hand_in.when, where)
            found.append(Found(turned, hand_in.order, e.path, e.disk, hand_in.number, hand_in.late))
    return found, refused


def _is_wanted(lab: str | None, data: bytes, labs: Labs) -> None:
    if lab is None and not data.strip():
        raise Refused("empty-file", "It is an empty file.")
    if lab is None:
        advice = "Put it in a folder named like the lab, or give --lab."
        raise Refused("unknown-lab", f"Nothing says which lab it is for. {advice}")
    if lab not in ([labs.only] if labs.only else labs.by_id):
        raise Refused("other-lab", f"It is for lab {lab}, which is not graded here.")
    if labs.untouched(lab, data):
        raise Refused("untouched", f"It is the scaffold of lab {lab} as it was handed out.")


def _flat(entries: list[Entry], budget: Budget, refuse: Refuse, depth: int = 0) -> Iterator[Entry]:
    """Files and folders, also those in archives in archives."""
    for e in entries:
        if e.read and OTHER_ARCHIVE.search(e.name):
            refuse(e.path, Refused("unsupported", "Only zip and tar (also gz, bz2, xz) are read. Pack it again."))
        elif not (e.read and ARCHIVE.search(e.name)):
            if not e.problem:
                yield e
        else:
            try:
                if depth == DEPTH:
                    raise Refused("too-deep", f"It is the archive number {DEPTH + 1} in one another.")
                inside = archives.read(io.BytesIO(e.read(ARCHIVE_BYTES)), budget)
                for bad in inside:
                    if bad.problem:
                        raise bad.problem
            except Refused as problem:
                refuse(e.path, problem)
            else:
                yield from _flat([replace(i, path=e.path + i.path) for i in inside], budget, refuse, depth + 1)


def _where(hand_in: HandIn, path: tuple[str, ...]) -> str:
    below = path[1:] if path[:1] == (hand_in.where,) else path
    return show("/".join([hand_in.place, *below]), 160)


def refusal(source: Path, where: str, problem: Refused, lab: str = "") -> Refusal:
    """What an instructor is told of something that was not graded; whose it is, is filled in later."""
    return Refusal("", f"{source.name}: {show(where, 160)}", problem.reason, f"{show(where)}: {problem.says}", lab)


def choose(found: list[Found]) -> tuple[list[Turned], list[Refusal]]:
    """One file for each student and lab, and a note for each other that says what is graded instead."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for f in found:
        groups.setdefault((f.turned.student, f.turned.lab), []).append(f)
    turned, notes = [], []
    for (student, lab), several in groups.items():
        best = max(several, key=Found.rank)
        turned.append(best.turned)
        if best.late:
            notes.append(Refusal(student, best.turned.where, "late", f"Lab {lab}: {LATE}", lab))
        for f in several:
            if f.turned.data != best.turned.data:
                later = f.rank()[:2] < best.rank()[:2]
                how = "lies nearer to the top" if f.number == best.number else "is in the export whose name sorts last"
                why = "It came later." if later else f"Nothing says which came later; it {how}."
                says = f"Lab {lab}: {best.turned.where} is graded instead. {why}"
                notes.append(Refusal(student, f.turned.where, "superseded", says, lab))
    return turned, notes
