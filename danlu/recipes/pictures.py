"""`danlu pictures OUT`: the embedded world's questions about pictures, as chats for `danlu sft`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.train.checkpoint import atomic_folder
from danlu.world.seeing import FIRST, THEN, Mix, picture_chats
from danlu.world.splits import Split

SUMMARY = "write pictures of the embedded world with questions and answers: danlu pictures OUT"
POSITIONAL = ("out",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesConfig:
    out: Path  # folder to be written: first.jsonl, then.jsonl, and held_out.jsonl of the split `dev`
    n_first: int = 50_000  # pictures to learn from at first, one thing to be found at a time
    n_then: int = 150_000  # pictures to learn from then, with all questions
    n_held_out: int = 400  # pictures to measure the loss on
    n_turns: int = 1  # questions about each
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_first", "n_then", "n_held_out", "n_turns"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")


def run(config: PicturesConfig) -> Path:
    if config.out.exists() and any(config.out.iterdir()):
        raise ConfigError(f"out is {config.out}, which exists; name a directory that is not there yet")
    with atomic_folder(config.out) as folder:
        parts: tuple[tuple[str, Split, int, Mix | None], ...] = (
            ("first", "train", config.n_first, FIRST),
            ("then", "train", config.n_then, THEN),
            ("held_out", "dev", config.n_held_out, None),
        )
        for name, split, n, mix in parts:
            chats = picture_chats(n, split, config.seed, mix=mix, n_turns=config.n_turns)
            write(folder / f"{name}.jsonl", chats)
    print(f"{config.n_first:,} and {config.n_then:,} pictures with questions: {config.out}")
    return config.out


def write(path: Path, chats: Iterable[Mapping[str, Any]]) -> None:
    """One chat a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats)
