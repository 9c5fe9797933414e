"""Decoding beside transformers and llama.cpp: 128 tokens after a prompt of 128, greedy, for one conversation and for eight.

One model of Llama's shape with 31.6 million random parameters (vocabulary 8,192, 8 layers of width 512, 8 heads on 4 key
heads, MLP 1,376, untied), the same weights for all. In every round all that count in float32 must give the same ids; of
llama.cpp, which adds in another order, only those of one row. A call is timed in whole: reading the prompt, and each token
after it.

A step reads every weight but the embedding's once, so it cannot take less time than reading that much memory: the page
says how near each comes to it. And it says how long a small real model takes from its file to its first logits.
"""

import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import transformers
from jaxtyping import Int
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from benchmarks import llamacpp
from benchmarks.report import Result, conditions, judged
from benchmarks.timing import Case, Goal, take_turns
from llmcore import assets
from llmcore.model import pretrained
from llmcore.model.config import Config
from llmcore.model.packed import multiplies_bfloat16, pack
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.settings import GREEDY
from llmcore.sampling.strategies import generate

PROMPT, NEW = 128, 128
SHAPE = Config(
    vocab_size=8192,
    context_length=512,
    d_model=512,
    n_layers=8,
    n_heads=8,
    n_kv_heads=4,
    d_ff=1376,
    position="rope",
    norm="rmsnorm",
    mlp="swiglu",
    tie_embeddings=False,
)
BIG = 256 * 2**20  # bytes: many times what a cache of the CPU holds

PEER, PLAIN, PACKED = "transformers, dynamic cache", "llmcore", "llmcore, packed"
PACKED_BF16, NO_CACHE = "llmcore, packed, bfloat16", "llmcore, no cache"
LLAMA_CPP = "llama.cpp"
READ, LOAD = "sum of a tensor", "llmcore, load and first logits"

GOALS = {
    "one": [Goal(PLAIN, NO_CACHE, 8), Goal(PLAIN, PEER, 1.05), Goal(PACKED, PEER, 1.3)],
    "eight": [Goal(PLAIN, PEER, 1.05), Goal(PACKED, PEER, 1.7)],
    "read": [],
    "load": [],
    "profile": [],
}
LLAMA_CPP_GOALS = {"one": [Goal(PACKED, LLAMA_CPP, 0.5)], "eight": [Goal(PACKED, LLAMA_CPP, 0.9)]}


def measure(rounds: int) -> Result:
    """Time everything, one thread. Raises AssetMissing if the model that is loaded has not been fetched."""
    assets.path("smollm2")  # say that it is missing before minutes are spent
    torch.set_num_threads(1)
    peer, plain = same_weights()
    packed, bf16 = pack(deepcopy(plain)), None
    if multiplies_bfloat16():
        bf16 = pack(deepcopy(plain).bfloat16())
    result: Result = {
        "title": "Decoding",
        "command": "python -m benchmarks decode" + (f" --rounds {rounds}" if rounds != 5 else ""),
        "rounds": rounds,
        **conditions(["torch", "transformers", *(["llama-cpp-python"] if llamacpp.there() else [])]),
        "tables": [],
    }
    has_llama_cpp = llamacpp.there()
    runs = (rounds + 1) * (9 + 2 * (bf16 is not None) + 2 * has_llama_cpp)
    with tqdm(total=runs, unit="run", disable=None, leave=False) as bar, tempfile.TemporaryDirectory() as folder:

        def tick(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        file = Path(folder) / "model.gguf"
        if has_llama_cpp:
            llamacpp.write(plain, file)
        reading = _read(rounds, tick)
        speed = max(reading["gigabytes"] / seconds for seconds in reading["rows"][0]["seconds"]) * 1e9
        for kind, batch in (("one", 1), ("eight", 8)):
            ways: dict[str, Callable[[Tensor], list[list[int]]]] = {
                PEER: lambda ids: their_ids(peer, ids),
                PLAIN: lambda ids: our_ids(plain, ids),
                PACKED: lambda ids: our_ids(packed, ids),
            }
            if bf16 is not None:
                ways[PACKED_BF16] = lambda ids: our_ids(bf16, ids)
            if has_llama_cpp:
                cpp = llamacpp.LlamaCpp(file, rows=batch, tokens=PROMPT + NEW)
                ways[LLAMA_CPP] = lambda ids, cpp=cpp: cpp.ids(ids, NEW)  # type: ignore[misc]
            if batch == 1:
                ways[NO_CACHE] = lambda ids: ids_without_cache(plain, ids)
            result["tables"].append(_decoding(kind, batch, ways, rounds, speed, tick))
        result["tables"] += [reading, _loading(rounds, tick)]
    for name, model, batch in ((PLAIN, plain, 1), (PACKED, packed, 1), (PLAIN, plain, 8), (PACKED, packed, 8)):
        result["tables"].append(_profiled(name, model, batch, rounds))
    goals = {kind: [*some, *(LLAMA_CPP_GOALS.get(kind, []) if has_llama_cpp else [])] for kind, some in GOALS.items()}
    result["goals"] = judged(result, goals)
    return result


def same_weights() -> tuple[Any, MiniGPT]:
    """The model in transformers, and ours: one set of random weights."""
    torch.manual_seed(0)
    own = MiniGPT(SHAPE).eval()
    theirs: Any = transformers  # much of it is untyped
    theirs.utils.logging.set_verbosity_error()
    theirs.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        pretrained.save(own, folder)
        peer = theirs.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa", pad_token_id=0)
    return peer.eval(), own


def our_ids(model: MiniGPT, ids: Int[Tensor, "b t"]) -> list[list[int]]:
    """New ids of each row, by generate."""
    steps = [[token.id for token in step if token] for step in generate(model, ids.tolist(), GREEDY, NEW)]
    return [list(row) for row in zip(*steps, strict=True)]


@torch.inference_mode()
def ids_without_cache(model: MiniGPT, ids: Int[Tensor, "b t"]) -> list[list[int]]:
    """The same by reading everything again for each token."""
    for _ in range(NEW):
        ids = torch.cat([ids, model(ids, last_only=True).argmax(-1)], dim=1)
    return ids[:, PROMPT:].tolist()


@torch.inference_mode()
def their_ids(peer: Any, ids: Int[Tensor, "b t"]) -> list[list[int]]:
    """The same by transformers' generate."""
    kept = peer.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False
    )
    return kept[:, PROMPT:].tolist()


