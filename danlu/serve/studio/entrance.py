"""Signing in and out, language and theme: what takes a cookie, and so a request of its own.

A session is a key of the account that ends by itself. So it survives a restart, can be revoked like any other
key, and opens no more than its owner's role does today.
"""

from __future__ import annotations

import asyncio
from html import escape
from time import monotonic
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from danlu.feedback.errors import FeedbackError
from danlu.serve.api.errors import ApiError
from danlu.serve.studio.address import PREFER, ROOT, SIGN_IN, SIGN_OUT, STATIC, is_page, versioned
from danlu.serve.studio.phrases import LANGUAGES, NAMES, TAGS, Language, phrase
from danlu.serve.studio.studio import Studio
from danlu.serve.studio.visit import LANGUAGE, SESSION, THEME, language_of

DAYS = 30  # that a session lasts
YEAR_S = 365 * 24 * 3600
BODY_BYTES = 4096
HELD_BACK_S = 2.0  # between tries for one name, after the first few
FREE_TRIES = 5
LABEL = "browser"


class Tries:
    """How often somebody has tried in vain, by name; a right password clears it."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[int, float]] = {}

    def wait_s(self, name: str) -> float:
        """How long it takes until this name may be tried again."""
        n, last = self._failed.get(name, (0, 0.0))
        return (
            max(0.0, last + HELD_BACK_S * 2 ** min(n - FREE_TRIES, 8) - monotonic())
            if n >= FREE_TRIES
            else 0.0
        )

    def count(self, name: str, *, right: bool) -> None:
        """Take note of a try."""
        n, _ = self._failed.pop(name, (0, 0.0))
        if not right:
            self._failed[name] = (n + 1, monotonic())
        while len(self._failed) > 10_000:  # names that nobody has: the oldest go
            del self._failed[next(iter(self._failed))]


def entrance_routes(studio: Studio) -> APIRouter:
    """The routes."""
    router, entrance = APIRouter(), Entrance(studio)
    for path, method, answer in (
        ("/", "GET", first_page),
        (ROOT, "GET", first_page),
        (SIGN_IN, "GET", entrance.form),
        (SIGN_IN, "POST", entrance.sign_in),
        (SIGN_OUT, "POST", entrance.sign_out),
        (PREFER, "GET", prefer),
    ):
        router.add_api_route(path, answer, methods=[method])
    return router


async def first_page() -> Response:
    """Wherever one arrives, one begins here."""
    return RedirectResponse(f"{ROOT}/chat", 307)


async def prefer(request: Request) -> Response:
    """Take note of a language or a theme."""
    asked = request.query_params
    response = RedirectResponse(_back(asked.get("back", "")), 303)
    for name, cookie, allowed in (("language", LANGUAGE, LANGUAGES), ("theme", THEME, ("light", "dark"))):
        if asked.get(name) in allowed:
            _keep(request, response, cookie, asked[name], YEAR_S)
    return response


class Entrance:
    """Where sessions begin and end."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._tries = studio, Tries()
        self._one_at_a_time = asyncio.Lock()  # each try takes 16 MiB and a tenth of a second

    async def form(self, request: Request) -> Response:
        """The page with name and password."""
        back = _back(request.query_params.get("back", ""))
        if await asyncio.to_thread(lambda: self._studio.asks_for_sign_in):
            return _form(request, back)
        return RedirectResponse(back, 303)

    async def sign_in(self, request: Request) -> Response:
        """Begin a session."""
        fields = await _fields(request)
        name, back = fields.get("name", "")[:200], _back(fields.get("back", ""))
        if wait_s := self._tries.wait_s(name):
            return _form(request, back, "sign_in.later", 429, seconds=round(wait_s) + 1)
        async with self._one_at_a_time:
            secret = await asyncio.to_thread(self._session, name, fields.get("password", ""))
        self._tries.count(name, right=bool(secret))
        if not secret:
            return _form(request, back, "sign_in.wrong", 401)
        response = RedirectResponse(back, 303)
        _keep(request, response, SESSION, secret, DAYS * 24 * 3600, script=False)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session, also for whoever has copied its cookie."""
        await asyncio.to_thread(self._studio.accounts.forget, request.cookies.get(SESSION, ""))
        response = RedirectResponse(SIGN_IN, 303)
        response.delete_cookie(SESSION, path="/")
        return response

    def _session(self, name: str, password: str) -> str:
        """The secret of a new session; empty if nobody has this name and password."""
        accounts = self._studio.accounts
        try:
            person = accounts.sign_in(name, password)
        except FeedbackError:  # what is no name
            return ""
        return "" if person is None else accounts.new_key(person.name, LABEL, person.scopes, days=DAYS)[0]


def sign_in_address(back: str) -> str:
    """Where one signs in, to come back afterwards."""
    return f"{SIGN_IN}?{urlencode({'back': back})}"


def _back(address: str) -> str:
    return address if is_page(address) else ROOT


async def _fields(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise ApiError(413, "the form is too large")
    found = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in found.items()}


def _keep(
    request: Request, response: Response, name: str, value: str, seconds: int, *, script: bool = True
) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(
        name, value, max_age=seconds, path="/", httponly=not script, secure=secure, samesite="lax"
    )


def _form(request: Request, back: str, fault: str = "", status: int = 200, **values: object) -> Response:
    """A page without any script."""
    language = language_of(request.cookies.get(LANGUAGE, ""), request.headers.get("accept-language", ""))

    def say(key: str, **values: object) -> str:
        return escape(phrase(language, key, **values))

    alert = f'<p class="dl-alert" role="alert">{say(fault, **values)}</p>' if fault else ""
    theme = {"light": "body--light", "dark": "body--dark"}.get(request.cookies.get(THEME, ""), "")
    page = f"""<!doctype html>
<html lang="{TAGS[language]}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{say("sign_in.title")} · {say("frame.brand")}</title>
<link rel="icon" href="{STATIC}/mark.svg"><link rel="stylesheet" href="{versioned("studio.css")}"></head>
<body class="dl-entrance {theme}"><main>
<img src="{STATIC}/mark.svg" alt="" width="48" height="48"><h1>{say("sign_in.title")}</h1>{alert}
<form method="post" action="{SIGN_IN}"><input type="hidden" name="back" value="{escape(back)}">
<label>{say("sign_in.name")}<input name="name" autocomplete="username" required autofocus></label>
<label>{say("sign_in.password")}<input name="password" type="password" autocomplete="current-password"
required></label><button>{say("sign_in.do")}</button></form>
<p>{_languages(language, back)}</p></main></body></html>"""
    return HTMLResponse(page, status, {"Cache-Control": "no-store"})


def _languages(here: Language, back: str) -> str:
    links: list[str] = []
    for language in LANGUAGES:
        if language != here:
            address = f"{PREFER}?{urlencode({'language': language, 'back': sign_in_address(back)})}"
            links.append(f'<a lang="{TAGS[language]}" href="{escape(address)}">{NAMES[language]}</a>')
    return " · ".join(links)
