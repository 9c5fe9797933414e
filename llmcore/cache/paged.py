"""The paged KV cache: a batch of sequences whose keys and values lie in the blocks of one pool.

    pool = model.new_pool(n_blocks=64)
    a = pool.open(prompt)                                    # begins with what the pool knows of this prompt
    model(torch.tensor([prompt[a.length :]]), PagedCache(pool, [a]))
    b = pool.fork(a)                                         # a second answer to the same prompt, nothing copied
    model(torch.tensor([[5], [7]]), PagedCache(pool, [a, b]))    # now they part, and so do their last blocks
    pool.free(a)

What it buys is memory: less than one block is wasted a sequence, where a contiguous row is as long as the longest text
that might come; and what prompts have in common is held, and computed, once.

Source: Kwon et al. 2023 (PagedAttention), section 4.
Does not:
- read blocks where they lie, as a kernel for it would: each layer gathers them into a copy first
- keep to the device: ids and positions are read on the host, once a step
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmcore.cache.base import PADDING, Step
from llmcore.cache.blocks import BlockPool, PagedSequence


class PagedLayer(NamedTuple):
    """One layer's blocks during one step."""

    keys: Float[Tensor, "blocks size h d"]
    values: Float[Tensor, "blocks size h d"]
    slots: Int[Tensor, " n"]  # where each new token goes: block · size + place
    there: Int[Tensor, " n"] | None  # which of the b · t new tokens these are; None: all
    tables: Int[Tensor, " b*width"]  # every row's blocks, made equally many
    length: int  # keys that a row gets back

    def append(
        self, k: Float[Tensor, "b h t d"], v: Float[Tensor, "b h t d"]
    ) -> tuple[Float[Tensor, "b h s d"], Float[Tensor, "b h s d"]]:
        """Write the new keys and values to their slots; return every row's, gathered into a copy."""
        return self._through(self.keys, k), self._through(self.values, v)

    def _through(self, blocks: Tensor, new: Tensor) -> Tensor:
        tokens = new.transpose(1, 2).flatten(0, 1)  # (B·T, H, D)
        blocks.flatten(0, 1).index_copy_(0, self.slots, tokens if self.there is None else tokens[self.there])
        # index_select copies whole blocks; indexing with a matrix of blocks, number by number, takes four times as long
        rows = blocks.index_select(0, self.tables).unflatten(0, (len(new), -1)).flatten(1, 2)  # (B, width·size, H, D)
        return rows[:, : self.length].transpose(1, 2)


class PagedCache:
    """A batch: row i is sequences[i]. Rows may differ in length, and `sequences` may change between steps."""

    def __init__(self, pool: BlockPool, sequences: Sequence[PagedSequence]) -> None:
        self.pool, self.sequences = pool, list(sequences)
        self._new: list[list[int]] = []  # the ids that each row reads in the step that has begun

    @property
    def length(self) -> int:
        """Tokens in the longest sequence."""
        return max((s.length for s in self.sequences), default=0)

    def begin(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None) -> Step:
        """Take blocks for these tokens. Rows that read fewer than others are padded, anywhere.

        Raises OutOfBlocks where they do not fit; ValueError for positions that do not go on where a row ended, for
        another number of rows and for one sequence in two rows. Nothing has changed then.
        """
        (batch, t), device = ids.shape, self.pool.memory.device
        if len(self.sequences) != batch:
            raise ValueError(f"the cache has {len(self.sequences)} sequences, and {batch} rows of tokens came")
        if len({id(s) for s in self.sequences}) != batch:
            raise ValueError("a sequence is in two rows: fork it")
        past = [s.length for s in self.sequences]
        if positions is None:
            positions = torch.tensor(past, dtype=torch.long, device=device)[:, None] + torch.arange(t, device=device)
        there = [[i for i, p in enumerate(row) if p != PADDING] for row in positions.tolist()]
        for row, n, some in zip(positions.tolist(), past, there, strict=True):
            if [row[i] for i in some] != list(range(n, n + len(some))):
                raise ValueError(f"a sequence of {n} tokens goes on at position {n}, and {row} were given")
        new = [[row[i] for i in some] for row, some in zip(ids.tolist(), there, strict=True)]
        self.pool.reserve(self.sequences, [len(row) for row in new])
        self._new = new
        total = [n + len(row) for n, row in zip(past, new, strict=True)]
        length = max([*total, 1])  # a softmax needs a key to look at
        plain = len(set(past)) == 1 and all(len(row) == t for row in new)
        keys = torch.arange(length, device=device).expand(batch, length)
        if not plain:
            keys = keys.where(keys < torch.tensor(total, device=device)[:, None], PADDING)
        return Step(positions, keys, plain, self._layers(past, there, t, length))

    def _layers(self, past: list[int], there: list[list[int]], t: int, length: int) -> list[PagedLayer]:
        size, device = self.pool.block_size, self.pool.memory.device
        slots = [
            s.table[p // size] * size + p % size
            for s, n, some in zip(self.sequences, past, there, strict=True)
            for p in range(n, n + len(some))
        ]
        places = [row * t + i for row, some in enumerate(there) for i in some]
        width = -(-length // size)
        tables = []
        for s in self.sequences:  # made longer by its own last block: whatever is in another's stays there
            table = s.table[:width] or [0]
            tables += table + table[-1:] * (width - len(table))
        at = torch.tensor(slots, dtype=torch.long, device=device)
        which = torch.tensor(places, dtype=torch.long, device=device) if len(places) < len(there) * t else None
        blocks = torch.tensor(tables, device=device)
        keys, values = self.pool.memory[0], self.pool.memory[1]
        return [PagedLayer(keys[i], values[i], at, which, blocks, length) for i in range(len(keys))]

    def commit(self) -> None:
        """The step that has begun counts from now on; blocks that it filled can be found."""
        for sequence, ids in zip(self.sequences, self._new, strict=True):
            self.pool.extend(sequence, ids)
        self._new = [[] for _ in self.sequences]

    def select(self, rows: Int[Tensor, " b"]) -> None:
        """Make row i what row rows[i] was: the bookkeeping of beams. Only tables are copied.

        Raises ValueError for another number of rows.
        """
        if len(rows) != len(self.sequences):
            raise ValueError(f"the cache has {len(self.sequences)} rows, and {len(rows)} were selected")
        twins = [self.pool.fork(self.sequences[row]) for row in rows.tolist()]
        for sequence, twin in zip(self.sequences, twins, strict=True):
            self.pool.free(sequence)
            sequence.ids, sequence.table = twin.ids, twin.table

    def truncate(self, length: int) -> None:
        """Forget the newest tokens of every row, so many that the longest keeps `length`: a refused draft."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} tokens of {self.length}")
        less = self.length - length
        for sequence in self.sequences:
            self.pool.truncate(sequence, max(0, sequence.length - less))
