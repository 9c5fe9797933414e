"""What lab 4.2 must do.  The same file judges lab.py, solution.py and every submission.

The oracle is one loop over batch rows, heads and queries in float64; torch's own nn.MultiheadAttention is the second.
All sizes differ from each other and from call to call, and H · Dh is not D unless torch asks for it.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import flop_registry

from labkit.count import LiveMemory, Operations
from labkit.spec import check, task

PRODUCTS = {"mm", "bmm", "mv", "addmm", "addmv", "baddbmm", "addbmm", "dot"}


def number(rng, low, high):
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def normal(rng, *shape):
    return torch.randn(*shape, generator=rng)


def sizes(rng):
    """B, T, H, Dh, D: no two alike, and D is not H · Dh."""
    B, T, H, Dh = number(rng, 2, 3), number(rng, 6, 8), number(rng, 4, 5), number(rng, 9, 11)
    return B, T, H, Dh, number(rng, 12, 15)


def layer(rng, H, Dh, D, bias):
    """Random weights of a layer whose scores have a standard deviation near 1."""
    w = {"qkv": normal(rng, 3 * H * Dh, D) / D**0.5, "out": normal(rng, D, H * Dh) / (H * Dh) ** 0.5}
    return w | {"qkv_bias": normal(rng, 3 * H * Dh), "out_bias": normal(rng, D)} if bias else w


def attend(q, k, v, mask):
    """Float64, one query at a time, over the keys it may see: q (T, Dh), k and v (S, ·), mask (T, S)."""
    rows, weights = [], []
    for query, seen in zip(q, mask, strict=True):
        at = seen.nonzero()[:, 0]
        p = (k[at] @ query / math.sqrt(len(query))).softmax(0)
        weights.append(torch.zeros(len(k), dtype=torch.float64).index_add(0, at, p))
        rows.append(p @ v[at])
    return torch.stack(rows), torch.stack(weights)


def oracle_heads(q, k, v, mask=None):
    """(B, H, T, Dh) queries against (B, Hkv, S, ·): query head h takes key head h // (H // Hkv)."""
    B, H, T, _ = q.shape
    n_kv, S = k.shape[1:3]
    mask = torch.ones(B, H, T, S, dtype=torch.bool) if mask is None else mask.expand(B, H, T, S)
    q, k, v = q.double(), k.double(), v.double()
    outs = torch.zeros(B, H, T, v.shape[-1], dtype=torch.float64)
    weights = torch.zeros(B, H, T, S, dtype=torch.float64)
    for b in range(B):
        for h in range(H):
            shared = h * n_kv // H
            outs[b, h], weights[b, h] = attend(q[b, h], k[b, shared], v[b, shared], mask[b, h])
    return outs, weights


def oracle(x, w, H, mask=None):
    """The layer from its definition: head h is made of rows h·Dh … (h+1)·Dh - 1 of each third of w["qkv"]."""
    w = {name: each.double() for name, each in w.items()}
    x, third = x.double(), len(w["qkv"]) // 3
    Dh = third // H
    bias = w.get("qkv_bias", torch.zeros(3 * third, dtype=torch.float64))
    heads = [
        torch.stack(
            [x @ w["qkv"][at : at + Dh].T + bias[at : at + Dh] for at in range(i * third, (i + 1) * third, Dh)], 1
        )
        for i in range(3)
    ]
    mixed, weights = oracle_heads(*heads, mask)
    beside = torch.cat([mixed[:, h] for h in range(H)], dim=-1)  # (B, T, H·Dh)
    return beside @ w["out"].T + w.get("out_bias", 0.0), weights


def torch_layer(rng, H, D, bias):
    """An nn.MultiheadAttention with random biases too (its own start at 0, which would hide that they are forgotten)."""
    module = nn.MultiheadAttention(D, H, bias=bias, batch_first=True)
    for parameter in module.parameters():
        parameter.data = normal(rng, *parameter.shape) / D**0.5
    return module


# ---- split_heads, merge_heads


@task("split_heads")
def test_split_every_number(lab, rng):
    for _ in range(2):
        B, T, H, Dh, _ = sizes(rng)
        x = torch.arange(float(B * T * H * Dh)).reshape(B, T, H * Dh)
        want = torch.stack([x[:, :, h * Dh : (h + 1) * Dh] for h in range(H)], dim=1)
        check.equal(lab.split_heads(x, H), want, why=f"{B}×{T}×{H * Dh} into {H} heads, numbered")


