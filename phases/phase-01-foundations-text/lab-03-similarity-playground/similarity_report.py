"""The pictures and tables of lab 1.3: concentration, random angles, unit vectors, hubs, search by hashing; failures.

Does: measure whatever metrics the lab's file holds; it is handed that file as a module, the learner's or the reference.
Does not: hold anything to be written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import similarity_vectors as vectors
from jaxtyping import Float

FOLDER = Path(__file__).parent
BLUE, ORANGE, GREY, PINK = "#0072B2", "#C27A00", "#6b6b6b", "#CC3D7A"
METRICS = ("dot", "cosine", "euclidean", "manhattan", "jaccard")
Rows = Float[np.ndarray, "n d"]


@contextmanager
def doing(words: str) -> Iterator[None]:
    """Shows what is being done, until it is done; only to someone who watches a terminal."""
    watched = sys.stderr.isatty()
    if watched:
        print(f"{words} …", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if watched:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # back to the start of the line, and clear it


def touch(lab: ModuleType) -> None:
    """Uses each part once, in the order of the tasks, so that an unfinished lab names the next one to write."""
    one = np.eye(2)
    lab.dot(one, one)
    lab.normalize(one)
    for name in METRICS[1:]:
        getattr(lab, name)(one, one)
    lab.triangle_gap(1 - one)
    lab.invariances(lambda a, b: a @ b.T, 0)
    lab.mips_to_cosine(one, one)
    lab.sign_bits(one, 2, 0)


def passages(most: int | None = 3000) -> vectors.Passages:
    """The State of the Union, or one line that says how to get it."""
    from llmcore.assets import COMMAND, AssetMissing

    try:
        with doing("reading the State of the Union"):
            return vectors.passages(most)
    except AssetMissing as missing:
        sys.exit(str(missing).replace(COMMAND, "lab assets"))  # the same command, by the name that learners know


def figure(panels: int, size: tuple[float, float]) -> Any:
    """A figure and its axes, in this lab's style."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 12})
    made, axes = plt.subplots(1, panels, figsize=size, layout="constrained")
    for axis in np.atleast_1d(axes):
        axis.grid(alpha=0.25)
    return made, axes


def save(made: Any, name: str, see: str) -> None:
    """Into artifacts/ beside this file, with a line that says what to see."""
    from matplotlib import pyplot as plt

    path = FOLDER / "artifacts" / name
    path.parent.mkdir(exist_ok=True)
    made.savefig(path, dpi=90)
    plt.close(made)
    from PIL import Image

    with Image.open(path) as picture:  # 64 colours are enough, and a quarter of the bytes
        small = picture.convert("RGB").quantize(64)
    small.save(path, optimize=True)
    print(f"artifacts/{name}\n  {see}\n")


# ---- many dimensions


def contrast(lab: ModuleType, rows: Rows, queries: int = 100) -> float:
    """How many times as far as the nearest of the other rows the farthest is from a query; the median over the queries."""
    distances = lab.euclidean(rows[:queries], rows[queries:])
    return float(np.median(distances.max(axis=1) / distances.min(axis=1)))


