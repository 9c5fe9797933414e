"""What people really get wrong in lab 1.4.  Each replaces one function of solution.py, and its task must catch it."""

import math
import sys

import torch
from torch import nn

from labkit.spec import alike, mistake

# ---- causal_mask


@mistake("causal_mask", says="The diagonal is off by one: a position is hidden from itself.")
def mask_hides_itself(n):
    return torch.ones(n, n, dtype=torch.bool).tril(-1)


@alike("mask_hides_itself")
def mask_strictly_smaller(n):
    i = torch.arange(n)
    return i.unsqueeze(0) < i.unsqueeze(1)


@mistake("causal_mask", says="The diagonal is off by one: each position sees the next one, which it is to predict.")
def mask_sees_the_next(n):
    return torch.ones(n, n, dtype=torch.bool).tril(1)


@mistake("causal_mask", says="Rows and columns are exchanged: every position sees the future and not the past.")
def mask_transposed(n):
    i = torch.arange(n)
    return i[:, None] <= i[None, :]


@alike("mask_transposed")
def mask_by_triu(n):
    return torch.triu(torch.ones(n, n)) > 0


@mistake("causal_mask", says="The other convention: here True means *may see*; you return True for what is hidden.")
def mask_true_is_hidden(n):
    return torch.ones(n, n, dtype=torch.bool).triu(1)


@mistake("causal_mask", says="Ones and zeros as floats: a mask is boolean, or `~mask` and indexing do something else.")
def mask_of_floats(n):
    return torch.ones(n, n).tril()


@mistake("causal_mask", says="Right, but by a Python loop over positions: broadcast instead.")
def mask_by_loop(n):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        mask[i, : i + 1] = True
    return mask


# ---- one_hot


@mistake(
    "one_hot", says="The new axis is on the wrong side of the ids: classes run down the rows instead of along them."
)
def one_hot_wrong_side(ids, classes):
    return (torch.arange(classes).reshape(-1, *[1] * ids.ndim) == ids[None]).float()


@alike("one_hot_wrong_side")
def one_hot_moved(ids, classes):
    return torch.movedim(torch.eye(classes)[ids], -1, 0)


@mistake(
    "one_hot", says="The comparison is returned as it is, boolean: it cannot be multiplied with a table of floats."
)
def one_hot_boolean(ids, classes):
    return ids[..., None] == torch.arange(classes)


@mistake("one_hot", says="Classes are counted from 1: id 0 gets no 1 at all.")
def one_hot_from_one(ids, classes):
    return (ids[..., None] == torch.arange(1, classes + 1)).float()


@mistake(
    "one_hot", says="As wide as the largest id that occurs, not as `classes`: the width changes from batch to batch."
)
def one_hot_width_of_the_batch(ids, classes):
    return torch.eye(int(ids.max()) + 1 if ids.numel() else classes)[ids]


@mistake("one_hot", says="Only for one axis of ids: a batch of texts has two.")
def one_hot_one_axis(ids, classes):
    return (ids.reshape(-1)[:, None] == torch.arange(classes)).float()


@mistake("one_hot", says="Right, but by a Python loop over the ids: broadcast instead.")
def one_hot_by_loop(ids, classes):
    out = torch.zeros(ids.numel(), classes)
    for i, k in enumerate(ids.flatten()):
        out[i, k] = 1
    return out.reshape(*ids.shape, classes)


# ---- pairwise_distances


@mistake("pairwise_distances", says="The root is missing: these are squared distances.")
def distances_squared(a, b):
    return (a[:, None] - b[None]).square().sum(-1)


@mistake("pairwise_distances", says="|a|² + |b|² - 2a·b: between close points far from the origin all digits cancel.")
def distances_by_expansion(a, b):
    squared = a.square().sum(-1)[:, None] + b.square().sum(-1)[None] - 2 * a @ b.T
    return squared.clamp(min=0).sqrt()


@alike("distances_by_expansion")
def distances_by_gram_matrix(a, b):
    aa, bb = (a * a).sum(1, keepdim=True), (b * b).sum(1, keepdim=True)
    return torch.sqrt(torch.relu(aa + bb.T - 2 * torch.einsum("nd,md->nm", a, b)))


@mistake("pairwise_distances", says="Without max(0, ·), rounding makes |a|² + |b|² - 2a·b negative and its root NaN.")
def distances_with_nan(a, b):
    return (a.square().sum(-1)[:, None] + b.square().sum(-1)[None] - 2 * a @ b.T - 1e-6).sqrt()


@mistake("pairwise_distances", says="The sum of absolute differences: that is the Manhattan distance.")
def distances_manhattan(a, b):
    return (a[:, None] - b[None]).abs().sum(-1)


@mistake("pairwise_distances", says="a and b change places: row i belongs to a, column j to b.")
def distances_transposed(a, b):
    return (b[:, None] - a[None]).square().sum(-1).sqrt()


@mistake("pairwise_distances", says="The mean over the features instead of the sum: too small by √d.")
def distances_mean(a, b):
    return (a[:, None] - b[None]).square().mean(-1).sqrt()


@mistake("pairwise_distances", says="Right, but by a Python loop over the rows: broadcast instead.")
def distances_by_loop(a, b):
    rows = [(b - x).square().sum(-1).sqrt() for x in a]
    return torch.stack(rows) if rows else a.new_zeros(0, len(b))


# ---- row_softmax


@mistake("row_softmax", says="exp overflows: inf/inf is NaN. Subtract each row's maximum first.")
def softmax_overflows(scores):
    return scores.exp() / scores.exp().sum(-1, keepdim=True)


@alike("softmax_overflows")
def softmax_of_powers(scores):
    p = torch.pow(math.e, scores)
    return p / p.sum(dim=1)[:, None]


@mistake("row_softmax", says="One maximum for all rows: rows far below it underflow to 0/0. Each row needs its own.")
def softmax_one_maximum(scores):
    e = (scores - scores.max()).exp()
    return e / e.sum(-1, keepdim=True)


@mistake("row_softmax", says="Over the columns (dim=0): it is the rows that must sum to 1.")
def softmax_over_columns(scores):
    e = (scores - scores.amax(0, keepdim=True).nan_to_num(neginf=0.0)).exp()
    return e / e.sum(0, keepdim=True)


@mistake(
    "row_softmax", says="The sum has lost its axis: an error, and for a square matrix the wrong division. keepdim=True."
)
def softmax_without_keepdim(scores):
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    return e / e.sum(-1)


@mistake("row_softmax", says="The maximum is subtracted in place: your function changes its caller's scores.")
def softmax_in_place(scores):
    scores -= scores.amax(-1, keepdim=True)
    e = scores.exp()
    return e / e.sum(-1, keepdim=True)


