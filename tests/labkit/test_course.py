"""A course's repository: what it holds, what it must not, and that a learner can work in it."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from conftest import RIGHT, fill

from labkit import catalog, course, course_text, diagnose, repro, runner, scaffold, wire
from labkit.catalog import LabError
from labkit.cli import main
from labkit.progress import Progress
from labkit.spec import Record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A cache that the builds of this file share: the mistakes are observed once."""
    return tmp_path_factory.mktemp("observed")


@pytest.fixture
def built(lab, observed, tmp_path, monkeypatch):
    """A course of the tiny lab, and the working folder in it."""
    base = Path.cwd()
    lab.file("README.md").write_text("# Numbers\n\nRun `python solution.py`; [why](mistakes.py), [here](lab.toml).\n")
    fill(lab, **RIGHT)  # what somebody wrote into lab.py is never handed out
    (base / ".lab").mkdir(exist_ok=True)
    (base / ".lab" / "cache").symlink_to(observed)
    out = tmp_path / "course"
    course.build(base, out, [])
    (out / "labkit").mkdir()  # the tiny curriculum's is empty, and this is how `lab` knows a repository
    monkeypatch.chdir(out)
    return catalog.find(out, "99.1")


def test_the_answers_are_not_in_it(built):
    names = {p.name for p in built.folder.iterdir()}
    assert not names & {"solution.py", "mistakes.py", "equivalents.py"}
    assert {"lab.py", "scaffold.py", "lab.toml", "test_lab.py", "README.md", "observed"} <= names
    assert built.file("lab.py").read_bytes() == built.outline.read_bytes()
    assert all(len(t.hints) == 2 for t in built.tasks)
    page = built.file("README.md").read_text()
    assert page == "# Numbers\n\nRun `python lab.py`; why, [here](lab.toml).\n"


def test_a_mistake_is_named_from_what_was_stored(built, capsys):
    fill(built, double="x * x", quadruple="x * 4**times", negate="-abs(x)")
    assert main(["check", "99.1"]) == 1
    assert "It squares instead of doubling.  (99.1/squares)" in capsys.readouterr().out
    fill(built, **RIGHT)
    assert main(["check", "99.1"]) == 0


def test_nothing_is_named_when_the_spec_or_what_was_stored_has_changed(built, capsys):
    fill(built, **{**RIGHT, "double": "x * x"})
    stored = diagnose.stored_at(built, "double")
    data = stored.read_bytes()
    for change in (lambda: stored.write_bytes(data[:-1]), stored.unlink):
        change()
        assert main(["check", "99.1"]) == 1
        assert "99.1/squares" not in capsys.readouterr().out
    stored.write_bytes(data)
    with built.file("test_lab.py").open("a") as f:
        f.write("# another spec\n")
    assert main(["check", "99.1"]) == 1
    assert "99.1/squares" not in capsys.readouterr().out


