"""Vocabularies by name, and the files in which others keep theirs: read into a `BPE`, and written for them to read.

    BPE.load("gpt2")                              a published one
    BPE.load("model/tokenizer.json")              Hugging Face tokenizers
    BPE.load("mine.tiktoken", pattern="gpt4")     tiktoken's ranks: base64 of the token, a space, its id; a line each
    BPE.load("model/")                            vocab.json and merges.txt in a folder, as GPT-2 came
    BPE.load("model.gguf")                        llama.cpp; a file that is written holds the vocabulary alone

What a file cannot say, or says and `BPE` cannot do, is a ValueError that names it. Of a tokenizer.json is left out, since
it is no matter of which text has which ids: truncation, padding, the decoder and the post-processor. So no <|begin|> is
added where Hugging Face would add one: put it in front yourself.

Does not:
- guess the pattern of a rank file
- normalise: a tokenizer.json with a normalizer (NFC, in Qwen 2's) is refused
- read SentencePiece, WordPiece or Unigram
"""

import base64
import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcore import assets
from llmcore.gguf import GGUF, write_fields
from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.bytes_as_text import spells_itself, to_bytes, to_merges, to_text
from llmcore.tokenizers.gguf_vocab import bpe_of, fields_of
from llmcore.tokenizers.oniguruma import FOR_HUGGING_FACE, FROM_HUGGING_FACE, means_the_same
from llmcore.tokenizers.patterns import PATTERNS

Specials = Mapping[str, int] | None

