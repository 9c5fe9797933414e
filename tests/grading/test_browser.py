"""The grading pages in a real browser: accessibility by axe-core, widths, the keyboard, paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import classroom
import pytest

from labkit.grading import pages
from labkit.grading.records import Class, Mark, Refusal, Student, Verdict
from labkit.grading.similarity import Hint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
AXE = {"runOnly": {"type": "tag", "values": LEVELS}, "resultTypes": ["violations"]}  # one example of all else
SIZES = {"wide": 1280, "phone": 360}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser found: none of {', '.join(BROWSERS)}")
    with driver.sync_playwright() as play:
        made = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield made
        made.close()


def worst(klass: Class, verdicts: dict[tuple[str, str], Verdict]) -> Student:
    """Who has most to read: somebody whose tasks printed, and failed most often."""

    def much(student: Student) -> tuple[bool, int]:
        tasks = [t for (who, _), v in verdicts.items() if who == student.id for t in v.tasks]
        return any(t.printed for t in tasks), sum(t.status != "passed" for t in tasks)

    return max(klass.students, key=much, default=Student("nobody"))


def written(students: int, folder: Path) -> dict[str, Path]:
    """Both pages of a synthetic class, as files."""
    labs = classroom.labs("1.1", "1.3", "3.2", "4.1")
    klass, marks, verdicts = classroom.make(students, labs, 5, sandbox="limits" if students == 4 else "bubblewrap")
    pair = tuple(s.id for s in klass.students[:2])
    hints = [Hint(pair, "4.1", ["attention"], "text", 0.01, 0.9, "Look at these two side by side.")] if pair else []
    addresses = {s.id: f"students/{s.id}/page.html" for s in klass.students}
    made = datetime(2027, 2, 3, 9, 30, tzinfo=UTC)
    extra = pages.Extra(labs, made, "Practice credit: a lab's points are lab.toml's.", 61.5, hints, pages=addresses)
    who = worst(klass, verdicts)
    own = [m for m in marks if m.student == who.id] or [Mark(who.id, "4.1", 14, 0, 0, "missing")] * (students > 0)
    where = f"export.zip: {who.id}/{'long' * 30}/lab.py"
    refused = [Refusal(who.id, where, reason, "Not for students.", "4.1") for reason in ("superseded", "untouched")]
    texts = {
        "report": pages.report(klass, marks, verdicts, extra),
        "student": pages.student(who, own, verdicts, pages.summary(labs, verdicts), refused, labs),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize("students", [0, 1, 4, 5, 300])
def test_axe_finds_nothing_and_no_page_is_wider_than_its_window(browser: Any, students: int, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for name, path in written(students, tmp_path).items():
        for scheme in ("light", "dark"):
            for size, width in SIZES.items():
                page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
                asked: list[str] = []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.on("dialog", lambda dialog: pytest.fail("a script of a submission ran"))
                page.goto(path.as_uri())
                page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                found = Axe().run(page, options=AXE).response
                where = f"{students} {name} {scheme} {size}"
                assert found["passes"], where  # axe did run
                assert [v["id"] for v in found["violations"]] == [], f"{where}: {found['violations']}"
                assert page.evaluate("document.documentElement.scrollWidth") <= width, where
                assert asked == [path.as_uri()], where
                page.close()


def test_axe_would_find_something(browser: Any, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    path = written(5, tmp_path)["report"]
    path.write_text(path.read_text(encoding="utf-8").replace('<html lang="en">', "<html>"), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    found = Axe().run(page, options=AXE).response
    page.close()
    assert [v["id"] for v in found["violations"]] == ["html-has-lang"]


@pytest.mark.parametrize("name", ["report", "student"])
def test_the_tab_key_reaches_all_that_can_be_used_in_order(browser: Any, name: str, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(written(60, tmp_path)[name].as_uri())
    wanted = page.evaluate(
        """() => { const all = [...document.querySelectorAll('a[href], summary, [tabindex="0"]')];
        const seen = all.filter(e => e.checkVisibility({contentVisibilityAuto: true}));
        seen.forEach((e, i) => e.dataset.nth = i); return seen.length }"""
    )
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("Number(document.activeElement.dataset.nth ?? -1)"))
    page.focus("summary")
    page.keyboard.press("Enter")
    opened = page.evaluate("document.querySelector('summary').parentElement.open")
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.close()
    assert wanted > 5
    assert reached == list(range(wanted))
    assert opened
    assert ring == "solid"


def test_on_paper_what_is_folded_is_open_except_the_hints(browser: Any, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 800, "height": 900})
    page.goto(written(60, tmp_path)["report"].as_uri())
    tables = (
        "() => [...document.querySelectorAll('details table')].map(e => [e.checkVisibility(), e.caption.textContent])"
    )
    page.emulate_media(media="print")
    shown = {text: seen for seen, text in page.evaluate(tables)}
    paper = page.screenshot(full_page=True)
    page.emulate_media(media="screen")
    on_screen = [seen for seen, _ in page.evaluate(tables)]
    page.close()
    assert paper.startswith(b"\x89PNG")
    assert not any(on_screen)
    assert {seen for text, seen in shown.items() if text != "Files to read side by side"} == {True}
    assert shown["Files to read side by side"] is False
