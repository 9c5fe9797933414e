"""Learn the merges of a byte-level BPE from a corpus.

    >>> corpus = ["low low low low low lower lower newest newest newest newest newest newest widest widest widest"]
    >>> tokenizer = train_bpe(corpus, vocab_size=256 + 3, pattern=r"\\S+")
    >>> tokenizer.merges
    [(b's', b't'), (b'e', b'st'), (b'o', b'w')]

Begin with single bytes; again and again make a token of the pair that stands side by side most often; of several equally
frequent pairs take the greatest, comparing (left, right) as Python compares bytes. So there is one right answer for a
corpus, whatever the order in which it was read and the number of processes that read it.

The ids: 0 to 255 are the bytes, then come the merges in the order in which they were learned, then the special tokens.

Does not:
- look at the text again once its pre-tokens are counted: a merge happens in each distinct pre-token once
- recount: a merge changes the counts of the pairs beside it, and nothing else is visited (`learn_merges` says how)
- give a count to special tokens, or to anything that spans two pre-tokens, two documents or two files

Sources: Sennrich, Haddow and Birch 2016, algorithm 1 (the merges); Radford et al. 2019, section 2.2 (bytes, pre-tokens).
"""

import argparse
import heapq
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.bytes_as_text import CHARACTERS
from llmcore.tokenizers.patterns import PATTERNS, pattern_of
from llmcore.tokenizers.pretokens import count_pretokens, read_text

COMMAND = "python -m llmcore.tokenizers.bpe_train"


@dataclass(frozen=True, slots=True)
class Merge:
    left: bytes
    right: bytes
    count: int  # of the pair in the corpus
    visits: int  # places looked at to apply it: the work done, in a unit that no machine changes


def train_bpe(
    corpus: Path | Iterable[str | Path],
    vocab_size: int,
    pattern: str,
    special_tokens: Sequence[str] = (),
    workers: int | None = None,
) -> BPE:
    """Learn a BPE tokenizer of `vocab_size` ids: 256 bytes, the merges, the special tokens.

    Shows progress where a person watches. With fewer pairs than asked for it warns and returns a smaller vocabulary.

    Args:
        corpus: documents. A `str` is the text of one, a `Path` a UTF-8 file with one (or several, between special tokens).
        vocab_size: how many ids in all.
        pattern: what cuts text into pre-tokens: a name in PATTERNS, or a regular expression of the regex package.
        special_tokens: texts with an id of their own: none of their characters is counted or merged.
        workers: processes that count. None: one, and all cores when there are more than 32 MB. More than one needs a
            script that starts under `if __name__ == "__main__":`.

    Raises ValueError for a vocab_size without room for bytes and special tokens, a special token that is empty or there
    twice, and text that has no UTF-8; TypeError for a string where several are expected, or a set of tokens, which has no
    order; OSError for unreadable files.
    """
    if isinstance(corpus, str) or isinstance(special_tokens, str):
        raise TypeError(
            "corpus and special_tokens hold several: put a single one in a list (and a file name in a Path)"
        )
    if special_tokens is None or isinstance(special_tokens, Set):
        raise TypeError("special_tokens is a list: their order decides the ids")
    pattern = pattern_of(pattern)
    wanted = vocab_size - 256 - len(special_tokens)
    if wanted < 0:
        raise ValueError(f"vocab_size={vocab_size} has no room for 256 bytes and {len(special_tokens)} special tokens")
    if "" in special_tokens:
        raise ValueError("a special token is empty")
    if len(set(special_tokens)) != len(special_tokens):
        raise ValueError(f"{Counter(special_tokens).most_common(1)[0][0]!r} is a special token twice")

    files = [corpus] if isinstance(corpus, Path) else corpus if isinstance(corpus, Sequence) else []
    total = sum(file.stat().st_size for file in files if isinstance(file, Path))  # texts are quicker than their bar
    # disable=None: no bar unless a person watches
    with tqdm(
        desc="counting pre-tokens", total=total or None, unit="B", unit_scale=True, disable=None, leave=False
    ) as bar:
        words = count_pretokens(corpus, pattern, special_tokens, workers, tick=bar.update)

    merges: list[tuple[bytes, bytes]] = []
    with tqdm(desc="merging", total=wanted, unit=" merges", disable=None, leave=False) as bar:
        for merge in learn_merges(words, wanted):
            merges.append((merge.left, merge.right))
            bar.update()
    if len(merges) < wanted:
        size = vocab_size - wanted + len(merges)
        warnings.warn(
            f"nothing is left to merge: {len(merges):,} merges instead of {wanted:,}, {size:,} ids instead of {vocab_size:,}",
            stacklevel=2,
        )
    # No two merges make the same bytes: how a token came about inside its own bytes does not depend on what is around it
    tokens = [*(bytes([i]) for i in range(256)), *(left + right for left, right in merges)]
    specials = {token: len(tokens) + i for i, token in enumerate(special_tokens)}
    return BPE(dict(enumerate(tokens)), merges, pattern, specials)


