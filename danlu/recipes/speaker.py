"""A model that answers: loaded from its directory, and its words as they come. For `chat` and `generate`."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from danlu.adapters.files import find_base, is_adapter, load_adapter, read_adapter
from danlu.config import ConfigError
from danlu.data.images import pixels_of
from danlu.generate.engine import MOST_GUESSED
from danlu.generate.reference import ReferenceEngine
from danlu.generate.request import Request, Token
from danlu.generate.sampler import Completion, Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.generate.speculation import Guessing
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model
from danlu.model.weights import ModelFileError
from danlu.recipes.stage import spoken_format_of
from danlu.tokenizer.chat import ChatError
from danlu.tokenizer.interface import AnyChatFormat


@dataclass(frozen=True, slots=True)
class Speaker:
    """A language model and the format in which it is spoken to."""

    model: LanguageModel
    chat: AnyChatFormat
    guessing: Guessing = field(default_factory=Guessing)

    @property
    def max_seq_len(self) -> int:
        return self.model.config.max_seq_len

    def check_room(self, prompt_ids: Sequence[int]) -> None:
        """Refuse a prompt that leaves no room for an answer."""
        if len(prompt_ids) >= self.max_seq_len:
            raise ChatError(
                f"the prompt has {len(prompt_ids)} tokens; with room for an answer it must be shorter than "
                f"{self.max_seq_len}"
            )

    @property
    def sees(self) -> bool:
        """Whether pictures may be shown to the model."""
        return self.model.config.pictures is not None

    def see(self, urls: Sequence[str]) -> Tensor | None:
        """Pictures as the model takes them, from their data URLs; None where there are none."""
        if not urls:
            return None
        if self.model.config.pictures is None:
            raise ChatError("there is a picture, and this model reads text only")
        return pixels_of(urls, self.model.config.pictures.side)

    def say(
        self,
        prompt_ids: Sequence[int],
        stop_ids: Collection[int],
        sampling: SamplingConfig,
        key: int = 0,
        pictures: Tensor | None = None,
        *,
        goes_on: bool = False,
    ) -> Iterator[str]:
        """The completion's text in pieces; the last is " […]" where the length limit cut it."""
        completion = yield from self.speak(prompt_ids, stop_ids, sampling, key, pictures, goes_on=goes_on)
        if completion.finish_reason == "length":
            yield CUT

    def speak(
        self,
        prompt_ids: Sequence[int],
        stop_ids: Collection[int],
        sampling: SamplingConfig,
        key: int = 0,
        pictures: Tensor | None = None,
        *,
        may_call: bool = False,
        goes_on: bool = False,
    ) -> Generator[str, None, Completion]:
        """The completion's text in pieces, and at the end the completion; the text of calls is no piece.

        Args:
            prompt_ids: with the markers of `pictures`, which `see` makes.
            stop_ids: any of these ends it.
            sampling: how to draw.
            key: with `sampling.seed` it decides the random numbers.
            pictures: (n, side, side, 3) uint8, or None.
            may_call: whether it may call tools.
            goes_on: it continues a text rather than answers, and a blank at its start is told.
        """
        tokenizer, call_id = self.chat.tokenizer, self.chat.call_id
        self.check_room(prompt_ids)
        allowed = frozenset(stop_ids) | ({call_id} if may_call and call_id is not None else frozenset[int]())
        request = Request(
            prompt_ids=tuple(prompt_ids),
            sampling=sampling,
            key=key,
            stop_ids=frozenset(stop_ids),
            forbidden_ids=tokenizer.control_ids - allowed,
            pictures=pictures,
        )
        drawn = self._read_and_answer(request) if pictures is None else look_and_answer(self.model, request)
        # A token may end inside a character.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        calling, first = False, self.chat.blank_first and not goes_on
        try:
            while True:
                token = next(drawn)
                calling = calling or (call_id is not None and token == call_id)
                raw = tokenizer.decode_bytes([token])
                raw, first = raw.removeprefix(b" ") if first else raw, False
                if not calling and (text := decoder.decode(raw)):
                    yield text
        except StopIteration as done:
            completion = done.value
        if text := decoder.decode(b"", final=True):
            yield text
        return completion

    def _read_and_answer(self, request: Request) -> Generator[int, None, Completion]:
        """The completion of a prompt of text as it comes, and at the end the whole."""
        sampler = Sampler(
            self.model,
            stop_ids=request.stop_ids,
            forbidden_ids=request.forbidden_ids,
            max_batch=1,
            guessing=self.guessing,
        )
        sequence = sampler.add(request.prompt_ids, request.sampling, request.key)
        while (completion := sampler.take(sequence)) is None:
            for _, token, _ in sampler.step():
                yield token
        return completion


