"""`lab watch` as a learner uses it: saves, in every way that editors make them, and what comes of each."""

import ast
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import RIGHT, fill, write

from labkit import catalog, diagnose, saves, watch
from labkit.keys import Keys
from labkit.kitchen import Kitchen
from labkit.progress import Progress
from labkit.remote import Stopped
from labkit.runner import Spec
from labkit.saves import Saves
from labkit.watch_round import Round

ROOT = Path(__file__).resolve().parents[2]
LAB = str(Path(sys.executable).with_name("lab"))
ENDLESS = "[None for _ in iter(int, 1)]"
PATIENCE = 90.0  # seconds; a machine that does much else is slow, and that is no failure


class Watching:
    """`lab watch` in a process of its own, with all that it has printed."""

    def __init__(self, *words: str, terminal: tuple[int, int] | None = None) -> None:
        self.seen, self.fd = "", -1
        command = [LAB, "watch", *words]
        # COLUMNS and LINES, which a test runner may set, would count for more than the terminal's own size
        inherited = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        environment = {**inherited, "PYTHONUNBUFFERED": "1", "TERM": "xterm"}
        if terminal:
            self.fd, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *terminal, 0, 0))
            self.before = termios.tcgetattr(theirs)
            self.theirs = theirs
            streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
            self.process = subprocess.Popen(command, start_new_session=True, env=environment, **streams)
            self.out = self.fd
        else:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
            assert self.process.stdout is not None
            self.out = self.process.stdout.fileno()

    def wait(self, pattern: str, since: int = 0) -> str:
        """Reads until it has said this, behind the place `since`; returns all it said from there."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.seen[since:]):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.seen[since:]!r}"
            if select.select([self.out], [], [], 0.2)[0]:
                data = os.read(self.out, 1 << 16)
                assert data, f"it ended: {self.seen[since:]!r}"
                self.seen += data.decode()
        return self.seen[since:]

    def now(self) -> int:
        return len(self.seen)

    def key(self, key: str) -> None:
        os.write(self.fd, key.encode())

    def stop(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@pytest.fixture
def watching(lab: catalog.Lab) -> Iterator[Callable[..., Watching]]:
    """watching(words, terminal=(lines, columns)) starts one; ended with the test, and nothing may be left of it."""
    made: list[Watching] = []

    def start(*words: str, **options: tuple[int, int]) -> Watching:
        made.append(Watching(*words, **options))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        with contextlib.suppress(OSError):
            os.close(one.fd) if one.fd >= 0 else one.process.stdout.close()


DONE = r"\d+/9 points\..*\n"


# ---- what a save is


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(saves.time, "monotonic", lambda: now[0])
    return now


def test_the_file_that_is_there_counts_as_saved_once(tmp_path, clock):
    told = Saves(write(tmp_path / "lab.py", "x = 1\n"))
    assert [told.poll(), told.poll()] == ["saved", ""]


def test_a_save_without_a_change_and_one_by_renaming_are_saves(tmp_path, clock):
    file = write(tmp_path / "lab.py", "x = 1\n")
    told = Saves(file)
    told.poll()
    os.utime(file, ns=(5, 5))
    assert told.poll() == "saved"
    other = write(tmp_path / "lab.py.new", "x = 1\n")
    os.utime(other, ns=(5, 5))  # same size, same time: only the file is another one
    other.replace(file)
    assert [told.poll(), told.poll()] == ["saved", ""]


@pytest.mark.parametrize("half", ["", "def f(:\n", "x = '''\n", "x = 1\n\0"])
def test_a_half_written_file_gets_time_to_become_whole(tmp_path, clock, half):
    file = write(tmp_path / "lab.py", "x = 1\n")
    told = Saves(file)
    told.poll()
    file.write_text(half)
    os.utime(file, ns=(6, 6))
    assert told.poll() == ""
    clock[0] += saves.SETTLE / 2
    assert told.poll() == ""
    file.write_text("x = 22\n")
    assert told.poll() == "saved"  # at once
    file.write_text(half)
    os.utime(file, ns=(7, 7))
    assert told.poll() == ""
    clock[0] += saves.SETTLE * 1.01
    assert [told.poll(), told.poll()] == ["saved", ""]  # it stays so: then that is what the learner means


def test_a_file_between_two_names_is_not_gone(tmp_path, clock):
    file = write(tmp_path / "lab.py", "x = 1\n")
    told = Saves(file)
    told.poll()
    file.rename(tmp_path / "lab.py~")
    assert told.poll() == ""
    write(file, "x = 2\n")
    assert told.poll() == "saved"
    file.unlink()
    assert told.poll() == ""
    clock[0] += saves.SETTLE * 1.01
    assert [told.poll(), told.gone, told.poll()] == ["gone", True, ""]
    write(file, "x = 3\n")
    assert [told.poll(), told.gone] == ["saved", False]


def test_a_folder_in_place_of_the_file_is_no_file(tmp_path, clock):
    file = tmp_path / "lab.py"
    file.mkdir()
    told = Saves(file)
    clock[0] += saves.SETTLE * 1.01
    assert [told.poll(), told.gone] == ["gone", True]


def test_what_is_forgotten_is_told_again(tmp_path, clock):
    told = Saves(write(tmp_path / "lab.py", "x = 1\n"))
    told.poll()
    told.forget()
    assert [told.poll(), told.poll()] == ["saved", ""]


# ---- a session


def test_each_save_is_checked_named_and_remembered(lab, watching):
    w = watching("99.1")
    w.wait(DONE)
    assert "· double       0/2  not started" in w.seen
    here = w.now()
    fill(lab, double="x * x")
    said = w.wait(DONE, here)
    assert "✗ double       0/2  wrong" in said
    assert "It squares instead of doubling.  (99.1/squares)" in said
    assert "called    double(" in said
    assert "\033" not in w.seen
    here = w.now()
    fill(lab, **RIGHT)
    said = w.wait(r"9/9 points: lab 99.1 has passed\.", here)
    assert "It was the last one" in w.wait("It was the last one", here)
    assert Progress(Path.cwd()).done(lab)
    assert w.stop() == 130
    assert "stopped watching" in w.wait("stopped watching")


def test_the_editor_replaces_the_file_takes_it_away_and_brings_it_back_broken(lab, watching):
    w = watching("99.1")
    w.wait(DONE)
    here, file = w.now(), lab.file("lab.py")
    fill(lab, double="2 * x")
    text = file.read_text()
    new = file.with_name("lab.py.tmp")
    new.write_text(text)
    file.unlink()
    w.wait("is gone", here)
    here = w.now()
    new.replace(file)
    assert "✓ double       2/2  passed" in w.wait(DONE, here)
    here = w.now()
    file.write_text(text.replace("return 2 * x", "return 2 *"))
    assert "SyntaxError in line" in w.wait(DONE, here)
    here = w.now()
    file.write_text(text)
    assert "✓ double       2/2  passed" in w.wait(DONE, here)


def test_a_save_ends_the_endless_loop_that_is_being_checked(lab, watching, tmp_path):
    log = tmp_path / "pids"
    hang = f"(open({str(log)!r}, 'a').write(f'{{__import__(\"os\").getpid()}}\\n'), {ENDLESS})"
    fill(lab, double=hang)
    w = watching("99.1")
    deadline = time.monotonic() + PATIENCE
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    here = w.now()
    fill(lab, **RIGHT)
    w.wait("lab 99.1 has passed", here)
    assert "too slow" not in w.seen  # nobody waited for the 10 s that a call may take
    for pid in map(int, log.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_check_that_was_overtaken_records_nothing(lab, watching):
    fill(lab, **{**RIGHT, "negate": ENDLESS})
    w = watching("99.1")
    w.wait("✓ quadruple")  # two tasks have passed, the third hangs
    here = w.now()
    fill(lab)
    w.wait(DONE, here)
    assert Progress(Path.cwd()).passed(lab) == []


def test_the_first_open_task_and_what_it_builds_on_come_first(lab, watching):
    fill(lab, double="2 * x", negate="-x")
    for name in ("double", "negate"):
        subprocess.run([LAB, "check", "99.1", name], check=True, capture_output=True)
    w = watching("99.1")
    said = w.wait(DONE)
    assert re.findall(r"[✓✗·] (\w+)", said) == ["double", "quadruple", "negate"]
    w.stop()
    fill(lab, double="2 * x", quadruple="4**times * x")
    for name in ("double", "quadruple"):
        subprocess.run([LAB, "check", "99.1", name], check=True, capture_output=True)
    lab.file("lab.toml").write_text(lab.file("lab.toml").read_text().replace('after = ["double"]', ""))
    w = watching("99.1")
    assert re.findall(r"[✓✗·] (\w+)", w.wait(DONE)) == ["negate", "double", "quadruple"]


def test_without_an_id_it_watches_the_next_lab_and_an_unknown_one_is_refused(lab, watching):
    w = watching()
    w.wait(DONE)
    w.stop()
    done = subprocess.run([LAB, "watch", "9.9"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_lab_whose_extra_is_missing_is_not_watched(lab):
    toml = lab.file("lab.toml")
    toml.write_text(toml.read_text().replace("extras = []", 'extras = ["no_such_package"]'))
    done = subprocess.run([LAB, "watch", "99.1"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unavailable here" in done.stderr


# ---- at a terminal


def test_keys_and_the_page_at_a_terminal(lab, watching):
    fill(lab, double="x * x")
    w = watching("99.1", terminal=(18, 70))
    w.wait("checked in")
    assert "\033[H" in w.seen
    frames = re.split(r"\033\[H", w.seen)
    assert all(frame.count("\n") < 18 for frame in frames)
    lines = [re.sub(r"\033\[[0-9;]*[A-Za-z]", "", line.rstrip("\r")) for f in frames for line in f.split("\n")]
    assert all(len(line) <= 70 for line in lines)
    assert frames[1].endswith("\033[2J") or "\033[2J" in w.seen.split("\033[H")[0]  # the first page clears the screen
    assert w.seen.count("\033[2J") == 1  # and no other does: they are drawn over one another
    here = w.now()
    w.key("l")
    assert "0 of 1 labs" in w.wait("any key", here)
    here = w.now()
    w.key(" ")
    w.wait("watching", here)
    here = w.now()
    w.key("r")
    w.wait("checked in", here)
    here = w.now()
    w.process.send_signal(signal.SIGSTOP)
    w.process.send_signal(signal.SIGCONT)  # as after Ctrl-Z and fg: the screen was somebody else's meanwhile
    w.wait(r"\033\[2J(?s:.*)checked in", here)
    w.key("\033[A")  # an arrow is no q and no h
    w.key("q")
    assert w.process.wait(PATIENCE) == 1  # it had not passed
    assert termios.tcgetattr(w.theirs) == w.before


def test_a_hint_is_for_the_task_at_hand_and_is_remembered(lab, watching):
    fill(lab, double="2 * x")
    w = watching("99.1", terminal=(40, 90))
    w.wait("checked in")
    here = w.now()
    w.key("h")
    assert "99.1 quadruple" in w.wait("a nudge", here)
    assert [Progress(Path.cwd()).hints(lab, t) for t in lab.tasks] == [0, 1, 0]


def test_after_a_pass_enter_goes_on_to_the_next_lab(lab, watching):
    second = lab.folder.with_name("lab-02-z")
    shutil.copytree(lab.folder, second)
    toml = (second / "lab.toml").read_text().replace('"99.1"', '"99.2"').replace('"Numbers"', '"More numbers"')
    (second / "lab.toml").write_text(toml)
    w = watching("99.1", terminal=(40, 90))
    w.wait("checked in")
    w.key("\n")  # too early: it has not passed
    here = w.now()
    fill(lab, **RIGHT)
    w.wait("Next is 99.2 More numbers: Enter goes on to it", here)
    here = w.now()
    w.key("\n")
    w.wait("99.2 More numbers.*watching(?s:.*)checked in", here)
    w.key("q")
    assert w.process.wait(PATIENCE) == 1
    w = watching("99.1", terminal=(40, 90))
    w.wait("has passed")
    w.key("q")
    assert w.process.wait(PATIENCE) == 0


def test_ctrl_c_puts_the_terminal_back_and_leaves_no_process(lab, watching, tmp_path):
    fill(lab, double=ENDLESS)
    w = watching("99.1", terminal=(30, 90))
    w.wait("checking")
    time.sleep(0.5)
    assert w.stop() == 130
    assert termios.tcgetattr(w.theirs) == w.before
    found = subprocess.run(["ps", "-eo", "sid,args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in found.splitlines() if line.split()[0] == str(w.process.pid)]


def plain(text: str) -> str:
    """Without escape codes, and without the carriage returns that a terminal adds."""
    return re.sub(r"\033\[[0-9;]*[A-Za-z]", "", text).replace("\r", "")


def frames(seen: str) -> list[str]:
    """The pages that were drawn, from the whole of what went to the terminal."""
    return [plain(frame) for frame in seen.split("\033[H")[1:]]


def words(text: str) -> str:
    return " ".join(text.split())


def test_nothing_is_lost_at_80_columns(lab, watching):
    """Every hint is there in full, the newest first; the keys are always the last line; no line is too long."""
    toml = lab.file("lab.toml")
    long = [" ".join(f"{name}{i}" for i in range(40)) for name in ("nudge", "plan")]
    code = ";  ".join(
        f"line_{i} = a_function_of_a_long_name(the_first_of_its_arguments, and_another_one, {i})" for i in range(5)
    )
    hints = f"hints = {json.dumps([*long, code])}"
    toml.write_text(toml.read_text().replace('hints = ["a", "b", "c"]', hints, 1))
    body = "[print('printed', i) for i in range(20)] and x * x"
    fill(lab, double=body)
    w = watching("99.1", terminal=(24, 80))
    w.wait("It squares")
    w.wait("checked in")
    page = frames(w.seen)[-1]
    assert page.rstrip("\n").endswith("h hint  ·  r run again  ·  l list  ·  q quit")
    assert "stuck: lab hint 99.1 double" in words(page)
    assert "watching lab-01-y/lab.py" in page
    for i, hint in enumerate([*long, code.replace(";  ", " ")]):
        here = w.now()
        w.key("h")
        w.wait(rf"hint {i + 1} of 3(?s:.*)quit", here)
        page = frames(w.seen)[-1]
        assert words(hint) in words(page)
        assert page.rstrip("\n").endswith("q quit")
    assert max(len(line) for frame in frames(w.seen) for line in frame.split("\n")) <= 80
    assert max(frame.count("\n") for frame in frames(w.seen)) <= 23


def test_a_window_of_another_size_is_drawn_anew(lab, watching):
    w = watching("99.1", terminal=(24, 80))
    w.wait("checked in")
    time.sleep(0.3)
    here = w.now()
    fcntl.ioctl(w.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 40, 0, 0))
    w.wait(r"\033\[2J(?s:.*)quit", here)
    assert max(len(line) for line in frames(w.seen)[-1].split("\n")) <= 40


def test_the_list_comes_back_after_ctrl_z_and_goes_with_the_next_save(lab, watching):
    w = watching("99.1", terminal=(24, 80))
    w.wait("checked in")
    w.key("l")
    w.wait("any key")
    here = w.now()
    w.process.send_signal(signal.SIGSTOP)
    w.process.send_signal(signal.SIGCONT)
    assert "0 of 1 labs" in w.wait(r"\033\[2J(?s:.*)any key", here)
    here = w.now()
    fill(lab, double="x * x")
    w.wait("It squares(?s:.*)checked in", here)
    assert "any key" not in frames(w.seen)[-1]


def test_while_a_check_runs_an_old_verdict_is_not_shown_as_if_it_were_of_this_save(lab, watching):
    fill(lab, **RIGHT)
    w = watching("99.1", terminal=(24, 80))
    w.wait("has passed")
    here = w.now()
    fill(lab, **{**RIGHT, "double": ENDLESS})
    w.wait("double .*checking …(?s:.*)q quit", here)
    page = frames(w.seen)[-1]
    assert re.search(r"✓ negate +4/4 +passed +before this save", page)
    here = w.now()
    fill(lab, **RIGHT)
    w.wait("has passed", here)
    assert "before this save" not in frames(w.seen)[-1]


def test_keys_work_while_the_spec_of_a_check_that_was_called_off_still_computes(lab, watching, tmp_path):
    begun, may_end = tmp_path / "begun", tmp_path / "may_end"
    spec = lab.file("test_lab.py")
    wait = f"""
    import pathlib, time
    pathlib.Path({str(begun)!r}).touch()
    while not pathlib.Path({str(may_end)!r}).exists():
        time.sleep(0.02)
