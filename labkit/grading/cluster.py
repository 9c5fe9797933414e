"""The same workers on a Ray cluster: an actor for each core, and jobs that outlive the machine they were on.

Ray is optional: pip install ray.  Every machine needs this project at the same version, with its assets; a verdict says
in its environment digest what it was reached on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from labkit.catalog import LabError
from labkit.grading.pool import DEATHS, Answer, Queue
from labkit.grading.work import Job, Worker

LOCAL = "local"  # Ray's word for a cluster of this machine alone, made and ended here


def judged(jobs: Iterable[Job], address: str, walls: str = "") -> Iterator[Answer]:
    """Each job's answer, as they come.  A job whose actor dies is tried once more, by another actor, elsewhere."""
    try:
        import ray
    except ImportError:
        raise LabError("--ray needs Ray, which is not installed here: pip install 'ray>=2.50,<3'") from None
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as e:
        raise LabError(f"No Ray cluster answers at {address}: {str(e).splitlines()[0]}") from None
    try:
        yield from _spread(ray, list(jobs), walls)
    finally:
        ray.shutdown()


def _spread(ray: Any, jobs: list[Job], walls: str) -> Iterator[Answer]:
    queue = Queue()
    for job in jobs:
        queue.add(job)
    left = len(jobs)
    deaths: dict[Job, int] = {}
    # An actor that dies does not come back under its old name; a new one is placed wherever there is a core.
    actor = ray.remote(num_cpus=1, max_restarts=0)(Worker)
    # One that waits for a core gets no job: with a machine lost, there may never be one for it.
    starting: dict[Any, Any] = {}
    free: list[tuple[Any, str]] = []
    busy: dict[Any, tuple[Any, Job]] = {}

    def start() -> None:
        worker = actor.remote(None, walls)
        starting[worker.__ray_ready__.remote()] = worker

    for _ in range(min(max(1, int(ray.cluster_resources().get("CPU", 1))), left)):
        start()
    while left:
        while free and (waiting := queue.next(free[-1][1])):
            worker, _ = free.pop()
            busy[worker.judge.remote(waiting)] = worker, waiting
        (done, *_), _ = ray.wait([*busy, *starting], num_returns=1)
        if worker := starting.pop(done, None):
            try:
                ray.get(done)
                free.append((worker, ""))
            except ray.exceptions.RayError as e:
                if not (busy or starting or free):
                    raise LabError(f"No machine of the cluster can grade: {str(e).strip().splitlines()[-1]}") from None
            continue
        worker, job = busy.pop(done)
        try:
            answer: Answer = (job, *ray.get(done), "")
            free.append((worker, job.folder))
        except ray.exceptions.RayTaskError as e:
            answer = job, None, b"", str(e.cause)
            free.append((worker, job.folder))
        except ray.exceptions.RayError:
            start()
            deaths[job] = deaths.get(job, 0) + 1
            if deaths[job] < DEATHS:
                queue.add(job)
                continue
            answer = job, None, b"", "its machine or its process died, twice"
        left -= 1
        yield answer
