"""`lab vary`: a lab with some of its conventions turned, so that the published solution does not pass.

Which dials a student gets follows from a secret and the student's id; who has both can make the same variant again.
What this holds off is copying.  dials.toml is as public as solution.py, so whoever goes looking can build the answer;
against that, write dials of your own in a copy of the repository that you keep to yourself.
"""

from __future__ import annotations

import ast
import hashlib
import hmac
import itertools
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from labkit import catalog, course_text, dial, scaffold
from labkit.catalog import EMPTY, Lab, LabError
from labkit.dial import Dial

ANSWERS = ("solution.py", "mistakes.py", "equivalents.py", dial.FILE)
SPEC = ("lab.toml", "test_lab.py")
TOGETHER = " + "  # between the names of dials that one near miss leaves as they are


def dials(lab: Lab) -> list[Dial]:
    """The lab's dials, in the order of its dials.toml; none without one."""
    return dial.read(lab)


def varied(base: Path) -> list[Lab]:
    """The labs that have dials."""
    return [lab for lab in catalog.labs(base) if lab.file(dial.FILE).exists()]


def subsets(lab: Lab) -> list[list[str]]:
    """The sets of dials that a student may get: with three dials or more, at least two, on tasks worth half the points.

    So a copy of the public solution never gets more than half.
    """
    path = lab.file(dial.FILE)
    return [[*names] for names in _subsets(lab, path.read_bytes() if path.exists() else b"")]


@lru_cache
def _subsets(lab: Lab, _: bytes) -> list[tuple[str, ...]]:
    """Kept for one content of dials.toml: a class asks for it a thousand times."""
    listed = _some(lab)
    points = {t.name: t.points for t in lab.tasks}
    found = []
    for n in range(min(2, len(listed) - 1), len(listed) + 1):
        for chosen in itertools.combinations(listed, n):
            touched = {task for d in chosen for task in d.tasks}
            if 2 * sum(points[task] for task in touched) >= lab.points:
                found.append(tuple(d.name for d in chosen))
    if not found:
        raise LabError(f"{lab.file(dial.FILE)}: even all dials together touch less than half of the lab's points.")
    return found


def choose(lab: Lab, secret: str, student: str) -> list[str]:
    """The dials of this student's variant: always the same ones, and every set of `subsets` equally likely."""
    if not secret or not student:
        raise LabError("A variant takes a secret and a student's id, and neither may be empty.")
    message = f"{student}\n{lab.id}".encode()
    number = int.from_bytes(hmac.new(secret.encode(), message, hashlib.sha256).digest(), "big")
    allowed = subsets(lab)
    return allowed[number % len(allowed)]


def build(lab: Lab, names: Iterable[str], folder: Path) -> Lab:
    """Writes the whole variant into `folder`, answers included, and returns it as a lab that can be run.

    With no names it is the public lab, to the letter.  mistakes.py and equivalents.py stay behind: they are about the public lab.
    """
    texts = _files(lab, list(names))
    for name, text in texts.items():
        _put(folder / name, text)
    _copy_the_rest(lab, folder, texts)
    return catalog.read(folder)


def hand_out(lab: Lab, names: Iterable[str], folder: Path, spec: bool = False) -> None:
    """Writes what a student gets: README.md, lab.py and what these use; with `spec` also what `lab check` reads.

    With `spec` it is a lab as in a course's repository, with two hints a task, to be put in the place of the public one.
    No solution, no list of dials.  The spec holds an oracle, which is an answer to whoever reads it.
    """
    texts = _files(lab, list(names))
    if spec:
        texts |= {EMPTY: texts["lab.py"], "lab.toml": course_text.lab_toml(texts["lab.toml"])}
    for name, text in texts.items():
        if name not in ANSWERS and (spec or name not in SPEC):
            _put(folder / name, text)
    _copy_the_rest(lab, folder, texts)


