"""Questions and replies: what is asked is asked once, and every reply is on the disk before it is used.

A run that was cut off begins again from its first round and finds the replies that it had; since all else
follows from them, it comes to the same place without asking anything twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from danlu.instruct.records import InstructError


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is asked."""

    key: str  # of this question within a run; decides the random numbers, as far as the model takes a seed
    text: str
    plain: bool = False  # a text to go on with, rather than what a user says


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What it said."""

    text: str = ""
    finished: bool = True  # False where a limit of tokens cut it
    fault: str = ""  # why there is nothing to be used


class Ask(Protocol):
    """A model: replies with the numbers of their questions, in whatever order they come."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Reply]]: ...


class Replies:
    """A file of replies in front of a model."""

    def __init__(self, path: Path, ask: Ask) -> None:
        self.path, self._ask = path, ask
        self._known = dict(_read(path)) if path.exists() else dict[str, Reply]()

    def of(self, questions: Sequence[Question]) -> list[Reply]:
        """The reply to each question; the model is asked what the file does not hold."""
        names = [_name(question) for question in questions]
        new = [i for i, name in enumerate(names) if name not in self._known]
        if new:
            with self.path.open("ab") as file:
                for number, reply in self._ask([questions[i] for i in new]):
                    i = new[number]
                    line = {"question": names[i], "key": questions[i].key, **asdict(reply)}
                    # ASCII holds whatever a model may say, halves of surrogate pairs too.
                    file.write(json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                    self._known[names[i]] = reply
        if missing := [name for name in names if name not in self._known]:
            raise InstructError(f"{len(missing)} of {len(names)} questions were left without a reply")
        return [self._known[name] for name in names]


def _name(question: Question) -> str:
    """What is asked, whole: a changed prompt is another question."""
    line = json.dumps([question.key, question.text, question.plain], ensure_ascii=True)
    return hashlib.sha256(line.encode("ascii")).hexdigest()[:32]


def _read(path: Path) -> Iterator[tuple[str, Reply]]:
    """The replies of a file; a last line that was cut is cut off."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            tree: dict[str, Any] = json.loads(line)
            name = tree["question"]
            yield name, Reply(text=tree["text"], finished=tree["finished"], fault=tree["fault"])
        except (ValueError, KeyError, TypeError):
            raise InstructError(
                f"{path}:{number}: no reply that danlu wrote; remove the line, and it is asked for again"
            ) from None
