"""Trick: exceptions as large as the channel takes: their text, the names of their types, the package that they miss."""

SOLVES = []
SAYS = {"causal_mask": "raised", "attention_loops": "not installed"}


def causal_mask(T, S):
    raise type("X" * (1 << 20), (Exception,), {})("y" * (1 << 20))


def attention_loops(q, k, v):
    raise ModuleNotFoundError("z", name="z" * (1 << 20))
