"""The loop of tool calls: who is asked how often, what is run, and when it ends."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from danlu.config import ConfigError
from danlu.dialogue.tool_loop import LoopLimits, ToolLoop, Turn, answer_all
from danlu.tokenizer.chat import Message, check_messages
from danlu.tools import builtin
from danlu.tools.protocol import Toolbox, ToolLimits, tool

BOX = Toolbox([builtin.calculator()], ToolLimits(wall_s=600))
ASKED: Message = {"role": "user", "content": "What is 12 × 34 + 1?"}


def calling(*expressions: str, content: str = "") -> Message:
    calls = [
        {
            "id": f"c{n}",
            "type": "function",
            "function": {"name": "calculator", "arguments": json.dumps({"expression": each})},
        }
        for n, each in enumerate(expressions, start=1)
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}  # type: ignore[typeddict-item]


def saying(content: str) -> Message:
    return {"role": "assistant", "content": content}


def played(script: Sequence[Message], limits: LoopLimits | None = None) -> ToolLoop:
    loop = ToolLoop(BOX, limits or LoopLimits())
    for message in script:
        loop.take(message)
    return loop


def test_calls_are_run_in_turn_and_their_results_stand_in_the_conversation():
    loop = played([calling("12*34", content="One moment."), calling("408+1", "2^10"), saying("It is 409.")])
    assert loop.ending == "answer"
    assert [(each["role"], each["content"]) for each in loop.said] == [
        ("assistant", "One moment."),
        ("tool", '"408"'),
        ("assistant", ""),
        ("tool", '"409"'),
        ("tool", '"1024"'),
        ("assistant", "It is 409."),
    ]
    check_messages([ASKED, *loop.said])
    assert [(each.call.arguments, each.result.ok) for each in loop.trace] == [
        ('{"expression": "12*34"}', True),
        ('{"expression": "408+1"}', True),
        ('{"expression": "2^10"}', True),
    ]


def test_a_model_that_always_calls_is_stopped_after_its_turns():
    loop = ToolLoop(BOX, LoopLimits(n_turns=3))
    n = 0
    while loop.ending is None:
        loop.take(calling("1+1"))
        n += 1
    assert (n, loop.ending, len(loop.trace)) == (3, "turns", 2)  # the last call is not run
    with pytest.raises(ValueError, match="the loop has ended"):
        loop.take(saying("x"))


def test_calls_beyond_the_number_of_one_turn_are_refused_and_the_loop_goes_on():
    loop = played([calling("1+1", "1+2", "1+3")], LoopLimits(n_calls=2))
    assert loop.ending is None
    assert [each.result.ok for each in loop.trace] == [True, True, False]
    assert "at most 2 calls" in loop.said[-1]["content"]
    check_messages([ASKED, *loop.said, saying("x")])


def test_the_time_of_one_question_bounds_its_tools():
    now = [0.0]

    def nap(seconds: int) -> str:
        """Let time pass."""
        now[0] += seconds
        return "done"

    call = {"id": "c", "type": "function", "function": {"name": "nap", "arguments": '{"seconds": 7}'}}
    message: Message = {"role": "assistant", "content": "", "tool_calls": [call, call]}  # type: ignore[list-item]
    loop = ToolLoop(Toolbox([tool(nap)]), LoopLimits(wall_s=5), clock=lambda: now[0])
    loop.take(message)
    assert [each.result.ok for each in loop.trace] == [True, False]
    assert "the 5 seconds for tools are over" in loop.trace[1].result.content
    loop.take(message)
    assert (loop.ending, len(loop.trace)) == ("time", 2)


def test_an_answer_that_was_cut_ends_the_loop_as_such():
    loop = ToolLoop(BOX)
    loop.take(saying("It is"), cut=True)
    assert loop.ending == "cut"


def test_a_wrong_call_is_a_result_that_the_model_can_read():
    loop = played([calling("9^9^9")])
    assert loop.ending is None
    assert json.loads(loop.said[-1]["content"])["error"] == "a number on the way has more than 3,900 digits"


def test_many_conversations_are_asked_together_until_each_has_its_answer():
    asked: list[int] = []

    def complete(conversations: Sequence[Sequence[Message]]) -> list[Turn]:
        asked.append(len(conversations))
        return [
            Turn(calling("2*3")) if len(turns) < int(turns[0]["content"]) else Turn(saying("6"))
            for turns in conversations
        ]

    conversations: list[list[Message]] = [[{"role": "user", "content": n}] for n in ("0", "3", "5")]
    loops = answer_all(conversations, complete, BOX)
    assert asked == [3, 2, 1]
    assert [len(loop.trace) for loop in loops] == [0, 1, 2]
    assert [loop.ending for loop in loops] == ["answer"] * 3


def test_limits_below_one_are_refused():
    with pytest.raises(ConfigError, match="n_turns is 0; it must be above 0"):
        LoopLimits(n_turns=0)
