"""`lab grade` from end to end, on a small class of a tiny lab."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_lab import RIGHT, repository, written

from labkit import cli, remote, sandbox
from labkit.catalog import LabError
from labkit.grading import grade, pool, work
from labkit.grading.grade import Request

LOOP = b"while True:\n    pass\n"


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A repository with the tiny lab, where the test stands."""
    repository(tmp_path / "course")
    monkeypatch.chdir(tmp_path / "course")
    monkeypatch.setattr(remote, "CALL", 1.0)  # what runs in this process; a pool's processes have their own
    return tmp_path / "course"


@pytest.fixture
def here(monkeypatch):
    """Jobs are judged in this process, and counted."""
    judged = []

    def answers(jobs, hands, cache=None, walls=""):
        with work.Worker(cache, walls) as worker:
            for job in jobs:
                if job.data != (Path(job.folder) / "solution.py").read_bytes():  # that is the rehearsal
                    judged.append(job)
                yield job, *worker.judge(job), ""

    monkeypatch.setattr(pool, "judged", answers)
    return judged


@pytest.fixture
def no_walls(monkeypatch):
    monkeypatch.setattr(sandbox, "trouble", lambda: "bubblewrap is not installed: apt install bubblewrap")


@pytest.fixture
def lab(base):
    from labkit import catalog

    return catalog.find(base, "99.1")


def class_of(lab, folder, **files):
    for student, data in files.items():
        path = folder / student / "lab-01-y" / "lab.py"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return folder


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [*csv.DictReader(file)]


def result(out, student):
    return json.loads((out / "students" / student / "result.json").read_text(encoding="utf-8"))


def tiny_class(lab, tmp_path):
    roster = tmp_path / "roster.csv"
    roster.write_text(
        "id,name,email\n"
        + "".join(f"{n},{n.title()} X,{n}@x.org\n" for n in ("ada", "bao", "eve", "lou", "max", "nix"))
    )
    source = class_of(
        lab, tmp_path / "week",
        ada=written(lab, **RIGHT), bao=written(lab, double="x * x", negate="-x"), eve=b"def double(:\n", lou=LOOP,
        max=written(lab), zoe=written(lab, **RIGHT, ),
    )  # fmt: skip
    return source, roster


def test_a_small_class(base, lab, tmp_path, here, no_walls, capsys):
    source, roster = tiny_class(lab, tmp_path)
    out = tmp_path / "out"
    assert grade.main(base, Request(source, out, roster=roster, salt="s")) == 1  # zoe is not on the roster
    said = capsys.readouterr()
    assert sandbox.LIMITS in said.err
    assert "not-on-roster" in said.out
    assert len(here) == 4  # two handed in the same bytes, and one nothing new
    marks = {(m["student"], m["lab"]): m for m in json.loads((out / "gradebook.json").read_text())["marks"]}
    assert {s: m["awarded"] for (s, _), m in marks.items() if s in ("ada", "bao", "eve", "lou", "max", "nix")} == {
        "ada": 9.0, "bao": 4.0, "eve": 0.0, "lou": 0.0, "max": 0.0, "nix": 0.0,
    }  # fmt: skip
    for name in ("report.html", "gradebook-canvas.csv", "gradebook-moodle.csv", "index.json", "run.json"):
        assert (out / name).stat().st_size > 20
    assert len(rows(out / "gradebook-moodle.csv")) >= 6
    for student in ("ada", "bao", "eve", "lou", "max", "nix"):
        assert {"page.html", "result.json", "junit.xml", "results.json"} <= {
            p.name for p in (out / "students" / student).iterdir()
        }
    tasks = {s: {t["task"]: t for t in result(out, s)["verdicts"]["99.1"]["tasks"]} for s in ("bao", "eve", "lou")}
    assert tasks["bao"]["double"]["mistake"] == "99.1/squares"
    assert "SyntaxError" in tasks["eve"]["double"]["note"]
    assert tasks["lou"]["double"]["status"] == "slow"
    assert marks["max", "99.1"]["status"] != "graded"
    assert "1 untouched" in said.out
    assert {p.suffix for p in (out / "verdicts").iterdir()} == {".json", ".obs"}
    assert not [*out.rglob("*.part")]


