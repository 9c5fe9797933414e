"""Correct answers written differently.  The spec must accept every one: each stands for a learner who is right."""

import math
from collections import Counter, deque

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from labkit.spec import equivalent

# ---- causal_mask


@equivalent("causal_mask")
def tril(n):
    return torch.ones(n, n).tril().bool()


@equivalent("causal_mask")
def not_the_future(n):
    return ~torch.triu(torch.ones((n, n), dtype=torch.bool), diagonal=1)


@equivalent("causal_mask")
def running_sum(n):
    return torch.eye(n, dtype=torch.int64).cumsum(0).bool()


# ---- one_hot


@equivalent("one_hot")
def rows_of_the_identity(ids, classes):
    return torch.eye(classes)[ids]


@equivalent("one_hot")
def scatter(ids, classes):
    return torch.zeros(*ids.shape, classes).scatter_(-1, ids.unsqueeze(-1), 1.0)


@equivalent("one_hot")
def torch_one_hot(ids, classes):
    return F.one_hot(ids.long(), classes).double()


# ---- pairwise_distances


@equivalent("pairwise_distances")
def norm_of_differences(a, b):
    return torch.linalg.norm(a.unsqueeze(1) - b, dim=-1)


@equivalent("pairwise_distances")
def expansion_in_float64(a, b):
    a, b = a.double(), b.double()
    return ((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T).clamp_min(0).sqrt().float()


@equivalent("pairwise_distances")
def einsum(a, b):
    difference = a[:, None] - b[None]
    return torch.einsum("nmd,nmd->nm", difference, difference) ** 0.5


# ---- row_softmax


@equivalent("row_softmax")
def log_sum_exp(scores):
    return (scores - scores.logsumexp(1, keepdim=True)).exp()


@equivalent("row_softmax")
def transposed_twice(scores):
    e = torch.exp(scores.T.double() - scores.max(dim=1).values)
    return (e / e.sum(0)).T.float()


# ---- target_log_probs


@equivalent("target_log_probs")
def minus_cross_entropy(logits, targets):
    return -F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


@equivalent("target_log_probs")
def three_indices(logits, targets):
    batch, time = targets.shape
    picked = logits[torch.arange(batch)[:, None], torch.arange(time), targets]
    return picked - logits.logsumexp(-1)


@equivalent("target_log_probs")
def take_along_dim(logits, targets):
    return torch.take_along_dim(torch.log_softmax(logits.double(), 2), targets.unsqueeze(2), 2).squeeze(2).float()


# ---- sliding_windows


@equivalent("sliding_windows")
def as_strided(ids, width):
    (s,) = ids.stride()
    return torch.as_strided(ids, (ids.numel() - width + 1, width), (s, s), ids.storage_offset())


@equivalent("sliding_windows")
def numpy_view(ids, width):
    array = ids.numpy()
    (s,) = array.strides
    return torch.from_numpy(np.lib.stride_tricks.as_strided(array, (len(array) - width + 1, width), (s, s)))


# ---- masked_mean


@equivalent("masked_mean")
def masked_fill_and_einsum(x, mask):
    kept = x.masked_fill(~mask.unsqueeze(2), 0)
    return torch.einsum("btd->bd", kept) / mask.float().sum(1).clamp_min(1).unsqueeze(1)


@equivalent("masked_mean")
def nansum_of_marked(x, mask):
    marked = x.double().masked_fill(~mask[:, :, None], math.nan)
    return (torch.nansum(marked, dim=1) / torch.maximum(mask.sum(1), torch.tensor(1))[:, None]).float()


# ---- alibi_bias


@equivalent("alibi_bias")
def einsum_of_outer_sum(slopes, n):
    i = torch.arange(float(n))
    return torch.einsum("h,ij->hij", slopes, i.unsqueeze(0) - i.unsqueeze(1))


@equivalent("alibi_bias")
def scaled_positions(slopes, n):
    keys = torch.outer(slopes, torch.arange(n, dtype=slopes.dtype))
    return keys[:, None, :] - keys[:, :, None]


# ---- last_states


@equivalent("last_states")
def gather(x, lengths):
    index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, x.shape[2])
    return torch.gather(x, 1, index).squeeze(1)


@equivalent("last_states")
def one_hot_product(x, lengths):
    return torch.einsum("bt,btd->bd", (torch.arange(x.shape[1]) == lengths[:, None] - 1).float(), x)


