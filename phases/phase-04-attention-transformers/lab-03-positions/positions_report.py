"""The report of lab 4.3: your functions beside llmcore's, what stretching does to the clock hands, and the experiment.

Does: run whatever the lab's file holds, the learner's or the reference; it is handed that file as a module.
Does not: hold anything to be written.  positions_train trains and measures, positions_pictures draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import positions_pictures as pictures
import positions_train as runs
import torch
from jaxtyping import Float
from positions_train import Corpus, Kind, Size, Store, Stretch
from torch import Tensor

from llmcore import assets
from llmcore.model import positions as library
from llmcore.model.config import RopeScaling
from llmcore.model.transformer import MiniGPT

FOLDER = Path(__file__).parent
TIMES = (0.5, 1, 1.5, 2, 4, 8)  # lengths at which is measured, in trained contexts
NAMES = {"learned": "learned", "sinusoidal": "sinusoidal", "rope": "RoPE", "alibi": "ALiBi"}


class BadInput(Exception):
    """Something the caller gave that cannot be used; the text is one sentence that says why."""


# ---- the same numbers as the library's?


def agreement(lab: ModuleType) -> None:
    """The lab's functions against llmcore's, on the same random numbers, in the order of the tasks."""
    rng = torch.Generator().manual_seed(0)
    at = torch.randint(64, (2, 9), generator=rng)
    x = torch.randn(2, 3, 9, 16, generator=rng)
    table = torch.randn(64, 6, generator=rng)
    pairs = [("sinusoidal", lab.sinusoidal(at, 24), library.sinusoidal(at, 24))]
    pairs.append(("learned", lab.learned(table, at), torch.nn.functional.embedding(at, table)))
    turn = lab.frequencies(16, 5_000.0)
    angles = lab.rope_angles(at, turn)
    theirs = at[..., None] * library.rope_frequencies(16, 5_000.0)[0]
    pairs.append(("angles", angles, theirs))
    for layout, mine in (("adjacent", lab.rotate_adjacent(x, angles)), ("half", lab.rotate_half(x, angles))):
        pairs.append((layout, mine, library.rotate(x, theirs.cos(), theirs.sin(), layout)))  # type: ignore[arg-type]
    weight = torch.randn(3 * 16, 5, generator=rng)
    restored = lab.to_half(weight, 3).unflatten(0, (3, 2, 8)).transpose(1, 2).flatten(0, 2)
    pairs.append(("to_half and back", restored, weight))
    slopes = lab.alibi_slopes(12)
    pairs.append(("slopes", slopes, library.alibi_slopes(12)))
    lab.alibi_bias(slopes, at, at)
    for kind, mine in (
        ("linear", (lab.interpolate(turn, 4.0), 1.0)),
        ("ntk", (lab.ntk(16, 5_000.0, 4.0), 1.0)),
        ("yarn", lab.yarn(16, 5_000.0, 4.0, 2048)),
    ):
        want = library.rope_frequencies(16, 5_000.0, RopeScaling(kind, 4.0, original_context=2048))  # type: ignore[arg-type]
        pairs.append(
            (kind, torch.cat([mine[0], torch.tensor([mine[1]])]), torch.cat([want[0], torch.tensor([want[1]])]))
        )
    apart = {name: float((a - b).abs().max()) for name, a, b in pairs}
    worst = max(apart, key=lambda name: apart[name])
    print(f"{len(pairs)} results against llmcore's: {apart[worst]:.0e} apart at most ({worst})")


# ---- stretchings


def stretches(lab: ModuleType, head_dim: int, theta: float, context: int, factor: float) -> dict[str, Stretch]:
    """The lab's frequencies for a text `factor` times as long as the trained context; for 1 and less all are plain."""
    plain = lab.frequencies(head_dim, theta)
    if factor <= 1:
        return dict.fromkeys(("interpolated", "NTK", "YaRN"), _stretch(plain))
    turn, strength = lab.yarn(head_dim, theta, factor, context)
    return {
        "interpolated": _stretch(lab.interpolate(plain, factor)),
        "NTK": _stretch(lab.ntk(head_dim, theta, factor)),
        "YaRN": _stretch(turn, strength),
    }


