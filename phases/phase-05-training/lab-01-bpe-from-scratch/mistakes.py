"""What people really get wrong in lab 5.1.  Each replaces one function; its task's tests catch it."""

import base64
import binascii
import heapq
import math
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import regex

from labkit.spec import alike, mistake

EOT = "<|endoftext|>"
PATTERN = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

# ---- count_words


@mistake("count_words", says="The texts are joined before they are cut: the end of one and the start of the next mix.")
def joins_the_texts(texts):
    return _words(["".join(texts)])


@mistake("count_words", says="The words are strings; merges work on their UTF-8 bytes: encode each word.")
def words_are_strings(texts):
    return Counter(word for text in texts for word in PATTERN.findall(text))


@mistake("count_words", says="split() drops all white space: the space belongs to the word behind it. Use PATTERN.")
def splits_at_white_space(texts):
    return Counter(word.encode() for text in texts for word in text.split())


@alike("splits_at_white_space")
def strips_each_piece(texts):
    counts = {}
    for text in texts:
        for word in regex.findall(r"\S+", text):
            counts[word.encode("utf-8")] = counts.get(word.encode("utf-8"), 0) + 1
    return counts


@mistake("count_words", says="`texts` is read twice; a generator is empty the second time. Count in one pass.")
def reads_the_texts_twice(texts):
    kinds = {word for text in texts for word in PATTERN.findall(text)}
    counts = Counter(word for text in texts for word in PATTERN.findall(text))
    return {word.encode(): counts[word] for word in kinds if counts[word]}


@mistake("count_words", says="A word counts once for each text that has it, not as often as it occurs.")
def counts_texts_not_words(texts):
    return Counter(word.encode() for text in texts for word in set(PATTERN.findall(text)))


# ---- count_pairs


@mistake("count_pairs", says="A pair counts once for each word, however often the word occurs: add its count, not 1.")
def ignores_the_counts(words):
    return Counter(pair for word in words for pair in pairwise(word))


@alike("ignores_the_counts")
def adds_one(words):
    pairs = {}
    for word in words:
        for i in range(len(word) - 1):
            pairs[word[i], word[i + 1]] = pairs.get((word[i], word[i + 1]), 0) + 1
    return pairs


@mistake(
    "count_pairs", says="A pair that stands twice in a word counts once: a set of pairs forgets how many there are."
)
def each_pair_once_a_word(words):
    pairs = Counter()
    for word, n in words.items():
        for pair in set(pairwise(word)):
            pairs[pair] += n
    return pairs


@mistake("count_pairs", says="The count is overwritten by that of the last word that has the pair: use +=.")
def overwrites_the_count(words):
    pairs = {}
    for word, n in words.items():
        for pair in pairwise(word):
            pairs[pair] = n
    return pairs


@mistake("count_pairs", says="Pairs do not overlap here: three times `a` in a row are two pairs, not one.")
def pairs_do_not_overlap(words):
    pairs = Counter()
    for word, n in words.items():
        before = None
        for pair in pairwise(word):
            if pair == before:
                before = None  # its left token is taken
                continue
            pairs[pair] += n
            before = pair if pair[0] == pair[1] else None
    return pairs


@mistake("count_pairs", says="The last pair of each word is missed: a word of n tokens has n - 1 pairs.")
def misses_the_last_pair(words):
    pairs = Counter()
    for word, n in words.items():
        for i in range(len(word) - 2):
            pairs[word[i], word[i + 1]] += n
    return pairs


@mistake("count_pairs", says="Pairs span words: the last token of one is paired with the first of the next.")
def pairs_span_words(words):
    tokens = [(token, n) for word, n in words.items() for token in word]
    pairs = Counter()
    for (left, n), (right, _) in pairwise(tokens):
        pairs[left, right] += n
    return pairs


# ---- best_pair


@mistake("best_pair", says="Of equals the first in the dict is taken; it has to be the greatest, whatever the order.")
def of_equals_the_first(pairs):
    return max(pairs, key=pairs.get)


@alike("of_equals_the_first")
def most_common(pairs):
    return Counter(pairs).most_common(1)[0][0]


@mistake("best_pair", says="Of equals the smallest is taken; it has to be the greatest.")
def of_equals_the_smallest(pairs):
    return min(pairs, key=lambda pair: (-pairs[pair], pair))


