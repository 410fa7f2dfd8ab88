"""A model that answers: loaded from its directory, and its words as they come. For `chat` and `generate`."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from danlu.adapters.files import find_base, is_adapter, load_adapter, read_adapter
from danlu.generate.sampler import Completion, Sampler, SamplingConfig
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

    def say(
        self, prompt_ids: Sequence[int], stop_ids: Collection[int], sampling: SamplingConfig, key: int = 0
    ) -> Iterator[str]:
        """The completion's text in pieces; the last is " […]" where the length limit cut it."""
        completion = yield from self.speak(prompt_ids, stop_ids, sampling, key)
        if completion.finish_reason == "length":
            yield CUT

    def speak(
        self,
        prompt_ids: Sequence[int],
        stop_ids: Collection[int],
        sampling: SamplingConfig,
        key: int = 0,
        *,
        may_call: bool = False,
    ) -> Generator[str, None, Completion]:
        """The completion's text in pieces, and at the end the completion; the text of calls is no piece."""
        tokenizer, call_id = self.chat.tokenizer, self.chat.call_id
        self.check_room(prompt_ids)
        allowed = frozenset(stop_ids) | ({call_id} if may_call else frozenset[int]())
        sampler = Sampler(
            self.model, stop_ids=stop_ids, forbidden_ids=tokenizer.control_ids - allowed, max_batch=1
        )
        sequence = sampler.add(prompt_ids, sampling, key)
        # A token may end inside a character.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        calling = False
        while (completion := sampler.take(sequence)) is None:
            for _, token, _ in sampler.step():
                calling = calling or token == call_id
                if not calling and (text := decoder.decode(tokenizer.decode_bytes([token]))):
                    yield text
        if text := decoder.decode(b"", final=True):
            yield text
        return completion


def load_speaker(path: Path) -> Speaker:
    """The model in a model or adapter directory, or in the run directory of the stage that made it."""
    if (path / "model" / "config.json").exists():
        path = path / "model"
    elif is_adapter(path / "adapter"):
        path = path / "adapter"
    if is_adapter(path):
        return load_adapted_speaker(path)
    chat = chat_format_of(path)
    model = load_language_model(path, vocab_size=chat.tokenizer.vocab_size)
    return Speaker(model.eval(), chat)


def load_adapted_speaker(path: Path) -> Speaker:
    """The model of an adapter directory, with the tokenizer of its base."""
    chat = chat_format_of(find_base(read_adapter(path)))
    model = load_adapter(path, vocab_size=chat.tokenizer.vocab_size)
    if not isinstance(model, LanguageModel):
        raise ModelFileError(f"{path} adapts a score model; the adapter of a language model is needed here")
    return Speaker(model.eval(), chat)


CUT = " […]"
