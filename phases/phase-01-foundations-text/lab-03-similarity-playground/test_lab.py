"""What lab 1.3 must do.  The same file judges lab.py, solution.py and every submission.

It runs outside the process that holds the lab: `lab.f(x)` sends copies and gets plain values back.  The oracles are
loops over pairs in Python's own floats (math.fsum, math.dist, math.hypot) and sets: no matrix product, no broadcasting.
What must be counted beside the lab, bytes and steps of the interpreter, is counted by probes.
"""

import math
import sys
import tracemalloc

import numpy as np

from labkit.spec import check, task

# ---- oracles: one pair at a time


def pairs(f, a, b):
    rows = [[f(x, y) for y in b.tolist()] for x in a.tolist()]
    return np.array(rows, dtype=np.float64).reshape(len(a), len(b))


def inner(x, y):
    return math.fsum(p * q for p, q in zip(x, y))


def angle_cosine(x, y):
    lengths = math.hypot(*x) * math.hypot(*y)
    return inner(x, y) / lengths if lengths else 0.0


def city_blocks(x, y):
    return math.fsum(abs(p - q) for p, q in zip(x, y))


def overlap(x, y):
    one, other = ({i for i, v in enumerate(z) if v} for z in (x, y))
    return len(one & other) / len(one | other) if one | other else 1.0


def numpy_rng(random):
    """A NumPy generator seeded from the test's own."""
    return np.random.default_rng(random.getrandbits(32))


def draw(r, low=4, scale=2.0):
    """a and b with three sizes that differ: n < m < d, or with d smallest."""
    n, m, d = (
        low + int(r.integers(3)),
        low + 4 + int(r.integers(3)),
        (2, low + 8)[int(r.integers(2))] + int(r.integers(2)),
    )
    return r.normal(size=(n, d)) * scale, r.normal(size=(m, d)) * scale


def sets(r, n, d, share=0.4):
    """Rows whose non-zero entries are counts, negative numbers and fractions, a very small one among them."""
    return np.where(r.random((n, d)) < share, r.choice([-3.0, -0.5, 1e-9, 0.25, 1.0, 2.0, 40.0], size=(n, d)), 0.0)


METRICS = {"dot": inner, "cosine": angle_cosine, "euclidean": math.dist, "manhattan": city_blocks}


def values(lab, name, r):
    f = getattr(lab, name)
    for _ in range(3):
        a, b = draw(r)
        check.close(
            f(a, b), pairs(METRICS[name], a, b), why=f"random rows, {len(a)} against {len(b)}, d = {a.shape[1]}"
        )


def counts(lab, name, r):
    """uint8 and int64: what is counted is not float, and 3 - 5 or 20·20 must not wrap round."""
    a, b = (r.integers(0, 256, size=(n, 6)) for n in (3, 5))
    want = pairs(METRICS[name], a, b)
    got = getattr(lab, name)(a.astype(np.uint8), b.astype(np.uint8))
    # A verdict and not the values: each way to forget the conversion wraps round to other numbers.
    check.equal(largest_error(got, want) < 1e-6, True, why="are the results for counts in uint8 right?")
    check.close(getattr(lab, name)(a, b), want, why="counts in int64")


def in_float64(lab, name, r):
    """Results are float64, and computed in it, whatever the rows were."""
    a, b = r.normal(size=(3, 6)), r.normal(size=(5, 6))
    check.equal(str(getattr(lab, name)(a, b).dtype), "float64", why="the type of the result, for rows of float64")
    a, b = a.astype(np.float16), b.astype(np.float16)
    got = getattr(lab, name)(a, b)
    check.equal(str(got.dtype), "float64", why="the type of the result, for rows of float16")
    error = largest_error(got, pairs(METRICS[name], a, b))
    check.equal(error < 1e-6, True, why="are the results for rows of float16 computed in float64?")


def largest_error(got, want):
    """Relative to the value wanted; a number, because rounding errors are never the same twice."""
    return float((np.abs(np.asarray(got) - want) / np.maximum(np.abs(want), 1e-3)).max())


def odd_sizes(lab, name, r):
    for n, m, d in ((1, 1, 1), (0, 3, 4), (3, 0, 4), (1, 6, 2)):
        a, b = r.normal(size=(n, d)), r.normal(size=(m, d))
        check.close(getattr(lab, name)(a, b), pairs(METRICS[name], a, b), why=f"n = {n}, m = {m}, d = {d}")


