"""The report of lab 4.4: what the sanity tests see of broken models, real weights, attention maps, and an ablation.

Does: run whatever the lab's file holds, the learner's or the reference; it is handed that file as a module.
Does not: hold anything to be written. Broken models are made from the lab's own by hooks around its parts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from llmcore import assets

FOLDER = Path(__file__).parent
BLUE, ORANGE = "#0072B2", "#D55E00"
LEARNING_RATES = {1e-3: ":", 3e-3: "-", 1e-2: "--"}  # and how the picture draws each
SENTENCE = "Mary gave the book to John because she had read it twice."

# Sonnet 18: enough for a batch that needs no download.
SONNET = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimmed,
And every fair from fair sometime declines,
By chance, or nature's changing course untrimmed:
"""

Loss = Callable[[Any, Int[Tensor, "b t"]], Float[Tensor, ""]]


# ---- the default: counts, the first loss, and what the tests can see


def report(lab: ModuleType) -> None:
    """Parameters, loss before training, and a table of right and broken models."""
    touch(lab)
    config = lab.Config(256, 64, 2, 4, 2, 168)
    model = lab.build(config)
    counted = sum(p.numel() for p in model.parameters())
    print(f"parameters of a small model: {lab.n_parameters(config):,} by formula, {counted:,} counted")
    smollm = lab.Config(49_152, 576, 30, 9, 3, 1536)
    print(f"parameters of SmolLM2-135M:  {lab.n_parameters(smollm):,} by formula\n")
    first_losses(lab)
    print()
    what_tests_see(lab, config)


def touch(lab: ModuleType) -> None:
    """Every part once, in the order of the tasks: what is not written yet says so before anything long begins."""
    config = lab.Config(8, 8, 1, 2, 1, 12)
    model, ids = lab.MiniGPT(config), torch.tensor([[3, 1, 4]])
    block, x, positions = model.blocks[0], torch.randn(1, 3, 8), torch.arange(3)[None]
    block.attention_norm(x)
    block.mlp(x)
    block.attention.weights(x, positions)
    block.attention(x, positions)
    block(x, positions)
    model(ids)
    lab.initialise(model)
    lab.n_parameters(config)
    lab.next_token_loss(model, ids)
    lab.overfit(model, ids, 1, 0.1)
    lab.first_leak(model, ids[0])
    lab.is_aligned(lab.next_token_loss, 8)


