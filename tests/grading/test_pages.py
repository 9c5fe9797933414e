"""The report and the student's page: what they say, in what order, and that nothing of a submission gets out of hand."""

import dataclasses
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import classroom
import pytest

from labkit.catalog import LabError
from labkit.grading import charts, markup, pages, policy, student_page
from labkit.grading.records import Class, Mark, Refusal, Student, TaskVerdict, Turned, Verdict
from labkit.grading.similarity import Hint

LABS = classroom.labs("1.3", "4.1")
MADE = datetime(2027, 2, 3, 9, 30, tzinfo=UTC)
VOID = {"meta", "br", "rect", "path"}  # rect and path close themselves


class Tree(HTMLParser):
    """Tags in order, checked for balance; texts; ids and what refers to them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def all(self, attribute: str) -> list[str]:
        return [a[attribute] or "" for _, a in self.tags if attribute in a]


def extra(**changes: object) -> pages.Extra:
    return dataclasses.replace(pages.Extra(LABS, MADE), **changes)  # type: ignore[arg-type]


def verdict(*tasks: TaskVerdict, **changes: object) -> Verdict:
    return dataclasses.replace(Verdict("4.1", "Attention", "f" * 64, [*tasks], sandbox="bubblewrap"), **changes)  # type: ignore[arg-type]


def mark(**changes: object) -> Mark:
    return dataclasses.replace(Mark("a", "4.1", 14, 5, 5, "graded"), **changes)  # type: ignore[arg-type]


WRONG = TaskVerdict("attention", 3, 0, "wrong", 10, 3, claim="by hand", called="attention(q,\n    k)", expected="8.8",
                    got="7.3", where="at [0, 0]", mistake="4.1/no_scale", says="Not divided by √d.",
                    printed="one\ntwo\n")  # fmt: skip
PASSED = TaskVerdict("causal_mask", 2, 2, "passed", 2, 2)


@pytest.mark.parametrize("students", [0, 1, 4, 5, 60])
def test_both_pages_are_whole_and_their_references_lead_somewhere(students: int) -> None:
    klass, marks, verdicts = classroom.make(students, LABS, 3)
    texts = [pages.report(klass, marks, verdicts, extra())]
    known = pages.summary(LABS, verdicts)
    texts += [pages.student(s, marks, verdicts, known) for s in klass.students]
    for text in texts:
        tree = Tree(text)
        ids = tree.all("id")
        levels = [int(tag[1]) for tag, _ in tree.tags if re.fullmatch("h[1-6]", tag)]
        assert len(ids) == len({*ids})
        assert {h[1:] for h in tree.all("href") if h.startswith("#")} <= {*ids}
        assert {x for names in tree.all("aria-labelledby") for x in names.split()} <= {*ids}
        assert levels[0] == 1
        assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
        assert not {tag for tag, _ in tree.tags} & {"script", "img", "iframe", "link", "form", "object"}
        assert not [name for _, attributes in tree.tags for name in attributes if name.startswith("on")]
        assert all(h.startswith("#") for h in tree.all("href"))
        assert "default-src 'none'" in text
        assert all(not c.isspace() or c in " \n\t" for c in text)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
        text.encode("utf-8")


def test_what_to_teach_again_comes_first_and_how_it_was_graded_last() -> None:
    text = pages.report(*classroom.make(40, LABS, 1), extra())
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert heads[0] == "What to teach again"
    assert heads[-1] == "How it was graded"


def test_teach_names_the_task_the_numbers_and_the_shared_mistake() -> None:
    verdicts = {(str(i), "4.1"): verdict(WRONG if i < 6 else PASSED) for i in range(10)}
    verdicts |= {(str(i), "4.1"): verdict(dataclasses.replace(WRONG, status="passed")) for i in (8, 9)}
    text = Tree(pages.report(Class([], []), [], verdicts, extra())).text
    assert "4.1 attention: 6 of the 8 who tried it did not pass (75 %).Not divided by √d. 6 students" in text


def test_teach_says_so_when_no_known_mistake_is_common() -> None:
    verdicts = {(str(i), "4.1"): verdict(dataclasses.replace(WRONG, mistake="")) for i in range(6)}
    assert "No known mistake stands behind five of them." in pages.report(Class([], []), [], verdicts, extra())


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [
        ({}, "too few to say what a class needs"),
        ({(str(i), "4.1"): verdict(WRONG) for i in range(4)}, "too few to say what a class needs"),
        ({(str(i), "4.1"): verdict(PASSED) for i in range(5)}, "Nothing stands out"),
        ({(str(i), "4.1"): verdict(WRONG) for i in range(4)}, "Files of 4 students were graded."),
        ({(str(i), "4.1"): verdict(PASSED) for i in range(19)}, "It helps from about 20 on, where 5 are a quarter."),
    ],
)
def test_teach_keeps_quiet_about_few(verdicts: dict[tuple[str, str], Verdict], says: str) -> None:
    assert says in pages.report(Class([], []), [], verdicts, extra())


def test_from_twenty_students_on_teach_does_not_speak_of_sizes() -> None:
    verdicts = {(str(i), "4.1"): verdict(PASSED) for i in range(20)}
    assert "It helps from about" not in pages.report(Class([], []), [], verdicts, extra())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sandbox": "limits"}, "1 of 1 file ran without a sandbox."),
        ({"sandbox": "limits"}, "they can read what you can read"),
        ({"sandbox": "bubblewrap", "salt": ""}, "Graded on the practice seed"),
    ],
)
def test_what_is_not_guaranteed_stands_at_the_top(changes: dict[str, str], says: str) -> None:
    text = pages.report(Class([], []), [], {("a", "4.1"): verdict(PASSED, **changes)}, extra())
    assert says in text
    assert text.index(says) < text.index("<h2")


def test_nothing_is_said_at_the_top_when_there_is_nothing_to_say_but_notes_are() -> None:
    sound = {("a", "4.1"): verdict(PASSED, salt="x", environment="one")}
    mixed = sound | {("b", "4.1"): verdict(PASSED, salt="x", environment="two")}
    assert 'role="note"' not in pages.report(Class([], []), [], sound, extra())
    assert "did not all run in the same environment" in pages.report(Class([], []), [], mixed, extra())
    assert "<p>Mind &lt;this&gt;.</p>" in pages.report(Class([], []), [], sound, extra(notes=["Mind <this>."]))


def test_people_are_named_with_links_and_what_is_missing_is_listed() -> None:
    klass = Class(
        [Student("a", "Ada"), Student("b")],
        [],
        [Refusal("a", "x.zip", "bomb", "Too big."), Refusal("", "y", "odd", "?")],
    )
    marks = [mark(status="missing"), mark(student="b", lab="1.3", status="missing"), mark(student="b")]
    text = pages.report(klass, marks, {}, extra(pages={"a": "students/a b/page.html"}))
    rows = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", text))
    assert '<a href="students/a%20b/page.html"><bdi>Ada</bdi> (a)</a>' in text
    assert "Ada (a) all 1 4.1" in rows
    assert " b 1 1.3" in rows
    assert "Ada (a) bomb Too big. x.zip" in rows
    assert "not known odd" in rows


def test_similarity_is_folded_away_and_called_a_hint() -> None:
    hint = Hint(("a", "<b>"), "4.1", ["attention"], "text", 0.004, 0.9, "Look at these two side by side.")
    text = pages.report(Class([], []), [], {}, extra(hints=[hint]))
    inside = text[text.index("1 hint to look") : text.index("Not graded</h2>")]
    assert "A hint to look, never a verdict." in inside
    assert "&lt;b&gt;" in inside
    assert "0.004" in inside
    assert "<details><summary>1 hint to look" in text
    assert "none were compared" in pages.report(Class([], []), [], {}, extra())


def test_beside_a_hint_stands_how_much_of_each_file_is_public() -> None:
    whole = LABS[-1].file("solution.py").read_bytes()
    turned = [Turned(s, "4.1", data, None, s) for s, data in (("a", whole), ("b", b""), ("c", whole))]
    hint = Hint(("a", "b"), "4.1", ["attention"], "text", 0.004, 0.9, "Look.")
    text = Tree(pages.report(Class([], turned), [], {}, extra(hints=[hint]))).text
    assert "a: 100 % public" in text
    assert "b: " not in text  # nothing is written in it
    assert "c: " not in text  # nobody hints at it


def test_long_lists_stand_folded_after_their_first_rows() -> None:
    slow = dataclasses.replace(WRONG, status="slow", mistake="")
    verdicts = {(f"s{i:02}", "4.1"): verdict(slow) for i in range(12)}
    text = pages.report(Class([], []), [], verdicts, extra())
    assert "<summary>2 more</summary>" in text


def test_a_verdict_on_a_lab_that_is_not_covered_is_one_clear_line() -> None:
    with pytest.raises(LabError, match=r"task attention of lab 9\.9, which the report does not cover"):
        pages.report(Class([], []), [], {("a", "9.9"): verdict(WRONG)}, extra())


def test_a_student_reads_what_lab_check_would_say_and_the_next_command() -> None:
    text = pages.student(Student("a", "Ada"), [mark()], {("a", "4.1"): verdict(PASSED, WRONG, salt="x")}, None)
    words = Tree(text).text
    assert "5 of 14 points in all." in words
    assert "Passed: causal_mask (2 points)." in words
    assert "attention: wrong" in words
    assert "0 of 3 points, 3 of 10 tests pass." in words
    assert "claimby handcalledattention(q, k)expected8.8got7.3whereat [0, 0]" in words
    assert "Likely: Not divided by √d. (4.1/no_scale)" in words
    assert "lab hint 4.1 attention for a hint, lab repro 4.1 attention" in words
    assert "<pre><code>one\ntwo</code></pre>" in text
    assert "common one in your class" not in words
    assert "lab check 4.1 --as-graded" in words


@pytest.mark.parametrize(("students", "common"), [(4, False), (5, True), (None, False)])
def test_a_common_mistake_is_called_common_without_a_number(students: int | None, common: bool) -> None:
    verdicts = {(str(i), "4.1"): verdict(WRONG) for i in range(students or 1)}
    known = pages.summary(LABS, verdicts) if students else None
    text = pages.student(Student("0"), [], verdicts, known)
    assert ("It is a common one in your class." in text) == common
    assert "5" not in re.sub(r"<style>.*</style>", "", text, flags=re.S)


def test_nothing_of_others_is_on_a_students_page() -> None:
    klass, marks, verdicts = classroom.make(12, LABS, 2)
    known = pages.summary(LABS, verdicts)
    for who in klass.students:
        mine = {key: v for key, v in verdicts.items() if key[0] == who.id}
        text = pages.student(who, marks, verdicts, known)
        assert text == pages.student(who, [m for m in marks if m.student == who.id], mine, known)
        assert not [s.id for s in klass.students if s.id != who.id and s.id in text]


@pytest.mark.parametrize(
    ("marks", "verdicts", "says"),
    [
        ([], {}, "Nothing has been graded for you yet."),
        ([mark(status="missing", earned=0, awarded=0)], {}, "You did not hand it in."),
        ([mark(status="missing", earned=0, awarded=0)], {}, "Where to go on: lab show 4.1"),
        ([mark(status="refused", note="Give --lab.")], {}, "is not graded: ask your instructor why."),
        ([mark(status="open", points=0)], {}, "So far that takes no points from you."),
        ([mark(status="open", points=0)], {}, "No points count yet."),
        ([mark(note=policy.UNKNOWN)], {("a", "4.1"): verdict(PASSED)}, "It is not known when this was handed in"),
        ([mark(note="So it is.")], {("a", "4.1"): verdict(PASSED)}, "So it is."),
        (
            [mark(status="excused", note="Not among the best 2.")],
            {("a", "4.1"): verdict(PASSED)},
            "Not among the best 2.",
        ),
        ([mark(status="excused")], {}, "You are excused from it: it does not count."),
        ([mark(status="excused")], {}, "No points count yet."),
        ([], {("a", "4.1"): verdict(PASSED)}, "does not count"),
        ([mark()], {("a", "4.1"): verdict(PASSED)}, "Every task that you handed in has passed."),
        ([mark()], {("a", "4.1"): verdict(WRONG, dials=["polarity", "base"])}, "in: polarity, base."),
        (
            [mark()],
            {("a", "4.1"): verdict(TaskVerdict("attention", 3, 0, "waiting", note="waiting for x"))},
            "waiting for x",
        ),
        (
            [mark()],
            {("a", "4.1"): verdict(TaskVerdict("attention", 3, 0, "not-started"))},
            "Next: lab hint 4.1 attention.",
        ),
        (
            [mark()],
            {("a", "4.1"): verdict(TaskVerdict("attention", 3, 0, "forbidden", note="line 2 uses x"))},
            "line 2 uses x",
        ),
    ],
)
def test_every_fate_of_a_lab_is_said(marks: list[Mark], verdicts: dict[tuple[str, str], Verdict], says: str) -> None:
    assert says in Tree(pages.student(Student("a"), marks, verdicts, None)).text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"late": -5.0}, ""),
        ({"late": 30.0}, "Handed in less than a minute after your deadline. Nothing was taken off."),
        ({"late": 3600.0, "slip_days": 1}, "Handed in 1 hour after your deadline. 1 slip day was used for it. Nothing was taken off."),
        (
            {"late": 2 * 86400 + 3 * 3600 + 59.0, "slip_days": 2, "penalty": 0.1, "earned": 12.0, "awarded": 10.8},
            "Handed in 2 days 3 hours after your deadline. 2 slip days were used for it. "
            "10 % was taken off for being late: 12 became 10.8 points.",
        ),
        ({"late": 86400.0, "penalty": 0.5, "earned": 0.0, "awarded": 0.0}, "Handed in 1 day after your deadline."),
        ({"late": 9 * 86400.0, "penalty": 1.0, "awarded": 0.0},
         "Handed in 9 days after your deadline. That is too late to count: 5 became 0 points."),
        ({"late": 61.0, "penalty": 0.5, "earned": 2.0, "awarded": 1.0},
         "Handed in 1 minute after your deadline. 50 % was taken off for being late: 2 became 1 point."),
    ],
)  # fmt: skip
def test_lateness_is_a_sentence(changes: dict[str, float], says: str) -> None:
    assert student_page.lateness(mark(**changes)) == says


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("plain\n  indented\tü √ 😀", "plain\n  indented\tü √ 😀"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b]8;;a\x1b\\y\x1b", "red xy"),
        ("a\x00b\x7f\u202ec\u2066\u200b\udc80", "a�b�c���".replace("c", "�c", 1)),
        ("a\r\nb\rc", "a\nb�c"),
        ("x" * 401, "x" * 400 + " … (1 more characters)"),
    ],
)
def test_clean_leaves_plain_characters(text: str, wanted: str) -> None:
    assert markup.clean(text) == wanted


def test_clean_keeps_the_first_or_the_last_lines() -> None:
    text = "\n".join(map(str, range(45)))
    first, last = markup.clean(text).split("\n"), markup.clean(text, last=True).split("\n")
    assert first == [*map(str, range(40)), "… (5 more lines)"]
    assert last == ["… (5 lines before)", *map(str, range(5, 45))]


@pytest.mark.parametrize("hostile", [*classroom.HOSTILE_PRINTS, *classroom.HOSTILE_NAMES])
def test_hostile_text_in_every_field_stays_text_and_stays_small(hostile: str) -> None:
    names = [f.name for f in dataclasses.fields(TaskVerdict) if f.type == "str" and f.name != "status"]
    task = dataclasses.replace(WRONG, **dict.fromkeys(names, hostile))
    plain = dataclasses.replace(WRONG, **dict.fromkeys(names, "x"))
    who = Student("a", hostile, hostile, hostile)
    odd = verdict(task, environment=hostile, salt=hostile, spec=hostile, title=hostile, dials=[hostile])
    same = verdict(plain, environment="x", salt="x", spec="x", title="x", dials=["x"])
    page = pages.student(who, [mark(note=hostile)], {("a", "4.1"): odd}, None)
    wanted = pages.student(Student("a", "x"), [mark(note="x")], {("a", "4.1"): same}, None)

    def tags(text: str) -> list[str]:
        return [tag for tag, _ in Tree(text).tags if tag != "br"]

    assert tags(page) == tags(wanted)
    assert len(page) < len(wanted) + 40 * 500 * 20
    klass = Class([who], [], [Refusal("a", hostile, hostile, hostile)])
    text = pages.report(klass, [mark(note=hostile)], {}, extra(policy=hostile, notes=[hostile], pages={"a": hostile}))
    calm = Class([Student("a", "x")], [], [Refusal("a", "x", "x", "x")])
    assert tags(text) == tags(pages.report(calm, [mark()], {}, extra(policy="x", notes=["x"], pages={"a": "x"})))


def test_a_table_says_what_its_cells_are() -> None:
    text = markup.table("A &amp; <b>B</b>", ["x", "n"], [["r", "1"]], (1,))
    assert 'role="region" tabindex="0" aria-label="A &amp; B"' in text
    assert "<caption>A &amp; <b>B</b></caption>" in text
    assert '<th scope="col">x</th><th scope="col" class="n">n</th>' in text
    assert '<th scope="row">r</th><td class="n">1</td>' in text


@pytest.mark.parametrize("small", [True, False])
def test_a_histogram_has_its_numbers_in_its_title(small: bool) -> None:
    counts = [2, 0, 0, 0, 0, 0, 0, 0, 0, 8]
    text = charts.histogram(counts, charts.in_words(counts), "t", small)
    heights = [float(h) for h in re.findall(r'<rect[^>]*height="([\d.]+)"', text)]
    assert '<title id="t">0-10 %: 2, 90-100 %: 8</title>' in text
    assert 'role="img" aria-labelledby="t"' in text
    assert len(heights) == 2
    assert heights[0] == pytest.approx(heights[1] / 4)
    assert charts.in_words([0] * 10) == "nobody"


def test_a_bar_divides_its_width_as_the_counts_do() -> None:
    text = charts.bar(6, 3, 3)
    assert [float(x) for x in re.findall(r' x="([\d.]+)"', text)] == [0, 60, 90]
    assert "<rect" not in charts.bar(0, 0, 0)


@pytest.mark.parametrize(
    ("value", "text"), [(12.0, "12"), (10.8, "10.8"), (64.2857, "64.29"), (0, "0"), (100000, "100000")]
)
def test_number(value: float, text: str) -> None:
    assert markup.number(value) == text
