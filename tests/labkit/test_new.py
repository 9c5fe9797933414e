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
    (made,) = json.loads(capsys.readouterr().out.split("\n", 4)[4])
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
    folder = new.make(base, "1.1", "X", "P")
    done = subprocess.run([sys.executable, "solution.py"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout in (folder / "README.md").read_text()
    doctests = subprocess.run([sys.executable, "-m", "doctest", "solution.py"], cwd=folder, check=False)
    assert doctests.returncode == 0


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]])
def test_what_it_writes_is_in_the_house_style(base, check):
    folder = new.make(base, "1.1", "X", "P")
    command = [sys.executable, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml"), str(folder)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_nothing_is_left_to_be_filled_in_by_the_command(base):
    folder = new.make(base, "12.10", "A Title", "P")
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


@pytest.mark.parametrize("phase", ["", " ", "&"])
def test_a_new_phase_needs_a_name(base, phase):
    with pytest.raises(LabError, match="--phase"):
        new.make(base, "4.1", "T", phase)
    assert [*(base / "phases").iterdir()] == []


def test_a_name_that_an_existing_phase_does_not_take_is_said_to_be_unused(base, capsys):
    assert main(["new", "4.1", "T", "--phase", "Café & Co"]) == 0
    assert main(["new", "4.2", "T", "--phase", "Cafe Co"]) == 0
    assert main(["new", "4.3", "T"]) == 0
    assert "not used" not in capsys.readouterr().err
    assert main(["new", "4.4", "T", "--phase", "Tea"]) == 0
    assert "--phase is not used" in capsys.readouterr().err
    assert [p.name for p in (base / "phases").iterdir()] == ["phase-04-cafe-co"]


def test_a_folder_has_a_name_of_bounded_length(base):
    title = "Attention, " * 40
    folder = new.make(base, "4.1", title, "x" * 300)
    assert folder.name == "lab-01-" + "-".join(["attention"] * 6)
    assert folder.parent.name == "phase-04-" + "x" * new.LONGEST
    assert catalog.read(folder).title == title.strip()


@pytest.mark.parametrize("phase_is_there", [False, True])
def test_what_fails_half_way_leaves_nothing_behind(base, monkeypatch, phase_is_there):
    if phase_is_there:
        new.make(base, "4.1", "First", "P")
    before = sorted(base.rglob("*"))

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(new.scaffold, "write", full)
    with pytest.raises(OSError, match="no space"):
        new.make(base, "4.2", "Second", "P")
    assert sorted(base.rglob("*")) == before


def test_the_learner_sees_no_note_to_the_author_and_verify_reminds_of_each(base, capsys):
    folder = new.make(base, "4.1", "T", "P")
    assert "TODO (author)" not in (folder / "lab.py").read_text()
    assert main(["verify", "4.1"]) == 0
    err = capsys.readouterr().err
    assert f"TODO (author) still stands in {', '.join(new_files.FILES)}" in err
    assert "lab.py is not" not in err
    for name in new_files.FILES:
        (folder / name).write_text((folder / name).read_text().replace("TODO (author)", "Note"))
    assert main(["verify", "4.1"]) == 0
    err = capsys.readouterr().err
    assert "TODO (author)" not in err
    assert "4.1  lab.py is" not in err  # what changed stands in a region
    (folder / "solution.py").write_text((folder / "solution.py").read_text().replace("Smoothing a", "Smoothing the"))
    assert main(["verify", "4.1"]) == 0
    assert "4.1  lab.py is not what solution.py makes; make scaffolds" in capsys.readouterr().err
    assert main(["verify"]) == 0  # all of them: lab.py may be a learner's
    assert "make scaffolds" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "bad", ["", "1", "1.", "a.b", "1.2.3", "0.1", "1.0", "01.2", "1.100", "-1.2", "1.2 ", "../1.1", "١.١"]
)
def test_bad_ids_are_refused(base, bad):
    with pytest.raises(LabError, match="as in 2"):
        new.make(base, bad, "T", "P")
    assert [*(base / "phases").iterdir()] == []


@pytest.mark.parametrize("title", ["", "  ", "—", "!?"])
def test_a_title_without_a_letter_is_refused(base, title):
    with pytest.raises(LabError, match="letter or a digit"):
        new.make(base, "1.1", title, "P")


def test_a_taken_id_a_taken_place_and_two_phases_are_refused(base, capsys):
    folder = new.make(base, "1.1", "First", "P")
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
