"""Answers for which the model speaks more than once: it calls the server's tools, or sums up older turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from danlu.dialogue.context import Kept
from danlu.dialogue.summary import Summarised, advance, summarising
from danlu.dialogue.tool_loop import ToolLoop
from danlu.serve.api.chat import (
    Seen,
    Shown,
    answering,
    conversation_of,
    fewest_of,
    prepare,
    room_for,
    see,
)
from danlu.serve.api.completing import Plan, Progress, answer, everything, follow, together
from danlu.serve.api.conversations import tools_of
from danlu.serve.api.errors import ApiError
from danlu.serve.api.event_stream import EventStream, too_slow
from danlu.serve.api.keys import Caller
from danlu.serve.api.reply import CallArguments, CallBegun, Piece, Text
from danlu.serve.api.requests import ChatRequest
from danlu.serve.api.service import Service, unless_gone
from danlu.tokenizer.chat import Message
from danlu.tools.error import ToolError
from danlu.tools.protocol import Toolbox

HAN_BEGINS, HAN_ENDS = "\u4e00", "\u9fff"


async def answer_in_rounds(service: Service, http: HttpRequest, body: ChatRequest) -> Response:
    """Carry out a request with tools of the server, or with a summary of older turns."""
    rounds = Rounds(service, body, http.state.caller)
    try:
        async with asyncio.timeout(service.limits.wall_s):
            await unless_gone(http.receive, rounds.begin())
        if not body.server_tools:
            seen, before = rounds.seen, rounds.plans
            return await answer(
                service, http, body, lambda caller: answering(service, body, caller, seen, before)
            )
        shown = Shown(service.vocabulary, rounds.plan, rounds.seen.kept, body)
        if body.stream:
            return EventStream(service, shown.chunks(rounds.progress()), AsyncExitStack())
        return shown.whole(await unless_gone(http.receive, everything(service, rounds.progress())))
    except TimeoutError:
        raise too_slow(service) from None
    except ClientDisconnect:
        service.metrics.left.inc()
        return Response(status_code=499)  # which nobody reads


class Rounds:
    """One answer on its way; `begin` comes first, and finds whatever is wrong with the request."""

    seen: Seen
    plan: Plan

    def __init__(self, service: Service, body: ChatRequest, caller: Caller) -> None:
        self._service, self._body, self._caller = service, body, caller
        self._toolbox = toolbox_of(service, body)
        self.plans: list[Plan] = []

    async def begin(self) -> None:
        """Settle what the model sees, and plan its first turn."""
        service, body = self._service, self._body
        if body.stream_options is not None and not body.stream:
            raise ApiError(400, "stream_options is for stream=true", param="stream_options")
        if body.server_tools and (body.n or 1) > 1:
            raise ApiError(400, "with server_tools there is one completion; leave n out", param="n")
        if body.server_tools and body.tools:
            raise ApiError(400, "tools and server_tools cannot be had together", param="server_tools")
        tools = [*tools_of(body.tools, service.limits), *self._toolbox.schemas]
        room = room_for(service, body)
        seen = await asyncio.to_thread(see, service, body, tools)
        if body.context == "summarise":
            seen = replace(seen, kept=await self._summarised(seen, room))
        self.seen = seen
        if body.server_tools:
            first = await self._planned([])
            self.plan = together(self.plans, first)

    async def progress(self) -> AsyncIterator[Progress]:
        """Everything that is said until the answer, and the calls carried out on the way."""
        loop = ToolLoop(self._toolbox, self._service.served.loop)
        n_told = 0
        while True:
            pieces: list[Piece] = []
            end: Progress | None = None
            async for each in self._turn(self.plans[-1]):
                pieces += each.pieces
                texts = [piece for piece in each.pieces if isinstance(piece, Text)]
                yield replace(each, pieces=texts, finish_reason=None)
                end = each
            assert end is not None, "a turn ends with its last event"
            said = message_of(pieces, self.plans[-1].replies[0].n_calls)
            await asyncio.to_thread(loop.take, said, cut=end.finish_reason == "length")
            yield Progress(0, [], [], None, loop.trace[n_told:])
            n_told = len(loop.trace)
            if loop.ending is not None:
                yield Progress(0, [], [], "stop" if loop.ending == "answer" else "length")
                return
            await self._planned(loop.said)

    async def _turn(self, plan: Plan) -> AsyncIterator[Progress]:
        async with self._service.under_way(self._caller, plan.requests) as stream:
            async for each in follow(self._service, plan, stream):
                yield each

    async def _planned(self, said: Sequence[Message]) -> Plan:
        """The next turn, after what has been said since the question."""
        seen = with_said(self._service, self.seen, said)
        plan = await asyncio.to_thread(prepare, self._service, self._body, self._caller, seen)
        self.plans.append(plan)
        return plan

    async def _summarised(self, seen: Seen, room: int) -> Summarised:
        """What the model sees when it has summed up what no longer fits."""
        messages = conversation_of(self._service, self._body)
        language = "zh" if any(HAN_BEGINS <= each <= HAN_ENDS for each in messages[-1]["content"]) else "en"
        work = summarising(
            self._service.chat,
            messages,
            seen.tools,
            room=room,
            pinned=set(self._body.pinned),
            language=language,
            fewest=fewest_of(self._service),
        )
        told = await asyncio.to_thread(advance, work)  # it counts tokens, which takes time
        while not isinstance(told, Summarised):
            told = await asyncio.to_thread(advance, work, await self._said_to(told))
        return told

    async def _said_to(self, messages: list[Message]) -> str:
        """The model's answer to a request for a summary, drawn greedily."""
        service = self._service
        overhead, lengths = service.chat.lengths(messages)
        kept = Kept(messages=messages, left_out=(), n_tokens=overhead + sum(lengths))
        plain = ChatRequest(model=self._body.model, messages=self._body.messages, temperature=0.0)
        plan = await asyncio.to_thread(prepare, service, plain, self._caller, Seen(kept, []))
        self.plans.append(plan)
        pieces = [piece async for each in self._turn(plan) for piece in each.pieces]
        return "".join(piece.text for piece in pieces if isinstance(piece, Text))