def draw_concentration(lab: ModuleType, real: Rows, name: str) -> None:
    """Beyer et al. 1999, on random vectors, on real ones, and on real ones whose coordinates no longer belong together."""
    rng, n = np.random.default_rng(0), min(1000, len(real))
    pick = rng.permutation(len(real))[:n]
    real = real[pick]
    shuffled = np.column_stack([rng.permutation(column) for column in real.T])
    made, (left, right) = figure(2, (12, 4.6))
    for d, colour in ((2, GREY), (16, ORANGE), (256, BLUE)):
        rows = rng.normal(size=(600, d))
        distances = lab.euclidean(rows[:200], rows[200:]).ravel()
        left.hist(
            distances / distances.mean(),
            bins=150,
            range=(0, 2.5),
            density=True,
            histtype="stepfilled",
            color=colour,
            alpha=0.65,
            label=f"d = {d}",
        )
    left.set(
        title="Gaussian vectors: all distances become the same", xlabel="distance / mean distance", ylabel="density"
    )
    left.legend(frameon=False)
    from tqdm import tqdm

    sizes = [2**k for k in range(1, 10)]
    random = [contrast(lab, rng.normal(size=(n, d))) for d in tqdm(sizes, "random vectors", leave=False, disable=None)]
    known = [d for d in sizes if d <= real.shape[1]]
    measured = [contrast(lab, real[:, :d]) for d in tqdm(known, "real vectors", leave=False, disable=None)]
    mixed = [contrast(lab, shuffled[:, :d]) for d in tqdm(known, "shuffled vectors", leave=False, disable=None)]
    for x, y, colour, style, label in (
        (sizes, random, BLUE, "o-", "Gaussian"),
        (known, mixed, GREY, "s--", f"{name}, each coordinate shuffled"),
        (known, measured, PINK, "o-", name),
    ):
        right.loglog(x, y, style, color=colour, lw=2.2, label=label)
    right.legend(frameon=False)
    right.set(title=f"Real vectors keep more contrast ({n:,} of each)", xlabel="dimensions d (log scale)",
              ylabel="farthest / nearest distance, median (log scale)")  # fmt: skip
    right.set_xticks(sizes, [str(d) for d in sizes])
    right.set_yticks([1, 10, 100], ["1", "10", "100"])
    right.minorticks_off()
    at = known[-1]
    see = (f"For the median query among random vectors, the farthest of {n - 100:,} is {random[0]:.0f} times as far as the nearest at d = 2, "
           f"{random[sizes.index(at)]:.2f} times at d = {at}.\n  {name}: {measured[-1]:.2f} times at d = {at}; "
           f"with each coordinate shuffled {mixed[-1]:.2f}.")  # fmt: skip
    save(made, "concentration.png", see)


def cosine_density(x: np.ndarray, d: int) -> np.ndarray:
    """Of the cosine of two independent random directions: (1 + cos)/2 is Beta((d-1)/2, (d-1)/2)."""
    from scipy.stats import beta  # type: ignore[import-untyped]

    return np.asarray(beta.pdf((1 + x) / 2, (d - 1) / 2, (d - 1) / 2) / 2)


def draw_angles(lab: ModuleType, real: Rows, name: str) -> None:
    """The cosine of random directions against its exact density; and that of real vectors of the same width."""
    rng = np.random.default_rng(1)
    made, (left, right) = figure(2, (12, 4.6))
    x = np.linspace(-0.999, 0.999, 801)
    for d, colour in ((3, GREY), (16, ORANGE), (256, BLUE)):
        cosines = lab.cosine(rng.normal(size=(200, d)), rng.normal(size=(1000, d))).ravel()
        label = f"d = {d}: std {cosines.std():.3f}, 1/√d = {d**-0.5:.3f}"
        left.hist(cosines, bins=121, range=(-1, 1), density=True, color=colour, alpha=0.45, label=label)
        left.plot(x, cosine_density(x, d), color=colour, lw=2)
    left.set(title="Random directions: bars measured, lines exact", xlabel="cosine", ylabel="density", ylim=(0, 8))
    left.legend(frameon=False)
    d = min(256, real.shape[1])
    cosines = lab.cosine(real[:200, :d], real[200:, :d]).ravel()
    right.hist(cosines, bins=121, range=(-1, 1), density=True, color=PINK, alpha=0.65, label=name)
    right.plot(x, cosine_density(x, d), color=BLUE, lw=2, label=f"random directions, d = {d}")
    right.set(title=f"{name}: mean {cosines.mean():.2f}, std {cosines.std():.2f}", xlabel="cosine", ylabel="density")
    right.set_ylim(top=1.3 * right.get_ylim()[1])  # room for the legend above the peak
    right.legend(frameon=False, loc="upper right")
    from scipy.stats import beta

    high = 3 / d**0.5
    chance = beta.sf((1 + high) / 2, (d - 1) / 2, (d - 1) / 2)
    see = (f"In {d} dimensions, two random directions have a cosine above {high:.4g} once in {1 / chance:,.0f} pairs; "
           f"{name}: once in {1 / np.mean(cosines > high):,.0f}.\n  The mean there is {cosines.mean():.3f}: "
           "what a cosine of 0.3 is worth depends on its distribution.")  # fmt: skip
    save(made, "angles.png", see)


