"""A conversation as a tree: which branch is shown, and what stands beside each turn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from danlu.feedback.body import Body, plain
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event, content_of, read_body
from danlu.feedback.records import Conversation, Edit, Message
from danlu.feedback.store import Store

SHAPE = "danlu conversation"
MOST_NODES = 10_000  # of a file
KEPT = ("kind", "role", "content", "more", "origin", "of", "seconds", "about")


@dataclass(frozen=True, slots=True)
class Tree:
    """A conversation at one moment."""

    root: Event
    below: Mapping[str, Sequence[Event]]  # by node or conversation

    @classmethod
    def read(cls, store: Store, person: str, conversation: str) -> Tree:
        """Somebody's own conversation; another's is no less unknown than one that never was."""
        root = store.get(conversation)
        if root.person != person or not isinstance(root.body, Conversation):
            raise FeedbackError(f"no event has the id {conversation[:60]!r}; it may be of another database")
        return cls(root, store.below(conversation))

    def branch(self, through: str = "") -> list[Event]:
        """The turns from the first to the last: those above a node, and below it wherever was spoken last.

        Args:
            through: a node; if it is not of this conversation, the branch is where was spoken last of all.
        """
        parents = {node.id: parent for parent, nodes in self.below.items() for node in nodes}
        nodes = {node.id: node for each in self.below.values() for node in each}
        above: list[Event] = []
        at = through if through in nodes else self.root.id
        newest = at
        while at != self.root.id:
            above.append(nodes[at])
            at = parents[at]
        return [*reversed(above), *self._down(newest)]

    def siblings(self, node: Event) -> Sequence[Event]:
        """A turn and what stands in its place on other branches, the oldest first."""
        return self.below[node.body.subject]

    def _down(self, node_id: str) -> Iterator[Event]:
        while children := self.below.get(node_id):
            child = max(children, key=self._latest)
            yield child
            node_id = child.id

    def _latest(self, node: Event) -> int:
        """The place in the log of the newest turn at or below a node."""
        latest, rest = 0, [node]
        while rest:
            each = rest.pop()
            latest = max(latest, each.seq)
            rest += self.below.get(each.id, ())
        return latest


def export(tree: Tree) -> str:
    """A conversation with all its branches, as JSON."""
    nodes = sorted((node for each in tree.below.values() for node in each), key=lambda node: node.seq)
    body = cast(Conversation, tree.root.body)
    said = [
        {"id": node.id, "parent": parent if (parent := getattr(node.body, "parent", "")) else None}
        | {"kind": node.kind, "at": node.at}
        | {key: value for key, value in plain(node.body).items() if key in KEPT}
        for node in nodes
    ]
    return (
        json.dumps({"shape": SHAPE, "title": body.title, "messages": said}, ensure_ascii=False, indent=1)
        .encode("utf-8", "replace")
        .decode()
    )


def read_file(raw: bytes, person: str) -> list[Event]:
    """The events that make a conversation of a file somebody's own: each gets a new id.

    A file of ours keeps its branches; of any other `messages`, in OpenAI's shape, are one branch.
    """
    try:
        tree: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise FeedbackError("the file is no JSON; choose one that the studio has exported") from None
    messages = tree.get("messages") if isinstance(tree, dict) else tree
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise FeedbackError("the file has no 'messages'; choose one that the studio has exported")
    if len(messages) > MOST_NODES:
        raise FeedbackError(f"the file has {len(messages):,} messages; at most {MOST_NODES:,} are taken in")
    title = str(tree.get("title", ""))[:200] if isinstance(tree, dict) else ""
    root = new_event(person, Conversation(title=title, about={"imported": True}))
    return [root, *_nodes(root.id, cast(list[dict[str, Any]], messages), person)]


def _nodes(root: str, messages: Sequence[Mapping[str, Any]], person: str) -> Iterator[Event]:
    ids: dict[str, str] = {}
    last = ""
    for number, message in enumerate(messages, 1):
        known = message.get("id")
        parent = ids.get(str(message.get("parent") or ""), "") if known else last
        if known and message.get("parent") and not parent:
            raise FeedbackError(f"message {number} stands below one that does not come before it")
        node = _node(root, parent, message, ids, number, person)
        ids[str(known or node.id)] = last = node.id
        yield node


def _node(
    root: str, parent: str, message: Mapping[str, Any], ids: Mapping[str, str], number: int, person: str
) -> Event:
    fields = {key: value for key, value in message.items() if key in KEPT and key != "kind"}
    kind = str(message.get("kind", Message.kind))
    if kind == Edit.kind:
        fields["of"] = ids.get(str(fields.get("of")), "")
    try:
        body = read_body(kind, {**fields, "conversation": root, "parent": parent})
        by_model = isinstance(body, Message) and body.role == "assistant"
        node = new_event("" if by_model else person, body)
        content_of(node)
    except FeedbackError as error:
        raise FeedbackError(f"message {number}: {error}") from None
    return node


def new_event(person: str, body: Body) -> Event:
    """An event that is yet to be taken in, with others or none of them."""
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    return Event(id=uuid4().hex, at=at, person=person, body=body)
