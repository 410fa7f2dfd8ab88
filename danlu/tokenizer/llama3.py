"""The chat format of Llama 3, and of 3.1 to 3.3, which put the date before the system's words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from danlu.tokenizer.chat import Message
from danlu.tokenizer.interface import TextTokenizer
from danlu.tokenizer.turns import Piece, Turn, TurnFormat

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
HEADER_STARTS, HEADER_ENDS = "<|start_header_id|>", "<|end_header_id|>"
TURN_ENDS, MESSAGE_ENDS = "<|eot_id|>", "<|eom_id|>"
KNOWN_UNTIL = "Cutting Knowledge Date: December 2023\n"
FIXED_DAY = date(2024, 7, 26)  # what 3.1 and 3.3 are told
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Llama3Format(TurnFormat):
    """<|start_header_id|>role<|end_header_id|>⏎⏎content<|eot_id|>, the content without blanks around it.

    Args:
        today: for templates that ask for the day, which are those of 3.2.
    """

    name = "Llama 3's format"

    def __init__(
        self, tokenizer: TextTokenizer, template: str, today: Callable[[], date] = date.today
    ) -> None:
        super().__init__(tokenizer, (TURN_ENDS, END, MESSAGE_ENDS), template)
        self._begin, self._opens, self._closes = map(self.control, (BEGIN, HEADER_STARTS, HEADER_ENDS))
        self._dated = KNOWN_UNTIL.strip() in template
        self._today = today if "strftime_now" in template else lambda: FIXED_DAY

    def opening(self, messages: Sequence[Message]) -> Sequence[Piece]:
        return (self._begin,)

    @property
    def answering(self) -> Sequence[Piece]:
        return self._header("assistant")

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        has_system = messages[0]["role"] == "system"
        turns = [self._turn(message) for message in messages[has_system:]]
        if not self._dated and not has_system:
            return turns
        content = messages[0]["content"].strip() if has_system else ""
        system = (*self._header("system"), self._date() + content, self.end_id)
        return [Turn(system), *turns]

    def _date(self) -> str:
        if not self._dated:
            return ""
        day = self._today()
        return f"{KNOWN_UNTIL}Today Date: {day.day:02} {MONTHS[day.month - 1]} {day.year}\n\n"

    def _turn(self, message: Message) -> Turn:
        header, content = self._header(message["role"]), message["content"].strip()
        if message["role"] != "assistant":
            return Turn((*header, content, self.end_id))
        return Turn(header, (content, self.end_id))

    def _header(self, role: str) -> tuple[Piece, ...]:
        return (self._opens, role, self._closes, "\n\n")
