"""The chat format of Mistral, in which the user's words stand between [INST] and [/INST].

Only where these marks are control tokens, as in Mistral's third and later tokenizers. The first one spells
them as text, as Llama 2's does; there a turn that spells them too cannot be told from one that begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from danlu.tokenizer.chat import ChatError, Message
from danlu.tokenizer.interface import TextTokenizer
from danlu.tokenizer.turns import Piece, Turn, TurnFormat

BEGIN, END = "<s>", "</s>"
# What a template of Mistral writes: a mark in quotes, with a blank behind it or not; the blank of an answer.
_OPENING = re.compile(r"""['"]\[INST\]( ?)['"]""")
_ANSWER = re.compile(r"""['"]( )['"] *\+ *(?:message|content)""")


class MistralFormat(TurnFormat):
    """<s>[INST]question[/INST]answer</s>, with a blank before question and answer where the template has one.

    The system's words stand before those of the last user's turn, or of the first, as the template says.
    """

    name = "Mistral's format"

    def __init__(self, tokenizer: TextTokenizer, template: str) -> None:
        super().__init__(tokenizer, (END,), template)
        self._begin, self._opens, self._closes = map(self.control, (BEGIN, "[INST]", "[/INST]"))
        opening, answer = _OPENING.search(template), _ANSWER.search(template)
        if opening is None:
            raise ChatError("its template writes [INST] in a way that is unknown here")
        self._blank, self._answer_blank = opening[1], "" if answer is None else answer[1]
        self.blank_first = bool(self._answer_blank)
        self._system_last = "loop.last and system_message" in template
        self._trims = "|trim" in template.replace(" ", "")

    def opening(self, messages: Sequence[Message]) -> Sequence[Piece]:
        return (self._begin,)

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
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
            return Turn((self._opens, self._blank + system + content, self._closes))
        said = self._answer_blank + (content.strip() if self._trims else content)
        return Turn((), (said, self.end_id))
