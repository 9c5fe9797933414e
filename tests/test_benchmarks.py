"""The arithmetic of the benchmarks, with a clock that is set by hand, and that the committed pages are what was measured."""

import dataclasses
import doctest
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
report, timing = (importlib.import_module(f"benchmarks.{name}") for name in ("report", "timing"))
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("module", [report, timing], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


class Clock:
    """Stands still but when told to move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def takes(self, *seconds: float) -> Callable[[Any], None]:
        left = iter(seconds)

        def run(_: Any) -> None:
            self.now += next(left)

        return run


def test_each_case_is_timed_once_a_round_and_the_first_round_does_not_count() -> None:
    clock = Clock()
    cases = [timing.Case("a", clock.takes(99, 1, 2, 3)), timing.Case("b", clock.takes(77, 10, 30, 20))]
    assert timing.take_turns(cases, 3, clock) == {"a": [1, 2, 3], "b": [10, 30, 20]}


def test_what_prepares_a_case_is_not_timed_and_is_handed_to_it() -> None:
    clock, got = Clock(), []

    def prepare() -> str:
        clock.now += 50
        return f"made at {clock.now:g}"

    def run(made: str) -> None:
        got.append(made)
        clock.now += 2

    assert timing.take_turns([timing.Case("a", run, prepare)], 2, clock) == {"a": [2, 2]}
    assert got == ["made at 1050", "made at 1102", "made at 1154"]


def test_every_round_begins_with_another_case() -> None:
    order: list[str] = []
    cases = [timing.Case(name, lambda _: None) for name in "abc"]
    timing.take_turns(cases, 3, Clock(), order.append)
    assert "".join(order) == "abcbcacababc"


def test_a_ratio_is_of_medians_and_its_spread_of_single_rounds() -> None:
    ratio = timing.speed_ratio(own=[4.0, 1.0, 5.0], peer=[2.0, 3.0, 20.0])
    assert (ratio.median, ratio.low, ratio.high) == (3 / 4, 1 / 2, 4.0)
    assert timing.speed_ratio(own=[2.0, 4.0], peer=[9.0, 3.0]).median == 2


def test_a_goal_is_missed_below_four_fifths_of_it() -> None:
    verdicts = [timing.verdict(ratio, 0.5) for ratio in (0.51, 0.5, 0.499, 0.4, 0.399)]
    assert verdicts == ["reached", "reached", "short of it", "short of it", "missed"]


def invented() -> dict[str, Any]:
    rows = [{"name": "ours", "seconds": [2.0, 4.0, 3.0]}, {"name": "theirs", "seconds": [1.0, 1.0, 1.5]}]
    tables = [
        {"kind": "read", "title": "Read", "says": "Six megabytes.", "megabytes": 6.0, "rows": rows},
        {"kind": "write", "title": "Write", "says": "Nothing.", "rows": rows[:1]},
    ]
    result = {
        "title": "Reading",
        "command": "python -m benchmarks reading",
        "rounds": 3,
        "date": "2026-01-02",
        "machine": {"cpu": "Abacus", "cores": 10, "system": "Wood", "load": None},
        "versions": {"python": "3.11.0", "them": "1.2"},
        "tables": tables,
        "texts": [{"name": "t", "what": "a text", "documents": 1234, "bytes": 6_000_000, "sha256": "ab" * 32}],
    }
    goals = {"read": [timing.Goal("ours", "theirs", 0.4), timing.Goal("theirs", "ours", 4)], "write": []}
    return result | {"goals": report.judged(result, goals)}


def test_goals_are_judged_by_the_rows_of_their_table() -> None:
    first, second = invented()["goals"]
    assert first == {
        "table": "Read",
        "own": "ours",
        "peer": "theirs",
        "at_least": 0.4,
        "ratio": 0.3333,
        "low": 0.25,
        "high": 0.5,
        "verdict": "short of it",
    }
    assert (second["ratio"], second["verdict"]) == (3, "missed")


def test_a_page_has_the_conditions_the_goals_and_every_row() -> None:
    page = report.markdown(invented())
    assert "`python -m benchmarks reading`, 2026-01-02. Abacus, 10 cores, Wood. python 3.11.0, them 1.2." in page
    assert "| Read | ours | theirs | ≥ 0.4 | 0.333 (0.25 to 0.5) | short of it |" in page
    assert "| ours | 3 (2 to 4) | 2 |" in page
    assert "| theirs | 1 (1 to 1.5) | 6 |" in page
    assert "| t | a text | 1,234 | 6,000,000 | `abababababababab` |" in page
    assert page.count("| ours | 3 (2 to 4) |\n") == 1  # in the table without MB/s


def test_a_page_has_tokens_a_second_and_how_near_that_is_to_the_memorys_speed() -> None:
    result = invented()
    del result["texts"]
    first, second = result["tables"]
    del first["megabytes"]
    first |= {"tokens": 768, "bytes_per_second": 1000}
    first["rows"] = [first["rows"][0] | {"bytes": 750}, first["rows"][1]]
    second["gigabytes"] = 1.5
    lines = report.markdown(result).splitlines()
    at = lines.index("| | seconds | tokens/s | of the memory's speed |")
    assert lines[at + 1 : at + 4] == [
        "|---|--:|--:|--:|",
        "| ours | 3 (2 to 4) | 256 | 25% |",
        "| theirs | 1 (1 to 1.5) | 768 | |",
    ]
    at = lines.index("| | seconds | GB/s |")
    assert lines[at + 1 :] == ["|---|--:|--:|", "| ours | 3 (2 to 4) | 0.5 |"]  # and no texts behind it


def test_a_page_has_the_quality_of_what_was_made() -> None:
    result = invented()
    rows = [
        {"name": "ours", "size": [1.0, 3.0], "fit": [0.5, 0.5]},
        {"name": "theirs", "size": [4.0, 2.5], "fit": [0.25, 0.75]},
    ]
    result["quality"] = {"says": "By hand.", "rows": rows, "within": 0.5, "difference": -1.25, "verdict": "missed"}
    page = report.markdown(result)
    assert "## Quality\n\nBy hand.\n\n| | size | fit |\n|---|--:|--:|\n" in page
    assert "| ours | 2.000 (1.000 to 3.000) | 0.500 (0.500 to 0.500) |\n" in page
    assert "| theirs | 3.250 (2.500 to 4.000) | 0.500 (0.250 to 0.750) |\n" in page
    assert "Goal: ours at most 0.5 below the best peer in size. The difference is -1.250: missed.\n\n## Texts" in page


def test_the_three_ways_to_skip_gram_learn_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gensim", reason="the extra bench installs it")
    word2vec = importlib.import_module("benchmarks.word2vec")
    worlds = [["apple", "pear", "plum", "peel", "ripe"], ["deck", "mast", "sail", "port", "crew"]]
    generator = torch.Generator().manual_seed(3)
    text = [[worlds[i % 2][j] for j in torch.randint(0, 5, (8,), generator=generator)] for i in range(800)]
    monkeypatch.setattr(word2vec, "SAMPLE", 0)
    vocabulary = word2vec.Vocabulary.build(text)
    for train in (word2vec.own, word2vec.theirs):
        vectors = train(text, vocabulary, 4, 1)
        assert vectors.matrix.shape == (10, word2vec.DIM)
        assert {word for word, _ in vectors.nearest("plum", 4)} == {*worlds[0]} - {"plum"}
    word2vec.loop(text[:20], vocabulary, 1, 1)


def test_all_ways_of_decoding_give_the_same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer's, with the cache and without it, packed: on a model of the same kind that is quickly asked."""
    decode = importlib.import_module("benchmarks.decode")
    small = {"vocab_size": 97, "d_model": 48, "n_layers": 2, "n_heads": 6, "n_kv_heads": 2, "head_dim": 8, "d_ff": 40}
    monkeypatch.setattr(decode, "SHAPE", dataclasses.replace(decode.SHAPE, **small))
    monkeypatch.setattr(decode, "PROMPT", 7)
    monkeypatch.setattr(decode, "NEW", 5)
    peer, own = decode.same_weights()
    ids = torch.randint(1, 97, (3, 7), generator=torch.Generator().manual_seed(0))
    expected = decode.their_ids(peer, ids)
    assert [len(row) for row in expected] == [5, 5, 5]
    assert decode.our_ids(own, ids) == expected
    assert decode.ids_without_cache(own, ids) == expected
    assert decode.our_ids(decode.pack(deepcopy(own)), ids) == expected
    ways = {decode.PEER: lambda _: expected, decode.PLAIN: lambda _: [row[::-1] for row in expected]}
    with pytest.raises(AssertionError, match="not all give the same ids, at 3 rows"):
        decode._decoding("one", 3, ways, 1, 1e9, lambda name: None)


def test_a_training_step_begins_with_the_same_loss_in_all_and_learns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train = importlib.import_module("benchmarks.train")
    shape = type(train.SHAPE)(vocab_size=97, context_length=12, d_model=24, n_layers=2, n_heads=3)
    monkeypatch.setattr(train, "SHAPE", shape)
    monkeypatch.setattr(train, "ROWS", 3)
    monkeypatch.delenv("NANOGPT_DIR", raising=False)
    rows = torch.randint(0, 97, (3, 13), generator=torch.Generator().manual_seed(1))
    batch = train.Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
    steps, goals = train.ways(batch)
    assert {goal.peer for goal in goals} <= set(steps)
    own, theirs = [steps[train.OWN]().loss for _ in range(4)], [steps[train.PEER]() for _ in range(4)]
    assert own[0] == pytest.approx(theirs[0], rel=1e-5)  # later their biases differ from zero, and ours has none
    assert own[3] < own[0]
    assert theirs[3] < theirs[0]
    forward = 2 * (2 * 12 * 24**2 + 97 * 24) + 2 * 2 * 2 * 12 * 24  # a token's: matrices, then attention to 12 others
    assert train.flops() == 3 * forward * 3 * 12
    products = steps[train.PRODUCTS]()
    assert sum(2 * len(each) ** 3 for each in products) == pytest.approx(train.flops(), rel=0.05)
    monkeypatch.setattr(train, "their_loss", lambda peer, batch: torch.tensor(4.0))
    with pytest.raises(AssertionError, match="not all give the same loss"):
        train.ways(batch)
    monkeypatch.setenv("NANOGPT_DIR", str(tmp_path))
    with pytest.raises(SystemExit, match=r"there is no model\.py in it"):
        train.ways(batch)


def test_the_step_by_hand_clips_its_gradients_and_forgets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ours does, else the peers would have less to do."""
    train = importlib.import_module("benchmarks.train")
    model = torch.nn.Linear(3, 1, bias=False)
    norms: list[float] = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: norms.append(float(model.weight.grad.norm())))
    train.plain_step(model, lambda: 100 * model(torch.ones(3)).sum())()
    assert norms == [pytest.approx(1)]
    assert model.weight.grad is None


def test_something_was_measured() -> None:
    areas = importlib.import_module("benchmarks.__main__").AREAS
    stems = [file.stem for file in RESULTS]
    assert sorted(stems) == sorted(areas)


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_the_page_that_is_kept_is_what_the_data_say(file: Path) -> None:
    result = json.loads(file.read_text("utf-8"))
    assert file.with_suffix(".md").read_text("utf-8") == report.markdown(result)
    goals: dict[str, list[Any]] = {table["kind"]: [] for table in result["tables"]}
    kind = {table["title"]: table["kind"] for table in result["tables"]}
    for goal in result["goals"]:
        entry = timing.Goal(goal["own"], goal["peer"], goal["at_least"])
        if entry not in goals[kind[goal["table"]]]:
            goals[kind[goal["table"]]].append(entry)
    assert report.judged(result, goals) == result["goals"]
    assert result["rounds"] >= 5
    assert {len(row["seconds"]) for table in result["tables"] for row in table["rows"]} == {result["rounds"]}


def test_a_missing_peer_is_said_in_one_line(tmp_path: Path) -> None:
    """An interpreter that does not find rustbpe, as on a machine without the extra."""
    script = (
        "import sys, runpy; sys.modules['rustbpe'] = None; sys.argv = ['benchmarks', 'bpe', '--out', sys.argv[1]]; "
        "runpy.run_module('benchmarks', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2
    assert done.stderr == "error: rustbpe is missing; `pip install -e '.[bench]'` installs the peers\n"
    assert not list(tmp_path.iterdir())


def test_an_area_that_is_not_there_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "bbpe"], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2
    assert "no area is called 'bbpe'; there are: bpe, decode" in done.stderr


def test_the_page_on_sizes_is_what_the_command_prints() -> None:
    page = (ROOT / "instructors" / "sizing.md").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sizing"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line]
    assert len(lines) > 8
    assert [line for line in lines if line not in page] == []
    measured = json.loads((ROOT / "benchmarks" / "results" / "grade.json").read_text("utf-8"))
    assert f"{measured['date']}: {measured['machine']['cpu']}, load average {measured['machine']['load']} at" in page
