"""AdamW with the groups that language models are trained with.

Weight decay pulls a weight towards zero. For a matrix that is a preference for simple maps; for the gain of a norm, or a
bias, zero means nothing, so they are left alone. Source: Loshchilov & Hutter 2019 (AdamW), algorithm 2; Radford et al.
2019 and nanoGPT for the groups; Brown et al. 2020 for the second beta.
"""

import torch
from torch import nn


def groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """What decays (matrices and embeddings) and what does not (gains and biases); a tied weight once, a frozen one never."""
    trained = [p for p in model.parameters() if p.requires_grad]  # a shared parameter comes once
    return [p for p in trained if p.dim() >= 2], [p for p in trained if p.dim() < 2]


def adamw(
    model: nn.Module, lr: float, weight_decay: float = 0.1, betas: tuple[float, float] = (0.9, 0.95)
) -> torch.optim.AdamW:
    """The optimizer over both groups, in one fused kernel where the device has one (CUDA, and the CPU, too).

    Raises ValueError for a model of which nothing is trained.
    """
    decayed, kept = groups(model)
    if not decayed and not kept:
        raise ValueError("no parameter of this model wants a gradient: model.requires_grad_(True)?")
    sets = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    sets = [each for each in sets if each["params"]]
    try:
        return torch.optim.AdamW(sets, lr=lr, betas=betas, fused=True)
    except RuntimeError:  # this device, or this dtype, has no fused kernel
        return torch.optim.AdamW(sets, lr=lr, betas=betas)
