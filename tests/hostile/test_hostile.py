"""Submissions that attack the grader, each graded as a class is: a worker that lives on, and a next one after each.

A submission says at its top what its trick is; SOLVES names the tasks that it solves honestly, SAYS what must be said of
the others.  Whoever gets hold of something prints `GOT IT`.  Five claims are tested for each, in a sandbox and, where it
is promised, with limits alone:

    earns      it has the points of SOLVES and no others
    says       the verdict on every other task is the sentence of SAYS
    takes      nothing that it should not have: no secret is in the verdict, nothing was got, no service outside was called
    leaves     no process, no zombie and no file outlives its turn
    next       an honest submission in the same worker then has full marks
"""

import ast
import contextlib
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from hostile_ground import prepared

from labkit import runner, sandbox

HERE = Path(__file__).parent
SUBMISSIONS = sorted((HERE / "submissions").glob("*.py"))
CORE = {
    "exits_in_a_call", "walks_frames_and_rubbish", "reads_by_path", "reads_proc", "garbage_on_the_pipe", "fork_bomb",
    "memory_bomb", "disk_bomb", "network", "signals_everyone", "backtracks", "late_flood", "leaves_a_note",
}  # fmt: skip
LONGEST = 6000  # characters of a note: a sentence, and not a flood by another way
TOUCHES_THE_SYSTEM = {  # would change a machine without walls, or fill it: these run in a sandbox alone
    "signals_everyone", "takes_rights", "writes_the_system", "shared_memory_bomb", "many_files_bomb", "million_files",
    "deep_folders", "shared_memory_segments", "keyring", "reads_the_parents_memory", "leaves_a_note_elsewhere",
}  # fmt: skip
SAME_USER = "without a sandbox, a submission can read what its grader can"
SAME_DISK = "without a sandbox, a submission can write where its grader can"
WITHOUT_A_SANDBOX = {  # submission: (the claims that are not promised, why)
    "reads_by_path": ({"takes"}, SAME_USER),
    "reads_proc": ({"takes"}, SAME_USER),
    "reads_the_environment": ({"takes"}, "without a sandbox, the environment is the grader's"),
    "hides_in_links": ({"takes", "leaves", "next"}, SAME_USER),
    "writes_to_the_terminal": ({"takes"}, "the terminal is the grader's own device"),
    "swaps_its_file": ({"takes", "leaves"}, SAME_DISK),
    "leaves_a_note": ({"leaves", "next"}, SAME_DISK),
    "uses_the_library": ({"takes"}, "without a sandbox, the library lies where it is installed"),
}


@pytest.fixture(scope="module", params=["sandbox", "limits"])
def ground(request, tmp_path_factory):
    if request.param == "sandbox" and (trouble := sandbox.trouble()):
        pytest.skip(f"no sandbox here: {trouble}")
    with prepared(tmp_path_factory.mktemp("ground"), request.param) as made:
        yield made
    assert made.outlived(set()) == {}


def declared(file, name):
    return next(
        ast.literal_eval(node.value)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
    )


def graded(ground, file, tasks):
    found = list(runner.results(ground.kitchen, ground.spec, ground.copy(file), tasks))
    return {r.task.name: r for r in found if r.task.name in tasks}


def words(results):
    """All that a verdict may hand on."""
    return "\n".join(
        f"{r.status}: {r.note}\n{r.seen.printed}\n{[(x.kind, x.got, x.why) for x in r.seen.records.values()]}"
        for r in results.values()
    )


def broken(ground, file):
    """The claims that do not hold for a submission, with what was seen instead."""
    solves, says, seen = declared(file, "SOLVES"), declared(file, "SAYS"), {}
    before = ground.processes()
    ground.callers.clear()
    results = graded(ground, file, [*solves, *says])
    earned = {name for name, r in results.items() if r.points}
    if earned != set(solves):
        seen["earns"] = earned, [r.note for r in results.values()]
    heard = {name: f"{results[name].status}: {results[name].note}" for name in says}
    if unsaid := {n: h[:LONGEST] for n, h in heard.items() if not re.search(says[n], h, re.S) or len(h) > LONGEST}:
        seen["says"] = unsaid
    with contextlib.suppress(ValueError):  # a number too long to print is no secret
        text = words(results)
        took = [line for line in text.splitlines() if ground.canary in line or "GOT IT" in line]
        if took or ground.callers:
            seen["takes"] = [line[:300] for line in took[:20]], ground.callers[:]
    with contextlib.suppress(BlockingIOError):
        if typed := os.read(ground.terminal, 1000):
            seen.setdefault("takes", ([], typed))
    left = ground.outlived(before), ground.zombies(), ground.files()
    if any(left):
        seen["leaves"] = left
    honest = graded(ground, HERE / "submissions/honest.py", declared(HERE / "submissions/honest.py", "SOLVES"))
    if "GOT IT" in words(honest) or not all(r.points for r in honest.values()):
        seen["next"] = words(honest)[:500]
    return seen


def swept(ground):
    """What one left is taken away, so that the next is judged for itself."""
    for pid in ground.outlived(ground.servers()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for path in ground.files():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def marked(file):
    return pytest.param(file, id=file.stem, marks=[pytest.mark.slow] * (file.stem not in CORE))


@pytest.mark.parametrize("file", [*map(marked, SUBMISSIONS)])
def test_every_claim_holds(ground, file):
    not_promised = set()
    if ground.walls == "limits":
        if file.stem in TOUCHES_THE_SYSTEM:
            pytest.skip("would harm a machine without walls")
        not_promised, _ = WITHOUT_A_SANDBOX.get(file.stem, (set(), ""))
    try:
        seen = broken(ground, file)
    finally:
        swept(ground)
    assert {claim: what for claim, what in seen.items() if claim not in not_promised} == {}


def test_what_is_taken_shows(tmp_path_factory):
    """The harness sees a theft where one is possible: else the claim above could not fail."""
    with prepared(tmp_path_factory.mktemp("open"), "limits") as open_ground:
        seen = broken(open_ground, HERE / "submissions/reads_by_path.py")
        swept(open_ground)
    assert open_ground.canary in str(seen["takes"])


def test_the_tables_name_submissions():
    names = {file.stem for file in SUBMISSIONS}
    assert CORE | TOUCHES_THE_SYSTEM | set(WITHOUT_A_SANDBOX) <= names
    assert len(names) >= 40
