"""What an oral's questions show of source code: a function with what it uses, and one line of it changed."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator

from labkit.catalog import LabError

SWAPS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "+": "-", "-": "+", "/": "*"}
SYMBOLS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Add: "+", ast.Sub: "-", ast.Div: "/",
}  # fmt: skip
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parsed(data: bytes) -> tuple[str, ast.Module]:
    """A file's text and tree.  LabError: it is no Python."""
    text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    try:
        return text, ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise LabError("The file is not Python that can be read, so there is nothing in it to ask about.") from None


def definition(tree: ast.Module, name: str) -> Definition | None:
    """The function or class `f`, or the method `C.f`: the last one of that name, which is the one that counts."""
    body: list[ast.stmt] = tree.body
    found: Definition | None = None
    for part in name.split("."):
        every = [n for n in body if isinstance(n, Definition) and n.name == part]
        found = every[-1] if every else None
        body = found.body if found else []
    return found


def shown(text: str, tree: ast.Module, names: Iterable[str], numbered: bool = False) -> str:
    """The source of these functions and methods and of all that they use of the file, in its order, without decorators.

    Of a class that is named for its methods alone the other methods are left out, save what these use and `__init__`.
    So are the examples of docstrings: one may be the very case that is asked about.
    """
    owner = {name: node for node in tree.body for name in _binds(node)}
    methods: dict[str, list[str]] = {}
    for name in names:
        of, _, method = name.partition(".")
        methods.setdefault(of, []).extend([method] if method else [])
    wanted: dict[ast.stmt, set[ast.AST]] = {}  # what is shown, and what of it is not
    todo = [*methods]
    while todo:
        name = todo.pop()
        node = owner.get(name)
        if node is not None and node not in wanted:
            wanted[node] = _others(node, methods[name]) if methods.get(name) else set()
            without = wanted[node] | {*getattr(node, "decorator_list", ())}
            todo += [n.id for n in _below(node, without) if isinstance(n, ast.Name)]
    lines = text.split("\n")
    blocks = []
    for node in sorted(wanted, key=lambda n: n.lineno):
        left_out = {i for other in wanted[node] for i in _rows(other)} | _examples(lines, node)
        rows = [i for i in range(node.lineno, (node.end_lineno or node.lineno) + 1) if i not in left_out]
        while not lines[rows[-1] - 1].strip():
            rows.pop()
        blocks.append("\n".join((f"{i:4}  " if numbered else "") + lines[i - 1] for i in rows))
    return "\n\n".join(blocks)


def _others(node: ast.stmt, names: Iterable[str]) -> set[ast.AST]:
    """The methods of a class that these neither are nor use."""
    methods = {n.name: n for n in getattr(node, "body", ()) if isinstance(n, Definition)}
    todo, used = [*names, "__init__"], set[str]()
    while todo:
        name = todo.pop()
        if name in methods and name not in used:
            used.add(name)
            todo += [n.attr for n in ast.walk(methods[name]) if isinstance(n, ast.Attribute)]
    return {n for name, n in methods.items() if name not in used}


def _below(node: ast.AST, without: set[ast.AST]) -> Iterator[ast.AST]:
    for n in ast.iter_child_nodes(node):
        if n not in without:
            yield n
            yield from _below(n, without)


def _rows(node: ast.AST) -> range:
    """The lines of a method with its decorators, and the one behind it."""
    assert isinstance(node, Definition)
    return range(min(n.lineno for n in [node, *node.decorator_list]), (node.end_lineno or node.lineno) + 2)


def _examples(lines: list[str], node: ast.stmt) -> set[int]:
    """The lines of doctests: each from its >>> to the next empty line, with the empty ones before it."""
    found: set[int] = set()
    for n in ast.walk(node):
        doc = n.body[0] if isinstance(n, Definition) and ast.get_docstring(n) else None
        inside = False
        for i in range(doc.lineno, doc.end_lineno or 0) if doc else ():  # the line that ends it stays
            text = lines[i - 1].strip()
            inside = text.startswith(">>>") or (inside and bool(text))
            if inside:
                found.add(i)
                if not lines[i - 2].strip():
                    found.add(i - 1)
    return found


def renamed(source: str, old: str, new: str) -> str:
    """The source under another name and without remarks: a mistake's own would give it away."""
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip() or "\0"
    source = "\n".join(line for line in lines if line != "\0")
    return re.sub(rf"\b{re.escape(old)}\b", new.split(".")[-1], source)


def changes(text: str, node: Definition) -> Iterator[tuple[int, str]]:
    """Every small change of one line of a function: (the number of the line, its new text).

    Comparisons and arithmetic turn, a negation goes, a number grows by one, True becomes False.  Nothing inside a
    `while`, which might then never end.
    """
    lines = [line.encode() for line in text.split("\n")]

    def edit(line: int, start: int, end: int, new: str) -> tuple[int, str]:
        old = lines[line - 1]
        return line, (old[:start] + new.encode() + old[end:]).decode()

    for n in _inside(node):
        if not isinstance(n, ast.expr) or n.lineno != n.end_lineno or n.end_col_offset is None:
            continue
        start, end = n.col_offset, n.end_col_offset
        match n:
            case ast.Constant(value=bool(value)):
                yield edit(n.lineno, start, end, str(not value))
            case ast.Constant(value=int(value)) if lines[n.lineno - 1][start:end] == str(value).encode():
                yield edit(n.lineno, start, end, str(value + 1))
            case ast.UnaryOp(op=ast.Invert() | ast.Not() as op):
                yield edit(n.lineno, start, start + (1 if isinstance(op, ast.Invert) else len("not ")), "")
            case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
                symbol = SYMBOLS.get(type(op), "?")
                between = lines[n.lineno - 1][left.end_col_offset : right.col_offset].decode()
                if between.count(symbol) == 1:
                    new = between.replace(symbol, SWAPS[symbol])
                    yield edit(n.lineno, left.end_col_offset or 0, right.col_offset, new)


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """What runs: no docstring, no annotation, no default, no loop that may not end.

    No f-string either: before Python 3.12 the places in them are wrong.
    """
    if isinstance(node, (ast.While, ast.JoinedStr)):
        return
    if isinstance(node, Definition):
        below: list[ast.AST] = list(node.body)
    elif isinstance(node, ast.AnnAssign):
        below = [node.value] if node.value else []
    else:
        below = list(ast.iter_child_nodes(node))
    for n in below:
        yield n
        yield from _inside(n)


def _binds(node: ast.stmt) -> list[str]:
    if isinstance(node, Definition):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
