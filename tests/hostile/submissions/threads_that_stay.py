"""Trick: threads that go on between the answers and talk on the channel."""

import os
import threading
import time

import torch

SOLVES = []
SAYS = {"causal_mask": "wrong|broke the protocol"}


def talk():
    while True:
        for number in range(3, 16):
            try:
                os.write(number, b"\0" * 8)
            except OSError:
                continue
        time.sleep(0.001)


def causal_mask(T, S):
    for _ in range(4):
        threading.Thread(target=talk).start()
    time.sleep(0.05)
    return torch.ones(T, S, dtype=torch.bool)
