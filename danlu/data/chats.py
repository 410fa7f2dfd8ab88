"""Chats and comparisons from files: our own shapes and those the field already uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from danlu.tokenizer.chat import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One dialogue, and where it was read."""

    messages: Sequence[Message]
    id: str = ""
    source: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """File, line and id, for messages."""
        return place(self.source, self.line, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several completions of one prompt in somebody's order of preference."""

    prompt: Sequence[Message]
    completions: Sequence[str]
    ranks: Sequence[int]  # one for each completion; 1 is best, equal = tie
    unfinished: Sequence[bool] = ()  # True where a completion was cut before its end; empty = none was
    annotator: str = ""
    id: str = ""
    source: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """File, line and id, for messages."""
        return place(self.source, self.line, self.id)


def place(source: str, line: int, record_id: str) -> str:
    """`file:line (id)`, as far as these are known."""
    where = f"{source}:{line}" if source else ""
    named = f"record {record_id!r}" if record_id else ""
    return f"{where} ({named})" if where and named else where or named or "a record"