@alike("of_equals_the_smallest")
def sorted_by_falling_count(pairs):
    return sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[0][0]


@mistake("best_pair", says="Equals are compared by their joined bytes: (left, right) are compared, left first.")
def compares_the_joined(pairs):
    return max(pairs, key=lambda pair: (pairs[pair], pair[0] + pair[1]))


@mistake("best_pair", says="Of equals only `left` is compared; where the left tokens are equal too, `right` decides.")
def only_left_is_compared(pairs):
    return max(pairs, key=lambda pair: (pairs[pair], pair[0]))


@mistake("best_pair", says="It returns the pair together with its count; only the pair is wanted.")
def pair_and_count(pairs):
    return max(pairs.items(), key=lambda item: (item[1], item[0]))


# ---- merge


@mistake("merge", says="A token takes part in two merges: go on by two after a merge. `aaa` gives `aa a`, not `aa aa`.")
def token_merged_twice(word, pair):
    merged, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 1 if word[i + 1 : i + 3] == pair else 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@mistake("merge", says="Merged from right to left: `aaa` has to become `aa a`.")
def from_right_to_left(word, pair):
    merged, i = [], len(word)
    while i > 0:
        if i > 1 and word[i - 2 : i] == pair:
            merged.insert(0, pair[0] + pair[1])
            i -= 2
        else:
            merged.insert(0, word[i - 1])
            i -= 1
    return tuple(merged)


@mistake("merge", says="Only the first occurrence is merged.")
def only_the_first(word, pair):
    for i in range(len(word) - 1):
        if word[i : i + 2] == pair:
            return (*word[:i], pair[0] + pair[1], *word[i + 2 :])
    return word


@mistake("merge", says="The last token is lost when it is not part of a merge.")
def last_token_lost(word, pair):
    merged, i = [], 0
    while i < len(word) - 1:
        if word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@alike("last_token_lost")
def last_token_never_looked_at(word, pair):
    out, skip = (), False
    for left, right in pairwise(word):
        if skip:
            skip = False
        elif (left, right) == pair:
            out, skip = (*out, left + right), True
        else:
            out = (*out, left)
    return out


@mistake("merge", says="A pair at the very end of the word is not merged: the loop stops one place too early.")
def not_at_the_end(word, pair):
    merged, i = [], 0
    while i < len(word):
        if i < len(word) - 2 and word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@mistake("merge", says="The joined bytes are compared, not the two tokens: (a, bc) is not the pair (ab, c).")
def compares_joined_bytes(word, pair):
    merged, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and word[i] + word[i + 1] == pair[0] + pair[1]:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


@mistake(
    "merge", says="Replacing in joined text also finds the end of one token and the start of the next: `a b` in `ca b`."
)
def replaces_in_the_joined_text(word, pair):
    return tuple(b" ".join(word).replace(b" ".join(pair), b"".join(pair)).split(b" "))


@mistake("merge", says="The pair stays two tokens in a tuple of its own; its bytes have to become one token.")
def nested(word, pair):
    merged, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            merged.append(pair)
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


# ---- learn_merges


@mistake("learn_merges", says="The pairs are counted only once, at the beginning: count anew after each merge.")
def counts_once(words, n_merges):
    pairs = _pairs(_cut(words))
    return sorted(pairs, key=lambda pair: (pairs[pair], pair), reverse=True)[:n_merges]


@mistake(
    "learn_merges", says="The merged words are thrown away: every round merges in the words as they were at first."
)
def forgets_the_merged_words(words, n_merges):
    cut, merges = _cut(words), []
    for _ in range(n_merges):
        if pairs := _pairs(cut):
            merges.append(_best(pairs))
    return merges


@mistake("learn_merges", says="It begins with characters; it has to begin with bytes, or there are unknown characters.")
def begins_with_characters(words, n_merges):
    cut = {tuple(c.encode() for c in word.decode("utf-8", "ignore")): n for word, n in words.items()}
    return _learn(cut, n_merges)


@mistake("learn_merges", says="tuple(word) gives numbers, and 98 + 98 is 196: a token is bytes, b'b' + b'b'.")
def tokens_are_numbers(words, n_merges):
    return _learn({tuple(word): n for word, n in words.items()}, n_merges)


