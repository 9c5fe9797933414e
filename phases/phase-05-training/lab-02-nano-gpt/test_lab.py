"""What lab 5.2 must do.  The same file judges lab.py, solution.py and every submission.

It runs outside the process that holds the lab.  Models, optimizers and choosers that the lab's functions take are made by
*probes* beside the lab, small and known; a handle stands for them here.  Oracles: hashlib, plain loops, and AdamW
written out in float64 on a table of bigrams, whose gradients can be written down.
"""

import hashlib
import math
import random as py_random

import numpy as np
import torch
import torch._dynamo  # torch.optim imports it when first used, two seconds: once, rather than in each process
import torch.nn.functional as F
from torch import nn

from labkit.spec import check, task


def size(rng, low, high):
    """A size from low to high."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def number(rng, low, high):
    """A number between low and high."""
    return low + (high - low) * float(torch.rand((), generator=rng, dtype=torch.float64))


def letters(rng, n, alphabet="abcdefgh ijk lmnop\n"):
    """A text of n characters."""
    return "".join(alphabet[i] for i in torch.randint(len(alphabet), (n,), generator=rng).tolist())


# ---- is_held_out


def fraction(text):
    """The place of a text between 0 and 1, digit by digit."""
    found, weight = 0.0, 1.0
    for byte in hashlib.sha256(text.encode("utf-8")).digest()[:8]:
        weight /= 256
        found += byte * weight
    return found


@task("is_held_out")
def test_held_out_by_content(lab, rng):
    for alphabet in ("abcdefgh ijk lmnop\n", "äöüß €漢字🎉 né"):
        for _ in range(25):
            text, share = letters(rng, size(rng, 1, 40), alphabet), number(rng, 0.2, 0.8)
            check.equal(
                lab.is_held_out(text, share), fraction(text) < share, why=f"share {share:.3f} of a text of its own"
            )


@task("is_held_out")
def test_held_out_at_the_very_share(lab, rng):
    """Just above and just below the text's own fraction; and shares smaller than a percent."""
    for _ in range(6):
        text = letters(rng, 12)
        for share, side in ((fraction(text) * (1 + 1e-13), True), (fraction(text) * (1 - 1e-13), False)):
            check.equal(lab.is_held_out(text, share), side, why=f"a share next to the text's own fraction, {share:.4f}")
    texts = (letters(rng, 9) for _ in range(100_000))
    low = next(text for text in texts if fraction(text) < 0.004)
    check.equal(lab.is_held_out(low, 0.005), True, why="a share of 0.005, and a text that lies below it")


@task("is_held_out")
def test_nothing_and_everything_is_held_out(lab, rng):
    for text in ("", letters(rng, 30)):
        check.equal([lab.is_held_out(text, s) for s in (0.0, 1.0)], [False, True], why="a share of 0, and a share of 1")


@task("is_held_out")
def test_white_space_and_case_are_content(lab, rng):
    """Every one of these is another document."""
    text = letters(rng, 20, "abcdefgh")
    for other in (f" {text}", f"{text}\n", text.upper(), f"{text}e\u0301"):
        for share, side in ((fraction(other) * (1 + 1e-13), True), (fraction(other) * (1 - 1e-13), False)):
            got = lab.is_held_out(other, share)
            check.equal(got, side, why="white space, case and accents count: a share next to the text's own fraction")


# ---- pack


def draw_documents(rng, low, high, documents=4):
    """Documents of different lengths, one of them empty, of ids from low to high."""
    lengths = [size(rng, 2, 7) for _ in range(documents - 1)]
    lengths.insert(size(rng, 1, documents - 2), 0)
    return [torch.randint(low, high + 1, (n,), generator=rng).tolist() for n in lengths]


def packed(documents, eot, dtype):
    """One id after the other."""
    row = []
    for document in documents:
        for i in document:
            row.append(i)
        row.append(eot)
    return np.array(row, dtype=dtype)


@task("pack")
def test_pack_values(lab, rng):
    for eot in (0, 7, 299):
        documents = draw_documents(rng, 1, 298)
        got = lab.pack(documents, eot, 300)
        check.equal(
            got, packed(documents, eot, "uint16"), why=f"{len(documents)} documents, one of them empty; eot = {eot}"
        )


@task("pack")
def test_pack_types(lab, rng):
    """The type follows from the vocabulary, up to its last id, whatever ids occur."""
    for vocab_size, dtype in (
        (260, "uint16"),
        (65_535, "uint16"),
        (65_536, "uint16"),
        (65_537, "uint32"),
        (128_256, "uint32"),
    ):
        documents = draw_documents(rng, 0, 200)
        eot = vocab_size - 1
        got = lab.pack(documents, eot, vocab_size)
        check.equal(
            got, packed(documents, eot, dtype), why=f"a vocabulary of {vocab_size:,}, small ids, eot the last id"
        )
    got = lab.pack([[5, 3]], 4, 200_000)
    check.equal(got, packed([[5, 3]], 4, "uint32"), why="a vocabulary of 200,000 of which only small ids occur")


@task("pack")
def test_pack_large_ids(lab, rng):
    for vocab_size, dtype in ((65_536, "uint16"), (100_277, "uint32")):
        documents = draw_documents(rng, vocab_size - 30_000, vocab_size - 1)
        got = lab.pack(documents, 2, vocab_size)
        check.equal(got, packed(documents, 2, dtype), why=f"ids up to {vocab_size - 1:,}")


