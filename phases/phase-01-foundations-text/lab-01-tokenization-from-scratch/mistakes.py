"""What people really get wrong in lab 1.1.  Each replaces one function of solution.py, and its task must catch it."""

import re
import string
import unicodedata
from collections import Counter

import regex

from labkit.spec import alike, mistake

UNK = "<unk>"

# ---- build_vocab


@mistake("build_vocab", says="<unk> comes last, so its id moves with every vocabulary; it must be 0.")
def unk_last(tokens, min_freq=1, special_tokens=()):
    return _number([*_unique(special_tokens), *_common(tokens, min_freq, {UNK, *special_tokens}), UNK])


@mistake(
    "build_vocab", says="The special tokens come after the words, so their ids change with the text; they follow <unk>."
)
def specials_last(tokens, min_freq=1, special_tokens=()):
    return _number([UNK, *_common(tokens, min_freq, {UNK, *special_tokens}), *_unique(special_tokens)])


@alike("specials_last")
def specials_appended(tokens, min_freq=1, special_tokens=()):
    vocab = {UNK: 0}
    for token in _common(tokens, min_freq, {UNK, *special_tokens}):
        vocab[token] = len(vocab)
    for token in special_tokens:
        vocab.setdefault(token, len(vocab))
    return vocab


@mistake("build_vocab", says="The special tokens come before <unk>; 0 is kept for <unk>.")
def unk_after_specials(tokens, min_freq=1, special_tokens=()):
    return _number([*_unique(special_tokens), UNK, *_common(tokens, min_freq, {UNK, *special_tokens})])


@mistake("build_vocab", says="There is no <unk>: a word that was never seen has no id to fall back on.")
def no_unk(tokens, min_freq=1, special_tokens=()):
    return _number([*_unique(special_tokens), *_common(tokens, min_freq, special_tokens)])


@mistake("build_vocab", says="The special tokens are sorted; the caller decides their order.")
def specials_sorted(tokens, min_freq=1, special_tokens=()):
    return _vocab(tokens, min_freq, sorted(special_tokens))


@mistake("build_vocab", says="In order of first appearance, not of frequency: the most common token comes first.")
def not_by_frequency(tokens, min_freq=1, special_tokens=()):
    counts = Counter(tokens)
    return _number(
        [UNK, *special_tokens, *(t for t in counts if counts[t] >= min_freq and t not in (UNK, *special_tokens))]
    )


@alike("not_by_frequency")
def id_at_first_sight(tokens, min_freq=1, special_tokens=()):
    tokens, vocab = list(tokens), {UNK: 0}
    for token in special_tokens:
        vocab[token] = len(vocab)
    for token in tokens:
        if token not in vocab and tokens.count(token) >= min_freq:
            vocab[token] = len(vocab)
    return vocab


@mistake("build_vocab", says="The rarest tokens come first: the sort has to be by falling count.")
def rarest_first(tokens, min_freq=1, special_tokens=()):
    counts = Counter(tokens)
    rest = sorted((t for t in counts if counts[t] >= min_freq and t not in (UNK, *special_tokens)), key=counts.get)
    return _number([*_unique([UNK, *special_tokens]), *rest])


@mistake(
    "build_vocab", says="Equally common tokens are in alphabetical order; they stay in the order of first appearance."
)
def ties_alphabetical(tokens, min_freq=1, special_tokens=()):
    counts = Counter(tokens)
    rest = sorted(_common(counts.elements(), min_freq, {UNK, *special_tokens}), key=lambda t: (-counts[t], t))
    return _number([*_unique([UNK, *special_tokens]), *rest])


@alike("ties_alphabetical")
def sorts_the_words_first(tokens, min_freq=1, special_tokens=()):
    return _vocab(sorted(tokens), min_freq, special_tokens)


@mistake(
    "build_vocab", says="Equally common tokens are in reverse: reverse=True on (count, position) turns both round."
)
def ties_reversed(tokens, min_freq=1, special_tokens=()):
    counts = Counter(tokens)
    place = {t: i for i, t in enumerate(counts)}
    rest = sorted(
        _common(counts.elements(), min_freq, {UNK, *special_tokens}), key=lambda t: (counts[t], place[t]), reverse=True
    )
    return _number([*_unique([UNK, *special_tokens]), *rest])


@mistake("build_vocab", says="The order of equals comes from a set: it changes from run to run, and with it every id.")
def order_of_a_set(tokens, min_freq=1, special_tokens=()):
    counts = Counter(tokens)
    rest = sorted(set(counts) - {UNK, *special_tokens}, key=lambda t: -counts[t])
    return _number([*_unique([UNK, *special_tokens]), *(t for t in rest if counts[t] >= min_freq)])


@mistake("build_vocab", says="min_freq is off by one: a token that occurs exactly min_freq times stays in.")
def cutoff_too_high(tokens, min_freq=1, special_tokens=()):
    return _vocab(tokens, min_freq + (min_freq > 1), special_tokens)


@mistake("build_vocab", says="The comparison is > instead of >=: with min_freq=1, all tokens that occur once are gone.")
def strictly_more_often(tokens, min_freq=1, special_tokens=()):
    return _vocab(tokens, min_freq + 1, special_tokens)


@alike("strictly_more_often")
def rare_until_passed(tokens, min_freq=1, special_tokens=()):
    tokens = list(tokens)
    counts = {}
    for t in tokens:
        counts[t] = counts.get(t, 0) + 1
    ranked = sorted(counts, key=lambda t: -counts[t])
    return _number(_unique([UNK, *special_tokens, *(t for t in ranked if not counts[t] <= min_freq)]))


@mistake("build_vocab", says="min_freq is ignored: rare tokens are in the vocabulary.")
def no_cutoff(tokens, min_freq=1, special_tokens=()):
    return _vocab(tokens, 1, special_tokens)


@mistake(
    "build_vocab", says="min_freq is applied to the special tokens as well: they need not occur in the text at all."
)
def cutoff_on_specials(tokens, min_freq=1, special_tokens=()):
    counts = Counter(tokens)
    specials = [t for t in special_tokens if counts[t] >= min_freq]
    return _number([*_unique([UNK, *specials]), *_common(counts.elements(), min_freq, {UNK, *special_tokens})])


