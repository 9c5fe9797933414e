"""Several exports of one class beside one another; and sources that are no submissions at all."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labkit import catalog
from labkit.catalog import LabError
from labkit.grading import archives, entries, folders, intake
from labkit.grading.records import Class
from labkit.grading.store import Store

LABS = [lab for lab in catalog.labs(catalog.root()) if lab.id in ("1.1", "4.1")]
ROSTER = "First name,Last name,ID number\nAda,Lovelace,1\nGrace,Hopper,2\nIdle,Hands,3\n"
Tree = Mapping[str, bytes]
FIRST: Tree = {
    "Ada Lovelace_1001_assignsubmission_file/lab1.1.py": b"ada 1",
    "Grace Hopper_1002_assignsubmission_file/lab1.1.py": b"grace 1",
}
SECOND: Tree = {  # Moodle gives new numbers in each assignment
    "Ada Lovelace_1101_assignsubmission_file/lab4.1.py": b"ada 4",
    "Grace Hopper_1100_assignsubmission_file/lab4.1.py": b"grace 4",
}
ALL = {("1", "1.1"): b"ada 1", ("2", "1.1"): b"grace 1", ("1", "4.1"): b"ada 4", ("2", "4.1"): b"grace 4"}


def zipped(tree: Tree) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, data in tree.items():
            z.writestr(name, data)
    return out.getvalue()


def under(folder: str, tree: Tree) -> Tree:
    return {f"{folder}/{name}": data for name, data in tree.items()}


def read(folder: Path, tree: Tree, roster: str = ROSTER, pack: bool = False) -> Class:
    source = folder / ("term.zip" if pack else "term")
    folder.mkdir(exist_ok=True)
    if pack:
        source.write_bytes(zipped(tree))
    else:
        source.mkdir()
        for name, data in tree.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
    (folder / "roster.csv").write_text(roster, encoding="utf-8")
    return intake.read(source, LABS, folder / "roster.csv" if roster else None)


def turned(klass: Class) -> dict[tuple[str, str], bytes]:
    return {(t.student, t.lab): t.data for t in klass.turned}


def reasons(klass: Class) -> list[tuple[str, str, str]]:
    assert all(r.reason in intake.REASONS and "\n" not in r.says and r.says.endswith(".") for r in klass.refused)
    return [(r.student, r.reason, r.lab) for r in klass.refused]


TERMS: dict[str, Tree] = {
    "zips": {"moodle-1.1.zip": zipped(FIRST), "moodle-4.1.zip": zipped(SECOND), "notes.txt": b"", "roster.csv": b"id"},
    "folders": {**under("week-1", FIRST), **under("week-4", SECOND), ".idea/x": b""},
    "one of each": {"week-1.zip": zipped(FIRST), **under("week-4", SECOND)},
    "zips in folders": {"week-1/submissions.zip": zipped(FIRST), "week-4/submissions.zip": zipped(SECOND)},
    "one folder around": {"fall/week-1.zip": zipped(FIRST), **under("fall/week-4", SECOND)},
    "a folder in the zips": {"a.zip": zipped(under("course", FIRST)), "b.zip": zipped(under("course", SECOND))},
}


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_all_exports_are_taken_in(tmp_path: Path, term: str, pack: bool) -> None:
    klass = read(tmp_path, TERMS[term], pack=pack)
    assert turned(klass) == ALL
    assert [s.id for s in klass.students] == ["1", "2", "3"]
    assert klass.refused == []


def test_messages_name_the_export(tmp_path: Path) -> None:
    odd = {"Ada Lovelace_1001_assignsubmission_file/lab.py": b"?"}
    klass = read(tmp_path, {"week-1/a.zip": zipped({**FIRST, **odd}), "b.zip": zipped({**SECOND, "stray.py": b""})})
    assert turned(klass) == ALL
    assert [(r.student, r.reason) for r in klass.refused] == [("", "not-a-submission"), ("1", "unknown-lab")]
    assert "term: b.zip/stray.py" in klass.refused[0].where
    assert klass.refused[1].where == "term: week-1/a.zip/Ada Lovelace_1001_assignsubmission_file/lab.py"
    assert {t.where.split("/Ada")[0] for t in klass.turned if t.student == "1"} == {"term: week-1/a.zip", "term: b.zip"}


def test_what_lies_beside_exports_and_cannot_be_read_is_named(tmp_path: Path) -> None:
    read(tmp_path, TERMS["zips"])
    (tmp_path / "term" / "old").symlink_to(tmp_path)
    klass = intake.read(tmp_path / "term", LABS, tmp_path / "roster.csv")
    assert turned(klass) == ALL
    assert reasons(klass) == [("", "link", "")]


def test_one_export_in_a_folder_is_no_student(tmp_path: Path) -> None:
    assert turned(read(tmp_path, {"moodle.zip": zipped(FIRST)})) == {k: v for k, v in ALL.items() if k[1] == "1.1"}


def test_each_export_has_its_layout(tmp_path: Path) -> None:
    metadata = "submission_1:\n  :submitters:\n  - :name: Ada Lovelace\n  :created_at: 2027-02-01 10:00:00 Z\n"
    tree = {
        "gradescope.zip": zipped({"submission_metadata.yml": metadata.encode(), "submission_1/lab4.1.py": b"ada 4"}),
        "canvas.zip": zipped({"hoppergrace_77_900_lab4.1.py": b"grace 4", "lovelaceada_78_901_lab4.1.py": b"no time"}),
        **under("moodle", FIRST),
    }
    klass = read(tmp_path, tree)
    assert turned(klass) == ALL
    assert [(r.student, r.reason, r.lab) for r in klass.refused] == [("1", "superseded", "4.1")]
    assert {t.when for t in klass.turned} == {None, datetime(2027, 2, 1, 10, tzinfo=UTC)}


def test_without_a_roster_moodle_goes_by_name_and_not_by_number(tmp_path: Path) -> None:
    two = {f"Jan Novák_{n}_assignsubmission_file/lab1.1.py": b"%d" % n for n in (1003, 1004)}
    again = {f"Jan Novák_{n}_assignsubmission_file/lab4.1.py": b"%d" % n for n in (1103,)}
    klass = read(tmp_path, {"a.zip": zipped({**FIRST, **two}), "b.zip": zipped({**SECOND, **again})}, roster="")
    names = {"1": "Ada Lovelace", "2": "Grace Hopper"}
    jan = {("1003", "1.1"): b"1003", ("1004", "1.1"): b"1004", ("1103", "4.1"): b"1103"}  # nobody knows which is which
    assert turned(klass) == {(names[who], lab): data for (who, lab), data in ALL.items()} | jan


def test_the_last_of_one_lab_is_graded(tmp_path: Path) -> None:
    old, new = FIRST, {name: data + b" again" for name, data in FIRST.items()}
    klass = read(tmp_path / "a", {"week-10.zip": zipped(new), "week-2.zip": zipped(old)})
    assert turned(klass) == {("1", "1.1"): b"ada 1 again", ("2", "1.1"): b"grace 1 again"}
    assert reasons(klass) == [("1", "superseded", "1.1"), ("2", "superseded", "1.1")]
    assert klass.refused[0].says.endswith("Nothing says which came later; it is in the export whose name sorts last.")
    canvas = {
        "a.zip": zipped({"lovelaceada_5_9100_lab1.1.py": b"later"}),
        "b.zip": zipped({"lovelaceada_5_9002_lab1.1-3.py": b"old"}),
    }
    assert turned(read(tmp_path / "b", canvas)) == {("1", "1.1"): b"later"}
    same = read(tmp_path / "c", {"week-1.zip": zipped(old), **under("week-1", old)})  # unpacked, and not thrown away
    assert (turned(same), same.refused) == ({k: v for k, v in ALL.items() if k[1] == "1.1"}, [])


def test_the_name_of_an_export_says_which_lab_where_nothing_else_does(tmp_path: Path) -> None:
    tree = {
        "moodle-1.1.zip": zipped({"Ada Lovelace_1_assignsubmission_file/lab.py": b"x = 1"}),
        "moodle-4.1.zip": zipped({"Ada Lovelace_2_assignsubmission_file/lab.py": b"x = 4"}),
        "week.zip": zipped({"Grace Hopper_3_assignsubmission_file/lab.py": b"x = 0"}),
    }
    klass = read(tmp_path, tree)
    assert turned(klass) == {("1", "1.1"): b"x = 1", ("1", "4.1"): b"x = 4"}
    assert reasons(klass) == [("2", "unknown-lab", "")]


def test_folders_of_people_on_the_roster_are_an_export(tmp_path: Path) -> None:
    tree = {"week-1/1/lab1.1.py": b"ada 1", "week-1/Grace Hopper.zip": zipped({"lab1.1.py": b"grace 1"})}
    tree |= {"week-4/1/lab4.1.py": b"ada 4", "week-4/2/lab4.1.py": b"grace 4"}
    assert turned(read(tmp_path / "a", tree)) == ALL
    alone = read(tmp_path / "b", tree, roster="")  # nobody can tell them from a student's own folders
    assert {s.id for s in alone.students} == {"week-1", "week-4"}


def test_a_student_cannot_speak_for_others(tmp_path: Path) -> None:
    fake = zipped({**FIRST, "lab1.1.py": b"my own"})
    listed = read(tmp_path / "a", {"1/lab4.1.py": b"ada 4", "2.zip": fake})
    assert turned(listed) == {("1", "4.1"): b"ada 4", ("2", "1.1"): b"my own"}
    plain = {"ada/lab1.1.py": b"ada 1", "bob/lab1.1.py": b"bob 1", "mal.zip": fake}
    klass = read(tmp_path / "b", plain, roster="")
    assert turned(klass) == {("ada", "1.1"): b"ada 1", ("bob", "1.1"): b"bob 1"}
    assert reasons(klass) == [("", "not-a-submission", "")]
    assert "mal.zip: It looks like an export of several students" in klass.refused[0].says
    single = zipped({"Ada_1_assignsubmission_file/lab1.1.py": b"one"})
    assert ("mal", "1.1") in turned(read(tmp_path / "c", {**plain, "mal.zip": single}, roster=""))


@pytest.mark.parametrize("name", ["hand_in_4_1_lab.py", "lab_4_1_2.py", "hw_2027_11_25.py"])
def test_numbers_in_a_name_do_not_make_it_canvas(tmp_path: Path, name: str) -> None:
    tree = {f"ada/{name}": b"1", f"bob/{name}": b"2"}
    assert [s.id for s in read(tmp_path / "a", tree, roster="").students] == ["ada", "bob"]


def test_a_young_canvas_has_short_numbers(tmp_path: Path) -> None:
    klass = read(tmp_path, {"lovelaceada_101_7_lab1.1.py": b"ada 1", "hoppergrace_9_102_lab1.1.py": b"grace 1"})
    assert turned(klass) == {k: v for k, v in ALL.items() if k[1] == "1.1"}
    alone = read(tmp_path / "b", {"lab4.1.py": b"x", "my_4_1_draft.py": b"y"}, roster="")
    assert turned(alone) == {("term", "4.1"): b"x"}


@pytest.mark.parametrize(
    "other", [{"late/ada/lab1.1.py": b"x"}, {"week-9.zip": b"PK\x03\x04 no zip"}, {"week-9.7z": b"7z"}]
)
def test_exports_beside_students_stop_it_in_one_line(tmp_path: Path, other: Tree) -> None:
    with pytest.raises(LabError) as e:
        read(tmp_path, {"moodle.zip": zipped(FIRST), **other})
    name = min(other).split("/")[0]
    assert f"term: moodle.zip is an export of several students, and {name} is not. Put" in str(e.value)
    assert "\n" not in str(e.value)


def test_a_broken_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"^term: b\.zip: submission_metadata\.yml"):
        read(tmp_path, {"a.zip": zipped(FIRST), "b.zip": zipped({"submission_metadata.yml": b"[", "s/lab.py": b""})})


def test_one_bad_entry_in_an_export_refuses_its_student(tmp_path: Path) -> None:
    bad = {**SECOND, "Ada Lovelace_1101_assignsubmission_file/../../x": b""}
    klass = read(tmp_path, {"a.zip": zipped(FIRST), "b.zip": zipped(bad)})
    assert turned(klass) == {k: v for k, v in ALL.items() if k != ("1", "4.1")}
    assert reasons(klass) == [("1", "traversal", "")]


def test_each_student_of_an_unpacked_export_has_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "Budget", lambda: entries.Budget(members=30))
    week = {f"S{n}_{n}_assignsubmission_file/lab1.1.py": b"%d" % n for n in range(50)}
    klass = read(tmp_path, {**under("week-1", week), **under("week-4", SECOND)}, roster="")
    assert (len(klass.turned), klass.refused) == (52, [])


def test_archives_are_looked_into_only_where_the_roster_does_not_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted work: a class of forty archives."""
    opened: list[int] = []
    real = archives.read
    monkeypatch.setattr(archives, "read", lambda *a: (opened.append(1), real(*a))[1])
    tree = {f"s{n}.zip": zipped({"lab1.1.py": b"x"}) for n in range(40)}
    roster = "id\n" + "".join(f"s{n}\n" for n in range(40))
    for folder, listed, times in (("a", roster, 1), ("b", "", 2)):
        opened.clear()
        assert len(read(tmp_path / folder, tree, roster=listed).turned) == 40
        assert len(opened) == 40 * times


