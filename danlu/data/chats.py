"""Chats, comparisons and ratings from files: our own shapes and those the field already uses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

from danlu.data import shapes
from danlu.data.images import ImageError, in_record
from danlu.data.records import DataError
from danlu.data.sources import AS_IS, ReadingConfig, Record, records
from danlu.tokenizer.chat import ChatError, Message, check_messages

SHOWN = 200  # characters of a line that an error repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One dialogue, and where it was read."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] = ()  # descriptions of those that may be called, in OpenAI's shape
    id: str = ""
    source: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """File, line and id, for messages."""
        return place(self.source, self.line, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several completions of one prompt in somebody's order of preference."""

    prompt: Sequence[Message]
    completions: Sequence[str]
    ranks: Sequence[int]  # one for each completion; 1 is best, equal = tie
    unfinished: Sequence[bool] = ()  # True where a completion was cut before its end; empty = none was
    strengths: Sequence[float] = ()  # how much better each rank is than the next; empty = nobody said
    annotator: str = ""
    weight: float = 1.0  # how many rankings it counts as
    id: str = ""
    source: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """File, line and id, for messages."""
        return place(self.source, self.line, self.id)

    @property
    def levels(self) -> list[float]:
        """Where each completion stands on the scale of the strengths: 0 for the best, others below it."""
        order = sorted(set(self.ranks))
        steps = self.strengths or [0.0] * (len(order) - 1)
        below = dict(zip(order, accumulate(steps, initial=0.0), strict=True))
        return [-below[rank] for rank in self.ranks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """One completion of a prompt, and how somebody graded it."""

    prompt: Sequence[Message]
    completion: str
    grade: int  # -2 to 2; a thumb up is 1, a thumb down -1
    unfinished: bool = False  # the completion was cut before its end
    annotator: str = ""
    id: str = ""
    source: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """File, line and id, for messages."""
        return place(self.source, self.line, self.id)

    @property
    def liked(self) -> bool:
        return self.grade > 0


def read_chats(
    paths: Path | Sequence[Path], config: ReadingConfig = AS_IS, *, images: bool = False
) -> list[Chat]:
    """Every chat of some files or folders; one that is none, or whose roles do not alternate, is an error.

    So are pictures, unless they are asked for.
    """
    return [chat_of(record, images) for record in records(paths, config)]


def read_comparisons(paths: Path | Sequence[Path], config: ReadingConfig = AS_IS) -> list[Comparison]:
    """Every comparison of some files or folders; a record that is none is an error."""
    return [comparison_of(record) for record in records(paths, config)]


def read_ratings(paths: Path | Sequence[Path], config: ReadingConfig = AS_IS) -> list[Rating]:
    """Every completion that somebody liked or disliked; a grade of 0 is neither, and left out.

    A record that is no rating is an error.
    """
    return [rating for rating in read_grades(paths, config) if rating.grade]


def read_grades(paths: Path | Sequence[Path], config: ReadingConfig = AS_IS) -> list[Rating]:
    """Every rated completion of some files or folders; a record that is none is an error."""
    return [rating_of(record) for record in records(paths, config)]


def place(source: str, line: int, record_id: str) -> str:
    """`file:line (id)`, as far as these are known."""
    where = f"{source}:{line}" if source else ""
    named = f"record {record_id!r}" if record_id else ""
    return f"{where} ({named})" if where and named else where or named or "a record"


def chat_of(record: Record, images: bool = False) -> Chat:
    """The chat that a record is; pictures are an error, unless they are asked for."""
    see = partial(in_record, folder=Path(record.source).parent) if images else None
    try:
        messages = shapes.dialogue(record.fields, see)
        check_messages(messages)
        tools = shapes.tools(record.fields)
    except (shapes.ShapeError, ChatError, ImageError) as error:
        raise _refused(record, error) from None
    return Chat(messages=messages, tools=tools, id=_id(record), source=record.source, line=record.line)


def comparison_of(record: Record) -> Comparison:
    """The comparison that a record is."""
    try:
        ranked = shapes.comparison(record.fields)
        check_messages([*ranked.prompt, {"role": "assistant", "content": ""}])
    except (shapes.ShapeError, ChatError) as error:
        raise _refused(record, error) from None
    return Comparison(
        prompt=ranked.prompt,
        completions=ranked.completions,
        ranks=ranked.ranks,
        unfinished=_unfinished(record, len(ranked.completions)),
        strengths=_strengths(record, len(set(ranked.ranks)) - 1),
        annotator=str(record.fields.get("annotator") or ""),
        id=_id(record),
        source=record.source,
        line=record.line,
    )


def rating_of(record: Record) -> Rating:
    """The rated completion that a record is."""
    try:
        rated = shapes.rating(record.fields)
        check_messages([*rated.prompt, {"role": "assistant", "content": ""}])
    except (shapes.ShapeError, ChatError) as error:
        raise _refused(record, error) from None
    unfinished: Any = record.fields.get("unfinished", False)
    if not isinstance(unfinished, bool):
        raise DataError(
            f"{record.source}:{record.line}: field 'unfinished' is {str(unfinished)[:60]}; "
            "it must be true or false"
        )
    return Rating(
        prompt=rated.prompt,
        completion=rated.completion,
        grade=rated.grade,
        unfinished=unfinished,
        annotator=str(record.fields.get("annotator") or ""),
        id=_id(record),
        source=record.source,
        line=record.line,
    )


def _unfinished(record: Record, n_completions: int) -> list[bool]:
    value: Any = record.fields.get("unfinished")
    if value is None:
        return []
    if not isinstance(value, list) or [type(each) for each in value] != [bool] * n_completions:
        raise DataError(
            f"{record.source}:{record.line}: field 'unfinished' is {str(value)[:60]}; "
            f"it must be a list of {n_completions} booleans, one for each completion"
        )
    return value


def _strengths(record: Record, n_steps: int) -> list[float]:
    value: Any = record.fields.get("strengths")
    if value is None:
        return []
    steps = cast(list[Any], value) if isinstance(value, list) else []
    if not isinstance(value, list) or len(steps) != n_steps or not all(map(_is_strength, steps)):
        raise DataError(
            f"{record.source}:{record.line}: field 'strengths' is {str(value)[:60]}; it must be a list of "
            f"{n_steps} numbers of at least 0: how much better each rank is than the next"
        )
    return [float(each) for each in steps]


def _is_strength(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def _id(record: Record) -> str:
    value = record.fields.get("id")
    return "" if value is None else str(value)


def _refused(record: Record, error: Exception) -> DataError:
    line = json.dumps(record.fields, ensure_ascii=False, default=str)
    shown = line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
    return DataError(f"{record.source}:{record.line}: {error}. The record: {shown}")
