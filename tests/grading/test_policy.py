"""Verdicts and a policy make marks: deadlines, slip days, penalties, excuses; and a later file never earns more."""

import itertools
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.catalog import Lab, LabError, Task
from labkit.grading import lateness, policy, rules, words
from labkit.grading.records import Class, Refusal, Student, TaskVerdict, Turned, Verdict

DAY = 86_400


def lab(i: str, points: int = 10) -> Lab:
    tasks = (Task("t", points, ("a", "b", "c"), ("t",), (), ()),)
    return Lab(i, f"Title {i}", "", 1, 1, (), (), (), tasks, Path(f"/nowhere/phase-0{i[0]}-x/lab-0{i[2]}-y"))


LABS = [lab("1.1"), lab("1.2"), lab("1.3", 4)]
ADA = Student("ada", "Ada", section="A", columns={"id": "ada"})
BO = Student("bo", "Bo", section="B", columns={"id": "bo"})


def verdict(i: str, earned: int = 10, points: int = 10) -> Verdict:
    return Verdict(i, f"Title {i}", "f", [TaskVerdict("t", points, earned, "passed" if earned else "wrong")])


def read(tmp_path, text, labs=LABS):
    path = tmp_path / "course.toml"
    path.write_text(text, encoding="utf-8")
    return policy.read(path, labs)


def handed(when, student="ada", i="1.1"):
    return Turned(student, i, b"", when, f"{student}/{i}")


def one(p, when, earned=10, **changes):
    """Ada's mark in 1.1."""
    found = policy.marks(p, Class([ADA], [handed(when)]), {("ada", "1.1"): verdict("1.1", earned)})
    return next(m for m in found if m.lab == "1.1")


DUE = datetime(2027, 2, 1, 12, tzinfo=UTC)
DEADLINE = 'zone = "UTC"\n[labs."1.1"]\ndue = 2027-02-01T12:00:00\n'


def test_without_a_file_it_is_practice_credit():
    klass = Class([ADA, BO], [handed(None), handed(None, i="1.3")])
    found = policy.marks(
        policy.read(None, LABS), klass, {("ada", "1.1"): verdict("1.1", 7), ("ada", "1.3"): verdict("1.3", 4, 4)}
    )
    assert [(m.student, m.lab, m.points, m.earned, m.awarded, m.status, m.note) for m in found] == [
        ("ada", "1.1", 10, 7, 7, "graded", ""),
        ("ada", "1.3", 4, 4, 4, "graded", ""),
        ("bo", "1.1", 0, 0, 0, "open", "Nothing was handed in."),
        ("bo", "1.3", 0, 0, 0, "open", "Nothing was handed in."),
    ]  # nobody handed in 1.2, so it does not count


def test_nobody_and_nothing():
    assert policy.marks(policy.read(None, LABS), Class([], []), {}) == []
    assert policy.marks(policy.read(None, LABS), Class([ADA], []), {}) == []


def test_a_listed_lab_of_which_nothing_came_in_is_open_whatever_the_deadline(tmp_path):
    text = 'zone = "UTC"\n[labs."1.2"]\ndue = 2020-02-01T12:00:00\n'
    found = policy.marks(read(tmp_path, text), Class([ADA], [handed(None)]), {("ada", "1.1"): verdict("1.1")})
    assert [(m.lab, m.status, m.points) for m in found] == [("1.2", "open", 0)]
    assert found[0].note == "Nothing was handed in. Nobody's file for this lab came in."


@pytest.mark.parametrize(
    ("now", "extension", "status", "points"),
    [
        (DUE - timedelta(seconds=1), "", "open", 0),
        (DUE, "", "open", 0),
        (DUE + timedelta(seconds=1), "", "missing", 10),
        (DUE + timedelta(days=2), '[[extension]]\nstudent = "bo"\ndays = 3\n', "open", 0),
        (DUE + timedelta(days=4), '[[extension]]\nstudent = "bo"\ndays = 3\n', "missing", 10),
    ],
)
def test_who_hands_in_nothing_loses_the_points_when_the_own_deadline_has_passed(
    tmp_path, now, extension, status, points
):
    klass = Class([ADA, BO], [handed(DUE - timedelta(days=1))])
    found = policy.marks(read(tmp_path, DEADLINE + extension), klass, {("ada", "1.1"): verdict("1.1")}, now)
    assert [(m.student, m.status, m.points, m.awarded) for m in found] == [
        ("ada", "graded", 10, 10),
        ("bo", status, points, 0),
    ]


