"""`danlu chat MODEL`: a conversation in the terminal, or with lines from a pipe."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from danlu.generate.sampler import SamplingConfig
from danlu.recipes.speaker import CUT, Speaker, load_speaker
from danlu.tokenizer.chat import Message

SUMMARY = "talk with a model in the terminal: danlu chat MODEL"
POSITIONAL = ("model",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    system: str | None = None  # system message before the conversation
    sampling: SamplingConfig = field(
        default_factory=lambda: SamplingConfig(max_new_tokens=256, temperature=0.7, top_p=0.95)
    )


def run(config: ChatConfig) -> Path:
    conversation = Conversation(load_speaker(config.model), config.system or "", config.sampling)
    write(f"{HELP}\n\n")
    for line in typed_lines():
        if line == "/quit":
            break
        conversation.hear(line)
    return config.model


class Conversation:
    """What has been said so far, and how the model is to speak.

    Args:
        say: receives everything that is shown, in pieces.
    """

    def __init__(
        self,
        speaker: Speaker,
        system: str,
        sampling: SamplingConfig,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.speaker, self.system, self.sampling = speaker, system, sampling
        self.messages: list[Message] = []
        self.say = write if say is None else say
        self._n_answers = 0

    def hear(self, line: str) -> None:
        """Obey a command, or answer; a mistake is told and changes nothing."""
        messages, system = list(self.messages), self.system
        try:
            if line.startswith("/"):
                self._obey(*line.split(maxsplit=1))
            elif line.strip():
                self._answer(line)
        except ValueError as error:
            self.messages, self.system = messages, system
            self.say(f"({error})\n")

    def _obey(self, command: str, argument: str = "") -> None:
        if command == "/reset":
            self.messages = []
            self.say("(a new conversation)\n")
        elif command == "/system":
            self.system, self.messages = argument, []
            self.say(
                "(a new conversation with this system message)\n" if argument else "(no system message)\n"
            )
        elif command == "/temperature":
            self.sampling = replace(self.sampling, temperature=float(argument))
            self.say(f"(temperature {self.sampling.temperature})\n")
        else:
            self.say(f"(no command {command}; {HELP})\n")

    def _answer(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})
        ids = self._prompt()
        pieces: list[str] = []
        try:
            stream = self.speaker.say(ids, self.speaker.chat.stop_ids, self.sampling, self._n_answers)
            for piece in stream:
                pieces.append(piece)
                self.say(piece)
        except KeyboardInterrupt:  # enough of this answer; the conversation goes on
            self.say(CUT)
        self.say("\n")
        self._n_answers += 1
        self.messages.append({"role": "assistant", "content": "".join(pieces).removesuffix(CUT)})

    def _prompt(self) -> list[int]:
        """The conversation as ids; where it outgrows the context, its oldest exchanges are forgotten."""
        longest = self.speaker.max_seq_len
        room = longest - min(self.sampling.max_new_tokens, longest // 4)
        n_before = len(self.messages)
        ids = self._ids()
        while len(ids) > room and len(self.messages) > 1:
            self.messages = self.messages[2:]
            ids = self._ids()
        self.speaker.check_room(ids)
        if forgotten := n_before - len(self.messages):
            self.say(f"(the first {forgotten} messages are forgotten: the context is full)\n")
        return ids

    def _ids(self) -> list[int]:
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return self.speaker.chat.prompt([*system, *self.messages])


def typed_lines() -> Iterator[str]:
    """Lines of the standard input, asked for with a prompt where somebody types them."""
    if not sys.stdin.isatty():
        yield from without_newlines(sys.stdin)
        return
    with suppress(ImportError):  # gives `input` its line editing, where the system has it
        importlib.import_module("readline")
    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt):
            write("\n")
            return


def without_newlines(lines: Iterable[str]) -> Iterator[str]:
    return (line.rstrip("\r\n") for line in lines)


def write(text: str) -> None:
    print(text, end="", flush=True)


HELP = "/reset begins again, /system TEXT, /temperature NUMBER, /quit"
