"""One attention path, proven to be one: however a text reaches the model, each token gets the same logits.

Whole, in chunks, token by token, padded, shuffled, beside other texts, after a refused draft; on no cache, on a
contiguous one and on blocks; by torch's kernel and by the explicit maths. test_model compares the whole pass with
other people's models; here everything else is compared with the whole pass, and the layer with its definition.
"""

import cmath
import functools
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llmcore.cache.base import PADDING
from llmcore.cache.contiguous import KVCache
from llmcore.cache.paged import PagedCache
from llmcore.model.attention import Attention, attention_mask
from llmcore.model.config import Config
from llmcore.model.positions import alibi_slopes
from llmcore.model.transformer import MiniGPT

V, D, HEADS, LONGEST = 37, 30, 6, 17
POSITIONS = {
    "learned": {"position": "learned", "bias": True},
    "sinusoidal": {"position": "sinusoidal"},
    "rope, adjacent": {"position": "rope", "rope_layout": "adjacent", "head_dim": 4},
    "rope, half": {"position": "rope", "rope_layout": "half", "head_dim": 6, "qk_norm": True},
    "alibi": {"position": "alibi", "mlp": "swiglu", "norm": "rmsnorm"},
}
WINDOWS = [0, 4]
KV_HEADS = [6, 2, 1]  # MHA, GQA, MQA
KINDS = list(itertools.product(POSITIONS, WINDOWS, KV_HEADS))
CACHES = ["contiguous", "paged"]

some_kind = st.sampled_from(KINDS)
some_cache = st.sampled_from(CACHES)
thorough = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def config_of(kind: tuple[str, int, int], **changes) -> Config:
    position, window, n_kv_heads = kind
    base = {"window": window, "n_kv_heads": n_kv_heads, "d_ff": 20, "rope_theta": 50.0}
    return Config(V, 32, D, 2, HEADS, **{**base, **POSITIONS[position], **changes})


