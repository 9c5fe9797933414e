"""Published weights on MiniGPT: GPT-2 and the Llama family (Llama, Mistral, Qwen 2 and 3, SmolLM).

    model = load("smollm2")                       # an asset by name
    model = load("models/Qwen3-0.6B")             # a Hugging Face folder: config.json and safetensors
    model = load("models/mine.gguf")              # a file of llama.cpp
    save(model, "models/mine")                    # a folder that transformers reads, too

Safetensors are mapped into memory as they are. Blocks of a GGUF file have to be unpacked: its first load converts it to
float32 and keeps that beside the assets; later loads map the result.

Does not:
- download: `python -m llmcore.assets fetch smollm2` does
- keep weights quantised: llmcore.quant will
- read what MiniGPT cannot be: that is refused in a sentence which says why
"""

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from llmcore import assets
from llmcore.gguf import GGUF
from llmcore.model import gguf_model, huggingface
from llmcore.model.config import Config, RopeScaling
from llmcore.model.huggingface import save
from llmcore.model.transformer import MiniGPT

__all__ = ["load", "save"]


def load(name: str | Path, dtype: torch.dtype = torch.float32) -> MiniGPT:
    """A trained model, ready to be asked: eval mode, no gradients until you want them.

    Args:
        name: of an asset, or the path of a Hugging Face folder or a GGUF file.
        dtype: of the weights in memory. In their own dtype, those of a folder are not copied until they are changed.

    Raises ValueError for a path that is none of these or a model that MiniGPT cannot be, AssetMissing for an asset that
    has not been fetched.
    """
    path = assets.path(str(name)) if str(name) in assets.catalogue() else Path(name)
    if path.is_dir():
        config, state = huggingface.read(path)
    elif path.exists():
        config, state = _converted(path)
    else:
        raise ValueError(f"{str(name)!r} is no asset, no folder and no GGUF file")
    with _Unfilled():
        model = MiniGPT(config)
    shapes = {each: tensor.shape for each, tensor in model.state_dict().items()}
    wrong = [each for each in [*shapes, *state] if each not in state or state[each].shape != shapes.get(each)]
    if wrong:
        got, want = (tuple(x[wrong[0]]) if wrong[0] in x else "nothing" for x in (_shapes(state), shapes))
        raise ValueError(f"{path} has {got} for {wrong[0]}, and its description asks for {want}")
    model.load_state_dict({each: tensor.to(dtype) for each, tensor in state.items()}, assign=True)
    if config.tie_embeddings:
        model.head.weight = model.embedding.weight
    return model.eval().requires_grad_(False)


class _Unfilled(TorchFunctionMode):
    """Parameters take no memory and no random numbers, which would be overwritten at once; all else is as ever.

    (torch.device("meta") would move all else, too, and to compute there torch imports its compiler: two seconds.)
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            return torch.empty(*args, **{**kwargs, "device": "meta"})
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def _converted(path: Path) -> tuple[Config, dict[str, Tensor]]:
    """A GGUF file's config and float32 tensors, unpacked on the first call and mapped on all others."""
    found = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {found.st_size} {found.st_mtime_ns} 2".encode()).hexdigest()[:16]
    kept = assets.cache_dir() / "converted" / f"{path.stem}-{key}.pt"
    if not kept.exists():
        file = GGUF(path)
        config, state = gguf_model.config_of(file), gguf_model.weights_of(file)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        torch.save({"config": asdict(config), "state": state}, part)
        os.replace(part, kept)  # whoever looks sees all of it or nothing
    data = torch.load(kept, mmap=True, weights_only=True)
    scaling = data["config"].pop("rope_scaling")
    return Config(**data["config"], rope_scaling=RopeScaling(**scaling) if scaling else None), data["state"]