@task("pack")
def test_pack_a_generator(lab, rng):
    """Documents that can be read only once, and hold their ids in a tuple."""
    documents = [tuple(d) for d in draw_documents(rng, 0, 90)]
    got = lab.pack(lab.probe(once, documents), 91, 92)
    check.equal(got, packed(documents, 91, "uint16"), why="documents from a generator")


@task("pack")
def test_pack_single_and_none(lab, rng):
    check.equal(lab.pack([[3, 1]], 5, 6), packed([[3, 1]], 5, "uint16"), why="a single document has an end, too")
    check.equal(lab.pack([], 5, 6), packed([], 5, "uint16"), why="no document at all")


@task("pack")
def test_pack_refuses_ids_outside(lab, rng):
    for vocab_size in (50, 60_000, 65_536):
        for wrong in (vocab_size, vocab_size + size(rng, 1, 70_000), -1):
            documents = [[1, 2], [3, wrong], [4]]
            check.raises(
                ValueError,
                lab.pack,
                documents,
                5,
                vocab_size,
                why=f"the id {wrong:,} in a vocabulary of {vocab_size:,}",
            )
    check.raises(ValueError, lab.pack, [[1, 2]], 50, 50, why="an eot that the vocabulary does not have")


@task("pack")
def test_pack_leaves_documents_alone(lab, rng):
    documents = draw_documents(rng, 0, 90)
    check.equal(lab.probe(documents_after, documents), documents, why="pack changed the documents it was given")


# ---- get_batch


def starts(x):
    """Where the rows begin, in a text whose ids count from 0."""
    return [int(i) for i in x[:, 0]]


@task("get_batch")
def test_batch_rows_are_crops(lab, rng):
    """Ids that say where they stand, to the last id of uint16, and beyond."""
    for dtype, first in (("uint16", 0), ("uint16", 65_536 - 400), ("uint32", 90_000)):
        tokens = np.arange(first, first + 400).astype(dtype)
        rows, length = size(rng, 3, 6), size(rng, 7, 12)
        x, y = lab.get_batch(tokens, rows, length, size(rng, 2, 99), size(rng, 2, 99))
        why = f"{rows} rows of {length}, ids from {first:,} on, {dtype}"
        check.equal([[*x.shape], [*y.shape]], [[rows, length]] * 2, why=f"the shapes: {why}")
        check.equal([str(x.dtype), str(y.dtype)], ["torch.int64"] * 2, why=f"the types: {why}")
        check.equal(
            bool(((x[:, 0] >= first) & (x[:, -1] < first + 399)).all()), True, why=f"x lies inside the tokens: {why}"
        )
        own = torch.arange(length).repeat(rows, 1)  # counted from each row's own first token, wherever that stands
        check.equal(x.long() - x[:, :1].long(), own, why=f"x is a crop: {why}")
        check.equal(y.long() - x[:, :1].long(), own + 1, why=f"y is what follows: {why}")


@task("get_batch")
def test_batch_starts_are_uniform(lab, rng):
    """All places from the first to the last that leaves room for the last target."""
    length, places = size(rng, 4, 6), size(rng, 5, 8)
    tokens = np.arange(places + length).astype("uint16")
    seed, drawn = size(rng, 5, 999), []
    for step in range(80):
        drawn += starts(lab.get_batch(tokens, 12, length, seed, step)[0])
    check.sampled(drawn, [1 / places] * places, why=f"where crops of {length} begin in {len(tokens)} tokens")


@task("get_batch")
def test_batch_rows_are_independent(lab, rng):
    """The second row, given the first: any place, the same one too."""
    length, places = 5, 3
    tokens = np.arange(places + length).astype("uint16")
    seed, drawn = size(rng, 5, 999), []
    for step in range(300):
        a, b = starts(lab.get_batch(tokens, 2, length, seed, step)[0])
        drawn.append(a * places + b)
    check.sampled(drawn, [1 / places**2] * places**2, why="starts of the first and the second row together")


@task("get_batch")
def test_batch_of_the_shortest_text(lab, rng):
    length = size(rng, 4, 8)
    tokens = torch.randint(3, 400, (length + 1,), generator=rng).numpy().astype("uint16")
    x, y = lab.get_batch(tokens, 3, length, 4, 6)
    row = torch.from_numpy(tokens.astype("int64"))
    check.equal(x, row[:-1].repeat(3, 1), why=f"{length + 1} tokens have one crop of {length}")
    check.equal(y, row[1:].repeat(3, 1), why="its targets")
    check.raises(
        ValueError,
        lab.get_batch,
        tokens[:-1],
        3,
        length,
        4,
        6,
        why=f"{length} tokens have no crop of {length} with targets",
    )


@task("get_batch")
def test_batch_follows_from_seed_and_step(lab, rng):
    """Asked again in another order, with other random numbers drawn between: the same batches."""
    tokens = np.arange(4000).astype("uint16")
    asked = [(size(rng, 3, 50), step) for step in (0, 1, 5, 6)]
    first = [starts(lab.get_batch(tokens, 4, 9, *each)[0]) for each in asked]
    lab.probe(stir, 12)
    again = [starts(lab.get_batch(tokens, 4, 9, *each)[0]) for each in reversed(asked)]
    check.equal(again[::-1], first, why="the same seeds and steps, asked in the opposite order")


