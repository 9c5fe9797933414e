"""`lab show` in the terminal: the pager, code that is not wrapped, tables that leave nothing out, links to type."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write

LAB = str(Path(sys.executable).with_name("lab"))
FENCE = "```"
CODE = "x = " + " + ".join(f"value_{i}" for i in range(30))


@pytest.fixture
def lesson(lab):
    """A page of which any part is too wide for 80 columns."""
    write(
        lab.file("README.md"),
        f"""# 99.1 Numbers

See [the next](../lab-02-z/), [the phase](../README.md), [below](#more), [a file](notes.txt) and
[the guide](../HITCHHIKERS-GUIDE.md#x).  `inline` code, $x_i^2-1$. Text that is long enough to be wrapped at one hundred columns.

## More

{FENCE}python
{CODE}

y = 2
{FENCE}

- item

  {FENCE}
  {CODE}
  {FENCE}

> {FENCE}
> {CODE}
> {FENCE}

| name | formula | note |
|---|---|---|
| rsj | ln((N−df+½)/(df+½)·{"x" * 40}) | half of what is said here needs more room than there is in the line |
| other | {"z" * 30} | {"q" * 30} |

1. one
2. two

![known](pictures/known_1*item.png) <img src="a_b_c.png">
""",
    )
    write(lab.folder.parent / "README.md", "# Phase 99 · X\n\nAbout.\n")
    write(lab.folder.parent / "HITCHHIKERS-GUIDE.md", "# The guide\n\nOn.\n")
    write(lab.folder.parent / "lab-02-z" / "README.md", "# 99.2 Z\n")
    return lab


def piped(*words: str, columns: int = 80, **environment: str) -> str:
    changed = {**os.environ, "COLUMNS": str(columns), **environment}
    return subprocess.run([LAB, "show", *words], capture_output=True, check=True, env=changed).stdout.decode()


def at_a_terminal(lines: int, *words: str, **environment: str | None) -> str:
    """What `lab show` writes to a terminal of that many lines and 80 columns."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
    changed = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES", "LESS", "PAGER")}
    changed |= {"TERM": "xterm"} | {k: v for k, v in environment.items() if v is not None}
    run = subprocess.Popen([LAB, "show", *words], stdin=theirs, stdout=theirs, env=changed)
    os.close(theirs)
    seen = b""
    try:
        while data := os.read(ours, 1 << 16):
            seen += data
    except OSError:  # the other end is closed
        pass
    run.wait(60)
    os.close(ours)
    return seen.decode()


def program(folder: Path, name: str, text: str) -> Path:
    """A folder with one program in it, and the few that a shell script needs."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    for tool in ("sed", "sh"):
        if not (folder / tool).exists():
            (folder / tool).symlink_to(str(shutil.which(tool)))
    return folder


def test_a_short_page_is_not_paged(lesson):
    assert "PAGED" not in at_a_terminal(20, "99", PAGER="sed 's/^/PAGED /'")


def test_a_pager_of_which_nothing_is_known_gets_no_colours(lesson):
    paged = at_a_terminal(20, "99.1", PAGER="sed 's/^/PAGED /'")
    assert paged.startswith("PAGED 99.1 Numbers")
    assert "\033" not in paged


@pytest.mark.parametrize("less", [None, "-iM", "iM"])
def test_less_is_told_to_show_colours_and_to_cut_long_lines(lesson, tmp_path, less):
    folder = program(tmp_path / "bin", "less", "echo LESS=$LESS; sed 's/^/PAGED /'")
    paged = at_a_terminal(20, "99.1", PATH=str(folder), LESS=less)
    assert paged.startswith(f"LESS=-RS {less or ''}".rstrip())
    assert "PAGED" in paged
    assert "\033[1m" in paged


@pytest.mark.parametrize("pager", [None, "there-is-no-such-pager", "", "more 'unclosed"])
def test_without_a_pager_the_page_is_printed(lesson, tmp_path, pager):
    (tmp_path / "empty").mkdir()
    out = at_a_terminal(20, "99.1", PATH=str(tmp_path / "empty"), PAGER=pager)
    assert "99.1 Numbers" in out
    assert "value_29" in out


def test_where_there_is_only_more_it_gets_no_colours(lesson, tmp_path):
    folder = program(tmp_path / "bin", "more", "sed 's/^/MORE /'")
    paged = at_a_terminal(20, "99.1", PATH=str(folder))
    assert paged.startswith("MORE 99.1")
    assert "\033" not in paged


def test_a_dumb_terminal_has_no_pager(lesson):
    out = at_a_terminal(20, "99.1", PAGER="sed 's/^/PAGED /'", TERM="dumb")
    assert "PAGED" not in out
    assert "\033" not in out


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_code_is_never_wrapped_and_prose_is(lesson, columns):
    out = piped("99.1", columns=columns)
    wide = [line for line in out.splitlines() if len(line) > min(columns, 100)]
    assert [line.strip(" ▌") for line in wide] == [CODE] * 3
    assert f"  {CODE}\n\n  y = 2\n" in out
    assert not re.search("[\U000f0000-\U000fffff]", out)


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_table_leaves_nothing_out(lesson, columns):
    out = piped("99.1", columns=columns)
    assert "…" not in out
    table = out[out.index("name") : out.index("1. one")]
    assert [table.count(letter) for letter in "zxq"] == [30, 40, 30]


def test_words_in_a_table_stay_whole_when_they_can(lab):
    write(
        lab.file("README.md"),
        f"# T\n\n| f | a | b |\n|-|-|-|\n| `pairwise_distances` | {'some words ' * 9} | {'more words ' * 9} |\n",
    )
    lines = piped("99.1").splitlines()
    assert any(line.startswith("`pairwise_distances`") for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_narrow_column_is_not_made_narrower(lab):
    write(lab.file("README.md"), f"# T\n\n| day | does | time |\n|-|-|-|\n| Mon | {'reads on and on ' * 9} | 3 h |\n")
    first, second, *_ = [line for line in piped("99.1").splitlines() if line.strip()][4:]
    assert first.startswith("Mon  reads")
    assert first.endswith("  3 h")
    assert second.startswith("     ")


def test_links_say_what_to_type(lesson):
    out = " ".join(piped("99.1").split())
    assert (
        "the next (lab show 99.2), the phase (lab show 99), below, a file (phases/phase-99-x/lab-01-y/notes.txt)" in out
    )
    assert "the guide (lab show 99 --guide)" in out


def test_code_in_a_line_keeps_its_ticks_where_there_is_no_colour(lesson):
    assert "`inline` code" in piped("99.1")
    coloured = at_a_terminal(500, "99.1")
    assert "`inline`" not in coloured
    assert "inline" in coloured


def test_a_numbered_item_has_its_dot(lesson):
    out = piped("99.1")
    assert "1. one\n" in out
    assert "2. two\n" in out


def test_names_of_pictures_are_whole(lesson):
    out = piped("99.1")
    assert "picture: pictures/known_1*item.png (known)" in out
    assert "picture: a_b_c.png" in out


def test_in_ascii_nothing_becomes_a_question_mark(lesson):
    write(
        lesson.file("README.md"),
        "# 99.1 A\n\n$x_i^2-1$ → 2, k₁² ± é\n\n- b\n\n```mermaid\nflowchart LR\na --> b\n```\n",
    )
    out = piped("99.1", PYTHONIOENCODING="ascii")
    assert "?" not in out
    assert "======" in out
    assert "x_i^2-1 -> 2, k1^2 +- e" in out
    assert "* b" in out
    assert "[a] -> [b]" in out


def test_a_long_formula_breaks_where_its_author_left_room(lab):
    write(lab.file("README.md"), f"# T\n\n$$\n{'a+' * 12}b,\\qquad {'c+' * 12}d\n$$\n")
    assert [line.strip() for line in piped("99.1").splitlines()[2:]] == ["", "a + " * 12 + "b,", "c + " * 12 + "d"]


def test_colours_have_no_background(lesson):
    codes = re.findall(r"\033\[([0-9;]*)m", at_a_terminal(500, "99.1"))
    assert codes
    assert not [code for code in codes if re.search(r"(?:^|;)(?:4\d|10\d)(?:;|$)", code)]
