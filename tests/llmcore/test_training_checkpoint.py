"""Checkpoints killed at every point, cut, flipped and replaced; what is read back is what was written."""

import builtins
import hashlib
import itertools
import json
import math
import os
import pickle
import random
import shutil
import subprocess
import warnings

import numpy as np
import pytest
import torch

from llmcore.training import checkpoint
from llmcore.training.checkpoint import CheckpointError, commit, latest, load, save, steps


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A busy disk takes a tenth of a second to be sure of a file, and so does a git to start; a test writes hundreds."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(checkpoint, "commit", lambda: "a commit")


def state_of(number):
    return {
        "model": {"w": torch.full((3, 5), float(number)), "half": torch.arange(number, dtype=torch.bfloat16)},
        "list": [number, "ü", None, 2.5, (1, 2), True],
    }


def same(found, wanted):
    if isinstance(wanted, torch.Tensor):
        return isinstance(found, torch.Tensor) and found.dtype == wanted.dtype and torch.equal(found, wanted)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list | tuple):
        return type(found) is type(wanted) and len(found) == len(wanted) and all(map(same, found, wanted))
    return type(found) is type(wanted) and found == wanted


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def latest_quietly(folder):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        return latest(folder), [str(each.message) for each in said]


def test_what_is_read_is_what_was_written(tmp_path):
    config = {"settings": {"steps": 7, "betas": [0.9, 0.5]}, "text": "ünïcode"}
    path = save(tmp_path / "runs" / "first", 50, state_of(4), config)
    assert path == tmp_path / "runs" / "first" / "step-00000050"
    assert names(path) == ["meta.json", "state.pt"]
    for step, state, found in (load(path), load(str(path)), latest(path.parent), latest(str(path.parent))):
        assert (step, found) == (50, config)
        assert same(state, state_of(4))
    meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    assert meta.pop("commit") == "a commit"
    digest = hashlib.sha256((path / "state.pt").read_bytes()).hexdigest()
    assert meta == {"step": 50, "sha256": digest, "torch": torch.__version__, "config": config}
    assert load(save(tmp_path, 0, {}))[1:] == ({}, {})


