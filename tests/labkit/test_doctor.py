"""`lab doctor`: each finding on a machine where it is so, and on one where it is not."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import write
from packaging.requirements import Requirement

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
    assert out.endswith("\n1 finding is in the way of a lab.\n")
    monkeypatch.setattr(doctor, "examine", lambda base: iter([rows[2], rows[2]]))
    assert doctor.main(ROOT, as_json=False) == 1
    assert capsys.readouterr().out.endswith("\n2 findings are in the way of a lab.\n")
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
        ("0.5", "x>=1; python_version<'3'", True),
        ("0.5", "x>=1; python_version>'3'", False),
        (None, "x>=1; sys_platform=='no-such-system'", True),
        ("2.0rc1", "x>=2.0", False),
        ("2.1rc1", "x>=2.0", True),
        ("1.0", "x==1.*", True),
        ("2.0", "x==1.*", False),
        (None, "x>=1", False),
    ],
)
def test_requirements(monkeypatch, have, requirement, met):
    def version(name: str) -> str:
        if have is None:
            raise metadata.PackageNotFoundError(name)
        return have

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert (doctor.unmet(Requirement(requirement)) == "") is met


def test_packages_that_do_not_fit_are_named(lab, tmp_path):
    write(tmp_path / "pyproject.toml", '[project]\ndependencies = ["pytest>=99", "no-such-thing", "pytest"]\n')
    found = doctor.packages(tmp_path)
    assert found.level == "bad"
    assert "pytest>=99" not in found.words
    assert ">=99 is asked for" in found.words
    assert "no-such-thing is missing" in found.words
    write(tmp_path / "pyproject.toml", '[project]\ndependencies = ["pytest"]\n')
    toml = lab.file("lab.toml")
    toml.write_text(toml.read_text().replace("extras = []", 'extras = ["no_such_package"]'))
    extras = doctor.extras(tmp_path)
    assert (doctor.packages(tmp_path).level, extras.level) == ("ok", "note")
    assert (extras.fix, "no lab 99.1" in extras.words) == ("pip install no_such_package", True)
    toml.write_text(toml.read_text().replace("no_such_package", "json"))
    assert doctor.extras(tmp_path).level == "ok"


@pytest.mark.parametrize("text", ["[project", "[project]\n", '[project]\ndependencies = ["no requirement"]\n'])
def test_a_list_of_packages_that_cannot_be_read(tmp_path, text):
    write(tmp_path / "pyproject.toml", text)
    found = doctor.packages(tmp_path)
    assert (found.level, found.fix) == ("bad", "git checkout pyproject.toml")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise ImportError('half of it\\nis gone')", "broken-one cannot be imported: ImportError: half of it"),
        ("import os; os._exit(7)", "broken-one cannot be imported: exit code 7"),
        ("", ""),
    ],
)
def test_a_package_that_is_listed_but_cannot_be_imported(tmp_path, monkeypatch, source, says):
    site = tmp_path / "site"
    write(site / "broken_module.py", source)
    write(site / "broken_one-1.2.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: broken-one\nVersion: 1.2\n")
    write(site / "broken_one-1.2.dist-info" / "top_level.txt", "broken_module\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(str(site))
    write(tmp_path / "pyproject.toml", '[project]\ndependencies = ["packaging", "Broken_One>=1"]\n')
    found = doctor.packages(tmp_path)
    assert (found.level, found.words) == (("bad", says) if says else ("ok", found.words))


def test_a_finding_that_cannot_be_made_is_one_and_the_others_are_made(lab, tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'x'\nsecond line")

    monkeypatch.setattr(doctor, "torch", broken)
    monkeypatch.setattr(doctor, "disk", lambda base: 1 / 0)
    (tmp_path / ".lab").write_text("a file where the folder should be")
    write(tmp_path / "pyproject.toml", '[project]\ndependencies = ["pytest"]\n')
    found = {f.name: f for f in doctor.examine(tmp_path)}
    assert found["torch"] == Finding("bad", "torch", "No module named 'x'", "make lab")
    assert found["disk"] == Finding("bad", "disk", "division by zero")
    assert [found[name].level for name in ("progress", "packages", "text")] == ["bad", "ok", found["text"].level]
    assert [*found][-1] == "pipe"


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


def listed(**cached: bool) -> str:
    return json.dumps(
        {"cache": "here", "assets": [{"name": name, "cached": is_here} for name, is_here in cached.items()]}
    )


@pytest.mark.parametrize(
    ("code", "out", "level", "says"),
    [
        (0, listed(a=True, b=True), "ok", "all 2"),
        (0, listed(a=True, b=False), "note", "not in the cache: b"),
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
    assert (found.level, found.fix) == ("bad", "lab check 99.1 --solution --task double")
    assert "exit status 3" in found.words
    lab.file("solution.py").write_text("import no_such_package\n")
    found = doctor.pipe(tmp_path)
    assert (found.level, found.fix, "\n" in found.words) == ("bad", "make lab", False)
    assert "no_such_package" in found.words


@pytest.mark.parametrize("line", ["import no_such_package", "import os; os._exit(3)", "1 / 0"])
def test_a_spec_that_cannot_be_loaded_ends_a_process_of_its_own(lab, tmp_path, line):
    lab.file("test_lab.py").write_text(line + "\n")
    found = doctor.pipe(tmp_path)
    assert (found.level, found.fix, "\n" in found.words) == ("bad", "make lab", False)
    assert found.words.startswith("a lab cannot be run: ")


def test_without_a_lab_there_is_no_pipe_to_try(tmp_path):
    assert doctor.pipe(tmp_path).level == "note"


def test_a_copy_without_git(tmp_path):
    assert doctor.revision(tmp_path).level == "note"


def test_commands_that_are_missing_or_hang_are_told_apart(monkeypatch):
    assert doctor.run("no-such-command-at-all")[0] == 127
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    assert doctor.run(sys.executable, "-c", "import time; time.sleep(30)")[0] == 124
    monkeypatch.setattr(doctor, "SECONDS", 60)
    code, out = doctor.run(sys.executable, "-c", "import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)")
    assert (code, out.split()) == (3, ["a", "b"])
