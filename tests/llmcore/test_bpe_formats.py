"""Files of others: what their own libraries write we read, what we write they read, and the ids are the same."""

import base64
import doctest
import inspect
import json
import random
import struct
import tokenize
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import numpy as np
import pytest
import tiktoken.load
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as HuggingFace

from llmcore import assets
from llmcore.gguf import GGUF, write_fields
from llmcore.tokenizers import BPE, bytes_as_text, formats, gguf_vocab, oniguruma
from llmcore.tokenizers.bytes_as_text import to_bytes, to_text
from llmcore.tokenizers.oniguruma import means_the_same
from llmcore.tokenizers.patterns import PATTERNS, splitter

CORPUS = [
    inspect.getsource(tokenize),
    "the quick brown fox jumps over the lazy dog, 1234567890 times; it's DON'T and don't\r\n\r\n  x\n\ty " * 20,
    "日本語のテキスト、中文。 Привет, мир! नमस्ते 안녕 naïve café 🙂🙂 e\u0301 " * 20,
]
BYTES = {i: bytes([i]) for i in range(256)}
SPECIALS = ["<|end|>", "<|start|>"]
# to Hugging Face a pattern is spelled like this, where it differs (see formats.py)
SPELLED = {"gpt4": PATTERNS["gpt4"].replace("{1,3}+", "{1,3})").replace(r"|\p{N}", r"|(?>\p{N}").replace("$", r"\z")}


def split(name: str) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer that the models of this pattern have."""
    if name == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name == "smollm":
        return pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPELLED.get(name, PATTERNS[name])), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def train(name: str, vocab_size: int = 900) -> HuggingFace:
    """Hugging Face's own training; the special tokens come first, so that no id is a rank."""
    tokenizer = HuggingFace(models.BPE())
    tokenizer.pre_tokenizer = split(name)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def some_texts(count: int) -> list[str]:
    rng = random.Random(11)
    deciding = " \t\n\r\x0b\x85\u3000'sSdmtlLveErRaB019½٣é文ǅʰ_-/.,!’🙂\u0301\u200d"
    whole = "".join(CORPUS)
    texts = ["", *CORPUS]
    for _ in range(count):
        i = rng.randrange(len(whole))
        texts.append("".join(rng.choices(deciding, k=rng.randrange(12))) + whole[i : i + rng.randrange(60)])
        texts.append("".join(rng.choices(deciding, k=rng.randrange(20))))
    return texts


TEXTS = some_texts(1000)


def same_ids(mine: BPE, reference: HuggingFace, texts: list[str] = TEXTS) -> bool:
    encoded = reference.encode_batch_fast(texts, add_special_tokens=False)
    assert [mine.encode(text, allowed_special="all") for text in texts] == [found.ids for found in encoded]
    return True


# tokenizer.json


@pytest.mark.parametrize("name", PATTERNS)
def test_a_tokenizer_json_of_hugging_face(name: str, tmp_path: Path) -> None:
    reference = train(name)
    reference.save(str(tmp_path / "tokenizer.json"))
    mine = BPE.load(tmp_path / "tokenizer.json")
    assert mine.pattern == PATTERNS[name]
    assert mine.special_tokens == {"<|end|>": 0, "<|start|>": 1}
    assert (mine.vocab_size, len(mine.vocab)) == (900, 898)
    assert same_ids(mine, reference)
    assert same_ids(mine, reference, ["a<|end|>  <|start|><|start|>b", "<|end|", "<|end|>"])
    assert mine.decode(mine.encode(CORPUS[2])) == CORPUS[2]


@pytest.mark.parametrize("name", PATTERNS)
def test_a_tokenizer_json_of_ours(name: str, tmp_path: Path) -> None:
    train("gpt2").save(str(tmp_path / "theirs.json"))
    like = BPE.load(tmp_path / "theirs.json")
    mine = BPE(like.vocab, like.merges, name, {"<é s>": 5000, "<|end|>": 0}, added_tokens={"brown": 4000})
    mine.save(tmp_path / "tokenizer.json")
    reference = HuggingFace.from_file(str(tmp_path / "tokenizer.json"))
    assert same_ids(mine, reference)
    assert same_ids(mine, reference, ["a<é s>  brown<|end|>brownish", "<|start|>"])
    assert reference.decode(mine.encode(CORPUS[2])) == CORPUS[2]
    again = BPE.load(tmp_path)  # the folder will do
    for attribute in ("vocab", "merges", "pattern", "special_tokens", "added_tokens", "ignore_merges"):
        assert getattr(again, attribute) == getattr(mine, attribute)


