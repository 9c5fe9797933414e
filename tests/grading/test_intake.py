"""Exports as the platforms write them: whose each file is, for which lab, when, and what is said of the rest."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from labkit import catalog, scaffold
from labkit.catalog import Lab, LabError
from labkit.grading import candidates, entries, folders, intake
from labkit.grading.records import Class, Student

ATTENTION = "lab-01-scaled-dot-product-attention"
LABS = catalog.labs(catalog.root())
BY_ID = {lab.id: lab for lab in LABS}
WORK = b"x = 1  # my work\n"
Tree = Mapping[str, bytes]


def scaffold_of(lab: str) -> bytes:
    return scaffold.generate(BY_ID[lab]).encode()


def solved(lab: str) -> bytes:
    return BY_ID[lab].file("solution.py").read_bytes()


def zipped(tree: Tree) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in tree.items():
            z.writestr(name, data)
    return out.getvalue()


def tarred(tree: Tree) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for name, data in tree.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def placed(folder: Path, tree: Tree) -> Path:
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read(folder: Path, tree: Tree, roster: str = "", only: str | None = None, pack: str = "") -> Class:
    """Reads a class that lies in a folder, or in one archive (`pack`)."""
    source = folder / "week4"
    if pack:
        folder.mkdir(exist_ok=True)
        source = folder / f"week4.{pack}"
        source.write_bytes((zipped if pack == "zip" else tarred)(tree))
    else:
        placed(source, tree)
    if roster:
        (folder / "roster.csv").write_text(roster, encoding="utf-8")
    return intake.read(source, LABS, folder / "roster.csv" if roster else None, only)


def turned(klass: Class) -> dict[tuple[str, str], bytes]:
    return {(t.student, t.lab): t.data for t in klass.turned}


def reasons(klass: Class) -> list[tuple[str, str]]:
    assert all(r.reason in intake.REASONS and "\n" not in r.says and r.says.endswith(".") for r in klass.refused)
    return [(r.student, r.reason) for r in klass.refused]


# Which lab a file is for


@pytest.mark.parametrize(
    "path",
    [
        f"ada/{ATTENTION}/lab.py",
        f"ada/repo/phases/phase-04-attention-transformers/{ATTENTION}/lab.py",
        "ada/4.1/lab.py",
        "ada/lab4.1.py",
        "ada/lab_4_1.py",
        "ada/lab-04.01.py",
        "ada/4_1.py",
        "ada/Lab 4.1/Lab.py",
        "ada/4.1.py",
        f"ada/{ATTENTION}/Lab (1).py",
        f"ada/4.2/{ATTENTION}/lab.py",  # the lab's own folder goes before an id
    ],
)
def test_a_path_says_which_lab(tmp_path: Path, path: str) -> None:
    assert turned(read(tmp_path, {path: WORK})) == {("ada", "4.1"): WORK}


def test_the_scaffold_says_which_lab(tmp_path: Path) -> None:
    tree = {}
    for lab in LABS:
        tree[f"a{lab.id}/lab.py"] = scaffold_of(lab.id).replace(b"def ", b"def my_")  # its docstring is left
        tree[f"b{lab.id}/lab.py"] = scaffold_of(lab.id).split(b"\n", 1)[1]  # its names are left
        tree[f"c{lab.id}/mine.py"] = solved(lab.id)
    assert set(turned(read(tmp_path, tree))) == {(f"{who}{lab.id}", lab.id) for who in "abc" for lab in LABS}


def test_nothing_says_which_lab(tmp_path: Path) -> None:
    klass = read(tmp_path / "a", {"ada/lab.py": WORK, "bob/notes.py": WORK, "cyd/lab.txt": WORK})
    assert reasons(klass) == [("ada", "unknown-lab"), ("bob", "nothing-found"), ("cyd", "nothing-found")]
    told = read(
        tmp_path / "b", {"ada/lab.py": WORK, "bob/notes.py": WORK, "cyd/a.py": b"1", "cyd/b.py": b"2"}, only="4.1"
    )
    assert turned(told) == {("ada", "4.1"): WORK, ("bob", "4.1"): WORK}
    assert reasons(told) == [("cyd", "nothing-found")]


def test_only_one_lab_is_asked_for(tmp_path: Path) -> None:
    tree = {f"ada/{ATTENTION}/lab.py": WORK, "ada/4.2/lab.py": b"2", "bob/lab4.2.py": b"3"}
    klass = read(tmp_path, tree, only="4.1")
    assert turned(klass) == {("ada", "4.1"): WORK}
    assert reasons(klass) == [("bob", "other-lab")]  # for ada there is no need to say so
    one: list[Lab] = [BY_ID["4.1"]]
    assert {t.lab for t in intake.read(tmp_path / "week4", one, only="4.1").turned} == {"4.1"}
    with pytest.raises(LabError, match=r"no lab 4\.9"):
        intake.read(tmp_path / "week4", LABS, only="4.9")


def test_a_scaffold_is_not_a_submission(tmp_path: Path) -> None:
    same = scaffold_of("4.1")
    spaced = same.replace(b"\n", b"  \r\n") + b"\r\n\r\n"
    edited = same.replace(b"raise NotImplementedError", b"return None  #", 1)
    tree = {"ada/lab.py": same, "bob/lab.py": spaced, "cyd/lab.py": edited, "dan/lab.py": same, "dan/4.2/lab.py": WORK}
    klass = read(tmp_path, tree)
    assert turned(klass) == {("cyd", "4.1"): edited, ("dan", "4.2"): WORK}
    assert reasons(klass) == [("ada", "untouched"), ("bob", "untouched")]


# Layouts


@pytest.mark.parametrize("pack", ["", "zip", "tar.gz"])
def test_a_folder_or_an_archive_for_each_student(tmp_path: Path, pack: str) -> None:
    tree = {
        "ada/4.1/lab.py": b"1",
        "bob.zip": zipped({"4.1/lab.py": b"2"}),
        "cyd.tar.gz": tarred({"cyd/hw/4.1/lab.py": b"3"}),
        "dan/hand-in.zip": zipped({"lab4.1.py": b"4"}),
        "eve/lab4.1.zip": zipped({"lab.py": b"5"}),
        "notes.txt": b"no student",
        "roster.csv": b"no student either",
        ".idea/workspace.xml": b"",
    }
    klass = read(tmp_path, tree, pack=pack)
    assert turned(klass) == {(who, "4.1"): b"%d" % n for n, who in enumerate(("ada", "bob", "cyd", "dan", "eve"), 1)}
    assert [s.id for s in klass.students] == ["ada", "bob", "cyd", "dan", "eve"]
    assert klass.refused == []


def test_one_folder_around_the_class_in_an_archive(tmp_path: Path) -> None:
    tree = {"fall/ada/4.1/lab.py": b"1", "fall/bob/4.1/lab.py": b"2"}
    assert set(turned(read(tmp_path, tree, pack="zip"))) == {("ada", "4.1"), ("bob", "4.1")}
    one = {"ada/first/4.1/lab.py": b"1", "ada/second/4.2/lab.py": b"2"}
    assert set(turned(read(tmp_path / "b", one))) == {("ada", "4.1"), ("ada", "4.2")}


def test_the_files_of_one_student(tmp_path: Path) -> None:
    source = placed(tmp_path / "submission", {"lab.py": WORK})
    assert turned(intake.read(source, LABS, only="4.1")) == {("submission", "4.1"): WORK}
    mine, refused = intake.files_of(
        Student("me"), placed(tmp_path / "x", {"hw/lab4.1.py": WORK, "hw/lab.py": b"?"}), LABS
    )
    assert [(t.student, t.lab, t.data) for t in mine] == [("me", "4.1", WORK)]
    assert [(r.student, r.reason) for r in refused] == [("me", "unknown-lab")]
    empty, refused = intake.files_of(Student("me"), placed(tmp_path / "y", {"a.txt": b""}), LABS, "4.1")
    assert (empty, [r.reason for r in refused]) == ([], ["nothing-found"])


METADATA = """---
submission_101:
  :submitters:
  - :name: Ada Lovelace
    :sid: '01815'
    :email: ada@example.com
  :created_at: 2027-02-01 23:58:12.365935000 -08:00
  :score: !ruby/object:BigDecimal 18:0.1e1
  :results:
    output: "submission_102:\\n  :sid: '0'"
    when: 2027-99-99