@mistake("row_softmax", says="Divided by the sum of the scores, without exp.")
def softmax_without_exp(scores):
    return scores / scores.sum(-1, keepdim=True)


@mistake("row_softmax", says="Right, but by a Python loop over the rows: broadcast instead.")
def softmax_by_loop(scores):
    return torch.stack([(row - row.max()).exp() / (row - row.max()).exp().sum() for row in scores])


# ---- target_log_probs


@mistake("target_log_probs", says="The raw logit of the target: the logits are not normalised yet.")
def log_probs_raw(logits, targets):
    return logits.gather(-1, targets[..., None])[..., 0]


@mistake("target_log_probs", says="A probability, not its logarithm.")
def log_probs_without_log(logits, targets):
    return logits.softmax(-1).gather(-1, targets[..., None])[..., 0]


@mistake("target_log_probs", says="The sign is turned: this is the loss; the log-probability is never positive.")
def log_probs_negated(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


@mistake("target_log_probs", says="log(softmax(x)) is -inf where the softmax underflows; log_softmax keeps the number.")
def log_probs_of_underflow(logits, targets):
    return logits.softmax(-1).log().gather(-1, targets[..., None])[..., 0]


@alike("log_probs_of_underflow")
def log_probs_by_exponentials(logits, targets):
    e = torch.exp(logits - logits.max(dim=2, keepdim=True).values)
    picked = torch.gather(e / e.sum(2, keepdim=True), 2, targets.unsqueeze(2)).squeeze(2)
    return picked.log()


@mistake("target_log_probs", says="Normalised over the positions (dim=1) instead of over the vocabulary.")
def log_probs_over_time(logits, targets):
    return logits.log_softmax(1).gather(-1, targets[..., None])[..., 0]


@mistake("target_log_probs", says="The most likely token's log-probability, whatever the target is.")
def log_probs_of_the_best(logits, targets):
    return logits.log_softmax(-1).amax(-1)


@mistake(
    "target_log_probs", says="The index is not paired with its position: every position gets every other one's target."
)
def log_probs_crossed(logits, targets):
    return logits.log_softmax(-1)[:, :, targets].diagonal(dim1=1, dim2=3)[:, 0]


@mistake("target_log_probs", says="Right, but by a Python loop: gather does it for all positions at once.")
def log_probs_by_loop(logits, targets):
    rows = [x.log_softmax(-1)[torch.arange(len(t)), t] for x, t in zip(logits, targets)]
    return torch.stack(rows)


# ---- sliding_windows


@mistake("sliding_windows", says="The last window is missing: there are n - width + 1 of them.")
def windows_drop_the_last(ids, width):
    return ids.as_strided((len(ids) - width, width), (ids.stride(0),) * 2)


@mistake("sliding_windows", says="The windows do not overlap: the next one starts one further, not `width` further.")
def windows_side_by_side(ids, width):
    return ids.unfold(0, width, width)


@mistake("sliding_windows", says="Transposed: each window is a row.")
def windows_as_columns(ids, width):
    return ids.unfold(0, width, 1).T


@mistake("sliding_windows", says="A copy: indexing with a tensor always makes one, here `width` times the corpus.")
def windows_copied(ids, width):
    return ids[torch.arange(len(ids) - width + 1)[:, None] + torch.arange(width)]


@alike("windows_copied")
def windows_made_contiguous(ids, width):
    return ids.unfold(0, width, 1).contiguous()


@mistake(
    "sliding_windows",
    says="Strides of 1 are taken for granted; ids from a column of a table have another: ids.stride(0).",
)
def windows_with_stride_one(ids, width):
    return ids.as_strided((len(ids) - width + 1, width), (1, 1))


@mistake("sliding_windows", says="A Python loop, and a copy of every window (stack always copies): use a view.")
def windows_by_loop(ids, width):
    return torch.stack([ids[i : i + width] for i in range(len(ids) - width + 1)])


# ---- masked_mean


@mistake("masked_mean", says="Divided by the length with padding: the longer the padding, the smaller the mean.")
def mean_over_padding_too(x, mask):
    return torch.where(mask[..., None], x, 0.0).mean(1)


@mistake("masked_mean", says="x * mask: NaN in the padding stays NaN, because 0 · NaN is NaN. Use torch.where.")
def mean_by_product(x, mask):
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


@alike("mean_by_product")
def mean_by_matrix_product(x, mask):
    weights = mask.float() / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bt,btd->bd", weights, x)


@mistake("masked_mean", says="A row that is all padding is 0/0 = NaN: clamp the count to at least 1.")
def mean_of_nothing(x, mask):
    return torch.where(mask[..., None], x, 0.0).sum(1) / mask.sum(1, keepdim=True)


@alike("mean_of_nothing")
def mean_by_nanmean(x, mask):
    return torch.nanmean(x.masked_fill(~mask.unsqueeze(-1), math.nan), dim=1)


@mistake("masked_mean", says="One count for the whole batch: each row must be divided by its own.")
def mean_by_the_batch(x, mask):
    return torch.where(mask[..., None], x, 0.0).sum(1) / mask.sum().clamp(min=1)


@mistake("masked_mean", says="The mask's new axis is on the wrong side: it hides features instead of positions.")
def mean_wrong_side(x, mask):
    return torch.where(mask[:, None, :], x, 0.0).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


@mistake("masked_mean", says="The mask is upside down: the mean of the padding.")
def mean_upside_down(x, mask):
    return torch.where(mask[..., None], 0.0, x).sum(1) / (~mask).sum(1, keepdim=True).clamp(min=1)


@mistake("masked_mean", says="A sum: it is never divided by the count.")
def mean_is_a_sum(x, mask):
    return torch.where(mask[..., None], x, 0.0).sum(1)


@mistake("masked_mean", says="A kept number that happens to be 0 is not counted: count the mask, not what it kept.")
def mean_of_nonzeros(x, mask):
    kept = torch.where(mask[..., None], x, 0.0)
    return kept.sum(1) / (kept != 0).sum(1).clamp(min=1)


@mistake("masked_mean", says="The padding is zeroed in place: your function changes its caller's tensor.")
def mean_in_place(x, mask):
    x[~mask] = 0.0
    return x.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


@mistake("masked_mean", says="Right, but by a Python loop over the batch: broadcast instead.")
def mean_by_loop(x, mask):
    return torch.stack([a[m].sum(0) / max(1, int(m.sum())) for a, m in zip(x, mask)])


# ---- alibi_bias


@mistake("alibi_bias", says="The sign is turned: i - j rewards distant keys instead of j - i, which punishes them.")
def alibi_sign(slopes, n):
    i = torch.arange(n)
    return slopes[:, None, None] * (i[:, None] - i[None, :])


@alike("alibi_sign")
def alibi_rows_for_columns(slopes, n):
    key, query = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    return torch.einsum("h,ij->hij", slopes, (key - query).float())


@mistake("alibi_bias", says="The absolute distance: j - i has a sign.")
def alibi_absolute(slopes, n):
    i = torch.arange(n)
    return -slopes[:, None, None] * (i[:, None] - i[None, :]).abs()


@mistake(
    "alibi_bias",
    says="The slopes line up with the keys instead of with the heads: their two new axes belong at the end.",
)
def alibi_wrong_side(slopes, n):
    i = torch.arange(n)
    return (slopes * (i[None, :] - i[:, None])[None]).expand(len(slopes), n, n)


@mistake("alibi_bias", says="The future is set to 0 here; hiding it is the causal mask's work.")
def alibi_clamped(slopes, n):
    i = torch.arange(n)
    return slopes[:, None, None] * (i[None, :] - i[:, None]).clamp(max=0)


@mistake("alibi_bias", says="Right, but by a Python loop over the heads: broadcast instead.")
def alibi_by_loop(slopes, n):
    i = torch.arange(n)
    return torch.stack([s * (i[None, :] - i[:, None]) for s in slopes])


# ---- last_states


@mistake("last_states", says="Off by one: the last token of `length` tokens has the index length - 1.")
def last_off_by_one(x, lengths):
    return x[torch.arange(len(x)), lengths.clamp(max=x.shape[1] - 1)]


@mistake("last_states", says="Off by one: a text that fills its row reads past the end. The last index is length - 1.")
def last_past_the_end(x, lengths):
    return x[torch.arange(len(x)), lengths]


@mistake("last_states", says="Always the last column: in shorter texts that is padding.")
def last_column(x, lengths):
    return x[:, -1]


@mistake(
    "last_states", says="x[:, index] crosses the two: every text gets every length. Give an index for the batch, too."
)
def last_crossed(x, lengths):
    return x[:, lengths - 1]


@alike("last_crossed")
def last_by_index_select(x, lengths):
    return torch.index_select(x, 1, (lengths - 1).long())


@mistake("last_states", says="Counted from the end of the padded row, not from the start of the text.")
def last_from_the_end(x, lengths):
    return x[torch.arange(len(x)), -lengths]


@mistake("last_states", says="gather without expanding its index over d: only the first feature comes out.")
def last_first_feature(x, lengths):
    return x.gather(1, (lengths - 1)[:, None, None])[:, 0]


@mistake("last_states", says="Right, but by a Python loop over the batch: index two axes at once.")
def last_by_loop(x, lengths):
    return torch.stack([row[n - 1] for row, n in zip(x, lengths.tolist())])


# ---- count_tokens


@mistake("count_tokens", says="counts[rows, ids] += 1 counts a repeated token once: all reads come before all writes.")
def counts_once(ids, vocab):
    counts = torch.zeros(len(ids), vocab, dtype=torch.int64)
    counts[torch.arange(len(ids))[:, None], ids] += 1
    return counts


@alike("counts_once")
def counts_by_scatter(ids, vocab):
    return torch.zeros(len(ids), vocab, dtype=torch.int64).scatter(1, ids, 1)


@mistake("count_tokens", says="As wide as the largest id that occurs, not as the vocabulary.")
def counts_width_of_the_batch(ids, vocab):
    width = int(ids.max()) + 1 if ids.numel() else vocab
    return torch.zeros(len(ids), width, dtype=torch.int64).scatter_add(1, ids, torch.ones_like(ids))


@mistake("count_tokens", says="All documents in one count: each row is a document of its own.")
def counts_of_all(ids, vocab):
    return torch.bincount(ids.flatten(), minlength=vocab).expand(len(ids), vocab)


@mistake("count_tokens", says="Shares instead of counts: divided by the length of the document.")
def counts_as_shares(ids, vocab):
    ones = torch.ones(ids.shape)
    return torch.zeros(len(ids), vocab).scatter_add(1, ids, ones / max(1, ids.shape[1]))


@mistake(
    "count_tokens",
    says="Offset by the length of a document instead of by the size of the vocabulary: the rows run together.",
)
def counts_wrong_offset(ids, vocab):
    docs, n = ids.shape
    flat = (ids + n * torch.arange(docs)[:, None]).flatten()
    return torch.bincount(flat, minlength=docs * max(n, vocab) + vocab)[: docs * vocab].reshape(docs, vocab)


@mistake("count_tokens", says="Right, but by a Python loop over the documents: one scatter_add does all.")
def counts_by_loop(ids, vocab):
    return torch.stack([torch.bincount(row, minlength=vocab) for row in ids])


# ---- linear_gradients


@mistake("linear_gradients", says="The factor 2 of the derivative of a square is missing.")
def linear_without_two(X, y, w, b):
    loss, dw, db = _linear(X, y, w, b)
    return loss, dw / 2, db / 2


@mistake("linear_gradients", says="The loss is a mean, but the gradients are sums: they are never divided by n.")
def linear_sums(X, y, w, b):
    r = X @ w + b - y
    return r.square().mean(), 2 * X.T @ r, 2 * r.sum()


@alike("linear_sums")
def linear_adds_row_by_row(X, y, w, b):
    loss, dw, db = 0.0, torch.zeros_like(w), torch.zeros_like(b)
    for row, target in zip(X, y):
        r = row @ w + b - target
        loss, dw, db = loss + r**2 / len(y), dw + 2 * r * row, db + 2 * r
    return loss, dw, db


@mistake("linear_gradients", says="dw is a sum over the rows: its 1/n is missing (db has it).")
def linear_dw_is_a_sum(X, y, w, b):
    loss, dw, db = _linear(X, y, w, b)
    return loss, dw * len(y), db


@mistake("linear_gradients", says="db is a sum over the rows: its 1/n is missing (dw has it).")
def linear_db_is_a_sum(X, y, w, b):
    loss, dw, db = _linear(X, y, w, b)
    return loss, dw, db * len(y)


@mistake("linear_gradients", says="db lacks the factor 2 of the derivative of a square (dw has it).")
def linear_db_without_two(X, y, w, b):
    loss, dw, db = _linear(X, y, w, b)
    return loss, dw, db / 2


@mistake("linear_gradients", says="dw is divided by the number of features; the mean is over the n rows.")
def linear_divides_by_features(X, y, w, b):
    loss, dw, db = _linear(X, y, w, b)
    return loss, dw * len(y) / X.shape[1], db


@mistake("linear_gradients", says="The loss is a sum of squares; it must be their mean.")
def linear_loss_is_a_sum(X, y, w, b):
    loss, dw, db = _linear(X, y, w, b)
    return loss * len(y), dw, db


@mistake("linear_gradients", says="Divided by n twice: once in the residual's gradient and once more at the end.")
def linear_divides_twice(X, y, w, b):
    loss, dw, db = _linear(X, y, w, b)
    return loss, dw / len(y), db / len(y)


@mistake(
    "linear_gradients",
    says="The bias is one number for all rows, so its gradient is summed over them; yours has n numbers.",
)
def linear_bias_not_summed(X, y, w, b):
    r = X @ w + b - y
    return r.square().mean(), 2 * X.T @ r / len(y), 2 * r / len(y)


@mistake("linear_gradients", says="The sign is turned: with y - prediction, a step *against* the gradient climbs.")
def linear_sign(X, y, w, b):
    loss, dw, db = _linear(X, y, w, b)
    return loss, -dw, -db


@mistake(
    "linear_gradients", says="A column minus a row is an (n, n) matrix: every prediction is compared with every target."
)
def linear_n_by_n(X, y, w, b):
    r = X @ w[:, None] + b - y  # (n, 1) - (n,)
    return r.square().mean(), 2 * X.T @ r.mean(1) / len(y), 2 * r.mean()


@alike("linear_n_by_n")
def linear_column_and_row(X, y, w, b):
    difference = torch.matmul(X, w.unsqueeze(-1)).add(b).sub(y.unsqueeze(0))
    mean = difference.mean(dim=-1)
    return torch.mean(difference**2), (2 * mean[:, None] * X).mean(0), 2 * mean.mean()


@mistake("linear_gradients", says="The bias is missing from the prediction.")
def linear_without_bias(X, y, w, b):
    return _linear(X, y, w, 0 * b)


@mistake("linear_gradients", says="y is changed in place (`y -= …`): the caller's targets are gone.")
def linear_in_place(X, y, w, b):
    y -= X @ w + b
    return y.square().mean(), -2 * X.T @ y / len(y), -2 * y.mean()


# ---- LinearRegression


@mistake("LinearRegression", of="LinearRegression.__init__", says="No bias: the line is forced through the origin.")
def model_without_bias(self, d):
    nn.Module.__init__(self)
    self.linear = nn.Linear(d, 1, bias=False)


@mistake(
    "LinearRegression",
    of="LinearRegression.__init__",
    says="super().__init__() is missing: nn.Module cannot register anything.",
)
def model_without_super(self, d):
    self.linear = nn.Linear(d, 1)


@mistake(
    "LinearRegression",
    of="LinearRegression.__init__",
    says="A tensor that requires a gradient is not a parameter: wrap it in nn.Parameter, or no optimizer and no checkpoint sees it.",
)
def model_unregistered(self, d):
    nn.Module.__init__(self)
    w, b = torch.randn(d, 1, requires_grad=True), torch.randn(1, requires_grad=True)
    self.linear = lambda X: X @ w + b


@alike("model_unregistered")
def model_of_plain_tensors(self, d):
    nn.Module.__init__(self)
    self.w, self.b = torch.randn(d, 1, requires_grad=True), torch.zeros(1, requires_grad=True)
    self.linear = lambda X: X @ self.w + self.b


@alike("model_unregistered")
def model_in_a_list(self, d):
    nn.Module.__init__(self)
    self.layers = [nn.Linear(d, 1)]
    self.linear = lambda X: self.layers[0](X)


@mistake(
    "LinearRegression",
    of="LinearRegression.forward",
    says="The layer is made in forward: new random weights at each call. Make it once, in __init__.",
)
def model_made_anew(self, X):
    return nn.Linear(X.shape[1], 1)(X)


@mistake(
    "LinearRegression",
    of="LinearRegression.forward",
    says="The last axis is squeezed away: the text asks for a column, (n, 1).",
)
def model_squeezed(self, X):
    return self.linear(X).squeeze(-1)


@mistake(
    "LinearRegression",
    of="LinearRegression.forward",
    says="The prediction is cut from the graph (no_grad, detach, .data): no gradient reaches the parameters.",
)
def model_detached(self, X):
    return self.linear(X).detach().requires_grad_()


@alike("model_detached")
def model_without_grad(self, X):
    with torch.no_grad():
        out = self.linear(X)
    return nn.Parameter(out)


@mistake(
    "LinearRegression",
    of="LinearRegression.forward",
    says="A ReLU at the end: a regression must be able to answer with negative numbers.",
)
def model_with_relu(self, X):
    return self.linear(X).relu()


# ---- fit


@mistake(
    "fit",
    says="(n, 1) - (n,) is (n, n), silently: each prediction is compared with every target, and the model learns their mean.",
)
def fit_n_by_n(model, X, y, lr, steps):
    return _fit(model, lr, steps, lambda: (model(X) - y).square().mean())


@alike("fit_n_by_n")
def fit_mse_loss_with_a_warning(model, X, y, lr, steps):
    return _fit(model, lr, steps, lambda: torch.mean((y - model.forward(X)) ** 2, dim=(0, 1)))


@mistake("fit", says="zero_grad is missing: every step adds all earlier gradients once more.")
def fit_without_zero_grad(model, X, y, lr, steps):
    return _fit(model, lr, steps, lambda: _mse(model, X, y), zero="never")


@alike("fit_without_zero_grad")
def fit_adds_gradients_up(model, X, y, lr, steps):
    losses, total = [], [0 if p.grad is None else p.grad.clone() for p in model.parameters()]
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(model(X).flatten(), y)
        new = torch.autograd.grad(loss, list(model.parameters()))
        total = [a + b for a, b in zip(total, new)]
        with torch.no_grad():
            for p, g in zip(model.parameters(), total):
                p -= lr * g
        losses.append(float(loss))
    for p, g in zip(model.parameters(), total):
        p.grad = g
    return losses


@mistake(
    "fit", says="The gradients are cleared only after each step: what the model brought along goes into the first one."
)
def fit_clears_too_late(model, X, y, lr, steps):
    return _fit(model, lr, steps, lambda: _mse(model, X, y), zero="after")


@mistake(
    "fit",
    says="When step comes there is no gradient: zero_grad stands between backward and step, or backward is missing.",
)
def fit_clears_before_the_step(model, X, y, lr, steps):
    return _fit(model, lr, steps, lambda: _mse(model, X, y), zero="before step")


@mistake("fit", says="The gradients are cleared once, before the loop: from the second step on they add up.")
def fit_clears_once(model, X, y, lr, steps):
    return _fit(model, lr, steps, lambda: _mse(model, X, y), zero="once")


@mistake(
    "fit",
    says="step comes before backward: each step goes along the gradient of the step before, the first along none.",
)
def fit_steps_first(model, X, y, lr, steps):
    optimizer, losses, grads = torch.optim.SGD(model.parameters(), lr=lr), [], None
    for _ in range(steps):
        optimizer.zero_grad()
        for p, g in zip(model.parameters(), grads or []):
            p.grad = g
        optimizer.step()
        optimizer.zero_grad()
        loss = _mse(model, X, y)
        loss.backward()
        grads = [p.grad.clone() for p in model.parameters()]
        losses.append(loss.item())
    return losses


@mistake("fit", says="The sum of the squares instead of their mean: n times the step that lr asks for.")
def fit_sum(model, X, y, lr, steps):
    return _fit(model, lr, steps, lambda: _mse(model, X, y) * len(y))


@mistake("fit", says="The loss is measured after the step; the list starts with the loss before any.")
def fit_measures_afterwards(model, X, y, lr, steps):
    return _fit(model, lr, steps + 1, lambda: _mse(model, X, y), moves=steps)[1:]


@alike("fit_clears_before_the_step")
def fit_without_backward(model, X, y, lr, steps):
    return [_mse(model, X, y).item() for _ in range(steps)]


@mistake("fit", says="One step too few.")
def fit_one_step_too_few(model, X, y, lr, steps):
    return _fit(model, lr, steps - 1, lambda: _mse(model, X, y))


@mistake("fit", says="It stops when the loss no longer falls; `steps` steps were asked for, and as many losses.")
def fit_stops_early(model, X, y, lr, steps):
    losses = []
    while len(losses) < steps:
        losses += _fit(model, lr, 1, lambda: _mse(model, X, y))
        if len(losses) > 1 and losses[-1] >= losses[-2]:
            break
    return losses


@mistake("fit", says="The list holds loss tensors with their graphs: memory grows with each step. Keep loss.item().")
def fit_keeps_graphs(model, X, y, lr, steps):
    return _fit(model, lr, steps, lambda: _mse(model, X, y), item=False)


@mistake("fit", says="Steps along the gradient instead of against it: the loss climbs.")
def fit_climbs(model, X, y, lr, steps):
    return _fit(model, -lr, steps, lambda: _mse(model, X, y))


# ---- arithmetic


@mistake(
    "arithmetic", of="Value.__mul__", says="Each factor gets its own value as derivative; it is the *other* one's."
)
def mul_own_value(self, other):
    other = self.of(other)
    return type(self)(self.data * other.data, ((self, self.data), (other, other.data)), "*")


@mistake("arithmetic", of="Value.__mul__", says="The second factor has no parent entry: nothing flows back to it.")
def mul_one_parent(self, other):
    other = self.of(other)
    return type(self)(self.data * other.data, ((self, other.data),), "*")


@mistake("arithmetic", of="Value.__mul__", says="A plain number has no .data: wrap it with Value.of first.")
def mul_without_wrapping(self, other):
    return type(self)(self.data * other.data, ((self, other.data), (other, self.data)), "*")


@mistake("arithmetic", of="Value.__add__", says="A value added to itself is one parent, not two: d(a + a)/da is 2.")
def add_merges_parents(self, other):
    other = self.of(other)
    return type(self)(self.data + other.data, tuple(dict.fromkeys([(self, 1.0), (other, 1.0)])), "+")


@mistake("arithmetic", of="Value.__add__", says="self is changed and returned: `a + b` must make a new value.")
def add_in_place(self, other):
    self.data += self.of(other).data
    return self


@mistake(
    "arithmetic",
    of="Value.__pow__",
    says="The power computes a number and forgets where it came from: no gradient flows through **.",
)
def pow_forgets_its_parent(self, exponent):
    return type(self)(self.data**exponent, (), "**")


@mistake("arithmetic", of="Value.__pow__", says="The derivative keeps the exponent: n · xⁿ instead of n · xⁿ⁻¹.")
def pow_keeps_the_exponent(self, exponent):
    return type(self)(self.data**exponent, ((self, exponent * self.data**exponent),), "**")


@alike("pow_keeps_the_exponent")
def pow_by_result(self, exponent):
    out = math.pow(self.data, exponent)
    return self.__class__(out, [(self, out * exponent)])


@mistake("arithmetic", of="Value.__pow__", says="The factor n is missing from the derivative of xⁿ.")
def pow_without_factor(self, exponent):
    return type(self)(self.data**exponent, ((self, self.data ** (exponent - 1)),), "**")


@mistake(
    "arithmetic", of="Value.__pow__", says="The derivative loses the sign of a negative base: x² falls where x < 0."
)
def pow_loses_the_sign(self, exponent):
    slope = exponent * abs(self.data) ** (exponent - 1)
    return type(self)(self.data**exponent, ((self, slope),), "**")


@mistake("arithmetic", of="Value.__pow__", says="n · xⁿ / x divides by zero at x = 0; n · xⁿ⁻¹ does not.")
def pow_by_division(self, exponent):
    out = self.data**exponent
    return type(self)(out, ((self, exponent * out / self.data),), "**")


@mistake("arithmetic", of="Value.__sub__", says="The derivative of a - b with respect to b is -1, not 1.")
def sub_like_add(self, other):
    other = self.of(other)
    return type(self)(self.data - other.data, ((self, 1.0), (other, 1.0)), "-")


@mistake(
    "arithmetic",
    of="Value.__rsub__",
    says="`2 - a` asks a for __rsub__(2): the number comes first, yours computes a - 2.",
)
def rsub_order(self, other):
    return self - other


@alike("rsub_order")
def rsub_is_sub(self, other):
    return self + (-other)


@mistake(
    "arithmetic",
    of="Value.__rsub__",
    says="`other - self` with a plain number asks self for __rsub__ again, for ever; wrap the number first: Value(other).",
)
def rsub_asks_itself(self, other):
    return other - self


@mistake(
    "arithmetic",
    of="Value.__truediv__",
    says="The derivative of a / b with respect to b is -a / b²; the minus is missing.",
)
def div_sign(self, other):
    other = self.of(other)
    a, b = self.data, other.data
    return type(self)(a / b, ((self, 1 / b), (other, a / b**2)), "/")


@mistake(
    "arithmetic", of="Value.__truediv__", says="The derivative of a / b with respect to b is -a / b²; yours is -a / b."
)
def div_without_square(self, other):
    other = self.of(other)
    a, b = self.data, other.data
    return type(self)(a / b, ((self, 1 / b), (other, -a / b)), "/")


@mistake(
    "arithmetic",
    of="Value.__rtruediv__",
    says="`2 / a` asks a for __rtruediv__(2): the number is divided, yours computes a / 2.",
)
def rdiv_order(self, other):
    return self / other


@mistake(
    "arithmetic",
    of="Value.__rtruediv__",
    says="`other / self` with a plain number asks self for __rtruediv__ again, for ever; wrap the number first.",
)
def rdiv_asks_itself(self, other):
    return other / self


# ---- functions


@mistake(
    "functions", of="Value.tanh", says="The derivative of tanh is taken at the input: 1 - x² instead of 1 - tanh(x)²."
)
def tanh_at_the_input(self):
    return type(self)(math.tanh(self.data), ((self, 1 - self.data**2),), "tanh")


@mistake("functions", of="Value.tanh", says="(e²ˣ - 1)/(e²ˣ + 1) overflows for large x; math.tanh does not.")
def tanh_overflows(self):
    e = math.exp(2 * self.data)
    t = (e - 1) / (e + 1)
    return type(self)(t, ((self, 1 - t * t),), "tanh")


@mistake("functions", of="Value.tanh", says="The square is missing: the derivative of tanh is 1 - tanh², not 1 - tanh.")
def tanh_without_square(self):
    t = math.tanh(self.data)
    return type(self)(t, ((self, 1 - t),), "tanh")


@mistake("functions", of="Value.exp", says="The derivative of exp is exp itself, the result; yours is the input.")
def exp_of_the_input(self):
    return type(self)(math.exp(self.data), ((self, self.data),), "exp")


@mistake("functions", of="Value.exp", says="That is the rule for powers, x · eˣ⁻¹; exp is its own derivative.")
def exp_like_a_power(self):
    return type(self)(math.exp(self.data), ((self, self.data * math.exp(self.data - 1)),), "exp")


@mistake("functions", of="Value.log", says="A logarithm to base 10 (or 2): log here is the natural one.")
def log_base_ten(self):
    return type(self)(math.log10(self.data), ((self, 1 / (self.data * math.log(10))),), "log")


@mistake("functions", of="Value.log", says="The derivative of log x is 1/x; yours is 1/log x.")
def log_of_the_result(self):
    out = math.log(self.data)
    return type(self)(out, ((self, 1 / out),), "log")


LITTLE_MORE = "A small number is added to keep log from 0: small arguments get a wrong value and a wrong slope."


@mistake("functions", of="Value.log", says=LITTLE_MORE)
def log_of_a_little_more(self):
    x = self.data + 1e-8
    return type(self)(math.log(x), ((self, 1 / x),), "log")


@mistake("functions", of="Value.log", says=LITTLE_MORE)
def log_of_very_little_more(self):
    x = self.data + 1e-12
    return type(self)(math.log(x), ((self, 1 / x),), "log")


@mistake(
    "functions", of="Value.relu", says="The gradient flows on the wrong side: it is 1 where the input is positive."
)
def relu_wrong_side(self):
    return type(self)(max(0.0, self.data), ((self, float(self.data < 0)),), "relu")


@mistake(
    "functions",
    of="Value.relu",
    says="The gradient flows for negative inputs as well: there the output is constant, so it is 0.",
)
def relu_always(self):
    return type(self)(max(0.0, self.data), ((self, 1.0),), "relu")


@alike("relu_always")
def relu_as_an_addition(self):
    return self + (max(0.0, self.data) - self.data)


@mistake("functions", of="Value.relu", says="At exactly 0 the derivative is 0 here, as in torch; >= makes it 1.")
def relu_at_zero(self):
    return type(self)(max(0.0, self.data), ((self, float(self.data >= 0)),), "relu")


@alike("relu_at_zero")
def relu_if_negative(self):
    return type(self)(0.0, ((self, 0.0),)) if self.data < 0 else self * 1


# ---- backward


@mistake(
    "backward",
    of="Value.backward",
    says="What arrives is assigned, not added: a value that is used twice keeps only the last.",
)
def backward_overwrites(self):
    order = _order(self)
    arrived = dict.fromkeys(order, 0.0) | {self: 1.0}
    for v in reversed(order):
        v.grad += arrived[v]
        for parent, d in v.parents:
            arrived[parent] = d * arrived[v]


@mistake(
    "backward",
    of="Value.backward",
    says="Breadth first is not topological: a value hands on its gradient before all of it has arrived.",
)
def backward_breadth_first(self):
    order = [self]
    for v in order:
        order += [p for p in dict.fromkeys(p for p, _ in v.parents) if p not in order]
    _push(order)


@mistake(
    "backward",
    of="Value.backward",
    says="Breadth first is not topological: a value hands on its .grad before all of it has arrived (and what an earlier pass left in it, too).",
)
def backward_breadth_first_into_grad(self):
    self.grad = 1.0
    queue, seen = [self], {self}
    for v in queue:
        for p, d in v.parents:
            p.grad += d * v.grad
            if p not in seen:
                seen.add(p)
                queue.append(p)


@mistake(
    "backward",
    of="Value.backward",
    says="A value that is used twice stands in the queue twice, and hands on its whole .grad each time.",
)
def backward_queue_without_seen(self):
    self.grad = 1.0
    queue = [self]
    for v in queue:
        for p, d in v.parents:
            p.grad += d * v.grad
            queue.append(p)


@mistake(
    "backward",
    of="Value.backward",
    says="Depth first on the way down (preorder): a value goes before others that still owe it a gradient. Note it after its parents, then reverse.",
)
def backward_preorder(self):
    order, seen, stack = [], set(), [self]
    while stack:
        v = stack.pop()
        if v not in seen:
            seen.add(v)
            order.append(v)
            stack.extend(p for p, _ in v.parents)
    _push(order)


@mistake(
    "backward",
    of="Value.backward",
    says="Every path is walked: right, but the number of paths doubles with each reuse. Visit each value once.",
)
def backward_every_path(self):
    stack = [(self, 1.0)]
    while stack:
        v, weight = stack.pop()
        v.grad += weight
        stack.extend((p, weight * d) for p, d in v.parents)


@mistake(
    "backward",
    of="Value.backward",
    says="The recursion is as deep as the graph: Python stops it at a thousand. Keep a stack of your own.",
)
def backward_recursive(self):
    order, seen = [], set()

    def visit(v):
        if v not in seen:
            seen.add(v)
            for p, _ in v.parents:
                visit(p)
            order.append(v)

    visit(self)
    _push(order[::-1])


@mistake(
    "backward",
    of="Value.backward",
    says="Still recursive: a higher limit only moves the end, and a deep enough graph takes the interpreter with it.",
)
def backward_raises_the_limit(self):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        backward_recursive(self)
    finally:
        sys.setrecursionlimit(limit)


@alike("backward_recursive")
def backward_recursive_on_names(self):
    done, ready = {}, []

    def walk(node):
        done[id(node)] = True
        for parent, _ in node.parents:
            if id(parent) not in done:
                walk(parent)
        ready.insert(0, node)

    walk(self)
    arrived = {id(node): 0.0 for node in ready}
    arrived[id(self)] = 1.0
    for node in ready:
        node.grad = node.grad + arrived[id(node)]
        for parent, local in node.parents:
            arrived[id(parent)] += local * arrived[id(node)]


@mistake(
    "backward",
    of="Value.backward",
    says="A second pass starts from what the first left in .grad of the values between: it adds too much.",
)
def backward_compounds(self):
    self.grad = 1.0
    for v in reversed(_order(self)):
        for p, d in v.parents:
            p.grad += d * v.grad


@alike("backward_compounds")
def backward_as_in_micrograd(self):
    waiting = {}
    for v in _order(self):
        for p, _ in v.parents:
            waiting[p] = waiting.get(p, 0) + 1
    self.grad, ready = 1.0, [self]
    while ready:
        v = ready.pop()
        for p, d in v.parents:
            p.grad = p.grad + v.grad * d
            waiting[p] -= 1
            if not waiting[p]:
                ready.append(p)


@mistake(
    "backward", of="Value.backward", says="Gradients are set to zero first: a second pass must add to what is there."
)
def backward_starts_anew(self):
    order = _order(self)
    for v in order:
        v.grad = 0.0
    _push(order[::-1])


@mistake(
    "backward",
    of="Value.backward",
    says="The values in between, or the result, start from zero at each pass: every .grad must add up, not the inputs' alone.",
)
def backward_forgets_between(self):
    order = _order(self)
    for v in order:
        if v.parents:
            v.grad = 0.0
    _push(order[::-1])


@mistake(
    "backward",
    of="Value.backward",
    says="The same parent twice (a * a) is handed its gradient once: `parents` is a list of pairs, not a dict.",
)
def backward_parents_as_dict(self):
    order = _order(self)
    arrived = dict.fromkeys(order, 0.0) | {self: 1.0}
    for v in reversed(order):
        v.grad += arrived[v]
        for p, d in dict(v.parents).items():
            arrived[p] += d * arrived[v]


@mistake(
    "backward", of="Value.backward", says="The derivative of the result with respect to itself is 1, not its value."
)
def backward_from_the_value(self):
    order = _order(self)
    arrived = dict.fromkeys(order, 0.0) | {self: self.data}
    for v in reversed(order):
        v.grad += arrived[v]
        for p, d in v.parents:
            arrived[p] += d * arrived[v]


@mistake(
    "backward",
    of="Value.backward",
    says="The local derivatives are added along the path; the chain rule multiplies them.",
)
def backward_without_the_chain(self):
    order = _order(self)
    order[-1].grad += 1.0
    for v in reversed(order):
        for p, d in v.parents:
            p.grad += d


@mistake("backward", of="Value.backward", says="The result's own .grad stays 0; d out / d out is 1.")
def backward_skips_itself(self):
    before = self.grad
    _push(_order(self)[::-1])
    self.grad = before


@mistake(
    "backward",
    of="Value.backward",
    says="Only the inputs and the result get a gradient; here the values in between get theirs, too.",
)
def backward_leaves_only(self):
    between = [v for v in _order(self) if v.parents and v is not self]
    before = [v.grad for v in between]
    _push(_order(self)[::-1])
    for v, old in zip(between, before):
        v.grad = old


# ---- mlp_gradients


@mistake("mlp_gradients", says="The loss is a mean over the batch, but the gradients are sums: never divided by n.")
def mlp_sums(X, y, *parameters):
    loss, grads = _mlp(X, y, *parameters)
    return loss, tuple(g * len(y) for g in grads)


@alike("mlp_sums")
def mlp_example_by_example(X, y, W1, b1, W2, b2):
    total, loss = [torch.zeros_like(p) for p in (W1, b1, W2, b2)], 0.0
    for x, k in zip(X, y.tolist()):
        h = torch.tanh(x @ W1 + b1)
        logits = h @ W2 + b2
        error = logits.softmax(0) - torch.eye(len(b2))[k]
        back = torch.mv(W2, error) * (1 - h * h)
        total = [a + b for a, b in zip(total, (torch.outer(x, back), back, torch.outer(h, error), error))]
        loss = loss + (logits.logsumexp(0) - logits[k]) / len(y)
    return loss, tuple(total)


@mistake("mlp_gradients", says="Divided by n twice: in dlogits and once more in the weights.")
def mlp_divides_twice(X, y, *parameters):
    loss, grads = _mlp(X, y, *parameters)
    return loss, tuple(g / len(y) for g in grads)


@mistake("mlp_gradients", says="The loss is a sum over the batch; it must be its mean.")
def mlp_loss_is_a_sum(X, y, *parameters):
    loss, grads = _mlp(X, y, *parameters)
    return loss * len(y), grads


@mistake("mlp_gradients", says="The weight gradients are transposed: dW has the shape of W.")
def mlp_transposed(X, y, *parameters):
    loss, (dW1, db1, dW2, db2) = _mlp(X, y, *parameters)
    return loss, (dW1.T, db1, dW2.T, db2)


@mistake(
    "mlp_gradients",
    says="The bias gradients have a row for each example: a bias is shared by the batch, so sum over it.",
)
def mlp_bias_not_summed(X, y, W1, b1, W2, b2):
    loss, (dW1, _, dW2, _), dlogits, dz = _mlp_parts(X, y, W1, b1, W2, b2)
    return loss, (dW1, dz, dW2, dlogits)


@mistake(
    "mlp_gradients",
    says="The bias gradients are averaged over the batch; the mean is in dlogits already, so they are summed.",
)
def mlp_bias_averaged(X, y, W1, b1, W2, b2):
    loss, (dW1, _, dW2, _), dlogits, dz = _mlp_parts(X, y, W1, b1, W2, b2)
    return loss, (dW1, dz.mean(0), dW2, dlogits.mean(0))


@mistake(
    "mlp_gradients",
    says="p is divided by n, but the 1 of the target is not: (p - onehot) / n divides both.",
)
def mlp_target_not_divided(X, y, W1, b1, W2, b2):
    return _mlp(X, y, W1, b1, W2, b2, target=float(len(y)))


@mistake(
    "mlp_gradients",
    says="db1 is summed before the tanh's derivative: the bias stands inside the tanh, so sum dz, not dhidden.",
)
def mlp_db1_outside_the_tanh(X, y, W1, b1, W2, b2):
    loss, (dW1, _, dW2, db2), dlogits, _ = _mlp_parts(X, y, W1, b1, W2, b2)
    return loss, (dW1, (dlogits @ W2.T).sum(0), dW2, db2)


@mistake("mlp_gradients", says="The derivative of tanh is taken at its input: 1 - z² instead of 1 - tanh(z)².")
def mlp_tanh_at_the_input(X, y, W1, b1, W2, b2):
    return _mlp(X, y, W1, b1, W2, b2, slope=lambda z, h: 1 - z.square())


@alike("mlp_tanh_at_the_input")
def mlp_tanh_prime_of_z(X, y, W1, b1, W2, b2):
    z1 = torch.addmm(b1, X, W1)
    z2 = torch.addmm(b2, torch.tanh(z1), W2)
    loss = nn.functional.cross_entropy(z2, y)
    delta2 = (z2.softmax(1) - torch.eye(z2.shape[1])[y]) / y.shape[0]
    delta1 = torch.einsum("nc,hc->nh", delta2, W2) * (1 - z1**2)
    return loss, (X.t() @ delta1, delta1.sum(0), torch.tanh(z1).t() @ delta2, delta2.sum(0))


@mistake("mlp_gradients", says="The derivative of tanh is missing on the way back to the first layer.")
def mlp_without_tanh_slope(X, y, W1, b1, W2, b2):
    return _mlp(X, y, W1, b1, W2, b2, slope=lambda z, h: torch.ones_like(z))


@mistake("mlp_gradients", says="That is ReLU's derivative, (z > 0); this layer is a tanh.")
def mlp_relu_slope(X, y, W1, b1, W2, b2):
    return _mlp(X, y, W1, b1, W2, b2, slope=lambda z, h: (z > 0).float())


@mistake("mlp_gradients", says="The softmax overflows: subtract the maximum, or use log_softmax.")
def mlp_overflows(X, y, W1, b1, W2, b2):
    e = ((X @ W1 + b1).tanh() @ W2 + b2).exp()
    p = e / e.sum(1, keepdim=True)
    return -p[torch.arange(len(y)), y].log().mean(), _mlp(X, y, W1, b1, W2, b2, p=p)[1]


@mistake(
    "mlp_gradients",
    says="log(softmax) of a class that is far behind is -inf, and so is the loss. log_softmax keeps the number.",
)
def mlp_log_of_underflow(X, y, W1, b1, W2, b2):
    p = ((X @ W1 + b1).tanh() @ W2 + b2).softmax(1)
    return -p[torch.arange(len(y)), y].log().mean(), _mlp(X, y, W1, b1, W2, b2)[1]


@mistake("mlp_gradients", says="The softmax runs over the batch (dim=0) instead of over the classes.")
def mlp_softmax_over_the_batch(X, y, W1, b1, W2, b2):
    log_p = ((X @ W1 + b1).tanh() @ W2 + b2).log_softmax(0)
    return -log_p[torch.arange(len(y)), y].mean(), _mlp(X, y, W1, b1, W2, b2, p=log_p.exp())[1]


@mistake("mlp_gradients", says="The gradient at the logits is p - one-hot; yours is p alone: the targets have no say.")
def mlp_without_targets(X, y, W1, b1, W2, b2):
    return _mlp(X, y, W1, b1, W2, b2, target=0.0)


@mistake("mlp_gradients", says="The sign is turned: one-hot - p is the direction to go, not the gradient.")
def mlp_sign(X, y, *parameters):
    loss, grads = _mlp(X, y, *parameters)
    return loss, tuple(-g for g in grads)


@mistake(
    "mlp_gradients", says="dW2 is built from the values before the tanh; the second layer saw the values after it."
)
def mlp_before_the_tanh(X, y, W1, b1, W2, b2):
    loss, (dW1, db1, _, db2), dlogits, _ = _mlp_parts(X, y, W1, b1, W2, b2)
    return loss, (dW1, db1, (X @ W1 + b1).T @ dlogits, db2)


@mistake(
    "mlp_gradients", says="p[:, y] -= 1 subtracts from every row at every target; p[arange(n), y] pairs row and target."
)
def mlp_crossed_targets(X, y, W1, b1, W2, b2):
    p = ((X @ W1 + b1).tanh() @ W2 + b2).softmax(1)
    crossed = p.clone()
    crossed[:, y] -= 1
    return _mlp(X, y, W1, b1, W2, b2)[0], _mlp(X, y, W1, b1, W2, b2, p=crossed, target=0.0)[1]


@mistake("mlp_gradients", says="The second bias is missing from the forward pass.")
def mlp_without_second_bias(X, y, W1, b1, W2, b2):
    return _mlp(X, y, W1, b1, W2, 0 * b2)


@mistake("mlp_gradients", says="t_() transposes the caller's W2 itself; .T gives a view and leaves it alone.")
def mlp_transposes_in_place(X, y, W1, b1, W2, b2):
    made = _mlp(X, y, W1, b1, W2, b2)
    W2.t_()
    return made


# ---- the parts they share


def _linear(X, y, w, b):
    r = X @ w + b - y
    return r.square().mean(), 2 * X.T @ r / len(y), 2 * r.mean()


def _mse(model, X, y):
    return (model(X)[:, 0] - y).square().mean()


def _fit(model, lr, steps, loss_of, zero="first", item=True, moves=None):
    losses = []
    parameters = list(model.parameters())
    if zero == "once":
        model.zero_grad()
    for i in range(steps):
        if zero == "first":
            model.zero_grad()
        loss = loss_of()
        loss.backward()
        if zero == "before step":
            model.zero_grad(set_to_none=False)
        with torch.no_grad():
            for p in parameters if moves is None or i < moves else []:
                p -= lr * p.grad
        if zero == "after":
            model.zero_grad()
        losses.append(loss.item() if item else loss)
    return losses


def _order(value):
    order, seen, stack = [], set(), [(value, False)]
    while stack:
        v, finished = stack.pop()
        if finished:
            order.append(v)
        elif v not in seen:
            seen.add(v)
            stack.append((v, True))
            stack.extend((p, False) for p, _ in v.parents)
    return order


def _push(order):
    arrived = dict.fromkeys(order, 0.0) | {order[0]: 1.0}
    for v in order:
        v.grad += arrived[v]
        for p, d in v.parents:
            arrived[p] += d * arrived[v]


def _mlp(X, y, W1, b1, W2, b2, **how):
    return _mlp_parts(X, y, W1, b1, W2, b2, **how)[:2]


def _mlp_parts(X, y, W1, b1, W2, b2, slope=lambda z, h: 1 - h.square(), p=None, target=1.0):
    n, z = len(y), X @ W1 + b1
    h = z.tanh()
    log_p = (h @ W2 + b2).log_softmax(1)
    dlogits = log_p.exp() if p is None else p.clone()
    dlogits[torch.arange(n), y] -= target
    dlogits = dlogits / n
    dz = dlogits @ W2.T * slope(z, h)
    return -log_p[torch.arange(n), y].mean(), (X.T @ dz, dz.sum(0), h.T @ dlogits, dlogits.sum(0)), dlogits, dz
