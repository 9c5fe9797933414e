r"""Byte-pair encoding: learn a vocabulary from a text, and encode with it, or with GPT-2's own.

Run:  python lab.py                    # learns 1,024 tokens from Shakespeare; tables, and a picture in artifacts/
      python lab.py "any text"         # how those tokens cut your text, merge by merge, and how GPT-2's do
      python lab.py --vocab-size 4096  # more merges (a minute or so)
      python lab.py --full PATH        # learns from a UTF-8 text file of your own
      python lab.py --save PATH        # keeps the vocabulary; BPE.load(PATH) reads it, and so does tiktoken
      python lab.py --cross            # three tokenizers on three kinds of text
      python lab.py --slow             # the plain and the faster trainer beside each other
      python lab.py --library          # beside llmcore's BPE: same merges? how fast?
Does: GPT-2's algorithm, from pre-tokens to ids and back, on bytes, so that no text is unknown.
Does not: normalise text, read vocabularies with another pattern than GPT-2's, know any special token but <|endoftext|>.

Words used throughout: a *word* is a pre-token, a piece of text that GPT-2's pattern cuts off (lab 1.1), as UTF-8 bytes.  A
*token* is a byte string with a number, its *rank*, which is also its id: the bytes first, then what was merged, in order.
A *pair* is two tokens that stand side by side in a word.
"""

from __future__ import annotations

import argparse
import base64
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import regex
from tqdm import tqdm

Pair = tuple[bytes, bytes]

PATTERN = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")  # GPT-2's, lab 1.1
EOT = "<|endoftext|>"  # stands between two documents; its id is the last one


def count_words(texts: Iterable[str]) -> dict[bytes, int]:
    """How often each word occurs, over all texts.  Each text is cut by itself, with PATTERN; words are UTF-8 bytes.

    `texts` may be a generator: it can be read only once.

    >>> count_words(["low low", "low é"])
    Counter({b'low': 2, b' low': 1, b' \\xc3\\xa9': 1})
    """
    # TODO: cut, count.  Every merge that is learned later looks at these counts, never at the text again.
    raise NotImplementedError("count_words")


def count_pairs(words: Mapping[tuple[bytes, ...], int]) -> dict[Pair, int]:
    """How often each pair occurs, when the word (a tuple of tokens) occurs words[word] times.

    Pairs may overlap: three times `a` in a row are two pairs.  No pair spans two words.

    >>> count_pairs({(b"l", b"o", b"w"): 5, (b"a", b"a", b"a"): 2})
    Counter({(b'l', b'o'): 5, (b'o', b'w'): 5, (b'a', b'a'): 4})
    """
    # TODO: what does a word that stands in the text five times add to the count of each of its pairs?
    raise NotImplementedError("count_pairs")


def best_pair(pairs: Mapping[Pair, int]) -> Pair:
    """The pair with the highest count; of equals the greatest, as Python compares (left, right).

    The second half makes training deterministic: one corpus, one vocabulary, in whatever order it was read.

    >>> best_pair({(b"l", b"o"): 5, (b"o", b"w"): 5, (b"x", b"y"): 4})
    (b'o', b'w')
    """
    # TODO: which count is the highest, and which pairs have it?
    raise NotImplementedError("best_pair")


def merge(word: tuple[bytes, ...], pair: Pair) -> tuple[bytes, ...]:
    """The word with every occurrence of the pair made one token, from left to right.

    >>> merge((b"a", b"a", b"a", b"b"), (b"a", b"a"))
    (b'aa', b'a', b'b')
    """
    # TODO: walk through the word.  How far do you go on after a merge, and how far otherwise?
    raise NotImplementedError("merge")


def learn_merges(words: Mapping[bytes, int], n_merges: int) -> list[Pair]:
    """The first `n_merges` merges, in the order in which they are learned; fewer if no pair is left.

    At first every byte of a word is a token.  Sennrich, Haddow & Birch 2016, algorithm 1.

    >>> learn_merges({b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}, 3)
    [(b's', b't'), (b'e', b'st'), (b'o', b'w')]
    """
    # TODO: cut the words into bytes; then again and again: count, choose, merge everywhere.
    raise NotImplementedError("learn_merges")


def learn_merges_faster(words: Mapping[bytes, int], n_merges: int) -> list[Pair]:
    """The same merges as `learn_merges`, without looking at all words again for each.

    Once everything is counted, a merge visits only the words that hold its pair.  The work is counted, not timed: with
    ten times as many words that hold none of the merged pairs, a merge must not take longer.

    >>> learn_merges_faster({b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}, 3)
    [(b's', b't'), (b'e', b'st'), (b'o', b'w')]
    """
    # TODO: keep two things up to date: how often each pair occurs, and which words hold it.
    raise NotImplementedError("learn_merges_faster")


def encode_word(word: bytes, ranks: Mapping[bytes, int]) -> list[int]:
    """The ids of one word: begin with its bytes; of all pairs that make a token, merge the one of lowest rank; repeat.

    If the same token can be made at several places, the leftmost goes first.  A rank is an id, and every single byte has
    one; which one is for `ranks` to say.

    >>> ranks = {b"a": 0, b"b": 1, b"c": 2, b"bc": 3, b"ab": 4, b"abc": 5}
    >>> encode_word(b"abcab", ranks)
    [5, 4]
    """
    # TODO: which pair was learned first?  That one is merged first, wherever it stands.
    raise NotImplementedError("encode_word")


