"""Counters for probes: against sizes worked out by hand."""

import torch

from labkit.count import LiveMemory, Operations


def test_operations_are_named_in_order():
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    with Operations() as seen:
        (a @ b).exp().sum()
    assert seen.names == ["mm", "exp", "sum"]
    torch.ones(2) + 1  # outside: not counted
    assert len(seen.names) == 3


def test_gradients_are_operations_too():
    x = torch.ones(3, 4, requires_grad=True)
    with Operations() as seen:
        (x @ x.detach().T).sum().backward()
    assert seen.names.count("mm") == 2


def test_the_peak_is_what_is_alive_at_once():
    x = torch.ones(7, 11)
    with LiveMemory(x) as memory:
        a = x + 1  # 77
        b = a * 2  # 77 more
        del a
        c = b.sum(0)  # 11, when 77 have gone
        del b
        d = torch.zeros(20)  # 20 + 11
    assert (len(c), len(d)) == (11, 20)
    assert memory.peak == 154


def test_views_and_the_inputs_cost_nothing():
    x = torch.ones(6, 6)
    with LiveMemory(x) as memory:
        y = x.T[1:].reshape(5, 6)[:, None].expand(5, 4, 6)
    assert y.shape == (5, 4, 6)
    assert memory.peak == 0
    with LiveMemory() as memory:
        z = torch.ones(9)
        views = [z[i:] for i in range(5)]
    assert len(views) == 5
    assert memory.peak == 9
