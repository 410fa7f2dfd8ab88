"""Text to ids and back, as lm-evaluation-harness asks for it: /tokenize, /detokenize, /tokenizer_info."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from danlu.serve.api import responses
from danlu.serve.api.body import StrictRoute
from danlu.serve.api.completions import prompts_of
from danlu.serve.api.conversations import messages_of, tools_of
from danlu.serve.api.errors import RESPONSES, ApiError
from danlu.serve.api.requests import DetokenizeRequest, TokenizeChat, TokenizeText
from danlu.serve.api.service import Service
from danlu.tokenizer.chat import ChatError
from danlu.tokenizer.interface import TextTokenizer


def token_routes(service: Service) -> APIRouter:
    """The routes of the tokenizer."""
    router, tokenizer = APIRouter(route_class=StrictRoute, responses=RESPONSES), service.tokenizer
    eos_token = _eos_token(tokenizer)

    @router.post("/tokenize", response_model=responses.Tokens)
    async def tokenize(body: TokenizeText | TokenizeChat) -> Response:
        """Ids of a text or a conversation. What looks like a control token in a text is spelled out.

        One text is an exception: `<|endoftext|>` alone is that token, for so lm-evaluation-harness asks for
        its id.
        """
        service.check_model(body.model or service.served.name)
        # A megabyte of text is a million tokens; others would wait while they are written here.
        told = await asyncio.to_thread(_tokens_of, service, body)
        return Response(told, media_type="application/json")

    @router.post("/detokenize", response_model=responses.Detokenized)
    async def detokenize(body: DetokenizeRequest) -> responses.Detokenized:
        """The text of ids, control tokens left out."""
        service.check_model(body.model or service.served.name)
        if not body.tokens:
            return responses.Detokenized(prompt="")
        (prompt,) = await asyncio.to_thread(prompts_of, body.tokens, tokenizer, begin=False)
        return responses.Detokenized(prompt=prompt.text)

    @router.get("/tokenizer_info", response_model=responses.TokenizerInfo)
    async def tokenizer_info() -> responses.TokenizerInfo:
        """The tokenizer's control tokens.

        There is no chat_template here: a text that a client renders by it would hold control tokens, and no
        text can. Conversations go to /tokenize as messages.
        """
        return responses.TokenizerInfo(
            tokenizer_class="PreTrainedTokenizerFast",
            vocab_size=tokenizer.vocab_size,
            max_model_len=service.served.max_seq_len,
            bos_token=eos_token,
            eos_token=eos_token,
            pad_token=tokenizer.decode([tokenizer.pad_id], show_control=True),
        )

    return router


def _eos_token(tokenizer: TextTokenizer) -> str:
    return tokenizer.decode([tokenizer.eos_id], show_control=True)


def _tokens_of(service: Service, body: TokenizeText | TokenizeChat) -> str:
    ids = _ids_of(service, body)
    strings = [service.vocabulary.spelling[i] for i in ids] if body.return_token_strs else None
    told = responses.Tokens(
        count=len(ids), max_model_len=service.served.max_seq_len, tokens=ids, token_strs=strings
    )
    return told.model_dump_json()


def _ids_of(service: Service, body: TokenizeText | TokenizeChat) -> list[int]:
    tokenizer = service.tokenizer
    if isinstance(body, TokenizeText):
        lead = [tokenizer.begin_id] if body.add_special_tokens else []
        is_end = body.prompt == _eos_token(tokenizer)
        return lead + ([tokenizer.eos_id] if is_end else tokenizer.encode(body.prompt))
    messages, tools = messages_of(body.messages, service.limits), tools_of(body.tools, service.limits)
    try:
        if body.add_generation_prompt:
            return service.chat.prompt(messages, tools)
        return service.chat.render(messages, tools).ids
    except ChatError as error:
        raise ApiError(400, str(error), param="messages") from None