def first_losses(lab: ModuleType) -> None:
    """The loss before training against ln V, on random ids; and how often the model's first guess is to repeat."""
    print("loss before training, 4 x 128 random ids, V = 8,192: ln V = 9.01")
    print("    width  blocks   loss   ln V + variance/2   logit of the token just read")
    for d, layers in ((64, 2), (256, 2), (1024, 2), (1024, 12)):
        torch.set_grad_enabled(False)
        model = lab.build(lab.Config(8192, d, layers, 8, 4, 8 * d // 3))
        ids = torch.randint(8192, (4, 128), generator=torch.Generator().manual_seed(0))
        logits = model(ids)
        own = logits.gather(-1, ids[..., None]).mean().item()
        loss = lab.next_token_loss(model, ids).item()
        print(f"{d:9d} {layers:7d} {loss:6.2f} {math.log(8192) + 0.02**2 * d / 2:16.2f} {own:24.1f}")
        torch.set_grad_enabled(True)


def what_tests_see(lab: ModuleType, config: Any, steps: int = 60) -> None:
    """Each model, right or broken, is overfitted on 8 lines of a sonnet; then the two tests look at it."""
    ids = sonnet()
    print(f"8 lines of a sonnet as bytes, {steps} steps of Adam: what each test says")
    print("                                          first loss   last loss   first_leak   is_aligned")
    rows: list[tuple[str, Callable[[nn.Module], object], Loss]] = [
        ("right", lambda m: None, lab.next_token_loss),
        ("mask upside down", lambda m: around_attention(m, backwards), lab.next_token_loss),
        ("no mask: both directions", lambda m: around_attention(m, both_directions), lab.next_token_loss),
        ("sees one token ahead, one block only", lambda m: around_attention(m, ahead(1), [1]), lab.next_token_loss),
        ("sees 9 tokens ahead, one block only", lambda m: around_attention(m, ahead(9), [1]), lab.next_token_loss),
        ("final norm centres over time", centre_over_time, lab.next_token_loss),
        ("loss without the shift", lambda m: None, no_shift),
        ("loss shifted twice", lambda m: None, twice),
        ("embedding gets no gradient", lambda m: m.get_parameter("embedding.weight").requires_grad_(False), lab.next_token_loss),
    ]  # fmt: skip
    for name, sabotage, loss in tqdm(rows, leave=False, disable=None):
        model = lab.build(config)
        sabotage(model)
        losses = train(model, lambda: ids, loss, steps, 3e-3)
        leak = lab.first_leak(model, ids[0])
        aligned = lab.is_aligned(loss, 40)
        flag = "" if leak is None and aligned else "  <-"
        tqdm.write(f"{name:40s} {losses[0]:11.2f} {losses[-1]:11.3f} {leak!s:>12s} {aligned!s:>12s}{flag}", sys.stdout)


def sonnet() -> Int[Tensor, "8 t"]:
    """The first 39 bytes of each line, so that all rows are as long."""
    return torch.tensor([list(line.encode()[:39]) for line in SONNET.splitlines()])


def train(model: nn.Module, batch: Callable[[], Tensor], loss: Loss, steps: int, lr: float) -> list[float]:
    """Adam with a constant learning rate: no warm-up, no clipping.  The loss before each step."""
    optimizer, losses = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr), []
    for _ in range(steps):
        value = loss(model, batch())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def no_shift(model: Any, ids: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
    """Position t is asked for the token that stands there."""
    return F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())


def twice(model: Any, ids: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
    """A data loader that shifts and a loss that shifts again."""
    return F.cross_entropy(model(ids)[:, :-2].flatten(0, 1), ids[:, 2:].flatten())


def backwards(attention: Callable[..., Tensor], x: Tensor, positions: Tensor) -> Tensor:
    """Attention on the row read from its end: each token sees itself and what comes later."""
    return attention(x.flip(1), positions.flip(1)).flip(1)


def both_directions(attention: Callable[..., Tensor], x: Tensor, positions: Tensor) -> Tensor:
    """Half of what a token reads comes from later ones."""
    return (attention(x, positions) + backwards(attention, x, positions)) / 2


def ahead(distance: int) -> Callable[..., Tensor]:
    """Each token also gets what the token `distance` places later has read."""

    def look(attention: Callable[..., Tensor], x: Tensor, positions: Tensor) -> Tensor:
        out = attention(x, positions)
        return out + F.pad(out[:, distance:], (0, 0, 0, distance))

    return look


def around_attention(model: Any, how: Callable[..., Tensor], blocks: list[int] | None = None) -> None:
    """Puts `how` around the attention of the model's blocks."""
    for i in range(len(model.blocks)) if blocks is None else blocks:
        attention = model.blocks[i].attention
        attention.forward = lambda x, positions, inner=attention.forward: how(inner, x, positions)


def centre_over_time(model: Any) -> None:
    """The mean that is taken away is that over the row's tokens: the batch-norm mistake."""
    inner = model.final_norm.forward
    model.final_norm.forward = lambda x: inner(x - x.mean(dim=1, keepdim=True))


# ---- formulas


def table(lab: ModuleType) -> None:
    """Parameters, FLOPs of a token's forward pass at a context of 2,048, and cache, of models of this family."""
    models = {
        "SmolLM2-135M": lab.Config(49_152, 576, 30, 9, 3, 1536),
        "Llama 2 7B": lab.Config(32_000, 4096, 32, 32, 32, 11_008, tie_embeddings=False),
        "Llama 3 8B": lab.Config(128_256, 4096, 32, 32, 8, 14_336, tie_embeddings=False),
        "Llama 3 70B": lab.Config(128_256, 8192, 80, 64, 8, 28_672, tie_embeddings=False),
    }
    print("model             parameters  attention   MLP  embedding   GFLOP/token   of it scores   cache/token, bf16")
    for name, c in models.items():
        n = lab.n_parameters(c)
        kv = c.n_kv_heads * c.head_dim
        attention = c.n_layers * 2 * c.d_model * (c.d_model + kv)
        mlp = c.n_layers * 3 * c.d_model * c.d_ff
        embedding = c.vocab_size * c.d_model * (1 if c.tie_embeddings else 2)
        scores = 2 * c.n_layers * 2 * c.d_model * 2048  # q·k and the mixing of values, 2,048 keys
        flops = 2 * (attention + mlp + c.vocab_size * c.d_model) + scores
        cache = 2 * c.n_layers * kv * 2
        print(
            f"{name:13s} {n:14,d} {attention / n:10.0%} {mlp / n:5.0%} {embedding / n:10.0%} "
            f"{flops / 1e9:13.2f} {scores / flops:14.0%} {cache / 1024:15.0f} KiB"
        )


# ---- real weights


def real_model(lab: ModuleType) -> tuple[Any, Any, Any]:
    """SmolLM2's weights in the lab's own model; llmcore's model of them; and the tokenizer."""
    from llmcore.model import pretrained
    from llmcore.tokenizers.bpe import BPE

    try:
        theirs, bpe = pretrained.load("smollm2"), BPE.load("smollm2")
    except assets.AssetError as e:
        sys.exit(str(e))
    fields = {f.name: getattr(theirs.config, f.name) for f in dataclasses.fields(lab.Config)}
    with torch.device("meta"):  # shapes only: the numbers come from the file
        mine = lab.MiniGPT(lab.Config(**fields))
    mine.load_state_dict(theirs.state_dict(), assign=True)
    mine.head.weight = mine.embedding.weight
    return mine, theirs, bpe


@torch.inference_mode()
def smollm2(lab: ModuleType, question: str, new_tokens: int = 48) -> None:
    """Answers a question, always with the most likely token, and compares with llmcore's model."""
    from llmcore.tokenizers.chat import CHATML

    mine, theirs, bpe = real_model(lab)
    ids = CHATML.encode(bpe, [{"role": "user", "content": question}]).ids
    stop, stream, asked = CHATML.stop_ids(bpe), bpe.stream_decoder(), len(ids)
    begin = time.perf_counter()
    for _ in range(new_tokens):
        token = int(mine(torch.tensor([ids]))[0, -1].argmax())
        if token in stop:
            break
        ids.append(token)
        print(stream.feed(token), end="", flush=True)
    seconds = time.perf_counter() - begin
    batch = torch.tensor([ids])
    apart = (mine(batch) - theirs(batch)).abs().max().item()
    print(f"\n\n{lab.n_parameters(mine.config):,} parameters on {Path(str(lab.__file__)).name}: ", end="")
    print(f"{len(ids) - asked} tokens in {seconds:.0f} s, each by reading all before it again (phase 9 keeps them)")
    print(f"its logits and those of llmcore's MiniGPT, at {len(ids)} positions: {apart:.0e} apart at most")


@torch.inference_mode()
def attention_weights(model: Any, ids: Int[Tensor, "1 t"]) -> Float[Tensor, "blocks h t t"]:
    """What every head looks at, taken where the model runs it."""
    found: list[Tensor] = []

    def keep(attention: Any, given: tuple[Tensor, Tensor]) -> None:
        found.append(attention.weights(*given)[0])

    handles = [block.attention.register_forward_pre_hook(keep) for block in model.blocks]
    try:
        model(ids)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found)


def maps(lab: ModuleType, block: int = 11) -> None:
    """Every head of one block of SmolLM2 on one sentence; and how much of all attention goes to the first token."""
    plt = _pyplot()
    model, _, bpe = real_model(lab)
    ids = bpe.encode_ordinary(SENTENCE)
    every = attention_weights(model, torch.tensor([ids]))
    words = [bpe.decode([i]).strip() for i in ids]
    figure, axes = plt.subplots(3, 3, figsize=(8.4, 8.6), sharex=True, sharey=True, layout="constrained")
    for h, axis in enumerate(axes.flat):
        weights = every[block, h]
        picture = axis.imshow(weights.sqrt(), cmap="Blues", vmin=0, vmax=1)
        axis.set_title(f"head {h}: {character(weights)}", fontsize=9)
        axis.set_xticks(range(len(ids)), words, rotation=90, fontsize=7)
        axis.set_yticks(range(len(ids)), words, fontsize=7)
    figure.colorbar(picture, ax=axes, label="√weight (each row's weights sum to 1)", shrink=0.5)
    figure.supxlabel("key: what is looked at", fontsize=9)
    figure.supylabel("query: who looks", fontsize=9)
    figure.suptitle(f"SmolLM2-135M, block {block}: nine heads, each with its own habit", fontsize=11)
    first = every[:, :, 2:, 0].mean(dim=(1, 2))  # (blocks,): the first two queries have little choice
    print("weight on the first token, queries from the third on, mean of the heads:")
    print(
        "  ".join(f"block {i}: {first[i]:.0%}" for i in (0, 3, 7, 11, 15, 20, 24, 29)) + f"  all 30: {first.mean():.0%}"
    )
    _save(figure, "maps.png")


def character(weights: Float[Tensor, "t t"]) -> str:
    """Where a head's weight lies on average, without the first two queries, which have little choice."""
    rows = weights[2:]
    t = torch.arange(2, len(weights))
    places = {
        "first token": rows[:, 0].mean(),
        "itself": weights[t, t].mean(),
        "token before": weights[t, t - 1].mean(),
    }
    name, share = max(places.items(), key=lambda item: float(item[1]))
    return f"{share:.0%} {name}"


# ---- beside llmcore


@torch.inference_mode()
def library(lab: ModuleType) -> None:
    """The same weights in llmcore's model: the same logits, less alive at the peak, less work for each new token."""
    from labkit.count import LiveMemory
    from llmcore.model.config import Config
    from llmcore.model.transformer import MiniGPT

    mine = lab.build(lab.Config(1000, 192, 4, 6, 2, 512))
    shared = {"d_model": 192, "n_layers": 4, "n_heads": 6, "n_kv_heads": 2, "d_ff": 512}
    theirs = MiniGPT(Config(1000, 2048, **shared, position="rope", norm="rmsnorm", mlp="swiglu"))  # type: ignore[arg-type]
    theirs.load_state_dict(mine.state_dict())
    print("tokens   logits apart   alive at the peak: lab, llmcore")
    for tokens in (256, 512, 1024):
        ids = torch.randint(1000, (1, tokens), generator=torch.Generator().manual_seed(0))
        peaks, logits = [], []
        for model in (mine, theirs):
            with LiveMemory(ids) as live:
                logits.append(model(ids))
            peaks.append(live.peak * 4 / 2**20)
        apart = (logits[0] - logits[1]).abs().max().item()
        print(f"{tokens:6d} {apart:14.0e} {peaks[0]:17.0f} MB, {peaks[1]:.0f} MB")
    prompt, new = 100, 200
    again = sum(range(prompt, prompt + new))
    print(
        f"{new} new tokens after {prompt}: {again:,} tokens through the model in the lab, {prompt + new - 1} with a cache"
    )


# ---- pre-norm against post-norm


def ablation(lab: ModuleType, full: bool) -> None:
    """Both orders at two depths and two learning rates, without warm-up, on Shakespeare's bytes."""
    try:
        text = assets.text("shakespeare").encode()
    except assets.AssetError as e:
        sys.exit(str(e))
    device = "cuda" if full and torch.cuda.is_available() else "cpu"
    d, rows, length, steps, depths = (512, 64, 256, 2000, (2, 24)) if full else (64, 8, 48, 150, (2, 12))
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    done: list[dict[str, Any]] = []
    runs = [(depth, pre, lr) for depth in depths for pre in (True, False) for lr in LEARNING_RATES]
    file = FOLDER / "artifacts" / "ablation.json"  # each run as soon as it is done: Ctrl-C loses one at most
    code = hashlib.sha256(Path(str(lab.__file__)).read_bytes() + Path(__file__).read_bytes()).hexdigest()
    kept = json.loads(file.read_text()) if file.exists() else {}
    with tqdm(total=len(runs) * steps, unit="step", disable=None, leave=False) as bar:
        for depth, pre, lr in runs:
            key = f"{code[:16]} {d} {rows} {length} {steps} {depth} {pre} {lr:g}"
            if key in kept:
                bar.update(steps)
            else:
                random = torch.Generator().manual_seed(0)

                def batch(random: torch.Generator = random) -> Tensor:
                    bar.update()
                    at = torch.randint(len(data) - length, (rows,), generator=random)
                    return data[at[:, None] + torch.arange(length + 1)].to(device)

                model = lab.build(lab.Config(256, d, depth, d // 16, d // 32, 8 * d // 3, pre_norm=pre)).to(device)
                first = gradient_norms(lab, model, data[: rows * length].view(rows, length).to(device))
                losses = train(model, batch, lab.next_token_loss, steps, lr)
                kept[key] = {"depth": depth, "pre": pre, "lr": lr, "gradients": first, "losses": losses}
                file.parent.mkdir(exist_ok=True)
                file.write_text(json.dumps(kept))
            done.append(kept[key])
    last = max(1, steps // 10)
    print(f"{rows} x {length} bytes a step, width {d}, Adam, constant learning rate, no warm-up, seed 0")
    print(f"  blocks   norm   lr      loss, mean of the last {last} of {steps} steps")
    for run in done:
        order, mean = "pre " if run["pre"] else "post", sum(run["losses"][-last:]) / last
        print(f"{run['depth']:8d}   {order}   {run['lr']:<5g} {mean:14.2f}")
    for run in deepest(done):
        order, norms = "pre" if run["pre"] else "post", run["gradients"]
        print(f"gradient of mlp.gate before training, {order}-norm: block 0 {norms[0]:.1e}, last block {norms[-1]:.1e}")
    share = data.bincount() / len(data)
    entropy = -(share * share.clamp(min=1e-12).log()).sum().item()
    print(f"a model that knows how often each byte occurs, and nothing else, has a loss of {entropy:.2f}")
    _draw_ablation(done, depths, entropy)


def deepest(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the deepest models, one run of each order: before training the learning rate makes no difference."""
    depth = max(run["depth"] for run in runs)
    return [run for run in runs if run["depth"] == depth and run["lr"] == min(LEARNING_RATES)]


def gradient_norms(lab: ModuleType, model: Any, ids: Int[Tensor, "b t"]) -> list[float]:
    """The length of the gradient at each block's mlp.gate, before any training."""
    lab.next_token_loss(model, ids).backward()
    norms = [block.mlp.gate.weight.grad.norm().item() for block in model.blocks]
    model.zero_grad()
    return norms


def _draw_ablation(runs: list[dict[str, Any]], depths: tuple[int, ...], entropy: float) -> None:
    plt = _pyplot()
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.7), layout="constrained")
    for axis, depth in zip(axes, depths, strict=False):
        for run in runs:
            if run["depth"] != depth:
                continue
            window = max(1, len(run["losses"]) // 20)
            smooth = torch.tensor(run["losses"]).unfold(0, window, 1).mean(-1)
            color = BLUE if run["pre"] else ORANGE
            label = f"{'pre' if run['pre'] else 'post'}-norm, learning rate {run['lr']:g}"
            axis.plot(smooth, LEARNING_RATES[run["lr"]], color=color, label=label, lw=1.6)
        axis.set(title=f"{depth} blocks, no warm-up", xlabel="step", ylabel="loss (nats per byte), running mean")
        axis.axhline(entropy, color="#6b6b6b", lw=0.8)
        axis.annotate(
            "byte frequencies alone",
            (0.9 * len(runs[0]["losses"]), entropy),
            (0.5 * len(runs[0]["losses"]), 4.0),
            fontsize=8,
            arrowprops={"arrowstyle": "->", "lw": 0.8},
        )
        axis.set_ylim(2.4, 5.6)
    axes[0].legend(fontsize=7)
    for run in deepest(runs):
        color, label = (BLUE, "pre-norm") if run["pre"] else (ORANGE, "post-norm")
        axes[2].semilogy(run["gradients"], "o-", color=color, label=label, ms=4)
    axes[2].set(title="before training", xlabel="block", ylabel="length of the gradient at mlp.gate")
    axes[2].legend(fontsize=8)
    figure.suptitle(
        "Without warm-up, pre-norm learns at every rate tried; deep post-norm stops at byte frequencies", fontsize=11
    )
    _save(figure, "ablation.png")


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, name: str) -> None:
    path = FOLDER / "artifacts" / name
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=96)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the size, and it looks the same
    print(f"drew artifacts/{name}")
