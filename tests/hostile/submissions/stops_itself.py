"""Trick: stops, and so neither answers nor ends."""

import os
import signal

SOLVES = []
SAYS = {"causal_mask": "too slow"}


def causal_mask(T, S):
    os.kill(os.getpid(), signal.SIGSTOP)
