"""Trick: puts modules of its own in the place of those that would judge, were the judge in this process."""

import sys
import types

import torch

SOLVES = []
SAYS = {"causal_mask": "^wrong"}


class Generous(types.ModuleType):
    def __getattr__(self, name):
        return lambda *_, **__: True


for name in ("labkit.spec", "labkit.values", "labkit.runner", "labkit.report", "labkit.remote", "pytest", "unittest"):
    sys.modules[name] = Generous(name)


def causal_mask(T, S):
    return torch.zeros(T, S, dtype=torch.bool)
