"""The thread that owns the engine, and the streams through which coroutines hear from it.

The event loop never waits for the model, and the engine never sees two threads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal, TypeVarTuple

from danlu.generate.request import Engine, Event, Request

logger = logging.getLogger(__name__)
Order = tuple[Literal["add", "cancel", "end"], "Stream | Errand | None", int | None]
Ts = TypeVarTuple("Ts")
ENDED = "the server has ended"
SENT_WITHIN_S = 0.002  # a first token is, or the engine goes on


class RefusedRequestError(ValueError):
    """The engine cannot carry out a request; the text says why."""


class EngineStoppedError(RuntimeError):
    """The engine runs no more."""


@dataclass(frozen=True, slots=True)
class Errand:
    """Something else to do in the engine's thread, between two tokens."""

    do: Callable[[], None]
    accepted: asyncio.Future[None]


class Stream:
    """What becomes of a few requests: (which of them, its event), until each has had its last.

    It is left by `close`, which frees whatever is still unfinished within one token.
    """

    def __init__(self, owner: EngineThread, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.events: asyncio.Queue[tuple[int, Event] | Exception] = asyncio.Queue()
        self.ids: list[int] = []  # the engine's; the engine's thread alone reads and writes them
        self._owner, self._open = owner, set(range(len(requests)))

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        while self._open:
            found = await self.events.get()
            if isinstance(found, Exception):
                raise found
            index, event = found
            if index not in self._open:
                continue  # it came before the engine's thread heard that this one is stopped
            if event.end_reason is not None:
                self._open.discard(index)
            yield index, event

    def stop(self, index: int) -> None:
        """No more of one request: a stop string has ended it."""
        if index in self._open:
            self._open.discard(index)
            self._owner.cancel(self, index)

    def close(self) -> None:
        """Free what is unfinished; may be called again."""
        if self._open:
            self._open.clear()
            self._owner.cancel(self)


class EngineThread:
    """Runs an engine in a thread of its own, from `start` to `end`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._orders: SimpleQueue[Order] = SimpleQueue()
        self._streams: dict[int, tuple[Stream, int]] = {}  # by the engine's id
        self._silent: set[int] = set()  # those of which nothing has been heard yet
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure = ""

    @property
    def alive(self) -> bool:
        """Whether requests are carried out."""
        return self._thread is not None and self._thread.is_alive() and not self.failure

    def start(self) -> None:
        """Begin; called in the event loop that will open streams."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    async def end(self) -> None:
        """Stop at the next token, whatever runs."""
        if self._thread is not None:
            self._orders.put(("end", None, None))
            await asyncio.to_thread(self._thread.join)
            while not self._orders.empty():  # ordered while the thread was ending
                what, subject, _ = self._orders.get()
                if what == "add" and subject is not None:
                    _settle(subject.accepted, EngineStoppedError(ENDED))

    async def open(self, requests: Sequence[Request]) -> Stream:
        """Queue requests.

        Raises:
            RefusedRequestError: the engine cannot carry one of them out; none is queued.
            EngineStoppedError: it carries out nothing any more.
        """
        if not self.alive:
            raise EngineStoppedError(self.failure or ENDED)
        stream = Stream(self, requests)
        self._orders.put(("add", stream, None))
        try:
            await stream.accepted
        except BaseException:  # also where the caller is cancelled: nobody else would free these
            stream.close()
            raise
        return stream

    async def run(self, do: Callable[[], None]) -> None:
        """Have something done in the engine's thread, between two tokens.

        Raises:
            RefusedRequestError: it raised ValueError.
            EngineStoppedError: nothing is done any more.
        """
        if not self.alive:
            raise EngineStoppedError(self.failure or ENDED)
        errand = Errand(do, asyncio.get_running_loop().create_future())
        self._orders.put(("add", errand, None))
        await errand.accepted

    def cancel(self, stream: Stream, index: int | None = None) -> None:
        """Free a stream's requests, or one of them."""
        self._orders.put(("cancel", stream, index))

    def _run(self) -> None:
        try:
            while self._obey():
                self._tell([(*self._streams[e.request_id], e) for e in self._engine.step()])
        except Exception as error:  # the thread's end: whoever waits must hear of any failure
            logger.exception("the engine has failed")
            self.failure = f"the engine has failed: {type(error).__name__}"
            self._post(self._break, [stream for stream, _ in self._streams.values()])
            self._refuse_the_rest()

    def _obey(self) -> bool:
        """Carry out what has been ordered; wait for an order where there is nothing to do."""
        while True:
            try:
                what, subject, index = self._orders.get(block=not self._engine.n_unfinished)
            except Empty:
                return True
            if what == "end":
                self._post(self._break, [stream for stream, _ in self._streams.values()])
                return False
            assert subject is not None
            if isinstance(subject, Errand):
                self._carry_out(subject)
            elif what == "add":
                self._add(subject)
            else:
                self._drop(subject, index)

    def _carry_out(self, errand: Errand) -> None:
        try:
            errand.do()
        except ValueError as error:
            self._post(_settle, errand.accepted, RefusedRequestError(str(error)))
            return
        self._post(_settle, errand.accepted, None)

    def _add(self, stream: Stream) -> None:
        try:
            for request in stream.requests:
                stream.ids.append(self._engine.add(request))
        except ValueError as error:
            for request_id in stream.ids:
                self._engine.cancel(request_id)
            stream.ids.clear()
            self._post(_settle, stream.accepted, RefusedRequestError(str(error)))
            return
        for index, request_id in enumerate(stream.ids):
            self._streams[request_id] = (stream, index)
        self._silent.update(stream.ids)
        self._post(_settle, stream.accepted, None)

    def _drop(self, stream: Stream, index: int | None) -> None:
        for request_id in stream.ids if index is None else stream.ids[index : index + 1]:
            if self._streams.pop(request_id, None) is not None:
                self._silent.discard(request_id)
                self._engine.cancel(request_id)

    def _tell(self, told: list[tuple[Stream, int, Event]]) -> None:
        for _, _, event in told:
            if event.end_reason is not None:
                del self._streams[event.request_id]
        if not told:
            return
        self._post(_deliver, told)
        heard = self._silent.intersection(event.request_id for _, _, event in told)
        if heard:
            self._silent -= heard
            self._wait_until_sent()

    def _wait_until_sent(self) -> None:
        """Leave the processors alone until the event loop has sent what was just delivered.

        The decoder takes every processor, so that loop and client would get one some tokens later only.
        """
        assert self._loop is not None
        sent = threading.Event()
        # Deliveries wake their coroutines in the loop's next round; this comes behind them.
        self._post(self._loop.call_soon, sent.set)
        sent.wait(SENT_WITHIN_S)

    def _refuse_the_rest(self) -> None:
        """Answer, until the end is ordered, whoever asked before the failure was known."""
        while (order := self._orders.get())[0] != "end":
            if order[0] == "add" and order[1] is not None:
                self._post(_settle, order[1].accepted, EngineStoppedError(self.failure))

    def _break(self, streams: list[Stream]) -> None:
        for stream in streams:
            stream.events.put_nowait(EngineStoppedError(self.failure or ENDED))

    def _post(self, function: Callable[[*Ts], object], *arguments: *Ts) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function, *arguments)


def _settle(accepted: asyncio.Future[None], error: Exception | None) -> None:
    if accepted.cancelled():
        return
    if error is None:
        accepted.set_result(None)
    else:
        accepted.set_exception(error)


def _deliver(told: list[tuple[Stream, int, Event]]) -> None:
    for stream, index, event in told:
        stream.events.put_nowait((index, event))
