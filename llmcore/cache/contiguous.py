"""The plain KV cache: for each layer one tensor, allocated in advance and filled from the left.

    >>> cache = KVCache(n_layers=2, batch=1, n_kv_heads=3, head_dim=4, capacity=8)
    >>> cache.bytes                                           # 2 · layers · batch · heads · dim · capacity · 4 bytes
    1536

A row remembers each key's position beside it, so padding (-1) is hidden whoever asks later.

Does not:
- grow: tokens beyond `capacity` raise
- share or move memory between requests: paged does
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmcore.cache.base import PADDING, Step


class ContiguousLayer(NamedTuple):
    """Views of one layer's memory up to the end of the step; the new tokens go to `start` and after."""

    keys: Float[Tensor, "b h s d"]
    values: Float[Tensor, "b h s d"]
    start: int

    def append(
        self, k: Float[Tensor, "b h t d"], v: Float[Tensor, "b h t d"]
    ) -> tuple[Float[Tensor, "b h s d"], Float[Tensor, "b h s d"]]:
        """Keep the new keys and values; return all there are. Views, no copies."""
        self.keys[:, :, self.start :].copy_(k)
        self.values[:, :, self.start :].copy_(v)
        return self.keys, self.values


class KVCache:
    """What a model remembers of the tokens so far.

    Args:
        capacity: tokens a row can hold, padding included.
    """

    def __init__(
        self,
        n_layers: int,
        batch: int,
        n_kv_heads: int,
        head_dim: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (2, n_layers, batch, n_kv_heads, capacity, head_dim)
        self.memory = torch.zeros(shape, dtype=dtype, device=device)
        self.positions = torch.full((batch, capacity), PADDING, device=device)
        self.length = 0  # tokens in every row, padding included
        self.plain = True  # no row was given positions of its own, so far
        self._after = (0, True)  # length and plain when the step that has begun is committed

    @property
    def bytes(self) -> int:
        """Bytes held for keys and values."""
        return self.memory.nbytes

    def begin(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None) -> Step:
        """Make room for these tokens. Without positions each row goes on where it ended.

        Raises ValueError, with nothing changed, for more tokens than there is room for, or another number of rows.
        """
        batch, capacity = self.positions.shape
        end = self.length + ids.shape[1]
        if len(ids) != batch:
            raise ValueError(f"the cache has {batch} rows, and tokens for {len(ids)} came")
        if end > capacity:
            raise ValueError(f"the cache holds {capacity} tokens, and {end} are needed")
        plain = self.plain and positions is None
        if plain:
            positions = torch.arange(self.length, end, device=self.positions.device).expand(ids.shape)
        elif positions is None:
            positions = self.next_positions() + torch.arange(ids.shape[1], device=self.positions.device)
        self.positions[:, self.length : end] = positions
        keys, values = self.memory[0, ..., :end, :], self.memory[1, ..., :end, :]
        layers = [ContiguousLayer(keys[i], values[i], self.length) for i in range(len(keys))]
        self._after = (end, plain)
        return Step(positions, self.positions[:, :end], plain, layers)

    def commit(self) -> None:
        """The step that has begun counts from now on."""
        self.length, self.plain = self._after

    def next_positions(self) -> Int[Tensor, "b 1"]:
        """Where each row goes on: one past its last position; 0 for a row that holds nothing but padding."""
        if not self.length:
            return torch.zeros_like(self.positions[:, :1])
        return self.positions[:, : self.length].amax(dim=1, keepdim=True) + 1

    def select(self, rows: Int[Tensor, " b"]) -> None:
        """Make row i what row rows[i] was: the bookkeeping of beams. Copies.

        Raises ValueError for another number of rows.
        """
        if len(rows) != len(self.positions):
            raise ValueError(f"the cache has {len(self.positions)} rows, and {len(rows)} were selected")
        length = self.length
        self.memory[:, :, :, :, :length] = self.memory[:, :, rows, :, :length]
        self.positions[:, :length] = self.positions[rows, :length]

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens: what a speculative draft added and the model refused."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} tokens of {self.length}")
        self._after = (length, self.plain or length == 0)
        self.commit()
