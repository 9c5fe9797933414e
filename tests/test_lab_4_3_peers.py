"""Lab 4.3 against transformers: the same stretchings, layouts, conversion and slopes.  And its experiment: a stopped
training goes on bit for bit, and lengths are compared on the same targets."""

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as gptj
from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as llama

from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT

LAB = Path(__file__).parents[1] / "phases/phase-04-attention-transformers/lab-03-positions"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lab_4_3_{name}", LAB / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


lab, runs = module("solution"), module("positions_train")


def config(head_dim: int, theta: float, context: int, **rope: Any) -> LlamaConfig:
    parameters = {"rope_theta": theta, **rope}
    return LlamaConfig(
        hidden_size=3 * head_dim,
        num_attention_heads=3,
        head_dim=head_dim,
        max_position_embeddings=context,
        rope_parameters=parameters,
    )


SIZES = [
    (16, 10_000.0, 64, 4.0),
    (64, 10_000.0, 2048, 8.0),
    (128, 500_000.0, 8192, 2.5),
    (96, 1_000_000.0, 32_768, 4.0),
]


@pytest.mark.parametrize(("head_dim", "theta", "context", "factor"), SIZES)
def test_stretchings_are_those_of_transformers(head_dim: int, theta: float, context: int, factor: float) -> None:
    linear, one = ROPE_INIT_FUNCTIONS["linear"](
        config(head_dim, theta, context, rope_type="linear", factor=factor), torch.device("cpu")
    )
    torch.testing.assert_close(lab.interpolate(lab.frequencies(head_dim, theta), factor), linear, rtol=1e-5, atol=0)
    assert one == 1.0

    # "dynamic" is the NTK-aware rule whose factor follows the length of the text: with its own factor at 1, a text of
    # `factor` times the context takes exactly theta · factor^(d / (d - 2)).
    dynamic = config(head_dim, theta, context, rope_type="dynamic", factor=1.0)
    ntk, _ = ROPE_INIT_FUNCTIONS["dynamic"](dynamic, torch.device("cpu"), seq_len=int(factor * context))
    torch.testing.assert_close(lab.ntk(head_dim, theta, factor), ntk, rtol=1e-5, atol=0)

    for fast, slow in ((32.0, 1.0), (16.0, 2.0)):
        parameters = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": context}
        stretched = config(head_dim, theta, int(context * factor), **parameters, beta_fast=fast, beta_slow=slow)
        want, strength = ROPE_INIT_FUNCTIONS["yarn"](stretched, torch.device("cpu"))
        turn, mine = lab.yarn(head_dim, theta, factor, context, fast, slow)
        torch.testing.assert_close(turn, want, rtol=1e-5, atol=0)
        assert math.isclose(mine, strength, rel_tol=1e-9)


