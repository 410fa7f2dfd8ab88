"""The page Data in a real browser: records, search, what cleaning dropped, measures, and bad files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from scripted import HOSTILE
from small_studio import PHONE, Running
from test_pages import Visit, button, check, people, signed_in  # noqa: F401

from danlu.data.pipeline import CleaningConfig, write_clean
from danlu.data.shards import TokenizedDocument, bytes_per_id, write_shards
from danlu.data.sources import Document

ODD = "odd <img src=x onerror=alert(3)>.jsonl"


def write(path: Path, *rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(running: Running) -> Iterator[Path]:
    """Data of every kind, some of it hostile, and what cleaning left of a corpus."""
    assert running.studio.workshop is not None
    root = running.studio.workshop.runs / "data"
    texts = [
        f"The house number {i} has {i * i} windows, and everybody in it likes tea and cake."
        for i in range(30)
    ]
    chinese = [f"第{i}座房子有{i * i}扇窗户，里面的人都喜欢喝茶、吃点心。" for i in range(20)]
    twice = texts[4] = " ".join(texts[4:9])
    junk = ["lrfbw mdl rw lpfgwxq gzwmphcsg", texts[3].upper(), f"{twice} And it is warm inside."]
    documents = (Document(text, "raw.txt", i) for i, text in enumerate([*texts, *chinese, *junk]))
    write_clean(documents, root / "clean", CleaningConfig(held_out=0.0))
    turns = [{"role": "user", "content": f"Why? {HOSTILE}"}, {"role": "assistant", "content": HOSTILE}]
    write(root / "chats.jsonl", {"messages": turns, HOSTILE: HOSTILE, "lang": HOSTILE})
    comparison = {"prompt": "Which?", "completions": ["The first.", HOSTILE], "ranks": [1, 2], "id": HOSTILE}
    write(root / "comparisons.jsonl", comparison)
    (root / ODD).write_bytes(b'\xff<script>\n{"text": "<b>"}\n\n[]\n' + b'{"text": "\\ud800\\u202e"}\n')
    (root / "empty.jsonl").touch()
    tokenizer = running.engines["tiny"].tokenizer
    write_shards(
        (TokenizedDocument(tokenizer.encode(text), "en") for text in texts),
        root / "shards",
        token_bytes=bytes_per_id(tokenizer),
        eos_id=tokenizer.eos_id,
        fingerprint=tokenizer.fingerprint,
    )
    yield root
    rmtree(root)


def harmless(page: Any) -> bool:
    return page.evaluate("document.querySelectorAll('.dl-page :is(img, iframe, script)').length") == 0


def test_data_sets_are_listed_and_read_a_page_at_a_time(visit: Visit, folder: Path):
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("data")
    row = page.locator("tbody tr", has_text="runs/data/clean/train.jsonl")
    assert row.locator("td").all_inner_texts()[1:3] == ["documents", "50"]
    assert harmless(page)
    check(visitor, "data-en")
    row.locator("a").click()
    page.wait_for_selector("article >> nth=9")
    assert page.locator("article").count() == 10
    page.get_by_role("link", name="Later records").click()
    page.wait_for_selector("article[aria-label='Record 11']")
    page.get_by_label("Go to record").fill("50")
    page.get_by_label("Go to record").press("Enter")
    page.wait_for_selector("article[aria-label='Record 50']")
    page.get_by_label("Records that hold this text").fill("NUMBER 17")
    page.get_by_label("Records that hold this text").press("Enter")
    page.wait_for_selector("text=1 found in 50 records")
    assert "house number 17 has" in page.inner_text("article")
    page.get_by_label("Search by name").fill("compar")
    page.wait_for_function("document.querySelectorAll('aside li').length == 1")


def test_what_cleaning_dropped_is_shown_with_its_rule(visit: Visit, folder: Path):
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("data?set=runs/data/clean/train.jsonl")
    page.get_by_text("What cleaning did").click()
    page.get_by_role("link", name="near duplicate").click()
    page.wait_for_selector("text=1 found in 3 records")
    assert "warm inside" in page.inner_text("article")
    assert "of = raw.txt:4" in page.inner_text("article")
    check(visitor, "data-dropped-en")
    page.get_by_label("Rule").click()
    page.get_by_role("option", name="gibberish").click()
    button(page, "Search").click()
    page.wait_for_selector("article >> text=lrfbw")


def test_languages_lengths_and_duplicates_are_measured(visit: Visit, folder: Path):
    clean = folder / "clean"
    with (clean / "train.jsonl").open("a") as file:
        file.write((clean / "train.jsonl").read_text().splitlines()[4] + "\n")
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("data?set=runs/data/clean/train.jsonl")
    button(page, "Languages, lengths, duplicates").click()
    page.wait_for_selector(".dl-charts [aria-label='Languages: en: 31, zh: 20']")
    page.wait_for_selector(".dl-repeats >> text=the same:")
    check(visitor, "data-measured-en")
    page.locator(".dl-repeats a", has_text="51").click()
    page.wait_for_selector("article[aria-label='Record 51']")


def test_hostile_records_do_nothing_but_show(visit: Visit, folder: Path):
    visitor = visit()
    for name in ("chats", "comparisons"):
        page = visitor.go(f"data?set=runs/data/{name}.jsonl")
        page.wait_for_selector("article >> text=alert('script')")
        button(page, "Languages, lengths, duplicates").click()
        page.wait_for_selector(".dl-charts canvas")
        assert harmless(page)
    check(visitor, "data-comparison-en")
    page = visitor.go("data")
    page.get_by_role("link", name="odd <img").first.click()
    page.wait_for_selector("article >> text=This line is no JSON object")
    assert page.locator("article").count() == 4
    assert harmless(page)
    page = visitor.go(f"data?set=runs/data/chats.jsonl&q={HOSTILE[:40].replace('#', '')}&n=1&rule=<script>")
    page.wait_for_selector("text=0 found in 1 records")
    assert harmless(page)


def test_shards_are_read_as_text(visit: Visit, folder: Path):
    page = visit().go("data?set=runs/data/shards&n=30")
    page.wait_for_selector("article >> text=The house number 29 has")
    page.wait_for_selector("article >> text=<|endoftext|>")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("set=runs/../feedback.db", "no data set here is called"),
        ("set=/etc/passwd", "no data set here is called"),
        ("set=runs/data/empty.jsonl", "No record here."),
        ("set=runs/data/chats.jsonl&n=99999", "No record here."),
        ("set=runs/data/broken", "its index is broken"),
    ],
)
def test_bad_input_is_told(visit: Visit, folder: Path, query: str, said: str):
    broken = folder / "broken"
    broken.mkdir()
    (broken / "index.json").write_text('{"n_documents": 3, "format": 1}')
    for name in ("tokens.bin", "documents.npy", "token_bytes.npy"):
        (broken / name).touch()
    page = visit().go(f"data?{query}")
    page.wait_for_selector(f"text={said}")
    page.wait_for_selector("aside li")  # others can be chosen all the same


def test_data_is_for_trainers_and_may_be_taken_away(people: Any, visit: Visit, folder: Path):  # noqa: F811
    people.change("ann", role="trainer")
    visitor = visit()
    page = signed_in(visitor, "ann")
    page = visitor.go("data?set=runs/data/clean/train.jsonl")
    page.wait_for_selector("article")
    people.change("ann", role="annotator")
    button(page, "Languages, lengths, duplicates").click()
    page.wait_for_selector(".q-notification >> text=does not allow it any more")
    for place in ("data", "data?set=runs/data/clean/train.jsonl", "inspect"):
        assert page.request.get(f"{visitor.address}/studio/{place}").status == 403


def test_the_page_in_chinese_in_the_dark_on_a_phone(visit: Visit, folder: Path):
    visitor = visit("zh-CN", viewport=PHONE, color_scheme="dark", has_touch=True)
    page = visitor.go("data")
    check(visitor, "data-list-zh-dark-phone")
    page = visitor.go("data?set=runs/data/clean/dropped.ndjson")
    page.wait_for_selector("article")
    button(page, "语言、长度与重复").click()
    page.wait_for_selector(".dl-charts canvas")
    check(visitor, "data-zh-dark-phone")
