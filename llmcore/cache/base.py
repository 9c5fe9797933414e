"""What a model asks of a cache, whatever its memory looks like inside.

One forward pass is one step:

    step = cache.begin(ids, positions)             # room for the new tokens, or an error and nothing changed
    k, v = step.layers[i].append(k, v)             # in every layer: keep the new, get all
    cache.commit()                                 # now they count; a pass that failed half-way leaves no trace

Does not: hold memory. contiguous and paged do
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from jaxtyping import Float, Int
from torch import Tensor

PADDING = -1  # the position of a token that is not there


class LayerCache(Protocol):
    """One layer's keys and values during one step."""

    def append(
        self, k: Float[Tensor, "b h t d"], v: Float[Tensor, "b h t d"]
    ) -> tuple[Float[Tensor, "b h s d"], Float[Tensor, "b h s d"]]:
        """Keep the new keys and values; return all there are, in the order of the step's `keys`."""
        ...


class Step(NamedTuple):
    """What one forward pass has to know of the tokens before it."""

    positions: Int[Tensor, "b t"]  # of the new tokens; PADDING where there is none
    keys: Int[Tensor, "b s"]  # positions of all that `append` returns, the new tokens among them
    plain: bool  # no padding: every row's keys stand at 0, 1, …, s - 1, and the new tokens are the last t of them
    layers: Sequence[LayerCache | None]  # None: there is no cache


class Cache(Protocol):
    """Keys and values of tokens that were seen, row by row."""

    @property
    def length(self) -> int:
        """Tokens in the longest row (a row that was padded is as long as its padding makes it)."""
        ...

    def begin(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None) -> Step:
        """Make room for these tokens. Without positions each row goes on where it ended.

        Raises an error, with nothing changed, where they do not fit.
        """
        ...

    def commit(self) -> None:
        """The pass is over: what it appended counts from now on."""
        ...

    def select(self, rows: Int[Tensor, " b"]) -> None:
        """Make row i what row rows[i] was: the bookkeeping of beams."""
        ...

    def truncate(self, length: int) -> None:
        """Forget the newest tokens of every row, so many that the longest keeps `length`: a refused draft."""
        ...
