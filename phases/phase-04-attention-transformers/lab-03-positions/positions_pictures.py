"""The two pictures of lab 4.3.  Colours are Okabe and Ito's, which colour-blind readers can tell apart.

Does: draw what it is handed.
Does not: compute anything about positions.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from torch import Tensor

BLUE, SKY, ORANGE, GREEN, VERMILION, PURPLE, GREY = (
    "#0072B2", "#BBDDF2", "#E69F00", "#009E73", "#D55E00", "#9D5B9B", "#6b6b6b",
)  # fmt: skip


def clocks(rows: dict[str, tuple[float, ...]], context: int, factor: int, path: Path) -> None:
    """A face for each pair and each stretching: the arc seen in training, and what the longer text adds to it."""
    from matplotlib.patches import Circle, Wedge

    shown = (0, 1, 2, 3, 4, 5)
    last = context * factor - 1
    figure, axes = _pyplot().subplots(len(rows), len(shown), figsize=(8.4, 6.4), layout="constrained")
    plain = rows["plain"]
    for row, (name, turn) in zip(axes, rows.items(), strict=True):
        for axis, pair in zip(row, shown, strict=True):
            seen = min(360.0, math.degrees(plain[pair] * (context - 1)))
            needed = min(360.0, math.degrees(turn[pair] * last))
            axis.add_patch(Circle((0, 0), 1, facecolor="white", edgecolor="#c4c4c4"))
            axis.add_patch(Wedge((0, 0), 1, 90 - seen, 90, facecolor=SKY))  # clockwise from twelve o'clock
            if needed > seen + 0.5:
                axis.add_patch(Wedge((0, 0), 1, 90 - needed, 90 - seen, facecolor=ORANGE))
            angle = math.pi / 2 - turn[pair] * last
            axis.plot([0, 0.92 * math.cos(angle)], [0, 0.92 * math.sin(angle)], color="black", lw=1.8)
            axis.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xticks=[], yticks=[])
            axis.set_xlabel(f"÷ {plain[pair] / turn[pair]:.2f}", fontsize=8, labelpad=1, color=GREY)
            for spine in axis.spines.values():
                spine.set_visible(False)
        row[0].set_ylabel(name, fontsize=11, rotation=0, ha="right", va="center", labelpad=8)
    for axis, pair in zip(axes[0], shown, strict=True):
        axis.set_title(f"pair {pair}\na turn in {2 * math.pi / plain[pair]:,.0f}", fontsize=9)
    figure.suptitle(
        f"Slow hands leave the angles they were trained on: head_dim {2 * len(plain)}, trained on {context} tokens,\n"
        f"hand at token {last}.  Blue: angles seen in training.  Orange: new ones.  Grey: how much a stretching slows",
        fontsize=10,
    )
    save(figure, path)


STYLE = {
    "learned": (GREY, "-"),
    "sinusoidal": (PURPLE, "-"),
    "RoPE": (VERMILION, "-"),
    "ALiBi": (GREEN, "-"),
    "RoPE, interpolated": (ORANGE, "-"),
    "RoPE, NTK": (BLUE, "-"),
    "RoPE, YaRN": ("black", "-"),
}


def curves(lines: dict[str, dict[int, Tensor]], context: int, path: Path) -> None:
    """Loss against context: the four kinds on the left, RoPE's stretchings on the right; bands are 95 % over windows."""
    figure, axes = _pyplot().subplots(1, 2, figsize=(9.6, 4.2), layout="constrained", sharey=True)
    names = list(lines)
    for axis, shown, title in (
        (axes[0], names[:4], f"Beyond the trained length, {_who_holds(lines, names[:4], context)}"),
        (axes[1], ["RoPE", *names[4:]], "RoPE stretched, without further training"),
    ):
        ends = []
        for name in shown:
            color, style = STYLE.get(name, (GREY, "--"))
            x = sorted(lines[name])
            mean = [float(lines[name][c].mean()) for c in x]
            half = [1.96 * float(lines[name][c].std()) / len(lines[name][c]) ** 0.5 for c in x]
            axis.plot(x, mean, style, color=color, lw=1.8, marker="o", ms=3)
            axis.fill_between(
                x, [m - h for m, h in zip(mean, half, strict=True)], [m + h for m, h in zip(mean, half, strict=True)],
                color=color, alpha=0.18, lw=0,
            )  # fmt: skip
            if x[-1] > context:
                ends.append((mean[-1], name.removeprefix("RoPE, "), color, x[-1]))
            else:
                axis.plot(x[-1], mean[-1], "x", color=color, ms=9, mew=2)
                axis.annotate(name, (x[-1], mean[-1]), (4, 5), textcoords="offset points", color=color, fontsize=9)
        _label_ends(axis, ends)
        axis.axvline(context, color=GREY, lw=0.8, ls=":")
        axis.set_xscale("log", base=2)
        ticks = [context // 2, context, 2 * context, 4 * context, 8 * context]
        axis.set_xticks(ticks, [f"{t}\n{t / context:g}×" for t in ticks])
        axis.set_xlim(context * 0.45, context * 8 * 2.6)
        axis.set(title=title, xlabel="bytes of context, and as a multiple of the trained length")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel("loss on the same bytes, nats per byte")
    save(figure, path)


def _who_holds(lines: dict[str, dict[int, Tensor]], names: list[str], context: int) -> str:
    """Whose loss at the greatest length is within 0.1 nats of that at the trained one."""
    longest = 8 * context
    kept = [n for n in names if longest in lines[n] and float((lines[n][longest] - lines[n][context]).mean()) < 0.1]
    return {0: "none holds", 1: f"only {kept[0]} holds" if kept else ""}.get(len(kept), " and ".join(kept) + " hold")


def _label_ends(axis: Any, ends: list[tuple[float, str, str, int]]) -> None:
    """Names at the right ends of the lines, pushed apart where they would lie on each other."""
    low, high = axis.get_ylim()
    gap, places = (high - low) / 15, [y for y, *_ in sorted(ends)]
    for _ in range(100):
        for i in range(len(places) - 1):
            push = max(0.0, gap - (places[i + 1] - places[i])) / 2
            places[i], places[i + 1] = places[i] - push, places[i + 1] + push
    for (_, name, color, x), at in zip(sorted(ends), places, strict=True):
        axis.annotate(name, (x, at), (6, 0), textcoords="offset points", color=color, va="center")


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: Path) -> None:
    """Writes a picture and says so."""
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"drew {path.parent.name}/{path.name}")
