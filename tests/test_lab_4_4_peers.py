"""Lab 4.4 against transformers' LlamaForCausalLM and llmcore's MiniGPT, on the same weights; and two claims of its README."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT

LAB = Path(__file__).parents[1] / "phases/phase-04-attention-transformers/lab-04-mini-transformer"

# transformers' names → ours
NAMES = {
    "model.embed_tokens.": "embedding.",
    "model.layers.": "blocks.",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "mlp_norm",
    "self_attn.q_proj": "attention.q",
    "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v",
    "self_attn.o_proj": "attention.out",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "model.norm.": "final_norm.",
    "lm_head.": "head.",
}


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lab_4_4_{name}", LAB / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


lab = module("solution")


def llama(tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=53, hidden_size=48, intermediate_size=70, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-2, tie_word_embeddings=tied,
        initializer_range=0.3, rope_parameters={"rope_type": "default", "rope_theta": 70.0},
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def on_the_lab(peer: LlamaForCausalLM, tied: bool) -> torch.nn.Module:
    state = {}
    for name, tensor in peer.state_dict().items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        state[name] = tensor
    model = lab.MiniGPT(lab.Config(53, 48, 3, 6, 2, 70, rope_theta=70.0, norm_eps=1e-2, tie_embeddings=tied))
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_transformers(tied):
    peer = llama(tied)
    mine = on_the_lab(peer, tied)
    ids = torch.randint(53, (2, 11), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(mine(ids), peer(ids).logits, rtol=1e-4, atol=1e-4)
        positions = torch.tensor([[0, 2, 3, 7, 9, 10, 11, 20, 21, 22, 30]]).expand(2, -1)
        torch.testing.assert_close(mine(ids, positions), peer(ids, position_ids=positions).logits, rtol=1e-4, atol=1e-4)


def test_loss_and_gradients_are_those_of_transformers():
    peer = llama(tied=True)
    mine = on_the_lab(peer, tied=True)
    ids = torch.randint(53, (3, 9), generator=torch.Generator().manual_seed(3))
    loss, theirs = lab.next_token_loss(mine, ids), peer(ids, labels=ids).loss
    torch.testing.assert_close(loss, theirs)
    loss.backward()
    theirs.backward()
    torch.testing.assert_close(mine.embedding.weight.grad, peer.model.embed_tokens.weight.grad, rtol=1e-3, atol=1e-5)
    down = peer.model.layers[0].mlp.down_proj.weight.grad
    torch.testing.assert_close(mine.blocks[0].mlp.down.weight.grad, down, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_count_is_that_of_transformers(tied):
    config = lab.Config(53, 48, 3, 6, 2, 70, tie_embeddings=tied)
    assert lab.n_parameters(config) == sum(p.numel() for p in llama(tied).parameters())


@pytest.mark.parametrize("layout", ["half", "adjacent"])
@pytest.mark.parametrize("pre_norm", [True, False])
def test_llmcore_takes_the_same_weights(layout, pre_norm):
    torch.manual_seed(4)
    mine = lab.MiniGPT(lab.Config(37, 24, 2, 6, 3, 50, 500.0, layout, 1e-3, pre_norm))
    with torch.no_grad():
        for p in mine.parameters():
            p.normal_(std=0.4)
    theirs = MiniGPT(
        Config(
            37, 40, 24, 2, 6, 3, d_ff=50, position="rope", rope_theta=500.0, rope_layout=layout, norm="rmsnorm",
            norm_eps=1e-3, pre_norm=pre_norm, mlp="swiglu",
        )
    )  # fmt: skip
    theirs.load_state_dict(mine.state_dict())
    ids = torch.randint(37, (2, 13))
    with torch.no_grad():
        torch.testing.assert_close(mine(ids), theirs(ids), rtol=1e-4, atol=1e-4)
        assert mine.blocks[1].attention.weights(torch.randn(1, 4, 24), torch.arange(4)[None]).shape == (1, 6, 4, 4)


def test_one_token_twice_at_the_front_looks_the_same():
    """What the README says of a row that begins `a a b`."""
    model = lab.build(lab.Config(29, 32, 2, 4, 2, 40))
    with torch.no_grad():
        logits = model(torch.tensor([[5, 5, 8, 5]]))[0]
    torch.testing.assert_close(logits[0], logits[1])
    assert (logits[0] - logits[3]).abs().max() > 1e-3


def test_a_leak_does_not_show_in_the_first_loss_but_a_missing_shift_does_when_tied():
    ids = torch.randint(256, (4, 40), generator=torch.Generator().manual_seed(5))
    shifted, unshifted = [], []
    for tied in (True, False):
        model = lab.build(lab.Config(256, 64, 2, 4, 2, 168, tie_embeddings=tied))
        with torch.no_grad():
            shifted.append(lab.next_token_loss(model, ids).item())
            unshifted.append(torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).item())
    assert shifted == pytest.approx([5.55, 5.55], abs=0.1)
    assert unshifted[0] < 4.7
    assert unshifted[1] == pytest.approx(5.55, abs=0.1)
