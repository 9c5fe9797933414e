"""The patterns: cut as tiktoken and Hugging Face cut, alike with and without the rest of the text."""

import doctest
import random
import re
from collections.abc import Callable

import pytest
import regex
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import Regex, pre_tokenizers

from llmcore.tokenizers import patterns
from llmcore.tokenizers.patterns import PATTERNS, ascii_pattern, pattern_of, settled, split_in_blocks, splitter

STEADY = settings(deadline=None)  # a busy machine is no failure
THOROUGH = settings(STEADY, max_examples=200)

# Characters at which a pattern decides: each class it names, the letters of contractions (and the long s, which is an s
# where case does not count), apostrophes, slashes, line ends, white space that is not ASCII, and lookalikes of it.
DECIDING = " \t\n\r\x0b\x1c\x85\xa0\u3000''sSſdmtTlLvVeErRaB019½٣é文ǅʰāΣ_-/.,!’🙂\u0301\u200d"
edges = st.text(st.sampled_from(DECIDING), max_size=16)
anything = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=16)
texts = st.one_of(edges, anything)
ascii_texts = st.text(st.one_of(st.sampled_from(DECIDING), st.characters(max_codepoint=127)), max_size=30).map(
    lambda text: "".join(char for char in text if char < "\x80")
)
named = pytest.mark.parametrize("name", PATTERNS)


def test_a_name_a_pattern_and_a_misspelled_name() -> None:
    assert pattern_of("gpt4") == pattern_of(PATTERNS["gpt4"]) == PATTERNS["gpt4"]
    for own in (r"\w+", "a", "abc", "gpt[24]", "x-y"):
        assert pattern_of(own) == own
    for name, meant in (("gpt-2", "gpt2"), ("gtp2", "gpt2"), ("gpt-4o", "gpt4o"), ("llama-3", "llama3")):
        with pytest.raises(ValueError, match=f"'{name}' is no name of a pattern: did you mean '{meant}'"):
            pattern_of(name)


def rust_pieces(pattern: str, text: str) -> list[str]:
    """How tiktoken's regex cuts a text: give every substring a rank of its own, and no piece needs merging."""
    data = text.encode()
    vocabulary = {bytes([i]) for i in range(256)}
    vocabulary |= {data[i:j] for i in range(len(data)) for j in range(i + 1, len(data) + 1)}
    encoding = tiktoken.Encoding(
        "every substring",
        pat_str=pattern,
        mergeable_ranks={piece: rank for rank, piece in enumerate(sorted(vocabulary))},
        special_tokens={},
    )
    return [piece.decode() for piece in encoding.decode_tokens_bytes(encoding.encode_ordinary(text))]


@named
@settings(STEADY, max_examples=100)  # each builds an encoder
@given(text=texts)
@example(text="\n ")
@example(text="x'ſ'ſ")
def test_pieces_are_those_that_tiktoken_cuts(name: str, text: str) -> None:
    pattern = r50k_pat_str if name == "gpt2" else PATTERNS[name]
    assert splitter(PATTERNS[name])(text) == rust_pieces(pattern, text)


@STEADY
@given(text=texts)
def test_smollm_takes_digits_by_themselves_before_the_pattern_of_gpt2(text: str) -> None:
    steps = [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Split(Regex(PATTERNS["gpt2"]), behavior="isolated"),
    ]
    pieces = pre_tokenizers.Sequence(steps).pre_tokenize_str(text)
    assert splitter(PATTERNS["smollm"])(text) == [piece for piece, _ in pieces]


def test_the_patterns_differ_where_they_should() -> None:
    text = "DON'T pay\r\n\r\n  12345 a/b.//\n/x"
    assert {name: splitter(PATTERNS[name])(text) for name in PATTERNS} == {
        "gpt2": ["DON", "'", "T", " pay", "\r\n\r\n ", " 12345", " a", "/", "b", ".//", "\n", "/", "x"],
        "gpt4": ["DON", "'T", " pay", "\r\n\r\n", " ", " ", "123", "45", " a", "/b", ".//\n", "/x"],
        "gpt4o": ["DON'T", " pay", "\r\n\r\n", " ", " ", "123", "45", " a", "/b", ".//\n/", "x"],
        "llama3": ["DON", "'T", " pay", "\r\n\r\n", " ", " ", "123", "45", " a", "/b", ".//\n", "/x"],
        "qwen2": ["DON", "'T", " pay", "\r\n\r\n", " ", " ", "1", "2", "3", "4", "5", " a", "/b", ".//\n", "/x"],
        "smollm": [
            "DON",
            "'",
            "T",
            " pay",
            "\r\n\r\n  ",
            "1",
            "2",
            "3",
            "4",
            "5",
            " a",
            "/",
            "b",
            ".//",
            "\n",
            "/",
            "x",
        ],
    }
    # only GPT-4 keeps the white space at the end of a text in one piece where a line ends in it
    assert {name: splitter(PATTERNS[name])("a\n  ") for name in ("gpt4", "llama3")} == {
        "gpt4": ["a", "\n  "],
        "llama3": ["a", "\n", "  "],
    }