@task("get_batch")
def test_batch_other_step_other_batch(lab, rng):
    """No two of many (seed, step) share a batch; neighbouring seeds are not the same run a step later."""
    tokens, seed = np.arange(60_000).astype("uint16"), size(rng, 3, 50)
    seen = {}
    for s in range(seed, seed + 4):
        for step in range(6):
            seen.setdefault(tuple(starts(lab.get_batch(tokens, 5, 8, s, step)[0])), []).append([s, step])
    for far in (10, 100, 1000, 1024, 10_000, 100_000):  # where seed * far + step has come to the next seed
        seen.setdefault(tuple(starts(lab.get_batch(tokens, 5, 8, seed, far)[0])), []).append([seed, far])
    same = [pairs for pairs in seen.values() if len(pairs) > 1]
    check.equal(same, [], why="these pairs of (seed, step) had the same batch")


@task("get_batch")
def test_batch_leaves_global_numbers_alone(lab, rng):
    tokens = np.arange(500).astype("uint16")
    check.equal(
        lab.probe(global_numbers_move, tokens, 7, 3), [], why="get_batch changed the state of these global generators"
    )


# ---- target_shift


def shifted(rng, rows, length, shift):
    """Inputs, and targets that are `shift` ahead."""
    row = torch.randint(0, 900, (rows, length + 8), generator=rng)
    return row[:, 4 : 4 + length].clone(), row[:, 4 + shift : 4 + shift + length].clone()


@task("target_shift")
def test_shift_values(lab, rng):
    for shift in (1, 0, 2, -1, 3, -2, -3):
        x, y = shifted(rng, size(rng, 2, 4), size(rng, 6, 9), shift)
        check.equal(lab.target_shift(x, y), shift, why=f"targets {shift} ahead")


@task("target_shift")
def test_shift_of_nothing_that_fits(lab, rng):
    for x, y, why in (
        (*shifted(rng, 3, 8, 4), "targets 4 ahead"),
        (torch.arange(24).view(3, 8), torch.arange(24).view(3, 8) + 100, "targets that have nothing to do with x"),
    ):
        check.equal(lab.target_shift(x, y), None, why=why)


@task("target_shift")
def test_shift_every_place_counts(lab, rng):
    """One wrong target anywhere, one row of another shift: nothing fits."""
    for at in (0, 3, -2):
        x, y = shifted(rng, 3, 8, 1)
        y[size(rng, 0, 2), at] += 1000
        check.equal(lab.target_shift(x, y), None, why=f"one ahead, but for one target (place {at} of its row)")
    (x, y), (a, b) = shifted(rng, 3, 8, 1), shifted(rng, 1, 8, 0)
    check.equal(
        lab.target_shift(torch.cat([x, a]), torch.cat([y, b])), None, why="three rows one ahead, the fourth not shifted"
    )


@task("target_shift")
def test_shift_last_target_is_free(lab, rng):
    """What follows a row's last token does not stand in x, so nothing can be said against it."""
    x, y = shifted(rng, 3, 8, 1)
    y[:, -1] = torch.randint(2000, 3000, (3,), generator=rng)
    check.equal(lab.target_shift(x, y), 1, why="one ahead; the last targets are tokens that x does not have")


@task("target_shift")
def test_shift_ignores_what_does_not_count(lab, rng):
    for shift in (1, 0, -2):
        x, y = shifted(rng, 4, 9, shift)
        y[torch.rand(4, 9, generator=rng) < 0.4] = -100
        y[2, 3:6] = shifted_at(x, 2, 3, shift)
        check.equal(lab.target_shift(x, y), shift, why=f"targets {shift} ahead, 4 of 10 of them -100")
    x, y = torch.arange(14).view(2, 7), torch.arange(1, 15).view(2, 7)
    last = torch.full_like(y, -100)
    last[:, -1] = y[:, -1]
    check.equal(
        lab.target_shift(x, last), None, why="only the last targets count, and x does not have them: nothing is seen"
    )
    check.equal(lab.target_shift(x, torch.full_like(y, -100)), None, why="no target counts, so no shift is seen")
    alone = torch.full_like(y, -100)
    alone[0, 0] = y[0, 0]
    check.equal(lab.target_shift(x, alone), 1, why="a single target counts, the first: one ahead of its input")


def shifted_at(x, row, start, shift):
    """Three targets in the middle of a row."""
    return x[row, start + shift : start + 3 + shift]


@task("target_shift")
def test_shift_when_several_fit(lab, rng):
    token = size(rng, 5, 50)
    same = torch.full((2, 7), token)
    check.equal(lab.target_shift(same, same), 1, why="one token throughout: every shift fits, 1 is nearest to 1")
    x = torch.arange(9)[None].repeat(2, 1) % 2 + token
    check.equal(
        lab.target_shift(x, x), 0, why="two tokens in turn, not shifted: 0, 2 and -2 fit; of 0 and 2 the smaller"
    )
    x = torch.arange(9)[None].repeat(2, 1) % 3 + token
    check.equal(
        lab.target_shift(x, x), 0, why="three tokens in turn, not shifted: 0, 3 and -3 fit, and 0 is nearest to 1"
    )


