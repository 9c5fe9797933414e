"""Cells of a CSV file, safe to open in a spreadsheet; and how a platform's own header is told to be that of a lab."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

from labkit.catalog import LabError
from labkit.grading.records import Student
from labkit.grading.rules import Rule

NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?%?|-")  # or no number: platforms write a dash for that
# A spreadsheet set to another separator splits a cell where we did not, so what follows one counts as a beginning, too.
BEGINS = re.compile(r"(^|[;,|\t\r\n])([\s\"']*)(?=[=+\-@＝＋－＠])")


def safe(text: str) -> str:
    """The text as a cell that no spreadsheet runs: an apostrophe goes before what would begin a formula.

    That is the remedy of CWE-1236 (https://cwe.mitre.org/data/definitions/1236.html).  Plain numbers, and a dash
    alone, stay as they are.
    Characters that cannot be written (control characters, lone surrogates) are dropped.
    """
    if NUMBER.fullmatch(text):
        return text
    kept = "".join(c for c in text if c in "\t\r\n" or unicodedata.category(c) not in ("Cc", "Cs"))
    if kept[:1] in ("\t", "\r", "\n"):
        kept = "'" + kept
    return BEGINS.sub(lambda m: m[0] if m[0].endswith("'") else m[0] + "'", kept)


def number(points: float) -> str:
    """Points with at most two digits after the dot, as Canvas keeps them: 3, 2.5, 13.33."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def table(rows: Iterable[Sequence[str]]) -> str:
    """CSV with commas, quotes where they are needed, and the line ends of RFC 4180."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def roster_header(students: Sequence[Student]) -> list[str]:
    """The roster's own headers, in its order; [] without a roster."""
    return next((list(s.columns) for s in students if s.columns), [])


def lab_columns(header: Sequence[str], rules: Sequence[Rule]) -> dict[str, str]:
    """lab id → the header of its column: the roster's own where it has one, else what the policy says, or `Lab 4.1`.

    Known as a lab's are its id, its title and both, with or without `Lab`, in whatever a platform puts around a name:
    `Lab 4.1 (99182)` of Canvas, `Assignment: Lab 4.1 (Real)` of Moodle.
    """
    found = {}
    for rule in rules:
        if rule.column:
            found[rule.lab.id] = rule.column
            continue
        names = {
            rule.lab.title,
            *(f"{word}{rule.lab.id}{end}" for word in ("", "Lab ") for end in ("", f" {rule.lab.title}")),
        }
        known = {_plain(n) for n in names}
        mine = [h for h in header if _plain(h) in known or _plain(_bare(h)) in known]
        if len(mine) > 1:
            raise LabError(
                f"The roster has two columns for lab {rule.lab.id}: {mine[0]} and {mine[1]}. Say in the policy which one: "
                f'[labs."{rule.lab.id}"] column = "{mine[0]}".'
            )
        found[rule.lab.id] = mine[0] if mine else f"Lab {rule.lab.id}"
    return found


def _bare(header: str) -> str:
    """Without the number or the word in brackets at its end, and without `Assignment: ` at its beginning."""
    return re.sub(r"^\w+: ", "", re.sub(r"\s\([^()]*\)$", "", header))


def _plain(name: str) -> str:
    return " ".join(re.findall(r"[\w.]+", name.casefold()))
