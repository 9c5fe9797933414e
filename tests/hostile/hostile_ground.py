"""The ground on which hostile submissions are let loose: secrets that they may look for, and traces that they may leave."""

import contextlib
import os
import re
import secrets
import shutil
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from labkit import catalog, remote, runner
from labkit.kitchen import Kitchen

LEFT = "hostile-left"  # how every file that a submission leaves behind begins
SHARED = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass
class Ground:
    """What is planted, and what was seen of those who went for it."""

    root: Path
    lab: catalog.Lab
    spec: runner.Spec
    mark: str  # on the command line of every process of its kitchen
    canary: str  # stands in every secret
    places: dict  # what a cheat who knows the grader's machine would know
    kitchen: Kitchen
    callers: list  # what reached a socket outside
    walls: str  # sandbox | limits
    terminal: int  # the side of a terminal on which what others type is read

    def processes(self):
        """Numbers of the processes of this kitchen, seen from outside."""
        return {pid for pid in numbers() if self.mark in words(pid)}

    def outlived(self, before):
        """Processes that were not there before.  What was killed may take a moment to be gone."""
        for _ in range(20):
            if not (left := self.processes() - before - self.servers()):
                break
            time.sleep(0.05)
        return {pid: words(pid)[:60] for pid in left}

    def servers(self):
        """The process that forks, and the sandbox around it: they live on from turn to turn, or are replaced."""
        leader = self.kitchen._server.pid if self.kitchen._server else 0
        return {
            pid for pid in self.processes() if pid == leader or parent(pid) == leader or parent(parent(pid)) == leader
        }

    def zombies(self):
        """Processes that have ended and that this kitchen's have not waited for."""
        mine = self.processes()
        return {pid for pid in numbers() if (s := stat(pid)) and s[0] == "Z" and int(s[1]) in mine}

    def files(self):
        """What a submission left behind, in the places that all may write to and on this ground."""
        shared = [p for folder in SHARED if os.path.isdir(folder) for p in Path(folder).glob(f"*{LEFT}*")]
        return {*shared, *self.root.rglob(f"*{LEFT}*")}

    def copy(self, file):
        """A submission, handed in: it learns where the secrets are, as one who knows the machine would."""
        text = re.sub(
            r"^PLACES = \{\}$", lambda _: f"PLACES = {self.places!r}", file.read_text(encoding="utf-8"), flags=re.M
        )
        path = self.root / "students" / file.stem / "lab.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def numbers():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def words(pid):
    """A process's command line: a fork has that of the process that was forked."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def parent(pid):
    """The number of a process's parent; 0 when it is gone."""
    return int(found[1]) if (found := stat(pid)) else 0


def stat(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


@contextlib.contextmanager
def services(root, canary, callers):
    """Local services that would tell the secret to whoever connects, and note that somebody did."""
    tcp, udp, unix, abstract = (
        socket.socket(*kind)
        for kind in (
            (socket.AF_INET, socket.SOCK_STREAM),
            (socket.AF_INET, socket.SOCK_DGRAM),
            (socket.AF_UNIX, socket.SOCK_STREAM),
            (socket.AF_UNIX, socket.SOCK_STREAM),
        )
    )
    tcp.bind(("127.0.0.1", 0))
    udp.bind(("127.0.0.1", tcp.getsockname()[1]))
    unix.bind(str(root / "socket"))
    abstract.bind(f"\0{canary[-8:]}")

    def wait(listener):
        with contextlib.suppress(OSError):
            if listener is udp:
                data, where = listener.recvfrom(100)
                callers.append(data)
                listener.sendto(canary.encode(), where)
            else:
                listener.listen()
                while True:
                    friend, _ = listener.accept()
                    callers.append(listener.getsockname())
                    friend.sendall(canary.encode())
                    friend.close()

    for listener in (tcp, udp, unix, abstract):
        threading.Thread(target=wait, args=(listener,), daemon=True).start()
    try:
        yield {"port": tcp.getsockname()[1], "socket": str(root / "socket"), "abstract": f"\0{canary[-8:]}"}
    finally:
        for listener in (tcp, udp, unix, abstract):
            listener.close()


@contextlib.contextmanager
def prepared(root, walls):
    """Secrets, services and a kitchen; one kitchen for all submissions, so that harm done to it would show."""
    canary, mark = f"canary-{secrets.token_hex(8)}", f"mark_{secrets.token_hex(8)}"
    home = catalog.find(catalog.root(Path(__file__)), "4.1").folder
    folder = root / "phases" / "phase-04-x" / home.name
    shutil.copytree(home, folder, ignore=shutil.ignore_patterns("artifacts", "__pycache__", ".mypy_cache"))
    for name in ("solution.py", "test_lab.py", "mistakes.py"):
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(f'\nCANARY = "{canary}"\n')
    planted = [folder / "solution.py", folder / "test_lab.py"]
    for name in (".netrc", ".ssh/id_rsa", "roster.csv", ".git/HEAD", "students/another/lab.py"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'KEY = "{canary}"\n', encoding="utf-8")
        planted.append(path)
    lab, callers = catalog.read(folder), []
    master, slave = os.openpty()
    os.set_blocking(master, False)
    with pytest.MonkeyPatch.context() as patch, services(root, canary, callers) as doors:
        patch.setenv("HOSTILE_SECRET", canary)
        patch.setattr(remote, "CALL", 2.0)  # those that hang need not hang for ten seconds
        everywhere = sorted(set.intersection(*(set(t.forbidden) for t in lab.tasks)))
        hidden = everywhere if walls == "sandbox" else None
        places = {**doors, "files": [str(p) for p in planted], "folders": [str(root)], "terminal": os.ttyname(slave)}
        with Kitchen([*lab.modules, mark], locked=True, hidden=hidden) as kitchen:
            kitchen.prepare()
            yield Ground(root, lab, runner.Spec.of(lab), mark, canary, places, kitchen, callers, walls, master)

    os.close(master)
    os.close(slave)
