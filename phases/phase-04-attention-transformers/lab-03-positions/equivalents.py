"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import math

import numpy as np
import torch

from labkit.spec import equivalent

# ---- sinusoidal


@equivalent("sinusoidal")
def in_loops(positions, d, base=10_000.0):
    rows = []
    for p in positions.flatten().tolist():
        row = []
        for i in range(0, d, 2):
            row += [math.sin(p / base ** (i / d)), math.cos(p / base ** (i / d))]
        rows.append(row)
    return torch.tensor(rows).reshape(*positions.shape, d)


@equivalent("sinusoidal")
def fills_even_and_odd(positions, d, base=10_000.0):
    out = torch.empty(*positions.shape, d)
    angle = positions.double().unsqueeze(-1) * torch.exp(torch.arange(0, d, 2).double() * (-math.log(base) / d))
    out[..., 0::2], out[..., 1::2] = torch.sin(angle).float(), torch.cos(angle).float()
    return out


@equivalent("sinusoidal")
def a_shifted_sine(positions, d, base=10_000.0):
    coordinate = torch.arange(d)
    angle = positions.double()[..., None] / base ** ((coordinate - coordinate % 2) / d)
    return torch.sin(angle + coordinate % 2 * math.pi / 2).float()


# ---- learned


@equivalent("learned")
def embedding(table, positions):
    if positions.min() < 0 or positions.max() >= len(table):
        wrong = positions.min() if positions.min() < 0 else positions.max()
        raise ValueError(f"{wrong.item()} is not one of {len(table)} positions")
    return torch.nn.functional.embedding(positions, table)


@equivalent("learned")
def one_hot_product(table, positions):
    hot = (positions[..., None] == torch.arange(len(table))).to(table.dtype)
    for p, row in zip(positions.flatten().tolist(), hot.reshape(-1, len(table)), strict=True):
        if not row.any():
            raise ValueError(f"no row for position {p}")
    return hot @ table


@equivalent("learned")
def row_by_row(table, positions):
    rows = []
    for p in positions.reshape(-1).tolist():
        if p not in range(len(table)):
            raise ValueError(p)
        rows.append(table[p])
    return torch.stack(rows).view(*positions.shape, table.shape[1])


# ---- rope_angles


@equivalent("rope_angles", of="frequencies")
def one_over_a_power(head_dim, theta=10_000.0):
    if head_dim % 2 == 1:
        raise ValueError("odd")
    return 1.0 / (theta ** (torch.arange(0, head_dim, 2).float() / head_dim))


@equivalent("rope_angles", of="frequencies")
def by_repeated_products(head_dim, theta=10_000.0):
    half, rest = divmod(head_dim, 2)
    if rest:
        raise ValueError(f"{head_dim} coordinates cannot be paired")
    out = [1.0]
    while len(out) < half:
        out.append(out[-1] * theta ** (-2 / head_dim))
    return torch.tensor(out)


@equivalent("rope_angles", of="frequencies")
def through_logarithms(head_dim, theta=10_000.0):
    half = torch.arange(head_dim / 2, dtype=torch.float64)
    if len(half) * 2 != head_dim:
        raise ValueError(head_dim)
    return torch.exp(-half * math.log(theta) * 2 / head_dim).float()


@equivalent("rope_angles", of="rope_angles")
def einsum(positions, turn):
    return torch.einsum("...t,h->...th", positions.float(), turn)


@equivalent("rope_angles", of="rope_angles")
def outer_products(positions, turn):
    return torch.outer(positions.reshape(-1).to(turn.dtype), turn).view(*positions.shape, len(turn))


@equivalent("rope_angles", of="rope_angles")
def float64_inside(positions, turn):
    return (positions.double().unsqueeze(-1) * turn.double()).float()


# ---- rotate_adjacent


@equivalent("rotate_adjacent")
def complex_numbers(x, angles):
    z = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(z * torch.polar(torch.ones_like(angles), angles).unsqueeze(-3)).flatten(-2).type_as(x)


@equivalent("rotate_adjacent")
def crossed_and_repeated(x, angles):
    cos, sin = (f.repeat_interleave(2, dim=-1).unsqueeze(-3) for f in (angles.cos(), angles.sin()))
    crossed = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).reshape(x.shape)
    return (x * cos + crossed * sin).to(x.dtype)


@equivalent("rotate_adjacent")
def two_by_two_matrices(x, angles):
    c, s = angles.cos(), angles.sin()
    matrix = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)[..., None, :, :, :, :]
    return (matrix @ x.float().unflatten(-1, (-1, 2))[..., None]).squeeze(-1).flatten(-2).to(x.dtype)


@equivalent("rotate_adjacent")
def arithmetic_in_the_dtype_of_x(x, angles):
    cos, sin = angles.cos().to(x.dtype).unsqueeze(-3), angles.sin().to(x.dtype).unsqueeze(-3)
    out = torch.empty_like(x)
    out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
    return out


# ---- rotate_half


@equivalent("rotate_half")
def as_hugging_face_has_it(x, angles):
    both = torch.cat([angles, angles], dim=-1)
    cos, sin = both.cos().to(x.dtype).unsqueeze(-3), both.sin().to(x.dtype).unsqueeze(-3)
    middle = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., middle:], x[..., :middle]), dim=-1) * sin


@equivalent("rotate_half")
def complex_halves(x, angles):
    middle = x.shape[-1] // 2
    z = torch.complex(x[..., :middle].float(), x[..., middle:].float()) * torch.exp(1j * angles)[..., None, :, :]
    return torch.cat([z.real, z.imag], dim=-1).to(x.dtype)