def test_a_policy_is_restricted_to_some_labs(tmp_path):
    p = read(tmp_path, '[labs."1.1"]\n[labs."1.3"]\n')
    assert list(policy.restricted(p, {"1.3", "1.2"}).rules) == ["1.3"]
    assert list(p.rules) == ["1.1", "1.3"]


def test_an_optional_lab_counts_for_those_who_hand_it_in(tmp_path):
    p = read(tmp_path, '[labs."1.1"]\noptional = true\n')
    found = policy.marks(p, Class([ADA, BO], [handed(None)]), {("ada", "1.1"): verdict("1.1", 3)})
    assert [(m.student, m.awarded) for m in found] == [("ada", 3)]


def test_points_scale(tmp_path):
    p = read(tmp_path, 'points = 100\n[labs."1.1"]\n[labs."1.3"]\npoints = 2\n')
    klass = Class([ADA], [handed(None), handed(None, i="1.3")])
    found = policy.marks(p, klass, {("ada", "1.1"): verdict("1.1", 7), ("ada", "1.3"): verdict("1.3", 3, 4)})
    assert [(m.points, m.earned) for m in found] == [(100, 70), (2, 1.5)]


@pytest.mark.parametrize(("earned", "awarded"), [(10, 10), (8, 10), (7, 0), (0, 0)])
def test_practice_credit_is_all_or_nothing(tmp_path, earned, awarded):
    assert one(read(tmp_path, "credit = 0.8"), None, earned).awarded == awarded


def test_a_lab_without_points_divides_nothing_by_nothing():
    klass = Class([ADA], [handed(None)])
    (mark,) = policy.marks(policy.read(None, [lab("1.1", 0)]), klass, {("ada", "1.1"): verdict("1.1", 0, 0)})
    assert (mark.points, mark.awarded) == (0, 0)


@pytest.mark.parametrize(
    ("seconds", "days"), [(0, 0), (-5, 0), (0.001, 1), (1, 1), (DAY, 1), (DAY + 1, 2), (7 * DAY, 7), (7 * DAY + 1, 8)]
)
def test_a_day_is_a_started_24_hours(seconds, days):
    assert lateness.days(seconds) == days


@pytest.mark.parametrize(
    ("hours", "awarded"),
    [(-1, 10), (0, 10), (1, 9), (24, 9), (25, 8), (24 * 5, 5), (24 * 6, 5), (24 * 7, 5), (24 * 7 + 1, 0)],
)
def test_penalty_cap_and_cut_off(tmp_path, hours, awarded):
    p = read(tmp_path, DEADLINE + "[late]\nper_day = 0.1\nat_most = 0.5\nuntil_days = 7\n")
    mark = one(p, DUE + timedelta(hours=hours))
    assert mark.awarded == pytest.approx(awarded)
    assert mark.earned == 10
    assert mark.late == max(0, hours * 3600)
    assert bool(mark.note) == (hours > 0)


def test_a_penalty_never_goes_below_nothing(tmp_path):
    mark = one(read(tmp_path, DEADLINE + "[late]\nper_day = 0.4\n"), DUE + timedelta(days=300))
    assert (mark.awarded, mark.penalty) == (0, 1)


def test_an_unknown_time_is_not_penalised_and_said(tmp_path):
    mark = one(read(tmp_path, DEADLINE + "[late]\nper_day = 1.0\n"), None)
    assert (mark.awarded, mark.late) == (10, 0)
    assert "does not say when" in mark.note
    assert one(policy.read(None, LABS), None).note == ""  # where there is no deadline, there is nothing to say


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(LabError, match="has no zone"):
        one(policy.read(None, LABS), datetime(2027, 1, 1))


