"""What the loop and the objectives read: batches of ids, already shifted and masked.

The alignment rule: every per-token tensor is (batch, seq), and position `t` is about one question, namely
what the model should answer at `input_ids[:, t]`. Shifting happens here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


class DataError(ValueError):
    """A data set or a record in it cannot be used; the message says where and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Token windows with their answers.

    `segment_ids` number the documents packed into a row; attention never crosses from one to the next.
    Padding stands at the right, in a segment of its own, with `loss_mask` False.
    """

    input_ids: Tensor  # (batch, seq) int64
    target_ids: Tensor  # (batch, seq) int64: the next token
    loss_mask: Tensor  # (batch, seq) bool: True = this target counts
    position_ids: Tensor  # (batch, seq) int64: restarts at 0 with every segment
    segment_ids: Tensor  # (batch, seq) int64
    # (batch, seq) int64, where a segment is a tree: 0 in its stem, 1, 2, … in its branches; None = none is
    branch_ids: Tensor | None = None
    # (n, side, side, 3) uint8, in the order of their markers in the rows; None = there are none
    pictures: Tensor | None = None

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positional arguments of a decoder's forward where no segment is a tree."""
        if self.branch_ids is not None:
            raise ValueError("these rows hold trees; use tree_inputs, or branches would see each other")
        return self.input_ids, self.position_ids, self.segment_ids

    @property
    def tree_inputs(self) -> tuple[Tensor, ...]:
        """Positional arguments of a decoder's forward, whether or not there are trees."""
        given = self.input_ids, self.position_ids, self.segment_ids
        return given if self.branch_ids is None else (*given, self.branch_ids)

    @property
    def is_text(self) -> Tensor:
        """True where there is no padding, (batch, seq): a segment that counts no target is padding."""
        shape = len(self), int(self.segment_ids.max()) + 1
        n_counted = self.segment_ids.new_zeros(shape)
        n_counted.scatter_add_(1, self.segment_ids, self.loss_mask.long())
        return n_counted.gather(1, self.segment_ids) > 0

    @property
    def shown(self) -> dict[str, Tensor]:
        """What a model is given to look at beside its inputs, by name."""
        return {} if self.pictures is None else {"pictures": self.pictures}

    def __len__(self) -> int:
        return len(self.input_ids)

    def rows(self, index: Tensor) -> Self:
        """The same record for some of its rows."""
        if self.pictures is not None:
            raise ValueError("which row a picture belongs to is not kept; take all rows")
        there = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: each[index] for name, each in there.items() if each is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationBatch:
    """Sources with their targets, a pair a row, both padded at the right.

    A target is read after the token that all targets begin after, so that its first token is a question too.
    """

    source_ids: Tensor  # (batch, source) int64
    source_segment_ids: Tensor  # (batch, source) int64: 0, and 1 at padding
    input_ids: Tensor  # (batch, seq) int64
    target_ids: Tensor  # (batch, seq) int64: the next token of the target, at last its end
    loss_mask: Tensor  # (batch, seq) bool: True = this target counts

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positional arguments of an encoder-decoder's forward."""
        return self.source_ids, self.source_segment_ids, self.input_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingBatch:
    """Completions of several prompts with people's ranking of them, each prompt read once.

    A prompt is the stem of a segment and its completions are the branches: each sees the prompt and itself,
    at the positions it would have alone. Completions of one prompt share a `group_ids` value; `ranks` orders
    them within it (1 is best, equal = tie).
    """

    input_ids: Tensor  # (batch, seq) int64
    position_ids: Tensor  # (batch, seq) int64: a completion counts on from its prompt
    segment_ids: Tensor  # (batch, seq) int64
    branch_ids: Tensor  # (batch, seq) int64: 0 in a prompt, 1, 2, … in its completions
    end_index: Tensor  # (completions,) int64: where each one's last token lies, in the flattened batch
    group_ids: Tensor  # (completions,) int64
    ranks: Tensor  # (completions,) int64
    levels: Tensor | None = None  # (completions,): differences say how much better; None = nobody said
    weights: Tensor | None = None  # (completions,): of the ranking it belongs to; None = each weighs one
    raters: Sequence[str] = ()  # who ranked each completion, empty where unknown; () = all are

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Positional arguments of a score model's forward."""
        return self.input_ids, self.position_ids, self.segment_ids, self.branch_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceBatch:
    """Completions that people judged, each prompt read once, and whose target every position is.

    Laid out as in RankingBatch, but for a prompt's last token: it stands at the head of every branch instead
    of at the stem's end, because there each completion has a first token of its own to answer. Inputs stop
    one token before a completion's last.
    """

    input_ids: Tensor  # (batch, seq) int64
    target_ids: Tensor  # (batch, seq) int64: the next token of the same completion
    loss_mask: Tensor  # (batch, seq) bool: True = this target belongs to a completion
    completion_ids: Tensor  # (batch, seq) int64: to which; -1 elsewhere
    position_ids: Tensor  # (batch, seq) int64: a completion counts on from its prompt
    segment_ids: Tensor  # (batch, seq) int64
    branch_ids: Tensor  # (batch, seq) int64: 0 in a prompt, 1, 2, … in its completions
    group_ids: Tensor  # (completions,) int64: equal for completions of one prompt
    ranks: Tensor  # (completions,) int64: 1 is best, equal = tie; of a thumb, 1 is up and 2 is down
    ref_logprobs: Tensor | None = None  # (completions,): of each whole completion under the frozen reference
    reference_point: Tensor | None = None  # scalar: KTO's z_0, one for all batches of an update

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Positional arguments of a backbone's forward."""
        return self.input_ids, self.position_ids, self.segment_ids, self.branch_ids

    @property
    def lengths(self) -> Tensor:
        """Targets of each completion, its end included, (completions,)."""
        return self.completion_ids[self.loss_mask].bincount(minlength=len(self.group_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBatch(Batch):
    """Sampled completions, what the networks said of them, and what PPO should make of it.

    `loss_mask` is True where the policy chose the target.
    """

    old_logprobs: Tensor  # (batch, seq): under the policy that sampled, by the training forward
    ref_logprobs: Tensor  # (batch, seq): under the frozen reference
    old_values: Tensor  # (batch, seq): V(s_t) under the critic that saw the rollout
    advantages: Tensor  # (batch, seq): whitened over the whole rollout
    returns: Tensor  # (batch, seq)

    @property
    def sequence_ids(self) -> Tensor:
        """Of which sequence each position is, numbered over all rows, padding included, (batch, seq)."""
        numbers = torch.arange(len(self), device=self.segment_ids.device)
        ids = self.segment_ids + (self.segment_ids.max() + 1) * numbers.unsqueeze(1)
        return ids if self.branch_ids is None else ids * (self.branch_ids.max() + 1) + self.branch_ids

    @property
    def lengths(self) -> Tensor:
        """Targets that the policy chose in each sequence of `sequence_ids`, 0 for padding, (sequences,)."""
        ids = self.sequence_ids
        return ids[self.loss_mask].bincount(minlength=int(ids.max()) + 1)

    def shuffled(self, minibatch_size: int, seed: int, together: int = 1) -> Iterator[Self]:
        """Minibatches of rows in an order that `seed` decides.

        Args:
            minibatch_size: rows each.
            seed: of the order.
            together: so many rows in a row stay together, if a minibatch holds a whole number of such groups.
        """
        size = together if minibatch_size % together == 0 else 1
        groups = torch.arange(len(self)).view(-1, size)
        order = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))]
        for index in order.flatten().split(minibatch_size):
            yield self.rows(index)