@mistake(
    "build_vocab",
    says="A special token that stands in the text is added again: it loses its own id, and that id is a gap.",
)
def special_in_the_text_added_again(tokens, min_freq=1, special_tokens=()):
    return _number([*_unique([UNK, *special_tokens]), *_common(tokens, min_freq, ())])


@alike("special_in_the_text_added_again")
def special_overwritten(tokens, min_freq=1, special_tokens=()):
    vocab = {}
    for token in _unique([UNK, *special_tokens]):
        vocab[token] = len(vocab)
    n = len(vocab)
    for token, count in Counter(tokens).most_common():
        if count >= min_freq:
            vocab[token] = n
            n += 1
    return vocab


@mistake(
    "build_vocab", says="Special tokens in the text are left out, <unk> is not: where the text spells <unk>, 0 is lost."
)
def unk_in_the_text_added_again(tokens, min_freq=1, special_tokens=()):
    return _number([*_unique([UNK, *special_tokens]), *_common(tokens, min_freq, special_tokens)])


@mistake("build_vocab", says="A special token that is named twice takes two ids: the first is a gap.")
def special_named_twice(tokens, min_freq=1, special_tokens=()):
    return _number([UNK, *special_tokens, *_common(tokens, min_freq, {UNK, *special_tokens})])


@mistake("build_vocab", says="<unk> among the special tokens is given a second id; it must stay 0.")
def unk_named_as_special(tokens, min_freq=1, special_tokens=()):
    return _number([UNK, *_unique(special_tokens), *_common(tokens, min_freq, {UNK, *special_tokens})])


@mistake(
    "build_vocab",
    says="A token that has an id already is given another one, which overwrites the first: skip it when "
    "`token in vocab`.",
)
def special_in_the_text_renumbered(tokens, min_freq=1, special_tokens=()):
    vocab = {}
    for token in [UNK, *special_tokens]:
        vocab.setdefault(token, len(vocab))
    for token in _common(tokens, min_freq, ()):
        vocab[token] = len(vocab)
    return vocab


@alike("special_in_the_text_renumbered")
def nothing_looked_up_before_it_is_numbered(tokens, min_freq=1, special_tokens=()):
    vocab = {}
    for token in [UNK, *special_tokens]:
        vocab[token] = len(vocab)
    for token, count in Counter(tokens).most_common():
        if count >= min_freq:
            vocab[token] = len(vocab)
    return vocab


@mistake(
    "build_vocab",
    says="Special tokens in the text keep their ids, <unk> does not: it is given a new one, and so 0 is nobody's.",
)
def unk_in_the_text_renumbered(tokens, min_freq=1, special_tokens=()):
    vocab = _number(_unique([UNK, *special_tokens]))
    for token in _common(tokens, min_freq, special_tokens):
        vocab[token] = len(vocab)
    return vocab


@mistake(
    "build_vocab",
    says="A special token that is named twice is numbered twice: len(vocab) has not grown, so the next token gets "
    "the same id. Skip it when `token in vocab`.",
)
def special_named_twice_renumbered(tokens, min_freq=1, special_tokens=()):
    vocab = {UNK: 0}
    for token in special_tokens:
        if token != UNK:
            vocab[token] = len(vocab)
    for token in _common(tokens, min_freq, vocab):
        vocab[token] = len(vocab)
    return vocab


@alike("special_named_twice_renumbered")
def specials_and_unk_renumbered(tokens, min_freq=1, special_tokens=()):
    vocab = {}
    for token in [UNK, *special_tokens]:
        vocab[token] = len(vocab)
    for token, count in Counter(tokens).most_common():
        if count >= min_freq and token not in vocab:
            vocab[token] = len(vocab)
    return vocab


@mistake(
    "build_vocab",
    says="<unk> among the special tokens is numbered anew: it loses 0 and shares its new id with the next token.",
)
def unk_named_as_special_renumbered(tokens, min_freq=1, special_tokens=()):
    vocab = {UNK: 0}
    for token in _unique(special_tokens):
        vocab[token] = len(vocab)
    for token in _common(tokens, min_freq, vocab):
        vocab[token] = len(vocab)
    return vocab


@mistake("build_vocab", says="`tokens` is read twice; a generator is empty the second time. Count in one pass.")
def reads_tokens_twice(tokens, min_freq=1, special_tokens=()):
    counts = dict.fromkeys(tokens, 0)
    for t in tokens:
        counts[t] += 1
    return _vocab((t for t in counts for _ in range(counts[t])), min_freq, special_tokens)


@mistake("build_vocab", says="The caller's list of special tokens is changed: insert into a copy.")
def changes_the_callers_list(tokens, min_freq=1, special_tokens=()):
    if special_tokens:
        special_tokens.insert(0, UNK)
    return _vocab(tokens, min_freq, special_tokens)


@mistake("build_vocab", says="The other way round: id → token. The vocabulary maps tokens to ids.")
def ids_to_tokens(tokens, min_freq=1, special_tokens=()):
    return {i: t for t, i in _vocab(tokens, min_freq, special_tokens).items()}


@mistake("build_vocab", says="The values are how often each token occurs; ids number the tokens from 0 on.")
def counts_for_ids(tokens, min_freq=1, special_tokens=()):
    counts = Counter(tokens)
    return {t: counts[t] for t in _vocab(counts.elements(), min_freq, special_tokens)}


# ---- whitespace


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says="The texts are joined without a space: the last word of one and the first of the next become one word.",
)
def words_glued_at_the_seams(self, texts, min_freq=1, special_tokens=()):
    _learn(self, "".join(texts).split(), min_freq, special_tokens)


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says='split(" ") cuts at every single space: tabs stay inside words, and two spaces make an empty one.',
)
def train_splits_at_single_spaces(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [w for text in texts for w in text.split(" ")], min_freq, special_tokens)


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says="Only the last text is learned: the vocabulary is built anew for each.",
)
def only_the_last_text(self, texts, min_freq=1, special_tokens=()):
    for text in texts:
        _learn(self, text.split(), min_freq, special_tokens)


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says="min_freq is applied within each text; the texts are counted together.",
)
def counts_each_text_alone(self, texts, min_freq=1, special_tokens=()):
    often = [w for text in texts for w in text.split() if text.split().count(w) >= min_freq]
    _learn(self, often, 1, special_tokens)


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says="A word counts once for each text that has it, not as often as it occurs.",
)
def counts_texts_not_words(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [w for text in texts for w in dict.fromkeys(text.split())], min_freq, special_tokens)


