"""The report of lab 5.1: what was learned, what it is worth on other texts, and GPT-2's ranks on the same code.

Does: measure whatever the lab's file holds; it is handed that file as a module, the learner's or the reference.
Does not: hold anything to be written.
"""

from __future__ import annotations

import json
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

# Universal Declaration of Human Rights, articles 1 and 3, in the United Nations' own translations.
GERMAN = (
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und "
    "sollen einander im Geist der Brüderlichkeit begegnen.\n"
    "Jeder hat das Recht auf Leben, Freiheit und Sicherheit der Person.\n"
)
CHINESE = (
    "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。\n"
    "人人有权享有生命、自由和人身安全。\n"
)
SENTENCE = "O Romeo, Romeo, wherefore art thou Romeo?"
COLOURS = ("#0072B2", "#C27A00", "#CC3D7A", "#008060", "#6b6b6b")


@contextmanager
def doing(words: str) -> Iterator[None]:
    """Shows what is being done, until it is done; only to someone who watches a terminal."""
    watched = sys.stderr.isatty()
    if watched:
        print(f"{words} …", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if watched:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # back to the start of the line, and clear it


def ask(get: Callable[[], Any]) -> Any:
    """What needs an asset, or None after one sentence that says how to get it."""
    from llmcore.assets import COMMAND, AssetMissing

    try:
        return get()
    except AssetMissing as missing:
        print(f"{str(missing).replace(COMMAND, 'lab assets')}  Going on without it.", file=sys.stderr)
        return None


def python_sources(limit: int = 1_000_000) -> str:
    """Modules of Python's own standard library, in alphabetical order, up to the first that passes the limit."""
    found, size = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        found.append(path.read_text(encoding="utf-8"))
        size += len(found[-1])
        if size > limit:
            break
    return "".join(found)


def state_of_the_union() -> str:
    """The first million characters of the presidents' messages."""
    from llmcore import assets

    text = "".join(json.loads(line)["text"] for line in assets.text("sotu").splitlines()[:80])
    return text[:1_000_000]


def corpus(path: Path | None) -> tuple[str, str]:
    """A name and a text to learn from: the given file, else Shakespeare, else Python's sources."""
    if path is not None:
        return path.name, path.read_text(encoding="utf-8", errors="replace")
    from llmcore import assets

    text: str | None = ask(lambda: assets.text("shakespeare"))
    return ("Shakespeare", text) if text is not None else ("Python source", python_sources())


def split(text: str, share: float = 0.9) -> tuple[str, str]:
    """The first part to learn from, the rest to test on, cut at the end of a line."""
    cut = text.find("\n", int(len(text) * share)) + 1 or len(text)
    return text[:cut], text[cut:]


def touch(lab: ModuleType) -> None:
    """Uses each part once, in the order of the tasks, so that an unfinished lab names the next one to write."""
    words = lab.count_words(["a a"])
    lab.best_pair(lab.count_pairs({(b"a", b"b"): 1}))
    lab.merge((b"a", b"b"), (b"a", b"b"))
    lab.learn_merges(words, 1)
    lab.learn_merges_faster(words, 1)
    lab.encode_word(b"a", {b"a": 0})
    tok = lab.BPE.train(["a"], 257)
    tok.decode(tok.encode("a"))


def visible(token: bytes) -> str:
    """A token as one can see it: · for a space, ⏎ and → for line feed and tab, hex for part of a character."""
    text = token.decode("utf-8", errors="backslashreplace")
    return text.translate({ord(" "): "·", ord("\n"): "⏎", ord("\t"): "→", ord("\r"): "␍"})


def train(lab: ModuleType, path: Path | None, vocab_size: int) -> tuple[str, str, str, Any, float]:
    """Name of the text, the part learned from, the part held out, the tokenizer, and the CPU seconds it took."""
    name, text = corpus(path)
    learned_from, held_out = split(text)
    if not held_out.strip():
        sys.exit(f"{name} is too short: a tenth of its lines is held out to test on.")
    start = time.process_time()
    with doing(f"learning {vocab_size:,} tokens from {name}"):
        tok = lab.BPE.train([learned_from], vocab_size)
    return name, learned_from, held_out, tok, time.process_time() - start


def print_steps(lab: ModuleType, tok: Any, text: str) -> None:
    """How the words of a text shrink as more of the merges are known."""
    print(f'"{text}"')
    size, at = tok.vocab_size - 1, [256]
    while at[-1] < size:
        at.append(min(size, 256 + max(8, (at[-1] - 256) * 4)))
    for known in at:
        part = lab.BPE(first(tok.ranks, known))
        ids = part.encode(text)
        shown = "│".join(visible(part.tokens[i]) for i in ids)
        print(f"{known - 256:6,d} merges {len(ids):4d} tokens  {shown if len(shown) < 92 else shown[:91] + '…'}")


def first(ranks: Mapping[bytes, int], n: int) -> dict[bytes, int]:
    """The vocabulary as it was when it had n tokens: merges never change afterwards, they are only added to."""
    return {token: rank for token, rank in ranks.items() if rank < n}


def show(lab: ModuleType, text: str, path: Path | None, vocab_size: int) -> None:
    """How one text is cut, merge by merge, and how GPT-2's ranks cut it on the same code."""
    name, _, _, tok, _ = train(lab, path, vocab_size)
    print(f"{tok.vocab_size:,} ids learned from {name}")
    print_steps(lab, tok, text)
    if (gpt2 := load_gpt2(lab)) is not None:
        ids = gpt2.encode(text)
        print(f"GPT-2's ranks {len(ids):4d} tokens  {'│'.join(visible(gpt2.tokens[i]) for i in ids)}")
        print(f"{'':13s}  {ids}")


def load_gpt2(lab: ModuleType) -> Any:
    """The lab's own BPE with the file that OpenAI published, or None if it has not been fetched."""
    from llmcore import assets

    path = ask(lambda: assets.path("gpt2"))
    return None if path is None else lab.BPE.load(path)


def bytes_per_token(tok: Any, text: str) -> float:
    """Compression: UTF-8 bytes of the text / tokens.  Stops if the text does not come back."""
    ids = tok.encode(text)
    if tok.decode(ids) != text:
        sys.exit("decode(encode(text)) is not the text: nothing measured with such a tokenizer means anything")
    return len(text.encode()) / len(ids)


def other_texts(name: str, held_out: str) -> dict[str, str]:
    """What it was not trained on, nearest first."""
    texts = {f"{name}, held out": held_out}
    if (sotu := ask(state_of_the_union)) is not None:
        texts["State of the Union"] = sotu
    if name != "Python source":
        texts["Python's modules"] = python_sources()
    return texts | {"German": GERMAN, "Chinese": CHINESE}


def report(lab: ModuleType, path: Path | None, vocab_size: int, save: Path | None, out: Path) -> None:
    """Learn, look, compare, draw."""
    name, learned_from, held_out, tok, seconds = train(lab, path, vocab_size)
    print(
        f"{tok.vocab_size:,} ids from {len(learned_from.encode()):,} bytes of {name} in {seconds:.1f} s of CPU: "
        f"256 bytes, {tok.vocab_size - 257:,} merges, {lab.EOT}"
    )
    if save is not None:
        tok.save(save)
        print(f"wrote {save}")
    tokens = [tok.tokens[i] for i in range(256, tok.eot)]
    print("first  ", "  ".join(visible(token) for token in tokens[:16]))
    print("last   ", "  ".join(visible(token) for token in tokens[-8:]))
    longest = sorted(tokens, key=len, reverse=True)[:8]  # sorted keeps equals in the order they were learned
    print("longest", "  ".join(visible(token) for token in longest))
    print()
    print_steps(lab, tok, SENTENCE)

    texts = other_texts(name, held_out)
    gpt2 = load_gpt2(lab)
    print(
        f"\n{'bytes per token':22s} {'this one':>9s} {'GPT-2':>7s}   {'tokens: this one':>16s} {'GPT-2':>9s} {'tiktoken':>9s}"
    )
    for label, text in texts.items():
        with doing(f"encoding {label}"):
            line = f"{label:22s} {bytes_per_token(tok, text):9.2f}"
            own, theirs, same = len(tok.encode(text)), "–", "–"
            if gpt2 is not None:
                ids = gpt2.encode(text)
                theirs, same = f"{len(ids):,}", "equal" if ids == tiktoken_ids(text) else "DIFFERENT"
                line += f" {bytes_per_token(gpt2, text):7.2f}"
            else:
                line += f" {'–':>7s}"
        print(f"{line}   {own:16,d} {theirs:>9s} {same:>9s}")
    if gpt2 is not None:
        spelled = f"an {lab.EOT} that a user typed"
        print(f"\n{lab.EOT!r} from a user: {gpt2.encode(spelled)}")
        print(f"{'with allowed_special:':>22s} {gpt2.encode(spelled, {lab.EOT})}")
    draw(lab, tok, name, texts, gpt2, out)


def tiktoken_ids(text: str) -> list[int]:
    """What tiktoken makes of it, with the same published ranks."""
    from llmcore.tokenizers.ranks import gpt2_tiktoken

    return gpt2_tiktoken().encode_ordinary(text)


def draw(lab: ModuleType, tok: Any, name: str, texts: Mapping[str, str], gpt2: Any, out: Path) -> None:
    """Bytes per token against the size of the vocabulary, for each text; GPT-2 as a ring at the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from tqdm import tqdm

    last = tok.vocab_size - 1
    sizes = sorted({256, last, *(n for k in range(1, 40) if (n := 256 + round(2 ** (k / 1.5))) < last)})
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axis = plt.subplots(figsize=(9.5, 5.2), layout="constrained")
    curves: dict[str, list[float]] = {label: [] for label in texts}
    shown = {label: text[:300_000] for label, text in texts.items()}  # enough for a curve
    for size in tqdm(sizes, desc="measuring smaller vocabularies", disable=None, leave=False):
        part = lab.BPE(first(tok.ranks, size))
        for label, text in shown.items():
            curves[label].append(bytes_per_token(part, text))
    ends = []
    for (label, curve), colour in zip(curves.items(), COLOURS, strict=False):
        axis.plot(sizes, curve, color=colour, lw=2.2)
        ends.append((curve[-1], label, colour))
        if gpt2 is not None:
            axis.plot(
                [gpt2.vocab_size], [bytes_per_token(gpt2, shown[label])], "o", ms=9, mew=2, mfc="none", color=colour
            )
    lowest = -1.0
    for y, words, colour in sorted(ends):
        lowest = max(y, lowest + 0.17)  # labels that would lie on each other are moved apart
        axis.annotate(words, (sizes[-1], lowest), xytext=(7, 0), textcoords="offset points", va="center", color=colour)
    if gpt2 is not None:
        top = max(bytes_per_token(gpt2, text) for text in shown.values())
        axis.annotate("GPT-2: 50,257 ids,\nlearned from web pages", (gpt2.vocab_size, top), xytext=(0, 14),
                      textcoords="offset points", ha="center", size=10)  # fmt: skip
    ticks = [
        t for t in (256, 512, 1024, 2048, 4096, 8192, 16384, 50257) if t <= max(sizes[-1], 50257 * (gpt2 is not None))
    ]
    axis.set(xscale="log", xlabel="ids in the vocabulary, log scale", ylabel="UTF-8 bytes per token",
             ylim=(0.8, 5.9))  # fmt: skip
    axis.set_xticks(ticks, [f"{t:,}" for t in ticks])
    axis.minorticks_off()
    axis.grid(alpha=0.25)
    axis.set_title(
        f"Merges learned from {name} shorten other texts too, as far as they share its letter groups", loc="left"
    )
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "compression.png", dpi=80)
    plt.close(figure)
    print(f"\ndrew {out.name}/compression.png")


def slow(lab: ModuleType, path: Path | None) -> None:
    """Both trainers on growing parts of the text: 100 merges, CPU seconds, and how often a word was looked at."""
    name, text = corpus(path)
    print(f"100 merges from the first part of {name}; words looked at: calls of merge(), all merges together\n")
    print(
        f"{'bytes':>9s} {'different words':>16s} {'plain: looked at':>17s} {'s':>6s} {'faster: looked at':>18s} {'s':>6s}"
    )
    for size in (30_000, 100_000, 300_000, 1_000_000):
        words = lab.count_words([text[:size]])
        line, results = f"{size:9,d} {len(words):16,d}", []
        for trainer, width in (("learn_merges", 17), ("learn_merges_faster", 18)):
            with doing(f"{trainer} on {size:,} characters"), counted(lab) as calls:
                start = time.process_time()
                results.append(getattr(lab, trainer)(words, 100))
                seconds = time.process_time() - start
            line += f" {calls[0]:{width},d} {seconds:6.2f}"
        if results[0] != results[1]:
            sys.exit(f"the two trainers disagree on the first {size:,} characters of {name}")
        print(line)


@contextmanager
def counted(lab: ModuleType) -> Iterator[list[int]]:
    """Counts the calls of lab.merge."""
    calls, original = [0], lab.merge

    def counting(*args: Any) -> Any:
        calls[0] += 1
        return original(*args)

    lab.merge = counting  # type: ignore[attr-defined]
    try:
        yield calls
    finally:
        lab.merge = original  # type: ignore[attr-defined]


def cross(lab: ModuleType, vocab_size: int) -> None:
    """Each tokenizer on each text: 900 kB to learn from, the next 100 kB to measure."""
    from llmcore import assets

    texts = {"Shakespeare": ask(lambda: assets.text("shakespeare")), "State of the Union": ask(state_of_the_union)}
    parts = {name: text[:1_000_000] for name, text in (texts | {"Python's modules": python_sources()}).items() if text}
    print(f"bytes per token on 100 kB held out, {vocab_size:,} ids learned from 900 kB\n")
    print(f"{'learned from':20s}" + "".join(f"{name:>20s}" for name in parts))
    for name, text in parts.items():
        with doing(f"learning {vocab_size:,} tokens from {name}"):
            tok = lab.BPE.train([text[:900_000]], vocab_size)
        print(f"{name:20s}" + "".join(f"{bytes_per_token(tok, other[900_000:]):20.2f}" for other in parts.values()))


def library(lab: ModuleType, path: Path | None, vocab_size: int) -> None:
    """The lab's code beside llmcore's on the same text: same merges, same ids, how long."""
    from llmcore.tokenizers.bpe_train import train_bpe

    name, learned_from, held_out, tok, seconds = train(lab, path, vocab_size)
    start = time.process_time()
    theirs = train_bpe([learned_from], tok.vocab_size, "gpt2", [lab.EOT], workers=1)
    quick = time.process_time() - start
    same = all(theirs.vocab[i] == tok.tokens[i] for i in range(tok.eot))
    print(f"training, {tok.vocab_size:,} ids from {name}: {'the same tokens' if same else 'OTHER TOKENS'}; "
          f"the lab {seconds:.1f} s of CPU, llmcore {quick:.1f} s: {seconds / quick:.1f} times as much")  # fmt: skip
    row, ids = [], []
    for encode in (tok.encode, theirs.encode_ordinary):
        tok.known.clear()
        start = time.process_time()
        ids.append(encode(held_out))
        row.append(time.process_time() - start)
    print(f"encoding, {len(held_out.encode()):,} bytes held out: {'the same ids' if ids[0] == ids[1] else 'OTHER IDS'}; "
          f"the lab {row[0] / row[1]:.1f} times as much CPU")  # fmt: skip
    print('a word "hehe…" of n letters, CPU seconds:  n      lab   llmcore')
    for n in (1000, 2000, 4000):
        word, row = "he" * (n // 2), []
        for encode in (tok.encode, theirs.encode_ordinary):
            start = time.process_time()
            encode(word)
            row.append(time.process_time() - start)
        print(f"{n:44,d} {row[0]:8.2f} {row[1]:9.3f}")
    try:
        theirs.encode(f"a {lab.EOT}")
    except ValueError as error:
        print(f"llmcore, asked to encode it: ValueError, {str(error).partition(':')[0]}")
