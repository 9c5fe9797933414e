"""The Markdown of a lesson as rich prints it: code that is not wrapped, tables that leave nothing out, plain headings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from markdown_it.token import Token
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markdown import CodeBlock, Heading, ListItem, Markdown, TableElement
from rich.padding import Padding
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from labkit.show_terminal import Drawing


class LessonCode(CodeBlock):
    """Code, set in by two columns and as wide as it is."""

    drawing: Drawing

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> LessonCode:
        assert isinstance(markdown, Lesson)
        made = cls((token.info or "text").split(" ")[0], markdown.code_theme)
        made.drawing = markdown.drawing
        return made

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        code = Syntax("", self.lexer_name, theme=self.theme).highlight(str(self.text).rstrip())
        code.rstrip()
        for line in code.split("\n", allow_blank=True):
            yield Padding(self.drawing.kept(line), (0, 0, 0, 2))


class LessonTable(TableElement):
    """A table that fits its page: words stay whole if they can, nothing is left out, long rows stand apart."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                table.pad_edge = table.show_edge = False
                cells = [[str(cell) for cell in (column.header, *column.cells)] for column in table.columns]
                natural = [max(cell_len(cell) for cell in column) for column in cells]
                longest = [max(cell_len(word) for cell in column for word in cell.split() or [""]) for column in cells]
                room = options.max_width - GAP * (len(cells) - 1)
                table.show_lines = sum(natural) > room
                for column, width in zip(table.columns, _widths(natural, longest, room), strict=True):
                    column.overflow, column.width = "fold", width
            yield table  # type: ignore[misc]


GAP = 2  # columns of space between two of a table's


def _widths(natural: list[int], longest: list[int], room: int) -> list[int] | list[None]:
    """What each column gets.  None for each where not even the longest words fit.

    Narrow columns get what they want; the others their longest word and a share of what is left.
    """
    if sum(longest) > room:
        return [None] * len(natural)
    widths = list(longest)
    spare = room - sum(longest)
    wishes = sorted((most - least, i) for i, (most, least) in enumerate(zip(natural, longest, strict=True)))
    for n, (wish, i) in enumerate(wishes):
        more = min(wish, spare // (len(wishes) - n))
        widths[i] += more
        spare -= more
    return widths


class LessonHeading(Heading):
    """A heading at the left that can be told from text without colours: the two largest are underlined."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        line = {"h1": "═", "h2": "─"}.get(self.tag, "")
        if self.tag != "h1":
            yield Text("")
        yield self.text.copy()
        if line:
            yield Text(line * min(self.text.cell_len, options.max_width), style=self.text.style)


class LessonItem(ListItem):
    """An item of a list; a number has its dot, or it would read as part of the text."""

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> Iterator[Segment]:
        numeral = f"{number}. ".rjust(len(str(last_number)) + 3)
        narrower = options.update(width=options.max_width - len(numeral))
        for k, line in enumerate(console.render_lines(self.elements, narrower, style=self.style)):
            yield Segment(" " * len(numeral) if k else numeral)
            yield from line
            yield Segment.line()


class Lesson(Markdown):
    """Markdown with these elements, and with links that can be typed."""

    elements = {
        **Markdown.elements,
        "table_open": LessonTable,
        "heading_open": LessonHeading,
        "list_item_open": LessonItem,
        "fence": LessonCode,
        "code_block": LessonCode,
    }

    def __init__(self, drawing: Drawing, source: str) -> None:
        super().__init__(drawing.markdown(source), code_theme="ansi_dark", hyperlinks=False)
        self.drawing = drawing
        for token in self.parsed:
            token.children = token.children and list(self._children(token.children))

    def _children(self, tokens: list[Token]) -> Iterator[Token]:
        here = False  # inside a link to this page, which is only its words
        for token in tokens:
            if token.type == "link_open":
                token.attrs["href"] = self.drawing.address(str(token.attrs.get("href", "")))
                here = not token.attrs["href"]
            elif token.type == "code_inline" and not self.drawing.coloured:
                token.content = f"{token.markup}{token.content}{token.markup}"  # else nothing would mark it
            if not (here and token.type in ("link_open", "link_close")):
                yield token
