"""Reads the list of a class, and finds in it whom an export, or somebody who types, means.

Any CSV with a row of headers will do: one's own, the gradebook that Canvas exports, a grade export or a grading worksheet
of Moodle.  Each student keeps all columns as they came, in order, so that the gradebook can go back where it came from.

Headers of Canvas: Student, ID, SIS User ID, SIS Login ID, Section (lib/gradebook_exporter.rb in instructure/canvas-lms,
which also writes the rows "    Points Possible" and, above it, a row without a student).  Headers of Moodle: First name,
Last name or Surname, ID number, Email address; in a worksheet Identifier ("Participant 12345"), Full name.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from labkit.catalog import LabError
from labkit.grading.entries import show
from labkit.grading.records import Student
from labkit.grading.store import Store

# What a column is, by its header in small letters without spaces and signs.  The first id column with a value is the id.
IDS = (
    *("id", "studentid", "studentnumber", "sid", "sisuserid", "idnumber", "matriculationnumber", "matrikelnummer"),
    *("username", "userid", "login", "loginid", "sisloginid", "identifier", "integrationid"),
)
EMAILS = ("email", "emailaddress", "mail")
NAMES = ("name", "fullname", "studentname", "student")
FIRST, LAST = ("firstname", "givenname", "vorname", "first"), ("lastname", "surname", "familyname", "nachname", "last")
SECTIONS = ("section", "sections", "group", "groups", "class")
LIMIT = 64 << 20  # bytes


def read(path: Path) -> list[Student]:
    """The students of a CSV file, in its order.  Raises LabError, naming the line, for what cannot be understood."""
    header, rows = _rows(path)
    keys = [re.sub(r"[^a-z0-9]", "", h.casefold()) for h in header]
    columns = {key: i for i, key in reversed([*enumerate(keys)])}
    if not columns.keys() & {*IDS, *EMAILS, *NAMES, *FIRST, *LAST}:
        raise LabError(
            f"{path}: its first line names no column that tells students apart. Use Student ID, Email or Name."
        )
    twice = {h for h in header if h and header.count(h) > 1}
    if twice:
        raise LabError(f"{path}: two columns are called {min(twice)!r}. Rename one.")
    canvas = {"student", "sisloginid"} <= columns.keys()
    students: list[Student] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        if not any(cell.strip() for cell in row) or (canvas and _not_a_student(row, columns)):
            continue
        if any(cell.strip() for cell in row[len(header) :]):
            raise LabError(f"{path}, line {line}: more fields than headers. A name with a comma stands in quotes.")
        row = [*row, *[""] * len(header)][: len(header)]
        student = _student(header, row, columns)
        if not student.id:
            raise LabError(f"{path}, line {line}: no id, email or name.")
        if (first := lines.setdefault(key(student.id), line)) != line:
            raise LabError(f"{path}, lines {first} and {line}: two rows have the id {student.id}. Keep one.")
        students.append(student)
    if not students:
        raise LabError(f"{path}: no student in it.")
    return students


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with path.open("rb") as f:
            data = f.read(LIMIT + 1)
    except OSError as e:
        raise LabError(f"{path}: cannot be read ({e.strerror}).") from None
    if data[:2] == b"PK":
        raise LabError(f"{path}: this is a spreadsheet. Save it as CSV.")
    if len(data) > LIMIT:
        raise LabError(f"{path}: more than {LIMIT >> 20} MB is no roster.")
    text = _decode(data)
    if "\0" in text:
        raise LabError(f"{path}: this is not text. Save the roster as CSV.")
    first = text.split("\n", 1)[0]
    skipped = 1 if re.fullmatch(r"sep=.\r?", first) else 0  # Excel's note to itself
    if skipped:
        text = text.partition("\n")[2]
    delimiter = max(",;\t", key=lambda d: len(next(csv.reader([text.split("\n", 1)[0]], delimiter=d), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend((reader.line_num + skipped, row) for row in reader)
    except csv.Error as e:
        raise LabError(f"{path}, line {reader.line_num + skipped}: {e}.") from None
    if not rows:
        raise LabError(f"{path}: the file is empty.")
    return [h.strip() for h in rows[0][1]], rows[1:]


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")  # what Excel calls ANSI; Latin-1 but for some quotes


def _not_a_student(row: list[str], columns: dict[str, int]) -> bool:
    name = row[columns["student"]].strip() if len(row) > columns["student"] else ""
    return name in ("", "Points Possible", "Student, Test")


def _student(header: list[str], row: list[str], columns: dict[str, int]) -> Student:
    def one(names: Iterable[str]) -> str:
        return next((v for n in names if n in columns and (v := row[columns[n]].strip())), "")

    email = one(EMAILS)
    name = one(NAMES) or " ".join(filter(None, [one(FIRST), one(LAST)]))
    values = dict.fromkeys(row[columns[n]].strip() for n in (*IDS, *EMAILS) if n in columns)
    own = one(IDS) or email or name
    also = tuple(v for v in values if v and v != own)
    return Student(own, name, email, one(SECTIONS), dict(zip(header, row, strict=True)), also)


def key(text: str) -> str:
    """What two spellings of an id have in common: Unicode's normal form, case and the space around do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()


