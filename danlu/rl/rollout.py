"""A rollout: prompts, what the policy said to them, and what both look like to the networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from danlu.data.records import Batch, pad_rows
from danlu.generate.sampler import Completion
from danlu.generate.sampling import SamplingConfig
from danlu.tokenizer.chat import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the policy is asked."""

    id: str
    ids: list[int]  # up to where the assistant begins
    messages: Sequence[Message] = ()
    tools: Sequence[Mapping[str, Any]] = ()  # descriptions of what may be called, in OpenAI's shape


@dataclass(frozen=True, slots=True)
class Rollout:
    """One prompt and what the policy said."""

    prompt: Prompt
    completion: Completion
    chosen: Sequence[bool] = ()  # which tokens of the completion the policy drew; empty = all of them
    said: Sequence[Message] = ()  # the turns of an episode with tools

    @property
    def ended(self) -> bool:
        return self.completion.finish_reason == "stop"

    @property
    def mask(self) -> Sequence[bool]:
        """True where the policy chose the token of the completion."""
        return self.chosen or (True,) * len(self.completion.ids)

    @property
    def sampled_logprobs(self) -> list[float]:
        """The sampler's, of the tokens that the policy chose."""
        return [x for x, chosen in zip(self.completion.logprobs, self.mask, strict=True) if chosen]


class Generates(Protocol):
    """A sampler: `n` completions of each prompt, those of one prompt side by side."""

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, n: int = 1
    ) -> list[Completion]: ...


Reward = Callable[[Sequence[Rollout]], Sequence[float]]  # one score a completion


def lay_out(rollouts: Sequence[Rollout], pad_id: int) -> Batch:
    """Prompt and completion one a row; `loss_mask` is True where the policy chose the target."""
    rows = [[*rollout.prompt.ids, *rollout.completion.ids] for rollout in rollouts]
    masks = [[False] * len(rollout.prompt.ids) + list(rollout.mask) for rollout in rollouts]
    longest = max(len(row) for row in rows) - 1
    return pad_rows(rows, masks, pad_id, width=-(-longest // 16) * 16)  # few widths, few kernel shapes


def distinct_share(rollouts: Sequence[Rollout]) -> float:
    """Share of completions that no other completion equals: a collapse shows here first."""
    return len({tuple(rollout.completion.ids) for rollout in rollouts}) / len(rollouts)


def distinct_pairs(rollouts: Sequence[Rollout]) -> float:
    """Share of pairs of neighbouring tokens that are the first of their kind (distinct-2: Li et al. 2016)."""
    pairs = [pair for rollout in rollouts for pair in pairwise(rollout.completion.ids)]
    return len(set(pairs)) / max(len(pairs), 1)