def test_times_in_other_zones_are_the_same_moments(tmp_path):
    p = read(tmp_path, DEADLINE + "[late]\nper_day = 0.1\n")
    assert one(p, datetime(2027, 2, 1, 21, 0, 0, tzinfo=timezone(timedelta(hours=9)))).late == 0
    assert one(p, datetime(2027, 2, 1, 21, 0, 1, tzinfo=timezone(timedelta(hours=9)))).late == 1


# In Berlin the clocks go from 2:00 to 3:00 on 2027-03-28 (01:00 UTC) and from 3:00 to 2:00 on 2027-10-31 (01:00 UTC).


def test_a_night_in_which_the_clocks_change_has_23_hours(tmp_path):
    p = read(tmp_path, 'zone = "Europe/Berlin"\n[labs."1.1"]\ndue = 2027-03-27T12:00:00\n')
    assert one(p, datetime(2027, 3, 28, 10, tzinfo=UTC)).late == 23 * 3600  # 12:00 on the next day's clocks
    in_berlin = datetime(2027, 3, 28, 12, tzinfo=p.zone)
    assert one(p, in_berlin).late == 23 * 3600  # the same zone object, where plain subtraction says 24


def test_a_time_that_comes_twice_is_the_later_one(tmp_path):
    p = read(tmp_path, 'zone = "Europe/Berlin"\n[labs."1.1"]\ndue = 2027-10-31T02:30:00\n')
    assert policy.deadline(p, ADA, "1.1") == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)


def test_days_of_an_extension_are_days_of_the_calendar(tmp_path):
    text = 'zone = "Europe/Berlin"\n[labs."1.1"]\ndue = {}\n[[extension]]\nstudent = "ada"\ndays = 1\n'
    p = read(tmp_path, text.format("2027-03-27T12:00:00"))
    assert policy.deadline(p, ADA, "1.1") == datetime(2027, 3, 28, 10, tzinfo=UTC)  # again at noon, 23 hours later
    p = read(tmp_path, text.format("2027-03-27T02:30:00"))  # the next day has no half past two
    assert policy.deadline(p, ADA, "1.1") == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    p = read(tmp_path, text.format("2027-03-27T12:00:00+01:00"))  # an offset has no such nights
    assert policy.deadline(p, ADA, "1.1") == datetime(2027, 3, 28, 11, tzinfo=UTC)


def test_extensions_of_students_and_sections_and_the_latest_holds(tmp_path):
    p = read(
        tmp_path,
        DEADLINE + '[labs."1.2"]\n[[extension]]\nsection = "B"\nlab = "1.1"\ndue = 2027-02-05T12:00:00\n'
        '[[extension]]\nstudents = ["ada", "bo"]\ndays = 2\n',
    )
    assert policy.deadline(p, ADA, "1.1") == DUE + timedelta(days=2)
    assert policy.deadline(p, BO, "1.1") == DUE + timedelta(days=4)
    assert policy.deadline(p, Student("c", section="A"), "1.1") == DUE
    assert policy.deadline(p, ADA, "1.2") is None  # no deadline, so nothing to extend


def test_an_extension_never_brings_a_deadline_forward(tmp_path):
    p = read(tmp_path, DEADLINE + '[[extension]]\nstudent = "ada"\nlab = "1.1"\ndue = 2027-01-01T00:00:00\n')
    assert policy.deadline(p, ADA, "1.1") == DUE


def test_an_excused_lab_has_no_points_to_sum(tmp_path):
    p = read(
        tmp_path, '[labs."1.1"]\n[labs."1.2"]\n[[excused]]\nstudent = "ada"\nlab = "1.1"\n[[excused]]\nstudent = "bo"\n'
    )
    klass = Class([ADA, BO], [handed(None)])
    found = policy.marks(p, klass, {("ada", "1.1"): verdict("1.1")})
    assert [(m.student, m.lab, m.status, m.points) for m in found] == [
        ("ada", "1.1", "excused", 0),
        ("ada", "1.2", "open", 0),
        ("bo", "1.1", "excused", 0),
        ("bo", "1.2", "excused", 0),
    ]


