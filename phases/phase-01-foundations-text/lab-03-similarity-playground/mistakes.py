"""What people really get wrong in lab 1.3.  Each replaces one function; its task's tests catch it."""

import math

import numpy as np

from labkit.spec import alike, mistake

# ---- dot


@mistake("dot", says="Counts are multiplied in their own type: in uint8, 20·20 is 144. Convert to float64 first.")
def dot_in_the_type_of_the_counts(a, b):
    return (a @ b.T).astype(np.float64)


@mistake(
    "dot",
    says="Only pairs in the same place are compared: row i of a with row i of b. All rows with all are asked for.",
)
def dot_row_by_row(a, b):
    n = min(len(a), len(b))
    return (a[:n].astype(np.float64) * b[:n]).sum(axis=1)


@mistake("dot", says="It is divided by the lengths: that is the cosine. The dot product keeps them.")
def dot_of_directions(a, b):
    return _cosine(a, b)


@mistake("dot", says="It is divided by d: the mean of the products, not their sum.")
def dot_mean(a, b):
    return np.stack([(_f(b) * x).mean(axis=1) for x in _f(a)]) if len(a) else np.zeros((0, len(b)))


@mistake("dot", says="The result is (m, n): rows of b against rows of a.")
def dot_turned(a, b):
    return _f(b) @ _f(a).T


@mistake(
    "dot", says="A Python loop over all pairs: 120,000 of them take millions of steps. One matrix product takes one."
)
def dot_loop_over_pairs(a, b):
    return np.array([[float(x @ y) for y in _f(b)] for x in _f(a)]).reshape(len(a), len(b))


@mistake("dot", says="The result is cut to float32: seven digits. Results are float64.")
def dot_returns_float32(a, b):
    return (_f(a) @ _f(b).T).astype(np.float32)


@mistake("dot", says="Only whole numbers are converted: rows of float16 or float32 are multiplied in their own type.")
def dot_keeps_float16(a, b):
    return _f_if_whole(a) @ _f_if_whole(b).T


# ---- normalize, cosine


@mistake(
    "cosine",
    of="normalize",
    says="The columns are normalised (axis=0), not the rows: each coordinate instead of each vector.",
)
def normalizes_columns(rows):
    return _over(_f(rows), np.linalg.norm(_f(rows), axis=0, keepdims=True))


@mistake(
    "cosine",
    of="normalize",
    says="Divided by the sum of the absolute values: that makes the Manhattan length 1, not the Euclidean.",
)
def normalizes_by_the_sum(rows):
    return _over(_f(rows), np.abs(_f(rows)).sum(axis=1, keepdims=True))


@mistake("cosine", of="normalize", says="Divided by the squared length: the root is missing.")
def normalizes_by_the_square(rows):
    return _over(_f(rows), (_f(rows) ** 2).sum(axis=1, keepdims=True))


@mistake(
    "cosine",
    of="normalize",
    says="One length for the whole matrix (axis is missing): the rows keep their different lengths.",
)
def normalizes_the_matrix(rows):
    return _over(_f(rows), np.linalg.norm(rows))


@mistake("cosine", of="normalize", says="A row of zeros becomes NaN: 0/0. It has no direction; leave it zeros.")
def normalizes_zero_to_nan(rows):
    with np.errstate(invalid="ignore"):
        return _f(rows) / np.linalg.norm(_f(rows), axis=1, keepdims=True)


@mistake(
    "cosine",
    of="normalize",
    says="A small number is added to the lengths: short rows come out shorter than 1. Treat only length 0 specially.",
)
def normalizes_with_an_epsilon(rows):
    return _f(rows) / (np.linalg.norm(_f(rows), axis=1, keepdims=True) + 1e-12)


@mistake(
    "cosine",
    of="normalize",
    says="The length is kept above a floor (1e-12 in torch's F.normalize): a row shorter than that is not a unit row.",
)
def normalizes_with_a_floor(rows):
    return _f(rows) / np.maximum(np.linalg.norm(_f(rows), axis=1, keepdims=True), 1e-12)


@mistake(
    "cosine",
    of="normalize",
    says="NaN in the data becomes a number (nan_to_num, or a test `> 0`): a broken row looks like a row of zeros.",
)
def normalizes_nan_away(rows):
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(_f(rows) / np.linalg.norm(_f(rows), axis=1, keepdims=True))


@mistake("cosine", of="normalize", says="normalize divides in place: the caller's array is changed.")
def normalizes_in_place(rows):
    if rows.dtype != np.float64:
        return _unit(rows)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(lengths == 0, 1.0, lengths)
    return rows


@mistake("cosine", of="normalize", says="The work is done in float32: seven digits, and lengths below 1e-22 vanish.")
def normalizes_in_float32(rows):
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
        return _over(rows, np.linalg.norm(rows, axis=1, keepdims=True))


@mistake(
    "cosine",
    of="normalize",
    says="Only whole numbers are converted: rows of float16 or float32 stay in their own type.",
)
def normalizes_float16_as_it_is(rows):
    rows = _f_if_whole(rows)
    return _over(rows, np.linalg.norm(rows, axis=1, keepdims=True))


@mistake(
    "cosine",
    of="normalize",
    says="Counts are squared in their own type: in uint8, 20² is 144. Convert to float64 first.",
)
def normalizes_counts_in_their_type(rows):
    return _over(rows, _f(np.sqrt((rows**2).sum(axis=1, keepdims=True))))


@mistake(
    "cosine",
    of="normalize",
    says="A row whose *sum* is 0 is taken for a row of zeros: (2, -2) has a length. Look at the length.",
)
def normalizes_all_but_sums_of_zero(rows):
    lengths = _lengths(rows)
    lengths[_f(rows).sum(axis=1) == 0] = 1
    return _f(rows) / lengths


@mistake("cosine", says="Not clipped: rounding leaves 1.0000000000000002 for parallel rows, and arccos of that is NaN.")
def cosine_not_clipped(a, b):
    return _unit(a) @ _unit(b).T


@mistake("cosine", says="The dot product is not divided by the lengths.")
def cosine_is_dot(a, b):
    return _f(a) @ _f(b).T


@mistake("cosine", says="The dot product is clipped to [-1, 1] instead of being divided by the lengths.")
def cosine_clips_the_dot_product(a, b):
    return np.clip(_f(a) @ _f(b).T, -1, 1)


@mistake("cosine", says="Only one side is divided by its lengths.")
def cosine_divides_one_side(a, b):
    return _unit(a) @ _f(b).T


