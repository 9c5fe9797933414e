"""From logits to the next token.

- processors  what changes the distribution: temperature, top-k, top-p, min-p, penalties, bans, biases
"""
