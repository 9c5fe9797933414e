"""`python -m benchmarks.sizing`: what a class of 1,000 students and 39 labs takes, reckoned from results/grade.json.

Two labs were measured, one without torch and one with it.  The others lie between or beyond, so each figure stands twice:
as if all labs were the cheaper of the two, and as if all were the dearer.
"""

import json
from pathlib import Path
from typing import Any

from labkit.child import MEMORY
from labkit.runner import WHOLE

STUDENTS, LABS = 1000, 39
MACHINES = ((1, 4), (1, 16), (4, 16), (16, 16))  # machines, cores of each: as many workers as cores
DISTINCT = (1.0, 0.8)  # of the files; identical ones are judged once
ENDLESS = (0.0, 0.02, 0.05)  # the share of files that loop until they are stopped
TRIES = 2  # such a file is judged once more: the machine may have been busy
Measured = dict[str, dict[str, float]]


def hours(lab: dict[str, float], cores: int, distinct: float = 1.0, endless: float = 0.0) -> float:
    """Hours until all files are judged, if every lab were like this one and every core were free for it.

    >>> lab = {"cpu": 1.8, "start": 36.0}
    >>> hours(lab, 1) == 39 * (1000 * 1.8 + 36) / 3600
    True
    >>> hours(lab, 10, 0.5, 0.5) == 39 * (250 * 1.8 + 250 * 120 + 360) / 36000
    True
    """
    files = STUDENTS * distinct
    seconds = files * (1 - endless) * lab["cpu"] + files * endless * WHOLE * TRIES + cores * lab["start"]
    return LABS * seconds / cores / 3600


def _both(figures: list[float], unit: str, digits: int = 1) -> str:
    low, high = (f"{figure:,.{digits}f}" for figure in (min(figures), max(figures)))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def table(labs: Measured) -> str:
    """The page's table, in Markdown: a machine park a line."""
    cases = [(DISTINCT[0], e) for e in ENDLESS] + [(DISTINCT[1], ENDLESS[0])]
    heads = [f"{d:.0%} distinct, {e:.0%} endless" for d, e in cases]
    lines = [f"| machines | cores in all | {' | '.join(heads)} | memory of each machine |"]
    lines.append("|--:|--:|" + "--:|" * (len(heads) + 1))
    for machines, cores in MACHINES:
        all_cores = machines * cores
        times = [_both([hours(lab, all_cores, d, e) for lab in labs.values()], "h") for d, e in cases]
        held = _both([lab["memory"] * cores / 2**30 for lab in labs.values()], "GiB")
        lines.append(f"| {machines} × {cores} cores | {all_cores} | {' | '.join(times)} | {held} |")
    return "\n".join(lines)


def facts(result: dict[str, Any]) -> str:
    """What was measured, a line a lab, and the disk that results take."""
    labs: Measured = result["sizing"]
    lines = ["| lab | CPU s a file | CPU s to start, a worker and lab | memory a worker | disk a file |"]
    lines.append("|---|--:|--:|--:|--:|")
    for name, lab in labs.items():
        sizes = f"{lab['memory'] / 2**20:,.0f} MiB | {lab['disk'] / 2**10:,.1f} KiB"
        lines.append(f"| {name} | {lab['cpu']:.2f} | {lab['start']:.1f} | {sizes} |")
    files = STUDENTS * LABS
    disk = _both([lab["disk"] * files / 2**30 for lab in labs.values()], "GiB")
    cpu = _both([hours(lab, 1) for lab in labs.values()], "core hours")
    whole = f"{STUDENTS:,} students × {LABS} labs = {files:,} files: {cpu}, {disk} on disk."
    limits = (
        f"A submission may allocate {MEMORY / 2**30:g} GiB more, one at a time a worker. An endless loop takes up to "
    )
    return "\n".join([*lines, "", whole, "", f"{limits}{WHOLE:g} s, {TRIES} times."])


def main() -> None:
    result = json.loads(Path(__file__).with_name("results").joinpath("grade.json").read_text("utf-8"))
    print(f"{facts(result)}\n\n{table(result['sizing'])}")


if __name__ == "__main__":
    main()
