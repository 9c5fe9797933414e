"""Writes a failing check down as Python: a few lines that a learner can run, print in, and step through.

The case is the smallest that several seeds of the failing test offer, since sizes are drawn from the seed; then what it
does not need is taken away (see shrink).  Arguments are written out in full, so the lines stand for themselves.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from labkit import values
from labkit.calls import parameters
from labkit.catalog import Lab, Task
from labkit.probe import source_of
from labkit.remote import Call, Failed, Reference
from labkit.runner import Spec, kitchen, observe, seed_of
from labkit.shrink import shrink
from labkit.spec import Record

SEEDS = 20
WRITTEN = 2000  # numbers that are written out; more would not be read


def smallest(lab: Lab, task: Task, file: Path) -> tuple[Record, list[Call], int] | None:
    """The failing check with the fewest numbers in its call, and where random numbers begin; None if nothing fails."""
    spec = Spec.of(lab)
    found: list[tuple[int, int, Record, list[Call], int]] = []
    with kitchen(lab) as source:
        first = None
        for seed in range(SEEDS):
            box = source.box()
            try:
                seen = observe(
                    box, spec, task.name, lambda b: b.load(file, task.forbidden, lab.folder), seed, only=first
                )
            finally:
                box.close()
            if not seen.failures:
                continue
            if first is None:
                first = seen.failures[0][0] if seen.failures[0][0] in {t.name for t in spec.tests} else None
            for key in seen.failures:
                if key[0] == first or first is None:
                    calls = seen.calls[key]
                    cost = _cost(calls)
                    found.append((cost, len(found), seen.records[key], calls, seed_of(key[0], seed)))
            if seen.unfinished:
                break  # it hangs or dies: one case is enough
        if not found:
            return None
        record, calls, number = min(found, key=lambda f: f[:2])[2:]
        if not calls or lab.closed:  # what can be taken away shows only beside the reference
            return record, calls, number
        mine, reference = source.box(), source.box()
        try:
            mine.load(file, task.forbidden, lab.folder)
            reference.load(lab.file("solution.py"))
            return *shrink(mine, reference, record, slice_of(calls), number), number
        except Failed:
            return record, calls, number
        finally:
            mine.close()
            reference.close()


def _cost(calls: list[Call]) -> int:
    if not calls:
        return 1 << 40
    used = slice_of(calls)
    return sum(values.size(list(c.arguments)) for c in used if c.op != "get") + (1 << 20) * (calls[-1].op == "probe")


def slice_of(calls: list[Call]) -> list[Call]:
    """The last call and those before it that it rests on: what made its objects, and what was done to them since."""
    needed = {calls[-1].target} | _handles(calls[-1])
    kept = [calls[-1]]
    for call in reversed(calls[:-1]):
        for other in calls:  # what came out of one call together may hang together
            if needed & other.nested.keys():
                needed |= other.nested.keys()
        made = {call.result, *call.nested} - {None}
        method = _getter(calls, call.target) if call.op == "call" else None
        touched = _handles(call) | ({method.target} if method else set())
        # Whatever took an object that matters, or is a method of it, may have changed it.
        if made & needed or (call.op != "get" and touched & needed - {0}):
            needed |= {call.target} | _handles(call)
            kept.append(call)
    return kept[::-1]


def _handles(call: Call) -> set[int]:
    found: set[int] = set()

    def walk(x: Any) -> None:
        if isinstance(x, Reference):
            found.add(x._number)
        elif isinstance(x, (list, tuple, set)):
            for y in x:
                walk(y)
        elif isinstance(x, dict):
            for y in (*x.keys(), *x.values()):
                walk(y)

    if call.data:
        walk(list(call.arguments))
    return found


def _getter(calls: list[Call], handle: int) -> Call | None:
    return next((c for c in reversed(calls) if c.op == "get" and c.result == handle), None)


def python(lab: Lab, task: Task, record: Record, calls: list[Call], seed: int, file: Path) -> str:
    """The case as a program."""
    used = slice_of(calls) if calls else []
    body: list[str] = []
    names: dict[int, str] = {0: "lab"}
    for call in used:
        body += statement(lab, call, names, last=call is used[-1])
    text = "\n".join(body) + literal(record.want)
    head = [
        f"# lab {lab.id}, {task.name}: {record.why or 'the smallest failing case'}",
        f"# {_wish(record)}",
        "import importlib.util",
        *(["from math import inf, nan"] if "inf" in text or "nan" in text else []),
        *(["import numpy as np"] if "np." in text else []),
        *(["import torch"] if "torch." in text else []),
        "",
        *([f"torch.manual_seed({seed})"] if "torch." in text else []),
        f'spec = importlib.util.spec_from_file_location("lab", {str(file)!r})',
        "lab = importlib.util.module_from_spec(spec)",
        "spec.loader.exec_module(lab)",
        "",
    ]
    for probe in dict.fromkeys(call.probe for call in used if call.probe):
        head += [source_of(probe), ""]
    if not used:
        return "\n".join([*head[:-1], "# Nothing was called: loading the file is what fails."])
    tail = ['print("got ", got)']
    if record.kind in ("close", "equal") and values.size(record.want) <= WRITTEN:
        tail = [*_assign("want", literal(record.want)), *tail, 'print("want", want)']
    return "\n".join([*head, *body, *tail])


def _wish(record: Record) -> str:
    want = values.describe(record.want, 160)
    return {
        "less": f"wanted: a number below {want}",
        "between": f"wanted: a number in {want}",
        "raises": f"wanted: it raises {record.want}",
        "raised": "wanted: an answer instead of an exception",
        "sampled": f"wanted: draws that follow {want}",
    }.get(record.kind, f"wanted: {want}")


def statement(lab: Lab, call: Call, names: dict[int, str], last: bool) -> list[str]:
    """A call as lines of Python.  `names`, by handle, grows by what the call makes."""
    if call.op == "get":
        expression = f"{names.get(call.target, 'lab')}.{call.name}"
        if call.result is not None and not last:
            names[call.result] = expression
            return []
        return [f"got = {expression}"]
    args, kwargs = call.arguments
    lines: list[str] = []
    if call.op == "probe":
        called, shown = f"{call.name}(lab, ", [f"a{i}" for i in range(len(args))]
    else:
        called = names.get(call.target, "lab")
        shown = [
            n
            for n, _ in zip(
                [*parameters(lab, called.removeprefix("lab.")), *map("a{}".format, range(99))], args, strict=False
            )
        ]
        called += "("
    inline = []
    for name, value in zip(shown, args, strict=True):
        text = literal(value, names)
        if len(text) > 60:
            lines += _assign(name, text)
            text = name
        inline.append(text)
    inline += [f"{k}={literal(v, names)}" for k, v in kwargs.items()]
    expression = f"{called}{', '.join(inline)})"
    if last:
        return [*lines, f"got = {expression}"]
    if call.result is not None or call.nested:
        number = call.result if call.result is not None else min(call.nested)
        names[number] = f"x{number}"
        expression = f"x{number} = {expression}"
        for inner, way in call.nested.items():
            names[inner] = f"x{number}" + "".join(f"[{key!r}]" for key in way)
    return [*lines, expression]


def _assign(name: str, text: str) -> list[str]:
    if len(text) <= 110 or "[" not in text:
        return [f"{name} = {text}"]
    wrapped = textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False, drop_whitespace=True)
    return (
        [f"{name} = {wrapped[0]}", *(f"    {line}" for line in wrapped[1:])]
        if "'" not in text
        else [f"{name} = {text}"]
    )


def literal(x: Any, names: dict[int, str] | None = None) -> str:
    """A value as a Python expression that makes it again, exactly."""
    if isinstance(x, Reference):
        return (names or {}).get(x._number, "lab")
    if name := values.library(x):
        call = "torch.tensor" if name == "torch" else "np.array"
        kind = f"torch.{values.dtype(x)}" if name == "torch" else f'"{values.dtype(x)}"'
        if values.size(x) > WRITTEN:
            zeros = "torch.zeros" if name == "torch" else "np.zeros"
            return f"{zeros}({tuple(x.shape)}, dtype={kind})  # too large to write out: put numbers of your own here"
        if 0 in x.shape:
            return f"{call.replace('tensor', 'zeros').replace('array', 'zeros')}({tuple(x.shape)}, dtype={kind})"
        return f"{call}({_nested(x)}, dtype={kind})"
    if isinstance(x, (list, tuple)):
        inner = ", ".join(literal(y, names) for y in x)
        return f"[{inner}]" if isinstance(x, list) else f"({inner}{',' * (len(x) == 1)})"
    if isinstance(x, dict):
        return "{" + ", ".join(f"{literal(k, names)}: {literal(v, names)}" for k, v in x.items()) + "}"
    return repr(x)


def _nested(x: Any) -> Any:
    """Nested lists; a float32 as the shortest decimal that gives it again, not as the 17 digits of a double."""
    numbers = values.numbers(x)
    if values.dtype(x) != "float32":
        return numbers.tolist()
    import numpy as np

    def short(v: Any) -> Any:
        return [short(y) for y in v] if isinstance(v, list) else float(str(np.float32(v)))

    return short(numbers.tolist())
