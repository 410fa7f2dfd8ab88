"""A reward model, or several, as a function from rollouts to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from danlu.config import ConfigError
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


@dataclass(frozen=True, slots=True)
class EnsembleScores:
    """What several reward models say of each sequence, and how far they differ."""

    mean: list[float]
    std: list[float]  # over the models, as of a sample: squares are divided by one less than their number


def ensemble_scores(
    models: Sequence[nn.Module], sequences: Sequence[Sequence[int]], pad_id: int, *, batch_size: int = 64
) -> EnsembleScores:
    """Mean and standard deviation over several score models, two at least.

    The models must agree on zero and unit, or their deviation says nothing of how sure they are: normalise
    each by the same demonstrations or reference answers.
    """
    if len(models) < 2:
        raise ConfigError(f"an ensemble of {len(models)} reward models has no deviation; name two or more")
    rows = [score_sequences(model, sequences, pad_id, batch_size=batch_size) for model in models]
    scores = torch.tensor(rows, dtype=torch.float64)
    return EnsembleScores(scores.mean(0).tolist(), scores.std(0).tolist())


def ensemble_reward_of(models: Sequence[nn.Module], pad_id: int, *, caution: float = 0.0) -> Reward:
    """The mean score less `caution` standard deviations.

    Coste et al. 2024 (Reward model ensembles help mitigate overoptimization) take off the variance instead;
    a deviation has the unit of the score.
    """

    def reward(rollouts: Sequence[Rollout]) -> list[float]:
        found = ensemble_scores(models, [[*r.prompt.ids, *r.completion.ids] for r in rollouts], pad_id)
        return [mean - caution * std for mean, std in zip(found.mean, found.std, strict=True)]

    return reward
