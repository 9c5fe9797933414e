"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import heapq
import itertools
import math

import numpy as np
from scipy import sparse

from labkit.spec import equivalent

# ---- csr


@equivalent("csr")
def sorts_all_pairs_at_once(documents, vocabulary):
    pairs = sorted((d, vocabulary[w]) for d, words in enumerate(documents) for w in words if w in vocabulary)
    entries = [(key, len(list(same))) for key, same in itertools.groupby(pairs)]
    starts = [sum(d < row for (d, _), _ in entries) for row in range(len(documents) + 1)]
    return np.array([n for _, n in entries]), np.array([c for (_, c), _ in entries], int), np.array(starts)


@equivalent("csr")
def scipy_sums_the_duplicates(documents, vocabulary):
    rows = [d for d, words in enumerate(documents) for w in words if w in vocabulary]
    columns = [vocabulary[w] for words in documents for w in words if w in vocabulary]
    matrix = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), (len(documents), len(vocabulary))).tocsr()
    matrix.sort_indices()
    return matrix.data, matrix.indices, matrix.indptr


@equivalent("csr")
def a_table_first(documents, vocabulary):
    table = np.zeros((len(documents), len(vocabulary)), np.int32)
    for d, words in enumerate(documents):
        for w in words:
            if (c := vocabulary.get(w)) is not None:
                table[d, c] += 1
    return table[table > 0], np.nonzero(table)[1], np.append(0, (table > 0).sum(1).cumsum())


@equivalent("csr")
def plain_lists_in_float32(documents, vocabulary):
    data, indices, indptr = [], [], [0]
    for words in documents:
        columns, counts = np.unique([vocabulary[w] for w in words if w in vocabulary], return_counts=True)
        data += counts.tolist()
        indices += columns.astype(int).tolist()
        indptr += [len(data)]
    return np.array(data, np.float32), np.array(indices, np.int64), np.array(indptr, np.int64)


# ---- tf


@equivalent("tf")
def one_by_one(counts, how):
    formulas = {"raw": float, "log": lambda f: math.log(f + 1), "sublinear": lambda f: 1 + math.log(f)}
    if how not in formulas:
        raise ValueError(how)
    return np.array([formulas[how](f) for f in counts])


@equivalent("tf")
def logarithms_of_products(counts, how):
    counts = np.asarray(counts, np.float32)
    match how:
        case "raw":
            return counts * 1
        case "log":
            return np.log(counts + 1)
        case "sublinear":
            return np.log(math.e * counts)
    raise ValueError(f"no such tf: {how}")


# ---- document_frequency and idf


@equivalent("idf", of="document_frequency")
def adds_at(data, indices, n_terms):
    df = np.zeros(n_terms)
    np.add.at(df, indices, data != 0)
    return df


@equivalent("idf", of="document_frequency")
def a_list_of_numbers(data, indices, n_terms):
    df = [0] * n_terms
    for x, t in zip(data, indices):
        df[t] += bool(x)
    return np.array(df, np.int32)


@equivalent("idf", of="document_frequency")
def counts_each_term(data, indices, n_terms):
    return np.array([np.count_nonzero(data[indices == t]) for t in range(n_terms)])


@equivalent("idf", of="idf")
def differences_of_logarithms(df, n_docs, how):
    rsj = np.log(n_docs - df + 0.5) - np.log(df + 0.5)
    if how == "okapi":
        floor = 0.25 * np.sum(rsj) / len(df)
        rsj[rsj < 0] = floor
        return rsj
    known = {
        "plain": lambda: -np.log(df / n_docs),
        "smooth": lambda: 1 - np.log((df + 1) / (n_docs + 1)),
        "rsj": lambda: rsj,
        "lucene": lambda: np.log((n_docs + 1) / (df + 0.5)),
    }
    if how not in known:
        raise ValueError(how)
    return known[how]()


@equivalent("idf", of="idf")
def term_by_term(df, n_docs, how):
    odds = [(n_docs - d + 0.5) / (d + 0.5) for d in df.tolist()]
    mean = sum(map(math.log, odds)) / len(odds)
    if how == "plain":
        return np.array([math.log(n_docs / d) for d in df.tolist()])
    elif how == "smooth":
        return np.array([math.log((n_docs + 1) / (d + 1)) + 1 for d in df.tolist()])
    elif how == "rsj":
        return np.array([math.log(o) for o in odds])
    elif how == "lucene":
        return np.array([math.log(1 + o) for o in odds], np.float32)
    elif how == "okapi":
        return np.array([math.log(o) if o >= 1 else mean / 4 for o in odds])
    raise ValueError("unknown idf")


