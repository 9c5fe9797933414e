"""The report of lab 1.2: results on a terminal, the size of the index, the weightings side by side, speed and quality.

Does: measure the functions of whatever file it is handed as a module, the learner's or the reference.
Does not: hold anything to be written.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from sotu_passages import Passage, load
from tqdm import tqdm

FOLDER = Path(__file__).parent
EXAMPLE = "electricity and water power"
SHOWN = 45  # words of a passage
LONG = 30  # words that a passage must have to be looked for
WORDS = (1, 2, 3, 4, 6, 8, 12, 16)  # lengths of the known-item queries
COLOURS = {"counts": "#6b6b6b", "TF-IDF raw": "#C27A00", "TF-IDF log": "#56B4E9", "TF-IDF sublinear": "#CC3D7A",
           "BM25": "#0072B2"}  # fmt: skip


@dataclass
class Searcher:
    """One weighting of a collection: its postings, and how it weighs a query."""

    postings: Any
    query: Callable[[str], dict[int, float]]


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
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def touch(lab: ModuleType) -> None:
    """Uses each part once, in the order of the tasks, so that an unfinished lab names the next one to write."""
    data, indices, indptr = lab.csr([["a"]], {"a": 0})
    lab.tf(data, "raw")
    weights = lab.idf(lab.document_frequency(data, indices, 1), 1, "smooth")
    lab.l2_normalise(data, indptr)
    lab.tfidf(data, indices, indptr, weights, "raw")
    lab.bm25(data, indices, indptr, weights)
    lab.top_k(lab.score(lab.Postings(*lab.invert(data, indices, indptr, 1)), {0: 1.0}, 1), 1)


def collect(lab: ModuleType, found: Sequence[Passage]) -> Any:
    """The counted collection."""
    with doing(f"counting the words of {len(found):,} passages"):
        return lab.Collection([passage.text for passage in found])


# ---- results


def snippet(text: str, wanted: set[str], tokenize: Callable[[str], list[str]], width: int) -> str:
    """The part of a passage that holds most of the wanted words, in lines; they stand out when a terminal is watching."""
    words = text.split()
    hits = [wanted & set(tokenize(word)) for word in words]
    starts = range(max(1, len(words) - SHOWN + 1))
    start = max(starts, key=lambda s: len(set().union(*hits[s : s + SHOWN])))
    part = " ".join(words[start : start + SHOWN])
    part = ("… " if start else "") + part + (" …" if start + SHOWN < len(words) else "")
    lines = textwrap.fill(part, width, initial_indent="    ", subsequent_indent="    ")
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        return re.sub(r"\w+", lambda m: f"\x1b[1;33m{m[0]}\x1b[0m" if m[0].lower() in wanted else m[0], lines)
    return lines


def show(lab: ModuleType, query: str, top: int, method: str, path: Path | None) -> None:
    """The best passages for a query."""
    _, found = load(path)
    collection = collect(lab, found)
    index = lab.Index(collection, method)
    words = lab.tokenize(query)
    unknown = [word for word in dict.fromkeys(words) if word not in collection.vocabulary]
    if unknown:
        print(f"not in the collection: {', '.join(unknown)}")
    results = index.search(query, top)
    if not results:
        print("no passage has any of these words")
    width = min(100, shutil.get_terminal_size().columns)
    for rank, (document, value) in enumerate(results, 1):
        print(f"{rank}. {value:.3f}  {found[document].label}")
        print(snippet(found[document].text, set(words), lab.tokenize, width))


# ---- the report


def searchers(lab: ModuleType, collection: Any) -> dict[str, Searcher]:
    """The weightings that are compared.  "counts" is the cosine without any idf: what idf is measured against."""
    c = collection
    made: dict[str, Searcher] = {}
    ones = np.ones(c.n_terms)
    flat = lab.Postings(
        *lab.invert(lab.tfidf(c.data, c.indices, c.indptr, ones, "raw"), c.indices, c.indptr, c.n_terms)
    )
    settings: dict[str, dict[str, Any]] = {
        "TF-IDF raw": {"method": "tfidf", "tf_how": "raw"},
        "TF-IDF log": {"method": "tfidf", "tf_how": "log"},
        "TF-IDF sublinear": {"method": "tfidf", "tf_how": "sublinear"},
        "BM25": {},
        "BM25, b = 0": {"b": 0.0},
        "BM25, idf rsj": {"idf_how": "rsj"},
    }
    for name, chosen in settings.items():
        with doing(f"weighting by {name}"):
            index = lab.Index(c, **chosen)
        made[name] = Searcher(index.postings, index.query)
    return {"counts": Searcher(flat, lambda text: unit(made["BM25"].query(text))), **made}


def unit(counts: dict[int, float]) -> dict[int, float]:
    """A query of plain counts, such as BM25's, as a vector of length 1: a score is then a cosine."""
    length = sum(count * count for count in counts.values()) ** 0.5
    return {term: count / length for term, count in counts.items()}


