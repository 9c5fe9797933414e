"""Lab 1.2 beside scikit-learn and bm25s: the same numbers?  And the times, as ratios within one run.

Does: measure the functions of whatever file it is handed as a module, the learner's or the reference.
Does not: hold anything to be written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from search_report import collect, doing, known_items
from sotu_passages import load


def best_of(rounds: int, *work: Callable[[], Any]) -> list[float]:
    """The fastest time of each, in seconds; they take turns, so that a busy machine slows all alike."""
    fastest = [float("inf")] * len(work)
    for _ in range(rounds):
        for i, function in enumerate(work):
            start = time.perf_counter()
            function()
            fastest[i] = min(fastest[i], time.perf_counter() - start)
    return fastest


def library(lab: ModuleType, path: Path | None) -> None:
    """The same collection in scikit-learn and bm25s: largest difference, and the times as ratios in one run."""
    name, found = load(path)
    texts = [passage.text for passage in found]
    collection = collect(lab, found)
    queries = [query for _, query in known_items(lab, found, 4, 300, seed=2)]
    print(name)
    with doing("comparing with scikit-learn"):
        beside_sklearn(lab, collection, texts, queries)
    with doing("comparing with bm25s"):
        beside_bm25s(lab, collection, texts, queries)


def beside_sklearn(lab: ModuleType, collection: Any, texts: list[str], queries: list[str]) -> None:
    """TF-IDF against TfidfVectorizer with the same settings, and its way to search: the whole matrix times the query."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    c = collection
    settings = {
        "lowercase": True,
        "token_pattern": r"(?u)\b\w\w+\b",
        "sublinear_tf": True,
        "smooth_idf": True,
        "norm": "l2",
    }
    vectorizer = TfidfVectorizer(**settings)
    theirs = vectorizer.fit_transform(texts)
    index = lab.Index(c, "tfidf", "sublinear")
    mine = csr_matrix(
        (lab.tfidf(c.data, c.indices, c.indptr, index.idf, "sublinear"), c.indices, c.indptr), theirs.shape
    )
    print(f"scikit-learn TfidfVectorizer({', '.join(f'{k}={v!r}' for k, v in settings.items())}):")
    print(f"  {theirs.shape[0]:,} × {theirs.shape[1]:,}; {abs(mine - theirs).max():.1e} apart at most")
    build = best_of(
        2, lambda: lab.Index(lab.Collection(texts), "tfidf"), lambda: TfidfVectorizer(**settings).fit(texts)
    )
    vectors = [vectorizer.transform([query]) for query in queries]
    weights = [index.query(query) for query in queries]
    by_term = theirs.T.tocsr()  # SciPy's own inverted index: one row a term
    mine_time, by_documents, by_terms = best_of(
        3,
        lambda: [lab.score(index.postings, weight, c.n_docs) for weight in weights],
        lambda: [theirs @ vector.toarray().ravel() for vector in vectors],
        lambda: [(vector @ by_term).toarray().ravel() for vector in vectors],
    )
    print(f"  time to index: {build[0] / build[1]:.2f} of scikit-learn's")
    print(f"  time to score {len(queries)} queries: {mine_time / by_documents:.3f} of matrix @ query (rows of documents),"
          f" {mine_time / by_terms:.2f} of query @ matrix.T.tocsr() (rows of terms)")  # fmt: skip


def beside_bm25s(lab: ModuleType, collection: Any, texts: list[str], queries: list[str]) -> None:
    """BM25 against bm25s with method="lucene", from the same words."""
    try:
        import bm25s  # type: ignore[import-untyped]
    except ImportError:
        print("bm25s is not installed; `pip install bm25s` to compare with it")
        return
    index = lab.Index(collection, k1=1.2, b=0.75)
    words = [lab.tokenize(text) for text in texts]
    asked = [lab.tokenize(query) for query in queries]

    def build() -> Any:
        made = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
        made.index(words, show_progress=False)
        return made

    def mine() -> list[list[int]]:
        return [[document for document, _ in index.search(query, 10)] for query in queries]

    def theirs() -> list[list[int]]:
        result = peer.retrieve([[w for w in q if w in collection.vocabulary] for q in asked], k=10, show_progress=False)
        return [list(map(int, row)) for row in result[0]]

    peer = build()
    apart = max(
        float(np.abs(lab.score(index.postings, index.query(" ".join(q)), collection.n_docs) - peer.get_scores(q)).max())
        for q in asked[:100]
    )
    same = float(np.mean([a[0] == b[0] for a, b in zip(mine(), theirs(), strict=True)]))
    print("bm25s BM25(method='lucene', k1=1.2, b=0.75):")
    print(
        f"  scores {apart:.1e} apart at most (it stores float32); the same first passage for {same:.1%} of the queries"
    )
    index_time = best_of(
        2, lambda: lab.Index(lab.Collection(texts)), lambda: [lab.tokenize(text) for text in texts] and build()
    )
    search_time = best_of(3, mine, theirs)
    print(f"  time to index: {index_time[0] / index_time[1]:.2f} of bm25s's; to search {len(queries)} queries, ten results"
          f" each: {search_time[0] / search_time[1]:.2f} of bm25s's")  # fmt: skip
