"""Read GGUF files, the format of llama.cpp: fields (name, value), then tensors, most of them quantised in blocks.

    file = GGUF("model.gguf")
    file.fields["llama.block_count"], file.tensors["token_embd.weight"].shape
    file.read("token_embd.weight")             # float32, whatever it was stored as

A block holds 32 numbers of a row as small integers, with a scale in front (and a minimum, in the _1 types):

    Q8_0   d, 32 bytes         x = d · q                 8.5 bits a number
    Q4_0   d, 16 bytes         x = d · (q - 8)           4.5 bits; low halves of the bytes first, then the high ones
    Q4_1   d, m, 16 bytes      x = d · q + m             5 bits

`write_fields` writes a file of fields alone, such as llama.cpp's own files of nothing but a vocabulary.

Does not:
- write tensors
- read big-endian files, version 1 (August 2023), or the K- and I-quants
- read tensors before they are asked for: the file is mapped into memory
- know what a tensor is for: pretrained does

Source: docs/gguf.md and ggml-quants.c of the ggml project.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

# ggml's number of a type → name, numbers in a block, bytes of a block
TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    8: ("Q8_0", 32, 34),
    30: ("BF16", 1, 2),
}


class Tensor(NamedTuple):
    shape: tuple[int, ...]  # as torch and numpy have it: rows first (the file has the row length first)
    type: int
    offset: int  # in the file, in bytes


class GGUF:
    """A file's `fields` (numbers, strings, lists; bytes where a string is not UTF-8) and `tensors`.

    Raises ValueError for a file that is none, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ValueError(f"{path} is not a GGUF file")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 4
        self.fields: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        try:
            (version,) = self._numbers("I", 1)
            if version not in (2, 3):
                raise ValueError(f"{path} is GGUF of version {version} (or big-endian): versions 2 and 3 can be read")
            n_tensors, n_fields = self._numbers("Q", 2)
            for _ in range(n_fields):
                name = str(self._string())
                self.fields[name] = self._value(*self._numbers("I", 1))
            found = [self._tensor() for _ in range(n_tensors)]
        except (struct.error, KeyError, RecursionError):  # the last of them from arrays of arrays of arrays
            raise ValueError(f"{path} is cut short or damaged: its fields cannot be read") from None
        alignment = self.fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"{path} is damaged: its tensors cannot begin at multiples of {alignment!r} bytes")
        start = -(-self._at // alignment) * alignment
        self.tensors = {name: Tensor(shape, kind, start + offset) for name, (shape, kind, offset) in found}

    def read(self, name: str) -> Float[np.ndarray, "..."]:
        """A tensor in float32. Raises KeyError for an unknown name, ValueError for what cannot be read."""
        shape, kind, offset = self.tensors[name]
        if kind not in TYPES:
            raise ValueError(f"{self.path}: {name} is stored as type {kind} of ggml, which is not supported here")
        label, block, size = TYPES[kind]
        count = math.prod(shape) // block
        if offset + count * size > len(self._data):
            raise ValueError(f"{self.path} is cut short: it ends before {name} does")
        raw = np.frombuffer(self._data, np.uint8, count * size, offset).reshape(count, size)
        return _numbers_of(label, raw).reshape(shape)

    def _tensor(self) -> tuple[str, tuple[tuple[int, ...], int, int]]:
        name = str(self._string())
        (dimensions,) = self._numbers("I", 1)
        shape = tuple(reversed(self._numbers("Q", dimensions)))
        (kind,), (offset,) = self._numbers("I", 1), self._numbers("Q", 1)
        return name, (shape, kind, offset)

    def _numbers(self, kind: str, count: int) -> tuple[Any, ...]:
        layout = struct.Struct(f"<{count}{kind}")
        found = layout.unpack_from(self._data, self._at)
        self._at += layout.size
        return found

    def _string(self) -> str | bytes:
        (size,) = self._numbers("Q", 1)
        data = self._data[self._at : self._at + size]
        if len(data) < size:
            raise struct.error
        self._at += size
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._numbers(_NUMBERS[kind], 1)[0]
        (kind,), (count,) = self._numbers("I", 1), self._numbers("Q", 1)
        if kind in _NUMBERS:
            return list(self._numbers(_NUMBERS[kind], count))
        return [self._value(kind) for _ in range(count)]


def _numbers_of(label: str, raw: np.ndarray) -> Float[np.ndarray, "blocks numbers"]:
    """The numbers of some blocks; raw is (blocks, bytes)."""
    if label == "F32":
        return raw.view(np.float32).copy()
    if label == "F16":
        return raw.view(np.float16).astype(np.float32)
    if label == "BF16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    scale = raw[:, :2].view(np.float16).astype(np.float32)  # (blocks, 1)
    if label == "Q8_0":
        return scale * raw[:, 2:].view(np.int8)
    packed = raw[:, -16:]
    q = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)  # (blocks, 32)
    if label == "Q4_0":
        return scale * (q - 8)
    return scale * q + raw[:, 2:4].view(np.float16).astype(np.float32)


def write_fields(path: str | Path, fields: Mapping[str, Any]) -> None:
    """A GGUF file of version 3 without tensors. A list's items are all of one kind: str, int, float or bool.

    Whole numbers are written as int32, as llama.cpp wants token types and ids. Raises ValueError for what has no place.
    """
    parts = [b"GGUF", struct.pack("<IQQ", 3, 0, len(fields))]
    for name, value in fields.items():
        parts += [_packed_string(name), struct.pack("<I", _kind(value, name)), _packed(value, name)]
    Path(path).write_bytes(b"".join(parts))


def _kind(value: Any, name: str) -> int:
    for kind, number in ((bool, 7), (int, 5), (float, 12), (str, _STRING), (list, _ARRAY)):
        if isinstance(value, kind):
            return number
    raise ValueError(f"{name}: a GGUF field is a number, a string or a list, not {value!r}")


def _packed(value: Any, name: str) -> bytes:
    if isinstance(value, list):
        kinds = {_kind(item, name) for item in value}
        if len(kinds) > 1:
            raise ValueError(f"{name}: the items of a list must be of one kind")
        kind = kinds.pop() if kinds else _STRING
        return struct.pack("<IQ", kind, len(value)) + b"".join(_packed(item, name) for item in value)
    if isinstance(value, str):
        return _packed_string(value)
    try:
        return struct.pack(f"<{_NUMBERS[_kind(value, name)]}", value)
    except struct.error:
        raise ValueError(f"{name}: {value} does not fit into 32 bits") from None


def _packed_string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
