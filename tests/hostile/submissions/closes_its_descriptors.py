"""Trick: closes everything, the standard streams included, and goes on."""

import os
import time

SOLVES = []
SAYS = {"causal_mask": "killed by|ended itself"}


def causal_mask(T, S):
    os.closerange(0, 256)
    time.sleep(3600)
