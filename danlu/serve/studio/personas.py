"""Personas: system prompts that somebody has named, for themselves or for everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from nicegui import ui

from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event
from danlu.feedback.records import Persona
from danlu.feedback.store import Store
from danlu.serve.studio.controls import action, icon_button, text_field
from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.sampling_panel import SamplingPanel
from danlu.serve.studio.visit import Visit, told
from danlu.tools.visible import one_line

Show = Callable[[], Awaitable[None]]


def personas(store: Store, person: str) -> list[Event]:
    """What somebody can choose: their own, then what others share, each in the order of names."""
    last: dict[tuple[str, str], Event] = {}
    for event in store.events(Persona.kind):
        if isinstance(event.body, Persona):
            last[event.person, event.body.name] = event
    found = [each for each in last.values() if each.person == person or _body(each).shared]
    return sorted(found, key=lambda each: (each.person != person, _body(each).name, each.person))


async def show_personas(visit: Visit, panel: SamplingPanel) -> None:
    """The list to choose from, and buttons to keep what the panel says and to remove what was kept."""
    with panel.personas:
        listed = ui.element("div").classes("dl-line")

    async def show() -> None:
        found = await visit.act("chat", personas, visit.studio.store, visit.person.name)
        listed.clear()
        with listed:
            _list(visit, panel, found, show)

    await show()


def _list(visit: Visit, panel: SamplingPanel, found: Sequence[Event], show: Show) -> None:
    by_id = {each.id: each for each in found}
    options = {each.id: _label(visit, each) for each in found}
    chosen = ui.select(options, label=visit.say("persona.choose"), clearable=True)
    chosen.props("outlined dense options-dense").classes("dl-grow")

    def take() -> None:
        if chosen.value in by_id:
            panel.set_system(_body(by_id[chosen.value]).prompt)
            gone.set_enabled(by_id[chosen.value].person == visit.person.name)
        else:
            gone.set_enabled(False)

    icon_button(visit.say("persona.keep"), "bookmark_add", lambda: _ask(visit, panel, show))
    gone = icon_button(
        visit.say("persona.remove"), "bookmark_remove", lambda: remove(visit, by_id[chosen.value], show)
    )
    gone.set_enabled(False)
    chosen.on_value_change(take)


def _ask(visit: Visit, panel: SamplingPanel, show: Show) -> None:
    """Under which name to keep what the panel says."""
    with ui.context.client.layout, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog"):
        ui.label(visit.say("persona.keep")).classes("dl-heading")
        ui.label(visit.say("persona.keep_about")).classes("dl-quiet")
        name = text_field(visit.say("persona.name"), most=80)
        shared = ui.checkbox(visit.say("persona.shared")).props("dense")

        async def save() -> None:
            dialog.close()
            called = str(name.value or "").strip()
            await keep(visit, panel.system, called, show, shared=bool(shared.value))

        with ui.row().classes("dl-buttons"):
            action(visit.say("cancel"), dialog.close)
            action(visit.say("save"), save, main=True)
    dialog.on("hide", dialog.delete)


@told
async def keep(visit: Visit, prompt: str, name: str, show: Show, *, shared: bool) -> None:
    """Keep a system prompt; of the same person one of the same name gives way to it."""
    if not name or not prompt:
        raise FeedbackError(visit.say("persona.empty"))
    said = Persona(name=name, prompt=prompt, shared=shared)
    await visit.act("chat", visit.studio.store.add, visit.person.name, said)
    await show()


@told
async def remove(visit: Visit, chosen: Event, show: Show) -> None:
    """Take a persona of one's own back, with what it was under that name before."""
    await visit.act("chat", _undo_all, visit.studio.store, visit.person.name, _body(chosen).name)
    await show()


def _undo_all(store: Store, person: str, name: str) -> None:
    own = [each for each in store.events(Persona.kind, person=person) if _body(each).name == name]
    for each in own:
        store.undo(person, each.id)


def _label(visit: Visit, event: Event) -> str:
    name = shown(one_line(_body(event).name, 60))
    if event.person != visit.person.name:
        return visit.say("persona.of", name=name, person=shown(one_line(event.person, 40)))
    return name


def _body(event: Event) -> Persona:
    assert isinstance(event.body, Persona), "asked for by its kind"
    return event.body