def draw_hubs(lab: ModuleType, real: Rows, name: str, k: int = 10) -> None:
    """In how many lists of 10 nearest neighbours does a vector stand?  On average in 10.  Radovanović et al. 2010."""
    rng, n = np.random.default_rng(2), min(1000, len(real))
    sets: list[tuple[str, str, Rows]] = [
        (f"Gaussian, d = {d}", colour, rng.normal(size=(n, d))) for d, colour in ((3, GREY), (256, BLUE))
    ]
    sets.append((name, PINK, real[rng.permutation(len(real))[:n]]))
    made, axis = figure(1, (8, 4.6))
    lines = []
    for label, colour, rows in sets:
        with doing(f"neighbours of {label}"):
            distances = lab.euclidean(rows, rows)
        np.fill_diagonal(distances, np.inf)
        times = np.bincount(np.argpartition(distances, k, axis=1)[:, :k].ravel(), minlength=n)
        axis.plot(
            np.arange(1, n + 1),
            np.sort(times)[::-1] + 0.5,
            color=colour,
            lw=2.2,
            label=f"{label}: largest {times.max()}",
        )
        lines.append(
            f"{label}: the largest hub is in {times.max()} of {n:,} lists, {np.mean(times == 0):.0%} of the vectors in none."
        )
    axis.axhline(k + 0.5, color="black", lw=1, ls=":")
    axis.annotate(f"everybody in {k} lists", (1.1, k + 0.5), xytext=(0, 4), textcoords="offset points", size=10)
    axis.set(title=f"Hubs: who stands in whose list of {k} nearest neighbours", xscale="log", yscale="log",
             xlabel="vectors, the most popular first (rank, log scale)",
             ylabel="number of lists + ½ (log scale)")  # fmt: skip
    axis.legend(frameon=False)
    save(made, "hubs.png", "\n  ".join(lines))


# ---- dot product, cosine, distance


def top(values: np.ndarray, k: int = 10) -> list[set[int]]:
    """The places of the k largest values of each row."""
    return [set(np.argpartition(-row, k)[:k].tolist()) for row in values]


def shared(one: list[set[int]], other: list[set[int]]) -> float:
    """The average share of one that is also in the other."""
    return float(np.mean([len(a & b) / len(a) for a, b in zip(one, other)]))


def draw_unit(lab: ModuleType, raw: Rows, name: str) -> None:
    """Before: three different rankings.  On unit vectors: one."""
    unit = lab.normalize(raw)
    queries, items = slice(0, 200), slice(200, None)
    made, (left, right) = figure(2, (12, 4.6))
    few = slice(200, 500)
    cosines = lab.cosine(raw[:10], raw[few]).ravel()
    left.scatter(cosines, lab.dot(raw[:10], raw[few]).ravel(), s=7, color=ORANGE, label="dot product, as they are")
    left.set(
        title="As they are: long vectors score high at any angle",
        xlabel="cosine",
        ylabel="dot product (log scale near ±1)",
    )
    left.set_yscale("symlog", linthresh=1)
    right.scatter(cosines, lab.dot(unit[:10], unit[few]).ravel(), s=7, color=ORANGE, label="dot product")
    right.scatter(cosines, lab.euclidean(unit[:10], unit[few]).ravel(), s=7, color=BLUE, label="Euclidean distance")
    x = np.linspace(-1, 1, 201)
    right.plot(x, np.sqrt(2 - 2 * x), color="black", lw=0.8, label="√(2 - 2 cos)")
    right.set(title="At length 1: dot = cos, distance = √(2 - 2 cos)", xlabel="cosine", ylabel="value")
    right.legend(frameon=False)
    best = top(lab.cosine(raw[queries], raw[items]))
    lines = []
    for what, rows in (("as they are", raw), ("at length 1", unit)):
        by_dot = shared(best, top(lab.dot(rows[queries], rows[items])))
        by_distance = shared(best, top(-lab.euclidean(rows[queries], rows[items])))
        lines.append(
            f"{name}, {what}: of the ten best by cosine, the dot product finds {by_dot:.0%}, the distance {by_distance:.0%}."
        )
    save(made, "unit.png", "\n  ".join(lines))


