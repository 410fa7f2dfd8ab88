"""Lessons as processes: begun, stopped, taken up, and known after whoever began them is gone."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from danlu.serve.studio import workshop as module
from danlu.serve.studio.workshop import Lesson, LessonError, Workshop

PUPIL = Path(__file__).parent / "pupil.py"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Processes in the place of the command line's."""
    real, kept = subprocess.Popen, list[Any]()

    def start(words: list[str], **how: Any) -> Any:
        assert words[:4] == [sys.executable, "-m", "danlu", "teach"]
        kept.append(real([sys.executable, str(PUPIL), *words[3:]], **how))
        return kept[-1]

    monkeypatch.setattr(module.subprocess, "Popen", start)
    return kept


@pytest.fixture
def workshop(tmp_path: Path, started: list[Any]) -> Iterator[Workshop]:
    yield make(tmp_path)
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def make(tmp_path: Path, db: str = "feedback.db") -> Workshop:
    def load(name: str, path: Path) -> Any:
        return name, path

    return Workshop(runs=tmp_path / "runs", db=db, models={"tiny": tmp_path / "tiny"}, load=load)


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def says_hello(workshop: Workshop, lesson: Lesson) -> None:
    until(lambda: "hello" in workshop.log(lesson.name))


def test_a_lesson_is_begun_stopped_taken_up_and_ends(tmp_path: Path, workshop: Workshop, started: list[Any]):
    lesson = workshop.begin("sft", "tiny", 2.5, "ann")
    assert (lesson.name, lesson.state, lesson.model, lesson.by) == ("0001-sft", "running", "tiny", "ann")
    says_hello(workshop, lesson)
    words = json.loads((lesson.path / "lesson.json").read_text())["words"]
    assert words[:4] == ["teach", str(tmp_path / "tiny"), "stage=sft", "minutes=2.5"]
    assert words[4:] == [f"out={lesson.path / 'run'}", f"db={Path('feedback.db').resolve()}"]
    assert os.getsid(started[0].pid) == started[0].pid  # a session of its own
    assert "\x1b" not in workshop.log(lesson.name)
    assert "\x07" not in workshop.log(lesson.name)

    workshop.stop(lesson.name)
    until(lambda: workshop.lessons()[0].state == "stopped")
    assert "stopped" in workshop.log(lesson.name)
    assert workshop.lessons()[0].step == "sft"

    workshop.resume(lesson.name)
    until(lambda: workshop.lessons()[0].state == "done")
    assert workshop.lessons()[0].made == lesson.path / "run" / "sft" / "model"
    with pytest.raises(LessonError, match="nothing to go on with"):
        workshop.resume(lesson.name)


def test_another_server_knows_that_it_runs_and_can_stop_it(tmp_path: Path, workshop: Workshop):
    lesson = workshop.begin("sft", "tiny", 1, "ann")
    says_hello(workshop, lesson)
    other = make(tmp_path)  # all that it knows lies on the disk
    assert [each.state for each in other.lessons()] == ["running"]
    with pytest.raises(LessonError, match="0001-sft is running; wait for its end"):
        other.begin("sft", "tiny", 1, "bob")
    other.stop(lesson.name)
    until(lambda: workshop.lessons()[0].state == "stopped")


def test_a_process_that_was_killed_is_told_from_one_that_was_stopped(workshop: Workshop, started: list[Any]):
    lesson = workshop.begin("sft", "tiny", 1, "ann")
    says_hello(workshop, lesson)
    os.killpg(started[0].pid, signal.SIGKILL)
    until(lambda: workshop.lessons()[0].state == "died")
    with pytest.raises(LessonError, match="is not running"):
        workshop.stop(lesson.name)
    workshop.resume(lesson.name)
    until(lambda: workshop.lessons()[0].state == "done")


