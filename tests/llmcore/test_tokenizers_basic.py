"""Whole words, pre-tokens and bytes, against tiktoken's Rust regex, Unicode's own tables and plain reference code."""

import doctest
import json
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str

from llmcore import assets
from llmcore.tokenizers import (
    ByteTokenizer,
    RegexTokenizer,
    Tokenizer,
    WordTokenizer,
    base,
    basic,
    pre_tokenize,
    ranks,
)

SENTENCE = "Hello, world! Don't tokenize naively — GPT-2's regex is smart."
TEXTS = [
    SENTENCE,
    "I'll say we've, they're, it's, I'd, I'm, don't; but not '90s or O'Sullivan, nor DON'T.",
    "  two  spaces,   three\n\n\nlines \n \t tabs\t\tend   ",
    "x=1;y = 22\n\tif x<=y:\n\t\treturn f(x)[3:-4]  # ½ ³ Ⅷ ٣٤",
    "日本語のテキスト、中文。 Привет, мир! नमस्ते 안녕 שלום e\u0301 🙂👩‍👩‍👧 \u00a0\u3000\u2028 end",
]

STEADY = settings(deadline=None)  # a busy machine is no failure
THOROUGH = settings(STEADY, max_examples=300)

# Characters at which the pattern decides, and then any that Unicode has (not lone surrogates, not unassigned ones).
edges = st.sampled_from(" \t\n\r\x0b\x1c\x1f\x85\xa0\u3000'sdmtlverLVE019½٣éжÀ中_-,.!—🙂\u0301\u200d")
characters = st.one_of(edges, st.characters(exclude_categories=["Cs", "Cn"]))
texts = st.text(characters, max_size=24)
ascii_texts = st.text(st.characters(max_codepoint=127), max_size=40)


@pytest.fixture(scope="module", autouse=True)
def gpt2_asset() -> Path:
    return assets.fetch("gpt2")


def rust_pieces(text: str) -> list[bytes]:
    """How tiktoken's regex cuts a text: give every substring a rank of its own, and no piece needs merging."""
    data = text.encode()
    vocabulary = {bytes([i]) for i in range(256)}
    vocabulary |= {data[i:j] for i in range(len(data)) for j in range(i + 1, len(data) + 1)}
    encoding = tiktoken.Encoding(
        "every substring",
        pat_str=r50k_pat_str,
        mergeable_ranks={piece: rank for rank, piece in enumerate(sorted(vocabulary))},
        special_tokens={},
    )
    return encoding.decode_tokens_bytes(encoding.encode_ordinary(text))


def ends(pieces: Iterable[bytes]) -> list[int]:
    total, places = 0, []
    for piece in pieces:
        total += len(piece)
        places.append(total)
    return places


# pre_tokenize


@THOROUGH
@given(st.one_of(texts, ascii_texts))
def test_pre_tokens_are_the_pieces_that_tiktoken_cuts(text: str) -> None:
    assert [piece.encode() for piece in pre_tokenize(text)] == rust_pieces(text)


@pytest.mark.parametrize("text", TEXTS)
def test_pre_tokens_of_real_text(text: str) -> None:
    assert [piece.encode() for piece in pre_tokenize(text)] == rust_pieces(text)


def test_control_characters_that_str_takes_for_white_space_are_symbols() -> None:
    assert pre_tokenize("a \x1c\x1f!") == ["a", " \x1c\x1f!"]
    assert pre_tokenize("é \x1c\x1f!") == ["é", " \x1c\x1f!"]


def test_letters_are_those_of_any_script() -> None:
    assert pre_tokenize("naïve cafés") == ["naïve", " cafés"]


@STEADY
@given(st.text())
def test_pre_tokens_join_to_the_text(text: str) -> None:
    assert "".join(pre_tokenize(text)) == text


@STEADY
@given(st.text(st.characters(categories=["Cs"]), min_size=1, max_size=5))
def test_lone_surrogates_are_cut_like_symbols(text: str) -> None:
    assert pre_tokenize(f"a {text} b") == ["a", f" {text}", " b"]


