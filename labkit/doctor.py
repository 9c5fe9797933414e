"""`lab doctor`: what this machine is, and whether everything that labs need is in order.

Each finding has a level, words, and the one command that puts it right.  Whatever could fail or hang (PyTorch, git, the
assets, the pipe) runs in a process of its own with a deadline, so that a broken set-up is described and not joined.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from labkit import catalog, scaffold
from labkit.catalog import LabError
from labkit.progress import Progress
from labkit.report import Paint

SYMBOLS = {"ok": "✓", "note": "!", "bad": "✗"}
PYTHONS = ((3, 11), (3, 12), (3, 13))
DISK = 1.0  # GB that should be free: checkpoints, artifacts, one more set-up of a few packages
SECONDS = 60.0  # for one process


@dataclass(frozen=True)
class Finding:
    level: str  # ok, note, bad
    name: str
    words: str
    fix: str = ""


def examine(base: Path) -> Iterator[Finding]:
    """All findings, as they come."""
    yield Finding(
        "ok", "system", f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores"
    )
    yield revision(base)
    yield python()
    yield environment(base)
    yield torch()
    yield from packages(base)
    yield assets(base)
    yield scaffolds(base)
    yield fork()
    yield sandbox()
    yield disk(base)
    yield writable(base)
    yield encoding(sys.stdout.encoding, sys.stdout.isatty())
    yield pipe(base)


def run(*command: str, cwd: Path | None = None) -> tuple[int, str]:
    """Exit code and output of a command; 127 when there is none, 124 when it took too long."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {SECONDS:g} s"
    except OSError as e:
        return 127, str(e.strerror)
    return done.returncode, (done.stdout if done.returncode == 0 else done.stdout + done.stderr).strip()


def revision(base: Path) -> Finding:
    """Which version of the project this is; a copy without git is as good."""
    code, out = run("git", "-C", str(base), "log", "-1", "--format=%h of %cs")
    if code:
        return Finding("note", "version", "no git history here: `lab update` cannot tell old scaffolds from your work")
    changed = run("git", "-C", str(base), "status", "--porcelain", "--untracked-files=no")[1].splitlines()
    labs = sum(line.endswith("/lab.py") for line in changed)
    words = f"{out}, {len(changed)} files changed, {labs} of them lab.py" if changed else f"{out}, unchanged"
    return Finding("ok", "version", words)


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    words = f"{'.'.join(map(str, version))}, {platform.python_implementation()}"
    if version[:2] in PYTHONS:
        return Finding("ok", "python", words)
    return Finding("bad", "python", f"{words}; 3.11, 3.12 or 3.13 is needed", "make lab PYTHON=python3.12")


def environment(base: Path) -> Finding:
    prefix = Path(sys.prefix).resolve()
    if prefix == (base / ".venv").resolve():
        return Finding("ok", "environment", "the project's own, .venv")
    if sys.prefix == sys.base_prefix:
        return Finding("note", "environment", "the system's Python, not .venv", "make lab && source .venv/bin/activate")
    return Finding("note", "environment", "another one than .venv", "make lab && source .venv/bin/activate")


TORCH = """
import json, torch
mps = getattr(torch.backends, "mps", None)
gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
x = torch.arange(6.0).reshape(2, 3)
print(json.dumps([torch.__version__, gpu, bool(mps and mps.is_available()), torch.get_num_threads(), (x @ x.T).tolist()]))
"""


def torch() -> Finding:
    """Imports it elsewhere, multiplies two matrices, and says which devices it sees."""
    code, out = run(sys.executable, "-c", TORCH)
    if code:
        why = out.splitlines()[-1] if out else f"exit code {code}"
        return Finding("bad", "torch", f"cannot be used: {why}", "make lab")
    version, gpu, mps, threads, product = json.loads(out.splitlines()[-1])
    if product != [[5, 14], [14, 50]]:
        return Finding("bad", "torch", f"{version} multiplies wrongly: {product}", "rm -rf .venv && make lab")
    device = f"GPU {gpu}" if gpu else "Apple GPU (MPS)" if mps else "CPU"
    return Finding("ok", "torch", f"{version}, {device}, {threads} thread{'s' * (threads != 1)}")