# ---- search by hashing


EXAMINED = np.linspace(0, 0.25, 101)  # shares of the items
WAYS = ("one more coordinate (simple-LSH)", "vectors as they are", "no hashing: the longest first")


def searched(lab: ModuleType, items: Rows, queries: Rows, bits: int, tables: int, seed: int) -> dict[str, np.ndarray]:
    """For each way the share of the ten largest dot products that is found among EXAMINED shares of the items."""
    truth = top(lab.dot(queries, items))
    made = {}
    for way, (x, q) in zip(WAYS, (lab.mips_to_cosine(items, queries), (items, queries))):
        index = lab.HyperplaneIndex(x, bits, tables, seed)
        found = [index.candidates(query) for query in q]
        examined = np.mean([[len(c) / len(x) for c in growing] for growing in found], axis=0)  # table by table
        hit = np.mean([[len(c & t) / len(t) for c in growing] for growing, t in zip(found, truth)], axis=0)
        made[way] = np.interp(EXAMINED, [0, *examined], [0, *hit])
    place = np.argsort(np.argsort(-np.linalg.norm(items, axis=1)))
    places = np.array([place[list(t)] for t in truth])
    made[WAYS[2]] = np.array([(places < share * len(items)).mean() for share in EXAMINED])
    return made


def draw_mips(lab: ModuleType, raw: Rows, name: str, bits: int = 10, tables: int = 96, draws: int = 4) -> None:
    """Left: one bit, measured against 1 - θ/π.  Then the ten largest dot products, found among few candidates: two
    ways for lengths to be spread, in few dimensions and in many, each the average of some draws."""
    from tqdm import tqdm

    made, old = figure(1, (15, 8))
    old.remove()
    panels = made.subplot_mosaic([["bits", "00", "01"], ["bits", "10", "11"]], width_ratios=[1.1, 1, 1])
    left = panels["bits"]
    angles = np.linspace(0, np.pi, 25)
    signs = lab.sign_bits(np.column_stack([np.cos(angles), np.sin(angles)]), 4000, 5)
    agree = (signs == signs[0]).mean(axis=1)
    degrees = np.degrees(angles)
    left.plot(degrees, 1 - angles / np.pi, color="black", lw=1.2, label="1 - θ/π")
    left.plot(degrees, agree, "o", color=BLUE, label="one bit, 4,000 planes")
    at_once = (1 - angles / np.pi) ** bits
    left.plot(degrees, at_once, color=PINK, lw=1.5, ls="--", label=f"{bits} bits at once, exact")
    left.set(title="A bit agrees as often as the angle says", xlabel="angle θ, degrees",
             ylabel="probability of agreeing")  # fmt: skip
    left.legend(frameon=False)
    lines = [
        f"The bits agree as 1 - θ/π says; the largest difference is {np.abs(agree - (1 - angles / np.pi)).max():.3f}.",
        f"Of the ten largest dot products, found among 5 % of {len(raw) - 100:,} items: the average of {draws} draws (and their range).",
        f"{'':32s}{'longest / median':>18s}" + "".join(f"{way.split(' (')[0].split(': ')[-1]:>22s}" for way in WAYS),
    ]
    few, many = min(8, raw.shape[1]), raw.shape[1]
    cells = [("random directions", d) for d in (few, many)] + [(name, d) for d in (few, many)]
    for (what, d), panel in zip(tqdm(cells, "hashing", leave=False, disable=None), ("00", "01", "10", "11")):
        rounds, spreads = [], []
        for seed in range(draws):
            rng = np.random.default_rng([3, seed])
            rows = raw[rng.permutation(len(raw)), :d]
            if what != name:
                rows = lab.normalize(rng.normal(size=rows.shape)) * rng.uniform(0.1, 1, size=(len(rows), 1))
            lengths = np.linalg.norm(rows[100:], axis=1)
            spreads.append(lengths.max() / np.median(lengths))
            rounds.append(searched(lab, rows[100:], rows[:100], bits, tables, seed))
        axis = panels[panel]
        averages = [np.mean([found[way] for found in rounds], axis=0) for way in WAYS]
        for way, y, colour, style in zip(WAYS, averages, (BLUE, ORANGE, GREY), ("-", "-", "--")):
            axis.plot(100 * EXAMINED, 100 * y, color=colour, lw=2.2, ls=style, label=way)
        axis.plot([0, 100], [0, 100], color="black", ls=":", lw=1, label="candidates at random")
        axis.axvline(5, color="black", lw=0.8)
        axis.set(title=f"{what}, d = {d}: longest / median {np.mean(spreads):.1f}", xlim=(0, 25), ylim=(0, 102))
        axis.set(xlabel="items examined, %", ylabel="of the ten largest found, %")
        at = [100 * found[way][np.searchsorted(EXAMINED, 0.05)] for way in WAYS for found in rounds]
        drawn = np.reshape(at, (len(WAYS), draws))
        shown = [f"{x.mean():.0f} % ({x.min():.0f}-{x.max():.0f})" for x in drawn]
        label = f"  {what}, d = {d}"
        lines.append(f"{label:32s}{np.mean(spreads):18.1f}" + "".join(f"{x:>22s}" for x in shown))
    handles, labels = panels["00"].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    save(made, "mips.png", "\n  ".join(lines))