@mistake("cosine", says="That is the cosine distance, 1 - cos; the similarity is asked for.")
def cosine_distance(a, b):
    return 1 - _cosine(a, b)


@mistake("cosine", says="Clipped to [0, 1]: opposite directions have cosine -1, and it is lost.")
def cosine_without_negatives(a, b):
    return np.clip(_unit(a) @ _unit(b).T, 0, 1)


@mistake("cosine", says="The mean of each row is subtracted first: that is the correlation, another metric.")
def cosine_is_correlation(a, b):
    a, b = (_f(x) - _f(x).mean(axis=1, keepdims=True) for x in (a, b))
    return _cosine(a, b)


@mistake(
    "cosine", says="An epsilon in the denominator: the cosine of short rows is too small. Only length 0 needs a rule."
)
def cosine_with_an_epsilon(a, b):
    a, b = _f(a), _f(b)
    return np.clip(a @ b.T / (np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1) + 1e-8), -1, 1)


@mistake("cosine", says="A row of zeros gives cosine 1: it has no direction, so it is like nothing; 0 is asked for.")
def cosine_of_zeros_is_one(a, b):
    empty = ~a.any(axis=1)[:, None] | ~b.any(axis=1)
    return np.where(empty, 1.0, _cosine(a, b))


@mistake(
    "cosine", says="NaN is replaced by a number at the end (nan_to_num, fmin, fmax): that hides a NaN of the data, too."
)
def cosine_hides_nan(a, b):
    return np.nan_to_num(_cosine(a, b))


@mistake("cosine", says="The absolute value is taken: opposite directions have cosine -1, not 1.")
def cosine_absolute(a, b):
    return np.abs(_cosine(a, b))


@mistake("cosine", says="Rounded, to get back to 1: that throws digits of all the others away. Clip instead.")
def cosine_rounded(a, b):
    return np.clip(np.round(_unit(a) @ _unit(b).T, 12), -1, 1)


@mistake("cosine", says="The result is cut to float32: seven digits. Results are float64.")
def cosine_returns_float32(a, b):
    return _cosine(a, b).astype(np.float32)


# ---- euclidean


@mistake("euclidean", says="The root is missing: these are squared distances.")
def euclidean_squared(a, b):
    return _rows(a, b, lambda x: (x**2).sum(axis=1))


@mistake(
    "euclidean",
    says="|a|² + |b|² - 2ab cancels: two numbers of 10¹⁶ leave only their rounding errors, kept above 0. Subtract first.",
)
def euclidean_expanded(a, b):
    return np.sqrt(np.maximum(_expanded(_f(a), _f(b)), 0.0))


@mistake("euclidean", says="|a|² + |b|² - 2ab cancels and comes out below 0, and its root is NaN. Subtract first.")
def euclidean_expanded_to_nan(a, b):
    with np.errstate(invalid="ignore"):
        return np.sqrt(_expanded(_f(a), _f(b)))


@mistake(
    "euclidean",
    says="A common offset is taken away before the expanded formula; near duplicates far from the centre still cancel.",
)
def euclidean_centred_expansion(a, b):
    a, b = _f(a), _f(b)
    centre = b.mean(axis=0) if len(b) else 0.0
    return np.sqrt(np.maximum(_expanded(a - centre, b - centre), 0.0))


@mistake(
    "euclidean",
    says="All differences at once, or in a few blocks: n·m·d numbers, or a share of them. Take one row at a time.",
)
def euclidean_broadcast(a, b):
    return np.sqrt(((_f(a)[:, None] - _f(b)[None]) ** 2).sum(axis=2))


@mistake("euclidean", says="A Python loop over all pairs: take a whole row of differences at a time.")
def euclidean_loop_over_pairs(a, b):
    out = np.zeros((len(a), len(b)))
    for i, x in enumerate(_f(a)):
        for j, y in enumerate(_f(b)):
            out[i, j] = np.linalg.norm(x - y)
    return out


@mistake("euclidean", says="Counts are subtracted in their own type: in uint8, 3 - 5 is 254. Convert to float64 first.")
def euclidean_unsigned(a, b):
    return _rows(a, b, lambda x: np.sqrt((_f(x) ** 2).sum(axis=1)), convert=lambda x: x)


@mistake("euclidean", says="The mean over the coordinates instead of the sum: too small by √d.")
def euclidean_mean(a, b):
    return _rows(a, b, lambda x: np.sqrt((x**2).mean(axis=1)))


@mistake(
    "euclidean", says="The rows are normalised first: a distance of directions. Euclidean distance keeps the lengths."
)
def euclidean_of_directions(a, b):
    return _rows(_unit(a), _unit(b), lambda x: np.sqrt((x**2).sum(axis=1)))


@mistake("euclidean", says="In float32: seven digits are not enough to tell neighbours near 100,000,000 apart.")
def euclidean_in_float32(a, b):
    return _rows(a, b, lambda x: np.sqrt((x**2).sum(axis=1)), convert=lambda x: x.astype(np.float32))


@mistake("euclidean", says="A small number is added under the root, so that the distance of a row to itself is not 0.")
def euclidean_epsilon(a, b):
    return _rows(a, b, lambda x: np.sqrt((x**2).sum(axis=1) + 1e-8))


@mistake("euclidean", says="The differences are squared after they were summed: (Σ(a-b))², in which they cancel.")
def euclidean_squares_the_sum(a, b):
    return _rows(a, b, lambda x: np.sqrt(x.sum(axis=1) ** 2))


@mistake("euclidean", says="The result is cut to float32: seven digits. Results are float64.")
def euclidean_returns_float32(a, b):
    return _rows(a, b, lambda x: np.sqrt((x**2).sum(axis=1))).astype(np.float32)


@mistake(
    "euclidean", says="Only whole numbers are converted: rows of float16 or float32 are subtracted in their own type."
)
def euclidean_keeps_float16(a, b):
    a, b = _f_if_whole(a), _f_if_whole(b)
    out = np.zeros((len(a), len(b)), dtype=np.result_type(a, b))
    for i, row in enumerate(a):
        x = b - row
        out[i] = np.sqrt((x**2).sum(axis=1))
    return out


# ---- manhattan


@mistake("manhattan", says="The absolute value is taken after the sum: differences of opposite sign cancel.")
def manhattan_abs_of_the_sum(a, b):
    return _rows(a, b, lambda x: np.abs(x.sum(axis=1)))


@mistake("manhattan", says="The largest difference instead of the sum: that is the Chebyshev distance.")
def manhattan_is_chebyshev(a, b):
    return _rows(a, b, lambda x: np.abs(x).max(axis=1))


