"""Demonstrate: the answer that the model ought to give, written by a person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

from nicegui import ui

from danlu.feedback.errors import FeedbackError, WithdrawnTaskError
from danlu.feedback.queue import Assignment
from danlu.feedback.records import Conversation, Demonstration, Edit, Message, Skip
from danlu.serve.studio.controls import action, prompt_turns, text_field, words
from danlu.serve.studio.conversation import new_event
from danlu.serve.studio.visit import Visit, told
from danlu.serve.studio.writing import Desk

FULL_HANDS = 2  # the task to do, and the next to load meanwhile
# Control and Enter, or Command and Enter, hand in from within the field.
SUBMIT_KEYS = """(event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
    event.preventDefault(); emit(event.target.value); } }"""


@dataclass(slots=True)
class Room:
    """The task in hand."""

    visit: Visit
    area: ui.element
    given: list[Assignment] = field(default_factory=list[Assignment])
    desk: Desk | None = None
    event_id: str = ""  # of what will be handed in: sent twice, it is one demonstration
    n_done: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def task(self) -> Assignment | None:
        return self.given[0] if self.given else None

    async def fill(self) -> None:
        """Have a task to do, and the next loaded."""
        visit = self.visit
        self.given = await visit.act(
            "annotate", visit.studio.store.next_tasks, visit.person.name, FULL_HANDS, "demonstrate"
        )

    def show(self, written: str | None = None) -> None:
        """Show the task that is first in hand, with what was written before if it was taken back."""
        self.event_id = uuid4().hex
        self.area.clear()
        with self.area:
            with ui.element("div").classes("dl-work"):
                if self.task is None:
                    _own(self)
                else:
                    _given(self, self.task, written)
            _side(self)


async def build(visit: Visit) -> None:
    """The page."""
    room = Room(visit, ui.element("div").classes("dl-desk"))
    await room.fill()
    room.show()
    ui.timer(visit.studio.store.config.lease_s / 3, lambda: _renew(visit, room), immediate=False)


@told
async def _renew(visit: Visit, room: Room) -> None:
    """Keep the task for as long as the page is open."""
    if room.task is not None:
        store = visit.studio.store
        if not await visit.act("annotate", store.renew, visit.person.name, room.task.task):
            ui.notify(visit.say("rank.lost"), type="warning", timeout=10_000)


def _given(room: Room, task: Assignment, written: str | None) -> None:
    prompt_turns(room.visit, task.prompt)
    draft = task.completions[0][1] if task.completions else ""
    room.desk = Desk(room.visit, str(task.prompt[-1]["content"]), draft, written)
    room.desk.box.on("keydown", lambda event: _press(room, submit, str(event.args)), js_handler=SUBMIT_KEYS)


def _own(room: Room) -> None:
    """Nothing is asked for: a question of one's own, and its answer."""
    visit = room.visit
    ui.label(visit.say("demonstrate.own")).classes("dl-heading")
    ui.label(visit.say("demonstrate.own_more")).classes("dl-quiet")
    question = text_field(visit.say("demonstrate.question"), lines=3)
    room.desk = Desk(visit, "", "")
    desk = room.desk
    question.on_value_change(lambda event: desk.ask(str(event.value or "")))
    desk.box.on("keydown", lambda event: _press(room, submit, str(event.args)), js_handler=SUBMIT_KEYS)


def _side(room: Room) -> None:
    visit, task = room.visit, room.task
    with ui.element("aside").classes("dl-side") as side:
        side.props["aria-label"] = visit.say("rank.guidelines")
        with ui.element("div").classes("dl-buttons-wide"):
            action(visit.say("rank.submit"), lambda: _press(room, submit), icon="check", main=True)
            if task is not None:
                action(visit.say("rank.skip"), lambda: _press(room, skip), icon="skip_next")
            action(visit.say("rank.undo"), lambda: _press(room, undo), icon="undo")
        ui.label(visit.say("demonstrate.keys")).classes("dl-quiet dl-small dl-keyboard")
        with ui.expansion(visit.say("rank.guidelines"), value=True).classes("dl-panel"):
            given = task.guideline if task is not None else ""
            words(visit, given or visit.say("demonstrate.guideline")).classes("dl-small")
        ui.label(visit.say("rank.done", n=room.n_done)).classes("dl-quiet dl-small")


