"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import heapq
import math
from collections import Counter

import numpy as np
import torch

from labkit.spec import equivalent

INF = math.inf

# ---- greedy


@equivalent("greedy")
def grows_a_text(model, prompt, max_new_tokens):
    text = [*prompt]
    for _ in range(max_new_tokens):
        row = model([text])[0].flatten().tolist()
        text.append(row.index(max(row)))
        if text[-1] == model.eot:
            break
    return text[len(prompt) :]


@equivalent("greedy")
def recursive(model, prompt, max_new_tokens):
    if max_new_tokens == 0:
        return []
    token = model([prompt])[0].softmax(-1)[0].topk(1).indices.item()
    return [token] if token == model.eot else [token, *recursive(model, [*prompt, token], max_new_tokens - 1)]


@equivalent("greedy")
def numpy_and_tensors(model, prompt, max_new_tokens):
    text = torch.tensor([prompt])
    while text.shape[1] - len(prompt) < max_new_tokens:
        best = np.argmax(model(text)[0].numpy(), axis=-1)
        text = torch.cat([text, torch.from_numpy(best)[:, None]], dim=1)
        if best[0] == model.eot:
            break
    return text[0, len(prompt) :].tolist()


# ---- scale


@equivalent("scale")
def times_the_inverse(logits, temperature):
    if temperature > 0:
        return logits * (1 / temperature)
    if temperature < 0:
        raise ValueError("negative")
    out = torch.ones_like(logits) * -INF
    out[logits.argmax()] = 0.0
    return out


@equivalent("scale")
def list_by_list(logits, temperature):
    if not temperature >= 0:
        raise ValueError(temperature)
    values = logits.tolist()
    if temperature == 0:
        best = values.index(max(values))
        values = [x if i == best else -INF for i, x in enumerate(values)]
    else:
        values = [x / temperature for x in values]
    return torch.tensor(values, dtype=logits.dtype)


# ---- keep_top_k


@equivalent("keep_top_k")
def kth_value(logits, k):
    limit = logits.kthvalue(max(1, len(logits) - k + 1)).values
    return torch.where(logits >= limit, logits, -INF)


@equivalent("keep_top_k")
def sorted_lists(logits, k):
    limit = sorted(logits.tolist())[-k:][0]
    return torch.tensor([-INF if x < limit else x for x in logits.tolist()], dtype=logits.dtype)


@equivalent("keep_top_k")
def counts_the_better_ones(logits, k):
    better = (logits[None] > logits[:, None]).sum(1)
    return logits.masked_fill(better >= k, -INF)


# ---- keep_top_p


@equivalent("keep_top_p")
def walks_down(logits, p):
    if p >= 1:
        return logits.clone()
    share = logits.double().softmax(-1).tolist()
    out, mass = torch.full_like(logits, -INF), 0.0
    for i in sorted(range(len(share)), key=share.__getitem__, reverse=True):
        out[i] = logits[i]
        mass += share[i]
        if mass >= p:
            return out
    return out


@equivalent("keep_top_p")
def as_hugging_face_does(logits, p):
    """Sorted upwards; what is in the tail of mass 1 - p goes, but never the last one."""
    ordered, order = torch.sort(logits, descending=False)
    tail = ordered.double().softmax(-1).cumsum(-1) <= 1 - p
    tail[-1] = False
    if p >= 1:
        tail[:] = False
    return logits.masked_fill(torch.zeros_like(tail).scatter(0, order, tail), -INF)


@equivalent("keep_top_p")
def mass_of_the_better_ones(logits, p):
    share = logits.double().softmax(-1)
    before = ((logits[None] > logits[:, None]) * share[None]).sum(1)
    return torch.where((before < p) | torch.tensor(p == 1.0), logits, torch.tensor(-INF, dtype=logits.dtype))


@equivalent("keep_top_p")
def shifted_by_one(logits, p):
    if p == 1:
        return logits
    ordered, order = torch.sort(logits, descending=True)
    remove = ordered.softmax(-1).cumsum(-1) > p
    remove[1:] = remove[:-1].clone()
    remove[0] = False
    out = logits.clone()
    out[order[remove]] = -INF
    return out


# ---- sample


@equivalent("sample")
def inverse_transform(logits, temperature, top_k, top_p, generator):
    share = _left(logits, temperature, top_k, top_p).double().softmax(-1)
    u = torch.rand((), generator=generator, dtype=torch.float64)
    return int(torch.searchsorted(share.cumsum(-1), u * share.sum(), right=True).clamp(max=len(share) - 1))


