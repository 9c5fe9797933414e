"""The `lab` command.  Thin: each command reads its words, calls a module, prints, and returns an exit code.

All commands stand in the table at the end; those for authors and for the machine are written in cli_authors, those
for instructors in cli_instructors.
0 passed or done · 1 not yet · 2 could not run.  Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import json
import os
import secrets
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from labkit import catalog, cli_authors, cli_instructors, overview, report, runner, sandbox, scaffold
from labkit.catalog import HINTS, Lab, LabError
from labkit.kitchen import Kitchen
from labkit.progress import Progress, digest


def main(argv: list[str] | None = None) -> int:
    """Runs one command and turns every way out into an exit code and at most one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without ✓ gets a ? for it, not a traceback
            stream.reconfigure(errors="replace")
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
    except ModuleNotFoundError as e:  # after a pull that adds a package
        print(f"lab needs {e.name or e}, which is not installed here: `make lab` installs it.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `lab list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as e:  # a folder that cannot be written, a full disk
        from labkit import checking

        print(checking.trouble(e), file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """Says what was probably meant, in one line."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message:
            word = message.split("'")[1]
            near = difflib.get_close_matches(word, list(COMMANDS), n=1)
            message = f"there is no command {word!r}." + (f" Did you mean `lab {near[0]}`?" if near else "")
        print(f"{message}  `{self.prog} --help` shows how.", file=sys.stderr)
        sys.exit(2)


class _Command(_Parser):
    """Takes words and options in any order: `lab check 1.1 --json bytes`."""

    mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.mixing or any(action.nargs == argparse.REMAINDER for action in self._actions):
            return super().parse_known_args(args, namespace)
        self.mixing = True  # the parser for any order calls this one, for each of its two passes
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.mixing = False


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lab",
        description="Works through the labs: what is next, whether your code is right, and which mistake it makes.",
        epilog="`lab` alone says where you are.  `lab COMMAND --help` explains a command.",
    )
    parser.set_defaults(run=next_lab)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Command)
    try:
        without_answers = catalog.is_course(catalog.root())
    except LabError:
        without_answers = False
    for name, (function, add) in COMMANDS.items():
        summary, _, rest = (function.__doc__ or "").partition("\n")
        of_no_use = without_answers and (name in NEED_ANSWERS or summary.startswith(("For authors", "For instructors")))
        listed: dict[str, Any] = {} if of_no_use else {"help": summary.rstrip(".")}  # without it, known but not listed
        sub = commands.add_parser(
            name,
            **listed,
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
    return base, overview.current(base, every, Progress(base))


def _available(lab: Lab) -> None:
    if lab.missing_extras:
        raise LabError(f"Lab {lab.id} is unavailable here: pip install {' '.join(lab.missing_extras)}")


def _file(lab: Lab, args: argparse.Namespace) -> Path:
    if args.solution:
        return lab.file("solution.py")
    file = Path(args.file).resolve() if args.file else lab.file("lab.py")
    if not file.is_file():
        fix = "" if args.file else f" `lab reset {lab.id}` makes it."
        raise LabError(f"There is no file {file}.{fix}")
    return file


# ---- commands


def next_lab(args: argparse.Namespace) -> int:
    """Where you are, what is next, and why it matters."""
    overview.next_page(catalog.root(), sys.stdout)
    return 0


def list_labs(args: argparse.Namespace) -> int:
    """The whole curriculum, with your progress, points and minutes."""
    overview.list_page(catalog.root(), sys.stdout)
    return 0


def check(args: argparse.Namespace) -> int:
    """Checks a lab: one line a task, then the first failure and the mistake behind it.

    Without an ID: the lab whose folder you are in, else your next one.
    Your file runs in a process of its own; one call may take 10 s, the whole check 60 s.

      lab check 1.1                 all tasks of your lab.py
      lab check 1.1 --task bytes    one task (and what it builds on)
      lab check 1.1 --file x.py     another file; your progress is not touched
      lab check 1.1 --json          the same as data, for tools
      lab check 1.1 --as-graded     in the sandbox, on numbers you have not seen, as `lab grade` does it

    Exit code: 0 all passed, 1 not yet, 2 could not run.
    """
    from labkit import checking

    base, lab = _lab(args)
    _available(lab)
    args.task = args.task or args.only
    only = [lab.task(args.task).name] if args.task else None
    file = _file(lab, args)
    own = file == lab.file("lab.py") and not args.as_graded
    before = digest(file)
    seed, trouble = 0, ""
    if args.as_graded:
        seed, trouble = 1 + secrets.randbelow(1 << 48), sandbox.trouble()
        print(f"{trouble}.  Checked with limits alone." if trouble else "in the sandbox", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        opened = runner.locked_kitchen(lab, not trouble) if args.as_graded else runner.kitchen(lab)
        source, spec = stack.enter_context(opened), runner.Spec.of(lab)
        every = runner.results(source, spec, file, only, seed, lambda n: report.progress_line(f"checking {n} …"))
        results = [r for r in every if only is None or r.task.name in only]

        def trusted() -> Kitchen:  # the known mistakes are the authors' own code, and need what the sandbox hides
            return stack.enter_context(runner.kitchen(lab)) if args.as_graded else source

        shown = checking.failure(base, spec, results, trusted, report.progress_line, seed)
    report.progress_line("")
    progress = Progress(base)
    if own and (unsaved := checking.remember(progress, lab, before, results)):
        print(unsaved, file=sys.stderr)
    passed = all(r.status == "passed" for r in results)
    if args.json:
        print(json.dumps(report.as_json(lab, str(file), before, results, shown), indent=1))
        return 0 if passed else 1
    report.render(lab, report.as_typed(file), results, shown, sys.stdout, progress.given_up(lab) if own else ())
    if printed := checking.printed(shown):
        print(f"\n{printed}", file=sys.stderr)
    print(f"\n{checking.last_words(lab, results, shown, progress, own)}")
    return 0 if passed else 1


def watch(args: argparse.Namespace) -> int:
    """Checks a lab again at every save of its lab.py, until you quit.

    Without an ID: the lab whose folder you are in, else your next one.
    Everything is imported before your first save, so a verdict takes a fraction of a second.  The task you are working
    on comes first.  A save while a check is running ends that check, so an endless loop costs you nothing but a save.
    What passes is remembered, as by `lab check`.

      h  the next hint for the task at hand      r  check again
      l  the list of labs                        q  quit         Enter  after a pass: on to the next lab

    Into a pipe or a file it writes plain lines.

    Exit code: 0 the lab had passed when you quit, 1 not yet, 2 could not run, 130 after Ctrl-C.
    """
    from labkit import watch as watcher

    base, lab = _lab(args)
    return watcher.main(base, lab)


def show(args: argparse.Namespace) -> int:
    """Shows a lesson: formulas, tables and code as text in the terminal, or as a page in the browser.

    Without an ID: the lab whose folder you are in, else your next one.  `lab show 1` is the page of phase 1.
    Answers that the lesson folds away stay folded until you ask for them.

      lab show 4.1               in the terminal, through your pager if it is long
      lab show 4.1 --answers     with the answers
      lab show 4.1 --web         as one self-contained page, .lab/show/4.1.html, opened in the browser
      lab show 1 --guide         the guide of phase 1
    """
    from labkit import show as shower

    base = catalog.root()
    page = shower.page(base, args.id or _lab(args)[1].id, args.guide)
    if args.no_open and not args.web:
        raise LabError("--no-open goes with --web.")
    if args.web:
        return shower.web(base, page, open_it=not args.no_open, answers=args.answers)
    return shower.terminal(page, args.answers)


def diff(args: argparse.Namespace) -> int:
    """Shows the reference of one task against what you wrote: - is yours, + is the reference.

    Once the task has passed, or once you have given it up.  Giving up is remembered and costs nothing: the task can
    still be passed, for all its points.  Signatures and docstrings, which are the same in both, are left out.

      lab diff whitespace                  a task of the lab you are in, or of any other
      lab diff 1.1 whitespace              the same, named in full
      lab diff 1.1 whitespace --give-up    asks, and then shows the reference although the task has not passed

    Exit code: 0 shown, 1 not yet (the task has not passed), 2 could not run.
    """
    from labkit import differences

    base = catalog.root()
    lab, task = differences.locate(base, args.words, lambda: _lab(argparse.Namespace(id=None))[1])
    return differences.main(base, lab, task, args.give_up, args.yes)


def tower(args: argparse.Namespace) -> int:
    """The whole stack, from bytes to chat, with the bricks you have laid in it.

    A layer is yours when all its labs have passed.  Until then the course's own code stands in, where there is any.
    The layers are listed in phases/tower.toml.
    """
    from labkit import tower as drawer

    return drawer.main(catalog.root(), args.json)


def hint(args: argparse.Namespace) -> int:
    """The next of a task's three hints: a nudge, the plan, the shape of the code.

    Without a TASK: the first one you have not passed.  Which hints you took is remembered, and those are shown again.
    """
    base, lab = _lab(args)
    progress = Progress(base)
    open_tasks = [t.name for t in lab.tasks if t.name not in progress.passed(lab)]
    if not open_tasks and not args.task:
        print(f"All tasks of lab {lab.id} have passed.")
        return 0
    before = overview.hint_page(lab, args.task or open_tasks[0], progress, sys.stdout)
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
            print(f"Nothing fails in {report.as_typed(file)}.", file=sys.stderr)
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


def trace(args: argparse.Namespace) -> int:
    """Runs your model and the reference in step, and says where the first number differs, and how.

    Without an ID: the lab whose folder you are in, else your next one.
    Both get the same random weights and the same input.  Down the forward pass, every input and output of every module
    and of every function of the lab is compared; the walk stops at the first that differs:

      ✓ name         it agrees, and so does all that it computed inside
        name         its input agrees and its output does not: the lines below it go inside
      ✗ name ← x     what goes into it as x is the first number that differs

    Then: how it differs, and the lines of your file where right numbers become wrong ones.  A lab that is not finished
    is traced as far as it is written.  What you compute in another way, with the same outcome, is not reported.

      lab trace 4.4                 your lab.py
      lab trace 4.4 --file x.py     another file

    Exit code: 0 all agree, 1 something differs or is not written yet, 2 could not run.
    """
    from labkit import checking, trace_page
    from labkit import trace as tracer

    _, lab = _lab(args)
    _available(lab)
    tracer.plan(lab)
    file = _file(lab, args)
    report.progress_line("running your model and the reference …")
    with runner.kitchen(lab) as source:
        made = tracer.trace(source, lab, file)
    report.progress_line("")
    trace_page.render(lab, file, made, sys.stdout)
    if made.printed:
        print(f"\n{checking.quoted(made.printed)}", file=sys.stderr)
    return 1 if made.finding else 0


def reset(args: argparse.Namespace) -> int:
    """Puts the empty lab.py back.  Yours is kept under .lab/backup/."""
    if not args.id:
        raise LabError("Say which lab: `lab reset 1.1`.")
    base, lab = _lab(args)
    progress = Progress(base)
    kept = progress.backup(lab) if progress.started(lab) else None
    scaffold.write(lab.file("lab.py"), scaffold.generate(lab))
    progress.note_scaffold(lab)
    print(f"{report.as_typed(lab.file('lab.py'))} is empty again.")
    if kept:
        print(
            f"What you wrote is kept. To have it back: cp {report.as_typed(kept)} {report.as_typed(lab.file('lab.py'))}"
        )
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


def _which(sub: argparse.ArgumentParser, task: bool = False) -> None:
    sub.add_argument("id", nargs="?", metavar="ID", help="a lab, as in `lab list`: 1.1")
    if task:
        sub.add_argument("task", nargs="?", metavar="TASK", help="a task of it, or a function that belongs to one")


def _file_options(sub: argparse.ArgumentParser) -> None:
    _which(sub)
    sub.add_argument("--file", metavar="F", help="this file instead of lab.py")
    sub.add_argument("--solution", action="store_true", help="the reference instead of lab.py")


def _check_options(sub: argparse.ArgumentParser) -> None:
    _file_options(sub)
    sub.add_argument("only", nargs="?", metavar="TASK", help="the same as --task TASK")
    sub.add_argument("--task", metavar="T", help="only this task (and what it builds on)")


def _json_too(sub: argparse.ArgumentParser) -> None:
    _check_options(sub)
    sub.add_argument("--json", action="store_true", help="print the result as JSON")
    sub.add_argument("--as-graded", action="store_true", help="in the sandbox and on unseen numbers; not remembered")


def _show_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", nargs="?", metavar="ID", help="a lab, as in `lab list`: 1.1; or a phase: 1")
    sub.add_argument("--answers", action="store_true", help="show the answers that the lesson folds away")
    sub.add_argument("--guide", action="store_true", help="the phase's HITCHHIKERS-GUIDE.md instead")
    sub.add_argument("--web", action="store_true", help="as a page for the browser")
    sub.add_argument("--no-open", action="store_true", help="with --web: only print where the page is")


def _diff_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "words", nargs="*", metavar="[ID] TASK", help="a task, as in `lab check`; an ID in front if need be"
    )
    sub.add_argument("--give-up", action="store_true", help="show it although the task has not passed")
    sub.add_argument("--yes", action="store_true", help="with --give-up: do not ask")


def _only_json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="print the result as JSON")


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], Callable[[argparse.ArgumentParser], None]]] = {
    "next": (next_lab, lambda sub: None),
    "list": (list_labs, lambda sub: None),
    "show": (show, _show_options),
    "check": (check, _json_too),
    "watch": (watch, _which),
    "hint": (hint, lambda sub: _which(sub, task=True)),
    "repro": (repro, _check_options),
    "trace": (trace, _file_options),
    "diff": (diff, _diff_options),
    "tower": (tower, _only_json),
    "reset": (reset, _which),
    "update": (update, lambda sub: None),
    "assets": (cli_authors.assets, cli_authors.assets_options),
    "doctor": (cli_authors.doctor, _only_json),
    "verify": (cli_authors.verify, cli_authors.verify_options),
    "new": (cli_authors.new, cli_authors.new_options),
    "grade": (cli_instructors.grade, cli_instructors.grade_options),
    "vary": (cli_instructors.vary, cli_instructors.vary_options),
    "oral": (cli_instructors.oral, cli_instructors.oral_options),
    "course": (cli_instructors.course, cli_instructors.course_options),
    "regrade": (cli_instructors.regrade, cli_instructors.regrade_options),
}

NEED_ANSWERS = ("diff", "trace")  # of the learner's commands

if __name__ == "__main__":
    sys.exit(main())
