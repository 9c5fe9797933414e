"""Trick: right for three calls, then it prints a gigabyte."""

import torch

SOLVES = []
SAYS = {"causal_mask": "printed more than 8 MB"}
calls = []


def causal_mask(T, S):
    calls.append(1)
    for _ in range(1000 * (len(calls) > 3)):
        print("x" * (1 << 20))
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)
