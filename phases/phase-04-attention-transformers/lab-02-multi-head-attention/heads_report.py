"""The report of lab 4.2: agreement, counted work, the cache of published models, and the heads of a real one.

Does: run whatever the lab's file holds, the learner's or the reference; it is handed that file as a module.
Does not: hold anything to be written.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FOLDER = Path(__file__).parent
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6b6b6b"
SENTENCE = "The cat that chased the mice was tired because the cat had run."
LAYER = 11  # its heads differ in ways that are easy to see
THREE = (0, 1, 16)
HEADS = (1, 2, 4, 8, 16, 32)

# name: layers, d_model, heads, key heads, width of a head; as their published config.json files have it
MODELS = {
    "GPT-2": (12, 768, 12, 12, 64),
    "SmolLM2 135M": (30, 576, 9, 3, 64),
    "Llama 2 7B": (32, 4096, 32, 32, 128),
    "Llama 3 8B": (32, 4096, 32, 8, 128),
    "Falcon 7B": (32, 4544, 71, 1, 64),
}


class BadInput(Exception):
    """Something the caller gave that cannot be used; the text is one sentence that says why."""


def report(lab: ModuleType, text: str | None, layer: int | None) -> None:
    """Small mode: everything in seconds; the real model only where it has been fetched."""
    torch.set_num_threads(1)
    touch(lab)
    agreement(lab)
    print()
    work(lab)
    print()
    cache_table(lab)
    print()
    real_layer(lab, SENTENCE if text is None else text, LAYER if layer is None else layer)


def touch(lab: ModuleType) -> None:
    """Uses each part once, in the order of the tasks, so that an unfinished lab names the next one to write."""
    x, one = torch.zeros(1, 2, 4), torch.zeros(4, 4)
    lab.merge_heads(lab.split_heads(x, 2))
    lab.multihead_loop(x, one, one, one, one, 2)
    lab.multihead(x, {"qkv": torch.zeros(12, 4), "out": one}, 2)
    lab.from_torch({})
    names = {"c_attn": 12, "c_proj": 4, "query_key_value": 12, "dense": 4}
    state = {f"{name}.{kind}": torch.zeros(n, 4) if kind == "weight" else torch.zeros(n) for name, n in names.items()
             for kind in ("weight", "bias")}  # fmt: skip
    lab.from_gpt2(state)
    lab.from_neox(state, 2)
    lab.grouped(x[None], x[None], x[None])
    lab.pool_heads(one, 2, 1)
    layer = lab.Layer(4, 2, 1, 2)
    layer.parameters(False), layer.flops(1, 1), layer.kv_bytes(1, 2)


# ---- do the versions agree?


def agreement(lab: ModuleType) -> None:
    """Loop, fused and torch's own layer on the same weights; grouped heads against repeated ones."""
    torch.manual_seed(0)
    D, H = 96, 8
    module, x = nn.MultiheadAttention(D, H, bias=False, batch_first=True), torch.randn(2, 10, D)
    causal = torch.ones(10, 10).tril().bool()
    w = lab.from_torch({name: each.detach() for name, each in module.state_dict().items()})
    out, weights = lab.multihead(x, w, H, causal)
    loop = lab.multihead_loop(x, *w["qkv"].chunk(3), w["out"], H, causal)
    with torch.no_grad():
        theirs, their_weights = module(x, x, x, attn_mask=~causal, average_attn_weights=False)
    q, k = torch.randn(2, 6, 5, 16), torch.randn(2, 2, 9, 16)
    few, _ = lab.grouped(q, k, k)
    many, _ = lab.grouped(q, *(k.repeat_interleave(3, dim=1),) * 2)
    print(f"projecting each head and adding, against heads side by side and one projection: {apart(loop, out)} apart")
    print(f"nn.MultiheadAttention against ours: {apart(theirs, out)} apart, weights {apart(their_weights, weights)}")
    print(f"2 key heads against the same two, three times each: {apart(few, many)} apart")


def apart(a: Tensor, b: Tensor) -> str:
    return f"{(a - b).abs().max():.0e}"