@task("target_shift")
def test_shift_of_a_short_row(lab, rng):
    """Where x and y do not overlap at all, nothing fits."""
    check.equal(lab.target_shift(torch.tensor([[3]]), torch.tensor([[5]])), None, why="rows of one token, not the same")
    check.equal(lab.target_shift(torch.tensor([[3, 8]]), torch.tensor([[8, 6]])), 1, why="rows of two tokens")


# ---- learning_rate


def rates(peak, warmup, total, final):
    """A table of all steps: even stairs up, then points of a cosine."""
    up = [peak * i / warmup for i in range(1, warmup + 1)]
    n = total - warmup
    down = [final + (peak - final) * math.cos(math.pi * i / (2 * n)) ** 2 for i in range(1, n + 1)]
    return up + down


def draw_schedule(rng, warmup):
    """A peak, a number of steps and an end that are nobody's default."""
    peak = number(rng, 0.002, 0.02)
    return peak, warmup, warmup + size(rng, 11, 19), peak * number(rng, 0.05, 0.3)


@task("learning_rate")
def test_rate_values(lab, rng):
    for warmup in (size(rng, 4, 8), 1, 0):
        peak, _, total, final = draw_schedule(rng, warmup)
        got = [lab.learning_rate(step, peak, warmup, total, final) for step in range(total)]
        check.close(got, rates(peak, warmup, total, final), why=f"all {total} steps, {warmup} of them warm-up")


@task("learning_rate")
def test_rate_at_the_corners(lab, rng):
    peak, warmup, total, final = draw_schedule(rng, size(rng, 5, 9))

    def at(step):
        return lab.learning_rate(step, peak, warmup, total, final)

    check.close(at(0), peak / warmup, why="the first step learns, too: peak / warmup")
    check.close(at(warmup - 1), peak, why="the last step of the warm-up gets the peak")
    check.close(at(total - 1), final, why="the last step gets `final`")
    check.close([at(total), at(total + 7)], [final, final], why="after the end it stays at `final`")


@task("learning_rate")
def test_rate_of_warmup_alone(lab, rng):
    peak, warmup, _, final = draw_schedule(rng, size(rng, 5, 9))
    got = [lab.learning_rate(step, peak, warmup, warmup, final) for step in range(warmup)]
    want = rates(peak, warmup, warmup, final)
    check.close(got, want, why="all steps are warm-up: no cosine, no division by 0, and the last one gets the peak")


@task("learning_rate")
def test_rate_to_zero(lab, rng):
    peak, warmup, total, _ = draw_schedule(rng, size(rng, 4, 8))
    got = [lab.learning_rate(step, peak, warmup, total, 0.0) for step in range(total)]
    check.close(got, rates(peak, warmup, total, 0.0), why="final = 0")


# ---- decay_groups


def decays(groups):
    """What happens to each parameter, known by the number that fills it: [number, weight decay]."""
    found = []
    for group in groups:
        for p in group["params"]:
            decay = float(group["weight_decay"]) if "weight_decay" in group else "none given"
            found.append([round(float(p.flatten()[0])), decay])
    return sorted(found, key=str)


@task("decay_groups")
def test_groups_of_a_model(lab, rng):
    """Matrices, an embedding, a convolution's three dimensions; biases, gains, a single number; names that mislead."""
    decay = number(rng, 0.02, 0.3)
    for tied in (False, True):
        model = lab.probe(odd_model, tied)
        want = [[i, decay] for i in (1, 2, 3, *(() if tied else (4,)), 9)] + [[i, 0.0] for i in (5, 6, 7, 8)]
        groups = lab.decay_groups(model, decay)
        check.equal([sorted(g.keys() & {"params", "weight_decay"}) for g in groups], [["params", "weight_decay"]] * len(groups),
                    why="each group has params and weight_decay")  # fmt: skip
        check.equal(
            decays(groups),
            sorted(want, key=str),
            why=f"which parameters decay{', output layer tied' * tied}: [number in it, decay]",
        )


@task("decay_groups")
def test_groups_are_the_models_own_tensors(lab, rng):
    """A step of AdamW on the groups must move the model; copies would not."""
    moved = lab.probe(moved_by_adamw, number(rng, 0.02, 0.3))
    check.equal(moved, [], why="parameters that AdamW, given your groups, does not move")


# ---- train_step


def log_softmax(row):
    top = max(row)
    return row - (top + math.log(sum(math.exp(z - top) for z in row)))


def bigram_step(state, x, y):
    """Loss and gradients of a table of bigrams: logits of what follows token i are table[i] + bias."""
    table, bias = state["table.weight"], state["bias"]
    gradient = {"table.weight": np.zeros_like(table), "bias": np.zeros_like(bias)}
    total, counted = 0.0, int((y != -100).sum())
    for i, target in zip(x.flatten().tolist(), y.flatten().tolist()):
        if target == -100:
            continue
        log_p = log_softmax(table[i] + bias)
        total -= log_p[target]
        slope = np.exp(log_p)
        slope[target] -= 1
        gradient["table.weight"][i] += slope / counted
        gradient["bias"] += slope / counted
    return total / counted, gradient


