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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import catalog, scaffold
from labkit.catalog import LabError
from labkit.progress import Progress
from labkit.report import Paint

if TYPE_CHECKING:  # it may be missing here, which is a finding
    from packaging.requirements import Requirement

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
    """All findings, as they come.  One that cannot be made is a finding, too, and the rest goes on."""
    looks: dict[str, Callable[[], Finding]] = {
        "system": system,
        "version": lambda: revision(base),
        "python": python,
        "environment": lambda: environment(base),
        "torch": torch,
        "packages": lambda: packages(base),
        "extras": lambda: extras(base),
        "assets": lambda: assets(base),
        "labs": lambda: scaffolds(base),
        "fork": fork,
        "bubblewrap": sandbox,
        "disk": lambda: disk(base),
        "progress": lambda: writable(base),
        "text": lambda: encoding(sys.stdout.encoding, sys.stdout.isatty()),
        "pipe": lambda: pipe(base),
    }
    for name, look in looks.items():
        try:
            finding = look()
        except Exception as e:  # whatever is broken here is what the page is for
            fix = "make lab" if isinstance(e, ImportError) else ""
            finding = Finding("bad", name, first_line(str(e)) or type(e).__name__, fix)
        yield finding


def first_line(text: str) -> str:
    return text.strip().split("\n")[0]


def system() -> Finding:
    words = f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores"
    return Finding("ok", "system", words)


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


IMPORTS = """
import importlib, sys
from importlib import metadata

modules = {}
for module, owners in metadata.packages_distributions().items():
    for owner in owners:
        modules.setdefault(owner.lower().replace("_", "-"), []).append(module)
for name in sys.argv[1:]:
    own = sorted(modules.get(name, [name]), key=lambda m: (m != name, m.startswith("_"), m))  # scikit-learn: sklearn
    print(name, flush=True)
    try:
        importlib.import_module(own[0])
    except Exception as e:
        sys.exit(f"{type(e).__name__}: {e}".splitlines()[0])
"""


def packages(base: Path) -> Finding:
    """What pyproject.toml asks for against what is installed and can be imported."""
    from packaging.requirements import Requirement

    try:
        project = tomllib.loads((base / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = [Requirement(line) for line in project["dependencies"]]
    except (OSError, ValueError, KeyError) as e:
        words = f"pyproject.toml cannot be read ({type(e).__name__})"
        return Finding("bad", "packages", words, "git checkout pyproject.toml")
    if wrong := [words for asked in wanted if (words := unmet(asked))]:
        return Finding("bad", "packages", "; ".join(wrong), "make lab")
    here = [asked for asked in wanted if asked.marker is None or asked.marker.evaluate()]
    names = [asked.name.lower().replace("_", "-") for asked in here if asked.name != "torch"]  # it has its own finding
    code, out = run(sys.executable, "-P", "-c", IMPORTS, *names)
    if code:
        tried = [line for line in out.splitlines() if line in names]
        error = next((line for line in reversed(out.splitlines()) if line not in names), f"exit code {code}")
        words = f"{tried[-1]} cannot be imported: {error}" if tried else error
        return Finding("bad", "packages", words, "rm -rf .venv && make lab")
    return Finding("ok", "packages", f"all {len(here)} of pyproject.toml, in the versions it asks for")


def unmet(asked: Requirement) -> str:
    """Why this requirement is not met here; "" when it is, or when its marker says that it is not for this machine."""
    if asked.marker and not asked.marker.evaluate():
        return ""
    try:
        version = metadata.version(asked.name)
    except metadata.PackageNotFoundError:
        return f"{asked.name} is missing"
    if asked.specifier.contains(version, prereleases=True):
        return ""
    return f"{asked.name} is {version}, {asked.specifier} is asked for"


def extras(base: Path) -> Finding:
    """What single labs need beyond that."""
    short = [lab for lab in catalog.labs(base) if lab.missing_extras]
    if not short:
        return Finding("ok", "extras", "no lab asks for a package that is not here")
    missing = sorted({name for lab in short for name in lab.missing_extras})
    words = f"{', '.join(missing)} missing: no lab {', '.join(lab.id for lab in short)}"
    return Finding("note", "extras", words, f"pip install {' '.join(missing)}")


def assets(base: Path) -> Finding:
    """What the labs' models and texts are, from the library's own list."""
    code, out = run(sys.executable, "-m", "llmcore.assets", "list", "--json", cwd=base)
    if code:
        return Finding("note", "assets", f"cannot be listed: {(out.splitlines() or ['no answer'])[-1]}", "make lab")
    listed = json.loads(out)["assets"]
    if missing := [row["name"] for row in listed if not row["cached"]]:
        fix = f"lab assets fetch {' '.join(missing)}"
        return Finding("note", "assets", f"not in the cache: {', '.join(missing)}; labs that use them say so", fix)
    return Finding("ok", "assets", f"all {len(listed)} are in the cache")


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
    except (LabError, scaffold.AuthorError) as e:
        return Finding("bad", "labs", first_line(str(e)), "git status")
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
    """Checks the first task of a real solution, as a learner's check does."""
    lab = next((lab for lab in catalog.labs(base) if not lab.missing_extras), None)
    if lab is None:
        return Finding("note", "pipe", "there is no lab to try")
    given = [] if lab.closed else ["--solution"]  # in a course's repository, that lab.py runs is all there is to see
    check = ("check", lab.id, *given, "--task", lab.tasks[0].name)
    code, out = run(sys.executable, "-P", "-m", "labkit.cli", *check, "--json", cwd=base)
    if not out.startswith("{"):
        error = (out.splitlines() or [f"exit code {code}"])[-1]
        return Finding("bad", "pipe", f"a lab cannot be run: {error}", "make lab")
    result, _ = json.JSONDecoder().raw_decode(out)
    task = result["tasks"][0]
    words = f"the {'lab.py' if lab.closed else 'solution'} of {lab.id} {task['task']}: {task['tests_passed']} of {task['tests']} tests"
    if result["passed"] or lab.closed:
        return Finding("ok", "pipe", words)
    why = first_line(task["note"] or (result["failure"] or {}).get("got", "")) or task["status"]
    fix = "make lab" if "not installed" in why or "ImportError" in why else f"lab {' '.join(check)}"
    return Finding("bad", "pipe", f"{words} ({why})", fix)


def private(text: str) -> str:
    """Without what names a person: the home folder reads ~, and so does the user's name in other paths."""
    home = str(Path.home())
    if len(home) > 1:
        text = text.replace(home, "~")
    return re.sub(r"/(?:home|Users)/[^/\s]+", "~", text)


def main(base: Path, as_json: bool) -> int:
    """`lab doctor`: 0 when nothing is in the way, else 1."""
    paint, findings = Paint(sys.stdout), []
    for finding in examine(base):
        words, fix = (private(text.replace(f"{base}{os.sep}", "")) for text in (finding.words, finding.fix))
        findings.append(replace(finding, words=words, fix=fix))
        if not as_json:
            remedy = paint.bold(f"   → {fix}") if fix and finding.level != "ok" else ""
            print(f"{paint.symbol(SYMBOLS[finding.level])} {finding.name:12} {words}{remedy}", flush=True)
    bad = sum(finding.level == "bad" for finding in findings)
    if as_json:
        print(json.dumps({"schema": 1, "ok": not bad, "findings": [asdict(finding) for finding in findings]}, indent=1))
    elif bad:
        print(f"\n{bad} {'finding is' if bad == 1 else 'findings are'} in the way of a lab.")
    else:
        print("\nEverything that labs need is in order.")
    return 1 if bad else 0
