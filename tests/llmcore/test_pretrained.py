"""GGUF files written by the gguf package: every block type comes back, and models give transformers' logits."""

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf.quants import dequantize, quantize

from llmcore import assets
from llmcore.gguf import GGUF
from llmcore.model import gguf_model, pretrained

KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]
SIZES = {"vocab_size": 67, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
MORE = {"num_key_value_heads": 2, "max_position_embeddings": 50, "rms_norm_eps": 1e-4}
NONE = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def write(path, arch, fields, tensors, more=lambda writer: None):
    writer = gguf.GGUFWriter(path, arch)
    more(writer)
    for name, value in fields.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{arch}.{name}", value)
    for name, (kind, tensor) in tensors.items():
        data = np.ascontiguousarray(tensor, dtype=np.float32)
        if kind == "F32":
            writer.add_tensor(name, data)
        else:
            quant = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, quantize(data, quant), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_type_is_read_as_gguf_reads_it(tmp_path, kind):
    x = np.random.default_rng(1).normal(size=(5, 96)).astype(np.float32) * 3
    file = GGUF(
        write(tmp_path / "x.gguf", "llama", {"n": 7}, {"a": ("F32", x[:2]), "b": (kind, x), "c": ("F32", x[2:3])})
    )
    quant = gguf.GGMLQuantizationType[kind]
    want = x if kind == "F32" else dequantize(quantize(x, quant), quant)
    np.testing.assert_array_equal(file.read("b"), want)
    assert file.read("b").shape == (5, 96)
    np.testing.assert_array_equal(file.read("c"), x[2:3])
    assert file.fields["llama.n"] == 7


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="is not a GGUF file"):
        GGUF(tmp_path / "text")
    whole = write(tmp_path / "x.gguf", "llama", {"n": 7}, {"a": ("F32", np.ones((2, 32)))}).read_bytes()
    for size in (6, 20, 60):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cut short or damaged"):
            GGUF(tmp_path / "cut")
    (tmp_path / "old").write_bytes(whole[:4] + b"\x01\0\0\0" + whole[8:])
    with pytest.raises(ValueError, match="version 1"):
        GGUF(tmp_path / "old")
    other = write(tmp_path / "k.gguf", "llama", {}, {"a": ("F32", np.ones((2, 32)))})
    file = GGUF(other)
    file.tensors["a"] = file.tensors["a"]._replace(type=12)
    with pytest.raises(ValueError, match="stored as type 12"):
        file.read("a")
    with pytest.raises(KeyError):
        file.read("b")


