"""The page `demonstrate`."""

from __future__ import annotations

from nicegui import ui

from danlu.serve.studio.visit import Visit


async def build(visit: Visit) -> None:
    """Show it."""
    ui.label(visit.say("page.demonstrate"))