def large(lab, name, r):
    """300 × 400 pairs: no bytecode for each of them, and (for the distances) never a number for each coordinate."""
    a, b = r.normal(size=(300, 24)), r.normal(size=(400, 24))
    steps = lab.probe(interpreter_steps, name, a, b, 4 * 300 * 400)
    check.less(steps, 4 * 300 * 400, why="steps of the interpreter for 120,000 pairs: is there a loop over pairs?")


def untouched(lab, name, r):
    a, b = sets(r, 4, 7), sets(r, 5, 7)
    check.equal(lab.probe(changed, name, a, b), [], why="your function changed these arguments")


# ---- dot


@task("dot")
def test_dot_by_hand(lab):
    check.close(
        lab.dot(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [0.0, -1.0]])), np.array([[11.0, -2.0]]), why="by hand"
    )


@task("dot")
def test_dot_values(lab, random):
    values(lab, "dot", numpy_rng(random))


@task("dot")
def test_dot_of_counts(lab, random):
    counts(lab, "dot", numpy_rng(random))


@task("dot")
def test_dot_odd_sizes(lab, random):
    odd_sizes(lab, "dot", numpy_rng(random))


@task("dot")
def test_dot_is_computed_in_float64(lab, random):
    in_float64(lab, "dot", numpy_rng(random))


@task("dot")
def test_dot_steps(lab, random):
    large(lab, "dot", numpy_rng(random))


@task("dot")
def test_dot_leaves_its_arguments_alone(lab, random):
    untouched(lab, "dot", numpy_rng(random))


# ---- cosine: normalize and cosine


@task("cosine")
def test_normalize_values(lab, random):
    r = numpy_rng(random)
    for _ in range(2):
        a, _ = draw(r)
        want = np.array([[v / math.hypot(*x) for v in x] for x in a.tolist()])
        check.close(lab.normalize(a), want, why="random rows")


@task("cosine")
def test_normalize_a_row_of_zeros(lab, random):
    a, _ = draw(numpy_rng(random))
    a[1], a[2] = 0, [2, -2] + [0] * (a.shape[1] - 2)
    want = np.array([[v / (math.hypot(*x) or 1) for v in x] for x in a.tolist()])
    check.close(lab.normalize(a), want, why="row 1 is all zeros and stays so; row 2 is (2, -2, 0, …), whose sum is 0")


@task("cosine")
def test_normalize_tiny_and_huge_rows(lab, random):
    a, _ = draw(numpy_rng(random))
    for scale in (1e-95, 1e95):
        want = np.array([[v / math.hypot(*x) for v in x] for x in a.tolist()])
        check.close(lab.normalize(a * scale), want, why=f"rows of length {scale:g} or so become unit rows")
    lengths = [math.hypot(*x) for x in np.asarray(lab.normalize(a * 1e-7)).tolist()]
    check.less(max(abs(x - 1) for x in lengths), 1e-9, why="how far from 1 a normalised row of length 1e-7 is")


@task("cosine")
def test_normalize_shows_nan(lab, random):
    a, _ = draw(numpy_rng(random))
    a[1, 0] = math.nan
    seen = np.isnan(np.asarray(lab.normalize(a))).any(axis=1).tolist()
    check.equal(seen, [i == 1 for i in range(len(a))], why="which rows hold a NaN, when row 1 had one")


@task("cosine")
def test_cosine_values(lab, random):
    values(lab, "cosine", numpy_rng(random))


@task("cosine")
def test_cosine_of_zeros(lab, random):
    a, b = draw(numpy_rng(random))
    a[2], b[1] = 0, 0
    check.close(lab.cosine(a, b), pairs(angle_cosine, a, b), why="row 2 of a and row 1 of b are all zeros: cosine 0")


@task("cosine")
def test_cosine_of_tiny_rows(lab, random):
    a, b = draw(numpy_rng(random))
    want = pairs(angle_cosine, a, b)
    check.close(lab.cosine(a * 1e-95, b), want, why="a times 1e-95: the same angles")
    check.less(largest_error(lab.cosine(a * 1e-7, b), want), 1e-6, why="the largest error, for a times 1e-7")


@task("cosine")
def test_cosine_stays_within_one(lab, random):
    """Parallel and opposite rows: rounding would leave 1.0000000000000002 in about one of ten."""
    a = numpy_rng(random).normal(size=(150, 7))
    out = np.asarray(lab.cosine(a, np.vstack([3 * a, -0.7 * a])))
    check.between(float(out.max()), 1 - 1e-9, 1, why="the largest cosine, of parallel rows")
    check.between(float(out.min()), -1, -1 + 1e-9, why="the smallest cosine, of opposite rows")


