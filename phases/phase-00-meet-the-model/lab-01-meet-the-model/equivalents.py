"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import math

import torch
import torch.nn.functional as F

from labkit.spec import equivalent

# ---- tokens


@equivalent("tokens")
def looks_into_the_vocabulary(tokenizer, text):
    return [(i, tokenizer.vocab[i]) for i in tokenizer.encode_ordinary(text)]


@equivalent("tokens")
def cuts_the_bytes_by_length(tokenizer, text):
    data, out = text.encode(), []
    for i in tokenizer.encode(text):
        n = len(tokenizer.decode_bytes([i]))
        out.append([i, data[:n]])
        data = data[n:]
    return out


@equivalent("tokens")
def zips_two_lists(tokenizer, text):
    ids = tokenizer.encode(text)
    return list(zip(ids, map(tokenizer.decode_bytes, ([i] for i in ids)), strict=True))


# ---- next_token


@equivalent("next_token")
def sorts_everything(model, ids, n):
    p = model(torch.tensor([ids]), last_only=True).flatten().double().softmax(0).tolist()
    return sorted(enumerate(p), key=lambda pair: -pair[1])[:n]


@equivalent("next_token")
def exponentials_by_hand(model, ids, n):
    z = model(torch.tensor(ids)[None])[0, -1].tolist()
    total = math.fsum(math.exp(x) for x in z)
    order = sorted(range(len(z)), key=z.__getitem__, reverse=True)
    return [(i, math.exp(z[i]) / total) for i in order[:n]]


@equivalent("next_token")
def from_the_hidden_state_in_tensors(model, ids, n):
    best = torch.topk(F.softmax(model.head(model.hidden(torch.tensor([ids]))[0, -1]), -1), n)
    return list(zip(best.indices, best.values, strict=True))


# ---- surprise


@equivalent("surprise")
def cross_entropy(model, ids):
    z = model(torch.tensor([ids]))[0, :-1]
    return F.cross_entropy(z, torch.tensor(ids[1:], dtype=torch.long), reduction="none") / math.log(2)


@equivalent("surprise")
def a_pass_for_each_token(model, ids):
    out = []
    for t in range(1, len(ids)):
        z = model(torch.tensor([ids[:t]]))[0, -1].double()
        out.append(float((torch.logsumexp(z, 0) - z[ids[t]]) / math.log(2)))
    return out


@equivalent("surprise")
def gathered(model, ids):
    x = torch.tensor([ids])
    log_p = model(x[:, :-1] if len(ids) > 1 else x).log_softmax(-1)
    if len(ids) == 1:
        return []
    return (-log_p.gather(-1, x[:, 1:, None])[0, :, 0] * math.log2(math.e)).tolist()


@equivalent("surprise")
def a_list_of_small_tensors(model, ids):
    log_p = torch.log_softmax(model(torch.tensor([ids])).double(), 2) / -math.log(2)
    return [log_p[0][t - 1][ids[t]] for t in range(1, len(ids))]


# ---- who_looks


@equivalent("who_looks")
def squeezes_and_unbinds(model, ids, layer, head):
    return model.attention_weights(torch.tensor([ids])).squeeze(1).unbind(0)[layer].unbind(0)[head].double()


@equivalent("who_looks")
def catches_it_on_the_way(model, ids, layer, head):
    seen = []
    hook = model.blocks[layer].register_forward_hook(lambda module, inputs, out: seen.append(out[1][0, head]))
    model.attention_weights(torch.tensor([ids]))
    hook.remove()
    return seen[0]


@equivalent("who_looks")
def row_by_row(model, ids, layer, head):
    rows = torch.zeros(len(ids), len(ids))
    for t in range(1, len(ids) + 1):
        rows[t - 1, :t] = model.attention_weights(torch.tensor([ids[:t]]))[layer, 0, head, -1]
    return rows


# ---- write


@equivalent("write")
def tensors_grow(model, ids, n):
    x = torch.tensor([ids])
    for _ in range(n):
        x = torch.cat([x, model(x, last_only=True).argmax(-1)], dim=1)
    return x[0, len(ids) :].tolist()


@equivalent("write")
def recursion(model, ids, n):
    if n == 0:
        return []
    best = model(torch.tensor([ids]))[0, -1].softmax(-1).topk(1).indices.item()
    return [best, *recursion(model, [*ids, best], n - 1)]


@equivalent("write")
def keeps_only_what_is_new(model, ids, n):
    new = torch.zeros(0, dtype=torch.long)
    while len(new) < n:
        z = model.head(model.hidden(torch.tensor([[*ids, *new.tolist()]])))[0, -1].tolist()
        new = torch.cat([new, torch.tensor([z.index(max(z))])])
    return new


# ---- write_cached


@equivalent("write_cached")
def the_prompt_token_by_token(model, ids, n):
    cache, text = model.new_cache(1, len(ids) + n), list(ids)
    for t in range(len(ids) + n - 1 if n else 0):
        best = model(torch.tensor([text[t : t + 1]]), cache)[0, -1].argmax().item()
        if t + 1 >= len(ids):
            text.append(best)
    return text[len(ids) :]


@equivalent("write_cached")
def as_tight_as_possible(model, ids, n):
    if not n:
        return []
    cache = model.new_cache(1, len(ids) + n - 1)
    out = [int(model(torch.tensor([ids]), cache, last_only=True).argmax())]
    for _ in range(n - 1):
        out.append(int(model(torch.tensor([[out[-1]]]), cache).argmax()))
    return out


@equivalent("write_cached")
def feeds_what_the_cache_lacks(model, ids, n):
    cache, text = model.new_cache(1, 100), list(ids)
    for _ in range(n):
        logits = model(torch.tensor([text[cache.length :]]), cache)
        text += logits[:, -1].argmax(-1).tolist()
    return text[len(ids) :]


@equivalent("write_cached")
def the_prompt_in_two_chunks(model, ids, n):
    cache, out = model.new_cache(1, len(ids) + n), []
    if n and len(ids) > 1:
        model(torch.tensor([ids[:-1]]), cache)
    x = torch.tensor([ids[-1:]])
    for _ in range(n):
        x = model(x, cache).argmax(-1)
        out += x[0].tolist()
    return out
