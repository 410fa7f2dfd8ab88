"""What holds whichever database is asked: limits of the process and its answers, and words for refusals."""

from __future__ import annotations

import datetime
import decimal
import json
import resource
from collections.abc import Iterable, Sequence
from typing import Any


class RefusedError(Exception):
    """A request that is not served; the text is for whoever made it."""


def confine(memory: int) -> None:
    """Grant this process so many bytes of memory, and no files."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file of any kind is ever written
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def quoted(name: str) -> str:
    """The name of a table or column as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def taken(columns: list[str], found: Iterable[Sequence[Any]], limits: dict[str, Any]) -> dict[str, Any]:
    """As many rows as are granted."""
    rows: list[list[Any]] = []
    n_bytes, cut = 0, False
    for row in found:
        cells = [_cell(each, limits["cell_characters"]) for each in row]
        n_bytes += len(json.dumps(cells))
        if len(rows) == limits["rows"] or n_bytes > limits["answer_bytes"]:
            cut = True
            break
        rows.append(cells)
    return {"columns": columns, "rows": rows, "cut": cut}


def _cell(value: Any, limit: int) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    value = _plain(value)
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]}… ({len(value):,} characters)"
    return value


def _plain(value: Any) -> Any:
    """A value as SQLite would give it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, decimal.Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return (
        json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    )


MEANINGS = {
    "interrupted": "the statement takes too long; narrow it down, or join on an indexed column",
    "locked": "the database is locked by another program; try again later",
    "malformed": "the database is damaged: its content does not fit its own structure",
    "not a database": "the file is no SQLite database, or it is encrypted",
    "out of memory": "the statement needs more memory than is granted",
    "string or blob too big": "a value on the way is larger than is granted",
    "not authorized": "the statement does something else than reading its tables",
    "prohibited": "the statement reads something it may not",
}
