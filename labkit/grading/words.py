"""What happened to a task, in the plain text that JUnit and Gradescope show."""

from __future__ import annotations

import re

from labkit.grading.records import TaskVerdict

ESCAPES = re.compile(r"\x1b(\][^\x07\x1b]*(\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]|.)?")  # a terminal's colours and titles
# What XML 1.0 cannot say (https://www.w3.org/TR/xml/#charsets), and what turns the reading direction around.
FORBIDDEN = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")
LINE = 300  # characters of a claim, or of a diagnosis, in a headline
LENGTH = 4_000  # characters of one field: a submission may have printed a gigabyte
HEADLINE = {
    "passed": "passed",
    "wrong": "It gives a wrong result.",
    "crashed": "It stops with an error.",
    "slow": "It takes too long.",
    "forbidden": "It uses something that this task asks you to write yourself.",
    "begun": "It is begun and not finished.",
    "not-started": "It is not started.",
    "waiting": "It waits for a task that it builds on.",
    "not-run": "It was not run.",
}


def clean(text: str) -> str:
    """The text without what a page or an XML file cannot hold; a long one is cut, and says so."""
    kept = FORBIDDEN.sub("\ufffd", ESCAPES.sub("", text[: 2 * LENGTH].replace("\r\n", "\n").replace("\r", "\n")))
    return kept if len(kept) <= LENGTH and len(text) <= 2 * LENGTH else kept[:LENGTH] + " … (cut)"


def headline(task: TaskVerdict) -> str:
    """One line: what the first failing check claims, and the likely mistake."""
    parts = [task.claim or task.note or HEADLINE.get(task.status, task.status), task.says]
    return " · ".join(" ".join(clean(p).split())[:LINE] for p in parts if p)


def explain(lab: str, task: TaskVerdict) -> str:
    """All that is known of it, as `lab check` would say it, and the command that helps on."""
    if task.status == "passed":
        return f"All {task.tests} tests pass." if task.tests else "Passed."
    lines = [HEADLINE.get(task.status, task.status)]
    if task.tests:
        lines[0] += f"  {task.tests_passed} of {task.tests} tests pass."
    if task.note:
        lines.append(task.note)
    rows = [("claim", task.claim), ("called", task.called), ("expected", task.expected), ("got", task.got)]
    rows += [("where", task.where), ("likely", task.says)]
    lines += [f"{label:9} " + text.replace("\n", "\n" + " " * 10) for label, text in rows if text]
    if task.printed:
        lines += ["", "your code printed, at the end:", task.printed]
    lines += ["", f"Try it yourself:  lab check {lab}   ·   a hint:  lab hint {lab} {task.task}"]
    return "\n".join(clean(line) for line in lines)