def work(lab: ModuleType) -> None:
    """Matrix products and live memory of the loop and of the fused version, counted."""
    from labkit.count import LiveMemory, Operations

    class Products(Operations):
        """The matrix products among the operations."""

        @property
        def number(self) -> int:
            return sum(name in ("mm", "bmm", "addmm", "baddbmm", "mv") for name in self.names)

    torch.manual_seed(0)
    x, T = torch.randn(1, 128, 64), 128
    print("one forward pass, T = 128, D = 64     matrix products      numbers alive at the peak, in T²")
    print("                           heads       loop    fused             loop    fused")
    for H in (1, 4, 16):
        w = {"qkv": torch.randn(3 * 64, 64), "out": torch.randn(64, 64)}
        tensors = (x, *w["qkv"].chunk(3), w["out"])
        with Products() as loop:
            lab.multihead_loop(*tensors, H)
        with Products() as fused:
            lab.multihead(x, w, H)
        with LiveMemory(*tensors) as one:
            lab.multihead_loop(*tensors, H)
        with LiveMemory(x, *w.values()) as all_at_once:
            lab.multihead(x, w, H)
        print(f"{H:32d} {loop.number:10d} {fused.number:8d} {one.peak / T**2:16.1f} {all_at_once.peak / T**2:8.1f}")


# ---- what the cache costs


def cache_table(lab: ModuleType, context: int = 8192) -> None:
    """Published shapes through the lab's own formulas."""
    print("                 heads  key    Dh   attention    KV cache     KV cache at      FLOPs of attention,")
    print("2 bytes a number        heads       parameters   per token    8,192 tokens    one token at 8,192")
    for name, (layers, D, H, n_kv, Dh) in MODELS.items():
        layer = lab.Layer(D, H, n_kv, Dh)
        parameters = layers * layer.parameters(bias=name == "GPT-2")
        token, full = (layers * layer.kv_bytes(tokens, 2) for tokens in (1, context))
        flops = layers * layer.flops(1, context)
        print(
            f"{name:16s} {H:5d} {n_kv:5d} {Dh:5d} {parameters / 1e6:10,.1f} M {token / 1e3:8,.1f} kB {full / 1e9:12.2f} GB"
            f" {flops / 1e9:18.2f} G"
        )


# ---- a real layer


def load_model() -> tuple[Any, Any]:
    """SmolLM2-135M and its tokenizer."""
    from llmcore.assets import COMMAND, AssetMissing
    from llmcore.model import pretrained
    from llmcore.tokenizers.bpe import BPE

    try:
        return pretrained.load("smollm2"), BPE.load("smollm2")
    except AssetMissing as missing:
        raise BadInput(str(missing).replace(COMMAND, "lab assets")) from None


def real_layer(lab: ModuleType, text: str, layer: int) -> None:
    """The weights of one layer of a real model through the lab's own parts, and a picture of its heads."""
    try:
        model, bpe = load_model()
    except BadInput as missing:
        print(f"no picture of a real model's heads: {missing}")
        return
    c = model.config
    if not 0 <= layer < c.n_layers:
        raise BadInput(f"--layer takes a number from 0 to {c.n_layers - 1}, not {layer}")
    ids = bpe.encode_ordinary(text)
    if not 2 <= len(ids) <= 40:
        raise BadInput(f"--text takes 2 to 40 tokens, and this text has {len(ids)}")
    attention = model.blocks[layer].attention
    seen: list[Any] = []
    hook = attention.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], inputs[2], output)))
    model.attention_weights(torch.tensor([ids]))
    hook.remove()
    x, rope, (theirs, their_weights) = seen
    mine, weights = by_hand(lab, attention, x, rope)
    print(f"SmolLM2-135M, layer {layer}: {c.n_heads} query heads on {c.n_kv_heads} key heads, {len(ids)} tokens")
    print(
        f"  your parts against the model's layer: {apart(mine, theirs)} apart, weights {apart(weights, their_weights)}"
    )
    tokens = [bpe.decode([i]).replace(" ", "·") for i in ids]
    draw_heads(FOLDER / "artifacts" / "heads.png", weights[0], tokens, layer, c.n_kv_heads)


