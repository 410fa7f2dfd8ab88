"""`danlu key NAME`: a new key of the API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from danlu.serve.api.keys import Scope, make_key

SUMMARY = "make a key for danlu serve, shown once: danlu key NAME [file=keys.toml]"
POSITIONAL = ("name",)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyConfig:
    name: str  # of whoever gets it
    file: Path = Path("keys.toml")  # of the server's keys; it holds their digests
    scopes: tuple[Scope, ...] = ("chat",)


def run(config: KeyConfig) -> None:
    print(make_key(config.file, config.name, config.scopes))
