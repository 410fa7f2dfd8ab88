"""The whole story in a browser, over the real server and a model that was trained for it.

Ann signs in, talks, ranks ten prompts while Bob works on the same queue, writes five answers, begins a round,
watches its end, and talks with the model that came of it. In the middle of every step the page is reloaded,
the network is lost, and the server is killed.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from small_studio import Visitor, until
from test_pages import PICTURES, button
from test_round import SIZES, THINGS

from danlu.cli import main
from danlu.feedback.event import Event
from danlu.feedback.queue import QueueConfig
from danlu.feedback.records import Demonstration, Message, Ranking, Task
from danlu.feedback.store import Store
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes import sft
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.sft import SftConfig
from danlu.recipes.stage import publish
from danlu.serve.studio.run_records import read_tree
from danlu.tokenizer.bpe import Tokenizer

PASSWORD = "password of {}"
WITHOUT_GOLD = QueueConfig(gold_share=0.0)
# Chromium cuts no socket that is open when the network goes.
LOSE_SOCKET = "window.socket.io.engine.close()"
CONNECTED = "window.socket && window.socket.connected"


@dataclass
class House:
    """A folder with a model and a store, and the server over them, which can be killed and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[str] | None = None
    visitors: list[Visitor] = field(default_factory=list[Visitor])

    @property
    def db(self) -> Path:
        return self.folder / "feedback.db"

    def start(self) -> None:
        words = [str(self.folder / "tiny"), f"db={self.db}", f"runs={self.folder / 'runs'}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "danlu", "studio", *words, f"port={self.port}"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        assert "the studio is at http://" in self.process.stdout.readline()

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def kill_and_start(self) -> None:
        """Every open page finds the new server by itself."""
        for visitor in self.visitors:
            visitor.page.evaluate("window.before = true")
        self.kill()
        self.start()
        for visitor in self.visitors:
            visitor.page.wait_for_function(f"!window.before && {CONNECTED}", timeout=120_000)

    def events(self, kind: type, person: str | None = None) -> list[Event]:
        with Store.open(self.db, WITHOUT_GOLD) as store:
            return [each for each in store.events(kind.kind) if person in (None, each.person)]

    def command(self, *words: str) -> None:
        assert main([*words, f"db={self.db}"]) == 0


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        house = House(tmp_path, free.getsockname()[1])
    train(tmp_path)
    for name, role in (("ann", "admin"), ("bob", "annotator")):
        monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD.format(name) + "\n"))
        house.command("account", name, f"role={role}")
    ask_for(house, "rank", [f"What colour is {each}?" for each in (*THINGS, *map(str.upper, THINGS[:8]))])
    ask_for(house, "demonstrate", [f"Tell me of {each}." for each in THINGS[:5]])
    house.start()
    yield house
    house.kill()
    for path in (tmp_path / "runs").glob("lessons/*/pid.json"):
        if not (path.parent / "run" / "result.json").exists():
            os.killpg(read_tree(path)["pid"], signal.SIGKILL)


def train(folder: Path) -> None:
    """A model that has learnt a little, in seconds."""
    tokenizer = Tokenizer.train(["What colour is the sky? It is blue. Tell me of snow and sand."] * 3, 300)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, **SIZES)
    publish(LanguageModel(config, seed=1), tokenizer, folder / "base")
    chats = [("What colour is {}?", "It is blue."), ("Tell me of {}.", "I like {}.")]
    write_jsonl(
        folder / "chats.jsonl",
        (
            {
                "messages": [
                    {"role": "user", "content": asked.format(thing)},
                    {"role": "assistant", "content": said.format(thing)},
                ]
            }
            for thing in THINGS
            for asked, said in chats
        ),
    )
    given = SftConfig(
        base=folder / "base", data=folder / "chats.jsonl", out=folder / "tiny", batch_size=2, seq_len=64
    )
    sft.run(replace(given, n_epochs=8.0))


def ask_for(house: House, do: str, prompts: Sequence[str]) -> None:
    """Tasks for people, by the command."""
    path = house.folder / f"{do}.jsonl"
    write_jsonl(path, ({"prompt": each} for each in prompts))
    words = (f"prompts={path}", f"do={do}", "doubled=0.2" if do == "rank" else "doubled=0")
    model = (f"model={house.folder / 'tiny'}", "n_completions=3", "sampling.max_new_tokens=24")
    house.command("feedback", "tasks", *words, *(model if do == "rank" else ()))


