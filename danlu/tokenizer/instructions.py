"""The chat formats of Mistral and of Llama 2, in which the user's words stand between [INST] and [/INST].

Later tokenizers of Mistral have control tokens for these marks. The first one, and Llama 2's, spell them as
text. There a turn that holds such a mark could pass for several, and is refused; Meta's own code does so too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.tokenizer.chat import ChatError, Message
from danlu.tokenizer.interface import TextTokenizer
from danlu.tokenizer.turns import Piece, Turn, TurnFormat

BEGIN, END = "<s>", "</s>"
OPENS, CLOSES = "[INST]", "[/INST]"
SYSTEM_OPENS, SYSTEM_CLOSES = "<<SYS>>", "<</SYS>>"
# What a template of Mistral writes: a mark in quotes, with blanks around it or not; the blank of an answer.
_OPENING = re.compile(r"""['"]( ?)\[INST\]( ?)['"]""")
_CLOSING = re.compile(r"""['"]( ?)\[/INST\]['"]""")
_ANSWER = re.compile(r"""['"]( )['"] *\+ *(?:message|content)""")


class InstructionFormat(TurnFormat):
    """A format in which the system's words stand in a user's turn."""

    def lengths(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, list[int]]:
        """As elsewhere; the system's words count as its own, for they move when their turn is left out.

        Then another word follows them, and a tokenizer that joins across that border gives a few tokens more
        or fewer.
        """
        overhead, sizes = super().lengths(messages, tools)
        if messages[0]["role"] != "system" or len(messages) == 1:
            return overhead, sizes
        _, others = super().lengths(messages[1:], tools)
        return overhead, [sum(sizes) - sum(others), *others]


class MistralFormat(InstructionFormat):
    """<s>[INST]question[/INST]answer</s>, with blanks where the template has them.

    The system's words stand before those of the last user's turn, or of the first, as the template says.
    """

    name = "Mistral's format"

    def __init__(self, tokenizer: TextTokenizer, template: str) -> None:
        super().__init__(tokenizer, (END,), template)
        self._begin, opens = self.control(BEGIN), tokenizer.control_id(OPENS)
        self._marks_are_text = opens is None
        self._opens: Piece = OPENS if opens is None else opens
        self._closes: Piece = CLOSES if opens is None else self.control(CLOSES)
        opening, closing, answer = (each.search(template) for each in (_OPENING, _CLOSING, _ANSWER))
        if opening is None or closing is None:
            raise ChatError("its template writes [INST] and [/INST] in a way that is unknown here")
        self._before, self._inside, self._behind = opening[1], opening[2], closing[1]
        self._blank = "" if answer is None else answer[1]
        # A tokenizer that spells the marks as text puts a blank before every word, and so before an answer.
        self.blank_first = bool(self._blank) or self._marks_are_text
        self._system_last = "loop.last and system_message" in template
        self._trims = "|trim" in template.replace(" ", "")

    def opening(self, messages: Sequence[Message]) -> Sequence[Piece]:
        return (self._begin,)

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        if self._marks_are_text:
            refuse_marks(messages, self.name)
        users = [i for i, message in enumerate(messages) if message["role"] == "user"]
        has_system = messages[0]["role"] == "system" and users
        carrier = users[-1 if self._system_last else 0] if has_system else None
        system = f"{messages[0]['content']}\n\n"
        return [self._turn(each, system if i == carrier else "") for i, each in enumerate(messages)]

    def _turn(self, message: Message, system: str) -> Turn:
        role, content = message["role"], message["content"]
        if role == "system":
            return Turn(())
        if role == "user":
            text = f"{self._inside}{system}{content}{self._behind}"
            return Turn((self._before, self._opens, text, self._closes))
        said = self._blank + (content.strip() if self._trims else content)
        return Turn((), (said, self.end_id), continues=self._marks_are_text)


class Llama2Format(InstructionFormat):
    """<s>[INST] <<SYS>>⏎system⏎<</SYS>>⏎⏎question [/INST] answer </s>, each question after <s>."""

    name = "Llama 2's format"
    blank_first = True

    def __init__(self, tokenizer: TextTokenizer, template: str) -> None:
        super().__init__(tokenizer, (END,), template)
        self._begin = self.control(BEGIN)

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        refuse_marks(messages, self.name)
        has_system = messages[0]["role"] == "system"
        system = f"{SYSTEM_OPENS}\n{messages[0]['content']}\n{SYSTEM_CLOSES}\n\n" if has_system else ""
        carrier = 1 if has_system else None
        return [self._turn(each, system if i == carrier else "") for i, each in enumerate(messages)]

    def _turn(self, message: Message, system: str) -> Turn:
        role, content = message["role"], message["content"]
        if role == "system":
            return Turn(())
        if role == "user":
            return Turn((self._begin, f"{OPENS} {(system + content).strip()} {CLOSES}"))
        return Turn((), (f" {content.strip()} ", self.end_id), continues=True)


def refuse_marks(messages: Sequence[Message], name: str) -> None:
    """Refuse turns that hold what marks who speaks, where that is text like any other."""
    for turn, message in enumerate(messages, start=1):
        for mark in (OPENS, CLOSES, SYSTEM_OPENS, SYSTEM_CLOSES):
            if mark in message["content"]:
                raise ChatError(
                    f"turn {turn} holds {mark}, by which {name} marks who speaks; this tokenizer has no "
                    "control token for it, so that the turn could pass for several. Write it otherwise"
                )
