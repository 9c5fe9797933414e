"""The lab's side of the pipe: loads one file, answers calls with plain values, and knows nothing of the spec.

Started by `labkit.kitchen` in one of two ways: `python -m labkit.child fork FD NAMES MODULES…` is a parent that imports
what labs need, looks for the forbidden NAMES, never computes, and forks a fresh process for each run; `fresh PORT NAMES
MODULES…` is one run by itself, for systems without fork.  Graded runs are in jail: `fork-locked` and `fresh-locked` limit
each run (`labkit.jail`), and `fork-sandboxed` knows besides that it has a sandbox to itself (`labkit.sandbox`).
Requests: read · load · swap · get · call · invoke (get and call in one) · probe; before any of them, a seed.
"""

from __future__ import annotations

import codecs
import contextlib
import faulthandler
import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import marshal
import os
import random
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import labkit
from labkit import cores, forbid, jail, wire

MEMORY = 4 << 30  # bytes a run may allocate beyond what its imports took
FILE = 256 << 20  # bytes a run may write into one file
CODE = 1 << 20  # bytes of bytecode that are handed on; a larger file is compiled by each run


class Server:
    """One run: the loaded lab is handle 0; every other object the lab returned is a handle in turn."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.handles: list[Any] = [None]
        self.source: list[str] = []
        self.path = ""
        self.variants: types.ModuleType | None = None
        self.put_back: Callable[[], None] = lambda: None
        self.counters = _code_of("labkit.count") if "torch" in sys.modules else None

    def serve(self) -> None:
        ahead = bytearray()
        while True:
            try:
                serial, seed, op, *arguments = wire.receive(self.sock, self.held, ahead=ahead)
            except wire.Closed:
                return
            try:
                if seed is not None:
                    self.begin(seed)
                reply = wire.dumps([serial, "ok", getattr(self, "do_" + op)(*arguments)], self.keep)
            except BaseException as e:  # whatever the lab raises, exits included, is the judge's to name
                reply = wire.dumps([serial, "raised", self.report(e)])
            with contextlib.suppress(Exception):  # what the lab printed belongs before its answer
                sys.stdout.flush()
            wire.send(self.sock, reply)

    def held(self, number: int, _: str) -> Any:
        return self.handles[number]

    def keep(self, x: Any) -> tuple[int, str]:
        self.handles.append(x)
        return len(self.handles) - 1, type(x).__name__

    def do_read(self, path: str, data: bytes) -> bytes:
        """The file's bytecode, for all that will load it; nothing if compiling it prints a warning, as each should."""
        self._reads(path, data)
        with warnings.catch_warnings(record=True) as said:
            # From bytes, not text: Python sees to the encoding.
            code = marshal.dumps(compile(data, path, "exec", dont_inherit=True))
        return b"" if said or len(code) > CODE else code

    def do_load(
        self,
        path: str,
        data: bytes,
        code: bytes,
        forbidden: dict[str, list[str]],
        guard: str | None,
        variants: str | None,
    ) -> None:
        """Loads a lab, out of reach of the answers beside `guard`; and a file of variants, for `swap`.

        `code` is what `read` gave here or in a run before, when nothing of the file had been run.
        """
        self._reads(path, data)
        forbid.watch(forbidden, Path(guard) if guard else None, forbidden)
        self.handles[0] = load(path, "lab", code=marshal.loads(code) if code else data)
        self.variants = load(variants, "variants", keep=True) if variants else None
        self.put_back = lambda: None

    def _reads(self, path: str, data: bytes) -> None:
        self.path, self.source = path, data.decode("utf-8-sig", "replace").splitlines()

    def begin(self, number: int) -> None:
        """Random numbers that nobody asked for, such as initial weights, are the same for every version of a lab."""
        random.seed(number)
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed(number % (1 << 32))
        if torch := sys.modules.get("torch"):
            # Not torch.manual_seed, which writes down its stack for each kind of device: milliseconds each time.
            torch.default_generator.manual_seed(number)

    def do_swap(self, name: str) -> None:
        """Puts one variant in the place of the lab's function, and back what an earlier swap replaced."""
        self.put_back()
        variant = getattr(self.variants, name)
        owner: Any = self.handles[0]
        *classes, last = getattr(self.variants, getattr(variant, "alike", name)).of.split(".")
        for part in classes:
            owner = getattr(owner, part)
        original = vars(owner)[last]
        self.put_back = lambda: setattr(owner, last, original)
        setattr(owner, last, variant)

    def do_get(self, target: Any, name: str) -> Any:
        return getattr(target, name)

    def do_call(self, target: Any, arguments: bytes) -> Any:
        args, kwargs = wire.loads(arguments, self.held)
        return target(*args, **kwargs)

    def do_invoke(self, owner: Any, name: str, arguments: bytes) -> Any:
        return self.do_call(getattr(owner, name), arguments)

    def do_probe(self, source: str, name: str, arguments: bytes) -> Any:
        if self.counters:  # as they are, whatever the lab has put in their place
            count = labkit.count = sys.modules["labkit.count"] = types.ModuleType("labkit.count")  # type: ignore[attr-defined]
            exec(self.counters, count.__dict__)
        names: dict[str, Any] = {"__name__": "probe"}
        exec(compile(source, "<probe>", "exec"), names)
        return names[name](self.handles[0], *wire.loads(arguments, self.held)[0])

    def report(self, e: BaseException) -> dict[str, Any]:
        """What was raised, in inert words, and the deepest line of the lab's own file that it passed through."""
        line = None
        trace = e.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.path:
                line = trace.tb_lineno
            trace = trace.tb_next
        if isinstance(e, SyntaxError) and e.filename == self.path:
            line = e.lineno
        try:
            text = str(e.msg if isinstance(e, SyntaxError) else e)
        except BaseException as worse:
            text = f"(its text cannot be read: {type(worse).__name__})"
        types = [t.__name__ for t in type(e).__mro__ if t is not object]
        code = self.source[line - 1].strip() if line and line <= len(self.source) else ""
        missing = getattr(e, "name", None) if isinstance(e, ModuleNotFoundError) else None
        return {
            "types": types,
            "text": text[:500],
            "line": line,
            "code": code[:200],
            "missing": missing and str(missing),
        }


