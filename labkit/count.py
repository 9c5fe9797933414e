"""Counters for probes: which tensor operations ran, and how much memory was alive at the peak.

They run beside the lab, so a submission could lie to them: they guide learners, and every task has checks by value too.
Does not: see NumPy, or what happens inside an operation.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Mode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch wraps a mode so that its compiler leaves it alone, and imports that compiler to do so: two seconds in
        every process.  Nothing is compiled here."""
        return False


class Operations(_Mode):
    """The names of all tensor operations in the block, in order: `mm`, `add`, `_softmax`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        self.names: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(op.overloadpacket.__name__)
        return op(*args, **(kwargs or {}))


class LiveMemory(_Mode):
    """`peak`: the most elements alive at once in storages made inside the block.  Views of the inputs cost nothing."""

    def __init__(self, *inputs: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        self.given = {_storage(t) for t in inputs}
        self.size: dict[int, int] = {}
        self.holders: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and (key := _storage(t)) not in self.given:
                self.size.setdefault(key, t.untyped_storage().nbytes() // t.element_size())
                self.holders[key] = self.holders.get(key, 0) + 1
                weakref.finalize(t, self._let_go, key)
        self.peak = max(self.peak, sum(self.size.values()))
        return out

    def _let_go(self, key: int) -> None:
        self.holders[key] -= 1
        if not self.holders[key]:
            del self.holders[key], self.size[key]


def _storage(t: torch.Tensor) -> int:
    return int(t.untyped_storage()._cdata)