@mistake("manhattan", says="The mean over the coordinates instead of the sum.")
def manhattan_mean(a, b):
    return _rows(a, b, lambda x: np.abs(x).mean(axis=1))


@mistake("manhattan", says="That is the Euclidean distance.")
def manhattan_is_euclidean(a, b):
    return _rows(a, b, lambda x: np.sqrt((x**2).sum(axis=1)))


@mistake("manhattan", says="|a| - |b| instead of |a - b|: the difference of the two lengths.")
def manhattan_of_lengths(a, b):
    return np.abs(np.abs(_f(a)).sum(axis=1)[:, None] - np.abs(_f(b)).sum(axis=1))


@mistake("manhattan", says="Counts are subtracted in their own type: in uint8, 3 - 5 is 254. Convert to float64 first.")
def manhattan_unsigned(a, b):
    return _rows(a, b, lambda x: _f(np.abs(x)).sum(axis=1), convert=lambda x: x)


@mistake(
    "manhattan",
    says="All differences at once, or in a few blocks: n·m·d numbers, or a share of them. Take one row at a time.",
)
def manhattan_broadcast(a, b):
    return np.abs(_f(a)[:, None] - _f(b)[None]).sum(axis=2)


@mistake("manhattan", says="A Python loop over all pairs: take a whole row of differences at a time.")
def manhattan_loop_over_pairs(a, b):
    out = np.zeros((len(a), len(b)))
    for i, x in enumerate(_f(a)):
        for j, y in enumerate(_f(b)):
            out[i, j] = np.abs(x - y).sum()
    return out


@mistake("manhattan", says="The result is cut to float32: seven digits. Results are float64.")
def manhattan_returns_float32(a, b):
    return _rows(a, b, lambda x: np.abs(x).sum(axis=1)).astype(np.float32)


@mistake(
    "manhattan", says="Only whole numbers are converted: rows of float16 or float32 are subtracted in their own type."
)
def manhattan_keeps_float16(a, b):
    a, b = _f_if_whole(a), _f_if_whole(b)
    out = np.zeros((len(a), len(b)), dtype=np.result_type(a, b))
    for i, row in enumerate(a):
        x = b - row
        out[i] = np.abs(x).sum(axis=1)
    return out


# ---- jaccard


@mistake("jaccard", says="Two empty sets give NaN: 0/0. They are equal, so 1 is asked for.")
def jaccard_nan(a, b):
    both, either = _sets(a, b)
    with np.errstate(invalid="ignore"):
        return both / either


@mistake("jaccard", says="Two empty sets give 0, as if they had nothing in common; they are equal, so 1 is asked for.")
def jaccard_empty_is_zero(a, b):
    both, either = _sets(a, b)
    return both / np.maximum(either, 1)


@mistake(
    "jaccard",
    says="An epsilon in the denominator gives two empty sets 0, and every other pair a little less than its due.",
)
def jaccard_epsilon(a, b):
    both, either = _sets(a, b)
    return both / (either + 1e-6)


@mistake("jaccard", says="The shared members are counted twice: |A| + |B| is not yet |A ∪ B|.")
def jaccard_counts_twice(a, b):
    both, either = _sets(a, b)
    return np.where(either == 0, 1.0, both / np.maximum(both + either, 1))


@mistake("jaccard", says="2|A ∩ B| / (|A| + |B|) is the Dice coefficient, not Jaccard.")
def jaccard_is_dice(a, b):
    both, either = _sets(a, b)
    return np.where(either == 0, 1.0, 2 * both / np.maximum(both + either, 1))


@mistake("jaccard", says="1 - |A ∩ B| / |A ∪ B| is the distance; the similarity is asked for.")
def jaccard_distance(a, b):
    return 1 - _jaccard(a, b)


@mistake(
    "jaccard", says="`@` of two boolean arrays is boolean: it says whether there is a shared member, not how many."
)
def jaccard_bool_product(a, b):
    x, y = a != 0, b != 0
    both = x @ y.T
    either = x.sum(1)[:, None] + y.sum(1) - both
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


@mistake("jaccard", says="Σmin/Σmax of the weights is the weighted Jaccard; here an entry is a member or it is not.")
def jaccard_weighted(a, b):
    rows = []
    for x in np.abs(_f(a)):
        low, high = (f(np.abs(_f(b)), x).sum(axis=1) for f in (np.minimum, np.maximum))
        rows.append(np.where(high == 0, 1.0, low / np.where(high == 0, 1, high)))
    return np.array(rows).reshape(len(a), len(b))


@mistake("jaccard", says="Only positive entries count as members (`> 0`); any entry but 0 does.")
def jaccard_positive_only(a, b):
    return _jaccard(a > 0, b > 0)


@mistake("jaccard", says="Entries are cut to whole numbers first, so that 0.25 is no member; any entry but 0 is.")
def jaccard_of_integers(a, b):
    return _jaccard(a.astype(np.int64), b.astype(np.int64))


@mistake("jaccard", says="Shared zeros count as agreement: that is the simple matching coefficient.")
def jaccard_simple_matching(a, b):
    both, either = _sets(a, b)
    return (both + a.shape[1] - either) / a.shape[1]


@mistake("jaccard", says="The members are the values that occur in a row; they should be the places that are not 0.")
def jaccard_of_values(a, b):
    def share(x, y):
        x, y = set(x) - {0}, set(y) - {0}
        return len(x & y) / len(x | y) if x | y else 1.0

    return np.array([[share(x, y) for y in b.tolist()] for x in a.tolist()]).reshape(len(a), len(b))


@mistake("jaccard", says="Members are counted in uint8, which wraps round at 256.")
def jaccard_counts_in_uint8(a, b):
    x, y = (a != 0).astype(np.uint8), (b != 0).astype(np.uint8)
    both = x @ y.T
    either = _f(x.sum(1, dtype=np.int64)[:, None] + y.sum(1, dtype=np.int64)) - both
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


@mistake("jaccard", says="A Python loop over all pairs: one matrix product counts the shared members of all.")
def jaccard_loop_over_pairs(a, b):
    x, y = a != 0, b != 0
    out = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            either = (x[i] | y[j]).sum()
            out[i, j] = (x[i] & y[j]).sum() / either if either else 1.0
    return out


@mistake("jaccard", says="Entries near 0 count as 0 (np.isclose): 1e-9 is a member. Compare with 0 itself.")
def jaccard_with_isclose(a, b):
    return _jaccard(~np.isclose(a, 0), ~np.isclose(b, 0))