@mistake("learn_merges", says="It goes on when no pair is left and fails: stop there, with fewer merges than wanted.")
def does_not_stop(words, n_merges):
    cut, merges = _cut(words), []
    for _ in range(n_merges):
        best = _best(_pairs(cut))
        merges.append(best)
        cut = {_merge(word, best): n for word, n in cut.items()}
    return merges


@mistake("learn_merges", says="It stops at pairs that occur only once; there is no such limit here.")
def stops_at_rare_pairs(words, n_merges):
    cut, merges = _cut(words), []
    while len(merges) < n_merges:
        pairs = _pairs(cut)
        if not pairs or max(pairs.values()) < 2:
            break
        merges.append(_best(pairs))
        cut = {_merge(word, merges[-1]): n for word, n in cut.items()}
    return merges


@mistake("learn_merges", says="It returns the new tokens; a merge is the pair (left, right) that made one.")
def returns_the_tokens(words, n_merges):
    return [left + right for left, right in _learn(_cut(words), n_merges)]


@mistake("learn_merges", says="max with key=pairs.get takes the first of several equals: choose with best_pair.")
def first_of_equals(words, n_merges):
    return _learn(_cut(words), n_merges, lambda pairs: max(pairs, key=pairs.get))


# ---- learn_merges_faster


@mistake(
    "learn_merges_faster", says="Every merge still looks at all words: visit only those that hold the merged pair."
)
def looks_at_all_words(words, n_merges):
    return _learn(_cut(words), n_merges)


@alike("looks_at_all_words")
def keeps_counts_but_searches_all(words, n_merges):
    cut, count = list(_cut(words)), list(words.values())
    pairs, merges = _pairs(dict(zip(cut, count))), []
    while len(merges) < n_merges and (pairs := {p: n for p, n in pairs.items() if n}):
        best = _best(pairs)
        merges.append(best)
        for i, word in enumerate(cut):
            if best in pairwise(word):
                pairs = Counter(pairs)
                pairs.subtract(_pairs({word: count[i]}))
                cut[i] = _merge(word, best)
                pairs.update(_pairs({cut[i]: count[i]}))
    return merges


@mistake("learn_merges_faster", says="Pairs that a merge breaks keep their counts: subtract the old neighbours' pairs.")
def broken_pairs_keep_their_counts(words, n_merges):
    return _fast(words, n_merges, take=lambda pairs, pair, n, best: pair == best and pairs.pop(pair, None))


@mistake("learn_merges_faster", says="Pairs that a merge makes are never counted: only pairs of bytes get merged.")
def new_pairs_not_counted(words, n_merges):
    return _fast(words, n_merges, add=lambda pairs, pair, n, fresh: fresh or pairs.update({pair: n}))


@mistake(
    "learn_merges_faster", says="Words that get a new pair are not noted as its holders, so later merges miss them."
)
def new_holders_not_noted(words, n_merges):
    return _fast(words, n_merges, note=False)


@mistake("learn_merges_faster", says="Updates add and subtract 1; a pair in a word counts as often as the word occurs.")
def updates_by_one(words, n_merges):
    return _fast(
        words,
        n_merges,
        add=lambda pairs, pair, n, fresh: pairs.update({pair: 1 if fresh else n}),
        take=lambda pairs, pair, n, best: pairs.subtract({pair: 1}),
    )


@mistake(
    "learn_merges_faster",
    says="Pairs whose count has fallen to 0 are still learned: delete them, and stop when none is left.",
)
def learns_pairs_that_are_gone(words, n_merges):
    return _fast(words, n_merges, keep_zeros=True)


@mistake(
    "learn_merges_faster",
    says="A heap gives the pair with the count it had when it was pushed; the count has changed since.",
)
def stale_heap(words, n_merges):
    cut, count, merges = list(_cut(words)), list(words.values()), []
    heap, holders = [], defaultdict(set)
    for i, word in enumerate(cut):
        for pair in pairwise(word):
            holders[pair].add(i)
    for pair, n in _pairs(_cut(words)).items():
        heapq.heappush(heap, (-n, *(_falling(token) for token in pair), pair))
    while heap and len(merges) < n_merges:
        best = heapq.heappop(heap)[-1]
        merges.append(best)
        fresh = Counter()
        for i in holders.pop(best, ()):
            cut[i] = _merge(cut[i], best)
            for pair in pairwise(cut[i]):
                holders[pair].add(i)
                if best[0] + best[1] in pair:
                    fresh[pair] += count[i]
        for pair, n in fresh.items():
            heapq.heappush(heap, (-n, *(_falling(token) for token in pair), pair))
    return merges


