"""Linear layers laid out in memory for asking a model on the CPU: same weights, same answers, other kernels.

    model = pack(pretrained.load("smollm2"))

Generation reads every weight once for each token, so it could be as fast as the CPU reads memory. F.linear often is not,
and what is better depends on how many rows are multiplied at once:

- one row      a matrix times a vector: one token of one conversation. The kernel runs along the weight as it lies in
               memory, and the longer the stretches, the less it stumbles. So the longer axis becomes the contiguous one.
- more rows    oneDNN's matrix product on a weight that is already cut into the blocks it works with.

So every weight lies in memory twice. Where torch comes without these operations, or the CPU cannot multiply the dtype
(bfloat16 before AVX-512), F.linear does the work as before.

Does not:
- train: the operations have no gradient, and whoever asks for one is told so
- quantise, or speed up a GPU: the numbers are the same but for the order in which they are added up
- promise: what it brings depends on the CPU. benchmarks/results/decode.md says what it brought on one
"""

from typing import Any, NoReturn, Self, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class PackedLinear(nn.Module):
    """What nn.Linear is, for inference on a CPU. Its state_dict is that of the layer it was made from.

    Raises ValueError for a layer that is not on the CPU.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        if weight.device.type != "cpu":
            raise ValueError(f"packed layers are for the CPU, and this one is on {weight.device}")
        out_features, in_features = weight.shape
        longer_inside = weight.t().contiguous().t() if out_features > in_features else weight.contiguous()
        self.register_buffer("weight", longer_inside)  # (out, in) all the same: only the strides differ
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())
        self.blocks = blocked(weight)
        self.vector = weight.dtype == torch.float32  # in bfloat16 the blocks are better for one row, too
        self.eval()

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """x · weightᵀ + bias. Raises RuntimeError in training mode, and where a gradient is wanted."""
        if self.training or (x.requires_grad and torch.is_grad_enabled()):
            raise RuntimeError("a packed model only answers: train the model first, pack it then")
        if self.blocks is None or (self.vector and x.numel() == x.shape[-1]):
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.blocks, self.bias, "none", [], "")

    def _load_from_state_dict(self, *args: Any) -> NoReturn:
        raise RuntimeError("a packed model takes no other weights: load them first, pack the model then")

    def _apply(self, fn: Any, recurse: bool = True) -> Self:  # what .to(), .half() and their like come down to
        changed = fn(self.weight)
        if (changed.dtype, changed.device) != (self.weight.dtype, self.weight.device):
            raise RuntimeError("a packed model keeps its dtype and device: convert the model first, pack it then")
        return self


def blocked(weight: Float[Tensor, "o i"]) -> Tensor | None:
    """The weight in oneDNN's blocks, or None where torch or the CPU has no such operation for its dtype.

    Private operations of torch (they are what torch.compile makes of a linear layer): hence the care.
    """
    operations = torch.ops.mkldnn
    if not (hasattr(operations, "_reorder_linear_weight") and hasattr(operations, "_linear_pointwise")):
        return None
    fits = weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and multiplies_bfloat16())
    return operations._reorder_linear_weight(weight.contiguous()) if fits and weight.numel() else None


def multiplies_bfloat16() -> bool:
    """Whether oneDNN has kernels for bfloat16 on this CPU."""
    probe = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return probe is not None and bool(probe())


def pack(model: Model) -> Model:
    """Replace every nn.Linear of a model by a PackedLinear, in place; return the model, in eval mode, without gradients.

    Embeddings stay as they are: a head that shares their weights gets copies of its own.

    Raises ValueError if there is no nn.Linear in it (it may be packed already), or one that is not on the CPU.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]
    if not found:
        raise ValueError("there is no nn.Linear in this model to pack: is it packed already?")
    for parent, name, child in found:
        setattr(parent, name, PackedLinear(child))
    return model.eval().requires_grad_(False)
