"""What stands before every route: the name in Host, the caller's key and its scope."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from danlu.serve.api.errors import ApiError, respond
from danlu.serve.api.keys import ANYBODY, Caller, Keys
from danlu.serve.api.keys import Scope as KeyScope

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


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
    """

    keys: Keys | None
    hosts: Set[str]
    open_paths: Set[str]
    scopes: Mapping[str, KeyScope]

    def admit(self, path: str, headers: Headers) -> Caller:
        """Whoever sends this; ApiError if he may not."""
        host = _host_name(headers.getlist("host"))
        if host not in self.hosts:
            raise ApiError(421, "this server does not go by the name in Host; its owner adds it to `hosts`")
        if self.keys is None or path in self.open_paths:
            return ANYBODY
        caller = self.keys.caller(_bearer(headers))
        if caller is None:
            raise ApiError(401, "the key is not known", code="invalid_api_key")
        needed = self.scope_of(path)
        if needed not in caller.scopes:
            raise ApiError(403, f"this takes a key of scope {needed!r}", code="missing_scope")
        return caller

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
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        try:
            caller = self._door.admit(scope["path"], Headers(scope=scope))
        except ApiError as error:
            return await respond(error)(scope, receive, send)
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


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
