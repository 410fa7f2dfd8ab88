"""A studio over scripted models in this process, and a browser that looks at it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'danlu[studio]'")

import uvicorn
from scripted import HOSTILE, Speaking
from small_studio import BOSS, Running, Visitor, until

from danlu.feedback.records import FeedbackError, Task
from danlu.feedback.store import Store
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.studio_inspect import ModelMicroscope
from danlu.serve.api.limits import Limits
from danlu.serve.api.server import Server, bind
from danlu.serve.api.service import Served, Service
from danlu.serve.studio.app import create_studio
from danlu.serve.studio.data_sets import Catalogue
from danlu.serve.studio.studio import Studio
from danlu.serve.studio.voice import Voice
from danlu.serve.studio.workshop import Workshop
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat
from danlu.tools import builtin
from danlu.tools.protocol import Toolbox, tool

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="session")
def chat() -> ChatFormat:
    texts = ["user assistant system tool tools 你好，世界 hello there weather 天气\n"] * 3
    return ChatFormat(Tokenizer.train(texts, 330))


@pytest.fixture(scope="session")
def running(chat: ChatFormat, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A studio on a free port."""
    store = Store.open(tmp_path_factory.mktemp("studio") / "feedback.db")
    engines = {name: Speaking(chat.tokenizer, "Good day.") for name in ("tiny", "other")}
    tools = {"other": Toolbox([builtin.calculator(), tool(look_up)])}
    voices = [_voice(name, chat, engine, tools.get(name)) for name, engine in engines.items()]
    runs = tmp_path_factory.mktemp("runs")

    def load(name: str, path: Path) -> Voice:
        engines[name] = Speaking(chat.tokenizer, f"I am {name}.")
        return _voice(name, chat, engines[name])

    workshop = Workshop(
        runs=runs, db=store.database.name, models={name: runs / name for name in engines}, load=load
    )
    studio = Studio(
        store=store,
        voices=voices,
        workshop=workshop,
        catalogue=Catalogue({"runs": runs}),
        microscope=ModelMicroscope(),
    )
    studio.accounts.add(BOSS, "admin", f"password of {BOSS}")  # alone on this machine: nobody signs in
    listening = bind("127.0.0.1", 0)
    app = create_studio(studio)
    config = uvicorn.Config(app, lifespan="on", log_level="warning", access_log=False)
    server = Server(config)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listening]),))
    thread.start()
    until(lambda: server.started)
    yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", studio, engines, app)
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()
    store.close()


def look_up(question: str) -> dict[str, object]:
    """Find sentences that answer a question."""
    return {"found": [{"quote": f"{question} {HOSTILE}", "place": "whales.md:3"}]}


def _voice(name: str, chat: ChatFormat, engine: Speaking, toolbox: Toolbox | None = None) -> Voice:
    sampling = SamplingConfig(max_new_tokens=900, temperature=0.5)
    served = Served(name=name, chat=chat, max_seq_len=2048, engine=engine, sampling=sampling, toolbox=toolbox)
    return Voice(digest=name[0] * 64, service=Service(served, Limits()))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; without one its tests are skipped.

    Playwright's event loop runs in this thread until it is left, so it must not last into other modules,
    whose tests have loops of their own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need Playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"browser tests need {CHROMIUM}, or another Chromium in the variable CHROMIUM")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(running: Running, chromium: Any) -> Iterator[Callable[..., Visitor]]:
    """Browsers of visitors; at the end no one has asked for anything elsewhere, and nothing went wrong."""
    visitors: list[Visitor] = []

    def open_one(language: str = "en-US", **how: Any) -> Visitor:
        context = chromium.new_context(locale=language, reduced_motion="reduce", **how)
        context.set_default_timeout(15_000)
        page = context.new_page()
        visitor = Visitor(context, page, running.address, [], [])
        page.on("request", lambda request: visitor.requests.append(request.url))
        page.on("pageerror", lambda error: visitor.faults.append(str(error)))
        page.on(
            "console",
            lambda line: line.type == "error" and visitor.faults.append(f"{line.text} {line.location}"),
        )
        page.on("dialog", lambda dialog: visitor.faults.append(f"a script ran: {dialog.message}"))
        visitors.append(visitor)
        return visitor

    before = {each.id for each in running.store.events(Task.kind)}
    yield open_one
    for task in running.store.events(Task.kind):
        if task.id not in before:  # the next test's tasks stand alone in the queue
            with suppress(FeedbackError):  # it was withdrawn by the test itself
                running.store.undo(task.person, task.id)
    for visitor in visitors:
        visitor.context.close()
        elsewhere = [
            url for url in visitor.requests if not url.startswith((running.address, "data:", "blob:"))
        ]
        assert not elsewhere
        assert not visitor.faults
