"""Trick: leaves notes for the next submission wherever it can write."""

import contextlib
import os
import tempfile

import torch

SOLVES = ["causal_mask"]
SAYS = {}
PLACES = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


for folder in ("/tmp", "/var/tmp", "/dev/shm", tempfile.gettempdir(), *PLACES.get("folders", [])):
    with contextlib.suppress(OSError), open(os.path.join(folder, f"hostile-left-{os.getpid()}"), "w") as file:
        file.write("the answer is tril")
