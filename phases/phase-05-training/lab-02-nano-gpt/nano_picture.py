"""The loss curve of lab 5.2, beside what a model without any insight would get.  Okabe and Ito's colours."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#6b6b6b", "#009E73"


def references(train: UInt[np.ndarray, " n"], held_out: UInt[np.ndarray, " m"], vocab_size: int) -> dict[str, float]:
    """Losses on the held-out tokens of models that are only tables, counted on the training tokens; nats per token.

    One count for everything in the first table.  In the second a row is mixed with the first table as if that had been
    seen 50 times, so that pairs that never occurred cost something finite (MacKay & Peto 1995).
    """
    counts = np.bincount(train, minlength=vocab_size) + 1.0
    p = counts / counts.sum()
    found = {"ln V: all equally likely": math.log(vocab_size), "table of tokens": float(-np.log(p[held_out]).mean())}
    if vocab_size <= 4096:  # a table of pairs has V² entries
        pairs = np.bincount(train[:-1].astype(np.int64) * vocab_size + train[1:], minlength=vocab_size**2)
        before, after = held_out[:-1].astype(np.int64), held_out[1:]
        q = (pairs[before * vocab_size + after] + 50 * p[after]) / (
            np.bincount(train[:-1], minlength=vocab_size)[before] + 50
        )
        found["table of pairs"] = float(-np.log(q).mean())
    return found


def draw(
    log: list[dict[str, Any]], lines: dict[str, float], final: float, bits: Callable[[float], float], path: Path
) -> None:
    """Training loss, smoothed and raw, held-out loss, and the tables as lines; below it the learning rate."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8.5, 6), sharex=True, height_ratios=(4, 1), layout="constrained"
    )
    steps = np.array([row["step"] for row in log]) + 1
    losses = np.array([row["loss"] for row in log])
    width = max(1, len(losses) // 40)
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    top.plot(steps, losses, color=BLUE, alpha=0.25, lw=0.8)
    top.plot(steps[width // 2 :][: len(smooth)], smooth, color=BLUE, lw=2, label=f"training, running mean of {width}")
    looks = [(row["step"] + 1, row["val_loss"]) for row in log if row["val_loss"] != ""]
    top.plot(*zip(*looks, strict=True), "o-", color=ORANGE, lw=1.2, ms=6, label="held out")
    for name, value in lines.items():
        top.axhline(value, color=GREY, lw=1, ls=(0, (4, 3)))
        top.annotate(f"{name}  {value:.2f}", (1.0, value), xycoords=("axes fraction", "data"), xytext=(0, 3),
                     textcoords="offset points", ha="right", va="bottom", color=GREY, size=10)  # fmt: skip
    name, value = list(lines.items())[-1]
    title = f"{final:.2f} nats a token on held-out text, {bits(final):.2f} bits a byte: "
    title += f"{'better' if final < value else 'no better'} than a {name}"
    low, high = min(smooth.min(), final, *lines.values()) - 0.35, max(losses.max(), *lines.values()) + 0.35
    top.set(ylabel="loss, nats per token", title=title, ylim=(low, high))
    top.legend(frameon=False, loc="lower left")
    bottom.plot(steps, [row["lr"] * 1e3 for row in log], color=GREEN, lw=2)
    bottom.set(xlabel="step", ylabel="learning\nrate, 10⁻³", ylim=(0, None), xlim=(0, len(log) * 1.01))
    figure.savefig(path, dpi=100)
    plt.close(figure)
    Image.open(path).quantize(64).save(path, optimize=True)  # a third of the size, and nothing to be seen of it
