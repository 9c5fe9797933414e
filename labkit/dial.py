"""dials.toml: which conventions of a lab can be turned, and the edits that turn them in all of its files at once.

    [[dial]]
    name = "polarity"
    says = "A mask says what is hidden: True = may not look."      # told to the student
    tasks = ["attention", "causal_mask"]                             # those that the public solution then fails

    [[dial.edit]]
    file = "solution.py"                  # or test_lab.py, lab.toml, a helper module
    old = "masked_fill(~mask"             # as it stands in the public lab, once, or `count` times
    new = "masked_fill(mask"
    count = 2

What `old` and `new` have in common at their ends is context.  The rest is what the edit changes, and no two edits may
change the same text.  All are applied to the public file at once, so every set of dials composes, in any order.
"""

from __future__ import annotations

import os.path
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.catalog import Lab, LabError

FILE = "dials.toml"
FEWEST, MOST = 2, 5  # dials of one lab
NAME = re.compile(r"[a-z][a-z_0-9]*")
UNCHANGED = ("mistakes.py", "equivalents.py", "lab.py", FILE)  # not part of a variant, or generated


@dataclass(frozen=True)
class Edit:
    """`old` stands `count` times in `file` of the public lab and becomes `new`."""

    file: str
    old: str
    new: str
    count: int = 1

    def spans(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, new text) of each place in `text`, without the context that old and new share."""
        before = len(os.path.commonprefix([self.old, self.new]))
        after = len(os.path.commonprefix([self.old[before:][::-1], self.new[before:][::-1]]))
        new = self.new[before : len(self.new) - after]
        return [(m.start() + before, m.end() - after, new) for m in re.finditer(re.escape(self.old), text)]


@dataclass(frozen=True)
class Dial:
    """One convention of a lab that can be another one."""

    name: str
    says: str
    tasks: tuple[str, ...]
    edits: tuple[Edit, ...]


def read(lab: Lab) -> list[Dial]:
    """The lab's dials in the order of its dials.toml, checked against the lab's files; none without that file."""
    path = lab.file(FILE)
    if not path.exists():
        return []
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        found = [_dial(entry) for entry in data["dial"]]
    except KeyError as e:
        raise LabError(f"{path}: {e.args[0]} is missing.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError, ValueError) as e:
        raise LabError(f"{path}: {e}.") from None
    names = [d.name for d in found]
    if not FEWEST <= len(found) <= MOST:
        raise LabError(f"{path}: {len(found)} dials; a lab has {FEWEST} to {MOST}.")
    if len({*names}) < len(names):
        raise LabError(f"{path}: two dials have the same name.")
    for d in found:
        if unknown := set(d.tasks) - {t.name for t in lab.tasks}:
            raise LabError(f"{path}: dial {d.name} names {min(unknown)}, which is no task of lab {lab.id}.")
        if not d.tasks:
            raise LabError(f"{path}: dial {d.name} names no task.")
    turned(lab, found)
    for d in found:
        if not any(e.file == "solution.py" for e in d.edits):
            raise LabError(
                f"{path}: dial {d.name} does not edit solution.py, so its reference would be the public one."
            )
    return found


def turned(lab: Lab, dials: list[Dial]) -> dict[str, str]:
    """The lab's files that these dials change, by name, as they are when all of them are on."""
    path = lab.file(FILE)
    places: dict[str, list[tuple[int, int, str, str]]] = {}
    texts: dict[str, str] = {}
    for d in dials:
        for e in d.edits:
            if e.file not in texts:
                texts[e.file] = _text(lab, d, e.file)
            spans = e.spans(texts[e.file])
            if len(spans) != e.count:
                times = {0: "nowhere", 1: "once"}.get(len(spans), f"{len(spans)} times")
                wanted = "once" if e.count == 1 else f"{e.count} times"
                raise LabError(
                    f"{path}: dial {d.name}: {_short(e.old)} stands {times} in {e.file}, and it must {wanted}."
                )
            places.setdefault(e.file, []).extend((*span, d.name) for span in spans)
    for file, found in places.items():
        found.sort(key=lambda place: place[:2])
        for (start, end, _, one), (begin, stop, _, other) in zip(found, found[1:], strict=False):
            if begin < end or start == end == begin == stop:
                whose = f"dial {one} twice" if one == other else f"the dials {one} and {other}"
                what = _short(texts[file][begin : max(end, stop)] or texts[file][begin - 20 : begin])
                raise LabError(f"{path}: {whose} would change the same text of {file}: {what}.")
        for start, end, new, _ in reversed(found):
            texts[file] = texts[file][:start] + new + texts[file][end:]
    return texts


def _dial(entry: dict[str, Any]) -> Dial:
    name, says, tasks = entry["name"], entry["says"], entry["tasks"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"a dial's name is one word in small letters, not {name!r}")
    if not isinstance(says, str) or not says.strip() or re.search(r'[\\\n]|"""', says):
        raise ValueError(f"dial {name}: `says` is a sentence or two on one line, without a backslash")
    if not isinstance(tasks, list):
        raise ValueError(f"dial {name}: `tasks` is a list of names")
    return Dial(name, says, tuple(tasks), tuple(_edit(name, e) for e in entry.get("edit", ())))


def _edit(dial: str, entry: dict[str, Any]) -> Edit:
    if unknown := entry.keys() - {"file", "old", "new", "count"}:
        raise ValueError(f"dial {dial}: an edit has file, old, new and count, and no {min(unknown)}")
    edit = Edit(file=entry["file"], old=entry["old"], new=entry["new"], count=entry.get("count", 1))
    if not all(isinstance(x, str) for x in (edit.file, edit.old, edit.new)) or not edit.old:
        raise ValueError(f"dial {dial}: file, old and new of an edit are text, and old is not empty")
    if type(edit.count) is not int or edit.count < 1:
        raise ValueError(f"dial {dial}: the count of an edit is a whole number from 1, not {edit.count!r}")
    if edit.old == edit.new:
        raise ValueError(f"dial {dial}: an edit of {edit.file} changes nothing: {_short(edit.old)}")
    return edit


def _text(lab: Lab, dial: Dial, file: str) -> str:
    path = lab.file(file)
    if Path(file).name != file or file in UNCHANGED or not path.is_file():
        raise LabError(f"{lab.file(FILE)}: dial {dial.name} edits {file}, which is no file of a variant.")
    return path.read_text(encoding="utf-8")


def _short(text: str) -> str:
    first = text.strip().splitlines()[0] if text.strip() else text
    return repr(first if len(first) <= 60 else f"{first[:57]}…")
