"""What grading writes: gradebooks a platform takes back, names and cells that do no harm, files that are whole."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.catalog import Lab, LabError, Task
from labkit.grading import canvas, cells, gradebook, junit, moodle, policy, words
from labkit.grading.records import Class, Mark, Student, TaskVerdict, Turned, Verdict
from labkit.grading.rules import Rule

TASKS = (Task("t", 6, ("a", "b", "c"), ("t",), (), ()), Task("u", 4, ("a", "b", "c"), ("u",), ("t",), ()))
LABS = [Lab(i, f"Title {i}", "", 1, 1, (), (), (), TASKS, Path("/nowhere")) for i in ("4.1", "4.10", "5.1")]
RULES = [Rule(w, 10.0) for w in LABS]
NASTY = "\x00\x1b[31mred\x1b[0m \x1b]0;title\x07 ]]> <b>&amp; \ud800 \ufffe \x85 \u202eevil\n" + "x" * 200_000


def rows(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def marks(*found):
    return {(m.student, m.lab): m for m in found}


def mark(student, lab, awarded=10.0, status="graded", **more):
    return Mark(student, lab, 10.0, awarded, awarded, status, **more)


def seen(lab="4.1"):
    """One task passed, one wrong in the nastiest words."""
    bad = TaskVerdict(
        "u", 4, 0, "wrong", 3, 1, claim=NASTY, called=NASTY, got=NASTY, says="It is upside down.", printed=NASTY
    )
    bad.mistake = "4.1/upside_down"
    return Verdict(lab, f"Title {lab}", "hash", [TaskVerdict("t", 6, 6, "passed", 2, 2), bad], seconds=1.5)


# Canvas.  Its importer in the few lines that matter, from lib/gradebook_importer.rb.


def canvas_reads(text):
    """What Canvas would take from the file: {(id, sis id, login, name): {assignment (name, id): cell}}, points."""
    table = rows(text)
    header = table[0]
    assert "Student" in header[0]
    assert "ID" in header[1]
    first = header.index("Section") + 1
    assert header[:first] in (
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"],
        ["Student", "ID", "SIS Login ID", "Section"],
    )
    assignments = {}
    for n, name in enumerate(header[first:], first):
        if not re.search(r"(Current|Final) (Score|Points|Grade)|Override", name):
            with_id = re.fullmatch(r"(.*)\s\((\d+)\)", name)
            assignments[n] = with_id.groups() if with_id else (name, None)
    students, points = {}, {}
    for row in table[1:]:
        if "Points Possible" in row[0]:
            points = {assignments[n]: row[n] for n in assignments if row[n]}
        else:
            names = dict(zip(header[:first], row[:first], strict=True))
            key = names["ID"] or names.get("SIS User ID") or names["SIS Login ID"]
            students[key] = {assignments[n]: row[n] for n in assignments}
    return students, points


EXPORT = [
    "Student",
    "ID",
    "SIS User ID",
    "SIS Login ID",
    "Section",
    "Quiz (7)",
    "Lab 4.1 (99)",
    "Lab 4.10 (98)",
    "Final Score",
]


def exported(n, name, *scores):
    values = [name, str(n), f"S{n}", f"login{n}", "A", *scores, "55.5"]
    return Student(f"S{n}", name, columns=dict(zip(EXPORT, values, strict=True)))


def test_a_canvas_export_goes_back_column_for_column():
    students = [exported(1, "Love, Ada", "3", "", "EX"), exported(2, "Bo", "4", "1", "2")]
    text = canvas.table(students, RULES, marks(mark("S1", "4.1", 7.5), mark("S1", "4.10", 2), mark("S2", "5.1", 1)))
    assert rows(text)[0] == [*EXPORT, "Lab 5.1"]
    assert rows(text)[1][-2:] == ["(read only)", "10"]
    found, points = canvas_reads(text)
    assert found["1"] == {("Quiz", "7"): "3", ("Lab 4.1", "99"): "7.5", ("Lab 4.10", "98"): "2", ("Lab 5.1", None): ""}
    assert found["2"] == {("Quiz", "7"): "4", ("Lab 4.1", "99"): "1", ("Lab 4.10", "98"): "2", ("Lab 5.1", None): "1"}
    assert points == {
        ("Lab 4.1", "99"): "10",
        ("Lab 4.10", "98"): "10",
        ("Lab 5.1", None): "10",
    }  # the quiz keeps its own


def test_without_a_canvas_export_students_are_named_by_what_is_known():
    students = [Student("S1", "Ada", "ada@uni.example", "A"), Student("bo")]
    found, _ = canvas_reads(
        canvas.table(students, RULES[:1], marks(mark("S1", "4.1"), mark("bo", "4.1", 0, "missing")))
    )
    assert found == {"S1": {("Lab 4.1", None): "10"}, "bo": {("Lab 4.1", None): "0"}}
    assert rows(canvas.table(students, [], {}))[2] == ["Ada", "", "S1", "ada@uni.example", "A"]
    assert rows(canvas.table(students, [], {}))[3] == ["bo", "", "bo", "bo", ""]


def test_a_student_the_export_does_not_have_gets_a_row_without_canvas_number():
    text = canvas.table(
        [exported(1, "Ada", "", "", ""), Student("77", "Cy Late")], RULES[:1], marks(mark("77", "4.1", 3))
    )
    assert rows(text)[3][:5] == ["Cy Late", "", "77", "77", ""]  # as ID, 77 would be some other user of Canvas


def test_first_and_last_names_in_two_columns():
    header = ["LastName", "FirstName", "ID", "SIS Login ID", "Section"]
    ada = Student("S1", "Ada Love", columns=dict(zip(header, ["Love", "Ada", "1", "ada", "A"], strict=True)))
    found = rows(canvas.table([ada, Student("x", "Cy Van Late"), Student("y")], [], {}))
    assert [r[:3] for r in found[2:]] == [["Love", "Ada", "1"], ["Late", "Cy Van", ""], ["y", "", ""]]


def test_excused_and_refused_in_canvas():
    students = [exported(n, f"N{n}", "", "8", "") for n in (1, 2)]
    text = canvas.table(students, RULES[:1], marks(mark("S1", "4.1", 0, "excused"), mark("S2", "4.1", 0, "refused")))
    found, _ = canvas_reads(text)
    assert [found[n]["Lab 4.1", "99"] for n in "12"] == ["EX", "8"]  # nobody has judged a refused file


def test_a_class_of_nobody():
    assert len(rows(canvas.table([], RULES, {}))) == 2
    assert len(rows(moodle.table([], RULES, {}))) == 1


@pytest.mark.parametrize(
    "header",
    [
        "4.1",
        "Lab 4.1",
        "lab 4.1 (123)",
        "Title 4.1",
        "Lab 4.1: Title 4.1 (5)",
        "Assignment: Lab 4.1 (Real)",
        "Title 4.1 (Percentage)",
    ],
)
def test_headers_that_are_a_labs(header):
    assert cells.lab_columns(["Quiz", header], RULES[:1]) == {"4.1": header}


@pytest.mark.parametrize("header", ["Lab 4.1 quiz (3)", "Lab 4.10", "Lab 14.1", "Lab 4.1.2", "4", "41"])
def test_headers_that_are_not(header):
    assert cells.lab_columns([header], RULES[:1]) == {"4.1": "Lab 4.1"}


def test_two_columns_for_one_lab_need_a_word_in_the_policy():
    with pytest.raises(LabError, match=r'two columns for lab 4\.1: 4\.1 and Lab 4\.1\. .* column = "4\.1"\.$'):
        cells.lab_columns(["4.1", "Lab 4.1"], RULES)
    chosen = Rule(LABS[0], 10.0, column="Attention (5)")
    assert cells.lab_columns(["4.1", "Lab 4.1", "Attention (5)"], [chosen]) == {"4.1": "Attention (5)"}


# Moodle.


def test_moodle_names_students_by_number_and_address():
    students = [Student("S1", "Ada", "ada@uni.example"), Student("S2", "Bo")]
    found = rows(moodle.table(students, RULES[:2], marks(mark("S1", "4.1", 1 / 3), mark("S2", "4.1", 0, "missing"))))
    assert found == [
        ["ID number", "Email address", "Name", "Lab 4.1", "Lab 4.10"],
        ["S1", "ada@uni.example", "Ada", "0.33", "-"],
        ["S2", "", "Bo", "0", "-"],
    ]


def test_a_moodle_export_goes_back_and_strangers_stay_out():
    header = [
        "First name",
        "Surname",
        "ID number",
        "Email address",
        "Assignment: Lab 4.1 (Real)",
        "Course total (Real)",
    ]
    one = Student("S1", columns=dict(zip(header, ["Ada", "L", "S1", "a@b.example", "-", "9"], strict=True)))
    two = Student("S2", columns=dict(zip(header, ["Bo", "M", "S2", "b@b.example", "4", "8"], strict=True)))
    three = Student("S3", columns=dict(zip(header, ["Cy", "N", "S3", "c@b.example", "5", "8"], strict=True)))
    given = marks(
        mark("S1", "4.1", 6), mark("S2", "4.1", 0, "refused"), mark("S3", "4.1", 0, "excused"), mark("x", "4.1")
    )
    found = rows(moodle.table([one, two, three, Student("x")], RULES[:1], given))
    assert found[0] == header
    assert [r[4] for r in found[1:]] == ["6", "4", "-"]  # x is not in the course: one such row stops Moodle's import


# Cells.


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("", ""),
        ("Ada", "Ada"),
        ("O'Neil", "O'Neil"),
        ("a=b", "a=b"),
        ("ada@uni.example", "ada@uni.example"),
        ("Jean-Luc", "Jean-Luc"),
        ("-12.5", "-12.5"),
        ("-", "-"),
        ("+49", "+49"),
        ("=1+1", "'=1+1"),
        ("=", "'="),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("  =1", "  '=1"),
        ('"=1"', '"\'=1"'),
        ("＝1", "'＝1"),
        ("Doe;=1", "Doe;'=1"),
        ("Doe, =1", "Doe, '=1"),
        ("a\n=1", "a\n'=1"),
        ("\x00=1", "'=1"),
        ("a\x00b\ud800c", "abc"),
    ],
)
def test_no_cell_is_a_formula(text, safe):
    assert cells.safe(text) == safe


@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n ;,|\"'\x00a1\ud800＝")))
def test_no_way_of_splitting_a_cell_leaves_a_formula(text):
    if cells.NUMBER.fullmatch(text):
        return
    for part in re.split(r"[;,|\t\r\n]", cells.safe(text)):
        assert part.strip(' "')[:1] not in ("=", "+", "-", "@", "＝")
    assert cells.safe(text)[:1] not in ("\t", "\r")


def test_a_name_that_is_a_formula_does_not_keep_canvas_from_finding_its_student(tmp_path):
    evil = '=HYPERLINK("http://evil.example","x")'
    text = canvas.table([exported(5, evil, "", "", "")], RULES[:1], marks(mark("S5", "4.1", 4)))
    assert rows(text)[2][0] == "'" + evil
    assert canvas_reads(text)[0]["5"]["Lab 4.1", "99"] == "4"


@pytest.mark.parametrize(
    ("points", "text"), [(0, "0"), (10, "10"), (2.5, "2.5"), (13.333333, "13.33"), (0.004, "0"), (100, "100")]
)
def test_points_have_two_digits_at_most(points, text):
    assert cells.number(points) == text


# Folder names.


def back(name):
    """The id behind a folder's name, read independently of how it is made."""
    data = re.sub(rb"\+([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), name.encode())
    return "" if name == "+" else data.decode("utf-8", "surrogatepass")


@given(st.text(max_size=10))
def test_a_folder_name_is_safe_and_tells_its_id(student):
    name = gradebook.folder_name(student)
    assert back(name) == student
    assert re.fullmatch(r"[a-z0-9_.+-]+", name)
    assert name[0] != "."
    assert name[-1] != "."


@given(st.lists(st.text(alphabet="aAäÄ.+ /\\\u0308é", max_size=4), unique=True))
def test_no_two_ids_share_a_folder_whatever_case_a_system_ignores(ids):
    assert len({gradebook.folder_name(i).casefold() for i in ids}) == len(ids)


@pytest.mark.parametrize(
    "student", ["con", "NUL", "com1", "lpt9.txt", "aux.", "..", ".", "", "../../etc", "a" * 300, "b" * 10_000, "é" * 50]
)
def test_odd_ids_have_folders_on_every_system(student, tmp_path):
    name = gradebook.folder_name(student)
    assert not re.fullmatch(r"(con|nul|aux|prn|com\d|lpt\d)(\..*)?", name)
    assert len(name) <= gradebook.LONGEST
    (tmp_path / name).mkdir()
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_ordinary_ids_keep_their_names():
    assert gradebook.folder_name("s0042") == "s0042"
    assert gradebook.folder_name("ada@uni.example") == "ada+40uni.example"


# JUnit.


def test_junit_counts_what_it_holds_and_survives_what_was_printed():
    data = junit.xml(
        [
            (LABS[0], mark("S1", "4.1"), seen()),
            (LABS[2], mark("S1", "5.1", 0, "missing", note="Nothing was handed in."), None),
        ]
    )
    suites = ElementTree.fromstring(data).findall("testsuite")
    assert [s.get("name") for s in suites] == ["4.1 Title 4.1", "5.1 Title 5.1"]
    for suite in suites:
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases) == 2
        for kind, name in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(kind)) == len(suite.findall(f"testcase/{name}"))
    (failure,) = suites[0].findall("testcase/failure")
    assert failure.get("message").endswith("It is upside down.")
    assert failure.get("type") == "4.1/upside_down"
    assert "lab hint 4.1 u" in failure.text
    assert len(failure.text) < 30_000
    assert suites[1].find("testcase/skipped").get("message") == "Nothing was handed in."


