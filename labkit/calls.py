"""Calls that were made of a lab, written down as a person would write them."""

from __future__ import annotations

import ast
import re
from typing import Any

from labkit import values
from labkit.catalog import Lab
from labkit.remote import Call

LINE = 96  # a longer call is written with one argument a line


def call_text(lab: Lab, calls: list[Call], width: int = 60) -> str:
    """The last call of a journal, as one would write it: `attention(q=tensor 3×4 float32 […], mask=…)`."""
    if not calls:
        return ""
    call = calls[-1]
    if call.op == "get":
        return f"{_target(calls, call.target)}{call.name}"
    args, kwargs = call.arguments
    if call.op == "probe":
        return f"{call.name}({', '.join(['lab', *(_short(a, width) for a in args)])})   # runs beside your code"
    name = _called(calls, call)
    names = parameters(lab, name)
    shown = [f"{n}={_short(a, width)}" for n, a in zip([*names, *["…"] * len(args)], args, strict=False)]
    if len(args) == 1:
        shown = [_short(args[0], width)]
    shown += [f"{k}={_short(v, width)}" for k, v in kwargs.items()]
    line = f"{name}({', '.join(shown)})"
    return line if len(line) <= LINE else f"{name}(" + ",\n  ".join(shown) + ")"


def _short(x: Any, width: int) -> str:
    return "…" if hasattr(x, "_number") else values.describe(x, width)


def _called(calls: list[Call], call: Call) -> str:
    got = next((c for c in reversed(calls) if c.op == "get" and c.result == call.target), None)
    return f"{_target(calls, got.target)}{got.name}" if got else "…"


def _target(calls: list[Call], handle: int) -> str:
    if handle == 0:
        return ""
    made = next((c for c in reversed(calls) if c.result == handle or handle in c.nested), None)
    if made is None:
        return "…."
    if made.op == "call":
        way = "".join(f"[{key!r}]" for key in made.nested.get(handle, ()))
        return f"{_called(calls, made)}(…){way}."
    return f"{made.name}." if made.op == "get" else "…."


def parameters(lab: Lab, name: str) -> list[str]:
    """The parameter names of a function or method of the lab's, without self."""
    nodes: list[ast.stmt] = ast.parse(lab.outline.read_text(encoding="utf-8")).body
    found: ast.AST | None = None
    for part in re.sub(r"\(…\)", "", name).split("."):
        found = next((n for n in nodes if getattr(n, "name", None) == part), None)
        nodes = found.body if isinstance(found, ast.ClassDef) else []
    if isinstance(found, ast.ClassDef):
        found = next((n for n in found.body if getattr(n, "name", None) == "__init__"), None)
    if not isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return []
    return [a.arg for a in (*found.args.posonlyargs, *found.args.args) if a.arg not in ("self", "cls")]
