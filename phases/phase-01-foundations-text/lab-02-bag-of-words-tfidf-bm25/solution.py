"""A search engine without embeddings: sparse counts, TF-IDF with the cosine, BM25, and an inverted index.

Run:  python solution.py                              # index size, weightings side by side, speed, quality, a picture
      python solution.py "freedom of the seas"        # the best passages of all State of the Union messages
      python solution.py "..." --method tfidf --top 3 # by TF-IDF cosine instead of BM25
      python solution.py --library                    # beside scikit-learn and bm25s: same numbers? how fast?
      python solution.py --full PATH                  # the report on a collection of your own (see DATASETS.md)
Does: a compressed sparse row (CSR) matrix by hand, five idf formulas, three term frequencies, BM25, exact top-k.
Does not: stem words, drop stop words, know that "automobile" is "car" (lab 2.1 begins with that), keep word order.

One layout used throughout: row r of a CSR matrix is indices[indptr[r]:indptr[r+1]], the column numbers in it, and
data[indptr[r]:indptr[r+1]], the numbers that stand there.  Rows are documents, columns are terms; what is not stored
is 0.  `nnz` is how much is stored.  No function changes its arguments.
"""

# NumPy types many of its functions as Any.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Triple = tuple[Float[np.ndarray, " nnz"], Int[np.ndarray, " nnz"], Int[np.ndarray, " rows+1"]]  # data, indices, indptr

WORD = re.compile(r"\b\w\w+\b")  # scikit-learn's default token_pattern: a word of one letter is no word


def tokenize(text: str) -> list[str]:
    """Words of two or more characters, in small letters: what scikit-learn does unless told otherwise.

    >>> tokenize("A State of the Union, 1790-2026")
    ['state', 'of', 'the', 'union', '1790', '2026']
    """
    return WORD.findall(text.lower())


def build_vocabulary(documents: Iterable[Sequence[str]]) -> dict[str, int]:
    """Term -> column number, in alphabetical order, so that the same collection always gives the same matrix."""
    return {term: column for column, term in enumerate(sorted({term for words in documents for term in words}))}


def csr(documents: Sequence[Sequence[str]], vocabulary: Mapping[str, int]) -> Triple:
    """How often each term stands in each document, as the three arrays of a CSR matrix: data, indices, indptr.

    In each row the column numbers rise and none stands twice.  Words that are not in the vocabulary are left out.  A
    document without words is a row like any other, with nothing in it.  Three NumPy arrays, the last two of whole
    numbers even when nothing is stored: an empty list alone would become an array of float64.

    >>> csr([["b", "a", "b"], [], ["c", "new"]], {"a": 0, "b": 1, "c": 2})
    (array([1., 2., 1.]), array([0, 1, 2], dtype=int32), array([0, 2, 2, 3], dtype=int32))
    """
    # TODO: one row after the other; indptr says where each begins, and where the last one ends.
    ### BEGIN SOLUTION
    data: list[int] = []
    indices: list[int] = []
    indptr = [0]
    for words in documents:
        row = Counter(vocabulary[word] for word in words if word in vocabulary)
        for column in sorted(row):
            indices.append(column)
            data.append(row[column])
        indptr.append(len(indices))
    return np.array(data, float), np.array(indices, np.int32), np.array(indptr, np.int32)
    ### END SOLUTION


def tf(counts: Float[np.ndarray, " nnz"], how: str) -> Float[np.ndarray, " nnz"]:
    """What f occurrences of a term in one document are worth.  `counts` are the stored ones: 1 or more each.

    "raw": f · "log": ln(1 + f) · "sublinear": 1 + ln f, scikit-learn's sublinear_tf.  ValueError for any other name.

    >>> tf(np.array([1.0, 10.0]), "sublinear").round(2).tolist()
    [1.0, 3.3]
    """
    # TODO: three formulas.
    ### BEGIN SOLUTION
    if how == "raw":
        return counts
    if how == "log":
        return np.log1p(counts)
    if how == "sublinear":
        return 1 + np.log(counts)
    raise ValueError(f"tf is raw, log or sublinear, not {how!r}")
    ### END SOLUTION


