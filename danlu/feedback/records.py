"""What an event can say: one frozen record for each kind.

Conversations are trees. Messages, demonstrations and edits are their nodes; the children of one node are each
other's alternatives. Judgements name nodes by id, and taking one back is an event as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from danlu.feedback.body import Body, Origin, check_seconds, checked_name, is_strength
from danlu.feedback.errors import FeedbackError

Role = Literal["system", "user", "assistant", "tool"]
Doing = Literal["rank", "rate", "demonstrate"]
Scale = Literal["thumb", "grade"]

LEAST, MOST = 2, 16  # completions in one ranking
SCALES: Mapping[str, tuple[int, ...]] = {"thumb": (-1, 1), "grade": (-2, -1, 0, 1, 2)}
# What the pages offer. A flag that another program gave is kept as it is.
FLAGS = ("helpful", "honest", "harmless", "unsafe", "wrong", "other_language")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation(Body):
    """The root of a tree."""

    kind: ClassVar[str] = "conversation"

    title: str = ""
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Body):
    """A turn that somebody or a model took."""

    kind: ClassVar[str] = "message"

    conversation: str
    parent: str = ""  # the turn before; empty = the first
    role: Role
    content: str
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])  # tool_calls, tool_call_id
    origin: Origin = field(default_factory=Origin)

    @property
    def subject(self) -> str:
        return self.parent or self.conversation

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.conversation, (Conversation.kind,)
        if self.parent:
            yield self.parent, NODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration(Body):
    """The answer that a person would give to the turn `parent`."""

    kind: ClassVar[str] = "demonstration"

    conversation: str
    parent: str
    content: str
    seconds: float = 0.0  # taken
    task: str = ""
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        check_seconds(self.seconds)
        if not self.content.strip():
            raise FeedbackError("the demonstration is empty; it must be the answer to learn from")

    @property
    def subject(self) -> str:
        return self.parent

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.conversation, (Conversation.kind,)
        yield self.parent, NODES
        yield from task_reference(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(Demonstration):
    """A better version of the answer `of`, written by a person."""

    kind: ClassVar[str] = "edit"

    of: str

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield from Demonstration.references(self)
        yield self.of, NODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Body):
    """Alternatives in somebody's order of preference."""

    kind: ClassVar[str] = "ranking"

    completions: tuple[str, ...]  # ids of nodes
    ranks: tuple[int, ...]  # one for each; 1 is best, equal = tie
    strengths: tuple[float, ...] = ()  # how much better each rank is than the next; empty = not said
    flags: tuple[tuple[str, ...], ...] = ()  # of each completion; empty = none
    shown: tuple[int, ...] = ()  # which completion stood first, second, …; empty = not known
    seconds: float = 0.0  # taken
    comment: str = ""
    task: str = ""
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        n = len(self.completions)
        if not LEAST <= n <= MOST or len(set(self.completions)) != n:
            raise FeedbackError(f"{n} completions; a ranking needs {LEAST} to {MOST} different ones")
        if len(self.ranks) != n or min(self.ranks, default=0) < 1:
            raise FeedbackError(
                f"ranks are {list(self.ranks)}; {n} are needed, counting from 1, which is best"
            )
        n_steps = len(set(self.ranks)) - 1
        if self.strengths and (len(self.strengths) != n_steps or not all(map(is_strength, self.strengths))):
            raise FeedbackError(
                f"strengths are {list(self.strengths)}; {n_steps} numbers of at least 0 are needed, "
                "how much better each rank is than the next"
            )
        if self.flags and len(self.flags) != n:
            raise FeedbackError(f"flags for {len(self.flags)} completions; there are {n}")
        if self.shown and sorted(self.shown) != list(range(n)):
            raise FeedbackError(f"shown is {list(self.shown)}; it must order the numbers 0 to {n - 1}")
        check_seconds(self.seconds)

    @property
    def subject(self) -> str:
        return self.task

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield from ((each, NODES) for each in self.completions)
        yield from task_reference(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Ranking):
    """The ranking that settles a dispute: it stands for all others of the same completions."""

    kind: ClassVar[str] = "verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating(Body):
    """A thumb or a grade for one answer."""

    kind: ClassVar[str] = "rating"

    completion: str  # id of a node
    value: int
    scale: Scale = "thumb"
    seconds: float = 0.0  # taken
    comment: str = ""
    task: str = ""
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.value not in SCALES[self.scale]:
            allowed = ", ".join(map(str, SCALES[self.scale]))
            raise FeedbackError(f"the {self.scale} is {self.value}; it must be one of {allowed}")
        check_seconds(self.seconds)

    @property
    def subject(self) -> str:
        return self.completion

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.completion, NODES
        yield from task_reference(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Body):
    """A mark on one answer, outside of any ranking."""

    kind: ClassVar[str] = "flag"

    completion: str  # id of a node
    flag: str

    @property
    def subject(self) -> str:
        return self.completion

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.completion, NODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment(Body):
    """Words about any other event."""

    kind: ClassVar[str] = "comment"

    on: str
    text: str

    @property
    def subject(self) -> str:
        return self.on

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.on, tuple(BODIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename(Body):
    """A new title for a conversation."""

    kind: ClassVar[str] = "rename"

    conversation: str
    title: str

    @property
    def subject(self) -> str:
        return self.conversation

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.conversation, (Conversation.kind,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hide(Body):
    """The conversation leaves its owner's history; what was judged in it stays."""

    kind: ClassVar[str] = "hide"

    conversation: str

    @property
    def subject(self) -> str:
        return self.conversation

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.conversation, (Conversation.kind,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona(Body):
    """A system prompt with a name, to begin conversations with; of one person the last of a name stands."""

    kind: ClassVar[str] = "persona"

    name: str
    prompt: str
    shared: bool = False  # others may choose it too

    def __post_init__(self) -> None:
        checked_name(self.name)
        if not self.name.strip() or not self.prompt.strip():
            raise FeedbackError("a persona needs a name and a system prompt")

    @property
    def subject(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Body):
    """Work for people: rank or rate some answers to the turn `prompt`, or write one."""

    kind: ClassVar[str] = "task"

    do: Doing = "rank"
    prompt: str  # id of the last turn before the answer
    completions: tuple[str, ...] = ()
    overlap: int = 1  # how many people are to do it
    gold: tuple[int, ...] = ()  # ranks known to be right: people are measured by it
    guideline: str = ""
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        n, (least, most) = len(self.completions), COMPLETIONS[self.do]
        if not least <= n <= most:
            raise FeedbackError(f"{n} completions to {self.do}; such a task has {least} to {most}")
        if len(set(self.completions)) != n:
            raise FeedbackError("the completions of a task must be different nodes")
        if self.overlap < 1:
            raise FeedbackError(f"overlap is {self.overlap}; at least one person must do a task")
        if self.gold and (self.do != "rank" or len(self.gold) != n or min(self.gold) < 1):
            raise FeedbackError(
                f"gold ranks are {list(self.gold)}; a ranking task of {n} needs {n} from 1 up"
            )

    @property
    def subject(self) -> str:
        return self.prompt

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.prompt, NODES
        yield from ((each, NODES) for each in self.completions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip(Body):
    """A task that somebody would rather not do."""

    kind: ClassVar[str] = "skip"

    task: str
    reason: str = ""
    seconds: float = 0.0

    @property
    def subject(self) -> str:
        return self.task

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield from task_reference(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Body):
    """An event is taken back; it stays in the log and counts no more."""

    kind: ClassVar[str] = "undo"

    event: str

    @property
    def subject(self) -> str:
        return self.event

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield self.event, UNDOABLE


def task_reference(task: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The task that an answer names, if it names one."""
    if task:
        yield task, (Task.kind,)


NODES = (Message.kind, Demonstration.kind, Edit.kind)
BODIES: Mapping[str, type[Body]] = {
    each.kind: each
    for each in (
        *(Conversation, Message, Demonstration, Edit, Rename, Hide, Persona),
        *(Task, Ranking, Verdict, Rating, Flag, Comment, Skip, Undo),
    )
}
# What does a task, once for each person.
ANSWERS: Mapping[Doing, tuple[str, ...]] = {
    "rank": (Ranking.kind,),
    "rate": (Rating.kind,),
    "demonstrate": (Demonstration.kind, Edit.kind),
}
DONE = tuple(kind for kinds in ANSWERS.values() for kind in kinds)
UNDOABLE = (*DONE, Verdict.kind, Flag.kind, Comment.kind, Skip.kind, Hide.kind, Persona.kind, Task.kind)
COMPLETIONS: Mapping[Doing, tuple[int, int]] = {"rank": (LEAST, MOST), "rate": (1, 1), "demonstrate": (0, 1)}
