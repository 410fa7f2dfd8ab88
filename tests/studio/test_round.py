"""A round by the real command from the page's button, though the server is killed meanwhile."""

from __future__ import annotations

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
from test_pages import button

from danlu.feedback.exchange import Reader
from danlu.feedback.records import Message
from danlu.feedback.store import Store
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.stage import publish
from danlu.serve.studio.run_records import read_tree
from danlu.tokenizer.bpe import Tokenizer

SIZES = {
    "d_model": 16,
    "n_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 8,
    "d_ff": 16,
    "max_seq_len": 256,
}
THINGS = ["sky", "grass", "snow", "coal", "sea", "sun", "milk", "ink", "leaf", "rose", "sand", "fire"]


@contextmanager
def server(model: Path, folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    words = [str(model), f"db={folder / 'feedback.db'}", f"runs={folder / 'runs'}", f"port={port}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "danlu", "studio", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        assert "the studio is at http://" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def collected(path: Path) -> None:
    """A ranking and a demonstration for each thing."""
    reader = Reader("2026-05-04T09:00:00+00:00")
    for thing in THINGS:
        prompt = [{"role": "user", "content": f"What colour is {thing}?"}]
        reader.comparison({"prompt": prompt, "completions": ["It is blue.", "No."], "ranks": [1, 2]})
        reader.chat({"messages": [*prompt, {"role": "assistant", "content": f"It is {thing}."}]})
    with Store.open(path) as store:
        store.take_in(list(reader.events.values()))


@pytest.fixture
def begun(tmp_path: Path, chromium: Any) -> Iterator[tuple[Visitor, int]]:
    """A round begun on the page of a server that was killed at once."""
    tokenizer = Tokenizer.train(["What colour is the sky? It is blue. I will not say."] * 3, 300)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, **SIZES)
    publish(LanguageModel(config, seed=1).eval(), tokenizer, tmp_path / "tiny" / "model")
    collected(tmp_path / "feedback.db")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    visitor = Visitor(page.context, page, f"http://127.0.0.1:{port}", [], [])
    with server(tmp_path / "tiny", tmp_path, port) as process:
        visitor.go("teach")
        page.get_by_label("Minutes for each stage").fill("0.1")
        button(page, "A whole round").click()
        page.wait_for_selector(".dl-state-running")
        process.send_signal(signal.SIGKILL)
        process.wait()
    yield visitor, port
    page.close()
    lesson = tmp_path / "runs" / "lessons" / "0001-round"
    if not (lesson / "run" / "result.json").exists():
        os.killpg(read_tree(lesson / "pid.json")["pid"], signal.SIGKILL)


@pytest.mark.slow
def test_a_round_ends_in_a_model_that_is_used_though_the_server_was_killed(
    tmp_path: Path, begun: tuple[Visitor, int]
):
    visitor, port = begun
    page = visitor.page
    with server(tmp_path / "tiny", tmp_path, port):
        visitor.go("teach?lesson=0001-round")
        page.wait_for_selector(".dl-state-done", timeout=300_000)
        assert page.locator(".dl-table tbody tr").count() == 3  # loss, accuracy, score
        button(page, "Use this model").click()
        page.wait_for_selector(".q-notification >> text=is loaded")
        said_by(page, visitor, tmp_path / "feedback.db")
    with server(tmp_path / "tiny", tmp_path, port):  # the choice outlives the server
        said_by(page, visitor, tmp_path / "feedback.db")
        visitor.go("runs?run=lessons/0001-round/run/ppo")
        page.wait_for_selector(".dl-lineage >> text=lessons/0001-round/run/reward")
        page.wait_for_selector(".dl-curves canvas")


def said_by(page: Any, visitor: Visitor, db: Path) -> None:
    """Chat answers by the new model."""
    visitor.go("chat")
    with Store.open(db) as store:
        before = sum(1 for _ in store.events(Message.kind))
        page.fill(".dl-composer textarea", "What colour is the sky?")
        page.press(".dl-composer textarea", "Enter")
        until(lambda: sum(1 for _ in store.events(Message.kind)) >= before + 2, 60)
        last = [each.body for each in store.events(Message.kind) if isinstance(each.body, Message)][-1]
        assert last.origin.name == "0001-round"
