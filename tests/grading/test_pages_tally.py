"""Counts over a class, and the promise that no small group can be computed back."""

import dataclasses
import itertools
import random
import statistics
from collections import Counter

import classroom
import numpy as np
import pytest

from labkit.grading import misconceptions, tally
from labkit.grading.records import Mark, TaskVerdict, Verdict

LABS = classroom.labs("1.1", "1.3", "1.4", "4.1")
STATUSES = ("passed", "wrong", "crashed", "slow", "forbidden", "begun", "not-started", "waiting", "not-run")


def file(*statuses: str, mistakes: tuple[str, ...] = ()) -> Verdict:
    names = [t.name for t in LABS[-1].tasks]
    found = [TaskVerdict(n, 1, 0, s) for n, s in zip(names, statuses, strict=False)]
    for task, mistake in zip(found, mistakes, strict=False):
        task.mistake, task.says = mistake, f"says {mistake}"
    return Verdict("4.1", "x", "f", found)


def test_rates_count_every_status_once() -> None:
    verdicts = {(s, "4.1"): file(s) for s in STATUSES}
    first, *others = [r for r in tally.rates(LABS, verdicts) if r.lab == "4.1"]
    assert first.counts == dict.fromkeys(STATUSES, 1)
    assert (first.tried, first.failed, first.unfinished, first.share) == (5, 4, 3, 0.2)
    assert [r.counts.total() for r in others] == [0] * 5
    assert others[0].share == 0


def test_rates_list_tasks_in_the_courses_order() -> None:
    wanted = [(lab.id, t.name) for lab in LABS for t in lab.tasks]
    assert [(r.lab, r.task) for r in tally.rates(LABS, {})] == wanted


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 50])
def test_five_numbers_are_numpys(n: int) -> None:
    values = [random.Random(n + i).random() for i in range(n)]
    assert tally.five_numbers(values) == pytest.approx(np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))


def test_five_numbers_of_nobody() -> None:
    assert tally.five_numbers([]) is None


@pytest.mark.parametrize(
    ("share", "tenth"), [(0, 0), (-1, 0), (0.099, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.999, 9), (1, 9), (1.2, 9)]
)
def test_each_share_has_its_tenth(share: float, tenth: int) -> None:
    assert tally.bins([share]) == [int(i == tenth) for i in range(10)]


def test_totals_count_missing_as_nothing_and_leave_excused_out() -> None:
    marks = [
        Mark("a", "1.1", 10, 8, 6, "graded"),
        Mark("a", "1.3", 10, 0, 0, "missing"),
        Mark("a", "4.1", 99, 0, 0, "excused"),
        Mark("b", "1.1", 0, 0, 0, "graded"),
        Mark("c", "1.1", 10, 0, 0, "excused"),
    ]
    assert tally.totals(marks) == {"a": 0.3}
    assert tally.shares(marks) == {"1.1": {"a": 0.8}}


def test_below_own_takes_a_hard_lab_into_account() -> None:
    def marks(of: dict[str, list[float]]) -> list[Mark]:
        return [Mark(s, lab, 1, x, x, "graded") for s, row in of.items()
                for lab, x in zip(["1", "2", "3", "4"], row, strict=False)]  # fmt: skip

    rest = {f"s{i}": [1, 1, 1, 0.4] for i in range(5)}
    fell = {"x": [1, 0.2, 1, 0.4]}
    found = tally.below_own(marks(rest | fell))
    assert [(b.student, b.lab, b.share) for b in found] == [("x", "2", 0.2)]
    assert found[0].gap == pytest.approx(0.8)
    assert found[0].usual == 1
    assert tally.below_own(marks(rest | {"x": [1, 0.2, 1]})) == []  # two others are too few to know
    assert tally.below_own([]) == []


def test_below_difficulty_finds_the_task_that_is_out_of_line() -> None:
    every = [tally.Rate("1", f"t{i}", 2, Counter(passed=9, wrong=1)) for i in range(6)]
    odd = tally.Rate("2", "odd", 2, Counter(passed=3, wrong=7))
    assert tally.below_difficulty([*every, odd]) == [(odd, 0.9)]
    assert tally.below_difficulty([*every[:4], odd]) == []
    assert tally.below_difficulty([*every, dataclasses.replace(odd, difficulty=3)]) == []
    assert tally.below_difficulty([*every, tally.Rate("2", "few", 2, Counter(wrong=4))]) == []