@pytest.mark.parametrize("ignore_merges", [True, False])
def test_a_piece_that_no_merge_makes(ignore_merges: bool, tmp_path: Path) -> None:
    data = json.loads(train("llama3").to_str())
    data["model"]["ignore_merges"] = ignore_merges
    data["model"]["vocab"]["Ġquixotic"] = 2000
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    mine = BPE.load(tmp_path / "tokenizer.json")
    assert same_ids(mine, HuggingFace.from_str(json.dumps(data)), ["a quixotic quixotical fox", *TEXTS])
    assert (2000 in mine.encode("a quixotic fox")) == ignore_merges
    mine.save(tmp_path / "again.json")
    assert BPE.load(tmp_path / "again.json").encode("a quixotic fox") == mine.encode("a quixotic fox")


def test_merges_as_lines_and_as_pairs(tmp_path: Path) -> None:
    data = json.loads(train("gpt2").to_str())
    pairs = data["model"]["merges"]
    assert isinstance(pairs[0], list)
    (tmp_path / "pairs.json").write_text(json.dumps(data))
    data["model"]["merges"] = [" ".join(pair) for pair in pairs]
    (tmp_path / "lines.json").write_text(json.dumps(data))
    assert BPE.load(tmp_path / "pairs.json").merges == BPE.load(tmp_path / "lines.json").merges


def test_added_tokens_special_and_not(tmp_path: Path) -> None:
    reference = train("gpt2")
    reference.add_tokens([AddedToken("quick", normalized=False), AddedToken("naïve x", normalized=False), "the"])
    reference.add_special_tokens([AddedToken("<|end|>x", normalized=False)])
    reference.save(str(tmp_path / "tokenizer.json"))
    mine = BPE.load(tmp_path / "tokenizer.json")
    assert set(mine.added_tokens) == {"quick", "naïve x", "the"}
    assert set(mine.special_tokens) == {*SPECIALS, "<|end|>x"}
    assert same_ids(mine, reference, ["the quickest other naïve x<|end|>x<|end|>", "naïve", *TEXTS])
    assert mine.encode_ordinary("quick") == [mine.added_tokens["quick"]]


def test_what_does_not_change_ids_is_left_out(tmp_path: Path) -> None:
    reference = train("gpt2")
    reference.enable_truncation(5)
    reference.enable_padding(length=8)
    reference.post_processor = processors.TemplateProcessing("<|start|> $A", special_tokens=[("<|start|>", 1)])
    reference.save(str(tmp_path / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    mine = BPE.load(tmp_path / "tokenizer.json")
    assert same_ids(mine, reference)
    assert reference.encode("the fox").ids == [1, *mine.encode("the fox")]


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for step in way:
            data = data[int(step)] if isinstance(data, list) else data[step]
        data[last] = value

    return change


def part(made: Any) -> dict[str, Any]:
    """A normalizer or pre-tokenizer as JSON, spelled by Hugging Face itself."""
    state: dict[str, Any] = json.loads(made.__getstate__())
    return state


LATIN = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("normalizer", part(normalizers.NFC())), "normalizer NFC is not supported"),
        (put("pre_tokenizer", None), "pre-tokenizer None is not supported"),
        (put("pre_tokenizer", part(pre_tokenizers.Metaspace())), "pre-tokenizer Metaspace is not supported"),
        (put("pre_tokenizer", part(pre_tokenizers.ByteLevel())), "add_prefix_space is not supported"),
        (put("pre_tokenizer", part(LATIN)), "pre-tokenizer ByteLevel is not supported: this sequence"),
        (
            put("pre_tokenizer", part(pre_tokenizers.Sequence([pre_tokenizers.Digits(), LATIN]))),
            r"pre-tokenizer Digits \+ ByteLevel is not supported",
        ),
        (
            put("pre_tokenizer", part(pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed"), LATIN]))),
            "a Split with .*Removed.* is not supported",
        ),
        (
            put(
                "pre_tokenizer", part(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex("a+$"), "isolated"), LATIN]))
            ),
            r"pattern means something else, or might, outside of Hugging Face, 'a\+\$'",
        ),
        (put("model.type", "WordPiece"), "a model of type WordPiece is not supported"),
        (put("model.dropout", 0.1), r"dropout=0\.1 is not supported"),
        (put("model.byte_fallback", True), "byte_fallback=True is not supported"),
        (put("model.end_of_word_suffix", "</w>"), "end_of_word_suffix='</w>' is not supported"),
        (put("model.continuing_subword_prefix", "##"), "continuing_subword_prefix='##' is not supported"),
        (put("added_tokens.0.lstrip", True), r"lstrip of the added token '<\|end\|>' is not supported"),
        (put("added_tokens.1.single_word", True), r"single_word of the added token '<\|start\|>' is not supported"),
        (put("model.merges", [["a"]]), r"\['a'\] is no merge"),
        (put("model.vocab.中", 3000), "'中' in the token '中' stands for no byte"),
        (put("model", {}), "is not a tokenizer.json"),
    ],
)
def test_what_cannot_be_had_is_named(change: Callable[[dict[str, Any]], None], says: str, tmp_path: Path) -> None:
    data = json.loads(train("gpt2", 260).to_str())
    change(data)
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=says):
        BPE.load(tmp_path / "tokenizer.json")


