"""What is found in a folder or an archive, before anybody decides what it is: names, checked, and a way to read each.

Whoever hands in chooses the names and the bytes.  So a name is never used to open or to write anything but to compare
it, nothing is read without a limit, and what breaks a rule is refused with one word of REASONS and a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LAB_BYTES = 1 << 20  # one lab.py; the longest solution of this course has 21 kB
ARCHIVE_BYTES = 64 << 20  # one archive of a student, packed
UNPACKED_BYTES = 256 << 20  # all that is unpacked for one student
CLAIMED_BYTES = 256 << 20  # what a zip may claim to hold, though not all of it is ever unpacked
MEMBERS = 20_000  # files of one student: this repository has five hundred
DEPTH = 3  # archives in archives of one student
RATIO = 200  # unpacked bytes for a packed one; text seldom passes 20
RATIO_FROM = 1 << 20  # bytes; below that, a few empty files would do to pass the ratio
NAME_BYTES = 255  # one part of a path, as on most file systems
PATH_BYTES = 4096

REASONS = {
    # what an archive or a folder is refused for
    "traversal": "A path in it leads out of it by `..`.",
    "absolute-path": "A path in it starts at the root of a disk.",
    "backslash": "A path in it has backslashes, which mean different folders on different systems.",
    "bad-name": "A name in it is empty, too long, wrongly encoded, or has control characters.",
    "duplicate-name": "Two files in it have the same path, so that nobody can say which one counts.",
    "link": "It holds a symbolic or hard link. Links are never followed.",
    "device": "It holds a device, a pipe or a socket.",
    "sparse": "It holds a sparse file, whose size in the archive says nothing of its real one.",
    "encrypted": "It is protected by a password.",
    "unsupported": "It is packed in a way that is not read here. Zip and tar (also gz, bz2, xz) are.",
    "corrupt": "It is damaged or cut short.",
    "overlap": "Files in it share their packed bytes, as in a zip bomb.",
    "bomb": "It unpacks to far more than a submission has.",
    "too-large": "The file is larger than a submission of its kind has to be.",
    "too-many-files": "It holds more files than a submission has.",
    "too-deep": "Archives or folders in it lie too deep in one another.",
    "not-a-file": "Where lab.py should be a file, there is a folder.",
    "unreadable": "The system does not let it be read.",
    # a file that was read, and is not graded
    "unknown-lab": "Neither its path nor its text says which lab it is for.",
    "other-lab": "It is for a lab that is not being graded.",
    "empty-file": "There is nothing in it.",
    "untouched": "It is the lab's scaffold as it was handed out.",
    "nothing-found": "There is no lab.py in what was handed in.",
    "superseded": "A later file of the same student for the same lab is graded.",
    "not-a-submission": "It is not named as this platform names what it exports, or it is not one student's.",
    "grader": "Grading it failed, through no fault of the file.",
    # notes: it is graded
    "not-on-roster": "Graded, although the roster does not name this student.",
    "ambiguous-name": "Graded under the export's name: several rows of the roster fit it.",
    "late": "Graded, and marked as late by the platform, which does not say by how much.",
}

# Nobody's work lies there, and a virtual environment has more files than a class.  __MACOSX is a Mac's shadow copy.
PRUNED = {".git", ".hg", ".lab", ".venv", "venv", "__pycache__", "__MACOSX", "node_modules", "site-packages"}
ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
OTHER_ARCHIVE = re.compile(r"\.(7z|rar|tar\.zst|zipx)$", re.IGNORECASE)
DRIVE = re.compile(r"^[A-Za-z]:")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")  # surrogates: not decodable


class Refused(Exception):
    """Why something is not read: one word of REASONS, and the particulars in a sentence."""

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason, self.says = reason, says


@dataclass(frozen=True)
class Entry:
    """A file, a folder, or something that cannot be taken (`problem` says why)."""

    path: tuple[str, ...]
    read: Callable[[int], bytes] | None = None  # at most so many bytes, else Refused; None for a folder or a problem
    problem: Refused | None = None
    disk: Path | None = None  # where it lies, when it lies in a folder

    @property
    def name(self) -> str:
        return self.path[-1]


@dataclass
class Budget:
    """What may still be opened of one student, or of a whole class.  It counts what is unpacked, not what is claimed."""

    members: int = MEMBERS
    unpacked: int = UNPACKED_BYTES
    claimed: int | None = CLAIMED_BYTES  # what a zip may say that it holds, if its ratio is a bomb's; None: no matter

    def __post_init__(self) -> None:
        self._members, self._unpacked = self.members, self.unpacked

    def take(self, members: int = 0, unpacked: int = 0) -> None:
        """Counts files, or bytes after unpacking.  Raises Refused once there are too many."""
        self.members -= members
        self.unpacked -= unpacked
        if self.members < 0:
            raise Refused("too-many-files", f"It holds more than {self._members:,} files.")
        if self.unpacked < 0:
            raise Refused("bomb", f"It unpacks to more than {size(self._unpacked)}.")


def size(n: int) -> str:
    """`1 MB`, `64 MB`: a limit in words."""
    return f"{n >> 20} MB" if n >= 1 << 20 else f"{n} bytes"


def show(name: str, width: int = 80) -> str:
    """A name somebody else chose, fit for a message: printable and short."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return text if len(text) <= width else text[: width - 1] + "…"


def parts(name: str) -> tuple[str, ...]:
    """The parts of a member's path.  Raises Refused for a path that would leave its folder or that no system writes."""
    shown = f"`{show(name)}`"
    if "\\" in name:
        raise Refused("backslash", f"{shown} has a backslash. Pack it again with forward slashes.")
    if name.startswith("/") or DRIVE.match(name):
        raise Refused("absolute-path", f"{shown} starts at the root of a disk.")
    if CONTROL.search(name):
        raise Refused("bad-name", f"{shown} has control characters or is wrongly encoded.")
    found = tuple(p for p in name.split("/") if p not in ("", "."))
    if ".." in found:
        raise Refused("traversal", f"{shown} leads out of the archive.")
    if not found:
        raise Refused("bad-name", "A file in it has no name.")
    if len(name.encode()) > PATH_BYTES or max(len(p.encode()) for p in found) > NAME_BYTES:
        raise Refused("bad-name", f"{shown} is longer than {NAME_BYTES} bytes a part, or {PATH_BYTES} in all.")
    return found


def pruned(path: tuple[str, ...]) -> bool:
    """Whether a path lies where nobody's work is: in .git, a virtual environment, a Mac's shadow copies."""
    return not PRUNED.isdisjoint(path) or path[-1] == ".DS_Store" or path[-1].startswith("._")