# asset → pattern and special tokens. Source: tiktoken_ext.openai_public.
PUBLISHED: dict[str, tuple[str, dict[str, int]]] = {
    "gpt2": ("gpt2", {"<|endoftext|>": 50256}),
    "cl100k": (
        "gpt4",
        {
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    "o200k": ("gpt4o", {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}),
}
TIKTOKEN_NAMES = {"r50k_base": "gpt2", "cl100k_base": "cl100k", "o200k_base": "o200k"}
_MODELS = {"gpt4": "cl100k", "gpt4o": "o200k"}  # what else they are looked for under


def load(name: str | Path, pattern: str | None = None, special_tokens: Specials = None) -> BPE:
    """What `BPE.load` says."""
    published = TIKTOKEN_NAMES.get(str(name), str(name))
    if not isinstance(name, Path) and (published in PUBLISHED or published == "smollm2"):
        if pattern or special_tokens:
            raise ValueError(f"{name} has a pattern and special tokens of its own")
        if published == "smollm2":
            return BPE(**bpe_of(GGUF(assets.path(published)).fields))
        return BPE.from_ranks(read_tiktoken(assets.path(published)), *PUBLISHED[published])
    path = Path(name)
    if not path.exists():
        names = [*PUBLISHED, "smollm2", *TIKTOKEN_NAMES]
        model = _MODELS.get(str(name).lower().replace("-", ""))
        near = [model] if model else difflib.get_close_matches(str(name), names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"by name there are {', '.join(names)}"
        raise ValueError(f"{str(name)!r} is neither a file or folder nor a vocabulary with a name; {hint}")
    if path.is_dir():
        if not (path / "vocab.json").exists() and (path / "tokenizer.json").exists():
            path /= "tokenizer.json"
        else:
            return read_gpt2(path, pattern or "gpt2", special_tokens)
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if start.startswith((b"GGUF", b"{")) and (pattern or special_tokens):
        raise ValueError(f"{path} has a pattern and special tokens of its own")
    if start.startswith(b"GGUF"):
        return BPE(**bpe_of(GGUF(path).fields))
    if start.startswith(b"{"):
        return read_tokenizer_json(path)
    ranks = read_tiktoken(path)
    if pattern is None:
        raise ValueError(f"{path} holds ranks and does not say their pattern: give one of {', '.join(PATTERNS)}")
    return BPE.from_ranks(ranks, pattern, special_tokens)


def save(bpe: BPE, path: str | Path) -> None:
    """What `BPE.save` says."""
    path = Path(path)
    if path.suffix in (".json", ".tiktoken", ".gguf"):
        part = path.with_name(f".{path.stem}.part{path.suffix}")
        try:
            if path.suffix == ".json":
                write_tokenizer_json(bpe, part)
            elif path.suffix == ".tiktoken":
                write_tiktoken(bpe, part)
            else:
                write_fields(part, fields_of(bpe))
            os.replace(part, path)  # a reader sees the old file or the whole new one
        finally:
            part.unlink(missing_ok=True)
    elif path.is_dir() or not path.suffix:
        write_gpt2(bpe, path)
    else:
        raise ValueError(f"{path}: a name ends with .json, .tiktoken or .gguf, or is that of a folder")


# tiktoken


def read_tiktoken(path: str | Path) -> dict[bytes, int]:
    """Token → id of a rank file; blank lines count for nothing. Raises ValueError for a line that is no rank."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            text, number_text = line.split()
            token, rank = base64.b64decode(text, validate=True), int(number_text)
        except ValueError:
            rank = -1
        if rank < 0:
            raise ValueError(f"{path}, line {number}: no base64 of a token and its rank, as in a tiktoken file")
        if token in ranks:
            raise ValueError(f"{path}, line {number}: {token!r} has the rank {ranks[token]} already")
        ranks[token] = rank
    if not ranks:
        raise ValueError(f"{path} holds no ranks")
    return ranks


def write_tiktoken(bpe: BPE, path: str | Path) -> None:
    """The ranks; the pattern and special tokens do not go into such a file. Raises ValueError as `to_tiktoken` does."""
    bpe.to_tiktoken()
    lines = [b"%s %d\n" % (base64.b64encode(token), i) for i, token in sorted(bpe.vocab.items())]
    Path(path).write_bytes(b"".join(lines))


# GPT-2


def read_gpt2(folder: str | Path, pattern: str = "gpt2", special_tokens: Specials = None) -> BPE:
    """A folder with vocab.json and merges.txt. Tokens in it that are neither bytes nor merged are the special ones."""
    folder = Path(folder)
    for file in ("vocab.json", "merges.txt"):
        if not (folder / file).exists():
            raise ValueError(f"{folder} has no {file}: it takes vocab.json and merges.txt, or a tokenizer.json")
    ids = json.loads((folder / "vocab.json").read_text("utf-8"))
    lines = (folder / "merges.txt").read_text("utf-8").split("\n")
    merges = to_merges([line for line in lines[lines[0].startswith("#version") :] if line])
    made = {left + right for left, right in merges}
    given = dict(special_tokens or {})
    vocab: dict[int, bytes] = {}
    for token, i in ids.items():
        if given.get(token) == i:
            continue
        data = _bytes_or_none(token) if special_tokens is None else to_bytes(token)
        if data is None or (special_tokens is None and len(data) > 1 and data not in made):
            given[token] = i
        else:
            vocab[i] = data
    return BPE(vocab, merges, pattern, given)


def _bytes_or_none(token: str) -> bytes | None:
    try:
        return to_bytes(token)
    except ValueError:
        return None


def write_gpt2(bpe: BPE, folder: str | Path) -> None:
    """vocab.json, with the special tokens in it, and merges.txt. Raises ValueError for what their readers would not know."""
    if bpe.pattern != PATTERNS["gpt2"]:
        raise ValueError(
            "whoever reads vocab.json and merges.txt takes GPT-2's pattern: write a tokenizer.json instead"
        )
    if bpe.added_tokens:
        raise ValueError("vocab.json and merges.txt have no added tokens: write a tokenizer.json instead")
    if bpe.ignore_merges and (apart := bpe.not_merged()):
        raise ValueError(f"no merge makes {apart[0]!r}, and merges.txt cannot say that it is a token nevertheless")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_with_specials(bpe), ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(f"{to_text(left)} {to_text(right)}" for left, right in bpe.merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8", newline="\n")


def _with_specials(bpe: BPE) -> dict[str, int]:
    vocab = {to_text(token): i for i, token in bpe.vocab.items()}
    for token, i in (bpe.special_tokens | bpe.added_tokens).items():
        if vocab.setdefault(token, i) != i:
            raise ValueError(
                f"the special token {token!r} is spelled like another token, and the format has one id for both"
            )
    return dict(sorted(vocab.items(), key=lambda item: item[1]))


# Hugging Face


def read_tokenizer_json(path: str | Path) -> BPE:
    """A byte-level BPE out of a tokenizer.json. Raises ValueError, naming the first part that cannot be had here."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
        model = data["model"]
        ids: dict[str, int] = model["vocab"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is not a tokenizer.json: it has no model with a vocabulary") from None

    def refuse(what: str) -> ValueError:
        return ValueError(f"{path}: {what} is not supported")

    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise refuse(f"a model of type {model.get('type')}")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(option):
            raise refuse(f"{option}={model[option]!r}")
    if data.get("normalizer"):
        raise refuse(f"the normalizer {data['normalizer'].get('type')}")
    pattern = _pattern_of(data.get("pre_tokenizer"))
    if pattern not in PATTERNS and not means_the_same(pattern):
        raise refuse(f"a Split whose pattern means something else, or might, outside of Hugging Face, {pattern!r},")
    merges = to_merges(model["merges"])
    made = {left + right for left, right in merges}
    special: dict[str, int] = {}
    added: dict[str, int] = {}
    tokens = data.get("added_tokens") or []
    _refuse_tokens(path, tokens, ids)
    for token in tokens:
        (special if token["special"] else added)[token["content"]] = token["id"]
    both = special | added
    vocab = {i: to_bytes(token) for token, i in ids.items() if both.get(token) != i}
    for token, i in both.items():  # one that is also an ordinary token
        if ids.get(token) == i and spells_itself(token, made):
            vocab[i] = token.encode()
    return BPE(vocab, merges, pattern, special, added_tokens=added, ignore_merges=bool(model.get("ignore_merges")))


def _refuse_tokens(path: str | Path, added: list[dict[str, Any]], ids: Mapping[str, int]) -> None:
    """Raise ValueError for an added token that is found in another way here, or with another id, than by Hugging Face."""
    highest = -1
    for token in added:
        text, i = token["content"], token["id"]
        for option in ("lstrip", "rstrip", "single_word"):
            if token.get(option):
                raise ValueError(f"{path}: {option} of the added token {text!r} is not supported")
        theirs = ids.get(text, max(highest + 1, len(ids)))  # those that the model does not have are counted on
        if i != theirs:
            raise ValueError(f"{path}: the added token {text!r} has id {i}, and Hugging Face would give it {theirs}")
        highest = max(highest, i)
    late = [token["content"] for token in added if token.get("normalized", not token["special"])]
    early = [token["content"] for token in added if token["content"] not in late]
    for one in late:  # Hugging Face looks for the others in the whole text before it looks for these
        for other in early:
            rests = [one[k:] for k in range(1, len(one))]
            if one.startswith(other) or any(rest.startswith(other) or other.startswith(rest) for rest in rests):
                raise ValueError(
                    f"{path}: the added token {one!r} is normalized and {other!r} is not; where they overlap, which of "
                    "them comes first is not supported"
                )


def _pattern_of(part: dict[str, Any] | None) -> str:
    """The pattern that does what a pre-tokenizer does. Raises ValueError for one that no pattern here can do."""
    parts = part["pretokenizers"] if part and part["type"] == "Sequence" else [part] if part else []
    if not parts or parts[-1]["type"] != "ByteLevel":
        raise ValueError(f"the pre-tokenizer {_kinds(parts)} is not supported: it has to end with ByteLevel")
    *before, bytelevel = parts
    if bytelevel.get("add_prefix_space", True):
        raise ValueError("ByteLevel with add_prefix_space is not supported: it changes the text")
    by_itself = bytelevel.get("use_regex", True)
    if not before and by_itself:
        return "gpt2"
    if len(before) == 1 and by_itself and before[0] == {"type": "Digits", "individual_digits": True}:
        return "smollm"
    if len(before) == 1 and not by_itself and before[0]["type"] == "Split":
        split = before[0]
        pattern = split["pattern"].get("Regex")
        how = (split["behavior"], split["invert"])
        known = pattern in PATTERNS.values() or pattern in FROM_HUGGING_FACE
        # to remove what does not match is to keep all, with a pattern that leaves nothing unmatched
        if pattern and (how == ("Isolated", False) or (how == ("Removed", True) and known)):
            pattern = FROM_HUGGING_FACE.get(pattern, pattern)
            return next((name for name, ours in PATTERNS.items() if ours == pattern), pattern)
        raise ValueError(f"a Split with {split} is not supported")
    raise ValueError(f"the pre-tokenizer {_kinds(parts)} is not supported: this sequence is not known here")


def _kinds(parts: list[dict[str, Any]]) -> str:
    return " + ".join(part["type"] for part in parts) or "None"


def write_tokenizer_json(bpe: BPE, path: str | Path) -> None:
    """A file that Hugging Face tokenizers loads, for the same ids (there, special tokens are always allowed).

    Raises ValueError for a pattern of your own that would mean something else there.
    """
    bytelevel = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    if bpe.pattern == PATTERNS["smollm"]:
        first: dict[str, Any] = {"type": "Digits", "individual_digits": True}
        bytelevel["use_regex"] = True
    else:
        pattern = FOR_HUGGING_FACE.get(bpe.pattern, bpe.pattern)
        if bpe.pattern not in PATTERNS.values() and not means_the_same(pattern):
            raise ValueError(f"the pattern {pattern!r} would (or might) mean something else to Hugging Face tokenizers")
        first = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    both = [(i, token, True) for token, i in bpe.special_tokens.items()]
    both += [(i, token, False) for token, i in bpe.added_tokens.items()]
    data = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, **flags, "special": special} for i, token, special in sorted(both)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [first, bytelevel]},
        "post_processor": None,
        "decoder": {**bytelevel, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": bpe.ignore_merges,
            "vocab": _with_specials(bpe),
            "merges": [f"{to_text(left)} {to_text(right)}" for left, right in bpe.merges],  # read by every version
        },
    }
    Path(path).write_text(json.dumps(data, ensure_ascii=False, indent=1), "utf-8")
