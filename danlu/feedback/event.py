"""One line of the log: a record with who said it and when, to JSON and back without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from danlu.config import ConfigError, build
from danlu.feedback.body import Body, check_time, checked_id, checked_name, plain
from danlu.feedback.errors import FeedbackError
from danlu.feedback.records import BODIES, Demonstration, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the log."""

    id: str
    at: str  # UTC, as ISO 8601 with microseconds
    person: str  # who; empty = a model or a file
    body: Body
    seq: int = 0  # place in the log of this database

    @property
    def kind(self) -> str:
        return self.body.kind

    @property
    def task(self) -> str:
        """The task that it does; empty = none."""
        return str(getattr(self.body, "task", ""))

    def same(self, other: Event) -> bool:
        """Whether both say the same, whenever they were written down."""
        return (self.id, self.person, self.kind) == (other.id, other.person, other.kind) and plain(
            self.body
        ) == plain(other.body)

    def to_tree(self) -> dict[str, Any]:
        """The event as a JSON object; fields that hold their default are left out."""
        return {"id": self.id, "kind": self.kind, "at": self.at, "person": self.person, **plain(self.body)}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Event:
        """The event that `to_tree` wrote; anything else is an error that says what is wrong."""
        rest = dict(tree)
        missing = [name for name in ("id", "kind", "at") if not isinstance(rest.get(name), str)]
        if missing:
            raise FeedbackError(f"has no {missing[0]!r}; an event needs 'id', 'kind', 'at' and what it says")
        event_id, kind, at = (rest.pop(name) for name in ("id", "kind", "at"))
        check_time(at)
        person = str(rest.pop("person", ""))
        return cls(id=checked_id(event_id), at=at, person=checked_name(person), body=read_body(kind, rest))


def read_body(kind: str, tree: Mapping[str, Any]) -> Body:
    """The record of a kind from plain values."""
    if kind not in BODIES:
        raise FeedbackError(f"is of the kind {kind!r}; known here: {', '.join(BODIES)}")
    try:
        return build(BODIES[kind], tree)
    except ConfigError as error:
        if isinstance(error.__cause__, FeedbackError):
            raise error.__cause__ from None
        raise FeedbackError(f"{kind}: {error}") from None


def content_of(node: Event) -> str:
    """The text of a node."""
    if not isinstance(node.body, Message | Demonstration):
        raise FeedbackError(f"{node.id} is a {node.kind}, which has no text")
    return node.body.content


def message_of(node: Event) -> dict[str, Any]:
    """A node as a chat message in OpenAI's shape."""
    body = node.body
    if isinstance(body, Message):
        return {"role": body.role, "content": body.content, **body.more}
    return {"role": "assistant", "content": content_of(node)}
