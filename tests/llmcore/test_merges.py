"""Merging one word: against a plain definition, and against tiktoken for any ranks; the work is counted."""

import doctest
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush

import pytest
import tiktoken

from llmcore.tokenizers import merges
from llmcore.tokenizers.merges import NO_RANK, Pair, PairRanks, merge, merge_long, merge_short, merges_of

Merge = Callable[[list[int], Mapping[Pair, int], Sequence[int]], list[int]]
both = pytest.mark.parametrize("how", [merge_short, merge_long])


def by_definition(word: list[int], ranks: dict[Pair, int], merged: Sequence[int]) -> list[int]:
    """Look at everything, take the lowest rank and of it the leftmost, begin again."""
    word = list(word)
    while True:
        found = [(ranks[pair], i) for i, pair in enumerate(zip(word, word[1:], strict=False)) if pair in ranks]
        if not found:
            return word
        rank, i = min(found)
        word = [*word[:i], merged[rank], *word[i + 2 :]]


def random_rules(rng: random.Random) -> tuple[dict[Pair, int], list[int]]:
    """Merges over three letters and what they become; ids are in no order."""
    ids, known = rng.sample(range(3, 13), rng.randint(0, 10)), [0, 1, 2]
    ranks: dict[Pair, int] = {}
    merged: list[int] = []
    for new in ids:
        pair = (rng.choice(known), rng.choice(known))
        if pair not in ranks:
            ranks[pair] = len(merged)
            merged.append(new)
            known.append(new)
    return ranks, merged


@both
def test_merging_is_by_rank_and_then_from_the_left(how: Merge) -> None:
    for seed in range(3000):
        rng = random.Random(seed)
        ranks, merged = random_rules(rng)
        word = [rng.randrange(3) for _ in range(rng.randrange(40))]
        found = how(list(word), PairRanks(ranks.get), merged)
        assert found == by_definition(word, ranks, merged), f"seed {seed}"


@both
@pytest.mark.parametrize(
    ("word", "merged"),
    [([], []), ([1], [1]), ([0, 0], [3]), ([0, 0, 0], [3, 0]), ([0] * 5, [4, 0]), ([0, 1, 0], [0, 1, 0])],
)
def test_short_words_and_runs(how: Merge, word: list[int], merged: list[int]) -> None:
    ranks = PairRanks({(0, 0): 0, (3, 3): 1}.get)
    assert how(word, ranks, [3, 4]) == merged


@pytest.mark.parametrize("length", [99, 100, 101, 1000])
def test_both_ways_agree_at_the_length_where_they_change(length: int) -> None:
    rng = random.Random(length)
    ranks, merged = {(a, b): a * 12 + b for a in range(12) for b in range(12) if a + b < 12}, [0] * 144
    for (a, b), rank in ranks.items():
        merged[rank] = a + b if a + b > max(a, b) else 12 + rank
    word = [rng.randrange(5) for _ in range(length)]
    found = [how(list(word), PairRanks(ranks.get), merged) for how in (merge, merge_short, merge_long)]
    assert found[0] == found[1] == found[2] == by_definition(word, ranks, merged)


def test_ranks_are_asked_for_once_and_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merges, "_REMEMBERED", 3)
    asked: list[Pair] = []

    def find(pair: Pair) -> int | None:
        asked.append(pair)
        return 7 if pair == (1, 2) else None

    ranks = PairRanks(find)
    assert [ranks[1, 2], ranks[2, 1], ranks[1, 2], ranks[2, 1]] == [7, NO_RANK, 7, NO_RANK]
    assert asked == [(1, 2), (2, 1)]
    assert [ranks[3, 3], ranks[4, 4], ranks[1, 2]] == [NO_RANK, NO_RANK, 7]
    assert asked == [(1, 2), (2, 1), (3, 3), (4, 4), (1, 2)]
    assert len(ranks) == 2


# the work


class CountedRanks(Mapping[Pair, int]):
    def __init__(self, ranks: dict[Pair, int]) -> None:
        self.ranks, self.asked = ranks, 0

    def __getitem__(self, pair: Pair) -> int:
        self.asked += 1
        return self.ranks.get(pair, NO_RANK)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.ranks)

    def __len__(self) -> int:
        return len(self.ranks)


def doubling(levels: int) -> tuple[dict[Pair, int], list[int]]:
    """aa, aaaa, and so on: as much to merge as there can be."""
    return {(i, i): i for i in range(levels)}, list(range(1, levels + 1))


