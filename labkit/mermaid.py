"""Mermaid flowcharts as a listing of their arrows.  Other diagrams, and lines that are not understood: None.

>>> read('flowchart LR\\n  a["text<br/>in"] --> b --> c\\n  a -. "lost" .-> d["gone"]')
[('text in', '', 'b'), ('b', '', 'c'), ('text in', 'lost', 'gone')]
"""

from __future__ import annotations

import html
import re

NODE = re.compile(r"\s*([A-Za-z][\w]*)(?::::\w+)?\s*")
SHAPES = [
    ("([", "])"),
    ("[[", "]]"),
    ("[(", ")]"),
    ("((", "))"),
    ("{{", "}}"),
    ("[/", "/]"),
    ("[", "]"),
    ("(", ")"),
    ("{", "}"),
    (">", "]"),
]
ARROW = re.compile(
    r"""\s*(?:
        (?:<?--|==)\s+"?(?P<inside>[^">|=]+?)"?\s+(?:--+>?|==+>?)     # -- words -->
      | -\.\s*"?(?P<dotted>[^".|]+?)"?\s*\.->?                        # -. words .->
      | (?:<?--+[->xo]?|-\.+->?|==+>?|~~~)(?:\|"?(?P<bar>[^"|]*)"?\|)?  # -->|words|
    )\s*""",
    re.X,
)
IGNORED = re.compile(r"(?:subgraph|end|classDef|class|style|linkStyle|direction|click)(?!\S)|%%")


def read(source: str) -> list[tuple[str, str, str]] | None:
    """(from, words on the arrow, to) in the order of the source; None when it is no flowchart that is understood."""
    head, *lines = [line.strip().rstrip(";") for line in source.strip().splitlines()] or [""]
    if not re.match(r"(?:flowchart|graph)\b", head):
        return None
    labels: dict[str, str] = {}
    arrows: list[tuple[str, str, str]] = []
    for line in lines:
        if not line or IGNORED.match(line):
            continue
        found = _line(line, labels)
        if found is None:
            return None
        arrows += found
    return [(labels.get(a, a), words, labels.get(b, b)) for a, words, b in arrows]


def listing(source: str) -> list[str]:
    """Lines to print: [node] → [node] → [node], a chain where one arrow goes on from another; else the source itself."""
    arrows = read(source)
    if not arrows:
        return source.strip().splitlines()
    return ["".join(words if k % 2 else f"[{words}]" for k, words in enumerate(chain)) for chain in chains(arrows)]


def chains(arrows: list[tuple[str, str, str]]) -> list[list[str]]:
    """[node, arrow, node, arrow, node …]: an arrow that starts where the last one ended continues its chain."""
    found: list[list[str]] = []
    for a, words, b in arrows:
        mark = f" ─ {words} → " if words else " → "
        if found and found[-1][-1] == a:
            found[-1] += [mark, b]
        else:
            found.append([a, mark, b])
    return found


def _line(line: str, labels: dict[str, str]) -> list[tuple[str, str, str]] | None:
    arrows: list[tuple[str, str, str]] = []
    before: list[str] = []
    words, i = "", 0
    while True:
        nodes, i = _nodes(line, i, labels)
        if not nodes:
            return None
        arrows += [(a, words, b) for a in before for b in nodes]
        if i >= len(line):
            return arrows
        arrow = ARROW.match(line, i)
        if not arrow or arrow.end() == i:
            return None
        before, i = nodes, arrow.end()
        words = _clean(next((g for g in arrow.groups() if g), ""))


def _nodes(line: str, i: int, labels: dict[str, str]) -> tuple[list[str], int]:
    """One node or several with & between them, each perhaps with its label."""
    found: list[str] = []
    while match := NODE.match(line, i):
        name, i = match[1], match.end()
        for left, right in SHAPES:
            if line.startswith(left, i):
                quoted = re.match(r'\s*"([^"]*)"\s*', line[i + len(left) :])
                end = line.find(right, i + len(left) + (quoted.end() if quoted else 0))
                if end < 0:
                    return [], i
                labels[name] = _clean(quoted[1] if quoted else line[i + len(left) : end])
                i = end + len(right)
                break
        found.append(name)
        amp = re.match(r"\s*&\s*", line[i:])
        if not amp:
            break
        i += amp.end()
    return found, i + len(line[i:]) - len(line[i:].lstrip())


def _clean(label: str) -> str:
    """A label on one line, without tags and entities."""
    text = re.sub(r"<br\s*/?>", " ", label)
    return " ".join(html.unescape(re.sub(r"</?\w+[^>]*>", "", text)).strip(' "').split())
