"""A model in a GGUF file as a Config and tensors under MiniGPT's names.

llama.cpp keeps Llama 3's stretched positions not as numbers of a formula but as a tensor, rope_freqs.weight: what each
pair's frequency is divided by. Linear and YaRN are fields. Where llama.cpp and its converter differ (it writes YaRN's two
bounds and attention factor for every model, and llama.cpp reads them for some), what the converter wrote is taken: it
is what the model was trained with.

Does not:
- unpack blocks: llmcore.gguf does
- read architectures that are not in ARCHITECTURES, or a model in several files

Source: conversion/{base,llama,qwen}.py and src/llama-{model,context}.cpp of llama.cpp.
"""

from typing import Any

import torch
from torch import Tensor

from llmcore.gguf import GGUF
from llmcore.model.config import Config, RopeScaling
from llmcore.model.positions import yarn_attention

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gpt2")

# GGUF's names of tensors → ours
NAMES = {
    "token_embd": "embedding",
    "position_embd": "position_embedding",
    "output_norm": "final_norm",
    "output": "head",
    "attn_norm": "attention_norm",
    "attn_q": "attention.q",
    "attn_k": "attention.k",
    "attn_v": "attention.v",
    "attn_output": "attention.out",
    "attn_q_norm": "attention.q_norm",
    "attn_k_norm": "attention.k_norm",
    "ffn_norm": "mlp_norm",
    "ffn_gate": "mlp.gate",
    "ffn_up": "mlp.up",
    "ffn_down": "mlp.down",
}
_SCALING = ("type", "factor", "original_context_length", "attn_factor", "finetuned")
_YARN = ("yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")


def config_of(file: GGUF) -> Config:
    """What the fields of a GGUF file describe. Raises ValueError for what MiniGPT cannot be."""
    kind = file.fields.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise ValueError(f"{file.path} holds a model of the kind {kind!r}; here there are {', '.join(ARCHITECTURES)}")
    if file.fields.get("split.count", 1) > 1:
        raise ValueError(f"{file.path} is one of {file.fields['split.count']} parts: join them with llama-gguf-split")
    if "token_embd.weight" not in file.tensors:
        raise ValueError(f"{file.path} has no token_embd.weight: is it a vocabulary alone?")

    def field(name: str, default: Any = None) -> Any:
        value = file.fields.get(f"{kind}.{name}", default)
        if value is None:
            raise ValueError(f"{file.path} does not say {kind}.{name}")
        return value

    if field("expert_count", 0):
        raise ValueError(f"{file.path} is a mixture of {field('expert_count')} experts, and MiniGPT has none")
    heads = field("attention.head_count")
    fields: dict[str, Any] = {
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "context_length": field("context_length"),
        "d_model": field("embedding_length"),
        "n_layers": field("block_count"),
        "n_heads": heads,
        "n_kv_heads": field("attention.head_count_kv", heads),
        "head_dim": field("attention.key_length", field("embedding_length") // heads),
        "d_ff": field("feed_forward_length"),
        "tie_embeddings": "output.weight" not in file.tensors,
    }
    if kind == "gpt2":
        return Config(**fields, norm_eps=field("attention.layer_norm_epsilon"), bias=True)
    if (turned := field("rope.dimension_count", fields["head_dim"])) != fields["head_dim"]:
        raise ValueError(
            f"{file.path} rotates {turned} of a head's {fields['head_dim']} numbers, and MiniGPT all of them"
        )
    return Config(
        **fields,
        position="rope",
        rope_theta=field("rope.freq_base", 10_000.0),
        rope_layout="adjacent" if kind == "llama" else "half",  # llama.cpp reorders the rows of Llama's q and k
        rope_scaling=scaling_of(file, kind, fields["head_dim"]),
        window=file.fields.get(f"{kind}.attention.sliding_window", 0),
        norm="rmsnorm",
        norm_eps=field("attention.layer_norm_rms_epsilon"),
        mlp="swiglu",
        qkv_bias="blk.0.attn_q.bias" in file.tensors,
        qk_norm="blk.0.attn_q_norm.weight" in file.tensors,
    )


def scaling_of(file: GGUF, kind: str, head_dim: int) -> RopeScaling | None:
    """How the file stretches positions. Raises ValueError for a way that is not known here."""
    start = f"{kind}.rope.scaling."
    said = {name.removeprefix(start): value for name, value in file.fields.items() if name.startswith(start)}
    how = said.get("type", "linear")  # llama.cpp's default, with a factor of 1
    factor = said.get("factor", file.fields.get(f"{kind}.rope.scale_linear", 0.0)) or 1.0
    unknown = [name for name in said if name not in (*_SCALING, *(_YARN if how == "yarn" else ()))]
    if how not in ("none", "linear", "yarn") or unknown:
        what = unknown[0] if how in ("none", "linear", "yarn") else f"type {how!r}"
        raise ValueError(f"{file.path} stretches its positions with {start}{what}, which is not known here")
    if how == "none":
        factor = 1.0
    attention = said.get("attn_factor", 1.0)  # on top of what YaRN itself multiplies by
    if "rope_freqs.weight" in file.tensors:
        factors = tuple(file.read("rope_freqs.weight").tolist())
        if factor != 1.0 or how == "yarn" or len(factors) != head_dim // 2:
            raise ValueError(
                f"{file.path} has {len(factors)} rope_freqs for {head_dim // 2} pairs, and {how} by {factor:g}: "
                "MiniGPT stretches in one way only"
            )
        return RopeScaling("factors", attention_factor=attention, factors=factors)
    if how == "yarn":
        trained = said.get("original_context_length", file.fields[f"{kind}.context_length"])
        attention *= said.get("yarn_attn_factor", yarn_attention(factor))
        fast, slow = said.get("yarn_beta_fast", 32.0), said.get("yarn_beta_slow", 1.0)
        return RopeScaling("yarn", factor, trained, fast, slow, attention_factor=attention)
    if factor == 1.0 and attention == 1.0:
        return None
    return RopeScaling("linear", factor, attention_factor=None if attention == 1.0 else attention)


def weights_of(file: GGUF) -> dict[str, Tensor]:
    """All tensors in float32 under the names that MiniGPT has for them. Raises ValueError for one it has no place for."""
    state: dict[str, Tensor] = {}
    for name in file.tensors:
        if name == "rope_freqs.weight":  # is in the config
            continue
        *block, part, kind = name.split(".")
        prefix = f"blocks.{block[1]}." if block else ""
        tensor = torch.from_numpy(file.read(name))
        if part == "attn_qkv":  # GPT-2 has the three in one
            for each, third in zip("qkv", tensor.chunk(3), strict=True):
                state[f"{prefix}attention.{each}.{kind}"] = third.clone()
        elif part in NAMES:
            state[f"{prefix}{NAMES[part]}.{kind}"] = tensor
        else:
            raise ValueError(f"{file.path} has a tensor {name!r}, and MiniGPT has no place for it")
    if "embedding.weight" in state:
        state.setdefault("head.weight", state["embedding.weight"])
    return state
