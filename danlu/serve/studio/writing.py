"""Writing an answer: beside it what changed against the model's draft, and what might be wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from html import escape
from time import monotonic
from typing import Literal

from nicegui import ui

from danlu.data.language import identify
from danlu.data.pii import mask_private
from danlu.feedback.event import Event, content_of
from danlu.feedback.records import Edit
from danlu.serve.studio.controls import action, text_field
from danlu.serve.studio.rich_text import shown
from danlu.serve.studio.visit import Visit, told

SHORT, LONG = 8, 8000  # characters of an answer that are worth a second look
MOST_COMPARED = 4000  # pieces of either text
PIECES = re.compile(r"[A-Za-z0-9']+|\s+|.", re.DOTALL)  # Chinese goes by the character
Change = Literal["same", "gone", "new"]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about an answer that its writer should look at; nothing is refused for it."""

    key: str  # of the phrase
    values: dict[str, str]


def remarks(question: str, answer: str) -> list[Remark]:
    """What might be wrong with an answer: its length, its language, personal data in it."""
    found: list[Remark] = []
    n = len(answer.strip())
    if n < SHORT:
        found.append(Remark("quality.short", {"n": str(n)}))
    if n > LONG:
        found.append(Remark("quality.long", {"n": f"{n:,}"}))
    asked, said = identify(question), identify(answer)
    if n >= SHORT and asked != said and "other" not in (asked, said):
        found.append(Remark(f"quality.language_{said}", {}))
    _, private = mask_private(answer)
    _, given = mask_private(question)
    for kind, count in sorted((private - given).items()):
        found.append(Remark(f"quality.private_{kind}", {"n": str(count)}))
    return found


def changes(before: str, after: str) -> Iterator[tuple[Change, str]]:
    """What became of a text, piece by piece: words of English, characters of Chinese."""
    a, b = PIECES.findall(before)[:MOST_COMPARED], PIECES.findall(after)[:MOST_COMPARED]
    for kind, a1, a2, b1, b2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            yield "same", "".join(a[a1:a2])
            continue
        if a2 > a1:
            yield "gone", "".join(a[a1:a2])
        if b2 > b1:
            yield "new", "".join(b[b1:b2])


def changes_html(before: str, after: str) -> str:
    """The same as HTML."""
    tags = {"same": "span", "gone": "del", "new": "ins"}
    return "".join(
        f"<{tags[kind]}>{escape(shown(text))}</{tags[kind]}>" for kind, text in changes(before, after)
    )


class Desk:
    """Where an answer is written.

    Args:
        draft: what the model said; empty = nothing.
        written: what stands in the field to begin with; None = the draft.
    """

    def __init__(self, visit: Visit, question: str, draft: str, written: str | None = None) -> None:
        self.question = question
        self._visit, self._draft = visit, draft
        self._began = monotonic()
        self.box = text_field(visit.say("writing.answer"), draft if written is None else written, lines=8)
        self.box.props("debounce=300").on_value_change(self._look)
        with ui.element("div").props('role="status"'):
            self._remarks = ui.element("ul").classes("dl-remarks")
        self._changes: ui.html | None = None
        if draft:
            ui.label(visit.say("writing.changes")).classes("dl-heading")
            self._changes = ui.html().classes("dl-text dl-diff").props('dir="auto" tabindex="0"')
        self._look()

    @property
    def text(self) -> str:
        return str(self.box.value or "")

    @property
    def seconds(self) -> float:
        """Taken so far."""
        return round(monotonic() - self._began, 1)

    def ask(self, question: str) -> None:
        """Answer another question."""
        self.question = question
        self._look()

    def _look(self) -> None:
        self._remarks.clear()
        with self._remarks:
            for remark in remarks(self.question, self.text) if self.text.strip() else []:
                with ui.element("li"):
                    ui.label(self._visit.say(remark.key, **remark.values))
        if self._changes is not None:
            self._changes.set_content(changes_html(self._draft, self.text))


def better_answer(visit: Visit, node: Event, then: Callable[[str], Awaitable[None]]) -> None:
    """A dialog to write a better answer than one of the model's."""
    with ui.context.client.layout, ui.dialog(value=True) as dialog, ui.card().classes("dl-dialog dl-wide"):
        ui.label(visit.say("chat.better")).classes("dl-heading")
        question = content_of(visit.studio.store.get(node.body.subject))
        desk = Desk(visit, question, content_of(node))

        async def save() -> None:
            await store_edit(visit, node, desk, then)
            dialog.close()

        with ui.row().classes("dl-buttons"):
            action(visit.say("cancel"), dialog.close)
            action(visit.say("save"), save, main=True)


@told
async def store_edit(visit: Visit, node: Event, desk: Desk, then: Callable[[str], Awaitable[None]]) -> None:
    """Keep what was written beside the answer it improves."""
    body = node.body
    edit = Edit(
        conversation=str(getattr(body, "conversation", "")),
        parent=str(getattr(body, "parent", "")),
        of=node.id,
        content=desk.text.strip(),
        seconds=desk.seconds,
    )
    stored = await visit.act("chat", visit.studio.store.add, visit.person.name, edit)
    await then(stored.id)