@mistake(
    "learn_merges_faster",
    says="Neighbours are taken from the old word: after `abab`, the pair (ab, ab) is never counted.",
)
def neighbours_of_the_old_word(words, n_merges):
    cut, count, merges = list(_cut(words)), list(words.values()), []
    pairs, holders = _pairs(_cut(words)), defaultdict(set)
    for i, word in enumerate(cut):
        for pair in pairwise(word):
            holders[pair].add(i)
    while len(merges) < n_merges and (pairs := Counter({pair: n for pair, n in pairs.items() if n > 0})):
        left, right = best = _best(pairs)
        merges.append(best)
        for i in holders.pop(best, ()):
            old, k = cut[i], 0
            while k < len(old) - 1:
                if old[k : k + 2] != best:
                    k += 1
                    continue
                if k > 0:
                    pairs[old[k - 1], left] -= count[i]
                    pairs[old[k - 1], left + right] += count[i]
                    holders[old[k - 1], left + right].add(i)
                if k + 2 < len(old):
                    pairs[right, old[k + 2]] -= count[i]
                    pairs[left + right, old[k + 2]] += count[i]
                    holders[left + right, old[k + 2]].add(i)
                k += 2
            cut[i] = _merge(old, best)
        del pairs[best]
    return merges


# ---- encode_word


@mistake("encode_word", says="The longest token that fits from the left, as WordPiece does it; BPE merges by rank.")
def longest_match(word, ranks):
    ids = []
    while word:
        n = next(n for n in range(len(word), 0, -1) if word[:n] in ranks)
        ids.append(ranks[word[:n]])
        word = word[n:]
    return ids


@alike("longest_match")
def greedy_with_an_end(word, ranks):
    ids, start = [], 0
    while start < len(word):
        end = len(word)
        while word[start:end] not in ranks:
            end -= 1
        ids.append(ranks[word[start:end]])
        start = end
    return ids


@mistake("encode_word", says="Merged is the leftmost pair that makes a token, or the longest: take the lowest rank.")
def leftmost_pair_first(word, ranks):
    return _encode(word, ranks, lambda choices: min(choices, key=lambda c: c[1]))


@alike("leftmost_pair_first")
def leftmost_by_a_loop(word, ranks):
    parts, i = [word[i : i + 1] for i in range(len(word))], 0
    while i < len(parts) - 1:
        if parts[i] + parts[i + 1] in ranks:
            parts = [*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 :]]
            i = 0
        else:
            i += 1
    return [ranks[p] for p in parts]


@mistake("encode_word", says="Of equal pairs the rightmost is merged first: `aaa` has to become `aa a`.")
def rightmost_of_equals(word, ranks):
    return _encode(word, ranks, lambda choices: min(choices, key=lambda c: (c[0], -c[1])))


@mistake(
    "encode_word",
    says="The ids of single bytes are taken from the bytes; their ranks say which they are (GPT-2's differ).",
)
def bytes_are_ids(word, ranks):
    return [i if len(t) > 1 else t[0] for t, i in _parts(word, ranks)]


@alike("bytes_are_ids")
def first_256_are_bytes(word, ranks):
    own = {token: i for token, i in ranks.items() if len(token) > 1}
    return [own.get(t, t[0]) for t, _ in _parts(word, ranks)]


@mistake("encode_word", says="Only one merge is made: repeat until no two neighbours make a token.")
def one_merge_only(word, ranks):
    parts = [word[i : i + 1] for i in range(len(word))]
    choices = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
    if choices:
        i = min(choices)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[p] for p in parts]


@alike("leftmost_pair_first")
def longest_and_of_equals_the_leftmost(word, ranks):
    """Not another mistake: every merge lies as far left as can be, so both rules make the same ones."""
    lengths = {i: len(t) for t, i in ranks.items()}
    return _encode(word, ranks, lambda choices: max(choices, key=lambda c: (lengths[c[0]], -c[1])))


