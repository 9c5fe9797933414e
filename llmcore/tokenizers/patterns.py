r"""Where a text is cut before any merge: the patterns of GPT-2, GPT-4, GPT-4o, Llama 3 and others, by name.

    >>> splitter(PATTERNS["gpt4"])("I'LL pay 12345")
    ['I', "'LL", ' pay', ' ', '123', '45']

Joined, the pieces are the text again, whatever the pattern. A text of ASCII alone is cut by Python's own `re`, with the
classes that the pattern has there spelled out: the same pieces in about half the time.

What comes later in a text can change a cut: " a" is one piece, and "  " two spaces until the "a" arrives. `settled` says
how far the pieces of an unfinished text are final. It looks at the two characters around a cut. No named pattern has a
piece, or looks ahead, across these (and none of them looks back):

    a number | anything               if there is a cut there now (numbers are counted from the front)
    anything but white space | a number   likewise
    a letter | neither a letter nor a mark nor an apostrophe
    anything but white space | white space that is no line end
    a line end | neither white space nor a slash   (GPT-4o keeps slashes with the line ends before them)

Does not:
- merge anything, or know any special token
- keep white space alike between patterns: each has its own rules for line ends and runs of spaces
- know when a cut is settled for a pattern that is not named here: then only the end of the text settles it
"""

import difflib
import re
from collections.abc import Callable, Iterator
from functools import cache

import regex

# Sources: GPT-2's encoder.py, and tiktoken's openai_public.py for the spelling of gpt4 and gpt4o; the tokenizer.json of
# Llama 3 and Qwen 2. SmolLM's tokenizer takes every digit by itself before GPT-2's pattern sees what lies between: that
# is why its white space ends at a digit as it does at the end of a text. Only the regex package knows \p{L}.
PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt4": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "gpt4o": "|".join(
        [
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    ),
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "smollm": r"\p{N}|'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+",
}
_NAMED = frozenset(PATTERNS.values())

# The members of each class that are ASCII. Not the \s of `re`: that has four control characters more.
_ASCII = {
    r"\p{L}": "A-Za-z",
    r"\p{N}": "0-9",
    r"\p{Lu}": "A-Z",
    r"\p{Ll}": "a-z",
    r"\p{Lt}": "",
    r"\p{Lm}": "",
    r"\p{Lo}": "",
    r"\p{M}": "",
    r"\s": r"\t-\r ",
}

_SETTLED = regex.compile(r"\p{N}.|\S\p{N}|\p{L}[^\p{L}\p{M}']|\S[^\S\r\n]|[\r\n][^\s/]", regex.DOTALL)

_BLOCK = (
    1 << 14
)  # characters; small enough that one accented letter does not keep much of a text from the ASCII pattern


def pattern_of(name: str) -> str:
    """The pattern that has this name; what is no name is itself a pattern.

    Raises ValueError for what looks like a misspelled name: "gpt-4" as a regular expression finds nothing but "gpt-4".
    """
    if (
        name not in PATTERNS
        and re.fullmatch(r"[\w-]+", name)
        and (near := difflib.get_close_matches(name, PATTERNS, 1))
    ):
        raise ValueError(f"{name!r} is no name of a pattern: did you mean {near[0]!r}?")
    return PATTERNS.get(name, name)


def ascii_pattern(pattern: str) -> str:
    r"""One of the named patterns, as `re` can say it for a text of ASCII alone.

    >>> ascii_pattern(r" ?\p{N}+|[^\r\n\p{L}]|\S")
    ' ?[0-9]+|[^\\r\\nA-Za-z]|[^\\t-\\r ]'
    """

    def spell(match: re.Match[str]) -> str:
        part = match.group()
        if part == r"\S":
            return "[^" + _ASCII[r"\s"] + "]"
        if part.startswith("["):
            return re.sub(r"\\p\{\w+\}|\\s", lambda inner: _ASCII[inner.group()], part)
        return f"[{_ASCII[part]}]"

    return re.sub(r"\[[^\]]*\]|\\p\{\w+\}|\\s|\\S", spell, pattern)


@cache
def splitter(pattern: str) -> Callable[[str], list[str]]:
    """The function that cuts a text by `pattern`: a regular expression as the regex package has them.

    What a pattern of your own leaves unmatched becomes a piece between two others: nothing is lost.
    """
    if pattern in _NAMED:
        of_unicode, of_ascii = regex.compile(pattern).findall, re.compile(ascii_pattern(pattern)).findall

        def split(text: str) -> list[str]:
            return of_ascii(text) if text.isascii() else of_unicode(text)

        return split
    matches = regex.compile(pattern).finditer

    def split_with_gaps(text: str) -> list[str]:
        pieces, end = [], 0
        for match in matches(text):
            if match.group():
                pieces += [text[end : match.start()], match.group()]
                end = match.end()
        return [piece for piece in [*pieces, text[end:]] if piece]

    return split_with_gaps


def settled(pieces: list[str], pattern: str) -> int:
    """How many of the first pieces of a text stay as they are, whatever is added to its end.

    >>> settled(["one", " two", "  "], PATTERNS["gpt2"])
    2
    """
    if pattern in _NAMED:
        for i in range(len(pieces) - 1, 0, -1):
            if _SETTLED.match(pieces[i - 1][-1] + pieces[i][0]):
                return i
    return 0


def split_in_blocks(text: str, pattern: str) -> Iterator[list[str]]:
    """The pieces of a text, a list of some thousand at a time: of a big text, all at once need much memory."""
    split, start, size = splitter(pattern), 0, _BLOCK
    while start < len(text):
        block = text[start : start + size]
        pieces, end = split(block), start + len(block)
        if end < len(text):
            kept = settled(pieces, pattern)
            if not kept:  # a very long piece, perhaps: take more, always twice as much, so that the work stays linear
                size *= 2
                continue
            end -= sum(map(len, pieces[kept:]))
            del pieces[kept:]
        yield pieces
        start, size = end, _BLOCK