def test_a_folder_without_a_platforms_name_in_an_export_is_named(tmp_path: Path) -> None:
    typed = {"Ada Lovelace_1001_assignsubmission_onlinetext/onlinetext.html": b"<p>"}
    klass = read(tmp_path, {**FIRST, **typed, "week-4/lab4.1.py": b"x", "week-4/lab1.1.py": b"x"})
    assert reasons(klass) == [("", "not-a-submission", "")]
    assert klass.refused[0].where == "term: week-4"


# Results instead of submissions


def test_results_of_lab_grade_are_refused_by_name(tmp_path: Path) -> None:
    Store.open(tmp_path / "results", "salt", resume=False)
    with pytest.raises(LabError, match="this is what `lab grade` wrote") as e:
        intake.read(tmp_path / "results", LABS)
    assert str(tmp_path / "results") in str(e.value)
    student = read(tmp_path / "b", {"ada/run.json": b"{}", "ada/lab1.1.py": b"x"}, roster="")
    assert [s.id for s in student.students] == ["ada"]


@pytest.mark.parametrize("rest", [{"ada/lab1.1.py": b"x", "bob/lab1.1.py": b"x"}, {"a.zip": zipped(FIRST)}])
def test_results_among_submissions_are_left_out(tmp_path: Path, rest: Tree) -> None:
    kept = {
        "results/run.json": json.dumps({}).encode(),
        "results/verdicts/x.json": b"",
        "results/files/lab1.1.py": b"y",
    }
    klass = read(tmp_path, {**rest, **kept}, roster="")
    assert len(klass.turned) == 2
    assert [(r.student, r.reason, r.where) for r in klass.refused] == [("", "not-a-submission", "term: results")]


