"""What people really get wrong in lab 1.2.  Each replaces one function of solution.py, and its task must catch it."""

import math
from collections import Counter

import numpy as np

from labkit.spec import alike, mistake

# ---- csr


@mistake("csr", says="A word that stands three times is stored three times: sum the duplicates, one entry a term.")
def duplicates_not_summed(documents, vocabulary):
    rows = [sorted(vocabulary[w] for w in d if w in vocabulary) for d in documents]
    return _flat([[(c, 1) for c in row] for row in rows])


@alike("duplicates_not_summed")
def one_entry_a_word(documents, vocabulary):
    indices, indptr = [], [0]
    for d in documents:
        known = [vocabulary[w] for w in d if w in vocabulary]
        indices += sorted(known)
        indptr.append(indptr[-1] + len(known))
    return np.ones(len(indices)), np.array(indices, int), np.array(indptr)


@mistake("csr", says="The columns of a row stand in the order of first appearance; they must rise.")
def columns_not_sorted(documents, vocabulary):
    return _flat([list(_count(d, vocabulary).items()) for d in documents])


@alike("columns_not_sorted")
def dict_of_each_row(documents, vocabulary):
    data, indices, indptr = [], [], [0]
    for d in documents:
        seen = {}
        for w in d:
            if w in vocabulary:
                seen[vocabulary[w]] = seen.get(vocabulary[w], 0) + 1
        data.extend(seen.values())
        indices.extend(seen.keys())
        indptr.append(len(data))
    return np.array(data, np.float32), np.array(indices, np.int64), np.array(indptr)


@mistake(
    "csr", says="The row is sorted by its words; the columns must rise, and a vocabulary need not be alphabetical."
)
def sorted_by_word(documents, vocabulary):
    return _flat([[(vocabulary[w], n) for w, n in sorted(Counter(d).items()) if w in vocabulary] for d in documents])


@mistake("csr", says="Within a row the most common term comes first; the order is that of the column numbers.")
def most_common_first(documents, vocabulary):
    return _flat([sorted(_count(d, vocabulary).items(), key=lambda x: (-x[1], x[0])) for d in documents])


@mistake("csr", says="Only that a term occurs is stored, not how often.")
def presence_only(documents, vocabulary):
    return _flat([[(c, 1) for c in sorted(_count(d, vocabulary))] for d in documents])


@mistake("csr", says="indptr lacks its leading 0: it has one number more than there are documents.")
def indptr_without_zero(documents, vocabulary):
    data, indices, indptr = _csr(documents, vocabulary)
    return data, indices, indptr[1:]


@alike("indptr_without_zero")
def appends_the_end_only(documents, vocabulary):
    data, indices, ends = [], [], []
    for d in documents:
        row = _count(d, vocabulary)
        indices += sorted(row)
        data += [float(row[c]) for c in sorted(row)]
        ends.append(len(data))
    return np.array(data), np.array(indices, int), np.array(ends)


@mistake("csr", says="indptr lacks its last number, where the last row ends: it begins each row and ends none.")
def indptr_without_end(documents, vocabulary):
    data, indices, indptr = _csr(documents, vocabulary)
    return data, indices, indptr[:-1]


@mistake("csr", says="indptr holds the length of each row; it must add them up.")
def indptr_of_lengths(documents, vocabulary):
    data, indices, indptr = _csr(documents, vocabulary)
    return data, indices, np.concatenate([[0], np.diff(indptr)])


@mistake("csr", says="indptr adds up the words of each document instead of the entries stored for it.")
def indptr_of_words(documents, vocabulary):
    data, indices, _ = _csr(documents, vocabulary)
    known = [sum(w in vocabulary for w in d) for d in documents]
    return data, indices, np.cumsum([0, *known])


@mistake("csr", says="An empty document is skipped, so every document behind it has moved up by one.")
def skips_empty_documents(documents, vocabulary):
    return _csr([d for d in documents if d], vocabulary)


@alike("skips_empty_documents")
def ends_of_rows_that_have_one(documents, vocabulary):
    rows = [_count(d, vocabulary) for d in documents]
    return _flat([sorted(row.items()) for row in rows if row])


@mistake(
    "csr", says="Unknown words are counted as the first term of the vocabulary: get(word, 0) is a column, not nothing."
)
def unknown_words_in_column_0(documents, vocabulary):
    return _flat([sorted(Counter(vocabulary.get(w, 0) for w in d).items()) for d in documents])


@mistake("csr", says="Unknown words are stored in column -1.")
def unknown_words_in_column_minus_1(documents, vocabulary):
    return _flat([sorted(Counter(vocabulary.get(w, -1) for w in d).items()) for d in documents])


@mistake(
    "csr", says="An unknown word raises KeyError; a query may hold any word, and those of no document count nothing."
)
def unknown_words_raise(documents, vocabulary):
    return _flat([sorted(Counter(vocabulary[w] for w in d).items()) for d in documents])


@mistake(
    "csr", says="The vocabulary grows by unknown words: it is the caller's, and the matrix has no columns for them."
)
def vocabulary_grows(documents, vocabulary):
    return _flat([sorted(Counter(vocabulary.setdefault(w, len(vocabulary)) for w in d).items()) for d in documents])


@mistake(
    "csr", says="The columns are numbered by their place in the dict; the vocabulary says which number a term has."
)
def columns_of_its_own(documents, vocabulary):
    return _csr(documents, {w: i for i, w in enumerate(sorted(vocabulary))})


@mistake("csr", says="The third array names the row of each entry (that is COO); CSR stores where each row begins.")
def coordinates(documents, vocabulary):
    data, indices, indptr = _csr(documents, vocabulary)
    return data, indices, _row(indptr)


@mistake("csr", says="The zeros are stored, too: that is a dense matrix in three arrays.")
def stores_zeros(documents, vocabulary):
    return _flat([[(c, _count(d, vocabulary)[c]) for c in sorted(vocabulary.values())] for d in documents])


@mistake("csr", says="16 bits do not number 40,000 columns: int32 goes to two thousand million.")
def columns_of_16_bits(documents, vocabulary):
    data, indices, indptr = _csr(documents, vocabulary)
    return data, indices.astype(np.int16), indptr


@mistake("csr", says="Unsigned 16 bits end at 65,535: more columns than that, or more entries, need int32.")
def unsigned_16_bits(documents, vocabulary):
    data, indices, indptr = _csr(documents, vocabulary)
    return data, indices.astype(np.uint16), indptr.astype(np.uint16)


@mistake(
    "csr",
    says="An empty list becomes float64, and no position is that: np.array(indices, int), for a query of unknown words.",
)
def empty_list_becomes_float(documents, vocabulary):
    data, indices, indptr = _csr(documents, vocabulary)
    return np.array(data.tolist()), np.array(indices.tolist()), np.array(indptr.tolist())