def test_a_split_that_keeps_what_matches(tmp_path: Path) -> None:
    """As published for GPT-4: to remove what does not match keeps everything, if everything matches."""
    data = json.loads(train("llama3").to_str())
    data["pre_tokenizer"]["pretokenizers"][0] |= {"behavior": "Removed", "invert": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    assert same_ids(BPE.load(tmp_path / "tokenizer.json"), HuggingFace.from_str(json.dumps(data)))


def test_a_pattern_of_your_own_goes_to_hugging_face_and_back(tmp_path: Path) -> None:
    vocab = {i: bytes([i]) for i in range(256)} | {256: b"ab", 257: b" a"}
    mine = BPE(
        vocab, [(b"a", b"b"), (b" ", b"a")], r"\p{L}+|[^\p{L} ]+"
    )  # spaces are left over, and are pieces for both
    mine.save(tmp_path / "mine.json")
    assert same_ids(mine, HuggingFace.from_file(str(tmp_path / "mine.json")), ["ab abab, a  ab;ab ", *TEXTS])
    assert BPE.load(tmp_path / "mine.json").pattern == mine.pattern
    with pytest.raises(ValueError, match="would .* mean something else"):
        BPE(vocab, [], r"\p{L}{1,2}+").save(tmp_path / "other.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json"]


@pytest.mark.parametrize(
    "pattern",
    [
        *sorted(set(PATTERNS.values()) - {PATTERNS["gpt4"]}),
        r"[A-Za-z-]+|[^\s\p{L}&]|\s{2,}?|[ ^]|\.{3}|&&|.",
        r"(?i:'s|'ll)|(?>a+)b?+|(c)|\p{Han}{1,2}|(?!\p{N})[^\r\n]|\p{^L}|[\[\]{}$^|]+",
    ],
)
def test_patterns_that_are_trusted_cut_as_hugging_face_cuts(pattern: str) -> None:
    assert means_the_same(pattern)
    theirs = pre_tokenizers.Split(Regex(pattern), "isolated")
    extra = ["aab ab c&&d 'S 'LL aa\n\n文文文 a-b--[]{}$^| .... i'll a&b"]
    for text in [*extra, *TEXTS[4:400]]:
        assert splitter(pattern)(text) == [piece for piece, _ in theirs.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?m:a.)|.",
        r"(?im:a.)|.",
        r"[a-c&&x]+|.",
        r"[a[b]]+|.",
        r"[^[a]]+|a",
        r"(?s)a.",
        r"(?w)a",
        r"(?P<n>a)",
        r"(?|a|b)",
        r"\M",
        r"\p{IsAlpha}",
        r"\w+",
        r"a\b",
        r"\X",
        r"a$",
        r"^a",
        r"a{2}+",
        r"a{2}?",
        r"a{1,2}+",
        r"(?i:ss)",
        r"(?<=a)b",
        r"a*",
        r"a|",
        r"(?=a)",
        r"(?!a)",
        r"a?b?",
        r"(?<!a)",
        r"[]a]",
        r"[a-\s]",
        r"(a)\1",
        r"(?:ab){e<=1}",
    ],
)
def test_patterns_that_are_not_trusted(pattern: str, tmp_path: Path) -> None:
    made = BPE({0: b"a"}, [], pattern)
    with pytest.raises(ValueError, match="would .* mean something else"):
        made.save(tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_the_other_engine_does_differ() -> None:
    """The reason for refusing: if this fails, the two engines have come together."""
    for pattern, text in (
        (r"(?m:a.)|.", "a\n"),
        ("[a-c&&x]+|.", "abc"),
        ("a*", "bb"),
        (r"\w+", "a½b"),
        ("a{2}+", "aaaa"),
    ):
        theirs = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)
        assert splitter(pattern)(text) != [piece for piece, _ in theirs]


def test_a_special_token_that_is_also_a_step_of_other_merges(tmp_path: Path) -> None:
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))} | {"ab": 256, "abc": 257}
    reference = HuggingFace(models.BPE(vocab, [("a", "b"), ("ab", "c")]))
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.add_special_tokens(["ab", "!"])
    reference.save(str(tmp_path / "tokenizer.json"))
    mine = BPE.load(tmp_path / "tokenizer.json")
    assert mine.encode("abc!", allowed_special="all") == reference.encode("abc!").ids
    assert mine.encode_ordinary("abc!") == [257, vocab["!"]]
    mine = BPE(BYTES | {256: b"a ", 257: b"a b"}, [(b"a", b" "), (b"a ", b"b")], "gpt2", {"a ": 300, " ": 301})
    mine.save(tmp_path / "spaces.json")  # spelled aĠ as an ordinary token
    assert BPE.load(tmp_path / "spaces.json").vocab == mine.vocab