def test_a_folder_without_checkpoints_has_no_latest(tmp_path):
    assert latest(tmp_path / "nowhere") is None
    assert latest(tmp_path) is None
    assert steps(tmp_path) == []
    for name in ("step-", "step-abc", "step-5", "step-000000005", "step--0000005", "step-00000005 (copy)", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000007").write_text("a file, not a folder")
    assert steps(tmp_path) == []
    assert latest(tmp_path) is None
    save(tmp_path, 123_456_789, state_of(2), keep=1)  # strange folders are in nobody's way
    assert steps(tmp_path) == [123_456_789]
    assert len(names(tmp_path)) == 9


@pytest.mark.parametrize(
    ("keep", "left"), [(0, [3, 9, 10, 100, 101]), (1, [101]), (2, [100, 101]), (4, [9, 10, 100, 101]), (9, None)]
)
def test_the_newest_are_kept(tmp_path, keep, left):
    order = [3, 9, 10, 100, 101]
    for number in order:
        save(tmp_path, number, state_of(number), keep=keep)
    assert steps(tmp_path) == (left or order)
    assert names(tmp_path) == [f"step-{number:08d}" for number in steps(tmp_path)]
    assert same(latest(tmp_path)[1], state_of(101))


@pytest.mark.parametrize("keep", [1, 2])
def test_a_run_that_had_to_go_back_does_not_lose_what_it_saves_to_later_ones_that_are_damaged(tmp_path, keep):
    for number in (5, 10, 15):
        save(tmp_path, number, state_of(number))
    for number in (10, 15):
        (tmp_path / f"step-{number:08d}" / "state.pt").write_bytes(b"")
    save(tmp_path, 7, state_of(7), keep=keep)
    found, said = latest_quietly(tmp_path)
    assert (found[0], len(said)) == (7, 2)
    assert steps(tmp_path) == [5, 7, 10, 15][2 - keep :]
    save(tmp_path, 10, state_of(10), keep=keep)
    assert latest_quietly(tmp_path)[0][0] == 10
    save(tmp_path, 15, state_of(16), keep=keep)
    assert same(latest(tmp_path)[1], state_of(16))
    assert steps(tmp_path) == [10, 15][2 - keep :]


def test_one_of_the_same_step_is_replaced(tmp_path):
    for number in (2, 5, 5, 5):
        save(tmp_path, 8, state_of(number))
    assert names(tmp_path) == ["step-00000008"]
    assert same(latest(tmp_path)[1], state_of(5))


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    save(tmp_path, 5, state_of(5))
    for name in (".step-00000009.4711.part", ".step-00000005.12.part"):
        shutil.copytree(tmp_path / "step-00000005", tmp_path / name)
    (tmp_path / ".step-00000002.3.part").mkdir()
    (tmp_path / ".mine.part").mkdir()
    assert latest(tmp_path)[0] == 5
    save(tmp_path, 6, state_of(6))
    assert names(tmp_path) == [".mine.part", "step-00000005", "step-00000006"]


@pytest.mark.parametrize("first", ["save", "latest", "steps"])
def test_what_was_moved_away_to_be_replaced_comes_back_whoever_looks_first(tmp_path, first):
    for number in (5, 9):
        save(tmp_path, number, state_of(number))
    (tmp_path / "step-00000009").rename(tmp_path / ".step-00000009.old")  # and here it was killed
    (tmp_path / ".step-00000005.old").mkdir()  # this one had been replaced already
    if first == "save":
        save(tmp_path, 10, state_of(10))
    elif first == "latest":
        assert latest(tmp_path)[0] == 9
    assert steps(tmp_path) == ([5, 9, 10] if first == "save" else [5, 9])
    for number in (5, 9):
        assert same(load(tmp_path / f"step-{number:08d}")[1], state_of(number))


# Killed


class Killed(BaseException):
    """No `except Exception` stops it, as none stops SIGKILL."""


WATCHED = {
    "mkdir": (os, "mkdir"),
    "open": (os, "open"),
    "write a file": (builtins, "open"),
    "torch.save": (torch, "save"),
    "fsync": (os, "fsync"),
    "json": (json, "dump"),
    "rename": (os, "rename"),
    "rmdir": (os, "rmdir"),
    "unlink": (os, "unlink"),
}


def killed_at(monkeypatch, moment, after, run):
    """Run it until the call number `moment` of anything that touches the disk; True if it got there.

    Args:
        after: the call itself is still done.
    """
    count = itertools.count()

    def watch(call):
        def watched(*args, **rest):
            if next(count) != moment:
                return call(*args, **rest)
            try:
                if after:
                    call(*args, **rest)
            finally:
                raise Killed

        return watched

    with monkeypatch.context() as patch:
        for module, name in WATCHED.values():
            patch.setattr(module, name, watch(getattr(module, name)))
        try:
            run()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("before", "step", "keep"), [((5,), 9, 1), ((5, 9), 9, 2), ((9,), 9, 1), ((2, 5), 9, 2), ((), 9, 1)]
)
def test_killed_at_any_moment_the_newest_is_the_old_one_or_the_new_one_in_whole(
    tmp_path, monkeypatch, before, step, keep, after
):
    monkeypatch.setattr(shutil.rmtree, "avoids_symlink_attacks", False)
    outcomes = []
    for moment in itertools.count():
        folder = tmp_path / str(moment)
        for number in before:
            save(folder, number, state_of(number))
        if not killed_at(monkeypatch, moment, after, lambda at=folder: save(at, step, state_of(12), keep=keep)):
            break
        found, said = latest_quietly(folder)
        assert said == []
        if found is None:
            assert not before
            outcomes.append("none")
        else:
            number, state, _ = found
            outcomes.append("old" if same(state, state_of(max(before, default=0))) else "new")
            assert (number, same(state, state_of(12))) == (
                (step, True) if outcomes[-1] == "new" else (before[-1], False)
            )
        save(folder, step, state_of(13), keep=keep)  # the run that goes on
        assert same(latest(folder)[1], state_of(13))
        assert names(folder) == [f"step-{number:08d}" for number in sorted({*before, step})[-keep:]]
    assert outcomes.index("new") > 6  # both sides were there, and there was no way back
    assert outcomes == sorted(outcomes, key=["none", "old", "new"].index)
    assert ("old" if before else "none") in outcomes


def test_everything_is_forced_onto_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, os.rename

    def forced(handle):
        events.append(os.readlink(f"/proc/self/fd/{handle}").rsplit("/", 1)[-1])
        events.append(os.fstat(handle).st_size)
        fsync(handle)

    def renamed(old, new):
        events.append([path.stat().st_size for path in sorted(old.iterdir())])
        rename(old, new)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("only Linux says which file a handle is of")
    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(os, "rename", renamed)
    save(tmp_path, 3, state_of(3))
    part = f".step-00000003.{os.getpid()}.part"
    meta, state = events[6]
    assert events[:4] == ["state.pt", state, "meta.json", meta]
    assert (events[4], events[7], len(events)) == (part, tmp_path.name, 9)


