"""POST /v1/completions: a text or ids continued, and what the model thought of each token.

With `echo` and `logprobs` this is what lm-evaluation-harness scores by: an entry for each token of the prompt
and each that was drawn, the first null, and the likeliest token always among `top_logprobs` with the very
float that stands in `token_logprobs` where it is the token itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from danlu.generate.request import Request as EngineRequest
from danlu.generate.request import Token
from danlu.serve.api import responses
from danlu.serve.api.body import StrictRoute
from danlu.serve.api.completing import (
    Answering,
    Plan,
    Progress,
    answer,
    check_common,
    check_length,
    check_text,
    logit_bias_of,
    new_id,
    sampling_of,
)
from danlu.serve.api.errors import RESPONSES, ApiError
from danlu.serve.api.event_stream import STREAMED
from danlu.serve.api.keys import Caller
from danlu.serve.api.reply import FinishReason, Reply, Spoken, Text
from danlu.serve.api.requests import CompletionRequest, Inputs
from danlu.serve.api.service import Service, Translating
from danlu.serve.api.text_stream import TextStream
from danlu.serve.api.vocabulary import Vocabulary
from danlu.tokenizer.interface import TextTokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: its ids, and the text that `echo` repeats."""

    ids: Sequence[int]
    text: str


def completion_routes(service: Service) -> APIRouter:
    """The route of completions."""
    router = APIRouter(route_class=StrictRoute, responses=RESPONSES)

    @router.post(
        "/v1/completions", response_model=responses.Completion, responses={200: {"content": STREAMED}}
    )
    async def completions(body: CompletionRequest, http: Request) -> Response:
        """The continuation of each prompt."""
        return await answer(service, http, body, lambda caller: _prepare(service, body, caller))

    return router


def split(given: Inputs) -> list[str] | list[list[int]]:
    """One text or row of ids, or several, as several."""
    if isinstance(given, str):
        return [given]
    return cast(list[list[int]], [given]) if isinstance(given[0], int) else cast(list[str], given)


def check_texts(service: Service, given: Inputs, param: str) -> None:
    """As `check_text`, of each that is one."""
    for each in split(given):
        if isinstance(each, str):
            check_text(service, each, param)


def prompts_of(given: Inputs, tokenizer: TextTokenizer, *, begin: bool) -> list[Prompt]:
    """Every prompt as ids.

    Args:
        begin: put <|endoftext|> before a text, as documents began in training. Ids are left as they are.
    """
    lead = [tokenizer.begin_id] if begin else []
    prompts: list[Prompt] = []
    for each in split(given):
        if isinstance(each, str):
            prompts.append(Prompt([*lead, *tokenizer.encode(each)], each))
            continue
        if unknown := [i for i in each if i >= tokenizer.vocab_size]:
            raise ApiError(
                400,
                f"{unknown[0]} is no token id; ids are 0 to {tokenizer.vocab_size - 1}",
                code="unknown_token",
            )
        prompts.append(Prompt(each, tokenizer.decode(each)))
    return prompts


def sources_of(body: CompletionRequest, tokenizer: TextTokenizer, translating: Translating) -> list[Prompt]:
    """Every prompt as ids that the encoder of a model that translates reads. Ids are left as they are."""
    try:
        return [
            Prompt(translating.read(each.strip(), body.to), each)
            if isinstance(each, str)
            else prompts_of(each, tokenizer, begin=False)[0]
            for each in split(body.prompt)
        ]
    except ValueError as error:
        raise ApiError(400, str(error), param="to") from None


def check_direction(service: Service, body: CompletionRequest) -> None:
    """Refuse what only a model that translates can do, or what it cannot."""
    if service.served.translating is None and body.to is not None:
        raise ApiError(400, "to is for models that translate", code="not_available", param="to")
    if service.served.translating is not None and body.echo:
        raise ApiError(
            400,
            "echo is not for models that translate: they continue nothing",
            code="not_available",
            param="echo",
        )


