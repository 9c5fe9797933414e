"""`lab new`: what it makes is certified as it stands, and what it must not touch stays."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import catalog, new, new_files, runner
from labkit.catalog import LabError
from labkit.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def base(tmp_path, monkeypatch):
    (tmp_path / "phases").mkdir()
    (tmp_path / "labkit").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_lab_verifies_and_its_scaffold_is_refused(base, capsys):
    assert main(["new", "7.3", 'Smoothing "it", a\\b', "--phase", "Getting started"]) == 0
    assert main(["verify", "7.3", "--seeds", "5", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out.split("\n", 3)[3])
    assert made["problems"] == []
    assert made["caught"] == made["wrong"] >= 2
    assert made["named_alike"] == made["alikes"] >= 1
    assert made["accepted"] == made["right"] >= 3
    lab = catalog.find(base, "7.3")
    assert lab.title == 'Smoothing "it", a\\b'
    assert lab.folder.parent.name == "phase-07-getting-started"
    assert lab.phase == "Phase 7 · Getting started"
    assert {r.status for r in runner.run(lab, lab.file("lab.py"))} == {"not-started"}
    assert {r.status for r in runner.run(lab, lab.file("solution.py"))} == {"passed"}


def test_the_readme_shows_what_the_solution_prints(base):
    folder = new.make(base, "1.1", "X")
    done = subprocess.run([sys.executable, "solution.py"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout in (folder / "README.md").read_text()
    doctests = subprocess.run([sys.executable, "-m", "doctest", "solution.py"], cwd=folder, check=False)
    assert doctests.returncode == 0


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]])
def test_what_it_writes_is_in_the_house_style(base, check):
    folder = new.make(base, "1.1", "X")
    command = [sys.executable, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml"), str(folder)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_nothing_is_left_to_be_filled_in_by_the_command(base):
    folder = new.make(base, "12.10", "A Title")
    for name in [*new_files.FILES, "lab.py"]:
        text = (folder / name).read_text()
        assert "@ID@" not in text
        assert "@TITLE@" not in text
    assert "lab check 12.10" in (folder / "README.md").read_text()
    assert folder.name == "lab-10-a-title"


def test_a_phase_that_is_there_is_used_and_kept(base):
    room = base / "phases" / "phase-03-old-name"
    room.mkdir()
    (room / "README.md").write_text("# Mine\n")
    folder = new.make(base, "3.2", "T", phase="Another name")
    assert folder.parent == room
    assert (room / "README.md").read_text() == "# Mine\n"
    assert new.make(base, "3.4", "T").parent == room


def test_a_new_phase_without_a_name_can_be_named_later(base):
    folder = new.make(base, "4.1", "T")
    assert folder.parent.name == "phase-04-new"
    assert (folder.parent / "README.md").read_text().startswith("# Phase 4 · New\n")


@pytest.mark.parametrize(
    "bad", ["", "1", "1.", "a.b", "1.2.3", "0.1", "1.0", "01.2", "1.100", "-1.2", "1.2 ", "../1.1", "١.١"]
)
def test_bad_ids_are_refused(base, bad):
    with pytest.raises(LabError, match="as in 2"):
        new.make(base, bad, "T")
    assert [*(base / "phases").iterdir()] == []


@pytest.mark.parametrize("title", ["", "  ", "—", "!?"])
def test_a_title_without_a_letter_is_refused(base, title):
    with pytest.raises(LabError, match="letter or a digit"):
        new.make(base, "1.1", title)


def test_a_taken_id_a_taken_place_and_two_phases_are_refused(base, capsys):
    folder = new.make(base, "1.1", "First")
    before = sorted((p, p.read_bytes()) for p in folder.iterdir() if p.is_file())
    assert main(["new", "1.1", "Second"]) == 2
    assert "1.1 is taken: First" in capsys.readouterr().err
    (folder.parent / "lab-02-notes").mkdir()
    assert main(["new", "1.2", "Second"]) == 2
    assert "There is already" in capsys.readouterr().err
    (base / "phases" / "phase-01-twin").mkdir()
    assert main(["new", "1.3", "Third"]) == 2
    assert "two folders" in capsys.readouterr().err
    assert before == sorted((p, p.read_bytes()) for p in folder.iterdir() if p.is_file())
    assert not [*(base / "phases").glob("*/lab-03*")]


@pytest.mark.parametrize(
    ("title", "words"),
    [("Café & Co: 2×2", "cafe-co-2-2"), ("  A  B ", "a-b"), ("LoRA/QLoRA", "lora-qlora"), ("日本", "")],
)
def test_slugs(title, words):
    assert new.slug(title) == words
