"""Rollouts several a row: prompts differ in length, and half of a padded batch would be padding.

Completions of one prompt share it: the prompt is the stem of a segment, read once, and the completions are
its branches, each at the positions it would have alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from danlu.data.records import Batch
from danlu.data.sft import best_fit

B = TypeVar("B", bound=Batch)
LEAST_WIDTH = 128  # positions a row: wide enough that little of it stays empty
MOST_SHARED = 1024  # positions of a prompt with its completions; beyond, the prompt is read once more
STEP = 16  # widths are multiples of this: few widths, few kernel shapes


@dataclass(frozen=True, slots=True)
class Tree:
    """Sequences that begin alike: the stem's positions in the first of them, then those of each branch."""

    stem: range
    branches: Sequence[range]

    def __len__(self) -> int:
        return len(self.stem) + sum(map(len, self.branches))


@dataclass(frozen=True, slots=True)
class Packing:
    """Where each position of packed rows is found in rows of one sequence each."""

    shape: torch.Size  # of the rows of one sequence each
    source: Tensor  # (rows, width) int64: positions of those, flattened; 0 where nothing stands
    segment_ids: Tensor  # (rows, width) int64: trees in a row are numbered, what is empty has the last
    branch_ids: (
        Tensor | None
    )  # (rows, width) int64: 0 in a stem, 1, 2, … in branches; None = nothing is shared
    filled: Tensor  # (rows, width) bool

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Pack whole trees by best fit, the longest first."""
        trees = trees_of(batch)
        lengths = [len(tree) for tree in trees]
        width = max(LEAST_WIDTH, -(-max(lengths) // STEP) * STEP)
        longest_first = np.argsort(-np.array(lengths), kind="stable")
        rows = best_fit(lengths, longest_first, width)
        source = torch.zeros((len(rows), width), dtype=torch.int64)
        segment_ids, branch_ids = torch.zeros_like(source), torch.zeros_like(source)
        filled = torch.zeros_like(source, dtype=torch.bool)
        for row, numbers in enumerate(rows):
            at = 0
            for segment, number in enumerate(numbers):
                for branch, part in enumerate((trees[number].stem, *trees[number].branches)):
                    here = slice(at, at + len(part))
                    source[row, here] = torch.arange(part.start, part.stop)
                    segment_ids[row, here], branch_ids[row, here] = segment, branch
                    at = here.stop
            segment_ids[row, at:] = len(numbers)
            filled[row, :at] = True
        shared = any(tree.branches for tree in trees)
        return cls(batch.input_ids.shape, source, segment_ids, branch_ids if shared else None, filled)

    def pack(self, batch: B) -> B:
        """The same record in packed rows; nothing counts where no sequence stands."""
        there = {field.name: getattr(batch, field.name) for field in fields(batch)}
        moved = {name: each.flatten()[self.source] for name, each in there.items() if each is not None}
        moved["loss_mask"] &= self.filled
        return replace(batch, **{**moved, "segment_ids": self.segment_ids, "branch_ids": self.branch_ids})

    def unpack(self, values: Tensor) -> Tensor:
        """From packed rows, (rows, width), back to one sequence a row.

        Zero where that is padding, and in prompts that another sequence has read.
        """
        flat = values.new_zeros(self.shape.numel())
        flat[self.source[self.filled]] = values[self.filled]
        return flat.view(self.shape)


def packed(batch: B) -> B:
    """The same sequences in fewer rows."""
    return Packing.of(batch).pack(batch)


def trees_of(batch: Batch) -> list[Tree]:
    """The sequences of a batch, those together whose prompts are equal.

    A prompt's last token stays with each completion, for there each has a first token of its own to answer.
    """
    seq_len = batch.input_ids.shape[1]
    lengths: list[int] = (batch.segment_ids == 0).sum(dim=1).tolist()
    stems: list[int] = batch.loss_mask.int().argmax(dim=1).tolist()
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, (ids, stem) in enumerate(zip(batch.input_ids.tolist(), stems, strict=True)):
        alike.setdefault(tuple(ids[: stem + 1]), []).append(i)
    trees: list[Tree] = []
    for members in alike.values():
        stem = stems[members[0]]
        longest = max(lengths[i] for i in members) - stem
        at_once = max(1, (MOST_SHARED - stem) // longest)
        for first in range(0, len(members), at_once):
            some = members[first : first + at_once]
            begins = some[0] * seq_len
            if len(some) == 1 or not stem:
                trees += [Tree(range(i * seq_len, i * seq_len + lengths[i]), ()) for i in some]
            else:
                branches = [range(i * seq_len + stem, i * seq_len + lengths[i]) for i in some]
                trees.append(Tree(range(begins, begins + stem), branches))
    return trees
