"""The report of lab 1.1: texts, the table, the two pictures, and how each tokenizer cuts a text.

Does: measure whatever tokenizers the lab's file holds; it is handed that file as a module, the learner's or the reference.
Does not: hold anything to be written.
"""

from __future__ import annotations

import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import regex

# Universal Declaration of Human Rights, articles 1 and 3: the same content, in the United Nations' own translations.
RIGHTS = {
    "English": "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
    "conscience and should act towards one another in a spirit of brotherhood.\n"
    "Everyone has the right to life, liberty and security of person.\n",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。\n"
    "人人有权享有生命、自由和人身安全。\n",
    "Arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميرًا وعليهم أن يعامل بعضهم بعضًا "
    "بروح الإخاء.\nلكل فرد الحق في الحياة والحرية وسلامة شخصه.\n",
}
# A family of four is one character to a reader and seven code points; a flag is two, a skin tone one more.
EMOJI = "Team offsite 🎉🎉 — family 👨\u200d👩\u200d👧\u200d👦, flags 🇯🇵 🇧🇷 🏳️\u200d🌈, thumbs 👍🏽👍🏿, coffee ☕️ ×3\n"
FOLDER = Path(__file__).parent
COLOURS = {"words": "#C27A00", "pre-tokens": "#0072B2", "bytes": "#6b6b6b", "GPT-2": "#CC3D7A"}


class Tokenizer(Protocol):
    """What the report needs of a tokenizer."""

    def encode(self, text: str, /) -> list[int]:
        """Text to ids."""

    def decode(self, ids: list[int], /) -> str:
        """Ids to text."""


class GPT2:
    """The real one: tiktoken with GPT-2's 50,257 tokens."""

    def __init__(self) -> None:
        from llmcore.tokenizers.ranks import gpt2_tiktoken

        self.encoding = gpt2_tiktoken()

    def encode(self, text: str) -> list[int]:
        """The ids; a text that spells <|endoftext|> gets pieces of it, never the special token."""
        return self.encoding.encode_ordinary(text)

    def decode(self, ids: list[int]) -> str:
        """The text of the ids."""
        return self.encoding.decode(ids)


@dataclass
class Row:
    """What one tokenizer makes of one text."""

    text: str
    tokenizer: str
    tokens: int
    bytes_per_token: float  # compression: UTF-8 bytes of the whole text / number of tokens
    unknown: float  # share of the tokens that are <unk>
    round_trip: bool  # decode(encode(text)) == text
    speed: float  # MB of UTF-8 encoded in a second


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


def python_sources(limit: int = 1_000_000) -> str:
    """Modules of Python's own standard library, in alphabetical order, up to the first that passes the limit."""
    found, size = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        found.append(path.read_text(encoding="utf-8"))
        size += len(found[-1])
        if size > limit:
            break
    return "".join(found)


def split(text: str, share: float = 0.9) -> tuple[str, str]:
    """The first part to train on, the rest to test on, cut at the end of a line."""
    cut = text.find("\n", int(len(text) * share)) + 1 or len(text)
    return text[:cut], text[cut:]


def ask(get: Callable[[], Any]) -> Any:
    """What needs an asset, or None after one sentence that says how to get it."""
    from llmcore.assets import COMMAND, AssetMissing

    try:
        return get()
    except AssetMissing as missing:
        words = str(missing).replace(COMMAND, "lab assets")  # the same command, by the name that learners know
        print(f"{words}  Going on without it.", file=sys.stderr)
        return None


def corpus(path: Path | None) -> tuple[str, str]:
    """A name and a text to train on: the given file, else Shakespeare, else Python's sources."""
    if path is not None:
        return path.name, path.read_text(encoding="utf-8", errors="replace")
    from llmcore import assets

    text: str | None = ask(lambda: assets.text("shakespeare"))
    return ("Shakespeare", text) if text is not None else ("Python source", python_sources())


