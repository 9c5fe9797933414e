"""The plain KV cache: for each layer one tensor, allocated in advance and filled from the left.

    >>> cache = KVCache(n_layers=2, batch=1, n_kv_heads=3, head_dim=4, capacity=8)
    >>> cache.bytes                                           # 2 · layers · batch · heads · dim · capacity · 4 bytes
    1536

A row remembers each key's position beside it, so padding (-1) is hidden whoever asks later.

Does not:
- grow: tokens beyond `capacity` raise
- share or move memory between requests: paged does
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class LayerCache:
    """One layer's keys and values."""

    def __init__(self, keys: Tensor, values: Tensor, shared: "KVCache") -> None:
        self.keys, self.values, self.shared, self.length = keys, values, shared, 0

    def append(
        self, k: Float[Tensor, "b h t d"], v: Float[Tensor, "b h t d"], positions: Int[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b h s d"], Float[Tensor, "b h s d"], Int[Tensor, "b s"]]:
        """Keep the new keys and values; return all there are, and their positions. Views, no copies.

        Raises ValueError when the cache is full.
        """
        end = self.length + k.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"the cache holds {self.keys.shape[2]} tokens, and {end} are needed")
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.shared.positions[:, self.length : end] = positions  # each layer writes the same
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end], self.shared.positions[:, :end]


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
        self.positions = torch.full((batch, capacity), -1, dtype=torch.long, device=device)
        self.layers = [LayerCache(self.memory[0, i], self.memory[1, i], self) for i in range(n_layers)]
        self.plain = True  # no row was padded, so far

    @property
    def length(self) -> int:
        """Tokens in every row, padding included."""
        return self.layers[0].length

    @property
    def bytes(self) -> int:
        """Bytes held for keys and values."""
        return self.memory.nbytes

    def next_positions(self) -> Int[Tensor, "b 1"]:
        """Where each row goes on: one past its last position."""
        if not self.length:
            return torch.zeros(len(self.positions), 1, dtype=torch.long, device=self.positions.device)
        return self.positions[:, : self.length].amax(dim=1, keepdim=True) + 1

    def select(self, rows: Int[Tensor, " b"]) -> None:
        """Make row i what row rows[i] was: the bookkeeping of beams. Copies."""
        length = self.length
        self.memory[:, :, :, :, :length] = self.memory[:, :, rows, :, :length]
        self.positions[:, :length] = self.positions[rows, :length]

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens: what a speculative draft added and the model refused."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} tokens of {self.length}")
        for layer in self.layers:
            layer.length = length
        self.positions[:, length:] = -1
