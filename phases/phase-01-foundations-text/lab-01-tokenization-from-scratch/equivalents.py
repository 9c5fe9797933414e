"""Correct answers written differently.  The spec must accept each on every seed: it is a learner who is right."""

import bisect
import codecs
import itertools
import math
import unicodedata
from collections import Counter, OrderedDict, defaultdict

import regex

from labkit.spec import equivalent

UNK = "<unk>"

# ---- build_vocab


@equivalent("build_vocab")
def counts_by_hand(tokens, min_freq=1, special_tokens=()):
    counts = defaultdict(int)
    for token in tokens:
        counts[token] += 1
    vocab = {UNK: 0}
    for token in special_tokens:
        if token not in vocab:
            vocab[token] = len(vocab)
    for token in sorted(counts, key=counts.get, reverse=True):  # reverse=True keeps equals in their order
        if counts[token] >= min_freq and token not in vocab:
            vocab[token] = len(vocab)
    return vocab


@equivalent("build_vocab")
def sorts_by_count_and_place(tokens, min_freq=1, special_tokens=()):
    tokens = tuple(tokens)
    place = {token: i for i, token in reversed(list(enumerate(tokens)))}
    reserved = list(OrderedDict.fromkeys((UNK, *special_tokens)))
    counts = Counter(tokens)
    rest = sorted(place.keys() - set(reserved), key=lambda t: (-counts[t], place[t]))
    return dict(zip([*reserved, *(t for t in rest if counts[t] >= min_freq)], itertools.count(), strict=False))


@equivalent("build_vocab")
def buckets_of_equals(tokens, min_freq=1, special_tokens=()):
    seen = Counter()
    seen.update(tokens)
    buckets = {}
    for token, n in seen.items():
        buckets.setdefault(n, []).append(token)
    vocab = {}
    for token in itertools.chain(
        [UNK], special_tokens, *(buckets[n] for n in sorted(buckets, reverse=True) if n >= min_freq)
    ):
        vocab.setdefault(token, len(vocab))
    return vocab


@equivalent("build_vocab")
def numbers_all_then_drops_the_rare(tokens, min_freq=1, special_tokens=()):
    """The rare ones come last, so that leaving them out leaves no gap."""
    counts = Counter(tokens)
    reserved = {UNK: 0}
    for token in special_tokens:
        reserved.setdefault(token, len(reserved))
    vocab = dict(reserved)
    for token, _ in counts.most_common():
        vocab.setdefault(token, len(vocab))
    return {token: i for token, i in vocab.items() if token in reserved or counts[token] >= min_freq}


@equivalent("build_vocab")
def removes_the_reserved_first(tokens, min_freq=1, special_tokens=None):
    reserved = []
    for token in [UNK, *(special_tokens or [])]:
        if token not in reserved:
            reserved.append(token)
    counts = Counter(tokens)
    for token in reserved:
        counts.pop(token, None)
    common = itertools.takewhile(lambda pair: pair[1] >= min_freq, counts.most_common())
    return {token: i for i, token in enumerate(reserved + [token for token, _ in common])}


# ---- whitespace


@equivalent("whitespace", of="WhitespaceTokenizer")
class ListOfWords:
    """The way back is a list, guarded against ids that are not places in it; made when it is needed."""

    def train(self, texts, min_freq=1, special_tokens=()):
        words = []
        for text in texts:
            words.extend(text.split())
        self.vocab = counts_by_hand(words, min_freq, special_tokens)

    def encode(self, text):
        ids = []
        for w in text.split():
            try:
                ids.append(self.vocab[w])
            except KeyError:
                ids.append(self.vocab[UNK])
        return ids

    def decode(self, ids):
        names = sorted(self.vocab, key=self.vocab.get)
        return " ".join(names[i] if 0 <= i < len(names) else names[0] for i in ids)


@equivalent("whitespace", of="WhitespaceTokenizer.train")
def joins_with_line_feeds(self, texts, min_freq=1, special_tokens=()):
    self.vocab = sorts_by_count_and_place("\n".join(texts).split(), min_freq, special_tokens)
    self.tokens = dict(map(reversed, self.vocab.items()))


