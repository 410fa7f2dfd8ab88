"""Teach and Runs in a real browser: a lesson from its button to the model in use, and runs side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from scripted import HOSTILE
from small_studio import BOSS, PHONE, Running, until
from test_pages import Visit, bodies, button, check, people, question, signed_in  # noqa: F401
from test_run_records import write_run

from danlu.feedback.records import Demonstration, Message, Ranking
from danlu.serve.studio import workshop as module

PUPIL = Path(__file__).parent / "pupil.py"
RUN = 'base = "{base}"\ndata = "<img src=x onerror=alert(1)>"\nlr = 0.1\n[optim]\nkind = "muon"\n'


@pytest.fixture
def lessons(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Processes in the place of the command line's; at the end no lesson is left."""
    real, kept = subprocess.Popen, list[Any]()

    def start(words: list[str], **how: Any) -> Any:
        kept.append(real([sys.executable, str(PUPIL), *words[3:]], **how))
        return kept[-1]

    monkeypatch.setattr(module.subprocess, "Popen", start)
    yield kept
    for process in kept:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert running.studio.workshop is not None
    rmtree(running.studio.workshop.folder, ignore_errors=True)


@pytest.fixture
def runs(running: Running) -> Iterator[Path]:
    """Two runs, one made from the other, with names that somebody hostile has chosen."""
    assert running.studio.workshop is not None
    root, name = running.studio.workshop.runs, "b <img src=x onerror=alert(2)>"
    base = write_run(root / "a", 'tokenizer = "t"\nshards = "s"\n', metrics_jsonl=lines(3.0))
    summary = json.dumps({"held_out_loss": 1.5, "samples": [["Who are you?", HOSTILE]]})
    script = "<script>try { document.cookie } catch { p.textContent = 'no cookies' }</script>"
    write_run(
        root / name,
        RUN.format(base=base / "model"),
        metrics_jsonl=lines(2.0),
        summary_json=summary,
        report_html=f"<h1>Report</h1><p id=p>plain</p>{script}",
    )
    yield root
    for each in ("a", name):
        rmtree(root / each)


