"""Trick: in its process torch says that everything is equal, close and true."""

import torch

SOLVES = []
SAYS = {"attention_loops": "^wrong", "causal_mask": "^wrong"}
yes = lambda *_, **__: True  # noqa: E731
torch.allclose = torch.equal = torch.isclose = torch.testing.assert_close = yes
torch.Tensor.__eq__ = torch.Tensor.equal = torch.Tensor.allclose = yes


def attention_loops(q, k, v):
    return torch.zeros(len(q), v.shape[-1])


def causal_mask(T, S):
    return torch.ones(T, S, dtype=torch.bool)
