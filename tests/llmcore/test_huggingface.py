"""Folders that transformers wrote, folders that transformers reads, and what is refused in between."""

import json
import math
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llmcore.model import pretrained
from llmcore.model.config import Config, RopeScaling
from llmcore.model.huggingface_config import config_of, rope_of
from llmcore.model.positions import rope_frequencies
from llmcore.model.transformer import MiniGPT

V = 83
NONE = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
SIZES = {
    "vocab_size": V,
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 90,
    "rms_norm_eps": 1e-4,
    **NONE,
}
PLAIN = {"rope_parameters": {"rope_type": "default", "rope_theta": 543.0}}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 800.0, "factor": 4.0, "original_max_position_embeddings": 24,
    "low_freq_factor": 1.0, "high_freq_factor": 3.0,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 300.0, "factor": 3.0, "original_max_position_embeddings": 30}

# name → (class of transformers, fields)
MODELS = {
    "gpt2": ("GPT2", {"vocab_size": V, "n_positions": 90, "n_embd": 48, "n_layer": 2, "n_head": 3, "n_inner": 100, **NONE}),
    "gpt2, own head": (
        "GPT2",
        {"vocab_size": V, "n_positions": 90, "n_embd": 48, "n_layer": 2, "n_head": 3, "tie_word_embeddings": False,
         "layer_norm_epsilon": 1e-3, **NONE},
    ),
    "llama": ("Llama", {**SIZES, **PLAIN}),
    "smollm": ("Llama", {**SIZES, **PLAIN, "tie_word_embeddings": True}),
    "llama, biases": ("Llama", {**SIZES, **PLAIN, "attention_bias": True, "mlp_bias": True, "head_dim": 10}),
    "llama 3.1": ("Llama", {**SIZES, "rope_parameters": LLAMA3}),
    "llama, linear": ("Llama", {**SIZES, "rope_parameters": {"rope_type": "linear", "rope_theta": 99.0, "factor": 2.5}}),
    "mistral": ("Mistral", {**SIZES, **PLAIN, "sliding_window": 7}),
    "mistral 0.2": ("Mistral", {**SIZES, **PLAIN, "sliding_window": None, "head_dim": 12}),
    "qwen2": ("Qwen2", {**SIZES, **PLAIN, "tie_word_embeddings": True}),
    "qwen2, window": (
        "Qwen2",
        {**SIZES, **PLAIN, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0},
    ),
    "qwen2, no window yet": (
        "Qwen2",
        {**SIZES, **PLAIN, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 3},
    ),
    "qwen2, yarn": ("Qwen2", {**SIZES, "rope_parameters": YARN}),
    "qwen3": ("Qwen3", {**SIZES, **PLAIN, "head_dim": 14}),
}  # fmt: skip


