"""The command line of lab 5.4, behind the lab's own: what is asked for, on whose parts."""

from __future__ import annotations

import argparse
from types import ModuleType

import decoding_extra as extra
import torch
from decoding_model import load
from decoding_report import report


def touch(lab: ModuleType) -> None:
    """Every part once, in the order of the tasks: what is not written yet says so before anything long begins."""
    table, logits = lab.Table(torch.randn(3, 3, 3), torch.randn(3, 3, 2), 2), torch.randn(5)
    lab.greedy(table, [0], 1)
    lab.scale(logits, 0.5)
    lab.keep_top_k(logits, 2)
    lab.keep_top_p(logits, 0.5)
    lab.sample(logits, 0.5, 2, 0.5, lab.seeded(0))
    lab.penalise(logits, [0], 1.5)
    lab.beam_search(table, [0], 2, 2, 1.0)
    lab.contrastive_search(table, [0], 2, 0.5, 2)
    for measure in (lab.distinct, lab.repetition):
        measure([[0, 1, 0]], 1)
    lab.overlap([[0, 1]], [[1]], 1)


def run(lab: ModuleType, arguments: argparse.Namespace) -> None:
    """What the command line asks for."""
    if arguments.judge:
        extra.judge()
        return
    found = load(arguments)
    if arguments.show is not None:
        extra.show(lab, found, arguments.show)
    elif arguments.tail:
        extra.tail(lab, found)
    elif arguments.beams:
        extra.beams(lab, found)
    elif arguments.library:
        extra.library(lab, found)
    else:
        report(lab, found, *((200, 128) if arguments.full else (50, 64)))
