"""Trick: asks and tells over every kind of socket: TCP, UDP, IPv6, UNIX by path and by abstract name, raw, netlink."""

import contextlib
import ctypes
import socket

import torch

SOLVES = ["causal_mask"]
SAYS = {}
PLACES = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


def attempt(what, family, kind, where, number=0):
    with contextlib.suppress(BaseException), socket.socket(family, kind, number) as s:
        s.settimeout(1)
        if where:
            s.connect(where)
            s.send(b"what was found here")
            print("GOT IT:", what, s.recv(100))
        print("GOT IT:", what)


port = PLACES.get("port", 9)
attempt("TCP", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port))
attempt("UDP", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port))
attempt("IPv6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", port))
attempt("UNIX", socket.AF_UNIX, socket.SOCK_STREAM, PLACES.get("socket", "/run/docker.sock"))
attempt("abstract", socket.AF_UNIX, socket.SOCK_STREAM, PLACES.get("abstract", "\0nobody"))
attempt("raw", socket.AF_INET, socket.SOCK_RAW, None, 1)
attempt("netlink", socket.AF_NETLINK, socket.SOCK_RAW, None)
with contextlib.suppress(BaseException):
    print("GOT IT: DNS", socket.getaddrinfo("localhost", 80))
if ctypes.CDLL(None).socket(2, 1, 0) >= 0:
    print("GOT IT: a socket from C")
