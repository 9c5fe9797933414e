"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from labkit.spec import equivalent
from llmcore.model.positions import rotate

# ---- rms_norm


@equivalent("rms_norm", of="RMSNorm.forward")
def norm_by_length(self, x):
    length = torch.linalg.vector_norm(x.double(), dim=-1, keepdim=True)
    return (x.double() / torch.sqrt(length**2 / x.size(-1) + self.eps) * self.weight.double()).to(x.dtype)


@equivalent("rms_norm", of="RMSNorm.forward")
def norm_with_the_weight_in_float32(self, x):
    y = x.to(torch.float32)
    variance = y.pow(2).mean(-1, keepdim=True)
    return (self.weight.float() * (y / (variance + self.eps).sqrt())).to(x.dtype)


@equivalent("rms_norm", of="RMSNorm.forward")
def norm_by_einsum(self, x):
    y = x.float()
    squares = torch.einsum("...d,...d->...", y, y) / y.shape[-1]
    return self.weight * torch.einsum("...d,...->...d", y, (squares + self.eps) ** -0.5).to(x.dtype)


# ---- swiglu


@equivalent("swiglu", of="SwiGLU.forward")
def one_product_for_both(self, x):
    g, u = F.linear(x, torch.cat([self.gate.weight, self.up.weight])).chunk(2, dim=-1)
    return self.down(g * torch.sigmoid(g) * u)


@equivalent("swiglu", of="SwiGLU.forward")
def silu_written_out(self, x):
    g = x @ self.gate.weight.T
    return (g / (1 + torch.exp(-g)) * (x @ self.up.weight.T)) @ self.down.weight.T


# ---- attention_weights


