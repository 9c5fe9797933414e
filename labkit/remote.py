"""A lab file in a process of its own.  Expected values never enter it; plain values go in as copies and come out.

    with Kitchen(modules=["torch"]) as kitchen:
        box = kitchen.box("lab.py")
        box.lab.attention(q, k, v)        # a call over there; raises Failed if it raises, hangs or dies

`box.lab` is a handle, and so is every object the lab returns that is not a plain value.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import wire

CALL = 10.0  # seconds one call may take
FLOOD = 8 << 20  # bytes a run may print
ANSWER = 60.0  # seconds the forking process may take for its imports, and for an answer
KEPT = 64 << 10  # bytes of it that are kept to be shown


class Failed(Exception):
    """What the lab did instead of answering.

    outcome: raised · unwritten · syntax · missing · forbidden · exited · memory · unsendable ·
    slow · died · flood · garbage
    """

    def __init__(
        self, outcome: str, text: str, types: Iterable[str] = (), line: int | None = None, code: str = ""
    ) -> None:
        super().__init__(text)
        self.outcome, self.text, self.types, self.line, self.code = outcome, text, list(types), line, code

    @property
    def fatal(self) -> bool:
        """The process is gone, or would fail the same way at every further call."""
        return self.outcome in ("slow", "died", "flood", "garbage", "syntax", "missing", "exited")

    @classmethod
    def raised(cls, report: dict[str, Any]) -> Failed:
        types, text = report["types"], report["text"]
        outcome = {
            "NotImplementedError": "unwritten",
            "ModuleNotFoundError": "missing",
            "Forbidden": "forbidden",
            "ForbiddenImport": "forbidden",
            "SystemExit": "exited",
            "KeyboardInterrupt": "exited",
            "MemoryError": "memory",
            "WireError": "unsendable",
        }.get(types[0], "raised")
        if "SyntaxError" in types:
            outcome = "syntax"
        if types[0] == "RuntimeError" and "allocate memory" in text:  # torch's way of saying MemoryError
            outcome = "memory"
        if outcome == "missing":
            text = report["missing"] or text
        return cls(outcome, text, types, report["line"], report["code"])


@dataclass
class Call:
    """One line of the journal: what was asked of the lab.  Enough to write the same thing down as Python."""

    op: str  # get | call | probe
    target: int
    name: str = ""
    result: int | None = None  # the handle it made, if it made one
    data: bytes = b""  # the arguments as they were sent: the spec may change them afterwards
    probe: Callable[..., Any] | None = None

    @property
    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments; a handle among them is a Reference."""
        args, kwargs = wire.loads(self.data, lambda n, _: Reference(n))
        return args, kwargs


