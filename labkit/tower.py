"""`lab tower`: the stack from bytes to chat as a tower, and whose bricks it stands on.

What the layers are is the curriculum's business and stands in phases/tower.toml:

    [[layer]]
    name = "attention"
    does = "lets each position read from those before it"
    labs = ["4.1", "4.2"]
    library = "llmcore/model/attention.py"       # optional: what stands in while the labs have not passed

A layer is *yours* when all its labs have passed, *begun* when some of them have or are being worked on, *reference*
when none is but there is code that stands in (a lab's solution, or that file), and *not there yet* otherwise.
"""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from labkit import catalog
from labkit.catalog import Lab, LabError
from labkit.progress import Progress
from labkit.report import Paint

BRICKS = {"yours": "██████", "begun": "██▒▒▒▒", "reference": "▒▒▒▒▒▒", "not there yet": "      "}
ASCII = {"yours": "######", "begun": "##----", "reference": "------", "not there yet": "      "}
COLOURS = {"yours": "32", "begun": "33", "reference": "2", "not there yet": "2"}
MARKS = {"passed": "✓", "begun": "◐", "open": "·", "not built": ""}
ASCII_MARKS = {"passed": "+", "begun": "~", "open": ".", "not built": ""}
LEGEND = {
    "yours": "yours: all its labs passed",
    "begun": "begun",
    "reference": "the reference stands in",
    "not there yet": "not built yet in this repository",
}


@dataclass(frozen=True)
class Layer:
    """One storey: its labs by id with how far each is (passed, begun, open, not built), and the state that follows."""

    name: str
    does: str
    labs: dict[str, str]
    state: str


def layers(base: Path, every: list[Lab], progress: Progress) -> list[Layer]:
    """The storeys from the ground up."""
    path = base / "phases" / "tower.toml"
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["layer"]
        plan = [(str(r["name"]), str(r["does"]), [str(i) for i in r["labs"]], r.get("library")) for r in rows]
    except FileNotFoundError:
        raise LabError(f"There is no {path}, which lists the layers of the tower.") from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as e:
        what = e if isinstance(e, tomllib.TOMLDecodeError) else f"a [[layer]] has name, does and labs ({e})"
        raise LabError(f"{path}: {what}.") from None
    known = {lab.id: lab for lab in every}
    storeys = []
    for name, does, ids, library in plan:
        states = {i: _state_of_lab(known.get(i), progress) for i in ids}
        stands_in = bool(library) and (base / str(library)).exists()
        storeys.append(Layer(name, does, states, _state(set(states.values()), stands_in)))
    return storeys


def _state_of_lab(lab: Lab | None, progress: Progress) -> str:
    if lab is None:
        return "not built"
    if progress.done(lab):
        return "passed"
    return "begun" if progress.points(lab) or progress.started(lab) else "open"


def _state(labs: set[str], stands_in: bool) -> str:
    if labs == {"passed"}:
        return "yours"
    if labs & {"passed", "begun"}:
        return "begun"
    return "reference" if "open" in labs or stands_in else "not there yet"


def next_brick(storeys: list[Layer], every: list[Lab]) -> tuple[Layer, Lab] | None:
    """The lowest layer that has a lab to work on, and that lab; one that was begun comes before one that was not."""
    known = {lab.id: lab for lab in every}
    for layer in storeys:
        for wanted in ("begun", "open"):
            for lab_id, state in layer.labs.items():
                if state == wanted:
                    return layer, known[lab_id]
    return None


def draw(storeys: list[Layer], every: list[Lab], out: TextIO, plain: bool) -> None:
    """The tower, its legend, and what to do next; at most 80 columns.  `plain`: in ASCII."""
    paint = Paint(out)
    bricks, marks = (ASCII, ASCII_MARKS) if plain else (BRICKS, MARKS)
    left, right, roof, ground = ("|", "|", "+------+", "=") if plain else ("▐", "▌", "▗▄▄▄▄▄▄▖", "▀")
    wide = max((len(layer.name) for layer in storeys), default=0)
    long = max((len(layer.does) for layer in storeys), default=0)
    print(f" {roof}", file=out)
    for layer in reversed(storeys):
        wall = f" {left}{paint.code(COLOURS[layer.state], bricks[layer.state])}{right}"
        ids = " ".join(f"{lab_id}{marks[state]}" for lab_id, state in layer.labs.items())
        name = f"{layer.name:{wide}}"
        name = paint.bold(name) if layer.state == "yours" else name
        print(f"{wall} {name} {paint.dim(f'{layer.does:{long}}')} {ids}".rstrip(), file=out)
    print(ground * 79, file=out)
    for state, words in LEGEND.items():
        number = sum(layer.state == state for layer in storeys)
        print(f"  {paint.code(COLOURS[state], bricks[state])}  {number:2}  {words}", file=out)
    print(
        f"  labs: {', '.join(f'{mark} {state}' for state, mark in marks.items() if mark)}; without a mark not built",
        file=out,
    )
    if brick := next_brick(storeys, every):
        layer, lab = brick
        print(f"Next brick: {lab.id} {lab.title}, for {layer.name}.", file=out)
        print(f"  read it: lab show {lab.id}   lay it: lab watch {lab.id}", file=out)
    else:
        print("Every brick that can be laid today is yours.", file=out)


def main(base: Path, as_json: bool) -> int:
    """`lab tower`."""
    every, progress = catalog.labs(base), Progress(base)
    storeys = layers(base, every, progress)
    if as_json:
        brick = next_brick(storeys, every)
        rows = [{"name": s.name, "does": s.does, "state": s.state, "labs": s.labs} for s in storeys]
        print(json.dumps({"schema": 1, "layers": rows, "next": brick and brick[1].id}, indent=1))
    else:
        draw(storeys, every, sys.stdout, plain=not _unicode(sys.stdout))
    return 0


def _unicode(out: TextIO) -> bool:
    try:
        "█▒▐▗▀✓◐".encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
