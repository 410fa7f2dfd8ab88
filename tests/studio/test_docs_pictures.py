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
from PIL import Image
from small_studio import BOSS, Running
from test_pages import CHECK, PICTURES, Visit, question, ranking_task

from danlu.feedback.records import Demonstration, Message, Ranking
from danlu.feedback.store import Store

SIZE = {"width": 1200, "height": 760}
TEXTS: dict[str, dict[str, Any]] = {
    "en-US": {
        "end": ".png",
        "ask": "Why is the sky blue?",
        "answers": [
            "The air scatters blue light more than red light, so blue comes to us from everywhere.",
            "Because the sea is blue.",
            "I do not know.",
        ],
    },
    "zh-CN": {
        "end": ".zh.png",
        "ask": "天空为什么是蓝色的？",
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
        assert path.stat().st_size < 80_000


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
