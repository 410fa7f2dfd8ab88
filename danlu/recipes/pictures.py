"""`danlu pictures OUT`: the embedded world's questions about pictures, as chats for `danlu sft`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.train.checkpoint import atomic_folder
from danlu.world.seeing import N_TURNS, picture_chats

SUMMARY = "write pictures of the embedded world with questions and answers: danlu pictures OUT"
POSITIONAL = ("out",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesConfig:
    out: Path  # folder to be written: train.jsonl, and held_out.jsonl with questions of the split `dev`
    n: int = 12_000  # pictures to learn from
    n_held_out: int = 200  # pictures to measure the loss on
    n_turns: int = N_TURNS  # questions about each
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n", "n_held_out", "n_turns"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")


def run(config: PicturesConfig) -> Path:
    if config.out.exists() and any(config.out.iterdir()):
        raise ConfigError(f"out is {config.out}, which exists; name a directory that is not there yet")
    with atomic_folder(config.out) as folder:
        write(folder / "train.jsonl", picture_chats(config.n, "train", config.seed, config.n_turns))
        write(folder / "held_out.jsonl", picture_chats(config.n_held_out, "dev", config.seed, config.n_turns))
    print(f"{config.n:,} pictures with questions: {config.out / 'train.jsonl'}")
    return config.out


def write(path: Path, chats: Iterable[Mapping[str, Any]]) -> None:
    """One chat a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats)
