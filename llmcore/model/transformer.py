"""MiniGPT: a decoder-only transformer to be read from top to bottom, on which real checkpoints run.

    >>> tiny = Config(vocab_size=65, context_length=32, d_model=24, n_layers=2, n_heads=4)
    >>> model = MiniGPT(tiny)
    >>> model(torch.tensor([[5, 1, 4]])).shape
    torch.Size([1, 3, 65])

Does not:
- train itself or choose tokens: llmcore.training and llmcore.sampling do
- know files: pretrained reads them
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from llmcore.cache.base import PADDING, Cache, Step
from llmcore.cache.blocks import BlockPool
from llmcore.cache.contiguous import KVCache
from llmcore.model.attention import Attention, attention_mask
from llmcore.model.config import Config
from llmcore.model.layers import MLP, SwiGLU, norm
from llmcore.model.positions import rope_frequencies, sinusoidal


class Block(nn.Module):
    """Attention, then an MLP, each added to what came in; the norm before them (or, as in 2017, after the sum)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.attention_norm = norm(config)
        self.attention = Attention(config)
        self.mlp_norm = norm(config)
        self.mlp = SwiGLU(config) if config.mlp == "swiglu" else MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, *where: object, **how: object) -> tuple[Float[Tensor, "b t d"], Tensor | None]:
        """The block's output, and its attention weights if they were asked for. Arguments as Attention's."""
        mixed, weights = self.attention(self.attention_norm(x) if self.pre_norm else x, *where, **how)
        x = x + self.dropout(mixed)
        x = x if self.pre_norm else self.attention_norm(x)
        x = x + self.dropout(self.mlp(self.mlp_norm(x) if self.pre_norm else x))
        return x if self.pre_norm else self.mlp_norm(x), weights


class MiniGPT(nn.Module):
    """Embedding, blocks, norm, output layer."""

    turn: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.position == "learned":
            self.position_embedding = nn.Embedding(config.context_length, config.d_model)
        if config.position == "rope":
            turn, self.rope_factor = rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
            self.register_buffer("turn", turn, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = norm(config) if config.pre_norm else nn.Identity()
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.recompute = False  # True: in training, blocks are computed twice instead of remembered (Chen et al. 2016)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        """Normal with 0.02, as GPT-2; what is added to the residual stream starts smaller, as there are 2·layers of it.

        Source: Radford et al. 2019, section 2.3.
        """
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, Block):
            for last in (module.attention.out, module.mlp.down):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * self.config.n_layers))

    def forward(
        self,
        ids: Int[Tensor, "b t"],
        cache: Cache | None = None,
        positions: Int[Tensor, "b t"] | None = None,
        last_only: bool = False,
        documents: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t v"]:
        """Logits of the token after each.

        Args:
            cache: keys and values of the tokens before these; these are added to it.
            positions: where each token stands, PADDING (-1) for none; without, they count on from the cache.
            last_only: logits of the last token alone (B, 1, V): all that generation needs, and a prompt's other
                logits are the largest tensor there is.
            documents: a number for each token; nobody looks at a token with another one. For several texts in a row,
                with positions that begin anew in each. Without a cache.

        Raises ValueError for a position beyond what learned positions have, and for documents with a cache.
        """
        x = self.hidden(ids, cache, positions, documents)
        return self.head(x[:, -1:] if last_only else x)

    def hidden(
        self,
        ids: Int[Tensor, "b t"],
        cache: Cache | None = None,
        positions: Int[Tensor, "b t"] | None = None,
        documents: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """What the output layer gets: each token's state behind the last block and norm. Arguments as `forward`'s."""
        return self._run(ids, cache, positions, documents)[0]

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache for this model, in its dtype and on its device."""
        c, weight = self.config, self.embedding.weight
        return KVCache(c.n_layers, batch, c.n_kv_heads, c.head_dim, capacity, weight.dtype, weight.device)

    def new_pool(self, n_blocks: int, block_size: int = 16) -> BlockPool:
        """An empty block pool for this model's sequences, in its dtype and on its device: see cache.paged."""
        c, weight = self.config, self.embedding.weight
        return BlockPool(c.n_layers, n_blocks, block_size, c.n_kv_heads, c.head_dim, weight.dtype, weight.device)

    def loss(self, ids: Int[Tensor, "b t"], targets: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats per token; a target of -100 does not count."""
        return F.cross_entropy(self(ids).flatten(0, 1).float(), targets.flatten(), ignore_index=-100)

    def attention_weights(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "layers b h t t"]:
        """Who looks at whom, in every layer and head."""
        return torch.stack(self._run(ids, None, None, explain=True)[1])

    def _run(
        self,
        ids: Tensor,
        cache: Cache | None,
        positions: Tensor | None,
        documents: Tensor | None = None,
        explain: bool = False,
    ) -> tuple[Float[Tensor, "b t d"], list[Tensor]]:
        if cache is not None:
            if documents is not None:
                raise ValueError("a cache does not remember documents: give each of them a row of its own")
            step = cache.begin(ids, positions)
        else:
            where = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape) if positions is None else positions
            step = Step(where, where, positions is None, [None] * len(self.blocks))
        positions = step.positions
        if self.config.position == "learned":
            needed = step.keys.shape[1] if step.plain else int(positions.max()) + 1
            if needed > self.config.context_length:
                raise ValueError(f"position {needed - 1} is beyond the {self.config.context_length} that were learned")
        mask = attention_mask(self.config, positions, step.keys, step.plain and not explain, documents)
        x = self.embedding(ids)  # (B, T, D)
        rope = None
        if self.config.position == "learned":
            x = x + self.position_embedding(positions.clamp(min=0))
        elif self.config.position == "sinusoidal":
            x = x + sinusoidal(positions, self.config.d_model).type_as(x)
        elif self.config.position == "rope":
            angle = positions[..., None].float() * self.turn  # (B, T, Dh/2)
            rope = (angle.cos() * self.rope_factor, angle.sin() * self.rope_factor)
        x = self.dropout(x)
        maps = []
        for block, layer in zip(self.blocks, step.layers, strict=True):
            if self.recompute and self.training and layer is None:
                x, weights = checkpoint(block, x, positions, rope, mask=mask, explain=explain, use_reentrant=False)
            else:
                x, weights = block(x, positions, rope, layer, mask=mask, explain=explain)
            if weights is not None:
                maps.append(weights)
        if cache is not None:
            cache.commit()
        return self.final_norm(x), maps


__all__ = ["PADDING", "Block", "MiniGPT"]