def test_resume_grades_only_what_is_new_and_what_was_cut_off(base, lab, tmp_path, here, no_walls, capsys):
    files = {f"s{i}": written(lab, negate=str(i)) for i in range(4)}
    source, out = class_of(lab, tmp_path / "week", **files), tmp_path / "out"
    assert grade.main(base, Request(source, out)) == 0
    assert len(here) == 4
    with pytest.raises(LabError, match="--resume"):
        grade.main(base, Request(source, out))
    with pytest.raises(LabError, match="another --seed-salt"):
        grade.main(base, Request(source, out, salt="mine", resume=True))
    here.clear()
    gradebook = (out / "gradebook-canvas.csv").read_bytes()
    assert grade.main(base, Request(source, out, resume=True)) == 0
    assert here == []
    assert "4 verdicts were there already" in capsys.readouterr().out
    assert (out / "gradebook-canvas.csv").read_bytes() == gradebook
    cut = sorted((out / "verdicts").glob("*.json"))[0]
    cut.write_bytes(cut.read_bytes()[:-5])
    class_of(lab, source, new=written(lab, **RIGHT))
    assert grade.main(base, Request(source, out, resume=True)) == 0
    assert len(here) == 2
    assert result(out, "new")["verdicts"]["99.1"]["tasks"][0]["status"] == "passed"