# ---- normalise


@equivalent("normalise", of="l2_normalise")
def row_by_row(data, indptr):
    out = np.array(data, float)
    for a, b in itertools.pairwise(indptr):
        length = math.hypot(*out[a:b])
        if length > 0:
            out[a:b] /= length
    return out


@equivalent("normalise", of="l2_normalise")
def differences_of_running_sums(data, indptr):
    running = np.concatenate([[0.0], np.cumsum(np.asarray(data, np.longdouble) ** 2)])
    squares = running[indptr[1:]] - running[indptr[:-1]]
    lengths = np.repeat(np.sqrt(np.maximum(squares, 0)), np.diff(indptr))
    return np.divide(data, lengths, out=np.zeros(len(data)), where=lengths > 0).astype(float)


@equivalent("normalise", of="l2_normalise")
def reduceat_over_full_rows(data, indptr):
    full = np.flatnonzero(np.diff(indptr))
    if len(full) == 0:
        return data[:0]
    lengths = np.sqrt(np.add.reduceat(data * data, indptr[full]))
    return data * np.repeat(1 / np.where(lengths > 0, lengths, 1), np.diff(indptr)[full])


@equivalent("normalise", of="l2_normalise")
def by_a_matrix_of_scipy(data, indptr):
    matrix = sparse.csr_matrix((data, np.arange(len(data)), indptr), (len(indptr) - 1, max(len(data), 1)))
    lengths = sparse.linalg.norm(matrix, axis=1) if len(data) else np.zeros(len(indptr) - 1)
    lengths[lengths == 0] = np.inf
    return data / lengths[np.searchsorted(indptr, np.arange(len(data)), side="right") - 1]


# ---- tfidf


@equivalent("tfidf")
def document_by_document(data, indices, indptr, term_idf, tf_how):
    formula = {"raw": float, "log": math.log1p, "sublinear": lambda f: 1 + math.log(f)}[tf_how]
    out = []
    for a, b in itertools.pairwise(indptr):
        row = [formula(f) * float(term_idf[t]) for f, t in zip(data[a:b], indices[a:b])]
        length = math.sqrt(sum(x * x for x in row)) or 1.0
        out += [x / length for x in row]
    return np.array(out)


@equivalent("tfidf")
def a_diagonal_matrix(data, indices, indptr, term_idf, tf_how):
    weighted = {"raw": data, "log": np.log(1 + data), "sublinear": np.log(data) + 1}[tf_how]
    product = sparse.csr_matrix((weighted, indices, indptr), (len(indptr) - 1, len(term_idf))) @ sparse.diags(term_idf)
    product.sort_indices()
    values = np.take(term_idf, indices) * weighted  # the product drops nothing, but may not keep the order
    squares = np.asarray(product.multiply(product).sum(1)).ravel()
    lengths = np.sqrt(np.where(squares > 0, squares, 1))
    return (values / np.repeat(lengths, np.diff(indptr))).astype(np.float32)


# ---- bm25


