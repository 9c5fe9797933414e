"""What lab 1.2 must do.  The same file judges lab.py, solution.py and every submission.

It runs outside the process that holds the lab: `lab.f(x)` sends copies and gets plain values back.  The oracles are
loops over dicts with `math.log`, and scikit-learn where it does the same; collections are drawn from `random`.  Arrays
may come back in any dtype: what is judged is their numbers.
"""

import math
import sys
import tracemalloc
from collections import Counter

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from labkit.spec import check, task

RTOL = 1e-5  # float32 is welcome

# ---- collections


def words(random, n):
    """n different words."""
    found = {}
    while len(found) < n:
        found["".join(random.choices("abcdefghijklmnop", k=random.randint(2, 6)))] = None
    return list(found)


def collection(random, n_docs=None, n_terms=None):
    """Documents of very different lengths, some empty, first and last among them; some terms in most, some in none."""
    vocabulary = sorted(words(random, n_terms or random.randint(11, 17)))
    n_docs = n_docs or random.randint(18, 25)
    used = vocabulary[1:-2]  # the first and the last two occur nowhere
    documents = []
    for i in range(n_docs):
        length = 0 if i in (0, n_docs // 2, n_docs - 1) else random.choice([1, 3, 7, 12, 40])
        common = random.choice([1, 2, 5])
        documents.append(random.choices(used, weights=[1 / (1 + j) ** common for j in range(len(used))], k=length))
    documents[1] = [used[0]] * 3 + [used[1]] * 2  # one that repeats itself
    return documents, vocabulary


def triple(rows):
    """CSR arrays of rows given as dicts, column -> number."""
    data = [float(row[c]) for row in rows for c in sorted(row)]
    indices = [c for row in rows for c in sorted(row)]
    indptr = [sum(map(len, rows[:i])) for i in range(len(rows) + 1)]
    return np.array(data), np.array(indices, np.int32), np.array(indptr, np.int32)


def counted(documents, vocabulary):
    """Rows of counts as dicts."""
    column = {word: i for i, word in enumerate(vocabulary)}
    return [dict(Counter(column[w] for w in document)) for document in documents]


def draw(random, **sizes):
    """Rows of counts, how many columns they have, and the CSR arrays of them."""
    documents, vocabulary = collection(random, **sizes)
    rows = counted(documents, vocabulary)
    return rows, len(vocabulary), triple(rows)


def numbers(x):
    """An array or a list of numbers, of any dtype, as a list of floats; anything else is shown as it is."""
    try:
        return np.asarray(x, dtype=np.float64).tolist()
    except (TypeError, ValueError):
        return x


def whole(x):
    """Positions: whole numbers of any type, as a list."""
    x = numbers(x)
    return [int(v) if isinstance(v, float) and v.is_integer() else v for v in x] if isinstance(x, list) else x


def close(got, want, why):
    check.close(numbers(got), numbers(want), why=why, rtol=RTOL, atol=1e-7)


def same_matrix(got, want, why):
    """data, indices and indptr, the last two exactly."""
    data, indices, indptr = got
    check.equal(whole(indptr), want[2].tolist(), why=f"{why}: indptr")
    check.equal(whole(indices), want[1].tolist(), why=f"{why}: indices")
    close(data, want[0], why=f"{why}: data")


# ---- csr


@task("csr")
def test_csr_by_hand(lab, random):
    """Three documents, in each another thing that goes wrong."""
    a, b, c = sorted(words(random, 3))
    documents = [[b, a, b, b], [c], [c, a]]
    same_matrix(
        lab.csr(documents, {a: 0, b: 1, c: 2}), triple([{0: 1, 1: 3}, {2: 1}, {0: 1, 2: 1}]), why="3 documents, 3 terms"
    )


@task("csr")
def test_csr_counts(lab, random):
    for _ in range(3):
        documents, vocabulary = collection(random)
        documents = [d for d in documents if d]
        want = triple(counted(documents, vocabulary))
        same_matrix(lab.csr(documents, {w: i for i, w in enumerate(vocabulary)}), want, why="no document is empty")


@task("csr")
def test_csr_empty_documents(lab, random):
    documents, vocabulary = collection(random)
    want = triple(counted(documents, vocabulary))
    same_matrix(lab.csr(documents, {w: i for i, w in enumerate(vocabulary)}), want, why="some documents are empty")
    for n in (0, 1, 3):
        same_matrix(lab.csr([[]] * n, {vocabulary[0]: 0}), triple([{}] * n), why=f"{n} empty documents and no other")


@task("csr")
def test_csr_unknown_words(lab, random):
    documents, vocabulary = collection(random)
    strangers = [w.upper() for w in vocabulary[:3]]
    mixed = [random.sample(d + strangers, len(d) + 3) for d in documents]
    want = triple(counted(documents, vocabulary))
    same_matrix(lab.csr(mixed, {w: i for i, w in enumerate(vocabulary)}), want, why="3 unknown words in each document")


@task("csr")
def test_csr_columns_are_the_vocabularys(lab, random):
    """A vocabulary in any order, of which the documents use a part: the column is the number it says."""
    documents, vocabulary = collection(random)
    random.shuffle(vocabulary)
    want = triple(counted(documents, vocabulary))
    same_matrix(lab.csr(documents, {w: i for i, w in enumerate(vocabulary)}), want, why="columns in another order")


@task("csr")
def test_csr_of_many_terms(lab, random):
    """More columns than 16 bits can number, and a word more often than 8 bits can count."""
    vocabulary = {f"w{i}": i for i in range(40_000)}
    often = [f"w{i}" for i in random.sample(range(33_000, 40_000), 4)]
    documents = [often, [often[0]] * random.randint(260, 320) + [often[1]]]
    want = triple(counted(documents, list(vocabulary)))
    same_matrix(lab.csr(documents, vocabulary), want, why="40,000 terms, a word hundreds of times")


@task("csr")
def test_csr_beyond_16_bits_without_a_sign(lab, random):
    n = random.randint(66_000, 70_000)
    got = lab.probe(ends_of_a_large_matrix, n)
    check.equal(got, [[0, n, n + 1], [n - 2, n - 1, n]], why=f"{n:,} entries in a row: indptr, and the last columns")


@task("csr")
def test_csr_is_three_arrays(lab, random):
    """What comes after computes with them, also for a query of unknown words."""
    documents, vocabulary = collection(random)
    numbered = {w: i for i, w in enumerate(vocabulary)}
    want = ["array of numbers", "array of whole numbers", "array of whole numbers"]
    check.equal(lab.probe(kinds, documents, numbered), want, why="data, indices, indptr")
    check.equal(
        lab.probe(kinds, [["UNKNOWN"]], numbered), want, why="data, indices, indptr, one document, no word of it known"
    )


@task("csr")
def test_csr_is_scikit_learns_count_matrix(lab, random):
    documents, vocabulary = collection(random)
    got = lab.csr(documents, {w: i for i, w in enumerate(vocabulary)})
    want = CountVectorizer(analyzer=list, vocabulary=vocabulary).transform(documents)
    want.sort_indices()
    same_matrix(got, (want.data, want.indices, want.indptr), why="beside scikit-learn's CountVectorizer")


@task("csr")
def test_csr_leaves_its_arguments_alone(lab, random):
    documents, vocabulary = collection(random)
    mixed = [[*d, "UNKNOWN"] for d in documents]
    check.equal(
        lab.probe(changed, "csr", mixed, {w: i for i, w in enumerate(vocabulary)}),
        [],
        why="your function changed these arguments, by number",
    )


# ---- tf

TF = {"raw": lambda f: f, "log": lambda f: math.log(1 + f), "sublinear": lambda f: 1 + math.log(f)}


@task("tf")
def test_tf_formulas(lab, random):
    counts = [1, 2, random.randint(3, 9), random.randint(10, 99), random.randint(100, 9999)]
    random.shuffle(counts)
    for how, formula in TF.items():
        close(lab.tf(np.array(counts, float), how), [formula(f) for f in counts], why=f"{how} of {counts}")


@task("tf")
def test_tf_of_nothing(lab):
    for how in TF:
        close(lab.tf(np.zeros(0), how), [], why=f"{how} of no counts at all")


@task("tf")
def test_tf_of_whole_numbers(lab, random):
    counts = np.array([random.randint(1, 30) for _ in range(6)], np.int64)
    for how, formula in TF.items():
        close(lab.tf(counts, how), [formula(f) for f in counts.tolist()], why=f"{how}, counts of type int64")


@task("tf")
def test_tf_unknown_name(lab):
    for how in ("ln", "Raw", ""):
        check.raises(ValueError, lab.tf, np.array([2.0, 3.0]), how, why=f"there is no tf called {how!r}")


@task("tf")
def test_tf_leaves_its_arguments_alone(lab, random):
    for how in TF:
        counts = np.array([float(random.randint(2, 30)) for _ in range(5)])
        check.equal(lab.probe(changed, "tf", counts, how), [], why=f"{how}: your function changed these arguments")


# ---- idf


def rsj(df, n):
    return math.log((n - df + 0.5) / (df + 0.5))


def okapi(df, n):
    values = [rsj(d, n) for d in df]
    floor = 0.25 * sum(values) / len(values)
    return [floor if v < 0 else v for v in values]


IDF = {
    "plain": lambda df, n: [math.log(n / d) for d in df],
    "smooth": lambda df, n: [math.log((1 + n) / (1 + d)) + 1 for d in df],
    "rsj": lambda df, n: [rsj(d, n) for d in df],
    "lucene": lambda df, n: [math.log(1 + (n - d + 0.5) / (d + 0.5)) for d in df],
    "okapi": okapi,
}


@task("idf")
def test_df_counts_documents(lab, random):
    for _ in range(2):
        rows, n_terms, (data, indices, _) = draw(random)
        want = [sum(t in row for row in rows) for t in range(n_terms)]
        got = lab.document_frequency(data, indices, n_terms)
        check.equal(whole(got), want, why="documents, not occurrences; the last terms occur nowhere")
    check.equal(
        whole(lab.document_frequency(np.zeros(0), np.zeros(0, np.int32), 4)), [0] * 4, why="an empty collection"
    )


@task("idf")
def test_df_of_stored_zeros(lab, random):
    """A matrix that was weighted may store zeros: what has no weight does not count as an occurrence."""
    rows, n_terms, (data, indices, _) = draw(random)
    data = np.array([random.choice([0.0, 0.25, 3.0, -1.5]) for _ in data])
    want = [int(((indices == t) & (data != 0)).sum()) for t in range(n_terms)]
    check.equal(
        whole(lab.document_frequency(data, indices, n_terms)), want, why="some stored numbers are 0, some negative"
    )


@task("idf")
def test_df_leaves_its_arguments_alone(lab, random):
    _, n_terms, (data, indices, _) = draw(random)
    got = lab.probe(changed, "document_frequency", data, indices, n_terms)
    check.equal(got, [], why="your function changed these arguments")


@task("idf")
def test_idf_formulas(lab, random):
    n = 2 * random.randint(30, 60)  # even, so that N/2 is a df, too
    df = [1, 2, n // 2 - 1, n // 2, n // 2 + 1, n - 1, n, *(random.randint(3, n // 2) for _ in range(6))]
    random.shuffle(df)
    for how, formula in IDF.items():
        close(lab.idf(np.array(df), n, how), formula(df, n), why=f"{how}, N = {n}")


@task("idf")
def test_idf_when_most_terms_are_common(lab, random):
    """The mean behind "okapi" may itself be negative."""
    n = random.randint(20, 30)
    df = [n, n - 1, n - 2, n - 3, random.randint(2, 5)]
    close(
        lab.idf(np.array(df), n, "okapi"), okapi(df, n), why=f"okapi, N = {n}: four of five terms are in most documents"
    )


@task("idf")
def test_idf_of_one_document(lab):
    for how, formula in IDF.items():
        close(lab.idf(np.array([1, 1, 1]), 1, how), formula([1, 1, 1], 1), why=f"{how}, one document: df = N = 1")


@task("idf")
def test_idf_unknown_name(lab):
    for how in ("tfidf", "bm25", ""):
        check.raises(ValueError, lab.idf, np.array([1, 2]), 3, how, why=f"there is no idf called {how!r}")


@task("idf")
def test_idf_leaves_its_arguments_alone(lab, random):
    n = random.randint(20, 30)
    for how in IDF:
        df = np.array([n, n - 1, *(random.randint(1, n) for _ in range(6))])
        got = lab.probe(changed, "idf", df, n, how)
        check.equal(got, [], why=f"{how}: your function changed these arguments")


# ---- normalise


def lengths(data, indptr):
    return [math.sqrt(sum(x * x for x in data[a:b])) for a, b in zip(indptr, indptr[1:])]


def normalised(data, indptr):
    out = []
    for a, b, length in zip(indptr, indptr[1:], lengths(data, indptr)):
        out += [x / length if length else 0.0 for x in data[a:b]]
    return out


def draw_numbers(random, zeros=False):
    """Rows of real numbers of either sign; with zeros, one row of stored zeros."""
    _, _, (data, _, indptr) = draw(random)
    data = np.array([random.uniform(-3, 5) for _ in data])
    if zeros:
        data[indptr[1] : indptr[2]] = 0.0
    return data, indptr


@task("normalise")
def test_normalise_by_hand(lab):
    got = lab.l2_normalise(np.array([6.0, 8.0, 5.0, 2.0, 1.0, 2.0]), np.array([0, 2, 3, 6]))
    close(got, [0.6, 0.8, 1.0, 2 / 3, 1 / 3, 2 / 3], why="lengths 10, 5 and 3")


@task("normalise")
def test_normalise_full_rows(lab, random):
    for _ in range(2):
        data, indptr = draw_numbers(random)
        indptr = np.unique(indptr)
        close(lab.l2_normalise(data, indptr), normalised(data, indptr), why="no row is empty")


@task("normalise")
def test_normalise_empty_rows(lab, random):
    data, indptr = draw_numbers(random)
    close(lab.l2_normalise(data, indptr), normalised(data, indptr), why="some rows are empty, first and last too")
    data, indptr = np.array([random.uniform(1, 5) for _ in range(5)]), np.array([0, 0, 2, 5, 5, 5])
    close(lab.l2_normalise(data, indptr), normalised(data, indptr), why="two empty rows behind one of three numbers")
    close(lab.l2_normalise(np.zeros(0), np.array([0, 0, 0])), [], why="no numbers at all, two rows")


@task("normalise")
def test_normalise_rows_of_stored_zeros(lab, random):
    data, indptr = draw_numbers(random, zeros=True)
    close(lab.l2_normalise(data, indptr), normalised(data, indptr), why="a row of stored zeros: zeros, not NaN")
    tiny = data * 1e-6
    close(lab.l2_normalise(tiny, indptr), normalised(tiny, indptr), why="short rows become 1 long, too")


@task("normalise")
def test_normalise_leaves_its_arguments_alone(lab, random):
    check.equal(
        lab.probe(changed, "l2_normalise", *draw_numbers(random)), [], why="your function changed these arguments"
    )


# ---- tfidf


def draw_weights(random, n_terms):
    """An idf for each term; that of term 1, which is in document 1, is negative."""
    weights = np.array([random.uniform(-1, 4) for _ in range(n_terms)])
    weights[1] = random.uniform(-2, -1)
    return weights


@task("tfidf")
def test_tfidf_values(lab, random):
    for how, formula in TF.items():
        _, n_terms, (data, indices, indptr) = draw(random)
        weights = draw_weights(random, n_terms)
        want = normalised([formula(f) * weights[t] for f, t in zip(data.tolist(), indices)], indptr)
        close(lab.tfidf(data, indices, indptr, weights, how), want, why=f"tf {how!r}, any idf, some of it negative")


@task("tfidf")
def test_tfidf_of_terms_that_tell_nothing(lab, random):
    """ln(N/df) is 0 for a term in every document.  A document of nothing else has length 0, and no NaN."""
    _, n_terms, (data, indices, indptr) = draw(random)
    weights = np.array([random.uniform(0.1, 4) for _ in range(n_terms)])
    weights[[indices[i] for i in range(indptr[1], indptr[2])]] = 0
    want = normalised([TF["log"](f) * weights[t] for f, t in zip(data.tolist(), indices)], indptr)
    close(lab.tfidf(data, indices, indptr, weights, "log"), want, why="document 1 has only terms whose idf is 0")


@task("tfidf")
def test_tfidf_is_scikit_learns(lab, random):
    """TfidfVectorizer at settings that are not its defaults, from the very same counts."""
    documents, vocabulary = collection(random)
    vocabulary = sorted({w for d in documents for w in d})
    data, indices, indptr = triple(counted(documents, vocabulary))
    df = np.array([(indices == t).sum() for t in range(len(vocabulary))])
    for how, smooth in (("sublinear", True), ("raw", False), ("sublinear", False)):
        vectorizer = TfidfVectorizer(
            analyzer=list, vocabulary=vocabulary, sublinear_tf=how == "sublinear", smooth_idf=smooth, norm="l2"
        )
        theirs = vectorizer.fit_transform(documents)
        theirs.sort_indices()
        idf = np.array(
            IDF["smooth"](df, len(documents)) if smooth else [x + 1 for x in IDF["plain"](df, len(documents))]
        )
        why = f"TfidfVectorizer(sublinear_tf={how == 'sublinear'}, smooth_idf={smooth}, norm='l2')"
        close(lab.tfidf(data, indices, indptr, idf, how), theirs.data, why=why)


@task("tfidf")
def test_tfidf_leaves_its_arguments_alone(lab, random):
    _, n_terms, arrays = draw(random)
    got = lab.probe(changed, "tfidf", *arrays, draw_weights(random, n_terms), "sublinear")
    check.equal(got, [], why="your function changed these arguments")


# ---- bm25


def bm25(rows, weights, k1, b):
    """Document by document, term by term."""
    size = [sum(row.values()) for row in rows]
    mean = sum(size) / len(size)
    return [
        weights[t] * row[t] / (row[t] + k1 * (1 - b + b * n / mean)) for row, n in zip(rows, size) for t in sorted(row)
    ]


@task("bm25")
def test_bm25_by_hand(lab):
    """Two documents of 2 and 6 words, 4 on average; k1 = 2 and b = 0.5 make 1.5 and 2.5 of k1."""
    got = lab.bm25(
        np.array([2.0, 1.0, 5.0]), np.array([0, 0, 1]), np.array([0, 1, 3]), np.array([3.0, 1.4]), k1=2.0, b=0.5
    )
    close(got, [3 * 2 / 3.5, 3 * 1 / 3.5, 1.4 * 5 / 7.5], why="documents of 2 and 6 words")


@task("bm25")
def test_bm25_values(lab, random):
    for k1, b in ((0.9, 0.4), (1.5, 0.75), (2.0, 0.3), (random.uniform(0.3, 3), random.uniform(0.1, 0.9))):
        rows, n_terms, arrays = draw(random)
        rows = [row for row in rows if row]
        weights = draw_weights(random, n_terms)
        got = lab.bm25(*triple(rows), weights, k1, b)
        close(got, bm25(rows, weights, k1, b), why=f"k1 = {k1:.2f}, b = {b:.2f}, no document is empty")


@task("bm25")
def test_bm25_with_empty_documents(lab, random):
    """They stand for documents, too: the average length is over all of them."""
    rows, n_terms, arrays = draw(random)
    weights = draw_weights(random, n_terms)
    got = lab.bm25(*arrays, weights, 1.7, 0.6)
    close(got, bm25(rows, weights, 1.7, 0.6), why="k1 = 1.7, b = 0.6, some documents are empty")
    got = lab.bm25(np.zeros(0), np.zeros(0, np.int32), np.zeros(4, np.int32), weights, 1.7, 0.6)
    close(got, [], why="three documents, all empty")


@task("bm25")
def test_bm25_at_the_ends(lab, random):
    """b = 0 ignores the length, b = 1 divides by it; k1 = 0 ignores how often."""
    for k1, b in ((1.6, 0.0), (1.6, 1.0), (0.0, 0.6)):
        rows, n_terms, arrays = draw(random)
        weights = draw_weights(random, n_terms)
        close(lab.bm25(*arrays, weights, k1, b), bm25(rows, weights, k1, b), why=f"k1 = {k1}, b = {b}")


@task("bm25")
def test_bm25_defaults(lab, random):
    rows, n_terms, arrays = draw(random)
    weights = draw_weights(random, n_terms)
    close(lab.bm25(*arrays, weights), bm25(rows, weights, 1.2, 0.75), why="k1 and b left out: 1.2 and 0.75")


@task("bm25")
def test_bm25_leaves_its_arguments_alone(lab, random):
    _, n_terms, arrays = draw(random)
    got = lab.probe(changed, "bm25", *arrays, draw_weights(random, n_terms), 1.7, 0.6)
    check.equal(got, [], why="your function changed these arguments")


# ---- invert


def columns(rows, n_terms):
    """The same numbers as rows of terms, document -> number."""
    return triple([{d: row[t] for d, row in enumerate(rows) if t in row} for t in range(n_terms)])


def distinct(random, rows):
    """Every number in the matrix another one, so that none can stand for another."""
    return [{t: random.uniform(0.5, 9) for t in row} for row in rows]


@task("invert")
def test_invert_by_hand(lab):
    rows = [{0: 1.5, 2: 2.5}, {2: 3.5}, {0: 4.5, 1: 5.5}]
    same_matrix(lab.invert(*triple(rows), 3), columns(rows, 3), why="3 documents, 3 terms")


@task("invert")
def test_invert_full_rows(lab, random):
    for _ in range(2):
        n = random.randint(7, 12)
        rows = [
            {t: random.uniform(0.5, 9) for t in random.sample(range(n), random.randint(1, n))} for _ in range(2 * n)
        ]
        rows[3] = {t: random.uniform(0.5, 9) for t in range(n)}
        same_matrix(
            lab.invert(*triple(rows), n), columns(rows, n), why="every document has a term, every term a document"
        )


@task("invert")
def test_invert_empty_documents_and_unused_terms(lab, random):
    rows, n_terms, _ = draw(random)
    rows = distinct(random, rows)
    same_matrix(
        lab.invert(*triple(rows), n_terms), columns(rows, n_terms), why="some documents are empty, some terms unused"
    )
    same_matrix(lab.invert(*triple([{}, {}]), 3), columns([{}, {}], 3), why="two empty documents, three terms")


@task("invert")
def test_invert_many_documents(lab, random):
    """Long enough that a sort which is not stable shows."""
    rows = [{t: random.uniform(0.5, 9) for t in random.sample(range(5), random.randint(1, 4))} for _ in range(600)]
    same_matrix(lab.invert(*triple(rows), 5), columns(rows, 5), why="600 documents, 5 terms: each list in order")


@task("invert")
def test_invert_of_stored_zeros(lab, random):
    """A weighted matrix may store zeros: they move with the rest, or the caller's indptr would not fit any more."""
    rows, n_terms, _ = draw(random)
    rows = [{t: random.choice([0.0, x]) for t, x in row.items()} for row in distinct(random, rows)]
    rows[1] = {1: 0.0, 2: random.uniform(0.5, 9)}
    same_matrix(lab.invert(*triple(rows), n_terms), columns(rows, n_terms), why="some stored numbers are 0")


@task("invert")
def test_invert_numbers_documents_beyond_16_bits(lab, random):
    n = random.randint(66_000, 70_000)
    check.equal(lab.probe(last_of_many, n), [n - 2, n - 1], why=f"{n:,} documents, one term: the last two in its list")


@task("invert")
def test_invert_takes_memory_for_what_is_stored(lab, random):
    n_docs, n_terms = 3000 + random.randint(0, 99), 4000
    rows = [{random.randrange(n_terms): 1.0} for _ in range(n_docs)]
    got = lab.probe(peak, *triple(rows), n_terms)
    check.less(got, 6e6, why=f"bytes in use at most, for {n_docs:,} stored numbers of {n_docs:,} × {n_terms:,}")


@task("invert")
def test_invert_leaves_its_arguments_alone(lab, random):
    rows, n_terms, _ = draw(random)
    got = lab.probe(changed, "invert", *triple(distinct(random, rows)), n_terms)
    check.equal(got, [], why="your function changed these arguments")


# ---- score


def lists(random, n_docs, n_terms, longest):
    """Postings as a list of (documents, weights); one of them empty."""
    made = []
    for term in range(n_terms):
        some = sorted(random.sample(range(n_docs), 0 if term == 2 else random.randint(1, longest)))
        made.append((np.array(some, np.int64), np.array([random.uniform(0.1, 3) for _ in some])))
    return made


def scored(postings, query, n_docs):
    found = [dict(zip(d.tolist(), w.tolist())) for d, w in postings]
    return [sum(weight * found[t].get(d, 0.0) for t, weight in query.items()) for d in range(n_docs)]


def draw_query(random, terms):
    return {t: random.uniform(0.2, 3) for t in terms}


@task("score")
def test_score_of_one_term(lab, random):
    n, postings = 13, lists(random, 13, 7, 9)
    query = draw_query(random, [5])
    close(lab.score(postings, query, n), scored(postings, query, n), why="one term: its weights, times the query's")


@task("score")
def test_score_of_several_terms(lab, random):
    for _ in range(3):
        n = random.randint(11, 23)
        postings = lists(random, n, 8, n)
        query = draw_query(random, random.sample([0, 1, 3, 4, 5, 6, 7], random.randint(4, 7)))
        close(lab.score(postings, query, n), scored(postings, query, n), why="several terms, lists that overlap")


@task("score")
def test_score_of_terms_without_documents(lab, random):
    n, postings = 17, lists(random, 17, 6, 8)
    query = draw_query(random, [2, 4])
    close(lab.score(postings, query, n), scored(postings, query, n), why="term 2 is in no document")
    close(lab.score(postings, {}, n), [0.0] * n, why="a query of unknown words only: no terms")


@task("score")
def test_score_below_zero(lab, random):
    """With the Robertson-Spärck Jones idf, the weights of very common terms are negative."""
    n, postings = 15, lists(random, 15, 6, 12)
    postings = [(d, w - 1.5) for d, w in postings]
    query = draw_query(random, [0, 3, 5])
    close(lab.score(postings, query, n), scored(postings, query, n), why="some weights are negative")


@task("score")
def test_score_reads_only_the_querys_lists(lab, random):
    for n, n_terms in ((4000, 60), (20, 4000)):
        query = draw_query(random, random.sample(range(n_terms), 3))
        wanted = []
        for t in query:
            some = sorted(random.sample(range(n), random.randint(5, 9)))
            wanted.append((t, np.array(some), np.array([random.uniform(0.1, 3) for _ in some])))
        needed = sum(len(documents) for _, documents, _ in wanted)
        read, steps = lab.probe(work, wanted, n_terms, query, n)
        check.less(read, 3 * needed, why=f"stored numbers read, where the query's three lists hold {needed}")
        check.less(steps, 1000, why=f"lines of your file that were run, with {n:,} documents and {n_terms:,} terms")
        few, renamed = [(d, w) for _, d, w in wanted], dict(enumerate(query.values()))
        close(lab.score(few, renamed, n), scored(few, renamed, n), why=f"{n:,} documents")


@task("score")
def test_score_leaves_its_arguments_alone(lab, random):
    postings = lists(random, 11, 5, 8)
    check.equal(
        lab.probe(changed, "score", postings, {1: 2.0, 3: 0.5}, 11), [], why="your function changed these arguments"
    )


# ---- top_k


def best(scores, k):
    ranked = sorted((d for d in range(len(scores)) if scores[d] > 0), key=lambda d: (-scores[d], d))
    return [(d, float(scores[d])) for d in ranked[:k]]


def same_results(got, scores, k, why):
    want = best(scores, k)
    check.equal(whole([d for d, _ in got]), [d for d, _ in want], why=f"{why}: the documents")
    unit = max(scores.max(initial=0.0), 1e-300)  # small scores are not all the same
    close([s / unit for _, s in got], [s / unit for _, s in want], why=f"{why}: their scores")


@task("top_k")
def test_top_k_of_different_scores(lab, random):
    for n in (7, 60):
        scores = np.array(random.sample([0.1 * i for i in range(1, 200)], n))
        for k in (1, 3, n - 1):
            same_results(lab.top_k(scores, k), scores, k, why=f"the best {k} of {n}")


@task("top_k")
def test_top_k_of_small_differences(lab, random):
    """A cosine may be small, and two of them may differ in the fifth place: nothing is rounded away."""
    for unit in (1e-6, 1e-12):
        scores = np.array([unit * i for i in random.sample(range(1, 500), 40)])
        same_results(lab.top_k(scores, 7), scores, 7, why=f"scores in steps of {unit}")


@task("top_k")
def test_top_k_of_equals(lab, random):
    """Few different values, many of each: the cut falls among equals."""
    for n in (12, 400):
        scores = np.array([random.choice([0.25, 0.5, 0.75]) for _ in range(n)])
        for k in (2, n // 5, n // 2):
            same_results(lab.top_k(scores, k), scores, k, why=f"the best {k} of {n}, many equal: lower number first")


@task("top_k")
def test_top_k_leaves_out_what_shares_nothing(lab, random):
    scores = np.array([random.choice([0.0, 0.0, 0.4, 1.5]) for _ in range(30)] + [0.0, 0.4])
    for k in (5, 25):
        same_results(lab.top_k(scores, k), scores, k, why=f"k = {k}, most scores are 0")
    same_results(lab.top_k(np.zeros(6), 3), np.zeros(6), 3, why="no document has a word of the query")
    mixed = np.array([random.choice([-0.5, 0.0, 0.7]) for _ in range(20)])
    same_results(lab.top_k(mixed, 15), mixed, 15, why="scores below 0 are no results either")


@task("top_k")
def test_top_k_larger_than_the_collection(lab, random):
    scores = np.array([random.uniform(0.1, 2) for _ in range(5)])
    for k in (5, 6, 40):
        same_results(lab.top_k(scores, k), scores, k, why=f"k = {k}, five documents")
    same_results(lab.top_k(np.zeros(0), 3), np.zeros(0), 3, why="an empty collection")


@task("top_k")
def test_top_k_leaves_its_arguments_alone(lab, random):
    scores = np.array([random.choice([0.0, 0.4, 1.5, 2.5]) for _ in range(30)])
    check.equal(lab.probe(changed, "top_k", scores, 4), [], why="your function changed these arguments")


@task("top_k")
def test_a_search_from_text_to_results(lab, random):
    """All parts together, as `Index` calls them."""
    vocabulary = sorted(words(random, 9))
    documents = [random.choices(vocabulary[1:6], k=random.randint(3, 9)) for _ in range(12)] + [[vocabulary[6]] * 2]
    texts = [" ".join(document) for document in documents]
    for method in ("bm25", "tfidf"):
        got = lab.probe(searched, texts, method, [vocabulary[0], "", f"{vocabulary[6]} {vocabulary[8]}"])
        why = "an unknown word, no word at all, and a word of the last document with an unknown one: documents found"
        check.equal(whole_lists(got), [[], [], [12]], why=f"Index(…, {method!r}).search: {why}")


def whole_lists(x):
    return [whole(row) for row in x] if isinstance(x, (list, tuple)) else x


# ---- probes: they run beside the lab


def kinds(lab, documents, vocabulary):
    """What data, indices and indptr are.  Whole numbers are what NumPy takes for positions: any type int64 holds."""

    def kind(x, whole):
        if not isinstance(x, np.ndarray):
            return type(x).__name__
        if x.dtype.kind in "iu" and np.can_cast(x.dtype, np.int64):
            return "array of whole numbers" if whole else "array of numbers"
        return "array of numbers" if x.dtype.kind in "iuf" and not whole else f"array of {x.dtype}"

    data, indices, indptr = lab.csr(documents, vocabulary)
    return [kind(data, False), kind(indices, True), kind(indptr, True)]


def ends_of_a_large_matrix(lab, n):
    """indptr, and the last three columns, of two documents: the first has all words but the last, the second that."""
    every = [f"w{i}" for i in range(n + 1)]
    _, indices, indptr = lab.csr([every[:-1], every[-1:]], {word: i for i, word in enumerate(every)})
    return [[int(i) for i in indptr], [int(i) for i in indices[-3:]]]


def last_of_many(lab, n):
    """The last two documents of the one list, when n documents have the same word."""
    made = lab.invert(np.ones(n), np.zeros(n, np.int32), np.arange(n + 1, dtype=np.int32), 1)
    return [int(d) for d in made[1][-2:]]


def peak(lab, data, indices, indptr, n_terms):
    """The most bytes that `invert` had in use at a time."""
    lab.invert(data, indices, indptr, n_terms)  # what is imported only once does not count
    tracemalloc.start()
    try:
        lab.invert(data, indices, indptr, n_terms)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def searched(lab, texts, method, queries):
    """Which documents each query finds."""
    index = lab.Index(lab.Collection(texts), method)
    return [[document for document, _ in index.search(query)] for query in queries]


def changed(lab, function, *arguments):
    """The numbers, from 1, of the arguments that a call changed."""

    def text(x):
        return [text(y) for y in x] if isinstance(x, (list, tuple)) else x.tolist() if hasattr(x, "tolist") else repr(x)

    before = [text(x) for x in arguments]
    getattr(lab, function)(*arguments)
    return [i for i, (x, old) in enumerate(zip(arguments, before), 1) if text(x) != old]


class Counted:
    """Postings that count how many stored numbers are read through them; every other list is as long as `other`."""

    def __init__(self, wanted, n_terms, other):
        self.lists, self.read = [other] * n_terms, 0
        for term, documents, weights in wanted:
            self.lists[term] = (documents, weights)

    def __len__(self):
        return len(self.lists)

    def __getitem__(self, term):
        found = self.lists[term]
        self.read += sum(len(d) for d, _ in found) if isinstance(term, slice) else len(found[0])
        return found


def work(lab, wanted, n_terms, query, n_docs):
    """(stored numbers read, lines run of the file that holds `score`) for one query; what a library runs is its own."""
    counted = Counted(wanted, n_terms, (np.arange(min(n_docs, 100)), np.full(min(n_docs, 100), 0.5)))
    lines, file = [0], lab.score.__code__.co_filename

    def watch(frame, event, argument):
        lines[0] += event == "line"
        return watch if frame.f_code.co_filename == file else None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        lab.score(counted, query, n_docs)
    finally:
        sys.settrace(before)
    return counted.read, lines[0]
