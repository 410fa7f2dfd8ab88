"""Compare: two to four models, or settings, answer alike; their names are told after the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from nicegui import ui

from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event, content_of
from danlu.feedback.leaderboard import leaderboard
from danlu.feedback.records import Conversation, Message, Ranking
from danlu.feedback.store import Store
from danlu.serve.studio.address import ROOT
from danlu.serve.studio.chat import SEND_KEYS
from danlu.serve.studio.contest import FEWEST, MOST, Contender, Contest, name_of
from danlu.serve.studio.controls import action, icon_button, keys, prompt_turns, rendered, text_field, words
from danlu.serve.studio.conversation import new_event
from danlu.serve.studio.pace import Pace
from danlu.serve.studio.replies import sampling_at
from danlu.serve.studio.turns import POLL_S
from danlu.serve.studio.visit import Visit, reason, told
from danlu.serve.studio.voice import Voice

COMPARE = "compare"  # in a conversation's and a ranking's `about`
GO_ON = "c"
KEYS = f"01234={GO_ON}"


@dataclass(slots=True)
class Arena:
    """What the page shows at the moment."""

    visit: Visit
    area: ui.element
    board: ui.element
    contenders: list[Contender] = field(default_factory=list[Contender])  # of the next new question
    contest: Contest | None = None
    follow: ui.element | None = None  # the field for going on, where it is shown
    began: float = field(default_factory=monotonic)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def load(self, conversation: str) -> None:
        """Read a contest and show it."""
        self.contest = await self.visit.act("annotate", Contest.read, self.visit, conversation)
        self.show()
        ui.navigate.history.replace(f"{ROOT}/compare?c={conversation}")

    def show(self) -> None:
        """Show everything."""
        self.area.clear()
        self.follow = None
        with self.area:
            if self.contest is None:
                _ask_form(self)
            else:
                _show_contest(self, self.contest)

    async def show_leaderboard(self) -> None:
        """Show who wins."""
        rows = await self.visit.act("annotate", standings, self.visit.studio.store)
        self.board.clear()
        with self.board:
            _leaderboard(self.visit, rows)


def standings(store: Store) -> list[tuple[str, float, float, float, int]]:
    """Everybody's verdicts as a leaderboard: name, strength, its interval, comparisons."""
    judged = [event.body for event in store.events(Ranking.kind) if isinstance(event.body, Ranking)]
    told = [(body.about[COMPARE], body.ranks) for body in judged if COMPARE in body.about]
    return [(each.name, each.strength, each.low, each.high, each.n) for each in leaderboard(told)]


async def build(visit: Visit) -> None:
    """The page."""
    area, board = ui.element("div").classes("dl-arena dl-keys"), ui.element("section").classes("dl-leaders")
    arena = Arena(visit, area, board, contenders=_first_contenders(visit))
    keys(KEYS, lambda key: _key(arena, key))
    conversation = visit.query.get("c", "")
    try:
        if conversation:
            arena.contest = await visit.act("annotate", Contest.read, visit, conversation)
    except FeedbackError as error:
        ui.notify(reason(visit, error), type="warning")
    arena.show()
    await arena.show_leaderboard()


def _first_contenders(visit: Visit) -> list[Contender]:
    """Every model with its own setting; a single one with two."""
    voices = visit.studio.voices[:MOST]
    found = [(voice.name, voice.service.served.sampling.temperature) for voice in voices]
    return found if len(found) >= FEWEST else [(found[0][0], 0.3), (found[0][0], 1.0)]


def _ask_form(arena: Arena) -> None:
    visit = arena.visit
    with ui.element("div").classes("dl-contenders"):
        for number, (name, temperature) in enumerate(arena.contenders):
            _contender(arena, number, name, temperature)
        if len(arena.contenders) < MOST:
            action(visit.say("compare.more"), lambda: _change(arena, None), icon="add")
    box = text_field(visit.say("compare.question"), lines=3)
    box.props["autofocus"] = True
    box.on("keydown", lambda event: _begin(arena, str(event.args)), js_handler=SEND_KEYS)
    with ui.row().classes("dl-buttons"):
        action(visit.say("compare.ask"), lambda: _begin(arena, str(box.value or "")), icon="send", main=True)


