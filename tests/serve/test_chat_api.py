"""Chat, tools and streams, by messages in and messages out."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from small_server import Scripted, client_of, served

from danlu.generate.reference import ReferenceEngine
from danlu.model.heads import LanguageModel
from danlu.recipes.serving import grammar_of, make_engine
from danlu.serve.api.app import create_app
from danlu.tokenizer.chat import ChatFormat

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello"}]
PATH = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": HELLO, "temperature": 0, **changes}


def chunks_of(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def ask(chat: ChatFormat, engine: Any, **changes: Any) -> Any:
    async with client_of(create_app(served(chat, engine))) as client:
        response = await client.post(PATH, json=body(**changes))
        assert response.status_code == 200, response.text
        return chunks_of(response.text) if changes.get("stream") else response.json()


def script(chat: ChatFormat, text: str, *, end: bool = True) -> Scripted:
    return Scripted([*chat.tokenizer.encode(text), *([chat.tokenizer.im_end_id] if end else [])])


async def test_the_answer_is_what_the_model_says_to_the_rendered_prompt(
    chat: ChatFormat, model: LanguageModel
):
    answer = await ask(chat, ReferenceEngine(model), max_tokens=8)
    prompt = chat.prompt([{"role": "user", "content": "hello"}])
    ids = list(prompt)
    banned = sorted(chat.tokenizer.control_ids - chat.stop_ids)
    with torch.inference_mode():
        for _ in range(8):
            logits = model(torch.tensor([ids]))[0, -1]
            logits[banned] = -torch.inf
            ids.append(int(logits.argmax()))
    assert answer["choices"][0]["message"]["content"] == chat.tokenizer.decode(ids[len(prompt) :])
    assert answer["usage"] == {
        "prompt_tokens": len(prompt),
        "completion_tokens": 8,
        "total_tokens": len(prompt) + 8,
    }
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("changes", [{}, {"n": 3, "temperature": 1.5, "seed": 4}, {"stop": ["好", "l"]}])
async def test_a_stream_says_what_the_whole_answer_says(
    chat: ChatFormat, model: LanguageModel, changes: dict[str, Any]
):
    whole = await ask(chat, ReferenceEngine(model), max_tokens=12, logprobs=True, top_logprobs=2, **changes)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = await ask(
        chat, ReferenceEngine(model), max_tokens=12, logprobs=True, top_logprobs=2, **changes, **options
    )
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert len({chunk["id"] for chunk in chunks}) == 1
    for choice in whole["choices"]:
        mine = [c for chunk in chunks[:-1] for c in chunk["choices"] if c["index"] == choice["index"]]
        assert mine[0]["delta"] == {"role": "assistant", "content": ""}
        text = "".join(c["delta"].get("content", "") for c in mine)
        assert text == choice["message"]["content"]
        told = [entry for c in mine if c["logprobs"] for entry in c["logprobs"]["content"]]
        assert told == choice["logprobs"]["content"]
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [choice["finish_reason"]]


async def test_a_character_in_two_tokens_reaches_the_client_whole(chat: ChatFormat):
    ids = [_byte(chat, byte) for byte in "岁月".encode()]
    chunks = await ask(chat, Scripted([*ids, chat.tokenizer.im_end_id]), stream=True)
    pieces = [c["delta"].get("content") for chunk in chunks for c in chunk["choices"]]
    assert [piece for piece in pieces if piece] == ["岁", "月"]


def _byte(chat: ChatFormat, byte: int) -> int:
    return next(
        i for i in range(chat.tokenizer.vocab_size) if chat.tokenizer.decode_bytes([i]) == bytes([byte])
    )


async def test_a_stop_string_across_tokens_ends_the_answer_and_frees_the_engine(chat: ChatFormat):
    engine = Scripted(chat.tokenizer.encode("x hello there "), endless=True)
    assert len(engine.ids) > 3
    answer = await ask(chat, engine, stop="lo th")
    assert answer["choices"][0]["message"]["content"] == "x hel"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert engine.n_unfinished == 0


async def test_the_end_token_is_no_part_of_the_answer_but_counts(chat: ChatFormat):
    answer = await ask(chat, script(chat, "hi"), logprobs=True)
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "hi"
    assert choice["finish_reason"] == "stop"
    assert "".join(entry["token"] for entry in choice["logprobs"]["content"]) == "hi"
    assert answer["usage"]["completion_tokens"] == len(chat.tokenizer.encode("hi")) + 1


async def test_the_same_seed_gives_the_same_answers_and_n_gives_different_ones(
    chat: ChatFormat, model: LanguageModel
):
    settings: dict[str, Any] = {"temperature": 2, "max_tokens": 12, "n": 4}
    one = await ask(chat, ReferenceEngine(model), seed=7, **settings)
    two = await ask(chat, ReferenceEngine(model), seed=7, **settings)
    other = await ask(chat, ReferenceEngine(model), seed=8, **settings)
    texts = [[choice["message"]["content"] for choice in each["choices"]] for each in (one, two, other)]
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0])) == 4


async def test_what_is_asked_of_the_draw_reaches_the_engine(chat: ChatFormat):
    engine = script(chat, "hi")
    await ask(
        chat,
        engine,
        presence_penalty=0.5,
        frequency_penalty=-1,
        logit_bias={"5": 2, "6": -100},
        min_p=0.1,
        top_k=7,
        top_p=0.5,
        temperature=0.3,
        max_completion_tokens=5.0,  # in JSON an integer like any other
        seed=-3,
    )
    (request,) = engine.requests
    assert (request.presence_penalty, request.frequency_penalty, request.min_p) == (0.5, -1, 0.1)
    assert request.logit_bias == {5: 2, 6: -100}
    sampling = request.sampling
    assert (sampling.top_k, sampling.top_p, sampling.temperature) == (7, 0.5, 0.3)
    assert (sampling.max_new_tokens, sampling.seed) == (5, -3)


@pytest.mark.parametrize("changes", [{"temperature": 1e-300}, {"temperature": 1, "top_p": 0}])
async def test_next_to_no_freedom_is_greedy(chat: ChatFormat, changes: dict[str, Any]):
    engine = script(chat, "hi")
    await ask(chat, engine, **changes)
    assert (engine.requests[0].sampling.temperature, engine.requests[0].sampling.top_p) == (0, 1)


def calling(chat: ChatFormat) -> Scripted:
    encode, start = chat.tokenizer.encode, chat.tokenizer.im_start_id
    return Scripted(
        [
            *encode("好"),
            start,
            *encode('weather\n{"city": "北京"}'),
            start,
            *encode("weather\n{}"),
            chat.tokenizer.im_end_id,
        ]
    )


async def test_tool_calls_come_out_in_openais_shape(chat: ChatFormat):
    answer = await ask(chat, calling(chat), tools=[WEATHER])
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "好"
    functions = [call["function"] for call in choice["message"]["tool_calls"]]
    assert functions == [
        {"name": "weather", "arguments": '{"city": "北京"}'},
        {"name": "weather", "arguments": "{}"},
    ]
    assert len({call["id"] for call in choice["message"]["tool_calls"]}) == 2


async def test_tool_calls_are_streamed_piece_by_piece(chat: ChatFormat):
    chunks = await ask(chat, calling(chat), tools=[WEATHER], stream=True)
    deltas = [c["delta"] for chunk in chunks for c in chunk["choices"]]
    calls: dict[int, dict[str, str]] = {}
    for call in (each for delta in deltas for each in delta.get("tool_calls", [])):
        if "id" in call:
            assert call["index"] == len(calls)
            calls[call["index"]] = {"name": call["function"]["name"], "arguments": ""}
        calls[call["index"]]["arguments"] += call["function"]["arguments"]
    assert calls == {
        0: {"name": "weather", "arguments": '{"city": "北京"}'},
        1: {"name": "weather", "arguments": "{}"},
    }
    assert sum("tool_calls" in delta for delta in deltas) > 4  # not all at once
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_call_that_the_length_limit_cut_is_no_call(chat: ChatFormat):
    engine = calling(chat)
    engine.ids = engine.ids[:-2]
    answer = await ask(chat, engine, tools=[WEATHER])
    assert answer["choices"][0]["finish_reason"] == "length"
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1


@pytest.mark.parametrize("choice", [None, "auto", "required", "none"])
async def test_the_model_can_open_a_call_only_where_tools_may_be_called(chat: ChatFormat, choice: str | None):
    engine = script(chat, "hi")
    await ask(chat, engine, tools=[WEATHER], **({} if choice is None else {"tool_choice": choice}))
    (request,) = engine.requests
    assert (chat.call_id in request.forbidden_ids) == (choice == "none")
    assert (request.token_filter is None) == (choice == "none")
    await ask(chat, engine)
    assert chat.call_id in engine.requests[1].forbidden_ids


async def test_a_required_call_is_made_by_a_model_that_knows_nothing(chat: ChatFormat, model: LanguageModel):
    named = {"type": "function", "function": {"name": "weather"}}
    for choice in ("required", named):
        chunks = await ask(
            chat, ReferenceEngine(model), tools=[WEATHER], tool_choice=choice, max_tokens=40, stream=True
        )
        deltas = [c["delta"] for chunk in chunks for c in chunk["choices"] if "tool_calls" in c["delta"]]
        assert deltas[0]["tool_calls"][0]["function"]["name"] == "weather"


async def test_a_conversation_with_a_call_and_its_result_goes_back_in(chat: ChatFormat):
    first = await ask(chat, calling(chat), tools=[WEATHER])
    message = first["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": c["id"], "content": "rain"} for c in message["tool_calls"]]
    engine = script(chat, "hi")
    await ask(chat, engine, messages=[*HELLO, message, *results], tools=[WEATHER])
    text = chat.tokenizer.decode(engine.requests[0].prompt_ids)
    assert 'weather\n{"city": "北京"}' in text
    assert text.count("rain") == 2


async def test_parts_of_text_are_joined_and_a_developer_is_the_system(chat: ChatFormat):
    engine = script(chat, "hi")
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    messages = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}]
    await ask(chat, engine, messages=messages)
    expected = chat.prompt([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}])
    assert list(engine.requests[0].prompt_ids) == expected


async def test_the_oldest_exchanges_go_and_the_answer_says_so(chat: ChatFormat):
    turns = [
        {"role": role, "content": f"{role} {n} " + "z" * 20}
        for n in range(8)
        for role in ("user", "assistant")
    ]
    messages = [{"role": "system", "content": "be brief"}, *turns, *HELLO]
    engine = script(chat, "hi")
    answer = await ask(chat, engine, messages=messages, pinned=[4])
    left_out = answer["context"]["left_out"]
    assert left_out[:4] == [1, 2, 5, 6]
    assert 3 not in left_out
    assert 4 not in left_out
    kept = [message for place, message in enumerate(messages) if place not in left_out]
    assert list(engine.requests[0].prompt_ids) == chat.prompt(kept)  # type: ignore[arg-type]
    streamed = await ask(chat, script(chat, "hi"), messages=messages, pinned=[4], stream=True)
    assert streamed[0]["context"]["left_out"] == left_out
    async with client_of(create_app(served(chat, script(chat, "hi")))) as client:
        refused = await client.post(PATH, json=body(messages=messages, truncation="disabled"))
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"


async def test_a_grammar_gives_each_completion_a_filter_of_its_own(chat: ChatFormat):
    class Anything:
        def __init__(self, schema: Any) -> None:
            self.schema = schema

        def allow(self, logits: Any) -> None: ...

        def accept(self, token_id: int) -> None: ...

    engine = script(chat, "hi")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    async with client_of(create_app(served(chat, engine, grammar=Anything))) as client:
        assert (await client.post(PATH, json=body(response_format=form, n=2))).status_code == 200
        assert (
            await client.post(PATH, json=body(response_format={"type": "json_object"}))
        ).status_code == 200
    filters: list[Any] = [request.token_filter for request in engine.requests]
    assert [each.schema for each in filters] == [schema, schema, {"type": "object"}]
    assert filters[0] is not filters[1]
    async with client_of(create_app(served(chat, engine))) as client:
        refused = await client.post(PATH, json=body(response_format=form))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_available")


async def test_what_is_served_holds_an_answer_to_its_schema(chat: ChatFormat, model: LanguageModel):
    """By the very engine and grammar that `danlu serve` takes; the model itself knows nothing."""
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["北京", "Rome"]}, "day": {"enum": [1, 2, 3]}},
        "required": ["city", "day"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    app = create_app(served(chat, make_engine(model, {}), grammar=grammar_of(chat)))
    wrong = form | {"json_schema": {"name": "a", "schema": {"type": "no such type"}}}
    async with client_of(app) as client:
        answer = await client.post(PATH, json=body(response_format=form, n=3, max_tokens=150))
        refused = await client.post(PATH, json=body(response_format=wrong))
    found = [
        json.loads(choice["message"]["content"])
        for choice in answer.json()["choices"]
        if choice["finish_reason"] == "stop"
    ]
    assert found  # white space without end may cut some
    assert all(each["city"] in ("北京", "Rome") and each["day"] in (1, 2, 3) for each in found)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "response_format")
