"""Server-sent events: a chunk a line, until the end, an error, or the client's leaving."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from danlu.serve.api.errors import ApiError, problem
from danlu.serve.api.service import Service, unless_gone

DONE = b"data: [DONE]\n\n"
STREAMED = {"text/event-stream": {"schema": {"type": "string"}}}  # with stream=true, a chunk a line


class EventStream(Response):
    """Sends chunks as they come.

    Args:
        chunks: JSON objects.
        held: what is let go at the end, however it comes; the client's leaving is one.
    """

    media_type = "text/event-stream"

    def __init__(
        self, service: Service, chunks: AsyncIterator[Mapping[str, Any]], held: AsyncExitStack
    ) -> None:
        self.status_code, self.background = 200, None
        self._service, self._chunks, self._held = service, chunks, held
        # Proxies must hand on each chunk at once.
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            try:
                await unless_gone(receive, self._write(send))
            except ClientDisconnect:
                self._service.metrics.left.inc()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for line in self._lines():
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _lines(self) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(self._service.limits.wall_s):
                async for chunk in self._chunks:
                    yield _line(chunk)
        except (HTTPException, TimeoutError) as error:
            told = error if isinstance(error, HTTPException) else too_slow(self._service)
            yield _line(problem(told.status_code, str(told.detail), code=getattr(told, "code", None)))
            return
        yield DONE


def too_slow(service: Service) -> ApiError:
    """A request has taken all its time."""
    return service.busy(503, f"not finished after {service.limits.wall_s:g} seconds; ask for less")


def _line(chunk: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
