"""Many requests at once on one model: continuous batching over a paged cache.

Every step reads a part of the prompts that are new and gives each running request a token. Requests that
end make room at once. A request's tokens and their log-probabilities depend on the request alone, whoever
shares the batch and whatever the cache held: with the decoder in C always, with the model's own forward in
exact mode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from danlu.config import ConfigError
from danlu.generate.blocks import BlockManager, root_digest
from danlu.generate.checks import check_request
from danlu.generate.choose import uniforms
from danlu.generate.decoder import WISH, Decoder, Span, Tokens, Wishes
from danlu.generate.draft import Draft
from danlu.generate.kernel import DecoderConfig, make_decoder, runs_natively
from danlu.generate.offsets import offsets_of
from danlu.generate.request import NOTHING_ALLOWED, Event, Request, Token, TokenMask
from danlu.generate.scheduler import Scheduler, Stream, Wave
from danlu.generate.speculation import Repetitions
from danlu.generate.wishes import wish
from danlu.model.heads import LanguageModel

BLOCK_SIZE = 32
MOST_GUESSED = 32  # tokens ahead
JUDGED_AT_A_TIME = 64  # prompt tokens whose logits exist at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How much runs at once, and with which kernel."""

    max_batch: int = 32  # requests that run at the same time
    max_seq_len: int | None = None  # longest prompt and completion together; None: the model's own limit
    cache_tokens: int | None = None  # that the cache holds; None: the longest of max_batch requests
    prefill_tokens: int = 512  # of prompts read in one step, so that others need not wait long
    keep_prefixes: bool = True  # find what was read before also when nobody runs on it any more
    n_draft: int = 0  # tokens guessed ahead, from repetitions in the text or by a small model; 0 is none
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        for name in ("max_batch", "prefill_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"engine.{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.n_draft <= MOST_GUESSED:
            raise ConfigError(f"engine.n_draft is {self.n_draft}; it must be from 0 to {MOST_GUESSED}")

    def sequence_length(self, model: LanguageModel) -> int:
        """The longest prompt and completion together; a limit beyond the model's is refused."""
        limit = model.config.max_seq_len
        wanted = limit if self.max_seq_len is None else self.max_seq_len
        if not 2 <= wanted <= limit:
            raise ValueError(f"max_seq_len is {wanted}; the model was built for at most {limit}, at least 2")
        return wanted


@dataclass(frozen=True, slots=True)
class _Batch:
    each: list[Stream]  # of each token
    rows: NDArray[np.int64]  # of the table of blocks
    wishes: Wishes
    adapters: list[str | None] | None


@dataclass(frozen=True, slots=True)
class _Adapter:
    model: LanguageModel  # what it makes of the engine's
    version: int  # of the weights that came with it


class PagedEngine:
    """Runs requests through a language model; see `request.Engine` for what it promises.

    Not thread-safe: one thread owns it.

    Args:
        draft: a smaller model of the same vocabulary that guesses `config.n_draft` tokens ahead.
    """

    def __init__(
        self, model: LanguageModel, config: EngineConfig | None = None, *, draft: LanguageModel | None = None
    ) -> None:
        self._config = config = config or EngineConfig()
        self._model, self._vocab_size = model, model.config.vocab_size
        self.max_seq_len = self._longest = config.sequence_length(model)
        per_row = -(-self.max_seq_len // BLOCK_SIZE)
        wanted = config.cache_tokens
        n_blocks = config.max_batch * per_row if wanted is None else -(-wanted // BLOCK_SIZE)
        if n_blocks < per_row:
            raise ValueError(f"cache_tokens is {wanted}; one request may need {self.max_seq_len}")
        blocks = BlockManager(n_blocks + 1, BLOCK_SIZE, keep=config.keep_prefixes)
        self.scheduler = Scheduler(blocks, max_batch=config.max_batch, max_blocks=per_row)
        self._adapters: dict[str, _Adapter] = {}
        self._native = runs_natively(model, (), config.decoder)
        self._decoder = self._new_decoder()
        self._draft = None if draft is None else self._new_draft(draft)
        self._n_versions = self._base_version = 0
        self.n_guessed = self.n_right = 0  # tokens guessed ahead so far, and those of them that came
        self._streams: dict[int, Stream] = {}
        self._n_added = 0
        self._wishes = np.zeros(config.max_batch, WISH)  # by row; uniforms are filled in for each draw
        self._batch: _Batch | None = None  # the last, while nobody new has a row

    @property
    def n_unfinished(self) -> int:
        """Requests that wait or run."""
        return len(self._streams)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that requests may ask for."""
        return tuple(self._adapters)

    def refresh(self) -> None:
        """Take over the weights after an update; no new request uses what was read under others."""
        adapted = self._adapted
        if not self._fit(adapted):
            self._decoder.refresh()
            for name, model in adapted.items():
                self._decoder.load_adapter(name, model)
        self._n_versions += 1
        self._base_version = self._n_versions
        self.scheduler.blocks.forget()

    def load_adapter(self, name: str, model: LanguageModel) -> None:
        """Let requests name an adapter; one of the same name is replaced.

        Args:
            name: by which requests ask for it.
            model: what the adapter makes of the engine's model. If it differs from it by LoRA over the same
                frozen weights, one batch of the decoder in C holds both; others go through its own forward.
        """
        if replace(model.config, max_seq_len=self._model.config.max_seq_len) != self._model.config:
            raise ValueError(
                f"adapter {name!r} is of another model: {model.config}, not {self._model.config}"
            )
        if name in self._adapters:
            self._check_unused(name)
        if not self._fit(self._adapted | {name: model}):
            self._decoder.load_adapter(name, model)
        self._n_versions += 1
        self._adapters[name] = _Adapter(model, self._n_versions)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; refused while a request that asked for it is unfinished."""
        if name not in self._adapters:
            raise ValueError(
                f"there is no adapter {name!r}; adapters are: {', '.join(sorted(self._adapters))}"
            )
        self._check_unused(name)
        self._decoder.unload_adapter(name)
        del self._adapters[name]

    def _check_unused(self, name: str) -> None:
        if users := [stream.id for stream in self._streams.values() if stream.request.adapter == name]:
            raise ValueError(f"adapter {name!r} is in use by request {users[0]}; wait for it, or cancel it")

    @property
    def _adapted(self) -> dict[str, LanguageModel]:
        return {name: each.model for name, each in self._adapters.items()}

    def add(self, request: Request) -> int:
        """Queue a request and return its id; ValueError says what is wrong with it."""
        adapter = None if request.adapter is None else self._adapters.get(request.adapter)
        longest = self.max_seq_len
        if adapter is not None:
            longest = min(longest, adapter.model.config.max_seq_len)
        check_request(
            request, max_seq_len=longest, vocab_size=self._vocab_size, adapters=self._adapters.keys()
        )
        if request.pictures is not None:
            raise ValueError("the request holds pictures, and this engine reads text only")
        limit = min(request.sampling.max_new_tokens, longest - len(request.prompt_ids))
        version = 0 if adapter is None else adapter.version
        self._n_added += 1
        stream = Stream(
            id=self._n_added,
            request=request,
            uniforms=uniforms(request.sampling.seed, request.key, limit).tolist(),
            ids=list(request.prompt_ids),
            root=root_digest(f"{self._base_version}/{version}/{request.salt}"),
            n_prompt=len(request.prompt_ids),
            offsets=offsets_of(request, self._vocab_size),
            prompt=[Token(id=request.prompt_ids[0], logprob=None)] if request.prompt_logprobs else None,
        )
        follows = request.token_filter is not None or stream.offsets is not None
        stream.has_extras = follows or request.n_top > 0
        plain = stream.offsets is None or not stream.offsets.follow_the_text
        stream.may_guess = self._config.n_draft > 0 and request.token_filter is None and plain
        if stream.may_guess and self._draft is None:
            stream.repetitions = Repetitions()
        self._streams[stream.id] = stream
        self.scheduler.add(stream)
        return stream.id

    def cancel(self, request_id: int) -> None:
        """Forget a request; no event of it comes after this."""
        stream = self._streams.pop(request_id, None)
        if stream is not None:
            self.scheduler.remove(stream)

    def step(self) -> list[Event]:
        """Advance what runs by one token, or read a part of a prompt."""
        return [event for stream in self.advance() for event in events_of(stream)]

    @torch.inference_mode()
    def advance(self) -> list[Stream]:
        """As `step`, for callers that look at the streams themselves: those that got a token, or ended."""
        self._read()
        moved = self.scheduler.ready()
        if moved:
            self._draw(moved)
        for stream in moved:
            if stream.end is not None:
                self.scheduler.publish_tail(stream)
                self.scheduler.remove(stream)
                del self._streams[stream.id]
        return moved

    def _fit(self, adapted: Mapping[str, LanguageModel]) -> bool:
        """Have a decoder that can run the model as it is by now, and these; say whether it is a new one."""
        native = runs_natively(self._model, adapted.values(), self._config.decoder)
        longest = min(self._longest, self._model.config.max_seq_len)
        if (native, longest) == (self._native, self.max_seq_len):
            return False
        if self.n_unfinished:
            if not self._native and longest >= self.max_seq_len:
                return False  # the model's own forward runs anything; another waits until nobody runs
            raise ValueError(
                f"{self.n_unfinished} sequences are running, and the model has been given an adapter that "
                "their decoder cannot run; finish or cancel them first"
            )
        self._native, self.max_seq_len = native, longest
        self._decoder = self._new_decoder()
        for name, model in adapted.items():
            self._decoder.load_adapter(name, model)
        self.scheduler.blocks.forget()
        return True

    def _new_decoder(self) -> Decoder:
        tables, n_blocks = self.scheduler.tables, self.scheduler.blocks.n_blocks
        how = self._config.decoder
        return make_decoder(self._model, tables, n_blocks, BLOCK_SIZE, how, native=self._native)

    def _new_draft(self, model: LanguageModel) -> Draft:
        own, how = self._model.config, self._config.decoder
        if not self._config.n_draft:
            raise ValueError("n_draft is 0, so a draft model would guess nothing; it must be at least 1")
        if model.config.vocab_size != own.vocab_size or model.config.max_seq_len < self._longest:
            raise ValueError(
                f"the draft model knows {model.config.vocab_size} tokens and reads "
                f"{model.config.max_seq_len}; it must know {own.vocab_size}, as the model does, and read "
                f"at least {self._longest}"
            )
        tables, n_blocks = self.scheduler.tables, self.scheduler.blocks.n_blocks
        native = runs_natively(model, (), how)
        return Draft(make_decoder(model, tables, n_blocks, BLOCK_SIZE, how, native=native))

    def _read(self) -> None:
        """Read waiting prompts, or parts of them."""
        budget = self._config.prefill_tokens
        while budget > 0 and (wave := self.scheduler.next_wave(budget)):
            self._begin(wave)
            plain = [_span(stream, n) for stream, n in wave.reads if stream.prompt is None]
            if plain:
                self._decoder.read(plain)
            for stream, n in wave.reads:
                if stream.prompt is not None:
                    self._judge(stream, stream.prompt, n)
                self.scheduler.has_read(stream, n)
                if not stream.n_unread:
                    self.scheduler.publish_tail(stream)
                budget -= n

    def _begin(self, wave: Wave) -> None:
        """What comes before the reading of a wave, and all of it that a small model does."""
        for stream in wave.admitted:
            self._wishes[stream.row] = wish(stream)
            stream.n_drafted = stream.n_read
            self._batch = None
        for copy in wave.copies:
            self._decoder.copy_block(*copy)
            if self._draft is not None:
                self._draft.copy_block(*copy)
        if self._draft is not None and wave.reads:
            self._draft.read_along([(stream, _span(stream, n)) for stream, n in wave.reads])

    def _judge(self, stream: Stream, prompt: list[Token], n: int) -> None:
        """Read `n` more tokens of a prompt, noting what the model thinks of those that follow them."""
        del prompt[stream.n_read + 1 :]  # a stream that gave way begins again
        for start in range(stream.n_read, stream.n_read + n, JUDGED_AT_A_TIME):
            stop = min(start + JUDGED_AT_A_TIME, stream.n_read + n)
            following = stream.ids[start + 1 : stop + 1]
            span = Span(stream.row, start, stream.ids[start:stop], stream.request.adapter)
            logprobs = self._decoder.judge(span, following)
            prompt += [
                Token(id=token_id, logprob=logprob, top=self._top(stream, place))
                for place, (token_id, logprob) in enumerate(zip(following, logprobs, strict=True))
            ]

    def _draw(self, ready: Sequence[Stream]) -> None:
        """A token for each stream, more where guesses are right."""
        guesses = self._guesses(ready) if self._config.n_draft else [NO_GUESS] * len(ready)
        each: list[Stream] = []
        ids, positions, uniform = list[int](), list[int](), list[float]()
        for stream, guess in zip(ready, guesses, strict=True):
            first, n = len(stream.ids) - 1, 1 + len(guess)
            each += [stream] * n
            ids += [stream.ids[first], *guess]
            positions += range(first, first + n)
            n_drawn = len(stream.logprobs)
            uniform += stream.uniforms[n_drawn : n_drawn + n]
        batch = self._batch_of(each)
        batch.wishes.table["uniform"] = uniform
        tokens = Tokens(np.array(ids), batch.rows, np.array(positions), batch.adapters)
        drawn, logprobs = self._decoder.draw(tokens, batch.wishes)
        place = 0
        for stream, guess in zip(ready, guesses, strict=True):
            self._append(stream, place, drawn[place], logprobs[place])
            if guess:
                stop = place + 1 + len(guess)
                self._append_guessed(stream, guess, place, drawn[place:stop], logprobs[place:stop])
            place += 1 + len(guess)
        self.scheduler.have_drawn(ready)

    def _batch_of(self, each: list[Stream]) -> _Batch:
        """What stays the same from step to step while the same streams run; `each` has one for each token."""
        if self._batch is not None and self._batch.each == each:
            return self._batch
        rows = np.array([stream.row for stream in each])
        filters = {
            i: s.request.token_filter for i, s in enumerate(each) if s.request.token_filter is not None
        }
        wishes = Wishes(
            self._wishes[rows],
            {i: s.offsets.values for i, s in enumerate(each) if s.offsets is not None},
            filters,
            {i: f for i, f in filters.items() if isinstance(f, TokenMask)},
        )
        adapters = [stream.request.adapter for stream in each]
        self._batch = _Batch(each, rows, wishes, adapters if any(adapters) else None)
        return self._batch

    def _append(self, stream: Stream, place: int, token_id: int, logprob: float) -> None:
        """Give a stream the token drawn at that place of the batch."""
        if token_id < 0 or not math.isfinite(logprob):
            limited = stream.offsets is not None or stream.request.token_filter is not None
            stream.end, stream.error = "error", NOTHING_ALLOWED if token_id < 0 and limited else NOT_FINITE
            return
        stream.ids.append(token_id)
        stream.logprobs.append(logprob)
        if stream.has_extras:
            self._note(stream, place, token_id)
        if token_id in stream.request.stop_ids:
            stream.end = "stop"
        elif len(stream.logprobs) == len(stream.uniforms):
            stream.end = "length"

    def _append_guessed(
        self,
        stream: Stream,
        guess: Sequence[int],
        place: int,
        drawn: Sequence[int],
        logprobs: Sequence[float],
    ) -> None:
        """Go on with what was drawn after a guess, for as long as the guess is what was drawn."""
        n_right = 0
        for n, guessed in enumerate(guess):
            if stream.end is not None or guessed != drawn[n]:
                break
            self._append(stream, place + n + 1, drawn[n + 1], logprobs[n + 1])
            n_right += 1
        self.n_guessed += len(guess)
        self.n_right += n_right
        # The small model has read the stream's last token of before and all guesses but the last.
        stream.n_drafted += min(n_right, len(guess) - 1)

    def _note(self, stream: Stream, place: int, token_id: int) -> None:
        """What few requests ask for, of each token."""
        if stream.request.n_top:
            stream.tops.append(self._top(stream, place))
        if stream.offsets is not None:
            stream.offsets.note(token_id)
        if stream.request.token_filter is not None:
            stream.request.token_filter.accept(token_id)

    def _guesses(self, ready: Sequence[Stream]) -> list[list[int]]:
        """What may follow each stream, for the tokens of which it has room by now."""
        n_draft = self._config.n_draft
        wanted = [min(n_draft, len(s.uniforms) - s.n_drawn - 1) if s.may_guess else 0 for s in ready]
        if self._draft is not None:
            room = [self.scheduler.room_for(s, n) for s, n in zip(ready, wanted, strict=True)]
            return self._draft.guess(ready, room)
        guesses = [
            stream.repetitions.guess(stream.ids, n) if n and stream.repetitions is not None else NO_GUESS
            for stream, n in zip(ready, wanted, strict=True)
        ]
        return [g[: self.scheduler.room_for(s, len(g))] for s, g in zip(ready, guesses, strict=True)]

    def _top(self, stream: Stream, place: int) -> tuple[tuple[int, float], ...]:
        return self._decoder.top(place, stream.request.n_top) if stream.request.n_top else ()


NO_GUESS: list[int] = []
NOT_FINITE = "the model's logits are not finite; its weights have diverged"


def events_of(stream: Stream) -> list[Event]:
    """What the caller does not know of a stream yet."""
    events: list[Event] = []
    if stream.prompt is not None:
        events.append(Event(request_id=stream.id, prompt=stream.prompt))
        stream.prompt = None
    for i in range(stream.n_told, stream.n_drawn):
        token = Token(
            id=stream.ids[stream.n_prompt + i],
            logprob=stream.logprobs[i],
            top=stream.tops[i] if stream.tops else (),
        )
        ended = stream.end if i == stream.n_drawn - 1 and stream.end != "error" else None
        events.append(Event(request_id=stream.id, token=token, end_reason=ended))
    stream.n_told = stream.n_drawn
    if stream.end == "error":
        events.append(Event(request_id=stream.id, end_reason="error", error=stream.error))
    return events


def _span(stream: Stream, n: int) -> Span:
    """The next n unread tokens."""
    unread = stream.ids[stream.n_read : stream.n_read + n]
    return Span(stream.row, stream.n_read, unread, stream.request.adapter)