@mistake("csr", says="Three lists, where three NumPy arrays are wanted: what comes after computes with whole arrays.")
def lists_for_arrays(documents, vocabulary):
    return tuple(x.tolist() for x in _csr(documents, vocabulary))


@mistake(
    "csr", says="The first term of the vocabulary is lost: its column is 0, and `if vocabulary.get(word)` drops 0."
)
def column_0_is_lost(documents, vocabulary):
    return _flat([sorted(Counter(vocabulary[w] for w in d if vocabulary.get(w)).items()) for d in documents])


@mistake("csr", says="indptr gets a number for each entry: append it once a document, after the inner loop.")
def indptr_by_entry(documents, vocabulary):
    data, indices, _ = _csr(documents, vocabulary)
    return data, indices, np.arange(len(data) + 1)


@mistake("csr", says="8 bits count to 255, and then begin again at 0.")
def counts_of_8_bits(documents, vocabulary):
    data, indices, indptr = _csr(documents, vocabulary)
    return data.astype(np.uint8), indices, indptr


# ---- tf


@mistake("tf", says="Sublinear without the 1 +: a term that occurs once weighs ln 1 = 0 and is gone.")
def sublinear_without_one(counts, how):
    return _tf(counts, how, sublinear=lambda f: np.log(f))


@mistake("tf", says="Base 10: the logarithms here are natural. (Sublinear, in base 10, is another weighting.)")
def sublinear_base_10(counts, how):
    return _tf(counts, how, sublinear=lambda f: 1 + np.log10(f))


@mistake("tf", says="Base 2: the logarithms here are natural.")
def logs_base_2(counts, how):
    return _tf(counts, how, log=lambda f: np.log2(1 + f), sublinear=lambda f: 1 + np.log2(f))


@mistake("tf", says="log and sublinear are swapped: ln(1 + f) is log, 1 + ln f sublinear.")
def log_and_sublinear_swapped(counts, how):
    return _tf(counts, {"log": "sublinear", "sublinear": "log"}.get(how, how))


@mistake("tf", says="log and sublinear are the same here, ln(1 + f); sublinear is 1 + ln f.")
def sublinear_is_log1p(counts, how):
    return _tf(counts, how, sublinear=np.log1p)


@alike("sublinear_is_log1p")
def brackets_in_the_wrong_place(counts, how):
    if how == "raw":
        return counts + 0.0
    if how in ("log", "sublinear"):
        return np.array([math.log(1 + f) for f in counts.tolist()])
    raise ValueError(how)


@mistake("tf", says="log and sublinear are the same here, 1 + ln f; log is ln(1 + f).")
def log_is_sublinear(counts, how):
    return _tf(counts, how, log=lambda f: 1 + np.log(f))


@mistake(
    "tf", says="raw is divided by the sum of the counts: this function sees many documents at once and knows no length."
)
def raw_is_relative(counts, how):
    return _tf(counts, how, raw=lambda f: f / max(f.sum(), 1))


@mistake("tf", says="raw only says that the term occurs: all are 1.")
def raw_is_binary(counts, how):
    return _tf(counts, how, raw=lambda f: np.minimum(f, 1))


@mistake(
    "tf", says="An unknown name is taken for raw; a misspelt setting must raise ValueError, not search differently."
)
def unknown_tf_is_raw(counts, how):
    return _tf(counts, how if how in ("log", "sublinear") else "raw")


@mistake(
    "tf",
    says="A dict of formulas raises KeyError for an unknown name; ValueError is wanted, which says what is allowed.",
)
def unknown_tf_is_a_key_error(counts, how):
    return {"raw": lambda f: f, "log": np.log1p, "sublinear": lambda f: 1 + np.log(f)}[how](counts)


@mistake("tf", says="An unknown name returns None; a misspelt setting must raise ValueError.")
def unknown_tf_is_none(counts, how):
    return _tf(counts, how) if how in ("raw", "log", "sublinear") else None


@mistake("tf", says="The caller's counts are overwritten (out=, or +=); the same counts are weighted several times.")
def tf_in_place(counts, how):
    if counts.dtype != float:
        return _tf(counts, how)
    if how == "log":
        return np.log1p(counts, out=counts)
    if how == "sublinear":
        np.log(counts, out=counts)
        counts += 1
        return counts
    return _tf(counts, how)


@mistake(
    "tf", says="The result has the type of the counts: with whole numbers, every logarithm is cut to a whole number."
)
def tf_keeps_the_type(counts, how):
    return _tf(counts, how).astype(counts.dtype)


# ---- idf


@mistake(
    "idf",
    of="document_frequency",
    says="Occurrences are added up: that is the collection frequency, df counts documents.",
)
def collection_frequency(data, indices, n_terms):
    return np.bincount(indices, data, minlength=n_terms)


@alike("collection_frequency")
def adds_the_data(data, indices, n_terms):
    df = np.zeros(n_terms)
    for c, f in zip(indices, data):
        df[c] += f
    return df


@mistake(
    "idf", of="document_frequency", says="Terms of the vocabulary that occur nowhere at its end are missing: minlength."
)
def df_too_short(data, indices, n_terms):
    return np.bincount(indices[data != 0])


@mistake("idf", of="document_frequency", says="Only terms that occur are counted (np.unique): the rest needs its 0.")
def df_of_seen_terms(data, indices, n_terms):
    return np.unique(indices[data != 0], return_counts=True)[1]


@mistake("idf", of="document_frequency", says="A stored 0 is counted as an occurrence.")
def df_counts_zeros(data, indices, n_terms):
    return np.bincount(indices, minlength=n_terms)


@mistake(
    "idf",
    of="document_frequency",
    says="Each df is at most 1: indices may repeat, and df[indices] += 1 adds only once.",
)
def df_adds_once(data, indices, n_terms):
    df = np.zeros(n_terms, int)
    df[indices[data != 0]] += 1
    return df


@mistake(
    "idf", of="document_frequency", says="The caller's counts become ones: data[data > 0] = 1 writes into the index."
)
def df_clips_in_place(data, indices, n_terms):
    data[data > 0] = 1
    return np.bincount(indices[data != 0], minlength=n_terms)


@mistake(
    "idf",
    of="document_frequency",
    says="The caller's counts become ones (data[data > 0] = 1), and are then added up: a negative one is subtracted.",
)
def df_adds_clipped_data(data, indices, n_terms):
    data[data > 0] = 1
    return np.bincount(indices, weights=data, minlength=n_terms).astype(int)


@mistake(
    "idf", of="document_frequency", says="Only numbers above 0 are counted; a negative weight is an occurrence, too."
)
def df_of_positive_numbers(data, indices, n_terms):
    return np.bincount(indices[data > 0], minlength=n_terms)


@mistake("idf", of="idf", says="The caller's df is changed: df += 1 writes into it; 1 + df makes a new array.")
def idf_in_place(df, n_docs, how):
    if how == "smooth":
        n_docs += 1
        df += 1
        return np.log(n_docs / df) + 1
    return _idf(df, n_docs, how)


