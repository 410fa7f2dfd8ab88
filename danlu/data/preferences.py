"""Batches for preference optimisation: judged completions with what the frozen reference says of them.

Comparisons and thumbs share one layout. A thumb is a ranking of one, rank 1 for up and 2 for down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from danlu.data.chats import Comparison, Rating
from danlu.data.rankings import Group, RankingBatches, check_preferences, lay_out
from danlu.data.records import DataError, PreferenceBatch

Logprobs = Callable[[PreferenceBatch], Tensor]
"""A model's log-probability of each whole completion of a batch, (completions,), without a graph."""


class Reference:
    """The frozen reference's log-probabilities, computed when a completion is first met and kept.

    Computed on the very batch that the policy trains on, so that before the first update both models give
    the same bits; later epochs read what the first one found.
    """

    def __init__(self, logprobs: Logprobs) -> None:
        self._logprobs = logprobs
        self._known: dict[int, list[float]] = {}

    def __call__(self, batch: PreferenceBatch, numbers: Sequence[int]) -> Tensor:
        """One log-probability a completion, (completions,).

        Args:
            batch: its group g is item `numbers[g]` of the data set.
            numbers: identify the groups from one epoch to the next.
        """
        if any(number not in self._known for number in numbers):
            found = self._logprobs(batch)
            for group, number in enumerate(numbers):
                self._known.setdefault(number, found[batch.group_ids == group].tolist())
        order = batch.group_ids.unique_consecutive().tolist()
        return torch.tensor([value for group in order for value in self._known[numbers[group]]])

    def state_dict(self) -> dict[str, Any]:
        return {"numbers": list(self._known), "logprobs": list(self._known.values())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._known = dict(zip(state["numbers"], state["logprobs"], strict=True))


class PreferenceBatches:
    """Endless batches of whole comparisons; order and position are those of `rankings`."""

    def __init__(self, rankings: RankingBatches, reference: Reference | None) -> None:
        check_preferences(rankings.groups)
        self.rankings, self.reference = rankings, reference

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PreferenceBatch:
        numbers = self.rankings.next_numbers()
        batch = lay_out_completions([self.rankings.groups[i] for i in numbers], self.rankings.pad_id)
        if self.reference is None:
            return batch
        return replace(batch, ref_logprobs=self.reference(batch, numbers))


class RatingBatches:
    """Endless batches of rated completions, each with the reference point of the update it belongs to.

    KTO's z_0 estimates the divergence of the policy from the reference by completions that belong to other
    prompts (Ethayarajh et al. 2024, section 4.1). It is a mean over all batches of an update, so that
    gradients do not depend on how an update is cut into micro-batches; therefore batches are made an update
    at a time, with the weights that the update before left. Each rating keeps one foreign completion for the
    whole run, drawn from the seed.
    """

    def __init__(
        self,
        rankings: RankingBatches,
        policy: Logprobs,
        reference: Logprobs,
        *,
        per_update: int = 1,
    ) -> None:
        """`rankings` are of `single` completions; `per_update` is the number of micro-batches an update."""
        self.rankings, self.policy, self.per_update = rankings, policy, per_update
        check_both_thumbs(rankings.groups)
        self.foreign = mismatched(rankings.groups, rankings.max_len, rankings.seed)
        self.reference, self.foreign_reference = Reference(reference), Reference(reference)

    def __iter__(self) -> Iterator[PreferenceBatch]:
        while True:
            update = [self.rankings.next_numbers() for _ in range(self.per_update)]
            point = self.reference_point(update)
            for numbers in update:
                batch = lay_out_completions([self.rankings.groups[i] for i in numbers], self.rankings.pad_id)
                yield replace(batch, ref_logprobs=self.reference(batch, numbers), reference_point=point)

    def reference_point(self, update: Sequence[Sequence[int]]) -> Tensor:
        """max(0, mean log-ratio of the foreign completions), in nats; a scalar."""
        ratios: list[Tensor] = []
        for numbers in update:
            batch = lay_out_completions([self.foreign[i] for i in numbers], self.rankings.pad_id)
            ratios.append(self.policy(batch) - self.foreign_reference(batch, numbers))
        return torch.cat(ratios).mean().clamp(min=0)


def single(rating: Rating) -> Comparison:
    """A rating as a ranking of one completion: rank 1 is a thumb up, 2 a thumb down."""
    return Comparison(
        prompt=rating.prompt,
        completions=[rating.completion],
        ranks=[1 if rating.liked else 2],
        unfinished=[rating.unfinished],
        annotator=rating.annotator,
        id=rating.id,
        source=rating.source,
        line=rating.line,
    )


def check_both_thumbs(groups: Sequence[Group]) -> None:
    """Answers that are all liked, or all disliked, say nothing of what sets the two apart."""
    n_up = sum(group.ranks[0] == 1 for group in groups)
    if n_up in (0, len(groups)):
        found = "up" if n_up else "down"
        hint = "; from good answers alone, `danlu sft` learns" if n_up else ""
        raise DataError(f"all {len(groups)} thumbs are {found}; KTO needs both kinds{hint}")


def mismatched(groups: Sequence[Group], max_len: int, seed: int) -> list[Group]:
    """Each prompt with the completion of another prompt, cut where it would not fit into max_len tokens."""
    order = np.random.default_rng([seed, 1]).permutation(len(groups)).tolist()
    foreign: list[Group | None] = [None] * len(groups)
    for place, number in enumerate(order):
        own = groups[number]
        following = (groups[order[(place + step) % len(order)]] for step in range(1, len(order)))
        other = next((each for each in following if each.prompt != own.prompt), None)
        if other is None:
            raise DataError(
                f"all {len(groups)} ratings are of one prompt; KTO's reference point needs answers to others"
            )
        completion = other.completions[0][: max_len - len(own.prompt)]
        foreign[number] = replace(own, completions=[completion])
    return [group for group in foreign if group is not None]


def lay_out_completions(groups: Sequence[Group], pad_id: int) -> PreferenceBatch:
    """Rows of comparisons as `rankings.lay_out` fills them, with a target at every position of a branch."""
    tree = lay_out([_opened(group) for group in groups], pad_id)
    target_ids = torch.full_like(tree.input_ids, pad_id).flatten()
    completion_ids = torch.full_like(target_ids, -1)
    left = [iter(group.completions) for group in groups]
    for number, (end, group) in enumerate(zip(tree.end_index.tolist(), tree.group_ids.tolist(), strict=True)):
        ids = next(left[group])
        here = slice(end + 1 - len(ids), end + 1)
        target_ids[here], completion_ids[here] = torch.tensor(ids), number
    completion_ids = completion_ids.view_as(tree.input_ids)
    return PreferenceBatch(
        input_ids=tree.input_ids,
        target_ids=target_ids.view_as(tree.input_ids),
        loss_mask=completion_ids >= 0,
        completion_ids=completion_ids,
        position_ids=tree.position_ids,
        segment_ids=tree.segment_ids,
        branch_ids=tree.branch_ids,
        group_ids=tree.group_ids,
        ranks=tree.ranks,
    )


def _opened(group: Group) -> Group:
    """The inputs: the prompt's last token opens every branch, and no completion's last is read."""
    opening = group.prompt[-1]
    branches = [[opening, *completion[:-1]] for completion in group.completions]
    return replace(group, prompt=group.prompt[:-1], completions=branches)
