"""`lab trace` on a small transformer of its own: what is wrong is found where it is, what is only different is not."""

import io
from pathlib import Path

import pytest
import torch
from conftest import write

from labkit import catalog, scaffold, trace, trace_page
from labkit.cli import main
from labkit.kitchen import Kitchen
from labkit.trace_lines import Numbers, rearranged
from labkit.trace_symptoms import relation, same, symptom

TOML = """
id = "98.1"
title = "A small model"
why = "To be traced."
difficulty = 1
minutes = 5
concepts = ["modules"]
needs = []
extras = []

[[task]]
name = "norm"
points = 1
writes = ["Norm.forward"]
hints = ["a", "b", "c"]

[[task]]
name = "attention"
points = 1
writes = ["Attention.weights", "Attention.forward"]
hints = ["a", "b", "c"]

[[task]]
name = "model"
points = 1
writes = ["Block.forward", "Model.forward"]
hints = ["a", "b", "c"]

[[task]]
name = "loss"
points = 1
hints = ["a", "b", "c"]
"""
SOLUTION = """
import math

import torch
import torch.nn.functional as F
from torch import nn


def turn(x, positions, base=100.0, flip=False):
    angle = positions[:, None, :, None] * base ** -(torch.arange(x.shape[-1] // 2) / x.shape[-1])
    a, b = x.chunk(2, dim=-1)
    sign = -1 if flip else 1
    return torch.cat([a * angle.cos() - sign * b * angle.sin(), b * angle.cos() + sign * a * angle.sin()], dim=-1)


class Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.eps = 0.05
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        # TODO: divide by the root mean square
        ### BEGIN SOLUTION
        mean = x.square().mean(dim=-1, keepdim=True)
        return x / torch.sqrt(mean + self.eps) * self.weight
        ### END SOLUTION


class Attention(nn.Module):
    def __init__(self, d, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, d // heads
        self.q = nn.Linear(d, d, bias=False)
        self.k = nn.Linear(d, kv_heads * self.head_dim, bias=False)
        self.v = nn.Linear(d, kv_heads * self.head_dim, bias=False)
        self.out = nn.Linear(d, d, bias=False)

    def weights(self, x, positions):
        # TODO: softmax over keys
        ### BEGIN SOLUTION
        q = self.q(x).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
        k = self.k(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        q, k = turn(q, positions, flip=True), turn(k, positions, flip=True)
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(diagonal=1)
        scores = scores.masked_fill(future, -math.inf)
        return scores.softmax(dim=-1)
        ### END SOLUTION

    def forward(self, x, positions):
        # TODO: mix the values
        ### BEGIN SOLUTION
        v = self.v(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
        mixed = self.weights(x, positions) @ v
        mixed = mixed.transpose(1, 2).flatten(2)
        return self.out(mixed)
        ### END SOLUTION


class Block(nn.Module):
    def __init__(self, d, heads, kv_heads):
        super().__init__()
        self.attention_norm, self.mlp_norm = Norm(d), Norm(d)
        self.attention = Attention(d, heads, kv_heads)
        self.mlp = nn.Sequential(nn.Linear(d, 20), nn.SiLU(), nn.Linear(20, d))

    def forward(self, x, positions):
        # TODO: two sums
        ### BEGIN SOLUTION
        x = x + self.attention(self.attention_norm(x), positions)
        return x + self.mlp(self.mlp_norm(x))
        ### END SOLUTION


class Model(nn.Module):
    def __init__(self, ids, d, heads, kv_heads):
        super().__init__()
        self.embedding = nn.Embedding(ids, d)
        self.blocks = nn.ModuleList(Block(d, heads, kv_heads) for _ in range(2))
        self.final_norm = Norm(d)
        self.head = nn.Linear(d, ids, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        # TODO: all of it
        ### BEGIN SOLUTION
        positions = torch.arange(ids.shape[1]).expand(ids.shape)
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, positions)
        return self.head(self.final_norm(x))
        ### END SOLUTION


def loss(model, ids):
    # TODO: the next token
    ### BEGIN SOLUTION
    logits = model(ids)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    ### END SOLUTION
"""
PLAN = """
import torch


def model(lab):
    return lab.Model(31, 12, 6, 3)


def run(lab, model):
    x, positions = torch.randn(2, 5, 12), torch.tensor([0, 2, 3, 7, 11]).expand(2, 5)
    block = model.blocks[0]
    block.attention_norm(x)
    block.attention(x, positions)
    ids = torch.randint(31, (2, 5))
    return {"logits": model(ids), "loss": lab.loss(model, ids)}
"""


