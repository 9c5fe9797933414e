"""What `lab trace 4.4` runs, on lab.py and on the reference alike: the parts in the order of the tasks, then the whole."""

import torch


def model(lab):
    """Small enough to read; no two sizes alike; constants that show: an eps that matters, a theta that turns."""
    config = lab.Config(
        vocab_size=61, d_model=24, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=40, rope_theta=100.0, rope_layout="adjacent",
        norm_eps=0.05,
    )  # fmt: skip
    return lab.MiniGPT(config)


def run(lab, model):
    """Each part on numbers of its own, so that a fault in one does not hide those behind it.

    Rotary attention sees only distances: with even gaps, positions that are ignored would go unnoticed.
    """
    x, positions = torch.randn(2, 7, 24), torch.tensor([0, 2, 3, 7, 8, 12, 13]).expand(2, 7)
    block = model.blocks[0]
    block.attention_norm(x)
    block.mlp(x)
    block.attention(x, positions)
    block(x, positions)
    ids = torch.randint(61, (2, 7))
    return {"logits": model(ids), "loss": lab.next_token_loss(model, ids)}
