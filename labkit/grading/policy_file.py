"""Reads a policy: TOML in, a `Policy` out, or one line that names the file and the key."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from labkit.catalog import Lab, LabError
from labkit.grading.rules import Best, Decision, Excuse, Extension, Late, Policy, Rule, closest, exists, moment, refuse

TOP = ("zone", "points", "credit", "late", "labs", "extension", "excused", "decided", "best")
LATE = ("per_day", "at_most", "until_days", "slip_days", "slip_use")
LAB = ("points", "due", "optional", "column")
EXTENSION = ("student", "students", "section", "sections", "lab", "labs", "due", "days")
EXCUSED = ("student", "students", "lab", "labs")
DECIDED = ("student", "students", "lab", "points", "why")
BEST = ("labs", "count")
DEFAULT = "the default policy"


def read(path: Path | None, labs: list[Lab]) -> Policy:
    """The policy in this file, over these labs.

    Without a file it is practice credit: points as in lab.toml, no deadlines, no penalty, and those labs count that
    somebody handed in.  LabError with one line when something in the file cannot be.
    """
    if path is None:
        return Policy(DEFAULT, {lab.id: Rule(lab, float(lab.points)) for lab in labs})
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise LabError(f"{path}: the policy cannot be read: {e.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise LabError(f"{path.name}: this is not TOML: {e}.") from None
    return _Reader(path.name, labs).policy(data)


class _Reader:
    """Knows the file's name, the labs and the zone while the rest is read."""

    def __init__(self, name: str, labs: list[Lab]) -> None:
        self.name = name
        self.labs = {lab.id: lab for lab in labs}
        self.zone: ZoneInfo | None = None

    def policy(self, data: dict[str, Any]) -> Policy:
        self._known("the top of the file", data, TOP)
        self.zone = self._zone(data)
        points = self._number("points", data, above=0)
        listed = self._table("labs", data.get("labs", {}))
        rules = {i: self._rule(i, listed[i], points) for i in self._labs("labs", list(listed))} or {
            lab.id: self._rule(lab.id, {}, points) for lab in self.labs.values()
        }
        order = list(self.labs)
        late = self._late(self._table("late", data.get("late", {})))
        policy = Policy(
            name=self.name,
            rules=dict(sorted(rules.items(), key=lambda r: order.index(r[0]))),
            listed=bool(listed),
            zone=self.zone,
            credit=self._number("credit", data, above=0, most=1),
            late=late,
            extensions=tuple(self._extension(k, t) for k, t in self._rows("extension", data)),
            excuses=tuple(self._excuse(k, t) for k, t in self._rows("excused", data)),
            decisions=tuple(self._decision(k, t, rules) for k, t in self._rows("decided", data)),
            best=tuple(self._best(k, t, rules) for k, t in self._rows("best", data)),
        )
        if twice := [i for i in rules if sum(i in b.labs for b in policy.best) > 1]:
            raise self._error("best", f"lab {twice[0]} stands in two groups.")
        return policy

    def _rule(self, lab: str, table: Any, points: float | None) -> Rule:
        key = f'labs."{lab}"'
        table = self._known(key, table, LAB)
        own = self._number(f"{key}.points", table, above=0)
        due, clock = self._due(f"{key}.due", table["due"]) if "due" in table else (None, None)
        whole = self.labs[lab]
        worth = own if own is not None else points if points is not None else float(whole.points)
        optional, column = table.get("optional", False), table.get("column", "")
        if not isinstance(optional, bool):
            raise self._error(f"{key}.optional", "give true or false.")
        if not isinstance(column, str):
            raise self._error(f"{key}.column", "give the header in quotes.")
        return Rule(whole, worth, due, clock, optional, column)

    def _late(self, table: dict[str, Any]) -> Late:
        self._known("late", table, LATE)
        use = table.get("slip_use", "order")
        if use not in ("order", "best"):
            raise self._error("late.slip_use", 'give "order" (of the deadlines) or "best" (for the student).')
        per_day = self._number("late.per_day", table, above=0, most=1)
        at_most = self._number("late.at_most", table, above=0, most=1)
        return Late(
            per_day=per_day or 0.0,
            at_most=1.0 if at_most is None else at_most,
            until_days=self._count("late.until_days", table, None),
            slip_days=self._count("late.slip_days", table, 0) or 0,
            slip_use=use,
        )

    def _extension(self, key: str, table: dict[str, Any]) -> Extension:
        self._known(key, table, EXTENSION)
        students, sections = self._words(key, table, "student"), self._words(key, table, "section")
        labs = self._labs(key, self._words(key, table, "lab"))
        if not students and not sections:
            raise self._error(key, 'say for whom: student = "…" or section = "…".')
        if ("due" in table) == ("days" in table):
            raise self._error(key, "give either due or days.")
        if "due" in table:
            if len(labs) != 1:
                raise self._error(key, 'a due needs the lab that it is for: lab = "…".')
            return Extension(key, students, sections, labs, due=self._due(f"{key}.due", table["due"])[0])
        return Extension(key, students, sections, labs, days=self._count(f"{key}.days", table, 0) or 0)

    def _excuse(self, key: str, table: dict[str, Any]) -> Excuse:
        self._known(key, table, EXCUSED)
        students = self._words(key, table, "student")
        if not students:
            raise self._error(key, 'say whom: student = "…".')
        return Excuse(key, students, self._labs(key, self._words(key, table, "lab")))

    def _decision(self, key: str, table: dict[str, Any], rules: dict[str, Rule]) -> Decision:
        self._known(key, table, DECIDED)
        students, why = self._words(key, table, "student"), table.get("why", "")
        if not students:
            raise self._error(key, 'say whose mark it is: student = "…".')
        if not isinstance(why, str) or not why.strip():
            raise self._error(key, 'say why, in words that the student may read: why = "…".')
        labs = self._labs(key, self._words(key, table, "lab"))
        if not labs:
            raise self._error(key, 'say for which lab: lab = "…".')
        if labs[0] not in rules:
            raise self._error(key, f"lab {labs[0]} does not stand under [labs], so it does not count at all.")
        most, points = rules[labs[0]].points, table.get("points")
        if not isinstance(points, (int, float)) or isinstance(points, bool) or not 0 <= points <= most:
            raise self._error(f"{key}.points", f"give a number from 0 to {most:g}, which is what the lab counts.")
        return Decision(key, students, labs[0], float(points), why.strip())

    def _best(self, key: str, table: dict[str, Any], rules: dict[str, Rule]) -> Best:
        self._known(key, table, BEST)
        labs = self._labs(key, self._words(key, table, "lab"))
        count = self._count(f"{key}.count", table, 0) or 0
        if missing := [i for i in labs if i not in rules]:
            raise self._error(key, f"lab {missing[0]} does not stand under [labs], so it does not count at all.")
        if not 0 < count < len(labs):
            raise self._error(key, f"count is from 1 to {max(1, len(labs) - 1)}: it chooses among {len(labs)} labs.")
        if len({rules[i].points for i in labs}) > 1:
            raise self._error(key, "its labs have different points. Give them the same, and the best are comparable.")
        return Best(labs, count)

    def _due(self, key: str, value: Any) -> tuple[datetime, datetime | None]:
        """The moment in UTC, and what the policy's clocks show then, unless the date has an offset of its own."""
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC), None
        if isinstance(value, (str, date, time)) and not isinstance(value, datetime):
            raise self._error(key, "give date and time without quotes: 2027-02-01T23:59:59.")
        if not isinstance(value, datetime):
            raise self._error(key, "give a date and a time: 2027-02-01T23:59:59.")
        if self.zone is None:
            raise self._error(
                key, 'this time has no zone. Put zone = "Europe/Berlin", or yours, at the top of the file.'
            )
        if not exists(value, self.zone):
            raise self._error(key, f"{value} does not exist in {self.zone}: the clocks skip it. Choose another time.")
        return moment(value, self.zone), value

    def _zone(self, data: dict[str, Any]) -> ZoneInfo | None:
        if "zone" not in data:
            return None
        name, known = data["zone"], available_timezones()
        if not known:
            raise self._error("zone", "this system knows no time zones. `pip install tzdata` brings them.")
        if not isinstance(name, str) or name not in known:
            near = closest(str(name), sorted(known))
            raise self._error("zone", f"there is no time zone {name!r}.{near} Zones look like Europe/Berlin.")
        return ZoneInfo(name)

    def _labs(self, key: str, ids: Collection[str]) -> tuple[str, ...]:
        for i in ids:
            if i not in self.labs:
                quotes = ' The id stands in quotes: [labs."4.1"].' if i.isdigit() else ""
                near = closest(i, list(self.labs))
                raise self._error(key, f"there is no lab {i}.{near}{quotes} `lab list` shows all.")
        return tuple(ids)

    def _words(self, key: str, table: dict[str, Any], one: str) -> tuple[str, ...]:
        """`student = "ada"` or `students = ["ada", "bo"]`."""
        if one in table and f"{one}s" in table:
            raise self._error(key, f"give {one} or {one}s, not both.")
        found = [table[one]] if one in table else table.get(f"{one}s", [])
        if not isinstance(found, list) or not all(isinstance(w, str) for w in found):
            raise self._error(key, f'{one}s are words in quotes: {one} = "…" or {one}s = ["…", "…"].')
        return tuple(dict.fromkeys(found))

    def _number(self, key: str, table: dict[str, Any], above: float, most: float | None = None) -> float | None:
        value = table.get(key.rsplit(".", 1)[-1])
        if value is None:
            return None
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and above < value < float("inf")
        if not right or (most is not None and value > most):
            raise self._error(key, f"give a number above {above:g}" + (f", at most {most:g}." if most else "."))
        return float(value)

    def _count(self, key: str, table: dict[str, Any], default: int | None) -> int | None:
        value = table.get(key.rsplit(".", 1)[-1], default)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 366):
            raise self._error(key, "give a whole number from 0 to 366.")
        return value

    def _rows(self, key: str, data: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        rows = data.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
            raise self._error(key, f"write [[{key}]], with two brackets, once for each.")
        return [(f"{key} {n}", row) for n, row in enumerate(rows, 1)]

    def _table(self, key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(key, f"this is a table: write [{key}] on a line of its own.")
        return value

    def _known(self, key: str, table: Any, words: tuple[str, ...]) -> dict[str, Any]:
        table = self._table(key, table)
        for word in table:
            if word not in words:
                raise self._error(
                    key, f"unknown key {word!r}.{closest(word, list(words))} It knows {', '.join(words)}."
                )
        return table

    def _error(self, key: str, says: str) -> LabError:
        return refuse(self.name, key, says)
