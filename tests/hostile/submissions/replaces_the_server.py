"""Trick: labkit is in its process too: the server is rewritten to report whatever pleases."""

import gc

import torch

from labkit import child, wire

SOLVES = []
SAYS = {"causal_mask": "wrong|protocol|raised|ended"}
child.Server.do_call = lambda self, target, args, kwargs: torch.ones(3, 3, dtype=torch.bool)
child.Server.do_probe = lambda self, source, name, args: []
child.Server.report = lambda self, e: {"types": ["Passed"], "text": "", "line": None, "code": "", "missing": None}
wire.MAX_BYTES = 1 << 40
for x in gc.get_objects():
    if type(x) is child.Server:
        x.handles[:] = [torch] * 9
