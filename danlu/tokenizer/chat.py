"""The chat format, ChatML: how messages become ids with a loss mask, and how ids become a message.

    <|im_start|>user⏎Hello<|im_end|>⏎<|im_start|>assistant⏎Good day.<|im_end|>⏎

The model learns each assistant turn up to and including its <|im_end|>; all else is given to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chatml import TEMPLATE

Role = Literal["system", "user", "assistant", "tool"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


class ChatError(ValueError):
    """Messages that are no conversation; the text says which turn and what would be right."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as ids; `loss_mask` is True where the assistant speaks."""

    ids: list[int]
    loss_mask: list[bool]


class ChatFormat:
    """How messages become ids and ids become messages; nobody else spells a control token."""

    template = TEMPLATE  # the same format in Jinja, for export only

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.stop_ids = frozenset({tokenizer.im_end_id})
        self._newline = tokenizer.encode("\n")
        self._headers = {
            role: [tokenizer.im_start_id, *tokenizer.encode(role), *self._newline] for role in SPEAKERS
        }

    def render(self, messages: Sequence[Message]) -> Rendered:
        """Ids of the whole conversation, with a loss mask over what the assistant says."""
        check_messages(messages)
        ids: list[int] = []
        loss_mask: list[bool] = []
        for message in messages:
            header = self._headers[message["role"]]
            said = [*self.tokenizer.encode(message["content"]), self.tokenizer.im_end_id]
            learned = message["role"] == "assistant"
            ids += [*header, *said, *self._newline]
            loss_mask += [False] * len(header) + [learned] * len(said) + [False] * len(self._newline)
        return Rendered(ids, loss_mask)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids up to where the assistant begins to answer the last message."""
        rendered = self.render(messages)
        if messages[-1]["role"] in ("system", "assistant"):
            raise ChatError(f"the last turn is from {messages[-1]['role']!r}; there is nothing to answer")
        return rendered.ids + self._headers["assistant"]

    def parse(self, ids: Sequence[int]) -> Message:
        """What the model said after a prompt: all before the first control token."""
        controls = self.tokenizer.control_ids
        end = next((i for i, each in enumerate(ids) if each in controls), len(ids))
        return {"role": "assistant", "content": self.tokenizer.decode(ids[:end])}


def check_messages(messages: Sequence[Mapping[str, object]]) -> None:
    """An optional system message, then the user (or a tool that answers a call) and the assistant in turn."""
    if not messages:
        raise ChatError("no messages; a conversation has at least one")
    previous = ""
    for turn, message in enumerate(messages, start=1):
        role = _role(message, turn)
        if role not in FOLLOWERS[previous]:
            raise ChatError(_out_of_turn(turn, role, previous))
        previous = role


def _role(message: Mapping[str, object], turn: int) -> str:
    for key in ("role", "content"):
        if not isinstance(message.get(key), str):
            found = f"{key!r} is {message[key]!r}" if key in message else f"{key!r} is missing"
            raise ChatError(f"turn {turn}: {found}; it must be text")
    role = str(message["role"])
    if role not in SPEAKERS:
        raise ChatError(f"turn {turn} is from {role!r}; a turn is from one of {', '.join(SPEAKERS)}")
    return role


def _out_of_turn(turn: int, role: str, previous: str) -> str:
    if role == "system":
        return f"turn {turn} is from 'system'; only the first may be"
    if role == previous:
        return f"turn {turn} is from {role!r} like turn {turn - 1}; roles must alternate"
    after = f"follows {previous!r}" if previous else "comes first"
    return f"turn {turn} is from {role!r} and {after}; expected {' or '.join(FOLLOWERS[previous])}"


SPEAKERS: tuple[Role, ...] = ("system", "user", "assistant", "tool")
FOLLOWERS: dict[str, tuple[Role, ...]] = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "tool": ("assistant",),
    "assistant": ("user", "tool"),
}