"""
    spec.write_text(spec.read_text().replace("def test_double(lab, random):\n", f"def test_double(lab, random):{wait}"))
    fill(lab, double="x * x")
    w = watching("99.1", terminal=(24, 80))
    deadline = time.monotonic() + PATIENCE
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    fill(lab, **RIGHT)
    time.sleep(0.5)
    w.key("l")
    assert "0 of 1 labs" in w.wait("any key")
    may_end.touch()
    w.wait("has passed")


def test_enter_after_the_last_lab_does_nothing(lab, watching):
    fill(lab, **RIGHT)
    w = watching("99.1", terminal=(24, 80))
    w.wait("It was the last one(?s:.*)quit")
    here = w.now()
    w.key("\n")
    w.key("l")
    w.wait("any key", here)
    assert "getting ready" not in w.seen[here:]
    w.key("x")
    w.key("q")
    assert w.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_other_ways_to_be_ended_have_their_own_code(lab, watching, name, code):
    w = watching("99.1", terminal=(24, 80))
    w.wait("checked in")
    w.process.send_signal(getattr(signal, name))
    assert w.process.wait(PATIENCE) == code
    assert termios.tcgetattr(w.theirs) == w.before


@pytest.fixture
def session(lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], tuple[int, str]]]:
    """session(words) watches in this process, at a terminal for keys, and presses q once these words were printed."""
    ours, theirs = pty.openpty()

    def run(words: str) -> tuple[int, str]:
        class Log(io.StringIO):
            def write(self, text: str) -> int:
                if words in text:
                    os.write(ours, b"q")
                return super().write(text)

        out = Log()
        return watch.main(Path.cwd(), lab, out), out.getvalue()

    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield run
    os.close(ours)


def test_what_watch_does_to_signals_it_undoes(session):
    """Also the one that says the program goes on after Ctrl-Z."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGCONT)
    before = [signal.signal(n, lambda number, frame: None) for n in numbers]
    try:
        mine = [signal.getsignal(n) for n in numbers]
        assert session("points.")[0] == 1
        assert [signal.getsignal(n) for n in numbers] == mine
    finally:
        for n, handler in zip(numbers, before, strict=True):
            signal.signal(n, handler)


