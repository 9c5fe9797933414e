"""Trick: the work is done while the file is loaded, where no call is timed."""

SOLVES = []
SAYS = {"causal_mask": "too slow"}
while True:
    pass
