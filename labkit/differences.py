"""`lab diff`: what the learner wrote for one task against the reference, function by function.

Signatures and docstrings are the same in both files and are left out, and so are the TODO comments.  Helpers outside
functions (a compiled pattern, a private function) are shown where the task's functions use them.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from labkit import catalog, scaffold
from labkit.catalog import Lab, LabError, Task
from labkit.progress import Progress
from labkit.report import Paint

LIKE = 0.5  # two lines that are alike to this degree are one line that was changed, and its words are compared
ID = re.compile(r"\d+\.\d+")
UNWRITTEN = re.compile(r"""\s*raise NotImplementedError\(["'][\w.]+["']\)\s*$""")


def locate(base: Path, words: list[str], here: Callable[[], Lab]) -> tuple[Lab, Task]:
    """[ID] TASK, in either order, as a lab and its task.

    Without an ID: a task of the lab that `here` gives, else of the only one that has it.
    """
    if not words or len(words) > 2 or (len(words) == 1 and ID.fullmatch(words[0])):
        lab = catalog.find(base, words[0]) if words else here()
        raise LabError(f"Say which task: `lab diff {lab.id} {lab.tasks[0].name}`.  Lab {lab.id} has {_names(lab)}.")
    if len(words) == 2:
        if ID.fullmatch(words[1]):
            words = words[::-1]
        lab = catalog.find(base, words[0])
        return lab, lab.task(words[1])
    lab = here()
    try:
        return lab, lab.task(words[0])
    except LabError:
        having = [(x, t) for x in catalog.labs(base) if (t := _task(x, words[0]))]
        if len(having) == 1:
            return having[0]
        if having:
            which = " or ".join(f"`lab diff {x.id} {words[0]}`" for x, _ in having)
            raise LabError(f"Several labs have a task {words[0]}: {which}.") from None
        raise


def _task(lab: Lab, name: str) -> Task | None:
    try:
        return lab.task(name)
    except LabError:
        return None


def _names(lab: Lab) -> str:
    return ", ".join(t.name for t in lab.tasks)


def main(base: Path, lab: Lab, task: Task, give_up: bool, yes: bool) -> int:
    """`lab diff`: 0 shown, 1 not yet."""
    lab.file("solution.py")  # before anything is asked or given up for what is not there
    progress = Progress(base)
    passed = task.name in progress.passed(lab) or progress.done(lab)
    refused = not passed and task.name not in progress.given_up(lab)
    if refused and not give_up:
        print(
            f"{task.name} has not passed yet: lab check {lab.id} {task.name}, lab hint {lab.id} {task.name}, "
            f"or lab diff {lab.id} {task.name} --give-up",
            file=sys.stderr,
        )
        return 1
    file = lab.file("lab.py")
    if not file.is_file():
        raise LabError(f"There is no file {file}. `lab reset {lab.id}` makes it.")
    mine = file.read_text(encoding="utf-8", errors="replace")
    try:
        pairs = compare(lab, task, mine)
    except SyntaxError as e:
        raise LabError(f"lab.py cannot be read: {e.msg} in line {e.lineno}. Put that right first.") from None
    if refused:  # asked and recorded only now that there is something to show
        if not yes and not _agreed(lab, task):
            return 1
        progress.give_up(lab, task)
    render(lab, task, pairs, sys.stdout)
    return 0


def _agreed(lab: Lab, task: Task) -> bool:
    if not sys.stdin.isatty():
        raise LabError(f"There is nobody to ask here: lab diff {lab.id} {task.name} --give-up --yes")
    answer = input(f"Show the reference of {task.name}?  You can still write and pass it afterwards. [y/N] ")
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("Good. Nothing was changed.", file=sys.stderr)
    return False


def compare(lab: Lab, task: Task, mine: str) -> list[tuple[str, list[str], list[str]]]:
    """(name, the learner's lines, the reference's lines) for each function of the task, then for the helpers it uses."""
    reference = lab.file("solution.py").read_text(encoding="utf-8")
    given = scaffold.generate(lab)
    pairs = [(name, body(mine, name), body(reference, name)) for name in task.writes]
    ours, theirs = helpers(mine, given), helpers(reference, given)
    names = [
        *_used(theirs, [line for _, _, lines in pairs for line in lines]),
        *_used(ours, [line for _, lines, _ in pairs for line in lines]),
    ]
    whole = [name for name in dict.fromkeys(names) if not any(name.startswith(f"{owner}.") for owner in names)]
    return pairs + [(name, ours.get(name, []), theirs.get(name, [])) for name in whole]


def _parse(source: str) -> ast.Module:
    """Without the warnings on escapes such as "\\d", which Python prints straight to the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def body(source: str, name: str) -> list[str]:
    """The lines inside a function or `Class.method`, without docstring, markers and TODO; [] when it is not there."""
    node: ast.AST = _parse(source)
    for part in name.split("."):
        inner = [n for n in ast.iter_child_nodes(node) if getattr(n, "name", None) == part]
        if not inner:
            return []
        node = inner[-1]  # the last definition is the one that counts
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return []
    first = node.body[0]
    documented = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    start = first.end_lineno if documented else _signature_end(source, node)
    return _tidy(source.splitlines()[start or 0 : node.end_lineno])


def _signature_end(source: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The line on which the signature ends: before the first statement, but comments in between belong to the body."""
    lines = source.splitlines()
    first = node.body[0]
    at: int = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))]) - 1
    while at > node.lineno and (not lines[at - 1].strip() or lines[at - 1].lstrip().startswith("#")):
        at -= 1
    return at