submission_102:
  :submitters:
  - :name: Grace Hopper
    :sid:
    :email: grace@example.com
  - :name: Alan Turing
    :sid: '1912'
    :email: alan@example.com
  :created_at: 2027-02-01 23:58:12 Z
submission_103:
  :submitters:
  - :name: Nobody
    :sid: ''
    :email: nobody@example.com
  :created_at: 2027-02-01 23:58:12
submission_104:
  :submitters: []
"""


@pytest.mark.parametrize("pack", ["", "zip"])
def test_gradescope(tmp_path: Path, pack: str) -> None:
    around = "assignment_7_export/"
    tree = {
        f"{around}submission_metadata.yml": METADATA.encode(),
        f"{around}submission_101/lab.py": scaffold_of("4.1") + b"# 101",
        f"{around}submission_102/hw.zip": zipped({"4.1/lab.py": b"102"}),
        f"{around}submission_103/lab4.1.py": b"103",
        f"{around}submission_999/lab4.1.py": b"999",
    }
    roster = "Student ID,Name,Email\n01815,Ada,\n7,Grace,GRACE@example.com\n1912,Alan,\n1,Idle,\n"
    klass = read(tmp_path, tree, roster, pack=pack)
    pacific = timezone(timedelta(hours=-8))
    assert [(t.student, t.when) for t in klass.turned] == [
        ("01815", datetime(2027, 2, 1, 23, 58, 12, 365935, pacific)),
        ("7", datetime(2027, 2, 1, 23, 58, 12, tzinfo=UTC)),
        ("1912", datetime(2027, 2, 1, 23, 58, 12, tzinfo=UTC)),  # a group: each has it
        ("nobody@example.com", None),  # its time has no zone
        ("submission_999", None),
    ]
    assert [s.id for s in klass.students][:4] == ["01815", "7", "1912", "1"]
    assert reasons(klass) == [
        ("nobody@example.com", "not-on-roster"),
        ("submission_104", "not-on-roster"),
        ("submission_999", "not-on-roster"),
        ("submission_104", "nothing-found"),
    ]


@pytest.mark.parametrize("text", [b"a: [", b"- 1", b"", b"a: " + b"[" * 100_000, b"\xff\xfe\x00", b"? {}\n: 1\n- 2"])
def test_a_gradescope_export_whose_metadata_is_broken(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(LabError, match=r"submission_metadata\.yml"):
        read(tmp_path, {"submission_metadata.yml": text, "submission_1/lab.py": WORK})


def test_moodle(tmp_path: Path) -> None:
    tree = {
        "Ada Lovelace_12345_assignsubmission_file_/lab4.1.py": b"old form",
        "Zoë OBrien_12346_assignsubmission_file/hw/4.1/lab.py": b"new form",
        "Zoë OBrien_12346_assignsubmission_onlinetext/onlinetext.html": b"<p>",
        "Jan Novák_12347_assignsubmission_file_lab4.1.py": b"flat",
        "Jan Novák_12348_assignsubmission_file_hw.zip": zipped({"4.1/lab.py": b"the other Jan"}),
        "stray.zip": b"PK",
    }
    klass = read(tmp_path / "a", tree)
    assert turned(klass) == {
        ("12345", "4.1"): b"old form",
        ("12346", "4.1"): b"new form",
        ("12347", "4.1"): b"flat",
        ("12348", "4.1"): b"the other Jan",
    }
    assert reasons(klass) == [("", "not-a-submission")]
    roster = "First name,Surname,ID number\nada,lovelace,1\nZoe\u0308,O'Brien,12345\nJan,Novák,3\nJan,Novák,4\n"
    listed = read(tmp_path / "b", tree, roster)
    assert turned(listed) == {
        ("1", "4.1"): b"old form",
        ("12345", "4.1"): b"new form",
        ("12347", "4.1"): b"flat",
        ("12348", "4.1"): b"the other Jan",
    }
    assert ("12347", "ambiguous-name") in reasons(listed)
    assert ("12348", "ambiguous-name") in reasons(listed)


def test_a_platforms_number_is_not_merged_with_somebodys_student_number(tmp_path: Path) -> None:
    klass = read(tmp_path, {"Eve_12345_assignsubmission_file/lab4.1.py": WORK}, "ID,Name\n12345,Ada\n")
    assert turned(klass) == {("12345 (Eve)", "4.1"): WORK}
    assert [s.id for s in klass.students] == ["12345", "12345 (Eve)"]


@pytest.mark.parametrize("pack", ["", "zip"])
def test_canvas(tmp_path: Path, pack: str) -> None:
    tree = {
        "lovelaceada_501_9001_lab.py": scaffold_of("4.1") + b"# 1",
        "lovelaceada_501_9002_lab-1.py": scaffold_of("4.1") + b"# 2",
        "obrienniamh_LATE_502_9100_lab4.1-2.py": b"late",
        "LATE_anon_aB3x_9200_hw.zip": zipped({"4.1/lab.py": b"blind"}),
        "noemail_504_text.html": b"typed",
    }
    roster = 'Student,ID,SIS User ID,SIS Login ID,Section\n"Lovelace, Ada",501,1,ada,\n"O\'Brien, Niamh",502,2,no,\n'
    klass = read(tmp_path, tree, roster, pack=pack)
    assert turned(klass) == {
        ("501", "4.1"): scaffold_of("4.1") + b"# 2",
        ("502", "4.1"): b"late",
        ("anon_aB3x", "4.1"): b"blind",
    }
    notes = [("501", "superseded"), ("502", "late"), ("anon_aB3x", "late"), ("anon_aB3x", "not-on-roster")]
    assert sorted(reasons(klass)) == notes
    assert all(t.when is None for t in klass.turned)


def test_the_roster_decides_who_is_in_the_class(tmp_path: Path) -> None:
    tree = {"ADA/4.1/lab.py": b"1", "Hopper, Grace/4.1/lab.py": b"2", "mallory/4.1/lab.py": b"3"}
    klass = read(tmp_path, tree, "id,name\nada,Ada Lovelace\n7,Grace Hopper\n9,Idle Hands\n")
    assert set(turned(klass)) == {("ada", "4.1"), ("7", "4.1"), ("mallory", "4.1")}
    assert [s.id for s in klass.students] == ["ada", "7", "9", "mallory"]
    assert reasons(klass) == [("mallory", "not-on-roster")]


def test_of_several_files_one_is_graded(tmp_path: Path) -> None:
    tree = {
        "ada/4.1/lab.py": b"near",
        "ada/old/deep/4.1/lab.py": b"far",
        "bob/4.1/lab.py": b"1",
        "bob/b/4.1/lab.py": b"1",
    }
    klass = read(tmp_path, tree)
    assert turned(klass) == {("ada", "4.1"): b"near", ("bob", "4.1"): b"1"}
    assert reasons(klass) == [("ada", "superseded")]  # bob's two are the same
    late = METADATA.replace("submission_102", "submission_100").replace("23:58:12 Z", "23:58:12 -09:00").encode()
    again = {
        "submission_metadata.yml": late.replace(b"01815", b"1912").replace(b"ada@", b"alan@"),
        "submission_100/4.1/lab.py": b"an hour later",
        "submission_101/4.1/lab.py": b"earlier",
    }
    got = read(tmp_path / "b", again)
    assert turned(got)["1912", "4.1"] == b"an hour later"


# What goes wrong


BAD = {
    "corrupt": b"PK\x03\x04 no zip",
    "traversal": zipped({"../lab.py": WORK, "4.1/lab.py": WORK}),
    "too-large": zipped({"4.1/lab.py": random.Random(0).randbytes(entries.LAB_BYTES + 1)}),
    "not-a-file": zipped({"lab.py/": b""}),
    "nothing-found": zipped({}),
    "too-deep": zipped({"a.zip": zipped({"b.zip": zipped({"c.zip": zipped({"4.1/lab.py": WORK})})})}),
}


@pytest.mark.parametrize("pack", ["", "zip"])
@pytest.mark.parametrize("reason", BAD)
def test_one_bad_archive_stops_nobody_else(tmp_path: Path, reason: str, pack: str) -> None:
    klass = read(
        tmp_path, {"ada/4.1/lab.py": WORK, "mal.zip": BAD[reason], "zoe.zip": zipped({"4.1/lab.py": WORK})}, pack=pack
    )
    assert set(turned(klass)) == {("ada", "4.1"), ("zoe", "4.1")}
    assert reasons(klass) == [("mal", reason)]
    assert "mal" in klass.refused[0].where
    assert [s.id for s in klass.students] == ["ada", "mal", "zoe"]


def test_three_archives_in_one_another_are_read(tmp_path: Path) -> None:
    deep = zipped({"a.zip": zipped({"b.zip": zipped({"4.1/lab.py": WORK})})})
    assert turned(read(tmp_path, {"ada.zip": deep})) == {("ada", "4.1"): WORK}


def test_other_archives_are_named(tmp_path: Path) -> None:
    klass = read(tmp_path, {"ada/hw.7z": b"7z", "bob.rar": b"Rar!", "cyd/hw.7z": b"", "cyd/4.1/lab.py": WORK})
    assert reasons(klass) == [("ada", "unsupported"), ("bob", "unsupported"), ("cyd", "unsupported")]
    assert turned(klass) == {("cyd", "4.1"): WORK}


@pytest.mark.parametrize("pack", ["zip", "tar.gz"])
def test_what_a_student_put_into_the_export_refuses_that_student(tmp_path: Path, pack: str) -> None:
    tree = {"ada/4.1/lab.py": WORK, "mal/4.1/lab.py": WORK, "mal/../../x": b"", "zoe/4.1/lab.py": WORK, "../y": b""}
    klass = read(tmp_path, tree, pack=pack)
    assert set(turned(klass)) == {("ada", "4.1"), ("zoe", "4.1")}
    assert reasons(klass) == [("", "traversal"), ("mal", "traversal")]


def test_bytes_that_are_no_text_are_handed_on(tmp_path: Path) -> None:
    data = b"\xff\xfe\x00 = 1"
    assert turned(read(tmp_path, {"ada/4.1/lab.py": data, "bob/4.1/lab.py": b""})) == {
        ("ada", "4.1"): data,
        ("bob", "4.1"): b"",
    }


def test_a_folder_with_links_pipes_and_locked_doors(tmp_path: Path) -> None:
    secret = placed(tmp_path / "outside", {"4.1/lab.py": b"secret"})
    source = placed(tmp_path / "week4", {"ada/4.2/lab.py": WORK, "bob/lab4.1.py/x": b"", "zoe/4.1/lab.py": WORK})
    (source / "ada" / "4.1").symlink_to(secret / "4.1")
    (source / "eve").mkdir()
    (source / "eve" / "lab4.1.py").symlink_to(secret / "4.1" / "lab.py")
    (source / "fay").symlink_to(secret)
    (source / "gil").mkdir()
    os.mkfifo(source / "gil" / "lab4.1.py")
    os.mkfifo(source / "pipe")
    (source / "zoe" / "a\nb").write_bytes(b"")
    (source / "zoe" / ".git").mkdir()
    klass = intake.read(source, LABS)
    assert turned(klass) == {("ada", "4.2"): WORK, ("zoe", "4.1"): WORK}
    assert sorted(reasons(klass)) == sorted(
        [
            ("", "link"),
            ("", "device"),
            ("ada", "link"),
            ("bob", "not-a-file"),
            ("eve", "link"),
            ("gil", "device"),
            ("zoe", "bad-name"),
        ]
    )


def test_a_file_swapped_for_a_link_or_a_pipe_after_the_look(tmp_path: Path) -> None:
    source = placed(tmp_path / "week4", {"lab.py": WORK})
    [entry] = [e for e in folders.read(source) if e.read]
    (source / "lab.py").unlink()
    (source / "lab.py").symlink_to(placed(tmp_path / "out", {"secret": b"secret"}) / "secret")
    assert entry.read
    with pytest.raises(entries.Refused, match="cannot be read"):
        entry.read(100)
    (source / "lab.py").unlink()
    os.mkfifo(source / "lab.py")
    with pytest.raises(entries.Refused, match="no longer a file"):
        entry.read(100)


def test_too_many_files_or_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "Budget", lambda: entries.Budget(members=30))
    monkeypatch.setattr(candidates, "MEMBERS", 30)
    many = {f"mal/{i}/x.txt": b"" for i in range(30)} | {"mal/4.1/lab.py": WORK, "ada/4.1/lab.py": WORK}
    for i, pack in enumerate(("", "zip")):
        klass = read(tmp_path / str(i), many, pack=pack)
        assert (set(turned(klass)), reasons(klass)) == ({("ada", "4.1")}, [("mal", "too-many-files")])
    monkeypatch.undo()
    deep = {"mal/" + "d/" * 50 + "x": b"", "mal/4.1/lab.py": WORK}
    assert reasons(read(tmp_path / "deep", deep)) == [("mal", "too-deep")]


def test_a_source_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_bytes(b"hello")
    for source, says in [
        (tmp_path / "none", "no such folder"),
        (tmp_path / "text.zip", "Give a folder, a zip or a tar"),
    ]:
        with pytest.raises(LabError, match=says):
            intake.read(source, LABS)
    for i, tree in enumerate(({}, {"roster.csv": b"id", ".idea/x": b"", "notes.txt": b""})):
        (tmp_path / f"empty{i}").mkdir()
        with pytest.raises(LabError, match="nothing in it is a student's"):
            intake.read(placed(tmp_path / f"empty{i}", tree), LABS)


# Clones


def git(folder: Path, *words: str, at: str = "2027-01-01T00:00:00+00:00") -> None:
    who = {
        f"GIT_{w}_{k}": v for w in ("AUTHOR", "COMMITTER") for k, v in [("NAME", "A"), ("EMAIL", "a@b"), ("DATE", at)]
    }
    subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *words],
        cwd=folder,
        env={**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull},
        check=True,
        capture_output=True,
    )


def commit(folder: Path, tree: Tree, at: str) -> None:
    placed(folder, tree)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x", at=at)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = tmp_path / "week4" / "ada"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    path = f"phases/phase-04-attention-transformers/{ATTENTION}/lab.py"
    commit(folder, {path: scaffold_of("4.1"), "4.2/lab.py": b"2"}, "2027-01-01T00:00:00+00:00")
    commit(folder, {path: WORK}, "2027-01-02T12:00:00+05:30")
    commit(folder, {"4.3/lab.py": b"3", "README.md": b"later"}, "2027-01-09T00:00:00+00:00")
    return folder


def when(source: Path) -> dict[str, datetime | None]:
    return {t.lab: t.when for t in intake.read(source, LABS).turned}


INDIA = timezone(timedelta(hours=5, minutes=30))
TIMES = {
    "4.1": datetime(2027, 1, 2, 12, tzinfo=INDIA),
    "4.2": datetime(2027, 1, 1, tzinfo=UTC),
    "4.3": datetime(2027, 1, 9, tzinfo=UTC),
}


def test_each_file_of_a_clone_has_the_time_of_its_last_commit(clone: Path) -> None:
    assert when(clone.parent) == TIMES
    git(clone, "gc", "-q")  # packed objects, packed refs
    assert when(clone.parent) == TIMES
    git(clone, "checkout", "-q", "--detach")
    assert when(clone.parent) == TIMES


def test_a_merge_of_the_courses_news_changes_no_time(clone: Path) -> None:
    git(clone, "checkout", "-qb", "news", "HEAD~2")
    commit(clone, {"news.md": b"n"}, "2027-01-20T00:00:00+00:00")
    git(clone, "checkout", "-q", "main")
    git(clone, "merge", "-q", "--no-edit", "news", at="2027-01-21T00:00:00+00:00")
    assert when(clone.parent) == TIMES


def test_what_was_not_committed_has_no_time(clone: Path) -> None:
    placed(clone, {"4.2/lab.py": b"changed", "4.4/lab.py": b"new"})
    assert when(clone.parent) == {**TIMES, "4.2": None, "4.4": None}


def test_a_clone_with_windows_line_ends_has_its_times(clone: Path) -> None:
    commit(clone, {"4.4/lab.py": b"a\nb\n"}, "2027-01-10T00:00:00+00:00")
    placed(clone, {"4.4/lab.py": b"a\r\nb\r\n"})
    assert when(clone.parent)["4.4"] == datetime(2027, 1, 10, tzinfo=UTC)


def test_a_clone_can_make_git_run_nothing(clone: Path) -> None:
    mark = clone.parent.parent / "ran"
    hook = f"#!/bin/sh\ntouch {mark}\n"
    placed(clone, {"evil.sh": hook.encode()})
    (clone / "evil.sh").chmod(0o755)
    for name in ("post-checkout", "reference-transaction", "fsmonitor-watchman"):
        shutil.copy(clone / "evil.sh", clone / ".git" / "hooks" / name)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "log.showSignature", "gpg.program"):
        git(clone, "config", key, "true" if key == "log.showSignature" else str(clone / "evil.sh"))
    git(clone, "config", "diff.external", str(clone / "evil.sh"))
    git(clone, "config", "remote.origin.promisor", "true")
    git(clone, "config", "remote.origin.url", f"ext::{clone / 'evil.sh'}")
    placed(clone, {".gitattributes": b"*.py diff=evil\n"})
    git(clone, "config", "diff.evil.textconv", str(clone / "evil.sh"))
    subprocess.run(["git", "status"], cwd=clone, capture_output=True, check=False)
    assert mark.exists()  # so the trap works
    mark.unlink()
    assert when(clone.parent) == TIMES
    assert not mark.exists()


@pytest.mark.parametrize("how", ["HEAD", "ref", "link", "objects", "file", "shallow", "missing"])
def test_a_clone_that_is_broken_or_hostile_has_no_times(clone: Path, how: str) -> None:
    dot = clone / ".git"
    if how == "HEAD":
        (dot / "HEAD").write_text("ref: refs/heads/../../../../../etc/passwd\n")
    elif how == "ref":
        (dot / "refs" / "heads" / "main").write_text("--output=x\n")
    elif how == "link":
        dot.rename(clone.parent.parent / "elsewhere")
        dot.symlink_to(clone.parent.parent / "elsewhere")
    elif how == "objects":
        shutil.rmtree(dot / "objects")
    elif how == "file":
        shutil.rmtree(dot)
        dot.write_text("gitdir: /somewhere/else\n")
    elif how == "shallow":
        (dot / "shallow").write_text("")
    else:
        for pack in (dot / "objects").glob("??/*"):
            pack.chmod(0o644)
            pack.write_bytes(b"garbage")
    assert set(when(clone.parent).values()) == {None}


def test_without_git_there_are_no_times(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert set(when(clone.parent).values()) == {None}


# Work


def test_each_file_is_opened_once_and_only_what_can_be_a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted work: 200 students with 20 files, three of them lab files."""
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(folders.os, "open", lambda p, *a, **k: (opened.append(Path(p).name), real(p, *a, **k))[1])
    labs = {f"{i}/lab.py": WORK for i in ("4.1", "4.2", "4.3")}
    rest = {f"data/{i}.txt": b"" for i in range(15)} | {"solution.py": b"", "helper.py": b""}
    source = placed(tmp_path / "week4", {f"s{n}/{name}": d for n in range(200) for name, d in {**labs, **rest}.items()})
    lines: list[str] = []
    klass = intake.read(source, LABS, progress=lines.append)
    assert len(klass.turned) == 600
    assert [name for name in opened if name.endswith((".py", ".txt"))] == ["lab.py"] * 600
    assert lines[0] == "Reading 1 of 200: s0"
    assert len(lines) == 200
