"""Gradescope's results.json, as documented at https://gradescope-autograders.readthedocs.io/en/latest/specs/.

The top-level score overrides the sum of the tests, so what the policy takes off is seen; the tests say where points went.
"""

from __future__ import annotations

from typing import Any

from labkit.grading import words
from labkit.grading.cells import number
from labkit.grading.records import Mark, Verdict


def results(verdicts: list[Verdict], mark: Mark | None) -> dict[str, Any]:
    """What Gradescope shows for one submission.  Points are the mark's; without a mark those of the labs.

    Standard output stays hidden: it is the grader's.  Each test is shown to the student at once.
    """
    total, earned = sum(v.points for v in verdicts), sum(v.earned for v in verdicts)
    scale = mark.points / total if mark and total else 1.0
    score = mark.awarded if mark else float(earned)
    return {
        "score": round(score, 2),
        "execution_time": round(sum(v.seconds for v in verdicts), 3),
        "output": _summary(verdicts, mark),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [test for v in verdicts for test in _tests(v, scale, several=len(verdicts) > 1)],
        "extra_data": {
            "labs": {v.lab: {"file": v.file, "spec": v.spec, "salt": v.salt, "sandbox": v.sandbox} for v in verdicts}
        },
    }


def _tests(verdict: Verdict, scale: float, several: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": words.clean(f"{verdict.lab} {task.task}" if several else task.task),
            "score": round(task.earned * scale, 2),
            "max_score": round(task.points * scale, 2),
            "status": "passed" if task.status == "passed" else "failed",
            "output": words.explain(verdict.lab, task),
            "output_format": "text",  # never HTML: it quotes what the submission printed
            "visibility": "visible",
        }
        for task in verdict.tasks
    ]


def _summary(verdicts: list[Verdict], mark: Mark | None) -> str:
    lines = [f"{v.lab} {v.title}: {v.earned} of {v.points} points of the lab." for v in verdicts]
    if not verdicts:
        lines.append("No file of this submission could be graded.")
    if mark:
        if verdicts:
            lines.append(f"That makes {number(mark.awarded)} of {number(mark.points)} points.")
        lines += [words.clean(mark.note)] if mark.note else []
    return "\n".join(lines)
