"""Classes that never were: seeded, with real labs, tasks and mistakes, and with strings that try to break a page."""

from __future__ import annotations

import functools
import hashlib
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labkit import catalog, certificate, variants
from labkit.catalog import Lab, Task
from labkit.grading.records import Class, Mark, Refusal, Student, TaskVerdict, Turned, Verdict

ROOT = Path(__file__).resolve().parents[2]
DUE = datetime(2027, 2, 1, 23, 59, tzinfo=UTC)
FIRST = [
    "Ada",
    "Bao",
    "Chloé",
    "Dmitri",
    "Ebele",
    "Fátima",
    "Grete",
    "Hồng",
    "İpek",
    "Jürgen",
    "Kofi",
    "Łucja",
    "María",
    "Nils",
    "Oya",
    "Priya",
    "Qi",
    "Rania",
    "Søren",
    "Tāne",
]
LAST = [
    "Lovelace",
    "Nguyễn",
    "Okafor",
    "Müller",
    "Silva",
    "Kowalska",
    "Haddad",
    "Ito",
    "García",
    "Ólafsdóttir",
    "Rossi",
    "Petrov",
    "Zhang",
    "Smith",
]
HOSTILE_NAMES = [
    "<script>alert('name')</script>",
    "Eve \u202egnp.exe\u2066",  # RTL override: reads backwards where it is not taken out
    '=HYPERLINK("http://evil.example","click")',
    "Bobby'); DROP TABLE students;--",
    '" onmouseover="alert(1)',
    "שרה לוי",  # no attack: a name that is written from the right
    "A" * 300,
]
HOSTILE_PRINTS = [
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J cleared",
    "</pre></main><script>document.body.innerHTML = 'owned'</script>",
    "NUL \x00 BEL \x07 DEL \x7f lone surrogate \udc80 RTL \u202etxt\u2069 zero\u200bwidth",
    "x" * 65536,
    "\n".join(f"line {i}" for i in range(2000)),
    "Z̶̢̛͎̬̀͝a̴̡͝l̷̛͓g̸̨̀o͈̼ <img src=x onerror=alert(1)> &amp; &lt;",
    "<style>*{display:none}</style><a href='javascript:alert(1)'>here</a>",
]


def labs(*ids: str) -> list[Lab]:
    """The course's labs with these ids; all of them without any."""
    return [lab for lab in catalog.labs(ROOT) if lab.id in ids or not ids]


def make(
    students: int, labs: Sequence[Lab], seed: int = 0, salt: str = "c0ffee12", sandbox: str = "bubblewrap"
) -> tuple[Class, list[Mark], dict[tuple[str, str], Verdict]]:
    """A class, what the policy made of it, and the verdicts by (student, lab).  The same arguments, the same class.

    Some hand nothing in, some hand in late, one archive in fifty is refused.  From four students on some strings are
    hostile: names, and what the tasks printed or gave back.
    """
    draw = random.Random(f"{students} {seed} {[lab.id for lab in labs]}")
    klass, marks, verdicts = Class([], []), list[Mark](), dict[tuple[str, str], Verdict]()
    for i in range(students):
        student = _student(i, students, draw)
        klass.students.append(student)
        skill, gone = draw.gauss(1.2, 1.0), draw.random() < 0.04
        for lab in labs:
            fate = draw.random()
            if gone or fate < 0.05:
                marks.append(Mark(student.id, lab.id, lab.points, 0, 0, "missing", note="Nothing was handed in."))
                continue
            where = f"export.zip: {student.id}/lab-{lab.id}/lab.py"
            if fate < 0.07:
                says = "The archive holds a link that leads out of it: ../../etc/passwd."
                klass.refused.append(Refusal(student.id, where, "link", says))
                marks.append(Mark(student.id, lab.id, lab.points, 0, 0, "refused", note=says))
                continue
            late = timedelta(hours=draw.choice([0, 0, 0, 0, 0, 0, 3, 30]))
            data = f"# {student.id} {lab.id} {draw.random()}\n".encode()
            klass.turned.append(Turned(student.id, lab.id, data, DUE + late, where))
            verdict = _verdict(lab, data, skill, draw, hostile=students >= 4 and draw.random() < 0.1)
            verdict.salt, verdict.sandbox = salt, sandbox
            verdicts[student.id, lab.id] = verdict
            marks.append(_mark(student.id, verdict, late))
    return klass, marks, verdicts


