"""Every page of the studio, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from danlu.feedback.accounts import Scope
from danlu.serve.studio import (
    chat,
    compare,
    data_page,
    demonstrate,
    inspect_page,
    people,
    rank,
    runs,
    tasks,
    teach,
)
from danlu.serve.studio.visit import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page; its title is the phrase `page.NAME`."""

    name: str  # its address is /studio/NAME
    icon: str
    scope: Scope  # what a visitor's role must open
    build: Callable[[Visit], Awaitable[None]]


PAGES = (
    Page(name="chat", icon="forum", scope="chat", build=chat.build),
    Page(name="compare", icon="balance", scope="annotate", build=compare.build),
    Page(name="rank", icon="format_list_numbered", scope="annotate", build=rank.build),
    Page(name="demonstrate", icon="edit_note", scope="annotate", build=demonstrate.build),
    Page(name="tasks", icon="playlist_add", scope="train", build=tasks.build),
    Page(name="teach", icon="school", scope="train", build=teach.build),
    Page(name="runs", icon="show_chart", scope="train", build=runs.build),
    Page(name="inspect", icon="biotech", scope="train", build=inspect_page.build),
    Page(name="data", icon="dataset", scope="train", build=data_page.build),
    Page(name="people", icon="group", scope="admin", build=people.build),
)