@mistake("whitespace", of="WhitespaceTokenizer.train", says="min_freq is not passed on to build_vocab.")
def words_without_min_freq(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [w for text in texts for w in text.split()], 1, special_tokens)


@mistake("whitespace", of="WhitespaceTokenizer.train", says="special_tokens is not passed on to build_vocab.")
def words_without_specials(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [w for text in texts for w in text.split()], min_freq, ())


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says="Neither min_freq nor special_tokens reaches build_vocab: pass both on.",
)
def words_without_either(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [w for text in texts for w in text.split()], 1, ())


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says="A second training updates the first one's dict: its words stay, and new words share their ids.",
)
def words_updated(self, texts, min_freq=1, special_tokens=()):
    self.vocab.update(_vocab([w for text in texts for w in text.split()], min_freq, special_tokens))
    self.tokens = {i: t for t, i in self.vocab.items()}


@mistake(
    "whitespace", of="WhitespaceTokenizer.train", says="A second training adds to the first; it has to replace it."
)
def never_forgets(self, texts, min_freq=1, special_tokens=()):
    new = _vocab([w for text in texts for w in text.split()], min_freq, special_tokens)
    for token in new:
        self.vocab.setdefault(token, len(self.vocab))
    self.tokens.update({i: t for t, i in self.vocab.items()})


_everyones_vocab, _everyones_tokens = {}, {}


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says="The vocabulary is shared by all tokenizers: a dict of the class or the module is one for all instances.",
)
def one_vocabulary_for_all(self, texts, min_freq=1, special_tokens=()):
    _everyones_vocab.clear()
    _everyones_tokens.clear()
    _everyones_vocab.update(_vocab([w for text in texts for w in text.split()], min_freq, special_tokens))
    _everyones_tokens.update({i: t for t, i in _everyones_vocab.items()})
    self.vocab, self.tokens = _everyones_vocab, _everyones_tokens


@mistake(
    "whitespace", of="WhitespaceTokenizer.train", says="self.tokens is never filled, so decode knows no word at all."
)
def no_way_back(self, texts, min_freq=1, special_tokens=()):
    self.vocab = _vocab([w for text in texts for w in text.split()], min_freq, special_tokens)


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.train",
    says="self.tokens remembers the ids of an earlier training: make it anew.",
)
def old_tokens_stay(self, texts, min_freq=1, special_tokens=()):
    self.vocab = _vocab([w for text in texts for w in text.split()], min_freq, special_tokens)
    for i, token in enumerate(self.vocab):
        self.tokens.setdefault(i, token)


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.encode",
    says='split(" ") finds empty words and leaves tabs inside words; split() cuts at any run of white space.',
)
def encode_splits_at_single_spaces(self, text):
    return [self.vocab.get(w, 0) for w in text.split(" ")]


@alike("encode_splits_at_single_spaces")
def encode_splits_by_a_pattern(self, text):
    return [self.vocab.get(w) or 0 for w in re.split(" ", text)]


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.encode",
    says="Only spaces, tabs and line feeds of ASCII are taken for white space.",
)
def ascii_white_space(self, text):
    return [self.vocab.get(w, 0) for w in re.split(r"[ \t\n\r]+", text) if w]


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.encode",
    says="Splitting by a pattern leaves an empty word where the text begins or ends with white space.",
)
def empty_words_at_the_ends(self, text):
    return [self.vocab.get(w, 0) for w in re.split(r"\s+", text)]


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.encode",
    says="Unknown words are skipped; each has to become 0, so that a hole can be seen.",
)
def skips_unknown_words(self, text):
    return [self.vocab[w] for w in text.split() if w in self.vocab]


@alike("skips_unknown_words")
def drops_every_zero(self, text):
    return [i for w in text.split() if (i := self.vocab.get(w))]


@mistake("whitespace", of="WhitespaceTokenizer.encode", says="An unknown word raises KeyError; it has to become 0.")
def unknown_word_raises(self, text):
    return [self.vocab[w] for w in text.split()]


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.encode",
    says="An unknown word becomes None, which is what dict.get gives without a default.",
)
def unknown_word_is_none(self, text):
    return [self.vocab.get(w) for w in text.split()]


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.encode",
    says="An unknown word is added to the vocabulary: encode must not learn.",
)
def encode_learns(self, text):
    return [self.vocab.setdefault(w, len(self.vocab)) for w in text.split()]


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.encode",
    says="Written small before looking up: it is another word than in training.",
)
def encode_lowers(self, text):
    return [self.vocab.get(w.lower(), 0) for w in text.split()]


@mistake("whitespace", of="WhitespaceTokenizer.decode", says="The words are joined without a space between them.")
def words_run_together(self, ids):
    return "".join(self.tokens.get(i, UNK) for i in ids)


@mistake("whitespace", of="WhitespaceTokenizer.decode", says="A space behind every word, the last one included.")
def space_behind_every_word(self, ids):
    return "".join(self.tokens.get(i, UNK) + " " for i in ids)


@mistake(
    "whitespace", of="WhitespaceTokenizer.decode", says="The words are not joined: decode returns a text, not a list."
)
def list_of_words(self, ids):
    return [self.tokens.get(i, UNK) for i in ids]


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.decode",
    says="A list counts a negative id from its end: -1 becomes the last word of the vocabulary.",
)
def negative_id_counts_from_the_end(self, ids):
    names = list(self.tokens.values())
    return " ".join(names[i] if i < len(names) else UNK for i in ids)


@mistake(
    "whitespace", of="WhitespaceTokenizer.decode", says="An id that is nobody's raises KeyError; it has to read <unk>."
)
def unknown_id_raises(self, ids):
    return " ".join(self.tokens[i] for i in ids)


@mistake(
    "whitespace", of="WhitespaceTokenizer.decode", says="Ids that are nobody's are skipped; each has to read <unk>."
)
def skips_unknown_ids(self, ids):
    return " ".join(self.tokens[i] for i in ids if i in self.tokens)


@mistake(
    "whitespace",
    of="WhitespaceTokenizer.decode",
    says="<unk> and other special tokens are left out of the text; here they are shown.",
)
def decode_hides_specials(self, ids):
    return " ".join(t for i in ids if not (t := self.tokens.get(i, UNK)).startswith("<"))


