"""Trick: none.  What was handed out is handed in, and the names are there."""

SOLVES = []


def attention_loops(q, k, v):
    raise NotImplementedError("attention_loops")


def causal_mask(T, S):
    pass


def attention(q, k, v, mask=None):
    return None, None


attention_tiled = attention_loops
