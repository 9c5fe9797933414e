"""One transformer for GPT-2 and the Llama family.

- config       what a model is, its parameters, FLOPs and cache bytes by formula
- positions    sinusoidal, RoPE and its stretchings, ALiBi
- layers       norms and MLPs
- attention    one rule for training, prefill and decoding
- transformer  MiniGPT
- pretrained   real weights: `load` a GGUF file or a Hugging Face folder, `save` one
  - gguf_model, huggingface, huggingface_config   what such files say, as a Config and a state_dict
- packed       the same model laid out for fast answers on a CPU
"""
