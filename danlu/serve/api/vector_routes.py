"""What a model says of whole texts: POST /v1/embeddings, and POST /v1/score for a reward model."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Iterable

from fastapi import APIRouter, Request

from danlu.serve.api import responses
from danlu.serve.api.body import StrictRoute
from danlu.serve.api.completing import check_text, within
from danlu.serve.api.completions import check_texts, prompts_of, split
from danlu.serve.api.conversations import messages_of
from danlu.serve.api.errors import RESPONSES, ApiError
from danlu.serve.api.requests import EmbeddingRequest, ScoreRequest
from danlu.serve.api.service import Scores, Service, Vectors
from danlu.tokenizer.chat import ChatError


def vector_routes(service: Service) -> APIRouter:
    """The routes of embeddings and scores."""
    router = APIRouter(route_class=StrictRoute, responses=RESPONSES)

    @router.post("/v1/embeddings", response_model=responses.EmbeddingList)
    async def embeddings(body: EmbeddingRequest, http: Request) -> responses.EmbeddingList:
        """A vector of length 1 for each text: the mean of the model's last hidden vectors."""
        service.check_model(body.model)
        embed = service.served.embed
        if embed is None:
            raise service.absent("makes no embeddings, for it holds no language model")
        rows, vectors = await service.compute(http.state.caller, lambda: _embed(service, body, embed))
        return responses.EmbeddingList(
            data=[
                responses.Embedding(
                    index=i, embedding=_packed(vector) if body.encoding_format == "base64" else vector
                )
                for i, vector in enumerate(vectors)
            ],
            model=body.model,
            usage=_usage(rows),
        )

    @router.post("/v1/score", response_model=responses.ScoreList)
    async def score(body: ScoreRequest, http: Request) -> responses.ScoreList:
        """A reward model's score of each completion of a prompt; the higher, the better."""
        service.check_model(body.model)
        score = service.served.score
        if score is None:
            raise service.absent("scores nothing; it is started with reward_model=DIR for that")
        rows, scores = await service.compute(http.state.caller, lambda: _score(service, body, score))
        return responses.ScoreList(
            data=[responses.Score(index=i, score=each) for i, each in enumerate(scores)],
            model=body.model,
            usage=_usage(rows),
        )

    return router


def _embed(
    service: Service, body: EmbeddingRequest, embed: Vectors
) -> tuple[list[list[int]], list[list[float]]]:
    within("input", "inputs", len(split(body.input)), service.limits.inputs)
    check_texts(service, body.input, "input")
    prompts = (prompts_of(each, service.tokenizer, begin=True)[0] for each in split(body.input))
    rows = _checked(service, (list(prompt.ids) for prompt in prompts), "input")
    vectors = embed(rows)
    if body.dimensions is not None and body.dimensions != len(vectors[0]):
        raise ApiError(
            400,
            f"dimensions is {body.dimensions}; this model's vectors have {len(vectors[0])}",
            param="dimensions",
        )
    return rows, vectors


def _score(service: Service, body: ScoreRequest, score: Scores) -> tuple[list[list[int]], list[float]]:
    within("completions", "completions", len(body.completions), service.limits.inputs)
    messages = messages_of(body.prompt, service.limits)
    for text in (*(message["content"] for message in messages), *body.completions):
        check_text(service, text, "completions")
    try:
        prompt = service.chat.prompt(messages)
    except ChatError as error:
        raise ApiError(400, str(error), param="prompt") from None
    # A score is read where the turn ends, as in training.
    end = service.chat.end_id
    found = ([*prompt, *service.tokenizer.encode(completion), end] for completion in body.completions)
    rows = _checked(service, found, "completions")
    return rows, score(rows)


def _checked(service: Service, found: Iterable[list[int]], param: str) -> list[list[int]]:
    """The rows, unless one is too long; those after it are not even made."""
    longest, rows = service.served.max_seq_len, list[list[int]]()
    for number, row in enumerate(found):
        rows.append(row)
        if len(row) > longest:
            raise ApiError(
                400,
                f"number {number} has {len(row):,} tokens; the model reads at most {longest:,}",
                code="context_length_exceeded",
                param=param,
            )
    return rows


def _usage(rows: list[list[int]]) -> responses.InputUsage:
    n = sum(map(len, rows))
    return responses.InputUsage(prompt_tokens=n, total_tokens=n)


def _packed(vector: list[float]) -> str:
    """Little-endian float32 in base64, which OpenAI's client asks for by default."""
    packed = array("f", vector)
    if packed.itemsize != 4 or array("H", [1]).tobytes() != b"\x01\x00":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode("ascii")
