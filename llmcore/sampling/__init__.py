"""From logits to the next token, and from tokens to text.

- processors   what changes the distribution: temperature, top-k, top-p, min-p, penalties, bans, biases
- settings     how one request wants its tokens, and the draw
- strategies   sampling in a batch with settings for each row, beam search, contrastive search
- text         text in, text out, piece by piece: half characters, stop strings, logprobs
- speculative  a small model drafts, the large one checks: the same distribution in fewer passes
"""
