"""What has been collected, how far people agree, and what is still missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import sqlalchemy as sa

from danlu.feedback import log
from danlu.feedback.agreement import (
    Judged,
    Value,
    agreement,
    by_pairs_of_people,
    grouped,
    krippendorff_alpha,
    noise,
    ranking_alpha,
    share,
)
from danlu.feedback.event import Event, content_of
from danlu.feedback.records import DONE, Demonstration, Ranking, Rating, Skip, Task, Verdict
from danlu.feedback.schema import EVENTS, LEASES, TASKS
from danlu.feedback.store import Store

DISPUTED = 0.5  # people who agree on no more pairs than this need somebody to settle it


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    """One annotator, measured against the others."""

    person: str
    n: int  # judgements and demonstrations
    n_skipped: int
    seconds: float | None  # median time taken, where it is known
    agreement: float | None  # share of pairs on which others agree
    noise: float | None  # how often they order a pair wrongly, as that agreement shows
    gold: float | None  # share of the pairs of gold questions put in the right order


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """Answers about which people disagree, and nobody has settled it."""

    completions: tuple[str, ...]  # ids
    task: str  # empty = not from the queue
    agreement: float
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The tasks that stand."""

    n_open: int
    n_leased: int  # of these, in somebody's hands
    n_done: int
    n_gold: int
    n_missing: int  # judgements still to be made


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a store."""

    counts: Mapping[str, int]  # events that stand, by kind
    people: Sequence[PersonRow]
    ranking_alpha: float | None
    rating_alpha: float | None
    agreement: float | None  # share of pairs of answers on which two people agree
    n_doubled: int  # sets of answers that two or more people ranked
    disputes: Sequence[Dispute]  # the worst first
    queue: Queue


def status(store: Store, *, disputed: float = DISPUTED) -> Status:
    """Everything at one moment. Gold questions measure people and are no part of the agreement."""
    with store.database.read() as connection:
        judged = list(log.select(connection, EVENTS.c.kind.in_((*DONE, Skip.kind, Verdict.kind))))
        gold = _gold(log.find(connection, {event.task for event in judged} - {""}).values())
        rankings = [event for event in judged if event.kind == Ranking.kind]
        ordinary = [event for event in rankings if event.task not in gold]
        sets = grouped((frozenset(_ranking(event).completions), _as_judged(event)) for event in ordinary)
        texts = _texts(
            log.find(connection, {answer for people in sets for answer in people[0].ranks}).values()
        )
        counted = sa.select(EVENTS.c.kind, sa.func.count()).where(log.STANDS).group_by(EVENTS.c.kind)
        counts = {row[0]: row[1] for row in connection.execute(counted)}
        waiting = _queue(connection, store.clock().timestamp())
    met = by_pairs_of_people(sets, lambda a, b: texts[a] == texts[b])
    return Status(
        counts=counts,
        people=_people(judged, gold, met),
        ranking_alpha=ranking_alpha(sets),
        rating_alpha=_rating_alpha(judged),
        agreement=share(met.values()),
        n_doubled=len(sets),
        disputes=_disputes(judged, gold, texts, disputed),
        queue=waiting,
    )


def disputes(store: Store, *, disputed: float = DISPUTED) -> Sequence[Dispute]:
    """The queue of those who settle: rankings that contradict each other, the worst first."""
    return status(store, disputed=disputed).disputes


def _gold(tasks: Iterable[Event]) -> dict[str, dict[str, int]]:
    """The right ranks of the gold questions, by task and answer."""
    return {
        task.id: dict(zip(task.body.completions, task.body.gold, strict=True))
        for task in tasks
        if isinstance(task.body, Task) and task.body.gold
    }


def _ranking(event: Event) -> Ranking:
    assert isinstance(event.body, Ranking)
    return event.body


def _as_judged(event: Event) -> Judged:
    body = _ranking(event)
    return Judged(event.person, dict(sorted(zip(body.completions, body.ranks, strict=True))))


def _texts(nodes: Iterable[Event]) -> dict[str, str]:
    return {node.id: content_of(node).strip() for node in nodes}


def _people(
    judged: Sequence[Event],
    gold: Mapping[str, Mapping[str, int]],
    met: Mapping[tuple[str, str], tuple[float, int]],
) -> list[PersonRow]:
    own: dict[str, list[Event]] = defaultdict(list)
    for event in judged:
        own[event.person].append(event)
    shared: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for pair, found in met.items():
        for person in pair:
            shared[person].append(found)
    errs = noise(met)
    return [
        PersonRow(
            person=person,
            n=sum(event.kind != Skip.kind for event in events),
            n_skipped=sum(event.kind == Skip.kind for event in events),
            seconds=_median_seconds(events),
            agreement=share(shared[person]),
            noise=errs.get(person),
            gold=share(_against_gold(events, gold)),
        )
        for person, events in sorted(own.items())
    ]


def _median_seconds(events: Sequence[Event]) -> float | None:
    taken = [
        event.body.seconds
        for event in events
        if isinstance(event.body, Ranking | Rating | Demonstration) and event.body.seconds
    ]
    return median(taken) if taken else None


def _against_gold(events: Iterable[Event], gold: Mapping[str, Mapping[str, int]]) -> list[tuple[float, int]]:
    return [
        agreement(_as_judged(event), Judged("", gold[event.task]))
        for event in events
        if event.kind == Ranking.kind and event.task in gold
    ]


def _rating_alpha(judged: Iterable[Event]) -> float | None:
    """Ordinal alpha of thumbs and grades; a unit is one answer on one scale, of each person the last word."""
    units: dict[tuple[str, str], dict[str, Value]] = defaultdict(dict)
    for event in judged:
        if isinstance(event.body, Rating):
            units[event.body.completion, event.body.scale][event.person] = event.body.value
    # Thumbs and grades are scales of their own, and so are their distributions.
    scales = {scale for _, scale in units}
    if len(scales) > 1:
        counts = Counter(scale for (_, scale), people in units.items() if len(people) > 1)
        scales = {scale for scale, _ in counts.most_common(1)}
    return krippendorff_alpha(
        list(people.values()) for (_, scale), people in units.items() if scale in scales
    )


def _disputes(
    judged: Sequence[Event],
    gold: Mapping[str, Mapping[str, int]],
    texts: Mapping[str, str],
    disputed: float,
) -> list[Dispute]:
    settled = {frozenset(_ranking(event).completions) for event in judged if event.kind == Verdict.kind}
    by_set: dict[frozenset[str], dict[str, Event]] = defaultdict(dict)
    for event in judged:
        if event.kind == Ranking.kind and event.task not in gold:
            by_set[frozenset(_ranking(event).completions)][event.person] = event
    found: list[Dispute] = []
    for completions, people in by_set.items():
        if len(people) < 2 or completions in settled:
            continue
        events = list(people.values())
        met = by_pairs_of_people([[_as_judged(each) for each in events]], lambda a, b: texts[a] == texts[b])
        agreed = share(met.values())
        if agreed is not None and agreed <= disputed:
            found.append(
                Dispute(
                    completions=_ranking(events[0]).completions,
                    task=events[0].task,
                    agreement=agreed,
                    people=tuple(sorted(people)),
                )
            )
    return sorted(found, key=lambda dispute: dispute.agreement)


def _queue(connection: sa.Connection, now: float) -> Queue:
    def count(*conditions: sa.ColumnElement[bool]) -> int:
        return connection.scalar(sa.select(sa.func.count()).select_from(TASKS).where(*conditions)) or 0

    is_open = (TASKS.c.state == "open", ~TASKS.c.gold)
    leased = sa.exists().where(LEASES.c.task == TASKS.c.id, LEASES.c.until > now)
    missing = sa.select(sa.func.sum(TASKS.c.overlap - TASKS.c.n_done)).where(*is_open)
    return Queue(
        n_open=count(*is_open),
        n_leased=count(*is_open, leased),
        n_done=count(TASKS.c.state == "done"),
        n_gold=count(TASKS.c.state == "open", TASKS.c.gold),
        n_missing=int(connection.scalar(missing) or 0),
    )
