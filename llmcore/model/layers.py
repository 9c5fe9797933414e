"""What stands between the attentions: two norms and two MLPs.

Does not: choose. The transformer picks by the config; each class here is one formula.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmcore.model.config import Config


class RMSNorm(nn.Module):
    """x / √(mean(x²) + ε) · w: LayerNorm without the mean. In float32 inside, whatever comes in.

    Source: Zhang & Sennrich 2019, eq. 4.
    """

    def __init__(self, d: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        if x.dtype == torch.float32:  # one call instead of four: a sixth of a small model's step is spent in such calls
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return F.rms_norm(x.float(), self.weight.shape, eps=self.eps).type_as(x) * self.weight


class MLP(nn.Module):
    """down(gelu(up(x))), with the tanh approximation that GPT-2 was trained with.

    Source: Hendrycks & Gimpel 2016; Radford et al. 2019.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)): three matrices, so 8/3 · d_model inside holds as many parameters as MLP's 4.

    Source: Shazeer 2020, eq. 6.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def norm(config: Config) -> nn.Module:
    """The norm that the config asks for."""
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, config.norm_eps)
    return nn.LayerNorm(config.d_model, config.norm_eps, bias=config.bias)
