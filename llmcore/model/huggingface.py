"""A model folder of Hugging Face, config.json beside safetensors files: read as a Config and tensors, and written.

GPT-2, Llama (SmolLM, too), Mistral, Qwen 2 and Qwen 3, in float32, float16 or bfloat16, in one file or in shards.

Does not:
- copy: tensors are views of the mapped files, until somebody writes to them or asks for another dtype
- read pickles (pytorch_model.bin): to load one is to run what is in it
- know tokenizers: llmcore.tokenizers reads and writes tokenizer.json
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llmcore.model.config import Config
from llmcore.model.huggingface_config import config_of, fields_of
from llmcore.model.transformer import MiniGPT

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# our names → theirs, without the `model.` or `transformer.` in front of all but the head
LLAMA = {
    "embedding": "embed_tokens",
    "blocks": "layers",
    "attention_norm": "input_layernorm",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
    "final_norm": "norm",
    "head": "lm_head",
}
GPT2 = {
    "embedding": "wte",
    "position_embedding": "wpe",
    "blocks": "h",
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",  # the three in one, and all matrices of a block with the inputs first
    "attention.out": "attn.c_proj",
    "mlp_norm": "ln_2",
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
    "final_norm": "ln_f",
    "head": "lm_head",
}
# constants that some files hold among the weights: frequencies, masks
_CONSTANTS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")


def read(folder: Path) -> tuple[Config, dict[str, Tensor]]:
    """What the folder holds, under the names that MiniGPT has for it. Raises ValueError for what it cannot be."""
    fields = _json(folder / "config.json")
    try:
        config = config_of(fields)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None
    gpt2 = config.position == "learned"
    state: dict[str, Tensor] = {}
    for name, tensor in _tensors(folder):
        if name.endswith(_CONSTANTS):
            continue
        ours = _our_name(name, GPT2 if gpt2 else LLAMA)
        if ours is None:
            raise ValueError(f"{folder} has a tensor {name!r}, and MiniGPT has no place for it")
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{folder}: {name} is in {tensor.dtype}; float32, float16 and bfloat16 are read here")
        if gpt2 and ours.startswith("blocks.") and tensor.ndim == 2:
            tensor = tensor.T
        if ".qkv." in ours:
            state |= {ours.replace("qkv", each): third for each, third in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            state[ours] = tensor
    if config.tie_embeddings and "embedding.weight" in state:
        embedding = state["embedding.weight"]
        if not torch.equal(state.setdefault("head.weight", embedding), embedding):
            config = config_of({**fields, "tie_word_embeddings": False})  # transformers believes the tensors, too
    return config, state


def save(model: MiniGPT, folder: str | Path) -> None:
    """Write a folder that transformers' AutoModelForCausalLM and `pretrained.load` read, for the same logits.

    The weights keep their dtype. A model with GPT-2's parts and no biases gets biases of zero, as GPT-2 has them.
    Save the tokenizer beside it: `bpe.save(folder / "tokenizer.json")`.

    Raises ValueError, before anything is written, for a model that transformers has no class for.
    """
    c, folder = model.config, Path(folder)
    fields = fields_of(c) | {"dtype": str(model.embedding.weight.dtype).removeprefix("torch.")}
    gpt2 = fields["model_type"] == "gpt2"
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if c.tie_embeddings:
        del state["head.weight"]
    if c.rope_layout == "adjacent" and not gpt2:
        for name, tensor in state.items():
            if heads := re.search(r"attention\.([qk])(_norm)?\.", name):
                n = 1 if heads[2] else c.n_heads if heads[1] == "q" else c.n_kv_heads
                state[name] = _as_halves(tensor, n)
    if gpt2:
        state = _as_gpt2(state, c.n_layers)
    tensors = {_their_name(name, gpt2): tensor.contiguous().cpu() for name, tensor in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{WEIGHTS}.{os.getpid()}.part"
    try:
        save_file(tensors, part, {"format": "pt"})
        (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", "utf-8")
        shutil.copymode(folder / "config.json", part)  # safetensors writes files that their owner alone may read
        os.replace(part, folder / WEIGHTS)  # a model that was loaded from here keeps the old file mapped
    finally:
        part.unlink(missing_ok=True)


def _as_halves(tensor: Tensor, heads: int) -> Tensor:
    """Rows of q or k reordered within each head, for rotations of coordinate i with i + head_dim/2."""
    return tensor.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def _as_gpt2(state: dict[str, Tensor], n_layers: int) -> dict[str, Tensor]:
    """GPT-2's own tensors: a bias everywhere, q, k and v in one, the inputs first."""
    for name, tensor in list(state.items()):
        if name.startswith(("blocks.", "final_norm.")) and name.endswith(".weight"):
            state.setdefault(name.removesuffix("weight") + "bias", tensor.new_zeros(tensor.shape[0]))
    for block in (f"blocks.{i}.attention" for i in range(n_layers)):
        for end in ("weight", "bias"):
            state[f"{block}.qkv.{end}"] = torch.cat([state.pop(f"{block}.{each}.{end}") for each in "qkv"])
    return {name: t.T if name.startswith("blocks.") and t.ndim == 2 else t for name, t in state.items()}


def _our_name(name: str, names: dict[str, str]) -> str | None:
    """MiniGPT's name of a tensor, which may lack the `model.` in front. None if it has none."""
    ours = {theirs: each for each, theirs in names.items()}
    stem, _, end = name.removeprefix("transformer." if names is GPT2 else "model.").rpartition(".")
    if block := re.fullmatch(rf"{names['blocks']}\.(\d+)\.(.+)", stem):
        return f"blocks.{block[1]}.{ours[block[2]]}.{end}" if block[2] in ours else None
    return f"{ours[stem]}.{end}" if stem in ours else None


def _their_name(name: str, gpt2: bool) -> str:
    names, front = (GPT2, "transformer.") if gpt2 else (LLAMA, "model.")
    stem, end = name.rsplit(".", 1)
    if stem.startswith("blocks."):
        _, layer, part = stem.split(".", 2)
        return f"{front}{names['blocks']}.{layer}.{names[part]}.{end}"
    return f"{'' if stem == 'head' else front}{names[stem]}.{end}"


def _json(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise ValueError(f"{file.parent} has no {file.name}")
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: it holds no JSON object")
    return found


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and mapped tensors of all files. Raises ValueError for one that is not there, or damaged."""
    if not (folder / WEIGHTS).exists() and not (folder / INDEX).exists():
        pickle = "; its pytorch_model.bin is a pickle, and those are not read here"
        raise ValueError(f"{folder} has no {WEIGHTS}{pickle if (folder / 'pytorch_model.bin').exists() else ''}")
    one = (folder / WEIGHTS).exists()
    for file in [WEIGHTS] if one else sorted(set(_json(folder / INDEX).get("weight_map", {}).values())):
        if not (folder / file).exists():
            raise ValueError(f"{folder} lacks {file}, which {INDEX} names")
        try:
            with safe_open(folder / file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (it is no dict)
                    yield name, opened.get_tensor(name)
        except SafetensorError as error:
            raise ValueError(f"{folder / file} is cut short or damaged ({error})") from None
