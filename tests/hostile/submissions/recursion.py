"""Trick: a function that calls itself, without a limit, until the stack is gone."""

import sys

SOLVES = []
SAYS = {"causal_mask": "RecursionError|SIGSEGV|memory|too slow", "attention_loops": "RecursionError"}


def causal_mask(T, S):
    sys.setrecursionlimit(1 << 30)
    x = None
    for _ in range(10**6):
        x = [x]
    return repr(x)


def attention_loops(q, k, v):
    return attention_loops(q, k, v)
