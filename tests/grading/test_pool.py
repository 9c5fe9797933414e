"""The pool: every job is answered once, whatever happens to the processes that answer."""

import os
import signal
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_lab import RIGHT, job, repository, written

from labkit.catalog import LabError
from labkit.grading import pool
from labkit.grading.pool import Queue, judged
from labkit.grading.work import Job

FAST = 40.0  # seconds until a test gives up


@pytest.fixture
def lab(tmp_path):
    return repository(tmp_path / "tiny")


@pytest.fixture
def hands(monkeypatch):
    """The processes of the pool, as they are started."""
    started = []
    real = pool._start

    def start(*args):
        started.append(real(*args))
        return started[-1]

    monkeypatch.setattr(pool, "_start", start)
    return started


def gone(hands):
    return [h.process.is_alive() for h in hands] == [False] * len(hands)


def when(ready, then):
    """Does `then` in another thread as soon as `ready` holds."""

    def watch():
        until = time.monotonic() + FAST
        while time.monotonic() < until:
            if ready():
                then()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_all_jobs_are_answered_once_by_several_hands(lab, hands):
    jobs = [job(lab, written(lab, **RIGHT | {"negate": f"-x + {i}"})) for i in range(6)]
    answers = [*judged(jobs, 2, walls="limits")]
    assert Counter(a[0] for a in answers) == Counter(jobs)
    assert {a[0].data: a[1].earned for a in answers} == {j.data: 9 if j is jobs[0] else 5 for j in jobs}
    assert all(a[1].file == a[0].file and a[2] and not a[3] for a in answers)
    assert len(hands) == 2
    assert gone(hands)


def test_no_jobs_take_no_process(hands):
    assert [*judged([], 4)] == []
    assert hands == []


def test_never_more_processes_than_jobs(lab, hands):
    assert len([*judged([job(lab, b"")], 50, walls="limits")]) == 1
    assert len(hands) == 1


def test_a_hand_that_is_killed_in_the_middle_loses_and_doubles_nothing(lab, hands, tmp_path):
    begun = tmp_path / "begun"  # made by the first who gets there: then the process is known to be at it
    slow = (
        f"import os, time\ntry:\n    os.mkdir({str(begun)!r})\n    time.sleep(8)\nexcept OSError:\n    pass\n".encode()
    )
    jobs = [job(lab, slow + written(lab, **RIGHT)), *(job(lab, written(lab, negate=str(i))) for i in range(3))]
    killer = when(begun.exists, lambda: os.kill(hands[0].process.pid, signal.SIGKILL))
    answers = [*judged(jobs, 1, walls="limits")]
    killer.join()
    assert Counter(a[0] for a in answers) == Counter(jobs)
    assert {a[0]: a[1].earned for a in answers} == {jobs[0]: 9} | dict.fromkeys(jobs[1:], 0)
    assert len(hands) == 2
    assert gone(hands)


def test_two_deaths_give_a_sentence_and_the_rest_goes_on(lab, hands, tmp_path):
    mark = tmp_path / "marks"
    mark.mkdir()
    path = f"os.path.join({str(mark)!r}, str(time.time_ns()))"
    slow = f"import os, time\nopen({path}, 'w').close()\ntime.sleep(8)\n".encode()
    jobs = [job(lab, slow), job(lab, written(lab, **RIGHT))]
    killers = [
        when(lambda n=n: len([*mark.iterdir()]) >= n + 1, lambda n=n: os.kill(hands[n].process.pid, signal.SIGKILL))
        for n in range(2)
    ]
    answers = {a[0]: a for a in judged(jobs, 1, walls="limits")}
    for killer in killers:
        killer.join()
    assert answers.keys() == {*jobs}
    assert answers[jobs[0]][1:] == (None, b"", "the grader's own process died over it, twice")
    assert answers[jobs[1]][1].earned == 9
    assert gone(hands)


def test_a_hand_that_dies_at_nothing_costs_nothing(lab, hands):
    jobs = [job(lab, written(lab, negate=str(i))) for i in range(2)]
    answers = []
    for answer in judged(jobs, 1, walls="limits"):
        answers.append(answer)
        if len(answers) == 1:  # now it waits
            os.kill(hands[0].process.pid, signal.SIGKILL)
            hands[0].process.join()
    assert [(a[0], a[3]) for a in answers] == [(j, "") for j in jobs]