def shaken(module):
    """Weights that make everything matter: scores far from uniform, no bias of zero, no norm of one."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.35 + (1.0 if p.ndim == 1 else 0.0))
    return module.eval()


@functools.cache
def model_of(kind: tuple[str, int, int]) -> MiniGPT:
    return shaken(MiniGPT(config_of(kind)))


@functools.cache
def text(n: int, seed: int) -> torch.Tensor:
    return torch.randint(0, V, (n,), generator=torch.Generator().manual_seed(seed))


@functools.cache
@torch.no_grad()
def alone(kind: tuple[str, int, int], n: int, seed: int) -> torch.Tensor:
    """What each token of this text gets in one whole pass: what all else is compared with."""
    return model_of(kind)(text(n, seed)[None])[0]


def cache_of(which: str, model: MiniGPT, batch: int, capacity: int, block_size: int):
    if which == "contiguous":
        return model.new_cache(batch, capacity)
    pool = model.new_pool(batch * (capacity // block_size + 1), block_size)
    return PagedCache(pool, [pool.open() for _ in range(batch)])


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    largest = want.abs().max().item() if want.numel() else 0.0
    torch.testing.assert_close(got, want, atol=3e-5 * max(1.0, largest), rtol=0)


def chunks_of(data: st.DataObject, n: int) -> list[int]:
    """Sizes that add up to n; a chunk may be empty. Or all tokens one by one."""
    cuts = data.draw(st.lists(st.integers(0, n), max_size=5) | st.just(list(range(1, n))), label="cuts")
    return [b - a for a, b in itertools.pairwise([0, *sorted(cuts), n])]


@thorough
@given(some_kind, some_cache, st.integers(1, LONGEST), st.integers(1, 5), st.integers(1, 3), st.data())
@torch.no_grad()
def test_in_any_chunks_on_any_cache(kind, which, n, block_size, batch, data):
    model, rows = model_of(kind), torch.stack([text(n, seed) for seed in range(batch)])
    cache = cache_of(which, model, batch, n, block_size)
    got = torch.cat([model(chunk, cache) for chunk in rows.split(chunks_of(data, n), dim=1)], dim=1)
    close(got, torch.stack([alone(kind, n, seed) for seed in range(batch)]))
    assert cache.length == n


@thorough
@given(some_kind, st.permutations(range(9)))
@torch.no_grad()
def test_positions_that_are_given_count_and_not_the_order_of_the_tokens(kind, order):
    got = model_of(kind)(text(9, 1)[order][None], positions=torch.tensor(order)[None])
    close(got[0], alone(kind, 9, 1)[order])


@thorough
@given(some_kind, some_cache, st.data())
@torch.no_grad()
def test_texts_of_different_lengths_side_by_side(kind, which, data):
    """Padded in front, or anywhere: then all rows go on together, without positions of their own."""
    model = model_of(kind)
    heads = data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=4), label="tokens in the padded batch")
    more = data.draw(st.integers(1, 4), label="tokens of every row after it")
    width = max(heads) + data.draw(st.integers(0, 2), label="padding of the longest")
    left = data.draw(st.booleans(), label="padded on the left")
    ids, positions = torch.full((len(heads), width), 5), torch.full((len(heads), width), PADDING)
    places = []
    for row, n in enumerate(heads):
        any_places = st.lists(st.integers(0, max(0, width - 1)), min_size=n, max_size=n, unique=True)
        at = list(range(width - n, width)) if left else sorted(data.draw(any_places, label="places"))
        ids[row, at], positions[row, at] = text(n + more, row)[:n], torch.arange(n)
        places.append(at)
    cache = cache_of(which, model, len(heads), width + more, 3)
    if width:
        with_cache, without = model(ids, cache, positions), model(ids, positions=positions)
        assert with_cache.isfinite().all()
        for logits in (with_cache, without):
            for row, n in enumerate(heads):
                close(logits[row, places[row]], alone(kind, n + more, row)[:n])
    for step in range(more):
        logits = model(torch.stack([text(n + more, row)[n + step] for row, n in enumerate(heads)])[:, None], cache)
        for row, n in enumerate(heads):
            close(logits[row, 0], alone(kind, n + more, row)[n + step])


@thorough
@given(some_kind, some_cache, st.integers(1, LONGEST - 1), st.integers(1, 4), st.data())
@torch.no_grad()
def test_drafts_that_are_refused_leave_no_trace(kind, which, n, block_size, data):
    model, rows = model_of(kind), text(n, 2)[None].expand(2, n)
    cache, got, sure = cache_of(which, model, 2, n + 5, block_size), [], 0
    while sure < n:
        good = data.draw(st.integers(1, n - sure), label="right")
        wrong = data.draw(st.integers(0, 5), label="drafted wrongly")
        draft = torch.cat([rows[:, sure : sure + good], (text(5, 3)[:wrong] + 1).remainder(V).expand(2, wrong)], dim=1)
        got.append(model(draft, cache)[:, :good])
        sure += good
        cache.truncate(sure)
        assert cache.length == sure
    close(torch.cat(got, dim=1), alone(kind, n, 2).expand(2, n, V))


@thorough
@given(some_kind, some_cache, st.lists(st.integers(0, 2), min_size=3, max_size=3), st.integers(1, 9))
@torch.no_grad()
def test_rows_that_change_places(kind, which, rows, at):
    model, n = model_of(kind), 10
    texts = torch.stack([text(n, seed) for seed in range(3)])
    cache = cache_of(which, model, 3, n, 3)
    model(texts[:, :at], cache)
    cache.select(torch.tensor(rows))
    close(model(texts[rows, at:], cache), torch.stack([alone(kind, n, seed)[at:] for seed in rows]))


# the layer, and its two ways to compute


def definition(layer: Attention, x: torch.Tensor, positions: list[int]) -> torch.Tensor:
    """Attention token by token in float64: of each head, values by softmax of q·k / √d over the keys in sight."""
    c, x = layer.config, x.double()

    def heads(linear, n, norm=None):
        y = x @ linear.weight.double().T + (0 if linear.bias is None else linear.bias.double())
        y = y.unflatten(-1, (n, c.head_dim))  # (T, H, Dh)
        if norm is not None:
            y = y / (y.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight.double()
        return y

    q = heads(layer.q, c.n_heads, layer.q_norm if c.qk_norm else None)
    k = heads(layer.k, c.n_kv_heads, layer.k_norm if c.qk_norm else None)
    v = heads(layer.v, c.n_kv_heads)
    if c.position == "rope":
        half = c.head_dim // 2
        pairs = [(2 * i, 2 * i + 1) if c.rope_layout == "adjacent" else (i, i + half) for i in range(half)]
        for turned in (q, k):
            for t, p in enumerate(positions):
                for i, (a, b) in enumerate(pairs):
                    turn = cmath.exp(1j * p * c.rope_theta ** (-2 * i / c.head_dim))
                    for h in range(turned.shape[1]):
                        z = complex(turned[t, h, a], turned[t, h, b]) * turn
                        turned[t, h, a], turned[t, h, b] = z.real, z.imag
    out = torch.zeros(len(positions), c.n_heads, c.head_dim, dtype=torch.float64)
    for t, p in enumerate(positions):
        seen = [s for s, at in enumerate(positions) if 0 <= at <= p and (not c.window or at > p - c.window)]
        for h in range(c.n_heads):
            kv = h * c.n_kv_heads // c.n_heads
            slope = alibi_slopes(c.n_heads)[h].item() if c.position == "alibi" else 0.0
            scores = [float(q[t, h] @ k[s, kv]) / math.sqrt(c.head_dim) - slope * (p - positions[s]) for s in seen]
            if seen:
                weights = torch.tensor(scores, dtype=torch.float64).softmax(0)
                out[t, h] = sum(w * v[s, kv] for w, s in zip(weights, seen, strict=True))
    return out.flatten(1) @ layer.out.weight.double().T + (0 if layer.out.bias is None else layer.out.bias.double())


@pytest.mark.parametrize("kind", KINDS, ids=str)
@torch.no_grad()
def test_the_layer_is_its_definition(kind):
    layer = shaken(Attention(config_of(kind)))
    x = torch.randn(1, 8, D, generator=torch.Generator().manual_seed(3))
    positions = [3, PADDING, 0, 1, 9, PADDING, 2, 6]  # out of order, with gaps, with nothing in between
    c, at = layer.config, torch.tensor([positions])
    rope = None
    if c.position == "rope":
        angle = at[..., None] * c.rope_theta ** (-torch.arange(0, c.head_dim, 2) / c.head_dim)
        rope = (angle.cos(), angle.sin())
    there = [i for i, p in enumerate(positions) if p != PADDING]
    want = definition(layer, x[0], positions)[there]
    kernel, _ = layer(x, at, rope)
    explained, weights = layer(x, at, rope, explain=True)
    close(kernel[0, there].double(), want)
    close(explained, kernel)
    close(weights.sum(-1), torch.ones(1, HEADS, 8))
    for t in there:
        seen = [0 <= s <= positions[t] and (not c.window or s > positions[t] - c.window) for s in positions]
        assert (weights[0, :, t] > 0).tolist() == [seen] * HEADS


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("time", [1, 4, 11])
@torch.no_grad()
def test_the_kernel_and_the_explicit_maths_agree(kind, time):
    model, x = model_of(kind), text(time, 4)[None]
    explained, maps = model._run(x, None, None, explain=True)
    close(model.head(explained), model(x))
    assert len(maps) == 2


def test_a_matrix_is_made_only_where_one_is_needed():
    def plain(kind, t, s):
        positions = torch.arange(s)[None]
        return attention_mask(config_of(kind), positions[:, s - t :], positions, plain=True)

    for position in ("learned", "sinusoidal", "rope, half", "rope, adjacent"):
        assert plain((position, 0, 2), 1, 9) == (None, False)  # one new token
        assert plain((position, 0, 2), 1, 1) == (None, False)
        assert plain((position, 0, 2), 9, 9) == (None, True)  # a whole text
        assert plain((position, 4, 2), 4, 4) == (None, True)  # no longer than the window
        assert plain((position, 4, 2), 1, 4) == (None, False)
        for window, t, s in [(0, 2, 9), (4, 5, 5), (4, 1, 5)]:
            mask = plain((position, window, 2), t, s)
            assert not mask.causal
            assert mask.bias.shape == (1, 1, t, s)
    assert plain(("alibi", 0, 2), 1, 9).bias.shape == (1, HEADS, 1, 9)
    at = torch.arange(9)[None]
    assert attention_mask(config_of(("learned", 0, 2)), at[:, 8:], at).bias is not None  # nothing was promised


@pytest.mark.parametrize("which", CACHES)
@torch.inference_mode()
def test_a_single_new_token_is_read_without_a_mask(which, monkeypatch):
    model, masks = model_of(("rope, half", 0, 2)), []
    kernel = F.scaled_dot_product_attention

    def watch(q, k, v, bias, *rest, **more):
        masks.append((bias is None, rest[-1]))
        return kernel(q, k, v, bias, *rest, **more)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watch)
    cache = cache_of(which, model, 2, 9, 4)
    for chunk in text(7, 0).expand(2, 7).split([5, 1, 1], dim=1):
        model(chunk, cache)
    assert masks == [(True, True)] * 2 + [(True, False)] * 4  # two layers each


# what it costs


@pytest.mark.parametrize("which", CACHES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[1] == 0], ids=str)
@torch.no_grad()
def test_flops_are_the_formula(kind, which):
    """By torch's count of the plain maths: the fused kernel keeps its products to itself."""
    model, config, rows = model_of(kind), model_of(kind).config, text(13, 6).expand(2, 13)
    cache = cache_of(which, model, 2, 13, 5)
    read = 0
    for chunk in rows.split([8, 1, 3, 1], dim=1):
        t = chunk.shape[1]
        read += t
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(chunk, cache)
        assert counter.get_total_flops() == 2 * t * config.flops_per_token(read)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_bytes_are_the_formula(kind):
    model = model_of(kind)
    cache, pool = model.new_cache(3, 7), model.new_pool(4, 5)
    assert cache.bytes == cache.memory.untyped_storage().nbytes() == 21 * model.config.kv_bytes_per_token(4)
    assert pool.bytes == pool.memory.untyped_storage().nbytes() == 20 * model.config.kv_bytes_per_token(4)