def learn_merges(words: Mapping[bytes, int], wanted: int) -> Iterator[Merge]:
    """Up to `wanted` merges, in order, from how often each pre-token occurs.

    All words lie one after the other in one list, a cell a byte. A token's id stands in its first and its last cell, so
    its neighbours begin at the cell behind it and end at the cell before it. A merge writes its id into two cells.

    - counts   pair -> how often it occurs in the corpus, always exact
    - places   pair -> where it has ever begun; those that have gone since are noticed when they are visited
    - heap     each pair once, under the count it had when it was pushed. Counts only fall after the merge that brings a
               pair up, so the true count is never above that. When the top has fallen, it goes back under its true count.

    A pair is one integer, left * base + right: it hashes faster than a tuple.
    """
    cells, weight = _lay_out(words)
    base = 256 + wanted
    tokens = [bytes([i]) for i in range(256)]
    size = [1] * 256
    order = [_descending(token) for token in tokens]
    counts: defaultdict[int, int] = defaultdict(int)
    places: defaultdict[int, list[int]] = defaultdict(list)
    for p in range(len(cells) - 1):
        left, right = cells[p], cells[p + 1]
        if left >= 0 and right >= 0:
            pair = left * base + right
            counts[pair] += weight[p]
            places[pair].append(p)
    heap = [(-n, order[pair // base], order[pair % base], pair) for pair, n in counts.items() if n]
    heapq.heapify(heap)

    while heap and len(tokens) < base:
        n, *_, pair = heap[0]
        count = counts[pair]
        left, right = divmod(pair, base)
        if count != -n:
            if count:
                heapq.heapreplace(heap, (-count, order[left], order[right], pair))
            else:
                heapq.heappop(heap)
                del counts[pair], places[pair]
            continue
        heapq.heappop(heap)
        new = len(tokens)
        tokens.append(tokens[left] + tokens[right])
        size.append(size[left] + size[right])
        order.append(_descending(tokens[new]))
        arisen: defaultdict[int, list[int]] = defaultdict(list)
        visited = places.pop(pair)
        middle, length = size[left], size[new]
        for p in visited:  # in ascending order, so that "aaa" merges its first two
            q = p + middle
            if cells[p] != left or cells[q] != right:
                continue  # one of the two has merged with another neighbour since
            end = p + length
            times = weight[p]
            x, y = cells[p - 1], cells[end]
            cells[q] = -1  # no token begins here any more (a one-byte token would still seem to)
            cells[p] = cells[end - 1] = new
            if x >= 0:
                counts[x * base + left] -= times
                counts[x * base + new] += times
                arisen[x * base + new].append(p - size[x])
            if y >= 0:
                counts[right * base + y] -= times
                counts[new * base + y] += times
                arisen[new * base + y].append(p)
        del counts[pair]
        for fresh, begins in arisen.items():
            if counts[fresh]:
                places[fresh] = begins
                heapq.heappush(heap, (-counts[fresh], order[fresh // base], order[fresh % base], fresh))
            else:  # came up and went again in this merge, as the first half of "abab" does
                del counts[fresh]
        yield Merge(tokens[left], tokens[right], count, len(visited))


def _lay_out(words: Mapping[bytes, int]) -> tuple[list[int], list[int]]:
    """The bytes of all words with -1 around each, and beside each byte how often its word occurs."""
    cells, weight = [-1], [0]
    for word, n in words.items():
        cells.extend(word)
        cells.append(-1)
        weight.extend([n] * (len(word) + 1))
    return cells, weight


_COMPLEMENT = bytes(range(255, -1, -1))


def _descending(token: bytes) -> str:
    """A string that sorts the other way round than `token`: a heap brings up the smallest, ties go to the greatest.

    The end is a character above all others, since a prefix sorts before what it begins, and here must sort behind.

    >>> sorted([b"ab", b"abc", b"b", b"a\\xff"], key=_descending)
    [b'b', b'a\\xff', b'abc', b'ab']
    """
    return token.translate(_COMPLEMENT).decode("latin-1") + "\u0100"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns 0, 1 if nothing could be trained, or 130 on Ctrl-C; a usage error exits with 2."""
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Learn a byte-level BPE tokenizer from text files.\n\n"
        "It starts from the 256 bytes and, again and again, makes one token of the two neighbours that occur together\n"
        "most often. Merges stay inside the pieces that the pattern cuts a text into, roughly words.",
        epilog=f"""example:
  {COMMAND} books.txt --vocab-size 8192 --pattern gpt4 --special '<|endoftext|>' --out tokenizer.json

More ids: fewer tokens for a text, a bigger table of embeddings, and less text to learn each row from.
The same files give the same tokenizer, on every machine and with every number of workers.""",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="UTF-8 text; no token spans two files")
    parser.add_argument(
        "--vocab-size", type=int, required=True, metavar="N", help="ids: 256 bytes + merges + special tokens"
    )
    parser.add_argument("--pattern", choices=PATTERNS, default="gpt4", help="whose way of cutting text (default: gpt4)")
    parser.add_argument(
        "--special",
        action="append",
        default=[],
        metavar="TEXT",
        help="what separates documents; give it once for each token",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores if the files are big)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="NAME.json (Hugging Face) or NAME.tiktoken (tiktoken)"
    )
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    if out.suffix not in (".json", ".tiktoken"):
        parser.error(f"--out {out}: the name has to end in .json or .tiktoken")
    if not out.parent.is_dir():
        parser.error(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        parser.error(f"--out {out} is a folder")
    if out.exists() and any(file.exists() and file.samefile(out) for file in arguments.files):
        parser.error(f"--out {out} is one of the texts, and would be overwritten")
    if out.suffix == ".json" and (unfit := set(arguments.special).intersection(CHARACTERS)):
        parser.error(f"--special {min(unfit)}: a .json file spells a byte like this")
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            tokenizer = train_bpe(
                arguments.files, arguments.vocab_size, arguments.pattern, arguments.special, arguments.workers
            )
        seconds = time.perf_counter() - start
        tokenizer.save(out)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing was written", file=sys.stderr)
        return 130
    for note in notes:
        print(f"note: {note.message}")
    _report(tokenizer, arguments.files[0], seconds)
    if arguments.special and out.suffix == ".tiktoken":
        print(f"note: {out.name} has no place for the special tokens: give them to whatever loads it")
    print(f"written: {out}")
    return 0


def _report(tokenizer: BPE, file: Path, seconds: float) -> None:
    merged = [left + right for left, right in tokenizer.merges]
    longest = sorted(merged, key=len, reverse=True)[:5]
    sample = next(read_text(file), "")
    ids = tokenizer.encode_ordinary(sample)
    specials = len(tokenizer.special_tokens)
    print(f"{tokenizer.vocab_size:,} ids: 256 bytes, {len(merged):,} merges, {specials} special; {seconds:.1f} s")
    print(f"first   {', '.join(repr(token)[1:] for token in merged[:10])}")
    print(f"longest {', '.join(repr(token)[1:] for token in longest)}")
    if ids:
        print(f"{len(sample.encode()) / len(ids):.2f} bytes a token at the beginning of {file.name}")


if __name__ == "__main__":
    sys.exit(main())