def document_frequency(
    data: Float[np.ndarray, " nnz"], indices: Int[np.ndarray, " nnz"], n_terms: int
) -> Int[np.ndarray, " terms"]:
    """In how many documents each term occurs.  A stored 0 is no occurrence; any other number, also a negative weight, is one.

    >>> document_frequency(np.array([1.0, 5.0, 2.0, 0.0]), np.array([0, 1, 1, 0]), 3).tolist()
    [1, 2, 0]
    """
    # TODO: a row names each of its columns once.  What would you count if you added up the data instead?
    ### BEGIN SOLUTION
    return np.bincount(indices[data != 0], minlength=n_terms)
    ### END SOLUTION


def idf(df: Int[np.ndarray, " terms"], n_docs: int, how: str) -> Float[np.ndarray, " terms"]:
    """How much a term tells, by the number of documents it occurs in: 1 <= df <= n_docs = N.  All logarithms natural.

    "plain"   ln(N / df)                               Spärck Jones 1972; ATIRE's BM25
    "smooth"  ln((1 + N) / (1 + df)) + 1               scikit-learn's smooth_idf
    "rsj"     ln((N - df + 0.5) / (df + 0.5))          Robertson & Spärck Jones 1976: below 0 from df > N/2 on
    "lucene"  ln(1 + (N - df + 0.5) / (df + 0.5))      Lucene: never below 0
    "okapi"   rsj, but each negative value becomes 0.25 times the mean of all rsj values: rank_bm25's BM25Okapi

    ValueError for any other name.

    >>> idf(np.array([1, 5, 10]), 10, "rsj").round(2).tolist()
    [1.85, 0.0, -3.04]
    """
    # TODO: five formulas.
    ### BEGIN SOLUTION
    if how == "plain":
        return np.log(n_docs / df)
    if how == "smooth":
        return np.log((1 + n_docs) / (1 + df)) + 1
    odds = (n_docs - df + 0.5) / (df + 0.5)
    if how == "rsj":
        return np.log(odds)
    if how == "lucene":
        return np.log1p(odds)
    if how == "okapi":
        rsj = np.log(odds)
        return np.where(rsj < 0, 0.25 * rsj.mean(), rsj)
    raise ValueError(f"idf is plain, smooth, rsj, lucene or okapi, not {how!r}")
    ### END SOLUTION