def packages(base: Path) -> Iterator[Finding]:
    """What pyproject.toml asks for against what is installed."""
    path = base / "pyproject.toml"
    try:
        wanted = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as e:
        yield Finding(
            "bad", "packages", f"pyproject.toml cannot be read ({type(e).__name__})", "git checkout pyproject.toml"
        )
        return
    wrong = [words for line in wanted if (words := unmet(line))]
    if wrong:
        yield Finding("bad", "packages", "; ".join(wrong), "make lab")
    else:
        yield Finding("ok", "packages", f"all {len(wanted)} of pyproject.toml, in the versions it asks for")
    extras = sorted({e for lab in catalog.labs(base) for e in lab.missing_extras})
    if extras:
        labs = ", ".join(lab.id for lab in catalog.labs(base) if lab.missing_extras)
        yield Finding(
            "note", "extras", f"{', '.join(extras)} missing: no lab {labs}", f"pip install {' '.join(extras)}"
        )


def unmet(requirement: str) -> str:
    """Why "numpy>=2.2,<3" is not met here; "" when it is."""
    found = re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*([^;]*)", requirement)
    assert found is not None
    name, rules = found[1], [r.strip() for r in found[2].split(",") if r.strip()]
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    for rule in rules:
        relation, bound = re.match(r"(===|[=<>!~]=|[<>])\s*([\w.+*]+)", rule).groups()  # type: ignore[union-attr]
        if not _holds(_numbers(version), relation, _numbers(bound)):
            return f"{name} is {version}, {rule} is asked for"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    """2.13.0+cpu → (2, 13, 0); a pre-release counts as its release."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(n) for n in found[0].split(".")) if found else ()


def _holds(have: tuple[int, ...], relation: str, bound: tuple[int, ...]) -> bool:
    size = max(len(have), len(bound))
    a, b = ((*x, *[0] * (size - len(x))) for x in (have, bound))
    return {
        "==": a == b,
        "===": a == b,
        "!=": a != b,
        ">=": a >= b,
        "<=": a <= b,
        ">": a > b,
        "<": a < b,
        "~=": a >= b and a[: len(bound) - 1] == b[: len(bound) - 1],
    }[relation]


def assets(base: Path) -> Finding:
    """What the labs' models and texts are, from the library's own list."""
    code, out = run(sys.executable, "-m", "llmcore.assets", "list", cwd=base)
    if code:
        return Finding("note", "assets", f"cannot be listed: {(out.splitlines() or ['no answer'])[-1]}", "make lab")
    head, *rows = out.split("\n\n")[0].splitlines()
    column = head.find("CACHED")
    missing = [row.split()[0] for row in rows if not row[column:].startswith("yes")]
    if column < 0:
        return Finding("note", "assets", "their list is not as expected", "lab assets list")
    if missing:
        fix = f"lab assets fetch {' '.join(missing)}"
        return Finding("note", "assets", f"not in the cache: {', '.join(missing)}; labs that use them say so", fix)
    return Finding("ok", "assets", f"all {len(rows)} are in the cache")


def scaffolds(base: Path) -> Finding:
    """lab.py files: which are the learner's, and which are scaffolds of an older version."""
    progress = Progress(base)
    mine: list[str] = []
    stale: list[str] = []
    gone: list[str] = []
    try:
        for lab in catalog.labs(base):
            path = lab.file("lab.py")
            if not path.exists():
                gone.append(lab.id)
            elif path.read_text(encoding="utf-8", errors="replace") != scaffold.generate(lab):
                (stale if progress.untouched(lab) else mine).append(lab.id)
    except (LabError, scaffold.AuthorError, OSError) as e:
        return Finding("bad", "labs", str(e), "git status")
    if gone:
        return Finding("bad", "labs", f"lab.py is missing in {', '.join(gone)}", f"lab reset {gone[0]}")
    if stale:
        return Finding("note", "labs", f"an older lab.py, not begun, in {', '.join(stale)}", "lab update")
    return Finding("ok", "labs", f"begun: {', '.join(mine) or 'none'}; every other lab.py is up to date")


