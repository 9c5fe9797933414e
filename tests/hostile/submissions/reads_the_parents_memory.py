"""Trick: a process of the same user can be read and written: /proc/PID/mem, process_vm_readv, ptrace, pidfd_getfd."""

import contextlib
import ctypes
import os
import re
from pathlib import Path

import torch

SOLVES = ["causal_mask"]
SAYS = {}
PTRACE_SEIZE = 0x4206


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


call = ctypes.CDLL(None, use_errno=True).syscall
call.restype = ctypes.c_long
others = [int(p.name) for p in Path("/proc").glob("[0-9]*") if int(p.name) != os.getpid()]
for pid in others:
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/mem", "r+b", 0) as memory:
        start = int(re.search(r"(\w+)-\w+ rw-p", Path(f"/proc/{pid}/maps").read_text())[1], 16)
        memory.seek(start)
        print("GOT IT: memory of", pid, len(memory.read(16)))
    if call(101, PTRACE_SEIZE, pid, 0, 0) == 0:
        print("GOT IT: traces", pid)
    pidfd = call(434, pid, 0)
    if pidfd >= 0 and any(call(438, pidfd, n, 0) >= 0 for n in range(3, 16)):
        print("GOT IT: a descriptor of", pid)
