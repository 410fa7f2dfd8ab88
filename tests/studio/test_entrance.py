"""What comes over the network to the pages: who is let in, and what is sent along."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from small_studio import Running

from danlu.serve.studio.address import is_page
from danlu.serve.studio.entrance import FREE_TRIES, Tries
from danlu.serve.studio.visit import language_of


def ask(
    running: Running, path: str, method: str = "GET", body: str = "", **headers: str
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(running.address.removeprefix("http://"), timeout=20)
    connection.request(method, path, body or None, {name.replace("_", "-"): v for name, v in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"} | {
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="
}
SOCKET = "/studio/_nicegui_ws/socket.io/?EIO=4&transport="


def test_a_page_may_load_nothing_from_elsewhere(running: Running):
    status, headers, text = ask(running, "/studio/chat")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "connect-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "//cdn" not in text


def test_the_api_is_there_beside_the_pages(running: Running):
    status, _, text = ask(running, "/v1/models")
    assert (status, [each["id"] for each in json.loads(text)["data"]]) == (200, ["tiny"])
    assert ask(running, "/v1/nothing")[2].startswith('{"error"')
    assert ask(running, "/v1/chat/completions")[0] == 405
    assert ask(running, "/")[1]["location"] == "/studio/chat"


@pytest.mark.parametrize("path", ["/studio/chat", "/studio", f"{SOCKET}polling", "/studio/static/studio.js"])
def test_another_name_in_host_is_refused(running: Running, path: str):
    assert ask(running, path, Host="evil.example")[0] == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1"])
def test_another_sites_page_can_open_no_socket_and_send_no_form(running: Running, origin: str):
    assert ask(running, f"{SOCKET}websocket", Origin=origin, **UPGRADE)[0] == 403
    assert ask(running, f"{SOCKET}polling", Origin=origin)[0] == 403
    assert ask(running, "/studio/sign-out", "POST", Origin=origin)[0] == 403


def test_a_socket_needs_an_origin_which_is_this_server(running: Running):
    assert ask(running, f"{SOCKET}websocket", **UPGRADE)[0] == 403
    assert ask(running, "/v1/models", Origin=running.address, **UPGRADE)[0] == 403  # the API has no sockets


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("/studio", True),
        ("/studio/chat?c=1", True),
        *(
            (each, False)
            for each in ("", "/", "/v1/models", "//evil.example", "https://evil.example/studio/")
        ),
        *(
            (each, False)
            for each in ("/studio//evil.example", "/studio/\\evil", "/studio/a\r\nb", "/studios")
        ),
    ],
)
def test_after_signing_in_one_comes_back_to_our_own_pages_only(running: Running, address: str, ours: bool):
    assert is_page(address) == ours
    query = urlencode({"language": "zh", "back": address})
    _, headers, _ = ask(running, f"/studio/prefer?{query}")
    assert headers["location"] == (address if ours else "/studio")
    assert headers["set-cookie"].startswith("danlu_language=zh;")


@pytest.mark.parametrize("query", ["language=%22%3E%3Cscript%3E", "theme=x", "language=zh%0d%0aX-A:b"])
def test_no_other_language_or_theme_can_be_chosen(running: Running, query: str):
    assert "set-cookie" not in ask(running, f"/studio/prefer?{query}")[1]


def test_the_language_is_the_visitors_choice_or_the_browsers():
    assert language_of("", "fr-FR,zh-CN;q=0.8,en;q=0.7") == "zh"
    assert language_of("en", "zh-CN") == "en"
    assert language_of("", "") == "en"


def test_after_some_wrong_passwords_a_name_is_held_back(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr("danlu.serve.studio.entrance.monotonic", lambda: now[0])
    tries = Tries()
    for _ in range(FREE_TRIES):
        assert tries.wait_s("ann") == 0
        tries.count("ann", right=False)
    assert tries.wait_s("ann") == 2
    assert tries.wait_s("bob") == 0
    now[0] += 2
    assert tries.wait_s("ann") == 0
    tries.count("ann", right=False)
    assert tries.wait_s("ann") == 4
    now[0] += 4
    tries.count("ann", right=True)
    assert tries.wait_s("ann") == 0


def test_signing_in_and_out(running: Running):
    accounts: Any = running.studio.accounts
    accounts.add("eve", "guest", "password of eve")
    try:
        status, headers, _ = ask(running, "/studio/chat?c=1")
        assert (status, headers["location"]) == (303, "/studio/sign-in?back=%2Fstudio%2Fchat%3Fc%3D1")
        form = "/studio/sign-in"
        wrong = urlencode({"name": '"><script>', "password": "x" * 8, "back": '"><script>'})
        status, _, text = ask(running, form, "POST", wrong)
        assert status == 401
        assert "<script" not in text
        right = urlencode({"name": "eve", "password": "password of eve", "back": "/studio/chat"})
        status, headers, _ = ask(running, form, "POST", right)
        cookie, *about = headers["set-cookie"].split("; ")
        assert (status, headers["location"]) == (303, "/studio/chat")
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(about)
        assert ask(running, "/studio/chat", Cookie=cookie)[0] == 200
        assert ask(running, "/studio/rank", Cookie=cookie)[0] == 403
        assert ask(running, form, "POST", "a" * 5000)[0] == 413
        assert ask(running, "/studio/sign-out", "POST", Cookie=cookie)[0] == 303
        assert ask(running, "/studio/chat", Cookie=cookie)[0] == 303
    finally:
        accounts.change("eve", active=False)