def look_and_answer(model: LanguageModel, request: Request) -> Generator[int, None, Completion]:
    """The completion of a prompt with pictures as it comes, and at the end the whole.

    Engines that keep a cache do not read pictures; the reference engine does.
    """
    engine = ReferenceEngine(model)
    engine.add(request)
    tokens = list[Token]()
    while True:
        (event,) = engine.step()
        if event.token is None or event.token.logprob is None:
            raise FloatingPointError(event.error)
        tokens.append(event.token)
        yield event.token.id
        if event.end_reason in ("stop", "length"):
            logprobs = tuple(token.logprob for token in tokens if token.logprob is not None)
            ids = tuple(token.id for token in tokens)
            return Completion(ids=ids, logprobs=logprobs, finish_reason=event.end_reason)


def load_speaker(path: Path) -> Speaker:
    """The model in a model or adapter directory, or in the run directory of the stage that made it."""
    if (path / "model" / "config.json").exists():
        path = path / "model"
    elif is_adapter(path / "adapter"):
        path = path / "adapter"
    if is_adapter(path):
        return load_adapted_speaker(path)
    chat = spoken_format_of(path)
    model = load_language_model(path, vocab_size=chat.tokenizer.vocab_size)
    return Speaker(model.eval(), chat)


def load_adapted_speaker(path: Path) -> Speaker:
    """The model of an adapter directory, with the tokenizer of its base."""
    chat = spoken_format_of(find_base(read_adapter(path)))
    model = load_adapter(path, vocab_size=chat.tokenizer.vocab_size)
    if not isinstance(model, LanguageModel):
        raise ModelFileError(f"{path} adapts a score model; the adapter of a language model is needed here")
    return Speaker(model.eval(), chat)


def check_guesses(n_draft: int, draft: Path | None) -> None:
    """Refuse settings of guesses that make no sense."""
    if not 0 <= n_draft <= MOST_GUESSED:
        raise ConfigError(f"n_draft is {n_draft}; it must be from 0 to {MOST_GUESSED}")
    if draft is not None and not n_draft:
        raise ConfigError("draft is set and n_draft is 0, so nothing would be guessed; set n_draft, say to 4")


def guessing_of(n_draft: int, draft: Path | None, speaker: Speaker) -> Guessing:
    """Guesses of a speaker's tokens, with the model that makes them."""
    return Guessing(n_draft=n_draft, draft=None if draft is None else load_draft(draft, speaker))


def load_draft(path: Path, speaker: Speaker) -> LanguageModel:
    """A smaller model that guesses what a speaker will say, which takes the very same vocabulary."""
    draft = load_speaker(path)
    if _vocabulary(draft) != _vocabulary(speaker):
        raise ConfigError(
            f"draft: {path} has another vocabulary than the model; name one with the same tokenizer"
        )
    if draft.max_seq_len < speaker.max_seq_len:
        raise ConfigError(
            f"draft: {path} reads {draft.max_seq_len} tokens; it must read {speaker.max_seq_len}"
        )
    return draft.model


def _vocabulary(speaker: Speaker) -> list[bytes | None]:
    """What each id stands for; None for a control token."""
    tokenizer = speaker.chat.tokenizer
    ids, control_ids = range(tokenizer.vocab_size), tokenizer.control_ids
    return [None if i in control_ids else tokenizer.decode_bytes([i]) for i in ids]


CUT = " […]"
