"""Multi-head attention, with one rule for training, prefill, decoding and everything between:

**a query may look at a key if the key's position is not after its own** (and within the window, if there is one).

Positions are given, -1 means padding, and a cache gives keys from earlier calls; so a batch padded on the left, a
prompt in chunks, a single new token on a thousand cached ones and a speculative draft of five are all the same code.

Does not:
- write its own kernel: torch's scaled_dot_product_attention does the work. `explain=True` takes the explicit maths,
  a line longer, and returns the weights
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmcore.cache.base import PADDING, LayerCache
from llmcore.model.config import Config
from llmcore.model.layers import RMSNorm
from llmcore.model.positions import alibi_slopes, rotate


def may_see(queries: Int[Tensor, "b t"], keys: Int[Tensor, "b s"], window: int = 0) -> Bool[Tensor, "b 1 t s"]:
    """Which query may look at which key, from their positions alone."""
    q, k = queries[:, None, :, None], keys[:, None, None, :]
    allowed = (k <= q) & (k != PADDING)
    if window:
        allowed &= k > q - window
    return allowed | (q == PADDING)  # a padded query looks anywhere: its row must not be empty, and nobody reads it


class Mask(NamedTuple):
    """What a forward pass hides, made once for all its layers."""

    bias: Float[Tensor, "b h t s"] | None  # added to the scores; None: nothing to add
    causal: bool = False  # query i sees keys 0 to i: torch knows that without a matrix


def attention_mask(
    config: Config,
    queries: Int[Tensor, "b t"],
    keys: Int[Tensor, "b s"],
    plain: bool = False,
    documents: Int[Tensor, "b t"] | None = None,
) -> Mask:
    """-inf where a query may not look, and ALiBi's penalty for distance; a head dimension of 1 stands for all heads.

    `plain` promises that the keys stand at 0, 1, …, s - 1 and the queries are the last t of them: then a training batch
    needs no mask in memory, and a single new token needs none at all. With `documents`, queries and keys are the same
    tokens, and look at no other document's.
    """
    t, s = queries.shape[1], keys.shape[1]
    plain = plain and documents is None
    if plain and (t == s or t == 1) and (not config.window or s <= config.window) and config.position != "alibi":
        return Mask(None, causal=t > 1)
    hidden = ~may_see(queries, keys, config.window)  # (B, 1, T, S)
    if documents is not None:
        hidden |= documents[:, None, :, None] != documents[:, None, None, :]
    bias = torch.zeros(hidden.shape, device=queries.device)
    if config.position == "alibi":
        distance = queries[:, None, :, None] - keys[:, None, None, :]
        bias = -alibi_slopes(config.n_heads).to(queries.device)[:, None, None] * distance  # (B, H, T, S)
    return Mask(bias.masked_fill(hidden, -math.inf))


class Attention(nn.Module):
    """q, k, v from x; every head mixes values by softmax(q·k / √head_dim); heads side by side through one matrix.

    n_kv_heads < n_heads shares each key head among n_heads / n_kv_heads query heads, neighbours together.
    Source: Vaswani et al. 2017, eq. 1; Ainslie et al. 2023 (GQA).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        self.q = nn.Linear(config.d_model, q, bias=bool(config.qkv_bias))
        self.k = nn.Linear(config.d_model, kv, bias=bool(config.qkv_bias))
        self.v = nn.Linear(config.d_model, kv, bias=bool(config.qkv_bias))
        self.out = nn.Linear(q, config.d_model, bias=config.bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.norm_eps)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        positions: Int[Tensor, "b t"],
        rope: tuple[Tensor, Tensor] | None,
        cache: LayerCache | None = None,
        mask: Mask | None = None,
        explain: bool = False,
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b h t s"] | None]:
        """The mixed values, and the weights if `explain`.

        Args:
            mask: what attention_mask says of these positions and the cache's; without a cache it may be left out.
            explain: take the explicit maths. Its mask must say everything in `bias`.
        """
        c = self.config
        q = self.q(x).unflatten(-1, (c.n_heads, c.head_dim)).transpose(1, 2)  # (B, H, T, Dh)
        k = self.k(x).unflatten(-1, (c.n_kv_heads, c.head_dim)).transpose(1, 2)  # (B, Hkv, T, Dh)
        v = self.v(x).unflatten(-1, (c.n_kv_heads, c.head_dim)).transpose(1, 2)
        if c.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = (rotate(each, *rope, layout=c.rope_layout) for each in (q, k))
        if cache is not None:
            k, v = cache.append(k, v)  # (B, Hkv, S, Dh), S = cached + T
        if mask is None:
            mask = attention_mask(c, positions, positions)
        bias = None if mask.bias is None else mask.bias.to(q.dtype)
        weights: Tensor | None = None
        if explain:
            groups = c.n_heads // c.n_kv_heads
            scores = q @ k.repeat_interleave(groups, dim=1).transpose(-2, -1) / math.sqrt(c.head_dim) + bias
            weights = scores.softmax(dim=-1)  # (B, H, T, S)
            mixed = weights @ v.repeat_interleave(groups, dim=1)
        else:
            dropout = c.dropout if self.training else 0.0
            gqa = c.n_kv_heads != c.n_heads
            mixed = F.scaled_dot_product_attention(q, k, v, bias, dropout, mask.causal, enable_gqa=gqa)
        return self.out(mixed.transpose(1, 2).flatten(-2)), weights
