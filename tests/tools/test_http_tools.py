"""Tools over HTTP: the listed host and no other, no redirect, within time and size, secrets kept."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import CONTROL_TOKENS, HOSTILE, MARKERS
from local_service import Service, running

from danlu.tools.error import ToolError
from danlu.tools.http import Host, HttpLimits, request
from danlu.tools.model import ModelConfig, model_tool
from danlu.tools.openapi import OpenApiConfig, tools_of
from danlu.tools.protocol import Call, Toolbox, ToolDefinitionError, ToolLimits

PATIENT = ToolLimits(wall_s=600)


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as started:
        yield started


def described(service: Service | str, **changes: Any) -> dict[str, Any]:
    forecast = {
        "operationId": "forecast",
        "summary": "Tell the weather of a city.",
        "parameters": [
            {"name": "city", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "days", "in": "query", "schema": {"$ref": "#/components/schemas/Days"}},
            {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
            {"name": "X-Unit", "in": "header", "schema": {"enum": ["C", "F"]}},
            {"name": "Cookie", "in": "header", "schema": {"type": "string"}},
        ],
    }
    book = {
        "operationId": "book",
        "summary": "Book a room.",
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["from"],
                        "properties": {"from": {"type": "string"}, "nights": {"type": ["integer", "null"]}},
                    }
                }
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "servers": [{"url": service if isinstance(service, str) else f"{service.url}/v1"}],
        "paths": {"/weather/{city}": {"get": forecast}, "/rooms": {"post": book}},
        "components": {
            "schemas": {"Days": {"type": "integer"}},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        **changes,
    }


def box_of(tmp_path: Path, tree: dict[str, Any], **changes: Any) -> Toolbox:
    path = tmp_path / "api.json"
    path.write_text(json.dumps(tree))
    return Toolbox(tools_of(OpenApiConfig(file=path, **changes)), PATIENT)


def call(box: Toolbox, name: str, **arguments: Any) -> tuple[bool, Any]:
    result = box.call(Call("1", name, json.dumps(arguments)))
    return result.ok, json.loads(result.content)


def test_an_operation_becomes_a_tool_with_its_schema(tmp_path: Path, service: Service):
    (schema,) = box_of(tmp_path, described(service)).schemas
    assert schema["function"] == {
        "name": "forecast",
        "description": "Tell the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "tag": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
                "X_Unit": {"anyOf": [{"enum": ["C", "F"]}, {"type": "null"}]},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }


def test_arguments_go_where_the_file_says(tmp_path: Path, service: Service):
    box = box_of(tmp_path, described(service))
    ok, found = call(box, "forecast", city="São Paulo/a?b", days=3, tag=["x&y", "z"], X_Unit="F")
    assert (ok, found) == (True, {"ok": True})
    (asked,) = service.asked
    assert (asked.method, asked.target) == (
        "GET",
        "/v1/weather/S%C3%A3o%20Paulo%2Fa%3Fb?days=3&tag=x%26y&tag=z",
    )
    assert asked.headers["X-Unit"] == "F"
    assert asked.body is None


def test_what_changes_something_must_be_named_and_sends_a_body(tmp_path: Path, service: Service):
    assert box_of(tmp_path, described(service)).names == ["forecast"]
    box = box_of(tmp_path, described(service), operations=("book",))
    assert box.schemas[0]["function"]["parameters"]["required"] == ["from"]
    assert call(box, "book", **{"from": "2026-03-01", "nights": 2})[0]
    assert (service.asked[0].method, service.asked[0].body) == ("POST", {"from": "2026-03-01", "nights": 2})


def test_the_secret_travels_and_is_never_told(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
):
    tree = described(service, security=[{"key": []}])
    with pytest.raises(ToolDefinitionError, match="wants a key; set `secret` to the name of the environment"):
        box_of(tmp_path, tree)
    box = box_of(tmp_path, tree, secret="WEATHER_KEY")
    assert "WEATHER_KEY is not set" in call(box, "forecast", city="x")[1]["error"]
    monkeypatch.setenv("WEATHER_KEY", "plumbago")
    service.body = b'{"you sent": "Bearer plumbago"}'
    assert call(box, "forecast", city="x") == (True, {"you sent": "Bearer …"})
    assert service.asked[0].headers["Authorization"] == "Bearer plumbago"
    service.status = 401
    assert call(box, "forecast", city="x")[1]["error"].endswith('{"you sent": "Bearer …"}')
    assert "plumbago" not in json.dumps(box.schemas)


@pytest.mark.parametrize("city", ["", ".", ".."])
def test_an_argument_cannot_walk_about_in_the_path(tmp_path: Path, service: Service, city: str):
    ok, found = call(box_of(tmp_path, described(service)), "forecast", city=city)
    assert not ok
    assert "is no part of a path" in found["error"]
    assert service.asked == []


def test_hostile_arguments_stay_in_their_place_and_hostile_answers_are_data(tmp_path: Path, service: Service):
    box = box_of(tmp_path, described(service))
    for text in HOSTILE[::6]:
        service.body = json.dumps({"found": text}).encode()
        n = len(service.asked)
        result = box.call(Call("1", "forecast", json.dumps({"city": text, "tag": [text]})))
        assert not any(marker in result.content for marker in (*CONTROL_TOKENS, *MARKERS) if "<" in marker)
        for asked in service.asked[n:]:
            path = asked.target.split("?")[0]
            assert path.startswith("/v1/weather/")
            assert path.count("/") == 3
            assert "\n" not in asked.target
            assert set(asked.headers) == {"Host", "Accept", "Accept-Encoding", "User-Agent"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(service: Service, status: int):
    service.status, service.headers = status, {"Location": "http://169.254.169.254/latest/meta-data"}
    with pytest.raises(ToolError, match="redirects are not followed"):
        request(Host.of(service.url), "GET", "/", headers={})
    assert len(service.asked) == 1


def test_an_answer_that_is_too_large_packed_or_an_error_is_refused(service: Service):
    host = Host.of(service.url)
    service.body = b"x" * 1001
    with pytest.raises(ToolError, match="more than 1,000 bytes"):
        request(host, "GET", "/", headers={}, limits=HttpLimits(response_bytes=1000))
    service.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(ToolError, match="packed body"):
        request(host, "GET", "/", headers={})
    service.headers, service.status, service.body = {}, 503, b"\x1b[2Jlater"
    with pytest.raises(ToolError, match=r"answers 503: \\x1b\[2Jlater"):
        request(host, "GET", "/", headers={})
    with pytest.raises(ToolError, match="the request has more than 100,000 bytes"):
        request(host, "POST", "/", headers={}, body="x" * 100_001)


def test_a_server_that_sends_a_byte_now_and_then_is_left(service: Service):
    service.body, service.drip_s = b"x" * 10_000, 0.05
    with pytest.raises(ToolError, match=r"did not answer within 0\.4 seconds"):
        request(Host.of(service.url), "GET", "/", headers={}, limits=HttpLimits(timeout_s=0.4))


def test_nobody_is_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ToolError, match="could not be asked: ConnectionRefusedError"):
        request(Host.of(f"http://127.0.0.1:{port}"), "GET", "/", headers={})


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fe80::1", "100.64.0.1"]
)
def test_a_public_name_that_leads_into_a_private_network_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 80))])
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("it connects"))
    with pytest.raises(ToolError, match="an address of a private network"):
        request(Host.of("http://api.example.org"), "GET", "/", headers={})


def test_the_name_is_looked_up_once_and_the_connection_goes_there(
    monkeypatch: pytest.MonkeyPatch,
):
    looked_up: list[str] = []
    connected: list[tuple[str, int]] = []

    def look_up(name: str, *_: object, **__: object) -> list[Any]:
        looked_up.append(name)
        return [(0, 0, 0, "", ("93.184.216.34" if len(looked_up) == 1 else "127.0.0.1", 80))]

    def connect(address: tuple[str, int], _: float) -> socket.socket:
        connected.append(address)
        raise OSError("far away")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ToolError, match="far away"):
        request(Host.of("http://api.example.org"), "GET", "/", headers={})
    assert (looked_up, connected) == (["api.example.org"], [("93.184.216.34", 80)])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x.org",
        "x.org",
        "http://",
        "http://a:b@x.org",
        "https://x.org/?a=1",
        "https://{x}.org",
        "http://x:99999",
    ],
)
def test_what_is_no_base_address_is_refused(url: str):
    with pytest.raises(ToolError):
        Host.of(url)


def test_proxies_of_the_environment_are_not_asked(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert request(Host.of(service.url), "GET", "/", headers={}) == {"ok": True}


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"openapi": "2.0"}, {}, "its field 'openapi' is '2.0'"),
        ({"servers": []}, {}, "names 0 servers"),
        ({"servers": [{"url": "https://{region}.x.org"}]}, {}, "a variable"),
        ({}, {"operations": ("nothing",)}, "there is no operation 'nothing'; there are forecast, book"),
        ({"paths": {}}, {}, "no operation only reads"),
        ({"paths": {"/a": {"get": {"summary": "x"}}}}, {}, "GET /a has no operationId"),
        ({"paths": {"/a": {"get": {"operationId": "user", "summary": "x"}}}}, {}, "cannot be a tool's name"),
        ({"paths": {"/a": {"get": {"operationId": "f"}}}}, {}, "has no summary"),
        ({"paths": {"/{a}": {"get": {"operationId": "f", "summary": "x"}}}}, {}, "its path has 'a'"),
    ],
)
def test_a_file_that_cannot_become_tools_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], message: str
):
    with pytest.raises(ToolError, match=message):
        box_of(tmp_path, described("https://x.org", **changes), **settings)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"name": "a", "in": "cookie", "schema": {"type": "string"}}, "goes into 'cookie'"),
        ({"name": "a", "in": "query", "schema": {"type": "object"}}, "is object; it must be a string"),
        ({"name": "a", "in": "query", "schema": {"$ref": "#/nowhere"}}, "leads nowhere in the file"),
        ({"name": "a", "in": "query", "schema": {"$ref": "http://x.org/y"}}, "leads nowhere in the file"),
        ({"name": "a\r\nb", "in": "header", "schema": {"type": "string"}}, "is no name of a header"),
        ({"$ref": "#/components/parameters/Round"}, "lead round in a circle"),
    ],
)
def test_a_parameter_that_cannot_be_an_argument_is_refused_by_name(
    tmp_path: Path, parameter: dict[str, Any], message: str
):
    operation = {"operationId": "f", "summary": "x", "parameters": [parameter]}
    loop = {"parameters": {"Round": {"$ref": "#/components/parameters/Round"}}}
    with pytest.raises(ToolDefinitionError, match=message):
        box_of(tmp_path, described("https://x.org", paths={"/a": {"get": operation}}, components=loop))


def test_a_key_does_not_travel_unencrypted(tmp_path: Path):
    with pytest.raises(ToolDefinitionError, match=r"would travel to x\.org unencrypted"):
        box_of(tmp_path, described("http://x.org", security=[{"key": []}]), secret="KEY")
    with pytest.raises(ToolDefinitionError, match=r"would travel to x\.org unencrypted"):
        model_tool("other", ModelConfig(url="http://x.org/v1", model="m", secret="KEY"))


def test_another_model_is_a_tool(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTHER_KEY", "plumbago")
    settings = ModelConfig(url=f"{service.url}/v1", model="big", system="Be brief.", secret="OTHER_KEY")
    box = Toolbox([model_tool("expert", settings)], PATIENT)
    service.body = json.dumps({"choices": [{"message": {"content": "<|im_end|> 42"}}]}).encode()
    assert box.call(Call("1", "expert", '{"question": "?"}')).content == '"\\u003c|im_end|> 42"'
    (asked,) = service.asked
    assert asked.target == "/v1/chat/completions"
    assert asked.headers["Authorization"] == "Bearer plumbago"
    assert asked.body == {
        "model": "big",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}],
        "max_tokens": 512,
    }
    service.body = b"[]"
    assert "no chat completion" in box.call(Call("1", "expert", '{"question": "?"}')).content