@named
@THOROUGH
@given(text=ascii_texts)
def test_the_ascii_pattern_is_the_same_pattern(name: str, text: str) -> None:
    assert re.findall(ascii_pattern(PATTERNS[name]), text) == regex.findall(PATTERNS[name], text)


@named
def test_the_ascii_pattern_names_no_class(name: str) -> None:
    assert not re.search(r"\\p|\\s|\\S", ascii_pattern(PATTERNS[name]))


@named
@STEADY
@given(text=st.text())
def test_pieces_join_to_the_text(name: str, text: str) -> None:
    assert "".join(splitter(PATTERNS[name])(text)) == text


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        (r"\w+", ["ab", " ", "12", "!?", "c"]),
        (r"(a)(b)", ["ab", " 12!?c"]),  # groups are not what is asked for
        (r"\d*", ["ab ", "12", "!?c"]),  # matches of nothing are no pieces
        (r"z", ["ab 12!?c"]),
    ],
)
def test_a_pattern_of_your_own_loses_nothing(pattern: str, pieces: list[str]) -> None:
    assert splitter(pattern)("ab 12!?c") == pieces
    assert splitter(pattern)("") == []


# settled


@named
@settings(STEADY, max_examples=600)
@given(text=edges, more=edges)
@example(text="文A", more="a")  # GPT-4o: the letter after A decides how the two before are cut
@example(text="a'", more="s")
@example(text=".\n", more="/")
@example(text="\n", more="\n")
@example(text="12", more="34")
def test_what_is_settled_stays_whatever_comes(name: str, text: str, more: str) -> None:
    split = splitter(PATTERNS[name])
    now = split(text)
    count = settled(now, PATTERNS[name])
    assert now[:count] == split(text + more)[:count]


@named
@STEADY
@given(text=texts, more=texts)
def test_what_is_settled_stays_in_any_text(name: str, text: str, more: str) -> None:
    split = splitter(PATTERNS[name])
    now = split(text)
    count = settled(now, PATTERNS[name])
    assert now[:count] == split(text + more)[:count]


@pytest.mark.parametrize(
    ("text", "front"),
    [
        ("one two", "one"),
        ("one two ", "one two"),
        ("x\n\ny", "x\n\n"),
        ("don't", ""),
        ("日本語。", "日本語"),
        ("a.\n/", "a"),
        ("word", ""),
        ("", ""),
    ],
)
@named
def test_nearly_everything_is_settled(name: str, text: str, front: str) -> None:
    pieces = splitter(PATTERNS[name])(text)
    assert "".join(pieces[: settled(pieces, PATTERNS[name])]) == front


def test_digits_are_settled_three_by_three() -> None:
    pieces = splitter(PATTERNS["gpt4"])("12345678")
    assert settled(pieces, PATTERNS["gpt4"]) == 2
    pieces = splitter(PATTERNS["gpt2"])("12345678")
    assert settled(pieces, PATTERNS["gpt2"]) == 0


def test_nothing_is_settled_by_a_pattern_of_your_own() -> None:
    assert settled(["one", " two", " three"], r"\s?\S+") == 0


# blocks


@named
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@STEADY
@given(text=edges)
def test_blocks_have_the_pieces_of_the_whole(name: str, size: int, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "_BLOCK", size)
        found = [piece for block in split_in_blocks(text, PATTERNS[name]) for piece in block]
    assert found == splitter(PATTERNS[name])(text)


def test_blocks_by_a_pattern_of_your_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_BLOCK", 4)
    assert list(split_in_blocks("one two three", r"\w+")) == [["one", " ", "two", " ", "three"]]
    assert list(split_in_blocks("", r"\w+")) == []


class CountedSplitter:
    """Counts the characters that are cut, and how often that happens."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.characters = self.calls = 0
        patch.setattr(patterns, "splitter", lambda pattern: self.counting(splitter(pattern)))

    def counting(self, split: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
        def counted(text: str) -> list[str]:
            self.characters += len(text)
            self.calls += 1
            return split(text)

        return counted


@named
@pytest.mark.parametrize("kind", ["one word", "spaces", "apostrophes", "words", "digits"])
def test_the_work_of_cutting_is_linear(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    letters = "".join(rng.choices("abcdefgh", k=200_000))
    text = {
        "one word": letters,
        "spaces": " " * 200_000,
        "apostrophes": "it'" * 70_000,
        "words": re.sub("[ab]", " ", letters),
        "digits": "7" * 200_000,
    }[kind]
    count = CountedSplitter(monkeypatch)
    assert sum(map(len, split_in_blocks(text, PATTERNS[name]))) > 0
    assert count.characters <= 3 * len(text)


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(patterns).failed == 0
