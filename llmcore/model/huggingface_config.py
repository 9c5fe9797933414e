"""config.json of a Hugging Face model folder as a Config, and a Config as a config.json that transformers reads.

    >>> fields = fields_of(Config(vocab_size=65, context_length=32, d_model=24, n_layers=2, n_heads=4))
    >>> fields["architectures"], fields["n_embd"]
    (['GPT2LMHeadModel'], 24)

What MiniGPT cannot be is refused in a sentence, and so is a MiniGPT for which transformers has no class.

Does not:
- read weights: huggingface does
- guess: a missing field has the value that transformers gives it, or is asked for
"""

from typing import Any

from llmcore.model.config import Config, RopeScaling
from llmcore.model.positions import rope_frequencies, yarn_attention

KINDS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")

# field → what MiniGPT can be; the first is what a missing field means
_ONLY: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),  # two names of one formula
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}


def config_of(fields: dict[str, Any]) -> Config:
    """What a config.json describes. Raises ValueError for what MiniGPT cannot be, or for a field that lacks."""
    kind = fields.get("model_type")
    if kind not in KINDS:
        raise ValueError(f"a model of the kind {kind!r}; here there are {', '.join(KINDS)}")
    if quantised := fields.get("quantization_config"):
        raise ValueError(f"its weights are quantised ({quantised.get('quant_method')}), and such are not read here")
    for name, values in _ONLY.items():
        if fields.get(name, values[0]) not in values:
            raise ValueError(f"{name} is {fields[name]!r}, and MiniGPT has {values[0]!r} only")
    try:
        return _gpt2(fields) if kind == "gpt2" else _llama_like(kind, fields)
    except KeyError as error:
        raise ValueError(f"it does not say {error.args[0]}") from None


def _gpt2(fields: dict[str, Any]) -> Config:
    return Config(
        vocab_size=fields["vocab_size"],
        context_length=fields["n_positions"],
        d_model=fields["n_embd"],
        n_layers=fields["n_layer"],
        n_heads=fields["n_head"],
        d_ff=fields.get("n_inner") or 0,
        norm_eps=fields.get("layer_norm_epsilon", 1e-5),
        bias=True,
        tie_embeddings=fields.get("tie_word_embeddings", True),
    )


def _llama_like(kind: str, fields: dict[str, Any]) -> Config:
    theta, scaling = rope_of(fields)
    everywhere = kind == "llama" and bool(fields.get("attention_bias"))
    if bool(fields.get("attention_bias")) != everywhere or bool(fields.get("mlp_bias")) != everywhere:
        raise ValueError(
            "it has biases in its attention or in its MLP alone, and MiniGPT in q, k and v alone or in both"
        )
    return Config(
        vocab_size=fields["vocab_size"],
        context_length=fields["max_position_embeddings"],
        d_model=fields["hidden_size"],
        n_layers=fields["num_hidden_layers"],
        n_heads=fields["num_attention_heads"],
        n_kv_heads=fields.get("num_key_value_heads") or 0,
        head_dim=fields.get("head_dim") or 0,
        d_ff=fields["intermediate_size"],
        position="rope",
        rope_theta=theta,
        rope_scaling=scaling,
        window=_window_of(kind, fields),
        norm="rmsnorm",
        norm_eps=fields["rms_norm_eps"],
        mlp="swiglu",
        bias=everywhere,
        qkv_bias=everywhere or kind == "qwen2",
        qk_norm=kind == "qwen3",
        tie_embeddings=fields.get("tie_word_embeddings", False),
    )


def _window_of(kind: str, fields: dict[str, Any]) -> int:
    """How many keys a query sees, 0 for all. Raises ValueError where layers differ."""
    if kind == "mistral":
        return fields.get("sliding_window", 4096) or 0
    if not fields.get("use_sliding_window"):
        return 0
    full = fields.get("max_window_layers", 28)
    slides = [i >= full for i in range(fields["num_hidden_layers"])]
    if "layer_types" in fields:
        slides = [each == "sliding_attention" for each in fields["layer_types"]]
    if any(slides) and not all(slides):
        raise ValueError("some of its layers have a sliding window and some have none, and MiniGPT's are all alike")
    return fields.get("sliding_window", 4096) if all(slides) else 0


