"""Submissions that try to earn points they did not work for, run like any other; none may earn one.

Each says at its top what its trick is, and in SOLVES which tasks it solves honestly.  They run from a copy, so one that
rewrites itself harms nothing; those that want the answers look for them in this repository.
Does not: stand in for a sandbox.  KNOWN_GAPS names what only the operating system can refuse, and why.
"""

import ast
import contextlib
import shutil
from pathlib import Path

import pytest

from labkit import catalog, runner, sandbox

HERE = Path(__file__).parent
FORGED = sorted((HERE / "forged").glob("*.py"))
ALL = {"attention_loops", "attention", "causal_mask", "padding_mask", "attention_einsum", "attention_tiled"}
KNOWN_GAPS = {  # forger: (what it may earn, why)
    "another_program_reads": (
        ALL,
        "labs may start programs, and a program has no audit hook: the sandbox hides answers",
    ),
    "git_shows": (ALL, "the same, with git for cat: the sandbox is given the lab's file alone, without the history"),
    "another_reader": (ALL, "torch.from_file and libc open files without an audit event"),
    "operates_on_the_guard": (ALL, "a hook written in Python can be rewritten in Python"),
    "reads_the_judges_memory": (
        {"attention"},
        "the judge runs as the same user: /proc/PID/mem holds its spec's source",
    ),
}
STILL_OPEN: set[str] = set()  # in the sandbox, too


@pytest.fixture(scope="module")
def lab():
    return catalog.find(catalog.root(HERE), "4.1")


@pytest.fixture(scope="module")
def shared(lab):
    with runner.kitchen(lab) as made:
        yield made


@pytest.fixture(autouse=True)
def one_kitchen(monkeypatch, shared):
    """All forgers come from one process that has imported torch; that they cannot harm each other is tested as well."""
    monkeypatch.setattr(runner, "kitchen", lambda *_: contextlib.nullcontext(shared))


def solves(file):
    return next(
        ast.literal_eval(node.value)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "SOLVES"
    )


def earned(lab, file, **options):
    return {r.task.name for r in runner.run(lab, file, **options) if r.points}


def marked(file):
    return pytest.param(file, id=file.stem, marks=[pytest.mark.slow] * (file.stem == "oracle_in_the_rubbish"))


@pytest.mark.parametrize("file", [*map(marked, FORGED)])
def test_a_forger_earns_what_it_solves_and_no_more(lab, tmp_path, file):
    copy = shutil.copy(file, tmp_path / "lab.py")
    gap, _ = KNOWN_GAPS.get(file.stem, (set(), ""))
    assert earned(lab, copy) - gap == set(solves(file))


@pytest.mark.slow
@pytest.mark.skipif(bool(sandbox.trouble()), reason=sandbox.trouble())
def test_a_sandbox_closes_all_gaps_but_two(lab, tmp_path, monkeypatch):
    with runner.locked_kitchen(lab, True) as locked:
        monkeypatch.setattr(runner, "kitchen", lambda *_: contextlib.nullcontext(locked))
        for file in FORGED:
            gap = KNOWN_GAPS[file.stem][0] if file.stem in STILL_OPEN else set()
            copy = shutil.copy(file, tmp_path / "lab.py")
            assert earned(lab, copy, seed=5) - gap == set(solves(file)), file.stem


def test_every_gap_is_a_forger():
    assert STILL_OPEN <= set(KNOWN_GAPS) <= {f.stem for f in FORGED}


def test_a_forger_in_a_lab_folder_leaves_the_spec_alone(lab, tmp_path):
    folder = tmp_path / "phases/phase-04-x/lab-01-y"
    shutil.copytree(lab.folder, folder, ignore=shutil.ignore_patterns("artifacts", "__pycache__"))
    shutil.copy(HERE / "forged/replaces_the_spec.py", folder / "lab.py")
    before = {p: p.read_bytes() for p in folder.glob("*.*") if p.name != "easy.py" and p.is_file()}
    assert earned(catalog.read(folder), folder / "lab.py", tasks=["causal_mask"]) == set()
    assert {p: p.read_bytes() for p in before} == before


RECORDS = """

import json as _json


def _noted(name, f):
    def call(*args):
        out = f(*args)
        with open(TABLE, "a") as table:
            table.write(_json.dumps([[name, *(x.tolist() for x in args)], out.tolist()]) + chr(10))
        return out

    return call


attention_loops = _noted("attention_loops", attention_loops)
"""
REPLAYS = """
import json
import torch

with open(TABLE) as table:
    LEARNED = {json.dumps(asked): answer for asked, answer in map(json.loads, table)}


def attention_loops(*args):
    return torch.tensor(LEARNED[json.dumps(["attention_loops", *(x.tolist() for x in args)])])
"""


def test_what_is_learned_by_heart_passes_in_practice_and_not_when_graded(lab, tmp_path):
    """Practice is always seed 0, so that a failure can be repeated: a table of its answers passes there.  Seeds that
    were not seen are what tells it apart."""
    task, table = "attention_loops", f"TABLE = {str(tmp_path / 'table')!r}"
    recorder, replayer = tmp_path / "recorder.py", tmp_path / "lab.py"
    recorder.write_text(lab.file("solution.py").read_text(encoding="utf-8") + RECORDS + table, encoding="utf-8")
    replayer.write_text(table + REPLAYS, encoding="utf-8")
    assert earned(lab, recorder, tasks=[task], seed=0) == {task}
    assert earned(lab, replayer, tasks=[task], seed=0) == {task}
    assert earned(lab, replayer, tasks=[task], seed=1) == set()