@task("cosine")
def test_cosine_keeps_its_digits(lab, random):
    a, b = draw(numpy_rng(random))
    off = np.abs(np.asarray(lab.cosine(a, b)) - pairs(angle_cosine, a, b)).max()
    check.less(float(off), 2e-14, why="the largest error of a cosine; 100 roundings are 1e-14")


@task("cosine")
def test_nan_is_not_hidden(lab, random):
    a, b = draw(numpy_rng(random))
    a[1, 0] = math.nan
    out = np.asarray(lab.cosine(a, b))
    check.equal(
        np.isnan(out).any(axis=1).tolist(), [i == 1 for i in range(len(a))], why="NaN in row 1 of a, and only there"
    )


@task("cosine")
def test_cosine_of_counts(lab, random):
    counts(lab, "cosine", numpy_rng(random))


@task("cosine")
def test_cosine_odd_sizes(lab, random):
    odd_sizes(lab, "cosine", numpy_rng(random))


@task("cosine")
def test_cosine_is_computed_in_float64(lab, random):
    in_float64(lab, "cosine", numpy_rng(random))


@task("cosine")
def test_cosine_steps(lab, random):
    large(lab, "cosine", numpy_rng(random))


@task("cosine")
def test_cosine_leaves_its_arguments_alone(lab, random):
    r = numpy_rng(random)
    untouched(lab, "cosine", r)
    check.equal(lab.probe(changed, "normalize", sets(r, 4, 7)), [], why="normalize changed its argument")


# ---- euclidean


@task("euclidean")
def test_euclidean_by_hand(lab):
    got = lab.euclidean(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[3.0, 4.0], [0.0, 0.0], [-5.0, 4.0]]))
    check.close(got, np.array([[5.0, 0.0, math.sqrt(41)], [0.0, 5.0, 8.0]]), why="by hand")


@task("euclidean")
def test_euclidean_values(lab, random):
    values(lab, "euclidean", numpy_rng(random))


@task("euclidean")
def test_euclidean_of_counts(lab, random):
    counts(lab, "euclidean", numpy_rng(random))


def keeps_its_digits(lab, a, b, where):
    got, want = np.asarray(lab.euclidean(a, b)), pairs(math.dist, a, b)
    check.equal(bool(np.isnan(got).any()), False, why=f"is there a NaN among the distances {where}?")
    check.less(largest_error(got, want), 1e-6, why=f"the largest error, relative to the distance, {where}")


@task("euclidean")
def test_euclidean_far_from_the_origin(lab, random):
    """A common offset of 10⁸: |a|² is 10¹⁶ or so, and its last digit is worth about 2."""
    r = numpy_rng(random)
    a, b = r.normal(size=(11, 7)) + 1e8, r.normal(size=(17, 7)) + 1e8
    keeps_its_digits(lab, a, b, "of rows whose coordinates are all near 100,000,000")


@task("euclidean")
def test_euclidean_of_near_duplicates(lab, random):
    """No common offset to subtract: each row has a double nearby, and is far from all the rest."""
    r = numpy_rng(random)
    a = r.normal(size=(40, 9)) * 1e6
    keeps_its_digits(lab, a, a + r.normal(size=a.shape) * 1e-2, "of rows of length 3,000,000, one of them 0.03 away")


@task("euclidean")
def test_euclidean_odd_sizes(lab, random):
    odd_sizes(lab, "euclidean", numpy_rng(random))


@task("euclidean")
def test_euclidean_is_computed_in_float64(lab, random):
    in_float64(lab, "euclidean", numpy_rng(random))


@task("euclidean")
def test_euclidean_memory(lab, random):
    r = numpy_rng(random)
    a, b = r.normal(size=(1000, 60)), r.normal(size=(100, 60))
    why = "numbers alive at once beyond a and b; n·m·d are 6,000,000, and a quarter of them is too many"
    check.less(lab.probe(peak_numbers, "euclidean", a, b), 1000 * 100 * 60 / 4, why=why)
    check.close(lab.euclidean(a, b[:3]), pairs(math.dist, a, b[:3]), why="1,000 rows against 3")


@task("euclidean")
def test_euclidean_steps(lab, random):
    large(lab, "euclidean", numpy_rng(random))


@task("euclidean")
def test_euclidean_leaves_its_arguments_alone(lab, random):
    untouched(lab, "euclidean", numpy_rng(random))


# ---- manhattan


@task("manhattan")
def test_manhattan_by_hand(lab):
    check.close(
        lab.manhattan(np.array([[0.0, 0.0]]), np.array([[3.0, -4.0], [0.0, 0.0]])),
        np.array([[7.0, 0.0]]),
        why="by hand",
    )


