"""What is worth a second before hours are spent: the targets, the mask, the first loss.

Overfitting one batch, the usual check, finds neither a forgotten shift nor a mask upside down: both make it easier. These do.
"""

import math

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from llmcore.cache.base import PADDING
from llmcore.training.data import IGNORED, Batch


def alignment(batch: Batch) -> None:
    """Each target that counts must be the next id of its row. Raises ValueError, with the way in which it is not."""
    ids, targets = batch.ids, batch.targets
    length = ids.shape[1]

    def compared(shift: int) -> Bool[Tensor, " n"]:
        """Of the targets that count and have an id so far behind them: which ones are that id?"""
        wanted, there = targets[:, : max(length - shift, 0)], ids[:, shift:]
        counts = wanted != IGNORED
        if batch.documents is not None:
            counts &= batch.documents[:, : max(length - shift, 0)] == batch.documents[:, shift:]
        return (wanted == there)[counts]

    if compared(1).all():
        return
    if compared(0).all():
        raise ValueError("the targets are the inputs themselves: the model would learn to copy. Shift them by one.")
    if len(twice := compared(2)) and twice.all():
        raise ValueError("the targets are shifted twice: by the data and by the loss?")
    raise ValueError("the targets are not the ids that follow: rows of inputs and targets do not belong together")


@torch.no_grad()
def causality(model: nn.Module, batch: Batch) -> None:
    """Change the last id of a row, or of the longest document in it: no other logit may change.

    Raises ValueError if one does. A model that answers the same to everything (its output layer is zero) shows nothing.
    """
    ids = batch.ids[:1]
    where = {name: each[:1] for name, each in batch.where.items()}
    at = ids.shape[1] - 1
    if batch.documents is not None:
        numbers, sizes = batch.documents[0][batch.documents[0] != PADDING].unique(return_counts=True)
        at = int((batch.documents[0] == numbers[sizes.argmax()]).nonzero()[-1])
    others = ids.clone()
    one_less = (ids[:, at] - 1).abs()  # of two ids, the other one: whatever the vocabulary, the model knows it
    others[:, at] = torch.where(ids[:, at] == ids[:, 0], one_less, ids[:, 0])
    training = model.training
    model.eval()
    before, after = model(ids, **where).float(), model(others, **where).float()
    model.train(training)
    off = (before - after).abs().amax(-1)[0] > 1e-5 * before.abs().max()  # a new model's faintest look gives more
    off[at] = False
    if not off.any():
        return
    first = int(off.nonzero()[0])
    if batch.documents is not None and batch.documents[0, first] != batch.documents[0, at]:
        raise ValueError(f"position {first} knows the id at {at}, of another document: is `documents` not heeded?")
    raise ValueError(f"position {first} knows the id at {at}: the model sees the future")


def first_loss(loss: float, vocab_size: int, trained: bool = False) -> None:
    """A model that knows nothing gives each of V ids about 1 / V, so its loss is about ln V. Raises ValueError if not.

    Args:
        loss: nats per token, before the first step.
        trained: the model has learned already, so its loss may well be lower.
    """
    expected = math.log(vocab_size)
    if not loss < expected + 1:
        raise ValueError(
            f"the first loss is {loss:.2f}, above ln {vocab_size} = {expected:.2f} of guessing: "
            "is the initialisation too large, or are the targets of another vocabulary?"
        )
    if loss < expected - 1 and not trained:
        raise ValueError(
            f"the first loss is {loss:.2f}, and guessing among {vocab_size} costs ln V = {expected:.2f}: a model that has "
            "learned nothing cannot know more. If it has been trained before, say trained=True"
        )
