"""Counting in parts and in parallel gives the counts of the whole: every pattern, every chunking, every file."""

import doctest
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmcore.tokenizers import pretokens
from llmcore.tokenizers.patterns import PATTERNS
from llmcore.tokenizers.pretokens import Splitter, count_pretokens, read_text

THOROUGH = settings(deadline=None, max_examples=400)
ROOT = Path(__file__).parents[2]
by_pattern = pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())

# Characters at which some pattern decides, and then any that has UTF-8.
edges = st.sampled_from(" \t\n\r/'sStlLveRE019½,.!-_中é\u0301\u02b0ÀꙀ\u1c5a\u00a0\u3000\x85\x1c\u200d\ufeff🙂<|>")
characters = st.one_of(edges, st.characters(exclude_categories=["Cs"]))
# Long enough for several cuts: the joints between short runs are what matters
texts = st.lists(st.text(characters, max_size=6), max_size=14).map("".join)
# Some begin, hold or overlap others, so that it matters where the search begins and which of two is taken
SPECIALS = ["<|end|>", "<|end|><|end|>", "d|", " x", "ab", "ab a", "aba", "\n", "中é"]


def whole(text: str, pattern: str, specials: list[str] | tuple[str, ...] = ()) -> list[str]:
    """What the document means, in the plainest way: find special tokens character by character, longest first."""
    pieces, start, i = [], 0, 0
    while i < len(text):
        here = max((s for s in specials if text.startswith(s, i)), key=len, default="")
        if here:
            pieces += regex.findall(pattern, text[start:i])
            start = i + len(here)
        i += len(here) or 1
    return pieces + regex.findall(pattern, text[start:])


def blocks(text: str, sizes: list[int]) -> Iterator[str]:
    rest = text
    for size in sizes:
        yield rest[:size]
        rest = rest[size:]
    yield rest


def test_the_examples_in_the_docstrings() -> None:
    found = doctest.testmod(pretokens)
    assert found.attempted
    assert not found.failed


# cutting


def test_a_special_token_with_a_certain_cut_behind_its_first_letter() -> None:
    split, counts = Splitter(PATTERNS["gpt2"], ["a b"]), Counter[str]()
    split.count(split.parts(["x a ", "b"], 1), counts)
    assert counts == {"x": 1, " ": 1}


@THOROUGH
@given(texts, st.lists(st.integers(1, 9), max_size=12), st.integers(1, 12))
@example("a\n\nb", [2, 1], 1)
@example("x!\n/\ny z", [3, 2], 1)
@example("I'll it's 'LL", [2, 3, 1, 4], 1)
@example("end   \r\n\r\n  of  lines \n x", [5, 4, 3], 2)
def test_the_pieces_of_the_parts_are_those_of_the_whole(text: str, sizes: list[int], size: int) -> None:
    for name, pattern in PATTERNS.items():  # all on one text: making texts up is what takes the time
        parts = list(Splitter(pattern).parts(blocks(text, sizes), size))
        assert "".join(parts) == text
        assert [piece for part in parts for piece in regex.findall(pattern, part)] == whole(text, pattern), name


@THOROUGH
@given(
    st.lists(st.one_of(st.sampled_from(SPECIALS), st.text(characters, max_size=5)), max_size=16).map("".join),
    st.lists(st.integers(1, 9), max_size=12),
    st.integers(1, 12),
    st.lists(st.sampled_from(SPECIALS), min_size=1, unique=True),
)
@example("ababa ab aba", [3, 1, 1], 1, ["aba", "ab a"])
@example("abaab a xx", [4, 1], 2, ["ab a", " x", "aba"])
@example("c ab ab b", [7], 3, ["ab", "ab a"])
@example("c aba b", [4], 1, ["ab", "aba"])
@example("a<|end|><|end|><|end|>b c", [9, 2, 7], 1, ["<|end|>", "<|end|><|end|>", "d|"])
def test_special_tokens_survive_every_cut(text: str, sizes: list[int], size: int, specials: list[str]) -> None:
    for name, pattern in PATTERNS.items():
        split, counts = Splitter(pattern, specials), Counter[str]()
        parts = list(split.parts(blocks(text, sizes), size))
        assert "".join(parts) == text
        split.count(parts, counts)
        assert counts == Counter(whole(text, pattern, specials)), name