@pytest.mark.parametrize(
    ("status", "element"),
    [("passed", None), ("wrong", "failure"), ("forbidden", "failure"), ("crashed", "error"), ("slow", "error")]
    + [(s, "skipped") for s in ("begun", "not-started", "waiting", "not-run")],
)
def test_each_status_has_its_element(status, element):
    data = junit.xml([(LABS[0], mark("S1", "4.1"), Verdict("4.1", "T", "f", [TaskVerdict("t", 1, 0, status)]))])
    (case,) = ElementTree.fromstring(data).iter("testcase")
    assert [e.tag for e in case] == ([element] if element else [])


@given(st.text())
def test_any_text_can_stand_in_the_xml(text):
    task = TaskVerdict("t", 1, 0, "wrong", claim=text, printed=text)
    data = junit.xml([(LABS[0], mark("S1", "4.1"), Verdict("4.1", "T", "f", [task]))])
    assert len(list(ElementTree.fromstring(data).iter("failure"))) == 1


def test_words_are_cut_and_say_so():
    assert words.clean("a" * words.LENGTH) == "a" * words.LENGTH
    assert words.clean("a" * (words.LENGTH + 1)).endswith("a … (cut)")
    assert words.clean("\x1b[1mbold\x1b[0m\r\nnext") == "bold\nnext"


