"""Trick: SysV and POSIX shared memory, semaphores and queues outlive the process that makes them."""

import contextlib
import ctypes
from multiprocessing import shared_memory

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


c = ctypes.CDLL(None)
for make in ("shmget", "semget", "msgget"):
    size = () if make == "msgget" else (4096 if make == "shmget" else 1,)
    if getattr(c, make)(0x4057113, *size, 0o1666) >= 0:
        print("GOT IT:", make)
with contextlib.suppress(BaseException):
    shared_memory.SharedMemory("hostile-left-memory", create=True, size=4096)
    print("GOT IT: shm_open")
