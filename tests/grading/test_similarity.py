"""Hints to look: what a disguise leaves, what chance explains, and how much is compared."""

from __future__ import annotations

import itertools
import math
import random
import textwrap
from pathlib import Path

import pytest
from scipy.stats import chi2

from labkit import catalog
from labkit.catalog import Lab
from labkit.grading import disguise, rarity, similarity, similarity_measure
from labkit.grading.records import Class, Student, TaskVerdict, Turned, Verdict
from labkit.grading.tokens import BIGGEST, Reader

ROOT = Path(__file__).resolve().parents[2]

TOML = """
id = "9.9"
title = "A lab for tests"
why = "w"
difficulty = 1
minutes = 1
concepts = []
needs = []
extras = []
[[task]]
name = "mix"
points = 1
hints = ["a", "b", "c"]
[[task]]
name = "Box"
writes = ["Box.put"]
points = 1
hints = ["a", "b", "c"]
"""

SOLUTION = '''"""A lab."""
import math


def mix(x, y):
    """Mixes."""
    n = len(x)
    # TODO: mix
    ### BEGIN SOLUTION
    return sum(a * b for a, b in zip(x, y))
    ### END SOLUTION


class Box:
    def put(self, x):
        """Puts."""
        # TODO: put
        ### BEGIN SOLUTION
        self.x = x
        ### END SOLUTION


def given():
    return [k * k for k in range(100) if k % 3 > 1]
'''

