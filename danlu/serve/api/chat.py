"""What a request for a chat asks of the engine, and the answer in OpenAI's shapes."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Any

from starlette.responses import Response
from torch import Tensor

from danlu.dialogue.context import Kept, fit, keep
from danlu.dialogue.summary import Summarised
from danlu.generate.request import Request as EngineRequest
from danlu.generate.request import TokenFilter
from danlu.generate.sampling import SamplingConfig
from danlu.serve.api import responses
from danlu.serve.api.completing import (
    Answering,
    Plan,
    Progress,
    check_common,
    check_fewest,
    check_length,
    logit_bias_of,
    new_id,
    sampling_of,
    together,
)
from danlu.serve.api.conversations import check_schema, messages_of, tools_of
from danlu.serve.api.errors import ApiError
from danlu.serve.api.keys import Caller
from danlu.serve.api.reply import CallArguments, CallBegun, FinishReason, Piece, Reply, Spoken, Text
from danlu.serve.api.requests import ChatRequest, JsonSchema, NamedTool
from danlu.serve.api.service import Service
from danlu.serve.api.tool_filter import CallRules, ToolFilter
from danlu.serve.api.vocabulary import Vocabulary
from danlu.tokenizer.chat import ChatError, Message, images_of
from danlu.tools.visible import one_line


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model sees of the conversation, and the tools that it may call."""

    kept: Kept
    tools: Sequence[Mapping[str, Any]]


def answering(
    service: Service,
    body: ChatRequest,
    caller: Caller,
    seen: Seen | None = None,
    before: Sequence[Plan] = (),
) -> Answering:
    """How a request is answered by one turn of the model.

    Args:
        seen: what the model sees, where that is settled already.
        before: what the engine has done for this request so far.
    """
    seen = seen or see(service, body, tools_of(body.tools, service.limits))
    plan = prepare(service, body, caller, seen)
    shown = Shown(service.vocabulary, together([*before, plan], plan), seen.kept, body)
    return Answering(plan=plan, whole=shown.whole, chunks=shown.chunks)


def see(service: Service, body: ChatRequest, tools: Sequence[Mapping[str, Any]]) -> Seen:
    """The conversation without the oldest exchanges where not all of it fits."""
    messages, room = conversation_of(service, body), room_for(service, body)
    check_what_stays(service, body, messages, tools)
    try:
        kept = fit(
            service.chat, messages, tools, room=room, pinned=set(body.pinned), fewest=fewest_of(service)
        )
        return Seen(kept, tools)
    except ChatError as error:
        raise ApiError(400, str(error), param="messages") from None


def conversation_of(service: Service, body: ChatRequest) -> list[Message]:
    """The messages of a request."""
    messages = messages_of(body.messages, service.limits)
    if images_of(messages) and service.served.see is None:
        raise ApiError(400, "this model reads text only", code="not_available", param="messages")
    if beyond := [place for place in body.pinned if place >= len(messages)]:
        raise ApiError(
            400, f"pinned names message {beyond[0]}; there are 0 to {len(messages) - 1}", param="pinned"
        )
    return messages


