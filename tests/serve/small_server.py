"""A server in this process, and engines that say what they are told to say."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from fastapi import FastAPI

from danlu.generate.request import Engine, Event, Request, Token
from danlu.generate.sampling import SamplingConfig
from danlu.serve.api.service import Served
from danlu.tokenizer.chat import ChatFormat

BASE = "http://localhost"


def served(chat: ChatFormat, engine: Engine | None, **changes: Any) -> Served:
    defaults: dict[str, Any] = {"sampling": SamplingConfig(max_new_tokens=8), "max_seq_len": 256}
    return Served(name="tiny", chat=chat, engine=engine, **(defaults | changes))


@asynccontextmanager
async def client_of(app: FastAPI, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application that runs in this very event loop."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client,
    ):
        yield client


@dataclass
class Scripted:
    """Every request gets the same tokens, then ends by the last one, or goes on for ever.

    Args:
        ids: what is said, a token a step.
        endless: begin again after the last token.
        step_s: how long a step takes.
    """

    ids: Sequence[int]
    endless: bool = False
    step_s: float = 0.0
    max_seq_len: int = 256
    requests: list[Request] = field(default_factory=list)
    n_steps: int = 0
    said: dict[int, int] = field(default_factory=dict)  # tokens so far, of each that is unfinished

    @property
    def n_unfinished(self) -> int:
        return len(self.said)

    def add(self, request: Request) -> int:
        self.requests.append(request)
        self.said[len(self.requests)] = 0
        return len(self.requests)

    def cancel(self, request_id: int) -> None:
        self.said.pop(request_id, None)

    def step(self) -> list[Event]:
        time.sleep(self.step_s)
        self.n_steps += 1
        events: list[Event] = []
        for request_id, n in list(self.said.items()):
            last = not self.endless and n + 1 == len(self.ids)
            i = self.ids[n % len(self.ids)]
            stop = i in self.requests[request_id - 1].stop_ids
            token = Token(id=i, logprob=-0.5, top=((i, -0.5),))
            reason = "stop" if stop else "length" if last else None
            events.append(Event(request_id=request_id, token=token, end_reason=reason))
            self.said[request_id] += 1
            if reason is not None:
                del self.said[request_id]
        return events


class Failing(Scripted):
    """Breaks at the first step."""

    def step(self) -> list[Event]:
        raise RuntimeError("out of order")
