"""A request's body, read within limits and as strict JSON: no NaN, no name twice, no bottomless nesting."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from danlu.serve.api.errors import ApiError
from danlu.serve.api.limits import Limits

DROPPED = 32  # times as much as is taken is read before a sender is cut off
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class StrictRequest(Request):
    """A request that refuses a body which is too large, too slow or no plain JSON."""

    @property
    def limits(self) -> Limits:
        return self.app.state.limits

    async def body(self) -> bytes:
        """The whole body."""
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(self.limits.body_s):
                    self._body = await self._read()
            except TimeoutError:
                raise ApiError(408, f"the body did not come within {self.limits.body_s:g} seconds") from None
            except ClientDisconnect:
                raise ApiError(408, "the client left before the body had come") from None
            if self._body:
                self._check_type()
        return self._body

    async def json(self) -> Any:
        """The body's tree of plain values."""
        return parse(await self.body(), self.limits.body_depth)

    async def _read(self) -> bytes:
        """The body. The rest of one that is too large is read and dropped, or its sender would see a broken
        connection in place of the refusal."""
        most, chunks, size = self.limits.body_bytes, list[bytes](), 0
        told = self.headers.get("content-length", "")
        if told.isdecimal() and int(told[:20]) > DROPPED * most:
            raise _too_large(most)
        async for chunk in self.stream():
            size += len(chunk)
            if size > DROPPED * most:
                raise _too_large(most)
            if size > most:
                chunks.clear()
            else:
                chunks.append(chunk)
        if size > most:
            raise _too_large(most)
        return b"".join(chunks)

    def _check_type(self) -> None:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, "the body must be JSON, with the header Content-Type: application/json")


class StrictRoute(APIRoute):
    """A route whose body is read so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def parse(raw: bytes, most_deep: int) -> Any:
    """Strict JSON.

    Raises:
        ApiError: it is none, or nested deeper than `most_deep`.
    """
    try:
        tree = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_number,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as error:
        raise ApiError(400, f"the body is not UTF-8 at byte {error.start}", code="invalid_json") from None
    except RecursionError:
        raise _too_deep(most_deep) from None
    except ValueError as error:
        raise ApiError(400, f"the body is no JSON: {error}", code="invalid_json") from None
    if depth(tree) > most_deep:
        raise _too_deep(most_deep)
    if SURROGATE.search(raw):
        _check_text(tree)
    return tree


def depth(tree: Any) -> int:
    """Levels of objects and lists within each other; 0 for a plain value."""
    levels, level = 0, [tree]
    while level := [each for each in level if isinstance(each, dict | list)]:
        levels += 1
        level = [inner for each in level for inner in _members(each)]
    return levels


def _check_text(tree: Any) -> None:
    """Half a surrogate pair can be written in JSON, but it is no text and nothing can encode it."""
    try:
        json.dumps(tree, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ApiError(
            400, "the body holds half a surrogate pair; it is no text", code="invalid_json"
        ) from None


def _members(each: Any) -> list[Any]:
    return list(cast(dict[str, Any], each).values()) if isinstance(each, dict) else cast(list[Any], each)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _number(text: str) -> float | int:
    """1.0 is an integer in JSON Schema, so it is one here."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body has more than {most:,} bytes; send less at a time", code="body_too_large")


def _too_deep(most: int) -> ApiError:
    return ApiError(400, f"the body is nested deeper than {most} levels", code="invalid_json")
