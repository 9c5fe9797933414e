"""The texts of a course's repository: what the curriculum's say of a file that is not there is said otherwise or not at all."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Callable
from typing import Any

from labkit.catalog import HINTS, Lab

README = """# {title}

{begin}

## Begin

You need Python 3.11, 3.12 or 3.13 and `make`.  In this folder, type

    make lab                        # sets everything up, and says what is next; it lists what it downloads first
    source .venv/bin/activate       # once per terminal: gives you the `lab` command
    lab show {first}                    # the lesson, which says what to write in that lab's lab.py
    lab watch {first}                   # a check at every save of lab.py; q quits

`lab` alone says where you are and in which file you write.  Then it goes on like that, lab by lab.  `lab list` shows all
labs, `lab tower` what you have built.  After a `git pull`, `lab update` brings every lab.py up to date that you have not
touched.

Stuck?  `lab hint {first}` is a nudge; asked again, the plan.  `lab repro {first}` is the smallest case that fails, as Python
that you can step through.  `lab doctor` looks for what is wrong with the set-up.

## What a check says

| | |
|---|---|
| ✓ passed | all tests of this task hold, and its points are yours |
| ✗ wrong, crashed, too slow, forbidden | no points yet; below stands the first failure, and the mistake behind it if it is a known one |
| · not started, begun | a function of this task is not written yet |
| · waiting | it builds on a task that does not pass yet |

A task gives all its points or none.  Checks, hints and time cost nothing, and a lab that passed as a whole stays passed.

## Handing in

What you hand in is `lab.py` of the lab, under that name; nothing else of yours is needed.  Where, until when, and what the
points count for, your instructor says.  Before you do, `lab check {first} --as-graded` judges your file as it will be
graded: on numbers that you have not seen.  (On a machine without bubblewrap it says so, and judges all the same.)

## What is here, and what is not

This repository was made by `lab course build` from a public one.  It has no reference solutions, no lists of mistakes and
no third hints, so `lab diff`, `lab trace` and `--solution` have nothing to compare with and say so; the commands that
`lab --help` lists for authors and instructors are not for here.  The names of mistakes that `lab check` tells you come
from observations that were stored when this repository was made (`observed/` in each lab), on the same practice seed
that you are checked with.  On other numbers, as with `--as-graded`, no mistake is named.

That lowers a temptation; it keeps no secret.  The curriculum it was made from is public.  `llmcore/`, which the labs
import, holds implementations of much that you are asked to write, each test_lab.py holds oracles, and a later lab may
bring along what an earlier one asks for.  Reading them before your own version works costs you the one thing the lab has
to give.
"""

# Sentences that compare lab.py with the reference become what is left to say without it; the rest is one command.
SENTENCES = [
    (r"\bE(very) `python\s+solution\.py …`(\s+)on\s+this\s+page\s+is(?:\s+then)?(?:\s+also)?\s+`python\s+lab\.py …`"
     r"(?:\s+once\s+your\s+tasks\s+pass)?", r"E\1 command on this page\2works once your tasks pass"),
    (r"\be(very) `python\s+solution\.py …`(\s+)on\s+this\s+page\s+is(?:\s+then)?(?:\s+also)?\s+`python\s+lab\.py …`"
     r"(?:\s+once\s+your\s+tasks\s+pass)?", r"e\1 command on this page\2works then, too"),
    (r"\s+Before your functions work, `python\s+solution\.py` shows the same\.", ""),
    (r"(`python\s+)solution(\.py[^`]*` in lab \S+), and the same with your `lab\.py`,", r"\1lab\2"),
    (r"\bpython(\s+)solution\.py\b", r"python\1lab.py"),
    (r"\bfrom solution import\b", "from lab import"),
    # What `lab trace` does, with the page that it prints: there is nothing here that it could run beside lab.py.
    (r"(?s)\*\*When the numbers are wrong and you cannot see where\.\*\* `lab trace .*?\n```\n.*?\n```\n\n", ""),
    (r", and `lab trace \S+` has nothing to say about it\b", ""),
]  # fmt: skip
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
AUTHORS = ("test", "test-full", "bench", "scaffolds", "scaffolds-check", "lint")  # targets whose files are not here


def readme(title: str, labs: list[Lab]) -> str:
    """The first page of a course with these labs."""
    begin = (
        f"{len(labs)} {'lab' if len(labs) == 1 else 'labs'}: {', '.join(lab.id for lab in labs)}.  You write the parts of a "
        "language model; a checker tells you which classic mistake you made, not just that there is one."
    )
    return README.format(title=title, begin=textwrap.fill(begin, 120), first=labs[0].id)


def prose(text: str, there: Callable[[str], bool]) -> str:
    """A page of the course.  `there` says whether a relative link leads anywhere; one that does not keeps its words."""
    for pattern, new in SENTENCES:
        text = re.sub(pattern, new, text)

    def kept(found: re.Match[str]) -> str:
        target = found[2].partition("#")[0]
        return found[0] if not target or re.match(r"[a-z]+:", target) or there(target) else found[1]

    return LINK.sub(kept, text)


def makefile(text: str) -> str:
    """Without the targets that test and measure the curriculum."""
    blocks = [b for b in text.split("\n\n") if b.partition(":")[0] not in AUTHORS]
    drop = "|".join(map(re.escape, sorted(AUTHORS, key=len, reverse=True)))
    text = re.sub(r"(?m)^\.PHONY:.*$", lambda m: re.sub(rf" (?:{drop})(?= |$)", "", m[0]), "\n\n".join(blocks))
    return text.replace(", `make test` for those who change the project", "")


def lab_toml(text: str) -> str:
    """The same lab with two hints a task.  Comments go: what they say is for authors."""
    data = tomllib.loads(text)
    tasks = data.pop("task")
    for t in tasks:
        t["hints"] = t["hints"][: len(HINTS) - 1]
    blocks = [_table(data), *("[[task]]\n" + _table(t) for t in tasks)]
    return "\n".join(blocks)


def _table(data: dict[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in data.items())


def _value(x: Any) -> str:
    """A TOML value.  A JSON string is a TOML string, but for one character."""
    if isinstance(x, list):
        return "[" + ", ".join(map(_value, x)) + "]"
    if isinstance(x, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in x.items()) + "}"
    return json.dumps(x, ensure_ascii=False).replace("\x7f", "\\u007f")
