"""What lab 5.4 must do.  The same file judges lab.py, solution.py and every submission.

It runs outside the process that holds the lab: `lab.Table(…)` makes a model over there, and a handle stands for it here.
Oracles are float64 NumPy and plain loops: a walk down the sorted list for top-p, every text there is for beam search.
Draws are judged against exact probabilities: nothing outside the support, and a distance that chance hardly reaches.
"""

import math

import numpy as np
import torch

from labkit.spec import check, task

INF = math.inf


def size(rng, low, high):
    """A size from low to high."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def fraction(rng, low, high):
    """A number between low and high."""
    return low + (high - low) * float(torch.rand((), generator=rng))


def draw_logits(rng, v, spread=2.0, dtype=torch.float32):
    """No two alike, of both signs."""
    return torch.randn(v, generator=rng, dtype=dtype) * spread


def probabilities(logits, t=1.0):
    """softmax(logits / t) in float64."""
    z = np.asarray(logits, dtype=np.float64) / t
    e = np.exp(z - z.max())
    return e / e.sum()


# ---- tables: models that are known by heart


def draw_table(rng, v, d=3, spread=1.5, ends=0.0):
    """Logits, states and EOT of a table; the larger `ends`, the sooner its texts end."""
    eot = size(rng, 1, v - 2)
    logits = torch.randn(v, v, v, generator=rng) * spread
    logits[:, :, eot] += ends
    return logits, torch.randn(v, v, d, generator=rng), eot


def last_two(text):
    return text[-2] if len(text) > 1 else text[-1], text[-1]


def logprobs_after(logits, text):
    return np.log(probabilities(logits[last_two(text)]))


def draw_prompt(rng, v, eot, length=None):
    """No EOT in it, so that only what is written can end."""
    others = [i for i in range(v) if i != eot]
    return [others[size(rng, 0, len(others) - 1)] for _ in range(length or size(rng, 2, 5))]


# ---- greedy


def greedy_oracle(logits, eot, prompt, n):
    text = list(prompt)
    for _ in range(n):
        text.append(int(np.argmax(logprobs_after(logits, text))))
        if text[-1] == eot:
            break
    return text[len(prompt) :]


@task("greedy")
def test_greedy_by_hand(lab):
    """0 is followed by 2, then 2 by 1, then 1 by 0, whatever came before; token 3 ends, and is never the best."""
    logits = torch.zeros(4, 4, 4)
    logits[:, 0, 2], logits[:, 2, 1], logits[:, 1, 0] = 1.0, 1.0, 1.0
    model = lab.Table(logits, torch.zeros(4, 4, 2), 3)
    check.equal(lab.greedy(model, [0], 5), [2, 1, 0, 2, 1], why="0 → 2 → 1 → 0, five new tokens after [0]")


@task("greedy")
def test_greedy_values(lab, rng):
    for _ in range(4):
        v, n = size(rng, 6, 9), size(rng, 7, 11)
        logits, states, eot = draw_table(rng, v, ends=-9.0)
        prompt = draw_prompt(rng, v, eot)
        got = lab.greedy(lab.Table(logits, states, eot), prompt, n)
        check.equal(got, greedy_oracle(logits, eot, prompt, n), why=f"{n} new tokens; EOT is improbable")


@task("greedy")
def test_greedy_shows_the_whole_text(lab, rng):
    """A model that adds up all it is shown: whoever leaves a token out gets another sum."""
    prompt, v, want = [size(rng, 1, 9) for _ in range(size(rng, 17, 30))], size(rng, 90, 120), []
    for _ in range(5):
        want.append(sum(prompt + want) % v)
    got = lab.probe(greedy_of_sums, prompt, 5, v)
    check.equal(got, want, why=f"each new token is the sum of all before it, modulo {v}")


@task("greedy")
def test_greedy_ends_with_eot(lab, rng):
    for at in (1, 3):
        v = size(rng, 6, 9)
        logits, states, eot = draw_table(rng, v, ends=-9.0)
        prompt = draw_prompt(rng, v, eot)
        way = [*prompt, *greedy_oracle(logits, eot, prompt, at - 1)]
        logits[(*last_two(way), eot)] = 30.0
        want = greedy_oracle(logits, eot, prompt, 8)
        check.equal(lab.greedy(lab.Table(logits, states, eot), prompt, 8), want, why="EOT ends the text, and is kept")


@task("greedy")
def test_greedy_after_an_eot_in_the_prompt(lab, rng):
    """Real prompts begin with EOT: it says that what came before is another text."""
    v = size(rng, 6, 9)
    for where in ("first", "last"):
        logits, states, eot = draw_table(rng, v, ends=-9.0)
        prompt = draw_prompt(rng, v, eot)
        prompt = [eot, *prompt] if where == "first" else [*prompt, eot]
        got = lab.greedy(lab.Table(logits, states, eot), prompt, 4)
        check.equal(got, greedy_oracle(logits, eot, prompt, 4), why=f"EOT stands {where} in the prompt")


@task("greedy")
def test_greedy_writes_nothing_if_nothing_is_wanted(lab, rng):
    logits, states, eot = draw_table(rng, 6)
    check.equal(lab.greedy(lab.Table(logits, states, eot), [0, 5], 0), [], why="max_new_tokens = 0")


@task("greedy")
def test_greedy_leaves_the_prompt_alone(lab, rng):
    logits, states, eot = draw_table(rng, 6, ends=-9.0)
    model = lab.Table(logits, states, eot)
    check.equal(lab.probe(prompt_after, "greedy", model, [0, 5], [3]), [0, 5], why="the caller's prompt afterwards")


# ---- scale


@task("scale")
def test_temperatures(lab, rng):
    for t in (0.25, fraction(rng, 0.4, 0.8), 1.0, fraction(rng, 1.3, 3.0)):
        logits = draw_logits(rng, size(rng, 5, 12), 5.0)
        check.close(lab.scale(logits, t), torch.tensor(logits.double().numpy() / t).float(), why=f"temperature {t:.3g}")


@task("scale")
def test_temperature_zero_is_greedy(lab, rng):
    for spread in (1.0, 100.0):
        logits = draw_logits(rng, size(rng, 5, 12), spread) - 2 * spread
        got = lab.scale(logits, 0.0).softmax(-1)
        check.close(got, torch.eye(len(logits))[logits.argmax()], why="temperature 0, as probabilities")


@task("scale")
def test_temperature_zero_with_equals(lab, rng):
    logits = draw_logits(rng, 8).clamp(max=1.0)
    logits[torch.tensor([2, 5, 6])] = 3.0
    check.close(
        lab.scale(logits, 0.0).softmax(-1), torch.eye(8)[2], why="temperature 0; tokens 2, 5 and 6 are the best"
    )


@task("scale")
def test_temperatures_below_zero(lab, rng):
    for t in (-0.5, -fraction(rng, 1.0, 2.0)):
        check.raises(ValueError, lab.scale, draw_logits(rng, 5), t, why=f"temperature {t:.3g}")


@task("scale")
def test_scale_keeps_the_type_and_its_arguments(lab, rng):
    logits = draw_logits(rng, 7, dtype=torch.float64)
    for t in (0.5, 0.0):
        check.equal(str(lab.scale(logits, t).dtype), "torch.float64", why=f"float64 in, float64 out; temperature {t}")
        check.close(lab.probe(logits_after, "scale", logits, t), logits, why=f"the caller's logits; temperature {t}")


# ---- keep_top_k


def top_k_oracle(logits, k):
    limit = sorted(logits.tolist(), reverse=True)[min(k, len(logits)) - 1]
    return torch.tensor([x if x >= limit else -INF for x in logits.tolist()], dtype=logits.dtype)


@task("keep_top_k")
def test_top_k_values(lab, rng):
    for k in (1, 2, size(rng, 3, 6), 9, 10):
        logits = draw_logits(rng, 10)
        check.close(lab.keep_top_k(logits, k), top_k_oracle(logits, k), why=f"k = {k} of 10")


@task("keep_top_k")
def test_more_than_there_are(lab, rng):
    logits = draw_logits(rng, size(rng, 4, 6))
    for k in (len(logits), len(logits) + 1, 50):
        check.close(lab.keep_top_k(logits, k), logits, why=f"k = {k} of {len(logits)}")


@task("keep_top_k")
def test_equals_of_the_last_one(lab, rng):
    """Three tokens share the second place: with k = 2 all three stay, and with k = 4."""
    logits = draw_logits(rng, 9).clamp(max=0.5)
    logits[7], logits[torch.tensor([1, 4, 8])] = 2.0, 1.0
    for k in (1, 2, 3, 4, 5):
        check.close(lab.keep_top_k(logits, k), top_k_oracle(logits, k), why=f"k = {k}, and three tokens are second")


@task("keep_top_k")
def test_top_k_far_below_zero(lab, rng):
    logits = draw_logits(rng, 8) - 300.0
    check.close(lab.keep_top_k(logits, 3), top_k_oracle(logits, 3), why="all logits are near -300")


@task("keep_top_k")
def test_top_k_keeps_the_type_and_its_arguments(lab, rng):
    logits = draw_logits(rng, 7, dtype=torch.float64)
    check.equal(str(lab.keep_top_k(logits, 2).dtype), "torch.float64", why="float64 in, float64 out")
    check.close(lab.probe(logits_after, "keep_top_k", logits, 2), logits, why="the caller's logits afterwards")


# ---- keep_top_p


def top_p_oracle(logits, p):
    """Walks down the sorted list and stops behind the token with which the sum reaches p."""
    share, mass, kept = probabilities(logits), 0.0, set()
    for i in sorted(range(len(logits)), key=lambda i: -share[i]):
        kept.add(i)
        mass += share[i]
        if mass >= p:
            break
    return torch.tensor([x if i in kept else -INF for i, x in enumerate(logits.tolist())], dtype=logits.dtype)


def draw_p(rng, logits, place):
    """A p that is reached with the token in this place of the sorted list, and not by a hair."""
    sums = [0.0, *np.cumsum(np.sort(probabilities(logits))[::-1])]
    return sums[place - 1] + (sums[place] - sums[place - 1]) * fraction(rng, 0.3, 0.7)


@task("keep_top_p")
def test_top_p_by_hand(lab):
    logits = torch.tensor([0.1, 0.6, 0.3]).log()
    for p, kept in ((0.5, [1]), (0.7, [1, 2]), (0.95, [0, 1, 2])):
        want = torch.tensor([x if i in kept else -INF for i, x in enumerate(logits.tolist())])
        check.close(lab.keep_top_p(logits, p), want, why=f"0.1, 0.6, 0.3 with p = {p}: {kept} stay")


@task("keep_top_p")
def test_top_p_values(lab, rng):
    for place in (1, 2, 3, size(rng, 4, 6), 9):
        logits = draw_logits(rng, 11, 1.2)
        p = draw_p(rng, logits, place)
        check.close(lab.keep_top_p(logits, p), top_p_oracle(logits, p), why=f"p = {p:.4f}: {place} of 11 stay")


@task("keep_top_p")
def test_the_set_adapts(lab, rng):
    """The same p: one token where the model is sure, dozens where it is not."""
    sure, flat = draw_logits(rng, 60, 0.1), draw_logits(rng, 60, 0.1)
    sure[17] = 9.0
    for name, logits in (("sure", sure), ("flat", flat)):
        p = draw_p(rng, flat, 53)
        check.close(lab.keep_top_p(logits, p), top_p_oracle(logits, p), why=f"the model is {name}, p = {p:.4f}")


@task("keep_top_p")
def test_at_least_one(lab, rng):
    for p in (1e-12, 0.01):
        logits = draw_logits(rng, 9, 0.5)
        check.close(lab.keep_top_p(logits, p), top_p_oracle(logits, p), why=f"p = {p:g}: the best token stays")


@task("keep_top_p")
def test_one_keeps_all(lab, rng):
    """In float32 the first probability is 1 already, and yet the others are possible."""
    flat, sure = draw_logits(rng, size(rng, 5, 9)), torch.full((6,), -25.0) - torch.arange(6.0)
    sure[2] = 4.0
    for logits in (flat, sure):
        check.close(lab.keep_top_p(logits, 1.0), logits, why="p = 1 keeps every token, however improbable")


@task("keep_top_p")
def test_top_p_after_another_cut(lab, rng):
    logits = draw_logits(rng, 10, 1.0)
    logits[torch.tensor([1, 4, 5])] = -INF
    p = draw_p(rng, logits, 4)
    check.close(lab.keep_top_p(logits, p), top_p_oracle(logits, p), why="three tokens are at -inf already")


@task("keep_top_p")
def test_top_p_keeps_the_type_and_its_arguments(lab, rng):
    logits = draw_logits(rng, 7, dtype=torch.float64)
    p = draw_p(rng, logits, 2)
    check.equal(str(lab.keep_top_p(logits, p).dtype), "torch.float64", why="float64 in, float64 out")
    check.close(lab.probe(logits_after, "keep_top_p", logits, p), logits, why="the caller's logits afterwards")


# ---- sample


def sample_oracle(logits, t, k=None, p=None):
    """The exact distribution."""
    if t == 0:
        return np.eye(len(logits))[int(np.argmax(np.asarray(logits)))]
    left = torch.tensor(np.asarray(logits, dtype=np.float64) / t)
    left = left if k is None else top_k_oracle(left, k)
    left = left if p is None else top_p_oracle(left, p)
    return probabilities(left)


def compare_draws(lab, rng, logits, t, k, p, why, n=1000):
    want = sample_oracle(logits, t, k, p).tolist()
    draws = lab.probe(drawn, logits, t, k, p, size(rng, 1, 10**6), n)
    check.sampled(draws, want, why=why)


@task("sample")
def test_draws_without_a_choice(lab, rng):
    """Where one token is left there is no chance: temperature 0, k = 1, or a p that the best reaches alone."""
    for name, setting in (
        ("temperature 0", (0.0, None, None)),
        ("k = 1", (1.7, 1, None)),
        ("p = 0.01", (0.8, 5, 0.01)),
    ):
        logits = draw_logits(rng, size(rng, 6, 12))
        got = lab.sample(logits, *setting, lab.seeded(size(rng, 1, 10**6)))
        check.equal(got, int(np.argmax(logits.numpy())), why=f"{name}: the best token, as an int")


@task("sample")
def test_temperature_alone(lab, rng):
    for t in (fraction(rng, 0.4, 0.6), 1.0, fraction(rng, 2.5, 3.5)):
        compare_draws(lab, rng, draw_logits(rng, 6), t, None, None, f"1,000 draws at temperature {t:.3g}, no cut")


@task("sample")
def test_each_cut_alone(lab, rng):
    logits = draw_logits(rng, 7, 1.0)
    compare_draws(lab, rng, logits, 1.0, 3, None, "1,000 draws, k = 3")
    p = draw_p(rng, logits, 4)
    compare_draws(lab, rng, logits, 1.0, None, p, f"1,000 draws, p = {p:.4f}: four tokens")


@task("sample")
def test_temperature_comes_before_top_p(lab, rng):
    """0.5, 0.2, 0.15, 0.1, 0.05 and p = 0.65: two tokens as they are, three of them at temperature 2."""
    logits = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()[torch.randperm(5, generator=rng)]
    compare_draws(lab, rng, logits, 2.0, None, 0.65, "temperature 2 makes the set of p = 0.65 larger: three tokens")
    compare_draws(lab, rng, logits, 0.4, None, 0.8, "temperature 0.4 makes the set of p = 0.8 smaller: one token")


@task("sample")
def test_both_cut_and_top_p_cuts_more(lab, rng):
    """k = 5 leaves five tokens, of which p = 0.7 needs two: the other order would keep the same."""
    logits = torch.tensor([0.45, 0.35, 0.1, 0.05, 0.03, 0.02]).log()[torch.randperm(6, generator=rng)]
    compare_draws(lab, rng, logits, 1.0, 5, 0.7, "k = 5 leaves five tokens, p = 0.7 two of them")


@task("sample")
def test_top_k_comes_before_top_p(lab, rng):
    """Ten tokens, nearly equal: of four that are left each has a quarter, and three quarters pass 0.6."""
    logits = 0.01 * torch.randperm(10, generator=rng).float()
    compare_draws(lab, rng, logits, 1.0, 4, 0.6, "k = 4 leaves quarters, and three of them pass p = 0.6")
    compare_draws(lab, rng, logits, 1.0, 4, 0.27, "k = 4 leaves quarters, and two of them pass p = 0.27")


@task("sample")
def test_all_three(lab, rng):
    logits = draw_logits(rng, 9, 2.0)
    t = fraction(rng, 1.4, 1.8)
    p = draw_p(rng, top_k_oracle(logits.double() / t, 6), 4)
    compare_draws(lab, rng, logits, t, 6, p, f"temperature {t:.3g}, k = 6, p = {p:.4f}")


@task("sample")
def test_settings_that_cut_nothing(lab, rng):
    compare_draws(lab, rng, draw_logits(rng, 5, 1.0), 1.3, 40, 1.0, "k = 40 of 5 tokens, p = 1: nothing is cut")


@task("sample")
def test_direct_draws(lab, rng):
    logits, source = draw_logits(rng, 5, 1.0), lab.seeded(size(rng, 1, 10**6))
    draws = [lab.sample(logits, 1.2, 3, None, source) for _ in range(150)]
    check.sampled(draws, sample_oracle(logits, 1.2, 3).tolist(), why="150 draws from one generator, k = 3 of 5")


@task("sample")
def test_chance_comes_from_the_generator(lab, rng):
    logits, one, other = torch.zeros(50), size(rng, 1, 10**6), size(rng, 1, 10**6)
    first, again, different = (
        lab.probe(draws_beside, logits, *seeds) for seeds in ((one, 1), (one, 2), (one + 1, other))
    )
    check.equal(first == again, True, why="the same generator seed, another global seed: the same 20 tokens")
    check.equal(first == different, False, why="another generator seed, the same tokens: chance ignores the generator")
    check.less(3, len(set(first)), why="different tokens in 20 draws of 50 equal ones: the generator moves on")


@task("sample")
def test_sample_leaves_the_logits_alone(lab, rng):
    logits = draw_logits(rng, 7)
    check.close(lab.probe(logits_after_sample, logits), logits, why="the caller's logits afterwards")


# ---- penalise


def penalise_oracle(logits, text, penalty):
    new = logits.tolist()
    for i in set(text):
        new[i] = new[i] / penalty if new[i] > 0 else new[i] * penalty
    return torch.tensor(new, dtype=logits.dtype)


@task("penalise")
def test_penalty_by_hand(lab):
    got = lab.penalise(torch.tensor([2.0, -2.0, 2.0, 0.0]), [0, 1, 3], 2.0)
    check.close(got, torch.tensor([1.0, -4.0, 2.0, 0.0]), why="0, 1 and 3 were there; both signs become less probable")


@task("penalise")
def test_penalty_values(lab, rng):
    for penalty in (fraction(rng, 1.1, 1.4), fraction(rng, 2.0, 3.0)):
        logits = draw_logits(rng, size(rng, 7, 12), 3.0)
        text = [size(rng, 0, len(logits) - 1) for _ in range(4)]
        got = lab.penalise(logits, text, penalty)
        check.close(got, penalise_oracle(logits, text, penalty), why=f"penalty {penalty:.3g}, text {text}")


@task("penalise")
def test_penalty_once(lab, rng):
    logits = draw_logits(rng, 6, 3.0)
    text = [4, 1, 4, 4, 2, 1]
    check.close(lab.penalise(logits, text, 1.5), penalise_oracle(logits, text, 1.5), why="4 was there three times")


@task("penalise")
def test_penalty_of_the_whole_text(lab, rng):
    logits = draw_logits(rng, 12, 3.0)
    text = [3, *([5, 8, 9] * 9)]
    check.close(lab.penalise(logits, text, 1.4), penalise_oracle(logits, text, 1.4), why="3 was there 28 tokens ago")


@task("penalise")
def test_penalty_of_nothing(lab, rng):
    logits = draw_logits(rng, 6, 3.0)
    check.close(lab.penalise(logits, [], 1.7), logits, why="an empty text")
    check.close(lab.penalise(logits, [0, 3], 1.0), logits, why="penalty 1")


@task("penalise")
def test_penalty_keeps_the_type_and_its_arguments(lab, rng):
    logits = draw_logits(rng, 7, dtype=torch.float64)
    check.equal(str(lab.penalise(logits, [2, 5], 1.3).dtype), "torch.float64", why="float64 in, float64 out")
    check.close(lab.probe(logits_after_penalty, logits, [2, 5]), logits, why="the caller's logits afterwards")


# ---- beam_search


def beam_oracle(logits, eot, prompt, beams, n, penalty):
    """Texts as a dict, one extension at a time; also how near anything came to being decided the other way."""
    open_texts, finished, nearest = {(): 0.0}, {}, INF
    for _ in range(n):
        longer = {}
        for ids, total in open_texts.items():
            for token, logprob in enumerate(logprobs_after(logits, [*prompt, *ids])):
                (finished if token == eot else longer)[*ids, token] = total + logprob
        ranked = sorted(longer, key=longer.get, reverse=True)
        nearest = min([nearest, *(longer[a] - longer[b] for a, b in zip(ranked[beams - 1 :], ranked[beams:][:1]))])
        open_texts = {ids: longer[ids] for ids in ranked[:beams]}
    scores = {ids: total / len(ids) ** penalty for ids, total in (finished | open_texts).items()}
    best = sorted(scores, key=scores.get, reverse=True)
    nearest = min([nearest, *(scores[a] - scores[b] for a, b in zip(best[:beams], best[1:]))])
    return [[list(ids), scores[ids]] for ids in best[:beams]], nearest


def every_text(logits, eot, prompt, n, so_far=(), total=0.0):
    """All that could be written, ended or cut off, with the sum of its log-probabilities."""
    if len(so_far) == n or eot in so_far:
        return [(list(so_far), total)]
    after = logprobs_after(logits, [*prompt, *so_far])
    return [x for i, lp in enumerate(after) for x in every_text(logits, eot, prompt, n, (*so_far, i), total + lp)]


def draw_search(rng, v, beams, n, penalty, ends=0.0, spread=1.5):
    """A table and a prompt with which no choice of the search hangs on rounding."""
    while True:
        logits, states, eot = draw_table(rng, v, ends=ends, spread=spread)
        prompt = draw_prompt(rng, v, eot)
        want, nearest = beam_oracle(logits, eot, prompt, beams, n, penalty)
        if nearest > 1e-3:
            return logits, states, eot, prompt, want


def compare_beams(lab, rng, v, beams, n, penalty, ends, why):
    logits, states, eot, prompt, want = draw_search(rng, v, beams, n, penalty, ends)
    got = lab.beam_search(lab.Table(logits, states, eot), prompt, beams, n, penalty)
    check.close(got, want, why=f"{beams} beams, {n} tokens, length penalty {penalty:.3g}; {why}", rtol=1e-4, atol=1e-5)


@task("beam_search")
def test_beam_by_hand(lab):
    """The better first token leads to the worse text: 0.6 · 0.4 is less than 0.4 · 0.9."""
    p = torch.full((4, 4, 4), 1e-6)
    p[0, 0, 1], p[0, 0, 2] = 0.6, 0.4
    p[0, 1, 1], p[0, 1, 2], p[0, 1, 0] = 0.4, 0.35, 0.25
    p[0, 2, 1], p[0, 2, 2] = 0.9, 0.1
    model = lab.Table(p.log(), torch.zeros(4, 4, 2), 3)
    check.equal(lab.beam_search(model, [0, 0], 1, 2, 0.0)[0][0], [1, 1], why="one beam: 0.6, then 0.4")
    found = lab.beam_search(model, [0, 0], 2, 2, 0.0)
    want = [[[2, 1], math.log(0.36)], [[1, 1], math.log(0.24)]]
    check.close(found, want, why="two beams find 0.4 · 0.9", rtol=1e-4, atol=1e-4)


@task("beam_search")
def test_open_texts(lab, rng):
    for beams, n in ((2, 4), (3, 3), (5, 4)):
        compare_beams(lab, rng, size(rng, 6, 8), beams, n, 0.0, -12.0, "EOT is improbable")


@task("beam_search")
def test_texts_that_end(lab, rng):
    for beams, n, penalty in ((2, 5, 0.0), (3, 4, 0.0), (4, 6, 1.0), (3, 6, fraction(rng, 1.3, 1.7))):
        compare_beams(lab, rng, size(rng, 6, 8), beams, n, penalty, 1.0, "some texts end early")


@task("beam_search")
def test_length_penalty(lab, rng):
    for penalty in (fraction(rng, 0.4, 0.7), 1.0, fraction(rng, 1.5, 2.5)):
        compare_beams(lab, rng, size(rng, 6, 8), 4, 5, penalty, 0.5, "short texts against long ones")


@task("beam_search")
def test_one_beam_is_greedy_while_nothing_ends(lab, rng):
    logits, states, eot, prompt, want = draw_search(rng, size(rng, 6, 8), 1, 6, 1.0, ends=-12.0)
    got = lab.beam_search(lab.Table(logits, states, eot), prompt, 1, 6, 1.0)
    check.close(got, want, why="one beam, six tokens", rtol=1e-4, atol=1e-5)


@task("beam_search")
def test_beams_enough_to_miss_nothing(lab, rng):
    """As many beams as there are texts: the search is over all of them."""
    v, n, penalty = 4, 3, 0.8
    while True:
        logits, states, eot = draw_table(rng, v, ends=0.5)
        prompt = draw_prompt(rng, v, eot)
        scored = [[ids, total / len(ids) ** penalty] for ids, total in every_text(logits, eot, prompt, n)]
        scored.sort(key=lambda text: -text[1])
        if min(a[1] - b[1] for a, b in zip(scored[:6], scored[1:])) > 1e-3:
            break
    got = lab.beam_search(lab.Table(logits, states, eot), prompt, v**n, n, penalty)
    check.equal(len(got), len(scored), why=f"{v**n} beams, {v} tokens, {n} steps: every text there is")
    check.close(got[:6], scored[:6], why="the six best of all texts", rtol=1e-4, atol=1e-5)


@task("beam_search")
def test_an_improbable_end_counts(lab, rng):
    """An end that many extensions beat is still a text, and a short one wins when the way on is long."""
    v, n = 7, 6
    logits, states, eot, prompt, want = draw_search(rng, v, 2, n, 0.0, ends=-0.5, spread=0.3)
    got = lab.beam_search(lab.Table(logits, states, eot), prompt, 2, n, 0.0)
    check.close(
        got, want, why="no length penalty, all tokens nearly equal: the shortest texts win", rtol=1e-4, atol=1e-5
    )


@task("beam_search")
def test_an_eot_in_the_prompt_of_a_search(lab, rng):
    logits, states, eot = draw_table(rng, 7, ends=-6.0)
    prompt = [eot, *draw_prompt(rng, 7, eot, 2), eot]
    want, nearest = beam_oracle(logits, eot, prompt, 3, 3, 1.0)
    while nearest < 1e-3:
        logits, states, _ = draw_table(rng, 7)
        want, nearest = beam_oracle(logits, eot, prompt, 3, 3, 1.0)
    got = lab.beam_search(lab.Table(logits, states, eot), prompt, 3, 3, 1.0)
    check.close(got, want, why="EOT stands in the prompt, first and last", rtol=1e-4, atol=1e-5)


@task("beam_search")
def test_beam_search_leaves_the_prompt_and_the_model_alone(lab, rng):
    logits, states, eot = draw_table(rng, 6, ends=-9.0)
    model = lab.Table(logits, states, eot)
    check.equal(lab.probe(prompt_after, "beam_search", model, [0, 5], [2, 3, 1.0]), [0, 5], why="the caller's prompt")
    check.close(model.logits, logits, why="the model's table afterwards")


# ---- contrastive_search


def contrastive_oracle(logits, states, eot, prompt, k, alpha, n):
    """One candidate at a time, one cosine at a time; also how close the closest choice was."""
    states = states.double().numpy()
    text, nearest = list(prompt), INF

    def state(ids, i):
        return states[last_two(ids[: i + 1])]

    def cosine(a, b):
        return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))

    for _ in range(n):
        share = probabilities(logits[last_two(text)])
        ranked = sorted(range(len(share)), key=lambda i: -share[i])
        if k < len(share):
            nearest = min(nearest, share[ranked[k - 1]] - share[ranked[k]])
        values = {}
        for c in ranked[:k]:
            longer = [*text, c]
            likeness = max(cosine(state(longer, len(text)), state(longer, i)) for i in range(len(text)))
            values[c] = (1 - alpha) * share[c] - alpha * likeness
        order = sorted(values, key=values.get, reverse=True)
        nearest = min([nearest, *(values[order[0]] - values[c] for c in order[1:2])])
        text.append(order[0])
        if order[0] == eot:
            break
    return text[len(prompt) :], nearest


def compare_contrastive(lab, rng, v, k, alpha, n, why, ends=-9.0, d=3, length=None, eot_first=False, spread=1.5):
    while True:
        logits, states, eot = draw_table(rng, v, d, ends=ends, spread=spread)
        states = states + 0.3
        states = states * (0.2 + 3 * torch.rand(v, v, 1, generator=rng))  # long and short ones: a cosine does not care
        prompt = [eot] * eot_first + draw_prompt(rng, v, eot, length)
        want, nearest = contrastive_oracle(logits, states, eot, prompt, k, alpha, n)
        if nearest > 1e-3 and (ends < 0 or eot in want):
            break
    got = lab.contrastive_search(lab.Table(logits, states, eot), prompt, k, alpha, n)
    check.equal(got, want, why=f"k = {k}, α = {alpha:.3g}, {n} tokens; {why}")


@task("contrastive_search")
def test_contrastive_by_hand(lab):
    """Token 1 is more probable, and its state is one that the text had; token 2 brings a new one."""
    logits = torch.full((4, 4, 4), -20.0)
    logits[:, :, 1], logits[:, :, 2] = math.log(0.6), math.log(0.4)
    states = torch.zeros(4, 4, 2)
    states[:, :, 0], states[:, 2, 0], states[:, 2, 1] = 1.0, 0.0, 1.0
    model = lab.Table(logits, states, 3)
    check.equal(lab.contrastive_search(model, [0, 1], 2, 0.3, 1), [2], why="0.7·0.6 - 0.3·1 against 0.7·0.4 - 0.3·0")
    check.equal(lab.contrastive_search(model, [0, 1], 2, 0.1, 1), [1], why="0.9·0.6 - 0.1·1 against 0.9·0.4 - 0.1·0")


@task("contrastive_search")
def test_the_opposite_is_as_new_as_can_be(lab):
    """Token 1 points away from all that was: its cosine is -1, which a likeness may be."""
    logits = torch.full((4, 4, 4), -20.0)
    logits[:, :, 1], logits[:, :, 2] = math.log(0.4), math.log(0.6)
    states = torch.zeros(4, 4, 2)
    states[:, 0, 0], states[:, 1, 0], states[:, 2, 1] = 2.0, -3.0, 1.0
    got = lab.contrastive_search(lab.Table(logits, states, 3), [0], 2, 0.5, 1)
    check.equal(got, [1], why="0.5·0.4 - 0.5·(-1) against 0.5·0.6 - 0.5·0")


@task("contrastive_search")
def test_contrastive_values(lab, rng):
    for k, alpha in ((2, 0.6), (4, fraction(rng, 0.3, 0.5)), (5, fraction(rng, 0.6, 0.8)), (3, 0.2)):
        compare_contrastive(lab, rng, size(rng, 6, 9), k, alpha, 6, "random states", length=5)


@task("contrastive_search")
def test_without_contrast_it_is_greedy(lab, rng):
    compare_contrastive(lab, rng, 7, 4, 0.0, 6, "nothing but probability counts")


@task("contrastive_search")
def test_nothing_but_contrast(lab, rng):
    compare_contrastive(lab, rng, 7, 3, 1.0, 6, "nothing but likeness counts", d=5)


@task("contrastive_search")
def test_all_tokens_are_candidates(lab, rng):
    compare_contrastive(lab, rng, 6, 6, fraction(rng, 0.4, 0.6), 5, "k is the whole vocabulary", d=4)


@task("contrastive_search")
def test_the_prompt_counts_as_said(lab, rng):
    for _ in range(2):
        compare_contrastive(lab, rng, 8, 4, 0.7, 3, "a long prompt, few new tokens", length=9, d=4)


@task("contrastive_search")
def test_contrastive_ends_with_eot(lab, rng):
    compare_contrastive(lab, rng, 6, 3, 0.3, 12, "EOT ends the text, and is kept", ends=1.5)
    compare_contrastive(lab, rng, 7, 3, 0.5, 4, "EOT stands first in the prompt", eot_first=True)


@task("contrastive_search")
def test_contrastive_with_little_between_the_probabilities(lab, rng):
    compare_contrastive(lab, rng, 8, 5, 0.5, 5, "all tokens nearly equally probable", spread=0.5, d=4)


@task("contrastive_search")
def test_contrastive_leaves_the_prompt_alone(lab, rng):
    logits, states, eot = draw_table(rng, 6, ends=-9.0)
    model = lab.Table(logits, states, eot)
    check.equal(lab.probe(prompt_after, "contrastive_search", model, [0, 5], [2, 0.5, 3]), [0, 5], why="the prompt")


# ---- distinct, repetition, overlap


IDS = (1, 11, 111, 2, 12, 21)  # written one after another, many of them read alike


def draw_texts(rng, v=4, texts=4, shortest=3):
    """Few different tokens and different lengths, so that n-grams repeat, within a text and between texts."""
    lengths = [shortest + i * size(rng, 1, 3) for i in range(texts)]
    return [[IDS[size(rng, 0, v - 1)] for _ in range(n)] for n in lengths]


def windows(text, n):
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def distinct_oracle(texts, n):
    seen, total = [], 0
    for text in texts:
        for gram in windows(text, n):
            total += 1
            if gram not in seen:
                seen.append(gram)
    return len(seen) / total


def repetition_oracle(texts, n):
    again = total = 0
    for text in texts:
        grams = windows(text, n)
        total += len(grams)
        again += sum(grams[i] in grams[:i] for i in range(len(grams)))
    return again / total


def overlap_oracle(texts, real, n):
    grams = [gram for text in texts for gram in windows(text, n)]
    return sum(any(gram in windows(text, n) for text in real) for gram in grams) / len(grams)


@task("distinct")
def test_distinct_by_hand(lab):
    check.close(lab.distinct([[1, 2, 1, 2], [1, 2]], 2), 0.5, why="12 21 12, and 12: two different ones of four")


@task("distinct")
def test_distinct_values(lab, rng):
    for n in (1, 2, 3):
        texts = draw_texts(rng)
        check.close(lab.distinct(texts, n), distinct_oracle(texts, n), why=f"{n}-grams of {texts}")


@task("distinct")
def test_ids_are_not_digits(lab):
    check.close(lab.distinct([[1, 11, 1]], 2), 1.0, why="(1, 11) and (11, 1) are two 2-grams")


@task("distinct")
def test_distinct_does_not_cross_texts(lab, rng):
    a, b, c = (x + 10 * size(rng, 0, 3) for x in (1, 2, 3))
    check.close(
        lab.distinct([[a, b], [c, a], [a, b]], 2), 2 / 3, why="three texts of two tokens: three 2-grams, two alike"
    )


@task("distinct")
def test_distinct_of_nothing(lab, rng):
    for texts in ([], [[]], [[1, 2], [3]]):
        check.close(lab.distinct(texts, 3), 0.0, why=f"no 3-gram in {texts}")
    text = draw_texts(rng, texts=1, shortest=6)
    check.close(
        lab.distinct([[1], *text, []], 2), distinct_oracle(text, 2), why="texts too short for a 2-gram do not count"
    )


@task("repetition")
def test_repetition_by_hand(lab):
    check.close(lab.repetition([[1, 2, 1, 2], [1, 2]], 2), 0.25, why="12 21 12, and 12: one of four stands earlier")
    check.close(lab.repetition([[5, 5, 5, 5]], 1), 0.75, why="5 5 5 5: all but the first")


@task("repetition")
def test_repetition_values(lab, rng):
    for n in (1, 2, 3):
        texts = draw_texts(rng, shortest=4)
        check.close(lab.repetition(texts, n), repetition_oracle(texts, n), why=f"{n}-grams of {texts}")


@task("repetition")
def test_other_texts_do_not_count(lab, rng):
    text = [10 * i + size(rng, 0, 9) for i in range(6)]
    check.close(
        lab.repetition([text, text, text], 2), 0.0, why="three times the same text, which repeats nothing itself"
    )


@task("repetition")
def test_repetition_weighs_by_length(lab, rng):
    looped, other = [1, 2] * size(rng, 6, 9), [3, 4, 5]
    check.close(
        lab.repetition([looped, other], 2), repetition_oracle([looped, other], 2), why="a long loop, a short text"
    )


@task("repetition")
def test_repetition_of_nothing(lab):
    for texts in ([], [[]], [[1, 1], [3]]):
        check.close(lab.repetition(texts, 3), 0.0, why=f"no 3-gram in {texts}")


@task("overlap")
def test_overlap_by_hand(lab):
    got = lab.overlap([[1, 2, 3, 1, 2]], [[0, 1, 2], [3, 1]], 2)
    check.close(got, 0.75, why="12 23 31 12: 12 twice and 31 are real")


@task("overlap")
def test_overlap_values(lab, rng):
    for n in (1, 2, 3):
        texts, real = draw_texts(rng, 5), draw_texts(rng, 6, 3, 5)
        check.close(lab.overlap(texts, real, n), overlap_oracle(texts, real, n), why=f"{n}-grams of {texts} in {real}")


@task("overlap")
def test_overlap_goes_one_way(lab, rng):
    """Little of much that is real: what was written is real all the same."""
    real = [[10 * i + size(rng, 0, 9) for i in range(12)]]
    check.close(lab.overlap([real[0][3:7]], real, 2), 1.0, why="written: four tokens out of the real text")
    check.close(lab.overlap(real, [real[0][3:7]], 2), 3 / 11, why="written: the whole text; real: four tokens of it")


@task("overlap")
def test_half_an_id_is_none(lab):
    check.close(lab.overlap([[1, 2]], [[11, 2], [1, 21]], 2), 0.0, why="(1, 2) stands neither in 11 2 nor in 1 21")


@task("overlap")
def test_overlap_does_not_cross_texts(lab, rng):
    a, b, c, d = (x + 10 * size(rng, 0, 3) for x in (1, 2, 3, 4))
    check.close(lab.overlap([[b, c], [a, b]], [[a, b], [c, d]], 2), 0.5, why="b c stands on the seam of two real texts")


@task("overlap")
def test_overlap_of_nothing(lab):
    for texts in ([], [[1, 2], []]):
        check.close(lab.overlap(texts, [[1, 2, 3]], 3), 0.0, why=f"no 3-gram in {texts}")
    check.close(lab.overlap([[1, 2, 3]], [], 2), 0.0, why="no real text")


# ---- probes: they run beside the lab


class Sums:
    """The next token is the sum of all ids, modulo v."""

    def __init__(self, v):
        self.v, self.eot = v, -1

    def __call__(self, texts):
        ids = torch.as_tensor(texts)
        return torch.eye(self.v)[ids.sum(1) % self.v], torch.zeros(*ids.shape, 2)


def greedy_of_sums(lab, prompt, n, v):
    return lab.greedy(Sums(v), prompt, n)


def prompt_after(lab, function, model, prompt, arguments):
    getattr(lab, function)(model, prompt, *arguments)
    return prompt


def logits_after(lab, function, logits, setting):
    getattr(lab, function)(logits, setting)
    return logits


def logits_after_penalty(lab, logits, text):
    lab.penalise(logits, text, 1.3)
    return logits


def logits_after_sample(lab, logits):
    lab.sample(logits, 0.7, 4, 0.8, lab.seeded(3))
    return logits


def drawn(lab, logits, t, k, p, seed, n):
    source = torch.Generator().manual_seed(seed)
    return [lab.sample(logits, t, k, p, source) for _ in range(n)]


def draws_beside(lab, logits, seed, everywhere):
    torch.manual_seed(everywhere)
    source = torch.Generator().manual_seed(seed)
    return [lab.sample(logits, 1.0, None, None, source) for _ in range(20)]
