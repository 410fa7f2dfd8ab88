"""A conversation with a model: what has been said so far, and the lines that somebody types."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from danlu.data.images import as_url
from danlu.data.language import identify
from danlu.dialogue.context import fit
from danlu.dialogue.summary import asked_for, summarised, summarising
from danlu.dialogue.tool_loop import LoopLimits, ToolLoop
from danlu.dialogue.tree import Node, Tree
from danlu.generate.sampler import Completion
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.speaker import CUT, Speaker
from danlu.tokenizer.chat import ChatError, Message, images_of
from danlu.tools.protocol import Toolbox
from danlu.tools.visible import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What a conversation has besides its words: tools, and what becomes of turns that no longer fit."""

    toolbox: Toolbox | None = None
    limits: LoopLimits = field(default_factory=LoopLimits)
    context: Literal["drop", "summarise"] = "drop"


class Conversation:
    """What has been said so far, and how the model is to speak.

    Args:
        say: receives everything that is shown, in pieces.
        manner: tools and the like.
    """

    help = (
        "/retry answers again, /edit TEXT asks otherwise, /branch N goes to another answer, "
        "/image FILE shows a picture, /reset begins again, /system TEXT, /temperature NUMBER, /quit"
    )

    def __init__(
        self,
        speaker: Speaker,
        system: str,
        sampling: SamplingConfig,
        say: Callable[[str], None] | None = None,
        manner: Manner | None = None,
    ) -> None:
        self.speaker, self.system, self.sampling = speaker, system, sampling
        self.manner = manner or Manner()
        self.tree = Tree()
        self.summary: list[Message] = []  # an exchange that stands for forgotten turns
        self.images: list[str] = []  # data URLs that the next line will show
        self.n_forgotten = 0  # first turns that the model no longer sees
        self.unfinished = False  # whether the last answer was cut before its end
        self.say = write if say is None else say
        self.n_answers = 0  # names the next answer for the random numbers

    @property
    def messages(self) -> list[Message]:
        """What the model sees of the branch on which the conversation stands."""
        return [*self.summary, *self.tree.messages[self.n_forgotten :]]

    def hear(self, line: str) -> None:
        """Obey a command, or answer; a mistake is told and changes nothing."""
        before = self._state()
        try:
            if line.startswith("/"):
                self.obey(*line.split(maxsplit=1))
            elif line.strip():
                self.tree.add(self._asked(line))
                self._answer()
        except ValueError as error:
            self.tree, self.system, self.summary, self.n_forgotten, self.images = before
            self.say(f"({error})\n")

    def _state(self) -> tuple[Tree, str, list[Message], int, list[str]]:
        """What a line may change, so that a mistake can be undone."""
        tree = Tree(dict(self.tree.nodes), self.tree.here)
        return tree, self.system, self.summary, self.n_forgotten, list(self.images)

    def obey(self, command: str, argument: str = "") -> None:
        if command in COMMANDS:
            COMMANDS[command](self, argument)
        else:
            self.say(f"(no command {command}; {self.help})\n")

    def reset(self, _: str) -> None:
        self._begin_again()
        self.say("(a new conversation)\n")

    def set_system(self, text: str) -> None:
        self.system = text
        self._begin_again()
        self.say("(a new conversation with this system message)\n" if text else "(no system message)\n")

    def set_temperature(self, text: str) -> None:
        self.sampling = replace(self.sampling, temperature=float(text))
        self.say(f"(temperature {self.sampling.temperature})\n")

    def show(self, name: str) -> None:
        """Put a picture before the next line, if the model can look at it."""
        url = as_url(Path(name))
        self.speaker.see([url])
        self.images.append(url)
        self.say("(the model will see it with your next line)\n")

    def retry(self, _: str) -> None:
        """Another answer to the last question, beside the one there is."""
        self.tree.regenerate()
        self._answer()

    def edit(self, text: str) -> None:
        """Ask the last question otherwise; the old one stays with its answers."""
        if not text:
            raise ChatError("/edit is followed by what you would rather have asked")
        self.tree.regenerate()
        self.tree.edit(self.tree.here, self._asked(text))
        self._answer()

    def branch(self, text: str) -> None:
        """Go to one of the answers to the last question, however it was asked, or list them."""
        answers = self._branches()
        if not text:
            self.say("".join(f"{line}\n" for line in self._listed(answers)))
            return
        if not text.isdecimal() or not 1 <= int(text) <= len(answers):
            raise ChatError(f"there is no answer {text}; there are 1 to {len(answers)}")
        self.tree.go_to(answers[int(text) - 1].id)
        self.say(f"{self.messages[-1]['content']}\n")

    def _branches(self) -> list[Node]:
        """First turns of the answers to the last question, in each of its wordings."""
        here = self.tree.here
        self.tree.regenerate()
        questions = self.tree.alternatives(self.tree.here)
        self.tree.here = here
        return [answer for question in questions for answer in self.tree.children(question.id)]

    def _listed(self, answers: Sequence[Node]) -> Iterator[str]:
        on = {node.id for node in self.tree.path(self.tree.here)}
        for number, node in enumerate(answers, start=1):
            asked = self.tree.nodes[node.parent].message["content"]
            mark = "*" if node.id in on else " "
            yield f"{mark}{number} {one_line(asked, 40)} → {one_line(node.message['content'], 60)}"

    def _begin_again(self) -> None:
        self.tree, self.summary, self.n_forgotten, self.images = Tree(), [], 0, []

    def _asked(self, text: str) -> Message:
        """A turn of the user, with the pictures that were shown for it."""
        images, self.images = self.images, []
        asked: Message = {"role": "user", "content": text}
        return {**asked, "images": [{"at": 0, "url": url} for url in images]} if images else asked

    def _answer(self) -> None:
        """The model's turns up to its answer, with the calls of tools that it makes on the way."""
        if self.manner.toolbox is None:
            self.tree.add(self._turn()[0])
            return
        loop = ToolLoop(self.manner.toolbox, self.manner.limits)
        while loop.ending is None:
            message, cut = self._turn()
            n_known = len(loop.trace)
            for each in loop.take(message, cut=cut):
                self.tree.add(each)
            for step in loop.trace[n_known:]:
                called = f"{step.call.name} {step.call.arguments} → {step.result.content}"
                self.say(f"({one_line(called, 500)})\n")
        if loop.ending in ("turns", "time"):
            raise ChatError(f"no answer within the {loop.ending} that are granted; the question is forgotten")

    def _turn(self) -> tuple[Message, bool]:
        """One turn of the model, shown as it comes, and whether it was cut."""
        ids = self._prompt()
        pieces: list[str] = []
        speech, completion = self.speak(ids), None
        try:
            while True:
                pieces.append(next(speech))
                self.say(pieces[-1])
        except StopIteration as done:
            completion = done.value
        except KeyboardInterrupt:  # enough of this answer; the conversation goes on
            self.say(CUT)
            pieces.append(CUT)
        self.n_answers += 1
        self.unfinished = pieces[-1:] == [CUT]
        message: Message = {"role": "assistant", "content": "".join(pieces).removesuffix(CUT)}
        said = None if completion is None else self.speaker.chat.parse(completion.ids)
        if said is not None and "tool_calls" in said:
            message["tool_calls"] = said["tool_calls"]
        if message["content"] or "tool_calls" not in message:
            self.say("\n")
        return message, self.unfinished

    def speak(self, prompt_ids: Sequence[int]) -> Generator[str, None, Completion | None]:
        """The next answer's text in pieces, the last CUT where the length limit cut it; returns the whole."""
        chat, may_call = self.speaker.chat, self.manner.toolbox is not None
        pictures = self.speaker.see(images_of(self.messages))
        completion = yield from self.speaker.speak(
            prompt_ids, chat.stop_ids, self.sampling, self.n_answers, pictures, may_call=may_call
        )
        if completion.finish_reason == "length":
            yield CUT
        return completion

    @property
    def dialogue(self) -> list[Message]:
        """The conversation, system message included."""
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.messages]

    def _prompt(self) -> list[int]:
        """The conversation as ids; where it outgrows the context, its oldest exchanges are forgotten."""
        chat = self.speaker.chat
        tools = [] if self.manner.toolbox is None else self.manner.toolbox.schemas
        left_out = self._make_room(tools)
        ids = chat.prompt(self.dialogue, tools)
        self.speaker.check_room(ids)
        if left_out:
            self.say(f"(the first {left_out}: the context is full)\n")
        return ids

    def _make_room(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """Forget the oldest exchanges that do not fit, or have the model sum them up; says what was done."""
        longest, chat, messages = self.speaker.max_seq_len, self.speaker.chat, self.dialogue
        room = longest - min(self.sampling.max_new_tokens, longest // 4)
        summary = ""
        if self.manner.context == "summarise":
            language = identify(messages[-1]["content"])
            found = summarised(summarising(chat, messages, tools, room=room, language=language), self._sum_up)
            left_out, summary = found.left_out, found.summary
        else:
            left_out = fit(chat, messages, tools, room=room).left_out
        if not left_out:
            return ""
        n = len(left_out) - len(self.summary)
        self.n_forgotten += n
        self.summary = asked_for(summary, identify(messages[-1]["content"])) if summary else []
        return f"{n} messages are {'summed up' if summary else 'forgotten'}"

    def _sum_up(self, messages: list[Message]) -> str:
        """The model's summary, drawn greedily."""
        chat = self.speaker.chat
        sampling = replace(self.sampling, temperature=0.0)
        return "".join(self.speaker.say(chat.prompt(messages), chat.stop_ids, sampling)).removesuffix(CUT)


def write(text: str) -> None:
    print(text, end="", flush=True)


COMMANDS: Mapping[str, Callable[[Conversation, str], None]] = {
    "/image": Conversation.show,
    "/reset": Conversation.reset,
    "/system": Conversation.set_system,
    "/temperature": Conversation.set_temperature,
    "/retry": Conversation.retry,
    "/edit": Conversation.edit,
    "/branch": Conversation.branch,
}
