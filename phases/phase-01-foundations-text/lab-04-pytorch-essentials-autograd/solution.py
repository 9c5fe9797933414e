"""Tensors and gradients: ten puzzles in broadcasting, a regression, an autograd engine, and an MLP's backward by hand.

Run:  python solution.py                          # the engine's graph, two trainings, two pictures in artifacts/
      python solution.py --graph "(a*b + c).tanh()" a=2 b=-3 c=6.5     # values and gradients of your own expression
      python solution.py --views                  # view or copy, detach, no_grad, accumulation: what torch prints
      python solution.py --engines                # three ways to the same gradient: do they agree, what do they cost?
      python solution.py --full mnist.npz         # the MLP on a larger data set, beside torch.nn
Does: reverse-mode derivatives of scalars, of a linear model and of a two-layer network, all checked against torch.
Does not: differentiate tensors in general (that is torch's work), convolutions, a second derivative.

Shapes stand in the signatures: `Float[Tensor, "n d"]` is a float tensor of n rows and d columns.  Everywhere: same
dtype out as in, and arguments are not changed.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

# ---- ten puzzles: one expression each, two at most, and no Python loop over anything


def causal_mask(n: int) -> Bool[Tensor, "n n"]:
    """Which position (column) may each position (row) of a text see?  Itself and all before it.

    Used in every decoder: nobody may look at the word that is to be predicted.

    >>> causal_mask(3).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    # TODO: compare a column of positions with a row of positions.
    ### BEGIN SOLUTION
    position = torch.arange(n)
    return position[None, :] <= position[:, None]
    ### END SOLUTION