def _contender(arena: Arena, number: int, name: str, temperature: float) -> None:
    visit = arena.visit

    def keep() -> None:
        warmth = temperature if heat.value is None else float(heat.value)
        arena.contenders[number] = (str(model.value), warmth)

    with ui.element("div").classes("dl-contender"):
        names = [voice.name for voice in visit.studio.voices]
        model = ui.select(names, value=name, label=visit.say("sampling.model"), on_change=keep)
        model.props("outlined dense options-dense").classes("dl-grow")
        heat = ui.number(visit.say("sampling.temperature"), value=temperature, min=0, max=2, step=0.1)
        heat.props("outlined dense").classes("dl-heat").on_value_change(keep)
        if len(arena.contenders) > FEWEST:
            icon_button(visit.say("compare.fewer"), "close", lambda: _change(arena, number))


def _change(arena: Arena, number: int | None) -> None:
    """One contender fewer, or one more."""
    if number is None:
        arena.contenders.append(arena.contenders[-1])
    else:
        del arena.contenders[number]
    arena.show()


async def _begin(arena: Arena, text: str) -> None:
    if arena.turn.locked() or not text.strip():  # pressed twice, or nothing said
        return
    async with arena.turn:
        with arena.area:
            await ask(arena.visit, arena, text.strip())


@told
async def ask(visit: Visit, arena: Arena, text: str) -> None:
    """Have all of them answer a first question, or one that goes on from the best answer."""
    store, person, this = visit.studio.store, visit.person.name, arena.contest
    goes_on = this.goes_on if this else None
    nodes: list[Event] = []
    if this is None or goes_on is None:
        contenders, parent = arena.contenders, ""
        # A conversation that belongs to nobody's history.
        nodes.append(new_event("", Conversation(title=" ".join(text.split())[:60], about={COMPARE: True})))
        conversation = nodes[0].id
    else:
        contenders, parent, conversation = this.contenders, goes_on.id, this.conversation
    speakers = _speakers(visit, contenders)
    question = new_event(person, Message(conversation=conversation, parent=parent, role="user", content=text))
    await visit.act("annotate", store.take_in, [*nodes, question])
    place = Message(conversation=conversation, parent=question.id, role="assistant", content="")
    try:
        messages = await visit.act("annotate", store.messages, question.id)
        for voice, temperature in speakers:
            sampling = sampling_at(voice.service.served.sampling, temperature)
            await visit.studio.replies.begin(voice, person, place, messages, sampling)
    finally:
        arena.began = monotonic()
        await arena.load(conversation)


def _speakers(visit: Visit, contenders: Sequence[Contender]) -> list[tuple[Voice, float]]:
    """The models of contenders; FeedbackError if one is there no more."""
    found: list[tuple[Voice, float]] = []
    for name, temperature in contenders:
        voice = visit.studio.voice(name)
        if voice is None:
            raise FeedbackError(visit.say("tasks.no_model", name=name))
        found.append((voice, temperature))
    return found


def _show_contest(arena: Arena, this: Contest) -> None:
    visit, now = arena.visit, this.now
    prompt_turns(visit, this.messages)
    if this.drafts:
        _watch(arena, this)
        return
    ranks = now.ranks
    with ui.element("div").classes("dl-columns"):
        for number, answer in enumerate(now.answers):
            with ui.element("article").classes("dl-answer" + " dl-won" * bool(ranks and ranks[number] == 1)):
                with ui.element("div").classes("dl-answer-head"):
                    ui.label(str(number + 1)).classes("dl-chip")
                    if ranks:
                        ui.label(name_of(answer)).classes("dl-heading")
                words(visit, content_of(answer))
    if this.may_be_judged:
        _verdicts(arena, this)
        return
    if not ranks:
        ui.label(visit.say("compare.too_few")).classes("dl-alert").props('role="alert"')
    _after(arena, this)


def _watch(arena: Arena, this: Contest) -> None:
    """The answers as they come."""
    visit = arena.visit
    made = {each.id: content_of(each) for each in this.now.answers}
    pieces = made | {each.id: "" for each in this.drafts}
    drafts = {each.id: each for each in this.drafts}
    texts: dict[str, ui.html] = {}
    with ui.element("div").classes("dl-columns"):
        for answer in sorted(pieces):
            with ui.element("article").classes("dl-answer"):
                texts[answer] = words(visit, pieces[answer])

    pace = Pace()

    async def look() -> None:
        if pace.due:
            with pace.measured():
                for answer, draft in drafts.items():
                    texts[answer].set_content(rendered(visit, draft.text))
        if all(draft.finished for draft in this.drafts):
            timer.deactivate()
            with arena.area:
                for error in {draft.error for draft in this.drafts if draft.error}:
                    ui.notify(
                        visit.say("chat.failed", why=visit.translate(error)), type="negative", timeout=10_000
                    )
                await arena.load(this.conversation)

    timer = ui.timer(POLL_S, look)


