"""Three ways to turn text into numbers: whole words, GPT-2's pre-tokens, single bytes; and what each of them loses.

Run:  python lab.py                  # the table and the two pictures in artifacts/
      python lab.py "any text"       # how each of them cuts your text, and GPT-2 itself
      python lab.py --full PATH      # the same for a text file of your own (WikiText-2, your mail, ...)
      python lab.py --library        # beside llmcore's tokenizers: same pieces? how fast?
Does: vocabularies with special tokens and a frequency cutoff, GPT-2's pre-tokenization, UTF-8 bytes, coverage curves.
Does not: merge anything (byte-pair encoding is lab 5.1), normalise Unicode, keep special tokens out of a user's text.

Two words used throughout: a *token* is a piece of text with a number, its *id*; the *vocabulary* says which is which.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import regex

UNK = "<unk>"  # stands for every token that is not in the vocabulary; its id is 0


def build_vocab(tokens: Iterable[str], min_freq: int = 1, special_tokens: Sequence[str] = ()) -> dict[str, int]:
    """Give every token that occurs at least `min_freq` times an id, without gaps.

    0 is `<unk>`; then come the special tokens, as ordered by the caller; then the rest, the most common first and of
    equals the one that was seen first.  No token has two ids, even if it is named twice or occurs in the text as well.
    `tokens` may be a generator: it can be read only once.

    >>> build_vocab("b a c b a b".split(), min_freq=2, special_tokens=["<pad>"])
    {'<unk>': 0, '<pad>': 1, 'b': 2, 'a': 3}
    """
    # TODO: count, order, number.  Which tokens already have an id before the counting starts?
    raise NotImplementedError("build_vocab")


class WhitespaceTokenizer:
    """Whole words: whatever stands between white space.

    >>> tok = WhitespaceTokenizer()
    >>> tok.train(["the cat sat", "the dog sat"])
    >>> tok.encode("the  bird\\tsat"), tok.decode([1, 0, 2])
    ([1, 0, 2], 'the <unk> sat')
    """

    def __init__(self) -> None:
        self.vocab: dict[str, int] = {}  # token -> id
        self.tokens: dict[int, str] = {}  # id -> token

    def train(self, texts: Iterable[str], min_freq: int = 1, special_tokens: Sequence[str] = ()) -> None:
        """Learn a vocabulary, in place of any older one.  Each text is cut by itself, all are counted together."""
        # TODO: fill self.vocab and self.tokens.
        raise NotImplementedError("WhitespaceTokenizer.train")

    def encode(self, text: str) -> list[int]:
        """The id of each word, 0 for a word that is not in the vocabulary."""
        # TODO: cut as train does, look up.
        raise NotImplementedError("WhitespaceTokenizer.encode")

    def decode(self, ids: Iterable[int]) -> str:
        """The words with one space between them; an id that is nobody's, negative or too large, reads `<unk>`."""
        # TODO: the way back.  What cannot come back?
        raise NotImplementedError("WhitespaceTokenizer.decode")


def pre_tokenize(text: str) -> list[str]:
    r"""Cut a text where GPT-2 does before any merge.  Joined, the pieces are the text again, whatever it is.

    At each place the first of these six that fits is taken, as much of it as there is:

    1. the end of an English contraction, in small letters:  's 'd 'm 't 'll 've 're
    2. letters (`\p{L}`), and before them one space (U+0020) if it is there
    3. numbers (`\p{N}`), likewise
    4. characters that are neither white space (`\s`) nor letters nor numbers, likewise
    5. a run of white space: at the end of the text all of it, before anything visible all but its last character
       (which can then go with the next word)
    6. white space

    `regex` knows `\p{L}`, any letter of Unicode, and `\p{N}`, any number; Python's own `re` does not.

    >>> pre_tokenize("Don't  panic: 42 cats!\n")
    ['Don', "'t", ' ', ' panic', ':', ' 42', ' cats', '!', '\n']
    """
    # TODO: write the six as one pattern and find all its matches.  A group that captures changes what findall returns.
    raise NotImplementedError("pre_tokenize")