@equivalent("last_states")
def flat_rows(x, lengths):
    return x.flatten(0, 1)[torch.arange(len(x)) * x.shape[1] + lengths - 1]


# ---- count_tokens


@equivalent("count_tokens")
def sum_of_one_hot(ids, vocab):
    return (ids[:, :, None] == torch.arange(vocab)).sum(1)


@equivalent("count_tokens")
def offset_bincount(ids, vocab):
    flat = (ids + vocab * torch.arange(len(ids)).unsqueeze(1)).reshape(-1)
    return torch.bincount(flat, minlength=vocab * len(ids)).reshape(len(ids), vocab).int()


@equivalent("count_tokens")
def accumulating_index_put(ids, vocab):
    counts = torch.zeros(len(ids), vocab, dtype=torch.long)
    rows = torch.arange(len(ids))[:, None].expand_as(ids)
    return counts.index_put_((rows, ids), torch.tensor(1), accumulate=True)


# ---- linear_gradients


@equivalent("linear_gradients")
def example_by_example(X, y, w, b):
    loss, dw, db = 0.0, torch.zeros_like(w), torch.zeros_like(b)
    for row, target in zip(X, y):
        error = row @ w + b - target
        loss, dw, db = loss + error**2, dw + 2 * error * row, db + 2 * error
    return loss / len(y), dw / len(y), db / len(y)


@equivalent("linear_gradients")
def with_a_column_of_ones(X, y, w, b):
    A, v = torch.cat([X, torch.ones(len(X), 1)], 1).double(), torch.cat([w, b.reshape(1)]).double()
    error = torch.mv(A, v) - y
    grad = 2 / len(y) * A.mT @ error
    return float(error @ error / len(y)), grad[:-1].to(w.dtype), float(grad[-1])


# ---- LinearRegression


@equivalent("LinearRegression", of="LinearRegression")
class OwnParameters(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.w = nn.Parameter(torch.randn(d, 1) / math.sqrt(d))
        self.b = nn.Parameter(torch.randn(()))

    def forward(self, X):
        return X @ self.w + self.b


@equivalent("LinearRegression", of="LinearRegression")
class StartsAtZero(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.b, self.w = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(d, 1))

    def forward(self, X):
        return torch.addmm(self.b, X, self.w)


@equivalent("LinearRegression", of="LinearRegression")
class OneVector(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.register_parameter("theta", nn.Parameter(torch.rand(features + 1) + 0.1))

    def forward(self, X):
        return torch.nn.functional.pad(X, (0, 1), value=1.0) @ self.theta[:, None]


# ---- fit


@equivalent("fit")
def update_by_hand(model, X, y, lr, steps):
    losses = []
    for _ in range(steps):
        model.zero_grad()
        loss = F.mse_loss(model(X).squeeze(-1), y)
        loss.backward()
        losses.append(float(loss))
        with torch.no_grad():
            for p in model.parameters():
                p -= lr * p.grad
    return losses


@equivalent("fit")
def without_grad_attributes(model, X, y, lr, steps):
    parameters, losses, column = list(model.parameters()), [], y.reshape(-1, 1)
    while len(losses) < steps:
        loss = torch.mean((model(X) - column) ** 2)
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters)):
            p.data.add_(g, alpha=-lr)
        losses.append(loss.detach())
    return losses


@equivalent("fit")
def clears_at_both_ends(model, X, y, lr, steps):
    optimizer = torch.optim.SGD(list(model.parameters()), lr)
    optimizer.zero_grad(set_to_none=True)
    losses = torch.zeros(steps)
    for i in range(steps):
        loss = ((y[:, None] - model(X)) ** 2).sum() / y.numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses[i] = loss.item()
    return losses.tolist()


# ---- arithmetic


@equivalent("arithmetic", of="Value.__add__")
def add_as_a_list(self, other):
    other = other if hasattr(other, "parents") else type(self)(other)
    return type(self)(data=other.data + self.data, parents=[(other, 1), (self, 1)])


@equivalent("arithmetic", of="Value.__mul__")
def mul_merges_equal_parents(self, other):
    if other is self:
        return type(self)(self.data**2, ((self, 2 * self.data),))
    other = self.of(other)
    return type(self)(self.data * other.data, ((other, self.data), (self, other.data)), "·")


@equivalent("arithmetic", of="Value.__mul__")
def mul_leaves_constants_out(self, other):
    if isinstance(other, (int, float)):
        return type(self)(self.data * other, ((self, float(other)),), f"*{other}")
    return type(self)(self.data * other.data, ((self, other.data), (other, self.data)), "*")


