"""One transformer for GPT-2 and the Llama family.

- config       what a model is, its parameters, FLOPs and cache bytes by formula
- positions    sinusoidal, RoPE and its stretchings, ALiBi
- layers       norms and MLPs
- attention    one rule for training, prefill and decoding
- transformer  MiniGPT
"""