@mistake("jaccard", says="One empty set is enough to give 1: only two of them are equal. Its overlap with others is 0.")
def jaccard_one_empty_is_one(a, b):
    both, either = _sets(a, b)
    empty = ~a.any(axis=1)[:, None] | ~b.any(axis=1)
    return np.where(empty, 1.0, both / np.maximum(either, 1))


@mistake("jaccard", says="Divided by the smaller set: that is the overlap coefficient. The union is asked for.")
def jaccard_overlap_coefficient(a, b):
    both, either = _sets(a, b)
    smaller = np.minimum(_f(a != 0).sum(axis=1)[:, None], _f(b != 0).sum(axis=1))
    return np.where(either == 0, 1.0, both / np.maximum(smaller, 1))


@mistake("jaccard", says="The result is float32: seven digits. Results are float64.")
def jaccard_in_float32(a, b):
    return _jaccard(a, b).astype(np.float32)


# ---- triangle_gap


@mistake(
    "triangle_gap",
    says="The sign is turned round, or the absolute value of the gap is taken: the detour minus the direct way.",
)
def gap_turned(distances):
    return -min(float((distances - distances[:, j, None] - distances[j]).min()) for j in range(len(distances)))


@mistake(
    "triangle_gap", says="The smallest gap instead of the largest: one bad triangle among many good ones is overlooked."
)
def gap_smallest(distances):
    return min(float((distances - distances[:, j, None] - distances[j]).max()) for j in range(len(distances)))


@mistake("triangle_gap", says="Only neighbours are tried: i, i + 1, i + 2. A detour may go through any j.")
def gap_of_neighbours(distances):
    n = len(distances)
    gaps = [
        distances[i, (i + 2) % n] - distances[i, (i + 1) % n] - distances[(i + 1) % n, (i + 2) % n] for i in range(n)
    ]
    return float(max(gaps))


@mistake("triangle_gap", says="Only i < j < k are tried: the stop on the way may have any number.")
def gap_in_order(distances):
    n = range(len(distances))
    return float(max(distances[i, k] - distances[i, j] - distances[j, k] for i in n for j in n for k in n if i < j < k))


@mistake("triangle_gap", says="The second leg is D[k, j], the way back from k; D[j, k] leads on to it.")
def gap_second_leg_backwards(distances):
    return max(float((distances - distances[:, j, None] - distances[:, j]).max()) for j in range(len(distances)))


@mistake("triangle_gap", says="It is cut off at 0: where every D[i, i] > 0, the gap may be below 0.")
def gap_never_negative(distances):
    return max(0.0, max(float((distances - distances[:, j, None] - distances[j]).max()) for j in range(len(distances))))


@mistake("triangle_gap", says="True or False: how large the gap is was asked.")
def gap_as_a_verdict(distances):
    return any(float((distances - distances[:, j, None] - distances[j]).max()) > 1e-12 for j in range(len(distances)))


@mistake("triangle_gap", says="All n³ sums at once: one stop j at a time needs n² numbers.")
def gap_all_at_once(distances):
    return float((distances[:, None, :] - distances[:, :, None] - distances[None]).max())


@mistake("triangle_gap", says="Only three different places are tried: i, j and k may be equal.")
def gap_of_different_places(distances):
    n, gaps = len(distances), []
    for j in range(n):
        gap = np.delete(np.delete(distances - distances[:, j, None] - distances[j], j, axis=0), j, axis=1)
        gaps.append(gap[~np.eye(n - 1, dtype=bool)].max())
    return float(max(gaps))


@mistake("triangle_gap", says="Only pairs above the diagonal, i < k, are looked at: the way back may be another.")
def gap_above_the_diagonal(distances):
    above = np.triu_indices(len(distances))
    return max(float((distances - distances[:, j, None] - distances[j])[above].max()) for j in range(len(distances)))


@mistake("triangle_gap", says="D is averaged with its transpose first: the way back may be another than the way there.")
def gap_symmetrised(distances):
    d = (distances + distances.T) / 2
    return max(float((d - d[:, j, None] - d[j]).max()) for j in range(len(d)))


# ---- invariances


@mistake(
    "invariances",
    says="One factor for all rows: a metric may ignore that and yet notice when rows grow by different factors.",
)
def probe_with_one_factor(metric, seed):
    return _probe(metric, seed, scale=lambda x, r: x * 2.5)


@mistake(
    "invariances",
    says="Some factors are negative: they turn vectors round, which even the cosine notices. Use positive ones.",
)
def probe_with_negative_factors(metric, seed):
    return _probe(metric, seed, scale=lambda x, r: x * r.normal(size=(len(x), 1)))


@mistake(
    "invariances",
    says="The same number is added to all coordinates; the shift is by any vector, and a correlation tells them apart.",
)
def probe_shifts_by_a_number(metric, seed):
    return _probe(metric, seed, shift=lambda x, r: x + r.normal())


@mistake(
    "invariances",
    says="Every row is shifted by a vector of its own: no distance survives that. The same vector for all.",
)
def probe_shifts_rows_apart(metric, seed):
    return _probe(metric, seed, shift=lambda x, r: x + r.normal(size=x.shape))


@mistake(
    "invariances", says="The matrix is random but not orthogonal: it stretches. Take the Q of its QR decomposition."
)
def probe_rotates_by_any_matrix(metric, seed):
    return _probe(metric, seed, rotate=lambda x, r: x @ r.normal(size=(x.shape[1],) * 2))


@mistake(
    "invariances",
    says="The rotation only swaps axes or turns them round; a rotation between axes is needed to see more than a permutation.",
)
def probe_rotates_by_a_permutation(metric, seed):
    return _probe(metric, seed, rotate=lambda x, r: x @ np.eye(x.shape[1])[r.permutation(x.shape[1])])


@mistake(
    "invariances",
    says="The rows are put into another order, not the coordinates: each value moves, though none changes.",
)
def probe_permutes_rows(metric, seed):
    return _probe(metric, seed, permute=lambda x, r: x[r.permutation(len(x))])


@mistake(
    "invariances",
    says="Each row's coordinates get an order of their own: no metric survives that. The same order for all.",
)
def probe_permutes_each_row(metric, seed):
    return _probe(metric, seed, permute=lambda x, r: r.permuted(x, axis=1))


@mistake(
    "invariances", says="`rescale` multiplies the rows again (that is `scale`); each coordinate gets a factor here."
)
def probe_rescales_rows(metric, seed):
    return _probe(metric, seed, rescale=lambda x, r: x * r.uniform(0.2, 5, size=(len(x), 1)))


