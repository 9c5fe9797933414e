"""Memory for keys and values in small blocks, which sequences take, share and give back as processes do with pages.

    >>> pool = BlockPool(n_layers=2, n_blocks=4, block_size=2, n_kv_heads=3, head_dim=4)
    >>> a = pool.open([5, 1, 7])                   # nothing is known yet: all three are for the model to read
    >>> pool.reserve([a], [3])
    >>> pool.extend(a, [5, 1, 7])                  # after it has: paged.PagedCache does these two
    >>> a.table, pool.n_free
    ([0, 1], 2)
    >>> b = pool.open([5, 1, 9, 9])                # the first block is known, so two tokens need not be read
    >>> b.ids, b.table, pool.references
    ([5, 1], [0], [2, 1, 0, 0])

Token i of a sequence lies in block table[i // block_size], at place i % block_size, in every layer. Three rules:

- A block is free, or in as many tables as its reference count says.
- A full block is *sealed*: its key, (the block before it, its ids), is known, every later prompt that begins so finds
  it, and it is never written again. Freed, it stays findable until its memory is needed; the least recently used goes
  first, and never before a block that its own key is needed for.
- Who has to write into a block that is shared or sealed gets a copy of it (copy-on-write).

As the block before has a key in turn, a key says all of a block's prefix, ids and not their hash: where prefixes are
found by a chain of hashes, two that collide would read each other's text.

Source: Kwon et al. 2023 (PagedAttention), section 4; vLLM's design document on prefix caching.
Does not: decide who waits and who must go when blocks run out. A scheduler does
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

ROOT = -1  # what stands before a first block


class OutOfBlocks(RuntimeError):
    """The pool has too few free blocks for a step; nothing was changed."""


@dataclass(eq=False)
class PagedSequence:
    """One text: the ids whose keys and values are held, and the blocks they lie in."""

    ids: list[int] = field(default_factory=list)
    table: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.ids)


class BlockPool:
    """Blocks of `block_size` tokens over all layers, and who has them."""

    def __init__(
        self,
        n_layers: int,
        n_blocks: int,
        block_size: int,
        n_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.block_size = block_size
        # tokens before heads, so that the blocks of a table, side by side, are one stretch of tokens
        shape = (2, n_layers, n_blocks, block_size, n_kv_heads, head_dim)
        self.memory = torch.zeros(shape, dtype=dtype, device=device)
        self.references = [0] * n_blocks
        self._free = OrderedDict.fromkeys(range(n_blocks))  # next to be taken first: the blank, then by last use
        self._keys: dict[int, tuple[int, tuple[int, ...]]] = {}  # sealed block → (block before it, its ids)
        self._sealed: dict[tuple[int, tuple[int, ...]], int] = {}  # and back

    @property
    def bytes(self) -> int:
        """Bytes held for keys and values."""
        return self.memory.nbytes

    @property
    def n_free(self) -> int:
        """Blocks that can be taken; those that can still be found are among them."""
        return len(self._free)

    def open(self, prompt: Sequence[int] = ()) -> PagedSequence:
        """A new sequence, which begins with as many tokens of the prompt as are known: whole blocks, and never the last
        token, since what follows it is wanted. The rest, prompt[sequence.length :], is for the model to read.
        """
        sequence, size = PagedSequence(), self.block_size
        while sequence.length + size < len(prompt):
            ids = tuple(prompt[sequence.length : sequence.length + size])
            block = self._sealed.get((_before(sequence.table, len(sequence.table)), ids))
            if block is None:
                break
            self._use(block)
            sequence.table.append(block)
            sequence.ids += ids
        return sequence

    def fork(self, sequence: PagedSequence) -> PagedSequence:
        """A second sequence with the same tokens in the same blocks."""
        twin = PagedSequence(list(sequence.ids), sequence.table[: self._blocks(sequence.length)])
        for block in twin.table:
            self._use(block)
        return twin

    def truncate(self, sequence: PagedSequence, length: int) -> None:
        """Forget all but the first `length` tokens: what a speculative draft added and the model refused."""
        if not 0 <= length <= sequence.length:
            raise ValueError(f"cannot keep {length} tokens of {sequence.length}")
        del sequence.ids[length:]
        while len(sequence.table) > self._blocks(length):
            self._release(sequence.table.pop())  # from the end: a block is older in the list than the one before it

    def free(self, sequence: PagedSequence) -> None:
        """Give all blocks back. The sequence is empty afterwards."""
        self.truncate(sequence, 0)

    def missing(self, sequences: Sequence[PagedSequence], tokens: Sequence[int]) -> int:
        """Blocks that would have to become free before each sequence can take so many more tokens; 0: there is room."""
        grow = [(s, n) for s, n in zip(sequences, tokens, strict=True) if n]
        new = sum(max(0, self._blocks(s.length + n) - len(s.table)) for s, n in grow)
        writers = Counter(s.table[s.length // self.block_size] for s, _ in grow if s.length % self.block_size)
        copies = sum(min(n, self.references[block] - 1) for block, n in writers.items())  # the last frees what it takes
        return max(0, new + copies - self.n_free)

    def reserve(self, sequences: Sequence[PagedSequence], tokens: Sequence[int]) -> None:
        """Give each sequence blocks for so many more tokens, and a copy of its last one if it may not write into that.

        Raises OutOfBlocks, with nothing changed, where there are too few.
        """
        if missing := self.missing(sequences, tokens):
            raise OutOfBlocks(
                f"{missing} more blocks of {self.block_size} tokens would have to be free (of {len(self.references)}, "
                f"{self.n_free} are): free or truncate a sequence, or make a larger pool"
            )
        for sequence, n in zip(sequences, tokens, strict=True):
            at, inside = divmod(sequence.length, self.block_size)
            if n and inside:
                block = sequence.table[at]
                if self.references[block] > 1 or block in self._keys:
                    sequence.table[at] = self._copy(block, inside)
            while len(sequence.table) < self._blocks(sequence.length + n):
                sequence.table.append(self._take())

    def extend(self, sequence: PagedSequence, ids: Sequence[int]) -> None:
        """Count tokens whose keys and values have been written, and seal the blocks that they fill.

        Where a block's key is known already, the same text was read twice: the older block takes its place.
        """
        size, first = self.block_size, sequence.length // self.block_size
        sequence.ids += ids
        for at in range(first, sequence.length // size):
            block = sequence.table[at]
            key = (_before(sequence.table, at), tuple(sequence.ids[at * size : (at + 1) * size]))
            known = self._sealed.setdefault(key, block)
            if known == block:
                self._keys[block] = key
            else:
                self._use(known)
                self._release(block)
                sequence.table[at] = known

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def _take(self) -> int:
        """A free block, blank: a NaN that another sequence left would reach this one through any mask (0 · NaN)."""
        block, _ = self._free.popitem(last=False)
        if block in self._keys:
            del self._sealed[self._keys.pop(block)]
        self.references[block] = 1
        self.memory[:, :, block] = 0
        return block

    def _copy(self, block: int, tokens: int) -> int:
        """A block of one's own in place of this one, with its first tokens."""
        kept = self.memory[:, :, block, :tokens].clone()  # first: in a full pool, the block to be taken is this one
        self._release(block)
        own = self._take()
        self.memory[:, :, own, :tokens] = kept
        return own

    def _use(self, block: int) -> None:
        self._free.pop(block, None)
        self.references[block] += 1

    def _release(self, block: int) -> None:
        self.references[block] -= 1
        if self.references[block] == 0:
            self._free[block] = None
            self._free.move_to_end(block, last=block in self._keys)


