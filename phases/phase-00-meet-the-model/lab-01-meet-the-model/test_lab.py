"""What lab 0.1 must do.  The same file judges lab.py, solution.py and every submission.

It needs no download: the model is a tiny MiniGPT with random weights, the tokenizer a BPE of a few made-up words.  Both
are made beside the lab by a probe, which hands out a handle, and once more here, in float64.  The oracles: NumPy on what
the model says to each beginning of the text by itself; loops for an attention map; the vocabulary for the pieces.  How
many tokens the model was fed is counted by the model; seconds are never looked at.
"""

import math

import numpy as np
import torch

from labkit.spec import check, task
from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.tokenizers.bpe import BPE

# ---- what is made on both sides


def tiny(lab, seed, vocab, layers, heads, sharp=1.0):
    """A model that counts the tokens it is fed; random, but with something to say."""
    config = Config(vocab, context_length=200, d_model=4 * heads, n_layers=layers, n_heads=heads, n_kv_heads=2,
                    tie_embeddings=False)  # fmt: skip
    model = MiniGPT(config).requires_grad_(False).eval()
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.dim() > 1:
            p.normal_(std=1.0 if "embedding" in name else 1.4 / p.shape[1] ** 0.5, generator=g)
    model.head.weight *= 2 * sharp
    model.fed = 0

    def count(module, inputs):
        model.fed += inputs[0].numel()

    model.embedding.register_forward_pre_hook(count)
    return model


def tiny_bpe(lab, words, shift):
    """A vocabulary of all bytes, and of these words from the left on; no id is the number of its byte."""
    vocab = {(byte + shift) % 256: bytes([byte]) for byte in range(256)}
    merges = []
    for word in words:
        data = word.encode()
        for end in range(2, len(data) + 1):
            if data[:end] not in vocab.values():
                vocab[len(vocab)] = data[:end]
                merges.append((data[: end - 1], data[end - 1 : end]))
    return BPE(vocab, merges, "gpt2")


# ---- draws


def number(rng, low, high):
    return int(torch.randint(low, high + 1, (), generator=rng))


def draw(lab, rng, sharp=1.0):
    """A handle to a model, the same model here in float64, and some ids; all sizes differ."""
    vocab, layers, heads, T = number(rng, 23, 40), number(rng, 2, 3), 2 * number(rng, 2, 3), number(rng, 7, 11)
    seed = number(rng, 0, 2**31)
    given = lab.probe(tiny, seed, vocab, layers, heads, sharp)
    ids = torch.randint(vocab, (T,), generator=rng).tolist()
    ids[-2] = ids[1]  # a token that comes twice
    return given, tiny(None, seed, vocab, layers, heads, sharp).double(), ids


def draw_clear(lab, rng, n, T=None, twice=False):
    """As draw, but the best token always leads clearly, and the answer is no stutter: ids, model and the n right ones.

    With `twice`, some token of the answer follows itself, as it may.
    """
    while True:
        given, model, ids = draw(lab, rng)
        ids = ids[:T]
        text, lead = list(ids), math.inf
        for _ in range(n):
            best = np.sort(logits(model, text))
            lead = min(lead, best[-1] - best[-2])
            text.append(int(logits(model, text).argmax()))
        answer = text[len(ids) :]
        repeats = any(a == b for a, b in zip(answer, answer[1:], strict=False))
        if lead > 0.01 and len(set(answer)) > min(n, 4) - 1 and (repeats or not twice):
            return given, ids, answer


def draw_words(rng):
    """Made-up words, each with a space in front; and two spaces, which are a token, too."""
    return [*(" " + "".join(chr(97 + number(rng, 0, 25)) for _ in range(number(rng, 3, 6))) for _ in range(4)), "  "]


# ---- oracles


def logits(model, ids):
    """What the model says after exactly these tokens: nothing to shift, nothing to mask."""
    return model(torch.tensor([ids]))[0, -1].numpy()


def probabilities(model, ids):
    z = logits(model, ids)
    e = np.exp(z - z.max())
    return e / e.sum()


def bits(model, ids, i):
    z = logits(model, ids)
    return float((np.log(np.exp(z - z.max()).sum()) + z.max() - z[i]) / np.log(2))


