"""Single keys from a terminal, without Enter.  Where there is no terminal, or no termios (Windows), no key ever comes."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
from types import TracebackType
from typing import Any

SEQUENCE = re.compile(r"\033(?:\[[0-9;]*[A-Za-z~]|O.|.)?")  # what an arrow, say, sends


class Keys:
    """`with Keys() as keys: keys.read(0.1)` gives a key or ""; the terminal is put back however the block is left."""

    def __init__(self) -> None:
        self.fd = -1
        self.resumed = False  # the program was stopped by Ctrl-Z and goes on: the screen is not ours any more
        self._before: list[Any] = []
        self._handler: Any = None
        self._typed = ""  # keys that came faster than they were asked for

    @property
    def on(self) -> bool:
        """Can keys come at all?"""
        return self.fd >= 0

    def __enter__(self) -> Keys:
        try:
            import termios
        except ImportError:
            return self
        with contextlib.suppress(ValueError, OSError, termios.error):  # stdin is closed, or the terminal behind it gone
            if sys.stdin and sys.stdin.isatty():
                fd = sys.stdin.fileno()
                self._before = termios.tcgetattr(fd)
                self.fd = fd
                self._single_keys()
                self._handler = signal.signal(signal.SIGCONT, self._continued)
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        if self.on:
            import termios

            signal.signal(signal.SIGCONT, self._handler or signal.SIG_DFL)
            with contextlib.suppress(termios.error):  # the terminal was closed
                termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)

    def read(self, seconds: float) -> str:
        """Waits that long for a key.  A key that is no character, an arrow say, is swallowed whole."""
        if not self.on:
            import time

            time.sleep(seconds)
            return ""
        with contextlib.suppress(OSError, InterruptedError):
            if not self._typed and select.select([self.fd], [], [], seconds)[0]:
                data = os.read(self.fd, 64)
                if not data:  # the terminal was closed
                    raise KeyboardInterrupt
                self._typed += SEQUENCE.sub("", data.decode("utf-8", "replace"))
        key, self._typed = self._typed[:1], self._typed[1:]
        return key

    def _single_keys(self) -> None:
        import termios

        mode = termios.tcgetattr(self.fd)
        mode[3] &= ~(termios.ICANON | termios.ECHO)  # Ctrl-C and Ctrl-Z keep their meaning
        termios.tcsetattr(self.fd, termios.TCSADRAIN, mode)

    def _continued(self, number: int, frame: object) -> None:
        self._single_keys()  # the shell has put its own settings back meanwhile
        self.resumed = True
