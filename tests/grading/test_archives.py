"""Archives that somebody made to do harm, or that broke on the way: each is refused by name, none does anything."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable

import pytest

from labkit.grading import archives, entries
from labkit.grading.entries import REASONS, Budget, Entry, Refused

LIMIT = entries.LAB_BYTES


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as z:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, data in members:
            z.writestr(name, data)
    return out.getvalue()


def tarred(*members: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w", encoding: str = "utf-8") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, encoding=encoding, format=tarfile.GNU_FORMAT) as t:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                t.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                t.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def info(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def mode(name: str, kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (kind | 0o644) << 16
    return member


def read(data: bytes, budget: Budget | None = None) -> list[Entry]:
    return archives.read(io.BytesIO(data), budget or Budget())


def reason(data: bytes, limit: int = LIMIT, budget: Budget | None = None) -> str:
    """Why an archive is refused: as a whole, for a member, or while a member is read; "" when it is not."""
    refused = None
    try:
        for e in read(data, budget):
            if e.problem:
                raise e.problem
            if e.read:
                e.read(limit)
    except Refused as e:
        refused = e
    if refused is None:
        return ""
    assert refused.reason in REASONS
    assert refused.says.endswith(".")
    assert refused.says.isprintable()
    return refused.reason


def patched(data: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    out = bytearray(data)
    at = -1
    while (at := data.find(mark, at + 1)) >= 0:
        out[at + offset : at + offset + len(value)] = value
    return bytes(out)


GOOD = ("lab-01-x/lab.py", b"x = 1\n")
COMPRESSED = ["w", "w:gz", "w:bz2", "w:xz"]


@pytest.mark.parametrize("data", [zipped(GOOD), *(tarred(GOOD, mode=m) for m in COMPRESSED)], ids=["zip", *COMPRESSED])
def test_what_is_packed_comes_back(data: bytes) -> None:
    [entry] = read(data)
    assert entry.read
    assert (entry.path, entry.read(LIMIT)) == (("lab-01-x", "lab.py"), b"x = 1\n")


# ids of their own: gzip writes the time into its bytes, and pytest would make the bytes the test's name
@pytest.mark.parametrize("data", [zipped(), tarred(), tarred(mode="w:gz")], ids=["zip", "tar", "tar.gz"])
def test_an_empty_archive_is_empty_and_not_damaged(data: bytes) -> None:
    assert read(data) == []


NAMES = [
    ("../lab.py", "traversal"),
    ("a/../../lab.py", "traversal"),
    ("a/..", "traversal"),
    ("/etc/lab.py", "absolute-path"),
    ("C:/lab.py", "absolute-path"),
    ("c:lab.py", "absolute-path"),
    ("a\\lab.py", "backslash"),
    ("..\\..\\lab.py", "backslash"),
    ("\\\\server\\share\\lab.py", "backslash"),
    ("a\x1b[2Jlab.py", "bad-name"),
    ("a\nlab.py", "bad-name"),
    ("\u202elab.py", "bad-name"),
    ("x" * 256 + "/lab.py", "bad-name"),
    ("/".join(["ä" * 100] * 30), "bad-name"),
    (".", "bad-name"),
    ("./lab.py", ""),
    ("a..b/lab...py", ""),
    ("Übung/lab.py", ""),
    ("x" * 255, ""),
    ("__MACOSX/._lab.py", ""),
]


@pytest.mark.parametrize(("name", "why"), NAMES)
def test_names(name: str, why: str) -> None:
    assert reason(zipped((zipfile.ZipInfo(name), b"x"))) == why
    assert reason(tarred((name, b"x"))) == why


def test_a_name_with_a_nul_or_in_no_encoding() -> None:
    assert reason(zipped(("labXpy", b"")).replace(b"labXpy", b"lab\0py")) == "bad-name"
    assert reason(tarred(("Übung/lab.py", b"x"), encoding="latin-1")) == "bad-name"
    utf8 = patched(zipped(("Übung.py", b"x")), "Übung.py".encode(), 0, b"\xff\xff")
    assert reason(utf8) == "corrupt"


def test_what_is_not_a_file() -> None:
    for kind, why in [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "device"), (stat.S_IFBLK, "device")]:
        assert reason(zipped((mode("lab.py", kind), b"/etc/passwd"))) == why
    for tar, why in [
        (info("lab.py", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (info("lab.py", tarfile.LNKTYPE, "../other/lab.py"), "link"),
        (info("lab.py", tarfile.CHRTYPE), "device"),
        (info("lab.py", tarfile.BLKTYPE), "device"),
        (info("lab.py", tarfile.FIFOTYPE), "device"),
        (info("lab.py", b"V"), "device"),
        (info("lab.py", tarfile.GNUTYPE_SPARSE), "sparse"),
    ]:
        assert reason(tarred(tar)) == why
    for folder in (zipped(("lab.py/", b"")), tarred(info("lab.py", tarfile.DIRTYPE))):
        assert [(e.path, e.read, e.problem) for e in read(folder)] == [(("lab.py",), None, None)]


def test_links_where_nobody_looks_do_no_harm() -> None:
    data = tarred(info(".venv/bin/python", tarfile.SYMTYPE, "/usr/bin/python3"), GOOD)
    assert [e.path for e in read(data)] == [("lab-01-x", "lab.py")]


def test_two_files_of_one_name() -> None:
    for pack in (zipped, tarred):
        assert reason(pack(("lab.py", b"1"), ("./lab.py", b"2"))) == "duplicate-name"  # type: ignore[operator]


@pytest.mark.parametrize("pack", [zipped, *(lambda *m, k=k: tarred(*m, mode=k) for k in COMPRESSED)])
def test_cut_short_at_every_place(pack: Callable[..., bytes]) -> None:
    data = pack(("lab.py", random.Random(0).randbytes(3000)))
    end = data.rstrip(b"\0")
    for cut in range(1, len(end), max(1, len(end) // 40)):
        assert reason(data[:cut]) == "corrupt"


def test_noise_never_gets_through_as_anything_else_than_a_refusal() -> None:
    source = random.Random(1)
    originals = [zipped(GOOD), tarred(GOOD), tarred(GOOD, mode="w:gz"), tarred(GOOD, mode="w:xz")]
    for _ in range(800):
        data = bytearray(source.choice(originals))
        for _ in range(source.randint(1, 8)):
            data[source.randrange(len(data))] = source.randrange(256)
        reason(bytes(data))  # any other exception fails the test
    assert reason(b"PK\x03\x04 not a zip") == "corrupt"
    assert reason(b"not an archive at all") == "corrupt"
    assert reason(b"") == "corrupt"


def test_the_checksum_of_a_zip_counts() -> None:
    data = zipped(("lab.py", b"x = 1\n"), method=zipfile.ZIP_STORED)
    assert reason(data.replace(b"x = 1", b"x = 2")) == "corrupt"


def test_protected_by_a_password() -> None:
    data = patched(patched(zipped(GOOD), b"PK\x01\x02", 8, b"\x01\x00"), b"PK\x03\x04", 6, b"\x01\x00")
    assert reason(data) == "encrypted"


def test_methods_that_cannot_be_bounded() -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert reason(zipped(GOOD, method=method)) == "unsupported"
    assert reason(patched(zipped(GOOD), b"PK\x01\x02", 10, struct.pack("<H", 97))) == "unsupported"


def test_overlapping_members() -> None:
    """Two entries of the directory that point at the same packed bytes (Fifield 2019)."""
    data = zipped(("a.py", b"x" * 1000), ("b.py", b"x" * 1000))
    second = data.rindex(b"PK\x01\x02")
    assert reason(data[: second + 42] + struct.pack("<I", 0) + data[second + 46 :]) == "overlap"


def test_a_bomb_is_counted_while_it_unpacks() -> None:
    nested = zipped(("inner.zip", bytes(4 << 20)))
    assert reason(nested, limit=entries.ARCHIVE_BYTES) == "bomb"  # by its ratio
    for kind in ("w:gz", "w:bz2", "w:xz"):
        assert reason(tarred(("zeros", bytes(4 << 20)), mode=kind)) == "bomb"
    noise = random.Random(2).randbytes(1 << 18)
    small = Budget(unpacked=3 << 18)
    for kind in ("w:gz", "w:bz2", "w:xz"):  # by its total
        assert reason(tarred(*[(f"{i}", noise) for i in range(4)], mode=kind), budget=small) == "bomb"
        assert reason(tarred(*[(f"{i}", noise) for i in range(2)], mode=kind), 2 << 20, Budget(unpacked=3 << 18)) == ""
    total = Budget(unpacked=3 << 18)
    assert reason(zipped(*[(f"{i}", noise) for i in range(4)]), 2 << 20, total) == "bomb"


def test_unpacking_stops_soon_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted work: of 64 MB of zeros in a tar.gz, no more is unpacked than the ratio lets pass."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as f:
        for _ in range(64):
            f.write(bytes(1 << 20))
    seen: list[int] = []
    take = Budget.take
    monkeypatch.setattr(
        Budget, "take", lambda self, members=0, unpacked=0: (seen.append(unpacked), take(self, members, unpacked))[1]
    )
    assert reason(out.getvalue()) == "bomb"
    assert sum(seen) <= max(entries.RATIO_FROM, entries.RATIO * len(out.getvalue())) + 2 * archives.CHUNK


def test_a_size_that_the_directory_claims() -> None:
    claims = struct.pack("<I", 1 << 30)
    data = patched(zipped(("big.bin", bytes(100))), b"PK\x01\x02", 24, claims)
    assert reason(data) == "bomb"
    assert [e.path for e in read(data, Budget(claimed=None))] == [("big.bin",)]
    liar = patched(zipped(("lab.py", bytes(2 << 20))), b"PK\x01\x02", 24, struct.pack("<I", 10))
    assert reason(liar) == "corrupt"  # more than it claims


def test_too_many_members_are_counted_before_the_directory_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    many = zipped(*[(f"{i}.py", b"") for i in range(60)])
    assert reason(many, budget=Budget(members=60)) == ""
    monkeypatch.setattr(zipfile, "ZipFile", None)  # not even opened
    assert reason(many, budget=Budget(members=59)) == "too-many-files"


def test_too_many_members_of_a_tar() -> None:
    many = tarred(*[(f"{i}.py", b"") for i in range(60)])
    assert reason(many, budget=Budget(members=60)) == ""
    assert reason(many, budget=Budget(members=59)) == "too-many-files"


@pytest.mark.slow
def test_a_hundred_thousand_members() -> None:
    assert reason(zipped(*[(f"{i}", b"") for i in range(100_000)])) == "too-many-files"
    assert reason(tarred(*[(f"{i}", b"") for i in range(100_000)], mode="w:gz")) in ("too-many-files", "bomb")


def test_a_tar_that_leads_in_a_circle() -> None:
    """A size below zero points back at the member itself (CVE-2025-8194)."""
    data = bytearray(tarred(("lab.py", b"x")))
    data[124:136] = b"\xff" * 8 + (-1024 & 0xFFFFFFFF).to_bytes(4, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert reason(bytes(data)) == "corrupt"


def test_memory_that_an_xz_asks_for() -> None:
    big = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 << 20}]
    packed = lzma.LZMACompressor(filters=big)  # its dictionary is virtual until it is used
    assert reason(packed.compress(tarred(GOOD)) + packed.flush()) == "corrupt"