class AdamWOracle:
    """Loshchilov & Hutter 2019, algorithm 2, in float64: decay for the table, none for the bias."""

    def __init__(self, state, decay, betas, eps):
        self.state = {name: np.array(value, dtype=np.float64) for name, value in state.items()}
        self.decay, self.betas, self.eps, self.t = decay, betas, eps, 0
        self.m = {name: np.zeros_like(value) for name, value in self.state.items()}
        self.v = {name: np.zeros_like(value) for name, value in self.state.items()}

    def step(self, x, y, lr, clip):
        loss, gradient = bigram_step(self.state, x, y)
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
        self.t += 1
        for name, g in gradient.items():
            g = g * min(1.0, clip / norm)
            self.m[name] = self.betas[0] * self.m[name] + (1 - self.betas[0]) * g
            self.v[name] = self.betas[1] * self.v[name] + (1 - self.betas[1]) * g**2
            m, v = self.m[name] / (1 - self.betas[0] ** self.t), self.v[name] / (1 - self.betas[1] ** self.t)
            decay = self.decay if name == "table.weight" else 0.0
            self.state[name] = self.state[name] - lr * (m / (np.sqrt(v) + self.eps) + decay * self.state[name])
        return loss, norm


def numbers(found):
    return {name: torch.as_tensor(np.asarray(value)).float() for name, value in found.items()}


def compare_steps(lab, rng, clips, stale=False, holes=False, why=""):
    """Some steps of train_step beside the oracle: both results of each, and the model afterwards."""
    V, B, T = size(rng, 7, 10), size(rng, 2, 3), size(rng, 5, 8)
    state = {"table.weight": torch.randn(V, V, generator=rng), "bias": torch.randn(V, generator=rng)}
    decay, betas, eps = number(rng, 0.1, 0.4), (0.8, 0.95), 1e-3
    model = lab.probe(bigram, state, stale)
    optimizer = lab.probe(adamw, model, decay, list(betas), eps)
    oracle = AdamWOracle(state, decay, betas, eps)
    for i, clip in enumerate(clips):
        x, y = (torch.randint(V, (B, T), generator=rng) for _ in "xy")
        if holes:
            y[torch.rand(B, T, generator=rng) < 0.4] = -100
            y[0, 0] = 1
        lr = number(rng, 0.02, 0.2)
        want = oracle.step(x, y, lr, clip)
        got = lab.train_step(model, optimizer, x, y, lr, clip)
        check.close(list(got), list(want), why=f"{why}: loss and norm of step {i}, clip {clip:g}", rtol=1e-4, atol=1e-6)
        after = model.state_dict()
        want_after = numbers(oracle.state)
        check.close(
            {name: after[name] for name in want_after},
            want_after,
            why=f"{why}: the model after step {i}",
            rtol=2e-4,
            atol=2e-5,
        )


@task("train_step")
def test_one_step(lab, rng):
    """The learning rate of this very step, for all groups, decay for one of them; the gradient is short enough."""
    compare_steps(lab, rng, [50.0], why="a gradient shorter than clip")


@task("train_step")
def test_clipping(lab, rng):
    """All gradients by one factor; reported is the norm before."""
    for clip in (0.02, 0.2):
        compare_steps(lab, rng, [clip], why="a gradient longer than clip")


@task("train_step")
def test_several_steps(lab, rng):
    """The second step has no part of the first one's gradient, and its own learning rate."""
    compare_steps(lab, rng, [0.15, 50.0, 0.05, 0.3], why="four steps, each its own learning rate")


@task("train_step")
def test_gradients_from_before(lab, rng):
    compare_steps(lab, rng, [0.4, 30.0], stale=True, why="gradients were left over before the first step")


@task("train_step")
def test_targets_that_do_not_count(lab, rng):
    compare_steps(lab, rng, [9.0, 0.1], holes=True, why="4 of 10 targets are -100")


@task("train_step")
def test_results_are_floats(lab, rng):
    V = 6
    model = lab.probe(bigram, {"table.weight": torch.randn(V, V, generator=rng), "bias": torch.zeros(V)}, False)
    optimizer = lab.probe(adamw, model, 0.1, [0.9, 0.95], 1e-8)
    x = torch.randint(V, (2, 5), generator=rng)
    got = lab.train_step(model, optimizer, x, x, 0.01, 1.0)
    check.equal(
        [type(each).__name__ for each in got], ["float", "float"], why="a tensor would keep the whole graph alive"
    )


# ---- estimate_loss


def draw_judged(rng, rows):
    """A table of bigrams and batches of different sizes, with targets that do not count."""
    V = size(rng, 6, 9)
    state = {"table.weight": 2 * torch.randn(V, V, generator=rng), "bias": torch.randn(V, generator=rng)}
    batches = []
    for n in rows:
        x, y = (torch.randint(V, (n, size(rng, 4, 7)), generator=rng) for _ in "xy")
        y = y[:, : x.shape[1]] if y.shape[1] >= x.shape[1] else F.pad(y, (0, x.shape[1] - y.shape[1]), value=-100)
        y[torch.rand(y.shape, generator=rng) < 0.3] = -100
        y[0, 0] = 0
        batches.append((x, y))
    return state, batches


def mean_loss(state, batches):
    total, counted = 0.0, 0
    state = {name: value.double().numpy() for name, value in state.items()}
    for x, y in batches:
        n = int((y != -100).sum())
        total, counted = total + n * bigram_step(state, x, y)[0], counted + n
    return total / counted