# All of it.


@pytest.fixture
def term():
    students = [exported(1, "Ada", "", "", ""), exported(2, "=Bo", "", "", "")]
    klass = Class(students, [Turned("S1", "4.1", b"", datetime(2027, 1, 1, tzinfo=UTC), "S1/lab.py")])
    verdicts = {("S1", "4.1"): seen()}
    made = policy.read(None, LABS)
    return klass, policy.marks(made, klass, verdicts), verdicts, made


def test_everything_is_written(tmp_path, term):
    gradebook.write(tmp_path / "deep" / "out", *term)
    written = sorted(str(p.relative_to(tmp_path / "deep" / "out")) for p in tmp_path.rglob("*") if p.is_file())
    assert written == sorted(
        ["gradebook-canvas.csv", "gradebook-moodle.csv", "gradebook.json"]
        + [f"students/+53{n}/{f}" for n in "12" for f in ("result.json", "junit.xml", "results.json")]
    )


def test_the_files_say_what_came_about(tmp_path, term):
    gradebook.write(tmp_path, *term)
    book = json.loads((tmp_path / "gradebook.json").read_text("utf-8"))
    assert [(m["student"], m["status"], m["awarded"]) for m in book["marks"]] == [
        ("S1", "graded", 6),
        ("S2", "open", 0),
    ]
    assert [row["id"] for row in book["labs"]] == ["4.1"]
    assert book["marks"][0]["how"]["handed_in"] == "2027-01-01T00:00:00+00:00"
    assert book["marks"][0]["how"]["tasks"] == {
        "t": {"status": "passed", "earned": 6, "points": 6},
        "u": {"status": "wrong", "earned": 0, "points": 4},
    }
    mine = json.loads((tmp_path / "students" / "+531" / "result.json").read_text("utf-8"))
    again = Verdict.from_json(mine["verdicts"]["4.1"])
    assert (again.earned, again.points, again.tasks[1].mistake) == (6, 10, "4.1/upside_down")
    scope = json.loads((tmp_path / "students" / "+531" / "results.json").read_text("utf-8"))
    assert scope["score"] == 6
    assert rows((tmp_path / "gradebook-canvas.csv").read_text("utf-8"))[3][0] == "'=Bo"


