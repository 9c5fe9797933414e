"""Trick: an object whose type has no end when it is asked for its name."""

SOLVES = []
SAYS = {"causal_mask": "too slow"}


class Endless(type):
    @property
    def __name__(cls):
        while True:
            pass


class Thing(metaclass=Endless):
    def __repr__(self):
        while True:
            pass


def causal_mask(T, S):
    return Thing()
