"""What people do to a copied file so that it looks like their own, for measuring `similarity`.

Each disguise takes the text of a file and a seeded generator, and gives a text that does the same.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable

from labkit.grading.tokens import Function


def renamed(text: str, draw: random.Random) -> str:
    """Every local variable gets another name; parameters keep theirs, since callers may name them."""
    tree = ast.parse(text)
    for function in [n for n in tree.body if isinstance(n, Function)]:
        inside = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
        parameters = {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
        local = sorted({n.id for n in inside if isinstance(n.ctx, ast.Store)} - parameters)
        new = {name: f"{draw.choice('abcdefgh')}{k}_{draw.randrange(100)}" for k, name in enumerate(local)}
        for n in inside:
            n.id = new.get(n.id, n.id)
    return ast.unparse(tree)


def reordered(text: str, draw: random.Random) -> str:
    """Functions in another order, and neighbouring lines that do not need each other exchanged."""
    tree = ast.parse(text)
    places = [i for i, n in enumerate(tree.body) if isinstance(n, Function)]
    functions = [tree.body[i] for i in places]
    draw.shuffle(functions)
    for i, function in zip(places, functions, strict=True):
        tree.body[i] = function
    for node in ast.walk(tree):
        if isinstance(node, Function):
            body = node.body
            for i in range(len(body) - 1):
                if _independent(body[i], body[i + 1]):
                    body[i], body[i + 1] = body[i + 1], body[i]
    return ast.unparse(tree)


def _independent(a: ast.stmt, b: ast.stmt) -> bool:
    """Two plain assignments, neither of which uses or sets what the other sets, and without a call that may act."""
    if not (isinstance(a, ast.Assign) and isinstance(b, ast.Assign)):
        return False
    names = [[n for n in ast.walk(s) if isinstance(n, ast.Name)] for s in (a, b)]
    sets = [{n.id for n in ns if isinstance(n.ctx, ast.Store)} for ns in names]
    uses = [{n.id for n in ns} for ns in names]
    return not (sets[0] & uses[1] or sets[1] & uses[0]) and all(isinstance(s.targets[0], ast.Name) for s in (a, b))


def reformatted(text: str, draw: random.Random) -> str:
    """Laid out anew, with a comment in front of every third line or so and another indentation."""
    lines = []
    for line in ast.unparse(ast.parse(text)).splitlines():
        depth = len(line) - len(line.lstrip(" "))
        if line.strip() and draw.random() < 0.3 and text.count('"""') == 0:
            lines.append(" " * (depth // 2) + f"# step {draw.randrange(1000)}")
        lines.append(" " * (depth // 2) + line.lstrip(" "))
    return "\n".join(lines) + "\n"


class _Loops(ast.NodeTransformer):
    """`xs = [f(x) for x in y]` becomes a loop that appends; a > b becomes b < a; a += b becomes a = a + b."""

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        value, target = node.value, node.targets[0]
        if not (isinstance(value, ast.ListComp) and isinstance(target, ast.Name) and len(value.generators) == 1):
            return node
        source = value.generators[0]
        append: ast.stmt = ast.Expr(
            ast.Call(ast.Attribute(ast.Name(target.id, ast.Load()), "append", ast.Load()), [value.elt], [])
        )
        for test in source.ifs:
            append = ast.If(test, [append], [])
        return [
            ast.Assign([target], ast.List([], ast.Load())),
            ast.For(source.target, source.iter, [append], []),
        ]

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            return node
        return ast.Assign([node.target], ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value))

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        turned = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}.get(type(node.ops[0]))
        if turned is None or len(node.ops) > 1:
            return node
        return ast.Compare(node.comparators[0], [turned()], [node.left])


def relooped(text: str, draw: random.Random) -> str:
    """Comprehensions as loops, comparisons turned round, augmented assignments spelt out."""
    return ast.unparse(ast.fix_missing_locations(_Loops().visit(ast.parse(text))))


def everything(text: str, draw: random.Random) -> str:
    """All of them, one after the other."""
    for disguise in (relooped, renamed, reordered, reformatted):
        text = disguise(text, draw)
    return text


DISGUISES: dict[str, Callable[[str, random.Random], str]] = {
    f.__name__: f for f in (renamed, reordered, reformatted, relooped, everything)
}