@pytest.fixture(scope="module")
def source():
    with Kitchen(["torch"]) as made:
        yield made


@pytest.fixture
def lab(tmp_path, monkeypatch):
    folder = tmp_path / "phases" / "phase-98-x" / "lab-01-y"
    for name, text in {"lab.toml": TOML, "solution.py": SOLUTION, "trace.py": PLAN}.items():
        write(folder / name, text)
    write(folder / "test_lab.py", "import torch\n")
    (tmp_path / "labkit").mkdir()
    monkeypatch.chdir(tmp_path)
    made = catalog.read(folder)
    scaffold.write(made.file("lab.py"), scaffold.generate(made))
    return made


@pytest.fixture
def traced(source, lab):
    """traced((old, new), …) → what is said of the reference with `old` replaced by `new`."""

    def made(*changes):
        text = lab.file("solution.py").read_text()
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        lab.file("lab.py").write_text(text)
        return trace.trace(source, lab, lab.file("lab.py"))

    return made


def code(lab, made):
    lines = lab.file("lab.py").read_text().splitlines()
    return [lines[n - 1].strip() for n in made.finding.lines]


def page(lab, made):
    out = io.StringIO()
    trace_page.render(lab, lab.file("lab.py"), made, out)
    return out.getvalue()


def test_the_reference_agrees_with_itself_in_every_intermediate(lab, traced):
    made = traced()
    assert made.finding is None
    attention = 1 + 7  # itself; v, weights(), q, k, turn() twice, out
    block = 1 + 1 + attention + 1 + 4  # itself; attention_norm; mlp_norm; mlp and its three layers
    model = 1 + 1 + 2 * block + 2  # itself; embedding; final_norm and head
    assert made.agreed == 1 + attention + model + (1 + model)  # a norm, attention, the model, the loss with the model
    assert [(row.mark, row.name) for row in made.rows] == [
        ("✓", "blocks.0.attention_norm"),
        ("✓", "blocks.0.attention"),
        ("✓", "Model"),
        ("✓", "loss()"),
    ]
    assert f"✓ All {made.agreed} intermediates agree." in page(lab, made)


