"""Files of one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from danlu.train.checkpoint import replace_file


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One object a line, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
