"""HTML for the grading pages: what a stranger wrote made harmless, tables that scroll inside themselves, the page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from labkit.grading.records import Student
from labkit.grading.style import CSS

LINE, LINES = 400, 40  # characters of a line, and lines, that are shown of what a submission wrote
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)?|.)?", re.S)


def clean(text: str, last: bool = False) -> str:
    """Text from a submission as plain characters: no terminal codes, no invisible or reversing ones, not too much.

    Too many lines lose their end, or with `last` their beginning; what is left out is said.
    """
    lines = ESCAPES.sub("", text).replace("\r\n", "\n").split("\n")
    more = len(lines) - LINES
    if more > 0:
        lines = [f"… ({more} lines before)", *lines[-LINES:]] if last else [*lines[:LINES], f"… ({more} more lines)"]
    cut = [s if len(s) <= LINE else f"{s[:LINE]} … ({len(s) - LINE} more characters)" for s in lines]
    return "\n".join("".join(c if c.isprintable() or c == "\t" else "�" for c in line) for line in cut)


def esc(text: object) -> str:
    """Any text, cleaned and escaped: safe between tags and inside a quoted attribute."""
    return html.escape(clean(str(text)), quote=True)


def called(student: Student) -> str:
    """Somebody's name, else the id; one that is written from the right stays within its own bounds."""
    name = clean(student.name).replace("\n", " ")
    name = name if len(name) <= 60 else name[:60] + "…"
    return f"<bdi>{html.escape(name) or esc(student.id)}</bdi>"


def person(student: Student) -> str:
    """Somebody's name and id."""
    known = f" ({esc(student.id)})" if clean(student.name) and student.name != student.id else ""
    return f"{called(student)}{known}"


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numeric: Iterable[int] = (),
    pinned: bool = False,
) -> str:
    """Cells are HTML; the first of a row is its heading, those in the `numeric` columns stand at the right.

    It scrolls inside a region that the keyboard reaches, so that the page does not; a `pinned` one keeps its first
    column in sight.
    """
    right = {*numeric}
    kind = [' class="n"' if i in right else "" for i in range(len(heads))]
    head = "".join(f'<th scope="col"{kind[i]}>{cell}</th>' for i, cell in enumerate(heads))
    body = []
    for first, *others in rows:
        cells = "".join(f"<td{kind[i]}>{cell}</td>" for i, cell in enumerate(others, 1))
        body.append(f'<tr><th scope="row"{kind[0]}>{first}</th>{cells}</tr>')
    return (
        f'<div class="wide{" pinned" if pinned else ""}" role="region" tabindex="0" aria-label="{html.escape(_plain(caption))}">'
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(body)}</tbody>"
        "</table></div>\n"
    )


def folded(summary: str, content: str, print_too: bool = True) -> str:
    """Content behind a heading that opens it; on paper it is open unless it is not for passing round."""
    kind = ' class="always"' if print_too else ""
    return f"<details{kind}><summary>{summary}</summary>\n{content}</details>\n"


def document(title: str, main: str, footer: str) -> str:
    """A whole page that asks nothing of the network and runs no script: its policy forbids both."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{esc(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f'<main id="main" tabindex="-1">\n{main}</main>\n<footer>{footer}</footer>\n</body>\n</html>\n'
    )


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def number(value: float) -> str:
    """Points, without decimals that say nothing: 12, 10.8, 64.29."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def count(n: int, word: str, many: str = "") -> str:
    """`1 student`, `2 students`, `3 entries`."""
    return f"{n} {word if n == 1 else many or word + 's'}"


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", text))
