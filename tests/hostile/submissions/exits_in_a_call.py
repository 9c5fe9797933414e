"""Trick: leaves with status 0 in the middle of a call, past every handler."""

import os

SOLVES = []
SAYS = {"causal_mask": "ended itself with exit status 0"}


def causal_mask(T, S):
    os._exit(0)
