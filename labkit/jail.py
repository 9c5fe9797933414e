"""What a graded lab may not do, said to its own process before the lab is loaded: limits, and calls that are refused.

Three layers, each as strict as the system allows, none of which can be undone from within: resource limits; an audit
hook, for a sentence with a line number in the usual case; and on Linux a system-call filter, for all other ways.  A
graded lab is one process: it starts no other, signals none but itself, opens no network, and changes no limit.
Which files it sees is not decided here but in `labkit.sandbox`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import signal
import struct
import sys
from typing import Any

CPU = 60  # seconds of CPU time a task may use
MEMORY = 4 << 30  # bytes of address space beyond what its imports took
FILE = 64 << 20  # bytes of one file, and of all temporary files together
OPEN = 256  # files at once

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050001  # the last: "operation not permitted"
_CLONE_THREAD = 0x10000
_X32 = 0x40000000  # the bit of x86-64's second set of system calls

# (audit architecture, refused altogether, then by argument: clone, kill-like, prlimit64)
_CALLS: dict[str, tuple[int, tuple[int, ...], int, tuple[int, ...], int]] = {
    "x86_64": (
        0xC000003E,
        (
            57, 58, 59, 322,  # fork vfork execve execveat
            101, 310, 311, 312,  # ptrace process_vm_readv process_vm_writev kcmp
            200, 129, 297, 424, 434, 438,  # tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_*
            41, 42, 49,  # socket connect bind
            29, 64, 68, 240, 319, 447,  # shmget semget msgget mq_open memfd_create memfd_secret
            155, 161, 165, 166, 272, 308, 428, 429, 430, 431, 432, 442,  # namespaces and mounts
            248, 249, 250, 298, 304, 321, 323, 425, 426, 427,  # keys perf open_by_handle bpf userfaultfd io_uring
            160,  # setrlimit
        ),
        56, (62, 234), 302,
    ),
    "aarch64": (
        0xC00000B7,
        (
            221, 281, 117, 270, 271, 272, 130, 138, 240, 424, 434, 438, 198, 203, 200, 194, 190, 186, 180, 279, 447,
            41, 51, 40, 39, 97, 268, 428, 429, 430, 431, 432, 442, 217, 218, 219, 241, 265, 280, 282, 425, 426, 427, 164,
        ),
        220, (129, 131), 261,
    ),
}  # fmt: skip
_CLONE3 = 435  # on every architecture; said to be missing, so that the C library takes clone, whose flags can be seen


class Denied(BaseException):
    """Something a graded lab may not do.  Not an Exception, so that `except Exception` does not hide it."""


def lock() -> None:
    """Limits this process for good.  Call it in a fork that has one thread."""
    _limits()
    _watch()
    if filters():
        _filter()


def filters() -> bool:
    """Whether system calls can be refused here: Linux, on a processor whose table is above."""
    return sys.platform == "linux" and platform.machine() in _CALLS and sys.maxsize > 2**32


def prepare() -> None:
    """Imports and makes what `lock` needs, so that each fork has it already."""
    with contextlib.suppress(ImportError):
        import resource  # noqa: F401
    if filters():
        _program(platform.machine(), os.getpid())
        _prctl()


def hide_memory() -> None:
    """No process of the same user may read this one's memory, nor that of its forks."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _limits() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_CPU: (CPU, CPU + 2),
        resource.RLIMIT_FSIZE: (FILE, FILE),
        resource.RLIMIT_NOFILE: (OPEN, OPEN),
    }
    if (held := _address_space()) is not None:
        wanted[resource.RLIMIT_AS] = (held + MEMORY, held + MEMORY)
    for what, (soft, hard) in wanted.items():
        most = resource.getrlimit(what)[1]  # may be lower already, and cannot be raised
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(what, (soft, hard))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing on is an OSError, which has a line


def _address_space() -> int | None:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _watch() -> None:
    """An audit hook: it refuses what Python sees, and says what it was."""
    me = os.getpid()
    starts = ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "os.startfile", "subprocess.Popen")
    network = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
    refused = Denied  # bound here: a lab may put other things in place of what stands in this module

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in starts:
            raise refused(f"start another program ({event})")
        if event in network or (event == "socket.__new__" and args[1] not in (1, -1)):  # 1: AF_UNIX
            raise refused(f"use the network ({event})")
        if event in ("os.kill", "os.killpg") and args[0] != me:
            raise refused(f"signal another process ({event})")
        if event == "resource.setrlimit" or (event == "resource.prlimit" and args[2] is not None):
            raise refused(f"change its limits ({event})")

    sys.addaudithook(hook)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def _filter() -> None:
    """Refuses system calls from now on, in every thread to come.  Source: seccomp(2), Linux."""
    program = _program(platform.machine(), os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    given = _Program(len(program) // 8, ctypes.addressof(code))
    prctl = _prctl()
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0) or prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(given), 0, 0):
        raise OSError(ctypes.get_errno(), "the system calls of a graded lab cannot be filtered here")


@functools.cache
def _prctl() -> Any:
    found = ctypes.CDLL(None, use_errno=True).prctl
    found.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    return found


def _program(machine: str, me: int) -> bytes:
    """The filter, in BPF: each step is (code, jump if true, jump if false, value), and looks at struct seccomp_data."""
    architecture, refused, clone, signals, prlimit = _CALLS[machine]
    load, equal, bits, at_least, answer = 0x20, 0x15, 0x45, 0x35, 0x06
    number, arch = 0, 4
    argument = [16 + 8 * i for i in range(6)]  # their low halves: both processors are little-endian
    steps: list[tuple[int, int, int, int]] = [
        (load, 0, 0, arch), (equal, 1, 0, architecture), (answer, 0, 0, _KILL),
        (load, 0, 0, number), (at_least, 0, 1, _X32), (answer, 0, 0, _REFUSE),
        (equal, 0, 1, _CLONE3), (answer, 0, 0, 0x00050000 | 38),  # ENOSYS
    ]  # fmt: skip
    for call in refused:
        steps += [(equal, 0, 1, call), (answer, 0, 0, _REFUSE)]
    steps += [
        (equal, 0, 4, clone), (load, 0, 0, argument[0]), (bits, 0, 1, _CLONE_THREAD), (answer, 0, 0, _ALLOW),
        (answer, 0, 0, _REFUSE),
    ]  # fmt: skip
    for call in signals:
        steps += [
            (equal, 0, 4, call), (load, 0, 0, argument[0]), (equal, 0, 1, me), (answer, 0, 0, _ALLOW),
            (answer, 0, 0, _REFUSE),
        ]  # fmt: skip
    steps += [
        (equal, 0, 5, prlimit), (load, 0, 0, argument[2]), (equal, 0, 2, 0), (load, 0, 0, argument[2] + 4),
        (equal, 1, 0, 0), (answer, 0, 0, _REFUSE), (answer, 0, 0, _ALLOW),
    ]  # fmt: skip
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
