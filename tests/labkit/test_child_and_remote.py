"""A lab's process and the judge's end of the pipe: whatever a lab does, the judge names it, lives on, and leaves nothing behind."""
# ruff: noqa: E501  # tables of one-line cases

import contextlib
import os
import random
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch
from conftest import MODES, descriptors, group, write

from labkit import remote, wire
from labkit.kitchen import Kitchen
from labkit.probe import source_of
from labkit.remote import Box, Failed, Remote

NOBODY = (1 << 22) + 1  # larger than any process number


def failure(f, *args, **kwargs):
    """The Failed that a call raises; any other exception is a failed test."""
    try:
        value = f(*args, **kwargs)
    except Failed as e:
        return e
    return pytest.fail(f"returned {value!r}")


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def still_works(kitchen, tmp_path):
    box = kitchen.box()
    try:
        box.load(write(tmp_path / "good.py", "def f(x):\n    return x + 1\n"))
        return box.lab.f(41) == 42
    finally:
        box.close()


# ---- ordinary use


def test_values_go_there_and_back(cook):
    lab = cook("def f(*args, **kwargs):\n    return args, kwargs").lab
    x, y = torch.arange(6.0).reshape(2, 3), np.array([[True]])
    (a, b, c), kwargs = lab.f(x, y, (1, [2]), word={"k": -1.5})
    assert torch.equal(a, x)
    assert b.tolist() == [[True]]
    assert (c, kwargs) == ((1, [2]), {"word": {"k": -1.5}})


def test_arguments_are_copies(cook):
    lab = cook("def f(t, a, l, d):\n    t += 1; a += 1; l.append(1); d['x'] = 1\n    return l").lab
    t, a, items, d = torch.zeros(2), np.zeros(2), [0], {}
    got = lab.f(t, a, items, d)
    assert (t.tolist(), a.tolist(), items, d, got) == ([0, 0], [0, 0], [0], {}, [0, 1])


HANDLES = """
import math, os, itertools
class Counter:
    def __init__(self, start): self.n = start
    def add(self, k=1): self.n += k; return self.n
    def same(self, other): return self is other
def make(start): return Counter(start)
def numbers():
    yield 1
    yield 2
def adder(n): return lambda x: x + n
def module(): return math
def opened(): return open(os.devnull)
def both(): return [Counter(1), {"k": Counter(2)}]
def loop(): return itertools.count()
"""


def test_handles(cook):
    lab = cook(HANDLES).lab
    one, two = lab.make(5), lab.make(7)
    assert (one.add(), one.add(k=10), two.n, one.n) == (6, 16, 7, 16)
    assert (one.same(one), one.same(two)) == (True, False)
    assert repr(one) == "<Counter of the lab>"
    assert lab.adder(3)(4) == 7
    assert lab.module().sqrt(16.0) == 4.0
    assert (lab.opened().read(), lab.opened().name) == ("", os.devnull)
    (first, second) = lab.both()
    assert (first.n, second["k"].n) == (1, 2)
    numbers = lab.numbers()
    assert isinstance(numbers, Remote)
    assert (numbers.send(None), numbers.send(None)) == (1, 2)
    assert failure(numbers.send, None).types[0] == "StopIteration"
    assert isinstance(lab.loop(), Remote)
    assert isinstance(lab.Counter, Remote)
    assert failure(lambda: lab.missing).types[0] == "AttributeError"


def test_special_names_are_not_asked_for(cook):
    lab = cook("x = 1").lab
    with pytest.raises(AttributeError):
        lab.__len__  # noqa: B018
    assert lab._box.journal == []


def test_what_a_spec_cannot_send(cook):
    lab = cook("def f(x):\n    return x").lab
    with pytest.raises(TypeError, match="a spec cannot send a module"):
        lab.f([os])
    assert lab.f(-3) == -3


# ---- every way to go wrong

