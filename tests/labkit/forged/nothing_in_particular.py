"""Trick: answers that hold no numbers: NaN, infinity, an expanded view of one element, Opaque, chains of itself."""

import torch

from labkit.values import Opaque

SOLVES = []


class Chain:
    shape = dtype = property(lambda self: self)

    def __getattr__(self, name):
        return self

    def __call__(self, *_, **__):
        return self

    def __iter__(self):
        return iter((self, self))

    def __getitem__(self, _):
        return self


def attention_loops(q, k, v):
    return torch.full((len(q), v.shape[-1]), float("nan"))


def causal_mask(T, S):
    return Opaque("Tensor")


def attention(q, k, v, mask=None):
    return Chain()


def attention_tiled(q, k, v, block=16):
    return torch.tensor(float("inf")).expand(len(q), v.shape[-1])
