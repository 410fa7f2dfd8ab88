"""A conversation on the page Chat: which branch is shown, and what its turns are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from nicegui import ui

from danlu.feedback.event import Event
from danlu.feedback.records import Message
from danlu.serve.studio.address import ROOT
from danlu.serve.studio.conversation import Tree
from danlu.serve.studio.replies import Draft
from danlu.serve.studio.sampling_panel import SamplingPanel
from danlu.serve.studio.visit import Visit


@dataclass(slots=True)
class Talk:
    """What the page shows at the moment; all of it is read from the store."""

    visit: Visit
    panel: SamplingPanel
    area: ui.element
    turns: ui.element
    draw: Callable[[Talk], None]
    tree: Tree | None = None
    branch: list[Event] = field(default_factory=list[Event])
    ratings: dict[str, Event] = field(default_factory=dict[str, Event])
    draft: Draft | None = None
    history: Callable[[], Awaitable[None]] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def conversation(self) -> str:
        return self.tree.root.id if self.tree else ""

    async def load(self, conversation: str, through: str = "") -> None:
        """Read a conversation; empty is a new one."""
        visit, studio = self.visit, self.visit.studio
        if not conversation:
            self.tree, self.branch, self.ratings, self.draft = None, [], {}, None
            return
        # Asked before the store: a reply that is finished meanwhile is then seen here at least.
        running = studio.replies.under_way(conversation)
        self.tree = await visit.act("chat", Tree.read, studio.store, visit.person.name, conversation)
        self.branch = self.tree.branch(through)
        nodes = [node.id for node in self.branch]
        self.ratings = await visit.act("chat", studio.store.ratings, visit.person.name, nodes)
        self.draft = next((each for each in running if each.parent in nodes), None)
        if self.draft is not None:
            self.branch = self.branch[: nodes.index(self.draft.parent) + 1]

    async def reload(self, through: str = "") -> None:
        """Read it again and show it."""
        await self.load(self.conversation, through)
        self.show()
        last = self.branch[-1].id if self.branch else ""
        ui.navigate.history.replace(f"{ROOT}/chat?c={self.conversation}&n={last}")

    def show(self) -> None:
        """Show the branch."""
        self.turns.clear()
        with self.turns:
            self.draw(self)

    def act(self, function: Callable[..., Awaitable[None]], *args: Any) -> Callable[[], Awaitable[None]]:
        """An action for a button; what it shows goes into the page, whatever becomes of the button."""

        async def act() -> None:
            with self.area:
                await function(self.visit, self, *args)

        return act


def asked_by(talk: Talk, node: Event) -> Event:
    """The question that a turn answers, with or without tools; itself, if it is one."""
    at = [each.id for each in talk.branch].index(node.id)
    return next(
        (each for each in reversed(talk.branch[: at + 1]) if speaker(each) not in ("assistant", "tool")),
        talk.branch[0],
    )


def is_step(node: Event) -> bool:
    """Whether a turn only leads to an answer: a call of tools, or a result."""
    return speaker(node) == "tool" or (isinstance(node.body, Message) and "tool_calls" in node.body.more)


def is_open(node: Event) -> bool:
    """Whether the model is to speak next."""
    return speaker(node) in ("user", "tool")


def speaker(node: Event) -> str:
    return node.body.role if isinstance(node.body, Message) else "assistant"