def test_ctrl_c_in_the_middle_keeps_what_is_there(base, lab, tmp_path, here, no_walls, monkeypatch, capsys):
    files = {f"s{i}": written(lab, negate=str(i)) for i in range(4)}
    source, out = class_of(lab, tmp_path / "week", **files), tmp_path / "out"
    real = pool.judged

    def interrupted(*args):
        for n, answer in enumerate(real(*args)):
            if n == 2:
                raise KeyboardInterrupt
            yield answer

    with monkeypatch.context() as patch:
        patch.setattr(pool, "judged", interrupted)
        assert grade.main(base, Request(source, out)) == 130
    assert "stopped: 2 of 4 verdicts are kept in " in capsys.readouterr().err
    kept = {p: p.stat().st_mtime_ns for p in (out / "verdicts").glob("*.json")}
    assert len(kept) == 2
    here.clear()
    assert grade.main(base, Request(source, out, resume=True)) == 0
    assert len(here) == 2
    assert len([*(out / "verdicts").glob("*.json")]) == 4
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def marked(mark):
    """The processes that have these words in their command or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in words and int(folder.name) != os.getpid():
            found.append((int(folder.name), words[:200]))
    return found


def test_resume_with_the_export_of_another_week_is_refused(base, lab, tmp_path, here, no_walls):
    first = class_of(lab, tmp_path / "first", **{f"s{i}": written(lab, negate=str(i)) for i in range(5)})
    second = class_of(lab, tmp_path / "second", s0=written(lab, **RIGHT))
    out = tmp_path / "out"
    assert grade.main(base, Request(first, out)) == 0
    before = (out / "gradebook.json").read_bytes()
    with pytest.raises(LabError, match=r"did not come in this time \(s1: 99.1, s2: 99.1, s3: 99.1 and 1 more\)"):
        grade.main(base, Request(second, out, resume=True))
    assert (out / "gradebook.json").read_bytes() == before


def test_a_run_keeps_to_one_secret_of_variants(base, lab, tmp_path, here, no_walls):
    source = class_of(lab, tmp_path / "week", ada=written(lab, **RIGHT))
    for secret, other, says in (("", "x", "without --vary"), ("x", "", "with --vary"), ("x", "y", "another secret")):
        out = tmp_path / f"out-{secret}-{other}"
        assert grade.main(base, Request(source, out, vary_secret=secret)) == 0
        with pytest.raises(LabError, match=says):
            grade.main(base, Request(source, out, vary_secret=other, resume=True))
        assert grade.main(base, Request(source, out, vary_secret=secret, resume=True)) == 0
        assert secret not in json.loads((out / "run.json").read_text()).values() or not secret


def test_nobody_is_graded_where_the_solution_itself_fails(base, lab, tmp_path, here, no_walls, monkeypatch):
    source, out = class_of(lab, tmp_path / "week", ada=written(lab, **RIGHT)), tmp_path / "out"
    real = work.Worker.judge

    def without_a_package(self, job):
        lame = work.Job(job.lab, job.folder, b"import no_such_package_here\n" + job.data, job.salt, job.dials)
        return real(self, lame)

    monkeypatch.setattr(work.Worker, "judge", without_a_package)
    with pytest.raises(LabError, match="the solution of lab 99.1 itself fails double: .*no_such_package_here"):
        grade.main(base, Request(source, out))
    assert here == []
    assert not (out / "gradebook.json").exists()


def test_one_lab_of_a_policy_of_many(base, lab, tmp_path, here, no_walls):
    source, out = class_of(lab, tmp_path / "week", ada=written(lab, **RIGHT)), tmp_path / "out"
    course = tmp_path / "course.toml"
    course.write_text('[labs."99.1"]\n[labs."99.9"]\n')
    with pytest.raises(LabError, match="no lab 99.9"):
        grade.main(base, Request(source, out, policy=course, labs=["99.1"]))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_a_real_ctrl_c_ends_every_process_and_resume_goes_on(base, lab, tmp_path):
    files = {f"s{i}": f"import time\ntime.sleep({i})\n".encode() + written(lab, **RIGHT) for i in (0, 0.1, 5)}
    source, out = (
        class_of(lab, tmp_path / "week", **{n.replace(".", "_"): d for n, d in files.items()}),
        tmp_path / "out",
    )
    mark = str(tmp_path / "assets-of-this-test")  # every process is told this folder, the sandbox's too
    env = {**os.environ, "LLM_ASSETS": mark}
    command = [sys.executable, "-m", "labkit.cli", "grade", str(source), "--out", str(out), "--jobs", "1"]
    run = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    until = time.monotonic() + 60
    while not [*out.glob("verdicts/*.json")] and time.monotonic() < until:
        time.sleep(0.05)
    assert marked(mark)
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode != 0
    assert "Traceback" not in err
    until = time.monotonic() + 10
    while marked(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert marked(mark) == []
    kept = {p: p.stat().st_mtime_ns for p in out.glob("verdicts/*.json")}
    assert 0 < len(kept) < 3
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert len([*out.glob("verdicts/*.json")]) == 3


def test_gradescope_gets_its_file_and_exit_0(base, lab, tmp_path, here, no_walls, capsys):
    for name, data in {"right": written(lab, **RIGHT), "wrong": written(lab, negate="-x"), "broken": b"("}.items():
        source = tmp_path / name / "submission"
        source.mkdir(parents=True)
        (source / "lab.py").write_bytes(data)
        to = tmp_path / name / "results" / "results.json"
        command = [
            "grade",
            str(source),
            "--lab",
            "99.1",
            "--gradescope",
            str(to),
            "--out",
            str(tmp_path / name / "out"),
        ]
        assert cli.main(command) == 0
        got = json.loads(to.read_text())
        assert got["score"] == {"right": 9, "wrong": 4, "broken": 0}[name]
        assert [t["name"] for t in got["tests"]] == ["double", "quadruple", "negate"]
    assert "results.json" in capsys.readouterr().out


def test_gradescope_is_for_one_student_whatever_the_folders_are_called(base, lab, tmp_path, here, no_walls):
    source = class_of(lab, tmp_path / "week", a=b"x = 1", b=written(lab, **RIGHT))
    assert grade.main(base, Request(source, tmp_path / "out", gradescope=tmp_path / "r.json")) == 0
    assert len(here) == 1  # one lab, one student: one of the two files counts
    written_there = json.loads((tmp_path / "r.json").read_text())
    assert len(written_there["tests"]) == 3
    assert not (tmp_path / "out" / "students").exists()


def test_require_sandbox_refuses_in_one_line_before_anything_is_read(base, tmp_path, here, no_walls, capsys):
    assert cli.main(["grade", str(tmp_path / "nothing"), "--out", str(tmp_path / "out"), "--require-sandbox"]) == 2
    said = capsys.readouterr()
    assert said.err.strip().splitlines() == [said.err.strip()]
    assert "--require-sandbox: bubblewrap is not installed" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(bool(sandbox.trouble()), reason=f"needs bubblewrap: {sandbox.trouble()}")
def test_with_bubblewrap_it_says_so_and_the_answers_are_not_there(base, lab, tmp_path, here, capsys):
    steal = (
        f"from pathlib import Path\nTEXT = Path({str(lab.file('solution.py'))!r}).read_text()\nexec(TEXT)\n".encode()
    )
    source, out = class_of(lab, tmp_path / "week", eve=steal, ada=written(lab, **RIGHT)), tmp_path / "out"
    assert grade.main(base, Request(source, out, require_sandbox=True)) == 0
    said = capsys.readouterr()
    assert "(bubblewrap;" in said.out
    assert sandbox.LIMITS not in said.err
    eve, ada = (result(out, s)["verdicts"]["99.1"] for s in ("eve", "ada"))
    assert (eve["sandbox"], [t["earned"] for t in eve["tasks"]], [t["earned"] for t in ada["tasks"]]) == (
        "bubblewrap", [0, 0, 0], [2, 3, 4],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--out RESULTS"),
        (["--out", "{tmp}/out", "--jobs", "0"], "--jobs takes a number from 1 on"),
        (["--out", "{tmp}/out", "--lab", "7.7"], "There is no lab 7.7"),
        (["--out", "{tmp}/out", "--policy", "{tmp}/none.toml"], "cannot be read"),
        (["--out", "{tmp}/out", "--roster", "{tmp}/none.csv"], "none.csv"),
        (["--out", "{tmp}/week"], "is not empty and holds no results"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(base, lab, tmp_path, here, no_walls, capsys, words, says):
    source = class_of(lab, tmp_path / "week", a=written(lab))
    assert cli.main(["grade", str(source), *(w.format(tmp=tmp_path) for w in words)]) == 2
    err = capsys.readouterr().err.replace(sandbox.trouble() + ".\n", "").replace(sandbox.LIMITS + "\n", "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert here == []


def test_a_salt_on_which_a_right_version_fails_grades_nobody(base, lab, tmp_path, here, no_walls):
    spec = lab.file("test_lab.py")
    spec.write_text(spec.read_text().replace("-3, why", "-4, why"))
    source, out = class_of(lab, tmp_path / "week", a=b"x = 1"), tmp_path / "out"
    with pytest.raises(LabError, match="Nothing was graded.*a fault of the lab"):
        grade.main(base, Request(source, out))
    assert here == []
    assert not [*(out / "verdicts").iterdir()]
    assert not (out / "gradebook.json").exists()


def test_a_salt_is_tried_once(base, lab, tmp_path, here, no_walls, monkeypatch):
    tried = []
    monkeypatch.setattr(work, "preflight", lambda folders, salt, progress: tried.append(salt) or [])
    source = class_of(lab, tmp_path / "week", a=b"x = 1")
    for n, salt in enumerate(("x", "x", "y")):
        grade.main(base, Request(source, tmp_path / f"out{n}", salt=salt))
    assert tried == ["x", "y"]


def test_a_file_over_which_the_grader_dies_is_refused_and_the_rest_graded(base, lab, tmp_path, no_walls, monkeypatch):
    def answers(jobs, hands, cache=None, walls=""):
        with work.Worker(cache, walls) as worker:
            for job in jobs:
                if job.data == b"deadly":
                    yield job, None, b"", "the grader's own process died over it, twice"
                else:
                    yield job, *worker.judge(job), ""

    monkeypatch.setattr(pool, "judged", answers)
    source, out = class_of(lab, tmp_path / "week", a=b"deadly", b=written(lab, **RIGHT)), tmp_path / "out"
    assert grade.main(base, Request(source, out)) == 1
    marks = {m["student"]: m for m in json.loads((out / "gradebook.json").read_text())["marks"]}
    assert marks["b"]["awarded"] == 9
    assert marks["a"]["status"] == "refused"


# ---- for students


def test_check_as_graded_uses_other_numbers_and_remembers_nothing(base, lab, no_walls, capsys):
    lab.file("lab.py").write_bytes(written(lab, **RIGHT))
    assert cli.main(["check", "99.1", "--as-graded"]) == 0
    said = capsys.readouterr()
    assert "Checked with limits alone" in said.err
    assert "9/9 points" in said.out
    assert not (base / ".lab" / "progress.json").exists()
    lab.file("lab.py").write_bytes(written(lab, double="0"))
    called = set()
    for _ in range(3):
        assert cli.main(["check", "99.1", "--as-graded", "--json"]) == 1
        called.add(json.dumps(json.loads(capsys.readouterr().out)["failure"]["called"]))
    assert len(called) > 1


def test_check_as_graded_denies_what_grading_denies(base, lab, no_walls, capsys):
    lab.file("lab.py").write_bytes(b"import os\nos.fork()\n")
    assert cli.main(["check", "99.1", "--as-graded"]) == 1
    assert "it tried to start another program" in capsys.readouterr().out
