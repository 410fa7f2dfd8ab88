"""What the tests of the studio have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from scripted import Speaking

from danlu.feedback.store import Store
from danlu.serve.studio.studio import Studio

BOSS = "boss"
PHONE = {"width": 390, "height": 844}


@dataclass
class Running:
    """The one studio of the test session: NiceGUI has one application a process."""

    address: str
    studio: Studio
    engines: dict[str, Speaking]
    app: FastAPI

    @property
    def store(self) -> Store:
        return self.studio.store


@dataclass
class Visitor:
    """Somebody's browser, which keeps in mind what it was asked to load and what went wrong."""

    context: Any
    page: Any
    address: str
    requests: list[str]
    faults: list[str]

    def go(self, place: str, wait_for: str = "main, .dl-page") -> Any:
        """Open a page of the studio, and wait until it can be used."""
        address = f"{self.address}/studio/{place}"
        try:
            self.page.goto(address)
        except Exception as error:  # a page that finds its server again loads itself anew, which ends this
            if "ERR_ABORTED" not in str(error):
                raise
            self.page.goto(address)
        self.page.wait_for_selector(wait_for)
        self.page.wait_for_function("window.socket && window.socket.connected")
        return self.page


def until(condition: Callable[[], Any], patience_s: float = 60) -> None:
    """Wait for what is about to be true."""
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
