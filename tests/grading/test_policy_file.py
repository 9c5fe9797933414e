"""A policy that cannot be is refused in one line that names the file, the key and what to write instead."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from labkit import catalog
from labkit.catalog import Lab, LabError, Task
from labkit.grading import policy

ROOT = Path(__file__).resolve().parents[2]
TASKS = (Task("t", 10, ("a", "b", "c"), ("t",), (), ()),)
LABS = [Lab(i, f"Title {i}", "", 1, 1, (), (), (), TASKS, Path("/nowhere")) for i in ("4.1", "4.2", "5.1")]
ZONE = 'zone = "Europe/Berlin"\n'


def read(tmp_path, text):
    path = tmp_path / "course.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return policy.read(path, LABS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("labs = [", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
        ("credits = 0.5", r"the top of the file: unknown key 'credits'\. Did you mean credit\?"),
        ("credit = 2", "credit: give a number above 0, at most 1"),
        ("credit = true", "credit: give a number"),
        ("points = nan", "points: give a number above 0"),
        ("points = inf", "points: give a number above 0"),
        ("points = 0", "points: give a number above 0"),
        ('points = "ten"', "points: give a number above 0"),
        ("labs = 3", r"labs: this is a table: write \[labs\]"),
        ("late = 3", r"late: this is a table"),
        ('[labs."4.11"]', r"labs: there is no lab 4\.11\. Did you mean 4\.1\?"),
        ("[labs.4.1]", r'The id stands in quotes: \[labs\."4\.1"\]'),
        ('[labs."4.1"]\nduee = 1', r"labs\.\"4\.1\": unknown key 'duee'\. Did you mean due\?"),
        ('labs = {"4.1" = 3}', r"this is a table"),
        ('[labs."4.1"]\npoints = -1', r'labs\."4\.1"\.points: give a number'),
        ('[labs."4.1"]\noptional = 1', r"optional: give true or false"),
        ('[labs."4.1"]\ncolumn = 1', r"column: give the header in quotes"),
        ('[labs."4.1"]\ndue = 2027-02-01T23:59:00', "due: this time has no zone"),
        (ZONE + '[labs."4.1"]\ndue = 2027-02-01', "due: give date and time without quotes"),
        (ZONE + '[labs."4.1"]\ndue = 12:00:00', "due: give date and time"),
        (ZONE + '[labs."4.1"]\ndue = "2027-02-01"', "due: give date and time without quotes"),
        (ZONE + '[labs."4.1"]\ndue = 5', "due: give a date and a time"),
        (ZONE + '[labs."4.1"]\ndue = 2027-03-28T02:30:00', "2027-03-28 02:30:00 does not exist in Europe/Berlin"),
        ('zone = "Europe/Berlim"', r"zone: there is no time zone 'Europe/Berlim'\. Did you mean Europe/Berlin\?"),
        ("zone = 1", "there is no time zone 1"),
        ('zone = "../../etc/passwd"', "there is no time zone"),
        ("[late]\nslip_use = 'never'", "late.slip_use: give"),
        ("[late]\nslip_use = ['order']", "late.slip_use: give"),
        ("[late]\nper_day = 1.5", "late.per_day: give a number"),
        ("[late]\nslip_days = 1.5", "late.slip_days: give a whole number"),
        ("[late]\nslip_days = 367", "late.slip_days: give a whole number"),
        ("[late]\nuntil_days = true", "late.until_days: give a whole number"),
        ("[late]\nmax = 1", "late: unknown key 'max'"),
        ("extension = 1", r"extension: write \[\[extension\]\]"),
        ("[extension]\ndays = 1", r"extension: write \[\[extension\]\]"),
        ("[[extension]]\ndays = 1", "extension 1: say for whom"),
        ("[[extension]]\nstudent = 'a'", "extension 1: give either due or days"),
        ("[[extension]]\nstudent = 'a'\ndays = 1\ndue = 2027-02-01T00:00:00Z", "extension 1: give either"),
        ("[[extension]]\nstudent = 'a'\ndue = 2027-02-01T00:00:00Z", "extension 1: a due needs the lab"),
        ("[[extension]]\nstudent = 5\ndays = 1", "students are words in quotes"),
        ("[[extension]]\nstudents = 'a'\ndays = 1", "students are words in quotes"),
        ("[[extension]]\nstudent = 'a'\nstudents = ['b']\ndays = 1", "not both"),
        ("[[extension]]\nstudent = 'a'\nlab = '9.9'\ndays = 1", r"extension 1: there is no lab 9\.9"),
        ("[[extension]]\nstudent = 'a'\ndays = -1", r"extension 1\.days: give a whole number"),
        ("[[excused]]\nlab = '4.1'", "excused 1: say whom"),
        ("[[excused]]\nstudent = 'a'\nlabb = '4.1'", "excused 1: unknown key 'labb'"),
        ("[[decided]]\nlab = '4.1'\npoints = 1\nwhy = 'x'", "decided 1: say whose mark"),
        ("[[decided]]\nstudent = 'a'\npoints = 1\nwhy = 'x'", "decided 1: say for which lab"),
        ("[[decided]]\nstudent = 'a'\nlab = '4.1'\npoints = 1", "decided 1: say why"),
        ("[[decided]]\nstudent = 'a'\nlab = '4.1'\npoints = 1\nwhy = ' '", "decided 1: say why"),
        ("[[decided]]\nstudent = 'a'\nlab = '4.1'\npoints = 1\nwhy = 3", "decided 1: say why"),
        ("[[decided]]\nstudent = 'a'\nlab = '9.9'\npoints = 1\nwhy = 'x'", r"decided 1: there is no lab 9\.9"),
        ("[[decided]]\nstudent = 'a'\nlabs = ['4.1']\npoints = 1\nwhy = 'x'", "decided 1: unknown key 'labs'"),
        ("[labs.'4.2']\n[[decided]]\nstudent = 'a'\nlab = '4.1'\npoints = 1\nwhy = 'x'", r"lab 4\.1 does not stand"),
        ("[labs.'4.1']\npoints = 7\n[[decided]]\nstudent = 'a'\nlab = '4.1'\npoints = 7.5\nwhy = 'x'", "from 0 to 7,"),
        ("[[decided]]\nstudent = 'a'\nlab = '4.1'\npoints = -1\nwhy = 'x'", r"decided 1\.points: give a number from 0"),
        (
            "[[decided]]\nstudent = 'a'\nlab = '4.1'\npoints = nan\nwhy = 'x'",
            r"decided 1\.points: give a number from 0",
        ),
        (
            "[[decided]]\nstudent = 'a'\nlab = '4.1'\npoints = true\nwhy = 'x'",
            r"decided 1\.points: give a number from 0",
        ),
        ("[[decided]]\nstudent = 'a'\nlab = '4.1'\nwhy = 'x'", r"decided 1\.points: give a number from 0"),
        ("[[best]]\nlabs = ['4.1', '4.2']\ncount = 2", "best 1: count is from 1 to 1"),
        ("[[best]]\nlabs = ['4.1', '4.2']", "best 1: count is from 1 to 1"),
        ("[[best]]\nlabs = []\ncount = 1", "best 1: count is from 1"),
        ("[labs.'4.1']\n[[best]]\nlabs = ['4.1', '4.2']\ncount = 1", r"lab 4\.2 does not stand under \[labs\]"),
        ("[labs.'4.1']\npoints=3\n[labs.'4.2']\n[[best]]\nlabs = ['4.1', '4.2']\ncount = 1", "different points"),
        ("[[best]]\nlabs=['4.1','4.2']\ncount=1\n[[best]]\nlabs=['4.1','5.1']\ncount=1", r"lab 4\.1 stands in two"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, text, says):
    with pytest.raises(LabError, match=says) as caught:
        read(tmp_path, text)
    line = str(caught.value)
    assert line.startswith("course.toml: ")
    assert "\n" not in line


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(LabError, match=r"none\.toml: the policy cannot be read: No such file"):
        policy.read(tmp_path / "none.toml", LABS)
    with pytest.raises(LabError, match="the policy cannot be read"):
        policy.read(tmp_path, LABS)


def test_an_empty_file_is_the_default_by_another_name(tmp_path):
    made, default = read(tmp_path, ""), policy.read(None, LABS)
    assert made.rules == default.rules
    assert not made.listed
    assert made.late == default.late


def test_a_byte_order_mark_is_no_part_of_it(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbfpoints = 5").rules["4.1"].points == 5


def test_labs_keep_the_order_of_the_course(tmp_path):
    assert list(read(tmp_path, "[labs.'5.1']\n[labs.'4.1']").rules) == ["4.1", "5.1"]


def test_an_offset_needs_no_zone(tmp_path):
    rule = read(tmp_path, "[labs.'4.1']\ndue = 2027-02-01T23:59:00+01:00").rules["4.1"]
    assert (rule.due, rule.clock) == (datetime(2027, 2, 1, 22, 59, tzinfo=UTC), None)


@pytest.mark.parametrize("path", sorted(ROOT.glob("instructors/policies/grading-*.toml")), ids=lambda p: p.name)
def test_the_examples_can_be_used(path):
    made = policy.read(path, catalog.labs(ROOT))
    assert made.name == path.name
    assert made.rules


def test_there_are_examples():
    assert len(list(ROOT.glob("instructors/policies/grading-*.toml"))) >= 3
