"""The source of a probe, as it is sent to run beside a lab."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from typing import Any


@functools.cache
def source_of(function: Callable[..., Any]) -> str:
    """The probe and the top-level names of the spec that it needs, and nothing else: no oracle goes over there."""
    module = inspect.getmodule(function)
    assert module is not None
    statements = ast.parse(inspect.getsource(module)).body
    defines: dict[str, ast.stmt] = {}
    for s in statements:
        if isinstance(s, (ast.Import, ast.ImportFrom)):
            defines |= {(a.asname or a.name).split(".")[0]: s for a in s.names}
        elif isinstance(s, (ast.FunctionDef, ast.ClassDef)):
            defines[s.name] = s
        elif isinstance(s, (ast.Assign, ast.AnnAssign)):
            targets = s.targets if isinstance(s, ast.Assign) else [s.target]
            defines |= {n.id: s for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    needed: set[ast.stmt] = set()
    todo = [function.__name__]
    while todo:
        s = defines.get(todo.pop())  # type: ignore[assignment]
        if s is not None and s not in needed:
            needed.add(s)
            todo += [n.id for n in ast.walk(s) if isinstance(n, ast.Name)]
    return "\n".join(ast.unparse(s) for s in statements if s in needed)
