"""The report of lab 5.4: fifty texts from each strategy, measured and drawn.

Does: run whatever the lab's file holds, the learner's or the reference; it is handed that file as a module.
Does not: hold anything to be written.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from decoding_model import PROMPT, Set
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

FOLDER = Path(__file__).parent
TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.2)
N = 3  # of the n-grams that overlap and repetition are about

Text = list[int]
Strategy = Callable[[Set, list[Text], int], tuple[list[Text], int]]  # prompts, length → new tokens of each, work


class Row(NamedTuple):
    """One strategy's texts, and what they are like."""

    name: str
    texts: list[Text]
    distinct: tuple[float, float, float]  # for n = 1, 2, 3
    repetition: float
    overlap: float
    logprobs: list[list[float]]  # of each token under the model itself, in nats
    work: float  # tokens through the model for each new one

    @property
    def logprob(self) -> float:
        """Mean over all tokens."""
        return sum(map(sum, self.logprobs)) / max(1, sum(map(len, self.logprobs)))


# ---- strategies


def strategies(lab: ModuleType) -> dict[str, Strategy]:
    """By name, in the order of the table."""

    def one_by_one(width: int, search: Callable[[Any, Text, int], Text]) -> Strategy:
        def write(found: Set, prompts: list[Text], n: int) -> tuple[list[Text], int]:
            texts, work = [], 0
            for prompt in prompts:
                model = found.ask(width, len(prompt) + n)
                texts.append(search(model, prompt, n))
                work += model.tokens
            return texts, work

        return write

    def drawn(temperature: float, k: int | None = None, p: float | None = None, penalty: float = 1.0) -> Strategy:
        def choose(logits: Float[Tensor, " v"], text: Text, source: torch.Generator) -> int:
            if penalty != 1.0:
                logits = lab.penalise(logits, text, penalty)
            return int(lab.sample(logits, temperature, k, p, source))

        return lambda found, prompts, n: side_by_side(found, prompts, n, choose, lab.seeded)

    return {
        "greedy": one_by_one(1, lab.greedy),
        "greedy, penalty 1.2": drawn(0.0, penalty=1.2),
        "beam search, 4": one_by_one(4, lambda model, prompt, n: lab.beam_search(model, prompt, 4, n, 1.0)[0][0]),
        "contrastive, 4, 0.6": one_by_one(4, lambda model, prompt, n: lab.contrastive_search(model, prompt, 4, 0.6, n)),
        **{f"temperature {t:g}": drawn(t) for t in TEMPERATURES},
        "top-k 10": drawn(1.0, k=10),
        "top-k 40": drawn(1.0, k=40),
        "top-p 0.7": drawn(1.0, p=0.7),
        "top-p 0.9": drawn(1.0, p=0.9),
        "0.85 and top-p 0.9": drawn(0.85, p=0.9),
    }


def side_by_side(
    found: Set,
    prompts: list[Text],
    n: int,
    choose: Callable[[Float[Tensor, " v"], Text, torch.Generator], int],
    seeded: Callable[[int], torch.Generator],
) -> tuple[list[Text], int]:
    """All prompts in one batch, each with random numbers of its own; a text that has ended is carried along unread."""
    model = found.ask(len(prompts), len(prompts[0]) + n)
    sources = [seeded(row) for row in range(len(prompts))]
    texts = [list(prompt) for prompt in prompts]
    for _ in range(n):
        logits, _ = model(texts)
        for row, text, source in zip(logits, texts, sources, strict=True):
            text.append(choose(row, text, source))
    new = [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
    return [text[: text.index(found.eot) + 1] if found.eot in text else text for text in new], model.tokens


# ---- real text


def passages(found: Set, count: int, n: int) -> tuple[list[Text], list[Text], list[Text]]:
    """Prompts of 16 tokens, how each really goes on, and all held-out text but those: from all sources alike."""
    prompts, real, rest = [], [], []
    each = count // len(found.sources)
    for documents in found.sources:
        windows = [
            (d, start) for d, ids in enumerate(documents) for start in range(0, len(ids) - PROMPT - n, PROMPT + n)
        ]
        taken = {windows[i * len(windows) // each] for i in range(each)}
        for d, ids in enumerate(documents):
            begin = 0
            for start in sorted(s for doc, s in taken if doc == d):
                prompts.append(ids[start : start + PROMPT])
                real.append(ids[start + PROMPT : start + PROMPT + n])
                rest.append(ids[begin:start])
                begin = start + PROMPT + n
            rest.append(ids[begin:])
    return prompts, real, rest


@torch.no_grad()
def logprobs(found: Set, prompts: list[Text], texts: list[Text]) -> list[list[float]]:
    """What the model itself gives each new token, at temperature 1 and without cuts."""
    out = []
    for prompt, text in zip(prompts, texts, strict=True):
        logits = found.model(torch.tensor([prompt + text[:-1]]))[0, len(prompt) - 1 :]
        out.append(logits.float().log_softmax(-1)[torch.arange(len(text)), torch.tensor(text)].tolist())
    return out


# ---- the table and the picture


def report(lab: ModuleType, found: Set, count: int, n: int) -> None:
    """Every strategy on the same prompts."""
    prompts, real, rest = passages(found, count, n)
    print(
        f"{found.name}: {len(prompts)} prompts of {PROMPT} tokens, {n} new tokens each; {sum(map(len, rest)):,} real ones"
    )
    rows = []
    todo = strategies(lab)
    for name in (bar := tqdm([*todo, "real text"], leave=False)):
        bar.set_description(name)
        texts, work = todo[name](found, prompts, n) if name in todo else (real, 0)
        rows.append(measured(lab, found, name, prompts, texts, rest, work))
    print_table(rows)
    from decoding_picture import draw  # which knows what a row is

    out = FOLDER / "artifacts"
    out.mkdir(exist_ok=True)
    with (out / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["strategy", "distinct-1", "distinct-2", "distinct-3", "repetition", "overlap", "logprob", "work"]
        )
        writer.writerows([r.name, *r.distinct, r.repetition, r.overlap, r.logprob, r.work] for r in rows)
    told = [
        {"prompt": found.decode(prompt), **{row.name: found.decode(row.texts[i]) for row in rows}}
        for i, prompt in enumerate(prompts)
    ]
    (out / "texts.json").write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")
    draw(rows, out / "tradeoff.png")
    print("\nwrote artifacts/tradeoff.png, artifacts/table.csv and artifacts/texts.json")


def measured(
    lab: ModuleType, found: Set, name: str, prompts: list[Text], texts: list[Text], rest: list[Text], work: int
) -> Row:
    """The lab's own measures of what a strategy wrote."""
    distinct = (lab.distinct(texts, 1), lab.distinct(texts, 2), lab.distinct(texts, 3))
    return Row(
        name,
        texts,
        distinct,
        lab.repetition(texts, N),
        lab.overlap(texts, rest, N),
        logprobs(found, prompts, texts),
        work / max(1, sum(map(len, texts))),
    )


def print_table(rows: list[Row]) -> None:
    """One line a strategy."""
    print(f"\n{'':20}     distinct       repeated  overlap   log p    work")
    print(f"{'':20} n = 1     2     3     n = 3    n = 3  /token  /token")
    for row in rows:
        d1, d2, d3 = row.distinct
        head = (
            f"{row.name:20} {d1:5.2f} {d2:5.2f} {d3:5.2f} {row.repetition:9.1%} {row.overlap:8.1%} {row.logprob:7.2f}"
        )
        print(head + (f" {row.work:7.1f}" if row.work else ""))
