"""Packed layers against the plain ones they were made from."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmcore.model import packed
from llmcore.model.config import Config
from llmcore.model.packed import PackedLinear, pack
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.settings import Sampling
from llmcore.sampling.strategies import generate


@pytest.fixture(params=["with oneDNN", "without"])
def onednn(request, monkeypatch):
    """Both with torch's private operations and as if this torch had none."""
    if request.param == "without":
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    return request.param == "with oneDNN"


def gpt(seed=0, **changes):
    torch.manual_seed(seed)
    rest = {"n_kv_heads": 2, "position": "rope", "norm": "rmsnorm", "mlp": "swiglu", "d_ff": 52}
    model = MiniGPT(Config(101, 40, 24, 2, 4, **{**rest, **changes}))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3 + (1.0 if p.ndim == 1 else 0.0))
    return model.eval()


def wanted(x, linear):
    """In float64: what float32 rounds differently in one way or another."""
    bias = None if linear.bias is None else linear.bias.double()
    return F.linear(x.double(), linear.weight.double(), bias).float()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n_in", "n_out"), [(37, 53), (53, 37), (64, 64), (1, 5), (5, 1), (512, 1376)])
def test_a_packed_layer_is_the_layer(n_in, n_out, bias, onednn):
    torch.manual_seed(n_in + n_out)
    linear = nn.Linear(n_in, n_out, bias=bias)
    layer = PackedLinear(linear)
    assert (layer.blocks is not None) == onednn
    for shape in [(n_in,), (1, n_in), (1, 1, n_in), (2, n_in), (3, 1, n_in), (2, 3, n_in), (2, 0, n_in), (200, n_in)]:
        x = torch.randn(shape) * 3
        got = layer(x)
        assert got.shape == (*shape[:-1], n_out)
        torch.testing.assert_close(got, wanted(x, linear), atol=3e-5, rtol=1e-5)
    x = torch.randn(n_in, 7).t()  # not contiguous
    torch.testing.assert_close(layer(x), wanted(x, linear), atol=3e-5, rtol=1e-5)


def test_one_row_runs_along_the_longer_axis_and_more_rows_take_the_blocks(monkeypatch):
    calls = []
    monkeypatch.setattr(packed.F, "linear", lambda x, weight, bias: calls.append(weight.stride()))
    wide, tall = PackedLinear(nn.Linear(3, 8)), PackedLinear(nn.Linear(8, 3))
    for layer in (wide, tall):
        layer(torch.ones(1, layer.weight.shape[1]))
        assert layer(torch.ones(2, layer.weight.shape[1])).shape == (2, layer.weight.shape[0])
    assert calls == [(1, 8), (8, 1)]


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_embeddings": False, "qkv_bias": True}, {"mlp": "gelu", "norm": "layernorm", "bias": True}],
    ids=["tied", "untied", "gpt2"],
)
def test_a_packed_model_gives_the_same_logits_and_the_same_tokens(changes, onednn):
    plain, model = gpt(**changes), gpt(**changes)
    ids = torch.randint(0, 101, (3, 11), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = plain(ids)
        assert pack(model) is model
        got = model(ids)
    torch.testing.assert_close(got, want, atol=2e-5 * want.abs().max().item(), rtol=0)
    settings = [Sampling(temperature=0.0), Sampling(seed=3), Sampling(top_k=5, seed=8)]
    for prompts in ([[5, 1, 4], [7], [2, 2]], [[9, 3]]):
        rows = settings[: len(prompts)]
        mine, theirs = (list(generate(m, prompts, rows, max_new_tokens=9)) for m in (model, plain))
        assert [[t.id for t in step] for step in mine] == [[t.id for t in step] for step in theirs]


@pytest.mark.parametrize("tied", [True, False])
def test_its_state_dict_is_the_plain_models(tied, onednn):
    plain, model = gpt(tie_embeddings=tied), pack(gpt(tie_embeddings=tied))
    state = model.state_dict()
    assert state.keys() == plain.state_dict().keys()
    assert all(tensor.equal(state[name]) for name, tensor in plain.state_dict().items())
    other = gpt(seed=1, tie_embeddings=tied)
    other.load_state_dict(state)
    assert other(torch.tensor([[3, 1]])).equal(plain(torch.tensor([[3, 1]])))
    with pytest.raises(RuntimeError, match="takes no other weights"):
        model.load_state_dict(gpt(seed=1).state_dict())


def test_the_plain_layers_are_gone():
    model = pack(gpt())
    assert not [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert len([m for m in model.modules() if isinstance(m, PackedLinear)]) == 2 * 7 + 1
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in model.modules())


def test_training_is_refused(onednn):
    model, ids = pack(gpt()), torch.tensor([[3, 1, 4]])
    model.train()
    with pytest.raises(RuntimeError, match="a packed model only answers"):
        model(ids)
    model.eval().requires_grad_(True)
    with pytest.raises(RuntimeError, match="a packed model only answers"):
        model.loss(ids, ids)
    with torch.no_grad():
        assert model(ids).isfinite().all()  # asking is fine


def test_what_cannot_be_packed_or_changed_is_refused(onednn):
    model = pack(gpt())
    with pytest.raises(ValueError, match="no nn.Linear in this model"):
        pack(model)
    with pytest.raises(ValueError, match="this one is on meta"):
        pack(nn.Sequential(nn.Linear(3, 4, device="meta")))
    for change in (model.double, model.half, lambda: model.to("meta")):
        with pytest.raises(RuntimeError, match="keeps its dtype and device"):
            change()
    layer = PackedLinear(nn.Linear(3, 4))
    assert layer.to("cpu", torch.float32) is layer


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_takes_the_blocks_where_the_cpu_multiplies_it(supported, monkeypatch):
    asked = []

    def linear(x, blocks, bias, *rest):
        asked.append(x.shape)
        return F.linear(x, blocks, bias)

    stub = SimpleNamespace(
        _is_mkldnn_bf16_supported=lambda: supported,
        _reorder_linear_weight=lambda weight: weight,
        _linear_pointwise=linear,
    )
    monkeypatch.setattr(torch.ops, "mkldnn", stub)
    layer = PackedLinear(nn.Linear(24, 40).bfloat16())
    for rows in (1, 3):
        x = torch.randn(rows, 24).bfloat16()
        want = F.linear(x.float(), layer.weight.float(), layer.bias.float())
        torch.testing.assert_close(layer(x).float(), want, atol=0.05, rtol=0.02)
        assert layer(x).dtype == torch.bfloat16
    assert len(asked) == (4 if supported else 0)
    PackedLinear(nn.Linear(24, 40).double())(torch.randn(2, 24).double())
    assert len(asked) == (4 if supported else 0)


def test_bfloat16_on_this_cpu():
    model, plain = pack(gpt().bfloat16()), gpt()
    ids = torch.tensor([[5, 1, 4, 9]])
    with torch.no_grad():
        got, want = model(ids), plain(ids)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), want, atol=0.05 * want.abs().max().item(), rtol=0)