def load(path: str, name: str, keep: bool = False, code: bytes | types.CodeType | None = None) -> types.ModuleType:
    """A module from a file, under a name of our choice.  `keep`: store its bytecode, so that the next load is quick."""
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module  # dataclasses look their module up
    if keep:
        code = importlib.machinery.SourceFileLoader(name, path).get_code(name)
    code = Path(path).read_bytes() if code is None else code
    if isinstance(code, bytes):
        code = compile(code, path, "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return module


@functools.cache
def _code_of(name: str) -> types.CodeType | None:
    spec = importlib.util.find_spec(name)
    return spec.loader.get_code(name) if spec and isinstance(spec.loader, importlib.abc.InspectLoader) else None


def limit() -> None:
    """Caps memory, file size and core dumps, where the system can.  macOS ignores the memory limit."""
    try:
        import resource
    except ImportError:  # Windows
        return
    held = _held()
    for what, amount in (
        (resource.RLIMIT_DATA, held + MEMORY),
        (resource.RLIMIT_FSIZE, FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]  # may be lower already, and cannot be raised
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(what, (amount, amount))


@functools.cache  # what was imported before a fork is not counted again after it
def _held() -> int:
    """Bytes of data that this process has already."""
    with open("/proc/self/status") if os.path.exists("/proc/self/status") else open(os.devnull) as status:
        return next((int(line.split()[1]) << 10 for line in status if line.startswith("VmData")), 1 << 30)


def one_run(sock: socket.socket, locked: bool = False) -> None:
    """Serves until the judge hangs up, and leaves without running whatever the lab registered for the exit."""
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)  # how the judge asks where a lab hangs
    sys.stdin = open(os.devnull)  # noqa: SIM115  # lives as long as the process
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a hang must not hide what was printed
    sys.dont_write_bytecode = True
    limit()
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    if locked:
        jail.lock()
    try:
        Server(sock).serve()
    finally:
        os._exit(0)


def warm_up(modules: list[str], forbidden: list[str]) -> None:
    """Imports what the lab will import, so that each fork has it for nothing, and finds what it may not have.

    What is missing, the lab will report.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:
            continue
    # What a run would otherwise import on its way, each one anew.
    codecs.lookup("utf-8-sig")
    for given, name in (("numpy", "numpy.random"), ("torch", "labkit.count")):
        if given in sys.modules:
            importlib.import_module(name)
    _code_of("labkit.count")
    jail.prepare()
    forbid.prepare(forbidden)
    _held()
    gc.freeze()  # forks then share these pages


def fork_server(
    control: socket.socket, modules: list[str], forbidden: list[str], locked: bool = False, alone: bool = False
) -> None:
    """Answers requests until the judge hangs up.

    `fork [CORE]` (two descriptors come along: channel and output) with a pid · `wait PID` with [its exit status, whether
    nothing is left of it] · `kill PID` and `poke PID` with whether it was there.  `alone`: nothing else runs in this
    sandbox, so what a run leaves running can be ended without asking whose it is.
    """
    warm_up(modules, forbidden)
    if locked:
        jail.hide_memory()
    given: frozenset[str] = frozenset()
    if alone:
        for path in sorted(_scratch(), reverse=True):  # what imports leave there would look like a run's
            with contextlib.suppress(OSError):
                os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        given = frozenset(_scratch())
    with contextlib.suppress(ConnectionError):
        control.sendall(b'"ready"\n')
    running: set[int] = set()
    while True:
        try:
            request, descriptors, _, _ = socket.recv_fds(control, 1024, 2)
        except ConnectionError:  # hung up with an answer unread
            request = b""
        if not request:  # the judge is gone, so its runs have no one to answer to
            for pid in running:
                _kill(pid)
            return
        word, *rest = json.loads(request)
        answer: Any
        match word:
            case "fork":
                pid = os.fork()
                if pid == 0:
                    os.setsid()
                    if rest:
                        cores.stay(rest[0])
                    control.close()
                    channel, output = descriptors
                    for stream in (1, 2):
                        os.dup2(output, stream)
                    os.close(output)
                    one_run(socket.socket(fileno=channel), locked)
                running.add(pid)
                for d in descriptors:
                    os.close(d)
                answer = pid
            case "wait":
                status = os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1])
                running.discard(rest[0])
                answer = [status, not alone or _tidy(given)]
            case "kill" | "poke":
                answer = rest[0] in running
                if answer:
                    _kill(rest[0]) if word == "kill" else os.kill(rest[0], signal.SIGUSR1)
        with contextlib.suppress(ConnectionError):
            control.sendall(json.dumps(answer).encode() + b"\n")


def _scratch() -> Iterator[str]:
    """What lies in the sandbox's temporary folder, but not what is mounted below it: the project may be in /tmp itself."""
    device, todo = os.stat("/tmp").st_dev, ["/tmp"]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.stat(follow_symlinks=False).st_dev == device:
                    yield entry.path
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)