def attention_map(model, ids, layer, head):
    """One head's weights from its own matrices, a query at a time, over the keys up to itself."""
    block, seen = model.blocks[layer], []
    hook = block.attention_norm.register_forward_hook(lambda module, inputs, out: seen.append(out[0]))
    model(torch.tensor([ids]))
    hook.remove()
    d, group = model.config.head_dim, model.config.n_heads // model.config.n_kv_heads
    q = block.attention.q(seen[0])[:, head * d : (head + 1) * d].numpy()
    k = block.attention.k(seen[0])[:, head // group * d : (head // group + 1) * d].numpy()
    rows = np.zeros((len(ids), len(ids)))
    for i in range(len(ids)):
        e = np.exp([q[i] @ k[j] / math.sqrt(d) for j in range(i + 1)])
        rows[i, : i + 1] = e / e.sum()
    return torch.tensor(rows)


def column(pairs, which):
    """The ids or the probabilities of a list of pairs; what is no such list stays as it is, for the check to refuse."""
    try:
        found = [pair[which] for pair in pairs]
        return [x.item() if isinstance(x, torch.Tensor) else x for x in found]
    except (TypeError, IndexError, KeyError, ValueError, RuntimeError):
        return pairs


# ---- tokens


def compare_tokens(lab, words, shift, text, why):
    bpe = tiny_bpe(None, words, shift)
    want = [(i, bpe.vocab[i]) for i in bpe.encode_ordinary(text)]
    check.equal(lab.tokens(lab.probe(tiny_bpe, words, shift), text), want, why=why)


@task("tokens")
def test_tokens_of_words(lab, rng):
    for _ in range(2):
        words, shift = draw_words(rng), number(rng, 40, 200)
        a, b, c, d, gap = words
        compare_tokens(lab, words, shift, f"{a[1:]}{a}{b}{gap}{c}{a}{d}", "known words, one twice, and three spaces")


@task("tokens")
def test_tokens_may_be_parts_of_characters(lab, rng):
    words, shift = draw_words(rng), number(rng, 40, 200)
    compare_tokens(lab, words, shift, f"né{words[0]} 🍓\n", "a letter of two bytes and a picture of four")


@task("tokens")
def test_tokens_of_nothing(lab, rng):
    words, shift = draw_words(rng), number(rng, 40, 200)
    compare_tokens(lab, words, shift, "", "an empty text has no tokens")
    compare_tokens(lab, words, shift, " ", "a space is a token")


# ---- next_token


def compare_next(lab, given, model, ids, n, why):
    p = probabilities(model, ids)
    best = np.argsort(-p)[:n]
    got = lab.next_token(given, ids, n)
    check.equal(column(got, 0), best.tolist(), why=f"{why}: the ids, best first")
    check.close(column(got, 1), p[best].tolist(), why=f"{why}: their probabilities", rtol=1e-4)


@task("next_token")
def test_next_token_values(lab, rng):
    for _ in range(3):
        given, model, ids = draw(lab, rng)
        n = number(rng, 3, 6)
        compare_next(lab, given, model, ids, n, f"the best {n} after {len(ids)} tokens")


@task("next_token")
def test_the_best_alone_and_all(lab, rng):
    given, model, ids = draw(lab, rng)
    compare_next(lab, given, model, ids, 1, "the best one")
    compare_next(lab, given, model, ids, model.config.vocab_size, "all of the vocabulary")


@task("next_token")
def test_next_after_one_token(lab, rng):
    given, model, ids = draw(lab, rng)
    compare_next(lab, given, model, ids[:1], 4, "after a text of one token")


# ---- surprise


def compare_surprise(lab, given, model, ids, why):
    want = [bits(model, ids[:t], ids[t]) for t in range(1, len(ids))]
    got = lab.surprise(given, ids)
    if isinstance(got, list):
        got = [b.item() if isinstance(b, torch.Tensor) and b.numel() == 1 else b for b in got]
    check.close(got.tolist() if isinstance(got, torch.Tensor) else got, want, why=why, rtol=1e-4, atol=1e-4)


@task("surprise")
def test_surprise_values(lab, rng):
    for _ in range(3):
        given, model, ids = draw(lab, rng)
        compare_surprise(lab, given, model, ids, f"{len(ids)} tokens")


@task("surprise")
def test_surprise_of_a_short_text(lab, rng):
    given, model, ids = draw(lab, rng)
    compare_surprise(lab, given, model, ids[:2], "two tokens: one number")
    compare_surprise(lab, given, model, ids[:1], "one token: no number")


@task("surprise")
def test_surprise_of_the_unlikely(lab, rng):
    given, model, ids = draw(lab, rng, sharp=60.0)
    compare_surprise(lab, given, model, ids, "a model that is very sure, and mostly wrong")


# ---- who_looks


@task("who_looks")
def test_maps(lab, rng):
    for _ in range(2):
        given, model, ids = draw(lab, rng)
        last = model.config.n_layers - 1, model.config.n_heads - 1
        for layer, head in ((0, 1), (1, 0), last, (number(rng, 0, 1), number(rng, 2, 3))):
            got = lab.who_looks(given, ids, layer, head)
            check.equal([*got.shape], [len(ids)] * 2, why=f"the shape, for {len(ids)} tokens")
            check.close(got, attention_map(model, ids, layer, head), why=f"layer {layer}, head {head}", atol=1e-4)


@task("who_looks")
def test_a_map_of_one_token(lab, rng):
    given, model, ids = draw(lab, rng)
    check.close(lab.who_looks(given, ids[:1], 1, 2), torch.ones(1, 1), why="one token looks at itself")


# ---- write, write_cached


def changed(lab, function, model, ids, n):
    before = list(ids)
    getattr(lab, function)(model, ids, n)
    return ids != before


def compare_written(lab, function, rng, n, T, fed, why, twice=False):
    given, ids, want = draw_clear(lab, rng, n, T, twice)
    got = getattr(lab, function)(given, ids, n)
    check.equal(got.tolist() if isinstance(got, torch.Tensor) else got, want, why=f"{why}: the new tokens")
    check.equal(given.fed, fed(len(ids)), why=f"{why}: tokens fed to the model, with {len(ids)} in the prompt")


@task("write")
def test_written(lab, rng):
    for n in (5, 7):
        compare_written(lab, "write", rng, n, None, lambda T, n=n: n * T + n * (n - 1) // 2, f"{n} tokens", n == 7)


@task("write")
def test_written_from_one_token(lab, rng):
    compare_written(lab, "write", rng, 4, 1, lambda T: 4 + 6, "4 tokens after a single one")


@task("write")
def test_one_or_none_written(lab, rng):
    compare_written(lab, "write", rng, 1, None, lambda T: T, "1 token")
    compare_written(lab, "write", rng, 0, None, lambda T: 0, "0 tokens")


@task("write")
def test_write_leaves_the_prompt_alone(lab, rng):
    given, _, ids = draw(lab, rng)
    check.equal(lab.probe(changed, "write", given, ids, 3), False, why="is the caller's list of ids another one now?")


@task("write_cached")
def test_written_with_a_cache(lab, rng):
    for n in (5, 7):
        compare_written(lab, "write_cached", rng, n, None, lambda T, n=n: T + n - 1, f"{n} tokens", n == 7)


@task("write_cached")
def test_written_with_a_cache_from_one_token(lab, rng):
    compare_written(lab, "write_cached", rng, 4, 1, lambda T: 4, "4 tokens after a single one")


@task("write_cached")
def test_one_or_none_written_with_a_cache(lab, rng):
    compare_written(lab, "write_cached", rng, 1, None, lambda T: T, "1 token")
    compare_written(lab, "write_cached", rng, 0, None, lambda T: 0, "0 tokens")


@task("write_cached")
def test_cached_twice_on_one_model(lab, rng):
    """A cache that is kept from the first text would spoil the second."""
    given, ids, want = draw_clear(lab, rng, 5)
    for _ in range(2):
        check.equal(lab.write_cached(given, ids, 5), want, why="the same text twice, with the same model")


@task("write_cached")
def test_write_cached_leaves_the_prompt_alone(lab, rng):
    given, _, ids = draw(lab, rng)
    check.equal(
        lab.probe(changed, "write_cached", given, ids, 3), False, why="is the caller's list of ids another one?"
    )
