"""Trick: three hundred children that have ended and are never waited for."""

import os

SOLVES = []
SAYS = {"causal_mask": "one process"}


def causal_mask(T, S):
    for _ in range(300):
        if os.fork() == 0:
            os._exit(0)