# ---- pre_tokenize

TAIL, WORD, NUMBER, SYMBOLS, RUN, REST = PARTS = (
    r"'(?:[sdmt]|ll|ve|re)", r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+", r"\s+(?!\S)", r"\s+",
)  # fmt: skip


@mistake(
    "pre_tokenize",
    says="Cut at white space, and the white space thrown away: joined, the pieces are no longer the text.",
)
def cut_at_white_space(text):
    return text.split()


@mistake("pre_tokenize", says=r"\w takes letters, numbers and _ together; the pattern treats all three differently.")
def word_characters(text):
    return regex.findall(r"'(?:[sdmt]|ll|ve|re)| ?\w+| ?[^\s\w]+|\s+(?!\S)|\s+", text)


@mistake("pre_tokenize", says=r"Python's own re does not know \p{L}: it raises `bad escape \p`. Use the package regex.")
def pattern_for_re(text):
    return re.findall("|".join(PARTS), text)


@mistake(
    "pre_tokenize", says="No contractions: the apostrophe is cut off as a symbol, and the letters after it are a word."
)
def no_contractions(text):
    return _find(WORD, NUMBER, SYMBOLS, RUN, REST, text=text)


@alike("no_contractions")
def contractions_too_late(text):
    """The symbols take the apostrophe before the contraction is tried."""
    return _find(WORD, NUMBER, SYMBOLS, TAIL, RUN, REST, text=text)


@mistake(
    "pre_tokenize",
    says="Contractions are cut in capitals as well; GPT-2 knows them in small letters only (GPT-4 knows both).",
)
def contractions_in_capitals(text):
    return regex.findall("(?i)" + "|".join(PARTS), text)


@alike("contractions_in_capitals")
def contractions_listed_in_both(text):
    tails = "[sS]|[dD]|[mM]|[tT]|[lL][lL]|[vV][eE]|[rR][eE]"
    return _find(f"'(?:{tails})", *PARTS[1:], text=text)


@mistake("pre_tokenize", says="Only one-letter contractions: 'll, 've and 're are missing, or | and [] are confused.")
def short_contractions_only(text):
    return _find("'[sdmt]", *PARTS[1:], text=text)


@mistake(
    "pre_tokenize", says="[sdmt|ll|ve|re] is a set of letters, not a choice of words: 'v, 'l and 'r are cut off alone."
)
def choice_inside_brackets(text):
    return _find("'[sdmt|ll|ve|re]", *PARTS[1:], text=text)


@mistake("pre_tokenize", says="The curly apostrophe counts as a plain one; to GPT-2 it is a symbol like any other.")
def curly_apostrophes(text):
    return _find(r"['’](?:[sdmt]|ll|ve|re)", *PARTS[1:], text=text)


@mistake(
    "pre_tokenize",
    says='A contraction is required to end a word; GPT-2\'s pattern does not look: "\'street" gives "\'s", "treet".',
)
def contraction_must_end_a_word(text):
    return _find(TAIL + r"(?!\p{L})", *PARTS[1:], text=text)


@alike("contraction_must_end_a_word")
def contraction_with_a_boundary(text):
    return _find(r"'(?:s|d|m|t|ll|ve|re)(?=\P{L}|$)", *PARTS[1:], text=text)


@mistake("pre_tokenize", says="A word and its contraction are one piece; the contraction is a piece of its own.")
def contraction_stays_with_its_word(text):
    return _find(r" ?\p{L}+(?:'(?:[sdmt]|ll|ve|re))?", *PARTS, text=text)


@mistake("pre_tokenize", says="The space before a word is a piece of its own; it belongs to the word.")
def spaces_stand_alone(text):
    return _find(TAIL, r"\p{L}+", r"\p{N}+", r"[^\s\p{L}\p{N}]+", RUN, REST, text=text)


@mistake("pre_tokenize", says="The space goes with words only; numbers and symbols take it along, too.")
def space_for_words_only(text):
    return _find(TAIL, WORD, r"\p{N}+", r"[^\s\p{L}\p{N}]+", RUN, REST, text=text)


@mistake("pre_tokenize", says="The space goes with words and numbers, but not with symbols.")
def no_space_for_symbols(text):
    return _find(TAIL, WORD, NUMBER, r"[^\s\p{L}\p{N}]+", RUN, REST, text=text)


@mistake("pre_tokenize", says="The space behind a word is taken; it is the space before it that goes along.")
def space_behind(text):
    return _find(TAIL, r"\p{L}+ ?", r"\p{N}+ ?", r"[^\s\p{L}\p{N}]+ ?", RUN, REST, text=text)


@mistake("pre_tokenize", says="Any white space goes along with a word; only the space U+0020 may.")
def any_white_space_goes_along(text):
    return _find(TAIL, r"\s?\p{L}+", r"\s?\p{N}+", r"\s?[^\s\p{L}\p{N}]+", RUN, REST, text=text)


@mistake("pre_tokenize", says="All spaces before a word go along with it; only one does.")
def all_spaces_go_along(text):
    return _find(TAIL, r" *\p{L}+", r" *\p{N}+", r" *[^\s\p{L}\p{N}]+", RUN, REST, text=text)


@mistake(
    "pre_tokenize",
    says="A run of white space is taken whole, so the next word loses its space: look ahead with (?!\\S).",
)
def run_takes_every_space(text):
    return _find(*PARTS[:4], REST, text=text)


@alike("run_takes_every_space")
def looks_for_the_end_of_the_text(text):
    return _find(*PARTS[:4], r"\s+$", REST, text=text)


@alike("run_takes_every_space")
def rest_before_run(text):
    return _find(*PARTS[:4], REST, RUN, text=text)


@mistake(
    "pre_tokenize",
    says=r"At the end of the text a run of white space falls in two: (?=\s) asks for white space behind it, (?!\S) "
    "lets the end be as well.",
)
def end_of_the_text_forgotten(text):
    return _find(*PARTS[:4], r"\s+(?=\s)", REST, text=text)


@mistake(
    "pre_tokenize",
    says=r"Only a space is left for the next word: of three line feeds or tabs, the last has to stand alone, too. "
    r"Look ahead with (?!\S).",
)
def only_a_space_is_left(text):
    return _find(*PARTS[:4], r"\s+(?= |$)", REST, text=text)