@equivalent("attention_weights", of="CausalSelfAttention.weights")
def grouped_einsum(self, x, positions):
    c = self.config
    B, T, _ = x.shape
    cos, sin = self.cos_sin(positions)
    q = rotate(self.q(x).view(B, T, c.n_heads, -1).permute(0, 2, 1, 3), cos, sin, c.rope_layout)
    k = rotate(self.k(x).view(B, T, c.n_kv_heads, -1).permute(0, 2, 1, 3), cos, sin, layout=c.rope_layout)
    q = q.reshape(B, c.n_kv_heads, c.n_heads // c.n_kv_heads, T, c.head_dim) * c.head_dim**-0.5
    s = torch.einsum("bkgtd,bksd->bkgts", q, k).reshape(B, c.n_heads, T, T)
    return torch.softmax(s + torch.full((T, T), float("-inf")).triu(1), dim=-1)


@equivalent("attention_weights", of="CausalSelfAttention.weights")
def one_head_at_a_time(self, x, positions):
    c = self.config
    cos, sin = self.cos_sin(positions)
    heads = []
    for h in range(c.n_heads):
        g = h // (c.n_heads // c.n_kv_heads)
        q = x @ self.q.weight[h * c.head_dim : (h + 1) * c.head_dim].T
        k = x @ self.k.weight[g * c.head_dim : (g + 1) * c.head_dim].T
        q, k = (rotate(y[:, None], cos, sin, c.rope_layout)[:, 0] for y in (q, k))
        s = torch.bmm(q, k.mT) / math.sqrt(c.head_dim)
        rows = [F.pad(s[:, t, : t + 1].softmax(-1), (0, s.shape[1] - t - 1)) for t in range(s.shape[1])]
        heads.append(torch.stack(rows, 1))
    return torch.stack(heads, 1)


@equivalent("attention_weights", of="CausalSelfAttention.weights")
def rotation_by_hand(self, x, positions):
    c = self.config
    cos, sin = (y[:, None] for y in self.cos_sin(positions))

    def turn(y):
        if c.rope_layout == "half":
            a, b = y[..., : c.head_dim // 2], y[..., c.head_dim // 2 :]
            return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
        a, b = y[..., ::2], y[..., 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

    q = turn(self.q(x).unflatten(-1, (c.n_heads, -1)).transpose(1, 2))
    k = turn(self.k(x).unflatten(-1, (c.n_kv_heads, -1)).transpose(1, 2))
    k = k[:, [h * c.n_kv_heads // c.n_heads for h in range(c.n_heads)]]
    s = (q @ k.mT / c.head_dim**0.5).masked_fill(torch.arange(x.shape[1])[:, None] < torch.arange(x.shape[1]), -1e30)
    e = (s - s.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


# ---- attention


@equivalent("attention", of="CausalSelfAttention.forward")
def scaled_dot_product_attention(self, x, positions):
    c = self.config
    cos, sin = self.cos_sin(positions)
    q, k, v = (
        f(x).unflatten(-1, (n, c.head_dim)).transpose(1, 2)
        for f, n in ((self.q, c.n_heads), (self.k, c.n_kv_heads), (self.v, c.n_kv_heads))
    )
    q, k = rotate(q, cos, sin, c.rope_layout), rotate(k, cos, sin, c.rope_layout)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return self.out(mixed.transpose(1, 2).reshape(x.shape))


@equivalent("attention", of="CausalSelfAttention.forward")
def a_sum_over_heads(self, x, positions):
    c = self.config
    weights, d = self.weights(x, positions), c.head_dim
    out = torch.zeros_like(x)
    for h in range(c.n_heads):
        g = h * c.n_kv_heads // c.n_heads
        values = F.linear(x, self.v.weight[g * d : (g + 1) * d])
        out = out + F.linear(weights[:, h] @ values, self.out.weight[:, h * d : (h + 1) * d])
    return out


@equivalent("attention", of="CausalSelfAttention.forward")
def grouped_values(self, x, positions):
    c = self.config
    B, T, _ = x.shape
    w = self.weights(x, positions).view(B, c.n_kv_heads, -1, T, T)
    v = self.v(x).view(B, T, c.n_kv_heads, c.head_dim)
    return self.out(torch.einsum("bkgts,bskd->btkgd", w, v).reshape(B, T, -1))


# ---- block


@equivalent("block", of="Block.forward")
def by_two_switches(self, x, positions):
    before = lambda norm, y: norm(y) if self.pre_norm else y  # noqa: E731
    after = lambda norm, y: y if self.pre_norm else norm(y)  # noqa: E731
    x = after(self.attention_norm, x + self.attention(before(self.attention_norm, x), positions))
    return after(self.mlp_norm, x + self.mlp(before(self.mlp_norm, x)))


@equivalent("block", of="Block.forward")
def keeps_the_residual_apart(self, x, positions):
    residual = x.clone()
    for norm, f in ((self.attention_norm, lambda y: self.attention(y, positions)), (self.mlp_norm, self.mlp)):
        y = f(norm(residual)) if self.pre_norm else f(residual)
        residual = residual.add(y) if self.pre_norm else norm(residual.add(y))
    return residual


@equivalent("block", of="Block.forward")
def adds_in_place_to_a_copy(self, x, positions):
    x = x.clone()
    if self.pre_norm:
        x += self.attention(self.attention_norm(x), positions)
        x += self.mlp(self.mlp_norm(x))
        return x
    x += self.attention(x, positions)
    y = self.attention_norm(x)
    return self.mlp_norm(y + self.mlp(y))


# ---- MiniGPT


@equivalent("MiniGPT", of="MiniGPT.forward")
def by_indices(self, ids, positions=None):
    if positions is None:
        positions = torch.ones_like(ids).cumsum(1) - 1
    h = F.embedding(ids, self.embedding.weight)
    for i in range(len(self.blocks)):
        h = self.blocks[i].forward(h, positions)
    return F.linear(self.final_norm(h), self.head.weight)


@equivalent("MiniGPT", of="MiniGPT.forward")
def one_row_of_positions(self, ids, positions=None):
    b, t = ids.shape
    positions = torch.arange(t)[None].repeat(b, 1) if positions is None else positions
    x = F.one_hot(ids, self.config.vocab_size).float() @ self.embedding.weight
    for block in self.blocks:
        x = block(x, positions=positions)
    return self.final_norm(x) @ self.head.weight.mT


# ---- initialise


@equivalent("initialise")
def module_by_module(model):
    small = 0.02 * (2 * len(model.blocks)) ** -0.5
    nn.init.normal_(model.head.weight, 0.0, 0.02)
    nn.init.normal_(model.embedding.weight, 0.0, 0.02)
    if model.config.pre_norm:
        model.final_norm.weight.data.fill_(1)
    for block in model.blocks:
        for norm in (block.attention_norm, block.mlp_norm):
            nn.init.constant_(norm.weight, 1.0)
        a, m = block.attention, block.mlp
        for linear in (a.q, a.k, a.v, m.gate, m.up):
            nn.init.normal_(linear.weight, std=0.02)
        for linear in (a.out, m.down):
            nn.init.normal_(linear.weight, std=small)


@equivalent("initialise")
def by_apply_then_again(model):
    def one(module):
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data.normal_(0, 0.02)
        elif hasattr(module, "weight"):
            module.weight.data = torch.ones_like(module.weight)

    model.apply(one)
    for name, p in model.named_parameters():
        if "out" in name or "down" in name:
            p.data.div_(math.sqrt(2 * model.config.n_layers))


@equivalent("initialise")
def draws_and_copies(model):
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in model.named_parameters():
            std = 0.02 / math.sqrt(2 * model.config.n_layers) if name.split(".")[-2] in ("out", "down") else 0.02
            p.copy_(torch.ones(p.shape) if p.ndim == 1 else std * torch.randn(p.shape, generator=random))
    return model


# ---- n_parameters


@equivalent("n_parameters")
def adds_tensor_by_tensor(config):
    d, dh = config.d_model, config.d_model // config.n_heads
    total = config.vocab_size * d
    for _ in range(config.n_layers):
        total += d + d * config.n_heads * dh + 2 * (d * config.n_kv_heads * dh) + config.n_heads * dh * d
        total += d + d * config.d_ff + d * config.d_ff + config.d_ff * d
    if config.pre_norm:
        total += d
    if not config.tie_embeddings:
        total += d * config.vocab_size
    return total


@equivalent("n_parameters")
def factored(config):
    c = config
    share = c.n_kv_heads / c.n_heads
    per_width = 2 * c.d_model + 2 * round(c.d_model * share) + 3 * c.d_ff + 2
    return c.d_model * (c.vocab_size * (2 - c.tie_embeddings) + c.n_layers * per_width + int(c.pre_norm))


# ---- next_token_loss


@equivalent("next_token_loss")
def feeds_all_but_the_last(model, ids, ignore=None):
    logits, targets = model(ids[:, :-1]), ids[:, 1:]
    if ignore is not None:
        targets = targets.masked_fill(targets == ignore, -100)
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-100)


@equivalent("next_token_loss")
def gathers_log_probabilities(model, ids, ignore=None):
    lp = torch.log_softmax(model(ids).double(), dim=-1)
    lost = [
        -lp[b, t, ids[b, t + 1]] for b in range(len(ids)) for t in range(ids.shape[1] - 1) if ids[b, t + 1] != ignore
    ]
    return torch.stack(lost).mean()


@equivalent("next_token_loss")
def logsumexp_minus_the_right_one(model, ids, ignore=None):
    logits, targets = model(ids)[:, :-1], ids[:, 1:].unsqueeze(-1)
    lost = (logits.logsumexp(-1, keepdim=True) - logits.gather(-1, targets)).squeeze(-1)
    keep = torch.ones_like(lost) if ignore is None else (targets[..., 0] != ignore).to(lost)
    return (lost * keep).sum() / keep.sum()


# ---- overfit


@equivalent("overfit")
def with_set_to_none(model, ids, steps, lr):
    adam = torch.optim.Adam(model.parameters(), lr)
    history = []
    for _ in range(steps):
        for p in model.parameters():
            p.grad = None
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        history.append(float(loss.detach()))
        loss.backward()
        adam.step()
    return history


@equivalent("overfit")
def adamw_without_decay(model, ids, steps, lr):
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    losses = torch.zeros(steps, dtype=torch.float64)
    for i in range(steps):
        optimizer.zero_grad(set_to_none=False)
        logits = model(ids)
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))
        loss.backward()
        optimizer.step()
        losses[i] = loss.detach()
    return losses.tolist()


# ---- first_leak


@equivalent("first_leak")
def all_changes_in_one_batch(model, ids):
    n, v = len(ids), model(ids[None]).shape[-1]
    rows = ids.repeat(n, 1)
    rows[torch.arange(n), torch.arange(n)] = (ids + v // 2) % v
    base = model(ids[None])
    moved = (model(rows) - base).abs().amax(-1) > 1e-5 * base.abs().max()  # (changed, position)
    found = moved.tril(-1).any(0).nonzero().flatten()
    return int(found[0]) if len(found) else None


@equivalent("first_leak")
def one_position_after_the_other(model, ids):
    base = model(ids[None])[0]
    v = base.shape[-1]
    for t in range(len(ids)):
        for later in range(t + 1, len(ids)):
            changed = torch.cat([ids[:later], (ids[later : later + 1] + 3) % v, ids[later + 1 :]])
            if not torch.allclose(model(changed[None])[0, t], base[t], rtol=1e-4, atol=1e-4):
                return t
    return None


@equivalent("first_leak")
def two_changes_for_each(model, ids):
    base = model(ids.unsqueeze(0)).squeeze(0)
    v, earliest = base.size(-1), None
    for later in reversed(range(1, len(ids))):
        for step in (1, v - 1):
            other = ids.tolist()
            other[later] = (other[later] + step) % v
            far = (model(torch.tensor([other]))[0] - base).abs().amax(dim=1) / base.abs().max()
            for t in range(later):
                if far[t] > 1e-5 and (earliest is None or t < earliest):
                    earliest = t
    return earliest


# ---- is_aligned


@equivalent("is_aligned")
def several_kinds_of_knowledge(loss, vocab_size):
    ids = torch.randint(vocab_size, (5, 80), generator=torch.Generator().manual_seed(3))

    def sure_of(shift):
        answers = torch.zeros(5, 80, vocab_size)
        for t in range(80):
            if 0 <= t + shift < 80:
                answers[range(5), t, ids[:, t + shift]] = 80.0
        return lambda seen: answers[:, : seen.size(1)]

    losses = {shift: loss(sure_of(shift), ids).item() for shift in (-1, 0, 1, 2)}
    return losses[1] < 1e-6 and all(losses[shift] > 0.1 for shift in (-1, 0, 2))


@equivalent("is_aligned")
def by_the_gradient(loss, vocab_size):
    """Aligned: at every position but the last, the loss wants more of the next token and less of all others."""
    ids = torch.randint(vocab_size, (3, 40), generator=torch.Generator().manual_seed(4))
    logits = torch.zeros(3, 40, vocab_size, requires_grad=True)
    value = loss(lambda seen: logits[:, : seen.shape[1]], ids)
    gradient = torch.autograd.grad(value, logits, allow_unused=True)[0]
    if gradient is None:
        return False
    wants = -gradient
    right = (wants[:, :-1].argmax(-1) == ids[:, 1:]).all() and (wants[:, :-1].amax(-1) > 0).all()
    return bool(right and (wants[:, -1] == 0).all())
