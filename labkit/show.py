"""`lab show`: which page is meant, and how its parts are told apart.  show_terminal and show_web render them.

A lesson is Markdown with formulas ($…$, $$…$$ and ```math), Mermaid diagrams and folded answers (<details>).
"""

from __future__ import annotations

import re
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from labkit import catalog
from labkit.catalog import LabError
from labkit.report import as_typed

GUIDE = "HITCHHIKERS-GUIDE.md"


@dataclass(frozen=True)
class Page:
    """A Markdown file, and the name under which `lab show` knows it."""

    id: str
    path: Path
    answers: str  # the command that shows what is folded

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        head = re.search(r"^#\s+(.+)$", self.text, re.M)
        return head[1].replace("`", "") if head else self.id


@dataclass(frozen=True)
class Part:
    """A stretch of a page: kind is markdown, math, mermaid or details (then `head` is its summary)."""

    kind: str
    text: str
    head: str = ""


def page(base: Path, word: str, guide: bool = False) -> Page:
    """The page of a lab (1.1) or of a phase (1), or the guide of the phase of either."""
    if not word.isdigit():
        lab = catalog.find(base, word)
        if not guide:
            return _there(Page(lab.id, lab.file("README.md"), f"lab show {lab.id} --answers"))
        folder, number = lab.folder.parent, lab.id.split(".")[0]
    else:
        number = str(int(word))
        folders = sorted(base.glob(f"phases/phase-{int(word):02}-*"))
        if not folders:
            raise LabError(f"There is no phase {word} here. `lab list` shows what there is.")
        folder = folders[0]
    if guide:
        return _there(Page(f"{number}-guide", folder / GUIDE, f"lab show {number} --guide --answers"))
    return _there(Page(number, folder / "README.md", f"lab show {number} --answers"))


def _there(made: Page) -> Page:
    if not made.path.is_file():
        raise LabError(f"There is no {as_typed(made.path)}.")
    return made


def parts(text: str) -> list[Part]:
    """The page cut where something other than Markdown begins.  What stands in a code block stays code."""
    found: list[Part] = []
    plain: list[str] = []
    lines = text.splitlines()
    i = 0

    def end_plain() -> None:
        if any(line.strip() for line in plain):
            found.append(Part("markdown", "\n".join(plain)))
        plain.clear()

    while i < len(lines):
        line = lines[i]
        fence = re.match(r"( *)(`{3,}|~{3,})\s*(\S*)", line)
        if fence:
            end = next((j for j in range(i + 1, len(lines)) if _closes(lines[j], fence[2])), len(lines))
            if fence[3] in ("math", "mermaid"):
                end_plain()
                found.append(Part(fence[3], "\n".join(lines[i + 1 : end])))
            else:
                plain += lines[i : end + 1]
            i = end + 1
        elif line.lstrip().startswith("$$"):
            end = i if line.strip().endswith("$$") and len(line.strip()) > 3 else _closing_dollars(lines, i)
            end_plain()
            found.append(Part("math", "\n".join(lines[i : end + 1]).strip().strip("$").strip()))
            i = end + 1
        elif line.lstrip().startswith("<details"):
            end = _end_of_details(lines, i)
            end_plain()
            whole = re.sub(r"^\s*<details[^>]*>\s*|\s*</details>\s*$", "", "\n".join(lines[i : end + 1]))
            head = re.match(r"\s*<summary>(.*?)</summary>", whole, re.S)
            words = re.sub(r"<[^>]+>", "", head[1]).strip() if head else "more"
            found.append(Part("details", whole[head.end() if head else 0 :].strip("\n"), words))
            i = end + 1
        else:
            plain.append(line)
            i += 1
    end_plain()
    return found


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip()
    return stripped.startswith(fence) and set(stripped) == {fence[0]}


def _closing_dollars(lines: list[str], i: int) -> int:
    return next((j for j in range(i + 1, len(lines)) if lines[j].strip().endswith("$$")), len(lines) - 1)


def _end_of_details(lines: list[str], i: int) -> int:
    depth = 0
    for j in range(i, len(lines)):
        depth += lines[j].count("<details") - lines[j].count("</details>")
        if depth <= 0:
            return j
    return len(lines) - 1


INLINE = re.compile(
    r"(`+)(?!`).*?(?<!`)\1(?!`)|(?<![\\$\w])\$(?![\s$])((?:\\.|[^$\\\n]|\n(?!\n))*?)(?<![\s\\])\$(?![\d$])", re.S
)


def map_formulas(text: str, become: object) -> str:
    """The text with each inline formula replaced by `become(tex)`; code spans and code blocks are left alone."""
    assert callable(become)
    out = []
    for k, block in enumerate(re.split(r"(^ *(?:`{3,}|~{3,}).*?^ *(?:`{3,}|~{3,})[ \t]*$)", text, flags=re.M | re.S)):
        if k % 2:
            out.append(block)
        else:
            out.append(INLINE.sub(lambda m: m[0] if m[2] is None else str(become(m[2])), block))
    return "".join(out)


def terminal(made: Page, answers: bool) -> int:
    """Prints the page, through a pager when it is longer than the screen."""
    from labkit import show_terminal

    show_terminal.show(made, answers)
    return 0


def web(base: Path, made: Page, open_it: bool) -> int:
    """Writes .lab/show/ID.html, prints where it is, and opens it if there is a browser."""
    from labkit import show_web

    path = base / ".lab" / "show" / f"{made.id}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(show_web.html_page(made, path.parent), encoding="utf-8")
    print(as_typed(path))
    if open_it:
        try:
            opened = webbrowser.open(path.as_uri())
        except (webbrowser.Error, OSError):
            opened = False
        if not opened:
            print("No browser was found here; open that file in one.", file=sys.stderr)
    return 0
