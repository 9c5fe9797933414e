"""What people really get wrong in lab 4.3.  Each replaces one function; its task's tests catch it."""

import math

import torch

from labkit.spec import alike, mistake

INF = math.inf

# ---- sinusoidal


@mistake("sinusoidal", says="All sines first, then all cosines: here each pair's sine and cosine stand side by side.")
def sines_then_cosines(positions, d, base=10_000.0):
    angle = positions[..., None] * _series(d, base)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


@mistake("sinusoidal", says="Cosine in the even coordinates and sine in the odd ones: the paper has it the other way.")
def cosine_first(positions, d, base=10_000.0):
    angle = positions[..., None] * _series(d, base)
    return torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(-2)


@mistake("sinusoidal", says="The exponent is i/d and not 2i/d: the slowest pair is a hundred times too fast.")
def half_the_exponent(positions, d, base=10_000.0):
    return _weave(positions[..., None] * base ** (-torch.arange(d // 2) / d))


@mistake("sinusoidal", says="Each coordinate has a frequency of its own; a pair shares one.")
def every_coordinate_its_own(positions, d, base=10_000.0):
    angle = positions[..., None] * base ** (-torch.arange(d) / d)
    return torch.where(torch.arange(d) % 2 == 0, angle.sin(), angle.cos())


@mistake("sinusoidal", says="The sign of the exponent is lost: pairs get faster and faster.")
def faster_and_faster(positions, d, base=10_000.0):
    return _weave(positions[..., None] * base ** (torch.arange(0, d, 2) / d))


@mistake("sinusoidal", says="`base` is ignored: it is 10,000 whatever is asked for.")
def base_is_fixed(positions, d, base=10_000.0):
    return _weave(positions[..., None] * _series(d, 10_000.0))


@mistake("sinusoidal", says="The given positions are ignored: row t of a tensor need not be token t of a text.")
def counts_rows(positions, d, base=10_000.0):
    counted = torch.arange(positions.shape[-1] if positions.ndim else 1).expand(positions.shape)
    return _weave(counted[..., None] * _series(d, base))


@mistake("sinusoidal", says="float16 comes out: its 11 bits keep three digits of each number; float32 is wanted.")
def sinusoidal_in_float16(positions, d, base=10_000.0):
    return _weave(positions[..., None] * _series(d, base)).half()


# ---- learned


@mistake("learned", says="Position -1 takes the last row of the table, silently: Python counts from the end.")
def wraps_around(table, positions):
    if (positions >= len(table)).any():
        raise ValueError(f"position {int(positions.max())} was never trained")
    return table[positions]


@mistake(
    "learned", says="Positions past the end share the last row (clamp): no error, and the model cannot tell them apart."
)
def clamps(table, positions):
    return table[positions.clamp(0, len(table) - 1)]


@mistake("learned", says="Positions past the end start again from row 0 (%): no error, and two tokens claim one place.")
def modulo(table, positions):
    return table[positions % len(table)]


@mistake("learned", says="What is raised is Python's IndexError; ValueError with the position in it was asked for.")
def index_error(table, positions):
    if (positions < 0).any():
        raise ValueError(f"position {int(positions.min())} is negative")
    return table[positions]


@mistake("learned", says="Off by one: position n is let through, but the last row of n is n - 1.")
def off_by_one(table, positions):
    for p in positions.flatten().tolist():
        if p < 0 or p > len(table):
            raise ValueError(f"position {p} was never trained")
    return torch.cat([table, table[-1:]])[positions]


@mistake("learned", says="The message does not name the position, so nobody learns how far too long the text was.")
def nameless(table, positions):
    if (positions < 0).any() or (positions >= len(table)).any():
        raise ValueError("the text is too long")
    return table[positions]


@mistake("learned", says="The table is detached, so its rows are never trained.")
def detached_table(table, positions):
    _refuse(table, positions)
    return table.detach()[positions] + 0 * table.sum()


@mistake("learned", says="The first rows of the table are returned; the given positions are ignored.")
def first_rows(table, positions):
    _refuse(table, positions)
    return table[: positions.shape[-1]].expand(*positions.shape, -1)


# ---- rope_angles


@mistake(
    "rope_angles",
    of="frequencies",
    says="The exponent is i/head_dim and not 2i/head_dim: only half of the range is used.",
)
def rope_half_the_exponent(head_dim, theta=10_000.0):
    _even(head_dim)
    return theta ** (-torch.arange(head_dim // 2) / head_dim)


@mistake(
    "rope_angles",
    of="frequencies",
    says="One frequency for each coordinate; there is one for each pair, head_dim / 2 of them.",
)
def rope_one_a_coordinate(head_dim, theta=10_000.0):
    _even(head_dim)
    return theta ** (-torch.arange(head_dim) / head_dim)


@mistake("rope_angles", of="frequencies", says="The sign of the exponent is lost: pairs get faster and faster.")
def rope_faster(head_dim, theta=10_000.0):
    _even(head_dim)
    return theta ** (torch.arange(0, head_dim, 2) / head_dim)


@mistake(
    "rope_angles",
    of="frequencies",
    says="theta is ignored: it is 10,000 whatever is asked for, and Llama 3 has 500,000.",
)
def rope_theta_is_fixed(head_dim, theta=10_000.0):
    _even(head_dim)
    return _series(head_dim, 10_000.0)


@mistake(
    "rope_angles",
    of="frequencies",
    says="The slowest pair turns by exactly 1/theta: the steps are 2/(head_dim - 2) wide and should be 2/head_dim.",
)
def rope_down_to_theta(head_dim, theta=10_000.0):
    _even(head_dim)
    return theta ** -torch.linspace(0, 1, head_dim // 2)


@mistake(
    "rope_angles", of="frequencies", says="An odd head_dim is let through: one coordinate has nobody to turn with."
)
def rope_odd(head_dim, theta=10_000.0):
    return _series(head_dim, theta)


@mistake(
    "rope_angles",
    of="frequencies",
    says="float64 comes out, as NumPy and Python count; float32 is wanted, and all that is computed from it doubles.",
)
def rope_frequencies_in_float64(head_dim, theta=10_000.0):
    _even(head_dim)
    return theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)


@mistake(
    "rope_angles",
    of="rope_angles",
    says="The given positions are ignored: a cached or left-padded token stands elsewhere than its row.",
)
def rope_counts_rows(positions, turn):
    return (torch.arange(positions.shape[-1])[:, None] * turn).expand(*positions.shape, -1)


@mistake(
    "rope_angles",
    of="rope_angles",
    says="Positions are counted from the first one given: a chunk of a text begins at 0 again.",
)
def rope_from_the_first(positions, turn):
    return (positions - positions[..., :1])[..., None] * turn


@mistake(
    "rope_angles",
    of="rope_angles",
    says="Positions go through float16 or bfloat16, where large whole numbers are rounded.",
)
def rope_positions_in_bf16(positions, turn):
    return positions.to(torch.bfloat16).float()[..., None] * turn


@mistake(
    "rope_angles",
    of="rope_angles",
    says="The angles come out in bfloat16: with 8 bits, an angle of 300 radians is off by as much as one.",
)
def rope_angles_in_bf16(positions, turn):
    return (positions[..., None] * turn).to(torch.bfloat16)


@mistake("rope_angles", of="rope_angles", says="The cosines are returned; angles were asked for.")
def rope_returns_cosines(positions, turn):
    return (positions[..., None] * turn).cos()


@mistake("rope_angles", of="rope_angles", says="Counted from 1: the first token is turned already.")
def rope_from_one(positions, turn):
    return (positions + 1)[..., None] * turn


# ---- rotate_adjacent


@mistake("rotate_adjacent", says="Turned the wrong way round: the signs of the two sines are swapped.")
def adjacent_backwards(x, angles):
    return _adjacent(x, -angles)


@mistake("rotate_adjacent", says="Both sines have the same sign: that is no rotation, and norms change.")
def adjacent_both_plus(x, angles):
    cos, sin = _cos_sin(angles)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos + b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


@mistake("rotate_adjacent", says="The halves are turned together (rotate_half): the same formula for other pairs.")
def adjacent_by_halves(x, angles):
    return _half(x, angles)


@mistake(
    "rotate_adjacent",
    says="The right pairs are turned, but the results are put back as two halves and not side by side.",
)
def adjacent_not_woven(x, angles):
    cos, sin = _cos_sin(angles)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


@mistake("rotate_adjacent", says="The second coordinate is computed from the first one's new value.")
def adjacent_uses_the_new_value(x, angles):
    cos, sin = _cos_sin(angles)
    a = x[..., 0::2] * cos - x[..., 1::2] * sin
    return torch.stack([a, a * sin + x[..., 1::2] * cos], dim=-1).flatten(-2).to(x.dtype)


@mistake(
    "rotate_adjacent", says="The angles lack an axis for the heads: each head, not each row, gets its own positions."
)
def adjacent_no_head_axis(x, angles):
    cos, sin = angles.cos(), angles.sin()
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


@mistake(
    "rotate_adjacent", says="The angles are rounded to the dtype of x: in bfloat16, a large angle is off by radians."
)
def adjacent_angles_in_bf16(x, angles):
    return _adjacent(x, angles.to(x.dtype))


@mistake(
    "rotate_adjacent", says="float32 comes out whatever goes in: the cache and the products behind it double in size."
)
def adjacent_float32_out(x, angles):
    return _adjacent(x.float(), angles)


@mistake("rotate_adjacent", says="x is turned in place: your function changes its caller's tensor.")
def adjacent_in_place(x, angles):
    with torch.no_grad():
        x.copy_(_adjacent(x, angles))
    return _adjacent(_adjacent(x, -angles), angles)


# ---- rotate_half


@mistake("rotate_half", says="Turned the wrong way round: the signs of the two sines are swapped.")
def half_backwards(x, angles):
    return _half(x, -angles)


@mistake("rotate_half", says="Adjacent coordinates are turned together: the same formula for other pairs.")
def half_by_neighbours(x, angles):
    return _adjacent(x, angles)


@mistake("rotate_half", says="The halves are turned, but the results are woven together and not put back as halves.")
def half_woven(x, angles):
    cos, sin = _cos_sin(angles)
    a, b = x.chunk(2, dim=-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


@mistake(
    "rotate_half",
    says="Neighbours are turned together and only the results are put back as halves; coordinate i belongs to i + dh/2.",
)
def half_takes_neighbours_apart(x, angles):
    cos, sin = _cos_sin(angles)
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


@mistake(
    "rotate_half",
    says="cos and sin are laid out for neighbours (repeat_interleave): for halves the angles come once, then all again (cat).",
)
def half_with_repeated_angles(x, angles):
    cos, sin = (f.repeat_interleave(2, dim=-1)[..., None, :, :] for f in (angles.cos(), angles.sin()))
    a, b = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-b, a], dim=-1) * sin).to(x.dtype)


@mistake("rotate_half", says="Both halves get the same sign: (b, a) in place of (-b, a). That is no rotation.")
def half_both_plus(x, angles):
    cos, sin = _cos_sin(angles)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos + b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


@mistake("rotate_half", says="The angles lack an axis for the heads: each head, not each row, gets its own positions.")
def half_no_head_axis(x, angles):
    cos, sin = angles.cos(), angles.sin()
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


@mistake("rotate_half", says="The angles are rounded to the dtype of x: in bfloat16, a large angle is off by radians.")
def half_angles_in_bf16(x, angles):
    return _half(x, angles.to(x.dtype))


@mistake("rotate_half", says="float32 comes out whatever goes in: the cache and the products behind it double in size.")
def half_float32_out(x, angles):
    return _half(x.float(), angles)


@mistake("rotate_half", says="x is turned in place: your function changes its caller's tensor.")
def half_in_place(x, angles):
    with torch.no_grad():
        x.copy_(_half(x, angles))
    return _half(_half(x, -angles), angles)


# ---- to_half


@mistake("to_half", says="That is the way back: it turns rows for halves into rows for neighbours.")
def to_adjacent(weight, n_heads):
    dh = len(weight) // n_heads
    return weight.unflatten(0, (n_heads, 2, dh // 2)).transpose(1, 2).flatten(0, 2)


@mistake("to_half", says="All rows are split at once, as if there were one head: coordinates wander into other heads.")
def across_heads(weight, n_heads):
    return torch.cat([weight[0::2], weight[1::2]])


@mistake("to_half", says="The heads are taken for the innermost axis: rows of one head lie next to each other.")
def heads_inside(weight, n_heads):
    dh = len(weight) // n_heads
    return weight.unflatten(0, (dh // 2, 2, n_heads)).transpose(0, 1).flatten(0, 2)


@mistake("to_half", says="The second coordinates of the pairs come first: q·k stays, but pairs turn the wrong way.")
def second_first(weight, n_heads):
    dh = len(weight) // n_heads
    return weight.unflatten(0, (n_heads, dh // 2, 2)).flip(2).transpose(1, 2).flatten(0, 2)


@mistake("to_half", says="The columns are reordered; W has one *row* for each coordinate of q (nn.Linear is x Wᵀ).")
def columns(weight, n_heads):
    if weight.ndim == 1:
        return _permuted(weight, n_heads)
    d = weight.shape[1]
    return weight[:, [*range(0, d, 2), *range(1, d, 2)]]


@mistake("to_half", says="Nothing is reordered: a checkpoint in the wrong layout runs without an error, and worse.")
def as_it_is(weight, n_heads):
    return weight.clone()


@mistake("to_half", says="Only matrices are handled: a bias (Qwen 2 has one on q and k) must be reordered, too.")
def matrices_only(weight, n_heads):
    dh = len(weight) // n_heads
    return weight.view(n_heads, dh // 2, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


# ---- alibi_slopes


@mistake("alibi_slopes", says="2^-(h+1) for every number of heads; that is right for 8 heads only.")
def slopes_for_eight(n_heads):
    return torch.tensor([2.0 ** -(h + 1) for h in range(n_heads)])


@mistake("alibi_slopes", says="The series begins with 1 (h from 0): all slopes are one step too steep.")
def slopes_from_one(n_heads):
    return torch.tensor(_slopes(n_heads, first=0))


@mistake(
    "alibi_slopes", says="The series for powers of two, 2^(-8h/n), is taken for every n; other n have another rule."
)
def slopes_for_any_number(n_heads):
    return torch.tensor(_series_of_slopes(n_heads))


@mistake(
    "alibi_slopes", says="The missing slopes are the second, fourth … of the longer series: those are there already."
)
def slopes_twice(n_heads):
    return torch.tensor(_slopes(n_heads, offset=1))


@mistake(
    "alibi_slopes", says="The larger power of two is taken, and its first n slopes: all the gentle ones are missing."
)
def slopes_of_the_larger(n_heads):
    m = 1 << (n_heads - 1).bit_length()
    return torch.tensor(_series_of_slopes(m)[:n_heads])


@mistake("alibi_slopes", says="Sorted by size: in the authors' code the extra slopes stand behind the others.")
def slopes_sorted(n_heads):
    return torch.tensor(sorted(_slopes(n_heads), reverse=True))


@mistake(
    "alibi_slopes",
    says="The extra slopes stand in front of those of the smaller power of two; they belong behind them.",
)
def slopes_extra_in_front(n_heads):
    m = 1 << (n_heads.bit_length() - 1)
    return torch.tensor([*_slopes(n_heads)[m:], *_slopes(n_heads)[:m]])


@mistake(
    "alibi_slopes",
    says="The missing slopes are taken in a row from the longer series; every second one ([::2]) is wanted, as the others are there already.",
)
def slopes_not_every_second(n_heads):
    m = 1 << (n_heads.bit_length() - 1)
    return torch.tensor([*_series_of_slopes(m), *_series_of_slopes(2 * m)[: n_heads - m]])


# ---- alibi_bias


@mistake("alibi_bias", says="The sign is wrong: distant keys get a bonus, near ones do not.")
def bias_as_a_bonus(slopes, queries, keys):
    return _bias(slopes, queries, keys, sign=1)


@mistake("alibi_bias", says="Later keys are not hidden: -slope · (a negative distance) even gives them a bonus.")
def bias_without_a_mask(slopes, queries, keys):
    return -slopes[:, None, None] * _distance(queries, keys)


@mistake(
    "alibi_bias", says="|distance| for later keys: they are lowered, not hidden, and the model reads its own answers."
)
def bias_both_ways(slopes, queries, keys):
    return -slopes[:, None, None] * _distance(queries, keys).abs()


@mistake(
    "alibi_bias",
    says="Later keys get 0: that is no penalty at all, and above what any key of the past has. They must become -inf.",
)
def bias_hides_with_zero(slopes, queries, keys):
    d = _distance(queries, keys)
    return (-slopes[:, None, None] * d).masked_fill(d < 0, 0.0)


@mistake(
    "alibi_bias",
    says="Later keys get -1e9 and not -inf: where no key is left to look at, softmax hands out weights all the same.",
)
def bias_hides_with_a_number(slopes, queries, keys):
    d = _distance(queries, keys)
    return (-slopes[:, None, None] * d).masked_fill(d < 0, -1e9)


@mistake("alibi_bias", says="A key at the query's own position is hidden: every token may look at itself.")
def bias_hides_itself(slopes, queries, keys):
    d = _distance(queries, keys)
    return (-slopes[:, None, None] * d).masked_fill(d <= 0, -INF)


@mistake("alibi_bias", says="Rows and columns are counted; positions are given, and with a cache the two differ.")
def bias_counts_rows(slopes, queries, keys):
    q, k = (torch.arange(x.shape[-1]).expand(x.shape) for x in (queries, keys))
    return _bias(slopes, q, k)


@mistake("alibi_bias", says="Queries stand in the columns and keys in the rows: scores are (T, S).")
def bias_transposed(slopes, queries, keys):
    return _bias(slopes, queries, keys).mT


@mistake(
    "alibi_bias", says="The axis of the slopes meets the batch, not the heads: each row of the batch has one slope."
)
def bias_slopes_on_the_batch(slopes, queries, keys):
    if queries.ndim == 1:
        return _bias(slopes, queries, keys)
    d = _distance(queries, keys)
    out = -slopes[: len(d), None, None, None] * d
    return out.masked_fill(d < 0, -INF).expand(-1, len(slopes), -1, -1)


# ---- interpolate


@mistake(
    "interpolate", says="Multiplied: the pairs turn faster, and the text reaches angles that are even further away."
)
def multiplied(turn, factor):
    return turn * factor


@mistake(
    "interpolate",
    says="Only the slow pairs are divided: that is nearer to YaRN. Position interpolation slows all of them.",
)
def all_but_the_first(turn, factor):
    return torch.cat([turn[:1], turn[1:] / factor])


@mistake("interpolate", says="The given frequencies are divided in place: the next call divides them again.")
def divided_in_place(turn, factor):
    turn /= factor
    return turn


@mistake("interpolate", says="The factor is rounded to a whole number.")
def whole_factors(turn, factor):
    return turn / int(factor)


# ---- ntk


@mistake(
    "ntk", says="theta · factor, without the exponent head_dim/(head_dim - 2): the slowest pair is not slowed enough."
)
def ntk_without_exponent(head_dim, theta, factor):
    return _series(head_dim, theta * factor)


@mistake("ntk", says="The exponent is upside down: (head_dim - 2)/head_dim.")
def ntk_exponent_upside_down(head_dim, theta, factor):
    return _series(head_dim, theta * factor ** ((head_dim - 2) / head_dim))


@mistake("ntk", says="Every pair is divided by factor: that is position interpolation.")
def ntk_interpolates(head_dim, theta, factor):
    return _series(head_dim, theta) / factor


@mistake("ntk", says="The power covers theta, too: (theta · factor)^(d/(d-2)).")
def ntk_power_of_all(head_dim, theta, factor):
    return _series(head_dim, (theta * factor) ** (head_dim / (head_dim - 2)))


@mistake("ntk", says="theta is divided: the pairs turn faster.")
def ntk_divides(head_dim, theta, factor):
    return _series(head_dim, theta / factor ** (head_dim / (head_dim - 2)))


@mistake("ntk", says="d is taken for the number of pairs: head_dim/2 stands where head_dim should.")
def ntk_with_pairs(head_dim, theta, factor):
    half = head_dim // 2
    return _series(head_dim, theta * factor ** (half / (half - 1.5)))


# ---- yarn


@mistake("yarn", says="The ramp is the wrong way round: fast pairs are divided and slow ones kept.")
def yarn_upside_down(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, beta_fast, beta_slow, share=lambda s: 1 - s)


@mistake("yarn", says="beta_fast and beta_slow are swapped: the ramp begins where it should end, and falls.")
def yarn_betas_swapped(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, beta_slow, beta_fast)


@mistake("yarn", says="No ramp: a pair is either kept or divided.")
def yarn_without_ramp(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, beta_fast, beta_slow, share=lambda s: (s >= 0.5).float())


@mistake("yarn", says="The ends of the ramp are not rounded to whole pairs (⌊first⌋, ⌈last⌉).")
def yarn_ends_not_rounded(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, beta_fast, beta_slow, down=float, up=float)


@mistake(
    "yarn",
    says="The ramp runs over the number of turns, as the paper's equation has it; the authors' code, and every checkpoint, runs it over the pairs.",
)
def yarn_ramp_over_turns(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    turn = _series(head_dim, theta)
    keep = ((original * turn / (2 * math.pi) - beta_slow) / (beta_fast - beta_slow)).clamp(0, 1)
    return keep * turn + (1 - keep) * turn / factor, 0.1 * math.log(factor) + 1


@mistake("yarn", says="The 2π is missing: turns are counted in radians.")
def yarn_without_two_pi(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original * 2 * math.pi, beta_fast, beta_slow)


@mistake("yarn", says="The 2 of 2 ln theta is missing: c(n) is a coordinate then, and the ramp runs over pairs.")
def yarn_pairs_and_coordinates(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, beta_fast, beta_slow, scale=2)


@mistake("yarn", says="The mixture is of wavelengths, 1/turn; of frequencies it must be.")
def yarn_mixes_wavelengths(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    turn, s = _series(head_dim, theta), _share(head_dim, theta, original, beta_fast, beta_slow)
    return 1 / ((1 - s) / turn + s * factor / turn), 0.1 * math.log(factor) + 1


@mistake("yarn", says="The stretched context, original · factor, is used to count the turns; the trained one counts.")
def yarn_counts_in_the_long_context(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original * factor, beta_fast, beta_slow)


@mistake("yarn", says="beta_fast and beta_slow are ignored.")
def yarn_fixed_bounds(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, 32.0, 1.0)


@mistake("yarn", says="A ramp that begins before pair 0 is not cut off there, so it rises less steeply.")
def yarn_begins_below_zero(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, beta_fast, beta_slow, least=-INF)


@mistake(
    "yarn",
    says="The ramp is made to end at the last pair. With a small theta even that pair turns more than once, and is not divided by all of factor.",
)
def yarn_ends_at_the_last_pair(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(
        head_dim, theta, factor, original, beta_fast, beta_slow, up=lambda c: min(math.ceil(c), head_dim // 2 - 1)
    )


@mistake("yarn", says="The share is not held between 0 and 1: beyond the ramp it goes on rising.")
def yarn_no_clamp(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    turn = _series(head_dim, theta)
    s = _share(head_dim, theta, original, beta_fast, beta_slow, clamp=False)
    return (1 - s) * turn + s * turn / factor, 0.1 * math.log(factor) + 1


@mistake("yarn", says="The factor on q and k is left at 1: attention over a longer text gets too even.")
def yarn_without_temperature(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, beta_fast, beta_slow)[0], 1.0


@mistake("yarn", says="log10 for ln in the factor on q and k.")
def yarn_log10(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    return _yarn(head_dim, theta, factor, original, beta_fast, beta_slow)[0], 0.1 * math.log10(factor) + 1


@mistake("yarn", says="The factor is that of the scores, squared; q and k each get its root, 0.1 · ln(factor) + 1.")
def yarn_factor_squared(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    turn, strength = _yarn(head_dim, theta, factor, original, beta_fast, beta_slow)
    return turn, strength**2


# ---- the same mistakes in other words: each must be caught, and named as the one it is


@alike("sines_then_cosines")
def fills_two_halves(positions, d, base=10_000.0):
    out = torch.zeros(*positions.shape, d)
    for i in range(d // 2):
        out[..., i] = torch.sin(positions / base ** (2 * i / d))
        out[..., d // 2 + i] = torch.cos(positions / base ** (2 * i / d))
    return out


@alike("half_the_exponent")
def loops_with_i_over_d(positions, d, base=10_000.0):
    out = torch.zeros(*positions.shape, d)
    for i in range(d // 2):
        out[..., 2 * i] = torch.sin(positions / base ** (i / d))
        out[..., 2 * i + 1] = torch.cos(positions / base ** (i / d))
    return out


@alike("wraps_around")
def index_select_after_a_check(table, positions):
    for p in positions.flatten().tolist():
        if p > len(table) - 1:
            raise ValueError(f"there is no position {p}")
    return torch.stack([table[p] for p in positions.flatten().tolist()]).reshape(*positions.shape, -1)


@alike("rope_half_the_exponent")
def list_with_i_over_head_dim(head_dim, theta=10_000.0):
    _even(head_dim)
    return torch.tensor([1 / theta ** (i / head_dim) for i in range(head_dim // 2)])


@alike("adjacent_backwards")
def multiplies_by_the_conjugate(x, angles):
    z = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    turn = torch.polar(torch.ones_like(angles), -angles)[..., None, :, :]
    return torch.view_as_real(z * turn).flatten(-2).to(x.dtype)


@alike("adjacent_by_halves")
def neox_in_place_of_gptj(x, angles):
    cos, sin = (torch.cat([f, f], dim=-1)[..., None, :, :] for f in (angles.cos(), angles.sin()))
    middle = x.shape[-1] // 2
    return (x * cos + torch.cat([-x[..., middle:], x[..., :middle]], dim=-1) * sin).to(x.dtype)


@alike("adjacent_angles_in_bf16")
def cos_of_a_rounded_angle(x, angles):
    cos, sin = (f[..., None, :, :].repeat_interleave(2, -1) for f in (angles.type_as(x).cos(), angles.type_as(x).sin()))
    crossed = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * cos + crossed * sin


@alike("half_backwards")
def swaps_the_minus(x, angles):
    cos, sin = (torch.cat([f, f], dim=-1).unsqueeze(-3) for f in (angles.cos(), angles.sin()))
    middle = x.shape[-1] // 2
    return (x * cos + torch.cat([x[..., middle:], -x[..., :middle]], dim=-1) * sin).to(x.dtype)


@alike("half_by_neighbours")
def complex_neighbours(x, angles):
    z = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(z * torch.polar(torch.ones_like(angles), angles).unsqueeze(-3)).flatten(-2).to(x.dtype)


@alike("half_takes_neighbours_apart")
def complex_neighbours_put_back_as_halves(x, angles):
    z = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    z = z * torch.polar(torch.ones_like(angles), angles).unsqueeze(-3)
    return torch.cat([z.real, z.imag], dim=-1).to(x.dtype)


@alike("to_adjacent")
def weaves_the_halves(weight, n_heads):
    dh = len(weight) // n_heads
    order = [h * dh + i + s * dh // 2 for h in range(n_heads) for i in range(dh // 2) for s in (0, 1)]
    return weight[order]


@alike("across_heads")
def one_list_for_all_heads(weight, n_heads):
    return weight[sorted(range(len(weight)), key=lambda r: (r % 2, r))]


@alike("slopes_for_any_number")
def one_ratio_for_any_number(n_heads):
    ratio = 2 ** (-8 / n_heads)
    return ratio ** torch.arange(1, n_heads + 1)


@alike("slopes_extra_in_front")
def authors_sum_turned_round(n_heads):
    m = 2 ** math.floor(math.log2(n_heads))
    extra = 2.0 ** (-4 * torch.arange(1, 2 * m, 2) / m)
    return torch.cat([extra[: n_heads - m], 2.0 ** (-8 * torch.arange(1, m + 1) / m)])


@alike("slopes_not_every_second")
def authors_sum_without_a_stride(n_heads):
    m = 2 ** math.floor(math.log2(n_heads))
    first, longer = (2.0 ** (-8 * torch.arange(1, n + 1) / n) for n in (m, 2 * m))
    return torch.cat([first, longer])[:n_heads]


@alike("bias_hides_with_zero")
def no_distance_below_zero(slopes, queries, keys):
    distance = (queries[..., :, None] - keys[..., None, :]).clamp(min=0)
    return -slopes.view(-1, 1, 1) * distance.unsqueeze(-3)


@alike("bias_hides_with_a_number")
def adds_a_large_number(slopes, queries, keys):
    after = (keys[..., None, :] - queries[..., :, None]).unsqueeze(-3)
    return after * slopes.view(-1, 1, 1) + torch.where(after > 0, -1e9, 0.0)


@alike("bias_without_a_mask")
def key_minus_query(slopes, queries, keys):
    return torch.einsum("h,...ts->...hts", slopes, (keys[..., None, :] - queries[..., :, None]).float())


@alike("multiplied")
def times_the_factor(turn, factor):
    return torch.tensor([factor * t for t in turn.tolist()])


@alike("ntk_without_exponent")
def scales_the_base(head_dim, theta, factor):
    return torch.tensor([(theta * factor) ** (-2 * i / head_dim) for i in range(head_dim // 2)])


@alike("yarn_upside_down")
def swaps_the_mixture(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    turn, s = _series(head_dim, theta), _share(head_dim, theta, original, beta_fast, beta_slow)
    return torch.lerp(turn / factor, turn, s), 0.1 * math.log(factor) + 1


@alike("yarn_betas_swapped")
def correction_range_with_the_slow_one_first(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    low, high = (
        head_dim * math.log(original / (2 * math.pi * n)) / math.log(theta) / 2 for n in (beta_slow, beta_fast)
    )
    low, high = max(math.floor(low), 0), math.ceil(high)
    keep = 1 - ((torch.arange(head_dim // 2) - low) / (high - low)).clip(0, 1)
    turn = _series(head_dim, theta)
    return turn * keep + turn / factor * (1 - keep), 1 + math.log(factor) / 10


@alike("yarn_ramp_over_turns")
def paper_equation_in_a_loop(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    out = []
    for i in range(head_dim // 2):
        wavelength = 2 * math.pi * theta ** (2 * i / head_dim)
        gamma = min(1.0, max(0.0, (original / wavelength - beta_slow) / (beta_fast - beta_slow)))
        out.append((1 - gamma) * 2 * math.pi / wavelength / factor + gamma * 2 * math.pi / wavelength)
    return torch.tensor(out), 0.1 * math.log(factor) + 1


# ---- the parts they share


def _series(d, base):
    return base ** (-torch.arange(0, d, 2) / d)


def _weave(angle):
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)


def _refuse(table, positions):
    for p in positions.flatten().tolist():
        if not 0 <= p < len(table):
            raise ValueError(f"position {p} was never trained")


def _even(head_dim):
    if head_dim % 2:
        raise ValueError(f"head_dim {head_dim} is odd")


def _cos_sin(angles):
    return angles.cos()[..., None, :, :], angles.sin()[..., None, :, :]


def _adjacent(x, angles):
    cos, sin = _cos_sin(angles)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


def _half(x, angles):
    cos, sin = _cos_sin(angles)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


def _permuted(weight, n_heads):
    dh = len(weight) // n_heads
    return weight.unflatten(0, (n_heads, dh // 2, 2)).transpose(1, 2).flatten(0, 2)


def _series_of_slopes(n, first=1):
    return [2 ** (-8 * (h + first) / n) for h in range(n)]


def _slopes(n, first=1, offset=0):
    m = 1 << (n.bit_length() - 1)
    return [*_series_of_slopes(m, first), *_series_of_slopes(2 * m, first)[offset::2]][:n]


def _distance(queries, keys):
    return queries[..., None, :, None] - keys[..., None, None, :]


def _bias(slopes, queries, keys, sign=-1):
    d = _distance(queries, keys)
    return (sign * slopes[:, None, None] * d).masked_fill(d < 0, -INF)


def _share(head_dim, theta, original, fast, slow, down=math.floor, up=math.ceil, least=0, scale=1, clamp=True):
    def c(n):
        return scale * head_dim * math.log(original / (2 * math.pi * n)) / (2 * math.log(theta))

    first, last = max(least, down(c(fast))), up(c(slow))
    s = (torch.arange(head_dim // 2) - first) / (last - first)
    return s.clamp(0, 1) if clamp else s


def _yarn(head_dim, theta, factor, original, fast, slow, share=lambda s: s, **ends):
    turn, s = _series(head_dim, theta), share(_share(head_dim, theta, original, fast, slow, **ends))
    return (1 - s) * turn + s * turn / factor, 0.1 * math.log(factor) + 1
