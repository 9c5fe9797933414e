"""What lab 1.4 must do.  The same file judges lab.py, solution.py and every submission.

It runs outside the process that holds the lab: `lab.f(x)` sends copies and gets plain values back; a Value or a model
stays there, and the spec holds a handle to it.  What has to be measured beside the lab (steps, strides, side effects)
is measured by a *probe*, which knows no expected value.  Oracles: Python loops for the puzzles, float64 autograd and
finite differences for gradients, a sum over all paths of a graph for the engine's derivatives.
"""

import math
import re
import sys

import numpy as np
import torch

from labkit.count import Operations
from labkit.spec import check, task


def size(rng, low, high):
    """A size from low to high."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def normal(rng, *shape):
    return torch.randn(shape, generator=rng)


def integers(rng, high, *shape):
    return torch.randint(high, shape, generator=rng)


def no_loop(lab, name, few, many):
    """The same call at two sizes.  A Python loop takes more instructions for more data, a tensor operation does not."""
    check.less(
        lab.probe(further_steps, name, few, many), 100, why="further steps for larger tensors: is there a Python loop?"
    )


def unchanged(lab, name, *arguments):
    check.equal(lab.probe(changed, name, *arguments), [], why="your function changed these arguments (0 is the first)")


# ---- ten puzzles


@task("causal_mask")
def test_every_small_causal_mask(lab):
    for n in (1, 2, 3, 7):
        want = torch.tensor([[j <= i for j in range(n)] for i in range(n)])
        check.equal(lab.causal_mask(n), want, why=f"n = {n}")
    check.equal([*lab.causal_mask(0).shape], [0, 0], why="no position at all")


@task("causal_mask")
def test_causal_mask_has_no_loop(lab):
    no_loop(lab, "causal_mask", [3], [60])


@task("one_hot")
def test_one_hot_values(lab, rng):
    for shape in ((size(rng, 4, 6),), (2, 3), (2, 1, 4), (0,)):
        classes = size(rng, 7, 9)
        ids = integers(rng, classes - 2, *shape)  # the last classes never occur
        want = torch.zeros(*shape, classes)
        for place in np.ndindex(*shape):
            want[(*place, int(ids[place]))] = 1.0
        check.close(lab.one_hot(ids, classes), want, why=f"ids of shape {shape}, {classes} classes")
    check.close(lab.one_hot(torch.tensor([0, 6]), 7).sum(0)[[0, 6]], torch.ones(2), why="the first and the last class")


@task("one_hot")
def test_one_hot_as_wide_as_long(lab, rng):
    ids = torch.randperm(5, generator=rng).roll(1)
    check.close(lab.one_hot(ids, 5), torch.eye(5)[ids.tolist()], why="as many ids as classes: which axis is which?")


@task("one_hot")
def test_one_hot_has_no_loop(lab, rng):
    no_loop(lab, "one_hot", [integers(rng, 3, 3), 3], [integers(rng, 3, 60), 60])


@task("pairwise_distances")
def test_distances(lab, rng):
    for n, m, d in ((size(rng, 2, 4), size(rng, 5, 7), size(rng, 8, 10)), (1, 3, 2), (3, 1, 1), (0, 4, 2)):
        a, b = normal(rng, n, d), normal(rng, m, d)
        want = torch.tensor([[math.dist(x, y) for y in b.tolist()] for x in a.tolist()]).reshape(n, m)
        check.close(lab.pairwise_distances(a, b), want, why=f"{n} rows against {m}, d = {d}")


@task("pairwise_distances")
def test_distances_of_a_set_to_itself(lab, rng):
    a = normal(rng, 4, 3)
    want = torch.tensor([[math.dist(x, y) for y in a.tolist()] for x in a.tolist()])
    check.close(lab.pairwise_distances(a, a), want, why="a against itself: zeros on the diagonal")


@task("pairwise_distances")
def test_distances_far_from_the_origin(lab, rng):
    a, b = (integers(rng, 9, n, 3).float() + 4096 for n in (4, 6))
    want = torch.tensor([[math.dist(x, y) for y in b.tolist()] for x in a.tolist()])
    check.close(lab.pairwise_distances(a, b), want, why="points that are close together, around 4096")


@task("pairwise_distances")
def test_distances_have_no_loop(lab, rng):
    few, many = ([normal(rng, n, k), normal(rng, n + 1, k)] for n, k in ((2, 3), (20, 40)))
    no_loop(lab, "pairwise_distances", few, many)


def softmax(row):
    top = max(row)
    e = [math.exp(x - top) for x in row]
    return [x / sum(e) for x in e]


def compare_softmax(lab, scores, why):
    check.close(lab.row_softmax(scores), torch.tensor([softmax(row) for row in scores.tolist()]), why=why)


@task("row_softmax")
def test_softmax_values(lab, rng):
    for n, m in ((size(rng, 2, 4), size(rng, 5, 8)), (6, 3), (4, 1), (1, 5)):
        compare_softmax(lab, 2 * normal(rng, n, m), f"{n} rows of {m}")


@task("row_softmax")
def test_softmax_of_a_square(lab, rng):
    compare_softmax(lab, 2 * normal(rng, 5, 5), "as many rows as columns: which sum belongs to which?")


@task("row_softmax")
def test_softmax_of_large_scores(lab, rng):
    compare_softmax(lab, (4 * normal(rng, 3, 5)).round() + 1000, "scores around 1000")
    rows = torch.tensor([[500.0], [0.0], [-500.0]])
    compare_softmax(lab, normal(rng, 3, 4).round() + rows, "rows that lie 500 apart")


@task("row_softmax")
def test_softmax_of_hidden_scores(lab, rng):
    scores = normal(rng, 3, 6)
    scores[:, 2], scores[1, :2] = -math.inf, -math.inf
    compare_softmax(lab, scores, "some scores are -inf")


@task("row_softmax")
def test_softmax_leaves_the_scores_alone(lab, rng):
    unchanged(lab, "row_softmax", normal(rng, 3, 4))


@task("row_softmax")
def test_softmax_has_no_loop(lab, rng):
    no_loop(lab, "row_softmax", [normal(rng, 3, 4)], [normal(rng, 60, 70)])


def compare_log_probs(lab, logits, targets, why):
    want = torch.zeros(targets.shape)
    for place in np.ndindex(*targets.shape):
        row = logits[place].tolist()
        top = max(row)
        want[place] = row[targets[place]] - top - math.log(sum(math.exp(x - top) for x in row))
    check.close(lab.target_log_probs(logits, targets), want, why=why)


@task("target_log_probs")
def test_log_probs(lab, rng):
    for batch, time, vocab in ((size(rng, 2, 3), size(rng, 4, 5), size(rng, 7, 9)), (1, 3, 5), (4, 1, 2), (3, 0, 5)):
        logits = 2 * normal(rng, batch, time, vocab)
        compare_log_probs(lab, logits, integers(rng, vocab, batch, time), f"batch {batch}, time {time}, vocab {vocab}")


@task("target_log_probs")
def test_log_probs_of_a_cube(lab, rng):
    compare_log_probs(lab, 2 * normal(rng, 4, 4, 4), integers(rng, 4, 4, 4), "all sizes equal: which axis is which?")


@task("target_log_probs")
def test_log_probs_of_the_unlikely(lab, rng):
    logits = 300 * normal(rng, 2, 3, 6).round()
    compare_log_probs(lab, logits, logits.argmin(-1), "the least likely tokens, hundreds below the best")


@task("target_log_probs")
def test_log_probs_have_no_loop(lab, rng):
    few, many = ([normal(rng, b, t, 5), integers(rng, 5, b, t)] for b, t in ((2, 3), (30, 40)))
    no_loop(lab, "target_log_probs", few, many)


@task("sliding_windows")
def test_windows(lab, rng):
    n = size(rng, 7, 11)
    ids = integers(rng, 1000, n)
    for width in (1, 2, 3, n - 1, n):
        want = torch.tensor([ids[i : i + width].tolist() for i in range(n - width + 1)])
        check.equal(lab.sliding_windows(ids, width), want, why=f"{n} ids, windows of {width}")


@task("sliding_windows")
def test_windows_of_strided_ids(lab, rng):
    table = integers(rng, 1000, 9, 3)
    want = torch.tensor([table[i : i + 4, 1].tolist() for i in range(6)])
    check.equal(lab.probe(windows_of_a_column, table, 1, 4), want, why="ids that are a column of a table, width 4")


@task("sliding_windows")
def test_windows_are_a_view(lab, rng):
    shared = lab.probe(shares_memory, "sliding_windows", integers(rng, 1000, 50), 7)
    check.equal(shared, True, why="the windows and the ids share their memory")


@task("sliding_windows")
def test_windows_have_no_loop(lab, rng):
    no_loop(lab, "sliding_windows", [integers(rng, 9, 8), 3], [integers(rng, 9, 90), 40])


def compare_mean(lab, x, mask, why):
    want = torch.zeros(x.shape[0], x.shape[2])
    for b in range(len(x)):
        rows = [x[b, t].double() for t in range(x.shape[1]) if mask[b, t]]
        if rows:
            want[b] = sum(rows) / len(rows)
    check.close(lab.masked_mean(x, mask), want, why=why)


def draw_mask(rng, batch, time):
    mask = torch.rand(batch, time, generator=rng) > 0.4
    mask[:, 0], mask[0, -1] = True, False  # rows of different counts, none empty
    return mask


@task("masked_mean")
def test_mean_values(lab, rng):
    for batch, time, d in ((size(rng, 2, 3), size(rng, 4, 6), size(rng, 7, 9)), (3, 4, 1), (2, 2, 5)):
        compare_mean(
            lab, normal(rng, batch, time, d), draw_mask(rng, batch, time), f"batch {batch}, time {time}, d {d}"
        )


@task("masked_mean")
def test_mean_of_a_cube(lab, rng):
    compare_mean(
        lab, normal(rng, 4, 4, 4), draw_mask(rng, 4, 4), "all sizes equal: which axis does the mask belong to?"
    )


@task("masked_mean")
def test_mean_of_nothing(lab, rng):
    mask = draw_mask(rng, 3, 5)
    mask[1] = False
    compare_mean(lab, normal(rng, 3, 5, 2), mask, "row 1 is all padding: zeros")


@task("masked_mean")
def test_zeros_count(lab, rng):
    x, mask = normal(rng, 3, 5, 4).round(), draw_mask(rng, 3, 5)
    x[:, 0], x[:, :, 1] = 0.0, 0.0
    compare_mean(lab, x, mask, "zeros where the mask is True")


@task("masked_mean")
def test_padding_may_hold_anything(lab, rng):
    x, mask = normal(rng, 2, 5, 3), draw_mask(rng, 2, 5)
    x[~mask] = math.nan
    compare_mean(lab, x, mask, "NaN in the padding")


@task("masked_mean")
def test_mean_leaves_its_arguments_alone(lab, rng):
    unchanged(lab, "masked_mean", normal(rng, 3, 5, 2), draw_mask(rng, 3, 5))


@task("masked_mean")
def test_mean_has_no_loop(lab, rng):
    few, many = ([normal(rng, b, t, 2), draw_mask(rng, b, t)] for b, t in ((2, 3), (30, 40)))
    no_loop(lab, "masked_mean", few, many)


@task("alibi_bias")
def test_alibi(lab, rng):
    for heads, n in ((size(rng, 2, 3), size(rng, 5, 8)), (1, 3), (4, 4), (3, 1)):
        slopes = torch.rand(heads, generator=rng) + 0.1
        want = torch.tensor([[[s * (j - i) for j in range(n)] for i in range(n)] for s in slopes.tolist()])
        check.close(lab.alibi_bias(slopes, n), want, why=f"{heads} heads, {n} positions")


@task("alibi_bias")
def test_alibi_has_no_loop(lab, rng):
    no_loop(lab, "alibi_bias", [normal(rng, 2), 3], [normal(rng, 40), 50])


@task("last_states")
def test_last_states(lab, rng):
    for batch, time, d in ((size(rng, 3, 4), size(rng, 5, 7), size(rng, 8, 9)), (4, 4, 4), (1, 6, 2), (5, 1, 3)):
        x, lengths = normal(rng, batch, time, d), integers(rng, time, batch) + 1
        lengths[0] = 1 + time // 2
        want = torch.stack([x[b, int(lengths[b]) - 1] for b in range(batch)])
        check.close(lab.last_states(x, lengths), want, why=f"batch {batch}, time {time}, d {d}")


@task("last_states")
def test_last_states_of_full_rows(lab, rng):
    x = normal(rng, 3, 5, 2)
    check.close(lab.last_states(x, torch.tensor([5, 1, 5])), x[[0, 1, 2], [4, 0, 4]], why="lengths 5, 1 and 5 of 5")


@task("last_states")
def test_last_states_have_no_loop(lab, rng):
    few, many = ([normal(rng, b, 5, 3), integers(rng, 5, b) + 1] for b in (3, 60))
    no_loop(lab, "last_states", few, many)


@task("count_tokens")
def test_counts(lab, rng):
    for docs, n, vocab in ((size(rng, 2, 4), size(rng, 9, 14), size(rng, 5, 7)), (1, 6, 3), (3, 3, 3), (2, 0, 4)):
        ids = integers(rng, vocab - 1, docs, n)  # the last token never occurs
        want = torch.tensor([[row.count(token) for token in range(vocab)] for row in ids.tolist()])
        check.close(lab.count_tokens(ids, vocab), want, why=f"{docs} documents of {n} tokens, vocabulary {vocab}")


@task("count_tokens")
def test_counts_of_one_word(lab):
    want = torch.tensor([[0, 4, 0], [0, 0, 4]])
    check.close(lab.count_tokens(torch.tensor([[1] * 4, [2] * 4]), 3), want, why="the same token four times")


@task("count_tokens")
def test_counts_have_no_loop(lab, rng):
    no_loop(lab, "count_tokens", [integers(rng, 3, 2, 3), 3], [integers(rng, 3, 40, 50), 60])


# ---- linear regression


def draw_regression(rng, n, d):
    """Features of different scale, targets with noise, parameters away from zero."""
    X = normal(rng, n, d) * torch.linspace(0.5, 2.0, d)
    return X, X @ normal(rng, d) + 1.5 + 0.3 * normal(rng, n), normal(rng, d), normal(rng) + 2


def compare_gradients(got, want, names, why):
    """A loss and its gradients; a loss may be a number or a tensor with one element."""
    loss, gradients = got
    check.close(number(loss), number(want[0]), why=f"{why}: the loss", rtol=1e-4, atol=1e-5)
    for name, mine, true in zip(names, gradients, want[1]):
        mine = torch.as_tensor(mine)
        if true.ndim == 0 and mine.numel() == 1:
            check.close(number(mine), number(true), why=f"{why}: {name}", rtol=1e-4, atol=1e-5)
        else:
            check.close(mine, true.float(), why=f"{why}: {name}")


def number(x):
    return float(x.detach() if isinstance(x, torch.Tensor) else x)


def by_autograd(loss, *parameters):
    """The same in float64, by torch."""
    parameters = [p.double().requires_grad_() for p in parameters]
    value = loss(*parameters)
    return value.detach(), torch.autograd.grad(value, parameters)


def squared_error(X, y):
    """The mean squared error in float64, as a function of the parameters."""
    return lambda w, b: ((X.double() @ w + b - y.double()) ** 2).mean()


@task("linear_gradients")
def test_linear_gradients_by_hand(lab):
    """Two points on a line: residuals 1 and 3, loss (1 + 9)/2, dw = 2·(1·1 + 2·3)/2, db = 2·(1 + 3)/2."""
    X, y = torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 1.0])
    loss, dw, db = lab.linear_gradients(X, y, torch.tensor([2.0]), torch.tensor(0.0))
    want = torch.tensor(5.0), (torch.tensor([7.0]), torch.tensor(4.0))
    compare_gradients((loss, (dw, db)), want, ("dw", "db"), "residuals 1 and 3")


@task("linear_gradients")
def test_linear_gradients(lab, rng):
    for n, d in ((size(rng, 6, 9), size(rng, 2, 4)), (3, 5), (4, 4), (1, 2)):
        X, y, w, b = draw_regression(rng, n, d)
        loss, dw, db = lab.linear_gradients(X, y, w, b)
        want = by_autograd(squared_error(X, y), w, b)
        compare_gradients((loss, (dw, db)), want, ("dw", "db"), f"{n} rows, {d} features")


@task("linear_gradients")
def test_linear_gradients_by_finite_differences(lab, rng):
    """The slope of the loss itself, along a random direction, in float64."""
    X, y, w, b = (x.double() for x in draw_regression(rng, 7, 3))
    _, dw, db = lab.linear_gradients(X, y, w, b)
    step = torch.randn(3, generator=rng).double()
    up, down = (number(lab.linear_gradients(X, y, w + e * step, b + e)[0]) for e in (1e-4, -1e-4))
    slope = number((torch.as_tensor(dw) * step).sum()) + number(db)
    check.close(slope, (up - down) / 2e-4, why="your gradients against the slope of your loss", rtol=1e-5, atol=1e-7)


@task("linear_gradients")
def test_linear_gradients_vanish_at_least_squares(lab, rng):
    X, y, _, _ = draw_regression(rng, 30, 3)
    best = np.linalg.lstsq(np.c_[X.numpy(), np.ones(30)].astype(float), y.numpy().astype(float), rcond=None)[0]
    _, dw, db = lab.linear_gradients(X.double(), y.double(), torch.tensor(best[:3]), torch.tensor(best[3]))
    check.close(torch.as_tensor(dw), torch.zeros(3).double(), why="dw at the least-squares solution", atol=1e-6)
    check.close(number(db), 0.0, why="db at the least-squares solution", atol=1e-6)


@task("linear_gradients")
def test_linear_gradients_leave_their_arguments_alone(lab, rng):
    unchanged(lab, "linear_gradients", *draw_regression(rng, 5, 3))


def parameters_of(model, d):
    """w and b of a linear model, by asking it: its answers at 0 and at each unit vector."""
    b = model(torch.zeros(1, d)).double()[0, 0]
    return model(torch.eye(d)).double()[:, 0] - b, b


@task("LinearRegression")
def test_model_answers_with_a_column(lab, rng):
    n, d = size(rng, 5, 8), size(rng, 2, 4)
    model, X = lab.LinearRegression(d), normal(rng, n, d)
    out = model(X)
    check.equal([*out.shape], [n, 1], why="the shape of the predictions")
    check.close(model(X), out, why="the same model and the same rows, asked twice")


@task("LinearRegression")
def test_model_is_linear_with_a_bias(lab, rng):
    d = size(rng, 3, 5)
    model, X = lab.LinearRegression(d), 10 * normal(rng, 6, d)
    X = torch.cat([X, -X])  # answers of both signs, whatever the bias is
    w, b = parameters_of(model, d)
    check.close(model(X).double()[:, 0], X.double() @ w + b, why="Xw + b, whatever w and b are", rtol=1e-4, atol=1e-4)


@task("LinearRegression")
def test_model_registers_its_parameters(lab, rng):
    d = size(rng, 3, 5)
    model = lab.LinearRegression(d)
    total = sum(x.numel() for x in model.state_dict().values())
    check.equal(total, d + 1, why="numbers in state_dict: d weights and a bias")
    check.equal(lab.probe(trainable, model), d + 1, why="numbers in parameters() that a gradient reaches")
    moves = lab.probe(answer_at_zero_moves, model, d)
    check.equal(moves, True, why="other parameters, another answer at X = 0: there is a bias")


def descend(X, y, w, b, lr, steps):
    """Gradient descent in float64 NumPy, with the gradients written out."""
    X, y, w, b = (np.asarray(x, dtype=np.float64) for x in (X, y, w, b))
    losses = []
    for _ in range(steps):
        r = X @ w + b - y
        losses.append(float((r * r).mean()))
        w, b = w - lr * 2 * r @ X / len(y), b - lr * 2 * r.mean()
    return losses, w, b


def compare_fit(lab, model, X, y, lr, steps, why):
    w, b = parameters_of(model, X.shape[1])
    want, w, b = descend(X, y, w, b, lr, steps)
    losses = lab.fit(model, X, y, lr, steps)
    check.close([number(x) for x in losses], want, why=f"{why}: the losses", rtol=1e-3, atol=1e-5)
    after = torch.as_tensor(X.double().numpy() @ w + b)
    check.close(model(X).double()[:, 0], after, why=f"{why}: predictions afterwards", rtol=1e-3, atol=1e-4)


def draw_model(lab, rng, d):
    """The lab's own LinearRegression, from a start that the spec chooses."""
    model = lab.LinearRegression(d)
    lab.probe(set_parameters, model, normal(rng, d + 1))
    return model


