"""Run on my code: a finished lab.py as a part of later labs and capstones.  The one door from one lab to another.

    def main() -> None:
        from labkit import mine  # here: a lab that is only being checked has no need of it

        parser.add_argument("--on", default="reference", metavar="WHOSE", help=mine.HELP)
        ...
        try:
            on = mine.parse(arguments.on, offers=("tokenizer", "model"))  # prints one line a part: whose it is
        except mine.LabError as e:  # one line: which lab, why, what to type
            sys.exit(str(e))
        tokenizer = on.module("tokenizer")  # the learner's lab.py of lab 5.1 as a module, or None: take the library's

What the parts are is the curriculum's business and stands in phases/parts.toml: each part's lab, and what the library
has in its place.  A part is yours when the bytes of lab.py are those that passed the lab's whole spec; that spec is all
that a caller may rely on.  What is asked for and cannot be had is an error: nothing stands in for it in silence.
Does not: adapt interfaces (the lab that uses a part knows both sides), or keep a file from doing harm (it is your own).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from labkit import catalog, child
from labkit.catalog import Lab, LabError
from labkit.progress import Progress

__all__ = ["HELP", "LabError", "On", "load", "parse"]

HELP = "whose parts it runs on: reference (the library's), mine (your finished labs), or a choice: mine:tokenizer,model"


@dataclass(frozen=True)
class On:
    """Whose parts a run is on: for each part on offer the learner's module, or None for the library's."""

    modules: dict[str, ModuleType | None]

    def module(self, part: str) -> ModuleType | None:
        """The learner's lab.py for this part; None: take the library's.  KeyError: a part that was not offered."""
        return self.modules[part]


def parse(text: str, offers: Sequence[str]) -> On:
    """Reads `--on`, loads what it asks for, and prints one line a part: whose it is.

    text: "reference", "mine" (all that is offered), or "mine:tokenizer,model".  offers: the parts that the caller can
    take from a learner, in the order in which they are printed.  LabError: a word that means nothing here, or a part
    that is not the learner's yet; in that case nothing was printed.
    """
    wanted = _wanted(text, offers)
    base = catalog.root()
    parts = _parts(base)
    modules: dict[str, ModuleType | None] = dict.fromkeys(offers)
    refused: list[str] = []
    for part in wanted:
        try:
            modules[part] = load(parts[part][0])
        except LabError as e:
            refused.append(f"{part}: {e}")
    if refused:
        ready = ",".join(part for part in wanted if modules[part])
        raise LabError(refused[0] + (f"  (What has passed: --on mine:{ready})" if ready else ""))
    wide = max(map(len, offers), default=0)
    for part, module in modules.items():
        lab_id, library = parts[part]
        whose = _yours(base, lab_id) if module else f"the library's ({library})"
        print(f"{part:{wide}}   {whose}")
    return On(modules)


def load(lab_id: str) -> ModuleType:
    """The learner's lab.py of this lab as a module, `mine_5_1` for lab 5.1, if these very bytes passed the whole spec.

    The repository is the one that `lab` would work in.  LabError, in one line: there is no such lab, nothing is written
    yet, it was never checked, a task has not passed, the file has changed since, or it cannot be loaded.
    """
    base = catalog.root()
    lab = catalog.find(base, lab_id)
    try:
        data = lab.file("lab.py").read_bytes()
    except OSError:
        raise LabError(f"Lab {lab_id}: there is no lab.py that can be read.  A new one: lab reset {lab_id}") from None
    if why := Progress(base).refusal(lab, hashlib.sha256(data).hexdigest()):
        raise LabError(f"Lab {lab_id}: {why}")
    return _module(lab, data)


def _module(lab: Lab, data: bytes) -> ModuleType:
    """These bytes, not the file again: it may be saved anew between the check of its hash and here."""
    path, name, printed = str(lab.file("lab.py")), f"mine_{lab.id.replace('.', '_')}", io.StringIO()
    trouble = ""
    try:
        with contextlib.redirect_stdout(printed):
            module = child.load(path, name, code=data)
    except KeyboardInterrupt:
        raise
    except SystemExit:
        trouble = "calls sys.exit"
    except BaseException as e:  # what its author forbids itself is for its author to read, in one line
        trouble = " ".join(f"raises {type(e).__name__}: {e}".split())
    if said := printed.getvalue().strip():
        trouble = trouble or f"prints {said.splitlines()[0][:60]!r}"
    if trouble:
        sys.modules.pop(name, None)
        below = 'what runs belongs under `if __name__ == "__main__":`'
        raise LabError(f"Lab {lab.id}: your lab.py {trouble} while it is loaded; {below}.  Then: lab check {lab.id}")
    return module


def _wanted(text: str, offers: Sequence[str]) -> list[str]:
    """The parts that `--on` asks for, in the order of the offer."""
    whose, colon, names = text.partition(":")
    asked = [name.strip() for name in names.split(",")] if colon else list(offers)
    if whose not in ("reference", "mine") or (whose == "reference" and colon):
        raise LabError(f"--on {text}: it takes reference, mine, or mine:{','.join(offers)}")
    if unknown := [name for name in asked if name not in offers]:
        raise LabError(f"--on {text}: no part {unknown[0]!r} can be yours here; those that can: {', '.join(offers)}")
    return [part for part in offers if whose == "mine" and part in asked]


def _parts(base: Path) -> dict[str, tuple[str, str]]:
    """Part → (the lab whose lab.py it is, the library's module in its place)."""
    path = base / "phases" / "parts.toml"
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
        return {part: (str(row["lab"]), str(row["library"])) for part, row in rows.items()}
    except FileNotFoundError:
        raise LabError(f"There is no {path}, which says whose lab each part is.") from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as e:
        what = e if isinstance(e, tomllib.TOMLDecodeError) else f"a part has lab and library ({e})"
        raise LabError(f"{path}: {what}.") from None


def _yours(base: Path, lab_id: str) -> str:
    lab = catalog.find(base, lab_id)
    date = Progress(base).passed_on(lab)
    return f"yours ({lab_id}, {lab.file('lab.py').relative_to(base).as_posix()}, passed{date and ' ' + date})"
