"""Trick: forks twice, leaves its session, and goes on after its turn."""

import os
import time

import torch

SOLVES = []
SAYS = {"causal_mask": "one process"}


def causal_mask(T, S):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)
