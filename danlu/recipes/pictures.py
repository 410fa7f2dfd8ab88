"""`danlu pictures OUT`: the embedded world's questions about pictures, as chats for `danlu sft`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.train.checkpoint import atomic_folder
from danlu.world.seeing import COMPARE, FIND, LOOK, Mix, picture_chats
from danlu.world.splits import Split

SUMMARY = "write pictures of the embedded world with questions and answers: danlu pictures OUT"
POSITIONAL = ("out",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesConfig:
    out: Path  # folder for look.jsonl, find.jsonl, compare.jsonl, and held_out.jsonl of the split `dev`
    n_look: int = 30_000  # pictures to learn from at first, where everything is told
    n_find: int = 250_000  # pictures to learn from then, where something is to be found by its name
    n_compare: int = 250_000  # pictures to learn from last, with all questions
    n_held_out: int = 400  # pictures to measure the loss on
    n_turns: int = 1  # questions about each
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_look", "n_find", "n_compare", "n_held_out", "n_turns"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")


def run(config: PicturesConfig) -> Path:
    if config.out.exists() and any(config.out.iterdir()):
        raise ConfigError(f"out is {config.out}, which exists; name a directory that is not there yet")
    with atomic_folder(config.out) as folder:
        parts: tuple[tuple[str, Split, int, Mix | None], ...] = (
            ("look", "train", config.n_look, LOOK),
            ("find", "train", config.n_find, FIND),
            ("compare", "train", config.n_compare, COMPARE),
            ("held_out", "dev", config.n_held_out, None),
        )
        for name, split, n, mix in parts:
            chats = picture_chats(n, split, config.seed, mix=mix, n_turns=config.n_turns)
            write(folder / f"{name}.jsonl", chats)
    print(
        f"{config.n_look:,}, {config.n_find:,} and {config.n_compare:,} pictures with questions: {config.out}"
    )
    return config.out


def write(path: Path, chats: Iterable[Mapping[str, Any]]) -> None:
    """One chat a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats)
