"""The tour of lab 0.1: six steps, each with a question first, then what the lab's functions show of a real model.

Does: run whatever the lab's file holds, the learner's or the reference; it is handed that file as a module.
Does not: hold anything to be written.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from llmcore import assets
from llmcore.chat import SYSTEM
from llmcore.model import pretrained
from llmcore.model.transformer import MiniGPT
from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.chat import CHATML

FOLDER = Path(__file__).parent
BLUE, ORANGE, GREY = "#0072B2", "#C27A00", "#6b6b6b"
BAR = 40  # characters of the longest bar in the terminal
DRAWN = 60  # tokens that a picture has room for

TWICE = "My neighbour Zorbin Quaddle feeds eleven purple goats."
CHAT = {  # what is asked, and what would be right
    "What is the capital of France?": "Paris",
    "How many letters r are in the word strawberry?": "3",
    "What is 17 times 23?": "391",
}


class Machine:
    """A model and its tokenizer, loaded when they are asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def model(self) -> MiniGPT:
        if sys.stderr.isatty():
            print("loading the model (the first time takes longer)", file=sys.stderr)
        return pretrained.load(self.name)

    @cached_property
    def tokenizer(self) -> BPE:
        return BPE.load(self.name)

    def ids(self, text: str, at_least: int = 1, at_most: int = 1000) -> list[int]:
        """The ids of a text. Raises ValueError if there are too few or too many of them."""
        ids = self.tokenizer.encode_ordinary(text)
        if not at_least <= len(ids) <= at_most:
            raise ValueError(f"{text!r} is {len(ids)} tokens; this step takes {at_least} to {at_most}")
        return ids

    def pieces(self, ids: list[int]) -> list[str]:
        return [visible(self.tokenizer.decode_bytes([i])) for i in ids]


@dataclass(frozen=True)
class Step:
    needs: str  # the function of the lab that it shows at work
    predict: str  # what to write down before
    texts: tuple[str, ...]  # what it looks at unless told otherwise
    show: Callable[[ModuleType, Machine, str, Path], None]


