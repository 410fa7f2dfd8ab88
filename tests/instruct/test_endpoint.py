"""Endpoints that answer well, badly, late, or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from fake_endpoint import Answer, Asked, running, said

from danlu.config import ConfigError
from danlu.instruct import endpoint as module
from danlu.instruct.asking import Question, Reply
from danlu.instruct.endpoint import Client, Endpoint, asked_to_wait, read_reply
from danlu.instruct.records import InstructError

SAMPLING = {"max_tokens": 9, "temperature": 0.5, "top_p": 1.0}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.2)


def ask(url: str, n: int = 1, *, plain: bool = False, **changed: Any) -> list[Reply]:
    endpoint = Endpoint(url=url, model="big", **{"attempts": 3, "timeout_s": 5.0, **changed})
    questions = [Question(key=f"1/tasks/{i}", text=f"question {i}", plain=plain) for i in range(n)]
    found = dict(Client(endpoint, SAMPLING, 7)(questions))
    return [found[i] for i in range(n)]


def in_turn(*answers: Answer) -> Iterator[Answer]:
    yield from answers


def test_a_question_is_sent_as_the_api_wants_it():
    with running(lambda asked: said("fine")) as endpoint:
        assert ask(endpoint.url) == [Reply(text="fine")]
        assert ask(f"{endpoint.url}/", plain=True) == [Reply(text="fine")]
    chat, plain = endpoint.asked
    assert chat.path == "/v1/chat/completions"
    assert chat.body["messages"] == [{"role": "user", "content": "question 0"}]
    assert chat.body.items() >= {"model": "big", **SAMPLING}.items()
    assert plain.path == "/v1/completions"
    assert plain.body["prompt"] == "question 0"
    assert chat.body["seed"] == plain.body["seed"]
    assert "Authorization" not in chat.headers


def test_every_question_gets_its_own_reply_however_many_are_on_their_way():
    def late(asked: Asked) -> Answer:
        time.sleep(0.02 * (int(asked.text[-1]) % 3))
        return said(asked.text)

    with running(late) as endpoint:
        assert [each.text for each in ask(endpoint.url, 9, at_once=4)] == [f"question {i}" for i in range(9)]
    assert len({each.body["seed"] for each in endpoint.asked}) == 9


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(b"<html>proxy error</html>"), "answer of the endpoint broken"),
        (Answer(b""), "answer of the endpoint broken"),
        (Answer(b"\xff\xfe"), "answer of the endpoint broken"),
        (Answer(b"[" * 100_000), "answer of the endpoint broken"),
        (Answer(b'{"choices": []}'), "answer of the endpoint broken"),
        (Answer(b'{"choices": [null]}'), "answer of the endpoint broken"),
        (Answer(b'{"choices": {"0": 1}}'), "answer of the endpoint broken"),
        (Answer(b"null"), "answer of the endpoint broken"),
        (said(None), "no text in the endpoint's answer"),
        (said(["a"]), "no text in the endpoint's answer"),
        (said("", "content_filter"), "no text in the endpoint's answer"),
        (said("x", {"a": 1}), "no text in the endpoint's answer"),
    ],
)
def test_an_answer_that_cannot_be_used_is_a_fault_and_not_the_end(answer: Answer, fault: str):
    with running(lambda asked: answer) as endpoint:
        assert ask(endpoint.url) == [Reply(fault=fault)]


def test_an_answer_that_was_cut_is_not_finished():
    assert read_reply(said("half of", "length").body, plain=False) == Reply(text="half of", finished=False)


def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 17)

    def flood(wfile: Any) -> None:
        for _ in range(64):
            try:
                wfile.write(b" " * (1 << 16))
            except OSError:  # the client has gone, as it should
                return

    with running(lambda asked: Answer(b"", send=flood)) as endpoint:
        assert ask(endpoint.url)[0].fault == "answer of the endpoint too large"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_waited_out(status: int):
    answers = in_turn(Answer(b"busy", status), Answer(b"busy", status), said("at last"))
    with running(lambda asked: next(answers)) as endpoint:
        assert ask(endpoint.url) == [Reply(text="at last")]
    assert len(endpoint.asked) == 3
    assert endpoint.asked[0].body == endpoint.asked[2].body


def test_a_rate_limit_holds_for_every_question():
    times: list[float] = []

    def limited(asked: Asked) -> Answer:
        times.append(time.monotonic())
        return Answer(b"", 429, {"Retry-After": "9"}) if len(times) == 1 else said("ok")

    with running(limited) as endpoint:
        ask(endpoint.url, 3, at_once=1)
    assert times[1] - times[0] >= 0.2  # 9 s asked for, and LONGEST_PAUSE_S is 0.2 here


def test_patience_ends_and_says_what_came_last():
    with (
        running(lambda asked: Answer(b"over\nloaded \x1b[31m", 503)) as endpoint,
        pytest.raises(InstructError, match=r"no answer in 3 attempts; at last 503 over loaded \[31m\. What"),
    ):
        ask(endpoint.url)
    assert len(endpoint.asked) == 3


def test_a_connection_that_breaks_is_tried_again():
    def cut(wfile: Any) -> None:
        wfile.write(b'{"choi')
        wfile.close()

    answers = in_turn(Answer(b"", headers={"Content-Length": "500"}, send=cut), said("whole"))
    with running(lambda asked: next(answers)) as endpoint:
        assert ask(endpoint.url) == [Reply(text="whole")]


def test_nobody_there_is_an_error_that_says_so():
    with running(lambda asked: said("")) as endpoint:
        gone = endpoint.url
    with pytest.raises(InstructError, match="Connection refused"):
        ask(gone)


def test_an_answer_that_drips_is_given_up():
    def drip(wfile: Any) -> None:
        for _ in range(100):
            try:
                wfile.write(b" ")
                wfile.flush()
            except OSError:
                return
            time.sleep(0.02)

    with (
        running(lambda asked: Answer(b"", send=drip)) as endpoint,
        pytest.raises(InstructError, match=r"not whole after 0\.1 s"),
    ):
        ask(endpoint.url, timeout_s=0.1, attempts=1)


def test_silence_is_given_up():
    with (
        running(lambda asked: Answer(b"", send=lambda wfile: time.sleep(0.4))) as endpoint,
        pytest.raises(InstructError, match=r"[Tt]ime"),
    ):
        ask(endpoint.url, timeout_s=0.1, attempts=1)


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("THE_KEY", "sk-very-secret")
    with (
        running(lambda asked: Answer(b"wrong key sk-very-secret", 401)) as endpoint,
        pytest.raises(InstructError, match=r"refuses: 401 wrong key \[key\]") as error,
    ):
        ask(endpoint.url, key_from="THE_KEY")
    assert endpoint.asked[0].headers["Authorization"] == "Bearer sk-very-secret"
    assert len(endpoint.asked) == 1
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_redirection_is_not_followed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("THE_KEY", "sk-very-secret")
    with running(lambda asked: said("got you")) as other:
        to_other = Answer(b"", 307, {"Location": f"{other.url}/chat/completions"})
        with running(lambda asked: to_other) as endpoint, pytest.raises(InstructError, match="307"):
            ask(endpoint.url, key_from="THE_KEY")
        assert other.asked == []


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(monkeypatch: pytest.MonkeyPatch):
    with running(lambda asked: said("proxy")) as proxy, running(lambda asked: said("direct")) as endpoint:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert ask(endpoint.url) == [Reply(text="direct")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "ftp://localhost/v1"}, "must begin with http"),
        ({"url": "http:///v1"}, "name a machine"),
        ({"url": "http://127.0.0.1/v1", "model": ""}, "model is empty"),
        ({"url": "https://example.org/v1"}, "endpoint.remote=true"),
        ({"url": "http://127.0.0.1.example.org/v1"}, "another machine"),
        ({"url": "http://localhost@example.org/v1"}, "holds a name"),
        ({"url": "http://example.org/v1", "remote": True, "key_from": "K"}, "in the clear"),
        ({"timeout_s": 0.0}, "timeout_s"),
    ],
)
def test_endpoints_that_must_not_be_asked_are_refused(given: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Endpoint(**{"model": "big", **given})


def test_a_key_that_is_not_there_is_an_error_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_KEY, but that variable is not set"):
        Client(Endpoint(url="http://localhost:1/v1", model="m", key_from="NO_KEY"), SAMPLING, 0)


def test_retry_after_is_a_number_or_a_date():
    def header(value: str) -> Any:
        return json.loads(json.dumps({"Retry-After": value}))

    assert asked_to_wait(header("12")) == 12
    assert asked_to_wait(header(formatdate(time.time() + 30, usegmt=True))) == pytest.approx(30, abs=2)
    assert asked_to_wait(header("-5")) is None
    assert asked_to_wait(header("soon")) is None
    assert asked_to_wait(None) is None