def test_a_check_that_breaks_off_is_a_note_and_the_watch_goes_on(session, monkeypatch):
    def broken(*_: object, **__: object) -> Iterator[object]:
        raise ValueError("odd")
        yield

    monkeypatch.setattr("labkit.runner.results", broken)
    code, said = session("broke off")
    assert code == 1
    assert "The check broke off (ValueError: odd).  lab check 99.1 says more." in said


def test_a_check_that_was_overtaken_is_made_again_although_the_file_looks_as_before(session, monkeypatch):
    """It was moved away and back between two looks at it."""
    overtaken = iter([True])
    monkeypatch.setattr(Round, "overtaken", property(lambda self: next(overtaken, False)))
    _, said = session("points.")
    assert said.count("· double") == 2
    assert said.count("points.") == 1


def test_a_terminal_that_cannot_be_asked_gives_no_keys(monkeypatch):
    def gone(fd: int) -> list[object]:
        raise termios.error(5, "Input/output error")

    ours, theirs = pty.openpty()
    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with Keys() as keys:
            assert keys.on
        monkeypatch.setattr(termios, "tcgetattr", gone)
        with Keys() as keys:
            assert not keys.on
            assert keys.read(0.01) == ""
    os.close(ours)


def test_without_stdin_it_watches_all_the_same(lab):
    command = f"exec {LAB} watch 99.1 <&-"
    done = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    assert done.stdout is not None
    for line in done.stdout:
        lines.append(line)
        if "points." in line:
            break
    done.send_signal(signal.SIGINT)
    assert done.wait(PATIENCE) == 130
    assert "Traceback" not in "".join([*lines, done.stdout.read()])


