"""What may reward a rollout: a score model, or any function of prompt and answer; and what it must return."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real

import torch
from torch import Tensor, nn

from danlu.data.records import pad_rows
from danlu.rl.rollout import Prompt, Reward, Rollout
from danlu.tokenizer.chat import ChatFormat

Grade = Callable[[Prompt, str], float]  # what an answer to a prompt is worth


class RewardError(ValueError):
    """A reward is no finite number, or there are not as many as completions."""


class CheckedReward:
    """A reward whose numbers are checked; `failed` says that the last call gave none that can be used."""

    def __init__(self, reward: Reward) -> None:
        self.reward, self.failed = reward, False

    def __call__(self, rollouts: Sequence[Rollout]) -> Tensor:
        """One finite score a completion, (batch,)."""
        self.failed = True  # unless the lines below all succeed
        scores = checked(self.reward(rollouts), rollouts)
        self.failed = False
        return scores


def checked(scores: Sequence[object], rollouts: Sequence[Rollout]) -> Tensor:
    """The scores, if there is a finite number for every completion."""
    if len(scores) != len(rollouts):
        raise RewardError(
            f"the reward returned {len(scores)} scores for {len(rollouts)} completions; it must return one "
            "each, in their order"
        )
    for score, rollout in zip(scores, rollouts, strict=True):
        if not isinstance(score, Real) or not math.isfinite(score):
            raise RewardError(
                f"the reward of a completion to prompt {rollout.prompt.id!r} is {score!r}; it must be a "
                "finite number"
            )
    return torch.tensor(scores, dtype=torch.float32)


def reward_of_grade(grade: Grade, chat_format: ChatFormat) -> Reward:
    """A reward from a function of prompt and answer: a rule, a test, or what a task makes of it."""

    def reward(rollouts: Sequence[Rollout]) -> list[float]:
        texts = [str(chat_format.parse(rollout.completion.ids)["content"]) for rollout in rollouts]
        return [grade(rollout.prompt, text) for rollout, text in zip(rollouts, texts, strict=True)]

    return reward


@torch.no_grad()
def score_sequences(
    model: nn.Module, sequences: Sequence[Sequence[int]], pad_id: int, *, batch_size: int = 64
) -> list[float]:
    """The score that a score model gives each whole sequence, read where its last token is the input."""
    scores = [0.0] * len(sequences)
    by_length = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for first in range(0, len(by_length), batch_size):
        chosen = by_length[first : first + batch_size]
        rows = [[*sequences[i], pad_id] for i in chosen]  # the shift drops the padding, not the last token
        batch = pad_rows(rows, [[False] * len(row) for row in rows], pad_id)
        ends = torch.tensor([len(sequences[i]) - 1 for i in chosen])
        values = model(*batch.inputs).gather(1, ends.unsqueeze(1)).squeeze(1)
        for i, value in zip(chosen, values.tolist(), strict=True):
            scores[i] = value
    return scores


def reward_of(model: nn.Module, pad_id: int) -> Reward:
    """The reward that PPO maximises: the model's score of prompt and completion, cut at the first end."""

    def reward(rollouts: Sequence[Rollout]) -> list[float]:
        return score_sequences(model, [[*r.prompt.ids, *r.completion.ids] for r in rollouts], pad_id)

    return reward
