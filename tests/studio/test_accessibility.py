"""axe-core looks at every page, in either theme, wide and on a phone, and finds nothing.

The script comes with the package axe-playwright-python (axe-core itself is under the MPL 2.0); it is read from
there and put into the page.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from small_studio import BOSS, PHONE, Running
from test_hostile_text import write_lesson
from test_pages import Visit, button, question, ranking_task, say
from test_run_records import write_run
from test_teaching_pages import lines

from danlu.feedback.records import Ranking, Task
from danlu.serve.studio.pages import PAGES

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOKS = {"light": ("light", {"width": 1280, "height": 900}), "dark-phone": ("dark", PHONE)}


@pytest.fixture(scope="module")
def axe() -> str:
    """The script."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("needs axe-playwright-python, which carries axe-core")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def furnished(running: Running) -> Iterator[None]:
    """Something to be seen on every page."""
    store, workshop = running.store, running.studio.workshop
    assert workshop is not None
    running.engines[
        "tiny"
    ].text = "Good **day**.\n\n```py\nprint(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    _, made = question(store, "Which is better?", "One.", "Two.")
    told = store.add(BOSS, Ranking(completions=tuple(each.id for each in made), ranks=(1, 2)))
    tasks = [ranking_task(store, "One.", "Two.", "Three.", text="Why?")]
    asked, (draft,) = question(store, "Why is the sky blue?", "Because of the see.")
    tasks.append(store.add(BOSS, Task(do="demonstrate", prompt=asked.id, completions=(draft.id,))))
    write_lesson(workshop.folder / "0001-sft")
    write_run(
        workshop.runs / "a", 'tokenizer = "t"\nshards = "s"\n', metrics_jsonl=lines(3.0), report_html="<p>"
    )
    yield
    for each in (told, *tasks):
        store.undo(BOSS, each.id)
    rmtree(workshop.folder, ignore_errors=True)
    rmtree(workshop.runs / "a")


def faults_of(page: Any, script: str) -> list[str]:
    """What makes it hard for somebody, one line a fault."""
    page.evaluate(script)
    found = page.evaluate("rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES)
    return [
        f"{fault['impact']} {fault['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("place", [page.name for page in PAGES])
def test_axe_finds_nothing(running: Running, visit: Visit, furnished: None, axe: str, place: str, look: str):
    scheme, size = LOOKS[look]
    visitor = visit("zh-CN" if look != "light" else "en-US", color_scheme=scheme, viewport=size)
    page = visitor.go(place)
    if place == "chat":
        say(page, "Hello?")
        page.wait_for_selector(".dl-assistant strong")
        page.wait_for_selector(".dl-assistant [aria-pressed]")
    elif place == "rank":
        page.keyboard.press("1")
        page.wait_for_selector(".dl-placed")
    elif place == "runs":
        visitor.go("runs?run=a").wait_for_selector("canvas")
    assert faults_of(page, axe) == []


@pytest.mark.slow
def test_axe_finds_nothing_where_one_signs_in(running: Running, visit: Visit, axe: str):
    accounts = running.studio.accounts
    accounts.add("axe", "guest", "password of axe")
    try:
        visitor = visit()
        visitor.page.goto(f"{visitor.address}/studio/sign-in")
        button(visitor.page, "Sign in").wait_for()
        assert faults_of(visitor.page, axe) == []
    finally:
        accounts.change("axe", active=False)
