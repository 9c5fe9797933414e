"""What the pages say in words: a student reads what a student can do, an instructor finds everybody, nothing comes twice."""

import dataclasses
import html
import re
from datetime import UTC, datetime

import classroom
import pytest

from labkit.grading import pages, words
from labkit.grading.entries import REASONS
from labkit.grading.records import Class, Mark, Refusal, Student, TaskVerdict, Verdict
from labkit.grading.report_people import OPEN

LABS = classroom.labs("1.3", "4.1")
ADA = Student("a", "Ada")
ERROR = "SyntaxError in line 26: invalid syntax: `de attention(`"
NAMES = ("attention_loops", "attention", "causal_mask")
BROKEN = TaskVerdict("attention", 3, 0, "crashed", 10, 0, ERROR, words.LOADS, got=ERROR)
NOT_FOR_STUDENTS = re.compile(r"--|\blab grade\b|roster|export|the student|intake|policy", re.IGNORECASE)


def plain(text: str) -> str:
    """What a page says, without its style, tags and title."""
    body = text[text.index("<main") :]
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]*>", " ", body)))


def page(*tasks: TaskVerdict, mark: Mark | None = None, refused: tuple[Refusal, ...] = ()) -> str:
    mine = {("a", "4.1"): Verdict("4.1", "Attention", "f", [*tasks], salt="x")} if tasks else {}
    marks = [mark or Mark("a", "4.1", 14, 0, 0, "graded")]
    return plain(pages.student(ADA, marks, mine, None, refused, LABS))


def report(klass: Class, marks: list[Mark], **changes: object) -> str:
    extra = dataclasses.replace(pages.Extra(LABS, datetime(2027, 2, 3, tzinfo=UTC)), **changes)  # type: ignore[arg-type]
    return pages.report(klass, marks, {}, extra)


def students_section(text: str) -> str:
    return text[text.index('<h2 id="students">') : text.index('<h2 id="mistakes">')]


def test_every_reason_has_a_students_wording_and_no_other_has() -> None:
    assert {*words.REFUSED} == {*REASONS}
    for reason, says in words.REFUSED.items():
        assert not NOT_FOR_STUDENTS.search(says), reason
        assert says[0].isupper()
        assert says[-1] in ".?"
    assert words.refused("of tomorrow") == "It could not be graded. Ask your instructor why."


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("status", ["refused", "missing", "graded"])
def test_a_student_reads_the_reason_once_and_never_the_instructors_sentence(reason: str, status: str) -> None:
    said = Refusal("a", "week4.zip: a_1/lab.py", reason, "Put it in a folder named like the lab, or give --lab.", "4.1")
    other = Refusal("b", "week4.zip: b_1/lab.py", reason, "Of somebody else.")
    text = page(mark=Mark("a", "4.1", 14, 0, 0, status, note=said.says), refused=(said, said, other))
    assert text.count(words.refused(reason)) == 1
    assert "Lab 4.1:" in text
    assert "b_1" not in text
    assert ("a_1/lab.py" in text) == (reason not in ("not-on-roster", "ambiguous-name"))
    assert ("--lab" in text) == (status == "graded")  # the policy's note on a mark is kept


def test_a_lab_without_a_file_has_its_title() -> None:
    text = page(mark=Mark("a", "4.1", 14, 0, 0, "missing"))
    assert text.count(f"4.1 {LABS[-1].title}") == 2  # in the table and as a heading
    assert "You did not hand it in." in text


@pytest.mark.parametrize("waiting", [0, 1])
def test_a_file_that_does_not_load_is_said_once_with_its_line_and_without_hints(waiting: int) -> None:
    tasks = [dataclasses.replace(BROKEN, task=name) for name in NAMES]
    tasks += [TaskVerdict("attention_tiled", 3, 0, "waiting", note="waiting for attention")] * waiting
    text = page(TaskVerdict("extra", 1, 0, "begun", note="b is not written yet"), *tasks)
    assert text.count(ERROR) == 1
    assert text.count("Your file does not load") == 1
    tried = ", ".join([*NAMES, *["attention_tiled"] * waiting])
    assert f"So nothing in it could be tried: {tried}. 0 of {9 + 3 * waiting} points." in text
    assert text.index(ERROR) < text.index("extra: begun")
    assert "lab hint 4.1 attention" not in text
    assert "lab repro" not in text
    assert "tests pass" not in text
    assert "--as-graded" not in text


def test_one_cause_of_several_tasks_is_one_card_and_different_causes_are_not() -> None:
    note = "line 1 uses torch.x, which this task asks you to write yourself"
    banned = TaskVerdict("attention", 3, 0, "forbidden", 10, note=note, claim=note)
    text = page(
        *[dataclasses.replace(banned, task=name) for name in NAMES], dataclasses.replace(banned, task="d", note="e")
    )
    assert text.count(note) == 2  # three tasks together; the fourth has the same claim and another note
    assert f"{', '.join(NAMES)}: forbidden" in text
    assert "0 of 9 points." in text
    assert "lab hint" not in text
    assert "--as-graded" not in text
    single = page(banned)
    assert single.count(note) == 1