Act = Callable[[Visit, Room], Awaitable[None]]


async def _press(room: Room, act: Act, written: str | None = None) -> None:
    if room.turn.locked():  # pressed twice
        return
    async with room.turn:
        if written is not None and room.desk is not None:
            room.desk.box.set_value(written)
        with room.area:
            await act(room.visit, room)


@told
async def submit(visit: Visit, room: Room) -> None:
    """Hand the answer in, and go on."""
    desk, task, store = room.desk, room.task, visit.studio.store
    if desk is None:
        return
    if task is None:
        await visit.act("annotate", _store_own, room, desk)
    else:
        said = await visit.act("annotate", _of_task, room, desk, task)
        await visit.act("annotate", store.add, visit.person.name, said, event_id=room.event_id)
        room.given = room.given[1:]
    room.n_done += 1
    ui.notify(visit.say("demonstrate.kept"), type="positive")
    await room.fill()
    room.show()


def _of_task(room: Room, desk: Desk, task: Assignment) -> Demonstration:
    prompt = room.visit.studio.store.get(task.prompt_id).body
    conversation, text, seconds = str(getattr(prompt, "conversation", "")), desk.text.strip(), desk.seconds
    said = Demonstration(
        conversation=conversation, parent=task.prompt_id, content=text, seconds=seconds, task=task.task
    )
    if not task.completions:
        return said
    return Edit(
        of=task.completions[0][0],
        conversation=conversation,
        parent=task.prompt_id,
        content=text,
        seconds=seconds,
        task=task.task,
    )


def _store_own(room: Room, desk: Desk) -> None:
    """A question and its answer, both by the visitor."""
    store, person, question = room.visit.studio.store, room.visit.person.name, desk.question.strip()
    if not question:
        raise FeedbackError(room.visit.say("demonstrate.no_question"))
    if not desk.text.strip():
        raise FeedbackError(room.visit.say("demonstrate.no_answer"))
    # A conversation that belongs to nobody's history.
    root = new_event("", Conversation(title=" ".join(question.split())[:60], about={"demonstrated": True}))
    asked = new_event(person, Message(conversation=root.id, role="user", content=question))
    text, seconds = desk.text.strip(), desk.seconds
    said = Demonstration(conversation=root.id, parent=asked.id, content=text, seconds=seconds)
    store.take_in([root, asked, new_event(person, said)])


@told
async def skip(visit: Visit, room: Room) -> None:
    """Leave the task to others."""
    if room.task is not None and room.desk is not None:
        said = Skip(task=room.task.task, seconds=room.desk.seconds)
        with suppress(WithdrawnTaskError):  # then nobody need be told
            await visit.act("annotate", visit.studio.store.add, visit.person.name, said)
        room.given = room.given[1:]
        await room.fill()
        room.show()


@told
async def undo(visit: Visit, room: Room) -> None:
    """Take back what was handed in last, to write it again."""
    store, name = visit.studio.store, visit.person.name
    last = await visit.act("annotate", store.last_answer, name, Demonstration.kind, Edit.kind, Skip.kind)
    if last is None:
        ui.notify(visit.say("rank.no_undo"))
        return
    await visit.act("annotate", store.undo, name, last.id)
    await room.fill()
    room.given.sort(key=lambda each: each.task != last.task)
    again = room.task is not None and room.task.task == last.task
    written = last.body.content if again and isinstance(last.body, Demonstration) else None
    room.n_done = max(0, room.n_done - (last.kind != Skip.kind))
    room.show(written)
    ui.notify(visit.say("rank.undone"))