@task("split_heads")
def test_split_one_head_and_heads_of_one(lab, rng):
    x = normal(rng, 2, 3, 5)
    check.equal(lab.split_heads(x, 1), x[:, None], why="one head: an axis more")
    check.equal(lab.split_heads(x, 5), x.mT[..., None], why="as many heads as numbers")


@task("split_heads")
def test_split_is_a_view(lab, rng):
    B, T, H, Dh, _ = sizes(rng)
    x = normal(rng, B, T, H * Dh)
    check.equal(lab.probe(peak, "split_heads", x, H), 0, why="numbers copied: a view needs none")


@task("split_heads")
def test_split_a_slice(lab, rng):
    """What chunk() hands over is a slice of a wider tensor, with strides of its own."""
    B, T, H, Dh, _ = sizes(rng)
    x = normal(rng, B, T, 3 * H * Dh)
    want = torch.stack([x[:, :, at : at + Dh] for at in range(H * Dh, 2 * H * Dh, Dh)], dim=1)
    check.equal(lab.probe(split_middle_third, x, H), want, why="the middle third of a tensor")


@task("merge_heads")
def test_merge_every_number(lab, rng):
    for _ in range(2):
        B, T, H, Dh, _ = sizes(rng)
        x = torch.arange(float(B * H * T * Dh)).reshape(B, H, T, Dh)
        want = torch.cat([x[:, h] for h in range(H)], dim=-1)
        check.equal(lab.merge_heads(x), want, why=f"{B}×{H}×{T}×{Dh}, numbered")


@task("merge_heads")
def test_merge_undoes_the_cut(lab, rng):
    """Here the heads come as a view; what is contiguous and what is not is the other way round."""
    B, T, H, Dh, _ = sizes(rng)
    x = normal(rng, B, T, H * Dh)
    check.equal(lab.probe(merge_a_view, x, H), x, why="heads that were cut from x by a view")


# ---- multihead_loop


@task("multihead_loop")
def test_loop_values(lab, rng):
    for _ in range(2):
        B, T, H, Dh, D = sizes(rng)
        x, w = normal(rng, B, T, D), layer(rng, H, Dh, D, bias=False)
        check.close(lab.multihead_loop(x, *w["qkv"].chunk(3), w["out"], H), oracle(x, w, H)[0], why="random weights")


@task("multihead_loop")
def test_loop_square_matrices(lab, rng):
    """D = H · Dh, as in most models: here a slice of the wrong side runs without an error."""
    H, Dh = number(rng, 2, 3), number(rng, 4, 5)
    x, w = normal(rng, 2, 7, H * Dh), layer(rng, H, Dh, H * Dh, bias=False)
    check.close(lab.multihead_loop(x, *w["qkv"].chunk(3), w["out"], H), oracle(x, w, H)[0], why="H · Dh = D")


@task("multihead_loop")
def test_loop_one_head(lab, rng):
    """With one head there is nothing to slice: if this fails, the heads are not to blame."""
    x, w = normal(rng, 2, 5, 7), layer(rng, 1, 4, 7, bias=False)
    check.close(lab.multihead_loop(x, *w["qkv"].chunk(3), w["out"], 1), oracle(x, w, 1)[0], why="a single head")


@task("multihead_loop")
def test_loop_masks(lab, rng):
    B, T, H, Dh, D = sizes(rng)
    x, w = normal(rng, B, T, D), layer(rng, H, Dh, D, bias=False)
    for shape in ((T, T), (B, 1, T)):
        mask = torch.rand(*shape, generator=rng) > 0.4
        mask[..., 0] = True
        got = lab.multihead_loop(x, *w["qkv"].chunk(3), w["out"], H, mask)
        check.close(got, oracle(x, w, H, mask.reshape(-1, 1, *shape[-2:]))[0], why=f"a mask of shape {shape}")


@task("multihead_loop")
def test_loop_holds_one_head(lab, rng):
    """Scores, masked and normalised, of one head: about 4·T². All eight at once would be 16·T² at the least."""
    T, H = 48, 8
    x, w = normal(rng, 1, T, 6), layer(rng, H, 2, 6, bias=False)
    alive = lab.probe(peak, "multihead_loop", x, *w["qkv"].chunk(3), w["out"], H)
    check.less(alive / T**2, 7, why="numbers alive at the peak, in units of one head's T×T weights")