# nothing but padding, training, and the contiguous cache's edges


@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_row_of_nothing_but_padding_is_finite_everywhere_and_has_finite_gradients(kind, explain):
    model = shaken(MiniGPT(config_of(kind)))
    ids, positions = text(5, 1).repeat(3, 1), torch.arange(5).repeat(3, 1)
    positions[1] = PADDING
    positions[2, :2] = PADDING
    positions[2, 2:] -= 2
    seen = []
    for module in model.modules():
        module.register_forward_hook(lambda _m, _i, out: seen.append(out[0] if isinstance(out, tuple) else out))
    hidden, _ = model._run(ids, None, positions, explain=explain)
    targets = torch.where(positions == PADDING, -100, text(5, 2))
    loss = F.cross_entropy(model.head(hidden).flatten(0, 1), targets.flatten(), ignore_index=-100)
    loss.backward()
    assert len(seen) > 10
    assert all(out.isfinite().all() for out in seen)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert all(g.isfinite().all() for g in gradients.values())
    model.zero_grad()  # and they are those of the rows that are there
    logits = torch.cat([model(ids[:1])[0], model(ids[2:, 2:])[0]])
    F.cross_entropy(logits, torch.cat([targets[0], targets[2, 2:]])).backward()
    for name, p in model.named_parameters():
        close(gradients[name], p.grad)


