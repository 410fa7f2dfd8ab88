"""What lies under the microscope of the page Inspect, and how it is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nicegui import ui

from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import content_of
from danlu.feedback.records import Message
from danlu.serve.studio.conversation import Tree
from danlu.serve.studio.microscope import Example, InspectError, Microscope, Said, Stage
from danlu.serve.studio.visit import Visit, reason
from danlu.tokenizer import chat as chat_format

View = Callable[["Table"], Awaitable[Callable[[], None]]]  # reads, and gives what shows it


@dataclass(slots=True)
class Table:
    """What lies under the microscope, and how it is looked at."""

    visit: Visit
    microscope: Microscope
    models: Mapping[str, Path]
    reward_models: Mapping[str, Path]
    view: str
    area: ui.element
    views: Mapping[str, View]
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

    async def look(self) -> None:
        """Show the chosen view of what is under the microscope."""
        self.area.clear()
        with self.area:
            ui.label(self.visit.say("inspect.looking")).classes("dl-quiet").props("role=status")
        try:
            show = await self.views[self.view](self)
        except (FeedbackError, PermissionError, chat_format.ChatError) as error:
            self.area.clear()
            with self.area:
                ui.label(reason(self.visit, error)).classes("dl-alert dl-text").props("role=alert")
            return
        self.area.clear()
        with self.area:
            show()

    async def read(self) -> Sequence[int]:
        """The ids of what is looked at; of a branch they are known already."""
        if not self.ids:
            said = await self.said()
            self.ids = await self.visit.studio.looking.run(
                self.visit, self.microscope.read, self.path(), said
            )
        return self.ids


def named(element: ui.element, label: str) -> None:
    """What scrolls must be in reach of the keyboard, and say what it is."""
    element.props('tabindex="0" role="region"')
    element.props["aria-label"] = label


def markup(html: str) -> ui.html:
    """HTML in which every text is escaped already; DOMPurify would take the drawings apart."""
    return ui.html(html, sanitize=False)