@task("manhattan")
def test_manhattan_values(lab, random):
    values(lab, "manhattan", numpy_rng(random))


@task("manhattan")
def test_manhattan_of_counts(lab, random):
    counts(lab, "manhattan", numpy_rng(random))


@task("manhattan")
def test_manhattan_odd_sizes(lab, random):
    odd_sizes(lab, "manhattan", numpy_rng(random))


@task("manhattan")
def test_manhattan_is_computed_in_float64(lab, random):
    in_float64(lab, "manhattan", numpy_rng(random))


@task("manhattan")
def test_manhattan_memory(lab, random):
    r = numpy_rng(random)
    a, b = r.normal(size=(1000, 60)), r.normal(size=(100, 60))
    why = "numbers alive at once beyond a and b; n·m·d are 6,000,000, and a quarter of them is too many"
    check.less(lab.probe(peak_numbers, "manhattan", a, b), 1000 * 100 * 60 / 4, why=why)
    check.close(lab.manhattan(a, b[:3]), pairs(city_blocks, a, b[:3]), why="1,000 rows against 3")


@task("manhattan")
def test_manhattan_steps(lab, random):
    large(lab, "manhattan", numpy_rng(random))


@task("manhattan")
def test_manhattan_leaves_its_arguments_alone(lab, random):
    untouched(lab, "manhattan", numpy_rng(random))


# ---- jaccard


@task("jaccard")
def test_jaccard_of_zeros_and_ones(lab, random):
    r = numpy_rng(random)
    a, b = ((r.random((n, 11)) < 0.5).astype(float) for n in (5, 7))
    a[:, 0], b[:, 3] = 1, 1
    check.close(lab.jaccard(a, b), pairs(overlap, a, b), why="rows of zeros and ones, none empty")


@task("jaccard")
def test_jaccard_of_weights(lab, random):
    r = numpy_rng(random)
    a, b = sets(r, 5, 13), sets(r, 8, 13)
    a[:, 2], b[:, 6], b[:, 9] = 0.25, -3, 1e-9
    check.close(
        lab.jaccard(a, b), pairs(overlap, a, b), why="any number but 0 is a member: fractions, 1e-9, negatives, counts"
    )


@task("jaccard")
def test_jaccard_of_empty_sets(lab, random):
    r = numpy_rng(random)
    a, b = sets(r, 4, 6), sets(r, 5, 6)
    a[0], a[1], b[2], b[3] = 0, 1, 0, 1
    check.close(lab.jaccard(a, b), pairs(overlap, a, b), why="row 0 of a and row 2 of b are empty sets")


@task("jaccard")
def test_jaccard_of_large_sets(lab, random):
    """More than 256 members, and counts in uint8: neither must wrap round."""
    r = numpy_rng(random)
    a, b = (((r.random((n, 700)) < 0.6) * r.integers(1, 256, size=(n, 700))).astype(np.uint8) for n in (3, 4))
    check.close(lab.jaccard(a, b), pairs(overlap, a, b), why="about 420 members each, counts in uint8")
    check.close(lab.jaccard(a > 0, b > 0), pairs(overlap, a, b), why="the same sets as rows of bool")


@task("jaccard")
def test_jaccard_odd_sizes(lab, random):
    r = numpy_rng(random)
    for n, m, d in ((1, 1, 1), (0, 3, 4), (3, 0, 4), (1, 6, 2)):
        a, b = sets(r, n, d), sets(r, m, d)
        check.close(lab.jaccard(a, b), pairs(overlap, a, b), why=f"n = {n}, m = {m}, d = {d}")


@task("jaccard")
def test_jaccard_is_computed_in_float64(lab, random):
    r = numpy_rng(random)
    check.equal(str(lab.jaccard(sets(r, 3, 9), sets(r, 4, 9)).dtype), "float64", why="the type of the result")


@task("jaccard")
def test_jaccard_steps(lab, random):
    large(lab, "jaccard", numpy_rng(random))


@task("jaccard")
def test_jaccard_leaves_its_arguments_alone(lab, random):
    untouched(lab, "jaccard", numpy_rng(random))


# ---- triangle_gap


def gap(d):
    n = range(len(d))
    return max(d[i][k] - d[i][j] - d[j][k] for i in n for j in n for k in n)


@task("triangle_gap")
def test_gap_by_hand(lab):
    """Three towns in a line: 1 and 2 apart, but the sign at the first says 5 to the last."""
    d = np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 2.0], [5.0, 2.0, 0.0]])
    check.close(float(lab.triangle_gap(d)), 2.0, why="5 - (1 + 2)")


