"""What lab 4.3 must do.  The same file judges lab.py, solution.py and every submission.

Oracles are written another way than the solution: Python floats for the formulas, complex numbers in float64 for the
rotations, scores as sums for the layouts, the turns in a context for the stretchings.  The peers' own code is compared
elsewhere (tests/test_lab_4_3_peers.py), since it need not be installed here.
"""

import cmath
import math

import torch

from labkit.spec import check, task


def size(rng, low, high):
    """A whole number from low to high."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def number(rng, low, high):
    return low + (high - low) * float(torch.rand((), generator=rng))


def normal(rng, *shape):
    return torch.randn(shape, generator=rng)


def places(rng, *shape, high=400):
    """Positions in no order: nothing may depend on where in the tensor a token stands."""
    return torch.randint(high, shape, generator=rng)


def turns(head_dim, theta):
    """Radians for each position, pair by pair, in Python floats."""
    return [theta ** (-2 * i / head_dim) for i in range(head_dim // 2)]


def angles_of(positions, head_dim, theta):
    return torch.tensor([[p * t for t in turns(head_dim, theta)] for p in positions.flatten().tolist()]).reshape(
        *positions.shape, -1
    )


def turned(x, angles, first, second):
    """Rotation in float64 as a product of complex numbers; `first` and `second` name a pair's two coordinates."""
    batch = torch.broadcast_shapes(x.shape[:-3], angles.shape[:-2])
    angles = angles.double()[..., None, :, :].expand(*batch, *x.shape[-3:-1], x.shape[-1] // 2)
    out = torch.zeros(*batch, *x.shape[-3:], dtype=torch.float64)
    z = torch.complex(x[..., first].double(), x[..., second].double()) * torch.polar(torch.ones_like(angles), angles)
    out[..., first], out[..., second] = z.real, z.imag
    return out


def adjacent(dh):
    return list(range(0, dh, 2)), list(range(1, dh, 2))


def halves(dh):
    return list(range(dh // 2)), list(range(dh // 2, dh))


def unchanged(lab, name, *arguments):
    check.equal(lab.probe(changed, name, *arguments), [], why="your function changed these arguments (0 is the first)")


# ---- sinusoidal


@task("sinusoidal")
def test_sinusoidal_values(lab, rng):
    for shape in ((5,), (2, 3), ()):
        d, base, positions = 2 * size(rng, 3, 6), number(rng, 50, 2000), places(rng, *shape)
        want = []
        for p in positions.flatten().tolist():
            row = [cmath.exp(1j * p / base ** (2 * i / d)) for i in range(d // 2)]
            want.append([part for z in row for part in (z.imag, z.real)])
        want = torch.tensor(want).reshape(*shape, d)
        got = lab.sinusoidal(positions, d, base)
        check.close(
            got,
            want,
            why=f"d = {d}, base {base:.0f}, positions of shape {shape}",
            atol=1e-4,
        )
        check.equal(str(got.dtype), "torch.float32", why="the dtype that comes out")


@task("sinusoidal")
def test_sinusoidal_default_base(lab, rng):
    """Without `base` the slowest pair of many has hardly moved."""
    d, p = 64, size(rng, 100, 200)
    got = lab.sinusoidal(torch.tensor([p]), d)
    check.close(
        got[0, -2:],
        torch.tensor([math.sin(p / 10_000 ** (62 / 64)), math.cos(p / 10_000 ** (62 / 64))]),
        why="the last pair, base 10,000",
    )


@task("sinusoidal")
def test_sinusoidal_leaves_its_arguments_alone(lab, rng):
    unchanged(lab, "sinusoidal", places(rng, 4), 6, 300.0)


# ---- learned


@task("learned")
def test_learned_rows(lab, rng):
    n, d = size(rng, 7, 9), size(rng, 2, 5)
    table = normal(rng, n, d)
    for positions in (places(rng, 3, high=n), places(rng, 2, 4, high=n), torch.tensor([n - 1, 0, n - 1])):
        want = torch.stack([table[p] for p in positions.flatten().tolist()]).reshape(*positions.shape, d)
        check.close(lab.learned(table, positions), want, why=f"positions {positions.tolist()} of {n}")


@task("learned")
def test_learned_ends(lab, rng):
    n, d = size(rng, 6, 9), size(rng, 2, 5)
    table = normal(rng, n, d)
    for bad in ([0, n], [[1, 2], [n + 3, 0]], [3, -1], [-n, 1]):
        check.raises(
            ValueError, lab.learned, table, torch.tensor(bad), why=f"positions {bad}, and the table has {n} rows"
        )


@task("learned")
def test_learned_names_the_position(lab, rng):
    n = size(rng, 6, 9)
    bad = 1000 + size(rng, 0, 8000)
    said = lab.probe(message, "learned", normal(rng, n, 3), torch.tensor([2, bad, 1]))
    check.equal(str(bad) in said, True, why=f"the message names position {bad}")


@task("learned")
def test_learned_gradient(lab, rng):
    n, d = 6, 3
    positions = torch.tensor([1, 4, 4])
    want = torch.zeros(n, d)
    upstream = normal(rng, 3, d)
    for p, g in zip(positions.tolist(), upstream):
        want[p] += g
    check.close(
        lab.probe(table_gradient, normal(rng, n, d), positions, upstream), want, why="the gradient of the table"
    )


# ---- rope_angles


@task("rope_angles")
def test_frequencies(lab, rng):
    for head_dim in (2, 2 * size(rng, 2, 5), 2 * size(rng, 6, 12)):
        theta = number(rng, 20, 600_000)
        got = lab.frequencies(head_dim, theta)
        check.close(got, torch.tensor(turns(head_dim, theta)), why=f"head_dim {head_dim}, theta {theta:.0f}", atol=1e-9)
        check.equal(str(got.dtype), "torch.float32", why="the dtype that comes out")


@task("rope_angles")
def test_default_theta(lab):
    check.close(lab.frequencies(8), torch.tensor([1.0, 0.1, 0.01, 0.001]), why="head_dim 8, theta 10,000", atol=1e-9)


@task("rope_angles")
def test_odd_head_dim_is_refused(lab, rng):
    odd = 2 * size(rng, 1, 9) + 1
    check.raises(ValueError, lab.frequencies, odd, 500.0, why=f"head_dim {odd}")


@task("rope_angles")
def test_angles_follow_the_given_positions(lab, rng):
    half = size(rng, 2, 6)
    turn = torch.rand(half, generator=rng) + 0.05
    for positions in (places(rng, 5, high=9000), places(rng, 2, 3), torch.tensor([[-1, -1, 0, 1], [0, 1, 2, 3]])):
        want = torch.tensor([[p * t for t in turn.tolist()] for p in positions.flatten().tolist()])
        want = want.reshape(*positions.shape, half)
        got = lab.rope_angles(positions, turn)
        check.close(got, want, why=f"positions of shape {tuple(positions.shape)}")
        check.equal(str(got.dtype), "torch.float32", why="the dtype that comes out")


@task("rope_angles")
def test_angles_leave_their_arguments_alone(lab, rng):
    unchanged(lab, "rope_angles", places(rng, 4), torch.rand(3, generator=rng))


# ---- the two rotations


def draw(rng, *batch, heads=None, dtype=torch.float32):
    """x (..., heads, T, dh) and angles (..., T, half) from positions in no order."""
    heads, T, dh = heads or size(rng, 2, 3), size(rng, 4, 6), 2 * size(rng, 4, 7)
    x = normal(rng, *batch, heads, T, dh).to(dtype)
    return x, angles_of(places(rng, *batch, T), dh, number(rng, 30, 900))


def values(rotate, rng, pairs):
    for batch in ((), (2,), (2, 3)):
        x, angles = draw(rng, *batch)
        want = turned(x, angles, *pairs(x.shape[-1])).float()
        check.close(rotate(x, angles), want, why=f"leading dimensions {batch}", atol=1e-4)


def broadcasting(rotate, rng, pairs):
    """As many rows as heads, where the wrong axis runs and is wrong; and one row of angles for a whole batch."""
    x, angles = draw(rng, 3, heads=3)
    want = turned(x, angles, *pairs(x.shape[-1])).float()
    check.close(
        rotate(x, angles),
        want,
        why="3 rows of 3 heads, positions differ from row to row, not from head to head",
        atol=1e-4,
    )
    x, angles = draw(rng)
    x = normal(rng, 4, *x.shape)
    want = turned(x, angles, *pairs(x.shape[-1])).float()
    check.close(rotate(x, angles), want, why="angles (T, half) for x (batch, heads, T, dh)", atol=1e-4)


def invariants(rotate, rng, pairs):
    """Position 0 is the identity, norms stay, and a score knows the distance of q and k alone."""
    x, angles = draw(rng, 2)
    check.close(rotate(x, 0 * angles), x, why="all angles 0", atol=1e-4)
    check.close(rotate(x, angles).norm(dim=-1), x.norm(dim=-1), why="the length of every vector", atol=1e-4)
    dh, theta = 2 * size(rng, 4, 7), number(rng, 30, 900)
    q, k = normal(rng, 1, 1, dh), normal(rng, 1, 1, dh)
    i, j = size(rng, 5, 30), size(rng, 0, 4)
    first, second = pairs(dh)
    z = torch.complex(q[0, 0, first], q[0, 0, second]) * torch.complex(k[0, 0, first], k[0, 0, second]).conj()
    want = sum((a * cmath.exp(1j * (i - j) * t)).real for a, t in zip(z.tolist(), turns(dh, theta), strict=True))
    for further in (0, size(rng, 40, 300)):
        at_q, at_k = (angles_of(torch.tensor([p + further]), dh, theta) for p in (i, j))
        score = float((rotate(q, at_q) * rotate(k, at_k)).sum())
        check.close(score, want, why=f"q·k for q at {i + further}, k at {j + further}", rtol=1e-3, atol=1e-3)


def low_precision(rotate, rng, pairs):
    """bfloat16 has 8 bits: position 301 is 300 or 302 there.  So angles stay in float32, and only x is rounded."""
    x, angles = draw(rng, 2, dtype=torch.bfloat16)
    got = rotate(x, angles)
    check.equal(str(got.dtype), "torch.bfloat16", why="same dtype out as in")
    want = turned(x.float(), angles, *pairs(x.shape[-1])).to(torch.bfloat16)
    check.close(got, want, why="x in bfloat16, angles in float32", atol=0.05)


def backward(lab, name, rng, pairs):
    x, angles = draw(rng)
    upstream = normal(rng, *x.shape)
    want = turned(upstream, -angles, *pairs(x.shape[-1])).float()  # backward through a rotation is turning back
    check.close(lab.probe(gradient, name, x, angles, upstream), want, why="the gradient that reaches x", atol=1e-4)


@task("rotate_adjacent")
def test_adjacent_by_hand(lab):
    """A quarter turn of (1, 0) is (0, 1); half a turn of (0, 2) is (0, -2)."""
    got = lab.rotate_adjacent(torch.tensor([[[1.0, 0.0, 0.0, 2.0]]]), torch.tensor([[math.pi / 2, math.pi]]))
    check.close(got, torch.tensor([[[0.0, 1.0, 0.0, -2.0]]]), why="(1, 0) a quarter turn on, (0, 2) half a turn")


@task("rotate_adjacent")
def test_adjacent_values(lab, rng):
    values(lab.rotate_adjacent, rng, adjacent)


@task("rotate_adjacent")
def test_adjacent_broadcasts(lab, rng):
    broadcasting(lab.rotate_adjacent, rng, adjacent)


@task("rotate_adjacent")
def test_adjacent_invariants(lab, rng):
    invariants(lab.rotate_adjacent, rng, adjacent)


@task("rotate_adjacent")
def test_adjacent_in_bfloat16(lab, rng):
    low_precision(lab.rotate_adjacent, rng, adjacent)


@task("rotate_adjacent")
def test_adjacent_gradient(lab, rng):
    backward(lab, "rotate_adjacent", rng, adjacent)


@task("rotate_adjacent")
def test_adjacent_leaves_its_arguments_alone(lab, rng):
    unchanged(lab, "rotate_adjacent", *draw(rng))


@task("rotate_half")
def test_half_by_hand(lab):
    """Coordinates 0 and 2 are a pair, 1 and 3 the other: (1, 0) a quarter turn on, (0, 2) half a turn."""
    got = lab.rotate_half(torch.tensor([[[1.0, 0.0, 0.0, 2.0]]]), torch.tensor([[math.pi / 2, math.pi]]))
    check.close(got, torch.tensor([[[0.0, 0.0, 1.0, -2.0]]]), why="pairs (x0, x2) = (1, 0) and (x1, x3) = (0, 2)")


@task("rotate_half")
def test_half_values(lab, rng):
    values(lab.rotate_half, rng, halves)


@task("rotate_half")
def test_half_broadcasts(lab, rng):
    broadcasting(lab.rotate_half, rng, halves)


@task("rotate_half")
def test_half_invariants(lab, rng):
    invariants(lab.rotate_half, rng, halves)


@task("rotate_half")
def test_half_in_bfloat16(lab, rng):
    low_precision(lab.rotate_half, rng, halves)


@task("rotate_half")
def test_half_gradient(lab, rng):
    backward(lab, "rotate_half", rng, halves)


@task("rotate_half")
def test_half_leaves_its_arguments_alone(lab, rng):
    unchanged(lab, "rotate_half", *draw(rng))


# ---- to_half


@task("to_half")
def test_rows_by_hand(lab, rng):
    """Every number says which head, pair and half it is: 100·head + 10·pair + half."""
    for n_heads, half in ((size(rng, 2, 3), size(rng, 4, 6)), (1, 3), (4, 1)):
        rows = [100 * h + 10 * p + s for h in range(n_heads) for p in range(half) for s in (0, 1)]
        want = [100 * h + 10 * p + s for h in range(n_heads) for s in (0, 1) for p in range(half)]
        got = lab.to_half(torch.tensor(rows), n_heads)
        check.equal(got.tolist(), want, why=f"a bias of {n_heads} heads of {2 * half} coordinates")


@task("to_half")
def test_equal_scores(lab, rng):
    """x through W_q and W_k, turned in the one layout and, with other rows, in the other: the same scores."""
    n_heads, dh, d, T, theta = (
        size(rng, 2, 4),
        2 * size(rng, 3, 5),
        size(rng, 5, 7),
        size(rng, 8, 9),
        number(rng, 30, 900),
    )
    x, w_q, w_k = normal(rng, T, d), normal(rng, n_heads * dh, d), normal(rng, n_heads * dh, d)
    angles = angles_of(places(rng, T), dh, theta)

    def scores(w_q, w_k, pairs):
        heads = [turned((x @ w.T).unflatten(-1, (n_heads, dh)).transpose(0, 1), angles, *pairs(dh)) for w in (w_q, w_k)]
        return (heads[0] @ heads[1].mT).float()

    want = scores(w_q, w_k, adjacent)
    new_q, new_k = lab.to_half(w_q, n_heads), lab.to_half(w_k, n_heads)
    check.equal([*new_q.shape], [*w_q.shape], why="the shape of the weight")
    if new_q.shape == w_q.shape and new_k.shape == w_k.shape:
        check.close(
            scores(new_q, new_k, halves),
            want,
            why=f"scores of {n_heads} heads in the half layout",
            rtol=1e-3,
            atol=1e-3,
        )


@task("to_half")
def test_to_half_leaves_its_arguments_alone(lab, rng):
    unchanged(lab, "to_half", normal(rng, 12, 5), 2)


# ---- alibi


@task("alibi_slopes")
def test_slopes_of_powers_of_two(lab):
    """The paper's: a half, a quarter and so on for 8 heads; each the square root of the next for 16."""
    check.close(lab.alibi_slopes(8), torch.tensor([0.5**h for h in range(1, 9)]), why="8 heads: 1/2, 1/4, … 1/256")
    for n in (1, 2, 4, 16, 32):
        check.close(lab.alibi_slopes(n), torch.tensor([0.5 ** (8 * (h + 1) / n) for h in range(n)]), why=f"{n} heads")


@task("alibi_slopes")
def test_slopes_of_other_numbers(lab):
    # 6 heads come first: with one extra slope, as for 3, "sorted" and "in front" cannot be told apart.
    for n, m in ((6, 4), (3, 2), (7, 4), (9, 8), (12, 8), (20, 16)):
        twice = [0.5 ** (4 * (h + 1) / m) for h in range(2 * m)]
        want = [*twice[1::2], *twice[0::2]][:n]  # the series of m is every second slope of that of 2m
        check.close(lab.alibi_slopes(n), torch.tensor(want), why=f"{n} heads: those of {m}, then {n - m} of {2 * m}")


def bias_in_loops(slopes, queries, keys):
    def one(s, q, k):
        return -math.inf if k > q else -s * (q - k)

    return torch.tensor([[[one(s, q, k) for k in keys.tolist()] for q in queries.tolist()] for s in slopes.tolist()])


@task("alibi_bias")
def test_bias_of_a_whole_text(lab, rng):
    heads, T = size(rng, 2, 3), size(rng, 5, 7)
    slopes, at = torch.rand(heads, generator=rng) + 0.1, torch.arange(T)
    check.close(lab.alibi_bias(slopes, at, at), bias_in_loops(slopes, at, at), why=f"{heads} heads, {T} positions")


@task("alibi_bias")
def test_bias_with_a_cache(lab, rng):
    """T new queries and S cached keys, which begin anywhere."""
    heads, T, past, start = size(rng, 2, 3), size(rng, 4, 5), size(rng, 6, 9), size(rng, 1, 90)
    slopes = torch.rand(heads, generator=rng) + 0.1
    keys = start + torch.arange(past + T)
    queries = keys[past:]
    want = bias_in_loops(slopes, queries, keys)
    check.close(
        lab.alibi_bias(slopes, queries, keys), want, why=f"{T} queries, {past + T} keys from position {start} on"
    )
    one = queries[-1:]
    check.close(lab.alibi_bias(slopes, one, keys), want[:, -1:], why="a single new token")


@task("alibi_bias")
def test_bias_of_a_batch(lab, rng):
    heads, B, T, S = 3, 3, 4, 6
    slopes, queries, keys = (
        torch.rand(heads, generator=rng) + 0.1,
        places(rng, B, T, high=30),
        places(rng, B, S, high=30),
    )
    want = torch.stack([bias_in_loops(slopes, q, k) for q, k in zip(queries, keys, strict=True)])
    check.close(lab.alibi_bias(slopes, queries, keys), want, why=f"{B} rows with positions of their own, {heads} heads")


@task("alibi_bias")
def test_bias_leaves_its_arguments_alone(lab, rng):
    unchanged(lab, "alibi_bias", torch.rand(2, generator=rng), places(rng, 4), places(rng, 5))


# ---- stretching


@task("interpolate")
def test_interpolated(lab, rng):
    for _ in range(3):
        half, factor = size(rng, 3, 7), number(rng, 1.5, 20)
        turn = torch.rand(half, generator=rng) + 0.01
        want = torch.tensor([t / factor for t in turn.tolist()])
        check.close(lab.interpolate(turn, factor), want, why=f"{half} pairs, factor {factor:.2f}")


@task("interpolate")
def test_interpolate_leaves_its_arguments_alone(lab, rng):
    unchanged(lab, "interpolate", torch.rand(4, generator=rng), 3.0)


@task("ntk")
def test_ntk_values(lab, rng):
    for head_dim in (4, 2 * size(rng, 3, 8), 2 * size(rng, 16, 40)):
        theta, factor = number(rng, 200, 500_000), number(rng, 1.5, 20)
        larger = theta * math.exp(math.log(factor) * head_dim / (head_dim - 2))
        want = torch.tensor(turns(head_dim, larger))
        check.close(lab.ntk(head_dim, theta, factor), want, why=f"head_dim {head_dim}, factor {factor:.2f}", atol=1e-10)


@task("ntk")
def test_ntk_ends(lab, rng):
    head_dim, theta, factor = 2 * size(rng, 5, 20), number(rng, 200, 500_000), number(rng, 1.5, 20)
    got = lab.ntk(head_dim, theta, factor)
    check.close(float(got[0]), 1.0, why="the fastest pair keeps its pace", rtol=1e-5)
    slowest = turns(head_dim, theta)[-1] / factor
    check.close(float(got[-1]), slowest, why="the slowest pair is divided by factor", rtol=1e-4, atol=1e-12)


def yarn_by_turns(head_dim, theta, factor, original, beta_fast, beta_slow):
    """The pair that turns n times is looked for by bisection; the ramp is a loop over pairs."""

    def pair_that_turns(n):
        low, high = -float(head_dim), float(head_dim)
        for _ in range(100):
            middle = (low + high) / 2
            often = original / (2 * math.pi) * theta ** (-2 * middle / head_dim)
            low, high = (middle, high) if often > n else (low, middle)
        return low

    first, last = max(0, math.floor(pair_that_turns(beta_fast))), math.ceil(pair_that_turns(beta_slow))
    out = []
    for i, turn in enumerate(turns(head_dim, theta)):
        share = 0 if i <= first else 1 if i >= last else (i - first) / (last - first)
        out.append(turn * (1 - share) + turn / factor * share)
    return torch.tensor(out)


def compare_yarn(lab, why, *arguments):
    got, strength = lab.yarn(*arguments)
    want = yarn_by_turns(*arguments, *(32.0, 1.0)[len(arguments) - 4 :])
    check.close(got, want, why=why, atol=1e-10)
    check.close(float(strength), 1 + math.log(arguments[2]) / 10, why=f"{why}: the factor on q and k")


@task("yarn")
def test_yarn_values(lab, rng):
    for _ in range(4):
        head_dim, theta, factor = 2 * size(rng, 20, 40), number(rng, 5_000, 600_000), number(rng, 1.5, 30)
        original = size(rng, 1000, 9000)
        compare_yarn(lab, f"head_dim {head_dim}, original {original}", head_dim, theta, factor, original)


@task("yarn")
def test_yarn_other_bounds(lab, rng):
    for _ in range(3):
        fast, slow = number(rng, 8, 20), number(rng, 2, 4)
        arguments = (
            2 * size(rng, 20, 40),
            number(rng, 5_000, 50_000),
            number(rng, 1.5, 30),
            size(rng, 2000, 9000),
            fast,
            slow,
        )
        compare_yarn(lab, f"beta_fast {fast:.1f}, beta_slow {slow:.1f}", *arguments)


@task("yarn")
def test_yarn_of_a_short_context(lab, rng):
    """In 64 tokens no pair turns 32 times: the ramp would begin before the first pair."""
    head_dim, theta, factor, original = (
        2 * size(rng, 5, 20),
        number(rng, 5_000, 50_000),
        number(rng, 2, 8),
        size(rng, 50, 90),
    )
    compare_yarn(lab, f"original {original}", head_dim, theta, factor, original)


@task("yarn")
def test_yarn_of_a_ramp_past_the_last_pair(lab, rng):
    """With a small theta even the slowest pair turns more than once: no pair is divided by all of `factor`."""
    head_dim, theta, factor, original = (
        2 * size(rng, 20, 40),
        number(rng, 80, 200),
        number(rng, 2, 8),
        size(rng, 3000, 5000),
    )
    compare_yarn(lab, f"theta {theta:.0f}, original {original}", head_dim, theta, factor, original)


# ---- probes: they run beside the lab


def changed(lab, function, *arguments):
    before = [x.clone() if isinstance(x, torch.Tensor) else x for x in arguments]
    getattr(lab, function)(*arguments)
    return [
        i
        for i, (x, old) in enumerate(zip(arguments, before))
        if isinstance(x, torch.Tensor) and not torch.equal(x, old)
    ]


def gradient(lab, function, x, angles, upstream):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad((getattr(lab, function)(x, angles) * upstream).sum(), x)[0]


def table_gradient(lab, table, positions, upstream):
    table = table.detach().clone().requires_grad_()
    return torch.autograd.grad((lab.learned(table, positions) * upstream).sum(), table)[0]


def message(lab, function, *arguments):
    try:
        getattr(lab, function)(*arguments)
    except Exception as e:
        return str(e)
    return ""