@task("multihead_loop")
def test_loop_leaves_its_arguments_alone(lab, rng):
    B, T, H, Dh, D = sizes(rng)
    w = layer(rng, H, Dh, D, bias=False)
    arguments = (normal(rng, B, T, D), *w["qkv"].chunk(3), w["out"])
    check.equal(lab.probe(changed, "multihead_loop", arguments, H), [], why="your function changed these arguments")


@task("multihead_loop")
def test_loop_in_float64(lab, rng):
    B, T, H, Dh, D = sizes(rng)
    x, w = normal(rng, B, T, D).double(), {name: each.double() for name, each in layer(rng, H, Dh, D, False).items()}
    out = lab.multihead_loop(x, *w["qkv"].chunk(3), w["out"], H)
    check.equal(str(out.dtype), "torch.float64", why="same dtype out as in")
    check.close(out, oracle(x, w, H)[0], rtol=1e-10, atol=1e-10, why="float64, to its own precision")


# ---- multihead


@task("multihead")
def test_multihead_values(lab, rng):
    for bias in (False, True):
        B, T, H, Dh, D = sizes(rng)
        x, w = normal(rng, B, T, D), layer(rng, H, Dh, D, bias)
        out, weights = lab.multihead(x, w, H)
        want, want_weights = oracle(x, w, H)
        check.close(out, want, why="with biases" if bias else "no biases")
        check.close(weights, want_weights, why="the weights of each head")


@task("multihead")
def test_multihead_masks(lab, rng):
    B, T, H, Dh, D = sizes(rng)
    x, w = normal(rng, B, T, D), layer(rng, H, Dh, D, bias=True)
    for shape in ((T, T), (B, 1, 1, T), (B, H, T, T)):
        mask = torch.rand(*shape, generator=rng) > 0.4
        mask[..., 0] = True
        out, weights = lab.multihead(x, w, H, mask)
        want, want_weights = oracle(x, w, H, mask)
        check.close(out, want, why=f"a mask of shape {shape}")
        check.close(weights, want_weights, why=f"a mask of shape {shape}: the weights")


@task("multihead")
def test_multihead_is_torchs(lab, rng):
    """Against nn.MultiheadAttention, whose masks are the other way round: True hides."""
    H, Dh = number(rng, 2, 4), number(rng, 5, 7)
    D, T = H * Dh, number(rng, 8, 9)
    module, x = torch_layer(rng, H, D, bias=True), normal(rng, 3, T, D)
    keep = torch.ones(T, T).tril().bool()
    with torch.no_grad():
        want, want_weights = module(x, x, x, attn_mask=~keep, average_attn_weights=False)
    w = {"qkv": module.in_proj_weight, "out": module.out_proj.weight}
    w |= {"qkv_bias": module.in_proj_bias, "out_bias": module.out_proj.bias}
    out, weights = lab.multihead(x, {name: each.detach() for name, each in w.items()}, H, keep)
    check.close(out, want, rtol=1e-5, atol=1e-5, why="nn.MultiheadAttention with the same weights, causal")
    check.close(weights, want_weights, rtol=1e-5, atol=1e-5, why="its weights, head by head")


@task("multihead")
def test_multihead_products(lab, rng):
    few, many = (
        lab.probe(products, "multihead", normal(rng, 2, 5, 12), layer(rng, H, 3, 12, bias=False), H) for H in (2, 6)
    )
    check.equal(many - few, 0, why="further matrix products for four more heads")
    check.less(few, 5, why="matrix products: q, k and v in one; scores; mixing; out")


@task("multihead")
def test_multihead_in_float64(lab, rng):
    for bias in (False, True):
        B, T, H, Dh, D = sizes(rng)
        x, w = normal(rng, B, T, D).double(), {name: each.double() for name, each in layer(rng, H, Dh, D, bias).items()}
        got = lab.multihead(x, w, H)
        check.equal([str(each.dtype) for each in got], ["torch.float64"] * 2, why="same dtype out as in")
        for mine, want in zip(got, oracle(x, w, H)):
            check.close(mine, want, rtol=1e-10, atol=1e-10, why="float64, to its own precision")