@equivalent("sample")
def gumbel_max(logits, temperature, top_k, top_p, generator):
    noise = -torch.empty(len(logits), dtype=torch.float64).exponential_(generator=generator).log()
    return (_left(logits, temperature, top_k, top_p) + noise).argmax().item()


@equivalent("sample")
def walks_through_the_survivors(logits, temperature, top_k, top_p, generator):
    left = _left(logits, temperature, top_k, top_p)
    ids = left.isfinite().nonzero()[:, 0].tolist()
    weights = [math.exp(float(left[i] - left.max())) for i in ids]
    u = torch.rand(1, generator=generator, dtype=torch.float64).item() * sum(weights)
    for i, weight in zip(ids, weights):
        u -= weight
        if u < 0:
            return i
    return ids[-1]


@equivalent("sample")
def multinomial_of_exponentials(logits, temperature, top_k, top_p, generator):
    if temperature == 0:
        return int(torch.argmax(logits))
    left = _left(logits, temperature, top_k, top_p)
    return torch.multinomial((left - left.max()).exp(), num_samples=1, generator=generator).item()


# ---- penalise


@equivalent("penalise")
def token_by_token(logits, text, penalty):
    new = logits.clone()
    for token in {*text}:
        if new[token] < 0:
            new[token] *= penalty
        else:
            new[token] /= penalty
    return new


@equivalent("penalise")
def with_a_mask(logits, text, penalty):
    seen = torch.tensor([i in text for i in range(len(logits))])
    return torch.where(seen, torch.minimum(logits * penalty, logits / penalty), logits)


@equivalent("penalise")
def by_the_sign(logits, text, penalty):
    power = torch.zeros_like(logits)
    power[list(dict.fromkeys(text))] = 1
    return logits * penalty ** (-power * logits.sign())


# ---- beam_search


@equivalent("beam_search")
def with_a_heap(model, prompt, beams, max_new_tokens, length_penalty):
    alive, done = [(0.0, ())], []
    for _ in range(max_new_tokens):
        longer = []
        for total, ids in alive:
            row = model([[*prompt, *ids]])[0][0].double()
            for token, lp in enumerate((row - row.logsumexp(0)).tolist()):
                (done if token == model.eot else longer).append((total + lp, (*ids, token)))
        alive = heapq.nlargest(beams, longer)
    best = heapq.nlargest(beams, ((total / len(ids) ** length_penalty, ids) for total, ids in done + alive))
    return [(list(ids), score) for score, ids in best]


