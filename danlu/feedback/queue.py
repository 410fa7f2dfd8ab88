"""Who does which task next: overlap, leases that run out, gold questions, quotas.

All of it runs inside a writing transaction, of which there is one at a time: two people who ask at once are
answered one after the other, and the second sees what the first was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from danlu.config import ConfigError
from danlu.feedback.body import derived_id
from danlu.feedback.event import Event, content_of, message_of
from danlu.feedback.log import STANDS, find, nodes_above, thread
from danlu.feedback.records import DONE, Doing, Ranking, Skip, Task, Undo
from danlu.feedback.schema import EVENTS, LEASES, PEOPLE, TASKS


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    lease_s: float = 1800.0  # how long a task is kept for whoever was given it
    gold_share: float = 0.1  # of the tasks given out, while there are gold ones left for a person
    quota: int = 0  # judgements a person may give in a day (UTC); 0 = any number

    def __post_init__(self) -> None:
        if self.lease_s <= 0:
            raise ConfigError(f"lease_s is {self.lease_s}; it must be above 0")
        if not 0 <= self.gold_share <= 1:
            raise ConfigError(f"gold_share is {self.gold_share}; it must be from 0 to 1")
        if self.quota < 0:
            raise ConfigError(f"quota is {self.quota}; it must be at least 0, which is no quota")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A task in somebody's hands. Whether it is a gold question is not in it."""

    task: str
    do: Doing
    prompt_id: str
    prompt: Sequence[Mapping[str, object]]  # messages
    completions: Sequence[tuple[str, str]]  # id and text, in the order to be shown
    shown: tuple[int, ...]  # which of the task's completions stands first, second, …
    guideline: str
    until: float  # when the lease runs out, in seconds since 1970

    def ranking(
        self,
        ranks: Sequence[int],
        *,
        strengths: Sequence[float] = (),
        flags: Sequence[Sequence[str]] = (),
        seconds: float = 0.0,
        comment: str = "",
    ) -> Ranking:
        """The ranking to hand in, from ranks and flags in the order shown."""
        marks = [tuple(each) for each in flags] or [()] * len(ranks)
        seen = zip(self.completions, ranks, marks, strict=True)
        by_place = dict(zip(self.shown, seen, strict=True))
        placed = [by_place[place] for place in sorted(by_place)]
        return Ranking(
            completions=tuple(node_id for (node_id, _), _, _ in placed),
            ranks=tuple(rank for _, rank, _ in placed),
            strengths=tuple(strengths),
            flags=tuple(mark for _, _, mark in placed) if any(marks) else (),
            shown=self.shown,
            seconds=seconds,
            comment=comment,
            task=self.task,
        )


def recount(connection: Connection, tasks: Iterable[str]) -> None:
    """Bring the derived rows of some tasks in line with the log."""
    for task_id in dict.fromkeys(tasks):
        task = find(connection, [task_id]).get(task_id)
        if task is None or not isinstance(task.body, Task):
            continue
        stands = connection.scalar(sa.select(STANDS).where(EVENTS.c.id == task_id))
        done = sa.select(sa.func.count(EVENTS.c.person.distinct())).where(
            EVENTS.c.task == task_id, EVENTS.c.kind.in_(DONE), STANDS
        )
        n_done = connection.scalar(done) or 0
        full = n_done >= task.body.overlap and not task.body.gold
        row = {
            "seq": task.seq,
            "do": task.body.do,
            "overlap": task.body.overlap,
            "gold": bool(task.body.gold),
            "n_done": n_done,
            "state": "withdrawn" if not stands else "done" if full else "open",
        }
        if not connection.execute(TASKS.update().where(TASKS.c.id == task_id).values(row)).rowcount:
            connection.execute(TASKS.insert().values(id=task_id, **row))


def answered_by(person: str) -> sa.ColumnElement[bool]:
    """True of tasks that somebody has done, or skipped."""
    return sa.exists().where(
        EVENTS.c.task == TASKS.c.id,
        EVENTS.c.person == person,
        EVENTS.c.kind.in_((*DONE, Skip.kind)),
        STANDS,
    )


