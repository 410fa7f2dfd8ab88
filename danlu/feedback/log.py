"""The log in its table: events go in once, in order, and are found by id, subject, kind or task."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from danlu.feedback.body import Body, plain, to_json
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event, read_body
from danlu.feedback.records import NODES, Undo
from danlu.feedback.schema import EVENTS

AT_ONCE = 500  # ids in one question, values in one insertion

_UNDO = EVENTS.alias("undo")
# True of what was not taken back.
STANDS = ~sa.exists().where(_UNDO.c.kind == Undo.kind, _UNDO.c.subject == EVENTS.c.id)


def insert(connection: Connection, events: Iterable[Event]) -> None:
    """Write new events at the end of the log."""
    for some in batches(events):
        connection.execute(EVENTS.insert(), [_row(event) for event in some])


def append(connection: Connection, event: Event) -> Event:
    """Write one new event, and give it back with its place in the log."""
    written = connection.execute(EVENTS.insert().values(_row(event)))
    return replace(event, seq=int((written.inserted_primary_key or (0,))[0]))


def find(connection: Connection, ids: Iterable[str]) -> dict[str, Event]:
    """The events of some ids, as far as they are known."""
    found: dict[str, Event] = {}
    for some in batches(dict.fromkeys(ids)):
        rows = connection.execute(sa.select(EVENTS).where(EVENTS.c.id.in_(some)))
        found |= {row.id: read_row(row) for row in rows}
    return found


def known_kinds(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Of which kind the events of some ids are, as far as they are known."""
    found: dict[str, str] = {}
    for some in batches(dict.fromkeys(ids)):
        rows = connection.execute(sa.select(EVENTS.c.id, EVENTS.c.kind).where(EVENTS.c.id.in_(some)))
        found |= {row.id: row.kind for row in rows}
    return found


def get(connection: Connection, event_id: str) -> Event:
    """One event; an id that is not known is an error."""
    found = find(connection, [event_id])
    if not found:
        raise FeedbackError(f"no event has the id {event_id[:60]!r}; it may be of another database")
    return found[event_id]


def select(
    connection: Connection, *conditions: sa.ColumnElement[bool], stands: bool = True
) -> Generator[Event]:
    """Events in the order in which they came; unless `stands` is False, without those taken back."""
    asked = sa.select(EVENTS).where(*conditions, *([STANDS] if stands else [])).order_by(EVENTS.c.seq)
    # Closed here, since a caller may stop early and PostgreSQL keeps what was asked open until then.
    with connection.execute(asked.execution_options(yield_per=AT_ONCE)) as rows:
        for row in rows:
            yield read_row(row)


def last(connection: Connection, *conditions: sa.ColumnElement[bool]) -> Event | None:
    """The newest event that stands."""
    asked = sa.select(EVENTS).where(*conditions, STANDS).order_by(EVENTS.c.seq.desc()).limit(1)
    row = connection.execute(asked).first()
    return None if row is None else read_row(row)


def nodes_above(connection: Connection, ids: Iterable[str]) -> dict[str, Event]:
    """Some nodes and every node above them, by id."""
    found: dict[str, Event] = {}
    wanted = set(ids)
    while wanted:
        level = find(connection, wanted)
        found |= level
        wanted = {parent for node in level.values() if (parent := parent_of(node))} - found.keys()
    return found


def thread(nodes: Mapping[str, Event], node_id: str) -> list[Event]:
    """The nodes from the first turn down to this one, of those that `nodes_above` gave."""
    path: list[Event] = []
    while node_id:
        path.append(nodes[node_id])
        node_id = parent_of(path[-1])
    return path[::-1]


def parent_of(node: Event) -> str:
    """The node above; empty at the first turn."""
    return str(getattr(node.body, "parent", ""))


def children(connection: Connection, parent: str) -> list[Event]:
    """The alternatives below a node, or the first turns of a conversation."""
    return list(select(connection, EVENTS.c.subject == parent, EVENTS.c.kind.in_(NODES)))


def children_of(connection: Connection, parents: Iterable[str]) -> Iterator[Event]:
    """The nodes directly below some nodes or conversations, the oldest first below each."""
    for some in batches(parents):
        yield from select(connection, EVENTS.c.subject.in_(some), EVENTS.c.kind.in_(NODES))


def read_row(row: Any) -> Event:
    """An event from its row."""
    body: Body = read_body(row.kind, json.loads(row.body))
    return Event(id=row.id, at=row.at, person=row.person, body=body, seq=row.seq)


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "at": event.at,
        "person": event.person,
        "subject": event.body.subject,
        "task": event.task,
        "body": to_json(plain(event.body)),
    }


def batches(items: Iterable[Any], size: int = AT_ONCE) -> Iterator[Sequence[Any]]:
    """Consecutive pieces of at most `size`."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
