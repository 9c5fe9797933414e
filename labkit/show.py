"""`lab show`: which page is meant, and how its parts are told apart.  show_terminal and show_web render them.

A lesson is Markdown with formulas ($…$, $$…$$ and ```math), Mermaid diagrams and folded answers (<details>).
"""

from __future__ import annotations

import re
import sys
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labkit import catalog
from labkit.catalog import LabError
from labkit.report import as_typed

GUIDE = "HITCHHIKERS-GUIDE.md"


@dataclass(frozen=True)
class Page:
    """A lesson, the page of a phase or its guide: a Markdown file that `lab show` knows."""

    id: str
    path: Path
    command: str  # what shows it

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        head = re.search(r"^#\s+(.+)$", self.text, re.M)
        return head[1].replace("`", "") if head else self.id

    def linked(self, address: str) -> Page | None:
        """The page that a link of this one leads to; None when it leads anywhere else."""
        if re.match(r"[a-z]+:|#|$", address):
            return None
        path = (self.path.parent / address.partition("#")[0]).resolve()
        path = path / "README.md" if path.is_dir() else path
        place = re.search(r"/phase-(\d+)-[^/]+(?:/lab-(\d+)-[^/]+)?/([^/]+)$", path.as_posix())
        if not place or not path.is_file() or place[3] not in (("README.md",) if place[2] else ("README.md", GUIDE)):
            return None
        number = str(int(place[1])) + (f".{int(place[2])}" if place[2] else "")
        return _guide(number, path) if place[3] == GUIDE else _page(number, path)


def _page(number: str, path: Path) -> Page:
    return Page(number, path, f"lab show {number}")


def _guide(phase: str, path: Path) -> Page:
    return Page(f"{phase}-guide", path, f"lab show {phase} --guide")


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
            return _there(_page(lab.id, lab.file("README.md")))
        folder, number = lab.folder.parent, lab.id.split(".")[0]
    else:
        number = str(int(word))
        folders = sorted(base.glob(f"phases/phase-{int(word):02}-*"))
        if not folders:
            raise LabError(f"There is no phase {word} here. `lab list` shows what there is.")
        folder = folders[0]
    if guide:
        return _there(_guide(number, folder / GUIDE))
    return _there(_page(number, folder / "README.md"))


def _there(found: Page) -> Page:
    if not found.path.is_file():
        raise LabError(f"There is no {as_typed(found.path)}.")
    return found


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
        if end := _end_of_code(lines, i):
            kind = line.strip().lstrip("`~").split()[:1]
            if kind in (["math"], ["mermaid"]):
                end_plain()
                found.append(Part(kind[0], "\n".join(lines[i + 1 : end])))
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


def _end_of_code(lines: list[str], i: int) -> int:
    """The line that ends the code block which begins at line i, the number of lines if none does; 0: none begins there."""
    fence = re.match(r" *(`{3,}(?=[^`]*$)|~{3,})", lines[i])
    if not fence:
        return 0
    ends = re.compile(rf"\s*{re.escape(fence[1])}{fence[1][0]}*\s*$")
    return next((j for j in range(i + 1, len(lines)) if ends.match(lines[j])), len(lines))


def _closing_dollars(lines: list[str], i: int) -> int:
    return next((j for j in range(i + 1, len(lines)) if lines[j].strip().endswith("$$")), len(lines) - 1)


def _end_of_details(lines: list[str], i: int) -> int:
    depth, j = 0, i
    while j < len(lines):
        if end := _end_of_code(lines, j):
            j = end
        else:
            depth += lines[j].count("<details") - lines[j].count("</details>")
            if depth <= 0:
                return j
        j += 1
    return len(lines) - 1


SPAN = r"(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)"
FORMULA = (
    r"(?<![\\$\w])(?P<dollars>\${1,2})(?![\s$])(?P<tex>(?:\\.|[^$\\\n]|\n(?!\n))*?)(?<![\s\\])(?P=dollars)(?![\d$])"
)


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with each stretch that is no code block changed."""
    lines = text.split("\n")
    done: list[str] = []
    i = begun = 0
    while i < len(lines):
        if end := _end_of_code(lines, i):
            done += [change("\n".join(lines[begun:i]))] if i > begun else []
            done += lines[i : end + 1]
            i = begun = end + 1
        else:
            i += 1
    return "\n".join(done + ([change("\n".join(lines[begun:]))] if i > begun else []))


def map_formulas(text: str, become: Callable[[str], str]) -> str:
    """The text with each inline formula replaced by `become(tex)`; code spans and code blocks are left alone."""

    def change(stretch: str) -> str:
        return re.sub(
            f"{SPAN}|{FORMULA}", lambda m: m[0] if m["tex"] is None else become(m["tex"]), stretch, flags=re.S
        )

    return outside_code(text, change)


def terminal(page: Page, answers: bool) -> int:
    """Prints the page, through a pager when it is longer than the screen."""
    from labkit import show_terminal

    show_terminal.show(page, answers)
    return 0


def web(base: Path, page: Page, open_it: bool, answers: bool = False) -> int:
    """Writes .lab/show/ID.html and the pages it leads to, prints where it is, and opens it if there is a browser."""
    from labkit import show_web

    path = show_web.write(page, base / ".lab" / "show", answers)
    print(as_typed(path))
    if open_it:
        try:
            opened = webbrowser.open(path.as_uri())
        except (webbrowser.Error, OSError):
            opened = False
        if not opened:
            print("No browser was found here; open that file in one.", file=sys.stderr)
    return 0
