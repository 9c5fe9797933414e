"""Training against a full recount, worked examples, Hugging Face's trainer, and counted work."""

import doctest
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmcore import assets
from llmcore.tokenizers import bpe_train, formats
from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.bpe_train import learn_merges, train_bpe
from llmcore.tokenizers.patterns import PATTERNS
from llmcore.tokenizers.pretokens import count_pretokens

ROOT = Path(__file__).parents[2]
THOROUGH = settings(deadline=None, max_examples=300)
Pair = tuple[bytes, bytes]


def recount(words: Mapping[bytes, int], wanted: int) -> tuple[list[Pair], list[int], int, int | None]:
    """The definition: count every pair, take the best, rewrite every word, and again from the beginning.

    Returns the merges, their counts, how many pairs were visited, and before which merge the first tie came.
    """
    split = {word: [bytes([b]) for b in word] for word in words}
    merges, counts, visits, first_tie = [], [], 0, None
    while len(merges) < wanted:
        pairs = Counter[Pair]()
        for word, tokens in split.items():
            for pair in zip(tokens, tokens[1:], strict=False):
                pairs[pair] += words[word]
                visits += 1
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if first_tie is None and list(pairs.values()).count(pairs[best]) > 1:
            first_tie = len(merges)
        merges.append(best)
        counts.append(pairs[best])
        for word, tokens in split.items():
            merged, i = [], 0
            while i < len(tokens):
                both = tuple(tokens[i : i + 2]) == best
                merged.append(b"".join(tokens[i : i + 2]) if both else tokens[i])
                i += 2 if both else 1
            split[word] = merged
    return merges, counts, visits, first_tie


def learned(words: Mapping[bytes, int], wanted: int) -> tuple[list[Pair], list[int]]:
    found = list(learn_merges(words, wanted))
    return [(merge.left, merge.right) for merge in found], [merge.count for merge in found]


def test_the_examples_in_the_docstrings() -> None:
    found = doctest.testmod(bpe_train)
    assert found.attempted
    assert not found.failed


# the merges


# Two or three letters give ties, overlaps ("aaaa") and pairs that come up and go again within one merge; 0x00 and 0xff are
# the ends of the order of bytes; prefixes decide ties once there are long tokens.
few = st.binary(max_size=10).map(lambda word: bytes(b"ab\x00\xffabab"[b % 8] for b in word))
one_letter = st.integers(0, 17).map(lambda n: b"a" * n)


@THOROUGH
@given(
    st.dictionaries(st.one_of(few, one_letter, st.binary(max_size=5)), st.integers(1, 6), max_size=9),
    st.integers(0, 25),
)
@example({b"aaaa": 3, b"aaa": 1}, 9)
@example({b"abab": 1, b"ababab": 2}, 9)
@example({b"ab": 2, b"abc": 1, b"aab": 1, b"bab": 1}, 9)
@example({b"xa": 1, b"xab": 1, b"ya": 1, b"yab": 1}, 9)
@example({}, 3)
@example({b"": 4, b"a": 9}, 3)
def test_the_merges_are_those_of_a_full_recount(words: dict[bytes, int], wanted: int) -> None:
    merges, counts, _, _ = recount(words, wanted)
    assert learned(words, wanted) == (merges, counts)
    assert len({left + right for left, right in merges}) == len(merges)  # so no two ids have the same bytes
    backwards = dict(reversed(list(words.items())))
    assert learned(backwards, wanted) == (merges, counts)


