"""What is sent is there at once: the socket waits for nothing, and the engine for the first token."""

from __future__ import annotations

import asyncio
import socket

import pytest
from small_server import Scripted

from danlu.generate.request import Event, Request
from danlu.generate.sampling import SamplingConfig
from danlu.serve.api import engine_thread
from danlu.serve.api.engine_thread import EngineThread
from danlu.serve.api.server import bind

GREETING = Request(prompt_ids=(1, 2), sampling=SamplingConfig(max_new_tokens=4, temperature=0))


def test_a_connection_sends_small_pieces_without_waiting_for_the_clients_acknowledgement() -> None:
    with bind("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("n_requests", [1, 3])
def test_the_engine_goes_on_when_the_first_token_has_been_read(
    n_requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_thread, "SENT_WITHIN_S", 60.0)
    engine = Noting([5, 6, 7, 8])

    async def read() -> list[tuple[int, Event]]:
        thread = EngineThread(engine)
        thread.start()
        try:
            stream = await thread.open([GREETING] * n_requests)
            heard: list[tuple[int, Event]] = []
            async for each in stream:
                heard.append(each)
                engine.n_heard = len(heard)
            return heard
        finally:
            await thread.end()

    heard = asyncio.run(read())
    assert [event.token.id for place, event in heard if place == 0 and event.token] == [5, 6, 7, 8]
    assert engine.heard_before_step[:2] == [0, n_requests]


def test_a_loop_that_is_busy_does_not_hold_the_engine_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_thread, "SENT_WITHIN_S", 0.001)
    engine = Noting([5, 6, 7, 8])

    async def read() -> None:
        thread = EngineThread(engine)
        thread.start()
        try:
            stream = await thread.open([GREETING])
            while engine.n_unfinished:
                pass  # the loop does something else all the while
            assert [event.token.id async for _, event in stream if event.token] == [5, 6, 7, 8]
        finally:
            await thread.end()

    asyncio.run(read())


class Noting(Scripted):
    """Notes before each step how many events its caller has read."""

    n_heard = 0

    def __init__(self, ids: list[int]) -> None:
        super().__init__(ids)
        self.heard_before_step: list[int] = []

    def step(self) -> list[Event]:
        self.heard_before_step.append(self.n_heard)
        return super().step()
