"""Chat: one conversation with all its branches; every turn is stored before anything else happens."""

from __future__ import annotations

from nicegui import ui

from danlu.feedback.errors import FeedbackError
from danlu.serve.studio.controls import action, icon_button, text_field
from danlu.serve.studio.history import show_history
from danlu.serve.studio.personas import show_personas
from danlu.serve.studio.sampling_panel import SamplingPanel
from danlu.serve.studio.talk import Talk
from danlu.serve.studio.talk_actions import send
from danlu.serve.studio.turns import draw
from danlu.serve.studio.visit import Visit

# Enter sends, except with Shift, and while an input method composes a character.
SEND_KEYS = """(event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
    event.preventDefault(); emit(event.target.value); } }"""


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
            talk = Talk(visit, panel, area, turns, draw)
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
    await send(talk.visit, talk, text.strip())
    return bool(talk.branch) and talk.branch[-1].id != before
