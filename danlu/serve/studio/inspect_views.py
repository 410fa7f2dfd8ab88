"""Attention, the logit lens, loss masks and rewards: the views of Inspect beside its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nicegui import ui

from danlu.serve.studio import inspect_html
from danlu.serve.studio.charts import chart
from danlu.serve.studio.inspect_table import Table, View, markup, named
from danlu.serve.studio.inspect_tokens import look_at_tokens
from danlu.serve.studio.microscope import STAGES, Example, HeadSeen, InspectError, Masks, Scores
from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.visit import reason


async def look_at_heads(table: Table) -> Callable[[], None]:
    ids, looking, visit = await table.read(), table.visit.studio.looking, table.visit
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
                await table.look()

            for each in (layer, head):
                each.props("outlined dense").classes("dl-quota")
                each.on_value_change(chosen)
        if len(table.ids) > found.n_tokens:
            ui.label(visit.say("inspect.drawn", n=found.n_tokens)).classes("dl-quiet dl-small")
        with ui.element("div").classes("dl-drawing") as drawing:
            named(drawing, visit.say("inspect.head_of", layer=pick[0], head=pick[1]))
            markup(found.drawing)
        ui.label(visit.say("inspect.strongest")).classes("dl-heading").props('role="heading" aria-level="3"')
        with ui.element("ul").classes("dl-repeats"):
            for source, target, weight in found.strongest:
                with ui.element("li"):
                    ui.label(f"{shown(source)} → {shown(target)}  {weight:.2f}").classes("dl-text")


async def look_at_lens(table: Table) -> Callable[[], None]:
    ids, visit = await table.read(), table.visit
    found = await visit.studio.looking.run(visit, table.microscope.lens, table.path(), ids)

    def show() -> None:
        with ui.element("section").classes("dl-answer"):
            ui.label(visit.say("inspect.lens")).classes("dl-heading").props('role="heading" aria-level="2"')
            ui.label(visit.say("inspect.lens_about")).classes("dl-quiet dl-small")
            if len(table.ids) > len(found.labels):
                ui.label(visit.say("inspect.drawn", n=len(found.labels))).classes("dl-quiet dl-small")
            with ui.element("div").classes("dl-wide-table") as wide:
                named(wide, visit.say("inspect.lens"))
                markup(inspect_html.lens_table(visit, found))

    return show


async def look_at_masks(table: Table) -> Callable[[], None]:
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
            await table.look()

        stage.on_value_change(chosen)
        if isinstance(found, InspectError):
            ui.label(reason(visit, found)).classes("dl-alert dl-text").props("role=alert")
            return
        n = len(found.lines) + found.n_left_out
        ui.label(visit.say("inspect.n_learnt", n=f"{n:,}", learnt=f"{found.n_learnt:,}")).classes("dl-quiet")
        markup(inspect_html.mask_strip(found))
        for mark, meaning in inspect_html.meanings(visit, found):
            ui.label(f"{mark}  {meaning}").classes("dl-quiet dl-small")
        if found.n_left_out:
            ui.label(visit.say("inspect.left_out", n=f"{found.n_left_out:,}")).classes("dl-quiet")
        with ui.element("div").classes("dl-wide-table") as wide:
            named(wide, visit.say("inspect.masks"))
            markup(inspect_html.mask_table(visit, found))


async def look_at_scores(table: Table) -> Callable[[], None]:
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
        markup(inspect_html.score_strip(found))


VIEWS: Mapping[str, View] = {
    "tokens": look_at_tokens,
    "heads": look_at_heads,
    "lens": look_at_lens,
    "masks": look_at_masks,
    "scores": look_at_scores,
}
