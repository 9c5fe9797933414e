"""Whether grading is fair to right versions: each one on many salts, every one of which must accept it.

`lab verify` tries few seeds, the small ones that authors look at.  A class is graded on a seed that a salt stands for,
a large number that nobody has seen; here solution and equivalents meet fifty of those, and no wrong version is run.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from labkit import catalog, certificate, report, scaffold
from labkit.catalog import Lab, LabError
from labkit.certificate import PAGE
from labkit.grading.work import seed_of
from labkit.runner import kitchen
from labkit.verify import Verifier


def seeds(salts: int) -> list[int]:
    """The seeds of the salts `fair 0`, `fair 1` and so on."""
    return [seed_of(f"fair {k}") for k in range(salts)]


def of(folder: Path, salts: int) -> tuple[int, int, list[str]]:
    """How many of one lab's right versions kept full marks on so many salts, of how many; a sentence each refusal."""
    lab = catalog.read(folder)
    with kitchen(lab) as source:
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(1)
        verifier = Verifier(lab, 1, source)
        tried = verifier.right_versions(seeds(salts))
    problems = verifier.certificate.problems
    refused = {p.split(" on seed ")[0].rsplit(" fails ", 1)[0] for p in problems}
    return tried - len(refused), tried, problems


def main(base: Path, labs: list[Lab], salts: int, write: bool, jobs: int) -> int:
    """`lab verify --salts`: 0 when no right version was refused.  What a lab gave is written as soon as it is there."""
    if salts < 1:
        raise LabError("--salts takes a number from 1 on.")
    if away := next((lab for lab in labs if lab.missing_extras), None):
        raise LabError(f"{away.id} is unavailable: pip install {' '.join(away.missing_extras)}")
    bad = False
    for done, (lab, accepted, tried, problems) in enumerate(_all(labs, salts, jobs)):
        report.progress_line("")
        print(f"{lab.id}  {accepted} of {tried} right versions kept full marks on {salts} salts", flush=True)
        for text in problems:
            print(f"✗ {lab.id}  {text}")
        bad |= bool(problems)
        if write:
            scaffold.write(base / "phases" / PAGE, certificate.keep_salted(lab, salts, accepted, tried, base))
        report.progress_line(f"{done + 1} of {len(labs)} labs …")
    report.progress_line("")
    return 1 if bad else 0


def _all(labs: list[Lab], salts: int, jobs: int) -> Iterator[tuple[Lab, int, int, list[str]]]:
    if jobs <= 1 or len(labs) == 1:
        for lab in labs:
            yield lab, *of(lab.folder, salts)
        return
    with ProcessPoolExecutor(min(jobs, len(labs)), multiprocessing.get_context("spawn")) as workers:
        made = {workers.submit(of, lab.folder, salts): lab for lab in labs}
        for future in as_completed(made):
            yield made[future], *future.result()
