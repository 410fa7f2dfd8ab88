"""Chat: one conversation with all its branches; every turn is stored before anything else happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from nicegui import ui

from danlu.feedback.errors import FeedbackError
from danlu.feedback.records import (
    LEAST,
    MOST,
    Conversation,
    Demonstration,
    Event,
    Message,
    Rating,
    Task,
    content_of,
    derived_id,
    message_of,
)
from danlu.serve.studio.address import ROOT
from danlu.serve.studio.controls import action, icon_button, rendered, text_field, words
from danlu.serve.studio.conversation import Tree, new_event
from danlu.serve.studio.history import show_history
from danlu.serve.studio.pace import Pace
from danlu.serve.studio.personas import show_personas
from danlu.serve.studio.replies import Draft
from danlu.serve.studio.sampling_panel import SamplingPanel
from danlu.serve.studio.steps import steps_html
from danlu.serve.studio.visit import Visit, told
from danlu.serve.studio.writing import better_answer

TITLE = 60  # characters of the first question that become the title
POLL_S = 0.08
# Enter sends, except with Shift, and while an input method composes a character.
SEND_KEYS = """(event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
    event.preventDefault(); emit(event.target.value); } }"""


@dataclass(slots=True)
class Talk:
    """What the page shows at the moment; all of it is read from the store."""

    visit: Visit
    panel: SamplingPanel
    area: ui.element
    turns: ui.element
    tree: Tree | None = None
    branch: list[Event] = field(default_factory=list[Event])
    ratings: dict[str, Event] = field(default_factory=dict[str, Event])
    draft: Draft | None = None
    history: Callable[[], Awaitable[None]] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def conversation(self) -> str:
        return self.tree.root.id if self.tree else ""

    async def load(self, conversation: str, through: str = "") -> None:
        """Read a conversation; empty is a new one."""
        visit, studio = self.visit, self.visit.studio
        if not conversation:
            self.tree, self.branch, self.ratings, self.draft = None, [], {}, None
            return
        # Asked before the store: a reply that is finished meanwhile is then seen here at least.
        running = studio.replies.under_way(conversation)
        self.tree = await visit.act("chat", Tree.read, studio.store, visit.person.name, conversation)
        self.branch = self.tree.branch(through)
        nodes = [node.id for node in self.branch]
        self.ratings = await visit.act("chat", studio.store.ratings, visit.person.name, nodes)
        self.draft = next((each for each in running if each.parent in nodes), None)
        if self.draft is not None:
            self.branch = self.branch[: nodes.index(self.draft.parent) + 1]

    async def reload(self, through: str = "") -> None:
        """Read it again and show it."""
        await self.load(self.conversation, through)
        self.show()
        last = self.branch[-1].id if self.branch else ""
        ui.navigate.history.replace(f"{ROOT}/chat?c={self.conversation}&n={last}")

    def show(self) -> None:
        """Show the branch."""
        self.turns.clear()
        with self.turns:
            if not self.branch:
                _welcome(self.visit)
            steps: list[Event] = []  # of the answer that follows: calls of tools, and results
            for node in self.branch:
                if _is_step(node):
                    steps.append(node)
                else:
                    _turn(self, node, steps)
                    steps = []
            if self.draft is not None:
                _live(self, self.draft)
            elif self.branch and _is_open(self.branch[-1]):
                if steps:
                    _steps(self, steps)
                action(self.visit.say("chat.answer"), self.act(_answer, self.branch[-1]), icon="replay")

    def act(self, function: Callable[..., Awaitable[None]], *args: Any) -> Callable[[], Awaitable[None]]:
        """An action for a button; what it shows goes into the page, whatever becomes of the button."""

        async def act() -> None:
            with self.area:
                await function(self.visit, self, *args)

        return act


async def build(visit: Visit) -> None:
    """The page."""
    with ui.element("div").classes("dl-chat"):
        with ui.element("div").classes("dl-talk") as area:
            notices = ui.element("div")
            turns = ui.element("div").classes("dl-turns").props('role="log" aria-live="off"')
            turns.props["aria-label"] = visit.say("page.chat")
        with ui.element("aside").classes("dl-aside") as aside:
            aside.props["aria-label"] = visit.say("chat.aside")
            icon_button(visit.say("chat.aside_close"), "close", lambda: _toggle(aside)).classes(
                "dl-aside-close"
            )
            upper = ui.element("div")
            panel = SamplingPanel(visit)
            talk = Talk(visit, panel, area, turns)
            with notices:
                await _open(talk)
            panel.take(talk.branch)
            await show_personas(visit, panel)
            with upper:
                talk.history = await show_history(visit, lambda: talk.conversation)
    with area:
        talk.show()
        _composer(talk, aside)


async def _open(talk: Talk) -> None:
    asked = talk.visit.query
    try:
        await talk.load(asked.get("c", ""), asked.get("n", ""))
    except FeedbackError:
        await talk.load("")
        ui.label(talk.visit.say("chat.unknown")).classes("dl-alert").props('role="alert"')


def _welcome(visit: Visit) -> None:
    with ui.element("div").classes("dl-welcome"):
        ui.label(visit.say("chat.welcome")).classes("dl-big")
        ui.label(visit.say("chat.welcome_more")).classes("dl-quiet")


def _composer(talk: Talk, aside: ui.element) -> None:
    visit = talk.visit
    with ui.element("div").classes("dl-composer"):
        box = text_field(visit.say("chat.message"), lines=1, grows=True).classes("dl-grow")
        box.props["autofocus"] = True

        async def send(text: str) -> None:
            if talk.turn.locked():  # pressed twice
                return
            async with talk.turn:
                with talk.area:
                    box.set_value("")
                    if not await _sent(talk, text):
                        box.set_value(text)

        box.on("keydown", lambda event: send(str(event.args)), js_handler=SEND_KEYS)
        with ui.element("div").classes("dl-composer-row"):
            icon_button(visit.say("chat.aside"), "tune", lambda: _toggle(aside)).classes("dl-aside-button")
            ui.label(visit.say("chat.keys")).classes("dl-quiet dl-hint")
            ui.space()
            action(visit.say("chat.send"), lambda: send(str(box.value or "")), icon="send", main=True)


def _toggle(aside: ui.element) -> None:
    aside.classes(toggle="dl-open")


async def _sent(talk: Talk, text: str) -> bool:
    """Whether a message was accepted; if it was, its answer is under way."""
    if not text.strip():
        return True
    if talk.draft is not None and not talk.draft.finished:
        ui.notify(talk.visit.say("chat.busy"))
        return False
    before = talk.branch[-1].id if talk.branch else ""
    await _send(talk.visit, talk, text.strip())
    return bool(talk.branch) and talk.branch[-1].id != before


@told
async def _send(visit: Visit, talk: Talk, text: str) -> None:
    parent = ""
    if talk.branch:
        last = talk.branch[-1]
        # A question that was never answered gives way to the new one, on a branch of its own.
        parent = _asked_by(talk, last).body.subject if _is_open(last) else last.id
        parent = "" if parent == talk.conversation else parent
    is_new = not talk.conversation
    conversation, question = await visit.act("chat", _store_question, talk, parent, text)
    await talk.load(conversation, question.id)
    await _answer(visit, talk, question)
    if is_new and talk.history is not None:
        await talk.history()


def _store_question(talk: Talk, parent: str, text: str) -> tuple[str, Event]:
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
async def _answer(visit: Visit, talk: Talk, question: Event, go_on: Event | None = None) -> None:
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


def _live(talk: Talk, draft: Draft) -> None:
    """A reply as it comes."""
    visit = talk.visit
    with ui.element("article").classes("dl-turn dl-assistant"):
        with ui.element("div").classes("dl-who"):
            ui.label(draft.voice)
        calls = ui.html(steps_html(visit, draft.turns)).classes("dl-text")
        text = words(visit, draft.text).classes("dl-live")
        with ui.element("div").classes("dl-actions"):
            numbers = ui.label("").classes("dl-quiet")
            action(visit.say("chat.stop"), lambda: visit.studio.replies.stop(draft), icon="stop")
    shown, n_turns, pace = 0, 0, Pace()

    async def look() -> None:
        nonlocal shown, n_turns
        if len(draft.turns) != n_turns:
            n_turns = len(draft.turns)
            calls.set_content(steps_html(visit, draft.turns))
        if len(draft.text) != shown and pace.due:
            shown = len(draft.text)
            with pace.measured():
                text.set_content(rendered(visit, draft.text))
                numbers.set_text(_speed(visit, draft))
        if draft.finished:
            timer.deactivate()
            with talk.area:
                if draft.error:
                    ui.notify(
                        visit.say("chat.failed", why=visit.translate(draft.error)),
                        type="negative",
                        timeout=10_000,
                    )
                await talk.reload(draft.id if draft.n_tokens else draft.parent)

    timer = ui.timer(POLL_S, look)


def _speed(visit: Visit, draft: Draft) -> str:
    longest = next(
        each.service.served.max_seq_len for each in visit.studio.voices if each.name == draft.voice
    )
    used = draft.n_prompt + draft.n_tokens
    told = visit.say("chat.context", used=f"{used:,}", longest=f"{longest:,}", share=f"{used / longest:.0%}")
    if draft.tokens_per_s:
        told += " · " + visit.say("chat.speed", speed=f"{draft.tokens_per_s:.1f}")
    if draft.n_left_out:
        told += " · " + visit.say("chat.left_out", n=draft.n_left_out)
    return told


def _steps(talk: Talk, steps: Sequence[Event]) -> None:
    """Calls of tools that no answer has followed yet."""
    with ui.element("article").classes("dl-turn dl-assistant"):
        ui.label(_name(talk.visit, steps[0])).classes("dl-who")
        _show_steps(talk.visit, steps)
        with ui.element("div").classes("dl-actions"):
            _siblings(talk, steps[0])


def _show_steps(visit: Visit, steps: Sequence[Event]) -> None:
    if steps:
        ui.html(steps_html(visit, list(map(message_of, steps)))).classes("dl-text")


def _turn(talk: Talk, node: Event, steps: Sequence[Event] = ()) -> None:
    """One turn.

    Args:
        steps: the calls of tools before an answer.
    """
    visit, speaker = talk.visit, _speaker(node)
    if speaker == "system":
        with ui.expansion(visit.say("chat.system")).classes("dl-system"):
            words(visit, content_of(node), typed=True)
        return
    with ui.element("article").classes(f"dl-turn dl-{speaker}"):
        with ui.element("div").classes("dl-who"):
            ui.label(_name(visit, node))
        _show_steps(visit, steps)
        words(visit, content_of(node), typed=speaker != "assistant")
        with ui.element("div").classes("dl-actions"):
            _siblings(talk, steps[0] if steps else node)
            if speaker == "user":
                icon_button(visit.say("chat.edit"), "edit", lambda: _edit(talk, node))
            elif speaker == "assistant":
                _answer_actions(talk, node)


def _answer_actions(talk: Talk, node: Event) -> None:
    visit, body = talk.visit, node.body
    rated = talk.ratings.get(node.id)
    value = rated.body.value if rated is not None and isinstance(rated.body, Rating) else 0
    for wanted, key, icon in ((1, "chat.good", "thumb_up"), (-1, "chat.bad", "thumb_down")):
        button = icon_button(visit.say(key), icon, talk.act(_rate, node, wanted))
        button.props["aria-pressed"] = "true" if value == wanted else "false"
        button.classes("dl-pressed" if value == wanted else "dl-open-icon")
    icon_button(visit.say("chat.better"), "edit_note", lambda: better_answer(talk.visit, node, talk.reload))
    asked = _asked_by(talk, node)
    if asked.id != node.id:  # a conversation that was taken in may begin with an answer
        icon_button(visit.say("chat.again"), "refresh", talk.act(_answer, asked))
    if isinstance(body, Message):
        above = next((each for each in talk.branch if each.id == body.subject), None)
        if above is not None and body.origin.unfinished and body.origin.token_ids:
            icon_button(visit.say("chat.continue"), "play_arrow", talk.act(_answer, above, node))
        draft = visit.studio.replies.known(node.id)
        if draft is not None:
            ui.label(_speed(visit, draft)).classes("dl-quiet dl-numbers")
        elif body.origin.sampling:
            ui.label(visit.say("chat.seed", seed=str(body.origin.sampling.get("seed", "")))).classes(
                "dl-quiet dl-numbers"
            )


def _siblings(talk: Talk, node: Event) -> None:
    assert talk.tree is not None
    siblings = talk.tree.siblings(node)
    if len(siblings) < 2:
        return
    at = [each.id for each in siblings].index(node.id)
    with ui.element("div").classes("dl-siblings"):
        before = icon_button(
            talk.visit.say("chat.previous"), "chevron_left", talk.act(_walk, siblings[max(0, at - 1)])
        )
        ui.label(f"{at + 1}/{len(siblings)}")
        after = icon_button(
            talk.visit.say("chat.next"), "chevron_right", talk.act(_walk, siblings[(at + 1) % len(siblings)])
        )
        before.set_enabled(at > 0)
        after.set_enabled(at + 1 < len(siblings))
        if talk.visit.may("annotate") and _can_be_ranked(siblings):
            icon_button(
                talk.visit.say("chat.rank"), "format_list_numbered", talk.act(_rank_these, list(siblings))
            )


def _can_be_ranked(siblings: Sequence[Event]) -> bool:
    """Whether they are whole answers, neither too few nor too many; one that calls tools goes on below."""
    answers = [each for each in siblings if _speaker(each) == "assistant" and not _is_step(each)]
    return len(answers) == len(siblings) and LEAST <= len(siblings) <= MOST


@told
async def _rank_these(visit: Visit, talk: Talk, siblings: Sequence[Event]) -> None:
    """Make the versions of an answer a task for whoever ranks next."""
    completions = tuple(each.id for each in siblings)
    body = Task(prompt=siblings[0].body.subject, completions=completions)
    # The same answers are one task, however often it is asked for.
    event_id = derived_id("rank these", *completions)
    await visit.act("annotate", visit.studio.store.add, "", body, event_id=event_id)
    ui.notify(visit.say("chat.ranked", n=len(completions)), type="positive")


@told
async def _walk(visit: Visit, talk: Talk, node: Event) -> None:
    await talk.reload(node.id)


@told
async def _rate(visit: Visit, talk: Talk, node: Event, value: int) -> None:
    """A thumb; the same one again takes it back."""
    store, rated = visit.studio.store, talk.ratings.get(node.id)
    if rated is not None:
        await visit.act("chat", store.undo, visit.person.name, rated.id)
    if rated is None or not isinstance(rated.body, Rating) or rated.body.value != value:
        await visit.act("chat", store.add, visit.person.name, Rating(completion=node.id, value=value))
    await talk.reload(talk.branch[-1].id)


def _edit(talk: Talk, node: Event) -> None:
    """A question asked differently: a branch beside it."""
    visit = talk.visit
    with talk.area, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog"):
        ui.label(visit.say("chat.edit")).classes("dl-heading")
        box = text_field(visit.say("chat.message"), content_of(node), lines=5)

        async def send() -> None:
            dialog.close()
            text = str(box.value or "").strip()
            if text and text != content_of(node):
                await _branch(visit, talk, node, text)

        with ui.row().classes("dl-buttons"):
            action(visit.say("cancel"), dialog.close)
            action(visit.say("chat.send"), talk.act(lambda *_: send()), main=True)
    dialog.on("hide", dialog.delete)


@told
async def _branch(visit: Visit, talk: Talk, node: Event, text: str) -> None:
    parent = str(getattr(node.body, "parent", ""))
    question = await visit.act("chat", _store_question, talk, parent, text)
    await talk.load(talk.conversation, question[1].id)
    await _answer(visit, talk, question[1])


def _asked_by(talk: Talk, node: Event) -> Event:
    """The question that a turn answers, with or without tools; itself, if it is one."""
    at = [each.id for each in talk.branch].index(node.id)
    return next(
        (each for each in reversed(talk.branch[: at + 1]) if _speaker(each) not in ("assistant", "tool")),
        talk.branch[0],
    )


def _is_step(node: Event) -> bool:
    """Whether a turn only leads to an answer: a call of tools, or a result."""
    return _speaker(node) == "tool" or (isinstance(node.body, Message) and "tool_calls" in node.body.more)


def _is_open(node: Event) -> bool:
    """Whether the model is to speak next."""
    return _speaker(node) in ("user", "tool")


def _speaker(node: Event) -> str:
    return node.body.role if isinstance(node.body, Message) else "assistant"


def _name(visit: Visit, node: Event) -> str:
    if isinstance(node.body, Demonstration):
        return visit.say("chat.written_by", person=node.person)
    if isinstance(node.body, Message) and node.body.role == "assistant":
        cut = f" · {visit.say('chat.unfinished')}" if node.body.origin.unfinished else ""
        return (node.body.origin.name or visit.say("chat.model")) + cut
    return visit.say("chat.you")
