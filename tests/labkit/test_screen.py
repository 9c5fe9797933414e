"""A page on a terminal: what is wrapped, what is cut, and what never is."""

import io
import re

import pytest

from labkit.screen import Screen, crop, wrap


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def page(self) -> list[str]:
        """The lines of the last page that was drawn."""
        last = re.split(r"\033\[H", self.getvalue())[-1]
        return re.sub(r"\033\[[0-9;]*[A-Za-z]", "", last).split("\n")[:-1]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "8")
    return Screen(Terminal())


@pytest.mark.parametrize(
    ("line", "width", "cropped"),
    [
        ("abcdef", 4, "abcd"),
        ("abc", 4, "abc"),
        ("", 4, ""),
        ("\033[1mabcdef\033[0mgh", 4, "\033[1mabcd\033[0m"),
        ("ab\033[31mcd\033[0mef", 5, "ab\033[31mcd\033[0me"),
        ("文字a", 4, "文字"),
        ("a文字", 4, "a文"),
        ("e\u0301e\u0301e", 2, "e\u0301e\u0301"),
    ],
)
def test_crop_counts_what_is_seen(line, width, cropped):
    assert crop(line, width) == cropped


@pytest.mark.parametrize(
    ("line", "width", "pieces"),
    [
        ("", 5, [""]),
        ("abc", 3, ["abc"]),
        ("abcd", 3, ["abc", "d"]),
        ("ab cd ef", 5, ["ab cd", "ef"]),
        ("ab cd ef", 7, ["ab cd", "ef"]),
        ("ab   cd", 4, ["ab", "cd"]),
        ("ab  ", 2, ["ab"]),
        ("a bcdefgh", 4, ["a", "bcde", "fgh"]),
        ("  ab cd", 5, ["  ab", "  cd"]),
        ("    abcdef", 6, ["    ab", "cdef"]),
        ("\033[1mab cd\033[0m ef", 4, ["\033[1mab\033[0m", "\033[1mcd\033[0m", "ef"]),
        ("\033[2m\033[1mabcd\033[0m", 3, ["\033[2m\033[1mabc\033[0m", "\033[2m\033[1md\033[0m"]),
        ("文字a文字", 4, ["文字", "a文", "字"]),
        ("e\u0301e\u0301e", 2, ["e\u0301e\u0301", "e"]),
    ],
)
def test_wrap_breaks_at_spaces_and_goes_on_as_it_was(line, width, pieces):
    assert wrap(line, width) == pieces


def test_a_page_is_wrapped_and_the_foot_stands_below_it(screen):
    screen.draw("one two three four five six\n  seven", "\nfoot")
    assert screen.out.page() == ["one two three four", "five six", "  seven", "", "foot"]


def test_a_page_that_is_too_long_is_cut_and_its_foot_is_not(screen):
    screen.draw("\n".join(f"row {i}" for i in range(10)), "\nthis is a foot of two lines\nand more")
    page = screen.out.page()
    assert len(page) == 7  # of eight: the cursor stands in the last
    assert page[0] == "row 0"
    assert page[1] == "row 1"
    assert page[2].startswith("… 8 more lines")
    assert page[3:] == ["", "this is a foot of", "two lines", "and more"]
    screen.draw("\n".join(f"row {i}" for i in range(3)), "\nthis is a foot of two lines\nand more")
    assert screen.out.page()[:3] == ["row 0", "row 1", "row 2"]  # as much as goes is not cut


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_on_a_tiny_screen_the_end_of_the_foot_is_what_stays(screen, monkeypatch, lines):
    monkeypatch.setenv("LINES", str(lines))
    screen.draw("a\nb\nc\nd", "x\ny\nlast")
    assert screen.out.page()[-1] == "last"


def test_a_screen_of_another_size_is_cleared(screen, monkeypatch):
    screen.draw("a")
    screen.draw("b")
    assert (screen.out.getvalue().count("\033[2J"), screen.resized) == (1, False)
    monkeypatch.setenv("COLUMNS", "10")
    assert screen.resized
    screen.draw("one two three")
    assert (screen.out.getvalue().count("\033[2J"), screen.resized) == (2, False)
    assert screen.out.page() == ["one two", "three"]


def test_without_a_terminal_nothing_is_drawn():
    screen = Screen(io.StringIO())
    screen.draw("a", "b")
    screen.line("c")
    assert (screen.out.getvalue(), screen.resized) == ("c\n", False)