def rope_of(fields: dict[str, Any]) -> tuple[float, RopeScaling | None]:
    """Base and stretching, from `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta` (before).

    Raises ValueError for a kind whose frequencies change while a text grows: MiniGPT's are fixed.
    """
    rope = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    if any(isinstance(value, dict) for value in rope.values()):
        raise ValueError("its layers rotate by different frequencies, and MiniGPT's all by the same")
    part = rope.get("partial_rotary_factor", fields.get("partial_rotary_factor"))
    if part not in (None, 1.0):
        raise ValueError(f"it rotates {part} of each head, and MiniGPT rotates all of it")
    theta = rope.get("rope_theta", fields.get("rope_theta", 10_000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    context = fields["max_position_embeddings"]
    trained = fields.get("original_max_position_embeddings", rope.get("original_max_position_embeddings", context))
    if kind == "default":
        return theta, None
    if kind == "linear":
        return theta, RopeScaling("linear", rope["factor"])
    if kind == "llama3":
        bounds = {name: rope[name] for name in ("low_freq_factor", "high_freq_factor")}
        return theta, RopeScaling("llama3", rope["factor"], trained, **bounds)
    if kind == "yarn":
        factor = rope.get("factor") or context / trained
        attention, weight, weight_below = (rope.get(x) for x in ("attention_factor", "mscale", "mscale_all_dim"))
        if attention is None and weight and weight_below:
            attention = yarn_attention(factor, weight) / yarn_attention(factor, weight_below)
        fast, slow, whole = rope.get("beta_fast") or 32.0, rope.get("beta_slow") or 1.0, rope.get("truncate", True)
        return theta, RopeScaling("yarn", factor, trained, fast, slow, truncate=whole, attention_factor=attention)
    if kind == "longrope" and rope["short_factor"] == rope["long_factor"] and rope.get("attention_factor"):
        factors = tuple(rope["long_factor"])
        return theta, RopeScaling("factors", attention_factor=rope["attention_factor"], factors=factors)
    hint = f": up to {context} tokens it is plain RoPE, which is read when `rope_scaling` is taken out of config.json"
    raise ValueError(
        f"its positions are stretched by {kind!r}, whose frequencies change while a text grows, and MiniGPT's are fixed"
        + (hint if kind == "dynamic" else "")
    )


def fields_of(config: Config) -> dict[str, Any]:
    """The config.json with which transformers builds this model. Raises ValueError if it has none that is equal."""
    c = config
    shared: dict[str, Any] = {"vocab_size": c.vocab_size, "tie_word_embeddings": c.tie_embeddings}
    for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
        shared[token] = None  # left out, transformers would take GPT-2's or Llama's, and stop at them
    parts = (c.position, c.norm, c.mlp)
    whole = c.n_kv_heads == c.n_heads and c.n_heads * c.head_dim == c.d_model
    if parts == ("learned", "layernorm", "gelu") and whole and c.pre_norm and not c.window and not c.qk_norm:
        sizes = {"n_positions": c.context_length, "n_embd": c.d_model, "n_layer": c.n_layers, "n_head": c.n_heads}
        drop = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), c.dropout)
        names = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}
        return {**names, **shared, **sizes, "n_inner": c.d_ff, "layer_norm_epsilon": c.norm_eps, **drop}
    kind = {
        (False, False, False): "mistral" if c.window or c.d_model % c.n_heads else "llama",
        (False, True, False): "qwen2",
        (False, False, True): "qwen3",
        (True, True, False): "" if c.window else "llama",
    }.get((c.bias, bool(c.qkv_bias), c.qk_norm))
    if parts != ("rope", "rmsnorm", "swiglu") or not c.pre_norm or not kind:
        raise ValueError(
            f"transformers has no model with {c.position} positions, {c.norm}, {c.mlp}, {c.n_heads} heads on "
            f"{c.n_kv_heads}, bias={c.bias}, qkv_bias={c.qkv_bias}, qk_norm={c.qk_norm}, pre_norm={c.pre_norm} "
            f"and window={c.window} all at once"
        )
    window: dict[str, Any] = {"sliding_window": c.window or None} if kind == "mistral" else {}
    if kind.startswith("qwen") and c.window:
        window = {"use_sliding_window": True, "sliding_window": c.window, "max_window_layers": 0}
    return {
        "architectures": [f"{kind.capitalize()}ForCausalLM"],
        "model_type": kind,
        **shared,
        "max_position_embeddings": c.context_length,
        "hidden_size": c.d_model,
        "num_hidden_layers": c.n_layers,
        "num_attention_heads": c.n_heads,
        "num_key_value_heads": c.n_kv_heads,
        "head_dim": c.head_dim,
        "intermediate_size": c.d_ff,
        "rms_norm_eps": c.norm_eps,
        "rope_parameters": _rope_fields(c),
        "attention_bias": c.bias,
        "mlp_bias": c.bias,
        **window,
    }


def _rope_fields(c: Config) -> dict[str, Any]:
    s, plain = c.rope_scaling, {"rope_type": "default", "rope_theta": c.rope_theta}
    if s is None:
        return plain
    if s.kind == "yarn" or (s.attention_factor is None and s.kind in ("linear", "llama3")):
        more: dict[str, Any] = {"rope_type": s.kind, "factor": s.factor}
        if s.kind != "linear":
            more["original_max_position_embeddings"] = s.original_context
        if s.kind == "llama3":
            more |= {"low_freq_factor": s.low_freq_factor, "high_freq_factor": s.high_freq_factor}
        if s.kind == "yarn":
            more |= {"beta_fast": s.beta_fast, "beta_slow": s.beta_slow, "truncate": s.truncate}
            more |= {} if s.attention_factor is None else {"attention_factor": s.attention_factor}
        return plain | more
    if s.kind == "ntk" and s.attention_factor is None:
        return plain | {"rope_theta": c.rope_theta * s.factor ** (c.head_dim / (c.head_dim - 2))}
    # LongRoPE divides each pair by a number of its own; with one list for short and long texts it is nothing else.
    turn, attention = rope_frequencies(c.head_dim, c.rope_theta, s)
    divisors = list(s.factors) or (rope_frequencies(c.head_dim, c.rope_theta)[0] / turn).tolist()
    longrope = {"rope_type": "longrope", "factor": 1.0, "short_factor": divisors, "long_factor": divisors}
    return plain | longrope | {"attention_factor": attention, "original_max_position_embeddings": c.context_length}