@equivalent("beam_search")
def tensors_all_the_way(model, prompt, beams, max_new_tokens, length_penalty):
    texts, sums = torch.tensor([prompt]), torch.zeros(1, dtype=torch.float64)
    found = []
    for step in range(1, max_new_tokens + 1):
        totals = sums[:, None] + model(texts)[0].double().log_softmax(-1)  # (open, v)
        for row, total in zip(texts.tolist(), totals[:, model.eot].tolist()):
            found.append([[*row[len(prompt) :], model.eot], total / step**length_penalty])
        keep = [i for i in range(totals.shape[1]) if i != model.eot]
        flat = totals[:, keep].flatten()
        sums, places = flat.sort(descending=True, stable=True)
        sums, places = sums[:beams], places[:beams]
        new = torch.tensor(keep)[places % len(keep)]
        texts = torch.cat([texts[places // len(keep)], new[:, None]], dim=1)
    found += [
        [row[len(prompt) :], total / max_new_tokens**length_penalty]
        for row, total in zip(texts.tolist(), sums.tolist())
    ]
    return sorted(found, key=lambda text: -text[1])[:beams]


@equivalent("beam_search")
def keeps_only_the_best_ends(model, prompt, beams, max_new_tokens, length_penalty):
    """Throws away ended texts that cannot be returned any more, and stops when no open one can get in."""

    def score(text):
        return text[1] / len(text[0]) ** length_penalty

    alive, done = [([], 0.0)], []
    for step in range(max_new_tokens):
        rows = model([prompt + ids for ids, _ in alive])[0].log_softmax(-1).tolist()
        longer = [(ids + [t], s + lp) for (ids, s), row in zip(alive, rows) for t, lp in enumerate(row)]
        done = sorted([*done, *(x for x in longer if x[0][-1] == model.eot)], key=score)[-beams:]
        alive = sorted((x for x in longer if x[0][-1] != model.eot), key=lambda x: -x[1])[:beams]
        lengths = range(step + 1, max_new_tokens + 1)
        hope = max(alive[0][1] / n**length_penalty for n in lengths)
        if len(done) == beams and score(done[0]) >= hope:
            alive = []
            break
    best = sorted(done + alive, key=score, reverse=True)[:beams]
    return [(text[0], score(text)) for text in best]


# ---- contrastive_search


@equivalent("contrastive_search")
def one_candidate_at_a_time(model, prompt, k, alpha, max_new_tokens):
    text = list(prompt)
    for _ in range(max_new_tokens):
        share = model([text])[0][0].double().softmax(-1)
        values = {}
        for token in share.argsort(descending=True)[:k].tolist():
            *old, new = model([[*text, token]])[1][0].double()
            like = max(float(torch.cosine_similarity(new, x, dim=0)) for x in old)
            values[token] = (1 - alpha) * float(share[token]) - alpha * like
        text.append(max(values, key=values.get))
        if text[-1] == model.eot:
            break
    return text[len(prompt) :]


@equivalent("contrastive_search")
def remembers_old_states(model, prompt, k, alpha, max_new_tokens):
    logits, states = model([prompt])
    logits, seen, new = logits[0], [x / x.norm() for x in states[0]], []
    for _ in range(max_new_tokens):
        ids = logits.topk(k).indices
        share = torch.exp(logits - logits.logsumexp(0))[ids]
        after, states = model([[*prompt, *new, i] for i in ids.tolist()])
        ends = [x / x.norm() for x in states[:, -1]]
        like = torch.stack([(torch.stack(seen) @ x).max() for x in ends])
        best = torch.argmax(share - alpha * (share + like)).item()
        new.append(ids[best].item())
        seen.append(ends[best])
        logits = after[best]
        if new[-1] == model.eot:
            return new
    return new


@equivalent("contrastive_search")
def numpy_einsum(model, prompt, k, alpha, max_new_tokens):
    text, row = list(prompt), model([prompt])[0][0].numpy().astype("float64")
    while len(text) < len(prompt) + max_new_tokens:
        share = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        ids = np.argsort(-share)[:k]
        after, states = (x.numpy().astype("float64") for x in model([[*text, int(i)] for i in ids]))
        states /= np.linalg.norm(states, axis=-1, keepdims=True)
        like = np.einsum("ktd,kd->kt", states[:, :-1], states[:, -1]).max(1)
        best = np.argmax((1 - alpha) * share[ids] - alpha * like)
        text.append(int(ids[best]))
        row = after[best]
        if text[-1] == model.eot:
            break
    return text[len(prompt) :]


# ---- distinct, repetition, overlap


@equivalent("distinct")
def distinct_by_counting(texts, n):
    counts = Counter(tuple(t[i : i + n]) for t in texts for i in range(len(t) - n + 1))
    return len(counts) / max(counts.total(), 1)


@equivalent("distinct")
def distinct_by_strings(texts, n):
    grams = []
    for text in texts:
        for i in range(len(text)):
            if i + n <= len(text):
                grams.append(" ".join(map(str, text[i : i + n])))
    return 0.0 if not grams else 1 - (len(grams) - len({*grams})) / len(grams)


@equivalent("repetition")
def repetition_by_looking_back(texts, n):
    again = total = 0
    for text in texts:
        grams = [text[i : i + n] for i in range(len(text) - n + 1)]
        for i, gram in enumerate(grams):
            again += gram in grams[:i]
            total += 1
    return again / total if total else 0.0


@equivalent("repetition")
def repetition_by_counting(texts, n):
    counts = [Counter(zip(*(t[i:] for i in range(n)))) for t in texts]
    total = sum(c.total() for c in counts)
    return float(np.sum([m - 1 for c in counts for m in c.values()]) / total) if total else 0.0


@equivalent("overlap")
def overlap_by_counting(texts, real, n):
    known = Counter(g for t in real for g in zip(*(t[i:] for i in range(n))))
    written = Counter(g for t in texts for g in zip(*(t[i:] for i in range(n))))
    total = sum(written.values())
    return sum(c for g, c in written.items() if known[g]) / total if total else 0.0


@equivalent("overlap")
def overlap_by_strings(texts, real, n):
    text = "|".join("," + ",".join(map(str, t)) + "," for t in real)
    hits = [("," + ",".join(map(str, t[i : i + n])) + ",") in text for t in texts for i in range(len(t) - n + 1)]
    return sum(hits) / len(hits) if hits else 0.0


def _left(logits, temperature, top_k, top_p):
    """What temperature and the cuts leave."""
    if temperature == 0:
        return logits.where(torch.arange(len(logits)) == logits.argmax(), torch.tensor(-INF))
    left = logits / temperature
    if top_k is not None:
        left = counts_the_better_ones(left, top_k)
    return left if top_p is None else walks_down(left, top_p)
