"""JUnit XML: one test suite a lab, one test case a task, for CI systems and dashboards.

The elements are those of the schema that Jenkins reads: testsuites, testsuite, testcase, failure, error, skipped
(https://github.com/jenkinsci/xunit-plugin, junit-10.xsd).
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from labkit.catalog import Lab
from labkit.grading import words
from labkit.grading.records import Mark, TaskVerdict, Verdict

OUTCOME = {"passed": "", "wrong": "failure", "forbidden": "failure", "crashed": "error", "slow": "error"}


def xml(rows: Sequence[tuple[Lab, Mark, Verdict | None]]) -> bytes:
    """The document, UTF-8.  Tasks that were not tried, and labs without a file, are skipped and say why."""
    top = ElementTree.Element("testsuites")
    for lab, mark, verdict in rows:
        found = verdict.tasks if verdict else [_absent(t.name, mark) for t in lab.tasks]
        outcomes = [OUTCOME.get(t.status, "skipped") for t in found]
        seconds = f"{verdict.seconds if verdict else 0:.3f}"
        attributes = {"name": f"{lab.id} {lab.title}", "tests": str(len(found)), "time": seconds}
        attributes |= {f"{kind}s": str(outcomes.count(kind)) for kind in ("failure", "error")}
        suite = ElementTree.SubElement(top, "testsuite", attributes | {"skipped": str(outcomes.count("skipped"))})
        for task, outcome in zip(found, outcomes, strict=True):
            case = ElementTree.SubElement(
                suite, "testcase", {"classname": f"lab {lab.id}", "name": words.clean(task.task)}
            )
            if outcome:
                detail = ElementTree.SubElement(case, outcome, {"message": words.headline(task)})
                if outcome != "skipped":
                    detail.set("type", task.mistake or task.status)
                    detail.text = words.explain(lab.id, task)
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)


def _absent(task: str, mark: Mark) -> TaskVerdict:
    return TaskVerdict(task, 0, 0, "not-run", note=mark.note or mark.status)
