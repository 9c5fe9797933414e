"""Talk to the small chat model of the assets, in the terminal and on our own code from bytes to text.

$ python -m llmcore.chat "What is the capital of France?"
The capital of France is Paris.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from llmcore import assets
from llmcore.model import pretrained
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.strategies import Sampling, generate
from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.chat import CHATML, Message

# The first message that SmolLM2's published template puts in front of a conversation without one.
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def answer(model: MiniGPT, bpe: BPE, messages: Sequence[Message], setting: Sampling, max_new_tokens: int) -> str:
    """Print the next turn while it is written, and return it."""
    stop = CHATML.stop_ids(bpe)
    decoder, said = bpe.stream_decoder(), ""
    ids = CHATML.encode(bpe, messages).ids
    for tokens in generate(model, [ids], setting, max_new_tokens, stop):
        token = tokens[0]
        assert token is not None
        piece = "" if token.id in stop else decoder.feed(token.id)
        print(piece, end="", flush=True)
        said += piece
    rest = decoder.flush()
    print(rest, flush=True)
    return said + rest


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns 0, 1 if the model is not there, or 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m llmcore.chat",
        description="Chat with SmolLM2-135M-Instruct: small, quick to be wrong, and every part of it is in llmcore.",
        epilog="Without a MESSAGE it reads one a line, and remembers the conversation until an empty line.",
    )
    parser.add_argument("message", nargs="?", metavar="MESSAGE", help="what you say")
    parser.add_argument("--system", default=SYSTEM, help="what the model is told to be")
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
        model, bpe = pretrained.load("smollm2"), BPE.load("smollm2")
        loaded = time.perf_counter()
        messages: list[Message] = [{"role": "system", "content": arguments.system}]
        lines = [arguments.message] if arguments.message is not None else iter(_ask, "")
        for line in lines:
            messages.append({"role": "user", "content": line})
            said = answer(model, bpe, messages, setting, arguments.max_tokens)
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
