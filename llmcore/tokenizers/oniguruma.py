r"""Patterns in Hugging Face's regex engine, Oniguruma: how a named one is spelled there, and which others mean the same.

    >>> means_the_same(r" ?\p{L}+|\p{N}{1,3}"), means_the_same(r"\p{N}{1,3}+"), means_the_same(r"[a-c&&x]+|.")
    (True, False, False)

The two engines read much alike, and much differently without a word: to Oniguruma {1,3}+ is "{1,3} once or more", $ is the
end of any line, (?m:.) a line end too, && in a class an intersection; \w has ½ here and not there. So what is read alike is
listed, part by part, and a pattern of anything else is not trusted.

Does not:
- translate a pattern that means something else, but for GPT-4's
- trust a pattern that can match nothing at all: Hugging Face cuts there, we do not
"""

import regex

from llmcore.tokenizers.patterns import PATTERNS

FOR_HUGGING_FACE = {
    PATTERNS["gpt4"]: PATTERNS["gpt4"].replace(r"\p{N}{1,3}+", r"(?>\p{N}{1,3})").replace("$", r"\z"),
}
FROM_HUGGING_FACE = {theirs: ours for ours, theirs in FOR_HUGGING_FACE.items()}

_ESCAPE = r"\\(?:[sSdDrntvf!-/:-@\[-`{-~]|u[0-9a-fA-F]{4}|[pP]\{\^?(?:[LMNPSZC][a-z]?|Han|Hiragana|Katakana|Hangul)\})"
_PLAIN = r"[^\\\[\](){}^$?*+|.]"
_CLASS = rf"\[\^?-?(?:{_ESCAPE}|(?!&&|--|\|\||~~)[^\\\[\]^-](?:-[^\\\[\]^-])?|(?<!\[)\^)+-?\]"
_QUANTIFIER = r"[?*+][?+]?|\{\d+\}(?![?+])|\{\d*,\d+\}(?!\+)\??|\{\d+,\}(?!\+)\??"
_ENDING = r"'?(?:\[[sdmt]+\]|[sdmt]|ll|ve|re)"
_CONTRACTIONS = rf"\(\?i:{_ENDING}(?:\|{_ENDING})*\)"  # of other letters, case is not known to be read alike
_PART = regex.compile(
    rf"(?:{_CONTRACTIONS}|(?P<ahead>\(\?[=!])|\((?:\?[:>])?(?![?*])|[)|.]|{_QUANTIFIER}|{_CLASS}|{_ESCAPE}|{_PLAIN})"
)


def means_the_same(pattern: str) -> bool:
    """Does a pattern cut text here as it does in Hugging Face tokenizers? False where it is not known."""
    at, without_looking = 0, ""
    while at < len(pattern):
        if not (part := _PART.match(pattern, at)):
            return False
        # a look ahead to nothing always succeeds: what then matches "" could match nothing somewhere
        without_looking += "(?=|" if part["ahead"] else part.group()
        at = part.end()
    return not regex.fullmatch(without_looking, "")
