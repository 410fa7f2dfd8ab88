"""A model behind HTTP, in the shape of OpenAI's API: asked several questions at a time, and patiently.

What cannot be used of an answer is a reply with a fault. What keeps the endpoint from answering at all is
waited out as long as it may pass (429, 5xx, a broken connection), and else ends the run.
"""

from __future__ import annotations

import ipaddress
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from queue import Empty, SimpleQueue
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from danlu.config import ConfigError
from danlu.instruct.asking import Question, Reply
from danlu.instruct.records import InstructError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
MAX_BYTES = 8 << 20  # of one answer
PASSING = frozenset({408, 409, 425, 429})  # refusals that may pass, besides 5xx
SHOWN = 200  # characters of a refusal that an error repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a model is asked by HTTP."""

    url: str | None = None  # such as http://127.0.0.1:8000/v1, without chat/completions
    model: str = ""  # the name under which it is asked for
    remote: bool = False  # allow another machine; seeds and all that is made of them are sent there
    key_from: str = ""  # environment variable that holds the key; without it none is sent
    timeout_s: float = 120.0  # for an answer
    attempts: int = 6  # at the same question, with longer and longer pauses
    at_once: int = 4  # questions on their way at the same time

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.attempts < 1 or self.at_once < 1:
            raise ConfigError("timeout_s must be above 0, attempts and at_once at least 1")
        if self.url is not None:
            self._check(self.url)

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"url is {url!r}; it must begin with http:// or https:// and name a machine")
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                "url holds a name, a password or a query; a key belongs in the variable key_from"
            )
        if not self.model:
            raise ConfigError("model is empty; name the model to ask for, as the endpoint calls it")
        if not is_loopback(parts.hostname) and not self.remote:
            raise ConfigError(
                f"url is on {parts.hostname}, another machine: seeds and all that is made of them would be "
                "sent there. Add endpoint.remote=true to allow it"
            )
        if self.key_from and parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ConfigError("url begins with http://, and a key would travel in the clear; use https://")

    @property
    def key(self) -> str:
        """The key, from the environment; it is never written anywhere."""
        if not self.key_from:
            return ""
        if not (key := os.environ.get(self.key_from, "").strip()):
            raise ConfigError(f"endpoint.key_from is {self.key_from}, but that variable is not set")
        return key


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Client:
    """Asks an endpoint.

    Args:
        endpoint: where.
        sampling: fields of every request: max_tokens, temperature, top_p.
        seed: with the key of a question it gives the seed that is sent.
    """

    def __init__(self, endpoint: Endpoint, sampling: dict[str, Any], seed: int) -> None:
        self.endpoint, self.sampling, self.seed = endpoint, sampling, seed
        self._key = endpoint.key
        self._opener = _opener(endpoint)
        self._not_before = 0.0  # by the monotonic clock: a limit of the endpoint's holds for all questions

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Reply]]:
        """Replies as they come; the first question that cannot be asked ends it with an error."""
        waiting: SimpleQueue[tuple[int, Question]] = SimpleQueue()
        done: SimpleQueue[tuple[int, Reply | InstructError]] = SimpleQueue()
        for each in enumerate(questions):
            waiting.put(each)
        ended = threading.Event()
        for _ in range(min(self.endpoint.at_once, len(questions))):
            # Daemons, so that nobody who interrupts a run waits for an answer.
            threading.Thread(target=self._work, args=(waiting, done, ended), daemon=True).start()
        try:
            for _ in questions:
                number, reply = done.get()
                if isinstance(reply, InstructError):
                    raise reply
                yield number, reply
        finally:
            ended.set()

    def _work(
        self,
        waiting: SimpleQueue[tuple[int, Question]],
        done: SimpleQueue[tuple[int, Reply | InstructError]],
        ended: threading.Event,
    ) -> None:
        while not ended.is_set():
            try:
                number, question = waiting.get_nowait()
            except Empty:
                return
            try:
                done.put((number, self._ask(question, ended)))
            except InstructError as error:
                done.put((number, error))

    def _ask(self, question: Question, ended: threading.Event) -> Reply:
        request, said = self._request(question), ""
        for attempt in range(self.endpoint.attempts):
            ended.wait(max(0.0, self._not_before - time.monotonic()))
            try:
                return read_reply(self._answer(request), question.plain)
            except HTTPError as error:
                said, wait = self._refused(error)
            except (OSError, HTTPException) as error:
                said, wait = f"{type(error).__name__}: {error}", None
            pause = min(FIRST_PAUSE_S * 2**attempt if wait is None else wait, LONGEST_PAUSE_S)
            self._not_before = max(self._not_before, time.monotonic() + pause)
        raise InstructError(
            f"{self.endpoint.url} gave no answer in {self.endpoint.attempts} attempts; at last {said}. "
            "What was answered before is kept, and the same command goes on"
        )

    def _refused(self, error: HTTPError) -> tuple[str, float | None]:
        """What a refusal says and how long it asks to wait; one that will not pass ends the run."""
        with error:
            said = self._shown(error)
        if not (error.code in PASSING or error.code >= 500):
            raise InstructError(f"{self.endpoint.url} refuses: {said}")
        return said, asked_to_wait(error.headers)

    def _request(self, question: Question) -> Request:
        asked: dict[str, Any] = {"model": self.endpoint.model, **self.sampling}
        asked["seed"] = seed_of(self.seed, question.key)
        said = {"role": "user", "content": question.text}
        asked |= {"prompt": question.text} if question.plain else {"messages": [said]}
        path = "completions" if question.plain else "chat/completions"
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return Request(
            f"{str(self.endpoint.url).rstrip('/')}/{path}", json.dumps(asked).encode("ascii"), headers
        )

    def _answer(self, request: Request) -> bytes | None:
        """The body of the answer; None where it is longer than any answer may be."""
        until = time.monotonic() + self.endpoint.timeout_s
        with self._opener.open(request, timeout=self.endpoint.timeout_s) as answer:
            body = bytearray()
            while piece := answer.read1(1 << 16):  # what has come, so that drops cannot go on for ever
                body += piece
                if len(body) > MAX_BYTES:
                    return None
                if time.monotonic() > until:
                    raise TimeoutError(f"the answer was not whole after {self.endpoint.timeout_s:g} s")
            if answer.length:
                raise ConnectionError(f"the connection broke with {answer.length} bytes still to come")
            return bytes(body)

    def _shown(self, error: HTTPError) -> str:
        """What an endpoint says of a refusal, on one line, without the key, which some repeat."""
        try:
            body = error.read(1 << 16).decode("utf-8", "replace")
        except (OSError, HTTPException):
            body = ""
        body = body.replace(self._key, "[key]") if self._key else body
        text = "".join(char if char.isprintable() else " " for char in body)
        return f"{error.code} {' '.join(text.split())[:SHOWN]}".strip()


