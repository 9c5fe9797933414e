"""Judges jobs side by side on this machine: a few processes, each with a `Worker` of its own.

A process that dies takes one job with it, which is tried once more elsewhere; two deaths, and the job comes back as a
sentence instead of a verdict.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import tempfile
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from labkit.catalog import LabError
from labkit.grading.records import Verdict
from labkit.grading.work import Job, Worker

Answer = tuple[Job, Verdict | None, bytes, str]  # the job, its verdict, the observations; or a sentence
DEATHS = 2  # of a process over one job, until that job is given up


@dataclass
class Queue:
    """Jobs that wait, by lab: a worker stays with its lab while there is work, since changing costs seconds."""

    waiting: dict[str, deque[Job]] = field(default_factory=lambda: defaultdict(deque))

    def add(self, job: Job) -> None:
        self.waiting[job.folder].append(job)

    def next(self, folder: str) -> Job | None:
        """The next job for a worker that holds this lab: of the same lab, else of the one with most left."""
        place = folder if self.waiting[folder] else max(self.waiting, key=lambda f: len(self.waiting[f]))
        return self.waiting[place].popleft() if self.waiting[place] else None


@dataclass
class _Hand:
    """One process, and what it is at."""

    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    folder: str = ""


def judged(jobs: Iterable[Job], hands: int, cache: Path | None = None, walls: str = "") -> Iterator[Answer]:
    """Each job's answer, as they come.  Closing the iterator ends the processes and whatever they are at."""
    queue = Queue()
    for job in jobs:
        queue.add(job)
    total = sum(map(len, queue.waiting.values()))
    if not total:
        return
    deaths: dict[Job, int] = defaultdict(int)
    # Of this process: it outlives those that are ended in the middle of a file.
    scratch = tempfile.TemporaryDirectory(prefix="lab-grade-", ignore_cleanup_errors=True)
    free = [_start(cache, walls, scratch.name) for _ in range(min(hands, total))]
    busy: dict[Connection, _Hand] = {}
    try:
        while total:
            while free and (waiting := queue.next(free[-1].folder)):
                hand = free.pop()
                hand.job, hand.folder = waiting, waiting.folder
                busy[hand.pipe] = hand
                with contextlib.suppress(OSError):  # it died while it was at nothing: its end of the pipe says so below
                    hand.pipe.send(waiting)
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                hand = busy[pipe]
                try:
                    answer = pipe.recv()
                    alive = True
                except (EOFError, OSError):
                    alive = False
                assert hand.job is not None
                job, hand.job = hand.job, None
                del busy[pipe]
                if alive:
                    free.append(hand)
                else:
                    _end(hand)
                    free.append(_start(cache, walls, scratch.name))
                    deaths[job] += 1
                    if deaths[job] < DEATHS:
                        queue.add(job)
                        continue
                    answer = "the grader's own process died over it, twice"
                total -= 1
                yield (job, None, b"", answer) if isinstance(answer, str) else (job, *answer, "")
    finally:
        for hand in [*free, *busy.values()]:
            _end(hand)
        scratch.cleanup()


def _start(cache: Path | None, walls: str, scratch: str) -> _Hand:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, cache, walls, scratch))
    process.start()
    theirs.close()
    return _Hand(process, ours)


def _end(hand: _Hand) -> None:
    """A hand that is at nothing goes by itself, and closes its sandbox; another is ended, and its sandbox ends with it."""
    hand.pipe.close()
    if hand.job is None:
        hand.process.join(10)
    hand.process.kill()
    hand.process.join()


def serve(pipe: Connection, cache: Path | None, walls: str, scratch: str) -> None:
    """A process of the pool: judges what comes down the pipe until that is closed.  Its files lie in `scratch`."""
    tempfile.tempdir = scratch
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asked
    with Worker(cache, walls) as worker:
        while True:
            try:
                job = pipe.recv()
            except EOFError:
                return
            try:
                answer: object = worker.judge(job)
            except (LabError, OSError, RuntimeError) as e:
                answer = f"{type(e).__name__}: {e}"
            try:
                pipe.send(answer)
            except OSError:
                return
