"""One file against one lab: the same verdict each time, named as `lab check` would, under a name that says all of it."""

import dataclasses
import os
from pathlib import Path

import pytest
from tiny_lab import RIGHT, job, repository, written

from labkit import catalog, sandbox, vary, wire
from labkit.grading import work
from labkit.grading.records import Verdict
from labkit.grading.work import Worker
from labkit.remote import Failed
from labkit.runner import Observation, Result
from labkit.spec import Record

ROOT = Path(__file__).resolve().parents[2]
WALLS = [
    "limits",
    pytest.param(
        "bubblewrap", marks=pytest.mark.skipif(bool(sandbox.trouble()), reason=f"needs bubblewrap: {sandbox.trouble()}")
    ),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return repository(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module", params=WALLS)
def worker(request):
    with Worker(walls=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def limited():
    with Worker(walls="limits") as made:
        yield made


def statuses(verdict):
    return {t.task: (t.status, t.earned) for t in verdict.tasks}


def test_the_same_file_twenty_times_the_same_verdict(worker, lab):
    data = written(lab, double="2 * x", quadruple="5 * x", negate="nothing(object())")
    seen = []
    for _ in range(20):
        verdict, observations = worker.judge(job(lab, data, "a salt"))
        seen.append((dataclasses.replace(verdict, seconds=0.0), observations))
    assert all(s == seen[0] for s in seen[1:])
    assert statuses(seen[0][0]) == {"double": ("passed", 2), "quadruple": ("wrong", 0), "negate": ("crashed", 0)}


def test_a_verdict_says_what_it_was_reached_on_and_comes_back_from_json(worker, lab):
    data = written(lab, **RIGHT)
    verdict, _ = worker.judge(job(lab, data, "a salt"))
    assert (verdict.earned, verdict.points, verdict.sandbox) == (9, 9, worker.walls)
    assert verdict.salt == work.name_of("a salt") != "a salt"
    assert verdict.environment == work.digest(work.environment())
    assert Verdict.from_json(verdict.as_json()) == verdict
    assert [t.behaviour for t in verdict.tasks] == [""] * 3


def test_a_known_mistake_is_named_on_a_salt_too(worker, lab):
    verdict, _ = worker.judge(job(lab, written(lab, double="x * x", negate="-abs(x)"), "a salt"))
    double, quadruple, negate = verdict.tasks
    assert (double.mistake, double.says) == ("99.1/squares", "It squares instead of doubling.")
    assert negate.mistake == "99.1/absolute"
    assert (negate.called, negate.expected, negate.got) == ("negate(-5)", "5", "-5")
    assert quadruple.status == "waiting"
    unknown, _ = worker.judge(job(lab, written(lab, double="x + 7"), "a salt"))
    assert (unknown.tasks[0].mistake, unknown.tasks[0].status) == ("", "wrong")


def test_what_a_task_printed_is_kept_without_control_characters(limited, lab):
    verdict, _ = limited.judge(job(lab, written(lab, negate="print('\\x1b[2Jhello')")))
    assert "hello" in verdict.tasks[2].printed
    assert "\x1b" not in verdict.tasks[2].printed


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "AttributeError"),
        (b"def double(:\n", "SyntaxError"),
        (b"x = 1\x00", "SyntaxError"),
        (b"\xff\xfe\x00\xd8", "SyntaxError"),
        (b"# coding: no-such-thing\n", "SyntaxError"),
        (b"(" * 5000, "SyntaxError"),
        (b"raise SystemExit(0)\n", "exit"),
        (b"import os; os._exit(0)\n", "exit status 0"),
        (b"import os; os.fork()\n", "start another program"),
        (b"import no_such_module\n", "not installed"),
        ("def double(x): raise ValueError('\ud800')\n".encode("utf-8", "surrogatepass"), "SyntaxError"),
    ],
)  # fmt: skip
def test_any_bytes_get_a_verdict_with_a_sentence(limited, lab, data, says):
    verdict, observations = limited.judge(job(lab, data))
    assert verdict.earned == 0
    assert says in verdict.tasks[0].note
    assert [row[0] for row in work.replay(observations)] == ["double", "quadruple", "negate"]


def test_the_untouched_scaffold_has_not_started(limited, lab):
    verdict, _ = limited.judge(job(lab, written(lab)))
    assert [t.status for t in verdict.tasks] == ["not-started", "waiting", "not-started"]