def pictures(lab: ModuleType, full: bool, file: Path | None) -> None:
    """All five, from passages or from a file of embeddings."""
    touch(lab)
    if file is not None:
        raw = vectors.from_file(file)
        raw = raw[np.random.default_rng(0).permutation(len(raw))]
        real, name = raw, file.stem
    else:
        found = passages(None if full else 3000)
        with doing(f"latent semantic analysis of {len(found.texts):,} passages"):
            order = np.random.default_rng(0).permutation(len(found.texts))
            real = vectors.reduce(found.weights, 512 if full else 256)[order]
            raw = vectors.reduce(found.counts.astype(float), 64)[order]
        name = "State of the Union"
        print(f"{len(found.texts):,} State of the Union passages, {len(found.terms):,} terms: TF-IDF in {real.shape[1]}"
              f" dimensions, and counts in {raw.shape[1]}.\n")  # fmt: skip
    draw_concentration(lab, real, name)
    draw_angles(lab, real, name)
    draw_unit(lab, raw, name)
    draw_hubs(lab, real, name)
    draw_mips(lab, raw, name)


# ---- tables


def table_of_invariances(lab: ModuleType) -> None:
    """What the learner's probe finds on the learner's metrics."""
    touch(lab)
    print(f"{'':12s}" + "".join(f"{name:>11s}" for name in lab.CHANGES))
    for name in METRICS:
        same = lab.invariances(getattr(lab, name), seed=7)
        print(f"{name:12s}" + "".join(f"{'same' if same[change] else '-':>11s}" for change in lab.CHANGES))


def numerics(lab: ModuleType) -> None:
    """Relative errors of Euclidean distances between rows near an offset, in four ways; math.dist is the judge."""
    import math

    import torch
    from sklearn.metrics.pairwise import euclidean_distances  # type: ignore[import-untyped]

    touch(lab)
    rng = np.random.default_rng(0)

    def expanded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T))

    def by_torch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).numpy())

    ways: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "yours": lab.euclidean, "expanded": expanded, "sklearn": euclidean_distances, "torch.cdist": by_torch,
    }  # fmt: skip
    print(
        "Largest relative error of 100 × 100 distances in 32 dimensions, rows ~ offset + N(0, 1); and how many are NaN.\n"
    )
    print(f"{'':9s} {'offset':>8s} " + "".join(f"{name:>16s}" for name in ways))
    for kind in (np.float64, np.float32):
        for offset in (0.0, 1e2, 1e4, 1e6, 1e8):
            if kind is np.float32 and offset > 1e4:
                continue  # float32 has no room left for the differences themselves
            a, b = ((rng.normal(size=(100, 32)) + offset).astype(kind) for _ in "ab")
            right = np.array([[math.dist(x, y) for y in b.tolist()] for x in a.tolist()])
            cells = []
            for way in ways.values():
                got = way(a, b)
                nan = int(np.isnan(got).sum())
                error = np.nanmax(np.abs(got - right) / right)
                cells.append(f"{error:.0e}" + f" {nan} NaN" * (nan > 0))
            print(f"{np.dtype(kind)!s:9s} {offset:8.0e} " + "".join(f"{cell:>16s}" for cell in cells))


