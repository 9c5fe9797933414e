"""Where a token stands: sinusoidal vectors, rotations (RoPE, with its five stretchings), and ALiBi's penalties.

All of them are functions of positions that are given, never of a row's place in the batch: the same code serves a
training batch, one new token on a thousand cached ones, and prompts that were padded on the left.

Does not:
- extrapolate by magic: plain RoPE gets worse beyond the context it was trained on; ALiBi and the stretchings are
  there for that
- hold parameters: learned positions are an nn.Embedding of the model
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmcore.model.config import RopeScaling


def sinusoidal(positions: Int[Tensor, "*b t"], d_model: int, theta: float = 10_000.0) -> Float[Tensor, "*b t d"]:
    """sin in the even coordinates, cos in the odd ones, each pair slower than the one before.

    Source: Vaswani et al. 2017, section 3.5.
    """
    slow = theta ** (-torch.arange(0, d_model, 2, device=positions.device, dtype=torch.float32) / d_model)
    angle = positions[..., None].float() * slow  # (*B, T, d/2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[..., :d_model]


def rope_frequencies(
    head_dim: int, theta: float = 10_000.0, scaling: RopeScaling | None = None
) -> tuple[Float[Tensor, " half"], float]:
    """Radians by which each pair of coordinates turns per position, and a factor for cos and sin (1, save in YaRN).

    At position 100 000 an angle is a hundred thousand times as wrong as its frequency: so the steps are those of
    transformers, in their order, and the float32 numbers come out the same to the last bit.

    Source: Su et al. 2021, eq. 15; RopeScaling names the sources of the stretchings.
    """
    pair = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    period = theta**pair  # positions per radian
    turn = 1.0 / period
    if scaling is None:
        return turn, 1.0
    attention = 1.0 if scaling.attention_factor is None else scaling.attention_factor
    if scaling.kind == "linear":
        return turn / scaling.factor, attention
    if scaling.kind == "ntk":
        return 1.0 / (theta * scaling.factor ** (head_dim / (head_dim - 2))) ** pair, attention
    if scaling.kind == "factors":
        return 1.0 / (torch.tensor(scaling.factors) * period), attention
    if scaling.kind == "llama3":
        turns = scaling.original_context / (2 * math.pi / turn)  # in the whole original context
        keep = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
        keep = keep.clamp(0, 1)
        return (1 - keep) * turn / scaling.factor + keep * turn, attention

    def pair_that_turns(times: float) -> float:
        return head_dim * math.log(scaling.original_context / (times * 2 * math.pi)) / (2 * math.log(theta))

    first, last = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_dim - 1)
    ramp = (torch.arange(head_dim // 2, dtype=torch.float32) - first) / max(last - first, 0.001)
    keep = 1 - ramp.clamp(0, 1)
    if scaling.attention_factor is None:
        attention = yarn_attention(scaling.factor)
    return 1.0 / (scaling.factor * period) * (1 - keep) + turn * keep, attention


def yarn_attention(factor: float, mscale: float = 1.0) -> float:
    """YaRN's temperature for q and k both: a longer context spreads attention, and this sharpens it again.

    Source: Peng et al. 2023, eq. 22; `mscale` is DeepSeek's weight for it.
    """
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


def rotate(
    x: Float[Tensor, "b h t dh"],
    cos: Float[Tensor, "*b t half"],
    sin: Float[Tensor, "*b t half"],
    layout: Literal["half", "adjacent"] = "half",
) -> Float[Tensor, "b h t dh"]:
    """Turn pairs of coordinates by their angle: then q·k depends on the distance of the two tokens alone.

    The two layouts are the same rotation with the coordinates in another order, and a checkpoint is bound to its own:
    - half      coordinate i turns with i + dh/2   (Hugging Face's Llama, GPT-NeoX, and all that is converted to them)
    - adjacent  coordinate 2i turns with 2i + 1   (the paper, Meta's Llama code, GGUF files of Llama models)
    """
    cos, sin = cos.unsqueeze(-3), sin.unsqueeze(-3)  # the same for all heads: (*B, 1, T, half)
    if layout == "adjacent":
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2).type_as(x)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).type_as(x)


def alibi_slopes(n_heads: int) -> Float[Tensor, " h"]:
    """How much a score falls per token of distance, for each head: 2^-8/n, 2^-16/n, … for n heads.

    Where n is no power of two, the missing heads take every second slope of twice as many, as the authors' code does.
    Source: Press et al. 2021, section 3.
    """
    below = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * (i + 1) / below) for i in range(below)]
    between = [2 ** (-8 * (i + 1) / (2 * below)) for i in range(0, 2 * below, 2)]
    return torch.tensor(slopes + between[: n_heads - below])