def sizes(collection: Any) -> None:
    """How much the index holds, and what the same numbers would take as a table with all its zeros."""
    c = collection
    nnz = len(c.data)
    sparse = c.data.nbytes + c.indices.nbytes + c.indptr.nbytes
    dense = c.n_docs * c.n_terms * c.data.itemsize
    print(f"  documents {c.n_docs:,} · terms {c.n_terms:,} · stored numbers {nnz:,}, {nnz / c.n_docs:.0f} a document")
    print(f"  CSR {sparse / 1e6:.1f} MB, dense {dense / 1e6:,.0f} MB: {nnz / c.n_docs / c.n_terms:.2%} of it is not 0")


def side_by_side(
    lab: ModuleType, made: dict[str, Searcher], collection: Any, found: Sequence[Passage], query: str
) -> None:
    """The best three of each weighting, with what they have of the query."""
    wanted = list(dict.fromkeys(lab.tokenize(query)))
    if not any(word in collection.vocabulary for word in wanted):
        print(f'"{query}": none of these words is in the collection')
        return
    print(f'"{query}", the best three of each:')
    for name in COLOURS:
        searcher = made[name]
        results = lab.top_k(lab.score(searcher.postings, searcher.query(query), collection.n_docs), 3)
        for rank, (document, value) in enumerate(results, 1):
            words = lab.tokenize(found[document].text)
            has = "  ".join(f"{word} {Counter(words)[word]}" for word in wanted)
            print(f"  {name if rank == 1 else '':17s}{rank}. {value:6.3f}  {found[document].label:18s}"
                  f" {len(words):4d} words:  {has}")  # fmt: skip


def long_enough(found: Sequence[Passage]) -> list[int]:
    """The passages from which queries are drawn."""
    return [i for i, passage in enumerate(found) if len(passage.text.split()) >= LONG]


def known_items(
    lab: ModuleType, found: Sequence[Passage], words: int, queries: int, seed: int
) -> list[tuple[int, str]]:
    """(the passage to be found, some of its running words): drawn at random among the long passages."""
    rng = np.random.default_rng([seed, words])
    long = long_enough(found)
    drawn = []
    for document in rng.choice(long, min(queries, len(long)), replace=False).tolist():
        tokens = lab.tokenize(found[document].text)
        picked = rng.choice(len(tokens), min(words, len(tokens)), replace=False)
        drawn.append((document, " ".join(tokens[i] for i in picked)))
    return drawn


def rank_of(scores: Any, document: int) -> float:
    """The place of a document in the list that `top_k` would give: equals with a lower number come before it.

    Infinite when it is not in that list, however long: its score is not above 0.
    """
    mine = scores[document]
    if mine <= 0:
        return float("inf")
    return 1 + int((scores > mine).sum() + (scores[:document] == mine).sum())