@mistake("encode_word", says="The pair that makes the longest token is merged first; rank decides, not length.")
def longest_token_first(word, ranks):
    lengths = {i: len(t) for t, i in ranks.items()}
    return _encode(word, ranks, lambda choices: min(choices, key=lambda c: (-lengths[c[0]], c[0], c[1])))


@mistake("encode_word", says="A word without bytes, or of one byte, fails: there is no pair to choose from.")
def fails_without_pairs(word, ranks):
    parts = [word[i : i + 1] for i in range(len(word))]
    while True:
        rank, i = min((ranks.get(a + b, math.inf), i) for i, (a, b) in enumerate(pairwise(parts)))
        if rank == math.inf:
            return [ranks[p] for p in parts]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@mistake("encode_word", says="The pairs are looked up once; every merge makes new neighbours: look at them again.")
def looks_up_the_pairs_once(word, ranks):
    parts = tuple(word[i : i + 1] for i in range(len(word)))
    for _, pair in sorted({(ranks[a + b], (a, b)) for a, b in pairwise(parts) if a + b in ranks}):
        parts = _merge(parts, pair)
    return [ranks[part] for part in parts]


@alike("looks_up_the_pairs_once")
def takes_places_once(word, ranks):
    places = sorted((ranks[word[i : i + 2]], i) for i in range(len(word) - 1) if word[i : i + 2] in ranks)
    part, taken = {i: word[i : i + 1] for i in range(len(word))}, set()
    for _, i in places:
        if not taken & {i, i + 1}:
            part[i] += part.pop(i + 1)
            taken |= {i, i + 1}
    return [ranks[part[i]] for i in sorted(part)]


# ---- train


@mistake("train", of="BPE.train", says="<|endoftext|> is not counted: one merge too many, and vocab_size + 1 ids.")
@classmethod
def forgets_the_special_token(cls, texts, vocab_size):
    if vocab_size < 257:
        raise ValueError(vocab_size)
    return cls(_ranks(_fast(_words(texts), vocab_size - 256)))


@mistake(
    "train", of="BPE.train", says="vocab_size merges are learned: the 256 bytes and <|endoftext|> are ids as well."
)
@classmethod
def so_many_merges(cls, texts, vocab_size):
    if vocab_size < 257:
        raise ValueError(vocab_size)
    return cls(_ranks(_fast(_words(texts), vocab_size)))


@mistake("train", of="BPE.train", says="Only bytes that occur in the text get an id: every other text is unknown then.")
@classmethod
def only_bytes_that_occur(cls, texts, vocab_size):
    words = _words(texts)
    if vocab_size < 257:
        raise ValueError(vocab_size)
    seen = sorted({byte for word in words for byte in word})
    tokens = [*(bytes([b]) for b in seen), *(a + b for a, b in _fast(words, vocab_size - 257))]
    return cls({token: i for i, token in enumerate(tokens)})


@mistake("train", of="BPE.train", says="chr(i).encode() is two bytes from 128 on: the byte itself is bytes([i]).")
@classmethod
def bytes_by_chr(cls, texts, vocab_size):
    if vocab_size < 257:
        raise ValueError(vocab_size)
    tokens = [*(chr(i).encode() for i in range(256)), *(a + b for a, b in _fast(_words(texts), vocab_size - 257))]
    return cls({token: i for i, token in enumerate(tokens)})


@mistake("train", of="BPE.train", says="<|endoftext|> is put among the ranks; the constructor adds it, behind them.")
@classmethod
def special_among_the_ranks(cls, texts, vocab_size):
    if vocab_size < 257:
        raise ValueError(vocab_size)
    ranks = _ranks(_fast(_words(texts), vocab_size - 257))
    return cls({**ranks, EOT.encode(): len(ranks)})


@mistake(
    "train", of="BPE.train", says="A vocabulary without room for 256 bytes and <|endoftext|> has to raise ValueError."
)
@classmethod
def too_small_is_no_error(cls, texts, vocab_size):
    return cls(_ranks(_fast(_words(texts), max(0, vocab_size - 257))))


