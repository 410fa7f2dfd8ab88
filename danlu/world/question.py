"""What a task is: messages that end with the user, and what a grader must know to mark the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, Required, TypedDict

from danlu.world.names import Lang
from danlu.world.splits import Split, stable_hash

Rule = Literal["value", "number", "exact", "translation", "format", "summary", "unknown", "decline"]


class Image(TypedDict):
    """A picture among the words of a turn."""

    at: int  # characters of the content that stand before it
    url: str  # data:image/png;base64,…


class Message(TypedDict):
    """One turn in OpenAI's shape."""

    role: Literal["system", "user", "assistant"]
    content: str
    images: NotRequired[list[Image]]


class Gold(TypedDict, total=False):
    """What the grader knows; which fields are present depends on `rule`."""

    rule: Required[Rule]
    replies: Required[list[str]]  # right answers as people would word them, all worth 1.0
    answer_lang: Lang  # where it is not the language of the question
    about: list[str]  # names the question gives: never part of an answer's content
    accept: list[str]  # value: any of these is the answer; exact: the whole answer
    others: list[str]  # values that are not the answer: naming one is wrong
    also: list[str]  # values that the way to the answer passes, free to mention
    number: int  # number: the result
    operands: list[int]  # number: what may stand in the working
    form: str  # format: a name in `grading.FORMS`
    count: int  # format: how many items; summary: how many words or characters at most
    key: list[str]  # summary: words of which one must stay
    source: str  # summary: the text whose words may be used
    harm: list[str]  # decline: words of the harm, which an offer must not take up


@dataclass(frozen=True, slots=True)
class Draft:
    """A task as drawn, with the one split it may be asked in."""

    split: Split
    prompt: str
    gold: Gold
    before: tuple[Message, ...] = ()  # earlier turns


@dataclass(frozen=True, slots=True)
class Question:
    """One task, in one language, for one category."""

    id: str
    category: str
    lang: Lang
    messages: tuple[Message, ...]
    gold: Gold

    @property
    def answer_lang(self) -> Lang:
        """The language the answer should be in."""
        return self.gold.get("answer_lang", self.lang)

    @property
    def prompt(self) -> str:
        """The last thing the user says."""
        return self.messages[-1]["content"]


def as_question(category: str, lang: Lang, draft: Draft) -> Question:
    """Give a draft its id, which depends on the text of the turns alone."""
    messages = (*draft.before, user(draft.prompt))
    digest = stable_hash(*(message["content"] for message in messages))
    return Question(f"{category}-{lang}-{digest:016x}", category, lang, messages, draft.gold)


def user(content: str) -> Message:
    """A user's turn."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """An assistant's turn."""
    return {"role": "assistant", "content": content}


def transcript(messages: Sequence[Message]) -> str:
    """All turns as one text, for comparing and hashing."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
