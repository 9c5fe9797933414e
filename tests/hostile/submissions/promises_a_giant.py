"""Trick: announces a message of gigabytes, in the hope that the judge makes room for it."""

import os
import struct

SOLVES = []
SAYS = {"causal_mask": "broke the protocol"}


def causal_mask(T, S):
    for number in range(3, 64):
        try:
            os.write(number, struct.pack("<III", 1 << 24, 1, (1 << 32) - 1))
        except OSError:
            continue
