"""What a tokenizer is: two functions and a size.

Code that only turns text into ids and back takes a `Tokenizer`, and then runs on any of ours, or on yours.

Does not:
- train, save or load: each tokenizer does that in its own way
- promise that decode(encode(text)) == text: byte-level tokenizers keep that, word-level ones cannot
"""

from collections.abc import Iterable
from typing import Protocol


class Tokenizer(Protocol):
    @property
    def vocab_size(self) -> int:
        """How many ids there are: 0 to vocab_size - 1."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of a text; none for an empty one."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for. Raises ValueError for an id outside the vocabulary."""
        ...
