"""The `lab` command.  Thin: each command reads its words, calls a module, prints, and returns an exit code.

0 passed or done · 1 not yet · 2 could not run.  Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from labkit import catalog, report, runner, scaffold
from labkit.catalog import HINTS, Lab, LabError
from labkit.progress import Progress, digest
from labkit.report import Paint


def main(argv: list[str] | None = None) -> int:
    """Runs one command and turns every way out into an exit code and at most one line."""
    try:
        args = _parser().parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except (LabError, scaffold.AuthorError) as e:
        print(e, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        report.progress_line("")
        print("stopped; nothing was changed.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `lab list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


class _Parser(argparse.ArgumentParser):
    """Says what was probably meant, in one line."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message:
            word = message.split("'")[1]
            near = difflib.get_close_matches(word, list(COMMANDS), n=1)
            message = f"there is no command {word!r}." + (f" Did you mean `lab {near[0]}`?" if near else "")
        print(f"{message}  `{self.prog} --help` shows how.", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lab",
        description="Works through the labs: what is next, whether your code is right, and which mistake it makes.",
        epilog="`lab` alone says where you are.  `lab COMMAND --help` explains a command.",
    )
    parser.set_defaults(run=next_lab)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)
    for name, (function, add) in COMMANDS.items():
        summary, _, rest = (function.__doc__ or "").partition("\n")
        sub = commands.add_parser(
            name,
            help=summary.rstrip("."),
            description=f"{summary}\n\n{textwrap.dedent(rest).strip()}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(sub)
        sub.set_defaults(run=function)
    return parser


def _lab(args: argparse.Namespace) -> tuple[Path, Lab]:
    """The lab that was named; else the one whose folder this is; else the learner's next."""
    base = catalog.root()
    if args.id:
        return base, catalog.find(base, args.id)
    every = catalog.labs(base)
    here = Path.cwd().resolve()
    for lab in every:
        if lab.folder in (here, *here.parents):
            return base, lab
    return base, _next(base, every, Progress(base))


def _next(base: Path, every: list[Lab], progress: Progress) -> Lab:
    if not every:
        raise LabError(f"There is no lab under {base / 'phases'}.")
    return next((lab for lab in every if not progress.done(lab)), every[-1])


def _file(lab: Lab, args: argparse.Namespace) -> Path:
    if args.solution:
        return lab.file("solution.py")
    file = Path(args.file).resolve() if args.file else lab.file("lab.py")
    if not file.is_file():
        fix = "" if args.file else f" `lab reset {lab.id}` makes it."
        raise LabError(f"There is no file {file}.{fix}")
    return file


def _show(path: Path) -> str:
    """A path as the reader would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(".." + os.sep + "..") else relative


# ---- commands


def next_lab(args: argparse.Namespace) -> int:
    """Where you are, what is next, and why it matters."""
    base = catalog.root()
    every, progress = catalog.labs(base), Progress(base)
    lab = _next(base, every, progress)
    for other in every:
        progress.note_scaffold(other)
    paint = Paint(sys.stdout)
    done = sum(progress.done(x) for x in every)
    if done == len(every):
        print(f"All {done} labs passed. `lab list` shows them.")
        return 0
    tasks = [t.name for t in lab.tasks if t.name not in progress.passed(lab)]
    state = f"{progress.points(lab)}/{lab.points} points"
    if progress.changed(lab):
        state += ", changed since it passed"
    print(f"{paint.bold(f'{lab.id} {lab.title}')}   {paint.dim(lab.phase)}")
    print(f"{lab.why}\n")
    rows = [
        ("so far", f"{done} of {len(every)} labs passed; this one: {state}"),
        ("time", f"about {lab.minutes} minutes, difficulty {lab.difficulty} of 5"),
        ("read", _show(lab.file("README.md"))),
        ("write", f"{_show(lab.file('lab.py'))}: {', '.join(tasks) or 'all tasks passed before the change'}"),
        ("check", f"lab check {lab.id}"),
        ("stuck?", f"lab hint {lab.id} {tasks[0]}" if tasks else f"lab hint {lab.id}"),
    ]
    for label, text in rows:
        print(f"  {paint.dim(f'{label:8}')}{text}")
    return 0


def list_labs(args: argparse.Namespace) -> int:
    """The whole curriculum, with your progress, points and minutes."""
    base = catalog.root()
    every, progress = catalog.labs(base), Progress(base)
    paint = Paint(sys.stdout)
    width = max((len(lab.title) for lab in every), default=0)
    phase = ""
    for lab in every:
        if lab.phase != phase:
            phase = lab.phase
            print(f"{paint.bold(phase)}")
        points = progress.points(lab)
        if progress.done(lab):
            symbol, words = "✓", "passed"
        elif points or progress.started(lab):
            symbol, words = "◐", "begun"
        else:
            symbol, words = "·", "not started"
        if progress.changed(lab):
            symbol, words = ("✓" if progress.done(lab) else "◐"), "changed since it passed"
        if lab.missing_extras:
            words += f" (unavailable here: pip install {' '.join(lab.missing_extras)})"
        print(
            f"  {paint.symbol(symbol)} {lab.id:5} {lab.title:{width}}  {points:3}/{lab.points:<3} points"
            f"  {lab.minutes:4} min  {words}"
        )
    points, total = sum(map(progress.points, every)), sum(lab.points for lab in every)
    hours = sum(lab.minutes for lab in every) / 60
    print(f"{sum(map(progress.done, every))} of {len(every)} labs, {points}/{total} points, {hours:.1f} hours in all")
    return 0


def check(args: argparse.Namespace) -> int:
    """Checks a lab: one line a task, then the first failure and the mistake behind it.

    Without an ID: the lab whose folder you are in, else your next one.
    Your file runs in a process of its own; one call may take 10 s, the whole check 60 s.

      lab check 1.1                 all tasks of your lab.py
      lab check 1.1 --task bytes    one task (and what it builds on)
      lab check 1.1 --file x.py     another file; your progress is not touched
      lab check 1.1 --json          the same as data, for tools

    Exit code: 0 all passed, 1 not yet, 2 could not run.
    """
    from labkit import diagnose

    base, lab = _lab(args)
    if lab.missing_extras:
        raise LabError(f"Lab {lab.id} is unavailable here: pip install {' '.join(lab.missing_extras)}")
    args.task = args.task or args.only
    task = lab.task(args.task).name if args.task else None
    file = _file(lab, args)
    before = digest(file)
    results = runner.run(
        lab, file, [task] if task else None, progress=lambda name: report.progress_line(f"checking {name} …")
    )
    shown = None
    if failed := report.first_failure(results):
        report.progress_line("comparing with known mistakes …")
        spec = runner.Spec.of(lab)
        likely: list[tuple[str, str]] = []
        if failed.seen.failures and failed.status in ("wrong", "crashed", "slow"):
            with runner.kitchen(lab) as source:
                listed, known = diagnose.catalogue(source, spec, failed.task.name, cache=base / ".lab" / "cache")
            names = diagnose.best(failed.seen, known)
            likely = [(f"{lab.id}/{n}", listed[n].says) for n in names] if len(names) == 1 else []
        shown = report.failure(lab, spec, failed, likely)
    report.progress_line("")
    progress = Progress(base)
    if file == lab.file("lab.py"):
        progress.record(lab, before, {r.task.name: r.status == "passed" for r in results})
    passed = all(r.status == "passed" for r in results)
    if args.json:
        print(json.dumps(report.as_json(lab, str(file), before, results, shown), indent=1))
        return 0 if passed else 1
    report.render(lab, _show(file), results, shown, sys.stdout)
    _last_words(lab, results, shown, progress, own=file == lab.file("lab.py"))
    return 0 if passed else 1


def _last_words(
    lab: Lab, results: list[runner.Result], shown: report.Failure | None, progress: Progress, own: bool
) -> None:
    printed = shown.result.seen.printed.strip() if shown else ""
    if printed:
        lines = printed.splitlines()
        print(
            "\nyour code printed" + (f" (the last 12 of {len(lines)} lines)" if len(lines) > 12 else ""),
            file=sys.stderr,
        )
        print(textwrap.indent("\n".join(line[:200] for line in lines[-12:]), "  │ "), file=sys.stderr)
    points, total = sum(r.points for r in results), sum(r.task.points for r in results)
    todo = next((r.task.name for r in results if r.status in ("begun", "not-started")), None)
    words = f"\n{points}/{total} points."
    if points == total:
        if own and progress.done(lab):
            words += f"  See what you built: python {_show(lab.file('lab.py'))}\nThen `lab` shows what is next."
    elif shown:
        words += f"  stuck: lab hint {lab.id} {shown.result.task.name}"
        if shown.result.seen.failures:
            words += f"  ·  look closer: lab repro {lab.id}"
    elif todo:
        words += f"  next: {todo}  ·  a hint: lab hint {lab.id} {todo}"
    print(words)


def hint(args: argparse.Namespace) -> int:
    """The next of a task's three hints: a nudge, the plan, the shape of the code.

    Without a TASK: the first one you have not passed.  Which hints you took is remembered, and those are shown again.
    """
    base, lab = _lab(args)
    progress = Progress(base)
    open_tasks = [t for t in lab.tasks if t.name not in progress.passed(lab)]
    if not open_tasks and not args.task:
        print(f"All tasks of lab {lab.id} have passed.")
        return 0
    task = lab.task(args.task) if args.task else (open_tasks or list(lab.tasks))[0]
    before = progress.hints(lab, task)
    taken = progress.take_hint(lab, task)
    paint = Paint(sys.stdout)
    print(f"{lab.id} {task.name}")
    for i in range(taken):
        head = f"hint {i + 1} of {len(HINTS)}, {HINTS[i]}"
        lines = (
            task.hints[i].split(";  ") if i == len(HINTS) - 1 else textwrap.wrap(task.hints[i], 100)
        )  # code: as it is
        text = "\n".join(f"  {line}" for line in lines)
        new = i == taken - 1 and taken > before
        print(f"{paint.bold(head) if new else paint.dim(head + ' (taken)')}\n{text}")
    if before == len(HINTS):
        print(f"These are all three. `lab repro {lab.id}` shows the smallest case that fails.", file=sys.stderr)
    return 0


def repro(args: argparse.Namespace) -> int:
    """Prints the smallest failing case as a few lines of Python, to run and step through.

    lab repro 4.1 > case.py && python -m pdb case.py
    """
    from labkit import repro as writer

    base, lab = _lab(args)
    file = _file(lab, args)
    args.task = args.task or args.only
    if args.task:
        task = lab.task(args.task)
    else:
        results = runner.run(lab, file, progress=lambda name: report.progress_line(f"checking {name} …"))
        unwritten = (r for r in results if r.status in ("begun", "not-started"))
        failed = report.first_failure(results) or next(unwritten, None)
        if failed is None:
            report.progress_line("")
            print(f"Nothing fails in {_show(file)}.", file=sys.stderr)
            return 0
        task = failed.task
    report.progress_line("looking for the smallest case …")
    case = writer.smallest(lab, task, file)
    report.progress_line("")
    if case is None:
        print(f"Nothing fails in task {task.name}.", file=sys.stderr)
        return 0
    print(writer.python(lab, task, *case, file))
    return 0


def reset(args: argparse.Namespace) -> int:
    """Puts the empty lab.py back.  Yours is kept under .lab/backup/."""
    if not args.id:
        raise LabError("Say which lab: `lab reset 1.1`.")
    base, lab = _lab(args)
    progress = Progress(base)
    kept = progress.backup(lab) if progress.started(lab) else None
    scaffold.write(lab.file("lab.py"), scaffold.generate(lab))
    progress.note_scaffold(lab)
    print(f"{_show(lab.file('lab.py'))} is empty again.")
    if kept:
        print(f"What you wrote is kept. To have it back: cp {_show(kept)} {_show(lab.file('lab.py'))}")
    return 0


def update(args: argparse.Namespace) -> int:
    """After a pull: brings every lab.py you have not touched up to date, and leaves yours alone."""
    base = catalog.root()
    progress = Progress(base)
    for lab in catalog.labs(base):
        path, text = lab.file("lab.py"), scaffold.generate(lab)
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") == text:
            progress.note_scaffold(lab)
        elif progress.untouched(lab):
            scaffold.write(path, text)
            progress.note_scaffold(lab)
            print(f"{lab.id}  updated: you had not begun it")
        else:
            print(
                f"{lab.id}  kept: it is yours.  `lab reset {lab.id}` starts from the new one and keeps a copy of yours"
            )
    print("Every other lab.py is up to date.")
    return 0


def verify(args: argparse.Namespace) -> int:
    """For authors: certifies labs both ways, no right version refused and no wrong version passed.

    Runs solution, equivalents and mistakes behind the pipe over several seeds, and checks that the scaffold fails each
    task, that each mistake and each second wording is named by the diagnosis, that each task has a check by value that
    cannot be guessed, and that hints, README sections and budgets are kept.
    """
    from labkit import verify as verifier

    return verifier.main(args.ids, args.seeds, args.report, args.json, args.jobs)


def assets(args: argparse.Namespace) -> int:
    """Lists or fetches the models and texts that labs run on.

    lab assets                       what there is, how big, under which licence
    lab assets fetch shakespeare     fetches one
    """
    return subprocess.run([sys.executable, "-m", "llmcore.assets", *(args.words or ["list"])], check=False).returncode


def _which(sub: argparse.ArgumentParser, task: bool = False) -> None:
    sub.add_argument("id", nargs="?", metavar="ID", help="a lab, as in `lab list`: 1.1")
    if task:
        sub.add_argument("task", nargs="?", metavar="TASK", help="a task of it, or a function that belongs to one")


def _check_options(sub: argparse.ArgumentParser) -> None:
    _which(sub)
    sub.add_argument("only", nargs="?", metavar="TASK", help="the same as --task TASK")
    sub.add_argument("--task", metavar="T", help="only this task (and what it builds on)")
    sub.add_argument("--file", metavar="F", help="check this file instead of lab.py")
    sub.add_argument("--solution", action="store_true", help="check the reference instead of lab.py")


def _json_too(sub: argparse.ArgumentParser) -> None:
    _check_options(sub)
    sub.add_argument("--json", action="store_true", help="print the result as JSON")


def _verify_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("ids", nargs="*", metavar="ID", help="labs to certify; all without")
    sub.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds per version (3)")
    sub.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="labs at a time (all cores)")
    sub.add_argument("--report", action="store_true", help="write phases/CERTIFIED.md")
    sub.add_argument("--json", action="store_true", help="print the result as JSON")


def _words(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="list | fetch NAME", help="as in the examples above")


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], Callable[[argparse.ArgumentParser], None]]] = {
    "next": (next_lab, lambda sub: None),
    "list": (list_labs, lambda sub: None),
    "check": (check, _json_too),
    "hint": (hint, lambda sub: _which(sub, task=True)),
    "repro": (repro, _check_options),
    "reset": (reset, _which),
    "update": (update, lambda sub: None),
    "assets": (assets, _words),
    "verify": (verify, _verify_options),
}

if __name__ == "__main__":
    sys.exit(main())
