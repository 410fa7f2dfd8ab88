"""The bounded loop of tool calls: the model speaks, its calls are run, it reads the results and goes on.

Whoever completes conversations drives it: a chat one answer at a time, an exam many at once, a server beside
its event loop, a rollout by ids. Each asks the model in its own way and hands over what was said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from danlu.config import ConfigError
from danlu.tokenizer.chat import Message, ToolCall
from danlu.tools.protocol import Call, Result, Toolbox, refusal

# Why nothing more is asked of the model: it answered; its answer was cut; it has had its turns, or its time.
Ending = Literal["answer", "cut", "turns", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    n_turns: int = 8  # of the model, for one question
    n_calls: int = 8  # in one turn; further ones are refused
    wall_s: float = 120.0  # for the tools of one question, and between its turns

    def __post_init__(self) -> None:
        for name in ("n_turns", "n_calls", "wall_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0")


@dataclass(frozen=True, slots=True)
class Step:
    """One call and what it gave."""

    call: Call
    result: Result
    seconds: float

    def to_tree(self) -> dict[str, Any]:
        """As plain values, for a trace that people read."""
        return {
            "name": self.call.name,
            "arguments": self.call.arguments,
            "result": self.result.content,
            "ok": self.result.ok,
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True)
class ToolLoop:
    """One question on its way to an answer.

    While `ending` is None the model is to be asked again, with everything said so far.
    """

    toolbox: Toolbox
    limits: LoopLimits = field(default_factory=LoopLimits)
    clock: Callable[[], float] = time.monotonic
    said: list[Message] = field(default_factory=list[Message])  # since the question: by model and tools
    trace: list[Step] = field(default_factory=list[Step])
    ending: Ending | None = None
    _n_turns: int = 0
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def take(self, message: Message, *, cut: bool = False) -> list[Message]:
        """What the model said; its calls are run here, and block as long as they take.

        Args:
            message: a turn of the assistant.
            cut: whether the length limit ended it.

        Returns:
            What it adds to the conversation: the turn, and the results of its calls unless this was the end.
        """
        if self.ending is not None:
            raise ValueError(f"the loop has ended ({self.ending}); nothing more was asked")
        added = [message]
        self._n_turns += 1
        calls = message.get("tool_calls", [])
        if not calls:
            self.ending = "cut" if cut else "answer"
        elif self._n_turns >= self.limits.n_turns:
            self.ending = "turns"
        elif self._left_s <= 0:
            self.ending = "time"
        else:
            added += [self._run(call, number) for number, call in enumerate(calls, start=1)]
        self.said += added
        return added

    @property
    def _left_s(self) -> float:
        return self._began + self.limits.wall_s - self.clock()

    def _run(self, call: ToolCall, number: int) -> Message:
        asked = Call(call["id"], call["function"]["name"], call["function"]["arguments"])
        began = self.clock()
        result = self._result(asked, number)
        self.trace.append(Step(asked, result, self.clock() - began))
        return {"role": "tool", "content": result.content, "tool_call_id": result.call_id}

    def _result(self, call: Call, number: int) -> Result:
        if number > self.limits.n_calls:
            return refusal(
                call, f"at most {self.limits.n_calls} calls are carried out in one turn; call again"
            )
        if (left_s := self._left_s) <= 0:
            return refusal(call, f"the {self.limits.wall_s:g} seconds for tools are over; answer without")
        return self.toolbox.call(call, most_s=left_s)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model said to a conversation, and whether the length limit cut it."""

    message: Message
    cut: bool = False


Complete = Callable[[Sequence[Sequence[Message]]], Sequence[Turn]]  # one turn a conversation


def answer_all(
    conversations: Sequence[Sequence[Message]],
    complete: Complete,
    toolbox: Toolbox,
    limits: LoopLimits | None = None,
) -> list[ToolLoop]:
    """Take every conversation to its answer, all that still wait asked together."""
    loops = [ToolLoop(toolbox, limits or LoopLimits()) for _ in conversations]
    while waiting := [number for number, loop in enumerate(loops) if loop.ending is None]:
        turns = complete([[*conversations[number], *loops[number].said] for number in waiting])
        for number, turn in zip(waiting, turns, strict=True):
            loops[number].take(turn.message, cut=turn.cut)
    return loops