@equivalent("rotate_half")
def pair_by_pair(x, angles):
    half, columns = angles.shape[-1], [None] * x.shape[-1]
    for i in range(half):
        c, s = torch.cos(angles[..., i])[..., None, :], torch.sin(angles[..., i])[..., None, :]
        columns[i] = x[..., i] * c - x[..., i + half] * s
        columns[i + half] = x[..., i] * s + x[..., i + half] * c
    return torch.stack(columns, dim=-1).to(x.dtype)


# ---- to_half


@equivalent("to_half")
def as_the_conversion_script(weight, n_heads):
    flat = weight.reshape(len(weight), -1)
    rows, columns = flat.shape
    return flat.view(n_heads, rows // n_heads // 2, 2, columns).transpose(1, 2).reshape(weight.shape)


@equivalent("to_half")
def a_list_of_rows(weight, n_heads):
    dh = len(weight) // n_heads
    order = [h * dh + r for h in range(n_heads) for r in (*range(0, dh, 2), *range(1, dh, 2))]
    return weight[order]


@equivalent("to_half")
def head_by_head(weight, n_heads):
    return torch.cat([torch.cat([head[::2], head[1::2]]) for head in weight.chunk(n_heads)])


@equivalent("to_half")
def permutation_matrix(weight, n_heads):
    dh = len(weight) // n_heads
    one = np.zeros((dh, dh))
    for new in range(dh):
        one[new, 2 * new if new < dh // 2 else 2 * (new - dh // 2) + 1] = 1
    return torch.tensor(np.kron(np.eye(n_heads), one)).to(weight.dtype) @ weight


# ---- alibi_slopes


@equivalent("alibi_slopes")
def as_the_authors_have_it(n_heads):
    def powers(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    def slopes(n):
        if math.log2(n).is_integer():
            return powers(n)
        m = 2 ** math.floor(math.log2(n))
        return powers(m) + slopes(2 * m)[0::2][: n - m]

    return torch.tensor(slopes(n_heads))


@equivalent("alibi_slopes")
def tensors_and_bits(n_heads):
    m = 1 << (n_heads.bit_length() - 1)
    whole = 2 ** (-8 * torch.arange(1, m + 1) / m)
    extra = 2 ** (-4 * (2 * torch.arange(n_heads - m) + 1) / m)
    return torch.cat([whole, extra])


# ---- alibi_bias


@equivalent("alibi_bias")
def where(slopes, queries, keys):
    q, k = queries.unsqueeze(-1), keys.unsqueeze(-2)
    bias = slopes.view(-1, 1, 1) * (k - q).unsqueeze(-3)
    return torch.where((k <= q).unsqueeze(-3), bias, torch.tensor(-math.inf))


@equivalent("alibi_bias")
def head_after_head(slopes, queries, keys):
    distance = (queries[..., None] - keys[..., None, :]).float()
    hidden = torch.zeros(distance.shape)
    hidden[distance < 0] = -math.inf
    return torch.stack([hidden - s * distance.clamp(min=0) for s in slopes.tolist()], dim=-3)


# ---- interpolate


@equivalent("interpolate")
def times_the_inverse(turn, factor):
    return turn * (1 / factor)


@equivalent("interpolate")
def one_by_one(turn, factor):
    return torch.tensor([float(t) / factor for t in turn])


# ---- ntk


@equivalent("ntk")
def from_both_ends(head_dim, theta, factor):
    half = head_dim // 2
    return torch.tensor([theta ** (-2 * i / head_dim) * factor ** (-i / (half - 1)) for i in range(half)])


@equivalent("ntk")
def a_geometric_series(head_dim, theta, factor):
    slowest = -(head_dim - 2) / head_dim * math.log(theta) - math.log(factor)
    return torch.exp(torch.linspace(0, slowest, head_dim // 2, dtype=torch.float64)).float()


# ---- yarn


@equivalent("yarn")
def as_hugging_face_computes_it(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    def dim_of(rotations):
        return (head_dim * math.log(original / (rotations * 2 * math.pi))) / (2 * math.log(theta))

    low, high = max(math.floor(dim_of(beta_fast)), 0), min(math.ceil(dim_of(beta_slow)), head_dim - 1)
    periods = theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
    keep = 1 - torch.clamp((torch.arange(head_dim // 2).float() - low) / (high - low), 0, 1)
    return 1 / (factor * periods) * (1 - keep) + 1 / periods * keep, 0.1 * math.log(factor) + 1.0


@equivalent("yarn")
def pair_after_pair(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    step = 2 * math.log(theta) / head_dim  # a pair is this much slower than the one before, as a logarithm
    first = int(max(0, (math.log(original / beta_fast) - math.log(2 * math.pi)) // step))
    last = -int(-(math.log(original / beta_slow) - math.log(2 * math.pi)) // step)
    out = []
    for i in range(head_dim // 2):
        speed = math.exp(-i * step)
        out.append(speed if i <= first else speed / factor if i >= last else None)
        if out[-1] is None:
            share = (i - first) / (last - first)
            out[-1] = speed * (1 - share + share / factor)
    return torch.tensor(out), 1 + math.log(factor) / 10


@equivalent("yarn")
def numpy_interpolates(head_dim, theta, factor, original, beta_fast=32.0, beta_slow=1.0):
    c = [head_dim * np.log(original / (2 * np.pi * n)) / (2 * np.log(theta)) for n in (beta_fast, beta_slow)]
    i = np.arange(head_dim // 2)
    divisor = np.interp(i, [max(0, np.floor(c[0])), np.ceil(c[1])], [1, 1 / factor])
    return torch.tensor(theta ** (-2 * i / head_dim) * divisor, dtype=torch.float32), float(1 + 0.1 * np.log(factor))