@task("triangle_gap")
def test_gap_values(lab, random):
    r = numpy_rng(random)
    for n in (4, 7):
        d = r.uniform(1, 9, size=(n, n))
        check.close(
            float(lab.triangle_gap(d)), gap(d.tolist()), why=f"{n} places, the way back another than the way there"
        )


@task("triangle_gap")
def test_gap_of_metrics_and_others(lab, random):
    """Distances on a line are a metric: 0 with i = j.  Their squares are not.  Off the diagonal all equal to 1: 0."""
    x = np.sort(numpy_rng(random).uniform(0, 10, size=6))
    line = np.abs(x[:, None] - x)
    check.close(float(lab.triangle_gap(line)), 0.0, why="distances on a line")
    check.close(float(lab.triangle_gap(line**2)), gap((line**2).tolist()), why="their squares")
    check.close(float(lab.triangle_gap(1 - np.eye(6))), 0.0, why="all 1 apart: the detour over i itself costs nothing")
    check.close(
        float(lab.triangle_gap(1 + 0 * line)),
        -1.0,
        why="D[i, i] = 1 too, so every detour costs 1 and the gap is below 0",
    )


@task("triangle_gap")
def test_gap_is_found_wherever_it_is(lab, random):
    """One pair too far apart, at each place in turn."""
    for i in range(4):
        for k in range(4):
            if i != k:
                d = 1.0 - np.eye(4)
                d[i, k] = 3.5
                check.close(float(lab.triangle_gap(d)), 1.5, why=f"D[{i}, {k}] = 3.5, all others 1")


@task("triangle_gap")
def test_gap_memory(lab, random):
    d = numpy_rng(random).uniform(1, 2, size=(120, 120))
    why = "numbers alive at once beyond D; n³ are 1,728,000, and a quarter of them is too many"
    check.less(lab.probe(peak_numbers, "triangle_gap", d), 120**3 / 4, why=why)
    check.close(float(lab.triangle_gap(d[:9, :9])), gap(d[:9, :9].tolist()), why="9 places")


@task("triangle_gap")
def test_gap_leaves_its_argument_alone(lab, random):
    check.equal(lab.probe(changed, "triangle_gap", numpy_rng(random).random((4, 4))), [], why="your function changed D")


# ---- invariances: the metrics under test are the spec's own, so a table of the lab's five is no answer

# which of scale, shift, rotate, permute, rescale each ignores
KNOWN = {
    "inner_product": "rotate permute",
    "angle": "scale rotate permute",
    "straight_line": "shift rotate permute",
    "blocks": "shift permute",
    "shared_share": "scale permute rescale",
    "largest_difference": "shift permute",
    "bray_curtis": "permute",
    "canberra": "permute rescale",
    "correlation": "scale permute",
    "weighted_by_place": "shift",
    "tiny_inner_product": "rotate permute",
    "huge_straight_line": "shift rotate permute",
    "plain_sum": "permute",
    "same_signs": "scale permute rescale",
    "difference_of_sizes": "permute",
    "distance_above_average": "shift rotate permute",
    "nothing": "scale shift rotate permute rescale",
    "reach_along_a": "rotate permute",
    "reach_along_b": "rotate permute",
    "minus_the_distance": "shift rotate permute",
    "all_but_the_first_coordinate": "shift",
    "products_weighted_by_place": "",
    "distances_above_most": "shift rotate permute",
    "distance_of_the_averages": "shift rotate permute",
    "almost_an_angle": "rotate permute",
}


def compare_invariances(lab, names, seed):
    for name in names:
        want = {c: c in KNOWN[name].split() for c in ("scale", "shift", "rotate", "permute", "rescale")}
        metric = lab.probe(give, name)
        check.equal(lab.invariances(metric, seed), want, why=f"a metric that the spec brings: {name.replace('_', ' ')}")


@task("invariances")
def test_invariances_of_the_five(lab, random):
    seed = int(numpy_rng(random).integers(1000))
    compare_invariances(lab, ("inner_product", "angle", "straight_line", "blocks", "shared_share"), seed)


@task("invariances")
def test_invariances_of_others(lab, random):
    seed = int(numpy_rng(random).integers(1000))
    compare_invariances(lab, ("correlation", "bray_curtis", "canberra", "weighted_by_place", "nothing"), seed)