def test_which_added_token_comes_first(tmp_path: Path) -> None:
    reference = train("gpt2", 260)
    reference.add_tokens(["b<"])
    reference.save(str(tmp_path / "x.json"))
    with pytest.raises(ValueError, match=r"added token 'b<' is normalized and '<\|end\|>' is not"):
        BPE.load(tmp_path / "x.json")
    for token in ("x<|end|>y", "<|end|>y"):
        reference = train("gpt2", 260)
        reference.add_tokens([token])
        reference.save(str(tmp_path / "x.json"))
        with pytest.raises(ValueError, match="is normalized and"):
            BPE.load(tmp_path / "x.json")
    reference = train("gpt2", 260)
    reference.add_tokens([">b", "end", "<|end"])
    reference.save(str(tmp_path / "x.json"))
    assert same_ids(BPE.load(tmp_path / "x.json"), reference, ["a<|end|>b", "end<|end>b", "<|start|>b"])


def test_an_added_token_whose_id_hugging_face_would_change(tmp_path: Path) -> None:
    data = json.loads(train("gpt2", 260).to_str())
    token = data["added_tokens"][0] | {"content": "<x>", "id": 260}
    data["added_tokens"] += [token, token | {"content": "<y>", "id": 261}]
    (tmp_path / "x.json").write_text(json.dumps(data))
    assert same_ids(BPE.load(tmp_path / "x.json"), HuggingFace.from_str(json.dumps(data)), ["<x><y>"])
    data["added_tokens"][-1]["id"] = 900
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="'<y>' has id 900, and Hugging Face would give it 261"):
        BPE.load(tmp_path / "x.json")
    assert HuggingFace.from_str(json.dumps(data)).token_to_id("<y>") == 261


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (
            [pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False)],
            r"Digits \+ ByteLevel is not",
        ),
        ([pre_tokenizers.Split(Regex("a+"), "removed", invert=True), LATIN], "a Split with"),
    ],
)
def test_pre_tokenizers_that_nearly_fit(parts: list[Any], says: str, tmp_path: Path) -> None:
    made = HuggingFace(models.BPE({"a": 0}, []))
    made.pre_tokenizer = pre_tokenizers.Sequence(parts)
    made.save(str(tmp_path / "x.json"))
    with pytest.raises(ValueError, match=says):
        BPE.load(tmp_path / "x.json")


def test_a_special_token_spelled_like_another_token(tmp_path: Path) -> None:
    mine = BPE({i: bytes([i]) for i in range(256)}, [], "gpt2", {"Ġ": 300})
    with pytest.raises(ValueError, match="'Ġ' is spelled like another token"):
        mine.save(tmp_path / "mine.json")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "cl100k", "o200k"])
def test_published_vocabularies_in_hugging_face(name: str, tmp_path: Path) -> None:
    assets.fetch(name)
    mine = BPE.load(name)
    mine.save(tmp_path / "tokenizer.json")
    reference = HuggingFace.from_file(str(tmp_path / "tokenizer.json"))
    assert same_ids(mine, reference, [*TEXTS, "a<|endoftext|>b"])


