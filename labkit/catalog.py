"""Finds the labs of this repository, reads each lab.toml, and knows which comes next.

A lab is a folder phases/phase-NN-*/lab-NN-*/ with a lab.toml.  What lab.toml says is checked here, so that an author's
slip is one sentence with the file's name in it and not a KeyError far away.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HINTS = ("a nudge", "the plan", "the shape of the code")
ANSWERS = ("solution.py", "mistakes.py", "equivalents.py")  # what a course's repository is made without
EMPTY = "scaffold.py"  # what it has instead of them: lab.py as it was given out
COURSE = "course.json"  # at its root: what it was made of


class LabError(Exception):
    """Something that keeps `lab` from doing its work, in one sentence that says what to do."""


@dataclass(frozen=True)
class Task:
    name: str
    points: int
    hints: tuple[str, ...]
    writes: tuple[str, ...]  # the functions of lab.py that the learner fills in for it
    after: tuple[str, ...]
    forbidden: tuple[str, ...]


@dataclass(frozen=True)
class Lab:
    id: str
    title: str
    why: str
    difficulty: int
    minutes: int
    concepts: tuple[str, ...]
    needs: tuple[str, ...]
    extras: tuple[str, ...]
    tasks: tuple[Task, ...]
    folder: Path

    @property
    def points(self) -> int:
        return sum(t.points for t in self.tasks)

    @property
    def phase(self) -> str:
        """The first heading of the phase's README; without one, `phase-01-foundations` → `Phase 1 · Foundations`."""
        page = self.folder.parent / "README.md"
        if page.exists() and (head := page.read_text(encoding="utf-8").split("\n")[0]).startswith("# "):
            return head.removeprefix("# ")
        _, number, *words = self.folder.parent.name.split("-")
        return f"Phase {int(number)} · {' '.join(words).capitalize()}"

    @property
    def closed(self) -> bool:
        """A lab of a course's repository (see course): without its answers, and with two hints a task."""
        return (self.folder / EMPTY).is_file() and not (self.folder / "solution.py").exists()

    @property
    def outline(self) -> Path:
        """Where the lab's names, signatures and imports stand: solution.py, or in a course's repository the empty lab.py."""
        return self.folder / (EMPTY if self.closed else "solution.py")

    def file(self, name: str) -> Path:
        """A file of the lab's, there or not.  LabError: an answer, which a course's repository does not have."""
        if name in ANSWERS and self.closed:
            raise LabError(f"This is a course's repository: lab {self.id} has no {name} here.")
        return self.folder / name

    def task(self, name: str) -> Task:
        """A task by its name, or by a function that belongs to it."""
        for t in self.tasks:
            if name == t.name or name in t.writes or name in {w.split(".")[0] for w in t.writes}:
                return t
        names = [t.name for t in self.tasks]
        raise LabError(f"Lab {self.id} has no task {name!r}.{_nearest(name, names)} Its tasks: {', '.join(names)}.")

    @cached_property
    def missing_extras(self) -> list[str]:
        """Packages this lab needs beyond the core that are not installed here."""
        return [name for name in self.extras if importlib.util.find_spec(name) is None]

    @cached_property
    def modules(self) -> list[str]:
        """What the lab and its probes import at their top: worth importing once, before processes are forked."""
        found = [m for path in (self.outline, self.file("test_lab.py")) for m in _imports(path)]
        return [m for m in dict.fromkeys(found) if not any(m == b or m.startswith(b + ".") for b in self.forbidden)]

    @cached_property
    def forbidden(self) -> list[str]:
        """What any of its tasks forbids."""
        return list(dict.fromkeys(name for t in self.tasks for name in t.forbidden))


def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else []:
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module not in (None, "__future__", "labkit.spec"):
            found.append(str(node.module))
    return found


def root(start: Path | None = None) -> Path:
    """The repository's root: the nearest folder upwards that holds phases/, else the one labkit is installed from."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, Path(__file__).resolve().parent.parent):
        if (folder / "phases").is_dir() and (folder / "labkit").is_dir():
            return folder
    raise LabError("No phases/ folder here or above. Run `lab` inside the repository.")


def is_course(base: Path) -> bool:
    """Whether this is a course's repository, without answers."""
    return (base / COURSE).is_file()


def for_authors(base: Path, what: str) -> None:
    """LabError in a course's repository, whose labs are made elsewhere."""
    if is_course(base):
        raise LabError(f"This is a course's repository, without the answers that {what} works on: its authors do that.")


def labs(base: Path) -> list[Lab]:
    """All labs, in the order in which they are worked."""
    found = [read(path.parent) for path in base.glob("phases/phase-*/lab-*/lab.toml")]
    ids = [lab.id for lab in found]
    if twice := {i for i in ids if ids.count(i) > 1}:
        raise LabError(f"Two labs have the id {min(twice)}.")
    return sorted(found, key=lambda lab: order(lab.id))


def order(lab_id: str) -> tuple[int, ...]:
    """`10.2` comes after `9.1`."""
    return tuple(int(part) for part in lab_id.split("."))


def find(base: Path, lab_id: str) -> Lab:
    """The lab of this id (`1.1`), or of this folder."""
    every = labs(base)
    for lab in every:
        if lab.id == lab_id or (Path(lab_id).is_dir() and lab.folder == Path(lab_id).resolve()):
            return lab
    ids = [lab.id for lab in every]
    raise LabError(f"There is no lab {lab_id}.{_nearest(lab_id, ids)} `lab list` shows all.")


def read(folder: Path) -> Lab:
    """One lab.toml, checked."""
    path = folder / "lab.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        common = tuple(data.get("forbidden", ()))
        tasks = tuple(_task(t, common) for t in data["task"])
        lab = Lab(
            id=data["id"],
            title=data["title"],
            why=data["why"],
            difficulty=data["difficulty"],
            minutes=data["minutes"],
            concepts=tuple(data["concepts"]),
            needs=tuple(data["needs"]),
            extras=tuple(data["extras"]),
            tasks=tasks,
            folder=folder.resolve(),
        )
        if not isinstance(lab.id, str):
            raise ValueError(f'the id stands in quotes: id = "{lab.id}"')
        order(lab.id)
    except KeyError as e:
        raise LabError(f"{path}: {e.args[0]} is missing.") from None
    except (tomllib.TOMLDecodeError, ValueError) as e:
        raise LabError(f"{path}: {e}.") from None
    names = [t.name for t in tasks]
    if len({*names}) < len(names):
        raise LabError(f"{path}: two tasks have the same name.")
    for t in tasks:
        hints = HINTS[:-1] if lab.closed else HINTS
        if len(t.hints) != len(hints):
            raise LabError(
                f"{path}: task {t.name} has {len(t.hints)} hints; it takes {len(hints)}: {', '.join(hints)}."
            )
        if unknown := set(t.after) - set(names[: names.index(t.name)]):
            raise LabError(f"{path}: task {t.name} comes after {min(unknown)}, which is not an earlier task.")
    return lab


def _task(data: dict[str, Any], common: tuple[str, ...]) -> Task:
    return Task(
        name=data["name"],
        points=data["points"],
        hints=tuple(data["hints"]),
        writes=tuple(data.get("writes", [data["name"]])),
        after=tuple(data.get("after", ())),
        forbidden=(*common, *data.get("forbidden", ())),
    )


def _nearest(word: str, words: list[str]) -> str:
    near = [w for w in words if w.startswith(word)] or difflib.get_close_matches(word, words, n=1)
    return f" Did you mean {near[0]}?" if near else ""