# ---- what is remembered


def test_a_save_that_does_not_load_takes_nothing_away(lab, watching):
    fill(lab, double="2 * x", quadruple="x * 4**times")
    file = lab.file("lab.py")
    whole = file.read_text()
    w = watching("99.1")
    w.wait(DONE)
    for broken in (whole.replace("2 * x", "2 *"), f"{whole}\nno_such_name\n"):
        here = w.now()
        file.write_text(broken)
        assert "0/9 points" in w.wait(DONE, here)
        assert Progress(Path.cwd()).passed(lab) == ["double", "quadruple"]
        here = w.now()
        file.write_text(whole)
        said = w.wait(DONE, here)
        assert re.findall(r"[✓✗·] (\w+)", said)[0] == "negate"  # the one at hand, as before the slip
    fill(lab, quadruple="x * 4**times")
    w.wait(DONE, w.now())
    assert Progress(Path.cwd()).passed(lab) == []  # one that loads says what it is


def test_a_record_that_cannot_be_written_is_said_and_the_watch_goes_on(lab, watching):
    Path(".lab").write_text("in the way")
    w = watching("99.1")
    for expression in ("x * x", "2 * x"):
        here = w.now()
        fill(lab, double=expression)
        said = w.wait(rf"What passed is not remembered: .*\.lab.*lab doctor(?s:.*){DONE}", here)
    assert "✓ double       2/2  passed" in said
    assert w.stop() == 130