class BPE:
    """A vocabulary: ranks of byte strings, and <|endoftext|> as the last id.  GPT-2's is one, yours is another.

    >>> tok = BPE.train(["low low low lower newest newest widest"], vocab_size=260)
    >>> tok.vocab_size, tok.eot, list(tok.ranks)[256:]
    (260, 259, [b'ow', b'low', b'st'])
    >>> tok.decode(tok.encode("lowest, naïve")), len(tok.encode("lowest, naïve"))
    ('lowest, naïve', 11)
    """

    def __init__(self, ranks: Mapping[bytes, int]) -> None:
        self.ranks = dict(ranks)  # token -> id, from 0 on without gaps
        self.eot = len(self.ranks)
        self.vocab_size = len(self.ranks) + 1
        self.tokens = {i: token for token, i in self.ranks.items()} | {self.eot: EOT.encode()}  # id -> token
        self.known: dict[str, list[int]] = {}  # the ids of words that were encoded before: text repeats its words

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> BPE:
        """Learn a vocabulary of `vocab_size` ids: 256 bytes, merges, <|endoftext|>.  Smaller if no pair is left.

        Ids 0 to 255 are the bytes themselves.  Raises ValueError if there is no room for them and <|endoftext|>.
        """
        # TODO: how many merges?  Which rank does each token get?
        raise NotImplementedError("BPE.train")

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """The ids of a text, word by word.

        A text that spells <|endoftext|> gets the ids of these characters, like any other text.  Only if
        `allowed_special` has "<|endoftext|>" in it does it get `eot`, and what stands on either side is cut by itself.
        No word is encoded twice: `known` remembers its ids.
        """
        # TODO: who may end a document, the program or whoever typed the text?
        raise NotImplementedError("BPE.encode")

    def decode(self, ids: Iterable[int]) -> str:
        """The text.  Bytes that are no UTF-8 show as U+FFFD; an id that is nobody's raises LookupError (or IndexError or
        KeyError, which are kinds of it)."""
        # TODO: a character may be spread over several tokens.  What has to come first, joining or decoding?
        raise NotImplementedError("BPE.decode")

    def save(self, path: str | Path) -> None:
        """Write a line for each token, in the order of the ids: its bytes in base64, a space, its id.

        Every line ends in a line feed.  That is tiktoken's format; it has no place for the pattern or for <|endoftext|>.
        """
        # TODO: a token may be any bytes, half a character or a line feed among them.  What does base64 do about that?
        raise NotImplementedError("BPE.save")

    @classmethod
    def load(cls, path: str | Path) -> BPE:
        """Read what `save` has written, or the file that OpenAI published for GPT-2.  The lines may come in any order."""
        # TODO: the way back.
        raise NotImplementedError("BPE.load")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Learn a byte-pair encoding, see what it learned, and compare it with GPT-2's.",
        epilog="Every option learns from Shakespeare unless --full names another text.",
    )
    parser.add_argument("text", nargs="?", help="show how this text is cut, merge by merge; without it, the report")
    parser.add_argument("--vocab-size", type=int, default=1024, metavar="N", help="ids: 256 bytes, merges, 1 (1024)")
    parser.add_argument("--full", type=Path, metavar="PATH", help="learn from this UTF-8 text file")
    parser.add_argument("--save", type=Path, metavar="PATH", help="write the vocabulary there, in tiktoken's format")
    parser.add_argument("--cross", action="store_true", help="learn from three kinds of text, measure on all three")
    parser.add_argument("--slow", action="store_true", help="the work of both trainers on growing texts")
    parser.add_argument("--library", action="store_true", help="compare this lab's code with llmcore's")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "artifacts", metavar="FOLDER",
                        help="where the picture goes (artifacts/)")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.vocab_size < 257:
        parser.error("--vocab-size takes 257 or more: 256 bytes and <|endoftext|>")
    if arguments.full is not None and not arguments.full.is_file():
        parser.error(f"there is no file {arguments.full}")
    if arguments.save is not None and not arguments.save.absolute().parent.is_dir():
        parser.error(f"there is no folder {arguments.save.absolute().parent}")
    if arguments.save is not None and arguments.save.is_dir():
        parser.error(f"{arguments.save} is a folder; --save takes the name of a file")
    if arguments.out.exists() and not arguments.out.is_dir():
        parser.error(f"{arguments.out} is a file; --out takes a folder")
    import bpe_report as report

    lab = sys.modules[__name__]
    report.touch(lab)
    if arguments.cross:
        report.cross(lab, arguments.vocab_size)
    elif arguments.slow:
        report.slow(lab, arguments.full)
    elif arguments.library:
        report.library(lab, arguments.full, arguments.vocab_size)
    elif arguments.text is not None:
        text = arguments.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # whatever the shell sent
        report.show(lab, text, arguments.full, arguments.vocab_size)
    else:
        report.report(lab, arguments.full, arguments.vocab_size, arguments.save, arguments.out)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 5.1 {task}")
    except KeyboardInterrupt:
        sys.exit("\nstopped")
