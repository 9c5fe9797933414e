"""Trick: other programs have no hooks: a shell, Python once more, and git for the history."""

import contextlib
import os
import subprocess
import sys

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


attempts = {
    "a shell": lambda: subprocess.run(["sh", "-c", "echo started"], capture_output=True, check=True),
    "python": lambda: subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True),
    "system": lambda: os.system("true") and 1 / 0,
    "popen": lambda: os.popen("true").read(),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
}
for name, attempt in attempts.items():
    with contextlib.suppress(BaseException):
        attempt()
        print("GOT IT:", name)