@mistake("idf", of="idf", says="smooth has its last + 1 inside the logarithm; it stands behind.")
def smooth_one_inside(df, n_docs, how):
    return _idf(df, n_docs, how, smooth=lambda df, n: np.log((1 + n) / (1 + df) + 1))


@mistake("idf", of="idf", says="Brackets are missing: n_docs - df + 0.5 / df + 0.5 divides only the 0.5 by df.")
def odds_without_brackets(df, n_docs, how):
    def wrong(df, n):
        return np.log(n - df + 0.5 / df + 0.5)

    return _idf(
        df,
        n_docs,
        how,
        rsj=wrong,
        lucene=lambda df, n: np.log1p(n - df + 0.5 / df + 0.5),
        okapi=lambda df, n: np.where(wrong(df, n) < 0, 0.25 * wrong(df, n).mean(), wrong(df, n)),
    )


@mistake("idf", of="idf", says="plain is upside down: N/df, not df/N.")
def plain_upside_down(df, n_docs, how):
    return _idf(df, n_docs, how, plain=lambda df, n: np.log(df / n))


@mistake("idf", of="idf", says="No logarithm in plain: a rare term then weighs thousands of times a common one.")
def plain_without_log(df, n_docs, how):
    return _idf(df, n_docs, how, plain=lambda df, n: n / df)


@mistake("idf", of="idf", says="plain is ln(N / (1 + df)): a term in every document gets a negative weight.")
def plain_plus_one(df, n_docs, how):
    return _idf(df, n_docs, how, plain=lambda df, n: np.log(n / (1 + df)))


@mistake("idf", of="idf", says="Base 10: all logarithms here are natural.")
def idf_base_10(df, n_docs, how):
    return _idf(df, n_docs, how) / (math.log(10) if how != "smooth" else 1)


@mistake("idf", of="idf", says="Base 2: all logarithms here are natural.")
def idf_base_2(df, n_docs, how):
    return _idf(df, n_docs, how) / math.log(2)


@mistake(
    "idf", of="idf", says="smooth lacks the + 1 behind the logarithm: scikit-learn adds it, so that no term weighs 0."
)
def smooth_without_one(df, n_docs, how):
    return _idf(df, n_docs, how, smooth=lambda df, n: np.log((1 + n) / (1 + df)))


@alike("smooth_without_one")
def smooth_by_loops(df, n_docs, how):
    if how == "smooth":
        return np.array([math.log(n_docs + 1) - math.log(int(d) + 1) for d in df])
    return _idf(df, n_docs, how)


@mistake(
    "idf",
    of="idf",
    says="smooth adds 1 to df only; scikit-learn adds it to N, too: one more document that has every term.",
)
def smooth_below_only(df, n_docs, how):
    return _idf(df, n_docs, how, smooth=lambda df, n: np.log(n / (1 + df)) + 1)


@mistake("idf", of="idf", says="smooth is ln(N/df) + 1: that is scikit-learn with smooth_idf=False.")
def smooth_is_unsmoothed(df, n_docs, how):
    return _idf(df, n_docs, how, smooth=lambda df, n: np.log(n / df) + 1)


@mistake("idf", of="idf", says="rsj without the two 0.5: a term in every document gives ln 0.")
def rsj_without_halves(df, n_docs, how):
    return _idf(df, n_docs, how, rsj=lambda df, n: np.log(np.maximum(n - df, 1e-300) / df))


@mistake("idf", of="idf", says="rsj is cut off at 0; below 0 from N/2 on is what it is, and why Lucene changed it.")
def rsj_cut_at_zero(df, n_docs, how):
    return _idf(df, n_docs, how, rsj=lambda df, n: np.maximum(_rsj(df, n), 0))


@mistake(
    "idf", of="idf", says="rsj divides N, not N - df: the odds are of the documents without the term to those with it."
)
def rsj_of_n(df, n_docs, how):
    return _idf(df, n_docs, how, rsj=lambda df, n: np.log((n + 0.5) / (df + 0.5)))


@mistake("idf", of="idf", says="lucene lacks the 1 + inside the logarithm: that is rsj, and negative for common terms.")
def lucene_is_rsj(df, n_docs, how):
    return _idf(df, n_docs, how, lucene=_rsj)


@alike("lucene_is_rsj")
def lucene_as_a_difference_of_logs(df, n_docs, how):
    return np.log(n_docs - df + 0.5) - np.log(df + 0.5) if how == "lucene" else _idf(df, n_docs, how)


@mistake("idf", of="idf", says="lucene has its 1 + outside the logarithm; it belongs inside.")
def lucene_one_outside(df, n_docs, how):
    return _idf(df, n_docs, how, lucene=lambda df, n: 1 + _rsj(df, n))


@mistake("idf", of="idf", says="okapi leaves the negative values as they are.")
def okapi_without_floor(df, n_docs, how):
    return _idf(df, n_docs, how, okapi=_rsj)


@mistake("idf", of="idf", says="okapi sets negative values to 0; rank_bm25 sets them to a quarter of the mean.")
def okapi_floor_zero(df, n_docs, how):
    return _idf(df, n_docs, how, okapi=lambda df, n: np.maximum(_rsj(df, n), 0))


@mistake(
    "idf",
    of="idf",
    says="okapi takes the mean of the positive values only; rank_bm25 takes it over all, negative ones too.",
)
def okapi_mean_of_positive(df, n_docs, how):
    def okapi(df, n):
        r = _rsj(df, n)
        return np.where(r < 0, 0.25 * (r[r > 0].mean() if (r > 0).any() else 0), r)

    return _idf(df, n_docs, how, okapi=okapi)


@mistake("idf", of="idf", says="okapi's mean moves while values are replaced: take it once, before the loop.")
def okapi_mean_moves(df, n_docs, how):
    def okapi(df, n):
        r = _rsj(df, n)
        for i in range(len(r)):
            if r[i] < 0:
                r[i] = 0.25 * r.mean()
        return r

    return _idf(df, n_docs, how, okapi=okapi)


@mistake("idf", of="idf", says="okapi sets negative values to the mean itself, not to a quarter of it.")
def okapi_whole_mean(df, n_docs, how):
    return _idf(df, n_docs, how, okapi=lambda df, n: np.where(_rsj(df, n) < 0, _rsj(df, n).mean(), _rsj(df, n)))


@mistake("idf", of="idf", says="okapi lifts everything below a quarter of the mean; only negative values are replaced.")
def okapi_as_a_maximum(df, n_docs, how):
    return _idf(df, n_docs, how, okapi=lambda df, n: np.maximum(_rsj(df, n), 0.25 * _rsj(df, n).mean()))