@task("invariances")
def test_invariances_of_more(lab, random):
    seed = int(numpy_rng(random).integers(1000))
    compare_invariances(
        lab, ("largest_difference", "plain_sum", "same_signs", "difference_of_sizes", "distance_above_average"), seed
    )


@task("invariances")
def test_invariances_of_parts(lab, random):
    """Metrics that look at one side, at some coordinates, at some pairs: every factor, coordinate and value counts."""
    seed = int(numpy_rng(random).integers(1000))
    compare_invariances(
        lab,
        (
            "reach_along_a",
            "reach_along_b",
            "minus_the_distance",
            "all_but_the_first_coordinate",
            "products_weighted_by_place",
            "distances_above_most",
            "distance_of_the_averages",
            "almost_an_angle",
        ),
        seed,
    )


@task("invariances")
def test_invariances_at_every_size(lab, random):
    seed = int(numpy_rng(random).integers(1000))
    compare_invariances(lab, ("tiny_inner_product", "huge_straight_line"), seed)


@task("invariances")
def test_invariances_with_other_seeds(lab, random):
    for seed in numpy_rng(random).integers(1000, size=8).tolist():
        compare_invariances(lab, ("angle", "blocks"), seed)


# ---- mips_to_cosine


def as_unit(items, queries):
    """The definition, row by row."""
    longest = max((math.hypot(*x) for x in items.tolist()), default=0) or 1.0
    new = []
    for x in items.tolist():
        u = math.hypot(*x) / longest
        new.append([v / longest for v in x] + [math.sqrt((1 - u) * (1 + u)) if u < 1 else 0.0])
    asked = [[v / (math.hypot(*q) or 1) for v in q] + [0.0] for q in queries.tolist()]
    return np.array(new), np.array(asked)


def compare_mips(lab, items, queries, why):
    got, want = lab.mips_to_cosine(items, queries), as_unit(items, queries)
    # Where |x| is nearly U, 1 - |x/U|² has lost half its digits: 1e-16 under the root is 1e-8.
    check.close(got[0], want[0], atol=1e-7, why=f"{why}: the items")
    check.close(got[1], want[1], why=f"{why}: the queries")


def spread(r, n, d):
    return r.normal(size=(n, d)) * r.uniform(0.1, 30, size=(n, 1))


@task("mips_to_cosine")
def test_mips_values(lab, random):
    r = numpy_rng(random)
    for n, m, d in ((6, 4, 5), (9, 3, 2)):
        compare_mips(lab, spread(r, n, d), spread(r, m, d), f"{n} items, {m} queries")


@task("mips_to_cosine")
def test_mips_of_short_items(lab, random):
    """All lengths below 1, so that a missing U cannot hide; and all above 1."""
    r = numpy_rng(random)
    for scale in (1e-3, 1e3):
        compare_mips(lab, spread(r, 6, 4) * scale, spread(r, 3, 4) * scale, f"lengths of about {scale:g}")


@task("mips_to_cosine")
def test_mips_of_the_longest_item(lab, random):
    """With one item it is always the longest, and in one of three draws or so 1 - |x/U|² comes out below 0."""
    r = numpy_rng(random)
    for _ in range(30):
        compare_mips(lab, r.normal(size=(1, 7)) * 3, r.normal(size=(2, 7)), "a single item")


@task("mips_to_cosine")
def test_mips_of_zeros(lab, random):
    r = numpy_rng(random)
    items, queries = spread(r, 5, 4), spread(r, 3, 4)
    items[2], queries[1] = 0, 0
    compare_mips(lab, items, queries, "item 2 and query 1 are zeros")
    compare_mips(lab, 0 * items, queries, "all items are zeros")


@task("mips_to_cosine")
def test_mips_of_counts(lab, random):
    items, queries = (numpy_rng(random).integers(0, 256, size=(n, 6)).astype(np.uint8) for n in (5, 3))
    got, want = lab.mips_to_cosine(items, queries), as_unit(items, queries)
    off = max(float(np.abs(np.asarray(x) - y).max()) for x, y in zip(got, want, strict=True))
    check.equal(off < 1e-6, True, why="are items and queries right for counts in uint8?")
    types = [str(x.dtype) for x in lab.mips_to_cosine(items * 1.0, queries * 1.0)]
    check.equal(types, ["float64", "float64"], why="the types of the results, for rows of float64")


@task("mips_to_cosine")
def test_mips_leaves_its_arguments_alone(lab, random):
    r = numpy_rng(random)
    check.equal(
        lab.probe(changed, "mips_to_cosine", spread(r, 4, 3), spread(r, 2, 3)), [], why="your function changed these"
    )


# ---- sign_bits