def one_hot(ids: Int[Tensor, "*batch"], classes: int) -> Float[Tensor, "*batch classes"]:
    """A row with a single 1.0 for each id.  `one_hot(ids, V) @ table` is what an embedding layer computes.

    Not allowed: torch.nn.functional.one_hot.

    >>> one_hot(torch.tensor([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    # TODO: where does the new axis go, so that each id meets all classes?
    ### BEGIN SOLUTION
    return (ids[..., None] == torch.arange(classes)).float()
    ### END SOLUTION


def pairwise_distances(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """The Euclidean distance between every row of a and every row of b.  Retrieval ranks passages by it.

    Exact for close points far from the origin too, where |a|² + |b|² - 2a·b loses all its digits.
    Not allowed: torch.cdist.

    >>> pairwise_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist()
    [[5.0, 1.0]]
    """
    # TODO: (n, 1, d) against (1, m, d).
    ### BEGIN SOLUTION
    return (a[:, None, :] - b[None, :, :]).square().sum(dim=-1).sqrt()
    ### END SOLUTION


def row_softmax(scores: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """exp, divided by its sum over each row.  Any finite scores, and -inf for what must get nothing (not a whole row).

    Every attention weight and every next-token probability is one of these.  Not allowed: torch's softmax and
    log_softmax, under any of their names.

    >>> row_softmax(torch.tensor([[0.0, 0.0], [1000.0, -math.inf]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    # TODO: only differences matter, so first move each row to where exp cannot overflow.
    ### BEGIN SOLUTION
    e = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return e / e.sum(dim=-1, keepdim=True)
    ### END SOLUTION


def target_log_probs(
    logits: Float[Tensor, "batch time vocab"], targets: Int[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """The log-probability that each position gives to the token that really came.  A language model's loss is -mean of it.

    >>> target_log_probs(torch.zeros(1, 2, 4), torch.tensor([[3, 0]])).exp().tolist()
    [[0.25, 0.25]]
    """
    # TODO: log-probabilities, then one number out of each row: gather wants an index with as many axes as its input.
    ### BEGIN SOLUTION
    return logits.log_softmax(dim=-1).gather(-1, targets[..., None])[..., 0]
    ### END SOLUTION


def sliding_windows(ids: Int[Tensor, " n"], width: int) -> Int[Tensor, "n-width+1 width"]:
    """Every run of `width` neighbours, as a *view*: no number is copied, whatever strides `ids` comes with.

    Cuts a corpus into overlapping training examples without storing it `width` times.  1 <= width <= n.

    >>> sliding_windows(torch.tensor([5, 6, 7, 8]), 3).tolist()
    [[5, 6, 7], [6, 7, 8]]
    """
    # TODO: look up Tensor.unfold, or Tensor.as_strided if you want to see how it is done.
    ### BEGIN SOLUTION
    return ids.unfold(0, width, 1)
    ### END SOLUTION


def masked_mean(x: Float[Tensor, "batch time d"], mask: Bool[Tensor, "batch time"]) -> Float[Tensor, "batch d"]:
    """The mean over the positions where mask is True: a sentence's vector out of its tokens' vectors.

    Padding may hold anything, NaN too, and must not show.  A row without any True gives zeros.

    >>> masked_mean(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([[True, True, False]])).tolist()
    [[2.0]]
    """
    # TODO: on which side of the mask does d belong?  How many positions count in each row?
    ### BEGIN SOLUTION
    kept = torch.where(mask[..., None], x, 0.0)  # not x * mask: 0 * NaN is NaN
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    ### END SOLUTION


def alibi_bias(slopes: Float[Tensor, " heads"], n: int) -> Float[Tensor, "heads n n"]:
    """For head h, query i and key j: slopes[h] · (j - i), a penalty that grows with distance.

    Press, Smith & Lewis 2022.  Keys of the future (j > i) get a bonus here; the causal mask hides them anyway.

    >>> alibi_bias(torch.tensor([0.5]), 3).tolist()
    [[[0.0, 0.5, 1.0], [-0.5, 0.0, 0.5], [-1.0, -0.5, 0.0]]]
    """
    # TODO: a row of positions minus a column of positions, times one slope a head.
    ### BEGIN SOLUTION
    position = torch.arange(n)
    return slopes[:, None, None] * (position[None, :] - position[:, None])
    ### END SOLUTION


def last_states(x: Float[Tensor, "batch time d"], lengths: Int[Tensor, " batch"]) -> Float[Tensor, "batch d"]:
    """The vector of each text's last real token: position lengths[b] - 1 of row b.  A reward model reads only this.

    >>> last_states(torch.arange(6.0).reshape(2, 3, 1), torch.tensor([3, 1])).tolist()
    [[2.0], [3.0]]
    """
    # TODO: index two axes at once; the two index tensors are walked together, not crossed.
    ### BEGIN SOLUTION
    return x[torch.arange(len(x)), lengths - 1]
    ### END SOLUTION


def count_tokens(ids: Int[Tensor, "docs n"], vocab: int) -> Int[Tensor, "docs vocab"]:
    """How often each of `vocab` tokens stands in each document: the bag of words that search engines start from.

    >>> count_tokens(torch.tensor([[2, 0, 2]]), 4).tolist()
    [[1, 0, 2, 0]]
    """
    # TODO: add a 1 at each id.  A token that occurs twice must count twice: which scatter adds?
    ### BEGIN SOLUTION
    return torch.zeros(len(ids), vocab, dtype=torch.int64).scatter_add(1, ids.long(), torch.ones_like(ids.long()))
    ### END SOLUTION


# ---- linear regression: gradients by hand, then by autograd


def linear_gradients(
    X: Float[Tensor, "n d"], y: Float[Tensor, " n"], w: Float[Tensor, " d"], b: Float[Tensor, ""]
) -> tuple[Float[Tensor, ""], Float[Tensor, " d"], Float[Tensor, ""]]:
    """The mean squared error of X @ w + b against y, and its gradients with respect to w and b.  Without autograd.

    >>> X, y = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 1.0])
    >>> [g.tolist() for g in linear_gradients(X, y, torch.tensor([1.0]), torch.tensor(0.0))]
    [1.0, [3.0], 2.0]
    """
    # TODO: the residual first; the loss is the mean of its squares.  Then differentiate that mean.
    ### BEGIN SOLUTION
    residual = X @ w + b - y  # (n,)
    return residual.square().mean(), 2 * X.T @ residual / len(y), 2 * residual.mean()
    ### END SOLUTION


class LinearRegression(nn.Module):
    """y ≈ Xw + b with parameters that torch knows of: `parameters()` and `state_dict()` hold d + 1 numbers."""

    def __init__(self, d: int) -> None:
        """d is the number of features."""
        # TODO: what must every nn.Module call first?  Then one linear layer with a bias and a single output.
        ### BEGIN SOLUTION
        super().__init__()
        self.linear = nn.Linear(d, 1)
        ### END SOLUTION

    def forward(self, X: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """One prediction a row, as a column: that is what nn.Linear gives."""
        # TODO: apply the layer.
        ### BEGIN SOLUTION
        return self.linear(X)
        ### END SOLUTION


def fit(model: nn.Module, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], lr: float, steps: int) -> list[float]:
    """Full-batch gradient descent on the mean squared error; changes the model, returns the loss before each step.

    The model answers in shape (n, 1) and y has shape (n,).  Gradients that it carries when it comes do not count.
    The result is plain numbers: a list of losses that still hold their graphs would keep every step in memory.
    """
    # TODO: forget the old gradients, predict, measure, backward, step.  Which order is right?
    ### BEGIN SOLUTION
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(X)[:, 0] - y).square().mean()  # (n, 1) - (n,) would be (n, n), without a word of warning
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
    ### END SOLUTION


# ---- an autograd engine for scalars


class Value:
    """A number that remembers where it came from.

    `parents` holds a pair for each number it was computed from: (that Value, the derivative of this one with respect
    to it).  These derivatives are known the moment the operation is done; `backward` only has to multiply and add them.
    Numbers may stand on either side: `2 - a` asks `a.__rsub__(2)`.

    >>> a, b = Value(3), Value(4)
    >>> c = a * b + a
    >>> c.backward()
    >>> c.data, a.grad, b.grad
    (15.0, 5.0, 3.0)
    """

    def __init__(self, data: float, parents: tuple[tuple[Value, float], ...] = (), op: str = "") -> None:
        self.data = float(data)
        self.grad = 0.0  # what `backward` adds to
        self.parents = parents
        self.op = op  # for drawings: "+", "tanh"

    def __repr__(self) -> str:
        return f"Value({self.data:g}, grad={self.grad:g})"

    @staticmethod
    def of(x: Value | float) -> Value:
        """x itself if it is a Value, else a new one without parents."""
        return x if isinstance(x, Value) else Value(x)

    def __add__(self, other: Value | float) -> Value:
        """self + other"""
        # TODO: the sum, and the derivative of a sum with respect to either side.
        ### BEGIN SOLUTION
        other = Value.of(other)
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)), "+")
        ### END SOLUTION

    def __mul__(self, other: Value | float) -> Value:
        """self · other"""
        # TODO: whose value is the derivative with respect to self?
        ### BEGIN SOLUTION
        other = Value.of(other)
        return Value(self.data * other.data, ((self, other.data), (other, self.data)), "*")
        ### END SOLUTION

    def __pow__(self, exponent: float) -> Value:
        """self to the power of a plain number, not a Value and not 0."""
        # TODO: one parent only.
        ### BEGIN SOLUTION
        return Value(self.data**exponent, ((self, exponent * self.data ** (exponent - 1)),), f"**{exponent:g}")
        ### END SOLUTION

    def __neg__(self) -> Value:
        return self * -1

    def __radd__(self, other: float) -> Value:
        return self + other

    def __rmul__(self, other: float) -> Value:
        return self * other

    def __sub__(self, other: Value | float) -> Value:
        """self - other"""
        # TODO: out of what is there already.
        ### BEGIN SOLUTION
        return self + Value.of(other) * -1
        ### END SOLUTION

    def __rsub__(self, other: float) -> Value:
        """other - self, for a plain number on the left."""
        # TODO: mind the order.
        ### BEGIN SOLUTION
        return Value(other) - self
        ### END SOLUTION

    def __truediv__(self, other: Value | float) -> Value:
        """self / other"""
        # TODO: out of what is there already.
        ### BEGIN SOLUTION
        return self * Value.of(other) ** -1
        ### END SOLUTION

    def __rtruediv__(self, other: float) -> Value:
        """other / self, for a plain number on the left."""
        # TODO: mind the order.
        ### BEGIN SOLUTION
        return Value(other) / self
        ### END SOLUTION

    def tanh(self) -> Value:
        """Between -1 and 1, for arguments of any size."""
        # TODO: its derivative is simplest in terms of its result.
        ### BEGIN SOLUTION
        t = math.tanh(self.data)
        return Value(t, ((self, 1 - t * t),), "tanh")
        ### END SOLUTION

    def exp(self) -> Value:
        """e to the power of self."""
        # TODO: which function is its own derivative?
        ### BEGIN SOLUTION
        e = math.exp(self.data)
        return Value(e, ((self, e),), "exp")
        ### END SOLUTION

    def log(self) -> Value:
        """The natural logarithm of a positive number."""
        # TODO: value and derivative.
        ### BEGIN SOLUTION
        return Value(math.log(self.data), ((self, 1 / self.data),), "log")
        ### END SOLUTION

    def relu(self) -> Value:
        """max(0, self).  At 0 the derivative is taken to be 0, as torch does."""
        # TODO: two cases.
        ### BEGIN SOLUTION
        return Value(max(0.0, self.data), ((self, float(self.data > 0)),), "relu")
        ### END SOLUTION

    def backward(self) -> None:
        """Add d self / d v to `v.grad`, for every Value v that self was computed from, and for self.

        A second call adds exactly the same once more (so do torch's leaves, if the graph was retained).  Each Value is
        visited once, however many paths lead to it, and the graph may be tens of thousands deep: no recursion.
        """
        # TODO: an order in which every Value comes before what it was computed from.  Walk it: each one hands what
        #       arrived at it to its parents, times the derivative.  Whatever arrives twice is added.
        ### BEGIN SOLUTION
        order: list[Value] = []  # parents first
        seen: set[Value] = set()
        stack = [(self, False)]
        while stack:
            value, finished = stack.pop()
            if finished:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))  # comes up again when all its parents are in the order
                stack.extend((parent, False) for parent, _ in value.parents)
        arrived = dict.fromkeys(order, 0.0)  # in this pass; .grad may hold what earlier passes left
        arrived[self] = 1.0
        for value in reversed(order):
            value.grad += arrived[value]
            for parent, derivative in value.parents:
                arrived[parent] += derivative * arrived[value]
        ### END SOLUTION


