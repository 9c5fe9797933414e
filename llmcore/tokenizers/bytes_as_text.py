"""Bytes as GPT-2 writes them in JSON and in merges.txt: a visible character each, so that a space does not separate.

    >>> to_text(b" caf\\xc3\\xa9"), to_bytes("Ġhello")
    ('ĠcafÃ©', b' hello')

The 188 bytes that are visible characters of Latin-1 stand for themselves. The other 68, in their order, are the characters
from U+0100 on: byte 0 is U+0100, the space U+0120. Hugging Face and GGUF files spell tokens in the same way.

`to_merges` reads the merges of all these files, and `spells_itself` says where text and spelling are the same.

Does not:
- read UTF-8: "Ã©" is how the two bytes of "é" are spelled, one character for each

Source: bytes_to_unicode in GPT-2's encoder.py.
"""

from collections.abc import Iterable, Sequence, Set

_VISIBLE = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]

CHARACTERS = [chr(byte) if byte in _VISIBLE else chr(256 + _HIDDEN.index(byte)) for byte in range(256)]
_BYTES = {ord(character): byte for byte, character in enumerate(CHARACTERS)}


def to_text(token: bytes) -> str:
    """The bytes of a token, a character each."""
    return "".join([CHARACTERS[byte] for byte in token])


def to_bytes(token: str) -> bytes:
    """The bytes that the characters stand for. Raises ValueError for a character that stands for none."""
    try:
        return bytes([_BYTES[ord(character)] for character in token])
    except KeyError as error:
        wrong = chr(error.args[0])
    raise ValueError(f"{wrong!r} in the token {token!r} stands for no byte, so it is not a byte-level vocabulary")


def to_merges(lines: Iterable[str | Sequence[str]]) -> list[tuple[bytes, bytes]]:
    """Merges, each a line with one space, or a list of two. Raises ValueError for one that is not of two tokens."""
    found = []
    for line in lines:
        parts = line.split(" ") if isinstance(line, str) else line
        if len(parts) != 2:
            raise ValueError(f"{line!r} is no merge: it takes two tokens")
        found.append((to_bytes(parts[0]), to_bytes(parts[1])))
    return found


def spells_itself(token: str, merged: Set[bytes]) -> bool:
    """Is a special token's text also how an ordinary token is spelled that has a part in merging?

    Files have one entry for both then. `merged` is what the merges make; a single byte is a token without them.
    """
    data = token.encode()
    return to_text(data) == token and (len(data) == 1 or data in merged)
