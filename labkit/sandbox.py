"""Where a graded lab's process runs: in bubblewrap, which shows it a system of its own.

Inside there is no network and no other process; the system and the packages can be read, nothing can be written but a
small temporary folder; of the project there are `labkit` and `llmcore`, and not the labs with their answers, nor the
packages that the lab forbids, nor anybody's home.  One sandbox serves many turns, one after the other, because importing
torch takes seconds: `labkit.child` ends what a turn leaves running, and a turn that leaves files behind is the last.

Where bubblewrap is missing, `LIMITS` says what is then not guaranteed.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from labkit import jail

LIMITS = (
    "bubblewrap is not used, so submissions run with limits on CPU, memory, file size and time only: they can read what "
    "you can read, the answers included, and write where you can write."
)
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi")
ETC = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/alternatives", "/etc/localtime")


@functools.cache
def trouble() -> str:
    """Why bubblewrap cannot be used here, in a sentence; "" when it can."""
    if sys.platform != "linux":
        return "bubblewrap exists for Linux only"
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap is not installed: apt install bubblewrap (or dnf, pacman, zypper)"
    try:
        command = [program, *_walls(), "--ro-bind", "/", "/", "--proc", "/proc", "true"]
        tried = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"bubblewrap does not start here: {e}"
    if tried.returncode:
        why = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"bubblewrap does not work here ({why}); in a container it needs user namespaces"
    return ""


def command(hidden: Iterable[str], inner: list[str]) -> list[str]:
    """The command that runs `inner` in a sandbox.  `hidden`: dotted names of packages that are not to be there."""
    program = shutil.which("bwrap")
    assert program is not None
    gone = [str(p) for name in hidden for p in places(name)]
    words = [program, *_walls(), "--as-pid-1"]  # bubblewrap itself stays outside, where nothing can reach it
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            words += ["--ro-bind", str(path), str(path)]
    words += ["--proc", "/proc"]
    for part in KERNEL:  # for a grader who is root, as in most containers, these would be the whole machine's
        words += ["--ro-bind-try", part, part]
    words += ["--dev", "/dev", "--remount-ro", "/dev"]
    words += ["--size", str(jail.FILE), "--perms", "0700", "--tmpfs", "/tmp"]
    for path in map(Path, ETC):
        words += ["--ro-bind-try", str(path), str(path)]
    for path in _needed():
        if not any(str(path).startswith(g + os.sep) or str(path) == g for g in gone):
            words += ["--ro-bind-try", str(path), str(path)]
    for g in gone:
        words += ["--tmpfs", g, "--remount-ro", g] if os.path.isdir(g) else ["--ro-bind", os.devnull, g]
    return [*words, "--remount-ro", "/", "--chdir", "/tmp", *inner]


def places(name: str) -> list[Path]:
    """The folder or file of an installed package or module; none for a function, for torch and for Python's own."""
    top, *rest = name.split(".")
    if top in ("torch", "labkit") or top in sys.stdlib_module_names:
        return []
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if not spec.submodule_search_locations:
        return [Path(spec.origin)] if spec.origin and not rest and Path(spec.origin).is_file() else []
    found = []
    for base in spec.submodule_search_locations:
        inside = Path(base).joinpath(*rest)
        found += [p for p in (inside, inside.with_suffix(".py")) if p.exists()]
    return found


def _walls() -> list[str]:
    return ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "lab"]


def environment() -> dict[str, str]:
    """What the sandbox is started with.  Nothing of the grader's own environment: it may hold keys."""
    kept = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    return kept | {"LLM_ASSETS": str(assets())}


def assets() -> Path:
    """The folder of models and texts, as llmcore.assets finds it: some labs read them."""
    if own := os.environ.get("LLM_ASSETS"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "llm-engineer" / "assets"


def _needed() -> list[Path]:
    """Python, its packages, and of the project the two packages alone."""
    project = Path(__file__).resolve().parent.parent
    found = [Path(p) for p in dict.fromkeys((sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib")))]
    executable = Path(sys.executable).resolve()
    found += [] if executable.is_relative_to("/usr") else [executable.parent]
    found = [p for p in found if str(p) not in ("/", "/usr") and not project.is_relative_to(p)]
    return [*found, project / "labkit", project / "llmcore", assets()]