@task("estimate_loss")
def test_estimate_values(lab, rng):
    for rows in ((1,), (2, 5), (4, 1, 3)):
        state, batches = draw_judged(rng, rows)
        got = lab.estimate_loss(lab.probe(bigram, state, False), batches)
        check.close(got, mean_loss(state, batches), why=f"batches of {rows} rows, some targets -100", rtol=1e-5)


@task("estimate_loss")
def test_estimate_with_an_empty_batch(lab, rng):
    """A batch in which nothing counts weighs nothing."""
    state, batches = draw_judged(rng, (3, 2))
    x, y = batches[0]
    batches.insert(1, (x, torch.full_like(y, -100)))
    got = lab.estimate_loss(lab.probe(bigram, state, False), batches)
    check.close(
        got, mean_loss(state, [batches[0], batches[2]]), why="one of three batches has no target that counts", rtol=1e-5
    )


@task("estimate_loss")
def test_estimate_reads_once(lab, rng):
    state, batches = draw_judged(rng, (2, 3))
    got = lab.estimate_loss(lab.probe(bigram, state, False), lab.probe(once, batches))
    check.close(got, mean_loss(state, batches), why="batches from a generator", rtol=1e-5)


@task("estimate_loss")
def test_estimate_is_a_float(lab, rng):
    state, batches = draw_judged(rng, (2, 3))
    got = lab.estimate_loss(lab.probe(bigram, state, False), batches)
    check.equal(type(got).__name__, "float", why="the type of the result")


@task("estimate_loss")
def test_estimate_without_dropout(lab, rng):
    """In training mode this model answers with other numbers."""
    state, batches = draw_judged(rng, (2, 3))
    for mode in (True, False):
        model = lab.probe(with_dropout, state, mode)
        got = lab.estimate_loss(model, batches)
        check.close(
            got,
            mean_loss(state, batches),
            why=f"a model with dropout, in {'training' if mode else 'eval'} mode",
            rtol=1e-5,
        )
        check.equal(lab.probe(modes, model), [mode] * 4, why="the mode of all modules afterwards, as it was before")


@task("estimate_loss")
def test_estimate_restores_each_module(lab, rng):
    """Half of the model was frozen in eval mode, and must be found so."""
    state, batches = draw_judged(rng, (2,))
    model = lab.probe(with_dropout, state, True)
    lab.probe(freeze_half, model)
    before = lab.probe(modes, model)
    got = lab.estimate_loss(model, batches)
    check.close(got, mean_loss(state, batches), why="a model half in training mode", rtol=1e-5)
    check.equal(lab.probe(modes, model), before, why="the mode of each module afterwards, as it was before")


@task("estimate_loss")
def test_estimate_needs_no_gradients(lab, rng):
    state, batches = draw_judged(rng, (2, 2))
    graphs = lab.probe(graphs_made, state, batches)
    check.equal(any(graphs), False, why="were gradients prepared in these forward passes?")


# ---- bits_per_byte


@task("bits_per_byte")
def test_bits_values(lab, rng):
    for _ in range(4):
        loss, tokens = number(rng, 1.2, 6.0), size(rng, 50, 900)
        text = tokens * number(rng, 1.5, 4.5)
        want = math.log2(math.exp(loss)) * tokens / int(text)
        check.close(lab.bits_per_byte(loss, tokens, int(text)), want, why="nats per token to bits per byte")


# ---- next_token


def softmax(logits, temperature, top_k):
    """Probabilities in float64; the top_k by sorting."""
    z = [float(v) / temperature for v in logits]
    kept = sorted(range(len(z)), key=lambda i: -z[i])[:top_k]
    top = max(z[i] for i in kept)
    e = [math.exp(z[i] - top) if i in kept else 0.0 for i in range(len(z))]
    return [v / sum(e) for v in e]


def draw_tokens(lab, rng, logits, temperature, top_k, n=300):
    g = lab.probe(generator, size(rng, 3, 9999))
    return [lab.next_token(logits, temperature, top_k, g) for _ in range(n)]


def draw_logits(rng, V):
    """Distinct logits in no order, some negative."""
    return (torch.randperm(V, generator=rng) * 0.45 - 1.2 + 0.1 * torch.rand(V, generator=rng)).float()


@task("next_token")
def test_draws_follow_the_softmax(lab, rng):
    for temperature, top_k in ((0.35, None), (0.4, 3), (6.0, 4)):
        logits = draw_logits(rng, size(rng, 6, 8))
        want, why = softmax(logits.tolist(), temperature, top_k), f"temperature {temperature}, top_k {top_k}"
        got = draw_tokens(lab, rng, logits, temperature, top_k)
        check.sampled(got, want, why=why)
        if temperature > 1:  # each of those that are kept has one draw in six, at least
            check.equal(
                sorted({*got}), sorted(i for i, p in enumerate(want) if p), why=f"the tokens that 300 draws met: {why}"
            )


@task("next_token")
def test_greedy_and_one_of_one(lab, rng):
    for temperature, top_k in ((0, None), (0, 3), (1.3, 1), (0.0, 99)):
        logits = draw_logits(rng, 9)
        got = draw_tokens(lab, rng, logits, temperature, top_k, 5)
        check.equal(got, [int(logits.argmax())] * 5, why=f"temperature {temperature}, top_k {top_k}: the largest logit")


