"""From what was asked to the engine's requests, and from its events to pieces of answers.

Chat and completions are alike in this.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from danlu.dialogue.tool_loop import Step
from danlu.generate.request import NOTHING_ALLOWED, Event, Request, Token
from danlu.generate.sampling import SamplingConfig
from danlu.serve.api.engine_thread import EngineStoppedError, Stream
from danlu.serve.api.errors import ApiError
from danlu.serve.api.event_stream import EventStream, too_slow
from danlu.serve.api.keys import Caller
from danlu.serve.api.reply import FinishReason, Piece, Reply
from danlu.serve.api.requests import Sampled
from danlu.serve.api.service import Service, unless_gone

COLDEST = 1e-3  # below this temperature float32 has no room between the likeliest token and the rest
SMALLEST_SHARE = 1e-6  # of top_p, likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the engine is to do for one request of the API, and who reads each completion."""

    id: str
    model: str
    requests: Sequence[Request]
    replies: Sequence[Reply]
    n_prompt_tokens: int
    silent: bool = False  # what the engine draws is not asked for, only what it thinks of the prompt
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def usage(self) -> dict[str, int]:
        """Tokens so far, in OpenAI's shape."""
        n_made = sum(reply.n_tokens for reply in self.replies)
        return {
            "prompt_tokens": self.n_prompt_tokens,
            "completion_tokens": n_made,
            "total_tokens": self.n_prompt_tokens + n_made,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Several(Plan):
    """All that the engine does for one answer; `plans` may grow turn by turn."""

    plans: Sequence[Plan]

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of all turns so far."""
        found = [plan.usage for plan in self.plans]
        return {name: sum(each[name] for each in found) for name in found[0]}


def together(plans: Sequence[Plan], shown: Plan) -> Several:
    """Plans of which one is shown and all are counted."""
    return Several(
        id=shown.id,
        model=shown.model,
        requests=shown.requests,
        replies=shown.replies,
        n_prompt_tokens=shown.n_prompt_tokens,
        created=shown.created,
        plans=plans,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """What one event means to the client."""

    index: int  # of the completion
    pieces: Sequence[Piece]
    prompt: Sequence[Token]
    finish_reason: FinishReason | None
    steps: Sequence[Step] = ()  # calls that the server has carried out


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How one kind of request is answered, whole or in chunks."""

    plan: Plan
    whole: Callable[[Sequence[Progress]], Response]
    chunks: Callable[[AsyncIterator[Progress]], AsyncIterator[Mapping[str, Any]]]


async def answer(
    service: Service, http: HttpRequest, body: Sampled, prepare: Callable[[Caller], Answering]
) -> Response:
    """Carry out a request for completions.

    Args:
        prepare: makes the plan; it runs beside the event loop, for encoding a long text takes time.
    """
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "stream_options is for stream=true", param="stream_options")
    caller: Caller = http.state.caller
    answering = await asyncio.to_thread(prepare, caller)
    plan = answering.plan
    async with AsyncExitStack() as held:
        stream = await held.enter_async_context(service.under_way(caller, plan.requests))
        progress = follow(service, plan, stream)
        if body.stream:
            return EventStream(service, answering.chunks(progress), held.pop_all())
        try:
            return answering.whole(await unless_gone(http.receive, everything(service, progress)))
        except ClientDisconnect:
            service.metrics.left.inc()
            return Response(status_code=499)  # which nobody reads


async def everything(service: Service, progress: AsyncIterator[Progress]) -> list[Progress]:
    """All that there will be, within the time of a request."""
    try:
        async with asyncio.timeout(service.limits.wall_s):
            return [each async for each in progress]
    except TimeoutError:
        raise too_slow(service) from None


async def follow(service: Service, plan: Plan, stream: Stream) -> AsyncGenerator[Progress]:
    """What the engine's events mean, until every completion has come to its end."""
    began, tokens = time.perf_counter(), service.metrics.tokens
    tokens.labels("prompt").inc(plan.n_prompt_tokens)
    first = True
    try:
        async for index, event in stream:
            if first:
                service.metrics.first_token_s.observe(time.perf_counter() - began)
                first = False
            progress = _read(plan, index, event)
            if progress.finish_reason is not None:
                stream.stop(index)  # a stop string ends what the engine would go on with
            yield progress
    except EngineStoppedError as error:
        raise service.busy(503, str(error)) from None
    finally:
        tokens.labels("completion").inc(plan.usage["completion_tokens"])