@mistake("train", of="BPE.train", says="The limit is off by one: 256 ids leave no room for <|endoftext|>.")
@classmethod
def allows_256(cls, texts, vocab_size):
    if vocab_size < 256:
        raise ValueError(vocab_size)
    return cls(_ranks(_fast(_words(texts), vocab_size - 257)))


@mistake("train", of="BPE.train", says="The texts are joined before they are cut: tokens span the seams.")
@classmethod
def trains_on_one_long_text(cls, texts, vocab_size):
    if vocab_size < 257:
        raise ValueError(vocab_size)
    return cls(_ranks(_fast(_words(["".join(texts)]), vocab_size - 257)))


# ---- encode


@mistake(
    "encode", of="BPE.encode", says="The text is not cut into words first: merges cross from one word into the next."
)
def not_cut_into_words(self, text, allowed_special=()):
    return _whole(self, text, allowed_special, lambda part: [part] if part else [])


@mistake("encode", of="BPE.encode", says="split() loses the white space; cut with PATTERN.")
def splits_the_text(self, text, allowed_special=()):
    return _whole(self, text, allowed_special, str.split)


@mistake(
    "encode",
    of="BPE.encode",
    says="The special token is found in any text: whoever types <|endoftext|> ends the document.",
)
def always_special(self, text, allowed_special=()):
    return _whole(self, text, {EOT}, PATTERN.findall)


@alike("always_special")
def special_by_partition(self, text, allowed_special=()):
    ids, rest = [], text
    while EOT in rest:
        before, _, rest = rest.partition(EOT)
        ids += [*(i for w in PATTERN.findall(before) for i in _ids(self, w)), self.eot]
    return ids + [i for w in PATTERN.findall(rest) for i in _ids(self, w)]


@mistake("encode", of="BPE.encode", says="The special token is never found, though it is allowed.")
def never_special(self, text, allowed_special=()):
    return _whole(self, text, (), PATTERN.findall)


@mistake("encode", of="BPE.encode", says="eot comes behind every part; it stands between two parts only.")
def eot_at_the_end_too(self, text, allowed_special=()):
    ids = _whole(self, text, allowed_special, PATTERN.findall)
    return [*ids, self.eot] if EOT in allowed_special else ids


@alike("never_special")
def looks_for_it_among_the_words(self, text, allowed_special=()):
    ids = []
    for word in PATTERN.findall(text):
        ids += [self.eot] if word == EOT and EOT in allowed_special else _ids(self, word)
    return ids


@mistake(
    "encode",
    of="BPE.encode",
    says="Empty parts are passed over, and their <|endoftext|> with them: it may come first, last, or twice in a row.",
)
def passes_over_empty_parts(self, text, allowed_special=()):
    ids = []
    for part in text.split(EOT) if EOT in allowed_special else [text]:
        if part:
            ids += [*([self.eot] if ids else []), *_whole(self, part, (), PATTERN.findall)]
    return ids


@mistake(
    "encode",
    of="BPE.encode",
    says="Any special token that is allowed allows <|endoftext|> as well: look for it by name.",
)
def allowed_is_taken_for_yes(self, text, allowed_special=()):
    return _whole(self, text, {EOT} if allowed_special else (), PATTERN.findall)


@mistake(
    "encode",
    of="BPE.encode",
    says='allowed_special == {"<|endoftext|>"} is false for a list, or with a second name in it: ask with `in`.',
)
def compares_with_a_set(self, text, allowed_special=()):
    return _whole(self, text, {EOT} if allowed_special == {EOT} else (), PATTERN.findall)


@mistake(
    "encode",
    of="BPE.encode",
    says="Words are cut before the special token is looked for: what stands beside it is cut wrongly.",
)
def special_among_the_words(self, text, allowed_special=()):
    ids = []
    special = EOT in allowed_special
    pattern = regex.compile(regex.escape(EOT) + "|" + PATTERN.pattern) if special else PATTERN
    for word in pattern.findall(text):
        ids += [self.eot] if special and word == EOT else _ids(self, word)
    return ids


@mistake(
    "encode",
    of="BPE.encode",
    says="Words are encoded again, at every place or in every call: keep their ids in self.known.",
)
def encodes_every_word_anew(self, text, allowed_special=()):
    import sys

    encode_word = sys.modules[type(self).__module__].encode_word
    return _whole(self, text, allowed_special, PATTERN.findall, lambda w: encode_word(w.encode(), self.ranks))


