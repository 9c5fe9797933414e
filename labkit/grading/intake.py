"""Takes in what a learning platform exports: who handed in what, for which lab, and when.

    entries, folders, archives   names and bytes that somebody else chose, read with limits
    exports                      several exports beside one another, and what is none
    layouts, metadata            which platform wrote the export, and how it says whose a file is
    labs                         which lab a file is for
    commits                      when, for a clone
    roster                       who is in the class

One bad archive is refused with a reason, and the rest of the class goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from labkit.catalog import Lab, LabError
from labkit.grading import candidates, commits, exports, folders
from labkit.grading import roster as rosters
from labkit.grading.candidates import Found
from labkit.grading.entries import ARCHIVE, REASONS, Entry, Refused, show
from labkit.grading.labs import Labs
from labkit.grading.layouts import HandIn, Person
from labkit.grading.records import Class, Refusal, Student, Turned

__all__ = ["REASONS", "files_of", "read"]

NOTES = {"not-on-roster", "ambiguous-name", "superseded", "late"}


def read(
    source: Path,
    labs: list[Lab],
    roster: Path | None = None,
    only: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Class:
    """What came in, from a folder or one archive as a platform exports it.

    `only` is the lab that files are for which do not say so; files for others are then left out.  Raises LabError when
    the source, the roster or `only` cannot be used as a whole; everything smaller becomes a refusal.
    """
    known = Labs(labs, only)
    everybody = _Everybody(rosters.read(roster) if roster else None)
    entries = _open(source)
    if exports.is_results(entries):
        raise LabError(f"{source}: this is what `lab grade` wrote. Give the folder or archive that students handed in.")
    taken = exports.split(source, entries, everybody.lists)
    if not taken.hand_ins and not taken.strays:
        raise LabError(f"{source}: nothing in it is a student's: no folder, no archive, no lab.py.")
    refused = [candidates.refusal(source, name, problem) for name, problem in taken.strays]
    found: list[Found] = []
    for i, hand_in in enumerate(taken.hand_ins, 1):
        progress(f"Reading {i:,} of {len(taken.hand_ins):,}: {show(hand_in.place, 40)}")
        students, notes = everybody.students(hand_in.people, source, hand_in.place)
        files, problems = candidates.files(hand_in, known, source.is_file() or hand_in.packed, source)
        refused += notes
        for student in students:
            found += [replace(f, turned=replace(f.turned, student=student.id)) for f in files]
            refused += [replace(p, student=student.id) for p in problems]
    if source.is_dir():
        _date(found, source, progress)
    turned, more = candidates.choose(found)
    refused = _explained(refused + more, turned, everybody.came, only)
    return Class(everybody.all, turned, refused)


def files_of(
    student: Student, source: Path, labs: list[Lab], only: str | None = None
) -> tuple[list[Turned], list[Refusal]]:
    """What lies in a folder or an archive when all of it is one student's, as an autograder is given it."""
    hand_in = HandIn([Person(student.id)], _stem(source), _open(source))
    found, problems = candidates.files(hand_in, Labs(labs, only), source.is_file(), source)
    mine = [replace(f, turned=replace(f.turned, student=student.id)) for f in found]
    turned, more = candidates.choose(mine)
    refused = [replace(p, student=student.id) for p in problems] + more
    return turned, _explained(refused, turned, {student.id: source.name}, only)


def _open(source: Path) -> list[Entry]:
    if source.is_dir():
        return list(folders.read(source))
    if not source.is_file():
        raise LabError(f"{source}: there is no such folder or archive.")
    try:
        return exports.open_archive(source.open("rb"))
    except Refused as e:
        raise LabError(f"{source}: {e.says} Give a folder, a zip or a tar.") from None
    except OSError as e:
        raise LabError(f"{source}: cannot be read ({e.strerror}).") from None


def _stem(source: Path) -> str:
    return ARCHIVE.sub("", source.resolve().name) or "student"


class _Everybody:
    """The class: who is on the roster, and who came in besides."""

    def __init__(self, listed: list[Student] | None) -> None:
        self.all = list(listed or [])
        self.register = rosters.Register(listed) if listed is not None else None
        self._others: dict[str, Student] = {}
        self.came: dict[str, str] = {}  # id → where

    def lists(self, word: str) -> bool:
        """Whether the roster knows somebody by this name or id."""
        return bool(self.register and self.register.find((word,), word))

    def students(self, people: list[Person], source: Path, where: str) -> tuple[list[Student], list[Refusal]]:
        found, notes = [], []
        for person in people:
            student, reason = self._student(person)
            if reason and student.id not in self.came:
                says = f"{show(student.name or student.id)} is graded. {REASONS[reason]}"
                notes.append(Refusal(student.id, f"{source.name}: {show(where)}", reason, says))
            self.came.setdefault(student.id, f"{source.name}: {show(where)}")
            found.append(student)
        return list({s.id: s for s in found}.values()), notes

    def _student(self, person: Person) -> tuple[Student, str]:
        hits = self.register.find(person.keys, person.name) if self.register else []
        if len(hits) == 1:
            return hits[0], ""
        reason = "" if not self.register else "ambiguous-name" if hits else "not-on-roster"
        own = rosters.key(person.id)
        if own not in self._others:
            taken = {rosters.key(s.id) for s in self.all} if self.register and own in self.register.main else set()
            name = person.id
            while rosters.key(name) in taken:  # a number of the platform's that is somebody else's on the roster
                name = f"{name} ({person.name or 'not on the roster'})"
            self._others[own] = Student(name, person.name, person.email)
            self.all.append(self._others[own])
        return self._others[own], reason


def _date(found: list[Found], source: Path, progress: Callable[[str], None]) -> None:
    """Gives the files of clones the times of their commits."""
    clones: dict[Path, list[Found]] = {}
    homes: dict[Path, Path | None] = {}
    for f in found:
        if f.disk and f.turned.when is None and (home := _clone(f.disk.parent, source, homes)):
            clones.setdefault(home, []).append(f)
    with commits.Clones() as git:
        for i, (home, files) in enumerate(clones.items(), 1):
            progress(f"Reading commit times {i:,} of {len(clones):,}")
            paths = [f.disk.relative_to(home).as_posix() for f in files if f.disk]
            times = git.times(home, {p: f.turned.data for p, f in zip(paths, files, strict=True)})
            for path, f in zip(paths, files, strict=True):
                f.turned = replace(f.turned, when=times.get(path))


def _clone(folder: Path, source: Path, homes: dict[Path, Path | None]) -> Path | None:
    if folder not in homes:
        if (folder / ".git").is_dir():
            homes[folder] = folder
        else:
            homes[folder] = None if folder == source else _clone(folder.parent, source, homes)
    return homes[folder]


def _explained(refused: list[Refusal], turned: list[Turned], came: dict[str, str], only: str | None) -> list[Refusal]:
    """Scaffolds and other labs' files matter only where they explain why somebody has nothing."""
    has = {t.student for t in turned}
    kept = [r for r in refused if r.student not in has or r.reason not in ("untouched", "other-lab")]
    spoken = {r.student for r in kept if r.reason not in NOTES}
    what = f"lab.py for lab {only}" if only else "lab.py"
    for student, where in came.items():
        if student not in has and student not in spoken:
            kept.append(
                Refusal(
                    student, where, "nothing-found", f"{student}: there is no {what} in what was handed in.", only or ""
                )
            )
    return kept
