"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import math

import numpy as np

from labkit.spec import equivalent

# ---- dot


@equivalent("dot")
def dot_einsum(a, b):
    return np.einsum("nd,md->nm", a, b, dtype=np.float64)


@equivalent("dot")
def dot_coordinate_by_coordinate(a, b):
    out = np.zeros((len(a), len(b)))
    for i in range(a.shape[1]):
        out += np.outer(a[:, i].astype(float), b[:, i].astype(float))
    return out


@equivalent("dot")
def dot_tensordot(a, b):
    return np.tensordot(np.float64(a), np.float64(b), axes=(1, 1))


@equivalent("dot")
def dot_inner(a, b):
    return np.inner(np.array(a, dtype=float), np.array(b, dtype="f8"))


# ---- cosine


@equivalent("cosine", of="normalize")
def normalize_row_by_row(rows):
    out = np.array(rows, dtype=np.float64)
    for row in out:
        if row.any():
            row /= math.sqrt(row @ row)
    return out


@equivalent("cosine", of="normalize")
def normalize_in_two_steps(rows):
    """The largest entry first, so that squares neither overflow nor vanish."""
    rows = np.asarray(rows, dtype=np.float64)
    top = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    top[top == 0] = 1
    rows = rows / top
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows / (length + (length == 0))


@equivalent("cosine")
def cosine_divided_afterwards(a, b):
    a, b = a.astype(float), b.astype(float)
    x, y = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    x[x == 0] = np.inf
    y[y == 0] = np.inf
    return (a / x[:, None] @ (b / y[:, None]).T).clip(-1, 1)


@equivalent("cosine")
def cosine_from_distances(a, b):
    """cos = 1 - |u - v|²/2 for unit rows; zeros by hand."""
    u, v = normalize_row_by_row(a), normalize_row_by_row(b)
    out = np.array([1 - ((v - x) ** 2).sum(1) / 2 for x in u]).reshape(len(u), len(v))
    out[~u.any(1)] = 0
    out[:, ~v.any(1)] = 0
    return np.minimum(np.maximum(out, -1), 1)


# ---- euclidean


@equivalent("euclidean")
def euclidean_cdist(a, b):
    from scipy.spatial.distance import cdist

    return cdist(a, b)


@equivalent("euclidean")
def euclidean_by_coordinates(a, b):
    out = np.zeros((len(a), len(b)))
    for i in range(a.shape[1]):
        out += np.subtract.outer(a[:, i], b[:, i], dtype=np.float64) ** 2
    return np.sqrt(out)


@equivalent("euclidean")
def euclidean_in_blocks(a, b, block=64):
    a, b = np.asarray(a, float), np.asarray(b, float)
    out = np.empty((len(a), len(b)))
    for i in range(0, len(a), block):
        out[i : i + block] = np.linalg.norm(a[i : i + block, None] - b[None], axis=-1)
    return out


@equivalent("euclidean")
def euclidean_column_by_column(a, b):
    a, b = np.add(a, 0, dtype=np.float64), np.add(b, 0, dtype=np.float64)
    columns = [np.linalg.norm(a - y, axis=1) for y in b]
    return np.stack(columns, axis=1) if columns else np.zeros((len(a), 0))


@equivalent("euclidean")
def euclidean_expanded_then_repaired(a, b):
    """The fast formula, and the slow one for every pair of which more than a thousandth cancelled."""
    a, b = a.astype(float), b.astype(float)
    sizes = (a**2).sum(1)[:, None] + (b**2).sum(1)
    squares = sizes - 2 * a @ b.T
    for i in range(len(a)):
        j = np.flatnonzero(squares[i] < 1e-3 * sizes[i])
        squares[i, j] = ((a[i] - b[j]) ** 2).sum(1)
    return np.sqrt(squares)


# ---- manhattan


@equivalent("manhattan")
def manhattan_cdist(a, b):
    from scipy.spatial.distance import cdist

    return cdist(a, b, "cityblock")


@equivalent("manhattan")
def manhattan_by_coordinates(a, b):
    return sum(
        (np.abs(x[:, None] - y[None]) for x, y in zip(a.T.astype(float), b.T.astype(float))),
        start=np.zeros((len(a), len(b))),
    )


@equivalent("manhattan")
def manhattan_in_blocks(a, b, block=50):
    parts = [np.abs(a[i : i + block, None].astype(float) - b[None]).sum(-1) for i in range(0, len(a), block)]
    return np.concatenate([np.empty((0, len(b))), *parts])