# tiktoken


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("YQ== 0\n\nYWI= -3\n", "line 3: no base64"),
        ("YQ== 0\nYQ== 1\n", "line 2: b'a' has the rank 0 already"),
        ("", "holds no ranks"),
        ("\n \n", "holds no ranks"),
    ],
)
def test_a_rank_file_that_is_damaged(lines: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.tiktoken").write_text(lines)
    with pytest.raises(ValueError, match=says):
        BPE.load(tmp_path / "x.tiktoken", "gpt2")


def test_blank_lines_in_a_rank_file(tmp_path: Path) -> None:
    (tmp_path / "x.tiktoken").write_text("YQ== 0\n\nYg== 1\n\n")
    assert BPE.load(tmp_path / "x.tiktoken", "gpt2").vocab == {0: b"a", 1: b"b"}


def test_a_rank_file_is_in_the_order_of_the_ids(tmp_path: Path) -> None:
    BPE.from_ranks({b"ab": 256} | {t: i for i, t in BYTES.items()}, "gpt2").save(tmp_path / "x.tiktoken")
    assert (tmp_path / "x.tiktoken").read_bytes().endswith(b"YWI= 256\n")


def test_a_rank_file(tmp_path: Path) -> None:
    lines = [b"%s %d" % (base64.b64encode(bytes([i])), 255 - i) for i in range(256)]
    lines += [b"%s 256" % base64.b64encode(b"ab"), b"%s 300" % base64.b64encode(b"abc")]
    (tmp_path / "ranks.tiktoken").write_bytes(b"\n".join(lines))
    mine = BPE.load(tmp_path / "ranks.tiktoken", "gpt4", {"<s>": 400})
    assert mine.encode("abcab<s>", allowed_special="all") == [300, 256, 400]
    assert mine.merges == [(b"a", b"b"), (b"ab", b"c")]
    mine.save(tmp_path / "again.tiktoken")
    assert tiktoken.load.load_tiktoken_bpe(str(tmp_path / "again.tiktoken")) == {t: i for i, t in mine.vocab.items()}
    with pytest.raises(ValueError, match="does not say their pattern: give one of gpt2, gpt4, "):
        BPE.load(tmp_path / "ranks.tiktoken")


def test_published_ranks_are_written_as_they_were(tmp_path: Path) -> None:
    BPE.load("gpt2").save(tmp_path / "gpt2.tiktoken")
    assert (tmp_path / "gpt2.tiktoken").read_bytes() == assets.path("gpt2").read_bytes()


@pytest.mark.parametrize("line", ["YQ==", "YQ== x", "not base64! 3", "YQ== 1 2", "# comment"])
def test_a_line_that_is_no_rank(line: str, tmp_path: Path) -> None:
    (tmp_path / "ranks.tiktoken").write_text(f"YQ== 0\n{line}\n")
    with pytest.raises(ValueError, match=r"ranks\.tiktoken, line 2: no base64 of a token and its rank"):
        BPE.load(tmp_path / "ranks.tiktoken", "gpt2")


def test_ids_that_are_no_ranks_do_not_go_into_a_rank_file(tmp_path: Path) -> None:
    vocab = {i: bytes([i]) for i in range(256)} | {257: b"ab", 256: b"bc"}
    with pytest.raises(ValueError, match="the ids are no ranks"):
        BPE(vocab, [(b"a", b"b"), (b"b", b"c")], "gpt2").save(tmp_path / "x.tiktoken")
    assert not (tmp_path / "x.tiktoken").exists()


# GPT-2


def test_merges_txt_without_a_line_for_its_version(tmp_path: Path) -> None:
    BPE(BYTES | {256: b"ab", 257: b"bc"}, [(b"a", b"b"), (b"b", b"c")], "gpt2").save(tmp_path / "m")
    file = tmp_path / "m" / "merges.txt"
    file.write_text(file.read_text("utf-8").split("\n", 1)[1], "utf-8")
    assert BPE.load(tmp_path / "m").merges == [(b"a", b"b"), (b"b", b"c")]


def test_a_special_token_of_one_character_comes_back_from_a_folder(tmp_path: Path) -> None:
    BPE(BYTES, [], "gpt2", {"中": 256}).save(tmp_path / "d")
    assert BPE.load(tmp_path / "d").special_tokens == {"中": 256}
    assert BPE.load(tmp_path / "d").vocab == BYTES


def test_vocab_json_and_merges_txt(tmp_path: Path) -> None:
    reference = train("gpt2")
    reference.model.save(str(tmp_path))  # Hugging Face writes the two files
    mine = BPE.load(tmp_path)
    assert mine.special_tokens == {"<|end|>": 0, "<|start|>": 1}
    assert same_ids(mine, reference)
    assert same_ids(mine, reference, ["a<|end|>b"])
    mine.save(tmp_path / "mine")
    theirs = models.BPE.from_file(str(tmp_path / "mine" / "vocab.json"), str(tmp_path / "mine" / "merges.txt"))
    reference.model = theirs
    assert same_ids(mine, reference)
    assert (tmp_path / "mine" / "merges.txt").read_bytes() == (tmp_path / "merges.txt").read_bytes()
    chosen = BPE.load(tmp_path, special_tokens={"<|end|>": 0})
    assert chosen.special_tokens == {"<|end|>": 0}
    assert chosen.vocab[1] == b"<|start|>"
    assert BPE.load(tmp_path, "gpt4").pattern == PATTERNS["gpt4"]


def test_what_a_gpt2_folder_cannot_say(tmp_path: Path) -> None:
    vocab = {i: bytes([i]) for i in range(256)}
    with pytest.raises(ValueError, match="takes GPT-2's pattern"):
        BPE(vocab, [], "gpt4").save(tmp_path)
    with pytest.raises(ValueError, match="no added tokens"):
        BPE(vocab, [], "gpt2", added_tokens={"x": 300}).save(tmp_path)
    with pytest.raises(ValueError, match="no merge makes b'ab'"):
        BPE(vocab | {256: b"ab"}, [], "gpt2", ignore_merges=True).save(tmp_path)
    with pytest.raises(ValueError, match="ends with .json, .tiktoken or .gguf"):
        BPE(vocab, [], "gpt2").save(tmp_path / "x.bin")
    with pytest.raises(ValueError, match="has no vocab.json"):
        BPE.load(tmp_path)


def test_bytes_as_characters() -> None:
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    assert {to_text(bytes([i])) for i in range(256)} == alphabet
    assert to_bytes(to_text(bytes(range(256)))) == bytes(range(256))
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("né\n 🙂")
    assert to_text("né\n 🙂".encode()) == pieces[0][0]
    with pytest.raises(ValueError, match="' ' in the token 'a b' stands for no byte"):
        to_bytes("a b")


# GGUF


def test_the_patterns_of_gguf_files() -> None:
    known = {"gpt-2": ("gpt2", False), "smollm": ("smollm", False), "qwen2": ("qwen2", False)}
    assert known | {"llama-bpe": ("llama3", True)} == gguf_vocab.PRE


def test_a_gguf_takes_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match="has a pattern and special tokens of its own"):
        BPE.load(tmp_path / "x.gguf", "gpt2")