class RegexTokenizer:
    """GPT-2's pre-tokens as a vocabulary: spaces and punctuation come back, what was never seen does not.

    >>> tok = RegexTokenizer()
    >>> tok.train(["the cat sat"])
    >>> tok.decode(tok.encode("the cat sat on the cat"))
    'the cat sat<unk><unk> cat'
    """

    def __init__(self) -> None:
        self.vocab: dict[str, int] = {}  # token -> id
        self.tokens: dict[int, str] = {}  # id -> token

    def train(self, texts: Iterable[str], min_freq: int = 1, special_tokens: Sequence[str] = ()) -> None:
        """As in WhitespaceTokenizer, but cut by `pre_tokenize`."""
        # TODO: what changes?
        raise NotImplementedError("RegexTokenizer.train")

    def encode(self, text: str) -> list[int]:
        """The id of each piece, 0 for a piece that is not in the vocabulary."""
        # TODO: cut as train does, look up.
        raise NotImplementedError("RegexTokenizer.encode")

    def decode(self, ids: Iterable[int]) -> str:
        """The pieces joined; an id that is nobody's reads `<unk>`."""
        # TODO: the pieces carry their spaces with them.
        raise NotImplementedError("RegexTokenizer.decode")


class ByteTokenizer:
    """The bytes of UTF-8: 256 ids, nothing to train, nothing unknown.

    >>> tok = ByteTokenizer()
    >>> tok.encode("né"), tok.decode([110, 195, 169]), tok.decode([110, 195])
    ([110, 195, 169], 'né', 'n\ufffd')
    """

    def encode(self, text: str) -> list[int]:
        """The UTF-8 bytes of a text, each a number from 0 to 255."""
        # TODO
        raise NotImplementedError("ByteTokenizer.encode")

    def decode(self, ids: Sequence[int]) -> str:
        """The text.  Half a character, or a byte that is none, shows as one U+FFFD, `�`, and does not raise.

        The ids are 0 to 255; what any other gives is left open.
        """
        # TODO: a model may produce any bytes, and a stream may stop anywhere.
        raise NotImplementedError("ByteTokenizer.decode")

    def ready(self, ids: Sequence[int]) -> int:
        """How many leading ids may be shown: everything but a last character that still waits for bytes.

        `ids` are the first bytes, any number of them, of some text.  A server that decodes ids[:ready(ids)] never
        shows half a character.

        >>> [ByteTokenizer().ready([110, 195, 169][:n]) for n in range(4)]
        [0, 1, 1, 3]
        """
        # TODO: the first byte of a character says how many it has: 0xxxxxxx 1, 110xxxxx 2, 1110xxxx 3, 11110xxx 4;
        #       the others read 10xxxxxx.
        raise NotImplementedError("ByteTokenizer.ready")


def coverage(train: Sequence[str], test: Sequence[str], sizes: Sequence[int]) -> list[float]:
    """For each size: what share of the running test tokens do the `size` most common training tokens cover?

    Of equally common tokens, the one seen first in training counts as more common.  A token that stands in `test` ten
    times counts ten times.  `sizes` may be in any order, and larger than what there is to choose from.

    >>> coverage("a a b c".split(), "a b b x".split(), [0, 1, 2, 9])
    [0.0, 0.25, 0.75, 0.75]
    """
    # TODO: rank by the training tokens, weigh by the test tokens.
    raise NotImplementedError("coverage")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare three tokenizers with GPT-2's, or show how they cut a text.")
    parser.add_argument("text", nargs="?", help="show how each of them cuts this text")
    parser.add_argument("--full", type=Path, metavar="PATH", help="train and test on this UTF-8 text file")
    parser.add_argument("--library", action="store_true", help="compare this lab's code with llmcore's")
    arguments = parser.parse_args()
    if arguments.full is not None and not arguments.full.is_file():
        parser.error(f"there is no file {arguments.full}")
    import tokenization_report as report

    lab = sys.modules[__name__]
    report.touch(lab)
    if arguments.text is not None:
        text = arguments.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # whatever the shell sent
        report.show(lab, text)
    elif arguments.library:
        report.library(lab)
    else:
        report.report(lab, arguments.full)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 1.1 {task}")
