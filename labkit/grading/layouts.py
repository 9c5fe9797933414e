"""Tells by its look which platform an export comes from, and takes it apart by student.

    Gradescope   submission_metadata.yml beside folders submission_123/: for each, :submitters: (:name:, :sid:, :email:)
                 and :created_at: with its zone ("Download Submissions" of a programming assignment)
    Moodle       `Full Name_12345_assignsubmission_file/lab.py`, with a `_` more at the end in older versions; without
                 folders `Full Name_12345_assignsubmission_file_lab.py`.  12345 is the participant's number in this
                 assignment (mod/assign/classes/downloader.php in moodle/moodle)
    Canvas       `lovelaceada_LATE_12345_67890_lab.py`: name, user, attachment; `lab-1.py` is lab.py handed in again
                 (lib/content_zipper.rb and Attachment.make_unique_filename in instructure/canvas-lms)
    plain        a folder or an archive for each student; or the files of one student

Only Gradescope says when.  Moodle and Canvas do not, and the times in a zip are not those of handing in.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from labkit.grading import metadata
from labkit.grading.entries import ARCHIVE, OTHER_ARCHIVE, Entry, Refused
from labkit.grading.labs import is_lab_file, names_a_lab

MOODLE = re.compile(
    r"^(?P<name>.+?)(?:_(?P<id>\d+))?_assignsubmission_(?P<plugin>[a-z]+)(?:_(?P<rest>.*))?$", re.DOTALL
)
CANVAS = re.compile(  # two short numbers are a lab's: hand_in_4_1_lab.py
    r"^(?:(?P<name>(?!LATE_).+?)_)?(?P<late>LATE_)?(?!\d\d?_\d\d?_)(?P<id>\d+|anon_\w+?)_(?P<file>\d+)_(?P<rest>.+)$",
    re.DOTALL,
)
AGAIN = re.compile(r"-(\d+)(?=(\.\w+)+$)")
METADATA = "submission_metadata.yml"


@dataclass(frozen=True)
class Person:
    """Whom an export names."""

    id: str
    name: str = ""
    email: str = ""
    keys: tuple[str, ...] = ()  # what roster.Register.find is asked for


@dataclass
class HandIn:
    """What one person, or one group, handed in at one time."""

    people: list[Person]
    where: str  # the folder or the archive, for messages
    entries: list[Entry] = field(default_factory=list)  # their paths begin below `where`
    when: datetime | None = None
    order: tuple[int, int] = (0, 0)  # among hand-ins of one person without times: the largest is the last
    late: bool = False  # the platform says so, though not by how much
    export: str = ""  # which of several exports it lies in: "week-1/moodle.zip"
    number: int = 0  # of that export among them
    packed: bool = False  # that export is an archive

    @property
    def place(self) -> str:
        """The folder or the archive, and the export around it."""
        return f"{self.export}/{self.where}" if self.export else self.where


@dataclass
class Split:
    """An export, taken apart."""

    layout: str
    hand_ins: list[HandIn]
    strays: list[tuple[str, Refused]] = field(default_factory=list)  # what belongs to nobody


def split(entries: list[Entry], name: str, archive: bool) -> Split:
    """Takes an export apart by student.  `name` is that of the folder or archive, which one student's files go by.

    An `archive` may have one folder around all its students; a folder that somebody names has the students in it.
    """
    inner = unwrapped(entries)
    for found in (entries, inner):
        tops = {e.path[0] for e in found}
        if any(e.path == (METADATA,) and e.read for e in found):
            return _gradescope(found)
        if any(MOODLE.match(t) for t in tops):
            return _by_name("moodle", found, _moodle)
        if any(len(e.path) == 1 and e.read and CANVAS.match(e.name) for e in found):
            return _by_name("canvas", found, _canvas)
    if is_one_student(entries):
        return Split("one student", [HandIn([Person(name, name, keys=(name,))], name, entries)])
    return _plain(inner if archive and _looks_like_students(inner) else entries)


def unwrapped(entries: list[Entry]) -> list[Entry]:
    """An export without the one folder around it that many unpackers make."""
    tops = {e.path[0] for e in entries if len(e.path) > 1 or not e.problem}
    if len(tops) != 1 or any(len(e.path) == 1 and e.read for e in entries):
        return entries
    return [
        e if e.problem and len(e.path) == 1 else replace(e, path=e.path[1:])
        for e in entries
        if e.path not in {(t,) for t in tops} or e.problem
    ]


def is_one_student(entries: list[Entry]) -> bool:
    """Whether these are the files of a single student: a lab.py, a lab's folder or a clone at the top."""
    return any(
        e.path[0] == "phases" or names_a_lab(e.path[0]) or (len(e.path) == 1 and e.read and is_lab_file(e.name))
        for e in entries
    )


