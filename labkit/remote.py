"""A lab file in a process of its own.  Expected values never enter it; plain values go in as copies and come out.

    box.load(Path("lab.py"))
    box.lab.attention(q, k, v)        # a call over there; raises Failed if it raises, hangs or dies

`box.lab` is a handle, and so is every object the lab returns that is not a plain value.
"""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit import forbid, wire
from labkit.jail import CPU
from labkit.probe import source_of

CALL = 10.0  # seconds one call may take
FLOOD = 8 << 20  # bytes a run may print
KEPT = 64 << 10  # bytes of it that are kept to be shown
LINES = 10**6  # no lab has as many
FUNCTIONS = ("function", "method", "builtin_function_or_method", "type")
DISK = ("[Errno 27]", "[Errno 28]", "[Errno 30]")  # file too large, no space left, read-only


class Failed(Exception):
    """What the lab did instead of answering.

    outcome: raised · unwritten · syntax · missing · forbidden · exited · memory · unsendable ·
    slow · died · flood · garbage · denied · disk
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
        # cut here: whoever sends it may not have
        types, text = [t[:100] for t in report["types"][:20]], report["text"][:500]
        outcome = {
            "NotImplementedError": "unwritten",
            "ModuleNotFoundError": "missing",
            "Forbidden": "forbidden",
            "ForbiddenImport": "forbidden",
            "SystemExit": "exited",
            "KeyboardInterrupt": "exited",
            "MemoryError": "memory",
            "WireError": "unsendable",
            "Denied": "denied",
        }.get(types[0], "raised")
        if "SyntaxError" in types:
            outcome = "syntax"
        if types[0] == "RuntimeError" and "allocate memory" in text:  # torch's way of saying MemoryError
            outcome = "memory"
        if "OSError" in types and text.startswith(DISK):
            outcome = "disk"
        if outcome == "missing":
            text = (report["missing"] or text)[:100]
        return cls(outcome, text, types, report["line"], report["code"][:200])


class Stopped(BaseException):
    """The check was called off: its file was saved anew.  Nobody's error, so no `except Exception` may take it for one."""


@dataclass
class Call:
    """One line of the journal: what was asked of the lab.  Enough to write the same thing down as Python."""

    op: str  # get | call | probe
    target: int
    name: str = ""
    result: int | None = None  # the handle it made, if it made one
    nested: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # handles inside what it returned: the way to each
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


class Function(Remote):
    """One that was asked for before.  Named and called in one request: half of all requests would only ask for it again.

    The name is looked up anew at each call, so a lab may put another function in its place.
    """

    def __init__(self, box: Box, owner: int, name: str, kind: str) -> None:
        self._box, self._owner, self._name, self._type = box, owner, name, kind

    @property
    def _number(self) -> int:  # type: ignore[override]
        """Its handle, for whatever else is done with it."""
        found = self._box.fetch(self._owner, self._name)
        if not isinstance(found, Remote):
            raise Failed("raised", f"{self._name} is no function any more", ["TypeError"])
        return found._number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._box.invoke(self._owner, self._name, list(args), kwargs)


def remotes_in(x: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Remote]]:
    """The objects of the lab inside a returned value, and the indices that lead to each."""
    if isinstance(x, Remote):
        yield way, x
    elif isinstance(x, (list, tuple)):
        for i, y in enumerate(x):
            yield from remotes_in(y, (*way, i))
    elif isinstance(x, dict):
        for key, y in x.items():
            yield from remotes_in(y, (*way, key))


