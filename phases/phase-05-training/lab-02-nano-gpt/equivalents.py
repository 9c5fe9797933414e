"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import array
import hashlib
import itertools
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from labkit.spec import equivalent

# ---- is_held_out


@equivalent("is_held_out")
def held_out_by_hex_digits(text, share):
    return int(hashlib.sha256(bytes(text, "utf8")).hexdigest()[:16], 16) < share * 2**64


@equivalent("is_held_out")
def held_out_by_numpy(text, share):
    h = hashlib.new("sha256")
    h.update(text.encode())
    return bool(np.frombuffer(h.digest(), dtype=">u8")[0] < np.float64(share) * 2.0**64)


# ---- pack


@equivalent("pack")
def pack_by_concatenating_arrays(documents, eot, vocab_size):
    parts = [np.array([*d, eot], dtype=np.int64) for d in documents]
    row = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    if ((row < 0) | (row >= vocab_size)).any():
        raise ValueError("an id outside the vocabulary")
    return row.astype("uint16" if vocab_size - 1 <= np.iinfo(np.uint16).max else "uint32")


@equivalent("pack")
def pack_through_array(documents, eot, vocab_size):
    code = "H" if vocab_size <= 1 << 16 else "I"
    row = array.array(code)
    for document in documents:
        for i in itertools.chain(document, [eot]):
            if i not in range(vocab_size):
                raise ValueError(i)
            row.append(i)
    return np.frombuffer(row.tobytes(), dtype={"H": "<u2", "I": "<u4"}[code])


# ---- get_batch


@equivalent("get_batch")
def batch_by_a_torch_generator(tokens, rows, length, seed, step):
    if len(tokens) < length + 1:
        raise ValueError("too short")
    g = torch.Generator().manual_seed(seed * 1_000_003 + step)
    at = torch.randint(0, len(tokens) - length, (rows, 1), generator=g) + torch.arange(length)
    row = torch.from_numpy(tokens.astype(np.int64))
    return row[at], row[at + 1]


@equivalent("get_batch")
def batch_by_python_random(tokens, rows, length, seed, step):
    last = len(tokens) - length - 1
    if last < 0:
        raise ValueError("too short")
    draw = random.Random(f"{seed}/{step}")
    x, y = [], []
    for _ in range(rows):
        i = draw.randint(0, last)
        x.append([int(t) for t in tokens[i : i + length]])
        y.append([int(t) for t in tokens[i + 1 : i + 1 + length]])
    return torch.tensor(x), torch.tensor(y)


@equivalent("get_batch")
def batch_by_hashing(tokens, rows, length, seed, step):
    places = len(tokens) - length
    if places < 1:
        raise ValueError("too short")
    starts = []
    for b in range(rows):
        digest = hashlib.blake2b(f"{seed} {step} {b}".encode(), digest_size=8).digest()
        starts.append(int.from_bytes(digest, "little") % places)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[starts]
    w = torch.tensor(windows.astype("int64"))
    return w[:, :length].clone(), w[:, 1:].contiguous()


# ---- target_shift


@equivalent("target_shift")
def shift_by_loops(x, y):
    rows, T = x.shape
    for s in (1, 0, 2, -1, 3, -2, -3):
        seen, fits = 0, True
        for b in range(rows):
            for t in range(T):
                if 0 <= t + s < T and y[b, t] != -100:
                    seen += 1
                    fits = fits and int(x[b, t + s]) == int(y[b, t])
        if seen and fits:
            return s
    return None


@equivalent("target_shift")
def shift_by_padding(x, y):
    wide = F.pad(x, (3, 3), value=-1)
    found = []
    for s in range(-3, 4):
        moved = wide[:, 3 + s : 3 + s + x.shape[1]]
        inside = F.pad(torch.ones_like(x), (3, 3))[:, 3 + s : 3 + s + x.shape[1]].bool() & (y != -100)
        if inside.sum() > 0 and torch.equal(moved[inside], y[inside]):
            found.append(s)
    return min(found, key=lambda s: abs(s - 0.99), default=None)


# ---- learning_rate


@equivalent("learning_rate")
def rate_by_a_squared_cosine(step, peak, warmup, total, final):
    if step + 1 <= warmup and step < total:
        return peak / warmup * (1 + step)
    left = max(0, total - 1 - step)
    return final + (peak - final) * math.sin(math.pi / 2 * left / max(1, total - warmup)) ** 2


@equivalent("learning_rate")
def rate_by_interpolation(step, peak, warmup, total, final):
    i = min(step, total - 1) + 1
    if step >= total:
        return float(final)
    if i <= warmup:
        return float(np.interp(i, [0, warmup], [0, peak]))
    angle = np.interp(i, [warmup, total], [0.0, np.pi])
    return float((peak + final) / 2 + (peak - final) / 2 * np.cos(angle))


# ---- decay_groups


@equivalent("decay_groups")
def groups_by_name(model, weight_decay):
    decays = {name for name, p in model.named_parameters() if p.ndim > 1}
    still = {name for name, _ in model.named_parameters()} - decays
    get = dict(model.named_parameters()).__getitem__
    return [
        {"params": [get(n) for n in sorted(still)], "weight_decay": 0.0},
        {"weight_decay": weight_decay, "params": [get(n) for n in sorted(decays)]},
    ]