@mistake("invariances", says="One factor for all coordinates: that is a common scale, which is no change of units.")
def probe_rescales_all_alike(metric, seed):
    return _probe(metric, seed, rescale=lambda x, r: x * 3.3)


@mistake(
    "invariances",
    says="No zero in the probe's rows: all sets are the same, so the Jaccard similarity is 1 whatever you do.",
)
def probe_without_zeros(metric, seed):
    return _probe(metric, seed, share=1.0)


@mistake(
    "invariances",
    says="Only positive numbers in the probe's rows, shifted by positive numbers: signs never change, so nothing that looks at them is seen.",
)
def probe_of_positives(metric, seed):
    return _probe(metric, seed, positive=True)


@mistake("invariances", says="Values are compared with ==: rounding makes every rotation look like a change.")
def probe_compares_exactly(metric, seed):
    return _probe(metric, seed, same=lambda x, y: bool((x == y).all()))


@mistake(
    "invariances",
    says="An absolute tolerance (np.allclose has one of 1e-8): for a metric whose values are small, everything is the same.",
)
def probe_with_an_absolute_tolerance(metric, seed):
    return _probe(metric, seed, same=lambda x, y: bool(np.allclose(x, y)))


@mistake("invariances", says="Only the average of the values is compared; every one has to stay.")
def probe_compares_averages(metric, seed):
    return _probe(metric, seed, same=lambda x, y: bool(abs(x.mean() - y.mean()) <= 1e-9 * np.abs(x).max()))


@mistake("invariances", says="Only a is changed and b is not: the two are measured on different rulers.")
def probe_changes_one_side(metric, seed):
    rng = np.random.default_rng(seed)
    rows, changes = _draw(rng, 0.6, False), _changes()
    before = metric(rows[:13], rows[13:])
    return {
        name: bool(np.abs(metric(f(rows, rng)[:13], rows[13:]) - before).max() <= 1e-9 * np.abs(before).max())
        for name, f in changes.items()
    }


@mistake("invariances", says="The answers are reversed: True is for what the metric does *not* notice.")
def probe_reversed(metric, seed):
    return {name: not same for name, same in _probe(metric, seed).items()}


@mistake("invariances", says="`scale` changes the rows of a only; a metric may ignore just their lengths.")
def probe_scales_a_alone(metric, seed):
    return _probe(metric, seed, scale=lambda x, r: x * np.where(np.arange(len(x)) < 13, 2.5, 1)[:, None])


@mistake("invariances", says="`scale` changes the rows of b only; a metric may ignore just their lengths.")
def probe_scales_b_alone(metric, seed):
    return _probe(metric, seed, scale=lambda x, r: x * np.where(np.arange(len(x)) < 13, 1, 2.5)[:, None])


@mistake(
    "invariances",
    says="The tolerance follows the largest value, not the largest absolute value: below 0 if all values are.",
)
def probe_tolerance_below_zero(metric, seed):
    return _probe(metric, seed, same=lambda x, y: bool(np.abs(x - y).max() <= 1e-9 * x.max()))


@mistake("invariances", says="`rescale` changes one coordinate only; a metric may not look at that one.")
def probe_rescales_one_coordinate(metric, seed):
    return _probe(metric, seed, rescale=lambda x, r: x * np.where(np.arange(x.shape[1]) == 0, 3.28, 1))


@mistake("invariances", says="The rotation turns one plane only; a metric may see no more than that plane.")
def probe_rotates_one_plane(metric, seed):
    return _probe(metric, seed, rotate=_turn_one_plane)


@mistake("invariances", says="Only two coordinates change places; a metric may treat just these alike.")
def probe_swaps_two(metric, seed):
    return _probe(metric, seed, permute=lambda x, r: x[:, [1, 0, *range(2, x.shape[1])]])


@mistake(
    "invariances", says="b is a copy of a: a metric that compares the two as a whole is 0 on them, whatever you do."
)
def probe_with_the_same_rows(metric, seed):
    return _probe(metric, seed, twins=True)


@mistake("invariances", says="The typical value is compared (a median); every one has to stay.")
def probe_compares_medians(metric, seed):
    return _probe(metric, seed, same=lambda x, y: bool(np.median(np.abs(x - y)) <= 1e-9 * np.abs(x).max()))


@mistake(
    "invariances", says="The tolerance is loose: a change by one in a thousand is a change. Rounding leaves 1e-15."
)
def probe_with_a_loose_tolerance(metric, seed):
    return _probe(metric, seed, same=lambda x, y: bool(np.abs(x - y).max() <= 1e-2 * np.abs(x).max()))


@mistake(
    "invariances",
    says="The tolerance is relative to each value by itself: a value near 0 moves by more than that from rounding.",
)
def probe_relative_to_each_value(metric, seed):
    return _probe(metric, seed, same=lambda x, y: bool(np.allclose(y, x, rtol=1e-14, atol=0)))


# ---- mips_to_cosine


@mistake(
    "mips_to_cosine", says="Each item is divided by its own length: what made it score high is gone. One U for all."
)
def mips_normalizes_items(items, queries):
    return np.hstack([_unit(items), np.zeros((len(items), 1))]), _asked(queries)


@mistake("mips_to_cosine", says="Not divided by U: for items longer than 1 there is nothing left to fill up.")
def mips_without_u(items, queries):
    rest = np.sqrt(np.maximum(0, 1 - (_f(items) ** 2).sum(axis=1, keepdims=True)))
    return np.hstack([_f(items), rest]), _asked(queries)


@mistake("mips_to_cosine", says="The root is missing: 1 - |x/U|² fills the square up, not the length.")
def mips_without_root(items, queries):
    u = _u(items)
    return np.hstack([_f(items) / u, np.maximum(0, 1 - (_lengths(items) / u) ** 2)]), _asked(queries)


@mistake("mips_to_cosine", says="√(1 - |x/U|): the square of the length is missing.")
def mips_without_square(items, queries):
    u = _u(items)
    return np.hstack([_f(items) / u, np.sqrt(np.maximum(0, 1 - _lengths(items) / u))]), _asked(queries)


@mistake(
    "mips_to_cosine",
    says="For the longest item 1 - |x/U|² can be -2e-16, and its root NaN: keep it from falling below 0.",
)
def mips_nan(items, queries):
    u = _u(items)
    with np.errstate(invalid="ignore"):
        return np.hstack([_f(items) / u, np.sqrt(1 - ((_f(items) / u) ** 2).sum(axis=1, keepdims=True))]), _asked(
            queries
        )


