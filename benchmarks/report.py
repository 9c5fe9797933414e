"""What a benchmark found: as data (JSON), and as the Markdown page that the data renders to.

Does not:
- say on whose machine, under what name, or in which folder anything ran
"""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.timing import SLACK, Goal, speed_ratio, verdict

Result = dict[str, Any]

_AMOUNTS = {
    "megabytes": "MB/s",
    "gigabytes": "GB/s",
    "tokens": "tokens/s",
    "words": "words/s",
}  # what a table may say each row got through


def conditions(packages: Sequence[str]) -> dict[str, Any]:
    """The machine, the versions and the date."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        },
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in packages},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def judged(result: Result, goals: Mapping[str, Sequence[Goal]]) -> list[dict[str, Any]]:
    """Each goal of each table with the ratio that was measured and the verdict."""
    found = []
    for table in result["tables"]:
        seconds = {row["name"]: row["seconds"] for row in table["rows"]}
        for goal in goals[table["kind"]]:
            ratio = speed_ratio(seconds[goal.own], seconds[goal.peer])
            found.append(
                {"table": table["title"], "own": goal.own, "peer": goal.peer, "at_least": round(goal.at_least, 4)}
                | {"ratio": round(ratio.median, 4), "low": round(ratio.low, 4), "high": round(ratio.high, 4)}
                | {"verdict": verdict(ratio.median, goal.at_least)}
            )
    return found


def markdown(result: Result) -> str:
    """The page of a result. The same data give the same page."""
    machine, rounds = result["machine"], result["rounds"]
    lines = [
        f"# {result['title']}",
        "",
        f"`{result['command']}`, {result['date']}. {machine['cpu']}, {machine['cores']} cores, {machine['system']}"
        + (f", load average {machine['load']} at the start" if machine["load"] is not None else "")
        + ". "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + ".",
        "",
        result.get("clock")
        or f"CPU seconds of one thread: median of {rounds} rounds (lowest to highest), all in one process, taking turns.",
        "",
        "## Goals",
        "",
        "How many times as fast the first is as the second: ratio of the medians (lowest to highest of single rounds). "
        f"The benchmark fails below {SLACK:g} of a goal.",
        "",
        "| where | what | beside | goal | measured | |",
        "|---|---|---|--:|--:|---|",
    ]
    for g in result["goals"]:
        measured = f"{_short(g['ratio'])} ({_short(g['low'])} to {_short(g['high'])})"
        goal = f"≥ {_short(g['at_least'])}"
        lines.append(f"| {g['table']} | {g['own']} | {g['peer']} | {goal} | {measured} | {g['verdict']} |")
    for table in result["tables"]:
        lines += ["", f"## {table['title']}", "", table["says"], ""]
        amount, unit = next(((table[key], unit) for key, unit in _AMOUNTS.items() if key in table), (None, ""))
        limit = table.get("bytes_per_second")
        heads = ["", "seconds", *([unit] if amount else []), *(["of the memory's speed"] if limit else [])]
        lines.append(f"| {' | '.join(heads)} |".replace("|  |", "| |"))
        lines.append("|---|" + "--:|" * (len(heads) - 1))
        for row in table["rows"]:
            middle = statistics.median(row["seconds"])
            spread = f"{_short(middle)} ({_short(min(row['seconds']))} to {_short(max(row['seconds']))})"
            line = f"| {row['name']} | {spread} |" + (f" {_short(amount / middle)} |" if amount else "")
            if limit:
                line += f" {row['bytes'] / middle / limit:.0%} |" if "bytes" in row else " |"
            lines.append(line)
    if quality := result.get("quality"):
        lines += _quality(quality)
    if not result.get("texts"):
        return "\n".join(lines) + "\n"
    lines += ["", "## Texts", "", "| text | what | documents | bytes | sha256 |", "|---|---|--:|--:|---|"]
    for text in result["texts"]:
        cells = [text["name"], text["what"], f"{text['documents']:,}", f"{text['bytes']:,}", f"`{text['sha256'][:16]}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _quality(quality: Mapping[str, Any]) -> list[str]:
    tests = [key for key in quality["rows"][0] if key != "name"]
    lines = ["", "## Quality", "", quality["says"], "", f"| | {' | '.join(tests)} |", "|---|" + "--:|" * len(tests)]
    for row in quality["rows"]:
        cells = [f"{statistics.mean(row[test]):.3f} ({min(row[test]):.3f} to {max(row[test]):.3f})" for test in tests]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    own = quality["rows"][0]["name"]
    return [
        *lines,
        "",
        f"Goal: {own} at most {quality['within']:g} below the best peer in {tests[0]}. "
        f"The difference is {quality['difference']:+.3f}: {quality['verdict']}.",
    ]


def _short(number: float) -> str:
    """Three digits, or all of those before the point.

    >>> _short(0.31416), _short(12.345), _short(12345.6)
    ('0.314', '12.3', '12,346')
    """
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
