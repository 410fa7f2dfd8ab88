"""Lessons: each is a process of its own and a folder, and the folder alone says all that a page shows.

The process is `python -m danlu teach …` in a session of its own. It holds a lock on a file of its folder for
as long as it lives, so that whoever opens the studio next knows whether it runs, whatever became of the
server that started it. It is stopped by the signal of Ctrl-C, upon which it writes a checkpoint.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import IO, Literal, get_args

from sqlalchemy.engine import make_url

from danlu.config import ConfigError
from danlu.feedback.errors import FeedbackError
from danlu.serve.studio.run_records import read_tree
from danlu.serve.studio.voice import Voice

Stage = Literal["sft", "reward", "ppo", "round"]
State = Literal["running", "done", "stopped", "died"]
STAGES: tuple[Stage, ...] = get_args(Stage)
NAME = re.compile(rf"(\d{{4,9}})-({'|'.join(STAGES)})")
LOG_BYTES = 8192  # of a log that are shown
LESSON, LOG, LOCK, STOPPED, USED = "lesson.json", "log.txt", "lock", "stopped", "used.json"


class LessonError(FeedbackError):
    """A lesson cannot be begun, stopped or used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One lesson as its folder says."""

    name: str
    path: Path
    stage: Stage
    model: str  # who is taught
    by: str  # who began it
    at: str  # when, ISO 8601
    state: State
    steps: Sequence[str]  # to do, as far as known
    done: Sequence[str]
    result: Mapping[str, object]

    @property
    def out(self) -> Path:
        """The run directory of `danlu teach`."""
        return self.path / "run"

    @property
    def step(self) -> str:
        """What is being done, or would be next; empty at the end."""
        return next((each for each in self.steps if each not in self.done), "")

    @property
    def made(self) -> Path | None:
        """The model that it ended in."""
        told = self.result.get("model")
        known = isinstance(told, str) and told in ("ppo/model", "sft/model")
        return self.out / str(told) if known and (self.out / str(told)).is_dir() else None

    @property
    def reward_model(self) -> Path | None:
        """The reward model that it ended in."""
        path = self.out / "reward" / "model"
        return path if self.state == "done" and path.is_dir() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where lessons are given."""

    runs: Path  # the folder of all runs; lessons lie in runs/lessons
    db: str
    models: Mapping[str, Path]  # that can be taught, by name
    load: Callable[[str, Path], Voice]  # a model that a lesson has made, to be talked with
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        return self.runs / "lessons"

    def lessons(self) -> list[Lesson]:
        """Every lesson, the newest first."""
        if not self.folder.is_dir():
            return []
        names = [each.name for each in self.folder.iterdir() if NAME.fullmatch(each.name)]
        found = [self.lesson(name) for name in sorted(names, reverse=True)]
        return [each for each in found if each is not None]

    def lesson(self, name: str) -> Lesson | None:
        """The lesson of a name; anything else than a name of ours is of none."""
        match = NAME.fullmatch(name)
        path = self.folder / name
        if match is None or not (path / LESSON).is_file():
            return None
        told, result = read_tree(path / LESSON), read_tree(path / "run" / "result.json")
        return Lesson(
            name=name,
            path=path,
            stage=next(each for each in STAGES if each == match[2]),
            model=str(told.get("model", "")),
            by=str(told.get("by", "")),
            at=str(told.get("at", "")),
            state=_state(path, bool(result)),
            steps=_names(path / "run" / "steps.json"),
            done=list(read_tree(path / "run" / "done.json")),
            result=result,
        )

    def running(self) -> Lesson | None:
        """The lesson that is being given."""
        return next((each for each in self.lessons() if each.state == "running"), None)

    def pupils(self) -> dict[str, Path]:
        """Every model that can be taught, by name: those of the studio, and those that lessons have made."""
        made = {each.name: each.made for each in self.lessons()}
        return {**self.models, **{name: path for name, path in made.items() if path is not None}}

    def latest_reward_model(self) -> Path | None:
        """What PPO alone would learn from."""
        return next((path for each in self.lessons() if (path := each.reward_model) is not None), None)

    def begin(self, stage: Stage, model: str, minutes: float, by: str) -> Lesson:
        """Begin a lesson; there is one at a time."""
        pupil = self.pupils().get(model)
        if pupil is None:
            raise LessonError(f"no model is called {model[:60]!r}; it may have been removed")
        words = ["teach", str(pupil.resolve()), f"stage={stage}", f"minutes={minutes}"]
        if stage == "ppo":
            judge = self.latest_reward_model()
            if judge is None:
                raise LessonError("PPO needs a reward model; train one first")
            words.append(f"reward_model={judge.resolve()}")
        with self.turn, told_of_the_disk("begin the lesson"):
            self._refuse_second()
            path = self._new_folder(stage)
            words += [f"out={(path / 'run').resolve()}", f"db={_location(self.db)}"]
            at = datetime.now(UTC).isoformat(timespec="seconds")
            told = {"model": model, "by": by, "at": at, "stage": stage, "words": words}
            try:
                (path / LESSON).write_text(json.dumps(told, ensure_ascii=True), encoding="ascii")
                self._start(path, words)
            except OSError:
                rmtree(path, ignore_errors=True)  # half a lesson is none
                raise
        return self._known(path.name)

    def resume(self, name: str) -> Lesson:
        """Go on with a lesson that was stopped, or died, from its last checkpoint."""
        with self.turn, told_of_the_disk("go on with the lesson"):
            lesson = self._known(name)
            if lesson.state in ("running", "done"):
                raise LessonError(f"the lesson {name} is {lesson.state}; there is nothing to go on with")
            self._refuse_second()
            words = read_tree(lesson.path / LESSON).get("words")
            if not isinstance(words, list) or words[:1] != ["teach"]:
                raise LessonError(f"{lesson.path / LESSON} is broken; begin a new lesson")
            (lesson.path / STOPPED).unlink(missing_ok=True)
            self._start(lesson.path, [str(word) for word in words])
        return self._known(name)

    def stop(self, name: str) -> Lesson:
        """Have a lesson write a checkpoint and end; asked again, it ends at once."""
        lesson = self._known(name)
        pid = read_tree(lesson.path / "pid.json").get("pid")
        if lesson.state != "running" or not isinstance(pid, int):
            raise LessonError(f"the lesson {name} is not running")
        (lesson.path / STOPPED).touch()
        try:
            os.killpg(pid, signal.SIGINT)
        except ProcessLookupError:  # it has just ended by itself
            (lesson.path / STOPPED).unlink(missing_ok=True)
        return self._known(name)

    def log(self, name: str) -> str:
        """The end of what a lesson has printed, without what would steer a terminal."""
        path = self._known(name).path / LOG
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "".join(char for char in CONTROL.sub("", text) if char.isprintable() or char in "\n\t")

    def use(self, name: str) -> Voice:
        """Load the model of a lesson, and remember that it is in use."""
        voice = self.load_again(name)
        with self.turn, told_of_the_disk("remember that the model is in use"):
            names = [each for each in self.used() if each != name]
            target, beside = self.folder / USED, self.folder / f"{USED}.new"
            beside.write_text(json.dumps({"names": [name, *names]}), encoding="ascii")
            beside.replace(target)
        return voice

    def load_again(self, name: str) -> Voice:
        """The model of a lesson, to be talked with."""
        lesson = self._known(name)
        if lesson.made is None:
            raise LessonError(f"the lesson {name} has made no model, or it was removed")
        return self.load(name, lesson.made)

    def used(self) -> list[str]:
        """The lessons whose models are in use, the last chosen first."""
        names = read_tree(self.folder / USED).get("names")
        listed = names if isinstance(names, list) else []
        return [name for name in map(str, listed) if NAME.fullmatch(name)]

    def _known(self, name: str) -> Lesson:
        lesson = self.lesson(name)
        if lesson is None:
            raise LessonError(f"there is no lesson {name[:60]!r}; it may have been removed")
        return lesson

    def _refuse_second(self) -> None:
        running = self.running()
        if running is not None:
            raise LessonError(f"the lesson {running.name} is running; wait for its end, or stop it first")

    def _new_folder(self, stage: Stage) -> Path:
        """A folder with the next number; a server beside this one that takes it first is told apart."""
        self.folder.mkdir(parents=True, exist_ok=True)
        matches = [NAME.fullmatch(each.name) for each in self.folder.iterdir()]
        number = max((int(match[1]) for match in matches if match), default=0) + 1
        path = self.folder / f"{number:04}-{stage}"
        try:
            path.mkdir()
        except FileExistsError:
            raise LessonError("another lesson is just being begun; look again") from None
        return path

    def _start(self, path: Path, words: Sequence[str]) -> None:
        with (path / LOCK).open("ab") as lock, (path / LOG).open("ab") as log:
            if not _taken(lock, fcntl.LOCK_EX):
                raise LessonError(f"the lesson {path.name} is running already")
            log.write(f"$ danlu {' '.join(words)}\n".encode("utf-8", "replace"))
            log.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "danlu", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.fileno()],  # the lock lives as long as the process
                env={**os.environ, **_password(self.db), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
            )
            (path / "pid.json").write_text(json.dumps({"pid": process.pid}), encoding="ascii")
        threading.Thread(target=process.wait, daemon=True).start()  # so that no zombie is left