def test_dropout_acts_in_training_and_nowhere_else():
    kind = ("learned", 0, 2)
    with_dropout, without = (shaken(MiniGPT(config_of(kind, dropout=p))) for p in (0.4, 0.0))
    x = text(9, 3)[None]
    for which in [None, *CACHES]:
        caches = [which and cache_of(which, model, 1, 9, 4) for model in (with_dropout, without)]
        with torch.no_grad():
            assert with_dropout(x, caches[0]).equal(without(x, caches[1]))
    torch.manual_seed(5)
    with_dropout.train()
    without.train()
    assert without(x).equal(without.eval()(x))
    dropped = []
    for module in with_dropout.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(
                lambda _m, given, out: dropped.append((out[given[0] != 0] == 0).float().mean())
            )
    with_dropout(x)
    assert len(dropped) == 1 + 2 * 2  # behind the embedding, and behind attention and MLP of each block
    assert all(0.2 < share < 0.6 for share in dropped)
    # and on the attention weights: values that are all one come out as the sum of a row's weights, which is one
    layer = with_dropout.blocks[0].attention
    with torch.no_grad():
        layer.v.weight.zero_()
        layer.v.bias.fill_(1.0)
        layer.out.weight.copy_(torch.eye(D))
        layer.out.bias.zero_()
    many = torch.randn(200, 9, D, generator=torch.Generator().manual_seed(1))
    positions = torch.arange(9).expand(200, 9)
    sums = layer(many, positions, None)[0]
    assert sums.std() > 0.1
    assert sums.mean().item() == pytest.approx(1.0, abs=0.05)  # what is left is scaled up for it
    close(layer.eval()(many, positions, None)[0], torch.ones(200, 9, D))


