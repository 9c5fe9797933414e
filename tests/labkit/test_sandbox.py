"""The sandbox of graded labs: which places it takes away, and what a program in it really sees."""

import json
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

from labkit import jail, remote, sandbox
from labkit.kitchen import Kitchen

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(sysconfig.get_path("purelib"))
walls = pytest.mark.skipif(bool(sandbox.trouble()), reason=f"needs bubblewrap: {sandbox.trouble()}")


@pytest.mark.parametrize(
    "name",
    [
        "torch", "torch.nn.functional.scaled_dot_product_attention", "labkit.runner",
        "math.ldexp", "json", "os.path", "re",
        "no_such_package_anywhere", "no_such.thing", "pytest.raises",
    ],
)  # fmt: skip
def test_nothing_is_taken_away_for_functions_torch_and_the_standard_library(name):
    assert sandbox.places(name) == []


def test_a_package_a_submodule_and_a_module_of_one_file(tmp_path, monkeypatch):
    for name in ("pack/__init__.py", "pack/inner/__init__.py", "pack/single.py", "alone.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert sandbox.places("pack") == [tmp_path / "pack"]
    assert sandbox.places("pack.inner") == [tmp_path / "pack" / "inner"]
    assert sandbox.places("pack.single") == [tmp_path / "pack" / "single.py"]
    assert sandbox.places("pack.function") == []
    assert sandbox.places("alone") == [tmp_path / "alone.py"]
    assert sandbox.places("alone.function") == []  # a function of a module does not cost the module


def test_the_environment_holds_nothing_of_the_grader_s(monkeypatch):
    monkeypatch.setenv("LAB_SECRET", "a key")
    monkeypatch.setenv("LLM_ASSETS", "relative/assets")
    kept = sandbox.environment()
    assert "LAB_SECRET" not in kept
    assert kept["LLM_ASSETS"] == str(Path.cwd() / "relative/assets")
    assert kept["HOME"] == "/nonexistent"
    monkeypatch.delenv("LLM_ASSETS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert sandbox.assets() == Path("/some/cache/llm-engineer/assets")


@pytest.fixture
def asked_anew():
    sandbox.trouble.cache_clear()
    yield
    sandbox.trouble.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_what_stands_in_the_way_of_bubblewrap_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux only" in sandbox.trouble()
    monkeypatch.setattr(sys, "platform", "linux")
    sandbox.trouble.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sandbox.trouble().startswith("bubblewrap is not installed")
    sandbox.trouble.cache_clear()
    (tmp_path / "bwrap").write_text(
        f"#!{shutil.which('sh', path='/bin:/usr/bin')}\necho first >&2\necho no map >&2\nexit 1\n"
    )
    (tmp_path / "bwrap").chmod(0o755)
    assert "does not work here (no map)" in sandbox.trouble()
    assert "\n" not in sandbox.trouble()


# ---- seen from within


def inside(source: str, hidden: tuple[str, ...] = (), **more: object) -> object:
    """What a program in the sandbox prints, as JSON."""
    command = sandbox.command(hidden, [sys.executable, "-P", "-c", textwrap.dedent(source)])
    run = subprocess.run(command, env=sandbox.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@walls
def test_labs_homes_and_the_grader_s_environment_are_not_there(monkeypatch):
    monkeypatch.setenv("LAB_SECRET", "a key")
    home = Path.home()
    seen = inside(f"""
    import json, os
    project = {str(ROOT)!r}
    print(json.dumps({{
        "project": sorted(os.listdir(project)),
        "home": os.listdir(home) if os.path.isdir(home := {str(home)!r}) else [],
        "etc": sorted(os.listdir("/etc")),
        "secrets": [v for v in os.environ.values() if "a key" in v],
        "others": [int(p) for p in os.listdir("/proc") if p.isdigit()],
        "me": os.getpid(),
        "host": os.uname().nodename,
        "tmp": os.listdir("/tmp"),
    }}))
    """)
    assert {"phases", "tests", ".git", "Makefile", "instructors"}.isdisjoint(seen["project"])
    assert {"labkit", "llmcore"} <= {*seen["project"]}
    ways = {
        p.relative_to(home).parts[0] for p in sandbox._needed() if p.is_relative_to(home)
    }  # a Python may live there
    assert {*seen["home"]} <= ways
    assert {"passwd", "shadow", "hosts"}.isdisjoint(seen["etc"])
    assert seen["secrets"] == []
    assert (seen["others"], seen["me"]) == ([1], 1)
    assert seen["host"] == "lab"
    assert {*seen["tmp"]} <= {
        p.parts[2] for p in sandbox._needed() if p.parts[1] == "tmp"
    }  # the project may live there


@walls
def test_nothing_can_be_written_but_the_temporary_folder():
    seen = inside(f"""
    import errno, json, sys
    def write(path):
        try:
            with open(path, "w") as f:
                f.write("x")
        except OSError as e:
            return errno.errorcode[e.errno]
        return "written"
    where = ["/x", "/usr/x", "/dev/x", {str(ROOT / "labkit" / "x.py")!r}, {str(PACKAGES / "x.py")!r}, "/proc/sys/kernel/hostname",
             "/tmp/x"]
    print(json.dumps([write(p) for p in where]))
    """)
    assert seen[-1] == "written"
    assert {*seen[:-1]} <= {"EROFS", "EACCES", "EPERM"}
    assert not (ROOT / "labkit" / "x.py").exists()


@walls
def test_the_temporary_folder_is_small():
    seen = inside("""
    import json
    n = 0
    try:
        with open("/tmp/x", "wb", buffering=0) as f:
            while n < 1 << 30:
                n += f.write(bytes(1 << 20))
    except OSError as e:
        print(json.dumps([e.errno, n]))
    """)
    assert seen == [28, jail.FILE]


@walls
def test_there_is_no_network_not_even_the_machine_s_own():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as door:
        seen = inside(f"""
        import json, socket
        tried = []
        for where in (("127.0.0.1", {door.getsockname()[1]}), ("192.0.2.1", 80)):
            try:
                socket.create_connection(where, timeout=2).close()
                tried.append("connected")
            except OSError as e:
                tried.append("refused")
        print(json.dumps([tried, [name for _, name in socket.if_nameindex()]]))
        """)
    assert seen == [["refused", "refused"], ["lo"]]


@walls
def test_a_forbidden_package_is_not_there_and_the_others_are():
    source = """
    import importlib, json
    def there(name):
        try:
            return bool(importlib.import_module(name).__file__)
        except ImportError:
            return False
    print(json.dumps([there("yaml") or there("tqdm"), there("pluggy"), there("json")]))
    """
    assert inside(source, ("pluggy",)) == [True, False, True]
    assert inside(source) == [True, True, True]


# ---- one sandbox, many turns


@pytest.fixture
def turn(tmp_path):
    """turn(body) → what the body returned, in a box of the one sandboxed kitchen; and `turn.kitchen`."""
    with Kitchen([], fork=True, locked=True, hidden=[]) as kitchen:

        def take(body: str) -> object:
            path = tmp_path / "lab.py"
            path.write_text(
                "import os, threading, time\n\n\ndef answer():\n" + textwrap.indent(textwrap.dedent(body), "    ")
            )
            box = kitchen.box()
            try:
                box.load(path)
                return box.lab.answer()
            finally:
                box.close()

        take.kitchen = kitchen
        yield take


@walls
def test_a_turn_that_leaves_no_file_keeps_the_sandbox_and_one_that_does_is_the_last(turn):
    first = turn.kitchen._server.pid
    assert turn("return 1") == 1
    assert turn("open('/tmp/mine', 'w').close(); os.unlink('/tmp/mine'); return 2") == 2
    assert turn.kitchen._server.pid == first
    assert turn("open('/tmp/mine', 'w').close(); return os.path.exists('/tmp/mine')") is True
    assert turn.kitchen._server.pid != first
    assert turn("return os.path.exists('/tmp/mine')") is False
    second = turn.kitchen._server.pid
    assert turn("os.mkdir('/tmp/.hidden'); return 3") == 3
    assert turn.kitchen._server.pid != second


@walls
def test_a_turn_that_ends_itself_costs_the_next_one_nothing(turn):
    first = turn.kitchen._server.pid
    try:
        turn("os._exit(3)")
        outcome = "answered"
    except remote.Failed as e:
        outcome = e.text
    assert outcome == "the process ended itself with exit status 3"
    assert turn("return 1") == 1
    assert turn.kitchen._server.pid == first


@walls
def test_a_thread_that_never_ends_does_not_outlive_its_turn(turn):
    assert turn("threading.Thread(target=time.sleep, args=(999,)).start(); return 1") == 1
    assert (
        turn("return [int(p) for p in os.listdir('/proc') if p.isdigit() and p not in ('1', str(os.getpid()))]") == []
    )


@walls
def test_the_sandbox_ends_with_its_kitchen():
    with Kitchen([], fork=True, locked=True, hidden=[]) as kitchen:
        kitchen.box().close()
        server = kitchen._server
        assert server.poll() is None
    assert server.poll() is not None
