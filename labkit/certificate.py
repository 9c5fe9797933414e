"""What `lab verify` found out about a lab, and how that is shown: a table in the terminal, a page in the repository."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labkit import catalog, variants
from labkit.catalog import Lab, LabError

DATA, PAGE = "certified.json", "CERTIFIED.md"  # in phases/


@dataclass
class Certificate:
    """What was found out about one lab."""

    lab: str
    title: str
    seeds: int
    files: str = ""  # what fingerprint() says of the files that were tried
    tasks: int = 0
    tests: int = 0
    mistakes: int = 0
    caught: int = 0
    alikes: int = 0
    equivalents: int = 0
    accepted: int = 0
    named: int = 0
    named_alike: int = 0
    spec_seconds: float = 0.0
    seconds: float = 0.0
    salts: int = 0  # grading salts that solution and equivalents were tried on, task by task
    salted: int = 0  # how many of those versions every one of the salts accepted
    salted_of: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """Wrong versions tried: mistakes and their second wordings."""
        return self.mistakes + self.alikes

    @property
    def right(self) -> int:
        """Right versions tried: the solution and its equivalents."""
        return self.equivalents + 1


def fingerprint(lab: Lab) -> str:
    """A hash of all that decides what a certificate says: the spec, solution, mistakes, equivalents, lab.toml."""
    total = hashlib.sha256()
    for path in sorted([*lab.folder.glob("*.py"), lab.file("lab.toml")]):
        if path.name != "lab.py" and not path.name.startswith("."):
            total.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def kept(base: Path) -> dict[str, Certificate]:
    """The certificates of the last reports, by lab."""
    path = base / "phases" / DATA
    rows = json.loads(path.read_text("utf-8")) if path.exists() else []
    return {row["lab"]: Certificate(**row) for row in rows}


def keep(made: list[Certificate], base: Path) -> str:
    """Put new certificates beside those of labs that were not run now; returns the page to be published."""
    known = {lab.id for lab in catalog.labs(base)}
    every = {i: c for i, c in kept(base).items() if i in known}
    for c in made:
        old = every.get(c.lab)
        if c.problems or old is None or old.problems or old.files != c.files or old.seeds <= c.seeds:
            if old is not None and old.files == c.files:
                c.salts, c.salted, c.salted_of = old.salts, old.salted, old.salted_of
            every[c.lab] = c
    return _write(every, base)


def keep_salted(lab: Lab, salts: int, accepted: int, of: int, base: Path) -> str:
    """Put what grading salts said of a lab's right versions into its certificate; returns the page."""
    every = kept(base)
    if lab.id not in every or every[lab.id].files != fingerprint(lab):
        raise LabError(f"{lab.id} has no certificate as it stands: run `lab verify {lab.id} --report` first.")
    every[lab.id].salts, every[lab.id].salted, every[lab.id].salted_of = salts, accepted, of
    return _write(every, base)


def _write(every: dict[str, Certificate], base: Path) -> str:
    ordered = [every[i] for i in sorted(every, key=catalog.order)]
    text = json.dumps([asdict(c) for c in ordered], indent=1)
    (base / "phases" / DATA).write_text(text + "\n", encoding="utf-8", newline="\n")
    return page(ordered, base)


def table(made: list[Certificate]) -> str:
    """Markdown: one row a lab."""
    rows = [
        "| lab | tasks | tests | wrong versions caught | named rightly | second wordings named "
        "| right versions accepted | seeds | on grading salts | CPU s a spec |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for c in made:
        rows.append(
            f"| {c.lab} {c.title} | {c.tasks} | {c.tests} | {c.caught}/{c.wrong} | {c.named}/{c.mistakes} "
            f"| {c.named_alike}/{c.alikes} | {c.accepted}/{c.right} | {c.seeds} | {_salted(c)} | {c.spec_seconds:.2f} |"
        )
    return "\n".join(rows)


def _salted(c: Certificate) -> str:
    return f"{c.salted}/{c.salted_of} on {c.salts}" if c.salts else "not tried"


def page(made: list[Certificate], base: Path) -> str:
    """The published report: both error rates, and what each lab was tried against."""
    wrong, right = sum(c.wrong for c in made), sum(c.right for c in made)
    passed, refused = wrong - sum(c.caught for c in made), right - sum(c.accepted for c in made)
    parts = [
        "# Certified both ways",
        f"Wrong versions that pass: **{passed} of {wrong}**.  "
        f"Right versions that are refused: **{refused} of {right}**.",
        "Each version ran over as many seeds as the table says; a seed draws every size and number anew.  This page is "
        f"written by `lab verify --report`, with its data in {DATA}.  `make test` repeats it on 3 seeds for a lab that has "
        "changed since; for the others on 1, with a quarter of the versions, other ones each day.  `make test-full` tries "
        "the changed ones on 50 seeds, the others whole on 3.",
        "A class is graded on a seed that a secret salt stands for.  *On grading salts* says how many right versions, "
        "counted task by task with the solution, kept full marks on every one of so many salts "
        "(`lab verify --salts 50 --report`).",
        "A wrong version is a mistake of the lab's list or another wording of one.  The list was written by the lab's "
        "authors, so these rates say nothing about mistakes that nobody thought of.",
        table(made),
    ]
    for c in made:
        lab = catalog.find(base, c.lab)
        parts.append(f"## {c.lab} {c.title}")
        listed = variants.mistakes(lab)
        for t in lab.tasks:
            says = [f"- `{m.name}`: {m.says}" for m in listed.values() if m.task == t.name]
            same = [f"`{e.name}`" for e in variants.equivalents(lab) if e.task == t.name]
            parts.append(f"**{t.name}** accepts {', '.join(same)}, and catches\n\n" + "\n".join(says))
    return "\n\n".join(parts) + "\n"


def show(made: list[Certificate]) -> None:
    """Columns for the terminal, both error rates, and one line for each thing that is not in order."""
    rows: list[tuple[Any, ...]] = [("lab", "wrong caught", "named", "wordings", "right accepted", "spec", "whole")]
    for c in made:
        rows.append(
            (c.lab, f"{c.caught}/{c.wrong}", f"{c.named}/{c.mistakes}", f"{c.named_alike}/{c.alikes}",
             f"{c.accepted}/{c.right}", f"{c.spec_seconds:.2f} s", f"{c.seconds:.0f} s")
        )  # fmt: skip
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(
                f"{cell:>{w}}" if i else f"{cell:{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
        )
    wrong, right = sum(c.wrong for c in made), sum(c.right for c in made)
    seeds = " or ".join(str(n) for n in sorted({c.seeds for c in made}))
    print(
        f"\nwrong versions that pass: {wrong - sum(c.caught for c in made)} of {wrong}   "
        f"right versions that are refused: {right - sum(c.accepted for c in made)} of {right}   ({seeds} seeds)"
    )
    for c in made:
        for text in c.problems:
            print(f"✗ {c.lab}  {text}")
