"""Trick: writes to the channel without an end."""

import os
import struct

SOLVES = []
SAYS = {"causal_mask": "broke the protocol|too slow"}


def causal_mask(T, S):
    while True:
        for number in range(3, 16):
            try:
                os.write(number, struct.pack("<II", 1 << 24, 0) + b" " * (1 << 24))
            except OSError:
                continue
