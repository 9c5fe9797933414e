"""Trick: in its process, no time passes: the clock of the judge is another."""

import time

SOLVES = []
SAYS = {"causal_mask": "too slow"}
real = time.sleep
time.monotonic = time.time = time.perf_counter = lambda: 0.0


def causal_mask(T, S):
    real(3600)
