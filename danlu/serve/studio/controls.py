"""Buttons and fields as every page uses them: labelled for whoever cannot see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from danlu.serve.studio.rich_text import rich
from danlu.serve.studio.visit import Visit

Act = Callable[[], Awaitable[None] | None]


def icon_button(label: str, icon: str, act: Act) -> ui.button:
    """A button that shows a picture and says what it does."""
    button = ui.button(icon=icon, on_click=lambda: act()).props("flat dense round size=sm").classes("dl-icon")
    button.props["aria-label"] = button.props["title"] = label
    return button


def action(label: str, act: Act, *, icon: str = "", main: bool = False) -> ui.button:
    """A button with words."""
    button = ui.button(label, icon=icon or None, on_click=lambda: act())
    return button.props("no-caps unelevated" if main else "no-caps outline").classes(
        "dl-main" if main else "dl-second"
    )


def text_field(
    label: str, value: str = "", *, lines: int = 1, grows: bool = False, most: int = 100_000
) -> ui.textarea | ui.input:
    """A field for text of one line, or of several."""
    if lines == 1 and not grows:
        made = ui.input(label, value=value).props(f"outlined dense maxlength={most}")
    else:
        made = ui.textarea(label, value=value).props(f"outlined dense autogrow maxlength={most}")
        made.props["input-style"] = f"min-height: {lines * 1.5}em"
    return made.classes("dl-field")


def words(visit: Visit, text: str) -> ui.html:
    """What somebody or a model wrote, formatted."""
    return ui.html(rendered(visit, text)).classes("dl-text").props('dir="auto"')


def rendered(visit: Visit, text: str) -> str:
    """The same as HTML."""
    return rich(text, copy=visit.say("text.copy"), thoughts=visit.say("text.thoughts"))
