"""Keeps a task honest: what it asks the learner to write may not be imported or called instead.

Two halves.  `uses` reads the source, for a message with a line number.  `watch` runs in the lab's process, before the
lab is loaded: a forbidden package cannot be imported, a forbidden function cannot be called, and the lab folder's
answers cannot be opened.  The spec's own oracle runs in another process and never notices.
Does not: stop someone determined to get round it; that is what a sandbox is for.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.abc
import importlib.util
import io
import os
import re
import sys
import tokenize
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from labkit import operators

ANSWERS = ("solution", "mistakes", "equivalents", "test_lab")


class Forbidden(BaseException):
    """A forbidden call, by name.  Not an Exception, so that a lab's `except Exception` does not hide it."""


class ForbiddenImport(ImportError):
    """A forbidden package.  An ImportError, because libraries probe for optional packages and expect just that."""


def uses(source: str | bytes, names: Iterable[str], given: str = "") -> list[tuple[int, str, str]]:
    """Where source uses one of the dotted names: (line, name, enclosing top-level definition or "").

    What stands the same in `given` (the scaffold's runner, say) is not the learner's doing and is left out.
    """
    try:
        return _uses(source, list(names), given)
    except (RecursionError, MemoryError):  # thousands of operators in one expression
        return []


def _uses(source: str | bytes, names: list[str], given: str) -> list[tuple[int, str, str]]:
    names = [name for name in names if _appears(name, source)]
    if not names:
        return []
    found = set()
    for line, dotted, top in _names(source):
        hit = next((n for n in names if dotted == n or dotted.startswith(n + ".")), None)
        if hit and ast.dump(top) not in _statements(given):
            found.add((line, hit, getattr(top, "name", "")))
    return sorted(found)


def _appears(name: str, source: str | bytes) -> bool:
    """Whether source may use a dotted name: its package is imported somewhere, if only in a comment, and its parts stand there.

    In most files they do not, and there is nothing to parse then.
    """
    top, *rest = name.split(".")
    text = _text(source)
    if text is None:
        return True
    # Without a regular expression: one that looks for both words takes for ever on a line of a million "from".
    imported = any(top in line and ("import" in line or "from" in line) for line in text.split("\n"))
    return imported and all(part in text for part in rest)


@functools.lru_cache(maxsize=2)
def _text(source: str | bytes) -> str | None:
    """Source with names as Python writes those it reads, and statements in one line each; None if it cannot be read."""
    try:
        if isinstance(source, bytes):
            source = source.decode(tokenize.detect_encoding(io.BytesIO(source).readline)[0])
    except (SyntaxError, LookupError, ValueError):
        return None
    return re.sub(r"\\\r?\n|\\\r", " ", unicodedata.normalize("NFKC", source))


@functools.lru_cache(maxsize=2)  # each task of a lab asks the same of the same file
def _names(source: str | bytes) -> list[tuple[int, str, ast.stmt]]:
    """All dotted names that source uses: (line, name, the top-level statement it stands in)."""
    tree = _parse(source)
    aliases = _aliases(tree)
    return [
        (getattr(node, "lineno", 0), dotted, top)
        for top in tree.body
        for node in ast.walk(top)
        for dotted in _dotted(node, aliases)
    ]


@functools.lru_cache(maxsize=32)
def _statements(given: str) -> frozenset[str]:
    return frozenset(ast.dump(node) for node in _parse(given).body)


def _parse(source: str | bytes) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):  # they would come once per parse, in the middle of a page
            return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: `import torch.nn.functional as F` gives F → torch.nn.functional."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                found[a.asname or a.name.split(".")[0]] = a.name if a.asname else a.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for a in node.names:
                found[a.asname or a.name] = f"{node.module}.{a.name}"
    return found


