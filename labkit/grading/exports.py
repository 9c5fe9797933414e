"""Several exports of one class in one folder: a term's, week by week, zipped or unpacked.

Without this each export would be taken for a student, and whose files lie in it would be lost.  But whoever hands in can
name files as a platform does, and speak for others.  So exports are taken apart only where there is nothing else; a few
among the folders of students are refused, and the rest of the class goes on.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

from labkit.catalog import LabError
from labkit.grading import archives, folders, layouts
from labkit.grading.entries import ARCHIVE, ARCHIVE_BYTES, OTHER_ARCHIVE, Budget, Entry, Refused, show
from labkit.grading.layouts import CANVAS, METADATA, MOODLE, Split
from labkit.grading.store import RUN

LOOK_FILES = 200_000  # an archive with more is not looked at
CLASS_FILES = 2_000_000
CLASS_BYTES = 16 << 30
DEEP = 2  # folders around an export: term/week-4/submissions.zip
RESULTS = Refused("not-a-submission", "This is what `lab grade` wrote. Keep results outside of what is graded.")
AMONG = Refused(
    "not-a-submission",
    "It looks like an export of several students and lies among the folders of single ones. Grade it by itself.",
)
Listed = Callable[[str], bool]  # whether the roster knows somebody by this word
Place = tuple[str, ...]  # the path of an export in the source


def is_results(entries: list[Entry]) -> bool:
    """Whether these are the files that `lab grade` itself writes."""
    return {RUN, "verdicts"} <= {e.path[0] for e in entries}


def split(source: Path, entries: list[Entry], listed: Listed) -> Split:
    """Takes apart, by student, what was found in the folder or archive `source`: one export, or several.

    LabError when exports and students' own folders lie side by side.
    """
    name = _stem(source.resolve().name) or "student"
    whole = layouts.split(entries, name, source.is_file())
    if whole.layout != "plain":
        return whole
    results = {top for top, inside in _groups(entries).items() if is_results(inside)}
    kept = [e for e in entries if e.path[0] not in results]
    strays = [(top, RESULTS) for top in sorted(results)]
    found, others = _exports(kept, listed)
    several = {path: n for path, n in found.items() if n > 1}
    if found and not others:
        return _join(source, kept, [*found], whole.strays + strays)
    if several and len(several) >= len(others):
        what = f"{'/'.join(min(several))} is an export of several students, and {others[0]} is not"
        raise LabError(f"{source}: {show(what, 200)}. Put exports into one folder and students' own into another.")
    hidden = {path[0] for path in several}
    if hidden or results:
        whole = layouts.split([e for e in kept if e.path[0] not in hidden], name, source.is_file())
    return Split(whole.layout, whole.hand_ins, whole.strays + strays + [(top, AMONG) for top in sorted(hidden)])


def open_archive(stream: IO[bytes]) -> list[Entry]:
    """What is in the archive of a whole class.  The stream has to stay open as long as its members are read."""
    return archives.read(stream, Budget(CLASS_FILES, CLASS_BYTES, claimed=None))


def _groups(entries: list[Entry]) -> dict[str, list[Entry]]:
    """What lies in each folder at the top, and each archive there by itself; not notes and hidden files."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for e in entries:
        if e.path[0].startswith("."):
            continue
        if len(e.path) > 1:
            found[e.path[0]].append(replace(e, path=e.path[1:]))
        elif e.read and (ARCHIVE.search(e.name) or OTHER_ARCHIVE.search(e.name)):
            found[e.name] = [e]
        elif not e.read and not e.problem:
            found[e.name] += []
    return found