def test_a_lab_that_cannot_be_read_is_a_sentence(lab, tmp_path):
    (tmp_path / "none").mkdir()
    jobs = [Job("9.9", str(tmp_path / "none"), b"", ""), job(lab, b"")]
    answers = {a[0]: a for a in judged(jobs, 1, walls="limits")}
    assert answers[jobs[0]][1] is None
    assert "lab.toml" in answers[jobs[0]][3]
    assert answers[jobs[1]][3] == ""


def test_closing_it_in_the_middle_ends_every_process(lab, hands):
    jobs = [job(lab, f"import time\ntime.sleep({i})\n".encode()) for i in (0, 9, 9)]
    with closing(judged(jobs, 2, walls="limits")) as answers:
        assert next(answers)[0] == jobs[0]
    assert gone(hands)


def test_a_worker_stays_with_its_lab_and_then_takes_the_longest_line():
    queue = Queue()
    jobs = {name: [Job(name, name, bytes([i]), "") for i in range(n)] for name, n in {"a": 2, "b": 1, "c": 3}.items()}
    for some in jobs.values():
        for j in some:
            queue.add(j)
    order, at = [], "a"
    while (taken := queue.next(at)) is not None:
        order.append(taken)
        at = taken.folder
    assert order == jobs["a"] + jobs["c"] + jobs["b"]
    assert queue.next("never heard of") is None


# ---- a cluster


def test_without_ray_it_says_how_to_get_it(lab, monkeypatch):
    import sys

    from labkit.grading import cluster

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LabError, match="pip install 'ray"):
        next(cluster.judged([job(lab, b"")], "local"))


class Ray:
    """A cluster of one-core machines, in a few lines.

    The jobs in `fatal` take their actor with them, so many times, and its machine unless it `survives`.
    """

    class exceptions:
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            cause = "it raised"

    def __init__(self, machines, fatal=(), broken=False, survives=False):
        self.machines, self.fatal, self.broken, self.survives = machines, Counter(fatal), broken, survives
        self.living, self.asked, self.kept = [], [], []

    def cluster_resources(self):
        return {"CPU": float(self.machines)}

    def remote(self, **options):
        assert options["num_cpus"] == 1
        return lambda kind: SimpleNamespace(remote=self.actor)

    def actor(self, *given):
        actor = SimpleNamespace()
        actor.__ray_ready__ = SimpleNamespace(remote=lambda: ("ready", id(actor)))
        actor.judge = SimpleNamespace(
            remote=lambda job: self.asked.append((id(actor), job)) or ("judge", id(actor), job)
        )
        self.living.append(id(actor))
        self.kept.append(actor)  # so that no id comes twice
        return actor

    def placed(self, actor):
        return actor in self.living[: self.machines]

    def wait(self, refs, num_returns):
        for ref in refs:
            if self.placed(ref[1]) or self.broken:
                return [ref], [r for r in refs if r is not ref]
        raise AssertionError("it would wait for ever")

    def get(self, ref):
        if self.broken:
            raise self.exceptions.RayError("The actor died.\nNo module named labkit")
        if ref[0] == "ready":
            return None
        if self.fatal[ref[2]]:
            self.fatal[ref[2]] -= 1
            self.living.remove(ref[1])
            self.machines -= not self.survives
            raise self.exceptions.RayError("gone")
        if ref[2] == "bad":
            raise self.exceptions.RayTaskError("bad")
        return f"verdict on {ref[2]}", b""


def spread(ray, jobs):
    from labkit.grading import cluster

    return [*cluster._spread(ray, [SimpleJob(j) for j in jobs], "limits")]


class SimpleJob(str):
    folder = "one"


@pytest.mark.parametrize("machines", [1, 2, 3, 9])
def test_each_job_once_however_many_machines(machines):
    ray = Ray(machines)
    answers = spread(ray, "abcd")
    assert sorted(answers) == [(j, f"verdict on {j}", b"", "") for j in "abcd"]
    assert len(ray.asked) == 4
    assert len(ray.kept) == min(machines, 4)


@pytest.mark.parametrize("machines", [2, 3])
def test_with_a_machine_lost_the_others_do_its_work(machines):
    ray = Ray(machines, fatal="b")
    answers = spread(ray, "abcdef")
    assert sorted(answers) == [(j, f"verdict on {j}", b"", "") for j in "abcdef"]
    assert Counter(j for _, j in ray.asked) == Counter("abcdefb")


