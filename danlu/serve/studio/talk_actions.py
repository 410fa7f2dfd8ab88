"""What people do in a conversation: ask, have it answered, judge, branch, walk between versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from nicegui import ui

from danlu.feedback.body import derived_id
from danlu.feedback.event import Event
from danlu.feedback.records import Conversation, Message, Rating, Task
from danlu.serve.studio.conversation import new_event
from danlu.serve.studio.talk import Talk, asked_by, is_open
from danlu.serve.studio.visit import Visit, told

TITLE = 60  # characters of the first question that become the title


@told
async def send(visit: Visit, talk: Talk, text: str) -> None:
    parent = ""
    if talk.branch:
        last = talk.branch[-1]
        # A question that was never answered gives way to the new one, on a branch of its own.
        parent = asked_by(talk, last).body.subject if is_open(last) else last.id
        parent = "" if parent == talk.conversation else parent
    is_new = not talk.conversation
    conversation, question = await visit.act("chat", store_question, talk, parent, text)
    await talk.load(conversation, question.id)
    await answer(visit, talk, question)
    if is_new and talk.history is not None:
        await talk.history()


def store_question(talk: Talk, parent: str, text: str) -> tuple[str, Event]:
    store, person, conversation = talk.visit.studio.store, talk.visit.person.name, talk.conversation
    made: list[Event] = []
    if not conversation:
        made.append(new_event(person, Conversation(title=" ".join(text.split())[:TITLE])))
        conversation = made[0].id
        if system := talk.panel.system:
            said = Message(conversation=conversation, role="system", content=system)
            made.append(new_event(person, said))
            parent = made[1].id
    said = Message(conversation=conversation, parent=parent, role="user", content=text)
    made.append(new_event(person, said))
    store.take_in(made)
    return conversation, made[-1]


@told
async def answer(visit: Visit, talk: Talk, question: Event, go_on: Event | None = None) -> None:
    """Have the model answer a turn, or go on with an unfinished answer."""
    studio, place = (
        visit.studio,
        Message(conversation=talk.conversation, parent=question.id, role="assistant", content=""),
    )
    try:
        messages = await visit.act("chat", studio.store.messages, question.id)
        unfinished = cast(Message, go_on.body) if go_on is not None else None
        await studio.replies.begin(
            talk.panel.voice, visit.person.name, place, messages, talk.panel.sampling, unfinished
        )
    finally:
        await talk.reload(question.id)


@told
async def rank_these(visit: Visit, talk: Talk, siblings: Sequence[Event]) -> None:
    """Make the versions of an answer a task for whoever ranks next."""
    completions = tuple(each.id for each in siblings)
    body = Task(prompt=siblings[0].body.subject, completions=completions)
    # The same answers are one task, however often it is asked for.
    event_id = derived_id("rank these", *completions)
    await visit.act("annotate", visit.studio.store.add, "", body, event_id=event_id)
    ui.notify(visit.say("chat.ranked", n=len(completions)), type="positive")


@told
async def walk(visit: Visit, talk: Talk, node: Event) -> None:
    await talk.reload(node.id)


@told
async def rate(visit: Visit, talk: Talk, node: Event, value: int) -> None:
    """A thumb; the same one again takes it back."""
    store, rated = visit.studio.store, talk.ratings.get(node.id)
    if rated is not None:
        await visit.act("chat", store.undo, visit.person.name, rated.id)
    if rated is None or not isinstance(rated.body, Rating) or rated.body.value != value:
        await visit.act("chat", store.add, visit.person.name, Rating(completion=node.id, value=value))
    await talk.reload(talk.branch[-1].id)


@told
async def branch(visit: Visit, talk: Talk, node: Event, text: str) -> None:
    parent = str(getattr(node.body, "parent", ""))
    question = await visit.act("chat", store_question, talk, parent, text)
    await talk.load(talk.conversation, question[1].id)
    await answer(visit, talk, question[1])