class Remote:
    """What a spec sees as `lab`, and every object of the lab's that is not a plain value."""

    def __init__(self, box: Box, number: int, kind: str) -> None:
        self._box, self._number, self._type = box, number, kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._box.call(self._number, list(args), kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._box.get(self._number, name)

    def probe(self, function: Callable[..., Any], *args: Any) -> Any:
        """Runs a function of the spec beside the lab: function(lab module, *args).  Sent as source, without oracles."""
        return self._box.probe(function, list(args))

    def __repr__(self) -> str:
        return f"<{self._type} of the lab>"


class Box:
    """One process holding one lab.  Every request has a deadline; what cannot be answered raises Failed."""

    def __init__(
        self, sock: socket.socket, output: Any, pid: int, kill: Callable[[], None], status: Callable[[], int]
    ) -> None:
        self._sock, self._pid, self._kill, self._status = sock, pid, kill, status
        self._path = ""
        self.lab = Remote(self, 0, "module")
        self.journal: list[Call] = []
        self.deadline = float("inf")  # of the whole check, in time.monotonic() seconds
        self._serial = 0
        self._over: Failed | None = None
        self._printed = bytearray()
        self._flood = False
        self._drain = threading.Thread(target=self._read_output, args=(output,), daemon=True)
        self._drain.start()

    def load(
        self,
        path: Path,
        forbidden: Iterable[str] = (),
        guard: Path | None = None,
        variants: Path | None = None,
    ) -> None:
        """Loads a lab file.  It cannot open the answers of `guard`, a lab folder, nor those of the labs around it.

        `variants` is a file of functions that `swap` can then put in the place of the lab's own.
        """
        self._path = str(path)
        self._ask("load", str(path), list(forbidden), guard and str(guard), variants and str(variants))

    def swap(self, name: str) -> None:
        """From now on, this variant stands in for the function it is a variant of, and for no other."""
        self._ask("swap", name)

    def get(self, target: int, name: str) -> Any:
        return self._noted(Call("get", target, name), "get", Reference(target), name)

    def call(self, target: int, args: list[Any], kwargs: dict[str, Any]) -> Any:
        data = wire.dumps([args, kwargs], self._reference)
        return self._noted(Call("call", target, data=data), "call", Reference(target), args, kwargs)

    def probe(self, function: Callable[..., Any], args: list[Any]) -> Any:
        data = wire.dumps([args, {}], self._reference)
        entry = Call("probe", 0, function.__name__, data=data, probe=function)
        return self._noted(entry, "probe", source_of(function), function.__name__, args)

    def last_call(self) -> tuple[int | None, bool]:
        """(index into the journal, whether it was a direct call): what a check belongs to."""
        if not self.journal:
            return None, True
        return len(self.journal) - 1, self.journal[-1].op != "probe"

    @property
    def printed(self) -> str:
        """What the lab printed, as far as it was kept."""
        return bytes(self._printed).decode("utf-8", "replace")

    def close(self) -> None:
        self._sock.close()
        self._kill()
        self._status()
        self._drain.join(1)

    def _noted(self, entry: Call, *request: Any) -> Any:
        self.journal.append(entry)
        value = self._ask(*request)
        entry.result = value._number if isinstance(value, Remote) else None
        return value

    def _ask(self, *request: Any) -> Any:
        if self._over:
            raise self._over
        self._serial += 1
        data = wire.dumps([self._serial, *request], self._reference)
        deadline = min(time.monotonic() + CALL, self.deadline)
        try:
            wire.send(self._sock, data, deadline)
            reply = wire.receive(self._sock, lambda n, kind: Remote(self, n, kind), deadline)
            match reply:
                case [int(serial), str("ok"), value] if serial == self._serial:
                    return value
                case [int(serial), str("raised"), report] if serial == self._serial and _is_report(report):
                    raise Failed.raised(report)
            raise wire.WireError("an answer that does not belong to the question")
        except wire.Slow:
            over = Failed("slow", f"no answer within {CALL:g} s", ["TimeoutError"], *self._where())
        except wire.WireError as e:
            over = Failed("garbage", str(e))
        except wire.Closed:
            over = self._died()
        self._kill()
        self._over = over
        raise over

    def _where(self) -> tuple[int | None, str]:
        """The line of the lab's file that a hanging lab is at, and what stands there: its process prints its stack."""
        if not hasattr(signal, "SIGUSR1"):
            return None, ""
        before = len(self._printed)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self._pid, signal.SIGUSR1)
        time.sleep(0.2)
        stack = bytes(self._printed[before:]).decode("utf-8", "replace")
        del self._printed[before:]
        found = re.search(rf'File "{re.escape(self._path)}", line (\d+)', stack)
        if not found:
            return None, ""
        lines = Path(self._path).read_text(encoding="utf-8", errors="replace").splitlines()
        line = int(found[1])
        return line, lines[line - 1].strip()[:200] if line <= len(lines) else ""

    def _died(self) -> Failed:
        self._kill()
        status = self._status()
        self._drain.join(1)
        if self._flood:
            return Failed("flood", f"it printed more than {FLOOD >> 20} MB")
        if status >= 0:
            return Failed("died", f"the process ended itself with exit status {status}")
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = str(-status)
        return Failed("died", f"the process was killed by {name}")

    @staticmethod
    def _reference(x: Any) -> tuple[int, str]:
        if isinstance(x, (Remote, Reference)):
            return x._number, ""
        raise TypeError(f"a spec cannot send a {type(x).__name__}")

    def _read_output(self, output: Any) -> None:
        total = 0
        with output:
            while part := output.read1(1 << 16):
                total += len(part)
                self._printed += part[: KEPT - len(self._printed)] if len(self._printed) < KEPT else b""
                if total > FLOOD and not self._flood:
                    self._flood = True
                    self._kill()


