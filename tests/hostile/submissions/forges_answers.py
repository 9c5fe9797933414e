"""Trick: answers the questions to come before they are asked, with what the first one would like to hear."""

import os

import torch

from labkit import wire

SOLVES = []
SAYS = {"causal_mask": "wrong|broke the protocol"}


def causal_mask(T, S):
    for serial in range(1, 200):
        data = wire.dumps([serial, "ok", torch.ones(T, S, dtype=torch.bool)])
        for number in range(3, 16):
            try:
                os.write(number, data)
            except OSError:
                continue
    return torch.ones(T, S, dtype=torch.bool)
