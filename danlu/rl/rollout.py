"""A rollout: prompts, what the policy said to them, and what both look like to the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from danlu.data.records import Batch, pad_rows
from danlu.generate.sampler import Completion
from danlu.tokenizer.chat import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the policy is asked."""

    id: str
    ids: list[int]  # up to where the assistant begins
    messages: Sequence[Message] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """One prompt and what the policy said."""

    prompt: Prompt
    completion: Completion

    @property
    def ended(self) -> bool:
        return self.completion.finish_reason == "stop"


Reward = Callable[[Sequence[Rollout]], Sequence[float]]  # one score a completion


def lay_out(rollouts: Sequence[Rollout], pad_id: int) -> Batch:
    """Prompt and completion one a row; `loss_mask` is True where the policy chose the target."""
    rows = [[*rollout.prompt.ids, *rollout.completion.ids] for rollout in rollouts]
    masks = [[False] * len(rollout.prompt.ids) + [True] * len(rollout.completion.ids) for rollout in rollouts]
    longest = max(len(row) for row in rows) - 1
    return pad_rows(rows, masks, pad_id, width=-(-longest // 16) * 16)  # few widths, few kernel shapes


def distinct_share(rollouts: Sequence[Rollout]) -> float:
    """Share of completions that no other completion equals: a collapse shows here first."""
    return len({tuple(rollout.completion.ids) for rollout in rollouts}) / len(rollouts)


def distinct_pairs(rollouts: Sequence[Rollout]) -> float:
    """Share of pairs of neighbouring tokens that are the first of their kind (distinct-2: Li et al. 2016)."""
    pairs = [pair for rollout in rollouts for pair in pairwise(rollout.completion.ids)]
    return len(set(pairs)) / max(len(pairs), 1)
