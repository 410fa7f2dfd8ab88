"""One lesson on the page: how far it is, its curves and log, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from nicegui import ui

from danlu.serve.studio.charts import chart, redraw
from danlu.serve.studio.controls import action, words
from danlu.serve.studio.run_records import Curves, is_number, read_curves
from danlu.serve.studio.visit import Visit, told
from danlu.serve.studio.workshop import Lesson, Workshop

LOOK_S = 1.5  # how often a lesson that runs is looked at
# The curves that tell most of a stage, as far as it writes them.
TELLING: Mapping[str, Sequence[str]] = {
    "sft": ("loss", "held_out_loss"),
    "reward": ("loss", "held_out_accuracy"),
    "ppo": ("rollout.score", "rollout.kl"),
}
MOST_SAMPLES = 8
STATE_ICONS = {"running": "play_arrow", "done": "check", "stopped": "pause", "died": "error_outline"}


class LessonView:
    """A lesson, shown as it is and followed for as long as it runs."""

    def __init__(self, visit: Visit, workshop: Workshop, lesson: Lesson) -> None:
        self.visit, self.workshop, self.lesson = visit, workshop, lesson
        self._charts: dict[tuple[str, str], ui.echart] = {}
        self._looking = False

    async def build(self) -> None:
        """Show it."""
        with ui.element("section").classes("dl-answer") as self._area:
            pass
        await self._show()
        ui.timer(LOOK_S, self._look)

    async def _show(self) -> None:
        curves = await asyncio.to_thread(self._curves)
        log = await asyncio.to_thread(self.workshop.log, self.lesson.name)
        self._charts = {}
        self._area.clear()
        with self._area:
            self._head()
            self._steps = (
                ui.element("ol").classes("dl-steps").props(f'aria-label="{self.visit.say("teach.steps")}"')
            )
            self._show_steps()
            self._result()
            self._grid = ui.element("div").classes("dl-charts")
            self._draw(curves)
            with ui.expansion(self.visit.say("teach.log"), value=self.lesson.state != "done").classes(
                "dl-panel"
            ):
                self._log = (
                    ui.label(log).classes("dl-log dl-text").props('tabindex="0" role="log" aria-live="off"')
                )

    async def _look(self) -> None:
        """Follow a lesson that runs; at its end open the page anew, for what can be begun has changed."""
        if self.lesson.state != "running" or self._looking:
            return
        self._looking = True
        try:
            lesson = await asyncio.to_thread(self.workshop.lesson, self.lesson.name)
            if lesson is None:
                return
            self.lesson = lesson
            if lesson.state != "running":
                ui.navigate.to(f"/teach?lesson={lesson.name}")
                return
            curves = await asyncio.to_thread(self._curves)
            self._log.set_text(await asyncio.to_thread(self.workshop.log, lesson.name))
            self._show_steps()
            self._draw(curves)
        finally:
            self._looking = False

    def _curves(self) -> dict[str, Curves]:
        return {stage: read_curves(self.lesson.out / stage / "metrics.jsonl") for stage in TELLING}

    def _head(self) -> None:
        visit, lesson = self.visit, self.lesson
        with ui.element("div").classes("dl-lesson-head"):
            ui.label(lesson.name).classes("dl-heading").props('role="heading" aria-level="2"')
            with ui.element("span").classes(f"dl-state dl-state-{lesson.state}"):
                ui.icon(STATE_ICONS[lesson.state]).props('aria-hidden="true"')
                ui.label(visit.say(f"teach.{lesson.state}"))
            ui.space()
            if lesson.state == "running":
                action(visit.say("teach.stop"), lambda: stop(visit, self), icon="stop")
            elif lesson.state != "done":
                action(visit.say("teach.resume"), lambda: resume(visit, self), icon="play_arrow", main=True)
            elif lesson.made is not None:
                action(visit.say("teach.use"), lambda: use(visit, self), icon="forum", main=True)
        at = lesson.at[:16].replace("T", " ") + " UTC"
        about = visit.say("teach.about", model=lesson.model, by=lesson.by, at=at)
        ui.label(about).classes("dl-quiet dl-small dl-text")
        if lesson.reward_model is not None and lesson.reward_model == self.workshop.latest_reward_model():
            ui.label(visit.say("teach.judges")).classes("dl-quiet dl-small")
        if lesson.state == "died":
            ui.label(visit.say("teach.died_more")).classes("dl-alert").props('role="alert"')

    def _show_steps(self) -> None:
        lesson, now = self.lesson, self.lesson.step or ("" if self.lesson.done else "collect")
        self._steps.clear()
        with self._steps:
            for step in lesson.steps or ["collect"]:
                here = step == now and lesson.state != "done"
                item = ui.element("li").classes("dl-step" + " dl-here" * here)
                if here:
                    item.props('aria-current="step"')
                with item:
                    icon = (
                        "check" if step in lesson.done else "more_horiz" if here else "radio_button_unchecked"
                    )
                    ui.icon(icon).props('aria-hidden="true"')
                    ui.label(self.visit.say(f"teach.step_{step}") if step in STEPS else step)

    def _draw(self, curves: Mapping[str, Curves]) -> None:
        for stage, names in TELLING.items():
            for name in [each for each in names if each in curves[stage]][:2]:
                title = f"{self.visit.say(f'teach.step_{stage}')}: {name}"
                points = {name: curves[stage][name]}
                known = self._charts.get((stage, name))
                if known is not None:
                    redraw(self.visit, known, title, points)
                    continue
                with self._grid:
                    self._charts[stage, name] = chart(self.visit, title, points)

    def _result(self) -> None:
        visit, result = self.visit, self.lesson.result
        rows = rows_of(result)
        if rows:
            ui.label(visit.say("teach.table")).classes("dl-heading").props('role="heading" aria-level="3"')
            _table(visit, rows)
            if any(row["what"] == "score" for row in rows):
                ui.label(visit.say("teach.judge_note")).classes("dl-quiet dl-small")
        samples = samples_of(result)
        if samples:
            with (
                ui.expansion(visit.say("teach.samples")).classes("dl-panel"),
                ui.element("div").classes("dl-samples"),
            ):
                for question, before, after in samples:
                    words(visit, question).classes("dl-asked")
                    for name, text in (("before", before), ("after", after)):
                        with ui.element("div").classes("dl-sample"):
                            ui.label(visit.say(f"teach.{name}")).classes("dl-who")
                            words(visit, text)


STEPS = ("collect", "sft", "reward", "ppo", "compare")
MEASURES = ("loss", "accuracy", "score")


def rows_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of the table, as far as they are lines of it."""
    table = result.get("table")
    rows = cast(list[Any], table) if isinstance(table, list) else []
    return [
        row
        for row in rows
        if isinstance(row, dict) and row.get("what") in MEASURES and is_number(row.get("after"))
    ]


