"""The store: what is said and judged goes through `add`, and nothing is ever changed or removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from danlu.feedback import log, queue
from danlu.feedback.body import Body, checked_id, checked_name
from danlu.feedback.database import Database, open_database
from danlu.feedback.errors import FeedbackError, WithdrawnTaskError
from danlu.feedback.event import Event, message_of
from danlu.feedback.queue import Assignment, QueueConfig
from danlu.feedback.records import (
    ANSWERS,
    DONE,
    NODES,
    Conversation,
    Demonstration,
    Doing,
    Edit,
    Hide,
    Message,
    Ranking,
    Rating,
    Rename,
    Task,
    Undo,
)
from danlu.feedback.schema import EVENTS, LEASES


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the events of a file, counted by kind."""

    new: Counter[str]
    known: Counter[str]  # were here before


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Store:
    """An open feedback store. Threads may share one; processes open one each."""

    database: Database
    config: QueueConfig = field(default_factory=QueueConfig)
    clock: Callable[[], datetime] = utc_now

    @classmethod
    def open(
        cls,
        where: str | Path,
        config: QueueConfig | None = None,
        *,
        create: bool = True,
        clock: Callable[[], datetime] = utc_now,
    ) -> Self:
        """The store at a path (SQLite) or URL; tables are made, or brought up to date, if need be."""
        return cls(open_database(where, create=create), config or QueueConfig(), clock)

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, person: str, body: Body, *, event_id: str = "") -> Event:
        """Accept one event; when this returns it is on the disk.

        Args:
            person: who says so; empty for a model.
            event_id: chosen by the sender, so that sending again after a lost answer is no second judgement.
        """
        with self.database.write() as connection:
            return self._accept(connection, person, body, event_id)

    def add_all(self, person: str, bodies: Iterable[Body]) -> list[Event]:
        """Accept several events, or none of them."""
        with self.database.write() as connection:
            return [self._accept(connection, person, body, "") for body in bodies]

    def undo(self, person: str, event_id: str) -> Event:
        """Take an event back; the task that it had done is in the person's hands again."""
        with self.database.write() as connection:
            event = self._accept(connection, person, Undo(event=event_id), "")
            task = log.get(connection, event_id).task
            if task and queue.is_free_for(connection, person, task, self.clock()):
                queue.keep(connection, person, task, self.clock(), self.config)
            return event

    def take_in(self, events: Sequence[Event]) -> Taken:
        """Accept the events of a file with their ids and times, or none of them.

        What is known is left as it is; what contradicts it is refused.
        """
        with self.database.write() as connection:
            known = log.find(connection, (event.id for event in events))
            fresh: dict[str, Event] = {}
            for event in events:
                before = known.get(event.id) or fresh.get(event.id)
                if before is not None and not before.same(event):
                    raise FeedbackError(
                        f"{event.kind} {event.id} says something else than the {before.kind} of that id "
                        "which is already here; an event never changes. Nothing was taken in"
                    )
                if before is None:
                    fresh[event.id] = event
            self._check_known(connection, fresh)
            log.insert(connection, fresh.values())
            queue.recount(connection, queue.touched(fresh.values(), connection))
            new = Counter(event.kind for event in fresh.values())
            return Taken(new, Counter(event.kind for event in events) - new)

    def _accept(self, connection: Connection, person: str, body: Body, event_id: str) -> Event:
        event = Event(
            id=checked_id(event_id) if event_id else uuid4().hex,
            at=self.clock().astimezone(UTC).isoformat(timespec="microseconds"),
            person=checked_name(person),
            body=body,
        )
        before = log.find(connection, [event.id]).get(event.id) if event_id else None
        if before is not None:
            if before.same(event):
                return before
            raise FeedbackError(f"the id {event.id} is already that of another {before.kind}; send a new one")
        check(connection, event)
        event = log.append(connection, event)
        if event.task:
            queue.let_go(connection, person, event.task)
        queue.recount(connection, queue.touched([event], connection))
        return event

    def _check_known(self, connection: Connection, fresh: Mapping[str, Event]) -> None:
        """Everything that a file's events refer to is in the file before them, or here."""
        wanted = {each for event in fresh.values() for each, _ in event.body.references()}
        kinds = log.known_kinds(connection, wanted - fresh.keys())
        for event in fresh.values():
            for each, allowed in event.body.references():
                # A task stays behind where only what people said of it was exported.
                if each not in kinds and each != event.task:
                    raise FeedbackError(
                        f"{event.kind} {event.id} refers to {each}, which is neither here nor before it in "
                        "the file; take in the file that it comes from first. Nothing was taken in"
                    )
                check_kind(event, each, kinds.get(each, allowed[0]), allowed)
            kinds[event.id] = event.kind

    def next_tasks(self, person: str, n: int = 2, do: Doing | None = None) -> list[Assignment]:
        """The tasks in somebody's hands, filled up to `n`: one to do and the next to load meanwhile.

        Whoever asks again is given the same tasks, so that a reload loses nothing.

        Args:
            do: only tasks of this kind.
        """
        now = self.clock()
        with self.database.read() as connection:
            held = queue.held(connection, checked_name(person), now, do)
        if len(held) < n:
            with self.database.write(lasting=False) as connection:
                queue.lease(connection, person, n, now, self.config, do)
        with self.database.read() as connection:
            return queue.assignments(connection, person, dict(queue.held(connection, person, now, do)))

    def renew(self, person: str, task: str) -> bool:
        """Keep a task for another lease; False where others have filled it meanwhile."""
        with self.database.write(lasting=False) as connection:
            now = self.clock()
            mine = task in dict(queue.held(connection, person, now))
            if mine or queue.is_free_for(connection, person, task, now):
                queue.keep(connection, person, task, now, self.config)
                return True
            return False

    def release(self, person: str, task: str) -> None:
        """Give a task back, for whoever asks next."""
        with self.database.write(lasting=False) as connection:
            queue.let_go(connection, person, task)

    def own_rankings(self, person: str) -> dict[frozenset[str], Event]:
        """Somebody's rankings for no task by the answers that they rank; the last of each."""
        with self.database.read() as connection:
            own = log.select(
                connection,
                *(EVENTS.c.kind == Ranking.kind, EVENTS.c.person == person, EVENTS.c.task == ""),
            )
            return {frozenset(each.body.completions): each for each in own if isinstance(each.body, Ranking)}

    def last_answer(self, person: str, *kinds: str) -> Event | None:
        """What somebody handed in last of all that stands, of some kinds, for a task."""
        with self.database.read() as connection:
            return log.last(
                connection, EVENTS.c.person == person, EVENTS.c.kind.in_(kinds), EVENTS.c.task != ""
            )

    def get(self, event_id: str) -> Event:
        with self.database.read() as connection:
            return log.get(connection, event_id)

    def events(self, *kinds: str, person: str | None = None, stands: bool = True) -> Iterator[Event]:
        """Events of some kinds, or all, in order; unless `stands` is False, without those taken back."""
        conditions: list[sa.ColumnElement[bool]] = [EVENTS.c.kind.in_(kinds)] if kinds else []
        conditions += [] if person is None else [EVENTS.c.person == person]
        with (
            self.database.read() as connection,
            closing(log.select(connection, *conditions, stands=stands)) as found,
        ):
            yield from found

    def thread(self, node_id: str) -> list[Event]:
        """The nodes from the first turn of a conversation down to this one."""
        with self.database.read() as connection:
            log.get(connection, node_id)
            return log.thread(log.nodes_above(connection, [node_id]), node_id)

    def threads(self, node_ids: Iterable[str]) -> Iterator[list[Event]]:
        """The same of many nodes that are known, in their order; read some hundreds at a time."""
        with self.database.read() as connection:
            for some in log.batches(node_ids):
                nodes = log.nodes_above(connection, some)
                yield from (log.thread(nodes, each) for each in some)

    def messages(self, node_id: str) -> list[dict[str, Any]]:
        """The conversation down to a node, as chat messages."""
        return [message_of(node) for node in self.thread(node_id)]

    def alternatives(self, node_id: str) -> list[Event]:
        """A node and its siblings, the oldest first."""
        with self.database.read() as connection:
            return log.children(connection, log.get(connection, node_id).body.subject)

    def children(self, node_id: str) -> list[Event]:
        """The nodes below a node, or the first turns of a conversation."""
        with self.database.read() as connection:
            return log.children(connection, node_id)

    def below(self, conversation: str) -> dict[str, list[Event]]:
        """All nodes of a conversation by what they stand below: a node, or the conversation itself."""
        found: dict[str, list[Event]] = {}
        level = [conversation]
        with self.database.read() as connection:
            while level:
                nodes = list(log.children_of(connection, level))
                for node in nodes:
                    found.setdefault(node.body.subject, []).append(node)
                level = [node.id for node in nodes]
        return found

    def ratings(self, person: str, nodes: Iterable[str]) -> dict[str, Event]:
        """Somebody's last standing word, by node, on those of some nodes that they have rated."""
        with self.database.read() as connection:
            return {
                event.body.subject: event
                for some in log.batches(nodes)
                for event in log.select(
                    connection,
                    *(EVENTS.c.kind == Rating.kind, EVENTS.c.person == person, EVENTS.c.subject.in_(some)),
                )
            }

    def conversations(self, person: str, containing: str = "") -> list[tuple[str, str]]:
        """Id and title of what somebody talked about, the newest first; hidden ones are left out."""
        with self.database.read() as connection:
            own = log.select(connection, EVENTS.c.kind == Conversation.kind, EVENTS.c.person == person)
            titles = {event.id: getattr(event.body, "title", "") for event in own}
            for event in log.select(connection, EVENTS.c.kind.in_((Rename.kind, Hide.kind))):
                if isinstance(event.body, Rename) and event.body.conversation in titles:
                    titles[event.body.conversation] = event.body.title
                elif isinstance(event.body, Hide):
                    titles.pop(event.body.conversation, None)
            found = _containing(connection, titles, containing) if containing else set(titles)
        return [(each, title) for each, title in reversed(titles.items()) if each in found]

    def leases(self) -> dict[tuple[str, str], float]:
        """Until when each task is in whose hands, (task, person) → seconds since 1970."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(LEASES).where(LEASES.c.until > self.clock().timestamp()))
            return {(row.task, row.person): row.until for row in rows}


def check(connection: Connection, event: Event) -> None:
    """Refuse what refers to nothing, or does not fit what it refers to."""
    referred = log.find(connection, (each for each, _ in event.body.references()))
    for each, allowed in event.body.references():
        if each not in referred:
            raise FeedbackError(
                f"the {event.kind} refers to {each[:60]!r}, which is not here; it may be of another database"
            )
        check_kind(event, each, referred[each].kind, allowed)
    for kind, fitting in FITTING:
        if isinstance(event.body, kind):
            fitting(connection, event, referred)


def check_kind(event: Event, reference: str, kind: str, allowed: Sequence[str]) -> None:
    """Refuse a reference to a thing of the wrong kind."""
    if kind not in allowed:
        raise FeedbackError(
            f"the {event.kind} refers to {reference}, a {kind}; it must be a {' or '.join(allowed)}"
        )


def check_place(connection: Connection, event: Event, referred: Mapping[str, Event]) -> None:
    """A turn is in the conversation of the turn above it."""
    for node in referred.values():
        here, there = (getattr(each.body, "conversation", "") for each in (event, node))
        if node.kind in NODES and here != there:
            raise FeedbackError(f"the turn above, {node.id}, is in another conversation, {there}")
    if isinstance(event.body, Edit) and log.parent_of(referred[event.body.of]) != event.body.parent:
        raise FeedbackError(
            f"{event.body.of} answers another turn than {event.body.parent}; an edit stands beside it"
        )


def check_alternatives(connection: Connection, event: Event, referred: Mapping[str, Event]) -> None:
    """Answers that are ranked, or given to rank, answer one turn."""
    body = event.body
    completions = body.completions if isinstance(body, Ranking | Task) else ()
    above = {log.parent_of(referred[each]) for each in completions}
    above |= {body.prompt} if isinstance(body, Task) and completions else set()
    if len(above) > 1:
        raise FeedbackError(
            "the completions answer different turns; only answers to one turn can be compared"
        )


def check_answer(connection: Connection, event: Event, referred: Mapping[str, Event]) -> None:
    """An answer fits its task, which nobody does twice and which stands."""
    if not event.task:
        return
    task = referred[event.task].body
    if not isinstance(task, Task):
        raise FeedbackError(f"{event.task} is no task")
    if event.kind in DONE and event.kind not in ANSWERS[task.do]:
        raise FeedbackError(f"the task is to {task.do}; a {event.kind} does not do it")
    if queue.task_state(connection, event.task) == "withdrawn":
        raise WithdrawnTaskError(
            "the task was withdrawn meanwhile and takes no answer any more; skip it, or ask for the next one"
        )
    if isinstance(event.body, Ranking) and set(event.body.completions) != set(task.completions):
        raise FeedbackError("the completions are not those of the task; each of them needs a rank")
    before = queue.standing_answer(connection, event.person, event.task)
    if event.kind in DONE and before is not None:
        raise FeedbackError(f"{event.person!r} has already done this task ({before}); undo that first")


def check_undo(connection: Connection, event: Event, referred: Mapping[str, Event]) -> None:
    """People take back what is their own, and once; a task may be withdrawn by whoever may add one."""
    (target,) = referred.values()
    if target.person != event.person and target.kind != Task.kind:
        raise FeedbackError(
            f"the {target.kind} {target.id} is by {target.person!r}; only they can take it back"
        )
    if next(log.select(connection, EVENTS.c.id == target.id), None) is None:
        raise FeedbackError(f"the {target.kind} {target.id} has already been taken back")


def _containing(connection: Connection, conversations: Iterable[str], text: str) -> set[str]:
    """The conversations in which somebody says a text, in either case."""
    wanted, found = set(conversations), set[str]()
    for event in log.select(connection, EVENTS.c.kind.in_(NODES)):
        body = event.body
        if isinstance(body, Message | Demonstration) and body.conversation in wanted:
            found |= {body.conversation} if text.casefold() in body.content.casefold() else set()
    return found


FITTING: tuple[
    tuple[type | tuple[type, ...], Callable[[Connection, Event, Mapping[str, Event]], None]], ...
] = (
    ((Message, Demonstration), check_place),
    ((Ranking, Task), check_alternatives),
    (Undo, check_undo),
    (Body, check_answer),
)