def by_hand(
    lab: ModuleType, attention: Any, x: Float[Tensor, "B T D"], rope: tuple[Tensor, Tensor]
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B H T T"]]:
    """What the model's layer computes, out of the lab's split_heads, grouped and merge_heads."""
    from llmcore.model.positions import rotate

    c, T = attention.config, x.shape[1]
    q = lab.split_heads(F.linear(x, attention.q.weight), c.n_heads)
    k, v = (lab.split_heads(F.linear(x, part.weight), c.n_kv_heads) for part in (attention.k, attention.v))
    q, k = (rotate(each, *rope, layout=c.rope_layout) for each in (q, k))  # positions: lab 4.3
    mixed, weights = lab.grouped(q, k, v, torch.ones(T, T).tril().bool())
    return F.linear(lab.merge_heads(mixed), attention.out.weight), weights


def draw_heads(path: Path, weights: Float[Tensor, "H T T"], tokens: list[str], layer: int, n_kv: int) -> None:
    """One square for each head; a row of squares shares its keys."""
    H, T = weights.shape[:2]
    figure, axes = _pyplot().subplots(
        n_kv, H // n_kv, figsize=(9.2, 9.6), layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    for h, axis in enumerate(axes.flat):
        picture = axis.imshow(weights[h], cmap="Blues", vmin=0, vmax=1)
        axis.set_title(f"query head {h}", fontsize=10)
        axis.set_xticks(range(T), tokens, rotation=90, fontsize=7.5)
        axis.set_yticks(range(T), tokens, fontsize=7.5)
    for g, axis in enumerate(axes[:, 0]):
        axis.set_ylabel(f"key head {g}\nquery", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("key", fontsize=10)
    figure.colorbar(picture, ax=axes, label="weight (each row of a square sums to 1)", shrink=0.6, aspect=40)
    figure.suptitle(f"Layer {layer} of SmolLM2-135M: heads that share their keys still look at different things")
    save(figure, path)


# ---- switching heads off, and averaging them


class Passage:
    """A text that the model has to predict, and the loss from any layer on.  The layers below are run once."""

    def __init__(self, model: Any, bpe: Any, tokens: int = 256) -> None:
        """The beginning of the message of 2026 to Congress: later than SmolLM2, which cannot have read it."""
        from llmcore.assets import COMMAND, AssetMissing
        from llmcore.assets import text as asset_text

        try:
            last = json.loads(asset_text("sotu").splitlines()[-1])
        except AssetMissing as missing:
            raise BadInput(str(missing).replace(COMMAND, "lab assets")) from None
        ids = torch.tensor([bpe.encode_ordinary(last["text"])[: tokens + 1]])
        self.name, self.model, self.targets = last["name"], model, ids[0, 1:]
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []  # what each layer was called with
        hooks = [
            block.register_forward_pre_hook(lambda _, *call: self.calls.append(call), with_kwargs=True)
            for block in model.blocks
        ]
        self.loss = self.of(model.hidden(ids[:, :-1]))
        for hook in hooks:
            hook.remove()

    def of(self, hidden: Float[Tensor, "1 T D"]) -> float:
        """The mean loss, in nats a token, of what comes out of the last norm."""
        return F.cross_entropy(self.model.head(hidden)[0], self.targets).item()

    def from_layer(self, first: int) -> float:
        """The loss with everything before this layer as it was."""
        x = self.calls[first][0][0]
        for block, ((_, *rest), options) in zip(self.model.blocks[first:], self.calls[first:], strict=True):
            x = block(x, *rest, **options)[0]
        return self.of(self.model.final_norm(x))


@contextmanager
def without(attention: Any, heads: Iterable[int]) -> Iterator[None]:
    """Inside the block, what these heads say is zero: w_out gets 0 where they stand."""
    width = attention.config.head_dim

    def silence(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        merged = inputs[0].clone()
        for h in heads:
            merged[..., h * width : (h + 1) * width] = 0
        return (merged,)

    hook = attention.out.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        hook.remove()


def ablate(full: bool) -> None:
    """How much the loss rises without each head, and without all heads of a layer."""
    torch.set_num_threads(1)
    model, bpe = load_model()
    H = model.config.n_heads
    layers = range(model.config.n_layers) if full else THREE
    passage = Passage(model, bpe)
    print(f"SmolLM2-135M on the first {len(passage.targets)} tokens of {passage.name}: {passage.loss:.3f} nats a token")
    one, every = [], []
    for layer in progress(layers, "switching off heads"):
        attention = model.blocks[layer].attention
        rises = []
        for heads in [*((h,) for h in range(H)), tuple(range(H))]:
            with without(attention, heads):
                rises.append(passage.from_layer(layer) - passage.loss)
        one.append(rises[:-1])
        every.append(rises[-1])
    print(f"rise without each head of a layer                                          {'all ' + str(H):>8s}")
    for layer, rises, together in zip(layers, one, every, strict=True):
        print(
            f"  {layer:2d}  "
            + " ".join(f"{rise:+.3f}" for rise in rises)
            + f"   sum {sum(rises):+.3f}   {together:+.3f}"
        )
    flat = [rise for rises in one for rise in rises]
    cheap, better = (sum(rise < limit for rise in flat) / len(flat) for limit in (0.02, 0.0))
    print(f"{len(flat)} heads, one at a time: {cheap:.0%} cost less than 0.02 nats, {better:.0%} make the loss smaller")
    draw_ablation(FOLDER / "artifacts" / "ablation.png", [*layers], one, every)


def draw_ablation(path: Path, layers: list[int], one: list[list[float]], every: list[float]) -> None:
    """A dot for each head, a ring for the whole layer."""
    figure, axis = _pyplot().subplots(figsize=(8, 4.2), layout="constrained")
    places = range(len(layers))
    for i, rises in zip(places, one, strict=True):
        axis.plot([i] * len(rises), rises, "o", ms=3.5, color=BLUE, alpha=0.7, label="one head off" if not i else None)
    axis.plot(places, every, "D", ms=6, mfc="none", mew=1.6, color=ORANGE, label="all nine heads of the layer off")
    axis.axhline(0, color=GREY, lw=0.8)
    axis.set_yscale("symlog", linthresh=0.05, linscale=1.2)
    ticks = [-0.02, 0, 0.02, 0.05, 0.1, 0.3, 1, 3]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_ylim(-0.04, 5)
    axis.yaxis.minorticks_off()
    shown = [i for i in places if len(layers) < 10 or i % 2 == 0]
    axis.set_xticks(shown, [str(layers[i]) for i in shown])
    axis.set(
        title="Nearly any head can go alone; all heads of layer 0 or 1 cannot",
        xlabel="layer of SmolLM2-135M",
        ylabel="rise in loss (nats a token)",
    )
    axis.legend(loc="upper right", frameon=False)
    save(figure, path)


def pool(lab: ModuleType) -> None:
    """SmolLM2's 3 key heads a layer turned into 1 by averaging, without any training afterwards."""
    torch.set_num_threads(1)
    model, bpe = load_model()
    c = model.config
    passage = Passage(model, bpe)
    rises = []
    for layer in progress(range(c.n_layers), "averaging key heads"):
        with pooled(lab, [model.blocks[layer].attention]):
            rises.append(passage.from_layer(layer) - passage.loss)
    with pooled(lab, [block.attention for block in model.blocks]):
        every = passage.from_layer(0)
    worst = max(range(c.n_layers), key=rises.__getitem__)
    print(f"SmolLM2-135M on the first {len(passage.targets)} tokens of {passage.name}: {passage.loss:.3f} nats a token")
    print(f"{c.n_kv_heads} key and value heads averaged into 1, nothing trained afterwards")
    print(
        f"  one layer at a time: the loss rises by {statistics.median(rises):.3f} in the middle, {rises[worst]:.3f} at most"
        f" (layer {worst})"
    )
    print(
        f"  all {c.n_layers} layers: {every:.3f}; a guess among {c.vocab_size:,} tokens has {torch.tensor(c.vocab_size).log():.3f}"
    )


@contextmanager
def pooled(lab: ModuleType, attentions: list[Any]) -> Iterator[None]:
    """Inside the block these layers have one key and value head, repeated so that the model's code need not change."""
    kept = []
    for attention in attentions:
        n = attention.config.n_kv_heads
        for part in (attention.k, attention.v):
            kept.append((part, part.weight))
            part.weight = nn.Parameter(lab.pool_heads(part.weight, n, 1).repeat(n, 1), requires_grad=False)
    try:
        yield
    finally:
        for part, weight in kept:
            part.weight = weight


# ---- time


def timings(lab: ModuleType) -> None:
    """The loop's time and torch's own layer's as multiples of the fused version's, taken in turn in one run."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lines = {}
    print(f"time as a multiple of the fused version's; D = 256, fp32, {device}, the fastest of 40 rounds in turn")
    print("  tokens  heads     loop    nn.Multihead-, weights   and no weights")
    for B, T in ((1, 16), (4, 128)):
        ratios = []
        for H in HEADS:
            torch.manual_seed(0)
            module = nn.MultiheadAttention(256, H, bias=False, batch_first=True).to(device).eval()
            x = torch.randn(B, T, 256, device=device)
            w = lab.from_torch({name: each.detach() for name, each in module.state_dict().items()})
            work = [
                partial(lab.multihead_loop, x, *w["qkv"].chunk(3), w["out"], H),
                partial(lab.multihead, x, w, H),
                partial(module, x, x, x, average_attn_weights=False),
                partial(module, x, x, x, need_weights=False),
            ]
            loop, fused, theirs, short = in_turn(work, device)
            ratios.append(loop / fused)
            print(f"  {B} × {T:3d} {H:6d} {loop / fused:8.2f} {theirs / fused:20.2f} {short / fused:18.2f}")
        lines[f"{B} × {T} tokens"] = ratios
    draw_ratios(FOLDER / "artifacts" / "ratio.png", lines, device)


def in_turn(work: Sequence[Callable[[], object]], device: str, rounds: int = 40) -> list[float]:
    """The fastest time of each: other work on the machine can only add to it.  In rounds, so that it falls on all."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()  # a GPU only queues the work and returns

    fastest = [float("inf")] * len(work)
    with torch.no_grad():
        for _ in range(rounds):
            for i, each in enumerate(work):
                wait()
                start = time.perf_counter()
                each()
                wait()
                fastest[i] = min(fastest[i], time.perf_counter() - start)
    return fastest


def draw_ratios(path: Path, lines: dict[str, list[float]], device: str) -> None:
    """Loop over fused, by number of heads."""
    figure, axis = _pyplot().subplots(figsize=(6.6, 3.7), layout="constrained")
    for (label, ratios), colour, marker in zip(lines.items(), (BLUE, ORANGE), "os", strict=True):
        axis.plot(HEADS, ratios, marker=marker, color=colour, label=label)
    axis.axhline(1, color=GREY, lw=1, ls="--")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(HEADS, [str(h) for h in HEADS])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axis.set(
        title=f"Small products pay for being many (D = 256 in all, {device})",
        xlabel="heads",
        ylabel="time of the loop / fused",
    )
    axis.legend(frameon=False)
    save(figure, path)


# ---- small things


def progress(layers: Iterable[int], what: str) -> Iterable[int]:
    """A bar on a terminal, nothing in a file."""
    from tqdm import tqdm

    bar: Iterable[int] = tqdm(layers, desc=what, unit="layer", leave=False, disable=not sys.stderr.isatty())
    return bar


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: Path) -> None:
    """Writes a picture of at most 64 colours, a quarter of the file that it would be, and says so."""
    import io

    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=90)
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"  drew {path.parent.name}/{path.name}")