def samples_of(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Questions with both answers."""
    samples = result.get("samples")
    found: list[tuple[str, str, str]] = []
    for each in (cast(list[Any], samples) if isinstance(samples, list) else [])[:MOST_SAMPLES]:
        try:
            texts = [str(each["answers"][name]["text"]) for name in ("before", "after")]
            found.append((str(each["messages"][-1]["content"]), texts[0], texts[1]))
        except (KeyError, TypeError, IndexError):
            continue
    return found


def _table(visit: Visit, rows: Sequence[Mapping[str, Any]]) -> None:
    with ui.element("div").classes("dl-table dl-text").props('tabindex="0"'), ui.element("table"):
        with ui.element("thead"), ui.element("tr"):
            for name in ("what", "n", "before", "after"):
                with ui.element("th").props('scope="col"'):
                    ui.label(visit.say(f"teach.{name}"))
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    values = [_shown(row.get(name)) for name in ("before", "after")]
                    for text in (visit.say(f"teach.what_{row['what']}"), f"{row.get('n', '–')}", *values):
                        with ui.element("td"):
                            ui.label(text)


def _shown(value: Any) -> str:
    return f"{value:.3f}" if is_number(value) else "–"


@told
async def stop(visit: Visit, view: LessonView) -> None:
    """Have it write a checkpoint and end."""
    await visit.act("train", view.workshop.stop, view.lesson.name)
    ui.notify(visit.say("teach.stopping"), multi_line=True)


@told
async def resume(visit: Visit, view: LessonView) -> None:
    """Go on from the last checkpoint."""
    await visit.act("train", view.workshop.resume, view.lesson.name)
    ui.navigate.to(f"/teach?lesson={view.lesson.name}")


@told
async def use(visit: Visit, view: LessonView) -> None:
    """Load what the lesson has made; the pages talk with it from now on."""
    name = view.lesson.name
    ui.notify(visit.say("teach.loading", name=name))
    voice = await visit.act("train", view.workshop.use, name)
    await visit.studio.adopt(voice)
    ui.notify(visit.say("teach.used", name=name), type="positive", timeout=10_000)
