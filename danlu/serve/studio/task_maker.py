"""Tasks made from prompts, beside all else: models answer, and each task joins the queue when it is ready.

A job belongs to the server. What it has made stays if it is stopped, or the server is; started again with the
same prompts it makes further tasks, for answers are drawn anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast
from uuid import uuid4

from starlette.exceptions import HTTPException

from danlu.data import shapes as known
from danlu.feedback.body import Origin, plain
from danlu.feedback.errors import FeedbackError
from danlu.feedback.exchange import Reader
from danlu.feedback.store import Store
from danlu.serve.studio.replies import Sampling, one_answer
from danlu.serve.studio.voice import Voice

FEWEST, MOST = 2, 9  # answers to one prompt, as many as keys rank
MOST_PROMPTS = 2000  # of one job
AT_ONCE = 4  # answers under way; people who chat meanwhile have their own share
KEPT = 20  # jobs that are still told of

Work = Literal["rank", "demonstrate"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt, with the answers that a file gave with it, and where it stood."""

    messages: Sequence[Mapping[str, Any]]
    completions: Sequence[str]
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to make of each prompt."""

    do: Work = "rank"
    speakers: Sequence[tuple[Voice, Sampling]] = ()  # take turns in answering
    n_answers: int = 4  # to rank; of a demonstration 1 is a draft, 0 is none
    overlap: int = 1  # people who do each task
    guideline: str = ""

    def __post_init__(self) -> None:
        least, most = (FEWEST, MOST) if self.do == "rank" else (0, 1)
        if not least <= self.n_answers <= most:
            raise FeedbackError(
                f"{self.n_answers} answers to a prompt; to {self.do} there must be {least} to {most}"
            )
        if self.n_answers and not self.speakers:
            raise FeedbackError("no model was chosen; choose at least one")


@dataclass(slots=True, kw_only=True)
class Job:
    """How far the making of some tasks has come."""

    id: str = field(default_factory=lambda: uuid4().hex)
    person: str  # who began it
    wanted: Wanted
    n_prompts: int
    n_done: int = 0
    n_known: int = 0  # tasks that were there before
    faults: list[str] = field(default_factory=list[str])  # prompts that no task came of, and why
    state: Literal["running", "done", "stopped"] = "running"
    task: asyncio.Task[None] | None = None


class TaskMaker:
    """All jobs of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: list[Job] = []

    @property
    def jobs(self) -> Sequence[Job]:
        """The newest first."""
        return self._jobs[::-1]

    def begin(self, person: str, asked: Sequence[Asked], wanted: Wanted) -> Job:
        """Make a task of each prompt, beside all else."""
        job = Job(person=person, wanted=wanted, n_prompts=len(asked))
        job.task = asyncio.create_task(self._run(job, asked))
        ended = [each for each in self._jobs if each.state != "running"]
        for old in ended[: max(0, len(ended) - KEPT)]:
            self._jobs.remove(old)
        self._jobs.append(job)
        return job

    def stop(self, job: Job) -> None:
        """End a job; the tasks that are made stay."""
        if job.task is not None and job.state == "running":
            job.task.cancel()

    async def end(self) -> None:
        """Stop everything."""
        tasks = [job.task for job in self._jobs if job.task is not None and job.state == "running"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job, asked: Sequence[Asked]) -> None:
        turn = asyncio.Semaphore(AT_ONCE)
        try:
            for each in asked:
                try:
                    await self._make(job, each, turn)
                except (HTTPException, FeedbackError) as error:
                    why = error.detail if isinstance(error, HTTPException) else error
                    job.faults.append(f"{each.where}: {why}")
                job.n_done += 1
            job.state = "done"
        except asyncio.CancelledError:
            job.state = "stopped"

    async def _make(self, job: Job, asked: Asked, turn: asyncio.Semaphore) -> None:
        wanted = job.wanted
        completions: list[Mapping[str, Any]] = [{"content": each} for each in asked.completions]
        if not completions:
            speakers = [wanted.speakers[i % len(wanted.speakers)] for i in range(wanted.n_answers)]
            answers = await _all([self._answer(asked, *each, turn) for each in speakers])
            completions = [{"content": text, "origin": plain(origin)} for text, origin in answers]
        reader = Reader(datetime.now(UTC).isoformat(timespec="microseconds"))
        how: dict[str, Any] = {"do": wanted.do, "overlap": wanted.overlap}
        if wanted.guideline:
            how["guideline"] = wanted.guideline
        reader.task(asked.messages, completions, **how)
        taken = await asyncio.to_thread(self._store.take_in, list(reader.events.values()))
        job.n_known += taken.known["task"]

    async def _answer(
        self, asked: Asked, voice: Voice, sampling: Sampling, turn: asyncio.Semaphore
    ) -> tuple[str, Origin]:
        async with turn:
            return await one_answer(voice, "tasks", asked.messages, sampling)


async def _all(work: Sequence[Any]) -> list[tuple[str, Origin]]:
    """The answers in order; where one fails the others are ended."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def read_prompts(text: str) -> list[Asked]:
    """Prompts, one a line: plain text, or records with `prompt` or `messages`, and perhaps `completions`.

    A text whose first line begins with a brace is read as records.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise FeedbackError("there are no prompts; write one a line, or choose a file")
    if len(lines) > MOST_PROMPTS:
        raise FeedbackError(f"there are {len(lines):,} prompts; at most {MOST_PROMPTS:,} are taken at once")
    as_records = lines[0][1].startswith("{")
    return list(_records(lines) if as_records else _plain(lines))


def _plain(lines: Sequence[tuple[int, str]]) -> Iterator[Asked]:
    for number, line in lines:
        yield Asked([{"role": "user", "content": line}], (), f"line {number}")


def _records(lines: Sequence[tuple[int, str]]) -> Iterator[Asked]:
    for number, line in lines:
        where = f"line {number}"
        try:
            fields: Any = json.loads(line)
        except (ValueError, RecursionError):
            raise FeedbackError(
                f"{where} is no JSON, but the first line is; write records or plain text"
            ) from None
        if not isinstance(fields, dict):
            raise FeedbackError(f"{where} is no JSON object; a record has 'prompt' or 'messages'")
        record = cast(dict[str, Any], fields)
        try:
            messages = cast(list[Mapping[str, Any]], known.prompt(record))
        except known.ShapeError as error:
            raise FeedbackError(f"{where} {error}") from None
        texts = record.get("completions", [])
        if not isinstance(texts, list) or not all(isinstance(each, str) for each in cast(list[Any], texts)):
            raise FeedbackError(f"{where}: field 'completions' must be a list of texts")
        yield Asked(messages, cast(list[str], texts), where)