@mistake("encode", of="BPE.encode", says="All tokenizers share one memory of words: one gives out the ids of another.")
def one_memory_for_all(self, text, allowed_special=()):
    return _whole(self, text, allowed_special, PATTERN.findall, lambda w: _remember(_SHARED, self, w))


@mistake(
    "encode",
    of="BPE.encode",
    says="The remembered ids grow: `ids` is the list in self.known itself, and += changes it.",
)
def memory_that_grows(self, text, allowed_special=()):
    ids = None
    for n, part in enumerate(text.split(EOT) if EOT in allowed_special else [text]):
        if n:
            ids = [*(ids or []), self.eot]
        for word in PATTERN.findall(part):
            found = _remember(self.known, self, word)
            if ids is None:
                ids = found
            else:
                ids += found
    return [] if ids is None else list(ids)


# ---- decode


@mistake(
    "decode",
    of="BPE.decode",
    says="Each token is decoded by itself: a character that is spread over two becomes two �.",
)
def token_by_token(self, ids):
    return "".join(self.tokens[i].decode("utf-8", errors="replace") for i in ids)


@alike("token_by_token")
def appends_text(self, ids):
    text = ""
    for i in list(ids):
        text += str(self.tokens[i], "utf-8", "replace")
    return text


@mistake("decode", of="BPE.decode", says='Broken bytes raise an error; a model may produce any: errors="replace".')
def strict(self, ids):
    return b"".join(self.tokens[i] for i in ids).decode("utf-8")


@mistake("decode", of="BPE.decode", says="Broken bytes vanish; they have to show as U+FFFD.")
def ignores_broken_bytes(self, ids):
    return b"".join(self.tokens[i] for i in ids).decode("utf-8", errors="ignore")


@mistake("decode", of="BPE.decode", says="A space is put between tokens; they carry their spaces themselves.")
def joined_by_spaces(self, ids):
    return b" ".join(self.tokens[i] for i in ids).decode("utf-8", errors="replace")


@mistake(
    "decode",
    of="BPE.decode",
    says="-1 takes the last token of a list: a negative id has to raise, like one that is too large.",
)
def negative_ids(self, ids):
    tokens = [self.tokens[i] for i in range(self.vocab_size)]
    return b"".join(tokens[i] for i in ids).decode("utf-8", errors="replace")


@mistake(
    "decode", of="BPE.decode", says="An id that no token has is passed over in silence, and hides a bug: let it raise."
)
def passes_over_unknown_ids(self, ids):
    return b"".join(self.tokens.get(i, b"") for i in ids).decode("utf-8", errors="replace")


@mistake("decode", of="BPE.decode", says="<|endoftext|> is left out; decode shows every id.")
def leaves_out_the_special_token(self, ids):
    return b"".join(self.tokens[i] for i in ids if i != self.eot).decode("utf-8", errors="replace")


# ---- files


@mistake(
    "files",
    of="BPE.save",
    says="<|endoftext|> is written as a line: loaded again it is an ordinary token, and one id more.",
)
def saves_the_special_token(self, path):
    _write(path, [*_rows(self), (EOT.encode(), self.eot)])


@mistake(
    "files", of="BPE.save", says="The lines are in the order of the dict; they have to be in the order of the ids."
)
def in_the_order_of_the_dict(self, path):
    _write(path, self.ranks.items())


@mistake(
    "files",
    of="BPE.save",
    says="Tokens are written as text: half a character, a space or a line feed cannot come back. Use base64.",
)
def saves_text(self, path):
    text = "".join(f"{token.decode('utf-8', 'replace')} {i}\n" for token, i in _rows(self))
    Path(path).write_text(text, encoding="utf-8")


@mistake(
    "files", of="BPE.save", says="encodebytes puts line feeds into the base64: behind every token, and into long ones."
)
def with_line_feeds(self, path):
    text = "".join(f"{base64.encodebytes(token).decode()} {i}\n" for token, i in _rows(self))
    Path(path).write_text(text, encoding="ascii")