# ---- nothing is imported after a save


def say_what_is_there(lab: catalog.Lab, module: str, log: Path) -> None:
    """Makes lab.py write down, before its own imports, whether the module is there already, and who its parent is."""
    text = lab.file("lab.py").read_text()
    first = next(n for n in ast.parse(text).body if isinstance(n, (ast.Import, ast.ImportFrom)) and n.lineno)
    spy = f"import os, sys; open({str(log)!r}, 'a').write(str({module!r} in sys.modules) + f' {{os.getppid()}}\\n')\n"
    lines = text.splitlines(keepends=True)
    at = first.end_lineno if getattr(first, "module", "") == "__future__" else first.lineno - 1
    lab.file("lab.py").write_text("".join([*lines[:at], spy, *lines[at:]]))


@pytest.mark.skipif(sys.platform != "linux", reason="a check forks on Linux only")
@pytest.mark.parametrize(("lab_id", "module"), [("1.1", "regex"), ("4.1", "torch")])
def test_every_check_starts_from_a_process_that_has_imported_all(lab_id, module, tmp_path, watching, lab):
    """Counted, not timed: in each process that loads lab.py, `module` was there before; and all have one parent."""
    original = catalog.find(ROOT, lab_id)
    folder = lab.folder.parents[1] / original.folder.parent.name / original.folder.name
    shutil.copytree(original.folder, folder, ignore=shutil.ignore_patterns("artifacts", "__pycache__"))
    copy, log = catalog.read(folder), tmp_path / "log"
    subprocess.run([LAB, "reset", lab_id], check=True, capture_output=True)
    w = watching(lab_id)
    w.wait(rf"\d+/{copy.points} points\.")
    for _ in range(2):
        say_what_is_there(copy, module, log)
        w.wait(rf"\d+/{copy.points} points\.", w.now())
    rows = [line.split() for line in log.read_text().splitlines()]
    assert len(rows) >= 2 * len([t for t in copy.tasks if not t.after])
    assert {present for present, _ in rows} == {"True"}
    assert len({parent for _, parent in rows}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("lab_id", ["1.1", "4.1"])
def test_the_first_verdict_comes_soon_after_a_save(lab_id, lab, watching, capsys):
    """A generous limit, for busy machines; what it was is printed."""
    original = catalog.find(ROOT, lab_id)
    folder = lab.folder.parents[1] / original.folder.parent.name / original.folder.name
    shutil.copytree(original.folder, folder, ignore=shutil.ignore_patterns("artifacts", "__pycache__"))
    file = folder / "lab.py"
    file.write_text((folder / "solution.py").read_text())
    w = watching(lab_id)
    w.wait("has passed")
    took = []
    for i in range(5):
        here = w.now()
        began = time.monotonic()
        file.write_text(f"{(folder / 'solution.py').read_text()}# {i}\n")
        w.wait("✓", here)
        took.append(time.monotonic() - began)
        w.wait("has passed", here)
    with capsys.disabled():
        print(f"\n{lab_id}: first verdict {min(took):.2f} to {max(took):.2f} s after the save")
    assert sorted(took)[2] < 5


# ---- the parts


def check_of(lab: catalog.Lab, source: Kitchen) -> Round:
    source.go_on()
    return Round(Path.cwd(), source, Spec.of(lab), lab.file("lab.py"), None)


def news_of(check: Round) -> list[object]:
    return list(check.news.queue)


@pytest.mark.parametrize("folder", [False, True], ids=["nothing", "a folder"])
def test_a_file_that_vanishes_at_any_moment_of_a_check_is_no_error(lab, folder):
    """It is moved away, as editors do, behind the first thing that the check says; then behind the second; and so on."""
    fill(lab, **{**RIGHT, "negate": "abs(x)"})
    file = lab.file("lab.py")
    aside = file.with_name("lab.py~")

    def taken_away(source: Kitchen, moment: int) -> Round:
        check = check_of(lab, source)
        put = check.news.put

        def put_and_vanish(news: object) -> None:
            put(news)
            if check.news.qsize() == moment:
                file.rename(aside)
                if folder:
                    file.mkdir()

        check.news.put = put_and_vanish
        check.run()
        return check

    with Kitchen([]) as source:
        for moment in range(1, 9):
            check = taken_away(source, moment)
            assert aside.exists()
            assert not [x for x in news_of(check) if isinstance(x, BaseException)]
            # Three tasks, each begun and judged, are six; behind them stand the verdicts, which are of the whole file.
            assert check.complete == any(isinstance(x, list) for x in news_of(check)) == (moment > 6)
            if folder:
                file.rmdir()
            aside.rename(file)


def test_an_error_that_is_not_the_files_is_reported_and_an_overtaken_one_is_not(lab, monkeypatch):
    def broken(*_: object, **__: object) -> Iterator[object]:
        raise error
        yield

    monkeypatch.setattr("labkit.runner.results", broken)
    with Kitchen([]) as source:
        for error in (OSError(28, "No space left on device"), ValueError("odd")):
            check = check_of(lab, source)
            check.run()
            assert news_of(check) == [error]
            assert not check.complete
        error = FileNotFoundError(2, "No such file")
        check = check_of(lab, source)
        lab.file("lab.py").unlink()
        check.run()
        assert news_of(check) == []


@pytest.mark.parametrize("fork", [True, False], ids=["fork", "fresh"])
def test_calling_off_ends_a_box_and_leaves_the_kitchen_in_order(tmp_path, fork):
    hangs = write(tmp_path / "hangs.py", "def f():\n    while True: pass\n")
    right = write(tmp_path / "right.py", "def f():\n    return 5\n")
    with Kitchen([], fork=fork) as source:
        source.prepare()
        box = source.box()
        box.load(hangs)
        threading.Timer(0.3, source.call_off).start()
        with pytest.raises(Stopped):
            box.lab.f()
        with pytest.raises(Stopped):
            source.box()
        source.go_on()
        assert box.closed
        again = source.box()
        again.load(right)
        assert again.lab.f() == 5


def test_stopped_is_nobodys_exception():
    """A spec, or a `check.raises` in it, that catches Exception must not take it for something the lab did."""
    assert not issubclass(Stopped, Exception)


def test_observations_that_were_cut_off_are_not_kept_as_knowledge(lab, tmp_path):
    text = lab.file("mistakes.py").read_text().replace("return x * x", "return [None for _ in iter(int, 1)]")
    lab.file("mistakes.py").write_text(text)
    cache = tmp_path / "cache"
    with Kitchen([]) as source:
        threading.Timer(1.0, source.call_off).start()
        with pytest.raises(Stopped):
            diagnose.catalogue(source, Spec.of(lab), "double", cache=cache)
    assert not cache.exists()


def test_closed_boxes_are_forgotten():
    with Kitchen([]) as source:
        for _ in range(5):
            source.box().close()
        assert len(source._boxes) <= 1
