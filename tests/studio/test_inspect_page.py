"""The page Inspect in a real browser, over a small model: its views, branches, hostile text."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from matplotlib.image import imread
from scripted import HOSTILE
from small_studio import BOSS, PHONE, Running
from test_pages import Visit, button, check

from danlu.feedback.records import Conversation, Message
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.recipes.stage import publish
from danlu.serve.studio.microscope import InspectError
from danlu.tokenizer.chat import ChatFormat

SIZES: dict[str, Any] = {
    "d_model": 16,
    "n_layers": 3,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 8,
    "d_ff": 16,
}
TEXT = "你好，世界！ hello there, the weather is fine."


@pytest.fixture
def models(running: Running) -> Iterator[Path]:
    """A model that the studio knows, a reward model of a run, and a file of records."""
    assert running.studio.workshop is not None
    root = running.studio.workshop.runs
    tokenizer = running.engines["tiny"].tokenizer
    config = ModelConfig(vocab_size=tokenizer.vocab_size, max_seq_len=768, **SIZES)
    model = LanguageModel(config, seed=3)
    publish(model, tokenizer, root / "tiny" / "model")
    publish(ScoreModel.from_language_model(model, seed=4), tokenizer, root / "judge" / "model")
    (root / "judge" / "config.toml").write_text('base = "tiny"\ncomparisons = "c.jsonl"\n')
    rows = [
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": HOSTILE}]},
        {"prompt": "Which?", "completions": ["One.", "Two."], "ranks": [1, 2]},
    ]
    (root / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield root
    for each in ("tiny", "judge"):
        rmtree(root / each)
    (root / "records.jsonl").unlink()


def looked_at(page: Any, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    button(page, "Look").click()
    page.wait_for_selector(".dl-strip, [role=alert], .dl-drawing, .dl-cells")


def harmless(page: Any) -> bool:
    return page.evaluate("document.querySelectorAll('.dl-page :is(img, iframe, script)').length") == 0


def test_every_view_of_a_text(visit: Visit, models: Path):
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("inspect")
    page.wait_for_selector("text=Choose a model and a text")
    looked_at(page, TEXT)
    page.wait_for_selector("text=nats a token")
    rows = page.locator("tbody tr")
    assert rows.first.locator("td").nth(1).inner_text() == "<|endoftext|>"
    assert rows.first.locator("td").nth(3).inner_text() == "–"
    assert rows.last.locator("td").nth(1).inner_text() == "(next)"
    assert rows.nth(1).locator("button").count() == 5
    check(visitor, "inspect-tokens-en")
    button(page, "Attention").click()
    page.wait_for_selector(".dl-drawing svg.large image")
    page.get_by_label("Layer", exact=True).click()
    page.get_by_role("option", name="2").click()
    page.wait_for_selector("[aria-label='Attention of layer 2, head 0']")
    drawn = imread(io.BytesIO(page.locator(".dl-drawing").screenshot()))
    assert drawn[..., :3].mean() > 0.6  # light weights on white paper: no frame covers what it frames
    check(visitor, "inspect-heads-en")
    button(page, "Logit lens").click()
    page.wait_for_selector(".dl-cells")
    assert page.locator(".dl-cells tbody th").all_inner_texts() == ["3", "2", "1", "0"]
    check(visitor, "inspect-lens-en")
    button(page, "Reward").click()
    page.wait_for_selector("canvas")
    page.wait_for_selector("text=at the end")
    check(visitor, "inspect-scores-en")
    button(page, "Loss masks").click()
    page.wait_for_selector("[role=alert] >> text=Choose a record on the page Data")


def test_an_alternative_is_branched_to_by_keyboard_and_looked_at(visit: Visit, models: Path):
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("inspect")
    looked_at(page, TEXT)
    for at in (2, 3):
        page.locator("tbody tr").nth(at).locator("button").nth(1).focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(f".dl-branch >> text=from token {at}")
    assert page.locator(".dl-branch").count() == 2
    check(visitor, "inspect-branches-en")
    chosen = page.locator(".dl-branch b").last.inner_text()
    button(page, "Look at this branch").last.click()
    page.wait_for_function("!document.querySelector('.dl-branch')")
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr").count() > 20
    assert chosen


def test_a_chat_of_the_history_is_looked_at(running: Running, visit: Visit, models: Path):
    store = running.store
    root = store.add(BOSS, Conversation(title=f"Fine? {HOSTILE}"))
    asked = store.add(BOSS, Message(conversation=root.id, role="user", content="What is fine?"))
    place = {"conversation": root.id, "parent": asked.id, "role": "assistant"}
    store.add("", Message(**place, content="The weather."))
    page = visit().go("inspect")
    page.get_by_label("Text or chat").click()
    page.get_by_role("option", name="Fine? <script>").click()
    button(page, "Look").click()
    page.wait_for_selector(".dl-strip")
    chat = ChatFormat(running.engines["tiny"].tokenizer)
    said: list[Any] = [{"role": "user", "content": "What is fine?"}]
    n = len(chat.render([*said, {"role": "assistant", "content": "The weather."}]).ids)
    page.wait_for_selector(f"text={n} tokens")
    assert harmless(page)


def test_what_training_learns_of_a_record(visit: Visit, models: Path):
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("data?set=runs/records.jsonl")
    page.get_by_role("link", name="What training learns").first.click()
    page.wait_for_selector(".dl-mark-learnt")
    assert harmless(page)
    check(visitor, "inspect-masks-en")
    page.get_by_label("Stage", exact=True).click()
    page.get_by_role("option", name="reward model").click()
    page.wait_for_selector("[role=alert] >> text=is no comparison")
    page = visitor.go("inspect?view=masks&set=runs/records.jsonl&n=2")
    page.get_by_label("Stage", exact=True).click()
    page.get_by_role("option", name="reward model").click()
    page.wait_for_selector("td >> text=S")


def test_hostile_text_does_nothing_but_show(visit: Visit, models: Path):
    page = visit().go("inspect")
    looked_at(page, HOSTILE)
    page.wait_for_selector(".dl-strip >> text=script")
    page.locator("tbody tr").nth(3).locator("button").first.click()
    page.wait_for_selector(".dl-branch")
    assert harmless(page)
    for view, place in (
        ("Attention", ".dl-drawing svg.large"),
        ("Logit lens", ".dl-cells"),
        ("Reward", "canvas"),
    ):
        button(page, view).click()
        page.wait_for_selector(place)
        assert harmless(page)


def test_a_long_text_is_bounded(visit: Visit, models: Path):
    page = visit().go("inspect")
    looked_at(page, "世界 hello " * 600)
    page.wait_for_selector("text=768 tokens")
    page.wait_for_selector("text=more are not shown")
    assert page.locator("tbody tr").count() == 48
    button(page, "Later tokens →").click()
    page.wait_for_selector("tbody tr:first-child td:first-child >> text=48")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("view=masks&set=runs/../x.jsonl&n=1", "no data set here is called"),
        ("view=masks&set=runs/records.jsonl&n=77", "There is no record 77"),
        ("view=masks&set=runs/records.jsonl&n=x", "Choose a model and a text"),
        ("view=<script>&model=/etc", "Choose a model and a text"),
    ],
)
def test_addresses_that_lead_nowhere_are_told(visit: Visit, models: Path, query: str, said: str):
    visit().go(f"inspect?{query}").wait_for_selector(f"text={said}")


def test_what_is_missing_is_told(visit: Visit, models: Path, running: Running):
    page = visit().go("inspect")
    button(page, "Look").click()
    page.wait_for_selector("[role=alert] >> text=Type a text")
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="other").click()
    looked_at(page, TEXT)
    page.wait_for_selector("[role=alert] >> text=is no directory here")
    weights = models / "tiny" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    page = visit().go("inspect")
    looked_at(page, TEXT)
    page.wait_for_selector("[role=alert]")
    assert running.studio.microscope is not None
    with pytest.raises(InspectError):
        running.studio.microscope.read(models / "tiny", TEXT)


@pytest.mark.parametrize("view", ["词元", "注意力", "逐层预测", "奖励"])
def test_the_views_in_chinese_in_the_dark_on_a_phone(visit: Visit, models: Path, view: str):
    visitor = visit("zh-CN", viewport=PHONE, color_scheme="dark", has_touch=True)
    page = visitor.go("inspect")
    page.get_by_label("文字", exact=True).fill(TEXT)
    button(page, "查看").click()
    page.wait_for_selector(".dl-strip")
    button(page, view).click()
    page.wait_for_selector(
        {"注意力": ".dl-drawing svg.large", "逐层预测": ".dl-cells"}.get(view, ".dl-strip")
    )
    names = {"词元": "tokens", "注意力": "heads", "逐层预测": "lens", "奖励": "scores"}
    check(visitor, f"inspect-{names[view]}-zh-dark-phone")
