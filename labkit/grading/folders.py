"""Reads a folder of somebody else's files: no link is followed, no pipe is waited for, nothing is read without a limit."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from labkit.grading.entries import PRUNED, Budget, Entry, Refused, parts, pruned, show, size

DEEP = 40  # folders in folders


def read(base: Path) -> Iterator[Entry]:
    """What lies in a folder, in order of the names; what cannot be taken comes as an entry with a `problem`.

    Each folder at the top has a budget of its own: they are students.
    """
    return _below(base, (), None)


def _below(base: Path, path: tuple[str, ...], budget: Budget | None) -> Iterator[Entry]:
    folder = base.joinpath(*path)
    try:
        found = sorted(os.scandir(folder), key=lambda f: f.name)
    except OSError as e:
        yield Entry(path or (base.name,), problem=Refused("unreadable", f"It cannot be read: {e.strerror}."))
        return
    for item in found:
        if item.name in PRUNED:
            continue
        below = (*path, item.name)
        mine = budget or Budget()
        try:
            mine.take(members=1)
            parts(item.name)
        except Refused as e:
            yield Entry(below, problem=e)
            if e.reason == "too-many-files":
                return
            continue
        if pruned(below[-1:]):
            continue
        if item.is_symlink():
            yield Entry(below, problem=Refused("link", f"`{show(item.name)}` is a link. Links are never followed."))
        elif item.is_dir(follow_symlinks=False):
            yield Entry(below)
            if len(below) > DEEP:
                yield Entry(below, problem=Refused("too-deep", f"It has more than {DEEP} folders in one another."))
            else:
                yield from _below(base, below, mine)
        elif item.is_file(follow_symlinks=False):
            disk = base.joinpath(*below)
            yield Entry(below, read=partial(_file, disk), disk=disk)
        else:
            yield Entry(below, problem=Refused("device", f"`{show(item.name)}` is a device, a pipe or a socket."))


def stream(path: Path) -> IO[bytes]:
    """A file of the folder, open to be read.  Raises Refused for what is not a file, or not any more."""
    try:
        # Between the look and the opening a file can be swapped for a pipe or a link: neither may hold us or lead away.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        opened = open(number, "rb")  # noqa: SIM115 -- the caller closes it
        if not stat.S_ISREG(os.fstat(number).st_mode):
            opened.close()
            raise Refused("device", "It is no longer a file.")
    except OSError as e:
        raise Refused("unreadable", f"It cannot be read: {e.strerror}.") from None
    return opened


def _file(path: Path, limit: int) -> bytes:
    try:
        with stream(path) as f:
            data = f.read(limit + 1)
    except OSError as e:
        raise Refused("unreadable", f"It cannot be read: {e.strerror}.") from None
    if len(data) > limit:
        raise Refused("too-large", f"It has more than {size(limit)}.")
    return data
