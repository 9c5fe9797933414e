"""Text to ids and back.

- base      the protocol: what everything that is called a tokenizer here can do
- basic     whole words, GPT-2's pre-tokens, single bytes
- bpe       byte-level BPE: tiktoken's ids, streams, and files of four formats; bpe_train learns one
- patterns  where a text is cut before any merge
- ranks     GPT-2's ranks and tiktoken's encoder on them, without a network (import it by its full name)
"""

from llmcore.tokenizers.base import Tokenizer
from llmcore.tokenizers.basic import GPT2_PATTERN, UNK, ByteTokenizer, RegexTokenizer, WordTokenizer, pre_tokenize
from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.patterns import PATTERNS

__all__ = [
    "BPE",
    "GPT2_PATTERN",
    "PATTERNS",
    "UNK",
    "ByteTokenizer",
    "RegexTokenizer",
    "Tokenizer",
    "WordTokenizer",
    "pre_tokenize",
]