def _stretch(turn: Float[Tensor, " half"], factor: float = 1.0) -> Stretch:
    return Stretch(tuple(turn.tolist()), float(factor))


def drawings(lab: ModuleType) -> None:
    """The clock hands: which angles training has shown, and which a text of four times the length asks for."""
    head_dim, context, factor = 16, 64, 4
    plain = {"plain": _stretch(lab.frequencies(head_dim, 10_000.0))}
    rows = {**plain, **stretches(lab, head_dim, 10_000.0, context, factor)}
    pictures.clocks({name: s.turn for name, s in rows.items()}, context, factor, FOLDER / "artifacts" / "clocks.png")


# ---- the experiment


@dataclass(frozen=True)
class Line:
    """One method at all lengths: losses (windows,) by context."""

    name: str
    losses: dict[int, Tensor]


def experiment(lab: ModuleType, size_name: str, text: Path | None) -> None:
    """Trains the four models (or finds them), measures, prints the tables, draws."""
    size, corpus = runs.SIZES[size_name], _corpus(text)
    device = torch.device("cuda" if size_name == "full" and torch.cuda.is_available() else "cpu")
    longest = int(max(TIMES) * size.context)
    if len(corpus.held_out) < 20 * longest:
        raise BadInput(f"the text is too short: the last tenth of it must hold 20 windows of {longest} bytes")
    store = Store(FOLDER / "artifacts", size, corpus)
    models = {kind: runs.train(kind, size, corpus, store, device) for kind in runs.KINDS}
    bench = Bench(lab, size, corpus, store)
    lines = bench.lines(models)
    first = next(iter(lines[0].losses.values()))
    print(
        f"\n{size.steps:,} steps on windows of {size.context} bytes; loss in nats per byte on the same "
        f"{len(first) * size.targets:,} held-out bytes,"
    )
    print(f"with so many bytes of context; behind {size.context}: the change, ± 95 % over {len(first)} windows")
    _table(lines, size)
    print(f"{'byte frequencies':20s}{runs.loss_of_frequencies(corpus, bench.ends, size.targets):7.3f}")
    bench.shifts(models)
    bench.layouts(models["rope"])
    bench.fine_tuned(models["rope"])
    picture = FOLDER / "artifacts" / f"extrapolation-{size.name}.png"
    pictures.curves({line.name: line.losses for line in lines}, size.context, picture)


def _corpus(text: Path | None) -> Corpus:
    if text is not None:
        return Corpus.of(text.name, text.read_bytes())
    try:
        return Corpus.of("shakespeare", assets.text("shakespeare").encode())
    except assets.AssetError as e:
        raise BadInput(str(e)) from None


