"""What a learner wrote for each task, as a set of shingles that a disguise leaves alone.

A shingle is five tokens in a row (Broder 1997, "On the resemblance and containment of documents"); two texts are as
alike as their sets are.  Gone before that: comments, layout, docstrings, type hints, the values of literals, names of
imports, and every statement that stood in the scaffold.  A variable is known by where else it stands among the same
five tokens (Baker 1995, parameterised matching), so renaming changes nothing.  No shingle reaches over the end of a
line of code, so the order of lines, functions and imports changes nothing either.  What is spelt in two ways that any
editor exchanges counts as one: x.exp() and torch.exp(x), a += b and a = a + b, a > b and b < a, a loop's head and a
comprehension's.  The answers are short, so all shingles are kept; winnowing is for texts that are long.

Does not: see through code that was thought out again, or read files that Python cannot parse.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from functools import cached_property

from labkit.catalog import Lab, Task
from labkit.scaffold import scaffold

SHINGLE = 5
BIGGEST = 200_000  # bytes; no honest lab.py comes near, and what a hostile one holds need not be parsed here
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
BUILTINS = frozenset(dir(builtins))
OPERATIONS = (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare)
OPERATORS = (ast.operator, ast.boolop, ast.unaryop, ast.cmpop)

Token = str | tuple[str]  # a word of the language or of a library; in a tuple: a name that the learner may choose
Shingles = frozenset[int]


class Reader:
    """Reads files for one lab.  It knows what the scaffold gives, and so what a learner added."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.solution = lab.file("solution.py").read_text(encoding="utf-8")
        self.given = scaffold(self.solution)
        self.names = definitions(ast.parse(self.given))
        # Most functions give no statement, and then nothing has to be compared.
        self.statements = {name: _dumps(n.body) for name, n in self.names.items() if isinstance(n, Function)}

    @cached_property
    def passages(self) -> list[str]:
        """The text of the functions that nobody has to touch: cut out before parsing, since that is most of the time."""
        lines = self.given.splitlines(keepends=True)
        whole = [n for n in ast.parse(self.given).body if isinstance(n, Definition) and not n.decorator_list]
        texts = ["".join(lines[n.lineno - 1 : n.end_lineno]) for n in whole]
        written = {w.split(".")[0] for t in self.lab.tasks for w in t.writes}
        return [text for n, text in zip(whole, texts, strict=True) if n.name not in written]

    def read(self, data: bytes) -> dict[str, Shingles]:
        """Task → the shingles of what was written for it.  {}: too large, or not Python."""
        if len(data) > BIGGEST:
            return {}
        try:
            text = data.decode("utf-8-sig")
            for passage in self.passages:
                text = text.replace(passage, "", 1)
            tree = ast.parse(text)
            names, imported = definitions(tree), _imports(tree.body)
            return {task.name: self._task(task, names, imported) for task in self.lab.tasks}
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return {}

    def _task(self, task: Task, names: dict[str, ast.stmt], imported: dict[str, str]) -> Shingles:
        found: set[int] = set()
        waiting, seen = list(task.writes), set(task.writes)
        while waiting:
            name = waiting.pop()
            if (node := names.get(name)) is None:
                continue
            inside = list(ast.walk(node))
            found |= _shingles(self._lines(name, node, _Scope(inside, imported, self.names.keys())))
            owner = name.rpartition(".")[0]
            for word in _words(inside):  # helpers of the learner's own, functions and methods
                for helper in (word, f"{owner}.{word}"):
                    if helper in names and helper not in self.names and helper not in seen:
                        seen.add(helper)
                        waiting.append(helper)
        return frozenset(found)

    def _lines(self, name: str, node: ast.stmt, scope: _Scope) -> Iterator[list[Token]]:
        given = self.statements.get(name, set())
        for statement in node.body if isinstance(node, Function) else [node]:
            if not (given and _dumps([statement]) & given):
                yield from scope.lines(statement)


def _shingles(lines: Iterator[list[Token]]) -> set[int]:
    found = set()
    for line in lines:
        for start in range(max(1, len(line) - SHINGLE + 1)):
            first: dict[Token, int] = {}
            found.add(
                hash(
                    tuple(
                        t if t.__class__ is str else first.setdefault(t, len(first))
                        for t in line[start : start + SHINGLE]
                    )
                )
            )
    return found