@task("next_token")
def test_more_than_there_are(lab, rng):
    logits = draw_logits(rng, 5)
    for top_k in (5, 200):
        got = lab.probe(many, logits, 0.4, top_k, size(rng, 3, 9999), 600)
        check.sampled(got, softmax(logits.tolist(), 0.4, None), why=f"top_k {top_k} of 5 tokens keeps all")


@task("next_token")
def test_large_logits(lab, rng):
    """exp(1000) is infinite, and so is 1000 / 0.01 to exp."""
    logits = torch.tensor([1000.0, -2000.0, 1001.0, 999.5])
    got, want = lab.probe(many, logits, 0.7, None, size(rng, 3, 9999), 600), softmax(logits.tolist(), 0.7, None)
    check.sampled(got, want, why="logits around 1,000")


@task("next_token")
def test_hidden_means_hidden(lab, rng):
    """Only -inf lies below every logit."""
    for offset in (-500, -30_000):
        logits = draw_logits(rng, 7) + offset
        got = lab.probe(many, logits, 2.0, 3, size(rng, 3, 9999), 60)
        kept = sorted(range(7), key=lambda i, z=logits: -z[i])[:3]
        check.equal(sorted({*got} - {*kept}), [], why=f"logits around {offset:,}, top_k 3: what else was drawn")


@task("next_token")
def test_the_generator_decides(lab, rng):
    flat = torch.rand(60, generator=rng) / 10
    top = lab.probe(many, flat, 0.9, None, size(rng, 3, 999), 40).count(int(flat.argmax()))
    check.less(top, 20, why="of 40 draws among 60 logits that hardly differ, how many are the largest")
    logits, seed = draw_logits(rng, 8), size(rng, 3, 999)
    rows = []
    for _ in range(2):
        g = lab.probe(generator, seed)
        rows.append([lab.next_token(logits, 2.0, None, g) for _ in range(12)])
        lab.probe(stir, 5)
    check.equal(rows[1], rows[0], why="the same generator, begun again: the same 12 tokens, whatever else was drawn")
    check.equal(len({*rows[0]}) > 1, True, why="12 draws are not all the same token")


@task("next_token")
def test_logits_are_left_alone(lab, rng):
    check.equal(
        lab.probe(logits_after, draw_logits(rng, 7), 0.5, 2), False, why="next_token changed the logits it was given"
    )


# ---- generate


V_SUM = 97


def next_of(window):
    """What the model of the spec says: it depends on every token that it is given, and on their places."""
    return (sum((i + 2) * t for i, t in enumerate(window)) + 5 * len(window)) % V_SUM


def continued(prompt, n, context, eot):
    ids = list(prompt)
    for _ in range(n):
        ids.append(next_of(ids[-context:]))
        if ids[-1] == eot:
            break
    return ids[len(prompt) :]


@task("generate")
def test_generated_tokens(lab, rng):
    """Prompts shorter than the context, as long, and longer."""
    for context in (3, 5, 8):
        for n in (2, context, context + 4):
            prompt = torch.randint(V_SUM, (n,), generator=rng).tolist()
            got = lab.generate(lab.probe(sum_model), prompt, 11, context, -1, lab.probe(largest))
            check.equal(
                list(got),
                continued(prompt, 11, context, -1),
                why=f"a prompt of {n}, a context of {context}, 11 new tokens",
            )


@task("generate")
def test_ends_with_the_text(lab, rng):
    """The end of a text is given out, as the last token; one in the prompt ends nothing."""
    prompt = torch.randint(V_SUM, (4,), generator=rng).tolist()
    whole = continued(prompt, 30, 6, -1)
    for at in (0, 3, 7):
        eot = whole[at]
        want = continued(prompt, 30, 6, eot)
        got = lab.generate(lab.probe(sum_model), prompt, 30, 6, eot, lab.probe(largest))
        check.equal(list(got), want, why=f"the text ends after {len(want)} new tokens")
    eot = next(t for t in range(V_SUM) if t not in continued([t, *prompt], 9, 6, -1))
    got = lab.generate(lab.probe(sum_model), [eot, *prompt], 9, 6, eot, lab.probe(largest))
    check.equal(
        list(got), continued([eot, *prompt], 9, 6, -1), why="eot stands at the front of the prompt, as in training"
    )


@task("generate")
def test_no_new_tokens(lab, rng):
    got = lab.generate(lab.probe(sum_model), [3, 4], 0, 6, 1, lab.probe(largest))
    check.equal(list(got), [], why="max_new_tokens = 0")