@equivalent("bm25")
def term_by_term_in_python(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    sizes = [math.fsum(data[a:e]) for a, e in itertools.pairwise(indptr)]
    mean = math.fsum(sizes) / len(sizes)
    return np.array(
        [
            term_idf[t] * f / (f + k1 * ((1 - b) + b * size / mean))
            for size, (a, e) in zip(sizes, itertools.pairwise(indptr))
            for f, t in zip(data[a:e], indices[a:e])
        ]
    )


@equivalent("bm25")
def divides_numerator_and_denominator(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    if not len(data):
        return np.zeros(0)
    words = np.diff(np.concatenate([[0.0], np.cumsum(data)])[indptr])
    relative = np.repeat(words * len(words) / data.sum(), np.diff(indptr))
    return np.take(term_idf, indices) / (1 + k1 * (1 + b * (relative - 1)) / data)


@equivalent("bm25")
def the_matrix_of_scipy(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    matrix = sparse.csr_matrix((data, indices, indptr), (len(indptr) - 1, len(term_idf)))
    words = np.asarray(matrix.sum(axis=1)).ravel()
    coo = matrix.tocoo()
    return (term_idf[coo.col] * data / (data + k1 * (1 - b + b * words[coo.row] / (words.mean() or 1)))).astype(
        np.float32
    )


# ---- invert


@equivalent("invert")
def lists_of_lists(data, indices, indptr, n_terms):
    lists = [[] for _ in range(n_terms)]
    for d, (a, e) in enumerate(itertools.pairwise(indptr)):
        for t, x in zip(indices[a:e], data[a:e]):
            lists[t].append((d, x))
    flat = [pair for one in lists for pair in one]
    starts = [0, *itertools.accumulate(map(len, lists))]
    return np.array([x for _, x in flat]), np.array([d for d, _ in flat], int), np.array(starts)


@equivalent("invert")
def by_scipy(data, indices, indptr, n_terms):
    made = sparse.csr_matrix((data, indices, indptr), (len(indptr) - 1, n_terms)).tocsc()  # stored zeros stay
    made.sort_indices()
    return made.data, made.indices, made.indptr


@equivalent("invert")
def counting_sort(data, indices, indptr, n_terms):
    starts = np.zeros(n_terms + 1, np.int64)
    for t in indices:
        starts[t + 1] += 1
    starts = starts.cumsum()
    free, moved, documents = starts[:-1].copy(), np.empty(len(data)), np.empty(len(data), np.int32)
    for d in range(len(indptr) - 1):
        for j in range(indptr[d], indptr[d + 1]):
            place = free[indices[j]]
            moved[place], documents[place] = data[j], d
            free[indices[j]] += 1
    return moved, documents, starts


@equivalent("invert")
def lexsort_and_searchsorted(data, indices, indptr, n_terms):
    documents = np.searchsorted(indptr, np.arange(len(data)), side="right") - 1
    order = np.lexsort((documents, indices))
    return data[order], documents[order], np.searchsorted(indices[order], np.arange(n_terms + 1))


# ---- score


@equivalent("score")
def bincount_of_everything(postings, query, n_docs):
    if not query:
        return np.zeros(n_docs)
    lists = [(postings[t], w) for t, w in query.items()]
    documents = np.concatenate([np.asarray(d, int) for (d, _), _ in lists])
    return np.bincount(documents, np.concatenate([w * v for (_, v), w in lists]), minlength=n_docs)


@equivalent("score")
def adds_at_each_place(postings, query, n_docs):
    scores = np.zeros(n_docs, np.float32)
    for t in query:
        np.add.at(scores, postings[t][0], query[t] * postings[t][1])
    return scores


@equivalent("score")
def a_dict_of_the_hits(postings, query, n_docs):
    found = {}
    for t, w in query.items():
        for d, v in zip(*postings[t]):
            found[int(d)] = found.get(int(d), 0.0) + w * float(v)
    scores = np.zeros(n_docs)
    scores[list(found)] = list(found.values())
    return scores


@equivalent("score")
def a_sparse_row_times_the_lists(postings, query, n_docs):
    total = sparse.csr_matrix((1, n_docs))
    for t, w in query.items():
        d, v = postings[t]
        total = total + w * sparse.csr_matrix((v, (np.zeros(len(d), int), d)), (1, n_docs))
    return total.toarray().ravel()


# ---- top_k


@equivalent("top_k")
def a_heap(scores, k):
    positive = ((float(s), -d) for d, s in enumerate(scores) if s > 0)
    return [(-d, s) for s, d in heapq.nlargest(k, positive)]


@equivalent("top_k")
def sorted_with_a_key(scores, k):
    ranked = sorted(enumerate(scores.tolist()), key=lambda pair: (-pair[1], pair[0]))
    return [(d, s) for d, s in ranked if s > 0][:k]


@equivalent("top_k")
def lexsort(scores, k):
    order = np.lexsort((np.arange(len(scores)), -scores))[:k]
    return [[d, scores[d]] for d in order if scores[d] > 0]


@equivalent("top_k")
def the_best_k_times(scores, k):
    left, found = scores.copy(), []
    while len(found) < k and left.size and left.max() > 0:
        d = int(left.argmax())  # the first of equals
        found.append((d, float(scores[d])))
        left[d] = -np.inf
    return tuple(found)
