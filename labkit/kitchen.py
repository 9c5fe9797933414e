"""Where boxes come from: processes that hold one lab each.

With fork, all come from one process that has imported what labs need and never computed; without, each starts afresh.
For grading, each is locked (`labkit.jail`), and where bubblewrap works, all are in a sandbox (`labkit.sandbox`).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from labkit import cores, sandbox, wire
from labkit.catalog import LabError
from labkit.remote import Box, Stopped

ANSWER = 60.0  # seconds the forking process may take for its imports, and for an answer


class Gone(LabError):
    """The process that forks is not there any more, or does not answer: a lab can do that to it."""


class Kitchen:
    """Makes boxes.  With fork, from one process that has imported `modules`; without, a fresh process each."""

    def __init__(
        self,
        modules: Iterable[str] = (),
        fork: bool = sys.platform == "linux",
        locked: bool = False,
        hidden: Iterable[str] | None = None,
        forbidden: Iterable[str] = (),
    ) -> None:
        """`locked`: for files of strangers.  `hidden`: packages that are not to be there; given, it takes a sandbox.

        `forbidden`: names that boxes will be told to forbid, so that they are looked for once and not in each.
        """
        self._imports = [",".join(forbidden), *modules]
        self._locked, self._hidden = locked, None if hidden is None else list(hidden)
        self._safe = ["-P"] * locked  # a random.py in the folder of the moment is then nobody's module
        self._talk = threading.RLock()
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._boxes: list[Box] = []
        self._spare: Box | None = None
        self._called_off = False
        self._core: int | None = None
        self._compiled: dict[tuple[str, bytes], bytes] = {}
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        if fork:
            self._start_server()

    def __enter__(self) -> Kitchen:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def box(self) -> Box:
        """A process with nothing loaded yet: the spare one if there is one."""
        made, self._spare = self._spare or self._made(), None
        if self._called_off:
            made.close()
            raise Stopped
        return made

    def prepare(self) -> None:
        """Has the next process ready: started, everything imported, nothing loaded."""
        if self._spare is None:
            self._spare = self._made()

    @contextlib.contextmanager
    def on_one_core(self) -> Iterator[None]:
        """This thread, and the boxes it asks for meanwhile, stay on one core."""
        with cores.one() as self._core:
            try:
                yield
            finally:
                self._core = None

    def call_off(self) -> None:
        """Ends what is being checked, from another thread; the thread that checks gets `Stopped`, until `go_on`."""
        self._called_off = True
        for box in list(self._boxes):
            box.call_off()

    def go_on(self) -> None:
        """Boxes are made again after a `call_off`."""
        for box in self._boxes:
            if box.called_off and not box.closed:
                box.close()
        if self._spare is not None and self._spare.closed:
            self._spare = None
        self._called_off = False

    def _made(self) -> Box:
        self._boxes = [box for box in self._boxes if not box.closed]
        if not self._control:
            made = self._fresh()
        else:
            try:
                made = self._forked()
            except Gone:
                self._stop_server()
                self._start_server()
                made = self._forked()
        self._boxes.append(made)
        return made

    def close(self) -> None:
        for box in self._boxes:
            with contextlib.suppress(OSError):
                box.close()
        if self._control:
            self._stop_server()

    def _stop_server(self) -> None:
        """It ends when its socket is closed, and its runs with it."""
        assert self._control is not None
        assert self._server is not None
        self._answers.close()
        self._control.close()
        try:
            self._server.wait(5 if self._ready else 0)  # while it imports, it would not notice
        except subprocess.TimeoutExpired:
            # With its group: a sandbox that is still being set up has a process that would wait for it for ever.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.kill()
            self._server.wait()

    def _start_server(self) -> None:
        ours, theirs = socket.socketpair()
        how = "fork" if not self._locked else "fork-locked" if self._hidden is None else "fork-sandboxed"
        command = [sys.executable, *self._safe, "-m", "labkit.child", how, str(theirs.fileno()), *self._imports]
        nowhere = subprocess.DEVNULL
        output = None if self._hidden is None else nowhere  # what the sandbox holds open, a lab in it could look at
        if self._hidden is not None:
            command = sandbox.command(self._hidden, command)
        # A session of its own: Ctrl-C reaches `lab` alone, which then closes the socket and so ends the rest.
        self._server = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=nowhere, stdout=output, stderr=output, start_new_session=True,
            env=self._environment if self._hidden is None else sandbox.environment(),
        )  # fmt: skip
        theirs.close()
        ours.settimeout(ANSWER)
        self._control = ours
        self._answers = ours.makefile("rb")
        self._ready = False

    def _tell(self, word: str, *rest: int, descriptors: Iterable[int] = ()) -> Any:
        assert self._control is not None
        try:
            with self._talk:  # what a lab prints is read in a thread, which may have to end it
                if not self._ready:
                    self._ready = json.loads(self._answers.readline()) == "ready"
                socket.send_fds(self._control, [json.dumps([word, *rest]).encode()], list(descriptors))
                return json.loads(self._answers.readline())
        except (OSError, ValueError):
            raise Gone(
                "The process that holds labs does not answer, or could not start.  `lab doctor` looks at it."
            ) from None

    def _forked(self) -> Box:
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        try:
            pid = self._tell(
                "fork", *([] if self._core is None else [self._core]), descriptors=[theirs.fileno(), write]
            )
        except Gone:
            ours.close()
            os.close(read)
            raise
        finally:
            theirs.close()
            os.close(write)
        status: list[int] = []
        server = self._server

        def kill() -> None:
            if status:
                return
            if self._hidden is not None:  # its number means nothing out here
                with contextlib.suppress(Gone):
                    if server is self._server:
                        self._tell("kill", pid)
                return
            for way in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    way(pid, signal.SIGKILL)

        def poke() -> None:
            with contextlib.suppress(Gone):
                if server is self._server:
                    self._tell("poke", pid)

        def wait() -> int:
            if status:
                return status[0]
            status.append(-signal.SIGKILL)  # with its parent gone, the system takes it away
            if server is self._server:
                with contextlib.suppress(Gone):
                    status[0], tidy = self._tell("wait", pid)
                    if not tidy:
                        self._stop_server()
                        self._start_server()
            return status[0]

        return Box(ours, os.fdopen(read, "rb"), kill, wait, poke, self._compiled)

    def _fresh(self) -> Box:
        token = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as door:
            how = "fresh-locked" if self._locked else "fresh"
            command = [
                sys.executable,
                *self._safe,
                "-m",
                "labkit.child",
                how,
                str(door.getsockname()[1]),
                *self._imports,
            ]
            run = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True, env=self._environment,
            )  # fmt: skip
            assert run.stdin is not None
            run.stdin.write(token.encode() + b"\n")
            run.stdin.flush()  # and it stays open: when it closes, the run knows that this process is gone
            door.settimeout(30)
            while True:  # another program on this machine may knock; only the child knows the token
                sock, _ = door.accept()
                sock.settimeout(5)
                with contextlib.suppress(TimeoutError):
                    if sock.recv(len(token)) == token.encode():  # not more: "ready" may follow at once
                        break
                sock.close()
        if wire.receive(sock, deadline=time.monotonic() + 60) != "ready":  # imports done
            raise RuntimeError("the process that holds the lab could not be started")

        def kill() -> None:
            # Not poll(): the group outlives its leader, and its number is ours only until the leader is waited for.
            if run.returncode is None and hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(run.pid, signal.SIGKILL)
            run.kill()

        def wait() -> int:
            assert run.stdin is not None
            run.stdin.close()
            return run.wait()

        def poke() -> None:
            if run.returncode is None and hasattr(signal, "SIGUSR1"):  # not send_signal, which would wait for it
                with contextlib.suppress(ProcessLookupError):
                    os.kill(run.pid, signal.SIGUSR1)

        return Box(sock, run.stdout, kill, wait, poke, self._compiled)
