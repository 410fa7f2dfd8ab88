"""A model that answers: loaded from its directory, and its words as they come. For `chat` and `generate`."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from danlu.adapters.files import find_base, is_adapter, load_adapter, read_adapter
from danlu.data.images import pixels_of
from danlu.generate.reference import ReferenceEngine
from danlu.generate.request import EndReason, Request
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model
from danlu.model.weights import ModelFileError
from danlu.recipes.stage import chat_format_of
from danlu.tokenizer.chat import ChatError, ChatFormat


@dataclass(frozen=True, slots=True)
class Speaker:
    """A language model and the format in which it is spoken to."""

    model: LanguageModel
    chat: ChatFormat

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
    ) -> Iterator[str]:
        """The completion's text in pieces; the last is " […]" where the length limit cut it.

        Args:
            prompt_ids: with the markers of `pictures`, which `see` makes.
            stop_ids: any of these ends it.
            sampling: how to draw.
            key: with `sampling.seed` it decides the random numbers.
            pictures: (n, side, side, 3) uint8, or None.
        """
        self.check_room(prompt_ids)
        if pictures is None:
            tokens = self._continue(prompt_ids, stop_ids, sampling, key)
        else:
            request = self.request(prompt_ids, stop_ids, sampling, key, pictures)
            tokens = ((token, reason) for _, token, reason in look_and_answer(self.model, [request]))
        # A token may end inside a character.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        reason = None
        for token, why in tokens:
            reason = why
            if text := decoder.decode(self.chat.tokenizer.decode_bytes([token])):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text
        if reason == "length":
            yield CUT

    def _continue(
        self, prompt_ids: Sequence[int], stop_ids: Collection[int], sampling: SamplingConfig, key: int
    ) -> Iterator[tuple[int, str | None]]:
        """Each token of a completion, and with the last why it ended."""
        forbidden = self.chat.tokenizer.control_ids - frozenset(stop_ids)
        sampler = Sampler(self.model, stop_ids=stop_ids, forbidden_ids=forbidden, max_batch=1)
        sequence = sampler.add(prompt_ids, sampling, key)
        completion = None
        while completion is None:
            stepped = sampler.step()
            completion = sampler.take(sequence)
            for _, token, _ in stepped:
                yield token, completion.finish_reason if completion else None

    def request(
        self,
        prompt_ids: Sequence[int],
        stop_ids: Collection[int],
        sampling: SamplingConfig,
        key: int,
        pictures: Tensor,
    ) -> Request:
        """One completion of a prompt with pictures."""
        return Request(
            prompt_ids=tuple(prompt_ids),
            sampling=sampling,
            key=key,
            stop_ids=frozenset(stop_ids),
            forbidden_ids=self.chat.tokenizer.control_ids - frozenset(stop_ids),
            pictures=pictures,
        )


def look_and_answer(
    model: LanguageModel, requests: Sequence[Request]
) -> Iterator[tuple[int, int, EndReason | None]]:
    """Completions of prompts with pictures as they come: number of the request, token, why it ended.

    Engines that keep a cache do not read pictures; the reference engine does.
    """
    engine = ReferenceEngine(model)
    number_of = {engine.add(request): number for number, request in enumerate(requests)}
    while engine.n_unfinished:
        for event in engine.step():
            if event.token is None:
                raise FloatingPointError(event.error)
            yield number_of[event.request_id], event.token.id, event.end_reason


def load_speaker(path: Path) -> Speaker:
    """The model in a model or adapter directory, or in the run directory of the stage that made it."""
    if (path / "model" / "config.json").exists():
        path = path / "model"
    elif is_adapter(path / "adapter"):
        path = path / "adapter"
    if is_adapter(path):
        return load_adapted_speaker(path)
    chat = chat_format_of(path, sees=True)
    model = load_language_model(path, vocab_size=chat.tokenizer.vocab_size)
    return Speaker(model.eval(), chat)


def load_adapted_speaker(path: Path) -> Speaker:
    """The model of an adapter directory, with the tokenizer of its base."""
    chat = chat_format_of(find_base(read_adapter(path)), sees=True)
    model = load_adapter(path, vocab_size=chat.tokenizer.vocab_size)
    if not isinstance(model, LanguageModel):
        raise ModelFileError(f"{path} adapts a score model; the adapter of a language model is needed here")
    return Speaker(model.eval(), chat)


CUT = " […]"