def test_what_every_task_printed_is_shown_once_and_its_own_beside_the_task() -> None:
    quoted = "your code printed (the last 12 of 45 lines)\n  │ hello\n  │   you"
    wrong = TaskVerdict("attention", 3, 0, "wrong", 10, 3, claim="by hand", got="1", printed=quoted)
    tasks = [dataclasses.replace(wrong, task=name, got=name) for name in NAMES]
    text = page(*tasks, dataclasses.replace(wrong, task="own", printed="your code printed\n  │ mine"))
    assert text.count("hello") == 1
    assert "What your code printed (the last 12 of 45 lines) hello you" in text
    assert text.index("hello") > text.index("mine") > text.index("own: wrong")
    assert "│" not in text
    assert words.printed("raw\ntext\n") == ("What your code printed", "raw\ntext")


def test_being_late_and_being_excused_are_said_once() -> None:
    late = Mark(
        "a", "4.1", 14, 5, 4.5, "graded", 30 * 3600, 1, 0.1, "2 started days late, 1 of them taken from the slip days."
    )
    text = page(TaskVerdict("attention", 3, 3, "passed"), mark=late)
    assert text.count("slip day") == 1
    assert text.count("late") == 1
    excused = page(mark=Mark("a", "4.1", 0, 0, 0, "excused", note="Excused: this lab does not count."))
    assert excused.count("Excused") == 1
    assert "You are excused" not in excused
    assert "lab show" not in excused


def test_plain_text_says_nothing_twice() -> None:
    for task in (BROKEN, dataclasses.replace(BROKEN, status="forbidden", claim=ERROR, got="")):
        text = words.explain("4.1", task)
        assert text.count(ERROR) == 1
        assert "lab hint" not in text
    wrong = dataclasses.replace(
        BROKEN, status="wrong", claim="c", got="g", note="n", printed="your code printed\n  │ x"
    )
    text = words.explain("4.1", wrong)
    assert "lab hint 4.1 attention" in text
    assert "\nn\n" in text
    assert text.count("your code printed") == 1
    assert "0 of 10 tests pass" in text


def test_everybody_stands_in_the_rosters_order_with_marks_total_and_a_link() -> None:
    klass = Class([Student("z", "Zoe"), ADA, Student("n")], [])
    marks = [
        Mark("z", "4.1", 14, 10, 9.5, "graded"),
        Mark("z", "1.3", 10, 0, 0, "missing"),
        Mark("a", "4.1", 0, 0, 0, "excused"),
        Mark("a", "1.3", 10, 8, 8, "graded"),
    ]
    text = students_section(report(klass, marks, pages={"z": "students/z/page.html"}))
    said = plain("<main>" + text)
    assert "Student Id 1.3 of 10 4.1 of 14 Total Share Zoe z missing 9.5 9.5 of 24 40 % " in said
    assert "Ada a 8 excused 8 of 10 80 % n n – – 0 of 0 –" in said
    assert '<th scope="row"><a href="students/z/page.html"><bdi>Zoe</bdi></a></th>' in text
    assert text.count('<th scope="col"') == 6
    assert "<caption>" in text
    assert 'tabindex="0"' in text
    assert "<details" not in text


@pytest.mark.parametrize(("students", "folded"), [(OPEN, False), (OPEN + 1, True)])
def test_the_table_of_a_large_class_is_folded_and_whole(students: int, folded: bool) -> None:
    klass, marks, _ = classroom.make(students, LABS, 1)
    text = students_section(report(klass, marks))
    assert (f"<summary>{students} students</summary>" in text) == folded
    assert [i for s in klass.students if f"<td>{s.id}</td>" in text for i in [s.id]] == [s.id for s in klass.students]


def test_a_class_without_students_or_marks_has_a_sentence_or_names_alone() -> None:
    assert "There are no students." in report(Class([], []), [])
    assert "Ada a 0 of 0 –" in plain("<main>" + students_section(report(Class([ADA], []), [])))
    waiting = [Mark("a", "4.1", 0, 0, 0, "open")]
    text = plain("<main>" + students_section(report(Class([ADA], []), waiting)))
    assert "Student Id 4.1 Total Share Ada a open 0 of 0 –" in text


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (Refusal("z", "x.zip: z", "not-on-roster", f"Zoe is graded. {REASONS['not-on-roster']}"), REASONS["not-on-roster"]),
        (Refusal("z", "x.zip: z/lab.py", "bomb", "z/lab.py: It unpacks to more than 1 MB."), "It unpacks to more than 1 MB."),
        (Refusal("z", "x.zip: z/lab.py", "of tomorrow", "z: Odd."), "z: Odd."),
    ],
)  # fmt: skip
def test_the_report_says_a_refusal_without_what_stands_beside_it(refusal: Refusal, says: str) -> None:
    text = report(Class([Student("z", "Zoe")], [], [refusal]), [])
    assert f"<td>{refusal.reason}</td><td>{says}</td><td>{refusal.where}</td>" in text


def test_an_open_lab_is_not_missing() -> None:
    marks = [Mark("a", "1.3", 10, 0, 0, "missing"), Mark("a", "4.1", 0, 0, 0, "open")]
    text = plain(report(Class([ADA], []), marks))
    assert "Ada (a) all 1 1.3" in text