def test_a_gguf_without_the_name_of_a_pattern() -> None:
    fields = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.merges": []}
    with pytest.raises(ValueError, match="pre is 'default'"):
        gguf_vocab.bpe_of(fields)
    for line in ("a", "a b c"):
        with pytest.raises(ValueError, match="is no merge"):
            gguf_vocab.bpe_of(fields | {"tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.merges": [line]})


def test_a_gguf_whose_last_string_is_cut_short(tmp_path: Path) -> None:
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IQ", 8, 5) + b"abc"
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(ValueError, match="cut short"):
        GGUF(tmp_path / "x.gguf")


def test_a_gguf_of_arrays_in_arrays(tmp_path: Path) -> None:
    nested = struct.pack("<IQ", 9, 1) * 20_000
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 9) + nested)
    with pytest.raises(ValueError, match="cut short or damaged"):
        GGUF(tmp_path / "x.gguf")


@pytest.mark.parametrize("alignment", [0, -8, "x"])
def test_a_gguf_whose_tensors_begin_nowhere(alignment: object, tmp_path: Path) -> None:
    write_fields(tmp_path / "x.gguf", {"general.alignment": alignment})
    with pytest.raises(ValueError, match="is damaged: its tensors cannot begin"):
        GGUF(tmp_path / "x.gguf")


