"""Older turns summed up by the model where the conversation outgrows the context.

The summary is an exchange like any other: the user asks for it and the assistant gives it. What users, tools
and documents said thus never gets into the system's turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from danlu.dialogue.context import Kept, keep
from danlu.tokenizer.chat import Message, check_messages
from danlu.tokenizer.interface import AnyChatFormat

ASK = {
    "en": "Sum up in a few sentences what we have said so far, names and numbers included.",
    "zh": "请用几句话概括我们到目前为止说过的内容，包括名字和数字。",
}
SHARE = 4  # a summary gets at most one part in so many of the room


@dataclass(frozen=True, slots=True, kw_only=True)
class Summarised(Kept):
    """What the model gets to see; `summary` stands for the messages left out, and is empty if none were."""

    summary: str = ""


Summarising = Generator[list[Message], str, Summarised]  # yields what is to be answered, is sent the answer


def summarising(
    chat: AnyChatFormat,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    room: int,
    pinned: Collection[int] = (),
    language: str = "en",
    fewest: Callable[[Message], int] = lambda message: 0,
) -> Summarising:
    """Like `fit`, but what must go is summed up first, piece by piece where it does not fit at once.

    A generator: it yields conversations that end with the request for a summary, is sent the model's answer,
    and returns what is left. Where the model says nothing, or what it says leaves no room, the turns are
    dropped as `fit` does, and `summary` is empty. `fewest` is as for `fit`.
    """
    check_messages(messages)
    # Once, for a conversation may be far longer than its room; and a message that is, not even once.
    at_least = [fewest(message) for message in messages]
    counted = [m if n <= room else _empty(m) for m, n in zip(messages, at_least, strict=True)]
    overhead, sizes = chat.lengths(counted, tools)
    lengths = [size if n <= room else n for size, n in zip(sizes, at_least, strict=True)]
    whole = keep(messages, overhead, lengths, room=room, pinned=pinned)
    if not whole.left_out:
        return _kept(whole)
    asked = asked_for("", language)[0]
    kept = keep(messages, overhead, lengths, room=room - room // SHARE, pinned=pinned)
    gone = [(messages[place], lengths[place]) for place in kept.left_out]
    system = [message for message in messages[:1] if message["role"] == "system"]
    summary: list[Message] = []
    while gone:
        taken = _length(chat, [*system, *summary, asked])
        piece = _as_many_as_fit(gone, room - room // SHARE - taken)
        if not piece:
            return _kept(whole)
        text = (yield [*system, *summary, *piece, asked]).strip()
        if not text:
            return _kept(whole)
        summary = asked_for(text, language)
        gone = gone[len(piece) :]
    together = [*system, *summary, *kept.messages[len(system) :]]
    n_tokens = _length(chat, together, tools)
    if n_tokens > room:
        return _kept(whole)
    text = summary[1]["content"]
    return Summarised(messages=together, left_out=kept.left_out, n_tokens=n_tokens, summary=text)


def asked_for(summary: str, language: str) -> list[Message]:
    """The exchange that stands for what was left out: the request, and the summary."""
    return [
        {"role": "user", "content": ASK.get(language, ASK["en"])},
        {"role": "assistant", "content": summary},
    ]


def summarised(work: Summarising, answer: Callable[[list[Message]], str]) -> Summarised:
    """Carry a summary out with a function that answers a conversation."""
    told = advance(work)
    while not isinstance(told, Summarised):
        told = advance(work, answer(told))
    return told


def advance(work: Summarising, said: str | None = None) -> list[Message] | Summarised:
    """One step of a summary: what is to be answered, or what is left at the end.

    Args:
        said: the answer to what was asked last; None at the first step.
    """
    try:
        return next(work) if said is None else work.send(said)
    except StopIteration as done:
        return done.value


def _empty(message: Message) -> Message:
    return {"role": message["role"], "content": ""}


def _kept(kept: Kept) -> Summarised:
    return Summarised(messages=kept.messages, left_out=kept.left_out, n_tokens=kept.n_tokens)


def _as_many_as_fit(gone: Sequence[tuple[Message, int]], room: int) -> list[Message]:
    """The oldest exchanges, as many as can be summed up at once; none if not even one can.

    Args:
        gone: messages with their tokens.
    """
    messages = [message for message, _ in gone]
    ends = [place for place, message in enumerate(messages) if place and message["role"] == "user"]
    sizes = [0, *accumulate(size for _, size in gone)]
    return messages[: max((end for end in (*ends, len(gone)) if sizes[end] <= room), default=0)]


def _length(chat: AnyChatFormat, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> int:
    overhead, lengths = chat.lengths(messages, tools)
    return overhead + sum(lengths)