Q_AND_K = "q, k = turn(q, positions, flip=True), turn(k, positions, flip=True)"
WRONG = {
    "no √d": (
        " / math.sqrt(self.head_dim)", "",
        "blocks.0.attention.weights()", "right up to a factor: 1.414 ×, which is √2", "scores.masked_fill",
    ),
    "softmax over queries": (
        "softmax(dim=-1)", "softmax(dim=-2)",
        "blocks.0.attention.weights()", "sums to 1 over dimension -2", "softmax(dim=-2)",
    ),
    "softmax over queries, given back turned": (
        "return scores.softmax(dim=-1)", "return scores.softmax(dim=-1).mT",
        "blocks.0.attention.weights()", "Transposed: the last two dimensions", "softmax(dim=-1).mT",
    ),
    "mask off by one": (
        "triu(diagonal=1)", "triu(diagonal=2)",
        "blocks.0.attention.weights()", "4 of 25 places, first at [0, 1], all just above the diagonal", "diagonal=2",
    ),
    "no mask": (
        "scores = scores.masked_fill(future, -math.inf)", "pass",
        "blocks.0.attention.weights()", "not 0 where the reference is 0: 120 of 300 places", "softmax",
    ),
    "heads merged without transposing": (
        "mixed.transpose(1, 2).flatten(2)", "mixed.reshape(x.shape)",
        "blocks.0.attention:", "The right numbers in the wrong order.", "mixed.reshape(x.shape)",
    ),
    "heads cut without transposing": (
        "q = self.q(x).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)",
        "q = self.q(x).view(x.shape[0], self.heads, -1, self.head_dim)",
        "blocks.0.attention.weights()", "only number 0 is right", "q = self.q(x).view",
    ),
    "heads shared in the wrong order": (
        "k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)", "k = k.repeat(1, 2, 1, 1)",
        "blocks.0.attention.weights()", "only number 0 is right", "k = k.repeat(1, 2, 1, 1)",
    ),
    "values turned": (
        "        v = v.repeat", "        v = turn(v, positions, flip=True)\n        v = v.repeat",
        "blocks.0.attention:", "only number 0 is right", "v = turn(v, positions, flip=True)",
    ),
    "another setting of a helper": (
        Q_AND_K, "q, k = turn(q, positions), turn(k, positions)",
        "what goes into turn() as flip does not", "False instead of True", "q, k = turn(q, positions)",
    ),
    "positions ignored": (
        Q_AND_K, "at = torch.arange(5).expand(2, 5)\n        q, k = turn(q, at, flip=True), turn(k, at, flip=True)",
        "blocks.0.attention.weights()", "only number 0 is right", "at = torch.arange(5)",
    ),
    "positions all zero": (
        "torch.arange(ids.shape[1]).expand(ids.shape)", "torch.zeros_like(ids)",
        "what goes into blocks.0 as positions does not", "0 where the reference is not 0: 8 of 10", "torch.zeros_like",
    ),
    "norm after": (
        "x = x + self.attention(self.attention_norm(x), positions)",
        "x = self.attention_norm(x + self.attention(x, positions))",
        "what goes into attention_norm does not", "You call attention before attention_norm", "x = self.attention_norm(",
    ),
    "no residual": (
        "x = x + self.attention(", "x = self.attention(",
        "what goes into mlp_norm does not", "the input x of blocks.0 is missing from the sum", "x = self.attention(",
    ),
    "residual of the normed": (
        "x = x + self.attention(self.attention_norm(x), positions)",
        "x = self.attention_norm(x)\n        x = x + self.attention(x, positions)",
        "what goes into mlp_norm does not",
        "what attention_norm gave stands in the place of the input x of blocks.0", "x = x + self.attention(x, positions)",
    ),
    "no final norm": (
        "self.head(self.final_norm(x))", "self.head(x)",
        "what goes into head does not", "final_norm is never called.", "return self.head(x)",
    ),
    "the same norm twice": (
        "self.mlp(self.mlp_norm(x))", "self.mlp(self.attention_norm(x))",
        "what goes into mlp does not", "attention_norm is called 2 times", "self.mlp(self.attention_norm(x))",
    ),
    "blocks in the wrong order": (
        "for block in self.blocks", "for block in self.blocks[::-1]",
        "what goes into blocks.0 as x does not", "You call blocks.1 before blocks.0", "x = block(x, positions)",
    ),
    "eps outside the root": (
        "torch.sqrt(mean + self.eps)", "(torch.sqrt(mean) + self.eps)",
        "Inside blocks.0.attention_norm: its input agrees; what it returns", "of 120 differ", "torch.sqrt(mean)",
    ),
    "mean subtracted": (
        "        mean = x.sq", "        x = x - x.mean(-1, keepdim=True)\n        mean = x.sq",
        "Inside blocks.0.attention_norm", "of 120 differ", "x = x - x.mean",
    ),
    "sum for mean": (
        "x.square().mean(dim", "x.square().sum(dim",
        "Inside blocks.0.attention_norm", "right up to a factor: 12 ×.", "x.square().sum",
    ),
    "another precision": (
        "* self.weight", "* self.weight.double()",
        "Inside blocks.0.attention_norm", "It is float64; float32 is expected.", "self.weight.double()",
    ),
    "no shift": (
        "logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()", "logits.flatten(0, 1), ids.flatten()",
        "Inside loss()", " instead of ", "return F.cross_entropy",
    ),
    "nothing returned": (
        "return self.out(mixed)", "self.out(mixed)",
        "Inside blocks.0.attention:", "is a `return` missing?", "",
    ),
    "a tuple returned": (
        "return self.out(mixed)", "return self.out(mixed), None",
        "Inside blocks.0.attention:", "a list or tuple where a tensor is expected", "return self.out(mixed), None",
    ),
    "an argument changed in place": (
        "return x / torch.sqrt(mean + self.eps) * self.weight",
        "x /= torch.sqrt(mean + self.eps)\n        x *= self.weight\n        return x",
        "what goes into blocks.0.attention as x does not", "attention_norm changes its input x in place.", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_version_is_located_and_its_line_shown(name, lab, traced):
    old, new, where, how, line = WRONG[name]
    made = traced((old, new))
    said = page(lab, made)
    assert where in made.finding.where
    assert how in " ".join(made.finding.how)
    assert made.finding.error is None
    assert ("✗" in said, "Traceback" in said) == (True, False)
    if line:
        assert line in code(lab, made)[0]


SDPA = """mixed = F.scaled_dot_product_attention(
            turn(self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2), positions, flip=True),
            turn(self.k(x).unflatten(-1, (self.kv_heads, -1)).transpose(1, 2), positions, flip=True),
            v[:, ::2], is_causal=True, enable_gqa=True)"""
LOOPS = """w, mixed = self.weights(x, positions), torch.zeros(2, 6, 5, 2)
        for b, h, t, s in torch.cartesian_prod(*map(torch.arange, (2, 6, 5, 5))).tolist():
            mixed[b, h, t] += w[b, h, t, s] * v[b, h, s]"""
RIGHT = {
    "keys before queries": [(Q_AND_K, "k = turn(k, positions, flip=True); q = turn(q, positions, flip=True)")],
    "torch's attention": [("mixed = self.weights(x, positions) @ v", SDPA)],
    "loops": [("mixed = self.weights(x, positions) @ v", LOOPS)],
    "einsum": [("self.weights(x, positions) @ v", "torch.einsum('bhts,bhsd->bhtd', self.weights(x, positions), v)")],
    "a sum in place": [("x = x + self.attention(", "x = x.clone(); x += self.attention(")],
    "a mask that is added": [("scores.masked_fill(future, -math.inf)", "scores + future * -1e9")],
    "the rotation written out": [(Q_AND_K, "q, k = (torch.view_as_real(torch.complex(*z.chunk(2, -1)) * torch.polar("
        "torch.ones(1), -positions[:, None, :, None] * 100.0 ** -(torch.arange(1) / 2))).mT.flatten(-2) for z in (q, k))")],
    "batch and time in one": [("self.mlp(self.mlp_norm(x))", "self.mlp(self.mlp_norm(x.flatten(0, 1))).view(x.shape)")],
    "a helper of one's own": [("return x / torch", "return self.scaled(x, mean)\n\n    def scaled(self, x, mean):\n"
                               "        return x / torch")],
    "a norm that is called and not used": [("        x = self.embedding(ids)", "        x = self.embedding(ids)\n"
                                            "        self.final_norm(x)")],
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_done_otherwise_and_right_is_not_reported(name, traced):
    made = traced(*RIGHT[name])
    assert made.finding is None, made.finding
    assert made.agreed > 20


def test_two_ways_at_once_only_the_wrong_one_is_shown(lab, traced):
    """A mask of one's own kind stands beside a wrong scale: the scale is at fault."""
    made = traced(
        (" / math.sqrt(self.head_dim)", ""), ("scores.masked_fill(future, -math.inf)", "scores + future * -1e9")
    )
    assert "which is √2" in made.finding.how[0]
    assert code(lab, made) == ["scores = scores + future * -1e9"]


def test_an_unfinished_lab_is_traced_as_far_as_it_goes(lab, traced, source):
    made = trace.trace(source, lab, lab.file("lab.py"))
    assert made.finding.where == "Norm.forward is not written yet."
    assert "lab hint 98.1 norm" in page(lab, made)
    made = traced(
        ("x = x + self.attention(self.attention_norm(x), positions)", 'raise NotImplementedError("Block.forward")')
    )
    assert made.finding.where == "Block.forward is not written yet.  All that comes before it agrees."
    said = page(lab, made)
    assert "✓ blocks.0.attention " in said
    assert "lab hint 98.1 model" in said
    assert "✗" not in said


def test_a_forward_that_raises_says_what_agreed_until_then(lab, traced):
    made = traced(("mixed.transpose(1, 2).flatten(2)", "mixed.transpose(1, 2).view(x.shape)"))
    assert (
        made.finding.where == "Inside blocks.0.attention: its inputs agree, and so do v and weights(); then it stops."
    )
    said = page(lab, made)
    assert "RuntimeError at line" in said
    assert ".view(x.shape)" in said


def test_the_cause_comes_before_the_crash_that_it_leads_to(traced):
    made = traced(("mixed.transpose(1, 2).flatten(2)", "mixed.transpose(1, 2)"))
    assert "what goes into out does not" in made.finding.where
    assert made.finding.how == ["Right numbers in another shape."]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("self.heads, self.kv_heads, self.head_dim =", "self.gate = = 1", "the file does not load"),
        ("self.final_norm = Norm(d)", "self.final_norm = Norm(d, 3)", "the model cannot be built"),
        ("        v = self.v(x)", "        exit()\n        v = self.v(x)", "its inputs agree; then it stops"),
        ("        v = self.v(x)", "        import os; os._exit(3)\n        v = self.v(x)", "the run was ended"),
        ("        v = self.v(x)", "        while True: print('x' * 999)\n        v = self.v(x)", "the run was ended"),
        ("def loss(", "def lose(", "It stops between the calls"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_one_sentence(old, new, said, lab, traced):
    made = traced((old, new))
    assert said in made.finding.where
    assert made.finding.error is not None
    assert "Traceback" not in page(lab, made)


@pytest.mark.slow
def test_a_hang_is_ended_and_its_line_told(lab, traced):
    made = traced(("        v = self.v(x)", "        while True: pass\n        v = self.v(x)"))
    assert "✓ blocks.0.attention_norm" in page(lab, made)
    assert "too slow: no end after 8 s; it was at line" in page(lab, made)


def test_other_parameters_are_told_before_anything_runs(lab, traced):
    made = traced(("        self.out = nn", "        self.o = self.out = nn"))
    assert made.finding is None  # one more name for the same tensor
    assert made.notes == [
        "Your model has parameters that the reference has not: blocks.0.attention.o.weight, blocks.1.attention.o.weight."
    ]
    made = traced(("        self.out = nn", "        self.o = nn"), ("self.out(mixed)", "self.o(mixed)"))
    assert "no parameter `blocks.0.attention.out.weight`, but a `blocks.0.attention.o.weight`" in made.finding.where
    made = traced(("nn.Linear(20, d)", "nn.Linear(20, d + 1)"))
    assert made.finding.where == "The parameter `blocks.0.mlp.2.weight` has shape [13, 20]; [12, 20] is expected."
    made = traced(("        self.head.weight = self.embedding.weight\n", ""))
    assert "`embedding.weight` and `head.weight` are one tensor in the reference" in made.finding.where


def test_what_is_too_large_to_keep_is_passed_over(traced):
    made = traced(("        v = self.v(x)", "        torch.zeros(3000, 3000) + x.sum()\n        v = self.v(x)"))
    assert made.finding is None
    made = traced(("return self.head(self.final_norm(x))", "return self.head(self.final_norm(x)).repeat(900, 9, 9)"))
    assert "what it returns does not" in made.finding.where


def test_without_fork_each_run_has_a_process_of_its_own(lab):
    text = lab.file("solution.py").read_text()
    lab.file("lab.py").write_text(text.replace("        v = self.v(x)", "        v = self.w(x)"))
    with Kitchen(["torch"], fork=False) as fresh:
        made = trace.trace(fresh, lab, lab.file("lab.py"))
    assert made.finding.where == "Inside blocks.0.attention: its inputs agree; then it stops."
    assert made.finding.error.text.endswith("has no attribute 'w'")


# ---- the command


def run(*words: str) -> int:
    try:
        return main(list(words))
    except SystemExit as e:
        return int(e.code or 0)


def test_the_command_exits_0_for_agreement_and_1_for_a_difference(lab, capsys):
    assert run("trace", "98.1", "--solution") == 0
    text = lab.file("solution.py").read_text()
    Path("other.py").write_text(text.replace("x = x + self.att", "print('hello \\033[2J')\n        x = self.att"))
    capsys.readouterr()
    assert run("trace", "98.1", "--file", "other.py") == 1
    out, err = capsys.readouterr()
    assert "missing from the sum" in " ".join(out.split())  # a worker of xdist may have a narrow terminal
    assert "hello" not in out
    assert "your code printed\n  │ hello �[2J" in err


def test_a_lab_without_a_model_names_those_with_one(lab, capsys):
    folder = lab.folder.parent / "lab-02-z"
    write(folder / "lab.toml", TOML.replace("98.1", "98.2"))
    assert run("trace", "98.2") == 2
    assert capsys.readouterr().err == "98.2 has no model to trace; labs with one: 98.1.\n"
    lab.file("trace.py").unlink()
    assert run("trace", "98.2") == 2
    assert "labs with one: none yet." in capsys.readouterr().err


def test_a_reference_that_does_not_run_is_its_authors_error(lab, capsys):
    write(lab.file("trace.py"), PLAN.replace("lab.Model(31, 12, 6, 3)", "lab.Modell()"))
    assert run("trace", "98.1") == 2
    assert "the reference does not run: it raised AttributeError" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 120])
def test_the_page_fits_the_terminal_and_is_plain_in_a_pipe(columns, lab, traced, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    long = "triu(diagonal=2)  # " + "a thought that does not end " * 8
    said = page(lab, traced(("triu(diagonal=1)", long)))
    assert max(map(len, said.splitlines())) <= columns
    assert "\033" not in said
    assert said.replace("\n", " ").count("thought") == 8  # nothing is cut off

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    trace_page.render(lab, lab.file("lab.py"), traced(("triu(diagonal=1)", long)), out)
    assert "\033[31m✗\033[0m" in out.getvalue()


# ---- how two numbers differ


def test_same_is_judged_on_the_scale_of_the_largest_and_by_precision():
    x = torch.tensor([1e4, 1e-2, 0.0])
    assert same(x + torch.tensor([0.0, 3e-2, -3e-2]), x)
    assert not same(x / 1e4 + torch.tensor([0.0, 3e-2, 0.0]), x / 1e4)
    assert not same(x.double(), x)
    assert not same(x[None], x)
    assert same(torch.tensor([1, 2], dtype=torch.int32), torch.tensor([1, 2]))
    assert not same(torch.tensor([1.0, 2.0]), torch.tensor([1, 2]))
    assert same([x, None], [x, None])
    assert not same([x], [x, None])
    assert not same(None, x)
    assert same({"a": x}, {"a": x})
    assert not same({"b": x}, {"a": x})
    assert same(torch.tensor([torch.inf, torch.nan]), torch.tensor([torch.inf, torch.nan]))


def test_rearranged_wants_the_same_order_once_axes_are_moved():
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(1))
    assert rearranged(x.transpose(1, 2).flatten(2), x)
    assert rearranged(x.permute(3, 0, 2, 1), x)
    assert not rearranged(x.flip(1), x)
    assert not rearranged(x.repeat(1, 2, 1, 1), x.repeat_interleave(2, dim=1))
    square = x[0, 0, :4]
    assert not rearranged(square.T, square)  # the same shape, so it must be the same
    assert rearranged(square.T.reshape(2, 8), square)
    mask = torch.ones(5, 5).tril().bool()
    assert rearranged(~mask, mask)
    assert not rearranged(mask.T, mask)
    assert not rearranged(mask.float(), mask)
    assert rearranged(torch.tensor([[0.5, -1e9]]), torch.tensor([[0.5, -torch.inf]]))
    assert Numbers("text").shape is None


def test_relation_names_what_is_missing_or_too_much():
    a, b, c = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(2))
    known = [("the one", a), ("the other", b), ("no tensor", None), ("another shape", a[0])]
    assert relation(b, c, known) == "It is the other, and nothing else."
    assert relation(c, c + a, known) == "The one is missing from the sum."
    assert relation(b, a + b, known) == "It is the other; the one is missing from the sum."
    assert relation(c + b, c, known) == "The other is in the sum once too often."
    assert relation(c + b, c + a, known) == "In the sum, the other stands in the place of the one."
    assert relation(c * 2, c + a, known) == ""
    assert relation(None, c, known) == ""


@pytest.mark.parametrize(
    ("power", "words"), [(6, "√6"), (64, ""), (1 / 6, "1/√6"), (2.5, ""), (1000, "")]
)  # fmt: skip
def test_a_factor_is_told_as_a_root_when_it_is_one(power, words):
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(3))
    said = symptom(x * power**0.5, x)
    assert said.startswith("Right up to a factor")
    assert said.endswith(f", which is {words}." if words else "×.")


def test_strict_symptoms_are_silent_about_unrelated_numbers():
    rng = torch.Generator().manual_seed(4)
    for _ in range(50):
        shape = tuple(torch.randint(1, 6, (3,), generator=rng).tolist())
        x, y = torch.randn(*shape, generator=rng), torch.randn(*shape, generator=rng)
        if x.numel() < 4:
            continue
        assert symptom(x, y, strict=True) == ""
        causal = torch.randn(5, 5, generator=rng).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        assert symptom(torch.randn(5, 5, generator=rng), causal, strict=True) == ""
        assert symptom(torch.randn(5, 5, generator=rng), causal.softmax(-1), strict=True) == ""


def test_scores_that_see_too_much_are_told_with_the_place():
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(5))
    one, two = (scores.masked_fill(torch.ones(5, 5).triu(n).bool(), -torch.inf) for n in (1, 2))
    assert symptom(two, one, strict=True) == (
        "It is visible where the reference is hidden: 4 of 25 places, first at [0, 1], all just above the diagonal."
    )
    assert symptom(one, two, strict=True).startswith("It is hidden where the reference is visible: 4 of 25")