@by_pattern
@pytest.mark.parametrize("language", ["English", "code", "Chinese", "digits"])
def test_ordinary_text_is_cut_into_small_parts(pattern: str, language: str) -> None:
    """A rule that never cuts would pass every test above."""
    text = {
        "English": "We hold these truths, that all men\r\nare created equal.\r\n\r\n",
        "code": "\tif x:\n\t\treturn f(x)  # why\n\n",
        "Chinese": "人人生而自由，在尊严和权利上一律平等。\n",
        "digits": "3.14159,2.71828\n",
    }[language]
    parts = list(Splitter(pattern).parts([text] * 1000, 500))
    assert "".join(parts) == text * 1000
    assert max(map(len, parts)) < 500 + 2 * len(text)


def test_a_pattern_of_ones_own_is_cut_only_at_special_tokens() -> None:
    text = "one two three. " * 50 + "<s>" + "four five. " * 50
    pattern = r"\w+ \w+|.| "  # joins two words, which the rule of the four patterns would tear apart
    assert len(list(Splitter(pattern).parts(blocks(text, [7] * 300), 5))) == 1
    parts = list(Splitter(pattern, ["<s>"]).parts(blocks(text, [7] * 300), 5))
    assert [len(part) for part in parts] == [15 * 50 + 3, 11 * 50]


def test_text_without_a_place_to_cut_is_looked_at_in_ever_larger_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    split = Splitter(PATTERNS["gpt2"])
    monkeypatch.setattr(split, "_last_cut", lambda text: looked.append(len(text)) or 0)
    assert list(split.parts(["a" * 10] * 1000, 10)) == ["a" * 10_000]
    assert sum(looked) < 2 * 10_000


# files


@by_pattern
def test_a_file_counts_like_its_text(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretokens, "PART", 61)  # bytes: characters of two, three and four are cut in two
    rng = random.Random(12)
    words = [
        "the",
        " cat",
        "\r\n",
        "\n\n",
        " 中文",
        "，",
        "é",
        "🙂",
        "'ll",
        "  ",
        "1234567",
        "<|end|>",
        "<|end",
        "\t",
        "!\n",
    ]
    text = "\ufeff" + "".join(rng.choices(words, k=4000))
    file = tmp_path / "text.txt"
    file.write_bytes(text.encode())
    expected = Counter(piece.encode() for piece in whole(text, pattern, ["<|end|>"]))
    done: list[int] = []
    assert count_pretokens(file, pattern, ["<|end|>"], workers=1, tick=done.append) == expected
    assert sum(done) == len(text.encode())
    assert count_pretokens([text], pattern, ["<|end|>"], workers=1, tick=done.append) == expected
    assert sum(done) == 2 * len(text.encode())


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretokens, "PART", 10_000)
    text = "We hold these truths to be self-evident.\n\nThat all men are created equal, 1776 times.\n"
    peaks = []
    for copies in (500, 500, 5_000):  # the first one fills caches, and does not count
        file = tmp_path / f"{copies}.txt"
        file.write_text(text * copies)
        tracemalloc.start()
        count_pretokens(file, PATTERNS["gpt4"], workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1]


def test_nothing_spans_two_documents_or_two_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one wo")
    (tmp_path / "b").write_text("rd\n")
    (tmp_path / "empty").write_text("")
    corpus = [tmp_path / "a", tmp_path / "b", tmp_path / "empty", "\n", "", "ten wo", "rd"]
    counts = count_pretokens(iter(corpus), PATTERNS["gpt2"], workers=1)
    assert counts == {b"one": 1, b" wo": 2, b"rd": 2, b"\n": 2, b"ten": 1}