def small_cache(batch: int = 2) -> KVCache:
    return KVCache(n_layers=2, batch=batch, n_kv_heads=1, head_dim=2, capacity=6)


def put(cache: KVCache, values: list[list[float]], positions: list[list[int]] | None = None) -> None:
    """Keys and values that are these numbers, in both layers."""
    new = torch.tensor(values)[:, None, :, None].expand(-1, 1, -1, 2)
    ids = torch.zeros(len(values), len(values[0]), dtype=torch.long)
    step = cache.begin(ids, None if positions is None else torch.tensor(positions))
    for layer in step.layers:
        layer.append(new, new + 100)
    cache.commit()


def held(cache: KVCache) -> list[list[float]]:
    """What the last layer gives back, beside nothing new."""
    step = cache.begin(torch.zeros(len(cache.positions), 0, dtype=torch.long))
    k, v = step.layers[-1].append(*torch.zeros(2, len(cache.positions), 1, 0, 2))
    assert v.equal(k + 100)
    return k[:, 0, :, 1].tolist()


def test_rows_go_on_one_past_their_last_position():
    cache = small_cache(3)
    assert cache.next_positions().tolist() == [[0], [0], [0]]
    put(cache, [[1, 2, 3]] * 3, [[PADDING, 0, 1], [PADDING] * 3, [4, 2, PADDING]])
    assert cache.next_positions().tolist() == [[2], [0], [5]]
    step = cache.begin(torch.zeros(3, 2, dtype=torch.long))
    assert step.positions.tolist() == [[2, 3], [0, 1], [5, 6]]
    assert step.keys.tolist() == [[PADDING, 0, 1, 2, 3], [PADDING, PADDING, PADDING, 0, 1], [4, 2, PADDING, 5, 6]]
    assert not step.plain


def test_select_takes_rows_with_their_positions_even_when_they_cross():
    cache = small_cache(3)
    put(cache, [[1, 2], [3, 4], [5, 6]], [[0, 1], [PADDING, 0], [PADDING, PADDING]])
    cache.select(torch.tensor([1, 2, 1]))
    assert held(cache) == [[3, 4], [5, 6], [3, 4]]
    assert cache.next_positions().tolist() == [[1], [0], [1]]
    with pytest.raises(ValueError, match="the cache has 3 rows, and 1 were selected"):
        cache.select(torch.tensor([2]))
    assert held(cache) == [[3, 4], [5, 6], [3, 4]]


def test_truncate_forgets_tokens_and_their_positions():
    cache = small_cache()
    put(cache, [[1, 2, 3], [4, 5, 6]], [[PADDING, 0, 1], [0, 1, 2]])
    cache.truncate(3)
    cache.truncate(2)
    assert (cache.length, held(cache)) == (2, [[1, 2], [4, 5]])
    assert cache.next_positions().tolist() == [[1], [2]]
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=f"cannot keep {wrong} tokens of 2"):
            cache.truncate(wrong)
    assert not cache.begin(torch.zeros(2, 1, dtype=torch.long)).plain
    cache.truncate(0)
    assert cache.begin(torch.zeros(2, 1, dtype=torch.long)).plain  # nothing is left that was padded


def test_what_a_contiguous_cache_cannot_take_changes_nothing():
    cache = small_cache()
    put(cache, [[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]])
    with pytest.raises(ValueError, match="the cache holds 6 tokens, and 7 are needed"):
        cache.begin(torch.zeros(2, 2, dtype=torch.long), torch.full((2, 2), PADDING))
    with pytest.raises(ValueError, match="the cache has 2 rows, and tokens for 1 came"):
        cache.begin(torch.zeros(1, 1, dtype=torch.long))
    assert (cache.length, cache.plain) == (5, True)
    put(cache, [[10], [11]])
    assert held(cache) == [[1, 2, 3, 4, 5, 10], [6, 7, 8, 9, 0, 11]]