LLAMA_NAMES = {
    "model.layers": "blk",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
GPT2_NAMES = {
    "transformer.h": "blk",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def reordered(weight, heads):
    """What llama.cpp's converter does to Llama's q and k: from half-split to adjacent pairs."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def theirs_and_file(path, kind, stretched=None, freqs=None, more=lambda writer: None):
    """A model of transformers and its GGUF file; `more` and `freqs` say there what `stretched` says to transformers."""
    rope = {"rope_parameters": {"rope_theta": 777.0, **(stretched or {"rope_type": "default"})}}
    fields = {
        "context_length": 50,
        "embedding_length": 64,
        "feed_forward_length": 96,
        "block_count": 2,
        "attention.head_count": 4,
    }
    if kind == "gpt2":
        model = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=67, n_positions=50, n_embd=64, n_layer=2, n_head=4, n_inner=96, **NONE)
        )
        fields["attention.layer_norm_epsilon"] = 1e-5
    else:
        fields |= {"attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-4, "rope.freq_base": 777.0}
        name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind]
        head = {"head_dim": 24} if kind == "qwen3" else {}
        if head:
            fields["attention.key_length"] = 24
        config = getattr(transformers, f"{name}Config")(
            **SIZES, **MORE, **NONE, **rope, **head, tie_word_embeddings=kind == "qwen2"
        )
        model = getattr(transformers, f"{name}ForCausalLM")(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3 + (p.ndim == 1))
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and kind in ("qwen2", "gpt2"):
            continue  # tied
        data = tensor.numpy()
        if kind == "gpt2" and data.ndim == 2 and ".h." in name:
            data = data.T
        if kind == "llama" and ("q_proj" in name or "k_proj" in name):
            data = reordered(data, 4 if "q_proj" in name else 2)
        for theirs, short in (GPT2_NAMES if kind == "gpt2" else LLAMA_NAMES).items():
            name = name.replace(theirs, short)
        tensors[name] = ("F32", data)
    if freqs is not None:
        tensors["rope_freqs.weight"] = ("F32", freqs)
    return model.eval(), write(path, kind, fields, tensors, more)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_ASSETS", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt2"])
@torch.no_grad()
def test_logits_are_those_of_transformers(tmp_path, cache, kind):
    theirs, path = theirs_and_file(tmp_path / "model.gguf", kind)
    ids = torch.randint(0, 67, (2, 21), generator=torch.Generator().manual_seed(2))
    want = theirs(ids).logits
    for ours in (pretrained.load(path), pretrained.load(path)):  # converted, and as it was kept
        torch.testing.assert_close(ours(ids), want, atol=2e-5 * want.abs().max().item(), rtol=0)
        assert sum(p.numel() for p in ours.parameters()) == ours.config.n_parameters
        assert not ours.training
    assert len(list((cache / "converted").iterdir())) == 1
    half = pretrained.load(path, torch.bfloat16)
    assert half(ids).dtype == torch.bfloat16


# stretched positions: fields as llama.cpp's converter writes them, through the methods of gguf that it calls

LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "original_max_position_embeddings": 24, "low_freq_factor": 1.0,
          "high_freq_factor": 3.0}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 20}


def linear(writer, factor=2.5):
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(factor)


def yarn(writer):
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(3.0)
    writer.add_rope_scaling_orig_ctx_len(20)


def yarn_with_bounds(writer):
    yarn(writer)
    writer.add_rope_scaling_yarn_beta_fast(9.0)
    writer.add_rope_scaling_yarn_beta_slow(2.0)
    writer.add_rope_scaling_yarn_attn_factor(1.75)


def yarn_louder(writer):
    yarn(writer)
    writer.add_rope_scaling_attn_factors(1.3)


def rope_freqs(theta=777.0, head_dim=16, old=24, factor=4.0, low=1.0, high=3.0):
    """conversion/llama.py, generate_extra_tensors: what each pair is divided by."""
    out = []
    for pair in range(head_dim // 2):
        wavelength = 2 * np.pi * theta ** (2 * pair / head_dim)
        if wavelength < old / high:
            out.append(1.0)
        elif wavelength > old / low:
            out.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    assert 1.0 in out
    assert factor in out
    assert len(set(out)) > 2
    return np.array(out)


STRETCHED = {
    "linear": ({"rope_type": "linear", "factor": 2.5}, linear, None),
    "yarn": (YARN, yarn, None),
    "yarn, all said": ({**YARN, "beta_fast": 9.0, "beta_slow": 2.0, "attention_factor": 1.75}, yarn_with_bounds, None),
    "yarn, louder": ({**YARN, "attention_factor": 1.3 * (0.1 * np.log(3.0) + 1)}, yarn_louder, None),
    "llama 3": (LLAMA3, lambda writer: None, rope_freqs()),
    "llama 3, of the type none": (LLAMA3, lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.NONE), rope_freqs()),
    "linear by 1": (None, lambda writer: linear(writer, 1.0), None),
    "type none": (None, lambda w: [linear(w), w.add_rope_scaling_type(gguf.RopeScalingType.NONE)], None),
}


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("name", STRETCHED)
@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_stretched_positions_are_those_of_the_same_model_in_a_folder(tmp_path, cache, kind, name):
    stretched, more, freqs = STRETCHED[name]
    theirs, path = theirs_and_file(tmp_path / "model.gguf", kind, stretched, freqs, more)
    theirs.save_pretrained(tmp_path / "folder")
    ids = torch.randint(0, 67, (2, 45), generator=torch.Generator().manual_seed(2))
    want = theirs(ids).logits
    folder, file = pretrained.load(tmp_path / "folder"), pretrained.load(path)
    for ours in (folder, file, pretrained.load(path)):
        torch.testing.assert_close(ours(ids), want, atol=5e-5 * want.abs().max().item(), rtol=0)
    torch.testing.assert_close(file.turn, folder.turn, atol=0, rtol=3e-7)
    assert file.rope_factor == pytest.approx(folder.rope_factor, rel=1e-6)
    if stretched:
        plain = theirs_and_file(tmp_path / "plain.gguf", kind)[0]
        assert (plain(ids).logits - want).abs().max() > 1e-2 * want.abs().max()


@torch.no_grad()
def test_llama3_from_gguf_goes_on_to_transformers(tmp_path, cache):
    """Rotations of neighbours become rotations of halves, and factors LongRoPE's."""
    theirs, path = theirs_and_file(tmp_path / "model.gguf", "llama", LLAMA3, rope_freqs())
    pretrained.save(pretrained.load(path), tmp_path / "folder")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    ids = torch.randint(0, 67, (1, 40), generator=torch.Generator().manual_seed(3))
    want = theirs(ids).logits
    for model in (lambda x: again(x).logits, pretrained.load(tmp_path / "folder")):
        torch.testing.assert_close(model(ids), want, atol=5e-5 * want.abs().max().item(), rtol=0)


def test_the_old_name_of_the_linear_factor_is_known(tmp_path):
    _, path = theirs_and_file(
        tmp_path / "a.gguf", "llama", more=lambda w: w.add_float32("llama.rope.scale_linear", 4.0)
    )
    assert gguf_model.config_of(GGUF(path)).rope_scaling.factor == 4.0


@pytest.mark.parametrize(
    ("more", "freqs", "message"),
    [
        (
            lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE),
            None,
            r"scaling\.type 'longrope', which is not",
        ),
        (lambda w: [yarn(w), w.add_rope_scaling_yarn_ext_factor(0.5)], None, r"scaling\.yarn_ext_factor, which is not"),
        (lambda w: [linear(w), w.add_rope_scaling_yarn_beta_fast(9.0)], None, r"scaling\.yarn_beta_fast, which is not"),
        (yarn, rope_freqs(), "8 rope_freqs for 8 pairs, and yarn by 3: MiniGPT stretches in one way only"),
        (linear, rope_freqs(), "8 rope_freqs for 8 pairs, and linear by 2.5"),
        (lambda w: None, np.ones(6), "6 rope_freqs for 8 pairs"),
        (lambda w: w.add_rope_dimension_count(8), None, "rotates 8 of a head's 16 numbers, and MiniGPT all of them"),
        (lambda w: w.add_expert_count(4), None, "is a mixture of 4 experts"),
        (lambda w: w.add_uint16("split.count", 3), None, "is one of 3 parts"),
    ],
)
def test_what_a_file_asks_of_positions_and_minigpt_cannot_is_refused(tmp_path, cache, more, freqs, message):
    _, path = theirs_and_file(tmp_path / "model.gguf", "llama", None, freqs, more)
    with pytest.raises(ValueError, match=message):
        pretrained.load(path)


def test_models_that_minigpt_cannot_be_are_refused(tmp_path, cache):
    one = {"token_embd.weight": ("F32", np.ones((3, 32)))}
    with pytest.raises(ValueError, match="of the kind 'mamba'"):
        pretrained.load(write(tmp_path / "a.gguf", "mamba", {}, one))
    with pytest.raises(ValueError, match=r"does not say llama\.attention\.head_count"):
        pretrained.load(write(tmp_path / "b.gguf", "llama", {"context_length": 9}, one))
    with pytest.raises(ValueError, match=r"no token_embd\.weight: is it a vocabulary alone\?"):
        pretrained.load(write(tmp_path / "c.gguf", "llama", {}, {"a": ("F32", np.ones((2, 32)))}))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="is not a GGUF file"):
        pretrained.load(tmp_path / "text")
    _, path = theirs_and_file(tmp_path / "d.gguf", "llama")
    file = GGUF(path)
    file.tensors["blk.0.extra.weight"] = file.tensors["output_norm.weight"]
    with pytest.raises(ValueError, match=r"a tensor 'blk\.0\.extra\.weight'"):
        gguf_model.weights_of(file)
    _, path = theirs_and_file(tmp_path / "e.gguf", "qwen2", more=lambda w: w.add_uint32("qwen2.vocab_size", 67))
    path.write_bytes(path.read_bytes().replace(b"blk.1.ffn_up", b"blk.7.ffn_up"))
    with pytest.raises(ValueError, match=r"has nothing for blocks\.1\.mlp\.up\.weight, .* asks for \(96, 64\)"):
        pretrained.load(path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@torch.no_grad()
def test_smollm2_gives_transformers_logits_on_real_text_and_answers():
    path = assets.fetch("smollm2")
    ours = pretrained.load("smollm2")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    from llmcore.sampling.strategies import GREEDY, generate
    from llmcore.tokenizers.bpe import BPE

    tokenizer = BPE.load("smollm2")
    text = assets.text("shakespeare")[200_000:201_500]
    ids = torch.tensor([tokenizer.encode_ordinary(text)])
    want, got = theirs(ids).logits, ours(ids)
    torch.testing.assert_close(got, want, atol=1e-4 * want.abs().max().item(), rtol=0)
    cache = ours.new_cache(1, ids.shape[1])
    pieces = torch.cat([ours(piece, cache) for piece in ids.split(97, dim=1)], dim=1)
    torch.testing.assert_close(pieces, got, atol=1e-4 * want.abs().max().item(), rtol=0)
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    steps = generate(ours, [tokenizer.encode(prompt, allowed_special="all")], GREEDY, 20, {2})
    assert "Paris" in tokenizer.decode([step[0].id for step in steps])