@mistake(
    "pre_tokenize",
    says=r"(?= ) looks for a space behind the run: neither other white space nor the end of the text is one. "
    r"Look ahead with (?!\S).",
)
def looks_for_a_space(text):
    return _find(*PARTS[:4], r"\s+(?= )", REST, text=text)


@mistake(
    "pre_tokenize",
    says="The last alternative is missing: one line feed or tab before a word belongs to no piece and is lost.",
)
def no_last_alternative(text):
    return _find(*PARTS[:5], text=text)


@mistake("pre_tokenize", says="White space that goes with no word is lost: alternatives 5 and 6 are missing.")
def no_white_space(text):
    return _find(*PARTS[:4], text=text)


@alike("no_white_space")
def white_pieces_dropped(text):
    return [piece for piece in _find(*PARTS, text=text) if not piece.isspace()]


@mistake("pre_tokenize", says="White space is cut into single characters: a + is missing.")
def white_space_one_by_one(text):
    return _find(*PARTS[:4], r"\s", text=text)


@mistake(
    "pre_tokenize",
    says="Line feeds are cut off from the spaces around them; a run of white space is one piece. (GPT-4 does that.)",
)
def line_feeds_apart(text):
    return _find(*PARTS[:4], r"\s*[\r\n]+", RUN, REST, text=text)


@mistake("pre_tokenize", says="Cut line by line: a run of white space that goes over the end of a line falls apart.")
def line_by_line(text):
    return [piece for line in text.splitlines(keepends=True) for piece in _find(*PARTS, text=line)]


@mistake("pre_tokenize", says="[a-zA-Z] are the letters of English; \\p{L} are those of every script.")
def english_letters(text):
    return _find(TAIL, " ?[a-zA-Z]+", " ?[0-9]+", " ?[^\\sa-zA-Z0-9]+", RUN, REST, text=text)


@mistake(
    "pre_tokenize",
    says="[a-zA-Z] and [0-9] beside [^\\s\\p{L}\\p{N}]: letters and numbers of other scripts fit nowhere and are lost.",
)
def other_scripts_lost(text):
    return _find(TAIL, " ?[a-zA-Z]+", " ?[0-9]+", SYMBOLS, RUN, REST, text=text)


@mistake("pre_tokenize", says="\\d are decimal digits only; \\p{N} has ½, ² and Ⅷ as well, which are lost here.")
def decimal_digits_lose_the_rest(text):
    return _find(TAIL, WORD, r" ?\d+", SYMBOLS, RUN, REST, text=text)


@mistake("pre_tokenize", says="½, ² and Ⅷ are taken for symbols: \\d are decimal digits only, \\p{N} all numbers.")
def decimal_digits_only(text):
    return _find(TAIL, WORD, r" ?\d+", r" ?[^\s\p{L}\d]+", RUN, REST, text=text)


@alike("decimal_digits_only")
def category_nd(text):
    return _find(TAIL, WORD, r" ?\p{Nd}+", r" ?[^\s\p{L}\p{Nd}]+", RUN, REST, text=text)


@mistake(
    "pre_tokenize",
    says="Combining marks are taken for letters. That suits Hindi better, but GPT-2's pattern cuts there.",
)
def marks_are_letters(text):
    return _find(TAIL, r" ?[\p{L}\p{M}]+", NUMBER, r" ?[^\s\p{L}\p{N}\p{M}]+", RUN, REST, text=text)


@mistake("pre_tokenize", says="_ is taken for a letter, as \\w does; it is a symbol.")
def underscore_is_a_letter(text):
    return _find(TAIL, r" ?[\p{L}_]+", NUMBER, r" ?[^\s\p{L}\p{N}_]+", RUN, REST, text=text)


@mistake("pre_tokenize", says="Letters and numbers are taken together: v2 has to be cut into v and 2.")
def letters_with_numbers(text):
    return _find(TAIL, r" ?[\p{L}\p{N}]+", SYMBOLS, RUN, REST, text=text)


@mistake("pre_tokenize", says="Every digit is a piece, as in Llama 2; GPT-2 keeps numbers whole.")
def digit_by_digit(text):
    return _find(TAIL, WORD, r" ?\p{N}", SYMBOLS, RUN, REST, text=text)


@mistake("pre_tokenize", says="Numbers are cut into groups of three, as in GPT-4 and Llama 3; GPT-2 keeps them whole.")
def three_digits_at_a_time(text):
    return _find(TAIL, WORD, r" ?\p{N}{1,3}", SYMBOLS, RUN, REST, text=text)


@mistake("pre_tokenize", says="Every symbol is a piece: a + is missing behind [^\\s\\p{L}\\p{N}].")
def symbols_one_by_one(text):
    return _find(TAIL, WORD, NUMBER, r" ?[^\s\p{L}\p{N}]", RUN, REST, text=text)


@mistake(
    "pre_tokenize",
    says="The symbols are a list of ASCII punctuation: a dash, a euro sign, an emoji fit nowhere and are lost.",
)
def ascii_punctuation(text):
    return _find(TAIL, WORD, NUMBER, f" ?[{re.escape(string.punctuation)}]+", RUN, REST, text=text)


@mistake("pre_tokenize", says="A group that captures: findall then returns the group and not the match. Write (?:…).")
def group_captures(text):
    return _find(r"'([sdmt]|ll|ve|re)", *PARTS[1:], text=text)


@mistake("pre_tokenize", says="Several groups capture: findall returns a tuple for each match, not the match.")
def groups_capture(text):
    return regex.findall("|".join(f"({part})" for part in PARTS), text)


@mistake("pre_tokenize", says="The pieces are stripped: their spaces are part of them.")
def pieces_stripped(text):
    return [piece.strip() for piece in _find(*PARTS, text=text)]


@alike("pieces_stripped")
def pieces_without_spaces(text):
    return ["".join(piece.split()) for piece in _find(*PARTS, text=text)]


@mistake("pre_tokenize", says="The text is written small first: capitals do not come back.")
def written_small(text):
    return _find(*PARTS, text=text.lower())


@mistake("pre_tokenize", says="The text is stripped first: white space at its ends does not come back.")
def text_stripped(text):
    return _find(*PARTS, text=text.strip())


