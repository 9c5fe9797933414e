"""The encoder: tiktoken's ids for the published vocabularies, its rules for special tokens, and streams both ways."""

import argparse
import doctest
import inspect
import pickle
import random
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from heapq import heappop
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from llmcore import assets
from llmcore.tokenizers import BPE, Tokenizer, bpe, merges, patterns, special, stream
from llmcore.tokenizers.patterns import PATTERNS, splitter

STEADY = settings(deadline=None)  # a busy machine is no failure
THOROUGH = settings(STEADY, max_examples=100)

NAMES = {"gpt2": "r50k_base", "cl100k": "cl100k_base", "o200k": "o200k_base"}
TEXTS = [
    "Hello, world! Don't DON'T don’t we'Ll they'RE it'ſ O'Sullivan's '90s.",
    "  two  spaces,   three\n\n\nlines \r\n\r\n \t tabs\t\tend   ",
    "x=1;y = 22\n\tif x<=y:\n\t\treturn f(x)[3:-4]  # ½ ³ Ⅷ ٣٤ 1234567 3.14159 a/b//c\n/d",
    "日本語のテキスト、中文。 Привет, мир! नमस्ते 안녕 שלום ภาษาไทย e\u0301 ǅʰ camelCaseWORDSandʼmore",
    "🙂👩‍👩‍👧🇩🇪 \u00a0\u3000\u2028\x85 zero\u200dwidth\ufeff \U0001f9d1🏽 \U000e0041",
    "".join(map(chr, range(0x21))) + "\x7f" + "".join(map(chr, range(0x80, 0x100))),
    "a" * 300 + " " * 300 + "ab" * 200 + "-" * 300 + "\n" * 300 + "1" * 100,
]
BYTES = {i: bytes([i]) for i in range(256)}
DECIDING = " \t\n\r\x0b\x1c\x85\u3000'sSſdmtlLveErRaB019½٣é文ǅʰ_-/.,!’🙂\u0301\u200d"

edges = st.text(st.sampled_from(DECIDING), max_size=24)
anything = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=24)
published = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module", autouse=True)
def fetched() -> None:
    for name in NAMES:
        assets.fetch(name)


ours: dict[str, BPE] = {}
theirs: dict[str, tiktoken.Encoding] = {}


def load(name: str) -> tuple[BPE, tiktoken.Encoding]:
    """Our encoder and tiktoken's, each from the file by its own reader, with tiktoken's own settings."""
    if name not in ours:
        ours[name] = BPE.load(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(openai_public, "load_tiktoken_bpe", lambda *args, **kwargs: rank_file(name))
            theirs[name] = tiktoken.Encoding(**openai_public.ENCODING_CONSTRUCTORS[NAMES[name]]())
    return ours[name], theirs[name]


def rank_file(name: str) -> dict[bytes, int]:
    from tiktoken.load import load_tiktoken_bpe

    return load_tiktoken_bpe(str(assets.path(name)))


@pytest.fixture
def small() -> BPE:
    """ "ab" is learned before "bc", and has the higher id."""
    vocab = {i: bytes([i]) for i in range(256)} | {300: b"ab", 299: b"bc", 298: b"abc", 260: b" ab"}
    merges = [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b" ", b"ab")]
    return BPE(vocab, merges, "gpt2", {"<|end|>": 256, "<|end|>x": 257, "<|pad|>": 400})


# the ids of tiktoken


@published
@THOROUGH
@given(text=st.one_of(edges, anything))
def test_ids_are_those_of_tiktoken(name: str, text: str) -> None:
    mine, reference = load(name)
    assert mine.encode_ordinary(text) == reference.encode_ordinary(text)
    assert mine.decode(mine.encode_ordinary(text)) == text


@published
@pytest.mark.parametrize("text", TEXTS)
def test_ids_of_difficult_text(name: str, text: str) -> None:
    mine, reference = load(name)
    assert mine.encode(text) == reference.encode(text)
    assert mine.decode_bytes(mine.encode(text)) == text.encode()