def failures(lab: ModuleType) -> None:
    """For each metric a case where its nearest neighbour is not the one you meant."""
    touch(lab)
    found = passages()
    dense = found.counts[:1500].toarray()
    words = dense.sum(axis=1)

    def ask(terms: str) -> np.ndarray:
        query = np.zeros((1, dense.shape[1]))
        query[0, [found.terms.index(t) for t in terms.split()]] = 1
        return query

    def show(i: int, note: str) -> None:
        print(f"    {found.names[i]}, {int(words[i])} words counted{note}: {found.texts[i][:88]}…")

    query = ask("war mexico")
    print(f"Query: “war mexico”, word counts of 1,500 passages (their median: {int(np.median(words))} words)\n")
    print("  dot product: long passages win, by having more of everything")
    i = int(lab.dot(query, dense)[0].argmax())
    show(i, "")
    print("  Euclidean on raw counts: short passages win, by having little of anything")
    j = int(lab.euclidean(query, dense)[0].argmin())
    show(j, f", {'none' if not (dense[j] * query[0]).any() else 'one or both'} of the query's")
    print("  cosine: the share of the passage that is the query")
    show(int(lab.cosine(query, dense)[0].argmax()), "")

    print("\nCosine: what length meant is gone")
    stars = np.array([[5.0, 5, 4], [1, 1, 0.8], [4, 5, 5]])
    print("  three films, stars from ann (5, 5, 4), bob (1, 1, 0.8), cy (4, 5, 5)")
    print(f"  cosine(ann, bob) = {lab.cosine(stars[:1], stars[1:2])[0, 0]:.3f}, cosine(ann, cy) = "
          f"{lab.cosine(stars[:1], stars[2:])[0, 0]:.3f}: bob, who hated all three, is her twin")  # fmt: skip

    print("\nEuclidean and Manhattan: another unit, another neighbour")
    people = np.array([[30.0, 40_000], [31, 43_000], [60, 40_500]])  # age in years, income in dollars a year
    for unit, factor in (("dollars", 1.0), ("thousands", 1e-3)):
        x = people * [1, factor]
        near = {name: "BC"[int(getattr(lab, name)(x[:1], x[1:])[0].argmin())] for name in ("euclidean", "manhattan")}
        print(f"  income in {unit:9s} A (30 years, 40,000) is nearest to {near['euclidean']} (Euclidean), {near['manhattan']} "
              "(Manhattan)   of B (31, 43,000), C (60, 40,500)")  # fmt: skip

    print("\nJaccard: how often counts for nothing")
    counts = np.array([[9.0, 1, 1], [1, 1, 9], [9, 1, 0]])
    a, b, c = (counts[i : i + 1] for i in range(3))
    print(f"  (tax, war, peace): (9, 1, 1) and (1, 1, 9): jaccard {lab.jaccard(a, b)[0, 0]:.2f}, cosine {lab.cosine(a, b)[0, 0]:.2f}"
          f";  (9, 1, 1) and (9, 1, 0): jaccard {lab.jaccard(a, c)[0, 0]:.2f}, cosine {lab.cosine(a, c)[0, 0]:.2f}")  # fmt: skip

    print("\n1 - cosine is no metric: the detour is shorter")
    fan = np.array([[np.cos(t), np.sin(t)] for t in np.radians([0, 45, 90])])
    cosines = lab.cosine(fan, fan)
    for name, distances in (
        ("1 - cos", 1 - cosines),
        ("angle / π", np.arccos(cosines) / np.pi),
        ("euclidean", lab.euclidean(fan, fan)),
    ):
        print(f"  {name:10s} 0° to 90° {distances[0, 2]:.3f}, by way of 45° {distances[0, 1] + distances[1, 2]:.3f}: "
              f"triangle_gap {lab.triangle_gap(distances):+.3f}")  # fmt: skip
