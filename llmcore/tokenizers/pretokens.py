"""Count the pre-tokens of a corpus of any size, in parallel, in parts whose counts add up to those of the whole.

    >>> count_pretokens(["the cat<|end|>the cat sat"], PATTERNS["gpt2"], ["<|end|>"]) == {b"the": 2, b" cat": 2, b" sat": 1}
    True

A text may be cut where no pre-token spans the cut and none before it looks past it. In all named patterns that is
between a letter or a digit and the white space or punctuation behind it (the apostrophe aside: "it|'s" is one piece to
GPT-4o). It is not at a line end: GPT-2 reads "\\n\\n" as one piece at the end of a text, as two in front of a letter. A
special token may be cut off too, since it takes no part in any pre-token.

Does not:
- change a text in any way: "\\r\\n" stays two characters, a byte order mark stays the first
- hold more than a few parts of a file, unless it goes on for megabytes without a place to cut
- cut inside a text by a pattern of your own, except at special tokens: nobody has proved where that would be safe
"""

import codecs
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import cast

import regex

from llmcore.tokenizers.patterns import PATTERNS, split_in_blocks

PART = 1 << 20  # about how much text is split in one go: characters, or bytes of a file
ALONE = 32 << 20  # bytes; below some fifteen, starting other processes (half a second) takes longer than they save

# (?r) searches from the end of a text. Proved, as far as tests can, in test_pretokens.py.
_CERTAIN = regex.compile(r"(?rV1)(?<=[\p{L}\p{N}])(?=[[\s\p{P}]--[']])")

Tick = Callable[[int], object]


def count_pretokens(
    corpus: Path | Iterable[str | Path],
    pattern: str,
    special_tokens: Sequence[str] = (),
    workers: int | None = None,
    tick: Tick = lambda done: None,
) -> Counter[bytes]:
    """How often each pre-token occurs, as UTF-8. The same for every number of workers.

    Args:
        corpus: documents. A `str` is the text of one, a `Path` a UTF-8 file with one. No pre-token spans two documents.
        pattern: a regular expression of the regex package, such as `PATTERNS["gpt4"]`; what it leaves unmatched counts as a piece.
        special_tokens: what documents are split at and what is not counted; of several at one place the longest.
        workers: processes. None: this one alone, and all cores for what comes after the first 32 MB.
        tick: called with a number of bytes whenever so many more have been read.

    Raises ValueError where a text has no UTF-8 (a lone surrogate) or a file is none, and OSError for an unreadable one.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers}: at least one process has to count")
    split = Splitter(pattern, special_tokens)
    counts: Counter[str] = Counter()
    batches = _batches(corpus, split, tick)
    if workers is None or workers == 1:
        done, cores = 0, _cores()
        for batch in batches:
            split.count(batch, counts)
            done += sum(map(len, batch))
            if workers is None and cores > 1 and done >= ALONE:
                break
    if workers != 1:
        _count_in_parallel(batches, pattern, special_tokens, workers or _cores(), counts)
    return Counter({word.encode(): n for word, n in counts.items()})


class Splitter:
    """Cuts texts at special tokens and then by a pattern, and long ones first into parts that can be cut alone."""

    def __init__(self, pattern: str, special_tokens: Sequence[str] = ()) -> None:
        self._pattern = pattern
        self._known = pattern in PATTERNS.values()
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self._special = regex.compile("|".join(map(regex.escape, longest_first))) if longest_first else None
        self._reach = max(map(len, special_tokens), default=1)

    def count(self, texts: Iterable[str], counts: Counter[str]) -> None:
        """Add the pre-tokens of some texts to `counts`."""
        for text in texts:
            for ordinary in self._special.split(text) if self._special else (text,):
                for pieces in split_in_blocks(ordinary, self._pattern):
                    counts.update(pieces)

    def parts(self, blocks: Iterable[str], size: int) -> Iterator[str]:
        """Put the blocks of one document together to parts of about `size` characters that can be counted one by one."""
        held: list[str] = []
        length, enough = 0, size
        for block in blocks:
            held.append(block)
            length += len(block)
            if length < enough:
                continue
            text = "".join(held)
            cut = self._last_cut(text)
            if cut:
                yield text[:cut]
            held, length = [text[cut:]], len(text) - cut
            # twice as much after a failure, so that looking again and again stays linear in the whole
            enough = size if cut else 2 * length
        if length:
            yield "".join(held)

    def _last_cut(self, text: str) -> int:
        """The last place where the beginning of a document can be cut; 0 if there is none."""
        seen_whole = len(text) - self._reach + 1  # a special token that begins later may go on behind the text
        end = 0
        if self._special:
            for found in self._special.finditer(text):
                if found.start() >= seen_whole:
                    break
                end = found.end()
        if self._known:  # up to seen_whole: no special token begins between `end` and there, so none spans the cut
            certain = _CERTAIN.search(text, end, max(end, min(seen_whole + 1, len(text))))
            if certain:
                return certain.start()
        return end


def read_text(file: Path, tick: Tick = lambda done: None) -> Iterator[str]:
    """A UTF-8 file block by block. Raises ValueError with the offset of the first byte that is no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # of what the decoder has not turned into text yet
    with file.open("rb") as handle:
        while True:
            data = handle.read(PART)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{file} is not UTF-8: byte {offset - pending + error.start} ({error.reason})"
                ) from None
            offset += len(data)
            tick(len(data))
            if text:
                yield text
            if not data:
                return