def test_where_only_the_actor_dies_another_takes_its_place():
    ray = Ray(1, fatal="b", survives=True)
    assert sorted(spread(ray, "abc")) == [(j, f"verdict on {j}", b"", "") for j in "abc"]
    assert len(ray.kept) == 2


def test_a_job_that_takes_two_machines_with_it_gets_a_sentence():
    answers = spread(Ray(3, fatal="bb"), "abc")
    assert sorted(map(str, answers)) == sorted(
        map(
            str,
            [
                ("a", "verdict on a", b"", ""),
                ("c", "verdict on c", b"", ""),
                ("b", None, b"", "its machine or its process died, twice"),
            ],
        )
    )


def test_what_a_judge_raises_is_that_jobs_sentence():
    ray = Ray(1)
    answers = spread(ray, ["bad", "a"])
    assert ("bad", None, b"", "it raised") in answers
    assert ("a", "verdict on a", b"", "") in answers
    assert len(ray.kept) == 1


def test_a_cluster_on_which_nothing_starts_is_one_line():
    with pytest.raises(LabError, match=r"^No machine of the cluster can grade: No module named labkit$"):
        spread(Ray(2, broken=True), "abc")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_cluster_that_loses_an_actor_loses_and_doubles_nothing(lab, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="needs Ray: pip install ray")
    from labkit.grading import cluster

    real = ray.init
    monkeypatch.setattr(ray, "init", lambda **more: real(**more, num_cpus=2))
    begun = tmp_path / "begun"  # the process of the first lab that gets there: then its actor is known to be at it
    slow = f"import os, time\ntry:\n    os.symlink(str(os.getpid()), {str(begun)!r})\n    time.sleep(8)\n"
    slow += "except OSError:\n    pass\n"
    jobs = [job(lab, slow.encode() + written(lab, **RIGHT)), *(job(lab, written(lab, negate=str(i))) for i in range(5))]
    bad = Job("9.9", str(tmp_path), b"", "")
    killed = []

    def kill() -> None:
        actor = parent(parent(int(os.readlink(begun))))  # it started the process that forks, and that one forked
        assert actor not in (1, os.getpid())
        killed.append(actor)
        os.kill(actor, signal.SIGKILL)

    killer = when(begun.is_symlink, kill)
    answers = [*cluster.judged([*jobs, bad], cluster.LOCAL, "limits")]
    killer.join()
    assert len(killed) == 1
    assert Counter(a[0] for a in answers) == Counter([*jobs, bad])
    assert {a[0]: a[1].earned for a in answers if a[1]} == {jobs[0]: 9} | dict.fromkeys(jobs[1:], 0)
    assert "lab.toml" in next(a[3] for a in answers if a[0] == bad)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_cluster_of_two_machines_that_loses_one_goes_on_with_the_other(lab, tmp_path):
    ray = pytest.importorskip("ray", reason="needs Ray: pip install ray")
    from ray.cluster_utils import Cluster

    from labkit.grading import cluster

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        two = [machines.add_node(num_cpus=1) for _ in range(2)]
        machines.wait_for_nodes()
        begun = tmp_path / "begun"
        slow = f"import os, time\ntry:\n    os.symlink(str(os.getpid()), {str(begun)!r})\n    time.sleep(8)\n"
        slow += "except OSError:\n    pass\n"
        jobs = [job(lab, slow.encode() + written(lab, **RIGHT))]
        jobs += [job(lab, written(lab, negate=str(i))) for i in range(5)]
        lost = []

        def lose() -> None:
            process, line = int(os.readlink(begun)), []
            while process > 1:
                process = parent(process)
                line.append(process)
            [machine] = [n for n in two if n.all_processes["raylet"][0].process.pid in line]
            lost.append(machine)
            machines.remove_node(machine, allow_graceful=False)

        loser = when(begun.is_symlink, lose)
        answers = [*cluster.judged(jobs, machines.address, "limits")]
        loser.join()
        assert len(lost) == 1
        assert Counter(a[0] for a in answers) == Counter(jobs)
        assert {a[0]: a[1].earned for a in answers if a[1]} == {jobs[0]: 9} | dict.fromkeys(jobs[1:], 0)
    finally:
        ray.shutdown()
        machines.shutdown()


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
