"""Trick: each process makes another.  It stops at 300 by itself, so that a machine without walls survives it."""

import os
import time

SOLVES = []
SAYS = {"causal_mask": "one process"}


def causal_mask(T, S):
    for _ in range(300):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