def check(pool: BlockPool, sequences: Sequence[PagedSequence]) -> None:
    """Assert all that must hold between steps, if these are all the sequences there are."""
    size, keys, free = pool.block_size, pool._keys, list(pool._free)
    tables = Counter(block for s in sequences for block in s.table)
    assert pool.references == [tables[block] for block in range(len(pool.references))], "references are not tables"
    assert sorted(free) == [block for block, n in enumerate(pool.references) if n == 0], "free is not unreferenced"
    assert pool._sealed == {key: block for block, key in keys.items()}, "keys and sealed blocks differ"
    assert len(pool._sealed) == len(keys), "two blocks have one key"
    assert [b in keys for b in free] == sorted(b in keys for b in free), "what can be found goes before a blank block"
    for block, (before, ids) in keys.items():
        assert len(ids) == size, "a block was sealed before it was full"
        assert before == ROOT or before in keys, "a sealed block cannot be found: the one before it is gone"
        if before in free:
            assert block in free[: free.index(before)], "a block goes before one whose key needs it"
    for s in sequences:
        assert len(s.table) == -(-s.length // size), "a block too many or too few"
        for at, block in enumerate(s.table):
            ids, key = tuple(s.ids[at * size : (at + 1) * size]), keys.get(block)
            assert key or len(ids) < size, "a full block is not sealed"
            assert key is None or key == (_before(s.table, at), ids + key[1][len(ids) :]), "a block holds another text"


def _before(table: list[int], at: int) -> int:
    return table[at - 1] if at else ROOT