def quality(
    lab: ModuleType, made: dict[str, Searcher], found: Sequence[Passage], queries: int = 400, seed: int = 0
) -> dict[str, dict[int, list[float]]]:
    """By weighting and number of words: at which rank each passage was found."""
    ranks: dict[str, dict[int, list[float]]] = {name: {n: [] for n in WORDS} for name in made}
    with tqdm(total=len(WORDS) * queries, desc="known items", disable=None, leave=False) as bar:
        for n in WORDS:
            for document, query in known_items(lab, found, n, queries, seed):
                for name, searcher in made.items():
                    scores = np.asarray(lab.score(searcher.postings, searcher.query(query), len(found)))
                    ranks[name][n].append(rank_of(scores, document))
                bar.update()
    return ranks


def reciprocal(ranks: Sequence[float]) -> float:
    """MRR: the mean of 1/rank."""
    return float(np.mean(1 / np.array(ranks)))


def recall(ranks: Sequence[float], k: int) -> float:
    """In which share of the queries the passage is among the first k."""
    return float(np.mean(np.array(ranks) <= k))


def print_quality(ranks: dict[str, dict[int, list[float]]], words: int = 4) -> None:
    """The table at one length of query."""
    n = len(ranks["BM25"][words])
    print(f"{n} passages, each looked for by {words} of its running words, drawn at random (seed 0):")
    print(f"  {'':17s}{'first':>7s}{'in first 10':>13s}{'MRR':>8s}")
    for name, by_words in ranks.items():
        r = by_words[words]
        print(f"  {name:17s}{recall(r, 1):7.1%}{recall(r, 10):13.1%}{reciprocal(r):8.3f}")
    bm25, sublinear = (np.array(ranks[name][words]) for name in ("BM25", "TF-IDF sublinear"))
    print(f"  each share is uncertain by up to ±{1.96 * (0.25 / n) ** 0.5:.0%} (95 %).  Query by query, BM25 has the passage"
          f"\n  higher than TF-IDF sublinear {(bm25 < sublinear).sum()} times, lower {(bm25 > sublinear).sum()} times")  # fmt: skip


def latency(lab: ModuleType, made: dict[str, Searcher], found: Sequence[Passage], queries: int = 300) -> None:
    """Milliseconds of whole searches, and what is read for them.  The query goes in as text, ten results come out."""
    drawn = known_items(lab, found, 4, queries, seed=1)
    for name in ("TF-IDF sublinear", "BM25"):
        searcher, spent = made[name], []
        for _, query in drawn:
            start = time.perf_counter()
            lab.top_k(lab.score(searcher.postings, searcher.query(query), len(found)), 10)
            spent.append(1e3 * (time.perf_counter() - start))
        p50, p99 = np.percentile(spent, [50, 99])
        print(f"  {name:17s} P50 {p50:.2f} ms, P99 {p99:.2f} ms over {len(drawn)} queries of 4 words")
    postings = made["BM25"].postings
    read = [sum(len(postings[t][0]) for t in made["BM25"].query(query)) for _, query in drawn]
    everything = len(postings.data)
    print(f"  stored numbers read by a query: {np.median(read):,.0f} (median) of {everything:,},"
          f" {np.median(read) / everything:.1%}; at most {max(read):,}")  # fmt: skip


def report(lab: ModuleType, path: Path | None, out: Path) -> None:
    """Everything, and both pictures."""
    start = time.perf_counter()
    name, found = load(path)
    reading = time.perf_counter() - start
    collection = collect(lab, found)
    counting = time.perf_counter() - start - reading
    begun = time.perf_counter()
    lab.Index(collection)
    print(f"{name}\n")
    sizes(collection)
    print(f"  read and cut in {reading:.1f} s, counted in {counting:.1f} s, weighted and inverted for BM25 in "
          f"{time.perf_counter() - begun:.2f} s\n")  # fmt: skip
    made = searchers(lab, collection)
    side_by_side(lab, made, collection, found, EXAMPLE)
    print()
    if (n := len(long_enough(found))) < 50:
        sys.exit(f"Passages of {LONG} words or more: {n}, too few to measure speed and quality with.")
    print("a whole search, text in and ten results out:")
    latency(lab, made, found)
    print()
    ranks = quality(lab, made, found)
    print_quality(ranks)
    print()
    draw_saturation(lab, out)
    draw_quality(ranks, out)