@mistake("idf", of="idf", says="okapi replaces 0 as well: at df = N/2 it is 0, which is not negative.")
def okapi_replaces_zero(df, n_docs, how):
    return _idf(df, n_docs, how, okapi=lambda df, n: np.where(_rsj(df, n) <= 0, 0.25 * _rsj(df, n).mean(), _rsj(df, n)))


@mistake("idf", of="idf", says="An unknown name is taken for plain; a misspelt setting must raise ValueError.")
def unknown_idf_is_plain(df, n_docs, how):
    return _idf(df, n_docs, how if how in ("smooth", "rsj", "lucene", "okapi") else "plain")


# ---- normalise


@mistake("normalise", of="l2_normalise", says="Divided by the sum of the row (L1), not by its Euclidean length.")
def l1(data, indptr):
    return _by_row(data, indptr, lambda row: np.abs(row).sum())


@mistake("normalise", of="l2_normalise", says="Divided by the sum of squares: the square root is missing.")
def no_root(data, indptr):
    return _by_row(data, indptr, lambda row: (row**2).sum())


@mistake("normalise", of="l2_normalise", says="Divided by the largest number of the row.")
def by_the_largest(data, indptr):
    return _by_row(data, indptr, lambda row: np.abs(row).max())


@mistake(
    "normalise",
    of="l2_normalise",
    says="All rows are divided by one length, that of the whole matrix; each has its own.",
)
def one_length_for_all(data, indptr):
    return data / (np.linalg.norm(data) or 1)


@mistake(
    "normalise",
    of="l2_normalise",
    says="Divided by the root of the number of entries, not of the sum of their squares.",
)
def root_of_the_count(data, indptr):
    return _by_row(data, indptr, lambda row: math.sqrt(len(row)))


@mistake(
    "normalise", of="l2_normalise", says="A row of stored zeros becomes 0/0 = NaN; its length has to be replaced by 1."
)
def zero_rows_are_nan(data, indptr):
    with np.errstate(invalid="ignore"):
        return data / np.repeat(_lengths(data, indptr), np.diff(indptr))


@alike("zero_rows_are_nan")
def divides_row_by_row(data, indptr):
    out = np.array(data, float)
    with np.errstate(all="ignore"):
        for a, b in zip(indptr[:-1], indptr[1:]):
            out[a:b] /= np.linalg.norm(out[a:b])
    return out


@mistake(
    "normalise",
    of="l2_normalise",
    says="A small number is added to every length, so short rows stay short; only a length of 0 needs care.",
)
def epsilon_on_every_length(data, indptr):
    return data / np.repeat(_lengths(data, indptr) + 1e-6, np.diff(indptr))


@mistake(
    "normalise",
    of="l2_normalise",
    says="np.add.reduceat refuses the start of an empty last row: it is len(data), and no number stands there.",
)
def reduceat_with_an_empty_last_row(data, indptr):
    lengths = np.sqrt(np.add.reduceat(data**2, indptr[:-1]))
    return data / np.repeat(np.where(lengths == 0, 1, lengths), np.diff(indptr))


@alike("reduceat_with_an_empty_last_row")
def reduceat_of_squares(data, indptr):
    length = np.add.reduceat(data * data, indptr[:-1]) ** 0.5
    length[length == 0] = 1
    return np.array([x / n for n, a, b in zip(length, indptr, indptr[1:]) for x in data[a:b]])


@mistake(
    "normalise",
    of="l2_normalise",
    says="The starts of np.add.reduceat are clipped for an empty last row: that cuts off the end of the row before it.",
)
def reduceat_with_clipped_starts(data, indptr):
    if len(data) == 0:
        return data
    lengths = np.sqrt(np.add.reduceat(data**2, np.minimum(indptr[:-1], len(data) - 1)))
    return data / np.repeat(np.where(lengths == 0, 1, lengths), np.diff(indptr))


@mistake(
    "normalise",
    of="l2_normalise",
    says="The rows that are not empty are numbered, so lengths go to the wrong rows behind an empty one.",
)
def numbers_the_full_rows(data, indptr):
    lengths = _lengths(data, indptr)
    full = np.diff(indptr)[np.diff(indptr) > 0]
    lengths = np.where(lengths == 0, 1, lengths)
    return data / lengths[np.repeat(np.arange(len(full)), full)]


@mistake(
    "normalise",
    of="l2_normalise",
    says="The caller's data is divided in place; the same array may be normalised again.",
)
def divides_in_place(data, indptr):
    data /= np.repeat(np.where(_lengths(data, indptr) == 0, 1, _lengths(data, indptr)), np.diff(indptr))
    return data


@mistake("normalise", of="l2_normalise", says="Rows of length below 1 are left as they are.")
def only_long_rows(data, indptr):
    return data / np.repeat(np.maximum(_lengths(data, indptr), 1), np.diff(indptr))


@mistake(
    "normalise",
    of="l2_normalise",
    says="The mean of each row is subtracted first: that is a correlation, and it fills every zero.",
)
def centres_first(data, indptr):
    out = np.array(data, float)
    for a, b in zip(indptr[:-1], indptr[1:]):
        if b > a:
            out[a:b] -= out[a:b].mean()
    return _normalised(out, indptr)


# ---- tfidf


@mistake("tfidf", says="Normalised before the idf, so the rows are not of length 1 any more.")
def normalised_before_idf(data, indices, indptr, term_idf, tf_how):
    return _normalised(_tf(data, tf_how), indptr) * term_idf[indices]


@alike("normalised_before_idf")
def unit_counts_times_idf(data, indices, indptr, term_idf, tf_how):
    out = np.array(_tf(data, tf_how), float)
    for a, b in zip(indptr[:-1], indptr[1:]):
        length = math.sqrt(sum(x * x for x in out[a:b].tolist()))
        for j in range(a, b):
            out[j] = out[j] / length * term_idf[indices[j]]
    return out


@mistake("tfidf", says="Not normalised: long documents win by their length.")
def not_normalised(data, indices, indptr, term_idf, tf_how):
    return _tf(data, tf_how) * term_idf[indices]


@alike("not_normalised")
def a_product_and_nothing_else(data, indices, indptr, term_idf, tf_how):
    return np.array([f * term_idf[t] for f, t in zip(_tf(data, tf_how).tolist(), indices.tolist())])


@mistake("tfidf", says="No idf: `the` counts as much as a name.")
def no_idf(data, indices, indptr, term_idf, tf_how):
    return _normalised(_tf(data, tf_how), indptr)


@mistake("tfidf", says="tf_how is ignored: the raw counts are weighted.")
def tf_ignored(data, indices, indptr, term_idf, tf_how):
    return _normalised(data * term_idf[indices], indptr)


@mistake("tfidf", says="tf is always sublinear, whatever tf_how says.")
def tf_always_sublinear(data, indices, indptr, term_idf, tf_how):
    return _normalised(_tf(data, "sublinear") * term_idf[indices], indptr)


@mistake("tfidf", says="The idf counts twice: once for the document and once more.")
def idf_squared(data, indices, indptr, term_idf, tf_how):
    return _normalised(_tf(data, tf_how) * term_idf[indices] ** 2, indptr)