@equivalent("whitespace", of="WhitespaceTokenizer.encode")
def finds_visible_runs(self, text):
    return [i or 0 for i in map(self.vocab.get, regex.findall(r"\S+", text))]


@equivalent("whitespace", of="WhitespaceTokenizer.decode")
def decodes_step_by_step(self, ids):
    text = ""
    for n, i in enumerate(ids):
        text += " " * (n > 0) + (self.tokens.get(i) or UNK)
    return text


# ---- pre_tokenize


@equivalent("pre_tokenize")
def gpt2s_own_spelling(text):
    return regex.findall(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""", text)


@equivalent("pre_tokenize")
def possessive(text):
    """No backtracking where none is needed; at the end of the text or all but the last character."""
    return regex.findall(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s", text)


@equivalent("pre_tokenize")
def match_by_match(text):
    pattern = regex.compile(
        r"(?P<tail>'(?:[sdmt]|ll|ve|re))|[ ]?(?:\p{L}+|\p{N}+|(?:(?!\s|\p{L}|\p{N}).)+)|\s+(?=\s|$)|\s", regex.S
    )
    pieces, at = [], 0
    while at < len(text):
        match = pattern.match(text, at)
        pieces.append(match[0])
        at = match.end()
    return pieces


@equivalent("pre_tokenize")
def finditer_verbose(text):
    alternatives = regex.finditer(
        r""" '[sdtm] | '(?:re|ve|ll)            # contractions
           | \ ?[[:alpha:]--\p{M}--\p{N}&&\p{L}]+  # words, by set arithmetic
           | \ ?\p{Number}+
           | \ ?[^\s\p{Letter}\p{Number}]+
           | \s+(?!\S) | \s+ """,
        text,
        flags=regex.X | regex.V1,
    )
    return [match.group() for match in alternatives]


@equivalent("pre_tokenize")
def cut_between_matches(text):
    return [
        p for p in regex.split(r"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", text) if p
    ]


@equivalent("pre_tokenize")
def scanner(text):
    """No pattern at all: the kinds of the characters decide."""

    def what(i):
        c = text[i]
        return (
            "white"
            if c.isspace()
            else "letter"
            if c.isalpha()
            else "number"
            if unicodedata.category(c) in N
            else "symbol"
        )

    N, pieces, i, end = {"Nd", "Nl", "No"}, [], 0, len(text)
    while i < end:
        if text[i] == "'" and text[i + 1 : i + 3] in ("ll", "ve", "re"):
            j = i + 3
        elif text[i] == "'" and text[i + 1 : i + 2] in set("sdmt"):
            j = i + 2
        else:
            j = i + 1
            first = what(i)
            if text[i] == " " and j < end and what(j) != "white":
                first = what(j)
            while j < end and what(j) == first:
                j += 1
            if first == "white" and j < end and j > i + 1:
                j -= 1
        pieces.append(text[i:j])
        i = j
    return pieces


@equivalent("pre_tokenize")
def groups_runs_then_moves_spaces(text):
    """Runs of one kind; then the last space of a white run goes to what follows; then contractions are found."""

    def what(c):
        return "S" if c.isspace() else k if (k := unicodedata.category(c)[0]) in "LN" else "O"

    runs = [[k, "".join(cs)] for k, cs in itertools.groupby(text, what)]
    for (k, run), following in itertools.pairwise(runs):
        if k == "S" and run.endswith(" "):
            following[1] = " " + following[1]
    pieces = []
    for n, (k, run) in enumerate(runs):
        moved = k == "S" and n + 1 < len(runs) and run.endswith(" ")
        if moved:
            run = run[:-1]
        if k == "S" and not moved and n + 1 < len(runs) and len(run) > 1:
            pieces += [run[:-1], run[-1]]
        elif k == "L" and pieces and pieces[-1] == "'" and (t := next((t for t in TAILS if run.startswith(t)), "")):
            pieces[-1] += t
            pieces += [run[len(t) :]] * (len(run) > len(t))
        elif run:
            pieces.append(run)
    return pieces


TAILS = ("s", "d", "m", "t", "ll", "ve", "re")


# ---- regex


@equivalent("regex", of="RegexTokenizer")
class OnTopOfAList:
    """Another inside: counts while it reads, a list for the way back, no dict of tokens."""

    def train(self, texts, min_freq=1, special_tokens=()):
        self.names = list(
            buckets_of_equals(itertools.chain.from_iterable(map(possessive, texts)), min_freq, special_tokens)
        )

    @property
    def vocab(self):
        return {name: i for i, name in enumerate(self.names)}

    def encode(self, text):
        vocab = defaultdict(int, self.vocab)
        return [vocab[piece] for piece in gpt2s_own_spelling(text)]

    def decode(self, ids):
        text = []
        for i in ids:
            text.append(self.names[i] if i in range(len(self.names)) else UNK)
        return "".join(text)


@equivalent("regex", of="RegexTokenizer.train")
def extends_a_list(self, texts, min_freq=1, special_tokens=()):
    pieces = []
    for text in texts:
        pieces += scanner(text)
    self.vocab = removes_the_reserved_first(pieces, min_freq, special_tokens)
    self.tokens = {self.vocab[token]: token for token in self.vocab}


@equivalent("regex", of="RegexTokenizer.encode")
def encodes_as_it_matches(self, text):
    return list(map(defaultdict(int, self.vocab).__getitem__, match_by_match(text)))


# ---- bytes


@equivalent("bytes", of="ByteTokenizer.encode")
def character_by_character(self, text):
    return [b for c in text for b in c.encode()]


@equivalent("bytes", of="ByteTokenizer.encode")
def through_bytearray(self, text):
    return [*bytearray(text, "utf-8")]


@equivalent("bytes", of="ByteTokenizer.decode")
def codec(self, ids):
    return codecs.decode(bytearray(ids), "utf8", "replace")


@equivalent("bytes", of="ByteTokenizer.decode")
def incremental(self, ids):
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return "".join(decoder.decode(bytes([i])) for i in ids) + decoder.decode(b"", final=True)


@equivalent("bytes", of="ByteTokenizer.decode")
def through_str(self, ids):
    return str(bytes(ids), "utf-8", "replace") if len(ids) else ""


@equivalent("bytes", of="ByteTokenizer.ready")
def asks_the_codec(self, ids):
    _, used = codecs.utf_8_decode(bytes(ids), "replace", False)
    return used


@equivalent("bytes", of="ByteTokenizer.ready")
def what_the_decoder_keeps(self, ids):
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(bytes(ids))
    return len(ids) - len(decoder.getstate()[0])


@equivalent("bytes", of="ByteTokenizer.ready")
def tries_shorter_and_shorter(self, ids):
    n = len(ids)
    while True:
        try:
            bytes(ids[:n]).decode()
            return n
        except UnicodeDecodeError:
            n -= 1


@equivalent("bytes", of="ByteTokenizer.ready")
def walks_from_the_start(self, ids):
    n = 0
    while n < len(ids):
        size = 1 if ids[n] < 0x80 else 2 if ids[n] < 0xE0 else 3 if ids[n] < 0xF0 else 4
        if n + size > len(ids):
            break
        n += size
    return n


@equivalent("bytes", of="ByteTokenizer.ready")
def drops_the_unreadable_end(self, ids):
    return len(bytes(ids).decode("utf-8", errors="ignore").encode("utf-8"))


# ---- coverage


@equivalent("coverage")
def set_for_each_size(train, test, sizes):
    order = [token for token, _ in Counter(train).most_common()]
    return [sum(map(set(order[:size]).__contains__, test)) / len(test) for size in sizes]


@equivalent("coverage")
def ranks_and_bisection(train, test, sizes):
    counts = Counter(train)
    rank = {token: i for i, token in enumerate(sorted(counts, key=lambda t: -counts[t]))}
    ranks = sorted(rank.get(token, math.inf) for token in test)
    return [bisect.bisect_left(ranks, size) / len(ranks) for size in sizes]


@equivalent("coverage")
def accumulates_shares(train, test, sizes):
    weight, total = Counter(test), len(test)
    shares = list(itertools.accumulate((weight[t] / total for t, _ in Counter(train).most_common()), initial=0.0))
    return [shares[size] if size < len(shares) else shares[-1] for size in sizes]
