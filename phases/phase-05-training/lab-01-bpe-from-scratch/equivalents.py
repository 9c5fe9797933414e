"""Correct answers written differently.  The spec must accept each on every seed: it is a learner who is right."""

import base64
import functools
import heapq
import itertools
import math
import os
import re
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import regex

from labkit.spec import equivalent

EOT = "<|endoftext|>"
PATTERN = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

# ---- count_words


@equivalent("count_words")
def one_by_one(texts):
    counts = {}
    for text in texts:
        for match in PATTERN.finditer(text):
            word = bytes(match[0], "utf-8")
            counts.setdefault(word, 0)
            counts[word] += 1
    return counts


@equivalent("count_words")
def sums_of_counters(texts):
    return functools.reduce(
        lambda a, b: a + b, (Counter(map(str.encode, PATTERN.findall(t))) for t in texts), Counter()
    )


@equivalent("count_words")
def sorted_and_grouped(texts):
    every = sorted(word.encode() for text in list(texts) for word in PATTERN.findall(text))
    return OrderedDict((word, len(list(group))) for word, group in itertools.groupby(every))


# ---- count_pairs


@equivalent("count_pairs")
def by_index(words):
    pairs = defaultdict(int)
    for word in words:
        for i in range(1, len(word)):
            pairs[word[i - 1], word[i]] += words[word]
    return pairs


@equivalent("count_pairs")
def one_counter_a_word(words):
    total = Counter()
    for word, n in words.items():
        for pair, times in Counter(zip(word, word[1:])).items():
            total.update({pair: times * n})
    return dict(total)


@equivalent("count_pairs")
def recursive(words):
    def pairs_in(word):
        return [] if len(word) < 2 else [(word[0], word[1]), *pairs_in(word[1:])]

    return Counter(pair for word, n in words.items() for _ in range(n) for pair in pairs_in(word))


# ---- best_pair


@equivalent("best_pair")
def max_with_a_key(pairs):
    return max(pairs, key=lambda pair: (pairs[pair], pair))


@equivalent("best_pair")
def sorted_twice(pairs):
    return sorted(sorted(pairs), key=pairs.get)[-1]


@equivalent("best_pair")
def by_a_loop(pairs):
    best, most = None, -1
    for pair, n in pairs.items():
        if n > most or (n == most and list(pair) > list(best)):
            best, most = pair, n
    return list(best)


# ---- merge


@equivalent("merge")
def builds_on_the_result(word, pair):
    out, fresh = [], False  # fresh: the last token of `out` was made just now and may not merge again
    for token in word:
        if out and not fresh and (out[-1], token) == tuple(pair):
            out[-1] += token
            fresh = True
        else:
            out.append(token)
            fresh = False
    return out


@equivalent("merge")
def recursive_merge(word, pair):
    if len(word) < 2:
        return tuple(word)
    if (word[0], word[1]) == pair:
        return (word[0] + word[1], *recursive_merge(word[2:], pair))
    return (word[0], *recursive_merge(word[1:], pair))


@equivalent("merge")
def in_place(word, pair):
    tokens, i = list(word), 0
    while i < len(tokens) - 1:
        if tokens[i] == pair[0] and tokens[i + 1] == pair[1]:
            tokens[i] += tokens.pop(i + 1)
        i += 1
    return tuple(tokens)


@equivalent("merge")
def with_an_iterator(word, pair):
    out, rest = [], iter(word)
    held = next(rest, None)
    while held is not None:
        after = next(rest, None)
        if (held, after) == pair:
            out.append(held + after)
            held = next(rest, None)
        else:
            out.append(held)
            held = after
    return tuple(out)


# ---- learn_merges


@equivalent("learn_merges")
def ids_instead_of_bytes(words, n_merges):
    token = {i: bytes([i]) for i in range(256)}
    cut, weight, merges = [list(word) for word in words], list(words.values()), []
    for new in range(256, 256 + n_merges):
        counts = Counter()
        for ids, n in zip(cut, weight):
            for pair in zip(ids, ids[1:]):
                counts[pair] += n
        if not counts:
            return merges
        a, b = max(counts, key=lambda p: (counts[p], token[p[0]], token[p[1]]))
        merges.append((token[a], token[b]))
        token[new] = token[a] + token[b]
        cut = [_ids_merged(ids, a, b, new) for ids in cut]
    return merges


