"""GPT-2's own BPE vocabulary, out of the `gpt2` asset, and tiktoken's encoder on it: both without a network.

`tiktoken.get_encoding("gpt2")` downloads its vocabulary on first use. These are the same bytes (same sha256), fetched
once with `python -m llmcore.assets fetch gpt2`.

Does not:
- encode or train anything itself
- fetch: where the asset is missing, `AssetMissing` says how to get it
"""

from functools import cache

import tiktoken

from llmcore import assets
from llmcore.tokenizers.basic import GPT2_PATTERN
from llmcore.tokenizers.formats import read_tiktoken

END_OF_TEXT = "<|endoftext|>"


def gpt2_ranks() -> dict[bytes, int]:
    """The 50,256 byte strings of GPT-2's BPE and their ranks: the lower, the earlier merged. A rank is the token's id.

    Id 50256, <|endoftext|>, is special and not among them.
    """
    return read_tiktoken(assets.path("gpt2"))


@cache
def gpt2_tiktoken() -> tiktoken.Encoding:
    """tiktoken's GPT-2, 50,257 ids with <|endoftext|>.

    >>> gpt2_tiktoken().encode("Hello world")
    [15496, 995]
    """
    ranks = gpt2_ranks()
    return tiktoken.Encoding(
        "gpt2",
        pat_str=GPT2_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: len(ranks)},
        explicit_n_vocab=len(ranks) + 1,
    )
