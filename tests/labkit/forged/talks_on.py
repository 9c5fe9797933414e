"""Trick: threads, an exit handler and three children go on talking on the channel after the answer."""

import atexit
import contextlib
import os
import threading
import time

import torch

from labkit import wire

SOLVES = []
YES = wire.dumps([1, "ok", torch.ones(1, 1, dtype=torch.bool)])


def shout(seconds=0.3):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for descriptor in range(3, 12):
            with contextlib.suppress(OSError):
                os.write(descriptor, YES)
        time.sleep(0.01)


atexit.register(shout)


def causal_mask(T, S):
    threading.Thread(target=shout, daemon=True).start()
    return torch.ones(T, S, dtype=torch.bool)


def attention_loops(q, k, v):
    for _ in range(3):  # three, and each leaves by itself
        if os.fork() == 0:
            os.setsid()
            shout()
            os._exit(0)
    return torch.zeros(len(q), v.shape[-1])


def attention(q, k, v, mask=None):
    raise SystemExit(0)
