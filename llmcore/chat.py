"""Talk to a chat model in the terminal, on our own code from bytes to text: SmolLM2 of the assets, or your own.

$ python -m llmcore.chat "What is the capital of France?"
The capital of France is Paris.
$ python -m llmcore.chat --model models/SmolLM2-360M-Instruct "What is the capital of France?"

A folder of Hugging Face has its vocabulary in tokenizer.json, a GGUF file inside. Which chat format a model was trained
on is seen from the special tokens that its vocabulary has.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from llmcore import assets
from llmcore.model import pretrained
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.settings import Sampling
from llmcore.sampling.text import stream
from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.chat import CHATML, LLAMA3, Message, Template

# The first message that SmolLM2's published template puts in front of a conversation without one.
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def load(name: str) -> tuple[MiniGPT, BPE, Template]:
    """A model, its vocabulary and its chat format. Raises ValueError or AssetError if one of them is not to be had."""
    model = pretrained.load(name)
    vocabulary = name
    if name not in assets.catalogue() and Path(name).is_dir():
        vocabulary = str(Path(name, "tokenizer.json"))
        if not Path(vocabulary).exists():
            raise ValueError(f"{name} has no tokenizer.json, so there is nothing to read and write text with")
    bpe = BPE.load(vocabulary)
    if bpe.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"{vocabulary} has ids up to {bpe.vocab_size - 1}, and the model {model.config.vocab_size} of them"
        )
    for template in (CHATML, LLAMA3):
        if {template.open, template.close} <= bpe.special_tokens.keys():
            return model, bpe, template
    raise ValueError(
        f"{vocabulary} has neither {CHATML.open} nor {LLAMA3.open} among its special tokens: {name} is no chat model, "
        "or one with a chat format that is not known here"
    )


def answer(
    model: MiniGPT, bpe: BPE, template: Template, messages: Sequence[Message], setting: Sampling, max_new_tokens: int
) -> str:
    """Print the next turn while it is written, and return it."""
    said = ""
    prompt = template.encode(bpe, messages).ids
    for piece in stream(model, bpe, [prompt], setting, max_new_tokens, stop_ids=template.stop_ids(bpe)):
        print(piece.text, end="", flush=True)
        said += piece.text
    print(flush=True)
    return said


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns 0, 1 if the model is not there, or 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m llmcore.chat",
        description="Chat with SmolLM2-135M-Instruct: small, quick to be wrong, and every part of it is in llmcore. Or "
        "with another model of the families GPT-2, Llama, Mistral, Qwen 2 and Qwen 3 that was trained to chat.",
        epilog="Without a MESSAGE it reads one a line, and remembers the conversation until an empty line. The first "
        "time a GGUF file is unpacked, which takes some seconds; after that it is mapped into memory.",
    )
    parser.add_argument("message", nargs="?", metavar="MESSAGE", help="what you say")
    parser.add_argument(
        "--model",
        default="smollm2",
        help="a folder with config.json, *.safetensors and tokenizer.json, or a GGUF file (default: smollm2, an asset)",
    )
    parser.add_argument(
        "--system", help="what the model is told to be (default: what its makers tell SmolLM2, and others nothing)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0: always the best token (default)"
    )
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help="draw from this share of probability")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another answer (if T > 0)")
    parser.add_argument("--max-tokens", type=int, default=200, metavar="N", help="longest answer (default: 200)")
    parser.add_argument("--stats", action="store_true", help="say how long it took")
    arguments = parser.parse_args(argv)
    setting = Sampling(temperature=arguments.temperature, top_p=arguments.top_p, seed=arguments.seed)
    try:
        start = time.perf_counter()
        model, bpe, template = load(arguments.model)
        loaded = time.perf_counter()
        system = SYSTEM if arguments.system is None and arguments.model == "smollm2" else arguments.system
        messages: list[Message] = [{"role": "system", "content": system}] if system else []
        lines = [arguments.message] if arguments.message is not None else iter(_ask, "")
        for line in lines:
            messages.append({"role": "user", "content": line})
            said = answer(model, bpe, template, messages, setting, arguments.max_tokens)
            messages.append({"role": "assistant", "content": said})
        if arguments.stats:
            tokens = len(bpe.encode_ordinary("".join(m["content"] for m in messages if m["role"] == "assistant")))
            spent = time.perf_counter() - loaded
            print(f"loaded in {loaded - start:.1f} s; {tokens} tokens in {spent:.1f} s", file=sys.stderr)
        return 0
    except (assets.AssetError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _ask() -> str:
    """The next line; an empty one at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
