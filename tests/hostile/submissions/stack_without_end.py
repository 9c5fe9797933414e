"""Trick: hangs while it is loaded, and when asked where, prints a line number with five thousand digits."""

import faulthandler
import os
import signal

SOLVES = []
SAYS = {"causal_mask": "too slow"}
faulthandler.unregister(signal.SIGUSR1)
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, f'File "{__file__}", line {"9" * 5000}\n'.encode()))
while True:
    pass
