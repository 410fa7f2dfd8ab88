"""What the visitor talked about before: search, rename, delete, export, import."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from nicegui import ui

from danlu.feedback.records import Hide, Rename
from danlu.serve.studio.controls import action, file_field, icon_button, text_field
from danlu.serve.studio.conversation import Tree, export, read_file
from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.visit import Visit, told
from danlu.tools.visible import one_line

MOST = 200  # conversations in the list; older ones are found by searching


async def show_history(visit: Visit, here: Callable[[], str]) -> Callable[[], Awaitable[None]]:
    """The list; what is returned brings it up to date.

    Args:
        here: the conversation that is shown.
    """
    with ui.element("section").classes("dl-history") as area:
        with ui.element("div").classes("dl-history-head"):
            ui.label(visit.say("chat.history")).classes("dl-heading")
            ui.space()
            icon_button(visit.say("history.import"), "upload_file", lambda: _import(visit))
            new = ui.button(icon="add", color=None).props("flat dense round size=sm").classes("dl-icon")
            new.props["aria-label"] = new.props["title"] = visit.say("history.new")
            new.on_click(lambda: ui.navigate.to("/chat"))
        search = ui.input(placeholder=visit.say("history.search")).props(
            "outlined dense clearable debounce=250"
        )
        search.props["aria-label"] = visit.say("history.search")
        search.classes("dl-field")
        rows = ui.element("ul").classes("dl-rows")

    async def show() -> None:
        found = await visit.act(
            "chat", visit.studio.store.conversations, visit.person.name, str(search.value or "")
        )
        rows.clear()
        with rows:
            for conversation, title in found[:MOST]:
                _row(visit, conversation, title, here())
            if not found:
                ui.label(visit.say("history.none")).classes("dl-quiet")

    search.on_value_change(show)
    with area:
        await show()
    return show


def _row(visit: Visit, conversation: str, title: str, here: str) -> None:
    label = one_line(title, 80) or visit.say("history.untitled")
    with ui.element("li").classes("dl-row" + " dl-here" * (conversation == here)):
        link = ui.link(shown(label), f"/chat?c={conversation}").classes("dl-row-title").props('dir="auto"')
        if conversation == here:
            link.props('aria-current="true"')
        with icon_button(visit.say("history.more"), "more_vert", lambda: None), ui.menu():
            ui.menu_item(visit.say("history.rename"), lambda: _rename(visit, conversation, title))
            ui.menu_item(visit.say("history.export"), lambda: _export(visit, conversation))
            ui.menu_item(visit.say("history.delete"), lambda: _delete(visit, conversation))


def _rename(visit: Visit, conversation: str, title: str) -> None:
    with ui.context.client.layout, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog"):
        ui.label(visit.say("history.rename")).classes("dl-heading")
        box = text_field(visit.say("history.title"), title, most=200)
        with ui.row().classes("dl-buttons"):
            action(visit.say("cancel"), dialog.close)
            action(
                visit.say("save"),
                lambda: _store(visit, Rename(conversation=conversation, title=str(box.value or ""))),
                main=True,
            )


def _delete(visit: Visit, conversation: str) -> None:
    with ui.context.client.layout, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog"):
        ui.label(visit.say("history.delete")).classes("dl-heading")
        ui.label(visit.say("history.delete_about"))
        with ui.row().classes("dl-buttons"):
            action(visit.say("cancel"), dialog.close)
            action(
                visit.say("history.delete"), lambda: _store(visit, Hide(conversation=conversation)), main=True
            )


@told
async def _store(visit: Visit, body: Rename | Hide) -> None:
    store, name = visit.studio.store, visit.person.name
    await visit.act("chat", Tree.read, store, name, body.conversation)  # theirs, or refused
    await visit.act("chat", store.add, name, body)
    gone = isinstance(body, Hide) and body.conversation == visit.query.get("c")
    ui.navigate.to("/chat" if gone else f"/chat?c={visit.query.get('c', '')}")


@told
async def _export(visit: Visit, conversation: str) -> None:
    tree = await visit.act("chat", Tree.read, visit.studio.store, visit.person.name, conversation)
    name = f"danlu-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    ui.download.content(export(tree), name, "application/json")


def _import(visit: Visit) -> None:
    with ui.context.client.layout, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog"):
        ui.label(visit.say("history.import")).classes("dl-heading")
        ui.label(visit.say("history.import_about")).classes("dl-quiet")
        file_field(visit, visit.say("history.file"), lambda raw: _take_in(visit, raw), ends=".json")
        with ui.row().classes("dl-buttons"):
            action(visit.say("cancel"), dialog.close)


@told
async def _take_in(visit: Visit, raw: bytes) -> None:
    made = read_file(raw, visit.person.name)
    await visit.act("chat", visit.studio.store.take_in, made)
    ui.navigate.to(f"/chat?c={made[0].id}")