def test_a_gguf_without_the_end_of_a_tensor(tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf", json.loads(train("gpt2", 260).to_str()))
    whole = GGUF(tmp_path / "x.gguf")
    end = whole.tensors["weights"].offset + 256
    assert whole.read("weights").tolist() == [0.0] * 64
    (tmp_path / "y.gguf").write_bytes((tmp_path / "x.gguf").read_bytes()[: end - 1])
    cut = GGUF(tmp_path / "y.gguf")
    with pytest.raises(ValueError, match="it ends before weights does"):
        cut.read("weights")


def test_special_and_added_tokens_that_merge_in_a_gguf(tmp_path: Path) -> None:
    vocab = BYTES | {256: b"ab", 257: b"abc"}
    bpe = BPE(vocab, [(b"a", b"b"), (b"ab", b"c")], "gpt2", {"ab": 256}, added_tokens={"!": 33})
    bpe.save(tmp_path / "x.gguf")
    again = BPE.load(tmp_path / "x.gguf")
    assert (again.vocab, again.special_tokens, again.added_tokens) == (vocab, {"ab": 256}, {"!": 33})
    assert again.encode_ordinary("abc!") == [257, 33]


def write_gguf(path: Path, data: dict[str, Any], pre: str = "gpt-2", **changes: Any) -> None:
    """The file that the gguf package writes for the vocabulary of a tokenizer.json, with a tensor behind it."""
    ids: dict[str, int] = data["model"]["vocab"] | {token["content"]: token["id"] for token in data["added_tokens"]}
    special = {token["content"]: token["special"] for token in data["added_tokens"]}
    tokens = [f"[unused{i}]" for i in range(max(ids.values()) + 1)]
    types = [gguf.TokenType.UNUSED] * len(tokens)
    for token, i in ids.items():
        tokens[i] = token
        kinds = {None: gguf.TokenType.NORMAL, True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
        types[i] = kinds[special.get(token)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.name", "a name, é")
    writer.add_float32("a.number", 0.5)
    writer.add_array("some.flags", [True, False])
    writer.add_tokenizer_model(changes.get("model", "gpt2"))
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(changes.get("tokens", tokens))
    writer.add_token_types(types)
    if "merges" not in changes:
        writer.add_token_merges([" ".join(pair) for pair in data["model"]["merges"]])
    writer.add_tensor("weights", np.zeros(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("pre", gguf_vocab.PRE)
def test_the_tokenizer_in_a_gguf(pre: str, tmp_path: Path) -> None:
    pattern, ignore_merges = gguf_vocab.PRE[pre]
    reference = train(pattern)
    reference.add_tokens([AddedToken("quick", normalized=False)])
    data = json.loads(reference.to_str())
    data["model"]["ignore_merges"] = ignore_merges
    data["model"]["vocab"] |= {
        "quick": 900,
        "Ġquixotic": 1500,
    }  # ids that are not in the model Hugging Face chooses anew
    write_gguf(tmp_path / "model.gguf", data, pre)
    mine = BPE.load(tmp_path / "model.gguf")
    assert (mine.pattern, mine.added_tokens) == (PATTERNS[pattern], {"quick": 900})
    assert mine.special_tokens == {"<|end|>": 0, "<|start|>": 1}
    same = HuggingFace.from_str(json.dumps(data))
    assert same_ids(mine, same, ["a quixotic quickest<|end|>fox", *TEXTS])
    with pytest.raises(ValueError, match="id 1400 is outside the vocabulary: no token has it"):
        mine.decode([1400])


def test_all_kinds_of_fields(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "fields.gguf", "llama")
    for i, kind in enumerate(("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"), start=1):
        getattr(writer, f"add_{kind}")(f"a.{kind}", -i if kind.startswith("i") else i)
    writer.add_float64("a.float64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "é🙂")
    writer.add_array("a.numbers", [3, -4])
    writer.add_array("a.strings", ["x", "", "yz"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert GGUF(tmp_path / "fields.gguf").fields == {
        "general.architecture": "llama",
        "a.uint8": 1,
        "a.int8": -2,
        "a.uint16": 3,
        "a.int16": -4,
        "a.uint32": 5,
        "a.int32": -6,
        "a.uint64": 7,
        "a.int64": -8,
        "a.float64": 0.1,
        "a.bool": True,
        "a.string": "é🙂",
        "a.numbers": [3, -4],
        "a.strings": ["x", "", "yz"],
    }


@pytest.mark.parametrize(
    ("pre", "changes", "says"),
    [
        ("deepseek-llm", {}, "tokenizer.ggml.pre is 'deepseek-llm': .* known are gpt-2, "),
        ("gpt-2", {"model": "llama"}, "of the kind 'llama', not a byte-level BPE"),
        ("gpt-2", {"merges": None}, "has no tokenizer.ggml.merges"),
        ("gpt-2", {"tokens": ["a", "b"]}, "has 2 tokens and the types of 260"),
    ],
)
def test_a_gguf_that_cannot_be_had_is_named(pre: str, changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", json.loads(train("gpt2", 260).to_str()), pre, **changes)
    with pytest.raises(ValueError, match=says):
        BPE.load(tmp_path / "model.gguf")


def test_a_gguf_that_is_cut_short(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", json.loads(train("gpt2", 260).to_str()))
    whole = (tmp_path / "model.gguf").read_bytes()
    for size in (4, 10, 30, 300, 2000):
        (tmp_path / "short.gguf").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"short\.gguf is cut short or damaged"):
            BPE.load(tmp_path / "short.gguf")
    (tmp_path / "long.gguf").write_bytes(whole[:24] + struct.pack("<Q", 1 << 62) + whole[32:])
    with pytest.raises(ValueError, match=r"long\.gguf is cut short or damaged"):
        BPE.load(tmp_path / "long.gguf")
    (tmp_path / "old.gguf").write_bytes(whole[:4] + struct.pack("<I", 1) + whole[8:])
    with pytest.raises(ValueError, match="GGUF of version 1"):
        BPE.load(tmp_path / "old.gguf")
    with pytest.raises(ValueError, match="is not a GGUF file"):
        GGUF(Path(__file__))


@pytest.mark.parametrize("pre", gguf_vocab.PRE)
def test_a_gguf_of_ours_says_the_same_to_the_gguf_package_and_to_us(pre: str, tmp_path: Path) -> None:
    pattern, ignore_merges = gguf_vocab.PRE[pre]
    vocab = {3 + i: bytes([i]) for i in range(256)} | {300: b"th", 299: b"the", 301: b" the"}
    merges = [(b"t", b"h"), (b"th", b"e"), (b" ", b"the")]
    bpe = BPE(vocab, merges, pattern, {"<|x|>": 0, "é<|y": 305}, added_tokens={"  ": 1}, ignore_merges=ignore_merges)
    bpe.save(tmp_path / "vocab.gguf")
    fields = {name: field.contents() for name, field in gguf.GGUFReader(tmp_path / "vocab.gguf").fields.items()}
    assert fields["tokenizer.ggml.pre"] == pre
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert fields["tokenizer.ggml.merges"] == ["t h", "th e", "Ġ the"]
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == 306
    assert (tokens[0], tokens[1], tokens[305], tokens[301]) == ("<|x|>", "  ", "é<|y", "Ġthe")
    assert (types[0], types[1], types[2], types[305], types[301]) == (3, 4, 5, 3, 1)
    again = BPE.load(tmp_path / "vocab.gguf")
    for name in ("vocab", "merges", "pattern", "special_tokens", "added_tokens", "ignore_merges"):
        assert getattr(again, name) == getattr(bpe, name), name
    text = "the  then <|x|> 123 é<|y ünï"
    assert again.encode(text, allowed_special="all") == bpe.encode(text, allowed_special="all")


def test_a_gguf_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    single = {i: bytes([i]) for i in range(256)}
    with pytest.raises(ValueError, match="no name for this pattern: gpt-2, smollm, qwen2, llama-bpe can be written"):
        BPE(single, [], r"\w+|\W+").save(tmp_path / "a.gguf")
    ranks = {bytes([i]): i for i in range(256)} | {b"xyz": 256}
    with pytest.raises(ValueError, match="no merge makes b'xyz', and with gpt-2"):
        BPE.from_ranks(ranks, "gpt2").save(tmp_path / "a.gguf")
    with pytest.raises(ValueError, match="'xy' is an ordinary token too"):
        BPE(single | {256: b"xy"}, [], "gpt2", {"xy": 256}).save(tmp_path / "a.gguf")
    for value, says in ((b"x", "a number, a string or a list"), ([1, "x"], "of one kind"), (1 << 40, "into 32 bits")):
        with pytest.raises(ValueError, match=f"field: .*{says}"):
            write_fields(tmp_path / "a.gguf", {"field": value})
    assert not (tmp_path / "a.gguf").exists()


def test_fields_of_all_kinds_come_back(tmp_path: Path) -> None:
    fields = {"a": -7, "b": 0.1, "c": "é🙂", "d": True, "e": ["x", ""], "f": [], "g": [1, 2], "h": [0.5], "i": [False]}
    write_fields(tmp_path / "a.gguf", fields)
    assert GGUF(tmp_path / "a.gguf").fields == fields
    found = gguf.GGUFReader(tmp_path / "a.gguf").fields
    assert {name: found[name].contents() for name in fields if name != "f"} == {
        k: v for k, v in fields.items() if k != "f"
    }


@pytest.mark.slow
def test_smollm2() -> None:
    """The fields as the gguf package reads them, the ids as Hugging Face has them for these fields."""
    try:
        path = assets.path("smollm2")
    except assets.AssetMissing as missing:
        pytest.skip(str(missing))
    fields = gguf.GGUFReader(path).fields
    read = GGUF(path).fields
    assert read == {name: field.contents() for name, field in fields.items() if not name.startswith("GGUF.")}
    tokens = read["tokenizer.ggml.tokens"]
    merges = [tuple(line.split(" ")) for line in read["tokenizer.ggml.merges"]]
    reference = HuggingFace(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    reference.pre_tokenizer = split("smollm")
    reference.add_special_tokens(
        [token for token, kind in zip(tokens, read["tokenizer.ggml.token_type"], strict=True) if kind == 3]
    )
    mine = BPE.load("smollm2")
    assert mine.encode("Hello world") == [19556, 905]
    assert mine.vocab_size == 49152
    alphabet = {byte for token in mine.vocab.values() if len(token) == 1 for byte in token}
    texts = [text for text in TEXTS if set(text.encode()) <= alphabet]  # the model lacks some control characters
    assert len(texts) > 1500
    assert same_ids(mine, reference, [*texts, "<|im_start|>user\nWhat is 12+345?<|im_end|>\n"])
    assert same_ids(mine, reference, [assets.fetch("sotu").read_text("utf-8")[:300_000]])


# by name


def test_a_name_that_nothing_has(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="'gtp2' is neither a file or folder nor a vocabulary with a name; did you mean gpt2"
    ):
        BPE.load("gtp2")
    with pytest.raises(ValueError, match="by name there are gpt2, cl100k, o200k, smollm2, r50k_base"):
        BPE.load("llama3")
    for name, meant in (("gpt4", "cl100k"), ("gpt-4", "cl100k"), ("gpt-4o", "o200k")):
        with pytest.raises(ValueError, match=f"did you mean {meant}"):
            BPE.load(name)
    with pytest.raises(ValueError, match="neither a file"):
        BPE.load(Path("gpt2"))  # a path is a path
    with pytest.raises(ValueError, match="gpt2 has a pattern and special tokens of its own"):
        BPE.load("gpt2", "gpt4")
    train("gpt2", 260).save(str(tmp_path / "x.json"))
    with pytest.raises(ValueError, match="has a pattern and special tokens of its own"):
        BPE.load(tmp_path / "x.json", special_tokens={"<s>": 300})


def test_a_vocabulary_that_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_ASSETS", str(tmp_path))
    for name in ("o200k", "smollm2"):
        with pytest.raises(assets.AssetMissing, match=f"fetch {name}"):
            BPE.load(name)


@pytest.mark.parametrize("module", [bytes_as_text, formats, gguf_vocab, oniguruma])
def test_examples_in_the_docstrings(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
