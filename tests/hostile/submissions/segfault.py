"""Trick: overwrites its own memory."""

import ctypes

SOLVES = []
SAYS = {"causal_mask": "SIGSEGV|SIGBUS"}


def causal_mask(T, S):
    ctypes.memset(id(None), 255, 64)
    ctypes.string_at(8)
