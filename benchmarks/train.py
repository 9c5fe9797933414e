"""A training step beside nanoGPT's and transformers': forward, backward, clipping, AdamW, on the same batch.

One model of GPT-2's shape with 13.9 million parameters (vocabulary 8,192, 6 layers of width 384, 6 heads, learned positions,
tied), 8 rows of 256 tokens, float32, all with torch's fused AdamW. Before anything is timed, all must give the same loss
for the same weights. Ours is llmcore.training's `Trainer.step`, whole.

nanoGPT is one file that no index carries: clone it, set NANOGPT_DIR to its folder, and the benchmark finds it.
"""

import importlib.util
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.report import Result, conditions, judged
from benchmarks.timing import Case, Goal, take_turns
from llmcore.model import pretrained
from llmcore.model.config import Config
from llmcore.model.packed import multiplies_bfloat16
from llmcore.model.transformer import MiniGPT
from llmcore.training.data import Batch
from llmcore.training.schedules import Constant
from llmcore.training.trainer import Settings, Trainer

ROWS, RATE = 8, 3e-4
SHAPE = Config(vocab_size=8192, context_length=256, d_model=384, n_layers=6, n_heads=6)
OWN, NANOGPT, PEER = "llmcore", "nanoGPT", "transformers, GPT-2"
PRODUCTS = "torch.mm, as many FLOPs"
BF16, NANOGPT_BF16 = "llmcore, bf16", "nanoGPT, bf16"

GOALS = [Goal(OWN, PEER, 1.0), Goal(OWN, PRODUCTS, 0.85)]
NANOGPT_GOALS = [Goal(OWN, NANOGPT, 0.95)]
BF16_GOALS = [Goal(BF16, OWN, 2.0)]