@task("multihead")
def test_multihead_leaves_its_arguments_alone(lab, rng):
    """The dictionary too: a layer without biases must not have any afterwards."""
    for bias in (False, True):
        B, T, H, Dh, D = sizes(rng)
        arguments = (normal(rng, B, T, D), layer(rng, H, Dh, D, bias))
        check.equal(lab.probe(changed, "multihead", arguments, H), [], why="your function changed these arguments")


# ---- layouts


@task("layouts")
def test_torch_layout(lab, rng):
    for bias in (True, False):
        H, D = number(rng, 2, 4), 12
        state = {name: each.detach().clone() for name, each in torch_layer(rng, H, D, bias).state_dict().items()}
        want = {"qkv": state["in_proj_weight"], "out": state["out_proj.weight"]}
        if bias:
            want |= {"qkv_bias": state["in_proj_bias"], "out_bias": state["out_proj.bias"]}
        got = lab.from_torch(state)
        check.equal(sorted(got), sorted(want), why=f"what an nn.MultiheadAttention with bias={bias} becomes")
        check.close(got, want, why=f"nn.MultiheadAttention, bias={bias}")


@task("layouts")
def test_gpt2_layout(lab, rng):
    """GPT-2 computes x @ w + b.  c_proj is square, so only its numbers tell whether it was transposed."""
    D = number(rng, 4, 7)
    state = {"c_attn.weight": normal(rng, D, 3 * D), "c_attn.bias": normal(rng, 3 * D)}
    state |= {"c_proj.weight": normal(rng, D, D), "c_proj.bias": normal(rng, D)}
    got, x = lab.from_gpt2(state), normal(rng, 2, D)
    check.equal(sorted(got), ["out", "out_bias", "qkv", "qkv_bias"], why="what a GPT-2 layer becomes")
    for mine, theirs in (("qkv", "c_attn"), ("out", "c_proj")):
        want = x @ state[f"{theirs}.weight"] + state[f"{theirs}.bias"]
        check.close(F.linear(x, got[mine], got[f"{mine}_bias"]), want, why=f"x through {mine}, and through {theirs}")


@task("layouts")
def test_neox_layout(lab, rng):
    H, Dh = number(rng, 4, 6), number(rng, 2, 3)
    D = H * Dh
    parts = normal(rng, 3, H, Dh, D), normal(rng, 3, H, Dh)  # (q, k, v) of each head, in our order
    weight, bias = (torch.cat([part[i, h] for h in range(H) for i in range(3)]) for part in parts)
    state = {"query_key_value.weight": weight, "query_key_value.bias": bias}
    state |= {"dense.weight": normal(rng, D, D), "dense.bias": normal(rng, D)}
    want = {"qkv": parts[0].reshape(3 * D, D), "qkv_bias": parts[1].reshape(3 * D)}
    want |= {"out": state["dense.weight"], "out_bias": state["dense.bias"]}
    got = lab.from_neox(state, H)
    check.equal(sorted(got), sorted(want), why="what a GPT-NeoX layer becomes")
    for name in ("qkv", "qkv_bias", "out", "out_bias"):
        check.close(got[name], want[name], why=f"{H} heads of {Dh}: {name}")


@task("layouts")
def test_layouts_leave_the_checkpoint_alone(lab, rng):
    H, D = 2, 6
    states = {
        "from_torch": {"in_proj_weight": (3 * D, D), "in_proj_bias": (3 * D,), "out_proj.weight": (D, D)},
        "from_gpt2": {"c_attn.weight": (D, 3 * D), "c_attn.bias": (3 * D,), "c_proj.weight": (D, D)},
        "from_neox": {"query_key_value.weight": (3 * D, D), "query_key_value.bias": (3 * D,), "dense.weight": (D, D)},
    }
    last = {"from_torch": "out_proj.bias", "from_gpt2": "c_proj.bias", "from_neox": "dense.bias"}
    for function, shapes in states.items():
        state = {name: normal(rng, *size) for name, size in (shapes | {last[function]: (D,)}).items()}
        rest = (H,) if function == "from_neox" else ()
        got = lab.probe(changed, function, (state,), *rest)
        check.equal(got, [], why=f"{function} changed the state_dict of its caller")


# ---- grouped