@mistake("pre_tokenize", says="The text is normalised first (NFC or NFKC): it looks the same, and is another text.")
def normalised(text):
    return _find(*PARTS, text=unicodedata.normalize("NFKC", text))


@mistake("pre_tokenize", says="The pieces come as an iterator; a list is expected.")
def match_objects(text):
    return regex.finditer("|".join(PARTS), text)


# ---- regex


@mistake(
    "regex", of="RegexTokenizer.train", says="Trained on words between white space, but encode cuts into pre-tokens."
)
def trains_on_words(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [w for text in texts for w in text.split()], min_freq, special_tokens)


@mistake(
    "regex",
    of="RegexTokenizer.train",
    says="The texts are joined before they are cut: the end of one goes together with the start of the next.",
)
def pieces_across_texts(self, texts, min_freq=1, special_tokens=()):
    _learn(self, _find(*PARTS, text="".join(texts)), min_freq, special_tokens)


@mistake("regex", of="RegexTokenizer.train", says="The texts are joined by line feeds that stand in none of them.")
def line_feeds_between_texts(self, texts, min_freq=1, special_tokens=()):
    _learn(self, _find(*PARTS, text="\n".join(texts)), min_freq, special_tokens)


@mistake("regex", of="RegexTokenizer.train", says="min_freq is not passed on to build_vocab.")
def pieces_without_min_freq(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [p for text in texts for p in _find(*PARTS, text=text)], 1, special_tokens)


@mistake("regex", of="RegexTokenizer.train", says="special_tokens is not passed on to build_vocab.")
def pieces_without_specials(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [p for text in texts for p in _find(*PARTS, text=text)], min_freq, ())


@mistake(
    "regex", of="RegexTokenizer.train", says="Only the last text is learned: the vocabulary is built anew for each."
)
def pieces_of_the_last_text(self, texts, min_freq=1, special_tokens=()):
    for text in texts:
        _learn(self, _find(*PARTS, text=text), min_freq, special_tokens)


@mistake(
    "regex",
    of="RegexTokenizer.train",
    says="Neither min_freq nor special_tokens reaches build_vocab: pass both on.",
)
def pieces_without_either(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [p for text in texts for p in _find(*PARTS, text=text)], 1, ())


@mistake(
    "regex",
    of="RegexTokenizer.train",
    says="A second training updates the first one's dict: its pieces stay, and new pieces share their ids.",
)
def pieces_updated(self, texts, min_freq=1, special_tokens=()):
    self.vocab.update(_vocab([p for text in texts for p in _find(*PARTS, text=text)], min_freq, special_tokens))
    self.tokens = {i: t for t, i in self.vocab.items()}


@mistake("regex", of="RegexTokenizer.train", says="A second training adds to the first; it has to replace it.")
def pieces_never_forgotten(self, texts, min_freq=1, special_tokens=()):
    new = _vocab([p for text in texts for p in _find(*PARTS, text=text)], min_freq, special_tokens)
    for token in new:
        self.vocab.setdefault(token, len(self.vocab))
    self.tokens.update({i: t for t, i in self.vocab.items()})


@mistake(
    "regex",
    of="RegexTokenizer.train",
    says='The pieces are stripped: the vocabulary has "cat" where the text has " cat".',
)
def learns_stripped_pieces(self, texts, min_freq=1, special_tokens=()):
    _learn(self, [p.strip() for text in texts for p in _find(*PARTS, text=text)], min_freq, special_tokens)


@mistake("regex", of="RegexTokenizer.encode", says="encode cuts at white space, but the vocabulary holds pre-tokens.")
def encodes_words(self, text):
    return [self.vocab.get(w, 0) for w in text.split()]


@mistake(
    "regex",
    of="RegexTokenizer.encode",
    says='The pieces are stripped before looking up: " cat" is not found, or found as "cat".',
)
def looks_up_stripped_pieces(self, text):
    return [self.vocab.get(p.strip(), 0) for p in _find(*PARTS, text=text)]


@mistake("regex", of="RegexTokenizer.encode", says="Unknown pieces are skipped; each has to become 0.")
def skips_unknown_pieces(self, text):
    return [self.vocab[p] for p in _find(*PARTS, text=text) if p in self.vocab]


@mistake("regex", of="RegexTokenizer.encode", says="An unknown piece raises KeyError; it has to become 0.")
def unknown_piece_raises(self, text):
    return [self.vocab[p] for p in _find(*PARTS, text=text)]


@mistake(
    "regex", of="RegexTokenizer.encode", says="The text is stripped first: white space at its ends does not come back."
)
def encode_strips(self, text):
    return [self.vocab.get(p, 0) for p in _find(*PARTS, text=text.strip())]


@mistake(
    "regex", of="RegexTokenizer.decode", says="Joined with spaces, but the pieces carry their own: every word gets two."
)
def joined_with_spaces(self, ids):
    return " ".join(self.tokens.get(i, UNK) for i in ids)


@alike("joined_with_spaces")
def spaces_added_one_by_one(self, ids):
    text = ""
    for i in ids:
        text += (" " if text else "") + self.tokens.get(i, UNK)
    return text


@mistake("regex", of="RegexTokenizer.decode", says="The text is stripped at the end: white space at its ends is text.")
def decode_strips(self, ids):
    return "".join(self.tokens.get(i, UNK) for i in ids).strip()


@mistake(
    "regex",
    of="RegexTokenizer.decode",
    says='Stripped, and joined with single spaces: "don\'t" comes back as "don \'t".',
)
def stripped_and_spaced(self, ids):
    return " ".join(self.tokens.get(i, UNK).strip() for i in ids)


@mistake("regex", of="RegexTokenizer.decode", says="An id that is nobody's raises; it has to read <unk>.")
def unknown_piece_id_raises(self, ids):
    return "".join(self.tokens[i] for i in ids)


@mistake("regex", of="RegexTokenizer.decode", says="Ids that are nobody's are skipped; each has to read <unk>.")
def skips_unknown_piece_ids(self, ids):
    return "".join(self.tokens.get(i, "") for i in ids)


# ---- bytes


@mistake(
    "bytes",
    of="ByteTokenizer.encode",
    says="ord() gives code points, not bytes: the first letter beyond ASCII may be right, 中 is 20013.",
)
def code_points(self, text):
    return [ord(c) for c in text]


