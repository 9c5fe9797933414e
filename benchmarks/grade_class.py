"""The class that `benchmarks.grade` has graded: what learners might hand in, made from what a lab's authors wrote."""

import ast
import re

from labkit import variants
from labkit.catalog import Lab

RIGHT, WRONG = 4, 3  # versions beside the solution itself


def submissions(lab: Lab) -> list[tuple[str, str, bool]]:
    """(name, source, whether it deserves full marks): the solution, and versions of it with one function replaced."""
    solution = lab.file("solution.py").read_text("utf-8")
    solution = solution[: solution.index("\nif __name__ ==")]
    found = [("solution", solution, True)]
    mistakes = list(variants.mistakes(lab).values())
    for listed, count, right in ((variants.equivalents(lab), RIGHT, True), (mistakes, WRONG, False)):
        functions = [v for v in listed if re.search(rf"^def {v.name}\(", lab.file(v.file).read_text("utf-8"), re.M)]
        for v in _spread([v for v in functions if "." not in v.of], count):
            found.append((v.name, f"{solution}\n\n{_source(lab, v)}\n{v.of} = {v.name}\n", right))
    return found


def _spread(found: list[variants.Variant], count: int) -> list[variants.Variant]:
    """So many of them, from as many tasks as there are."""
    order: dict[str, int] = {}
    ranked: list[tuple[int, int, variants.Variant]] = []
    for v in found:
        order[v.task] = order.get(v.task, -1) + 1
        ranked.append((order[v.task], len(ranked), v))
    return [v for _, _, v in sorted(ranked, key=lambda r: r[:2])[:count]]


def _source(lab: Lab, variant: variants.Variant) -> str:
    """The variant with the imports and helpers of its file, and without those that have marks."""
    kept = []
    for s in ast.parse(lab.file(variant.file).read_text("utf-8")).body:
        if isinstance(s, ast.FunctionDef | ast.ClassDef) and s.decorator_list and _marked(s):
            if s.name != variant.name:
                continue
            s.decorator_list = [d for d in s.decorator_list if not isinstance(d, ast.Call)]
        elif isinstance(s, ast.Expr) or (isinstance(s, ast.ImportFrom) and s.module in ("labkit.spec", "__future__")):
            continue
        kept.append(ast.unparse(s))
    return "\n\n".join(kept)


def _marked(s: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(
        isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id in ("mistake", "alike", "equivalent")
        for d in s.decorator_list
    )
