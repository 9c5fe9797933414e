"""The report of lab 1.4: a graph in text, two trainings and their pictures, timings, and short examples of views.

Does: run whatever the lab's file holds, the learner's or the reference; it is handed that file as a module.
Does not: hold anything to be written.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

FOLDER = Path(__file__).parent
BLUE, ORANGE, PINK, GREY = "#0072B2", "#C27A00", "#CC3D7A", "#6b6b6b"


class BadInput(Exception):
    """Something the caller gave that cannot be used; the text is one sentence that says why."""


# ---- the graph


def graph(lab: ModuleType, expression: str, inputs: list[str]) -> None:
    """Prints the graph of an expression: every value once, with its gradient, under what it goes into."""
    values = dict(_assignment(text) for text in inputs)
    try:
        out, leaves = lab.evaluate(expression, values)
    except NotImplementedError:
        raise
    except Exception as e:  # whatever Python says about the text that the user gave
        raise BadInput(f"{expression!r} cannot be computed: {e}") from None
    out.backward()
    names = {id(leaf): name for name, leaf in leaves.items()}
    print(expression)
    for line in _tree(out, names, "", "", set()):
        print(line)


def _assignment(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        if not name.isidentifier():
            raise ValueError
        return name, float(number)
    except ValueError:
        raise BadInput(f"inputs read name=number, such as a=2; not {text!r}") from None


def _tree(value: Any, names: dict[int, str], first: str, rest: str, seen: set[int]) -> Iterator[str]:
    """A line for the value, then its parents; one that was shown before is named and not opened again."""
    again = id(value) in seen and bool(value.parents)
    seen.add(id(value))
    label = names.get(id(value)) or value.op or "constant"
    yield f"{first + label:24s} value {value.data:9.4f}   grad {value.grad:9.4f}" + "   (as above)" * again
    for i, (parent, _) in enumerate([] if again else value.parents):
        last = i == len(value.parents) - 1
        yield from _tree(parent, names, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), seen)


# ---- linear regression on real data


def diabetes() -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """442 patients, 10 measurements, the disease's progression a year later; all standardised."""
    from sklearn.datasets import load_diabetes  # type: ignore[import-untyped]

    data = load_diabetes()
    X, y = (torch.tensor(np.asarray(a), dtype=torch.float32) for a in (data.data, data.target))
    return (X - X.mean(0)) / X.std(0, correction=0), (y - y.mean()) / y.std(correction=0)


def least_squares(X: Float[Tensor, "n d"], y: Float[Tensor, " n"]) -> tuple[Float[Tensor, " d+1"], float]:
    """The closed form, in float64: weights and bias, and the loss that no linear model can beat."""
    A = torch.cat([X, torch.ones(len(X), 1)], dim=1).double()
    best = torch.linalg.lstsq(A, y.double()[:, None]).solution[:, 0]
    return best, (A @ best - y).square().mean().item()


def wrong_fit(
    model: nn.Module, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], lr: float, steps: int, *, n_by_n: bool
) -> list[float]:
    """The two classics: predictions (n, 1) minus targets (n,), or no zero_grad.  The loss is measured correctly."""
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(steps):
        prediction = model(X)
        losses.append((prediction[:, 0] - y).square().mean().item())
        if n_by_n:
            optimizer.zero_grad()
        (prediction - (y if n_by_n else y[:, None])).square().mean().backward()
        optimizer.step()
    return losses