@task("generate")
def test_choose_sees_the_last_logits(lab, rng):
    """A chooser that takes the smallest: it gets one row of logits, as the model gave them."""
    prompt = torch.randint(V_SUM, (5,), generator=rng).tolist()
    want, ids = [], list(prompt)
    for _ in range(6):
        want.append((next_of(ids[-4:]) + V_SUM // 2) % V_SUM)
        ids.append(want[-1])
    got = lab.generate(lab.probe(sum_model), prompt, 6, 4, -1, lab.probe(opposite))
    check.equal(
        list(got), want, why="choose takes the token opposite to the largest logit; it is given logits of shape (V,)"
    )


@task("generate")
def test_prompt_is_left_alone(lab, rng):
    prompt = torch.randint(V_SUM, (5,), generator=rng).tolist()
    check.equal(lab.probe(prompt_after, prompt), prompt, why="generate changed the prompt it was given")


@task("generate")
def test_generation_keeps_no_graph(lab, rng):
    graphs = lab.probe(graphs_while_writing, [3, 5, 8])
    check.equal(any(graphs), False, why="were gradients prepared in these forward passes?")


# ---- probes: they run beside the lab


def once(lab, items):
    return (item for item in items)


def documents_after(lab, documents):
    lab.pack(documents, 91, 92)
    return documents


def stir(lab, seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    py_random.seed(seed)


def global_numbers_move(lab, tokens, seed, step):
    before = (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        np.random.get_state()[2],
        py_random.getstate(),
    )
    lab.get_batch(tokens, 3, 5, seed, step)
    moved = ["torch"] * (torch.get_rng_state().tolist() != before[0])
    moved += ["numpy"] * ((np.random.get_state()[1].tolist(), np.random.get_state()[2]) != (before[1], before[2]))
    return moved + ["random"] * (py_random.getstate() != before[3])


class Odd(nn.Module):
    """Parameters of every kind under names that say nothing, each filled with a number of its own."""

    def __init__(self, tied):
        super().__init__()
        self.bias_table = nn.Parameter(torch.full((3, 4), 1.0))
        self.embedding = nn.Embedding(5, 4)
        self.convolution = nn.Conv1d(4, 2, 3)
        self.head = nn.Linear(4, 5, bias=False)
        self.norm = nn.LayerNorm(4)
        self.weight = nn.Parameter(torch.full((6,), 8.0))
        self.norm_projection = nn.Parameter(torch.full((2, 2), 9.0))
        if tied:
            self.head.weight = self.embedding.weight
        fill = {
            2: self.embedding.weight,
            3: self.convolution.weight,
            5: self.convolution.bias,
            6: self.norm.weight,
            7: self.norm.bias,
        }
        with torch.no_grad():
            if not tied:
                self.head.weight.fill_(4.0)
            for value, p in fill.items():
                p.fill_(float(value))


def odd_model(lab, tied):
    return Odd(tied)


def moved_by_adamw(lab, decay):
    model = Odd(True)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(lab.decay_groups(model, decay), lr=0.1)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    return [name for name, p in model.named_parameters() if torch.equal(p, before[name])]


class Bigram(nn.Module):
    """Logits of what follows a token: its row of a table, and a bias."""

    def __init__(self, state):
        super().__init__()
        self.table = nn.Embedding(*state["table.weight"].shape)
        self.bias = nn.Parameter(torch.zeros(len(state["bias"])))
        self.load_state_dict(state)

    def forward(self, ids):
        return self.table(ids) + self.bias


def bigram(lab, state, stale):
    model = Bigram(state)
    if stale:
        for p in model.parameters():
            p.grad = torch.full_like(p, 3.0)
    return model


def adamw(lab, model, decay, betas, eps):
    """A learning rate of 1 that no step may use."""
    groups = [{"params": [model.table.weight], "weight_decay": decay}, {"params": [model.bias], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1.0, betas=tuple(betas), eps=eps)


class Dropping(nn.Module):
    """A table of bigrams behind two dropouts that spoil everything, and that eval mode switches off."""

    def __init__(self, state):
        super().__init__()
        self.inner = Bigram(state)
        self.dropout = nn.Dropout(0.9)

    def forward(self, ids):
        logits = self.inner(ids)
        return self.dropout(logits)


def with_dropout(lab, state, mode):
    return Dropping(state).train(mode)


def modes(lab, model):
    return [module.training for module in model.modules()]


def freeze_half(lab, model):
    model.inner.eval()


def graphs_made(lab, state, batches):
    model, seen = Bigram(state), []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    lab.estimate_loss(model, batches)
    return seen


def generator(lab, seed):
    return torch.Generator().manual_seed(seed)


def many(lab, logits, temperature, top_k, seed, n):
    g = torch.Generator().manual_seed(seed)
    return [lab.next_token(logits, temperature, top_k, g) for _ in range(n)]


def logits_after(lab, logits, temperature, top_k):
    before = logits.clone()
    lab.next_token(logits, temperature, top_k, torch.Generator().manual_seed(1))
    return not torch.equal(logits, before)


class SumModel(nn.Module):
    """The largest logit says where the weighted sum of all that it is given lies; every token and every place matters."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, ids):
        at = torch.arange(ids.shape[1])
        sums = ((at + 2) * ids).cumsum(1) + 5 * (at + 1)
        return self.scale * F.one_hot(sums % 97, 97).float()


def sum_model(lab):
    return SumModel().eval()


def largest(lab):
    return lambda logits: int(logits.argmax())


def opposite(lab):
    def choose(logits):
        if logits.shape != (97,):
            raise ValueError(f"choose was given logits of shape {tuple(logits.shape)}")
        if abs(float(logits.max()) - 3.0) > 1e-6:
            raise ValueError(f"choose was given logits up to {float(logits.max()):.3f}; the model's largest is 3")
        return (int(logits.argmax()) + 97 // 2) % 97

    return choose


def prompt_after(lab, prompt):
    lab.generate(SumModel(), prompt, 4, 8, -1, largest(lab))
    return prompt


def graphs_while_writing(lab, prompt):
    model, seen = SumModel(), []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    lab.generate(model, prompt, 4, 8, -1, largest(lab))
    return seen