def evaluate(expression: str, inputs: dict[str, float]) -> tuple[Value, dict[str, Value]]:
    """Any Python expression, computed in Values: the result, and the leaf of each input.

    Python itself evaluates the text, so use it on your own expressions only.  `(t := a * b)` names a part of it.

    >>> out, leaves = evaluate("(t := a * b).tanh() + t", {"a": 0.5, "b": 0.0})
    >>> out.backward()
    >>> leaves["b"].grad
    1.0
    """
    leaves = {name: Value(x) for name, x in inputs.items()}
    return Value.of(eval(expression, {"__builtins__": {}}, dict(leaves))), leaves


# ---- a two-layer network, backwards by hand


def mlp_gradients(
    X: Float[Tensor, "n d"],
    y: Int[Tensor, " n"],
    W1: Float[Tensor, "d h"],
    b1: Float[Tensor, " h"],
    W2: Float[Tensor, "h c"],
    b2: Float[Tensor, " c"],
) -> tuple[
    Float[Tensor, ""], tuple[Float[Tensor, "d h"], Float[Tensor, " h"], Float[Tensor, "h c"], Float[Tensor, " c"]]
]:
    """Loss and gradients of tanh(X W1 + b1) W2 + b2 against the classes y: cross-entropy, its mean over the batch.

    Without autograd.  The gradients come in the order of the parameters, each in its parameter's shape.  Logits in the
    thousands must give a finite loss.

    >>> zeros = torch.zeros
    >>> loss, (dW1, db1, dW2, db2) = mlp_gradients(
    ...     zeros(2, 3), torch.tensor([0, 0]), zeros(3, 5), zeros(5), zeros(5, 2), zeros(2))
    >>> loss.exp().item(), db2.tolist()
    (2.0, [-0.5, 0.5])
    """
    # TODO: forward, keeping what backward needs.  Then from the loss back, one line for each line of the forward pass.
    ### BEGIN SOLUTION
    n = len(y)
    hidden = (X @ W1 + b1).tanh()  # (n, h)
    log_p = (hidden @ W2 + b2).log_softmax(dim=-1)  # (n, c)
    loss = -log_p[torch.arange(n), y].mean()

    dlogits = log_p.exp()  # (n, c): what the model says minus what was true, shared over the batch
    dlogits[torch.arange(n), y] -= 1
    dlogits /= n
    dhidden = dlogits @ W2.T  # (n, h)
    dz = dhidden * (1 - hidden.square())  # tanh' in terms of tanh
    return loss, (X.T @ dz, dz.sum(dim=0), hidden.T @ dlogits, dlogits.sum(dim=0))
    ### END SOLUTION


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Autograd from scratch: a graph, a regression and an MLP, beside torch."
    )
    parser.add_argument("inputs", nargs="*", metavar="name=number", help="with --graph: the inputs, a=2 b=-3")
    parser.add_argument("--graph", metavar="EXPRESSION", help="values and gradients of an expression in your inputs")
    parser.add_argument("--views", action="store_true", help="short examples: views, detach, no_grad, accumulation")
    parser.add_argument("--engines", action="store_true", help="the same gradient three ways: agreement and cost")
    parser.add_argument("--full", type=Path, metavar="NPZ", help="train the MLP on this file (see DATASETS.md)")
    arguments = parser.parse_args()
    import autograd_report as report

    lab = sys.modules[__name__]
    if arguments.inputs and arguments.graph is None:
        parser.error("inputs go with --graph")
    try:
        if arguments.graph is not None:
            report.graph(lab, arguments.graph, arguments.inputs)
        elif arguments.views:
            report.views()
        elif arguments.engines:
            report.engines(lab)
        else:
            report.report(lab, arguments.full)
    except report.BadInput as e:
        parser.error(str(e))


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 1.4 {task}")
    except KeyboardInterrupt:
        sys.exit("stopped")
