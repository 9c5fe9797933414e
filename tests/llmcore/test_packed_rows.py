"""Several documents in a row: each gives what it gives alone; and blocks that are computed again give what they gave."""

import pytest
import torch
import torch.nn.functional as F

from llmcore.cache.base import PADDING
from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT

V, D = 41, 24
BASE = {"d_ff": 20, "norm": "rmsnorm", "mlp": "swiglu", "n_kv_heads": 2}
CONFIGS = {
    "rope": Config(V, 32, D, 2, 4, position="rope", **BASE),
    "rope, window": Config(V, 32, D, 2, 4, position="rope", window=3, **BASE),
    "alibi": Config(V, 32, D, 2, 4, position="alibi", **BASE),
    "alibi, window": Config(V, 32, D, 2, 4, position="alibi", window=4, **BASE),
    "learned": Config(V, 9, D, 2, 4, bias=True),  # shorter than the rows, longer than the documents
    "sinusoidal": Config(V, 32, D, 2, 4, position="sinusoidal", pre_norm=False),
}


def shaken(model):
    """Weights that make everything matter."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3 + (1.0 if p.ndim == 1 else 0.0))
    return model.eval()


def ids(n: int, seed: int) -> torch.Tensor:
    return torch.randint(0, V, (n,), generator=torch.Generator().manual_seed(seed))


def packed(rows: list[list[int]], length: int):
    """Rows of documents of these sizes, filled up with padding; and the documents."""
    texts = [[ids(n, 100 * r + k) for k, n in enumerate(sizes)] for r, sizes in enumerate(rows)]
    out = []
    for row in texts:
        gap = length - sum(map(len, row))
        positions = [torch.arange(len(text)) for text in row] + [torch.full((gap,), PADDING)]
        numbers = [torch.full((len(text),), 7 * k) for k, text in enumerate(row)] + [torch.full((gap,), PADDING)]
        out.append([torch.cat([*row, torch.full((gap,), 5)]), torch.cat(positions), torch.cat(numbers)])
    x, positions, documents = (torch.stack(each) for each in zip(*out, strict=True))
    return texts, x, positions, documents


def close(got, want):
    torch.testing.assert_close(got, want, atol=3e-5 * want.abs().max().item(), rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_each_document_gives_what_it_gives_alone_and_the_same_gradients(name):
    model = shaken(MiniGPT(CONFIGS[name]))
    texts, x, positions, documents = packed([[5, 1, 8, 3], [9, 6], [1, 1, 9, 2, 4]], 17)
    out = model(x, positions=positions, documents=documents)
    assert out.isfinite().all()
    loss = alone_loss = torch.zeros(())
    for r, row in enumerate(texts):
        start = 0
        for text in row:
            alone, here = model(text[None])[0], out[r, start : start + len(text)]
            close(here, alone)
            target = text.roll(-1)
            loss = loss + F.cross_entropy(here, target, reduction="sum")
            alone_loss = alone_loss + F.cross_entropy(alone, target, reduction="sum")
            start += len(text)
    for got, want in zip(
        torch.autograd.grad(loss, list(model.parameters())),
        torch.autograd.grad(alone_loss, list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(got, want, atol=1e-4 * max(want.abs().max().item(), 1), rtol=1e-3)


@torch.no_grad()
def test_without_documents_the_same_row_looks_across():
    model = shaken(MiniGPT(CONFIGS["rope"]))
    _, x, positions, documents = packed([[5, 9]], 14)
    got, across = model(x, positions=positions, documents=documents), model(x, positions=positions)
    assert (got - across).abs().amax(-1).min() > 1e-2  # even the first sees the other document's first


@pytest.mark.parametrize("name", ["rope", "alibi, window"])
@torch.no_grad()
def test_documents_alone_separate_also_where_positions_count_on(name):
    model = shaken(MiniGPT(CONFIGS[name]))
    x = torch.cat([ids(6, 1), ids(8, 2)])[None]
    documents = torch.tensor([[4] * 6 + [2] * 8])
    got = model(x, documents=documents)
    changed = x.clone()
    changed[0, :6] = (x[0, :6] + 1) % V
    torch.testing.assert_close(model(changed, documents=documents)[:, 6:], got[:, 6:], rtol=0, atol=0)
    close(got[:, 6:], model(x[:, 6:]))  # RoPE and ALiBi know distances alone


@torch.no_grad()
def test_one_document_a_row_is_the_plain_row_and_numbers_mean_nothing_across_rows():
    model, x = shaken(MiniGPT(CONFIGS["rope"])), torch.stack([ids(11, 1), ids(11, 2)])
    close(model(x, documents=torch.tensor([[3], [3]]).expand(2, 11)), model(x))


def test_a_cache_refuses_documents_and_stays_empty():
    model, x = shaken(MiniGPT(CONFIGS["rope"])), ids(4, 0)[None]
    cache = model.new_cache(1, 8)
    with pytest.raises(ValueError, match="a cache does not remember documents"):
        model(x, cache, documents=torch.zeros_like(x))
    assert cache.length == 0


@torch.no_grad()
def test_hidden_and_last_only_heed_documents():
    model = shaken(MiniGPT(CONFIGS["rope"]))
    texts, x, positions, documents = packed([[5, 9]], 14)
    hidden = model.hidden(x, positions=positions, documents=documents)
    close(model.head(hidden[:, 5:]), model(texts[0][1][None]))
    close(model(x, positions=positions, last_only=True, documents=documents)[0, 0], model(texts[0][1][None])[0, -1])


# computing blocks again


def calls_of(model) -> list[int]:
    calls = [0] * len(model.blocks)
    for i, block in enumerate(model.blocks):
        block.register_forward_pre_hook(lambda module, args, i=i: calls.__setitem__(i, calls[i] + 1))
    return calls


@pytest.mark.parametrize("name", CONFIGS)
def test_recomputed_blocks_give_the_same_gradients_with_dropout_and_documents(name):
    model = shaken(MiniGPT(CONFIGS[name])).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    _, x, positions, documents = packed([[5, 1, 8], [9, 6]], 16)
    found = []
    for model.recompute in (False, True):
        torch.manual_seed(9)
        loss = model(x, positions=positions, documents=documents).logsumexp(-1).sum()
        found.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
        found[-1].append(torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("recompute", "training", "grad", "forward", "backward"),
    [(True, True, True, 1, 2), (False, True, True, 1, 1), (True, False, True, 1, 1), (True, True, False, 1, None)],
)
def test_blocks_run_twice_only_where_that_saves_something(recompute, training, grad, forward, backward):
    model = shaken(MiniGPT(CONFIGS["rope"])).train(training)
    model.recompute = recompute
    calls = calls_of(model)
    with torch.set_grad_enabled(grad):
        out = model(ids(7, 1)[None])
    assert calls == [forward] * 2
    if backward is not None:
        out.sum().backward()
        assert calls == [backward] * 2


@torch.no_grad()
def test_with_a_cache_nothing_is_recomputed_and_attention_can_be_shown_all_the_same():
    model, x = shaken(MiniGPT(CONFIGS["rope"])), ids(7, 1)[None]
    want, maps = model(x), model.attention_weights(x)
    model.train()
    model.recompute = True
    cache = model.new_cache(1, 9)
    close(torch.cat([model(x[:, :4], cache), model(x[:, 4:], cache)], 1), want)
    close(model.attention_weights(x), maps)