# ---- pictures


def picture(size: tuple[float, float]) -> Any:
    """A figure and one axis, in this lab's style."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 12})
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.grid(alpha=0.25)
    return figure, axis


def save(figure: Any, out: Path, name: str) -> None:
    """Into the folder for pictures."""
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / name, dpi=80)
    print(f"drew {out.name}/{name}")


def draw_saturation(lab: ModuleType, out: Path) -> None:
    """What one more occurrence is worth: the learner's own tf and bm25, relative to the first occurrence."""
    figure, axis = picture((8.4, 4.6))
    f = np.arange(1, 21, dtype=float)
    lines = {
        "raw: f": (lab.tf(f, "raw"), "#C27A00", "-"),
        "sublinear: 1 + ln f": (lab.tf(f, "sublinear"), "#CC3D7A", "-"),
        "log: ln(1 + f), as a multiple of ln 2": (lab.tf(f, "log") / np.log(2), "#56B4E9", "-"),
    }
    for name, length, style in (
        ("half the average length", 0.5, ":"),
        ("average length", 1, "-"),
        ("3 × as long", 3, "--"),
    ):
        lines[f"BM25, {name}"] = (bm25_by_count(lab, f, length), "#0072B2", style)
    for label, (values, colour, style) in lines.items():
        axis.plot(f, values, color=colour, ls=style, lw=2.2, label=label)
    axis.set(xlabel="occurrences of the term in the document, f", ylabel="weight (1: the first, in an average document)",
             title="BM25 stops listening: 20 occurrences are worth about two", ylim=(0, 6.2), xlim=(1, 20),
             xticks=[1, 5, 10, 15, 20])  # fmt: skip
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.36, 1.0), fontsize=10)
    save(figure, out, "saturation.png")


def bm25_by_count(lab: ModuleType, counts: Any, length: float, average: float = 100.0) -> Any:
    """BM25's weight of a term by its count in a document of `length` averages; 1 is the first in an average document.

    Each count is asked of a small collection: that document, and four others that bring the average to `average`.
    """

    def weight(count: float, words: float) -> float:
        data = np.array([count, words - count, *[(5 * average - words) / 4] * 4])  # the term, then all other words
        indices, indptr = np.array([0, 1, 1, 1, 1, 1]), np.array([0, 2, 3, 4, 5, 6])
        return float(lab.bm25(data, indices, indptr, np.ones(2))[0])

    return np.array([weight(count, length * average) for count in counts]) / weight(1, average)


def draw_quality(ranks: dict[str, dict[int, list[float]]], out: Path) -> None:
    """Recall in the first ten against the number of words that are left of the passage."""
    figure, axis = picture((8.4, 4.6))
    for name in ("counts", "TF-IDF raw", "TF-IDF sublinear", "BM25"):  # the line of log is nearly that of sublinear
        by_words = ranks[name]
        shares = [100 * recall(by_words[n], 10) for n in WORDS]
        axis.plot(WORDS, shares, "o-", color=COLOURS[name], lw=2.2, ms=6, label=name)
    axis.set(xscale="log", xlabel="words of the passage in the query, log scale", ylim=(0, 102),
             ylabel="passage among the first ten, % of queries",
             title=f"Of {len(by_words[4])} passages, BM25 finds {recall(ranks['BM25'][4], 10):.0%} by 4 random words, "
             f"raw TF-IDF {recall(ranks['TF-IDF raw'][4], 10):.0%}")  # fmt: skip
    axis.set_xticks(WORDS, [str(n) for n in WORDS])
    axis.minorticks_off()
    axis.legend(frameon=False, loc="lower right", reverse=True)
    save(figure, out, "known_item.png")