def shaken(model, seed=3):
    """Weights that make everything matter: no zero biases, no norms of one, scores far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.25 + (1.0 if p.ndim == 1 else 0.0))
    return model.eval()


def written(folder, name, dtype=torch.float32, **how):
    kind, fields = MODELS[name]
    config = getattr(transformers, f"{kind}Config")(**fields)
    theirs = shaken(getattr(transformers, f"{kind}{'LMHeadModel' if kind == 'GPT2' else 'ForCausalLM'}")(config)).to(
        dtype
    )
    theirs.save_pretrained(folder, **how)
    return theirs


def ids(batch, time, seed=0):
    return torch.randint(0, V, (batch, time), generator=torch.Generator().manual_seed(seed))


def assert_same(got, want, share=2e-5):
    torch.testing.assert_close(got, want, atol=share * want.abs().max().item(), rtol=0)


def edited(folder, **changes):
    """config.json with other fields; None takes one out."""
    file = folder / "config.json"
    fields = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_logits_are_those_of_transformers_whole_and_in_pieces(tmp_path, name):
    theirs = written(tmp_path, name, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours = pretrained.load(str(tmp_path))
    x = ids(2, 37)
    assert_same(ours(x), theirs(x).logits)
    assert sum(p.numel() for p in ours.parameters()) == ours.config.n_parameters
    assert not ours.training
    assert not any(p.requires_grad for p in ours.parameters())
    cache, past = ours.new_cache(2, 37), None
    for piece in x.split([11, 1, 1, 9, 1, 1, 13], dim=1):
        step = theirs(piece, past_key_values=past, use_cache=True)
        past = step.past_key_values
        assert_same(ours(piece, cache), step.logits)


@pytest.mark.parametrize("name", ["qwen2, yarn", "llama 3.1", "mistral"])
@torch.no_grad()
def test_greedy_tokens_are_those_of_transformers(tmp_path, name):
    theirs = written(tmp_path, name)
    ours = pretrained.load(tmp_path)
    x = ids(1, 5, seed=4)
    want = theirs.generate(x, max_new_tokens=40, do_sample=False)[0, 5:].tolist()
    cache, got = ours.new_cache(1, 45), []
    for _ in range(40):
        x = ours(x, cache, last_only=True).argmax(-1)
        got.append(x.item())
    assert got == want
    assert len(set(want)) > 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_is_kept_or_widened(tmp_path, dtype):
    stored = written(tmp_path, "mistral", dtype).model.embed_tokens.weight
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    x = ids(1, 19)
    assert_same(pretrained.load(tmp_path)(x), theirs(x).logits)
    kept = pretrained.load(tmp_path, dtype)
    assert {p.dtype for p in kept.parameters()} == {dtype}
    assert torch.equal(kept.embedding.weight, stored)


def test_weights_are_mapped_and_the_file_stays_as_it_is(tmp_path):
    """Between two tensors in memory lies what lies between them in the file: nothing was copied."""
    written(tmp_path, "gpt2")
    before = (tmp_path / "model.safetensors").read_bytes()
    header = json.loads(before[8 : 8 + int.from_bytes(before[:8], "little")])
    one, other = pretrained.load(tmp_path), pretrained.load(tmp_path)
    start = one.embedding.weight.data_ptr() - header["transformer.wte.weight"]["data_offsets"][0]
    for name, tensor in [
        ("h.0.attn.c_attn.weight", one.blocks[0].attention.q.weight),
        ("h.1.mlp.c_fc.weight", one.blocks[1].mlp.up.weight),
        ("h.1.ln_2.bias", one.blocks[1].mlp_norm.bias),
        ("wpe.weight", one.position_embedding.weight),
    ]:
        assert tensor.data_ptr() - start == header[f"transformer.{name}"]["data_offsets"][0]
    with torch.no_grad():
        one.blocks[1].mlp.up.weight.zero_()
    assert other.blocks[1].mlp.up.weight.abs().sum() > 0
    assert (tmp_path / "model.safetensors").read_bytes() == before


@torch.no_grad()
def test_published_forms_of_gpt2_and_of_old_llamas_are_read(tmp_path):
    theirs = written(tmp_path, "gpt2")
    state = {name.removeprefix("transformer."): t for name, t in load_file(tmp_path / "model.safetensors").items()}
    state |= {"h.0.attn.bias": torch.ones(1, 1, 90, 90).tril(), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    save_file(state, tmp_path / "model.safetensors")
    assert_same(pretrained.load(tmp_path)(ids(1, 20)), theirs(ids(1, 20)).logits)

    theirs = written(tmp_path / "old", "smollm")
    state = load_file(tmp_path / "old/model.safetensors")
    state["model.layers.2.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()  # tied, and written nevertheless
    save_file(state, tmp_path / "old/model.safetensors")
    edited(tmp_path / "old", rope_parameters=None, rope_theta=543.0, rope_scaling={"type": "linear", "factor": 2.0})
    ours = pretrained.load(tmp_path / "old")
    assert ours.config.tie_embeddings
    assert ours.config.rope_scaling == RopeScaling("linear", 2.0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "old")
    assert_same(ours(ids(1, 20)), theirs(ids(1, 20)).logits)


@torch.no_grad()
def test_a_head_that_is_not_the_embedding_is_believed(tmp_path):
    written(tmp_path, "smollm")
    state = load_file(tmp_path / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"].flip(0).contiguous()
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    ours = pretrained.load(tmp_path)
    assert not ours.config.tie_embeddings
    assert_same(ours(ids(1, 20)), theirs(ids(1, 20)).logits)


# positions

STRETCHED = [
    {"rope_type": "linear", "factor": 3.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
    {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 0.7, "mscale_all_dim": 1.3},
    {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 0.7},
    {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096, "attention_factor": 1.25,
     "beta_fast": 20.0, "beta_slow": 2.0},
    {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False},
    {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 2048},
    {"rope_type": "yarn", "factor": 1.0, "original_max_position_embeddings": 2048},
    {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 1024, "low_freq_factor": 1.0,
     "high_freq_factor": 4.0},
    {"rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 700, "low_freq_factor": 1.5,
     "high_freq_factor": 5.0},
    {"rope_type": "longrope", "factor": 1.0, "original_max_position_embeddings": 64, "attention_factor": 1.1,
     "short_factor": [1.0 + i / 7 for i in range(32)], "long_factor": [1.0 + i / 7 for i in range(32)]},
]  # fmt: skip


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("theta", [5000.0, 1e6])
@pytest.mark.parametrize("rope", STRETCHED, ids=lambda rope: f"{rope['rope_type']} {rope['factor']}")
def test_frequencies_are_transformers_to_the_last_bit(rope, theta, old):
    """A frequency that is one unit of the last place off turns a token at position 100 000 noticeably elsewhere."""
    config = transformers.LlamaConfig(
        hidden_size=128,
        num_attention_heads=2,
        max_position_embeddings=8192,
        rope_parameters={"rope_theta": theta, **rope},
    )
    want, want_factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu")
    if old:
        named = {"type": rope["rope_type"], **{name: value for name, value in rope.items() if name != "rope_type"}}
        fields = {"max_position_embeddings": 8192, "rope_theta": theta, "rope_scaling": named}
    else:
        fields = {"max_position_embeddings": 8192, "rope_parameters": {"rope_theta": theta, **rope}}
    got, factor = rope_frequencies(64, *rope_of(fields))
    assert torch.equal(got, want)
    assert factor == pytest.approx(want_factor, abs=1e-12)


def test_frequencies_without_stretching_are_transformers_to_the_last_bit():
    for theta in (10_000.0, 500_000.0):
        config = transformers.LlamaConfig(
            hidden_size=160, num_attention_heads=2, rope_parameters={"rope_type": "default", "rope_theta": theta}
        )
        want = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config).inv_freq
        fields = {"max_position_embeddings": 99, "rope_theta": theta}
        assert torch.equal(rope_frequencies(80, *rope_of(fields))[0], want)


def test_ntk_is_what_transformers_calls_dynamic_at_one_length():
    """At s times its context, dynamic scaling with a factor of 1 has the base that NTK has for s."""
    config = transformers.LlamaConfig(
        hidden_size=96, num_attention_heads=2, max_position_embeddings=100,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 700.0, "factor": 1.0},
    )  # fmt: skip
    want, _ = ROPE_INIT_FUNCTIONS["dynamic"](config, "cpu", seq_len=500)
    assert torch.equal(rope_frequencies(48, 700.0, RopeScaling("ntk", 5.0))[0], want)


def test_where_the_first_context_is_said():
    rope = {"rope_type": "yarn", "factor": 2.0}
    assert rope_of({"max_position_embeddings": 640, "rope_parameters": rope})[1].original_context == 640
    inside = {**rope, "original_max_position_embeddings": 320}
    assert rope_of({"max_position_embeddings": 640, "rope_parameters": inside})[1].original_context == 320
    outside = {"max_position_embeddings": 640, "original_max_position_embeddings": 160, "rope_parameters": inside}
    assert rope_of(outside)[1].original_context == 160
    with pytest.raises(ValueError, match="yarn needs original_context"):
        RopeScaling("yarn", 4.0)


# refusals

BASE = {**{name: value for name, value in SIZES.items() if name not in NONE}, "model_type": "llama"}
REFUSED = [
    ({"model_type": "mixtral"}, "of the kind 'mixtral'; here there are gpt2, llama, mistral, qwen2, qwen3"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu', and MiniGPT has 'silu' only"),
    ({"model_type": "gpt2", "activation_function": "relu"}, "activation_function is 'relu'"),
    ({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    ({"quantization_config": {"quant_method": "fp8"}}, r"its weights are quantised \(fp8\)"),
    ({"attention_bias": True}, "biases in its attention or in its MLP alone"),
    ({"mlp_bias": True}, "biases in its attention or in its MLP alone"),
    ({"model_type": "qwen3", "attention_bias": True}, "biases in its attention or in its MLP alone"),
    ({"partial_rotary_factor": 0.5}, "it rotates 0.5 of each head"),
    ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25}}, "it rotates 0.25 of each head"),
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic', .* up to 90 tokens it is plain RoPE"),
    (
        {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0], "attention_factor": 1.0}},
        "stretched by 'longrope', whose frequencies change while a text grows, and MiniGPT's are fixed$",
    ),
    ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "its layers rotate by different frequencies"),
    (
        {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
        "some of its layers have a sliding window and some have none",
    ),
    (
        {"model_type": "qwen3", "use_sliding_window": True, "layer_types": ["sliding_attention", "full_attention"]},
        "some of its layers have a sliding window and some have none",
    ),
    ({"rms_norm_eps": None}, "it does not say rms_norm_eps"),
    ({"rope_scaling": {"rope_type": "linear"}}, "it does not say factor"),
    ({"num_key_value_heads": 4}, "6 query heads cannot share 4 key heads"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_minigpt_cannot_be_is_refused_in_a_sentence(tmp_path, changes, message):
    fields = {name: value for name, value in {**BASE, **changes}.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=message) as caught:
        pretrained.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_window_is_mistrals_and_a_missing_flag_qwens():
    assert config_of({**BASE, "model_type": "mistral"}).window == 4096
    assert config_of({**BASE, "model_type": "mistral", "sliding_window": None}).window == 0
    assert config_of({**BASE, "model_type": "qwen2", "sliding_window": 5}).window == 0
    every = {"use_sliding_window": True, "sliding_window": 5, "layer_types": ["sliding_attention"] * 3}
    assert config_of({**BASE, "model_type": "qwen3", **every}).window == 5


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(ValueError, match="'nowhere' is no asset, no folder and no GGUF file"):
        pretrained.load("nowhere")
    with pytest.raises(ValueError, match=r"has no config\.json"):
        pretrained.load(tmp_path)
    (tmp_path / "config.json").write_text("[1, 2")
    with pytest.raises(ValueError, match=r"config\.json is damaged: it holds no JSON object"):
        pretrained.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(BASE))
    with pytest.raises(ValueError, match=r"has no model\.safetensors$"):
        pretrained.load(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has no model\.safetensors; its pytorch_model\.bin is a pickle"):
        pretrained.load(tmp_path)

    written(tmp_path / "shards", "llama", max_shard_size="40KB")
    last = sorted((tmp_path / "shards").glob("*.safetensors"))[-1]
    whole = last.read_bytes()
    last.write_bytes(whole[:-50])
    with pytest.raises(ValueError, match=f"{last.name} is cut short or damaged"):
        pretrained.load(tmp_path / "shards")
    last.unlink()
    with pytest.raises(ValueError, match=f"lacks {last.name}, which model.safetensors.index.json names"):
        pretrained.load(tmp_path / "shards")


def test_tensors_that_do_not_fit_are_named(tmp_path):
    written(tmp_path, "llama")
    good = load_file(tmp_path / "model.safetensors")

    def stored(**changes):
        state = {**good, **changes}
        save_file({name: t for name, t in state.items() if t is not None}, tmp_path / "model.safetensors")

    stored(**{"model.layers.1.mlp.router.weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"a tensor 'model\.layers\.1\.mlp\.router\.weight', and MiniGPT has no place"):
        pretrained.load(tmp_path)
    stored(**{"model.layers.9.mlp.up_proj.weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"has \(2,\) for blocks\.9\.mlp\.up\.weight, .* asks for nothing"):
        pretrained.load(tmp_path)
    stored(**{"lm_head.weight": None})
    with pytest.raises(ValueError, match=r"has nothing for head\.weight, .* asks for \(83, 48\)"):
        pretrained.load(tmp_path)
    stored(**{"model.norm.weight": torch.ones(47)})
    with pytest.raises(ValueError, match=r"has \(47,\) for final_norm\.weight, .* asks for \(48,\)"):
        pretrained.load(tmp_path)
    stored(**{"model.norm.weight": torch.ones(48).to(torch.float8_e4m3fn)})
    with pytest.raises(ValueError, match=r"model\.norm\.weight is in torch\.float8_e4m3fn"):
        pretrained.load(tmp_path)


# the way back

ROPE = {
    "position": "rope", "rope_theta": 321.0, "norm": "rmsnorm", "norm_eps": 1e-4, "mlp": "swiglu", "n_kv_heads": 2,
    "d_ff": 56, "tie_embeddings": False,
}  # fmt: skip
SAVED = {
    "gpt2": {"bias": True, "norm_eps": 1e-4, "d_ff": 100},
    "gpt2 without biases": {"tie_embeddings": False},
    "gpt2, qkv biases": {"qkv_bias": True},
    "llama": ROPE,
    "tied": {**ROPE, "tie_embeddings": True},
    "biases": {**ROPE, "bias": True},
    "adjacent": {**ROPE, "rope_layout": "adjacent", "qkv_bias": True},
    "adjacent, qk norm": {**ROPE, "rope_layout": "adjacent", "qk_norm": True, "head_dim": 10},
    "window": {**ROPE, "window": 4},
    "uneven": {**ROPE, "n_heads": 4, "head_dim": 14, "d_model": 50},
    "qwen2, window": {**ROPE, "qkv_bias": True, "window": 6},
    "qwen3, window": {**ROPE, "qk_norm": True, "window": 6},
    "linear": {**ROPE, "rope_scaling": RopeScaling("linear", 2.5)},
    "linear, louder": {**ROPE, "rope_scaling": RopeScaling("linear", 2.5, attention_factor=1.2)},
    "ntk": {**ROPE, "rope_scaling": RopeScaling("ntk", 3.0)},
    "yarn": {**ROPE, "rope_scaling": RopeScaling("yarn", 4.0, 20, 20.0, 2.0, truncate=False)},
    "yarn, louder": {**ROPE, "rope_scaling": RopeScaling("yarn", 4.0, 20, attention_factor=1.3)},
    "llama3": {**ROPE, "rope_scaling": RopeScaling("llama3", 8.0, 20, low_freq_factor=1.5, high_freq_factor=5.0)},
    "factors": {**ROPE, "rope_scaling": RopeScaling("factors", factors=(1.0, 1.5, 2.0, 4.0))},
}


def mine(name, dtype=torch.float32):
    fields = {"d_model": 48, "n_layers": 2, "n_heads": 6, **SAVED[name]}
    return shaken(MiniGPT(Config(vocab_size=V, context_length=64, **fields))).to(dtype)


@pytest.mark.parametrize("name", SAVED)
@torch.no_grad()
def test_transformers_reads_what_is_saved_and_so_do_we(tmp_path, name):
    model = mine(name)
    pretrained.save(model, tmp_path / "new" / "folder")
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "new/folder", output_loading_info=True
    )
    assert not any(report.values())
    x = ids(2, 29)
    want = model(x)
    assert_same(theirs(x).logits, want)
    again = pretrained.load(tmp_path / "new/folder")
    assert_same(again(x), want)
    if "gpt2" not in name:
        assert again.config.n_parameters == model.config.n_parameters
    assert sorted(file.name for file in (tmp_path / "new/folder").iterdir()) == ["config.json", "model.safetensors"]
    assert len({file.stat().st_mode for file in (tmp_path / "new/folder").iterdir()}) == 1


@torch.no_grad()
def test_saving_keeps_the_dtype_and_stops_at_no_token(tmp_path):
    pretrained.save(mine("llama", torch.bfloat16), tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert theirs.dtype == torch.bfloat16
    assert theirs.generate(ids(1, 3), max_new_tokens=30, do_sample=False).shape == (1, 33)


@torch.no_grad()
def test_a_model_is_saved_over_the_folder_that_it_was_loaded_from(tmp_path):
    written(tmp_path, "gpt2", max_shard_size="40KB")
    pretrained.save(pretrained.load(tmp_path), tmp_path)  # one file now, and it comes before the index
    model = pretrained.load(tmp_path)
    want = model(ids(1, 20))
    model.blocks[0].mlp.up.weight *= 2
    changed = model(ids(1, 20))
    pretrained.save(model, tmp_path)
    assert torch.equal(model(ids(1, 20)), changed)
    assert_same(pretrained.load(tmp_path)(ids(1, 20)), changed)
    assert (changed - want).abs().max() > 1e-3


@pytest.mark.parametrize(
    "changes",
    [
        {"position": "alibi"},
        {"position": "sinusoidal"},
        {"pre_norm": False},
        {"n_kv_heads": 2},
        {"window": 4},
        {"mlp": "swiglu"},
        {**ROPE, "norm": "layernorm"},
        {**ROPE, "pre_norm": False},
        {**ROPE, "qk_norm": True, "qkv_bias": True},
        {**ROPE, "bias": True, "qkv_bias": False},
        {**ROPE, "bias": True, "window": 3},
    ],
    ids=str,
)
def test_what_transformers_has_no_class_for_is_refused_before_anything_is_written(tmp_path, changes):
    model = MiniGPT(Config(vocab_size=V, context_length=64, d_model=48, n_layers=1, n_heads=6, **changes))
    with pytest.raises(ValueError, match="transformers has no model with"):
        pretrained.save(model, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    written(tmp_path, "llama")
    kept = shutil.copytree(tmp_path, tmp_path.with_name("kept"))

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("llmcore.model.huggingface.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        pretrained.save(mine("llama"), tmp_path)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == {f.name: f.read_bytes() for f in kept.iterdir()}


def test_yarn_attention_is_the_papers():
    assert rope_frequencies(8, 99.0, RopeScaling("yarn", 16.0, 40))[1] == pytest.approx(0.1 * math.log(16) + 1)