@published
def test_ids_of_code_and_prose(name: str) -> None:
    mine, reference = load(name)
    for text in (
        inspect.getsource(argparse),
        inspect.getsource(tokenize),
        assets.fetch("shakespeare").read_text()[:200_000],
    ):
        assert mine.encode_ordinary(text) == reference.encode_ordinary(text)


@pytest.mark.slow
@published
def test_ids_of_whole_corpora(name: str) -> None:
    mine, reference = load(name)
    for corpus in ("shakespeare", "sotu"):
        text = assets.fetch(corpus).read_text("utf-8")
        assert mine.encode_ordinary(text) == reference.encode_ordinary(text)


@pytest.mark.slow
@published
@pytest.mark.parametrize("kind", ["one letter", "random letters"])
def test_ids_of_a_megabyte_without_a_space(name: str, kind: str) -> None:
    mine, reference = load(name)
    text = "a" * 1_000_000 if kind == "one letter" else "".join(random.Random(1).choices("etaoinshr", k=1_000_000))
    assert mine.encode_ordinary(text) == reference.encode_ordinary(text)


@published
@pytest.mark.parametrize("kind", ["one letter", "random letters", "line ends", "symbols"])
def test_the_work_of_a_text_without_a_space_is_linear(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, reference = load(name)
    steps, longest = 0, 0
    short = merges.merge_short

    def counted_pop(heap: list[int]) -> int:
        nonlocal steps
        steps += 1
        return heappop(heap)

    def measured_short(ids, *rest):  # type: ignore[no-untyped-def]
        nonlocal longest
        longest = max(longest, len(ids))
        return short(ids, *rest)

    monkeypatch.setattr(merges, "heappop", counted_pop)
    monkeypatch.setattr(merges, "merge_short", measured_short)
    work = []
    for n in (20_000, 40_000):
        letters = "".join(random.Random(n).choices("etaoinshr", k=n))
        text = {"one letter": "a" * n, "random letters": letters, "line ends": "\n" * n, "symbols": "-=" * (n // 2)}[
            kind
        ]
        steps = 0
        assert mine.encode_ordinary(text) == reference.encode_ordinary(text)
        assert n / 2 < steps < 4 * n
        work.append(steps)
    assert 1.9 < work[1] / work[0] < 2.1
    assert longest <= 100  # nothing long went the quadratic way


def test_words_that_are_not_remembered_and_a_memory_that_overflows(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = BPE.load("gpt2")
    monkeypatch.setattr(bpe, "_REMEMBERED", 50)
    text = inspect.getsource(argparse)[:30_000] + "x" * 65 + " " + "y" * 64
    assert mine.encode(text) == load("gpt2")[1].encode(text)
    assert 0 < len(mine._words) <= 50
    assert "x" * 65 not in mine._words
    assert " " + "y" * 63 not in mine._words
    mine.encode(" " + "y" * 63)
    assert " " + "y" * 63 in mine._words


def test_published_ids() -> None:
    assert load("gpt2")[0].encode("Hello world") == [15496, 995]
    assert load("cl100k")[0].encode("Hello world") == [9906, 1917]
    assert load("o200k")[0].encode("Hello world") == [13225, 2375]
    assert [load(name)[0].vocab_size for name in NAMES] == [50257, 100277, 200019]
    assert [load(name)[0].vocab_size for name in NAMES] == [load(name)[1].n_vocab for name in NAMES]
    assert [load(name)[0].special_tokens for name in NAMES] == [load(name)[1]._special_tokens for name in NAMES]


def test_the_other_names() -> None:
    for name, other in NAMES.items():
        if name != "o200k":
            assert BPE.load(other).vocab == load(name)[0].vocab


@published
def test_to_tiktoken_is_the_same_encoder(name: str) -> None:
    mine, reference = load(name)
    fast = mine.to_tiktoken()
    for text in TEXTS:
        assert fast.encode(f"{text}<|endoftext|>", allowed_special="all") == [
            *reference.encode(text),
            reference.eot_token,
        ]


@pytest.mark.slow
def test_the_merges_behind_gpt2_are_fifty_thousand() -> None:
    mine, reference = load("gpt2")
    assert len(mine.merges) == 50_000
    assert [mine._ids[left + right] for left, right in mine.merges] == list(range(256, 50_256))
    assert mine.merges[:3] == [(b" ", b"t"), (b" ", b"a"), (b"h", b"e")]
    again = BPE(mine.vocab, mine.merges, "gpt2")
    for text in TEXTS:
        assert again.encode(text) == reference.encode(text)
    assert again.not_merged() == []
    assert again.to_tiktoken().encode(TEXTS[0]) == reference.encode(TEXTS[0])


# merges by rank, not by id


def test_the_order_of_the_merges_decides_and_not_the_ids(small: BPE) -> None:
    assert small.encode("abc ab xbc") == [298, 260, 32, 120, 299]
    assert BPE(small.vocab, small.merges[1::-1], "gpt2").encode("abc") == [97, 299]
    assert small.merges[0] == (b"a", b"b")


def test_a_piece_that_is_a_token_where_merges_are_ignored(small: BPE) -> None:
    arguments = (small.vocab | {500: b"bca"}, small.merges, "gpt2")
    assert BPE(*arguments).encode("bca xbca") == [299, 97, 32, 120, 299, 97]
    assert BPE(*arguments, ignore_merges=True).encode("bca xbca") == [500, 32, 120, 299, 97]
    assert BPE(*arguments).not_merged() == [b"bca"]


def test_a_pattern_by_name_or_as_it_is(small: BPE) -> None:
    assert BPE(small.vocab, small.merges, PATTERNS["gpt4"]).pattern == BPE(small.vocab, [], "gpt4").pattern
    assert BPE(small.vocab, small.merges, r"\w").encode("abc ab") == [97, 98, 99, 32, 97, 98]
    assert BPE(small.vocab, small.merges, r".+").encode("c ab") == [99, 260]


@pytest.mark.parametrize(
    ("vocab", "pairs", "specials", "says"),
    [
        ({256: b"ab", 257: b"ab"}, [], {}, "two ids have the same bytes, b'ab'"),
        ({256: b"ab"}, [(b"b", b"c")], {}, "merge of b'b' and b'c' needs b'bc'"),
        ({256: b"abc"}, [(b"ab", b"c")], {}, "needs b'ab'"),
        ({}, [], {"": 256}, "special token with id 256 is empty"),
        ({}, [], {"<s>": 65}, r"'<s>' cannot have id 65: b'A' has it"),
        ({}, [], {"<s>": 256, "<t>": 256}, r"'<t>' cannot have id 256: b'<s>' has it"),
        ({}, [], {"<s>": -1}, r"'<s>' cannot have id -1"),
        ({-5: b"ab"}, [], {}, "ids from 0 on, .*: the lowest is -5"),
        ({256: b""}, [], {}, "at least one byte: 256 is the id of no bytes"),
    ],
)
def test_a_vocabulary_that_breaks_the_contract_is_refused(
    vocab: dict[int, bytes], pairs: list[tuple[bytes, bytes]], specials: dict[str, int], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        BPE({i: bytes([i]) for i in range(256)} | vocab, pairs, "gpt2", specials)


def test_no_vocabulary_at_all_is_refused() -> None:
    for make in (lambda: BPE({}, [], "gpt2", {"<s>": 0}), lambda: BPE.from_ranks({}, "gpt2")):
        with pytest.raises(ValueError, match="a vocabulary has ids from 0 on, .*: the lowest is None"):
            make()


def test_special_tokens_are_a_mapping_and_each_has_one_id() -> None:
    with pytest.raises(TypeError, match="given as text → id"):
        BPE(BYTES, [], "gpt2", ["<s>"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="given as text → id"):
        BPE(BYTES, [], "gpt2", added_tokens=["<s>"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'<s>' is a special token with id 256, and an added one with 257"):
        BPE(BYTES, [], "gpt2", {"<s>": 256}, added_tokens={"<s>": 257})
    assert BPE(BYTES, [], "gpt2", {"<s>": 256}, added_tokens={"<s>": 256}).encode_ordinary("<s>") == [256]


def test_a_misspelled_name_of_a_pattern_is_no_pattern() -> None:
    with pytest.raises(ValueError, match="did you mean 'gpt2'"):
        BPE(BYTES, [], "gtp2")


def test_the_first_of_two_equal_merges_counts() -> None:
    mine = BPE(BYTES | {256: b"ab", 257: b"bc"}, [(b"a", b"b"), (b"b", b"c"), (b"a", b"b")], "gpt2")
    assert mine.encode("abc") == [256, 99]


def test_a_whole_piece_is_its_rank_though_no_merge_leads_to_it() -> None:
    ranks = {t: i for i, t in BYTES.items()} | {b"bc": 256, b"abc": 257, b"xyz": 258, b"cd": 259, b"abcd": 260}
    assert BPE.from_ranks(ranks, "gpt2").encode("xyz xyz") == [258, 32, 120, 121, 122]


def test_two_tokens_of_one_rank_are_refused() -> None:
    ranks = {bytes([i]): i for i in range(256)}
    with pytest.raises(ValueError, match=r"b'.*' and b'.*' have the same rank, 98"):
        BPE.from_ranks(ranks | {b"ab": 98}, "gpt2")


def test_a_byte_that_has_no_token() -> None:
    mine = BPE({i: bytes([i]) for i in range(256) if i != 4}, [], "gpt2")
    assert mine.encode("abc") == [97, 98, 99]
    with pytest.raises(ValueError, match=r"no token for the byte 0x04, which is in '\\x04\\x05'"):
        mine.encode("ab \n\x04\x05")


# special tokens


@pytest.mark.parametrize(
    ("allowed", "disallowed"),
    [
        ("all", "all"),
        ("all", ()),
        ((), ()),
        ({"<|fim_prefix|>"}, ()),
        ({"<|fim_prefix|>"}, {"<|endofprompt|>"}),
        ({"<|endoftext|>", "<|fim_prefix|>"}, "all"),
        ({"<|endoftext|>"}, "all"),
        ((), "all"),
        ((), {"prefix"}),
        ({"unknown"}, {"unknown"}),
    ],
)
@pytest.mark.parametrize(
    "text", ["a<|endoftext|> b<|fim_prefix|>", " <|fim_prefix|>\n<|fim_prefix", "nothing  ", "", "unknown"]
)
def test_special_tokens_as_tiktoken_has_them(allowed: Any, disallowed: Any, text: str) -> None:
    mine, reference = load("cl100k")
    options: Any = {"allowed_special": set(allowed) if allowed != "all" else "all", "disallowed_special": disallowed}
    try:
        expected = reference.encode(text, **options)
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(ValueError, match="spells the special token"):
            mine.encode(text, **options)
    else:
        assert mine.encode(text, **options) == expected
        assert list(mine.encode_iterable(text, **options)) == expected
    assert mine.encode_ordinary(text) == reference.encode_ordinary(text)


def test_a_special_token_that_is_not_expected_says_what_to_do(small: BPE) -> None:
    says = r"spells the special token '<\|pad\|>' at character 3: give allowed_special=\{'<\|pad\|>'\} .*disallowed_special=\(\)"
    with pytest.raises(ValueError, match=says):
        small.encode("ab <|pad|>")
    with pytest.raises(ValueError, match=r"'<\|end\|>x' at character 0"):
        small.encode("<|end|>x")
    with pytest.raises(TypeError, match=r"come as a set"):
        small.encode("ab", allowed_special="<|pad|>")  # type: ignore[arg-type]


def test_of_two_special_tokens_the_longest_wins(small: BPE) -> None:
    assert small.encode("<|end|>x<|end|>y", allowed_special="all") == [257, 256, 121]
    only = small.encode("<|end|>x", allowed_special={"<|end|>"}, disallowed_special=())
    assert only == [256, 120]


def test_text_between_special_tokens_is_cut_by_itself(small: BPE) -> None:
    # two spaces at the end of a stretch stay together, as at the end of a text
    mine, reference = load("gpt2")
    text = "a  <|endoftext|>  b"
    assert mine.encode(text, allowed_special="all") == reference.encode(text, allowed_special="all")
    assert mine.encode(text, allowed_special="all") == [*mine.encode("a  "), 50256, *mine.encode("  b")]


def test_added_tokens_are_always_found(small: BPE) -> None:
    mine = BPE(small.vocab, small.merges, "gpt2", {"<s>": 500}, added_tokens={"abc<": 501, "ab": 300})
    assert mine.encode_ordinary("abc<s>ab") == [501, 115, 62, 300]
    assert mine.encode("abc ab<s>", allowed_special="all") == [300, 99, 32, 300, 500]
    assert list(mine.encode_iterable(["ab", "c", "<s>"], disallowed_special=())) == [501, 115, 62]
    with pytest.raises(ValueError, match="added tokens"):
        mine.to_tiktoken()


def test_added_tokens_are_found_in_a_stream_beside_special_ones() -> None:
    mine = BPE(BYTES, [], "gpt2", {"<s>": 500}, added_tokens={"ab": 501})
    assert list(mine.encode_iterable(["<s>a", "b"], allowed_special="all")) == [500, 501]


def test_one_text_is_no_batch(small: BPE) -> None:
    with pytest.raises(TypeError, match="put a single one in a list"):
        small.encode_batch("abc")


def test_a_batch_is_each_text_by_itself(small: BPE) -> None:
    texts = ["abc", "", "ab<|pad|>"]
    assert small.encode_batch(iter(texts), allowed_special={"<|pad|>"}) == [[298], [], [300, 400]]
    assert small.encode_batch(texts, disallowed_special=()) == [small.encode_ordinary(text) for text in texts]
    with pytest.raises(ValueError, match="<\\|pad"):
        small.encode_batch(texts)


# lone surrogates


@pytest.mark.parametrize(
    ("text", "place"), [("\ud800", 0), ("ab \udfff ab", 3), ("é\ud83d\ude42", 1), ("x" * 200 + "\udc00", 200)]
)
def test_a_lone_surrogate_is_an_error_that_says_where(small: BPE, text: str, place: int) -> None:
    says = rf"can't encode .* in position {place}.*: a lone surrogate, at character {place} of the text, has no UTF-8"
    with pytest.raises(UnicodeEncodeError, match=says):
        small.encode(text)
    with pytest.raises(UnicodeEncodeError, match=says):
        small.encode_ordinary(text)
    assert "\ufffd" in load("gpt2")[1].decode(load("gpt2")[1].encode("ab \udfff ab"))  # what tiktoken does


def test_the_error_about_a_surrogate_marks_one_character() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        BPE(BYTES, [], "gpt2").encode("ab\ud800")
    assert (caught.value.start, caught.value.end, caught.value.object) == (2, 3, "ab\ud800")


def test_a_lone_surrogate_in_a_stream_is_counted_from_its_beginning(
    small: BPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpe, "_STREAM", 5)
    with pytest.raises(UnicodeEncodeError, match=r"at character 13 of the text"):
        list(small.encode_iterable(["abc abc", " abc a", "\ud800 b"]))


# text in chunks


@pytest.mark.parametrize("pattern", [*PATTERNS, r"\w+"])
@pytest.mark.parametrize("size", [1, 5])
@settings(STEADY, max_examples=60)
@given(text=edges, data=st.data())
def test_chunks_have_the_ids_of_the_whole(pattern: str, size: int, text: str, data: st.DataObject) -> None:
    """By single bytes, with a merge for each two characters that a wrong cut would separate."""
    mine = pairs_everywhere(pattern)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    chunks = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "_STREAM", size)
        assert list(mine.encode_iterable(chunks)) == mine.encode(text)
        assert list(mine.encode_iterable(text)) == mine.encode(text)


everywhere: dict[str, BPE] = {}


def pairs_everywhere(pattern: str) -> BPE:
    """Any two bytes that DECIDING could put side by side are a token: where pieces end is seen in the ids."""
    if pattern not in everywhere:
        used = sorted(set(DECIDING.encode()))
        pairs = [(bytes([a]), bytes([b])) for a in used for b in used]
        vocab = {i: bytes([i]) for i in range(256)} | {256 + i: a + b for i, (a, b) in enumerate(pairs)}
        everywhere[pattern] = BPE(vocab, pairs, pattern)
    return everywhere[pattern]


TOKENS = ["<a>", "<a><b>", "b><c", "><", "<a", "ab", "<|end|>", "y<a ", "<a <a x"]


@settings(STEADY, max_examples=200)
@given(
    text=st.lists(st.sampled_from([*TOKENS, "<|end|", "<", ">", "a", "b", "  ", " x"]), max_size=10).map("".join),
    allowed=st.sets(st.sampled_from(TOKENS)),
    size=st.integers(1, 6),
    data=st.data(),
)
@example(text="<a><b", allowed={"<a>", "<a><b>"}, size=1, data=None)
@example(text="x <|end|>", allowed={"<|end|>"}, size=1, data=None)
@example(text="y<a <a <a x", allowed={"y<a ", "<a <a x"}, size=1, data=None)
def test_special_tokens_cut_by_a_chunk(text: str, allowed: set[str], size: int, data: st.DataObject | None) -> None:
    merges = [(b"<", b"|"), (b"a", b" "), (b" ", b"<")]
    vocab = BYTES | {256 + i: left + right for i, (left, right) in enumerate(merges)}
    mine = BPE(vocab, merges, "gpt4", {token: 300 + i for i, token in enumerate(TOKENS)})
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6))) if data else range(1, len(text))
    chunks = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "_STREAM", size)
        found = list(mine.encode_iterable(chunks, allowed_special=allowed, disallowed_special=()))
        assert found == mine.encode(text, allowed_special=allowed, disallowed_special=())
        refused = [message(lambda: mine.encode(text, allowed_special=allowed))]
        refused.append(message(lambda: list(mine.encode_iterable(chunks, allowed_special=allowed))))
    assert (refused[0] is None) == (refused[1] is None)


def message(call) -> str | None:  # type: ignore[no-untyped-def]
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


def test_a_special_token_that_lacks_its_last_character_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "_STREAM", 1)
    mine = BPE(BYTES, [], "gpt2", {"<|end|>": 256})
    assert list(mine.encode_iterable(["x <|end|", ">"], allowed_special="all")) == [120, 32, 256]


def test_after_a_token_the_rest_may_be_the_beginning_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "_STREAM", 1)
    mine = BPE(BYTES, [], "gpt2", {"y<a ": 256, "<a <a x": 257})
    assert list(mine.encode_iterable(["y<a <a ", "<a x"], allowed_special="all")) == [256, 257]


