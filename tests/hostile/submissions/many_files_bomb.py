"""Trick: no file is large, but there are many; it stops at 1 GB by itself."""

import tempfile
from pathlib import Path

SOLVES = []
SAYS = {"causal_mask": r"could not write.*MB"}


def causal_mask(T, S):
    folder = Path(tempfile.mkdtemp(prefix="hostile-left-"))
    for i in range(64):
        (folder / str(i)).write_bytes(b"x" * (16 << 20))
    raise ValueError("a gigabyte")