def test_every_character_is_in_the_class_that_unicode_says() -> None:
    wrong = []
    for char in map(chr, range(0x110000)):
        category = unicodedata.category(char)
        if category == "Cn":  # assigned by a newer Unicode than this Python's, perhaps
            continue
        # "\x1c".."\x1f" are white space to str, but do not have Unicode's White_Space property.
        space = char.isspace() and not "\x1c" <= char <= "\x1f"
        letter, number = category[0] == "L", category[0] == "N"
        found = [
            len(pre_tokenize(f"é{char}")) == 1,
            len(pre_tokenize(f"½{char}")) == 1,
            len(pre_tokenize(f"—{char}")) == 1,
        ]
        if found != [letter, number, not (space or letter or number)]:
            wrong.append((hex(ord(char)), category))
    assert not wrong


# GPT-2's vocabulary


def test_gpt2_ranks_are_the_published_vocabulary() -> None:
    found = ranks.gpt2_ranks()
    assert sorted(found.values()) == list(range(50256))
    assert {bytes([i]) for i in range(256)} <= found.keys()
    assert [found[token] for token in (b"Hello", b" world", b" gazed")] == [15496, 995, 50255]
    encoding = ranks.gpt2_tiktoken()
    assert encoding.n_vocab == 50257
    assert encoding.encode("Hello world") == [15496, 995]
    assert encoding.encode("<|endoftext|>", allowed_special="all") == [50256]


def test_one_encoding_is_built_once_and_ranks_are_yours_to_change() -> None:
    assert ranks.gpt2_tiktoken() is ranks.gpt2_tiktoken()
    ranks.gpt2_ranks().clear()
    assert len(ranks.gpt2_ranks()) == 50256


def test_a_missing_asset_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_ASSETS", str(tmp_path))
    with pytest.raises(assets.AssetMissing, match=r"fetch gpt2"):
        ranks.gpt2_ranks()


def bpe_cuts_only_inside_pre_tokens(text: str) -> bool:
    encoding = ranks.gpt2_tiktoken()
    tokens = encoding.decode_tokens_bytes(encoding.encode_ordinary(text))
    return set(ends(piece.encode() for piece in pre_tokenize(text))) <= set(ends(tokens))


@STEADY
@given(texts)
def test_bpe_only_cuts_pre_tokens_further(text: str) -> None:
    assert bpe_cuts_only_inside_pre_tokens(text)


@pytest.mark.parametrize("text", TEXTS)
def test_bpe_only_cuts_pre_tokens_of_real_text_further(text: str) -> None:
    assert bpe_cuts_only_inside_pre_tokens(text)


def test_counts_of_one_sentence() -> None:
    counts = [len(tokenizer.encode(SENTENCE)) for tokenizer in (*trained([SENTENCE]), ByteTokenizer())]
    assert counts == [10, 17, 64]
    assert len(ranks.gpt2_tiktoken().encode(SENTENCE)) == 20  # never fewer than pre-tokens


# words and pre-tokens


def trained(corpus: list[str]) -> tuple[WordTokenizer, RegexTokenizer]:
    return WordTokenizer.train(corpus), RegexTokenizer.train(corpus)


CORPUS = ["b a c", "a b", "d a"]  # a 3, b 2, then c and d, once each, in this order


def test_ids_are_unk_then_specials_then_the_most_common_first() -> None:
    tokenizer = WordTokenizer.train(CORPUS, special_tokens=["<pad>", "<eos>"])
    assert tokenizer.vocab == ("<unk>", "<pad>", "<eos>", "a", "b", "c", "d")
    assert tokenizer.special_tokens == {"<unk>": 0, "<pad>": 1, "<eos>": 2}
    assert tokenizer.encode("d c b a") == [6, 5, 4, 3]
    assert tokenizer.vocab_size == len(tokenizer) == 7


def test_equals_keep_the_order_of_first_appearance() -> None:
    assert WordTokenizer.train(["z y x", "w z w"]).vocab == ("<unk>", "z", "w", "y", "x")
    assert WordTokenizer.train(["x y z", "w z w"]).vocab == ("<unk>", "z", "w", "x", "y")