def test_a_disallowed_token_that_lacks_its_last_character_at_the_end_of_a_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bpe, "_STREAM", 1)
    chunks = BPE(BYTES, [], "gpt2", {"<|end|>": 256}).encode_iterable(["x <|end|", ">"])
    with pytest.raises(ValueError, match="at character 2"):
        list(chunks)


def test_a_disallowed_token_across_chunks_is_found_and_placed(small: BPE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "_STREAM", 4)
    with pytest.raises(ValueError, match=r"'<\|pad\|>' at character 9"):
        list(small.encode_iterable(["abc ab", "c b<", "|pa", "d|", ">"]))


@published
def test_an_open_file_is_one_text(name: str, tmp_path: Path) -> None:
    mine, reference = load(name)
    text = "".join(TEXTS) * 40 + inspect.getsource(argparse)
    file = tmp_path / "text.txt"
    file.write_bytes(text.encode())
    with file.open(encoding="utf-8", newline="") as lines:
        assert list(mine.encode_iterable(lines)) == reference.encode(text)


def test_a_stream_is_read_as_it_is_used(small: BPE) -> None:
    """What is read and not yet encoded stays small, however long the stream is."""
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "abc ab\n"

    ids = small.encode_iterable(endless())
    for _ in range(100_000):
        next(ids)
    assert read * 7 < 100_000 / 4 * 7 + 2 * bpe._STREAM


