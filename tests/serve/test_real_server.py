"""A real server on a free port of this machine, and the official client, which nobody here wrote."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from small_server import Scripted, served

from danlu.cli import main
from danlu.generate.reference import ReferenceEngine
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.recipes.serving import embedder
from danlu.recipes.stage import publish
from danlu.serve.api.app import create_app
from danlu.serve.api.keys import load_keys, make_key
from danlu.serve.api.limits import Limits
from danlu.serve.api.server import Server, bind
from danlu.tokenizer.chat import ChatFormat

HELLO: Any = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@contextmanager
def running(app: Any) -> Iterator[tuple[str, Server]]:
    """The address of a server in a thread of its own."""
    listening = bind("127.0.0.1", 0)
    config = uvicorn.Config(app, lifespan="on", log_level="warning", access_log=False)
    server = Server(config)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listening]),))
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", server
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def until(condition: Any, patience_s: float = 60) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def calling(chat: ChatFormat) -> Scripted:
    encode = chat.tokenizer.encode
    return Scripted([chat.call_id, *encode('weather\n{"city": "北京"}'), chat.tokenizer.im_end_id])


@pytest.fixture(scope="module")
def address(chat: ChatFormat, model: LanguageModel) -> Iterator[str]:
    app = create_app(served(chat, ReferenceEngine(model), embed=embedder(model)))
    with running(app) as (address, _):
        yield address


def test_the_openai_client_completes_and_streams(address: str):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        assert [each.id for each in client.models.list()] == ["tiny"]
        assert client.models.retrieve("tiny").owned_by == "danlu"
        whole = client.chat.completions.create(
            model="tiny", messages=HELLO, temperature=0, max_tokens=6, logprobs=True, top_logprobs=1
        )
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 6
        assert whole.choices[0].logprobs is not None
        stream = client.chat.completions.create(
            model="tiny",
            messages=HELLO,
            temperature=0,
            max_tokens=6,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage
        again: Any = [*HELLO, whole.choices[0].message, *HELLO]  # its own record goes back in as it is
        assert client.chat.completions.create(model="tiny", messages=again, max_tokens=1).choices
        plain = client.completions.create(
            model="tiny", prompt="hello", temperature=0, max_tokens=6, logprobs=2
        )
        parts = client.completions.create(
            model="tiny", prompt="hello", temperature=0, max_tokens=6, stream=True
        )
        assert "".join(c.text for part in parts for c in part.choices) == plain.choices[0].text
        vectors = client.embeddings.create(model="tiny", input=["hello", "你好"])  # base64 on the wire
        exact = client.embeddings.create(model="tiny", input=["hello", "你好"], encoding_format="float")
        for one, two in zip(vectors.data, exact.data, strict=True):
            assert one.embedding == pytest.approx(two.embedding, abs=1e-7)
            assert sum(x * x for x in one.embedding) == pytest.approx(1, abs=1e-5)


def test_the_openai_client_names_every_error(address: str):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="models are: tiny"):
            client.chat.completions.create(model="gpt-4", messages=HELLO)
        with pytest.raises(openai.UnprocessableEntityError, match="temperature"):
            client.chat.completions.create(model="tiny", messages=HELLO, temperature=9)
        with pytest.raises(openai.BadRequestError, match="the prompt has"):
            client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "z" * 400}])


def test_a_plain_client_hears_that_its_ten_megabytes_are_too_many(address: str):
    """One that sends all before it listens, as most do."""

    def post(body: bytes) -> Any:
        asked = urllib.request.Request(
            f"{address}/v1/completions", body, {"Content-Type": "application/json"}
        )
        return urllib.request.urlopen(asked, timeout=60)

    with pytest.raises(urllib.error.HTTPError, match="413") as refused:
        post(b'"' + b"z" * 10**7 + b'"')
    with refused.value as answer:
        assert "more than 1,048,576 bytes" in json.load(answer)["error"]["message"]
    with post(b'{"model": "tiny", "prompt": "hello", "max_tokens": 1}') as answer:
        assert answer.status == 200


@pytest.mark.anyio
async def test_the_asynchronous_client_has_many_streams_at_a_time(address: str):
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:

        async def ask(seed: int) -> str:
            stream = await client.chat.completions.create(
                model="tiny", messages=HELLO, seed=seed, temperature=2, max_tokens=5, stream=True
            )
            return "".join([c.delta.content or "" async for chunk in stream for c in chunk.choices])

        together = await asyncio.gather(*(ask(seed) for seed in range(12)))
        assert list(together) == [await ask(seed) for seed in range(12)]  # none is mixed up with another


def test_the_openai_client_gets_tool_calls(chat: ChatFormat):
    with (
        running(create_app(served(chat, calling(chat)))) as (address, _),
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        whole = client.chat.completions.create(model="tiny", messages=HELLO, tools=[WEATHER])
        (call,) = whole.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "北京"})
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        history: Any = [*HELLO, whole.choices[0].message, result]
        assert client.chat.completions.create(model="tiny", messages=history, tools=[WEATHER]).choices
        chunks = list(
            client.chat.completions.create(model="tiny", messages=HELLO, tools=[WEATHER], stream=True)
        )
        parts = [part for chunk in chunks for c in chunk.choices for part in c.delta.tool_calls or []]
        streamed = "".join(part.function.arguments or "" for part in parts if part.function is not None)
        assert streamed == call.function.arguments
        assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_client_that_leaves_frees_its_place_within_a_token(chat: ChatFormat):
    engine = Scripted([70], endless=True, step_s=0.02)
    with running(create_app(served(chat, engine))) as (address, _):
        host, port = address.removeprefix("http://").split(":")
        for stream in (True, False):
            body = json.dumps({"model": "tiny", "messages": HELLO, "stream": stream})
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
                until(lambda: engine.said)
            until(lambda: not engine.said)
            steps = engine.n_steps
            time.sleep(0.1)
            assert engine.n_steps == steps  # nobody is left to make tokens for


def test_what_runs_is_finished_when_the_server_ends(chat: ChatFormat):
    engine = Scripted([70] * 40, step_s=0.01)
    with running(create_app(served(chat, engine))) as (address, server):
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        stream = client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
        chunks = [next(stream)]
        server.should_exit = True
        chunks += stream
        assert sum(bool(c.delta.content) for chunk in chunks for c in chunk.choices) == 40
        assert chunks[-1].choices[0].finish_reason == "length"
        client.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(
            (address.removeprefix("http://").split(":")[0], int(address.rpartition(":")[2]))
        )


def test_a_key_is_given_as_the_openai_client_gives_it(chat: ChatFormat, tmp_path: Path):
    path = tmp_path / "keys.toml"
    key = make_key(path, "ann", ["chat"])
    with running(create_app(served(chat, Scripted([70])), keys=load_keys(path))) as (address, _):
        with openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as client:
            assert client.models.list().data
        with (
            openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.models.list()


@pytest.fixture(scope="module")
def model_dir(chat: ChatFormat, model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    publish(model, chat.tokenizer, run / "model")
    publish(ScoreModel.from_language_model(model, seed=2), chat.tokenizer, run / "reward" / "model")
    return run


def test_another_address_takes_a_key(model_dir: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", str(model_dir), "host=0.0.0.0", "port=0"]) == 2
    assert "there are no keys; make one with `danlu key NAME`" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_clear_line(model_dir: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", str(model_dir), f"port={taken.getsockname()[1]}"]) == 2
    assert "cannot be listened at" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_cure(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", str(model_dir)]) == 2
    assert "pip install 'danlu[serve]'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_serves_and_ends_in_order(model_dir: Path):
    """As a service manager does it: start, wait for the line, ask, SIGTERM while a stream runs."""
    words = [str(model_dir), "port=0", f"reward_model={model_dir / 'reward'}", "name=tiny"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "danlu", "serve", *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "no key is asked for" in line
        with openai.OpenAI(base_url=line.split()[3], api_key="none", max_retries=0) as client:
            scores: Any = client.post(
                "/score",
                body={"model": "tiny", "prompt": HELLO, "completions": ["hi", "你好"]},
                cast_to=object,
            )
            assert len({each["score"] for each in scores["data"]}) == 2
            stream = client.chat.completions.create(
                model="tiny", messages=HELLO, stream=True, max_tokens=200, logit_bias={"70": 100}
            )
            next(stream)
            process.send_signal(signal.SIGTERM)
            chunks = list(stream)
        assert chunks[-1].choices[0].finish_reason == "length"
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_limits_are_checked():
    with pytest.raises(ValueError, match="wall_s is 0; it must be above 0"):
        Limits(wall_s=0)
