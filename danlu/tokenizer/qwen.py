"""The chat format of Qwen 2 to 3 as these models learnt it: ChatML, with a system's turn of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from danlu.tokenizer.chat import Message
from danlu.tokenizer.chatml import END_OF_TEXT, IM_END, IM_START
from danlu.tokenizer.interface import TextTokenizer
from danlu.tokenizer.turns import Piece, Turn, TurnFormat

THOUGHT_ENDS = "</think>"
# What a template writes where nobody gave a system's turn; a line break is spelled \n in it, or is one.
# A template of a model that always thinks begins the thought for it.
_THINKING = re.compile(r"<\|im_start\|>assistant(?:\\n|\n)<think>(?:\\n|\n)['\"]")
_DEFAULT = re.compile(r"<\|im_start\|>system(?:\\n|\n)([^'\"{<]+)<\|im_end\|>")


class QwenFormat(TurnFormat):
    """<|im_start|>role⏎content<|im_end|>⏎, and what the template says should stand first by default."""

    name = "Qwen's format"

    def __init__(self, tokenizer: TextTokenizer, template: str) -> None:
        super().__init__(tokenizer, (IM_END, END_OF_TEXT), template)
        self._start = self.control(IM_START)
        default = _DEFAULT.search(template)
        self._system = "" if default is None else default[1].replace("\\n", "\n")
        self._thought = "<think>\n" if _THINKING.search(template) else ""
        self._thinks = THOUGHT_ENDS in template  # former thoughts are not shown to it again

    @property
    def answering(self) -> Sequence[Piece]:
        return (self._start, "assistant\n", self._thought)

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        turns = [self._turn(message) for message in messages]
        if self._system and messages[0]["role"] != "system":
            turns.insert(0, self._turn({"role": "system", "content": self._system}))
        return turns

    def _turn(self, message: Message) -> Turn:
        role, content = message["role"], message["content"]
        header = (self._start, f"{role}\n")
        if role != "assistant":
            return Turn((*header, content, self.end_id, "\n"))
        if self._thinks and THOUGHT_ENDS in content:
            content = content.rpartition(THOUGHT_ENDS)[2].lstrip("\n")
        return Turn(header, (content, self.end_id), "\n")