def test_a_stream_without_a_place_to_cut_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, cut = pairs_everywhere("gpt2"), 0

    def counted(pattern: str):  # type: ignore[no-untyped-def]
        split = splitter(pattern)

        def counting(text: str) -> list[str]:
            nonlocal cut
            cut += len(text)
            return split(text)

        return counting

    monkeypatch.setattr(bpe, "splitter", counted)
    monkeypatch.setattr(patterns, "splitter", counted)
    monkeypatch.setattr(bpe, "_STREAM", 100)
    text = "a" * 50_000
    assert list(mine.encode_iterable(text)) == mine.encode(text)
    assert cut < 6 * len(text)


def test_no_chunks_and_empty_ones(small: BPE) -> None:
    assert list(small.encode_iterable([])) == list(small.encode_iterable(["", "", ""])) == []
    assert list(small.encode_iterable(["", "ab", "", "c"])) == [298]


# back to text


@published
@THOROUGH
@given(data=st.data())
def test_any_ids_decode_as_tiktoken_decodes_them_all_at_once_and_one_by_one(name: str, data: st.DataObject) -> None:
    mine, reference = load(name)
    ids = data.draw(st.lists(st.one_of(st.integers(0, 300), st.integers(0, len(mine.vocab) - 1)), max_size=12))
    assert mine.decode_bytes(ids) == reference.decode_bytes(ids)
    assert mine.decode(ids) == reference.decode(ids)
    decoder = mine.stream_decoder()
    assert "".join([decoder.feed(i) for i in ids]) + decoder.flush() == mine.decode(ids)
    middle = len(ids) // 2
    assert decoder.feed(ids[:middle]) + decoder.feed(iter(ids[middle:])) + decoder.flush() == mine.decode(ids)


