"""Trick: every signal has a handler that does nothing, and the work never ends."""

import contextlib
import signal

SOLVES = []
SAYS = {"causal_mask": "too slow"}
for number in range(1, 65):
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, lambda *_: None)


def causal_mask(T, S):
    while True:
        pass
