"""Files of judgements, in any shape that is known, into the store and out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

from danlu.data import shapes as known
from danlu.data.records import DataError
from danlu.data.sources import Record, records
from danlu.feedback import exchange, shapes
from danlu.feedback.body import to_json
from danlu.feedback.errors import FeedbackError
from danlu.feedback.event import Event
from danlu.feedback.exchange import OURS, Reader, Tree
from danlu.feedback.store import Store
from danlu.tokenizer.chat import Role
from danlu.train.checkpoint import replace_file

Shape = Literal["event", "comparison", "rating", "chat"]
Given = Literal["auto", "event", "comparison", "rating", "chat"]
Wanted = Literal["events", "comparison", "rating", "chat", "pairs", "hh", "answers", "kto"]

# What the store has a place for. Whatever else a record holds travels along under `about`.
OWN_FIELDS = frozenset({OURS, "annotator", "comment", "flags", "strengths", "unfinished"})
# Used by some chats beside the fields that tell their shape.
BESIDE_TURNS = frozenset({"system", "input", "history"})


def read_events(paths: Path | Sequence[Path], shape: Given, at: str) -> list[Event]:
    """Every record of some files as events; one that cannot be read is an error that says where it stands.

    Args:
        at: the time of what has none of its own.
    """
    reader = Reader(at)
    for record in records(paths):
        try:
            _read(reader, record.fields, shape_of(record.fields) if shape == "auto" else shape)
        except (FeedbackError, known.ShapeError) as error:
            raise DataError(f"{_where(record)}: {error}. Nothing was taken in") from None
    return list(reader.events.values())


def shape_of(fields: Mapping[str, Any]) -> Shape:
    """What a record is, by its fields."""
    names = fields.keys()
    if {"id", "kind", "at"} <= names:
        return "event"
    if any(needed <= names for needed, _ in known.COMPARISONS):
        return "comparison"
    if any(needed <= names for needed, _ in known.DIALOGUES):
        return "rating" if names & known.THUMBS.keys() else "chat"
    raise FeedbackError(
        f"has fields {sorted(names)}, which is no judgement; expected a comparison ('prompt', 'completions', "
        "'ranks'; or 'chosen', 'rejected'), a chat ('messages'), or a chat with 'thumb', 'label' or 'grade'"
    )


def _read(reader: Reader, fields: Mapping[str, Any], shape: Shape) -> None:
    if shape == "event":
        reader.event(fields)
    elif shape == "comparison":
        own = fields if OURS in fields else _comparison(fields)
        reader.comparison(own, _about(fields, _used(fields, known.COMPARISONS) | {"prompt"}))
    elif shape == "rating":
        own = fields if OURS in fields else _rating(fields)
        reader.rating(own, _about(fields, _used(fields, known.DIALOGUES) | BESIDE_TURNS | {_thumb(fields)}))
    else:
        used = _used(fields, known.DIALOGUES) | BESIDE_TURNS
        reader.chat({**_besides(fields), "messages": _messages(fields)}, _about(fields, used))


def _comparison(fields: Mapping[str, Any]) -> Tree:
    ranked = known.comparison(fields)
    prompt = fields["prompt"] if _are_messages(fields.get("prompt")) else ranked.prompt
    said = {"prompt": prompt, "completions": ranked.completions, "ranks": ranked.ranks}
    return {**_besides(fields), **said}


def _rating(fields: Mapping[str, Any]) -> Tree:
    rated = known.rating(fields)
    scale = {"grade": rated.grade} if "grade" in fields else {"thumb": "up" if rated.grade > 0 else "down"}
    return {**_besides(fields), "messages": _messages(fields), **scale}


def _messages(fields: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The turns as they are, calls of tools included, where they have our shape already."""
    return fields["messages"] if _are_messages(fields.get("messages")) else known.dialogue(fields)


def _are_messages(value: Any) -> bool:
    turns = cast(list[Any], value) if isinstance(value, list) else []
    return bool(turns) and all(
        isinstance(turn, dict) and turn.get("role") in get_args(Role) and isinstance(turn.get("content"), str)
        for turn in turns
    )


def _besides(fields: Mapping[str, Any]) -> Tree:
    return {name: fields[name] for name in (*OWN_FIELDS, "id") if name in fields}


def _used(fields: Mapping[str, Any], known_shapes: Sequence[tuple[set[str], Any]]) -> frozenset[str]:
    """The fields by which a record's shape is told, and which the judgement then says in its own way."""
    return frozenset(next((needed for needed, _ in known_shapes if needed <= fields.keys()), ()))


def _thumb(fields: Mapping[str, Any]) -> str:
    """The field that holds the rating."""
    return next((name for name in known.THUMBS if name in fields), "")


def _about(fields: Mapping[str, Any], used: frozenset[str]) -> Tree:
    """What a judgement cannot say of a record; answers stay with their scores or votes, if they have any."""
    answers: Any = fields.get("answers")
    scored = isinstance(answers, list) and not all(
        isinstance(each, dict) and each.keys() <= {"text", "rank"} for each in cast(list[Any], answers)
    )
    kept = {"answers", "labels"} if scored else set[str]()
    return {name: value for name, value in fields.items() if name not in (used - kept) | OWN_FIELDS}


def _where(record: Record) -> str:
    return f"{record.source}:{record.line}"


def write_records(store: Store, out: Path, shape: Wanted, *, final: bool) -> tuple[int, Counter[str]]:
    """Write one file; how many records, and what the shape could not say."""
    left_out: Counter[str] = Counter()
    lines = [to_json(record) + "\n" for record in _records(store, shape, final, left_out)]
    if not lines:
        raise FeedbackError(f"{store.database.name}: holds nothing to export in the shape {shape!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, "".join(lines))
    return len(lines), +left_out


def _records(store: Store, shape: Wanted, final: bool, left_out: Counter[str]) -> Iterator[Tree]:
    if shape in shapes.OF_COMPARISONS:
        for record in exchange.comparisons(store, final=final):
            yield from shapes.OF_COMPARISONS[shape](record, left_out)
    elif shape in shapes.OF_RATINGS:
        for record in exchange.ratings(store):
            yield from shapes.OF_RATINGS[shape](record, left_out)
    elif shape == "comparison":
        yield from exchange.comparisons(store, final=final)
    else:
        yield from OWN[shape](store)


OWN = {"events": exchange.all_events, "chat": exchange.chats, "rating": exchange.ratings}
