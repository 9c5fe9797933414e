"""`labkit.grading.pool` over the class in FOLDER/class.json, again and again: its seconds, its memory, and what it stores.

    python -m benchmarks.grade_ours FOLDER

For each line that comes in, the whole class is graded by the same worker, and a line of JSON goes out.  Each time the files
differ in a comment, so that no verdict is used twice.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import cast

from benchmarks.grade_plain import started
from labkit.grading import pool
from labkit.grading.store import Store
from labkit.grading.work import Job


def below(root: int) -> list[int]:
    """The processes that this one started, and theirs (Linux)."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(status.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found, todo = [], list(children.get(root, []))
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def memory(root: int) -> int:
    """Bytes held by the processes below this one; what several share is counted once (Pss)."""
    total = 0
    for pid in below(root):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines()
            total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def cpu(root: int) -> float:
    """CPU seconds of this process, of those below it, and of those that they have waited for."""
    ticks = 0
    for pid in [root, *below(root)]:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def main(folder: Path) -> None:
    given = json.loads((folder / "class.json").read_text("utf-8"))
    sources = [source for _, source in given["submissions"]]
    jobs = [
        Job(given["lab"], given["folder"], f"{source}# time {again}\n".encode(), given["salt"])
        for again in range(given["times"])
        for source in sources
    ]
    store, _ = Store.open(folder / "results", given["salt"], False)
    peak, looking, over = [0], [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(1):
            peak[0] = max(peak[0], memory(os.getpid()))
            looking[0] = time.thread_time()  # it costs nobody who grades

    threading.Thread(target=watch, daemon=True).start()
    used, before = 0.0, (0, 0)  # the first time holds what the start of everything cost
    with closing(cast(Generator[pool.Answer, None, None], pool.judged(jobs, 1))) as answers:
        for _ in sys.stdin:
            began, full = time.monotonic(), []
            for job, verdict, observations, problem in islice(answers, len(sources)):
                if verdict is None:
                    raise RuntimeError(problem)
                store.keep_file(job.data)
                store.keep(job.file[:32], verdict, observations)
                full.append(verdict.earned == verdict.points)
            wall, now, after = time.monotonic() - began, cpu(os.getpid()) - looking[0], started()
            files = [f for f in (folder / "results").rglob("*") if f.is_file()]
            found = {"cpu": now - used, "wall": wall, "full": full, "memory": peak[0]}
            found |= {"interpreters": after[0] - before[0], "imports": after[1] - before[1]}
            print(json.dumps(found | {"disk": sum(f.stat().st_blocks * 512 for f in files)}), flush=True)
            used, before = now, after
    over.set()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
