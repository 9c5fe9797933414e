"""Text to ids and back.

- base    the protocol: what everything that is called a tokenizer here can do
- basic   whole words, GPT-2's pre-tokens, single bytes
- ranks   GPT-2's own BPE vocabulary, and tiktoken's encoder on it without a network (import it by its full name)
"""

from llmcore.tokenizers.base import Tokenizer
from llmcore.tokenizers.basic import GPT2_PATTERN, UNK, ByteTokenizer, RegexTokenizer, WordTokenizer, pre_tokenize

__all__ = ["GPT2_PATTERN", "UNK", "ByteTokenizer", "RegexTokenizer", "Tokenizer", "WordTokenizer", "pre_tokenize"]