def test_refused_is_not_missing(tmp_path):
    p = read(tmp_path, '[labs."1.1"]\n[labs."1.2"]\n')
    klass = Class([ADA, BO], [], [Refusal("ada", "ada/lab-01-y/lab.py", "too-large", "It is too large.")])
    found = {(m.student, m.lab): (m.status, m.note) for m in policy.marks(p, klass, {})}
    assert found["ada", "1.1"] == ("refused", words.refused("too-large")), "the student reads it"
    assert found["ada", "1.2"][0] == "open"  # the path names the other lab
    assert found["bo", "1.1"][0] == "open"
    klass.refused = [Refusal("ada", "ada.zip", "bomb", "It is a bomb.")]
    assert {m.status for m in policy.marks(p, klass, {}) if m.student == "ada"} == {"refused"}  # could have held both


@pytest.mark.parametrize(
    ("reason", "note"),
    [
        ("superseded", "Nothing was handed in."),
        ("late", "Nothing was handed in."),
        ("untouched", words.refused("untouched")),
        ("nothing-found", words.refused("nothing-found")),
        ("empty-file", words.refused("empty-file")),
    ],
)
def test_what_is_no_work_or_only_a_note_is_missing(tmp_path, reason, note):
    klass = Class([ADA, BO], [handed(DUE, "bo")], [Refusal("ada", "ada.zip", reason, "says")])
    marks = policy.marks(read(tmp_path, DEADLINE), klass, {("bo", "1.1"): verdict("1.1")}, DUE + timedelta(days=1))
    assert [(m.status, m.note) for m in marks] == [("missing", note), ("graded", "")]


def test_handed_in_without_a_verdict_is_not_missing():
    (mark,) = policy.marks(policy.read(None, LABS), Class([ADA], [handed(None)]), {})
    assert mark.status == "refused"
    assert "--resume" in mark.note


SLIPS = 'zone = "UTC"\n[labs."1.1"]\ndue = 2027-02-01T12:00:00\n[labs."1.2"]\ndue = 2027-02-03T12:00:00\n'
SLIPS += '[labs."1.3"]\ndue = 2027-01-01T12:00:00\npoints = 10\n[late]\nslip_days = 3\nper_day = 0.1\n'
CLOCK = {"1.1": DUE, "1.2": DUE + timedelta(days=2), "1.3": datetime(2027, 1, 1, 12, tzinfo=UTC)}


def with_slips(p, late, earned=(10, 10, 10)):
    """The marks of 1.1, 1.2 and 1.3, handed in so many hours late."""
    hand = [handed(CLOCK[i] + timedelta(hours=h), i=i) for i, h in zip(CLOCK, late, strict=True)]
    verdicts = {("ada", i): verdict(i, n) for i, n in zip(CLOCK, earned, strict=True)}
    return {m.lab: m for m in policy.marks(p, Class([ADA], hand), verdicts)}


def test_slip_days_go_in_the_order_of_the_deadlines(tmp_path):
    found = with_slips(read(tmp_path, SLIPS), (48, 30, 1))  # 1.3 is due first, then 1.1, then 1.2
    assert [(found[i].slip_days, found[i].awarded) for i in ("1.3", "1.1", "1.2")] == [(1, 10), (2, 10), (0, 8)]


def test_slip_days_are_not_spent_on_what_earned_nothing_or_came_too_late(tmp_path):
    p = read(tmp_path, SLIPS + "until_days = 7\n")
    found = with_slips(p, (48, 24 * 8, 24), earned=(10, 10, 0))
    assert [(found[i].slip_days, found[i].awarded) for i in ("1.3", "1.1", "1.2")] == [(0, 0), (2, 10), (0, 0)]


def test_the_best_use_of_slip_days_may_pass_over_the_first_deadline(tmp_path):
    late = (24, 24 * 3, 24 * 3)
    order = with_slips(read(tmp_path, SLIPS), late, earned=(10, 10, 2))
    best = with_slips(read(tmp_path, SLIPS + 'slip_use = "best"\n'), late, earned=(10, 10, 2))
    assert [order[i].slip_days for i in ("1.3", "1.1", "1.2")] == [3, 0, 0]
    assert best["1.3"].slip_days == 0
    assert sum(m.awarded for m in best.values()) > sum(m.awarded for m in order.values())


