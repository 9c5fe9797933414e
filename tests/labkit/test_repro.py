"""`lab repro` where objects hang together and random numbers matter: the program it prints shows the very failure."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import catalog, repro
from labkit.remote import Call, remotes_in
from labkit.runner import kitchen

ROOT = Path(__file__).resolve().parents[2]
LAB = catalog.find(ROOT, "1.4")


@pytest.mark.parametrize(
    ("task", "right", "wrong"),
    [
        ("backward", r"arrived\[(\w+)\] \+= ", r"arrived[\1] = "),  # seen in .grad of an object inside a tuple
        ("fit", r"optimizer\.zero_grad\(\)", "pass"),  # a function that changes an object with random weights
    ],
)
def test_the_program_shows_the_failure_and_the_solution_does_not_have_it(task, right, wrong, tmp_path):
    text = LAB.file("solution.py").read_text("utf-8")
    file = tmp_path / "lab.py"
    file.write_text(re.sub(right, wrong, text), "utf-8")
    assert file.read_text("utf-8") != text
    record, calls, seed = repro.smallest(LAB, LAB.task(task), file)
    program = repro.python(LAB, LAB.task(task), record, calls, seed, file)
    assert (f"lab.{task}(" in program) or (f".{task}()" in program)

    def printed(source):
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        return [list(map(float, re.findall(r"-?\d+\.\d+", line))) for line in done.stdout.splitlines()]

    got, want = printed(program)
    assert got != pytest.approx(want, rel=1e-4)
    got, want = printed(program.replace(repr(str(file)), repr(str(LAB.file("solution.py")))))
    assert got == pytest.approx(want, rel=1e-4)


def test_the_slice_keeps_what_was_done_to_objects_that_came_together():
    def call(target, **what):
        return Call("call", target, data=b"", **what)

    calls = [
        Call("get", 0, "make", result=1),
        call(1, nested={2: (0,), 3: (1, "a")}),
        Call("get", 0, "other", result=4),
        call(4, result=5),
        Call("get", 2, "backward", result=6),
        call(6),
        Call("get", 3, "grad"),
    ]
    assert repro.slice_of(calls) == [c for i, c in enumerate(calls) if i not in (2, 3)]


def test_objects_inside_containers_are_found_with_the_way_to_them():
    assert list(remotes_in([1, {"a": (2, "x")}, None])) == []


def draws(lab):
    import random

    import numpy as np
    import torch

    return [random.random(), float(np.random.rand()), torch.rand(1).item()]


def test_the_random_numbers_of_a_labs_process_begin_where_they_are_told_to():
    with kitchen(LAB) as source:
        box = source.box()
        box.load(LAB.file("solution.py"))
        made = []
        for seed in (5, 6 << 40, 5, 6 << 40):
            box.seed(seed)
            made.append(box.lab.probe(draws))
    assert made[:2] == made[2:]
    assert all(a != b for a, b in zip(made[0], made[1], strict=True))
