"""A `config.json` read key by key: what cannot be used is told with its file and what would be right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.model.tensor_file import ModelFileError


@dataclass(frozen=True, slots=True)
class Settings:
    """The tree in a `config.json`; null is as good as absent."""

    where: Path
    tree: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        value = self.tree.get(key)
        return default if value is None else value

    def integer(self, key: str, default: int | None = None) -> int:
        """A positive whole number."""
        value = self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise self.wrong(key, value, "a positive whole number")
        return value

    def number(self, key: str, default: float) -> float:
        value = self.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.wrong(key, value, "a number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def choice(self, key: str, table: Mapping[str, Any], default: str) -> Any:
        """What `table` has under the name that stands there."""
        value = self.get(key, default)
        if not isinstance(value, str) or value not in table:
            raise self.wrong(key, value, " or ".join(map(repr, table)))
        return table[value]

    def only(self, **allowed: Any) -> None:
        """Settings that change the arithmetic as our parts cannot must not be read as if absent."""
        for key, value in allowed.items():
            if self.get(key, value) != value:
                raise ModelFileError(f"{self.where}: {key} is {self.tree[key]!r}; only {value!r} can be read")

    def wrong(self, key: str, value: Any, right: str) -> ModelFileError:
        """The error of a value that cannot be."""
        return ModelFileError(f"{self.where}: {key} is {value!r}; it must be {right}")
