"""How often `similarity` is wrong, and how often it is fooled, on right answers that were written differently.

    python -m labkit.grading.similarity_measure              # all labs, some minutes
    python -m labkit.grading.similarity_measure --labs 4.1   # some of them

A class is made of each lab's equivalents: student k hands in the k-th version of every function that has one.  One of
them is then copied under each disguise.  The equivalents are all by the same authors, who meant them to differ: real
classes are more alike, so the rate of false hints here is the smallest one that may be hoped for.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import math
import random
import sys
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, pstdev

from labkit import catalog
from labkit.catalog import Lab, LabError
from labkit.grading.disguise import DISGUISES
from labkit.grading.records import Class, Student, Turned
from labkit.grading.similarity import FLOOR, Hint, hints
from labkit.grading.tokens import Definition, Reader, definitions

CROWDS = (10, 20, 60)  # students in a class that draws
Version = tuple[Definition, set[str]]  # and the helpers it needs


def classroom(lab: Lab) -> list[str]:
    """One lab.py for each of as many students as the lab has versions of a function."""
    found = versions(lab)
    most = max((len(v) for v in found.values()), default=0)
    return [_file(lab, {of: v[k] for of, v in found.items() if k < len(v)}) for k in range(most)]


def crowd(lab: Lab, students: int, draw: random.Random) -> list[str]:
    """A class who each draw a version of every function: as if there were only these few ways to write it."""
    found = versions(lab)
    return [_file(lab, {of: draw.choice(v) for of, v in found.items()}) for _ in range(students)]


def versions(lab: Lab) -> dict[str, list[Version]]:
    """The equivalents of each function.

    A version that shares a helper or a call with an earlier one is left out: those two were not written independently.
    """
    tree = _equivalents(lab)
    names = definitions(tree)
    found: dict[str, list[Version]] = {}
    for node in tree.body:
        of = _stands_for(node)
        if of and isinstance(node, Definition):
            helpers = _helpers(node, names)
            if not any(helpers & ({earlier.name} | theirs) for earlier, theirs in found.setdefault(of, [])):
                found[of].append((node, helpers))
    return found


@functools.cache
def _equivalents(lab: Lab) -> ast.Module:
    return ast.parse(lab.file("equivalents.py").read_text(encoding="utf-8"))


@functools.cache
def _given(lab: Lab) -> str:
    return Reader(lab).given


def _stands_for(node: ast.stmt) -> str:
    for d in getattr(node, "decorator_list", []):
        if isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id == "equivalent":
            named = [k.value for k in d.keywords if k.arg == "of"]
            return str(ast.literal_eval((named or d.args)[0]))
    return ""


def _helpers(node: ast.stmt, names: dict[str, ast.stmt]) -> set[str]:
    found: set[str] = set()
    waiting = [node]
    while waiting:
        used = {n.id for n in ast.walk(waiting.pop()) if isinstance(n, ast.Name)}
        for word in used & names.keys() - found:
            if isinstance(names[word], Definition) and names[word] is not node:
                found.add(word)
                waiting.append(names[word])
    return found


def _file(lab: Lab, chosen: dict[str, Version]) -> str:
    """The scaffold with these versions in it."""
    names = definitions(equal := _equivalents(lab))
    imports = [n for n in equal.body if isinstance(n, (ast.Import, ast.ImportFrom)) and "labkit" not in ast.unparse(n)]
    tree = ast.parse(_given(lab))
    here = definitions(tree)
    for of, (version, _) in chosen.items():
        node, new = here.get(of), copy.deepcopy(version)
        if node is not None and type(node) is type(new):
            new.name = of.rpartition(".")[2]
            node.__dict__.update(new.__dict__, decorator_list=getattr(node, "decorator_list", []))
    used: set[str] = set().union(*(helpers for _, helpers in chosen.values())) - here.keys()
    constants = [n for n in names.values() if not isinstance(n, Definition)]
    extra = [copy.deepcopy(names[name]) for name in sorted(used) if isinstance(names[name], Definition)]
    first = next(i for i, n in enumerate(tree.body) if isinstance(n, Definition))
    tree.body[first:first] = [*imports, *constants, *extra]
    return ast.unparse(ast.fix_missing_locations(tree))


def klass(lab: Lab, texts: Sequence[str]) -> Class:
    """A class of s0, s1, … who handed these in."""
    names = [f"s{k}" for k in range(len(texts))]
    turned = [Turned(n, lab.id, t.encode(), None, n) for n, t in zip(names, texts, strict=True)]
    return Class([Student(n) for n in names], turned)


def likeness(lab: Lab, texts: Sequence[str]) -> list[float]:
    """Dice coefficients of the pairs' answers, task by task, beyond the solution and above the floor."""
    reader = Reader(lab)
    public = reader.read(reader.solution.encode())
    read = [reader.read(t.encode()) for t in texts]
    own = [{t: x[t] - public[t] for t in x if len(x[t] - public[t]) >= FLOOR} for x in read]
    return [
        2 * len(a[t] & b[t]) / (len(a[t]) + len(b[t])) for a, b in combinations(own, 2) for t in a.keys() & b.keys()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line a lab and the rates over all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m labkit.grading.similarity_measure", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--labs", nargs="*", metavar="ID", help="these labs only")
    chosen = parser.parse_args(argv).labs
    base = catalog.root()
    labs = [catalog.find(base, i) for i in chosen] if chosen else catalog.labs(base)
    pairs = false = copies = 0
    alike: list[float] = []
    drawn = dict.fromkeys(CROWDS, 0)
    seen: dict[str, int] = dict.fromkeys(DISGUISES, 0)
    for lab in labs:
        texts = classroom(lab)
        if len(texts) < 2:
            continue
        hinted = _pairs(hints(klass(lab, texts), {}, [lab]))
        found = {}
        for name, disguise in DISGUISES.items():
            copied = hints(klass(lab, [*texts, disguise(texts[0], random.Random(lab.id))]), {}, [lab])
            found[name] = ("s0", f"s{len(texts)}") in _pairs(copied)
            seen[name] += found[name]
        pairs, false, copies = pairs + math.comb(len(texts), 2), false + len(hinted), copies + 1
        alike += likeness(lab, texts)
        for n in CROWDS:
            drawn[n] += len(_pairs(hints(klass(lab, crowd(lab, n, random.Random(lab.id))), {}, [lab])))
        missed = [name for name, yes in found.items() if not yes]
        print(
            f"{lab.id:5} {len(texts)} students, false hints {len(hinted)}, not seen: {', '.join(missed) or 'none'}",
            flush=True,
        )
    print(f"\nfalse hints: {false} of {pairs} pairs")
    shape = f"mean {fmean(alike):.3f}, spread {pstdev(alike):.3f}, largest {max(alike):.2f}" if alike else "nothing"
    print(f"likeness of two answers to a task by chance: {shape} ({len(alike)} pairs)")
    for n, hinted_pairs in drawn.items():
        print(
            f"classes of {n} that draw from these versions: {hinted_pairs} pairs hinted of {copies * math.comb(n, 2)}"
        )
    print("copies seen: " + ", ".join(f"{name} {n} of {copies}" for name, n in seen.items()))
    return 0


def _pairs(found: list[Hint]) -> set[tuple[str, str]]:
    return {pair for h in found for pair in combinations(h.students, 2)}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as e:
        sys.exit(str(e))
