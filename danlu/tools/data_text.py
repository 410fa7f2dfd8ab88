"""Data as text that a model may read: JSON in which nothing looks like a marker, whatever was in the data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date
from typing import Any, cast

from danlu.tools.visible import whole_unicode

# Our own encoder cannot make a control token of text. Programs that run an exported model through its
# template can: they find <|…|>, <tool_call> and the like in the text. As \u003c the sign is the same to JSON
# and a marker to nobody.
MARKER = re.compile(r"<(?=[^\s\d=])")
# Invisible format characters, line separators and controls, likewise.
UNSEEN = re.compile(
    "[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


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
    return UNSEEN.sub(_escaped, MARKER.sub("\\\\u003c", text))


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


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
