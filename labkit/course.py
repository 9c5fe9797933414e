"""`lab course build`: a student repository without solutions, mistakes, equivalents or third hints.

    rooms       labkit and llmcore as they are; of phases/, the chosen labs with their phases' pages
    a lab       lab.py as it is given out, the same again as scaffold.py, two hints a task, and `observed/`: what the spec
                sees of each known mistake on the practice seed, as inert data, so that `lab check` can still name them
    course.json what it was made of, and the list of its files; only what has one is ever written over

Two builds of the same labs on the same versions are the same bytes, but for mistakes that draw without a seed, and for
what a busy machine made too slow.  Before anything is put in place, every file is searched for lines of the answers: a
copy of a solution that lies about in a lab's folder stops the build.
Does not: keep a secret.  llmcore holds implementations, and the curriculum is public.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from labkit import catalog, course_text, diagnose, report, runner, scaffold
from labkit.catalog import ANSWERS, COURSE, EMPTY, HINTS, Lab, LabError

ROOT_FILES = ("LICENSE", "Makefile", "pyproject.toml", ".gitignore")
ROOMS = ("labkit", "llmcore")
PHASES = ("parts.toml", "tower.toml")  # of phases/ itself; the certificates there list the mistakes
MADE = ("__pycache__", "artifacts")  # by running labs, never part of one
REMADE = (*ANSWERS, "lab.py", "lab.toml", "dials.toml", "trace.py")  # of a lab: left out, or written otherwise
TELLING = 24  # a line of an answer with fewer characters than this may stand anywhere: `return out`


def add_options(sub: argparse.ArgumentParser) -> None:
    """The words of `lab course`."""
    sub.add_argument("what", choices=["build"], help="make the repository")
    sub.add_argument("--out", required=True, metavar="FOLDER", help="where it goes: a new or empty folder")
    sub.add_argument("--labs", nargs="+", default=[], metavar="ID", help="these labs only: 4.1 4.2")
    sub.add_argument("--title", default="LLM engineer: the course", metavar="T", help="the heading of its README")
    sub.add_argument("--force", action="store_true", help="over an earlier build: its files are replaced, others stay")
    sub.add_argument("--jobs", type=int, default=1, metavar="N", help="labs observed at a time (1)")


def main(base: Path, out: Path, ids: list[str], title: str = "The course", force: bool = False, jobs: int = 1) -> int:
    """`lab course build`: 0 when the repository is there."""
    made = build(base, out, ids, title, force, jobs)
    print(f"{report.as_typed(out)}: {made} files, without a copy of an answer.  llmcore, the specs and what later labs")
    print("bring along stay readable, and have lines in common with answers.")
    print(f"To publish it: cd {report.as_typed(out)} && git init && git add . && git commit -m Course")
    return 0


def build(base: Path, out: Path, ids: list[str], title: str = "The course", force: bool = False, jobs: int = 1) -> int:
    """Makes the repository in `out` from the curriculum at `base`; returns how many files it has.

    ids: the labs, all without any.  LabError: the folder is in use, a lab cannot be observed, or an answer would leak.
    """
    catalog.for_authors(base, "`lab course build`")
    if jobs < 1:
        raise LabError("--jobs takes a number from 1 on.")
    labs = [catalog.find(base, i) for i in dict.fromkeys(ids)] if ids else catalog.labs(base)
    if missing := next((lab for lab in labs if lab.missing_extras), None):
        raise LabError(f"Lab {missing.id} cannot be observed here: pip install {' '.join(missing.missing_extras)}")
    out = out.resolve()
    old = _earlier(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    observed = observe(base, labs, jobs)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as bench:
        draft = Path(bench) / "course"
        for name in ROOT_FILES:
            if (base / name).is_file():
                _put(draft / name, (base / name).read_bytes())
        for room in ROOMS:
            for path in _files(base / room):
                _put(draft / path.relative_to(base), path.read_bytes())
        _phases(base, labs, draft)
        for (lab, task), data in observed.items():
            _put(diagnose.stored_at(lab, task).relative_to(base), data, draft)
        _adapt(base, labs, draft, title)
        if found := next(leaks(labs, draft), None):
            raise LabError(
                f"Nothing was built: {found[0].as_posix()} holds a line of an answer of {found[1]}: {found[2]}"
            )
        files = sorted(p.relative_to(draft).as_posix() for p in draft.rglob("*") if p.is_file())
        versions = {name: diagnose.version(name) for name in ("torch", "numpy")}
        card = {"schema": 1, "labs": [lab.id for lab in labs], "observed with": versions, "files": [*files, COURSE]}
        _put(draft / COURSE, (json.dumps(card, indent=1) + "\n").encode())
        _move(draft, out, old)
    return len(files) + 1


def _earlier(out: Path, force: bool) -> list[str]:
    """The files of the build that is there already.  A folder that holds anything else is refused."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return []
    try:
        files: list[str] = json.loads((out / COURSE).read_text(encoding="utf-8"))["files"]
        if not all(isinstance(f, str) and not Path(f).is_absolute() and ".." not in Path(f).parts for f in files):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise LabError(f"{report.as_typed(out)} is not empty and no earlier course: choose another folder.") from None
    if not force:
        raise LabError(
            f"{report.as_typed(out)} holds an earlier course: --force replaces its files and keeps all others."
        )
    return files


