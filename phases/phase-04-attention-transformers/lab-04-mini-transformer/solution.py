"""A decoder-only transformer of the Llama kind, whole: norm, MLP, attention, block, model, and the tests that catch it lying.

Run:  python solution.py                      # parameters, loss before training, and what each sanity test can see
      python solution.py --smollm2 "Question" # SmolLM2-135M answers: its weights, the code in this file
      python solution.py --maps               # who looks at whom: every head of one layer, on a sentence
      python solution.py --ablation           # the norm before or after the sum, 2 and 12 blocks (some minutes)
      python solution.py --table              # parameters, FLOPs and cache of known models, by formula
      python solution.py --library            # the same weights in llmcore's model: what it does better
Does: training-time and whole-prompt forward passes, parameter counts, initialisation, loss, overfitting, two tests.
Does not: cache keys for decoding (phase 9), dropout, batches padded on the left; positions are lab 4.3's.

B sequences of T tokens; V ids; D = d_model, F = d_ff, H query heads on K key-value heads of Dh = D / H numbers each.
The parameters have llmcore's names, so a state_dict of either loads into the other.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmcore.model.positions import rope_frequencies, rotate

LanguageModel = Callable[[Int[Tensor, "b t"]], Float[Tensor, "b t v"]]  # ids to logits of the token after each


@dataclass(frozen=True)
class Config:
    """What distinguishes one model of this family from another."""

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_ff: int
    rope_theta: float = 10_000.0
    rope_layout: Literal["half", "adjacent"] = "half"  # which coordinates turn together, as the checkpoint has it
    norm_eps: float = 1e-5
    pre_norm: bool = True  # False: after each sum, as in 2017
    tie_embeddings: bool = True  # the output layer is the embedding matrix

    @property
    def head_dim(self) -> int:
        """Numbers in a query, key or value of one head."""
        return self.d_model // self.n_heads


class RMSNorm(nn.Module):
    """Every vector scaled to a root mean square of 1, then each coordinate by a weight.  Zhang & Sennrich 2019, eq. 4."""

    def __init__(self, d: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """x / √(mean(x²) + eps) · weight, in float32 inside: a square of 300 is infinite in float16.  Same dtype out.

        >>> RMSNorm(2, eps=0.0)(torch.tensor([3.0, 4.0])).tolist()       # root mean square √12.5 = 3.54
        [0.8485281467437744, 1.1313709020614624]
        """
        # TODO: what is the mean taken over, and on which side of the root does eps stand?
        ### BEGIN SOLUTION
        x32 = x.float()
        scale = torch.rsqrt(x32.square().mean(dim=-1, keepdim=True) + self.eps)
        return (x32 * scale).type_as(x) * self.weight
        ### END SOLUTION


class SwiGLU(nn.Module):
    """The MLP: what `up` computes, let through as far as `gate` allows, and brought back to D.  Shazeer 2020, eq. 6."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """down(silu(gate(x)) · up(x)), each token by itself; silu(z) = z · sigmoid(z)."""
        # TODO: three matrices and one activation.  Which of the two branches does it act on?
        ### BEGIN SOLUTION
        return self.down(F.silu(self.gate(x)) * self.up(x))
        ### END SOLUTION


class CausalSelfAttention(nn.Module):
    """Each token reads those before it: labs 4.1 to 4.3 put together.  Vaswani et al. 2017; Ainslie et al. 2023 (GQA)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        kv = config.n_kv_heads * config.head_dim
        self.q = nn.Linear(config.d_model, config.d_model, bias=False)
        self.k = nn.Linear(config.d_model, kv, bias=False)
        self.v = nn.Linear(config.d_model, kv, bias=False)
        self.out = nn.Linear(config.d_model, config.d_model, bias=False)

    def cos_sin(self, positions: Int[Tensor, "b t"]) -> tuple[Float[Tensor, "b t half"], Float[Tensor, "b t half"]]:
        """What `rotate` wants beside q or k: cosine and sine of each pair's angle at each position.

        The same for all heads, so there is no axis for them: `rotate` puts one in.
        """
        turn, _ = rope_frequencies(self.config.head_dim, self.config.rope_theta)
        angle = positions[..., None].float() * turn.to(positions.device)  # (B, T, Dh/2)
        return angle.cos(), angle.sin()

    def weights(self, x: Float[Tensor, "b t d"], positions: Int[Tensor, "b t"]) -> Float[Tensor, "b h t t"]:
        """How much of each value every token takes, for each head: softmax over the keys of q·k / √Dh, causal.

        Tokens stand in order, so token t may look at the first t + 1 of the row, whatever their positions say; positions
        turn q and k by `rotate(…, layout=config.rope_layout)`.  Query heads 0, 1, … share key head 0, the next ones 1.
        """
        # TODO: q and k, cut into heads and turned; scores; hide the future; softmax.
        ### BEGIN SOLUTION
        c = self.config
        q = self.q(x).unflatten(-1, (c.n_heads, c.head_dim)).transpose(1, 2)  # (B, H, T, Dh)
        k = self.k(x).unflatten(-1, (c.n_kv_heads, c.head_dim)).transpose(1, 2)  # (B, K, T, Dh)
        cos, sin = self.cos_sin(positions)
        q, k = rotate(q, cos, sin, c.rope_layout), rotate(k, cos, sin, c.rope_layout)
        k = k.repeat_interleave(c.n_heads // c.n_kv_heads, dim=1)  # (B, H, T, Dh)
        scores = q @ k.transpose(-2, -1) / math.sqrt(c.head_dim)  # (B, H, T, T)
        T = x.shape[1]
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(diagonal=1)
        return scores.masked_fill(future, -math.inf).softmax(dim=-1)
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "b t d"], positions: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """The values, mixed by `weights`; heads side by side again, through one matrix."""
        # TODO: v is cut into heads as k was, but not turned.
        ### BEGIN SOLUTION
        c = self.config
        v = self.v(x).unflatten(-1, (c.n_kv_heads, c.head_dim)).transpose(1, 2)  # (B, K, T, Dh)
        v = v.repeat_interleave(c.n_heads // c.n_kv_heads, dim=1)  # (B, H, T, Dh)
        mixed = self.weights(x, positions) @ v  # (B, H, T, Dh)
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, T, H·Dh)
        ### END SOLUTION


