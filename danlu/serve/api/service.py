"""What the routes share: the model, the engine's thread, the limits, and who may start what right now."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive
from torch import Tensor

from danlu.dialogue.tool_loop import LoopLimits
from danlu.generate.request import Engine, Request, TokenFilter
from danlu.generate.sampling import SamplingConfig
from danlu.serve.api.engine_thread import EngineStoppedError, EngineThread, RefusedRequestError, Stream
from danlu.serve.api.errors import ApiError
from danlu.serve.api.keys import Caller
from danlu.serve.api.limits import Limits
from danlu.serve.api.metrics import Metrics
from danlu.serve.api.vocabulary import Vocabulary
from danlu.tokenizer.interface import AnyChatFormat
from danlu.tools.protocol import Toolbox

T = TypeVar("T")
Vectors = Callable[[Sequence[Sequence[int]]], list[list[float]]]
Scores = Callable[[Sequence[Sequence[int]]], list[float]]
See = Callable[[Sequence[str]], Tensor | None]
Grammar = Callable[[Mapping[str, Any]], TokenFilter]


class Shelf(Protocol):
    """A folder of adapters, and the engine that they go into.

    `read` may take its time in any thread; what it returns, and `drop`, belong to the engine's own.
    """

    def names(self) -> list[str]:
        """Directories that hold an adapter."""
        ...

    def read(self, directory: str) -> Callable[[str], None]:
        """An adapter's file, as what loads it under a name; ValueError or OSError says what is wrong."""
        ...

    def drop(self, name: str) -> None:
        """Have the engine forget an adapter; ValueError while a request runs on it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Translating:
    """What a model that translates adds: prompts are sources, completions their translations."""

    directions: Sequence[str]  # such as "en-zh"
    read: Callable[[str, str | None], list[int]]
    """Ids of a text as the encoder reads it, and the language wanted, if told; ValueError if it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a server offers; what is None it answers with 404."""

    name: str
    chat: AnyChatFormat
    max_seq_len: int
    engine: Engine | None = None
    adapters: Sequence[str] = ()  # that the engine knows at first; each is a model of its own to the client
    shelf: Shelf | None = None  # where more come from while it runs
    sampling: SamplingConfig = field(default_factory=SamplingConfig)  # where a request does not say
    grammar: Grammar | None = None  # from a JSON schema to what it admits; one filter a completion
    embed: Vectors | None = None  # a vector for each sequence of ids
    see: See | None = None  # pictures from data URLs, as the engine takes them; ValueError if one is none
    translating: Translating | None = None  # of a model that translates, and does nothing else
    score: Scores | None = None  # a reward model's score for each sequence of ids
    toolbox: Toolbox | None = None  # tools that requests may have run here
    loop: LoopLimits = field(default_factory=LoopLimits)


class Service:
    """One running server."""

    def __init__(self, served: Served, limits: Limits) -> None:
        self.served, self.limits = served, limits
        self.chat, self.tokenizer = served.chat, served.chat.tokenizer
        self.vocabulary = Vocabulary(self.tokenizer)
        self.metrics = Metrics()
        self.created = int(time.time())
        self.draining = False
        self._engine = None if served.engine is None else EngineThread(served.engine)
        self._n_requests: Counter[str] = Counter()
        self._n_sequences = 0
        self.adapters = [*served.adapters]
        self._model_lock, self._shelf_lock = asyncio.Lock(), asyncio.Lock()
        self._grammar_lock = threading.Lock()

    @property
    def state(self) -> str:
        """`ready`, or why not."""
        if self.draining:
            return "draining"
        if self._engine is None or self._engine.alive:
            return "ready"
        return "failed" if self._engine.failure else "starting"

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The engine's thread lives as long as this."""
        if self._engine is not None:
            self._engine.start()
        try:
            yield
        finally:
            self.draining = True
            if self._engine is not None:
                await self._engine.end()

    @property
    def models(self) -> list[str]:
        """Names that a request's `model` may have."""
        return [self.served.name, *self.adapters]

    def check_model(self, name: str) -> str | None:
        """The adapter that a model's name stands for; None is the model itself."""
        if name not in self.models:
            raise ApiError(
                404,
                f"there is no such model; models are: {', '.join(self.models)}",
                code="model_not_found",
                param="model",
            )
        return None if name == self.served.name else name

    @property
    def _shelf(self) -> Shelf:
        if self.served.shelf is None:
            raise self.absent("loads no adapters; it is started with adapter_folder=DIR for that")
        return self.served.shelf

    async def shelved(self) -> list[str]:
        """Directories of the folder that hold an adapter; none where the server has no folder."""
        try:
            return [] if self.served.shelf is None else await asyncio.to_thread(self.served.shelf.names)
        except OSError as error:  # its path is nobody's business
            raise ApiError(409, f"the folder of adapters cannot be read: {error.strerror}") from None

    async def load_adapter(self, name: str, directory: str) -> None:
        """Let requests ask for an adapter of the folder."""
        shelf = self._shelf
        async with self._shelf_lock:
            if name in self.models:
                raise ApiError(409, "a model of that name is here; unload it first", param="name")
            if len(self.adapters) >= self.limits.adapters:
                raise ApiError(
                    409, f"{len(self.adapters)} adapters are loaded, which is the most; unload one"
                )
            if directory not in await self.shelved():
                raise ApiError(404, "the folder of adapters has no such directory", param="directory")
            try:
                bring = await asyncio.to_thread(shelf.read, directory)
            except (ValueError, OSError) as error:
                raise ApiError(400, f"the adapter cannot be used: {error}", param="directory") from None
            await self._in_engine(lambda: bring(name))
            self.adapters.append(name)

    async def unload_adapter(self, name: str) -> None:
        """Let no request ask for an adapter any more."""
        shelf = self._shelf
        async with self._shelf_lock:
            if name not in self.adapters:
                raise ApiError(404, "there is no such adapter", param="name")
            self.adapters.remove(name)  # first, so that no request comes between
            try:
                await self._in_engine(lambda: shelf.drop(name))
            except ApiError:
                self.adapters.append(name)
                raise

    async def _in_engine(self, errand: Callable[[], None]) -> None:
        assert self._engine is not None, "a shelf belongs to an engine"
        try:
            await self._engine.run(errand)
        except RefusedRequestError as error:
            raise ApiError(409, str(error), retry_after_s=self.limits.retry_after_s) from None
        except EngineStoppedError as error:
            raise self.busy(503, str(error)) from None

    def filter_of(self, schema: Mapping[str, Any]) -> TokenFilter:
        """A filter that admits what a JSON schema does; ValueError if it is none.

        Requests are prepared in several threads, and a grammar's cache knows of one.
        """
        assert self.served.grammar is not None, "the caller has looked"
        with self._grammar_lock:
            return self.served.grammar(schema)

    @asynccontextmanager
    async def under_way(self, caller: Caller, requests: Sequence[Request]) -> AsyncGenerator[Stream]:
        """The requests' events; whatever is unfinished at the end is freed."""
        engine = self._engine
        if engine is None:
            raise self.absent("completes nothing, for it holds no language model")
        with self.admitted(caller, len(requests)):
            try:
                stream = await engine.open(requests)
            except RefusedRequestError as error:
                raise ApiError(400, str(error)) from None
            except EngineStoppedError as error:
                raise self.busy(503, str(error)) from None
            try:
                yield stream
            finally:
                stream.close()

    @contextmanager
    def admitted(self, caller: Caller, n_sequences: int) -> Generator[None]:
        """A place among what runs at a time; ApiError if there is none."""
        if self._n_requests[caller.name] >= self.limits.requests_per_key:
            raise self.busy(429, f"at most {self.limits.requests_per_key} requests of a key run at a time")
        if self._n_sequences + n_sequences > self.limits.sequences:
            raise self.busy(503, f"at most {self.limits.sequences} completions wait or run at a time")
        self._n_requests[caller.name] += 1
        self._count(n_sequences)
        try:
            yield
        finally:
            self._n_requests[caller.name] -= 1
            self._count(-n_sequences)

    async def compute(self, caller: Caller, function: Callable[[], T]) -> T:
        """The value of a function that runs a model, one at a time and beside the event loop."""
        with self.admitted(caller, 1):
            async with self._model_lock:
                return await asyncio.to_thread(function)

    def busy(self, status: int, message: str) -> ApiError:
        """Not now, but perhaps later."""
        return ApiError(status, message, code="overloaded", retry_after_s=self.limits.retry_after_s)

    def absent(self, what: str) -> ApiError:
        """Something that this server does not offer."""
        return ApiError(404, f"this server {what}", code="not_available")

    def _count(self, n_sequences: int) -> None:
        self._n_sequences += n_sequences
        self.metrics.unfinished.set(self._n_sequences)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled as soon as the client has left.

    Raises:
        ClientDisconnect: it has.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
