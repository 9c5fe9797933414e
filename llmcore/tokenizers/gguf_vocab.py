"""The tokenizer inside a GGUF file: out of its fields, and into fields.

    bpe = BPE(**bpe_of(GGUF("model.gguf").fields))
    write_fields("vocab.gguf", fields_of(bpe))

The tokens of a byte-level BPE are spelled as in GPT-2's vocab.json, and the pattern has a name, tokenizer.ggml.pre.

Does not:
- take SentencePiece or WordPiece (tokenizer.ggml.model other than "gpt2"), or a pattern that was not checked here
- add <|begin|> to what it encodes, even where the file says that a model wants it

Source: docs/gguf.md of the ggml project.
"""

from typing import TYPE_CHECKING, Any

from llmcore.tokenizers.bytes_as_text import spells_itself, to_bytes, to_merges, to_text
from llmcore.tokenizers.patterns import PATTERNS

if TYPE_CHECKING:
    from llmcore.tokenizers.bpe import BPE

# tokenizer.ggml.pre → our name of the pattern, and whether a piece that is a token is that token whatever the merges say.
PRE = {
    "gpt-2": ("gpt2", False),
    "smollm": ("smollm", False),
    "qwen2": ("qwen2", False),
    "llama-bpe": ("llama3", True),
}
_NORMAL, _SPECIAL, _ADDED, _UNUSED = 1, 3, 4, 5  # tokenizer.ggml.token_type; control, user-defined and unused tokens


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
    types = fields.get(f"{name}token_type", [_NORMAL] * len(tokens))
    if len(types) != len(tokens):
        raise ValueError(f"the file has {len(tokens)} tokens and the types of {len(types)}")
    kinds = list(zip(range(len(tokens)), tokens, types, strict=True))
    merges = to_merges(fields[f"{name}merges"])
    made = {left + right for left, right in merges}
    vocab = {i: to_bytes(token) for i, token, kind in kinds if kind not in (_SPECIAL, _ADDED, _UNUSED)}
    ordinary = set(vocab.values())
    for i, token, kind in kinds:  # one that is also an ordinary token
        if kind in (_SPECIAL, _ADDED) and spells_itself(token, made) and token.encode() not in ordinary:
            vocab[i] = token.encode()
    return {
        "vocab": vocab,
        "merges": merges,
        "pattern": pattern,
        "special_tokens": {token: i for i, token, kind in kinds if kind == _SPECIAL},
        "added_tokens": {token: i for i, token, kind in kinds if kind == _ADDED},
        "ignore_merges": ignore_merges,
    }


def fields_of(bpe: "BPE") -> dict[str, Any]:
    """The fields that describe a tokenizer; an id that no token has becomes an unused one.

    Raises ValueError for a pattern that has no name there, or tokens that only ranks lead to.
    """
    names = {(PATTERNS[pattern], ignore): name for name, (pattern, ignore) in PRE.items()}
    name = names.get((bpe.pattern, bpe.ignore_merges)) or names.get((bpe.pattern, not bpe.ignore_merges))
    if name is None:
        raise ValueError(f"GGUF files have no name for this pattern: {', '.join(PRE)} can be written")
    if bpe.ignore_merges != PRE[name][1] and (apart := bpe.not_merged()):
        raise ValueError(f"no merge makes {apart[0]!r}, and with {name} a GGUF file cannot say that it is a token")
    tokens = [f"[unused {i}]" for i in range(bpe.vocab_size)]
    types = [_UNUSED] * len(tokens)
    for i, data in bpe.vocab.items():
        tokens[i], types[i] = to_text(data), _NORMAL
    made = {left + right for left, right in bpe.merges}
    for more, kind in ((bpe.special_tokens, _SPECIAL), (bpe.added_tokens, _ADDED)):
        for text, i in more.items():
            if types[i] != _UNUSED and not spells_itself(text, made):
                raise ValueError(f"{text!r} is an ordinary token too, and a GGUF file has one kind for an id")
            tokens[i], types[i] = text, kind
    return {
        "general.architecture": "gpt2" if name == "gpt-2" else "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": name,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [f"{to_text(left)} {to_text(right)}" for left, right in bpe.merges],
    }
