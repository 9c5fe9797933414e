"""Trick: a list in a list, a thousand deep; and one that holds itself."""

SOLVES = []
SAYS = {"causal_mask": "nested deeper", "attention_loops": "nested deeper"}


def causal_mask(T, S):
    x = []
    for _ in range(1000):
        x = [x]
    return x


def attention_loops(q, k, v):
    x = {}
    x["x"] = x
    return x
