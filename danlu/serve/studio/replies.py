"""Replies while they are being made: they belong to the server, so a page may go and come back meanwhile."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from starlette.exceptions import HTTPException

from danlu.feedback.errors import FeedbackError
from danlu.feedback.records import Message, Origin
from danlu.feedback.store import Store
from danlu.generate.request import Token
from danlu.serve.api.chat import prepare, see
from danlu.serve.api.completing import Plan, follow
from danlu.serve.api.errors import ApiError, validation_error
from danlu.serve.api.keys import Caller
from danlu.serve.api.reply import Piece, Reply, Text
from danlu.serve.api.requests import ChatRequest
from danlu.serve.studio.voice import Voice

KEPT = 500  # finished drafts whose speed is still known


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the visitor wants replies drawn."""

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    max_tokens: int = 256
    seed: int | None = None  # None draws one, which is stored with the reply


@dataclass(slots=True, kw_only=True)
class Draft:
    """A reply while it is made, and how that went."""

    id: str  # that the message will have
    conversation: str
    parent: str
    person: str  # who asked
    voice: str
    text: str = ""
    n_prompt: int = 0
    n_left_out: int = 0  # turns that did not fit into the context
    n_tokens: int = 0
    began: float = field(default_factory=monotonic)
    first: float | None = None  # when its first token came
    seconds: float = 0.0  # from the first token to the last
    finished: bool = False  # it is stored, or has failed
    error: str = ""
    task: asyncio.Task[None] | None = None
    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])

    def take(self, pieces: Sequence[Piece]) -> None:
        """More of the text, with its tokens."""
        for piece in pieces:
            if isinstance(piece, Text):
                self.text += piece.text
                self.ids += [spoken.token.id for spoken in piece.tokens]
                self.logprobs += [spoken.token.logprob or 0.0 for spoken in piece.tokens]

    @property
    def tokens_per_s(self) -> float:
        """Speed after the first token; 0 = not known."""
        spent = self.seconds or (monotonic() - self.first if self.first else 0.0)
        return (self.n_tokens - 1) / spent if self.n_tokens > 1 and spent else 0.0


class Replies:
    """All drafts of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._drafts: dict[str, Draft] = {}

    def known(self, message: str) -> Draft | None:
        """How a reply came to be, if that was lately."""
        return self._drafts.get(message)

    def under_way(self, conversation: str) -> list[Draft]:
        """Unfinished replies of a conversation."""
        return [
            each for each in self._drafts.values() if each.conversation == conversation and not each.finished
        ]

    async def begin(
        self,
        voice: Voice,
        person: str,
        place: Message,
        messages: Sequence[Mapping[str, Any]],
        sampling: Sampling,
        go_on: Message | None = None,
    ) -> Draft:
        """Start a reply.

        Args:
            place: where it will stand; its content is empty.
            messages: the conversation before it.
            go_on: an unfinished reply whose text this one goes on with.

        Raises:
            ApiError: it cannot be made; nothing was started.
        """
        seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        body = _request(voice, messages, sampling, seed)
        # Every person is a caller of their own, with a share of the server and a cache of their own.
        caller = Caller(name=f"studio:{person}", scopes=frozenset({"chat"}))
        seen = await asyncio.to_thread(see, voice.service, body, [])
        plan = await asyncio.to_thread(prepare, voice.service, body, caller, seen)
        (request,) = plan.requests
        before = [] if go_on is None else _tokens(go_on.origin)
        if before:
            ids = (*request.prompt_ids, *(token.id for token in before))
            if len(ids) >= voice.service.served.max_seq_len:
                raise ApiError(400, "the context is full; this reply cannot go on")
            request = replace(request, prompt_ids=ids, key=len(before))
        reply = Reply(voice.service.vocabulary, show_end=True)
        plan = replace(plan, requests=[request], replies=[reply])
        draft = Draft(
            id=uuid4().hex,
            conversation=place.conversation,
            parent=place.parent,
            person=person,
            voice=voice.name,
            n_prompt=seen.kept.n_tokens,
            n_left_out=len(seen.kept.left_out),
        )
        for token in before:
            draft.take(reply.push(token))
        drawn = {
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "top_k": request.sampling.top_k,
            "max_new_tokens": request.sampling.max_new_tokens,
            "seed": seed,
        }
        origin = Origin(model=voice.digest, name=voice.name, sampling=drawn)
        self._remember(draft)
        draft.task = asyncio.create_task(
            self._make(voice, caller, plan, draft, replace(place, origin=origin))
        )
        return draft

    def stop(self, draft: Draft) -> None:
        """End a reply where it is; what there is of it is kept."""
        if draft.task is not None and not draft.finished:
            draft.task.cancel()

    async def end(self) -> None:
        """Stop everything, and store what there is."""
        tasks = [each.task for each in self._drafts.values() if each.task is not None and not each.finished]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _make(self, voice: Voice, caller: Caller, plan: Plan, draft: Draft, message: Message) -> None:
        unfinished = True
        try:
            async with (
                asyncio.timeout(voice.service.limits.wall_s),
                voice.service.under_way(caller, plan.requests) as stream,
                aclosing(follow(voice.service, plan, stream)) as progress,
            ):
                async for each in progress:
                    draft.take(each.pieces)
                    _count(draft, 1)
                    if each.finish_reason is not None:
                        unfinished = each.finish_reason == "length"
        except asyncio.CancelledError:
            pass  # stopped by somebody; it is stored as far as it came
        except TimeoutError:
            draft.error = f"not finished after {voice.service.limits.wall_s:g} seconds"
        except HTTPException as error:
            draft.error = str(error.detail)
        origin = replace(
            message.origin,
            token_ids=tuple(draft.ids),
            logprobs=tuple(draft.logprobs),
            unfinished=unfinished,
        )
        await asyncio.shield(self._keep(draft, replace(message, content=draft.text, origin=origin)))

    async def _keep(self, draft: Draft, message: Message) -> None:
        try:
            if draft.n_tokens or not draft.error:
                await asyncio.to_thread(self._store.add, "", message, event_id=draft.id)
        except FeedbackError as error:
            draft.error = str(error)
        finally:
            draft.finished = True

    def _remember(self, draft: Draft) -> None:
        self._drafts[draft.id] = draft
        over = [key for key, each in self._drafts.items() if each.finished][
            : max(0, len(self._drafts) - KEPT)
        ]
        for key in over:
            del self._drafts[key]


def _request(
    voice: Voice, messages: Sequence[Mapping[str, Any]], sampling: Sampling, seed: int
) -> ChatRequest:
    try:
        return ChatRequest.model_validate(
            {
                "model": voice.name,
                "messages": [{"role": each["role"], "content": each["content"]} for each in messages],
                "temperature": float(sampling.temperature),
                "top_p": float(sampling.top_p),
                "top_k": sampling.top_k,
                "max_tokens": sampling.max_tokens,
                "seed": seed,
            }
        )
    except ValidationError as error:
        raise validation_error(error.errors()) from None


def _tokens(origin: Origin) -> list[Token]:
    return [Token(id=i, logprob=p) for i, p in zip(origin.token_ids, origin.logprobs, strict=True)]


def _count(draft: Draft, n_tokens: int) -> None:
    now = monotonic()
    if draft.first is None:
        draft.first = now
    draft.n_tokens, draft.seconds = draft.n_tokens + n_tokens, now - draft.first