class _Scope:
    """One function, and what the names in it mean."""

    def __init__(self, inside: list[ast.AST], imported: dict[str, str], given: Iterable[str]) -> None:
        self.imported = {**imported, **_imports(inside)}
        bound = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {n.arg for n in inside if isinstance(n, ast.arg)}
        self.known = BUILTINS.union(given) - bound

    def lines(self, node: ast.stmt) -> Iterator[list[Token]]:
        """A statement as lines of tokens: a compound one gives its head, then the lines of its blocks."""
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Global() | ast.Nonlocal():
                return
            case ast.Expr(value=ast.Constant()):
                return  # a docstring
            case ast.Raise(exc=ast.Call(func=ast.Name(id="NotImplementedError"))):
                return  # not written yet
            case ast.AnnAssign(value=None):
                return
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
                for name, value in zip(names, values, strict=True):
                    yield ["=", *self.tokens(name), *self.tokens(value)]
                return
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield ["=", *self.tokens(target), *self.tokens(value)]
                return
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield ["=", *self.tokens(target), *self.tokens(value)]
                return
            case ast.AugAssign(target=target, op=op, value=value):
                yield ["=", *self.tokens(target), type(op).__name__, *self.tokens(target), *self.tokens(value)]
                return
            case ast.For(target=target, iter=source) | ast.AsyncFor(target=target, iter=source):
                yield ["for", *self.tokens(target), *self.tokens(source)]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield ["def"]
            case _:
                head: list[Token] = [type(node).__name__]
                for child in ast.iter_child_nodes(node):
                    if not isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
                        head += self.tokens(child)
                yield head
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                yield from self.lines(child)
            elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
                for statement in child.body:
                    yield from self.lines(statement)

    def tokens(self, node: ast.AST) -> list[Token]:
        """An expression, operators before what they work on."""
        match node:
            case ast.Name(id=name):
                if path := self.imported.get(name):
                    return [path.rpartition(".")[2]]
                return [name] if name in self.known else [(name,)]
            case ast.Constant(value=value):
                return [str(value) if value is None or isinstance(value, bool) else "literal"]
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in self.imported:
                return [attribute]
            case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args, keywords=keywords):
                receiver = [] if self._module(owner) else [owner]
                return self._call([name], [*receiver, *args], keywords)
            case ast.Call(func=function, args=args, keywords=keywords):
                return self._call(self.tokens(function), args, keywords)
            case ast.Compare(left=left, ops=[ast.Gt() | ast.GtE() as op], comparators=[right]):
                return ["Lt" if isinstance(op, ast.Gt) else "LtE", *self.tokens(right), *self.tokens(left)]
            case ast.ListComp(elt=item) | ast.SetComp(elt=item) | ast.GeneratorExp(elt=item):
                return [*self._sources(node.generators), type(node).__name__, *self.tokens(item)]
            case ast.DictComp(key=key, value=value):
                return [*self._sources(node.generators), "DictComp", *self.tokens(key), *self.tokens(value)]
            case ast.expr_context():
                return []
            case ast.arg(arg=name):
                return [(name,)]
        found: list[Token] = []
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
        elif not isinstance(node, OPERATIONS):  # of those the operator says it
            found.append(type(node).__name__)
        operators = [n for n in ast.iter_child_nodes(node) if isinstance(n, OPERATORS)]
        for child in (*operators, *(n for n in ast.iter_child_nodes(node) if not isinstance(n, OPERATORS))):
            found += self.tokens(child)
        return found

    def _call(self, name: list[Token], args: list[ast.expr], keywords: list[ast.keyword]) -> list[Token]:
        found: list[Token] = ["(", *name]
        for arg in args:
            found += self.tokens(arg)
        for keyword in sorted(keywords, key=lambda k: k.arg or ""):
            found += [f"{keyword.arg}=", *self.tokens(keyword.value)]
        return found

    def _sources(self, generators: list[ast.comprehension]) -> list[Token]:
        found: list[Token] = []
        for g in generators:
            found += ["for", *self.tokens(g.target), *self.tokens(g.iter)]
            for test in g.ifs:
                found += ["If", *self.tokens(test)]
        return found

    def _module(self, node: ast.expr) -> bool:
        """`torch.nn.functional` where torch was imported."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.imported


def definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """What a file defines at its top, and the methods of its classes as `Class.method`."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, Definition):
            found[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {t.id: node for t in targets if isinstance(t, ast.Name)}
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{f.name}": f for f in node.body if isinstance(f, Function)}
    return found


def _imports(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """The names that imports among these bind, and what they stand for."""
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {a.asname or a.name.partition(".")[0]: a.name for a in node.names}
    return found


def _words(nodes: Iterable[ast.AST]) -> set[str]:
    return {n.id if isinstance(n, ast.Name) else n.attr for n in nodes if isinstance(n, (ast.Name, ast.Attribute))}


def _dumps(statements: Iterable[ast.stmt]) -> set[str]:
    """Statements in a form that can be compared."""
    return {ast.dump(s) for s in statements if not isinstance(s, (ast.Expr, ast.Raise))}
