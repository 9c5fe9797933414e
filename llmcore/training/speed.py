"""How fast a run is, and what share of the device it uses.

Does not:
- count what norms, softmax and activations cost: matrix products are nearly all of it
"""

import math
import time
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from llmcore.training.trainer import Step

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Speed:
    """Tokens a second since it was last restarted, and model FLOPs utilisation where the model's config counts FLOPs.

    MFU: the FLOPs that training needs (a forward pass, and twice as many for the backward pass; attention over the whole
    row), over what the device does on square matrices in the same time. Source: Chowdhery et al. 2022 (PaLM), appendix B.

    Args:
        peak: FLOPs a second of the device; 0: measured now.
    """

    def __init__(self, model: nn.Module, precision: str, peak: float = 0.0) -> None:
        self.config = getattr(model, "config", None)
        self.counts = hasattr(self.config, "flops_per_token")
        if self.counts and not peak:
            peak = matmul_flops(next(model.parameters()).device, DTYPES[precision])
        self.peak = peak
        self.restart()

    def restart(self) -> None:
        self.since, self.tokens = time.perf_counter(), 0

    def after(self, step: "Step") -> dict[str, float]:
        """The step's numbers for a tracker, with both speeds."""
        self.tokens += step.tokens
        rate = self.tokens / max(time.perf_counter() - self.since, 1e-9)
        values = {"loss": step.loss, "learning_rate": step.rate, "gradient_norm": step.norm, "tokens_per_second": rate}
        if self.counts:
            values["mfu"] = 3 * self.config.flops_per_token(step.length) * rate / self.peak  # type: ignore[union-attr]
        return values


def matmul_flops(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """What the device does a second on square matrices: the best of ten products of each size, up to one that takes long.

    (A CPU without units for float16 or bfloat16 needs ten seconds for a product that takes float32 thirty milliseconds.)
    """
    best = 0.0
    for n in (128, 256, 512, 1024, 2048, 4096):
        a, b = torch.ones(n, n, device=device, dtype=dtype), torch.ones(n, n, device=device, dtype=dtype)
        shortest = math.inf
        for _ in range(10):  # the first one warms up, and others may be using the device, too
            start = time.perf_counter()
            (a @ b)[0, 0].item()  # waits for the device
            shortest = min(shortest, time.perf_counter() - start)
        best = max(best, 2 * n**3 / shortest)
        if shortest > 5e-3:
            break
    return best