def toolbox_of(service: Service, body: ChatRequest) -> Toolbox:
    """The tools that a request wants run here."""
    box = service.served.toolbox or Toolbox([])
    try:
        return box.only(body.server_tools)
    except ToolError as error:
        raise ApiError(400, f"server_tools: {error}", param="server_tools") from None


def with_said(service: Service, seen: Seen, said: Sequence[Message]) -> Seen:
    """What the model sees at its next turn, after what has been said since the question."""
    messages = [*seen.kept.messages, *said]
    overhead, lengths = service.chat.lengths(messages, seen.tools)
    return Seen(Kept(messages=messages, left_out=(), n_tokens=overhead + sum(lengths)), seen.tools)


def message_of(pieces: Sequence[Piece], n_calls: int) -> Message:
    """What the model said in one turn.

    Args:
        n_calls: that came to their end; one that the length limit cut is no call.
    """
    text = "".join(piece.text for piece in pieces if isinstance(piece, Text))
    message: Message = {"role": "assistant", "content": text}
    begun = [piece for piece in pieces if isinstance(piece, CallBegun) and piece.number < n_calls]
    if begun:
        message["tool_calls"] = [
            {
                "id": f"call_{each.number + 1}",
                "type": "function",
                "function": {"name": each.name, "arguments": _arguments(pieces, each.number)},
            }
            for each in begun
        ]
    return message


def _arguments(pieces: Sequence[Piece], number: int) -> str:
    return "".join(
        piece.text for piece in pieces if isinstance(piece, CallArguments) and piece.number == number
    )