MINE = """
def mix(x, y):
    n = len(x)
    total = 0.0
    for k in range(n):
        if x[k] > 3:
            total += math.exp(x[k]) * y[k]
        else:
            total -= y[k]
    return total / n
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab-01-mix")
    (folder / "lab.toml").write_text(TOML)
    (folder / "solution.py").write_text(SOLUTION)
    return catalog.read(folder)


@pytest.fixture(scope="module")
def attention() -> Lab:
    return catalog.find(ROOT, "4.1")


def read(lab: Lab, text: str) -> dict[str, frozenset[int]]:
    return Reader(lab).read(textwrap.dedent(text).encode())


# ---- tokens


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("total", "banana"),
        ("total += math.exp(x[k]) * y[k]", "total = total + math.exp(x[k]) * y[k]  # a comment"),
        ("math.exp(x[k])", "m.exp(\n                x[k]\n            )"),
        ("x[k] > 3", "4000 < x[k]"),
        ("total = 0.0", "total: float = 7.5"),
        ("def mix(x, y):", "def mix(x: list[float], y: 'Y') -> float:\n    '''Mine.'''\n    pass"),
        ("    n = len(x)\n", "    n = len(x)\n    import os\n"),
    ],
    ids=["renamed", "spelt out", "import alias", "turned round", "type hint", "docstring", "import"],
)
def test_a_disguise_leaves_the_shingles_alone(lab: Lab, old: str, new: str) -> None:
    head = "import math\nimport math as m\n"
    assert read(lab, head + MINE)["mix"] == read(lab, head + MINE.replace(old, new))["mix"]
    assert MINE.replace(old, new) != MINE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("total -= y[k]", "total *= y[k]"),
        ("math.exp", "math.log"),
        ("* y[k]", "* x[k]"),
        ("for k in range(n)", "while n"),
    ],
)
def test_another_program_has_other_shingles(lab: Lab, old: str, new: str) -> None:
    head = "import math\n"
    assert read(lab, head + MINE)["mix"] != read(lab, head + MINE.replace(old, new))["mix"]


def test_the_scaffold_and_what_it_gives_count_for_nothing(lab: Lab) -> None:
    reader = Reader(lab)
    assert reader.read(reader.given.encode()) == {"mix": frozenset(), "Box": frozenset()}
    assert reader.passages == ["def given():\n    return [k * k for k in range(100) if k % 3 > 1]\n"]
    with_n, without = read(lab, MINE), read(lab, MINE.replace("    n = len(x)\n", ""))
    assert with_n["mix"] == without["mix"]


def test_helpers_of_ones_own_belong_to_the_task_that_uses_them(lab: Lab) -> None:
    helper = "def helper(q):\n    return [a ** 2 - 1 for a in q if a]\n"
    method = (
        "class Box:\n    def put(self, x):\n        self.tidy(x)\n    def tidy(self, x):\n        return x @ x.T + 1\n"
    )
    found = read(lab, helper + method + "def mix(x, y):\n    return helper(x)\n")
    alone = read(lab, method.split("    def tidy")[0] + "def mix(x, y):\n    return helper(x)\n")
    assert alone["mix"] < found["mix"]
    assert alone["Box"] < found["Box"]


@pytest.mark.parametrize(
    "data",
    [b"def mix(:", b"\xff\xfe", b"x = 1\0", b"", b"#" * (BIGGEST + 1), b"x = " + b"(" * 5000, b"x = " + b"-" * 90_000 + b"1",
     b"x = a" + b".b" * 60_000, "x = '\ud800'".encode("utf-8", "surrogatepass"), b"# coding: rot13\nx = 1"],
    ids=["syntax", "utf-16", "nul", "empty", "large", "brackets", "minus", "dots", "surrogate", "coding"],
)  # fmt: skip
def test_what_cannot_be_read_says_nothing(lab: Lab, data: bytes) -> None:
    assert not any(Reader(lab).read(data).values())


def test_every_kind_of_statement_is_read(lab: Lab) -> None:
    text = """
    async def mix(x, *y, z=3, **w):
        global g
        lone: int
        a, b = 1, x
        a, *c = d = x
        with open(x) as f, f:
            assert f, "no"
        try:
            del a
        except (KeyError, ValueError) as e:
            raise e from None
        finally:
            b = {k: v for k, v in w.items() if v}
        match x:
            case [1, *_]:
                return lambda q: q[1:2, ..., None]
        async for i in x:
            yield f"{i!r:>3}"
        while (n := next(x)) and not n <= 3:
            print({*y, 1}, [*y], x if a else b, -a, *y, **w, end="")
    """
    assert len(read(lab, text)["mix"]) > 40


@pytest.mark.parametrize("name", sorted(disguise.DISGUISES))
def test_a_copy_in_disguise_is_seen(attention: Lab, name: str) -> None:
    texts = similarity_measure.classroom(attention)
    copied = disguise.DISGUISES[name](texts[0], random.Random(0))
    assert copied != texts[0]
    compile(copied, name, "exec")
    found = similarity.hints(similarity_measure.klass(attention, [*texts, copied]), {}, [attention])
    assert [(h.students, h.kind) for h in found] == [(("s0", f"s{len(texts)}"), "text")]
    assert found[0].chance <= similarity.LEVEL
    assert found[0].likeness > 0.7
    assert found[0].says.startswith("Look at these 2 side by side: ")


def test_right_answers_written_independently_give_no_hint(attention: Lab) -> None:
    texts = similarity_measure.classroom(attention)
    assert len(texts) > 3
    assert similarity.hints(similarity_measure.klass(attention, texts), {}, [attention]) == []


def test_the_public_solution_is_no_evidence_but_is_reported(attention: Lab) -> None:
    solution = attention.file("solution.py").read_text()
    own = similarity_measure.classroom(attention)[0]
    klass = similarity_measure.klass(attention, [solution, disguise.renamed(solution, random.Random(1)), own, ""])
    assert similarity.hints(klass, {}, [attention]) == []
    shares = similarity.solution_share(klass, [attention])
    assert shares["s0", "4.1"] == shares["s1", "4.1"] == 1.0
    assert shares["s2", "4.1"] < 0.5
    assert ("s3", "4.1") not in shares  # nothing was written


def test_what_many_share_has_a_common_source(attention: Lab) -> None:
    own = similarity_measure.classroom(attention)[0]
    some = similarity.hints(similarity_measure.klass(attention, [own] * 2 + [""] * 10), {}, [attention])
    everybody = similarity.hints(similarity_measure.klass(attention, [own] * (similarity.many(0) + 1)), {}, [attention])
    assert [h.students for h in some] == [("s0", "s1")]
    assert everybody == []


@pytest.mark.parametrize("texts", [[], ["x"]])
def test_a_class_of_none_or_one(attention: Lab, texts: list[str]) -> None:
    assert similarity.hints(similarity_measure.klass(attention, texts), {}, [attention]) == []


# ---- mistakes


def failing(ways: dict[str, list[str]], status: str = "wrong") -> tuple[Class, dict[tuple[str, str], Verdict]]:
    """Student → how they failed each task of 4.1; "" for a task that passed."""
    tasks = [t.name for t in catalog.find(ROOT, "4.1").tasks]
    verdicts = {}
    for name, row in ways.items():
        rows = [TaskVerdict(t, 1, 0, status if w else "passed", behaviour=w) for t, w in zip(tasks, row, strict=False)]
        verdicts[name, "4.1"] = Verdict("4.1", "", "", rows)
    return Class([Student(n) for n in ways], [Turned(n, "4.1", b"", None, n) for n in ways]), verdicts


def crowd(n: int, tasks: int = 6) -> dict[str, list[str]]:
    """Everybody fails everything, each in a way of their own."""
    return {f"s{k:03}": [f"{k}/{t}" for t in range(tasks)] for k in range(n)}


def test_the_same_unusual_failures_are_a_hint(attention: Lab) -> None:
    ways = crowd(100)
    ways["s007"] = ways["s042"]
    (hint,) = similarity.hints(*failing(ways), [attention])
    assert hint.students == ("s007", "s042")
    assert hint.kind == "mistakes"
    assert hint.tasks == [t.name for t in attention.tasks]
    assert hint.likeness == 0.0


def test_one_shared_failure_is_bound_to_happen(attention: Lab) -> None:
    ways = crowd(100)
    ways["s007"][0] = ways["s042"][0]
    assert similarity.hints(*failing(ways), [attention]) == []


def test_a_small_class_says_less(attention: Lab) -> None:
    ways = crowd(40)
    ways["s007"] = ways["s032"]
    assert similarity.hints(*failing(ways), [attention]) == []


def test_common_mistakes_are_no_hint(attention: Lab) -> None:
    assert (
        similarity.hints(*failing({f"s{k}": [f"way {(k + t) % 3}" for t in range(6)] for k in range(30)}), [attention])
        == []
    )


def test_who_all_fail_alike_in_a_small_class_share_the_teaching(attention: Lab) -> None:
    assert similarity.hints(*failing({"a": ["x"] * 6, "b": ["x"] * 6}), [attention]) == []


@pytest.mark.parametrize("status", ["not-started", "waiting", "begun", "not-run", "passed", "forbidden"])
def test_what_is_not_a_failure_of_ones_own_does_not_count(attention: Lab, status: str) -> None:
    ways = crowd(100)
    ways["s007"] = ways["s042"]
    assert similarity.hints(*failing(ways, status), [attention]) == []


def test_groups_are_joined(attention: Lab) -> None:
    own = similarity_measure.classroom(attention)[0]
    (hint,) = similarity.hints(similarity_measure.klass(attention, [own] * 3 + [""] * 30), {}, [attention])
    assert hint.students == ("s0", "s1", "s2")
    assert hint.kind == "text"


def test_text_and_mistakes_together_are_named_so(attention: Lab) -> None:
    ways = crowd(100)
    ways["s007"] = ways["s042"]
    klass, verdicts = failing(ways)
    own = similarity_measure.classroom(attention)[0].encode()
    files = [Turned(t.student, t.lab, own if t.student in ("s007", "s042") else b"", None, "") for t in klass.turned]
    (hint,) = similarity.hints(Class(klass.students, files), verdicts, [attention])
    assert hint.students == ("s007", "s042")
    assert hint.kind == "both"


# ---- chances


def test_one_task_alone_keeps_its_chance_but_for_the_choice() -> None:
    assert rarity.combined([]) == 1.0
    assert rarity.combined([1.0, 1.0]) == 1.0
    assert rarity.combined([0.01]) == pytest.approx(0.02)


def test_one_task_of_six_is_too_little_from_66_students_on() -> None:
    chance = rarity.combined([rarity.LEAST, *[1.0] * 5])
    assert 2 * math.comb(65, 2) * chance <= similarity.LEVEL < 2 * math.comb(66, 2) * chance


def test_where_a_task_has_few_natural_ways_a_pair_that_takes_the_same_is_common() -> None:
    """Six ways, drawn by ten each: two strangers take the same one as often as one counts among the other pairs."""
    texts = {f"s{k:02}": frozenset(range(100 * (k % 6), 100 * (k % 6) + 20)) for k in range(60)}
    base = rarity.Base(texts)
    others = [pair for pair in itertools.combinations(sorted(texts), 2) if not {"s00", "s06"} & {*pair}]
    want = sum(texts[a] == texts[b] for a, b in others) / len(others)
    assert base.chance(("s00", "s06"), 1.0) == pytest.approx(want)
    assert rarity.Base({"a": texts["s00"], "b": texts["s06"]}).chance(("a", "b"), 1.0) == rarity.LEAST


def test_chances_fall_with_likeness_and_stay_between_the_limits() -> None:
    draw = random.Random(0)
    texts = {f"s{k}": frozenset(draw.sample(range(60), 20)) for k in range(120)}  # more pairs than are sampled
    base = rarity.Base(texts)
    chances = [base.chance(("s0", "s1"), x / 20) for x in range(21)]
    assert chances == sorted(chances, reverse=True)
    assert all(rarity.LEAST <= p <= 1 for p in chances)


def test_combined_is_brown_with_kost_and_mcdermott() -> None:
    p = [1e-3, 2e-4, 5e-3, 1e-2]
    cov = 3.25 * 0.5 + 0.75 * 0.25
    variance = 4 * 4 + 2 * 6 * cov
    scale, df = variance / (2 * 8), 2 * 8**2 / variance
    want = 2 * min(4 * min(p), chi2.sf(-2 * sum(map(math.log, p)) / scale, df))
    assert rarity.combined(p) == pytest.approx(want)


def test_dependent_tasks_do_not_make_hints_of_chance() -> None:
    """Three tasks whose chances move together (correlation 0.5): at 1 in 100, at most 1 in 100 is reached."""
    draw = random.Random(0)
    reached = 0
    for _ in range(4000):
        common = draw.gauss(0, 1)
        p = [math.erfc((common + draw.gauss(0, 1)) / 2) / 2 for _ in range(3)]
        reached += rarity.combined(p) <= 0.01
    assert reached <= 40


def test_a_shared_failure_is_as_rare_as_dealing_the_ways_at_random_makes_it() -> None:
    """Ways 2, 3, 1, 1 among 7: the chance that two given students share one that at most 2, and at most 3, show."""
    ways = ["a", "a", "b", "b", "b", "c", "d"]
    for most in (2, 3):
        hits = total = 0
        for x, y in itertools.permutations(range(7), 2):
            total += 1
            hits += ways[x] == ways[y] and ways.count(ways[x]) <= most
        klass, verdicts = failing({f"s{k}": [w] for k, w in enumerate(ways)})
        lab = catalog.find(ROOT, "4.1")
        found = similarity._mistakes(lab, {s: v for (s, _), v in verdicts.items()}, 10, similarity.Work())
        pair = ("s0", "s1") if most == 2 else ("s2", "s3")
        assert found[pair]["attention_loops"][0] == pytest.approx(hits / total)
        assert len(klass.students) == 7


# ---- cost


def counted(lab: Lab, n: int) -> int:
    """Comparisons in a class of n, two of each who share a text with words that nobody else uses."""
    texts = []
    for k in range(n):
        lines = [f"    x.word{k // 2}_{t} = y.word{k // 2}_{t} + 1" for t in range(12)]
        texts.append("\n".join(["def mix(x, y):", *lines]))
    work = similarity.Work()
    similarity.hints(similarity_measure.klass(lab, texts), {}, [lab], work)
    return work.pairs


def test_comparisons_grow_with_what_is_shared_and_not_with_the_square_of_the_class(lab: Lab) -> None:
    few = counted(lab, 40)
    assert few > 0
    assert counted(lab, 160) == 4 * few


def test_the_same_class_gives_the_same_hints(attention: Lab) -> None:
    ways = crowd(100)
    ways["s001"] = ways["s002"]
    klass, verdicts = failing(ways)
    backwards = Class(klass.students[::-1], klass.turned[::-1])
    once = similarity.hints(klass, verdicts, [attention])
    assert once == similarity.hints(backwards, dict(reversed(verdicts.items())), [attention])
    assert once


def test_the_measurement_prints_its_rates(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(similarity_measure, "CROWDS", (40,))
    assert similarity_measure.main(["--labs", "4.1"]) == 0
    said = capsys.readouterr().out
    assert "false hints: 0 of 10 pairs" in said  # of five students
    assert "classes of 40 that draw from these versions: 0 pairs hinted of 780" in said
    assert "everything 1 of 1" in said
    with pytest.raises(catalog.LabError, match=r"no lab 4\.77"):
        similarity_measure.main(["--labs", "4.77"])
