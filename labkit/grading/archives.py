"""Zip and tar, read with limits and never unpacked to disk under their own names.

An archive is checked as a whole before anything in it is read: its paths, kinds of files, claims about sizes.  Claims
are not trusted after that: whatever is unpacked is counted while it is unpacked.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, cast

from labkit.grading.entries import RATIO, RATIO_FROM, Budget, Entry, Refused, parts, pruned, show, size

CHUNK = 1 << 16
IN_MEMORY = 32 << 20  # an unpacked tar above this goes to a file without a name
XZ_MEMORY = 128 << 20
ENTRY_MARK = b"PK\x01\x02"  # begins each entry of a zip's directory
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,  # also UnicodeDecodeError
    ArithmeticError,
    LookupError,
    RecursionError,
)
FORBIDDEN = {
    "link": "is a link. Links are never followed",
    "device": "is a device or a pipe",
    "sparse": "is a sparse file",
}


def read(file: IO[bytes], budget: Budget) -> list[Entry]:
    """What a zip or tar holds: files, folders, and as entries with a `problem` the members that cannot be taken.

    Raises Refused when the archive as a whole cannot be read: damaged, encrypted, a bomb, too many files.
    """
    try:
        head = file.read(6)
        file.seek(0)
        if head[:2] == b"PK":
            return _zip(file, budget)
        return _tar(_unpacked(file, head, budget), budget)
    except DAMAGE as e:
        raise _damaged(e) from None


def _damaged(e: BaseException) -> Refused:
    return Refused("corrupt", f"It is damaged or cut short ({show(str(e)) or type(e).__name__}).")


def _zip(file: IO[bytes], budget: Budget) -> list[Entry]:
    # zipfile would make an object of each entry before it can be asked how many there are.
    budget.take(members=_count(file, ENTRY_MARK))
    try:
        archive = zipfile.ZipFile(file)
    except NotImplementedError as e:
        raise Refused("unsupported", f"It is packed in a way that is not read here ({show(str(e))}).") from None
    members = archive.infolist()
    if any(m.flag_bits & 0x1 for m in members):
        raise Refused("encrypted", "It is protected by a password. Pack it again without one.")
    if odd := {m.compress_type for m in members} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        # The others unpack in bursts that cannot be bounded, and no desktop writes them unasked.
        raise Refused("unsupported", f"It is packed by zip's method {min(odd)}; the usual ones are 0 and 8.")
    claimed, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
    if budget.claimed is not None and claimed > budget.claimed and claimed > RATIO * packed:
        raise Refused("bomb", f"It would unpack {size(packed)} to {size(claimed)}.")
    end = 0
    for m in sorted(members, key=lambda m: m.header_offset):
        if m.header_offset < end:
            raise Refused("overlap", f"`{show(m.filename)}` shares its packed bytes with another file in it.")
        end = m.header_offset + 30 + m.compress_size  # 30 bytes of header at the least
    return _entries((m.orig_filename, _zip_kind(m), partial(_read_zip, archive, m, budget)) for m in members)


def _zip_kind(member: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "device"
    return "folder" if member.is_dir() else "file"


def _read_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget, limit: int) -> bytes:
    try:
        with archive.open(member) as stream:
            return _limited(stream, limit, member.compress_size, budget)
    except DAMAGE as e:
        raise _damaged(e) from None
    except (NotImplementedError, RuntimeError) as e:  # RuntimeError: its own header asks for a password
        raise Refused("unsupported", f"It is packed in a way that is not read here ({show(str(e))}).") from None


def _tar(file: IO[bytes], budget: Budget) -> list[Entry]:
    archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 -- its members are read later
    found: list[tuple[str, str, Callable[[int], bytes]]] = []
    offset = -1
    while (member := archive.next()) is not None:
        if archive.offset <= offset:  # a size below zero would lead it around in a circle
            raise Refused("corrupt", "It is damaged: its members do not follow one another.")
        offset = archive.offset
        budget.take(members=1)
        found.append((member.name, _tar_kind(member), partial(_read_tar, archive, member)))
    if not found and not _zeros(file):
        raise Refused("corrupt", "It is no archive, or a damaged one.")
    return _entries(found)


def _tar_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "link"
    if member.issparse():
        return "sparse"
    return "folder" if member.isdir() else "file" if member.isreg() else "device"


def _read_tar(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    try:
        with cast(IO[bytes], archive.extractfile(member)) as stream:
            data = _limited(stream, limit)
    except DAMAGE as e:
        raise _damaged(e) from None
    if len(data) < member.size:
        raise Refused("corrupt", "It is cut short.")
    return data


def _zeros(file: IO[bytes]) -> bool:
    """An empty tar is two blocks of zeros."""
    file.seek(0)
    head = file.read(1024)
    return len(head) == 1024 and not any(head)


def _entries(
    members: Iterator[tuple[str, str, Callable[[int], bytes]]] | list[tuple[str, str, Callable[[int], bytes]]],
) -> list[Entry]:
    found: list[Entry] = []
    seen: set[tuple[str, ...]] = set()
    for name, kind, reader in members:
        try:
            path = parts(name)
        except Refused as e:
            found.append(Entry(_top(name), problem=e))
            continue
        if pruned(path):
            continue
        if kind in FORBIDDEN:
            found.append(Entry(path, problem=Refused(kind, f"`{show(name)}` {FORBIDDEN[kind]}.")))
        elif kind == "folder":
            found.append(Entry(path))
        elif path in seen:
            found.append(Entry(path, problem=Refused("duplicate-name", f"`{show(name)}` is in it twice.")))
        else:
            seen.add(path)
            found.append(Entry(path, read=reader))
    return found


def _top(name: str) -> tuple[str, ...]:
    """Whose a badly named member is, as far as its name can say: what stands before the first slash."""
    first = name.replace("\\", "/").split("/")[0]
    return (first if first not in ("", ".", "..") and first.isprintable() else "?",)


def _unpacked(file: IO[bytes], head: bytes, budget: Budget) -> IO[bytes]:
    """The tar inside a .gz, .bz2 or .xz; a plain tar as it is."""
    if head[:2] == b"\x1f\x8b":
        stream = _chunks(gzip.GzipFile(fileobj=file))
    elif head[:3] == b"BZh":
        stream = _chunks(bz2.BZ2File(file))
    elif head == b"\xfd7zXZ\x00":
        stream = _xz(file)
    else:
        return file
    packed = file.seek(0, 2)
    file.seek(0)
    out = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 -- its members are read later
    for chunk in stream:
        out.write(chunk)
        _count_unpacked(len(chunk), out.tell(), packed, budget)
    out.seek(0)
    return cast(IO[bytes], out)


def _chunks(stream: gzip.GzipFile | bz2.BZ2File) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _xz(file: IO[bytes]) -> Iterator[bytes]:
    """lzma.open takes as much memory as the file asks for, so this one asks itself."""
    unpack = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
    while not unpack.eof:
        data = file.read(CHUNK) if unpack.needs_input else b""
        if unpack.needs_input and not data:
            raise EOFError("the end is missing")
        yield unpack.decompress(data, CHUNK)


def _limited(stream: IO[bytes], limit: int, packed: int | None = None, budget: Budget | None = None) -> bytes:
    out = bytearray()
    while chunk := stream.read(CHUNK):
        out += chunk
        if packed is not None and budget is not None:
            _count_unpacked(len(chunk), len(out), packed, budget)
        if len(out) > limit:
            raise Refused("too-large", f"It has more than {size(limit)}.")
    return bytes(out)


def _count_unpacked(new: int, out: int, packed: int, budget: Budget) -> None:
    budget.take(unpacked=new)
    if out > RATIO_FROM and out > RATIO * packed:
        raise Refused("bomb", f"It unpacks to more than {RATIO} times its size.")


def _count(file: IO[bytes], mark: bytes) -> int:
    """How often the mark stands in a file, read a piece at a time."""
    found, tail = 0, b""
    while chunk := file.read(1 << 20):
        found += (tail + chunk).count(mark)
        tail = chunk[-(len(mark) - 1) :]
    file.seek(0)
    return found