@mistake("tfidf", says="tf is taken of count times idf; the idf comes after it.")
def tf_of_the_product(data, indices, indptr, term_idf, tf_how):
    product = data * term_idf[indices]
    with np.errstate(all="ignore"):
        return _normalised(_tf(product, tf_how), indptr)


@mistake("tfidf", says="The idf is added to tf, not multiplied.")
def idf_added(data, indices, indptr, term_idf, tf_how):
    return _normalised(_tf(data, tf_how) + term_idf[indices], indptr)


@mistake("tfidf", says="The idf is taken by the number of the row instead of the column.")
def idf_of_the_row(data, indices, indptr, term_idf, tf_how):
    return _normalised(_tf(data, tf_how) * term_idf[_row(indptr) % len(term_idf)], indptr)


@mistake("tfidf", says="The idf is taken by the place of the entry; `indices` says which term it is.")
def idf_by_place(data, indices, indptr, term_idf, tf_how):
    return _normalised(_tf(data, tf_how) * np.resize(term_idf, len(data)), indptr)


@mistake("tfidf", says="The weights are normalised over each term (column), not over each document (row).")
def columns_normalised(data, indices, indptr, term_idf, tf_how):
    weights = _tf(data, tf_how) * term_idf[indices]
    length = np.sqrt(np.bincount(indices, weights**2, minlength=len(term_idf)))
    return weights / np.where(length == 0, 1, length)[indices]


@mistake("tfidf", says="A negative idf is cut off at 0 here: which idf is used was decided elsewhere.")
def tfidf_cuts_negative_idf(data, indices, indptr, term_idf, tf_how):
    return _normalised(_tf(data, tf_how) * np.maximum(term_idf, 0)[indices], indptr)


@mistake("tfidf", says="The caller's counts are overwritten; BM25 needs them afterwards.")
def tfidf_in_place(data, indices, indptr, term_idf, tf_how):
    data[:] = _normalised(_tf(data, tf_how) * term_idf[indices], indptr)
    return data


# ---- bm25


@mistake(
    "bm25", says="The factor (k1 + 1) is there: Lucene dropped it in version 8. It changes no ranking, but the scores."
)
def with_k1_plus_1(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, b) * (k1 + 1)