def held(
    connection: Connection, person: str, now: datetime, do: Doing | None = None
) -> list[tuple[str, float]]:
    """The tasks somebody holds, and until when, the one given first in front; of one kind, or of all."""
    asked = (
        sa.select(LEASES.c.task, LEASES.c.until)
        .join(TASKS, TASKS.c.id == LEASES.c.task)
        .where(LEASES.c.person == person, LEASES.c.until > now.timestamp(), TASKS.c.state == "open")
        .where(*_of_kind(do))
        .order_by(LEASES.c.until, TASKS.c.seq)
    )
    return [(row.task, row.until) for row in connection.execute(asked)]


def lease(
    connection: Connection,
    person: str,
    n: int,
    now: datetime,
    config: QueueConfig,
    do: Doing | None = None,
) -> None:
    """Fill somebody's hands up to `n` tasks, of one kind or of all, as far as quota and queue allow."""
    n_held = len(held(connection, person, now, do))
    # Counting takes the longer the more somebody has done, and only gold questions ask for it.
    n_done = done_by(connection, person) if config.gold_share and _has_gold(connection) else 0
    if quota := quota_of(connection, person, config):
        n = min(n, quota - done_today(connection, person, now))
    for number in range(n_held, n):
        gold = gold_is_due(person, n_done + number, config.gold_share)
        task = _next(connection, person, now, do, gold=gold)
        if task is None:
            break
        keep(connection, person, task, now, config)


def _has_gold(connection: Connection) -> bool:
    asked = sa.select(TASKS.c.id).where(TASKS.c.state == "open", TASKS.c.gold)
    return connection.execute(asked.limit(1)).first() is not None


def keep(connection: Connection, person: str, task: str, now: datetime, config: QueueConfig) -> None:
    """Give somebody a task for the length of a lease."""
    let_go(connection, person, task)
    until = now.timestamp() + config.lease_s
    connection.execute(LEASES.insert().values(task=task, person=person, until=until))


def let_go(connection: Connection, person: str, task: str) -> None:
    """End somebody's lease of a task."""
    connection.execute(LEASES.delete().where(LEASES.c.task == task, LEASES.c.person == person))


def is_free_for(connection: Connection, person: str, task: str, now: datetime) -> bool:
    """Whether somebody else could be given this task now."""
    asked = sa.select(TASKS.c.id).where(TASKS.c.id == task, *_open_to(person, now), _has_room(person, now))
    return connection.execute(asked).first() is not None


def _next(connection: Connection, person: str, now: datetime, do: Doing | None, *, gold: bool) -> str | None:
    """A gold question where one is due, or what others have begun, or the oldest task."""
    fitting = (*_open_to(person, now), *_of_kind(do))
    found = _first(connection, TASKS.c.gold, *fitting) if gold else None
    return found or _first(connection, ~TASKS.c.gold, *fitting, _has_room(person, now))


def _first(
    connection: Connection, kind: sa.ColumnElement[bool], *fitting: sa.ColumnElement[bool]
) -> str | None:
    """Of the open tasks that fit the one done most often, and of those the oldest.

    One number of times done after the other, so that the index gives the order and the search ends at the
    first task that fits: sorted as a whole, every open task would be looked at each time.
    """
    open_tasks, n_done = (TASKS.c.state == "open", kind), TASKS.c.n_done
    most = connection.scalar(sa.select(sa.func.max(n_done)).where(*open_tasks))
    while most is not None:
        asked = sa.select(TASKS.c.id).where(*open_tasks, n_done == most, *fitting)
        found = connection.scalar(asked.order_by(TASKS.c.seq).limit(1))
        if found is not None:
            return str(found)
        most = connection.scalar(sa.select(sa.func.max(n_done)).where(*open_tasks, n_done < most))
    return None


def _of_kind(do: Doing | None) -> tuple[sa.ColumnElement[bool], ...]:
    return () if do is None else (TASKS.c.do == do,)