def _dotted(node: ast.AST, aliases: dict[str, str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [a.name for a in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{a.name}" for a in node.names]
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in aliases:
        return [".".join([aliases[node.id], *reversed(parts)])]
    return []


def watch(names: Iterable[str], folder: Path | None = None, files: Mapping[str, Sequence[str]] = {}) -> None:
    """Forbids the dotted names in this process: functions, classes, or whole packages.  Cannot be undone.

    With a lab's folder, also to open its answers, the repository's history, and a forbidden package's `files` (folders by
    name, as `folders` finds them).
    """
    found = [_look(name) for name in names]
    for seen in found:
        if seen.attribute:
            _trap(seen)
    if functions := [f.name for f in found if f.attribute and f.name.startswith("torch.")]:
        operators.close(functions, _refuse)
    packages = [f.name for f in found if not f.attribute]
    if packages:
        sys.meta_path.insert(0, _NoPackage(packages))
        for loaded in (module for f in found for module in f.loaded):
            sys.modules.pop(loaded, None)
    if folder is not None:
        sys.addaudithook(_guard(folder, [place for name in packages for place in files.get(name, ())]))


def prepare(names: Iterable[str]) -> None:
    """Looks for the names in all that is imported by now, so that a process forked from this one need not.

    Looking at a thousand modules has a fork copy the pages that they lie on, which takes longer than the looking.
    """
    for name in names:
        _look(name)


@dataclass(frozen=True)
class _Seen:
    """Where a forbidden name is: a function's or class's owner and the modules that show it; a package's loaded modules."""

    name: str
    owner: Any = None
    attribute: str = ""  # "" for a package
    holders: tuple[ModuleType, ...] = ()
    loaded: tuple[str, ...] = ()


@functools.cache
def _look(name: str) -> _Seen:
    owner, attribute = _resolve(name)
    if owner is None:
        return _Seen(name, loaded=tuple(m for m in sys.modules if m == name or m.startswith(f"{name}.")))
    held, top = getattr(owner, attribute), name.split(".")[0]
    modules = [m for other, m in list(sys.modules.items()) if other.split(".")[0] == top]
    # its other names: torch.nn.functional shows what torch._C holds
    shown = tuple(m for m in modules if getattr(m, "__dict__", {}).get(attribute) is held)
    return _Seen(name, owner, attribute, shown)


@functools.cache
def folders(name: str) -> tuple[str, ...]:
    """Where the files of an installed package are; nothing for what is no package, or not there.  Nothing is imported."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    found = (os.path.join(place, *rest) for place in (spec and spec.submodule_search_locations) or ())
    return tuple(os.path.realpath(place) for place in found if os.path.isdir(place))


def _resolve(name: str) -> tuple[Any, str]:
    """(what holds it, attribute) for a function or class; (None, "") for a package, installed or not."""
    parts = name.split(".")
    owner: Any = None
    for i in range(1, len(parts)):
        try:
            owner = importlib.import_module(".".join(parts[:i]))
        except ImportError:
            if owner is None:
                return None, ""
            break
    rest = parts[len(owner.__name__.split(".")) :] if isinstance(owner, ModuleType) else []
    for attribute in rest[:-1]:
        owner = getattr(owner, attribute)
    if not rest or not hasattr(owner, rest[-1]) or isinstance(getattr(owner, rest[-1]), ModuleType):
        return None, ""
    return owner, rest[-1]


def _refuse(name: str) -> NoReturn:
    raise Forbidden(name)


def _refusal(name: str) -> Callable[..., NoReturn]:
    return lambda *_, **__: _refuse(name)


def _trap(seen: _Seen) -> None:
    held = getattr(seen.owner, seen.attribute)
    if isinstance(held, type):
        with contextlib.suppress(TypeError):  # one written in C takes nothing
            held.__init__ = _refusal(seen.name)  # type: ignore[misc]  # it stays a class: isinstance and subclasses still work
            return
    for place in (seen.owner, *seen.holders):
        setattr(place, seen.attribute, _refusal(seen.name))


class _NoPackage(importlib.abc.MetaPathFinder):
    def __init__(self, names: list[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        for name in self.names:
            if fullname == name or fullname.startswith(name + "."):
                raise ForbiddenImport(name)


def _guard(folder: Path, packages: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that refuses the answers of this repository's labs and of those beside the folder, compiled or not:
    to open, link, move or remove them; and to open the repository's history or a forbidden package's files."""
    base = Path(__file__).resolve().parent.parent
    phases = tuple(str(p) + os.sep for p in (base / "phases", folder.resolve().parent.parent))
    closed = tuple(p + os.sep for p in (str(base / ".git"), *packages))
    # Bound here: a lab may put other things in place of what stands in these modules.
    answers, real, decode, kinds = ANSWERS, os.path.realpath, os.fsdecode, (str, bytes, os.PathLike)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in ("open", "os.link", "os.symlink", "os.rename", "os.remove"):
            return
        for given in args[: 1 if event in ("open", "os.remove") else 2]:
            if not isinstance(given, kinds):
                continue
            path = real(name := decode(given))
            beside = event == "open" and args[1] is None and name[:1] != os.sep  # os.open: may be relative to dir_fd
            last = path.rpartition(os.sep)[2]
            if path.startswith(closed) or (last.split(".")[0] in answers and (beside or path.startswith(phases))):
                raise Forbidden(last)

    return hook
