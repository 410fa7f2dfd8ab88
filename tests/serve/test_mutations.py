"""Requests that are right but for one place, every place of every route: our own fuzzer beside schemathesis.

A good request is taken apart; at each place stands something hostile, or nothing, or the same again. Whatever
is asked, the answer comes within a second, is no 5xx, has OpenAI's shape, and good requests go on.
"""

from __future__ import annotations

import copy
import gc
import itertools
import json
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from small_server import Scripted, client_of, served

from danlu.recipes.serving import grammar_of
from danlu.serve.api.app import create_app
from danlu.serve.api.limits import Limits
from danlu.tokenizer.chat import ChatFormat

pytestmark = pytest.mark.anyio
MARK = "zqx9"  # stands in what is sent; an error repeats nothing of that
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SAMPLED = {
    "model": "tiny",
    "n": 1,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 3,
    "min_p": 0.1,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "logit_bias": {"70": 1.5},
    "seed": 3,
    "stop": ["zz"],
    "user": "u",
}
GOOD: list[tuple[str, dict[str, Any]]] = [
    (
        "/v1/chat/completions",
        {
            **SAMPLED,
            "messages": [
                {"role": "system", "content": "a"},
                {"role": "user", "content": [{"type": "text", "text": "b"}]},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "c", "tool_call_id": "c"},
                {"role": "assistant", "content": "d"},
                {"role": "user", "content": "e"},
            ],
            "max_tokens": 4,
            "logprobs": True,
            "top_logprobs": 1,
            "tools": [TOOL],
            "tool_choice": "auto",
            "truncation": "auto",
            "pinned": [1],
            "stream": False,
        },
    ),
    (
        "/v1/chat/completions",
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "e"}],
            "max_completion_tokens": 4,
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    ("/v1/completions", {**SAMPLED, "prompt": ["a", "b"], "max_tokens": 2, "echo": True, "logprobs": 1}),
    ("/v1/completions", {"model": "tiny", "prompt": [[70, 71]], "max_tokens": 2, "stream": True}),
    ("/v1/embeddings", {"model": "tiny", "input": ["a"], "encoding_format": "base64", "dimensions": 2}),
    ("/v1/score", {"model": "tiny", "prompt": [{"role": "user", "content": "a"}], "completions": ["b"]}),
    ("/tokenize", {"prompt": "a", "model": "tiny", "add_special_tokens": True, "return_token_strs": True}),
    ("/tokenize", {"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": True}),
    ("/detokenize", {"tokens": [70], "model": "tiny"}),
    ("/v1/adapters", {"name": "a", "directory": "b"}),
]
DEEP: Any = 1
for _ in range(45):
    DEEP = [DEEP]
HOSTILE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**63, -(2**63) - 1, 10**30, 0.5, -1.5, 1e308, -1e308),
    *("", "a", "auto", MARK, "\0", "\x1b[2J", "\u202e", "𝕏" * 300, "<|im_start|>system", "../../etc/passwd"),
    *("{{7*7}}", "' OR 1=1 --", "NaN", "1", MARK * 2000),
    *([], [[]], [None], [0] * 300, ["a"] * 300, {}, {"": ""}, {MARK: 1}, {"type": MARK}, {"$ref": "#"}, DEEP),
]
NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-0", "00", "0x1", "1_000", "9" * 4000)
Path_ = tuple[str | int, ...]


def places(tree: Any, at: Path_ = ()) -> Iterator[Path_]:
    """Where something stands, from the whole to its leaves."""
    yield at
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, each in members:
        yield from places(each, (*at, name))


def with_there(tree: Any, at: Path_, value: Any) -> Any:
    if not at:
        return value
    changed = copy.deepcopy(tree)
    parent = changed
    for name in at[:-1]:
        parent = parent[name]
    parent[at[-1]] = value
    return changed


def without(tree: Any, at: Path_) -> Any:
    changed = copy.deepcopy(tree)
    parent = changed
    for name in at[:-1]:
        parent = parent[name]
    del parent[at[-1]]
    return changed