### BEGIN SOLUTION
def _row_of(indptr: Int[np.ndarray, " rows+1"]) -> Int[np.ndarray, " nnz"]:
    """The row in which each stored number stands; empty rows do not appear."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


### END SOLUTION
def l2_normalise(data: Float[np.ndarray, " nnz"], indptr: Int[np.ndarray, " rows+1"]) -> Float[np.ndarray, " nnz"]:
    """Each row divided by its Euclidean length, so that a dot product of two rows is their cosine.

    A row of nothing, or of nothing but stored zeros, stays as it is: no NaN.

    >>> l2_normalise(np.array([3.0, 4.0, 5.0]), np.array([0, 2, 2, 3])).tolist()
    [0.6, 0.8, 1.0]
    """
    # TODO: one length for each row, then each number by the length of its own row.
    ### BEGIN SOLUTION
    row = _row_of(indptr)
    length = np.sqrt(np.bincount(row, data**2, minlength=len(indptr) - 1))
    length[length == 0] = 1
    return data / length[row]
    ### END SOLUTION


def tfidf(
    data: Float[np.ndarray, " nnz"],
    indices: Int[np.ndarray, " nnz"],
    indptr: Int[np.ndarray, " rows+1"],
    term_idf: Float[np.ndarray, " terms"],
    tf_how: str,
) -> Float[np.ndarray, " nnz"]:
    """The TF-IDF weight of each stored count, rows of length 1.  The same indices and indptr belong to the result.

    Salton & Buckley 1988: tf times idf, then the cosine's normalisation.
    """
    # TODO: which idf belongs to which stored number?
    ### BEGIN SOLUTION
    return l2_normalise(tf(data, tf_how) * term_idf[indices], indptr)
    ### END SOLUTION


def bm25(
    data: Float[np.ndarray, " nnz"],
    indices: Int[np.ndarray, " nnz"],
    indptr: Int[np.ndarray, " rows+1"],
    term_idf: Float[np.ndarray, " terms"],
    k1: float = 1.2,
    b: float = 0.75,
) -> Float[np.ndarray, " nnz"]:
    """The BM25 weight of each stored count f of a term t in a document of |d| counted words:

        idf(t) · f / (f + k1 · (1 - b + b · |d| / average |d|))

    A score is then a sum of weights: everything but the query is known when the index is built.  The average is over
    all documents, empty ones too; if all are empty, the result is empty, and no 0/0 warns of it.  Without the factor
    (k1 + 1), as Lucene has it since version 8: the same for every document, it changes no ranking.  Robertson & Zaragoza 2009, eq. 3.15.
    """
    # TODO: the length of a document in words is a sum over its row.
    ### BEGIN SOLUTION
    row = _row_of(indptr)
    length = np.bincount(row, data, minlength=len(indptr) - 1)
    saturation = k1 * (1 - b + b * length[row] / max(length.mean(), 1e-9))  # no words at all: nothing to divide
    return term_idf[indices] * data / (data + saturation)
    ### END SOLUTION


def invert(
    data: Float[np.ndarray, " nnz"], indices: Int[np.ndarray, " nnz"], indptr: Int[np.ndarray, " rows+1"], n_terms: int
) -> Triple:
    """The same matrix by columns, the inverted index: data, *document* numbers, and where each term's list begins.

    In each list the document numbers rise.  A term that no document has gets an empty list; a 0 that is stored stays.
    Memory grows with what is stored, not with documents times terms.

    >>> invert(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 2]), np.array([0, 2, 3]), 3)[1:]
    (array([0, 0, 1]), array([0, 1, 1, 3]))
    """
    # TODO: sort by term what is sorted by document now.
    ### BEGIN SOLUTION
    order = np.argsort(indices, kind="stable")  # stable: within a term the documents keep their order
    ends = np.cumsum(np.bincount(indices, minlength=n_terms))
    return data[order], _row_of(indptr)[order], np.concatenate([[0], ends])
    ### END SOLUTION


class Postings:
    """An inverted index by term: postings[t] is (document numbers, weights), two views into the arrays."""

    def __init__(self, data: Any, documents: Any, indptr: Any) -> None:
        self.data, self.documents, self.indptr = data, documents, indptr

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, term: int) -> tuple[Int[np.ndarray, " hits"], Float[np.ndarray, " hits"]]:
        hits = slice(self.indptr[term], self.indptr[term + 1])
        return self.documents[hits], self.data[hits]


def score(
    postings: Sequence[tuple[Int[np.ndarray, " hits"], Float[np.ndarray, " hits"]]] | Postings,
    query: Mapping[int, float],
    n_docs: int,
) -> Float[np.ndarray, " docs"]:
    """For each document, the sum over the query's terms of (weight in the query) · (weight in the document).

    Reads the lists of the query's terms and no others, and takes no step of Python for documents that are in none of
    them, nor for the other terms of the vocabulary.  A document stands at most once in a list.

    >>> score([([0, 2], np.array([0.5, 0.1])), ([2], np.array([1.0]))], {0: 2.0, 1: 1.0}, 3).tolist()
    [1.0, 0.0, 1.2]
    """
    # TODO: start from zeros; postings[term] is (documents, weights).
    ### BEGIN SOLUTION
    scores = np.zeros(n_docs)
    for term, weight in query.items():
        documents, weights = postings[term]
        scores[documents] += weight * weights
    return scores
    ### END SOLUTION


def top_k(scores: Float[np.ndarray, " docs"], k: int) -> list[tuple[int, float]]:
    """The k best documents with their scores, best first; of equals, the lower document number first.

    Only scores above 0 count: a document that shares nothing with the query is no result, so there may be fewer than k.

    >>> top_k(np.array([0.5, 0.0, 0.9, 0.5, 0.5]), 3)
    [(2, 0.9), (0, 0.5), (3, 0.5)]
    """
    # TODO: k may be larger than the collection, and equals may stand on both sides of the cut.
    ### BEGIN SOLUTION
    hits = np.flatnonzero(scores > 0)
    if 0 < k < len(hits):
        worst = np.partition(scores[hits], -k)[-k]  # the k-th best score, without sorting them all
        hits = hits[scores[hits] >= worst]  # k of them, or more if some are equal to it
    best = hits[np.argsort(-scores[hits], kind="stable")][:k]
    return [(int(document), float(scores[document])) for document in best]
    ### END SOLUTION


class Collection:
    """Counted texts: the vocabulary and the CSR arrays from which every weighting is made."""

    def __init__(self, texts: Sequence[str]) -> None:
        documents = [tokenize(text) for text in texts]
        self.vocabulary = build_vocabulary(documents)
        self.n_docs, self.n_terms = len(documents), len(self.vocabulary)
        self.data, self.indices, self.indptr = csr(documents, self.vocabulary)
        self.df = document_frequency(self.data, self.indices, self.n_terms)


class Index:
    """A searchable collection.  method: "bm25", or "tfidf" for the cosine; the query is weighted as a document is.

    >>> index = Index(Collection(["the sea", "the land", "the open sea"]), "tfidf")
    >>> [(document, round(value, 2)) for document, value in index.search("sea, land and sea")]
    [(0, 0.62), (1, 0.53), (2, 0.43)]
    """

    def __init__(
        self,
        collection: Collection,
        method: str = "bm25",
        tf_how: str = "sublinear",
        idf_how: str | None = None,
        k1: float = 1.2,
        b: float = 0.75,
    ) -> None:
        if method not in ("bm25", "tfidf"):
            raise ValueError(f"method is bm25 or tfidf, not {method!r}")
        self.collection, self.method, self.tf_how = collection, method, tf_how
        c = collection
        self.idf = idf(c.df, c.n_docs, idf_how or ("lucene" if method == "bm25" else "smooth"))
        counts = c.data, c.indices, c.indptr
        weights = bm25(*counts, self.idf, k1, b) if method == "bm25" else tfidf(*counts, self.idf, tf_how)
        self.postings = Postings(*invert(weights, c.indices, c.indptr, c.n_terms))

    def query(self, text: str) -> dict[int, float]:
        """Term -> weight.  In BM25 a word that stands twice counts twice; unknown words are left out in both."""
        data, indices, indptr = csr([tokenize(text)], self.collection.vocabulary)
        if self.method == "tfidf":
            data = tfidf(data, indices, indptr, self.idf, self.tf_how)
        return dict(zip(indices.tolist(), data.tolist(), strict=True))

    def search(self, text: str, k: int = 10) -> list[tuple[int, float]]:
        """(document number, score), best first."""
        return top_k(score(self.postings, self.query(text), self.collection.n_docs), k)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Search the State of the Union messages, or report on the index.",
        epilog='Try "freedom of the seas" with both methods: the cosine favours short passages, BM25 those with all words.',
    )
    parser.add_argument("query", nargs="?", help="words to look for; without them, the report")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="how many passages to show (5)")
    parser.add_argument("--method", choices=("bm25", "tfidf"), default="bm25", help="how passages are scored (bm25)")
    parser.add_argument("--full", type=Path, metavar="PATH", help="a collection of your own: .jsonl or UTF-8 text")
    parser.add_argument("--library", action="store_true", help="compare with scikit-learn and bm25s")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "artifacts", metavar="FOLDER",
                        help="where pictures go (artifacts/)")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.top < 1:
        parser.error("--top takes a number from 1 on")
    if arguments.full is not None and not arguments.full.is_file():
        parser.error(f"there is no file {arguments.full}")
    import search_libraries
    import search_report as report

    lab = sys.modules[__name__]
    report.touch(lab)
    if arguments.query is not None:
        report.show(lab, arguments.query, arguments.top, arguments.method, arguments.full)
    elif arguments.library:
        search_libraries.library(lab, arguments.full)
    else:
        report.report(lab, arguments.full, arguments.out)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 1.2 {task}")
    except KeyboardInterrupt:
        sys.exit("\nstopped")
