"""`lab vary`: lists dials, proves them, and writes variants for one student or for a class."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from labkit import catalog, report, vary, vary_check
from labkit.catalog import Lab, LabError

SECRET = "LAB_SECRET"  # the environment's variable: what is typed behind --secret stays in the shell's history


def add_options(sub: argparse.ArgumentParser) -> None:
    """The words of `lab vary`."""
    sub.add_argument("id", nargs="?", default="", metavar="ID", help="a lab with dials: 4.1; without, with --list: all")
    sub.add_argument(
        "--secret", default="", metavar="S", help=f"decides who gets what; else {SECRET} of the environment"
    )
    sub.add_argument("--student", default="", metavar="ID", help="one student's variant, into the folder of --out")
    sub.add_argument(
        "--roster", metavar="CSV", help="a folder for each student of this class list, below that of --out"
    )
    sub.add_argument("--out", metavar="FOLDER", help="where it goes: a new or empty folder")
    sub.add_argument(
        "--spec", action="store_true", help="with what `lab check` reads; goes in the place of the lab's folder"
    )
    sub.add_argument("--answers", action="store_true", help="for you: the whole variant, the reference included")
    sub.add_argument("--list", action="store_true", dest="listed", help="the lab's dials, or all labs that have some")
    sub.add_argument(
        "--check", action="store_true", help="prove the dials: the public solution fails, the varied one passes"
    )
    sub.add_argument(
        "--sets", type=int, default=5, metavar="K", help="with --check: sets beside each dial alone and all (5)"
    )
    sub.add_argument("--seeds", type=int, default=3, metavar="N", help="with --check: seeds for each set (3)")


def main(
    base: Path,
    lab_id: str = "",
    secret: str = "",
    student: str = "",
    out: Path | None = None,
    *,
    roster: Path | None = None,
    spec: bool = False,
    answers: bool = False,
    listed: bool = False,
    check: bool = False,
    sets: int = 5,
    seeds: int = 3,
) -> int:
    """`lab vary`: 0 when it is done, 1 when --check finds something that is not in order.  LabError: could not run."""
    catalog.for_authors(base, "`lab vary`")
    if listed:
        return _list([catalog.find(base, lab_id)] if lab_id else vary.varied(base), whole=bool(lab_id))
    if not lab_id:
        raise LabError("Say which lab: `lab vary 4.1 …`. `lab vary --list` shows those that have dials.")
    lab = catalog.find(base, lab_id)
    if check:
        return _check(lab, sets, seeds)
    secret = secret or os.environ.get(SECRET, "")
    if not secret:
        raise LabError(f"A variant takes a secret: --secret S, or {SECRET}=S in the environment.")
    if bool(student) == bool(roster):
        raise LabError("Say whose variant: --student ID, or --roster CSV for a class.")
    if out is None:
        raise LabError("Say where it goes: --out FOLDER.")
    if student:
        _write(lab, vary.choose(lab, secret, student), out, spec, answers)
        print(f"{report.as_typed(out)}: {', '.join(vary.choose(lab, secret, student))}")
        print(_how_to_check(lab, spec, answers))
        return 0
    assert roster is not None
    return _class(lab, secret, roster, out, spec, answers)


def folder_name(student: str) -> str:
    """The folder of a student: the id, without what a file system may not take."""
    name = re.sub(r"[^\w.@+-]+", "_", student).strip("._")
    if not name:
        raise LabError(f"The id {student!r} makes no folder's name. Give this student another one in the roster.")
    return name


def _class(lab: Lab, secret: str, roster: Path, out: Path, spec: bool, answers: bool) -> int:
    """One folder for each student.  Equal variants are made once and copied."""
    from labkit.grading import roster as rosters

    ids = [s.id for s in rosters.read(roster)]
    folders: dict[str, str] = {}
    for student in ids:
        name = folder_name(student)
        if (other := folders.setdefault(name.casefold(), student)) != student:
            raise LabError(
                f"The ids {other!r} and {student!r} would share the folder {name}. Change one in the roster."
            )
    _free(out)
    made: dict[tuple[str, ...], Path] = {}
    for n, student in enumerate(ids, 1):
        report.progress_line(f"{n} of {len(ids)}  {student}")
        names, folder = vary.choose(lab, secret, student), out / folder_name(student)
        if tuple(names) in made:
            shutil.copytree(made[tuple(names)], folder)
        else:
            _write(lab, names, folder, spec, answers)
            made[tuple(names)] = folder
    report.progress_line("")
    possible = len(vary.subsets(lab))
    print(f"{report.as_typed(out)}: {len(ids)} students, {len(made)} of {possible} variants of lab {lab.id}.")
    print(_how_to_check(lab, spec, answers))
    print("Grade them with the same secret and the same ids: lab grade … --roster CSV --vary")
    return 0


def _how_to_check(lab: Lab, spec: bool, answers: bool) -> str:
    place = f"phases/{lab.folder.parent.name}/{lab.folder.name}"
    if spec or answers:
        return f"To check it, remove {place} of a repository, put the folder there, and run `lab check {lab.id}`."
    return f"Students cannot check it by themselves: `lab check` reads {place}. --spec gives them what it needs."


def _write(lab: Lab, names: list[str], folder: Path, spec: bool, answers: bool) -> None:
    _free(folder)
    if answers:
        vary.build(lab, names, folder)
    else:
        vary.hand_out(lab, names, folder, spec)


def _free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LabError(f"{report.as_typed(folder)} is there already, and not empty. Name a new folder.")


def _list(labs: Sequence[Lab], whole: bool) -> int:
    for lab in labs:
        found = vary.dials(lab)
        if whole and not found:
            raise LabError(f"Lab {lab.id} has no dials. `lab vary --list` shows the labs that have.")
        print(f"{lab.id} {lab.title}: {len(found)} dials, {len(vary.subsets(lab))} variants")
        for d in found if whole else []:
            print(f"\n  {d.name}: {', '.join(d.tasks)}")
            print(textwrap.fill(d.says, 110, initial_indent="    ", subsequent_indent="    "))
    if not whole:
        print("Their dials: lab vary ID --list")
    return 0


def _check(lab: Lab, extra: int, seeds: int) -> int:
    if extra < 0 or seeds < 1:
        raise LabError("--sets takes a whole number from 0 on, --seeds one from 1 on.")
    vary.subsets(lab)  # refuses a lab without dials, and dials that touch too little
    proof = vary_check.prove(lab, vary_check.some_sets(lab, extra), range(seeds), report.progress_line)
    report.progress_line("")
    for line in proof.problems:
        print(f"✗ {line}", file=sys.stderr)
    print(
        f"{lab.id}: {proof.sets} sets of dials, {seeds} seeds, {proof.runs} runs of a task, "
        f"{len(proof.problems)} not as they must be."
    )
    return 1 if proof.problems else 0