def test_writing_again_gives_the_same_bytes_and_leaves_no_parts(tmp_path, term):
    gradebook.write(tmp_path, *term)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    gradebook.write(tmp_path, *term)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_write_that_is_stopped_leaves_the_old_file(tmp_path, term, monkeypatch):
    gradebook.write(tmp_path, *term)
    old = (tmp_path / "gradebook.json").read_bytes()

    def stopped(self, target):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(LabError, match=r"^The gradebook cannot be written: No space left on device: .*\.part\.$"):
        gradebook.write(tmp_path, *term)
    assert (tmp_path / "gradebook.json").read_bytes() == old


def test_a_folder_that_is_a_file(tmp_path, term):
    (tmp_path / "out").write_text("")
    with pytest.raises(LabError, match="cannot be written"):
        gradebook.write(tmp_path / "out", *term)


def test_one_score_over_several_labs(tmp_path, term):
    klass, _, verdicts, made = term
    klass.turned.append(Turned("S1", "5.1", b"", None, "S1/lab.py"))
    verdicts["S1", "5.1"] = seen("5.1")
    gradebook.write(tmp_path, klass, policy.marks(made, klass, verdicts), verdicts, made)
    scope = json.loads((tmp_path / "students" / "+531" / "results.json").read_text("utf-8"))
    assert scope["score"] == 12
    assert [t["name"] for t in scope["tests"]] == ["4.1 t", "4.1 u", "5.1 t", "5.1 u"]


def test_nobody_still_makes_gradebooks(tmp_path):
    gradebook.write(tmp_path, Class([], []), [], {}, policy.read(None, LABS))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "gradebook-canvas.csv",
        "gradebook-moodle.csv",
        "gradebook.json",
    ]
