"""Writes down a forward pass as it happens: calls of modules and functions, and the operations inside one of them.

Does: copies inputs before a call and outputs after it, each with the line of the lab's file that made the call.
Does not: judge.  It runs in the lab's process.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any

from labkit import values, wire

VALUES = 3000  # values that are kept, and
ELEMENTS = 4_000_000  # numbers in all of them: what the wire carries
LARGEST = 500_000  # numbers in one


class Recorder:
    """Writes down calls in the order in which they begin, and the operations of one of them, by its number."""

    def __init__(self, lab: ModuleType, seen: dict[str, Any], inside: int | None) -> None:
        self.lab, self.inside = lab, inside
        self.calls, self.ops = seen["calls"], seen["ops"]
        self.stack: list[int] = [-1]
        self.busy = False  # what this class computes itself is not recorded
        self.made_by: dict[int, int] = {}  # id of a tensor → the operation that made it, or changed it last
        self.alive: list[Any] = []  # so that no id is used again
        self.values, self.elements = 0, 0

    def wrap(self, model: Any, names: list[str] | None) -> list[str]:
        """Puts a recording function in the place of each forward, and of each function and method that is in `names`.

        Without names: of all that the lab's namespace and the model's classes have; which those are is returned.
        """
        found = []
        for name, function in list(vars(self.lab).items()):
            if isinstance(function, FunctionType) and (names is None or name in names):
                setattr(self.lab, name, self.recorded(function, f"{name}()", name))
                found.append(name)
        for path, module in model.named_modules():
            kind: Any = type(module)
            module.forward = self.recorded(module.forward, path or kind.__name__, f"{kind.__name__}.forward")
            for name, method in vars(kind).items() if kind.__module__ == self.lab.__name__ else ():
                dotted = f"{kind.__name__}.{name}"
                own = isinstance(method, FunctionType) and name != "forward" and not name.startswith("__")
                if own and (names is None or dotted in names):
                    setattr(module, name, self.recorded(getattr(module, name), f"{path}.{name}()".lstrip("."), dotted))
                    found.append(dotted)
        return found

    def recorded(self, function: Callable[..., Any], name: str, code: str) -> Callable[..., Any]:
        """`function`, which notes each call of it under this name; `code` is what it is called in the lab's file."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            signature = inspect.Signature()

        def call(*args: Any, **kwargs: Any) -> Any:
            number, parent = len(self.calls), self.stack[-1]
            ins = _bound(signature, args, kwargs)
            entry: dict[str, Any] = {
                "name": name,
                "code": code,
                "parent": parent,
                "line": self.line(),
                "ins": {p: self.copy(v) for p, v in ins.items()},
                "out": None,
                "done": False,
                "changed": [],
            }
            self.calls.append(entry)
            versions = {p: list(map(_version, _tensors(v))) for p, v in ins.items()}
            within = self.within()
            if within:
                entry["from"] = {p: self.sources(v) for p, v in ins.items()}
            if number == self.inside:
                for p, v in ins.items():
                    self.note(p, [], v, given=True)
            self.stack.append(number)
            try:
                out = function(*args, **kwargs)
            finally:
                self.stack.pop()
            entry["out"], entry["done"] = self.copy(out), True
            entry["changed"] = [p for p, v in ins.items() if list(map(_version, _tensors(v))) != versions[p]]
            if within:  # as one operation, a helper too: what it was given is to blame, not its own lines
                self.note(name, sorted({i for v in entry["from"].values() for i in v}), out)
            if number == self.inside:
                entry["returned"] = self.sources(out)
            return out

        return call

    def operations(self) -> Any:
        """While this context lasts, torch's operations go through `operation`."""
        from torch.overrides import TorchFunctionMode

        recorder = self

        class Mode(TorchFunctionMode):
            def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                out = func(*args, **(kwargs or {}))
                if recorder.busy or not recorder.within():
                    return out
                return recorder.operation(func.__name__, args, kwargs or {}, out)

        return Mode()

    def within(self) -> bool:
        """Is the call that is looked into at work, itself or through a helper function?  Not one of its modules."""
        number = self.stack[-1]
        while number != self.inside and number >= 0 and self.calls[number]["name"].endswith("()"):
            number = self.calls[number]["parent"]
        return number == self.inside

    def operation(self, name: str, args: Any, kwargs: dict[str, Any], out: Any) -> Any:
        """Notes one operation and returns its result."""
        if name == "__iter__":  # rows, one by one
            out = list(out)
        sources = self.sources([args, list(kwargs.values())])
        if name == "scaled_dot_product_attention":
            sources = self.attention(*args, **kwargs)
        changed = args[0] if name in ("__setitem__", "copy_") else out
        self.note(name, sources, changed)
        return iter(out) if name == "__iter__" else out

    def attention(self, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
                  is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> list[int]:  # fmt: skip
        """The steps inside torch's one-call attention, so that scores and weights can be compared.  Returns its sources."""
        import torch

        of_q, of_k, of_v, of_mask = map(self.sources, (query, key, value, attn_mask))
        groups = query.shape[-3] // key.shape[-3] if enable_gqa else 1
        keys = key.detach().repeat_interleave(groups, -3) if groups > 1 else key.detach()
        scores = query.detach() @ keys.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        last = self.note("scores", sorted({*of_q, *of_k}), scores)
        if is_causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
        if attn_mask is not None:
            mask = attn_mask.detach()
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        last = self.note("masked scores", sorted({*last, *of_mask}), scores)
        return [*self.note("weights", last, scores.softmax(-1)), *of_v]

    def note(self, name: str, sources: list[int], out: Any, given: bool = False) -> list[int]:
        """One entry for each tensor in `out`: the operation, the line it stands on, what it was made from, the value."""
        noted = []
        for x in _tensors(out):
            self.ops.append({"name": name, "line": self.line(), "from": sources, "value": self.copy(x), "given": given})
            self.made_by[id(x)] = len(self.ops) - 1
            self.alive.append(x)
            noted.append(len(self.ops) - 1)
        return noted

    def sources(self, x: Any) -> list[int]:
        """The operations that made the tensors in x; weights and constants are nobody's."""
        return sorted({self.made_by[id(t)] for t in _tensors(x) if id(t) in self.made_by})

    def line(self) -> int | None:
        """The line of the lab's file that is being run."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.lab.__file__:
            frame = frame.f_back
        return frame.f_lineno if frame else None

    def copy(self, x: Any) -> Any:
        """A plain value that later changes cannot reach; what is too large, or one too many, by its type and shape."""
        import torch

        if isinstance(x, torch.Tensor):
            self.values, self.elements = self.values + 1, self.elements + x.numel()
            if x.numel() > LARGEST or self.elements > ELEMENTS or self.values > VALUES:
                return values.Opaque(f"tensor {'×'.join(map(str, x.shape))}")
            before, self.busy = self.busy, True
            try:
                x = torch.view_as_real(x.detach()) if x.is_complex() else x.detach()
                return x.clone() if values.dtype(x) in wire.DTYPES else values.Opaque(f"{values.dtype(x)} tensor")
            finally:
                self.busy = before
        if isinstance(x, (list, tuple)):
            return [self.copy(y) for y in x[:100]]
        if isinstance(x, dict):
            return {str(k): self.copy(v) for k, v in list(x.items())[:100]}
        return values.plain(x)


def _tensors(x: Any) -> Iterator[Any]:
    import torch

    if isinstance(x, torch.Tensor):
        yield x
    elif isinstance(x, (list, tuple)):
        for y in x:
            yield from _tensors(y)
    elif isinstance(x, dict):
        yield from _tensors(list(x.values()))


def _version(x: Any) -> int:
    """Rises with every change in place."""
    return 0 if x.is_inference() else int(x._version)


def _bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name, defaults included."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:  # the call itself will say so
        return {**{str(i): a for i, a in enumerate(args)}, **kwargs}
    bound.apply_defaults()
    return dict(bound.arguments)
