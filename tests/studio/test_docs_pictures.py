"""The pictures of the docs: pages as a reader of the tutorial sees them.

    DANLU_PICTURES=docs/pictures python -m pytest -m slow tests/studio/test_docs_pictures.py

writes them, in few colours, so that they are small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch
from PIL import Image
from small_studio import BOSS, Running
from test_pages import CHECK, PICTURES, Visit, button, question, ranking_task

from danlu.data.pipeline import CleaningConfig, write_clean
from danlu.data.sources import Document
from danlu.feedback.body import Origin
from danlu.feedback.records import Conversation, Demonstration, Message, Ranking, Task
from danlu.feedback.store import Store
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.stage import publish

SIZE = {"width": 1200, "height": 760}
TEXTS: dict[str, dict[str, Any]] = {
    "en-US": {
        "end": ".png",
        "ask": "Why is the sky blue?",
        "labels": {"text": "Text", "look": "Look", "best": "1 is best"},
        "answers": [
            "The air scatters blue light more than red light, so blue comes to us from everywhere.",
            "Because the sea is blue.",
            "I do not know.",
        ],
    },
    "zh-CN": {
        "end": ".zh.png",
        "ask": "天空为什么是蓝色的？",
        "labels": {"text": "文字", "look": "查看", "best": "1 最好"},
        "answers": ["空气把蓝光散射得比红光多，所以蓝光从四面八方照来。", "因为海是蓝的。", "我不知道。"],
    },
}


def photographed(visitor: Any, name: str) -> None:
    """Keep what the page looks like, if it lacks nothing."""
    page = visitor.page
    page.wait_for_timeout(600)  # until what moves stands still
    assert page.evaluate(CHECK) == []
    if PICTURES:
        path = Path(PICTURES) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(path))
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
        assert path.stat().st_size < 150_000


@pytest.fixture
def lesson(running: Running) -> Iterator[None]:
    """A round that has ended, as its process leaves it."""
    workshop = running.studio.workshop
    assert workshop is not None
    path = workshop.folder / "0001-round"
    out = path / "run"
    told = {"stage": "round", "model": "tiny", "by": "me", "at": "2026-05-04T09:00:00+00:00", "words": []}
    steps = ["collect", "sft", "reward", "ppo", "compare"]
    table = [
        {"what": "loss", "n": 9, "before": 2.41, "after": 1.63},
        {"what": "accuracy", "n": 84, "before": None, "after": 0.714},
        {"what": "score", "n": 31, "before": -0.12, "after": 0.37},
    ]
    for stage, names in {"sft": ("loss",), "reward": ("loss",), "ppo": ("rollout.score",)}.items():
        (out / stage / "model").mkdir(parents=True)
        rows = [
            {"step": n, **{name: n / 40 if "score" in name else 0.4 + 2 / n for name in names}}
            for n in range(1, 41)
        ]
        (out / stage / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "lesson.json").write_text(json.dumps(told))
    (out / "steps.json").write_text(json.dumps(steps))
    (out / "done.json").write_text(json.dumps(dict.fromkeys(steps, 1.0)))
    (out / "result.json").write_text(json.dumps({"model": "ppo/model", "table": table, "samples": []}))
    yield
    rmtree(workshop.folder, ignore_errors=True)


def judged(store: Store, texts: dict[str, Any]) -> None:
    for person in (BOSS, "bob"):
        asked, made = question(store, texts["ask"], *texts["answers"])
        store.add(person, Ranking(completions=tuple(each.id for each in made), ranks=(1, 2, 3)))
        assert isinstance(asked.body, Message)
        place = {"conversation": asked.body.conversation, "parent": asked.id}
        store.add(person, Demonstration(**place, content=texts["answers"][0]))


@pytest.mark.slow
@pytest.mark.parametrize("language", TEXTS)
def test_pages_as_the_docs_show_them(running: Running, visit: Visit, lesson: None, language: str):
    texts = TEXTS[language]
    visitor = visit(language, viewport=SIZE, color_scheme="light")
    task = ranking_task(running.store, *texts["answers"], text=texts["ask"])
    page = visitor.go("rank", ".dl-answer")
    (given,) = (each for each in running.store.next_tasks(BOSS) if each.task == task.id)
    shown = [text for _, text in given.completions]
    for text in (texts["answers"][0], texts["answers"][2]):
        page.keyboard.press(str(shown.index(text) + 1))
    page.wait_for_function("document.querySelectorAll('.dl-placed').length === 2")
    photographed(visitor, "rank" + texts["end"])
    running.store.undo(BOSS, task.id)
    judged(running.store, texts)
    visitor.go("teach").wait_for_selector(".dl-state-done")
    page.wait_for_selector("canvas")
    photographed(visitor, "teach" + texts["end"])


@pytest.fixture
def runs(running: Running) -> Iterator[Path]:
    """Two runs of different learning rates, a model that has learnt one answer in each language, and data."""
    assert running.studio.workshop is not None
    root = running.studio.workshop.runs
    for name, fall in (("quick", 9), ("slow", 30)):
        (root / name).mkdir(parents=True)
        (root / name / "config.toml").write_text(
            f'base = "tiny"\ndata = "chats.jsonl"\noptim.lr = {1 / fall:.2}\n'
        )
        rows = [{"step": n, "loss": 0.6 + 2 / (1 + n / fall) + (n * 7 % 5) / 40} for n in range(1, 81)]
        (root / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    publish(learnt(running), running.engines["tiny"].tokenizer, root / "tiny" / "model")
    texts = [line for texts in TEXTS.values() for line in (texts["ask"], *texts["answers"])]
    many = [f"{text} {i}" for i in range(6) for text in texts]
    documents = (
        Document(text, "raw.txt", i) for i, text in enumerate([*many, "qwrt zxcv bnm plk", texts[0]])
    )
    write_clean(documents, root / "data" / "clean", CleaningConfig(held_out=0.0))
    yield root
    for name in ("quick", "slow", "tiny", "data"):
        rmtree(root / name)


def learnt(running: Running) -> LanguageModel:
    """A model that knows the first answers by heart, so that what it thinks likely can be read."""
    tokenizer = running.engines["tiny"].tokenizer
    sizes: dict[str, Any] = {
        "d_model": 64,
        "n_layers": 3,
        "n_heads": 4,
        "n_kv_heads": 4,
        "head_dim": 16,
        "d_ff": 128,
    }
    model = LanguageModel(ModelConfig(vocab_size=tokenizer.vocab_size, max_seq_len=768, **sizes), seed=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = [
        torch.tensor([[tokenizer.eos_id, *tokenizer.encode(f"{each['ask']} {each['answers'][0]}")]])
        for each in TEXTS.values()
    ]
    for _ in range(60):
        optimizer.zero_grad()
        for row in rows:
            counted = torch.ones_like(row[:, 1:], dtype=torch.bool)
            loss = model.nll_sum(row[:, :-1], None, None, row[:, 1:], counted)
            (loss / counted.sum()).backward()
        optimizer.step()
    return model


def talked(store: Store, texts: dict[str, Any]) -> str:
    """A conversation with two answers; it is not made live, for a picture must not tell how fast that was."""
    root = store.add(BOSS, Conversation(title=texts["ask"]))
    asked = store.add(BOSS, Message(conversation=root.id, role="user", content=texts["ask"]))
    for answer in reversed(texts["answers"][:2]):
        said = Message(
            conversation=root.id,
            parent=asked.id,
            role="assistant",
            content=answer,
            origin=Origin(name="tiny", sampling={"seed": 7}),
        )
        store.add("", said)
    return root.id


@pytest.mark.slow
@pytest.mark.parametrize("language", TEXTS)
def test_pages_of_talk_as_the_docs_show_them(running: Running, visit: Visit, language: str):
    texts, engines = TEXTS[language], running.engines
    answers, end = texts["answers"], texts["end"]
    engines["tiny"].text, engines["other"].text = answers[:2]
    visitor = visit(language, viewport=SIZE, color_scheme="light")
    visitor.go(f"chat?c={talked(running.store, texts)}").wait_for_selector(".dl-siblings")
    photographed(visitor, "chat" + end)
    page = visitor.go("compare", ".dl-arena textarea")
    page.fill(".dl-arena textarea", texts["ask"])
    page.press(".dl-arena textarea", "Enter")
    button(page, texts["labels"]["best"]).wait_for()
    photographed(visitor, "compare" + end)
    asked, (draft,) = question(running.store, texts["ask"], answers[1])
    running.store.add(BOSS, Task(do="demonstrate", prompt=asked.id, completions=(draft.id,)))
    page = visitor.go("demonstrate", "textarea")
    page.locator("textarea").first.fill(answers[0])
    page.wait_for_selector("ins")
    photographed(visitor, "demonstrate" + end)


@pytest.mark.slow
@pytest.mark.parametrize("language", TEXTS)
def test_pages_of_work_as_the_docs_show_them(running: Running, visit: Visit, runs: Path, language: str):
    texts = TEXTS[language]
    visitor = visit(language, viewport=SIZE, color_scheme="light")
    page = visitor.go("runs", "aside .q-checkbox")
    for name in ("quick", "slow"):
        page.locator(f".q-checkbox[aria-label$='{name}'], .q-checkbox[aria-label*=' {name} ']").first.click()
        page.wait_for_selector(".dl-curves canvas")  # a chart that goes before it has come is a fault
    photographed(visitor, "runs" + texts["end"])
    page = visitor.go("inspect?model=tiny")
    page.get_by_label(texts["labels"]["text"], exact=True).fill(f"{texts['ask']} {texts['answers'][0]}")
    button(page, texts["labels"]["look"]).click()
    page.wait_for_selector(".dl-strip")
    photographed(visitor, "inspect" + texts["end"])
    visitor.go("data?set=runs/data/clean/train.jsonl").wait_for_selector("article")
    photographed(visitor, "data" + texts["end"])
