"""Find special tokens in a text: which of them count, where they are, and where one may only have begun.

    >>> look_for, refuse = chosen({"<|end|>": 7, "<|pad|>": 8}, allowed={"<|end|>"}, disallowed="all")
    >>> look_for, refuse
    ({'<|end|>': 7}, frozenset({'<|pad|>'}))
    >>> any_of(frozenset(look_for)).search("a<|end|>").start()
    1

The rules are those of tiktoken, with one thing settled that it leaves open: of several tokens that begin at the same place
the longest is meant.

Does not:
- encode anything
"""

import re
from collections.abc import Collection, Mapping, Set
from functools import lru_cache
from typing import Literal

AllOr = Literal["all"]


def chosen(
    tokens: Mapping[str, int], allowed: AllOr | Set[str], disallowed: AllOr | Collection[str]
) -> tuple[dict[str, int], frozenset[str]]:
    """The special tokens to look for, and the texts to refuse. Raises TypeError for a string other than "all"."""
    for given in (allowed, disallowed):
        if isinstance(given, str) and given != "all":
            raise TypeError(f'special tokens come as a set, or "all": {given!r} is a string')
    look_for = {token: i for token, i in tokens.items() if allowed == "all" or token in allowed}
    return look_for, frozenset(tokens.keys() - look_for if disallowed == "all" else disallowed)


@lru_cache(maxsize=64)
def any_of(tokens: frozenset[str]) -> re.Pattern[str]:
    """A pattern that finds the longest of some tokens at the first place that has one."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))


def refuse_any(tokens: frozenset[str], text: str, begin: int = 0) -> None:
    """Raise ValueError for the first of some tokens in a text that begins at character `begin` of what was given."""
    if tokens and (found := any_of(tokens).search(text)):
        token = found.group()
        raise ValueError(
            f"the text spells the special token {token!r} at character {begin + found.start()}: give "
            f"allowed_special={{{token!r}}} if it is one, or disallowed_special=() if it is ordinary text"
        )


def beginnings(tokens: Collection[str]) -> frozenset[str]:
    """Everything that could become one of the tokens if more text came."""
    return frozenset(token[:i] for token in tokens for i in range(1, len(token)))


def unfinished(text: str, start: int, begun: frozenset[str], longest: int) -> int:
    """The first place from `start` on where the rest of a text is one of `begun`; the end of the text if none is.

    >>> unfinished("a <b <", 0, beginnings(["<b>"]), longest=2)
    5
    """
    places = range(max(start, len(text) - longest), len(text))
    return next((i for i in places if text[i:] in begun), len(text))
