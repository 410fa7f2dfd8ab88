"""Replies while they are being made: they belong to the server, so a page may go and come back meanwhile."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, cast
from uuid import uuid4

from pydantic import ValidationError
from starlette.exceptions import HTTPException

from danlu.dialogue.tool_loop import ToolLoop
from danlu.feedback.body import Origin
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event
from danlu.feedback.records import Message
from danlu.feedback.store import Store
from danlu.generate.request import Token
from danlu.generate.sampling import SamplingConfig
from danlu.serve.api.chat import Seen, prepare, see
from danlu.serve.api.completing import Plan, follow
from danlu.serve.api.errors import ApiError, validation_error
from danlu.serve.api.keys import Caller
from danlu.serve.api.reply import FinishReason, Piece, Reply, Text
from danlu.serve.api.requests import ChatRequest
from danlu.serve.api.rounds import message_of, toolbox_of, with_said
from danlu.serve.studio.conversation import new_event
from danlu.serve.studio.voice import Voice
from danlu.tokenizer.chat import Message as Turn
from danlu.tools.protocol import Toolbox

KEPT = 500  # finished drafts whose speed is still known
# What a message of each role may have beside its text; whatever else an imported one has stays here.
BESIDES: Mapping[str, str] = {"assistant": "tool_calls", "tool": "tool_call_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the visitor wants replies made."""

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    max_tokens: int = 256
    seed: int | None = None  # None draws one, which is stored with the reply
    tools: tuple[str, ...] = ()  # of the server, that the model may call


def sampling_at(given: SamplingConfig, temperature: float) -> Sampling:
    """As the server draws where nobody says, but at a temperature of one's own."""
    return Sampling(
        temperature=temperature, top_p=given.top_p, top_k=given.top_k, max_tokens=given.max_new_tokens
    )


