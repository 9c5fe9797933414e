"""What `lab trace` runs beside a lab: builds its model, gives it weights, runs it, and tells what happened.

    record(lab, text of the lab's trace.py, weights, names)              # every call, with inputs and outputs
    record(lab, text of the lab's trace.py, weights, names, inside=7)    # and torch's operations in call number 7 itself

Does not: judge.  labkit.trace compares two such records, in another process.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

from labkit.trace_recorder import Recorder

SEED = 20170612  # of the weights and of the inputs: any will do
SECONDS = 8  # for the whole forward pass; less than the judge waits for an answer (remote.CALL)


class TooSlow(BaseException):
    """Not an Exception, so that a lab's `except Exception` does not hide it."""


raised: BaseException | None = None  # what ended the last `record` before its time


def record(
    lab: ModuleType,
    source: str,
    weights: dict[str, Any] | None = None,
    names: list[str] | None = None,
    inside: int | None = None,
) -> dict[str, Any]:
    """Builds the model, runs it, and returns what was seen.  Without weights (the reference): random ones, which it tells.

    An exception of the lab's ends the record but is not lost: `lab.probe(again)` raises it.
    """
    import torch

    global raised
    raised = None
    seen: dict[str, Any] = {"calls": [], "ops": [], "stage": "model", "result": None, "raised": False}
    recorder = Recorder(lab, seen, inside)
    try:
        with _deadline(SECONDS):
            given: dict[str, Any] = {"__name__": "trace"}
            exec(compile(source, "trace.py", "exec"), given)
            torch.manual_seed(SEED)
            model = given["model"](lab).eval()
            seen |= _tell_weights(model) if weights is None else _take_weights(model, weights)
            if seen.get("unlike"):
                return seen
            seen["stage"], seen["names"] = "run", recorder.wrap(model, names)
            torch.manual_seed(SEED)
            with recorder.operations():
                result = given["run"](lab, model)
            seen["result"] = recorder.copy(result)
    except BaseException as e:
        raised, seen["raised"] = e, True
    return seen


def again(lab: ModuleType) -> None:
    """Raises what ended the last record, for the judge to read."""
    if raised is not None:
        raise raised


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer"):  # Windows: there the judge's own limit holds
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"no end after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _tell_weights(model: Any) -> dict[str, Any]:
    """Random weights of about the size that keeps activations near 1: a fresh model's ones and zeros hide mistakes."""
    import torch

    with torch.no_grad():
        for p in model.parameters():
            p.normal_(1.0, 0.3) if p.ndim < 2 else p.normal_(0.0, p.shape[-1] ** -0.5)
    return {"weights": dict(model.state_dict()), "tied": _tied(model)}


def _take_weights(model: Any, weights: dict[str, Any]) -> dict[str, Any]:
    import torch

    own = model.state_dict()
    unlike = [[n, list(w.shape), list(own[n].shape) if n in own else None] for n, w in weights.items()
              if n not in own or own[n].shape != w.shape]  # fmt: skip
    if not unlike:
        with torch.no_grad():
            for name, w in weights.items():
                own[name].copy_(w)
    return {"unlike": unlike, "extra": [n for n in own if n not in weights], "tied": _tied(model)}


def _tied(model: Any) -> list[list[str]]:
    """Names that are one tensor."""
    groups: dict[int, list[str]] = {}
    for name, p in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(p), []).append(name)
    return [g for g in groups.values() if len(g) > 1]
