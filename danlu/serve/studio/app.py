"""The pages put on the application of the API."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Set
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from nicegui import Client, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from danlu.serve.api.app import app_of
from danlu.serve.api.guard import LOOPBACK
from danlu.serve.studio.address import FILES, ROOT, STATIC
from danlu.serve.studio.entrance import entrance_routes, sign_in_address
from danlu.serve.studio.frame import open_frame
from danlu.serve.studio.pages import PAGES, Page
from danlu.serve.studio.report_route import report_routes
from danlu.serve.studio.shield import Shield
from danlu.serve.studio.studio import AccountKeys, Studio
from danlu.serve.studio.visit import LANGUAGE, SESSION, THEME, Visit, language_of

FAVICON = Path(FILES / "mark.svg")


def create_studio(studio: Studio, *, hosts: Set[str] = LOOPBACK) -> FastAPI:
    """The API over the first model, and the pages over all; one a process.

    Args:
        hosts: names by which browsers may call the server, without port.
    """
    keys = None if studio.local else AccountKeys(studio)
    app = app_of(studio.voices[0].service, keys=keys, hosts=hosts, pages=ROOT)
    app.mount(STATIC, StaticFiles(directory=FILES))
    app.include_router(entrance_routes(studio), include_in_schema=False)
    app.include_router(report_routes(studio), include_in_schema=False)
    for page in PAGES:
        _register(studio, page)
    ui.run_with(
        app,
        title="Danlu",
        favicon=FAVICON,
        mount_path=ROOT,
        tailwind=False,
        reconnect_timeout=20.0,
        show_welcome_message=False,
        gzip_middleware_factory=None,  # the pages hold secrets beside what others wrote (BREACH)
    )
    app.add_middleware(Shield)
    _run_voices(app, studio)
    return app


def _run_voices(app: FastAPI, studio: Studio) -> None:
    """The first model runs with the API; the others live as long."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as held:
            with warnings.catch_warnings():
                # NiceGUI looks at every object of the process, and some of torch's complain of it.
                warnings.simplefilter("ignore", FutureWarning)
                await held.enter_async_context(inner(app))
            for voice in studio.voices[1:]:
                await held.enter_async_context(voice.service.running())
            await held.enter_async_context(studio.adopted)
            held.push_async_callback(studio.replies.end)
            held.push_async_callback(studio.tasks.end)
            yield

    app.router.lifespan_context = lifespan


def _register(studio: Studio, page: Page) -> None:
    @ui.page(f"/{page.name}", response_timeout=30.0)
    async def show(request: Request, client: Client) -> Response | None:
        address = f"{ROOT}/{page.name}" + (f"?{request.url.query}" if request.url.query else "")
        visit = visit_of(studio, request)
        if visit is None:
            return RedirectResponse(sign_in_address(address), 303)
        pages = [each for each in PAGES if visit.may(each.scope)]
        content = open_frame(visit, page, pages, address)
        with content:
            if page not in pages:
                client.status_code = 403
                ui.label(visit.say("refused.page", role=visit.say(f"role.{visit.person.role}")))
                return None
            await page.build(visit)
        return None


def visit_of(studio: Studio, request: Request) -> Visit | None:
    """Who asks for a page, and how they like it; None must sign in first."""
    secret = request.cookies.get(SESSION, "")
    person = studio.visitor(secret)
    if person is None:
        return None
    cookie, accepted = request.cookies.get(LANGUAGE, ""), request.headers.get("accept-language", "")
    return Visit(
        studio=studio,
        person=person,
        secret=secret,
        language=language_of(cookie, accepted),
        dark={"light": False, "dark": True}.get(request.cookies.get(THEME, "")),
        query=dict(request.query_params),
    )