@mistake("mips_to_cosine", says="The new coordinate comes first; the docstring puts it last.")
def mips_coordinate_first(items, queries):
    return tuple(np.roll(x, 1, axis=1) for x in _mips(items, queries))


@mistake("mips_to_cosine", says="Queries get a filled-up coordinate too: then long items score low. Theirs is 0.")
def mips_fills_queries_up(items, queries):
    return _mips(items, queries)[0], _mips(queries, items)[0]


@mistake(
    "mips_to_cosine",
    says="Queries are not normalised; only their direction matters, and their rows are to have length 1.",
)
def mips_queries_as_they_are(items, queries):
    return _mips(items, queries)[0], np.hstack([_f(queries), np.zeros((len(queries), 1))])


@mistake("mips_to_cosine", says="Queries are divided by the items' U instead of their own length.")
def mips_queries_by_u(items, queries):
    return _mips(items, queries)[0], np.hstack([_f(queries) / _u(items), np.zeros((len(queries), 1))])


@mistake("mips_to_cosine", says="U is the largest entry, not the largest length: some items are still longer than 1.")
def mips_u_of_entries(items, queries):
    u = np.abs(_f(items)).max(initial=0.0) or 1.0
    rest = np.sqrt(np.maximum(0, 1 - (_lengths(items) / u) ** 2))
    return np.hstack([_f(items) / u, rest]), _asked(queries)


@mistake("mips_to_cosine", says="If all items are zeros, U is 0 and everything becomes NaN.")
def mips_zero_items(items, queries):
    u = _lengths(items).max()
    with np.errstate(invalid="ignore"):
        rest = np.sqrt(np.maximum(0, 1 - (_lengths(items) / u) ** 2))
        return np.hstack([_f(items) / u, rest]), _asked(queries)


@mistake("mips_to_cosine", says="A query of zeros becomes NaN: 0/0. It stays zeros.")
def mips_zero_query(items, queries):
    with np.errstate(invalid="ignore"):
        asked = _f(queries) / np.linalg.norm(_f(queries), axis=1, keepdims=True)
    return _mips(items, queries)[0], np.hstack([asked, np.zeros((len(queries), 1))])


@mistake(
    "mips_to_cosine", says="U is the norm of the whole matrix (axis is missing), not the length of the longest row."
)
def mips_u_of_the_matrix(items, queries):
    u = np.linalg.norm(_f(items)) or 1.0
    rest = np.sqrt(np.maximum(0, 1 - (_lengths(items) / u) ** 2))
    return np.hstack([_f(items) / u, rest]), _asked(queries)


@mistake("mips_to_cosine", says="U is the longest of items and queries together; the queries' lengths play no part.")
def mips_u_of_both(items, queries):
    u = max(_u(items), _lengths(queries).max(initial=0.0))
    rest = np.sqrt(np.maximum(0, 1 - (_lengths(items) / u) ** 2))
    return np.hstack([_f(items) / u, rest]), _asked(queries)


@mistake("mips_to_cosine", says="1 - |x/U| is what the length lacks; lengths add by squares: √(1 - |x/U|²).")
def mips_lacks_the_length(items, queries):
    u = _u(items)
    return np.hstack([_f(items) / u, 1 - _lengths(items) / u]), _asked(queries)


@mistake("mips_to_cosine", says="Counts are squared in their own type: in uint8, 20² is 144. Convert to float64 first.")
def mips_in_the_type_of_the_counts(items, queries):
    lengths = _f(np.sqrt((items**2).sum(axis=1, keepdims=True)))
    u = lengths.max(initial=0.0) or 1.0
    return np.hstack([items / u, np.sqrt(np.maximum(0, 1 - (lengths / u) ** 2))]), _asked(queries)


@mistake("mips_to_cosine", says="The results are float32: seven digits. Results are float64.")
def mips_returns_float32(items, queries):
    return tuple(x.astype(np.float32) for x in _mips(items, queries))


# ---- sign_bits


@mistake(
    "sign_bits",
    says="The normals come from [0, 1): all planes cut the same way, and rows with positive entries are all on one side.",
)
def bits_from_positive_normals(rows, bits, seed):
    return _f(rows) @ np.random.default_rng(seed).random((rows.shape[1], bits)) > 0


@mistake(
    "sign_bits",
    says="The normals come from a cube: its corners are longer than its faces, so directions are not equally likely.",
)
def bits_from_a_cube(rows, bits, seed):
    return _f(rows) @ np.random.default_rng(seed).uniform(-1, 1, size=(rows.shape[1], bits)) > 0


@mistake(
    "sign_bits", says="The planes do not go through the origin: a longer row in the same direction gets other bits."
)
def bits_with_an_offset(rows, bits, seed):
    r = np.random.default_rng(seed)
    return _f(rows) @ r.normal(size=(rows.shape[1], bits)) > r.normal(size=bits)


@mistake(
    "sign_bits", says="The side is decided at a small positive number instead of 0: short rows are all on one side."
)
def bits_with_a_threshold(rows, bits, seed):
    return _f(rows) @ np.random.default_rng(seed).normal(size=(rows.shape[1], bits)) > 1e-6


@mistake("sign_bits", says="Every row gets planes of its own: bits of different rows cannot be compared.")
def bits_planes_for_each_row(rows, bits, seed):
    r = np.random.default_rng(seed)
    return np.array([row @ r.normal(size=(rows.shape[1], bits)) > 0 for row in _f(rows)]).reshape(len(rows), bits)


@mistake(
    "sign_bits", says="The planes depend on how many rows there are: a query alone gets other planes than the items."
)
def bits_depend_on_the_number_of_rows(rows, bits, seed):
    return _f(rows) @ np.random.default_rng([seed, len(rows)]).normal(size=(rows.shape[1], bits)) > 0


@mistake("sign_bits", says="The seed is ignored: two tables, or two programs that should differ, get the same planes.")
def bits_ignore_the_seed(rows, bits, seed):
    return _f(rows) @ np.random.default_rng(0).normal(size=(rows.shape[1], bits)) > 0


@mistake("sign_bits", says="No seed at all: what is hashed today does not meet what is hashed tomorrow.")
def bits_without_a_seed(rows, bits, seed):
    return _f(rows) @ np.random.default_rng().normal(size=(rows.shape[1], bits)) > 0


@mistake("sign_bits", says="The same plane for every bit: more bits say no more than one.")
def bits_of_one_plane(rows, bits, seed):
    normal = np.random.default_rng(seed).normal(size=(rows.shape[1], 1))
    return np.repeat(_f(rows) @ normal > 0, bits, axis=1)


