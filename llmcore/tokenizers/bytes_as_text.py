"""Bytes as GPT-2 writes them in JSON and in merges.txt: a visible character each, so that a space does not separate.

    >>> to_text(b" caf\\xc3\\xa9"), to_bytes("Ġhello")
    ('ĠcafÃ©', b' hello')

The 188 bytes that are visible characters of Latin-1 stand for themselves. The other 68, in their order, are the characters
from U+0100 on: byte 0 is U+0100, the space U+0120. Hugging Face and GGUF files spell tokens in the same way.

Does not:
- read UTF-8: "Ã©" is how the two bytes of "é" are spelled, one character for each

Source: bytes_to_unicode in GPT-2's encoder.py.
"""

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
