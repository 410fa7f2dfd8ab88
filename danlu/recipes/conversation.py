"""A conversation with a model: what has been said so far, and the lines that somebody types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from danlu.data.images import as_url
from danlu.dialogue.context import fit
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.speaker import CUT, Speaker
from danlu.tokenizer.chat import Message, images_of


class Conversation:
    """What has been said so far, and how the model is to speak.

    Args:
        say: receives everything that is shown, in pieces.
    """

    help = "/reset begins again, /system TEXT, /image FILE, /temperature NUMBER, /quit"

    def __init__(
        self,
        speaker: Speaker,
        system: str,
        sampling: SamplingConfig,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.speaker, self.system, self.sampling = speaker, system, sampling
        self.messages: list[Message] = []
        self.images: list[str] = []  # data URLs that the next line will show
        self.unfinished = False  # whether the last answer was cut before its end
        self.say = write if say is None else say
        self.n_answers = 0  # names the next answer for the random numbers

    def hear(self, line: str) -> None:
        """Obey a command, or answer; a mistake is told and changes nothing."""
        messages, system, images = list(self.messages), self.system, list(self.images)
        try:
            if line.startswith("/"):
                self.obey(*line.split(maxsplit=1))
            elif line.strip():
                self._answer(line)
        except ValueError as error:
            self.messages, self.system, self.images = messages, system, images
            self.say(f"({error})\n")

    def obey(self, command: str, argument: str = "") -> None:
        if command == "/reset":
            self.messages, self.images = [], []
            self.say("(a new conversation)\n")
        elif command == "/system":
            self.system, self.messages, self.images = argument, [], []
            self.say(
                "(a new conversation with this system message)\n" if argument else "(no system message)\n"
            )
        elif command == "/image":
            self._show(argument)
        elif command == "/temperature":
            self.sampling = replace(self.sampling, temperature=float(argument))
            self.say(f"(temperature {self.sampling.temperature})\n")
        else:
            self.say(f"(no command {command}; {self.help})\n")

    def _show(self, name: str) -> None:
        """Put a picture before the next line, if the model can look at it."""
        url = as_url(Path(name))
        self.speaker.see([url])
        self.images.append(url)
        self.say("(the model will see it with your next line)\n")

    def _answer(self, text: str) -> None:
        asked: Message = {"role": "user", "content": text}
        if self.images:
            asked["images"], self.images = [{"at": 0, "url": url} for url in self.images], []
        self.messages.append(asked)
        ids = self._prompt()
        pieces: list[str] = []
        try:
            for piece in self.speak(ids):
                pieces.append(piece)
                self.say(piece)
        except KeyboardInterrupt:  # enough of this answer; the conversation goes on
            self.say(CUT)
            pieces.append(CUT)
        self.say("\n")
        self.n_answers += 1
        self.unfinished = pieces[-1:] == [CUT]
        self.messages.append({"role": "assistant", "content": "".join(pieces).removesuffix(CUT)})

    def speak(self, prompt_ids: Sequence[int]) -> Iterator[str]:
        """The next answer's text in pieces; the last is CUT where the length limit cut it."""
        pictures = self.speaker.see(images_of(self.messages))
        return self.speaker.say(
            prompt_ids, self.speaker.chat.stop_ids, self.sampling, self.n_answers, pictures
        )

    @property
    def dialogue(self) -> list[Message]:
        """What the model sees of the conversation, system message included."""
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.messages]

    def _prompt(self) -> list[int]:
        """The conversation as ids; where it outgrows the context, its oldest exchanges are forgotten."""
        longest = self.speaker.max_seq_len
        room = longest - min(self.sampling.max_new_tokens, longest // 4)
        kept = fit(self.speaker.chat, self.dialogue, room=room)
        ids = self.speaker.chat.prompt(kept.messages)
        self.speaker.check_room(ids)
        if kept.left_out:
            self.messages = self.messages[len(kept.left_out) :]
            self.say(f"(the first {len(kept.left_out)} messages are forgotten: the context is full)\n")
        return ids


def write(text: str) -> None:
    print(text, end="", flush=True)
