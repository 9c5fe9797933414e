"""Trick: a thread prints without an end while the answers are right."""

import os
import threading
import time

import torch

SOLVES = []
SAYS = {"causal_mask": "printed more than 8 MB"}


def flood():
    while True:
        os.write(2, b"\r" * (1 << 16))


def causal_mask(T, S):
    threading.Thread(target=flood, daemon=True).start()
    time.sleep(1)
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)