class Block(nn.Module):
    """Attention, then the MLP; what each computes is added to what came in."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = CausalSelfAttention(config)
        self.mlp_norm = RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: Float[Tensor, "b t d"], positions: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Pre-norm: x + f(norm(x)), so x itself is never normed.  Post-norm: norm(x + f(x)).  For both f in turn."""
        # TODO: two lines for each of the two orders.
        ### BEGIN SOLUTION
        if self.pre_norm:
            x = x + self.attention(self.attention_norm(x), positions)
            return x + self.mlp(self.mlp_norm(x))
        x = self.attention_norm(x + self.attention(x, positions))
        return self.mlp_norm(x + self.mlp(x))
        ### END SOLUTION


class MiniGPT(nn.Module):
    """Embedding, blocks, norm, output layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = RMSNorm(config.d_model, config.norm_eps) if config.pre_norm else nn.Identity()
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight  # one tensor with two names: one gradient, one update

    def forward(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None) -> Float[Tensor, "b t v"]:
        """Logits of the token after each.  Without positions, each row counts from 0."""
        # TODO: ids to vectors, through the blocks, and out.  No softmax: these are logits.
        ### BEGIN SOLUTION
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        x = self.embedding(ids)  # (B, T, D): the residual stream begins
        for block in self.blocks:
            x = block(x, positions)
        return self.head(self.final_norm(x))  # (B, T, V)
        ### END SOLUTION


def initialise(model: MiniGPT) -> None:
    """Set every parameter anew, in place: matrices and embedding normal with standard deviation 0.02, norm weights 1.

    Each block adds to the residual stream twice, by attention.out and by mlp.down: those two are normal with
    0.02 / √(2 · n_layers), so that a deep stream does not grow.  Radford et al. 2019, section 2.3.
    """
    # TODO: in place: a tied output layer must stay the embedding's own tensor.
    ### BEGIN SOLUTION
    for name, parameter in model.named_parameters():  # a tied tensor comes once
        if name.endswith("norm.weight"):
            nn.init.ones_(parameter)
        elif name.endswith(("attention.out.weight", "mlp.down.weight")):
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * model.config.n_layers))
        else:
            nn.init.normal_(parameter, std=0.02)
    ### END SOLUTION


def n_parameters(config: Config) -> int:
    """How many numbers a model of this config learns, by formula alone; a tied matrix counts once.

    >>> n_parameters(Config(vocab_size=49_152, d_model=576, n_layers=30, n_heads=9, n_kv_heads=3, d_ff=1536))  # SmolLM2
    134515008
    """
    # TODO: one term for each tensor, in the order of the forward pass.  Which norms does a post-norm model lack?
    ### BEGIN SOLUTION
    d, kv = config.d_model, config.n_kv_heads * config.head_dim
    attention = d * d + 2 * d * kv + d * d  # q; k and v; out
    block = attention + 3 * d * config.d_ff + 2 * d  # gate, up, down; two norms
    matrices = config.vocab_size * d * (1 if config.tie_embeddings else 2)
    return matrices + config.n_layers * block + (d if config.pre_norm else 0)
    ### END SOLUTION


def next_token_loss(model: LanguageModel, ids: Int[Tensor, "b t"], ignore: int | None = None) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of each token given those before it.  A row of T tokens has T - 1 predictions.

    Predictions *of* the id `ignore` (padding) do not count, neither in the sum nor in what it is divided by.
    """
    # TODO: which logits belong to which token?
    ### BEGIN SOLUTION
    logits, targets = model(ids)[:, :-1], ids[:, 1:]
    losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    if ignore is not None:
        losses = losses[targets.flatten() != ignore]
    return losses.mean()
    ### END SOLUTION


