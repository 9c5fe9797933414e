"""The smaller measurements of lab 5.4: one prompt shown, the tail, wider beams, an outside judge, the library beside it."""

from __future__ import annotations

import json
import math
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import torch
from decoding_model import PROMPT, Set
from decoding_report import N, Text, logprobs, passages, strategies
from tqdm import tqdm

FOLDER = Path(__file__).parent


def show(lab: ModuleType, found: Set, prompt: str) -> None:
    """One prompt, one text a strategy."""
    ids = found.encode(prompt)
    if not ids:
        raise SystemExit("--show needs a prompt of at least one character")
    for name, write in strategies(lab).items():
        texts, _ = write(found, [ids], 48)
        said = " ⏎ ".join(found.decode([i for i in texts[0] if i != found.eot]).splitlines())
        wrapped = textwrap.wrap(prompt + said, 96)
        print(f"{name:20} " + f"\n{'':20} ".join(wrapped))


@torch.no_grad()
def tail(lab: ModuleType, found: Set, count: int = 50, n: int = 64) -> None:
    """In real contexts: how many tokens are 0.9 of the probability, and what is drawn from beyond them."""
    prompts, real, _ = passages(found, count, n)
    sizes, kept, outside = [], [], {t: [] for t in (1.0, 0.85, 0.7, 0.5)}  # type: ignore[var-annotated]
    for prompt, text in zip(tqdm(prompts, leave=False), real, strict=True):
        logits = found.model(torch.tensor([prompt + text]))[0, len(prompt) - 1 : -1].float()  # (n, v)
        nucleus = torch.stack([lab.keep_top_p(row, 0.9) for row in logits]).isfinite()
        top = torch.stack([lab.keep_top_k(row, 40) for row in logits]).isfinite()
        sizes += nucleus.sum(-1).tolist()
        kept += (logits.softmax(-1) * top).sum(-1).tolist()
        for t, missed in outside.items():
            inside = (torch.stack([lab.scale(row, t) for row in logits]).softmax(-1) * nucleus).sum(-1)
            missed.append((float(1 - inside.mean()), float(1 - inside.prod())))

    def places(values: Sequence[float]) -> list[float]:
        ordered = sorted(values)
        return [ordered[int(q * (len(ordered) - 1))] for q in (0.1, 0.5, 0.9)]

    few, middle, many = places(sizes)
    print(f"{len(sizes):,} real contexts                         10 %   median     90 %")
    print(f"tokens that make up 0.9 of the probability  {few:5,.0f} {middle:8,.0f} {many:8,.0f}")
    low, half, high = places(kept)
    print(f"probability of the 40 best                  {low:5.2f} {half:8.2f} {high:8.2f}")
    print("\ntemperature   drawn from beyond that set, per token   at least once in 64 tokens")
    for t, missed in outside.items():
        each, once = (sum(column) / len(column) for column in zip(*missed, strict=True))
        print(f"{t:11g} {each:39.1%} {once:28.0%}")


def beams(lab: ModuleType, found: Set, count: int = 10, n: int = 48) -> None:
    """Wider and wider beams on the same prompts, with and without a length penalty."""
    prompts, real, rest = passages(found, count, n)
    print(" beams   penalty   log p of the text   per token   tokens   repeated   overlap")
    for width, penalty in tqdm([(1, 0.0), (4, 0.0), (16, 0.0), (4, 1.0), (16, 1.0)], leave=False):
        texts = [lab.beam_search(found.ask(width, PROMPT + n), p, width, n, penalty)[0][0] for p in prompts]
        _beam_line(lab, found, f"{width:6} {penalty:9g}", prompts, texts, rest)
    _beam_line(lab, found, "     real text  ", prompts, real, rest)


def _beam_line(
    lab: ModuleType, found: Set, head: str, prompts: list[Text], texts: list[Text], rest: list[Text]
) -> None:
    sums, length = [sum(lp) for lp in logprobs(found, prompts, texts)], sum(map(len, texts)) / len(texts)
    mean = sum(sums) / len(sums)
    repeated, overlap = lab.repetition(texts, N), lab.overlap(texts, rest, N)
    print(f"{head:16} {mean:19.1f} {mean / length:11.2f} {length:8.1f} {repeated:10.1%} {overlap:9.1%}", flush=True)