@task("fit")
def test_one_step(lab, rng):
    X, y, _, _ = draw_regression(rng, size(rng, 5, 8), size(rng, 2, 3))
    compare_fit(lab, draw_model(lab, rng, X.shape[1]), X, y, 0.05, 1, "one step")


@task("fit")
def test_several_steps(lab, rng):
    X, y, _, _ = draw_regression(rng, size(rng, 5, 8), size(rng, 2, 3))
    model = draw_model(lab, rng, X.shape[1])
    compare_fit(lab, model, X, y, 0.03, 6, "six steps")
    compare_fit(lab, model, X, y, 0.02, 3, "three more with the same model")


@task("fit")
def test_old_gradients_do_not_count(lab, rng):
    X, y, _, _ = draw_regression(rng, 6, 2)
    model = draw_model(lab, rng, 2)
    lab.probe(leave_gradients, model, X)
    compare_fit(lab, model, X, y, 0.03, 2, "a model that comes with gradients")


@task("fit")
def test_fit_reaches_least_squares(lab, rng):
    X, y, _, _ = draw_regression(rng, 40, 3)
    X = (X - X.mean(0)) / X.std(0)
    model = draw_model(lab, rng, 3)
    losses = lab.fit(model, X, y, 0.1, 200)
    check.less(200 - len(losses), 1, why="losses missing after 200 steps: go on when nothing changes any more, too")
    best = np.linalg.lstsq(np.c_[X.numpy(), np.ones(40)].astype(float), y.numpy().astype(float), rcond=None)[0]
    w, b = parameters_of(model, 3)
    check.close(torch.cat([w, b[None]]), torch.tensor(best), why="200 steps against the closed form", atol=1e-3)