# What is said of a file


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    tree = {"ada/lab.py": b"", "bob/lab.py": b" \n\n", "cyd/utils.py": b"", "dan/lab.py": b"x"}
    klass = read(tmp_path, tree, roster="")
    told = [
        ("ada", "empty-file", ""),
        ("bob", "empty-file", ""),
        ("dan", "unknown-lab", ""),
        ("cyd", "nothing-found", ""),
    ]
    assert reasons(klass) == told
    assert klass.refused[0].says == "ada/lab.py: It is an empty file."


def test_late_is_a_remark_on_the_file_that_is_graded(tmp_path: Path) -> None:
    tree = {
        "lovelaceada_LATE_5_901_lab1.1.py": b"late",
        "hoppergrace_6_902_lab1.1.py": b"in time",
        "hoppergrace_LATE_6_800_lab1.1.py": b"not graded",
        "handsidle_LATE_7_903_lab.py": b"?",
        "LATE_anon_x_904_lab1.1.py": b"blind",
    }
    klass = read(tmp_path, tree)
    assert reasons(klass) == [
        ("anon_x", "not-on-roster", ""),
        ("3", "unknown-lab", ""),
        ("anon_x", "late", "1.1"),
        ("2", "superseded", "1.1"),
        ("1", "late", "1.1"),
    ]
    assert turned(klass)["1", "1.1"] == b"late"
    says = klass.refused[-1].says
    assert says == (
        "Lab 1.1: the platform marks this file as late. It does not say by how much, so nothing is taken off for that."
    )


def test_a_refusal_knows_its_lab(tmp_path: Path) -> None:
    whole = catalog.find(catalog.root(), "4.1").file("lab.py").read_bytes()
    tree = {
        "ada/lab.py": whole,
        "bob/4.1/lab.py": b"x" * (entries.LAB_BYTES + 1),
        "cyd/lab4.1.zip": b"PK\x03\x04",
        "dan/hw.zip": b"PK\x03\x04",
        "eve/lab9.9.py": b"x",
    }
    klass = read(tmp_path, tree, roster="")
    assert reasons(klass) == [
        ("ada", "untouched", "4.1"),
        ("bob", "too-large", "4.1"),
        ("cyd", "corrupt", "4.1"),
        ("dan", "corrupt", ""),
        ("eve", "other-lab", ""),
    ]
    one = intake.read(tmp_path / "term", LABS, only="1.1")
    assert [(r.student, r.reason, r.lab) for r in one.refused][0] == ("ada", "other-lab", "4.1")
