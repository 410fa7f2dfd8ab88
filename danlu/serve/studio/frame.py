"""What surrounds every page: navigation, language, theme, and who is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from nicegui import ui

from danlu.serve.studio.address import PREFER, ROOT, SIGN_OUT, STATIC, versioned
from danlu.serve.studio.phrases import LANGUAGES, NAMES, TAGS
from danlu.serve.studio.visit import Visit

if TYPE_CHECKING:
    from danlu.serve.studio.pages import Page

ACCENT = "#b23a26"  # cinnabar


def open_frame(visit: Visit, here: Page, pages: Sequence[Page], address: str) -> ui.column:
    """The frame of a page; its content goes into the column.

    Args:
        pages: those that the navigation names.
        address: of the page as it was asked for, to come back to.
    """
    _open_head(visit, here)
    with (
        ui.left_drawer(bordered=True, value=None)
        .props("width=216 breakpoint=900")
        .classes("dl-nav") as drawer
    ):
        _navigation(visit, here, pages)
    with ui.header(elevated=False).classes("dl-header"):
        ui.button(icon="menu", on_click=drawer.toggle, color=None).props("flat dense round").classes(
            "dl-menu"
        ).props(f'aria-label="{visit.say("frame.menu")}"')
        ui.label(visit.say(f"page.{here.name}")).classes("dl-title").props('role="heading" aria-level="1"')
        ui.space()
        _preferences(visit, address)
    return ui.column().classes(f"dl-page dl-page-{here.name}")


def _open_head(visit: Visit, here: Page) -> None:
    ui.page_title(f"{visit.say(f'page.{here.name}')} · {visit.say('frame.brand')}")
    # The tag is one of ours; nothing that anybody wrote goes into a script.
    ui.add_head_html(f'<script>document.documentElement.lang = "{TAGS[visit.language]}"</script>')
    ui.add_head_html(f'<link rel="stylesheet" href="{versioned("studio.css")}">')
    ui.add_head_html(f'<script defer src="{versioned("studio.js")}"></script>')
    ui.colors(primary=ACCENT)
    ui.dark_mode(visit.dark)


def _navigation(visit: Visit, here: Page, pages: Sequence[Page]) -> None:
    with ui.element("div").classes("dl-brand"):
        ui.element("img").props(f'src="{STATIC}/mark.svg" alt=""').classes("dl-mark")
        ui.label(visit.say("frame.brand"))
    with ui.element("nav").props(f'aria-label="{visit.say("frame.navigation")}"').classes("dl-links"):
        for page in pages:
            link = ui.link(target=f"/{page.name}").classes("dl-link")
            if page.name == here.name:
                link.classes("dl-here").props('aria-current="page"')
            with link:
                ui.icon(page.icon).props('aria-hidden="true"')
                ui.label(visit.say(f"page.{page.name}"))


def _preferences(visit: Visit, address: str) -> None:
    for language in LANGUAGES:
        if language != visit.language:
            link = ui.link(NAMES[language], _prefer(address, language=language).removeprefix(ROOT))
            link.classes("dl-switch").props(f'lang="{TAGS[language]}"')
    for theme, icon in (("light", "light_mode"), ("dark", "dark_mode")):
        button = ui.button(icon=icon, color=None).props("flat round dense").classes(f"dl-to-{theme}")
        button.props(f'aria-label="{visit.say(f"frame.{theme}")}" href="{_prefer(address, theme=theme)}"')
    if visit.studio.asks_for_sign_in:
        with (
            ui.button(icon="account_circle", color=None)
            .props("flat round dense")
            .props(f'aria-label="{visit.say("frame.account")}"'),
            ui.menu(),
        ):
            ui.label(visit.person.name).classes("dl-person")
            ui.label(visit.say(f"role.{visit.person.role}")).classes("dl-quiet dl-person")
            ui.html(
                f'<form method="post" action="{SIGN_OUT}"><button class="dl-plain">'
                f"{visit.say('frame.sign_out')}</button></form>",
                sanitize=False,  # every part of it is ours
            )


def _prefer(address: str, **what: str) -> str:
    return f"{PREFER}?{urlencode({**what, 'back': address or ROOT})}"
