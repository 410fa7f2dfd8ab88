"""A record made readable: what was said by whom, answers with their ranks, and the rest in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

MOST_PARTS = 64  # of a record
MOST_CHARS = 6000  # of a part
SMALL = 200  # characters of a value that stands among others in one line
SPEAKERS: Mapping[str, str] = {"human": "user", "gpt": "assistant", "bot": "assistant", "function": "tool"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of a record."""

    name: str  # of the field, or who speaks
    text: str
    speaks: bool = False  # the name is a speaker's
    rank: int | None = None  # 1 is best
    n_left_out: int = 0  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A record as it is shown."""

    parts: Sequence[Part]
    about: str  # small values, as `name = value`


def laid_out(tree: Mapping[str, Any]) -> Shown:
    """What to show of a record, whatever it is."""
    parts: list[Part] = []
    small: list[str] = []
    for name, value in tree.items():
        if name == "ranks" and "completions" in tree:
            continue
        made = list(_parts(name, value, tree))
        parts += made
        if not made:
            small.append(f"{name[:100]} = {(value if isinstance(value, str) else _json(value))[:SMALL]}")
    return Shown(parts=parts[:MOST_PARTS], about=" · ".join(small))


def _parts(name: str, value: Any, tree: Mapping[str, Any]) -> Iterator[Part]:
    if name == "completions" and isinstance(value, list):
        yield from _ranked(cast(list[Any], value), tree.get("ranks"))
    elif _is_turns(value):
        yield from (_turn(each) for each in cast(list[Mapping[str, Any]], value))
    elif isinstance(value, str) and (len(value) > SMALL or "\n" in value or name in TEXTS):
        yield _part(name, value, rank={"chosen": 1, "rejected": 2}.get(name))
    elif isinstance(value, dict | list) and len(_json(value)) > SMALL:
        yield _part(name, _json(value, indent=1))


def _ranked(completions: list[Any], ranks: Any) -> Iterator[Part]:
    known = cast(list[Any], ranks) if isinstance(ranks, list) else []
    for at, each in enumerate(completions):
        rank = known[at] if at < len(known) and type(known[at]) is int else None
        yield _part(f"completions[{at}]", each if isinstance(each, str) else _json(each), rank=rank)


def _is_turns(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(
        isinstance(each, dict) and bool({"role", "from"} & cast(dict[str, Any], each).keys())
        for each in cast(list[Any], value)
    )


def _turn(turn: Mapping[str, Any]) -> Part:
    said = str(turn.get("role", turn.get("from")))[:60]
    content = turn.get("content", turn.get("value"))
    rest = {key: value for key, value in turn.items() if key not in ("role", "from", "content", "value")}
    text = content if isinstance(content, str) else "" if content is None else _json(content)
    if rest:
        text = f"{text}\n{_json(rest)}".strip()
    return _part(SPEAKERS.get(said, said), text, speaks=True)


def _part(name: str, text: str, *, speaks: bool = False, rank: int | None = None) -> Part:
    n_left_out = max(len(text) - MOST_CHARS, 0)
    return Part(name=name[:100], text=text[:MOST_CHARS], speaks=speaks, rank=rank, n_left_out=n_left_out)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


TEXTS = frozenset(
    {"text", "prompt", "completion", "chosen", "rejected", "instruction", "input", "output", "response"}
    | {"question", "answer", "system", "content", "target", "en", "zh"}
)
