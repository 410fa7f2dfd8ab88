"""`danlu key NAME FILE`: a new key of the API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from danlu.serve.api.keys import Scope, make_key

SUMMARY = "make a key for `danlu serve keys=FILE`, shown once: danlu key NAME FILE"
POSITIONAL = ("name", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyConfig:
    name: str  # of whoever gets it
    file: Path  # of the server's keys; it holds their digests
    scopes: tuple[Scope, ...] = ("chat",)


def run(config: KeyConfig) -> None:
    print(make_key(config.file, config.name, config.scopes))
