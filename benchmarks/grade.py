"""Grading a class beside a cold pytest process a submission, nbgrader, and Otter without containers.

Each judges the same submissions by the same tests: a lab's public solution, right versions and known mistakes.  Ours is
`labkit.grading.pool` with one worker, each task in a sandboxed process of its own; no verdict is used twice.  What has to
be started once (ours: the worker, the sandbox, the known mistakes; theirs: the import of the grader, the assignment) falls
into the round that warms up.  For ours the page says what that was.

nbgrader and Otter are found in the virtual environment that GRADING_PEERS names; without it their rows are left out.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.grade_class import RIGHT, WRONG, submissions
from benchmarks.report import Result, conditions, judged
from benchmarks.timing import Case, Goal, take_turns
from labkit import catalog, sandbox
from labkit.catalog import Lab
from labkit.grading.work import seed_of

LABS = {"1.1": "without torch", "4.1": "with torch"}
SALT = "benchmark"
ROOT = Path(__file__).resolve().parents[1]
OWN, COLD, NBGRADER, OTTER = "labkit", "cold pytest process", "nbgrader", "Otter, no container"
WAYS = {COLD: "cold", NBGRADER: "nbgrader", OTTER: "otter"}
AT_LEAST = {COLD: 5.0, NBGRADER: 1.0, OTTER: 1.0}
COUNTER = """
import os, sys
def _note(c):
    f = os.open(os.environ["GRADE_COUNT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT); os.write(f, c); os.close(f)
class _Torch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch": _note(b"t")
def _started(event, arguments):
    words = [str(a) for a in arguments[1]] if event == "subprocess.Popen" else []
    if "fork-sandboxed" in words:  # this file is not there inside
        _note(b"p" + b"t" * ("torch" in words))
if os.environ.get("GRADE_COUNT"):
    _note(b"p"); sys.meta_path.insert(0, _Torch()); sys.addaudithook(_started)
"""


class Meter:
    """A clock that runs while somebody grades: CPU seconds a submission, of all processes, as they report it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seen: dict[str, list[dict[str, Any]]] = {}

    def __call__(self) -> float:
        return self.now

    def note(self, name: str, found: dict[str, Any]) -> None:
        self.seen.setdefault(name, []).append(found)
        self.now += found["cpu"] / len(found["full"])


def measure(rounds: int) -> Result:
    """Time each way on each lab.  LabError where the sandbox does not work: other walls would be another measurement."""
    if trouble := sandbox.trouble():
        raise catalog.LabError(f"The benchmark of grading needs the sandbox: {trouble}.")
    peers = os.environ.get("GRADING_PEERS", "")
    ways = {OWN: sys.executable, COLD: sys.executable}
    if peers and not (Path(peers) / "bin" / "python").is_file():
        raise catalog.LabError(f"GRADING_PEERS: there is no bin/python in {peers}.")
    if peers:
        ways |= dict.fromkeys((NBGRADER, OTTER), str(Path(peers) / "bin" / "python"))
    result: Result = {
        "title": "Grading a class",
        "command": "python -m benchmarks grade" + (f" --rounds {rounds}" if rounds != 5 else ""),
        "rounds": rounds,
        **conditions(["torch", "numpy", "pytest"]),
        "clock": f"CPU seconds a submission, of all processes that grade it: median of {rounds} rounds (lowest to highest), "
        "taking turns, one grader at a time.",
        "tables": [],
        "sizing": {},
    }
    if peers:
        result["versions"] |= _versions(ways[OTTER])
    agreed: dict[str, list[float]] = {}
    counted: dict[str, dict[str, list[float]]] = {}
    with tqdm(total=(rounds + 1) * len(ways) * len(LABS), unit="run", disable=None, leave=False) as bar:
        for id, kind in LABS.items():
            table, seen = _table(catalog.find(ROOT, id), ways, rounds, bar)
            result["tables"].append(table | {"kind": id, "title": f"Lab {id}, {kind}"})
            result["sizing"][id] = _for_sizing(table["rows"][0], seen[OWN])
            for name, (_, *runs) in seen.items():
                agreed.setdefault(name, []).extend(r["right"] for r in runs)
                for key in ("interpreters", "imports"):
                    amounts = [r[key] / len(r["full"]) for r in runs]
                    counted.setdefault(name, {}).setdefault(f"{key} a submission, lab {id}", []).extend(amounts)
    result["goals"] = judged(result, {id: [Goal(OWN, p, AT_LEAST[p]) for p in ways if p != OWN] for id in LABS})
    rows = [{"name": n, "right verdicts": a} | counted[n] for n, a in agreed.items()]
    difference = statistics.mean(agreed[OWN]) - max(statistics.mean(a) for n, a in agreed.items() if n != OWN)
    result["quality"] = {
        "says": "The share of submissions that get full marks exactly if they deserve them; Python interpreters started, and "
        "how many of those import torch, counted in every run. Processes forked from one that runs already are not counted."
        + ("" if peers else " nbgrader and Otter were not measured: GRADING_PEERS was not given."),
        "rows": [{k.replace("imports a", "imports of torch a"): v for k, v in row.items()} for row in rows],
        "within": 0.0,
        "difference": round(difference, 4),
        "verdict": "reached" if difference >= 0 else "missed",
    }
    return result


def _table(lab: Lab, ways: dict[str, str], rounds: int, bar: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The lab's table, and for each way what it reported: first of the round that warms up, then of the others."""
    handed, meter = submissions(lab), Meter()

    def case(name: str, grader: "Grader") -> Case:
        def run(_: object) -> None:
            number = len(meter.seen.get(name, [])) % len(handed)
            found = grader.ask(number)
            chosen = handed if name == OWN else [handed[number]]
            right = [got == deserves for got, (_, _, deserves) in zip(found["full"], chosen, strict=True)]
            meter.note(name, found | {"right": sum(right) / len(right)})

        return Case(name, run)

    def tick(name: str) -> None:
        bar.set_postfix_str(f"{lab.id}, {name}")
        bar.update()

    with ExitStack() as stack:
        graders = {name: stack.enter_context(Grader(name, python, lab, rounds + 1)) for name, python in ways.items()}
        seconds = take_turns([case(name, grader) for name, grader in graders.items()], rounds, meter, tick)
    rows: list[dict[str, Any]] = []
    for name, taken in seconds.items():
        wall = [round(r["wall"] / len(r["full"]), 4) for r in meter.seen[name][1:]]
        rows.append({"name": name, "seconds": [round(s, 4) for s in taken], "wall": wall})
    first = meter.seen[OWN][0]
    start = first["cpu"] - statistics.median(rows[0]["seconds"]) * len(handed)
    minute = [f"{r['name']} {60 / statistics.median(r['seconds']):.1f}" for r in rows]
    walls = [f"{r['name']} {statistics.median(r['wall']):.2f} s" for r in rows]
    says = (
        f"{len(handed)} submissions: the solution, {RIGHT} right versions, {WRONG} known mistakes. labkit judges all in every "
        f"round; a peer takes one a round, in turn, since each costs it the same. Submissions a minute of one core's time: "
        f"{', '.join(minute)}. By the clock on the wall, which shared the machine with other work, one takes: "
        f"{', '.join(walls)}. Not in the table is labkit's first round, from nothing: {first['cpu']:.1f} CPU seconds, which is "
        f"{first['cpu'] / len(handed):.2f} a submission, with {first['interpreters']} interpreters started and "
        f"{first['imports']} imports of torch. What that is more than a later round, {start:.1f} s, is paid once a worker and "
        "lab, however large the class."
    )
    return {"says": says, "rows": rows}, meter.seen


class Grader:
    """A program that grades what it is asked to, in a folder of its own."""

    def __init__(self, name: str, python: str, lab: Lab, times: int) -> None:
        self.name, self.lab = name, lab
        self._folder = tempfile.TemporaryDirectory(prefix="grade-")
        folder = Path(self._folder.name)
        given: dict[str, Any] = {
            "lab": lab.id,
            "folder": str(lab.folder),
            "spec": str(lab.file("test_lab.py")),
            "salt": SALT,
        }
        given |= {"seed": seed_of(SALT), "tasks": [(t.name, t.points) for t in lab.tasks], "times": times}
        given |= {"submissions": [(n, source) for n, source, _ in submissions(lab)]}
        (folder / "class.json").write_text(json.dumps(given), "utf-8")
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(COUNTER, "utf-8")
        around = {**os.environ, "PYTHONPATH": f"{folder / 'hook'}{os.pathsep}{ROOT}"}
        around |= {"GRADE_COUNT": str(folder / "count"), "OMP_NUM_THREADS": "1"}
        around["PATH"] = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
        program = ["benchmarks.grade_ours"] if name == OWN else ["benchmarks.grade_plain", WAYS[name]]
        self._errors = (folder / "errors").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [python, "-m", *program, str(folder)], env=around, cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._errors.close()
        self._folder.cleanup()

    def ask(self, number: int) -> dict[str, Any]:
        """Has the submission of this number graded; ours takes the whole class.  RuntimeError with the grader's last words."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(number, file=self._process.stdin, flush=True)
        if not (line := self._process.stdout.readline()):
            self._errors.seek(0)
            raise RuntimeError(f"{self.name} on lab {self.lab.id}: {self._errors.read()[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        return found


def _for_sizing(row: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, float]:
    """What `benchmarks.sizing` reckons with."""
    each, files = statistics.median(row["seconds"]), len(runs[0]["full"])
    return {
        "cpu": each,
        "start": max(0.0, runs[0]["cpu"] - each * files),
        "disk": runs[-1]["disk"] / files / len(runs),
        "memory": runs[-1]["memory"],
    }


def _versions(python: str) -> dict[str, str]:
    names = ("nbgrader", "otter-grader")
    code = f"import json; from importlib.metadata import version as v; print(json.dumps({{n: v(n) for n in {names}}}))"
    versions: dict[str, str] = json.loads(subprocess.run([python, "-c", code], capture_output=True, check=True).stdout)
    return versions
