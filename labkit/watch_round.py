"""One check of one state of lab.py, in a thread of its own, for `lab watch`."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from pathlib import Path

from labkit import checking, progress, report, runner
from labkit.kitchen import Kitchen
from labkit.remote import Stopped
from labkit.report import Failure
from labkit.runner import Result, Spec

# What a check says while it goes on: what it is doing, a verdict, all verdicts, the failure to show, an error.
News = str | Result | list[Result] | Failure | BaseException


class Round(threading.Thread):
    """One check of one state of the file.  Puts what it finds into `news`."""

    def __init__(self, base: Path, source: Kitchen, spec: Spec, file: Path, first: str | None) -> None:
        super().__init__(daemon=True)
        self.base, self.source, self.spec, self.file, self.first = base, source, spec, file, first
        self.news: queue.Queue[News] = queue.Queue()
        self.results: list[Result] = []
        self.digest = progress.digest(file)
        self.began = time.monotonic()
        self.seconds = 0.0
        self.complete = False  # all verdicts are in, and they are about the file as it still is

    @property
    def overtaken(self) -> bool:
        """Is the file another one by now, or gone?"""
        return progress.digest(self.file) != self.digest

    def run(self) -> None:
        try:
            self._check()
            self.source.prepare()
        except Stopped:
            pass
        except OSError as e:
            if not self.overtaken:  # else the file went away under our hands, and the next round will see what comes
                self.news.put(e)
        except BaseException as e:  # the thread that draws is the one that can tell people
            self.news.put(e)

    def _check(self) -> None:
        for result in runner.results(self.source, self.spec, self.file, progress=self.news.put, first=self.first):
            self.results.append(result)
            self.news.put(result)
        order = [t.name for t in self.spec.lab.tasks]
        self.results.sort(key=lambda r: order.index(r.task.name))
        self.seconds = time.monotonic() - self.began
        self.complete = not self.overtaken
        if self.complete:
            self.news.put(self.results)
            if failed := report.first_failure(self.results):  # at once; the mistake behind it may take a while
                self.news.put(dataclasses.replace(report.failure(self.spec.lab, self.spec, failed, []), likely=[]))
            if failure := checking.failure(self.base, self.spec, self.results, lambda: self.source, self.news.put):
                self.news.put(failure)