def test_timed_out_names_files_and_tasks() -> None:
    verdicts = {("a", "4.1"): file("slow", "passed", "slow"), ("b", "4.1"): file("wrong")}
    assert tally.timed_out(verdicts) == [("a", "4.1", ["attention_loops", "causal_mask"])]


def test_hard_tasks_are_those_with_most_people() -> None:
    few = tally.Rate("1", "few", 1, Counter(wrong=4))
    edge = tally.Rate("1", "edge", 1, Counter(passed=15, wrong=5))
    easy = tally.Rate("1", "easy", 1, Counter(passed=16, wrong=5))
    hard = tally.Rate("1", "hard", 1, Counter(passed=1, crashed=6))
    assert tally.hard_tasks([few, edge, easy, hard]) == [hard, edge]
    assert len(tally.hard_tasks([hard] * 9)) == 5


def test_mistakes_are_ranked_by_students() -> None:
    rows = [("m1", "k1")] * 5 + [("m2", "k1")] * 7 + [("", "k2")] * 6
    verdicts = {(str(i), "4.1"): file("wrong", "slow", mistakes=pair) for i, pair in enumerate(rows)}
    found = misconceptions.ranked(tally.rates(LABS, verdicts), verdicts)
    assert [(m.mistake, m.task, m.students, m.tried) for m in found] == [
        ("k1", "attention", 12, 18),
        ("m2", "attention_loops", 7, 18),
        ("k2", "attention", 6, 18),
        ("m1", "attention_loops", 5, 18),
    ]
    assert found[0].share == pytest.approx(2 / 3)
    assert found[0].says == "says k1"


def test_a_mistake_counts_only_where_the_task_failed_on_what_it_gave() -> None:
    verdicts = {(f"{s}{i}", "4.1"): file(s, mistakes=("m",)) for s in ("passed", "forbidden") for i in range(6)}
    assert misconceptions.ranked(tally.rates(LABS, verdicts), verdicts) == []


def possible(failed: int, shown: list[int], rare: int) -> list[set[int]]:
    """By trying all: which counts each of the rare ones can have, given what the report prints.  An oracle."""
    seen: list[set[int]] = [set() for _ in range(rare)]
    for counts in itertools.product(range(1, 5), repeat=rare):
        if sum(counts) + sum(shown) <= failed:  # the others fit no known mistake
            for i, n in enumerate(counts):
                seen[i].add(n)
    return seen


def test_no_printed_number_gives_a_small_group_away() -> None:
    draw = random.Random(0)
    named = unnamed = 0
    for _ in range(400):
        counts = [draw.choice([1, 1, 2, 3, 4, 5, 6, 9]) for _ in range(draw.randrange(1, 5))]
        fates = [f"m{i}" for i, n in enumerate(counts) for _ in range(n)] + [""] * draw.choice([0, 0, 1, 2, 5])
        verdicts = {(str(i), "4.1"): file(draw.choice(("wrong", "crashed", "slow")), mistakes=(m,))
                    for i, m in enumerate(fates)}  # fmt: skip
        verdicts |= {(f"f{i}", "4.1"): file("forbidden") for i in range(draw.randrange(3))}
        every = tally.rates(LABS, verdicts)
        found = misconceptions.ranked(every, verdicts)
        shown = [m.students for m in found if m.students is not None]
        rare = [m for m in found if m.students is None]
        rate = next(r for r in every if r.task == "attention_loops")
        printed = sum(rate.counts[s] for s in ("wrong", "crashed", "slow"))  # the columns of the table beside it
        assert sorted(shown) == sorted(n for n in counts if n >= 5)
        assert len(rare) in (0, sum(n < 5 for n in counts))
        assert all(m.share is None for m in rare)
        assert possible(printed, shown, len(rare)) == [{1, 2, 3, 4}] * len(rare)
        named, unnamed = named + bool(rare), unnamed + (not rare and min(counts) < 5)
    assert named > 20
    assert unnamed > 20


def test_classes_of_the_generator_are_the_same_twice_and_have_all_kinds() -> None:
    once, again = classroom.make(80, LABS, 4), classroom.make(80, LABS, 4)
    assert once == again
    assert once != classroom.make(80, LABS, 5)
    klass, marks, verdicts = once
    assert len(marks) == 80 * len(LABS)
    assert {m.status for m in marks} == {"graded", "missing", "refused"}
    assert {t.status for v in verdicts.values() for t in v.tasks} == {*STATUSES} - {"not-run"}
    assert {*classroom.HOSTILE_NAMES} <= {s.name for s in klass.students}
    assert 0.4 < statistics.mean(tally.totals(marks).values()) < 0.9
