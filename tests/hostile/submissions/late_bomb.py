"""Trick: right for three calls, then it leaves."""

import os

import torch

SOLVES = []
SAYS = {"causal_mask": "exit status 7"}
calls = []


def causal_mask(T, S):
    calls.append(1)
    if len(calls) > 3:
        os._exit(7)
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)