@contextmanager
def told_of_the_disk(what: str) -> Generator[None]:
    """Say in plain words what could not be written."""
    try:
        yield
    except OSError as error:
        raise LessonError(
            f"could not {what}: {error.strerror or error}; see that there is room, and that danlu may write "
            "to the folder of runs, then try again. Nothing was lost"
        ) from error


def _state(path: Path, has_result: bool) -> State:
    if _is_held(path / LOCK):
        return "running"
    if has_result:
        return "done"
    return "stopped" if (path / STOPPED).exists() else "died"


def _is_held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not _taken(file, fcntl.LOCK_SH)
    except OSError:
        return False


def _taken(file: IO[bytes], kind: int) -> bool:
    """Take a lock, if nobody holds one that forbids it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(each) for each in found] if isinstance(found, list) else []


def _location(db: str) -> str:
    """Where the database is, in words that everybody on this machine may see."""
    if "://" not in db:
        return str(Path(db).resolve())
    return make_url(db)._replace(password=None).render_as_string(hide_password=False)


def _password(db: str) -> dict[str, str]:
    """The password of a URL, for the environment, which only the process's owner can read."""
    password = make_url(db).password if "://" in db else None
    return {"PGPASSWORD": str(password)} if password else {}


def check_runs(runs: Path) -> None:
    """Refuse a folder of runs that is none."""
    if runs.exists() and not runs.is_dir():
        raise ConfigError(f"runs is {runs}, which is a file; it must be a folder, which may be missing yet")


CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
