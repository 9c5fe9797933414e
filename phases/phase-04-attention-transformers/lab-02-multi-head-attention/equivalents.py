"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from labkit.spec import equivalent

INF = math.inf

# ---- split_heads


@equivalent("split_heads")
def unflattens(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).permute(0, 2, 1, 3)


@equivalent("split_heads")
def by_strides(x, n_heads):
    B, T, width = x.shape
    b, t, one = x.stride()
    Dh = width // n_heads
    return x.as_strided((B, n_heads, T, Dh), (b, Dh * one, t, one), x.storage_offset())


@equivalent("split_heads")
def reshapes_and_swaps(x, n_heads):
    return torch.swapaxes(torch.reshape(x, (*x.shape[:2], n_heads, x.shape[2] // n_heads)), -3, -2)


# ---- merge_heads


@equivalent("merge_heads")
def concatenates(x):
    return torch.cat(x.unbind(dim=1), dim=-1)


@equivalent("merge_heads")
def contiguous_and_view(x):
    B, H, T, Dh = x.shape
    return x.transpose(1, 2).contiguous().view(B, T, H * Dh)


@equivalent("merge_heads")
def fills_columns(x):
    B, H, T, Dh = x.shape
    out = torch.empty(B, T, H * Dh, dtype=x.dtype)
    for h in range(H):
        out[..., h * Dh : (h + 1) * Dh] = x[:, h]
    return out


# ---- multihead_loop


@equivalent("multihead_loop")
def heads_side_by_side_then_one_projection(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    heads = []
    for q_rows, k_rows, v_rows in zip(w_q.chunk(n_heads), w_k.chunk(n_heads), w_v.chunk(n_heads)):
        heads.append(_attend(x @ q_rows.mT, x @ k_rows.mT, x @ v_rows.mT, mask)[0])
    return torch.cat(heads, dim=-1) @ w_out.mT


@equivalent("multihead_loop")
def numpy_by_einsum(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    dtype = x.dtype
    x, w_q, w_k, w_v, w_out = (a.detach().numpy().astype(np.float64) for a in (x, w_q, w_k, w_v, w_out))
    Dh, total = w_q.shape[0] // n_heads, 0.0
    for h in range(n_heads):
        q, k, v = (np.einsum("btd,od->bto", x, w[h * Dh : h * Dh + Dh]) for w in (w_q, w_k, w_v))
        s = np.einsum("bto,bso->bts", q, k) / np.sqrt(Dh)
        s = s if mask is None else np.where(mask.numpy(), s, -np.inf)
        e = np.exp(s - s.max(-1, keepdims=True))
        e /= e.sum(-1, keepdims=True)
        total = total + np.einsum("bts,bso,do->btd", e, v, w_out[:, h * Dh : h * Dh + Dh])
    return torch.from_numpy(total).to(dtype)


@equivalent("multihead_loop")
def never_makes_q_or_k(x, w_q, w_k, w_v, w_out, n_heads, mask=None):
    """x (W_qᵀ W_k) xᵀ are the scores, and W_out W_v what a value adds: two matrices a head."""
    Dh = len(w_q) // n_heads
    out = 0
    for q, k, v, o in zip(w_q.split(Dh), w_k.split(Dh), w_v.split(Dh), w_out.split(Dh, dim=1)):
        s = x @ (q.T @ k) @ x.mT / Dh**0.5
        out = out + _softmax(s, mask) @ x @ (o @ v).T
    return out


# ---- multihead


@equivalent("multihead")
def einsum_with_heads_behind(x, w, n_heads, mask=None):
    qkv = x @ w["qkv"].T
    qkv = qkv + w["qkv_bias"] if "qkv_bias" in w else qkv
    q, k, v = qkv.unflatten(-1, (3, n_heads, -1)).unbind(2)  # (B, T, H, Dh)
    weights = _softmax(torch.einsum("bthd,bshd->bhts", q, k) * q.shape[-1] ** -0.5, mask)
    out = torch.einsum("bhts,bshd->bthd", weights, v).flatten(2) @ w["out"].T
    return (out + w["out_bias"] if "out_bias" in w else out), weights


@equivalent("multihead")
def heads_in_the_batch(x, w, n_heads, mask=None):
    """(B·H, T, Dh): how layers were written before matmul took more than three axes."""
    B, T, _ = x.shape
    Dh = len(w["qkv"]) // (3 * n_heads)
    qkv = F.linear(x, w["qkv"], w.get("qkv_bias")).view(B, T, 3, n_heads, Dh).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.reshape(3, B * n_heads, T, Dh)
    s = torch.bmm(q, k.transpose(1, 2)).view(B, n_heads, T, T) / math.sqrt(Dh)
    weights = _softmax(s, mask)
    mixed = torch.bmm(weights.view(-1, T, T), v).view(B, n_heads, T, Dh).transpose(1, 2).reshape(B, T, -1)
    return F.linear(mixed, w["out"], w.get("out_bias")), weights


@equivalent("multihead")
def in_float64(x, w, n_heads, mask=None):
    w = {name: each.double() for name, each in w.items()}
    out, weights = heads_in_the_batch(x.double(), w, n_heads, mask)
    return out.to(x.dtype), weights.to(x.dtype)


# ---- layouts


@equivalent("layouts", of="from_torch")
def asks_for_each_name(state):
    w = {"qkv": state["in_proj_weight"].clone(), "out": state["out_proj.weight"].clone()}
    if "in_proj_bias" in state:
        w["qkv_bias"], w["out_bias"] = state["in_proj_bias"], state["out_proj.bias"]
    return w


@equivalent("layouts", of="from_gpt2")
def transposes_matrices(state):
    names = {"c_attn": "qkv", "c_proj": "out"}
    w = {}
    for name, tensor in state.items():
        part, kind = name.split(".")
        w[names[part] + ("_bias" if kind == "bias" else "")] = tensor.t().contiguous()
    return w


@equivalent("layouts", of="from_neox")
def picks_rows(state, n_heads):
    w, b = state["query_key_value.weight"], state["query_key_value.bias"]
    Dh = len(w) // (3 * n_heads)
    rows = [(h * 3 + i) * Dh + r for i in range(3) for h in range(n_heads) for r in range(Dh)]
    return {"qkv": w[rows], "qkv_bias": b[rows], "out": state["dense.weight"], "out_bias": state["dense.bias"]}


@equivalent("layouts", of="from_neox")
def one_third_after_the_other(state, n_heads):
    w, b = state["query_key_value.weight"], state["query_key_value.bias"]
    w, b = w.view(n_heads, 3, -1, w.shape[1]), b.view(n_heads, 3, -1)
    return {
        "out_bias": state["dense.bias"],
        "out": state["dense.weight"],
        "qkv": torch.cat([w[:, i].reshape(-1, w.shape[-1]) for i in range(3)]),
        "qkv_bias": torch.cat([b[:, i].flatten() for i in range(3)]),
    }


# ---- grouped


@equivalent("grouped")
def one_key_head_at_a_time(q, k, v, mask=None):
    B, H, T, _ = q.shape
    each = H // k.shape[1]
    outs, weights = [], []
    for h in range(H):
        m = None if mask is None else mask.expand(B, H, T, k.shape[2])[:, h]
        out, w = _attend(q[:, h], k[:, h // each], v[:, h // each], m)
        outs.append(out)
        weights.append(w)
    return torch.stack(outs, 1), torch.stack(weights, 1)


@equivalent("grouped")
def einsum_over_groups(q, k, v, mask=None):
    B, H, T, Dh = q.shape
    n_kv, S = k.shape[1:3]
    s = torch.einsum("bngtd,bnsd->bngts", q.reshape(B, n_kv, -1, T, Dh), k).reshape(B, H, T, S) / math.sqrt(Dh)
    weights = _softmax(s, mask)
    out = torch.einsum("bngts,bnsv->bngtv", weights.reshape(B, n_kv, -1, T, S), v)
    return out.reshape(B, H, T, -1), weights


@equivalent("grouped")
def groups_behind_the_queries(q, k, v, mask=None):
    """Folded as (T·groups) instead of (groups·T)."""
    B, H, T, Dh = q.shape
    n_kv, S = k.shape[1:3]
    folded = q.view(B, n_kv, -1, T, Dh).transpose(2, 3).flatten(2, 3)
    s = (folded / math.sqrt(Dh)) @ k.mT
    s = s.view(B, n_kv, T, -1, S).transpose(2, 3).reshape(B, H, T, S)
    weights = _softmax(s, mask)
    return (weights.view(B, n_kv, -1, S) @ v).view(B, H, T, -1), weights


# ---- pool_heads


@equivalent("pool_heads")
def stacks_means(w, n_heads, n_pooled):
    heads = w.chunk(n_heads)
    each = n_heads // n_pooled
    return torch.cat([torch.stack(heads[g : g + each]).mean(0) for g in range(0, n_heads, each)])


@equivalent("pool_heads")
def adds_into_rows(w, n_heads, n_pooled):
    Dh, each = len(w) // n_heads, n_heads // n_pooled
    out = torch.zeros(n_pooled * Dh, *w.shape[1:])
    for row in range(len(w)):
        head, r = divmod(row, Dh)
        out[head // each * Dh + r] += w[row] / each
    return out


@equivalent("pool_heads")
def averages_by_a_matrix(w, n_heads, n_pooled):
    mean = torch.eye(n_pooled).repeat_interleave(n_heads // n_pooled, dim=1) * n_pooled / n_heads
    return torch.tensordot(mean, w.unflatten(0, (n_heads, -1)), 1).flatten(0, 1)


# ---- costs


@equivalent("costs", of="Layer.parameters")
def matrix_by_matrix(self, bias):
    shapes = [(self.n_heads * self.head_dim, self.d_model), (self.d_model, self.n_heads * self.head_dim)]
    shapes += [(self.n_kv_heads * self.head_dim, self.d_model)] * 2
    return sum(rows * columns + (rows if bias else 0) for rows, columns in shapes)


@equivalent("costs", of="Layer.flops")
def product_by_product(self, tokens, context):
    D, Dh = self.d_model, self.head_dim
    q = out = 2 * tokens * D * self.n_heads * Dh
    k = v = 2 * tokens * D * self.n_kv_heads * Dh
    scores = mixing = self.n_heads * 2 * tokens * Dh * context
    return q + k + v + scores + mixing + out


@equivalent("costs", of="Layer.kv_bytes")
def through_a_real_cache(self, tokens, bytes_per_number):
    keys = np.zeros((self.n_kv_heads, tokens, self.head_dim), dtype=f"V{bytes_per_number}")
    return keys.nbytes * 2


# ---- the parts they share


def _softmax(s, mask):
    if mask is None:
        return s.softmax(-1)
    return s.masked_fill(~mask, -INF).softmax(-1).masked_fill(~mask, 0.0)


def _attend(q, k, v, mask):
    w = _softmax(q @ k.mT / math.sqrt(q.shape[-1]), mask)
    return w @ v, w