HOLE = "@hole@"


def mutations(good: dict[str, Any]) -> Iterator[str]:
    """Bodies that differ from a good one at one place."""
    for at in places(good):
        for value in HOSTILE:
            yield json.dumps(with_there(good, at, value))
        holed = json.dumps(with_there(good, at, HOLE))
        for number in NUMBERS:
            yield holed.replace(f'"{HOLE}"', number)
        if at:
            yield json.dumps(without(good, at))
        if at and isinstance(at[-1], str):  # the name twice
            own = f'{json.dumps(at[-1])}: "{HOLE}"'
            yield holed.replace(own, f"{json.dumps(at[-1])}: 1, {json.dumps(at[-1])}: 1")
    for name in ("temperatur", "__proto__", MARK, "a" * 5000):
        yield json.dumps({**good, name: 1})
    text = json.dumps(good)
    yield from (text[: len(text) // 2], text + "}", text + text, "\ufeff" + text, "//\n" + text)


@asynccontextmanager
async def attacked(chat: ChatFormat) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app(
        served(
            chat,
            Scripted([70, 71, chat.tokenizer.im_end_id]),
            embed=lambda rows: [[0.6, 0.8] for _ in rows],
            score=lambda rows: [float(len(row)) for row in rows],
            grammar=grammar_of(chat),
        ),
        limits=Limits(wall_s=5),
    )
    async with client_of(app) as client:
        yield client


async def send(client: httpx2.AsyncClient, path: str, body: str) -> None:
    began = time.process_time()
    response = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert time.process_time() - began < 1, (path, body[:500])
    assert response.status_code < 500, (path, body[:500], response.text)
    if response.status_code != 200:
        told = response.json()["error"]
        assert set(told) == {"message", "type", "param", "code"}
        assert told["message"]
        assert len(response.text) < 4000
        # Names of fields are told, unknown ones too, and the word of a schema that cannot be used.
        if told["param"] != "response_format":
            faults = [each.partition(": ")[2] or each for each in told["message"].split("; ")]
            assert MARK not in " ".join(faults), (path, body[:500], told)


async def all_is_well(client: httpx2.AsyncClient) -> None:
    for path, good in GOOD[:-1]:
        response = await client.post(path, json=good)
        assert response.status_code == 200, (path, response.text)


async def test_one_wrong_place_is_refused_wherever_it_is(chat: ChatFormat):
    """A part of all of them, another for each route; the slow test sends every one."""
    async with attacked(chat) as client:
        await all_is_well(client)
        n_sent = 0
        for number, (path, good) in enumerate(GOOD):
            for body in itertools.islice(mutations(good), number, None, 29):
                await send(client, path, body)
                n_sent += 1
        assert n_sent > 200
        await all_is_well(client)


@pytest.mark.slow
async def test_every_wrong_place_is_refused(chat: ChatFormat):
    async with attacked(chat) as client:
        for path, good in GOOD:
            for body in mutations(good):
                await send(client, path, body)
        await all_is_well(client)


def resident_bytes() -> int:
    """Memory of this process, from Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
async def test_hours_of_wrong_requests_leave_nothing_behind(chat: ChatFormat):
    """Two places wrong at a time, at random; memory after the first quarter is memory at the end.

    `DANLU_FUZZ_S=600` goes on for ten minutes.
    """
    rng, n = random.Random(7), 20_000
    end = time.monotonic() + float(os.environ.get("DANLU_FUZZ_S", "0"))
    async with attacked(chat) as client:
        early = 0
        for sent in itertools.count():
            if sent >= n and time.monotonic() > end:
                break
            path, body = rng.choice(GOOD)
            for _ in range(2):
                at = rng.choice([*places(body)][1:] or [()])
                body = with_there(body, at, rng.choice(HOSTILE)) if at else body
                if not isinstance(body, dict):
                    break
            await send(client, path, json.dumps(body))
            if sent == n // 4:
                gc.collect()
                early = resident_bytes()
        await all_is_well(client)
    gc.collect()
    assert resident_bytes() - early < 24 * 2**20


HUGE: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"model": "tiny", "prompt": "z" * 10**7}),
    ("/v1/completions", {"model": "tiny", "prompt": "你好 " * 10**6}),
    ("/v1/completions", {"model": "tiny", "prompt": [70] * 10**6}),
    ("/v1/completions", {"model": "tiny", "prompt": ["a"] * 10**6}),
    ("/v1/completions", {"model": "tiny", "prompt": "a", "stop": ["a"] * 10**6}),
    ("/v1/completions", {"model": "tiny", "prompt": "a", "stop": "a" * 10**7}),
    ("/v1/completions", {"model": "tiny", "prompt": "a", "logit_bias": {str(i): 1 for i in range(10**6)}}),
    ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "z" * 10**7}]}),
    ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "a"}] * 10**5}),
    ("/v1/embeddings", {"model": "tiny", "input": "z" * 10**7}),
]


@pytest.mark.parametrize("number", range(len(HUGE)))
async def test_ten_megabytes_are_refused_at_the_door(chat: ChatFormat, number: int):
    path, body = HUGE[number]
    async with attacked(chat) as client:
        text = json.dumps(body)
        began = time.process_time()
        response = await client.post(path, content=text, headers={"Content-Type": "application/json"})
        assert time.process_time() - began < 1
        assert response.status_code in (413, 422)


@pytest.mark.parametrize("character", ["z", " ", "你", "\n", "𝕏", "z ", "\\"])
async def test_a_megabyte_of_prompt_is_refused_within_a_second(chat: ChatFormat, character: str):
    text = (character * 10**6).encode()[:900_000].decode(errors="ignore")
    async with attacked(chat) as client:
        for path, body in (
            ("/v1/completions", {"model": "tiny", "prompt": text}),
            ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": text}]}),
            ("/v1/embeddings", {"model": "tiny", "input": text}),
            ("/v1/score", {"model": "tiny", "prompt": GOOD[5][1]["prompt"], "completions": [text]}),
        ):
            raw = json.dumps(body, ensure_ascii=False).encode()
            began = time.process_time()
            response = await client.post(path, content=raw, headers={"Content-Type": "application/json"})
            assert time.process_time() - began < 1, path
            assert response.status_code in (400, 413), (path, response.text)


@pytest.mark.parametrize("context", ["drop", "summarise"])
@pytest.mark.parametrize("place", ["turn", "call"])
async def test_a_megabyte_of_history_is_left_out_within_a_second(
    chat: ChatFormat, context: str, place: str, monkeypatch: pytest.MonkeyPatch
):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "z " * 450_000}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "z " * 450_000 if place == "turn" else "hello"},
        {"role": "assistant", "content": "", "tool_calls": [call] if place == "call" else []},
        {"role": "tool", "content": "there", "tool_call_id": "c"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "hello there"},
    ]
    if place == "turn":
        messages[1:3] = []
    encoded: list[int] = []
    encode = chat.tokenizer.encode
    monkeypatch.setattr(chat.tokenizer, "encode", lambda text: encoded.append(len(text)) or encode(text))
    asked = {"model": "tiny", "messages": messages, "context": context, "max_tokens": 4}
    async with attacked(chat) as client:
        began = time.process_time()
        response = await client.post("/v1/chat/completions", json=asked)
        assert time.process_time() - began < 1
        assert response.status_code == 200, response.text
        assert response.json()["context"]["left_out"] == list(range(len(messages) - 1))
        for refused in ({"pinned": [1]}, {"truncation": "disabled"}):
            began = time.process_time()
            response = await client.post("/v1/chat/completions", json=asked | refused)
            assert time.process_time() - began < 1
            assert response.status_code == 400, response.text
            assert "at least" in response.json()["error"]["message"]
    assert max(encoded) < 1000
