"""Trick: the forbidden function is a name for an operator; the operator is called, by the dispatcher's own names."""

import torch

SOLVES = ["causal_mask"]
OPS = torch.ops.aten


def causal_mask(T, S):
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def attention(q, k, v, mask=None):
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], () if mask is None else mask.shape[:-2])
    q, k, v = (x.expand(*lead, *x.shape[-2:]) for x in (q, k, v))
    if mask is not None:  # this operator would add a mask of booleans as zeros and ones
        mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    return OPS._scaled_dot_product_attention_math(q, k, v, mask)


def attention_loops(q, k, v):
    return OPS.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None])[0, 0]


def attention_tiled(q, k, v, block=16):
    for _ in range(0, len(k), block):
        q = q + 0
    return OPS.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None])[0, 0]
