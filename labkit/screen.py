"""A page that is drawn over the last one on a terminal, and lines where there is none."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import unicodedata
from typing import TextIO


class Screen:
    """Draws a page over the last one, line by line, so that nothing flickers.  Without a terminal: plain lines, once."""

    def __init__(self, out: TextIO) -> None:
        self.out, self.live = out, out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._fresh = True

    def draw(self, page: str) -> None:
        """The whole page; what does not fit on the screen is cut at its end."""
        if not self.live:
            return
        size = shutil.get_terminal_size()
        lines = page.rstrip("\n").split("\n")
        if len(lines) > size.lines - 1:
            lines = [*lines[: size.lines - 2], "  … more: lab check shows all of it"]
        body = "".join(f"{crop(line.expandtabs(), size.columns)}\033[K\n" for line in lines)
        start = "\033[2J\033[H" if self._fresh else "\033[H"
        self._fresh = False
        self.out.write(f"{start}{body}\033[J")
        self.out.flush()

    def leave(self, words: str) -> None:
        """A last line on stderr, below the page."""
        print(f"{chr(10) * self.live}{words}", file=sys.stderr)

    def again(self) -> None:
        """Something else has been written on the screen: the next page clears it."""
        self._fresh = True

    def line(self, text: str) -> None:
        """For those who read a log: a line as things happen."""
        if not self.live:
            print(text, file=self.out, flush=True)


def crop(line: str, width: int) -> str:
    """The line without what would wrap; escape codes take no room, Chinese and emoji take two columns."""
    used, kept = 0, ""
    for part in re.split(r"(\033\[[0-9;]*m)", line):
        if part.startswith("\033"):
            kept += part
            continue
        for c in part:
            used += 0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
            kept += c if used <= width else ""
    return kept


class Page(io.StringIO):
    """Text that is coloured exactly when the screen it is for is."""

    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def isatty(self) -> bool:
        return self._colour
