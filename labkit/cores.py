"""A judge and the lab it asks, on one core: they take turns, hundreds of times a check, and never work at once.

On two cores each turn first has to wake the other core, which takes longer than most answers, and on a virtual machine
several times as long.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterator


@contextlib.contextmanager
def one() -> Iterator[int | None]:
    """Keeps this thread on the core where it finds itself, and says which; None where there is no choice (not Linux)."""
    if sys.platform != "linux" or len(free := os.sched_getaffinity(0)) < 2:
        yield None
        return
    time.sleep(1e-4)  # whoever wakes is put on a core that is free; without it, two of these could share one for good
    core = ctypes.CDLL(None).sched_getcpu()
    try:
        os.sched_setaffinity(0, {core})
    except OSError:  # it has been taken away
        core = None
    try:
        yield core
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, free)


def stay(core: int) -> None:
    """Keeps this process, which has one thread, on that core, if it may."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {core})
