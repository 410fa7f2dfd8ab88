"""The turns of a conversation as the page Chat shows them, and a reply as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from danlu.feedback.event import Event, content_of, message_of
from danlu.feedback.records import LEAST, MOST, Demonstration, Message, Rating
from danlu.serve.studio.controls import action, icon_button, rendered, text_field, words
from danlu.serve.studio.pace import Pace
from danlu.serve.studio.replies import Draft
from danlu.serve.studio.steps import steps_html
from danlu.serve.studio.talk import Talk, asked_by, is_open, is_step, speaker
from danlu.serve.studio.talk_actions import answer, branch, rank_these, rate, walk
from danlu.serve.studio.visit import Visit
from danlu.serve.studio.writing import better_answer

POLL_S = 0.08


def draw(talk: Talk) -> None:
    """The branch, turn by turn, and what comes at its end."""
    if not talk.branch:
        _welcome(talk.visit)
    steps: list[Event] = []  # of the answer that follows: calls of tools, and results
    for node in talk.branch:
        if is_step(node):
            steps.append(node)
        else:
            _turn(talk, node, steps)
            steps = []
    if talk.draft is not None:
        _live(talk, talk.draft)
    elif talk.branch and is_open(talk.branch[-1]):
        if steps:
            _steps(talk, steps)
        action(talk.visit.say("chat.answer"), talk.act(answer, talk.branch[-1]), icon="replay")


def _welcome(visit: Visit) -> None:
    with ui.element("div").classes("dl-welcome"):
        ui.label(visit.say("chat.welcome")).classes("dl-big")
        ui.label(visit.say("chat.welcome_more")).classes("dl-quiet")


def _live(talk: Talk, draft: Draft) -> None:
    """A reply as it comes."""
    visit = talk.visit
    with ui.element("article").classes("dl-turn dl-assistant"):
        with ui.element("div").classes("dl-who"):
            ui.label(draft.voice)
        calls = ui.html(steps_html(visit, draft.turns)).classes("dl-text")
        text = words(visit, draft.text).classes("dl-live")
        with ui.element("div").classes("dl-actions"):
            numbers = ui.label("").classes("dl-quiet")
            action(visit.say("chat.stop"), lambda: visit.studio.replies.stop(draft), icon="stop")
    shown, n_turns, pace = 0, 0, Pace()

    async def look() -> None:
        nonlocal shown, n_turns
        if len(draft.turns) != n_turns:
            n_turns = len(draft.turns)
            calls.set_content(steps_html(visit, draft.turns))
        if len(draft.text) != shown and pace.due:
            shown = len(draft.text)
            with pace.measured():
                text.set_content(rendered(visit, draft.text))
                numbers.set_text(_speed(visit, draft))
        if draft.finished:
            timer.deactivate()
            with talk.area:
                if draft.error:
                    ui.notify(
                        visit.say("chat.failed", why=visit.translate(draft.error)),
                        type="negative",
                        timeout=10_000,
                    )
                await talk.reload(draft.id if draft.n_tokens else draft.parent)

    timer = ui.timer(POLL_S, look)


def _speed(visit: Visit, draft: Draft) -> str:
    longest = next(
        each.service.served.max_seq_len for each in visit.studio.voices if each.name == draft.voice
    )
    used = draft.n_prompt + draft.n_tokens
    told = visit.say("chat.context", used=f"{used:,}", longest=f"{longest:,}", share=f"{used / longest:.0%}")
    if draft.tokens_per_s:
        told += " · " + visit.say("chat.speed", speed=f"{draft.tokens_per_s:.1f}")
    if draft.n_left_out:
        told += " · " + visit.say("chat.left_out", n=draft.n_left_out)
    return told


def _steps(talk: Talk, steps: Sequence[Event]) -> None:
    """Calls of tools that no answer has followed yet."""
    with ui.element("article").classes("dl-turn dl-assistant"):
        ui.label(_name(talk.visit, steps[0])).classes("dl-who")
        _show_steps(talk.visit, steps)
        with ui.element("div").classes("dl-actions"):
            _siblings(talk, steps[0])


def _show_steps(visit: Visit, steps: Sequence[Event]) -> None:
    if steps:
        ui.html(steps_html(visit, list(map(message_of, steps)))).classes("dl-text")


def _turn(talk: Talk, node: Event, steps: Sequence[Event] = ()) -> None:
    """One turn.

    Args:
        steps: the calls of tools before an answer.
    """
    visit, who = talk.visit, speaker(node)
    if who == "system":
        with ui.expansion(visit.say("chat.system")).classes("dl-system"):
            words(visit, content_of(node), typed=True)
        return
    with ui.element("article").classes(f"dl-turn dl-{who}"):
        with ui.element("div").classes("dl-who"):
            ui.label(_name(visit, node))
        _show_steps(visit, steps)
        words(visit, content_of(node), typed=who != "assistant")
        with ui.element("div").classes("dl-actions"):
            _siblings(talk, steps[0] if steps else node)
            if who == "user":
                icon_button(visit.say("chat.edit"), "edit", lambda: _edit(talk, node))
            elif who == "assistant":
                _answer_actions(talk, node)


def _answer_actions(talk: Talk, node: Event) -> None:
    visit, body = talk.visit, node.body
    rated = talk.ratings.get(node.id)
    value = rated.body.value if rated is not None and isinstance(rated.body, Rating) else 0
    for wanted, key, icon in ((1, "chat.good", "thumb_up"), (-1, "chat.bad", "thumb_down")):
        button = icon_button(visit.say(key), icon, talk.act(rate, node, wanted))
        button.props["aria-pressed"] = "true" if value == wanted else "false"
        button.classes("dl-pressed" if value == wanted else "dl-open-icon")
    icon_button(visit.say("chat.better"), "edit_note", lambda: better_answer(talk.visit, node, talk.reload))
    asked = asked_by(talk, node)
    if asked.id != node.id:  # a conversation that was taken in may begin with an answer
        icon_button(visit.say("chat.again"), "refresh", talk.act(answer, asked))
    if isinstance(body, Message):
        above = next((each for each in talk.branch if each.id == body.subject), None)
        if above is not None and body.origin.unfinished and body.origin.token_ids:
            icon_button(visit.say("chat.continue"), "play_arrow", talk.act(answer, above, node))
        draft = visit.studio.replies.known(node.id)
        if draft is not None:
            ui.label(_speed(visit, draft)).classes("dl-quiet dl-numbers")
        elif body.origin.sampling:
            ui.label(visit.say("chat.seed", seed=str(body.origin.sampling.get("seed", "")))).classes(
                "dl-quiet dl-numbers"
            )


def _siblings(talk: Talk, node: Event) -> None:
    assert talk.tree is not None
    siblings = talk.tree.siblings(node)
    if len(siblings) < 2:
        return
    at = [each.id for each in siblings].index(node.id)
    with ui.element("div").classes("dl-siblings"):
        before = icon_button(
            talk.visit.say("chat.previous"), "chevron_left", talk.act(walk, siblings[max(0, at - 1)])
        )
        ui.label(f"{at + 1}/{len(siblings)}")
        after = icon_button(
            talk.visit.say("chat.next"), "chevron_right", talk.act(walk, siblings[(at + 1) % len(siblings)])
        )
        before.set_enabled(at > 0)
        after.set_enabled(at + 1 < len(siblings))
        if talk.visit.may("annotate") and _can_be_ranked(siblings):
            icon_button(
                talk.visit.say("chat.rank"), "format_list_numbered", talk.act(rank_these, list(siblings))
            )


def _can_be_ranked(siblings: Sequence[Event]) -> bool:
    """Whether they are whole answers, neither too few nor too many; one that calls tools goes on below."""
    answers = [each for each in siblings if speaker(each) == "assistant" and not is_step(each)]
    return len(answers) == len(siblings) and LEAST <= len(siblings) <= MOST


def _edit(talk: Talk, node: Event) -> None:
    """A question asked differently: a branch beside it."""
    visit = talk.visit
    with talk.area, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog"):
        ui.label(visit.say("chat.edit")).classes("dl-heading")
        box = text_field(visit.say("chat.message"), content_of(node), lines=5)

        async def send() -> None:
            dialog.close()
            text = str(box.value or "").strip()
            if text and text != content_of(node):
                await branch(visit, talk, node, text)

        with ui.row().classes("dl-buttons"):
            action(visit.say("cancel"), dialog.close)
            action(visit.say("chat.send"), talk.act(lambda *_: send()), main=True)
    dialog.on("hide", dialog.delete)


def _name(visit: Visit, node: Event) -> str:
    if isinstance(node.body, Demonstration):
        return visit.say("chat.written_by", person=node.person)
    if isinstance(node.body, Message) and node.body.role == "assistant":
        cut = f" · {visit.say('chat.unfinished')}" if node.body.origin.unfinished else ""
        return (node.body.origin.name or visit.say("chat.model")) + cut
    return visit.say("chat.you")