def _read(plan: Plan, index: int, event: Event) -> Progress:
    if event.end_reason == "error":
        status = 400 if event.error == NOTHING_ALLOWED else 500
        raise ApiError(status, f"the completion failed: {event.error}", code="generation_failed")
    reply, pieces = plan.replies[index], list[Piece]()
    if event.token is not None and not plan.silent:
        pieces += reply.push(event.token)
    reason: FinishReason | None = None
    if event.end_reason is not None or reply.stopped:
        pieces += reply.finish()
        stopped = event.end_reason == "stop" or reply.stopped
        reason = "length" if not stopped else "tool_calls" if reply.n_calls else "stop"
    return Progress(index, pieces, event.prompt, reason)


def new_id(kind: str) -> str:
    """A name for an answer."""
    return f"{kind}-{secrets.token_hex(12)}"


def sampling_of(service: Service, body: Sampled, max_new_tokens: int | None) -> SamplingConfig:
    """How to draw: what the request says, else what the server goes by."""
    default = service.served.sampling
    temperature = default.temperature if body.temperature is None else body.temperature
    top_p = default.top_p if body.top_p is None else body.top_p
    if temperature < COLDEST or top_p < SMALLEST_SHARE:
        temperature, top_p = 0.0, 1.0
    return SamplingConfig(
        max_new_tokens=default.max_new_tokens if max_new_tokens is None else max(1, max_new_tokens),
        temperature=temperature,
        top_p=top_p,
        top_k=default.top_k if body.top_k is None else body.top_k,
        seed=secrets.randbits(63) if body.seed is None else body.seed,
    )


def check_common(service: Service, body: Sampled, n_choices: int, max_new_tokens: int | None) -> None:
    """Refuse what is beyond the limits."""
    limits, stops = service.limits, body.stops
    within("n", "completions", n_choices, limits.choices)
    within("max_tokens", "tokens", max_new_tokens or 0, limits.new_tokens)
    within("stop", "stop strings", len(stops), limits.stops)
    within("stop", "characters in a stop string", max(map(len, stops), default=0), limits.stop_characters)


def within(param: str, what: str, n: int, most: int) -> None:
    """Refuse more than there may be."""
    if n > most:
        raise ApiError(
            400, f"{n:,} {what}; at most {most:,} are allowed here", code="limit_exceeded", param=param
        )


def check_length(service: Service, n_tokens: int, param: str) -> None:
    """Refuse a prompt that leaves no room for an answer."""
    if n_tokens >= service.served.max_seq_len:
        raise ApiError(
            400,
            f"the prompt has {n_tokens:,} tokens; with room for an answer it must be shorter than "
            f"{service.served.max_seq_len:,}",
            code="context_length_exceeded",
            param=param,
        )


def check_text(service: Service, text: str, param: str) -> None:
    """Refuse a text that is far too long before time is spent on encoding it."""
    check_fewest(service, service.vocabulary.fewest(text), param)


def check_fewest(service: Service, n_tokens: int, param: str) -> None:
    """Refuse so many tokens, which is the least that there can be."""
    if n_tokens > service.served.max_seq_len:
        raise ApiError(
            400,
            f"there are at least {n_tokens:,} tokens; the model reads {service.served.max_seq_len:,}",
            code="context_length_exceeded",
            param=param,
        )


def logit_bias_of(body: Sampled, vocab_size: int) -> dict[int, float]:
    """The biases by id."""
    bias = {int(key): value for key, value in (body.logit_bias or {}).items()}
    if unknown := [i for i in bias if i >= vocab_size]:
        raise ApiError(
            400, f"logit_bias names {unknown[0]}; ids are 0 to {vocab_size - 1}", param="logit_bias"
        )
    return bias