@pytest.mark.parametrize(("min_freq", "kept"), [(1, "abcd"), (2, "ab"), (3, "a"), (4, "")])
def test_min_freq_is_the_least_count_that_stays(min_freq: int, kept: str) -> None:
    assert WordTokenizer.train(CORPUS, min_freq=min_freq).vocab == ("<unk>", *kept)


@pytest.mark.parametrize(("vocab_size", "kept"), [(2, ""), (3, "a"), (5, "abc"), (6, "abcd"), (99, "abcd")])
def test_vocab_size_counts_the_special_tokens(vocab_size: int, kept: str) -> None:
    tokenizer = WordTokenizer.train(CORPUS, vocab_size=vocab_size, special_tokens=["<s>"])
    assert tokenizer.vocab == ("<unk>", "<s>", *kept)


def test_vocab_size_without_room_for_the_special_tokens() -> None:
    with pytest.raises(ValueError, match="vocab_size=1 has no room for <unk>, <s>"):
        WordTokenizer.train(CORPUS, vocab_size=1, special_tokens=["<s>"])


@STEADY
@given(st.lists(st.text("ab, ", max_size=12), max_size=6), st.integers(1, 3), st.integers(2, 9))
def test_training_agrees_with_plain_counting(corpus: list[str], min_freq: int, vocab_size: int) -> None:
    tokens = [token for text in corpus for token in pre_tokenize(text)]
    frequent = [token for token in dict.fromkeys(tokens) if tokens.count(token) >= min_freq]
    expected = sorted(frequent, key=lambda token: (-tokens.count(token), tokens.index(token)))
    tokenizer = RegexTokenizer.train(corpus, vocab_size, min_freq, ["<s>"])
    assert tokenizer.vocab == ("<unk>", "<s>", *expected)[:vocab_size]


def test_texts_are_read_once_and_one_at_a_time() -> None:
    def stream() -> Iterator[str]:
        for text in CORPUS:
            seen.append(text)
            yield text

    seen: list[str] = []
    assert WordTokenizer.train(stream()).vocab == WordTokenizer.train(CORPUS).vocab
    assert seen == CORPUS


def test_a_string_for_a_list_of_strings_is_refused() -> None:
    with pytest.raises(TypeError, match="in a list"):
        WordTokenizer.train("a b c")
    with pytest.raises(TypeError, match="in a list"):
        WordTokenizer.train(["a b c"], special_tokens="<pad>")


def test_text_never_becomes_a_special_token() -> None:
    tokenizer = WordTokenizer.train(["<pad> a <unk> a <pad>"], special_tokens=["<pad>"])
    assert tokenizer.vocab == ("<unk>", "<pad>", "a")
    assert tokenizer.encode("<pad> a <unk>") == [0, 2, 0]
    assert tokenizer.decode([1, 2]) == "<pad> a"


def test_unseen_words_are_unk_and_known_ones_are_not() -> None:
    words, pieces = trained(["the cat sat"])
    assert words.encode("the bird sat") == [1, 0, 3]
    assert words.decode([1, 0, 3]) == "the <unk> sat"
    assert pieces.encode("the bird sat") == [1, 0, 3]
    assert pieces.decode([1, 0, 3]) == "the<unk> sat"
    assert pieces.encode("The cat") == [0, 2]


@STEADY
@given(texts)
def test_known_text_survives_pre_tokens_exactly_and_words_but_for_white_space(text: str) -> None:
    words, pieces = trained([text])
    assert pieces.decode(pieces.encode(text)) == text
    assert words.decode(words.encode(text)) == " ".join(text.split())


@pytest.mark.parametrize("kind", [WordTokenizer, RegexTokenizer])
def test_nothing_to_learn_and_nothing_to_encode(kind: type[WordTokenizer] | type[RegexTokenizer]) -> None:
    for tokenizer in (kind.train([]), kind.train(["", ""]), kind(["<unk>"])):
        assert tokenizer.vocab == ("<unk>",)
        assert tokenizer.encode("") == []
        assert tokenizer.decode([]) == ""
        assert tokenizer.encode("word") == [0]