@equivalent("decay_groups")
def one_group_for_each(model, weight_decay):
    seen, groups = set(), []
    for module in model.modules():
        for p in module.parameters(recurse=False):
            if id(p) not in seen:
                seen.add(id(p))
                groups.append({"params": [p], "weight_decay": float(weight_decay) * (len(p.shape) >= 2)})
    return groups


# ---- train_step


@equivalent("train_step")
def step_clipped_by_hand(model, optimizer, x, y, lr, clip):
    for p in model.parameters():
        p.grad = None
    log_p = model(x).log_softmax(-1)
    keep = y != -100
    loss = -log_p.gather(-1, y.clamp(min=0)[..., None])[..., 0][keep].mean()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
    for g in gradients:
        g.mul_(min(1.0, clip / max(norm, 1e-12)))
    for group in optimizer.param_groups:
        group.update(lr=lr)
    optimizer.step()
    return loss.item(), norm


@equivalent("train_step")
def step_with_autograd_grad(model, optimizer, x, y, lr, clip):
    weights = list(model.parameters())
    logits = model(x)
    loss = nn.CrossEntropyLoss()(logits.transpose(1, 2), y)
    for p, g in zip(weights, torch.autograd.grad(loss, weights)):
        p.grad = g
    norm = torch.nn.utils.get_total_norm([p.grad for p in weights])
    torch.nn.utils.clip_grads_with_norm_(weights, clip, norm)
    for i in range(len(optimizer.param_groups)):
        optimizer.param_groups[i]["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    return loss.detach().item(), norm.tolist()


# ---- estimate_loss


@equivalent("estimate_loss")
@torch.inference_mode()
def estimate_token_by_token(model, batches):
    before = [(m, m.training) for m in model.modules()]
    model.train(False)
    losses = []
    for x, y in batches:
        each = F.cross_entropy(model(x).mT, y, reduction="none")
        losses += each[y != -100].tolist()
    for m, mode in before:
        m.training = mode
    return math.fsum(losses) / len(losses)


@equivalent("estimate_loss")
def estimate_by_weighted_means(model, batches):
    was = {name: m.training for name, m in model.named_modules()}
    try:
        for m in model.modules():
            m.training = False
        with torch.no_grad():
            sums = torch.zeros(2, dtype=torch.float64)
            for x, y in batches:
                n = (y != -100).sum()
                if n:
                    mean = F.cross_entropy(model(x).reshape(-1, model(x).shape[-1]), y.reshape(-1))
                    sums += torch.stack([mean.double() * n, n.double()])
        return float(sums[0] / sums[1])
    finally:
        for name, m in model.named_modules():
            m.training = was[name]


# ---- bits_per_byte


@equivalent("bits_per_byte")
def bits_of_the_whole_text(loss, tokens, size):
    return loss * tokens * math.log2(math.e) / size


@equivalent("bits_per_byte")
def bits_from_the_perplexity(loss, tokens, size):
    return math.log2(math.exp(loss)) / (size / tokens)


# ---- next_token


@equivalent("next_token")
def draw_by_inverting_the_sum(logits, temperature, top_k, generator):
    order = logits.argsort(descending=True)
    if temperature == 0:
        return order[0].item()
    order = order[:top_k]
    z = logits[order].double() / temperature
    edges = (z - z.max()).exp().cumsum(0)
    u = torch.rand((), generator=generator, dtype=torch.float64) * edges[-1]
    return int(order[int(torch.searchsorted(edges, u, right=True).clamp(max=len(order) - 1))])


@equivalent("next_token")
def draw_by_gumbel_noise(logits, temperature, top_k, generator):
    k = len(logits) if top_k is None else min(top_k, len(logits))
    values, ids = torch.topk(logits.clone(), k)
    noise = -torch.log(-torch.log(torch.rand(k, generator=generator, dtype=torch.float64).clamp(1e-300, 1 - 1e-16)))
    return ids[(values.double() + temperature * noise).argmax()].item()


# ---- generate


@equivalent("generate")
def generate_with_tensors(model, prompt, max_new_tokens, context, eot, choose):
    row = torch.as_tensor(prompt, dtype=torch.long)[None]
    n = row.shape[1]
    with torch.inference_mode():
        while row.shape[1] < n + max_new_tokens and not (row.shape[1] > n and row[0, -1] == eot):
            logits = model(row[:, max(0, row.shape[1] - context) :])[:, -1, :].squeeze(0)
            row = torch.cat([row, torch.tensor([[choose(logits)]])], dim=1)
    return row[0, n:].tolist()


@equivalent("generate")
def generate_recursively(model, prompt, max_new_tokens, context, eot, choose):
    if max_new_tokens <= 0:
        return []
    with torch.no_grad():
        token = choose(model(torch.LongTensor([list(prompt)[-context:]])).squeeze(0)[-1])
    if token == eot:
        return [token]
    return [token, *generate_recursively(model, [*prompt, token], max_new_tokens - 1, context, eot, choose)]
