"""AdamW's groups by name, its steps against the paper's algorithm in float64, fused and not."""

import numpy as np
import pytest
import torch
from torch import nn

from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.training import optimizer
from llmcore.training.optimizer import adamw, groups

MODELS = {
    "gpt2, tied": {"bias": True},
    "gpt2, untied": {"bias": True, "tie_embeddings": False},
    "llama": {"position": "rope", "norm": "rmsnorm", "mlp": "swiglu", "n_kv_heads": 2},
    "qwen": {"position": "rope", "norm": "rmsnorm", "mlp": "swiglu", "qkv_bias": True, "qk_norm": True},
    "after the sum": {"pre_norm": False, "position": "sinusoidal"},
}


def gpt(**changes):
    torch.manual_seed(3)
    return MiniGPT(Config(31, 10, 24, 2, 4, **changes))


@pytest.mark.parametrize("name", MODELS)
def test_matrices_and_embeddings_decay_gains_and_biases_do_not(name):
    model = gpt(**MODELS[name])
    names = {id(p): path for path, p in model.named_parameters()}
    decayed, kept = ([names[id(p)] for p in group] for group in groups(model))
    assert sorted(decayed + kept) == sorted(names.values())  # each once, a tied weight too
    assert all(path.endswith("weight") and "norm" not in path for path in decayed)
    assert all(path.endswith("bias") or "norm" in path for path in kept)
    assert ("head.weight" in decayed) == ("untied" in name)
    sizes = [sum(p.numel() for p in group) for group in groups(model)]
    assert sum(sizes) == model.config.n_parameters
    built = adamw(model, lr=2e-3, weight_decay=0.3, betas=(0.8, 0.7)).param_groups
    assert [group["weight_decay"] for group in built] == [0.3, 0.0]
    assert [sum(p.numel() for p in group["params"]) for group in built] == sizes
    assert {(group["lr"], group["betas"], group["eps"]) for group in built} == {(2e-3, (0.8, 0.7), 1e-8)}


def test_what_is_frozen_is_left_out_and_an_empty_group_too():
    model = gpt(bias=True)
    wanted = list(model.blocks[1].parameters())
    model.requires_grad_(False)
    model.blocks[1].requires_grad_(True)
    found = [p for group in adamw(model, 1e-3).param_groups for p in group["params"]]
    assert {id(p) for p in found} == {id(p) for p in wanted}
    assert len(found) == len(wanted)
    model.requires_grad_(False)
    model.blocks[0].attention_norm.requires_grad_(True)
    assert [group["weight_decay"] for group in adamw(model, 1e-3, weight_decay=0.2).param_groups] == [0.0]
    assert [g["weight_decay"] for g in adamw(nn.Linear(2, 3, bias=False), 1e-3, weight_decay=0.2).param_groups] == [0.2]
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter of this model wants a gradient"):
        adamw(model, 1e-3)


class Layer(nn.Module):
    """A matrix, a stack of matrices, a gain, a bias and a scalar."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(5)
        for name, shape in {"w": (3, 5), "stack": (2, 3, 4), "gain": (5,), "bias": (3,), "scalar": ()}.items():
            values = torch.from_numpy(np.asarray(rng.normal(size=shape), dtype=np.float32))
            setattr(self, name, nn.Parameter(values))


def by_hand(p, gradients, rates, decay, betas):
    """Loshchilov & Hutter 2019, algorithm 2, in float64 (their η·λ is the product here, as in torch)."""
    p, m, v = p.astype(np.float64), 0.0, 0.0
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        g = g.astype(np.float64)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        unbiased = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        p = p - rate * (unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8) + decay * p)
    return p


@pytest.mark.parametrize("fused", [True, False])
def test_steps_are_the_papers_fused_and_not(fused, monkeypatch):
    torchs = torch.optim.AdamW
    tried = []

    def without(*args, fused=None, **rest):
        tried.append(fused)
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be floating point Tensors of ...")
        return torchs(*args, **rest)

    if not fused:
        monkeypatch.setattr(optimizer.torch.optim, "AdamW", without)
    layer, betas = Layer(), (0.7, 0.6)
    before = {name: p.detach().numpy().copy() for name, p in layer.named_parameters()}
    mine = adamw(layer, lr=1e-2, weight_decay=0.5, betas=betas)
    assert mine.param_groups[0].get("fused") is (True if fused else None)
    assert tried == ([] if fused else [True, None])
    rng = np.random.default_rng(6)
    rates = [0.01, 0.3, 0.002, 0.1, 0.05]
    gradients = {n: [rng.normal(size=p.shape).astype(np.float32) * 3 for _ in rates] for n, p in before.items()}
    for step, rate in enumerate(rates):
        for group in mine.param_groups:
            group["lr"] = rate
        for name, p in layer.named_parameters():
            p.grad = torch.from_numpy(np.asarray(gradients[name][step]))
        mine.step()
    for name, p in layer.named_parameters():
        wanted = by_hand(before[name], gradients[name], rates, 0.5 if p.dim() > 1 else 0.0, betas)
        np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=2e-5, atol=2e-6, err_msg=name)


def test_without_a_gradient_signal_matrices_shrink_and_the_rest_stays_as_it_is():
    layer = Layer()
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    mine = adamw(layer, lr=0.1, weight_decay=0.5)
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    mine.step()
    for name, p in layer.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if p.dim() > 1 else 1.0), atol=0, rtol=1e-6)
    assert torch.equal(layer.gain, before["gain"])