def test_observations_replay_without_the_file(limited, lab):
    verdict, data = limited.judge(job(lab, written(lab, double="2 * x", negate="-abs(x)"), "s"))
    rows = {task: (status, checks) for task, status, _, checks in work.replay(data)}
    for t in verdict.tasks:
        assert rows[t.task][0] == t.status
    assert [all(r.ok for r in rows[task][1].values()) for task in ("double", "negate")] == [True, False]
    bad = [(test, i, r.got, r.want) for (test, i), r in rows["negate"][1].items() if not r.ok]
    assert bad == [("test_negate", 1, -5, 5)]


def test_tasks_with_thousands_of_arrays_each_are_stored(limited, lab):
    results = []
    for task in lab.tasks:
        seen = Observation()
        for i in range(wire.MAX_BUFFERS // 2):
            seen.records["test_x", i] = Record("equal", b"got", b"got")
        results.append(Result(task, "passed", seen=seen))
    rows = list(work.replay(work.pack(results)))
    assert [task for task, *_ in rows] == [t.name for t in lab.tasks]
    assert sum(len(checks) for *_, checks in rows) == 3 * (wire.MAX_BUFFERS // 2)


def test_too_much_to_store_leaves_the_failing_checks(limited, lab, monkeypatch):
    row = ["test_negate", 1, ["equal", -5, 5, "minus five", None, None]]
    monkeypatch.setattr(work, "STORED", len(wire.dumps([row])) + 8)  # one check fits, two do not
    _, data = limited.judge(job(lab, written(lab, negate="-abs(x)")))
    kept = {task: list(checks) for task, _, _, checks in work.replay(data)}
    assert kept["negate"] == [("test_negate", 1)]
    monkeypatch.setattr(work, "STORED", 0)
    _, data = limited.judge(job(lab, written(lab, negate="-abs(x)")))
    assert [checks for *_, checks in work.replay(data)] == [{}, {}, {}]


# ---- behaviour


def seen(*rows):
    made = Observation()
    for i, (kind, got, want) in enumerate(rows):
        made.records["test_x", i] = Record(kind, got, want)
    return made


def test_behaviour_is_equal_for_equal_failures_and_different_otherwise():
    base = work.behaviour(seen(("equal", 1, 2), ("equal", 5, 5)))
    assert base
    assert work.behaviour(seen(("equal", 1, 2), ("equal", 5, 5))) == base
    assert work.behaviour(seen(("equal", 1, 2), ("equal", 6, 6))) == base  # what holds says nothing
    others = [
        seen(("equal", 3, 2), ("equal", 5, 5)),
        seen(("equal", 5, 5), ("equal", 1, 2)),
        seen(("equal", 1, 2), ("equal", 4, 5)),
        seen(("raised", 1, None)),
    ]
    assert len({base, *map(work.behaviour, others)}) == 5
    assert work.behaviour(seen(("equal", 5, 5))) == work.behaviour(Observation()) == ""


def test_behaviour_is_the_same_however_it_is_written_and_whoever_named_it(limited, lab):
    ways = ["x * x", "x**2", "sum(x for _ in range(x))", "x * x + 1"]
    found = [limited.judge(job(lab, written(lab, double=w), "s"))[0].tasks[0].behaviour for w in ways]
    assert found[0] == found[1] == found[2] != found[3]
    again = limited.judge(job(lab, written(lab, double=ways[0]), "another"))[0].tasks[0].behaviour
    assert again != found[0]  # other numbers were seen


def test_an_address_in_an_error_does_not_make_two_failures_different(limited, lab):
    error = "int(repr(object()))"
    files = [written(lab, double=f"[{'0, ' * n}{error}][-1]") for n in (0, 5000)]
    a, b = (limited.judge(job(lab, data))[0].tasks[0] for data in files)
    assert a.status == b.status == "crashed"
    assert a.behaviour == b.behaviour


# ---- seeds and names


def test_a_salt_decides_the_seed_and_only_practice_has_seed_0():
    assert (work.seed_of(""), work.name_of("")) == (0, "practice")
    seeds = {work.seed_of(str(i)) for i in range(1000)}
    assert len(seeds) == 1000
    assert min(seeds) > 0
    assert work.seed_of("x") == work.seed_of("x")
    assert len({work.name_of(str(i)) for i in range(1000)}) == 1000
    assert not any(f"{work.seed_of(s) - 1:012x}".startswith(work.name_of(s)) for s in ("a", "b", "c"))


def test_another_salt_asks_for_other_numbers(limited, lab):
    called = {}
    for salt in ("", "a", "b"):
        called[salt] = limited.judge(job(lab, written(lab, double="0"), salt))[0].tasks[0].called
    assert len({*called.values()}) == 3


def test_the_name_of_a_verdict_changes_with_each_part_of_what_decides_it(lab):
    facts = {"python": "3.11", "torch": "2"}
    base = work.Job("99.1", "folder", b"data", "salt", ("a", "b"))
    names = [
        work.key(base, "spec", "limits", facts),
        work.key(dataclasses.replace(base, data=b"Data"), "spec", "limits", facts),
        work.key(dataclasses.replace(base, salt="salt2"), "spec", "limits", facts),
        work.key(dataclasses.replace(base, dials=("a",)), "spec", "limits", facts),
        work.key(base, "spec2", "limits", facts),
        work.key(base, "spec", "bubblewrap", facts),
        work.key(base, "spec", "limits", facts | {"torch": "3"}),
    ]
    assert len({*names}) == len(names)
    assert work.key(dataclasses.replace(base, folder="elsewhere"), "spec", "limits", facts) == names[0]
    assert work.key(base, "spec", "limits", dict(reversed(facts.items()))) == names[0]


def test_the_environment_names_the_judge_s_own_code(tmp_path, monkeypatch):
    before = work.environment()
    assert before["python"].count(".") == 2
    for name in work.JUDGES:
        (tmp_path / f"{name}.py").write_bytes((ROOT / "labkit" / f"{name}.py").read_bytes())
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "catalog.py"))
    assert work.environment() == before
    with (tmp_path / "jail.py").open("a") as file:
        file.write("\n")
    after = work.environment()
    assert after["labkit"] != before["labkit"]
    assert {k: v for k, v in after.items() if k != "labkit"} == {k: v for k, v in before.items() if k != "labkit"}


