"""`lab watch`: checks lab.py again at every save, and shows each verdict as it comes.

Nothing is imported after a save.  Everything that a lab needs was imported once, before the first; each task then runs
in a fork of that process.  (Elsewhere than on Linux only the first task's process is ready before the save.)

Three things go on at a time.  This thread looks at the file and the keys ten times a second and draws.  A second one
runs the spec.  The lab runs in processes of its own, so a save in the middle of an endless loop ends them, and the
check with them.  A check that was overtaken by a save records nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from labkit import checking, overview, report, runner
from labkit.catalog import Lab, LabError
from labkit.keys import Keys
from labkit.kitchen import Kitchen
from labkit.progress import Progress, digest
from labkit.remote import Stopped
from labkit.report import Failure, Paint, as_typed
from labkit.runner import Result, Spec
from labkit.saves import Saves
from labkit.screen import Page, Screen

LOOK = 0.1  # seconds between two looks at the file
KEYS = "h hint  ·  r run again  ·  l list  ·  q quit"


# What a check says while it goes on: what it is doing, a verdict, all verdicts, the failure to show, an error.
News = str | Result | list[Result] | Failure | BaseException


class Round(threading.Thread):
    """One check of one state of the file.  Puts what it finds into `news`."""

    def __init__(self, base: Path, source: Kitchen, spec: Spec, file: Path, first: str | None) -> None:
        super().__init__(daemon=True)
        self.base, self.source, self.spec, self.file, self.first = base, source, spec, file, first
        self.news: queue.Queue[News] = queue.Queue()
        self.results: list[Result] = []
        self.before = digest(file)
        self.began = time.monotonic()
        self.seconds = 0.0
        self.complete = False

    def run(self) -> None:
        try:
            checked = runner.results(self.source, self.spec, self.file, progress=self.news.put, first=self.first)
            for result in checked:
                self.results.append(result)
                self.news.put(result)
            order = [t.name for t in self.spec.lab.tasks]
            self.results.sort(key=lambda r: order.index(r.task.name))
            self.seconds = time.monotonic() - self.began
            self.complete = digest(self.file) == self.before
            if self.complete:
                self.news.put(self.results)
                if failed := report.first_failure(self.results):  # at once; the mistake behind it may take a while
                    self.news.put(dataclasses.replace(report.failure(self.spec.lab, self.spec, failed, []), likely=[]))
                if shown := checking.failure(self.base, self.spec, self.results, lambda: self.source, self.news.put):
                    self.news.put(shown)
            self.source.prepare()
        except Stopped:
            self.complete = False
        except BaseException as e:  # the thread that draws is the one that can tell people
            self.complete = False
            self.news.put(e)


class Watch:
    """One lab being watched."""

    def __init__(self, base: Path, lab: Lab, screen: Screen, keys: Keys) -> None:
        self.base, self.lab, self.screen, self.keys = base, lab, screen, keys
        self.file = lab.file("lab.py")
        self.saves = Saves(self.file)
        self.round: Round | None = None
        self.results: dict[str, Result] = {}
        self.running = ""
        self.said: list[str] = []  # hints, and other things that keys asked for
        self.note = ""
        self.shown: Failure | None = None
        self.passed = False
        self._ended = True  # of this round, all was shown

    def run(self, source: Kitchen, spec: Spec) -> str:
        """Until the learner goes: "quit", or "next" for the lab after this one."""
        again = False
        while True:
            state = self.saves.poll()
            if state == "gone":
                self.call_off(source)
                self.note = (
                    f"{as_typed(self.file)} is gone; it is checked when it comes back (lab reset {self.lab.id})."
                )
                self.results, self.shown, self.passed = {}, None, False
                self.screen.line(self.note)
                self.draw()
            elif state == "saved" or (again and not self.saves.gone):
                self.call_off(source)
                self._begin(source, spec)
            again = False
            if self._take_news():
                self.draw()
            key = self.keys.read(LOOK)
            if self.keys.resumed:
                self.keys.resumed = False
                self.screen.again()
                self.draw()
            match key:
                case "q":
                    return "quit"
                case "r":
                    again = True
                case "h":
                    self._hint()
                case "l":
                    self._list()
                case "\n" | "\r" if self.passed:
                    return "next"

    # ---- the check

    def _begin(self, source: Kitchen, spec: Spec) -> None:
        source.go_on()
        open_tasks = [t.name for t in self.lab.tasks if t.name not in Progress(self.base).passed(self.lab)]
        self.note, self.said, self.passed = "", [], False  # the old verdicts stay until the new ones come
        self.round = Round(self.base, source, spec, self.file, open_tasks[0] if open_tasks else None)
        self._ended = False
        self.screen.line(f"\n{time.strftime('%H:%M:%S')}  {self.lab.id} {as_typed(self.file)}")
        self.round.start()

    def call_off(self, source: Kitchen) -> None:
        """Ends the check that is running, if one is; it records nothing."""
        if self.round is None:
            return
        if self.round.is_alive():
            source.call_off()
            self.round.join()
        self.round, self._ended, self.running = None, True, ""

    def _take_news(self) -> bool:
        """What the check has found since the last look; was there anything?"""
        if self.round is None or self._ended:
            return False
        over, changed = not self.round.is_alive(), False
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self.round.news.get_nowait())
                changed = True
        if over:
            self._ended, self.running = True, ""
            self._finish(self.round)
        return changed or over

    def _take(self, news: News) -> None:
        if isinstance(news, str):
            self.running = news
        elif isinstance(news, Result):
            self.results[news.task.name] = news
            self.running = ""
            width = max(len(t.name) for t in self.lab.tasks)
            self.screen.line(report.task_line(news, width, Paint(Page(False))))
        elif isinstance(news, list):
            assert self.round is not None
            verdicts = {r.task.name: r.status == "passed" for r in news}
            Progress(self.base).record(self.lab, self.round.before, verdicts)
            self.passed = all(verdicts.values())
            self.shown = None if report.first_failure(news) is None else self.shown
        elif isinstance(news, Failure):
            self.shown = news
        elif isinstance(news, LabError):
            self.note = str(news)
        else:
            raise news

    def _finish(self, made: Round) -> None:
        if not made.complete:
            if self.note:
                self.screen.line(self.note)
        elif not self.screen.live:
            page = Page(False)
            if self.shown:
                print(file=page)
                report.render_failure(self.shown, page)
                print(file=page)
            print(self._closing(made, Progress(self.base)), file=page)
            self.screen.line(page.getvalue().rstrip("\n"))

    def _closing(self, made: Round, progress: Progress) -> str:
        words = []
        if printed := checking.printed(self.shown):
            words.append(printed)
        if self.passed:
            points = sum(r.points for r in made.results)
            words.append(f"{points}/{self.lab.points} points: lab {self.lab.id} has passed.")
            words.append(f"See what you built: python {as_typed(self.file)}")
            following = after(self.base, self.lab, progress)
            if following is None:
                words.append("It was the last one: all labs have passed.")
            else:
                how = "Enter goes on to it" if self.keys.on else f"lab watch {following.id}"
                words.append(f"Next is {following.id} {following.title}: {how}.")
        else:
            words.append(checking.last_words(self.lab, made.results, self.shown, progress, own=True))
        return "\n".join(words)

    # ---- keys

    def _hint(self) -> None:
        progress = Progress(self.base)
        failing = [r.task.name for r in self.results.values() if r.status not in ("passed", "waiting", "not-run")]
        unpassed = [t.name for t in self.lab.tasks if t.name not in progress.passed(self.lab)]
        task = self.shown.result.task.name if self.shown else (failing or unpassed or [""])[0]
        page = Page(self.screen.live and Paint(self.screen.out).on)
        if task:
            overview.hint_page(self.lab, task, progress, page)
        else:
            print(f"All tasks of lab {self.lab.id} have passed.", file=page)
        self.said = page.getvalue().rstrip("\n").split("\n")
        self.screen.line("\n".join(self.said))
        self.draw()

    def _list(self) -> None:
        page = Page(Paint(self.screen.out).on)
        overview.list_page(self.base, page)
        if not self.screen.live:
            self.screen.line(page.getvalue().rstrip("\n"))
            return
        self.screen.again()
        self.screen.draw(page.getvalue() + "\nany key: back to your lab")
        while not self.keys.read(LOOK) and not self.saves.waiting:
            pass
        self.screen.again()
        self.draw()

    # ---- the page

    def draw(self) -> None:
        if not self.screen.live:
            return
        page = Page(Paint(self.screen.out).on)
        progress = Progress(self.base)
        rows = [self.results.get(t.name) or Result(t, self._state(t.name)) for t in self.lab.tasks]
        report.render(self.lab, f"watching {as_typed(self.file)}", rows, self.shown, page, progress.given_up(self.lab))
        paint = Paint(page)
        if self.said:
            print("", *self.said, sep="\n", file=page)
        if self.note:
            print(f"\n{self.note}", file=page)
        foot = KEYS if self.keys.on else "Ctrl-C ends it"
        if self.round and self._ended and self.round.complete:
            print(f"\n{self._closing(self.round, progress)}", file=page)
            foot = f"checked in {self.round.seconds:.1f} s, again at the next save  ·  {foot}"
        elif self.running and self.running not in {t.name for t in self.lab.tasks}:
            print(f"\n{paint.dim(self.running)}", file=page)
        elif self.round and not self._ended:
            foot = f"checking …  ·  {foot}"
        print(f"\n{paint.dim(foot)}", file=page)
        self.screen.draw(page.getvalue())

    def _state(self, task: str) -> str:
        return "checking" if self.running == task else "not-run"


def after(base: Path, lab: Lab, progress: Progress) -> Lab | None:
    """The lab to go on with: the first one behind this that has not passed, else the first of all."""
    from labkit import catalog

    every = catalog.labs(base)
    ids = [x.id for x in every]
    start = ids.index(lab.id) + 1
    return next((x for x in [*every[start:], *every[:start]] if not progress.done(x) and not x.missing_extras), None)


def main(base: Path, lab: Lab, out: TextIO | None = None) -> int:
    """Watches a lab, and those after it, until the learner quits: 0 when the last one watched had passed, else 1."""
    screen = Screen(out or sys.stdout)
    for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):  # leave as for Ctrl-C: the terminal has to be put back
        signal.signal(getattr(signal, name), signal.default_int_handler)
    with Keys() as keys:
        while True:
            if lab.missing_extras:
                raise LabError(f"Lab {lab.id} is unavailable here: pip install {' '.join(lab.missing_extras)}")
            screen.line(f"watching {as_typed(lab.file('lab.py'))}; Ctrl-C ends it")
            watch = Watch(base, lab, screen, keys)
            watch.note = "getting ready: importing what the lab needs, once …"
            watch.draw()
            with runner.kitchen(lab) as source:
                try:
                    spec = Spec.of(lab)
                    source.prepare()
                    watch.note = ""
                    ended = watch.run(source, spec)
                except KeyboardInterrupt:
                    screen.leave("stopped watching; what passed is remembered.")
                    return 130
                finally:
                    watch.call_off(source)
            if ended == "quit":
                return 0 if watch.passed else 1
            following = after(base, lab, Progress(base))
            if following is not None:
                lab = following
                screen.again()
