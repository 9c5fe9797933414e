"""When a file of a student's clone was committed, without trusting the clone.

A repository's own settings and hooks can make git run programs.  So git is pointed at an empty repository made here, and
only the objects are the student's: no hook, no setting, no remote of theirs is ever looked at.  A commit's time is what
the clock of the student's machine said, or what they told git to write: it is a courtesy, not evidence.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from datetime import datetime
from pathlib import Path
from types import TracebackType

PATIENCE = 10.0  # seconds for one repository
SHA = re.compile(r"[0-9a-f]{40}")
REF = re.compile(r"refs/heads/[\w][\w./-]*")
RAW = re.compile(r":\d+ \d+ [0-9a-f]+ ([0-9a-f]+) [A-Z]\d*\t(.*)")


class Clones:
    """Asks clones when files were last changed.  Use it in a `with`."""

    def __enter__(self) -> Clones:
        self.git = shutil.which("git")
        self._own = tempfile.TemporaryDirectory()
        own = Path(self._own.name)
        for folder in ("objects", "refs"):
            (own / folder).mkdir()
        (own / "HEAD").write_text("ref: refs/heads/none\n")
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(own),
            "GIT_DIR": str(own),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "LC_ALL": "C",
        }
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None) -> None:
        self._own.cleanup()

    def times(self, clone: Path, files: dict[str, bytes]) -> dict[str, datetime]:
        """For each path in the clone, when the bytes it has now came to the branch that is checked out.

        Left out: what was changed after the last commit, and everything when git is missing or the clone is shallow,
        linked or damaged.
        """
        head = _head(clone / ".git")
        objects = clone / ".git" / "objects"
        if not (self.git and head and _is_folder(objects)) or (clone / ".git" / "shallow").exists():
            return {}
        # --first-parent: what came by a merge counts from the merge, and merging the course's news changes nothing.
        command = [
            self.git,
            "--literal-pathspecs",
            "-c",
            "core.quotePath=false",
            "log",
            "--first-parent",
            "-m",
            "--raw",
        ]
        command += ["--no-abbrev", "--no-renames", "--format=%x01%cI", head, "--", *files]
        process = subprocess.Popen(
            command,
            env={**self.environment, "GIT_OBJECT_DIRECTORY": str(objects)},
            cwd=self._own.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
        stop = threading.Timer(PATIENCE, process.kill)
        stop.start()
        try:
            return _times(process, files)
        finally:
            stop.cancel()
            process.kill()
            process.communicate()


def _times(process: subprocess.Popen[str], files: dict[str, bytes]) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    left, when = set(files), None
    assert process.stdout
    for line in process.stdout:
        if line.startswith("\x01"):
            try:
                when = datetime.fromisoformat(line[1:].strip())
            except ValueError:
                when = None
        elif (m := RAW.match(line.rstrip("\n"))) and m[2] in left:
            left.remove(m[2])
            if when and m[1] in _blobs(files[m[2]]):
                found[m[2]] = when
            if not left:
                break
    return found


def _blobs(data: bytes) -> set[str]:
    """Git's names for these bytes; on Windows it turns the ends of lines."""
    forms = (data, data.replace(b"\r\n", b"\n"))
    return {hashlib.sha1(b"blob %d\0" % len(d) + d, usedforsecurity=False).hexdigest() for d in forms}


def _head(git: Path) -> str | None:
    """The commit that is checked out, read without following a link."""
    said = _small(git, "HEAD")
    if said.startswith("ref: "):
        name = said[5:].strip()
        if not REF.fullmatch(name) or ".." in name:
            return None
        said = _small(git, *name.split("/")) or _packed(git, name)
    m = SHA.fullmatch(said.strip())
    return m[0] if m else None


def _packed(git: Path, name: str) -> str:
    lines = (line.split(" ", 1) for line in _small(git, "packed-refs").splitlines())
    return next((line[0] for line in lines if len(line) == 2 and line[1] == name), "")


def _small(git: Path, *path: str) -> str:
    here = git
    for part in path[:-1]:
        if not _is_folder(here):
            return ""
        here /= part
    file = here / path[-1]
    if not _is_folder(here) or file.is_symlink() or not file.is_file():
        return ""
    with file.open("rb") as f:
        return f.read(1 << 20).decode("utf-8", errors="replace")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
