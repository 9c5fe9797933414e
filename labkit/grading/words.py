"""What happened to a file and its tasks, in words for the student who wrote it.

`headline` and `explain` are the plain text of JUnit and Gradescope; the student's page takes the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from labkit.grading.records import TaskVerdict

ESCAPES = re.compile(r"\x1b(\][^\x07\x1b]*(\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]|.)?")  # a terminal's colours and titles
# What XML 1.0 cannot say (https://www.w3.org/TR/xml/#charsets), and what turns the reading direction around.
FORBIDDEN = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")
LINE = 300  # characters of a claim, or of a diagnosis, in a headline
LENGTH = 4_000  # characters of one field: a submission may have printed a gigabyte
LOADS = "loading the file"  # what `report.failure` calls the check that a file can be imported
QUOTED = "your code printed"  # how `checking.quoted` begins
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
AGAIN = "Pack the lab's folder again as a plain zip, or hand in lab.py itself."
# For each reason of `intake.REASONS`: what a student can do.  The instructor reads another sentence, in the report.
REFUSED = {
    "traversal": f"A path in your archive leads out of it by `..`. {AGAIN}",
    "absolute-path": f"A path in your archive starts at the root of a disk. {AGAIN}",
    "backslash": f"A path in your archive has backslashes, which not every system reads. {AGAIN}",
    "bad-name": "A file's name is empty, too long or not readable. Give it a plain name and hand in again.",
    "duplicate-name": f"Two files in your archive have the same path, so nobody can say which one you mean. {AGAIN}",
    "link": "There is a link where a file should be. Links are never followed: hand in the file itself.",
    "device": "There is something that is not a plain file. Hand in lab.py itself.",
    "sparse": f"Your archive holds a sparse file, which is not read here. {AGAIN}",
    "encrypted": f"Your archive is protected by a password. {AGAIN}",
    "unsupported": f"Your archive is of a kind that is not read here. {AGAIN}",
    "corrupt": f"Your archive is damaged or cut short; perhaps the upload broke off. {AGAIN}",
    "overlap": f"Files in your archive share their bytes, which no usual program writes. {AGAIN}",
    "bomb": f"Your archive unpacks to far more than a lab has. {AGAIN}",
    "too-large": "It is larger than a lab has to be. Leave out data and environments: lab.py is enough.",
    "too-many-files": "There are far more files than a lab has. Leave out environments: lab.py is enough.",
    "too-deep": f"Archives or folders lie too deep in one another. {AGAIN}",
    "not-a-file": "Where lab.py should be a file, there is a folder. Hand in the file.",
    "unreadable": "It could not be read on your instructor's machine. Tell them, and hand it in again if they ask.",
    "unknown-lab": "Nothing in it says which lab it is for; it may be empty. Hand in the lab.py that you worked in, with the "
    "lines at its top as they were.",
    "other-lab": "It is for a lab that is not graded this time. If you meant another one, look whether you took the right file.",
    "empty-file": "The file is empty. Did you save, and take the right one?",
    "untouched": "It is the lab as it was handed out: nothing is written in it yet. Did you save, and take the right file?",
    "nothing-found": "There is no lab.py in what you handed in. Hand in the lab.py that you worked in.",
    "superseded": "You handed in more than one file for this lab. Another one, the latest as far as is known, was graded.",
    "not-a-submission": "It is not clear whose this is. Tell your instructor.",
    "grader": "Grading it failed, through no fault of yours. Your instructor sees this and can grade it again.",
    "not-on-roster": "Your work is graded, but you are not on your instructor's class list. Tell them, so that it counts.",
    "late": "The platform marks this file as late and does not say by how much, so nothing was taken off for that.",
    "ambiguous-name": "Your work is graded, but several people on the class list could be you. Tell your instructor your "
    "student number.",
}


def refused(reason: str) -> str:
    """What a student reads about something that was not taken as it is: what is the matter, and what to do."""
    return REFUSED.get(reason, "It could not be graded. Ask your instructor why.")


def causes(tasks: Iterable[TaskVerdict]) -> list[list[TaskVerdict]]:
    """The tasks that did not pass, those together that one cause explains; a file that does not load comes first.

    Tasks that wait for one that could not be tried, because the file does not load, belong to that cause.
    """
    open_tasks = [t for t in tasks if t.status != "passed"]
    broken = any(t.claim == LOADS for t in open_tasks)
    groups: dict[tuple[str, ...], list[TaskVerdict]] = {}
    for t in open_tasks:
        shown = (t.status, t.note, t.claim, t.called, t.expected, t.got, t.where, t.says)
        loads = t.claim == LOADS or (broken and t.status == "waiting")
        groups.setdefault((LOADS,) if loads else shown, []).append(t)
    return sorted(groups.values(), key=lambda group: group[0].claim != LOADS)


def printed(text: str) -> tuple[str, str]:
    """What a task printed, as `checking.quoted` keeps it: a heading that says how much is left out, and the lines."""
    head, _, rest = text.strip("\n").partition("\n")
    if not head.startswith(QUOTED):
        return "What your code printed", text.rstrip()
    lines = [line.removeprefix("  │ ") for line in rest.split("\n")]
    return f"What {head}", "\n".join(lines).rstrip()


def clean(text: str) -> str:
    """The text without what a page or an XML file cannot hold; a long one is cut, and says so."""
    kept = FORBIDDEN.sub("\ufffd", ESCAPES.sub("", text[: 2 * LENGTH].replace("\r\n", "\n").replace("\r", "\n")))
    return kept if len(kept) <= LENGTH and len(text) <= 2 * LENGTH else kept[:LENGTH] + " … (cut)"


def headline(task: TaskVerdict) -> str:
    """One line: what the first failing check claims, and the likely mistake."""
    parts = [task.claim or task.note or HEADLINE.get(task.status, task.status), task.says]
    return " · ".join(" ".join(clean(p).split())[:LINE] for p in parts if p)


def explain(lab: str, task: TaskVerdict) -> str:
    """All that is known of it, as `lab check` would say it, and the command that helps on.  Nothing is said twice."""
    if task.status == "passed":
        return f"All {task.tests} tests pass." if task.tests else "Passed."
    lines = [HEADLINE.get(task.status, task.status)]
    if task.tests and task.claim != LOADS:
        lines[0] += f"  {task.tests_passed} of {task.tests} tests pass."
    if task.note and task.note not in (task.claim, task.got):
        lines.append(task.note)
    rows = [("claim", task.claim), ("called", task.called), ("expected", task.expected), ("got", task.got)]
    rows += [("where", task.where), ("likely", task.says)]
    lines += [f"{label:9} " + text.replace("\n", "\n" + " " * 10) for label, text in rows if text]
    if task.printed:
        lines += ["", *printed(task.printed)]
    loads_not = task.claim == LOADS or task.status == "forbidden"
    hint = "" if loads_not else f"   ·   a hint:  lab hint {lab} {task.task}"
    lines += ["", f"Try it yourself:  lab check {lab}{hint}"]
    return "\n".join(clean(line) for line in lines)
