"""Tells which lab a file is for: by the folder it lies in, by an id in a name, or by the scaffold it was made from."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from labkit import scaffold
from labkit.catalog import Lab, LabError
from labkit.grading.entries import ARCHIVE

FOLDER = re.compile(r"^lab-\d\d-.+")
LAB_FILE = re.compile(r"^lab(?![a-z]).*\.py$|^\d{1,2}[._]\d{1,2}(?!\d).*\.py$", re.IGNORECASE | re.DOTALL)
ID = re.compile(
    r"lab[ _-]?0*(\d{1,2})[._]0*(\d{1,2})(?!\.?\d)|(?<![\w.])0*(\d{1,2})\.0*(\d{1,2})(?!\.?\d)|^(\d{1,2})_(\d{1,2})\.py$",
    re.IGNORECASE,
)
DOCSTRING = re.compile(r"(?:\s|#[^\n]*\n)*[rRuU]?(?:\"\"\"|''')([^\n]*)")
DEFINED = re.compile(r"^(?:def|class) (\w+)", re.MULTILINE)
NOT_HANDED_IN = {
    "solution.py",
    "test_lab.py",
    "mistakes.py",
    "equivalents.py",
    "conftest.py",
    "setup.py",
    "__init__.py",
}


def is_lab_file(name: str) -> bool:
    """Whether a file of this name is handed in for some lab: lab.py, lab-1.py, lab4.1.py, lab_4_1.py, 4.1.py."""
    return bool(LAB_FILE.match(name))


def could_be_one(name: str) -> bool:
    """Whether a file of another name may be meant, when there is no lab.py: any Python that is not the course's own."""
    return name.endswith(".py") and name not in NOT_HANDED_IN and not name.startswith("test_")


def names_a_lab(folder: str) -> bool:
    """Whether a folder is called as labs are: lab-01-scaled-dot-product-attention."""
    return bool(FOLDER.match(folder))


@dataclass(frozen=True)
class _Scaffold:
    text: str
    title: str  # the first line of its docstring
    defines: frozenset[str]


class Labs:
    """The labs of a course, to be recognised."""

    def __init__(self, labs: list[Lab], only: str | None = None) -> None:
        self.by_id = {lab.id: lab for lab in labs}
        if only is not None and only not in self.by_id:
            raise LabError(f"There is no lab {only}. `lab list` shows all.")
        self.only = only
        self.folders: dict[str, list[Lab]] = defaultdict(list)
        self.scaffolds: dict[str, _Scaffold] = {}
        for lab in labs:
            self.folders[lab.folder.name].append(lab)
            text = _text(scaffold.generate(lab).encode())
            self.scaffolds[lab.id] = _Scaffold(text, _title(text), _defines(text))

    def of(self, path: tuple[str, ...], data: bytes) -> str | None:
        """The id of the lab that a file at this path is for; None when nothing tells.

        A path can name a lab that is not among those to be recognised: that is told too.
        """
        folders = [ARCHIVE.sub("", p) for p in path[:-1]]
        for i in reversed(range(len(folders))):
            hits = self.folders.get(folders[i], [])
            if len(hits) > 1:  # the phase above it tells them apart
                hits = [lab for lab in hits if i and lab.folder.parent.name == folders[i - 1]]
            if len(hits) == 1:
                return hits[0].id
            if names_a_lab(folders[i]):
                return folders[i]
        for part in reversed(path):
            for m in ID.finditer(part):
                major, minor = (int(n) for n in m.groups() if n is not None)
                if f"{major}.{minor}" in self.by_id or m[0][:3].lower() == "lab":
                    return f"{major}.{minor}"
        return self.made_from(data)

    def made_from(self, data: bytes) -> str | None:
        """The one lab whose scaffold this file shares its docstring's first line with, or else all its definitions."""
        text = _text(data)
        title, defines = _title(text), _defines(text)
        titled = [i for i, s in self.scaffolds.items() if title and s.title == title]
        whole = [i for i, s in self.scaffolds.items() if s.defines and s.defines <= defines]
        for hits in (titled, whole):
            if len(hits) == 1:
                return hits[0]
        return None

    def untouched(self, lab: str, data: bytes) -> bool:
        """Whether a file is the scaffold as it was handed out, but for spaces at the ends of lines."""
        return _text(data) == self.scaffolds[lab].text


def _text(data: bytes) -> str:
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


def _title(text: str) -> str:
    m = DOCSTRING.match(text)
    return m[1].strip().removesuffix('"""').removesuffix("'''").strip() if m else ""


def _defines(text: str) -> frozenset[str]:
    return frozenset(DEFINED.findall(text)) - {"main"}