@mistake("files", of="BPE.save", says="The bytes are printed as b'…' in the file: decode the base64 to a string first.")
def as_python_prints_bytes(self, path):
    Path(path).write_text("".join(f"{base64.b64encode(token)} {i}\n" for token, i in _rows(self)), encoding="ascii")


@mistake(
    "files",
    of="BPE.load",
    says="The number in a line is ignored and its place taken instead: the lines may come in any order.",
)
@classmethod
def places_for_ranks(cls, path):
    lines = Path(path).read_text(encoding="ascii").splitlines()
    return cls({base64.b64decode(line.split()[0]): i for i, line in enumerate(lines)})


@mistake("files", of="BPE.load", says="The ids stay strings: int() is missing.")
@classmethod
def ids_are_strings(cls, path):
    lines = [line.split() for line in Path(path).read_text(encoding="ascii").splitlines()]
    return cls({base64.b64decode(token): rank for token, rank in lines})


# ---- what they share


def _words(texts):
    return Counter(word.encode() for text in texts for word in PATTERN.findall(text))


def _cut(words):
    return {tuple(word[i : i + 1] for i in range(len(word))): n for word, n in words.items()}


def _pairs(cut):
    pairs = Counter()
    for word, n in cut.items():
        for pair in pairwise(word):
            pairs[pair] += n
    return pairs


def _best(pairs):
    return max(pairs, key=lambda pair: (pairs[pair], pair))


def _merge(word, pair):
    merged, i = [], 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


def _learn(cut, n_merges, best=_best):
    merges = []
    while len(merges) < n_merges and (pairs := _pairs(cut)):
        merges.append(best(pairs))
        cut = {_merge(word, merges[-1]): n for word, n in cut.items()}
    return merges


def _fast(words, n_merges, best=_best, add=None, take=None, note=True, keep_zeros=False):
    """The faster trainer, with something left out."""
    cut, count, merges = list(_cut(words)), list(words.values()), []
    pairs, holders = Counter(), defaultdict(set)

    def put_in(i, fresh):
        for pair in pairwise(cut[i]):
            if add:
                add(pairs, pair, count[i], fresh)
            else:
                pairs[pair] += count[i]
            if note or not fresh:
                holders[pair].add(i)

    for i in range(len(cut)):
        put_in(i, False)
    while len(merges) < n_merges and pairs:
        merges.append(best(pairs))
        for i in holders.pop(merges[-1], ()):
            for pair in pairwise(cut[i]):
                if take:
                    take(pairs, pair, count[i], merges[-1])
                else:
                    pairs[pair] -= count[i]
            cut[i] = _merge(cut[i], merges[-1])
            put_in(i, True)
        if not keep_zeros:
            for pair in [pair for pair, n in pairs.items() if n <= 0 or pair == merges[-1]]:
                del pairs[pair]
    return merges


def _falling(token):
    return [-byte for byte in token] + [1]


def _encode(word, ranks, choose):
    parts = [word[i : i + 1] for i in range(len(word))]
    while choices := [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]:
        i = choose(choices)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[part] for part in parts]


def _parts(word, ranks):
    tokens = {i: token for token, i in ranks.items()}
    return [(tokens[i], i) for i in _encode(word, ranks, min)]


def _ranks(merges):
    return {token: i for i, token in enumerate([*(bytes([b]) for b in range(256)), *(a + b for a, b in merges)])}


_SHARED = {}


def _ids(tok, word):
    return _encode(word.encode(), tok.ranks, min)


def _remember(known, tok, word):
    if word not in known:
        known[word] = _ids(tok, word)
    return known[word]


def _whole(tok, text, allowed_special, cut, ids_of=None):
    ids = []
    for n, part in enumerate(text.split(EOT) if EOT in allowed_special else [text]):
        if n:
            ids.append(tok.eot)
        for word in cut(part):
            ids += ids_of(word) if ids_of else _remember(tok.known, tok, word)
    return ids


def _rows(tok):
    return sorted(tok.ranks.items(), key=lambda row: row[1])


def _write(path, rows):
    lines = [binascii.b2a_base64(token, newline=False).decode() + f" {i}\n" for token, i in rows]
    Path(path).write_text("".join(lines), encoding="ascii")


def _read(lines):
    rows = (line.split() for line in lines)
    return {base64.b64decode(token): int(rank) for token, rank in rows}
