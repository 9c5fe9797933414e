"""No trick: what every other submission is followed by, in the same worker.  It looks around, too."""

import os

import torch

SOLVES = ["causal_mask", "attention_loops"]
SAYS = {}


def causal_mask(T, S):
    return torch.arange(S)[None, :] <= torch.arange(S - T, S)[:, None]


def attention_loops(q, k, v):
    rows = []
    for query in q:
        weights = torch.stack([(query * key).sum() for key in k]).div(q.shape[-1] ** 0.5).softmax(0)
        rows.append((weights[:, None] * v).sum(0))
    return torch.stack(rows)


for folder in ("/tmp", "/var/tmp", "/dev/shm", "/", "/etc", "/run"):
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if name.startswith("hostile-left"):
            print("GOT IT: a note for me:", os.path.join(folder, name))