def _looks_like_students(entries: list[Entry]) -> bool:
    several = {e.path[0] for e in entries if len(e.path) > 1 or ARCHIVE.search(e.name)}
    return len(several) > 1 and not is_one_student(entries)


def _plain(entries: list[Entry]) -> Split:
    found: dict[str, HandIn] = {}
    problems: list[Entry] = []
    for e in entries:
        top = e.path[0]
        packed = ARCHIVE if ARCHIVE.search(top) else OTHER_ARCHIVE
        if len(e.path) == 1 and e.problem:
            problems.append(e)
        elif top.startswith(".") or (len(e.path) == 1 and e.read and not packed.search(top)):
            continue  # a roster, a note: no student has the name of a file
        else:
            student = packed.sub("", top) if len(e.path) == 1 and e.read else top
            hand_in = found.setdefault(top, HandIn([Person(student, student, keys=(student,))], top))
            if len(e.path) > 1 or e.read:
                hand_in.entries.append(replace(e, path=e.path[1:] or e.path))
    strays = []
    for e in problems:
        if e.path[0] in found:
            found[e.path[0]].entries.append(e)
        elif e.problem:
            strays.append((e.path[0], e.problem))
    return Split("plain", list(found.values()), strays)


def _gradescope(entries: list[Entry]) -> Split:
    file = next(e for e in entries if e.path == (METADATA,) and e.read)
    assert file.read
    said = metadata.read(file.read(metadata.LIMIT))
    below: dict[str, list[Entry]] = defaultdict(list)
    for e in entries:
        if len(e.path) > 1:
            below[e.path[0]].append(replace(e, path=e.path[1:]))
        elif not e.read:
            below[e.path[0]] += [e] if e.problem else []
    found = []
    for folder in dict.fromkeys([*said, *below]):
        people, when = said.get(folder, ([], None))
        named = [
            Person(p.sid or p.email or p.name or folder, p.name, p.email, tuple(k for k in (p.sid, p.email) if k))
            for p in people
        ]
        found.append(HandIn(named or [Person(folder)], folder, below[folder], when))
    return Split("gradescope", found)


Named = tuple[Person, str, tuple[int, int], bool]  # who, the file's own name, which of several, whether late


def _moodle(top: str) -> Named | None:
    m = MOODLE.match(top)
    if not m or m["plugin"] != "file":  # what was typed on the page lies in `..._assignsubmission_onlinetext_`
        return None
    keys = (f"participant:{m['id']}",) if m["id"] else ()
    return Person(m["id"] or m["name"], m["name"], keys=keys), m["rest"] or "", (0, 0), False


def _canvas(top: str) -> Named | None:
    m = CANVAS.match(top)
    if not m:
        return None
    again = AGAIN.search(m["rest"])
    order = (int(m["file"]), int(again[1]) if again else 0)
    return (
        Person(m["id"], m["name"] or "", keys=(f"canvas:{m['id']}",)),
        AGAIN.sub("", m["rest"]),
        order,
        bool(m["late"]),
    )


def _by_name(layout: str, entries: list[Entry], take: Callable[[str], Named | None]) -> Split:
    found: dict[str, HandIn] = {}
    strays: dict[str, Refused] = {}
    for e in entries:
        top = e.path[0]
        if (named := take(top)) is None:
            loose = e.problem or re.search(r"\.py$|\.zip$|\.tar|\.tgz$", top, re.IGNORECASE)
            if loose if len(e.path) == 1 else not (MOODLE.match(top) or top.startswith(".")):
                stray = Refused("not-a-submission", f"It is not named as {layout.capitalize()} names what it exports.")
                strays.setdefault(top, e.problem if e.problem and len(e.path) == 1 else stray)
            continue
        person, rest, order, late = named
        hand_in = found.setdefault(top, HandIn([person], top, order=order, late=late))
        if len(e.path) > 1:
            hand_in.entries.append(replace(e, path=e.path[1:]))
        elif e.read or e.problem:
            hand_in.entries.append(replace(e, path=(rest or top,)))
    return Split(layout, list(found.values()), list(strays.items()))