files = st.lists(
    st.builds(lateness.Due, st.integers(0, 10).map(float), st.integers(0, 12).map(lambda n: n * 12 * 3600.0)),
    max_size=4,
)
late_rules = st.builds(
    rules.Late,
    per_day=st.sampled_from([0.0, 0.05, 0.1, 0.3, 1.0]),
    at_most=st.sampled_from([0.2, 0.5, 1.0]),
    until_days=st.none() | st.integers(0, 6),
    slip_days=st.integers(0, 4),
    slip_use=st.sampled_from(["order", "best"]),
)


def awarded(found, late):
    return [
        f.points * (1 - lateness.penalty(f.late, n, late))
        for f, n in zip(found, lateness.share_out(found, late), strict=True)
    ]


@given(files, late_rules)
def test_best_is_what_trying_every_split_finds(found, late):
    late = rules.Late(late.per_day, late.at_most, late.until_days, late.slip_days, "best")
    splits = itertools.product(*[range(late.slip_days + 1) for _ in found])
    every = [
        sum(f.points * (1 - lateness.penalty(f.late, n, late)) for f, n in zip(found, split, strict=True))
        for split in splits
        if sum(split) <= late.slip_days
    ]
    assert sum(awarded(found, late)) == pytest.approx(max(every))


@given(files, late_rules)
def test_slip_days_stay_within_the_budget_and_marks_within_bounds(found, late):
    given_out = lateness.share_out(found, late)
    assert len(given_out) == len(found)
    assert sum(given_out) <= late.slip_days
    assert all(0 <= n <= lateness.days(f.late) for f, n in zip(found, given_out, strict=True))
    assert all(0 <= a <= f.points for f, a in zip(found, awarded(found, late), strict=True))


@given(files.filter(bool), late_rules, st.data())
def test_a_later_file_never_earns_more(found, late, data):
    which = data.draw(st.integers(0, len(found) - 1))
    later = list(found)
    later[which] = lateness.Due(found[which].points, found[which].late + data.draw(st.integers(1, 10 * DAY)))
    before, after = awarded(found, late), awarded(later, late)
    if late.slip_use == "order":
        assert after[which] <= before[which] + 1e-9
    else:
        assert sum(after) <= sum(before) + 1e-9


@given(st.integers(0, 400), st.integers(0, 400), late_rules)
def test_the_penalty_grows_with_lateness_and_shrinks_with_slip_days(hours, more, late):
    early, later = hours * 3600.0, (hours + more) * 3600.0
    assert lateness.penalty(early, 1, late) <= lateness.penalty(later, 1, late) <= 1
    assert 0 <= lateness.penalty(early, 2, late) <= lateness.penalty(early, 1, late)