def at_angle(r, d, theta):
    """Two rows at the angle theta, of lengths 2 and 0.3, in a random plane."""
    q, _ = np.linalg.qr(r.normal(size=(d, d)))
    return np.stack([2.0 * q[0], 0.3 * (math.cos(theta) * q[0] + math.sin(theta) * q[1])])


@task("sign_bits")
def test_bits_are_bool(lab, random):
    out = lab.sign_bits(numpy_rng(random).normal(size=(3, 5)), 7, 4)
    check.equal([str(out.dtype), *out.shape], ["bool", 3, 7], why="the type and shape for 3 rows and 7 bits")


@task("sign_bits")
def test_bits_of_parallel_and_opposite_rows(lab, random):
    r = numpy_rng(random)
    a = r.normal(size=(4, 6))
    bits = lab.sign_bits(np.vstack([a, 5 * a, -a, 1e-9 * a]), 40, int(r.integers(1000)))
    check.equal(bits[4:8], bits[:4], why="longer rows in the same directions lie on the same sides")
    check.equal(bits[12:], bits[:4], why="and so do rows of length 1e-9")
    check.equal(bits[8:12], ~bits[:4], why="opposite rows lie on the other side of every plane")


@task("sign_bits")
def test_bits_depend_on_the_seed_alone(lab, random):
    r = numpy_rng(random)
    seed, a = int(r.integers(1000)), r.normal(size=(5, 8))
    together = lab.sign_bits(a, 60, seed)
    check.equal(lab.sign_bits(a[3:4], 60, seed), together[3:4], why="one row alone, with the same seed")
    again = [lab.sign_bits(a, 60, 0).tolist() for _ in range(2)]
    check.equal(again[0] == again[1], True, why="does seed 0 give the same planes each time?")
    other = lab.sign_bits(a, 60, seed + 1)
    check.equal(other.tolist() == together.tolist(), False, why="are all planes of the next seed the same?")
    shared = [other[:, :-1].tolist() == together[:, 1:].tolist(), other[:, 1:].tolist() == together[:, :-1].tolist()]
    check.equal(any(shared), False, why="are the planes of the next seed the same, but for one, in other places?")


@task("sign_bits")
def test_collisions_follow_the_angle(lab, random):
    """P(a bit differs) = θ/π, from 8,192 bits at each of four angles."""
    r = numpy_rng(random)
    for theta, d in ((0.3, 3), (1.1, 17), (math.pi / 2, 9), (2.6, 5)):
        bits = lab.sign_bits(at_angle(r, d, theta), 8192, int(r.integers(1000)))
        differ = (bits[0] != bits[1]).astype(int).tolist()
        check.sampled(
            differ, [1 - theta / math.pi, theta / math.pi], why=f"how often a bit differs, {theta:.2f} rad apart"
        )


@task("sign_bits")
def test_no_direction_is_preferred(lab, random):
    """In the plane, along an axis and along the diagonal: normals drawn from a square are more often diagonal."""
    r = numpy_rng(random)
    for turn in (0.0, math.pi / 4):
        rows = np.array([[math.cos(turn + x), math.sin(turn + x)] for x in (-0.4, 0.4)])
        bits = lab.sign_bits(rows, 60_000, int(r.integers(1000)))
        differ = (bits[0] != bits[1]).astype(int).tolist()
        check.sampled(
            differ, [1 - 0.8 / math.pi, 0.8 / math.pi], why=f"0.8 rad apart, around {math.degrees(turn):.0f}°"
        )


@task("sign_bits")
def test_bits_are_independent(lab, random):
    """Two neighbouring bits of the same row: each of the four patterns a quarter of the time."""
    r = numpy_rng(random)
    bits = lab.sign_bits(r.normal(size=(1, 23)), 20_000, int(r.integers(1000)))[0].reshape(2, -1)
    check.sampled(
        (2 * bits[0] + bits[1]).tolist(), [0.25] * 4, why="a bit and the one 10,000 places on: 00, 01, 10, 11"
    )
    pairs_of_bits = (2 * bits[:, ::2] + bits[:, 1::2]).reshape(-1)
    check.sampled(pairs_of_bits.tolist(), [0.25] * 4, why="two neighbouring bits: 00, 01, 10, 11")


@task("sign_bits")
def test_bits_leave_their_argument_alone(lab, random):
    check.equal(
        lab.probe(changed, "sign_bits", numpy_rng(random).random((3, 4)), 5, 2), [], why="your function changed rows"
    )


# ---- probes: they run beside the lab