def run(lab: ModuleType, steps: list[str], text: str | None, model: str, out: Path) -> None:
    """The steps, each with its question first; waits for Enter only where a person can press it."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without these letters gets ?
    waits = sys.stdin.isatty() and sys.stdout.isatty()
    machine = Machine(model)
    try:
        for name in steps:
            step = STEPS[name]
            question = step.predict if text is None else "what will it be for your text?"
            print(f"== {name} ==\nPredict: {question}", flush=True)
            touch(lab, step.needs)
            if waits:
                input("(written down? Enter shows it) ")
            given = [] if text is None else [text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")]
            for each in given or step.texts:
                print()
                step.show(lab, machine, each, out)
            print()
    except (assets.AssetError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def touch(lab: ModuleType, name: str) -> None:
    """Raises NotImplementedError for a function that is not written yet, before seconds go into loading the model."""
    function = getattr(lab, name)
    try:
        function(*[None] * function.__code__.co_argcount)
    except NotImplementedError:
        raise
    except Exception:  # it was given nothing that it could work with
        return


def visible(piece: bytes) -> str:
    """A piece as one can see it: · for a space, ⏎ for a line feed, hex for part of a character."""
    text = piece.decode("utf-8", errors="backslashreplace")
    return text.translate({ord(" "): "·", ord("\n"): "⏎", ord("\t"): "→", ord("\r"): "␍"})


def bar(share: float) -> str:
    return "█" * round(BAR * share)


# ---- the steps


def show_tokens(lab: ModuleType, machine: Machine, text: str, out: Path) -> None:
    """The pieces, and their ids under them."""
    found = lab.tokens(machine.tokenizer, text)
    print(f"{text!r}: {len(text)} characters, {len(text.encode())} bytes, {len(found)} tokens")
    cells = [(visible(piece), str(i)) for i, piece in found]
    widths = [max(map(len, cell)) for cell in cells]
    for row in zip(*cells, strict=True):
        print("  " + " │ ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def show_next(lab: ModuleType, machine: Machine, text: str, out: Path) -> None:
    """The best eight, as bars."""
    ids = machine.ids(text)
    best = lab.next_token(machine.model, ids, 8)
    print(f"{text!r} …")
    for i, probability in best:
        print(f"  {machine.pieces([i])[0]:12} {probability:6.1%}  {bar(probability)}".rstrip())
    rest = machine.model.config.vocab_size - len(best)
    print(f"  and {rest:,} others share {1 - sum(p for _, p in best):.1%}")


def show_surprise(lab: ModuleType, machine: Machine, text: str, out: Path) -> None:
    """Bits for each token; of the sentence that comes twice, also the sum of each time."""
    ids = machine.ids(text, 2, DRAWN)
    bits = lab.surprise(machine.model, ids)
    pieces = machine.pieces(ids)[-len(bits) :]  # all but the first, unless the lab was broken on purpose
    print("  bits")
    for piece, b in zip(pieces, bits, strict=True):
        print(f"  {b:4.1f}  {piece:12} {bar(b / max(bits))}".rstrip())
    print(f"{sum(bits):.0f} bits for {len(bits)} tokens, {sum(bits) / len(bits):.1f} a token")
    again = len(bits)  # where the second time begins, if there is one
    if text == f"{TWICE} {TWICE}":
        again = len(machine.ids(TWICE)) - 1
        print(f"the first time {sum(bits[:again]):.0f} bits, the second time {sum(bits[again:]):.0f}")
    draw_surprise(pieces, bits, again, out)


def show_attention(lab: ModuleType, machine: Machine, text: str, out: Path) -> None:
    """Of all heads, the one that looks most at the token before, at the first, and at what followed last time."""
    ids = machine.ids(text, 3, DRAWN)
    maps = machine.model.attention_weights(torch.tensor([ids]))[:, 0]  # (layers, heads, T, T)
    scores = {
        "the token before": maps.diagonal(offset=-1, dim1=-2, dim2=-1)[..., 1:].mean(-1),
        "the first token": maps[..., 2:, 0].mean(-1),
    }
    followed = after_the_last_time(ids)
    again = followed.any(-1)  # tokens that were there before
    if again.any():
        scores["what followed last time"] = (maps * followed).sum(-1)[..., again].mean(-1)
    panels = []
    print(f"{maps.shape[0]} layers of {maps.shape[1]} heads; how much of its attention the most faithful head gives to")
    for what, score in scores.items():
        layer, head = divmod(int(score.argmax()), score.shape[1])
        print(f"  {what + ':':25} layer {layer}, head {head}: {score.max():.0%}   (all heads: {score.mean():.0%})")
        panels.append((f"{what}\nlayer {layer}, head {head}", lab.who_looks(machine.model, ids, layer, head)))
    idle = int((scores["the first token"] > 0.5).sum())
    print(f"{idle} of {score.numel()} heads give more than half of it to the first token, whatever that is")
    draw_maps(machine.pieces(ids), panels, out)


def after_the_last_time(ids: list[int]) -> Bool[Tensor, "T T"]:
    """Where row i is true: the token after an earlier place of the same token as at i."""
    same = torch.tensor(ids)[:, None] == torch.tensor(ids)[None, :]
    return same.tril(-1).roll(1, dims=1).tril(-1)


def show_cache(lab: ModuleType, machine: Machine, text: str, out: Path, n: int = 24) -> None:
    """The same tokens twice: what was fed to the model, and how long it took."""
    ids, times, written = machine.ids(text), {}, {}
    print(text)
    fed: dict[str, int] = {}
    total = n * len(ids) + n * (n - 1) // 2
    for name, function, expected in (("without a cache", lab.write, total), ("with a cache", lab.write_cached, None)):
        with Watched(machine.model, expected or len(ids) + n - 1, name) as seen:
            written[name] = function(machine.model, ids, n)
        times[name], fed[name] = seen.seconds, seen.fed
    slow, fast = written.values()
    print(f"… {machine.tokenizer.decode(slow).strip()}")
    print(f"  {'the same tokens' if slow == fast else 'OTHER TOKENS'}: {n} new ones after a prompt of {len(ids)}")
    for name in fed:
        print(f"  {name:16} {fed[name]:6,} tokens fed  {sum(times[name]):6.1f} s")
    a, b = fed.values()
    print(
        f"  {a / b:.0f} times the tokens, {sum(times['without a cache']) / sum(times['with a cache']):.1f} times the time"
    )
    draw_seconds(times, len(ids), out)


def show_chat(lab: ModuleType, machine: Machine, text: str, out: Path, n: int = 32) -> None:
    """A chat is the same loop on a text in a certain form: it goes on until a special token ends the turn."""
    tokenizer = machine.tokenizer
    messages = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": text})
    ids = CHATML.encode(tokenizer, [*messages]).ids  # type: ignore[list-item]  # a dict literal is no TypedDict to mypy
    with Watched(machine.model, len(ids) + n - 1, "writing"):
        answer = lab.write_cached(machine.model, ids, n)
    stops = [place for place, i in enumerate(answer) if i in CHATML.stop_ids(tokenizer)]
    said = tokenizer.decode(answer[: min(stops, default=n)]).strip()
    print(f"> {text}\n{said}{'' if stops else ' …'}")
    if text in CHAT:
        print(f"  (right would be: {CHAT[text]})")


STEPS = {
    "tokens": Step(
        "tokens",
        "into how many pieces will a tokenizer cut this question? Can the model see a letter r?",
        ("How many r are in strawberry? 🍓",),
        show_tokens,
    ),
    "next": Step(
        "next_token",
        "what comes after “The capital of France is”, and how probable is it? After “2 + 2 = ”?",
        ("The capital of France is", "2 + 2 = "),
        show_next,
    ),
    "surprise": Step(
        "surprise",
        "a nonsense sentence comes twice in a row. How much less does the second time surprise?",
        (f"{TWICE} {TWICE}",),
        show_surprise,
    ),
    "attention": Step(
        "who_looks",
        "where would a token of the second sentence look, to know what comes next?",
        (f"{TWICE} {TWICE}",),
        show_attention,
    ),
    "cache": Step(
        "write_cached",
        "the model need not read everything again for each new token. How many times faster is it then?",
        (
            "Once upon a time, in a small village between the hills and the sea, there lived an old clockmaker "
            "who had never once been late. One cold winter morning he opened his door and saw",
        ),
        show_cache,
    ),
    "chat": Step(
        "write_cached",
        "three questions. Which of them does a model of this size get right?",
        tuple(CHAT),
        show_chat,
    ),
}


class Watched:
    """What is fed to a model while the block runs, and the seconds from each pass to the next; shows a bar meanwhile."""

    def __init__(self, model: MiniGPT, total: int, what: str) -> None:
        self.model, self.fed = model, 0
        self.starts: list[float] = []
        self.bar = tqdm(total=total, desc=what, unit=" tokens", leave=False, disable=None)  # None: terminals only

    def __enter__(self) -> Watched:
        self.handle = self.model.embedding.register_forward_pre_hook(self._see)
        return self

    def _see(self, module: Any, inputs: tuple[Tensor, ...]) -> None:
        self.starts.append(time.perf_counter())
        self.fed += inputs[0].numel()
        self.bar.update(inputs[0].numel())

    def __exit__(self, *_: object) -> None:
        self.starts.append(time.perf_counter())
        self.handle.remove()
        self.bar.close()

    @property
    def seconds(self) -> list[float]:
        return [b - a for a, b in zip(self.starts, self.starts[1:], strict=False)]


# ---- pictures


def picture(panels: int, size: tuple[float, float]) -> Any:
    """A figure and its axes, in this lab's style."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 12})
    return plt.subplots(1, panels, figsize=size, layout="constrained", squeeze=False)


