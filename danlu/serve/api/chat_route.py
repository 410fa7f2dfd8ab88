"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from danlu.serve.api import responses
from danlu.serve.api.body import StrictRoute
from danlu.serve.api.chat import answering
from danlu.serve.api.completing import answer
from danlu.serve.api.errors import RESPONSES
from danlu.serve.api.event_stream import STREAMED
from danlu.serve.api.requests import ChatRequest
from danlu.serve.api.rounds import answer_in_rounds
from danlu.serve.api.service import Service


def chat_routes(service: Service) -> APIRouter:
    """The route of chat."""
    router = APIRouter(route_class=StrictRoute, responses=RESPONSES)

    @router.post(
        "/v1/chat/completions",
        response_model=responses.ChatCompletion,
        responses={200: {"content": STREAMED}},
    )
    async def chat_completions(body: ChatRequest, http: Request) -> Response:
        """The next turn of a conversation."""
        if service.served.translating is not None:
            raise service.absent("translates and holds no conversations; send the text to /v1/completions")
        if body.server_tools or body.context == "summarise":
            return await answer_in_rounds(service, http, body)
        return await answer(service, http, body, lambda caller: answering(service, body, caller))

    return router