def test_a_file_of_nothing_but_special_tokens_and_an_empty_corpus(tmp_path: Path) -> None:
    file = tmp_path / "special"
    file.write_text("<s></s><s>" * 9)
    assert count_pretokens(file, PATTERNS["gpt4"], ["<s>", "</s>"], workers=1) == {}
    assert count_pretokens([], PATTERNS["gpt4"], workers=2) == {}


@pytest.mark.parametrize("part", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("data", "offset"),
    [(b"ab\xffcd", 2), ("né".encode() + b"\xe4\xb8", 3), (b"x" * 50 + b"\xe4\xb8x", 50), (b"\xed\xa0\x80", 0)],
)
def test_what_is_no_utf8_is_named_with_its_offset(
    data: bytes, offset: int, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretokens, "PART", part)
    file = tmp_path / "bad.txt"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=rf"^[^\n]*bad\.txt is not UTF-8: byte {offset} [^\n]*$"):
        list(read_text(file))


def test_a_lone_surrogate_is_named_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"^document 1 has the lone surrogate U\+D83D at character 3"):
        count_pretokens(["fine", "bad\ud83d"], PATTERNS["gpt2"], workers=1)


# processes


@pytest.mark.parametrize("workers", [2, 3])
def test_every_number_of_workers_counts_the_same(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretokens, "PART", 2000)
    rng = random.Random(workers)
    text = "".join(rng.choice([" a", "bc", "\n\n", " de f", ", ", "<s>", "12"]) for _ in range(20_000))
    file = tmp_path / "text"
    file.write_text(text)
    corpus = [file, "short", file]
    one = count_pretokens(corpus, PATTERNS["llama3"], ["<s>"], workers=1)
    assert one == Counter(p.encode() for t in (text, "short", text) for p in whole(t, PATTERNS["llama3"], ["<s>"]))
    assert count_pretokens(corpus, PATTERNS["llama3"], ["<s>"], workers) == one


def test_left_to_itself_it_starts_processes_only_for_what_comes_after_the_first_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[int] = []

    def in_parallel(batches: Iterator[list[str]], *rest: object) -> None:
        left.append(sum(len(text) for batch in batches for text in batch))

    monkeypatch.setattr(pretokens, "_count_in_parallel", in_parallel)
    monkeypatch.setattr(pretokens, "_cores", lambda: 4)
    monkeypatch.setattr(pretokens, "PART", 10)
    monkeypatch.setattr(pretokens, "ALONE", 100)
    documents = ["five " * 2] * 25
    counts = count_pretokens(documents, PATTERNS["gpt2"])
    assert left == [150]
    assert counts.total() == 10 * 3  # "five", " five", " "
    assert count_pretokens(documents, PATTERNS["gpt2"], workers=1).total() == 25 * 3
    assert left == [150]


@pytest.mark.parametrize("workers", [0, -2])
def test_fewer_than_one_worker_is_refused(workers: int) -> None:
    with pytest.raises(ValueError, match=f"workers={workers}"):
        count_pretokens(["a"], PATTERNS["gpt2"], workers=workers)


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from llmcore.tokenizers.pretokens import count_pretokens\ncount_pretokens(['a b'] * 9, '.', workers=2)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "RuntimeError: a counting process died" in done.stderr.splitlines()[-1]
    assert '`if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")
def test_ctrl_c_ends_every_process_at_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import itertools, multiprocessing
            from llmcore.tokenizers.patterns import PATTERNS
            from llmcore.tokenizers.pretokens import count_pretokens

            def endless():
                for i in itertools.count():
                    if i == 12:
                        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
                    yield "some words " * 100_000

            if __name__ == "__main__":
                count_pretokens(endless(), PATTERNS["gpt2"], workers=2)
            """
        )
    )
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout
        children = [int(pid) for pid in process.stdout.readline().split()]
        os.killpg(process.pid, signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # nothing may go on counting beside the other tests
            raise
    assert len(children) == 2
    assert errors.count("KeyboardInterrupt") == 1, errors  # the parent's; the children end in silence
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in children)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
