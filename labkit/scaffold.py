"""solution.py → lab.py: what the learner is to write goes, everything else stays.

    ### BEGIN SOLUTION          Inside a function, a region becomes `raise NotImplementedError("name")`.
    ...                         At module or class level it vanishes.
    ### END SOLUTION

Run:  python -m labkit.scaffold            # regenerates every lab.py
      python -m labkit.scaffold --check    # exit 1 and a list when a committed lab.py is stale
"""

from __future__ import annotations

import argparse
import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit import catalog

BEGIN = re.compile(r"^(\s*)### BEGIN SOLUTION\s*$")
END = re.compile(r"^\s*### END SOLUTION\s*$")
MARKER = re.compile(r"^\s*#+\s*(BEGIN|END)\s+SOLUTION", re.IGNORECASE)


class AuthorError(Exception):
    """A slip in solution.py, with its line."""


@dataclass(frozen=True)
class Region:
    first: int  # line of BEGIN
    last: int  # line of END
    owner: str | None  # the function around it, `Class.method` in a class; None at module or class level


@dataclass(frozen=True)
class _Function:
    first: int
    last: int
    column: int
    name: str


@functools.lru_cache(maxsize=64)  # a check asks for it once a task
def scaffold(source: str, name: str = "solution.py") -> str:
    """The text of lab.py."""
    found = regions(source, name)
    starts = {r.first: r for r in found}
    hidden = {n for r in found for n in range(r.first, r.last + 1)}
    out = []
    for n, line in enumerate(source.splitlines(), 1):
        region = starts.get(n)
        if region and region.owner:
            out.append(f'{line[: len(line) - len(line.lstrip())]}raise NotImplementedError("{region.owner}")')
        elif n not in hidden:
            out.append(line)
    text = re.sub(r"\n{3,}(?=\S)", "\n\n\n", "\n".join(out) + "\n")
    text = text.replace("python solution.py", "python lab.py")  # how to run it stands in its docstring
    try:
        ast.parse(text)
    except SyntaxError as e:
        raise AuthorError(f"{name}: without its solution regions a block is empty or broken: {e.msg}") from None
    return text


def regions(source: str, name: str = "solution.py") -> list[Region]:
    """The solution regions, checked: balanced, not nested, and a TODO in front of each that a learner fills in."""
    try:
        functions = list(_functions(ast.parse(source), ""))
    except SyntaxError as e:
        raise AuthorError(f"{name}, line {e.lineno}: {e.msg}") from None
    lines = source.splitlines()
    found: list[Region] = []
    begin: tuple[int, str] | None = None
    for n, line in enumerate(lines, 1):
        if match := BEGIN.match(line):
            if begin:
                raise AuthorError(f"{name}, line {n}: BEGIN SOLUTION inside the region that starts at line {begin[0]}")
            begin = n, match[1]
        elif END.match(line):
            if not begin:
                raise AuthorError(f"{name}, line {n}: END SOLUTION without BEGIN")
            first, indent = begin
            # The last statement of a function ends before the END comment, hence `last + 1`.
            owners = [f for f in functions if f.first < first <= f.last + 1 and f.column < len(indent)]
            owner = owners[-1].name if owners else None
            if owner and not any("TODO" in text for text in lines[owners[-1].first - 1 : first]):
                raise AuthorError(f"{name}, line {first}: no TODO comment tells the learner what to write in {owner}")
            found.append(Region(first, n, owner))
            begin = None
        elif MARKER.match(line):
            raise AuthorError(f"{name}, line {n}: a marker reads `### BEGIN SOLUTION` or `### END SOLUTION`, exactly")
    if begin:
        raise AuthorError(f"{name}, line {begin[0]}: BEGIN SOLUTION without END")
    owned = [r.owner for r in found if r.owner]
    if twice := {o for o in owned if owned.count(o) > 1}:
        raise AuthorError(f"{name}: two solution regions in {min(twice)}; the second would never run in lab.py")
    return found


def _functions(node: ast.AST, prefix: str) -> Iterator[_Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{prefix}{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield _Function(child.lineno, child.end_lineno or child.lineno, child.col_offset, name)
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, prefix)


def generate(lab: catalog.Lab) -> str:
    """The scaffold of a lab, from its solution.py; in a course's repository, the one that is kept there."""
    if lab.closed:
        return lab.outline.read_text(encoding="utf-8")
    path = lab.file("solution.py")
    return scaffold(path.read_text(encoding="utf-8"), str(path))


def write(path: Path, content: str | bytes) -> None:
    """All of the new file or all of the old one, whatever happens in between.

    Text is written as UTF-8, with a question mark for a lone surrogate, which has none.
    """
    part = path.with_name(path.name + ".part")
    part.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    part.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m labkit.scaffold", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a lab.py is stale")
    check = parser.parse_args().check
    stale = 0
    try:
        base = catalog.root()
        catalog.for_authors(base, "`make scaffolds`")  # there, it would empty what learners wrote
        for lab in catalog.labs(base):
            text, path = generate(lab), lab.file("lab.py")
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            stale += 1
            if check:
                print(f"stale: {path}", file=sys.stderr)
            else:
                write(path, text)
                print(f"wrote {path}")
    except (AuthorError, catalog.LabError) as e:
        print(e, file=sys.stderr)
        return 2
    if check and stale:
        print("Run `make scaffolds` and commit what it writes.", file=sys.stderr)
        return 1
    print("Every lab.py is what its solution.py makes." if check else f"{stale} written, the rest were up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
