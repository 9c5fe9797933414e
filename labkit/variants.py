"""The authors' other versions of a lab: mistakes that must be caught, second wordings of them, and equivalents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.catalog import Lab, LabError
from labkit.child import load
from labkit.remote import Box


@dataclass(frozen=True)
class Variant:
    """One function of mistakes.py or equivalents.py that stands in for `of` in solution.py."""

    name: str
    task: str
    of: str
    file: str
    says: str = ""
    alike: str = ""  # the mistake that this is another wording of
    lab: Lab | None = None

    def setup(self, box: Box) -> None:
        """Loads the solution with this variant in it."""
        assert self.lab is not None
        box.load(self.lab.file("solution.py"), variants=self.lab.file(self.file))
        box.swap(self.name)


def mistakes(lab: Lab) -> dict[str, Variant]:
    """By name, in the order in which they are written."""
    return {v.name: v for v in _read(lab, "mistakes.py", "mistake")}


def alikes(lab: Lab) -> list[Variant]:
    listed = mistakes(lab)
    found = []
    for name, f in _functions(lab, "mistakes.py").items():
        if base := getattr(f, "alike", ""):
            if base not in listed:
                raise LabError(f"{lab.file('mistakes.py')}: {name} is alike {base}, which is not a mistake there.")
            m = listed[base]
            found.append(Variant(name, m.task, m.of, "mistakes.py", m.says, base, lab))
    return found


def equivalents(lab: Lab) -> list[Variant]:
    return _read(lab, "equivalents.py", "equivalent")


def _read(lab: Lab, file: str, kind: str) -> list[Variant]:
    tasks = {t.name for t in lab.tasks}
    found = []
    for name, f in _functions(lab, file).items():
        if not hasattr(f, kind):
            continue
        if f.task not in tasks:
            raise LabError(f"{lab.file(file)}: {name} belongs to {f.task!r}, which is no task.")
        found.append(Variant(name, f.task, f.of, file, getattr(f, "says", ""), lab=lab))
    return found


def _functions(lab: Lab, file: str) -> dict[str, Any]:
    """Everything in the file: a variant may be a function, a classmethod or a class."""
    try:
        module = load(str(lab.file(file)), f"{file[:-3]}_{lab.id.replace('.', '_')}", keep=True)
    except Exception as e:  # whatever an author's file may raise
        raise LabError(f"{lab.file(file)} does not load: {type(e).__name__}: {e}") from e
    return vars(module)
