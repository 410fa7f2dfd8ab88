"""What an exam needs of a question and of whoever grades it; any object of this shape will do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

Message = Mapping[str, object]  # {"role": "system" | "user" | "assistant" | "tool", "content": …}


class Question(Protocol):
    """One thing to ask: a conversation that ends where the assistant is to answer."""

    @property
    def id(self) -> str:
        """Names the question in every model's results, so that results pair up."""
        ...

    @property
    def category(self) -> str: ...

    @property
    def lang(self) -> str: ...

    @property
    def messages(self) -> Sequence[Message]: ...


Q = TypeVar("Q", bound=Question)
Answer = Callable[[Sequence[Sequence[Message]]], Sequence[str]]  # one answer a conversation
Grade = Callable[[Q, str], float]  # from 0, wrong, to 1, right


class Task(Protocol[Q]):
    """Questions with an exact grade: the same object serves evaluation and a programmatic reward."""

    def questions(self) -> Sequence[Q]: ...

    def grade(self, question: Q, completion: str) -> float: ...