IMMEDIATE = """
    def f(x=None):
        {}
"""
OUTCOMES = {
    "sys.exit": ("import sys; sys.exit(3)", "exited", "3"),
    "SystemExit": ("raise SystemExit", "exited", ""),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "exited", ""),
    "os._exit(0)": ("import os; os._exit(0)", "died", "exit status 0"),
    "os._exit(3)": ("import os; os._exit(3)", "died", "exit status 3"),
    "abort": ("import os; os.abort()", "died", "SIGABRT"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "died", "SIGSEGV"),
    "kill": ("import os; os.kill(os.getpid(), 15)", "died", "SIGTERM"),
    "a signal without a name": ("import os; os.kill(os.getpid(), 40)", "died", "killed by 40"),
    "not written": ("raise NotImplementedError('f')", "unwritten", "f"),
    "ValueError": ("raise ValueError('no', 5)", "raised", "('no', 5)"),
    "an error without text": ("assert x", "raised", ""),
    "BaseException": ("raise BaseException('b')", "raised", "b"),
    "a text that cannot be read": ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", "raised",
                                   "its text cannot be read: ZeroDivisionError"),
    "a long text": ("raise ValueError('x' * 10**7)", "raised", "x" * 500),
    "a text of surrogates": ("raise ValueError('\\ud800')", "raised", "\ud800"),
    "SyntaxError without arguments": ("raise SyntaxError", "syntax", "None"),
    "SyntaxError of a number": ("raise SyntaxError(5)", "syntax", "5"),
    "a package that is missing": ("import no_such_package", "missing", "no_such_package"),
    "endless recursion": ("return f(x)", "raised", "maximum recursion depth"),
    "a huge bytearray": ("return len(bytearray(10 << 30))", "memory", ""),
    "a huge array": ("import numpy; return numpy.ones(10 << 27).sum()", "memory", "Unable to allocate"),
    "a huge tensor": ("import torch; return torch.ones(10 << 28).sum()", "memory", "allocate memory"),
    "a value in itself": ("x = [1]; x.append(x); return x", "unsendable", "nested deeper"),
    "a value too deep": ("\n        for _ in range(70): x = {'k': x}\n        return x", "unsendable", "nested deeper"),
    "a value too large": ("return bytes(65 << 20)", "unsendable", "64 MB may be returned"),
    "a number too large": ("return 1 << 10**6", "unsendable", "thousands of digits"),
    "an expanded tensor": ("import torch; return torch.zeros(1).expand(10**12)", "unsendable", "an array of 3814697 MB"),
    "complex numbers": ("import numpy; return numpy.zeros(2, complex)", "unsendable", "complex128"),
    "all descriptors closed": ("import os; os.closerange(0, 500)", "died", "the process"),
    "its own group": ("import os, signal; os.kill(0, signal.SIGKILL)", "died", "SIGKILL"),
    "killpg": ("import os, signal; os.killpg(os.getpgrp(), signal.SIGKILL)", "died", "SIGKILL"),
    "a patched wire": ("from labkit import wire; wire._ENCODE = lambda x: '[1'", "garbage", "JSON"),
    "a patched wire that answers": (
        "from labkit import wire; wire._ENCODE = lambda x: '{\"l\":[1,\"ok\",7]}'", "garbage", "belong",
    ),
    "a patched struct": ("import struct; struct.pack = lambda *a: b'\\xff' * 8", "garbage", "buffers"),
    "a patched socket": ("import socket; socket.socket.sendall = lambda *a: 1 / 0", "died", "exit status 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcomes(cook, kitchen, tmp_path, case):
    code, outcome, text = OUTCOMES[case]
    box = cook(IMMEDIATE.format(code))
    e = failure(box.lab.f)
    assert e.outcome == outcome
    assert text in e.text
    assert len(e.text) <= 500
    if outcome in ("raised", "unwritten", "memory", "unsendable"):
        assert not e.fatal
        assert failure(lambda: box.lab.f()).outcome == outcome  # it is still there and answers
    if outcome in ("raised", "unwritten", "syntax", "missing", "exited"):
        assert e.line in (2, 3)
    if outcome in ("died", "garbage"):
        assert e.fatal
        assert failure(lambda: box.lab.f()) is e
    assert still_works(kitchen, tmp_path)


FAST = 0.4
ENDLESS = {
    "a call": "def f():\n    while True: pass",
    "a sleep": "import time\ndef f():\n    time.sleep(100)",
    "a deaf one": "import signal\ndef f():\n    for s in set(range(1, 60)) - {9, 19, 32, 33}: signal.signal(s, signal.SIG_IGN)\n    while True: pass",
    "a swallower": "def f():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    "a stopped one": "import os, signal\ndef f():\n    os.kill(os.getpid(), signal.SIGSTOP)",
    "C code": "def f():\n    return 7 ** (7 ** 12) % 5",
    "its texts": "class E(Exception):\n    def __str__(self):\n        while True: pass\ndef f():\n    raise E",
}


@pytest.mark.parametrize("case", ENDLESS)
def test_too_slow(cook, kitchen, tmp_path, monkeypatch, case):
    box = cook(ENDLESS[case])
    monkeypatch.setattr(remote, "CALL", FAST)
    began = time.monotonic()
    e = failure(box.lab.f)
    assert (e.outcome, e.text, e.fatal) == ("slow", "no answer within 0.4 s", True)
    assert FAST <= time.monotonic() - began < FAST + 2
    box.close()
    assert time.monotonic() - began < FAST + 4
    monkeypatch.undo()
    assert still_works(kitchen, tmp_path)


def test_an_endless_import(cook, monkeypatch, kitchen, tmp_path):
    monkeypatch.setattr(remote, "CALL", FAST)
    assert failure(cook, "while True: pass").outcome == "slow"
    monkeypatch.undo()
    assert still_works(kitchen, tmp_path)


def test_the_deadline_of_the_whole_check(cook):
    box = cook("import time\nf = time.sleep")
    box.deadline = time.monotonic() + 0.3
    assert box.lab.f(0) is None
    assert failure(box.lab.f, 100).outcome == "slow"


LOADING = {
    "a syntax error": (b"x = 1\ny = = 2\n", "syntax", 2, "y = = 2", "invalid syntax"),
    "an indentation error": (b"def f():\nx = 1\n", "syntax", 2, "x = 1", "expected an indented block"),
    "a missing package": (
        b"\nimport no_such_package.part\n",
        "missing",
        2,
        "import no_such_package.part",
        "no_such_package",
    ),
    "an error": (b"x = 1\n\n1 / 0\n", "raised", 3, "1 / 0", "division by zero"),
    "an exit": (b"raise SystemExit(2)\n", "exited", 1, "raise SystemExit(2)", "2"),
    "a NUL byte": (b"x = 1\0\n", "syntax", None, "", "null bytes"),
    "latin-1": ("x = 'caf\xe9'\n".encode("latin-1"), "syntax", None, "", "utf-8"),
    "too deep an expression": (b"x = " + b"-" * 20_000 + b"1", "memory", None, "", ""),
}


@pytest.mark.parametrize("case", LOADING)
def test_loading(cook, kitchen, tmp_path, case):
    source, outcome, line, code, text = LOADING[case]
    e = failure(cook, source)
    assert e.outcome == outcome
    assert text in e.text
    if line:
        assert (e.line, e.code) == (line, code)
    assert still_works(kitchen, tmp_path)


def test_a_file_that_is_not_there(kitchen, tmp_path):
    box = kitchen.box()
    assert failure(box.load, tmp_path / "nothing.py").types[0] == "FileNotFoundError"
    box.close()


def test_unusual_files_that_are_right(cook):
    assert failure(cook(b"").lab, 1).types[0] == "TypeError"
    assert failure(lambda: cook(b"").lab.f).types[0] == "AttributeError"
    assert cook(b"\xef\xbb\xbfx = 5\r\ny = 6\r\n").lab.y == 6
    assert cook("# coding: latin-1\nx = 'é'\n".encode("latin-1")).lab.x == "é"


def test_the_line_is_the_deepest_of_the_labs_own(cook):
    e = failure(cook("import json\ndef g(x):\n    return json.loads(x)\ndef f(x):\n    return g(x)").lab.f, "{")
    assert (e.types[0], e.line, e.code) == ("JSONDecodeError", 3, "return json.loads(x)")
    assert e.types[1:] == ["ValueError", "Exception", "BaseException"]


def test_a_variant_replaces_one_function_until_the_next_one_does(cook, tmp_path):
    path = write(
        tmp_path / "variants.py",
        """
        def wrong(x): return -x
        wrong.of = "f"
        def method(self): return "changed"
        method.of = "A.g"
        def reworded(self): return "alike"
        reworded.alike = "method"
        """,
    )
    source = "def f(x): return x\nclass A:\n    def g(self): return 'original'\ndef h(x): return f(x), A().g()"
    assert cook(source).lab.h(2) == (2, "original")
    box = cook(source, variants=path)
    assert box.lab.h(2) == (2, "original")
    for name, want in (("wrong", (-2, "original")), ("method", (2, "changed")), ("reworded", (2, "alike"))):
        box.swap(name)
        assert box.lab.h(2) == want


# ---- what it prints


def test_printed_text_is_kept(cook):
    box = cook(
        "import os, sys\nprint('at import')\ndef f():\n    print('héllo', end='')\n    print('error', file=sys.stderr)\n    os.system('echo shell')"
    )
    box.lab.f()
    box.close()
    for text in ("at import", "héllo", "error", "shell"):
        assert text in box.printed


def test_text_printed_before_the_end_is_kept(cook, monkeypatch):
    box = cook(
        "import os\ndef f():\n    print('last words')\n    os._exit(1)\ndef g():\n    print('thinking')\n    while True: pass"
    )
    assert failure(box.lab.f).outcome == "died"
    assert box.printed == "last words\n"
    box = cook("def g():\n    print('thinking')\n    while True: pass")
    monkeypatch.setattr(remote, "CALL", FAST)
    failure(box.lab.g)
    box.close()
    assert box.printed == "thinking\n"


@pytest.mark.parametrize("n", [remote.KEPT - 1, remote.KEPT, 3 * remote.KEPT + 7])
def test_printed_text_is_bounded(cook, n):
    box = cook("import sys\ndef f(n):\n    sys.stdout.write('x' * n)\n    return n")
    assert box.lab.f(n) == n
    box.close()
    assert len(box.printed) == min(n, remote.KEPT)


FLOODS = {
    "print": "def f():\n    while True: print('spam' * 99)",
    "a file": "import os\ndef f():\n    while True: os.write(2, b'x' * 60000)",
    "both ends": "import os\nx = os.fork\ndef f():\n    os.system('yes')",
}


@pytest.mark.parametrize("case", FLOODS)
def test_a_flood_is_stopped(cook, kitchen, tmp_path, monkeypatch, case):
    monkeypatch.setattr(remote, "FLOOD", 1 << 20)
    box = cook(FLOODS[case])
    e = failure(box.lab.f)
    assert (e.outcome, e.text) == ("flood", "it printed more than 1 MB")
    assert len(box.printed) == remote.KEPT
    box.close()
    assert still_works(kitchen, tmp_path)


def test_a_flood_that_ends_by_itself(cook):
    box = cook("def f():\n    print('x' * (1 << 20))\n    return 5")
    assert box.lab.f() == 5


# ---- nothing stays behind

STAYING = {
    "a grandchild": "import os, time\ndef f():\n    if os.fork() == 0:\n        time.sleep(100)\n    return os.getpid()",
    "an orphan": "import os, time\ndef f():\n    if os.fork() == 0:\n        time.sleep(100)\n    return os.getpid()\ndef end():\n    os._exit(0)",
    "a program": "import os, subprocess\ndef f():\n    subprocess.Popen(['sleep', '100'])\n    return os.getpid()",
    "a deaf program": "import os, subprocess\ndef f():\n    subprocess.Popen(['sh', '-c', 'trap \"\" 1 2 15; sleep 100'])\n    return os.getpid()",
    "threads": "import os, threading, time\ndef f():\n    for d in (True, False):\n        threading.Thread(target=time.sleep, args=(100,), daemon=d).start()\n    return os.getpid()",
    "an exit handler": "import atexit, os, time\natexit.register(time.sleep, 100)\ndef f():\n    return os.getpid()",
    "many": "import os, time\ndef f():\n    for _ in range(30):\n        if os.fork() == 0:\n            time.sleep(100)\n    return os.getpid()",
}


@pytest.mark.parametrize("case", STAYING)
def test_nothing_stays(cook, kitchen, tmp_path, monkeypatch, case):
    box = cook(STAYING[case])
    leader = box.lab.f()
    assert leader in group(leader)
    if case == "an orphan":
        end = box.lab.end
        monkeypatch.setattr(remote, "CALL", FAST)
        assert failure(end).outcome == "slow"  # its child still holds the line
        monkeypatch.undo()
    began = time.monotonic()
    box.close()
    assert time.monotonic() - began < 4
    assert wait_until(lambda: not group(leader))
    assert still_works(kitchen, tmp_path)


GARBAGE = """
import os
def f():
    for n in range(3, 64):
        try: os.write(n, b"\\x05garbage" * 50)
        except OSError: pass
"""


def test_garbage_into_every_descriptor(cook, kitchen, tmp_path):
    assert failure(cook(GARBAGE).lab.f).outcome == "garbage"
    assert still_works(kitchen, tmp_path)


@pytest.mark.slow
def test_patches_stay_in_the_process(cook, kitchen, tmp_path):
    cook("import json, socket, struct, torch, builtins\njson.loads = struct.unpack = socket.socket.recv = None\n"
         "def f():\n    torch.softmax = torch.Tensor.__add__ = None")  # fmt: skip
    assert still_works(kitchen, tmp_path)
    assert cook("import torch\ndef f(x):\n    return torch.softmax(x + 1, 0)").lab.f(torch.zeros(2)).tolist() == [
        0.5,
        0.5,
    ]


def test_one_box_does_not_see_another(cook):
    first = cook("import sys\nsys.modules['json'].seen = 1\nx = 1")
    second = cook("import sys\ndef f():\n    return hasattr(sys.modules['json'], 'seen')")
    assert second.lab.f() is False
    assert first.lab.x == 1


def test_many_boxes_leak_no_descriptors(kitchen, tmp_path, monkeypatch):
    n = 50 if kitchen._control else 5
    path = write(tmp_path / "lab.py", "import os\ndef f():\n    return 5\ndef end():\n    os._exit(1)")
    still_works(kitchen, tmp_path)
    before, threads = descriptors(), threading.active_count()
    for i in range(n):
        box = kitchen.box()
        box.load(path)
        assert box.lab.f() == 5
        if i % 2:
            failure(box.lab.end)
        box.close()
        box.close()
    assert descriptors() == before
    assert threading.active_count() == threads


def test_files_are_limited(cook, tmp_path):
    lab = cook(
        "def f(path, n):\n    with open(path, 'wb') as f:\n        f.seek(n)\n        f.write(b'x')\n    return 1"
    ).lab
    assert lab.f(str(tmp_path / "a"), 1000) == 1
    e = failure(lab.f, str(tmp_path / "b"), 300 << 20)
    assert (e.outcome, "SIGXFSZ" in e.text or "too large" in e.text) in [("died", True), ("disk", True)]


def test_tighter_limits_of_the_system_are_no_obstacle(tmp_path):
    path = write(tmp_path / "lab.py", "x = 5")
    code = f"""
        import resource
        from pathlib import Path
        from labkit.kitchen import Kitchen
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        with Kitchen(fork=True) as kitchen:
            box = kitchen.box()
            box.load(Path({str(path)!r}))
            print(box.lab.x)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("5\n", "")


# ---- the process that forks


@pytest.fixture
def server():
    with Kitchen(fork=True) as made:
        yield made


@pytest.fixture
def read_files(monkeypatch):
    """The paths that were sent to be compiled for all."""
    asked, ask = [], remote.Box._ask

    def noted(self, op, *rest):
        if op == "read":
            asked.append(rest[0])
        return ask(self, op, *rest)

    monkeypatch.setattr(remote.Box, "_ask", noted)
    return asked


def loaded(kitchen, path):
    box = kitchen.box()
    box.load(path)
    return box


def test_a_file_is_compiled_once_and_lines_still_have_their_file(server, tmp_path, read_files):
    path = write(tmp_path / "lab.py", "def f():\n    return 1 / 0\n")
    for _ in range(3):
        box = loaded(server, path)
        assert failure(box.lab.f).line == 2
        box.close()
    other = write(tmp_path / "other.py", path.read_text())  # the same bytes, but its lines are another file's
    box = loaded(server, other)
    assert (failure(box.lab.f).line, failure(box.lab.f).code) == (2, "return 1 / 0")
    box.close()
    write(other, "def f():\n    return 5\n")
    box = loaded(server, other)
    assert box.lab.f() == 5
    box.close()
    assert read_files == [str(path), str(other), str(other)]


@pytest.mark.parametrize("source", ["x = 1 is 1\n", "x = [" + "'é', " * 300_000 + "]\n"], ids=["warning", "large"])
def test_what_each_must_compile_itself(server, tmp_path, source):
    path = write(tmp_path / "lab.py", source)
    for _ in range(2):
        box = loaded(server, path)
        assert box.lab.x is True if "is" in source else len(box.lab.x) == 300_000
        box.close()
        assert ("SyntaxWarning" in box.printed) == ("is" in source)
    assert list(server._compiled.values()) == [b""]


def test_a_seed_counts_from_the_next_request_on_and_once(cook):
    box = cook("import random\ndef f(): return random.random()\n")
    box.seed(7)
    box.seed(11)
    expected = random.Random(11)
    assert [box.lab.f(), box.lab.f()] == [expected.random(), expected.random()]
    box.seed(11)
    assert box.lab.f() == random.Random(11).random()


def test_a_lab_that_kills_its_parent(server, tmp_path):
    box = server.box()
    box.load(
        write(
            tmp_path / "lab.py",
            "import os, signal\ndef f():\n    os.kill(os.getppid(), signal.SIGKILL)\n    return os.getpid()",
        )
    )
    pid = box.lab.f()
    other = server.box()
    box.close()
    other.close()
    assert wait_until(lambda: not group(pid))
    assert still_works(server, tmp_path)


def test_a_lab_that_kills_its_parents_group_and_itself(server, tmp_path):
    box = server.box()
    box.load(
        write(
            tmp_path / "lab.py",
            "import os, signal\ndef f():\n    os.killpg(os.getpgid(os.getppid()), 9)\n    os.kill(os.getpid(), 9)",
        )
    )
    assert failure(box.lab.f).outcome == "died"
    assert still_works(server, tmp_path)
    box.close()


@pytest.mark.slow
def test_a_lab_that_stops_its_parent(server, tmp_path, monkeypatch):
    monkeypatch.setattr("labkit.kitchen.ANSWER", 1.0)
    server._control.settimeout(1.0)
    box = server.box()
    box.load(write(tmp_path / "lab.py", "import os, signal\ndef f():\n    os.kill(os.getppid(), signal.SIGSTOP)"))
    box.lab.f()
    assert still_works(server, tmp_path)
    box.close()


def test_closing_ends_everything(tmp_path):
    path = write(tmp_path / "lab.py", "import os\ndef f():\n    return os.getpid()")
    for fork in (True, False):
        with Kitchen(fork=fork) as kitchen:
            boxes = [kitchen.box() for _ in range(3)]
            for box in boxes:
                box.load(path)
            leaders = [box.lab.f() for box in boxes]
            server = kitchen._server.pid if fork else None
        assert not [p for leader in leaders for p in group(leader)]
        assert not (server and group(server))
        kitchen.close()


def test_closing_at_once_is_quick_and_quiet(capfd):
    began = time.monotonic()
    Kitchen(["torch"], fork=True).close()
    assert time.monotonic() - began < 3
    assert capfd.readouterr().err == ""


JUDGE = """
import sys, time
from pathlib import Path
from labkit.kitchen import Kitchen
kitchen = Kitchen(fork={fork})
box = kitchen.box()
box.load(Path({path!r}))
print(box.lab.pid(), flush=True)
box.lab.f()
"""


@pytest.mark.parametrize("fork", MODES)
def test_killing_the_judge_ends_its_labs(tmp_path, fork):
    path = write(tmp_path / "lab.py", "import os, subprocess\ndef pid():\n    subprocess.Popen(['sleep', '100'])\n    return os.getpid()\n"
                 "def f():\n    while True: pass")  # fmt: skip
    judge = subprocess.Popen([sys.executable, "-c", JUDGE.format(fork=fork, path=str(path))], stdout=subprocess.PIPE)
    leader = int(judge.stdout.readline())
    time.sleep(0.2)
    alive = group(leader)
    judge.kill()
    judge.wait()
    judge.stdout.close()
    assert len(alive) == 2
    assert wait_until(lambda: not group(leader), 8)


# ---- a peer that is not a lab at all


@pytest.fixture
def peer(monkeypatch):
    """peer(behaviour) → a box whose other end is served by behaviour(socket, request)."""
    monkeypatch.setattr(remote, "CALL", 0.5)
    made = []

    def start(behaviour):
        ours, theirs = socket.socketpair()
        read, write_end = os.pipe()

        def serve():
            with contextlib.suppress(wire.Closed, OSError):
                behaviour(theirs, wire.receive(theirs, lambda n, _: n))

        thread = threading.Thread(target=serve, daemon=True)
        killed = []

        def kill():
            killed.append(1)

        box = Box(ours, os.fdopen(read, "rb"), kill, lambda: -9, lambda: None)
        thread.start()
        made.append((box, theirs, write_end, thread))
        return box

    yield start
    for box, theirs, write_end, thread in made:
        os.close(write_end)
        box.close()
        theirs.close()
        thread.join(5)


def say(x, keep=None):
    return lambda sock, request: sock.sendall(wire.dumps(x(request) if callable(x) else x, keep))


def send_bytes(data):
    return lambda sock, request: sock.sendall(data)


def drip(sock, request):
    for byte in wire.dumps([request[0], "ok", "x" * 500]):
        sock.sendall(bytes([byte]))
        time.sleep(0.05)


REPORT = {"types": ["ValueError", "Exception"], "text": "t", "line": 3, "code": "c", "missing": None}


def report(**changes):
    return say(lambda request: [request[0], "raised", {**REPORT, **changes}])


PEERS = {
    "random bytes": (send_bytes(b"\x93garbage" * 99), "garbage"),
    "a huge length": (send_bytes(struct.pack("<II", 2**32 - 1, 0)), "garbage"),
    "a huge buffer": (send_bytes(struct.pack("<III", 2, 1, 2**32 - 1)), "garbage"),
    "nothing": (lambda sock, request: time.sleep(1), "slow"),
    "half a message": (send_bytes(wire.dumps("x" * 99)[:50]), "slow"),
    "one byte at a time": (drip, "slow"),
    "closes": (lambda sock, request: sock.close(), "died"),
    "closes half-way": (lambda sock, request: (sock.sendall(b"\x10\x00"), sock.close()), "died"),
    "an earlier number": (say(lambda r: [r[0] - 1, "ok", 1]), "garbage"),
    "a later number": (say(lambda r: [r[0] + 1, "ok", 1]), "garbage"),
    "a number that is an array": (say(lambda r: [np.array([1, 2]), "ok", 1]), "garbage"),
    "a number that is text": (say(["1", "ok", 1]), "garbage"),
    "an unknown kind": (say(lambda r: [r[0], "great", 1]), "garbage"),
    "a kind that is an array": (say(lambda r: [r[0], np.array(["ok"] * 2).view("uint8"), 1]), "garbage"),
    "too few parts": (say(lambda r: [r[0], "ok"]), "garbage"),
    "too many parts": (say(lambda r: [r[0], "ok", 1, 2]), "garbage"),
    "no list": (say("ok"), "garbage"),
    "a report that is none": (say(lambda r: [r[0], "raised", 5]), "garbage"),
    "an empty report": (say(lambda r: [r[0], "raised", {}]), "garbage"),
    "a report without a line": (say(lambda r: [r[0], "raised", {"types": ["E"], "text": ""}]), "garbage"),
    "no types": (report(types=[]), "garbage"),
    "types that are arrays": (report(types=["E", np.zeros(3)]), "garbage"),
    "types that are numbers": (report(types=[3]), "garbage"),
    "a text that is bytes": (report(text=b""), "garbage"),
    "a line of text": (report(line="3"), "garbage"),
    "code that is a list": (report(code=["x"]), "garbage"),
    "a missing number": (report(missing=3), "garbage"),
    "a right report": (report(), "raised"),
}


@pytest.mark.parametrize("case", PEERS)
def test_a_hostile_peer_is_named(peer, case):
    behaviour, outcome = PEERS[case]
    box = peer(behaviour)
    began = time.monotonic()
    e = failure(box.get, 0, "f")
    assert e.outcome == outcome
    assert time.monotonic() - began < 2
    if outcome != "raised":
        assert failure(box.get, 0, "g") is e  # it is not asked again


def test_a_peer_that_does_not_listen(peer):
    box = peer(lambda sock, request: time.sleep(1))
    assert failure(box.call, 0, [bytes(20 << 20)], {}).outcome == "slow"


# ---- probes

SPEC = """
import math
import os.path as paths
from json import dumps as to_json

WIDTH: int = 3
A, (B, C) = 1, (2, 4)
ANSWER = 42
SCALE = WIDTH * 10


class Box:
    size = SCALE


def helper(x):
    return x * Box.size + B


def oracle(x):
    return ANSWER


def test_probe(lab):
    lab.probe(probe, 1), oracle(1)


def probe(lab, x, **more):
    return lab.f(helper(x)) + math.floor(0.5)


def alone(lab):
    return to_json([1]), paths.sep
"""


@pytest.fixture
def spec(tmp_path):
    from labkit.child import load

    return load(str(write(tmp_path / "spec_for_probes.py", SPEC)), "spec_for_probes")


def test_a_probe_takes_only_what_it_needs(spec):
    text = source_of(spec.probe)
    for name in ("def probe", "def helper", "class Box", "SCALE = ", "WIDTH: int", "A, (B, C)", "import math"):
        assert name in text
    for name in ("oracle", "ANSWER", "42", "test_probe", "alone", "json", "paths"):
        assert name not in text
    assert sorted(source_of(spec.alone).split("\n")[:2]) == [
        "from json import dumps as to_json",
        "import os.path as paths",
    ]
    assert "WIDTH" not in source_of(spec.alone)


def test_probes_run_beside_the_lab(cook, spec):
    box = cook("import os\ndef f(x):\n    return x, os.getpid()\n".replace("x, os", "x + 0 * os"))
    assert box.lab.probe(spec.probe, 2) == 62
    assert box.lab.probe(spec.alone) == ("[1]", os.sep)
    assert box.last_call() == (1, False)
    box.lab.f(2)
    assert box.last_call() == (3, True)


def test_a_probe_may_be_given_a_handle(cook, spec):
    box = cook("class A:\n    n = 6\ndef f(x):\n    return x\ndef g():\n    return A()\ndef h(a):\n    return a.n")
    a = box.lab.g()
    assert box.lab.h(a) == 6
    assert failure(box.lab.probe, spec.probe, a).types[0] == "TypeError"


# ---- the journal


def test_the_journal(cook):
    box = cook(HANDLES)
    items = [1]
    made = box.lab.make(5)
    made.add(k=2)
    failure(lambda: made.nothing)
    failure(box.lab.make, *items, extra=items)
    items.append(2)
    ops = [(c.op, c.name, c.target, c.result) for c in box.journal]
    maker, counter, add = 1, 2, 3
    assert ops == [
        ("get", "make", 0, maker),
        ("call", "", maker, counter),
        ("get", "add", counter, add),
        ("call", "", add, None),
        ("get", "nothing", counter, None),
        ("get", "make", 0, -1),
        ("call", "", -1, None),
    ]
    assert box.journal[3].arguments == ([], {"k": 2})
    assert box.journal[-1].arguments == ([1], {"extra": [1]})
    assert box.last_call() == (6, True)


def test_a_function_that_was_asked_for_before_is_named_and_called_in_one_request(cook):
    box = cook(
        """
        def first(x):
            return x + 1
        def change():
            global first
            first = lambda x: x - 1
        def end():
            global first
            first = 5
        def twice(f, x):
            return f(f(x))
        """
    )
    lab = box.lab
    serial = box._serial
    assert [lab.first(x) for x in (1, -3, 0)] == [2, -2, 1]
    assert box._serial - serial == 4  # the first time it was asked for and then called
    held = lab.first
    assert lab.twice(held, 3) == 5  # its handle, where one is needed
    lab.change()
    assert [lab.first(3), held(3)] == [2, 2], "the name is looked up anew"
    with pytest.raises(Failed) as e:
        lab.first(1, 2)
    assert (e.value.types[0], e.value.outcome) == ("TypeError", "raised")
    lab.end()
    with pytest.raises(Failed, match="not callable"):
        lab.first(1)
    with pytest.raises(Failed, match="no function any more"):
        lab.twice(lab.first, 1)
    assert box.fetch(0, "first") == 5


def test_a_hanging_lab_is_asked_where_it_is(cook, monkeypatch):
    monkeypatch.setattr(remote, "CALL", 1.0)
    box = cook("def g():\n    while True:\n        pass\ndef f():\n    print('begun')\n    g()")
    e = failure(box.lab.f)
    assert e.outcome == "slow"
    assert e.line in (2, 3)
    assert e.code in ("while True:", "pass")
    assert box.printed == "begun\n"  # its stack is not taken for something it printed