def heads(rng, H, n_kv):
    """q, k, v with T < S and two widths."""
    B, T, S = number(rng, 2, 3), number(rng, 4, 5), number(rng, 7, 9)
    Dh, Dv = number(rng, 2, 3), number(rng, 10, 11)
    return normal(rng, B, H, T, Dh) * 1.5, normal(rng, B, n_kv, S, Dh) * 1.5, normal(rng, B, n_kv, S, Dv)


@task("grouped")
def test_grouped_values(lab, rng):
    for H, n_kv in ((6, 2), (6, 3), (8, 2)):
        q, k, v = heads(rng, H, n_kv)
        out, weights = lab.grouped(q, k, v)
        want, want_weights = oracle_heads(q, k, v)
        check.close(out, want, why=f"{H} query heads on {n_kv} key heads")
        check.close(weights, want_weights, why=f"{H} query heads on {n_kv} key heads: the weights")


@task("grouped")
def test_grouped_at_the_ends(lab, rng):
    for H, n_kv, name in ((5, 5, "as many key heads: MHA"), (5, 1, "one key head: MQA")):
        q, k, v = heads(rng, H, n_kv)
        check.close(lab.grouped(q, k, v)[0], oracle_heads(q, k, v)[0], why=name)


@task("grouped")
def test_grouped_masks(lab, rng):
    q, k, v = heads(rng, 6, 2)
    (B, H, T, _), S = q.shape, k.shape[2]
    for shape in ((T, S), (B, 1, 1, S), (1, H, T, S), (B, H, T, S)):
        mask = torch.rand(*shape, generator=rng) > 0.4
        mask[..., 0] = True
        out, weights = lab.grouped(q, k, v, mask)
        want, want_weights = oracle_heads(q, k, v, mask)
        check.close(out, want, why=f"a mask of shape {shape}")
        check.close(weights, want_weights, why=f"a mask of shape {shape}: the weights")


@task("grouped")
def test_grouped_copies_no_keys(lab, rng):
    """A decode step, 8 query heads on 2 key heads of width 32.  Each further key may cost a few numbers for each query
    head, and one copy of k and v; repeated for every query head, k and v alone would be 512."""
    few, many = (
        lab.probe(peak, "grouped", normal(rng, 1, 8, 1, 32), normal(rng, 1, 2, S, 32), normal(rng, 1, 2, S, 32))
        for S in (256, 1280)
    )
    check.less((many - few) / 1024, 200, why="numbers kept alive for each further key")


@task("grouped")
def test_grouped_leaves_its_arguments_alone(lab, rng):
    check.equal(lab.probe(changed, "grouped", heads(rng, 6, 2)), [], why="your function changed these arguments")


# ---- pool_heads


@task("pool_heads")
def test_pooled_rows(lab, rng):
    for H, n in ((6, 2), (6, 3), (8, 2)):
        Dh, D = number(rng, 4, 5), number(rng, 10, 11)
        w, each = normal(rng, H * Dh, D), H // n
        want = [sum(w[(g * each + i) * Dh + r] for i in range(each)) / each for g in range(n) for r in range(Dh)]
        check.close(lab.pool_heads(w, H, n), torch.stack(want), why=f"{H} heads of width {Dh} into {n}")


@task("pool_heads")
def test_pooled_bias_and_ends(lab, rng):
    b = normal(rng, 12)
    want = (b.reshape(2, 2, 3)[:, 0] + b.reshape(2, 2, 3)[:, 1]).flatten() / 2
    check.close(lab.pool_heads(b, 4, 2), want, why="a bias: 4 heads of width 3 into 2")
    check.close(lab.pool_heads(b, 4, 4), b, why="as many as before: nothing changes")


@task("pool_heads")
def test_equal_heads_pool_without_loss(lab, rng):
    """What GQA promises: if neighbours were the same all along, their mean is each of them."""
    one = normal(rng, 3, 4, 7)  # 3 heads of width 4
    check.close(
        lab.pool_heads(one.repeat_interleave(2, dim=0).flatten(0, 1), 6, 3), one.flatten(0, 1), why="3 pairs of twins"
    )


# ---- costs


def shape(rng):
    """A GQA layer of which no two sizes agree, and whose H · Dh is not D."""
    n_kv, groups, Dh = number(rng, 2, 3), number(rng, 4, 5), number(rng, 6, 7)
    return {"d_model": number(rng, 60, 70), "n_heads": n_kv * groups, "n_kv_heads": n_kv, "head_dim": Dh}


