"""Trick: takes all the memory there is."""

SOLVES = []
SAYS = {"causal_mask": "out of memory"}


def causal_mask(T, S):
    held = []
    while True:
        held.append(bytes(1 << 28))