def _prepare(service: Service, body: CompletionRequest, caller: Caller) -> Answering:
    adapter, n, tokenizer = service.check_model(body.model), body.n or 1, service.tokenizer
    check_common(service, body, n * len(split(body.prompt)), body.max_tokens)
    if body.best_of is not None and body.best_of != n:
        raise ApiError(400, "best_of other than n is not available", code="not_available", param="best_of")
    if body.max_tokens == 0 and not body.echo:
        raise ApiError(400, "max_tokens is 0 without echo; nothing is asked for", param="max_tokens")
    check_texts(service, body.prompt, "prompt")
    check_direction(service, body)
    if service.served.translating is None:
        prompts = prompts_of(body.prompt, tokenizer, begin=body.add_special_tokens)
        ends = {tokenizer.eos_id, *service.chat.stop_ids}
    else:
        prompts = sources_of(body, tokenizer, service.served.translating)
        ends = {tokenizer.eos_id}
    for prompt in prompts:
        check_length(service, len(prompt.ids), "prompt")
    sampling = sampling_of(service, body, body.max_tokens)
    requests = [
        EngineRequest(
            prompt_ids=tuple(prompt.ids),
            sampling=sampling,
            key=number,
            stop_ids=frozenset(ends),
            forbidden_ids=tokenizer.control_ids - ends,
            presence_penalty=body.presence_penalty or 0.0,
            frequency_penalty=body.frequency_penalty or 0.0,
            logit_bias=logit_bias_of(body, len(service.vocabulary)),
            min_p=body.min_p or 0.0,
            n_top=body.logprobs or 0,
            prompt_logprobs=bool(body.echo) and body.logprobs is not None,
            adapter=adapter,
            salt=caller.name,
        )
        for prompt in prompts
        for number in range(n)
    ]
    plan = Plan(
        id=new_id("cmpl"),
        model=body.model,
        requests=requests,
        replies=[Reply(service.vocabulary, stops=body.stops, show_end=True) for _ in requests],
        n_prompt_tokens=sum(len(prompt.ids) for prompt in prompts),
        silent=body.max_tokens == 0,
    )
    shown = _Shown(service.vocabulary, plan, [prompt for prompt in prompts for _ in range(n)], body)
    return Answering(plan=plan, whole=shown.whole, chunks=shown.chunks)


@dataclass(slots=True)
class _Part:
    """A part of one completion, or all of it."""

    text: str = ""
    spoken: list[Spoken] = field(default_factory=list[Spoken])
    reason: FinishReason | None = None


class _Shown:
    """Completions in OpenAI's shapes, whole or in chunks."""

    def __init__(
        self, vocabulary: Vocabulary, plan: Plan, prompts: Sequence[Prompt], body: CompletionRequest
    ) -> None:
        self._vocabulary, self._plan, self._prompts, self._body = vocabulary, plan, prompts, body
        self._begun: set[int] = set()

    def whole(self, progress: Sequence[Progress]) -> Response:
        parts = [_Part() for _ in self._plan.requests]
        for each in progress:
            part, more = parts[each.index], self._part(each)
            part.text, part.reason = part.text + more.text, more.reason
            part.spoken += more.spoken
        answer = responses.Completion(
            **self._head,
            choices=[responses.CompletionChoice(**self._choice(i, part)) for i, part in enumerate(parts)],
            usage=responses.Usage(**self._plan.usage),
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    async def chunks(self, progress: AsyncIterator[Progress]) -> AsyncIterator[Mapping[str, Any]]:
        options = self._body.stream_options
        with_usage = options is not None and bool(options.include_usage)
        empty = {"usage": None} if with_usage else {}
        async for each in progress:
            part = self._part(each)
            if part.text or part.reason is not None or (part.spoken and self._body.logprobs is not None):
                yield {**self._head, "choices": [self._choice(each.index, part)], **empty}
        if with_usage:
            yield {**self._head, "choices": [], "usage": self._plan.usage}

    @property
    def _head(self) -> dict[str, Any]:
        plan = self._plan
        return {"id": plan.id, "object": "text_completion", "created": plan.created, "model": plan.model}

    def _part(self, progress: Progress) -> _Part:
        """What one event adds; the first of a completion brings the prompt, if that is to be echoed."""
        part = _Part(reason=progress.finish_reason)
        prompt, shift = self._prompts[progress.index], 0
        if self._body.echo:
            shift = len(prompt.text)
            if progress.index not in self._begun:
                self._begun.add(progress.index)
                part.text = prompt.text
                part.spoken += placed(progress.prompt, self._vocabulary)
        for piece in progress.pieces:
            assert isinstance(piece, Text), "without tools there are no calls"
            part.text += piece.text
            part.spoken += [Spoken(each.token, each.start + shift) for each in piece.tokens]
        return part

    def _choice(self, index: int, part: _Part) -> dict[str, Any]:
        return {
            "index": index,
            "text": part.text,
            "logprobs": None if self._body.logprobs is None else self._logprobs(part.spoken),
            "finish_reason": part.reason,
        }

    def _logprobs(self, spoken: Sequence[Spoken]) -> dict[str, Any]:
        spelling = self._vocabulary.spelling
        return {
            "tokens": [spelling[each.token.id] for each in spoken],
            "token_logprobs": [each.token.logprob for each in spoken],
            "top_logprobs": [self._top(each.token) for each in spoken],
            "text_offset": [each.start for each in spoken],
        }

    def _top(self, token: Token) -> dict[str, float] | None:
        """The likeliest tokens and the token itself, by spelling; no two ids share one."""
        if token.logprob is None:
            return None
        return {self._vocabulary.spelling[i]: p for i, p in (*token.top, (token.id, token.logprob))}


def placed(tokens: Sequence[Token], vocabulary: Vocabulary) -> list[Spoken]:
    """Tokens of a prompt with the characters of its text before each."""
    text, spoken = TextStream(), list[Spoken]()
    for token in tokens:
        spoken.append(Spoken(token, text.n_decoded))
        text.push(vocabulary.bytes_of[token.id])
    return spoken