def measure(rounds: int) -> Result:
    """Time a step of each, one thread."""
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    rows = torch.randint(0, SHAPE.vocab_size, (ROWS, SHAPE.context_length + 1), generator=random)
    batch = Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())  # nanoGPT wants its targets so
    steps, goals = ways(batch)
    with tqdm(total=(rounds + 1) * len(steps), unit="run", disable=None, leave=False) as bar:

        def tick(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        cases = [Case(name, lambda _, step=step: step()) for name, step in steps.items()]  # type: ignore[misc]
        seconds = take_turns(cases, rounds, tick=tick)
    left_out = [] if NANOGPT in steps else ["nanoGPT was not there (NANOGPT_DIR)."]
    left_out += [] if BF16 in steps else ["This CPU does not multiply bfloat16, so mixed precision was left out."]
    table = {
        "kind": "step",
        "title": "A step",
        "says": f"{ROWS} rows of {SHAPE.context_length} tokens, {SHAPE.n_parameters / 1e6:.1f} million parameters, float32, "
        f"{flops() / 1e9:.0f} GFLOP; torch's kernels for {torch.backends.cpu.get_cpu_capability()}. "
        f"The losses are the same to five digits. {' '.join(left_out)}".strip(),
        "tokens": ROWS * SHAPE.context_length,
        "rows": [{"name": name, "seconds": [round(s, 4) for s in taken]} for name, taken in seconds.items()],
    }
    result: Result = {
        "title": "Training",
        "command": "python -m benchmarks train" + (f" --rounds {rounds}" if rounds != 5 else ""),
        "rounds": rounds,
        **conditions(["torch", "transformers"]),
        "tables": [table],
    }
    result["goals"] = judged(result, {"step": goals})
    return result


def flops() -> int:
    """Of one step: three forward passes' worth, attention to the whole row, as in nanoGPT's estimate."""
    return 3 * SHAPE.flops_per_token(SHAPE.context_length) * ROWS * SHAPE.context_length


def ways(batch: Batch) -> tuple[dict[str, Callable[[], object]], list[Goal]]:
    """A step of each that can be had, and the goals that then can be judged. Raises AssertionError for another loss."""
    torch.manual_seed(0)
    own = MiniGPT(SHAPE)
    peer = theirs_of(own)
    losses: dict[str, Callable[[], Tensor]] = {OWN: lambda: own.loss(*batch[:2]), PEER: lambda: their_loss(peer, batch)}
    steps: dict[str, Callable[[], object]] = {
        OWN: trainer_of(own, batch).step,
        PEER: plain_step(peer, lambda: their_loss(peer, batch)),
        PRODUCTS: products(),
    }
    goals = [*GOALS]
    if os.environ.get("NANOGPT_DIR"):
        nano = nanogpt_of(own)
        losses[NANOGPT] = lambda: nano(*batch[:2])[1]
        steps[NANOGPT] = plain_step(nano, losses[NANOGPT])
        goals += NANOGPT_GOALS
    found = {name: float(loss().detach()) for name, loss in losses.items()}
    if any(not math.isclose(loss, found[OWN], rel_tol=1e-5) for loss in found.values()):
        raise AssertionError(f"not all give the same loss: {found}")
    if multiplies_bfloat16():
        steps[BF16] = trainer_of(MiniGPT(SHAPE), batch, "bf16").step
        goals += BF16_GOALS
        if NANOGPT in steps:
            nano16 = nanogpt_of(own)
            steps[NANOGPT_BF16] = plain_step(nano16, lambda: nano16(*batch[:2])[1], torch.bfloat16)
            goals.append(Goal(BF16, NANOGPT_BF16, 0.95))
    return steps, goals


class _Always:
    """The same batch at every step."""

    def __init__(self, batch: Batch) -> None:
        self.one = batch

    def batch(self, step: int) -> Batch:
        return self.one

    def describe(self) -> dict[str, Any]:
        return {}


def trainer_of(model: MiniGPT, batch: Batch, precision: Any = "fp32") -> Trainer:
    """Ours: what `run` does in a step."""
    return Trainer(model, _Always(batch), Settings(steps=1, schedule=Constant(RATE), precision=precision))


def plain_step(model: nn.Module, loss: Callable[[], Tensor], dtype: torch.dtype | None = None) -> Callable[[], object]:
    """The same by hand, as both peers' scripts do it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step() -> float:
        model.train()
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(value.detach())

    return step


def theirs_of(own: MiniGPT) -> Any:
    """transformers' GPT-2 with our weights, and biases of zero."""
    theirs: Any = transformers  # much of it is untyped
    theirs.utils.logging.set_verbosity_error()
    theirs.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        pretrained.save(own, folder)
        without = {f"{part}_pdrop": 0.0 for part in ("resid", "embd", "attn")}
        return theirs.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa", **without)


def their_loss(peer: Any, batch: Batch) -> Tensor:
    """Their loss shifts the labels itself, so the last target of a row would be lost: the logits are compared by hand."""
    logits = peer(input_ids=batch.ids, use_cache=False).logits
    loss: Tensor = nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
    return loss


def nanogpt_of(own: MiniGPT) -> Any:
    """nanoGPT's model with our weights. Ends the program where NANOGPT_DIR has no model.py."""
    path = Path(os.environ["NANOGPT_DIR"]) / "model.py"
    if not path.exists():
        sys.exit(f"error: NANOGPT_DIR is {path.parent}, and there is no model.py in it")
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    c = own.config
    nano = module.GPT(
        module.GPTConfig(
            block_size=c.context_length,
            vocab_size=c.vocab_size,
            n_layer=c.n_layers,
            n_head=c.n_heads,
            n_embd=c.d_model,
            dropout=0.0,
            bias=False,
        )
    )
    ours = own.state_dict()
    state = {
        "transformer.wte.weight": ours["embedding.weight"],
        "transformer.wpe.weight": ours["position_embedding.weight"],
        "transformer.ln_f.weight": ours["final_norm.weight"],
        "lm_head.weight": ours["embedding.weight"],
    }
    for k in range(c.n_layers):
        mine, its = f"blocks.{k}.", f"transformer.h.{k}."
        state |= {
            f"{its}ln_1.weight": ours[f"{mine}attention_norm.weight"],
            f"{its}ln_2.weight": ours[f"{mine}mlp_norm.weight"],
            f"{its}attn.c_attn.weight": torch.cat([ours[f"{mine}attention.{part}.weight"] for part in "qkv"]),
            f"{its}attn.c_proj.weight": ours[f"{mine}attention.out.weight"],
            f"{its}mlp.c_fc.weight": ours[f"{mine}mlp.up.weight"],
            f"{its}mlp.c_proj.weight": ours[f"{mine}mlp.down.weight"],
        }
    nano.load_state_dict(state)
    return nano


def products() -> Callable[[], object]:
    """Three square products with as many FLOPs as a step: what the CPU could do."""
    n = round((flops() / 6) ** (1 / 3))
    a, b = torch.ones(n, n), torch.ones(n, n)
    return lambda: [torch.mm(a, b) for _ in range(3)]