@mistake(
    "sign_bits",
    says="The planes are the coordinate axes, again and again: rows that differ within a quadrant never part.",
)
def bits_of_the_axes(rows, bits, seed):
    order = np.random.default_rng(seed).integers(rows.shape[1], size=bits)
    return _f(rows)[:, order] > 0


@mistake("sign_bits", says="The signs as -1 and 1; the bits are boolean.")
def bits_as_numbers(rows, bits, seed):
    return np.sign(_f(rows) @ np.random.default_rng(seed).normal(size=(rows.shape[1], bits)))


@mistake(
    "sign_bits",
    says="Compared with the other rows (their mean or median) instead of 0: a row alone gets other bits than among others.",
)
def bits_around_the_mean(rows, bits, seed):
    x = _f(rows) @ np.random.default_rng(seed).normal(size=(rows.shape[1], bits))
    return x > x.mean(axis=0)


@mistake(
    "sign_bits",
    says="The normals are -1 or 1 in each coordinate: corners of a cube. Directions are not equally likely.",
)
def bits_from_signs(rows, bits, seed):
    return _f(rows) @ np.random.default_rng(seed).choice([-1.0, 1.0], size=(rows.shape[1], bits)) > 0


@mistake("sign_bits", says="The normals' mean is not 0: they prefer a direction.")
def bits_from_shifted_normals(rows, bits, seed):
    return _f(rows) @ np.random.default_rng(seed).normal(0.5, 1, size=(rows.shape[1], bits)) > 0


@mistake("sign_bits", says="Seed 0 counts as no seed (`seed or None`): it gives other planes each time.")
def bits_of_seed_zero_are_random(rows, bits, seed):
    return _f(rows) @ np.random.default_rng(seed or None).normal(size=(rows.shape[1], bits)) > 0


@mistake("sign_bits", says="Bit k has the seed `seed + k`: the next seed gives the same planes, one place on.")
def bits_of_neighbouring_seeds(rows, bits, seed):
    normals = [np.random.default_rng(seed + k).normal(size=rows.shape[1]) for k in range(bits)]
    return _f(rows) @ np.array(normals).T > 0


# ---- the same mistakes in other words: each must be caught, and named as the one it is


@alike("dot_in_the_type_of_the_counts")
def einsum_of_counts(a, b):
    return 1.0 * np.einsum("nd,md->nm", a, b)


@alike("dot_loop_over_pairs")
def fills_pair_by_pair(a, b):
    out = np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            out[i, j] = sum(_f(a[i]) * _f(b[j]))
    return out


@alike("cosine_not_clipped")
def divides_by_the_product_of_lengths(a, b):
    a, b = _f(a), _f(b)
    lengths = np.sqrt((a * a).sum(1))[:, None] * np.sqrt((b * b).sum(1))[None]
    return np.divide(
        np.einsum("nd,md->nm", a, b), lengths, out=np.where(np.isnan(lengths), np.nan, 0.0), where=lengths > 0
    )


@alike("normalizes_with_an_epsilon")
def adds_an_epsilon_inside_the_loop(rows):
    return np.array([x / (math.sqrt(sum(v * v for v in x)) + 1e-8) for x in _f(rows)]).reshape(rows.shape)


@alike("normalizes_zero_to_nan")
def divides_by_every_length(rows):
    with np.errstate(all="ignore"):
        return (_f(rows).T / np.sqrt(np.square(_f(rows)).sum(axis=1))).T


@alike("normalizes_nan_away")
def divides_where_positive(rows):
    lengths = np.linalg.norm(_f(rows), axis=1, keepdims=True)
    return np.divide(_f(rows), lengths, out=np.zeros(rows.shape), where=lengths > 0)


@alike("normalizes_counts_in_their_type")
def adds_squares_of_counts(rows):
    lengths = np.sqrt(np.array([sum(x * x) for x in rows]).reshape(len(rows), 1))
    return rows / np.where(lengths == 0, 1, lengths)


@alike("normalizes_with_a_floor")
def keeps_above_the_smallest_float32(rows):
    return _f(rows) / np.maximum(_lengths(rows), np.finfo(np.float32).tiny)


@alike("cosine_hides_nan")
def clips_with_fmin(a, b):
    return np.fmax(np.fmin(_unit(a) @ _unit(b).T, 1), -1)


@alike("cosine_rounded")
def rounds_to_nine_places(a, b):
    return np.round(_unit(a) @ _unit(b).T, 9)


@alike("euclidean_expanded")
def squares_from_a_product(a, b):
    a, b = _f(a), _f(b)
    squares = np.einsum("nd,nd->n", a, a)[:, None] + np.einsum("md,md->m", b, b) - 2 * np.einsum("nd,md->nm", a, b)
    return np.sqrt(np.where(squares > 0, squares, 0.0))


@alike("euclidean_expanded_to_nan")
def root_of_whatever_comes(a, b):
    a, b = _f(a), _f(b)
    with np.errstate(all="ignore"):
        return (np.square(a).sum(1, keepdims=True) - 2 * (a @ b.T) + np.square(b).sum(1)) ** 0.5


@alike("euclidean_unsigned")
def lists_rows_of_counts(a, b):
    return np.array([np.sqrt(((b - row) ** 2).sum(axis=1)) for row in a])


@alike("euclidean_unsigned")
def broadcasts_counts(a, b):
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))


