"""A reward model as a function from rollouts to scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from danlu.data.records import pad_rows
from danlu.rl.rollout import Reward, Rollout


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
