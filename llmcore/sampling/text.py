"""From prompts to text: tokens become characters, and a stop string ends an answer wherever the tokens cut it.

    for piece in stream(model, bpe, ["Once upon", "A dog"], Sampling(seed=1), stop=["\\n\\n"]):
        print(piece.row, piece.text, piece.reason)

    complete(model, bpe, ["Once upon", "A dog"], stop=[["."], ["!", "?"]])       # a Completion for each prompt

A token is no character: it may end within one, begin in the middle of a stop string, or hold a whole one and more. So
text is given out when it is certain, and never taken back: half a character waits for its other bytes, and what may be
the beginning of a stop string waits until it is one, or is not.

    >>> until = UntilStop(["<end>", "<eos>"])
    >>> [until.feed(piece) for piece in ["a < b", " <e", "nd", "> never seen"]], until.found
    (['a < b', ' ', '', ''], '<end>')

An answer ends where the first stop string is complete; the text before that string is what is given out. (If several are
complete at the same character, the longest is meant.) So the text does not depend on how tokens cut it.

Does not:
- take back tokens: those that were drawn come with their logprobs, and their text may reach into the stop string
- speak a chat format: give ids as prompts, made by llmcore.tokenizers.chat
"""

from collections.abc import Iterator, Sequence, Set
from typing import Literal, NamedTuple, cast

from llmcore.model.transformer import MiniGPT
from llmcore.sampling.settings import GREEDY, Sampling
from llmcore.sampling.strategies import Token, generate
from llmcore.tokenizers.bpe import BPE
from llmcore.tokenizers.special import beginnings, unfinished

Reason = Literal["stop", "stop string", "length"]  # a stop id was drawn, a stop string written, the room is used up
Stops = Sequence[str] | Sequence[Sequence[str]]  # for all rows, or for each


class Piece(NamedTuple):
    """Some more of one row's answer."""

    row: int
    text: str
    tokens: list[Token]  # drawn since the row's last piece
    reason: Reason | None  # in the row's last piece: why there is no more


class Completion(NamedTuple):
    text: str
    tokens: list[Token]  # all that were drawn, a stop id among them
    reason: Reason


class UntilStop:
    """Text goes in in pieces, and comes out until the first of the stop strings is complete.

    Raises ValueError for an empty stop string: it would stand before everything.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        if "" in stops:
            raise ValueError("a stop string is empty: nothing could ever be said")
        self.found: str | None = None
        self._stops = sorted(stops, key=len, reverse=True)
        self._begun = beginnings(stops)
        self._longest = max(map(len, stops), default=1) - 1
        self._held = ""  # all of it the beginning of a stop string, or of several

    def feed(self, text: str) -> str:
        """What is certain now. Nothing once a stop string was found."""
        if self.found is not None:
            return ""
        text = self._held + text
        end = self._first_end(text)
        if self.found is not None:
            self._held = ""
            return text[: end - len(self.found)]
        certain = unfinished(text, 0, self._begun, self._longest)
        self._held = text[certain:]
        return text[:certain]

    def flush(self) -> str:
        """No more text comes: what was held back was no stop string."""
        held, self._held = self._held, ""
        return held

    def _first_end(self, text: str) -> int:
        """The end of the stop string that is complete first; that string goes to `found`. 0 if there is none."""
        first = len(text) + 1
        for stop in self._stops:  # the longest first, so that it wins where several end at the same place
            at = text.find(stop)
            if at >= 0 and at + len(stop) < first:
                first, self.found = at + len(stop), stop
        return first if self.found is not None else 0


def stream(
    model: MiniGPT,
    bpe: BPE,
    prompts: Sequence[str | Sequence[int]],
    settings: Sampling | Sequence[Sampling] = GREEDY,
    max_new_tokens: int = 64,
    stop: Stops = (),
    stop_ids: Set[int] = frozenset(),
    top_logprobs: int = 0,
) -> Iterator[Piece]:
    """The answers to some prompts while they are written, as pieces that are certain, each row's in order.

    Args:
        prompts: texts, in which nothing is a special token, or ids.
        stop: strings at which an answer ends, for all rows; or a list of strings for each row.
        stop_ids: ids at which an answer ends. What they spell is not given out either.
        top_logprobs: how many alternatives each token brings along. `generate` says under which distribution.

    Raises ValueError for an empty stop string, for stop strings of more or fewer rows than there are prompts, and as
    `generate` does; TypeError for a single string in place of a list.
    """
    if isinstance(prompts, str) or isinstance(stop, str):
        raise TypeError("prompts and stop strings come in lists: put a single one in a list")
    for_all = all(isinstance(each, str) for each in stop)
    stops = cast(Sequence[Sequence[str]], [stop] * len(prompts) if for_all else stop)
    if any(isinstance(each, str) for each in stops):
        raise TypeError("stop strings are a list for all rows, or a list of lists, one for each: not both")
    if len(stops) != len(prompts):
        raise ValueError(
            f"{len(prompts)} prompts and stop strings for {len(stops)}: give some for each, or the same for all"
        )
    ids = [bpe.encode_ordinary(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    steps = generate(model, ids, settings, max_new_tokens, stop_ids, top_logprobs)
    return _pieces(steps, bpe, [UntilStop(each) for each in stops], max_new_tokens, stop_ids)


def _pieces(
    steps: Iterator[list[Token | None]], bpe: BPE, until: list[UntilStop], max_new_tokens: int, stop_ids: Set[int]
) -> Iterator[Piece]:
    decoders = [bpe.stream_decoder() for _ in until]
    waiting: list[list[Token]] = [[] for _ in until]
    open_rows = set(range(len(until)))
    for number, step in enumerate(steps, start=1):
        for row in sorted(open_rows):
            token = step[row]
            assert token is not None  # generate ends a row at the same ids, or later
            waiting[row].append(token)
            stopped = token.id in stop_ids
            text = "" if stopped else until[row].feed(decoders[row].feed(token.id))
            reason: Reason | None = "stop" if stopped else "length" if number == max_new_tokens else None
            if reason and until[row].found is None:
                text += until[row].feed(decoders[row].flush()) + until[row].flush()
            if until[row].found is not None:
                reason = "stop string"
            if text or reason:
                yield Piece(row, text, waiting[row], reason)
                waiting[row] = []
            if reason:
                open_rows.remove(row)
        if not open_rows:
            return


def complete(
    model: MiniGPT,
    bpe: BPE,
    prompts: Sequence[str | Sequence[int]],
    settings: Sampling | Sequence[Sampling] = GREEDY,
    max_new_tokens: int = 64,
    stop: Stops = (),
    stop_ids: Set[int] = frozenset(),
    top_logprobs: int = 0,
) -> list[Completion]:
    """The whole answers, in the order of the prompts. Arguments and errors as `stream`'s."""
    texts, tokens = [""] * len(prompts), [list[Token]() for _ in prompts]
    reasons: list[Reason] = ["length"] * len(prompts)  # of an answer that may have no token at all
    for piece in stream(model, bpe, prompts, settings, max_new_tokens, stop, stop_ids, top_logprobs):
        texts[piece.row] += piece.text
        tokens[piece.row] += piece.tokens
        reasons[piece.row] = piece.reason or "length"
    return [Completion(*each) for each in zip(texts, tokens, reasons, strict=True)]