def tokenizers(lab: ModuleType, train: str) -> dict[str, Tokenizer]:
    """All that are compared, trained where there is something to train."""
    words, pieces = lab.WhitespaceTokenizer(), lab.RegexTokenizer()
    for which, tokenizer in (("words", words), ("pre-tokens", pieces)):
        with doing(f"training {which} on {len(train):,} characters"):
            tokenizer.train([train])
    made: dict[str, Tokenizer] = {"words": words, "pre-tokens": pieces, "bytes": lab.ByteTokenizer()}
    if (gpt2 := ask(GPT2)) is not None:
        made["GPT-2"] = gpt2
    return made


def measure(name: str, text: str, made: dict[str, Tokenizer]) -> list[Row]:
    """One row for each tokenizer.  A short text is repeated for the clock; the tokenizers take turns, best of three."""
    size = len(text.encode())
    long = text * max(1, 200_000 // size)
    fastest = dict.fromkeys(made, float("inf"))
    for _ in range(3):
        for which, tokenizer in made.items():
            start = time.perf_counter()
            tokenizer.encode(long)
            fastest[which] = min(fastest[which], time.perf_counter() - start)
    rows = []
    for which, tokenizer in made.items():
        ids = tokenizer.encode(text)
        speed = len(long.encode()) / 1e6 / fastest[which]
        same = tokenizer.decode(ids) == text
        rows.append(Row(name, which, len(ids), size / len(ids), unknowns(tokenizer, ids) / len(ids), same, speed))
    return rows


def touch(lab: ModuleType) -> None:
    """Uses each part once, in the order of the tasks, so that an unfinished lab names the next one to write."""
    lab.build_vocab(["a"])
    for make in (lab.WhitespaceTokenizer, lab.RegexTokenizer):
        if make is lab.RegexTokenizer:
            lab.pre_tokenize("a")
        tokenizer = make()
        tokenizer.train(["a"])
        tokenizer.decode(tokenizer.encode("a"))
    last = lab.ByteTokenizer()
    last.decode(last.encode("a"))
    last.ready([97])
    lab.coverage(["a"], ["a"], [1])


def unknowns(tokenizer: Tokenizer, ids: list[int]) -> int:
    """How many ids are <unk>: to the other two, 0 is a byte like any other, or "!"."""
    return ids.count(0) if hasattr(tokenizer, "vocab") else 0


def print_table(rows: list[Row]) -> None:
    """A line for each row; the speed also as a multiple of GPT-2's on the same text in the same run."""
    print(f"{'text':22s} {'tokenizer':10s} {'tokens':>9s} {'bytes/token':>12s} {'<unk>':>7s} {'round trip':>11s}"
          f" {'MB/s':>7s} {'÷ GPT-2':>8s}")  # fmt: skip
    previous = ""
    for row in rows:
        reference = next((r.speed for r in rows if r.text == row.text and r.tokenizer == "GPT-2"), None)
        ratio = f"{row.speed / reference:7.1f}×" if reference else "       –"
        name = row.text if row.text != previous else ""
        print(f"{name:22s} {row.tokenizer:10s} {row.tokens:9,d} {row.bytes_per_token:12.2f} {row.unknown:7.1%}"
              f" {'ok' if row.round_trip else 'lost':>11s} {row.speed:7.1f} {ratio}")  # fmt: skip
        previous = row.text


def growth(tokens: Sequence[str], points: int = 200) -> tuple[list[int], list[int]]:
    """How many different tokens have been seen after so many running ones."""
    seen: set[str] = set()
    step = max(1, len(tokens) // points)
    at, kinds = [0], [0]
    for start in range(0, len(tokens), step):
        seen.update(tokens[start : start + step])
        at.append(min(start + step, len(tokens)))
        kinds.append(len(seen))
    return at, kinds


def picture(panels: int, size: tuple[float, float]) -> Any:
    """A figure and its axes, in this lab's style."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 12})
    return plt.subplots(1, panels, figsize=size, layout="constrained")


def save(figure: Any, name: str) -> None:
    """Into artifacts/ beside this file."""
    path = FOLDER / "artifacts" / name
    path.parent.mkdir(exist_ok=True)
    with doing(f"drawing artifacts/{name}"):
        figure.savefig(path, dpi=120)
    print(f"drew artifacts/{name}")


def draw_coverage(lab: ModuleType, name: str, train: str, tests: dict[str, str]) -> None:
    """Left: the vocabulary never stops growing.  Right: what a vocabulary of a given size covers."""
    cut: dict[str, Callable[[str], list[str]]] = {"words": str.split, "pre-tokens": lab.pre_tokenize}
    figure, (left, right) = picture(2, (12, 4.8))
    for which, pieces in cut.items():
        with doing(f"counting the {which} of {name}"):
            tokens, colour = pieces(train), COLOURS[which]
            x, y = growth(tokens)
        left.plot([n / 1e6 for n in x], [n / 1e3 for n in y], color=colour, lw=2.2)
        left.annotate(f"{which}\n{y[-1]:,}", (x[-1] / 1e6, y[-1] / 1e3), xytext=(7, 0), textcoords="offset points",
                      va="center", color=colour, weight="bold")  # fmt: skip
        once = sum(count == 1 for count in Counter(tokens).values())
        print(f"{which}: {len(tokens):,} running, {y[-1]:,} different, {once / y[-1]:.0%} of these seen only once")
        sizes = sorted({round(10 ** (i / 12)) for i in range(61) if 10 ** (i / 12) < y[-1]} | {y[-1]})
        for (label, test), style in zip(tests.items(), ("-", (0, (4, 2))), strict=False):
            with doing(f"covering {label} with {which} of {name}, {len(sizes)} sizes"):
                shares = [100 * share for share in lab.coverage(tokens, pieces(test), sizes)]
            right.plot(sizes, shares, color=colour, lw=2.2, ls=style)
            right.annotate(f"{which}, {label}: {shares[-1]:.0f} %", (sizes[-1], shares[-1]), xytext=(7, 0),
                           textcoords="offset points", va="center", color=colour, size=10)  # fmt: skip
    left.set(title=f"New tokens keep coming ({name})", xlabel="running tokens read, millions",
             ylabel="different tokens seen, thousands", ylim=(0, None))  # fmt: skip
    right.set(title="What the most common tokens cover", xlabel="vocabulary size, log scale",
              ylabel="share of running tokens covered, %", xscale="log", ylim=(0, 102))  # fmt: skip
    left.set_xlim(0, 1.3 * left.get_xlim()[1])  # room for the labels
    for axis in (left, right):
        axis.grid(alpha=0.25)
    save(figure, "coverage.png")


def draw_compression(rows: list[Row]) -> None:
    """A dot for each text and tokenizer: filled when the text comes back, hollow when it does not."""
    figure, axis = picture(1, (10, 5))
    names = list(dict.fromkeys(row.text for row in rows))
    for row in sorted(rows, key=lambda row: not row.round_trip):  # a ring lies above a dot, so that both can be seen
        y, colour = names.index(row.text), COLOURS[row.tokenizer]
        axis.plot(row.bytes_per_token, y, "o", ms=11, mew=2.2, color=colour, mfc=colour if row.round_trip else "none")

    for which in dict.fromkeys(row.tokenizer for row in rows):
        full = all(row.round_trip for row in rows if row.tokenizer == which)
        axis.plot(
            [], [], "o", ms=11, mew=2.2, color=COLOURS[which], mfc=COLOURS[which] if full else "none", label=which
        )
    axis.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=4, frameon=False, labelcolor="linecolor",
                prop={"weight": "bold"}, handletextpad=0.1, columnspacing=1.5)  # fmt: skip
    axis.set(xscale="log", xlabel="UTF-8 bytes per token, log scale (further right: fewer tokens for the same text)",
             yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.6))  # fmt: skip
    ticks = [1, 2, 4, 8, 16, 32, 64]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.grid(alpha=0.25)
    axis.set_title(
        "Filled: the text comes back.  Hollow: part of it is lost, the compression worth nothing.", loc="left", pad=34
    )
    save(figure, "compression.png")


def report(lab: ModuleType, path: Path | None) -> None:
    """The table and both pictures."""
    name, text = corpus(path)
    train, held_out = split(text)
    if not held_out.strip():
        sys.exit(f"{name} is too short: a tenth of its lines is held out to test on.")
    made = tokenizers(lab, train)
    texts = {f"{name}, held out": held_out}
    if name != "Python source":
        texts["Python source"] = python_sources()
    texts |= {f"Rights, {language}": words for language, words in RIGHTS.items()} | {"emoji": EMOJI}
    rows = []
    for label, words in texts.items():
        with doing(f"measuring {label}"):
            rows += measure(label, words, made)
    print(f"Words and pre-tokens are trained on the first {len(train.encode()):,} bytes of {name}.\n")
    print_table(rows)
    print(
        "\nbytes/token: UTF-8 bytes of the text / tokens.  Speed: encode() in one thread, best of three, a short text"
        "\nrepeated to 200 kB; on another machine only the ratio can be compared.\n"
    )
    code = {"Python": texts["Python source"]} if "Python source" in texts else {}
    draw_coverage(lab, name, train, {"held out": held_out} | code)
    draw_compression(rows)


def visible(piece: bytes) -> str:
    """A piece as one can see it: · for a space, ⏎ and → for line feed and tab, hex for part of a character."""
    text = piece.decode("utf-8", errors="backslashreplace")
    return text.translate({ord(" "): "·", ord("\n"): "⏎", ord("\t"): "→", ord("\r"): "␍"})


def show(lab: ModuleType, text: str) -> None:
    """How each tokenizer cuts a text."""
    made = tokenizers(lab, split(corpus(None)[1])[0])
    pieces = lab.pre_tokenize(text)
    readers = len(regex.findall(r"\X", text))
    print(f"{readers} characters to a reader, {len(text)} code points, {len(text.encode())} bytes\n")
    cuts: dict[str, str] = {
        "words": "│".join(text.split()),
        "pre-tokens": "│".join(visible(piece.encode()) for piece in pieces),
        "bytes": "│".join(visible(bytes([byte])) for byte in text.encode()),
    }
    for which, tokenizer in made.items():
        ids = tokenizer.encode(text)
        if isinstance(tokenizer, GPT2):
            token = tokenizer.encoding.decode_single_token_bytes
            cuts[which] = "│".join("¦".join(visible(token(i)) for i in tokenizer.encode(piece)) for piece in pieces)
        unknown = f", {n} of them <unk>" if (n := unknowns(tokenizer, ids)) else ""
        same = "comes back" if tokenizer.decode(ids) == text else f"comes back as {tokenizer.decode(ids)!r}"
        print(f"{which}: {len(ids)} tokens{unknown}; the text {same}")
        print(f"  {cuts[which]}\n  {' '.join(map(str, ids))}\n")
    if "GPT-2" in made:
        more = len(made["GPT-2"].encode(text)) - len(pieces)
        print(f"¦ is a cut that GPT-2's byte-pair encoding makes inside a pre-token: {more} more, and never one fewer.")


def library(lab: ModuleType, rounds: int = 5) -> None:
    """This lab's code beside llmcore's: the same pieces, at what speed, and what each makes of a user's "<end>"."""
    from llmcore.tokenizers import basic

    name, text = corpus(None)
    mixed = "".join(RIGHTS.values()) + EMOJI
    for label, sample in ((f"{name}, held out", split(text)[1]), ("Rights and emoji", mixed * 200)):
        fastest = {"lab": float("inf"), "llmcore": float("inf")}
        for _ in range(rounds):
            for which, function in (("lab", lab.pre_tokenize), ("llmcore", basic.pre_tokenize)):
                start = time.perf_counter()
                function(sample)
                fastest[which] = min(fastest[which], time.perf_counter() - start)
        same = "the same pieces" if lab.pre_tokenize(sample) == basic.pre_tokenize(sample) else "DIFFERENT pieces"
        print(f"{label}: {same}; llmcore needs {fastest['llmcore'] / fastest['lab']:.2f} of the lab's time")
    words, theirs = lab.WhitespaceTokenizer(), basic.WordTokenizer.train(["a b"], special_tokens=["<end>"])
    words.train(["a b"], special_tokens=["<end>"])
    print(f'"a <end> b" from a user: {words.encode("a <end> b")} in the lab, {theirs.encode("a <end> b")} in llmcore')
