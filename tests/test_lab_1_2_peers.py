"""Lab 1.2 against bm25s, rank_bm25 and scikit-learn, on real passages: the same scores from the same words."""

import importlib.util
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bm25s
import numpy as np
import pytest
from rank_bm25 import BM25Okapi
from sklearn.feature_extraction.text import TfidfVectorizer

from llmcore import assets

LAB = Path(__file__).parents[1] / "phases/phase-01-foundations-text/lab-02-bag-of-words-tfidf-bm25"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lab_1_2_{name}", LAB / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


lab, sotu = module("solution"), module("sotu_passages")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Every eighth passage: 2,791 of them, from all years."""
    assets.fetch("sotu")
    return [passage.text for passage in sotu.load(None)[1]][::8]


@pytest.fixture(scope="module")
def words(texts: list[str]) -> list[list[str]]:
    return [lab.tokenize(text) for text in texts]


@pytest.fixture(scope="module")
def collection(texts: list[str]) -> Any:
    return lab.Collection(texts)


@pytest.fixture(scope="module")
def queries(words: list[list[str]]) -> list[list[str]]:
    """A hundred queries of 1 to 7 running words, and one that repeats a word."""
    rng = np.random.default_rng(12)
    long = [w for w in words if len(w) > 20]
    drawn = [list(rng.choice(long[rng.integers(len(long))], rng.integers(1, 8))) for _ in range(100)]
    return [[str(w) for w in q] for q in drawn] + [["peace", "war", "peace"]]


def ours(collection: Any, idf_how: str, k1: float, b: float) -> Callable[[list[str]], Any]:
    """Query words -> the lab's scores."""
    index = lab.Index(collection, "bm25", idf_how=idf_how, k1=k1, b=b)
    return lambda query: lab.score(index.postings, index.query(" ".join(query)), collection.n_docs)


@pytest.mark.parametrize(
    ("method", "idf_how", "factor"),
    [("lucene", "lucene", False), ("robertson", "rsj", False), ("atire", "plain", True)],
)
def test_bm25s_gives_the_same_scores(
    collection: Any, words: list[list[str]], queries: list[list[str]], method: str, idf_how: str, factor: bool
) -> None:
    """`factor`: ATIRE multiplies by k1 + 1.  bm25s's robertson sets a negative idf to 0, so such words are left out."""
    k1, b = 1.7, 0.6
    peer = bm25s.BM25(method=method, k1=k1, b=b, dtype="float64")
    peer.index(words, show_progress=False)
    mine = ours(collection, idf_how, k1, b)
    common = {w for w, c in collection.vocabulary.items() if collection.df[c] > collection.n_docs / 2}
    assert common, "the collection has words that half of its passages have"
    for query in queries:
        query = [w for w in query if idf_how != "rsj" or w not in common]
        if query:
            want = peer.get_scores(query)
            np.testing.assert_allclose(mine(query) * (k1 + 1 if factor else 1), want, rtol=1e-6, atol=1e-6)


def test_rank_bm25_gives_the_same_scores(collection: Any, words: list[list[str]], queries: list[list[str]]) -> None:
    """BM25Okapi: the idf with a floor at a quarter of the mean, k1 = 1.5 unless told otherwise, times k1 + 1."""
    k1, b = 1.5, 0.75
    peer = BM25Okapi(words, k1=k1, b=b)
    mine = ours(collection, "okapi", k1, b)
    floored = 0
    for query in queries[::3]:
        np.testing.assert_allclose(mine(query) * (k1 + 1), peer.get_scores(query), rtol=1e-6, atol=1e-9)
        floored += sum(collection.df[collection.vocabulary[w]] > collection.n_docs / 2 for w in query)
    assert floored > 5, "some queries hold words whose idf is negative, or the floor was not tried"


@pytest.mark.parametrize(("tf_how", "smooth"), list(itertools.product(("raw", "sublinear"), (True, False))))
def test_scikit_learn_gives_the_same_matrix_and_the_same_cosines(
    collection: Any, texts: list[str], queries: list[list[str]], tf_how: str, smooth: bool
) -> None:
    vectorizer = TfidfVectorizer(sublinear_tf=tf_how == "sublinear", smooth_idf=smooth, norm="l2")
    theirs = vectorizer.fit_transform(texts)
    assert vectorizer.vocabulary_ == collection.vocabulary
    c = collection
    idf = lab.idf(c.df, c.n_docs, "smooth" if smooth else "plain") + (0 if smooth else 1)
    theirs.sort_indices()
    np.testing.assert_array_equal(theirs.indices, c.indices)
    mine = lab.tfidf(c.data, c.indices, c.indptr, idf, tf_how)
    np.testing.assert_allclose(mine, theirs.data, rtol=1e-6)
    if smooth:
        index = lab.Index(c, "tfidf", tf_how)
        for query in queries:
            text = " ".join(query)
            want = (theirs @ vectorizer.transform([text]).T).toarray().ravel()
            got = lab.score(index.postings, index.query(text), c.n_docs)
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


def test_passages_lose_no_word(texts: list[str]) -> None:
    rows = assets.text("sotu").splitlines()
    everything = [json.loads(row)["text"] for row in rows]
    kept = [passage for text in everything for passage in sotu.passages(text)]
    assert sum(len(p.split()) for p in kept) == sum(len(t.split()) for t in everything)
    assert min(len(p.split()) for p in kept) >= sotu.SHORT
    assert kept[::8] == texts
