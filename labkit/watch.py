"""`lab watch`: checks lab.py again at every save, and shows each verdict as it comes.

Nothing is imported after a save.  Everything that a lab needs was imported once, before the first; each task then runs
in a fork of that process.  (Elsewhere than on Linux only the first task's process is ready before the save.)

Three things go on at a time.  This thread looks at the file and the keys ten times a second and draws; it waits for
nothing else.  A second one runs the spec (watch_round).  The lab runs in processes of its own, so a save in the middle
of an endless loop ends them, and the check with them.  A check that was overtaken by a save records nothing.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO

from labkit import catalog, checking, overview, report, runner
from labkit.catalog import Lab, LabError
from labkit.keys import Keys
from labkit.kitchen import Kitchen
from labkit.progress import Progress
from labkit.report import Failure, Paint, as_typed
from labkit.runner import Result, Spec
from labkit.saves import Saves
from labkit.screen import Buffer, Screen
from labkit.watch_round import News, Round

LOOK = 0.1  # seconds between two looks at the file
KEYS = "h hint  ·  r run again  ·  l list  ·  q quit"


class Watch:
    """One lab being watched."""

    def __init__(self, base: Path, lab: Lab, screen: Screen, keys: Keys) -> None:
        self.base, self.lab, self.screen, self.keys = base, lab, screen, keys
        self.file = lab.file("lab.py")
        self.saves = Saves(self.file)
        self.round: Round | None = None
        self.results: dict[str, Result] = {}
        self.old: set[str] = set()  # tasks whose result is of an earlier round
        self.running = ""
        self.hints = ""
        self.note = ""
        self.failure: Failure | None = None
        self.passed = False
        self.listing = False  # the list of labs stands on the screen
        self._due = False  # a check is to begin as soon as the one before has ended
        self._ended = True  # of this round, all was shown

    def run(self, source: Kitchen, spec: Spec) -> str:
        """Until the learner goes: "quit", or "next" for the lab after this one."""
        while True:
            self._look(source)
            if self._due and (self.round is None or not self.round.is_alive()):
                self._begin(source, spec)
            if self._take_news() or self.screen.resized:
                self.draw()
            key = self.keys.read(LOOK)
            if self.keys.resumed:
                self.keys.resumed = False
                self.screen.again()
                self.draw()
            if key and self.listing:
                self.listing = False
                self.draw()
                continue
            match key:
                case "q":
                    return "quit"
                case "r" if not self.saves.gone:
                    self.saves.forget()
                case "h":
                    self._hint()
                case "l":
                    self._list()
                case "\n" | "\r" if self.passed and after(self.base, self.lab, Progress(self.base)):
                    return "next"

    # ---- the check

    def _look(self, source: Kitchen) -> None:
        """Has the file been saved, or taken away?"""
        state = self.saves.poll()
        if not state:
            return
        self.call_off(source)
        self._due = state == "saved"
        if state == "gone":
            self.note = f"{as_typed(self.file)} is gone; it is checked when it comes back (lab reset {self.lab.id})."
            self.results, self.failure, self.passed = {}, None, False
            self.screen.line(self.note)
            self.draw()

    def _begin(self, source: Kitchen, spec: Spec) -> None:
        source.go_on()
        open_tasks = [t.name for t in self.lab.tasks if t.name not in Progress(self.base).passed(self.lab)]
        self.note, self.hints, self.passed, self.listing = "", "", False, False
        self.old = set(self.results)  # they stay until the new ones come
        self.round = Round(self.base, source, spec, self.file, open_tasks[0] if open_tasks else None)
        self._due = self._ended = False
        self.screen.line(f"\n{time.strftime('%H:%M:%S')}  {self.lab.id} {as_typed(self.file)}")
        self.round.start()

    def call_off(self, source: Kitchen) -> None:
        """Tells the check that is running, if one is, to end; it records nothing.  The spec may take a while to notice."""
        if self.round is not None and self.round.is_alive():
            source.call_off()
        self._ended, self.running = True, ""

    def _take_news(self) -> bool:
        """What the check has found since the last look; was there anything?"""
        if self.round is None or self._ended:
            return False
        over, changed = not self.round.is_alive(), False
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self.round, self.round.news.get_nowait())
                changed = True
        if over:
            self._ended, self.running = True, ""
            self._finish(self.round)
        return changed or over

    def _take(self, check: Round, news: News) -> None:
        match news:
            case str():
                self.running = news
            case Result():
                self.results[news.task.name] = news
                self.old.discard(news.task.name)
                self.running = ""
                width = max(len(t.name) for t in self.lab.tasks)
                self.screen.line(report.task_line(news, width, Paint(Buffer(False))))
            case list():
                self.note = checking.remember(Progress(self.base), self.lab, check.digest, news)
                self.passed = all(r.status == "passed" for r in news)
                self.failure = None if report.first_failure(news) is None else self.failure
            case Failure():
                self.failure = news
            case LabError():
                self.note = str(news)
            case Exception():
                self.note = f"The check broke off ({type(news).__name__}: {news}).  lab check {self.lab.id} says more."
            case _:
                raise news

    def _finish(self, check: Round) -> None:
        if not check.complete and not self.note:
            self.saves.forget()  # overtaken; perhaps by a file that looks as before: it was moved away and back
        if self.screen.live:
            return
        lines = Buffer(False)
        if check.complete and self.failure:
            print(file=lines)
            report.render_failure(self.failure, lines)
            print(file=lines)
            if printed := checking.printed(self.failure):
                print(printed, file=lines)
        if self.note:
            print(self.note, file=lines)
        if check.complete:
            print(self._closing(check, Progress(self.base)), file=lines)
        if text := lines.getvalue().rstrip("\n"):
            self.screen.line(text)

    def _closing(self, check: Round, progress: Progress) -> str:
        if not self.passed:
            return checking.last_words(self.lab, check.results, self.failure, progress, own=True)
        points = sum(r.points for r in check.results)
        words = [
            f"{points}/{self.lab.points} points: lab {self.lab.id} has passed.",
            f"See what you built: python {as_typed(self.file)}",
        ]
        following = after(self.base, self.lab, progress)
        if following is None:
            words.append("It was the last one: all labs have passed.")
        else:
            how = "Enter goes on to it" if self.keys.on else f"lab watch {following.id}"
            words.append(f"Next is {following.id} {following.title}: {how}.")
        return "\n".join(words)

    # ---- keys

    def _hint(self) -> None:
        progress = Progress(self.base)
        failing = [r.task.name for r in self.results.values() if r.status not in ("passed", "waiting", "not-run")]
        unpassed = [t.name for t in self.lab.tasks if t.name not in progress.passed(self.lab)]
        task = self.failure.result.task.name if self.failure else (failing or unpassed or [""])[0]
        page = Buffer(self.screen.live and Paint(self.screen.out).on)
        if task:
            columns = min(self.screen.size()[0], 100)
            try:
                overview.hint_page(self.lab, task, progress, page, columns, newest_first=self.screen.live)
            except OSError as e:
                print(f"Hints cannot be remembered: {checking.trouble(e)}", file=page)
        else:
            print(f"All tasks of lab {self.lab.id} have passed.", file=page)
        self.hints = page.getvalue().rstrip("\n")
        self.screen.line(self.hints)
        self.draw()

    def _list(self) -> None:
        self.listing = self.screen.live
        if self.listing:
            self.draw()
        else:
            page = Buffer(False)
            overview.list_page(self.base, page)
            self.screen.line(page.getvalue().rstrip("\n"))

    # ---- the page

    def draw(self) -> None:
        if not self.screen.live:
            return
        page, foot = Buffer(Paint(self.screen.out).on), Buffer(Paint(self.screen.out).on)
        if self.listing:
            overview.list_page(self.base, page)
            print("\nany key: back to your lab", file=foot)
        else:
            progress = Progress(self.base)
            self._draw_body(page, progress)
            self._draw_foot(foot, progress)
        self.screen.draw(page.getvalue(), foot.getvalue())

    def _draw_body(self, page: Buffer, progress: Progress) -> None:
        """What was asked for first, then the tasks, then the failure: the end is what a small screen does not show."""
        if self.hints:
            print(f"{self.hints}\n", file=page)
        rows = [self._row(t.name) for t in self.lab.tasks]
        old = self.old - {self.running}
        title = f"watching {self.file.parent.name}/{self.file.name}"
        report.render(self.lab, title, rows, self.failure, page, progress.given_up(self.lab), old)
        if self._over() and (printed := checking.printed(self.failure)):
            print(f"\n{printed}", file=page)

    def _row(self, task: str) -> Result:
        """What is being checked now is neither passed nor failed, whatever it was before."""
        if self.running == task:
            return Result(self.lab.task(task), "checking")
        return self.results.get(task) or Result(self.lab.task(task), "not-run")

    def _draw_foot(self, foot: Buffer, progress: Progress) -> None:
        dim = Paint(foot).dim
        if self.note:
            print(f"\n{self.note}", file=foot)
        state = ""
        if check := self._over():
            print(f"\n{self._closing(check, progress)}", file=foot)
            state = f"checked in {check.seconds:.1f} s, again at the next save"
        elif self.running and self.running not in {t.name for t in self.lab.tasks}:
            state = self.running
        elif self._due or not self._ended:
            state = "checking …"
        lines = [state, KEYS if self.keys.on else "Ctrl-C ends it"]
        print("", *[dim(line) for line in lines if line], sep="\n", file=foot)

    def _over(self) -> Round | None:
        """The check that is shown, when all its verdicts are."""
        settled = self._ended and not self._due and not self.saves.gone
        return self.round if settled and self.round and self.round.complete else None


def after(base: Path, lab: Lab, progress: Progress) -> Lab | None:
    """The lab to go on with: the first one behind this that has not passed, else the first of all."""
    every = catalog.labs(base)
    ids = [x.id for x in every]
    start = ids.index(lab.id) + 1
    return next((x for x in [*every[start:], *every[:start]] if not progress.done(x) and not x.missing_extras), None)


class _Ended(KeyboardInterrupt):
    """A signal that asks for an end: as after Ctrl-C, the terminal has to be put back first."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    def end(number: int, frame: object) -> NoReturn:
        raise _Ended(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [(number, signal.signal(number, end)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def main(base: Path, lab: Lab, out: TextIO | None = None) -> int:
    """Watches a lab, and those after it, until the learner quits: 0 when the last one watched had passed, else 1."""
    screen = Screen(out or sys.stdout)
    try:
        with _ended_by_signals(), Keys() as keys:
            return _session(base, lab, screen, keys)
    except KeyboardInterrupt as e:
        screen.leave("stopped watching; what passed is remembered.")
        return 128 + (e.number if isinstance(e, _Ended) else signal.SIGINT)


def _session(base: Path, lab: Lab, screen: Screen, keys: Keys) -> int:
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
            finally:
                watch.call_off(source)
                if watch.round:
                    watch.round.join()  # it must not use what the kitchen is about to close
        following = after(base, lab, Progress(base))
        if ended == "quit" or following is None:
            return 0 if watch.passed else 1
        lab = following
        screen.again()