def changed(lab, function, *arguments):
    before = [np.copy(x) for x in arguments]
    getattr(lab, function)(*arguments)
    return [i for i, (x, old) in enumerate(zip(arguments, before)) if not np.array_equal(x, old)]


def peak_numbers(lab, function, *arguments):
    """The most float64 numbers' worth of memory alive at once, beyond the arguments.  NumPy reports to tracemalloc."""
    tracemalloc.start()
    try:
        getattr(lab, function)(*arguments)
        return tracemalloc.get_traced_memory()[1] / 8
    finally:
        tracemalloc.stop()


def interpreter_steps(lab, function, a, b, limit):
    """Bytecodes that ran in Python frames, up to the limit: work in NumPy's compiled code counts as nothing."""
    steps = 0

    def count(frame, event, _):
        nonlocal steps
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        steps += 1
        if steps > limit:
            raise OverflowError("too many steps")
        return count

    sys.settrace(count)
    try:
        getattr(lab, function)(a, b)
    except OverflowError:
        steps = limit + 1
    finally:
        sys.settrace(None)
    return steps


def give(lab, name):
    """A metric for the lab to examine: it crosses over as source and stays there, as a handle."""

    def differences(a, b):
        return a[:, None] - b[None]

    def centred(x):
        return x - x.mean(axis=1, keepdims=True)

    def angle(a, b):
        lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
        return (a @ b.T) / np.where(lengths == 0, 1, lengths)

    def shared_share(a, b):
        x, y = np.abs(a[:, None]) > 1e-9, np.abs(b[None]) > 1e-9
        return (x & y).sum(-1) / np.maximum((x | y).sum(-1), 1)

    def canberra(a, b):
        sizes = np.abs(a[:, None]) + np.abs(b[None])
        return (np.abs(differences(a, b)) / np.where(sizes == 0, 1, sizes)).sum(-1)

    def bray_curtis(a, b):
        sizes = np.abs(a[:, None] + b[None]).sum(-1)
        return np.abs(differences(a, b)).sum(-1) / np.where(sizes == 0, 1, sizes)

    def above_average(a, b):
        distances = straight_line(a, b)
        return distances - distances.mean()

    def unit(x):
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)

    def straight_line(a, b):
        return np.sqrt((differences(a, b) ** 2).sum(-1))

    def above_most(a, b):
        distances = straight_line(a, b)
        return np.maximum(distances - 0.9 * distances.max(), 0.0)

    metrics = {
        "reach_along_a": lambda a, b: unit(a) @ b.T,
        "reach_along_b": lambda a, b: a @ unit(b).T,
        "minus_the_distance": lambda a, b: -straight_line(a, b),
        "all_but_the_first_coordinate": lambda a, b: (differences(a, b) ** 2 * np.arange(a.shape[1])).sum(-1),
        # Weights 1, 1, 2, 3, …: only the swap of the first two is not seen, and no random permutation is likely to be that.
        "products_weighted_by_place": lambda a, b: (a * np.maximum(np.arange(a.shape[1]), 1)) @ b.T,
        "distances_above_most": above_most,
        "distance_of_the_averages": lambda a, b: np.full((len(a), len(b)), np.linalg.norm(a.mean(0) - b.mean(0))),
        "almost_an_angle": lambda a, b: angle(a, b) + 3e-6 * (a @ b.T),
        "inner_product": lambda a, b: a @ b.T,
        "angle": angle,
        "straight_line": straight_line,
        "blocks": lambda a, b: np.abs(differences(a, b)).sum(-1),
        "shared_share": shared_share,
        "largest_difference": lambda a, b: np.abs(differences(a, b)).max(-1),
        "bray_curtis": bray_curtis,
        "canberra": canberra,
        "correlation": lambda a, b: angle(centred(a), centred(b)),
        "weighted_by_place": lambda a, b: (np.abs(differences(a, b)) * np.arange(1, a.shape[1] + 1)).sum(-1),
        "tiny_inner_product": lambda a, b: 1e-12 * (a @ b.T),
        "huge_straight_line": lambda a, b: 1e12 * straight_line(a, b),
        "plain_sum": lambda a, b: a.sum(1)[:, None] + b.sum(1),
        "same_signs": lambda a, b: (np.sign(a)[:, None] == np.sign(b)[None]).mean(-1),
        "difference_of_sizes": lambda a, b: np.abs(np.abs(a).sum(1)[:, None] - np.abs(b).sum(1)),
        "distance_above_average": above_average,
        "nothing": lambda a, b: np.full((len(a), len(b)), 7.0),
    }
    return metrics[name]