def overfit(model: nn.Module, ids: Int[Tensor, "b t"], steps: int, lr: float) -> list[float]:
    """Train on one batch with Adam (torch's defaults but for `lr`), and return the loss before each step."""
    # TODO: the loop of lab 1.4 with next_token_loss.  A fresh optimizer; gradients that the model brings along are old.
    ### BEGIN SOLUTION
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = next_token_loss(model, ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
    ### END SOLUTION


def first_leak(model: LanguageModel, ids: Int[Tensor, " t"]) -> int | None:
    """The earliest position whose logits change when some later token is another one; None if the past knows nothing.

    The model takes any number of rows.  Changes up to 1e-5 of the largest logit are rounding and do not count.

    >>> def peeks(ids): return F.one_hot(ids.roll(-1, dims=1), 10).float()    # position t knows token t + 1
    >>> first_leak(peeks, torch.tensor([3, 1, 4, 1, 5])), first_leak(lambda ids: F.one_hot(ids, 10).float(), torch.arange(5))
    (0, None)
    """
    # TODO: a leak may reach back only a little way, and from one place only.  Which tokens must you change?
    ### BEGIN SOLUTION
    with torch.no_grad():
        logits = model(ids[None])[0]  # (T, V)
        rounding = 1e-5 * logits.abs().max()
        leaks = []
        for later in range(1, len(ids)):
            other = ids.clone()
            other[later] = (ids[later] + 1) % logits.shape[-1]
            change = (model(other[None])[0] - logits)[:later].abs().amax(dim=-1)  # (later,)
            leaks += (change > rounding).nonzero()[:, 0].tolist()
    return min(leaks, default=None)
    ### END SOLUTION


def is_aligned(loss: Callable[[LanguageModel, Int[Tensor, "b t"]], Float[Tensor, ""]], vocab_size: int) -> bool:
    """Does `loss(model, ids)` compare the logits at position t with token t + 1, and with no other token?

    Judged from outside, with models of your own making: `loss` may give its model all of ids or all but the last column.
    Averages and sums are both losses.  One that is low whatever the model says is not aligned.
    """
    # TODO: what must the loss of a model be that knows every next token?  And of one that knows another token?
    ### BEGIN SOLUTION
    ids = torch.randint(vocab_size, (4, 64), generator=torch.Generator().manual_seed(0))
    sure = 50 * F.one_hot(ids, vocab_size).float()  # (4, 64, V): as certain as can be of each token

    def loss_of(answers: Float[Tensor, "b t v"]) -> float:
        """The loss of a model that answers this, whatever it is asked."""
        return float(loss(lambda seen: answers[:, : seen.shape[1]], ids))

    nothing = torch.zeros_like(sure[:, :1])
    knows_next = torch.cat([sure[:, 1:], nothing], dim=1)  # nobody can know what follows the last token
    return loss_of(knows_next) < 1e-3 < loss_of(sure)
    ### END SOLUTION


def build(config: Config, seed: int = 0) -> MiniGPT:
    """A new model: the same numbers for the same seed."""
    torch.manual_seed(seed)
    model = MiniGPT(config)
    initialise(model)
    return model


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="A transformer from its parts: what it holds, what the sanity tests see, and real weights on it."
    )
    parser.add_argument("--smollm2", metavar="QUESTION", help="SmolLM2-135M answers, on this file's code")
    parser.add_argument("--maps", action="store_true", help="draw who looks at whom in a layer of SmolLM2")
    parser.add_argument("--ablation", action="store_true", help="train pre-norm against post-norm, and draw it")
    parser.add_argument("--table", action="store_true", help="parameters, FLOPs and cache of known models, by formula")
    parser.add_argument("--library", action="store_true", help="the same weights in llmcore's model, and what it saves")
    parser.add_argument("--full", action="store_true", help="with --ablation: larger, longer, on a GPU if there is one")
    arguments = parser.parse_args()
    import transformer_report as report

    lab = sys.modules[__name__]
    if arguments.smollm2 is not None:
        report.smollm2(lab, arguments.smollm2)
    elif arguments.maps:
        report.maps(lab)
    elif arguments.ablation:
        report.ablation(lab, arguments.full)
    elif arguments.table:
        report.table(lab)
    elif arguments.library:
        report.library(lab)
    else:
        report.report(lab)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 4.4 {task}")
    except KeyboardInterrupt:
        sys.exit("stopped")
