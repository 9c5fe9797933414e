"""What people really get wrong in lab 4.2.  Each replaces one function; its task's tests catch it."""

import math

import torch
import torch.nn.functional as F

from labkit.spec import alike, mistake

INF = math.inf

# ---- split_heads


@mistake(
    "split_heads",
    says="The axes are renamed, not swapped: view(B, H, T, Dh) runs, and mixes numbers of different positions.",
)
def split_without_transpose(x, n_heads):
    B, T, width = x.shape
    return x.reshape(B, n_heads, T, width // n_heads)


@mistake("split_heads", says="Cut as (Dh, H) instead of (H, Dh): each head gets every H-th number, not its neighbours.")
def split_every_hth(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)


@mistake("split_heads", says="The heads still stand behind the positions: (B, T, H, Dh) must become (B, H, T, Dh).")
def split_stays_behind(x, n_heads):
    return x.unflatten(-1, (n_heads, -1))


@mistake("split_heads", says="The number of heads is taken for their width.")
def split_takes_heads_for_width(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).transpose(1, 2)


@mistake(
    "split_heads", says="Positions and numbers of a head are swapped as well: (B, H, Dh, T), as keys stand in q @ kᵀ."
)
def split_turned_over(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).permute(0, 2, 3, 1)


@mistake("split_heads", says="Right, but copied (.contiguous()): cutting into heads is a view and needs no memory.")
def split_copies(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2).contiguous()


@mistake(
    "split_heads", says="Strides are worked out from the shape: x may be a slice of a wider tensor (chunk makes one)."
)
def split_assumes_strides(x, n_heads):
    B, T, width = x.shape
    strides = (T * width, width // n_heads, width, 1)
    return x.as_strided((B, n_heads, T, width // n_heads), strides, x.storage_offset())


# ---- merge_heads


@mistake("merge_heads", says="Flattened without swapping the axes back: a position gets numbers of other positions.")
def merge_without_transpose(x):
    B, H, T, Dh = x.shape
    return x.reshape(B, T, H * Dh)


@mistake(
    "merge_heads", says="`view` on a tensor that is not contiguous: it raises. Copy first, or use reshape or flatten."
)
def merge_views(x):
    B, H, T, Dh = x.shape
    return x.transpose(1, 2).view(B, T, H * Dh)


@mistake(
    "merge_heads", says="The heads' numbers are interleaved, (Dh, H) instead of (H, Dh): w_out expects head after head."
)
def merge_interleaves(x):
    return x.permute(0, 2, 3, 1).flatten(2)


@mistake(
    "merge_heads", says="The heads are averaged; they belong side by side, and w_out decides what becomes of them."
)
def merge_averages(x):
    return x.mean(dim=1)


@mistake("merge_heads", says="The heads are laid one behind the other along the positions: (B, H·T, Dh).")
def merge_along_positions(x):
    return x.flatten(1, 2)


# ---- multihead_loop


@mistake("multihead_loop", says="Head h takes every H-th row; its rows are neighbours, from h·Dh on.")
def loop_takes_every_hth_row(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    out = 0
    for h in range(n_heads):
        q, k, v = (x @ w[h::n_heads].T for w in (w_q, w_k, w_v))
        out = out + _attend(q, k, v, mask)[0] @ w_out[:, h::n_heads].T
    return out


@mistake(
    "multihead_loop", says="Head h's slice is taken of the columns of w_q, w_k, w_v: those are inputs, heads own rows."
)
def loop_cuts_columns(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    width, out = len(w_q) // n_heads, 0
    for h in range(n_heads):
        cut = slice(h * width, (h + 1) * width)
        out = out + _attend(x @ w_q[:, cut], x @ w_k[:, cut], x @ w_v[:, cut], mask)[0] @ w_out[:, cut].T
    return out


@mistake(
    "multihead_loop", says="Head h's slice is taken of the rows of w_out: those are outputs, heads own its columns."
)
def loop_cuts_rows_of_out(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    width, out = len(w_q) // n_heads, 0
    for h in range(n_heads):
        cut = slice(h * width, (h + 1) * width)
        out = out + _attend(x @ w_q[cut].T, x @ w_k[cut].T, x @ w_v[cut].T, mask)[0] @ w_out[cut]
    return out


@mistake(
    "multihead_loop", says="Scaled by √D, the width of the model; a head's scores are sums over its own Dh numbers."
)
def loop_scales_by_the_model(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    return _loop(x, w_q, w_k, w_v, w_out, n_heads, mask, scale=1 / math.sqrt(x.shape[-1]))


@mistake(
    "multihead_loop", says="Scaled by √(H·Dh), all heads together; a head's scores are sums over its own Dh numbers."
)
def loop_scales_by_all_heads(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    return _loop(x, w_q, w_k, w_v, w_out, n_heads, mask, scale=1 / math.sqrt(len(w_q)))


@mistake(
    "multihead_loop",
    says="The width of a head is taken as D // H; it is the rows of w_q // H, and D may be another number.",
)
def loop_divides_the_model(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    width = x.shape[-1] // n_heads
    out = 0
    for h in range(n_heads):
        rows = slice(h * width, (h + 1) * width)
        out = out + _attend(x @ w_q[rows].T, x @ w_k[rows].T, x @ w_v[rows].T, mask)[0] @ w_out[:, rows].T
    return out


@mistake("multihead_loop", says="Every head is projected by the first head's columns of w_out.")
def loop_projects_by_the_first(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    width = len(w_q) // n_heads
    return _loop(x, w_q, w_k, w_v, w_out[:, :width].repeat(1, n_heads), n_heads, mask)


@mistake("multihead_loop", says="The sum over the heads is divided by their number: nothing is averaged here.")
def loop_averages(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    return _loop(x, w_q, w_k, w_v, w_out, n_heads, mask) / n_heads


@mistake("multihead_loop", says="w_out is left away: what comes back is heads side by side, of width H·Dh.")
def loop_without_projection(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    return _loop(x, w_q, w_k, w_v, torch.eye(len(w_q)), n_heads, mask)


@mistake("multihead_loop", says="Only the last head counts: the sum is assigned anew in each round.")
def loop_keeps_the_last(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    rows = slice(-(len(w_q) // n_heads), None)
    return _attend(x @ w_q[rows].T, x @ w_k[rows].T, x @ w_v[rows].T, mask)[0] @ w_out[:, rows].T


@mistake("multihead_loop", says="The mask is forgotten.")
def loop_forgets_the_mask(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    return _loop(x, w_q, w_k, w_v, w_out, n_heads, None)


@mistake("multihead_loop", says="Right, but all heads at once: here one head's T×T weights are to be held at a time.")
def loop_is_no_loop(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    mask = None if mask is None else mask.reshape(-1, 1, *mask.shape[-2:])
    return _fused(x, {"qkv": torch.cat([w_q, w_k, w_v]), "out": w_out}, n_heads, mask)[0]


@mistake("multihead_loop", says="The sum starts as float32 zeros: float64 in must give float64 out; use x's dtype.")
def loop_sums_in_float32(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    out = torch.zeros(*x.shape[:2], len(w_out))
    out += _loop(x, w_q, w_k, w_v, w_out, n_heads, mask)
    return out


# ---- multihead


@mistake("multihead", says="Computed in float32 whatever comes in: float64 in must give float64 out, and as exactly.")
def computes_in_float32(x, w, n_heads, mask=None):
    return _fused(x.float(), {name: each.float() for name, each in w.items()}, n_heads, mask)


@mistake("multihead", says="Missing biases are written into w: your function changes its caller's dictionary.")
def fills_in_biases(x, w, n_heads, mask=None):
    w.setdefault("qkv_bias", torch.zeros(len(w["qkv"]), dtype=x.dtype))
    w.setdefault("out_bias", torch.zeros(len(w["out"]), dtype=x.dtype))
    return _fused(x, w, n_heads, mask)


@mistake("multihead", says="The biases of q, k and v are forgotten.")
def forgets_qkv_bias(x, w, n_heads, mask=None):
    return _fused(x, {name: each for name, each in w.items() if name != "qkv_bias"}, n_heads, mask)


@mistake("multihead", says="The bias behind the last projection is forgotten.")
def forgets_out_bias(x, w, n_heads, mask=None):
    return _fused(x, {name: each for name, each in w.items() if name != "out_bias"}, n_heads, mask)


@mistake("multihead", says="w['qkv_bias'] is taken for granted: layers without biases (Llama's) raise KeyError.")
def wants_biases(x, w, n_heads, mask=None):
    w["qkv_bias"], w["out_bias"]
    return _fused(x, w, n_heads, mask)


@mistake(
    "multihead",
    says="The rows of w['qkv'] are read as (H, 3·Dh), head by head (NeoX keeps them so); here q comes first, whole.",
)
def reads_rows_by_head(x, w, n_heads, mask=None):
    return _fused(x, w, n_heads, mask, axes=(n_heads, 3))


@mistake("multihead", says="q and k are mixed up: the scores are transposed, and each key chooses its queries.")
def swaps_q_and_k(x, w, n_heads, mask=None):
    return _fused(x, w, n_heads, mask, order=(1, 0, 2))


@mistake("multihead", says="k and v are mixed up: the second third of w['qkv'] makes the keys.")
def swaps_k_and_v(x, w, n_heads, mask=None):
    return _fused(x, w, n_heads, mask, order=(0, 2, 1))


@mistake("multihead", says="Scaled by √D, the width of the model, instead of by √Dh, the width of a head.")
def scales_by_the_model(x, w, n_heads, mask=None):
    return _fused(x, w, n_heads, mask, scale=1 / math.sqrt(x.shape[-1]))


@mistake("multihead", says="No heads at all: one attention over the whole width.")
def forgets_the_heads(x, w, n_heads, mask=None):
    m = mask if mask is None or mask.ndim < 4 or mask.shape[1] == 1 else mask[:, :1]
    out, weights = _fused(x, w, 1, m)
    return out, weights.expand(-1, n_heads, -1, -1)


@mistake("multihead", says="Merged without swapping the axes back: a position's result is made of other positions.")
def merges_without_transpose(x, w, n_heads, mask=None):
    return _fused(x, w, n_heads, mask, merge=lambda m: m.reshape(len(x), x.shape[1], -1))


@mistake(
    "multihead", says="Cut without swapping axes, and merged without: each head attends within one stretch of the text."
)
def never_transposes(x, w, n_heads, mask=None):
    B, T, _ = x.shape
    qkv = F.linear(x, w["qkv"], w.get("qkv_bias"))
    q, k, v = (part.reshape(B, n_heads, T, -1) for part in qkv.chunk(3, -1))
    mixed, weights = _attend(q, k, v, mask)
    return F.linear(mixed.reshape(B, T, -1), w["out"], w.get("out_bias")), weights


@mistake(
    "multihead",
    says="x @ w['out'] instead of its transpose: nn.Linear keeps (out, in). With a square matrix nothing complains.",
)
def out_not_transposed(x, w, n_heads, mask=None):
    return _fused(x, w | {"out": w["out"].T}, n_heads, mask)


@mistake(
    "multihead",
    says="The weights come back averaged over the heads, as nn.MultiheadAttention does unless told otherwise.",
)
def averages_the_weights(x, w, n_heads, mask=None):
    out, weights = _fused(x, w, n_heads, mask)
    return out, weights.mean(dim=1)


@mistake(
    "multihead", says="The mask is upside down: True means may look (nn.MultiheadAttention has it the other way round)."
)
def mask_upside_down(x, w, n_heads, mask=None):
    return _fused(x, w, n_heads, None if mask is None else ~mask)


@mistake("multihead", says="One attention after the other: the number of matrix products grows with the heads.")
def attends_in_a_loop(x, w, n_heads, mask=None):
    B, T, _ = x.shape
    qkv = F.linear(x, w["qkv"], w.get("qkv_bias"))
    q, k, v = (part.unflatten(-1, (n_heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
    m = [None if mask is None else mask.expand(B, n_heads, T, T)[:, h] for h in range(n_heads)]
    pairs = [_attend(q[:, h], k[:, h], v[:, h], m[h]) for h in range(n_heads)]
    out = F.linear(torch.cat([o for o, _ in pairs], -1), w["out"], w.get("out_bias"))
    return out, torch.stack([p for _, p in pairs], 1)


@mistake(
    "multihead", says="Right, but three projections for q, k and v: one product over all rows of w['qkv'] does it."
)
def projects_three_times(x, w, n_heads, mask=None):
    biases = w["qkv_bias"].chunk(3) if "qkv_bias" in w else (None,) * 3
    thirds = [F.linear(x, part, bias) for part, bias in zip(w["qkv"].chunk(3), biases)]
    q, k, v = (third.unflatten(-1, (n_heads, -1)).transpose(1, 2) for third in thirds)
    mixed, weights = _attend(q, k, v, mask)
    return F.linear(mixed.transpose(1, 2).flatten(2), w["out"], w.get("out_bias")), weights


# ---- layouts


@mistake("layouts", of="from_torch", says="The tensors are popped: your function empties its caller's state_dict.")
def torch_pops(state):
    names = {"in_proj_weight": "qkv", "in_proj_bias": "qkv_bias", "out_proj.weight": "out", "out_proj.bias": "out_bias"}
    return {names[name]: state.pop(name) for name in list(state)}


@mistake("layouts", of="from_torch", says="The biases of an nn.MultiheadAttention are not taken along.")
def torch_without_biases(state):
    return {"qkv": state["in_proj_weight"], "out": state["out_proj.weight"]}


@mistake(
    "layouts", of="from_torch", says="Biases are taken for granted: with bias=False there are none, not even None."
)
def torch_wants_biases(state):
    return {
        "qkv": state["in_proj_weight"],
        "qkv_bias": state["in_proj_bias"],
        "out": state["out_proj.weight"],
        "out_bias": state["out_proj.bias"],
    }


@mistake("layouts", of="from_torch", says="Transposed: nn.MultiheadAttention keeps (out, in), as we do.")
def torch_transposed(state):
    names = {"in_proj_weight": "qkv", "in_proj_bias": "qkv_bias", "out_proj.weight": "out", "out_proj.bias": "out_bias"}
    return {names[name]: each.t() for name, each in state.items()}


@mistake("layouts", of="from_gpt2", says="c_proj is not transposed. It is square: no error, only wrong numbers.")
def gpt2_forgets_the_square_one(state):
    return _gpt2(state, state["c_attn.weight"].T, state["c_proj.weight"])


@mistake("layouts", of="from_gpt2", says="GPT-2's matrices are (in, out) and must be transposed; ours are (out, in).")
def gpt2_as_it_is(state):
    return _gpt2(state, state["c_attn.weight"], state["c_proj.weight"])


@mistake(
    "layouts",
    of="from_gpt2",
    says="Reshaped to (3·D, D) instead of transposed: the shape is right, the numbers are not.",
)
def gpt2_reshaped(state):
    w = state["c_attn.weight"]
    return _gpt2(state, w.reshape(w.shape[1], w.shape[0]), state["c_proj.weight"].T)


@mistake(
    "layouts", of="from_neox", says="NeoX's rows are taken as they are: they are sorted by head, ours by q, k and v."
)
def neox_as_it_is(state, n_heads):
    return _neox(state, lambda x: x, lambda x: x)


@mistake("layouts", of="from_neox", says="The rows are sorted, their biases are not: the two belong together.")
def neox_forgets_the_bias(state, n_heads):
    return _neox(state, lambda x: x.unflatten(0, (n_heads, 3, -1)).transpose(0, 1).flatten(0, 2), lambda x: x)


@mistake("layouts", of="from_neox", says="Read as (3, H, Dh), which is what it should become; NeoX has (H, 3, Dh).")
def neox_the_wrong_way_round(state, n_heads):
    def sort(x):
        return x.unflatten(0, (3, n_heads, -1)).transpose(0, 1).flatten(0, 2)

    return _neox(state, sort, sort)


@mistake(
    "layouts",
    of="from_neox",
    says="Cut as (H, Dh, 3): q, k and v of a head are blocks of Dh rows, not every third row.",
)
def neox_every_third_row(state, n_heads):
    def sort(x):
        return x.unflatten(0, (n_heads, -1, 3)).movedim(2, 0).flatten(0, 2)

    return _neox(state, sort, sort)


# ---- grouped


@mistake("grouped", says="Query head h takes key head h mod Hkv; groups are neighbours, so it is h // groups.")
def groups_by_remainder(q, k, v, mask=None):
    B, H, T, _ = q.shape
    n_kv, S = k.shape[1:3]
    m = None if mask is None else mask.expand(B, H, T, S)
    pairs = [_attend(q[:, h], k[:, h % n_kv], v[:, h % n_kv], m if m is None else m[:, h]) for h in range(H)]
    return torch.stack([o for o, _ in pairs], 1), torch.stack([w for _, w in pairs], 1)


@mistake(
    "grouped",
    says="Right, but k and v are copied for every query head, by a repeat or by a broadcast that matmul copies out.",
)
def repeats_keys(q, k, v, mask=None):
    return _grouped(q, k, v, mask)


@mistake(
    "grouped",
    says="Keys are shared by the groups, values are taken by h mod Hkv: the two must come from the same head.",
)
def values_of_another_head(q, k, v, mask=None):
    each = q.shape[1] // k.shape[1]
    return _attend(q, k.repeat_interleave(each, 1), v.repeat(1, each, 1, 1), mask)


@mistake("grouped", says="Query heads are cut as (groups, Hkv) instead of (Hkv, groups), and stay in that order.")
def folds_the_wrong_way(q, k, v, mask=None):
    each = q.shape[1] // k.shape[1]
    other = q.unflatten(1, (each, -1)).transpose(1, 2).flatten(1, 2)
    return _attend(other, k.repeat_interleave(each, 1), v.repeat_interleave(each, 1), mask)


@mistake("grouped", says="Folded as (groups, T), unfolded as (T, groups): a head gets other heads' positions.")
def unfolds_the_wrong_way(q, k, v, mask=None):
    B, H, T, _ = q.shape
    n_kv, S = k.shape[1:3]
    out, w = _grouped(q, k, v, mask)

    def wrong(x):
        return x.reshape(B, n_kv, T, H // n_kv, -1).transpose(2, 3).reshape(B, H, T, -1)

    return wrong(out), wrong(w)


@mistake("grouped", says="The queries of a group are averaged: heads share keys, they do not share questions.")
def averages_queries(q, k, v, mask=None):
    each = q.shape[1] // k.shape[1]
    q = q.unflatten(1, (-1, each)).mean(2).repeat_interleave(each, 1)
    return _attend(q, k.repeat_interleave(each, 1), v.repeat_interleave(each, 1), mask)


@mistake(
    "grouped",
    says="The folded mask repeats each row groups times in a row; the rows of T must follow each other groups times.",
)
def mask_rows_in_the_wrong_order(q, k, v, mask=None):
    B, H, T, _ = q.shape
    n_kv, S = k.shape[1:3]
    if mask is not None:
        mask = mask.expand(B, H, T, S).reshape(B, n_kv, H // n_kv, T, S).transpose(2, 3).reshape(B, H, T, S)
    return _grouped(q, k, v, mask)


@mistake(
    "grouped",
    says="A mask that differs from head to head is not folded by heads: each group gets its first head's mask.",
)
def mask_of_the_first_head(q, k, v, mask=None):
    B, H, T, _ = q.shape
    n_kv, S = k.shape[1:3]
    if mask is not None:
        each = H // n_kv
        mask = mask.expand(B, H, T, S)[:, ::each].repeat_interleave(each, 1)
    return _grouped(q, k, v, mask)


@mistake("grouped", says="The mask is forgotten.")
def grouped_forgets_the_mask(q, k, v, mask=None):
    return _grouped(q, k, v, None)


@mistake("grouped", says="Works for one key head and for as many as query heads, not for anything between.")
def only_the_ends(q, k, v, mask=None):
    return _attend(q, k.expand(-1, q.shape[1], -1, -1), v.expand(-1, q.shape[1], -1, -1), mask)


# ---- pool_heads


@mistake(
    "pool_heads",
    says="Neighbouring rows are averaged: they belong to one head. Average the same row of neighbouring heads.",
)
def pools_rows(w, n_heads, n_pooled):
    return w.unflatten(0, (-1, n_heads // n_pooled)).mean(1)


@mistake("pool_heads", says="Added, not averaged: the new keys come out too long.")
def pools_by_sum(w, n_heads, n_pooled):
    return w.unflatten(0, (n_pooled, n_heads // n_pooled, -1)).sum(1).flatten(0, 1)


@mistake("pool_heads", says="The first head of each group is kept and the others are thrown away: take their mean.")
def keeps_the_first(w, n_heads, n_pooled):
    return w.unflatten(0, (n_pooled, n_heads // n_pooled, -1))[:, 0].flatten(0, 1)


@mistake("pool_heads", says="Heads h mod n are averaged; a group is made of neighbours.")
def pools_by_remainder(w, n_heads, n_pooled):
    return w.unflatten(0, (n_heads // n_pooled, n_pooled, -1)).mean(0).flatten(0, 1)


@mistake("pool_heads", says="n_pooled is taken for the number of heads in a group.")
def pools_groups_of_n(w, n_heads, n_pooled):
    return w.unflatten(0, (n_heads // n_pooled, n_pooled, -1)).mean(1).flatten(0, 1)


@mistake("pool_heads", says="The new heads are left as an axis of their own: w_k has rows, (n·Dh, D).")
def leaves_an_axis(w, n_heads, n_pooled):
    return w.unflatten(0, (n_pooled, n_heads // n_pooled, -1)).mean(1)


# ---- costs


@mistake("costs", of="Layer.parameters", says="4·D²: right only where H · Dh = D and no keys are shared.")
def four_d_squared(self, bias):
    return 4 * self.d_model**2 + bias * 4 * self.d_model


@mistake("costs", of="Layer.parameters", says="All key heads are counted, as if none were shared.")
def parameters_of_mha(self, bias):
    q = self.n_heads * self.head_dim
    return 4 * self.d_model * q + bias * (3 * q + self.d_model)


@mistake("costs", of="Layer.parameters", says="The last projection is forgotten.")
def parameters_without_out(self, bias):
    rows = (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    return self.d_model * rows + bias * rows


@mistake("costs", of="Layer.parameters", says="The biases are not counted.")
def parameters_without_biases(self, bias):
    return 2 * self.d_model * self.head_dim * (self.n_heads + self.n_kv_heads)


@mistake(
    "costs", of="Layer.parameters", says="The bias of the last projection is H·Dh long; it belongs to its D outputs."
)
def bias_of_the_wrong_side(self, bias):
    q, kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
    return 2 * self.d_model * (q + kv) + bias * (2 * q + 2 * kv)


@mistake("costs", of="Layer.flops", says="Multiply-adds instead of FLOPs: each is a multiplication and an addition.")
def counts_multiply_adds(self, tokens, context):
    return _flops(self, tokens, context) // 2


@mistake(
    "costs",
    of="Layer.flops",
    says="Scores and mixing of values are forgotten: 2 · parameters · tokens is the projections only.",
)
def flops_of_the_projections(self, tokens, context):
    return 2 * tokens * _parameters(self)


@mistake(
    "costs",
    of="Layer.flops",
    says="The scores are counted, the mixing of the values is not: there are two products with the context.",
)
def flops_without_mixing(self, tokens, context):
    return _flops(self, tokens, context) - 2 * self.n_heads * tokens * context * self.head_dim


@mistake(
    "costs",
    of="Layer.flops",
    says="Scores of the key heads only: sharing keys saves memory, each query head still scores them.",
)
def flops_of_the_key_heads(self, tokens, context):
    return 2 * tokens * _parameters(self) + 4 * self.n_kv_heads * tokens * context * self.head_dim


@mistake(
    "costs", of="Layer.flops", says="tokens² instead of tokens · context: in a decode step one query meets many keys."
)
def flops_of_a_square(self, tokens, context):
    return _flops(self, tokens, tokens)


@mistake(
    "costs", of="Layer.flops", says="Biases are counted as products, 2 FLOPs each; only the matrices are multiplied."
)
def flops_of_biases(self, tokens, context):
    rows = (self.n_heads + 2 * self.n_kv_heads) * self.head_dim + self.d_model
    return _flops(self, tokens, context) + 2 * tokens * rows


@mistake("costs", of="Layer.flops", says="The whole context is projected again: with a cache, only the new tokens are.")
def projects_the_context(self, tokens, context):
    return 2 * context * _parameters(self) + 4 * self.n_heads * tokens * context * self.head_dim


@mistake(
    "costs",
    of="Layer.kv_bytes",
    says="n_heads instead of n_kv_heads: only key heads are kept. Four times too much for Llama 3 8B.",
)
def caches_every_head(self, tokens, bytes_per_number):
    return 2 * tokens * self.n_heads * self.head_dim * bytes_per_number


@mistake("costs", of="Layer.kv_bytes", says="D numbers a token, as if all heads were kept and H · Dh were D.")
def caches_the_model_width(self, tokens, bytes_per_number):
    return 2 * tokens * self.d_model * bytes_per_number


@mistake("costs", of="Layer.kv_bytes", says="Keys are counted, values are not: both are kept.")
def caches_keys_only(self, tokens, bytes_per_number):
    return tokens * self.n_kv_heads * self.head_dim * bytes_per_number


@mistake("costs", of="Layer.kv_bytes", says="Two bytes a number always: bytes_per_number is ignored.")
def always_two_bytes(self, tokens, bytes_per_number):
    return 4 * tokens * self.n_kv_heads * self.head_dim


# ---- the same mistakes in other words: each must be caught, and named as the one it is


@alike("split_without_transpose")
def views_heads_first(x, n_heads):
    return torch.stack([row.contiguous().view(n_heads, len(row), -1) for row in x])


@alike("split_every_hth")
def slices_with_a_step(x, n_heads):
    return torch.stack([x[..., h::n_heads] for h in range(n_heads)], dim=1)


@alike("merge_without_transpose")
def flattens_and_views(x):
    return x.flatten(1).view(x.shape[0], x.shape[2], -1)


@alike("merge_interleaves")
def stacks_heads_last(x):
    return torch.stack(x.unbind(1), dim=-1).flatten(2)


@alike("loop_scales_by_the_model")
def divides_scores_by_root_d_model(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    heads = []
    for q, k, v in zip(w_q.chunk(n_heads), w_k.chunk(n_heads), w_v.chunk(n_heads)):
        heads.append(_softmax((x @ q.T) @ (x @ k.T).mT / x.size(2) ** 0.5, mask) @ (x @ v.T))
    return torch.cat(heads, -1) @ w_out.T


@alike("loop_takes_every_hth_row")
def strided_rows_and_columns(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    heads = [
        _attend(x @ w_q[h::n_heads].T, x @ w_k[h::n_heads].T, x @ w_v[h::n_heads].T, mask)[0] for h in range(n_heads)
    ]
    return sum(head @ w_out[:, h::n_heads].T for h, head in enumerate(heads))


@alike("scales_by_the_model")
def einsum_over_root_d_model(x, w, n_heads, mask=None):
    q, k, v = F.linear(x, w["qkv"], w.get("qkv_bias")).unflatten(-1, (3, n_heads, -1)).unbind(2)
    p = _softmax(torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(x.shape[2]), mask)
    return F.linear(torch.einsum("bhts,bshd->bthd", p, v).flatten(2), w["out"], w.get("out_bias")), p


@alike("reads_rows_by_head")
def splits_heads_before_thirds(x, w, n_heads, mask=None):
    B, T, _ = x.shape
    q, k, v = F.linear(x, w["qkv"], w.get("qkv_bias")).view(B, T, n_heads, -1).transpose(1, 2).chunk(3, dim=-1)
    mixed, p = _attend(q, k, v, mask)
    return F.linear(mixed.transpose(1, 2).flatten(2), w["out"], w.get("out_bias")), p


@alike("merges_without_transpose")
def forgets_to_swap_back(x, w, n_heads, mask=None):
    B, T, _ = x.shape
    q, k, v = F.linear(x, w["qkv"], w.get("qkv_bias")).view(B, T, 3, n_heads, -1).permute(2, 0, 3, 1, 4)
    p = _softmax(torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5, mask)
    out = (p @ v).contiguous().view(B, T, -1) @ w["out"].T
    return out + w.get("out_bias", 0), p


@alike("gpt2_forgets_the_square_one")
def transposes_where_shapes_demand_it(state):
    w = {}
    for name, each in state.items():
        part = {"c_attn": "qkv", "c_proj": "out"}[name.split(".")[0]]
        wrong = each.ndim == 2 and each.shape[0] != each.shape[1]
        w[part + "_bias" * name.endswith("bias")] = each.T if wrong else each
    return w


@alike("groups_by_remainder")
def tiles_keys(q, k, v, mask=None):
    each = q.shape[1] // k.shape[1]
    return _attend(q, k.repeat(1, each, 1, 1), v.repeat(1, each, 1, 1), mask)


@alike("repeats_keys")
def broadcasts_over_groups(q, k, v, mask=None):
    """Looks free: an axis of 1 for the groups.  But matmul expands it and copies."""
    B, H, T, Dh = q.shape
    n_kv, S = k.shape[1:3]
    s = q.unflatten(1, (n_kv, -1)) @ k[:, :, None].mT / math.sqrt(Dh)  # (B, Hkv, groups, T, S)
    w = _softmax(s.reshape(B, H, T, S), mask)
    return (w.unflatten(1, (n_kv, -1)) @ v[:, :, None]).flatten(1, 2), w


@alike("repeats_keys")
def expands_and_reshapes(q, k, v, mask=None):
    B, H = q.shape[:2]

    def spread(x):
        return x[:, :, None].expand(-1, -1, H // x.shape[1], -1, -1).reshape(B, H, *x.shape[2:])

    k, v = spread(k), spread(v)
    w = _softmax(torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5, mask)
    return torch.einsum("bhts,bhsd->bhtd", w, v), w


@alike("pools_by_remainder")
def means_of_slices(w, n_heads, n_pooled):
    heads = torch.stack(w.chunk(n_heads))
    return torch.cat([heads[g::n_pooled].mean(0) for g in range(n_pooled)])


@alike("caches_every_head")
def width_of_all_heads(self, tokens, bytes_per_number):
    keys = tokens * (self.head_dim * self.n_heads) * bytes_per_number
    return keys + keys


@alike("flops_of_the_key_heads")
def sums_products_with_key_heads(self, tokens, context):
    D, q, kv = self.d_model, self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
    shapes = [(D, q), (D, kv), (D, kv), (q, D), (kv, context), (context, kv)]
    return sum(2 * tokens * a * b for a, b in shapes)


# ---- the parts they share


def _softmax(s, mask):
    if mask is None:
        return s.softmax(-1)
    return s.masked_fill(~mask, -INF).softmax(-1).masked_fill(~mask, 0.0)


def _attend(q, k, v, mask, scale=None):
    w = _softmax(q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale), mask)
    return w @ v, w


def _loop(x, w_q, w_k, w_v, w_out, n_heads, mask, scale=None):
    width = len(w_q) // n_heads
    out = 0
    for h in range(n_heads):
        rows = slice(h * width, (h + 1) * width)
        q, k, v = (x @ w[rows].T for w in (w_q, w_k, w_v))
        out = out + _attend(q, k, v, mask, scale)[0] @ w_out[:, rows].T
    return out


def _fused(x, w, n_heads, mask, axes=None, order=(0, 1, 2), scale=None, merge=None):
    qkv = F.linear(x, w["qkv"], w.get("qkv_bias"))
    parts = qkv.unflatten(-1, (*(axes or (3, n_heads)), -1)).unbind(3 if axes else 2)
    q, k, v = (parts[i].transpose(1, 2) for i in order)
    mixed, weights = _attend(q, k, v, mask, scale)
    merged = merge(mixed) if merge else mixed.transpose(1, 2).flatten(2)
    return F.linear(merged, w["out"], w.get("out_bias")), weights


def _gpt2(state, qkv, out):
    return {"qkv": qkv, "qkv_bias": state["c_attn.bias"], "out": out, "out_bias": state["c_proj.bias"]}


def _neox(state, sort, sort_bias):
    return {
        "qkv": sort(state["query_key_value.weight"]),
        "qkv_bias": sort_bias(state["query_key_value.bias"]),
        "out": state["dense.weight"],
        "out_bias": state["dense.bias"],
    }


def _grouped(q, k, v, mask):
    each = q.shape[1] // k.shape[1]
    return _attend(q, k.repeat_interleave(each, 1), v.repeat_interleave(each, 1), mask)


def _parameters(self):
    return 2 * self.d_model * self.head_dim * (self.n_heads + self.n_kv_heads)


def _flops(self, tokens, context):
    return 2 * tokens * _parameters(self) + 4 * self.n_heads * tokens * context * self.head_dim
