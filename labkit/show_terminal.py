"""A lesson in the terminal: rendered by rich, formulas in Unicode, diagrams as their arrows, answers folded.

Prose is at most WIDTH columns wide.  Code is never wrapped, so that it can be read and copied: in the pager, which cuts
what is too wide, → shows the rest of it.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text
from rich.theme import Theme

from labkit import mermaid, pager, tex
from labkit.report import as_typed
from labkit.show import SPAN, Page, map_formulas, outside_code, parts
from labkit.show_elements import Lesson

WIDTH = 100  # columns at most: longer lines are hard to read
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
# Legible on dark and on light: no background, and no underline where a line is drawn already.
STYLES = {"markdown.code": "cyan", "markdown.h1": "bold magenta", "markdown.h2": "bold magenta", "markdown.h3": "bold"}
KEPT = 0xF0000  # from here on, a character stands for a line of code until all else is laid out
ASCII = {
    "═": "=",
    "─": "-",
    "→": "->",
    "←": "<-",
    "▸": ">",
    "▾": "v",
    "▌": "|",
    "•": "*",
    "·": "-",
    "…": "...",
    "×": "x",
}
ASCII |= {
    "−": "-",
    "–": "-",
    "⭐": "*",
    "☆": ".",
    "✓": "+",
    "✗": "x",
    "“": '"',
    "”": '"',
    "’": "'",
    "≈": "~",
    "½": "1/2",
}
ASCII |= {"≤": "<=", "≥": ">=", "\u2003": " ", "¼": "1/4", "±": "+-", "∞": "inf", "√": "sqrt "}


def show(page: Page, answers: bool) -> None:
    """Prints it; through a pager when stdout is a terminal that is too short for it."""
    terminal = sys.stdout.isatty()
    text = _text(page, answers, coloured=terminal)
    words = pager.chosen() if terminal and text.count("\n") >= shutil.get_terminal_size().lines else []
    if words and not pager.colours(words):
        text = _text(page, answers, coloured=False)
    if not words or not pager.run(words, text):
        sys.stdout.write(text)


def _text(page: Page, answers: bool, coloured: bool) -> str:
    """The whole page as it is printed."""
    # Where there is no colour nothing else is marked up either, whatever the environment says.
    console = Console(
        width=min(shutil.get_terminal_size((80, 24)).columns, WIDTH),
        color_system="auto" if coloured else None,
        theme=Theme(STYLES),
        highlight=False,
        emoji=False,
    )
    drawing = Drawing(page, answers, coloured, _can("═─→▸•", sys.stdout.encoding), console.width)
    with console.capture() as captured:
        for part in drawing.parts(page.text):
            console.print(part)
    code: dict[int, str] = {}
    for i, line in enumerate(drawing.code):
        with console.capture() as one:
            console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        code[KEPT + i] = one.get()
    text = "\n".join(line.rstrip() for line in captured.get().translate(code).splitlines()).strip("\n") + "\n"
    return "".join(c if _can(c, sys.stdout.encoding) else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    """What stands for it on a terminal that does not have it; itself where nothing does, and then it becomes a ?."""
    base = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return ASCII.get(character) or (f"^{base}" if character in "¹²³⁴⁵⁶⁷⁸⁹⁰" else base) or character


def _can(characters: str, encoding: str | None) -> bool:
    try:
        characters.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class Drawing:
    """Turns a page into what rich prints.  `code` has the lines of code that stand in it as one character each."""

    def __init__(self, page: Page, answers: bool, coloured: bool, signs: bool, width: int) -> None:
        self.page, self.answers, self.coloured, self.width = page, answers, coloured, width
        self.formula = tex.text if signs else str.strip  # without signs, TeX reads better than question marks
        self.code: list[Text] = []

    def parts(self, text: str) -> Iterator[RenderableType]:
        """The parts of a text, one after the other."""
        for part in parts(text):
            match part.kind:
                case "math":
                    rows = [self._broken(row) for row in self.formula(part.text).splitlines()]
                    yield Padding(Text("\n".join(rows)), (1, 0, 1, 4))
                case "mermaid":
                    lines = [
                        textwrap.fill(line, self.width - 4, subsequent_indent=" " * 4)
                        for line in mermaid.listing(part.text)
                    ]
                    yield Padding(Text("\n".join(lines)), (1, 0, 1, 4))
                case "details" if self.answers:
                    yield Padding(Text(f"▾ {part.head}", style="bold"), (1, 0, 0, 0))
                    for inner in self.parts(part.text):
                        yield Padding(inner, (0, 0, 0, 2))
                case "details":
                    command = f"{self.page.command} --answers"
                    yield Padding(Text(f"▸ {part.head}  (folded: {command})", style="italic"), (1, 0, 1, 0))
                case _:
                    yield Lesson(self, part.text)

    def markdown(self, source: str) -> str:
        """Formulas, pictures, comments and the little HTML that lessons use, as Markdown that rich understands."""
        text = map_formulas(source, lambda formula: _escaped(self.formula(formula).replace("\n", "; ")))
        return outside_code(text, lambda stretch: re.sub(f"({SPAN})|((?:(?!`).)+)", _plain, stretch, flags=re.S))

    def _broken(self, row: str) -> str:
        """A formula too long for its line goes on below where its author left room, as with \\quad."""
        return row if cell_len(row) <= self.width - 4 else row.replace("  ", "\n")

    def kept(self, line: Text) -> Text:
        """One character that stands for this line of code: rich would cut the line wherever it is set in."""
        self.code.append(line)
        return Text(chr(KEPT + len(self.code) - 1))

    def address(self, target: str) -> str:
        """A link's target as one would type it; nothing for a place on this page."""
        if re.match(r"[a-z]+:", target):
            return target
        if other := self.page.linked(target):
            return other.command
        file = target.partition("#")[0]
        return as_typed((self.page.path.parent / file).resolve()) if file else ""


def _plain(found: re.Match[str]) -> str:
    if found[1]:
        return found[1]  # a code span
    block = re.sub(r"<!--.*?-->", "", found[0], flags=re.S)
    block = re.sub(r"<br\s*/?>", " ", block)
    block = re.sub(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)", lambda m: _picture(m[2], m[1]), block)
    block = re.sub(r"<img\s[^>]*?src=[\"']([^\"']+)[\"'][^>]*>", lambda m: _picture(m[1], ""), block)
    block = re.sub(r"<sub>(.*?)</sub>", lambda m: "".join(tex.SUB.get(c, c) for c in m[1]), block)
    block = re.sub(r"<sup>(.*?)</sup>", lambda m: "".join(tex.SUPER.get(c, c) for c in m[1]), block)
    return re.sub(r"</?(?:kbd|b|i|em|strong|small|p|div|center|span|u)(?:\s[^>]*)?>", "", block)


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text)


def _picture(path: str, words: str) -> str:
    return f"picture: {_escaped(path)}" + (f" ({words})" if words else "")
