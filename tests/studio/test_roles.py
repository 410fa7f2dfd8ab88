"""Every route of the server, asked for by each role and by nobody: what is reachable is what the table says.

The routes come from the application itself, so a new one without a line in the table fails. The API, which
keys open, is asked for as it is on a network: as another application over the same service.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from small_studio import BOSS, Running
from test_entrance import SOCKET, ask

from danlu.feedback.accounts import Role
from danlu.serve.api.app import app_of
from danlu.serve.studio.pages import PAGES
from danlu.serve.studio.studio import AccountKeys

ROLES: Sequence[Role] = ("admin", "trainer", "annotator", "guest")
PEOPLE = {
    "role-admin": "admin",
    "role-trainer": "trainer",
    "role-annotator": "annotator",
    "role-guest": "guest",
}
ANYBODY = (*ROLES, "nobody")
TALKERS, JUDGES, TRAINERS, ADMINS = ROLES, ROLES[:3], ROLES[:2], ROLES[:1]

# Who is let in. A page sends nobody to sign in (303) and refuses a role (403).
PAGE_ROUTES: dict[tuple[str, str], Sequence[str]] = {
    ("GET", "/studio/chat"): TALKERS,
    ("GET", "/studio/compare"): JUDGES,
    ("GET", "/studio/rank"): JUDGES,
    ("GET", "/studio/demonstrate"): JUDGES,
    ("GET", "/studio/teach"): TRAINERS,
    ("GET", "/studio/runs"): TRAINERS,
    ("GET", "/studio/report"): TRAINERS,
    ("GET", "/studio/people"): ADMINS,
}
OPEN_ROUTES = {
    ("GET", "/"),
    ("GET", "/studio"),
    ("GET", "/studio/sign-in"),
    ("POST", "/studio/sign-in"),
    ("POST", "/studio/sign-out"),
    ("GET", "/studio/prefer"),
}
# What belongs to NiceGUI: scripts, styles, its socket (which does nothing for whoever was shown no page).
FRAMEWORK = ("/studio/static", "/studio/_nicegui", "/studio/favicon.ico")
# A key without the scope is refused (403), a caller without a key too (401).
API_ROUTES: dict[tuple[str, str], Sequence[str]] = {
    **dict.fromkeys([("GET", "/health"), ("GET", "/ready")], ANYBODY),
    ("GET", "/metrics"): ADMINS,
}
FOR_TALKERS = ("/v1", "/tokenize", "/detokenize", "/tokenizer_info", "/openapi.json")


def routes_of(routes: Sequence[Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route, those of mounted applications too; GET for what names no method."""
    for route in routes:
        path = before + str(getattr(route, "path", "")).rstrip("/")
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)  # included, mounted
        if getattr(route, "endpoint", None) is None and hasattr(inner, "routes"):
            yield from routes_of(inner.routes, path)
            continue
        methods = set(getattr(route, "methods", None) or {"GET"}) - {"HEAD", "OPTIONS"}
        yield from ((method, path or "/") for method in sorted(methods))


@pytest.fixture
def cookies(running: Running) -> Iterator[dict[str, str]]:
    """Somebody of each role, signed in; nobody's cookie is none."""
    accounts = running.studio.accounts
    known = {each.name for each in accounts.people()}
    found = {"nobody": ""}
    for name, role in PEOPLE.items():
        if name not in known:
            accounts.add(name, role, f"password of {name}")  # pyright: ignore[reportArgumentType]
        person = accounts.change(name, active=True)
        found[role] = "danlu_session=" + accounts.new_key(name, "browser", person.scopes, days=1)[0]
    yield found
    for name in PEOPLE:
        accounts.change(name, active=False)


def test_every_page_has_a_line_in_the_table():
    assert {("GET", f"/studio/{page.name}") for page in PAGES} <= PAGE_ROUTES.keys()


def test_every_route_has_a_line_in_the_table(running: Running):
    found = set(routes_of(running.app.routes))
    ours = {each for each in found if each[1].startswith("/studio") or each[1] == "/"}
    unknown = {
        each
        for each in ours
        if each not in PAGE_ROUTES.keys() | OPEN_ROUTES and not each[1].startswith(FRAMEWORK)
    }
    assert unknown == set()
    assert PAGE_ROUTES.keys() | OPEN_ROUTES <= found
    unknown_to_api = {
        (method, path)
        for method, path in found - ours
        if (method, path) not in API_ROUTES and not re.match(rf"({'|'.join(FOR_TALKERS)})(/|$)", path)
    }
    assert unknown_to_api == set()


@pytest.mark.parametrize(("method", "path"), PAGE_ROUTES)
def test_pages_open_to_the_roles_that_the_table_names(
    running: Running, cookies: dict[str, str], method: str, path: str
):
    for role in ANYBODY:
        status, headers, text = ask(running, path, method, Cookie=cookies[role])
        if role == "nobody":
            assert (status, headers["location"].partition("?")[0]) == (303, "/studio/sign-in"), role
        elif role in PAGE_ROUTES[method, path]:
            # There is no run whose report could be shown.
            assert status == (404 if path == "/studio/report" else 200), role
        else:
            assert status == 403, role
            assert "dl-answer" not in text


@pytest.mark.parametrize("role", ANYBODY)
def test_the_navigation_names_what_the_role_opens(running: Running, cookies: dict[str, str], role: str):
    _, _, text = ask(running, "/studio/chat", Cookie=cookies[role])
    named = {page.name for page in PAGES if f'"/studio/{page.name}"' in text or f'"/{page.name}"' in text}
    assert named == {path.rsplit("/", 1)[1] for (_, path), who in PAGE_ROUTES.items() if role in who} - {
        "report"
    }


@pytest.mark.parametrize("role", ANYBODY)
@pytest.mark.parametrize(("method", "path"), sorted(OPEN_ROUTES))
def test_the_entrance_is_open_and_gives_nothing_away(
    running: Running, cookies: dict[str, str], method: str, path: str, role: str
):
    if path == "/studio/sign-out":
        return  # it would end the session; tests of the entrance do it
    status, _, text = ask(running, path, method, Cookie=cookies[role])
    assert status in (200, 303, 307, 401)
    assert BOSS not in text


def test_a_page_that_nobody_was_shown_has_no_socket(running: Running, cookies: dict[str, str]):
    status, _, text = ask(running, f"{SOCKET}polling&client_id=none", Origin=running.address)
    assert status in (200, 400)
    assert BOSS not in text


def test_the_api_on_a_network_opens_to_the_roles_that_the_table_names(
    running: Running, cookies: dict[str, str]
):
    app = app_of(running.studio.voices[0].service, keys=AccountKeys(running.studio), pages="/studio")
    for method, path in sorted(set(routes_of(app.routes))):
        allowed = API_ROUTES.get((method, path), TALKERS)
        for role in ANYBODY:
            status = asyncio.run(status_of(app, method, path, cookies[role].partition("=")[2]))
            if role in allowed:
                assert status not in (401, 403), (method, path, role)
            else:
                assert status == (401 if role == "nobody" else 403), (method, path, role)


async def status_of(app: Any, method: str, path: str, key: str) -> int:
    """The status of an answer to an empty object, sent to the application itself."""
    sent: list[dict[str, Any]] = []
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"2")]
    if key:
        headers.append((b"authorization", f"Bearer {key}".encode()))
    path = re.sub(r"\{[^}]*\}", "x", path)
    scope = {
        **{"type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": b""},
        **{"query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 1)},
        **{"scheme": "http", "root_path": "", "asgi": {"version": "3.0"}},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return next(each["status"] for each in sent if each["type"] == "http.response.start")
