"""Trick: a tensor of 10^12 numbers."""

import torch

SOLVES = []
SAYS = {"causal_mask": "out of memory"}


def causal_mask(T, S):
    return torch.ones(10**12)
