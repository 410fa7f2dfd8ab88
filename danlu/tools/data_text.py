"""Data as text that a model may read: JSON in which nothing looks like a marker, whatever was in the data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date
from typing import Any, cast

from danlu.tools.visible import is_safe, whole_unicode

# Our own encoder cannot make a control token of text. Programs that run an exported model through its
# template can: they find <|…|>, <tool_call> and the like in the text. As \u003c the sign is the same to JSON
# and a marker to nobody.
MARKER = re.compile(r"<(?=[^\s\d=])")


def as_text(value: Any, limit: int) -> str:
    """A value as JSON of at most about `limit` characters; what was cut is said.

    Raises:
        TypeError, ValueError: if it holds something that JSON has no form for.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    if len(text) > limit:
        text = json.dumps(
            {"cut": f"{limit} of {len(text)} characters", "begins": text[:limit]}, ensure_ascii=False
        )
    return "".join(each if is_safe(each) else _escaped(each) for each in MARKER.sub("\\\\u003c", text))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {whole_unicode(str(key)): _plain(each) for key, each in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast(list[Any], value)]
    if isinstance(value, date):
        return value.isoformat()
    return whole_unicode(value) if isinstance(value, str) else value


def _escaped(character: str) -> str:
    """JSON's escape of it: one UTF-16 unit, or two."""
    raw = character.encode("utf-16-be")
    return "".join(f"\\u{raw[i : i + 2].hex()}" for i in range(0, len(raw), 2))
