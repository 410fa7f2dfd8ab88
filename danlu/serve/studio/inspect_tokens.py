"""The tokens of a text, what else the model would have said, and how it would have gone on from there."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from nicegui import ui

from danlu.serve.studio import inspect_html
from danlu.serve.studio.controls import action
from danlu.serve.studio.inspect_table import Table, markup, named
from danlu.serve.studio.microscope import Branch, Guess, Reading, TokenSeen
from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.visit import Visit, told
from danlu.tools.visible import visible

N_BEST = 5  # alternatives of each token
N_LINES = 48  # tokens on a page of the table
N_NEW = 48  # tokens that a branch goes on for


async def look_at_tokens(table: Table) -> Callable[[], None]:
    ids, looking = await table.read(), table.visit.studio.looking
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
        markup(inspect_html.strip([each.label for each in whole], depths, titles))
        ui.label(visit.say("inspect.surprise")).classes("dl-quiet dl-small")
        with ui.element("div").classes("dl-wide-table") as wide:
            named(wide, visit.say("inspect.tokens"))
            with ui.element("table").classes("dl-table dl-numbers"):
                _head(visit, "at", "token", "id", "logprob", "rank", "entropy", "best")
                with ui.element("tbody"):
                    for each in here:
                        _token(table, each, branches)
        _pager(table, len(found.tokens))


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
        markup(f'<p class="dl-typed">{parts}{inspect_html.text(after)}</p>').classes("dl-text")
        if not found.ended:
            ui.label(visit.say("inspect.goes_on")).classes("dl-quiet dl-small")

        async def follow() -> None:
            table.ids, table.first = found.ids, 0
            await table.look()

        action(visit.say("inspect.follow"), follow, icon="subdirectory_arrow_right")


def _pager(table: Table, n: int) -> None:
    def to(first: int) -> Callable[[], Awaitable[None]]:
        async def go() -> None:
            table.first = first
            await table.look()

        return go

    with ui.element("div").classes("dl-pager"):
        if table.first:
            action(table.visit.say("inspect.earlier"), to(max(table.first - N_LINES, 0)))
        if table.first + N_LINES < n:
            action(table.visit.say("inspect.later"), to(table.first + N_LINES))
