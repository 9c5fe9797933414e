"""Trick: sends what it is asked to a friend, and waits for the answer."""

import socket

SOLVES = []
SAYS = {"causal_mask": "use the network.*without network"}


def causal_mask(T, S):
    with socket.create_connection(("192.0.2.1", 80), timeout=5) as s:
        s.send(f"causal_mask({T}, {S})?".encode())
        return s.recv(1000)