@alike("code_points")
def utf32(self, text):
    data = text.encode("utf-32-le")
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


@mistake(
    "bytes", of="ByteTokenizer.encode", says="Latin-1 has one byte for each of 256 characters and none for the rest."
)
def latin_1(self, text):
    return list(text.encode("latin-1", errors="replace"))


@mistake(
    "bytes", of="ByteTokenizer.encode", says="ASCII: everything beyond it is thrown away or turned into question marks."
)
def ascii_only(self, text):
    return list(text.encode("ascii", errors="ignore"))


@mistake(
    "bytes",
    of="ByteTokenizer.encode",
    says="UTF-16: two bytes to every letter, and two in front that say in which order.",
)
def utf16(self, text):
    return list(text.encode("utf-16"))


@mistake(
    "bytes",
    of="ByteTokenizer.encode",
    says="utf-8-sig puts three bytes in front of every text, even an empty one; plain utf-8 does not.",
)
def byte_order_mark(self, text):
    return list(text.encode("utf-8-sig"))


@mistake("bytes", of="ByteTokenizer.encode", says="The bytes are returned as bytes; ids are a list of numbers.")
def bytes_not_ids(self, text):
    return text.encode("utf-8")


@mistake("bytes", of="ByteTokenizer.encode", says="One-byte strings instead of numbers.")
def bytes_one_by_one(self, text):
    return [bytes([b]) for b in text.encode("utf-8")]


@mistake(
    "bytes", of="ByteTokenizer.encode", says="The text is normalised first: it looks the same, and is another text."
)
def bytes_of_another_text(self, text):
    return list(unicodedata.normalize("NFC", text).encode("utf-8"))


@mistake(
    "bytes",
    of="ByteTokenizer.encode",
    says="Lines are put together anew: \\r\\n, \\x85 and \\u2028 become plain line feeds.",
)
def line_ends_changed(self, text):
    return list("\n".join(text.splitlines()).encode("utf-8"))


@mistake(
    "bytes",
    of="ByteTokenizer.decode",
    says="Half a character raises UnicodeDecodeError: a stream that stops there takes the server down.",
)
def strict(self, ids):
    return bytes(ids).decode("utf-8")


@mistake(
    "bytes",
    of="ByteTokenizer.decode",
    says='errors="ignore" drops what it cannot read: nobody sees that something is missing.',
)
def ignores_errors(self, ids):
    return bytes(ids).decode("utf-8", errors="ignore")


@mistake(
    "bytes", of="ByteTokenizer.decode", says="surrogateescape makes characters that no file, terminal or JSON accepts."
)
def surrogate_escapes(self, ids):
    return bytes(ids).decode("utf-8", errors="surrogateescape")


@mistake(
    "bytes",
    of="ByteTokenizer.decode",
    says="The unreadable bytes are spelled out as \\xe2 and the like, which is text that nobody wrote.",
)
def spells_bytes_out(self, ids):
    return bytes(ids).decode("utf-8", errors="backslashreplace")


@mistake(
    "bytes", of="ByteTokenizer.decode", says="Each byte is decoded by itself: a character of several bytes falls apart."
)
def byte_by_byte(self, ids):
    return "".join(bytes([i]).decode("utf-8", errors="replace") for i in ids)


@mistake("bytes", of="ByteTokenizer.decode", says="chr() of each byte is Latin-1: é comes back as Ã©.")
def mojibake(self, ids):
    return "".join(map(chr, ids))


@alike("mojibake")
def decodes_latin_1(self, ids):
    return bytes(ids).decode("latin-1")


@mistake("bytes", of="ByteTokenizer.decode", says="utf-8-sig swallows U+FEFF at the start of a text.")
def swallows_the_mark(self, ids):
    return bytes(ids).decode("utf-8-sig", errors="replace")


@mistake("bytes", of="ByteTokenizer.decode", says="On an error, the whole text is given up.")
def gives_up(self, ids):
    try:
        return bytes(ids).decode("utf-8")
    except UnicodeDecodeError:
        return ""


@mistake(
    "bytes",
    of="ByteTokenizer.decode",
    says="On an error, bytes are cut from the end until it reads well: nobody sees the half character.",
)
def cuts_until_it_reads(self, ids):
    for end in range(len(ids), -1, -1):
        try:
            return bytes(ids[:end]).decode("utf-8")
        except UnicodeDecodeError:
            continue
    return ""


@mistake("bytes", of="ByteTokenizer.ready", says="Everything is called ready: the reader sees half characters.")
def always_ready(self, ids):
    return len(ids)


@mistake(
    "bytes",
    of="ByteTokenizer.ready",
    says="Only ASCII is called ready: a text in Chinese is never shown until a line ends.",
)
def ready_up_to_ascii(self, ids):
    return max((n for n in range(1, len(ids) + 1) if ids[n - 1] < 128), default=0)


@mistake(
    "bytes",
    of="ByteTokenizer.ready",
    says="Every last byte above 127 is held back, also when its character is complete: ask its first byte how many "
    "there are.",
)
def holds_every_high_byte(self, ids):
    return len(ids) - (len(ids) > 0 and ids[-1] >= 0x80)


@mistake("bytes", of="ByteTokenizer.ready", says="The last character is held back even when it is complete.")
def holds_the_last_character(self, ids):
    n = len(ids)
    while n and 0x80 <= ids[n - 1] < 0xC0:
        n -= 1
    return n - (1 if n and ids[n - 1] >= 0xC0 else 0)


@mistake(
    "bytes",
    of="ByteTokenizer.ready",
    says="Only a first byte without any other is held back: of three or four bytes, two are shown as half a character.",
)
def looks_at_the_last_byte_only(self, ids):
    return len(ids) - (len(ids) > 0 and ids[-1] >= 0xC0)


@mistake(
    "bytes",
    of="ByteTokenizer.ready",
    says="All or nothing: if the end is not complete, not even what comes before it is shown.",
)
def all_or_nothing(self, ids):
    try:
        bytes(ids).decode("utf-8")
    except UnicodeDecodeError:
        return 0
    return len(ids)


@mistake(
    "bytes",
    of="ByteTokenizer.ready",
    says="A text that ends in � is taken for incomplete; U+FFFD may stand in the text itself. Real servers do this.",
)
def takes_a_mark_for_an_error(self, ids):
    return len(bytes(ids).decode("utf-8", errors="replace").rstrip("\ufffd").encode("utf-8"))