def check_what_stays(
    service: Service, body: ChatRequest, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse, before anything is encoded, what is far too long and must not be left out."""
    fewest, room = fewest_of(service), sys.maxsize if body.truncation == "disabled" else 0
    described = sum(service.vocabulary.fewest(json.dumps(tool, ensure_ascii=False)) for tool in tools)
    lengths = [fewest(message) for message in messages]
    staying = keep(messages, described, lengths, room=room, pinned=set(body.pinned))
    check_fewest(service, staying.n_tokens, "messages")


def fewest_of(service: Service) -> Callable[[Message], int]:
    """What tells how many tokens a message has at the least: in its text, and in calls of tools."""

    def fewest(message: Message) -> int:
        calls = (call["function"] for call in message.get("tool_calls", ()))
        texts = [message["content"], *(each["arguments"] for each in calls)]
        return sum(map(service.vocabulary.fewest, texts))

    return fewest


def room_for(service: Service, body: ChatRequest) -> int:
    """Tokens that the prompt may have."""
    if body.truncation == "disabled":
        return sys.maxsize
    longest, n_new = service.served.max_seq_len, _sampling(service, body).max_new_tokens
    # An answer may be as long as it is asked to be, but room is made for a quarter of the context at most.
    return longest - min(n_new, longest // 4)


def _sampling(service: Service, body: ChatRequest) -> SamplingConfig:
    return sampling_of(service, body, _n_new(body))


def _n_new(body: ChatRequest) -> int | None:
    return body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens


def prepare(service: Service, body: ChatRequest, caller: Caller, seen: Seen) -> Plan:
    """What the engine is to do for one turn of the model."""
    adapter = service.check_model(body.model)
    check_common(service, body, body.n or 1, _n_new(body))
    if body.top_logprobs and not body.logprobs:
        raise ApiError(400, "top_logprobs is for logprobs=true", param="top_logprobs")
    rules = _rules(body, [tool["function"]["name"] for tool in seen.tools])
    sampling, prompt = _sampling(service, body), _prompt(service, seen)
    pictures = _look(service, images_of(seen.kept.messages))
    call_id = None if rules is None else service.chat.call_id
    requests = [
        EngineRequest(
            prompt_ids=tuple(prompt),
            sampling=sampling,
            key=number,
            stop_ids=service.chat.stop_ids,
            forbidden_ids=service.tokenizer.control_ids - service.chat.stop_ids - {call_id},
            presence_penalty=body.presence_penalty or 0.0,
            frequency_penalty=body.frequency_penalty or 0.0,
            logit_bias=logit_bias_of(body, len(service.vocabulary)),
            min_p=body.min_p or 0.0,
            n_top=body.top_logprobs or 0,
            token_filter=_filter(service, body, rules, call_id),
            adapter=adapter,
            salt=_salt(caller.name, images_of(seen.kept.messages)),
            pictures=pictures,
        )
        for number in range(body.n or 1)
    ]
    blank_first = service.chat.blank_first
    replies = [
        Reply(service.vocabulary, stops=body.stops, call_id=call_id, blank_first=blank_first)
        for _ in requests
    ]
    return Plan(
        id=new_id("chatcmpl"),
        model=body.model,
        requests=requests,
        replies=replies,
        n_prompt_tokens=len(prompt),
    )


def _rules(body: ChatRequest, names: Sequence[str]) -> CallRules | None:
    """Which calls are allowed; None = the model may call nothing."""
    choice = body.tool_choice or ("auto" if names else "none")
    if choice == "none":
        return None
    if isinstance(choice, NamedTool):
        if choice.function.name not in names:
            raise ApiError(400, "tool_choice names a tool that is not among tools", param="tool_choice")
        names = [choice.function.name]
    if not names:
        raise ApiError(400, f"tool_choice is {choice!r}, but there are no tools", param="tool_choice")
    parallel = body.parallel_tool_calls is not False and not isinstance(choice, NamedTool)
    return CallRules(names=names, must_call=choice != "auto", parallel=parallel)


def _prompt(service: Service, seen: Seen) -> list[int]:
    try:
        check_length(service, seen.kept.n_tokens, "messages")
        return service.chat.prompt(seen.kept.messages, seen.tools)
    except ChatError as error:
        raise ApiError(400, str(error), param="messages") from None


def _look(service: Service, urls: Sequence[str]) -> Tensor | None:
    """The pictures that the model is to see."""
    if not urls or service.served.see is None:
        return None
    try:
        return service.served.see(urls)
    except ValueError as error:
        raise ApiError(400, str(error), code="invalid_image", param="messages") from None


def _salt(caller: str, urls: Sequence[str]) -> str:
    """What keeps cached prefixes apart: of callers, and of pictures, whose markers are alike."""
    return caller if not urls else f"{caller}/{sha256(' '.join(urls).encode()).hexdigest()}"


def _filter(
    service: Service, body: ChatRequest, rules: CallRules | None, call_id: int | None
) -> TokenFilter | None:
    """What the grammar and the tools allow; each completion has its own."""
    form = body.response_format
    if form is None or form.type == "text":
        if rules is None or call_id is None:
            return None
        return ToolFilter(rules, service.vocabulary, call_id)
    if service.served.grammar is None:
        raise ApiError(
            400,
            f"response_format {form.type!r} is not available here",
            code="not_available",
            param="response_format",
        )
    if rules is not None:
        raise ApiError(400, "response_format and tools cannot be had together", param="response_format")
    schema = form.json_schema.tree if isinstance(form, JsonSchema) else {"type": "object"}
    check_schema(schema, service.limits, "response_format")
    try:
        return service.filter_of(schema)
    except ValueError as error:
        told = one_line(str(error), 500)  # it may name a word of the schema
        raise ApiError(400, f"response_format: {told}", param="response_format") from None


class Shown:
    """An answer in OpenAI's shapes, whole or in chunks."""

    def __init__(self, vocabulary: Vocabulary, plan: Plan, kept: Kept, body: ChatRequest) -> None:
        self._vocabulary, self._plan, self._body = vocabulary, plan, body
        summary = kept.summary if isinstance(kept, Summarised) else ""
        self._context = responses.Context(left_out=list(kept.left_out), summary=summary or None)
        self._call_ids = [_ids(f"call_{plan.id.partition('-')[2]}_{i}_") for i in range(len(plan.requests))]

    def whole(self, progress: Sequence[Progress]) -> Response:
        answer = responses.ChatCompletion(
            id=self._plan.id,
            created=self._plan.created,
            model=self._plan.model,
            choices=[
                self._choice(index, [each for each in progress if each.index == index])
                for index in range(len(self._plan.requests))
            ],
            usage=responses.Usage(**self._plan.usage),
            context=self._context,
            trace=[responses.ToolStep(**step.to_tree()) for each in progress for step in each.steps],
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    async def chunks(self, progress: AsyncIterator[Progress]) -> AsyncIterator[Mapping[str, Any]]:
        opening = {"role": "assistant", "content": ""}
        for index in range(len(self._plan.requests)):
            yield self._chunk(index, opening) | {"context": self._context.model_dump()}
        async for each in progress:
            for piece in each.pieces:
                if self._body.logprobs or not isinstance(piece, Text) or piece.text:
                    yield self._chunk(each.index, self._delta(each.index, piece), spoken=_spoken(piece))
            if each.steps:
                yield self._frame([]) | {"trace": [step.to_tree() for step in each.steps]}
            if each.finish_reason is not None:
                yield self._chunk(each.index, {}, each.finish_reason)
        if self._with_usage:
            yield self._frame([]) | {"usage": self._plan.usage}

    @property
    def _with_usage(self) -> bool:
        options = self._body.stream_options
        return options is not None and bool(options.include_usage)

    def _choice(self, index: int, progress: Sequence[Progress]) -> responses.ChatChoice:
        pieces = [piece for each in progress for piece in each.pieces]
        reason = progress[-1].finish_reason
        assert reason is not None, "a completion ends with its last event"
        # A call that the length limit cut is no call.
        n_calls = self._plan.replies[index].n_calls
        begun = [piece for piece in pieces if isinstance(piece, CallBegun) and piece.number < n_calls]
        calls = [_call(each, pieces, next(self._call_ids[index])) for each in begun]
        text = "".join(piece.text for piece in pieces if isinstance(piece, Text))
        spoken = [each for piece in pieces for each in _spoken(piece)]
        return responses.ChatChoice(
            index=index,
            message=responses.AnswerMessage(
                content=None if calls and not text else text, tool_calls=calls or None
            ),
            logprobs=self._logprobs(spoken),
            finish_reason=reason,
        )

    def _logprobs(self, spoken: Sequence[Spoken]) -> responses.ChatLogprobs | None:
        if not self._body.logprobs:
            return None
        return responses.ChatLogprobs(
            content=[
                responses.TokenLogprob(
                    **self._one(each.token.id, each.token.logprob),
                    top_logprobs=[responses.TopLogprob(**self._one(i, p)) for i, p in each.token.top],
                )
                for each in spoken
            ]
        )

    def _one(self, i: int, logprob: float | None) -> dict[str, Any]:
        assert logprob is not None, "a token of a completion has one before it"
        raw = self._vocabulary.bytes_of[i]
        return {"token": self._vocabulary.spelling[i], "logprob": logprob, "bytes": list(raw)}

    def _delta(self, index: int, piece: Piece) -> dict[str, Any]:
        if isinstance(piece, Text):
            return {"content": piece.text}
        if isinstance(piece, CallBegun):
            call = {"id": next(self._call_ids[index]), "type": "function"}
            return _call_delta(piece, {"name": piece.name, "arguments": ""}, call)
        return _call_delta(piece, {"arguments": piece.text}, {})

    def _chunk(
        self,
        index: int,
        delta: Mapping[str, Any],
        reason: FinishReason | None = None,
        spoken: Sequence[Spoken] = (),
    ) -> dict[str, Any]:
        logprobs = self._logprobs(spoken) if spoken else None
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": None if logprobs is None else logprobs.model_dump(),
            "finish_reason": reason,
        }
        return self._frame([choice])

    def _frame(self, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._plan.id,
            "object": "chat.completion.chunk",
            "created": self._plan.created,
            "model": self._plan.model,
            "choices": choices,
        } | ({"usage": None} if self._with_usage else {})


def _ids(beginning: str) -> Iterator[str]:
    return (f"{beginning}{n}" for n in count())


def _spoken(piece: Piece) -> Sequence[Spoken]:
    return piece.tokens if isinstance(piece, Text) else ()


def _call(begun: CallBegun, pieces: Sequence[Piece], call_id: str) -> responses.ToolCall:
    arguments = [
        piece.text for piece in pieces if isinstance(piece, CallArguments) and piece.number == begun.number
    ]
    function = responses.CalledFunction(name=begun.name, arguments="".join(arguments))
    return responses.ToolCall(id=call_id, function=function)


def _call_delta(
    piece: CallBegun | CallArguments, function: Mapping[str, str], more: Mapping[str, str]
) -> dict[str, Any]:
    return {"tool_calls": [{"index": piece.number, **more, "function": function}]}
