"""Trick: threads until there is no room; it stops at 3000 by itself."""

import threading
import time

SOLVES = []
SAYS = {"causal_mask": "thread|memory|processes"}


def causal_mask(T, S):
    for _ in range(3000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    raise ValueError("three thousand of them")