def test_a_slow_file_is_tried_once_more(lab, monkeypatch):
    tried = []
    real = work.runner.results

    def results(*args, **more):
        tried.append(1)
        for r in real(*args, **more):
            r.status, r.note = ("slow", "too slow") if len(tried) == 1 else (r.status, r.note)
            yield r

    monkeypatch.setattr(work.runner, "results", results)
    with Worker(walls="limits") as worker:
        verdict, _ = worker.judge(job(lab, written(lab, **RIGHT)))
    assert (len(tried), verdict.earned) == (2, 9)


# ---- the preflight


def test_the_preflight_finds_a_right_version_that_a_salt_refuses(tmp_path):
    good = repository(tmp_path / "good")
    assert work.preflight([good.folder], "s") == []
    bad = repository(tmp_path / "bad")
    spec = bad.file("test_lab.py")
    spec.write_text(spec.read_text().replace("-3, why", "-4, why"))
    found = work.preflight([bad.folder], "s")
    assert found
    assert all(p.startswith("99.1: REFUSED: ") and "negate" in p and "\n" not in p for p in found)
    alone = repository(tmp_path / "alone")  # a variant has its reference alone
    alone.file("equivalents.py").unlink()
    assert work.preflight([alone.folder], "s") == []
    alone.file("test_lab.py").write_text(spec.read_text())
    assert work.preflight([alone.folder], "s") == ["lab-01-y: the reference fails negate"]


# ---- limits said in sentences


@pytest.mark.parametrize(
    ("failed", "says"),
    [
        (
            Failed("denied", "start another program (os.fork)", line=3, code="os.fork()"),
            "it tried to start another program",
        ),
        (Failed("disk", "[Errno 28] No space left on device", line=3), "it could not write at line 3: [Errno 28]"),
        (Failed("memory", "", ["MemoryError"]), "out of memory"),
    ],
)
def test_each_limit_ends_in_a_sentence(failed, says):
    from labkit import runner

    assert runner.explain(failed).startswith(says)


def test_a_file_that_is_too_large_says_so(limited, lab, tmp_path):
    path = tmp_path / "big"
    data = f"def double(x):\n    open({str(path)!r}, 'wb').truncate(1 << 30)\n".encode()
    note = limited.judge(job(lab, data))[0].tasks[0].note
    assert note.startswith("it could not write at line 2")
    assert "64 MB" in note
    assert os.path.getsize(path) == 0


@pytest.mark.slow
def test_a_near_miss_of_a_variant_is_named_by_its_dial(tmp_path):
    public = catalog.find(ROOT, "4.1")
    dials = vary.subsets(public)[0]
    variant = vary.build(public, dials, tmp_path / "variant")
    misses = vary.near_misses(public, dials)
    with Worker() as worker:
        right, _ = worker.judge(job(variant, variant.file("solution.py").read_bytes(), "s", tuple(dials)))
        assert right.earned == right.points
        for name, source in misses.items():
            verdict, _ = worker.judge(job(variant, source.encode(), "s", tuple(dials)))
            named = {t.mistake for t in verdict.tasks if t.status == "wrong"}
            assert verdict.earned < verdict.points
            if vary.TOGETHER not in name:
                assert named == {f"4.1/{name}"}
            else:
                assert any(n for n in named)