@task("fit")
def test_losses_let_go_of_their_graphs(lab, rng):
    X, y, _, _ = draw_regression(rng, 6, 2)
    check.equal(lab.probe(losses_with_graph, X, y), 0, why="losses in the list that still hold a graph")


# ---- the engine


def derivatives(value, leaves, weight=1.0):
    """d value / d leaf as a sum over all paths: no order to get wrong.  Only for small graphs."""
    found = dict.fromkeys(leaves, 0.0)
    parents = value.parents
    for parent, derivative in parents:
        for name, d in derivatives(parent, leaves, weight * derivative).items():
            found[name] += d
    if not parents:
        data = value.data
        for name, x in leaves.items():
            found[name] += weight * (data == x)
    return found


def by_torch(expression, inputs):
    """Value and gradients of the same text, computed by torch in float64."""
    leaves = {name: torch.tensor(x, dtype=torch.float64, requires_grad=True) for name, x in inputs.items()}
    out = eval(expression, {}, dict(leaves))
    grads = torch.autograd.grad(out, [*leaves.values()], allow_unused=True)
    return float(out.detach()), {name: 0.0 if g is None else float(g) for name, g in zip(leaves, grads)}


def compare_expression(lab, expression, inputs):
    """The value, and the derivatives that the result's `parents` hold: backward is not needed for that."""
    out, _ = lab.evaluate(expression, inputs)
    value, grads = by_torch(expression, inputs)
    where = at(expression, inputs)
    check.close(out.data, value, why=f"{where}: its value")
    found = derivatives(out, inputs)
    for name in inputs:
        check.close(found[name], grads[name], why=f"{where}: d/d{name}, summed over the paths in `parents`")


