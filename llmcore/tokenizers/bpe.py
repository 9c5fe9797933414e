"""Byte-level BPE: text to ids and back, with the very ids of tiktoken, and no unknown token.

    >>> vocab = {i: bytes([i]) for i in range(256)} | {256: b"lo", 257: b" lo", 258: b" low"}
    >>> merges = [(b"l", b"o"), (b" ", b"lo"), (b" lo", b"w")]
    >>> bpe = BPE(vocab, merges, pattern="gpt2", special_tokens={"<|end|>": 259})
    >>> bpe.encode("low low<|end|>", allowed_special="all")
    [256, 119, 258, 259]
    >>> bpe.decode([256, 119, 258, 259])
    'low low<|end|>'

A text is cut into pieces by a pattern (patterns.py). A piece begins as its UTF-8 bytes; of all pairs of neighbours that
are in the merges, the one that was learned first becomes one token, the leftmost if it is there twice; and so on until no
pair is left. What a piece became is remembered: text repeats its words, so most pieces are looked up.

`BPE.load` reads published vocabularies by name and four file formats by path (formats.py); bpe_train.py learns one.

Does not:
- change a text (no normalisation, no space put in front): decode(encode(text)) == text
- add <|begin|> or any other token of its own accord
- encode lone surrogates, which have no UTF-8. tiktoken puts U+FFFD in their place, so that another text comes back;
  here it is a UnicodeEncodeError that says where
- use threads or processes: Python code gains nothing from threads, and processes cost more than they bring below some
  megabytes. For corpora `to_tiktoken` gives the same vocabulary to an encoder in Rust

Sources: Sennrich et al. 2016 (BPE), Radford et al. 2019 (on bytes), tiktoken (special tokens, ranks).
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llmcore.tokenizers.merges import PairRanks, merge, merges_of
from llmcore.tokenizers.patterns import PATTERNS, pattern_of, settled, split_in_blocks, splitter
from llmcore.tokenizers.special import AllOr, any_of, beginnings, chosen, refuse_any, unfinished
from llmcore.tokenizers.stream import StreamDecoder

if TYPE_CHECKING:
    import tiktoken

_REMEMBERED = 1 << 17  # words, of at most _LONGEST characters: tens of megabytes in all
_LONGEST = 64
_STREAM = 1 << 16  # characters that encode_iterable gathers before it encodes

_SURROGATE = re.compile("[\ud800-\udfff]")


class BPE:
    """A vocabulary, the merges that made it, a pattern, and special tokens. Nothing of it is to be changed later."""

    def __init__(
        self,
        vocab: Mapping[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        pattern: str,
        special_tokens: Mapping[str, int] | None = None,
        *,
        added_tokens: Mapping[str, int] | None = None,
        ignore_merges: bool = False,
    ) -> None:
        """Take a vocabulary as it is. The order of the merges decides; ids may be in any order, and have gaps.

        Args:
            vocab: id → bytes. If a single byte has no id, text with this byte is a ValueError when it is encoded.
            merges: pairs of tokens, the one learned first at the front.
            pattern: a name in PATTERNS, or a regular expression as the regex package has them.
            special_tokens: text → id. They are found in a text only where `encode` is told to.
            added_tokens: text → id of tokens that are always found in a text and never merged.
            ignore_merges: a piece that is in the vocabulary as a whole is that token, whatever the merges say.

        Raises ValueError if two ids have the same bytes, a merge is not in the vocabulary, an id is negative, a token empty,
        or the id of a special or added token taken.
        """
        if not isinstance(special_tokens, Mapping | None) or not isinstance(added_tokens, Mapping | None):
            raise TypeError("special and added tokens are given as text → id, such as {'<|end|>': 256}")
        self.vocab = dict(vocab)
        self.merges = list(merges)
        self.pattern = pattern_of(pattern)
        self.special_tokens = dict(special_tokens or {})
        self.added_tokens = dict(added_tokens or {})
        self.ignore_merges = ignore_merges
        self._by_ranks = False
        self._check()
        self._prepare()

    @classmethod
    def from_ranks(
        cls, ranks: Mapping[bytes, int], pattern: str, special_tokens: Mapping[str, int] | None = None
    ) -> Self:
        """Take a vocabulary as tiktoken has it: bytes → id, where the order of the ids is the order of the merges.

        There are no merges in it: two neighbours become a token if they spell one, those of the lowest id first. Raises
        ValueError as `BPE` does.
        """
        vocab = {i: token for token, i in ranks.items()}
        if len(vocab) < len(ranks):
            twice = next(token for token, i in ranks.items() if vocab[i] != token)
            raise ValueError(f"{twice!r} and {vocab[ranks[twice]]!r} have the same rank, {ranks[twice]}")
        self = cls(vocab, [], pattern, special_tokens, ignore_merges=True)
        del self.merges  # found when asked for
        self._by_ranks = True
        self._prepare()
        return self

    @cached_property
    def merges(self) -> list[tuple[bytes, bytes]]:
        """Pairs of tokens, the one learned first at the front. Behind ranks they have to be found: that takes seconds."""
        return merges_of(self._ids)

    @classmethod
    def load(
        cls, name: str | Path, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None
    ) -> "BPE":
        """A published vocabulary by name, or one in a file.

            BPE.load("gpt2")                                  also cl100k (GPT-4), o200k (GPT-4o), smollm2
            BPE.load("model/tokenizer.json")                  Hugging Face
            BPE.load("model.gguf")                            llama.cpp
            BPE.load("model/")                                a folder with vocab.json and merges.txt: GPT-2
            BPE.load("mine.tiktoken", pattern="gpt4")         tiktoken's ranks, which come without a pattern

        Args:
            name: of a vocabulary or of a file.
            pattern: for the formats that do not say it (a GPT-2 folder takes GPT-2's, if none is given).
            special_tokens: likewise.

        Raises ValueError for what is neither, or holds a tokenizer that this class cannot be, and AssetMissing for a
        vocabulary that has not been fetched yet.
        """
        from llmcore.tokenizers import formats

        return formats.load(name, pattern, special_tokens)

    def save(self, path: str | Path) -> None:
        """Write a file that others read: by its name tokenizer.json (any .json), .tiktoken, .gguf, or a GPT-2 folder.

        Raises ValueError for what the format cannot say.
        """
        from llmcore.tokenizers import formats

        formats.save(self, path)

    @property
    def vocab_size(self) -> int:
        """The highest id and one: special tokens count, and so do gaps between ids."""
        return max([*self.vocab, *self.special_tokens.values(), *self.added_tokens.values()]) + 1

    def encode(
        self,
        text: str,
        *,
        allowed_special: AllOr | Set[str] = frozenset(),
        disallowed_special: AllOr | Collection[str] = "all",
    ) -> list[int]:
        """The ids of a text. Text that spells a special token is an error unless you say what it is, as with tiktoken.

        Args:
            text: any, but for lone surrogates.
            allowed_special: the special tokens that become their id; "all" for all of them. Of several that begin at
                the same place the longest is taken.
            disallowed_special: those that raise ValueError; "all" for all that are not allowed, () for none. What is in
                neither is encoded as ordinary text.

        Raises ValueError for a disallowed special token, UnicodeEncodeError for a lone surrogate.
        """
        allowed, disallowed = chosen(self.special_tokens, allowed_special, disallowed_special)
        refuse_any(disallowed, text)
        return self._encode(text, allowed | self.added_tokens if self.added_tokens else allowed)

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of a text in which special tokens are nothing special. Raises UnicodeEncodeError as `encode` does."""
        return self._encode(text, self.added_tokens)

    def encode_batch(
        self,
        texts: Iterable[str],
        *,
        allowed_special: AllOr | Set[str] = frozenset(),
        disallowed_special: AllOr | Collection[str] = "all",
    ) -> list[list[int]]:
        """The ids of each text, one after the other; `encode` says how."""
        if isinstance(texts, str):
            raise TypeError("encode_batch takes several texts: put a single one in a list")
        return [
            self.encode(text, allowed_special=allowed_special, disallowed_special=disallowed_special) for text in texts
        ]

    def encode_iterable(
        self,
        chunks: Iterable[str],
        *,
        allowed_special: AllOr | Set[str] = frozenset(),
        disallowed_special: AllOr | Collection[str] = "all",
    ) -> Iterator[int]:
        """The ids of one text that comes in chunks, such as an open file: those of encode("".join(chunks)), exactly.

        Wherever a chunk ends, in a word, in white space, inside a special token: what may still change is held back until
        it is settled (patterns.py says when that is). So memory holds 64 thousand characters, or twice the longest stretch
        without a settled cut: a word, a run of spaces, of symbols. With a pattern that has no name it is the whole text.

        The first id comes when 64 thousand characters are read, or all. Raises what `encode` raises, when it gets there;
        places count from the first chunk, and of two refused tokens that begin alike it may name the shorter.
        """
        allowed, disallowed = chosen(self.special_tokens, allowed_special, disallowed_special)
        tokens = allowed | self.added_tokens
        begun = beginnings(tokens)
        reach = max(map(len, disallowed), default=1) - 1
        held, begin, enough = "", 0, 0  # text that is not settled yet, where it begins, when to look at it again
        tail = ""  # the end of what was searched for disallowed tokens
        try:
            for text in _gather(chunks):
                refuse_any(disallowed, tail + text, begin + len(held) - len(tail))
                tail = (tail + text)[-reach:] if reach else ""
                held += text
                if len(held) >= enough:  # twice as much each time, so that the work stays linear in the whole
                    ids, end = self._encode_settled(held, tokens, begun)
                    yield from ids
                    held, begin = held[end:], begin + end
                    enough = 2 * len(held)
            yield from self._encode(held, tokens)
        except UnicodeEncodeError as error:
            raise _placed(error, held, begin) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, with U+FFFD where their bytes are not UTF-8. Raises ValueError for an unknown id."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of some ids: exact even where they end within a character. Raises ValueError for an unknown id."""
        ids = ids.tolist() if hasattr(ids, "tolist") else ids  # arrays of numpy and torch
        try:
            return b"".join(map(self._bytes.__getitem__, ids))
        except KeyError as error:
            wrong = error.args[0]
        known = f"ids are integers from 0 to {self.vocab_size - 1}"
        gap = isinstance(wrong, int) and 0 <= wrong < self.vocab_size
        raise ValueError(f"id {wrong} is outside the vocabulary: {'no token has it' if gap else known}")

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for ids that arrive one by one: it never shows half a character."""
        return StreamDecoder(self.decode_bytes)

    def to_tiktoken(self, name: str = "llmcore") -> "tiktoken.Encoding":
        """The same vocabulary in tiktoken's encoder, which is written in Rust. Your pattern must leave nothing unmatched.

        Raises ValueError if it would not give the same ids: tiktoken knows ids only, so they must be in the order of the
        merges, a piece that is a token must become it, and nothing else may be matched in a text.
        """
        import tiktoken

        if self.added_tokens:
            raise ValueError("tiktoken has no added tokens that are always matched, and this tokenizer has some")
        if not self._by_ranks:
            self._check_ranks()
        return tiktoken.Encoding(
            name, pat_str=self.pattern, mergeable_ranks=self._ids, special_tokens=self.special_tokens
        )

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        pattern = next((name for name, pattern in PATTERNS.items() if pattern == self.pattern), self.pattern)
        return f"BPE({self.vocab_size:,} ids, {len(self.special_tokens)} special, pattern {pattern})"

    # what follows from the vocabulary

    def _check(self) -> None:
        self._ids = ids = {token: i for i, token in self.vocab.items()}
        if not ids or min(self.vocab) < 0 or b"" in ids:
            wrong = (
                f"{ids[b'']} is the id of no bytes" if b"" in ids else f"the lowest is {min(self.vocab, default=None)}"
            )
            raise ValueError(f"a vocabulary has ids from 0 on, each with at least one byte: {wrong}")
        if len(ids) < len(self.vocab):
            twice = next(token for i, token in self.vocab.items() if ids[token] != i)
            raise ValueError(f"two ids have the same bytes, {twice!r}")
        for left, right in self.merges:
            for token in (left, right, left + right):
                if token not in ids:
                    raise ValueError(
                        f"the merge of {left!r} and {right!r} needs {token!r}: the vocabulary has no such token"
                    )
        taken = dict(self.vocab)
        for text, i in chain(self.special_tokens.items(), self.added_tokens.items()):
            if not text:
                raise ValueError(f"the special token with id {i} is empty")
            if self.special_tokens.get(text, i) != i:
                raise ValueError(
                    f"{text!r} is a special token with id {self.special_tokens[text]}, and an added one with {i}"
                )
            if i < 0 or taken.setdefault(i, text.encode()) != text.encode():
                raise ValueError(f"the special token {text!r} cannot have id {i}: {taken.get(i, b'nothing')!r} has it")

    def _check_ranks(self) -> None:
        """Raise ValueError if somebody who knew the ids only, and took them for ranks, would merge differently."""
        made = [self._ids[left + right] for left, right in self.merges]
        for before, after in pairwise(made):
            if before > after:
                raise ValueError(
                    f"the ids are no ranks: the merge that makes {before} comes before the one for {after}"
                )
        if missing := set(merges_of(self._ids)).difference(self.merges):
            left, right = min(missing)
            raise ValueError(f"the ids as ranks say that {left!r} and {right!r} merge, and here they do not")
        if not self.ignore_merges and (apart := self.not_merged()):
            raise ValueError(
                f"a piece {apart[0]!r} would be one token by its rank, and the merges here do not lead to it"
            )

    def not_merged(self) -> list[bytes]:
        """The tokens that the merges do not lead to: never an id of a text, unless merges are ignored for whole pieces."""
        return [token for token, i in self._ids.items() if self._merge(token) != [i]]

    def _prepare(self) -> None:
        ids, tokens = self._ids, self.vocab
        self._bytes = tokens | {i: text.encode() for text, i in (self.special_tokens | self.added_tokens).items()}
        self._byte_ids = {token[0]: i for token, i in ids.items() if len(token) == 1}
        self._words = _Words(self._encode_word)
        if self._by_ranks:
            self._ranks = PairRanks(lambda pair: ids.get(tokens[pair[0]] + tokens[pair[1]]))
            self._merged: Sequence[int] = range(max(tokens) + 1)  # a rank is an id
            return
        ranks: dict[tuple[int, int], int] = {}
        for rank, (left, right) in enumerate(self.merges):
            ranks.setdefault((ids[left], ids[right]), rank)
        self._ranks = PairRanks(ranks.get)
        self._merged = [ids[left + right] for left, right in self.merges]

    def __getstate__(self) -> dict[str, Any]:
        """Without what follows from the rest, or was remembered."""
        derived = ("_bytes", "_byte_ids", "_words", "_ranks", "_merged")
        return {name: value for name, value in self.__dict__.items() if name not in derived}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    # encoding

    def _encode(self, text: str, tokens: Mapping[str, int]) -> list[int]:
        """The ids of a text, with these tokens found in it."""
        ids: list[int] = []
        start = 0
        try:
            if tokens:
                for found in any_of(frozenset(tokens)).finditer(text):
                    ids.extend(self._encode_stretch(text[start : found.start()]))
                    ids.append(tokens[found.group()])
                    start = found.end()
            ids.extend(self._encode_stretch(text[start:]))
        except UnicodeEncodeError as error:
            raise _placed(error, text) from None
        return ids

    def _encode_stretch(self, text: str) -> Iterator[int]:
        """The ids of a text in which no special token is looked for."""
        blocks = split_in_blocks(text, self.pattern)
        return chain.from_iterable(chain.from_iterable(map(self._words.__getitem__, pieces)) for pieces in blocks)

    def _encode_settled(self, text: str, tokens: Mapping[str, int], begun: frozenset[str]) -> tuple[list[int], int]:
        """The ids of the front of an unfinished text that nothing after it can change, and where that front ends."""
        ids: list[int] = []
        longest = max(map(len, begun), default=0)
        start, limit = 0, unfinished(text, 0, begun, longest)
        if tokens:
            search = any_of(frozenset(tokens)).search
            while (found := search(text, start)) and found.start() < limit:
                ids.extend(self._encode_stretch(text[start : found.start()]))
                ids.append(tokens[found.group()])
                start = found.end()
                if start > limit:  # what looked like the beginning of a token is within this one
                    limit = unfinished(text, start, begun, longest)
        pieces = splitter(self.pattern)(text[start:limit])
        pieces = pieces[: settled(pieces, self.pattern)]
        ids.extend(chain.from_iterable(map(self._words.__getitem__, pieces)))
        return ids, start + sum(map(len, pieces))

    def _encode_word(self, word: str) -> tuple[int, ...]:
        """The ids of one piece."""
        data = word.encode()
        if self.ignore_merges and (whole := self._ids.get(data)) is not None:
            return (whole,)
        try:
            return tuple(self._merge(data))
        except KeyError as error:
            byte = error.args[0]
        raise ValueError(f"the vocabulary has no token for the byte {byte:#04x}, which is in {word!r}")

    def _merge(self, data: bytes) -> list[int]:
        return merge([self._byte_ids[byte] for byte in data], self._ranks, self._merged)


class _Words(dict[str, tuple[int, ...]]):
    """The ids of each piece. A dict that encodes what it does not have: `map` can ask it without a line of Python between.

    When it holds _REMEMBERED words it forgets them all: that costs one encoding of each word that is still in use, where
    to keep count of their use would cost something every time.
    """

    def __init__(self, encode: Callable[[str], tuple[int, ...]]) -> None:
        self._encode = encode

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = self._encode(word)
        if len(word) <= _LONGEST:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[word] = ids
        return ids


def _gather(chunks: Iterable[str]) -> Iterator[str]:
    """Chunks, put together to texts of at least _STREAM characters; the last may be shorter."""
    parts: list[str] = []
    length = 0
    for chunk in chunks:
        parts.append(chunk)
        length += len(chunk)
        if length >= _STREAM:
            yield "".join(parts)
            parts, length = [], 0
    yield "".join(parts)


def _placed(error: UnicodeEncodeError, text: str, begin: int = 0) -> UnicodeEncodeError:
    """The error about a lone surrogate with its place in the text, instead of in the piece."""
    if not (found := _SURROGATE.search(text)):
        return error
    place = found.start()
    where = f"a lone surrogate, at character {begin + place} of the text, has no UTF-8"
    return UnicodeEncodeError("utf-8", text, place, place + 1, where)