@dataclass(slots=True, kw_only=True)
class Draft:
    """A reply while it is made, and how that went."""

    id: str  # that the message will have
    conversation: str
    parent: str  # the turn that is answered
    person: str  # who asked
    voice: str
    turns: list[Mapping[str, Any]] = field(
        default_factory=list[Mapping[str, Any]]
    )  # calls and results so far
    text: str = ""  # after those
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

    def begin_turn(self, before: Sequence[Turn]) -> None:
        """The model has called tools and speaks again."""
        self.turns += cast(Sequence[Mapping[str, Any]], before)
        self.text, self.ids, self.logprobs = "", [], []

    @property
    def tokens_per_s(self) -> float:
        """Speed after the first token; 0 = not known."""
        spent = self.seconds or (monotonic() - self.first if self.first else 0.0)
        return (self.n_tokens - 1) / spent if self.n_tokens > 1 and spent else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a model is asked for."""

    voice: Voice
    caller: Caller
    body: ChatRequest
    seen: Seen
    toolbox: Toolbox

    @classmethod
    async def of(
        cls, voice: Voice, who: str, messages: Sequence[Mapping[str, Any]], sampling: Sampling
    ) -> Asked:
        """The next turn of a conversation; ApiError if it cannot be had.

        Args:
            who: asks; everybody is a caller with a share of the server and a cache of their own.
        """
        seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        body = _request(voice, messages, sampling, seed)
        caller = Caller(name=f"studio:{who}", scopes=frozenset({"chat"}))
        toolbox = toolbox_of(voice.service, body)
        seen = await asyncio.to_thread(see, voice.service, body, toolbox.schemas)
        return cls(voice=voice, caller=caller, body=body, seen=seen, toolbox=toolbox)

    async def plan(self, said: Sequence[Turn] = (), before: Sequence[Token] = ()) -> Plan:
        """What the engine is to do for one turn.

        Args:
            said: by the model and its tools since the question.
            before: tokens with which the turn begins.
        """
        service = self.voice.service
        seen = with_said(service, self.seen, said) if said else self.seen
        plan = await asyncio.to_thread(prepare, service, self.body, self.caller, seen)
        (request,) = plan.requests
        if before:
            ids = (*request.prompt_ids, *(token.id for token in before))
            if len(ids) >= service.served.max_seq_len:
                raise ApiError(400, "the context is full; this reply cannot go on")
            request = replace(request, prompt_ids=ids, key=len(before))
        call_id = service.chat.call_id if self.toolbox.schemas else None
        reply = Reply(
            service.vocabulary, call_id=call_id, show_end=True, blank_first=service.chat.blank_first
        )
        return replace(plan, requests=[request], replies=[reply])

    def origin(self, plan: Plan) -> Origin:
        """Who speaks, and how it is drawn."""
        drawn = plan.requests[0].sampling
        sampling = {
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "top_k": drawn.top_k,
            "max_new_tokens": drawn.max_new_tokens,
            "seed": self.body.seed,
        }
        return Origin(model=self.voice.digest, name=self.voice.name, sampling=sampling)

    async def turn(self, plan: Plan, draft: Draft) -> tuple[Turn, FinishReason]:
        """One turn of the model, told to the draft as it comes."""
        service, pieces = self.voice.service, list[Piece]()
        reason: FinishReason = "stop"
        async with (
            service.under_way(self.caller, plan.requests) as stream,
            aclosing(follow(service, plan, stream)) as progress,
        ):
            async for each in progress:
                pieces += each.pieces
                draft.take(each.pieces)
                _count(draft, 1)
                reason = each.finish_reason or reason
        return message_of(pieces, plan.replies[0].n_calls), reason


async def one_answer(
    voice: Voice, who: str, messages: Sequence[Mapping[str, Any]], sampling: Sampling
) -> tuple[str, Origin]:
    """An answer that is kept nowhere; ApiError if there is none."""
    asked = await Asked.of(voice, who, messages, replace(sampling, tools=()))
    plan = await asked.plan()
    draft = Draft(id="", conversation="", parent="", person=who, voice=voice.name)
    try:
        async with asyncio.timeout(voice.service.limits.wall_s):
            _, reason = await asked.turn(plan, draft)
    except TimeoutError:
        raise ApiError(504, f"not finished after {voice.service.limits.wall_s:g} seconds") from None
    origin = replace(
        asked.origin(plan),
        token_ids=tuple(draft.ids),
        logprobs=tuple(draft.logprobs),
        unfinished=reason == "length",
    )
    return draft.text, origin


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
            place: where it will stand; its content is empty. Calls of tools, and their results, stand
                between it and the turn above.
            messages: the conversation before it.
            go_on: an unfinished reply whose text this one goes on with.

        Raises:
            ApiError: it cannot be made; nothing was started.
        """
        asked = await Asked.of(voice, person, messages, sampling)
        before = [] if go_on is None else _tokens(go_on.origin)
        plan = await asked.plan(before=before)
        draft = Draft(
            id=uuid4().hex,
            conversation=place.conversation,
            parent=place.parent,
            person=person,
            voice=voice.name,
            n_prompt=asked.seen.kept.n_tokens,
            n_left_out=len(asked.seen.kept.left_out),
        )
        for token in before:
            draft.take(plan.replies[0].push(token))
        self._remember(draft)
        message = replace(place, origin=asked.origin(plan))
        draft.task = asyncio.create_task(self._make(asked, plan, draft, message))
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

    async def _make(self, asked: Asked, plan: Plan, draft: Draft, message: Message) -> None:
        unfinished, wall_s = True, asked.voice.service.limits.wall_s
        loop = ToolLoop(asked.toolbox, asked.voice.service.served.loop)
        try:
            async with asyncio.timeout(wall_s):
                while True:
                    said, reason = await asked.turn(plan, draft)
                    added = await asyncio.to_thread(loop.take, said, cut=reason == "length")
                    if loop.ending is not None:
                        break
                    message = await asyncio.to_thread(self._keep_turns, message, added)
                    draft.begin_turn(added)
                    plan = await asked.plan(loop.said)
                unfinished = loop.ending != "answer"
        except asyncio.CancelledError:
            pass  # stopped by somebody; it is stored as far as it came
        except TimeoutError:
            draft.error = f"not finished after {wall_s:g} seconds"
        except HTTPException as error:
            draft.error = str(error.detail)
        except FeedbackError as error:
            draft.error = str(error)
        if loop.ending in ("turns", "time"):
            draft.error = "the model went on calling tools; what it said without their results is kept"
        origin = replace(
            message.origin,
            token_ids=tuple(draft.ids),
            logprobs=tuple(draft.logprobs),
            unfinished=unfinished,
        )
        await asyncio.shield(self._keep(draft, replace(message, content=draft.text, origin=origin)))

    def _keep_turns(self, place: Message, turns: Sequence[Turn]) -> Message:
        """Store a turn that calls tools, and its results; what is returned stands below the last of them."""
        nodes: list[Event] = []
        for turn in turns:
            beside = BESIDES[turn["role"]]
            said = replace(
                place,
                role=turn["role"],
                content=turn["content"],
                more={beside: turn[beside]},
                origin=Origin() if turn["role"] == "tool" else place.origin,
            )
            nodes.append(new_event("", said))
            place = replace(place, parent=nodes[-1].id)
        self._store.take_in(nodes)  # all or none: a call without its result could not be gone on from
        return place

    async def _keep(self, draft: Draft, message: Message) -> None:
        try:
            if draft.ids or not draft.error:
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
                "messages": list(map(_as_asked, messages)),
                "temperature": float(sampling.temperature),
                "top_p": float(sampling.top_p),
                "top_k": sampling.top_k,
                "max_tokens": sampling.max_tokens,
                "seed": seed,
                "server_tools": list(sampling.tools),
            }
        )
    except ValidationError as error:
        raise validation_error(error.errors()) from None


def _as_asked(message: Mapping[str, Any]) -> dict[str, Any]:
    beside = BESIDES.get(message["role"], "")
    more = {beside: message[beside]} if beside in message else {}
    return {"role": message["role"], "content": message["content"], **more}


def _tokens(origin: Origin) -> list[Token]:
    return [Token(id=i, logprob=p) for i, p in zip(origin.token_ids, origin.logprobs, strict=True)]


def _count(draft: Draft, n_tokens: int) -> None:
    now = monotonic()
    if draft.first is None:
        draft.first = now
    draft.n_tokens, draft.seconds = draft.n_tokens + n_tokens, now - draft.first