def near_misses(lab: Lab, names: Sequence[str], task: str | None = None) -> dict[str, str]:
    """Sources that solve the variant but for one dial, left as in the public lab: {that dial: source}.

    And one that leaves them all, under their names, as in "polarity + window": without `task` the public solution.  With
    `task` only the dials that touch it count, so that no two of the sources do the same in it.
    """
    chosen = [d.name for d in _named(lab, list(names)) if task is None or task in d.tasks]
    left = [[name] for name in chosen] + ([chosen] if len(chosen) > 1 else [])
    return {TOGETHER.join(missed): _files(lab, [n for n in names if n not in missed])["solution.py"] for missed in left}


def notice(lab: Lab, names: Iterable[str]) -> str:
    """What differs from the public lab, as Markdown; "" when nothing does."""
    chosen = _named(lab, list(names))
    if not chosen:
        return ""
    lines = [
        f"**This is a variant of lab {lab.id}.** It differs from the public one in what follows. `lab.py` says the same; "
        "where the rest of this page or a hint says otherwise, this list holds.",
        "",
        *(f"- {d.says}" for d in chosen),
    ]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _files(lab: Lab, names: list[str]) -> dict[str, str]:
    """Every text of the variant that is not a plain copy, by file name."""
    chosen = _named(lab, names)
    texts = {name: lab.file(name).read_text(encoding="utf-8") for name in ("solution.py", "README.md", *SPEC)}
    texts |= dial.turned(lab, chosen)
    if chosen:
        head, _, rest = texts["README.md"].partition("\n")
        texts["README.md"] = f"{head}\n\n{notice(lab, names)}\n{rest}"
        texts["solution.py"] = _told(texts["solution.py"], chosen, lab)
    texts["lab.py"] = scaffold.scaffold(texts["solution.py"], f"{lab.file('solution.py')} with {TOGETHER.join(names)}")
    return texts


def _told(source: str, chosen: list[Dial], lab: Lab) -> str:
    """The source with its module docstring ending in what differs."""
    try:
        body = ast.parse(source).body
    except SyntaxError as e:
        raise LabError(
            f"{lab.file(dial.FILE)}: {TOGETHER.join(d.name for d in chosen)} make of solution.py what is no Python: "
            f"line {e.lineno}, {e.msg}."
        ) from None
    first = body[0] if body else None
    lines = source.splitlines(keepends=True)
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno):
        raise LabError(f"{lab.file('solution.py')} has no docstring at its top to say what a variant differs in.")
    last = lines[first.end_lineno - 1].rstrip("\n")
    if not last.endswith('"""'):
        raise LabError(f'{lab.file("solution.py")}: the docstring at its top ends with """ and nothing behind it.')
    says = [textwrap.fill(f"- {d.says}", 118, subsequent_indent="  ", break_on_hyphens=False) for d in chosen]
    told = "\n".join([f"A variant of lab {lab.id}.  What differs from the public one:", *says])
    before = "".join(lines[: first.end_lineno - 1]) + last[:-3]
    return f'{before.rstrip()}\n\n{told}\n"""\n' + "".join(lines[first.end_lineno :])


def _named(lab: Lab, names: list[str]) -> list[Dial]:
    """The dials of these names, in the lab's order."""
    listed = {d.name: d for d in _some(lab)} if names else {}
    if unknown := [n for n in names if n not in listed]:
        raise LabError(f"Lab {lab.id} has no dial {unknown[0]!r}. Its dials: {', '.join(listed)}.")
    return [d for name, d in listed.items() if name in names]


def _some(lab: Lab) -> list[Dial]:
    if not (listed := dials(lab)):
        raise LabError(f"Lab {lab.id} has no dials. `lab vary --list` shows the labs that have.")
    return listed


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scaffold.write(path, text)


def _copy_the_rest(lab: Lab, folder: Path, written: Iterable[str]) -> None:
    """Helper modules, DATASETS.md, pictures: everything beside what a variant writes itself, save what a run leaves."""
    for path in sorted(lab.folder.iterdir()):
        if path.name in (*written, *ANSWERS, "artifacts", "__pycache__") or path.name.startswith("."):
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, folder / path.name)
