"""A small language model that this repository trained itself, and how: it loads in a blink, and everything of it is here.

    model, tokenizer = load()
    print(complete(model, tokenizer, ["ROMEO."], Sampling(temperature=0.8), 60)[0].text)

README.md is its card: data, licence, recipe, curve, what it cannot do. `make model` trains it again.
"""

from pathlib import Path

from llmcore.model import pretrained
from llmcore.model.transformer import MiniGPT
from llmcore.tokenizers.bpe import BPE

FOLDER = Path(__file__).parent
EOT = "<|endoftext|>"


def load() -> tuple[MiniGPT, BPE]:
    """The model, ready to be asked, and its tokenizer."""
    return pretrained.load(FOLDER), BPE.load(FOLDER)
