"""The reader's pager, or one that is there."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path


def chosen() -> list[str]:
    """The command in $PAGER, else less, else more; nothing where there is none, or where none is wanted."""
    if os.environ.get("TERM") == "dumb":
        return []
    if "PAGER" in os.environ:
        try:
            return shlex.split(os.environ["PAGER"])
        except ValueError:  # a quote that is not closed
            return []
    return next(([name] for name in ("less", "more") if shutil.which(name)), [])


def colours(words: list[str]) -> bool:
    """Whether it shows escape codes as colours; of other pagers than less that is not known."""
    return Path(words[0]).name == "less"


def run(words: list[str], text: str) -> bool:
    """Shows the text and waits until the reader is done.  False if the pager could not be started."""
    # R: colours are colours.  S: code that is too wide is cut, and → shows the rest.  The reader's own options come last.
    environment = {**os.environ, "LESS": f"-RS {os.environ.get('LESS', '')}"}
    encoding = sys.stdout.encoding
    try:
        pager = subprocess.Popen(
            words, stdin=subprocess.PIPE, env=environment, text=True, encoding=encoding, errors="replace"
        )
    except OSError:
        return False
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
    try:
        pager.communicate(text)
    finally:
        signal.signal(signal.SIGINT, before)
    return True