@pytest.fixture
def come(house: House, chromium: Any) -> Iterator[Callable[[str], Visitor]]:
    """People sign in, each in a browser of their own; at the end nothing was asked for elsewhere."""

    def come(name: str) -> Visitor:
        context = chromium.new_context(
            locale="en-US", reduced_motion="reduce", viewport={"width": 1280, "height": 900}
        )
        context.set_default_timeout(60_000)
        visitor = Visitor(context, context.new_page(), f"http://127.0.0.1:{house.port}", [], [])
        page = visitor.page
        page.on("request", lambda request: visitor.requests.append(request.url))
        page.on("pageerror", lambda error: visitor.faults.append(str(error)))
        page.on("dialog", lambda dialog: visitor.faults.append(dialog.message))
        page.goto(f"{visitor.address}/studio/chat")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD.format(name))
        button(page, "Sign in").click()
        page.wait_for_selector(".dl-composer")
        page.wait_for_function(CONNECTED)
        house.visitors.append(visitor)
        return visitor

    yield come
    for visitor in house.visitors:
        visitor.context.close()
        own = (visitor.address, "data:", "blob:")
        assert [each for each in visitor.requests if not each.startswith(own)] == []
        assert visitor.faults == []


def lose_network(visitor: Visitor, meanwhile: Callable[[], None] = lambda: None) -> None:
    """The page says that it is cut off, and goes on when it is not any more."""
    visitor.context.set_offline(True)
    visitor.page.evaluate(LOSE_SOCKET)
    visitor.page.wait_for_selector("text=Connection lost")
    meanwhile()
    visitor.context.set_offline(False)
    visitor.page.wait_for_function(CONNECTED)
    visitor.page.wait_for_selector("text=Connection lost", state="hidden")


def picture(visitor: Visitor, name: str) -> None:
    """Keep what the page looks like, where that is wanted."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        visitor.page.screenshot(path=str(Path(PICTURES) / f"story-{name}.png"))


@pytest.mark.slow
def test_the_whole_story(house: House, come: Callable[[str], Visitor]):
    ann, bob = come("ann"), come("bob")
    talk(house, ann)
    rank(house, ann, bob)
    write(house, ann)
    teach(house, ann)
    ann.go("chat")
    assert said(house, ann, "What colour is the sky?").origin.name == "0001-round"
    picture(ann, "taught")


def ask(house: House, visitor: Visitor, text: str) -> Message:
    """Send a question; it is in the store."""
    n = len(house.events(Message, "ann"))
    visitor.page.fill(".dl-composer textarea", text)
    visitor.page.press(".dl-composer textarea", "Enter")
    until(lambda: len(house.events(Message, "ann")) > n, 60)
    body = house.events(Message, "ann")[-1].body
    assert isinstance(body, Message)
    assert body.content == text
    return body


def said(house: House, visitor: Visitor, text: str) -> Message:
    """Send a question, and the model's answer to it."""
    n = len(house.events(Message, ""))
    ask(house, visitor, text)
    until(lambda: len(house.events(Message, "")) > n, 60)
    button(visitor.page, "Another answer").last.wait_for()
    body = house.events(Message, "")[-1].body
    assert isinstance(body, Message)
    return body


def talk(house: House, ann: Visitor) -> None:
    """A conversation of four questions, each of them answered once, whatever happens."""
    page = ann.page
    before = len(house.events(Message, ""))
    assert said(house, ann, "What colour is the sky?").origin.name == "tiny"
    ask(house, ann, "Reload.")
    page.reload()
    until(lambda: len(house.events(Message, "")) == before + 2, 60)
    page.wait_for_function("document.querySelectorAll('.dl-assistant').length === 2")
    page.wait_for_function(CONNECTED)
    lose_network(ann)
    said(house, ann, "Network.")
    ask(house, ann, "Kill.")
    house.kill_and_start()
    page.wait_for_selector(".dl-user >> text=Kill.")
    if len(house.events(Message, "")) == before + 3:  # it was killed before the answer was
        button(page, "Answer this").click()
    until(lambda: len(house.events(Message, "")) == before + 4, 60)
    page.wait_for_function("document.querySelectorAll('.dl-assistant').length === 4")
    picture(ann, "chat")


def hand_in(house: House, visitor: Visitor, person: str) -> None:
    """Rank the task that is shown, by keys, and see the next."""
    page, n = visitor.page, len(house.events(Ranking, person))
    for key in ("2", "=", "3", "1", "Enter"):
        page.keyboard.press(key)
    until(lambda: len(house.events(Ranking, person)) == n + 1, 60)
    page.wait_for_function(
        "!document.querySelector('.dl-placed') && document.querySelector('.dl-answer, .dl-welcome')"
    )


