"""What test_lab.py, mistakes.py and equivalents.py are written with.

    @task("attention")
    def test_matches_the_definition(lab, rng):
        q, k, v = qkv(rng)
        check.close(lab.attention(q, k, v), oracle(q, k, v), why="random q, k, v")

A test asks for what it needs by name: `lab` (the handle to the lab), `rng` (a seeded torch.Generator), `random` (a
seeded random.Random).  `check` judges and records; it never raises, so later checks can tell mistakes apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from labkit import values

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Record:
    """One observation: what the lab gave, what was wanted, how the two are compared, and the call that gave it."""

    kind: str  # close | equal | less | between | raises | sampled | raised
    got: Any
    want: Any
    why: str = ""
    rtol: float | None = None
    atol: float | None = None
    call: int | None = None  # index into the journal of calls: the one that came just before
    direct: bool = True  # False when a probe gave the value: it ran beside the lab and could be forged
    ok: bool = field(init=False)

    def __post_init__(self) -> None:
        self.ok = JUDGE[self.kind](self)


class Check:
    """Collects records.  `start` begins a test; `last_call` tells which call a record belongs to."""

    def __init__(self) -> None:
        self.start()

    def start(self, last_call: Callable[[], tuple[int | None, bool]] = lambda: (None, True)) -> list[Record]:
        self.log: list[Record] = []
        self._last_call = last_call
        return self.log

    def record(
        self, kind: str, got: Any, want: Any, why: str, rtol: float | None = None, atol: float | None = None
    ) -> None:
        call, direct = self._last_call()
        self.log.append(Record(kind, values.plain(got), values.plain(want), why, rtol, atol, call, direct))

    def close(self, got: Any, want: Any, why: str = "", rtol: float | None = None, atol: float | None = None) -> None:
        """Numbers within tolerance, everything else equal.  By default it follows the dtype (values.TOLERANCE)."""
        self.record("close", got, want, why, rtol, atol)

    def equal(self, got: Any, want: Any, why: str = "") -> None:
        """The same type and value.  Tuples and lists count as the same."""
        self.record("equal", got, want, why)

    def less(self, got: Any, limit: float, why: str = "") -> None:
        """A number strictly below the limit: steps, bytes, distances."""
        self.record("less", got, limit, why)

    def between(self, got: Any, low: float, high: float, why: str = "") -> None:
        """A number in [low, high]."""
        self.record("between", got, [low, high], why)

    def raises(self, error: type[Exception], function: Callable[..., Any], *args: Any, why: str = "") -> None:
        """Calling `function(*args)` raises `error` or a subclass of it."""
        try:
            got: Any = ["returned", values.plain(function(*args))]
        except Exception as e:
            # A function that is not written, hangs or dies has not refused its argument.
            if getattr(e, "fatal", False) or getattr(e, "outcome", "") in ("unwritten", "forbidden"):
                raise
            got = ["raised", *getattr(e, "types", [t.__name__ for t in type(e).__mro__])]
        self.record("raises", got, error.__name__, why)

    def sampled(self, draws: Sequence[int], probabilities: Sequence[float], why: str = "") -> None:
        """Draws of category numbers follow exact probabilities: nothing outside the support, and a total variation
        distance that chance exceeds less than once in 10⁹ (McDiarmid's inequality)."""
        got = [0] * len(probabilities)
        draws = draws if isinstance(draws, (list, tuple)) else []
        inside = [d for d in draws if type(d) is int and 0 <= d < len(got)]
        for d in inside:
            got[d] += 1
        self.record("sampled", [*got, len(draws) - len(inside)], [float(p) for p in probabilities], why)


check = Check()


def task(name: str) -> Callable[[Function], Function]:
    """Says which task of lab.toml a test belongs to."""
    return _mark(task=name)


def mistake(task: str, says: str, of: str | None = None) -> Callable[[Function], Function]:
    """A wrong version that the spec must catch.  Its own name identifies it; `says` is told to the learner.

    It replaces `of` in solution.py, a function or `Class.method`; without `of`, the function named like the task.
    """
    return _mark(mistake=True, task=task, of=of or task, says=says)


def alike(name: str) -> Callable[[Function], Function]:
    """The same mistake as `name`, written differently: it must be caught, and named as that one."""
    return _mark(alike=name)


def equivalent(task: str, of: str | None = None) -> Callable[[Function], Function]:
    """A correct version written differently, which the spec must accept."""
    return _mark(equivalent=True, task=task, of=of or task)


def _mark(**attributes: Any) -> Callable[[Function], Function]:
    def mark(f: Function) -> Function:
        for name, value in attributes.items():
            setattr(f, name, value)
        return f

    return mark


def alike_records(a: Record, b: Record) -> bool:
    """Same behaviour: values agree within the check's tolerance, relations in verdict, exceptions in type and text."""
    if a.kind != b.kind:
        return False
    match a.kind:
        case "less" | "between":
            return a.ok == b.ok and type(a.got) is type(b.got)
        case "sampled":
            n = min(sum(a.got), sum(b.got))
            return (
                n > 0
                and len(a.got) == len(b.got)
                and _variation(a.got, [x / sum(b.got) for x in b.got]) < 2 * _allowed(n, len(a.got))
            )
        case "close":
            return values.close(a.got, b.got, a.rtol, a.atol)
    return values.equal(a.got, b.got)


def _is_number(x: Any) -> bool:
    return type(x) in (int, float)


def _between(r: Record) -> bool:
    return _is_number(r.got) and r.want[0] <= r.got <= r.want[1]


def _raises(r: Record) -> bool:
    return r.got[0] == "raised" and r.want in r.got[1:]


def _variation(counts: list[int], probabilities: list[float]) -> float:
    n = sum(counts)
    return 0.5 * sum(abs(c / n - p) for c, p in zip(counts, probabilities, strict=True))


def _allowed(n: int, categories: int) -> float:
    """E[TV] ≤ ½√(k/n), and TV moves by at most 1/n a draw, so P(TV > E + t) ≤ exp(-2nt²)."""
    return 0.5 * math.sqrt(categories / n) + math.sqrt(math.log(1e9) / (2 * n))


def _sampled(r: Record) -> bool:
    counts, p = r.got, [*r.want, 0.0]
    n = sum(counts)
    if n == 0 or any(c and q == 0 for c, q in zip(counts, p, strict=True)):
        return False
    return _variation(counts, p) <= _allowed(n, len(p))


JUDGE: dict[str, Callable[[Record], bool]] = {
    "close": lambda r: values.close(r.got, r.want, r.rtol, r.atol),
    "equal": lambda r: values.equal(r.got, r.want),
    "less": lambda r: _is_number(r.got) and r.got < r.want,
    "between": _between,
    "raises": _raises,
    "sampled": _sampled,
    "raised": lambda r: False,
}