def test_a_stream_decoder_gives_text_as_soon_as_it_is_whole() -> None:
    decoder = BPE({i: bytes([i]) for i in range(256)}, [], "gpt2", {"<s>": 256}).stream_decoder()
    given = [*"é🙂".encode(), 0xF0, 0x41, 256, 0xE2, 0x82]
    assert [decoder.feed(i) for i in given] == ["", "é", "", "", "", "🙂", "", "\ufffdA", "<s>", "", ""]
    assert [decoder.flush(), decoder.flush()] == ["\ufffd", ""]
    assert decoder.feed([0xC3]) == ""
    with pytest.raises(ValueError, match="id 999"):
        decoder.feed([65, 999])
    assert decoder.feed(0xA9) == "é"


def test_ids_of_numpy_decode_too(small: BPE) -> None:
    assert small.decode(np.array([298, 260], dtype=np.uint16)) == "abc ab"
    assert small.stream_decoder().feed(np.array(298)) == "abc"  # as a tensor without dimensions
    assert small.decode([]) == ""


def test_ids_of_torch_decode_too(small: BPE) -> None:
    torch = pytest.importorskip("torch")
    assert small.decode(torch.tensor([298, 260])) == "abc ab"
    decoder = small.stream_decoder()
    assert decoder.feed(torch.tensor(298)) + decoder.feed(torch.tensor([260])) == "abc ab"