def regression(lab: ModuleType, path: Path) -> None:
    """Gradient descent against the closed form; the loss curves of the right loop and of two wrong ones."""
    X, y = diabetes()
    best, floor = least_squares(X, y)
    model = start(lab)
    losses = lab.fit(model, X, y, 0.2, 3000)
    b = model(torch.zeros(1, X.shape[1]))[0]
    w = model(torch.eye(X.shape[1]))[:, 0] - b
    apart = (torch.cat([w, b]).double() - best).abs().max().item()
    wrong = start(lab)
    flat = wrong_fit(wrong, X, y, 0.2, 200, n_by_n=True)
    swing = wrong_fit(start(lab), X, y, 0.2, 200, n_by_n=False)
    print("linear regression, 442 patients, 10 features")
    print(f"  closed form: loss {floor:.4f};  3,000 steps: loss {losses[-1]:.4f}, parameters {apart:.0e} apart at most")
    spread = wrong(X).std().item()
    print(
        f"  (n, 1) - (n,): loss {flat[-1]:.4f} after 200 steps; its predictions have a standard deviation of {spread:.4f}"
    )
    print(f"  no zero_grad: loss between {min(swing[100:]):.2f} and {max(swing[100:]):.2f} in steps 100 to 200")
    _draw_losses(path, losses[:100], flat[:100], swing[:100], floor)


def start(lab: ModuleType) -> nn.Module:
    """The same first model each time."""
    torch.manual_seed(0)
    model: nn.Module = lab.LinearRegression(10)
    return model


def _draw_losses(path: Path, right: list[float], flat: list[float], swing: list[float], floor: float) -> None:
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(7.2, 3.9), layout="constrained")
    axis.plot(swing, color=PINK, lw=1, label="no zero_grad: swings for ever")
    axis.plot(flat, color=ORANGE, lw=2, label="(n, 1) - (n,): learns the mean")
    axis.plot(right, color=BLUE, lw=2, label="fit")
    axis.axhline(floor, color=GREY, ls="--", lw=1.2, label=f"closed form: {floor:.3f}")
    axis.set(
        title="Only one of three loops reaches least squares; all three run without an error",
        xlabel="step of gradient descent",
        ylabel="mean squared error (variance of y = 1)",
        ylim=(0.3, 2.6),
        xlim=(0, len(right)),
    )
    axis.legend(loc="upper right", frameon=False)
    save(figure, path)


# ---- the MLP on real data


@dataclass
class Data:
    """Images as rows of numbers in [0, 1], their classes, and what is held out."""

    X: Float[Tensor, "n d"]
    y: Int[Tensor, " n"]
    test_X: Float[Tensor, "m d"]
    test_y: Int[Tensor, " m"]


def digits() -> Data:
    """1,797 handwritten digits, 8x8 pixels, from scikit-learn: 1,437 to train on, 360 held out."""
    from sklearn.datasets import load_digits

    data = load_digits()
    X, y = torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))
    train, test = order[:1437], order[1437:]
    return Data(X[train], y[train], X[test], y[test])