def test_the_number_of_a_process_says_nothing_once_the_lock_is_free(workshop: Workshop, started: list[Any]):
    lesson = workshop.begin("sft", "tiny", 1, "ann")
    says_hello(workshop, lesson)
    os.killpg(started[0].pid, signal.SIGKILL)
    until(lambda: workshop.lessons()[0].state == "died")
    (lesson.path / "pid.json").write_text(json.dumps({"pid": os.getpid()}))  # somebody else's by now
    with pytest.raises(LessonError, match="is not running"):
        workshop.stop(lesson.name)


def test_what_was_made_is_taught_on_and_used(tmp_path: Path, workshop: Workshop):
    lesson = workshop.begin("sft", "tiny", 1, "ann")
    says_hello(workshop, lesson)
    workshop.stop(lesson.name)
    until(lambda: workshop.lessons()[0].state == "stopped")
    with pytest.raises(LessonError, match="has made no model"):
        workshop.use(lesson.name)
    workshop.resume(lesson.name)
    until(lambda: workshop.lessons()[0].state == "done")
    assert list(workshop.pupils()) == ["tiny", "0001-sft"]
    assert workshop.use("0001-sft") == ("0001-sft", lesson.path / "run" / "sft" / "model")
    assert make(tmp_path).used() == ["0001-sft"]
    (lesson.path / "run" / "sft" / "model").rmdir()
    assert list(workshop.pupils()) == ["tiny"]
    with pytest.raises(LessonError, match="or it was removed"):
        workshop.load_again("0001-sft")


def test_a_password_is_in_no_command_and_no_file(tmp_path: Path, started: list[Any], workshop: Workshop):
    remote = make(tmp_path, "postgresql://ann:secret@localhost/feedback")
    lesson = remote.begin("sft", "tiny", 1, "ann")
    says_hello(remote, lesson)
    assert "db=postgresql://ann@localhost/feedback" in started[-1].args
    files = [each.read_text() for each in lesson.path.rglob("*") if each.is_file()]
    assert not any("secret" in text for text in files)
    assert "PGPASSWORD=secret" in Path(f"/proc/{started[-1].pid}/environ").read_text()


@pytest.mark.parametrize("name", ["../0001-sft", "0001-rm", "x", "", "0001-sft/..", "9999-sft"])
def test_names_that_are_none_of_ours_are_of_no_lesson(workshop: Workshop, name: str):
    for act in (workshop.stop, workshop.resume, workshop.use, workshop.log):
        with pytest.raises(LessonError, match="there is no lesson"):
            act(name)


def test_what_is_lacking_is_said(workshop: Workshop):
    with pytest.raises(LessonError, match="PPO needs a reward model"):
        workshop.begin("ppo", "tiny", 1, "ann")
    with pytest.raises(LessonError, match="no model is called 'other'"):
        workshop.begin("sft", "other", 1, "ann")
    assert workshop.lessons() == []


@contextmanager
def no_room() -> Generator[None]:
    """No file of this process can grow, as on a full disk."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)


def test_a_full_disk_is_told_and_leaves_no_half_lesson(workshop: Workshop):
    with no_room(), pytest.raises(LessonError, match=r"could not begin the lesson: .*see that there is room"):
        workshop.begin("sft", "tiny", 1, "ann")
    assert workshop.lessons() == []
    lesson = workshop.begin("sft", "tiny", 1, "ann")  # there is room again
    says_hello(workshop, lesson)
    workshop.stop(lesson.name)
    until(lambda: workshop.lessons()[0].state == "stopped")
    with no_room(), pytest.raises(LessonError, match="could not go on with the lesson"):
        workshop.resume(lesson.name)
    workshop.resume(lesson.name)
    until(lambda: workshop.lessons()[0].state == "done")
    with no_room(), pytest.raises(LessonError, match="could not remember"):
        workshop.use(lesson.name)
    assert workshop.used() == []
    workshop.use(lesson.name)
    assert workshop.used() == [lesson.name]
