"""The three tokenizers that come before BPE: whole words, GPT-2's pre-tokens, single bytes.

    >>> words = WordTokenizer.train(["the cat sat", "the dog sat"], special_tokens=["<pad>"])
    >>> words.vocab
    ('<unk>', '<pad>', 'the', 'sat', 'cat', 'dog')
    >>> words.encode("the  bird sat"), words.decode([2, 0, 3])
    ([2, 0, 3], 'the <unk> sat')
    >>> RegexTokenizer.train(["the cat sat"]).decode([1, 2, 3]), ByteTokenizer().encode("né")
    ('the cat sat', [110, 195, 169])

An id is a place in the vocabulary: <unk> is 0, the special tokens follow in the order given, then what was learned, the
most common first (of equals, the one seen first).

Does not:
- merge anything: what was not seen in training is <unk>, in words and pre-tokens alike (bytes have no such case)
- produce a special token from text: a text that spells "<pad>" gets <unk> or pieces, never the id of <pad>
- keep what WordTokenizer splits at: any run of white space comes back as one space
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Self

from llmcore.tokenizers.patterns import PATTERNS, splitter

UNK = "<unk>"

GPT2_PATTERN = PATTERNS["gpt2"]


def pre_tokenize(text: str) -> list[str]:
    """Cut a text where GPT-2 does before any merge: joined, the pieces are the text again.

    >>> pre_tokenize("Don't panic:  42 naïve cats!")
    ['Don', "'t", ' panic', ':', ' ', ' 42', ' naïve', ' cats', '!']
    """
    return splitter(GPT2_PATTERN)(text)


class _VocabTokenizer:
    """A fixed list of tokens; subclasses say how text is split into them and joined again."""

    kind: ClassVar[str]
    joiner: ClassVar[str]

    @staticmethod
    def split(text: str) -> list[str]:
        """The tokens of a text, known or not."""
        raise NotImplementedError

    def __init__(self, vocab: Sequence[str], special_tokens: Sequence[str] = ()) -> None:
        """Take a vocabulary in the order of its ids: <unk>, the special tokens, everything else.

        Raises ValueError if it does not begin like that, or holds a token twice.
        """
        reserved = (UNK, *special_tokens)
        if tuple(vocab[: len(reserved)]) != reserved:
            raise ValueError(f"the vocabulary must begin with {', '.join(reserved)}")
        if len(set(vocab)) != len(vocab):
            twice = next(token for token, count in Counter(vocab).items() if count > 1)
            raise ValueError(f"{twice!r} is in the vocabulary twice")
        self.vocab = tuple(vocab)
        self.special_tokens = {token: i for i, token in enumerate(reserved)}  # with <unk>
        self._ids = {token: i for i, token in enumerate(vocab) if i >= len(reserved)}

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int | None = None,
        min_freq: int = 1,
        special_tokens: Sequence[str] = (),
    ) -> Self:
        """Learn the tokens of some texts, reading each once: memory holds one text and the distinct tokens.

        Args:
            texts: any iterable of texts, such as an open file (a text per line).
            vocab_size: at most this many tokens, <unk> and the special ones among them.
            min_freq: leave out tokens seen less often than this.
            special_tokens: take the ids from 1 on; a token in the texts that is spelled like one is not learned.

        Raises ValueError if vocab_size has no room for the special tokens, or if one is there twice (<unk> always is
        there), and TypeError for a string where several are expected.
        """
        if isinstance(texts, str) or isinstance(special_tokens, str):
            raise TypeError("texts and special_tokens hold strings: put a single one in a list")
        reserved = (UNK, *special_tokens)
        if vocab_size is not None and vocab_size < len(reserved):
            raise ValueError(f"vocab_size={vocab_size} has no room for {', '.join(reserved)}")
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(cls.split(text))
        for token in reserved:
            counts.pop(token, None)
        # most_common keeps equals in the order in which they were first counted
        learned = [token for token, count in counts.most_common() if count >= min_freq]
        if vocab_size is not None:
            learned = learned[: vocab_size - len(reserved)]
        return cls([*reserved, *learned], special_tokens)

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def encode(self, text: str) -> list[int]:
        """The id of each token of the text; 0 for one that is not in the vocabulary."""
        get = self._ids.get
        return [get(token, 0) for token in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The tokens joined; 0 reads <unk>. Raises ValueError for an id outside the vocabulary."""
        ids = list(ids)
        _check(ids, len(self.vocab))
        return self.joiner.join([self.vocab[i] for i in ids])

    def save(self, file: str | Path) -> None:
        """Write the vocabulary as JSON, one token a line."""
        special_tokens = list(self.special_tokens)[1:]
        data = {"tokenizer": self.kind, "special_tokens": special_tokens, "vocab": self.vocab}
        Path(file).write_text(json.dumps(data, indent=0) + "\n", "ascii")

    @classmethod
    def load(cls, file: str | Path) -> Self:
        """Read what `save` wrote. Raises ValueError for a tokenizer of another kind."""
        data = json.loads(Path(file).read_text("ascii"))
        if data["tokenizer"] != cls.kind:
            raise ValueError(f"{file} holds a {data['tokenizer']} tokenizer, not a {cls.kind} tokenizer")
        return cls(data["vocab"], data["special_tokens"])

    def __len__(self) -> int:
        return len(self.vocab)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} tokens)"


class WordTokenizer(_VocabTokenizer):
    """Words between white space."""

    kind, joiner = "word", " "

    @staticmethod
    def split(text: str) -> list[str]:
        return text.split()


class RegexTokenizer(_VocabTokenizer):
    """GPT-2's pre-tokens: words with the space before them, numbers, punctuation. Known text comes back exactly."""

    kind, joiner = "regex", ""

    @staticmethod
    def split(text: str) -> list[str]:
        return pre_tokenize(text)


class ByteTokenizer:
    """The bytes of UTF-8: 256 ids, nothing to train, nothing unknown."""

    vocab_size = 256

    def encode(self, text: str) -> list[int]:
        """The bytes of the text. Raises UnicodeEncodeError for a lone surrogate, which has none."""
        return list(text.encode("utf-8"))

    def decode(self, ids: Iterable[int]) -> str:
        """The text, with U+FFFD where the bytes are not UTF-8 (half a character). Raises ValueError for an id > 255."""
        ids = list(ids)
        _check(ids, self.vocab_size)
        return bytes(ids).decode("utf-8", errors="replace")

    def __len__(self) -> int:
        return self.vocab_size


def _check(ids: Sequence[int], vocab_size: int) -> None:
    """Refuse ids outside the vocabulary: a negative one would silently count from its end."""
    if ids and (min(ids) < 0 or max(ids) >= vocab_size):
        wrong = next(i for i in ids if not 0 <= i < vocab_size)
        raise ValueError(f"id {wrong} is outside the vocabulary: ids go from 0 to {vocab_size - 1}")
