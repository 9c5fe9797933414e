"""Torch's operators below its functions: a forbidden function is not to be reached by its operators' own names either.

`torch.ops.aten.scaled_dot_product_attention` is that function without its Python name, and `_..._math` and `_..._flash`
are ways to compute it.  Torch's own code goes on finding them all.
Does not: stop someone determined (see forbid), who can pass for torch's code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

LOOKUPS = ("_jit_get_operation", "_get_operation_overload", "_jit_get_schemas_for_operator")  # of torch._C


def close(functions: Iterable[str], refuse: Callable[[str], None]) -> None:
    """From now on, only torch's own files find operators whose names contain that of one of the functions.

    `functions` are dotted names such as torch.bmm; `refuse` is called with the one that was looked for, and raises.
    """
    import torch

    last = {name.rpartition(".")[2]: name for name in functions}
    home, frame = os.path.dirname(os.path.realpath(torch.__file__)) + os.sep, sys._getframe
    known: dict[str, str] = {}

    def check(operator: str) -> None:
        if operator not in known:  # bmm, not baddbmm: a name is a row of words
            words = f"_{operator.rpartition('::')[2]}_"
            known[operator] = next((whole for word, whole in last.items() if f"_{word}_" in words), "")
        if known[operator] and not frame(2).f_code.co_filename.startswith(home):
            refuse(known[operator])

    space = type(torch.ops.aten)
    found = space.__getattribute__

    def look(self: Any, name: str) -> Any:
        check(name)
        return found(self, name)

    space.__getattribute__ = look  # type: ignore[method-assign]
    for way in LOOKUPS:
        setattr(torch._C, way, _checked(getattr(torch._C, way), check))


def _checked(function: Callable[..., Any], check: Callable[[str], None]) -> Callable[..., Any]:
    def looked(name: str, *rest: Any) -> Any:
        check(name)
        return function(name, *rest)

    return looked
