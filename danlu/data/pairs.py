"""Pairs of texts that say the same in two languages: read, told apart by direction, divided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from danlu.config import ConfigError
from danlu.data.dedup import digest
from danlu.data.records import DataError
from danlu.data.sources import Record, records

SHOWN = 120  # characters of a refused record that the message repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Languages:
    """Which language is translated into which; two letters each, as in ISO 639-1."""

    source: str = "en"
    target: str = "zh"
    both_ways: bool = False  # learn and test the other direction as well

    def __post_init__(self) -> None:
        for name in ("source", "target"):
            if not getattr(self, name).isalpha():
                raise ConfigError(
                    f"languages.{name} is {getattr(self, name)!r}; it must be letters, such as 'en'"
                )
        if self.source == self.target:
            raise ConfigError(f"languages.source and languages.target are both {self.source!r}")

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """From and to, for each direction that the model is for."""
        there, back = (self.source, self.target), (self.target, self.source)
        return (there, back) if self.both_ways else (there,)

    def marked(self, text: str, to: str) -> str:
        """What the encoder reads: with two directions, the language that is wanted stands before the text.

        The mark is an ordinary piece of text (Johnson et al. 2017), spelt as in Marian's models.
        """
        return f">>{to}<< {text}" if self.both_ways else text


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and its translation, each without spaces around it."""

    source: str
    target: str
    where: str  # file and line

    def read(self, towards: bool) -> tuple[str, str]:
        """Source and target; of the other direction unless `towards`."""
        return (self.source, self.target) if towards else (self.target, self.source)


def read_pairs(paths: Path | Sequence[Path], languages: Languages) -> list[Pair]:
    """All pairs of some files: records with `source` and `target`, or with the two languages' letters."""
    return [_pair(record, languages) for record in records(paths)]


def divide(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from, and about `share` of them held out.

    The hash of the source decides, so that what is held out stays so when pairs are added. Of those held out,
    pairs go whose source or target is learnt in another pair.
    """
    apart = [int.from_bytes(digest(pair.source), "little") / 2**64 < share for pair in pairs]
    learnt = [pair for pair, held_out in zip(pairs, apart, strict=True) if not held_out]
    known = {text for pair in learnt for text in (pair.source, pair.target)}
    return learnt, [
        pair
        for pair, held_out in zip(pairs, apart, strict=True)
        if held_out and pair.source not in known and pair.target not in known
    ]


def _pair(record: Record, languages: Languages) -> Pair:
    names = ("source", "target") if "source" in record.fields else (languages.source, languages.target)
    texts = [record.fields.get(name) for name in names]
    source, target = (text.strip() if isinstance(text, str) else "" for text in texts)
    if not source or not target:
        line = json.dumps(record.fields, ensure_ascii=False, default=str)[:SHOWN]
        raise DataError(
            f"{record.source}:{record.line}: is no pair of texts; it must have a text in 'source' and in "
            f"'target', or in {languages.source!r} and in {languages.target!r}. The record: {line}"
        )
    return Pair(source, target, f"{record.source}:{record.line}")
