"""Rosters as people and platforms write them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from labkit.catalog import LabError
from labkit.grading import roster
from labkit.grading.records import Student
from labkit.grading.store import Store

CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Lab 4.1 (991),Final Score\n"
    ",,,,,Manual Posting,\n"
    "    Points Possible,,,,,10.00,(read only)\n"
    '"Lovelace, Ada",501,s1815,ada,Week and Day,,\n'
    '"O\'Brien, Niamh",502,s1900,niamh,Week,EX,\n'
    '"Student, Test",599,,f00,Week,,\n'
)
MOODLE = (
    "First name,Last name,ID number,Institution,Email address,Assignment: Lab 4.1 (Real),Last downloaded\n"
    "Ada,Lovelace,1815,,ada@example.com,-,1800000000\n"
    "Grace,Hopper,,,grace@example.com,-,1800000000\n"
)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "roster.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str | bytes) -> list[Student]:
    return roster.read(written(folder, text))


def test_canvas_comes_back_column_for_column(tmp_path: Path) -> None:
    ada, niamh = read(tmp_path, CANVAS)
    assert (ada.id, ada.name, ada.section) == ("501", "Lovelace, Ada", "Week and Day")
    assert list(ada.columns) == CANVAS.split("\n")[0].split(",")
    assert niamh.columns["Lab 4.1 (991)"] == "EX"


def test_moodle_falls_back_to_the_address_where_there_is_no_number(tmp_path: Path) -> None:
    ada, grace = read(tmp_path, MOODLE)
    assert (ada.id, ada.name, ada.email) == ("1815", "Ada Lovelace", "ada@example.com")
    assert (grace.id, grace.name) == ("grace@example.com", "Grace Hopper")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id\n1\n2\n", ["1", "2"]),
        ("Student ID;Name\n7;Ada\n", ["7"]),
        ("sep=;\nStudent ID;Name\n7;Ada, Countess\n", ["7"]),
        ("name\temail\nAda\ta@b.c\n", ["a@b.c"]),
        ("﻿ID,Name\r\n1,Ada\r\n\r\n,,\r\n", ["1"]),
        ("Name\nAda Lovelace\n", ["Ada Lovelace"]),
        ('ID,Name\n1,"Ada\nCountess"\n2,B\n', ["1", "2"]),
        ("ID,Name,Notes\n1,Ada\n", ["1"]),
        ("ID,Name\n1,Ada,,\n", ["1"]),
    ],
)
def test_ways_to_write_one(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert [s.id for s in read(tmp_path, text)] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, "ID,Name\n1,Jürgen Müller\n".encode(encoding))[0].name == "Jürgen Müller"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("ID,Name\n", "no student"),
        ("colour,shape\nred,round\n", "names no column"),
        ("ID\n1\n2\n1\n", "lines 2 and 4: two rows have the id 1"),
        ("ID\nAda\nADA\n", "two rows have the id ADA"),
        ("ID,Name\n1,Lovelace, Ada\n", "line 2: more fields"),
        ("ID,Grade,Grade\n1,2,3\n", "two columns are called 'Grade'"),
        ("ID,Grade\n,3\n", "line 2: no id"),
        ("ID\n1\0\n", "not text"),
        ("ID,Name\n1," + "x" * 200_000 + "\n", "line 2: field larger"),
        (b"PK\x03\x04...", "spreadsheet"),
    ],
)
def test_what_is_refused_in_one_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(LabError) as e:
        roster.read(path)
    assert says in str(e.value)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be read"):
        roster.read(tmp_path / "none.csv")


def found(students: list[Student], *ids: str, name: str = "") -> list[str]:
    return [s.id for s in roster.Register(students).find(ids, name)]


def test_who_is_meant(tmp_path: Path) -> None:
    canvas = read(tmp_path, CANVAS)
    assert found(canvas, "canvas:501") == ["501"]
    assert found(canvas, "s1815") == found(canvas, "ADA ") == ["501"]
    assert found(canvas, name="lovelaceada") == found(canvas, name="Ada Lovelace") == ["501"]
    assert found(canvas, name="obrienniamh") == ["502"]  # as Canvas and Moodle write it
    assert found(canvas, "canvas:999", name="Nobody") == found(canvas) == []
    assert found(canvas, "s1815", "niamh") == ["501", "502"]  # the export contradicts the roster


def test_a_number_of_the_platform_is_nobodys_student_number(tmp_path: Path) -> None:
    plain = read(tmp_path, "ID,Name\n501,Ada Lovelace\n")
    assert found(plain, "canvas:501", name="hoppergrace") == []
    assert found(plain, "participant:501", name="Grace Hopper") == []
    worksheet = read(tmp_path, "Identifier,Full name\nParticipant 12,Ada Lovelace\n")
    assert found(worksheet, "participant:12") == ["Participant 12"]


def test_names_match_across_case_and_normal_form(tmp_path: Path) -> None:
    name = "Zoë Brontë-Šimić"
    students = read(tmp_path, f"ID,Name\n1,{unicodedata.normalize('NFC', name)}\n")
    for form in ("NFC", "NFD"):
        assert found(students, name=unicodedata.normalize(form, name).upper()) == ["1"]


def test_two_of_one_name_are_not_guessed_at(tmp_path: Path) -> None:
    assert found(read(tmp_path, "ID,Name\n1,Jan Novák\n2,Jan Novák\n"), name="Jan Novák") == ["1", "2"]


# Whom somebody means who types


@pytest.mark.parametrize("typed", ["501", "s1815", "ADA", " ada", "Lovelace, Ada", "ada lovelace"])
def test_any_id_of_canvas_names_the_student(tmp_path: Path, typed: str) -> None:
    students = read(tmp_path, CANVAS)
    assert students[0].also == ("s1815", "ada")
    assert roster.find(students, typed) == students[0]


@pytest.mark.parametrize("typed", ["1815", "ada@example.com", "al", "Participant 12", "Ada Lovelace"])
def test_any_id_of_moodle_names_the_student(tmp_path: Path, typed: str) -> None:
    text = (
        "Identifier,Full name,ID number,Username,Email address\nParticipant 12,Ada Lovelace,1815,al,Ada@example.com\n"
    )
    [ada] = read(tmp_path, text)
    assert (ada.id, roster.find([ada, Student("x")], typed)) == ("1815", ada)


def test_an_id_goes_before_the_other_names_of_somebody_else(tmp_path: Path) -> None:
    ada, bob = read(tmp_path, "ID,Login ID,Name\n1,2,Ada\n2,1,Bob\n")
    assert roster.find([ada, bob], "1") == ada
    assert roster.find([ada, bob], "Bob") == bob


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("loveace", "There is no student loveace in the class. Nearest: 501 (Lovelace, Ada)."),
        ("s1901", "There is no student s1901 in the class. Nearest: 502 (O'Brien, Niamh), 501 (Lovelace, Ada)."),
        ("?", "There is no student ? in the class. An id looks like this: 501 (Lovelace, Ada)."),
        ("", "There is no student  in the class. An id looks like this: 501 (Lovelace, Ada)."),
    ],
)
def test_who_is_not_there_is_told_with_the_nearest(tmp_path: Path, typed: str, says: str) -> None:
    students = read(tmp_path, CANVAS)
    with pytest.raises(LabError) as e:
        roster.find(students, typed)
    assert str(e.value) == says


def test_what_fits_several_or_nobody_can_answer_to(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"^Jan Novák fits several students\. Give an id: 1, 2\.$"):
        roster.find(read(tmp_path, "ID,Name\n1,Jan Novák\n2,Jan Novák\n"), "Jan Novák")
    with pytest.raises(LabError, match=r"^There is no student ada in the class\.$"):
        roster.find([], "ada")
    assert roster.find([Student("12345", "Ada Lovelace")], "ada lovelace").id == "12345"  # without a roster


def test_the_students_of_results(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="holds no results"):
        roster.of_results(tmp_path / "none")
    store, _ = Store.open(tmp_path / "results", "salt", resume=False)
    store.keep_index({("501", "4.1"): "x", ("502", "4.1"): "y"})
    assert roster.of_results(tmp_path / "results") == [Student("501"), Student("502")]  # the run was stopped
    ada = {"id": "501", "name": "Ada", "section": "A", "folder": "501"}
    book = tmp_path / "results" / "gradebook.json"
    book.write_text(json.dumps({"students": [ada, {"id": "7", "name": "Idle", "email": "i@x", "also": ["idle"]}]}))
    whole = [Student("501", "Ada", section="A"), Student("7", "Idle", "i@x", also=("idle",)), Student("502")]
    assert roster.of_results(tmp_path / "results") == whole
    assert roster.find(whole, "idle").id == "7"
    for broken in ("[]", "{", '{"students": [1]}', '{"students": 3}'):
        book.write_text(broken)
        assert roster.of_results(tmp_path / "results") == [Student("501"), Student("502")]


def test_a_class_of_a_thousand_is_registered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted work: asking again and again does not read the roster again."""
    read_again: list[int] = []
    real = roster._aliases
    monkeypatch.setattr(roster, "_aliases", lambda s: (read_again.append(1), real(s))[1])
    students = read(tmp_path, "ID,Login ID\n" + "".join(f"{n},s{n}\n" for n in range(1000)))
    register = roster.Register(students)
    assert [register.named(f"s{n}").id for n in range(0, 1000, 10)] == [str(n) for n in range(0, 1000, 10)]
    assert len(read_again) == 1000