@pytest.mark.parametrize("wrong", [-1, 5])
def test_ids_outside_the_vocabulary_are_refused(wrong: int) -> None:
    tokenizer = WordTokenizer.train(CORPUS)
    with pytest.raises(ValueError, match=f"id {wrong} is outside the vocabulary: ids go from 0 to 4"):
        tokenizer.decode([0, wrong, 4])
    assert tokenizer.decode(iter([0, 4])) == "<unk> d"


@pytest.mark.parametrize(
    ("vocab", "special_tokens", "says"),
    [
        ([], [], "must begin with <unk>"),
        (["a", "<unk>"], [], "must begin with <unk>"),
        (["<unk>", "a", "<pad>"], ["<pad>"], "must begin with <unk>, <pad>"),
        (["<unk>", "a", "b", "a"], [], "'a' is in the vocabulary twice"),
        (["<unk>", "<unk>"], ["<unk>"], "'<unk>' is in the vocabulary twice"),
    ],
)
def test_a_vocabulary_that_breaks_the_contract_is_refused(
    vocab: list[str], special_tokens: list[str], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        RegexTokenizer(vocab, special_tokens)


def test_a_tokenizer_is_its_vocabulary() -> None:
    tokenizer = RegexTokenizer(["<unk>", "<s>", " b", "a"], ["<s>"])
    assert tokenizer.encode("a b c") == [3, 2, 0]
    assert repr(tokenizer) == "RegexTokenizer(4 tokens)"


@STEADY
@given(corpus=st.lists(st.text(max_size=20), max_size=4))
def test_save_and_load(tmp_path_factory: pytest.TempPathFactory, corpus: list[str]) -> None:
    file = tmp_path_factory.mktemp("vocab") / "tokenizer.json"
    saved = RegexTokenizer.train(corpus, special_tokens=["<é>", "<s>"])
    saved.save(file)
    loaded = RegexTokenizer.load(file)
    assert (loaded.vocab, loaded.special_tokens) == (saved.vocab, saved.special_tokens)
    assert json.loads(file.read_text())["special_tokens"] == ["<é>", "<s>"]


def test_loading_the_other_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "words.json"
    WordTokenizer.train(CORPUS).save(str(file))
    assert WordTokenizer.load(str(file)).vocab == WordTokenizer.train(CORPUS).vocab
    with pytest.raises(ValueError, match=r"words\.json holds a word tokenizer, not a regex tokenizer"):
        RegexTokenizer.load(file)


# bytes


@STEADY
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_bring_back_any_text(text: str) -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert bytes(ids) == text.encode("utf-8")
    assert tokenizer.decode(ids) == text


def test_a_lone_surrogate_has_no_bytes() -> None:
    with pytest.raises(UnicodeEncodeError):
        ByteTokenizer().encode("a\ud800")


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([0xFF], "\ufffd"),
        ([104, 0xC3, 105], "h\ufffdi"),
        ([0xE2, 0x80], "\ufffd"),  # an em dash, cut short
        ([0xE2, 0x80, 0x94], "—"),
        ([0xED, 0xA0, 0x80], "\ufffd\ufffd\ufffd"),  # a surrogate, which UTF-8 does not allow
        ([], ""),
    ],
)
def test_bytes_that_are_not_utf8_become_replacement_characters(ids: list[int], text: str) -> None:
    assert ByteTokenizer().decode(ids) == text


@pytest.mark.parametrize("wrong", [-1, 256, 1000])
def test_a_byte_is_at_most_255(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"id {wrong} is outside the vocabulary: ids go from 0 to 255"):
        ByteTokenizer().decode([0, 255, wrong])
    assert ByteTokenizer().decode(iter([255, 0])) == "\ufffd\x00"
    assert len(ByteTokenizer()) == ByteTokenizer().vocab_size == 256


# all of them


def test_all_are_tokenizers() -> None:
    every: list[Tokenizer] = [*trained(["a b"]), ByteTokenizer()]
    for tokenizer in every:
        ids = tokenizer.encode("a b")
        assert all(0 <= i < tokenizer.vocab_size for i in ids)
        assert tokenizer.decode(ids) == "a b"


@pytest.mark.parametrize("module", [base, basic, ranks])
def test_examples_in_the_docstrings(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
