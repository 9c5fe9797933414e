"""The folder that a run of `lab grade` writes: what it was asked, and each verdict as soon as it is there.

run.json             what this run is: its salt; only for the instructor
index.json           whose verdict for which lab is which
verdicts/KEY.json    a verdict; KEY names all that decides it, so the same file is never graded twice
verdicts/KEY.obs     the observations behind it, for `lab regrade --why`
files/HASH.py        what was handed in, for `lab regrade`
variants/            the labs' variants that were graded, with their answers
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labkit import scaffold
from labkit.catalog import LabError
from labkit.grading.records import Verdict

RUN = "run.json"


class Store:
    """A results folder that is this command's own.  Every file in it is whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.verdicts, self.files = folder / "verdicts", folder / "files"

    @classmethod
    def open(cls, folder: Path, salt: str, resume: bool, secret: str = "") -> tuple[Store, str]:
        """The store, and the salt of its run: the one given, the one that `resume` finds, or a new one.

        `secret` is that of the variants, or "": one run has one, since with another every student has another lab.
        """
        secret = hashlib.sha256(f"secret {secret}".encode()).hexdigest()[:16] if secret else ""
        run = folder / RUN
        if run.is_file():
            if not resume:
                raise LabError(
                    f"{folder} holds the results of an earlier run.  --resume goes on with them and grades only what "
                    "is new; another --out begins afresh."
                )
            kept = _read(run).get("salt")
            if not isinstance(kept, str):
                raise LabError(f"{run} cannot be read.  Another --out begins afresh.")
            if salt and salt != kept:
                raise LabError(f"{folder} was graded with another --seed-salt; marks of two salts do not go together.")
            salt = kept
            before = _read(run).get("secret", "")
            if secret != before:
                how = "with another secret" if secret and before else "without --vary" if secret else "with --vary"
                raise LabError(
                    f"{folder} was graded {how}: the same file would be judged as another lab.  Take another --out."
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise LabError(f"{folder} is not empty and holds no results.  Name a new folder with --out.")
        store = cls(folder)
        salt = salt or secrets.token_hex(8)
        try:
            for place in (store.verdicts, store.files):
                place.mkdir(parents=True, exist_ok=True)
            scaffold.write(
                run,
                json.dumps({"what": "results of lab grade", "version": 1, "salt": salt, "secret": secret}, indent=1)
                + "\n",
            )
        except OSError as e:
            raise LabError(f"Results cannot be written: {e.strerror}: {e.filename}.") from None
        return store, salt

    def get(self, key: str) -> Verdict | None:
        """The verdict of this name, if it was reached before."""
        path = self.verdicts / f"{key}.json"
        try:
            return Verdict.from_json(_read(path)) if path.is_file() else None
        except (TypeError, KeyError):
            return None

    def keep(self, key: str, verdict: Verdict, observations: bytes) -> None:
        """The observations first: a verdict that is there can be replayed."""
        scaffold.write(self.verdicts / f"{key}.obs", observations)
        scaffold.write(self.verdicts / f"{key}.json", json.dumps(verdict.as_json()))

    def keep_index(self, names: dict[tuple[str, str], str]) -> None:
        """(student, lab) → the name of the verdict, whether or not it is there yet."""
        index: dict[str, dict[str, str]] = {}
        for (student, lab), name in names.items():
            index.setdefault(student, {})[lab] = name
        scaffold.write(self.folder / "index.json", json.dumps(index, indent=1))

    def index(self) -> dict[str, dict[str, str]]:
        """student → lab → the name of the verdict."""
        if not (self.folder / RUN).is_file():
            raise LabError(f"{self.folder} holds no results of lab grade.")
        return _read(self.folder / "index.json")

    def salt(self) -> str:
        return str(_read(self.folder / RUN).get("salt", ""))

    def variant(self, lab: str, dials: Iterable[str]) -> Path:
        """Where the variant of a lab with these dials is, or is to be."""
        return self.folder / "variants" / "-".join([lab, *dials])

    def keep_file(self, data: bytes) -> None:
        path = self.files / f"{hashlib.sha256(data).hexdigest()}.py"
        if not path.exists():
            scaffold.write(path, data)

    def file(self, name: str) -> bytes:
        """What was handed in, by its hash."""
        try:
            return (self.files / f"{name}.py").read_bytes()
        except OSError:
            raise LabError(f"The file itself is not in {self.files}.") from None

    def observations(self, key: str) -> bytes:
        try:
            return (self.verdicts / f"{key}.obs").read_bytes()
        except OSError:
            raise LabError(f"The observations behind this verdict are not in {self.verdicts}.") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
