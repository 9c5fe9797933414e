"""Trick: one number of C code that takes hours and never lets go of the interpreter."""

SOLVES = []
SAYS = {"causal_mask": "too slow"}


def causal_mask(T, S):
    return 7 ** (10**8) % 10
