"""The `lab` commands for instructors: grade, regrade, vary, oral, course; cli lists them all."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from labkit import catalog


def grade(args: argparse.Namespace) -> int:
    """For instructors: grades what a learning platform exports, and writes a gradebook.

    SUBMISSIONS is a folder or an archive: a folder per student, or what Gradescope, Moodle or Canvas give out, or git
    clones.  Strangers' files run in a sandbox (bubblewrap), on seeds they have not seen.  What was graded once is not
    graded again: after Ctrl-C, or when more has come in, add --resume.

      lab grade week4.zip --out results --lab 4.1
      lab grade week4.zip --out results --roster class.csv --policy grading.toml --jobs 8
      lab grade week4.zip --out results --resume

    Read instructors/README.md first: what a mark here is evidence of, and what it is not.

    Exit code: 0 all was graded, 1 something was refused or needs a look, 2 could not run.
    """
    from labkit.grading import grade as grader

    if not args.out and not args.gradescope:
        raise catalog.LabError("Say where the results go: --out RESULTS, a new folder.")
    secret = args.vary_secret or (os.environ.get("LAB_SECRET", "") if args.vary else "")
    if args.vary and not secret:
        raise catalog.LabError(
            "--vary takes the secret of `lab vary`: LAB_SECRET in the environment, or --vary-secret."
        )
    asked = grader.Request(
        source=Path(args.submissions),
        out=Path(args.out or ""),
        labs=args.lab or [],
        roster=args.roster and Path(args.roster),
        policy=args.policy and Path(args.policy),
        salt=args.seed_salt,
        vary_secret=secret,
        jobs=args.jobs,
        ray=args.ray,
        resume=args.resume,
        require_sandbox=args.require_sandbox,
        gradescope=args.gradescope and Path(args.gradescope),
    )
    if args.out:
        return grader.main(catalog.root(), asked)
    with tempfile.TemporaryDirectory(
        prefix="lab-grade-"
    ) as folder:  # an autograder wants results.json and nothing else
        asked.out = Path(folder)
        return grader.main(catalog.root(), asked)


def grade_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("submissions", metavar="SUBMISSIONS", help="the folder or archive that came out of the platform")
    sub.add_argument("--out", metavar="RESULTS", help="where everything goes: a new folder")
    sub.add_argument("--lab", action="append", metavar="ID", help="this lab only; several times for several (all)")
    sub.add_argument("--roster", metavar="CSV", help="the class list: any CSV with ids, names or addresses")
    sub.add_argument("--policy", metavar="FILE", help="points, deadlines, late days (practice credit without)")
    sub.add_argument("--seed-salt", default="", metavar="S", help="decides the seeds (a new one, kept in RESULTS)")
    sub.add_argument("--vary", action="store_true", help="each student has a variant of their own: see `lab vary`")
    sub.add_argument("--vary-secret", default="", metavar="S", help="its secret; else LAB_SECRET of the environment")
    sub.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="files at a time (all cores)")
    sub.add_argument("--ray", default="", metavar="ADDRESS", help="on a Ray cluster: its address, or `local`")
    sub.add_argument("--resume", action="store_true", help="go on with RESULTS: only what is new is graded")
    sub.add_argument("--require-sandbox", action="store_true", help="refuse to run anything without bubblewrap")
    sub.add_argument("--gradescope", metavar="FILE", help="SUBMISSIONS is one student's; write results.json there")


def regrade(args: argparse.Namespace) -> int:
    """For instructors: runs one student's file again, or with --why replays the verdict without running anything.

    --why judges the stored observations anew, check by check, says which decided, and whether it was reached on the same
    versions as are installed now.

      lab regrade ada 4.1 --results results --why
    """
    from labkit.grading import regrade as replayer

    return replayer.main(catalog.root(), Path(args.results), args.student, args.id, args.why)


def regrade_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("student", metavar="STUDENT", help="an id, as in the gradebook")
    sub.add_argument("id", metavar="ID", help="a lab: 4.1")
    sub.add_argument("--results", required=True, metavar="RESULTS", help="the folder that `lab grade` wrote")
    sub.add_argument("--why", action="store_true", help="explain the verdict that is there")


def course(args: argparse.Namespace) -> int:
    """For instructors: makes a student repository without solutions, mistakes, equivalents or third hints.

    Everything a learner does works in it; `lab check` names mistakes from observations that were stored when it was made.
    It lowers a temptation and keeps no secret: the curriculum is public, and llmcore holds implementations.

      lab course build --out ../our-course --labs 1.1 4.1 4.2
    """
    from labkit import course as builder

    return builder.main(catalog.root(), Path(args.out), args.labs, args.title, args.force, args.jobs)


def course_options(sub: argparse.ArgumentParser) -> None:
    from labkit import course as builder

    builder.add_options(sub)


def vary(args: argparse.Namespace) -> int:
    """For instructors: turns the dials of a lab, so that copying its public solution fails.

    Which dials are turned follows from the secret and the student's id.  The variant's lab.py and README say what differs.
    Keep the secret out of the shell's history: read -rs LAB_SECRET && export LAB_SECRET

      lab vary --list                                      which labs have dials, and what they turn
      lab vary 4.1 --student ada --out variants/ada        one student's folder
      lab vary 4.1 --roster class.csv --out variants       everybody's
      lab vary 4.1 --check                                 proves them: the public solution fails, the varied one passes
    """
    from labkit import vary_command

    out, roster = args.out and Path(args.out), args.roster and Path(args.roster)
    return vary_command.main(
        catalog.root(), args.id, args.secret, args.student, out,
        roster=roster, spec=args.spec, answers=args.answers, listed=args.listed, check=args.check, sets=args.sets,
        seeds=args.seeds,
    )  # fmt: skip


def vary_options(sub: argparse.ArgumentParser) -> None:
    from labkit import vary_command

    vary_command.add_options(sub)


def oral(args: argparse.Namespace) -> int:
    """For instructors: ten supervised minutes. Three questions on a student's own file, and a page with keys.

    They are made from the lab's classic mistakes; every key was computed by running the code.  The same student and file
    give the same questions, another student others.

      lab oral 4.1 --student ada --results results              both pages, as text
      lab oral 4.1 --student ada --file lab.py --web ada        two pages to print, in the folder ada
    """
    from labkit import oral as asker

    file, results, web = (word and Path(word) for word in (args.file, args.results, args.web))
    return asker.main(catalog.root(), args.id, args.student, file, results, web)


def oral_options(sub: argparse.ArgumentParser) -> None:
    from labkit import oral as asker

    asker.add_options(sub)