def _open_to(person: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """True of open tasks that somebody has neither done nor in hand."""
    in_hand = sa.exists().where(
        LEASES.c.task == TASKS.c.id, LEASES.c.person == person, LEASES.c.until > now.timestamp()
    )
    return (TASKS.c.state == "open", ~in_hand, ~answered_by(person))


def _has_room(person: str, now: datetime) -> sa.ColumnElement[bool]:
    """True of tasks that fewer people have done or hold than are to do them."""
    others = (
        sa.select(sa.func.count())
        .select_from(LEASES)
        .where(LEASES.c.task == TASKS.c.id, LEASES.c.person != person, LEASES.c.until > now.timestamp())
        .scalar_subquery()
    )
    return TASKS.c.n_done + others < TASKS.c.overlap


def gold_is_due(person: str, n_before: int, share: float) -> bool:
    """Whether somebody's next task is a gold question: at random, but the same whenever asked."""
    return Random(f"{person}/{n_before}").random() < share


def done_by(connection: Connection, person: str) -> int:
    """How many tasks somebody has done or skipped."""
    return _count(connection, EVENTS.c.person == person, EVENTS.c.kind.in_((*DONE, Skip.kind)))


def done_today(connection: Connection, person: str, now: datetime) -> int:
    """How many judgements of tasks somebody has given since midnight, UTC."""
    midnight = now.strftime("%Y-%m-%d")
    return _count(
        connection,
        *(EVENTS.c.person == person, EVENTS.c.at >= midnight, EVENTS.c.task != "", EVENTS.c.kind.in_(DONE)),
    )


def _count(connection: Connection, *conditions: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(EVENTS).where(*conditions, STANDS)) or 0


def quota_of(connection: Connection, person: str, config: QueueConfig) -> int:
    """Judgements a day: somebody's own number, or else everybody's; 0 is no limit."""
    own = connection.scalar(sa.select(PEOPLE.c.quota).where(PEOPLE.c.name == person))
    return own or config.quota


def assignments(connection: Connection, person: str, leases: Mapping[str, float]) -> list[Assignment]:
    """Leased tasks with all that a page shows, in the order of the leases."""
    tasks = find(connection, leases)
    bodies = {task_id: body for task_id in leases if isinstance(body := tasks[task_id].body, Task)}
    wanted = [node for body in bodies.values() for node in (body.prompt, *body.completions)]
    nodes = nodes_above(connection, wanted)
    return [_assignment(task_id, body, nodes, person, leases[task_id]) for task_id, body in bodies.items()]


def _assignment(
    task_id: str, body: Task, nodes: Mapping[str, Event], person: str, until: float
) -> Assignment:
    shown = shown_order(task_id, person, len(body.completions))
    return Assignment(
        task=task_id,
        do=body.do,
        prompt_id=body.prompt,
        prompt=[message_of(node) for node in thread(nodes, body.prompt)],
        completions=[(body.completions[i], content_of(nodes[body.completions[i]])) for i in shown],
        shown=shown,
        guideline=body.guideline,
        until=until,
    )


def shown_order(task: str, person: str, n: int) -> tuple[int, ...]:
    """An order of its own for each person and task, so that no place is always the same model's."""
    return tuple(Random(derived_id("shown", task, person)).sample(range(n), n))


def task_state(connection: Connection, task: str) -> str:
    """open, done or withdrawn."""
    return str(connection.scalar(sa.select(TASKS.c.state).where(TASKS.c.id == task)))


def standing_answer(connection: Connection, person: str, task: str) -> str | None:
    """The id of the event by which somebody has already done a task."""
    asked = sa.select(EVENTS.c.id).where(
        EVENTS.c.task == task, EVENTS.c.person == person, EVENTS.c.kind.in_(DONE), STANDS
    )
    return connection.scalar(asked)


def touched(events: Iterable[Event], connection: Connection) -> set[str]:
    """The tasks whose derived rows some new events change."""
    found: set[str] = set()
    undone: list[str] = []
    for event in events:
        found |= {event.id} if isinstance(event.body, Task) else {event.task} - {""}
        undone += [event.body.event] if isinstance(event.body, Undo) else []
    for event in find(connection, undone).values():
        found |= {event.id} if isinstance(event.body, Task) else {event.task} - {""}
    return found
