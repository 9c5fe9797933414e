"""`lab regrade`: a verdict follows from what was seen; the same file gets it again."""

import json

import pytest
from tiny_lab import RIGHT, job, repository, written

from labkit import certificate, cli, sandbox
from labkit.catalog import LabError
from labkit.grading import regrade, work
from labkit.grading.records import TaskVerdict
from labkit.grading.store import Store
from labkit.spec import Record


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = repository(tmp_path / "course")
    monkeypatch.chdir(tmp_path / "course")
    return made


@pytest.fixture
def results(lab, tmp_path):
    """A folder as `lab grade` leaves it: ada made a known mistake, bao is right."""
    store, salt = Store.open(tmp_path / "out", "salt", resume=False)
    index = {}
    with work.Worker(walls="limits") as worker:
        for student, bodies in {"ada": RIGHT | {"negate": "-abs(x)"}, "bao": RIGHT}.items():
            one = job(lab, written(lab, **bodies), salt)
            name = work.key(one, certificate.fingerprint(lab), "limits", work.environment())
            store.keep_file(one.data)
            store.keep(name, *worker.judge(one))
            index[student, "99.1"] = name
    store.keep_index(index)
    return tmp_path / "out"


def edit(results, student, change):
    path = results / "verdicts" / f"{json.loads((results / 'index.json').read_text())[student]['99.1']}.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


def test_why_says_what_decided_without_running_anything(lab, results, capsys, monkeypatch):
    monkeypatch.setattr(work, "Worker", None)
    for path in (*lab.folder.glob("*.*"), *(results / "files").iterdir()):
        path.unlink()
    assert regrade.main(lab.folder, results, "ada", "99.1", why=True) == 0
    said = capsys.readouterr().out
    assert "ada, lab 99.1: 5/9 points" in said
    assert "the versions installed now" in said
    assert "negate: wrong; 1 of 2 stored checks hold" in said
    assert "test_negate, check 2: minus five" in said
    assert "wanted 5\n    got    -5" in said
    assert "(equal)" not in said
    assert "(99.1/absolute)" in said
    assert "The verdict follows from what was seen." in said
    assert regrade.main(lab.folder, results, "bao", "99.1", why=True) == 0
    assert "wanted" not in capsys.readouterr().out


def test_why_notices_a_verdict_that_does_not_follow(lab, results, capsys):
    def raise_mark(data):
        data["tasks"][2] |= {"status": "passed", "earned": 4}

    edit(results, "ada", raise_mark)
    assert regrade.main(lab.folder, results, "ada", "99.1", why=True) == 1
    assert "DIFFERS from the verdict: negate" in capsys.readouterr().out
    edit(results, "bao", lambda data: data["tasks"][0].update(status="wrong", earned=0))
    assert regrade.main(lab.folder, results, "bao", "99.1", why=True) == 1
    assert "DIFFERS from the verdict: double" in capsys.readouterr().out


def kept(results, lab, data):
    """The only file of a student `cyd`, judged as `lab grade` does."""
    store = Store(results)
    one = job(lab, data, store.salt())
    with work.Worker(walls="limits") as worker:
        store.keep_file(one.data)
        store.keep("cyd", *worker.judge(one))
    store.keep_index({("cyd", "99.1"): "cyd"})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            b"def double(x)\n    return 2 * x\n",
            "double, negate:\n  the file does not load, so nothing could be tried\n"
            "  SyntaxError in line 1: expected ':': `def double(x)`\n\nquadruple: waiting for double\n",
        ),
        ({}, "double: not started: double is not written yet\n\nquadruple: waiting for double\n\n"
             "negate: not started: negate is not written yet\n"),
        ({"negate": "-x if x > 0 else x.y"},
         "negate: crashed; 1 of 2 stored checks hold\n  test_negate, check 2\n    it raised AttributeError at line"),
    ],
)  # fmt: skip
def test_why_tells_in_words_and_once_what_no_value_shows(lab, results, capsys, data, says):
    kept(results, lab, data if isinstance(data, bytes) else written(lab, **data))
    assert regrade.main(lab.folder, results, "cyd", "99.1", why=True) == 0
    said = capsys.readouterr().out
    assert says in said
    assert "wanted" not in said
    assert "[" not in said
    assert all(said.count(line) == 1 for line in said.splitlines() if line)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (Record("less", 3, 2), "wanted a number below 2\ngot    3"),
        (Record("between", 9, [1, 2]), "wanted a number from 1 to 2\ngot    9"),
        (Record("raises", ["returned", 4], "ValueError"), "wanted it raises ValueError\ngot    it returned 4"),
        (Record("raises", ["raised", "KeyError"], "ValueError"), "wanted it raises ValueError\ngot    it raised KeyError"),
        (Record("sampled", [5, 0, 0], [0.5, 0.5]), "wanted draws that follow the probabilities [0.5, 0.5]\ngot    [5, 0, 0]"),
        (Record("raised", ["spec", "TypeError: no"], None), "the test cannot use what came: TypeError: no"),
        (Record("raised", ["raised", "KeyError", "x"], None), "it raised KeyError: x"),
        (Record("raised", ["raised", "ValueError", "at #"], None), "it raised ValueError: at …"),
        (Record("raised", ["raised", "ValueError", ""], None), "it raised ValueError"),
        (Record("raised", ["unheard", "X"], None), "it stopped: X"),
    ],
)  # fmt: skip
def test_a_check_is_told_by_its_kind(record, says):
    assert regrade.found(record) == says


