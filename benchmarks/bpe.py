"""BPE beside tiktoken, Hugging Face's tokenizers and rustbpe: train 8,192 ids on 10 MB, encode text not trained on.

Two corpora, because they differ by what they ask for:

- prose  Shakespeare and the State of the Union messages (assets, so the same bytes everywhere): nearly all ASCII, words
- code   the Python files of this interpreter's standard library: indentation, symbols, some text in other scripts. It
         differs between Python versions; the page says which it was, with a hash.

All encoders get the same vocabulary, which is trained here, and must give the same ids for every document.
"""

import hashlib
import json
import sys
import sysconfig
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import regex
import rustbpe
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tqdm import tqdm

from benchmarks.report import Result, conditions, judged
from benchmarks.timing import Case, Goal, area_under, take_turns
from llmcore import assets
from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.bpe_train import learn_merges, train_bpe
from llmcore.tokenizers.bytes_as_text import to_text
from llmcore.tokenizers.patterns import PATTERNS
from llmcore.tokenizers.pretokens import count_pretokens

VOCAB, MEGABYTES = 8192, 10
PATTERN = PATTERNS["gpt2"]
STATES = 5  # merges at which a full recount is timed

TIKTOKEN, HF, RUSTBPE = "tiktoken", "tokenizers", "rustbpe"
COLD, WARM, REGEX = "llmcore, nothing remembered", "llmcore, words remembered", "the cuts alone, by the regex package"
OWN, RECOUNT = "llmcore", "full recount for each merge, estimated"

GOALS = {
    "encode": [Goal(COLD, TIKTOKEN, 0.30), Goal(WARM, TIKTOKEN, 0.45), Goal(COLD, HF, 2)],
    "train": [Goal(OWN, HF, 1 / 3), Goal(OWN, RECOUNT, 100)],
}


class Corpus(NamedTuple):
    name: str
    what: str
    train: list[str]
    test: list[str]


def measure(rounds: int) -> Result:
    """Time everything on both corpora. Raises AssetMissing if a corpus has not been fetched."""
    result: Result = {
        "title": "BPE: encoding and training",
        "command": "python -m benchmarks bpe" + (f" --rounds {rounds}" if rounds != 5 else ""),
        "rounds": rounds,
        **conditions(["tiktoken", "tokenizers", "rustbpe", "regex"]),
        "tables": [],
        "texts": [],
    }
    for corpus in (prose(), code()):
        with tqdm(
            desc=corpus.name, total=(rounds + 1) * (5 + 3 + STATES), unit="run", disable=None, leave=False
        ) as bar:

            def tick(name: str, bar: Any = bar) -> None:
                bar.set_postfix_str(name)
                bar.update()

            tokenizer = train_bpe(corpus.train, VOCAB, PATTERN, workers=1)
            result["tables"].append(_encoding(corpus, tokenizer, rounds, tick))
            result["tables"].append(_training(corpus, tokenizer, rounds, tick))
        for part, texts in (("train", corpus.train), ("test", corpus.test)):
            digest = hashlib.sha256()
            for text in texts:
                digest.update(text.encode() + b"\xff")  # a byte of no text, so that the cuts between documents count
            size = {"documents": len(texts), "bytes": _size(texts), "sha256": digest.hexdigest()}
            result["texts"].append({"name": f"{corpus.name}, {part}", "what": corpus.what, **size})
    result["goals"] = judged(result, GOALS)
    return result


def prose() -> Corpus:
    """All of Shakespeare and the first messages to train on, the other messages to encode."""
    messages = [json.loads(line)["text"] for line in assets.text("sotu").splitlines()]
    messages.sort(key=lambda text: hashlib.sha256(text.encode()).digest())  # old and new ones in both
    train = [assets.text("shakespeare")]
    while _size(train) < MEGABYTES * 1e6:
        train.append(messages.pop())
    return Corpus("prose", "assets shakespeare and sotu", train, messages)