def at(expression, inputs):
    """For messages: `a * b at a = 1.5, b = -2`."""
    used = [f"{name} = {x:.5g}" for name, x in inputs.items() if name in re.findall(r"\w+", expression)]
    return f"{expression} at {', '.join(used)}"


def numbers(random, *names):
    """Different, not round, of either sign, and away from zero."""
    return {name: random.choice([-1, 1]) * random.uniform(0.3, 2.5) for name in names}


def positive(random, *names):
    return {name: random.uniform(0.4, 2.5) for name in names}


@task("arithmetic")
def test_sums(lab, random):
    for text in ("a + b", "a + 2.5", "1.5 + a", "a + a"):
        compare_expression(lab, text, numbers(random, "a", "b"))


@task("arithmetic")
def test_products(lab, random):
    for text in ("a * b", "a * 2.5", "-3 * a", "a * a"):
        compare_expression(lab, text, numbers(random, "a", "b"))


@task("arithmetic")
def test_powers(lab, random):
    x = random.uniform(0.4, 2.5)
    for text in ("a ** 3", "a ** 2", "a ** -2", "a ** 1"):
        compare_expression(lab, text, {"a": x})
        compare_expression(lab, text, {"a": -x})
    for text in ("a ** 1", "a ** 2", "a ** 3"):
        compare_expression(lab, text, {"a": 0.0})
    compare_expression(lab, "a ** 0.5", positive(random, "a"))
    compare_expression(lab, "(a * b) ** 3", numbers(random, "a", "b"))