def _decoding(
    kind: str,
    batch: int,
    ways: dict[str, Callable[[Tensor], list[list[int]]]],
    rounds: int,
    speed: float,
    tick: Callable[[str], object],
) -> dict[str, Any]:
    ids = torch.randint(1, SHAPE.vocab_size, (batch, PROMPT), generator=torch.Generator().manual_seed(batch))
    expected: list[list[int]] = []

    def run(way: Callable[[Tensor], list[list[int]]], check: bool) -> None:
        got = way(ids)
        if check and got != (expected or got):
            raise AssertionError(f"not all give the same ids, at {batch} rows")
        if check:
            expected[:] = got

    unlike = {PACKED_BF16} | ({LLAMA_CPP} if batch > 1 else set())  # rounded otherwise: a near tie may fall otherwise
    cases = [Case(name, lambda _, name=name: run(ways[name], name not in unlike)) for name in ways]  # type: ignore[misc]
    seconds = take_turns(cases, rounds, tick=tick)
    read = NEW * 4 * (SHAPE.n_parameters - SHAPE.vocab_size * SHAPE.d_model)
    rows = []
    for name, taken in seconds.items():
        row: dict[str, Any] = {"name": name, "seconds": [round(s, 4) for s in taken]}
        if name != NO_CACHE:
            row["bytes"] = read // 2 if name == PACKED_BF16 else read
        rows.append(row)
    missing = "" if multiplies_bfloat16() else " This CPU does not multiply bfloat16, so that was left out."
    if not llamacpp.there():
        missing += " llama.cpp was not installed."
    same = "All ids are the same." if batch == 1 else "All ids are the same (llama.cpp's are not compared)."
    return {
        "kind": kind,
        "title": f"Decode, {batch} {'row' if batch == 1 else 'rows'}",
        "says": f"{PROMPT} tokens of prompt and {NEW} new ones a row, greedy, {SHAPE.n_parameters / 1e6:.1f} million parameters "
        f"in float32; torch's kernels for {torch.backends.cpu.get_cpu_capability()}. {same}{missing} "
        f"The last column: bytes of weights read in {NEW} steps, as a share of what the sum below reads in that time "
        "in its best round.",
        "tokens": NEW * batch,
        "bytes_per_second": round(speed),
        "rows": rows,
    }


def _read(rounds: int, tick: Callable[[str], object]) -> dict[str, Any]:
    numbers = torch.ones(BIG // 4)
    seconds = take_turns([Case(READ, lambda _: numbers.sum())], rounds, tick=tick)
    return {
        "kind": "read",
        "title": "Read memory",
        "says": f"{BIG >> 20} MiB of float32, one thread.",
        "gigabytes": BIG / 1e9,
        "rows": [{"name": READ, "seconds": [round(s, 4) for s in seconds[READ]]}],
    }


@torch.inference_mode()
def _profiled(name: str, model: MiniGPT, batch: int, rounds: int) -> dict[str, Any]:
    """What a step's time goes into, by torch's profiler: it makes each small operation some microseconds slower."""
    new = torch.zeros(batch, 1, dtype=torch.long)
    steps = 20
    seconds: dict[str, list[float]] = {"matrix products": [], "attention": [], "all else": []}
    for _ in range(rounds):
        cache = model.new_cache(batch, PROMPT + steps)
        model(new.expand(-1, PROMPT), cache, last_only=True)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(steps):
                model(new, cache)
        spent = dict.fromkeys(seconds, 0.0)
        for event in profiler.key_averages():
            is_product = event.key in ("aten::mm", "aten::addmm", "mkldnn::_linear_pointwise")
            part = "matrix products" if is_product else "attention" if "attention" in event.key else "all else"
            spent[part] += event.self_cpu_time_total / 1e6 / steps
        for part, taken in spent.items():
            seconds[part].append(round(taken, 6))
    return {
        "kind": "profile",
        "title": f"Where the time of a step goes: {name}, {batch} {'row' if batch == 1 else 'rows'}",
        "says": f"Seconds a step, {PROMPT} tokens and more in the cache, by torch's profiler, which makes small operations slower.",
        "rows": [{"name": part, "seconds": taken} for part, taken in seconds.items()],
    }


def _loading(rounds: int, tick: Callable[[str], object]) -> dict[str, Any]:
    def load(_: None) -> None:
        model = pretrained.load("smollm2")
        with torch.inference_mode():
            model(torch.tensor([[1]]))

    seconds = take_turns([Case(LOAD, load)], rounds, tick=tick)
    return {
        "kind": "load",
        "title": "Load SmolLM2-135M",
        "says": "From what an earlier load kept, converted, to the logits of one token; the file was in the system's cache.",
        "rows": [{"name": LOAD, "seconds": [round(s, 4) for s in seconds[LOAD]]}],
    }
