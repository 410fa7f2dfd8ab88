"""Which side of the exam a thing falls on: one stable hash, so that no two parts of the world disagree."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Literal, get_args

Split = Literal["train", "dev", "exam"]
SPLITS: tuple[Split, ...] = get_args(Split)


def stable_hash(*key: object) -> int:
    """A 64-bit number that depends on nothing but the text of `key`: the same on every machine and run."""
    text = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def split_of(*key: object) -> Split:
    """60 % train, 8 % dev, 32 % exam."""
    place = stable_hash("split", *key) % 100
    return "train" if place < 60 else "dev" if place < 68 else "exam"


def sum_split(left: int, operator: str, right: int) -> Split:
    """The split of one written sum; `+` and `*` count as the same sum in either order.

    The corpus and the demonstrations write out only sums of the train and dev splits.
    """
    if operator in "+*":
        left, right = sorted((left, right))
    return split_of("sum", left, operator, right)


def generator(*key: object) -> Random:
    """Random numbers that depend on nothing but `key`, so that nothing has to carry their state."""
    return Random(stable_hash("generator", *key))
