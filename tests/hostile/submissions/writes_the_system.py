"""Trick: opens for writing what every later run will read: Python, the packages, labkit, a start-up file, its own file."""

import contextlib
import os
import site
import sys
from pathlib import Path

import torch

import labkit

SOLVES = ["causal_mask"]
SAYS = {}
PLACES = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


files = [
    sys.executable,
    torch.__file__,
    labkit.__file__,
    os.__file__,
    __file__,
    "/etc/hosts",
    "/proc/sys/kernel/hostname",
]
files += PLACES.get("files", [])
for path in files:
    with contextlib.suppress(BaseException):
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
        print("GOT IT: may write", path)
folders = [Path(x).parent for x in files[:4]] + [Path("/usr/lib"), Path("/etc"), Path("/dev"), Path.home()]
for folder in [*folders, Path(site.getusersitepackages())]:
    with contextlib.suppress(BaseException):
        made = folder / "hostile-left-here"
        made.write_text("")
        made.unlink()
        print("GOT IT: may write into", folder)
