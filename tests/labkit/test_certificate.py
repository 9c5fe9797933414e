"""The report of `lab verify`: what is kept, and when a certificate spares most of the seeds."""

import json
import shutil

import pytest

from labkit import certificate, fairness, new, verify
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


def tried(capsys, *words):
    capsys.readouterr()
    assert main(["verify", *words, "--json", "--jobs", "1"]) == 0
    return {row["lab"]: (row["mistakes"], row["caught"]) for row in json.loads(capsys.readouterr().out)}


def test_a_share_of_a_certified_labs_mistakes_is_tried_each_day_and_all_of_them_in_turn(base, capsys, monkeypatch):
    (folder,) = (base / "phases").glob("*/lab-01-first")
    text = (folder / "mistakes.py").read_text()
    assert verified(capsys, "--seeds", "1", "--report") == {"1.1": 1, "1.2": 1}
    whole = tried(capsys, "1.1", "--seeds", "1")["1.1"][0]
    assert whole >= 2, "else a half says nothing"

    class Day:
        ordinal = 0

        @classmethod
        def today(cls):
            return cls

        @classmethod
        def toordinal(cls):
            return cls.ordinal

    monkeypatch.setattr("labkit.verify.datetime.date", Day)
    counts = []
    for Day.ordinal in (738_000, 738_001):
        mistakes, caught = tried(capsys, "1.1", "--seeds", "1", "--recheck", "1", "--share", "2")["1.1"]
        assert caught >= mistakes  # the second wordings of those that were tried count as caught, too
        counts.append(mistakes)
    assert sum(counts) == whole
    assert all(counts)
    Day.ordinal -= Day.ordinal % 99 + 1  # the last of 99 days: nothing is left for it, and that is no problem
    assert tried(capsys, "1.1", "--seeds", "1", "--recheck", "1", "--share", "99")["1.1"] == (0, 0)
    (folder / "mistakes.py").write_text(text + "\n# changed\n")
    assert tried(capsys, "1.1", "--seeds", "1", "--recheck", "1", "--share", "2")["1.1"][0] == whole
    assert main(["verify", "--share", "2"]) == 2
    assert main(["verify", "--recheck", "1", "--share", "2", "--report"]) == 2
    assert main(["verify", "--recheck", "1", "--share", "0"]) == 2


@pytest.mark.parametrize(
    ("seconds", "least"),
    [((2.9,), 2.9), ((8.0, 1.0), 1.0), ((8.0, 7.0, 1.0), 1.0), ((8.0, 7.0, 9.0), 7.0), ((7.0, 8.0, 9.0), 7.0)],
)
@pytest.mark.usefixtures("base")
def test_a_spec_that_seems_slow_is_timed_up_to_twice_more_and_the_least_counts(capsys, monkeypatch, seconds, least):
    readings = [x for k, s in enumerate(seconds) for x in (100.0 * k, 100.0 * k + s)]  # before and after each seed
    monkeypatch.setattr(verify, "_cpu", lambda: readings.pop(0))
    assert main(["verify", "1.1", "--seeds", "1", "--json", "--jobs", "1"]) == (least > verify.BUDGET)
    (row,) = json.loads(capsys.readouterr().out)
    assert not readings
    assert row["spec_seconds"] == pytest.approx(least)
    slow = f"the spec takes {least:.1f} s of CPU on its solution; {verify.BUDGET:g} s are allowed"
    assert row["problems"] == ([slow] if least > verify.BUDGET else [])


def test_a_task_without_mistakes_is_named(base, capsys):
    (folder,) = (base / "phases").glob("*/lab-01-first")
    (folder / "mistakes.py").write_text("")
    assert main(["verify", "1.1", "--seeds", "1", "--json", "--jobs", "1"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert any("has no mistake" in problem for problem in row["problems"])


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


def test_salts_try_the_right_versions_on_the_seeds_of_grading(base, capsys):
    assert main(["verify", "1.1", "--salts", "2", "--report"]) == 2
    assert "`lab verify 1.1 --report` first" in capsys.readouterr().err
    verified(capsys, "--seeds", "1", "--report")
    assert main(["verify", "--salts", "2", "--report"]) == 0
    said = capsys.readouterr().out
    right = [row for row in said.splitlines() if " on 2 salts" in row]
    assert len(right) == 2
    kept = certificate.kept(base)["1.1"]
    assert (kept.salts, kept.salted, kept.salted_of) == (2, kept.equivalents + kept.tasks, kept.salted_of)
    assert f"| {kept.salted}/{kept.salted_of} on 2 |" in (base / "phases" / "CERTIFIED.md").read_text()
    verified(capsys, "1.1", "--seeds", "1", "--report")
    assert certificate.kept(base)["1.1"].salts == 2, "the same files: what salts said of them still holds"
    (folder,) = (base / "phases").glob("*/lab-01-first")
    (folder / "mistakes.py").write_text((folder / "mistakes.py").read_text() + "\n# changed\n")
    verified(capsys, "1.1", "--seeds", "1", "--report")
    assert certificate.kept(base)["1.1"].salts == 0
    assert main(["verify", "--salts", "0"]) == 2


def test_a_salt_on_which_a_right_version_fails_is_said_and_each_version_counts_once(base, capsys):
    (folder,) = (base / "phases").glob("*/lab-01-first")
    spec = folder / "test_lab.py"
    # a fault of the spec that about half of the seeds show
    text = spec.read_text().replace("weighted(losses, keep), why", "[w + fault for w in weighted(losses, keep)], why")
    drawn = "    keep = random.uniform(0.6, 0.9)\n"
    assert (text.count("+ fault"), text.count(drawn)) == (1, 1)
    spec.write_text(text.replace(drawn, f"{drawn}    fault = 0.01 * (random.random() < 0.5)\n"))
    assert main(["verify", "1.1", "--salts", "12"]) == 1
    first, *refusals = capsys.readouterr().out.splitlines()
    assert first.startswith("1.1  0 of ")
    versions = int(first.split()[3])
    assert 2 <= versions < len(refusals) < 12 * versions
    assert all(" is right, but smooth fails test_the_weighted_mean" in text for text in refusals)
    assert len({int(text.split(" on seed ")[1].split()[0]) for text in refusals} & {*fairness.seeds(12)}) > 2