@equivalent("arithmetic", of="Value.__truediv__")
def quotient_rule(self, other):
    other = self.of(other)
    q = self.data / other.data
    return type(self)(q, ((self, 1 / other.data), (other, -q / other.data)), "/")


@equivalent("arithmetic", of="Value.__rsub__")
def minus_self_plus_other(self, other):
    return -self + other


@equivalent("arithmetic", of="Value.__sub__")
def sub_with_its_own_rule(self, other):
    other = self.of(other)
    return type(self)(self.data - other.data, ((self, 1.0), (other, -1.0)), "-")


@equivalent("arithmetic", of="Value.__rtruediv__")
def power_times_number(self, other):
    return self**-1 * other


# ---- functions


@equivalent("functions", of="Value.tanh")
def tanh_by_cosh(self):
    x = max(-300.0, min(300.0, self.data))
    return type(self)(math.tanh(x), ((self, 1 / math.cosh(x) ** 2),))


@equivalent("functions", of="Value.exp")
def exp_by_numpy(self):
    out = float(np.exp(self.data))
    return type(self)(out, ((self, out),))


@equivalent("functions", of="Value.log")
def log_by_a_power(self):
    return type(self)(math.log1p(self.data - 1), ((self, self.data**-1),))


@equivalent("functions", of="Value.relu")
def relu_by_product(self):
    return self * (1.0 if self.data > 0 else 0.0)


# ---- backward


@equivalent("backward", of="Value.backward")
def counts_the_users(self):
    """Kahn: a value is ready when all that use it have handed on."""
    users, seen, todo = Counter(), {self}, [self]
    while todo:
        for parent, _ in todo.pop().parents:
            users[parent] += 1
            if parent not in seen:
                seen.add(parent)
                todo.append(parent)
    arrived, ready = dict.fromkeys(seen, 0.0) | {self: 1.0}, deque([self])
    while ready:
        v = ready.popleft()
        v.grad += arrived[v]
        for parent, d in v.parents:
            arrived[parent] += d * arrived[v]
            users[parent] -= 1
            if users[parent] == 0:
                ready.append(parent)


@equivalent("backward", of="Value.backward")
def generators_on_a_stack(self):
    order, seen, stack = [], {id(self)}, [(self, iter(self.parents))]
    while stack:
        value, rest = stack[-1]
        step = next(rest, None)
        if step is None:
            order.append(value)
            stack.pop()
        elif id(step[0]) not in seen:
            seen.add(id(step[0]))
            stack.append((step[0], iter(step[0].parents)))
    before = [v.grad for v in order]
    for v in order:
        v.grad = float(v is self)
    for v in order[::-1]:
        for parent, d in v.parents:
            parent.grad += d * v.grad
    for v, old in zip(order, before):
        v.grad += old


# ---- mlp_gradients


@equivalent("mlp_gradients")
def outer_products(X, y, W1, b1, W2, b2):
    grads, loss = [torch.zeros_like(p) for p in (W1, b1, W2, b2)], 0.0
    for x, k in zip(X, y.tolist()):
        h = torch.tanh(x @ W1 + b1)
        logits = h @ W2 + b2
        loss = loss + torch.logsumexp(logits, 0) - logits[k]
        error = torch.softmax(logits, 0)
        error[k] -= 1
        back = (W2 @ error) * (1 - h**2)
        for g, new in zip(grads, (torch.outer(x, back), back, torch.outer(h, error), error)):
            g += new / len(y)
    return loss / len(y), grads


@equivalent("mlp_gradients")
def float64_einsum(X, y, W1, b1, W2, b2):
    kind = X.dtype
    X, W1, b1, W2, b2 = (t.double() for t in (X, W1, b1, W2, b2))
    h = torch.einsum("nd,dh->nh", X, W1).add(b1).tanh()
    logits = torch.einsum("nh,hc->nc", h, W2) + b2
    truth = torch.eye(logits.shape[1], dtype=torch.float64)[y]
    error = (logits.softmax(1) - truth) / y.numel()
    back = torch.einsum("nc,hc->nh", error, W2) / torch.cosh(torch.atanh(h.clamp(-1 + 1e-15, 1 - 1e-15))) ** 2
    grads = torch.einsum("nd,nh->dh", X, back), back.sum(0), torch.einsum("nh,nc->hc", h, error), error.sum(0)
    return F.cross_entropy(logits, y).item(), tuple(g.to(kind) for g in grads)
