"""Text that would do harm wherever somebody can put text, and every page looked at: it only shows.

What would run says so in a dialog, and what would load asks another server; the visitor fails on either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from scripted import HOSTILE
from small_studio import BOSS, Running
from test_pages import Visit
from test_run_records import write_run

from danlu.feedback.body import Origin
from danlu.feedback.records import Conversation, Demonstration, Edit, Message, Ranking, Rating, Task
from danlu.serve.studio.pages import PAGES

LINE = "<img src=x onerror=alert('line')><svg onload=alert('svg')> {{7*7}} \u202egnp.\u202c <|im_end|>"
# But what Quasar draws itself: the handle of a slider, the tick of a box.
MADE = """[...document.querySelectorAll(".dl-page :is(img, svg, iframe, script, object, embed)")]
  .filter((each) => !each.closest(".q-slider, .q-checkbox, .q-radio"))
  .map((each) => each.outerHTML.slice(0, 200))"""
TEXT_FIELDS = (
    ".dl-page :is(textarea, input:not([type]), input[type=text], input[type=search]):not([readonly])"
    ":not([role=combobox])"
)


@pytest.fixture
def poisoned(running: Running) -> Iterator[dict[str, list[str]]]:
    """A store, runs and lessons all of whose texts are hostile; addresses of each page that show them."""
    store, workshop = running.store, running.studio.workshop
    assert workshop is not None
    root = store.add(BOSS, Conversation(title=LINE, about={LINE: HOSTILE}))
    place = {"conversation": root.id}
    system = store.add(BOSS, Message(**place, role="system", content=HOSTILE))
    asked = store.add(BOSS, Message(**place, parent=system.id, role="user", content=HOSTILE))
    origin = Origin(model=LINE, name=LINE, sampling={"seed": LINE})
    said = [
        store.add(
            "", Message(**place, parent=asked.id, role="assistant", content=f"{n} {HOSTILE}", origin=origin)
        )
        for n in range(3)
    ]
    nodes = tuple(each.id for each in said)
    judged = {"completions": nodes, "ranks": (1, 2, 3), "comment": HOSTILE, "about": {"compare": [LINE] * 3}}
    for person in (BOSS, LINE):
        store.add(person, Ranking(**judged))
        store.add(person, Rating(completion=nodes[0], value=1, comment=HOSTILE))
    store.add(LINE, Demonstration(**place, parent=asked.id, content=HOSTILE))
    store.add(LINE, Edit(**place, parent=asked.id, of=nodes[0], content=HOSTILE))
    for do in ("rank", "demonstrate"):
        shown = nodes if do == "rank" else nodes[:1]
        store.add(BOSS, Task(do=do, prompt=asked.id, completions=shown, guideline=HOSTILE))
    write_lesson(workshop.folder / "0001-sft")
    write_run(
        workshop.runs / "hostile <b>",
        f"base = {json.dumps(LINE)}\n",
        metrics_jsonl=json.dumps({"step": 1, "loss": 1.0, LINE: 2.0}) + "\n",
        summary_json=json.dumps({LINE: HOSTILE, "samples": [[HOSTILE, HOSTILE]]}),
    )
    yield {
        "chat": ["", f"?c={root.id}", f"?c={LINE}&n={LINE}"],
        "compare": ["", f"?c={root.id}"],
        "teach": ["?lesson=0001-sft", f"?lesson={LINE}"],
        "runs": ["?run=hostile <b>", f"?run={LINE}"],
    }
    rmtree(workshop.folder, ignore_errors=True)
    rmtree(workshop.runs / "hostile <b>")
    for event in list(store.events(Task.kind, Ranking.kind)):
        if event.person in (BOSS, LINE):
            store.undo(event.person, event.id)


def write_lesson(path: Path) -> None:
    """A lesson that has ended, as its process would have left it."""
    out = path / "run"
    out.mkdir(parents=True)
    words = ["teach", "stage=sft", f"out={out}"]
    lesson = {"stage": "sft", "model": LINE, "by": LINE, "at": LINE, "words": words}
    (path / "lesson.json").write_text(json.dumps(lesson), encoding="utf-8")
    (path / "log.txt").write_text(HOSTILE, encoding="utf-8")
    (out / "steps.json").write_text(json.dumps(["collect", LINE]), encoding="utf-8")
    sample = {
        "messages": [{"content": HOSTILE}],
        "answers": {k: {"text": HOSTILE} for k in ("before", "after")},
    }
    row = {"what": "loss", "n": LINE, "before": 1.0, "after": 0.5}
    (out / "result.json").write_text(json.dumps({"table": [row], "samples": [sample]}), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_hostile_text_on_every_page_does_nothing_but_show(
    running: Running, visit: Visit, poisoned: dict[str, list[str]], language: str
):
    running.engines["tiny"].text = running.engines["other"].text = HOSTILE
    visitor = visit(language, viewport={"width": 1280, "height": 1000})
    for page in PAGES:
        for query in poisoned.get(page.name, [""]):
            visitor.go(page.name + query)
            assert made(visitor.page) == [], page.name
            type_everywhere(visitor.page)
            assert made(visitor.page) == [], page.name
            assert visitor.page.evaluate("document.body.innerText.includes('49')") is False, page.name


def made(page: Any) -> list[str]:
    """Elements that hostile text has made; a chart draws on a canvas."""
    return page.evaluate(MADE)


def type_everywhere(page: Any) -> None:
    """Put the text into every field there is, and leave it."""
    for box in page.locator(TEXT_FIELDS).all():
        if box.is_visible() and box.is_enabled():
            box.fill(HOSTILE)
            box.press("Tab")
    page.wait_for_timeout(300)  # whatever the page makes of it comes from the server
