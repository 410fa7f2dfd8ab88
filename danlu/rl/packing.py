"""Rollouts several a row: prompts differ in length, and half of a padded batch would be padding."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from danlu.data.records import Batch
from danlu.data.sft import best_fit

B = TypeVar("B", bound=Batch)
LEAST_WIDTH = 128  # positions a row: wide enough that little of it stays empty
STEP = 16  # widths are multiples of this: few widths, few kernel shapes


@dataclass(frozen=True, slots=True)
class Packing:
    """Where each position of packed rows is found in rows of one sequence each."""

    shape: torch.Size  # of the rows of one sequence each
    source: Tensor  # (rows, width) int64: positions of those, flattened; 0 where nothing stands
    segment_ids: Tensor  # (rows, width) int64: sequences in a row are numbered, what is empty has the last
    filled: Tensor  # (rows, width) bool

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Pack whole sequences by best fit, the longest first."""
        n_rows, seq_len = batch.input_ids.shape
        lengths = (batch.segment_ids == 0).sum(dim=1).tolist()
        width = max(LEAST_WIDTH, -(-max(lengths) // STEP) * STEP)
        longest_first = np.argsort(-np.array(lengths), kind="stable")
        packed = best_fit(lengths, longest_first, width)
        source = torch.zeros((len(packed), width), dtype=torch.int64)
        segment_ids = torch.zeros_like(source)
        filled = torch.zeros_like(source, dtype=torch.bool)
        for row, sequences in enumerate(packed):
            start = 0
            for segment, sequence in enumerate(sequences):
                end = start + lengths[sequence]
                source[row, start:end] = torch.arange(lengths[sequence]) + sequence * seq_len
                segment_ids[row, start:end] = segment
                start = end
            segment_ids[row, start:] = len(sequences)
            filled[row, :start] = True
        return cls(torch.Size((n_rows, seq_len)), source, segment_ids, filled)

    def pack(self, batch: B) -> B:
        """The same record in packed rows; nothing counts where no sequence stands."""
        moved = {field.name: getattr(batch, field.name).flatten()[self.source] for field in fields(batch)}
        moved["loss_mask"] &= self.filled
        return type(batch)(**{**moved, "segment_ids": self.segment_ids})

    def unpack(self, values: Tensor) -> Tensor:
        """From packed rows, (rows, width), back to one sequence a row; zero where that is padding."""
        flat = values.new_zeros(self.shape.numel())
        flat[self.source[self.filled]] = values[self.filled]
        return flat.view(self.shape)


def packed(batch: B) -> B:
    """The same sequences in fewer rows."""
    return Packing.of(batch).pack(batch)
