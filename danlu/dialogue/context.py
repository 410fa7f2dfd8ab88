"""Which turns of a conversation the model sees, where not all of them fit into its context.

The system's turn, the pinned turns and the last exchange stay. Of the others the oldest exchange goes first,
and always the whole of it: a question, the calls and results that it led to, and its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from danlu.tokenizer.chat import Message, check_messages
from danlu.tokenizer.interface import AnyChatFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the model gets to see of a conversation."""

    messages: list[Message]
    left_out: tuple[int, ...]  # places in the conversation of the other messages, from 0
    n_tokens: int  # of the prompt


def fit(
    chat: AnyChatFormat,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    room: int,
    pinned: Collection[int] = (),
    fewest: Callable[[Message], int] = lambda message: 0,
) -> Kept:
    """The conversation without its oldest exchanges, as many as must go for the prompt to fit.

    What stays by rule may be longer than the room; that is the caller's to judge.

    Args:
        room: tokens that the prompt may have.
        pinned: places of messages whose exchange stays, from 0.
        fewest: tokens that a message surely has, told without encoding it; what must go by this alone is
            never encoded.

    Raises:
        ChatError: the messages are no conversation.
    """
    check_messages(messages)
    at_least = [fewest(message) for message in messages]
    likely = keep(messages, 0, at_least, room=room, pinned=pinned)
    overhead, counted = chat.lengths(likely.messages, tools)
    gone, rest = set(likely.left_out), iter(counted)
    lengths = [n if place in gone else next(rest) for place, n in enumerate(at_least)]
    return keep(messages, overhead, lengths, room=room, pinned=pinned)


def keep(
    messages: Sequence[Message], overhead: int, lengths: Sequence[int], *, room: int, pinned: Collection[int]
) -> Kept:
    """As `fit`, of a conversation whose tokens have been counted, see `ChatFormat.lengths`."""
    n_tokens = overhead + sum(lengths)
    left_out: list[int] = []
    for exchange in _exchanges(messages)[:-1]:
        if n_tokens <= room:
            break
        if not any(place in pinned for place in exchange):
            left_out += exchange
            n_tokens -= sum(lengths[place] for place in exchange)
    gone = set(left_out)
    kept = [message for place, message in enumerate(messages) if place not in gone]
    return Kept(messages=kept, left_out=tuple(left_out), n_tokens=n_tokens)


def _exchanges(messages: Sequence[Message]) -> list[range]:
    """The places of each exchange; the system's turn is in none."""
    starts = [place for place, message in enumerate(messages) if message["role"] == "user"]
    return [range(*pair) for pair in pairwise([*starts, len(messages)])]
