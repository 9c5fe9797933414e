"""Apply merges to one word, and find the merges behind tiktoken's ranks.

A word is a list of ids, at first one for each byte. As long as two neighbours are a pair with a rank, the pair of lowest
rank becomes one token; the leftmost, if it is there more than once.

    >>> ranks = PairRanks({(1, 2): 0, (4, 3): 1}.get)
    >>> merge([1, 2, 1, 2, 3], ranks, merged=[4, 5])
    [4, 5]

`ranks` says the rank of a pair, `merged` the id that a rank makes.

Does not:
- cut a text into words, or know what an id stands for
"""

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

Pair = tuple[int, int]

NO_RANK = 1 << 62
_LONG = 100  # tokens: from about here on the heap is faster than looking at all pairs again after each merge
_REMEMBERED = 1 << 20  # pairs: some 150 MB at most


class PairRanks(dict[Pair, int]):
    """The rank of each pair that was asked for, NO_RANK if it has none; and so no work before the first question.

    When it holds _REMEMBERED pairs it forgets them all.
    """

    def __init__(self, find: Callable[[Pair], int | None]) -> None:
        self._find = find

    def __missing__(self, pair: Pair) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        rank = self._find(pair)
        self[pair] = rank = NO_RANK if rank is None else rank
        return rank


def merge(ids: list[int], ranks: Mapping[Pair, int], merged: Sequence[int]) -> list[int]:
    """Merge until nothing can be merged, in whichever way is faster. Changes `ids`."""
    return merge_short(ids, ranks, merged) if len(ids) < _LONG else merge_long(ids, ranks, merged)


def merge_short(ids: list[int], ranks: Mapping[Pair, int], merged: Sequence[int]) -> list[int]:
    """Look at the ranks of all pairs after each merge: the fastest way for a word. Changes `ids`.

    n - 1 look-ups at first and two a merge, but n² / 2 comparisons in the worst case.
    """
    near = [ranks[pair] for pair in pairwise(ids)]  # near[i]: the rank of ids[i] and ids[i + 1]
    while near:
        rank = min(near)
        if rank == NO_RANK:
            break
        i = near.index(rank)
        ids[i] = merged[rank]
        del ids[i + 1], near[i]
        if i < len(near):
            near[i] = ranks[ids[i], ids[i + 1]]
        if i:
            near[i - 1] = ranks[ids[i - 1], ids[i]]
    return ids


def merge_long(ids: list[int], ranks: Mapping[Pair, int], merged: Sequence[int]) -> list[int]:
    """The same in O(n log n): the pairs wait in a heap, the tokens are a linked list. Changes `ids`."""
    n = len(ids)
    left, right = list(range(-1, n - 1)), list(range(1, n + 1))
    # one number a pair, rank * n + place: ordered by rank and then from the left, and cheaper to compare than a tuple
    heap = [rank * n + i for i, pair in enumerate(pairwise(ids)) if (rank := ranks[pair]) != NO_RANK]
    heapify(heap)
    while heap:
        rank, i = divmod(heappop(heap), n)
        j = right[i]
        if ids[i] < 0 or j >= n or ranks[ids[i], ids[j]] != rank:
            continue  # one of the two was merged with another neighbour meanwhile
        ids[i], ids[j] = merged[rank], -1
        after = right[i] = right[j]
        if after < n:
            left[after] = i
            if (rank := ranks[ids[i], ids[after]]) != NO_RANK:
                heappush(heap, rank * n + i)
        before = left[i]
        if before >= 0 and (rank := ranks[ids[before], ids[i]]) != NO_RANK:
            heappush(heap, rank * n + before)
    return [i for i in ids if i >= 0]


def merges_of(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The merges behind ranks, in their order: the last two parts of each token when only those before it exist.

    A token that they do not lead to was not learned but put in. tiktoken makes it of any two neighbours that spell it, so
    all its splits into two tokens are merges (there may be none).

    >>> merges_of({b"a": 0, b"b": 1, b"ab": 2, b"bab": 3})
    [(b'a', b'b'), (b'b', b'ab')]
    """
    tokens = {rank: token for token, rank in ranks.items()}
    single = {token[0]: rank for token, rank in ranks.items() if len(token) == 1}
    earlier: dict[Pair, int] = {}
    known = PairRanks(earlier.get)
    for rank, token in sorted(tokens.items()):
        if len(token) < 2:
            continue
        parts = [single[byte] for byte in token] if all(byte in single for byte in token) else []
        parts = merge(parts, known, range(rank))
        pairs = [(parts[0], parts[1])] if len(parts) == 2 else []
        if not pairs:
            splits = ((ranks.get(token[:i]), ranks.get(token[i:])) for i in range(1, len(token)))
            pairs = [(left, right) for left, right in splits if left is not None and right is not None]
        for pair in pairs:
            earlier[pair] = known[pair] = rank
    return [(tokens[left], tokens[right]) for left, right in earlier]