def test_ids_of_an_iterator_and_of_special_tokens_decode_too(small: BPE) -> None:
    assert small.decode_bytes(iter([256, 98])) == b"<|end|>b"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [(-1, "ids are integers from 0 to 400"), (401, "from 0 to 400"), (399, "no token has it"), ("a", "outside")],
)
def test_ids_outside_the_vocabulary_are_refused(small: BPE, wrong: object, says: str) -> None:
    with pytest.raises(ValueError, match=f"id {wrong} is outside the vocabulary: .*{says}|id {wrong} is {says}"):
        small.decode([97, wrong])  # type: ignore[list-item]


# to tiktoken


def test_tiktoken_cannot_have_ids_in_another_order(small: BPE) -> None:
    with pytest.raises(ValueError, match="the ids are no ranks: the merge that makes 300 comes before the one for 299"):
        small.to_tiktoken()


def test_tiktoken_would_merge_what_we_do_not() -> None:
    vocab = {i: bytes([i]) for i in range(256)} | {256: b"ab", 257: b"abc"}
    with pytest.raises(ValueError, match="b'ab' and b'c' merge, and here they do not"):
        BPE(vocab, [(b"a", b"b")], "gpt2").to_tiktoken()
    alone = {i: bytes([i]) for i in range(256)} | {256: b"xyz"}
    with pytest.raises(ValueError, match="a piece b'xyz' would be one token"):
        BPE(alone, [], "gpt2").to_tiktoken()
    assert BPE(alone, [], "gpt2", ignore_merges=True).to_tiktoken().encode("xyz") == [256]
    assert BPE(vocab, [(b"a", b"b"), (b"ab", b"c")], "gpt2", {"<s>": 258}).to_tiktoken("mine").name == "mine"


