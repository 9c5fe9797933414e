"""A page that is drawn over the last one on a terminal, and lines where there is none."""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import sys
import unicodedata
from typing import TextIO

ESCAPE = re.compile(r"(\033\[[0-9;]*m)")
RESET = "\033[0m"
Cell = tuple[str, str]  # the escape codes in force, and one character


class Screen:
    """Draws a page over the last one, line by line, so that nothing flickers.  Without a terminal: plain lines, once."""

    def __init__(self, out: TextIO) -> None:
        self.out, self.live = out, out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._fresh = True
        self._size = self.size()

    def size(self) -> tuple[int, int]:
        """(columns, lines) as they are now."""
        size = shutil.get_terminal_size()
        return size.columns, size.lines

    @property
    def resized(self) -> bool:
        """Has the window another size than when it was drawn on?"""
        return self.live and self.size() != self._size

    def draw(self, page: str, foot: str = "") -> None:
        """The page, wrapped, and the foot below it.  When the screen is too small, the page is cut and the foot is not."""
        if not self.live:
            return
        if self.resized:
            self._fresh = True
        self._size = columns, lines = self.size()
        last = _wrapped(foot, columns)[-max(lines - 2, 1) :]
        first = _wrapped(page, columns)
        room = lines - 1 - len(last)
        if len(first) > room:
            hidden = len(first) - room + 1
            first = [*first[: max(room - 1, 0)], crop(f"… {hidden} more lines; a taller window shows them", columns)]
        body = "".join(f"{line}\033[K\n" for line in [*first, *last])
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


def _wrapped(text: str, width: int) -> list[str]:
    if not text.strip("\n"):
        return []
    return [part for line in text.rstrip("\n").split("\n") for part in wrap(line.expandtabs(), width)]


def wrap(line: str, width: int) -> list[str]:
    """The line in pieces of at most `width` columns, broken at spaces where there are any; further ones as indented."""
    cells = _cells(line)
    while cells and cells[-1] == ("", " "):
        cells.pop()
    indent = list(itertools.takewhile(lambda cell: cell[1] == " ", cells))
    indent = indent if len(indent) <= width // 2 else []
    pieces = []
    while (fitting := _fitting(cells, width)) < len(cells):
        head, _, _ = "".join(c for _, c in cells[: fitting + 1]).rpartition(" ")
        end = len(head) if head.strip() else max(fitting, len(indent) + 1)
        pieces.append(_painted(cells[:end]).rstrip(" "))
        cells = indent + list(itertools.dropwhile(lambda cell: cell[1] == " ", cells[end:]))
    return [*pieces, _painted(cells)]


def crop(line: str, width: int) -> str:
    """The line as far as it goes in `width` columns."""
    cells = _cells(line)
    return _painted(cells[: _fitting(cells, width)])


def _cells(line: str) -> list[Cell]:
    cells, codes = [], ""
    for part in ESCAPE.split(line):
        if ESCAPE.fullmatch(part):
            codes = "" if part == RESET else codes + part
        else:
            cells += [(codes, c) for c in part]
    return cells


def _painted(cells: list[Cell]) -> str:
    painted = ""
    for codes, run in itertools.groupby(cells, key=lambda cell: cell[0]):
        painted += codes + "".join(c for _, c in run) + RESET * bool(codes)
    return painted


def _fitting(cells: list[Cell], width: int) -> int:
    """How many cells go into so many columns: Chinese and emoji take two each, accents none."""
    used = 0
    for i, (_, c) in enumerate(cells):
        used += 0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        if used > width:
            return i
    return len(cells)


class Buffer(io.StringIO):
    """Text that is coloured exactly when the screen it is for is."""

    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def isatty(self) -> bool:
        return self._colour
