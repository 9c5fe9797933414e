"""Trick: files and sockets that its parent forgot to close."""

import os
import stat

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


sockets = 0
for number in range(3, 256):
    try:
        kind = os.fstat(number).st_mode
    except OSError:
        continue
    sockets += stat.S_ISSOCK(kind)
    if not (stat.S_ISSOCK(kind) or stat.S_ISCHR(kind)):
        print("GOT IT: descriptor", number, os.readlink(f"/proc/self/fd/{number}"))
if sockets > 1:
    print("GOT IT:", sockets, "sockets, and only one is its own")