def test_a_write_that_fails_is_told_and_leaves_the_old_one(tmp_path, monkeypatch):
    save(tmp_path, 5, state_of(5))

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save(tmp_path, 6, state_of(6))
    assert latest(tmp_path)[0] == 5
    with pytest.raises(TypeError):
        save(tmp_path, 6, state_of(6), {"config": object()})
    assert latest(tmp_path)[0] == 5
    save(tmp_path, 6, state_of(6), keep=1)
    assert names(tmp_path) == ["step-00000006"]


# Damaged


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    for number in (5, 9):
        save(folder, number, state_of(number), {"settings": {"steps": 20}})
    return folder


@pytest.fixture
def two(pair, tmp_path):
    shutil.copytree(pair, tmp_path / "two")
    return tmp_path / "two"


def passed_over(folder, *words):
    """The newest is refused with these words, and the one before taken, which is said."""
    with pytest.raises(CheckpointError) as refused:
        load(folder / "step-00000009")
    found, said = latest_quietly(folder)
    assert (found[0], len(said)) == (5, 1)
    assert same(found[1], state_of(5))
    for word in ("step-00000009", *words):
        assert word in str(refused.value)
        assert word in said[0]
    return True


@pytest.mark.parametrize("name", ["state.pt", "meta.json"])
def test_a_file_cut_off_anywhere_is_passed_over(two, name):
    path = two / "step-00000009" / name
    whole = path.read_bytes()
    words = "truncated or changed" if name == "state.pt" else "no checkpoint of ours"
    for length in {0, 1, 2, 63, 64, 65, 511, 512, len(whole) // 2, len(whole) - 22, len(whole) - 2, len(whole) - 1}:
        if 0 <= length < len(whole):
            path.write_bytes(whole[:length])
            assert passed_over(two, words), length
    path.write_bytes(whole + b"\0")
    assert passed_over(two, words)
    path.unlink()
    assert passed_over(two, "no state.pt that can be read" if name == "state.pt" else words)
    path.mkdir()
    assert passed_over(two, "no state.pt that can be read" if name == "state.pt" else words)
    path.rmdir()
    path.write_bytes(whole)
    assert latest(two)[0] == 9


def test_a_flipped_bit_of_the_state_is_passed_over(two):
    path = two / "step-00000009" / "state.pt"
    whole = path.read_bytes()
    rng = random.Random(4)
    for bit in [0, 8 * len(whole) - 1, *(rng.randrange(8 * len(whole)) for _ in range(40))]:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert passed_over(two, "truncated or changed"), bit


def test_a_flipped_bit_of_meta_never_gives_another_step_or_state(two):
    path = two / "step-00000009" / "meta.json"
    whole = path.read_bytes()
    refused = []
    rng = random.Random(5)
    first = range(8 * whole.index(b","))  # the step stands there
    for bit in [*first, *(rng.randrange(8 * len(whole)) for _ in range(120))]:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        (step, state, _), said = latest_quietly(two)
        assert same(state, state_of(step))
        assert (step, bool(said)) in ((9, False), (5, True))
        refused.append(step == 5)
    assert sum(refused[: len(first)]) > len(first) // 2
    assert 30 < sum(refused[len(first) :]) < 120  # a bit of the commit changes nothing


def test_another_step_than_its_name_says(two):
    (two / "step-00000009").rename(two / "step-00000011")
    found, said = latest_quietly(two)
    assert found[0] == 5
    assert "step-00000011 says that it is of step 9" in said[0]
    (two / "step-00000011").rename(two / "best")  # a copy under a name of one's own is fine
    assert load(two / "best")[0] == 9


@pytest.mark.parametrize("meta", ["[]", "3", "null", "{}", '{"step": 9}', '{"step": 9, "sha256": "x"}', "\xff", "{"])
def test_meta_of_something_else(two, meta):
    (two / "step-00000009" / "meta.json").write_bytes(meta.encode("latin-1"))
    assert passed_over(two, "no checkpoint of ours")


class Thing:
    def __init__(self):
        self.x = 3

    def __reduce__(self):
        return (os.system, ("echo ran > ran.txt",))


OTHERS = {
    "text": b"hello, world, " * 40,  # torch.load raises KeyError for this one
    "nothing": b"",
    "numbers": bytes(range(256)) * 4,
    "code in a pickle": pickle.dumps(Thing(), protocol=2),
    "zip": b"PK\x03\x04" + bytes(100),
    "archive without a pickle": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=list(OTHERS))
def test_a_state_of_something_else_under_its_right_hash(two, data, monkeypatch):
    monkeypatch.chdir(two)
    write_with_hash(two / "step-00000009", data)
    assert passed_over(two, "torch.load(weights_only=True) does not take")
    assert not (two / "ran.txt").exists()


def test_code_in_a_checkpoint_is_not_run(two, monkeypatch):
    monkeypatch.chdir(two)
    torch.save({"model": Thing()}, two / "evil.pt")
    write_with_hash(two / "step-00000009", (two / "evil.pt").read_bytes())
    assert passed_over(two, "torch.load(weights_only=True) does not take")
    assert not (two / "ran.txt").exists()
    torch.load(two / "evil.pt", weights_only=False)  # which would have
    assert (two / "ran.txt").exists()


def write_with_hash(path, data):
    (path / "state.pt").write_bytes(data)
    meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    meta["sha256"] = hashlib.sha256(data).hexdigest()
    (path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def test_where_none_can_be_used_that_is_an_error_and_not_a_new_beginning(two):
    for number in (5, 9):
        (two / f"step-{number:08d}" / "state.pt").write_bytes(b"x")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(CheckpointError, match="none of its 2 checkpoints can be used"):
            latest(two)
    assert [f"step-{number:08d}" in str(each.message) for number, each in zip((9, 5), said, strict=True)] == [True] * 2


# Generators


def draw():
    return (
        [torch.rand(3).tolist(), torch.randn(2).tolist(), torch.randperm(9).tolist()],
        [random.random(), random.gauss(0, 1), random.sample(range(99), 5)],
        [np.random.rand(3).tolist(), np.random.standard_normal(3).tolist(), np.random.randint(0, 99, 4).tolist()],
    )


def test_every_generator_goes_on_where_it_was_also_through_a_file(tmp_path):
    outside = checkpoint.random_state()
    try:
        for seed in (3, 4):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            draw()  # an odd number of normals: each generator keeps the other half of a pair
            save(tmp_path, seed, {"random": checkpoint.random_state()})
            wanted = [draw() for _ in range(300)]
            assert len({str(each) for each in wanted}) == 300
            draw()
            checkpoint.set_random_state(load(tmp_path / f"step-{seed:08d}")[1]["random"])
            assert [draw() for _ in range(300)] == wanted
    finally:
        checkpoint.set_random_state(outside)


def test_generators_of_gpus_that_are_not_there_are_left_out(monkeypatch):
    state = checkpoint.random_state()
    set_for = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda one, device: set_for.append((one.item(), device)))
    for here, there in itertools.product((0, 1, 3), (0, 2, 3)):
        set_for.clear()
        monkeypatch.setattr(torch.cuda, "device_count", lambda here=here: here)
        checkpoint.set_random_state({**state, "cuda": [torch.tensor(10 + i) for i in range(there)]})
        assert set_for == [(10 + i, i) for i in range(min(here, there))]


# The commit


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A folder whose git, if any, is its own."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(checkpoint, "commit", commit)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def git(*arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_and_whether_something_was_changed_since(alone):
    assert commit() == ""
    git("init", "-q")
    assert commit() == ""  # a repository without a commit
    (alone / "a.txt").write_text("one\n")
    git("add", "a.txt")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert (len(head), commit()) == (40, head)
    (alone / "a.txt").write_text("two\n")
    assert commit() == f"{head}+changes"
    git("commit", "-q", "-a", "-m", "second")
    assert commit() == git("rev-parse", "HEAD") != head
    (alone / "new.txt").write_text("")
    assert commit() == f"{git('rev-parse', 'HEAD')}+changes"
    meta = save(alone / "new.txt.d", 1, {}) / "meta.json"
    assert json.loads(meta.read_text())["commit"].endswith("+changes")


def test_git_does_not_hold_the_lock_of_the_repository(alone):
    git("init", "-q")
    (alone / "a.txt").write_text("one\n")
    git("add", "a.txt")
    git("commit", "-q", "-m", "first")
    os.utime(alone / "a.txt", (1, 1))  # now git status would like to write its index anew
    before = (alone / ".git" / "index").read_bytes()
    assert not commit().endswith("+changes")
    assert (alone / ".git" / "index").read_bytes() == before
    git("status")
    assert (alone / ".git" / "index").read_bytes() != before


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", math.inf)])
def test_without_git_there_is_no_commit(alone, monkeypatch, error):
    def run(*args, **rest):
        raise error

    monkeypatch.setattr(checkpoint.subprocess, "run", run)
    assert commit() == ""
    assert load(save(alone, 2, {}))[0] == 2