def code() -> Corpus:
    """Files of the standard library in the order of a hash of their names."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = [file for file in folder.rglob("*.py") if not {"site-packages", "dist-packages"} & set(file.parts)]
    files.sort(key=lambda file: hashlib.sha256(file.relative_to(folder).as_posix().encode()).digest())
    train: list[str] = []
    test: list[str] = []
    room = {"train": MEGABYTES * 1e6, "test": MEGABYTES * 1e6}
    for file in files:
        data = file.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            continue  # the library tests Python's reading of other encodings
        part = "train" if room["train"] > 0 else "test"
        if room[part] <= 0:
            break
        room[part] -= len(data)
        (train if part == "train" else test).append(text)
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return Corpus("code", f"Python files of CPython {version}'s standard library", train, test)


def _encoding(corpus: Corpus, tokenizer: BPE, rounds: int, tick: Any) -> dict[str, Any]:
    texts = corpus.test
    fresh = partial(BPE, tokenizer.vocab, tokenizer.merges, PATTERN)
    rust, face = tokenizer.to_tiktoken(), _in_tokenizers(tokenizer)
    cut = regex.compile(PATTERN).findall
    expected = [rust.encode_ordinary(text) for text in texts]
    for name, ids in (
        ("llmcore", [tokenizer.encode_ordinary(text) for text in texts]),
        ("tokenizers", [encoding.ids for encoding in face.encode_batch_fast(texts)]),
    ):
        if ids != expected:
            wrong = sum(a != b for a, b in zip(ids, expected, strict=True))
            raise AssertionError(f"{name} and tiktoken differ on {wrong} of {len(texts)} documents of {corpus.name}")
    tokens = sum(map(len, expected))
    del expected
    cases = [
        Case(TIKTOKEN, lambda _: [rust.encode_ordinary(text) for text in texts]),
        Case(HF, lambda _: face.encode_batch_fast(texts)),
        Case(COLD, lambda own: [own.encode_ordinary(text) for text in texts], fresh),
        Case(WARM, lambda _: [tokenizer.encode_ordinary(text) for text in texts]),
        Case(REGEX, lambda _: [cut(text) for text in texts]),
    ]
    seconds = take_turns(cases, rounds, tick=tick)
    size = _size(texts)
    return {
        "kind": "encode",
        "title": f"Encode, {corpus.name}",
        "says": f"{size / 1e6:.1f} MB in {len(texts):,} documents, one after the other (`encode_batch_fast` for tokenizers); "
        f"vocabulary {VOCAB:,}, GPT-2's pattern, {size / tokens:.2f} bytes a token. All ids are the same.",
        "megabytes": size / 1e6,
        "rows": _rows(seconds),
    }


def _training(corpus: Corpus, tokenizer: BPE, rounds: int, tick: Any) -> dict[str, Any]:
    texts = corpus.train
    words = count_pretokens(texts, PATTERN, workers=1)
    merges = list(learn_merges(words, VOCAB - 256))
    assert [(merge.left, merge.right) for merge in merges] == tokenizer.merges

    def train_rustbpe(_: None) -> None:
        rustbpe.Tokenizer().train_from_iterator(iter(texts), VOCAB, pattern=PATTERN)

    after = [len(merges) * i // (STATES - 1) for i in range(STATES)]
    states = [_split_after(words, tokenizer, k) for k in after]
    counts = list(words.values())
    recounts = [Case(f"recount {k}", partial(_recount, state, counts)) for k, state in zip(after, states, strict=True)]
    seconds = take_turns(
        [
            Case(HF, lambda _: _train_tokenizers(texts)),
            Case(RUSTBPE, train_rustbpe),
            Case(OWN, lambda _: train_bpe(texts, VOCAB, PATTERN, workers=1)),
            *recounts,
        ],
        rounds,
        tick=tick,
    )
    per_merge = [seconds.pop(case.name) for case in recounts]
    seconds[RECOUNT] = [area_under(after, values) for values in zip(*per_merge, strict=True)]
    pairs = area_under(after, [float(sum(len(tokens) - 1 for tokens in state)) for state in states])
    visits = sum(merge.visits for merge in merges) + sum(len(word) - 1 for word in words)
    return {
        "kind": "train",
        "title": f"Train, {corpus.name}",
        "says": f"{_size(texts) / 1e6:.1f} MB in {len(texts):,} documents to {VOCAB:,} ids, GPT-2's pattern: {words.total():,} "
        f"pre-tokens, {len(words):,} distinct. The recount counts the pairs of each distinct pre-token once; it was "
        f"timed for one merge after {', '.join(f'{k:,}' for k in after)} merges, and its total is the area under straight "
        f"lines between these. It would visit {pairs:,.0f} pairs, llmcore visited {visits:,}.",
        "rows": _rows(seconds),
    }


def _recount(split: Sequence[Sequence[int]], counts: Sequence[int], _: None) -> None:
    """One merge of the plain algorithm: count all pairs of all words, take the best, rewrite the words that have it."""
    pairs = Counter[tuple[int, int]]()
    for tokens, n in zip(split, counts, strict=True):
        for pair in zip(tokens, tokens[1:], strict=False):
            pairs[pair] += n
    left, right = max(pairs, key=lambda pair: (pairs[pair], pair))
    for tokens in split:
        if left in tokens and right in tokens:
            _merged(tokens, left, right)


def _merged(tokens: Sequence[int], left: int, right: int) -> list[int]:
    out: list[int] = []
    i = 0
    while i < len(tokens):
        both = i + 1 < len(tokens) and tokens[i] == left and tokens[i + 1] == right
        out.append(-1 if both else tokens[i])
        i += 2 if both else 1
    return out


def _split_after(words: Counter[bytes], tokenizer: BPE, merges: int) -> list[list[int]]:
    """The tokens of each word once the first merges are made."""
    vocab = {i: token for i, token in tokenizer.vocab.items() if i < 256 + merges}
    early = BPE(vocab, tokenizer.merges[:merges], r"(?s).+")
    return [early.encode_ordinary(word.decode()) for word in words]


def _in_tokenizers(tokenizer: BPE) -> Tokenizer:
    merges = [(to_text(left), to_text(right)) for left, right in tokenizer.merges]
    face = Tokenizer(models.BPE({to_text(token): i for i, token in tokenizer.vocab.items()}, merges))
    face.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return face


def _train_tokenizers(texts: Sequence[str]) -> None:
    face = Tokenizer(models.BPE())
    face.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    face.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=VOCAB, show_progress=False, initial_alphabet=alphabet)
    )


def _rows(seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [{"name": name, "seconds": [round(s, 4) for s in taken]} for name, taken in seconds.items()]


def _size(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)
