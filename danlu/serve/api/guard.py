"""What stands before every route: the name in Host, the caller's key and its scope."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from danlu.serve.api.errors import ApiError, respond
from danlu.serve.api.keys import ANYBODY, Caller, KeyRing
from danlu.serve.api.keys import Scope as KeyScope

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
VISITOR = Caller(name="page", scopes=frozenset())  # of a page, which has its own way of knowing people


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Who is let in.

    Args:
        keys: None asks for none, which is for a server that only its own machine can reach.
        hosts: names under which the server may be called; any other in Host is a page of another site that
            had its name point here (DNS rebinding).
        open_paths: routes without a key.
        scopes: what a key must have for a path, by the beginning of the path; a path that is not here wants
            `admin`.
        pages: beginning of the paths of pages, which find out themselves who is there; empty = none.
    """

    keys: KeyRing | None
    hosts: Set[str]
    open_paths: Set[str]
    scopes: Mapping[str, KeyScope]
    pages: str = ""

    def admit(self, path: str, headers: Headers) -> Caller:
        """Whoever sends this; ApiError if he may not."""
        host = _host_name(headers.getlist("host"))
        if host not in self.hosts:
            raise ApiError(421, "this server does not go by the name in Host; its owner adds it to `hosts`")
        if self.is_page(path):
            return VISITOR
        if self.keys is None or path in self.open_paths:
            return ANYBODY
        caller = self.keys.caller(_bearer(headers))
        if caller is None:
            raise ApiError(401, "the key is not known", code="invalid_api_key")
        needed = self.scope_of(path)
        if needed not in caller.scopes:
            raise ApiError(403, f"this takes a key of scope {needed!r}", code="missing_scope")
        return caller

    def admit_page(self, path: str, method: str, headers: Headers) -> None:
        """Refuse what another site sends to a page in the name of somebody who is signed in here."""
        origin, host = headers.getlist("origin"), headers.getlist("host")
        if self.is_page(path) and (origin or method == "WEBSOCKET") and not _same_site(origin, host):
            raise ApiError(403, "another site's page may send nothing here")

    def is_page(self, path: str) -> bool:
        """Whether a path belongs to the pages."""
        return bool(self.pages) and (path == self.pages or path.startswith(f"{self.pages}/"))

    def scope_of(self, path: str) -> KeyScope:
        """What a key must have for a path."""
        fitting = [known for known in self.scopes if path == known or path.startswith(f"{known}/")]
        return self.scopes[max(fitting, key=len)] if fitting else "admin"


class Guard:
    """Middleware: nothing behind it sees a request that `Door` does not admit."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        path, headers, socket = scope["path"], Headers(scope=scope), scope["type"] != "http"
        try:
            if socket and not self._door.is_page(path):
                raise ApiError(403, "only pages have sockets")
            caller = self._door.admit(path, headers)
            self._door.admit_page(path, "WEBSOCKET" if socket else scope["method"], headers)
        except ApiError as error:
            refuse = _close if socket else respond(error)
            return await refuse(scope, receive, send)
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


async def _close(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1008})


def _same_site(origin: list[str], host: list[str]) -> bool:
    """Whether a request comes from a page of the very server that it goes to."""
    return len(origin) == len(host) == 1 and urlsplit(origin[0]).netloc.lower() == host[0].lower()


def _host_name(values: list[str]) -> str:
    """The name in Host without its port; empty if there is none, or more than one."""
    found = (
        re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]*))(?::\d{1,5})?", values[0])
        if len(values) == 1
        else None
    )
    return (found[1] or found[2] or "").lower() if found else ""


def _bearer(headers: Headers) -> str:
    """The key in Authorization, the only header that is looked at."""
    values = headers.getlist("authorization")
    kind, _, key = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if kind.lower() != "bearer" or not key.strip():
        raise ApiError(401, "a key is needed: Authorization: Bearer KEY", code="invalid_api_key")
    return key.strip()
