"""Tools that the server runs itself, and conversations that it sums up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from small_server import Scripted, client_of, served

from danlu.dialogue.summary import ASK
from danlu.dialogue.tool_loop import LoopLimits
from danlu.generate.request import Event, Request
from danlu.serve.api.app import create_app
from danlu.tokenizer.chat import ChatFormat
from danlu.tools import builtin
from danlu.tools.protocol import Toolbox, ToolLimits

pytestmark = pytest.mark.anyio
PATH = "/v1/chat/completions"
BOX = Toolbox([builtin.calculator()], ToolLimits(wall_s=600))
QUESTION = [{"role": "user", "content": "What is 12 × 34?"}]


@dataclass
class Playing:
    """Says the parts of a script one after the other, a part a request."""

    chat: ChatFormat
    parts: Sequence[str]
    max_seq_len: int = 512
    prompts: list[str] = field(default_factory=list)
    n_said: int = 0
    inner: Scripted = field(default_factory=lambda: Scripted([]))

    @property
    def n_unfinished(self) -> int:
        return self.inner.n_unfinished

    def add(self, request: Request) -> int:
        tokenizer = self.chat.tokenizer
        self.prompts.append(tokenizer.decode(request.prompt_ids, show_control=True))
        sums_up = self.prompts[-1].endswith(f"{ASK['en']}<|im_end|>\n<|im_start|>assistant\n")
        part = "They counted." if sums_up else self.parts[min(self.n_said, len(self.parts) - 1)]
        self.n_said += not sums_up
        ids: list[int] = []
        for number, piece in enumerate(part.split("→")):  # → opens a call
            ids += [*([tokenizer.im_start_id] if number else []), *tokenizer.encode(piece)]
        self.inner.ids = [*ids, tokenizer.im_end_id]
        return self.inner.add(request)

    def cancel(self, request_id: int) -> None:
        self.inner.cancel(request_id)

    def step(self) -> list[Event]:
        return self.inner.step()


CALL = '→calculator\n{"expression": "12*34"}'


async def ask(chat: ChatFormat, engine: Playing, loop: LoopLimits | None = None, **changes: Any) -> Any:
    offered = served(chat, engine, toolbox=BOX, loop=loop or LoopLimits(), max_seq_len=512)
    async with client_of(create_app(offered)) as client:
        body = {"model": "tiny", "messages": QUESTION, "temperature": 0, "max_tokens": 100, **changes}
        return await client.post(PATH, json=body)


async def test_the_server_runs_its_tools_and_answers_with_a_trace(chat: ChatFormat):
    engine = Playing(chat, [f"One moment. {CALL}", "It is 408."])
    answer = (await ask(chat, engine, server_tools=["calculator"])).json()
    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("One moment. It is 408.", "stop")
    assert choice["message"]["tool_calls"] is None
    (step,) = answer["trace"]
    assert (step["name"], step["result"], step["ok"]) == ("calculator", '"408"', True)
    assert '<|im_start|>tool\n"408"<|im_end|>\n<|im_start|>assistant\n' in engine.prompts[1]
    n_tokens = [len(chat.tokenizer.encode(text)) for text in ("One moment. ", CALL[1:], "It is 408.")]
    assert answer["usage"]["completion_tokens"] == sum(n_tokens) + 3  # two ends, and what opens the call


async def test_the_stream_tells_what_the_whole_answer_tells(chat: ChatFormat):
    parts = [f"One moment. {CALL}", CALL, "It is 408."]
    whole = (await ask(chat, Playing(chat, parts), server_tools=["calculator"])).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    response = await ask(chat, Playing(chat, parts), server_tools=["calculator"], **options)
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    deltas = [choice for chunk in chunks for choice in chunk["choices"]]
    assert (
        "".join(each["delta"].get("content", "") for each in deltas)
        == whole["choices"][0]["message"]["content"]
    )
    assert not any("tool_calls" in each["delta"] for each in deltas)
    assert [each["finish_reason"] for each in deltas if each["finish_reason"]] == ["stop"]
    steps = [step for chunk in chunks for step in chunk.get("trace", [])]
    assert [step["result"] for step in steps] == [step["result"] for step in whole["trace"]] == ['"408"'] * 2
    assert chunks[-1]["usage"] == whole["usage"]
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_a_model_that_always_calls_is_stopped(chat: ChatFormat):
    engine = Playing(chat, [CALL])
    answer = (await ask(chat, engine, LoopLimits(n_turns=3), server_tools=["calculator"])).json()
    assert (len(engine.prompts), len(answer["trace"])) == (3, 2)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["tool_calls"] is None


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"server_tools": ["weather"]}, "server_tools"),
        ({"server_tools": ["calculator"], "n": 2}, "n"),
        (
            {"server_tools": ["calculator"], "tools": [{"type": "function", "function": {"name": "f"}}]},
            "server_tools",
        ),
        ({"server_tools": ["calculator"], "stream_options": {"include_usage": True}}, "stream_options"),
        ({"server_tools": ["calculator"], "messages": [*QUESTION, *QUESTION]}, "messages"),
        ({"server_tools": ["calculator"], "response_format": {"type": "json_object"}}, "response_format"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_had_is_refused_before_anything_is_said(
    chat: ChatFormat, changes: dict[str, Any], param: str, stream: bool
):
    if param == "stream_options" and stream:
        return
    response = await ask(chat, Playing(chat, ["x"]), stream=stream, **changes)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_results_that_fill_the_context_are_an_error_and_not_dropped_in_silence(chat: ChatFormat):
    engine = Playing(chat, ['→calculator\n{"expression": "2^3000"}'])
    response = await ask(chat, engine, server_tools=["calculator"])
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def long_talk() -> list[dict[str, str]]:
    turns: list[dict[str, str]] = []
    for number in range(8):
        turns += [
            {"role": "user", "content": f"question {number} " + "x" * 50},
            {"role": "assistant", "content": f"answer {number}"},
        ]
    return [*turns, {"role": "user", "content": "last"}]


@pytest.mark.parametrize("tools", [[], ["calculator"]])
async def test_older_turns_are_summed_up_and_the_response_says_which(chat: ChatFormat, tools: list[str]):
    engine = Playing(chat, ["Yes."])
    changes = {"messages": long_talk(), "context": "summarise", "server_tools": tools, "max_tokens": 200}
    answer = (await ask(chat, engine, **changes)).json()
    assert answer["choices"][0]["message"]["content"] == "Yes."
    left_out = answer["context"]["left_out"]
    assert left_out == list(range(len(left_out)))
    assert left_out
    assert answer["context"]["summary"] == "They counted."
    assert ASK["en"] in engine.prompts[0]
    assert (
        f"user\n{ASK['en']}<|im_end|>\n<|im_start|>assistant\nThey counted.<|im_end|>" in engine.prompts[-1]
    )
    assert "question 0" not in engine.prompts[-1]
    encode = chat.tokenizer.encode
    n_summaries = len(engine.prompts) - 1
    n_made = n_summaries * (len(encode("They counted.")) + 1) + len(encode("Yes.")) + 1
    assert answer["usage"]["completion_tokens"] == n_made


async def test_without_being_asked_nothing_is_summed_up(chat: ChatFormat):
    engine = Playing(chat, ["Yes."])
    answer = (await ask(chat, engine, messages=long_talk(), max_tokens=200)).json()
    assert answer["context"]["left_out"]
    assert answer["context"]["summary"] is None
    assert len(engine.prompts) == 1