@alike("with_k1_plus_1")
def as_in_the_textbook(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    out, mean = [], data.sum() / (len(indptr) - 1)
    for a, e in zip(indptr[:-1], indptr[1:]):
        size = sum(data[a:e])
        for f, t in zip(data[a:e], indices[a:e]):
            out.append(term_idf[t] * f * (k1 + 1) / (f + k1 * (1 - b + b * size / mean)))
    return np.array(out)


@mistake("bm25", says="No length: the document's length never enters the denominator.")
def no_length(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return term_idf[indices] * data / (data + k1)


@mistake("bm25", says="b and 1 - b are swapped.")
def b_swapped(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, 1 - b)


@mistake(
    "bm25", says="The length counts different terms (entries of the row); it must count words: the sum of the row."
)
def length_of_entries(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, b, length=np.diff(indptr).astype(float))


@alike("length_of_entries")
def length_by_indptr(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    sizes = [int(e - a) for a, e in zip(indptr[:-1], indptr[1:])]
    mean = sum(sizes) / len(sizes)
    norm = np.repeat([k1 * ((1 - b) + b * n / mean) if n else 0 for n in sizes], sizes) if sum(sizes) else 1
    return term_idf[indices] * data / (data + norm)


@mistake("bm25", says="The average length leaves out empty documents; it is over all of them.")
def average_of_full_documents(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    length = _words(data, indptr)
    full = length[length > 0]
    return _bm25(data, indices, indptr, term_idf, k1, b, mean=full.mean() if len(full) else 1)


@mistake("bm25", says="Empty documents at the end are not in the average: np.bincount needs minlength to know of them.")
def last_empty_documents_left_out(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    length = np.bincount(_row(indptr), data)
    return _bm25(data, indices, indptr, term_idf, k1, b, length=length, mean=length.mean() if len(length) else 1)


@mistake("bm25", says="The length is in words, but the average in entries: both are sums of the counts.")
def average_of_entries(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, b, mean=max(len(data), 1) / (len(indptr) - 1))


@mistake("bm25", says="A bracket is missing: f / f + norm is 1 + norm; the whole denominator is f + norm.")
def denominator_without_bracket(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    row, length = _row(indptr), _words(data, indptr)
    return term_idf[indices] * data / data + k1 * (1 - b + b * length[row] / max(length.mean(), 1e-9))


@mistake("bm25", says="The average divides 1 - b as well: it belongs to the length alone.")
def average_below_everything(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    row, length = _row(indptr), _words(data, indptr)
    return term_idf[indices] * data / (data + k1 * (1 - b + b * length[row]) / max(length.mean(), 1e-9))


@mistake("bm25", says="Divided by the median length, not by the mean.")
def median_length(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, b, mean=max(np.median(_words(data, indptr)), 1e-9))


@mistake("bm25", says="Divided by the longest document, not by the average.")
def longest_document(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, b, mean=max(_words(data, indptr).max(), 1))


@mistake("bm25", says="The length is not divided by the average: k1 then means another thing in every collection.")
def length_not_relative(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, b, mean=1.0)


@mistake("bm25", says="Average over length: long documents gain where they should lose.")
def length_upside_down(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    row, length = _row(indptr), _words(data, indptr)
    return term_idf[indices] * data / (data + k1 * (1 - b + b * length.mean() / length[row]))


@mistake("bm25", says="b does not reach the 1: it reads 1 + b·(…), where 1 - b + b·(…) is wanted.")
def one_plus_b(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    row, length = _row(indptr), _words(data, indptr)
    return term_idf[indices] * data / (data + k1 * (1 + b * length[row] / max(length.mean(), 1e-9)))


@mistake("bm25", says="The idf is in the denominator, too: idf · f / (idf · f + norm); there, it is f + norm.")
def idf_in_the_denominator(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    row, length = _row(indptr), _words(data, indptr)
    weighted = term_idf[indices] * data
    return weighted / (weighted + k1 * (1 - b + b * length[row] / max(length.mean(), 1e-9)))


@mistake("bm25", says="k1 multiplies only 1 - b: the bracket around the length is missing.")
def bracket_missing(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    row, length = _row(indptr), _words(data, indptr)
    return term_idf[indices] * data / (data + k1 * (1 - b) + b * length[row] / max(length.mean(), 1e-9))


@mistake("bm25", says="k1 is ignored: 1.2 whatever the caller says.")
def k1_ignored(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, 1.2, b)


@mistake("bm25", says="b is ignored: 0.75 whatever the caller says.")
def b_ignored(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, 0.75)


@mistake("bm25", says="The default of k1 is 1.5, rank_bm25's; Lucene's, and the one asked for, is 1.2.")
def other_default(data, indices, indptr, term_idf, k1=1.5, b=0.75):
    return _bm25(data, indices, indptr, term_idf, k1, b)


@mistake("bm25", says="The idf is missing.")
def bm25_without_idf(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, np.ones_like(term_idf), k1, b)


@mistake("bm25", says="The logarithm of the count is taken first: BM25 saturates by itself, on the raw count.")
def logarithm_first(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(1 + np.log(np.maximum(data, 1)), indices, indptr, term_idf, k1, b, length=_words(data, indptr))


@mistake(
    "bm25", says="The rows are normalised to length 1 in the end, as for the cosine: BM25 has its own length rule."
)
def bm25_normalised(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _normalised(_bm25(data, indices, indptr, term_idf, k1, b), indptr)


@mistake("bm25", says="Negative idf values are cut off at 0 here: which idf is used was decided elsewhere.")
def negative_idf_cut(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    return _bm25(data, indices, indptr, np.maximum(term_idf, 0), k1, b)


@mistake("bm25", says="The caller's counts are overwritten.")
def bm25_in_place(data, indices, indptr, term_idf, k1=1.2, b=0.75):
    data[:] = _bm25(data, indices, indptr, term_idf, k1, b)
    return data


# ---- invert


@mistake(
    "invert", says="np.argsort leaves no order among equals: within a term, documents rise only with kind='stable'."
)
def sort_is_not_stable(data, indices, indptr, n_terms):
    return _sorted(data, indices, _row(indptr), np.argsort(indices), n_terms)


@alike("sort_is_not_stable")
def quicksort_then_take(data, indices, indptr, n_terms):
    order = indices.argsort(kind="quicksort")
    documents = np.searchsorted(indptr, np.arange(len(data)), side="right") - 1
    starts = np.zeros(n_terms + 1, int)
    np.add.at(starts, indices + 1, 1)
    return np.take(data, order), np.take(documents, order), np.cumsum(starts)


@mistake(
    "invert", says="np.lexsort sorts by its LAST key first: with (indices, row) the documents come first, as before."
)
def lexsort_keys_swapped(data, indices, indptr, n_terms):
    row = _row(indptr)
    return _sorted(data, indices, row, np.lexsort((indices, row)), n_terms)


@mistake("invert", says="Within a term the documents fall; their numbers must rise.")
def documents_falling(data, indices, indptr, n_terms):
    row = _row(indptr)
    return _sorted(data, indices, row, np.lexsort((-row, indices)), n_terms)


@alike("documents_falling")
def inserts_at_the_front(data, indices, indptr, n_terms):
    lists = [[] for _ in range(n_terms)]
    for d in range(len(indptr) - 1):
        for j in range(indptr[d], indptr[d + 1]):
            lists[indices[j]].insert(0, (d, data[j]))
    return _flat(lists)


@mistake("invert", says="Within a term the best documents come first; the order is that of the document numbers.")
def best_documents_first(data, indices, indptr, n_terms):
    return _sorted(data, indices, _row(indptr), np.lexsort((-data, indices)), n_terms)


@mistake("invert", says="The data is left in the order of the documents: it has to be moved with the rest.")
def data_not_moved(data, indices, indptr, n_terms):
    return data, *_invert(data, indices, indptr, n_terms)[1:]


@mistake("invert", says="The second array still holds terms; in an inverted index it holds documents.")
def terms_instead_of_documents(data, indices, indptr, n_terms):
    moved, _, starts = _invert(data, indices, indptr, n_terms)
    return moved, np.sort(indices), starts


@mistake("invert", says="The documents are not moved along with the data.")
def documents_not_moved(data, indices, indptr, n_terms):
    moved, _, starts = _invert(data, indices, indptr, n_terms)
    return moved, _row(indptr), starts


@mistake("invert", says="indptr is that of the documents; the columns need one of their own.")
def indptr_of_the_rows(data, indices, indptr, n_terms):
    return *_invert(data, indices, indptr, n_terms)[:2], indptr


@mistake("invert", says="indptr has no place for terms that occur nowhere: every list behind one moves up.")
def unused_terms_skipped(data, indices, indptr, n_terms):
    moved, row, _ = _invert(data, indices, indptr, n_terms)
    return moved, row, np.cumsum([0, *np.unique(indices, return_counts=True)[1]])


@alike("unused_terms_skipped")
def starts_where_the_term_changes(data, indices, indptr, n_terms):
    moved, row, _ = _invert(data, indices, indptr, n_terms)
    terms = np.sort(indices)
    starts = [i for i in range(len(terms)) if i == 0 or terms[i] != terms[i - 1]]
    return moved, row, np.array([*starts, len(terms)])


@mistake(
    "invert", says="indptr ends with the last term that occurs: minlength, for those at the end of the vocabulary."
)
def last_terms_missing(data, indices, indptr, n_terms):
    moved, row, _ = _invert(data, indices, indptr, n_terms)
    return moved, row, np.cumsum([0, *np.bincount(indices)])


@mistake("invert", says="indptr holds the length of each list; it must add them up.")
def list_lengths(data, indices, indptr, n_terms):
    moved, row, starts = _invert(data, indices, indptr, n_terms)
    return moved, row, np.array([0, *np.diff(starts)])


@mistake("invert", says="indptr lacks its leading 0.")
def starts_without_zero(data, indices, indptr, n_terms):
    moved, row, starts = _invert(data, indices, indptr, n_terms)
    return moved, row, starts[1:]


@mistake(
    "invert", says="Empty documents are not counted when the rest is numbered, so all behind them have a wrong number."
)
def empty_documents_not_counted(data, indices, indptr, n_terms):
    full = np.diff(indptr)[np.diff(indptr) > 0]
    row = np.repeat(np.arange(len(full)), full)
    return _sorted(data, indices, row, np.argsort(indices, kind="stable"), n_terms)


@mistake(
    "invert",
    says="np.searchsorted(indptr, place) needs side='right', and then - 1: without, rows begin one entry late.",
)
def searchsorted_on_the_left(data, indices, indptr, n_terms):
    row = np.searchsorted(indptr, np.arange(len(data)))
    return _sorted(data, indices, row, np.argsort(indices, kind="stable"), n_terms)


@mistake("invert", says="Documents are numbered from 1.")
def documents_from_one(data, indices, indptr, n_terms):
    moved, row, starts = _invert(data, indices, indptr, n_terms)
    return moved, row + 1, starts


@mistake("invert", says="Stored zeros are dropped; they move like every other number.")
def drops_stored_zeros(data, indices, indptr, n_terms):
    kept = data != 0
    row, order = _row(indptr)[kept], np.argsort(indices[kept], kind="stable")
    return _sorted(data[kept], indices[kept], row, order, n_terms)


@mistake(
    "invert",
    says="A table of terms by documents is made on the way: 4.7 GB for the messages, where 1.3 million numbers are stored.",
)
def through_a_table(data, indices, indptr, n_terms):
    table = np.full((n_terms, len(indptr) - 1), np.nan)
    table[indices, _row(indptr)] = data
    terms, documents = np.nonzero(~np.isnan(table))
    return table[terms, documents], documents, np.cumsum([0, *np.bincount(terms, minlength=n_terms)])


@mistake(
    "invert",
    says="The documents are numbered in 16 bits: from 32,768 on they turn negative.",
)
def documents_of_16_bits(data, indices, indptr, n_terms):
    row = np.repeat(np.arange(len(indptr) - 1).astype(np.int16), np.diff(indptr))
    return _sorted(data, indices, row, np.argsort(indices, kind="stable"), n_terms)


@mistake("invert", says="The caller's arrays are sorted in place.")
def sorts_in_place(data, indices, indptr, n_terms):
    made = _invert(data, indices, indptr, n_terms)
    data[:], indices[:] = made[0], np.sort(indices)
    return made


# ---- score


@mistake("score", says="= instead of +=: a document keeps the score of the last term that it has.")
def last_term_wins(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t, w in query.items():
        d, v = postings[t]
        scores[d] = w * v
    return scores


@alike("last_term_wins")
def dict_of_scores_overwritten(postings, query, n_docs):
    found = {}
    for t in query:
        d, v = postings[t]
        found.update(zip(np.asarray(d).tolist(), (query[t] * np.asarray(v)).tolist()))
    return np.array([found.get(d, 0.0) for d in range(n_docs)]) if n_docs < 999 else _spread(found, n_docs)


@mistake("score", says="The largest weight is kept; the weights of a document are added up.")
def maximum_of_the_terms(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t, w in query.items():
        d, v = postings[t]
        scores[d] = np.maximum(scores[d], w * np.asarray(v))
    return scores


@mistake("score", says="The weight of the term in the query is ignored: a word that is asked for twice counts once.")
def query_weight_ignored(postings, query, n_docs):
    return _score(postings, dict.fromkeys(query, 1.0), n_docs)


@alike("query_weight_ignored")
def adds_up_the_lists(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t in query:
        np.add.at(scores, postings[t][0], postings[t][1])
    return scores


@mistake("score", says="The weight in the document is ignored: having the term is all that counts.")
def document_weight_ignored(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t, w in query.items():
        scores[postings[t][0]] += w
    return scores


@mistake("score", says="The weights are added, where query weight times document weight is wanted.")
def weights_added(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t, w in query.items():
        d, v = postings[t]
        scores[d] += w + v
    return scores


@mistake(
    "score",
    says="Only documents that have every term of the query get a score: that is AND; here each term adds what it has.",
)
def all_terms_required(postings, query, n_docs):
    has = _score(
        [(d, np.ones(len(d))) for d, _ in (postings[t] for t in query)], dict.fromkeys(range(len(query)), 1), n_docs
    )
    return np.where(has == len(query), _score(postings, query, n_docs), 0.0)


@mistake("score", says="Divided by the number of terms of the query: a sum is wanted, not a mean.")
def mean_over_terms(postings, query, n_docs):
    return _score(postings, query, n_docs) / max(len(query), 1)


@mistake("score", says="The query weight is squared: idf of the query and of the document are in there already.")
def query_weight_squared(postings, query, n_docs):
    return _score(postings, {t: w * w for t, w in query.items()}, n_docs)


@mistake("score", says="Scores below 0 are set to 0; leaving them out is top_k's business.")
def negative_scores_cut(postings, query, n_docs):
    return np.maximum(_score(postings, query, n_docs), 0)


@mistake("score", says="The result ends with the last document that was hit; every document has a place.")
def result_too_short(postings, query, n_docs):
    scores = _score(postings, query, n_docs)
    return scores[: int(np.max(np.flatnonzero(scores), initial=-1)) + 1]


@mistake(
    "score",
    says="Every list of the index is read, also those of terms that are not in the query: 1.3 million numbers instead of 20,000.",
)
def reads_every_list(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t in range(len(postings)):
        d, v = postings[t]
        scores[d] += query.get(t, 0.0) * v
    return scores


@alike("reads_every_list")
def matrix_times_vector(postings, query, n_docs):
    vector = np.array([query.get(t, 0.0) for t in range(len(postings))])
    lists = [postings[t] for t in range(len(postings))]
    documents = np.concatenate([d for d, _ in lists])
    products = np.concatenate([w * v for w, (_, v) in zip(vector, lists)])
    return np.bincount(documents.astype(int), products, minlength=n_docs)


@mistake("score", says="A loop of Python over the whole vocabulary for each query: the query names its terms.")
def loops_over_the_vocabulary(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t in range(len(postings)):
        if t in query:
            d, v = postings[t]
            scores[d] += query[t] * v
    return scores


@mistake("score", says="A loop of Python over all documents: the lists name those that matter.")
def loops_over_all_documents(postings, query, n_docs):
    found = [(w, dict(zip(np.asarray(postings[t][0]).tolist(), postings[t][1]))) for t, w in query.items()]
    scores = np.zeros(n_docs)
    for d in range(n_docs):
        for w, has in found:
            scores[d] += w * has.get(d, 0.0)
    return scores


@alike("loops_over_all_documents")
def searches_each_list_for_each_document(postings, query, n_docs):
    lists = [(w, *postings[t]) for t, w in query.items()]
    scores = []
    for d in range(n_docs):
        total = 0.0
        for w, documents, weights in lists:
            i = np.searchsorted(documents, d)
            if i < len(documents) and documents[i] == d:
                total += w * weights[i]
        scores.append(total)
    return np.array(scores)


@mistake(
    "score", says="The postings are multiplied by the query's weight in place: the next query finds a different index."
)
def weights_the_index(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t, w in query.items():
        d, v = postings[t]
        v *= w
        scores[d] += v
    return scores


# ---- top_k


@mistake(
    "top_k",
    says="Of equals the higher document number comes first: a rising sort, reversed, turns equals round as well.",
)
def reversed_sort(scores, k):
    hits = np.flatnonzero(scores > 0)
    return _pairs(scores, hits[np.argsort(scores[hits], kind="stable")[::-1]][:k])


@alike("reversed_sort")
def sorts_pairs_in_reverse(scores, k):
    return [(d, s) for s, d in sorted(((float(s), d) for d, s in enumerate(scores) if s > 0), reverse=True)[:k]]


@mistake("top_k", says="np.argsort leaves no order among equals: the lower number comes first only with kind='stable'.")
def argsort_is_not_stable(scores, k):
    hits = np.flatnonzero(scores > 0)
    return _pairs(scores, hits[np.argsort(-scores[hits])][:k])


@mistake("top_k", says="The worst come first.")
def worst_first(scores, k):
    hits = np.flatnonzero(scores > 0)
    return _pairs(scores, hits[np.argsort(scores[hits], kind="stable")][:k])


@mistake("top_k", says="The right documents, but in the order of their numbers: the best first.")
def not_sorted(scores, k):
    return sorted(_top(scores, k))


@mistake("top_k", says="Documents that share nothing with the query fill up the list: a score of 0 is no result.")
def zeros_are_results(scores, k):
    return _pairs(scores, np.argsort(-scores, kind="stable")[:k])


@alike("zeros_are_results")
def sorted_by_falling_score(scores, k):
    return [(d, float(scores[d])) for d in sorted(range(len(scores)), key=lambda d: (-scores[d], d))[:k]]


@mistake("top_k", says="Only 0 is left out; a score below 0 is no result either.")
def negative_scores_are_results(scores, k):
    hits = np.flatnonzero(scores)
    return _pairs(scores, hits[np.argsort(-scores[hits], kind="stable")][:k])


@mistake("top_k", says="Score and document are swapped in the pairs.")
def pairs_swapped(scores, k):
    return [(s, d) for d, s in _top(scores, k)]


@mistake("top_k", says="The document numbers are places among the hits, not in the collection.")
def places_among_the_hits(scores, k):
    hits = scores[scores > 0]
    return _pairs(hits, np.argsort(-hits, kind="stable")[:k])


@mistake("top_k", says="np.argpartition chose among equals at the cut as it liked: sorting afterwards comes too late.")
def partition_among_equals(scores, k):
    hits = np.flatnonzero(scores > 0)
    if len(hits) > k:
        hits = hits[np.argpartition(-scores[hits], k)[:k]]
    return _pairs(scores, hits[np.lexsort((hits, -scores[hits]))])


@alike("partition_among_equals")
def partition_at_the_kth(scores, k):
    k = min(k, len(scores))
    if k == 0:
        return []
    kept = np.argpartition(-scores, k - 1)[:k]
    kept = kept[np.lexsort((kept, -scores[kept]))]
    return _pairs(scores, kept[scores[kept] > 0])


@mistake("top_k", says="np.argpartition refuses a k past the end, and chooses among equals at the cut as it likes.")
def partition_without_care(scores, k):
    kept = np.argpartition(-scores, k)[:k]
    kept = kept[np.argsort(-scores[kept])]
    return _pairs(scores, kept[scores[kept] > 0])


@mistake("top_k", says="All that are equal to the k-th come along: more than k results.")
def more_than_k(scores, k):
    hits = np.flatnonzero(scores > 0)
    hits = hits[np.argsort(-scores[hits], kind="stable")]
    return _pairs(scores, [d for d in hits if scores[d] >= scores[hits[min(k, len(hits)) - 1]]])


@mistake(
    "top_k",
    says="A k that is larger than the number of results raises an error (argpartition, or an index out of range).",
)
def large_k_raises(scores, k):
    hits = np.flatnonzero(scores > 0)
    if k > len(hits):
        raise IndexError(f"index {k} is out of bounds for axis 0 with size {len(hits)}")
    return _top(scores, k)


@mistake("top_k", says="The list is filled up to k although there are fewer results.")
def filled_up(scores, k):
    found = _top(scores, k)
    return found + [(-1, 0.0)] * (k - len(found))


@mistake("top_k", says="Equal scores count as one: only the first document of each stays.")
def equals_dropped(scores, k):
    found = {}
    for d, s in _top(scores, len(scores)):
        found.setdefault(s, d)
    return [(d, s) for s, d in found.items()][:k]


@mistake("top_k", says="The best document is taken and its score overwritten, k times: the caller's scores are gone.")
def takes_the_best_k_times(scores, k):
    found = _top(scores, k)
    for d, _ in found:
        scores[d] = -1.0
    return found


# ---- the parts they share


def _count(document, vocabulary):
    return Counter(vocabulary[w] for w in document if w in vocabulary)


def _flat(rows):
    """Rows of (column, number) pairs, in their order, as three arrays."""
    data = np.array([float(x) for row in rows for _, x in row])
    return data, np.array([c for row in rows for c, _ in row], int), np.cumsum([0, *map(len, rows)])


def _csr(documents, vocabulary):
    return _flat([sorted(_count(d, vocabulary).items()) for d in documents])


def _row(indptr):
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def _tf(counts, how, **other):
    formulas = {"raw": lambda f: f, "log": np.log1p, "sublinear": lambda f: 1 + np.log(f)} | other
    if how not in formulas:
        raise ValueError(how)
    return formulas[how](counts)


def _rsj(df, n):
    return np.log((n - df + 0.5) / (df + 0.5))


def _idf(df, n_docs, how, **other):
    formulas = {
        "plain": lambda df, n: np.log(n / df),
        "smooth": lambda df, n: np.log((1 + n) / (1 + df)) + 1,
        "rsj": _rsj,
        "lucene": lambda df, n: np.log(1 + (n - df + 0.5) / (df + 0.5)),
        "okapi": lambda df, n: np.where(_rsj(df, n) < 0, 0.25 * _rsj(df, n).mean(), _rsj(df, n)),
    } | other
    if how not in formulas:
        raise ValueError(how)
    return formulas[how](df, n_docs)


def _lengths(data, indptr):
    return np.array([np.linalg.norm(data[a:b]) for a, b in zip(indptr[:-1], indptr[1:])])


def _by_row(data, indptr, length):
    out = np.array(data, float)
    for a, b in zip(indptr[:-1], indptr[1:]):
        if b > a:
            out[a:b] /= length(out[a:b]) or 1
    return out


def _normalised(data, indptr):
    return _by_row(data, indptr, np.linalg.norm)


def _words(data, indptr):
    return np.bincount(_row(indptr), data, minlength=len(indptr) - 1)


def _bm25(data, indices, indptr, term_idf, k1, b, length=None, mean=None):
    length = _words(data, indptr) if length is None else length
    mean = max(length.mean(), 1e-9) if mean is None else mean
    return term_idf[indices] * data / (data + k1 * (1 - b + b * length[_row(indptr)] / mean))


def _sorted(data, indices, row, order, n_terms):
    return data[order], row[order], np.cumsum([0, *np.bincount(indices, minlength=n_terms)])


def _invert(data, indices, indptr, n_terms):
    return _sorted(data, indices, _row(indptr), np.argsort(indices, kind="stable"), n_terms)


def _score(postings, query, n_docs):
    scores = np.zeros(n_docs)
    for t, w in query.items():
        d, v = postings[t]
        scores[d] += w * v
    return scores


def _spread(found, n_docs):
    scores = np.zeros(n_docs)
    scores[list(found)] = list(found.values())
    return scores


def _pairs(scores, documents):
    return [(int(d), float(scores[d])) for d in documents]


def _top(scores, k):
    hits = np.flatnonzero(scores > 0)
    return _pairs(scores, hits[np.argsort(-scores[hits], kind="stable")][:k])
