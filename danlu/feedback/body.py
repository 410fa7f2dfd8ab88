"""What every record of an event has, and what names, ids and times must look like."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar

from danlu.feedback.errors import FeedbackError

EVENT_ID = re.compile(r"[0-9a-f]{32}")
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What one event says; `kind` names the class in the database and in files."""

    kind: ClassVar[str] = ""

    @property
    def subject(self) -> str:
        """The id by which the event is looked up; empty = none."""
        return ""

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each id that must be known before, and the kinds it may be of."""
        return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a model came to write a text."""

    model: str = ""  # SHA-256 of its weights
    name: str = ""  # as people call it
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()  # of each token, in nats
    unfinished: bool = False  # cut before its end

    def __post_init__(self) -> None:
        if self.token_ids and self.logprobs and len(self.token_ids) != len(self.logprobs):
            raise FeedbackError(
                f"{len(self.token_ids)} token_ids but {len(self.logprobs)} logprobs; each token needs one"
            )


def plain(value: Any) -> dict[str, Any]:
    """A record as plain values, as JSON has them; fields that hold their default are left out."""
    found: dict[str, Any] = {}
    for each in fields(value):
        held = getattr(value, each.name)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if held != default:
            found[each.name] = plain(held) if isinstance(held, Origin) else _listed(held)
    return found


def _listed(value: Any) -> Any:
    """Tuples as lists, and mappings as dicts, all the way down."""
    if isinstance(value, Mapping):
        return {str(key): _listed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(each) for each in value]
    return value


def to_json(value: Any) -> str:
    """One line of JSON that any UTF-8 file can hold; half a surrogate pair is written as an escape."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FeedbackError(f"cannot be written as JSON: {error}") from None
    return SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def derived_id(*parts: Any) -> str:
    """An id that depends on content alone, so that what is read twice is kept once."""
    line = json.dumps(parts, ensure_ascii=True, sort_keys=True, default=asdict)
    return hashlib.sha256(line.encode("ascii")).hexdigest()[:32]


def checked_id(value: str) -> str:
    """An id of ours: 32 hexadecimal digits."""
    if not EVENT_ID.fullmatch(value):
        raise FeedbackError(f"the id {value[:60]!r} is not one of this store; ids are 32 hexadecimal digits")
    return value


def checked_name(value: str) -> str:
    """A person's name, which may be any short line of text."""
    if len(value) > 200 or any(ord(char) < 32 or SURROGATE.match(char) for char in value):
        raise FeedbackError(
            f"the name {value[:60]!r} cannot be used; it must be one line of at most 200 characters"
        )
    return value


def check_time(at: str) -> None:
    """A time that can be compared with others."""
    try:
        datetime.fromisoformat(at)
    except ValueError:
        raise FeedbackError(f"the time is {at[:60]!r}; it must be in ISO 8601") from None


def check_seconds(seconds: float) -> None:
    """Time taken is a length of time."""
    if not 0 <= seconds < math.inf:
        raise FeedbackError(f"seconds is {seconds}; it must be at least 0")


def is_strength(value: float) -> bool:
    """A number of at least 0."""
    return 0 <= value < math.inf
