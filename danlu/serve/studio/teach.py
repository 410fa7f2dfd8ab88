"""Teach: what has been collected, and lessons that make the next model of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from nicegui import ui

from danlu.feedback.summary import Status, status
from danlu.serve.studio.address import versioned
from danlu.serve.studio.controls import action
from danlu.serve.studio.lesson_view import LessonView
from danlu.serve.studio.visit import Visit, told
from danlu.serve.studio.workshop import Lesson, Stage, Workshop

ORDER: tuple[Stage, ...] = ("round", "sft", "reward", "ppo")
ICONS: Mapping[Stage, str] = {
    "round": "autorenew",
    "sft": "edit_note",
    "reward": "balance",
    "ppo": "trending_up",
}
LEAST_MINUTES, MOST_MINUTES = 0.1, 10_000.0


async def build(visit: Visit) -> None:
    """The page."""
    ui.add_head_html(f'<link rel="stylesheet" href="{versioned("training.css")}">')
    workshop = visit.studio.workshop
    if workshop is None:
        ui.label(visit.say("teach.off")).classes("dl-quiet")
        return
    found = await asyncio.to_thread(status, visit.studio.store)
    lessons = await asyncio.to_thread(workshop.lessons)
    with ui.element("div").classes("dl-desk"):
        with ui.element("div").classes("dl-work"):
            _collected(visit, found)
            await _lesson(visit, workshop, lessons)
        with ui.element("aside").classes("dl-side") as side:
            side.props["aria-label"] = visit.say("teach.begin")
            _begin(visit, workshop, found, lessons)
            _list(visit, lessons)


def _collected(visit: Visit, found: Status) -> None:
    counts = found.counts
    figures = {
        "rankings": f"{counts.get('ranking', 0) + counts.get('verdict', 0):,}",
        "demonstrations": f"{counts.get('demonstration', 0) + counts.get('edit', 0):,}",
        "ratings": f"{counts.get('rating', 0):,}",
        "open_tasks": f"{found.queue.n_missing:,}",
        "agreement": "–" if found.agreement is None else f"{found.agreement:.0%}",
        "alpha": "–" if found.ranking_alpha is None else f"{found.ranking_alpha:.2f}",
    }
    with ui.element("section").classes("dl-answer"):
        ui.label(visit.say("teach.collected")).classes("dl-heading").props('role="heading" aria-level="2"')
        with ui.element("div").classes("dl-figures"):
            for name, value in figures.items():
                with ui.element("div").classes("dl-figure"):
                    ui.label(value).classes("dl-big")
                    ui.label(visit.say(f"teach.{name}")).classes("dl-quiet dl-small")
        ui.label(visit.say("teach.missing")).classes("dl-heading").props('role="heading" aria-level="3"')
        with ui.element("ul").classes("dl-missing"):
            for line in missing(visit, found) or [visit.say("teach.missing_nothing")]:
                with ui.element("li"):
                    ui.label(line)


def missing(visit: Visit, found: Status) -> list[str]:
    """What would make the collection complete."""
    queue = found.queue
    lines: list[str] = []
    if queue.n_missing:
        lines.append(visit.say("teach.missing_tasks", n=f"{queue.n_missing:,}", tasks=f"{queue.n_open:,}"))
    if found.disputes:
        lines.append(visit.say("teach.missing_verdicts", n=f"{len(found.disputes):,}"))
    if not found.n_doubled:
        lines.append(visit.say("teach.missing_doubled"))
    return lines


def wanting(visit: Visit, stage: Stage, found: Status, workshop: Workshop) -> str:
    """What a stage lacks; empty if it can begin."""
    counts = found.counts
    if stage == "sft" and not counts.get("demonstration", 0) + counts.get("edit", 0):
        return visit.say("teach.needs_demonstrations")
    if stage in ("reward", "round") and not counts.get("ranking", 0) + counts.get("verdict", 0):
        return visit.say("teach.needs_rankings")
    if stage == "ppo" and workshop.latest_reward_model() is None:
        return visit.say("teach.needs_reward")
    return ""


def _begin(visit: Visit, workshop: Workshop, found: Status, lessons: list[Lesson]) -> None:
    running = next((each for each in lessons if each.state == "running"), None)
    ui.label(visit.say("teach.begin")).classes("dl-heading").props('role="heading" aria-level="2"')
    pupils = list(workshop.pupils())
    first = next((voice.name for voice in visit.studio.voices if voice.name in pupils), None)
    pupil = (
        ui.select(pupils, value=first, label=visit.say("teach.pupil"))
        .props("outlined dense")
        .classes("dl-field")
    )
    minutes = ui.number(visit.say("teach.minutes"), value=5, min=LEAST_MINUTES, max=MOST_MINUTES)
    minutes.props("outlined dense").classes("dl-field")
    if running is not None:
        ui.label(visit.say("teach.one_at_a_time", name=running.name)).classes("dl-quiet dl-small")
    for stage in ORDER:
        lacking = wanting(visit, stage, found, workshop)
        with ui.element("div").classes("dl-stage"):
            button = action(
                visit.say(f"teach.{stage}"),
                lambda stage=stage: begin(visit, stage, str(pupil.value or ""), minutes.value),
                icon=ICONS[stage],
                main=stage == "round",
            )
            button.set_enabled(not lacking and running is None and bool(pupils))
            ui.label(lacking or visit.say(f"teach.{stage}_about")).classes("dl-quiet dl-small")


@told
async def begin(visit: Visit, stage: Stage, pupil: str, minutes: float | None) -> None:
    """Begin a lesson, and go to it."""
    workshop = cast(Workshop, visit.studio.workshop)
    length = min(max(float(minutes or 5), LEAST_MINUTES), MOST_MINUTES)
    lesson = await visit.act("train", workshop.begin, stage, pupil, length, visit.person.name)
    ui.navigate.to(f"/teach?lesson={lesson.name}")


def _list(visit: Visit, lessons: list[Lesson]) -> None:
    ui.label(visit.say("teach.lessons")).classes("dl-heading").props('role="heading" aria-level="2"')
    if not lessons:
        ui.label(visit.say("teach.no_lessons")).classes("dl-quiet dl-small")
    with ui.element("ul").classes("dl-rows"):
        for lesson in lessons:
            with ui.element("li").classes("dl-row"):
                ui.link(lesson.name, f"/teach?lesson={lesson.name}").classes("dl-row-title")
                ui.label(visit.say(f"teach.{lesson.state}")).classes("dl-quiet dl-small")


async def _lesson(visit: Visit, workshop: Workshop, lessons: list[Lesson]) -> None:
    wanted = visit.query.get("lesson", "")
    lesson = workshop.lesson(wanted) if wanted else next(iter(lessons), None)
    if lesson is not None:
        await LessonView(visit, workshop, lesson).build()