def rank(house: House, ann: Visitor, bob: Visitor) -> None:
    """Ann ranks ten prompts while Bob ranks others of the same queue, to its end."""
    for visitor in (ann, bob):
        visitor.go("rank", ".dl-answer")
    for turn in range(10):
        ann.page.keyboard.press("1")
        ann.page.wait_for_selector(".dl-placed")
        disturb(house, ann, bob, turn)
        ann.page.wait_for_selector(".dl-placed", state="detached")
        if turn == 3:
            picture(ann, "rank")
        hand_in(house, ann, "ann")
        if bob.page.locator(".dl-answer").count():
            hand_in(house, bob, "bob")
    bob.go("rank")
    while bob.page.locator(".dl-answer").count():
        hand_in(house, bob, "bob")
    assert len(house.events(Ranking, "ann")) == 10
    check_shares(house)


def disturb(house: House, ann: Visitor, bob: Visitor, turn: int) -> None:
    """What comes in between while Ann has begun: a reload, no network, a dead server, or a change of mind."""
    if turn == 2:
        ann.page.reload()
        ann.page.wait_for_selector(".dl-answer")
        ann.page.wait_for_function(CONNECTED)
    elif turn == 4:
        lose_network(ann, lambda: hand_in(house, bob, "bob"))
        ann.page.keyboard.press("u")
    elif turn == 6:
        house.kill_and_start()
        for visitor in (ann, bob):
            visitor.page.wait_for_selector(".dl-answer")
    else:
        ann.page.keyboard.press("u")


def check_shares(house: House) -> None:
    """No task was judged more often than it was to be, and those judged twice by both."""
    tasks = {each.id: each.body for each in house.events(Task) if getattr(each.body, "do", "") == "rank"}
    done = Counter(each.task for each in house.events(Ranking))
    wanted = {name: body.overlap for name, body in tasks.items() if isinstance(body, Task)}
    assert len(wanted) == 20
    assert max(wanted.values()) == 2
    bobs = {each.task for each in house.events(Ranking, "bob")}
    by_both = {each.task for each in house.events(Ranking, "ann")} & bobs
    assert all(done[name] <= n for name, n in wanted.items())
    assert {name for name, n in done.items() if n == 2} == by_both
    assert sum(done.values()) == 10 + len(bobs)


def write(house: House, ann: Visitor) -> None:
    """Ann writes five answers."""
    page = ann.go("demonstrate", ".dl-work textarea")
    for turn, thing in enumerate(THINGS[:5]):
        page.wait_for_selector(f".dl-prompt >> text=Tell me of {thing}.")
        answer = f"I know that {thing} is fine."
        page.fill(".dl-work textarea", answer)
        if turn == 1:
            page.reload()
        elif turn == 2:
            lose_network(ann)
        elif turn == 3:
            house.kill_and_start()
        page.wait_for_selector(".dl-work textarea")
        page.wait_for_function(CONNECTED)
        page.fill(".dl-work textarea", answer)
        if turn == 4:
            picture(ann, "demonstrate")
        page.press(".dl-work textarea", "Control+Enter")
        until(lambda n=turn + 1: len(house.events(Demonstration)) == n, 60)
    page.wait_for_selector("text=write a question of your own")
    written = [each.body for each in house.events(Demonstration, "ann")]
    assert [getattr(each, "content", "") for each in written] == [
        f"I know that {thing} is fine." for thing in THINGS[:5]
    ]


def teach(house: House, ann: Visitor) -> None:
    """A round is begun, outlives all that happens to the page and the server, and its model is used."""
    page = ann.go("teach")
    page.get_by_label("Minutes for each stage").fill("0.1")
    button(page, "A whole round").click()
    page.wait_for_selector(".dl-state-running")
    page.reload()
    page.wait_for_selector(".dl-lesson-head")
    page.wait_for_function(CONNECTED)
    lose_network(ann)
    house.kill_and_start()
    page.wait_for_selector(".dl-state-done, .dl-state-died", timeout=600_000)
    assert page.locator(".dl-state-died").count() == 0, page.locator(".dl-log").inner_text()
    words = page.locator(".dl-table tbody tr td:first-child").all_inner_texts()
    assert [each.split()[0] for each in words] == ["loss", "pairs", "reward"]
    button(page, "Use this model").click()
    page.wait_for_selector(".q-notification >> text=is loaded")
    lesson = house.folder / "runs" / "lessons" / "0001-round" / "run"
    result = json.loads((lesson / "result.json").read_text(encoding="utf-8"))
    assert result["model"] == "ppo/model"
    picture(ann, "teach")