@pytest.mark.parametrize(
    ("pattern", "characters", "wanted", "less_work"),
    [
        ("gpt2", 6_000, 1000, 100),
        ("gpt4o", 20_000, 100, 40),
        pytest.param("gpt4", 300_000, 500, 100, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_on_real_text_too(pattern: str, characters: int, wanted: int, less_work: int) -> None:
    assets.fetch("shakespeare")
    text = assets.text("shakespeare")[1_000_000:][:characters]
    words = count_pretokens([text], PATTERNS[pattern], workers=1)
    merges, counts, visits, first_tie = recount(words, wanted)
    assert len(merges) == wanted
    assert first_tie is not None  # else the rule for ties was not tried
    assert learned(words, wanted) == (merges, counts)
    # Counted, so that no machine changes it: each pair is laid out once, and visited again only where it merges. The
    # recount visits every pair before every merge; so the more merges, the more times the work.
    ours = sum(len(word) - 1 for word in words) + sum(merge.visits for merge in learn_merges(words, wanted))
    assert visits > less_work * ours


def test_a_merge_visits_only_the_places_of_its_pair() -> None:
    """Twice as many words without the pair cost not one visit more."""
    words = {b"xyz" + bytes([i]): 2 for i in range(100)}
    others = {bytes([200, i]) * 3: 1 for i in range(100)}
    ours = [merge.visits for merge in learn_merges(words, 2)]
    assert [merge.visits for merge in learn_merges(words | others, 2)] == ours == [100, 100]


def test_sennrichs_words() -> None:
    """Sennrich et al. 2016, section 3.2, by hand; their words end in a mark, ours do not.

    low 5, lower 2, newest 6, widest 3: es and st 9 times each, and (s, t) is the greater; then e+st 9; of lo and ow, 7
    times each, (o, w); l+ow 7; of the pairs with 6, (w, est) > (n, e) > (e, w); then (n, e) is the greatest.
    """
    words = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
    merges, counts = learned(words, 6)
    assert merges == [(b"s", b"t"), (b"e", b"st"), (b"o", b"w"), (b"l", b"ow"), (b"w", b"est"), (b"n", b"e")]
    assert counts == [9, 9, 7, 7, 6, 6]


def test_wikipedias_string() -> None:
    """aaabdaaabac, by hand: aa 4 times; then of aa+a and a+b, twice each, (aa, a) is the greater: "aa" > "a".

    Wikipedia takes ab there and joins it to aa in the third step: the same XdXac in the end.
    """
    merges, counts = learned({b"aaabdaaabac": 1}, 3)
    assert merges == [(b"a", b"a"), (b"aa", b"a"), (b"aaa", b"b")]
    assert counts == [4, 2, 2]


def test_of_equals_the_greater_pair_of_byte_strings_is_merged() -> None:
    assert learned({b"ab": 3, b"ba": 3}, 1)[0] == [(b"b", b"a")]
    assert learned({b"a\x80": 3, b"a\x7f": 3}, 1)[0] == [(b"a", b"\x80")]  # bytes, not signed
    # of ("ab", "x") and ("a", "x") the first is greater: a beginning comes before what it begins
    words = {b"ab": 9, b"abx": 4, b"ax": 4}
    assert learned(words, 3)[0] == [(b"a", b"b"), (b"ab", b"x"), (b"a", b"x")]


def test_frequency_decides_before_order() -> None:
    assert learned({b"zz": 1, b"ab": 2}, 2) == ([(b"a", b"b"), (b"z", b"z")], [2, 1])


def test_huggingfaces_trainer_merges_the_same_until_the_first_tie() -> None:
    """It takes of equals the pair with the lowest ids, we the greatest: after the first tie the two go different ways."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    assets.fetch("shakespeare")
    text = assets.text("shakespeare")[2_850_000:][:60_000]  # where the first tie comes late
    words = count_pretokens([text], PATTERNS["gpt2"], workers=1)
    merges, _, _, first_tie = recount(words, 60)
    assert first_tie is not None
    assert first_tie >= 40
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + first_tie, show_progress=False, initial_alphabet=alphabet)
    theirs.train_from_iterator([text], trainer)
    spelled = [tuple(merge) for merge in json.loads(theirs.to_str())["model"]["merges"]]
    plain = [tuple(part.replace("Ġ", " ").replace("Ċ", "\n").encode() for part in pair) for pair in spelled]
    assert plain == merges[:first_tie] == learned(words, first_tie)[0]


# the tokenizer


def test_ids_are_bytes_then_merges_then_special_tokens() -> None:
    specials = ["<b>", "<a>"]
    tokenizer = train_bpe(["aa<b>ab ab ab", "aa aa<a>"], 256 + 3 + 2, "gpt4", specials, workers=1)
    assert tokenizer.merges == [(b"a", b"b"), (b"a", b"a"), (b" ", b"ab")]
    assert [tokenizer.decode_bytes([i]) for i in range(256)] == [bytes([i]) for i in range(256)]
    assert [tokenizer.decode_bytes([i]) for i in range(256, 261)] == [b"ab", b"aa", b" ab", b"<b>", b"<a>"]
    assert tokenizer.vocab_size == 261
    assert tokenizer.encode("ab<a> ab<b>", allowed_special="all") == [256, 260, 258, 259]


def test_special_tokens_are_neither_counted_nor_merged_across() -> None:
    text = "<|x|>b" * 9 + "<|x|><|x|>c" * 5 + " cb"
    tokenizer = train_bpe([text], 256 + 1 + 2, "gpt2", ["<|x|>", "<|x|><|x|>"], workers=1)
    assert tokenizer.merges == [(b"c", b"b")]
    nothing_of_it = train_bpe([text.replace("<|x|>", "")], 256 + 1, "gpt2", workers=1)
    assert nothing_of_it.merges == [(b"b", b"b")]


def test_a_name_stands_for_its_pattern() -> None:
    text = ["I'LL 12345"]
    with pytest.warns(UserWarning, match="nothing is left"):
        by_name = train_bpe(text, 600, "gpt4", workers=1)
    with pytest.warns(UserWarning, match="nothing is left"):
        by_pattern = train_bpe(text, 600, PATTERNS["gpt4"], workers=1)
    assert (
        by_name.merges
        == by_pattern.merges
        == learned({p.encode(): 1 for p in regex.findall(PATTERNS["gpt4"], text[0])}, 99)[0]
    )


def test_too_little_text_gives_a_smaller_vocabulary_and_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"^nothing is left to merge: 3 merges instead of 43, 260 ids instead of 300$"):
        tokenizer = train_bpe(["abcd abcd"], 300, r"\w+", ["<s>"], workers=1)
    assert tokenizer.vocab_size == 260
    assert tokenizer.encode("<s>", allowed_special="all") == [259]


@pytest.mark.filterwarnings("error")
def test_just_enough_text_gives_none() -> None:
    assert train_bpe(["abcd abcd"], 259, r"\w+", workers=1).vocab_size == 259
    assert train_bpe([], 256 + 1, "gpt2", ["<s>"]).vocab_size == 257


@pytest.mark.parametrize(
    ("problem", "arguments"),
    [
        (r"vocab_size=257 has no room for 256 bytes and 2 special tokens", (["a"], 257, "gpt2", ["<a>", "<b>"])),
        (r"vocab_size=255 has no room", (["a"], 255, "gpt2")),
        (r"vocab_size=-1 has no room", (["a"], -1, "gpt2")),
        (r"'<b>' is a special token twice", (["a"], 300, "gpt2", ["<a>", "<b>", "<b>"])),
        (r"a special token is empty", (["a"], 300, "gpt2", ["<a>", ""])),
        (r"workers=0", (["a"], 300, "gpt2", [], 0)),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(problem: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^{problem}[^\n]*$"):
        train_bpe(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("specials", [{"<s>", "<t>"}, None])
def test_special_tokens_without_an_order_are_refused(specials: object) -> None:
    with pytest.raises(TypeError, match="special_tokens is a list: their order decides the ids"):
        train_bpe(["text"], 300, "gpt2", specials)  # type: ignore[arg-type]


def test_a_misspelled_name_of_a_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="'gpt-4' is no name of a pattern: did you mean 'gpt4'"):
        train_bpe(["text"], 300, "gpt-4")


@pytest.mark.parametrize("arguments", [("text", 300, "gpt2"), (["text"], 300, "gpt2", "<s>")])
def test_a_single_string_where_several_are_expected_is_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError, match="in a list"):
        train_bpe(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 2])
def test_files_texts_and_workers_come_to_the_same(workers: int, tmp_path: Path) -> None:
    rng = random.Random(5)
    texts = ["".join(rng.choices([" the", " cat", "\r\n", "né", "<s>", ", "], k=3000)) for _ in range(3)]
    files = [tmp_path / f"{i}.txt" for i in range(3)]
    for file, text in zip(files, texts, strict=True):
        file.write_bytes(text.encode())
    expected = train_bpe(iter(texts), 266, "gpt4o", ["<s>"], workers=1)
    assert train_bpe(files, 266, "gpt4o", ["<s>"], workers=workers).merges == expected.merges
    assert b"\r\n" in [left + right for left, right in expected.merges]


# the command line


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmcore.tokenizers.bpe_train", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("out", ["tok.json", "tok.tiktoken"])
def test_the_command_writes_what_train_bpe_returns(out: str, tmp_path: Path) -> None:
    text = "the cat sat on the mat, the rat sat on the cat.<|end|>" * 50
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt").write_text(text.upper())
    done = command(
        "a.txt", "b.txt", "--vocab-size", 290, "--pattern", "gpt4o", "--special", "<|end|>", "--out", out, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    expected = train_bpe([tmp_path / "a.txt", tmp_path / "b.txt"], 290, "gpt4o", ["<|end|>"], workers=1)
    loaded = BPE.load(tmp_path / out, pattern=None if out == "tok.json" else "gpt4o")
    assert loaded.encode_ordinary(text) == expected.encode_ordinary(text)
    assert len(loaded.encode_ordinary("the cat sat")) < 5
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("290 ids: 256 bytes, 33 merges, 1 special; ")
    assert last == f"written: {out}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt", out]


def test_the_command_says_when_there_was_too_little_to_learn_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("abc")
    arguments = [str(tmp_path / "text"), "--vocab-size", "2000", "--out", str(tmp_path / "tok.json")]
    assert bpe_train.main(arguments) == 0
    assert capsys.readouterr().out.startswith("note: nothing is left to merge: 2 merges instead of 1,744, 258 ids")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["missing.txt", "--vocab-size", "300", "--out", "tok.json"], 1, "error: missing.txt: No such file"),
        (["bad.txt", "--vocab-size", "300", "--out", "tok.json"], 1, "error: bad.txt is not UTF-8: byte 3"),
        (["good.txt", "--vocab-size", "30", "--out", "tok.json"], 1, "error: vocab_size=30 has no room"),
        (["good.txt", "--vocab-size", "300", "--out", "tok.txt"], 2, "has to end in .json or .tiktoken"),
        (["good.txt", "--vocab-size", "300", "--out", "nowhere/tok.json"], 2, "there is no folder nowhere"),
        (["good.txt", "--vocab-size", "300", "--pattern", "gpt5", "--out", "tok.json"], 2, "invalid choice: 'gpt5'"),
        (["--vocab-size", "300", "--out", "tok.json"], 2, "required: FILE"),
        (["good.txt", "--vocab-size", "300", "--out", "folder.json"], 2, "--out folder.json is a folder"),
        (
            ["good.txt", "text.json", "--vocab-size", "300", "--out", "text.json"],
            2,
            "--out text.json is one of the texts",
        ),
        (
            ["good.txt", "--vocab-size", "300", "--special", "a", "--out", "tok.json"],
            2,
            "--special a: a .json file spells",
        ),
        (
            ["good.txt", "--vocab-size", "260", "--workers", "0", "--out", "tok.json"],
            1,
            "error: workers=0: at least one",
        ),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(
    arguments: list[str],
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.txt").write_text("good text")
    Path("bad.txt").write_bytes(b"bad\xfftext")
    Path("text.json").write_text("text")
    Path("folder.json").mkdir()
    try:
        got = bpe_train.main(arguments)
    except SystemExit as exit:
        got = exit.code
    assert got == status
    errors = capsys.readouterr().err
    assert says in errors.splitlines()[-1]
    assert status == 2 or len(errors.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.txt", "folder.json", "good.txt", "text.json"]
    assert Path("text.json").read_text() == "text"


def test_the_command_takes_an_empty_file_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "text").write_text("aa bb aa")
    files = [str(tmp_path / "empty"), str(tmp_path / "text")]
    assert bpe_train.main([*files, "--vocab-size", "257", "--out", str(tmp_path / "tok.json")]) == 0
    assert " 1 merges, 0 special" in capsys.readouterr().out


@pytest.mark.parametrize(("out", "noted"), [("tok.tiktoken", True), ("tok.json", False)])
def test_the_command_says_when_special_tokens_are_not_in_the_file(
    out: str, noted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("aa bb aa<s>")
    arguments = [str(tmp_path / "text"), "--vocab-size", "258", "--special", "<s>", "--out", str(tmp_path / out)]
    assert bpe_train.main(arguments) == 0
    assert (f"note: {out} has no place for the special tokens" in capsys.readouterr().out) == noted


@pytest.mark.parametrize("stage", ["training", "writing"])
def test_an_interrupted_command_leaves_the_old_file_and_nothing_else(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def half_a_file(bpe: BPE, path: Path) -> None:
        path.write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(
        *(
            (bpe_train, "learn_merges", interrupt)
            if stage == "training"
            else (formats, "write_tokenizer_json", half_a_file)
        )
    )
    (tmp_path / "text").write_text("some text")
    (tmp_path / "tok.json").write_text("old")
    assert bpe_train.main([str(tmp_path / "text"), "--vocab-size", "258", "--out", str(tmp_path / "tok.json")]) == 130
    assert capsys.readouterr().err == "\nstopped; nothing was written\n"
    assert (tmp_path / "tok.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text", "tok.json"]


def test_the_help_says_what_is_learned_and_gives_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bpe_train.main(["--help"])
    said = capsys.readouterr().out
    assert "most often" in said
    assert "--special '<|endoftext|>' --out tokenizer.json" in said
