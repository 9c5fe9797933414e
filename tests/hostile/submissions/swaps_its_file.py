"""Trick: once loaded, its file becomes a pipe: whoever reads it again waits for ever."""

import contextlib
import os
import shutil

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


with contextlib.suppress(BaseException):
    shutil.move(__file__, __file__ + ".hostile-left")
    os.mkfifo(__file__)
    print("GOT IT: swapped")