def name_key(name: str) -> str:
    """What two spellings of a name have in common.  Signs and spaces do not count: platforms drop them from file names."""
    return "".join(c for c in key(name) if c.isalnum() or unicodedata.category(c)[0] == "M")


class Register:
    """Finds students of a roster by whatever an export knows of them."""

    def __init__(self, students: list[Student]) -> None:
        self.main: dict[str, Student] = {key(s.id): s for s in students}
        self.ids: dict[str, set[str]] = defaultdict(set)
        self.names: dict[str, set[str]] = defaultdict(set)
        for s in students:
            for value in _aliases(s):
                self.ids[key(value)].add(key(s.id))
            for name in _names(s):
                self.names[name].add(key(s.id))

    def find(self, ids: Iterable[str], name: str = "") -> list[Student]:
        """The students that fit: one, none, or several when one cannot tell.  A name counts where no id is known.

        `canvas:12345` and `participant:12345` are ids by which Canvas and Moodle name files: numbers of their own, which
        are not to be taken for somebody's student number.
        """
        hits = [found for i in ids if (found := self.ids.get(key(i)))]
        if not hits and name_key(name):
            hits = [self.names.get(name_key(name), set())]
        both = set.intersection(*hits) if hits else set()
        return [self.main[k] for k in sorted(both or set().union(*hits))]

    def named(self, typed: str) -> Student:
        """Whom somebody means who types an id, another id of the roster's, an address or a name.

        An id goes before all others, so what the gradebook calls somebody always works.  Raises LabError when it is
        nobody's, with the nearest, or several people's.
        """
        word = key(typed)
        found = {word} & self.main.keys() or self.ids.get(word) or self.names.get(name_key(typed), set())
        if len(found) == 1:
            return self.main[min(found)]
        if found:
            ids = ", ".join(sorted(self.main[k].id for k in found))
            raise LabError(f"{show(typed)} fits several students. Give an id: {show(ids)}.")
        raise LabError(f"There is no student {show(typed)} in the class.{self._nearest(word)}")

    def _nearest(self, word: str) -> str:
        words: dict[str, Student] = {}
        for s in self.main.values():
            words |= {key(w): s for w in (s.name, s.email, *s.also, s.id) if w}
        near = difflib.get_close_matches(word, words, n=3)
        found = {words[w].id: words[w] for w in near} or {s.id: s for s in islice(self.main.values(), 1)}
        shown = ", ".join(show(f"{s.id} ({s.name})" if s.name and s.name != s.id else s.id) for s in found.values())
        return f" Nearest: {shown}." if near else f" An id looks like this: {shown}." if shown else ""


def find(students: list[Student], typed: str) -> Student:
    """`Register.named` for a class that is asked about once."""
    return Register(students).named(typed)


def of_results(results: Path) -> list[Student]:
    """The students of a folder that `lab grade` wrote, with what its gradebook keeps of them.  LabError if it is none."""
    index = Store(results).index()
    try:
        book = json.loads((results / "gradebook.json").read_text(encoding="utf-8"))
        kept = {s["id"]: s for s in book["students"]}
    except (OSError, ValueError, KeyError, TypeError):  # a run that was stopped has no gradebook yet
        kept = {}
    made = []
    for student in dict.fromkeys([*kept, *index]):
        row = kept.get(student, {})
        name, email, section = (str(row.get(k, "")) for k in ("name", "email", "section"))
        made.append(Student(student, name, email, section, also=tuple(map(str, row.get("also", [])))))
    return made


def _aliases(student: Student) -> set[str]:
    columns = {re.sub(r"[^a-z0-9]", "", h.casefold()): v.strip() for h, v in student.columns.items()}
    found = {student.id, student.email, *student.also} - {""}
    if "sisloginid" in columns and columns.get("id"):
        found.add(f"canvas:{columns['id']}")
    if number := re.search(r"(\d+)$", columns.get("identifier", "")):
        found.add(f"participant:{number[1]}")
    return found


def _names(student: Student) -> set[str]:
    last, comma, first = student.name.partition(",")
    words = student.name.split()
    turned = f"{first} {last}" if comma else " ".join([*words[-1:], *words[:-1]])
    return {name_key(student.name), name_key(turned)} - {""}
