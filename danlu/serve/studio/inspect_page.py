"""Inspect: what a model makes of a text, token by token, and what training reads of an example."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nicegui import ui

from danlu.feedback.errors import FeedbackError
from danlu.feedback.records import Message, content_of
from danlu.serve.studio import inspect_html
from danlu.serve.studio.address import versioned
from danlu.serve.studio.charts import chart
from danlu.serve.studio.controls import action, text_field
from danlu.serve.studio.conversation import Tree
from danlu.serve.studio.data_sets import open_shard, read
from danlu.serve.studio.microscope import (
    MOST_DRAWN,
    STAGES,
    Branch,
    Example,
    Guess,
    HeadSeen,
    InspectError,
    Masks,
    Microscope,
    Reading,
    Said,
    Scores,
    Stage,
    TokenSeen,
)
from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.run_records import find_runs
from danlu.serve.studio.visit import Visit, reason, told
from danlu.serve.studio.workshop import Workshop
from danlu.tokenizer import chat as chat_format
from danlu.tools.visible import one_line, visible

VIEWS = ("tokens", "heads", "lens", "masks", "scores")
N_BEST = 5  # alternatives of each token
N_LINES = 48  # tokens on a page of the table
N_NEW = 48  # tokens that a branch goes on for
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


@dataclass(slots=True)
class Table:
    """What lies under the microscope, and how it is looked at."""

    visit: Visit
    microscope: Microscope
    models: Mapping[str, Path]
    reward_models: Mapping[str, Path]
    view: str
    area: ui.element
    model: str = ""
    reward_model: str = ""
    text: str = ""
    conversation: str = ""  # of the history; empty: the text that was typed
    ids: Sequence[int] = ()  # what was read, or a branch of it
    first: int = 0  # token that the table begins with
    example: Example | None = None
    stage: Stage = "sft"
    pick: tuple[int, int] = (0, 0)  # layer and head
    form: Callable[[], tuple[str, str, str, str]] | None = None  # model, reward model, chat, text

    def take_form(self) -> None:
        """Take what stands in the form, where that has changed; a branch is left then."""
        now = (self.model, self.reward_model, self.conversation, self.text)
        wanted = now if self.form is None else self.form()
        if wanted != now:
            self.model, self.reward_model, self.conversation, self.text = wanted
            self.begin_anew()

    def begin_anew(self) -> None:
        """Leave whatever branch was looked at."""
        self.ids, self.first, self.pick = (), 0, (0, 0)

    def path(self) -> Path:
        """Of the chosen model."""
        if self.model not in self.models:
            raise InspectError(self.visit.say("inspect.no_model"))
        return self.models[self.model]

    async def said(self) -> Said:
        """The text, or the chat, that is to be read."""
        if not self.conversation:
            if not self.text:
                raise InspectError(self.visit.say("inspect.nothing"))
            return self.text
        store, name = self.visit.studio.store, self.visit.person.name
        tree = await self.visit.act("chat", Tree.read, store, name, self.conversation)
        said: list[chat_format.Message] = []
        for node in tree.branch():
            role = node.body.role if isinstance(node.body, Message) else "assistant"
            said.append({"role": role, "content": content_of(node)})
        return said


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
        table = Table(visit, microscope, models, rewards, wanted if wanted in VIEWS else "tokens", area)
        table.model = _first(visit, models)
        table.reward_model = next(iter(rewards), "")
        with ui.element("aside").classes("dl-side") as side:
            side.props["aria-label"] = visit.say("inspect.what")
            await _what(table)
    with tabs:
        _tabs(table, tabs)
    await _example(visit, table)
    if table.example is not None:
        await look(visit, table)
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
            await look(table.visit, table)

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
        await look(visit, table)

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


async def look(visit: Visit, table: Table) -> None:
    """Show the chosen view of what is under the microscope."""
    table.area.clear()
    with table.area:
        ui.label(visit.say("inspect.looking")).classes("dl-quiet").props("role=status")
    try:
        show = await SHOWN[table.view](table)
    except (FeedbackError, PermissionError, chat_format.ChatError) as error:
        table.area.clear()
        with table.area:
            ui.label(reason(visit, error)).classes("dl-alert dl-text").props("role=alert")
        return
    table.area.clear()
    with table.area:
        show()


async def _ids(table: Table) -> Sequence[int]:
    """What is read; of a branch it is known already."""
    if not table.ids:
        said = await table.said()
        looking = table.visit.studio.looking
        table.ids = await looking.run(table.visit, table.microscope.read, table.path(), said)
    return table.ids


async def _look_at_tokens(table: Table) -> Callable[[], None]:
    ids, looking = await _ids(table), table.visit.studio.looking
    found = await looking.run(table.visit, table.microscope.tokens, table.path(), ids, N_BEST)
    return lambda: _tokens(table, found)


def _tokens(table: Table, found: Reading) -> None:
    visit = table.visit
    here = found.tokens[table.first : table.first + N_LINES]
    branches = ui.element("div").classes("dl-columns")
    with ui.element("section").classes("dl-answer"):
        ui.label(visit.say("inspect.tokens")).classes("dl-heading").props('role="heading" aria-level="2"')
        known = [each for each in found.tokens if each.logprob is not None]
        total = -sum(each.logprob or 0.0 for each in known) / max(len(known), 1)
        n = len(found.tokens) - 1
        ui.label(visit.say("inspect.n_tokens", n=f"{n:,}", loss=f"{total:.3f}")).classes("dl-quiet")
        if found.n_left_out:
            ui.label(visit.say("inspect.left_out", n=f"{found.n_left_out:,}")).classes("dl-quiet")
        whole = found.tokens[:-1]
        depths = [0.0 if each.logprob is None else 1 - math.exp(each.logprob) for each in whole]
        titles = ["" if each.logprob is None else f"{each.logprob:.3f}" for each in whole]
        _markup(inspect_html.strip([each.label for each in whole], depths, titles))
        ui.label(visit.say("inspect.surprise")).classes("dl-quiet dl-small")
        with ui.element("div").classes("dl-wide-table") as wide:
            _named(wide, visit.say("inspect.tokens"))
            with ui.element("table").classes("dl-table dl-numbers"):
                _head(visit, "at", "token", "id", "logprob", "rank", "entropy", "best")
                with ui.element("tbody"):
                    for each in here:
                        _token(table, each, branches)
        _pager(table, len(found.tokens))


def _named(element: ui.element, label: str) -> None:
    """What scrolls must be in reach of the keyboard, and say what it is."""
    element.props('tabindex="0" role="region"')
    element.props["aria-label"] = label


def _head(visit: Visit, *names: str) -> None:
    with ui.element("thead"), ui.element("tr"):
        for name in names:
            with ui.element("th").props("scope=col"):
                ui.label(visit.say(f"inspect.col_{name}"))


def _token(table: Table, each: TokenSeen, branches: ui.element) -> None:
    visit = table.visit
    numbers = [
        "–" if each.logprob is None else f"{each.logprob:.3f}",
        "–" if each.rank is None else f"{each.rank:,}",
        "–" if each.entropy is None else f"{each.entropy:.3f}",
    ]
    is_next = each.id < 0
    label = visit.say("inspect.next") if is_next else shown(each.label)
    with ui.element("tr"):
        for cell in (str(each.at), label, "–" if is_next else str(each.id), *numbers):
            with ui.element("td"):
                ui.label(cell).classes("dl-text")
        with ui.element("td"), ui.element("div").classes("dl-guesses"):
            for guess in each.best:
                _alternative(table, each, guess, branches)


def _alternative(table: Table, each: TokenSeen, guess: Guess, branches: ui.element) -> None:
    visit = table.visit

    async def branch() -> None:
        await _branch(visit, table, each.at, guess.id, branches)

    button = ui.button(f"{shown(guess.label)} {guess.probability:.2f}", on_click=branch, color=None)
    button.props("no-caps flat dense").classes("dl-guess" + " dl-pressed" * (guess.id == each.id))
    button.style(inspect_html.ground(guess.probability))
    button.props["aria-label"] = visit.say(
        "inspect.branch", token=shown(guess.label), at=each.at, p=f"{guess.probability:.2f}"
    )


@told
async def _branch(visit: Visit, table: Table, at: int, token: int, branches: ui.element) -> None:
    """How the text goes on from here with this token."""
    with branches:
        waiting = ui.label(visit.say("inspect.looking")).classes("dl-quiet").props("role=status")
    ids = [*table.ids[:at], token]
    try:
        found = await visit.studio.looking.run(visit, table.microscope.branch, table.path(), ids, N_NEW)
    finally:
        waiting.delete()
    with branches:
        if not branches.default_slot.children:
            heading = ui.label(visit.say("inspect.branches")).classes("dl-heading dl-across")
            heading.props('role="heading" aria-level="2"')
        _branched(table, at, found)
    ui.run_javascript("document.querySelector('.dl-branch:last-child')?.scrollIntoView({block: 'nearest'})")


def _branched(table: Table, at: int, found: Branch) -> None:
    visit = table.visit
    with ui.element("article").classes("dl-answer dl-branch"):
        ui.label(visit.say("inspect.from", at=at)).classes("dl-who")
        before, token, after = map(visible, (found.before[-300:], found.token, found.after))
        parts = f'<span class="dl-quiet">{inspect_html.text(before)}</span><b>{inspect_html.text(token)}</b>'
        _markup(f'<p class="dl-typed">{parts}{inspect_html.text(after)}</p>').classes("dl-text")
        if not found.ended:
            ui.label(visit.say("inspect.goes_on")).classes("dl-quiet dl-small")

        async def follow() -> None:
            table.ids, table.first = found.ids, 0
            await look(visit, table)

        action(visit.say("inspect.follow"), follow, icon="subdirectory_arrow_right")


def _pager(table: Table, n: int) -> None:
    def to(first: int) -> Callable[[], Awaitable[None]]:
        async def go() -> None:
            table.first = first
            await look(table.visit, table)

        return go

    with ui.element("div").classes("dl-pager"):
        if table.first:
            action(table.visit.say("inspect.earlier"), to(max(table.first - N_LINES, 0)))
        if table.first + N_LINES < n:
            action(table.visit.say("inspect.later"), to(table.first + N_LINES))


async def _look_at_heads(table: Table) -> Callable[[], None]:
    ids, looking, visit = await _ids(table), table.visit.studio.looking, table.visit
    n_heads = await looking.run(visit, table.microscope.heads, table.path(), ids)
    layer = min(table.pick[0], len(n_heads) - 1)
    head = min(table.pick[1], n_heads[layer] - 1)
    found = await looking.run(visit, table.microscope.head, table.path(), ids, layer, head)
    return lambda: _heads(table, n_heads, (layer, head), found)


def _heads(table: Table, n_heads: Sequence[int], pick: tuple[int, int], found: HeadSeen) -> None:
    visit = table.visit
    with ui.element("section").classes("dl-answer"):
        ui.label(visit.say("inspect.heads")).classes("dl-heading").props('role="heading" aria-level="2"')
        ui.label(visit.say("inspect.heads_about")).classes("dl-quiet dl-small")
        with ui.element("div").classes("dl-controls"):
            layer = ui.select(list(range(len(n_heads))), value=pick[0], label=visit.say("inspect.layer"))
            head = ui.select(list(range(n_heads[pick[0]])), value=pick[1], label=visit.say("inspect.head"))

            async def chosen() -> None:
                table.pick = (int(layer.value or 0), int(head.value or 0))
                await look(visit, table)

            for each in (layer, head):
                each.props("outlined dense").classes("dl-quota")
                each.on_value_change(chosen)
        if len(table.ids) > found.n_tokens:
            ui.label(visit.say("inspect.drawn", n=found.n_tokens)).classes("dl-quiet dl-small")
        with ui.element("div").classes("dl-drawing") as drawing:
            _named(drawing, visit.say("inspect.head_of", layer=pick[0], head=pick[1]))
            _markup(found.drawing)
        ui.label(visit.say("inspect.strongest")).classes("dl-heading").props('role="heading" aria-level="3"')
        with ui.element("ul").classes("dl-repeats"):
            for source, target, weight in found.strongest:
                with ui.element("li"):
                    ui.label(f"{shown(source)} → {shown(target)}  {weight:.2f}").classes("dl-text")


async def _look_at_lens(table: Table) -> Callable[[], None]:
    ids, visit = await _ids(table), table.visit
    found = await visit.studio.looking.run(visit, table.microscope.lens, table.path(), ids)

    def show() -> None:
        with ui.element("section").classes("dl-answer"):
            ui.label(visit.say("inspect.lens")).classes("dl-heading").props('role="heading" aria-level="2"')
            ui.label(visit.say("inspect.lens_about")).classes("dl-quiet dl-small")
            if len(table.ids) > len(found.labels):
                ui.label(visit.say("inspect.drawn", n=len(found.labels))).classes("dl-quiet dl-small")
            with ui.element("div").classes("dl-wide-table") as wide:
                _named(wide, visit.say("inspect.lens"))
                _markup(inspect_html.lens_table(visit, found))

    return show


async def _look_at_masks(table: Table) -> Callable[[], None]:
    visit, example = table.visit, table.example
    if example is None:
        raise InspectError(visit.say("inspect.no_example"))
    looking = visit.studio.looking
    try:
        found: Masks | InspectError = await looking.run(
            visit, table.microscope.masks, table.path(), table.stage, example
        )
    except InspectError as error:  # another stage may read what this one cannot
        found = error
    return lambda: _masks(table, example, found)


def _masks(table: Table, example: Example, found: Masks | InspectError) -> None:
    visit = table.visit
    with ui.element("section").classes("dl-answer"):
        ui.label(visit.say("inspect.masks")).classes("dl-heading").props('role="heading" aria-level="2"')
        ui.label(shown(f"{example.source} · {example.line:,}")).classes("dl-quiet dl-text")
        names = {each: visit.say(f"inspect.stage_{each}") for each in STAGES}
        stage = ui.select(names, value=table.stage, label=visit.say("inspect.stage"))
        stage.props("outlined dense").classes("dl-metric")

        async def chosen() -> None:
            table.stage = next(each for each in STAGES if each == stage.value)
            await look(visit, table)

        stage.on_value_change(chosen)
        if isinstance(found, InspectError):
            ui.label(str(found)).classes("dl-alert dl-text").props("role=alert")
            return
        n = len(found.lines) + found.n_left_out
        ui.label(visit.say("inspect.n_learnt", n=f"{n:,}", learnt=f"{found.n_learnt:,}")).classes("dl-quiet")
        _markup(inspect_html.mask_strip(found))
        for mark, meaning in inspect_html.meanings(visit, found):
            ui.label(f"{mark}  {meaning}").classes("dl-quiet dl-small")
        if found.n_left_out:
            ui.label(visit.say("inspect.left_out", n=f"{found.n_left_out:,}")).classes("dl-quiet")
        with ui.element("div").classes("dl-wide-table") as wide:
            _named(wide, visit.say("inspect.masks"))
            _markup(inspect_html.mask_table(visit, found))


async def _look_at_scores(table: Table) -> Callable[[], None]:
    visit = table.visit
    if table.reward_model not in table.reward_models:
        raise InspectError(visit.say("inspect.no_reward_model"))
    path, said = table.reward_models[table.reward_model], await table.said()
    found = await visit.studio.looking.run(visit, table.microscope.scores, path, said)
    return lambda: _scores(table, found)


def _scores(table: Table, found: Scores) -> None:
    visit = table.visit
    with ui.element("section").classes("dl-answer"):
        ui.label(visit.say("inspect.scores")).classes("dl-heading").props('role="heading" aria-level="2"')
        ui.label(visit.say("inspect.scores_about")).classes("dl-quiet dl-small")
        last = f"{found.scores[-1]:.3f}"
        ui.label(visit.say("inspect.last_score", score=last)).classes("dl-big")
        if found.n_left_out:
            ui.label(visit.say("inspect.left_out", n=f"{found.n_left_out:,}")).classes("dl-quiet")
        points = [(float(at), score) for at, score in enumerate(found.scores)]
        chart(visit, visit.say("inspect.score_curve"), {table.reward_model: points})
        _markup(inspect_html.score_strip(found))


def _markup(html: str) -> ui.html:
    """HTML in which every text is escaped already; DOMPurify would take the drawings apart."""
    return ui.html(html, sanitize=False)


SHOWN: Mapping[str, Callable[[Table], Awaitable[Callable[[], None]]]] = {
    "tokens": _look_at_tokens,
    "heads": _look_at_heads,
    "lens": _look_at_lens,
    "masks": _look_at_masks,
    "scores": _look_at_scores,
}