def fork(platform_name: str = sys.platform) -> Finding:
    if platform_name == "linux" and hasattr(os, "fork"):
        return Finding("ok", "fork", "a check starts from a process that has imported everything")
    return Finding(
        "note", "fork", "not used on this system: each task starts a Python of its own, so checks are slower"
    )


def sandbox() -> Finding:
    """bubblewrap, which a stranger's file needs and one's own does not."""
    if shutil.which("bwrap") is None:
        return Finding(
            "note", "bubblewrap", "not here; only grading other people's files needs it", "apt install bubblewrap"
        )
    code, out = run("bwrap", "--ro-bind", "/", "/", "--unshare-all", "true")
    if code:
        why = (out.splitlines() or [f"exit code {code}"])[-1]
        return Finding("note", "bubblewrap", f"is here, but may not be used ({why}); only grading needs it")
    return Finding("ok", "bubblewrap", "here and usable (for grading)")


def disk(base: Path) -> Finding:
    free = shutil.disk_usage(base).free / 1e9
    if free < DISK:
        return Finding("note", "disk", f"{free:.1f} GB free, {DISK:g} GB would be safe", "df -h .")
    return Finding("ok", "disk", f"{free:.0f} GB free")


def writable(base: Path) -> Finding:
    folder = base / ".lab"
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        return Finding("bad", "progress", f".lab cannot be written: {e.strerror}", "ls -ld . .lab")
    return Finding("ok", "progress", ".lab can be written")


def encoding(name: str | None, terminal: bool) -> Finding:
    try:
        "✓✗·█√".encode(name or "ascii")
    except (UnicodeEncodeError, LookupError):
        return Finding("note", "text", f"{name}: symbols such as a tick show as ?", "export PYTHONIOENCODING=utf-8")
    where = f"a terminal of {shutil.get_terminal_size().columns} columns" if terminal else "not a terminal"
    return Finding("ok", "text", f"{name}, {where}")


def pipe(base: Path) -> Finding:
    """Loads a real solution in a process of its own and asks it something, the way every check does."""
    from labkit import runner
    from labkit.remote import Failed

    labs = [lab for lab in catalog.labs(base) if not lab.missing_extras]
    if not labs:
        return Finding("note", "pipe", "there is no lab to try")
    lab = labs[0]
    try:
        with runner.kitchen(lab) as source:
            spec = runner.Spec.of(lab)
            result = next(runner.results(source, spec, lab.file("solution.py")))
    except (LabError, Failed, OSError, RuntimeError) as e:
        return Finding("bad", "pipe", f"a lab cannot be run: {e}", "make lab")
    words = f"the solution of {lab.id} {result.task.name}: {result.tests_passed} of {result.tests} tests"
    if result.status == "passed":
        return Finding("ok", "pipe", words)
    return Finding("bad", "pipe", f"{words} ({result.note or result.status})", f"lab check {lab.id} --solution")


def private(text: str) -> str:
    """Without what names a person: the home folder reads ~, and so does the user's name in other paths."""
    home = str(Path.home())
    if len(home) > 1:
        text = text.replace(home, "~")
    return re.sub(r"/(?:home|Users)/[^/\s]+", "~", text)


def main(base: Path, as_json: bool) -> int:
    """`lab doctor`: 0 when nothing is in the way, else 1."""
    paint, found = Paint(sys.stdout), []
    for raw in examine(base):
        f = Finding(
            raw.level, raw.name, *(private(text.replace(f"{base}{os.sep}", "")) for text in (raw.words, raw.fix))
        )
        found.append(f)
        if not as_json:
            fix = f"   → {f.fix}" if f.fix and f.level != "ok" else ""
            print(f"{paint.symbol(SYMBOLS[f.level])} {f.name:12} {f.words}{paint.bold(fix)}", flush=True)
    bad = sum(f.level == "bad" for f in found)
    if as_json:
        print(json.dumps({"schema": 1, "ok": not bad, "findings": [asdict(f) for f in found]}, indent=1))
    else:
        print(f"\n{'Everything that labs need is in order.' if not bad else f'{bad} in the way of a lab.'}")
    return 1 if bad else 0
