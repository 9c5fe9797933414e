"""Multi-head attention, with one rule for training, prefill, decoding and everything between:

**a query may look at a key if the key's position is not after its own** (and within the window, if there is one).

Positions are given, -1 means padding, and a cache gives keys from earlier calls; so a batch padded on the left, a
prompt in chunks, a single new token on a thousand cached ones and a speculative draft of five are all the same code.

Does not:
- write its own kernel: torch's scaled_dot_product_attention does the work. `explain=True` takes the explicit maths,
  a line longer, and returns the weights
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmcore.cache.contiguous import LayerCache
from llmcore.model.config import Config
from llmcore.model.layers import RMSNorm
from llmcore.model.positions import alibi_slopes, rotate

PADDING = -1  # the position of a token that is not there


def may_see(queries: Int[Tensor, "b t"], keys: Int[Tensor, "b s"], window: int = 0) -> Bool[Tensor, "b 1 t s"]:
    """Which query may look at which key, from their positions alone."""
    q, k = queries[:, None, :, None], keys[:, None, None, :]
    allowed = (k <= q) & (k != PADDING)
    if window:
        allowed &= k > q - window
    return allowed | (q == PADDING)  # a padded query looks anywhere: its row must not be empty, and nobody reads it


class Attention(nn.Module):
    """q, k, v from x; every head mixes values by softmax(q·k / √head_dim); heads side by side through one matrix.

    n_kv_heads < n_heads shares each key head among n_heads / n_kv_heads query heads, neighbours together.
    Source: Vaswani et al. 2017, eq. 1; Ainslie et al. 2023 (GQA).
    """

    slopes: Tensor

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
        if config.position == "alibi":
            self.register_buffer("slopes", alibi_slopes(config.n_heads), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        positions: Int[Tensor, "b t"],
        rope: tuple[Tensor, Tensor] | None,
        cache: LayerCache | None = None,
        plain: bool = False,
        explain: bool = False,
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b h t s"] | None]:
        """The mixed values, and the weights if `explain`.

        `plain` promises that positions count on from what the cache holds, without padding: then a training batch
        needs no mask in memory, and a single new token needs none at all.
        """
        c = self.config
        q = self.q(x).unflatten(-1, (c.n_heads, c.head_dim)).transpose(1, 2)  # (B, H, T, Dh)
        k = self.k(x).unflatten(-1, (c.n_kv_heads, c.head_dim)).transpose(1, 2)  # (B, Hkv, T, Dh)
        v = self.v(x).unflatten(-1, (c.n_kv_heads, c.head_dim)).transpose(1, 2)
        if c.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = (rotate(each, *rope, layout=c.rope_layout) for each in (q, k))
        key_positions = positions
        if cache is not None:
            k, v, key_positions = cache.append(k, v, positions)  # (B, Hkv, S, Dh), S = cached + T
        past = k.shape[2] - q.shape[2]
        bias: Tensor | None = None
        causal = False
        if plain and not c.window and c.position != "alibi" and not explain and (past == 0 or q.shape[2] == 1):
            causal = past == 0 and q.shape[2] > 1
        else:
            bias = self.bias(positions, key_positions).to(q.dtype)
        weights: Tensor | None = None
        if explain:
            groups = c.n_heads // c.n_kv_heads
            scores = q @ k.repeat_interleave(groups, dim=1).transpose(-2, -1) / math.sqrt(c.head_dim) + bias
            weights = scores.softmax(dim=-1)  # (B, H, T, S)
            mixed = weights @ v.repeat_interleave(groups, dim=1)
        else:
            dropout = c.dropout if self.training else 0.0
            gqa = c.n_kv_heads != c.n_heads
            mixed = F.scaled_dot_product_attention(q, k, v, bias, dropout, causal, enable_gqa=gqa)
        return self.out(mixed.transpose(1, 2).flatten(-2)), weights

    def bias(self, queries: Int[Tensor, "b t"], keys: Int[Tensor, "b s"]) -> Float[Tensor, "b h t s"]:
        """What is added to the scores: -inf where a query may not look, and ALiBi's penalty for distance."""
        hidden = ~may_see(queries, keys, self.config.window)  # (B, 1, T, S)
        bias = torch.zeros(hidden.shape, device=queries.device)
        if self.config.position == "alibi":
            distance = queries[:, None, :, None] - keys[:, None, None, :]
            bias = -self.slopes[:, None, None] * distance  # (B, H, T, S)
        return bias.masked_fill(hidden, -math.inf)
