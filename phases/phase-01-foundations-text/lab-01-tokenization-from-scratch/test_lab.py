"""What lab 1.1 must do.  The same file judges lab.py, solution.py and every submission.

It runs outside the process that holds the lab: `lab.f(x)` sends copies and gets plain values back.  Words, counts and
texts are drawn from `random`.  The oracles use neither regex nor Counter nor a codec: a scanner over Unicode
categories, sorting, and the bit patterns of UTF-8.
"""

import unicodedata

from labkit.spec import check, task

# ---- oracles

WHITE = set("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}
TAILS = ("'s", "'d", "'m", "'t", "'ll", "'ve", "'re")


def kind(c):
    """L letter, N number, S white space, O anything else."""
    return "S" if c in WHITE else k if (k := unicodedata.category(c)[0]) in "LN" else "O"


def cut(text):
    """GPT-2's pre-tokens, one character at a time."""
    pieces, i = [], 0
    while i < len(text):
        tail = next((t for t in TAILS if text.startswith(t, i)), "")
        start = i + (text[i] == " " and i + 1 < len(text) and kind(text[i + 1]) != "S")  # does the space go along?
        j, k = start, kind(text[start])
        while j < len(text) and kind(text[j]) == k:
            j += 1
        if k == "S" and j < len(text) and j - i > 1:
            j -= 1  # the last of a run stays for the next word
        pieces.append(tail or text[i:j])
        i += len(pieces[-1])
    return pieces


def numbered(tokens, min_freq=1, special_tokens=()):
    """The vocabulary, by sorting."""
    names = ["<unk>"]
    for token in special_tokens:
        names += [token] * (token not in names)
    often = [t for t in set(tokens) - set(names) if tokens.count(t) >= min_freq]
    names += sorted(often, key=lambda t: (-tokens.count(t), tokens.index(t)))
    return {name: i for i, name in enumerate(names)}


def utf8(c):
    """The bytes of one character, from the table of RFC 3629."""
    n = ord(c)
    if n < 0x80:
        return [n]
    size = 2 if n < 0x800 else 3 if n < 0x10000 else 4
    rest = [0x80 | (n >> 6 * i) & 0x3F for i in reversed(range(size - 1))]
    return [(0xF00 >> size) & 0xFF | n >> 6 * (size - 1), *rest]


def covered(train, test, size):
    most = sorted(set(train), key=lambda t: (-train.count(t), train.index(t)))[:size]
    return sum(t in most for t in test) / len(test)


# ---- texts

LETTERS = {
    "Latin": "abcdefghijklmnopqrstuvwxyz",
    "accents": "éüñøßœğž",
    "Greek": "αβγδεζηθλμπψω",
    "Cyrillic": "абвгдежзиклмя",
    "Arabic": "ابتثجحدرسشعكلمنوي",
    "Chinese": "中文字人自由生尊严三千一二",
    "Korean": "한국어말글나라",
}
DIGITS = ["0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "²³½¼¾", "ⅠⅡⅣⅧⅫ", "①②③"]
MARKS = ["हिन्दी", "e\u0301", "n\u0303o", "ไทยแท้", "عَرَبِيّ"]
EMOJI = ["👍🏽", "👨\u200d👩\u200d👧", "🇯🇵", "🏳️\u200d🌈", "☕️", "🎉🎉", "1️⃣"]
SYMBOLS = ["...", "?!", "_", "__", "—", "€", "(", '")', "->", "’", "'", "''", "%", "\u200b", "·", "。", "$"]
SPACES = [
    "",
    "",
    " ",
    " ",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\t",
    " \n",
    "\n ",
    "\r\n",
    "\n    ",
    "\u3000",
    "\xa0",
    " \u2003 ",
]


def word(random, script="Latin", low=3, high=8):
    return "".join(random.choice(LETTERS[script]) for _ in range(random.randint(low, high)))


def words(random, n):
    """n different words, none of them a special token."""
    found = {}
    while len(found) < n:
        found[word(random)] = None
    return list(found)


def corpus(random, specials=()):
    """Tokens with many equals: several words for each count from 1 to 4, one that leads, in random order."""
    counts = [7, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1]
    tokens = [w for w, n in zip(words(random, len(counts)), counts, strict=True) for _ in range(n)]
    tokens += [s for s in specials for _ in range(random.randint(2, 5))]
    random.shuffle(tokens)
    return tokens


def shared(random, tokens):
    """The tokens spread over texts, with white space of every kind between them and none at the ends."""
    texts = []
    while tokens:
        n = random.randint(1, 6)
        texts.append("".join(t + random.choice([" ", "  ", "\n", "\t ", "\r\n"]) for t in tokens[:n]).strip())
        tokens = tokens[n:]
    return texts


def fragment(random):
    tails = [*TAILS, *(t.upper() for t in TAILS), *(t.replace("'", "’") for t in TAILS)]
    number = "".join(random.choices(random.choice(DIGITS), k=random.randint(1, 5)))
    a = word(random, random.choice(list(LETTERS)), 1, 5)
    return random.choice(
        [a, a.capitalize(), a.upper(), a + random.choice(tails), number, a + number, number + a, f"_{a}_{number}",
         random.choice(MARKS), random.choice(EMOJI), random.choice(SYMBOLS), "".join(random.choices(SYMBOLS, k=3))]
    )  # fmt: skip


def anything(random, n=12):
    """A text of many scripts: fragments, with or without white space around them."""
    return "".join(random.choice(SPACES) + fragment(random) for _ in range(n)) + random.choice(SPACES)


# ---- build_vocab


@task("build_vocab")
def test_unk_then_specials_then_the_most_common(lab, random):
    a, b, c = words(random, 3)
    tokens = [a, b, c, b, c, c]
    check.equal(lab.build_vocab(tokens), numbered(tokens), why="three words, seen 1, 2 and 3 times")
    tokens = corpus(random)
    check.equal(lab.build_vocab(tokens)["<unk>"], 0, why="the id of <unk>")
    specials = random.sample(["<pad>", "<bos>", "<eos>", "<mask>"], 3)
    ids = lab.build_vocab([a, b, b], special_tokens=specials)
    check.equal(ids, numbered([a, b, b], 1, specials), why=f"special tokens {', '.join(specials)}")


@task("build_vocab")
def test_equals_stay_in_the_order_of_first_appearance(lab, random):
    for _ in range(3):
        tokens = corpus(random)
        check.equal(lab.build_vocab(tokens), numbered(tokens), why="many words are equally common")


@task("build_vocab")
def test_min_freq_keeps_what_occurs_just_often_enough(lab, random):
    for min_freq in random.sample([2, 3, 4, 5], 3):
        tokens = corpus(random)
        check.equal(lab.build_vocab(tokens, min_freq), numbered(tokens, min_freq), why=f"min_freq={min_freq}")


@task("build_vocab")
def test_special_tokens_need_not_occur_in_the_text(lab, random):
    tokens, specials = corpus(random), random.sample(["<pad>", "<bos>", "<eos>"], 3)
    check.equal(lab.build_vocab(tokens, 3, specials), numbered(tokens, 3, specials), why="specials, and min_freq=3")


@task("build_vocab")
def test_a_special_token_in_the_text_keeps_its_id(lab, random):
    specials = [f"<{w}>" for w in words(random, 3)]
    tokens = corpus(random, specials)
    check.equal(
        lab.build_vocab(tokens, 2, specials), numbered(tokens, 2, specials), why="the text names the special tokens"
    )
    tokens = corpus(random, ["<unk>"])
    check.equal(lab.build_vocab(tokens), numbered(tokens), why="<unk> stands in the text")


@task("build_vocab")
def test_a_special_token_named_twice_gets_one_id(lab, random):
    tokens, (a, b) = corpus(random), words(random, 2)
    for specials in ([a, b, a], ["<unk>", b, a], [b, "<unk>"]):
        check.equal(
            lab.build_vocab(tokens, 2, specials), numbered(tokens, 2, specials), why=f"special_tokens={specials}"
        )


@task("build_vocab")
def test_no_text_at_all(lab, random):
    specials = words(random, 2)
    check.equal(lab.build_vocab([], 2, specials), numbered([], 2, specials), why="no tokens")


@task("build_vocab")
def test_tokens_may_come_from_a_generator(lab, random):
    tokens = corpus(random)
    check.equal(lab.probe(from_generator, tokens, 2), numbered(tokens, 2), why="a generator can be read only once")


@task("build_vocab")
def test_the_callers_lists_are_left_alone(lab, random):
    check.equal(lab.probe(changed, corpus(random), words(random, 3)), [], why="your function changed these arguments")


# ---- whitespace


@task("whitespace")
def test_words_train(lab, random):
    for min_freq, specials in ((1, []), (2, ["<pad>"]), (3, ["<bos>", "<eos>"])):
        tokens, tok = corpus(random), lab.WhitespaceTokenizer()
        tok.train(shared(random, tokens), min_freq=min_freq, special_tokens=specials)
        why = f"vocab after train(texts, min_freq={min_freq}, special_tokens={specials})"
        check.equal(tok.vocab, numbered(tokens, min_freq, specials), why=why)


@task("whitespace")
def test_words_encode(lab, random):
    tok, tokens, (new, other) = lab.WhitespaceTokenizer(), corpus(random), ("ZYX", "Q")
    tok.train(shared(random, tokens))
    ids = numbered(tokens)
    some = random.sample(sorted(set(tokens)), 5)
    check.equal(tok.encode(" ".join(some)), [ids[w] for w in some], why="known words, one space between")
    check.equal(
        tok.encode(f"{some[0]} {new} {some[1]} {other}"), [ids[some[0]], 0, ids[some[1]], 0], why="two unknown words"
    )
    messy = f"\n {some[0]}  {some[1]}\t{some[2]}\r\n\n{some[3]} \u3000{some[4]} "
    check.equal(tok.encode(messy), [ids[w] for w in some], why="all kinds of white space")
    check.equal(tok.encode(some[2].upper()), [0], why="capitals make another word")
    check.equal([tok.encode(""), tok.encode(" \n")], [[], []], why="no words")


@task("whitespace")
def test_words_decode(lab, random):
    tok, tokens = lab.WhitespaceTokenizer(), corpus(random)
    tok.train(shared(random, tokens), special_tokens=["<pad>"])
    names = list(numbered(tokens, 1, ["<pad>"]))
    ids = [random.randrange(1, len(names)) for _ in range(6)]
    check.equal(tok.decode(ids), " ".join(names[i] for i in ids), why="ids of words")
    check.equal(
        tok.decode([ids[0], 0, 1, ids[1]]), f"{names[ids[0]]} <unk> <pad> {names[ids[1]]}", why="<unk> is 0, <pad> 1"
    )
    check.equal(tok.decode([ids[2], len(names)]), f"{names[ids[2]]} <unk>", why="an id just past the last one")
    check.equal(
        tok.decode([ids[3], -1, ids[4]]), f"{names[ids[3]]} <unk> {names[ids[4]]}", why="a negative id is nobody's"
    )
    check.equal(tok.decode([]), "", why="no ids")


@task("whitespace")
def test_words_train_again(lab, random):
    first, second, tok, other = corpus(random), corpus(random), lab.WhitespaceTokenizer(), lab.WhitespaceTokenizer()
    tok.train(shared(random, first))
    other.train(shared(random, second))
    check.equal(tok.vocab, numbered(first), why="another tokenizer was trained on other texts meanwhile")
    tok.train(shared(random, second))
    check.equal(tok.vocab, numbered(second), why="trained a second time, on other texts")
    some = second[0]
    check.equal(
        tok.decode(tok.encode(f"{some} {first[0]}")), f"{some} <unk>", why="words of the first training are gone"
    )


@task("whitespace")
def test_texts_may_come_from_a_generator(lab, random):
    tokens = corpus(random)
    got = lab.probe(train_on_generator, "WhitespaceTokenizer", shared(random, tokens))
    check.equal(got, numbered(tokens), why="a generator can be read only once")


# ---- pre_tokenize


def same(lab, text, why):
    check.equal(lab.pre_tokenize(text), cut(text), why=why)


@task("pre_tokenize")
def test_a_word_takes_the_space_before_it_along(lab, random):
    a, b, c = words(random, 3)
    same(lab, f"{a} {b} {c}", why="words with one space between them")
    same(lab, f" {a} ({b}) - {c}!", why="symbols take it along, too")
    same(lab, f"{a} {random.randint(10, 99)} {random.randint(100, 99999)}", why="and so do numbers")
    same(lab, a.capitalize() + " " + b.upper(), why="capitals stay capitals")


@task("pre_tokenize")
def test_contractions_are_cut_off(lab, random):
    for tail in random.sample(TAILS, len(TAILS)):
        a, b = words(random, 2)
        same(lab, f"{a}{tail} {b}", why=f"a word that ends in {tail}")


@task("pre_tokenize")
def test_only_small_letters_and_the_plain_apostrophe(lab, random):
    for tail in random.sample(["'S", "'LL", "'Re", "'VE", "'T"], 3):
        same(lab, f"{word(random).upper()}{tail} {word(random)}", why=f"{tail} is no contraction to GPT-2")
    same(lab, f"{word(random)}’{random.choice(['s', 'll', 're'])}", why="a curly apostrophe is a symbol like others")


@task("pre_tokenize")
def test_a_contraction_is_cut_even_where_none_is_meant(lab, random):
    a, b = words(random, 2)
    same(lab, f"{a}'s{b}", why="'s with letters behind it")
    same(lab, f"{a} 's {b}", why="a space before the apostrophe: it goes with the symbol, and the s is left")
    same(lab, f"{a}!'s", why="behind a symbol, the apostrophe is taken with it")


@task("pre_tokenize")
def test_letters_and_numbers_do_not_mix(lab, random):
    a, b, n = *words(random, 2), random.randint(1000, 9_999_999)
    same(lab, f"{a}{n}{b}", why="a number inside a word")
    same(lab, f"{n} {n}", why="a number stays whole, however long")
    for digits in DIGITS[1:]:
        number = "".join(random.choices(digits, k=4))
        same(lab, f"{a} {number}{b}{number}", why="numbers are more than 0 to 9")


@task("pre_tokenize")
def test_an_underscore_is_a_symbol(lab, random):
    a, b = words(random, 2)
    same(lab, f"__{a}_{b}2__", why="a name in a program")


@task("pre_tokenize")
def test_symbols_stay_together(lab, random):
    a, b = words(random, 2)
    same(lab, f"{a}?!... {b} -> ({a})", why="runs of symbols")
    same(lab, " ".join(random.sample(EMOJI, 4)) + a, why="emoji of several code points")


@task("pre_tokenize")
def test_letters_of_every_script(lab, random):
    for script in random.sample(list(LETTERS), len(LETTERS)):
        same(lab, f"{word(random, script)} {word(random, script)}, {word(random, script)}", why=script)


@task("pre_tokenize")
def test_combining_marks_are_not_letters(lab, random):
    for mark in random.sample(MARKS, len(MARKS)):
        same(lab, f"{word(random)} {mark} {word(random)}", why="a mark belongs to no letter: the word is cut there")


@task("pre_tokenize")
def test_the_last_space_of_a_run_goes_with_the_word(lab, random):
    a, b, n = *words(random, 2), random.randint(3, 8)
    same(lab, f"{a}{' ' * n}{b}", why=f"{n} spaces")
    same(lab, f"{a}\n{' ' * n}{b}", why="an indented line")
    same(lab, f"{a}  {random.randint(10, 99)}  ({b}", why="two spaces before a number and a symbol")


@task("pre_tokenize")
def test_no_other_white_space_goes_with_a_word(lab, random):
    a, b = words(random, 2)
    for white in random.sample(["\n", "\t", "\xa0", "\u3000", "\u2003"], 3):
        same(lab, f"{a}{white}{b}", why=f"one {white!r} before a word")
        same(lab, f"{a}{white * 3}{b}", why=f"three {white!r} before a word: the last is left over")


@task("pre_tokenize")
def test_white_space_at_the_end_stays_whole(lab, random):
    for white in (" ", " " * random.randint(2, 5), "\n\n", " \n\t "):
        same(lab, word(random) + white, why="at the end of the text")
    same(lab, " \n" * random.randint(1, 3), why="nothing but white space")
    same(lab, "", why="no text, no pieces")


@task("pre_tokenize")
def test_joined_the_pieces_are_the_text(lab, random):
    for _ in range(6):
        text = anything(random)
        check.equal("".join(lab.pre_tokenize(text)), text, why="nothing may be lost, added or changed")


@task("pre_tokenize")
def test_anything_at_all(lab, random):
    for _ in range(30):
        same(lab, anything(random), why="a random text")


# ---- regex


@task("regex")
def test_pieces_train(lab, random):
    for min_freq, specials in ((1, []), (2, ["<pad>", "<bos>"])):
        texts, tok = [anything(random) for _ in range(6)], lab.RegexTokenizer()
        tok.train(texts, min_freq=min_freq, special_tokens=specials)
        pieces = [piece for text in texts for piece in cut(text)]
        check.equal(
            tok.vocab, numbered(pieces, min_freq, specials), why=f"min_freq={min_freq}, special_tokens={specials}"
        )


@task("regex")
def test_each_text_is_cut_by_itself(lab, random):
    (a, b, c), tok = words(random, 3), lab.RegexTokenizer()
    texts = [f"{a} ", b, f"{c}  {a}  ", f"{b}\n", c]
    tok.train(texts)
    check.equal(
        tok.vocab, numbered([p for text in texts for p in cut(text)]), why="texts that end in white space, or in none"
    )


@task("regex")
def test_pieces_encode(lab, random):
    texts, tok = [anything(random) for _ in range(6)], lab.RegexTokenizer()
    tok.train(texts)
    ids = numbered([piece for text in texts for piece in cut(text)])
    for text in texts[:2]:
        check.equal(tok.encode(text), [ids[piece] for piece in cut(text)], why="a text of the training")
    text = f"{random.choice(texts)} ZYX{texts[1]}"
    check.equal(tok.encode(text), [ids.get(piece, 0) for piece in cut(text)], why="some pieces are new")
    check.equal(tok.encode(""), [], why="no text")


@task("regex")
def test_pieces_decode(lab, random):
    texts, tok = [anything(random) for _ in range(6)], lab.RegexTokenizer()
    tok.train(texts, special_tokens=["<pad>"])
    names = list(numbered([piece for text in texts for piece in cut(text)], 1, ["<pad>"]))
    ids = [random.randrange(len(names)) for _ in range(12)]
    check.equal(tok.decode(ids), "".join(names[i] for i in ids), why="any ids in any order")
    check.equal(tok.decode([2, len(names), 3, -1]), f"{names[2]}<unk>{names[3]}<unk>", why="ids that are nobody's")


@task("regex")
def test_known_text_comes_back_exactly(lab, random):
    texts, tok = [anything(random, 20) for _ in range(4)], lab.RegexTokenizer()
    tok.train(texts)
    for text in texts:
        check.equal(tok.decode(tok.encode(text)), text, why="its white space and symbols included")


@task("regex")
def test_pieces_train_again(lab, random):
    first, second, tok = anything(random), anything(random), lab.RegexTokenizer()
    tok.train([first])
    tok.train([second])
    check.equal(tok.vocab, numbered(cut(second)), why="trained a second time, on another text")


# ---- bytes


@task("bytes")
def test_the_bytes_of_utf8(lab, random):
    tok = lab.ByteTokenizer()
    for script in ("Latin", "accents", "Arabic", "Chinese"):
        text = word(random, script)
        check.equal(tok.encode(text), [b for c in text for b in utf8(c)], why=f"{script} letters")
    text = random.choice(EMOJI) + "".join(chr(random.randrange(0x10000, 0x10FFFF)) for _ in range(3))
    check.equal(tok.encode(text), [b for c in text for b in utf8(c)], why="four bytes to a character")
    check.equal(tok.encode(""), [], why="no text")


@task("bytes")
def test_every_string_comes_back(lab, random):
    tok = lab.ByteTokenizer()
    awkward = "\ufeff" + word(random), word(random) + "\0\r\n\x85\u2028", "\ufffd" + word(random, "Greek"), "e\u0301é"
    for text in (*awkward, *(anything(random) for _ in range(4))):
        check.equal(tok.decode(tok.encode(text)), text, why="decode(encode(text)) is text")
        check.equal(tok.decode([b for c in text for b in utf8(c)]), text, why="from its true bytes")


@task("bytes")
def test_half_a_character_shows_as_one_mark(lab, random):
    tok = lab.ByteTokenizer()
    for c in (random.choice(LETTERS["Cyrillic"]), random.choice(LETTERS["Chinese"]), random.choice("🎉👍😀🚀")):
        before = word(random)
        for n in range(1, len(utf8(c))):
            ids = [*before.encode(), *utf8(c)[:n]]
            check.equal(tok.decode(ids), before + "\ufffd", why=f"{n} of the {len(utf8(c))} bytes of {c}")


@task("bytes")
def test_a_byte_that_is_no_utf8_costs_one_mark(lab, random):
    tok = lab.ByteTokenizer()
    for byte in (random.randrange(0x80, 0xC0), random.randrange(0xF5, 0x100), random.randrange(0xC0, 0xC2)):
        a, b = word(random), word(random, "accents")
        ids = [*a.encode(), byte, *(x for c in b for x in utf8(c))]
        check.equal(tok.decode(ids), f"{a}\ufffd{b}", why=f"byte {byte:#x} in the middle of a text")


@task("bytes")
def test_ready_waits_for_the_rest_of_a_character(lab, random):
    tok = lab.ByteTokenizer()
    scripts = [word(random, script, 2, 3) for script in ("Latin", "accents", "Chinese")]
    for text in ("".join(scripts), random.choice("🎉👍😀") + word(random, low=1, high=1), random.choice("🎉👍😀") * 2):
        ids, whole = [], [0]
        for c in text:
            ids += utf8(c)
            whole.append(len(ids))
        for n in range(len(ids) + 1):
            want = max(w for w in whole if w <= n)
            check.equal(tok.ready(ids[:n]), want, why=f"the first {n} bytes of {text}")


@task("bytes")
def test_ready_does_not_take_a_mark_for_an_error(lab, random):
    tok = lab.ByteTokenizer()
    ids = [*word(random).encode(), *utf8("\ufffd")]
    for missing in (0, 1, 2):
        want = len(ids) if missing == 0 else len(ids) - 3
        check.equal(
            tok.ready(ids[: len(ids) - missing]), want, why=f"a true U+FFFD in the text, {missing} bytes missing"
        )


# ---- coverage


@task("coverage")
def test_coverage_counts_running_tokens(lab, random):
    for _ in range(3):
        train = corpus(random)
        test = random.choices([*train, *words(random, 9)], k=random.randint(40, 90))
        sizes = random.sample(range(1, 14), 5)
        check.close(lab.coverage(train, test, sizes), [covered(train, test, s) for s in sizes], why=f"sizes {sizes}")


@task("coverage")
def test_coverage_at_the_ends(lab, random):
    train = corpus(random)
    test = random.choices([*train, *words(random, 9)], k=random.randint(30, 60))
    check.close(lab.coverage(train, test, [0]), [0.0], why="no vocabulary")
    sizes = [len(set(train)) + extra for extra in (0, 1, random.randint(10, 999))]
    check.close(
        lab.coverage(train, test, sizes), [covered(train, test, s) for s in sizes], why="larger than the vocabulary"
    )
    known = random.choices(train, k=30)
    check.close(
        lab.coverage(train, known, [14, 13]), [covered(train, known, s) for s in (14, 13)], why="every token is known"
    )


@task("coverage")
def test_coverage_ranks_by_training(lab, random):
    a, b, c = words(random, 3)
    train, n = [c, a, a, a, b, b], random.randint(5, 20)
    test = [c] * n + [b] * 3 + [a]
    want = [1 / (n + 4), 4 / (n + 4), 1.0]
    check.close(lab.coverage(train, test, [1, 2, 3]), want, why="the rarest in training is the most common in the test")


# ---- probes: they run beside the lab


def from_generator(lab, tokens, min_freq):
    return lab.build_vocab((token for token in tokens), min_freq)


def train_on_generator(lab, name, texts):
    tok = getattr(lab, name)()
    tok.train(text for text in texts)
    return tok.vocab


def changed(lab, tokens, special_tokens):
    before = list(tokens), list(special_tokens)
    lab.build_vocab(tokens, 2, special_tokens)
    return [n for n, now, old in zip(("tokens", "special_tokens"), (tokens, special_tokens), before) if now != old]