class Box:
    """One process holding one lab.  Every request has a deadline; what cannot be answered raises Failed."""

    def __init__(
        self,
        sock: socket.socket,
        output: Any,
        kill: Callable[[], None],
        status: Callable[[], int],
        poke: Callable[[], None],
        compiled: dict[tuple[str, bytes], bytes] | None = None,
    ) -> None:
        """`kill` ends the process, `status` waits for its end, `poke` has it print its stack.

        `compiled` holds the bytecode of the last file, for all boxes that share it.
        """
        self._sock, self._kill, self._status, self._poke = sock, kill, status, poke
        self._compiled = {} if compiled is None else compiled
        self._path, self._lines = "", [""]
        self.lab = Remote(self, 0, "module")
        self.journal: list[Call] = []
        self.deadline = float("inf")  # of the whole check, in time.monotonic() seconds
        self._serial = 0
        self._seed: int | None = None
        self._ahead = bytearray()
        self._functions: dict[tuple[int, str], str] = {}  # (object, name) → kind, of those that were asked for
        self._unheld = 0  # numbers below it are of functions that never became handles
        self._over: Failed | None = None
        self.called_off = False
        self.closed = False
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
        try:
            data = path.read_bytes()
        except OSError as e:  # an editor may take it away in the middle of a check
            raise Failed("raised", str(e), [t.__name__ for t in type(e).__mro__[:-1]]) from None
        self._lines = data.decode("utf-8", "replace").splitlines()
        files = {name: forbid.folders(name) for name in forbidden}
        if (self._path, data) not in self._compiled:
            code = self._ask("read", self._path, data)
            self._compiled.clear()
            self._compiled[self._path, data] = code
        code = self._compiled[self._path, data]
        self._ask("load", self._path, data, code, files, guard and str(guard), variants and str(variants))

    def seed(self, number: int) -> None:
        """Where the global random numbers of the lab's process begin from the next request on, which tells it."""
        self._seed = number

    def swap(self, name: str) -> None:
        """From now on, this variant stands in for the function it is a variant of, and for no other."""
        self._ask("swap", name)

    def get(self, target: int, name: str) -> Any:
        """An attribute; a function that was asked for before comes as its name alone, and nothing is asked."""
        if kind := self._functions.get((target, name)):
            return Function(self, target, name, kind)
        found = self.fetch(target, name)
        if isinstance(found, Remote) and found._type in FUNCTIONS:
            self._functions[target, name] = found._type
        return found

    def fetch(self, target: int, name: str) -> Any:
        """An attribute as it is now."""
        return self._noted(Call("get", target, name), "get", Reference(target), name)

    def invoke(self, owner: int, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """`get` and `call` in one request.  In the journal they are two, the function with a number of its own."""
        data = wire.dumps([args, kwargs], self._reference)
        self._unheld -= 1
        self.journal.append(Call("get", owner, name, result=self._unheld))
        return self._noted(Call("call", self._unheld, data=data), "invoke", Reference(owner), name, data)

    def call(self, target: int, args: list[Any], kwargs: dict[str, Any]) -> Any:
        data = wire.dumps([args, kwargs], self._reference)
        return self._noted(Call("call", target, data=data), "call", Reference(target), data)

    def probe(self, function: Callable[..., Any], args: list[Any]) -> Any:
        data = wire.dumps([args, {}], self._reference)
        entry = Call("probe", 0, function.__name__, data=data, probe=function)
        return self._noted(entry, "probe", source_of(function), function.__name__, data)

    def last_call(self) -> tuple[int | None, bool]:
        """(index into the journal, whether it was a direct call): what a check belongs to."""
        if not self.journal:
            return None, True
        return len(self.journal) - 1, self.journal[-1].op != "probe"

    @property
    def over(self) -> bool:
        """Nothing more can be asked: the process is gone."""
        return self._over is not None

    @property
    def printed(self) -> str:
        """What the lab printed, as far as it was kept."""
        return bytes(self._printed).decode("utf-8", "replace")

    def call_off(self) -> None:
        """Ends the process; whoever waits for it gets `Stopped`.  The one method that another thread may call."""
        self.called_off = True
        self._kill()

    def close(self) -> None:
        self.closed = True
        self._sock.close()
        self._kill()
        self._status()
        self._drain.join(1)

    def _noted(self, entry: Call, *request: Any) -> Any:
        self.journal.append(entry)
        value = self._ask(*request)
        entry.result = value._number if isinstance(value, Remote) else None
        entry.nested = {} if entry.result is not None else {r._number: way for way, r in remotes_in(value)}
        return value

    def _ask(self, *request: Any) -> Any:
        if self.called_off:
            raise Stopped
        if self._over:
            raise self._over
        self._serial += 1
        data = wire.dumps([self._serial, self._seed, *request], self._reference)
        self._seed = None
        deadline = min(time.monotonic() + CALL, self.deadline)
        try:
            wire.send(self._sock, data, deadline)
            reply = wire.receive(self._sock, lambda n, kind: Remote(self, n, kind), deadline, self._ahead)
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
        if self.called_off:
            raise Stopped
        raise over

    def _where(self) -> tuple[int | None, str]:
        """The line of the lab's file that a hanging lab is at, and what stands there: its process prints its stack."""
        if not hasattr(signal, "SIGUSR1"):
            return None, ""
        before = len(self._printed)
        self._poke()
        time.sleep(0.2)
        stack = bytes(self._printed[before:]).decode("utf-8", "replace")
        del self._printed[before:]
        found = re.search(rf'File "{re.escape(self._path)}", line (\d{{1,6}})\b', stack)
        if not found:
            return None, ""
        line = int(found[1])
        return line, self._lines[line - 1].strip()[:200] if line <= len(self._lines) else ""

    def _died(self) -> Failed:
        self._kill()
        status = self._status()
        self._drain.join(1)
        if self._flood:
            return Failed("flood", f"it printed more than {FLOOD >> 20} MB")
        if status >= 0:
            return Failed("died", f"the process ended itself with exit status {status}")
        if -status in (getattr(signal, "SIGXCPU", 0), getattr(signal, "SIGXFSZ", 0)):
            what = (
                f"used more than {CPU} s of CPU time" if -status == signal.SIGXCPU else "wrote too much into one file"
            )
            return Failed("died", f"it {what}")
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
            return right and (line is None or (type(line) is int and 0 <= line < LINES))
    return False


@dataclass
class Reference:
    """A handle by its number alone."""

    _number: int