def library(lab: ModuleType, found: Set, count: int = 50, n: int = 64) -> None:
    """The same model, prompts and settings through llmcore."""
    from llmcore.model.transformer import MiniGPT
    from llmcore.sampling import processors as P
    from llmcore.sampling.strategies import GREEDY, Sampling, beam_search, contrastive_search, generate

    model = found.model
    if not isinstance(model, MiniGPT):
        raise SystemExit("--library compares with the library's model: leave --on mine:model out")
    prompts, _, _ = passages(found, count, n)
    rows = torch.randn(200, 2048, generator=lab.seeded(0)) * 3
    for name, mine, theirs in (
        ("top-k 40", [lab.keep_top_k(r, 40) for r in rows], P.top_k(rows, 40)),
        ("top-p 0.9", [lab.keep_top_p(r, 0.9) for r in rows], P.top_p(rows, 0.9)),
    ):
        same = sum(bool((a == b).all()) for a, b in zip(mine, theirs, strict=True))
        print(f"{name}: {same} of 200 random rows of 2,048 logits are cut alike")
    stop = {found.eot}
    own = strategies(lab)["greedy"](found, prompts, n)[0]
    steps = list(generate(model, prompts, GREEDY, n, stop))
    theirs_texts = [[token.id for step in steps if (token := step[row])] for row in range(len(prompts))]
    print(f"greedy: {sum(a == b for a, b in zip(own, theirs_texts, strict=True))} of {len(prompts)} texts are the same")
    alike, few = 0, prompts[:10]
    for prompt in few:
        alike += lab.contrastive_search(found.ask(4, PROMPT + n), prompt, 4, 0.6, n) == contrastive_search(
            model, prompt, 4, 0.6, n, stop
        )
    print(f"contrastive search: {alike} of {len(few)} texts are the same")
    better = [0, 0, 0]
    for prompt in few:
        mine_best = lab.beam_search(found.ask(4, PROMPT + n), prompt, 4, n, 1.0)[0]
        best = beam_search(model, prompt, 4, n, stop)[0]
        gap = mine_best[1] - best.score
        better[0 if abs(gap) < 1e-5 else 1 if gap > 0 else 2] += 1
    print(
        f"beam search: {better[0]} of {len(few)} best texts score the same, {better[1]} better in the lab, {better[2]} in llmcore"
    )
    choices: dict[str, Callable[[], object]] = {
        "this lab, row by row": lambda: strategies(lab)["top-p 0.9"](found, prompts, n),
        "llmcore, all rows at once": lambda: list(generate(model, prompts, Sampling(top_p=0.9), n)),
    }
    print(f"top-p 0.9, {len(prompts)} texts of {n} tokens, one run:")
    for name, write in choices.items():
        start = time.perf_counter()
        write()
        print(f"  {name:26} {len(prompts) * n / (time.perf_counter() - start):7,.0f} tokens a second")


def judge(count: int = 20) -> None:
    """SmolLM2 reads texts of the last run: its bits for each byte that was written, the prompt known."""
    from llmcore import assets
    from llmcore.model import pretrained
    from llmcore.tokenizers.bpe import BPE

    kept = FOLDER / "artifacts" / "texts.json"
    if not kept.exists():
        raise SystemExit("There are no texts yet: run this without --judge first.")
    texts = json.loads(kept.read_text(encoding="utf-8"))
    try:
        model, bpe = pretrained.load("smollm2"), BPE.load("smollm2")
    except assets.AssetMissing as missing:
        raise SystemExit(str(missing).replace(assets.COMMAND, "lab assets")) from None
    chosen = texts[:: max(1, len(texts) // count)]
    print(f"bits for each byte, by SmolLM2-135M; {len(chosen)} texts a strategy")
    for name in [name for name in texts[0] if name != "prompt"]:
        bits = written = 0.0
        for text in tqdm(chosen, name, leave=False):
            said = text[name].removesuffix("<|endoftext|>")
            before = [bpe.special_tokens["<|endoftext|>"], *bpe.encode_ordinary(text["prompt"])]
            new = bpe.encode_ordinary(said)
            with torch.no_grad():
                logits = model(torch.tensor([before + new[:-1]]))[0, len(before) - 1 :]
            bits -= float(logits.log_softmax(-1)[torch.arange(len(new)), torch.tensor(new)].sum()) / math.log(2)
            written += len(said.encode())
        print(f"{name:20} {bits / written:6.2f}", flush=True)