def _verdicts(arena: Arena, this: Contest) -> None:
    visit, n = arena.visit, len(this.now.answers)
    with ui.element("div").classes("dl-verdicts"):
        for number in range(n):
            action(visit.say("compare.best", number=number + 1), lambda key=str(number + 1): _key(arena, key))
        action(visit.say("compare.tie"), lambda: _key(arena, "="))
        action(visit.say("compare.all_bad"), lambda: _key(arena, "0"))
    ui.label(visit.say("compare.keys", n=n)).classes("dl-quiet dl-small dl-keyboard")


def _after(arena: Arena, this: Contest) -> None:
    """What comes next: another question, or one that goes on from the best answer."""
    visit = arena.visit
    box = _follow_field(arena, this)
    with ui.row().classes("dl-buttons"):
        if box is not None:
            action(visit.say("compare.ask_on"), lambda: _begin(arena, str(box.value or "")), icon="send")
        action(visit.say("compare.next"), lambda: _key(arena, "Enter"), icon="arrow_forward", main=True)
    if box is not None:
        ui.label(visit.say("compare.keys_after")).classes("dl-quiet dl-small dl-keyboard")


def _follow_field(arena: Arena, this: Contest) -> ui.textarea | ui.input | None:
    """Where the conversation is gone on with; None before the first verdict."""
    visit, best = arena.visit, this.now.best
    if this.goes_on is None:
        return None
    box = arena.follow = text_field(visit.say("compare.follow"), grows=True)
    box.on("keydown", lambda event: _begin(arena, str(event.args)), js_handler=SEND_KEYS)
    about = "compare.follow_again" if best is None else "compare.follow_about"
    ui.label(visit.say(about, number=(best or 0) + 1)).classes("dl-quiet dl-small")
    return box


async def _key(arena: Arena, key: str) -> None:
    async with arena.turn:
        await _obey(arena, key)


async def _obey(arena: Arena, key: str) -> None:
    this = arena.contest
    if this is None or this.drafts:
        return
    with arena.area:
        if not this.may_be_judged:
            _move_on(arena, key)
        elif key in "0=" or 1 <= int(key if key.isdecimal() else 0) <= len(this.now.answers):
            await judge(arena.visit, arena, key)


def _move_on(arena: Arena, key: str) -> None:
    """To a new question, or to the field for going on with this conversation."""
    if key == "Enter":
        arena.contest = None
        arena.show()
        ui.navigate.history.replace(f"{ROOT}/compare")
    elif key == GO_ON and arena.follow is not None:
        arena.follow.run_method("focus")


@told
async def judge(visit: Visit, arena: Arena, key: str) -> None:
    """Store the verdict and tell the names."""
    this = arena.contest
    assert this is not None
    best = None if key in "0=" else int(key) - 1
    by_place = dict(zip(this.now.shown, enumerate(this.now.answers), strict=True))
    placed = [by_place[place] for place in sorted(by_place)]
    about: Mapping[str, Any] = {COMPARE: [name_of(answer) for _, answer in placed]}
    said = Ranking(
        completions=tuple(answer.id for _, answer in placed),
        ranks=tuple(1 if best is None or number == best else 2 for number, _ in placed),
        flags=tuple(("all_bad",) for _ in placed) if key == "0" else (),
        shown=this.now.shown,
        seconds=round(monotonic() - arena.began, 1),
        about=about,
    )
    await visit.act("annotate", visit.studio.store.add, visit.person.name, said)
    await arena.load(this.conversation)
    await arena.show_leaderboard()


def _leaderboard(visit: Visit, rows: Sequence[tuple[str, float, float, float, int]]) -> None:
    ui.label(visit.say("compare.leaderboard")).classes("dl-heading")
    if not rows:
        ui.label(visit.say("compare.no_verdicts")).classes("dl-quiet")
        return
    with ui.element("div").classes("dl-table dl-text").props('tabindex="0"'), ui.element("table"):
        with ui.element("tr"):
            for key in ("compare.model", "compare.strength", "compare.interval", "compare.n"):
                with ui.element("th").props('scope="col"'):
                    ui.label(visit.say(key))
        for name, strength, low, high, n in rows:
            with ui.element("tr"):
                for text in (name, _signed(strength), f"{_signed(low)} … {_signed(high)}", f"{n:,}"):
                    with ui.element("td"):
                        ui.label(text)
    ui.label(visit.say("compare.about")).classes("dl-quiet dl-small")


def _signed(points: float) -> str:
    return f"{points:+.0f}".replace("-", "−")