def random_pairs(rng: random.Random) -> tuple[dict[Pair, int], list[int]]:
    pairs = [(a, b) for a in range(60) for b in range(60)]
    rng.shuffle(pairs)
    return {pair: rank for rank, pair in enumerate(pairs)}, [rng.randrange(60) for _ in pairs]


@pytest.mark.parametrize("kind", ["one letter", "random letters"])
def test_a_long_word_takes_n_log_n(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = 0

    def counted_pop(heap: list[int]) -> int:
        nonlocal operations
        operations += 1
        return heappop(heap)

    def counted_push(heap: list[int], item: int) -> None:
        nonlocal operations
        operations += 1
        heappush(heap, item)

    monkeypatch.setattr(merges, "heappop", counted_pop)
    monkeypatch.setattr(merges, "heappush", counted_push)
    work = []
    for n in (20_000, 40_000):
        rng = random.Random(n)
        rules = doubling(30) if kind == "one letter" else random_pairs(rng)
        word = [0] * n if kind == "one letter" else [rng.randrange(60) for _ in range(n)]
        ranks, operations = CountedRanks(rules[0]), 0
        assert len(merge(word, ranks, rules[1])) < n / 2
        assert ranks.asked < 8 * n
        assert operations < 8 * n  # each costs log n
        work.append(ranks.asked + operations)
    assert math.isclose(work[1], 2 * work[0], rel_tol=0.05)


def test_a_short_word_asks_for_each_pair_once_and_for_two_after_a_merge() -> None:
    rules = random_pairs(random.Random(3))
    word = [random.Random(4).randrange(60) for _ in range(90)]
    ranks = CountedRanks(rules[0])
    left = merge(list(word), ranks, rules[1])
    assert ranks.asked <= 89 + 2 * (90 - len(left))


# ranks


def random_ranks(rng: random.Random) -> dict[bytes, int]:
    """All bytes and some strings of a, b, c, learned or not, in any order of ranks, with gaps."""
    strings = {"".join(rng.choices("abc", k=rng.randint(2, 5))).encode() for _ in range(rng.randrange(30))}
    tokens = [*(bytes([i]) for i in range(256)), *sorted(strings)]
    return dict(zip(tokens, rng.sample(range(400), len(tokens)), strict=True))


def test_merges_of_learned_ranks_are_the_merges() -> None:
    learned = [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"a", b"bc"), (b"c", b"c"), (b"abc", b"cc")]
    ranks = {bytes([i]): i for i in range(256)}
    for left, right in learned:
        ranks.setdefault(left + right, len(ranks))
    # abc is made of ab and c, since ab comes before bc; the merge of a and bc could never happen
    assert merges_of(ranks) == [pair for pair in learned if pair != (b"a", b"bc")]


def test_a_token_that_was_put_in_by_hand_has_all_its_splits() -> None:
    ranks = {bytes([i]): i for i in range(256)} | {b"bc": 256, b"ab": 257, b"abcd": 258, b"cd": 259, b"xyz": 260}
    assert merges_of(ranks) == [(b"b", b"c"), (b"a", b"b"), (b"ab", b"cd"), (b"c", b"d")]


def test_ranks_lead_where_tiktoken_goes() -> None:
    """By the ranks themselves; and, but for tokens put in by hand, by the merges found behind them."""
    compared = 0
    for seed in range(300):
        rng = random.Random(seed)
        ranks = random_ranks(rng)
        encoding = tiktoken.Encoding("random", pat_str=r"[^z]+", mergeable_ranks=ranks, special_tokens={})
        tokens = {rank: token for token, rank in ranks.items()}
        by_rank = PairRanks(lambda pair, tokens=tokens, ranks=ranks: ranks.get(tokens[pair[0]] + tokens[pair[1]]))  # type: ignore[misc]
        pairs = merges_of(ranks)
        made = [left + right for left, right in pairs]
        table = {(ranks[left], ranks[right]): i for i, (left, right) in enumerate(pairs)}
        for _ in range(10):
            word = "".join(rng.choices("abc", k=rng.randrange(2, 20))).encode()
            if word in ranks:  # as a whole it is that token, merges or not
                continue
            start, expected = [ranks[bytes([byte])] for byte in word], encoding.encode_ordinary(word.decode())
            assert merge(list(start), by_rank, range(401)) == expected, f"seed {seed}"
            if len(set(made)) == len(made):
                compared += 1
                found = merge(list(start), PairRanks(table.get), [ranks[token] for token in made])
                assert found == expected, f"seed {seed}"
    assert compared > 1000


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(merges).failed == 0
