"""Trick: empty files take no space, but each takes an entry; it stops at 10,000 by itself, and leaves them there."""

import contextlib
import os
import tempfile

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


folder = tempfile.mkdtemp(prefix="hostile-left-")
with contextlib.suppress(OSError):
    for i in range(10_000):
        os.close(os.open(f"{folder}/{i}", os.O_CREAT | os.O_WRONLY))
