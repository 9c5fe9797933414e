"""Published weights on MiniGPT: GPT-2 and the Llama family (Llama, Mistral, Qwen 2 and 3, SmolLM), from GGUF files.

    model = load("smollm2")                       # an asset by name, or a path to a .gguf
    model.config.n_layers, model.n_parameters

The first load of a file converts it to float32 and keeps that beside the assets; later loads map the result into memory.

Does not:
- download: `python -m llmcore.assets fetch smollm2` does
- keep weights quantised: llmcore.quant will
- read architectures that are not in ARCHITECTURES
"""

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmcore import assets
from llmcore.gguf import GGUF
from llmcore.model.config import Config, RopeScaling
from llmcore.model.positions import rope_frequencies
from llmcore.model.transformer import MiniGPT

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gpt2")

# GGUF's names of tensors → ours
_NAMES = {
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


def load(name: str | Path, dtype: torch.dtype = torch.float32) -> MiniGPT:
    """The model of a GGUF file, ready to be asked: eval mode, no gradients until you want them.

    Args:
        name: of an asset, or a path.
        dtype: of the weights in memory; what is kept on disk is float32.

    Raises ValueError for a file that MiniGPT cannot be, AssetMissing for an asset that has not been fetched.
    """
    path = assets.path(str(name)) if str(name) in assets.catalogue() else Path(name)
    found = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {found.st_size} {found.st_mtime_ns} 1".encode()).hexdigest()[:16]
    kept = assets.cache_dir() / "converted" / f"{path.stem}-{key}.pt"
    if not kept.exists():
        file = GGUF(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        torch.save({"config": asdict(config_of(file)), "state": weights_of(file)}, part)
        os.replace(part, kept)  # whoever looks sees all of it or nothing
    data = torch.load(kept, mmap=True, weights_only=True)
    scaling = data["config"].pop("rope_scaling")
    config = Config(**data["config"], rope_scaling=RopeScaling(**scaling) if scaling else None)
    with torch.device("meta"):  # no memory, and no random numbers that are overwritten at once
        model = MiniGPT(config)
    model.load_state_dict({name: tensor.to(dtype) for name, tensor in data["state"].items()}, assign=True)
    if config.tie_embeddings:
        model.head.weight = model.embedding.weight
    if config.position == "rope":
        model.turn = rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)[0]
    return model.eval().requires_grad_(False)


def config_of(file: GGUF) -> Config:
    """What the fields of a GGUF file describe. Raises ValueError for what MiniGPT cannot be."""
    kind = file.fields.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise ValueError(f"{file.path} holds a model of the kind {kind!r}; here there are {', '.join(ARCHITECTURES)}")
    if "rope_freqs.weight" in file.tensors or file.fields.get(f"{kind}.rope.scaling.type", "none") != "none":
        raise ValueError(f"{file.path} stretches its positions, and such files are not read here yet")

    def field(name: str, default: Any = None) -> Any:
        value = file.fields.get(f"{kind}.{name}", default)
        if value is None:
            raise ValueError(f"{file.path} does not say {kind}.{name}")
        return value

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
    return Config(
        **fields,
        position="rope",
        rope_theta=field("rope.freq_base", 10_000.0),
        rope_layout="adjacent" if kind == "llama" else "half",  # llama.cpp reorders the rows of Llama's q and k
        window=file.fields.get(f"{kind}.attention.sliding_window", 0),
        norm="rmsnorm",
        norm_eps=field("attention.layer_norm_rms_epsilon"),
        mlp="swiglu",
        qkv_bias="blk.0.attn_q.bias" in file.tensors,
        qk_norm="blk.0.attn_q_norm.weight" in file.tensors,
    )


def weights_of(file: GGUF) -> dict[str, Tensor]:
    """All tensors in float32 under the names that MiniGPT has for them. Raises ValueError for one it has no place for."""
    state: dict[str, Tensor] = {}
    for name in file.tensors:
        *block, part, kind = name.split(".")
        prefix = f"blocks.{block[1]}." if block else ""
        tensor = torch.from_numpy(file.read(name))
        if part == "attn_qkv":  # GPT-2 has the three in one
            for each, third in zip("qkv", tensor.chunk(3), strict=True):
                state[f"{prefix}attention.{each}.{kind}"] = third.clone()
        elif part in _NAMES:
            state[f"{prefix}{_NAMES[part]}.{kind}"] = tensor
        else:
            raise ValueError(f"{file.path} has a tensor {name!r}, and MiniGPT has no place for it")
    state.setdefault("head.weight", state["embedding.weight"])
    return state