def test_two_ways_to_one_token_are_no_disorder() -> None:
    vocab = BYTES | {256: b"ab", 257: b"bc", 258: b"abc"}
    mine = BPE(vocab, [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"a", b"bc")], "gpt2")
    assert mine.to_tiktoken().encode("abc") == [258]


# as an object


def test_it_is_a_tokenizer_and_says_what_it_is(small: BPE) -> None:
    every: list[Tokenizer] = [small]
    assert every[0].vocab_size == len(small) == 401
    assert repr(small) == "BPE(401 ids, 3 special, pattern gpt2)"
    assert repr(BPE(small.vocab, [], r"\w+")) == r"BPE(301 ids, 0 special, pattern \w+)"
    assert BPE(small.vocab, [], "gpt2", added_tokens={"x": 500}).vocab_size == 501


@pytest.mark.parametrize("name", ["gpt2", "cl100k"])
def test_a_pickle_encodes_alike_and_carries_no_memory(name: str) -> None:
    mine, _ = load(name)
    before = len(pickle.dumps(BPE.load(name)))
    mine.encode(TEXTS[3])
    again = pickle.loads(pickle.dumps(mine))
    assert again.encode(TEXTS[3]) == mine.encode(TEXTS[3])
    assert (again.pattern, again.special_tokens, again.vocab_size) == (
        mine.pattern,
        mine.special_tokens,
        mine.vocab_size,
    )
    if "merges" not in mine.__dict__:
        assert len(pickle.dumps(mine)) == before


def test_a_pickle_of_one_with_merges(small: BPE) -> None:
    again = pickle.loads(pickle.dumps(small))
    assert again.encode("abc<|end|>", allowed_special="all") == [298, 256]
    assert again.merges == small.merges


def test_importing_the_package_imports_neither_torch_nor_tiktoken() -> None:
    code = "import sys, llmcore.tokenizers; print([m for m in ('torch', 'tiktoken', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [bpe, special, stream])
def test_examples_in_the_docstrings(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