def save(figure: Any, out: Path, name: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a script that the font lacks is drawn as boxes
        figure.savefig(out / name, dpi=80)
    with Image.open(out / name) as drawn:
        few = drawn.quantize(192)  # half the bytes, and no difference to see
    few.save(out / name, optimize=True)
    print(f"drew {out.name}/{name}")


def draw_surprise(pieces: list[str], bits: list[float], middle: int, out: Path) -> None:
    """A bar for each token; what comes after `middle` in another colour."""
    figure, [[axis]] = picture(1, (10, 4))
    axis.bar(range(len(bits)), bits, color=[BLUE if t < middle else ORANGE for t in range(len(bits))])
    axis.set_xticks(range(len(bits)), pieces, rotation=60, ha="right", rotation_mode="anchor")
    axis.set(ylabel="surprise, bits", xlim=(-0.7, len(bits) - 0.3))
    title = "How surprised the model is by each token, given those before it"
    if middle < len(bits):
        title = "Nonsense surprises the model only once"
        for text, at, colour in (("the first time", 0, BLUE), ("the second time", middle, ORANGE)):
            axis.text(at, max(bits) * 1.04, text, color=colour, weight="bold")
    axis.set_title(title, loc="left", pad=18)
    save(figure, out, "surprise.png")


def draw_maps(pieces: list[str], panels: list[tuple[str, Float[Tensor, "T T"]]], out: Path) -> None:
    """Maps side by side: rows look, columns are looked at."""
    T = len(pieces)
    figure, axes = picture(len(panels), (4.3 * len(panels) + 1, 6.1))
    figure.get_layout_engine().set(h_pad=0.15)
    size = min(9.0, 210 / T)
    for axis, (title, weights) in zip(axes[0], panels, strict=True):
        shown = axis.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(T), pieces, rotation=90, size=size)
        axis.set_yticks(range(T), pieces if axis is axes[0][0] else [], size=size)
        axis.set_title(title)
        axis.set(xlabel="… looks at this one")
    axes[0][0].set(ylabel="this token …")
    figure.colorbar(shown, ax=axes, label="share of attention (a row sums to 1)", shrink=0.8)
    figure.suptitle("Three heads, three habits" if len(panels) == 3 else "Two heads, two habits", weight="bold")
    save(figure, out, "attention.png")


def draw_seconds(times: dict[str, list[float]], prompt: int, out: Path) -> None:
    """Seconds for each new token, with and without."""
    figure, [[axis]] = picture(1, (8, 4))
    for (name, seconds), colour in zip(times.items(), (ORANGE, BLUE), strict=True):
        n = range(1, len(seconds) + 1)
        axis.plot(n, seconds, "o-", ms=4, color=colour)
        axis.annotate(name, (n[-1], seconds[-1]), xytext=(8, 0), textcoords="offset points", va="center",
                      color=colour, weight="bold")  # fmt: skip
    axis.set(xlabel=f"new token (the prompt has {prompt})", ylabel="seconds", ylim=(0, None))
    axis.set_xlim(0, len(n) * 1.3)
    axis.set_xticks(range(0, len(n) + 1, max(1, len(n) // 6)))
    axis.set_title("With a cache only the first token waits for the whole text", loc="left")
    axis.grid(alpha=0.25)
    save(figure, out, "cache.png")