@equivalent("manhattan")
def manhattan_from_minima(a, b):
    """|x - y| = x + y - 2·min(x, y)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    shared = np.array([np.minimum(b, x).sum(1) for x in a]).reshape(len(a), len(b))
    return a.sum(1)[:, None] + b.sum(1)[None] - 2 * shared


# ---- jaccard


@equivalent("jaccard")
def jaccard_row_by_row(a, b):
    members = b.astype(bool)
    out = np.ones((len(a), len(b)))
    for i, row in enumerate(a.astype(bool)):
        either = (members | row).sum(axis=1)
        np.divide((members & row).sum(axis=1), either, out=out[i], where=either > 0)
    return out


@equivalent("jaccard")
def jaccard_nan_to_one(a, b):
    x, y = np.where(a, 1.0, 0.0), np.where(b, 1.0, 0.0)
    both = np.dot(x, y.T)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(both / (x.sum(1, keepdims=True) + y.sum(1) - both), nan=1.0)


@equivalent("jaccard")
def jaccard_from_hamming(a, b):
    """|A ∪ B| = (|A| + |B| + |A Δ B|) / 2, where |A Δ B| is a Manhattan distance of zeros and ones."""
    x, y = (a != 0) * 1, (b != 0) * 1
    sizes = x.sum(1)[:, None] + y.sum(1)
    apart = np.array([np.abs(y - r).sum(1) for r in x]).reshape(len(x), len(y))
    return np.where(sizes == 0, 1.0, (sizes - apart) / np.maximum(sizes + apart, 1))


# ---- triangle_gap


@equivalent("triangle_gap")
def gap_by_the_shortest_detour(distances):
    """The cheapest way with one stop (a min-plus product), row by row."""
    return max(float((d - (d[:, None] + distances).min(axis=0)).max()) for d in distances)


@equivalent("triangle_gap")
def gap_in_loops(distances):
    d = distances.tolist()
    n = range(len(d))
    return max(d[i][k] - d[i][j] - d[j][k] for j in n for i in n for k in n)


@equivalent("triangle_gap")
def gap_one_stop_at_a_time(distances):
    worst = -np.inf
    for j in range(len(distances)):
        worst = max(worst, np.max(distances - np.add.outer(distances[:, j], distances[j, :])))
    return worst


# ---- invariances


@equivalent("invariances")
def invariances_on_sparse_counts(metric, seed):
    """Whole numbers with signs, one pair of matrices, every change written for both."""
    r = np.random.default_rng(seed)
    a, b = (r.integers(-9, 10, size=(n, 9)) * (r.random((n, 9)) < 0.5) * 1.0 for n in (21, 15))
    a[:, 0] += 0.5 * (a.any(1) == 0)
    q = np.linalg.svd(r.normal(size=(9, 9)))[0]
    v, f, order = r.normal(size=9) * 4, np.exp(r.normal(size=9)), np.roll(np.arange(9), 2)
    fa, fb = np.exp(r.normal(size=(21, 1))), np.exp(r.normal(size=(15, 1)))
    tries = [(a * fa, b * fb), (a + v, b + v), (a @ q, b @ q), (a[:, order], b[:, order]), (a * f, b * f)]
    want = metric(a, b)
    close = [np.allclose(metric(x, y), want, rtol=1e-7, atol=1e-7 * np.abs(want).max()) for x, y in tries]
    return dict(zip(("scale", "shift", "rotate", "permute", "rescale"), close))


@equivalent("invariances")
def invariances_over_many_tries(metric, seed):
    """Small matrices, thirty times: a change must be ignored each time."""
    r = np.random.default_rng([seed, 99])
    names = ("rescale", "permute", "rotate", "shift", "scale")
    verdict = dict.fromkeys(names, True)
    for _ in range(30):
        a, b = (r.normal(size=(4, 5)) * r.choice([0.0, 1.0, 3.0], size=(4, 5)) for _ in "ab")
        a, b = (np.where(x.any(1, keepdims=True), x, 1.0) for x in (a, b))
        q, t = np.linalg.qr(r.normal(size=(5, 5)))
        q = q * np.sign(np.diag(t))
        moves = {
            "scale": (a * r.uniform(1, 3, (4, 1)), b * r.uniform(1, 3, (4, 1))),
            "shift": tuple(x + s for s in [r.normal(size=5)] for x in (a, b)),
            "rotate": (a @ q, b @ q),
            "permute": (a[:, [1, 2, 3, 4, 0]], b[:, [1, 2, 3, 4, 0]]),
            "rescale": tuple(x * s for s in [r.uniform(1, 3, 5)] for x in (a, b)),
        }
        want = metric(a, b)
        for name, (x, y) in moves.items():
            verdict[name] &= bool(np.linalg.norm(metric(x, y) - want) <= 1e-8 * np.linalg.norm(want))
    return verdict


# ---- mips_to_cosine


@equivalent("mips_to_cosine")
def mips_from_squares(items, queries):
    x, q = items.astype(float), queries.astype(float)
    squares = (x**2).sum(1)
    top = squares.max() or 1.0
    new = np.c_[x / np.sqrt(top), np.sqrt((top - squares) / top)]
    lengths = np.sqrt((q**2).sum(1))
    lengths[lengths == 0] = 1
    return new, np.c_[q / lengths[:, None], np.zeros(len(q))]


@equivalent("mips_to_cosine")
def mips_row_by_row(items, queries):
    longest = max(math.hypot(*x) for x in items.tolist()) or 1
    new = np.zeros((len(items), items.shape[1] + 1))
    for row, x in zip(new, items):
        row[:-1] = x / longest
        row[-1] = math.sqrt(max(0.0, 1 - row[:-1] @ row[:-1]))
    asked = np.zeros((len(queries), queries.shape[1] + 1))
    for row, q in zip(asked, queries):
        row[:-1] = q / (math.hypot(*q.tolist()) or 1)
    return new, asked


# ---- sign_bits


@equivalent("sign_bits")
def bits_from_the_sphere(rows, bits, seed):
    """Normals of length 1, drawn row by row."""
    normals = np.random.RandomState(seed).standard_normal((bits, rows.shape[1]))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(rows, float) @ normals.T >= 0


@equivalent("sign_bits")
def bits_plane_by_plane(rows, bits, seed):
    r = np.random.default_rng((seed, 11))
    return np.stack([~np.signbit(rows @ r.normal(size=rows.shape[1])) for _ in range(bits)], axis=1)