@alike("euclidean_unsigned")
def expands_counts(a, b):
    with np.errstate(invalid="ignore"):
        return np.sqrt((a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * a @ b.T)


@alike("euclidean_broadcast")
def four_blocks(a, b):
    return np.concatenate([np.sqrt(((_f(x)[:, None] - _f(b)) ** 2).sum(-1)) for x in np.array_split(a, 4)])


@alike("euclidean_broadcast")
def norm_over_the_last_axis(a, b):
    return np.linalg.norm(_f(a)[:, None, :] - _f(b), axis=-1)


@alike("manhattan_unsigned")
def subtracts_counts_in_blocks(a, b):
    blocks = [np.abs(a[i : i + 4, None] - b).sum(axis=2, dtype=np.float64) for i in range(0, len(a), 4)]
    return np.concatenate([*blocks, np.zeros((0, len(b)))])


@alike("manhattan_unsigned")
def broadcasts_counts_to_blocks(a, b):
    return _f(np.abs(a[:, None] - b[None]).sum(-1))


@alike("manhattan_broadcast")
def repeats_and_tiles(a, b):
    x, y = np.repeat(_f(a), len(b), axis=0), np.tile(_f(b), (len(a), 1))
    return np.abs(x - y).sum(axis=1).reshape(len(a), len(b))


@alike("jaccard_empty_is_zero")
def counts_row_by_row(a, b):
    x, y = a != 0, b != 0
    rows = [(y & r).sum(1) / np.clip((y | r).sum(1), 1, None) for r in x]
    return np.array(rows).reshape(len(a), len(b))


@alike("jaccard_nan")
def divides_intersections_by_unions(a, b):
    x, y = a != 0, b != 0
    with np.errstate(all="ignore"):
        return np.array([np.logical_and(y, r).sum(1) / np.logical_or(y, r).sum(1) for r in x]).reshape(len(a), len(b))


@alike("jaccard_is_dice")
def twice_the_overlap(a, b):
    x, y = _f(a != 0), _f(b != 0)
    sizes = x.sum(1)[:, None] + y.sum(1)[None]
    sizes[sizes == 0], both = 1.0, 2 * x @ y.T
    return np.where((x.sum(1)[:, None] + y.sum(1)) == 0, 1.0, both / sizes)


@alike("gap_second_leg_backwards")
def trusts_the_way_back(distances):
    n = range(len(distances))
    return float(max(distances[i, k] - distances[i, j] - distances[k, j] for i in n for j in n for k in n))


@alike("gap_turned")
def largest_difference_either_way(distances):
    return max(float(np.abs(distances - distances[:, j, None] - distances[j]).max()) for j in range(len(distances)))


@alike("probe_rotates_by_any_matrix")
def uses_a_gaussian_as_a_rotation(metric, seed):
    return _probe(metric, seed + 1, rotate=lambda x, r: x @ (r.normal(size=(x.shape[1],) * 2) / x.shape[1] ** 0.5))


@alike("probe_without_zeros")
def draws_dense_rows(metric, seed):
    r = np.random.default_rng([seed, 5])
    a, b = r.normal(size=(5, 7)), r.normal(size=(6, 7))
    q, _ = np.linalg.qr(r.normal(size=(7, 7)))
    factors, order, v = r.uniform(0.5, 2, size=7), r.permutation(7), r.normal(size=7)
    after = {
        "scale": metric(a * r.uniform(0.5, 2, size=(5, 1)), b * r.uniform(0.5, 2, size=(6, 1))),
        "shift": metric(a + v, b + v),
        "rotate": metric(a @ q, b @ q),
        "permute": metric(a[:, order], b[:, order]),
        "rescale": metric(a * factors, b * factors),
    }
    before = metric(a, b)
    return {
        name: bool(np.allclose(x, before, rtol=1e-8, atol=1e-8 * np.abs(before).max())) for name, x in after.items()
    }


@alike("mips_normalizes_items")
def unit_items(items, queries):
    x = _unit(items)
    return np.c_[x, np.sqrt(np.maximum(0, 1 - (x**2).sum(1))).round(6) * 0], _asked(queries)


@alike("mips_in_the_type_of_the_counts")
def squares_counts_everywhere(items, queries):
    def lengths(rows):
        found = _f(np.sqrt((rows**2).sum(axis=1, keepdims=True)))
        return np.where(found == 0, 1, found)

    u = lengths(items).max()
    rest = np.sqrt(np.maximum(0, 1 - ((items / u) ** 2).sum(axis=1, keepdims=True)))
    return np.hstack([items / u, rest]), np.hstack([queries / lengths(queries), np.zeros((len(queries), 1))])


@alike("bits_from_a_cube")
def random_numbers_around_zero(rows, bits, seed):
    r = np.random.default_rng(seed + 7)
    return _f(rows) @ (2 * r.random((bits, rows.shape[1])) - 1).T >= 0


# ---- the parts they share


def _f(x):
    return x.astype(np.float64)


def _f_if_whole(x):
    return x if x.dtype.kind == "f" else _f(x)


def _over(rows, lengths):
    return rows / np.where(lengths == 0, 1.0, lengths)


def _lengths(rows):
    return np.linalg.norm(_f(rows), axis=1, keepdims=True)


def _unit(rows):
    return _over(_f(rows), _lengths(rows))


def _cosine(a, b):
    return np.clip(_unit(a) @ _unit(b).T, -1, 1)


def _expanded(a, b):
    return (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T


def _rows(a, b, distance, convert=_f):
    a, b = convert(a), convert(b)
    return np.array([distance(b - row) for row in a], dtype=np.float64).reshape(len(a), len(b))


def _sets(a, b):
    x, y = _f(a != 0), _f(b != 0)
    both = x @ y.T
    return both, x.sum(1)[:, None] + y.sum(1) - both


def _jaccard(a, b):
    both, either = _sets(a, b)
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def _draw(rng, share, positive):
    rows = rng.normal(size=(30, 16)) * (rng.random((30, 16)) < share)
    return np.abs(rows) if positive else rows


def _changes(positive=False):
    return {
        "scale": lambda x, r: x * r.uniform(0.2, 5, size=(len(x), 1)),
        "shift": lambda x, r: x + (np.abs(r.normal(size=x.shape[1])) if positive else r.normal(size=x.shape[1])),
        "rotate": lambda x, r: x @ np.linalg.qr(r.normal(size=(x.shape[1],) * 2))[0],
        "permute": lambda x, r: x[:, r.permutation(x.shape[1])],
        "rescale": lambda x, r: x * r.uniform(0.2, 5, size=x.shape[1]),
    }


def _turn_one_plane(x, r):
    turn = np.eye(x.shape[1])
    turn[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    return x @ turn


def _same(x, y):
    return bool(np.abs(x - y).max() <= 1e-9 * np.abs(x).max())


def _probe(metric, seed, share=0.6, positive=False, same=_same, twins=False, **other):
    rng = np.random.default_rng(seed)
    rows = _draw(rng, share, positive)
    if twins:
        rows[13:26] = rows[:13]
        rows = rows[:26]
    before = metric(rows[:13], rows[13:])
    found = {}
    for name, change in (_changes(positive) | other).items():
        changed = change(rows, rng)
        found[name] = same(before, metric(changed[:13], changed[13:]))
    return found


def _u(items):
    return _lengths(items).max(initial=0.0) or 1.0


def _asked(queries):
    return np.hstack([_unit(queries), np.zeros((len(queries), 1))])


def _mips(items, queries):
    u = _u(items)
    return np.hstack([_f(items) / u, np.sqrt(np.maximum(0, 1 - (_lengths(items) / u) ** 2))]), _asked(queries)
