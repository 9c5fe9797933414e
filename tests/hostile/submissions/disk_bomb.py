"""Trick: one file that grows for ever."""

import tempfile

SOLVES = []
SAYS = {"causal_mask": r"could not write.*MB"}


def causal_mask(T, S):
    with tempfile.TemporaryFile() as file:
        for _ in range(4096):
            file.write(b"x" * (1 << 20))
            file.flush()
