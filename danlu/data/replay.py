"""Batches of two corpora: one to be learnt, and one that is replayed so that it is not forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Self

from danlu.data.packing import PackedBatches, check_identity, join
from danlu.data.records import Batch


class ReplayBatches:
    """Endless batches of `new` rows, of which a share is taken from `general` instead.

    The share is exact over time: after n rows in all, floor(share * n) of them are general ones. A batch
    that cannot hold its share evenly has one more of them, or one less. Both corpora are read in their own
    shuffled order, epoch after epoch, and which rows a step has depends on its number alone.
    """

    def __init__(self, new: PackedBatches, general: PackedBatches, share: float) -> None:
        self.new, self.general, self.share = new, general, share
        self.step = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        size = self.new.batch_size
        number = self.step * self.new.world + self.new.rank  # of this batch among those of all processes
        self.step += 1
        first, last = (self._general_among(each * size) for each in (number, number + 1))
        parts: list[Batch] = []
        if last - first < size:
            parts.append(self.new.rows(number * size - first, size - (last - first)))
        if last > first:
            parts.append(self.general.rows(first, last - first))
        return join(parts)

    @property
    def epochs(self) -> tuple[float, float]:
        """How many times the new corpus and the general one have been read."""
        n_rows = self.step * self.new.world * self.new.batch_size
        n_general = self._general_among(n_rows)
        return (n_rows - n_general) / self.new.rows_per_epoch, n_general / self.general.rows_per_epoch

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "share": self.share, **self._parts()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_identity("pretraining batches", state, {"share": self.share})
        for name, part in self._parts().items():
            check_identity(f"{name} batches", state[name], part)
        self.step = int(state["step"])

    def _general_among(self, n_rows: int) -> int:
        """Rows of general text among the first `n_rows`; as a binary fraction 0.3 of 90 would be 26."""
        return int(Fraction(str(self.share)) * n_rows)

    def _parts(self) -> dict[str, dict[str, Any]]:
        return {"new": self.new.identity(), "general": self.general.identity()}