def from_file(path: Path) -> Data:
    """x_train, y_train, x_test, y_test from an .npz of images with values from 0 to 255."""
    try:
        with np.load(path) as file:
            arrays = [file[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}") from None
    except (OSError, ValueError, KeyError) as e:
        raise BadInput(f"{path.name} is not an .npz with x_train, y_train, x_test and y_test: {e}") from None
    X, test_X = (torch.tensor(a.reshape(len(a), -1), dtype=torch.float32) / 255 for a in arrays[::2])
    y, test_y = (torch.tensor(a.astype(np.int64)) for a in arrays[1::2])
    return Data(X, y, test_X, test_y)


def parameters(d: int, hidden: int, classes: int) -> list[Tensor]:
    """W1, b1, W2, b2: weights with a standard deviation of 1/√inputs, biases zero."""
    rng = torch.Generator().manual_seed(0)
    W1, W2 = (torch.randn(a, b, generator=rng) / a**0.5 for a, b in ((d, hidden), (hidden, classes)))
    return [W1, torch.zeros(hidden), W2, torch.zeros(classes)]


def same_in_torch(W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> nn.Sequential:
    """The same network of torch.nn layers, with the same numbers in it; nn.Linear keeps its weights transposed."""
    network = nn.Sequential(nn.Linear(*W1.shape), nn.Tanh(), nn.Linear(*W2.shape))
    with torch.no_grad():
        for mine, theirs in zip((W1.T, b1, W2.T, b2), network.parameters(), strict=True):
            theirs.copy_(mine)
    return network


def accuracy(logits: Float[Tensor, "m c"], y: Int[Tensor, " m"]) -> float:
    """The share of rows whose largest logit is at the right class."""
    return (logits.argmax(dim=1) == y).double().mean().item()


def train_both(lab: ModuleType, data: Data, hidden: int, epochs: int, lr: float = 0.5, batch: int = 64) -> None:
    """The same start, the same batches: once with the lab's hand-written backward, once with torch.nn."""
    from tqdm import tqdm

    mine = parameters(data.X.shape[1], hidden, int(data.y.max()) + 1)
    network = same_in_torch(*mine)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    rng, losses, theirs = torch.Generator().manual_seed(1), [], []
    batches = [order for _ in range(epochs) for order in torch.randperm(len(data.X), generator=rng).split(batch)]
    for rows in tqdm(batches, desc="training two networks", leave=False, disable=not sys.stderr.isatty()):
        X, y = data.X[rows], data.y[rows]
        loss, gradients = lab.mlp_gradients(X, y, *mine)
        for parameter, gradient in zip(mine, gradients, strict=True):
            parameter -= lr * gradient
        losses.append(float(loss))

        optimizer.zero_grad()
        value = F.cross_entropy(network(X), y)
        value.backward()
        optimizer.step()
        theirs.append(value.item())
    W1, b1, W2, b2 = mine
    with torch.no_grad():
        logits = (data.test_X @ W1 + b1).tanh() @ W2 + b2
        by_hand, by_torch = accuracy(logits, data.test_y), accuracy(network(data.test_X), data.test_y)
    apart = max(abs(a - b) for a, b in zip(losses, theirs, strict=True))
    print(
        f"MLP, {len(data.X):,} images of {data.X.shape[1]} pixels, {hidden} hidden units, {len(batches):,} steps of {batch}"
    )
    print(f"  by hand:  loss {losses[0]:.3f} -> {losses[-1]:.3f}, test accuracy {by_hand:.1%}")
    print(f"  torch.nn: loss {theirs[0]:.3f} -> {theirs[-1]:.3f}, test accuracy {by_torch:.1%}")
    print(f"  the losses of a step are {apart:.0e} apart at most")
    _draw_errors(FOLDER / "artifacts" / "errors.png", logits, data)


def _draw_errors(path: Path, logits: Float[Tensor, "m c"], data: Data) -> None:
    """The held-out images that the network gets wrong, the most confident errors first."""
    p, said = logits.softmax(dim=1).max(dim=1)
    wrong = (said != data.test_y).nonzero()[:, 0]
    wrong = wrong[p[wrong].argsort(descending=True)]
    side = round(data.X.shape[1] ** 0.5)
    if side * side != data.X.shape[1] or not len(wrong):
        return
    figure, axes = _pyplot().subplots(2, 6, figsize=(8, 3.7), layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, i in zip(axes.flat, wrong.tolist(), strict=False):
        axis.imshow(data.test_X[i].reshape(side, side), cmap="Greys", vmin=0, vmax=1)
        axis.set_title(f"a {data.test_y[i]}; says {said[i]}, {p[i]:.0%}", fontsize=9)
    figure.suptitle(
        f"Wrong on {len(wrong)} of {len(data.test_y):,} held-out images; the errors it was surest of come first"
    )
    save(figure, path)


# ---- time


def seconds(work: Callable[[], object], device: str, repeats: int = 30) -> float:
    """The median time of one call.

    The first calls pay for memory, caches and kernels, so three are thrown away.  A GPU only *queues* the work and
    returns; without synchronize the clock would measure the queueing.
    """

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def timings(lab: ModuleType, data: Data) -> None:
    """Loss and gradients of the MLP on each device that is here."""
    print("loss and gradients, median of 30, 1 CPU thread    by hand       autograd")
    for device in ("cpu", "cuda"):
        if device == "cuda" and not torch.cuda.is_available():
            print("  no GPU here: its rows are left out")
            continue
        for n, hidden in ((64, 32), (len(data.X), 256)):
            start = parameters(data.X.shape[1], hidden, 10)
            hand, auto = one_step(lab, start, data.X[:n], data.y[:n], device)
            a, b = seconds(hand, device), seconds(auto, device)
            print(f"  {device:4s} batch {n:5,d}, hidden {hidden:3,d} {'':13s} {a * 1e3:9.2f} ms {b * 1e3:11.2f} ms")


def one_step(
    lab: ModuleType, start: list[Tensor], X: Float[Tensor, "n d"], y: Int[Tensor, " n"], device: str
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same loss and gradients by hand and by torch.nn, ready to be called."""
    X, y, mine = X.to(device), y.to(device), [p.to(device) for p in start]
    network = same_in_torch(*start).to(device)
    weights = list(network.parameters())
    return lambda: lab.mlp_gradients(X, y, *mine), lambda: torch.autograd.grad(F.cross_entropy(network(X), y), weights)


def engines(lab: ModuleType) -> None:
    """One image through a 64-16-10 network: gradients from scalars, by hand, and from torch; agreement and cost."""
    torch.set_num_threads(1)
    data = digits()
    start = parameters(64, 16, 10)
    X, y = data.X[:1], data.y[:1]
    tensors = [p.clone().requires_grad_() for p in start]

    def by_torch(X: Tensor = X, y: Tensor = y) -> tuple[Tensor, ...]:
        W1, b1, W2, b2 = tensors
        return torch.autograd.grad(F.cross_entropy((X @ W1 + b1).tanh() @ W2 + b2, y), tensors)

    def by_hand() -> tuple[Tensor, ...]:
        return tuple(lab.mlp_gradients(X, y, *start)[1])

    def by_values() -> tuple[list[Tensor], int]:
        return scalar_mlp(lab, X[0].tolist(), int(y), start)

    (scalars, count), hand, auto = by_values(), by_hand(), by_torch()
    for name, other in (("scalars", scalars), ("by hand", hand)):
        apart = max((a - b).abs().max().item() for a, b in zip(other, auto, strict=True))
        print(f"{name} against torch.autograd: gradients {apart:.0e} apart at most")
    value = seconds(by_values, "cpu", 9)
    one, many = seconds(by_torch, "cpu"), seconds(lambda: by_torch(data.X, data.y), "cpu") / len(data.X)
    print(
        f"{count:,} scalar values, 1 thread, for one image: the engine takes {value / one:,.0f} times as long as torch,"
    )
    print(f"and {value / many:,.0f} times as long as torch takes per image in a batch of {len(data.X):,}.")
    print(f"By hand takes {seconds(by_hand, 'cpu') / one:.2f} of torch.autograd's time for one image.")


def scalar_mlp(lab: ModuleType, x: list[float], target: int, start: list[Tensor]) -> tuple[list[Tensor], int]:
    """The gradients of W1, b1, W2, b2 with every number a Value of the lab, and how many Values that took."""
    made: list[Any] = []
    W1, b1, W2, b2 = ([[lab.Value(v) for v in row] for row in p.reshape(-1, p.shape[-1]).tolist()] for p in start)
    hidden = [sum((w[j] * v for w, v in zip(W1, x, strict=True)), b1[0][j]).tanh() for j in range(len(b1[0]))]
    logits = [sum((w[k] * h for w, h in zip(W2, hidden, strict=True)), b2[0][k]) for k in range(len(b2[0]))]
    top = max(v.data for v in logits)
    loss = sum(((v - top).exp() for v in logits), lab.Value(0)).log() - (logits[target] - top)
    loss.backward()
    seen, made = {id(loss)}, [loss]
    for v in made:  # grows while it is walked
        for parent, _ in v.parents:
            if id(parent) not in seen:
                seen.add(id(parent))
                made.append(parent)
    grads = [
        torch.tensor([[v.grad for v in row] for row in rows]).reshape(p.shape)
        for rows, p in zip((W1, b1, W2, b2), start, strict=True)
    ]
    return grads, len(made)


# ---- short examples

EXAMPLES = {
    "A view is the same memory with other strides": """
a = torch.arange(6).reshape(2, 3)
a.stride(), a.T.stride(), a.T.is_contiguous()
a.T[0, 1] = 99
a
a.T.view(6)
a.T.reshape(6)
a[:, [0, 1]].data_ptr() == a.data_ptr(), a[:, 0:2].data_ptr() == a.data_ptr()
""",
    "Gradients accumulate": """
w = torch.tensor(2.0, requires_grad=True)
(w ** 3).backward(); w.grad
(w ** 3).backward(); w.grad
w.grad = None; (w ** 3).backward(); w.grad
""",
    "Two half batches are one batch, if each loss is divided by 2": """
x = torch.tensor([1.0, 2.0, 3.0, 6.0]); v = torch.tensor(1.0, requires_grad=True)
torch.autograd.grad((v * x).square().mean(), v)
for half in x.split(2): ((v * half).square().mean() / 2).backward()
v.grad
""",
    "detach shares memory and drops the history; no_grad records none": """
u = torch.tensor([1.0, 2.0], requires_grad=True)
h = u * 3
d = h.detach(); d.requires_grad, d.data_ptr() == h.data_ptr()
(h * h.detach()).sum().backward(); u.grad
with torch.no_grad(): k = u * 3
k.requires_grad
""",
    "What autograd refuses": """
z = torch.tensor([1.0, 2.0], requires_grad=True)
z += 1
e = z.exp()
e += 1
e.sum().backward()
f = z.square().sum(); f.backward(); f.backward()
""",
}


def views() -> None:
    """Runs the examples as a Python prompt would, errors included."""
    names: dict[str, Any] = {"torch": torch}
    for title, lines in EXAMPLES.items():
        print(f"# {title}")
        for line in filter(None, lines.splitlines()):
            print(f">>> {line}")
            try:
                exec(compile(line + "\n", "<example>", "single"), names)  # single: prints what an expression gives
            except RuntimeError as e:
                print(f"RuntimeError: {str(e).split('. ')[0]}")
        print()


# ---- all of it


def touch(lab: ModuleType) -> None:
    """Uses each part once, in the order of the tasks, so that an unfinished lab names the next one to write."""
    x, ids = torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.int64)
    lab.causal_mask(2)
    lab.one_hot(ids, 2)
    lab.pairwise_distances(x[0], x[0])
    lab.row_softmax(x[0])
    lab.target_log_probs(x, ids)
    lab.sliding_windows(ids[0], 1)
    lab.masked_mean(x, ids.bool())
    lab.alibi_bias(x[0, 0], 2)
    lab.last_states(x, ids[:, 0] + 1)
    lab.count_tokens(ids, 2)
    lab.linear_gradients(x[0], x[0, :, 0], x[0, 0], x[0, 0, 0])
    lab.fit(lab.LinearRegression(3), x[0], x[0, :, 0], 0.1, 1)
    out, _ = lab.evaluate("((1.5 - a + b) * a / b - 2 / a).tanh().exp().log().relu() - a ** 2", {"a": 2.0, "b": 3.0})
    out.backward()
    lab.mlp_gradients(x[0], ids[0], torch.zeros(3, 2), torch.zeros(2), torch.zeros(2, 2), torch.zeros(2))


def report(lab: ModuleType, full: Path | None) -> None:
    """Small mode: everything in seconds.  With a file: the MLP on that file."""
    torch.set_num_threads(1)  # products this small lose more by sharing than they gain
    touch(lab)
    if full is not None:
        train_both(lab, from_file(full), hidden=128, epochs=5, lr=0.2)
        return
    graph(lab, "(a*b + c).tanh() * a", ["a=2", "b=-3", "c=6.5"])
    print()
    regression(lab, FOLDER / "artifacts" / "regression.png")
    data = digits()
    train_both(lab, data, hidden=32, epochs=20)
    timings(lab, data)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: Path) -> None:
    """Writes a picture and says so."""
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90, pil_kwargs={"optimize": True})
    print(f"  drew {path.parent.name}/{path.name}")