def test_why_keeps_the_terminal_from_what_an_error_says(lab, results, capsys):
    kept(results, lab, written(lab, negate="(_ for _ in ()).throw(ValueError(chr(27) + '[2Jgone'))"))
    assert regrade.main(lab.folder, results, "cyd", "99.1", why=True) == 0
    said = capsys.readouterr().out
    assert "negate: crashed" in said
    assert "ValueError" in said
    assert "\n    gone\n" in said
    assert "\x1b" not in said


def test_why_says_how_many_checks_it_left_out():
    checks = {("test_x", i): Record("equal", 1, 2) for i in range(5)}
    lines = regrade.told("wrong", "", checks, TaskVerdict("x", 1, 0, "wrong"))
    assert lines[0] == "wrong; 0 of 5 stored checks hold"
    assert lines[-1] == "  … and 2 more that do not hold"


def test_why_says_when_other_versions_are_installed_now(lab, results, capsys, monkeypatch):
    monkeypatch.setattr(work, "environment", lambda: {"python": "9"})
    assert regrade.main(lab.folder, results, "ada", "99.1", why=True) == 0
    assert "other versions than are installed now" in capsys.readouterr().out


def test_again_gives_the_same_marks(lab, results, tmp_path, capsys):
    assert cli.main(["regrade", "ada", "99.1", "--results", str(results)]) == 0
    said = capsys.readouterr().out
    assert "5/9 before, 5/9 now" in said
    assert "The same verdict for every task." in said


def test_again_says_what_changed_and_leaves_the_results(lab, results, capsys):
    path = edit(results, "ada", lambda data: data["tasks"][2].update(status="passed", earned=4))
    before = path.read_bytes()
    assert regrade.main(lab.folder.parents[2], results, "ada", "99.1", why=False) == 1
    said = capsys.readouterr().out
    assert "negate: passed before, wrong now" in said
    assert path.read_bytes() == before


def test_again_on_a_lab_with_other_tasks_is_one_line(lab, results):
    edit(results, "ada", lambda data: data["tasks"].pop())
    with pytest.raises(LabError, match="has other tasks now"):
        regrade.main(lab.folder.parents[2], results, "ada", "99.1", why=False)


@pytest.mark.parametrize(
    ("student", "lab_id", "says"),
    [("nobody", "99.1", "There is no student nobody"), ("ada", "1.1", "but for 99.1")],
)
@pytest.mark.parametrize("why", [[], ["--why"]])
def test_who_is_not_there(lab, results, capsys, student, lab_id, says, why):
    assert cli.main(["regrade", student, lab_id, "--results", str(results), *why]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_what_is_missing_or_broken_is_one_line(lab, results, tmp_path, capsys):
    name = json.loads((results / "index.json").read_text())["ada"]["99.1"]
    observations = results / "verdicts" / f"{name}.obs"
    whole = observations.read_bytes()
    for data in (b"", whole[:-9], b"not this"):
        observations.write_bytes(data)
        with pytest.raises(LabError, match="observations"):
            regrade.main(lab.folder, results, "ada", "99.1", why=True)
    observations.unlink()
    with pytest.raises(LabError, match="observations"):
        regrade.main(lab.folder, results, "ada", "99.1", why=True)
    (results / "verdicts" / f"{name}.json").unlink()
    with pytest.raises(LabError, match="--resume"):
        regrade.main(lab.folder, results, "ada", "99.1", why=True)
    with pytest.raises(LabError, match="holds no results"):
        regrade.main(lab.folder, tmp_path, "ada", "99.1", why=True)


def test_a_verdict_reached_in_the_sandbox_is_not_reached_again_without(lab, results, monkeypatch):
    edit(results, "ada", lambda data: data.update(sandbox="bubblewrap"))
    monkeypatch.setattr(sandbox, "trouble", lambda: "bubblewrap is not installed")
    with pytest.raises(LabError, match="bubblewrap"):
        regrade.main(lab.folder.parents[2], results, "ada", "99.1", why=False)
