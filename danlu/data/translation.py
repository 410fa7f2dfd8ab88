"""Translation batches: pairs of similar length side by side, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from danlu.config import ConfigError
from danlu.data.packing import check_identity
from danlu.data.records import DataError, TranslationBatch

Ids = tuple[Sequence[int], Sequence[int]]
"""A source as the encoder reads it, and a target without its start, its end included."""


@dataclass(frozen=True, slots=True)
class Markers:
    """The control tokens of a translation."""

    start: int  # what targets begin after
    pad: int


class TranslationBatches:
    """Endless batches; pairs are sorted by length each epoch anew, ties and the batches' order at random.

    `batch_tokens` bounds the positions of a batch on either side, padding included; a pair that is longer by
    itself is left out. `share` is (rank, world): a process takes every world-th batch.
    """

    def __init__(
        self,
        pairs: Sequence[Ids],
        batch_tokens: int,
        seed: int,
        markers: Markers,
        *,
        max_len: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_tokens < max_len:
            raise ConfigError(
                f"batch_tokens is {batch_tokens}; it must be at least max_len, {max_len}, so that a pair fits"
            )
        self.batch_tokens, self.seed, self.markers = batch_tokens, seed, markers
        self.rank, self.world = share
        self._pairs = [pair for pair in pairs if longest(pair) <= max_len]
        self.n_dropped = len(pairs) - len(self._pairs)
        if not self._pairs:
            raise DataError(f"no pair to learn from: {len(pairs)} given, none of at most {max_len} tokens")
        self._lengths = np.array([(len(target), len(source)) for source, target in self._pairs])
        self._epoch, self._number = 0, 0
        self._plan = lru_cache(maxsize=2)(self._cut)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TranslationBatch:
        numbers = [self._next() for _ in range(self.world)]
        return lay_out([self._pairs[i] for i in numbers[self.rank]], self.markers)

    @property
    def epoch(self) -> float:
        """How many times the pairs have been read."""
        return self._epoch + self._number / len(self._plan(self._epoch))

    @property
    def batches_per_epoch(self) -> int:
        return len(self._plan(self._epoch))

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "number": self._number, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_identity("translation batches", state, self._identity())
        self._epoch, self._number = int(state["epoch"]), int(state["number"])

    def _next(self) -> list[int]:
        if self._number == len(self._plan(self._epoch)):
            self._epoch, self._number = self._epoch + 1, 0
        self._number += 1
        return self._plan(self._epoch)[self._number - 1]

    def _cut(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng([self.seed, epoch])
        order = by_length(self._lengths, rng.permutation(len(self._pairs)))
        batches = list(cut(self._lengths, order, self.batch_tokens))
        return [batches[i] for i in rng.permutation(len(batches))]

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "batch_tokens": self.batch_tokens,
            "world": self.world,
            "n_pairs": len(self._pairs),
            "n_tokens": int(self._lengths.sum()),
        }


def each_once(pairs: Sequence[Ids], batch_tokens: int, markers: Markers) -> Iterator[TranslationBatch]:
    """Every pair in one batch, by length: to measure a loss on them."""
    lengths = np.array([(len(target), len(source)) for source, target in pairs])
    for batch in cut(lengths, by_length(lengths, np.arange(len(pairs))), batch_tokens):
        yield lay_out([pairs[i] for i in batch], markers)


def by_length(lengths: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers in `order`, sorted by the columns of `lengths`, the first one first; ties as they stood."""
    return order[np.lexsort((lengths[order, 1], lengths[order, 0]))]


def cut(lengths: NDArray[np.int64], order: NDArray[np.int64], batch_tokens: int) -> Iterator[list[int]]:
    """Stretches of `order` as long as rows times the longest stay within `batch_tokens`, on either side."""
    batch: list[int] = []
    width = 0
    for item in order.tolist():
        wider = max(width, int(lengths[item].max()))
        if batch and wider * (len(batch) + 1) > batch_tokens:
            yield batch
            batch, wider = [], int(lengths[item].max())
        batch.append(item)
        width = wider
    if batch:
        yield batch


def longest(pair: Ids) -> int:
    """Tokens of the longer side."""
    return max(map(len, pair))


def lay_out(pairs: Sequence[Ids], markers: Markers) -> TranslationBatch:
    """A pair a row, both sides padded at the right."""
    source_ids, is_pad = _padded([source for source, _ in pairs], markers.pad)
    target_ids, target_is_pad = _padded([target for _, target in pairs], markers.pad)
    input_ids, _ = _padded([(markers.start, *target[:-1]) for _, target in pairs], markers.pad)
    return TranslationBatch(
        source_ids=source_ids,
        source_segment_ids=is_pad.long(),
        input_ids=input_ids,
        target_ids=target_ids,
        loss_mask=~target_is_pad,
    )


def _padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids, (rows, longest), and True where a row has none."""
    lengths = torch.tensor([[len(row)] for row in rows])
    width = int(lengths.max())
    ids = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows])
    return ids, torch.arange(width) >= lengths