def lines(start: float) -> str:
    rows = [{"step": step, "loss": start / step, "score": step - 5} for step in range(1, 10)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def judged(running: Running) -> None:
    """A ranking and a demonstration."""
    asked, made = question(running.store, "What is learnt?", "One.", "Two.")
    running.store.add(BOSS, Ranking(completions=tuple(each.id for each in made), ranks=(1, 2)))
    body = asked.body
    assert isinstance(body, Message)
    place = {"conversation": body.conversation, "parent": asked.id}
    running.store.add(BOSS, Demonstration(**place, content="Much."))


def test_a_lesson_is_given_stopped_and_taken_up(running: Running, visit: Visit, lessons: list[Any]):
    judged(running)
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("teach")
    assert button(page, "PPO").is_disabled()
    page.wait_for_selector("text=Needs a reward model")
    button(page, "Fine-tuning").click()
    page.wait_for_selector(".dl-state-running")
    page.wait_for_selector(".dl-log >> text=hello teach")
    page.wait_for_selector(".dl-charts canvas")
    page.wait_for_selector(".dl-step.dl-here >> text=fine-tuning")
    check(visitor, "teach-en")
    page.reload()  # the lesson belongs to nobody's page
    page.wait_for_selector(".dl-state-running")
    assert button(page, "A whole round").is_disabled()
    button(page, "Stop").click()
    page.wait_for_selector(".dl-state-stopped")
    page.wait_for_selector(".dl-log >> text=stopped")
    button(page, "Go on").click()
    page.wait_for_selector(".dl-state-done")
    assert button(page, "A whole round").is_enabled()


def test_what_a_lesson_has_made_is_shown_and_used(running: Running, visit: Visit, lessons: list[Any]):
    given = finished(running)
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("teach")
    page.wait_for_selector(".dl-state-done")
    assert page.locator(".dl-table tbody td").all_inner_texts() == [
        "loss of people's own answers, nats a token (less is better)",
        *("3", "2.500", "1.250"),
    ]
    page.get_by_text("Answers before and after").click()
    page.wait_for_selector(".dl-sample >> text=alert('sample')")
    assert page.evaluate("document.querySelectorAll('.dl-page :is(img, iframe, script)').length") == 0
    check(visitor, "teach-done-en")
    button(page, "Use this model").click()
    page.wait_for_selector(".q-notification >> text=is loaded")
    assert [voice.name for voice in running.studio.voices] == [given, "tiny", "other"]
    page = visitor.go("chat")
    page.fill(".dl-composer textarea", "Who are you?")
    page.press(".dl-composer textarea", "Enter")
    page.wait_for_selector(f".dl-assistant >> text=I am {given}.")
    assert [each.origin.name for each in bodies(running.store, Message)][-1] == given
    running.studio.voices[:] = running.studio.voices[1:]


def finished(running: Running) -> str:
    """The name of a lesson that has ended."""
    judged(running)
    workshop = running.studio.workshop
    assert workshop is not None
    lesson = workshop.begin("sft", "tiny", 1, BOSS)
    until(lambda: "hello" in workshop.log(lesson.name))
    workshop.stop(lesson.name)
    until(lambda: workshop.lessons()[0].state == "stopped")
    workshop.resume(lesson.name)
    until(lambda: workshop.lessons()[0].state == "done")
    return lesson.name


def test_the_newest_reward_model_is_said_to_be_in_use(running: Running, visit: Visit, lessons: list[Any]):
    older, newer = finished(running), finished(running)
    assert running.studio.workshop is not None
    for name in (older, newer):
        (running.studio.workshop.folder / name / "run" / "reward" / "model").mkdir(parents=True)
    page = visit().go(f"teach?lesson={newer}", ".dl-state-done")
    page.wait_for_selector("text=Its reward model is the newest")
    page = visit().go(f"teach?lesson={older}", ".dl-state-done")
    assert page.locator("text=Its reward model is the newest").count() == 0


def test_a_lesson_whose_process_died_says_so(running: Running, visit: Visit, lessons: list[Any]):
    judged(running)
    page = visit().go("teach")
    button(page, "Fine-tuning").click()
    page.wait_for_selector(".dl-log >> text=hello")
    os.killpg(lessons[0].pid, signal.SIGKILL)
    page.wait_for_selector(".dl-state-died")
    page.wait_for_selector("[role=alert] >> text=left no result")
    button(page, "Go on").click()
    page.wait_for_selector(".dl-state-done")


def test_a_lesson_that_another_begins_meanwhile_is_not_begun_twice(
    running: Running, visit: Visit, lessons: list[Any]
):
    judged(running)
    one, other = visit().go("teach"), visit().go("teach")
    button(one, "Reward model").click()
    one.wait_for_selector(".dl-state-running")
    button(other, "Reward model").click()
    other.wait_for_selector(".q-notification >> text=0001-reward is running")
    assert len(lessons) == 1


def test_runs_stand_side_by_side_with_settings_and_lineage(running: Running, visit: Visit, runs: Path):
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.go("runs")
    page.wait_for_selector("text=Tick runs to see")
    page.get_by_role("checkbox", name="Show the curves of a", exact=True).click()
    page.wait_for_selector(".dl-curves [aria-label='Curve of loss; last value 0.3333']")
    page.get_by_role("checkbox", name="Show the curves of b").click()
    page.wait_for_selector(".dl-curves [aria-label='Curve of loss; last value 0.3333, 0.2222']")
    page.get_by_label("Metric").click()
    page.get_by_role("option", name="score").click()
    page.wait_for_selector(".dl-curves [aria-label^='Curve of score']")
    page.get_by_role("switch", name="Logarithmic").click()
    page.wait_for_selector("text=10 points at or below zero")
    check(visitor, "runs-en")
    page.get_by_role("link", name="b <img").click()
    page.wait_for_selector(".dl-lineage >> text=base")
    page.wait_for_selector(".dl-sample >> text=alert('script')")
    page.get_by_text("Settings", exact=True).click()
    page.wait_for_selector('.dl-log >> text=optim.kind = "muon"')
    assert page.evaluate("document.querySelectorAll('.dl-page :is(img, iframe, script)').length") == 0
    check(visitor, "run-en")
    page.locator(".dl-lineage a").click()
    page.wait_for_selector(".dl-lineage >> text=tokenizer")


def test_a_report_runs_apart_from_the_pages(running: Running, visit: Visit, runs: Path):
    visitor = visit()
    visitor.go("runs")
    visitor.page.goto(f"{running.address}/studio/report?run=b%20%3Cimg%20src%3Dx%20onerror%3Dalert%282%29%3E")
    visitor.page.wait_for_selector("text=no cookies")
    answer = visitor.page.request.get(f"{running.address}/studio/report?run=../outside")
    assert answer.status == 404


def test_teaching_is_for_trainers(people: Any, visit: Visit, runs: Path):  # noqa: F811
    visitor = visit()
    page = signed_in(visitor, "guy")
    for place in ("teach", "runs", "report?run=a"):
        assert page.request.get(f"{visitor.address}/studio/{place}").status == 403


def test_a_role_that_was_taken_away_begins_no_lesson(
    people: Any,  # noqa: F811
    running: Running,
    visit: Visit,
    lessons: list[Any],
):
    judged(running)
    people.change("ann", role="trainer")
    visitor = visit()
    signed_in(visitor, "ann")
    page = visitor.go("teach")
    people.change("ann", role="annotator")
    button(page, "Reward model").click()
    page.wait_for_selector(".q-notification >> text=does not allow it any more")
    assert lessons == []


@pytest.mark.parametrize("place", ["teach", "runs?run=a"])
def test_pages_in_chinese_in_the_dark_on_a_phone(
    running: Running, visit: Visit, runs: Path, lessons: list[Any], place: str
):
    judged(running)
    assert running.studio.workshop is not None
    lesson = running.studio.workshop.begin("sft", "tiny", 1, BOSS)
    until(lambda: (lesson.out / "sft" / "metrics.jsonl").exists())
    visitor = visit("zh-CN", viewport=PHONE, color_scheme="dark", has_touch=True)
    visitor.go(place).wait_for_selector("canvas")
    check(visitor, f"{place.partition('?')[0]}-zh-dark-phone")
