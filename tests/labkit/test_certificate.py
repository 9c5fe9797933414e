"""The report of `lab verify`: what is kept, and when a certificate spares most of the seeds."""

import json
import shutil

import pytest

from labkit import certificate, new
from labkit.certificate import Certificate
from labkit.cli import main


@pytest.fixture
def base(tmp_path, monkeypatch):
    (tmp_path / "phases").mkdir()
    (tmp_path / "labkit").mkdir()
    monkeypatch.chdir(tmp_path)
    new.make(tmp_path, "1.1", "First", "Basics")
    new.make(tmp_path, "1.2", "Second")
    return tmp_path


def verified(capsys, *words):
    capsys.readouterr()
    assert main(["verify", *words, "--json", "--jobs", "1"]) == 0
    return {row["lab"]: row["seeds"] for row in json.loads(capsys.readouterr().out)}


def test_a_certified_lab_needs_few_seeds_until_it_changes(base, capsys):
    assert verified(capsys, "1.1", "--seeds", "4", "--report") == {"1.1": 4}
    assert list(certificate.kept(base)) == ["1.1"]
    assert verified(capsys, "--seeds", "4", "--recheck", "2", "--report") == {"1.1": 2, "1.2": 4}
    assert {i: c.seeds for i, c in certificate.kept(base).items()} == {"1.1": 4, "1.2": 4}  # the better one stays
    page = (base / "phases" / "CERTIFIED.md").read_text()
    assert "1.1 First | " in page
    assert "1.2 Second | " in page
    (folder,) = (base / "phases").glob("*/lab-01-first")
    (folder / "lab.py").write_text("the learner's")
    assert verified(capsys, "1.1", "--seeds", "4", "--recheck", "2") == {"1.1": 2}
    (folder / "mistakes.py").write_text((folder / "mistakes.py").read_text() + "\n# changed\n")
    assert verified(capsys, "1.1", "--seeds", "4", "--recheck", "2") == {"1.1": 4}
    assert verified(capsys, "1.2", "--seeds", "7", "--recheck", "5") == {"1.2": 7}  # certified on fewer than 5
    assert verified(capsys, "1.2", "--seeds", "1", "--recheck", "2") == {"1.2": 1}


def test_a_certificate_with_problems_vouches_for_nothing(base, capsys):
    good = Certificate("1.1", "First", 4, "abc")
    certificate.keep([good], base)
    certificate.keep([Certificate("1.1", "First", 1, "abc", problems=["PASSES: x"])], base)
    assert certificate.kept(base)["1.1"].problems
    certificate.keep([Certificate("1.1", "First", 2, "abc")], base)
    assert certificate.kept(base)["1.1"] == Certificate("1.1", "First", 2, "abc")
    certificate.keep([Certificate("1.1", "First", 1, "other")], base)
    assert certificate.kept(base)["1.1"].files == "other"
    certificate.keep([Certificate("1.2", "Second", 1)], base)
    (folder,) = (base / "phases").glob("*/lab-02-second")
    shutil.rmtree(folder)
    assert "Second" not in certificate.keep([], base)
    assert list(certificate.kept(base)) == ["1.1"]
