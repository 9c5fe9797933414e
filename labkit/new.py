"""`lab new`: the folder of a new lab that `lab verify` has nothing to say about.

Its example is a real one, the smoothed loss curve that every training log draws, in a few lines: small enough to be
replaced in an hour, whole enough to show what each file is for.  The texts of the files are in new_files.
"""

from __future__ import annotations

import re
import sys
import tempfile
import unicodedata
from pathlib import Path

from labkit import catalog, new_files, scaffold
from labkit.catalog import LabError
from labkit.report import as_typed

LONGEST = 60  # characters of a title or a phase that go into the name of a folder


def make(base: Path, lab_id: str, title: str, phase: str = "") -> Path:
    """Writes the folder; returns it.  A slip of the caller is refused before anything is written.

    `phase` is what a phase that is not there yet is called; one that is there keeps its name.
    """
    numbers = re.fullmatch(r"([1-9]\d?)\.([1-9]\d?)", lab_id)
    if numbers is None:
        raise LabError(f"{lab_id!r} is no id of a lab: it is its phase and its number there, as in 2.1.")
    title, phase = " ".join(title.split()), " ".join(phase.split())
    words = slug(title)
    if not words:
        raise LabError("The title needs a letter or a digit: it gives the folder its name.")
    if taken := [lab for lab in catalog.labs(base) if lab.id == lab_id]:
        raise LabError(f"{lab_id} is taken: {taken[0].title}, in {as_typed(taken[0].folder)}.")
    number, place = int(numbers[1]), int(numbers[2])
    room = _phase(base, lab_id, number, phase)
    if same_place := [*room.glob(f"lab-{place:02}-*")]:
        raise LabError(f"There is already {as_typed(same_place[0])}.")
    # Built beside and moved in whole, so that a full disk leaves no half of a lab behind.
    with tempfile.TemporaryDirectory(dir=base / "phases", prefix=".new-") as bench:
        draft = Path(bench) / room.name / f"lab-{place:02}-{words}"
        draft.mkdir(parents=True)
        _fill(draft, lab_id, title)
        if not (room / "README.md").exists():
            name = phase or room.name.split("-", 2)[2].replace("-", " ").capitalize()
            page = new_files.PHASE.format(number=number, name=name)
            (draft.parent / "README.md").write_text(page, encoding="utf-8")
        room.mkdir(exist_ok=True)
        for part in draft.parent.iterdir():
            part.rename(room / part.name)
    return room / draft.name


def _fill(folder: Path, lab_id: str, title: str) -> None:
    """The files of the example, under this id and title."""
    given = {"ID": lab_id, "TITLE": title, "QUOTED": title.replace("\\", "\\\\").replace('"', '\\"')}
    for file, text in new_files.FILES.items():
        (folder / file).write_text(re.sub("@(ID|TITLE|QUOTED)@", lambda m: given[m[1]], text), encoding="utf-8")
    lab = catalog.read(folder)
    scaffold.write(lab.file("lab.py"), scaffold.generate(lab))


def _phase(base: Path, lab_id: str, number: int, name: str) -> Path:
    """The folder of this phase; not made yet when it is new."""
    existing = sorted(base.glob(f"phases/phase-{number:02}-*"))
    if len(existing) > 1:
        raise LabError(f"Phase {number} has two folders: {existing[0].name} and {existing[1].name}.")
    if existing:
        return existing[0]
    if not slug(name):
        raise LabError(f'Phase {number} is not there yet; say what it is called: lab new {lab_id} … --phase "Its name"')
    return base / "phases" / f"phase-{number:02}-{slug(name)}"


def slug(text: str) -> str:
    """Café & Co → cafe-co; whole words, as many as stay within LONGEST characters."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    words = re.findall(r"[a-z0-9]+", plain.lower())
    while len("-".join(words)) > LONGEST and len(words) > 1:
        words.pop()
    return "-".join(words)[:LONGEST]


def main(base: Path, lab_id: str, title: str, phase: str) -> int:
    """`lab new`."""
    catalog.for_authors(base, "`lab new`")
    folder = make(base, lab_id, title, phase)
    print(f"made {as_typed(folder)}: {', '.join([*new_files.FILES, 'lab.py'])}")
    room = folder.parent
    if slug(phase) not in ("", room.name.split("-", 2)[2]):
        print(f"--phase is not used: the phase is there already, {as_typed(room)}", file=sys.stderr)
    print(f"It is whole as it stands: lab verify {lab_id}")
    print(f"Now make it yours, from the question in README.md on; then list it in {as_typed(room / 'README.md')}.")
    print("lab.py is made from solution.py: run make scaffolds after each change there.")
    print("CONTRIBUTING.md has the ten steps.", file=sys.stderr)
    return 0