@task("arithmetic")
def test_differences(lab, random):
    for text in ("a - b", "a - 2.5", "1.5 - a", "-a", "a * a - b"):
        compare_expression(lab, text, numbers(random, "a", "b"))


@task("arithmetic")
def test_quotients(lab, random):
    for text in ("a / b", "a / 2.5", "1.5 / a", "b / (a * a)"):
        compare_expression(lab, text, numbers(random, "a", "b"))


@task("arithmetic")
def test_arithmetic_makes_new_values(lab, random):
    inputs = numbers(random, "a", "b")
    _, leaves = lab.evaluate("a + b * a - b / a", inputs)
    check.close({n: leaves[n].data for n in inputs}, inputs, why="the inputs keep their numbers")
    check.close([leaves[n].grad for n in inputs], [0.0, 0.0], why="no gradient before backward")


@task("functions")
def test_tanh(lab, random):
    for x in (random.uniform(0.5, 1.5), -random.uniform(0.5, 1.5), 0.0, 400.0, -800.0):
        compare_expression(lab, "a.tanh()", {"a": x})


@task("functions")
def test_exp(lab, random):
    for x in (random.uniform(1.5, 3), -random.uniform(1.5, 3), 0.0):
        compare_expression(lab, "a.exp()", {"a": x})


