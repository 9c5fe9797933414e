"""Trick: a regular expression that tries all ways."""

import re

SOLVES = []
SAYS = {"causal_mask": "too slow"}


def causal_mask(T, S):
    return re.match(r"(a|aa)+$", "a" * 100 + "b")