def _tidy(lines: list[str]) -> list[str]:
    """Without markers, without the TODO and what it goes on with, not indented."""
    kept: list[str] = []
    todo = False
    for line in lines:
        comment = line.lstrip().startswith("#")
        todo = comment and ("TODO" in line or (todo and re.match(r"\s*#\s{3,}", line) is not None))
        if not todo and not scaffold.MARKER.match(line) and not UNWRITTEN.match(line):
            kept.append(line)
    return textwrap.dedent("\n".join(kept)).strip("\n").splitlines()


def helpers(source: str, given: str) -> dict[str, list[str]]:
    """What stands at module level, or in a class, beyond what the learner was given: name → its lines."""
    known = set(_definitions(given))
    return {name: lines for name, lines in _definitions(source).items() if name not in known}


def _definitions(source: str) -> dict[str, list[str]]:
    lines, found = source.splitlines(), {}
    todo: list[tuple[ast.AST, str]] = [(_parse(source), "")]
    while todo:
        owner, prefix = todo.pop()
        for node in ast.iter_child_nodes(owner):
            names: list[str] = []
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names = [node.name]
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            if isinstance(node, ast.ClassDef):
                todo.append((node, f"{prefix}{node.name}."))
            if not names or not isinstance(node, ast.stmt):
                continue
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            for name in names:
                found[prefix + name] = _tidy(lines[first - 1 : node.end_lineno])
    return found


def _used(known: dict[str, list[str]], lines: list[str]) -> list[str]:
    """The helpers that these lines name, and those that these helpers name."""
    found: list[str] = []
    todo = list(lines)
    while todo:
        words = set(re.findall(r"\w+", todo.pop(0)))
        for name, text in known.items():
            if name not in found and name.split(".")[-1] in words:
                found.append(name)
                todo += text
    return found


def render(lab: Lab, task: Task, pairs: list[tuple[str, list[str], list[str]]], out: TextIO) -> None:
    """Each function as one diff: - yours, + the reference, changed words in bold (in a pipe: whole lines)."""
    paint = Paint(out)
    print(
        f"{paint.bold(f'{lab.id} {task.name}')}   {paint.code('31', '- yours')}  {paint.code('32', '+ the reference')}",
        file=out,
    )
    for name, mine, theirs in pairs:
        print(f"\n{paint.bold(name)}", file=out)
        if mine == theirs:
            print(f"  {paint.dim('the same, line for line')}", file=out)
            continue
        for line in lines_of(mine, theirs, paint):
            print(line, file=out)


def lines_of(mine: list[str], theirs: list[str], paint: Paint) -> list[str]:
    """The diff of two bodies, all lines of both."""
    out: list[str] = []
    for op, a, b, c, d in difflib.SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if op == "equal":
            out += [f"    {line}" for line in mine[a:b]]
            continue
        old, new = mine[a:b], theirs[c:d]
        if op == "replace" and len(old) == len(new) and all(map(_alike, old, new)):
            for x, y in zip(old, new, strict=True):
                left, right = _words(x, y, paint)
                out += [f"  {paint.code('31', '-')} {left}", f"  {paint.code('32', '+')} {right}"]
            continue
        out += [paint.code("31", f"  - {line}".rstrip()) for line in old]
        out += [paint.code("32", f"  + {line}".rstrip()) for line in new]
    return out


def _alike(x: str, y: str) -> bool:
    return difflib.SequenceMatcher(None, x, y, autojunk=False).ratio() >= LIKE


def _words(x: str, y: str, paint: Paint) -> tuple[str, str]:
    """The two lines with the words that differ in bold colour."""
    a, b = (re.findall(r"\w+|\s+|[^\w\s]", line) for line in (x, y))
    left = right = ""
    for op, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        old, new = "".join(a[i:j]), "".join(b[k:m])
        left += old if op == "equal" else paint.code("1;31", old)
        right += new if op == "equal" else paint.code("1;32", new)
    return left, right
