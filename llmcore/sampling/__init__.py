"""From logits to the next token.

- processors   what changes the distribution: temperature, top-k, top-p, min-p, penalties, bans, biases
- strategies   sampling in a batch with settings for each row, beam search, contrastive search
- speculative  a small model drafts, the large one checks: the same distribution in fewer passes
"""