def draw(head_dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(43)
    q, k = (torch.randn(2, 3, 7, head_dim, generator=rng) for _ in "qk")
    return q, k, torch.randint(0, 200, (2, 7), generator=rng)


def test_halves_are_the_layout_of_llama_in_transformers() -> None:
    q, k, at = draw(32)
    rotary = LlamaRotaryEmbedding(config(32, 700.0, 512, rope_type="default"))
    want = llama(q, k, *rotary(q, at))
    angles = lab.rope_angles(at, lab.frequencies(32, 700.0))
    for x, theirs in zip((q, k), want, strict=True):
        torch.testing.assert_close(lab.rotate_half(x, angles), theirs, rtol=1e-4, atol=1e-4)


def test_neighbours_are_the_layout_of_gptj() -> None:
    q, _, at = draw(32)
    sin, cos = create_sinusoidal_positions(256, 32)[at].chunk(2, dim=-1)
    want = gptj(q.transpose(1, 2), sin, cos).transpose(1, 2)  # theirs takes (B, T, heads, dh)
    angles = lab.rope_angles(at, lab.frequencies(32))
    torch.testing.assert_close(lab.rotate_adjacent(q, angles), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_to_half_is_the_permutation_of_the_conversion_script(bias: bool) -> None:
    """transformers' convert_llama_weights_to_hf has it inside a function; here it is from its description."""
    heads, dh, d = 4, 6, 5
    w = torch.arange(float(heads * dh * d)).reshape(heads * dh, d)
    want = w.view(heads, dh // 2, 2, d).transpose(1, 2).reshape(heads * dh, d)
    w, want = (w[:, 0], want[:, 0]) if bias else (w, want)
    torch.testing.assert_close(lab.to_half(w, heads), want)


@pytest.mark.parametrize("n_heads", [1, 2, 3, 6, 8, 12, 16, 20, 32, 40, 71, 112])
def test_slopes_are_those_of_bloom(n_heads: int) -> None:
    """Bloom's bias of key j is slope · j: a row of scores may be moved by a constant without any effect."""
    theirs = build_alibi_tensor(torch.ones(1, 5), n_heads, torch.float32).reshape(n_heads, 5)
    torch.testing.assert_close(lab.alibi_slopes(n_heads), theirs[:, 1], rtol=1e-5, atol=0)
    bias = lab.alibi_bias(lab.alibi_slopes(n_heads), torch.tensor([4]), torch.arange(5))[:, 0]
    torch.testing.assert_close(bias - bias[:, :1], theirs - theirs[:, :1])


def test_a_model_of_llmcore_runs_on_converted_weights() -> None:
    """Trained in one layout, reordered, run in the other: the same logits; without reordering, others."""
    shape = Config(
        vocab_size=50, context_length=32, d_model=24, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8,
        position="rope", rope_layout="adjacent", qkv_bias=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = MiniGPT(shape).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    other = MiniGPT(replace(shape, rope_layout="half")).eval()
    other.load_state_dict(model.state_dict())
    ids = torch.randint(0, 50, (2, 11), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        want, unconverted = model(ids), other(ids)
    assert (want - unconverted).abs().max() > 0.1
    with torch.no_grad():
        for block in other.blocks:
            attention: Any = block.attention
            for projection, heads in ((attention.q, shape.n_heads), (attention.k, shape.n_kv_heads)):
                projection.weight.copy_(lab.to_half(projection.weight, heads))
                projection.bias.copy_(lab.to_half(projection.bias, heads))
    with torch.inference_mode():
        torch.testing.assert_close(other(ids), want, rtol=1e-4, atol=1e-4)


TINY = runs.Size("tiny", 16, 16, 1, 2, 4, 110, 3e-3, 5, 6)


def text() -> Any:
    rng = torch.Generator().manual_seed(5)
    return runs.Corpus.of("letters", bytes(torch.randint(97, 123, (20_000,), generator=rng).tolist()))


def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, cpu = text(), torch.device("cpu")
    whole = runs.train("rope", TINY, corpus, runs.Store(tmp_path / "a", TINY, corpus), cpu)
    batch, stopped_at = runs.batch, 77

    def interrupted(ids: torch.Tensor, size: Any, step: int) -> torch.Tensor:
        if step == stopped_at:
            raise KeyboardInterrupt
        return batch(ids, size, step)

    monkeypatch.setattr(runs, "batch", interrupted)
    store = runs.Store(tmp_path / "b", TINY, corpus)
    with pytest.raises(KeyboardInterrupt):
        runs.train("rope", TINY, corpus, store, cpu)
    assert store.model("rope")["step"] == 50
    monkeypatch.undo()
    again = runs.train("rope", TINY, corpus, store, cpu)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    other = replace(TINY, lr=1e-3)
    assert runs.Store(tmp_path / "b", other, corpus).model("rope") == {}, "other settings are another training"


def test_every_length_is_measured_on_the_same_targets() -> None:
    """The loss of each window against a model called window by window, on the bytes that end it."""
    corpus = text()
    torch.manual_seed(0)
    model = MiniGPT(runs.config("alibi", TINY)).eval()
    ends = runs.window_ends(corpus.held_out, TINY, 64)
    assert len(ends) == 6
    assert int(ends[0]) >= 64, "the longest window fits in front of the first end"
    assert int(ends[-1]) < len(corpus.held_out)
    assert int(ends.diff().min()) >= 64, "and none overlaps another"
    for context in (8, 64):
        got = runs.loss_at_the_end(model, corpus.held_out, ends, context, TINY.targets)
        for end, loss in zip(ends.tolist(), got.tolist(), strict=True):
            ids = corpus.held_out[end - context : end + 1]
            with torch.inference_mode():
                log_p = model(ids[None, :-1])[0].log_softmax(-1)
            want = -log_p[range(context), ids[1:]][-TINY.targets :].mean()
            assert math.isclose(loss, float(want), rel_tol=1e-4)


def test_a_stretch_ends_with_its_block() -> None:
    model = MiniGPT(runs.config("rope", TINY)).eval()
    ids = torch.randint(256, (1, 12), generator=torch.Generator().manual_seed(2))
    stretch = runs.Stretch(tuple((model.turn / 3).tolist()), 1.25)
    with torch.inference_mode():
        before = model(ids)
        with runs.stretched(model, stretch):
            inside = model(ids)
            assert model.rope_factor == 1.25
        assert torch.equal(model(ids), before)
    assert not torch.allclose(inside, before, atol=1e-6)