def _student(i: int, students: int, draw: random.Random) -> Student:
    name = f"{draw.choice(FIRST)} {draw.choice(LAST)}"
    if students >= 4 and 2 <= i < 2 + min(len(HOSTILE_NAMES), students - 3):
        name = HOSTILE_NAMES[i - 2]
    return Student(f"s{i + 1:04d}", name, f"s{i + 1:04d}@example.org", "ABC"[i % 3])


def _mark(student: str, verdict: Verdict, late: timedelta) -> Mark:
    days = math.ceil(late / timedelta(days=1))
    penalty = 0.1 * max(0, days - 1)
    awarded = verdict.earned * (1 - penalty)
    return Mark(
        student,
        verdict.lab,
        verdict.points,
        verdict.earned,
        round(awarded, 2),
        "graded",
        late=late.total_seconds(),
        slip_days=min(days, 1),
        penalty=penalty,
    )


def _verdict(lab: Lab, data: bytes, skill: float, draw: random.Random, hostile: bool) -> Verdict:
    tasks: dict[str, TaskVerdict] = {}
    for task in lab.tasks:
        unmet = next((name for name in task.after if tasks[name].status != "passed"), "")
        made = _waiting(task, unmet) if unmet else _task(lab, task, skill, draw)
        if hostile and made.status in ("wrong", "crashed"):
            made.printed = draw.choice(HOSTILE_PRINTS)
            made.got = f"'{draw.choice(HOSTILE_PRINTS)}'"
        tasks[task.name] = made
    return Verdict(
        lab.id,
        lab.title,
        hashlib.sha256(data).hexdigest(),
        list(tasks.values()),
        spec=certificate.fingerprint(lab),
        environment="Python 3.11.9 · torch 2.13.0 · numpy 2.3.1 · Linux x86_64",
        seconds=round(draw.uniform(0.5, 3), 2),
    )


def _waiting(task: Task, unmet: str) -> TaskVerdict:
    return TaskVerdict(task.name, task.points, 0, "waiting", note=f"waiting for {unmet}")


def _task(lab: Lab, task: Task, skill: float, draw: random.Random) -> TaskVerdict:
    tests = 3 + len(task.name) % 5
    ease = skill - 0.5 * (lab.difficulty - 3) - 0.4 * (task.points - 1)
    if draw.random() < 1 / (1 + math.exp(-ease)):
        return TaskVerdict(task.name, task.points, task.points, "passed", tests, tests)
    status = draw.choices(("wrong", "crashed", "slow", "forbidden", "begun", "not-started"), (70, 12, 5, 2, 3, 8))[0]
    made = TaskVerdict(task.name, task.points, 0, status, tests)
    if status in ("not-started", "begun"):
        made.note = "" if status == "not-started" else f"{task.writes[0]} is not written yet"
        return made
    if status == "forbidden":
        made.note = "line 12 uses torch.nn.functional, which this task is about"
        return made
    made.tests_passed = draw.randrange(tests)
    made.claim = "matches the definition: random sizes"
    made.called = (
        f"{task.writes[0]}(x=tensor 1×4 float32 [1, 1, 1, 1],\n    y=tensor 2×4 float32 [1, 1, 1, 1, 0, 0, …])"
    )
    made.expected = "tensor 1×1 float32 [8.808]"
    made.got = {"crashed": "IndexError at line 31: index 4 is out of range", "slow": "too slow: no answer in 10 s"}.get(
        status, "tensor 1×1 float32 [7.3106]"
    )
    made.where = "at [0, 0] 7.3106 instead of 8.808; 1 of 1 differ" if status == "wrong" else ""
    listed = _mistakes(lab, task.name)
    if listed and draw.random() < 0.7:
        name, says = draw.choices(listed, [1 / (rank + 1) ** 1.5 for rank in range(len(listed))])[0]
        made.mistake, made.says, cause = f"{lab.id}/{name}", says, name
    else:
        made.says, cause = "Right up to a constant factor: 0.83.", str(draw.randrange(40))
    made.behaviour = hashlib.sha256(f"{lab.id} {task.name} {status} {cause}".encode()).hexdigest()[:16]
    return made


@functools.cache
def _read(folder: Path) -> list[tuple[str, str, str]]:
    return [(m.task, name, m.says) for name, m in variants.mistakes(catalog.read(folder)).items()]


def _mistakes(lab: Lab, task: str) -> list[tuple[str, str]]:
    return [(name, says) for of, name, says in _read(lab.folder) if of == task]