def _tidy(given: frozenset[str]) -> bool:
    """Ends what the last run left running in this sandbox; False when it left files, and the sandbox must go."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)  # everything in here but this process, which is the sandbox's first
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    try:
        return all(path in given for path in _scratch())
    except OSError:  # a folder that cannot be looked into
        return False


def _kill(pid: int) -> None:
    if not hasattr(os, "killpg"):  # Windows
        return
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _end_with_the_judge(lifeline: int) -> None:
    """Ends this run and what it started when the judge is gone: its end of this pipe stays open until then."""
    os.read(lifeline, 1)
    _kill(os.getpid())
    os._exit(1)


def main(argv: list[str]) -> None:
    how, where, names, *modules = argv
    forbidden = names.split(",") if names else []
    locked = not how.endswith(("fork", "fresh"))
    if how.startswith("fork"):
        fork_server(socket.socket(fileno=int(where)), modules, forbidden, locked, alone=how == "fork-sandboxed")
        return
    token = sys.stdin.readline().strip()
    threading.Thread(target=_end_with_the_judge, args=(os.dup(0),), daemon=True).start()
    sock = socket.create_connection(("127.0.0.1", int(where)))
    sock.sendall(token.encode())
    warm_up(modules, forbidden)
    wire.send(sock, wire.dumps("ready"))
    one_run(sock, locked)


if __name__ == "__main__":
    main(sys.argv[1:])
