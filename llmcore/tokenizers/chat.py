"""Conversations as ids, in the format that a model was trained on, and which of them to learn from.

    >>> print(CHATML.text([{"role": "user", "content": "Hi"}]), end="")
    <|im_start|>user
    Hi<|im_end|>
    <|im_start|>assistant

What separates turns is a special token, and only the program puts it there. A user who types "<|im_end|>" gets it back as
ordinary text: a template that is filled in as a string and then encoded lets anybody end the user's turn and begin
the system's.

Does not:
- run the Jinja templates of Hugging Face: a format is five strings here
- add a system message of its own accord: some published templates do, and then it belongs to `messages`
- know tools or images
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from llmcore.tokenizers.bpe import BPE


class Message(TypedDict):
    role: str  # "system", "user", "assistant"
    content: str


class Encoded(NamedTuple):
    ids: list[int]
    learn: list[bool]  # what the assistant said, and the token that ended its turn


@dataclass(frozen=True)
class Template:
    """One turn is: open, role, after_role, content, close, after_turn. `begin`, `open` and `close` are special tokens."""

    open: str
    after_role: str
    close: str
    after_turn: str
    begin: str = ""  # once, at the very front
    middle: str = ""  # a special token between role and after_role

    def text(self, messages: Sequence[Message], reply: bool = True) -> str:
        """The conversation as a person may read it, with the beginning of the assistant's turn if `reply`."""
        turns = [f"{self._head(m['role'])}{m['content']}{self.close}{self.after_turn}" for m in messages]
        return self.begin + "".join(turns) + (self._head("assistant") if reply else "")

    def encode(self, bpe: BPE, messages: Sequence[Message], reply: bool = True) -> Encoded:
        """The ids of a conversation. Contents are ordinary text, whatever they spell.

        The content is encoded apart from what stands before it, because that is how a model sees it that answers. (It
        makes a difference only if it begins with white space.)

        Raises ValueError if the vocabulary lacks one of the special tokens, or for a message without role or content.
        """
        ids: list[int] = []
        learn: list[bool] = []

        def put(more: list[int], said: bool = False) -> None:
            ids.extend(more)
            learn.extend([said] * len(more))

        def head(role: str) -> None:
            put(self._special(bpe, self.open))
            put(bpe.encode_ordinary(role))
            put(self._special(bpe, self.middle))
            put(bpe.encode_ordinary(self.after_role))

        put(self._special(bpe, self.begin))
        for place, message in enumerate(messages):
            if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
                raise ValueError(f"message {place} needs a role and a content, both strings")
            said = message["role"] == "assistant"
            head(message["role"])
            put(bpe.encode_ordinary(message["content"]), said)
            put(self._special(bpe, self.close), said)
            put(bpe.encode_ordinary(self.after_turn))
        if reply:
            head("assistant")
        return Encoded(ids, learn)

    def stop_ids(self, bpe: BPE) -> frozenset[int]:
        """The ids at which an answer ends."""
        return frozenset(self._special(bpe, self.close))

    def _head(self, role: str) -> str:
        return f"{self.open}{role}{self.middle}{self.after_role}"

    def _special(self, bpe: BPE, token: str) -> list[int]:
        if token and token not in bpe.special_tokens:
            raise ValueError(f"the vocabulary has no special token {token!r}, which this chat format needs")
        return [bpe.special_tokens[token]] if token else []


# Sources: OpenAI's ChatML (Qwen and SmolLM write it, too), and the model card of Llama 3.
CHATML = Template(open="<|im_start|>", after_role="\n", close="<|im_end|>", after_turn="\n")
LLAMA3 = Template(
    begin="<|begin_of_text|>",
    open="<|start_header_id|>",
    middle="<|end_header_id|>",
    after_role="\n\n",
    close="<|eot_id|>",
    after_turn="",
)