@given(st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_days_agree_with_exact_arithmetic(late):
    assert lateness.days(late.total_seconds()) == -(-late // timedelta(days=1))


def test_the_best_of_a_group_count(tmp_path):
    p = read(
        tmp_path,
        'points = 10\n[labs."1.1"]\n[labs."1.2"]\n[labs."1.3"]\n[[best]]\nlabs = ["1.1", "1.2", "1.3"]\ncount = 2\n',
    )
    klass = Class([ADA, BO], [handed(None, i=i) for i in CLOCK])
    found = policy.marks(p, klass, {("ada", i): verdict(i, n) for i, n in zip(CLOCK, (3, 9, 5), strict=True)})
    ada = {m.lab: m for m in found if m.student == "ada"}
    assert [(ada[i].status, ada[i].points, ada[i].awarded) for i in CLOCK] == [
        ("excused", 0, 0),
        ("graded", 10, 9),
        ("graded", 10, 5),
    ]
    assert "best 2" in ada["1.1"].note
    assert [m.status for m in found if m.student == "bo"] == ["open", "open", "open"]


DECIDED = '[[decided]]\nstudent = "ada"\nlab = "1.1"\npoints = {}\nwhy = "Appeal of 3 February."\n'


@pytest.mark.parametrize("points", [0, 6.5, 10])
@pytest.mark.parametrize(
    ("turned", "more"),
    [
        ([], ""),  # nothing came in
        ([handed(DUE)], ""),
        ([handed(DUE + timedelta(days=3))], ""),  # late: nothing is taken off
        ([handed(DUE)], '[[excused]]\nstudent = "ada"\n'),
    ],
)
def test_what_a_person_decided_stands(tmp_path, points, turned, more):
    p = read(tmp_path, DEADLINE + "[late]\nper_day = 0.5\nslip_days = 1\n" + DECIDED.format(points) + more)
    verdicts = {("ada", "1.1"): verdict("1.1", 3)} if turned else {}
    [m] = policy.marks(p, Class([ADA], turned), verdicts, now=DUE - timedelta(days=9))
    assert (m.points, m.earned, m.awarded, m.status, m.penalty, m.slip_days) == (10, points, points, "graded", 0, 0)
    assert (m.note, m.decided) == ("Decided by a person: Appeal of 3 February.", True)


def test_a_decision_is_about_one_student_and_one_lab_and_uses_no_slip_days(tmp_path):
    text = 'zone = "UTC"\n' + "".join(f'[labs."{i}"]\ndue = 2027-02-01T12:00:00\n' for i in ("1.1", "1.2"))
    p = read(tmp_path, text + "[late]\nper_day = 0.5\nslip_days = 1\n" + DECIDED.format(4))
    late = DUE + timedelta(hours=20)
    klass = Class([ADA, BO], [handed(late, s, i) for s in ("ada", "bo") for i in ("1.1", "1.2")])
    found = policy.marks(p, klass, {(t.student, t.lab): verdict(t.lab) for t in klass.turned})
    assert [(m.student, m.lab, m.awarded, m.slip_days, m.decided) for m in found] == [
        ("ada", "1.1", 4, 0, True),
        ("ada", "1.2", 10, 1, False),
        ("bo", "1.1", 10, 1, False),
        ("bo", "1.2", 5, 0, False),
    ]


def test_a_decided_lab_counts_without_being_listed_or_handed_in_and_costs_the_others_nothing(tmp_path):
    p = read(tmp_path, DECIDED.format(4))
    found = policy.marks(p, Class([ADA, BO], []), {})
    assert [(m.student, m.lab, m.points, m.awarded, m.status) for m in found] == [
        ("ada", "1.1", 10, 4, "graded"),
        ("bo", "1.1", 0, 0, "open"),
    ]
    assert policy.marks(policy.restricted(p, ["1.2"]), Class([ADA], []), {}) == []


def test_a_decided_mark_is_among_the_best_like_any_other(tmp_path):
    text = '[labs."1.1"]\n[labs."1.2"]\n[[best]]\nlabs = ["1.1", "1.2"]\ncount = 1\n'
    p = read(tmp_path, text + DECIDED.format(4))
    found = policy.marks(p, Class([ADA], [handed(None, i="1.2")]), {("ada", "1.2"): verdict("1.2", 7)})
    assert [(m.lab, m.status, m.awarded) for m in found] == [("1.1", "excused", 0), ("1.2", "graded", 7)]


def test_two_decisions_on_one_mark_are_refused_also_under_two_ids(tmp_path):
    ada = Student("ada", "Ada", columns={"id": "ada"}, also=("s1001",))
    p = read(tmp_path, DECIDED.format(4) + DECIDED.format(5).replace('"ada"', '"s1001"'))
    with pytest.raises(LabError, match=r"^course\.toml: decided 2: there is a decision on ada's lab 1\.1 already"):
        policy.check(policy.for_class(p, Class([ada], [])), Class([ada], []))


def test_an_excused_lab_leaves_its_group(tmp_path):
    text = 'points = 10\n[labs."1.1"]\n[labs."1.2"]\n[[best]]\nlabs = ["1.1", "1.2"]\ncount = 1\n'
    p = read(tmp_path, text + '[[excused]]\nstudent = "ada"\nlab = "1.1"\n')
    found = policy.marks(p, Class([ADA], [handed(None, i="1.2")]), {("ada", "1.2"): verdict("1.2", 1)})
    assert [(m.status, m.awarded) for m in found] == [("excused", 0), ("graded", 1)]


@pytest.mark.parametrize(
    "entry",
    [
        '[[extension]]\ndays = 1\nstudent = "adda"\n',
        '[[excused]]\nstudents = ["bo", "adda"]\n',
        DECIDED.format(1).replace('"ada"', '"adda"'),
    ],
)
def test_a_student_the_roster_does_not_have_is_refused_with_the_nearest(tmp_path, entry):
    p = read(tmp_path, '[labs."1.1"]\n' + entry)
    with pytest.raises(LabError, match=r"^course\.toml: (extension|excused|decided) 1: .* adda .* Did you mean ada\?$"):
        policy.marks(p, Class([ADA, BO], []), {})


def test_a_section_nobody_has_is_refused(tmp_path):
    p = read(tmp_path, '[labs."1.1"]\n[[extension]]\nsection = "Z"\ndays = 1\n')
    with pytest.raises(LabError, match="no section Z"):
        policy.check(p, Class([ADA, BO], []))


def test_without_a_roster_who_has_not_handed_in_is_only_mentioned(tmp_path):
    p = read(tmp_path, '[labs."1.1"]\n[[extension]]\nstudent = "late"\ndays = 1\n')
    klass = Class([Student("ada")], [])
    assert [("no student late" in says) for says in policy.check(p, klass)] == [True]
    assert [m.status for m in policy.marks(p, klass, {})] == ["open"]
    assert policy.check(policy.read(None, LABS), klass) == []


def test_a_thousand_students_and_39_labs_are_one_pass(tmp_path):
    labs = [lab(f"{a}.{b}") for a in range(1, 10) for b in range(1, 5)] + [lab(f"0.{b}") for b in (1, 2, 3)]
    students = [Student(f"s{n}") for n in range(1000)]
    klass = Class(students, [handed(DUE, s.id, w.id) for s in students for w in labs])
    asked = []

    class Counting(dict):
        def get(self, key, default=None):
            asked.append(key)
            return super().get(key, default)

    found = policy.marks(
        policy.read(None, labs), klass, Counting({(s.id, w.id): verdict(w.id) for s in students for w in labs})
    )
    assert len(found) == len(asked) == 39_000


def test_a_policy_takes_any_id_of_the_roster_and_names_who_is_not_there(tmp_path):
    ada = Student("21006", "Ada L", "ada@x.org", "A", columns={"ID": "21006"}, also=("s1006", "al"))
    klass = Class([ada, BO], [])
    for typed in ("21006", "s1006", "al", "ada@x.org", "Ada L"):
        text = f'{DEADLINE}[[extension]]\nstudent = "{typed}"\ndays = 2\n[[excused]]\nstudent = "bo"\n'
        p = policy.for_class(read(tmp_path, text), klass)
        assert [e.students for e in (*p.extensions, *p.excuses)] == [("21006",), ("bo",)]
        assert policy.deadline(p, ada, "1.1") == DUE + timedelta(days=2)
    p = read(tmp_path, '[labs."1.1"]\n[[excused]]\nstudent = "s1009"\n')
    with pytest.raises(
        LabError, match=r"^course\.toml: excused 1: There is no student s1009 in the class\. Nearest: 21006"
    ):
        policy.for_class(p, klass)
    without = Class([Student("ada")], [])
    assert policy.for_class(p, without) is p


def test_a_refusal_that_names_its_lab_concerns_no_other(tmp_path):
    refusal = Refusal("ada", "ada/work.py", "too-large", "says", "1.2")
    klass = Class([ADA, BO], [handed(None, "bo"), handed(None, "bo", "1.2")], [refusal])
    p = read(tmp_path, '[labs."1.1"]\n[labs."1.2"]\n')
    assert {m.lab: m.status for m in policy.marks(p, klass, {}) if m.student == "ada"} == {
        "1.1": "open",
        "1.2": "refused",
    }