class Bench:
    """Measures models; whatever was measured before with the same weights and frequencies is looked up."""

    def __init__(self, lab: ModuleType, size: Size, corpus: Corpus, store: Store) -> None:
        self.lab, self.size, self.corpus, self.store = lab, size, corpus, store
        self.ends = runs.window_ends(corpus.held_out, size, int(max(TIMES) * size.context))

    def loss(
        self, model: MiniGPT, name: str, context: int, stretch: Stretch | None = None, first: int = 0
    ) -> Float[Tensor, " windows"]:
        key = f"{name} {context} {stretch} {first}"
        if key not in self.store.losses:
            with runs.stretched(model, stretch):
                found = runs.loss_at_the_end(model, self.corpus.held_out, self.ends, context, self.size.targets, first)
            self.store.losses[key] = found
            self.store.keep("losses", losses=self.store.losses)
        return self.store.losses[key]

    def lines(self, models: dict[Kind, MiniGPT]) -> list[Line]:
        """The four kinds, then RoPE with each stretching and with a window of the trained length."""
        from tqdm import tqdm

        T, rope = self.size.context, models["rope"]
        lengths = [int(t * T) for t in TIMES]
        windowed = runs.with_config(rope, window=T)
        lines = [Line(NAMES[kind], {}) for kind in models]
        lines += [Line(f"RoPE, {name}", {}) for name in ("interpolated", "NTK", "YaRN", f"last {T} only")]
        for length in tqdm(lengths, "measuring", leave=False, disable=None):
            for line, (kind, model) in zip(lines, models.items(), strict=False):
                if kind != "learned" or length <= T:  # the table has no further row
                    line.losses[length] = self.loss(model, kind, length)
            others = stretches(self.lab, rope.config.head_dim, rope.config.rope_theta, T, length / T)
            for line, stretch in zip(lines[4:], others.values(), strict=False):
                line.losses[length] = self.loss(rope, "rope", length, stretch)
            lines[-1].losses[length] = self.loss(windowed, "windowed", length)
        return lines

    def shifts(self, models: dict[Kind, MiniGPT]) -> None:
        """The same windows of the trained length, said to stand further back in a text: is it places or distances?"""
        T = self.size.context
        print(f"\nthe same {T} bytes of context, said to begin at position      0 {T:8d} {7 * T:8d}")
        for kind in ("sinusoidal", "rope", "alibi"):
            means = [float(self.loss(models[kind], kind, T, first=first).mean()) for first in (0, T, 7 * T)]
            print(f"  {NAMES[kind]:44s}" + "".join(f"{m:9.3f}" for m in means))

    def layouts(self, rope: MiniGPT) -> None:
        """Weights that were trained with adjacent pairs, run by a model that turns halves; then with rows reordered."""
        T, heads = self.size.context, rope.config.n_heads
        halves = runs.with_config(rope, rope_layout="half")
        as_trained = float(self.loss(rope, "rope", T).mean())
        as_it_is = float(self.loss(halves, "halves", T).mean())
        with torch.no_grad():
            for block in halves.blocks:
                for projection in (block.attention.q, block.attention.k):  # type: ignore[union-attr]
                    projection.weight.copy_(self.lab.to_half(projection.weight.cpu(), heads))  # type: ignore[union-attr, operator]
        # Never looked up: the lab's to_half may have changed since.
        reordered = float(runs.loss_at_the_end(halves, self.corpus.held_out, self.ends, T, self.size.targets).mean())
        print("\ntrained with adjacent pairs, run                       loss")
        for words, loss in (
            ("as trained", as_trained),
            ("as halves", as_it_is),
            ("as halves, after to_half", reordered),
        ):
            print(f"  {words:44s}{loss:13.3f}")

    def fine_tuned(self, rope: MiniGPT) -> None:
        """A little more training on windows of four times the length, plain and with each stretching."""
        T, steps = self.size.context, max(1, self.size.steps // 16)
        base = self.loss(rope, "rope", T)
        others = stretches(self.lab, rope.config.head_dim, rope.config.rope_theta, T, 4)
        print(
            f"\nRoPE at {4 * T} bytes, after {steps} more steps on windows of {4 * T}: the change from {T} bytes before"
        )
        for words, stretch in (("plain", None), *others.items()):
            name = f"tuned {steps} {stretch}"
            known = f"{name} {4 * T} None 0" in self.store.losses
            tuned = rope if known else runs.fine_tune(rope, stretch, self.size, self.corpus, 4 * T, steps)
            print(f"  {words:44s}{_change(self.loss(tuned, name, 4 * T), base)}")


def _table(lines: list[Line], size: Size) -> None:
    T = size.context
    lengths = [int(t * T) for t in TIMES]
    print(f"{'':20s}{lengths[0]:7d}{lengths[1]:8d}" + "".join(f"{length:17d}" for length in lengths[2:]))
    for line in lines:
        row = f"{line.name:20s}{line.losses[lengths[0]].mean():7.3f}{line.losses[T].mean():8.3f}"
        for length in lengths[2:]:
            known = length in line.losses
            row += _change(line.losses[length], line.losses[T]) if known else f"{'no such place':>17s}"
        print(row)


def _change(losses: Float[Tensor, " windows"], base: Float[Tensor, " windows"]) -> str:
    """The mean difference and its 95 % interval; both were measured on the same windows, so windows are compared singly."""
    difference = losses - base
    return f"{difference.mean():+9.3f} ± {1.96 * difference.std() / len(difference) ** 0.5:.3f}"
