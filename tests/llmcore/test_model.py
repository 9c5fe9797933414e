"""MiniGPT against transformers on the same weights, against formulas, and against itself in pieces."""

import math

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llmcore.cache.contiguous import KVCache
from llmcore.model.attention import PADDING, Attention, may_see
from llmcore.model.config import Config, RopeScaling
from llmcore.model.positions import alibi_slopes, rope_frequencies, rotate, sinusoidal
from llmcore.model.transformer import MiniGPT

V, CONTEXT, D, LAYERS, HEADS, FF = 101, 64, 48, 3, 6, 56
NAMES = {
    "model.layers": "blocks",
    "model.embed_tokens": "embedding",
    "model.norm": "final_norm",
    "lm_head": "head",
    "self_attn.q_proj": "attention.q",
    "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v",
    "self_attn.o_proj": "attention.out",
    "self_attn.q_norm": "attention.q_norm",
    "self_attn.k_norm": "attention.k_norm",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "mlp_norm",
}
BASE = {
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": FF,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-4,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}


def llama(**changes) -> Config:
    rope = {"position": "rope", "rope_theta": 321.0, "n_kv_heads": 2, "d_ff": FF}
    rest = {"norm": "rmsnorm", "norm_eps": 1e-4, "mlp": "swiglu", "tie_embeddings": False}
    return Config(V, CONTEXT, D, LAYERS, HEADS, **{**rope, **rest, **changes})


def shaken(model):
    """Weights that make everything matter: no zero biases, no norms of one, scores far from uniform."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3 + (1.0 if p.ndim == 1 else 0.0))
    return model.eval()


def ids(batch: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, V, (batch, time), generator=torch.Generator().manual_seed(seed))


def renamed(state):
    out = {}
    for name, tensor in state.items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        out[name] = tensor
    return out


def theirs_and_ours(name):
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 321.0}}
    if name == "llama":
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**BASE, **rope, tie_word_embeddings=False))
        config = llama()
    elif name == "qwen2":
        theirs = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**BASE, **rope, tie_word_embeddings=True))
        config = llama(qkv_bias=True, tie_embeddings=True)
    elif name == "qwen3":
        theirs = transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(**BASE, **rope, head_dim=10, tie_word_embeddings=False)
        )
        config = llama(head_dim=10, qk_norm=True)
    else:
        theirs = transformers.MistralForCausalLM(
            transformers.MistralConfig(**BASE, **rope, sliding_window=5, tie_word_embeddings=False)
        )
        config = llama(window=5)
    ours = MiniGPT(config)
    shaken(theirs)
    ours.load_state_dict(renamed(theirs.state_dict()))
    return theirs.eval(), ours.eval()


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mistral"])
def test_logits_are_those_of_transformers(name):
    theirs, ours = theirs_and_ours(name)
    x = ids(2, 17)
    with torch.no_grad():
        want, got = theirs(x).logits, ours(x)
    torch.testing.assert_close(got, want, atol=2e-5 * want.abs().max().item(), rtol=0)


def test_logits_are_those_of_gpt2():
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=V, n_positions=CONTEXT, n_embd=D, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
        )
    )
    shaken(theirs)
    state = {}
    for name, tensor in theirs.state_dict().items():
        name = name.replace("transformer.h.", "blocks.").replace("transformer.wte", "embedding")
        name = name.replace("transformer.wpe", "position_embedding").replace("transformer.ln_f", "final_norm")
        name = name.replace("ln_1", "attention_norm").replace("ln_2", "mlp_norm").replace("lm_head", "head")
        name = name.replace("mlp.c_fc", "mlp.up").replace("mlp.c_proj", "mlp.down")
        if "c_attn" in name or "c_proj" in name or "mlp.up" in name or "mlp.down" in name:
            tensor = tensor.T if tensor.ndim == 2 else tensor  # their Conv1D holds (in, out)
        if "c_attn" in name:
            for part, each in zip("qkv", tensor.chunk(3), strict=True):
                state[name.replace("attn.c_attn", f"attention.{part}")] = each
            continue
        state[name.replace("attn.c_proj", "attention.out")] = tensor
    ours = MiniGPT(Config(V, CONTEXT, D, 2, 4, bias=True))
    ours.load_state_dict(state)
    x = ids(3, 11)
    with torch.no_grad():
        want, got = theirs(x).logits, ours.eval()(x)
    torch.testing.assert_close(got, want, atol=2e-5 * want.abs().max().item(), rtol=0)


CONFIGS = {
    "llama": llama(),
    "adjacent": llama(rope_layout="adjacent", rope_scaling=RopeScaling("yarn", 4.0, 16)),
    "window": llama(window=4),
    "mqa, alibi": llama(n_kv_heads=1, position="alibi"),
    "alibi, window": llama(n_kv_heads=3, position="alibi", window=6),
    "learned": Config(V, CONTEXT, D, 2, 4, bias=True, d_ff=50),
    "sinusoidal, post-norm": Config(V, CONTEXT, D, 2, 4, position="sinusoidal", pre_norm=False),
    "qk-norm, qkv-bias": llama(qk_norm=True, qkv_bias=True, head_dim=14),
}


def cache_of(config: Config, batch: int, capacity: int) -> KVCache:
    return KVCache(config.n_layers, batch, config.n_kv_heads, config.head_dim, capacity)


def close(got, want):
    torch.testing.assert_close(got, want, atol=3e-5 * want.abs().max().item(), rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("chunks", [[1] * 19, [7, 1, 1, 6, 4], [18, 1], [2, 17]])
@torch.no_grad()
def test_a_text_in_pieces_is_the_text(name, chunks):
    config = CONFIGS[name]
    model, x = shaken(MiniGPT(config)), ids(2, 19, seed=5)
    want, cache = model(x), cache_of(config, 2, 23)
    close(torch.cat([model(piece, cache) for piece in x.split(chunks, dim=1)], dim=1), want)
    assert cache.length == 19


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_batch_padded_on_the_left_gives_each_row_what_it_gives_alone(name):
    config = CONFIGS[name]
    model = shaken(MiniGPT(config))
    texts = [ids(1, n, seed=n)[0] for n in (6, 11, 8)]
    alone = [model(text[None])[0] for text in texts]
    rows, positions = [], []
    for text in texts:  # all but the last five tokens at once, on the right of six places
        head, gap = text[:-5], 11 - len(text)
        rows.append(torch.cat([torch.full((gap,), 7), head]))
        positions.append(torch.cat([torch.full((gap,), PADDING), torch.arange(len(head))]))
    cache = cache_of(config, 3, 11)
    first = model(torch.stack(rows), cache, positions=torch.stack(positions))
    for row, (text, want) in enumerate(zip(texts, alone, strict=True)):
        close(first[row, 11 - len(text) :], want[:-5])
    for step in range(-5, 0):  # then one by one, each where its row goes on
        logits = model(torch.stack([text[step] for text in texts])[:, None], cache)
        close(logits[:, 0], torch.stack([want[step] for want in alone]))


@torch.no_grad()
def test_a_refused_draft_leaves_no_trace():
    config = CONFIGS["llama"]
    model, x = shaken(MiniGPT(config)), ids(2, 12)
    cache = cache_of(config, 2, 20)
    model(x[:, :8], cache)
    model(ids(2, 5, seed=9), cache)
    cache.truncate(8)
    close(model(x[:, 8:], cache), model(x)[:, 8:])
    with pytest.raises(ValueError, match="cannot keep 13 tokens of 12"):
        cache.truncate(13)


@torch.no_grad()
def test_rows_of_a_cache_can_change_places():
    config = CONFIGS["adjacent"]
    model, x = shaken(MiniGPT(config)), ids(3, 9)
    cache = model.new_cache(3, 12)
    model(x[:, :6], cache)
    rows = torch.tensor([2, 2, 0])
    cache.select(rows)
    close(model(x[rows, 6:], cache), model(x)[rows, 6:])


@torch.no_grad()
def test_a_row_does_not_depend_on_its_neighbours():
    model, x = shaken(MiniGPT(CONFIGS["mqa, alibi"])), ids(4, 9)
    close(model(x)[2:3], model(x[2:3]))


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_no_logit_depends_on_what_comes_after(name):
    model, x = shaken(MiniGPT(CONFIGS[name])), ids(1, 10)
    changed = x.clone()
    changed[0, 6] = (x[0, 6] + 1) % V
    a, b = model(x), model(changed)
    close(a[:, :6], b[:, :6])
    assert (a[:, 6] - b[:, 6]).abs().max() > 1e-2


@torch.no_grad()
def test_attention_weights_are_a_distribution_over_what_may_be_seen_and_mix_to_the_same_logits():
    config = CONFIGS["alibi, window"]
    model, x = shaken(MiniGPT(config)), ids(2, 13)
    weights = model.attention_weights(x)
    assert weights.shape == (LAYERS, 2, HEADS, 13, 13)
    close(weights.sum(-1), torch.ones(LAYERS, 2, HEADS, 13))
    far = torch.arange(13)[:, None] - torch.arange(13)
    assert not weights[..., (far < 0) | (far >= 6)].any()
    assert (weights[..., (far >= 0) & (far < 6)] > 0).all()
    explained, _ = model._run(x, None, None, explain=True)
    close(model.head(explained), model(x))


@torch.no_grad()
def test_attention_is_the_definition_in_loops():
    config = llama(n_kv_heads=3, position="alibi", window=4, qkv_bias=True)
    layer, x = shaken(Attention(config)), torch.randn(1, 9, D, generator=torch.Generator().manual_seed(1))
    got, _ = layer(x, torch.arange(9)[None], None)
    x64 = x[0].double()
    q, k, v = (x64 @ m.weight.double().T + m.bias.double() for m in (layer.q, layer.k, layer.v))
    heads = []
    for h in range(HEADS):
        mine, theirs = slice(8 * h, 8 * h + 8), slice(8 * (h // 2), 8 * (h // 2) + 8)
        slope = alibi_slopes(HEADS)[h].item()
        rows = []
        for t in range(9):
            seen = [s for s in range(9) if t - 4 < s <= t]
            scores = [(q[t, mine] @ k[s, theirs]).item() / math.sqrt(8) - slope * (t - s) for s in seen]
            top = max(scores)
            w = [math.exp(s - top) for s in scores]
            rows.append(sum(a * v[s, theirs] for a, s in zip(w, seen, strict=True)) / sum(w))
        heads.append(torch.stack(rows))
    want = torch.cat(heads, dim=1) @ layer.out.weight.double().T
    close(got[0].double(), want)


def test_who_may_see_whom():
    q, k = torch.tensor([[2, PADDING]]), torch.tensor([[PADDING, 0, 1, 2, 3]])
    assert may_see(q, k)[0, 0, 0].tolist() == [False, True, True, True, False]
    assert may_see(q, k, window=2)[0, 0, 0].tolist() == [False, False, True, True, False]
    assert may_see(q, k)[0, 0, 1].all()


# positions


@pytest.mark.parametrize("d", [6, 9])
def test_sinusoidal_is_the_formula(d):
    got = sinusoidal(torch.tensor([[0, 3, 250]]), d, theta=77.0)
    want = [
        [(math.sin if i % 2 == 0 else math.cos)(p / 77.0 ** ((i - i % 2) / d)) for i in range(d)] for p in (0, 3, 250)
    ]
    torch.testing.assert_close(got[0], torch.tensor(want), atol=2e-5, rtol=0)


@pytest.mark.parametrize("layout", ["half", "adjacent"])
def test_rope_scores_depend_on_the_distance_alone(layout):
    g = torch.Generator().manual_seed(2)
    q, k = torch.randn(2, 1, 1, 1, 10, generator=g)
    turn, _ = rope_frequencies(10, 50.0)

    def score(at_q, at_k):
        cos_sin = [((p * turn)[None, None].cos(), (p * turn)[None, None].sin()) for p in (at_q, at_k)]
        return (rotate(q, *cos_sin[0], layout) * rotate(k, *cos_sin[1], layout)).sum()

    torch.testing.assert_close(score(9, 4), score(25, 20))
    assert abs(score(9, 4) - score(9, 5)) > 1e-3
    torch.testing.assert_close(score(6, 6), (q * k).sum())


def test_the_two_layouts_are_one_rotation_in_another_order():
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(4))
    angle = torch.arange(5.0)[:, None] * rope_frequencies(8, 99.0)[0]
    half_of_adjacent = [0, 2, 4, 6, 1, 3, 5, 7]
    a = rotate(x, angle.cos()[None], angle.sin()[None], "adjacent")
    b = rotate(x[..., half_of_adjacent], angle.cos()[None], angle.sin()[None], "half")
    torch.testing.assert_close(a[..., half_of_adjacent], b)
    pair = torch.view_as_complex(x.reshape(2, 3, 5, 4, 2)) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(a, torch.view_as_real(pair).flatten(-2))


@pytest.mark.parametrize(
    ("scaling", "parameters"),
    [
        (None, {"rope_type": "default"}),
        (RopeScaling("linear", 3.0), {"rope_type": "linear", "factor": 3.0}),
        (RopeScaling("yarn", 4.0, 512), {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}),
        (
            RopeScaling("yarn", 8.0, 4096, beta_fast=20.0, beta_slow=2.0),
            {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 4096, "beta_fast": 20.0,
             "beta_slow": 2.0},
        ),
        (
            RopeScaling("llama3", 8.0, 1024, low_freq_factor=1.5, high_freq_factor=5.0),
            {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 1024, "low_freq_factor": 1.5,
             "high_freq_factor": 5.0},
        ),
    ],
)  # fmt: skip
def test_rope_frequencies_are_those_of_transformers(scaling, parameters):
    config = transformers.LlamaConfig(
        hidden_size=64 * 2,
        num_attention_heads=2,
        max_position_embeddings=8192,
        rope_parameters={"rope_theta": 5000.0, **parameters},
    )
    name = parameters["rope_type"]
    got, factor = rope_frequencies(64, 5000.0, scaling)
    if name == "default":
        want, want_factor = 5000.0 ** (-torch.arange(0, 64, 2) / 64), 1.0
    else:
        want, want_factor = ROPE_INIT_FUNCTIONS[name](config, "cpu")
    torch.testing.assert_close(got, want)
    assert factor == pytest.approx(want_factor)


def test_ntk_keeps_the_fastest_pair_and_divides_the_slowest_by_the_factor():
    plain, stretched = rope_frequencies(32, 700.0)[0], rope_frequencies(32, 700.0, RopeScaling("ntk", 5.0))[0]
    assert stretched[0] == plain[0]
    torch.testing.assert_close(stretched[-1], plain[-1] / 5.0)
    assert (stretched[1:] < plain[1:]).all()


@pytest.mark.parametrize(
    ("n", "want"),
    [(4, [1 / 4, 1 / 16, 1 / 64, 1 / 256]), (3, [1 / 16, 1 / 256, 1 / 4]), (1, [1 / 256])],
)
def test_alibi_slopes(n, want):
    assert alibi_slopes(n).tolist() == want


# sizes


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_parameters_flops_and_cache_bytes_are_the_formulas(name):
    config = CONFIGS[name]
    model = MiniGPT(config)
    assert sum(p.numel() for p in model.parameters()) == config.n_parameters
    cache = cache_of(config, 2, 31)
    assert cache.bytes == 2 * 31 * config.kv_bytes_per_token(4)
    x, counter = ids(1, 8), FlopCounterMode(display=False)
    with counter:
        model.attention_weights(x)  # the explicit maths: every product is counted, hidden scores too
    head = 2 * 8 * V * D
    scores = config.n_layers * 4 * config.n_heads * config.head_dim * 8  # of all 8 keys, whatever the window
    assert counter.get_total_flops() == 8 * (config.flops_per_token(0) + scores) - head


def test_published_models_have_their_published_sizes():
    assert Config(50_257, 1024, 1600, 48, 25, bias=True).n_parameters == 1_557_611_200  # GPT-2 XL
    smollm = Config(49_152, 2048, 576, 30, 9, n_kv_heads=3, d_ff=1536, position="rope", norm="rmsnorm", mlp="swiglu")
    assert smollm.n_parameters == 134_515_008
    llama3 = Config(
        128_256, 8192, 4096, 32, 32, n_kv_heads=8, d_ff=14_336, position="rope", norm="rmsnorm", mlp="swiglu",
        tie_embeddings=False,
    )  # fmt: skip
    assert llama3.n_parameters == 8_030_261_248
    assert 8192 * llama3.kv_bytes_per_token() == 2**30  # 1 GiB of bf16 for a full context


def test_a_window_bounds_the_flops():
    config = llama(window=10)
    assert config.flops_per_token(10) == config.flops_per_token(5000) > config.flops_per_token(3)


# training


def test_an_untrained_model_pays_ln_v_and_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model = MiniGPT(Config(V, CONTEXT, 32, 2, 4))
    x, y = ids(4, 12), ids(4, 12, seed=8)
    assert model.loss(x, y).item() == pytest.approx(math.log(V), abs=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        loss = model.loss(x, y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3


def test_targets_of_minus_100_do_not_count():
    model, x, y = shaken(MiniGPT(CONFIGS["learned"])), ids(2, 6), ids(2, 6, seed=1)
    y[0, 2:] = -100
    logits = model(x)
    kept = torch.cat([logits[0, :2], logits[1]])
    want = torch.nn.functional.cross_entropy(kept, torch.cat([y[0, :2], y[1]]))
    torch.testing.assert_close(model.loss(x, y), want)


def test_dropout_acts_in_training_alone():
    model, x = shaken(MiniGPT(Config(V, CONTEXT, D, 2, 4, dropout=0.5))), ids(1, 7)
    torch.testing.assert_close(model(x), model(x))
    model.train()
    assert not torch.allclose(model(x), model(x))


@torch.no_grad()
def test_last_only_is_the_last():
    model, x = shaken(MiniGPT(CONFIGS["llama"])), ids(2, 9)
    torch.testing.assert_close(model(x, last_only=True), model(x)[:, -1:], atol=1e-4, rtol=1e-5)


# errors


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="6 query heads cannot share 4"):
        llama(n_kv_heads=4)
    with pytest.raises(ValueError, match="head_dim=7 is odd"):
        llama(head_dim=7)
    model = MiniGPT(CONFIGS["learned"])
    with pytest.raises(ValueError, match="position 64 is beyond the 64"):
        model(ids(1, 65))
    with pytest.raises(ValueError, match="position 70 is beyond"):
        model(ids(1, 2), positions=torch.tensor([[3, 70]]))
    cache = cache_of(CONFIGS["learned"], 1, 5)
    model(ids(1, 4), cache)
    with pytest.raises(ValueError, match="holds 5 tokens, and 6 are needed"):
        model(ids(1, 2), cache)
