"""Trick: a folder in a folder, a thousand times, with a name at the end that nobody can type."""

import contextlib
import os
import tempfile

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


os.chdir(tempfile.mkdtemp(prefix="hostile-left-"))
with contextlib.suppress(OSError):
    for _ in range(1000):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    os.mkdir(b"\xff\n\x1b[2J")
