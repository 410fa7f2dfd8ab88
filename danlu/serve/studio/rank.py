"""Rank: two to sixteen answers to one prompt are put in order, by keys alone or by dragging."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import cast
from uuid import uuid4

from nicegui import events, ui

from danlu.feedback.errors import WithdrawnTaskError
from danlu.feedback.event import Event
from danlu.feedback.queue import Assignment
from danlu.feedback.records import FLAGS, Ranking, Skip
from danlu.serve.studio.controls import action, keys, prompt_turns, text_field, words
from danlu.serve.studio.ordering import Ordering
from danlu.serve.studio.visit import Visit, told

KEYS = "123456789=us"
STRENGTHS = (1.0, 2.0, 3.0)
FULL_HANDS = 2  # the task to do, and the next to load meanwhile


@dataclass(slots=True)
class Desk:
    """The task in hand, and what has been said of it so far."""

    visit: Visit
    area: ui.element
    given: list[Assignment] = field(default_factory=list[Assignment])
    ordering: Ordering = field(default_factory=lambda: Ordering(0))
    flags: list[set[str]] = field(default_factory=list[set[str]])
    strengths: dict[int, float] = field(default_factory=dict[int, float])  # by the tier above
    comment: str = ""
    began: float = field(default_factory=monotonic)
    event_id: str = ""  # of what will be handed in: sent twice, it is one judgement
    n_done: int = 0
    board: ui.element | None = None
    badges: list[ui.label] = field(default_factory=list[ui.label])
    # Keys come faster than the store answers: each waits for the one before it.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def task(self) -> Assignment | None:
        return self.given[0] if self.given else None

    def begin(self) -> None:
        """Show the task that is first in hand."""
        task = self.task
        n = len(task.completions) if task else 0
        self.ordering, self.flags = Ordering(n), [set[str]() for _ in range(n)]
        self.strengths, self.comment, self.began, self.event_id = {}, "", monotonic(), uuid4().hex
        self.show()

    def show(self) -> None:
        """Show everything."""
        self.area.clear()
        with self.area:
            if self.task is None:
                _nothing(self.visit)
            else:
                _show_task(self, self.task)
        if self.task is not None:
            self.show_board()

    def show_board(self) -> None:
        """Show who stands where."""
        places = {each: number for number, tier in enumerate(self.ordering.tiers, 1) for each in tier}
        for number, badge in enumerate(self.badges):
            badge.set_text(str(places.get(number, "–")))
            badge.classes(**({"add": "dl-placed"} if number in places else {"remove": "dl-placed"}))
        if self.board is not None:
            self.board.clear()
            with self.board:
                _show_board(self)


async def build(visit: Visit) -> None:
    """The page."""
    with ui.element("div").classes("dl-desk dl-keys") as area:
        pass
    desk = Desk(visit, area)
    keys(KEYS, lambda key: _key(desk, key))
    await _fill(visit, desk)
    desk.begin()
    ui.timer(visit.studio.store.config.lease_s / 3, lambda: _renew(visit, desk), immediate=False)


async def _fill(visit: Visit, desk: Desk) -> None:
    desk.given = await visit.act(
        "annotate", visit.studio.store.next_tasks, visit.person.name, FULL_HANDS, "rank"
    )


@told
async def _renew(visit: Visit, desk: Desk) -> None:
    """Keep the task for as long as the page is open."""
    if desk.task is not None:
        store = visit.studio.store
        if not await visit.act("annotate", store.renew, visit.person.name, desk.task.task):
            ui.notify(visit.say("rank.lost"), type="warning", timeout=10_000)


async def _key(desk: Desk, key: str) -> None:
    async with desk.turn:
        await _obey(desk, key)


async def _obey(desk: Desk, key: str) -> None:
    with desk.area:
        if key == "Enter":
            await submit(desk.visit, desk)
        elif key == "u":
            await undo(desk.visit, desk)
        elif key == "s":
            await skip(desk.visit, desk)
        elif key == "=":
            desk.ordering.tie()
            desk.show_board()
        else:
            desk.ordering.place(int(key) - 1)
            desk.show_board()


@told
async def submit(visit: Visit, desk: Desk) -> None:
    """Hand the ranking in, and go on with the task that is loaded already."""
    task, ranks = desk.task, desk.ordering.ranks()
    if task is None:
        return
    if ranks is None:
        ui.notify(visit.say("rank.left", n=len(desk.ordering.unplaced)), type="warning")
        return
    n_steps = len(set(ranks)) - 1
    strengths = [desk.strengths.get(step, STRENGTHS[0]) for step in range(n_steps)] if desk.strengths else []
    said = task.ranking(
        ranks,
        strengths=strengths,
        flags=[sorted(each, key=FLAGS.index) for each in desk.flags],
        seconds=round(monotonic() - desk.began, 1),
        comment=desk.comment.strip(),
    )
    await visit.act("annotate", visit.studio.store.add, visit.person.name, said, event_id=desk.event_id)
    desk.n_done += 1
    await _go_on(visit, desk)


@told
async def skip(visit: Visit, desk: Desk) -> None:
    """Leave the task to others."""
    if desk.task is not None:
        said = Skip(task=desk.task.task, seconds=round(monotonic() - desk.began, 1))
        with suppress(WithdrawnTaskError):  # then nobody need be told
            await visit.act("annotate", visit.studio.store.add, visit.person.name, said)
        await _go_on(visit, desk)


async def _go_on(visit: Visit, desk: Desk) -> None:
    desk.given = desk.given[1:]
    if desk.given:
        desk.begin()
        await _fill(visit, desk)
    else:
        await _fill(visit, desk)
        desk.begin()


@told
async def undo(visit: Visit, desk: Desk) -> None:
    """Take the last step back; before the first step, the last ranking that was handed in."""
    if desk.ordering.undo():
        desk.show_board()
        return
    store, name = visit.studio.store, visit.person.name
    last = await visit.act("annotate", store.last_answer, name, Ranking.kind, Skip.kind)
    if last is None:
        ui.notify(visit.say("rank.no_undo"))
        return
    await visit.act("annotate", store.undo, name, last.id)
    await _fill(visit, desk)
    desk.given.sort(key=lambda each: each.task != last.task)
    desk.begin()
    if desk.task is not None and desk.task.task == last.task:
        _restore(desk, desk.task, last)
    desk.n_done = max(0, desk.n_done - (last.kind == Ranking.kind))
    ui.notify(visit.say("rank.undone"))


def _restore(desk: Desk, task: Assignment, last: Event) -> None:
    """Show what was said before, to be changed."""
    if not isinstance(last.body, Ranking):
        return
    at = {each: i for i, each in enumerate(last.body.completions)}
    order = [at[each] for each, _ in task.completions]
    desk.ordering = Ordering.of_ranks([last.body.ranks[i] for i in order])
    if last.body.flags:
        desk.flags = [set(last.body.flags[i]) for i in order]
    desk.strengths = dict(enumerate(last.body.strengths))
    desk.comment = last.body.comment
    desk.show()


def _nothing(visit: Visit) -> None:
    with ui.element("div").classes("dl-welcome"):
        ui.label(visit.say("rank.nothing")).classes("dl-big")
        ui.label(visit.say("rank.nothing_more")).classes("dl-quiet")
        if visit.may("train"):
            ui.link(visit.say("rank.make"), "/tasks").classes("dl-make")
        ui.label("danlu feedback tasks prompts=questions.jsonl model=runs/…").classes("dl-command")


def _show_task(desk: Desk, task: Assignment) -> None:
    visit = desk.visit
    with ui.element("div").classes("dl-work"):
        prompt_turns(visit, task.prompt)
        desk.badges = [_answer(desk, number, text) for number, (_, text) in enumerate(task.completions)]
    with ui.element("aside").classes("dl-side") as side:
        side.props["aria-label"] = visit.say("rank.board")
        desk.board = ui.element("div").classes("dl-board")
        with ui.element("div").classes("dl-buttons-wide"):
            action(visit.say("rank.submit"), lambda: _key(desk, "Enter"), icon="check", main=True)
            action(visit.say("rank.skip"), lambda: _key(desk, "s"), icon="skip_next")
            action(visit.say("rank.undo"), lambda: _key(desk, "u"), icon="undo")
        comment = text_field(visit.say("rank.comment"), desk.comment, most=2000)
        comment.on_value_change(lambda event: setattr(desk, "comment", str(event.value or "")))
        ui.label(visit.say("rank.keys")).classes("dl-quiet dl-small dl-keyboard")
        with ui.expansion(visit.say("rank.guidelines"), value=True).classes("dl-panel"):
            words(visit, task.guideline or visit.say("rank.guideline")).classes("dl-small")
        ui.label(visit.say("rank.done", n=desk.n_done)).classes("dl-quiet dl-small")


def _answer(desk: Desk, number: int, text: str) -> ui.label:
    visit = desk.visit
    with ui.element("article").classes("dl-answer") as card:
        card.props["aria-label"] = visit.say("rank.answer", number=number + 1)
        with ui.element("div").classes("dl-answer-head"):
            place = ui.button(str(number + 1), on_click=lambda: _key(desk, str(number + 1)), color=None)
            place.props("flat dense").classes("dl-number")
            place.props["aria-label"] = place.props["title"] = visit.say("rank.place", number=number + 1)
            with ui.element("div").classes("dl-place"):
                ui.label(visit.say("rank.rank"))
                badge = ui.label("–")
            ui.space()
        words(visit, text)
        with ui.element("div").classes("dl-flags"):
            for flag in FLAGS:
                _flag(desk, number, flag)
    return badge


def _flag(desk: Desk, number: int, flag: str) -> None:
    button = ui.button(desk.visit.say(f"flag.{flag}"), color=None).props("flat dense no-caps")
    button.classes("dl-flag")

    def show() -> None:
        on = flag in desk.flags[number]
        button.props["aria-pressed"] = "true" if on else "false"
        button.classes(**({"add": "dl-pressed"} if on else {"remove": "dl-pressed"}))
        button.update()

    def toggle() -> None:
        desk.flags[number] ^= {flag}
        show()

    button.on_click(toggle)
    show()


def _show_board(desk: Desk) -> None:
    visit, ordering = desk.visit, desk.ordering
    ui.label(visit.say("rank.board")).classes("dl-heading")
    answers: dict[int, int] = {}  # by the element that stands for it
    places: dict[int, int | None] = {}  # by the row of a tier

    def moved(event: events.SortableEventArguments) -> None:
        answer, place = answers[event.item.id], places[event.target.id]
        if places[event.source.id] != place:
            ordering.move(answer, place)
        desk.show_board()

    def show(label: str, tier: Sequence[int], place: int | None, *, waits: bool = False) -> None:
        with ui.element("div").classes("dl-tier" + " dl-waits" * waits):
            ui.label(label).classes("dl-tier-name")
            with ui.row().classes("dl-chips") as row:
                for answer in tier:
                    answers[ui.label(str(answer + 1)).classes("dl-chip").id] = answer
            row.make_sortable(group="tiers", on_end=moved)
            places[row.id] = place

    for place, tier in enumerate(ordering.tiers):
        if place:
            _strength(desk, place - 1)
        last = place == len(ordering.tiers) - 1
        show(f"{place + 1}" + " =" * (last and ordering.ties), tier, place, waits=last and ordering.ties)
    show(visit.say("rank.new_tier"), [], len(ordering.tiers))
    show(visit.say("rank.unplaced"), ordering.unplaced, None)


def _strength(desk: Desk, step: int) -> None:
    visit = desk.visit
    names = {each: visit.say(f"rank.strength_{each:.0f}") for each in STRENGTHS}
    picked = ui.toggle(names, value=desk.strengths.get(step), clearable=True).props(
        "dense flat no-caps size=sm"
    )
    picked.classes("dl-strength")
    picked.props["aria-label"] = visit.say("rank.strength")

    def say() -> None:
        if picked.value is None:
            desk.strengths.pop(step, None)
        else:
            desk.strengths[step] = cast(float, picked.value)

    picked.on_value_change(say)