@equivalent("learn_merges")
def a_heap_of_places(words, n_merges):
    """With exact counts beside the heap: an entry whose count has changed is pushed again."""
    cut, weight = [[word[i : i + 1] for i in range(len(word))] for word in words], list(words.values())
    counts, where = Counter(), defaultdict(set)
    for i, tokens in enumerate(cut):
        for pair in zip(tokens, tokens[1:]):
            counts[pair] += weight[i]
            where[pair].add(i)
    heap = [(-n, _Reversed(pair)) for pair, n in counts.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < n_merges:
        n, pair = heapq.heappop(heap)[0], None
        # the entry is gone: look for the best among those with this count, the plain way
        equals = [p for p, c in counts.items() if c == -n and c > 0]
        pair = max(equals, default=None)
        if pair is None or max(counts.values()) != -n:
            continue
        merges.append(pair)
        touched = set()
        for i in list(where[pair]):
            old = list(zip(cut[i], cut[i][1:]))
            cut[i] = builds_on_the_result(cut[i], pair)
            new = list(zip(cut[i], cut[i][1:]))
            for p in old:
                counts[p] -= weight[i]
            for p in new:
                counts[p] += weight[i]
                where[p].add(i)
            touched |= {*old, *new}
        for p in touched:
            if counts[p]:
                heapq.heappush(heap, (-counts[p], _Reversed(p)))
        counts += Counter()  # drops zeros
        heapq.heappush(heap, (-max(counts.values(), default=0), _Reversed((b"", b""))))
    return merges


@equivalent("learn_merges")
def as_strings(words, n_merges):
    lines = [[" " + " ".join(f"{b:02x}" for b in word) + " ", n] for word, n in words.items()]
    merges = []
    for _ in range(n_merges):
        counts = Counter()
        for line, n in lines:
            for left, right in itertools.pairwise(line.split()):
                counts[left, right] += n
        if not counts:
            break
        best = max(counts, key=lambda p: (counts[p], bytes.fromhex(p[0]), bytes.fromhex(p[1])))
        merges.append(tuple(map(bytes.fromhex, best)))
        for row in lines:
            row[0] = re.sub(rf"(?<= ){best[0]} {best[1]}(?= )", "".join(best), row[0])
    return merges


# ---- learn_merges_faster


@equivalent("learn_merges_faster")
def only_the_neighbours(words, n_merges):
    """Changes the counts of the pairs beside each merge and of no others."""
    cut, weight = [[bytes([b]) for b in word] for word in words], list(words.values())
    counts, where = defaultdict(int), defaultdict(set)
    for i, tokens in enumerate(cut):
        for pair in zip(tokens, tokens[1:]):
            counts[pair] += weight[i]
            where[pair].add(i)
    merges = []
    for _ in range(n_merges):
        best = max((p for p in counts if counts[p] > 0), key=lambda p: (counts[p], p), default=None)
        if best is None:
            break
        merges.append(best)
        left, right = best
        for i in sorted(where[best]):
            tokens, n, k = cut[i], weight[i], 0
            while k < len(tokens) - 1:
                if tokens[k] == left and tokens[k + 1] == right:
                    if k:
                        counts[tokens[k - 1], left] -= n
                        counts[tokens[k - 1], left + right] += n
                        where[tokens[k - 1], left + right].add(i)
                    if k + 2 < len(tokens):
                        counts[right, tokens[k + 2]] -= n
                        counts[left + right, tokens[k + 2]] += n
                        where[left + right, tokens[k + 2]].add(i)
                    tokens[k : k + 2] = [left + right]
                k += 1
        del counts[best], where[best]
    return merges


@equivalent("learn_merges_faster")
def lazy_heap(words, n_merges):
    cut, weight = [tuple(bytes([b]) for b in word) for word in words], [*words.values()]
    counts, where = Counter(), defaultdict(dict)
    for i, tokens in enumerate(cut):
        for pair in itertools.pairwise(tokens):
            counts[pair] += weight[i]
            where[pair][i] = None
    heap = [_Entry(n, pair) for pair, n in counts.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < n_merges:
        top = heapq.heappop(heap)
        if counts[top.pair] != top.count or not top.count:
            continue  # it was pushed anew when its count changed
        merges.append(top.pair)
        change = Counter()
        for i in where.pop(top.pair):
            change.subtract(_weighted(cut[i], weight[i]))
            cut[i] = tuple(in_place(cut[i], top.pair))
            change.update(_weighted(cut[i], weight[i]))
            for pair in itertools.pairwise(cut[i]):
                where[pair][i] = None
        for pair, n in change.items():
            if n:
                counts[pair] += n
                heapq.heappush(heap, _Entry(counts[pair], pair))
    return merges


@equivalent("learn_merges_faster")
def arrays(words, n_merges):
    """All words in one array with -1 between them; a merge is a mask.  NumPy looks at everything, in very few steps."""
    tokens = [bytes([i]) for i in range(256)]
    cells = np.array([b for word in words for b in (*word, -1)], dtype=np.int64)
    weight = np.repeat(np.array([*words.values()], dtype=np.int64), [len(word) + 1 for word in words])
    merges = []
    while len(merges) < n_merges and len(cells) > 1:
        whole = (cells[:-1] >= 0) & (cells[1:] >= 0)
        keys, places = np.unique((cells[:-1] << 32 | cells[1:])[whole], return_inverse=True)
        if not len(keys):
            break
        counts = np.bincount(places, weights=weight[:-1][whole])
        top = [int(k) for k in keys[counts == counts.max()]]
        a, b = max(((k >> 32, k & (1 << 32) - 1) for k in top), key=lambda p: (tokens[p[0]], tokens[p[1]]))
        merges.append((tokens[a], tokens[b]))
        at = np.flatnonzero((cells[:-1] == a) & (cells[1:] == b))
        if a == b:  # of a run, take the first, the third, …
            run = np.flatnonzero(np.diff(at, prepend=-9) != 1)
            start = np.repeat(at[run], np.diff(run, append=len(at)))
            at = at[(at - start) % 2 == 0]
        cells[at] = len(tokens)
        tokens.append(tokens[a] + tokens[b])
        cells, weight = np.delete(cells, at + 1), np.delete(weight, at + 1)
    return merges


# ---- encode_word


@equivalent("encode_word")
def all_of_the_lowest_at_once(word, ranks):
    parts = [word[i : i + 1] for i in range(len(word))]
    while True:
        found = {ranks[a + b] for a, b in zip(parts, parts[1:]) if a + b in ranks}
        if not found:
            return [ranks[part] for part in parts]
        lowest, out = min(found), []
        for part in parts:
            if out and out[-1] is not None and ranks.get(out[-1] + part) == lowest:
                out[-1:] = [out[-1] + part, None]  # the None keeps what was merged from merging again
            else:
                out.append(part)
        parts = [part for part in out if part is not None]


@equivalent("encode_word")
def cut_points(word, ranks):
    """Where tokens begin and end, instead of the tokens: as tiktoken's own code does it."""
    cuts = list(range(len(word) + 1))
    while len(cuts) > 2:
        best = min(range(len(cuts) - 2), key=lambda i: ranks.get(word[cuts[i] : cuts[i + 2]], math.inf))
        if word[cuts[best] : cuts[best + 2]] not in ranks:
            break
        del cuts[best + 1]
    return [ranks[word[a:b]] for a, b in zip(cuts, cuts[1:])]


@equivalent("encode_word")
def linked_list_and_heap(word, ranks):
    size = len(word)
    end, before = [*range(1, size + 1)], [*range(-1, size - 1)]
    alive = [True] * size

    def entry(i):
        j = end[i]
        if j < size and (rank := ranks.get(word[i : end[j]])) is not None:
            heapq.heappush(heap, (rank, i, end[j]))

    heap = []
    for i in range(size):
        entry(i)
    while heap:
        _, i, stop = heapq.heappop(heap)
        if not alive[i] or end[i] == size or end[end[i]] != stop:
            continue
        alive[end[i]] = False
        end[i] = stop
        if stop < size:
            before[stop] = i
        entry(i)
        if before[i] >= 0:
            entry(before[i])
    return [ranks[word[i : end[i]]] for i in range(size) if alive[i]]


@equivalent("encode_word")
def every_place_of_the_best_pair(word, ranks):
    """As minbpe does it; a word that is a token needs no merges, as in tiktoken."""
    if word in ranks:
        return [ranks[word]]
    parts = [bytes([b]) for b in word]
    while len(parts) > 1:
        best = min({*zip(parts, parts[1:])}, key=lambda p: ranks.get(p[0] + p[1], math.inf))
        if best[0] + best[1] not in ranks:
            break
        parts = builds_on_the_result(parts, best)
    return list(map(ranks.get, parts))


@equivalent("encode_word")
def recursive_at_the_lowest(word, ranks):
    def go(parts):
        choices = [(ranks[a + b], i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if a + b in ranks]
        if not choices:
            return parts
        i = min(choices)[1]
        return go(parts[:i] + (parts[i] + parts[i + 1],) + parts[i + 2 :])

    return tuple(ranks[part] for part in go(tuple(bytes([b]) for b in word)))


# ---- train


@equivalent("train", of="BPE.train")
@classmethod
def ranks_step_by_step(cls, texts, vocab_size):
    if not vocab_size > 256:
        raise ValueError("too small")
    ranks = {}
    for byte in range(256):
        ranks[bytes([byte])] = byte
    for left, right in only_the_neighbours(one_by_one(texts), vocab_size - 257):
        ranks[left + right] = len(ranks)
    return cls(ranks)


@equivalent("train", of="BPE.train")
@classmethod
def learns_more_and_cuts(cls, texts, vocab_size):
    """A longer list of merges begins with the shorter one."""
    if vocab_size - 257 < 0:
        raise ValueError(vocab_size)
    merges = lazy_heap(sums_of_counters(texts), vocab_size)
    tokens = [bytes([b]) for b in range(256)] + [a + b for a, b in merges]
    return cls(dict(zip(tokens, range(vocab_size - 1))))


# ---- encode


@equivalent("encode", of="BPE.encode")
def splits_by_pattern(self, text, allowed_special=()):
    parts = regex.split(f"({regex.escape(EOT)})", text) if EOT in set(allowed_special) else [text]
    ids = []
    for k, part in enumerate(parts):
        if k % 2:
            ids.append(self.vocab_size - 1)
        else:
            for match in PATTERN.finditer(part):
                word = match.group()
                self.known[word] = found = self.known.get(word) or cut_points(word.encode(), self.ranks)
                ids.extend(found)
    return ids


@equivalent("encode", of="BPE.encode")
def one_part_after_the_other(self, text, allowed_special=()):
    before, found, after = text.partition(EOT) if EOT in allowed_special else (text, "", "")
    ids = []
    for word in PATTERN.findall(before):
        ids.extend(linked_list_and_heap(word.encode(), self.ranks))
    return ids + ([self.eot, *one_part_after_the_other(self, after, allowed_special)] if found else [])


@equivalent("encode", of="BPE.encode")
def distinct_words_first(self, text, allowed_special=()):
    out = []
    for part in text.split(EOT) if EOT in allowed_special else (text,):
        words = PATTERN.findall(part)
        self.known |= {w: all_of_the_lowest_at_once(w.encode(), self.ranks) for w in {*words} - self.known.keys()}
        out.append([i for w in words for i in self.known[w]])
    return [i for n, ids in enumerate(out) for i in ([self.eot] if n else []) + ids]


# ---- decode


@equivalent("decode", of="BPE.decode")
def into_a_bytearray(self, ids):
    data = bytearray()
    for i in ids:
        data += self.tokens[i]
    return str(data, "utf-8", "replace")


@equivalent("decode", of="BPE.decode")
def from_a_list(self, ids):
    tokens = [*sorted(self.ranks, key=self.ranks.get), EOT.encode()]
    out = b""
    for i in ids:
        if i not in range(len(tokens)):
            raise IndexError(i)
        out = out + tokens[i]
    return out.decode(errors="replace")


# ---- files


@equivalent("files", of="BPE.save")
def writes_bytes(self, path):
    with open(path, "wb") as out:
        for token in sorted(self.ranks, key=self.ranks.get):
            out.write(base64.b64encode(token) + b" " + str(self.ranks[token]).encode() + b"\n")


@equivalent("files", of="BPE.save")
def beside_and_renamed(self, path):
    """All of the new file or all of the old one."""
    lines = [base64.standard_b64encode(self.tokens[i]).decode() + f" {i}" for i in sorted(self.ranks.values())]
    part = f"{path}.part"
    with open(part, "w", newline="\n") as out:
        print(*lines, sep="\n", file=out)
    os.replace(part, path)


@equivalent("files", of="BPE.load")
@classmethod
def reads_line_by_line(cls, path):
    ranks = {}
    with open(path, "rb") as lines:
        for line in lines:
            token, _, rank = line.rstrip().partition(b" ")
            ranks[base64.decodebytes(token)] = int(rank)
    return cls(dict(sorted(ranks.items(), key=lambda row: row[1])))


# ---- what they share


def _ids_merged(ids, a, b, new):
    out = []
    while ids:
        if ids[:2] == [a, b]:
            out, ids = [*out, new], ids[2:]
        else:
            out, ids = [*out, ids[0]], ids[1:]
    return out


def _weighted(tokens, n):
    return {pair: k * n for pair, k in Counter(itertools.pairwise(tokens)).items()}


class _Reversed(tuple):
    """A pair that sorts the other way round."""

    __slots__ = ()

    def __lt__(self, other):
        return tuple.__gt__(self, other)


class _Entry:
    """A heap's entry: the highest count first, of equals the greatest pair."""

    def __init__(self, count, pair):
        self.count, self.pair = count, pair

    def __lt__(self, other):
        return (self.count, self.pair) > (other.count, other.pair)
