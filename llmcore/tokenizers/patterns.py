"""Where a text is cut before any merge: the patterns of GPT-2, GPT-4, GPT-4o and Llama 3, by name.

    >>> splitter(PATTERNS["gpt4"])("I'LL pay 12345")
    ['I', "'LL", ' pay', ' ', '123', '45']

Joined, the pieces are the text again, whatever the pattern.

Does not:
- merge anything, or know any special token
- keep white space alike between patterns: each has its own rules for line ends and runs of spaces
"""

from collections.abc import Callable
from functools import cache

import regex

# Sources: GPT-2's encoder.py and tiktoken's openai_public.py; Llama 3's tokenizer.py. Only the regex package knows \p{L}.
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
}


@cache
def splitter(pattern: str) -> Callable[[str], list[str]]:
    """The function that cuts a text by `pattern`: a regular expression as the regex package has them."""
    findall: Callable[[str], list[str]] = regex.compile(pattern).findall
    return findall
