"""Trick: shared and anonymous maps, which a limit on data does not count; it stops at 12 GB by itself."""

import mmap

SOLVES = []
SAYS = {"causal_mask": "memory"}


def causal_mask(T, S):
    held = []
    for _ in range(24):
        held.append(mmap.mmap(-1, 1 << 29, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
        for page in range(0, 1 << 29, 1 << 20):
            held[-1][page] = 1
    raise ValueError("twelve gigabytes")
