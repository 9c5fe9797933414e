"""Show what a model writes while it writes: ids in, one by one, text out as soon as it is whole.

    >>> decoder = StreamDecoder(bytes)
    >>> [decoder.feed(i) for i in "né".encode()], decoder.feed([226, 130]), decoder.flush()
    (['n', '', 'é'], '', '\ufffd')

A token can end within a character: its bytes wait for the rest. Together the texts are `decode` of all the ids.

Does not:
- hold text back for a stop sequence, or take one out
"""

import codecs
from collections.abc import Callable, Iterable


class StreamDecoder:
    """Made by `BPE.stream_decoder`; `decode_bytes` says the bytes of ids."""

    def __init__(self, decode_bytes: Callable[[Iterable[int]], bytes]) -> None:
        self._decode_bytes = decode_bytes
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, ids: int | Iterable[int]) -> str:
        """The text that one id, or several, complete. Raises ValueError for an unknown id; then it has taken none."""
        ids = ids.tolist() if hasattr(ids, "tolist") else ids  # of an array without dimensions an int
        return self._text.decode(self._decode_bytes(ids if isinstance(ids, Iterable) else [ids]))

    def flush(self) -> str:
        """U+FFFD if a character was left unfinished, else nothing; after it another text can begin."""
        return self._text.decode(b"", final=True)
