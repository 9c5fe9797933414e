"""What lab 5.1 must do.  The same file judges lab.py, solution.py and every submission.

It runs outside the process that holds the lab: `lab.f(x)` sends copies and gets plain values back.  Words, counts and
texts are drawn from `random`.  The oracles are other algorithms: a scanner over Unicode categories for the words, Sennrich's
substitution in strings for training, a replay of all merges in their order for encoding, tiktoken for whole texts.
"""

import base64
import functools
import re
import sys
import tempfile
import unicodedata
from pathlib import Path

import tiktoken

from labkit.spec import check, task
from llmcore import assets

EOT = "<|endoftext|>"
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# ---- oracles

WHITE = set("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}
TAILS = ("'s", "'d", "'m", "'t", "'ll", "'ve", "'re")


def kind(c):
    """L letter, N number, S white space, O anything else."""
    return "S" if c in WHITE else k if (k := unicodedata.category(c)[0]) in "LN" else "O"


def cut(text):
    """GPT-2's words, one character at a time."""
    pieces, i = [], 0
    while i < len(text):
        tail = next((t for t in TAILS if text.startswith(t, i)), "")
        start = i + (text[i] == " " and i + 1 < len(text) and kind(text[i + 1]) != "S")
        j, k = start, kind(text[start])
        while j < len(text) and kind(text[j]) == k:
            j += 1
        if k == "S" and j < len(text) and j - i > 1:
            j -= 1
        pieces.append(tail or text[i:j])
        i += len(pieces[-1])
    return [piece.encode() for piece in pieces]


def words_of(texts):
    pieces = [piece for text in texts for piece in cut(text)]
    return {piece: pieces.count(piece) for piece in set(pieces)}


def merges_of(words, n):
    return _merges_of(tuple(words.items()), n)


@functools.lru_cache(maxsize=500)  # many versions of a lab are judged on the same numbers
def _merges_of(words, n):
    """Training as Sennrich's script does it: a word is a string of symbols with spaces between, a merge a substitution.

    Byte b is the letter chr(256 + b), so that no symbol is white space and letters compare as bytes do.
    """
    lines = {" ".join(chr(256 + b) for b in word): count for word, count in words}
    merges = []
    while len(merges) < n:
        counts = {}
        for line, count in lines.items():
            symbols = line.split()
            for i in range(len(symbols) - 1):
                counts[symbols[i], symbols[i + 1]] = counts.get((symbols[i], symbols[i + 1]), 0) + count
        if not counts:
            break
        left, right = sorted(counts, key=lambda pair: (counts[pair], pair))[-1]
        both = re.compile(rf"(?<!\S){re.escape(left)} {re.escape(right)}(?!\S)")
        lines = {both.sub(left + right, line): count for line, count in lines.items()}
        merges.append([bytes(ord(c) - 256 for c in symbol) for symbol in (left, right)])
    return merges


def ranks_of(merges, first=range(256)):
    """Token → id; `first` says in which order the single bytes come."""
    tokens = [*(bytes([b]) for b in first), *(left + right for left, right in merges)]
    return {token: i for i, token in enumerate(tokens)}


def replay(word, ranks):
    """Encoding as training did it: each token in the order of the ranks, merged wherever two neighbours make it."""
    parts = [word[i : i + 1] for i in range(len(word))]
    for token in sorted((t for t in ranks if len(t) > 1 and t in word), key=ranks.__getitem__):
        i = 0
        while i < len(parts) - 1:
            if parts[i] + parts[i + 1] == token:
                parts[i : i + 2] = [token]
            i += 1
    return [ranks[part] for part in parts]


def reference(ranks):
    """tiktoken with these ranks."""
    return tiktoken.Encoding("lab", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={EOT: len(ranks)})


@functools.cache
def gpt2():
    """GPT-2's ranks, where they have been fetched."""
    try:
        lines = [line.split() for line in assets.path("gpt2").read_text().splitlines()]
    except assets.AssetMissing:
        return None
    return {base64.b64decode(token): int(rank) for token, rank in lines}


# ---- words and texts

SCRIPTS = ["abcde", "lower", "áéíóú", "жизнь", "自由人生", "🎉👍🚀"]


def word(random, letters="abcde", low=3, high=8):
    return "".join(random.choice(letters) for _ in range(random.randint(low, high)))


def counted(random, n, letters="abc", low=2, high=9):
    """n different words over a few letters, each with a count: many pairs, and many equal counts."""
    found = {}
    while len(found) < n:
        found[word(random, letters, low, high).encode()] = random.randint(1, 9)
    return found


def cut_in_tokens(random, n):
    """Words as tuples of tokens of one to three letters, each with a count."""
    found = {}
    while len(found) < n:
        letters = word(random, "ab", 4, 9).encode()
        tokens = []
        while letters:
            k = random.randint(1, 3)
            tokens.append(letters[:k])
            letters = letters[k:]
        found[tuple(tokens)] = random.randint(2, 9)
    return found


def text(random, n=25):
    """Any text: words of several scripts, contractions, numbers, symbols, all kinds of white space."""
    parts = []
    for _ in range(n):
        a = word(random, random.choice(SCRIPTS), 1, 6)
        parts.append(
            random.choice(
                [a, a, a, a.capitalize(), a + random.choice(TAILS), str(random.randint(0, 99999)), "—", "?!", "<|"]
            )
        )
        parts.append(random.choice(["", " ", " ", " ", "  ", "\n", "\n\n", "\t", " \n ", "\u3000"]))
    return "".join(parts)


def trained(random, n_merges=40, shuffle=True):
    """Ranks as training would give them; the single bytes in an order of their own, as in GPT-2."""
    first = random.sample(range(256), 256) if shuffle else range(256)
    return ranks_of(merges_of(words_of([text(random, 60) for _ in range(2)]), n_merges), first)


def some_of_gpt2(random):
    """GPT-2's vocabulary as it was after its first few hundred merges, or one trained here."""
    ranks = gpt2()
    n = random.randint(400, 700)
    return trained(random, 80) if ranks is None else {token: i for token, i in ranks.items() if i < n}


ENGLISH = [
    "the", "and", "there", "when", "interesting", "reading", "in", "other", "you'll", "Don't", "hereon", "where", "this",
    "that", "international", "theatre", "1848", "1999", "she", "hand", "winter", "on", "mother",
]  # fmt: skip


def english(random, n=40):
    return "".join(random.choice(ENGLISH) + random.choice([" ", " ", ", ", "  ", "\n", ". "]) for _ in range(n))


# ---- count_words


@task("count_words")
def test_words_with_the_space_before_them(lab, random):
    a, b = word(random), word(random, "xyz")
    texts = [f"{a} {a} {b}", f"{b} {a}"]
    check.equal(lab.count_words(texts), words_of(texts), why="the space belongs to the word behind it")


@task("count_words")
def test_words_are_bytes(lab, random):
    for letters in random.sample(SCRIPTS[2:], 3):
        texts = [f"{word(random, letters)} {word(random, letters)}"]
        check.equal(lab.count_words(texts), words_of(texts), why="words are UTF-8 bytes")


@task("count_words")
def test_words_of_many_texts(lab, random):
    for _ in range(3):
        texts = [text(random), "", text(random), text(random, 3)]
        check.equal(lab.count_words(texts), words_of(texts), why="all texts together, each cut by itself")
    check.equal(lab.count_words([]), {}, why="no texts")


@task("count_words")
def test_no_word_spans_two_texts(lab, random):
    a, b, c = (word(random) for _ in "abc")
    texts = [f"{a} ", f" {b}", c, f"{a}\n\n", f"\n{b}"]
    check.equal(lab.count_words(texts), words_of(texts), why="texts that begin or end with white space")


@task("count_words")
def test_words_of_a_generator(lab, random):
    texts = [text(random) for _ in range(3)]
    check.equal(lab.probe(count_from_generator, texts), words_of(texts), why="a generator can be read only once")


# ---- count_pairs


def pairs_of(words):
    """All pairs written out one by one, then counted."""
    every = []
    for tokens, n in words.items():
        every += [(tokens[i - 1], tokens[i]) for i in range(1, len(tokens))] * n
    return {pair: every.count(pair) for pair in set(every)}


@task("count_pairs")
def test_pairs_of_one_word(lab, random):
    tokens = tuple(bytes([b]) for b in random.sample(range(97, 123), random.randint(4, 7)))
    n = random.randint(2, 9)
    check.equal(lab.count_pairs({tokens: n}), pairs_of({tokens: n}), why="each pair of neighbours, n times")


@task("count_pairs")
def test_pairs_of_many_words(lab, random):
    for n in (5, 12):
        words = cut_in_tokens(random, n)
        check.equal(lab.count_pairs(words), pairs_of(words), why=f"{n} words of tokens of different lengths")


@task("count_pairs")
def test_pairs_may_overlap(lab, random):
    a = bytes([random.randint(97, 122)])
    for k in (2, 3, random.randint(4, 7)):
        check.equal(lab.count_pairs({(a,) * k: 3}), {(a, a): 3 * (k - 1)}, why=f"{k} times the same token")


@task("count_pairs")
def test_a_single_token_has_no_pair(lab, random):
    a, b = word(random).encode(), word(random, "xyz").encode()
    check.equal(lab.count_pairs({(a,): 4, (b, a): 2, (b,): 3}), {(b, a): 2}, why="no pair spans two words")
    check.equal(lab.count_pairs({(a,): 4, (b,): 7}), {}, why="every word is one token")
    check.equal(lab.count_pairs({}), {}, why="no words")


# ---- best_pair


@task("best_pair")
def test_the_most_common_pair(lab, random):
    for _ in range(3):
        pairs = {(word(random).encode(), word(random).encode()): n for n in random.sample(range(2, 99), 7)}
        check.equal(lab.best_pair(pairs), max((n, p) for p, n in pairs.items())[1], why="all counts differ")


@task("best_pair")
def test_of_equals_the_greatest(lab, random):
    for size in (3, 5, 8):
        equals = [(word(random, "abc", 1, 2).encode(), word(random, "abc", 1, 2).encode()) for _ in range(size)]
        pairs = dict.fromkeys(random.sample(equals, size), 7) | {(b"zz", b"z"): 6, (b"", b"a"): 5}
        check.equal(lab.best_pair(pairs), sorted({*equals})[-1], why=f"{size} pairs with the same count")


@task("best_pair")
def test_left_is_compared_before_right(lab, random):
    a = word(random).encode()
    for pairs in ({(a, b"zz"): 4, (a + b"a", b"a"): 4}, {(a + b"a", b"a"): 4, (a, b"zz"): 4}):
        check.equal(lab.best_pair(pairs), [a + b"a", b"a"], why="a token is less than what it begins")
    for pairs in ({(a, b"y"): 4, (a, b"z"): 4}, {(a, b"z"): 4, (a, b"y"): 4}):
        check.equal(lab.best_pair(pairs), [a, b"z"], why="the left tokens are equal, the right ones decide")


@task("best_pair")
def test_bytes_are_numbers_from_0_to_255(lab, random):
    high = bytes([random.randint(128, 255)])
    pairs = {(high, b"a"): 3, (b"z", high): 3, (b"Z", b"z"): 3}
    check.equal(lab.best_pair(pairs), [high, b"a"], why="bytes above 127 come last, capitals before small letters")


# ---- merge


def merged(tokens, pair):
    """By substitution in a string: a letter for each different token, a new letter for the pair."""
    letter = {token: chr(0x4E00 + i) for i, token in enumerate(dict.fromkeys([*tokens, *pair]))}
    token = {c: t for t, c in letter.items()} | {"+": b"".join(pair)}
    line = "".join(letter[t] for t in tokens).replace(letter[pair[0]] + letter[pair[1]], "+")
    return [token[c] for c in line]


@task("merge")
def test_merge_one(lab, random):
    a, b, c, d = random.sample([bytes([b]) for b in range(97, 123)], 4)
    for tokens in ((a, b), (a, b, c), (c, a, b), (c, a, b, d), (c, a, d, b)):
        check.equal(lab.merge(tokens, (a, b)), merged(tokens, (a, b)), why="the pair at the front, in the middle, …")


@task("merge")
def test_merge_every_occurrence(lab, random):
    for _ in range(4):
        tokens = tuple(random.choice([b"a", b"b", b"ab", b"c"]) for _ in range(random.randint(8, 20)))
        for pair in ((b"a", b"b"), (b"ab", b"c"), (b"b", b"a")):
            check.equal(lab.merge(tokens, pair), merged(tokens, pair), why="all of them, whatever stands around")


@task("merge")
def test_merge_from_left_to_right(lab, random):
    a, b = (word(random, letters, 1, 3).encode() for letters in ("xyz", "uvw"))
    for k in (2, 3, 4, 5, random.randint(6, 9)):
        for tokens in ((a,) * k, (b, *(a,) * k), (*(a,) * k, b)):
            check.equal(lab.merge(tokens, (a, a)), merged(tokens, (a, a)), why=f"{k} times the same token in a row")


@task("merge")
def test_merge_looks_at_both_tokens(lab, random):
    a, b, c = (word(random, letters, 1, 2).encode() for letters in ("xyz", "uvw", "rst"))
    tokens = (a, b + c, a + b, c, a, b, c)
    check.equal(lab.merge(tokens, (a + b, c)), [a, b + c, a + b + c, a, b, c], why="the same bytes, another pair")
    tokens = (c + a, b, a, b + c, a, b)
    check.equal(lab.merge(tokens, (a, b)), [c + a, b, a, b + c, a + b], why="tokens that end or begin like the pair's")


@task("merge")
def test_merge_nothing(lab, random):
    a, b = (word(random, letters).encode() for letters in ("xyz", "uvw"))
    for tokens in ((), (a,), (b,), (b, a), (a, a, a)):
        check.equal(lab.merge(tokens, (a, b)), list(tokens), why="the pair is not there")


# ---- learn_merges


def same_merges(lab, name, words, n, why):
    check.equal(getattr(lab, name)(words, n), merges_of(words, n), why=why)


@task("learn_merges")
def test_first_merge(lab, random):
    for n in (2, 6):
        same_merges(lab, "learn_merges", counted(random, n), 1, why=f"one merge of {n} words")


@task("learn_merges")
def test_merges_build_on_merges(lab, random):
    for letters, n in (("abc", 7), ("low", 12), ("etaoin", 25)):
        words = counted(random, n, letters)
        same_merges(lab, "learn_merges", words, random.randint(8, 15), why=f"{n} words of the letters {letters}")


@task("learn_merges")
def test_counts_decide(lab, random):
    """A pair in one common word beats a pair in many rare ones."""
    a, b = word(random, "xyz", 4, 6).encode(), word(random, "uvw", 4, 6).encode()
    words = {b + bytes([c]): random.randint(1, 3) for c in range(97, 102)} | {a: 50}
    same_merges(lab, "learn_merges", words, 3, why=f"{a} occurs 50 times, each other word at most 3 times")


@task("learn_merges")
def test_bytes_not_characters(lab, random):
    words = {**counted(random, 5, random.choice(SCRIPTS[2:])), bytes([0xE2, 0x80, 0xFF, 0x00]): 4}
    same_merges(lab, "learn_merges", words, random.randint(5, 9), why="characters of several bytes, and no characters")


@task("learn_merges")
def test_until_no_pair_is_left(lab, random):
    for k in (1, 2, 4):
        words = counted(random, k, "ab", 1, 4)
        same_merges(lab, "learn_merges", words, 50, why="more merges than there are pairs")
    once = dict.fromkeys(counted(random, 2, "abcdefgh", 4, 6), 1)
    same_merges(lab, "learn_merges", once, 50, why="every word occurs once")
    same_merges(lab, "learn_merges", {b"a": 3}, 5, why="one word of one byte")
    same_merges(lab, "learn_merges", {}, 5, why="no words")
    same_merges(lab, "learn_merges", counted(random, 5), 0, why="no merges wanted")


# ---- learn_merges_faster


@task("learn_merges_faster")
def test_the_same_merges(lab, random):
    for letters, n in (("ab", 6), ("abc", 12), ("etaoin", 30)):
        words = counted(random, n, letters)
        same_merges(lab, "learn_merges_faster", words, random.randint(12, 25), why=f"{n} words of {letters}")


@task("learn_merges_faster")
def test_a_pair_twice_in_a_word(lab, random):
    a, b, c = (bytes([x]) for x in random.sample(range(97, 123), 3))
    for words in ({a * 7: 3, a * 4 + b: 2}, {(a + b) * 3: 4, c + a + b: 3, (b + a) * 2: 2}, {(a + b + c) * 4: 2}):
        same_merges(lab, "learn_merges_faster", words, 6, why="words that hold a pair more than once")


@task("learn_merges_faster")
def test_the_same_to_the_end(lab, random):
    for letters in ("ab", "abcd", SCRIPTS[4]):
        same_merges(lab, "learn_merges_faster", counted(random, 6, letters, 1, 6), 200, why="until no pair is left")
    same_merges(lab, "learn_merges_faster", {}, 3, why="no words")
    same_merges(lab, "learn_merges_faster", counted(random, 5), 0, why="no merges wanted")


@task("learn_merges_faster")
def test_the_same_on_a_real_text(lab, random):
    words = words_of([text(random, 80), english(random, 80)])
    same_merges(lab, "learn_merges_faster", words, 60, why="a text of several scripts")


@task("learn_merges_faster")
def test_other_words_are_left_alone(lab, random):
    """Three common words are merged among 20 words, then among 300, that hold none of their pairs."""
    common = {w: n + 10**6 for w, n in counted(random, 3, "abcdefgh", 7, 9).items()}
    rest = counted(random, 300, "xyz", 6, 9)
    few = dict(list(rest.items())[:20])
    steps = [lab.probe(work, common | others, n) for others in (few, rest) for n in (2, 6)]
    check.less(
        (steps[3] - steps[2]) / max(1, steps[1] - steps[0]), 2,
        why="steps of four merges among 300 other words, divided by those among 20",
    )  # fmt: skip


@task("learn_merges_faster")
def test_words_stay_as_they_are(lab, random):
    check.equal(lab.probe(changed, counted(random, 6), 5), False, why="your function changed the caller's words")


# ---- encode_word


def same_ids(lab, data, ranks, why):
    check.equal(lab.encode_word(data, ranks), replay(data, ranks), why=why)


@task("encode_word")
def test_lowest_rank_first(lab, random):
    a, b, c, d, e = (bytes([x]) for x in random.sample(range(97, 123), 5))
    ranks = ranks_of([(c, d), (b, c), (a, b), (b + c, d), (a + b, c + d)], random.sample(range(256), 256))
    for data in (a + b + c, b + c + d, a + b + c + d, a + b + c + a + b + c + d, b + c + b):
        same_ids(lab, data, ranks, why="not from the left, and not the longest token: the pair learned first")
    ranks = ranks_of([(b, c), (d, e), (b + c, d + e), (a, b + c + d + e), (a, b)], random.sample(range(256), 256))
    for data in (a + b + c + d + e, a + b, a + b + c + d):
        same_ids(lab, data, ranks, why="a long token that is reached from the middle of the word")
    ranks = ranks_of([(a, b), (a + b, c), (c, d), (d, e)], random.sample(range(256), 256))
    for data in (a + b + c + d, a + b + c + d + e):
        same_ids(lab, data, ranks, why="a longer token of lower rank, a shorter one of higher rank")


@task("encode_word")
def test_words_of_a_trained_vocabulary(lab, random):
    for n in (15, 60):
        words = counted(random, 20, "abcd", 4, 12)
        ranks = ranks_of(merges_of(words, n), random.sample(range(256), 256))
        for data in [*random.sample(sorted(words), 2), *counted(random, 5, "abcdx", 6, 15)]:
            same_ids(lab, data, ranks, why=f"{n} merges, words seen and unseen")


@task("encode_word")
def test_the_leftmost_of_equals(lab, random):
    a, b = (bytes([x]) for x in random.sample(range(97, 123), 2))
    ranks = ranks_of([(a, a), (a + a, b), (b, a)], random.sample(range(256), 256))
    for k in (3, 5, random.randint(6, 12)):
        for data in (a * k, a * k + b, b + a * k):
            same_ids(lab, data, ranks, why=f"{k} times the same byte in a row")


@task("encode_word")
def test_no_merges(lab, random):
    ranks = ranks_of([(b"x", b"y")], random.sample(range(256), 256))
    data = bytes(random.sample(range(128, 256), 9))
    same_ids(lab, data, ranks, why="no pair makes a token: the ids of the bytes, as the ranks have them")
    same_ids(lab, data[:1], ranks, why="one byte")
    same_ids(lab, b"", ranks, why="no byte")


@task("encode_word")
def test_gpt2s_words(lab, random):
    ranks = some_of_gpt2(random)
    for data in random.sample([w.encode() for w in ENGLISH], 5):
        same_ids(lab, b" " + data, ranks, why="GPT-2's own vocabulary, after its first merges")


@task("encode_word")
def test_a_long_word(lab, random):
    words = counted(random, 20, "abcd", 4, 12)
    ranks = ranks_of(merges_of(words, 30))
    data = word(random, "abcd", 150, 200).encode()
    same_ids(lab, data, ranks, why=f"a word of {len(data)} bytes")


# ---- train


@task("train")
def test_trained_ranks(lab, random):
    for n in (3, 17):
        texts = [text(random), english(random, 20), english(random, 20).upper()]
        tok = lab.BPE.train(texts, 257 + n)
        check.equal(tok.ranks, ranks_of(merges_of(words_of(texts), n)), why=f"256 bytes, then {n} merges")
        check.equal([tok.vocab_size, tok.eot], [257 + n, 256 + n], why="vocab_size, and eot as the last id")


@task("train")
def test_the_smallest_vocabulary(lab, random):
    texts = [text(random, 5)]
    tok = lab.BPE.train(texts, 257)
    check.equal(tok.ranks, ranks_of([]), why="no merges: all 256 bytes, seen or not")
    for size in (random.randint(2, 250), 256):
        check.raises(ValueError, lab.BPE.train, texts, size, why="no room for 256 bytes and <|endoftext|>")


@task("train")
def test_fewer_merges_than_wanted(lab, random):
    texts = [f"{word(random)} {word(random, 'xy')}"]
    merges = merges_of(words_of(texts), 10**6)
    tok = lab.BPE.train(texts, 2000)
    check.equal(tok.vocab_size, 257 + len(merges), why="no pair is left: the vocabulary is smaller")
    check.equal(tok.ranks, ranks_of(merges), why="no pair is left")


@task("train")
def test_texts_are_apart(lab, random):
    a, b = word(random, "xy", 2, 3), word(random, "uv", 2, 3)
    texts = [a, b] * 9 + [f"{a} ", f"\n{b}"]
    tok = lab.BPE.train(texts, 270)
    check.equal(tok.ranks, ranks_of(merges_of(words_of(texts), 13)), why="no token spans two texts")


# ---- encode


@task("encode")
def test_ids_of_texts(lab, random):
    for ranks in (trained(random), some_of_gpt2(random)):
        tok, want = lab.BPE(ranks), reference(ranks)
        for words in (english(random), text(random), text(random, 40)):
            check.equal(tok.encode(words), want.encode_ordinary(words), why=f"{len(ranks)} ranks, as tiktoken encodes")
        check.equal(tok.encode(""), [], why="no text")


@task("encode")
def test_a_text_encoded_twice(lab, random):
    ranks = trained(random)
    tok, words = lab.BPE(ranks), text(random)
    for _ in range(3):
        check.equal(tok.encode(words), reference(ranks).encode_ordinary(words), why="the same text again")


@task("encode")
def test_two_vocabularies_side_by_side(lab, random):
    one, two = trained(random), trained(random)
    words = text(random)
    tokenizers = [(lab.BPE(ranks), reference(ranks)) for ranks in (one, two)]
    for tok, want in tokenizers:
        check.equal(
            tok.encode(words), want.encode_ordinary(words), why="another tokenizer encoded the same text before"
        )


def documents(random):
    """Texts with the special token between them, at both ends, twice in a row, with and without white space beside it."""
    a, b, c = (text(random, 4) for _ in "abc")
    return [f"{a}x{EOT}{b}", f"{a}  {EOT} {b}", f"{EOT}{a}{EOT}{EOT}{b}{EOT}", f"{a} \n{EOT}\n\n{c}", f"{a}? {EOT}!{b}"]


@task("encode")
def test_special_text_is_text(lab, random):
    ranks = trained(random)
    tok = lab.BPE(ranks)
    for words in documents(random):
        check.equal(tok.encode(words), reference(ranks).encode_ordinary(words), why=f"{EOT} typed by a user is text")


@task("encode")
def test_special_text_where_it_is_allowed(lab, random):
    ranks = some_of_gpt2(random)
    tok = lab.BPE(ranks)
    for words in documents(random):
        want = reference(ranks).encode(words, allowed_special={EOT})
        check.equal(tok.encode(words, {EOT}), want, why=f"allowed_special={{{EOT!r}}}")
    words = documents(random)[0]
    want = reference(ranks).encode(words, allowed_special={EOT})
    check.equal(tok.encode(words, ["<|pad|>", EOT]), want, why="allowed_special is a list with another name in it")
    words = f"{text(random, 3)}{EOT[:-1]} {EOT[1:]}"
    check.equal(tok.encode(words, {EOT}), reference(ranks).encode_ordinary(words), why="only nearly the special token")


@task("encode")
def test_only_what_is_allowed(lab, random):
    ranks = trained(random)
    words = documents(random)[0]
    want = reference(ranks).encode_ordinary(words)
    check.equal(lab.BPE(ranks).encode(words, {"<|pad|>"}), want, why="another special token is allowed, not this one")


@task("encode")
def test_a_word_is_encoded_once(lab, random):
    words = [word(random) for _ in range(12)]
    repeated = " ".join(random.choices(words, k=100))
    calls, different = lab.probe(calls_of_encode_word, trained(random), repeated), len(set(cut(repeated)))
    check.less(calls, different + 1, why=f"calls of encode_word for twice the same 100 words, {different} different")


# ---- decode


@task("decode")
def test_the_bytes_of_tokens(lab, random):
    ranks = trained(random)
    tok = lab.BPE(ranks)
    tokens = [t for t in ranks if len(t) > 1]
    for _ in range(3):
        some = random.choices(tokens, k=6)
        want = b"".join(some).decode("utf-8", errors="replace")
        check.equal(tok.decode([ranks[t] for t in some]), want, why="the tokens one after the other")
    check.equal(tok.decode([]), "", why="no ids")


@task("decode")
def test_a_character_in_several_tokens(lab, random):
    for letters in SCRIPTS[2:]:
        words = word(random, letters)
        ranks = ranks_of([(words.encode()[:1], words.encode()[1:2])], random.sample(range(256), 256))
        check.equal(lab.BPE(ranks).decode(replay(words.encode(), ranks)), words, why="one byte or two to a token")


@task("decode")
def test_what_is_no_utf8(lab, random):
    ranks = trained(random)
    tok = lab.BPE(ranks)
    for data in (b"a" + "é".encode()[:1] + b"b", "自".encode()[:2], bytes([random.randint(0xF8, 0xFF)]) + b"z"):
        ids = [ranks[data[i : i + 1]] for i in range(len(data))]
        check.equal(tok.decode(ids), data.decode("utf-8", errors="replace"), why="broken bytes show as U+FFFD")


@task("decode")
def test_the_special_token_and_no_token(lab, random):
    ranks = trained(random)
    tok = lab.BPE(ranks)
    a = ranks[b"a"]
    check.equal(tok.decode([a, len(ranks), a]), f"a{EOT}a", why="eot reads <|endoftext|>")
    for wrong in (len(ranks) + 1, -1, -random.randint(2, 50), 10**6):
        check.raises(LookupError, tok.decode, [a, wrong], why=f"no token has the id {wrong}")


# ---- files


def lines_of(ranks):
    return "".join(f"{base64.b64encode(t).decode()} {i}\n" for t, i in sorted(ranks.items(), key=lambda row: row[1]))


@task("files")
def test_a_saved_file(lab, random):
    for shuffle in (False, True):
        ranks = trained(random, 30, shuffle)
        long = bytes(random.choices(range(256), k=70))  # base64 of more than 57 bytes is where some wrap the line
        ranks = {**ranks, long: len(ranks)}
        first, again = lab.probe(saved, dict(random.sample(list(ranks.items()), len(ranks))))
        check.equal(first, lines_of(ranks), why="base64 of the bytes, a space, the id; in the order of the ids")
        check.equal(again, lines_of(ranks), why="saved a second time, over the first")


@task("files")
def test_a_loaded_file(lab, random):
    ranks = trained(random)
    lines = lines_of(ranks).splitlines(keepends=True)
    words = text(random)
    for order in (lines, random.sample(lines, len(lines))):
        tok = lab.probe(loaded, "".join(order))
        check.equal([tok.vocab_size, tok.eot], [len(ranks) + 1, len(ranks)], why="vocab_size and eot after loading")
        check.equal(tok.encode(words), reference(ranks).encode_ordinary(words), why="ids after loading")


@task("files")
def test_saved_and_loaded(lab, random):
    ranks, words = trained(random), text(random) + EOT
    got = lab.probe(there_and_back, ranks, words)
    want = reference(ranks).encode(words, allowed_special={EOT})
    check.equal(got, [len(ranks) + 1, want, words], why="vocab_size, ids and text after save, load, save, load")


@task("files")
def test_gpt2_itself(lab, random):
    """The file that OpenAI published, and tiktoken's ids; without it, one in its format."""
    ranks = gpt2() or trained(random, 80)
    tok = lab.probe(loaded, lines_of(ranks))
    check.equal([tok.vocab_size, tok.eot], [len(ranks) + 1, len(ranks)], why="50,257 ids, <|endoftext|> is 50256")
    for words in (english(random), text(random, 40), *documents(random)[:2]):
        want = full_reference().encode(words, allowed_special={EOT}) if gpt2() else None
        want = want or reference(ranks).encode(words, allowed_special={EOT})
        check.equal(tok.encode(words, {EOT}), want, why="the ids that tiktoken gives")


@functools.cache
def full_reference():
    return reference(gpt2())


# ---- probes: they run beside the lab


def loaded(lab, lines):
    """BPE.load on a file with these lines, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.tiktoken"
        path.write_text(lines, encoding="ascii")
        return lab.BPE.load(str(path))


def count_from_generator(lab, texts):
    return dict(lab.count_words(text for text in texts))


def work(lab, words, n_merges):
    """How many instructions Python executes to learn the merges."""
    lab.learn_merges_faster({b"ab": 2}, 1)  # what is done only once does not count
    steps = 0

    def trace(frame, event, _):
        nonlocal steps
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        lab.learn_merges_faster(words, n_merges)
    finally:
        sys.settrace(before)
    return steps


def changed(lab, words, n_merges):
    before = dict(words)
    lab.learn_merges_faster(words, n_merges)
    return list(words.items()) != list(before.items())


def calls_of_encode_word(lab, ranks, words):
    calls, original = [], lab.encode_word

    def counted_call(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    lab.encode_word = counted_call
    try:
        tok = lab.BPE(ranks)
        tok.encode(words)
        tok.encode(words)
    finally:
        lab.encode_word = original
    return len(calls)


def saved(lab, ranks):
    tok = lab.BPE(ranks)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.tiktoken"
        tok.save(path)
        first = path.read_bytes().decode("latin-1")
        tok.save(str(path))
        return [first, path.read_bytes().decode("latin-1")]


def there_and_back(lab, ranks, words):
    tok = lab.BPE(ranks)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("once", "twice"):
            tok.save(Path(folder) / name)
            tok = lab.BPE.load(Path(folder) / name)
    ids = tok.encode(words, {"<|endoftext|>"})
    return [tok.vocab_size, ids, tok.decode(ids)]
