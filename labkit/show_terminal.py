"""A lesson in the terminal: rendered by rich, formulas in Unicode, diagrams as their arrows, answers folded."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.markdown import Heading, Markdown, TableElement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from labkit import mermaid, tex
from labkit.show import Page, map_formulas, parts

WIDTH = 100  # columns at most: longer lines are hard to read
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def show(page: Page, answers: bool) -> None:
    """Prints it; through $PAGER (less -R) when stdout is a terminal that is too short for it."""
    # In colour only for a terminal, whatever the environment says: a pipe gets plain text.
    console = Console(
        width=min(shutil.get_terminal_size((80, 24)).columns, WIDTH),
        force_terminal=sys.stdout.isatty() and None,
        no_color=True if not sys.stdout.isatty() else None,
        highlight=False,
        emoji=False,
    )
    made = list(render(page, answers))
    with console.capture() as captured:
        for part in made:
            console.print(part)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n") + "\n"
    if sys.stdout.isatty() and text.count("\n") >= shutil.get_terminal_size().lines:
        os.environ.setdefault("PAGER", "less")
        os.environ.setdefault("LESS", "-R")
        import pydoc

        pydoc.pager(text)
    else:
        sys.stdout.write(text)


def render(page: Page, answers: bool) -> Iterator[RenderableType]:
    """The parts of a page, as rich prints them."""
    yield from _render(page.text, page, answers)


def _render(text: str, page: Page, answers: bool) -> Iterator[RenderableType]:
    for part in parts(text):
        match part.kind:
            case "math":
                yield Padding(Text(tex.text(part.text)), (1, 0, 1, 4))
            case "mermaid":
                yield Padding(Text("\n".join(mermaid.listing(part.text))), (1, 0, 1, 4))
            case "details" if answers:
                yield Padding(Text(f"▾ {part.head}", style="bold"), (1, 0, 0, 0))
                for inner in _render(part.text, page, answers):
                    yield Padding(inner, (0, 0, 0, 2))
            case "details":
                yield Padding(Text(f"▸ {part.head}  (folded: {page.answers})", style="italic"), (1, 0, 1, 0))
            case _:
                yield Lesson(_inline(part.text), code_theme="ansi_dark", hyperlinks=False)


def _inline(markdown: str) -> str:
    """Formulas, pictures, comments and the little HTML that lessons use, as Markdown that rich understands."""
    text = map_formulas(markdown, lambda formula: SPECIAL.sub(r"\\\1", tex.text(formula).replace("\n", "; ")))
    done = []
    for k, block in enumerate(
        re.split(r"(^ *(?:`{3,}|~{3,}).*?^ *(?:`{3,}|~{3,})[ \t]*$|`[^`\n]+`)", text, flags=re.M | re.S)
    ):
        if k % 2 == 0:
            block = re.sub(r"<!--.*?-->", "", block, flags=re.S)
            block = re.sub(r"<br\s*/?>", " ", block)
            block = re.sub(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)", _picture, block)
            block = re.sub(r"<img\s[^>]*?src=[\"']([^\"']+)[\"'][^>]*>", r"picture: \1", block)
            block = re.sub(r"<sub>(.*?)</sub>", lambda m: "".join(tex.SUB.get(c, c) for c in m[1]), block)
            block = re.sub(r"<sup>(.*?)</sup>", lambda m: "".join(tex.SUPER.get(c, c) for c in m[1]), block)
            block = re.sub(r"</?(?:kbd|b|i|em|strong|small|p|div|center|span|u)(?:\s[^>]*)?>", "", block)
        done.append(block)
    return "".join(done)


def _picture(found: re.Match[str]) -> str:
    words = f" ({found[1]})" if found[1] else ""
    return f"picture: {SPECIAL.sub(chr(92) + chr(92) + '1', found[2])}{words}"


class LessonTable(TableElement):
    """A table with lines between its rows where a row takes more than one, so that 80 columns stay readable."""

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        for table in super().__rich_console__(console, options):  # type: ignore[arg-type]
            if isinstance(table, Table):
                table.expand = False
                table.pad_edge = False
                natural = console.measure(table).maximum
                table.show_lines = natural > console.width
            yield table  # type: ignore[misc]


class LessonHeading(Heading):
    """A heading at the left that can be told from text without colours: the two largest are underlined."""

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        line = {"h1": "═", "h2": "─"}.get(self.tag, "")
        if self.tag != "h1":
            yield Text("")
        yield self.text.copy()
        if line:
            yield Text(line * min(self.text.cell_len, console.width), style=self.text.style)


class Lesson(Markdown):
    """Markdown with these headings and tables."""

    elements = {**Markdown.elements, "table_open": LessonTable, "heading_open": LessonHeading}
