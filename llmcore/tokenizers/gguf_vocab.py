"""The tokenizer inside a GGUF file, out of its fields.

    bpe = BPE(**bpe_of(GGUF("model.gguf").fields))

The tokens of a byte-level BPE are spelled as in GPT-2's vocab.json, and the pattern has a name, tokenizer.ggml.pre.

Does not:
- take SentencePiece or WordPiece (tokenizer.ggml.model other than "gpt2"), or a pattern that was not checked here
- add <|begin|> to what it encodes, even where the file says that a model wants it

Source: docs/gguf.md of the ggml project.
"""

from typing import Any

from llmcore.tokenizers.bytes_as_text import to_bytes

# tokenizer.ggml.pre → our name of the pattern, and whether a piece that is a token is that token whatever the merges say.
PRE = {
    "gpt-2": ("gpt2", False),
    "smollm": ("smollm", False),
    "qwen2": ("qwen2", False),
    "llama-bpe": ("llama3", True),
}
_SPECIAL, _ADDED, _UNUSED = 3, 4, 5  # tokenizer.ggml.token_type: control, user-defined, unused


def bpe_of(fields: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `BPE` for what the fields describe. Raises ValueError, naming what it cannot be."""
    name = "tokenizer.ggml."
    for needed in ("model", "pre", "tokens", "merges"):
        if needed == "merges" and fields[f"{name}model"] != "gpt2":
            raise ValueError(f"the tokenizer is of the kind {fields[f'{name}model']!r}, not a byte-level BPE ('gpt2')")
        if needed != "pre" and f"{name}{needed}" not in fields:
            raise ValueError(f"the file has no {name}{needed}, so no tokenizer that can be read here")
    pre = fields.get(f"{name}pre", "default")
    if pre not in PRE:
        raise ValueError(f"{name}pre is {pre!r}: this pattern is not known here; known are {', '.join(PRE)}")
    pattern, ignore_merges = PRE[pre]
    tokens = fields[f"{name}tokens"]
    types = fields.get(f"{name}token_type", [1] * len(tokens))
    if len(types) != len(tokens):
        raise ValueError(f"the file has {len(tokens)} tokens and the types of {len(types)}")
    kinds = list(zip(range(len(tokens)), tokens, types, strict=True))
    return {
        "vocab": {i: to_bytes(token) for i, token, kind in kinds if kind not in (_SPECIAL, _ADDED, _UNUSED)},
        "merges": [
            (to_bytes(left), to_bytes(right)) for left, right in (m.split(" ") for m in fields[f"{name}merges"])
        ],
        "pattern": pattern,
        "special_tokens": {token: i for i, token, kind in kinds if kind == _SPECIAL},
        "added_tokens": {token: i for i, token, kind in kinds if kind == _ADDED},
        "ignore_merges": ignore_merges,
    }
