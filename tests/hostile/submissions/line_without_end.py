"""Trick: a syntax error on a line whose number has five thousand digits: more than Python will print."""

SOLVES = []
SAYS = {"causal_mask": "SyntaxError|protocol"}


def causal_mask(T, S):
    raise SyntaxError("x", (__file__, 10**5000, 1, "x"))
