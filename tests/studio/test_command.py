"""`danlu studio` and `danlu account` as a user types them; a server that is killed loses nothing accepted."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_studio import Visitor, until

from danlu.cli import main, read_words
from danlu.config import ConfigError
from danlu.feedback.accounts import Accounts
from danlu.feedback.records import Conversation, Message, Ranking, Task
from danlu.feedback.store import Store
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.stage import publish
from danlu.recipes.studio import StudioConfig
from danlu.tokenizer.chat import ChatFormat


def test_several_models_stand_without_their_key():
    words = ["runs/sft", "runs/ppo", "port=0"]
    assert read_words(words, StudioConfig, ["model"]) == (None, ["port=0", 'model=["runs/sft", "runs/ppo"]'])


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"model": ()}, "model is empty"),
        ({"model": (Path("a/x"), Path("b/x"))}, "two models are called 'x'"),
        ({"model": (Path("a"),), "port": 70_000}, "port is 70000"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], fault: str):
    with pytest.raises(ConfigError, match=fault):
        StudioConfig(**given)


def test_accounts_are_made_changed_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    db = f"db={tmp_path / 'feedback.db'}"

    def account(*words: str, password: str = "") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        return main(["account", *words, db])

    assert account("ann", "role=admin", password="correct horse") == 0
    assert account("bob", password="short") == 2
    assert "at least 8" in capsys.readouterr().err
    assert account("bob", password="battery staple") == 0
    assert account("bob", "quota=20") == 0
    assert account("ann", "active=false") == 2
    assert "last active admin" in capsys.readouterr().err
    with Store.open(tmp_path / "feedback.db") as store:
        ann, bob = Accounts(store).people()
        assert (ann.role, bob.role, bob.quota) == ("admin", "annotator", 20)
        assert Accounts(store).sign_in("bob", "battery staple") == bob  # as it was


@pytest.fixture(scope="module")
def model_dir(chat: ChatFormat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8, "d_ff": 16}
    config = ModelConfig(vocab_size=chat.tokenizer.vocab_size, max_seq_len=256, **sizes)
    path = tmp_path_factory.mktemp("tiny")
    publish(LanguageModel(config, seed=1), chat.tokenizer, path / "model")
    return path


@pytest.mark.parametrize("how", ["host=0.0.0.0", 'hosts=["studio.lan"]'])  # the second: behind a proxy
def test_others_can_reach_it_only_where_somebody_has_an_account(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
):
    words = ["studio", str(model_dir), how, "port=0", f"db={tmp_path / 'feedback.db'}"]
    assert main(words) == 2
    assert "make the first with `danlu account NAME role=admin" in capsys.readouterr().err


@contextmanager
def server(model_dir: Path, db: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "danlu", "studio", str(model_dir), f"db={db}", f"port={port}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert "the studio is at http://" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def three_tasks(store: Store) -> None:
    for number in range(3):
        root = store.add("", Conversation())
        asked = store.add("x", Message(conversation=root.id, role="user", content=f"Question {number}?"))
        place = {"conversation": root.id, "parent": asked.id, "role": "assistant"}
        answers = [store.add("", Message(**place, content=text)).id for text in ("One.", "Two.")]
        store.add("x", Task(prompt=asked.id, completions=tuple(answers)))


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.slow
def test_a_server_that_is_killed_loses_nothing_accepted_and_the_page_goes_on(
    model_dir: Path, tmp_path: Path, chromium: Any
):
    db = tmp_path / "feedback.db"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Store.open(db) as store:
        three_tasks(store)
        page = chromium.new_page()
        visitor = Visitor(page.context, page, f"http://127.0.0.1:{port}", [], [])
        with server(model_dir, db, port) as process:
            visitor.go("rank", ".dl-answer")
            press(page, "1", "2", "Enter")
            page.wait_for_selector(".dl-prompt >> text=Question 1?")
            press(page, "1")
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(list(store.events(Ranking.kind))) == 1
        with server(model_dir, db, port) as process:
            # The open page finds the new server by itself, with the task that was in hand.
            page.wait_for_function("document.querySelectorAll('.dl-placed').length === 0", timeout=60_000)
            page.wait_for_selector(".dl-prompt >> text=Question 1?")
            page.wait_for_function("window.socket && window.socket.connected")
            press(page, "2", "1", "Enter")
            page.wait_for_selector(".dl-prompt >> text=Question 2?")
            visitor.go("chat")
            page.fill(".dl-composer textarea", "hello")
            page.press(".dl-composer textarea", "Enter")
            until(lambda: any(each.body.origin.name for each in store.events(Message.kind)), 60)
            process.send_signal(signal.SIGTERM)  # an orderly end, while a page is open
            assert process.wait(60) == 0
        assert len(list(store.events(Ranking.kind))) == 2
        page.close()
