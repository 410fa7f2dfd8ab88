"""What can go wrong while people judge: the page says what happened, and nothing accepted is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from small_studio import BOSS, Running, until
from sqlalchemy import event
from test_command import model_dir  # noqa: F401
from test_pages import Visit, bodies, button, question, ranking_task
from test_teaching_pages import finished, lessons  # noqa: F401

from danlu.cli import main
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event
from danlu.feedback.records import Message, Ranking, Rating, Task
from danlu.feedback.store import Store


@pytest.fixture
def full_disk(running: Running) -> Iterator[list[bool]]:
    """SQLite finds no room for as long as the list holds True."""
    engine, full = running.store.database.engine, [False]

    def fill(raw: Any, *_: object) -> None:
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count = {pages if full[0] else 1 << 30}")

    event.listen(engine, "checkout", fill)
    yield full
    full[0] = False
    event.remove(engine, "checkout", fill)
    engine.dispose()


def rank_it(page: Any) -> None:
    for key in ("1", "2", "Enter"):
        page.keyboard.press(key)


def judge_until_full(running: Running, answer: Event, size: int) -> None:
    """Others judge with comments of this length, until there is no room for another."""
    said = Rating(completion=answer.id, value=1, comment="x" * size)

    def judge() -> None:
        for number in range(2000):
            running.store.add(f"person {number}", said)

    with pytest.raises(FeedbackError, match="the disk is full"):
        judge()


def test_a_full_disk_refuses_the_judgement_which_is_handed_in_again(
    running: Running, visit: Visit, full_disk: list[bool]
):
    store = running.store
    ranking_task(store, "One.", "Two.", text="Where is room?")
    page = visit().go("rank", ".dl-answer")
    _, (answer,) = question(store, "Is there room?", "Some.")
    n = len(bodies(store, Ranking))
    full_disk[0] = True
    for size in (2000, 200, 1):  # every page that has room takes what still fits
        judge_until_full(running, answer, size)
    rank_it(page)
    page.wait_for_selector(".q-notification >> text=Not accepted: the disk is full")
    full_disk[0] = False
    assert len(bodies(store, Ranking)) == n
    assert page.locator(".dl-placed").count() == 2  # what was said of it is still there
    page.keyboard.press("Enter")
    until(lambda: len(bodies(store, Ranking)) == n + 1)


def test_two_people_with_the_same_task_after_a_lease_ran_out_are_both_kept(running: Running, visit: Visit):
    store = running.store
    task = ranking_task(store, "One.", "Two.", text="Whose is this?")
    page = visit().go("rank", ".dl-prompt >> text=Whose is this?")
    store.release(BOSS, task.id)  # as if lunch had been longer than the lease
    (given,) = (each for each in store.next_tasks("bob", 2, "rank") if each.task == task.id)
    store.add("bob", given.ranking([2, 1]))
    assert not store.renew(BOSS, task.id)  # upon which the page says that others have done it
    rank_it(page)
    until(lambda: len([each for each in store.events(Ranking.kind) if each.task == task.id]) == 2)
    assert {each.person for each in store.events(Ranking.kind) if each.task == task.id} == {"bob", BOSS}
    page.wait_for_selector("text=Nothing to rank")


def test_a_task_that_was_withdrawn_meanwhile_is_told_and_skipped(running: Running, visit: Visit):
    store = running.store
    task = ranking_task(store, "One.", "Two.", text="Is this wanted?")
    ranking_task(store, "Three.", "Four.", text="And this?")
    page = visit("zh-CN").go("rank", ".dl-prompt >> text=Is this wanted?")
    store.undo(BOSS, task.id)
    n = len(bodies(store, Ranking))
    rank_it(page)
    page.wait_for_selector(".q-notification >> text=这个任务已被撤回")
    assert len(bodies(store, Ranking)) == n
    page.keyboard.press("s")
    page.wait_for_selector(".dl-prompt >> text=And this?")
    rank_it(page)
    until(lambda: len(bodies(store, Ranking)) == n + 1)


@pytest.fixture
def short_leases(running: Running) -> Iterator[None]:
    """Pages ask every third of a second whether a task is still theirs."""
    store, kept = running.store, running.store.config
    object.__setattr__(store, "config", replace(kept, lease_s=1.0))
    yield
    object.__setattr__(store, "config", kept)


@pytest.mark.usefixtures("short_leases")
def test_a_lease_that_ran_out_is_told_while_the_page_is_open(running: Running, visit: Visit):
    store = running.store
    task = ranking_task(store, "One.", "Two.", text="Whose turn is it?")
    page = visit().go("rank", ".dl-prompt >> text=Whose turn is it?")
    given = next(each for each in store.next_tasks(BOSS) if each.task == task.id)
    store.add("bob", given.ranking([1, 2]))
    store.release(BOSS, task.id)
    page.wait_for_selector(".q-notification >> text=Others have done this task meanwhile")
    rank_it(page)  # kept all the same
    until(lambda: len([each for each in store.events(Ranking.kind) if each.task == task.id]) == 2)


def test_a_contender_that_is_gone_is_told_and_nothing_is_asked(running: Running, visit: Visit):
    voices, n = running.studio.voices, len(bodies(running.store, Message))
    page = visit().go("compare", ".dl-arena textarea")
    gone = voices.pop()
    try:
        page.fill(".dl-arena textarea", "Are you all there?")
        button(page, "Ask all").click()
        page.wait_for_selector(f".q-notification >> text=No model is called {gone.name} any more")
    finally:
        voices.append(gone)
    assert len(bodies(running.store, Message)) == n
    button(page, "Ask all").click()  # what was written is still there
    button(page, "1 is best").wait_for()


def test_a_model_that_was_removed_is_told(
    running: Running,
    visit: Visit,
    lessons: list[Any],  # noqa: F811
):
    name = finished(running)
    page = visit().go("teach")
    button(page, "Use this model").wait_for()
    assert running.studio.workshop is not None
    rmtree(running.studio.workshop.folder / name / "run" / "sft" / "model")
    button(page, "Use this model").click()
    page.wait_for_selector(".q-notification >> text=has made no model, or it was removed")
    assert running.studio.voices[0].name != name


def test_an_import_of_something_else_or_with_ids_of_others_is_told(
    running: Running, visit: Visit, tmp_path: Path
):
    store = running.store
    task = ranking_task(store, "One.", "Two.", text="An id that is taken")
    body = task.body
    assert isinstance(body, Task)
    taken = body.completions[0]
    n = len(bodies(store, Message))
    page = visit().go("chat")
    wrong = {
        "is neither": {"something": 1},
        "role": {"messages": [{"role": "judge", "content": "x"}]},
    }
    for number, tree in enumerate(wrong.values()):
        button(page, "Import a conversation").click()
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(tree), encoding="utf-8")
        page.set_input_files("input[type=file]", file)
        page.wait_for_selector(".q-notification")
        assert len(bodies(store, Message)) == n
        page.reload()
        page.wait_for_function("window.socket && window.socket.connected")
    # Ids of others are not believed: the conversation gets new ones, and what is here stays as it is.
    file = tmp_path / "taken.json"
    turns = [{"role": "user", "content": "Mine."}, {"role": "assistant", "content": "Yours.", "id": taken}]
    file.write_text(json.dumps({"messages": turns}), encoding="utf-8")
    button(page, "Import a conversation").click()
    page.set_input_files("input[type=file]", file)
    page.wait_for_selector(".dl-assistant >> text=Yours.")
    before = store.get(taken).body
    assert isinstance(before, Message)
    assert before.content == "One."
    store.undo(BOSS, task.id)


def test_a_database_of_a_newer_version_is_left_alone_and_told(
    model_dir: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    db = tmp_path / "feedback.db"
    with Store.open(db) as store, store.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    assert main(["studio", str(model_dir), "port=0", f"db={db}"]) == 2
    told = capsys.readouterr().err
    assert "written by a newer version of danlu" in told
    assert "upgrade danlu to open it. Nothing was changed" in told