@alike("takes_a_mark_for_an_error")
def waits_while_it_ends_in_a_mark(self, ids):
    n = len(ids)
    while n and bytes(ids[:n]).decode("utf-8", errors="replace").endswith("\ufffd"):
        n -= 1
    return n


@mistake("bytes", of="ByteTokenizer.ready", says="Characters are counted, not ids.")
def counts_characters(self, ids):
    return len(bytes(ids).decode("utf-8", errors="ignore"))


@mistake("bytes", of="ByteTokenizer.ready", says="It counts what is to be held back; asked is how much can be shown.")
def counts_what_waits(self, ids):
    return len(ids) - len(bytes(ids).decode("utf-8", errors="ignore").encode("utf-8"))


@mistake(
    "bytes",
    of="ByteTokenizer.ready",
    says="Characters of four bytes are forgotten: three of the four are shown as half a character.",
)
def looks_back_two(self, ids):
    for back, byte in enumerate(reversed(ids[-2:]), start=1):
        if byte >= 0xC0:
            return len(ids) - back if back < 2 + (byte >= 0xE0) + (byte >= 0xF0) else len(ids)
    return len(ids)


@alike("looks_back_two")
def no_fourth_byte(self, ids):
    for back, byte in enumerate(reversed(ids[-3:]), start=1):
        if byte >= 0xC0:
            return len(ids) - back if back < 2 + (byte >= 0xE0) else len(ids)
    return len(ids)


# ---- coverage


@mistake("coverage", says="Counts different tokens; a token that stands in the test ten times counts ten times.")
def types_not_tokens(train, test, sizes):
    return [len(set(test) & set(_top(train, s))) / len(set(test)) for s in sizes]


@mistake("coverage", says="The vocabulary is ranked by the test tokens: it may know nothing of them.")
def ranked_by_test(train, test, sizes):
    return [sum(t in _top(test, s) for t in test) / len(test) for s in sizes]


@mistake("coverage", says="The vocabulary is ranked by training and test together: the test leaks into it.")
def ranked_by_both(train, test, sizes):
    return [sum(t in _top([*train, *test], s) for t in test) / len(test) for s in sizes]


@mistake("coverage", says="It covers the training tokens; asked is the test.")
def covers_train(train, test, sizes):
    return [sum(t in _top(train, s) for t in train) / len(train) for s in sizes]


@mistake("coverage", says="In percent: a share lies between 0 and 1.")
def percent(train, test, sizes):
    return [100 * sum(t in _top(train, s) for t in test) / len(test) for s in sizes]


@mistake("coverage", says="The size is off by one: one token fewer, as if <unk> took a place.")
def one_too_few(train, test, sizes):
    return [sum(t in _top(train, max(0, s - 1)) for t in test) / len(test) for s in sizes]


@mistake("coverage", says="The size is off by one: one token more, as range(size + 1) or <= takes.")
def one_too_many(train, test, sizes):
    return [sum(t in _top(train, s + 1) for t in test) / len(test) for s in sizes]


@mistake("coverage", says="The sizes are sorted first: each answer belongs to the size at its place.")
def sorts_the_sizes(train, test, sizes):
    return [sum(t in _top(train, s) for t in test) / len(test) for s in sorted(sizes)]


@mistake("coverage", says="What the token at this rank adds, not what all up to it cover.")
def not_cumulative(train, test, sizes):
    return [sum(t in _top(train, s)[s - 1 : s] for t in test) / len(test) for s in sizes]


@mistake("coverage", says="Divided by the known test tokens only: with the whole vocabulary that is always 1.")
def known_tokens_only(train, test, sizes):
    known = sum(t in set(train) for t in test)
    return [sum(t in _top(train, s) for t in test) / known for s in sizes]


@mistake("coverage", says="Divided by the number of training tokens instead of test tokens.")
def divides_by_train(train, test, sizes):
    return [sum(t in _top(train, s) for t in test) / len(train) for s in sizes]


@mistake("coverage", says="The share that is *not* covered: the rate of <unk>.")
def share_of_unk(train, test, sizes):
    return [sum(t not in _top(train, s) for t in test) / len(test) for s in sizes]


@mistake("coverage", says="The first tokens of the training text instead of its most common ones.")
def first_not_most_common(train, test, sizes):
    return [sum(t in _unique(train)[:s] for t in test) / len(test) for s in sizes]


@mistake("coverage", says="Equally common tokens are in alphabetical order: at the limit, another one is in.")
def coverage_ties_alphabetical(train, test, sizes):
    return [sum(t in _top(sorted(train), s) for t in test) / len(test) for s in sizes]


@mistake(
    "coverage",
    says="A size beyond the vocabulary raises IndexError; it covers what the whole vocabulary covers.",
)
def size_out_of_range(train, test, sizes):
    weight, covered = Counter(test), [0]
    for token in _top(train, None):
        covered.append(covered[-1] + weight[token])
    return [covered[s] / len(test) for s in sizes]


@alike("size_out_of_range")
def cumulative_sums_out_of_range(train, test, sizes):
    shares = [sum(t in _top(train, s) for t in test) / len(test) for s in range(len(set(train)) + 1)]
    return [shares[s] for s in sizes]


@mistake("coverage", says="Rounded: leave that to whoever prints it.")
def rounded(train, test, sizes):
    return [round(sum(t in _top(train, s) for t in test) / len(test), 2) for s in sizes]


# ---- the parts they share


def _unique(tokens):
    return list(dict.fromkeys(tokens))


def _number(order):
    return {t: i for i, t in enumerate(order)}


def _common(tokens, min_freq, but):
    return [t for t, n in Counter(tokens).most_common() if n >= min_freq and t not in but]


def _vocab(tokens, min_freq, special_tokens):
    return _number([*_unique([UNK, *special_tokens]), *_common(tokens, min_freq, {UNK, *special_tokens})])


def _learn(self, tokens, min_freq, special_tokens):
    self.vocab = _vocab(tokens, min_freq, special_tokens)
    self.tokens = {i: t for t, i in self.vocab.items()}


def _find(*parts, text):
    return regex.findall("|".join(parts), text)


def _top(tokens, size):
    return [t for t, _ in Counter(tokens).most_common(size)]
