"""When was a file saved?  However the editor does it: in place, by renaming another, in halves, or after taking it away."""

from __future__ import annotations

import ast
import stat
import time
import warnings
from pathlib import Path

SETTLE = 0.4  # a file that is empty or does not parse may be half written: it gets this long to become whole


class Saves:
    """Tells when a file was saved: written, replaced by another of its name, or back after it was gone."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen = self._signature()
        self._since = time.monotonic()
        self._told = False

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            found = self.file.stat()
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):  # a folder of that name is no file to check
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @property
    def gone(self) -> bool:
        return self._seen is None

    def forget(self) -> None:
        """What is there now will be told once more."""
        self._since, self._told = time.monotonic(), False

    def poll(self) -> str:
        """ "saved", "gone", or "" when nothing has changed since.  The first call tells what is there."""
        now = self._signature()
        if now != self._seen:
            self._seen, self._since, self._told = now, time.monotonic(), False
        if self._told:
            return ""
        waited = time.monotonic() - self._since
        if now is None:
            if waited < SETTLE:  # editors take the old file away before they put the new one there
                return ""
            self._told = True
            return "gone"
        if waited < SETTLE and not _whole(self.file):
            return ""
        self._told = True
        return "saved"


def _whole(file: Path) -> bool:
    try:
        data = file.read_bytes()
        with warnings.catch_warnings(action="ignore"):  # "\d" in a string, say: no matter of ours, and the screen is
            ast.parse(data)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(data.strip())