@task("functions")
def test_log(lab, random):
    for x in (random.uniform(0.1, 0.8), random.uniform(2, 9), 1e-9):
        compare_expression(lab, "a.log()", {"a": x})


@task("functions")
def test_relu(lab, random):
    for x in (random.uniform(0.5, 3), -random.uniform(0.5, 3), 0.0):
        compare_expression(lab, "a.relu()", {"a": x})


def compare_backward(lab, expression, inputs, times=1):
    out, leaves = lab.evaluate(expression, inputs)
    for _ in range(times):
        out.backward()
    _, grads = by_torch(expression, inputs)
    for name in inputs:
        why = f"{at(expression, inputs)}: {name}.grad" + f" after {times} passes" * (times > 1)
        check.close(leaves[name].grad, times * grads[name], why=why)


@task("backward")
def test_backward_of_a_chain(lab, random):
    inputs = numbers(random, "a", "b")
    compare_backward(lab, "a * b * 3 + 1", inputs)
    out, _ = lab.evaluate("a * b", inputs)
    out.backward()
    check.close(out.grad, 1.0, why="d out / d out")


@task("backward")
def test_backward_adds_what_arrives(lab, random):
    for text in ("a * a", "a + a", "a * b + a", "(t := a * b) * t + t"):
        compare_backward(lab, text, numbers(random, "a", "b"))


@task("backward")
def test_backward_waits_for_all(lab, random):
    """A value that is used by its neighbour and by one far down the graph."""
    for text in ("(((t := a * b) + 1) * 0.5 - 2) * t", "(t := a + b) * (((t * 3 + b) * 2 + a) * 0.5)"):
        compare_backward(lab, text, numbers(random, "a", "b"))


def draw_expression(random, depth):
    """A random text over a, b and c in which three parts are used again; smooth, and of moderate size everywhere."""

    def part(depth):
        if depth == 0:
            return random.choice("abc")
        left, right = part(depth - 1), part(random.randrange(depth))
        return random.choice(
            [f"({left} + {right})", f"({left} * {right})", f"({left} - {right})", f"(0.5 * {left} - {right} ** 2)"]
            + [f"({left} / ({right} ** 2 + 1))", f"(2 - {left} * 0.3)", f"(1.5 / ({left} ** 2 + 2))"]
        )

    return f"((t := {part(depth)}) / (t * t + 1)) + (u := {part(depth)} * 0.1) * t / (u * u + t * t + 2)"