def _files(folder: Path) -> Iterator[Path]:
    """What belongs to a room: nothing hidden, nothing made by a run, no links."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        made = any(p.startswith(".") or p in MADE or p.endswith(".egg-info") for p in parts)
        if not made and path.is_file() and not path.is_symlink() and path.suffix not in (".pyc", ".part"):
            yield path


def _put(path: Path, data: bytes, base: Path = Path()) -> None:
    (base / path).parent.mkdir(parents=True, exist_ok=True)
    (base / path).write_bytes(data)


def _phases(base: Path, labs: list[Lab], draft: Path) -> None:
    for name in PHASES:
        if (path := base / "phases" / name).is_file():
            _put(draft / "phases" / name, path.read_bytes())
    for phase in dict.fromkeys(lab.folder.parent for lab in labs):
        for path in (p for p in _files(phase) if not any((f / "lab.toml").is_file() for f in p.parents if f != phase)):
            _put(draft / path.relative_to(base.resolve()), path.read_bytes())
    for lab in labs:
        folder = draft / lab.folder.relative_to(base.resolve())
        for path in _files(lab.folder):
            if path.relative_to(lab.folder).as_posix() not in REMADE:
                _put(folder / path.relative_to(lab.folder), path.read_bytes())
        empty = scaffold.generate(lab).encode()
        _put(folder / "lab.py", empty)
        _put(folder / EMPTY, empty)
        _put(folder / "lab.toml", course_text.lab_toml(lab.file("lab.toml").read_text(encoding="utf-8")).encode())


def _adapt(base: Path, labs: list[Lab], draft: Path, title: str) -> None:
    """Pages and the Makefile, now that all that they may speak of is there."""
    for page in sorted((draft / "phases").rglob("*.md")):
        text = course_text.prose(page.read_text(encoding="utf-8"), lambda to, at=page: (at.parent / to).exists())  # type: ignore[misc]
        page.write_bytes(text.encode())
    if (draft / "Makefile").is_file():
        text = course_text.makefile((draft / "Makefile").read_text(encoding="utf-8"))
        _put(draft / "Makefile", text.encode())
    text = course_text.readme(title, labs)
    _put(draft / "README.md", text.encode())


# ---- what the spec sees of each mistake


def observe(base: Path, labs: list[Lab], jobs: int) -> dict[tuple[Lab, str], bytes]:
    """For each task of each lab what `diagnose.stored_at` is to hold; from .lab/cache what has not changed."""
    from tqdm import tqdm

    found: dict[tuple[Lab, str], bytes] = {}
    # Sets are written in the order of their hashes: without this, two builds would differ.
    with _environment("PYTHONHASHSEED", "0"):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(labs)), context) as pool:
            waiting = {pool.submit(observe_lab, lab.folder, base / ".lab" / "cache"): lab for lab in labs}
            try:
                for done in tqdm(as_completed(waiting), total=len(labs), desc="observing mistakes", disable=None):
                    found |= {(waiting[done], task): data for task, data in done.result().items()}
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return {(lab, t.name): found[lab, t.name] for lab in labs for t in lab.tasks}


def observe_lab(folder: Path, cache: Path) -> dict[str, bytes]:
    """One lab, in a process of its own."""
    lab = catalog.read(folder)
    spec = runner.Spec.of(lab)
    places = {t.name: cache / f"course-{lab.id}-{t.name}-{diagnose.digest(spec, 0)}.bin" for t in lab.tasks}
    found = {name: path.read_bytes() for name, path in places.items() if path.is_file()}
    if len(found) < len(places):
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(1)
        with runner.kitchen(lab) as source:
            for name in places.keys() - found.keys():
                found[name] = diagnose.packed(spec, name, source)
                diagnose.keep(places[name], found[name])
    return found


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


# ---- before it leaves the house


def leaks(labs: list[Lab], built: Path) -> Iterator[tuple[Path, str, str]]:
    """(file, lab, line) for each telling line of an answer that stands in a file where no one needs it.

    What learners work with may share a line with an answer: the rooms, pages, scaffolds, specs, and the modules that
    these import.  So what is found is a copy of an answer, under whatever name, and not an idiom of Python.
    """
    answers: dict[str, str] = {}
    for lab in labs:
        for name in ANSWERS:
            answers |= dict.fromkeys(secret_lines(lab.file(name), regions_only=name == "solution.py"), lab.id)
        answers |= {t.hints[-1]: lab.id for t in lab.tasks if len(t.hints) == len(HINTS)}
    rooms = {p for room in ROOMS for p in built.glob(f"{room}/**/*") if p.suffix in (".py", ".md")}
    paths = sorted(rooms | {p for p in built.glob("phases/**/*") if p.is_file() and p.suffix != ".png"})
    texts = {p: p.read_text(encoding="utf-8", errors="replace") for p in paths}
    given = rooms | {p for p in paths if p.suffix == ".md"}
    for lab in labs:
        folder = next(p for p in built.glob("phases/*/*") if p.name == lab.folder.name)
        given |= _with_imports(folder / EMPTY) | _with_imports(folder / "test_lab.py") | {folder / "lab.py"}
    lines = answers.keys() - {line.strip() for p in given for line in texts[p].splitlines()}
    for path, text in texts.items():
        for line in text.splitlines():
            if line.strip() in lines:
                yield path.relative_to(built), answers[line.strip()], line.strip()


def _with_imports(path: Path) -> set[Path]:
    """This file and the modules beside it that it imports, and those that they import."""
    found, ahead = {path}, [path]
    while ahead:
        for node in ast.walk(ast.parse(ahead.pop().read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            beside = {path.with_name(f"{name}.py") for name in names}
            new = {p for p in beside - found if p.is_file()}
            found |= new
            ahead += new
    return found


def secret_lines(path: Path, regions_only: bool) -> set[str]:
    """The lines of an answer that would tell something: of solution.py only what stands in a region."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if regions_only:
        lines = [line for r in scaffold.regions(text) for line in lines[r.first : r.last - 1]]
    return {s for line in lines if len(s := line.strip()) > TELLING}


def _move(draft: Path, out: Path, old: list[str]) -> None:
    """Into place: at once where nothing is, file by file over an earlier build."""
    if not old:
        if out.exists():
            out.rmdir()
        draft.rename(out)
        return
    for name in old:
        (out / name).unlink(missing_ok=True)
    for path in sorted(p for p in draft.rglob("*") if p.is_file()):
        target = out / path.relative_to(draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    for folder in sorted(
        {p for name in old for p in (out / name).parents if p != out and out in p.parents}, reverse=True
    ):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
