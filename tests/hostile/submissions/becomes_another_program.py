"""Trick: replaces itself by a fresh Python on the same channel, without hooks, where nothing is forbidden."""

import os
import sys

SOLVES = []
SAYS = {"causal_mask": "one process"}


def causal_mask(T, S):
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"])
