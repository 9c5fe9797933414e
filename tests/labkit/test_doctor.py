"""`lab doctor`: each finding on a machine where it is so, and on one where it is not."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import write

from labkit import doctor
from labkit.doctor import Finding

ROOT = Path(__file__).resolve().parents[2]
LAB = str(Path(sys.executable).with_name("lab"))


def test_here_all_is_described_and_nothing_is_in_the_way():
    done = subprocess.run([LAB, "doctor", "--json"], capture_output=True, text=True, check=False, cwd=ROOT)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (0, True), found
    names = [f["name"] for f in found["findings"]]
    wanted = ["system", "version", "python", "environment", "torch", "packages", "assets", "labs", "fork", "bubblewrap"]
    assert set(wanted + ["disk", "progress", "text", "pipe"]) <= set(names)
    assert str(Path.home()) not in done.stdout.replace("\\/", "/") or str(Path.home()) == "/"
    pipe = next(f for f in found["findings"] if f["name"] == "pipe")
    assert "tests" in pipe["words"]


def test_one_thing_in_the_way_makes_exit_code_1_and_shows_its_remedy(monkeypatch, capsys):
    rows = [
        Finding("ok", "a", "fine", "never shown"),
        Finding("note", "b", "so so", "do b"),
        Finding("bad", "c", "bad", "do c"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda base: iter(rows))
    assert doctor.main(ROOT, as_json=False) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[:3] == [
        "✓ a            fine",
        "! b            so so   → do b",
        "✗ c            bad   → do c",
    ]
    assert "1 in the way of a lab" in out
    monkeypatch.setattr(doctor, "examine", lambda base: iter(rows[:2]))
    assert doctor.main(ROOT, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


@pytest.mark.parametrize(
    ("text", "private"),
    [
        (f"/{'home'}/ada/x/y", "~/x/y"),
        (f"a wheel at /{'Users'}/ada lost", "a wheel at ~ lost"),
        ("no /usr/lib here", "no /usr/lib here"),
    ],
)
def test_no_name_of_a_person_is_told(text, private, monkeypatch):
    monkeypatch.setenv("HOME", "/srv/people/grace")
    assert doctor.private(text) == private
    assert doctor.private("in /srv/people/grace/code") == "in ~/code"


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 11, 0), "ok"), ((3, 13, 2), "ok"), ((3, 10, 9), "bad"), ((3, 14, 0), "bad")],
)
def test_pythons(version, level):
    assert doctor.python(version).level == level


@pytest.mark.parametrize(
    ("prefix", "base_prefix", "level", "says"),
    [(".venv", "/usr", "ok", ".venv"), ("other", "/usr", "note", "another one"), ("/usr", "/usr", "note", "system's")],
)
def test_environments(tmp_path, monkeypatch, prefix, base_prefix, level, says):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / prefix))
    monkeypatch.setattr(sys, "base_prefix", base_prefix)
    found = doctor.environment(tmp_path)
    assert (found.level, says in found.words) == (level, True)


@pytest.mark.parametrize(
    ("have", "requirement", "met"),
    [
        ("2.2", "numpy>=2.2,<3", True),
        ("2.10.1", "numpy>=2.2,<3", True),
        ("3.0", "numpy>=2.2,<3", False),
        ("2.1.9", "numpy>=2.2", False),
        ("2.13.0+cpu", "torch==2.13.0", True),
        ("2.13", "torch==2.13.0", True),
        ("2.13.1", "torch==2.13.0", False),
        ("1.4.7", "x~=1.4.2", True),
        ("1.5.0", "x~=1.4.2", False),
        ("1.0", "x!=1.0", False),
        ("1.0", "x", True),
        ("1.0", "x[extra]>0.9; python_version>'3'", True),
        ("1.0", "x>1.0", False),
        ("1.0", "x<=0.9", False),
        (None, "x>=1", False),
    ],
)
def test_requirements(monkeypatch, have, requirement, met):
    def version(name: str) -> str:
        if have is None:
            raise metadata.PackageNotFoundError(name)
        return have

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert (doctor.unmet(requirement) == "") is met


def test_packages_that_do_not_fit_are_named(lab, tmp_path):
    write(tmp_path / "pyproject.toml", '[project]\ndependencies = ["pytest>=99", "no-such-thing", "pytest"]\n')
    (found,) = doctor.packages(tmp_path)
    assert found.level == "bad"
    assert "pytest>=99" not in found.words
    assert ">=99 is asked for" in found.words
    assert "no-such-thing is missing" in found.words
    write(tmp_path / "pyproject.toml", '[project]\ndependencies = ["pytest"]\n')
    toml = lab.file("lab.toml")
    toml.write_text(toml.read_text().replace("extras = []", 'extras = ["no_such_package"]'))
    first, second = doctor.packages(tmp_path)
    assert (first.level, second.level, second.fix) == ("ok", "note", "pip install no_such_package")
    write(tmp_path / "pyproject.toml", "[project")
    assert [f.level for f in doctor.packages(tmp_path)] == ["bad"]


def answer(monkeypatch: pytest.MonkeyPatch, code: int, out: str) -> None:
    monkeypatch.setattr(doctor, "run", lambda *command, cwd=None: (code, out))


@pytest.mark.parametrize(
    ("code", "out", "level", "says"),
    [
        (0, 'warning\n["2.13", "H200", false, 8, [[5, 14], [14, 50]]]', "ok", "2.13, GPU H200, 8 threads"),
        (0, '["2.13", "", true, 1, [[5, 14], [14, 50]]]', "ok", "2.13, Apple GPU (MPS), 1 thread"),
        (0, '["2.13", "", false, 2, [[5, 14], [14, 50.5]]]', "bad", "multiplies wrongly"),
        (1, "Traceback\nModuleNotFoundError: No module named 'torch'", "bad", "No module named 'torch'"),
        (-11, "", "bad", "exit code -11"),
        (124, "no answer within 60 s", "bad", "no answer within 60 s"),
    ],
)
def test_torch(monkeypatch, code, out, level, says):
    answer(monkeypatch, code, out)
    found = doctor.torch()
    assert (found.level, says in found.words) == (level, True)


LIST = "NAME  SIZE  LICENCE  CACHED  WHAT\na     1 MB  MIT      yes     x\nb     1 MB  MIT      {}     yes, it is\n\ncache: here"


@pytest.mark.parametrize(
    ("code", "out", "level", "says"),
    [
        (0, LIST.format("yes"), "ok", "all 2"),
        (0, LIST.format("no "), "note", "not in the cache: b"),
        (0, "something else", "note", "not as expected"),
        (1, "Traceback\nBroken", "note", "Broken"),
    ],
)
def test_assets(monkeypatch, tmp_path, code, out, level, says):
    answer(monkeypatch, code, out)
    found = doctor.assets(tmp_path)
    assert (found.level, says in found.words) == (level, True)
    assert (found.fix == "lab assets fetch b") is ("cache: b" in found.words)


def test_lab_files(lab, tmp_path):
    assert doctor.scaffolds(tmp_path).level == "ok"
    solution, scaffolded = lab.file("solution.py"), lab.file("lab.py").read_text()
    lab.file("lab.py").write_text(scaffolded + "# mine\n")
    assert doctor.scaffolds(tmp_path).words.startswith("begun: 99.1")
    lab.file("lab.py").write_text(scaffolded)
    subprocess.run([LAB, "next"], check=True, capture_output=True)  # now it is known which scaffold was given out
    solution.write_text(solution.read_text().replace("twice x", "two times x"))
    stale = doctor.scaffolds(tmp_path)
    assert (stale.level, stale.fix) == ("note", "lab update")
    lab.file("lab.py").unlink()
    gone = doctor.scaffolds(tmp_path)
    assert (gone.level, gone.fix) == ("bad", "lab reset 99.1")
    solution.write_text("def f(:\n")
    assert doctor.scaffolds(tmp_path).level == "bad"


@pytest.mark.parametrize(("system", "level"), [("linux", "ok"), ("darwin", "note"), ("win32", "note")])
def test_fork(system, level):
    assert doctor.fork(system).level == level


def test_bubblewrap(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.sandbox().fix == "apt install bubblewrap"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/bwrap")
    answer(monkeypatch, 1, "bwrap: No permissions")
    assert "No permissions" in doctor.sandbox().words
    answer(monkeypatch, 0, "")
    assert doctor.sandbox().level == "ok"


@pytest.mark.parametrize(("free", "level"), [(5e9, "ok"), (0.9e9, "note")])
def test_disk(monkeypatch, tmp_path, free, level):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert doctor.disk(tmp_path).level == level


def test_a_folder_for_progress_that_cannot_be_made(tmp_path):
    assert doctor.writable(tmp_path).level == "ok"
    (tmp_path / ".lab").rmdir()
    (tmp_path / ".lab").write_text("a file in its place")
    assert doctor.writable(tmp_path).level == "bad"


@pytest.mark.parametrize(
    ("name", "level"), [("utf-8", "ok"), ("ascii", "note"), ("latin-1", "note"), (None, "note"), ("no-such", "note")]
)
def test_encodings(name, level):
    assert doctor.encoding(name, terminal=False).level == level


def test_the_pipe_is_really_tried(lab, tmp_path):
    found = doctor.pipe(tmp_path)
    assert (found.level, found.words) == ("ok", "the solution of 99.1 double: 1 of 1 tests")
    lab.file("solution.py").write_text("import os\nos._exit(3)\n")
    found = doctor.pipe(tmp_path)
    assert (found.level, found.fix) == ("bad", "lab check 99.1 --solution")
    assert "exit status 3" in found.words


def test_a_copy_without_git(tmp_path):
    assert doctor.revision(tmp_path).level == "note"


def test_commands_that_are_missing_or_hang_are_told_apart(monkeypatch):
    assert doctor.run("no-such-command-at-all")[0] == 127
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    assert doctor.run(sys.executable, "-c", "import time; time.sleep(30)")[0] == 124
    monkeypatch.setattr(doctor, "SECONDS", 60)
    code, out = doctor.run(sys.executable, "-c", "import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)")
    assert (code, out.split()) == (3, ["a", "b"])
