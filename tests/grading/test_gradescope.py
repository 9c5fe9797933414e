"""Gradescope: results.json as it is specified, and run_autograder in a copy of the documented folders."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.grading import gradescope
from labkit.grading.records import Mark, TaskVerdict, Verdict

FOLDER = Path(__file__).resolve().parents[2] / "instructors" / "gradescope"
VISIBILITY = {"hidden", "after_due_date", "after_published", "visible"}
FORMAT = {"text", "html", "simple_format", "md", "ansi"}
# From https://gradescope-autograders.readthedocs.io/en/latest/specs/, without what we do not use.
TOP = {"score": float, "execution_time": float, "output": str, "output_format": FORMAT, "visibility": VISIBILITY}
TOP |= {"stdout_visibility": VISIBILITY, "extra_data": dict, "tests": list}
TEST = {
    "score": float,
    "max_score": float,
    "name": str,
    "output": str,
    "output_format": FORMAT,
    "visibility": VISIBILITY,
}
TEST |= {"status": {"passed", "failed"}}


def fits(data, fields):
    """Nothing that Gradescope does not know, and each value of its type, or one of its words."""
    assert set(data) <= set(fields)
    for name, value in data.items():
        kind = fields[name]
        if isinstance(kind, set):
            assert value in kind
        else:
            assert isinstance(value, (int, float) if kind is float else kind)


def specified(found):
    """Is this a results.json as Gradescope specifies it?"""
    fits(found, TOP)
    assert "score" in found
    for test in found["tests"]:
        fits(test, TEST)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def verdict(lab="4.1"):
    wrong = TaskVerdict("mask", 4, 0, "wrong", 3, 1, claim="hides the future", called="mask(3)", expected="1", got="2")
    wrong.where, wrong.says, wrong.printed = "at [0]", "It is shifted by one.", "\x1b[31m<script>"
    return Verdict(
        lab, "Attention", "hash", [TaskVerdict("loops", 6, 6, "passed", 2, 2), wrong], sandbox="limits", seconds=2
    )


def test_the_results_of_one_lab():
    found = gradescope.results([verdict()], None)
    specified(found)
    assert (found["score"], found["execution_time"], found["stdout_visibility"]) == (6, 2, "hidden")
    assert [(t["name"], t["score"], t["max_score"], t["status"]) for t in found["tests"]] == [
        ("loops", 6, 6, "passed"),
        ("mask", 0, 4, "failed"),
    ]
    text = found["tests"][1]["output"]
    for part in (
        "hides the future",
        "mask(3)",
        "at [0]",
        "shifted by one",
        "<script>",
        "1 of 3 tests pass",
        "lab hint 4.1 mask",
    ):
        assert part in text
    assert "\x1b" not in text
    assert found["extra_data"]["labs"]["4.1"]["sandbox"] == "limits"


def test_a_mark_decides_the_score_and_scales_the_tests():
    mark = Mark("ada", "4.1", 20, 12, 9, "graded", late=5, penalty=0.25, note="1 started day late.")
    found = gradescope.results([verdict()], mark)
    specified(found)
    assert found["score"] == 9
    assert [(t["score"], t["max_score"]) for t in found["tests"]] == [(12, 12), (0, 8)]
    assert found["output"].split("\n")[1:] == ["That makes 9 of 20 points.", "1 started day late."]


@pytest.mark.parametrize("mark", [None, Mark("ada", "4.1", 10, 0, 0, "refused", note="It is a bomb.")])
def test_nothing_graded_is_a_result_too(mark):
    found = gradescope.results([], mark)
    specified(found)
    assert (found["score"], found["tests"]) == (0, [])
    assert "could be graded" in found["output"]
    assert ("bomb" in found["output"]) == bool(mark)


def test_a_lab_of_no_points_is_not_divided_by():
    empty = Verdict("4.1", "T", "f", [])
    assert gradescope.results([empty], Mark("ada", "4.1", 10, 0, 0, "graded"))["tests"] == []


# The autograder folder, in the documented layout: source/ holds the unpacked zip, run_autograder is copied beside it.

FAKE = """#!/usr/bin/env bash
printf '%s\\n' "$@" >"$AUTOGRADER_ROOT/seen"
pwd >"$AUTOGRADER_ROOT/where"
"""


@pytest.fixture
def autograder(tmp_path):
    (tmp_path / "source" / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission" / "lab.py").write_text("# the student's")
    (tmp_path / "source" / "autograder.conf").write_text("LAB=4.1 SALT=")
    shutil.copy(FOLDER / "run_autograder", tmp_path / "run_autograder")
    return tmp_path


def run(root, lab=FAKE + """echo '{"score": 3}' >"$4"\n"""):
    """Puts a `lab` command there, runs the script as Gradescope does, and returns results.json and standard output."""
    command = root / "source" / ".venv" / "bin" / "lab"
    if lab:
        command.write_text(lab)
        command.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "AUTOGRADER_ROOT": str(root)}
    done = subprocess.run(
        [root / "run_autograder"], cwd=root, env=env, capture_output=True, text=True, timeout=30, check=True
    )
    return json.loads((root / "results" / "results.json").read_text()), done.stdout


def test_run_autograder_grades_the_submission(autograder):
    assert run(autograder)[0] == {"score": 3}
    results = autograder / "results" / "results.json"
    wanted = ["grade", str(autograder / "submission"), "--gradescope", str(results), "--lab", "4.1"]
    assert (autograder / "seen").read_text().splitlines() == wanted
    assert (autograder / "where").read_text().strip() == str(autograder / "source")


def test_a_salt_is_handed_on(autograder):
    (autograder / "source" / "autograder.conf").write_text("LAB=5.1\nSALT='two words'\n")
    run(autograder)
    assert (autograder / "seen").read_text().splitlines()[-4:] == ["--lab", "5.1", "--seed-salt", "two words"]


@pytest.mark.parametrize(
    ("lab", "says"),
    [
        ('#!/usr/bin/env bash\necho \'{"sco\' >"$4"\nexit 3\n', "lab grade ended with 3."),
        ("#!/usr/bin/env bash\nexit 0\n", "lab grade wrote no results.json."),
        ("", "lab grade ended with 127."),
    ],
)
def test_what_goes_wrong_still_leaves_results_and_no_verdict(autograder, lab, says):
    (autograder / "results").mkdir()
    (autograder / "results" / "results.json").write_text('{"score": 100}')  # of an earlier run
    found, printed = run(autograder, lab)
    specified(found)
    assert found["score"] == 0
    assert "no verdict" in found["output"]
    assert says in printed


@pytest.mark.parametrize(("conf", "says"), [(None, "not at the root"), ("SALT=x\n", "does not say which lab")])
def test_a_zip_that_is_not_whole_says_so(autograder, conf, says):
    (autograder / "source" / "autograder.conf").unlink()
    if conf:
        (autograder / "source" / "autograder.conf").write_text(conf)
    assert says in run(autograder)[1]


def test_the_scripts_are_shell_that_parses_and_can_be_run():
    for name in ("setup.sh", "run_autograder"):
        assert os.access(FOLDER / name, os.X_OK)
        assert subprocess.run(["bash", "-n", FOLDER / name], timeout=10, check=False).returncode == 0
