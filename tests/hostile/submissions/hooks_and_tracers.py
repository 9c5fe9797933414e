"""Trick: tracers, audit hooks and callbacks of the collector that raise in whatever runs next."""

import gc
import sys

import torch

SOLVES = []
SAYS = {"causal_mask": "raised|ended|killed|protocol|too slow|wrong"}


def refuse(*_):
    raise KeyboardInterrupt


def causal_mask(T, S):
    sys.addaudithook(refuse)
    gc.callbacks.append(refuse)
    sys.settrace(refuse)
    sys.setprofile(refuse)
    return torch.ones(T, S, dtype=torch.bool)