def _is_report(x: Any) -> bool:
    """A lab that answers in its own words may put anything in place of what `child.report` sends."""
    match x:
        case {"types": [str(), *_] as types, "text": str(), "code": str(), "line": line, "missing": missing}:
            right = all(isinstance(t, str) for t in types) and isinstance(missing, str | None)
            return right and (line is None or type(line) is int)
    return False


class Gone(Exception):
    """The process that forks is not there any more, or does not answer: a lab can do that to it."""


@dataclass
class Reference:
    """A handle by its number alone."""

    _number: int


class Kitchen:
    """Makes boxes.  With fork, from one process that has imported `modules`; without, a fresh process each."""

    def __init__(self, modules: Iterable[str] = (), fork: bool = sys.platform == "linux") -> None:
        self.modules = list(modules)
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._boxes: list[Box] = []
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        if fork:
            self._start_server()

    def __enter__(self) -> Kitchen:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def box(self) -> Box:
        """A process with nothing loaded yet."""
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
            self._server.kill()
            self._server.wait()

    def _start_server(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "labkit.child", "fork", str(theirs.fileno()), *self.modules]
        # A session of its own: Ctrl-C reaches `lab` alone, which then closes the socket and so ends the rest.
        self._server = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True, env=self._environment
        )
        theirs.close()
        ours.settimeout(ANSWER)
        self._control = ours
        self._answers = ours.makefile("rb")
        self._ready = False

    def _tell(self, word: str, *rest: int, descriptors: Iterable[int] = ()) -> Any:
        assert self._control is not None
        try:
            if not self._ready:
                self._ready = json.loads(self._answers.readline()) == "ready"
            socket.send_fds(self._control, [json.dumps([word, *rest]).encode()], list(descriptors))
            return json.loads(self._answers.readline())
        except (OSError, ValueError):
            raise Gone("the process that holds labs does not answer") from None

    def _forked(self) -> Box:
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        try:
            pid = self._tell("fork", descriptors=[theirs.fileno(), write])
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
            for way in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    way(pid, signal.SIGKILL)

        def wait() -> int:
            if not status:
                try:
                    status.append(self._tell("wait", pid) if server is self._server else -signal.SIGKILL)
                except Gone:  # with its parent gone, the system takes it away
                    status.append(-signal.SIGKILL)
            return status[0]

        return Box(ours, os.fdopen(read, "rb"), pid, kill, wait)

    def _fresh(self) -> Box:
        token = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as door:
            command = [sys.executable, "-m", "labkit.child", "fresh", str(door.getsockname()[1]), *self.modules]
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

        return Box(sock, run.stdout, run.pid, kill, wait)


@functools.cache
def source_of(function: Callable[..., Any]) -> str:
    """The probe and the top-level names of the spec that it needs, and nothing else: no oracle goes over there."""
    module = inspect.getmodule(function)
    assert module is not None
    statements = ast.parse(inspect.getsource(module)).body
    defines: dict[str, ast.stmt] = {}
    for s in statements:
        if isinstance(s, (ast.Import, ast.ImportFrom)):
            defines |= {(a.asname or a.name).split(".")[0]: s for a in s.names}
        elif isinstance(s, (ast.FunctionDef, ast.ClassDef)):
            defines[s.name] = s
        elif isinstance(s, (ast.Assign, ast.AnnAssign)):
            targets = s.targets if isinstance(s, ast.Assign) else [s.target]
            defines |= {n.id: s for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    needed: set[ast.stmt] = set()
    todo = [function.__name__]
    while todo:
        s = defines.get(todo.pop())  # type: ignore[assignment]
        if s is not None and s not in needed:
            needed.add(s)
            todo += [n.id for n in ast.walk(s) if isinstance(n, ast.Name)]
    return "\n".join(ast.unparse(s) for s in statements if s in needed)