@task("backward")
def test_backward_of_random_graphs(lab, random):
    for _ in range(4):
        compare_backward(lab, draw_expression(random, 3), numbers(random, "a", "b", "c"))


@task("backward")
def test_backward_against_finite_differences(lab, random):
    text, inputs = draw_expression(random, 2), numbers(random, "a", "b", "c")
    out, leaves = lab.evaluate(text, inputs)
    out.backward()
    for name in inputs:
        up, down = (lab.evaluate(text, {**inputs, name: inputs[name] + e})[0].data for e in (1e-5, -1e-5))
        check.close(leaves[name].grad, (up - down) / 2e-5, why=f"{text}: the slope along {name}", rtol=1e-4, atol=1e-6)


@task("backward")
def test_a_second_pass_adds_the_same(lab, random):
    for text in ("(a * b + a) * 2 * b", "(t := a * b) * t + a"):
        compare_backward(lab, text, numbers(random, "a", "b"), times=3)


@task("backward")
def test_two_results_share_their_inputs(lab, random):
    inputs = numbers(random, "a", "b")
    _, leaves = lab.evaluate("a", inputs)
    first, second = leaves["a"].tanh(), leaves["a"].exp()
    first.backward()
    second.backward()
    x = inputs["a"]
    check.close(leaves["a"].grad, 1 - math.tanh(x) ** 2 + math.exp(x), why="backward of tanh(a), then of exp(a)")


@task("backward")
def test_values_in_between_get_their_gradient(lab, random):
    """torch keeps only the leaves' gradients; here every value shows its own."""
    inputs = numbers(random, "a", "b")
    out, _ = lab.evaluate("(a * b).tanh()", inputs)
    slope = 1 - math.tanh(inputs["a"] * inputs["b"]) ** 2
    between, _ = out.parents[0]
    out.backward()
    check.close(between.grad, slope, why="(a * b).tanh(): .grad of a * b")
    out.backward()
    out.backward()
    check.close(between.grad, 3 * slope, why="(a * b).tanh(): .grad of a * b after 3 passes")
    check.close(out.grad, 3.0, why="(a * b).tanh(): .grad of the result itself after 3 passes")


@task("backward")
def test_backward_visits_each_value_once(lab):
    """x + x, twelve times over, has 4,096 paths and 13 values."""
    few, many = (lab.probe(backward_steps, n) for n in (6, 12))
    check.less(many, 4 * few, why="steps for twice the depth")


@task("backward")
def test_backward_is_not_recursive(lab, random):
    slope = random.uniform(0.99990, 0.99999)
    check.close(lab.probe(deep, slope, 10_000), slope**10_000, why="10,000 values deep", rtol=1e-6)
    few, many = (lab.probe(frames, n) for n in (20, 400))
    check.less(many - few, 50, why="further calls inside each other for a graph 380 values deeper")


# ---- the MLP


def draw_mlp(rng, n, d, h, c):
    X, y = normal(rng, n, d), integers(rng, c, n)
    parameters = [normal(rng, d, h) * 0.6, normal(rng, h) * 0.5, normal(rng, h, c), normal(rng, c)]
    return X, y, parameters


def mlp_loss(X, y):
    """The loss in float64 as a function of the parameters; log and sum instead of log_softmax."""

    def loss(W1, b1, W2, b2):
        logits = torch.tanh(X.double() @ W1 + b1) @ W2 + b2
        return (torch.logsumexp(logits, 1) - (logits * torch.eye(logits.shape[1])[y]).sum(1)).mean()

    return loss


def compare_mlp(lab, X, y, parameters, why):
    want = by_autograd(mlp_loss(X, y), *parameters)
    compare_gradients(lab.mlp_gradients(X, y, *parameters), want, ("dW1", "db1", "dW2", "db2"), why)


@task("mlp_gradients")
def test_mlp_of_zeros(lab):
    """With zero weights everything but db2 is zero: p is uniform, and db2 is p minus the share of each class."""
    got = lab.mlp_gradients(
        torch.ones(4, 2),
        torch.tensor([0, 0, 0, 2]),
        torch.zeros(2, 5),
        torch.zeros(5),
        torch.zeros(5, 3),
        torch.zeros(3),
    )
    grads = torch.zeros(2, 5), torch.zeros(5), torch.zeros(5, 3), torch.tensor([1 / 3 - 3 / 4, 1 / 3, 1 / 3 - 1 / 4])
    compare_gradients(got, (math.log(3), grads), ("dW1", "db1", "dW2", "db2"), "all weights zero")


