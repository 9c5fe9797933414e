"""What the docstrings of llmcore show is what happens."""

import doctest
import importlib
import pkgutil

import pytest

import llmcore
from llmcore import assets

MODULES = [m.name for m in pkgutil.walk_packages(llmcore.__path__, "llmcore.") if not m.name.endswith("__main__")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assets.fetch("gpt2")
    module = importlib.import_module(name)
    assert doctest.testmod(module, verbose=False).failed == 0
