"""llama.cpp as a peer: the same weights in a GGUF file, and its own loop around its own kernels.

Its Python package is built from source when it is installed, which takes some ten minutes and a C++ compiler, so no
extra asks for it: `pip install llama-cpp-python`, and the benchmark finds it.
"""

import ctypes
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from jaxtyping import Int
from torch import Tensor

from llmcore.model.config import Config
from llmcore.model.gguf_model import NAMES
from llmcore.model.transformer import MiniGPT

_THEIRS = {ours: theirs for theirs, ours in NAMES.items()}


def there() -> bool:
    """Whether llama.cpp can be asked."""
    try:
        import llama_cpp  # noqa: F401
    except ImportError:
        return False
    return True


def write(model: MiniGPT, path: Path) -> None:
    """The weights as llama.cpp wants them: a Llama file in float32, without a vocabulary."""
    c = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(c.n_layers)
    writer.add_context_length(c.context_length)
    writer.add_embedding_length(c.d_model)
    writer.add_feed_forward_length(c.d_ff)
    writer.add_head_count(c.n_heads)
    writer.add_head_count_kv(c.n_kv_heads)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_dimension_count(c.head_dim)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_vocab_size(c.vocab_size)
    writer.add_tokenizer_model("none")
    for name, tensor in model.state_dict().items():
        block, part = "", name.removesuffix(".weight")
        if part.startswith("blocks."):
            _, number, part = part.split(".", 2)
            block = f"blk.{number}."
        if part in ("attention.q", "attention.k"):
            tensor = _adjacent(tensor, c)
        writer.add_tensor(f"{block}{_THEIRS[part]}.weight", tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _adjacent(weight: Tensor, config: Config) -> Tensor:
    """Rows of q or k in the order in which coordinates that turn together are neighbours."""
    return weight.unflatten(0, (-1, 2, config.head_dim // 2)).transpose(1, 2).flatten(0, 2)


class LlamaCpp:
    """One loaded file, for so many rows of so many tokens, on one thread, with a float32 cache."""

    def __init__(self, path: Path, rows: int, tokens: int) -> None:
        import llama_cpp

        self.api: Any = llama_cpp
        self.rows, self.tokens = rows, tokens
        self._quiet = self.api.llama_log_callback(lambda level, text, data: None)
        self.api.llama_log_set(self._quiet, ctypes.c_void_p(0))
        self.api.llama_backend_init()
        settings = self.api.llama_model_default_params()
        settings.n_gpu_layers = 0
        self.model = self.api.llama_model_load_from_file(str(path).encode(), settings)
        context = self.api.llama_context_default_params()
        context.n_ctx = context.n_batch = rows * tokens
        context.n_seq_max = rows
        context.n_threads = context.n_threads_batch = 1
        context.type_k = context.type_v = 0  # float32: the default would round the cache to float16
        self.context = self.api.llama_init_from_model(self.model, context)
        if not self.model or not self.context:
            raise RuntimeError(f"llama.cpp does not take {path.name}")
        self.vocab_size = self.api.llama_vocab_n_tokens(self.api.llama_model_get_vocab(self.model))
        self.batch = self.api.llama_batch_init(rows * tokens, 0, rows)

    def ids(self, prompts: Int[Tensor, "b t"], new: int) -> list[list[int]]:
        """New ids of each row, greedy."""
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)
        rows, length = prompts.shape
        answers: list[list[int]] = [[] for _ in range(rows)]
        last = self._step(
            [(int(i), t, row, t == length - 1) for row, ids in enumerate(prompts) for t, i in enumerate(ids)]
        )
        for step in range(new):
            for answer, i in zip(answers, last, strict=True):
                answer.append(i)
            if step < new - 1:
                last = self._step([(i, length + step, row, True) for row, i in enumerate(last)])
        return answers

    def _step(self, tokens: list[tuple[int, int, int, bool]]) -> list[int]:
        """The best next id behind each token (id, position, row, wanted) that is wanted."""
        for k, (i, position, row, wanted) in enumerate(tokens):
            self.batch.token[k], self.batch.pos[k], self.batch.logits[k] = i, position, wanted
            self.batch.n_seq_id[k], self.batch.seq_id[k][0] = 1, row
        self.batch.n_tokens = len(tokens)
        if self.api.llama_decode(self.context, self.batch):
            raise RuntimeError("llama.cpp could not decode")
        return [int(np.ctypeslib.as_array(self._logits(k)).argmax()) for k, (*_, wanted) in enumerate(tokens) if wanted]

    def _logits(self, k: int) -> Any:
        pointer = self.api.llama_get_logits_ith(self.context, k)
        return ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * self.vocab_size)).contents