def _exports(entries: list[Entry], listed: Listed, deep: int = DEEP) -> tuple[dict[Place, int], list[str]]:
    """The paths of exports in this folder, with how many people each names; and what else lies at its top.

    An export is what a platform names so, or a folder with several people of the roster.  Who is on the roster
    is one student, whatever their folder looks like.
    """
    found: dict[Place, int] = {}
    others = []
    for top, inside in _groups(entries).items():
        packed = inside[:1] and inside[0].path == (top,) and inside[0].read
        below = [] if listed(_stem(top)) else _look(inside[0]) if packed else inside
        people = _people(below, listed)
        more, rest = dict[Place, int](), [top]
        if not (people or packed or not deep or layouts.is_one_student(below)):
            more, rest = _exports(below, listed, deep - 1)
        if people:
            found[top,] = people
        elif more and not rest:
            found |= {(top, *path): n for path, n in more.items()}
        else:
            others.append(top)
    return found, others


def _people(entries: list[Entry], listed: Listed) -> int:
    """How many people an export names; 0 for what is none."""
    for found in (entries, layouts.unwrapped(entries)):
        if any(e.path == (METADATA,) and e.read for e in found):
            return max(1, len(_groups(found)))
        tops = {e.path[0]: e for e in found}
        named = {m["id"] or m["name"] for t in tops if (m := MOODLE.match(t))}
        files = [CANVAS.match(t) for t, e in tops.items() if e.read and len(e.path) == 1]
        named |= {m["id"] for m in files if m and len(m["file"]) > 2}  # not hw_2027_11_25.py
        on_roster = {t for t in tops if listed(_stem(t))}
        if named or len(on_roster) > 1:
            return len(named or on_roster)
    return 0


def _look(packed: Entry) -> list[Entry]:
    """The names in an archive; none when it cannot be read, which is then said of the student whose it is."""
    if OTHER_ARCHIVE.search(packed.name):
        return []
    try:
        with _stream(packed) as stream:
            return archives.read(stream, Budget(LOOK_FILES, claimed=None))
    except Refused:
        return []


def _stream(packed: Entry) -> IO[bytes]:
    assert packed.read
    return folders.stream(packed.disk) if packed.disk else io.BytesIO(packed.read(ARCHIVE_BYTES))


def _join(source: Path, entries: list[Entry], paths: list[Place], strays: list[tuple[str, Refused]]) -> Split:
    """All exports as one.  One whose name sorts later, its numbers by their value, is taken to be the later one."""
    splits = []
    for number, path in enumerate(sorted(paths, key=_natural)):
        export = "/".join(path)
        inside = [e for e in entries if e.path[: len(path)] == path]
        packed = next((e for e in inside if e.path == path and e.read), None)
        try:
            if packed:
                inside = open_archive(_stream(packed))
            elif source.is_dir():
                inside = list(folders.read(source.joinpath(*path)))  # again: each student has a budget of their own
            else:
                inside = [replace(e, path=e.path[len(path) :]) for e in inside if len(e.path) > len(path)]
            one = layouts.split(inside, _stem(path[-1]), archive=True)
        except (LabError, Refused) as e:
            raise LabError(f"{source.name}: {show(export, 160)}: {e}") from None
        for hand_in in one.hand_ins:
            hand_in.export, hand_in.number, hand_in.packed = export, number, packed is not None
        strays = strays + [(f"{export}/{name}", problem) for name, problem in one.strays]
        splits.append(one)
    _by_name([s for s in splits if s.layout == "moodle"])
    return Split("several", [h for s in splits for h in s.hand_ins], strays)


def _by_name(moodles: list[Split]) -> None:
    """Moodle numbers people anew in each assignment: over several they go by name, if nobody else has it."""
    if len(moodles) < 2:
        return
    twice = set()
    for one in moodles:
        numbers = defaultdict(set)
        for person in (p for h in one.hand_ins for p in h.people):
            numbers[person.name].add(person.id)
        twice |= {name for name, ids in numbers.items() if len(ids) > 1}
    for hand_in in (h for one in moodles for h in one.hand_ins):
        hand_in.people = [p if p.name in twice else replace(p, id=p.name) for p in hand_in.people]


def _natural(path: Place) -> list[list[tuple[int, str]]]:
    """Sorts week-2 before week-10."""
    return [[(int(w), "") if w.isdecimal() else (0, w.casefold()) for w in re.split(r"(\d+)", part)] for part in path]


def _stem(name: str) -> str:
    return ARCHIVE.sub("", name)