def test_mistakes_are_stored_each_in_a_message_of_its_own():
    """All mistakes of a task together may hold more arrays than one message does: 5.1's learn_merges_faster has 6330."""
    records = {("test", i): Record("equal", b"%d" % i, b"") for i in range(wire.MAX_BUFFERS // 4)}
    found = {f"mistake{n}": runner.Observation(dict(records)) for n in range(5)}
    again = diagnose._observations(wire.loads(wire.dumps(diagnose._rows(found))))
    assert {name: seen.records for name, seen in again.items()} == dict.fromkeys(found, records)


def test_an_error_with_a_temporary_folder_in_it_is_the_same_error_next_time():
    one, two = (
        f"no such folder: '{place}/step 3'" for place in ("/tmp/lab-a1b_cdef", "/var/folders/x y/T/lab-q9zz0___")
    )
    assert runner._words(one) == runner._words(two.replace("x y/", ""))
    assert runner._words(one) != runner._words("no such folder: 'step 3'")
    assert runner._words("in lab-notes and tmp/file") == "in lab-notes and tmp/file"


def test_two_hints_and_then_a_sentence(built, capsys):
    for _ in range(2):
        main(["hint", "99.1", "double"])
    assert "hint 2 of 2" in (out := capsys.readouterr().out)
    assert "In this course these are all" not in out
    main(["hint", "99.1", "double"])
    assert "In this course these are all" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--list"], ["99.1", "--check"], ["99.1", "--secret", "s", "--student", "ada"]])
def test_variants_are_made_elsewhere(built, capsys, words):
    assert main(["vary", *words]) == 2
    assert capsys.readouterr().err.startswith("This is a course's repository, without the answers that `lab vary`")


@pytest.mark.parametrize("words", [["diff", "99.1", "double"], ["check", "99.1", "--solution"]])
def test_what_needs_the_reference_says_so_in_one_line(built, capsys, words):
    assert main(words) == 2
    assert capsys.readouterr().err == "This is a course's repository: lab 99.1 has no solution.py here.\n"


def test_help_lists_what_can_be_done_there(built, capsys, monkeypatch):
    def listed():
        with pytest.raises(SystemExit):
            main(["--help"])
        return set(re.findall(r"^    ([a-z]+)\b", capsys.readouterr().out, re.MULTILINE))

    here = listed()
    assert {"next", "check", "hint", "repro", "show", "watch", "doctor"} <= here
    monkeypatch.setattr(catalog, "is_course", lambda base: False)
    assert listed() - here == {"diff", "trace", "verify", "new", "grade", "vary", "oral", "course", "regrade"}


def test_what_is_for_authors_says_so_in_one_line(built, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scaffold"])
    fill(built, **RIGHT)
    assert scaffold.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert "return 2 * x" in built.file("lab.py").read_text()
    with pytest.raises(LabError, match="course's repository"):
        course.build(Path.cwd(), Path.cwd() / "again", [])


def test_repro_reset_and_update_work_without_the_reference(built, capsys):
    fill(built, **{**RIGHT, "double": "x * x"})
    task = built.task("double")
    record, calls, seed = repro.smallest(built, task, built.file("lab.py"))
    assert "lab.double(" in repro.python(built, task, record, calls, seed, built.file("lab.py"))
    assert not Progress(Path.cwd()).untouched(built)
    assert main(["reset", "99.1"]) == 0
    assert built.file("lab.py").read_bytes() == built.outline.read_bytes()
    assert main(["update"]) == 0
    assert "kept: it is yours" not in capsys.readouterr().out


def test_two_builds_are_the_same_bytes_and_force_keeps_what_is_not_ours(lab, observed, tmp_path):
    base = Path.cwd()
    (base / ".lab").mkdir(exist_ok=True)
    (base / ".lab" / "cache").symlink_to(observed)

    def tree(folder):
        return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    one, two = tmp_path / "one", tmp_path / "two"
    two.mkdir()
    course.build(base, one, ["99.1"])
    course.build(base, two, [])
    assert tree(one) == tree(two)
    (one / "syllabus.md").write_text("ours")
    (one / "README.md").write_text("changed by hand")
    with pytest.raises(LabError, match="--force"):
        course.build(base, one, [])
    course.build(base, one, [], force=True)
    assert tree(one) == {**tree(two), Path("syllabus.md"): b"ours"}


def test_a_folder_that_is_no_earlier_course_is_never_written_into(lab, tmp_path):
    for text in (None, "no json", '{"files": ["../elsewhere"]}', '{"files": ["/elsewhere"]}', "[]"):
        out = tmp_path / f"mine{text and len(text)}"
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
        if text is not None:
            (out / "course.json").write_text(text)
        with pytest.raises(LabError, match="no earlier course"):
            course.build(Path.cwd(), out, [], force=True)


def test_a_copy_of_an_answer_under_another_name_stops_the_build(lab, observed, tmp_path):
    lab.file("solution.py").write_text(
        lab.file("solution.py").read_text().replace("return 2 * x", "return sum([x for _ in range(2)])")
    )
    lab.file("backup.py").write_text(lab.file("solution.py").read_text())
    out = tmp_path / "course"
    with pytest.raises(LabError, match=r"backup\.py holds a line of an answer of 99\.1: return sum"):
        course.build(Path.cwd(), out, [])
    assert not out.exists()


# ---- the real curriculum, without observing its mistakes


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    folder, labs = tmp_path_factory.mktemp("draft"), catalog.labs(ROOT)
    for path in course._files(ROOT / "llmcore"):
        course._put(folder / path.relative_to(ROOT), path.read_bytes())
    course._phases(ROOT, labs, folder)
    course._adapt(ROOT, labs, folder, "The course")
    return folder


def test_no_telling_line_of_a_region_stands_outside_what_learners_are_given(draft):
    """Counted here another way than the build does: by file, with nothing but llmcore, pages, specs and helpers set aside."""
    for lab in catalog.labs(ROOT):
        folder = next(draft.glob(f"phases/*/{lab.folder.name}"))
        source = lab.file("solution.py").read_text()
        secret = {
            line.strip()
            for r in scaffold.regions(source)
            for line in source.splitlines()[r.first : r.last - 1]
            if len(line.strip()) > course.TELLING
        }
        assert secret
        outside = {line.strip() for line in scaffold.generate(lab).splitlines()}
        for path in (folder / "lab.py", folder / "scaffold.py", folder / "lab.toml"):
            assert not secret & ({line.strip() for line in path.read_text().splitlines()} - outside)
        spec = {line.strip() for line in (folder / "test_lab.py").read_text().splitlines()}
        assert len(secret & spec) <= 0.2 * len(secret)  # idioms they share, never the answer
    assert not list(course.leaks(catalog.labs(ROOT), draft))


def test_no_page_speaks_of_a_file_that_is_not_there(draft):
    pages = sorted((draft / "phases").rglob("*.md"))
    assert len(pages) > 19
    for page in pages:
        text = page.read_text()
        for gone in ("solution.py", "lab trace", "lab diff"):
            assert gone not in text, page
        for found in course_text.LINK.finditer(text):
            target = found[2].partition("#")[0]
            assert ":" in target or not target or (page.parent / target).exists(), (page, target)


def test_lab_toml_loses_its_third_hints_and_nothing_else(draft):
    for lab in catalog.labs(ROOT):
        data = tomllib.loads(lab.file("lab.toml").read_text())
        for t in data["task"]:
            del t["hints"][2]
        made = next(draft.glob(f"phases/*/{lab.folder.name}/lab.toml"))
        assert tomllib.loads(made.read_text()) == data


def test_odd_values_survive_in_toml():
    text = 'a = "q\\"\\\\ \\u007f ü"\nb = [1, true, 1.5]\nc = { "x y" = "z" }\n[[task]]\nname = "t"\nhints = ["a", "b", "c"]\n'
    want = tomllib.loads(text)
    want["task"][0]["hints"] = ["a", "b"]
    assert tomllib.loads(course_text.lab_toml(text)) == want


def test_the_makefile_keeps_what_learners_type():
    text = course_text.makefile((ROOT / "Makefile").read_text())
    assert "\nlab: ##" in text
    assert "\nhelp: ##" in text
    for gone in ("test:", "test-full:", "bench:", "lint:", "scaffolds:", "scaffolds-check:", "tests/run.py"):
        assert f"\n{gone}" not in text
    kept = next(line for line in text.splitlines() if line.startswith(".PHONY")).split()[1:]
    assert kept == ["lab", "model", "clean", "help"]
    assert all(f"\n{target}:" in text for target in kept)


def test_the_first_page_says_how_to_begin_what_marks_mean_and_how_to_hand_in(built):
    text = (Path.cwd() / "README.md").read_text()
    assert text.split("\n")[2].startswith("1 lab: 99.1.  You write")
    begin, marks, hand_in, limits = (
        text.index(f"\n## {head}") for head in ("Begin", "What a check", "Handing in", "What is")
    )
    assert begin < marks < hand_in < limits
    assert "make lab" in text[begin:marks]
    assert all(word in text[marks:hand_in] for word in ("wrong", "crashed", "too slow", "waiting", "not started"))
    assert "lab check 99.1 --as-graded" in text[hand_in:limits]


def test_what_trace_needs_stays_behind_and_so_does_what_is_said_of_it(draft):
    assert list(ROOT.glob("phases/*/*/trace.py"))
    assert not list(draft.glob("phases/*/*/trace.py"))
    page = next(draft.glob("phases/*/lab-04-mini-transformer/README.md")).read_text()
    assert "lab.py beside the reference" not in page
    assert "Stuck? `lab hint 4.4 attention`.\n\n**Break it.**" in page  # what stands before and behind it is whole


def test_the_card_lists_every_file(built):
    out = Path.cwd()
    card = json.loads((out / "course.json").read_text())
    assert card["labs"] == ["99.1"]
    found = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert set(card["files"]) == found


def test_the_first_page_of_all_labs_has_no_line_that_is_too_long():
    text = course_text.readme("The course", catalog.labs(ROOT))
    assert f"{len(catalog.labs(ROOT))} labs: 0.1, 1.1" in text
    assert max(map(len, text.split("\n"))) <= 150
