"""Inspect: what a model makes of a text, token by token, and what training reads of an example."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from nicegui import ui

from danlu.serve.studio.address import versioned
from danlu.serve.studio.controls import action, text_field
from danlu.serve.studio.data_sets import open_shard, read
from danlu.serve.studio.inspect_table import Table
from danlu.serve.studio.inspect_views import VIEWS
from danlu.serve.studio.microscope import MOST_DRAWN, Example, InspectError, Stage
from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.run_records import find_runs
from danlu.serve.studio.visit import Visit, told
from danlu.serve.studio.workshop import Workshop
from danlu.tools.visible import one_line

MOST_TYPED = 20_000  # characters
MOST_CHATS = 100  # of the history that can be chosen
STAGE_OF: Mapping[str, Stage] = {
    "documents": "pretrain",
    "shards": "pretrain",
    "chats": "sft",
    "comparisons": "reward",
    "ratings": "kto",
    "prompts": "ppo",
}


def models_of(workshop: Workshop) -> tuple[dict[str, Path], dict[str, Path]]:
    """Models that write, and reward models, by name: those of the studio, of lessons and of runs."""
    models, rewards = dict(workshop.pupils()), dict[str, Path]()
    for lesson in workshop.lessons():
        if lesson.reward_model is not None:
            rewards[lesson.name] = lesson.reward_model
    for run in find_runs(workshop.runs):
        if any((run.path / each).is_dir() for each in ("model", "adapter")):
            (rewards if run.kind == "reward" else models).setdefault(run.name, run.path)
    return models, rewards


async def build(visit: Visit) -> None:
    """The page."""
    for name in ("training.css", "inspect.css"):
        ui.add_head_html(f'<link rel="stylesheet" href="{versioned(name)}">')
    microscope, workshop = visit.studio.microscope, visit.studio.workshop
    if microscope is None or workshop is None:
        ui.label(visit.say("inspect.off")).classes("dl-quiet")
        return
    models, rewards = await asyncio.to_thread(models_of, workshop)
    wanted = visit.query.get("view", "")
    with ui.element("div").classes("dl-desk"):
        with ui.element("div").classes("dl-work"):
            tabs = ui.element("nav").classes("dl-tabs")
            area = ui.element("div").classes("dl-work")
        table = Table(
            visit, microscope, models, rewards, wanted if wanted in VIEWS else "tokens", area, VIEWS
        )
        table.model = _first(visit, models)
        table.reward_model = next(iter(rewards), "")
        with ui.element("aside").classes("dl-side") as side:
            side.props["aria-label"] = visit.say("inspect.what")
            await _what(table)
    with tabs:
        _tabs(table, tabs)
    await _example(visit, table)
    if table.example is not None:
        await table.look()
    else:
        with area:
            ui.label(visit.say("inspect.about")).classes("dl-quiet")


def _first(visit: Visit, models: Mapping[str, Path]) -> str:
    """The model that the page begins with."""
    names = [visit.query.get("model", ""), *(voice.name for voice in visit.studio.voices), *models]
    return next((name for name in names if name in models), "")


def _tabs(table: Table, tabs: ui.element) -> None:
    tabs.props["aria-label"] = table.visit.say("inspect.views")
    for name in VIEWS:

        async def choose(name: str = name) -> None:
            table.view = name
            table.take_form()
            tabs.clear()
            with tabs:
                _tabs(table, tabs)
            await table.look()

        button = action(table.visit.say(f"inspect.{name}"), choose, main=name == table.view)
        button.props["aria-pressed"] = "true" if name == table.view else "false"


async def _what(table: Table) -> None:
    visit = table.visit
    model = _choice(visit, "inspect.model", table.models, table.model)
    reward = _choice(visit, "inspect.reward_model", table.reward_models, table.reward_model)
    store, name = visit.studio.store, visit.person.name
    chats = (await visit.act("chat", store.conversations, name))[:MOST_CHATS]
    titles = {"": visit.say("inspect.typed")}
    titles |= {each: shown(one_line(title, 60)) or visit.say("history.untitled") for each, title in chats}
    asked = visit.query.get("c", "")
    chat = ui.select(titles, value=asked if asked in titles else "", label=visit.say("inspect.source"))
    chat.props("outlined dense").classes("dl-field")
    box = text_field(visit.say("inspect.text"), lines=6, most=MOST_TYPED).classes("dl-inspected")
    box.bind_visibility_from(chat, "value", value="")

    table.form = lambda: (
        str(model.value or ""),
        str(reward.value or ""),
        str(chat.value or ""),
        str(box.value or ""),
    )

    async def begin() -> None:
        table.take_form()
        table.begin_anew()
        await table.look()

    action(visit.say("inspect.look"), begin, icon="search", main=True)
    ui.label(visit.say("inspect.bounds", n=MOST_DRAWN)).classes("dl-quiet dl-small")


def _choice(visit: Visit, key: str, names: Mapping[str, Path], value: str) -> ui.select:
    made = ui.select(list(names), value=value or None, label=visit.say(key))
    return made.props("outlined dense").classes("dl-field")


@told
async def _example(visit: Visit, table: Table) -> None:
    """Take the record that the address names."""
    catalogue = visit.studio.catalogue
    name, number = visit.query.get("set", "")[:2000], visit.query.get("n", "")
    if catalogue is None or not name or not (number.isascii() and number.isdecimal() and len(number) < 16):
        return

    def found() -> tuple[str, Example]:
        data_set = catalogue.find(name)
        records = read(data_set, int(number) - 1, 1)
        if not records:
            raise InspectError(visit.say("inspect.no_record", n=number, name=data_set.name))
        (record,) = records
        fingerprint = open_shard(data_set).fingerprint if data_set.kind == "shards" else ""
        example = Example(
            fields=record.tree,
            source=data_set.name,
            line=record.number,
            ids=record.ids,
            fingerprint=fingerprint,
        )
        return data_set.kind, example

    kind, table.example = await visit.studio.reading.run(visit, found)
    table.stage = STAGE_OF.get(kind, "sft")
