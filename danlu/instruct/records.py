"""What goes in and what comes out: tasks with their answers, as people or a model wrote them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.data import shapes
from danlu.data.language import Lang, identify
from danlu.data.records import DataError
from danlu.data.sources import Record, records
from danlu.tokenizer.chat import ChatError, Message, check_messages


class InstructError(RuntimeError):
    """The model cannot be asked; the message says what happened and how to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task, what it works on, and its answer."""

    id: str
    task: str
    material: str = ""  # empty: the task can be done as it stands
    answer: str
    lang: Lang

    @property
    def question(self) -> str:
        """What the user says."""
        return f"{self.task}\n{self.material}" if self.material else self.task

    @property
    def messages(self) -> list[Message]:
        return [{"role": "user", "content": self.question}, {"role": "assistant", "content": self.answer}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What people gave to begin from."""

    seeds: Sequence[Done]
    avoid: Sequence[str] = ()  # texts that nothing may repeat, such as the questions of an exam


@dataclass(frozen=True, slots=True, kw_only=True)
class Made(Done):
    """One that a model made, and how."""

    shown: tuple[str, ...]  # ids of the tasks that it was shown
    similarity: float  # ROUGE-L to the closest task before it
    round: int
    score: float | None = None  # by the reward model

    def to_tree(self, by: Mapping[str, Any]) -> dict[str, Any]:
        """A chat record with its provenance.

        Args:
            by: which model was asked, and how it was sampled from.
        """
        made: dict[str, Any] = {"task": self.task, "material": self.material, "shown": list(self.shown)}
        made |= {"similarity": round(self.similarity, 4), "round": self.round, **by}
        made |= {} if self.score is None else {"score": self.score}
        return {"id": self.id, "messages": self.messages, "lang": self.lang, "made": made}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What was made and not kept."""

    why: str
    text: str
    round: int
    like: str = ""  # id of what it is too much like


@dataclass(slots=True)
class Outcome:
    """What a run has come to so far."""

    kept: list[Made] = field(default_factory=list[Made])
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    n_questions: int = 0
    rounds: int = 0


def read_seeds(paths: Path | Sequence[Path], languages: Sequence[str]) -> list[Done]:
    """The first question and answer of each chat; those in other languages are left out.

    A record with `instruction`, `input` and `output` says itself what is task and what is material.
    """
    found = [_seed(record) for record in records(paths)]
    seeds = [seed for seed in found if seed.lang in languages]
    if not seeds:
        raise DataError(
            f"{paths}: none of the {len(found)} seeds is in {' or '.join(languages)}; add some, or name "
            "their language in filters.languages"
        )
    return seeds


def _seed(record: Record) -> Done:
    where = f"{record.source}:{record.line}"
    try:
        turns = shapes.dialogue(record.fields)
        check_messages(turns)
    except (shapes.ShapeError, ChatError) as error:
        raise DataError(f"{where}: {error}") from None
    said = [turn for turn in turns if turn["role"] != "system"]
    if len(said) < 2 or not said[0]["content"].strip() or not said[1]["content"].strip():
        raise DataError(f"{where}: a seed needs a question and its answer, and one of them is missing")
    task, material = _parted(record.fields, said[0]["content"])
    answer = said[1]["content"].strip()
    name = str(record.fields.get("id") or id_of(task, material, answer))
    return Done(id=name, task=task, material=material, answer=answer, lang=identify(f"{task}\n{material}"))


def _parted(fields: Mapping[str, Any], question: str) -> tuple[str, str]:
    """Task and material, where a record keeps them apart."""
    made = fields.get("made")
    for tree, task, material in ((fields, "instruction", "input"), (made, "task", "material")):
        if isinstance(tree, Mapping) and isinstance(tree.get(task), str) and tree[task].strip():
            return tree[task].strip(), str(tree.get(material) or "").strip()
    return question.strip(), ""


def id_of(*parts: str) -> str:
    """An id that depends on content alone."""
    line = json.dumps(parts, ensure_ascii=True).encode("ascii")
    return hashlib.blake2b(line, digest_size=8).hexdigest()


def check_share(name: str, value: float) -> None:
    """A share of something, and not nothing of it."""
    if not 0 < value <= 1:
        raise ConfigError(f"{name} is {value}; it must be above 0 and at most 1")