def _batches(corpus: Path | Iterable[str | Path], split: Splitter, tick: Tick) -> Iterator[list[str]]:
    """All texts of a corpus in lists of about PART characters, long ones in parts."""
    batch: list[str] = []
    length = 0
    for place, document in enumerate([corpus] if isinstance(corpus, Path) else corpus):
        if isinstance(document, Path):
            blocks = read_text(document, tick)
        else:
            tick(_utf8_length(document, place))
            blocks = (document[i : i + PART] for i in range(0, len(document), PART))
        for part in split.parts(blocks, PART):
            batch.append(part)
            length += len(part)
            if length >= PART:
                yield batch
                batch, length = [], 0
    if batch:
        yield batch


def _utf8_length(document: str, place: int) -> int:
    try:
        return len(document.encode())
    except UnicodeEncodeError as error:
        what = f"the lone surrogate U+{ord(document[error.start]):04X}"
        raise ValueError(f"document {place} has {what} at character {error.start}: there is no UTF-8 for it") from None


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _count_in_parallel(
    batches: Iterable[list[str]], pattern: str, special_tokens: Sequence[str], workers: int, counts: Counter[str]
) -> None:
    """Add up what processes count that get one batch whenever they have nothing to do."""
    # spawn: a fork of a process with threads (torch, a notebook) can hang
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    connections: list[Connection] = []
    try:
        for batch in batches:
            # one more for each of the first batches: little text starts few processes
            if len(processes) < workers:
                connection, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, pattern, special_tokens), daemon=True)
                process.start()
                theirs.close()
                processes.append(process)
                connections.append(connection)
            ready = cast("Connection", wait(connections)[0])
            ready.recv()
            ready.send(batch)
        for connection in connections:
            connection.recv()
            connection.send(None)
        for connection in connections:
            counts.update(connection.recv())
    except (EOFError, ConnectionError):
        raise RuntimeError(
            "a counting process died: out of memory, or a script that does not start under "
            '`if __name__ == "__main__":`; workers=1 does without processes'
        ) from None
    finally:  # after Ctrl-C too; one that has sent its counts is done anyway
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _work(connection: Connection, pattern: str, special_tokens: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends this one
    split = Splitter(pattern, special_tokens)
    counts: Counter[str] = Counter()
    try:
        connection.send(None)
        while (texts := connection.recv()) is not None:
            split.count(texts, counts)
            connection.send(None)
        connection.send(counts)
    except (EOFError, ConnectionError):
        return  # the parent is gone