class Flops(Operations):
    """torch's own formula for every product that runs.  (Its FlopCounterMode does the same and loads a compiler first.)"""

    total = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        out = op(*args, **(kwargs or {}))
        if formula := flop_registry.get(op.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def gqa_layer(d_model, n_heads, n_kv_heads, head_dim, bias):
    q, kv = n_heads * head_dim, n_kv_heads * head_dim
    outs = ((d_model, q), (d_model, kv), (d_model, kv), (q, d_model))
    return [nn.Linear(a, b, bias=bias, dtype=torch.float64) for a, b in outs]


@task("costs")
def test_parameters_are_counted(lab, rng):
    for bias in (False, True, True):
        s = shape(rng)
        want = sum(p.numel() for linear in gqa_layer(**s, bias=bias) for p in linear.parameters())
        check.equal(lab.Layer(**s).parameters(bias), want, why=f"four nn.Linear with bias={bias}, {s}")


@task("costs")
def test_flops_are_counted(lab, rng):
    """torch counts what it runs: a prompt, where context = tokens, and a step of a few tokens on a longer context."""
    for tokens, context in ((5, 5), (1, 9), (3, 8)):
        s = shape(rng)
        H, n_kv, Dh = s["n_heads"], s["n_kv_heads"], s["head_dim"]
        to_q, to_k, to_v, to_out = gqa_layer(**s, bias=False)
        x = normal(rng, tokens, s["d_model"]).double()
        k, v = normal(rng, n_kv, Dh, context).double(), normal(rng, n_kv, context, Dh).double()
        with Flops() as counter:
            to_k(x), to_v(x)
            q = to_q(x).reshape(tokens, H, Dh)
            mixed = [(q[:, h] @ k[h * n_kv // H]).softmax(-1) @ v[h * n_kv // H] for h in range(H)]
            to_out(torch.cat(mixed, -1))
        got = lab.Layer(**s).flops(tokens, context)
        check.equal(got, counter.total, why=f"{tokens} tokens on a context of {context}, {s}")


@task("costs")
def test_cache_bytes(lab, rng):
    for dtype in (torch.float32, torch.bfloat16, torch.int8):
        s, tokens = shape(rng), number(rng, 11, 19)
        cache = torch.zeros(2, s["n_kv_heads"], tokens, s["head_dim"], dtype=dtype)
        got = lab.Layer(**s).kv_bytes(tokens, dtype.itemsize)
        check.equal(got, cache.nbytes, why=f"keys and values of {tokens} tokens in {dtype}, {s}")


@task("costs")
def test_published_models(lab):
    """Llama 2 7B (MHA), Llama 3 8B (GQA) and Falcon 7B (MQA): 8,192 tokens in bfloat16, all layers."""
    for name, layers, want, *s in (
        ("Llama 2 7B", 32, 4_294_967_296, 4096, 32, 32, 128),
        ("Llama 3 8B", 32, 1_073_741_824, 4096, 32, 8, 128),
        ("Falcon 7B", 32, 67_108_864, 4544, 71, 1, 64),
    ):
        check.equal(lab.Layer(*s).kv_bytes(8192, 2) * layers, want, why=f"{name} at 8k: bytes of keys and values")


# ---- probes: they run beside the lab


def peak(lab, function, *arguments):
    with LiveMemory(*[a for a in arguments if isinstance(a, torch.Tensor)]) as memory:
        getattr(lab, function)(*arguments)
    return memory.peak


def products(lab, function, *arguments):
    with Operations() as seen:
        getattr(lab, function)(*arguments)
    return sum(name in PRODUCTS for name in seen.names)


def split_middle_third(lab, x, n_heads):
    return lab.split_heads(x.chunk(3, dim=-1)[1], n_heads)


def merge_a_view(lab, x, n_heads):
    return lab.merge_heads(x.unflatten(-1, (n_heads, -1)).transpose(1, 2))


def changed(lab, function, arguments, *rest):
    before = copy.deepcopy(arguments)
    getattr(lab, function)(*arguments, *rest)
    return [i for i, (x, old) in enumerate(zip(arguments, before)) if not same(x, old)]


def same(x, old):
    if isinstance(old, dict):
        return x.keys() == old.keys() and all(torch.equal(x[name], old[name]) for name in old)
    return torch.equal(x, old)
