"""A conversation with answers to judge, and a clock, for the tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from danlu.feedback.body import Origin
from danlu.feedback.event import Event
from danlu.feedback.records import Conversation, Message, Task
from danlu.feedback.store import Store

MODEL = "5e" * 32


@dataclass(slots=True)
class Clock:
    """Time that passes only when a test says so; each look is a microsecond later."""

    now: datetime = field(default_factory=lambda: datetime(2026, 5, 4, 9, tzinfo=UTC))

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now

    def pass_by(self, **how: float) -> None:
        self.now += timedelta(**how)


def ask(store: Store, *answers: str, prompt: str = "Why is the sky blue?") -> tuple[Event, list[Event]]:
    """A question by Ann and a model's answers to it."""
    conversation = store.add("ann", Conversation(title="sky"))
    question = store.add("ann", Message(conversation=conversation.id, role="user", content=prompt))
    return question, [answer(store, question, text) for text in answers]


def answer(store: Store, question: Event, text: str, **origin: Any) -> Event:
    """What a model said to a question."""
    body = question.body
    assert isinstance(body, Message)
    made = {"model": MODEL, "name": "tiny", "sampling": {"temperature": 1.0, "seed": 3}} | origin
    return store.add(
        "",
        Message(
            conversation=body.conversation,
            parent=question.id,
            role="assistant",
            content=text,
            origin=Origin(**made),
        ),
    )


def ranking_task(store: Store, *answers: str, prompt: str = "Why is the sky blue?", **how: Any) -> Event:
    """A task to rank some answers."""
    question, made = ask(store, *answers, prompt=prompt)
    return store.add("boss", Task(prompt=question.id, completions=tuple(each.id for each in made), **how))


def derived(store: Store) -> dict[str, tuple[int, str]]:
    """The derived rows of the queue: task → how often done, state."""
    with store.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT id, n_done, state FROM tasks")
        return {row[0]: (row[1], row[2]) for row in rows}