@task("mlp_gradients")
def test_mlp_values(lab, rng):
    for sizes in ((11, 3, 7, 5), (2, 7, 5, 3), (1, 3, 2, 5), (4, 4, 4, 4)):
        X, y, parameters = draw_mlp(rng, *sizes)
        compare_mlp(lab, X, y, parameters, "n {}, d {}, h {}, c {}".format(*sizes))


@task("mlp_gradients")
def test_mlp_by_finite_differences(lab, rng):
    X, y, parameters = draw_mlp(rng, 7, 3, 5, 2)
    X, parameters = X.double(), [p.double() for p in parameters]
    _, grads = lab.mlp_gradients(X, y, *parameters)
    for i, name in enumerate(("W1", "b1", "W2", "b2")):
        step = normal(rng, *parameters[i].shape).double()
        up, down = (
            number(lab.mlp_gradients(X, y, *[p + e * step if k == i else p for k, p in enumerate(parameters)])[0])
            for e in (1e-5, -1e-5)
        )
        slope = number((grads[i] * step).sum())
        check.close(
            slope,
            (up - down) / 2e-5,
            why=f"your gradient along {name} against the slope of your loss",
            rtol=1e-4,
            atol=1e-7,
        )


@task("mlp_gradients")
def test_mlp_with_large_logits(lab, rng):
    X, y, (W1, b1, W2, _) = draw_mlp(rng, 5, 3, 4, 7)
    b2 = 500.0 * torch.randperm(7, generator=rng) - 1000
    y[0] = b2.argmin()  # one target that is thousands behind
    compare_mlp(lab, X, y, [W1, b1, 0.1 * W2, b2], "logits in the hundreds and thousands")


@task("mlp_gradients")
def test_mlp_with_saturated_units(lab, rng):
    X, y, (W1, b1, W2, b2) = draw_mlp(rng, 5, 3, 4, 2)
    compare_mlp(lab, X, y, [W1, b1 + torch.tensor([30.0, -30.0, 0.0, 0.0]), W2, b2], "two units at tanh's ends")


@task("mlp_gradients")
def test_mlp_leaves_its_arguments_alone(lab, rng):
    X, y, parameters = draw_mlp(rng, 5, 3, 4, 2)
    unchanged(lab, "mlp_gradients", X, y, *parameters)


# ---- probes: they run beside the lab


def instructions(function, *arguments):
    """Python instructions and tensor operations of a call."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with Operations() as seen:
            function(*arguments)
    finally:
        sys.settrace(before)
    return count + len(seen.names)


def further_steps(lab, name, few, many):
    """Measured the second time: what is done once only (imports, caches) does not count."""
    counts = [instructions(getattr(lab, name), *arguments) for arguments in (few, many, few, many)]
    return counts[3] - counts[2]


def changed(lab, name, *arguments):
    before = [x.clone() for x in arguments]
    getattr(lab, name)(*arguments)
    return [i for i, (x, old) in enumerate(zip(arguments, before)) if not torch.equal(x, old)]


def windows_of_a_column(lab, table, column, width):
    return lab.sliding_windows(table[:, column], width)


def shares_memory(lab, name, x, *arguments):
    return getattr(lab, name)(x, *arguments).untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def trainable(lab, model):
    model(torch.ones(2, sum(p.numel() for p in model.parameters()) - 1)).sum().backward()
    return sum(p.numel() for p in model.parameters() if p.grad is not None and bool(p.grad.any()))


def set_parameters(lab, model, numbers):
    """The numbers, in the order of parameters(): the same start for every way to write the model."""
    left = numbers
    with torch.no_grad():
        for p in model.parameters():
            here, left = left[: p.numel()], left[p.numel() :]
            p.view(-1)[: len(here)] = here


def answer_at_zero_moves(lab, model, d):
    before = model(torch.zeros(1, d)).detach().clone()
    set_parameters(lab, model, torch.linspace(1.5, 2.5, d + 1))
    return not torch.equal(before, model(torch.zeros(1, d)).detach())


def leave_gradients(lab, model, X):
    (3 * model(X)).sum().backward()


def losses_with_graph(lab, X, y):
    losses = lab.fit(lab.LinearRegression(X.shape[1]), X, y, 0.01, 4)
    return sum(bool(getattr(x, "requires_grad", False)) for x in losses)


def backward_steps(lab, n):
    x = lab.Value(1.0)
    for _ in range(n):
        x = x + x
    return [instructions(x.backward) for _ in range(2)][1]


def frames(lab, n):
    """How deep backward's calls stand inside each other on a chain of n additions."""
    x = lab.Value(1.0)
    for _ in range(n):
        x = x + 1.0
    depth = deepest = 0

    def note(frame, event, _):
        nonlocal depth, deepest
        depth += {"call": 1, "return": -1}.get(event, 0)
        deepest = max(deepest, depth)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        x.backward()
    finally:
        sys.setprofile(before)
    return deepest


def deep(lab, slope, n):
    x = top = lab.Value(1.0)
    for _ in range(n):
        top = top * slope
    top.backward()
    return x.grad
