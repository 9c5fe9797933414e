"""The `lab` commands for authors (verify, new) and for the machine (assets, doctor); cli lists them all."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from labkit import catalog


def assets(args: argparse.Namespace) -> int:
    """Lists or fetches the models and texts that labs run on.

    lab assets                       what there is, how big, under which licence
    lab assets fetch shakespeare     fetches one
    """
    return subprocess.run([sys.executable, "-m", "llmcore.assets", *(args.words or ["list"])], check=False).returncode


def assets_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="list | fetch NAME", help="as in the examples above")


def doctor(args: argparse.Namespace) -> int:
    """Looks at this machine and at the set-up: what is here, what is wrong, and the command that puts it right.

    ✓ in order · ! worth knowing, labs run without it · ✗ in the way of a lab.
    The page names no user, no machine and no folder outside the project, so it can go into a bug report as it is.

    Exit code: 0 nothing is ✗, 1 something is.
    """
    from labkit import doctor as examiner

    return examiner.main(catalog.root(), args.json)


def verify(args: argparse.Namespace) -> int:
    """For authors: certifies labs both ways, no right version refused and no wrong version passed.

    Runs solution, equivalents and mistakes behind the pipe over several seeds, and checks that the scaffold fails each
    task, that each mistake and each second wording is named by the diagnosis, that each task has a check by value that
    cannot be guessed, and that hints, README sections and budgets are kept.
    """
    if args.salts is not None:
        from labkit import fairness

        base = catalog.root()
        catalog.for_authors(base, "`lab verify`")
        labs = [catalog.find(base, i) for i in args.ids] or catalog.labs(base)
        return fairness.main(base, labs, args.salts, args.report, args.jobs)
    from labkit import verify as verifier

    return verifier.main(args.ids, args.seeds, args.recheck, args.share, args.report, args.json, args.jobs)


def verify_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("ids", nargs="*", metavar="ID", help="labs to certify; all without")
    sub.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds per version (3)")
    sub.add_argument(
        "--recheck",
        type=int,
        default=0,
        metavar="M",
        help="M seeds will do for a lab that has not changed since a report of M or more",
    )
    sub.add_argument(
        "--share",
        type=int,
        default=1,
        metavar="K",
        help="and of such a lab's mistakes and equivalents, every K-th: other ones each day, all of them in K days",
    )
    sub.add_argument(
        "--salts",
        type=int,
        metavar="N",
        help="instead of all that: the right versions alone, on the seeds of N grading salts (50 before a course)",
    )
    sub.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="labs at a time (all cores)")
    sub.add_argument(
        "--report", action="store_true", help="write phases/CERTIFIED.md, and keep what it says of other labs"
    )
    sub.add_argument("--json", action="store_true", help="print the result as JSON")


def new(args: argparse.Namespace) -> int:
    """For authors: makes the folder of a new lab, small but whole, so that `lab verify` has nothing to say about it.

    Then replace its example piece by piece, and verify again after each.  A phase that is not there yet is made too.

      lab new 2.1 "Word2vec from scratch" --phase "Embeddings"
      lab verify 2.1
    """
    from labkit import new as maker

    return maker.main(catalog.root(), args.id, " ".join(args.title), args.phase)


def new_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", metavar="ID", help="its phase and its number there: 2.1")
    sub.add_argument(
        "title", nargs="+", metavar="TITLE", help="what it is called; quotes only where the shell needs them"
    )
    sub.add_argument("--phase", metavar="NAME", default="", help="what the phase is called, if it is not there yet")
