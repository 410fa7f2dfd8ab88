"""Tasks for people: prompts with completions that a model made beforehand, or makes now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from danlu.config import ConfigError, to_tree
from danlu.data import shapes as known
from danlu.data.records import DataError
from danlu.data.sources import records
from danlu.feedback.errors import FeedbackError
from danlu.feedback.exchange import Reader, Tree
from danlu.feedback.records import Doing
from danlu.feedback.store import Store
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.hf import load_language_model
from danlu.recipes.model_files import model_dir
from danlu.recipes.stage import chat_format_of
from danlu.tokenizer.chat import Message
from danlu.train.checkpoint import sha256

AT_ONCE = 64  # prompts sampled together


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksConfig:
    prompts: Path  # records with 'prompt' or 'messages'; with 'completions' too, unless a model makes them
    db: str = "feedback.db"  # SQLite file, or postgresql://user@host/name
    do: Doing = "rank"  # demonstrate: people write the answer
    model: Path | None = None  # model directory or run directory that makes the completions now
    n_completions: int = 4  # by the model, for each prompt
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(max_new_tokens=256))
    overlap: int = 1  # people who do each task
    doubled: float = 0.1  # share of the tasks that one person more does, to know how far people agree
    draft: bool = False  # with do=demonstrate: the record's one completion is shown, to be made better
    gold: bool = False  # the records' 'ranks' are right: they measure people, who are not told
    guideline: str = ""  # shown beside each task

    def __post_init__(self) -> None:
        if not 0 <= self.doubled <= 1:
            raise ConfigError(f"doubled is {self.doubled}; it must be from 0 to 1")
        if self.gold and (self.do != "rank" or self.model is not None):
            raise ConfigError("gold questions are rankings that somebody has made; leave out do and model")
        if self.draft and self.do != "demonstrate":
            raise ConfigError(f"draft is true and do is {self.do!r}; drafts belong to do=demonstrate")
        if self.n_completions < 1:
            raise ConfigError(f"n_completions is {self.n_completions}; it must be at least 1")


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt with its answers, and where it was read."""

    prompt: Sequence[Mapping[str, Any]]
    completions: Sequence[Tree]  # content, origin
    ranks: Sequence[int]
    where: str


def make_tasks(config: TasksConfig) -> None:
    """Add the tasks, all of them or none; those that are there already stay as they are."""
    asked = list(read_prompts(config.prompts))
    if config.model is not None:
        asked = list(answered(asked, config.model, config))
    reader = Reader(datetime.now(UTC).isoformat(timespec="microseconds"))
    for each in asked:
        try:
            add_task(reader, each, config)
        except FeedbackError as error:
            raise DataError(f"{each.where}: {error}. No task was made") from None
    with Store.open(config.db) as store:
        taken = store.take_in(list(reader.events.values()))
    before = f"; {taken.known['task']:,} were there before" if taken.known["task"] else ""
    print(f"{taken.new['task']:,} tasks to {config.do}: {config.db}{before}")


def add_task(reader: Reader, asked: Asked, config: TasksConfig) -> None:
    """One task with as many people as are to do it."""
    how: Tree = {"do": config.do, "overlap": config.overlap}
    if config.guideline:
        how["guideline"] = config.guideline
    if config.gold:
        if not asked.ranks:
            raise FeedbackError("has no 'ranks'; a gold question needs them")
        how["gold"] = list(asked.ranks)
    # Which tasks are doubled depends on the prompt alone: the same file makes the same tasks.
    elif Random(str(asked.prompt)).random() < config.doubled:
        how["overlap"] += 1
    shown = asked.completions if config.do != "demonstrate" or config.draft else ()
    reader.task(asked.prompt, shown, **how)


def read_prompts(path: Path) -> Iterator[Asked]:
    """The prompts of a file, with the completions and ranks that it holds."""
    for record in records(path):
        fields, where = record.fields, f"{record.source}:{record.line}"
        try:
            prompt = known.prompt(fields)
        except known.ShapeError as error:
            raise DataError(f"{where}: {error}") from None
        texts: Any = fields.get("completions", [])
        if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
            raise DataError(
                f"{where}: field 'completions' is {str(texts)[:60]!r}; it must be a list of texts"
            )
        origins: Any = fields.get("origins") or [{}] * len(texts)
        if not isinstance(origins, list) or len(origins) != len(texts):
            raise DataError(
                f"{where}: field 'origins' must be a list of {len(texts)} objects, one a completion"
            )
        completions = [
            {"content": text, **({"origin": origin} if origin else {})}
            for text, origin in zip(texts, origins, strict=True)
        ]
        yield Asked(prompt, completions, fields.get("ranks") or (), where)


def answered(asked: Sequence[Asked], model: Path, config: TasksConfig) -> Iterator[Asked]:
    """The prompts with several completions of a model, each with its log-probabilities."""
    path = model_dir(model)
    chat_format, name = chat_format_of(path), model_digest(path)
    sampler = Sampler(load_language_model(path).eval(), stop_ids=chat_format.stop_ids, max_batch=AT_ONCE)
    n = config.n_completions
    prompts = [chat_format.prompt(messages(each.prompt)) for each in asked]
    made = sampler.generate(prompts, config.sampling, n=n)
    for number, each in enumerate(asked):
        completions = [
            {
                "content": chat_format.parse(one.ids)["content"],
                "origin": {
                    "model": name,
                    "name": str(model),
                    "sampling": to_tree(config.sampling),
                    "token_ids": list(one.ids),
                    "logprobs": list(one.logprobs),
                    **({"unfinished": True} if one.finish_reason == "length" else {}),
                },
            }
            for one in made[number * n : (number + 1) * n]
        ]
        yield Asked(each.prompt, completions, (), each.where)


def messages(prompt: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Plain values as messages; what they hold was checked when they were read."""
    return [{"role": each["role"], "content": each["content"]} for each in prompt]


def model_digest(model: Path) -> str:
    """SHA-256 over the files of weights of a model directory: which model it was, wherever it lies."""
    digest = hashlib.sha256()
    for file in sorted(model.glob("*.safetensors")):
        digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()
