"""A judge and its lab on one core, and each back on all of them afterwards."""

import os
import sys
import threading

import pytest
from conftest import write

from labkit import cores
from labkit.kitchen import Kitchen

ALL = os.sched_getaffinity(0) if sys.platform == "linux" else {0}
pytestmark = pytest.mark.skipif(len(ALL) < 2, reason="there is one core, or no way to choose")
ASK = "import os\ndef where(): return sorted(os.sched_getaffinity(0))\n"


def asked(kitchen, path):
    box = kitchen.box()
    try:
        box.load(path)
        return set(box.lab.where())
    finally:
        box.close()


def test_one_core_and_then_all_again():
    with cores.one() as core:
        assert os.sched_getaffinity(0) == {core}
        assert core in ALL
    assert os.sched_getaffinity(0) == ALL


def leave_with(error):
    with cores.one():
        raise error


def test_all_again_after_an_error():
    with pytest.raises(KeyError):
        leave_with(KeyError("x"))
    assert os.sched_getaffinity(0) == ALL


def test_who_may_use_one_core_only_has_no_choice_to_make():
    core = max(ALL)
    seen = []

    def alone():
        os.sched_setaffinity(0, {core})  # of this thread
        with cores.one() as chosen:
            seen.append((chosen, os.sched_getaffinity(0)))
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=alone)
    thread.start()
    thread.join()
    assert seen == [(None, {core}), {core}]
    assert os.sched_getaffinity(0) == ALL


def test_a_core_that_is_gone_is_no_error(monkeypatch):
    def gone(who, what):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sched_setaffinity", gone)
    with cores.one() as core:
        assert core is None
    cores.stay(0)


def test_other_systems_choose_themselves(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getaffinity")
    with cores.one() as core:
        assert core is None


@pytest.mark.parametrize("locked", [False, True])
def test_a_lab_runs_where_its_judge_is_and_only_then(tmp_path, locked):
    path = write(tmp_path / "lab.py", ASK)
    with Kitchen(locked=locked) as kitchen:
        assert asked(kitchen, path) == ALL
        with kitchen.on_one_core():
            assert asked(kitchen, path) == os.sched_getaffinity(0)
            assert len(os.sched_getaffinity(0)) == 1
        assert asked(kitchen, path) == ALL
        assert os.sched_getaffinity(0) == ALL
