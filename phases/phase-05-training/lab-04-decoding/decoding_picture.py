"""The picture of lab 5.4: quality against diversity, and how sure the model is of each strategy's text as it grows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from decoding_report import TEMPERATURES, N, Row
from PIL import Image

BLUE, ORANGE, GREEN, PINK, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
KINDS = {"top-k": ("s", ORANGE), "top-p": ("D", GREEN), "0.85 and": ("D", GREEN), "real": ("*", BLACK)}
NAMES = {"temperature 0.85": (14, -3)}  # real text stands where its name would
SMOOTH = 4  # neighbours on either side that a place is averaged with


def draw(rows: list[Row], path: Path) -> None:
    """Two panels."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    by = {row.name: row for row in rows}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 5), layout="constrained")
    _tradeoff(left, by)
    _sureness(right, by)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def _tradeoff(axis: Any, by: dict[str, Row]) -> None:
    line = [by[f"temperature {t:g}"] for t in TEMPERATURES]
    axis.plot([r.distinct[1] for r in line], [r.overlap for r in line], "-o", color=BLUE, ms=5)
    for row in by.values():
        here, real = (row.distinct[1], row.overlap), row.name == "real text"
        below = row.name.startswith(("top", "contrastive"))  # these lie along the line: names go to its other side
        before = below or row.name.startswith("0.85 and")
        if row not in line:
            mark, color = next((m for start, m in KINDS.items() if row.name.startswith(start)), ("^", PINK))
            axis.plot(*here, mark, color=color, ms=14 if mark == "*" else 7)
        axis.annotate(
            row.name.replace("temperature ", "T = "), here, textcoords="offset points", fontsize=8,
            xytext=NAMES.get(row.name, (-7 if before else 7, -10 if below else 5)), ha="right" if before else "left",
            weight="bold" if real else None,
            color=BLUE if row in line else BLACK,
        )  # fmt: skip
    axis.set(
        xlabel="diversity: share of distinct 2-grams in all texts",
        ylabel=f"likeness: share of {N}-grams that real held-out text has",
        title="Diversity costs likeness; real text lies beyond the line",
    )
    axis.margins(x=0.16, y=0.08)


def _sureness(axis: Any, by: dict[str, Row]) -> None:
    ends: list[tuple[float, str, str]] = []
    longest = 0
    for name, color in (("beam search, 4", PINK), ("greedy", ORANGE), ("top-p 0.9", GREEN), ("real text", BLACK)):
        logprobs = by[name].logprobs
        places = [[lp[i] for lp in logprobs if i < len(lp)] for i in range(max(map(len, logprobs)))]
        means = [sum(place) / len(place) for place in places]
        near = [means[max(0, i - SMOOTH) : i + SMOOTH + 1] for i in range(len(means))]
        axis.plot([sum(x) / len(x) for x in near], color=color, lw=2)
        ends.append((sum(near[-1]) / len(near[-1]), name, color))
        longest = max(longest, len(means))
    low, high = axis.get_ylim()
    at = low - high
    for end, name, color in sorted(ends):  # from below, none on top of another
        at = max(end, at + (high - low) / 22)
        axis.text(longest + 1, at, name, color=color, fontsize=9, va="center")
    axis.set(
        xlabel="place in the text, in tokens",
        ylabel="mean log-probability of the token there, in nats",
        title="Searched-for text is more probable than real text",
        xlim=(0, longest * 1.33),
    )
