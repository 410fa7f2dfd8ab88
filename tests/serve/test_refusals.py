"""What is refused, and how: bad input, wrong keys, too much of anything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from small_server import Failing, Scripted, client_of, served

from danlu.cli import main
from danlu.config import ConfigError
from danlu.generate.request import NOTHING_ALLOWED, Event
from danlu.serve.api.app import OPEN, ROUTES, create_app
from danlu.serve.api.keys import load_keys, make_key
from danlu.serve.api.limits import Limits
from danlu.tokenizer.chat import ChatFormat

pytestmark = pytest.mark.anyio
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
DEEP: dict[str, Any] = {}
for _ in range(100):  # json.dumps itself gives up at a thousand
    DEEP = {"a": DEEP}


def tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **function}}]}


BAD_FIELDS = [
    ({"temperature": 3}, 422, "temperature"),
    ({"temperature": -0.1}, 422, "temperature"),
    ({"temperature": "1"}, 422, "temperature"),
    ({"temperature": True}, 422, "temperature"),
    ({"top_p": 1.1}, 422, "top_p"),
    ({"top_k": -1}, 422, "top_k"),
    ({"min_p": 2}, 422, "min_p"),
    ({"n": 0}, 422, "n"),
    ({"n": 10**30}, 422, "n"),
    ({"n": 1.5}, 422, "n"),
    ({"max_tokens": 0}, 422, "max_tokens"),
    ({"max_tokens": -5}, 422, "max_tokens"),
    ({"max_tokens": 10**9}, 400, "max_tokens"),
    ({"seed": 2**63}, 422, "seed"),
    ({"presence_penalty": 2.1}, 422, "presence_penalty"),
    ({"logit_bias": {"1": 101}}, 422, "logit_bias.1"),
    ({"logit_bias": {"one": 1}}, 422, "logit_bias.one.[key]"),
    ({"logit_bias": {"999999": 1}}, 400, "logit_bias"),
    ({"stop": ""}, 422, None),
    ({"stop": ["a"] * 65}, 422, None),
    ({"stop": ["a"] * 17}, 400, "stop"),
    ({"stop": "a" * 257}, 400, "stop"),
    ({"top_logprobs": 2}, 400, "top_logprobs"),
    ({"top_logprobs": 21, "logprobs": True}, 422, "top_logprobs"),
    ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
    ({"temperatur": 1}, 422, "temperatur"),
    ({"model": "other"}, 404, "model"),
    ({"model": None}, 422, "model"),
    ({"messages": []}, 422, "messages"),
    ({"messages": "hello"}, 422, "messages"),
    ({"messages": [{"role": "judge", "content": "x"}]}, 422, "messages.0"),
    ({"messages": [{"role": "user"}]}, 422, "messages.0.user.content"),
    ({"messages": [{"role": "user", "content": None}]}, 422, None),
    ({"messages": [*HELLO, *HELLO]}, 400, "messages"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages"),
    ({"messages": [{"role": "system", "content": "x"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": "z" * 300}]}, 400, "messages"),
    ({"messages": [*HELLO, {"role": "assistant", "content": "x"}] * 600}, 400, "messages"),
    ({"messages": [*HELLO, {"role": "tool", "content": "x", "tool_call_id": "c"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 422, None),
    ({"pinned": [5]}, 400, "pinned"),
    ({"pinned": [-1]}, 422, "pinned.0"),
    (tool(name="user"), 422, "tools.0.function.name"),
    (tool(name="a b"), 422, "tools.0.function.name"),
    (tool(name="a\nb"), 422, "tools.0.function.name"),
    (tool(strict=True), 422, "tools.0.function.strict"),
    (tool(parameters={"a": "x" * 70_000}), 400, "tools"),
    ({"tools": [*tool()["tools"], *tool()["tools"]]}, 400, "tools"),
    ({"tool_choice": "required"}, 400, "tool_choice"),
    ({**tool(), "tool_choice": {"type": "function", "function": {"name": "g"}}}, 400, "tool_choice"),
    ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ({"response_format": {"type": "yaml"}}, 422, "response_format"),
]


@pytest.mark.parametrize(("changes", "status", "param"), BAD_FIELDS)
async def test_a_bad_field_is_named_and_nothing_runs(
    chat: ChatFormat, changes: dict[str, Any], status: int, param: str | None
):
    engine = Scripted([70])
    async with client_of(create_app(served(chat, engine))) as client:
        response = await client.post(CHAT, json={"model": "tiny", "messages": HELLO, **changes})
        told = response.json()["error"]
        assert response.status_code == status, told
        assert engine.requests == []
        assert told["param"] == param if param else told["param"]
        assert told["message"]
        fine = await client.post(CHAT, json={"model": "tiny", "messages": HELLO})
        assert fine.status_code == 200


BAD_PROMPTS = [
    ([], 422),
    ([[]], 422),
    ([""] * 200, 400),
    ([1, "a"], 422),
    ([-1], 422),
    ([999_999], 400),
    ([70] * 256, 400),
    ([2**40], 422),
    ([1.5], 422),
    ({"a": 1}, 422),
    (None, 422),
]


@pytest.mark.parametrize(("prompt", "status"), BAD_PROMPTS)
async def test_a_bad_prompt_is_refused(chat: ChatFormat, prompt: Any, status: int):
    engine = Scripted([70])
    async with client_of(create_app(served(chat, engine))) as client:
        response = await client.post(COMPLETIONS, json={"model": "tiny", "prompt": prompt})
    assert (response.status_code, engine.requests) == (status, [])


BAD_BODIES = [
    (b"", 422, "Field required"),
    (b"{", 400, "no JSON"),
    (b"[]", 422, ""),
    (b"null", 422, ""),
    (b"\xff\xfe", 400, "not UTF-8 at byte 0"),
    (b'{"model": "tiny", "model": "tiny"}', 400, "a name stands twice"),
    (b'{"temperature": NaN}', 400, "NaN is no number"),
    (b'{"temperature": -Infinity}', 400, "-Infinity is no number"),
    (b'{"temperature": 1e999}', 422, "temperature"),
    (b'{"model": "\\ud800"}', 400, "surrogate"),
    (b"[" * 100_000, 400, "nested deeper"),
    (b'{"n": ' + b"9" * 5000 + b"}", 400, "no JSON"),
    (b'{"response_format":' * 1000 + b"1" + b"}" * 1000, 400, "nested deeper"),
    (b'{"a":' * 80 + b"1" + b"}" * 80, 400, "nested deeper than 64"),
    (b" " * (2**20 + 1), 413, "more than 1,048,576 bytes"),
    (json.dumps({"model": "tiny", "prompt": "z" * 10**7}).encode(), 413, "more than"),
    (json.dumps({"stop": ["a"] * 200_000}).encode(), 422, "stop"),
]


@pytest.mark.parametrize(("raw", "status", "message"), BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_a_bad_body_is_refused(chat: ChatFormat, raw: bytes, status: int, message: str):
    async with client_of(create_app(served(chat, Scripted([70])))) as client:
        response = await client.post(CHAT, content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    assert message in response.json()["error"]["message"]


async def test_a_body_of_another_type_is_refused(chat: ChatFormat):
    async with client_of(create_app(served(chat, Scripted([70])))) as client:
        assert (await client.post(CHAT, content=b"{}")).status_code == 415
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post(CHAT, content=b"a=b", headers=form)).status_code == 415


async def test_a_deep_schema_is_refused(chat: ChatFormat):
    def refuse(schema: object) -> Any:
        raise AssertionError("a schema beyond the limits must not get here")

    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": DEEP}}
    app = create_app(served(chat, Scripted([70]), grammar=refuse), limits=Limits(body_depth=5000))
    async with client_of(app) as client:
        body = json.dumps({"model": "tiny", "messages": HELLO, "response_format": form})
        response = await client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert "levels in a schema" in response.json()["error"]["message"]


async def test_an_error_repeats_nothing_that_was_sent(chat: ChatFormat):
    evil = "<script>alert(1)</script>\x1b[2J"
    async with client_of(create_app(served(chat, Scripted([70])))) as client:
        call = {"id": evil, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        begun = [*HELLO, {"role": "assistant", "content": "", "tool_calls": [call]}]
        other = [*begun, {"role": "tool", "content": "", "tool_call_id": evil[::-1]}]
        for changes in (
            *({"model": evil}, {"temperature": evil}, {"messages": evil}),
            *({"messages": [*begun, *HELLO]}, {"messages": other}, {"messages": begun}),
        ):
            response = await client.post(CHAT, json={"model": "tiny", "messages": HELLO, **changes})
            assert response.status_code in (400, 404, 422)
            assert "script" not in response.text
            assert "tpircs" not in response.text
        response = await client.post(CHAT, json={"model": "tiny", "messages": HELLO, "\x1b[2J": 1})
        assert "\x1b" not in response.json()["error"]["message"]


@pytest.fixture
def keys_file(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    path = tmp_path / "keys.toml"
    return path, {
        "talker": make_key(path, "talker", ["chat"]),
        "owner": make_key(path, "owner", ["admin", "chat"]),
        "rater": make_key(path, "rater", ["annotate"]),
    }


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_no_route_but_health_answers_without_a_key(
    chat: ChatFormat, keys_file: tuple[Path, dict[str, str]]
):
    app = create_app(served(chat, Scripted([70])), keys=load_keys(keys_file[0]))
    places = {(method, route.path) for route in app.routes for method in getattr(route, "methods", ())}
    places |= {
        (method.upper(), path)
        for path, each in (app.openapi_schema or {})["paths"].items()
        for method in each
    }
    assert len(places) >= 12
    async with client_of(app) as client:
        for method, path in sorted(places):
            at = path.replace("{model:path}", "tiny").replace("{model}", "tiny")
            bare = await client.request(method, at)
            if path in OPEN:
                assert bare.status_code in (200, 405)
                continue
            assert bare.status_code == 401, (method, path)
            assert bare.headers["WWW-Authenticate"] == "Bearer"
            for wrong in ("nonsense", "", "danlu-" + "a" * 43):
                assert (await client.request(method, at, headers=bearer(wrong))).status_code == 401
            lacking = await client.request(method, at, headers=bearer(keys_file[1]["rater"]))
            assert lacking.status_code == 403, (method, path)
        for unknown in ("/", "/v2/models", "/health/x", "/admin", "//v1/models", "/v1/../metrics"):
            assert (await client.get(unknown)).status_code == 401


async def test_a_key_opens_what_its_scopes_say(chat: ChatFormat, keys_file: tuple[Path, dict[str, str]]):
    path, keys = keys_file
    assert not any(key in path.read_text(encoding="utf-8") for key in keys.values())
    assert path.stat().st_mode & 0o077 == 0
    async with client_of(create_app(served(chat, Scripted([70])), keys=load_keys(path))) as client:
        talker, owner = bearer(keys["talker"]), bearer(keys["owner"])
        assert (await client.get("/v1/models", headers=talker)).status_code == 200
        assert (await client.get("/metrics", headers=talker)).status_code == 403
        assert (await client.get("/metrics", headers=owner)).status_code == 200
        assert (await client.get("/nowhere", headers=talker)).status_code == 403
        assert (await client.get("/nowhere", headers=owner)).status_code == 404
        elsewhere = {"X-Api-Key": keys["talker"], "Api-Key": keys["talker"]}
        assert (await client.get("/v1/models", headers=elsewhere)).status_code == 401
        assert (await client.get("/v1/models?api_key=" + keys["talker"])).status_code == 401
        twice = [("Authorization", f"Bearer {keys['talker']}")] * 2
        assert (await client.get("/v1/models", headers=twice)).status_code == 401


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("[a]\nsha256 = 'short'", "64 hexadecimal digits"),
        ("[a]\nsha256 = '" + "a" * 64 + "'\nscopes = []", "scopes is empty"),
        ("[a]\nsha256 = '" + "a" * 64 + "'\nscopes = ['all']", "expected 'chat' or 'annotate' or 'admin'"),
        ("[a]\nkey = 'x'", "unknown key"),
        ("a = 1", "expected a table"),
        ("[a", "not valid TOML"),
    ],
)
async def test_a_broken_file_of_keys_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_keys(path)


async def test_a_name_has_one_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "keys.toml"
    assert main(["key", "ann", f"file={path}", "scopes=admin"]) == 0
    key = capsys.readouterr().out.strip()
    caller = load_keys(path).caller(key)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("ann", {"admin"})
    assert load_keys(path).caller(key + "x") is None
    assert main(["key", "ann", f"file={path}"]) == 2
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "a b", "[::2]"]
)
async def test_a_name_that_is_not_ours_is_refused(chat: ChatFormat, host: str):
    async with client_of(create_app(served(chat, Scripted([70])))) as client:
        assert (await client.get("/health", headers={"Host": host})).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
async def test_a_name_that_is_ours_is_not(chat: ChatFormat, host: str):
    async with client_of(create_app(served(chat, Scripted([70])))) as client:
        assert (await client.get("/health", headers={"Host": host})).status_code == 200


async def test_too_much_at_a_time_is_sent_away_for_a_while(chat: ChatFormat):
    endless = Scripted([70], endless=True, step_s=0.001)
    limits = Limits(requests_per_key=2, sequences=5, wall_s=20, retry_after_s=3)
    async with client_of(create_app(served(chat, endless), limits=limits)) as client:
        body = {"model": "tiny", "messages": HELLO, "n": 2}
        running = [asyncio.create_task(client.post(CHAT, json=body)) for _ in range(2)]
        while len(endless.said) < 4:
            await asyncio.sleep(0.005)
        third = await client.post(CHAT, json=body)
        assert (third.status_code, third.headers["Retry-After"]) == (429, "3")
        assert third.json()["error"]["type"] == "rate_limit_error"
        running[0].cancel()
        await asyncio.gather(running[0], return_exceptions=True)
        while len(endless.said) > 2:
            await asyncio.sleep(0.005)
        large = await client.post(CHAT, json={**body, "n": 4})
        assert (large.status_code, large.headers["Retry-After"]) == (503, "3")
        assert (await client.get("/health")).status_code == 200
        running[1].cancel()
        await asyncio.gather(running[1], return_exceptions=True)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_ends_when_its_time_is_over(chat: ChatFormat, stream: bool):
    engine = Scripted([70], endless=True, step_s=0.001)
    app = create_app(served(chat, engine), limits=Limits(wall_s=0.1))
    async with client_of(app) as client:
        response = await client.post(CHAT, json={"model": "tiny", "messages": HELLO, "stream": stream})
        assert "not finished after 0.1 seconds" in response.text
        assert response.status_code == (200 if stream else 503)
        while engine.said:
            await asyncio.sleep(0.005)


class GivingUp(Scripted):
    """Ends every request at once, for a reason."""

    reason = ""

    def step(self) -> list[Event]:
        return [
            Event(request_id=i, end_reason="error", error=self.reason)
            for i in list(self.said)
            if self.said.pop(i) == 0
        ]


@pytest.mark.parametrize(("reason", "status"), [(NOTHING_ALLOWED, 400), ("the weights have diverged", 500)])
async def test_a_request_that_leaves_no_token_is_the_clients_fault_and_a_broken_model_ours(
    chat: ChatFormat, reason: str, status: int
):
    engine = GivingUp([70])
    engine.reason = reason
    async with client_of(create_app(served(chat, engine))) as client:
        response = await client.post(CHAT, json={"model": "tiny", "messages": HELLO})
    told = response.json()["error"]
    assert (response.status_code, told["code"]) == (status, "generation_failed")
    assert reason in told["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_breaks_is_told_of_and_the_server_goes_on_answering(
    chat: ChatFormat, stream: bool
):
    async with client_of(create_app(served(chat, Failing([70])))) as client:
        body = {"model": "tiny", "messages": HELLO, "stream": stream}
        assert (await client.get("/ready")).json() == {"status": "ready"}
        first = await client.post(CHAT, json=body)
        assert "the engine has failed: RuntimeError" in first.text
        assert "out of order" not in first.text
        second = await client.post(CHAT, json=body)
        assert second.status_code == 503
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "failed"})
        assert (await client.get("/health")).status_code == 200


async def test_every_path_of_the_description_is_a_route_and_every_route_is_described(chat: ChatFormat):
    app = create_app(served(chat, Scripted([70])))
    described = {
        (method.upper(), path.replace("{model}", "{model:path}"))
        for path, each in app.openapi()["paths"].items()
        for method in each
    }
    routed = {
        (method, route.path)
        for routes in ROUTES
        for route in routes(app.state.service).routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert routed == described
    assert {path for _, path in described} >= {
        "/v1/models",
        CHAT,
        COMPLETIONS,
        "/tokenize",
        "/metrics",
        "/ready",
    }


@pytest.mark.parametrize("method", ["OPTIONS", "PUT"])
async def test_a_method_that_is_none_is_refused_with_those_that_are(chat: ChatFormat, method: str):
    async with client_of(create_app(served(chat, Scripted([70])))) as client:
        for path, allowed in (("/v1/adapters", "GET, POST"), (CHAT, "POST"), ("/v1/adapters/a", "DELETE")):
            response = await client.request(method, path)
            assert (response.status_code, response.headers["Allow"]) == (405, allowed)
            assert response.json()["error"]["message"] == "Method Not Allowed"
