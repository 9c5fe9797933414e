"""Trick: an integer with more digits than Python will print, inside what it returns."""

SOLVES = []
SAYS = {"causal_mask": "wrong|raised|cannot leave", "attention_loops": "wrong|raised|cannot leave"}


def causal_mask(T, S):
    return 10**6000


def attention_loops(q, k, v):
    return [10**6000, {10**6000: -(10**6000)}]