def pad_rows(
    rows: Sequence[Sequence[int]], masks: Sequence[Sequence[bool]], pad_id: int, width: int | None = None
) -> Batch:
    """Lay out whole token sequences one a row, shifted and padded at the right.

    Args:
        rows: ids of each sequence, prompt and answer together.
        masks: True where that id is to be learnt; the same lengths.
        pad_id: fills the rest of a row; never learnt.
        width: positions per row, at least the longest sequence less one; by default exactly that.
    """
    longest = max(len(row) for row in rows) - 1
    width = longest if width is None else width
    if width < longest:
        raise DataError(f"a sequence of {longest + 1} tokens does not fit into rows of {width} positions")
    input_ids = torch.full((len(rows), width), pad_id)
    target_ids = torch.full((len(rows), width), pad_id)
    loss_mask = torch.zeros((len(rows), width), dtype=torch.bool)
    segment_ids = torch.ones((len(rows), width), dtype=torch.int64)
    for i, (ids, mask) in enumerate(zip(rows, masks, strict=True)):
        n = len(ids) - 1
        input_ids[i, :n] = torch.tensor(ids[:-1])
        target_ids[i, :n] = torch.tensor(ids[1:])
        loss_mask[i, :n] = torch.tensor(mask[1:], dtype=torch.bool)
        segment_ids[i, :n] = 0
    # Padding counts on from the last position: no position is ever out of range, and none of it is read.
    position_ids = torch.arange(width).expand(len(rows), width).contiguous()
    return Batch(
        input_ids=input_ids,
        target_ids=target_ids,
        loss_mask=loss_mask,
        position_ids=position_ids,
        segment_ids=segment_ids,
    )
