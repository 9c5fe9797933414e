"""The range test: its rates, its smoothing, where it ends, and that the trainer never knows."""

import math

import pytest
import torch
from torch import nn

from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.training import checkpoint
from llmcore.training.data import Batch
from llmcore.training.range_test import range_test
from llmcore.training.schedules import Constant
from llmcore.training.trainer import Settings, Trainer, next_token_loss

V, T = 23, 9


class Rows:
    def __init__(self) -> None:
        self.asked: list[int] = []

    def batch(self, step: int) -> Batch:
        self.asked.append(step)
        rows = torch.randint(0, V, (3, T + 1), generator=torch.Generator().manual_seed(step))
        return Batch(rows[:, :-1], rows[:, 1:])

    def describe(self):
        return {}


def small() -> MiniGPT:
    torch.manual_seed(0)
    return MiniGPT(Config(V, T, 12, 2, 2, dropout=0.3))


def everything(trainer: Trainer):
    states = trainer.optimizer.state_dict()
    tensors = [p.detach().clone() for p in trainer.model.parameters()]
    tensors += [value.clone() for state in states["state"].values() for value in state.values()]
    rest = (trainer.done, states["param_groups"], trainer.scaler.state_dict(), trainer.model.training)
    return tensors, (*rest, trainer.model.recompute, trainer.settings, [p.grad for p in trainer.model.parameters()])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_trainer_goes_on_as_if_nothing_had_been(tmp_path, precision, recompute):
    chosen = Settings(9, Constant(1e-2), precision=precision, recompute=recompute, log_every=1, save_every=1)
    trainer = Trainer(small(), Rows(), chosen, tmp_path / "run")
    torch.manual_seed(5)
    trainer.step()
    trainer.model.eval()
    (tensors, rest), random = everything(trainer), checkpoint.random_state()
    found = range_test(trainer, 1e-4, 0.5, steps=7)
    after, rest_after = everything(trainer)
    assert all(torch.equal(a, b) for a, b in zip(tensors, after, strict=True))
    assert rest == rest_after
    now = checkpoint.random_state()
    assert torch.equal(now["torch"], random["torch"])
    assert now["python"] == random["python"]
    assert torch.equal(now["numpy"][1], random["numpy"][1])
    assert not (tmp_path / "run").exists()
    assert len(found.rates) == len(found.losses) == 7
    assert next(p for p in trainer.model.parameters()).is_leaf


def test_rates_grow_by_one_factor_and_the_losses_are_those_of_training_with_them():
    trainer = Trainer(small(), Rows(), Settings(9, Constant(1e-2), clip=0.4, weight_decay=0.3, accumulate=2))
    torch.manual_seed(3)
    found = range_test(trainer, 2e-4, 0.2, steps=4)
    assert found.rates == pytest.approx([2e-4, 2e-3, 2e-2, 0.2])
    by_hand = Trainer(
        small(), Rows(), Settings(4, lambda step: found.rates[step], clip=0.4, weight_decay=0.3, accumulate=2)
    )
    torch.manual_seed(3)
    assert [by_hand.step().loss for _ in range(4)] == found.losses
    assert trainer.batches.asked == list(range(8))


class Curve:
    """A loss that is whatever the list says, step by step, whatever the weights are."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = list(losses)
        self.calls = 0

    def __call__(self, net, batch):
        value = self.losses[self.calls]
        self.calls += 1
        return 0 * net(batch.ids).sum() + value * batch.counted


def searched(losses, steps=None):
    curve = Curve(losses)
    trainer = Trainer(small(), Rows(), Settings(9, Constant(1e-2)), loss=curve)
    return range_test(trainer, 1.0, 2.0 ** ((steps or len(losses)) - 1), steps or len(losses)), curve


def test_best_is_where_the_smoothed_loss_is_lowest():
    found, _ = searched([4.0, 3.0, 1.0, 3.5, 2.0, 3.4, 3.5])
    # smoothed by hand: 4, 3.8, 3.24, 3.292, 3.0336, 3.10688, 3.185504
    assert found.losses == pytest.approx([4.0, 3.0, 1.0, 3.5, 2.0, 3.4, 3.5])
    assert found.best == pytest.approx(16.0)


def test_it_ends_where_the_smoothed_loss_is_two_above_its_lowest():
    found, curve = searched([4.0, 3.0, 13.7, 13.7, 50.0, 1.0], 6)
    # 4, 3.8, 5.78 (1.98 above), 7.364 (3.564 above): the end
    assert curve.calls == 4
    assert len(found.losses) == 4
    assert found.best == pytest.approx(2.0)
    found, curve = searched([10.0, 0.0, 0.0, 0.0, 0.0, 15.0, 1.0], 7)
    # 10, 8, 6.4, 5.12, 4.096, 6.2768: far below the first, and the end
    assert curve.calls == 6
    assert found.best == pytest.approx(16.0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_it_ends_before_a_loss_that_is_no_number(wrong):
    found, curve = searched([4.0, 3.0, 2.0, wrong, 1.0])
    assert curve.calls == 4
    assert found.losses == pytest.approx([4.0, 3.0, 2.0])
    assert found.best == pytest.approx(4.0)


def test_a_first_loss_that_is_no_number_is_an_error_and_leaves_the_generators_alone():
    torch.manual_seed(4)
    trainer = Trainer(small(), Rows(), Settings(9, Constant(1e-2)), loss=Curve([math.nan]))
    state = torch.get_rng_state()
    with pytest.raises(FloatingPointError, match="step 0: loss nan"):
        range_test(trainer, steps=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_rates_that_ruin_a_real_model_end_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(V, 8), nn.Linear(8, V))
    found = range_test(Trainer(model, Rows(), Settings(9, Constant(1e-2))), 1e-3, 1e4, steps=60)
    assert len(found.rates) < 60
    assert max(found.losses) > min(found.losses) + 2
    assert 1e-3 < found.best < found.rates[-1]


@pytest.mark.parametrize(
    ("lowest", "highest", "steps"), [(0, 1, 9), (-1, 1, 9), (0.1, 0.1, 9), (1, 0.1, 9), (0.1, 1, 1)]
)
def test_what_is_no_rising_series_is_refused(lowest, highest, steps):
    with pytest.raises(ValueError, match="make no rising series"):
        range_test(Trainer(small(), Rows(), Settings(9, Constant(1e-2))), lowest, highest, steps)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trainer_that_compiles_is_searched_without_and_a_compiled_model_can_be_searched():
    found = []
    for compiled in (False, True):
        plain = Trainer(small(), Rows(), Settings(9, Constant(1e-2), compile=compiled), loss=next_token_loss)
        torch.manual_seed(1)
        found.append(range_test(plain, steps=5))
    assert found[0] == found[1]
    model = torch.compile(small().eval(), backend="eager")
    trainer = Trainer(model, Rows(), Settings(9, Constant(1e-2)))
    before = [p.detach().clone() for p in model.parameters()]
    found = range_test(trainer, steps=5)
    assert len(found.losses) == 5
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