class _Stay(HTTPRedirectHandler):
    """Follows no redirection, which would carry the key and the seeds to somewhere else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _opener(endpoint: Endpoint) -> OpenerDirector:
    """This machine is asked directly, others through the proxy that the environment names."""
    host = urlsplit(str(endpoint.url)).hostname or ""
    return build_opener(_Stay, *([ProxyHandler({})] if is_loopback(host) else []))


def read_reply(body: bytes | None, plain: bool) -> Reply:
    """The reply in an answer of the API's shape; anything else is a fault."""
    if body is None:
        return Reply(fault="answer of the endpoint too large")
    try:
        choice = json.loads(body)["choices"][0]
        text = choice["text"] if plain else choice["message"]["content"]
        reason = choice.get("finish_reason", "stop")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Reply(fault="answer of the endpoint broken")
    if not isinstance(text, str) or reason not in ("stop", "length", "eos", None):
        return Reply(fault="no text in the endpoint's answer")
    return Reply(text=text, finished=reason != "length")


def asked_to_wait(headers: Message | None) -> float | None:
    """Seconds that the header Retry-After asks for, as a number or as a date; None without one."""
    value = (headers.get("Retry-After") or "").strip() if headers is not None else ""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def seed_of(seed: int, key: str) -> int:
    """A seed for each question, the same whenever it is asked."""
    return int.from_bytes(f"{seed}/{key}".encode()) % 2_147_483_647
