"""Trick: the forbidden library is asked under its own name, by a second import system, and through its files."""

import contextlib
import importlib
import importlib.machinery
import sys
from pathlib import Path

import torch

import labkit

SOLVES = ["causal_mask"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


with contextlib.suppress(BaseException):
    sys.meta_path[:] = [importlib.machinery.PathFinder]
    sys.path_importer_cache.clear()
    sys.path.insert(0, str(Path(labkit.__file__).parent.parent))
    print("GOT IT:", importlib.import_module("llm" + "core.model.attention"))
for path in Path(labkit.__file__).parent.parent.glob("llmcore/model/*.py"):
    with contextlib.suppress(BaseException):
        print("GOT IT:", path, len(path.read_text()))
