"""`lab new`: the folder of a new lab that `lab verify` has nothing to say about.

Its example is a real one, the smoothed loss curve that every training log draws, in a few lines: small enough to be
replaced in an hour, whole enough to show what each file is for.  The texts of the files are in new_files.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

from labkit import catalog, new_files, scaffold
from labkit.catalog import LabError
from labkit.report import as_typed


def make(base: Path, lab_id: str, title: str, phase: str = "") -> Path:
    """Writes the folder; returns it.  Refuses an id that is taken, a folder that is there, a title without a letter."""
    found = re.fullmatch(r"([1-9]\d?)\.([1-9]\d?)", lab_id)
    if found is None:
        raise LabError(f"{lab_id!r} is no id of a lab: it is its phase and its number there, as in 2.1.")
    title = " ".join(title.split())
    words = slug(title)
    if not words:
        raise LabError("The title needs a letter or a digit: it gives the folder its name.")
    if taken := [lab for lab in catalog.labs(base) if lab.id == lab_id]:
        raise LabError(f"{lab_id} is taken: {taken[0].title}, in {as_typed(taken[0].folder)}.")
    number, place = int(found[1]), int(found[2])
    room = _phase(base, number, phase)
    if there := [*room.glob(f"lab-{place:02}-*")]:
        raise LabError(f"There is already {as_typed(there[0])}.")
    folder = room / f"lab-{place:02}-{words}"
    if not (room / "README.md").exists():
        room.mkdir(exist_ok=True)
        name = phase.strip() or room.name.split("-", 2)[2].replace("-", " ").capitalize()
        (room / "README.md").write_text(new_files.PHASE.format(number=number, name=name), encoding="utf-8")
    folder.mkdir()
    given = {"ID": lab_id, "TITLE": title, "QUOTED": title.replace("\\", "\\\\").replace('"', '\\"')}
    for file, text in new_files.FILES.items():
        (folder / file).write_text(re.sub("@(ID|TITLE|QUOTED)@", lambda m: given[m[1]], text), encoding="utf-8")
    lab = catalog.read(folder)
    scaffold.write(lab.file("lab.py"), scaffold.generate(lab))
    return folder


def _phase(base: Path, number: int, name: str) -> Path:
    """The folder of this phase; not made yet when it is new."""
    there = sorted(base.glob(f"phases/phase-{number:02}-*"))
    if len(there) > 1:
        raise LabError(f"Phase {number} has two folders: {there[0].name} and {there[1].name}.")
    return there[0] if there else base / "phases" / f"phase-{number:02}-{slug(name) or 'new'}"


def slug(text: str) -> str:
    """Café & Co → cafe-co"""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "-".join(re.findall(r"[a-z0-9]+", plain.lower()))


def main(base: Path, lab_id: str, title: str, phase: str) -> int:
    """`lab new`."""
    folder = make(base, lab_id, title, phase)
    print(f"made {as_typed(folder)}: {', '.join([*new_files.FILES, 'lab.py'])}")
    print(f"It is whole as it stands: lab verify {lab_id}")
    print(
        f"Now make it yours, from the question in README.md on; then list it in {as_typed(folder.parent / 'README.md')}."
    )
    print("CONTRIBUTING.md has the ten steps.", file=sys.stderr)
    return 0
