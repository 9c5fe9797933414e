"""The collection that lab 1.2 searches: one document a passage of the State of the Union messages.

Does: read the asset, or a file of your own, and cut each text into passages.
Does not: hold anything to be written.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

SHORT = 20  # words; a heading, a salutation or "(Applause.)" is joined to the passage behind it


@dataclass(frozen=True)
class Passage:
    """One document, and whose it is."""

    label: str  # "1941 Roosevelt"
    text: str


def passages(text: str, short: int = SHORT) -> list[str]:
    """The paragraphs of a text, white space evened out.

    A paragraph of fewer than `short` words is joined to the next one, and at the end to the one before: nothing is lost.

    >>> passages("Peace.\\n\\nWe are at\\npeace.\\n\\nThank you.", short=3)
    ['Peace. We are at peace. Thank you.']
    """
    found: list[str] = []
    waiting: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        waiting += paragraph.split()
        if len(waiting) >= short:
            found.append(" ".join(waiting))
            waiting = []
    if waiting and found:
        found[-1] += " " + " ".join(waiting)
    elif waiting:
        found.append(" ".join(waiting))
    return found


def load(path: Path | None) -> tuple[str, list[Passage]]:
    """What the collection is called, and its passages.  Ends the program with one line when there is nothing to read."""
    if path is not None:
        texts = _from_file(path)
        name = path.name
    else:
        name, texts = "State of the Union messages, 1790 to 2026", _messages()
    made = [Passage(label, passage) for label, text in texts for passage in passages(text)]
    if not made:
        sys.exit(f"{name} holds no text.")
    return name, made


def _messages() -> list[tuple[str, str]]:
    from llmcore.assets import COMMAND, AssetMissing, text

    try:
        rows = [json.loads(line) for line in text("sotu").splitlines()]
    except AssetMissing as missing:
        sys.exit(str(missing).replace(COMMAND, "lab assets"))  # the same command, by the name that learners know
    return [(" ".join(row["name"].split("-")[:2]), row["text"]) for row in rows]  # "1941-Roosevelt-1"


def _from_file(path: Path) -> list[tuple[str, str]]:
    """A .jsonl file has a {"name": …, "text": …} in each line; any other is one text."""
    content = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix != ".jsonl":
        return [(path.stem, content)]
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            row = json.loads(line)
            found.append((str(row.get("name", number)), str(row["text"])))
        except (ValueError, KeyError, TypeError, AttributeError):
            sys.exit(f'{path.name}, line {number}: not a JSON object with a "text".')
    return found
