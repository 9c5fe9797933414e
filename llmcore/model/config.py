"""One description of a decoder-only transformer: GPT-2, Llama, Mistral, Qwen and SmolLM differ only in these fields.

    >>> gpt2 = Config(vocab_size=50_257, context_length=1024, d_model=768, n_layers=12, n_heads=12, bias=True)
    >>> gpt2.n_parameters
    124439808
    >>> Config(
    ...     vocab_size=32_000, context_length=4096, d_model=4096, n_layers=32, n_heads=32, d_ff=11_008,
    ...     position="rope", norm="rmsnorm", mlp="swiglu", tie_embeddings=False,
    ... ).n_parameters                                            # Llama 2 7B
    6738415616

Does not:
- describe mixtures of experts, encoders or cross-attention
- guess: a field that a checkpoint needs is set by whoever reads that checkpoint (pretrained)
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RopeScaling:
    """How RoPE is stretched beyond the context it was trained on (positions.rope_frequencies does it).

    - linear   every position divided by `factor`              (Chen et al. 2023, position interpolation)
    - ntk      a larger base, so that fast pairs hardly change   (bloc97 2023, NTK-aware)
    - yarn     slow pairs divided, fast ones kept, a ramp between  (Peng et al. 2023, YaRN)
    - llama3   the same idea with bounds in wavelengths         (Llama 3.1's reference code)
    - factors  each pair divided by a number of its own          (GGUF's rope_freqs.weight)
    """

    kind: Literal["linear", "ntk", "yarn", "llama3", "factors"]
    factor: float = 1.0
    original_context: int = 0  # yarn, llama3: the context of the first training
    beta_fast: float = 32.0  # yarn: pairs that turn more often than this in the original context are kept
    beta_slow: float = 1.0  # yarn: pairs that turn less often than this are divided by `factor`
    low_freq_factor: float = 1.0  # llama3: the same two bounds under other names
    high_freq_factor: float = 4.0
    truncate: bool = True  # yarn: the ramp begins and ends at whole pairs (gpt-oss: between them, too)
    attention_factor: float | None = None  # what cos and sin are multiplied by; None: 1, and what YaRN says in YaRN
    factors: tuple[float, ...] = ()  # factors: one for each pair

    def __post_init__(self) -> None:
        if self.kind in ("yarn", "llama3") and self.original_context < 1:
            raise ValueError(f"{self.kind} needs original_context, the context of the first training")


@dataclass(frozen=True)
class Config:
    vocab_size: int
    context_length: int  # positions the model was made for; learned positions end there
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int = 0  # 0: as many as n_heads (MHA); fewer: GQA; 1: MQA
    head_dim: int = 0  # 0: d_model / n_heads
    d_ff: int = 0  # width inside the MLP; 0: 4 · d_model
    position: Literal["learned", "sinusoidal", "rope", "alibi"] = "learned"
    rope_theta: float = 10_000.0
    rope_layout: Literal["half", "adjacent"] = "half"  # which coordinates turn together: see positions.rotate
    rope_scaling: RopeScaling | None = None
    window: int = 0  # a query sees this many keys, itself among them; 0: all before it (Mistral's sliding window)
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_eps: float = 1e-5
    pre_norm: bool = True  # False: after the sum, as in the first transformer
    mlp: Literal["gelu", "swiglu"] = "gelu"
    bias: bool = False  # in every linear layer and LayerNorm (GPT-2)
    qkv_bias: bool | None = None  # in the projections to q, k and v alone (Qwen 2); None: as `bias`
    qk_norm: bool = False  # RMSNorm of each head's q and k (Qwen 3)
    tie_embeddings: bool = True  # the output layer is the embedding, transposed
    dropout: float = 0.0

    def __post_init__(self) -> None:
        fill = {
            "n_kv_heads": self.n_kv_heads or self.n_heads,
            "head_dim": self.head_dim or self.d_model // self.n_heads,
            "d_ff": self.d_ff or 4 * self.d_model,
            "qkv_bias": self.bias if self.qkv_bias is None else self.qkv_bias,
        }
        for name, value in fill.items():
            object.__setattr__(self, name, value)
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} query heads cannot share {self.n_kv_heads} key heads evenly")
        if self.position == "rope" and self.head_dim % 2:
            raise ValueError(f"RoPE turns pairs of coordinates: head_dim={self.head_dim} is odd")

    @property
    def n_parameters(self) -> int:
        """How many numbers the model holds; each term is one tensor, in the order of the forward pass."""
        d, f, v = self.d_model, self.d_ff, self.vocab_size
        q, kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        norm = d * (2 if self.norm == "layernorm" and self.bias else 1)
        embedding = v * d + (self.context_length * d if self.position == "learned" else 0)
        attention = d * (q + 2 * kv) + q * d + (q + 2 * kv) * bool(self.qkv_bias) + d * self.bias
        attention += 2 * self.head_dim * self.qk_norm
        matrices = 3 if self.mlp == "swiglu" else 2
        mlp = matrices * d * f + ((matrices - 1) * f + d) * self.bias
        head = 0 if self.tie_embeddings else v * d
        return embedding + self.n_layers * (2 * norm + attention + mlp) + norm * self.pre_norm + head

    def flops_per_token(self, context: int) -> int:
        """Multiply-adds times two of one token's forward pass with `context` keys to look at; norms, softmax and
        activations are left out. A training step costs three times as much: each product has two in the backward pass.
        """
        d, q, kv = self.d_model, self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        matrices = d * (q + 2 * kv) + q * d + (3 if self.mlp == "swiglu" else 2) * d * self.d_ff
        attention = 2 * q * (min(context, self.window) if self.window else context)  # scores, and mixing of values
        return 2 * (self.n_layers * (matrices + attention) + self.vocab_size * d)

    def kv_bytes_per_token(self, bytes_per_number: int = 2) -> int:
        """What the cache holds for one token: keys and values of every layer."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim * bytes_per_number
