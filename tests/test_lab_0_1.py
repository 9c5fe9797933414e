"""The tour of lab 0.1, on a tiny model: what it counts and finds, and what it says when something is missing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from labkit import catalog, scaffold
from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.tokenizers.bpe import BPE

ROOT = Path(__file__).resolve().parent.parent
LAB = catalog.find(ROOT, "0.1")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lab_0_1_{name}", LAB.file(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


tour, solution = load("model_tour"), load("solution")


@pytest.fixture
def machine() -> object:
    torch.manual_seed(0)
    special = {"<|im_start|>": 256, "<|im_end|>": 257}
    found = tour.Machine("tiny")
    config = Config(258, context_length=400, d_model=24, n_layers=2, n_heads=3, tie_embeddings=False)
    found.model = MiniGPT(config).eval().requires_grad_(False)
    found.tokenizer = BPE({i: bytes([i]) for i in range(256)}, [], "gpt2", special)
    return found


def test_after_the_last_time():
    """At the second a, what followed the first: b.  The very next token counts too, if it comes again after itself."""
    found = tour.after_the_last_time([5, 7, 9, 5, 7])
    assert found.nonzero().tolist() == [[3, 1], [4, 2]]
    assert tour.after_the_last_time([5, 5, 5]).nonzero().tolist() == [[2, 1]]  # not itself: that is no "after"
    assert not tour.after_the_last_time([1, 2, 3]).any()


def test_visible_pieces():
    assert tour.visible(b" a\n\t") == "·a⏎→"
    assert tour.visible("é".encode()[:1]) == "\\xc3"


@pytest.mark.parametrize("name", list(tour.STEPS))
def test_each_step_runs_on_any_model(name, machine, tmp_path, capsys):
    tour.STEPS[name].show(solution, machine, "a cat, a cat", tmp_path)
    assert capsys.readouterr().out


def test_the_cache_step_counts_what_is_fed(machine, tmp_path, capsys):
    tour.show_cache(solution, machine, "seven b", tmp_path, n=5)
    out = capsys.readouterr().out
    assert "the same tokens: 5 new ones after a prompt of 7" in out
    assert f"{5 * 7 + 10} tokens fed" in out
    assert f"{7 + 4} tokens fed" in out
    assert (tmp_path / "cache.png").stat().st_size > 1000


def test_the_heads_that_are_named_are_those_that_do_it(machine, tmp_path, capsys):
    """A head whose keys say nothing but their position: layer 1, head 2 looks at the first token, all others anywhere."""

    def weights(ids):
        T = ids.shape[1]
        maps = torch.full((2, 1, 3, T, T), 1.0).tril()
        maps = maps / maps.sum(-1, keepdim=True)
        maps[1, 0, 2] = torch.eye(T)[0]  # every row: all on the first
        maps[0, 0, 1, 1:] = torch.eye(T)[:-1]  # every row but the first: all on the one before
        return maps

    machine.model.attention_weights = weights
    tour.show_attention(solution, machine, "abcabc", tmp_path)
    out = capsys.readouterr().out
    assert "the first token:          layer 1, head 2: 100%" in out
    assert "the token before:         layer 0, head 1: 100%" in out
    assert "1 of 6 heads give more than half of it to the first token" in out


def test_a_text_of_the_wrong_size_is_one_sentence(machine):
    with pytest.raises(ValueError, match=r"'' is 0 tokens; this step takes 2 to 60"):
        machine.ids("", 2, 60)
    with pytest.raises(ValueError, match="is 61 tokens"):
        machine.ids("a" * 61, 2, 60)


def run(file: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LLM_ASSETS": str(tmp_path / "none"), "PYTHONPATH": str(LAB.folder)}
    command = [sys.executable, str(file), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=60
    )


def test_a_model_that_was_not_fetched_is_one_line(tmp_path):
    done = run(LAB.file("solution.py"), tmp_path, "next")
    assert done.returncode == 1
    assert done.stderr.startswith("error: smollm2 (SmolLM2-135M-Instruct")
    assert "fetch smollm2" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unwritten_function_is_named_before_anything_is_loaded(tmp_path):
    """The model is not there, and that is not what it complains about."""
    file = tmp_path / "lab.py"
    file.write_text(scaffold.generate(LAB), "utf-8")
    done = run(file, tmp_path, "surprise")
    assert done.returncode == 1
    assert done.stderr == "`surprise` is not written yet.  A hint: lab hint 0.1 surprise\n"
